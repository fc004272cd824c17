//! What the gateway says about itself: the subscriber of the logs.
//!
//! **Invariant:** no field has a secret in it; a failure is logged once, where it is handled.

pub mod logs;
