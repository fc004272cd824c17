//! An upstream that has everything, and what it answers.

use crate::kit::{
    exchange::Seen,
    upstream::{Script, tool},
};
use serde_json::{Value, json};

// === impl Script ===

impl Script {
    /// Has tools, prompts, resources and all that belongs to them; its answers say who made them.
    pub(crate) fn everything(mut self, name: &'static str) -> Self {
        self.name = name;
        self.version = "2025-11-25".into();
        self.capabilities = r#"{"tools":{"listChanged":true},"prompts":{},"resources":{"subscribe":true},"completions":{},"logging":{},"tasks":{"list":{},"cancel":{},"requests":{"tools":{"call":{}}}}}"#;
        self.tools = vec![tool("echo")];
        self.prompts = vec![
            r#"{"name":"greet","arguments":[{"name":"who","required":true}]}"#.into(),
            r#"{"name":"plain"}"#.into(),
        ];
        self.resources = vec![resource("x://one"), resource("x://two")];
        self.templates = vec![r#"{"name":"t","uriTemplate":"t://{id}/data"}"#.into()];
        self
    }

    pub(crate) fn resources(mut self, uris: &[&str]) -> Self {
        self.resources = uris.iter().map(|uri| resource(uri)).collect();
        self
    }
}

/// The plainest definition of a resource.
pub(crate) fn resource(uri: &str) -> String {
    format!(r#"{{"uri":"{uri}","name":"r"}}"#)
}

/// The result of a request that every upstream answers in the same way.
pub(crate) fn served(script: &Script, seen: &Seen) -> Option<String> {
    let body: Value = seen.json();
    body.get("id")?;
    let (params, by) = (&body["params"], script.name);
    let list = |key: &str, items: &[String]| format!(r#"{{"{key}":[{}]}}"#, items.join(","));
    Some(match seen.rpc().as_str() {
        "prompts/list" => list("prompts", &script.prompts),
        "resources/list" => list("resources", &script.resources),
        "resources/templates/list" => list("resourceTemplates", &script.templates),
        "prompts/get" => {
            let text = format!("{by} {} {}", params["name"], params["arguments"]);
            json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}).to_string()
        }
        "resources/read" => json!({"contents": [{"uri": params["uri"], "text": by}]}).to_string(),
        "completion/complete" => {
            let named = params["ref"].get("name").or_else(|| params["ref"].get("uri"));
            json!({"completion": {"values": [by, named, params["argument"]["value"]]}}).to_string()
        }
        "resources/subscribe" | "resources/unsubscribe" | "logging/setLevel" => "{}".into(),
        _ => return None,
    })
}
