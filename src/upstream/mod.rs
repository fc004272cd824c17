//! One upstream server each: how it is reached, what it offers, and every call's one answer.
//!
//! **Invariant:** every dispatched call is answered exactly once, by the upstream or by us. Ids on the wire are ours,
//! so that a hostile upstream cannot answer somebody else's call.

mod affinity;
mod audience;
mod call;
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
mod polling;
mod process;
mod rounds;
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
    protocol::{call::Lane, extensions, handshake::Welcome},
    upstream::{
        affinity::{Affinity, Sessions},
        audience::{Audience, Elicitations},
        era::Memory,
        link::Link,
        open::{Opening, Purpose},
        settings::{SessionMode, Settings, Target, Transport},
        signals::Signals,
        subscriptions::Subscriptions,
    },
};
use arc_swap::ArcSwapOption;
use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::{Duration, SystemTime},
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use affinity::Caller;
pub use call::Outbound;
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

// === impl Offer ===

impl Offer {
    /// Whether the upstream declares this capability.
    pub fn has(&self, capability: &str) -> bool {
        self.welcome.capabilities.contains_key(capability)
    }

    /// Whether the upstream has this extension.
    pub fn extends(&self, name: &str) -> bool {
        extensions::of(&self.welcome.capabilities, name).is_some()
    }

    /// Whether it is spoken to in the stateless era.
    pub fn is_stateless(&self) -> bool {
        self.welcome.version.is_stateless()
    }

    fn of(link: &Link) -> Self {
        Self { welcome: link.welcome.clone(), transport: link.transport(), has_session: link.has_session() }
    }
}
