//! A fake upstream, as fast as hyper allows: streamable HTTP with JSON answers, a tool `echo`, and counters.

use crate::serve::serve;
use anyhow::Result;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A fake upstream.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// How many tools it lists; the first is `echo`.
    #[arg(long, default_value_t = 18)]
    pub(crate) tools: usize,
    /// Hand out no session id.
    #[arg(long)]
    pub(crate) no_session: bool,
    /// Accept connections and answer no MCP request at all.
    #[arg(long)]
    pub(crate) hang: bool,
}

/// What arrived so far, by kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Counts {
    /// `initialize`.
    pub(crate) initialize: u64,
    /// `tools/list`.
    pub(crate) list: u64,
    /// `tools/call`.
    pub(crate) call: u64,
    /// Everything else: `ping`, notifications, GET, DELETE.
    pub(crate) other: u64,
}

/// The path where the counters can be read.
pub(crate) const COUNTS: &str = "/counts";
/// The path where a POST makes it hang from then on.
pub(crate) const HANG: &str = "/hang";

const SESSION_ID: &str = "mcp-session-id";

#[derive(Debug)]
struct Inner {
    has_session: bool,
    /// The result of `tools/list`.
    tools: String,
    hangs: AtomicBool,
    opened: AtomicU64,
    initialize: AtomicU64,
    list: AtomicU64,
    call: AtomicU64,
    other: AtomicU64,
}

#[derive(Deserialize)]
struct Message<'a> {
    method: &'a str,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Call<'a> {
    name: &'a str,
    #[serde(borrow)]
    arguments: Echo<'a>,
}

#[derive(Deserialize)]
struct Echo<'a> {
    #[serde(borrow)]
    text: &'a RawValue,
}

/// Runs until standard input ends.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let inner = Arc::new(Inner::new(&settings));
    serve(move |request| {
        let inner = inner.clone();
        async move { inner.answer(request).await }
    })
    .await
}

// === impl Counts ===

impl Counts {
    /// All that arrived.
    pub(crate) fn total(&self) -> u64 {
        self.initialize + self.list + self.call + self.other
    }

    /// Counts what arrived somewhere else too.
    pub(crate) fn add(&mut self, other: Self) {
        self.initialize += other.initialize;
        self.list += other.list;
        self.call += other.call;
        self.other += other.other;
    }

    /// What arrived between two looks.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            initialize: self.initialize - before.initialize,
            list: self.list - before.list,
            call: self.call - before.call,
            other: self.other - before.other,
        }
    }
}

// === impl Inner ===

impl Inner {
    fn new(settings: &Settings) -> Self {
        Self {
            has_session: !settings.no_session,
            tools: json!({"tools": (0..settings.tools).map(tool).collect::<Vec<_>>()}).to_string(),
            hangs: AtomicBool::new(settings.hang),
            opened: AtomicU64::new(0),
            initialize: AtomicU64::new(0),
            list: AtomicU64::new(0),
            call: AtomicU64::new(0),
            other: AtomicU64::new(0),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        match request.uri().path() {
            COUNTS => return reply(serde_json::to_string(&self.counts()).unwrap_or_default()),
            HANG => {
                self.hangs.store(true, Ordering::Relaxed);
                return reply("{}".into());
            }
            _ => {}
        }
        if request.method() != Method::POST {
            self.other.fetch_add(1, Ordering::Relaxed);
            let is_end = request.method() == Method::DELETE;
            return empty(if is_end { StatusCode::OK } else { StatusCode::METHOD_NOT_ALLOWED });
        }
        let session = request.headers().get(SESSION_ID).cloned();
        let Ok(body) = request.into_body().collect().await else { return empty(StatusCode::BAD_REQUEST) };
        let body = body.to_bytes();
        let Ok(message) = serde_json::from_slice::<Message<'_>>(&body) else {
            return empty(StatusCode::BAD_REQUEST);
        };
        self.counter(message.method).fetch_add(1, Ordering::Relaxed);
        if self.hangs.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if message.method == "initialize" {
            return self.initialize(&message);
        }
        if self.has_session && !self.knows(session.as_ref()) {
            return empty(StatusCode::NOT_FOUND);
        }
        let Some(id) = message.id else { return empty(StatusCode::ACCEPTED) };
        match message.method {
            "tools/call" => match called(message.params) {
                Some(text) => {
                    result(id, &format!(r#"{{"content":[{{"type":"text","text":{text}}}],"isError":false}}"#))
                }
                None => error(id, -32602, "there is only `echo`, and it needs `text`"),
            },
            "tools/list" => result(id, &self.tools),
            "ping" => result(id, "{}"),
            _ => error(id, -32601, "Method not found"),
        }
    }

    fn initialize(&self, message: &Message<'_>) -> Response<Full<Bytes>> {
        let Some(id) = message.id else { return empty(StatusCode::BAD_REQUEST) };
        let mut response = result(
            id,
            r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#,
        );
        if self.has_session {
            let number = self.opened.fetch_add(1, Ordering::Relaxed);
            if let Ok(value) = HeaderValue::from_str(&format!("s-{number}")) {
                response.headers_mut().insert(SESSION_ID, value);
            }
        }
        response
    }

    /// Whether it handed out this session id.
    fn knows(&self, session: Option<&HeaderValue>) -> bool {
        let number = session.and_then(|id| id.to_str().ok()?.strip_prefix("s-")?.parse::<u64>().ok());
        number.is_some_and(|number| number < self.opened.load(Ordering::Relaxed))
    }

    fn counter(&self, method: &str) -> &AtomicU64 {
        match method {
            "initialize" => &self.initialize,
            "tools/list" => &self.list,
            "tools/call" => &self.call,
            _ => &self.other,
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            initialize: self.initialize.load(Ordering::Relaxed),
            list: self.list.load(Ordering::Relaxed),
            call: self.call.load(Ordering::Relaxed),
            other: self.other.load(Ordering::Relaxed),
        }
    }
}

/// A definition of some 900 bytes, which is what the tools of real servers have.
fn tool(number: usize) -> serde_json::Value {
    let name = if number == 0 { "echo".into() } else { format!("tool_{number:02}") };
    json!({
        "name": name,
        "description": format!("Returns its text. {}", "What a model needs to know about it. ".repeat(8)),
        "inputSchema": {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "What to return. ".repeat(8)},
                "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
                "order": {"type": "string", "enum": ["ascending", "descending"], "default": "ascending"},
            },
            "required": ["text"],
            "additionalProperties": false,
        },
        "annotations": {"title": format!("Tool {number}"), "readOnlyHint": true, "openWorldHint": false},
    })
}

/// The text that `echo` was called with, as JSON.
fn called(params: Option<&RawValue>) -> Option<&str> {
    let call: Call<'_> = serde_json::from_str(params?.get()).ok()?;
    (call.name == "echo").then(|| call.arguments.text.get())
}

fn result(id: &RawValue, result: &str) -> Response<Full<Bytes>> {
    reply(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

fn error(id: &RawValue, code: i32, message: &str) -> Response<Full<Bytes>> {
    reply(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{message}"}}}}"#))
}

fn reply(body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
