//! Streamable HTTP, as its client (transports, 2025-03-26 to 2025-11-25).

use crate::{
    protocol::{call::Lane, version::Version},
    upstream::{
        desk::{Cause, Desk},
        fault::Fault,
        listen::Place,
        net::{self, Net},
        pending::number,
        settings::CLIENT,
        sink::Sink,
        words,
    },
    wire::{
        error::METHOD_NOT_FOUND,
        message::{Answer, Body, Message, excerpt},
        method::Method,
        sse::Decoder,
    },
};
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use reqwest::Response;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use url::Url;

/// The header of the session's id.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// The header of the protocol's revision.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(crate) const EVENT_STREAM: &str = "text/event-stream";
/// The most messages that one batch of an upstream may have.
const MAX_BATCH: usize = 1000;
/// How much of an error's body is read for its message.
const ERROR_BODY: usize = 64 * 1024;
/// The wait before a stream that ended is opened again, where the upstream does not say (`retry`).
pub(crate) const AGAIN: Duration = Duration::from_secs(1);
/// How often the stream of a call is taken up again without anything new on it.
const RESUMES: u32 = 5;
/// How long the end of an event stream may take after the answer, for the connection to be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// One session with an upstream over streamable HTTP.
#[derive(Debug)]
pub(crate) struct HttpLink {
    pub(in crate::upstream) net: Net,
    pub(in crate::upstream) url: Url,
    pub(in crate::upstream) headers: HeaderMap,
    has_session: bool,
    is_stateless: bool,
    pub(in crate::upstream) max_message: usize,
    pub(in crate::upstream) desk: Arc<Desk>,
}

// === impl HttpLink ===

impl HttpLink {
    /// A link without a session, as `initialize` needs it; `headers` are the alias's own.
    pub(crate) fn new(
        net: Net,
        url: Url,
        mut headers: HeaderMap,
        max_message: usize,
        desk: Arc<Desk>,
    ) -> Self {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        Self { net, url, headers, has_session: false, is_stateless: false, max_message, desk }
    }

    /// A link of the stateless era; `headers` are the alias's own.
    pub(crate) fn stateless(
        net: Net,
        url: Url,
        headers: HeaderMap,
        max_message: usize,
        desk: Arc<Desk>,
    ) -> Self {
        desk.refuse_all();
        let mut link = Self::new(net, url, headers, max_message, desk);
        link.headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(Version::STATELESS.as_str()));
        link.is_stateless = true;
        link
    }

    /// The link of the session that the handshake agreed on.
    pub(crate) fn agreed(&self, version: &'static str, session: Option<HeaderValue>) -> Self {
        let mut headers = self.headers.clone();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(version));
        let has_session = session.is_some();
        if let Some(session) = session {
            headers.insert(SESSION_ID, session);
        }
        let (net, url, desk) = (self.net.clone(), self.url.clone(), self.desk.clone());
        Self { net, url, headers, has_session, is_stateless: false, max_message: self.max_message, desk }
    }

    /// Whether the upstream handed out a session id.
    pub(crate) fn has_session(&self) -> bool {
        self.has_session
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(
        self: &Arc<Self>,
        lane: Lane,
        id: u64,
        body: Bytes,
        sink: Option<&Arc<Sink>>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Fault> {
        // What comes on the session's own stream may belong to it.
        let _under_way = sink
            .filter(|_| self.has_session && self.desk.audience().is_own())
            .map(|sink| self.desk.calls().begin(id, sink));
        let response = self.post(lane, body, headers).await?;
        self.read_answer(lane, id, response, sink).await
    }

    /// Sends a notification or an answer.
    pub(crate) async fn notify(&self, lane: Lane, body: Bytes) -> Result<(), Fault> {
        let response = self.post(lane, body, &[]).await?;
        if response.status().is_success() { Ok(()) } else { Err(self.refusal(response).await.1) }
    }

    pub(crate) async fn post(
        &self,
        lane: Lane,
        body: Bytes,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Response, Fault> {
        let mut all = self.headers.clone();
        for (name, value) in headers {
            all.insert(name, value.clone());
        }
        let request = self.net.client(lane).post(self.url.clone()).headers(all).body(body);
        request.send().await.map_err(net::fault)
    }

    pub(crate) async fn read_answer(
        self: &Arc<Self>,
        lane: Lane,
        id: u64,
        response: Response,
        sink: Option<&Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        if !response.status().is_success() {
            let (body, fault) = self.refusal(response).await;
            // A server may well put the answer to this very request under a 4xx.
            return match Message::parse(&body) {
                Ok(Message::Answer(answer))
                    if (number(&answer.id()) == Some(id) || (self.is_stateless && is_unnamed(&answer)))
                        // 404 says that the session is gone (transports, "Session Management", item 3), whatever the
                        // body; but for a method that is not there, which later revisions say with 404 as well.
                        && (fault != Fault::SessionGone
                            || words::error_code(&answer.payload()) == Some(METHOD_NOT_FOUND.into())) =>
                {
                    Ok(answer)
                }
                _ => Err(fault),
            };
        }
        match content_type(&response) {
            kind if kind.starts_with(EVENT_STREAM) => self.read_events(lane, id, response, sink).await,
            kind if kind.starts_with("application/json") => {
                let body = read_body(response, self.max_message).await?;
                find_answer(id, messages(&body, |body| self.show(body))?)
            }
            "" if response.status() != StatusCode::OK => Err(Fault::NotMcp(format!(
                "HTTP {} without an answer to a request",
                response.status().as_u16()
            ))),
            kind => {
                let kind = excerpt(kind);
                let body = read_body(response, ERROR_BODY).await.unwrap_or_default();
                Err(Fault::NotMcp(format!("content type `{kind}`, beginning {}", self.show(&body))))
            }
        }
    }

    /// Reads the answer from an event stream. A stream that ends without it is taken up where it stopped, if its events
    /// have ids (transports, 2025-11-25, "Sending Messages to the Server", item 6).
    async fn read_events(
        self: &Arc<Self>,
        lane: Lane,
        id: u64,
        response: Response,
        sink: Option<&Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        let (mut place, mut response, mut fruitless) = (Place::default(), Ok(response), 0);
        loop {
            let before = place.last.clone();
            let fault = match response {
                Ok(response) => match self.read_stream(lane, id, response, sink, &mut place).await {
                    Ok(answer) => return Ok(answer),
                    Err(fault) => fault,
                },
                Err(fault) => fault,
            };
            fruitless = if place.last == before { fruitless + 1 } else { 0 };
            let is_broken = matches!(fault, Fault::Closed(_) | Fault::Unreachable(_));
            let may_resume = is_broken && fruitless < RESUMES && !self.is_stateless;
            let Some(last) = place.last.clone().filter(|_| may_resume) else {
                // Nothing says whether the call was executed, whatever became of the attempts to hear about it.
                return Err(if place.last.is_some() && fault.is_unsent() { closed(&fault) } else { fault });
            };
            tracing::debug!(%fault, "the stream of a call is taken up where it stopped");
            if let (Some(sink), Some(retry)) = (sink, place.retry.filter(|_| fault == ended())) {
                sink.hang_up(retry);
            }
            sleep(place.retry.unwrap_or(AGAIN)).await;
            place.is_resumed = true;
            response = self.subscribe(lane, Some(&last)).await;
        }
    }

    async fn read_stream(
        self: &Arc<Self>,
        lane: Lane,
        id: u64,
        mut response: Response,
        sink: Option<&Arc<Sink>>,
        place: &mut Place,
    ) -> Result<Answer, Fault> {
        let mut decoder = Decoder::new(self.max_message);
        loop {
            let Some(piece) = response.chunk().await.map_err(net::fault)? else {
                return Err(ended());
            };
            decoder.push(&piece);
            while let Some(event) = decoder.next_event().map_err(|large| Fault::TooLarge(large.0))? {
                if !place.take(&event) {
                    continue;
                }
                for message in messages(&event.data, |data| self.show(data))? {
                    match message {
                        Message::Answer(answer) if number(&answer.id()) == Some(id) => {
                            drain(response);
                            return Ok(answer);
                        }
                        Message::Answer(answer) => {
                            tracing::warn!(id = %answer.id(), "an upstream answered a request that it was not asked here");
                        }
                        Message::Notice(notice) if notice.method == Method::Cancelled => self.hear(&notice),
                        Message::Notice(notice) => match sink {
                            Some(sink) if self.desk.audience().is_with_call(&notice) => {
                                sink.pass(&notice).await;
                            }
                            _ => self.hear(&notice),
                        },
                        Message::Request(request) => {
                            self.ask(lane, request, sink.cloned().map_or(Cause::Nothing, Cause::Call));
                        }
                    }
                }
            }
        }
    }

    /// The session's questions.
    pub(crate) fn desk(&self) -> &Desk {
        &self.desk
    }

    /// Tells the upstream that the session ends; it may not care.
    pub(crate) async fn close(&self, lane: Lane) {
        // In the stateless era nobody says good-bye, but who has a name of its own at another Trunkline.
        let has_name = self.is_stateless && self.headers.contains_key(CLIENT);
        if self.has_session || has_name {
            let request = self.net.client(lane).delete(self.url.clone()).headers(self.headers.clone());
            if let Err(error) = request.timeout(Duration::from_secs(2)).send().await {
                tracing::debug!(error = %error.without_url(), "an upstream session could not be deleted");
            }
        }
    }

    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        words::beginning(text, &self.headers, &self.url)
    }

    /// The body of a refusal and what it means.
    pub(in crate::upstream) async fn refusal(&self, response: Response) -> (Bytes, Fault) {
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(words::location);
        let body = read_body(response, ERROR_BODY).await.unwrap_or_default();
        let fault = match status {
            StatusCode::NOT_FOUND if self.has_session => Fault::SessionGone,
            // Servers made from the TypeScript SDK's examples say 400 for a session that they forgot; an error
            // without an id means that no request was looked at.
            StatusCode::BAD_REQUEST if self.has_session && names_session(&body) => Fault::SessionGone,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Fault::Unauthorized(status.as_u16()),
            status if status.is_redirection() => {
                Fault::Redirect(location.unwrap_or_else(|| "nowhere".into()))
            }
            status => Fault::Status { status: status.as_u16(), excerpt: self.show(&body) },
        };
        (body, fault)
    }
}

pub(crate) fn ended() -> Fault {
    Fault::Closed("the event stream ended".into())
}

fn closed(fault: &Fault) -> Fault {
    Fault::Closed(format!("its stream could not be taken up again: {fault}"))
}

fn names_session(body: &[u8]) -> bool {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(body) else { return false };
    let message = body["error"]["message"].as_str().unwrap_or_default().to_ascii_lowercase();
    body["id"].is_null() && message.contains("session")
}

pub(crate) fn content_type(response: &Response) -> &str {
    response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default()
}

/// The whole body, if it is not larger than `limit`.
pub(crate) async fn read_body(mut response: Response, limit: usize) -> Result<Bytes, Fault> {
    let announced =
        response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(Fault::TooLarge(limit));
    }
    let Some(first) = response.chunk().await.map_err(net::fault)? else { return Ok(Bytes::new()) };
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let mut body = BytesMut::with_capacity(announced.unwrap_or(first.len()));
    body.extend_from_slice(&first);
    while let Some(piece) = response.chunk().await.map_err(net::fault)? {
        if body.len() + piece.len() > limit {
            return Err(Fault::TooLarge(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// The messages of one event or body; 2025-03-26 allows several. `show` says what may be shown of it.
pub(crate) fn messages(data: &Bytes, show: impl Fn(&[u8]) -> String) -> Result<Vec<Message>, Fault> {
    let not_mcp = |invalid| Fault::NotMcp(format!("{invalid} (beginning {})", show(data)));
    match Body::parse(data, MAX_BATCH).map_err(not_mcp)? {
        Body::One(message) => Ok(vec![message]),
        Body::Batch(parts) => parts.into_iter().collect::<Result<_, _>>().map_err(not_mcp),
    }
}

/// Whether it is an error that names no request, such as one for a request whose headers were not as they should be.
fn is_unnamed(answer: &Answer) -> bool {
    answer.is_error && answer.id().as_bytes() == b"null"
}

fn find_answer(id: u64, messages: Vec<Message>) -> Result<Answer, Fault> {
    let mut others = None;
    for message in messages {
        if let Message::Answer(answer) = message {
            // An error without an id can only mean the request that this is the response to.
            let is_ours = number(&answer.id()) == Some(id) || is_unnamed(&answer);
            if is_ours {
                return Ok(answer);
            }
            others = Some(answer.id());
        }
    }
    Err(Fault::NotMcp(match others {
        Some(other) => format!("an answer to request {other} in place of {id}"),
        None => "a body without an answer".into(),
    }))
}

/// Reads the end of a stream whose answer has come, so that its connection can be used again.
fn drain(mut response: Response) {
    match response.chunk().now_or_never() {
        Some(Ok(None) | Err(_)) => {}
        Some(Ok(Some(_))) | None => {
            tokio::spawn(tokio::time::timeout(DRAIN, async move {
                let mut left = ERROR_BODY;
                while let Ok(Some(piece)) = response.chunk().await {
                    let Some(less) = left.checked_sub(piece.len()) else { return };
                    left = less;
                }
            }));
        }
    }
}
