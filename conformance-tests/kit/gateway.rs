//! A gateway in this process, on a port of its own.

use crate::kit::{
    client::send,
    clock::{eventually, within},
    upstream::Fake,
};
use secrecy::SecretString;
use serde_json::Value;
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;
use trunkline::{
    catalog::{name::Alias, settings::Show},
    config::{AliasConfig, Config, Environment, Overrides, load_from},
    front, gateway,
    policy::settings::KeySettings,
    protocol::call::Lane,
    relay::settings::{Arguments, Results, Validation},
    session,
    upstream::{State, Upstream, settings::Settings},
};

/// A gateway that is being configured.
pub(crate) struct Setup {
    pub(crate) config: Config,
    is_local: bool,
}

/// A gateway that runs.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) gateway: Arc<gateway::Gateway>,
    pub(crate) http: reqwest::Client,
    pub(crate) stop: CancellationToken,
    pub(crate) listening: JoinHandle<std::io::Result<()>>,
}

// === impl Setup ===

impl Setup {
    /// Everything at its default; there is no file in the folder of the kit.
    pub(crate) fn new() -> Self {
        let environment: Environment = std::iter::empty::<(&str, &str)>().collect();
        let home = Path::new("conformance-tests/kit");
        let config = load_from(home, None, &Overrides::default(), &environment);
        Self { config: config.expect("defaults have no mistakes"), is_local: true }
    }

    pub(crate) fn alias(self, name: &str, fake: &Fake) -> Self {
        self.alias_at(name, &fake.url(), |_| ())
    }

    pub(crate) fn alias_with(self, name: &str, fake: &Fake, change: impl FnOnce(&mut Settings)) -> Self {
        self.alias_at(name, &fake.url(), change)
    }

    pub(crate) fn alias_at(self, name: &str, url: &str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut upstream = Settings::new(url.parse().expect("an address"));
        change(&mut upstream);
        self.alias_of(name, upstream)
    }

    pub(crate) fn alias_of(mut self, name: &str, upstream: Settings) -> Self {
        let alias = Alias::parse(name, &self.config.names).expect("an alias");
        self.config.aliases.push(AliasConfig {
            alias,
            upstream,
            show: Show::default(),
            validation: Validation::default(),
        });
        self
    }

    /// Checks calls of the alias that was added last.
    pub(crate) fn validation(mut self, arguments: Arguments, results: Results) -> Self {
        let last = self.config.aliases.last_mut().expect("an alias");
        last.validation = Validation { arguments, results };
        self
    }

    /// Adds a key that may use these aliases and tools; `None` allows all.
    pub(crate) fn key(mut self, secret: &str, aliases: Option<&[&str]>, tools: Option<&[&str]>) -> Self {
        let own = |globs: Option<&[&str]>| globs.map(|globs| globs.iter().map(|&glob| glob.into()).collect());
        self.config.policy.keys.push(KeySettings {
            secret: SecretString::from(secret),
            name: format!("name-of-{secret}"),
            aliases: own(aliases),
            tools: own(tools),
        });
        self
    }

    pub(crate) fn master(mut self, secret: &str) -> Self {
        self.config.policy.master = Some(SecretString::from(secret));
        self
    }

    pub(crate) fn front(mut self, change: impl FnOnce(&mut front::settings::Settings)) -> Self {
        change(&mut self.config.front);
        self
    }

    pub(crate) fn session(mut self, change: impl FnOnce(&mut session::settings::Settings)) -> Self {
        change(&mut self.config.session);
        self
    }

    /// As if the listener could be reached from the network.
    pub(crate) fn on_the_network(mut self) -> Self {
        self.is_local = false;
        self
    }

    /// Starts, and waits for nobody.
    pub(crate) fn start(self) -> Running {
        let gateway = gateway::Gateway::start(self.config, 1, self.is_local).expect("a gateway");
        let gateway = Arc::new(gateway);
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let (served, token) = (gateway.clone(), stop.clone());
        let listening = tokio::spawn(async move { served.listen(listener, Lane(0), token).await });
        // A connection for each request: tests skip time, and what is idle would be closed under the client.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        Running { address, gateway, http, stop, listening }
    }

    /// Starts, and waits until every upstream is ready.
    pub(crate) async fn ready(self) -> Running {
        let running = self.start();
        for upstream in running.gateway.relay().upstreams() {
            running.until_listed(upstream.alias().as_str()).await;
        }
        running
    }
}

// === impl Running ===

impl Running {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn upstream(&self, alias: &str) -> &Upstream {
        let mut upstreams = self.gateway.relay().upstreams();
        upstreams.find(|upstream| upstream.alias().as_str() == alias).expect("a configured alias")
    }

    /// Waits until the upstream is ready and its tools are in the catalog.
    pub(crate) async fn until_listed(&self, alias: &str) {
        eventually(&format!("`{alias}` is listed"), || {
            let status = self.upstream(alias).status();
            let is_shown = || {
                let catalog = self.gateway.relay().catalog();
                catalog.tools.iter().any(|row| row.alias.as_str() == alias)
            };
            status.state == State::Ready
                && status.listing.is_some_and(|listing| listing.tools.is_empty() || is_shown())
        })
        .await;
    }

    /// Waits until the upstream is down, and says why.
    pub(crate) async fn until_down(&self, alias: &str) -> String {
        eventually(&format!("`{alias}` is down"), || {
            matches!(self.upstream(alias).status().state, State::Down(_))
        })
        .await;
        match self.upstream(alias).status().state {
            State::Down(fault) => fault.to_string(),
            State::Starting | State::Ready => "it came back".into(),
        }
    }

    /// Stops, and says good-bye to the upstreams.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        within("the listener's end", self.listening).await.expect("no panic").expect("no error");
        let gateway = Arc::into_inner(self.gateway).expect("nobody else has it");
        within("the upstreams' end", gateway.close()).await;
    }

    /// What `/health` tells the master.
    pub(crate) async fn health(&self) -> Value {
        send(self.http.get(self.url("/health"))).await.json()
    }

    /// Waits until there are so many client sessions.
    pub(crate) async fn until_sessions(&self, count: usize) {
        within(&format!("{count} sessions"), async {
            while self.health().await["sessions"] != count {
                sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
    }

    /// Waits until the catalog has so many tools.
    pub(crate) async fn until_tools(&self, count: usize) {
        let catalog = || self.gateway.relay().catalog().tools.len();
        eventually(&format!("{count} tools"), || catalog() == count).await;
    }
}
