//! What a gateway keeps, as its tests see it: nothing, once everything is over.

use crate::kit::{clock::eventually, gateway::Running};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trunkline::{protocol::call::Lane, session::table::Session};

// === impl Running ===

impl Running {
    /// All client sessions.
    pub(crate) fn clients(&self) -> Vec<Arc<Session>> {
        self.gateway.sessions().all()
    }

    /// How many questions wait for clients' answers.
    pub(crate) fn asked(&self) -> usize {
        self.clients().iter().map(|session| session.inbox.asked.len()).sum()
    }

    /// How many calls wait for their clients to come back.
    pub(crate) fn parked(&self) -> usize {
        self.gateway.front(Lane(0), CancellationToken::new()).parked()
    }

    /// How many calls are under way.
    pub(crate) fn calls(&self) -> usize {
        self.clients().iter().map(|session| session.running.len()).sum()
    }

    /// How many subscriptions there are at one upstream.
    pub(crate) fn subscribed(&self, alias: &str) -> usize {
        self.upstream(alias).subscriptions()
    }

    /// Waits until no question is open and no call is under way.
    pub(crate) async fn until_quiet(&self) {
        eventually("no open question and no call", || self.asked() == 0 && self.calls() == 0).await;
    }

    /// Waits until nothing is kept for any client: for when all of them left.
    pub(crate) async fn until_nothing_is_left(&self) {
        eventually("nothing is kept for anybody", || {
            let is_clean = |alias: &str| self.subscribed(alias) == 0;
            let mut upstreams = self.gateway.relay().upstreams();
            self.clients().is_empty()
                && self.gateway.sessions().kept() == 0
                && upstreams.all(|upstream| is_clean(upstream.alias().as_str()))
        })
        .await;
    }
}
