//! `subscriptions/listen`: a stream of what changes, for as long as its client listens (2026-07-28,
//! basic/patterns/subscriptions, SEP-2575).

use crate::{
    front::{Front, events},
    protocol::{
        listens::{Filter, Listen, TooMany},
        stream::Reader,
    },
    relay::Named,
    session::table::{Open, Session},
    wire::{error::Failure, message::Request, sse},
};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::stream;
use std::{convert::Infallible, sync::Arc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Somebody who listens; dropped, it ends.
pub(super) struct Listening {
    reader: Reader,
    stop: CancellationToken,
    is_over: bool,
    held: Held,
}

/// What is held for who listens.
struct Held {
    session: Arc<Session>,
    listen: Arc<Listen>,
    /// Ends the subscriptions with it.
    _subscribed: Subscribed,
    /// Keeps the session from being idle.
    _open: Open,
}

/// What upstreams agreed to for one stream; dropped, it is taken back.
struct Subscribed {
    front: Front,
    subscriber: u64,
}

/// Begins to listen to what can be heard of what the request asks for.
pub(super) async fn listen(
    front: &Front,
    session: &Arc<Session>,
    request: &Request,
) -> Result<Listening, Failure> {
    let params = request.params();
    let params =
        params.ok_or_else(|| Failure::invalid_params("`params` must be an object; found nothing"))?;
    let filter = Filter::read(&params).map_err(Failure::invalid_params)?;
    let most = session.limits.max_subscriptions;
    for (key, count, noun) in
        [("resourceSubscriptions", filter.uris.len(), "URIs"), ("taskIds", filter.tasks.len(), "ids")]
    {
        if count > most {
            let message = format!("`params.notifications.{key}` has {count} {noun}; {most} are the most");
            return Err(Failure::invalid_params(message));
        }
    }
    let (subscriber, inner) = (front.0.sessions.number(), &front.0);
    // The client may leave while upstreams are still being asked.
    let ends = Subscribed { front: front.clone(), subscriber };
    let (accepted, names) = inner.relay.listen(inner.lane, session, subscriber, filter).await;
    let rename = || {
        for Named { alias, native, shown } in &names {
            session.inbox.rename(alias.as_str(), native, shown);
        }
    };
    // Before anything is told, and once more: until the stream is there, the end of another may have taken the names away.
    rename();
    let added = session.inbox.listens.add(&request.id(), accepted, session.stream());
    let listen = added.map_err(|TooMany(most)| {
        session.inbox.forget_unheard();
        Failure::exhausted(
            "too_many_streams",
            format!("this client listens on {most} streams, which is the limit"),
        )
        .hint("end some of them")
    })?;
    rename();
    let reader = listen.stream().read(None);
    let (session, stop) = (session.clone(), front.0.stop.clone());
    let held = Held { _open: session.open_stream(), session, listen, _subscribed: ends };
    Ok(Listening { reader, stop, is_over: false, held })
}

// === impl Listening ===

impl Listening {
    /// What is heard next; `None` when it is over.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if self.is_over {
            return None;
        }
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {
                self.is_over = true;
                Some(self.held.listen.end().bytes().clone())
            }
            message = self.reader.next() => Some(message?.1),
        }
    }

    /// The response that tells it.
    pub(super) fn response(self, front: &Front) -> Response {
        let keep_alive = front.0.settings.keep_alive;
        let events = stream::unfold(self, move |mut listening| async move {
            let bytes = tokio::select! {
                message = listening.next() => sse::encode("message", &message?),
                () = sleep(keep_alive) => Bytes::from_static(sse::KEEP_ALIVE),
            };
            Some((Ok::<_, Infallible>(bytes), listening))
        });
        let mut response = Response::new(Body::from_stream(events));
        events::mark(&mut response);
        response
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.session.inbox.listens.remove(&self.listen);
        self.session.inbox.forget_unheard();
        self.listen.stream().close();
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.front.0.relay.unlisten(self.subscriber, self.front.0.lane);
    }
}
