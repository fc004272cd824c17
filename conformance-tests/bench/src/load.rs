//! Closed-loop load: so many clients, each of which sends its next call when the last one is answered.

use crate::{
    client::{Client, Target, Wrong},
    process::cpu_time,
};
use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Clients, each with a connection and a session of its own.
    pub(crate) clients: usize,
    /// How long calls are made before anything is measured.
    pub(crate) warm_up: Duration,
    /// How long is measured,
    pub(crate) measure: Duration,
    /// unless so many calls were answered before.
    pub(crate) most_calls: u64,
    /// The length of each text.
    pub(crate) bytes: usize,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    /// Calls that were answered rightly while it was measured.
    pub(crate) calls: u64,
    /// How long was measured.
    pub(crate) seconds: f64,
    /// Right answers in a second.
    pub(crate) calls_per_second: f64,
    /// CPU time of the target for each call, in microseconds.
    pub(crate) cpu_us: f64,
    /// The median of the time to the answer, in microseconds.
    pub(crate) p50_us: f64,
    /// The same for 99 of 100 answers.
    pub(crate) p99_us: f64,
    /// Calls without an answer or with an error, warm-up included.
    pub(crate) errors: u64,
    /// Answers that were somebody else's, warm-up included.
    pub(crate) mismatches: u64,
    /// What the first wrong answer was.
    pub(crate) first_wrong: Option<String>,
}

/// What the clients share; all of them run on one thread.
#[derive(Debug, Default)]
struct Shared {
    measures: AtomicBool,
    is_over: AtomicBool,
    calls: AtomicU64,
    enough: Notify,
}

#[derive(Debug)]
struct Tally {
    times: Histogram<u64>,
    errors: u64,
    mismatches: u64,
    first_wrong: Option<String>,
}

/// How long a client may take to notice that the load is over.
const LAST_CALL: Duration = Duration::from_secs(10);
/// Nothing that is measured here takes longer; in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// A histogram of times in nanoseconds.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, LONGEST, 3)?)
}

/// Nanoseconds that a histogram takes.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(LONGEST).min(LONGEST)
}

/// A quantile in microseconds.
pub(crate) fn micros(times: &Histogram<u64>, quantile: f64) -> f64 {
    Duration::from_nanos(times.value_at_quantile(quantile)).as_secs_f64() * 1e6
}

/// Loads a target and measures the process that is behind it.
pub(crate) async fn run(target: &Target, pid: u32, plan: Plan) -> Result<Outcome> {
    let shared = Arc::new(Shared::default());
    let mut clients = JoinSet::new();
    for number in 0..plan.clients {
        let client = Client::open(target, number).await?;
        clients.spawn(drive(client, target.clone(), number, shared.clone(), plan));
    }
    sleep(plan.warm_up).await;
    shared.measures.store(true, Ordering::Relaxed);
    let (began, cpu_before) = (Instant::now(), cpu_time(pid)?);
    // Whichever comes first is the end.
    let _ = timeout(plan.measure, shared.enough.notified()).await;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_time(pid)?.saturating_sub(cpu_before));
    let calls = shared.calls.load(Ordering::Relaxed);
    shared.is_over.store(true, Ordering::Relaxed);
    let tallies = timeout(LAST_CALL, clients.join_all()).await.context("a call was never answered")?;
    let mut whole = Tally::new()?;
    for tally in tallies {
        whole.add(tally?)?;
    }
    if calls == 0 {
        let wrong = whole.first_wrong.unwrap_or_default();
        bail!("{} answered no call rightly: {wrong}", target.name);
    }
    #[expect(clippy::cast_precision_loss, reason = "there are fewer calls than a float counts exactly")]
    let count = calls as f64;
    Ok(Outcome {
        calls,
        seconds,
        calls_per_second: count / seconds,
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
        p50_us: micros(&whole.times, 0.5),
        p99_us: micros(&whole.times, 0.99),
        errors: whole.errors,
        mismatches: whole.mismatches,
        first_wrong: whole.first_wrong,
    })
}

async fn drive(
    mut client: Client,
    target: Target,
    number: usize,
    shared: Arc<Shared>,
    plan: Plan,
) -> Result<Tally> {
    let mut tally = Tally::new()?;
    while !shared.is_over.load(Ordering::Relaxed) {
        match client.call(plan.bytes).await {
            Ok(took) if shared.measures.load(Ordering::Relaxed) => {
                tally.times.record(nanos(took))?;
                if shared.calls.fetch_add(1, Ordering::Relaxed) + 1 == plan.most_calls {
                    shared.enough.notify_one();
                }
            }
            Ok(_) => {}
            Err(wrong) => {
                tally.note(wrong);
                // The connection may be broken, and the target in trouble.
                sleep(Duration::from_millis(10)).await;
                client = Client::open(&target, number).await?;
            }
        }
    }
    Ok(tally)
}

// === impl Tally ===

impl Tally {
    fn new() -> Result<Self> {
        Ok(Self { times: histogram()?, errors: 0, mismatches: 0, first_wrong: None })
    }

    fn note(&mut self, wrong: Wrong) {
        let text = match wrong {
            Wrong::Failed(text) => {
                self.errors += 1;
                text
            }
            Wrong::Mismatch(text) => {
                self.mismatches += 1;
                text
            }
        };
        self.first_wrong.get_or_insert(text);
    }

    fn add(&mut self, other: Self) -> Result<()> {
        self.times.add(other.times)?;
        self.errors += other.errors;
        self.mismatches += other.mismatches;
        self.first_wrong = self.first_wrong.take().or(other.first_wrong);
        Ok(())
    }
}
