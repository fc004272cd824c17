//! The running gateway, seen as any MCP client sees it: streamable HTTP, JSON or event stream.

use crate::{cli::address::Target, wire::sse::Decoder};
use anyhow::{Context as _, anyhow, bail};
use reqwest::{
    Client, RequestBuilder, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// A session with the running gateway.
#[derive(Debug)]
pub(super) struct Remote {
    http: Client,
    target: Target,
    /// The aliases to see; all if there are none.
    aliases: Option<String>,
    session: Option<String>,
    version: Option<String>,
    last_id: u64,
}

/// What this client speaks.
const VERSION: &str = "2025-11-25";
/// The largest event that is read.
const MAX_EVENT: usize = 256 * 1024 * 1024;

/// A runtime for one short conversation.
pub(super) fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// An HTTP client for the gateway: what a proxy of the environment would answer is not the gateway's word.
pub(super) fn http() -> anyhow::Result<Client> {
    Ok(Client::builder().connect_timeout(Duration::from_secs(5)).no_proxy().build()?)
}

/// What is said if nobody listens.
pub(super) fn unreachable(url: &str, error: &reqwest::Error) -> anyhow::Error {
    if error.is_timeout() {
        return anyhow!("the gateway at {url} does not answer");
    }
    anyhow!("no gateway answers at {url}: start it with `trunkline serve`, or say where it is with --url")
}

impl Remote {
    /// Opens a session.
    pub(super) async fn open(target: Target, aliases: Option<String>) -> anyhow::Result<Self> {
        let mut remote = Self { http: http()?, target, aliases, session: None, version: None, last_id: 0 };
        let params = json!({
            "protocolVersion": VERSION,
            "capabilities": {},
            "clientInfo": {"name": "trunkline-cli", "version": env!("CARGO_PKG_VERSION")},
        });
        let welcome = remote.request("initialize", params).await?;
        remote.version = welcome["protocolVersion"].as_str().map(Into::into);
        remote.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await?;
        Ok(remote)
    }

    /// All tools, page by page.
    pub(super) async fn tools(&mut self) -> anyhow::Result<Vec<Value>> {
        let mut tools = Vec::new();
        let mut params = json!({});
        loop {
            let mut page = self.request("tools/list", params).await?;
            if let Some(Value::Array(more)) = page.get_mut("tools").map(Value::take) {
                tools.extend(more);
            }
            match page["nextCursor"].as_str() {
                Some(cursor) => params = json!({"cursor": cursor}),
                None => return Ok(tools),
            }
        }
    }

    /// Asks, and waits for the answer's result.
    pub(super) async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.last_id += 1;
        let request = json!({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params});
        let response = self.send(&request).await?;
        if let Some(session) = response.headers().get("mcp-session-id").and_then(|id| id.to_str().ok()) {
            self.session = Some(session.into());
        }
        let mut answer = self.answer(response).await?;
        if let Some(error) = answer.get("error") {
            bail!("{}", describe(error));
        }
        answer
            .get_mut("result")
            .map(Value::take)
            .context("the gateway's answer has neither a result nor an error")
    }

    /// Ends the session; a gateway that does not care is fine.
    pub(super) async fn close(self) {
        if self.session.is_some() {
            let request = self.http.delete(self.target.at("mcp")).timeout(Duration::from_secs(5));
            let _ = self.marked(request).send().await;
        }
    }

    async fn send(&self, message: &Value) -> anyhow::Result<Response> {
        let url = self.target.at("mcp");
        let request = self
            .http
            .post(&url)
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json")
            .body(message.to_string());
        let response = self.marked(request).send().await.map_err(|error| unreachable(&url, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = response.json().await.unwrap_or_default();
        let said = body.get("error").map(describe).unwrap_or_default();
        if status == StatusCode::UNAUTHORIZED {
            let key = if self.target.key.is_some() { "refuses this key" } else { "wants a key" };
            bail!("the gateway at {url} {key}: give one with --key or TRUNKLINE_KEY ({said})");
        }
        if said.is_empty() {
            bail!("{url} answers HTTP {status}: is that a gateway?");
        }
        bail!("{said}");
    }

    /// Adds key, session, version and choice of aliases.
    fn marked(&self, mut request: RequestBuilder) -> RequestBuilder {
        if let Some(key) = self.target.bearer() {
            request = request.bearer_auth(key);
        }
        let headers = [
            ("mcp-session-id", &self.session),
            ("mcp-protocol-version", &self.version),
            ("x-mcp-servers", &self.aliases),
        ];
        headers.into_iter().fold(request, |request, (name, value)| match value {
            Some(value) => request.header(name, value),
            None => request,
        })
    }

    /// Reads one answer of plain JSON, or waits for it in an event stream.
    async fn answer(&self, mut response: Response) -> anyhow::Result<Value> {
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return response.json().await.context("the gateway's answer is not JSON");
        }
        let mut decoder = Decoder::new(MAX_EVENT);
        while let Some(piece) = response.chunk().await.context("the gateway's answer broke off")? {
            decoder.push(&piece);
            while let Some(event) = decoder.next_event()? {
                let Ok(message) = serde_json::from_slice::<Value>(&event.data) else { continue };
                if message["id"] == self.last_id && message.get("method").is_none() {
                    return Ok(message);
                }
            }
        }
        bail!("the gateway ended its answer before it was complete")
    }
}

/// A JSON-RPC error in one line.
fn describe(error: &Value) -> String {
    let message = error["message"].as_str().map_or_else(|| error.to_string(), Into::into);
    let hint = error["data"]["hint"].as_str().map(|hint| format!("; {hint}")).unwrap_or_default();
    match error["code"].as_i64() {
        Some(code) => format!("{message}{hint} (error {code})"),
        None => format!("{message}{hint}"),
    }
}
