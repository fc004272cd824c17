//! One stream for all calls of a session: what comes on it is told apart by our ids.

use crate::{
    protocol::stateless::SUBSCRIPTION_ID,
    upstream::{
        desk::{Cause, Desk},
        fault::Fault,
        pending::{Pending, number},
        sink::Sink,
    },
    wire::{
        message::{Message, Notice},
        method::Method,
        params,
        part::Part,
    },
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// What comes on the one stream of a session, and who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Mux {
    /// Who waits for answers.
    pub(crate) pending: Arc<Pending>,
    /// What the upstream asks.
    pub(crate) desk: Arc<Desk>,
    /// The streams of notices that were asked for, by our id; of those that are not acknowledged, who waits for that.
    streams: Arc<Mutex<HashMap<u64, Option<oneshot::Sender<Notice>>>>>,
}

/// The place of a stream of notices; given back when dropped.
#[derive(Debug)]
pub(crate) struct Streaming(Mux, u64);

// === impl Mux ===

impl Mux {
    pub(crate) fn new(desk: Arc<Desk>) -> Self {
        Self { pending: Arc::default(), desk, streams: Arc::default() }
    }

    /// Makes a place for a stream of notices; `acknowledged` is told when the upstream says that it stands.
    pub(crate) fn stream(&self, id: u64, acknowledged: oneshot::Sender<Notice>) -> Streaming {
        self.streams().insert(id, Some(acknowledged));
        Streaming(self.clone(), id)
    }

    fn streams(&self) -> MutexGuard<'_, HashMap<u64, Option<oneshot::Sender<Notice>>>> {
        // No code that holds the lock can panic.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn acknowledge(&self, notice: &Notice) {
        let params = notice.params();
        let id = params.as_ref().and_then(|params| Part::of(params).member("_meta")?.member(SUBSCRIPTION_ID));
        let id = id.and_then(|id| id.string().map_or_else(|| id.text().parse().ok(), |id| id.parse().ok()));
        let acknowledged = id.and_then(|id: u64| self.streams().get_mut(&id)?.take());
        if let Some(acknowledged) = acknowledged {
            // Whoever wanted the stream may have stopped waiting.
            let _ = acknowledged.send(notice.clone());
        }
    }

    /// Takes a message to where it belongs; `reply` sends one to the upstream.
    pub(crate) fn take<F>(&self, message: Message, reply: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        match message {
            Message::Answer(answer) => {
                let id = answer.id();
                if !self.pending.answer(answer) {
                    tracing::debug!(%id, "an upstream answered a call that nobody waits for");
                }
            }
            Message::Notice(notice) => self.pass(&notice),
            Message::Request(request) => {
                let cause = match self.cause() {
                    // Roots are asked for at any time, such as right after the handshake.
                    Cause::Call(sink) | Cause::OneOf(sink)
                        if request.method == Method::RootsList && self.is_own() =>
                    {
                        Cause::Loose(sink)
                    }
                    cause => cause,
                };
                self.desk.take(request, cause, reply);
            }
        }
    }

    /// The stream is gone: everybody who waits is told.
    pub(crate) fn end(&self, fault: &Fault) {
        self.pending.end(fault);
        self.desk.lose();
        self.desk.close();
    }

    /// The call that something without a name belongs to: the only one there is (client features are asked for within a
    /// call, SEP-2260). Of several it could be any; in a session of one client's own any will do, since all of them lead
    /// to that client.
    fn cause(&self) -> Cause {
        if let Some(sink) = self.pending.only() {
            return Cause::Call(sink);
        }
        let youngest = self.is_own().then(|| self.pending.youngest()).flatten();
        youngest.map_or(Cause::Nothing, Cause::OneOf)
    }

    fn is_own(&self) -> bool {
        self.desk.audience().is_own()
    }

    fn sink(&self) -> Option<Arc<Sink>> {
        match self.cause() {
            Cause::Call(sink) | Cause::OneOf(sink) | Cause::Loose(sink) => Some(sink),
            Cause::Nothing => None,
        }
    }

    fn pass(&self, notice: &Notice) {
        let audience = self.desk.audience();
        let sink = match notice.method {
            Method::Cancelled => {
                if let Some((id, _)) = notice.params().as_ref().and_then(params::cancelled) {
                    match number(&id).filter(|id| self.streams().contains_key(id)) {
                        Some(id) => self.pending.give_up(id),
                        None => self.desk.withdraw(&id),
                    }
                }
                return;
            }
            Method::Acknowledged => return self.acknowledge(notice),
            Method::Progress => {
                let token = notice.params().as_ref().and_then(params::progress);
                token.and_then(|(token, _)| self.pending.sink(&token))
            }
            _ if audience.is_with_call(notice) => self.sink(),
            _ => None,
        };
        match sink {
            Some(sink) => sink.pass_now(notice),
            None => audience.hear(notice),
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams().remove(&self.1);
    }
}
