//! An upstream of the stateless era (2026-07-28): everything is a POST, and questions are results.

use crate::kit::{
    exchange::{Exchange, Kept, event},
    modern::REVISION,
    offers,
    upstream::{Fake, Script},
};
use serde_json::{Value, json};

/// The members that every result of the era has.
const COMPLETE: &str = r#""resultType":"complete","ttlMs":60000,"cacheScope":"public""#;
/// What a stream of changes is called among the streams of a fake.
const LISTEN: &str = "listen ";

// === impl Exchange ===

impl Exchange {
    /// What a server that keeps to the protocol does.
    pub(crate) async fn newest(self) -> Kept {
        let script = self.shared.script();
        let rpc = self.seen.rpc();
        if matches!(rpc.as_str(), "GET" | "DELETE") {
            return self.respond(405, &[("allow", "POST")], b"").await;
        }
        if self.seen.header("mcp-protocol-version") != Some(REVISION) {
            return self
                .refused(
                    400,
                    r#"{"code":-32022,"message":"no","data":{"supported":["2026-07-28"],"requested":"?"}}"#,
                )
                .await;
        }
        assert_eq!(self.seen.header("mcp-method"), Some(&*rpc), "{}", self.seen.text());
        assert_eq!(self.seen.header("mcp-session-id"), None);
        let meta = self.seen.json()["params"]["_meta"].clone();
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], REVISION, "{}", self.seen.text());
        assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
        match rpc.as_str() {
            "server/discover" => {
                let capabilities = script.capabilities;
                let result = format!(
                    r#"{{{COMPLETE},"supportedVersions":["{REVISION}"],"capabilities":{capabilities},"_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"{}","version":"1"}}}}}}"#,
                    script.name
                );
                self.result(&result).await
            }
            "subscriptions/listen" => self.acknowledge().await,
            "tools/list" => {
                let tools = script.tools.join(",");
                self.result(&format!(r#"{{{COMPLETE},"tools":[{tools}]}}"#)).await
            }
            "tools/call" => {
                self.result(r#"{"resultType":"complete","content":[{"type":"text","text":"done"}]}"#).await
            }
            "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                self.refused(404, r#"{"code":-32601,"message":"Method not found"}"#).await
            }
            _ => match offers::served(&script, &self.seen) {
                Some(result) => {
                    let rest = result.strip_prefix('{').expect("an object");
                    self.result(&format!("{{{COMPLETE},{rest}")).await
                }
                None => self.refused(404, r#"{"code":-32601,"message":"Method not found"}"#).await,
            },
        }
    }

    /// Answers with an error under an HTTP status of its own.
    pub(crate) async fn refused(self, status: u16, error: &str) -> Kept {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, self.seen.id());
        self.respond(status, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Asks, with this state, if there is any, as JSON text.
    pub(crate) async fn require(self, requests: &Value, state: Option<&str>) -> Kept {
        let state = state.map(|state| format!(r#","requestState":{state}"#)).unwrap_or_default();
        self.result(&format!(r#"{{"resultType":"input_required","inputRequests":{requests}{state}}}"#)).await
    }

    /// Accepts all that is to be listened to.
    async fn acknowledge(self) -> Kept {
        let id = self.seen.id();
        let mut params = self.seen.json()["params"].clone();
        params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": self.seen.json()["id"]});
        let acknowledged =
            json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params});
        self.lasting(&format!("{LISTEN}{id}"), &acknowledged.to_string()).await
    }
}

// === impl Fake ===

impl Fake {
    /// Says something on every stream of changes, with its tag.
    pub(crate) fn tell_listeners(&self, method: &str, params: &Value) {
        for name in self.shared.stream_names() {
            let Some(id) = name.strip_prefix(LISTEN) else { continue };
            let mut params = params.clone();
            let id: Value = serde_json::from_str(id).expect("JSON");
            params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id});
            let notice = json!({"jsonrpc": "2.0", "method": method, "params": params});
            self.shared.send_to(&name, event(&notice.to_string()));
        }
    }

    /// The filters of the streams of changes that are open.
    pub(crate) fn listened(&self) -> Vec<Value> {
        let open = self.shared.stream_names();
        self.seen_of("subscriptions/listen")
            .iter()
            .filter(|seen| open.contains(&format!("{LISTEN}{}", seen.id())))
            .map(|seen| seen.json()["params"]["notifications"].clone())
            .collect()
    }
}

// === impl Script ===

impl Script {
    /// Speaks 2026-07-28 only, and has everything that there is in it.
    pub(crate) fn newest(self, name: &'static str) -> Self {
        let mut script = self.everything(name).stateless();
        script.capabilities = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true},"completions":{},"logging":{}}"#;
        script
    }
}
