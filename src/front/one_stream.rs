//! Clients that have one stream for everything that goes to them, over HTTP+SSE and stdio: how they introduce
//! themselves, and how what comes back for their requests gets there.

use crate::{
    front::Front,
    protocol::{
        call::{Detached, Event, Events},
        handshake,
    },
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Request},
    },
};
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// What `initialize` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// A moment, for upstreams that are just being reached: it is answered without those that take longer.
    AMoment,
    /// The only upstream: without it there is nothing to offer, and `initialize` fails.
    TheUpstream,
}

/// Room for one more answer on the session's stream.
pub(super) fn room(session: &Session) -> Result<OwnedSemaphorePermit, Failure> {
    session.unread.clone().try_acquire_owned().map_err(|_| {
        let failure =
            Failure::exhausted("unread", "as many answers as are allowed wait for this client to read them");
        failure.hint("read the event stream, and send again")
    })
}

/// Passes what comes back for one request to the session's stream; a client that reads slowly holds up its own calls.
pub(super) async fn forward(session: Arc<Session>, _room: OwnedSemaphorePermit, events: Events) {
    // Without an answer the client took the call back.
    if let Some(answer) = accompany(&session, events).await {
        session.inbox.stream.send(answer.bytes().clone()).await;
    }
}

/// Passes everything but the answer to the session's stream, and returns the answer.
pub(super) async fn accompany(session: &Session, events: Events) -> Option<Answer> {
    let Detached { mut answer, mut notices } = events.detach();
    let answer = loop {
        tokio::select! {
            biased;
            Some(event) = notices.recv() => pass(session, event).await,
            answer = &mut answer => break answer.ok().flatten(),
        }
    };
    while let Ok(event) = notices.try_recv() {
        pass(session, event).await;
    }
    answer
}

async fn pass(session: &Session, event: Event) {
    match event {
        // The client is gone: its session ends, and with it everything that was meant for it.
        Event::Notice(notice) => drop(session.inbox.stream.send(notice).await),
        Event::Ask(ask) => session.inbox.ask(ask),
        // The one stream of the session stays open.
        Event::HangUp(_) => {}
    }
}

// === impl Front ===

impl Front {
    /// The answer to `initialize`; a second one changes nothing.
    pub(super) async fn introduce(&self, session: &Session, request: &Request, wait: Wait) -> Answer {
        let refuse = |failure: &Failure| Answer::error(&request.id(), &failure.object());
        let hello = match handshake::read_hello(request.params().as_ref()) {
            Ok(hello) => hello,
            Err(reason) => return refuse(&Failure::invalid_params(reason)),
        };
        let (relay, identity, scope) = (&self.0.relay, &session.identity, &session.endpoint.scope);
        match wait {
            Wait::AMoment => relay.settle(identity, scope).await,
            Wait::TheUpstream => {
                if let Err(failure) = relay.reach(scope).await {
                    let hint = "check the address and the key that this was started with; `initialize` may be sent again";
                    return refuse(&failure.hint(hint));
                }
            }
        }
        let version = session.introduce(hello);
        let (client, key, transport) =
            (session.client(), &identity.name, session.endpoint.transport.as_str());
        tracing::info!(client, key, version = version.as_str(), transport, "client introduced itself");
        Answer::result(&request.id(), &relay.welcome(version, identity, scope))
    }
}
