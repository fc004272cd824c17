//! Where the notices of one call go: back to its client, with the client's own progress token.

use crate::wire::{message::Notice, method::Method, params, raw::Raw};
use bytes::Bytes;
use tokio::sync::mpsc;

/// Where the notices of one call go.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The client's progress token, if it sent one; upstream it is our id.
    pub(crate) token: Option<Raw>,
    /// Whether the client was told that log messages come here.
    pub(crate) logs: bool,
    /// To the client.
    pub(crate) notices: mpsc::Sender<Bytes>,
}

// === impl Sink ===

impl Sink {
    /// Passes a notice on; it waits for a client that reads slowly, within the call's deadline.
    pub(crate) async fn pass(&self, notice: &Notice) {
        if let Some(bytes) = self.for_client(notice) {
            // The client is gone, which does not concern the call.
            let _ = self.notices.send(bytes).await;
        }
    }

    /// Passes a notice on if there is room: on a stream that calls share, a slow client must not hold up the others.
    pub(crate) fn pass_now(&self, notice: &Notice) {
        if let Some(bytes) = self.for_client(notice)
            && self.notices.try_send(bytes).is_err()
        {
            tracing::info!(method = %notice.method, "a client reads too slowly; a notice for it is lost");
        }
    }

    fn for_client(&self, notice: &Notice) -> Option<Bytes> {
        if notice.method == Method::LogMessage && !self.logs {
            tracing::debug!("an upstream's log message is not passed on: the client was not offered any");
            return None;
        }
        if notice.method != Method::Progress {
            return Some(notice.bytes().clone());
        }
        // Progress that the client did not ask for is not passed on.
        let token = self.token.as_ref()?;
        let (_, at) = params::progress(&notice.params()?)?;
        Some(notice.rewrite(&[(at, token.as_bytes())]))
    }
}
