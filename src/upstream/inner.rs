//! What all handles of one upstream share: how sessions with it are opened and set up.

use crate::{
    protocol::{
        call::Lane,
        discovery,
        handshake::{Hello, Welcome},
        version::Version,
    },
    upstream::{
        Caller, Inner, NOTICE, Offer,
        affinity::Affinity,
        audience::Audience,
        fault::Fault,
        link::Link,
        open::{Opening, Purpose, read_discovery},
        settings::{SessionMode, Transport},
        words,
    },
    wire::{message::Request, method::Method, raw::Raw},
};
use serde_json::json;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::timeout;

// === impl Inner ===

impl Inner {
    /// Which session serves a caller.
    pub(in crate::upstream) fn affinity(&self, caller: &Caller) -> Affinity {
        let has_session = self.offer.load().as_ref().is_none_or(|offer| offer.has_session);
        Affinity::of(caller, self.session_mode(), has_session)
    }

    /// Which session serves which caller. Without sessions and without processes there is nothing to be had for oneself.
    pub(in crate::upstream) fn session_mode(&self) -> SessionMode {
        let offer = self.offer.load();
        let is_one = |offer: &Arc<Offer>| offer.is_stateless() && offer.transport == Transport::Http;
        if offer.as_ref().is_some_and(is_one) { SessionMode::Shared } else { self.settings.session }
    }

    /// Whether it is spoken to in the stateless era, as far as is known.
    pub(in crate::upstream) fn is_stateless(&self) -> bool {
        self.offer.load().as_ref().is_some_and(|offer| offer.is_stateless())
    }

    /// Asks whether it is there: any answer says so in the handshake era, and one to `server/discover` after that.
    /// Returns what the upstream says of itself, if it says that.
    pub(in crate::upstream) async fn ping(
        &self,
        lane: Lane,
        link: &Link,
        after: Duration,
    ) -> Result<Option<Welcome>, Fault> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let method = if link.is_stateless() { Method::Discover } else { Method::Ping };
        let answer = timeout(after, link.own(lane, id, &method, None)).await;
        let answer = answer.unwrap_or(Err(Fault::Timeout { step: "answer a ping", after }))?;
        if link.is_stateless() {
            return read_discovery(&answer, |text| link.show(text)).map(Some).map_err(|not| not.fault);
        }
        if discovery::is_of_stateless_era(&answer) {
            let said = link.show(&words::error_message(&answer.payload()));
            return Err(Fault::Handshake(format!("it is of another era by now: {said}")));
        }
        Ok(None)
    }

    /// Opens a session for a caller, and prepares it as the caller wishes.
    pub(in crate::upstream) async fn open_for(
        &self,
        lane: Lane,
        caller: &Caller,
        affinity: Affinity,
    ) -> Result<Link, Fault> {
        let audience = self.audience(affinity, Some(caller));
        let client = if audience.is_own() { caller.inbox.hello() } else { None };
        let link = self.open(lane, &audience, client, Purpose::Calls).await?;
        let level = if audience.is_own() { caller.inbox.level() } else { self.shared_level() };
        self.prepare(lane, &link, affinity, level).await;
        link.begin();
        Ok(link)
    }

    /// Sets a new session up as the one before it was: its level of log messages, and what it is subscribed to. In the
    /// stateless era the level goes with each request.
    pub(in crate::upstream) async fn prepare(
        &self,
        lane: Lane,
        link: &Link,
        affinity: Affinity,
        level: Option<&'static str>,
    ) {
        if link.is_stateless() {
            return self.watch_again(link, affinity).await;
        }
        if let Some(level) = level.filter(|_| link.welcome.capabilities.contains_key("logging")) {
            let params = Raw::of(&json!({"level": level}));
            self.say(lane, link, &Method::SetLevel, &params).await;
        }
        for uri in self.subscriptions.of(affinity) {
            self.say(lane, link, &Method::Subscribe, &Raw::of(&json!({"uri": uri}))).await;
        }
    }

    /// Makes a request of our own, whose outcome changes nothing for anybody who waits.
    pub(in crate::upstream) async fn say(&self, lane: Lane, link: &Link, method: &Method, params: &Raw) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = Request::new(&Raw::of(&id), method, Some(params));
        let alias = &self.alias;
        match timeout(NOTICE, link.request(lane, id, request.bytes().clone(), None, &[])).await {
            Ok(Ok(answer)) if answer.is_error => {
                let said = link.show(&words::error_message(&answer.payload()));
                tracing::info!(%alias, %method, "an upstream refused what its clients want: {said}");
            }
            Ok(Ok(_)) => {}
            Ok(Err(fault)) => {
                tracing::info!(%alias, %method, "an upstream was not told what its clients want: {fault}");
            }
            Err(_) => {
                tracing::info!(%alias, %method, "an upstream takes its time with what its clients want");
            }
        }
    }

    /// Who hears what comes on a session outside of calls.
    pub(in crate::upstream) fn audience(&self, affinity: Affinity, caller: Option<&Caller>) -> Audience {
        Audience {
            alias: self.alias.clone(),
            signals: self.signals.clone(),
            affinity,
            inbox: caller
                .filter(|caller| affinity == Affinity::Session(caller.session))
                .map(|caller| caller.inbox.clone()),
            subscriptions: self.subscriptions.clone(),
            elicitations: self.elicitations.clone(),
        }
    }

    /// Opens a session with the upstream, and remembers how it went.
    pub(in crate::upstream) async fn open(
        &self,
        lane: Lane,
        audience: &Audience,
        client: Option<(&Hello, Version)>,
        purpose: Purpose,
    ) -> Result<Link, Fault> {
        let known = self.offer.load().as_ref().map(|offer| offer.transport);
        let (net, settings) = (&self.net, &self.settings);
        let (memory, ids) = (&self.memory, &self.ids);
        let opening = Opening { net, lane, settings, known, memory, ids, client, audience, purpose };
        let link = opening.open().await?;
        if known.is_none() {
            self.offer.store(Some(Arc::new(Offer::of(&link))));
        }
        Ok(link)
    }

    /// Whether callers share one session.
    pub(in crate::upstream) fn is_shared(&self, has_session: bool) -> bool {
        Affinity::is_shared(self.session_mode(), has_session)
    }
}
