//! Streamable HTTP with sessions (transports, 2025-03-26 to 2025-11-25).

use crate::{
    front::{
        Front,
        door::{Turned, accepts_both, accepts_events, turn, waits},
        events::{self, Following, Kept},
        reply,
        scope::Names,
        stateless::{CLIENT, Place},
    },
    policy::identity::Identity,
    protocol::{
        call::{Event, Events},
        handshake, headers, stateless,
        version::Version,
    },
    session::table::{Endpoint, Session, Transport},
    wire::{
        error::Failure,
        message::{Answer, Body, Invalid, Message, Notice, Request, excerpt},
        method::Method,
        raw::Raw,
        sse,
    },
};
use axum::{
    body::Body as HttpBody,
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::ALLOW, request::Parts},
    response::Response,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::future::join_all;
use std::sync::Arc;

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// The number of a session's own stream, among those of its calls.
const OWN_STREAM: u64 = 0;

/// What a request is about, once it was let in.
struct Visit {
    front: Front,
    identity: Arc<Identity>,
    headers: HeaderMap,
    endpoint: Endpoint,
    /// Whether the header narrowed the path's scope.
    is_narrowed: bool,
}

/// `POST /mcp`.
pub(super) async fn post(State(front): State<Front>, names: Names, request: HttpRequest) -> Response {
    let (parts, mut body) = request.into_parts();
    let waits = waits(&parts.headers);
    match take(&front, names, parts, &mut body).await {
        Ok(response) => response,
        Err(turned) => front.turned(turned, waits, body).await,
    }
}

/// `GET /mcp`: the session's own stream.
pub(super) async fn get(State(front): State<Front>, names: Names, request: HttpRequest) -> Response {
    if is_new(request.headers()) {
        return posts_only();
    }
    listen(&front, names, request).unwrap_or_else(|turned| *turned)
}

/// `DELETE /mcp`: the session ends.
pub(super) async fn delete(State(front): State<Front>, names: Names, request: HttpRequest) -> Response {
    if is_new(request.headers()) && !request.headers().contains_key(CLIENT) {
        return posts_only();
    }
    let end = || {
        if is_new(request.headers()) {
            return depart(&front, &request);
        }
        let visit = Visit::new(&front, names, request.into_parts().0)?;
        let session = visit.session()?;
        visit.front.end(&session);
        Ok(reply::empty(StatusCode::OK))
    };
    end().unwrap_or_else(|turned: Turned| *turned)
}

async fn take(front: &Front, names: Names, parts: Parts, body: &mut HttpBody) -> Result<Response, Turned> {
    let visit = Visit::new(front, names, parts)?;
    accepts_both(&visit.headers)?;
    let body = front.read(&visit.headers, body).await?;
    match front.parse(&body)? {
        Body::One(Message::Request(request)) if visit.is_stateless(&request) => {
            let Endpoint { path, scope, .. } = &visit.endpoint;
            let place = Place { identity: &visit.identity, path, scope, headers: Some(&visit.headers) };
            Ok(front.stateless(place, request).await)
        }
        Body::One(message) if visit.is_new() => Visit::other(&message),
        Body::One(message) => visit.one(message).await,
        Body::Batch(parts) => visit.batch(parts).await,
    }
}

fn listen(front: &Front, names: Names, request: HttpRequest) -> Result<Response, Turned> {
    let visit = Visit::new(front, names, request.into_parts().0)?;
    accepts_events(&visit.headers)?;
    visit.check_version()?;
    let session = visit.session()?;
    match visit.last_event()? {
        Some((number, after)) if number != OWN_STREAM => {
            let stream = session.replay.find(number).ok_or_else(|| {
                let message = "Invalid request: the stream of `Last-Event-ID` is not kept any more";
                turn(&Failure::invalid_request("stream_gone", message).hint("send the request again"))
            })?;
            if stream.is_over() && after >= stream.last() {
                // There are clients that come back again and again to a stream that ends without the answer they wait
                // for, such as that of a call which was taken back; this status they understand.
                let message =
                    "Invalid request: the stream of `Last-Event-ID` is over, and nothing is missing";
                let failure = Failure::invalid_request("stream_over", message);
                return Err(turn(&failure.status(StatusCode::METHOD_NOT_ALLOWED)));
            }
            Ok(events::follow(front, &session, number, &stream, Some(after), front.0.settings.retry))
        }
        after => Ok(visit.own_stream(&session, after.map(|(_, after)| after))),
    }
}

// === impl Visit ===

impl Visit {
    fn new(front: &Front, names: Names, parts: Parts) -> Result<Self, Turned> {
        let identity = front.admit(&parts.headers, &parts.uri)?;
        let path = front.path_scope(&identity, &names).map_err(|failure| turn(&failure))?;
        let narrowed =
            front.header_scope(&identity, &path, &parts.headers).map_err(|failure| turn(&failure))?;
        let is_narrowed = narrowed.is_some();
        let scope = narrowed.unwrap_or_else(|| path.clone());
        let endpoint = Endpoint { transport: Transport::Streamable, path, scope };
        Ok(Self { front: front.clone(), identity, headers: parts.headers, endpoint, is_narrowed })
    }

    /// The session's own stream; who listened to it before hears nothing more.
    fn own_stream(&self, session: &Arc<Session>, after: Option<u64>) -> Response {
        let settings = &self.front.0.settings;
        let stream = &session.inbox.stream;
        let reader = stream.read(after);
        let first = if events::is_primed(session) {
            sse::priming(OWN_STREAM, stream.position(), settings.retry)
        } else {
            // A comment tells proxies and clients at once that the stream stands.
            Bytes::from_static(sse::KEEP_ALIVE)
        };
        events::following(Following {
            first: Some(first),
            stream: Some(OWN_STREAM),
            reader,
            _kept: Kept { _open: session.open_stream(), _guard: () },
            stop: self.front.0.stop.clone(),
            keep_alive: settings.keep_alive,
        })
    }

    /// The stream and the number of the event that the client saw last, if it says so.
    fn last_event(&self) -> Result<Option<(u64, u64)>, Turned> {
        let Some(id) = self.headers.get(LAST_EVENT_ID) else { return Ok(None) };
        let place = id.to_str().ok().and_then(sse::place);
        place.map(Some).ok_or_else(|| {
            let message = "Invalid request: `Last-Event-ID` is not the id of an event of this session";
            turn(
                &Failure::invalid_request("last_event_id", message)
                    .hint("leave the header out to listen anew"),
            )
        })
    }

    /// Whether a request is of the stateless era: it says so itself, in its metadata or by its header. What names a
    /// session and no such revision is not looked at.
    fn is_stateless(&self, request: &Request) -> bool {
        if self.is_new() || matches!(request.method, Method::Discover | Method::Listen) {
            return true;
        }
        let is_handshake = match self.headers.get(PROTOCOL_VERSION) {
            None => true,
            Some(version) => version.to_str().is_ok_and(|version| Version::parse(version).is_some()),
        };
        if is_handshake && self.headers.contains_key(SESSION_ID) {
            return false;
        }
        stateless::names_version(request.params().as_ref()).is_some()
            || (!is_handshake && self.headers.contains_key(headers::METHOD))
    }

    fn is_new(&self) -> bool {
        is_new(&self.headers)
    }

    /// What is no request, in the stateless era: there is nothing that a client could say or answer over HTTP.
    fn other(message: &Message) -> Result<Response, Turned> {
        match message {
            Message::Answer(_) => {
                let message =
                    "Invalid request: in this revision nothing is asked that a message could answer";
                let failure = Failure::invalid_request("answer", message);
                Err(turn(&failure.hint("send the request again with `inputResponses`")))
            }
            _ => Ok(reply::empty(StatusCode::ACCEPTED)),
        }
    }

    async fn one(self, message: Message) -> Result<Response, Turned> {
        match message {
            Message::Request(request) if request.method == Method::Initialize => {
                Ok(self.initialize(&request).await)
            }
            Message::Request(request) => {
                self.check_version()?;
                let session = self.session_for(Some(&request.id()))?;
                let events = self.front.0.relay.handle(self.front.0.lane, &session, request);
                Ok(reply::events(&self.front, &session, events).await)
            }
            Message::Notice(notice) => {
                self.check_version()?;
                self.front.note(&self.session()?, &notice);
                Ok(reply::empty(StatusCode::ACCEPTED))
            }
            Message::Answer(answer) => {
                self.check_version()?;
                take_answer(&*self.session()?, answer);
                Ok(reply::empty(StatusCode::ACCEPTED))
            }
        }
    }

    async fn initialize(self, request: &Request) -> Response {
        let id = request.id();
        let hello = match handshake::read_hello(request.params().as_ref()) {
            Ok(hello) => hello,
            Err(reason) => return reply::failure(&Failure::invalid_params(reason), Some(&id)),
        };
        self.front.0.relay.settle(&self.identity, &self.endpoint.scope).await;
        let scope = self.endpoint.scope.clone();
        let session = match self.front.0.sessions.open(self.identity.clone(), self.endpoint) {
            Ok(session) => session,
            Err(full) => {
                let failure =
                    Failure::exhausted("too_many_sessions", full.to_string()).hint("try again later");
                return reply::failure(&failure, Some(&id));
            }
        };
        let version = session.introduce(hello);
        let result = self.front.0.relay.welcome(version, &self.identity, &scope);
        tracing::info!(
            client = session.client(),
            key = session.identity.name,
            version = version.as_str(),
            "session opened"
        );
        let answer = Answer::result(&id, &result);
        let mut response = reply::bytes(StatusCode::OK, answer.bytes().clone());
        // Hexadecimal digits are legal in a header.
        if let Ok(value) = HeaderValue::from_str(&session.id) {
            response.headers_mut().insert(SESSION_ID, value);
        }
        response
    }

    /// Batches are part of 2025-03-26 only, and `initialize` is never part of one.
    async fn batch(self, parts: Vec<Result<Message, Invalid>>) -> Result<Response, Turned> {
        let none = |whose: &str| {
            let message = format!(
                "Invalid request: {whose} protocol version has no batches; they were removed in 2025-06-18"
            );
            turn(&Failure::invalid_request("batch", message).hint("send one message in one request"))
        };
        if self.is_new() {
            return Err(none("this"));
        }
        self.check_version()?;
        let session = self.session()?;
        if !session.version().is_some_and(Version::has_batches) {
            return Err(none("this session's"));
        }
        let mut events = Vec::new();
        let mut answers = Vec::new();
        for part in parts {
            match part {
                Ok(Message::Request(request)) if request.method == Method::Initialize => {
                    let failure =
                        Failure::invalid_request("batch", "Invalid request: `initialize` stands alone");
                    answers.push(Answer::error(&request.id(), &failure.object()).bytes().clone());
                }
                Ok(Message::Request(request)) => {
                    events.push(self.front.0.relay.handle(self.front.0.lane, &session, request));
                }
                Ok(Message::Notice(notice)) => self.front.note(&session, &notice),
                Ok(Message::Answer(answer)) => take_answer(&session, answer),
                Err(invalid) => answers.push(invalid_answer(&invalid)),
            }
        }
        if events.is_empty() && answers.is_empty() {
            return Ok(reply::empty(StatusCode::ACCEPTED));
        }
        if !events.is_empty() && session.inbox.hello().is_some_and(|(hello, _)| hello.offers.any()) {
            // There is no asking in the middle of an array.
            return Ok(events::streams(&self.front, &session, answers, events));
        }
        let room = self.front.0.settings.body_limit / events.len().max(1);
        answers.extend(
            join_all(events.into_iter().map(|events| whole(events, room))).await.into_iter().flatten(),
        );
        Ok(reply::bytes(StatusCode::OK, array(&answers)))
    }

    fn session(&self) -> Result<Arc<Session>, Turned> {
        self.session_for(None)
    }

    /// The session that the request names; for any key and endpoint but its own it does not exist.
    fn session_for(&self, request: Option<&Raw>) -> Result<Arc<Session>, Turned> {
        let refuse = |failure: &Failure| Box::new(reply::failure(failure, request));
        let Some(id) = self.headers.get(SESSION_ID) else {
            let failure = Failure::invalid_request(
                "no_session",
                "Invalid request: the header Mcp-Session-Id is missing",
            );
            return Err(refuse(
                &failure.hint("send `initialize` first, and then the session id of its answer; or say in `_meta` and in headers that the request is of 2026-07-28"),
            ));
        };
        let id = id.to_str().unwrap_or_default();
        let belongs = |endpoint: &Endpoint| {
            endpoint.transport == Transport::Streamable
                && endpoint.path == self.endpoint.path
                && (!self.is_narrowed || endpoint.scope == self.endpoint.scope)
        };
        self.front.0.sessions.find(id, self.identity.key, belongs).ok_or_else(|| {
            let failure =
                Failure::invalid_request("unknown_session", "Session not found: it ended, or never was here");
            refuse(&failure.hint("send `initialize` to open a new one").status(StatusCode::NOT_FOUND))
        })
    }

    /// The header may be missing (VS Code never sends it); a version that is not spoken here is refused
    /// (transports, "Protocol Version Header").
    fn check_version(&self) -> Result<(), Turned> {
        let Some(version) = self.headers.get(PROTOCOL_VERSION) else { return Ok(()) };
        let version = version.to_str().unwrap_or("?");
        if Version::parse(version).is_some() {
            return Ok(());
        }
        let known = Version::all_names().join(", ");
        let message =
            format!("Invalid request: MCP-Protocol-Version `{}` is not spoken here", excerpt(version));
        let failure = Failure::invalid_request("protocol_version", message);
        let hint = if version == Version::STATELESS.as_str() { "send `initialize` first; " } else { "" };
        Err(turn(&failure.hint(format!("{hint}this gateway speaks {known}"))))
    }
}

// === impl Front ===

impl Front {
    /// Ends a session and lets go of what upstreams keep for it.
    pub(super) fn end(&self, session: &Session) {
        self.0.sessions.end(session);
        // Nobody is left to hear of its calls, which hold what their upstreams keep for it.
        session.running.cancel_all();
        self.0.relay.release(session, self.0.lane);
        tracing::info!(client = session.client(), key = session.identity.name, "session ended");
    }

    /// Takes a client's notification to where it belongs.
    pub(super) fn note(&self, session: &Arc<Session>, notice: &Notice) {
        self.0.relay.note(self.0.lane, session, notice);
    }
}

/// Whether the header names the revision of the stateless era.
fn is_new(headers: &HeaderMap) -> bool {
    headers
        .get(PROTOCOL_VERSION)
        .is_some_and(|version| version.as_bytes() == Version::STATELESS.as_str().as_bytes())
}

/// A client that has a name of its own says that it goes, which no client has to: what upstreams keep for it is let
/// go of.
fn depart(front: &Front, request: &HttpRequest) -> Result<Response, Turned> {
    let identity = front.admit(request.headers(), request.uri())?;
    let name = request.headers().get(CLIENT).and_then(|name| name.to_str().ok()).unwrap_or_default();
    for session in front.0.sessions.departing(identity.key, name) {
        front.end(&session);
    }
    Ok(reply::empty(StatusCode::OK))
}

/// The stateless era has no streams but the answers', and no sessions to end (2026-07-28, transports).
fn posts_only() -> Response {
    let message = "Invalid request: in this revision everything is a POST";
    let failure = Failure::invalid_request("method_not_allowed", message)
        .hint("send `subscriptions/listen` to hear of changes");
    let mut response = reply::failure(&failure.status(StatusCode::METHOD_NOT_ALLOWED), None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// A client's answer to what an upstream asked.
pub(super) fn take_answer(session: &Session, answer: Answer) {
    let id = answer.id();
    if !session.inbox.asked.answer(answer) {
        tracing::debug!(client = session.client(), %id, "a client answered what nobody asked, or not any more");
    }
}

/// The answer to a part of a batch that is no message.
pub(super) fn invalid_answer(invalid: &Invalid) -> Bytes {
    let id = match invalid {
        Invalid::NotAMessage { id: Some(id), .. } => id.clone(),
        _ => Raw::of(&()),
    };
    Answer::error(&id, &Failure::from(invalid).object()).bytes().clone()
}

/// All messages of one request: in a batch's one JSON array they come together, so that notices are kept only as far
/// as there is room for them.
async fn whole(events: Events, mut room: usize) -> Vec<Bytes> {
    let Events { answer, mut notices, .. } = events;
    let mut messages = Vec::new();
    let mut keep = |messages: &mut Vec<Bytes>, event: Event| match event {
        Event::Notice(notice) => match room.checked_sub(notice.len()) {
            Some(less) => {
                room = less;
                messages.push(notice);
            }
            None => tracing::info!(bytes = notice.len(), "a batch has no room for a notice, which is lost"),
        },
        // Dropped, a question is refused.
        Event::Ask(_) | Event::HangUp(_) => {}
    };
    let mut answer = std::pin::pin!(answer);
    loop {
        tokio::select! {
            biased;
            Some(notice) = notices.recv() => keep(&mut messages, notice),
            answer = &mut answer => {
                while let Ok(notice) = notices.try_recv() {
                    keep(&mut messages, notice);
                }
                messages.extend(answer.map(|answer| answer.bytes().clone()));
                return messages;
            }
        }
    }
}

/// A batch's answer.
pub(super) fn array(messages: &[Bytes]) -> Bytes {
    let mut array =
        BytesMut::with_capacity(messages.iter().map(|message| message.len() + 1).sum::<usize>() + 1);
    for (index, message) in messages.iter().enumerate() {
        array.put_u8(if index == 0 { b'[' } else { b',' });
        array.extend_from_slice(message);
    }
    array.put_u8(b']');
    array.freeze()
}
