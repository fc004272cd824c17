//! The calls of one session that are under way: whom something can belong to that comes apart from them.

use crate::upstream::sink::Sink;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The calls of one session that are under way, by our id.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<BTreeMap<u64, Arc<Sink>>>);

/// One call's place; given back when dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'calls>(&'calls Calls, u64);

// === impl Calls ===

impl Calls {
    pub(crate) fn begin(&self, id: u64, sink: &Arc<Sink>) -> UnderWay<'_> {
        self.sinks().insert(id, sink.clone());
        UnderWay(self, id)
    }

    /// The call with this id.
    pub(crate) fn sink(&self, id: u64) -> Option<Arc<Sink>> {
        self.sinks().get(&id).cloned()
    }

    /// The call that began last.
    pub(crate) fn youngest(&self) -> Option<Arc<Sink>> {
        self.sinks().last_key_value().map(|(_, sink)| sink.clone())
    }

    fn sinks(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Sink>>> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.sinks().remove(&self.1);
    }
}
