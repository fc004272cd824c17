//! What a client of the handshake era keeps with us.
//!
//! **Invariant:** a session belongs to the key and the endpoint that opened it; for any other it does not exist.

pub mod known;
pub mod own;
pub mod replay;
pub mod running;
pub mod settings;
pub mod table;
mod visit;
