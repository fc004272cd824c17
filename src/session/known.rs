//! What one session was told by its upstreams and no list has: links in results, and tasks.

use crate::catalog::name::Alias;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// What one session was told by its upstreams.
#[derive(Debug, Default)]
pub struct Known {
    links: Mutex<Told>,
    tasks: Mutex<Told>,
}

/// Whose each name is; the oldest give way.
#[derive(Debug, Default)]
struct Told {
    whose: HashMap<Box<str>, Alias>,
    order: VecDeque<Box<str>>,
}

/// The most names of one kind.
const MOST: usize = 1024;
/// Longer names are not kept.
const LONGEST: usize = 512;

// === impl Known ===

impl Known {
    /// A result of `alias` linked to this URI, which is in no list. Returns whose it is, which may be another's: who
    /// linked first keeps it.
    pub fn link(&self, uri: &str, alias: &Alias) -> Alias {
        lock(&self.links).keep(uri, alias)
    }

    /// Whose result linked to this URI.
    pub fn linked(&self, uri: &str) -> Option<Alias> {
        lock(&self.links).whose.get(uri).cloned()
    }

    /// An upstream made a task (2025-11-25, experimental). `false` if another upstream has one of that id already.
    pub fn task(&self, id: &str, alias: &Alias) -> bool {
        lock(&self.tasks).keep(id, alias) == *alias
    }

    /// Whose task this is.
    pub fn whose(&self, id: &str) -> Option<Alias> {
        lock(&self.tasks).whose.get(id).cloned()
    }
}

fn lock(told: &Mutex<Told>) -> MutexGuard<'_, Told> {
    // No code that holds the lock can panic.
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Told ===

impl Told {
    fn keep(&mut self, name: &str, alias: &Alias) -> Alias {
        if let Some(whose) = self.whose.get(name) {
            return whose.clone();
        }
        if name.len() <= LONGEST {
            if self.order.len() >= MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.whose.remove(&oldest);
            }
            self.order.push_back(name.into());
            self.whose.insert(name.into(), alias.clone());
        }
        alias.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::{Alias, Known, MOST};
    use crate::catalog::settings::NameRules;

    #[test]
    fn who_comes_first_keeps_a_name_and_the_oldest_gives_way() {
        let alias = |text: &str| Alias::parse(text, &NameRules::default()).expect("an alias");
        let (known, a, b) = (Known::default(), alias("a"), alias("b"));
        assert_eq!(known.link("x://0", &a), a);
        assert_eq!(known.link("x://0", &b), a);
        assert!(known.task("1", &a) && known.task("1", &a) && !known.task("1", &b));
        for number in 1..=MOST {
            known.link(&format!("x://{number}"), &b);
        }
        assert_eq!((known.linked("x://0"), known.linked("x://1")), (None, Some(b)));
    }
}
