//! What can go wrong with an upstream, whether the call may have been executed, and what to do about it.

use crate::wire::error::Failure;
use std::time::Duration;

/// What went wrong with an upstream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection: nothing was sent.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// It wants other credentials.
    #[error("it refused this gateway's credentials with HTTP {0}")]
    Unauthorized(u16),
    /// An HTTP status that no MCP server gives to a request it takes.
    #[error("it answered HTTP {status}: {excerpt}")]
    Status {
        /// The status.
        status: u16,
        /// The beginning of the body.
        excerpt: String,
    },
    /// It sends the client elsewhere.
    #[error("it redirects to {0}")]
    Redirect(String),
    /// What it sent is not MCP.
    #[error("what it sent is not MCP: {0}")]
    NotMcp(String),
    /// It does not know the session any more: the call was not executed.
    #[error("it forgot the session")]
    SessionGone,
    /// The connection ended before the answer came.
    #[error("it closed the connection before it answered: {0}")]
    Closed(String),
    /// It took too long.
    #[error("it did not {step} within {} ms", after.as_millis())]
    Timeout {
        /// What it was to do.
        step: &'static str,
        /// How long it had.
        after: Duration,
    },
    /// One message is larger than allowed.
    #[error("it sent a message of more than {0} bytes")]
    TooLarge(usize),
    /// `initialize` failed.
    #[error("the handshake failed: {0}")]
    Handshake(String),
    /// As many sessions as are allowed are open with it, and all are in use.
    #[error("{0} sessions are open with it, which is the limit")]
    Busy(usize),
    /// This gateway could not read what it must show to be let in.
    #[error("its credential cannot be read: {0}")]
    Credential(String),
    /// No session could be opened, so that nothing was sent.
    #[error("no session could be opened: {0}")]
    NotOpened(Box<Fault>),
    /// The gateway stops.
    #[error("this gateway stops")]
    Stopping,
}

// === impl Fault ===

impl Fault {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "upstream_unreachable",
            Self::Unauthorized(_) => "upstream_unauthorized",
            Self::Status { .. } => "upstream_status",
            Self::Redirect(_) => "upstream_redirect",
            Self::NotMcp(_) => "upstream_not_mcp",
            Self::SessionGone => "upstream_session_gone",
            Self::Closed(_) => "upstream_closed",
            Self::Timeout { .. } => "upstream_timeout",
            Self::TooLarge(_) => "upstream_message_too_large",
            Self::Handshake(_) => "upstream_handshake",
            Self::Busy(_) => "upstream_busy",
            Self::Credential(_) => "upstream_credential",
            Self::NotOpened(fault) => fault.reason(),
            Self::Stopping => "stopping",
        }
    }

    /// Whether a call that ended so was certainly not executed.
    pub fn is_unsent(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Unauthorized(_)
                | Self::Redirect(_)
                | Self::SessionGone
                | Self::Handshake(_)
                | Self::Busy(_)
                | Self::Credential(_)
                | Self::NotOpened(_)
                | Self::Stopping
        )
    }

    /// Whether the next attempt may go better although nobody did anything about it.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Status { status, .. } => *status >= 500,
            Self::Unauthorized(_)
            | Self::Redirect(_)
            | Self::NotMcp(_)
            | Self::TooLarge(_)
            | Self::Handshake(_)
            | Self::Credential(_) => false,
            Self::NotOpened(fault) => fault.may_pass(),
            Self::Unreachable(_)
            | Self::SessionGone
            | Self::Closed(_)
            | Self::Timeout { .. }
            | Self::Busy(_)
            | Self::Stopping => true,
        }
    }

    /// The same fault while a session was being opened for a call.
    #[must_use]
    pub(crate) fn while_opening(self) -> Self {
        if self.is_unsent() { self } else { Self::NotOpened(Box::new(self)) }
    }

    /// What an operator or a user can do.
    fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "check that the server runs and that the alias file's `url` is right",
            Self::Unauthorized(_) | Self::Credential(_) => "check `auth` and `headers` in the alias file",
            Self::Redirect(_) => "put the address that it redirects to into the alias file's `url`",
            Self::Handshake(_) => {
                "check the alias file's `url` and `era` (`auto` finds out), and look at the server's log"
            }
            Self::NotMcp(_) | Self::Status { .. } => {
                "check that the alias file's `url` is the server's MCP endpoint, and look at the server's log"
            }
            Self::TooLarge(_) => "ask for less at once, or raise `max_message` in the alias file",
            Self::Timeout { .. } => "ask for less at once, or raise the alias file's `timeouts`",
            Self::Busy(_) => "wait, or raise `max_sessions` in the alias file",
            Self::NotOpened(fault) => fault.hint(),
            Self::Closed(_) => {
                "find out whether it was executed before you try again, and look at the server's log"
            }
            Self::SessionGone | Self::Stopping => "try again",
        }
    }

    /// The error that the client of a call gets.
    pub fn failure(&self, alias: &str) -> Failure {
        let fate = if self.is_unsent() {
            "the call was not executed"
        } else {
            "whether the call was executed is not known"
        };
        let failure = Failure::upstream(alias, self.reason(), format!("upstream `{alias}`: {self}; {fate}"));
        let failure = failure.hint(self.hint());
        if self.is_unsent() { failure.retryable() } else { failure }
    }
}
