//! What Trunkline costs: a fake upstream, a load generator, a yardstick, and the runner that makes the figures.
//!
//! Everything runs on one thread each, since hand-overs between CPUs would cost more than what is measured.

mod client;
mod compare;
mod figures;
mod gateway;
mod listing;
mod load;
mod noop;
mod one;
mod process;
mod report;
mod serve;
mod upstream;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures a gateway against the bare upstream and the yardstick.
    Figures(figures::Settings),
    /// Loads one endpoint that runs already, and prints what came of it as JSON; for profilers.
    Load(one::Settings),
    /// A fast fake upstream; prints where it listens and runs until its standard input ends.
    Upstream(upstream::Settings),
    /// The yardstick: a proxy that only renames tools; prints where it listens and runs until its standard input ends.
    Noop(noop::Settings),
}

fn main() -> Result<()> {
    let command = Arguments::parse().command;
    if let Command::Figures(figures::Settings { pin: Some(cpu), .. }) = &command {
        // Before there is any other thread or process, so that all of them are pinned.
        process::pin(*cpu)?;
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = match command {
        Command::Figures(settings) => runtime.block_on(unless_stopped(figures::run(settings))),
        Command::Load(settings) => runtime.block_on(unless_stopped(one::run(settings))),
        Command::Upstream(settings) => runtime.block_on(upstream::run(settings)),
        Command::Noop(settings) => runtime.block_on(noop::run(settings)),
    };
    // Reading standard input blocks a thread that nothing ends.
    runtime.shutdown_background();
    ended
}

/// Dropping the work ends all processes that it started.
async fn unless_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        ended = work => ended,
        _ = terminate.recv() => bail!("stopped"),
        _ = interrupt.recv() => bail!("stopped"),
    }
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
