//! What clients keep with us: sessions in the handshake era, and calls that wait for answers in the stateless one.
//!
//! **Invariant:** a session belongs to the key and the endpoint that opened it, and a parked call to the key that began
//! it; for any other it does not exist.

pub mod known;
pub mod own;
pub mod parked;
pub mod replay;
pub mod running;
pub mod settings;
pub mod table;
mod visit;
