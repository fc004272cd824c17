//! The test kit: a gateway in this process, clients that see every byte, and upstreams that do as they are told.

pub(crate) mod client;
pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod gateway;
pub(crate) mod legacy;
pub(crate) mod modern;
pub(crate) mod newer;
pub(crate) mod offers;
pub(crate) mod peer;
pub(crate) mod pipe;
pub(crate) mod session;
pub(crate) mod stateless;
pub(crate) mod talk;
pub(crate) mod upstream;
pub(crate) mod visitor;
pub(crate) mod watch;
