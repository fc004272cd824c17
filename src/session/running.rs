//! The calls of one session that are under way, by the client's own ids.

use crate::wire::raw::Raw;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio_util::sync::CancellationToken;

/// The calls of one session that are under way.
#[derive(Debug)]
pub struct Running {
    calls: Mutex<HashMap<Raw, CancellationToken>>,
    most: usize,
    numbers: AtomicU64,
}

/// One call's place among the running ones; given back when dropped.
#[derive(Debug)]
pub struct Place {
    running: Arc<Running>,
    id: Raw,
    /// Cancelled when the client takes the call back.
    pub cancel: CancellationToken,
}

/// Why a call gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPlace {
    /// Another call of this session has the same id.
    SameId,
    /// There are as many as are allowed.
    TooMany(usize),
}

// === impl Running ===

impl Running {
    /// Room for `most` calls.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { calls: Mutex::default(), most, numbers: AtomicU64::new(0) })
    }

    /// Begins a call.
    pub fn begin(self: &Arc<Self>, id: &Raw) -> Result<Place, NoPlace> {
        let mut calls = self.calls();
        if calls.contains_key(id) {
            return Err(NoPlace::SameId);
        }
        if calls.len() >= self.most {
            return Err(NoPlace::TooMany(self.most));
        }
        let cancel = CancellationToken::new();
        calls.insert(id.clone(), cancel.clone());
        Ok(Place { running: self.clone(), id: id.clone(), cancel })
    }

    /// Begins a call of a client whose ids need not differ: several of the stateless era may be seen as one.
    pub fn begin_any(self: &Arc<Self>) -> Result<Place, NoPlace> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.begin(&Raw::of(&format!("call {number}")))
    }

    /// Takes a call back; an id that runs no more is nothing special, the answer may be on its way
    /// (cancellation, "Timing Considerations").
    pub fn cancel(&self, id: &Raw) {
        if let Some(cancel) = self.calls().get(id) {
            cancel.cancel();
        }
    }

    /// Takes all calls back: nobody is left to hear of them.
    pub fn cancel_all(&self) {
        self.calls().values().for_each(CancellationToken::cancel);
    }

    /// How many calls are under way.
    pub fn len(&self) -> usize {
        self.calls().len()
    }

    /// Whether no call is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Raw, CancellationToken>> {
        // No code that holds the lock can panic.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.calls().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::{NoPlace, Raw, Running};

    #[test]
    fn a_place_is_given_back_however_the_call_ends() {
        let running = Running::new(2);
        let (one, other) = (Raw::of(&1), Raw::of("1"));
        let place = running.begin(&one).expect("room");
        assert_eq!(running.begin(&one).expect_err("in use"), NoPlace::SameId);
        let another = running.begin(&other).expect("a string is another id than a number");
        assert_eq!(running.begin(&Raw::of(&2)).expect_err("full"), NoPlace::TooMany(2));
        running.cancel(&one);
        assert!(place.cancel.is_cancelled() && !another.cancel.is_cancelled());
        assert_eq!(running.len(), 2, "a cancelled call keeps its place until it ends");
        running.cancel_all();
        assert!(another.cancel.is_cancelled());
        drop((place, another));
        assert!(running.is_empty());
        assert!(!running.begin(&one).expect("room again").cancel.is_cancelled());
    }
}
