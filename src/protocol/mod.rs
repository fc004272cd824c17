//! What MCP means: versions, the handshake, calls and what comes back. Sans I/O.
//!
//! **Invariant:** every call ends in exactly one answer, and it comes last.

pub mod ask;
pub mod call;
pub mod digest;
pub mod handshake;
pub mod inbox;
pub mod level;
pub mod links;
pub mod pattern;
pub mod seal;
pub mod stream;
pub mod version;
