//! HTTP answers: JSON, errors, and the choice between plain JSON and an event stream.

use crate::{
    front::{Front, events},
    protocol::call::{Answering, Event, Events},
    session::table::Session,
    wire::{error::Failure, message::Answer, raw::Raw},
};
use axum::{
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use bytes::Bytes;
use serde::Serialize;
use std::{pin::pin, sync::Arc};
use tokio::time::sleep;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A JSON body.
pub(super) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    bytes(status, Raw::of(body).into_bytes())
}

/// A body that is JSON already.
pub(super) fn bytes(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A body without content.
pub(super) fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An error as a JSON-RPC answer, under the status that belongs to it; `id` is that of the request, if it is known.
pub(super) fn failure(failure: &Failure, id: Option<&Raw>) -> Response {
    let null = Raw::of(&());
    let answer = Answer::error(id.unwrap_or(&null), &failure.object());
    bytes(failure.http_status(), answer.bytes().clone())
}

/// Waits for the answer: plain JSON if it comes soon and alone, else an event stream.
pub(super) async fn events(front: &Front, session: &Arc<Session>, events: Events) -> Response {
    let Events { mut answer, mut notices, cancel } = events;
    let early = {
        let mut patience = pin!(sleep(front.0.settings.stream_after));
        loop {
            tokio::select! {
                biased;
                Some(event) = notices.recv() => match event {
                    // There is no stream yet that could be hung up, and nothing to come back with.
                    Event::HangUp(_) if !events::is_primed(session) => {}
                    event => break Early::Event(event),
                },
                answer = &mut answer => break Early::Answer(answer),
                () = &mut patience => break Early::Nothing,
            }
        }
    };
    let stream = |first, events| events::stream(front, session, first, events);
    match early {
        Early::Answer(Some(answer)) => match notices.try_recv() {
            // Notices go before the answer, also those that came in the same moment.
            Ok(event) => stream(Some(event), Events { answer: Answering::ready(answer), notices, cancel }),
            Err(_) => bytes(StatusCode::OK, answer.bytes().clone()),
        },
        // The client took the call back: there is nothing to say.
        Early::Answer(None) => events::nothing(),
        Early::Event(event) => stream(Some(event), Events { answer, notices, cancel }),
        Early::Nothing => stream(None, Events { answer, notices, cancel }),
    }
}

enum Early {
    Event(Event),
    Answer(Option<Answer>),
    Nothing,
}
