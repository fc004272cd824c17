//! How a fake upstream speaks in the stateless era (2026-07-28), strictly.

use crate::kit::{
    exchange::{Exchange, Kept, Seen, event},
    offers,
    upstream::Eras,
};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

// === impl Seen ===

impl Seen {
    /// Whether it says that it is of the stateless era.
    pub(crate) fn is_stateless(&self) -> bool {
        !self.body.is_empty() && self.json()["params"]["_meta"][VERSION].is_string()
    }

    /// What is wrong with it in the stateless era: the error's code, and what it says.
    fn flaw(&self) -> Option<(i32, String)> {
        let (body, rpc) = (self.json(), self.rpc());
        let (params, meta) = (&body["params"], &body["params"]["_meta"]);
        if meta[VERSION] != "2026-07-28" {
            return Some((-32022, format!("version {}", meta[VERSION])));
        }
        if !meta[CAPABILITIES].is_object() {
            return Some((-32602, "capabilities are missing".into()));
        }
        let named = params["name"].as_str().or(params["uri"].as_str());
        let wanted = [
            ("mcp-protocol-version", Some("2026-07-28")),
            ("mcp-method", Some(rpc.as_str())),
            ("mcp-name", named),
            ("mcp-session-id", None),
        ];
        let twice = |wanted: &&str| {
            self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted)).count() > 1
        };
        if let Some(name) = wanted.iter().map(|(name, _)| *name).find(|name| twice(name)) {
            return Some((-32020, format!("{name} appears more than once")));
        }
        let wrong = wanted.into_iter().find(|(name, value)| self.header(name) != *value);
        wrong.map(|(name, value)| (-32020, format!("{name} is not {value:?}")))
    }
}

// === impl Exchange ===

impl Exchange {
    /// What a server of this era does.
    pub(crate) async fn stateless(self) -> Kept {
        let (script, rpc) = (self.shared.script(), self.seen.rpc());
        if self.seen.method != "POST" {
            return self.respond(405, &[], b"").await;
        }
        if let Some((code, message)) = self.seen.flaw() {
            let data = json!({"supported": ["2026-07-28"]});
            return self.refuse(400, code, &message, &data).await;
        }
        match rpc.as_str() {
            "server/discover" => {
                let versions = match script.eras {
                    Eras::Both => r#"["2026-07-28","2025-11-25"]"#,
                    _ => r#"["2026-07-28"]"#,
                };
                let (capabilities, name) = (script.capabilities, script.name);
                let result = format!(
                    r#"{{"resultType":"complete","supportedVersions":{versions},"capabilities":{capabilities},"instructions":"be kind","ttlMs":0,"cacheScope":"private","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"{name}","version":"1.0"}}}}}}"#
                );
                self.result(&result).await
            }
            "subscriptions/listen" => self.listened().await,
            "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe" => {
                self.refuse(404, -32601, "Method not found", &Value::Null).await
            }
            "tools/list" => {
                let tools = script.tools.join(",");
                self.complete(&format!(r#"{{"tools":[{tools}]}}"#)).await
            }
            "tools/call" => self.complete(r#"{"content":[{"type":"text","text":"done"}]}"#).await,
            _ => match offers::served(&script, &self.seen) {
                Some(result) => self.complete(&result).await,
                None => self.refuse(404, -32601, "Method not found", &Value::Null).await,
            },
        }
    }

    /// Answers with an error.
    pub(crate) async fn refuse(self, status: u16, code: i32, message: &str, data: &Value) -> Kept {
        let id = self.seen.json()["id"].clone();
        let error = json!({"code": code, "message": message, "data": data});
        let body = json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string();
        self.respond(status, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Answers with a result of this era.
    async fn complete(self, result: &str) -> Kept {
        let (rest, ttl) = (&result[1..], self.shared.script().ttl);
        self.result(&format!(r#"{{"resultType":"complete","ttlMs":{ttl},"cacheScope":"public",{rest}"#)).await
    }

    /// A stream of what it says by itself; acknowledges everything.
    pub(crate) async fn listened(self) -> Kept {
        let wanted = self.seen.json()["params"]["notifications"].clone();
        self.listened_to(&wanted).await
    }

    /// The same, of which it acknowledges this.
    pub(crate) async fn listened_to(self, wanted: &Value) -> Kept {
        let (shared, id) = (self.shared.clone(), self.seen.id());
        let name = format!("{id} {wanted}");
        let (sender, mut texts) = mpsc::unbounded_channel();
        let params = json!({"notifications": wanted, "_meta": {"io.modelcontextprotocol/subscriptionId": id.parse::<u64>().expect("a number")}});
        let acknowledged =
            json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params});
        let mut stream = self.stream().await;
        shared.attach(&name, sender);
        stream.raw(&event(&acknowledged.to_string())).await;
        stream.follow(&mut texts).await;
        shared.detach(&name);
        shared.streams_ended.fetch_add(1, Ordering::Relaxed);
        None
    }
}
