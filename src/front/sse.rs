//! HTTP+SSE (transports, 2024-11-05): one stream for everything that goes to the client, POSTs for what comes.

use crate::{
    front::{
        Front,
        door::{Turned, accepts_events, turn, waits},
        events::{self, Following, Kept},
        one_stream::{Wait, forward, room},
        reply,
        scope::Names,
        streamable::{invalid_answer, take_answer},
    },
    session::table::{Endpoint, Session, Transport},
    wire::{
        error::Failure,
        message::{Body, Message},
        method::Method,
        sse,
    },
};
use axum::{
    body::Body as HttpBody,
    extract::{Query, Request as HttpRequest, State, rejection::QueryRejection},
    http::{StatusCode, request::Parts},
    response::Response,
};
use bytes::Bytes;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The query of a POST: which session it is for; both spellings are in use.
#[derive(Debug, Deserialize)]
pub(super) struct Posted {
    #[serde(rename = "sessionId", alias = "session_id")]
    session: Option<String>,
}

/// Ends the session when its stream ends: nothing can be said to the client any more.
struct Bound {
    front: Front,
    session: Arc<Session>,
}

/// `GET /sse`: opens a session.
pub(super) async fn get(State(front): State<Front>, names: Names, request: HttpRequest) -> Response {
    open(front, names, &request).unwrap_or_else(|turned| *turned)
}

/// `POST /messages?sessionId=…`.
pub(super) async fn post(
    State(front): State<Front>,
    query: Result<Query<Posted>, QueryRejection>,
    request: HttpRequest,
) -> Response {
    let (parts, mut body) = request.into_parts();
    match take(&front, query, &parts, &mut body).await {
        Ok(response) => response,
        Err(turned) => front.turned(turned, waits(&parts.headers), body).await,
    }
}

fn open(front: Front, names: Names, request: &HttpRequest) -> Result<Response, Turned> {
    let headers = request.headers();
    let identity = front.admit(headers, request.uri())?;
    accepts_events(headers)?;
    let path = front.path_scope(&identity, &names).map_err(|failure| turn(&failure))?;
    let narrowed = front.header_scope(&identity, &path, headers).map_err(|failure| turn(&failure))?;
    let endpoint =
        Endpoint { transport: Transport::Sse, scope: narrowed.unwrap_or_else(|| path.clone()), path };
    let session = front.0.sessions.open(identity, endpoint).map_err(|full| {
        turn(&Failure::exhausted("too_many_sessions", full.to_string()).hint("try again later"))
    })?;
    tracing::info!(key = session.identity.name, "HTTP+SSE session opened");
    // Relative to the origin: whatever proxy stands in front, the client posts to where it came from.
    let endpoint = format!("/messages?sessionId={}", session.id);
    let (reader, open) = (session.inbox.stream.read(None), session.open_stream());
    Ok(events::following(Following {
        first: Some(sse::encode("endpoint", endpoint.as_bytes())),
        stream: None,
        reader,
        stop: front.0.stop.clone(),
        keep_alive: front.0.settings.keep_alive,
        _kept: Kept { _open: open, _guard: Bound { front, session } },
    }))
}

async fn take(
    front: &Front,
    query: Result<Query<Posted>, QueryRejection>,
    parts: &Parts,
    body: &mut HttpBody,
) -> Result<Response, Turned> {
    let identity = front.admit(&parts.headers, &parts.uri)?;
    let refuse = |message: &'static str| {
        let failure = Failure::invalid_request("no_session", message);
        turn(&failure.hint("GET /sse first, and post to the address of its `endpoint` event"))
    };
    let Ok(Query(posted)) = query else {
        return Err(refuse("Invalid request: the query does not name one `sessionId`"));
    };
    let Some(id) = posted.session else {
        return Err(refuse("Invalid request: the query has no `sessionId`"));
    };
    let belongs = |endpoint: &Endpoint| endpoint.transport == Transport::Sse;
    let session = front.0.sessions.find(&id, identity.key, belongs).ok_or_else(|| {
        let failure = Failure::invalid_request(
            "unknown_session",
            "Session not found: its stream ended, or never was here",
        );
        turn(&failure.hint("GET /sse to open a new one").status(StatusCode::NOT_FOUND))
    })?;
    let body = front.read(&parts.headers, body).await?;
    if session.inbox.stream.is_over() {
        // Its stream ended while the body came: what would be done for it now would be kept for nobody.
        let failure = Failure::invalid_request("unknown_session", "Session not found: its stream ended");
        return Err(turn(&failure.status(StatusCode::NOT_FOUND)));
    }
    match front.parse(&body)? {
        Body::One(message) => front.take_legacy(&session, message).await?,
        Body::Batch(parts) => {
            if session.version().is_some_and(|version| !version.has_batches()) {
                let message = "Invalid request: this session's protocol version has no batches";
                return Err(turn(&Failure::invalid_request("batch", message)));
            }
            for part in parts {
                match part {
                    Ok(message) => front.take_legacy(&session, message).await?,
                    Err(invalid) => deliver(&session, place(&session)?, invalid_answer(&invalid)),
                }
            }
        }
    }
    Ok(reply::empty(StatusCode::ACCEPTED))
}

// === impl Front ===

impl Front {
    async fn take_legacy(&self, session: &Arc<Session>, message: Message) -> Result<(), Turned> {
        match message {
            Message::Request(request) if request.method == Method::Initialize => {
                let place = place(session)?;
                let answer = self.introduce(session, &request, Wait::AMoment).await;
                deliver(session, place, answer.bytes().clone());
            }
            Message::Request(request) => {
                let place = place(session)?;
                let events = self.0.relay.handle(self.0.lane, session, request);
                tokio::spawn(forward(session.clone(), place, events));
            }
            Message::Notice(notice) => self.note(session, &notice),
            Message::Answer(answer) => take_answer(session, answer),
        }
        Ok(())
    }
}

fn deliver(session: &Arc<Session>, room: OwnedSemaphorePermit, bytes: Bytes) {
    let session = session.clone();
    tokio::spawn(async move {
        session.inbox.stream.send(bytes).await;
        drop(room);
    });
}

/// Room for one more answer on the session's stream.
fn place(session: &Session) -> Result<OwnedSemaphorePermit, Turned> {
    room(session).map_err(|failure| turn(&failure))
}

// === impl Bound ===

impl Drop for Bound {
    fn drop(&mut self) {
        self.front.end(&self.session);
    }
}
