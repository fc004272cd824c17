//! Requests of the stateless era on standard input: each for itself, and all answers on one stream (2026-07-28,
//! transports, "stdio").

use crate::{
    front::{
        Front,
        one_stream::{Wait, room},
        stateless::{Led, Place},
        turn::Step,
    },
    protocol::stateless,
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Notice, Request},
        method::Method,
        params,
        raw::Raw,
    },
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio_util::sync::CancellationToken;

/// Requests that are under way, by the client's own ids.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Mutex<HashMap<Raw, Kept>>>);

#[derive(Debug)]
struct Kept {
    cancel: CancellationToken,
    /// It ends only when the client wants it to.
    listens: bool,
}

/// One of them; forgotten when dropped.
struct One {
    all: UnderWay,
    id: Raw,
    cancel: CancellationToken,
}

/// One request that is being answered.
pub(super) struct Answering {
    pub(super) front: Front,
    /// The conversation, on whose stream the answer goes.
    pub(super) session: Arc<Session>,
    pub(super) going: UnderWay,
    pub(super) wait: Wait,
}

/// Whether a request is of the stateless era: it says so in its metadata, or there is no such method in the other.
pub(super) fn is_stateless(request: &Request) -> bool {
    matches!(request.method, Method::Discover | Method::Listen)
        || stateless::names_version(request.params().as_ref()).is_some()
}

// === impl UnderWay ===

impl UnderWay {
    /// The client takes a request back.
    pub(super) fn cancel(&self, notice: &Notice) {
        if notice.method == Method::Cancelled
            && let Some((id, _)) = notice.params().as_ref().and_then(params::cancelled)
            && let Some(kept) = self.all().get(&id)
        {
            kept.cancel.cancel();
        }
    }

    /// The client is gone.
    pub(super) fn cancel_all(&self) {
        self.all().values().for_each(|kept| kept.cancel.cancel());
    }

    /// Nobody listens any more.
    pub(super) fn hush(&self) {
        self.all().values().filter(|kept| kept.listens).for_each(|kept| kept.cancel.cancel());
    }

    fn begin(&self, id: &Raw, listens: bool) -> Result<One, Failure> {
        let cancel = CancellationToken::new();
        let mut all = self.all();
        if all.contains_key(id) {
            let message = "Invalid request: a request with this id is still under way";
            return Err(
                Failure::invalid_request("id_in_use", message).hint("give every request an id of its own")
            );
        }
        all.insert(id.clone(), Kept { cancel: cancel.clone(), listens });
        Ok(One { all: self.clone(), id: id.clone(), cancel })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Raw, Kept>> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.all.all().remove(&self.id);
    }
}

// === impl Answering ===

impl Answering {
    /// Answers a request; a client that reads slowly holds up its own requests.
    pub(super) async fn run(self, request: Request) {
        let id = request.id();
        let refuse = async |failure: &Failure| self.say(Answer::error(&id, &failure.object()).bytes()).await;
        // Who listens waits for nothing that could be full.
        let listens = request.method == Method::Listen;
        let room = if listens { Ok(None) } else { room(&self.session).map(Some) };
        let (one, _room) = match (self.going.begin(&id, listens), room) {
            (Ok(one), Ok(room)) => (one, room),
            (Err(failure), _) | (_, Err(failure)) => return refuse(&failure).await,
        };
        let answered = async {
            if let Err(failure) = self.answer(request).await {
                refuse(&failure).await;
            }
        };
        // Dropped, it takes back what it began.
        let _ = one.cancel.run_until_cancelled(answered).await;
    }

    async fn answer(&self, request: Request) -> Result<(), Failure> {
        let (identity, scope) = (&self.session.identity, &self.session.endpoint.scope);
        if self.wait == Wait::TheUpstream && request.method == Method::Discover {
            self.front.0.relay.reach(scope).await?;
        }
        let place = Place { identity, path: scope, scope, headers: None };
        match self.front.lead(&place, request).await? {
            Led::Turn(mut turn) => {
                while let Some(step) = turn.next().await {
                    let (Step::Notice(message) | Step::Last(_, message)) = step;
                    self.say(&message).await;
                }
            }
            Led::Listen(mut listening) => {
                while let Some(message) = listening.next().await {
                    self.say(&message).await;
                }
            }
        }
        Ok(())
    }

    async fn say(&self, message: &Bytes) {
        self.session.inbox.stream.send(message.clone()).await;
    }
}
