//! `trunkline add`: looks at an upstream, then writes its alias file.

use crate::{
    cli::{ConfigFile, complain, remote::runtime, say},
    config::{AliasConfig, Environment, check_alias},
    upstream::{self, settings::Transport},
};
use anyhow::{Context as _, anyhow, bail};
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::ExitCode,
};
use url::Url;

/// What `add` takes.
#[derive(Debug, Args)]
#[command(override_usage = "trunkline add [OPTIONS] <ALIAS> <URL>
       trunkline add [OPTIONS] <ALIAS> -- <COMMAND> [ARGS]...")]
pub(super) struct Add {
    /// The short public name: letters, digits and `_`.
    alias: String,
    /// The upstream's MCP endpoint, such as `http://localhost:8000/sse`.
    #[arg(required_unless_present = "command", conflicts_with = "command")]
    url: Option<Url>,
    /// The program to start as the upstream, and its arguments: `trunkline add time -- uvx mcp-server-time`.
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["bearer", "header", "transport"])]
    command: Vec<String>,
    /// A variable of the program's environment; may be given several times.
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, requires = "command")]
    env: Vec<(String, String)>,
    /// The token that the upstream wants; '${VAR}' is written as it is and read when the gateway starts.
    #[arg(long, value_name = "TOKEN")]
    bearer: Option<String>,
    /// A header that the upstream wants, as NAME:VALUE; may be given several times.
    #[arg(long, value_name = "NAME:VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// What the upstream speaks. Default: find out, and write that down.
    #[arg(long)]
    transport: Option<Spoken>,
    /// What it is, for people.
    #[arg(long)]
    description: Option<String>,
    /// Write the file although the upstream does not answer, or although there is one already.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// The transports that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Spoken {
    Sse,
    Http,
}

fn header(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once(':').context("a header is NAME:VALUE")?;
    Ok((name.trim().into(), value.trim().into()))
}

fn variable(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("a variable is NAME=VALUE")?;
    Ok((name.into(), value.into()))
}

impl Add {
    /// Looks, and writes.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.file.look_up()?;
        let Some(folder) = &config.folder else {
            bail!("the configuration is a file of LiteLLM; add the upstream to its mcp_servers");
        };
        let path = folder.join(format!("{}.yaml", self.alias));
        if config.aliases.iter().any(|known| known.alias.as_str() == self.alias)
            && !(self.force && path.exists())
        {
            bail!("there is an alias `{}` already; --force replaces the file {}", self.alias, path.display());
        }
        let spoken = self.transport.map(|spoken| match spoken {
            Spoken::Sse => Transport::Sse,
            Spoken::Http => Transport::Http,
        });
        let text = self.text(spoken);
        let checked = check_alias(&path, &text, &config.names, &Environment::of_process());
        let alias = checked.map_err(|findings| anyhow!("{}", findings.to_string().trim_end()))?;
        let text = match self.look(&alias)? {
            Some(found) => self.text(spoken.or(Some(found))),
            None => text,
        };
        self.write(&path, &text)?;
        say(&format!("wrote {}", path.display()))?;
        complain("a gateway that runs must be started again to see it");
        Ok(ExitCode::SUCCESS)
    }

    /// The transport that works; `None` if nothing does and that does not matter.
    fn look(&self, alias: &AliasConfig) -> anyhow::Result<Option<Transport>> {
        let name = match (&self.url, self.command.first()) {
            (Some(url), _) => url.as_str(),
            (None, Some(program)) => program,
            (None, None) => &self.alias,
        };
        match runtime()?.block_on(upstream::probe(&alias.upstream)) {
            Ok((offer, listing)) => {
                complain(&format!("{name}: {} tools", listing.tools.len()));
                Ok(Some(offer.transport))
            }
            Err(fault) if self.force => {
                complain(&format!("{name}: {fault}"));
                Ok(None)
            }
            Err(fault) => bail!("{name}: {fault}; --force writes the alias file all the same"),
        }
    }

    /// The alias file. JSON strings are YAML strings.
    fn text(&self, transport: Option<Transport>) -> String {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut text = String::new();
        // Writing to a String cannot fail.
        if let Some(url) = &self.url {
            let _ = writeln!(text, "url: {}", quoted(url.as_str()));
        }
        if let Some((program, args)) = self.command.split_first() {
            let _ = writeln!(text, "command: {}", quoted(program));
            let args: Vec<_> = args.iter().map(|arg| quoted(arg)).collect();
            let _ = writeln!(text, "args: [{}]", args.join(", "));
        }
        for (index, (name, value)) in self.env.iter().enumerate() {
            let head = if index == 0 { "env:\n" } else { "" };
            let _ = writeln!(text, "{head}  {}: {}", quoted(name), quoted(value));
        }
        match transport {
            Some(Transport::Sse) => text.push_str("transport: sse\n"),
            Some(Transport::Http) => text.push_str("transport: http\n"),
            Some(Transport::Auto | Transport::Stdio) | None => {}
        }
        if let Some(description) = &self.description {
            let _ = writeln!(text, "description: {}", quoted(description));
        }
        if !self.header.is_empty() {
            text.push_str("headers:\n");
        }
        for (name, value) in &self.header {
            let _ = writeln!(text, "  {}: {}", quoted(name), quoted(value));
        }
        if let Some(bearer) = &self.bearer {
            let _ = writeln!(text, "auth:\n  bearer: {}", quoted(bearer));
        }
        text
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        let at = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(at)?;
        }
        let mut options = OpenOptions::new();
        options.write(true);
        if self.force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        // Secrets are nobody else's business.
        if self.bearer.is_some() || !self.header.is_empty() || !self.command.is_empty() {
            options.mode(0o600);
        }
        options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).with_context(at)
    }
}

#[cfg(test)]
mod tests {
    use super::{Add, header, variable};
    use crate::{
        catalog::settings::NameRules, cli::ConfigFile, config::check_alias, upstream::settings::Transport,
    };
    use std::path::Path;
    use url::Url;

    #[test]
    fn the_file_is_what_was_asked_for() {
        let add = Add {
            alias: "db".into(),
            url: Some(Url::parse("http://localhost:8000/sse").expect("an address")),
            command: Vec::new(),
            env: Vec::new(),
            bearer: Some("${TOKEN}".into()),
            header: vec![header("X-Odd: a \"b\": c").expect("a header")],
            transport: None,
            description: Some("Yes: no # comment".into()),
            force: false,
            file: ConfigFile::default(),
        };
        let text = add.text(Some(Transport::Sse));
        insta::assert_snapshot!(text, @r#"
        url: "http://localhost:8000/sse"
        transport: sse
        description: "Yes: no # comment"
        headers:
          "X-Odd": "a \"b\": c"
        auth:
          bearer: "${TOKEN}"
        "#);
        let environment = [("TOKEN", "t")].into_iter().collect();
        let names = NameRules::default();
        check_alias(Path::new("aliases/db.yaml"), &text, &names, &environment).expect("an alias file");
        let add = Add {
            url: None,
            command: ["npx", "-y", "a \"b\""].map(str::to_owned).into(),
            env: vec![variable("KEY=${TOKEN}=").expect("a variable")],
            bearer: None,
            header: Vec::new(),
            description: None,
            ..add
        };
        let text = add.text(Some(Transport::Stdio));
        insta::assert_snapshot!(text, @r#"
        command: "npx"
        args: ["-y", "a \"b\""]
        env:
          "KEY": "${TOKEN}="
        "#);
        check_alias(Path::new("aliases/db.yaml"), &text, &names, &environment).expect("an alias file");
    }
}
