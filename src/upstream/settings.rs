//! How one upstream is reached: what an alias file says, checked.

use crate::wire::raw::Raw;
use http::HeaderMap;
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use url::Url;

/// How one upstream is reached and how much it may use.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is.
    pub target: Target,
    /// The transport to speak.
    pub transport: Transport,
    /// The era of the protocol to speak.
    pub era: Era,
    /// Who makes the requests that nobody called for, if not the gateway in its own name.
    pub introduced: Option<Arc<Introduced>>,
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

/// Where an upstream is.
#[derive(Clone, Debug)]
pub enum Target {
    /// Behind its MCP endpoint.
    Http(Url),
    /// In a child process, which speaks MCP on its standard streams.
    Stdio(Command),
}

/// A program to be run as an upstream.
#[derive(Clone, Debug)]
pub struct Command {
    /// The alias, for the log.
    pub alias: String,
    /// The program: a path, or a name to be looked for in `PATH`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<SecretString>,
    /// Variables of its environment, beside the few that it gets from the gateway's.
    pub env: BTreeMap<String, SecretString>,
    /// The folder that it runs in; the gateway's own if there is none.
    pub cwd: Option<PathBuf>,
    /// How long it may take to end: after its standard input was closed, and again after `SIGTERM`.
    pub grace: Duration,
    /// What must not be shown of what it says, beside the values of `env`.
    pub secrets: Vec<SecretString>,
    /// The program that knows the command of a keeper: the gateway's own.
    pub keeper: PathBuf,
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
    /// The standard streams of a child process.
    Stdio,
}

/// The era of the protocol that an upstream is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// Find out, and remember.
    Auto,
    /// Until 2025-11-25: `initialize` opens a session.
    Handshake,
    /// From 2026-07-28 on: each request stands for itself.
    Stateless,
    /// Of those that speak both, until 2025-11-25.
    HandshakeFirst,
}

/// The header by which a Trunkline tells clients of the stateless era apart that are alike otherwise.
pub const CLIENT: &str = crate::protocol::stateless::CLIENT;

/// Who makes the requests that nobody called for, in the stateless era.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduced {
    /// What may be asked, as in `clientCapabilities`.
    pub capabilities: Raw,
    /// Who asks, as in `clientInfo`.
    pub client_info: Raw,
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
            Self::Stdio => "stdio",
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

    /// The default of [`Settings::max_sessions`] where each session is a process.
    pub const MAX_PROCESSES: usize = 32;

    /// The default of [`Timeouts::connect`] for a process: what starts it may have to download it first.
    pub const START: Duration = Duration::from_mins(1);

    /// Everything at its default but the address.
    pub fn new(url: Url) -> Self {
        Self::of(Target::Http(url), Transport::Auto, Self::MAX_SESSIONS)
    }

    /// Everything at its default but the command.
    pub fn stdio(command: Command) -> Self {
        let mut settings = Self::of(Target::Stdio(command), Transport::Stdio, Self::MAX_PROCESSES);
        settings.timeouts.connect = Self::START;
        settings
    }

    fn of(target: Target, transport: Transport, max_sessions: usize) -> Self {
        Self {
            target,
            transport,
            era: Era::Auto,
            introduced: None,
            headers: HeaderMap::new(),
            credential: Credential::None,
            session: SessionMode::Auto,
            timeouts: Timeouts::default(),
            max_message: Self::MAX_MESSAGE,
            max_sessions,
        }
    }
}

// === impl Target ===

impl Target {
    /// The address, if it has one.
    pub fn url(&self) -> Option<&Url> {
        match self {
            Self::Http(url) => Some(url),
            Self::Stdio(_) => None,
        }
    }
}

// === impl Command ===

impl Command {
    /// The default of [`Command::grace`].
    pub const GRACE: Duration = Duration::from_secs(2);

    /// A program without arguments, everything else at its default.
    pub fn new(alias: impl Into<String>, program: impl Into<String>) -> Self {
        Self {
            alias: alias.into(),
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: None,
            grace: Self::GRACE,
            secrets: Vec::new(),
            keeper: this_program(),
        }
    }
}

/// This program, also after its file was replaced by a newer one.
fn this_program() -> PathBuf {
    let itself = Path::new("/proc/self/exe");
    if itself.exists() { itself.into() } else { std::env::current_exe().unwrap_or_else(|_| itself.into()) }
}
