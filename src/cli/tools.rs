//! `trunkline tools`: what clients of the running gateway see.

use crate::cli::{
    address::Address,
    remote::{Remote, runtime},
    say,
};
use clap::Args;
use serde_json::Value;
use std::{fmt::Write as _, process::ExitCode};

/// What `tools` takes.
#[derive(Debug, Args)]
pub(super) struct Tools {
    /// Only the tools of this alias, or of several: `db,browser`.
    alias: Option<String>,
    /// Print the whole definitions as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

impl Tools {
    /// Lists.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let target = self.address.target()?;
        let tools = runtime()?.block_on(async {
            let mut remote = Remote::open(target, self.alias).await?;
            let tools = remote.tools().await;
            remote.close().await;
            tools
        })?;
        if self.json {
            say(&serde_json::to_string_pretty(&tools)?)?;
        } else {
            say(&table(&tools))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A line for each tool: its name and what it is.
fn table(tools: &[Value]) -> String {
    let name = |tool: &Value| tool["name"].as_str().unwrap_or_default().to_owned();
    let width = tools.iter().map(|tool| name(tool).len()).max().unwrap_or_default();
    let mut text = String::new();
    for tool in tools {
        let description = tool["description"].as_str().or_else(|| tool["title"].as_str()).unwrap_or_default();
        let line = description.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let short: String = line.chars().take(100).collect();
        let dots = if short.len() < line.len() { "…" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", format!("{:width$}  {short}{dots}", name(tool)).trim_end());
    }
    if tools.is_empty() {
        text.push_str(
            "no tools: `trunkline check` shows the upstreams, and the gateway's log says how they are\n",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;
    use serde_json::json;

    #[test]
    fn tools_are_a_table() {
        let tools = [
            json!({"name": "db-execute_sql", "description": "\n  Runs SQL.\nMore."}),
            json!({"name": "x", "title": "é".repeat(200)}),
        ];
        let table = table(&tools);
        assert!(table.starts_with("db-execute_sql  Runs SQL.\nx               éé"), "{table}");
        assert!(table.ends_with("é…\n"), "{table}");
    }
}
