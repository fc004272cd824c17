//! Event streams to clients: of one call, of a session, and the legacy stream that is both.

use crate::{
    front::{Front, reply},
    protocol::call::{Detached, Events},
    session::table::Open,
    wire::{message::Answer, sse},
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
use futures_util::stream::{self, Stream};
use std::{convert::Infallible, time::Duration};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;

/// What a call's stream does next.
enum Phase {
    First(Bytes, Box<Phase>),
    Going(Detached),
    /// The answer is there; what came before it goes first.
    Last(Answer, mpsc::Receiver<Bytes>),
    Over,
}

/// The stream of one call: notices, then the answer.
pub(super) fn stream(front: &Front, first: Option<Bytes>, events: Events) -> Response {
    let going = Phase::Going(events.detach());
    run(
        front,
        match first {
            Some(first) => Phase::First(first, Box::new(going)),
            None => going,
        },
    )
}

/// The stream of a call whose answer is there already, with what came in the same moment.
pub(super) fn last(front: &Front, first: Bytes, answer: Answer, notices: mpsc::Receiver<Bytes>) -> Response {
    run(front, Phase::First(first, Box::new(Phase::Last(answer, notices))))
}

fn run(front: &Front, phase: Phase) -> Response {
    let keep_alive = front.0.settings.keep_alive;
    response(stream::unfold(phase, move |phase| next(phase, keep_alive)))
}

async fn next(phase: Phase, keep_alive: Duration) -> Option<(Result<Bytes, Infallible>, Phase)> {
    let (bytes, phase) = match phase {
        Phase::First(first, then) => (sse::encode("message", &first), *then),
        Phase::Going(mut events) => tokio::select! {
            biased;
            Some(notice) = events.notices.recv() => (sse::encode("message", &notice), Phase::Going(events)),
            // Without an answer the client took the call back: there is nothing more to say.
            answer = &mut events.answer => finish(answer.ok().flatten()?, events.notices),
            () = sleep(keep_alive) => (Bytes::from_static(sse::KEEP_ALIVE), Phase::Going(events)),
        },
        Phase::Last(answer, notices) => finish(answer, notices),
        Phase::Over => return None,
    };
    Some((Ok(bytes), phase))
}

fn finish(answer: Answer, mut notices: mpsc::Receiver<Bytes>) -> (Bytes, Phase) {
    match notices.try_recv() {
        Ok(notice) => (sse::encode("message", &notice), Phase::Last(answer, notices)),
        Err(_) => (sse::encode("message", answer.bytes()), Phase::Over),
    }
}

/// A session's own stream, until the session ends, somebody else listens, or the gateway stops.
pub(super) struct Listening<Guard> {
    /// What is sent first, such as the `endpoint` event.
    pub(super) first: Option<Bytes>,
    /// What is sent after it.
    pub(super) messages: mpsc::Receiver<Bytes>,
    /// Keeps the session from being idle.
    pub(super) open: Open,
    /// Dropped with the stream.
    pub(super) guard: Guard,
    /// Ends it.
    pub(super) stop: CancellationToken,
}

/// The response that is a session's own stream.
pub(super) fn listening<Guard: Send + 'static>(front: &Front, listening: Listening<Guard>) -> Response {
    let keep_alive = front.0.settings.keep_alive;
    response(stream::unfold(listening, move |mut listening| async move {
        // Owned by the stream, so that both live as long as it does.
        let _ = (&listening.open, &listening.guard);
        let bytes = match listening.first.take() {
            Some(first) => first,
            None => tokio::select! {
                message = listening.messages.recv() => sse::encode("message", &message?),
                () = listening.stop.cancelled() => return None,
                () = sleep(keep_alive) => Bytes::from_static(sse::KEEP_ALIVE),
            },
        };
        Some((Ok(bytes), listening))
    }))
}

/// A stream that ends without a message.
pub(super) fn nothing() -> Response {
    let mut response = reply::empty(StatusCode::OK);
    mark(&mut response);
    response
}

fn response(events: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events));
    mark(&mut response);
    response
}

fn mark(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx and its likes would hold events back.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
