//! The bounds of client sessions.

use std::time::Duration;

/// The bounds of client sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A session that nobody used for this long is ended.
    pub idle: Duration,
    /// The most sessions at once.
    pub max_sessions: usize,
    /// The most messages that wait for one client.
    pub queue: usize,
    /// The most calls of one session at once.
    pub max_calls: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { idle: Duration::from_hours(24), max_sessions: 100_000, queue: 64, max_calls: 1_000 }
    }
}
