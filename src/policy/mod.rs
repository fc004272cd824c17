//! May they: who is calling, and what they may use.
//!
//! **Invariant:** deciding never waits; what is denied is also invisible in lists.

pub mod grant;
pub mod identity;
pub mod settings;
