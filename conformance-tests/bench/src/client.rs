//! One MCP client: one keep-alive connection, one session, and a check of every answer.

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    client::conn::http1::{SendRequest, handshake},
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{borrow::Cow, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::Instant};

/// What a client talks to.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// How tables call it.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The key that it wants.
    pub(crate) key: Option<String>,
    /// What it calls the upstream's `echo`.
    pub(crate) tool: String,
}

/// One client.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
    headers: HeaderMap,
    tool: String,
    number: usize,
    sent: u64,
}

/// What is wrong with an exchange.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// There is no answer, or it is an error.
    Failed(String),
    /// There is an answer, and it is somebody else's.
    Mismatch(String),
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Echoed<'a> {
    #[serde(borrow)]
    content: Vec<Content<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// A connection; each is driven by a task of its own.
async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Whoever uses the connection gets the error.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// One request on a connection of its own; the body of a 200.
pub(crate) async fn fetch(
    method: Method,
    address: SocketAddr,
    path: &str,
    key: Option<&str>,
) -> Result<Bytes> {
    let mut sender = connect(address).await?;
    let mut request = Request::builder().method(method).uri(path).header(HOST, address.to_string());
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let response = sender.send_request(request.body(Full::default())?).await?;
    if response.status() != StatusCode::OK {
        bail!("HTTP {}", response.status());
    }
    Ok(response.into_body().collect().await?.to_bytes())
}

// === impl Client ===

impl Client {
    /// Connects and opens a session; `number` makes the client's texts its own.
    pub(crate) async fn open(target: &Target, number: usize) -> Result<Self> {
        let sender = connect(target.address).await?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(&target.address.to_string())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        if let Some(key) = &target.key {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {key}"))?);
        }
        let mut client = Self { sender, headers, tool: target.tool.clone(), number, sent: 0 };
        client.initialize().await.with_context(|| format!("{} opened no session", target.name))?;
        Ok(client)
    }

    async fn initialize(&mut self) -> Result<()> {
        let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#;
        let response = self.sender.send_request(self.request(hello.into())).await?;
        let (status, session) = (response.status(), response.headers().get("mcp-session-id").cloned());
        let body = response.into_body().collect().await?.to_bytes();
        if status != StatusCode::OK || parse(&body).ok().and_then(|answer| answer.result).is_none() {
            bail!("HTTP {status}: {}", String::from_utf8_lossy(&body));
        }
        if let Some(session) = session {
            self.headers.insert("mcp-session-id", session);
        }
        self.headers.insert("mcp-protocol-version", HeaderValue::from_static("2025-06-18"));
        let ready = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let response = self.sender.send_request(self.request(ready.into())).await?;
        response.into_body().collect().await?;
        Ok(self.sender.ready().await?)
    }

    /// Calls `echo` with a text of so many bytes that was never sent before, and checks the answer.
    pub(crate) async fn call(&mut self, bytes: usize) -> Result<Duration, Wrong> {
        self.sent += 1;
        let (id, name) = (self.sent, &self.tool);
        let mut text = format!("client {} call {id} ", self.number);
        text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}","arguments":{{"text":"{text}"}}}}}}"#
        );
        let (answer, took) = self.exchange(body).await?;
        let result = checked(&answer, id)?;
        let echoed: Echoed<'_> = serde_json::from_str(result.get()).map_err(|_| failed(&answer))?;
        match echoed.content.as_slice() {
            [only] if only.text == text => Ok(took),
            _ => Err(Wrong::Mismatch(format!("in place of `{text}`: {}", excerpt(&answer)))),
        }
    }

    /// Lists the tools, all pages; how many there are, and how long the whole took.
    pub(crate) async fn list(&mut self) -> Result<(usize, Duration), Wrong> {
        let (mut count, mut whole, mut params) = (0, Duration::ZERO, String::from("{}"));
        loop {
            self.sent += 1;
            let id = self.sent;
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list","params":{params}}}"#);
            let (answer, took) = self.exchange(body).await?;
            let page: Page<'_> =
                serde_json::from_str(checked(&answer, id)?.get()).map_err(|_| failed(&answer))?;
            count += page.tools.len();
            whole += took;
            match page.next_cursor {
                Some(cursor) => params = serde_json::json!({ "cursor": cursor }).to_string(),
                None => return Ok((count, whole)),
            }
        }
    }

    /// Sends a body; the answer's body, and the time until it was there as a whole.
    async fn exchange(&mut self, body: String) -> Result<(Bytes, Duration), Wrong> {
        let transport = |error: hyper::Error| Wrong::Failed(error.to_string());
        let request = self.request(body);
        let began = Instant::now();
        let response = self.sender.send_request(request).await.map_err(transport)?;
        let status = response.status();
        let is_json = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        let body = response.into_body().collect().await.map_err(transport)?.to_bytes();
        let took = began.elapsed();
        if status != StatusCode::OK || !is_json {
            return Err(Wrong::Failed(format!("HTTP {status}: {}", excerpt(&body))));
        }
        self.sender.ready().await.map_err(transport)?;
        Ok((body, took))
    }

    fn request(&self, body: String) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_static("/mcp");
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// The result of the answer, if it answers the request with this id.
fn checked(body: &[u8], id: u64) -> Result<&RawValue, Wrong> {
    let answer = parse(body).map_err(|_| failed(body))?;
    if answer.id.get().parse() != Ok(id) {
        return Err(Wrong::Mismatch(format!("in place of the id {id}: {}", excerpt(body))));
    }
    answer.result.ok_or_else(|| failed(body))
}

fn parse(body: &[u8]) -> serde_json::Result<Answer<'_>> {
    serde_json::from_slice(body)
}

fn failed(body: &[u8]) -> Wrong {
    Wrong::Failed(excerpt(body))
}

fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned()
}
