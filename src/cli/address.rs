//! Where the running gateway is, and the key for it: from the command line, else from the configuration.

use crate::{
    cli::ConfigFile,
    config::{Config, is_loopback},
};
use anyhow::Context as _;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// Which gateway.
#[derive(Debug, Args)]
pub(super) struct Address {
    /// The gateway's address. Default: what the configuration listens on.
    #[arg(long, env = "TRUNKLINE_URL")]
    url: Option<Url>,
    /// The key to show. Default: the configuration's master key, if the address is from there as well.
    #[arg(long, env = "TRUNKLINE_KEY", hide_env_values = true)]
    key: Option<SecretString>,
    #[command(flatten)]
    file: ConfigFile,
}

/// A gateway to talk to.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Its address, without `/mcp`.
    pub(super) base: Url,
    /// The key to show.
    pub(super) key: Option<SecretString>,
}

impl Address {
    /// Finds out; a configured key is sent to the configured address only.
    pub(super) fn target(&self) -> anyhow::Result<Target> {
        if let Some(url) = &self.url {
            return Ok(Target { base: base(url)?, key: self.key.clone() });
        }
        let config = self.file.look_up()?;
        let key = self.key.clone().or_else(|| config.policy.master.clone());
        Ok(Target { base: local(&config)?, key })
    }
}

impl Target {
    /// The address of something at the gateway.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.base.as_str().trim_end_matches('/'))
    }

    /// The key in the clear, to be sent.
    pub(super) fn bearer(&self) -> Option<&str> {
        self.key.as_ref().map(ExposeSecret::expose_secret).filter(|key| !key.is_empty())
    }
}

/// An address as people give it, with or without `/mcp`.
pub(super) fn base(url: &Url) -> anyhow::Result<Url> {
    anyhow::ensure!(
        matches!(url.scheme(), "http" | "https"),
        "`{url}` is no address of a gateway; it looks like http://127.0.0.1:4000"
    );
    let mut base = url.clone();
    base.set_query(None);
    base.set_fragment(None);
    let path = url.path().trim_end_matches('/');
    let path = ["/mcp", "/sse", "/health"].iter().find_map(|known| path.strip_suffix(known)).unwrap_or(path);
    base.set_path(path);
    Ok(base)
}

/// Where this machine reaches the gateway of a configuration.
pub(super) fn local(config: &Config) -> anyhow::Result<Url> {
    let (host, port) = &config.listen;
    let host = match host.as_str() {
        "0.0.0.0" => "127.0.0.1".into(),
        "::" => "[::1]".into(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.into(),
    };
    Url::parse(&format!("http://{host}:{port}")).with_context(|| format!("`{host}:{port}` is no address"))
}

/// Where clients reach the gateway of a configuration, and whether other machines can use that address.
pub(super) fn public(config: &Config) -> anyhow::Result<(Url, bool)> {
    match &config.front.public_url {
        Some(url) => Ok((base(url)?, true)),
        None => Ok((local(config)?, is_loopback(&config.listen.0))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Target, base};
    use rstest::rstest;
    use url::Url;

    #[rstest]
    #[case("http://h:4000", "http://h:4000/mcp")]
    #[case("http://h:4000/", "http://h:4000/mcp")]
    #[case("http://h:4000/mcp/", "http://h:4000/mcp")]
    #[case("https://h/gateway/mcp?x=1", "https://h/gateway/mcp")]
    fn addresses_are_taken_with_and_without_path(#[case] given: &str, #[case] expected: &str) {
        let base = base(&Url::parse(given).expect("an address")).expect("an address");
        assert_eq!(Target { base, key: None }.at("mcp"), expected);
    }
}
