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
        if !self.send(tools_changed()) {
            self.state().tools_changed = true;
        }
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
