//! What every request passes before anything is done for it: Host, Origin, key, form, size.

use crate::{
    front::{Front, reply},
    policy::identity::{Identity, Refused},
    wire::{
        error::Failure,
        message::{Body, Invalid},
    },
};
use axum::{
    body::Body as HttpBody,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, EXPECT, WWW_AUTHENTICATE},
    },
    response::Response,
};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

const LITELLM_KEY: HeaderName = HeaderName::from_static("x-litellm-api-key");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const EVENT_STREAM: &str = "text/event-stream";
/// The body of a request that is turned away is waited for this long.
const DRAIN: Duration = Duration::from_secs(2);

/// A request that is refused before it is looked at: the response is ready.
pub(super) type Turned = Box<Response>;

// === impl Front ===

impl Front {
    /// Checks Host and Origin, then the key.
    pub(super) fn admit(&self, headers: &HeaderMap, uri: &Uri) -> Result<Arc<Identity>, Turned> {
        self.0.guard.check(headers, uri).map_err(|failure| turn(&failure))?;
        self.identify(headers).map_err(|refused| {
            let failure = Failure::invalid_request("unauthorized", format!("Unauthorized: {refused}"))
                .status(StatusCode::UNAUTHORIZED);
            let mut response = turn(&failure);
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            response
        })
    }

    /// Checks Host and Origin only.
    pub(super) fn pass(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Turned> {
        self.0.guard.check(headers, uri).map_err(|failure| turn(&failure))
    }

    /// Who calls, by the first header that holds a key.
    pub(super) fn identify(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Refused> {
        if self.0.keys.is_keyless() {
            return self.0.keys.identify(None);
        }
        let text = |value: &HeaderValue| value.to_str().map(str::to_owned).map_err(|_| Refused::Form);
        // LiteLLM's own header wins, so that `Authorization` can be meant for somebody else.
        for name in [LITELLM_KEY, API_KEY] {
            if let Some(value) = headers.get(name) {
                let value = text(value)?;
                return self.0.keys.identify(Some(bearer(&value).unwrap_or(value.trim())));
            }
        }
        let Some(value) = headers.get(AUTHORIZATION) else { return self.0.keys.identify(None) };
        let value = text(value)?;
        self.0.keys.identify(Some(bearer(&value).ok_or(Refused::Form)?))
    }

    /// Reads a JSON body within its bounds.
    pub(super) async fn read(&self, headers: &HeaderMap, body: &mut HttpBody) -> Result<Bytes, Turned> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_json =
            kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            let failure = Failure::invalid_request(
                "content_type",
                "Invalid request: Content-Type must be application/json",
            );
            return Err(turn(&failure.status(StatusCode::UNSUPPORTED_MEDIA_TYPE)));
        }
        let (limit, after) = (self.0.settings.body_limit, self.0.settings.body_timeout);
        let too_large = || {
            let message = format!("Invalid request: the body is larger than {limit} bytes");
            let failure =
                Failure::invalid_request("body_too_large", message).hint("send less, or raise `limits.body`");
            turn(&failure.status(StatusCode::PAYLOAD_TOO_LARGE))
        };
        if body.size_hint().lower() > limit.try_into().unwrap_or(u64::MAX) {
            return Err(too_large());
        }
        match timeout(after, Limited::new(body, limit).collect()).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => {
                Err(turn(&Failure::invalid_request("body", "Invalid request: the body ended too early")))
            }
            Err(_) => {
                let message =
                    format!("Invalid request: the body did not arrive within {} ms", after.as_millis());
                let failure =
                    Failure::invalid_request("body_timeout", message).status(StatusCode::REQUEST_TIMEOUT);
                Err(turn(&failure))
            }
        }
    }

    /// The response to a request that is turned away, once its body is out of the way.
    ///
    /// Many clients read no response before they have sent everything, and break off if the connection is closed under
    /// them; so the body is read and dropped, within bounds. A client that `waits` sends none.
    pub(super) async fn turned(&self, turned: Turned, waits: bool, mut body: HttpBody) -> Response {
        let mut response = *turned;
        if !waits && !body.is_end_stream() {
            let (mut left, after) =
                (self.0.settings.body_limit.saturating_mul(2), self.0.settings.body_timeout.min(DRAIN));
            let drain = async {
                while let Some(Ok(frame)) = body.frame().await {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    let Some(rest) = left.checked_sub(length) else { return };
                    left = rest;
                }
            };
            // Whoever sends that slowly or that much may lose the response.
            let _ = timeout(after, drain).await;
        }
        if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Parses a body.
    pub(super) fn parse(&self, body: &Bytes) -> Result<Body, Turned> {
        Body::parse(body, self.0.settings.max_batch).map_err(|invalid| Box::new(refuse(&invalid)))
    }
}

/// Whether the client sends the body only when it is told to go on (RFC 9110, section 10.1.1).
pub(super) fn waits(headers: &HeaderMap) -> bool {
    headers.contains_key(EXPECT)
}

/// The response to something that is no message.
pub(super) fn refuse(invalid: &Invalid) -> Response {
    let id = match invalid {
        Invalid::NotAMessage { id, .. } => id.as_ref(),
        Invalid::Malformed(_) => None,
    };
    reply::failure(&Failure::from(invalid), id)
}

/// The response that turns a request away.
#[expect(clippy::unnecessary_box_returns, reason = "errors are boxed everywhere, so that results stay small")]
pub(super) fn turn(failure: &Failure) -> Turned {
    Box::new(reply::failure(failure, None))
}

/// A POST's answer may be either kind, and the client must take both (transports, item 2); `*/*` and no header take
/// everything (RFC 9110, section 12.5.1).
pub(super) fn accepts_both(headers: &HeaderMap) -> Result<(), Turned> {
    if accepts(headers, "application/json") && accepts(headers, EVENT_STREAM) {
        return Ok(());
    }
    let message = "Not acceptable: Accept must list application/json and text/event-stream";
    Err(turn(&Failure::invalid_request("not_acceptable", message).status(StatusCode::NOT_ACCEPTABLE)))
}

/// A GET is answered with an event stream only.
pub(super) fn accepts_events(headers: &HeaderMap) -> Result<(), Turned> {
    if accepts(headers, EVENT_STREAM) {
        return Ok(());
    }
    let message = "Not acceptable: Accept must list text/event-stream";
    Err(turn(&Failure::invalid_request("not_acceptable", message).status(StatusCode::NOT_ACCEPTABLE)))
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return true;
    }
    let group = wanted.split('/').next().unwrap_or_default();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|range| {
        let kind = range.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case(wanted)
            || kind == "*/*"
            || kind.strip_suffix("/*").is_some_and(|kind| kind.eq_ignore_ascii_case(group))
    })
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
}
