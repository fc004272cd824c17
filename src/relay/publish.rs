//! A new catalog: merged from what upstreams said, and told to the clients whose view of it changed.

use crate::{
    catalog::merge::{self, Catalog, Source},
    relay::Relay,
    session::table::Session,
    wire::method::Method,
};
use std::{collections::HashSet, sync::Arc};

/// How many decisions of one merge are told one by one.
const MOST_TOLD: usize = 20;

// === impl Relay ===

impl Relay {
    /// Merges what the upstreams said last, and tells the sessions that see something else now.
    pub fn publish(&self, sessions: &[Arc<Session>]) {
        let sources = self.0.upstreams.iter().map(|(alias, member)| {
            (alias.clone(), Source { show: member.show.clone(), listing: member.upstream.status().listing })
        });
        let sources = sources.collect();
        let catalog = Arc::new(merge::merge(&sources, &self.0.names));
        let before = self.0.catalog.load_full();
        if !before.is_same(&catalog) {
            self.replace(&before, catalog, sessions);
        }
        let listings = sources.into_iter().filter_map(|(alias, source)| Some((alias, source.listing?)));
        self.0.merged.send_replace(listings.collect());
    }

    fn replace(&self, before: &Catalog, catalog: Arc<Catalog>, sessions: &[Arc<Session>]) {
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
            for (is_changed, method) in [
                (changes.tools, Method::ToolsChanged),
                (changes.prompts, Method::PromptsChanged),
                (changes.resources, Method::ResourcesChanged),
            ] {
                if is_changed {
                    session.inbox.changed(&method);
                }
            }
        }
    }
}
