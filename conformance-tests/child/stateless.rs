//! The same in the stateless era (2026-07-28).

use crate::{answer, say};
use serde_json::{Value, json};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// Takes a request; `has_handshake` if it speaks the era before as well.
pub(crate) fn take(message: &Value, has_handshake: bool) {
    let (id, params) = (&message["id"], &message["params"]);
    let is_stateless = params["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28";
    let result = match message["method"].as_str() {
        // What it is called with is not what it is about.
        Some("tools/call") => said(&params["name"]).unwrap_or_else(|| answer(message)),
        _ if !is_stateless && has_handshake => answer(message),
        _ if !is_stateless => {
            let data = json!({"supported": ["2026-07-28"]});
            let error = json!({"code": -32022, "message": "no such revision", "data": data});
            return say(&json!({"jsonrpc": "2.0", "id": id, "error": error}).to_string());
        }
        Some("server/discover") => json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {"listChanged": true}, "resources": {"subscribe": true}},
        }),
        Some("tools/list") => {
            let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
            let tools: Vec<_> = ["pid", "change", "ask"].iter().map(tool).collect();
            json!({"tools": tools})
        }
        Some("resources/list") => {
            json!({"resources": [{"uri": "x://one", "name": "one"}, {"uri": "x://two", "name": "two"}]})
        }
        Some("resources/templates/list") => json!({"resourceTemplates": []}),
        Some("subscriptions/listen") => {
            let params = json!({"notifications": params["notifications"], "_meta": {SUBSCRIPTION: id}});
            eprintln!("listened {id} {}", params["notifications"]);
            return notify("notifications/subscriptions/acknowledged", &params);
        }
        _ => json!({}),
    };
    say(&json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string());
}

/// Says something by itself, as the name of a tool demands.
fn said(name: &Value) -> Option<Value> {
    match name.as_str() {
        Some("change") => notify("notifications/tools/list_changed", &json!({})),
        Some("ask") => say(r#"{"jsonrpc":"2.0","id":"mine","method":"roots/list"}"#),
        _ => return None,
    }
    Some(json!({"content": []}))
}

fn notify(method: &str, params: &Value) {
    say(&json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string());
}
