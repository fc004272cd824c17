//! A client of the stateless era (2026-07-28): every request says who asks, and nothing is opened.

use crate::kit::{
    client::{Reply, send},
    clock::within,
    events::Events,
    gateway::Running,
    session::post,
};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

/// The revision of the era.
pub(crate) const REVISION: &str = "2026-07-28";
/// Everything that a client of this era can be asked.
pub(crate) const ASKABLE: &str = r#"{"sampling":{},"elicitation":{"form":{},"url":{}},"roots":{}}"#;

/// A client of the stateless era.
#[derive(Clone)]
pub(crate) struct Modern<'a> {
    gateway: &'a Running,
    path: String,
    capabilities: Value,
    name: String,
    headers: Vec<(String, String)>,
}

/// What a client was asked, and what it has to bring back.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) result: Value,
    pub(crate) state: String,
}

// === impl Modern ===

impl<'a> Modern<'a> {
    /// A client that can be asked nothing.
    pub(crate) fn new(gateway: &'a Running, path: &str) -> Self {
        Self { gateway, path: path.into(), capabilities: json!({}), name: "kit".into(), headers: Vec::new() }
    }

    /// A client that can be asked everything.
    pub(crate) fn asking(gateway: &'a Running, path: &str) -> Self {
        Self::new(gateway, path).offers(ASKABLE)
    }

    pub(crate) fn offers(mut self, capabilities: &str) -> Self {
        self.capabilities = serde_json::from_str(capabilities).expect("JSON");
        self
    }

    pub(crate) fn name(mut self, name: &str) -> Self {
        self.name = name.into();
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same client at another endpoint.
    pub(crate) fn at(mut self, path: &str) -> Self {
        self.path = path.into();
        self
    }

    /// A request with what every one of this client has in its metadata.
    pub(crate) fn body(&self, id: &Value, method: &str, params: &Value) -> Value {
        let mut params = params.clone();
        let meta = params.as_object_mut().expect("an object").entry("_meta").or_insert_with(|| json!({}));
        for (key, value) in [
            ("protocolVersion", json!(REVISION)),
            ("clientCapabilities", self.capabilities.clone()),
            ("clientInfo", json!({"name": self.name, "version": "1"})),
        ] {
            let key = format!("io.modelcontextprotocol/{key}");
            meta.as_object_mut().expect("an object").entry(key).or_insert(value);
        }
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    }

    /// A POST with this client's headers, and none that repeat the body.
    pub(crate) fn bare(&self) -> RequestBuilder {
        let request = post(self.gateway, &self.path);
        self.headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    }

    /// A POST of a body, with the headers that repeat it.
    pub(crate) fn to_post(&self, body: &Value) -> RequestBuilder {
        let method = body["method"].as_str().expect("a method");
        let request = self.bare().header("mcp-protocol-version", REVISION).header("mcp-method", method);
        let name = body["params"].get("name").or_else(|| body["params"].get("uri")).and_then(Value::as_str);
        let request = match name {
            Some(name) if matches!(method, "tools/call" | "prompts/get" | "resources/read") => {
                request.header("mcp-name", name)
            }
            _ => request,
        };
        request.body(body.to_string())
    }

    pub(crate) async fn send(&self, id: &Value, method: &str, params: &Value) -> Reply {
        send(self.to_post(&self.body(id, method, params))).await
    }

    /// The answer to a request with the id 1.
    pub(crate) async fn ask(&self, method: &str, params: &Value) -> Value {
        self.send(&json!(1), method, params).await.answer_json()
    }

    /// Calls a tool without arguments.
    pub(crate) async fn call(&self, name: &str) -> Value {
        self.ask("tools/call", &json!({"name": name, "arguments": {}})).await
    }

    /// Calls a tool that asks.
    pub(crate) async fn call_asked(&self, name: &str) -> Asked {
        Asked::of(&self.call(name).await)
    }

    /// Sends a call again with what it was asked for.
    pub(crate) async fn again(&self, name: &str, state: &str, responses: &Value) -> Value {
        let params =
            json!({"name": name, "arguments": {}, "requestState": state, "inputResponses": responses});
        self.send(&json!("again"), "tools/call", &params).await.answer_json()
    }

    /// Sends a request and reads the response as it comes.
    pub(crate) async fn stream(&self, body: &Value) -> Events {
        let response = within("a response's head", self.to_post(body).send()).await.expect("a response");
        assert_eq!(response.status().as_u16(), 200);
        Events::new(response)
    }

    /// Listens; the acknowledgement is what comes first.
    pub(crate) async fn listen(&self, id: &Value, wanted: &Value) -> Events {
        self.stream(&self.body(id, "subscriptions/listen", &json!({"notifications": wanted}))).await
    }
}

// === impl Asked ===

impl Asked {
    /// Of an answer that asks.
    pub(crate) fn of(answer: &Value) -> Self {
        let result = answer["result"].clone();
        assert_eq!(result["resultType"], "input_required", "{answer}");
        let state = result["requestState"].as_str().unwrap_or_else(|| panic!("no state: {answer}"));
        Self { state: state.to_owned(), result }
    }

    /// The questions, by key.
    pub(crate) fn questions(&self) -> Vec<(String, Value)> {
        let all = self.result["inputRequests"].as_object().expect("questions");
        all.iter().map(|(key, question)| (key.clone(), question.clone())).collect()
    }

    /// The key of the only question.
    pub(crate) fn key(&self) -> String {
        let [(key, _)] = <[_; 1]>::try_from(self.questions()).expect("one question");
        key
    }

    /// The same answer to all questions.
    pub(crate) fn all(&self, response: &Value) -> Value {
        self.questions().into_iter().map(|(key, _)| (key, response.clone())).collect()
    }
}
