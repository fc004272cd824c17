//! Calls whose clients were asked something and will come back with an answer, as a request of its own.

use crate::{policy::identity::KeyId, session::settings::Settings};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Calls that wait for their clients. A call ends when its `T` is dropped.
#[derive(Debug)]
pub struct Parked<T> {
    held: Mutex<Held<T>>,
    most: usize,
    most_per_key: usize,
    most_bytes: usize,
}

/// Leads back to a parked call, for the key that began it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// 122 random bits.
    pub id: u128,
    /// How often the call was parked before.
    pub round: u32,
}

/// There is no room for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// As many calls as are allowed wait.
    #[error("{0} calls wait for their clients' answers, which is the limit")]
    Calls(usize),
    /// As many calls of this key as are allowed wait.
    #[error("{0} calls of this key wait for its clients' answers, which is the limit")]
    OfKey(usize),
    /// They keep as much as is allowed.
    #[error("the calls that wait for their clients' answers keep {0} bytes, which is the limit")]
    Bytes(usize),
}

/// No such call waits for this key: it was taken, or ended, or there never was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the call that this would continue does not wait any more: send the request again from its beginning"
)]
pub struct Gone;

#[derive(Debug)]
struct Held<T> {
    calls: HashMap<u128, Call<T>>,
    /// How many calls each key has.
    by_key: HashMap<KeyId, usize>,
    bytes: usize,
}

#[derive(Debug)]
struct Call<T> {
    key: KeyId,
    round: u32,
    bytes: usize,
    /// `None`: beyond all time.
    until: Option<Instant>,
    kept: T,
}

// === impl Ticket ===

impl Ticket {
    /// The ticket of a call that is parked for the first time.
    pub fn first() -> Self {
        Self { id: Uuid::new_v4().as_u128(), round: 0 }
    }

    /// The ticket for the next time: with it the ones before are void.
    #[must_use]
    pub fn next(self) -> Self {
        Self { round: self.round.saturating_add(1), ..self }
    }
}

// === impl Parked ===

impl<T> Parked<T> {
    /// No calls, and room for as many as the settings say.
    pub fn new(settings: &Settings) -> Self {
        let held = Held { calls: HashMap::new(), by_key: HashMap::new(), bytes: 0 };
        Self {
            held: Mutex::new(held),
            most: settings.max_parked,
            most_per_key: settings.max_parked_per_key,
            most_bytes: settings.parked_bytes,
        }
    }

    /// Parks a call that keeps about so many bytes, for so long. If there is no room, it ends.
    pub fn park(&self, key: KeyId, bytes: usize, ttl: Duration, kept: T) -> Result<Ticket, Full> {
        self.put_back(Ticket::first(), key, bytes, ttl, kept)
    }

    /// Parks a call that was taken, under this ticket: the same, or the [next](Ticket::next) where its client gets a
    /// new state. If the room was given to others meanwhile, it ends.
    pub fn put_back(
        &self,
        ticket: Ticket,
        key: KeyId,
        bytes: usize,
        ttl: Duration,
        kept: T,
    ) -> Result<Ticket, Full> {
        let until = Instant::now().checked_add(ttl);
        let mut held = self.held();
        // Whoever puts a call back twice has the second one.
        let displaced = held.remove(ticket.id);
        let refused = if held.calls.len() >= self.most {
            Some(Full::Calls(self.most))
        } else if held.by_key.get(&key).is_some_and(|count| *count >= self.most_per_key) {
            Some(Full::OfKey(self.most_per_key))
        } else if bytes > self.most_bytes.saturating_sub(held.bytes) {
            Some(Full::Bytes(self.most_bytes))
        } else {
            None
        };
        let call = Call { key, round: ticket.round, bytes, until, kept };
        let refused = match refused {
            Some(full) => Some((full, call)),
            None => {
                held.insert(ticket.id, call);
                None
            }
        };
        // What ends is dropped without the lock: it may be long, or look in here.
        drop(held);
        drop(displaced);
        refused.map_or(Ok(ticket), |(full, _)| Err(full))
    }

    /// Takes the call out, for the key that began it and the round that it is in; anybody else takes nothing.
    pub fn take(&self, id: u128, key: KeyId, round: u32) -> Result<T, Gone> {
        let now = Instant::now();
        let mut held = self.held();
        let call = held.calls.get(&id).ok_or(Gone)?;
        if call.key != key || call.round != round || call.is_over(now) {
            return Err(Gone);
        }
        held.remove(id).map(|call| call.kept).ok_or(Gone)
    }

    /// Takes out all calls whose clients took too long.
    pub fn sweep(&self) -> Vec<T> {
        let now = Instant::now();
        let mut held = self.held();
        let over: Vec<u128> =
            held.calls.iter().filter(|(_, call)| call.is_over(now)).map(|(id, _)| *id).collect();
        over.into_iter().filter_map(|id| held.remove(id)).map(|call| call.kept).collect()
    }

    /// How many calls wait.
    pub fn len(&self) -> usize {
        self.held().calls.len()
    }

    /// Whether no call waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes they keep.
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        // No code that holds the lock can panic.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Held ===

impl<T> Held<T> {
    fn insert(&mut self, id: u128, call: Call<T>) {
        self.bytes += call.bytes;
        *self.by_key.entry(call.key).or_default() += 1;
        self.calls.insert(id, call);
    }

    fn remove(&mut self, id: u128) -> Option<Call<T>> {
        let call = self.calls.remove(&id)?;
        self.bytes -= call.bytes;
        if let Some(count) = self.by_key.get_mut(&call.key) {
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(&call.key);
            }
        }
        Some(call)
    }
}

// === impl Call ===

impl<T> Call<T> {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Full, Gone, Instant, KeyId, Parked, Settings, Ticket};
    use crate::policy::{
        identity::Keys,
        settings::{KeySettings, Settings as Policy},
    };
    use proptest::{
        prelude::{Strategy, prop, prop_assert, prop_assert_eq, prop_oneof, proptest},
        test_runner::TestCaseError,
    };
    use std::{
        collections::HashSet,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
    };

    const MINUTE: Duration = Duration::from_mins(1);

    fn keys() -> Vec<KeyId> {
        let key =
            |name: &str| KeySettings { secret: name.into(), name: name.into(), aliases: None, tools: None };
        let names = ["one", "two", "three"];
        let policy = Policy { master: None, keys: names.map(key).into() };
        let keys = Keys::new(&policy, "-").expect("keys");
        names.map(|name| keys.identify(Some(name)).expect("known").key).into()
    }

    fn parked<T>(most: usize, most_per_key: usize, most_bytes: usize) -> Parked<T> {
        let settings = Settings {
            max_parked: most,
            max_parked_per_key: most_per_key,
            parked_bytes: most_bytes,
            ..Settings::default()
        };
        Parked::new(&settings)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_taken_once_by_its_key_in_its_round() {
        let (parked, keys) = (parked(10, 10, 100), keys());
        let ticket = parked.park(keys[0], 7, MINUTE, "call").expect("room");
        assert_eq!((ticket.round, parked.len(), parked.bytes()), (0, 1, 7));
        assert_eq!(parked.take(ticket.id, keys[1], 0), Err(Gone), "another key's");
        assert_eq!(parked.take(ticket.id, keys[0], 1), Err(Gone), "another round's");
        assert_eq!(parked.take(ticket.id ^ 1, keys[0], 0), Err(Gone), "another call's");
        assert_eq!(parked.take(ticket.id, keys[0], 0), Ok("call"));
        assert_eq!(parked.take(ticket.id, keys[0], 0), Err(Gone));
        let next = parked.put_back(ticket.next(), keys[0], 9, MINUTE, "again").expect("room");
        assert_eq!((next.id, next.round, parked.bytes()), (ticket.id, 1, 9));
        assert_eq!(parked.take(ticket.id, keys[0], 0), Err(Gone), "the old ticket is void");
        assert_eq!(parked.take(next.id, keys[0], 1), Ok("again"));
        assert!(parked.is_empty() && parked.bytes() == 0);
    }

    #[test]
    fn who_finds_no_room_is_told_which() {
        let (parked, keys) = (parked(4, 2, 100), keys());
        let park = |key: usize, bytes: usize| parked.park(keys[key], bytes, MINUTE, ()).map(|_| ());
        assert_eq!(park(0, 101), Err(Full::Bytes(100)));
        assert_eq!((park(0, 100), park(1, 1), park(1, 0)), (Ok(()), Err(Full::Bytes(100)), Ok(())));
        assert_eq!((park(0, 0), park(0, 0)), (Ok(()), Err(Full::OfKey(2))));
        assert_eq!((park(2, 0), park(2, 0)), (Ok(()), Err(Full::Calls(4))));
        assert_eq!((parked.len(), parked.bytes()), (4, 100));
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_up_to_the_moment() {
        let (parked, key) = (parked(10, 10, 100), KeyId::NOBODY);
        let ticket = parked.park(key, 1, MINUTE, 1).expect("room");
        let forever = parked.park(key, 1, Duration::MAX, 2).expect("room");
        tokio::time::advance(Duration::from_millis(59_999)).await;
        assert!(parked.sweep().is_empty());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(parked.take(ticket.id, key, 0), Err(Gone), "over, although not swept yet");
        assert_eq!((parked.sweep(), parked.sweep(), parked.len()), (vec![1], vec![], 1));
        assert_eq!(parked.take(forever.id, key, 0), Ok(2));
    }

    #[test]
    fn many_at_once_take_each_call_once() {
        let (parked, key) = (parked(1_000, 1_000, 1_000), KeyId::NOBODY);
        let park = |number| parked.park(key, 1, MINUTE, number).expect("room");
        let tickets: Vec<Ticket> = (0..500).map(park).collect();
        let taken = AtomicUsize::new(0);
        let take_all = || {
            let all = tickets.iter().filter_map(|ticket| parked.take(ticket.id, key, 0).ok());
            taken.fetch_add(all.count(), Ordering::Relaxed);
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(take_all);
            }
        });
        assert_eq!((taken.into_inner(), parked.len(), parked.bytes()), (500, 0, 0));
    }

    /// A call that looks at where it was parked when it ends.
    struct Curious(Arc<Parked<Option<Curious>>>, Arc<AtomicUsize>);

    impl Drop for Curious {
        fn drop(&mut self) {
            self.1.fetch_add(1 + self.0.len(), Ordering::Relaxed);
        }
    }

    #[test]
    fn what_ends_may_look_in_here() {
        let (parked, seen) = (Arc::new(parked(1, 1, 1)), Arc::new(AtomicUsize::new(0)));
        let ticket = parked.park(KeyId::NOBODY, 0, MINUTE, None).expect("room");
        let refused = parked.park(KeyId::NOBODY, 0, MINUTE, Some(Curious(parked.clone(), seen.clone())));
        assert_eq!((refused, seen.load(Ordering::Relaxed)), (Err(Full::Calls(1)), 2));
        let curious = || Some(Curious(parked.clone(), seen.clone()));
        for _ in 0..2 {
            parked.put_back(ticket, KeyId::NOBODY, 1, MINUTE, curious()).expect("the place of the first");
        }
        assert_eq!(seen.load(Ordering::Relaxed), 4, "the first of the two is gone");
        assert!(parked.take(ticket.id, KeyId::NOBODY, 0).is_ok());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Park {
            key: usize,
            bytes: usize,
            ttl: u64,
        },
        /// Which of all tickets there ever were, whose key, and how far off the round is.
        Take {
            ticket: usize,
            key: usize,
            off: u32,
        },
        PutBack {
            taken: usize,
            bytes: usize,
            is_next: bool,
        },
        Wait(u64),
        Sweep,
    }

    fn step() -> impl Strategy<Value = Step> {
        let park = (0..3_usize, 0..60_usize, 0..40_u64);
        prop_oneof![
            4 => park.prop_map(|(key, bytes, ttl)| Step::Park { key, bytes, ttl }),
            4 => (0..64_usize, 0..4_usize, 0..5_u32).prop_map(|(ticket, key, off)| {
                // Mostly right.
                Step::Take { ticket, key: key.min(2), off: off / 4 }
            }),
            2 => (0..8_usize, 0..60_usize, 0..2_u8)
                .prop_map(|(taken, bytes, next)| Step::PutBack { taken, bytes, is_next: next == 1 }),
            2 => (0..20_u64).prop_map(Step::Wait),
            1 => (0..1_u8).prop_map(|_| Step::Sweep),
        ]
    }

    /// What one parked call should be.
    struct Model {
        ticket: Ticket,
        key: usize,
        bytes: usize,
        until: Instant,
        number: u64,
    }

    const MOST: usize = 6;
    const MOST_PER_KEY: usize = 3;
    const MOST_BYTES: usize = 150;

    #[derive(Default)]
    struct World {
        waiting: Vec<Model>,
        taken: Vec<(Ticket, usize, (u64, Arc<()>))>,
        tickets: Vec<Ticket>,
        numbers: u64,
        alive: Arc<()>,
    }

    impl World {
        fn bytes(&self) -> usize {
            self.waiting.iter().map(|call| call.bytes).sum()
        }

        fn has_room(&self, key: usize, bytes: usize) -> bool {
            let of_key = self.waiting.iter().filter(|call| call.key == key).count();
            self.waiting.len() < MOST && of_key < MOST_PER_KEY && self.bytes() + bytes <= MOST_BYTES
        }
    }

    async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
        let (parked, keys) = (parked(MOST, MOST_PER_KEY, MOST_BYTES), keys());
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Park { key, bytes, ttl } => {
                    let ttl = Duration::from_secs(ttl);
                    let number = world.numbers;
                    world.numbers += 1;
                    let kept = (number, world.alive.clone());
                    let done = parked.park(keys[key], bytes, ttl, kept);
                    prop_assert_eq!(done.is_ok(), world.has_room(key, bytes));
                    let Ok(ticket) = done else { continue };
                    world.tickets.push(ticket);
                    world.waiting.push(Model { ticket, key, bytes, until: Instant::now() + ttl, number });
                }
                Step::Take { ticket, key, off } => {
                    if world.tickets.is_empty() {
                        continue;
                    }
                    let ticket = world.tickets[ticket % world.tickets.len()];
                    let round = ticket.round + off;
                    let found = world.waiting.iter().position(|call| {
                        call.ticket == Ticket { round, ..ticket }
                            && call.key == key
                            && call.until > Instant::now()
                    });
                    let done = parked.take(ticket.id, keys[key], round);
                    let expected = found.map(|at| world.waiting.remove(at));
                    prop_assert_eq!(
                        done.as_ref().ok().map(|kept| kept.0),
                        expected.as_ref().map(|call| call.number)
                    );
                    if let (Ok(kept), Some(call)) = (done, expected) {
                        world.taken.push((call.ticket, key, kept));
                    }
                }
                Step::PutBack { taken, bytes, is_next } => {
                    if world.taken.is_empty() {
                        continue;
                    }
                    let at = taken % world.taken.len();
                    let (ticket, key, kept) = world.taken.swap_remove(at);
                    let ticket = if is_next { ticket.next() } else { ticket };
                    let number = kept.0;
                    let done = parked.put_back(ticket, keys[key], bytes, MINUTE, kept);
                    prop_assert_eq!(done.is_ok(), world.has_room(key, bytes));
                    if done.is_ok() {
                        world.tickets.push(ticket);
                        world.waiting.push(Model {
                            ticket,
                            key,
                            bytes,
                            until: Instant::now() + MINUTE,
                            number,
                        });
                    }
                }
                Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                Step::Sweep => {
                    let swept: HashSet<u64> = parked.sweep().into_iter().map(|kept| kept.0).collect();
                    let (over, left): (Vec<_>, Vec<_>) =
                        world.waiting.into_iter().partition(|call| call.until <= Instant::now());
                    world.waiting = left;
                    prop_assert_eq!(swept, over.into_iter().map(|call| call.number).collect());
                }
            }
            prop_assert_eq!((parked.len(), parked.bytes()), (world.waiting.len(), world.bytes()));
            let alive = Arc::strong_count(&world.alive) - 1;
            prop_assert_eq!(alive, world.waiting.len() + world.taken.len(), "whatever is refused has ended");
            let held = parked.held();
            prop_assert!(held.calls.len() <= MOST && held.bytes <= MOST_BYTES);
            prop_assert!(held.by_key.values().all(|count| (1..=MOST_PER_KEY).contains(count)));
        }
        tokio::time::advance(MINUTE).await;
        prop_assert_eq!(parked.sweep().len(), world.waiting.len());
        let held = parked.held();
        prop_assert!(held.calls.is_empty() && held.by_key.is_empty() && held.bytes == 0);
        Ok(())
    }

    proptest! {
        #[test]
        fn bounds_hold_and_nothing_is_lost_or_taken_twice(steps in prop::collection::vec(step(), 0..80)) {
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_time().start_paused(true).build();
            runtime.expect("a runtime").block_on(play(steps))?;
        }
    }
}
