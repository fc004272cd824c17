//! Who is told of which resource or task, by upstream session: an upstream session that is opened anew is subscribed anew.

use crate::{
    protocol::links::covers,
    upstream::affinity::{Affinity, Caller},
    wire::{message::Notice, params},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Who is told of what of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<Affinity, Topics>>);

type Topics = BTreeMap<Topic, Subscribers>;

/// What an upstream tells of, to those who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// A resource, by its URI.
    Resource(Arc<str>),
    /// A task of the stateless era, by its id.
    Task(Arc<str>),
}

/// Who subscribed to one topic.
#[derive(Debug, Default)]
struct Subscribers {
    callers: HashMap<u64, Caller>,
    /// Whether the upstream agreed; until then nobody may be told that it did.
    is_agreed: bool,
}

/// What is new on a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum New<'a> {
    Nothing,
    /// This, and nothing that others are just asking for.
    One(&'a Topic),
    /// Everything that is asked for at the moment.
    All,
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
        topic: &Topic,
        caller: &Caller,
        most: usize,
    ) -> Result<bool, TooMany> {
        let mut all = self.all();
        let topics = all.entry(affinity).or_default();
        let is_new =
            topics.get(topic).is_none_or(|subscribers| !subscribers.callers.contains_key(&caller.subscriber));
        let own = || {
            topics.values().filter(|subscribers| subscribers.callers.contains_key(&caller.subscriber)).count()
        };
        // Counting is for sessions that many share; an own one knows by its size.
        let count = if matches!(affinity, Affinity::Session(_)) { topics.len() } else { own() };
        if is_new && count >= most {
            return Err(TooMany);
        }
        let subscribers = topics.entry(topic.clone()).or_default();
        subscribers.callers.insert(caller.subscriber, caller.clone());
        Ok(!subscribers.is_agreed)
    }

    /// The upstream agreed to a subscription.
    pub(crate) fn agree(&self, affinity: Affinity, topic: &Topic) {
        if let Some(subscribers) = self.all().get_mut(&affinity).and_then(|topics| topics.get_mut(topic)) {
            subscribers.is_agreed = true;
        }
    }

    /// Ends a subscription; tells whether it was the last of its upstream session.
    pub(crate) fn remove(&self, affinity: Affinity, topic: &Topic, subscriber: u64) -> bool {
        let mut all = self.all();
        let Some(topics) = all.get_mut(&affinity) else { return true };
        let Some(subscribers) = topics.get_mut(topic) else { return true };
        subscribers.callers.remove(&subscriber);
        let is_last = subscribers.callers.is_empty();
        if is_last {
            topics.remove(topic);
        }
        if topics.is_empty() {
            all.remove(&affinity);
        }
        is_last
    }

    /// Ends all subscriptions of a subscriber; returns those that nobody else has, by upstream session.
    pub(crate) fn release(&self, subscriber: u64) -> Vec<(Affinity, Topic)> {
        let mut last = Vec::new();
        self.all().retain(|affinity, topics| {
            topics.retain(|topic, Subscribers { callers, .. }| {
                if callers.remove(&subscriber).is_some() && callers.is_empty() {
                    last.push((*affinity, topic.clone()));
                }
                !callers.is_empty()
            });
            !topics.is_empty()
        });
        last
    }

    /// The resources that an upstream session is subscribed to; what was not agreed to yet is being asked for by somebody
    /// else.
    pub(crate) fn of(&self, affinity: Affinity) -> Vec<Arc<str>> {
        let all = self.all();
        let Some(topics) = all.get(&affinity) else { return Vec::new() };
        let agreed = topics.iter().filter(|(_, subscribers)| subscribers.is_agreed);
        agreed.filter_map(|(topic, _)| topic.uri().cloned()).collect()
    }

    /// What one stream for an upstream session is to tell of: what was agreed to, what is told of `now` if anybody still
    /// wants it, and something `new`.
    pub(crate) fn to_watch(
        &self,
        affinity: Affinity,
        now: &BTreeSet<Topic>,
        new: New<'_>,
    ) -> BTreeSet<Topic> {
        let all = self.all();
        let Some(topics) = all.get(&affinity) else { return BTreeSet::new() };
        let wanted = topics.iter().filter(|(topic, subscribers)| {
            subscribers.is_agreed
                || now.contains(*topic)
                || match new {
                    New::Nothing => false,
                    New::One(one) => one == *topic,
                    New::All => true,
                }
        });
        wanted.map(|(topic, _)| topic.clone()).collect()
    }

    /// Whether an upstream session is subscribed to anything.
    pub(crate) fn has(&self, affinity: Affinity) -> bool {
        self.all().contains_key(&affinity)
    }

    /// One caller of each upstream session that is subscribed to anything.
    pub(crate) fn callers(&self) -> Vec<(Affinity, Caller)> {
        let caller = |topics: &Topics| {
            topics.values().find_map(|subscribers| subscribers.callers.values().next().cloned())
        };
        self.all().iter().filter_map(|(affinity, topics)| Some((*affinity, caller(topics)?))).collect()
    }

    /// Callers may be served by other sessions from now on: what they are subscribed to goes with them.
    pub(crate) fn rehome(&self, home: impl Fn(&Caller) -> Affinity) {
        let mut all = self.all();
        let mut moved: HashMap<Affinity, Topics> = HashMap::new();
        for (topic, subscribers) in std::mem::take(&mut *all).into_values().flatten() {
            for (session, caller) in subscribers.callers {
                let there = moved.entry(home(&caller)).or_default().entry(topic.clone()).or_default();
                there.callers.insert(session, caller);
                there.is_agreed |= subscribers.is_agreed;
            }
        }
        *all = moved;
    }

    /// Tells all subscribers of an upstream session; a notice may name a part of what they subscribed to
    /// (resources, "Subscriptions").
    pub(crate) fn updated(&self, affinity: Affinity, alias: &str, notice: &Notice) {
        let Some(params) = notice.params() else { return };
        let Ok((uri, _)) = params::text(&params, "uri") else { return };
        self.tell(affinity, alias, notice, |topic| {
            topic.uri().is_some_and(|subscribed| covers(subscribed, &uri))
        });
    }

    /// Tells who listens to a task.
    pub(crate) fn task(&self, affinity: Affinity, alias: &str, notice: &Notice) {
        let Some(params) = notice.params() else { return };
        let Ok((id, _)) = params::text(&params, "taskId") else { return };
        self.tell(affinity, alias, notice, |topic| matches!(topic, Topic::Task(known) if **known == *id));
    }

    fn tell(&self, affinity: Affinity, alias: &str, notice: &Notice, is_meant: impl Fn(&Topic) -> bool) {
        let mut told: HashMap<u64, Caller> = HashMap::new();
        if let Some(topics) = self.all().get(&affinity) {
            for (_, subscribers) in topics.iter().filter(|(topic, _)| is_meant(topic)) {
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

    fn all(&self) -> MutexGuard<'_, HashMap<Affinity, Topics>> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Topic ===

impl Topic {
    /// The resource, if it is one.
    pub(crate) fn uri(&self) -> Option<&Arc<str>> {
        match self {
            Self::Resource(uri) => Some(uri),
            Self::Task(_) => None,
        }
    }
}
