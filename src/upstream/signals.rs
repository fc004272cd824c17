//! What links tell their upstream's supervisor.

use crate::wire::method::Method;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What links and callers tell the supervisor; any number of the same signal counts once.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    lists: Notify,
    said: Mutex<Said>,
    wanted: Notify,
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

// === impl Signals ===

impl Signals {
    /// The upstream says that a list changed.
    pub(crate) fn relist(&self, method: &Method) {
        {
            let mut said = self.said();
            match method {
                Method::ToolsChanged => said.tools += 1,
                Method::PromptsChanged => said.prompts += 1,
                _ => said.resources += 1,
            }
        }
        self.lists.notify_one();
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

    pub(crate) async fn relisted(&self) {
        self.lists.notified().await;
    }

    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}
