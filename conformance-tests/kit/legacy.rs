//! An MCP client over HTTP+SSE of 2024-11-05.

use crate::kit::{
    client::{Reply, send},
    clock::within,
    events::Events,
    gateway::Running,
    session::hello,
};
use serde_json::Value;

/// A session, which is as long as its stream.
pub(crate) struct Legacy<'a> {
    gateway: &'a Running,
    key: Option<String>,
    /// Where to post, as the `endpoint` event said it.
    pub(crate) endpoint: String,
    pub(crate) events: Events,
}

// === impl Legacy ===

impl<'a> Legacy<'a> {
    /// Opens the stream; `initialize` is not sent.
    pub(crate) async fn connect(gateway: &'a Running, path: &str, key: Option<&str>) -> Self {
        let mut request = gateway.http.get(gateway.url(path)).header("accept", "text/event-stream");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let response = within("a stream", request.send()).await.expect("a stream");
        assert_eq!(response.status().as_u16(), 200);
        let mut events = Events::new(response);
        let first = events.next().await.expect("an `endpoint` event");
        assert_eq!(first.kind, "endpoint");
        Self { gateway, key: key.map(str::to_owned), endpoint: first.data, events }
    }

    /// Opens the stream and introduces itself.
    pub(crate) async fn open(gateway: &'a Running, path: &str) -> Self {
        Self::open_with(gateway, path, &hello("2024-11-05")).await
    }

    /// The same with another body of `initialize`, of the same version.
    pub(crate) async fn open_with(gateway: &'a Running, path: &str, hello: &str) -> Self {
        let mut client = Self::connect(gateway, path, None).await;
        let welcome: Value = serde_json::from_str(&client.ask(hello).await).expect("JSON");
        assert_eq!(welcome["result"]["protocolVersion"], "2024-11-05");
        let noted = client.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        assert_eq!(noted.status, 202);
        client
    }

    pub(crate) async fn post(&self, body: impl Into<reqwest::Body>) -> Reply {
        let mut request = self.gateway.http.post(self.gateway.url(&self.endpoint));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        send(request.header("content-type", "application/json").body(body)).await
    }

    /// Sends a request, and the next message, which is its answer where nothing else is under way.
    pub(crate) async fn ask(&mut self, body: &str) -> String {
        let reply = self.post(body.to_owned()).await;
        assert_eq!((reply.status, reply.text()), (202, ""));
        self.events.message().await
    }
}
