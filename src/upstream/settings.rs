//! How one upstream is reached: what an alias file says, checked.

use http::HeaderMap;
use secrecy::SecretString;
use std::{path::PathBuf, time::Duration};
use url::Url;

/// How one upstream is reached and how much it may use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The upstream's MCP endpoint.
    pub url: Url,
    /// The transport to speak.
    pub transport: Transport,
    /// Headers sent with every request to this upstream; values are marked sensitive.
    pub headers: HeaderMap,
    /// What this gateway shows the upstream to be let in.
    pub credential: Credential,
    /// Which upstream session serves which caller.
    pub session: SessionMode,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The largest message (one JSON text) that is read from this upstream, in bytes.
    pub max_message: usize,
    /// The most sessions that are open with this upstream at once.
    pub max_sessions: usize,
}

/// The transport of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Find out, and remember.
    Auto,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Streamable HTTP of 2025-03-26 and later.
    Http,
}

/// Which upstream session serves which caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionMode {
    /// `Client` for an upstream that hands out session ids or speaks HTTP+SSE, else `Shared`.
    Auto,
    /// All callers share one session.
    Shared,
    /// Each client session has one of its own.
    Client,
    /// Each key has one of its own.
    Key,
}

/// What this gateway shows an upstream to be let in.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing.
    None,
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
    /// `Authorization: Bearer …`, read from the file at every connection attempt, so that it can rotate.
    BearerFile(PathBuf),
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: SecretString,
    },
}

/// How long each step with an upstream may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte to an answered `initialize`.
    pub connect: Duration,
    /// One page of a list.
    pub list: Duration,
    /// One call, from sending it to its answer.
    pub call: Duration,
    /// A session that nobody used for this long is closed.
    pub idle: Duration,
    /// How often a quiet upstream is asked whether it is there.
    pub ping: Duration,
    /// How often its lists are read again although it did not say that they changed.
    pub refresh: Duration,
}

impl Transport {
    /// As configuration files write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sse => "sse",
            Self::Http => "http",
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            list: Duration::from_secs(30),
            call: Duration::from_mins(10),
            idle: Duration::from_mins(30),
            ping: Duration::from_secs(30),
            refresh: Duration::from_mins(10),
        }
    }
}

impl Settings {
    /// The default of [`Settings::max_message`].
    pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;
    /// The default of [`Settings::max_sessions`].
    pub const MAX_SESSIONS: usize = 256;

    /// Everything at its default but the address.
    pub fn new(url: Url) -> Self {
        Self {
            url,
            transport: Transport::Auto,
            headers: HeaderMap::new(),
            credential: Credential::None,
            session: SessionMode::Auto,
            timeouts: Timeouts::default(),
            max_message: Self::MAX_MESSAGE,
            max_sessions: Self::MAX_SESSIONS,
        }
    }
}
