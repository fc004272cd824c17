//! `trunkline client`: what to paste into a client so that it uses this gateway.

use crate::{
    cli::{ConfigFile, address, complain, say},
    config::Config,
};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::process::ExitCode;
use url::Url;

/// What `client` takes.
#[derive(Debug, Args)]
pub(super) struct Client {
    /// Which client.
    #[arg(value_name = "CLIENT")]
    program: Program,
    /// The gateway's address as the client reaches it. Default: `public_url`, else what the configuration listens on.
    #[arg(long, env = "TRUNKLINE_URL")]
    url: Option<Url>,
    /// The key to write in. Default: a placeholder, or none if the gateway has no keys.
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    file: ConfigFile,
}

/// The clients whose configuration is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Program {
    /// Visual Studio Code.
    Vscode,
    /// Claude Code.
    ClaudeCode,
    /// Codex CLI.
    Codex,
    /// Gemini CLI.
    Gemini,
    /// Cursor.
    Cursor,
    /// Open-WebUI.
    OpenWebui,
}

/// The key in a client's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// The gateway wants none.
    None,
    /// This one.
    Given(String),
    /// Whoever pastes puts it in.
    Missing,
}

/// What is printed: the text to paste, and where it goes.
struct Snippet {
    text: String,
    place: &'static str,
}

impl Client {
    /// Prints.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (url, key) = match &self.url {
            Some(url) => (address::base(url)?, self.key.clone().map_or(Key::Missing, Key::Given)),
            None => {
                let config = self.file.look_up()?;
                let (url, is_exact) = address::public(&config)?;
                if !is_exact {
                    complain(
                        "# from another machine, put this machine's name in place of the address, or set public_url",
                    );
                }
                (url, self.key(&config))
            }
        };
        let url = format!("{}/mcp", url.as_str().trim_end_matches('/'));
        let snippet = snippet(self.program, &url, &key);
        complain(&format!("# {}", snippet.place));
        say(&snippet.text)?;
        Ok(ExitCode::SUCCESS)
    }

    fn key(&self, config: &Config) -> Key {
        match &self.key {
            Some(key) => Key::Given(key.clone()),
            None if config.policy.is_keyless() => Key::None,
            None => Key::Missing,
        }
    }
}

fn snippet(client: Program, url: &str, key: &Key) -> Snippet {
    match client {
        Program::Vscode => vscode(url, key),
        Program::ClaudeCode => claude_code(url, key),
        Program::Codex => codex(url, key),
        Program::Gemini => Snippet {
            text: pretty(&json!({"mcpServers": {"trunkline": entry("http", url, key, "$TRUNKLINE_KEY")}})),
            place: "add to ~/.gemini/settings.json or .gemini/settings.json; $TRUNKLINE_KEY is the variable of that name",
        },
        Program::Cursor => Snippet {
            text: pretty(
                &json!({"mcpServers": {"trunkline": entry("http", url, key, "${env:TRUNKLINE_KEY}")}}),
            ),
            place: "add to ~/.cursor/mcp.json or .cursor/mcp.json; ${env:TRUNKLINE_KEY} is the variable of that name",
        },
        Program::OpenWebui => open_webui(url, key),
    }
}

/// The form that most clients share.
fn entry(kind: &str, url: &str, key: &Key, placeholder: &str) -> Value {
    let mut entry = json!({"type": kind, "url": url});
    let key = match key {
        Key::None => return entry,
        Key::Given(key) => key,
        Key::Missing => placeholder,
    };
    entry["headers"] = json!({"Authorization": format!("Bearer {key}")});
    entry
}

fn vscode(url: &str, key: &Key) -> Snippet {
    let mut text = json!({"servers": {"trunkline": entry("http", url, key, "${input:trunkline-key}")}});
    if *key == Key::Missing {
        text["inputs"] = json!([{
            "type": "promptString",
            "id": "trunkline-key",
            "description": "Key for the gateway",
            "password": true,
        }]);
    }
    Snippet {
        text: pretty(&text),
        place: "save as .vscode/mcp.json, or with the command `MCP: Open User Configuration`",
    }
}

fn claude_code(url: &str, key: &Key) -> Snippet {
    let header = match key {
        Key::None => String::new(),
        Key::Given(key) => format!(" --header {}", quoted(&format!("Authorization: Bearer {key}"))),
        // In double quotes, so that the shell puts in the variable.
        Key::Missing => " --header \"Authorization: Bearer $TRUNKLINE_KEY\"".into(),
    };
    Snippet {
        text: format!("claude mcp add --transport http trunkline {}{header}", quoted(url)),
        place: "run in a shell (with TRUNKLINE_KEY set, if it is used); `claude mcp list` says whether it works",
    }
}

fn codex(url: &str, key: &Key) -> Snippet {
    // A JSON string is a TOML string as well.
    let text = |text: &str| Value::from(text).to_string();
    let key = match key {
        Key::None => String::new(),
        Key::Given(key) => {
            format!("http_headers = {{ Authorization = {} }}\n", text(&format!("Bearer {key}")))
        }
        Key::Missing => "bearer_token_env_var = \"TRUNKLINE_KEY\"\n".into(),
    };
    Snippet {
        text: format!("[mcp_servers.trunkline]\nurl = {}\n{key}", text(url)),
        place: "add to ~/.codex/config.toml; TRUNKLINE_KEY is the variable of that name",
    }
}

fn open_webui(url: &str, key: &Key) -> Snippet {
    let (kind, key) = match key {
        Key::None => ("none", ""),
        Key::Given(key) => ("bearer", key.as_str()),
        Key::Missing => ("bearer", "YOUR_KEY"),
    };
    let connection = json!([{
        "type": "mcp",
        "url": url,
        "path": "",
        "auth_type": kind,
        "key": key,
        "config": {"enable": true, "access_control": null},
        "info": {"id": "trunkline", "name": "Trunkline", "description": "MCP gateway"},
    }]);
    Snippet {
        text: format!("TOOL_SERVER_CONNECTIONS={}", quoted(&connection.to_string())),
        place: "environment of Open WebUI, or Admin Settings > External Tools > MCP (Streamable HTTP) with the same URL and key",
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=@%+".contains(&byte));
    if is_plain { word.into() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::{Key, Program, snippet};
    use clap::ValueEnum as _;
    use rstest::rstest;

    #[rstest]
    fn every_client_has_its_form(
        #[values("vscode", "claude-code", "codex", "gemini", "cursor", "open-webui")] client: &str,
    ) {
        let program = Program::from_str(client, false).expect("a client");
        let keys = [Key::Missing, Key::Given("it's-a-key".into()), Key::None];
        let texts: Vec<String> =
            keys.iter().map(|key| snippet(program, "http://127.0.0.1:4000/mcp", key).text).collect();
        insta::assert_snapshot!(format!("client-{client}"), texts.join("\n---\n"));
    }
}
