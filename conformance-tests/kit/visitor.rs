//! A client of the stateless era: it says with each request who it is.

use crate::kit::{
    client::{Reply, send},
    clock::within,
    events::Events,
    exchange::{Exchange, Kept, Seen, event},
    gateway::Running,
    session::post,
    upstream::{Dialect, Fake, Script},
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// A client.
#[derive(Clone)]
pub(crate) struct Visitor<'a> {
    gateway: &'a Running,
    path: String,
    key: Option<String>,
    capabilities: Value,
}

/// The capabilities of a client that knows tasks, and can be asked.
pub(crate) fn with_tasks() -> Value {
    json!({"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}})
}

// === impl Visitor ===

impl<'a> Visitor<'a> {
    /// A client that knows tasks.
    pub(crate) fn new(gateway: &'a Running, path: &str) -> Self {
        Self { gateway, path: path.into(), key: None, capabilities: with_tasks() }
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same on another endpoint.
    pub(crate) fn at(&self, path: &str) -> Self {
        Self { path: path.into(), ..self.clone() }
    }

    pub(crate) fn capabilities(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// A request whose headers say what its body says.
    pub(crate) fn request(&self, method: &str, params: &Value) -> RequestBuilder {
        let mut params = params.clone();
        let named = params.get("name").or_else(|| params.get("uri")).or_else(|| params.get("taskId"));
        let name = named.and_then(Value::as_str).map(str::to_owned);
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "visitor", "version": "1"});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let request = post(self.gateway, &self.path)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method)
            .body(body.to_string());
        let request = name.iter().fold(request, |request, name| request.header("mcp-name", name));
        self.key.iter().fold(request, reqwest::RequestBuilder::bearer_auth)
    }

    pub(crate) async fn reply(&self, method: &str, params: &Value) -> Reply {
        send(self.request(method, params)).await
    }

    /// The answer to a request, whatever comes before it.
    pub(crate) async fn ask(&self, method: &str, params: &Value) -> Value {
        self.reply(method, params).await.answer_json()
    }

    /// The result of a request.
    pub(crate) async fn result(&self, method: &str, params: &Value) -> Value {
        let answer = self.ask(method, params).await;
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// The code of the error that a request ends in.
    pub(crate) async fn refused(&self, method: &str, params: &Value) -> i64 {
        let answer = self.ask(method, params).await;
        answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {answer}"))
    }

    /// Calls a tool that makes a task; its id.
    pub(crate) async fn task(&self, tool: &str) -> String {
        let made = self.result("tools/call", &json!({"name": tool, "arguments": {}})).await;
        assert_eq!(made["resultType"], "task", "{made}");
        made["taskId"].as_str().expect("an id").to_owned()
    }

    /// A stream that brings what it brings.
    pub(crate) async fn stream(&self, method: &str, params: &Value) -> Events {
        let response = within("a stream", self.request(method, params).send()).await.expect("a stream");
        assert_eq!(response.status().as_u16(), 200);
        Events::new(response)
    }
}

// === impl Fake ===

impl Fake {
    /// An upstream of the stateless era with these capabilities, which waits to be told of a listener's filter and then
    /// says what it is given.
    pub(crate) fn stateless(
        name: &'static str,
        capabilities: &Value,
        script: impl FnOnce(&mut Script),
    ) -> Self {
        let mut own = Script::new(Dialect::Json);
        own.name = name;
        script(&mut own);
        let fake = own.start();
        let found = json!({
            "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": capabilities,
            "ttlMs": 0, "cacheScope": "private",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": name, "version": "1"}},
        });
        fake.on("server/discover", move |exchange: Exchange| {
            let found = found.to_string();
            async move { exchange.result(&found).await }
        });
        fake.on("subscriptions/listen", |exchange: Exchange| async move {
            let asked = exchange.seen.json();
            let params = json!({
                "notifications": asked["params"]["notifications"],
                "_meta": {"io.modelcontextprotocol/subscriptionId": asked["id"]},
            });
            let acknowledged = json!({
                "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params,
            });
            exchange.hold_stream(&acknowledged.to_string()).await
        });
        fake
    }
}

// === impl Exchange ===

impl Exchange {
    /// Begins a stream with a message; what the fake tells from then on goes there as well, until the client hangs up.
    pub(crate) async fn hold_stream(self, first: &str) -> Kept {
        let id = format!("listen-{}", self.seen.id());
        let (sender, mut texts) = tokio::sync::mpsc::unbounded_channel();
        let shared = self.shared.clone();
        let _ = sender.send(event(first));
        shared.attach(&id, sender);
        self.stream().await.follow(&mut texts).await;
        shared.detach(&id);
        None
    }
}

// === impl Seen ===

impl Seen {
    /// The id of the task that it names, which its header repeats.
    pub(crate) fn task(&self) -> String {
        let id = self.json()["params"]["taskId"].as_str().expect("a task").to_owned();
        assert_eq!(self.header("mcp-name"), Some(id.as_str()));
        id
    }
}
