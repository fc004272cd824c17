//! The bounds of what clients keep with us.

use std::time::Duration;

/// The bounds of what clients keep with us: sessions and parked calls.
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
    /// The most questions of upstreams that may wait for one client's answers.
    pub max_asks: usize,
    /// The most resources that one session may be subscribed to, at each upstream.
    pub max_subscriptions: usize,
    /// The most bytes that one stream keeps to be read again, and that all streams of a session's ended calls do.
    pub replay: usize,
    /// The most bytes that the streams of all sessions keep.
    pub replay_all: usize,
    /// How long the stream of an ended call is kept.
    pub replay_for: Duration,
    /// The most calls that wait for their clients to come back with answers (stateless era).
    pub max_parked: usize,
    /// The most of them that one key may have.
    pub max_parked_per_key: usize,
    /// The most bytes that all of them keep.
    pub parked_bytes: usize,
    /// How long a client may take to come back.
    pub park_for: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            idle: Duration::from_hours(24),
            max_sessions: 100_000,
            queue: 64,
            max_calls: 1_000,
            max_asks: 64,
            max_subscriptions: 10_000,
            replay: 1024 * 1024,
            replay_all: 256 * 1024 * 1024,
            replay_for: Duration::from_mins(5),
            max_parked: 1_000,
            max_parked_per_key: 256,
            parked_bytes: 64 * 1024 * 1024,
            park_for: Duration::from_mins(10),
        }
    }
}
