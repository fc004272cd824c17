//! What an upstream asks of a client: carried to the client whose call caused it, and answered exactly once.
//!
//! **Invariant:** an id that a client sees was given by us, and only the session that was asked can answer it.

use crate::{
    protocol::stream::Stream,
    wire::{
        error::Failure,
        message::{Answer, Notice, Request},
        method::Method,
        params,
        raw::Raw,
    },
};
use bytes::Bytes;
use serde_json::json;
use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// A question of an upstream on its way to a client.
#[derive(Debug)]
pub struct Ask {
    /// The question as the upstream wrote it; its id is the upstream's.
    pub request: Request,
    /// Where the upstream's progress token stands in the parameters.
    pub token: Option<(Raw, Range<usize>)>,
    /// Takes the client's answer; its id is the one that the client saw. Dropped, it means that there will be none.
    pub answer: oneshot::Sender<Answer>,
    /// Takes notices of progress with the upstream's own token, ready to be sent.
    pub progress: mpsc::Sender<Bytes>,
    /// Cancelled when nobody waits for the answer any more.
    pub withdrawn: CancellationToken,
}

/// The questions that one client has not answered yet.
#[derive(Debug)]
pub struct Asked {
    open: Mutex<HashMap<u64, Open>>,
    ids: AtomicU64,
    most: usize,
}

#[derive(Debug)]
struct Open {
    answer: oneshot::Sender<Answer>,
    token: Option<Raw>,
    progress: mpsc::Sender<Bytes>,
    bytes: usize,
}

/// What an upstream may ask of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client did not offer that.
    NotOffered,
    /// It offered elicitation, but not in this mode.
    Mode,
}

/// The most bytes of one client's open questions.
const MOST_BYTES: usize = 16 * 1024 * 1024;

// === impl Asked ===

impl Asked {
    /// Room for `most` questions.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::default(), ids: AtomicU64::new(1), most })
    }

    /// Puts a question on the stream, under an id of ours; on the client's `own` stream what that one does not take any
    /// more. A question for which there is no room is dropped, which tells who asked.
    pub fn put(self: &Arc<Self>, ask: Ask, stream: &Arc<Stream>, own: &Arc<Stream>) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let text = id.to_string();
        let edits: Vec<(Range<usize>, &[u8])> =
            ask.token.iter().map(|(_, at)| (at.clone(), text.as_bytes())).collect();
        let message = ask.request.rewrite(text.as_bytes(), &edits);
        {
            let mut open = self.open();
            let bytes: usize = open.values().map(|open| open.bytes).sum();
            // A single one may be as large as a message can be.
            if open.len() >= self.most || (bytes > 0 && bytes + message.len() > MOST_BYTES) {
                tracing::info!(
                    most = self.most,
                    "a client has as many questions as are allowed; one more is refused"
                );
                return;
            }
            let token = ask.token.map(|(token, _)| token);
            let bytes = message.len();
            open.insert(id, Open { answer: ask.answer, token, progress: ask.progress, bytes });
        }
        let (stream, own) = (stream.clone(), own.clone());
        let put = move |message: Bytes| stream.insist(message.clone()) || own.insist(message);
        if !put(message) {
            self.open().remove(&id);
            return;
        }
        let (asked, withdrawn) = (self.clone(), ask.withdrawn);
        // Ends with the question: who asked cancels the token in any case.
        tokio::spawn(async move {
            withdrawn.cancelled().await;
            if asked.open().remove(&id).is_some() {
                let params =
                    Raw::of(&json!({"requestId": id, "reason": "nobody waits for the answer any more"}));
                put(Notice::new(&Method::Cancelled, Some(&params)).bytes().clone());
            }
        });
    }

    /// Takes a client's answer to where it belongs; `false` if nobody asked, or not any more.
    pub fn answer(&self, answer: Answer) -> bool {
        let open = number(&answer.id()).and_then(|id| self.open().remove(&id));
        open.is_some_and(|open| open.answer.send(answer).is_ok())
    }

    /// Takes a client's progress on a question to where it belongs; `false` if the token is none of ours.
    pub fn progress(&self, notice: &Notice) -> bool {
        let Some(params) = notice.params() else { return false };
        let Some((token, at)) = params::progress(&params) else { return false };
        let open = self.open();
        let Some(asked) = number(&token).and_then(|id| open.get(&id)) else { return false };
        let Some(token) = &asked.token else { return false };
        // An upstream that takes no more misses a step, not the answer.
        asked.progress.try_send(notice.rewrite(&[(at, token.as_bytes())])).is_ok()
    }

    /// The client is gone: nobody gets an answer any more.
    pub fn close(&self) {
        self.open().clear();
    }

    /// How many questions are open.
    pub fn len(&self) -> usize {
        self.open().len()
    }

    /// Whether no question is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        // No code that holds the lock can panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn number(id: &Raw) -> Option<u64> {
    id.as_str().parse().ok()
}

// === impl Refusal ===

impl Refusal {
    /// The error that the upstream gets: -32601 for what the client did not offer (roots, "Error Handling"), -32602
    /// for a mode of elicitation that it did not (elicitation, "Error Handling").
    pub fn failure(self, request: &Request) -> Failure {
        match self {
            Self::NotOffered => Failure::method_not_found(request.method.as_str())
                .hint("the client did not declare the capability for this"),
            Self::Mode => Failure::invalid_params("the client does not support this mode of elicitation"),
        }
    }
}
