//! What links tell their upstream's supervisor.

use tokio::sync::Notify;

/// What links and callers tell the supervisor; any number of the same signal counts once.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    lists: Notify,
    wanted: Notify,
    lost: Notify,
}

// === impl Signals ===

impl Signals {
    /// The upstream's lists changed.
    pub(crate) fn relist(&self) {
        self.lists.notify_one();
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

    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}
