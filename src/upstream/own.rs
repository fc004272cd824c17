//! The lists of a client's own session, where they are not everybody's: a server may add a tool for one client only.

use crate::{
    catalog::listing::Listing,
    protocol::{call::Lane, inbox::Inbox},
    upstream::{
        Inner, Upstream,
        affinity::Affinity,
        lists::{self, Lists},
        signals::Said,
    },
    wire::method::Method,
};
use std::sync::Arc;

/// Lists of one client, and who is told when they go.
#[derive(Clone, Debug)]
pub(crate) struct OwnLists {
    pub(crate) listing: Arc<Listing>,
    pub(crate) inbox: Arc<Inbox>,
}

/// How many sessions are asked for their lists at once.
const AT_ONCE: usize = 4;

// === impl Upstream ===

impl Upstream {
    /// What the upstream has for this client session only, where that is something else than for everybody.
    pub fn own_listing(&self, session: u64) -> Option<Arc<Listing>> {
        self.0.sessions.own_lists(Affinity::Session(session)).map(|own| own.listing)
    }

    /// Whether the client session has an open session with the upstream for itself, which hears of changes.
    pub fn is_open_for(&self, session: u64) -> bool {
        self.0.sessions.is_open(Affinity::Session(session))
    }
}

// === impl Inner ===

impl Inner {
    /// Reads the lists of the sessions that said that theirs changed.
    pub(in crate::upstream) async fn list_own(&self, lane: Lane) {
        let said: Vec<_> = self.signals.take_own().into_iter().collect();
        for some in said.chunks(AT_ONCE) {
            let all =
                some.iter().map(|(affinity, (said, inbox))| self.list_one(lane, *affinity, *said, inbox));
            futures_util::future::join_all(all).await;
        }
    }

    async fn list_one(&self, lane: Lane, affinity: Affinity, said: Said, inbox: &Arc<Inbox>) {
        if let Some(lease) = self.sessions.lease_open(affinity, lane)
            && let Some(link) = lease.opened()
        {
            let shared = || self.status.borrow().listing.clone();
            let before = self.sessions.own_lists(affinity).map(|own| own.listing).or_else(shared);
            match lists::read(link, lane, &self.settings, &self.ids, before.as_deref()).await {
                Ok(Lists { listing, .. }) => {
                    let is_everybodys = shared().as_deref() == Some(&listing);
                    let own = OwnLists { listing: Arc::new(listing), inbox: inbox.clone() };
                    lease.keep_lists((!is_everybodys).then_some(own));
                    inbox.expect_own_lists();
                }
                Err(fault) => {
                    tracing::info!(alias = %self.alias, "the lists of a client's session cannot be read: {fault}");
                }
            }
        }
        // Whoever says so wants its client to know, even if it looks the same from here.
        for (count, method) in [
            (said.tools, Method::ToolsChanged),
            (said.prompts, Method::PromptsChanged),
            (said.resources, Method::ResourcesChanged),
        ] {
            if count > 0 {
                inbox.changed(&method);
            }
        }
    }
}

// === impl OwnLists ===

impl OwnLists {
    /// The session ended, and with it what only it had.
    pub(crate) fn gone(&self) {
        for method in [Method::ToolsChanged, Method::PromptsChanged, Method::ResourcesChanged] {
            self.inbox.changed(&method);
        }
    }
}
