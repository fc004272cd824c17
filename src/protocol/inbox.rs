//! Messages for a client that belong to none of its calls: they wait until it listens.

use crate::wire::{message::Notice, method::Method};
use bytes::Bytes;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// The way to one client's own stream: the GET stream of streamable HTTP, or the stream of HTTP+SSE.
#[derive(Debug)]
pub struct Inbox {
    state: Mutex<State>,
    queue: usize,
}

#[derive(Debug, Default)]
struct State {
    listener: Option<mpsc::Sender<Bytes>>,
    /// A change of the tools that nobody listened to; one notice tells of any number.
    tools_changed: bool,
}

// === impl Inbox ===

impl Inbox {
    /// An inbox whose stream buffers `queue` messages.
    pub fn new(queue: usize) -> Self {
        Self { state: Mutex::default(), queue }
    }

    /// Begins to listen; who listened before hears nothing more and its stream ends.
    pub fn listen(&self) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(self.queue);
        let mut state = self.state();
        if std::mem::take(&mut state.tools_changed) {
            // The queue is new and empty.
            let _ = sender.try_send(tools_changed());
        }
        state.listener = Some(sender);
        receiver
    }

    /// Sends to whoever listens; `false` if nobody does or the client reads too slowly.
    pub fn send(&self, message: Bytes) -> bool {
        self.state().listener.as_ref().is_some_and(|listener| listener.try_send(message).is_ok())
    }

    /// The sender to whoever listens, for messages that must wait for room.
    pub fn sender(&self) -> Option<mpsc::Sender<Bytes>> {
        self.state().listener.clone()
    }

    /// Passes an upstream's notice on to whoever listens.
    pub fn pass(&self, notice: &Notice) {
        if !self.send(notice.bytes().clone()) {
            tracing::debug!(method = %notice.method, "a client does not listen; a notice for it is lost");
        }
    }

    /// Tells the client, now or when it listens, that its list of tools changed.
    pub fn tools_changed(&self) {
        // Under one lock: who begins to listen meanwhile must not miss it.
        let mut state = self.state();
        let is_heard =
            state.listener.as_ref().is_some_and(|listener| listener.try_send(tools_changed()).is_ok());
        state.tools_changed |= !is_heard;
    }

    /// Ends the stream.
    pub fn close(&self) {
        self.state().listener = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tools_changed() -> Bytes {
    Notice::new(&Method::ToolsChanged, None).bytes().clone()
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Inbox, tools_changed};

    #[test]
    fn a_change_that_nobody_heard_is_told_once() {
        let inbox = Inbox::new(4);
        for _ in 0..3 {
            inbox.tools_changed();
        }
        let mut first = inbox.listen();
        assert_eq!(first.try_recv(), Ok(tools_changed()));
        assert!(first.try_recv().is_err());
        let mut second = inbox.listen();
        assert!(first.try_recv().is_err() && second.try_recv().is_err());
        assert!(first.is_closed(), "who listened before hears nothing more");
        inbox.tools_changed();
        assert_eq!(second.try_recv(), Ok(tools_changed()));
    }

    #[test]
    fn a_client_that_does_not_read_costs_its_queue_and_no_more() {
        let inbox = Inbox::new(2);
        assert!(!inbox.send(Bytes::from_static(b"nobody")));
        let mut listener = inbox.listen();
        assert!(inbox.send(Bytes::from_static(b"1")) && inbox.send(Bytes::from_static(b"2")));
        assert!(!inbox.send(Bytes::from_static(b"3")));
        inbox.tools_changed();
        assert_eq!(listener.try_recv(), Ok(Bytes::from_static(b"1")));
        // What found no room is told when the client listens again.
        assert_eq!(inbox.listen().try_recv(), Ok(tools_changed()));
        inbox.close();
        assert!(!inbox.send(Bytes::from_static(b"late")));
    }
}
