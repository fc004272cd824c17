//! `trunkline stdio`: a gateway for the one client that started it, on standard input and output.

use crate::{
    cli::{ConfigFile, address, complain},
    config::{self, Config, Findings, Overrides, Remote},
    gateway::{self, Purpose},
    telemetry::logs,
};
use anyhow::{Context as _, ensure};
use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use std::{collections::BTreeMap, process::ExitCode};
use url::Url;

/// What `stdio` takes.
#[derive(Debug, Args)]
pub(super) struct Stdio {
    /// Show these aliases only, such as `db,browser`; a single one is shown under its own names. Default: all.
    #[arg(long, value_name = "ALIASES", value_delimiter = ',', conflicts_with = "connect")]
    servers: Vec<String>,
    /// Start no servers, but be the way to a running gateway, or to any other MCP server, at this address: all of it,
    /// or with `/mcp/db` what is there. Without an address: what the configuration listens on.
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "the flag alone says something, too")]
    connect: Option<Option<Url>>,
    /// The key to show there; better in the variable, since others on this machine may see command lines.
    /// Default: the configuration's master key, if the address is from there as well.
    #[arg(long, env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    /// A header to send there, as 'NAME: VALUE'; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header, requires = "connect")]
    header: Vec<(String, SecretString)>,
    /// Log more, to standard error.
    #[arg(long)]
    debug: bool,
    #[command(flatten)]
    file: ConfigFile,
}

fn header(text: &str) -> anyhow::Result<(String, SecretString)> {
    let (name, value) = text.split_once(':').context("a header is 'NAME: VALUE'")?;
    Ok((name.trim().into(), value.trim().into()))
}

impl Stdio {
    /// Serves until the client is gone.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        // Nothing is listened on, so that it does not matter who could come in there without a key.
        let overrides = Overrides { host: Some("127.0.0.1".into()), port: None, debug: self.debug };
        let (config, purpose) = match &self.connect {
            Some(url) => (self.bridge(url.as_ref(), &overrides)?, Purpose::Bridge),
            None => {
                let servers = self.servers.iter().map(|alias| alias.trim().to_owned()).collect();
                (self.file.load(&overrides), Purpose::Show(servers))
            }
        };
        let config = match config {
            Ok(config) => config,
            Err(findings) => {
                complain(&format!("trunkline does not start: {findings}"));
                return Ok(ExitCode::FAILURE);
            }
        };
        logs::start(&config.log);
        gateway::stdio(config, &purpose)?;
        Ok(ExitCode::SUCCESS)
    }

    fn bridge(&self, url: Option<&Url>, overrides: &Overrides) -> anyhow::Result<Result<Config, Findings>> {
        let key = self.key.clone().filter(|key| !key.expose_secret().is_empty());
        let (url, key) = match url {
            Some(url) => (endpoint(url)?, key),
            // A configured key is sent to the configured address only.
            None => match self.file.load(&Overrides::default()) {
                Ok(config) => {
                    (endpoint(&address::local(&config)?)?, key.or_else(|| config.policy.master.clone()))
                }
                Err(findings) => return Ok(Err(findings)),
            },
        };
        let headers: BTreeMap<_, _> = self.header.iter().cloned().collect();
        Ok(config::bridge(Remote { url, key, headers }, overrides))
    }
}

/// The MCP endpoint of an address as people give it: a gateway's is at `/mcp`.
fn endpoint(url: &Url) -> anyhow::Result<Url> {
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "`{url}` is no address of an MCP server; it looks like http://127.0.0.1:4000/mcp"
    );
    ensure!(
        url.username().is_empty() && url.password().is_none(),
        "an address with a user in it is not taken; give --header 'Authorization: Basic …' in place of it"
    );
    let mut url = url.clone();
    if url.path() == "/" {
        url.set_path("/mcp");
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::{Stdio, endpoint};
    use clap::{Args as _, Command, FromArgMatches as _};
    use rstest::rstest;
    use url::Url;

    #[rstest]
    #[case("http://h:4000", Some("http://h:4000/mcp"))]
    #[case("http://h:4000/mcp/db", Some("http://h:4000/mcp/db"))]
    #[case("https://h/sse?x=1", Some("https://h/sse?x=1"))]
    #[case("ftp://h/mcp", None)]
    #[case("http://user:hush@h/mcp", None)]
    fn an_address_is_taken_with_and_without_path(#[case] given: &str, #[case] expected: Option<&str>) {
        let endpoint = endpoint(&Url::parse(given).expect("an address"));
        assert_eq!(endpoint.as_ref().map(Url::as_str).ok(), expected);
    }

    fn parse(words: &[&str]) -> Option<Stdio> {
        let command = Stdio::augment_args(Command::new("stdio"));
        let matches = command.try_get_matches_from([&["stdio"], words].concat()).ok()?;
        Stdio::from_arg_matches(&matches).ok()
    }

    #[test]
    fn what_is_started_and_what_is_reached_exclude_each_other() {
        let both = parse(&["--servers", "db, web", "--debug"]).expect("a command line");
        assert_eq!((both.servers.len(), both.connect), (2, None));
        assert_eq!(parse(&["--connect", "--debug"]).expect("a command line").connect, Some(None));
        let full = parse(&["--connect", "http://h/mcp", "--header", "A: b:c", "--key", "k"]);
        assert_eq!(full.expect("a command line").header[0].0, "A");
        assert!(parse(&["--connect", "http://h/mcp", "--servers", "db"]).is_none());
        assert!(parse(&["--header", "A: b"]).is_none());
        assert!(parse(&["--connect", "http://h/mcp", "--header", "A"]).is_none());
    }
}
