//! Which upstream session serves which caller: opened when it is first used, bounded, closed when idle.

use crate::{
    policy::identity::KeyId,
    protocol::{call::Lane, inbox::Inbox},
    upstream::{
        fault::Fault,
        link::Link,
        own::OwnLists,
        settings::{SessionMode, Transport},
        subscriptions::Subscriptions,
    },
};
use dashmap::{DashMap, Entry};
use std::{
    future::Future,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::OnceCell, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Who calls, as far as upstream sessions are concerned.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The number of the client's session.
    pub session: u64,
    /// Who subscribes: the session, or one of the streams that its client listens to.
    pub subscriber: u64,
    /// The client's key.
    pub key: KeyId,
    /// Where the client hears what belongs to none of its calls.
    pub inbox: Arc<Inbox>,
}

/// Which callers share an upstream session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Affinity {
    Shared,
    Session(u64),
    Key(KeyId),
}

/// The sessions that callers have with one upstream.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: DashMap<Affinity, Arc<Slot>>,
    most: usize,
    born: Instant,
    farewells: TaskTracker,
    /// Processes of sessions that were closed and that have not ended yet.
    ending: Arc<AtomicUsize>,
    /// Sessions that are subscribed to something are of use while nobody calls.
    subscriptions: Arc<Subscriptions>,
}

/// One session: not open yet, or open.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    link: OnceCell<Arc<Link>>,
    calls: AtomicUsize,
    /// Whose it is.
    key: Option<KeyId>,
    /// Milliseconds after the table's birth.
    used: AtomicU64,
    /// Nobody finds it any more: whoever uses it last closes it.
    is_over: AtomicBool,
    is_closed: AtomicBool,
    /// What the upstream has in this session only.
    lists: Mutex<Option<OwnLists>>,
    /// The level of log messages that it was told with a request.
    told: Mutex<Option<&'static str>>,
    /// As in [`Sessions`].
    ending: Arc<AtomicUsize>,
    /// What ends with the last of its calls.
    ends: Mutex<Vec<CancellationToken>>,
    /// Who waits for the end of all sessions waits for these.
    farewells: TaskTracker,
}

/// A process that is being ended.
struct Ending(Arc<AtomicUsize>);

/// A slot that is in use for a call.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Slot>, Lane);

// === impl Affinity ===

impl Affinity {
    /// Which session a caller gets, given whether the upstream keeps any.
    pub(crate) fn of(caller: &Caller, mode: SessionMode, has_session: bool) -> Self {
        if Self::is_shared(mode, has_session) {
            Self::Shared
        } else if mode == SessionMode::Key {
            Self::Key(caller.key)
        } else {
            Self::Session(caller.session)
        }
    }

    /// Whether all callers share one session.
    pub(crate) fn is_shared(mode: SessionMode, has_session: bool) -> bool {
        mode == SessionMode::Shared || (mode == SessionMode::Auto && !has_session)
    }
}

// === impl Sessions ===

impl Sessions {
    /// Room for `most` sessions; `farewells` has a member for each that is being ended.
    pub(crate) fn new(most: usize, farewells: TaskTracker, subscriptions: Arc<Subscriptions>) -> Self {
        Self {
            slots: DashMap::new(),
            most,
            born: Instant::now(),
            farewells,
            ending: Arc::default(),
            subscriptions,
        }
    }

    /// The caller's slot; makes room by closing the session that was idle longest.
    ///
    /// No key can take everything: an eighth of the room is left to the others.
    pub(crate) fn lease(&self, affinity: Affinity, key: KeyId, lane: Lane) -> Result<Lease, Fault> {
        if let Some(slot) = self.slots.get(&affinity) {
            return Ok(self.use_slot(&slot, lane));
        }
        // Processes that still end are as much of a burden as those that work.
        let is_full = || {
            let taken = self.slots.len() + self.ending.load(Ordering::SeqCst);
            taken >= self.most || (taken >= self.most_of_one() && self.of_key(key) >= self.most_of_one())
        };
        if is_full() && (!self.make_room(lane) || is_full()) {
            return Err(Fault::Busy(self.most));
        }
        Ok(match self.slots.entry(affinity) {
            Entry::Occupied(taken) => self.use_slot(taken.get(), lane),
            Entry::Vacant(free) => {
                self.use_slot(&free.insert(Arc::new(self.slot(OnceCell::new(), key))), lane)
            }
        })
    }

    /// The most sessions of one key. Who needs no key is alone.
    fn most_of_one(&self) -> usize {
        self.most - self.most / 8
    }

    fn of_key(&self, key: KeyId) -> usize {
        let is_of_key = |slot: &Slot| key != KeyId::NOBODY && slot.key == Some(key);
        self.slots.iter().filter(|slot| is_of_key(slot)).count()
    }

    fn slot(&self, link: OnceCell<Arc<Link>>, key: KeyId) -> Slot {
        Slot {
            link,
            key: Some(key),
            farewells: self.farewells.clone(),
            ending: self.ending.clone(),
            ..Slot::default()
        }
    }

    fn use_slot(&self, slot: &Arc<Slot>, lane: Lane) -> Lease {
        slot.calls.fetch_add(1, Ordering::SeqCst);
        slot.used.store(self.now(), Ordering::Relaxed);
        Lease(slot.clone(), lane)
    }

    /// Puts an open session where callers that share one find it.
    pub(crate) fn share(&self, link: Arc<Link>) {
        let slot = self.slot(OnceCell::new_with(Some(link)), KeyId::NOBODY);
        slot.used.store(self.now(), Ordering::Relaxed);
        self.slots.insert(Affinity::Shared, Arc::new(slot));
    }

    /// Forgets a session that is of no use any more, unless somebody replaced it already.
    pub(crate) fn forget(&self, affinity: Affinity, lease: &Lease) {
        self.slots.remove_if(&affinity, |_, slot| Arc::ptr_eq(slot, &lease.0));
        lease.0.drop_lists();
        if let Some(link) = lease.0.link.get() {
            link.end();
        }
    }

    /// What the upstream has in this session only.
    pub(crate) fn own_lists(&self, affinity: Affinity) -> Option<OwnLists> {
        self.slots.get(&affinity)?.lists().clone()
    }

    /// The sessions in which the upstream has something of their own.
    pub(crate) fn with_own_lists(&self) -> Vec<(Affinity, Arc<Inbox>)> {
        let own = |slot: &Slot| slot.lists().as_ref().map(|own| own.inbox.clone());
        self.slots.iter().filter_map(|slot| Some((*slot.key(), own(&slot)?))).collect()
    }

    /// Whether this session is open.
    pub(crate) fn is_open(&self, affinity: Affinity) -> bool {
        self.slots
            .get(&affinity)
            .is_some_and(|slot| slot.link.get().is_some_and(|link| link.ended().is_none()))
    }

    /// The caller's slot if its session is open; nothing is opened for it.
    pub(crate) fn lease_open(&self, affinity: Affinity, lane: Lane) -> Option<Lease> {
        let slot = self.slots.get(&affinity)?;
        slot.link.get()?;
        Some(self.use_slot(&slot, lane))
    }

    /// Closes the session of an ended client session.
    pub(crate) fn release(&self, session: u64, lane: Lane) {
        if let Some((_, slot)) = self.slots.remove(&Affinity::Session(session)) {
            slot.close(lane);
        }
    }

    /// Closes what was idle for `idle`, and what ended by itself.
    ///
    /// What is subscribed to something stays however idle it is.
    pub(crate) fn sweep(&self, idle: Duration, lane: Lane) {
        let now = self.now();
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        self.slots.retain(|affinity, slot| {
            let is_over = slot.link.get().is_some_and(|link| link.ended().is_some());
            let is_old = now.saturating_sub(slot.used.load(Ordering::Relaxed)) >= idle;
            let keep = slot.calls.load(Ordering::Relaxed) > 0
                || !(is_over
                    || (is_old && *affinity != Affinity::Shared && !self.subscriptions.has(*affinity)));
            if !keep {
                slot.close(lane);
            }
            keep
        });
    }

    /// Closes everything.
    pub(crate) fn take_all(&self) -> Vec<Arc<Link>> {
        let links = self.slots.iter().filter_map(|slot| slot.link.get().cloned()).collect();
        self.slots.clear();
        links
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    fn make_room(&self, lane: Lane) -> bool {
        let oldest = self
            .slots
            .iter()
            .filter(|slot| slot.calls.load(Ordering::Relaxed) == 0)
            .min_by_key(|slot| (self.subscriptions.has(*slot.key()), slot.used.load(Ordering::Relaxed)))
            .map(|slot| *slot.key());
        let Some(oldest) = oldest else { return false };
        let removed = self.slots.remove_if(&oldest, |_, slot| slot.calls.load(Ordering::Relaxed) == 0);
        if let Some((affinity, slot)) = removed {
            tracing::info!(?affinity, most = self.most, "the idlest upstream session is closed to make room");
            slot.close(lane);
        }
        true
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

// === impl Slot ===

impl Slot {
    /// Closes the session, now or when its last call ends.
    fn close(&self, lane: Lane) {
        self.drop_lists();
        self.is_over.store(true, Ordering::SeqCst);
        self.close_unused(lane);
    }

    fn lists(&self) -> MutexGuard<'_, Option<OwnLists>> {
        // No code that holds the lock can panic.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> MutexGuard<'_, Vec<CancellationToken>> {
        // No code that holds the lock can panic.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_lists(&self) {
        let own = self.lists().take();
        if let Some(own) = own {
            own.gone();
        }
    }

    fn close_unused(&self, lane: Lane) {
        let is_unused = self.is_over.load(Ordering::SeqCst) && self.calls.load(Ordering::SeqCst) == 0;
        if !is_unused || self.is_closed.swap(true, Ordering::SeqCst) {
            return;
        }
        // A session's stream may be dropped while its runtime ends; then nobody is left to say good-bye.
        if let (Some(link), Ok(runtime)) = (self.link.get().cloned(), Handle::try_current()) {
            let ending = (link.transport() == Transport::Stdio).then(|| Ending::new(&self.ending));
            let farewell = async move {
                link.close(lane).await;
                drop(ending);
            };
            self.farewells.spawn_on(farewell, &runtime);
        }
    }
}

// === impl Ending ===

impl Ending {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Lease ===

impl Lease {
    /// The level of log messages that the session was told with a request.
    pub(crate) fn told(&self) -> MutexGuard<'_, Option<&'static str>> {
        // No code that holds the lock can panic.
        self.0.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the token when no call uses the session any more.
    pub(crate) fn end_with_last(&self, token: CancellationToken) {
        self.0.ends().push(token);
    }

    /// Keeps what the upstream has in this session only.
    pub(crate) fn keep_lists(&self, own: Option<OwnLists>) {
        *self.0.lists() = own;
    }

    /// The session, if it is open.
    pub(crate) fn opened(&self) -> Option<&Arc<Link>> {
        self.0.link.get()
    }

    /// The open session; the first caller opens it, and others wait for that.
    pub(crate) async fn link<F>(&self, open: impl FnOnce() -> F) -> Result<&Arc<Link>, Fault>
    where
        F: Future<Output = Result<Link, Fault>>,
    {
        self.0.link.get_or_try_init(|| async { open().await.map(Arc::new) }).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::SeqCst) == 1 {
            let ends = std::mem::take(&mut *self.0.ends());
            ends.iter().for_each(CancellationToken::cancel);
        }
        self.0.close_unused(self.1);
    }
}
