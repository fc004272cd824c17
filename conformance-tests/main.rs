//! Tests.

mod batches;
mod calls;
mod config;
mod fidelity;
mod house;
mod keys;
mod kit;
mod life;
mod lists;
mod scopes;
mod wire;
mod wire_sse;
