//! Bytes and JSON-RPC: envelopes, splicing, event streams. Pure: no clock, no sockets, no rmcp.
//!
//! **Invariant:** bytes that we did not mean to change are the bytes that we send.

pub mod error;
pub mod line;
pub mod message;
pub mod method;
pub mod nearest;
#[cfg(test)]
pub(crate) mod odd;
pub mod params;
pub mod part;
pub mod raw;
pub mod splice;
pub mod sse;
