//! One load on one endpoint, for whoever wants to look at a process with a profiler meanwhile.

use crate::{
    client::Target,
    figures::seconds,
    load::{self, Plan},
};
use anyhow::{Result, bail};
use clap::Args;
use std::{net::SocketAddr, time::Duration};

/// What to load, and how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// Where it listens; the endpoint is `/mcp`.
    #[arg(long)]
    address: SocketAddr,
    /// The process whose CPU time is counted.
    #[arg(long)]
    pid: u32,
    /// What `echo` is called there.
    #[arg(long, default_value = "echo")]
    tool: String,
    /// The key that it wants.
    #[arg(long)]
    key: Option<String>,
    /// Clients at once.
    #[arg(long, default_value_t = 16)]
    clients: usize,
    /// How long it is measured.
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    seconds: f64,
    /// How long it runs before that.
    #[arg(long, default_value_t = 0.4, value_parser = seconds)]
    warm_up: f64,
    /// It ends early after so many calls.
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
    /// The length of the echoed text.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

/// Loads it once.
pub(crate) async fn run(settings: Settings) -> Result<()> {
    let Settings { address, pid, tool, key, clients, bytes, .. } = settings;
    let plan = Plan {
        clients,
        bytes,
        warm_up: Duration::from_secs_f64(settings.warm_up),
        measure: Duration::from_secs_f64(settings.seconds),
        most_calls: settings.calls,
    };
    let target = Target { name: address.to_string(), address, key, tool };
    let outcome = load::run(&target, pid, plan).await?;
    println!("{}", serde_json::to_string_pretty(&outcome)?);
    if outcome.errors + outcome.mismatches > 0 {
        bail!("some answers were wrong");
    }
    Ok(())
}
