//! `trunkline check`: every mistake of a configuration, or what it means.

use crate::{
    cli::{ConfigFile, complain, say},
    config::{AliasConfig, Config, Overrides},
    upstream::settings::{Credential, Target},
};
use clap::Args;
use std::{fmt::Write as _, process::ExitCode};
use url::Url;

/// What `check` takes.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    file: ConfigFile,
    /// The host to check for, as with `serve`.
    #[arg(long)]
    host: Option<String>,
    /// The port to check for, as with `serve`.
    #[arg(long)]
    port: Option<u16>,
}

impl Check {
    /// Checks.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { host: self.host, port: self.port, debug: false };
        match self.file.load(&overrides) {
            Ok(config) => {
                say(&summary(&config))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(findings) => {
                complain(&findings.to_string());
                for notice in &findings.notices {
                    complain(&format!("  notice: {notice}"));
                }
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

/// What a configuration means, for people; no secrets.
fn summary(config: &Config) -> String {
    let file =
        config.file.as_deref().map_or_else(|| "no file, defaults".into(), |file| file.display().to_string());
    let (host, port) = &config.listen;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    let mut rows = vec![("configuration", file), ("listens on", format!("http://{host}:{port}/mcp"))];
    if let Some(url) = &config.front.public_url {
        rows.push(("public address", url.to_string()));
    }
    rows.extend(config.aliases.iter().map(|alias| ("upstream", describe(alias))));
    if config.policy.is_keyless() {
        rows.push(("key", "none: loopback only".into()));
    }
    if config.policy.master.is_some() {
        rows.push(("key", "master key: everything".into()));
    }
    for key in &config.policy.keys {
        let list = |globs: &Option<Vec<String>>, what: &str| match globs {
            None => format!("all {what}"),
            Some(globs) if globs.is_empty() => format!("no {what}"),
            Some(globs) => format!("{what} {}", globs.join(", ")),
        };
        rows.push((
            "key",
            format!("{}: {}; {}", key.name, list(&key.aliases, "aliases"), list(&key.tools, "tools")),
        ));
    }
    rows.extend(config.notices.iter().map(|notice| ("notice", notice.clone())));
    let mut text = String::new();
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:15} {value}");
    }
    text
}

fn describe(alias: &AliasConfig) -> String {
    let transport = alias.upstream.transport.as_str();
    let credential = match &alias.upstream.credential {
        Credential::None => "",
        Credential::Bearer(_) => ", bearer token",
        Credential::BearerFile(_) => ", bearer token from a file",
        Credential::Basic { .. } => ", user and password",
    };
    let target = match &alias.upstream.target {
        Target::Http(url) => shown(url),
        // Arguments may be secret.
        Target::Stdio(command) if command.args.is_empty() => command.program.clone(),
        Target::Stdio(command) => format!("{} …", command.program),
    };
    format!("{}: {target} ({transport}{credential})", alias.alias)
}

/// An address without its query, in which tokens may stand.
fn shown(url: &Url) -> String {
    match url.query() {
        None => url.to_string(),
        Some(_) => {
            let mut plain = url.clone();
            plain.set_query(None);
            format!("{plain}?…")
        }
    }
}
