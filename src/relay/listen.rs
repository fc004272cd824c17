//! What a client of the stateless era listens to, as far as upstreams have a part in it.

use crate::{
    catalog::{listing::Kind, name::Alias},
    protocol::{
        call::{Lane, NOTICES},
        listens::{Filter, Followed},
    },
    relay::{Relay, call::caller},
    session::table::Session,
    upstream::{Caller, Outbound},
    wire::{
        message::{Request, excerpt},
        method::Method,
        raw::Raw,
    },
};
use futures_util::future::join_all;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// A resource that an upstream calls otherwise than its listener.
#[derive(Clone, Debug)]
pub struct Named {
    /// Whose it is.
    pub alias: Alias,
    /// What the upstream calls it.
    pub native: String,
    /// What the client calls it.
    pub shown: String,
}

/// How long a client waits for upstreams to agree; what takes longer is not listened to.
const AGREE: Duration = Duration::from_secs(5);
/// How many subscriptions are made at once.
const AT_ONCE: usize = 256;
/// The longest URI that can be subscribed to, in bytes.
const LONGEST: usize = 8 * 1024;

// === impl Relay ===

impl Relay {
    /// What of a filter can be listened to here, and under which other names upstreams know it; they agreed to the
    /// subscriptions in it.
    pub async fn listen(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        subscriber: u64,
        filter: Filter,
    ) -> (Filter, Vec<Named>) {
        let view = self.view_for(session);
        let has = |kind: Kind| {
            view.aliases()
                .iter()
                .filter_map(|alias| self.member(alias))
                .any(|member| member.upstream.offer().is_none_or(|offer| offer.has(kind.capability())))
        };
        let caller = Caller { subscriber, ..caller(session) };
        let until = Instant::now() + AGREE;
        let subscribe = |uri: String| {
            let caller = caller.clone();
            async move {
                let agreed = timeout_at(until, self.subscribe(lane, session, &caller, &uri)).await;
                let Some((alias, native)) = agreed.ok().flatten() else {
                    let (client, uri) = (session.client(), excerpt(&uri));
                    tracing::info!(client, uri, "nobody tells of a resource that a client wants to hear of");
                    return None;
                };
                Some(Named { alias, native, shown: uri })
            }
        };
        let mut agreed = Vec::with_capacity(filter.uris.len());
        for some in filter.uris.chunks(AT_ONCE) {
            agreed.extend(join_all(some.iter().cloned().map(subscribe)).await.into_iter().flatten());
        }
        let uris = agreed.iter().map(|named| named.shown.clone()).collect();
        agreed.retain(|named| named.native != named.shown);
        let filter = Filter {
            tools: filter.tools && has(Kind::Tools),
            prompts: filter.prompts && has(Kind::Prompts),
            resources: filter.resources && has(Kind::Resources),
            uris,
            tasks: self.follow(lane, session, &caller, filter.tasks).await,
        };
        (filter, agreed)
    }

    /// The tasks of those named that their upstreams tell of.
    async fn follow(
        &self,
        lane: Lane,
        session: &Session,
        caller: &Caller,
        named: Vec<Followed>,
    ) -> Vec<Followed> {
        let (view, most) = (self.view_for(session), session.limits.max_subscriptions);
        let follow = |task: Followed| async move {
            let member = self.upstreams().find(|upstream| upstream.alias().as_str() == task.alias)?;
            let agreed = timeout(AGREE, member.follow(lane, caller, &task.native, most)).await;
            agreed.unwrap_or(false).then_some(task)
        };
        let named = self.followed(session, &view, named);
        let mut told = Vec::with_capacity(named.len());
        for some in named.chunks(AT_ONCE) {
            told.extend(join_all(some.iter().cloned().map(follow)).await.into_iter().flatten());
        }
        told
    }

    /// Nobody listens any more.
    pub fn unlisten(&self, subscriber: u64, lane: Lane) {
        for upstream in self.upstreams() {
            upstream.unlisten(subscriber, lane);
        }
    }

    /// Whose it is and what it is called there, if the upstream agreed.
    async fn subscribe(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        caller: &Caller,
        uri: &str,
    ) -> Option<(Alias, String)> {
        if uri.len() > LONGEST {
            return None;
        }
        let view = self.view_for(session);
        let (alias, native) = self.whose(session, &view, uri).ok()?;
        let member = self.member(&alias).filter(|_| view.aliases().contains(&alias))?;
        let params = Raw::of(&json!({"uri": native}));
        let request = Request::new(&Raw::of(&0), &Method::Subscribe, Some(&params));
        let outbound = Outbound::of(&request);
        // What comes with it waits for nobody, and ends with it.
        let (notices, _unheard) = mpsc::channel(NOTICES);
        let (most, cancel) = (session.limits.max_subscriptions, CancellationToken::new());
        let agreed =
            member.upstream.subscribe(lane, caller, outbound, (&native, most), notices, &cancel).await;
        matches!(agreed, Ok(Some(answer)) if !answer.is_error).then_some((alias, native))
    }
}
