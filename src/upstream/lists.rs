//! Reads all pages of an upstream's lists.

use crate::{
    catalog::{
        hint::Hint,
        listing::{self, Definition, Kind, Listing, Mirroring},
    },
    protocol::call::Lane,
    upstream::{
        fault::Fault,
        link::Link,
        settings::{Settings, Transport},
        words,
    },
    wire::{message::excerpt, part::Part, raw::Raw},
};
use serde_json::Value;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// The most pages of one list: an upstream whose cursors never end is stopped here.
const MAX_PAGES: usize = 1000;
/// How many times the time for one page all pages of a list together may take.
const MOST_WAITS: u32 = 10;
/// The most oddities that are told.
const MOST_ODDITIES: usize = 20;
/// The most items of one list.
const MAX_ITEMS: usize = 50_000;
/// JSON-RPC's code for a method that is not there.
const NO_METHOD: i64 = -32601;

/// What an upstream lists.
#[derive(Debug)]
pub(crate) struct Lists {
    pub(crate) listing: Listing,
    /// What was odd about it.
    pub(crate) oddities: Vec<String>,
    /// How long all of it is good for, where the upstream says so and does not tell of changes.
    pub(crate) ttl: Option<Duration>,
}

/// Lists under way.
struct Reading<'a> {
    link: &'a Link,
    lane: Lane,
    settings: &'a Settings,
    ids: &'a AtomicU64,
    /// The bytes of all lists so far.
    size: usize,
    oddities: Vec<String>,
    ttl: Option<Duration>,
}

/// Why one list could not be read.
enum Failed {
    /// There is no such method.
    NoMethod(Fault),
    /// Anything else.
    Fault(Fault),
}

/// Reads all that an upstream lists.
///
/// What it says besides its tools is worth less than they are: if it fails at one of these lists, but is there, then
/// what was known `before` is kept.
pub(crate) async fn read(
    link: &Link,
    lane: Lane,
    settings: &Settings,
    ids: &AtomicU64,
    before: Option<&Listing>,
) -> Result<Lists, Fault> {
    let mut reading = Reading { link, lane, settings, ids, size: 0, oddities: Vec::new(), ttl: None };
    let mut listing = Listing::default();
    for kind in Kind::ALL {
        if !link.welcome.capabilities.contains_key(kind.capability()) {
            continue;
        }
        let after = settings.timeouts.list.saturating_mul(MOST_WAITS);
        let overdue = Err(Failed::Fault(Fault::Timeout { step: steps(kind).1, after }));
        let asked = Instant::now();
        let fault = match timeout(after, reading.pages(kind)).await.unwrap_or(overdue) {
            Ok((items, hint)) => {
                *listing.of_mut(kind) = items;
                listing.hints.set(kind, hint, asked);
                continue;
            }
            // Many that have resources never heard of templates, which is allowed.
            Err(Failed::NoMethod(_)) if kind == Kind::Templates => continue,
            Err(Failed::NoMethod(fault) | Failed::Fault(fault)) => fault,
        };
        if kind == Kind::Tools || !reading.goes_on(&fault) {
            return Err(fault);
        }
        match before {
            Some(before) => listing.keep(kind, before),
            None => listing.hints.set(kind, Hint::default(), asked),
        }
        reading.tell(format!("its {} could not be read, and what was known is kept: {fault}", kind.method()));
    }
    let Reading { oddities, ttl, .. } = reading;
    Ok(Lists { listing, oddities, ttl })
}

/// What an upstream did not do in time: answer with a page, and end its list.
fn steps(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Tools => ("answer `tools/list`", "end its tools/list"),
        Kind::Prompts => ("answer `prompts/list`", "end its prompts/list"),
        Kind::Resources => ("answer `resources/list`", "end its resources/list"),
        Kind::Templates => ("answer `resources/templates/list`", "end its resources/templates/list"),
    }
}

// === impl Reading ===

impl Reading<'_> {
    async fn pages(&mut self, kind: Kind) -> Result<(Vec<Definition>, Hint), Failed> {
        let (method, mut items, mut hint) = (kind.method(), Vec::new(), None);
        let (mut cursor, mut seen): (Option<String>, HashSet<String>) = (None, HashSet::new());
        for _ in 0..MAX_PAGES {
            let result = self.page(kind, cursor.as_deref()).await?;
            self.note_ttl(kind, &result);
            let is_sent = self.link.is_stateless() && self.link.transport() == Transport::Http;
            let mirroring = if is_sent { Mirroring::Sent } else { Mirroring::Unsent };
            let page = listing::read_page(kind, &result, mirroring)
                .map_err(|error| Fault::NotMcp(format!("its {method} is not as specified: {error}")))?;
            items.extend(page.items);
            let said = hint.map_or(page.hint, |hint: Hint| hint.and(page.hint));
            hint = Some(said);
            for oddity in page.oddities {
                self.tell(oddity);
            }
            if items.len() > MAX_ITEMS {
                return Err(Fault::NotMcp(format!("more than {MAX_ITEMS} {}", kind.key())).into());
            }
            // An empty cursor or one that came before would go on for ever.
            match page.next.filter(|next| !next.is_empty()) {
                Some(next) if seen.insert(next.clone()) => cursor = Some(next),
                Some(next) => {
                    self.tell(format!("the cursor `{}` came twice; the list ends there", excerpt(&next)));
                    return Ok((items, said));
                }
                None => return Ok((items, said)),
            }
        }
        Err(Fault::NotMcp(format!("a list of more than {MAX_PAGES} pages")).into())
    }

    /// Notes for how long a page is good (2026-07-28, "Caching"). Zero says nothing about when to look again.
    fn note_ttl(&mut self, kind: Kind, result: &Raw) {
        let welcome = &self.link.welcome;
        let tells = welcome.capabilities.get(kind.capability()).is_some_and(|own| own["listChanged"] == true);
        if tells || !self.link.is_stateless() {
            return;
        }
        let ttl = Part::of(result).member("ttlMs").and_then(|ttl| ttl.text().parse().ok());
        if let Some(ttl) = ttl.filter(|ttl| *ttl > 0).map(Duration::from_millis) {
            self.ttl = Some(self.ttl.map_or(ttl, |least| least.min(ttl)));
        }
    }

    async fn page(&mut self, kind: Kind, cursor: Option<&str>) -> Result<Raw, Failed> {
        let method = kind.method();
        let params = cursor.map(|cursor| ("cursor".to_owned(), Value::from(cursor))).into_iter().collect();
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let after = self.settings.timeouts.list;
        let answer = timeout(after, self.link.own(self.lane, id, &method, Some(params))).await;
        let answer = answer.unwrap_or(Err(Fault::Timeout { step: steps(kind).0, after }))?;
        let payload = answer.payload();
        if answer.is_error {
            let said = self.link.show(&words::error_message(&payload));
            let fault = Fault::NotMcp(format!("{method} failed: {said}"));
            let is_method_missing = words::error_code(&payload) == Some(NO_METHOD);
            return Err(if is_method_missing { Failed::NoMethod(fault) } else { fault.into() });
        }
        let most = self.settings.max_message.saturating_mul(2);
        self.size = self.size.saturating_add(payload.as_bytes().len());
        if self.size > most { Err(Fault::TooLarge(most).into()) } else { Ok(payload) }
    }

    /// Whether the upstream is there although it failed.
    fn goes_on(&self, fault: &Fault) -> bool {
        let is_its_own = matches!(
            fault,
            Fault::NotMcp(_) | Fault::Status { .. } | Fault::TooLarge(_) | Fault::Timeout { .. }
        );
        is_its_own && self.link.ended().is_none()
    }

    fn tell(&mut self, oddity: String) {
        if self.oddities.len() < MOST_ODDITIES {
            self.oddities.push(oddity);
        }
    }
}

// === impl Failed ===

impl From<Fault> for Failed {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
