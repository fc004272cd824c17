//! What MCP means: versions, the handshake, calls and what comes back. Sans I/O.
//!
//! **Invariant:** every call ends in exactly one answer, and it comes last.

pub mod ask;
pub mod call;
pub mod digest;
pub mod discovery;
pub mod extensions;
pub mod handshake;
pub mod headers;
pub mod inbox;
pub mod input;
pub mod level;
pub mod links;
pub mod listens;
pub mod pattern;
pub mod seal;
pub mod shape;
pub mod skills;
pub mod stateless;
pub mod stream;
pub mod version;
