//! Whether the gateway is alive, and how its upstreams are.

use crate::{
    front::{Front, reply},
    upstream::{State as UpstreamState, Upstream},
};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::Response,
};
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// `GET /health`: alive; with the master key, how everything is.
pub(super) async fn health(State(front): State<Front>, headers: HeaderMap, uri: Uri) -> Response {
    report(&front, &headers, &uri, "healthy")
}

/// `GET /health/liveness` and `/health/liveliness`, with LiteLLM's body.
pub(super) async fn liveness(State(front): State<Front>, headers: HeaderMap, uri: Uri) -> Response {
    match front.pass(&headers, &uri) {
        Ok(()) => reply::json(StatusCode::OK, &"I'm alive!"),
        Err(turned) => *turned,
    }
}

/// `GET /health/readiness`: 503 once the gateway stops taking calls.
pub(super) async fn readiness(State(front): State<Front>, headers: HeaderMap, uri: Uri) -> Response {
    report(&front, &headers, &uri, "ready")
}

fn report(front: &Front, headers: &HeaderMap, uri: &Uri, well: &str) -> Response {
    if let Err(turned) = front.pass(headers, uri) {
        return *turned;
    }
    let stops = front.0.stop.is_cancelled();
    let (status, word) =
        if stops { (StatusCode::SERVICE_UNAVAILABLE, "stopping") } else { (StatusCode::OK, well) };
    let mut body = json!({"status": word});
    if front.identify(headers).is_ok_and(|identity| identity.is_master) {
        let upstreams =
            front.0.relay.upstreams().map(|upstream| (upstream.alias().to_string(), describe(upstream)));
        body["version"] = env!("CARGO_PKG_VERSION").into();
        body["sessions"] = front.0.sessions.len().into();
        body["upstreams"] = Value::Object(upstreams.collect::<Map<_, _>>());
    }
    reply::json(status, &body)
}

fn describe(upstream: &Upstream) -> Value {
    let status = upstream.status();
    let (state, reason) = match &status.state {
        UpstreamState::Starting => ("starting", None),
        UpstreamState::Ready => ("ready", None),
        UpstreamState::Down(fault) => ("down", Some(fault)),
    };
    let for_seconds = SystemTime::now().duration_since(status.since).map_or(0, |age| age.as_secs());
    let mut body = json!({
        "state": state,
        "for_seconds": for_seconds,
        "tools": status.listing.map_or(0, |listing| listing.tools.len()),
        "sessions": upstream.sessions(),
    });
    if let Some(fault) = reason {
        body["reason"] = fault.to_string().into();
        body["code"] = fault.reason().into();
    }
    if let Some(offer) = upstream.offer() {
        body["transport"] = offer.transport.as_str().into();
        body["protocol"] = offer.welcome.version.as_str().into();
        body["keeps_sessions"] = offer.has_session.into();
    }
    body
}
