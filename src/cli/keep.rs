//! `trunkline __keep`: what stands between the gateway and a child process. Only the gateway runs it.

use crate::upstream;
use anyhow::Context as _;
use clap::Args;
use std::{ffi::OsString, process::ExitCode, time::Duration};

/// What the gateway tells a keeper.
#[derive(Debug, Args)]
pub(super) struct Keep {
    /// How long each step of the end may take.
    #[arg(long)]
    grace_ms: u64,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

impl Keep {
    /// Keeps.
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let (program, args) = self.command.split_first().context("a program")?;
        let status = upstream::keep(program, args, Duration::from_millis(self.grace_ms))
            .with_context(|| format!("`{}` cannot be started", program.display()))?;
        Ok(ExitCode::from(status))
    }
}
