//! Who subscribed to which resource, by upstream session: an upstream session that is opened anew is subscribed anew.

use crate::{
    protocol::links::covers,
    upstream::affinity::{Affinity, Caller},
    wire::{message::Notice, params},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Who subscribed to which resource of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<Affinity, Uris>>);

type Uris = BTreeMap<Arc<str>, Subscribers>;

/// Who subscribed to one resource.
#[derive(Debug, Default)]
struct Subscribers {
    callers: HashMap<u64, Caller>,
    /// Whether the upstream agreed; until then nobody may be told that it did.
    is_agreed: bool,
}

/// Why somebody cannot subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

// === impl Subscriptions ===

impl Subscriptions {
    /// Subscribes a client; tells whether the upstream has to agree, or did so before. `most` bounds one client's.
    pub(crate) fn add(
        &self,
        affinity: Affinity,
        uri: &str,
        caller: &Caller,
        most: usize,
    ) -> Result<bool, TooMany> {
        let mut all = self.all();
        let uris = all.entry(affinity).or_default();
        let is_new =
            uris.get(uri).is_none_or(|subscribers| !subscribers.callers.contains_key(&caller.subscriber));
        let own = || {
            uris.values().filter(|subscribers| subscribers.callers.contains_key(&caller.subscriber)).count()
        };
        // Counting is for sessions that many share; an own one knows by its size.
        let count = if matches!(affinity, Affinity::Session(_)) { uris.len() } else { own() };
        if is_new && count >= most {
            return Err(TooMany);
        }
        let subscribers = uris.entry(uri.into()).or_default();
        subscribers.callers.insert(caller.subscriber, caller.clone());
        Ok(!subscribers.is_agreed)
    }

    /// The upstream agreed to a subscription.
    pub(crate) fn agree(&self, affinity: Affinity, uri: &str) {
        if let Some(subscribers) = self.all().get_mut(&affinity).and_then(|uris| uris.get_mut(uri)) {
            subscribers.is_agreed = true;
        }
    }

    /// Ends a subscription; tells whether it was the last of its upstream session.
    pub(crate) fn remove(&self, affinity: Affinity, uri: &str, subscriber: u64) -> bool {
        let mut all = self.all();
        let Some(uris) = all.get_mut(&affinity) else { return true };
        let Some(subscribers) = uris.get_mut(uri) else { return true };
        subscribers.callers.remove(&subscriber);
        let is_last = subscribers.callers.is_empty();
        if is_last {
            uris.remove(uri);
        }
        if uris.is_empty() {
            all.remove(&affinity);
        }
        is_last
    }

    /// Ends all subscriptions of a subscriber; returns those that nobody else has, by upstream session.
    pub(crate) fn release(&self, subscriber: u64) -> Vec<(Affinity, Arc<str>)> {
        let mut last = Vec::new();
        self.all().retain(|affinity, uris| {
            uris.retain(|uri, Subscribers { callers, .. }| {
                if callers.remove(&subscriber).is_some() && callers.is_empty() {
                    last.push((*affinity, uri.clone()));
                }
                !callers.is_empty()
            });
            !uris.is_empty()
        });
        last
    }

    /// What an upstream session is subscribed to; what was not agreed to yet is being asked for by somebody else.
    pub(crate) fn of(&self, affinity: Affinity) -> Vec<Arc<str>> {
        let all = self.all();
        let Some(uris) = all.get(&affinity) else { return Vec::new() };
        uris.iter().filter(|(_, subscribers)| subscribers.is_agreed).map(|(uri, _)| uri.clone()).collect()
    }

    /// What one stream for an upstream session is to tell of: what was agreed to, what is told of `now` if anybody still
    /// wants it, and something `new`. What others are just asking for is theirs to add.
    pub(crate) fn to_watch(
        &self,
        affinity: Affinity,
        now: &BTreeSet<Arc<str>>,
        new: Option<&str>,
    ) -> BTreeSet<Arc<str>> {
        let all = self.all();
        let Some(uris) = all.get(&affinity) else { return BTreeSet::new() };
        let wanted = uris.iter().filter(|(uri, subscribers)| {
            subscribers.is_agreed || now.contains(*uri) || new.is_some_and(|new| new == &***uri)
        });
        wanted.map(|(uri, _)| uri.clone()).collect()
    }

    /// Whether an upstream session is subscribed to anything.
    pub(crate) fn has(&self, affinity: Affinity) -> bool {
        self.all().contains_key(&affinity)
    }

    /// One caller of each upstream session that is subscribed to anything.
    pub(crate) fn callers(&self) -> Vec<(Affinity, Caller)> {
        let caller =
            |uris: &Uris| uris.values().find_map(|subscribers| subscribers.callers.values().next().cloned());
        self.all().iter().filter_map(|(affinity, uris)| Some((*affinity, caller(uris)?))).collect()
    }

    /// Tells all subscribers of an upstream session; a notice may name a part of what they subscribed to
    /// (resources, "Subscriptions").
    pub(crate) fn updated(&self, affinity: Affinity, alias: &str, notice: &Notice) {
        let Some(params) = notice.params() else { return };
        let Ok((uri, _)) = params::text(&params, "uri") else { return };
        let mut told: HashMap<u64, Caller> = HashMap::new();
        if let Some(uris) = self.all().get(&affinity) {
            for (_, subscribers) in uris.iter().filter(|(subscribed, _)| covers(subscribed, &uri)) {
                told.extend(subscribers.callers.values().map(|caller| (caller.session, caller.clone())));
            }
        }
        for caller in told.values() {
            caller.inbox.pass(alias, notice);
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all().values().map(BTreeMap::len).sum()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Affinity, Uris>> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
