//! What reaches upstreams: a pool of connections for each of the gateway's threads, and the processes that run.

use crate::{protocol::call::Lane, upstream::fault::Fault};
use std::{error::Error as _, sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;

/// Connections to upstreams, pooled by lane, so that a call and its connection stay on one thread.
#[derive(Clone, Debug)]
pub struct Net {
    clients: Arc<[reqwest::Client]>,
    processes: TaskTracker,
    farewells: TaskTracker,
}

/// How long a connection may take to come about; the step that needs it has a bound of its own.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are closed before most servers do (uvicorn closes after 5 s, Node after 5 s).
const POOL_IDLE: Duration = Duration::from_secs(4);
/// Redirects that are followed, within one origin only: credentials go nowhere else.
const REDIRECTS: usize = 3;

// === impl Net ===

impl Net {
    /// Pools for so many lanes.
    pub fn new(lanes: usize) -> Result<Self, reqwest::Error> {
        let clients = (0..lanes.max(1)).map(|_| client()).collect::<Result<_, _>>()?;
        Ok(Self { clients, processes: TaskTracker::new(), farewells: TaskTracker::new() })
    }

    /// The lane's pool.
    pub(crate) fn client(&self, lane: Lane) -> &reqwest::Client {
        &self.clients[lane.0 % self.clients.len()]
    }

    /// What still says good-bye to an upstream, or will when it is told to stop.
    pub(crate) fn farewells(&self) -> &TaskTracker {
        &self.farewells
    }

    /// The child processes of which something is left.
    pub(crate) fn processes(&self) -> &TaskTracker {
        &self.processes
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("trunkline/", env!("CARGO_PKG_VERSION")))
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(POOL_IDLE)
        .redirect(reqwest::redirect::Policy::custom(|attempt| {
            let same_origin =
                attempt.previous().last().is_some_and(|from| from.origin() == attempt.url().origin());
            // 301 to 303 would turn a POST into a GET.
            let keeps_method = matches!(attempt.status().as_u16(), 307 | 308);
            if same_origin && keeps_method && attempt.previous().len() <= REDIRECTS {
                attempt.follow()
            } else {
                attempt.stop()
            }
        }))
        .build()
}

/// What a failed exchange means; never the URL, which may hold a credential.
pub(crate) fn fault(error: reqwest::Error) -> Fault {
    let error = error.without_url();
    let is_connect = error.is_connect();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // The innermost cause says most: "Connection refused (os error 111)".
        text = cause.to_string();
        source = cause.source();
    }
    if is_connect { Fault::Unreachable(text) } else { Fault::Closed(text) }
}
