//! One request of the stateless era, from its call's beginning, or from where an earlier request left it: to the answer,
//! or to questions with which the client comes back (2026-07-28, basic/patterns/mrtr, SEP-2322).

use crate::{
    catalog::view::Scope,
    front::{Front, stateless::may_ask},
    policy::identity::KeyId,
    protocol::{
        ask::Ask,
        call::{Answering, Detached, Event, Events},
        input,
        seal::{self, State},
        shape::{self, Kind},
    },
    session::{parked::Ticket, table::Session},
    wire::{
        error::{Failure, stateless_status},
        message::{Answer, Notice, Request},
        method::Method,
        params,
        part::Part,
        raw::Raw,
    },
};
use axum::http::StatusCode;
use bytes::Bytes;
use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A call that goes on while its client thinks. Dropped, it is taken back, and its upstream is told.
pub(super) struct Going {
    session: Arc<Session>,
    method: Method,
    answer: Answering,
    notices: mpsc::Receiver<Event>,
    /// What the client was asked and did not answer yet, by the key that it knows.
    questions: Vec<(String, Ask)>,
    /// How many questions there were so far.
    asked: usize,
    /// Until when other questions are waited for, once there is one.
    gathers_until: Option<Instant>,
    /// How the client finds it again.
    ticket: Option<Ticket>,
    is_detached: bool,
    /// The bytes of the request that began it.
    size: usize,
    _cancel: Option<DropGuard>,
}

/// A request under way.
pub(super) struct Turn {
    front: Front,
    bound: Bound,
    /// The request's id.
    id: Raw,
    progress: Progress,
    /// What is told before all else.
    ready: VecDeque<Step>,
    going: Option<Going>,
}

/// How progress is told with a request.
enum Progress {
    /// As it comes.
    AsItIs,
    /// The request takes up the call of an earlier one, and has this progress token, or none.
    With(Option<Raw>),
}

/// What comes next for a client.
pub(super) enum Step {
    /// A notice on the way.
    Notice(Bytes),
    /// The end of this request, and the status of a body that holds nothing else.
    Last(StatusCode, Bytes),
}

/// What a request is about that began a call.
pub(super) struct Begun {
    pub(super) session: Arc<Session>,
    pub(super) request: Request,
}

/// What is sealed for a client is bound to: its key, its endpoint, and what it asked for. Few requests need it.
pub(super) struct Bound {
    pub(super) key: KeyId,
    pub(super) scope: Scope,
    pub(super) request: Request,
}

/// How long other questions of the same call are waited for: each round costs the client a request.
const GATHER: Duration = Duration::from_millis(20);

// === impl Bound ===

impl Bound {
    /// As bytes, to be sealed with.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let params = self.request.params();
        let asked = params.as_ref().map(|params| (&self.request.method, params));
        seal::bound(self.key.number(), &format!("{:?}", self.scope), asked)
    }
}

// === impl Going ===

impl Going {
    /// Whose it is.
    pub(super) fn key(&self) -> KeyId {
        self.session.identity.key
    }

    /// The client's name, for logs.
    pub(super) fn client(&self) -> &str {
        self.session.client()
    }

    /// The key's name, for logs.
    pub(super) fn name(&self) -> &str {
        &self.session.identity.name
    }

    /// How many bytes are kept for it: its request and its questions.
    fn bytes(&self) -> usize {
        self.size + self.questions.iter().map(|(_, ask)| ask.request.bytes().len()).sum::<usize>()
    }

    /// Gives the client's answers to who asked; what was not asked is nobody's, and what was not answered is asked again.
    pub(super) fn take(&mut self, responses: Vec<(String, Raw)>) {
        for (key, response) in responses {
            let Some(index) = self.questions.iter().position(|(known, _)| *known == key) else { continue };
            // No result is anything but an object, and what is none is as good as nothing.
            if response.as_str().starts_with('{') {
                let (_, ask) = self.questions.swap_remove(index);
                // Who asked may not wait any more.
                let _ = ask.answer.send(Answer::result(&Raw::of(&0), &response));
            }
        }
    }

    fn keep(&mut self, ask: Ask) {
        self.asked += 1;
        self.questions.push((format!("question-{}", self.asked), ask));
    }

    /// Lets the call go on by itself: nobody drives it while its client thinks.
    fn detach(&mut self) {
        if std::mem::replace(&mut self.is_detached, true) {
            return;
        }
        let (_, nothing) = mpsc::channel(1);
        let notices = std::mem::replace(&mut self.notices, nothing);
        let answer = std::mem::replace(&mut self.answer, Answering::new(std::future::ready(None)));
        let Detached { answer, notices } = Events { answer, notices, cancel: None }.detach();
        self.notices = notices;
        self.answer = Answering::new(async { answer.await.ok().flatten() });
    }
}

impl fmt::Debug for Going {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Going").field("method", &self.method).finish_non_exhaustive()
    }
}

// === impl Turn ===

impl Turn {
    /// A call that begins.
    pub(super) fn begin(front: &Front, begun: Begun, events: Events) -> Self {
        let Begun { session, request } = begun;
        let (id, method) = (request.id(), request.method.clone());
        let (key, scope) = (session.identity.key, session.endpoint.scope.clone());
        let bound = Bound { key, scope, request };
        let Events { answer, notices, cancel } = events;
        let going = Going {
            session,
            method,
            answer,
            notices,
            questions: Vec::new(),
            asked: 0,
            gathers_until: None,
            ticket: None,
            is_detached: false,
            size: bound.request.bytes().len(),
            _cancel: cancel.map(CancellationToken::drop_guard),
        };
        Self {
            front: front.clone(),
            bound,
            id,
            progress: Progress::AsItIs,
            ready: VecDeque::new(),
            going: Some(going),
        }
    }

    /// A call that goes on with another request, which has a progress token of its own, or none.
    pub(super) fn resume(front: &Front, going: Going, bound: Bound, token: Option<Raw>) -> Self {
        let (id, progress) = (bound.request.id(), Progress::With(token));
        Self { front: front.clone(), bound, id, progress, ready: VecDeque::new(), going: Some(going) }
    }

    /// What comes next; `None` after the end. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            let going = self.going.as_mut()?;
            if !going.questions.is_empty() {
                self.gather().await;
                continue;
            }
            tokio::select! {
                biased;
                Some(event) = going.notices.recv() => self.event(event),
                answer = &mut going.answer => self.answer(answer),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Notice(notice) => {
                let notice = self.notice(notice);
                self.ready.extend(notice.map(Step::Notice));
            }
            Event::Ask(ask) => match &mut self.going {
                Some(going) if may_ask(&going.method) => {
                    going.detach();
                    going.keep(ask);
                }
                // Dropped, a question is refused: nothing but these may be answered with one.
                _ => tracing::debug!("an upstream asks in a request that cannot be answered with a question"),
            },
            // There is no coming back to this stream.
            Event::HangUp(_) => {}
        }
    }

    /// Waits a moment for more questions, and then asks the client.
    async fn gather(&mut self) {
        let Some(going) = &mut self.going else { return };
        // Whatever else the upstream says meanwhile does not put it off.
        let until = *going.gathers_until.get_or_insert_with(|| Instant::now() + GATHER);
        if Instant::now() >= until {
            return self.ask();
        }
        let more = async {
            tokio::select! {
                biased;
                Some(event) = going.notices.recv() => Ok(event),
                answer = &mut going.answer => Err(answer),
            }
        };
        match timeout_at(until, more).await {
            Ok(Ok(event)) => self.event(event),
            // It ended without waiting for what it asked.
            Ok(Err(answer)) => self.answer(answer),
            Err(_) => self.ask(),
        }
    }

    fn ask(&mut self) {
        let Some(mut going) = self.going.take() else { return };
        going.gathers_until = None;
        going.questions.retain(|(_, ask)| !ask.withdrawn.is_cancelled());
        if going.questions.is_empty() {
            self.going = Some(going);
            return;
        }
        let requests: Vec<_> = going
            .questions
            .iter()
            .map(|(key, ask)| (key.clone(), ask.request.method.clone(), asked(ask)))
            .collect();
        let (key, bytes, inner) = (going.key(), going.bytes(), &self.front.0);
        let limits = inner.sessions.settings();
        let ticket = going.ticket.map_or_else(Ticket::first, Ticket::next);
        going.ticket = Some(ticket);
        let step = match inner.parked.put_back(ticket, key, bytes, limits.park_for, going) {
            Ok(Ticket { id, round }) => {
                let state = State::Parked { id, round }.to_bytes();
                let state = inner.seal.seal(&state, &self.bound.to_bytes(), Some(limits.park_for));
                let result = input::input_required_result(&requests, Some(&state));
                let answer = Answer::result(&self.id, &result);
                Step::Last(StatusCode::OK, answer.bytes().clone())
            }
            Err(full) => {
                let message = format!("an upstream asks this client something, and {full}");
                let failure = Failure::exhausted("too_many_questions", message)
                    .hint("answer what was asked before, and then try again");
                self.refusal(&failure)
            }
        };
        self.ready.push_back(step);
    }

    fn answer(&mut self, answer: Option<Answer>) {
        let Some(mut going) = self.going.take() else { return };
        // Notices go before the answer, also those that came in the same moment.
        while let Ok(event) = going.notices.try_recv() {
            // Dropped, a question is refused.
            if let Event::Notice(notice) = event {
                let notice = self.notice(notice);
                self.ready.extend(notice.map(Step::Notice));
            }
        }
        let step = match answer {
            Some(answer) => self.last(&going, answer),
            // Whoever took it back, the client still waits.
            None => {
                let failure =
                    Failure::exhausted("taken_back", "the call was taken back").status(StatusCode::OK);
                self.refusal(&failure.hint("send the request again from its beginning"))
            }
        };
        self.ready.push_back(step);
    }

    /// The answer as the client's era wants it.
    fn last(&self, going: &Going, answer: Answer) -> Step {
        let answer = if answer.id() == self.id { answer } else { answer.with_id(&self.id) };
        let payload = answer.payload();
        if answer.is_error {
            if let Some(step) = self.addresses(going, &payload) {
                return step;
            }
            let answer = match shape::not_found_stateless(&payload) {
                Some(edit) => answer.rewrite(&[edit]),
                None => answer,
            };
            return Step::Last(status(&answer.payload()), answer.bytes().clone());
        }
        let odd = |what: &str| {
            let message = format!("the upstream answered with {what}");
            self.refusal(&Failure::exhausted("upstream_not_mcp", message).status(StatusCode::OK))
        };
        let answer = match shape::kind(&payload) {
            Kind::Other => return odd("a result of a type that is not known here"),
            Kind::InputRequired if !may_ask(&going.method) => {
                return odd("a question, in a request that has none");
            }
            Kind::InputRequired => match input::input_required(&payload) {
                Ok(required) => match required.state {
                    Some((state, at)) => {
                        // What an upstream keeps with a client is for nobody but this client.
                        let content = State::Upstreams(state).to_bytes();
                        let sealed = Raw::of(&self.front.0.seal.seal(&content, &self.bound.to_bytes(), None));
                        answer.rewrite(&[(at, sealed)])
                    }
                    None => answer,
                },
                Err(reason) => {
                    return odd(&format!("a question that is not as specified: {reason}"));
                }
            },
            _ => {
                let info = self.front.0.relay.server_info(&going.session.endpoint.scope);
                answer.rewrite(&shape::complete(&going.method, &payload, info.as_ref()))
            }
        };
        Step::Last(StatusCode::OK, answer.bytes().clone())
    }

    /// What the handshake era says with error -32042: addresses that have to be opened before the request is sent again.
    fn addresses(&self, going: &Going, error: &Raw) -> Option<Step> {
        let requests = input::url_elicitations(error)?;
        let can_ask = may_ask(&going.method);
        let offers_urls = going.session.inbox.hello().is_some_and(|(hello, _)| hello.offers.urls);
        if !(can_ask && offers_urls) {
            // This era knows no such error.
            let said =
                Part::of(error).member("message").and_then(Part::string).unwrap_or_default().into_owned();
            let addresses: Vec<_> = requests
                .iter()
                .filter_map(|(_, _, params)| Some(params::text(params.as_ref()?, "url").ok()?.0.into_owned()))
                .collect();
            let failure = Failure::exhausted("address", said).status(StatusCode::OK);
            return Some(self.refusal(
                &failure.hint(format!("open in a browser, and then try again: {}", addresses.join(", "))),
            ));
        }
        let state = self.front.0.seal.seal(&State::Again.to_bytes(), &self.bound.to_bytes(), None);
        let result = input::input_required_result(&requests, Some(&state));
        Some(Step::Last(StatusCode::OK, Answer::result(&self.id, &result).bytes().clone()))
    }

    fn refusal(&self, failure: &Failure) -> Step {
        let error = failure.object();
        Step::Last(failure.stateless_status(), Answer::error(&self.id, &error).bytes().clone())
    }

    /// A notice as it goes with this request, if it does.
    fn notice(&self, bytes: Bytes) -> Option<Bytes> {
        let notice = Notice::parse(&bytes)?;
        match notice.method {
            Method::LogMessage | Method::Other(_) => Some(bytes),
            Method::Progress => match &self.progress {
                Progress::AsItIs => Some(bytes),
                // Its call began with another request, whose token means nothing to this one.
                Progress::With(token) => {
                    let (_, at) = params::progress(&notice.params()?)?;
                    Some(notice.rewrite(&[(at, token.as_ref()?.as_bytes())]))
                }
            },
            Method::ResourcesUpdated => {
                self.going.as_ref()?.session.inbox.listens.updated(&notice);
                None
            }
            method => {
                tracing::debug!(%method, "a notice that this era does not know goes to nobody");
                None
            }
        }
    }
}

/// The status of a body that holds nothing but this error.
fn status(error: &Raw) -> StatusCode {
    let code = Part::of(error).member("code").and_then(|code| code.text().parse().ok());
    code.map_or(StatusCode::OK, stateless_status)
}

/// The parameters of a question as this era has them: nothing names it but its key.
fn asked(ask: &Ask) -> Option<Raw> {
    let params = ask.request.params()?;
    Some(input::question_for_stateless(&params).unwrap_or(params))
}
