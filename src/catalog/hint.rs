//! For how long, and for whom, lists may be kept (2026-07-28, "Caching"): what upstreams said, and what is left of it.

use crate::{
    catalog::listing::Kind,
    wire::{message::excerpt, part::Part, raw::Raw, splice::splice},
};
use arc_swap::ArcSwap;
use std::time::Duration;
use tokio::time::Instant;

/// The longest promise that is passed on: what is shown may also change by the gateway's own configuration.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// For how long, and for whom, a list may be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hint {
    /// For how long; `None` if nothing was promised, which clients read as no time at all.
    pub ttl: Option<Duration>,
    /// Whether it may be shown to others than who asked for it.
    pub is_public: bool,
}

/// What one upstream said when its lists were read last. Newer hints for lists that are the same take the place of the
/// old ones here, so that nothing has to be merged or rendered for them.
#[derive(Debug, Default)]
pub struct Hints(ArcSwap<[Option<Given>; Kind::ALL.len()]>);

/// A hint, and when the list was asked for.
#[derive(Clone, Copy, Debug)]
struct Given {
    hint: Hint,
    at: Instant,
}

// === impl Hint ===

impl Hint {
    /// What the result of a list request says, and what is odd about it, for the log.
    pub(in crate::catalog) fn read(result: &Raw) -> (Self, Vec<String>) {
        let [ttl, scope] = Part::of(result).members(["ttlMs", "cacheScope"]).unwrap_or_default();
        let mut oddities = Vec::new();
        let mut odd = |key: &str, wanted: &str, found: Part<'_>| {
            oddities.push(format!("`{key}` must be {wanted}; found {}", excerpt(found.text())));
        };
        let ttl = ttl.and_then(|ttl| {
            let Ok(ms) = ttl.text().parse() else {
                odd("ttlMs", "an integer that is not negative", ttl);
                return None;
            };
            Some(Duration::from_millis(ms).min(LONGEST))
        });
        let is_public = scope.is_some_and(|scope| match scope.string().as_deref() {
            Some("public") => true,
            Some("private") => false,
            _ => {
                odd("cacheScope", "`public` or `private`", scope);
                false
            }
        });
        (Self { ttl, is_public }, oddities)
    }

    /// What holds for two texts together: the shorter time, and what is private in one of them is private.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let ttl = self.ttl.zip(other.ttl).map(|(one, other)| one.min(other));
        Self { ttl, is_public: self.is_public && other.is_public }
    }

    /// The members that a result of the stateless era begins with, with the comma behind them.
    pub fn members(self) -> String {
        let scope = if self.is_public { "public" } else { "private" };
        let ttl = self.ttl.unwrap_or_default().as_millis();
        format!(r#""resultType":"complete","ttlMs":{ttl},"cacheScope":"{scope}","#)
    }

    /// A page with these members in front; pages are objects that have members.
    pub fn stamp(self, page: &Raw) -> Raw {
        // Members in front of the first one of an object: still valid.
        Raw::spliced(splice(page.as_bytes(), &mut [(1..1, self.members().as_bytes())]))
    }
}

// === impl Hints ===

impl Hints {
    /// Takes down what all pages of a list together say; `at` is when the first of them was asked for.
    pub fn set(&self, kind: Kind, hint: Hint, at: Instant) {
        self.put(kind, Some(Given { hint, at }));
    }

    /// Keeps what `before` says of a kind: its list could not be read, and is as old as it was.
    pub fn keep(&self, kind: Kind, before: &Self) {
        self.put(kind, before.0.load()[kind as usize]);
    }

    /// Takes over what `newer` says of all kinds.
    pub fn renew(&self, newer: &Self) {
        self.0.store(newer.0.load_full());
    }

    /// What is left of the hint at `now`; `None` if nobody read such a list.
    pub fn left(&self, kind: Kind, now: Instant) -> Option<Hint> {
        let Given { hint, at } = self.0.load()[kind as usize]?;
        let age = now.saturating_duration_since(at);
        Some(Hint { ttl: hint.ttl.map(|ttl| ttl.saturating_sub(age)), ..hint })
    }

    fn put(&self, kind: Kind, given: Option<Given>) {
        self.0.rcu(|all| {
            let mut all = **all;
            all[kind as usize] = given;
            all
        });
    }
}
