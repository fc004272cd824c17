//! A new catalog: merged from what upstreams said, and told to the clients whose view of it changed.

use crate::{
    catalog::{
        listing::Listing,
        merge::{self, Catalog, Source},
        name::Alias,
        view::View,
    },
    relay::{Member, Relay},
    session::table::Session,
    upstream::Said,
    wire::method::Method,
};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
};

/// How many decisions of one merge are told one by one.
const MOST_TOLD: usize = 20;

// === impl Relay ===

impl Relay {
    /// Merges what the upstreams said last, and tells the sessions that see something else now.
    pub fn publish(&self, sessions: &[Arc<Session>]) {
        let sources = self.sources(&[]);
        let catalog = Arc::new(merge::merge(&sources, &self.0.names));
        let before = self.0.catalog.load_full();
        let said = self.news();
        if !before.is_same(&catalog) || !said.is_empty() {
            self.replace(&before, catalog, &said, sessions);
        }
        let listings = sources.into_iter().filter_map(|(alias, source)| Some((alias, source.listing?)));
        self.0.merged.send_replace(listings.collect());
    }

    fn replace(
        &self,
        before: &Catalog,
        catalog: Arc<Catalog>,
        said: &[(Alias, Said)],
        sessions: &[Arc<Session>],
    ) {
        let known: HashSet<&String> = before.decisions.iter().collect();
        let news: Vec<_> = catalog.decisions.iter().filter(|decision| !known.contains(decision)).collect();
        for decision in news.iter().take(MOST_TOLD) {
            tracing::warn!("{decision}");
        }
        if let Some(more) = news.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
            tracing::warn!(more, "there are more decisions of this kind");
        }
        self.compile(&catalog);
        self.0.catalog.store(catalog.clone());
        for session in sessions.iter().filter(|session| session.version().is_some()) {
            let (identity, scope) = (&session.identity, &session.endpoint.scope);
            let changes =
                self.view_of(before, identity, scope).changes(&self.view_of(&catalog, identity, scope));
            // Who may use some tools only hears of changes of what it sees, and of no others.
            // What its own session with the upstream said, it heard already.
            let is_told = |alias: &Alias| {
                self.member(alias).is_some_and(|member| member.upstream.is_open_for(session.number))
            };
            let may_hear = |alias: &Alias| {
                scope.includes(alias)
                    && !is_told(alias)
                    && identity.grant.allows_alias(alias.as_str())
                    && !identity.grant.limits_tools()
            };
            let heard =
                |kind: fn(&Said) -> u64| said.iter().any(|(alias, news)| kind(news) > 0 && may_hear(alias));
            for (is_changed, method) in [
                (changes.tools || heard(|said| said.tools), Method::ToolsChanged),
                (changes.prompts || heard(|said| said.prompts), Method::PromptsChanged),
                (changes.resources || heard(|said| said.resources), Method::ResourcesChanged),
            ] {
                if is_changed {
                    session.inbox.changed(&method);
                }
            }
        }
    }

    /// What the upstreams said last; `own` stands in place of what some of them have for everybody.
    fn sources(&self, own: &[(Alias, Arc<Listing>)]) -> BTreeMap<Alias, Source> {
        let listing = |alias: &Alias, member: &Member| {
            let own = own.iter().find(|(whose, _)| whose == alias);
            own.map_or_else(|| member.upstream.status().listing, |(_, listing)| Some(listing.clone()))
        };
        let source = |alias: &Alias, member: &Member| Source {
            show: member.show.clone(),
            listing: listing(alias, member),
        };
        self.0.upstreams.iter().map(|(alias, member)| (alias.clone(), source(alias, member))).collect()
    }

    /// What a session sees at this moment.
    pub(super) fn view_for(&self, session: &Session) -> Arc<View> {
        let catalog = self.0.catalog.load();
        let (identity, scope) = (&session.identity, &session.endpoint.scope);
        if !session.inbox.may_have_own_lists() {
            return self.view_of(&catalog, identity, scope);
        }
        let own: Vec<_> = self
            .0
            .upstreams
            .iter()
            .filter_map(|(alias, member)| Some((alias.clone(), member.upstream.own_listing(session.number)?)))
            .collect();
        if own.is_empty() {
            return self.view_of(&catalog, identity, scope);
        }
        let own = session.own.catalog(&catalog, own, |own| merge::merge(&self.sources(own), &self.0.names));
        self.view_of(&own, identity, scope)
    }

    /// Which upstreams said that lists of theirs changed since they were asked last.
    fn news(&self) -> Vec<(Alias, Said)> {
        let mut heard = self.0.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut news = Vec::new();
        for (alias, member) in &self.0.upstreams {
            let said = member.upstream.status().said;
            let before = heard.insert(alias.clone(), said).unwrap_or_default();
            let since = Said {
                tools: said.tools - before.tools,
                prompts: said.prompts - before.prompts,
                resources: said.resources - before.resources,
            };
            if since != Said::default() {
                news.push((alias.clone(), since));
            }
        }
        news
    }
}
