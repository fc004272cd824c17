//! The client side, over HTTP and standard input: the only room that knows requests of clients.
//!
//! **Invariant:** no byte reaches the relay before its size is checked and, over HTTP, Host, Origin and key.

mod door;
mod each;
mod events;
mod guard;
mod health;
mod listen;
mod one_stream;
mod reply;
mod scope;
pub mod settings;
mod sse;
mod stateless;
pub mod stdio;
mod streamable;
mod turn;

pub use one_stream::Wait;

use crate::{
    front::{guard::Guard, settings::Settings, turn::Going},
    policy::identity::Keys,
    protocol::{call::Lane, seal::Seal},
    relay::Relay,
    session::{parked::Parked, table::Table},
};
use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::Response,
    routing::{any, get, post},
};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The handles that requests need; one for each lane.
#[derive(Clone, Debug)]
pub struct Front(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    relay: Relay,
    keys: Arc<Keys>,
    sessions: Arc<Table>,
    guard: Guard,
    settings: Arc<Settings>,
    /// Calls whose clients were asked something.
    parked: Arc<Parked<Going>>,
    seal: Arc<Seal>,
    lane: Lane,
    stop: CancellationToken,
}

// === impl Front ===

impl Front {
    /// A front for one lane; `is_local` tells that the listener can be reached from this machine only, and `stop` ends
    /// streams that would never end by themselves.
    pub fn new(
        relay: Relay,
        keys: Arc<Keys>,
        sessions: Arc<Table>,
        settings: Arc<Settings>,
        is_local: bool,
        lane: Lane,
        stop: CancellationToken,
    ) -> Self {
        let guard = Guard::new(&settings, is_local || keys.is_keyless());
        let parked = Arc::new(Parked::new(sessions.settings()));
        let seal = relay.seal().clone();
        Self(Arc::new(Inner { relay, keys, sessions, guard, settings, parked, seal, lane, stop }))
    }

    /// The same front on another lane.
    #[must_use]
    pub fn on(&self, lane: Lane, stop: CancellationToken) -> Self {
        let inner = &*self.0;
        Self(Arc::new(Inner {
            relay: inner.relay.clone(),
            keys: inner.keys.clone(),
            sessions: inner.sessions.clone(),
            guard: inner.guard.clone(),
            settings: inner.settings.clone(),
            parked: inner.parked.clone(),
            seal: inner.seal.clone(),
            lane,
            stop,
        }))
    }

    /// Ends the calls whose clients did not come back with an answer in time.
    pub fn tidy(&self) {
        for going in self.0.parked.sweep() {
            let (client, key) = (going.client(), going.name());
            tracing::info!(
                client,
                key,
                "nobody came back with what an upstream asked; its call is taken back"
            );
        }
    }

    /// How many calls wait for their clients' answers.
    pub fn parked(&self) -> usize {
        self.0.parked.len()
    }

    /// The bounds of connections.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Turns away a request for what is not served.
    async fn nothing(&self, response: Response, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        self.turned(Box::new(response), door::waits(&parts.headers), body).await
    }

    /// All routes.
    pub fn router(self) -> Router {
        let cors = self.0.guard.cross_origin();
        let streamable = || post(streamable::post).get(streamable::get).delete(streamable::delete);
        let router = Router::new()
            .route("/mcp", streamable())
            .route("/mcp/", streamable())
            .route("/mcp/{aliases}", streamable())
            .route("/mcp/{aliases}/", streamable())
            .route("/{aliases}/mcp", streamable())
            .route("/{aliases}/mcp/", streamable())
            .route("/sse", get(sse::get))
            .route("/sse/", get(sse::get))
            .route("/mcp/sse", get(sse::get))
            .route("/mcp/sse/", get(sse::get))
            .route("/{aliases}/sse", get(sse::get))
            .route("/{aliases}/sse/", get(sse::get))
            .route("/mcp/{aliases}/sse", get(sse::get))
            .route("/messages", post(sse::post))
            .route("/messages/", post(sse::post))
            .route("/health", get(health::health))
            .route("/health/liveliness", get(health::liveness))
            .route("/health/liveness", get(health::liveness))
            .route("/health/readiness", get(health::readiness))
            .route("/.well-known/{*rest}", any(no_oauth))
            .route("/register", any(no_oauth))
            .route("/authorize", any(no_oauth))
            .route("/token", any(no_oauth))
            .fallback(not_found)
            .method_not_allowed_fallback(not_allowed)
            .with_state(self);
        // Without a configured origin there is no page to answer, and calls are spared the layer.
        match cors {
            Some(cors) => router.layer(cors),
            None => router,
        }
    }
}

/// Where clients look for OAuth after a 401; Claude Code shows its user nothing but this text.
async fn no_oauth() -> Response {
    let description = "This gateway has no OAuth. Give a key in the header Authorization: Bearer <key>.";
    reply::json(StatusCode::NOT_FOUND, &json!({"error": "not_found", "error_description": description}))
}

async fn not_found(State(front): State<Front>, request: Request) -> Response {
    let path = shorten(request.uri().path());
    let message = format!("nothing is served at {path}; MCP is at /mcp, /mcp/ALIAS and /sse");
    let error = json!({"error": {"message": message, "type": "not_found"}});
    front.nothing(reply::json(StatusCode::NOT_FOUND, &error), request).await
}

async fn not_allowed(State(front): State<Front>, request: Request) -> Response {
    let message = format!("{} is not served at {}", request.method(), shorten(request.uri().path()));
    let error = json!({"error": {"message": message, "type": "method_not_allowed"}});
    front.nothing(reply::json(StatusCode::METHOD_NOT_ALLOWED, &error), request).await
}

fn shorten(path: &str) -> String {
    crate::wire::message::excerpt(path)
}
