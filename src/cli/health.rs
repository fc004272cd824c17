//! `trunkline healthcheck`: exit code 0 if the running gateway is well; containers need no curl for it.

use crate::cli::{
    ConfigFile,
    address::{Target, base, local},
    remote::{http, runtime, unreachable},
    say,
};
use anyhow::ensure;
use clap::Args;
use std::{process::ExitCode, time::Duration};
use url::Url;

/// What `healthcheck` takes.
#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// The gateway's address. Default: what the configuration listens on.
    #[arg(long, env = "TRUNKLINE_URL")]
    url: Option<Url>,
    #[command(flatten)]
    file: ConfigFile,
}

impl Healthcheck {
    /// Asks.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let base = match &self.url {
            Some(url) => base(url)?,
            None => local(&self.file.look_up()?)?,
        };
        let url = Target { base, key: None }.at("health");
        runtime()?.block_on(async {
            let request = http()?.get(&url).timeout(Duration::from_secs(5));
            let response = request.send().await.map_err(|error| unreachable(&url, &error))?;
            let status = response.status();
            let body = response.text().await.unwrap_or_default();
            ensure!(status.is_success(), "{url} answers HTTP {status}: {}", body.trim());
            say(body.trim())?;
            Ok(ExitCode::SUCCESS)
        })
    }
}
