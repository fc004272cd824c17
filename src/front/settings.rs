//! What the client side listens to and refuses, checked.

use std::time::Duration;
use url::Url;

/// What the client side listens to and refuses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address that clients use, if a proxy stands in front.
    pub public_url: Option<Url>,
    /// Values of `Host` (without port) that are accepted; empty means the default rule of the guard.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` (`scheme://host[:port]`) that are accepted beside the gateway's own.
    pub allowed_origins: Vec<String>,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// How long a client may take to send its headers.
    pub header_timeout: Duration,
    /// How long a client may take to send its body.
    pub body_timeout: Duration,
    /// A comment is sent on a quiet event stream this often.
    pub keep_alive: Duration,
    /// How long a client is told to wait before it takes up a stream that was cut.
    pub retry: Duration,
    /// A call that is not answered by then gets an event stream in place of plain JSON.
    pub stream_after: Duration,
    /// The most connections at once.
    pub max_connections: usize,
    /// The most messages in one JSON-RPC batch.
    pub max_batch: usize,
    /// How long calls may go on after a request to stop.
    pub drain: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            public_url: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            body_limit: 4 * 1024 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_mins(1),
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(1),
            stream_after: Duration::from_secs(5),
            max_connections: 32_768,
            max_batch: 100,
            drain: Duration::from_secs(10),
        }
    }
}
