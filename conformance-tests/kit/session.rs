//! An MCP client over streamable HTTP.

use crate::kit::{
    client::{Reply, send},
    clock::within,
    events::Events,
    gateway::Running,
};
use reqwest::RequestBuilder;
use serde_json::Value;

/// How clients say what they take.
pub(crate) const BOTH: &str = "application/json, text/event-stream";

/// A session.
pub(crate) struct Session<'a> {
    gateway: &'a Running,
    path: String,
    headers: Vec<(String, String)>,
    pub(crate) id: String,
    /// The answer to `initialize`.
    pub(crate) welcome: Value,
}

/// A session that is about to be opened.
pub(crate) struct Opening<'a> {
    gateway: &'a Running,
    path: String,
    version: String,
    capabilities: String,
    name: String,
    headers: Vec<(String, String)>,
}

/// A POST to an endpoint, with what every client sends.
pub(crate) fn post(gateway: &Running, path: &str) -> RequestBuilder {
    let request = gateway.http.post(gateway.url(path)).header("accept", BOTH);
    request.header("content-type", "application/json")
}

/// The body of `initialize`.
pub(crate) fn hello(version: &str) -> String {
    hello_of(version, "{}", "kit")
}

/// The body of `initialize` of a client that offers something.
pub(crate) fn hello_of(version: &str, capabilities: &str, name: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{version}","capabilities":{capabilities},"clientInfo":{{"name":"{name}","version":"1"}}}}}}"#
    )
}

// === impl Opening ===

impl<'a> Opening<'a> {
    pub(crate) fn new(gateway: &'a Running, path: &str) -> Self {
        Self {
            gateway,
            path: path.into(),
            version: "2025-11-25".into(),
            capabilities: "{}".into(),
            name: "kit".into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn version(mut self, version: &str) -> Self {
        self.version = version.into();
        self
    }

    pub(crate) fn capabilities(mut self, capabilities: &str) -> Self {
        self.capabilities = capabilities.into();
        self
    }

    /// What the client calls itself.
    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    /// A header that comes with every request.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sends `initialize`.
    pub(crate) async fn try_open(&self) -> Reply {
        let request = post(self.gateway, &self.path);
        let request = self.headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        send(request.body(hello_of(&self.version, &self.capabilities, &self.name))).await
    }

    /// Opens it and says that it is open.
    pub(crate) async fn open(self) -> Session<'a> {
        let reply = self.try_open().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let id = reply.header("mcp-session-id").expect("a session id").to_owned();
        let Self { gateway, path, headers, .. } = self;
        let session = Session { gateway, path, headers, id, welcome: reply.json() };
        let noted = session.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        assert_eq!((noted.status, noted.text()), (202, ""));
        session
    }
}

// === impl Session ===

impl<'a> Session<'a> {
    /// Opens a session with the newest version and without a key.
    pub(crate) async fn open(gateway: &'a Running, path: &str) -> Self {
        Opening::new(gateway, path).open().await
    }

    /// A request with this session's headers, still without a body.
    pub(crate) fn to_post(&self) -> RequestBuilder {
        self.mark(post(self.gateway, &self.path))
    }

    fn mark(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("mcp-session-id", &self.id);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        send(self.to_post().body(body)).await
    }

    /// Sends a body and reads the response as it comes.
    pub(crate) async fn post_streaming(&self, body: impl Into<reqwest::Body>) -> Events {
        let response = within("a response's head", self.to_post().body(body).send()).await;
        Events::new(response.expect("a response"))
    }

    /// Asks with the id 1.
    pub(crate) async fn ask(&self, method: &str, params: &str) -> Reply {
        self.post(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#)).await
    }

    /// Calls a tool with the id 1 and no arguments.
    pub(crate) async fn call(&self, name: &str) -> Value {
        self.ask("tools/call", &format!(r#"{{"name":"{name}","arguments":{{}}}}"#)).await.answer_json()
    }

    pub(crate) async fn notify(&self, method: &str, params: &str) {
        let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
        let reply = self.post(body).await;
        assert_eq!((reply.status, reply.text()), (202, ""));
    }

    /// The names of all tools, over all pages.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let (mut names, mut params) = (Vec::new(), "{}".to_owned());
        loop {
            let page = self.ask("tools/list", &params).await.answer_json();
            let tools = page["result"]["tools"].as_array().unwrap_or_else(|| panic!("no page: {page}"));
            names.extend(tools.iter().map(|tool| tool["name"].as_str().expect("a name").to_owned()));
            let Some(cursor) = page["result"]["nextCursor"].as_str() else { return names };
            params = format!(r#"{{"cursor":"{cursor}"}}"#);
        }
    }

    /// Opens the session's own stream.
    pub(crate) async fn listen(&self) -> Events {
        let response = within("a stream", self.to_get().send()).await.expect("a stream");
        assert_eq!(response.status().as_u16(), 200);
        Events::new(response)
    }

    /// A GET with this session's headers.
    pub(crate) fn to_get(&self) -> RequestBuilder {
        let request = self.gateway.http.get(self.gateway.url(&self.path));
        self.mark(request.header("accept", "text/event-stream"))
    }

    /// Takes a stream up behind the event of that id.
    pub(crate) async fn resume(&self, last: &str) -> Events {
        let request = self.to_get().header("last-event-id", last);
        let response = within("a stream", request.send()).await.expect("a stream");
        assert_eq!(response.status().as_u16(), 200);
        Events::new(response)
    }

    pub(crate) async fn delete(&self) -> Reply {
        send(self.mark(self.gateway.http.delete(self.gateway.url(&self.path)))).await
    }

    /// Proves that the session still works, whatever came before.
    pub(crate) async fn works(&self) {
        let body = r#"{"jsonrpc":"2.0","id":"still here","method":"ping"}"#;
        let reply = self.post(body).await;
        assert_eq!(reply.transcript(), r#"200 {"jsonrpc":"2.0","id":"still here","result":{}}"#);
    }
}
