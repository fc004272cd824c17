//! The views of a snapshot that were asked for, so that each is made once.

use crate::catalog::view::{Scope, View};
use dashmap::DashMap;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The views of a snapshot that were asked for; they go when the snapshot goes.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Views {
    /// Of endpoints that the configuration names: as many as it has keys and aliases.
    lasting: DashMap<(u64, Scope), Arc<View>>,
    /// Of subsets, which clients name: the last few, oldest first.
    passing: Mutex<VecDeque<Passing>>,
}

type Passing = ((u64, Scope), Arc<View>);

/// How many views of subsets are kept.
const MOST_PASSING: usize = 16;

// === impl Views ===

impl Views {
    pub(in crate::catalog) fn find(&self, key: &(u64, Scope)) -> Option<Arc<View>> {
        if matches!(key.1, Scope::Some(_)) {
            return self.passing().iter().find(|(known, _)| known == key).map(|(_, view)| view.clone());
        }
        self.lasting.get(key).map(|view| view.clone())
    }

    pub(in crate::catalog) fn keep(&self, key: (u64, Scope), view: Arc<View>) {
        if !matches!(key.1, Scope::Some(_)) {
            self.lasting.insert(key, view);
            return;
        }
        let mut passing = self.passing();
        if passing.len() >= MOST_PASSING {
            passing.pop_front();
        }
        passing.push_back((key, view));
    }

    fn passing(&self) -> MutexGuard<'_, VecDeque<Passing>> {
        // No code that holds the lock can panic.
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
