//! What clients set and tell between calls: subscriptions, levels of log messages, notices; and what is made good after
//! an upstream came back.

use crate::{
    protocol::{
        call::{Event, Lane},
        level,
    },
    upstream::{
        Caller, Inner, NOTICE, Outbound, Upstream, affinity::Affinity, fault::Fault, subscriptions::Topic,
    },
    wire::{error::Failure, message::Answer, method::Method, raw::Raw},
};
use bytes::Bytes;
use serde_json::json;
use std::{
    collections::HashSet,
    sync::{Arc, PoisonError},
};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

/// How many sessions are subscribed anew at once.
const AT_ONCE: usize = 8;

// === impl Upstream ===

impl Upstream {
    /// Subscribes a client to a resource, or ends that. Where clients share a session only the first and the last of
    /// them concern the upstream, and those that come before it agreed. `most` bounds one client's subscriptions.
    pub async fn subscribe(
        &self,
        lane: Lane,
        caller: &Caller,
        outbound: Outbound<'_>,
        (uri, most): (&str, usize),
        notices: mpsc::Sender<Event>,
        cancel: &CancellationToken,
    ) -> Result<Option<Answer>, Fault> {
        let inner = &*self.0;
        let (affinity, request) = (inner.affinity(caller), outbound.request);
        let topic = &Topic::Resource(uri.into());
        let is_wanted = request.method == Method::Subscribe;
        let id = request.id();
        let done = || Ok(Some(Answer::result(&id, &Raw::of(&json!({})))));
        if !is_wanted {
            if !inner.subscriptions.remove(affinity, topic, caller.subscriber) {
                return done();
            }
            if inner.is_stateless() {
                inner.watch_less(lane, affinity).await;
                return done();
            }
            return self.call(lane, caller, outbound, notices, cancel).await;
        }
        let Ok(is_needed) = inner.subscriptions.add(affinity, topic, caller, most) else {
            let failure = Failure::exhausted(
                "too_many_subscriptions",
                format!(
                    "as many subscriptions as are allowed ({most}) are made at `{}` in this session",
                    inner.alias
                ),
            );
            return Ok(Some(Answer::error(&id, &failure.hint("unsubscribe from some").object())));
        };
        if !is_needed && !matches!(affinity, Affinity::Session(_)) {
            return done();
        }
        let answer = if inner.is_stateless() {
            inner.watch(lane, caller, affinity, topic, &id, cancel).await
        } else {
            self.call(lane, caller, outbound, notices, cancel).await
        };
        if matches!(&answer, Ok(Some(answer)) if !answer.is_error) {
            inner.subscriptions.agree(affinity, topic);
        } else {
            inner.subscriptions.remove(affinity, topic, caller.subscriber);
        }
        answer
    }

    /// Has a client told of a task, by the id that it has here; `false` if the upstream does not tell. `most` bounds
    /// what one client is told of.
    pub async fn follow(&self, lane: Lane, caller: &Caller, id: &str, most: usize) -> bool {
        let inner = &*self.0;
        if !inner.is_stateless() {
            return false;
        }
        let (affinity, topic) = (inner.affinity(caller), &Topic::Task(id.into()));
        let Ok(is_needed) = inner.subscriptions.add(affinity, topic, caller, most) else { return false };
        if !is_needed {
            return true;
        }
        let nobody = CancellationToken::new();
        let answer = inner.watch(lane, caller, affinity, topic, &Raw::of(&0), &nobody).await;
        let is_agreed = matches!(&answer, Ok(Some(answer)) if !answer.is_error);
        if is_agreed {
            inner.subscriptions.agree(affinity, topic);
        } else {
            inner.subscriptions.remove(affinity, topic, caller.subscriber);
        }
        is_agreed
    }

    /// Tells the upstream's session with this client something, if one is open; nobody waits for the outcome.
    pub fn tell(&self, lane: Lane, caller: &Caller, message: Bytes) {
        let affinity = self.0.affinity(caller);
        if !matches!(affinity, Affinity::Session(_)) {
            return;
        }
        let Some(lease) = self.0.sessions.lease_open(affinity, lane) else { return };
        tokio::spawn(async move {
            // A client of a session tells what it pleases; in the stateless era each request tells enough.
            let Some(link) = lease.opened().filter(|link| !link.is_stateless()) else { return };
            if let Ok(Err(fault)) = timeout(NOTICE, link.notify(lane, message)).await {
                tracing::debug!(%fault, "an upstream did not take a client's notice");
            }
        });
    }

    /// Sets the level of a client's log messages where that is open already; what is opened later begins with it.
    pub async fn set_level(&self, lane: Lane, caller: &Caller, wanted: &'static str) {
        let inner = &*self.0;
        let affinity = inner.affinity(caller);
        let level = if matches!(affinity, Affinity::Session(_)) {
            wanted
        } else {
            // What is shared is as verbose as the most curious wants it; others are spared what they do not want.
            let mut level = inner.level.lock().unwrap_or_else(PoisonError::into_inner);
            let lowest = level.map_or(wanted, |level| level::lower(level, wanted));
            // The session of another key may not know it yet.
            if *level == Some(lowest) && affinity == Affinity::Shared {
                return;
            }
            *level = Some(lowest);
            lowest
        };
        let Some(lease) = inner.sessions.lease_open(affinity, lane) else { return };
        if let Some(link) = lease.opened().filter(|link| !link.is_stateless()) {
            inner.say(lane, link, &Method::SetLevel, &Raw::of(&json!({"level": level}))).await;
        }
    }

    /// Closes what it keeps for an ended client session.
    pub fn release(&self, session: u64, lane: Lane) {
        let mut last = self.0.subscriptions.release(session);
        self.0.sessions.release(session, lane);
        // What was the session's own went with it.
        last.retain(|(affinity, _)| !matches!(affinity, Affinity::Session(_)));
        self.unsubscribe(last, lane);
    }

    /// Ends the subscriptions of a stream that nobody listens to any more.
    pub fn unlisten(&self, subscriber: u64, lane: Lane) {
        let last = self.0.subscriptions.release(subscriber);
        self.unsubscribe(last, lane);
    }

    fn unsubscribe(&self, last: Vec<(Affinity, Topic)>, lane: Lane) {
        if last.is_empty() {
            return;
        }
        let inner = self.0.clone();
        tokio::spawn(async move {
            if inner.is_stateless() {
                let affinities: HashSet<_> = last.into_iter().map(|(affinity, _)| affinity).collect();
                for affinity in affinities {
                    inner.watch_less(lane, affinity).await;
                }
                return;
            }
            for (affinity, topic) in last {
                let Some(uri) = topic.uri() else { continue };
                let Some(lease) = inner.sessions.lease_open(affinity, lane) else { continue };
                if let Some(link) = lease.opened() {
                    inner.say(lane, link, &Method::Unsubscribe, &Raw::of(&json!({"uri": uri}))).await;
                }
            }
        });
    }
}

// === impl Inner ===

impl Inner {
    /// The most verbose level that a caller of a shared session asked for.
    pub(in crate::upstream) fn shared_level(&self) -> Option<&'static str> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The upstream came back: sessions that are subscribed to something are opened again, so that no update is missed
    /// until somebody calls.
    pub(in crate::upstream) fn restore(self: Arc<Self>, lane: Lane) {
        let lost: Vec<_> = self
            .subscriptions
            .callers()
            .into_iter()
            .filter(|(affinity, _)| *affinity != Affinity::Shared)
            .collect();
        if lost.is_empty() {
            return;
        }
        tokio::spawn(async move {
            for some in lost.chunks(AT_ONCE) {
                let all = some.iter().map(|(affinity, caller)| self.restore_one(lane, *affinity, caller));
                futures_util::future::join_all(all).await;
            }
        });
    }

    async fn restore_one(&self, lane: Lane, affinity: Affinity, caller: &Caller) {
        // A session that still answers needs nothing.
        if let Some(lease) = self.sessions.lease_open(affinity, lane)
            && let Some(link) = lease.opened()
        {
            match self.ping(lane, link, NOTICE).await {
                Ok(_) if link.ended().is_none() => return,
                _ => self.sessions.forget(affinity, &lease),
            }
        }
        let Ok(lease) = self.sessions.lease(affinity, caller.key, lane) else { return };
        if let Err(fault) = lease.link(|| self.open_for(lane, caller, affinity)).await {
            tracing::info!(alias = %self.alias, %fault, "a session could not be subscribed anew");
            self.sessions.forget(affinity, &lease);
        }
    }
}
