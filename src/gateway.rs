//! The composition root: from a configuration to a gateway that runs, and in the end drains.
//!
//! **Invariant:** nothing is global: whatever rooms share is made here and handed to them, so that two gateways can run
//! in one process.

use crate::{
    catalog::merge::ShowRules,
    config::Config,
    front::Front,
    policy::identity::Keys,
    protocol::{call::Lane, seal::Seal},
    relay::{Member, Relay},
    session::table::Table,
    upstream::{Net, Upstream},
};
use anyhow::Context as _;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

mod accept;
mod stdio;
mod threads;

pub use stdio::{Purpose, stdio};
pub use threads::serve;

/// How long the good-bye may take: a process has two seconds to end by itself, and two more after a signal.
const FAREWELL: Duration = Duration::from_secs(6);

/// A gateway that was built: its upstreams are being reached for, and its fronts can be put on listeners.
#[derive(Debug)]
pub struct Gateway {
    front: Front,
    relay: Relay,
    sessions: Arc<Table>,
    tasks: TaskTracker,
    /// Ends the control plane.
    stop: CancellationToken,
    drain: Duration,
}

// === impl Gateway ===

impl Gateway {
    /// Builds a gateway on the current runtime, for so many lanes; `is_local` tells that its listener is on loopback.
    pub fn start(config: Config, lanes: usize, is_local: bool) -> anyhow::Result<Self> {
        let (stop, tasks, changed) = (CancellationToken::new(), TaskTracker::new(), Arc::new(Notify::new()));
        let net = Net::new(lanes).context("the HTTP client cannot be made")?;
        let mut members = BTreeMap::new();
        for alias in config.aliases {
            let show = ShowRules::new(&alias.show).map_err(anyhow::Error::msg)?;
            let upstream = Upstream::start(
                alias.alias.clone(),
                alias.upstream,
                net.clone(),
                changed.clone(),
                stop.child_token(),
            );
            members
                .insert(alias.alias, Member { upstream, show: Arc::new(show), validation: alias.validation });
        }
        let keys = Keys::new(&config.policy, &config.names.separator).map_err(anyhow::Error::msg)?;
        let keys = Arc::new(keys);
        let seal = Arc::new(Seal::new(config.state_key.as_ref())?);
        let relay = Relay::new(members, config.names, seal, keys.is_keyless());
        let sessions = Arc::new(Table::new(config.session));
        let drain = config.front.drain;
        let settings = Arc::new(config.front);
        let front = Front::new(
            relay.clone(),
            keys,
            sessions.clone(),
            settings,
            is_local,
            Lane(0),
            CancellationToken::new(),
        );
        tasks.spawn(publish(relay.clone(), sessions.clone(), changed, stop.clone()));
        tasks.spawn(sweep(relay.clone(), sessions.clone(), stop.clone()));
        tasks.spawn(tidy(front.clone(), sessions.settings().park_for, stop.clone()));
        Ok(Self { front, relay, sessions, tasks, stop, drain })
    }

    /// The front for a lane; `stop` ends its streams.
    pub fn front(&self, lane: Lane, stop: CancellationToken) -> Front {
        self.front.on(lane, stop)
    }

    /// The upstreams, for who wants to watch them.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }

    /// The clients' sessions, for who wants to watch them.
    pub fn sessions(&self) -> &Table {
        &self.sessions
    }

    /// How long calls may go on after a request to stop.
    pub fn grace(&self) -> Duration {
        self.drain
    }

    /// Serves a listener on the current runtime until `stop`, then lets calls end within the grace.
    pub async fn listen(
        &self,
        listener: TcpListener,
        lane: Lane,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        accept::run(self.front(lane, stop.clone()), listener, stop, self.drain).await
    }

    /// Ends the control plane and says good-bye to the upstreams.
    pub async fn close(self) {
        self.stop.cancel();
        self.tasks.close();
        let farewell = async {
            self.tasks.wait().await;
            let upstreams: Vec<_> = self.relay.upstreams().cloned().collect();
            futures_util::future::join_all(upstreams.iter().map(|upstream| upstream.close(Lane(0)))).await;
        };
        // Upstreams that do not answer must not hold up the end; the keepers of processes go on without us.
        if timeout(FAREWELL, farewell).await.is_err() {
            tracing::debug!("some upstream sessions could not be ended in time");
        }
    }
}

/// Merges anew whenever an upstream's status changes.
async fn publish(relay: Relay, sessions: Arc<Table>, changed: Arc<Notify>, stop: CancellationToken) {
    while stop.run_until_cancelled(changed.notified()).await.is_some() {
        relay.publish(&sessions.all());
    }
}

/// Ends idle sessions.
async fn sweep(relay: Relay, sessions: Arc<Table>, stop: CancellationToken) {
    let mut clock = interval(sessions.sweep_interval());
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        for session in sessions.sweep() {
            tracing::info!(client = session.client(), key = session.identity.name, "idle session ended");
            relay.release(&session, Lane(0));
        }
    }
}

/// Ends parked calls whose clients did not come back.
async fn tidy(front: Front, park_for: Duration, stop: CancellationToken) {
    let mut clock = interval((park_for / 8).clamp(Duration::from_millis(50), Duration::from_secs(10)));
    while stop.run_until_cancelled(clock.tick()).await.is_some() {
        front.tidy();
    }
}

/// Whether an address can be reached from this machine only.
fn is_local(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => address.is_loopback(),
    }
}
