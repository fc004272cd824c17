//! What comes back while a request is worked on.

use crate::{protocol::ask::Ask, wire::message::Answer};
use bytes::Bytes;
use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Which of the gateway's threads a call runs on; it stays there, with that thread's upstream connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lane(pub usize);

/// What comes back for one request: notices on the way, then one answer; `None` if the client cancelled it.
pub struct Events {
    /// The answer, with the client's own id; driving it is what makes the call go on.
    pub answer: Answering,
    /// What comes for the client before the answer; bounded, so that a client that does not read holds up its own
    /// call and nothing else.
    pub notices: mpsc::Receiver<Event>,
    /// Takes the request back, if it is under way.
    pub cancel: Option<CancellationToken>,
}

/// What comes for a client before the answer to its request.
#[derive(Debug)]
pub enum Event {
    /// A message that wants no answer: whole, with the client's own progress token.
    Notice(Bytes),
    /// A question of the upstream's.
    Ask(Ask),
    /// The upstream closed the stream of this call before its end, and wants its client to come back for the rest
    /// (SEP-1699), after the time that it named.
    HangUp(Duration),
}

/// What comes back for a request that goes on by itself.
#[derive(Debug)]
pub struct Detached {
    /// The answer; `None` inside if the client cancelled it.
    pub answer: oneshot::Receiver<Option<Answer>>,
    /// As in [`Events`].
    pub notices: mpsc::Receiver<Event>,
}

/// An answer on its way. Dropped early, it goes on by itself: in the handshake era a closed connection does not
/// cancel (transports, "Sending Messages to the Server", item 6).
pub struct Answering(Option<Pin<Box<dyn Future<Output = Option<Answer>> + Send>>>);

/// How many notices may wait for a client.
pub const NOTICES: usize = 16;

// === impl Answering ===

impl Answering {
    /// An answer that the future gives.
    pub fn new(future: impl Future<Output = Option<Answer>> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// An answer that is there already.
    pub fn ready(answer: Answer) -> Self {
        Self::new(std::future::ready(Some(answer)))
    }
}

impl Future for Answering {
    type Output = Option<Answer>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = self.0.as_mut() else { return Poll::Ready(None) };
        let answer = std::task::ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(answer)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(future) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // Bounded by the call's own deadline.
            runtime.spawn(future);
        }
    }
}

impl fmt::Debug for Answering {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Answering").field("pending", &self.0.is_some()).finish()
    }
}

impl Events {
    /// Lets the call go on by itself: its deadline and its cancellation then hold even while its client does not
    /// read what came so far.
    pub fn detach(self) -> Detached {
        let (sender, answer) = oneshot::channel();
        tokio::spawn(async move {
            // A client that is gone needs no answer.
            let _ = sender.send(self.answer.await);
        });
        Detached { answer, notices: self.notices }
    }

    /// An answer that takes a while and can be waited for only.
    pub fn waiting(answer: Answering) -> Self {
        let (_, notices) = mpsc::channel(1);
        Self { answer, notices, cancel: None }
    }

    /// An answer that is there already.
    pub fn ready(answer: Answer) -> Self {
        let (_, notices) = mpsc::channel(1);
        Self { answer: Answering::ready(answer), notices, cancel: None }
    }
}
