//! `trunkline serve`, and `trunkline` alone.

use crate::{
    cli::{ConfigFile, complain, litellm_flags::LitellmFlags},
    config::Overrides,
    gateway,
    telemetry::logs,
};
use clap::Args;
use std::process::ExitCode;

/// What `serve` takes.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    file: ConfigFile,
    /// The host to listen on, over what the configuration says.
    #[arg(long)]
    host: Option<String>,
    /// The port to listen on, over what the configuration says.
    #[arg(long)]
    port: Option<u16>,
    /// Log more.
    #[arg(long, alias = "detailed_debug", visible_alias = "detailed-debug")]
    debug: bool,
    #[command(flatten)]
    litellm: LitellmFlags,
}

impl Serve {
    /// Serves until the process is told to stop.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let overrides = Overrides { host: self.host, port: self.port, debug: self.debug };
        let mut config = match self.file.load(&overrides) {
            Ok(config) => config,
            Err(findings) => {
                complain(&format!("trunkline does not start: {findings}"));
                return Ok(ExitCode::FAILURE);
            }
        };
        config.notices.extend(self.litellm.notices());
        logs::start(&config.log);
        gateway::serve(config)?;
        Ok(ExitCode::SUCCESS)
    }
}
