//! Keeps one upstream: connect, list, serve, and back off when it is not there.

use crate::{
    protocol::call::Lane,
    upstream::{
        Inner, Offer, State,
        affinity::Affinity,
        fault::Fault,
        link::Link,
        lists::{self, Lists},
        open::Purpose,
    },
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use uuid::Uuid;

/// The control plane uses the first lane's connections.
const LANE: Lane = Lane(0);
/// The first wait after a failure; it doubles.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait while an upstream may just be starting.
const STARTING_MOST: Duration = Duration::from_secs(3);
/// For how long it may.
const STARTING: Duration = Duration::from_mins(30);
/// The longest wait after that: some fifty attempts a day.
const MOST: Duration = Duration::from_mins(30);
/// The shortest wait after refused credentials, which seldom become right by themselves.
const UNAUTHORIZED: Duration = Duration::from_secs(30);
/// Several changes within this time are read once.
const SETTLE: Duration = Duration::from_millis(50);
/// So many changes more than one in a second are no reason to wait longer.
const OFTEN: u32 = 10;
/// The same for a list that changes all the time.
const SETTLE_MOST: Duration = Duration::from_secs(5);

/// However short-lived lists are, they are not read more often.
const REFRESH_LEAST: Duration = Duration::from_secs(5);
/// The wait before a caller's session that ended is opened again, for what it was subscribed to.
const LOST: Duration = Duration::from_secs(1);

/// Keeps one upstream.
pub(super) struct Supervisor {
    inner: Arc<Inner>,
    stop: CancellationToken,
    failures: u32,
    down_since: Option<Instant>,
    oddities: Vec<String>,
    /// How long the lists are good for, as far as the upstream says so.
    ttl: Option<Duration>,
}

/// Why serving ended.
enum End {
    Stopped,
    Lost(Fault),
}

// === impl Supervisor ===

impl Supervisor {
    pub(super) fn new(inner: Arc<Inner>, stop: CancellationToken) -> Self {
        Self { inner, stop, failures: 0, down_since: None, oddities: Vec::new(), ttl: None }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = self.connect() => connected,
            };
            let fault = match connected {
                Ok(link) => {
                    (self.failures, self.down_since) = (0, None);
                    match self.serve(link).await {
                        End::Stopped => return,
                        End::Lost(fault) => fault,
                    }
                }
                Err(fault) => fault,
            };
            self.down(&fault);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.back_off(&fault) => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<Arc<Link>, Fault> {
        let inner = self.inner.clone();
        let audience = inner.audience(Affinity::Shared, None);
        let link = Arc::new(inner.open(LANE, &audience, None, Purpose::Keep).await?);
        let was_stateless = inner.is_stateless();
        inner.offer.store(Some(Arc::new(Offer::of(&link))));
        if was_stateless != link.is_stateless() {
            inner.subscriptions.rehome(|caller| inner.affinity(caller));
        }
        self.list(&link).await?;
        if inner.is_shared(link.has_session()) {
            inner.sessions.share(link.clone());
            inner.prepare(LANE, &link, Affinity::Shared, inner.shared_level()).await;
        }
        inner.clone().restore(LANE);
        Ok(link)
    }

    /// Reads the lists and publishes them.
    async fn list(&mut self, link: &Link) -> Result<(), Fault> {
        let inner = &self.inner;
        let before = inner.status.borrow().listing.clone();
        // What is said from here on is about lists that may not be read any more below.
        let said = *inner.signals.said();
        let Lists { listing, oddities, ttl } =
            lists::read(link, LANE, &inner.settings, &inner.ids, before.as_deref()).await?;
        self.ttl = ttl;
        if oddities != self.oddities {
            for oddity in &oddities {
                tracing::warn!(alias = %inner.alias, "{oddity}");
            }
            self.oddities = oddities;
        }
        let (mut is_news, mut is_other, mut tools) = (false, false, 0);
        inner.status.send_if_modified(|status| {
            let was_ready = status.state == State::Ready;
            let is_same = status.listing.as_deref() == Some(&listing);
            if !was_ready {
                (status.state, status.since) = (State::Ready, SystemTime::now());
            }
            // Whoever says so wants its clients to know, even if it looks the same from here.
            is_other = !was_ready || !is_same;
            is_news = is_other || status.said != said;
            status.said = said;
            tools = listing.tools.len();
            match &status.listing {
                Some(same) if is_same => same.hints.renew(&listing.hints),
                _ => status.listing = Some(Arc::new(listing)),
            }
            is_news
        });
        if is_news {
            // What was one client's own may be everybody's by now, or the other way round.
            for (affinity, inbox) in inner.sessions.with_own_lists() {
                inner.signals.relist_own(affinity, None, &inbox);
            }
            let transport = link.transport().as_str();
            let version = link.welcome.version.as_str();
            if is_other {
                tracing::info!(alias = %inner.alias, tools, transport, version, "upstream ready");
            } else {
                tracing::debug!(alias = %inner.alias, "an upstream says that its lists changed, and they are the same");
            }
            inner.changed.notify_one();
        }
        Ok(())
    }

    async fn serve(&mut self, link: Arc<Link>) -> End {
        let timeouts = self.inner.settings.timeouts;
        let stop = self.stop.clone();
        let inner = self.inner.clone();
        let mut ping = ticker(timeouts.ping);
        let mut refresh = ticker(self.refresh());
        let mut pace = Pace::new();
        let listener = link.clone();
        let mut listening = AbortOnDropHandle::new(tokio::spawn(async move { listen(&listener).await }));
        // Apart from the rest, so that no client's slow session holds up everybody's lists.
        let owned = inner.clone();
        let _own = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut pace = Pace::new();
            loop {
                owned.signals.relisted_own().await;
                sleep(pace.next()).await;
                owned.list_own(LANE).await;
            }
        }));
        let end = loop {
            if refresh.period() != self.refresh() {
                refresh = ticker(self.refresh());
            }
            tokio::select! {
                () = stop.cancelled() => break End::Stopped,
                lost = &mut listening => break End::Lost(lost.unwrap_or(Fault::Stopping)),
                () = inner.signals.relisted() => {
                    sleep(pace.next()).await;
                    if let Err(fault) = self.list(&link).await { break End::Lost(fault) }
                }
                () = inner.signals.lost() => {
                    // One that ends again and again is opened at leisure.
                    sleep(LOST).await;
                    inner.clone().restore(LANE);
                }
                _ = refresh.tick() => if let Err(fault) = self.list(&link).await { break End::Lost(fault) },
                () = inner.signals.wanted() => if let Err(fault) = self.ping(&link).await { break End::Lost(fault) },
                _ = ping.tick() => {
                    inner.sessions.sweep(timeouts.idle, LANE);
                    if let Err(fault) = self.ping(&link).await { break End::Lost(fault) }
                }
            }
        };
        drop(listening);
        // What is kept for a name there is not this link's alone.
        if matches!(end, End::Stopped) || !link.is_stateless() {
            // A farewell to a dead upstream must not hold up the next attempt.
            inner.net.farewells().spawn(async move { link.close(LANE).await });
        }
        end
    }

    /// How often the lists are read again unasked.
    fn refresh(&self) -> Duration {
        let most = self.inner.settings.timeouts.refresh;
        self.ttl.map_or(most, |ttl| ttl.max(REFRESH_LEAST).min(most))
    }

    /// Asks whether it is there, and whether it is still what it was.
    async fn ping(&self, link: &Link) -> Result<(), Fault> {
        let after = self.inner.settings.timeouts.connect;
        match self.inner.ping(LANE, link, after).await? {
            Some(now) if now.capabilities != link.welcome.capabilities => {
                Err(Fault::Closed("it has other capabilities by now".into()))
            }
            _ => Ok(()),
        }
    }

    fn down(&mut self, fault: &Fault) {
        self.down_since.get_or_insert_with(Instant::now);
        let inner = &self.inner;
        inner.memory.doubt(fault);
        let mut is_news = false;
        inner.status.send_if_modified(|status| {
            // The same reason again is no news.
            is_news = status.state != State::Down(fault.clone());
            status.failures += 1;
            if is_news {
                if !matches!(status.state, State::Down(_)) {
                    status.since = SystemTime::now();
                }
                status.state = State::Down(fault.clone());
            }
            // For who waits for the outcome of an attempt it is.
            true
        });
        if is_news {
            tracing::warn!(alias = %inner.alias, reason = fault.reason(), "upstream down: {fault}");
            inner.changed.notify_one();
        }
    }

    /// Waits before the next attempt: longer each time, never in step with others; a caller ends the wait.
    async fn back_off(&mut self, fault: &Fault) {
        let long = self.down_since.is_some_and(|since| since.elapsed() > STARTING);
        let most = if long { MOST } else { STARTING_MOST };
        let mut wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(most);
        if matches!(fault, Fault::Unauthorized(_)) {
            wait = wait.max(UNAUTHORIZED);
        }
        self.failures = self.failures.saturating_add(1);
        let wait = wait.mul_f64(jitter());
        tracing::debug!(alias = %self.inner.alias, wait_ms = wait.as_millis(), "the next attempt waits");
        // Callers may hurry an attempt, but not make a storm of them.
        sleep(wait.min(FIRST)).await;
        tokio::select! {
            () = sleep(wait.saturating_sub(FIRST)) => {}
            () = self.inner.signals.wanted() => {}
        }
    }
}

/// Listens for as long as the upstream lets us; returns only when the session is lost.
async fn listen(link: &Link) -> Fault {
    let mut wait = FIRST;
    loop {
        let began = Instant::now();
        match link.listen(LANE).await {
            fault if link.ended().is_some() || fault == Fault::SessionGone => return fault,
            // It has no stream of its own: pings and refreshes must do.
            Fault::Status { .. } | Fault::NotMcp(_) | Fault::Redirect(_) => std::future::pending().await,
            fault => tracing::debug!(%fault, "the supervisor's stream ended"),
        }
        wait = if began.elapsed() > MOST / 30 { FIRST } else { (wait * 2).min(MOST / 30) };
        sleep(wait).await;
    }
}

/// How long a changed list is left alone: one that changes all the time is read at leisure.
struct Pace {
    recent: u32,
    last: Instant,
}

// === impl Pace ===

impl Pace {
    fn new() -> Self {
        Self { recent: 0, last: Instant::now() }
    }

    fn next(&mut self) -> Duration {
        let quiet = self.last.elapsed().as_secs();
        self.recent = self.recent.saturating_sub(quiet.try_into().unwrap_or(u32::MAX)).saturating_add(1);
        self.last = Instant::now();
        let doublings = self.recent.saturating_sub(OFTEN).min(16);
        SETTLE.saturating_mul(1 << doublings).min(SETTLE_MOST)
    }
}

fn ticker(period: Duration) -> tokio::time::Interval {
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker
}

/// A factor between 0.8 and 1.2.
fn jitter() -> f64 {
    0.8 + 0.4 * f64::from(Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
