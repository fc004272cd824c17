//! One upstream server each: how it is reached, what it offers, and every call's one answer.
//!
//! **Invariant:** every dispatched call is answered exactly once, by the upstream or by us. Ids on the wire are ours,
//! so that a hostile upstream cannot answer somebody else's call.

mod affinity;
mod audience;
mod calls;
mod desk;
mod era;
mod fault;
mod hearing;
mod http;
mod inner;
mod keeper;
mod link;
mod listen;
mod lists;
mod mux;
mod net;
mod open;
mod own;
mod pending;
mod process;
pub mod settings;
mod signals;
mod sink;
mod sse;
mod stderr;
mod stdio;
mod subscriptions;
mod supervisor;
mod tell;
mod watching;
mod words;

use crate::{
    catalog::{listing::Listing, name::Alias, settings::NameRules},
    protocol::{
        call::{Event, Lane},
        handshake::Welcome,
    },
    upstream::{
        affinity::{Affinity, Lease, Sessions},
        audience::{Audience, Elicitations},
        era::Memory,
        link::Link,
        open::{Opening, Purpose},
        settings::{SessionMode, Settings, Target, Transport},
        signals::Signals,
        sink::Sink,
        subscriptions::Subscriptions,
    },
    wire::{
        message::{Answer, Request},
        raw::Raw,
    },
};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use affinity::Caller;
pub use fault::Fault;
pub use keeper::keep;
pub use net::Net;
pub use process::KEEPER;
pub use signals::Said;

/// The handle of one upstream.
#[derive(Clone, Debug)]
pub struct Upstream(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    alias: Alias,
    settings: Settings,
    net: Net,
    signals: Arc<Signals>,
    sessions: Sessions,
    subscriptions: Arc<Subscriptions>,
    elicitations: Arc<Elicitations>,
    /// The most verbose level that a caller of a shared session asked for.
    level: Mutex<Option<&'static str>>,
    ids: Arc<AtomicU64>,
    /// What is known of its era.
    memory: Memory,
    /// What the last handshake told; survives the connection.
    offer: ArcSwapOption<Offer>,
    status: watch::Sender<Status>,
    /// Wakes who merges listings.
    changed: Arc<Notify>,
}

/// How an upstream is.
#[derive(Clone, Debug)]
pub struct Status {
    /// What it does at the moment.
    pub state: State,
    /// Since when.
    pub since: SystemTime,
    /// What it has; kept while it is down.
    pub listing: Option<Arc<Listing>>,
    /// How often it said that its lists changed, when they were read last.
    pub said: Said,
    /// How many attempts to reach it, and to stay there, have failed so far.
    pub failures: u64,
}

/// What an upstream does at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Starting,
    /// It serves.
    Ready,
    /// It does not, and why.
    Down(Fault),
}

/// What an upstream told in its handshake.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Identity, version, capabilities.
    pub welcome: Arc<Welcome>,
    /// The transport that works.
    pub transport: Transport,
    /// Whether it keeps sessions.
    pub has_session: bool,
}

/// A request on its way to an upstream: the client's bytes, and what is changed in them.
#[derive(Debug)]
pub struct Outbound<'a> {
    /// The client's request.
    pub request: &'a Request,
    /// What stands where in its parameters and is replaced: the native name or URI as a JSON string.
    pub edits: &'a [(Range<usize>, Raw)],
    /// The client's progress token and where it stands.
    pub token: Option<(Raw, Range<usize>)>,
}

/// Ends the questions that came with a call when it ends. In a session of one client's own they go on as long as other
/// calls of the client do: it may have been another that caused them, and the client is meant in any case.
struct Tie<'call> {
    lease: &'call Lease,
    sink: &'call Sink,
    is_own: bool,
}

/// How long a notice to an upstream may take.
const NOTICE: Duration = Duration::from_secs(5);

// === impl Upstream ===

impl Upstream {
    /// Begins to reach for the upstream and to keep it; `changed` is woken whenever its status changes.
    pub fn start(
        alias: Alias,
        settings: Settings,
        net: Net,
        changed: Arc<Notify>,
        stop: CancellationToken,
    ) -> Self {
        let status = Status {
            state: State::Starting,
            since: SystemTime::now(),
            listing: None,
            said: Said::default(),
            failures: 0,
        };
        let subscriptions = Arc::<Subscriptions>::default();
        let farewells = net.farewells().clone();
        let inner = Arc::new(Inner {
            alias,
            sessions: Sessions::new(settings.max_sessions, farewells, subscriptions.clone()),
            settings,
            net,
            signals: Arc::default(),
            subscriptions,
            elicitations: Arc::default(),
            level: Mutex::default(),
            ids: Arc::new(AtomicU64::new(first_id())),
            memory: Memory::default(),
            offer: ArcSwapOption::empty(),
            status: watch::Sender::new(status),
            changed,
        });
        // Its farewell is waited for, and with it the end of the session that it has.
        inner.net.farewells().spawn(supervisor::Supervisor::new(inner.clone(), stop).run());
        Self(inner)
    }

    /// Its alias.
    pub fn alias(&self) -> &Alias {
        &self.0.alias
    }

    /// How it is now.
    pub fn status(&self) -> Status {
        self.0.status.borrow().clone()
    }

    /// How it is, as it changes.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.0.status.subscribe()
    }

    /// Somebody wants it now: a supervisor that waits for its next attempt waits no longer.
    pub fn want(&self) {
        self.0.signals.want();
    }

    /// Where it is, for people: never the query of an address, nor a user in it, which may be secret.
    pub fn address(&self) -> String {
        match &self.0.settings.target {
            Target::Http(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
            Target::Stdio(command) => command.program.clone(),
        }
    }

    /// How long it may take to answer `initialize`.
    pub fn patience(&self) -> Duration {
        self.0.settings.timeouts.connect
    }

    /// What it told in its last handshake.
    pub fn offer(&self) -> Option<Arc<Offer>> {
        self.0.offer.load_full()
    }

    /// Whether each client session has a session with it for itself.
    pub fn has_own_sessions(&self) -> bool {
        let has_session = self.0.offer.load().as_ref().is_none_or(|offer| offer.has_session);
        let mode = self.0.session_mode();
        !Affinity::is_shared(mode, has_session) && mode != SessionMode::Key
    }

    /// Whether a caller has its session with it for itself.
    pub fn is_own(&self, caller: &Caller) -> bool {
        matches!(self.0.affinity(caller), Affinity::Session(_))
    }

    /// How many sessions callers have with it.
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Calls it. `Ok(None)` means that the client took the call back.
    ///
    /// A call is sent a second time only when the upstream said that it did not look at it.
    pub async fn call(
        &self,
        lane: Lane,
        caller: &Caller,
        outbound: Outbound<'_>,
        notices: mpsc::Sender<Event>,
        cancel: &CancellationToken,
    ) -> Result<Option<Answer>, Fault> {
        let inner = &*self.0;
        let id = inner.ids.fetch_add(1, Ordering::Relaxed);
        let body = outbound.body(id);
        let affinity = inner.affinity(caller);
        let sink = Arc::new(Sink {
            alias: inner.alias.clone(),
            token: outbound.token.map(|(token, _)| token),
            // Where upstreams are merged, clients were offered what one of them declares.
            logs: !caller.inbox.is_merged()
                || inner.offer.load().as_ref().is_some_and(|offer| offer.has("logging")),
            // The upstream knows the level of a client that it has a session with.
            level: caller.inbox.level().filter(|_| !matches!(affinity, Affinity::Session(_))),
            inbox: caller.inbox.clone(),
            notices,
            over: CancellationToken::new(),
            has_asked: AtomicBool::new(false),
        });
        let after = inner.settings.timeouts.call;
        let deadline = Instant::now() + after;
        let mut is_first = true;
        loop {
            let lease = inner.sessions.lease(affinity, lane)?;
            let link = tokio::select! {
                link = lease.link(|| inner.open_for(lane, caller, affinity)) => link.map_err(|fault| {
                    inner.sessions.forget(affinity, &lease);
                    inner.signals.want();
                    fault.while_opening()
                })?,
                () = cancel.cancelled() => return Ok(None),
            };
            let _tie = Tie { lease: &lease, sink: &sink, is_own: matches!(affinity, Affinity::Session(_)) };
            let answer = tokio::select! {
                answer = link.request(lane, id, body.clone(), Some(sink.clone()), &[]) => answer,
                () = cancel.cancelled() => {
                    link.cancel(lane, id, "the client cancelled the call");
                    return Ok(None);
                }
                () = sleep_until(deadline) => {
                    link.cancel(lane, id, "the call took too long");
                    return Err(Fault::Timeout { step: "answer the call", after });
                }
            };
            match answer {
                Ok(answer) => {
                    if answer.is_error && !matches!(affinity, Affinity::Session(_)) {
                        inner.elicitations.keep_all(&answer, &caller.inbox);
                    }
                    return Ok(Some(answer));
                }
                Err(fault) => {
                    if fault == Fault::SessionGone || link.ended().is_some() {
                        inner.sessions.forget(affinity, &lease);
                    }
                    if fault != Fault::SessionGone || !is_first {
                        inner.signals.want();
                        return Err(fault);
                    }
                    is_first = false;
                }
            }
        }
    }

    /// How many resources its sessions are subscribed to.
    pub fn subscriptions(&self) -> usize {
        self.0.subscriptions.len()
    }

    /// Ends all sessions with it.
    pub async fn close(&self, lane: Lane) {
        let links = self.0.sessions.take_all();
        futures_util::future::join_all(links.iter().map(|link| link.close(lane))).await;
        drop(links);
        // The supervisor's own session and those of ended clients may still be about to end.
        for ending in [self.0.net.farewells(), self.0.net.processes()] {
            ending.close();
            ending.wait().await;
        }
    }
}

/// Looks at an upstream once: connects, lists, and leaves.
pub async fn probe(settings: &Settings) -> Result<(Offer, Listing), Fault> {
    let net = Net::new(1).map_err(|error| Fault::Credential(error.to_string()))?;
    let lane = Lane(0);
    let alias =
        Alias::parse("probe", &NameRules::default()).map_err(|error| Fault::Handshake(error.to_string()))?;
    let audience = Audience::nobody(alias);
    let (memory, ids) = (Memory::default(), Arc::new(AtomicU64::new(first_id())));
    let opening = Opening {
        net: &net,
        lane,
        settings,
        known: None,
        memory: &memory,
        ids: &ids,
        client: None,
        audience: &audience,
        purpose: Purpose::Look,
    };
    let link = opening.open().await?;
    let listing = lists::read(&link, lane, settings, &ids, None).await;
    let offer = Offer::of(&link);
    link.close(lane).await;
    Ok((offer, listing?.listing))
}

/// Where our ids begin: anywhere, since there are bridges (supergateway) that send every answer to every client.
/// They stay below 2^53, so that no upstream can round them.
fn first_id() -> u64 {
    1 + (u64::from(Uuid::new_v4().as_fields().0) << 20)
}

// === impl Tie ===

impl Drop for Tie<'_> {
    fn drop(&mut self) {
        if self.sink.has_asked.load(Ordering::SeqCst) {
            let over = self.sink.over.clone();
            if self.is_own { self.lease.end_with_last(over) } else { over.cancel() }
        }
    }
}

// === impl Offer ===

impl Offer {
    /// Whether the upstream declares this capability.
    pub fn has(&self, capability: &str) -> bool {
        self.welcome.capabilities.contains_key(capability)
    }

    /// Whether it is spoken to in the stateless era.
    pub fn is_stateless(&self) -> bool {
        self.welcome.version.is_stateless()
    }

    fn of(link: &Link) -> Self {
        Self { welcome: link.welcome.clone(), transport: link.transport(), has_session: link.has_session() }
    }
}

// === impl Outbound ===

impl Outbound<'_> {
    /// The bytes to send: our id, the native name, our progress token; every other byte as the client wrote it.
    fn body(&self, id: u64) -> Bytes {
        let id = id.to_string();
        let mut edits: Vec<(Range<usize>, &[u8])> = Vec::with_capacity(self.edits.len() + 1);
        edits.extend(self.edits.iter().map(|(at, text)| (at.clone(), text.as_bytes())));
        if let Some((_, at)) = &self.token {
            edits.push((at.clone(), id.as_bytes()));
        }
        self.request.rewrite(id.as_bytes(), &edits)
    }
}
