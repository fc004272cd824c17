//! What links tell their upstream's supervisor.

use crate::{protocol::inbox::Inbox, upstream::affinity::Affinity, wire::method::Method};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What links and callers tell the supervisor; any number of the same signal counts once.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    lists: Notify,
    said: Mutex<Said>,
    own_lists: Notify,
    own: Mutex<HashMap<Affinity, (Said, Arc<Inbox>)>>,
    wanted: Notify,
    lost: Notify,
}

/// How often an upstream said that each of its lists changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `notifications/tools/list_changed`.
    pub tools: u64,
    /// `notifications/prompts/list_changed`.
    pub prompts: u64,
    /// `notifications/resources/list_changed`.
    pub resources: u64,
}

// === impl Said ===

impl Said {
    fn count(&mut self, method: &Method) {
        match method {
            Method::ToolsChanged => self.tools += 1,
            Method::PromptsChanged => self.prompts += 1,
            _ => self.resources += 1,
        }
    }
}

// === impl Signals ===

impl Signals {
    /// The upstream says to everybody that a list changed.
    pub(crate) fn relist(&self, method: &Method) {
        self.said().count(method);
        self.lists.notify_one();
    }

    /// The lists are to be read although nobody said that they changed.
    pub(crate) fn look_again(&self) {
        self.lists.notify_one();
    }

    /// The upstream says to one client that a list changed, which may be so for that client only.
    pub(crate) fn relist_own(&self, affinity: Affinity, method: Option<&Method>, inbox: &Arc<Inbox>) {
        {
            let mut own = self.own();
            let (said, _) = own.entry(affinity).or_insert_with(|| (Said::default(), inbox.clone()));
            if let Some(method) = method {
                said.count(method);
            }
        }
        self.own_lists.notify_one();
        if method.is_some() {
            self.lists.notify_one();
        }
    }

    /// The clients whose upstream sessions said that a list changed, and which.
    pub(crate) fn take_own(&self) -> HashMap<Affinity, (Said, Arc<Inbox>)> {
        std::mem::take(&mut *self.own())
    }

    fn own(&self) -> MutexGuard<'_, HashMap<Affinity, (Said, Arc<Inbox>)>> {
        // No code that holds the lock can panic.
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the upstream said so far.
    pub(crate) fn said(&self) -> MutexGuard<'_, Said> {
        // No code that holds the lock can panic.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody wants to use the upstream now.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// A caller's session ended by itself.
    pub(crate) fn lose(&self) {
        self.lost.notify_one();
    }

    pub(crate) async fn lost(&self) {
        self.lost.notified().await;
    }

    pub(crate) async fn relisted(&self) {
        self.lists.notified().await;
    }

    pub(crate) async fn relisted_own(&self) {
        self.own_lists.notified().await;
    }

    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}
