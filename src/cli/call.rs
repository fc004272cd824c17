//! `trunkline call`: one tool of the running gateway, once.

use crate::cli::{
    address::Address,
    complain,
    remote::{Remote, runtime},
    say,
};
use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

/// What `call` takes.
#[derive(Debug, Args)]
pub(super) struct Call {
    /// The tool, as `trunkline tools` shows it: `db-execute_sql`.
    tool: String,
    /// Its arguments, as a JSON object.
    #[arg(default_value = "{}", value_parser = arguments)]
    arguments: Map<String, Value>,
    /// Print the whole result as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Reads the arguments of a tool.
fn arguments(text: &str) -> anyhow::Result<Map<String, Value>> {
    serde_json::from_str(text).context("the arguments are a JSON object such as '{\"sql\": \"select 1\"}'")
}

impl Call {
    /// Calls.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let target = self.address.target()?;
        let result = runtime()?.block_on(async {
            let mut remote = Remote::open(target, None).await?;
            let params = json!({"name": self.tool, "arguments": self.arguments});
            let result = remote.request("tools/call", params).await;
            remote.close().await;
            result
        })?;
        if self.json {
            say(&serde_json::to_string_pretty(&result)?)?;
        } else {
            say(&content(&result))?;
        }
        if result["isError"] == true {
            complain("trunkline: the tool says that it failed");
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The content of a result, for people.
fn content(result: &Value) -> String {
    let blocks = result["content"].as_array().map(Vec::as_slice).unwrap_or_default();
    if blocks.is_empty()
        && let Some(structured) = result.get("structuredContent")
    {
        return format!("{structured:#}");
    }
    blocks.iter().map(block).collect::<Vec<_>>().join("\n")
}

fn block(block: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match block["type"].as_str() {
        Some("text") => text(&block["text"]),
        Some(kind @ ("image" | "audio")) => {
            // Base64 has four characters for three bytes.
            let bytes = block["data"].as_str().map_or(0, |data| data.trim_end_matches('=').len() * 3 / 4);
            format!("[{kind}, {}, {bytes} bytes; --json shows it]", text(&block["mimeType"]))
        }
        Some("resource_link") => format!("[resource {}]", text(&block["uri"])),
        Some("resource") => match block["resource"]["text"].as_str() {
            Some(text) => text.into(),
            None => format!("[resource {}; --json shows it]", text(&block["resource"]["uri"])),
        },
        _ => block.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{arguments, content};
    use serde_json::json;

    #[test]
    fn content_is_readable() {
        let result = json!({"content": [
            {"type": "text", "text": "one"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource_link", "uri": "file:///a"},
            {"type": "resource", "resource": {"uri": "file:///b", "text": "two"}},
            {"type": "new", "x": 1},
        ]});
        insta::assert_snapshot!(content(&result), @r#"
        one
        [image, image/png, 3 bytes; --json shows it]
        [resource file:///a]
        two
        {"type":"new","x":1}
        "#);
        assert_eq!(content(&json!({"content": [], "structuredContent": {"a": 1}})), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn arguments_are_an_object() {
        assert!(arguments("{\"a\": 1}").is_ok());
        assert!(arguments("[1]").is_err());
        assert!(arguments("select 1").is_err());
    }
}
