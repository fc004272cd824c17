//! For how long, and for whom, lists may be kept (2026-07-28, "Caching"): what upstreams said, and what is left of it.

use crate::{
    catalog::listing::Kind,
    wire::{message::excerpt, part::Part, raw::Raw, splice::splice},
};
use arc_swap::ArcSwap;
use std::time::Duration;
use tokio::time::Instant;

/// The longest promise that is passed on: what is shown may also change by the gateway's own configuration.
const LONGEST: Duration = Duration::from_hours(24);

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

#[cfg(test)]
mod tests {
    use super::{Hint, LONGEST};
    use crate::{
        catalog::{
            listing::{Kind, Listing},
            merge::{Catalog, ShowRules, Source, merge},
            name::Alias,
            settings::{NameRules, Show},
            view::{Allows, Scope},
        },
        wire::raw::Raw,
    };
    use bytes::Bytes;
    use rstest::rstest;
    use std::{collections::BTreeMap, sync::Arc, time::Duration};
    use tokio::time::{Instant, advance};

    fn raw(text: &str) -> Raw {
        Raw::parse(Bytes::from(text.to_owned())).expect("JSON")
    }

    fn hint(seconds: impl Into<Option<u64>>, is_public: bool) -> Hint {
        Hint { ttl: seconds.into().map(Duration::from_secs), is_public }
    }

    /// A listing whose tools may be kept so.
    fn listing(hint: Hint) -> Arc<Listing> {
        let listing = Listing::default();
        listing.hints.set(Kind::Tools, hint, Instant::now());
        Arc::new(listing)
    }

    fn catalog(listings: &[(&str, Option<&Arc<Listing>>)]) -> Catalog {
        let source = |(name, listing): &(&str, Option<&Arc<Listing>>)| {
            let show = Arc::new(ShowRules::new(&Show::default()).expect("rules"));
            let alias = Alias::parse(name, &NameRules::default()).expect("an alias");
            (alias, Source { show, listing: listing.cloned() })
        };
        merge(&listings.iter().map(source).collect::<BTreeMap<_, _>>(), &NameRules::default())
    }

    /// What who sees these aliases may keep of their tools.
    fn left(catalog: &Catalog, sees: &[&str]) -> Hint {
        let alias = |alias: &Alias| sees.contains(&alias.as_str());
        // One number for each set of aliases, as each grant has one.
        let id = |id: u64, byte: u8| id.wrapping_mul(257).wrapping_add(u64::from(byte));
        let grant = sees.iter().flat_map(|alias| alias.bytes()).fold(0, id);
        catalog.view(grant, &Scope::All, Allows { tool: &|_| true, alias: &alias }).hint(Kind::Tools)
    }

    #[rstest]
    #[case(r#"{"ttlMs":2000,"cacheScope":"public"}"#, hint(2, true), 0)]
    #[case(r#"{"ttlMs":0,"cacheScope":"private"}"#, hint(0, false), 0)]
    #[case(r#"{"cacheScope":"public"}"#, hint(None, true), 0)]
    #[case(r#"{"ttlMs":2000}"#, hint(2, false), 0)]
    #[case(r#"{"tools":[]}"#, hint(None, false), 0)]
    #[case(r#"{"ttlMs":-1,"cacheScope":"Public"}"#, hint(None, false), 2)]
    #[case(r#"{"ttlMs":"9","cacheScope":true}"#, hint(None, false), 2)]
    #[case(r#"{"ttlMs":9,"ttlMs":9,"cacheScope":"public"}"#, hint(None, false), 0)]
    #[case(r#"{"ttlMs":18446744073709551615}"#, hint(LONGEST.as_secs(), false), 0)]
    fn what_pages_say(#[case] page: &str, #[case] expected: Hint, #[case] oddities: usize) {
        let (hint, odd) = Hint::read(&raw(page));
        assert_eq!((hint, odd.len()), (expected, oddities));
    }

    #[rstest]
    #[case(hint(2, true), hint(3, true), hint(2, true))]
    #[case(hint(3, true), hint(2, false), hint(2, false))]
    #[case(hint(3, false), hint(None, true), hint(None, false))]
    fn the_shorter_time_and_the_smaller_circle_hold(
        #[case] one: Hint,
        #[case] other: Hint,
        #[case] both: Hint,
    ) {
        assert_eq!((one.and(other), other.and(one)), (both, both));
    }

    #[test]
    fn a_page_is_stamped_and_keeps_every_byte() {
        let page = raw(r#"{"tools":[ {"x":1.10} ]}"#);
        let stamped = hint(2, true).stamp(&page);
        let expected =
            r#"{"resultType":"complete","ttlMs":2000,"cacheScope":"public","tools":[ {"x":1.10} ]}"#;
        assert_eq!(stamped.as_str(), expected);
        let stamped = Hint::default().stamp(&page);
        assert!(
            stamped.as_str().starts_with(r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","#)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_is_the_least_of_what_the_caller_sees() {
        let (long, short) = (listing(hint(60, true)), listing(hint(10, true)));
        let (private, silent) = (listing(hint(30, false)), listing(hint(None, true)));
        let (without, never) = (Arc::new(Listing::default()), None);
        let all = catalog(&[
            ("long", Some(&long)),
            ("short", Some(&short)),
            ("private", Some(&private)),
            ("silent", Some(&silent)),
            ("without", Some(&without)),
            ("never", never),
        ]);
        advance(Duration::from_secs(4)).await;
        assert_eq!(left(&all, &["long"]), hint(56, true));
        assert_eq!(
            left(&all, &["long", "without"]),
            hint(56, true),
            "who has no such list promises nothing else"
        );
        assert_eq!(left(&all, &["long", "short"]), hint(6, true));
        assert_eq!(left(&all, &["long", "private"]), hint(26, false));
        assert_eq!(left(&all, &["long", "silent"]), hint(None, true));
        assert_eq!(left(&all, &["long", "never"]), hint(None, false), "its tools may come at any time");
        assert_eq!(left(&all, &[]), hint(None, false));
        advance(Duration::from_secs(30)).await;
        assert_eq!(left(&all, &["long", "short"]), hint(0, true), "no time runs backwards");
    }

    #[tokio::test(start_paused = true)]
    async fn newer_hints_count_although_the_lists_are_the_same() {
        let first = listing(hint(10, true));
        let catalog = catalog(&[("a", Some(&first))]);
        advance(Duration::from_secs(4)).await;
        let again = listing(hint(20, false));
        assert_eq!(first, again);
        assert_eq!(left(&catalog, &["a"]), hint(6, true));
        first.hints.renew(&again.hints);
        assert_eq!(left(&catalog, &["a"]), hint(20, false));
        let mut kept = Listing::default();
        kept.keep(Kind::Tools, &first);
        advance(Duration::from_secs(5)).await;
        assert_eq!(kept.hints.left(Kind::Tools, Instant::now()), Some(hint(15, false)), "as old as it was");
        assert_eq!(kept.hints.left(Kind::Prompts, Instant::now()), None);
    }

    #[test]
    fn a_catalog_of_other_hints_takes_the_place_of_one_that_shows_the_same() {
        let (one, other) = (listing(hint(10, true)), listing(hint(10, true)));
        let (first, same) = (catalog(&[("a", Some(&one))]), catalog(&[("a", Some(&one))]));
        let later = catalog(&[("a", Some(&other))]);
        assert!(first.is_same(&same) && !first.is_same(&later));
        let view =
            |catalog: &Catalog| catalog.view(0, &Scope::All, Allows { tool: &|_| true, alias: &|_| true });
        let changes = view(&first).changes(&view(&later));
        assert!(!changes.tools && !changes.prompts && !changes.resources, "and nobody is told");
    }
}
