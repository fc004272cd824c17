//! What an upstream asks of its client, on one session: put to the client whose call caused it, or refused.

use crate::{
    protocol::{ask::Ask, call::Event, handshake::Offers, inbox::Inbox},
    upstream::{audience::Audience, calls::Calls, fault::Fault, sink::Sink},
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        params,
        raw::Raw,
    },
};
use bytes::Bytes;
use serde_json::json;
use std::{
    collections::HashMap,
    future::{Future, pending},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// The questions of one session's upstream.
#[derive(Debug)]
pub(crate) struct Desk {
    audience: Audience,
    /// The client's calls, as far as something can belong to them that comes apart from them.
    calls: Calls,
    /// By the upstream's own id.
    open: Mutex<HashMap<Raw, CancellationToken>>,
    room: Arc<Semaphore>,
    /// Room for refusals.
    turns: Arc<Semaphore>,
    /// How long a client may take.
    patience: Duration,
    over: CancellationToken,
    /// Whether the session was ready for a caller.
    is_open: AtomicBool,
    /// Whether the upstream has no business to ask, since its era has no questions.
    refuses: AtomicBool,
    /// Whether it was said that it asks all the same.
    complained: AtomicBool,
}

/// Takes a question out of the open ones when it ends in whatever way.
struct Opened<'desk> {
    desk: &'desk Desk,
    id: Raw,
    withdrawn: CancellationToken,
}

/// Which call a question came with.
#[derive(Debug)]
pub(crate) enum Cause {
    /// This one: the question ends with it.
    Call(Arc<Sink>),
    /// One of several calls of the same client, of which this is the youngest.
    OneOf(Arc<Sink>),
    /// None; this is the youngest call of the client, whose stream it hears.
    Loose(Arc<Sink>),
    /// None that is known.
    Nothing,
}

/// Whom a question is put to.
enum To {
    Call(Arc<Sink>),
    OneOf(Arc<Sink>),
    Loose(Arc<Sink>),
    Client(Arc<Inbox>),
    Nobody,
}

/// What became of a question.
enum Outcome {
    Answered(Answer),
    /// The upstream took it back.
    Withdrawn,
    /// Nobody took it.
    Dropped,
    Refused(Failure),
}

/// The most questions of one upstream session at once, answered or not yet sent; and of refusals beside them.
const MOST: usize = 64;
/// How long an upstream may take to accept the answer to its question.
const ANSWER: Duration = Duration::from_secs(10);
/// How many steps of progress may wait for an upstream.
const STEPS: usize = 8;

// === impl Desk ===

impl Desk {
    pub(crate) fn new(audience: Audience, patience: Duration) -> Arc<Self> {
        let room = || Arc::new(Semaphore::new(MOST));
        let (room, turns, over) = (room(), room(), CancellationToken::new());
        Arc::new(Self {
            audience,
            calls: Calls::default(),
            open: Mutex::default(),
            room,
            turns,
            patience,
            over,
            is_open: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
            complained: AtomicBool::new(false),
        })
    }

    /// Who hears what belongs to no call.
    pub(crate) fn audience(&self) -> &Audience {
        &self.audience
    }

    /// The client's calls.
    pub(crate) fn calls(&self) -> &Calls {
        &self.calls
    }

    /// Takes a question, which came with a call or with none. `reply` sends a message to the upstream.
    pub(crate) fn take<F>(
        self: &Arc<Self>,
        request: Request,
        cause: Cause,
        reply: impl Fn(Bytes) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        if self.refuses.load(Ordering::Relaxed) {
            let (alias, method) = (&self.audience.alias, &request.method);
            if self.complained.swap(true, Ordering::Relaxed) {
                tracing::trace!(%alias, %method, "an upstream sends another request");
            } else {
                tracing::warn!(%alias, %method, "an upstream sends a request, which its revision of the protocol does not have; nobody answers such");
            }
            return;
        }
        let Ok(room) = self.room.clone().try_acquire_owned() else {
            return self.turn_away(&request, reply);
        };
        let (desk, to) = (self.clone(), self.route(cause));
        tokio::spawn(async move {
            let answer = tokio::select! {
                answer = desk.answer(&request, to, &reply) => answer,
                () = desk.over.cancelled() => None,
            };
            if let Some(answer) = answer {
                desk.say(&reply, answer.bytes().clone()).await;
            }
            drop(room);
        });
    }

    /// Refuses a question for which there is no room. Each refusal waits for the upstream to take it, so that there are
    /// only so many of them as well.
    fn turn_away<F>(self: &Arc<Self>, request: &Request, reply: impl Fn(Bytes) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let (desk, id) = (self.clone(), request.id());
        // Where the id is that of an open question, a refusal would be taken for the answer to that one.
        let turn = self.turns.clone().try_acquire_owned().ok().filter(|_| !self.open().contains_key(&id));
        let Some(turn) = turn else {
            tracing::debug!(alias = %self.audience.alias, most = MOST, "an upstream asks too much at once; a question stays open");
            return;
        };
        let message = format!("{MOST} questions are open in this session, which is the limit");
        let failure = Failure::exhausted("too_many_questions", message).hint("ask again later");
        let answer = Answer::error(&id, &failure.object());
        tokio::spawn(async move {
            tokio::select! {
                () = desk.say(&reply, answer.bytes().clone()) => {}
                () = desk.over.cancelled() => {}
            }
            drop(turn);
        });
    }

    /// The upstream turned out to be of the stateless era, in which it has nothing to ask.
    pub(crate) fn refuse_all(&self) {
        self.refuses.store(true, Ordering::Relaxed);
    }

    /// The upstream takes a question back.
    pub(crate) fn withdraw(&self, id: &Raw) {
        if let Some(withdrawn) = self.open().remove(id) {
            withdrawn.cancel();
        }
    }

    /// A caller has the session from now on.
    pub(crate) fn begin(&self) {
        self.is_open.store(true, Ordering::Relaxed);
    }

    /// The session ended, by itself unless it was closed before: what it was subscribed to is to be subscribed anew.
    pub(crate) fn lose(&self) {
        if self.is_open.load(Ordering::Relaxed) && !self.over.is_cancelled() {
            self.audience.signals.lose();
        }
    }

    /// The session is over: nobody waits for answers any more.
    pub(crate) fn close(&self) {
        self.over.cancel();
    }

    fn route(&self, cause: Cause) -> To {
        match (cause, &self.audience.inbox) {
            (Cause::Call(sink), _) => To::Call(sink),
            (Cause::OneOf(sink), _) => To::OneOf(sink),
            (Cause::Loose(sink), _) => To::Loose(sink),
            (Cause::Nothing, Some(inbox)) => To::Client(inbox.clone()),
            (Cause::Nothing, None) => To::Nobody,
        }
    }

    /// The answer to a question; `None` if nobody wants one any more.
    async fn answer<F>(
        &self,
        request: &Request,
        to: To,
        reply: &(impl Fn(Bytes) -> F + Send + Sync),
    ) -> Option<Answer>
    where
        F: Future<Output = Result<(), Fault>> + Send,
    {
        let result = |value: serde_json::Value| Some(Answer::result(&request.id(), &Raw::of(&value)));
        let refuse = |failure: Failure| Some(Answer::error(&request.id(), &failure.object()));
        if request.method == Method::Ping {
            return result(json!({}));
        }
        let inbox = match &to {
            To::Call(sink) | To::OneOf(sink) | To::Loose(sink) => &sink.inbox,
            To::Client(inbox) => inbox,
            // The session serves the gateway itself, which has no roots.
            To::Nobody if request.method == Method::RootsList => return result(json!({"roots": []})),
            To::Nobody => {
                return refuse(Failure::method_not_found(request.method.as_str()).hint(
                    "no client's call is under way in this session that the question could belong to",
                ));
            }
        };
        let offers = inbox.hello().map_or_else(Offers::default, |(hello, _)| hello.offers);
        if let Err(refusal) = offers.allow(request, self.audience.is_own()) {
            return refuse(refusal.failure(request));
        }
        let params = request.params();
        // In a session of its own a client hears of the end in any case.
        let is_shared = !self.audience.is_own();
        if let Some(params) = params.as_ref().filter(|_| is_shared && request.method == Method::Elicit)
            && let Ok((id, _)) = params::text(params, "elicitationId")
        {
            self.audience.elicitations.keep(&id, inbox);
        }
        let token = params.as_ref().and_then(|params| params::progress_token(params).ok().flatten());
        let opened = self.open_question(request)?;
        let mut outcome = self.put(request, &to, token.clone(), &opened, reply).await;
        // The call on whose stream it was to go ended under it, but its client is still there.
        if let (Outcome::Dropped, To::OneOf(sink) | To::Loose(sink)) = (&outcome, &to) {
            let to = To::Client(sink.inbox.clone());
            outcome = self.put(request, &to, token, &opened, reply).await;
        }
        match outcome {
            Outcome::Answered(answer) => Some(answer.with_id(&request.id())),
            Outcome::Withdrawn => None,
            Outcome::Refused(failure) => refuse(failure),
            Outcome::Dropped => {
                refuse(Failure::exhausted("client_gone", "the client is gone, or takes no more questions"))
            }
        }
    }

    /// Puts a question to a client and waits for its answer.
    async fn put<F>(
        &self,
        request: &Request,
        to: &To,
        token: Option<(Raw, Range<usize>)>,
        opened: &Opened<'_>,
        reply: &(impl Fn(Bytes) -> F + Send + Sync),
    ) -> Outcome
    where
        F: Future<Output = Result<(), Fault>> + Send,
    {
        let ((sender, mut answer), (progress, mut steps)) = (oneshot::channel(), mpsc::channel(STEPS));
        let withdrawn = CancellationToken::new();
        let _guard = withdrawn.clone().drop_guard();
        let ask = Ask { request: request.clone(), token, answer: sender, progress, withdrawn };
        let over = match to {
            To::Call(sink) | To::OneOf(sink) => {
                sink.has_asked.store(true, Ordering::SeqCst);
                Some(sink.over.clone())
            }
            To::Loose(_) | To::Client(_) | To::Nobody => None,
        };
        // A client that does not read takes no question either: neither the call's end nor our patience waits for it.
        let mut put = std::pin::pin!(async {
            match to {
                // A client that is gone takes no questions: dropped, it is answered below.
                To::Call(sink) | To::OneOf(sink) | To::Loose(sink) => {
                    drop(sink.notices.send(Event::Ask(ask)).await);
                }
                To::Client(inbox) => inbox.ask(ask),
                To::Nobody => {}
            }
            pending::<()>().await;
        });
        let mut patience = std::pin::pin!(sleep(self.patience));
        loop {
            tokio::select! {
                biased;
                () = &mut put => {}
                answer = &mut answer => return answer.map_or(Outcome::Dropped, Outcome::Answered),
                Some(step) = steps.recv() => self.say(reply, step).await,
                () = opened.withdrawn.cancelled() => return Outcome::Withdrawn,
                () = ended(over.as_ref()) => {
                    let message = "the call that this question belongs to is over";
                    return Outcome::Refused(Failure::exhausted("call_over", message));
                }
                () = &mut patience => {
                    let message = format!("the client did not answer within {} ms", self.patience.as_millis());
                    return Outcome::Refused(Failure::exhausted("client_timeout", message));
                }
            }
        }
    }

    /// `None` if the upstream uses an id twice: neither answer could be told from the other.
    fn open_question(&self, request: &Request) -> Option<Opened<'_>> {
        let (id, withdrawn) = (request.id(), CancellationToken::new());
        let mut open = self.open();
        if open.contains_key(&id) {
            tracing::warn!(alias = %self.audience.alias, %id, "an upstream asks twice with one id; the second question stays open");
            return None;
        }
        open.insert(id.clone(), withdrawn.clone());
        Some(Opened { desk: self, id, withdrawn })
    }

    async fn say<F>(&self, reply: &(impl Fn(Bytes) -> F + Send + Sync), message: Bytes)
    where
        F: Future<Output = Result<(), Fault>> + Send,
    {
        let alias = &self.audience.alias;
        match timeout(ANSWER, reply(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                // Not the fault itself: what the upstream says of an answer may be the answer.
                let reason = fault.reason();
                tracing::debug!(%alias, reason, "an upstream did not take the answer to its question");
            }
            Err(_) => tracing::debug!(%alias, "an upstream did not take the answer to its question in time"),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Raw, CancellationToken>> {
        // No code that holds the lock can panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.over.cancel();
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        self.desk.open().remove(&self.id);
    }
}

async fn ended(over: Option<&CancellationToken>) {
    match over {
        Some(over) => over.cancelled().await,
        None => pending().await,
    }
}
