//! Where what comes with one call goes: back to its client, with the client's own progress token.

use crate::{
    catalog::name::Alias,
    protocol::{call::Event, inbox::Inbox, level},
    wire::{message::Notice, method::Method, params, raw::Raw},
};
use bytes::Bytes;
use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Where what comes with one call goes.
#[derive(Debug)]
pub(crate) struct Sink {
    /// The upstream's alias.
    pub(crate) alias: Alias,
    /// The client's progress token, if it sent one; upstream it is our id.
    pub(crate) token: Option<Raw>,
    /// Whether the client was told that there are log messages.
    pub(crate) logs: bool,
    /// The least severe log messages that the client wants, where the upstream cannot know it.
    pub(crate) level: Option<&'static str>,
    /// The client.
    pub(crate) inbox: Arc<Inbox>,
    /// To the client, on the call's own stream.
    pub(crate) notices: mpsc::Sender<Event>,
    /// Cancelled when the call is over, as far as its questions are concerned.
    pub(crate) over: CancellationToken,
    /// Whether a question came with it.
    pub(crate) has_asked: AtomicBool,
}

// === impl Sink ===

impl Sink {
    /// The same for another request of the same call: its questions end with it and not before.
    pub(crate) fn again(&self) -> Arc<Self> {
        Arc::new(Self {
            alias: self.alias.clone(),
            token: self.token.clone(),
            inbox: self.inbox.clone(),
            notices: self.notices.clone(),
            over: CancellationToken::new(),
            has_asked: AtomicBool::new(false),
            ..*self
        })
    }

    /// Passes a notice on; it waits for a client that reads slowly, within the call's deadline.
    pub(crate) async fn pass(&self, notice: &Notice) {
        if let Some(bytes) = self.for_client(notice) {
            // The client is gone, which does not concern the call.
            let _ = self.notices.send(Event::Notice(bytes)).await;
        }
    }

    /// Passes a notice on if there is room: on a stream that calls share, a slow client must not hold up the others.
    pub(crate) fn pass_now(&self, notice: &Notice) {
        if let Some(bytes) = self.for_client(notice)
            && self.notices.try_send(Event::Notice(bytes)).is_err()
        {
            tracing::debug!(method = %notice.method, "a client reads too slowly; a notice for it is lost");
        }
    }

    /// The upstream hung up and wants its client to come back.
    pub(crate) fn hang_up(&self, retry: Duration) {
        // A client that reads slowly has enough to read as it is.
        let _ = self.notices.try_send(Event::HangUp(retry));
    }

    fn for_client(&self, notice: &Notice) -> Option<Bytes> {
        match notice.method {
            Method::LogMessage if !self.logs => {
                tracing::debug!("an upstream's log message is not passed on: the client was not offered any");
                None
            }
            Method::LogMessage if self.level.is_some_and(|level| !level::reaches(notice, level)) => None,
            Method::Progress => {
                // Progress that the client did not ask for is not passed on.
                let token = self.token.as_ref()?;
                let (_, at) = params::progress(&notice.params()?)?;
                Some(notice.rewrite(&[(at, token.as_bytes())]))
            }
            _ => Some(self.inbox.adapt(self.alias.as_str(), notice)),
        }
    }
}
