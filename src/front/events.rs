//! Event streams to clients: of one request, of several, and a session's own.

use crate::{
    front::{Front, reply},
    protocol::{
        call::{Detached, Event, Events},
        stream::{Reader, Stream},
        version::Version,
    },
    session::table::{Open, Session, Table},
    wire::sse,
};
use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Puts what comes back for requests on a stream, and ends it with the last answer.
struct Pump {
    session: Arc<Session>,
    stream: Arc<Stream>,
    sessions: Arc<Table>,
    /// Requests that are not answered yet.
    left: Arc<AtomicUsize>,
    /// Whether the stream is of one request.
    is_alone: bool,
}

/// The stream of several requests; what is `ready` goes first.
pub(super) fn streams(
    front: &Front,
    session: &Arc<Session>,
    ready: Vec<Bytes>,
    all: Vec<Events>,
) -> Response {
    open(front, session, ready, None, all)
}

/// The stream of one request, of which `first` was taken already.
pub(super) fn stream(
    front: &Front,
    session: &Arc<Session>,
    first: Option<Event>,
    events: Events,
) -> Response {
    open(front, session, Vec::new(), first, vec![events])
}

fn open(
    front: &Front,
    session: &Arc<Session>,
    ready: Vec<Bytes>,
    first: Option<Event>,
    all: Vec<Events>,
) -> Response {
    let (number, stream) = session.replay.open();
    for message in ready {
        stream.insist(message);
    }
    let left = Arc::new(AtomicUsize::new(all.len()));
    let (mut first, is_alone) = (first, all.len() == 1);
    let retry = match &first {
        Some(Event::HangUp(retry)) => *retry,
        _ => front.0.settings.retry,
    };
    let response = follow(front, session, number, &stream, None, retry);
    for events in all {
        let (session, stream, left) = (session.clone(), stream.clone(), left.clone());
        let sessions = front.0.sessions.clone();
        tokio::spawn(Pump { session, stream, sessions, left, is_alone }.run(first.take(), events.detach()));
    }
    response
}

// === impl Pump ===

impl Pump {
    async fn run(self, first: Option<Event>, events: Detached) {
        let Detached { mut answer, mut notices } = events;
        if let Some(first) = first {
            self.put(first).await;
        }
        let answer = loop {
            tokio::select! {
                biased;
                Some(event) = notices.recv() => self.put(event).await,
                answer = &mut answer => break answer.ok().flatten(),
            }
        };
        while let Ok(event) = notices.try_recv() {
            self.put(event).await;
        }
        // Without an answer the client took the request back: there is nothing more to say.
        if let Some(answer) = answer
            && !self.answer(answer.bytes())
        {
            let bytes = answer.bytes().len();
            tracing::warn!(
                client = self.session.client(),
                bytes,
                "nobody reads an answer and there is no room to keep it; it is lost"
            );
        }
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.stream.finish();
            self.session.replay.tidy();
        }
    }

    /// Puts the answer on the stream; what others have read already makes room for it.
    fn answer(&self, answer: &Bytes) -> bool {
        let is_put = self.stream.insist(answer.clone());
        if !is_put {
            self.sessions.relieve();
        }
        is_put || self.stream.insist(answer.clone())
    }

    async fn put(&self, event: Event) {
        match event {
            Event::Notice(notice) => {
                if !self.stream.send(notice).await {
                    tracing::debug!(
                        client = self.session.client(),
                        "a client does not read; a notice for it is lost"
                    );
                }
            }
            Event::Ask(ask) => self.session.inbox.ask_on(ask, &self.stream),
            // Only who was given an id before the first message can come back, and others may still use the stream.
            Event::HangUp(_) if self.is_alone && is_primed(&self.session) => self.stream.hang_up(),
            Event::HangUp(_) => {}
        }
    }
}

/// The response that follows a stream of the session's calls, from the beginning or behind the message of that number.
pub(super) fn follow(
    front: &Front,
    session: &Arc<Session>,
    number: u64,
    stream: &Arc<Stream>,
    after: Option<u64>,
    retry: Duration,
) -> Response {
    let settings = &front.0.settings;
    let reader = stream.read(after);
    let first = is_primed(session).then(|| sse::priming(number, stream.position(), retry));
    following(Following {
        first,
        stream: Some(number),
        reader,
        _kept: Kept { _open: session.open_stream(), _guard: () },
        stop: CancellationToken::new(),
        keep_alive: settings.keep_alive,
    })
}

/// Whether the session's streams begin with an event without a message: earlier revisions know none, and there are
/// clients that take exception to them.
pub(super) fn is_primed(session: &Session) -> bool {
    session.version().is_some_and(|version| version >= Version::V2025_11_25)
}

/// A stream and who follows it, until it ends, somebody else follows it, or the gateway stops.
pub(super) struct Following<Guard> {
    /// What is sent first, such as the `endpoint` event.
    pub(super) first: Option<Bytes>,
    /// The number that stands in the ids of its events; without one they have none.
    pub(super) stream: Option<u64>,
    pub(super) reader: Reader,
    pub(super) _kept: Kept<Guard>,
    /// Ends it.
    pub(super) stop: CancellationToken,
    /// A comment is sent when nothing came for so long.
    pub(super) keep_alive: Duration,
}

/// What lives as long as the response does.
pub(super) struct Kept<Guard> {
    /// Keeps the session from being idle.
    pub(super) _open: Open,
    /// Dropped with the response.
    pub(super) _guard: Guard,
}

/// The response that follows a stream.
pub(super) fn following<Guard: Send + 'static>(following: Following<Guard>) -> Response {
    let events = stream::unfold(following, |mut following| async move {
        let bytes = match following.first.take() {
            Some(first) => first,
            None => tokio::select! {
                message = following.reader.next() => {
                    let (number, message) = message?;
                    match following.stream {
                        Some(stream) => sse::message(stream, number, &message),
                        None => sse::encode("message", &message),
                    }
                }
                () = following.stop.cancelled() => return None,
                () = sleep(following.keep_alive) => Bytes::from_static(sse::KEEP_ALIVE),
            },
        };
        Some((Ok::<_, Infallible>(bytes), following))
    });
    let mut response = Response::new(Body::from_stream(events));
    mark(&mut response);
    response
}

/// A stream that ends without a message.
pub(super) fn nothing() -> Response {
    let mut response = reply::empty(StatusCode::OK);
    mark(&mut response);
    response
}

/// Marks a response as an event stream.
pub(super) fn mark(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx and its likes would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
