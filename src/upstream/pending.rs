//! Calls that wait for an answer on a stream that they share: our id to waiter.

use crate::{
    upstream::{fault::Fault, sink::Sink},
    wire::{message::Answer, raw::Raw},
};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// Calls that wait, by our id; when the stream ends each of them is told, exactly once.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    state: Mutex<State>,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<u64, Waiter>,
    ended: Option<Fault>,
}

#[derive(Debug)]
struct Waiter {
    answer: oneshot::Sender<Result<Answer, Fault>>,
    sink: Option<Arc<Sink>>,
}

/// Gives the place back when the call ends in whatever way.
#[derive(Debug)]
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    id: u64,
    /// The answer.
    pub(crate) answer: oneshot::Receiver<Result<Answer, Fault>>,
}

// === impl Pending ===

impl Pending {
    /// Waits for the answer with this id.
    pub(crate) fn wait(self: &Arc<Self>, id: u64, sink: Option<Arc<Sink>>) -> Result<Waiting, Fault> {
        let (sender, answer) = oneshot::channel();
        let mut state = self.state();
        if let Some(fault) = &state.ended {
            return Err(fault.clone());
        }
        state.waiting.insert(id, Waiter { answer: sender, sink });
        Ok(Waiting { pending: self.clone(), id, answer })
    }

    /// Gives an answer to whom it belongs; `false` if nobody waits for that id.
    pub(crate) fn answer(&self, answer: Answer) -> bool {
        let waiter = number(&answer.id()).and_then(|id| self.state().waiting.remove(&id));
        // A waiter that just gave up needs no answer.
        waiter.is_some_and(|waiter| waiter.answer.send(Ok(answer)).is_ok())
    }

    /// The sink of the call with this id or, where the message names none, of the only call there is.
    pub(crate) fn sink(&self, id: Option<&Raw>) -> Option<Arc<Sink>> {
        let state = self.state();
        match id {
            Some(id) => state.waiting.get(&number(id)?)?.sink.clone(),
            None if state.waiting.len() == 1 => state.waiting.values().next()?.sink.clone(),
            None => None,
        }
    }

    /// Tells everybody who waits, and who will, that the stream is gone.
    pub(crate) fn end(&self, fault: &Fault) {
        let waiting = {
            let mut state = self.state();
            state.ended = Some(fault.clone());
            std::mem::take(&mut state.waiting)
        };
        self.over.cancel();
        for waiter in waiting.into_values() {
            // A waiter that just gave up needs no answer.
            let _ = waiter.answer.send(Err(fault.clone()));
        }
    }

    /// Waits until the stream is gone, and says why.
    pub(crate) async fn wait_end(&self) -> Fault {
        self.over.cancelled().await;
        self.ended().unwrap_or(Fault::Stopping)
    }

    /// Whether the stream is gone.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.state().ended.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.state().waiting.remove(&self.id);
    }
}

/// Our ids are integers; an id of another form is not ours.
pub(crate) fn number(id: &Raw) -> Option<u64> {
    id.as_str().parse().ok()
}
