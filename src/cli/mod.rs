//! The command line: `trunkline [serve]`, and what helps around it.
//!
//! **Invariant:** standard output carries what was asked for and nothing else; everything else goes to standard error.

mod add;
mod address;
mod call;
mod check;
mod client;
mod health;
mod keep;
mod litellm_flags;
mod remote;
mod serve;
mod stdio;
mod tools;

use crate::{
    config::{Config, Environment, Findings, Overrides, load},
    upstream,
};
use clap::{Args, Parser, Subcommand};
use std::{
    ffi::OsString,
    io::{self, ErrorKind, Write as _},
    path::Path,
    process::ExitCode,
};

/// One MCP endpoint for many MCP servers.
///
/// Without a command it serves. Everything has a default: `trunkline` alone listens on 127.0.0.1:4000 and offers the
/// upstreams in ./aliases. `trunkline add db http://localhost:8000/sse` writes one.
#[derive(Debug, Parser)]
#[command(name = "trunkline", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve (also without this word).
    Serve(serve::Serve),
    /// Serve one client on standard input and output, for clients that can only start a command.
    Stdio(stdio::Stdio),
    /// Check the configuration and show what it means; exit code 1 if it has mistakes.
    Check(check::Check),
    /// Look at an upstream and write its alias file.
    Add(add::Add),
    /// List the tools of the running gateway.
    Tools(tools::Tools),
    /// Call a tool of the running gateway; exit code 1 if the tool says that it failed.
    Call(call::Call),
    /// Ask the running gateway whether it is well; for containers, without curl.
    Healthcheck(health::Healthcheck),
    /// Print the configuration that a client needs to use this gateway.
    Client(client::Client),
    #[command(name = upstream::KEEPER, hide = true)]
    Keep(keep::Keep),
}

/// Which configuration.
#[derive(Clone, Debug, Default, Args)]
struct ConfigFile {
    /// The configuration: trunkline.yaml, or a file of LiteLLM. Default: ./trunkline.yaml if there is one.
    #[arg(short, long, value_name = "FILE", env = "TRUNKLINE_CONFIG")]
    config: Option<OsString>,
}

// === impl Cli ===

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> ExitCode {
        let (result, failure) = match self.command {
            None => (self.serve.run(), 1),
            Some(Command::Serve(serve)) => (serve.run(), 1),
            Some(Command::Stdio(stdio)) => (stdio.run(), 1),
            Some(Command::Check(check)) => (check.run(), 1),
            Some(Command::Add(add)) => (add.run(), 1),
            Some(Command::Tools(tools)) => (tools.run(), 2),
            Some(Command::Call(call)) => (call.run(), 2),
            Some(Command::Healthcheck(health)) => (health.run(), 1),
            Some(Command::Client(client)) => (client.run(), 1),
            // As a shell says that it found no program.
            Some(Command::Keep(keep)) => (keep.run(), 127),
        };
        match result {
            Ok(code) => code,
            Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("trunkline: {error:#}"));
                ExitCode::from(failure)
            }
        }
    }
}

impl ConfigFile {
    /// Reads the configuration.
    fn load(&self, overrides: &Overrides) -> Result<Config, Findings> {
        // An empty variable is as good as none.
        let path = self.config.as_deref().filter(|path| !path.is_empty()).map(Path::new);
        load(path, overrides, &Environment::of_process())
    }

    /// Reads the configuration for a command that only wants to know something from it.
    fn look_up(&self) -> anyhow::Result<Config> {
        self.load(&Overrides::default())
            .map_err(|findings| anyhow::anyhow!("{}", findings.to_string().trim_end()))
    }
}

/// Writes to standard output.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes to standard error; if even that is closed, there is nobody to tell.
fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text.trim_end());
}

/// Whether the reader of our output has had enough, as in `trunkline tools | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command};
    use clap::{CommandFactory as _, Parser as _};
    use rstest::rstest;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case(&["--config", "/app/config.yaml", "--detailed_debug"])]
    #[case(&["serve", "--config", "f", "--host", "0.0.0.0", "--port", "4000", "--detailed-debug"])]
    #[case(&["--config", "f", "--num_workers", "8", "--run_gunicorn", "--debug"])]
    #[case(&["-c", "f", "--num_workers=8", "--use_prisma_migrate"])]
    fn command_lines_of_litellm_serve(#[case] words: &[&str]) {
        let cli = Cli::try_parse_from([&["trunkline"], words].concat()).expect("a command line");
        assert!(matches!(cli.command, None | Some(Command::Serve(_))));
    }

    #[rstest]
    #[case(&["--port", "x"])]
    #[case(&["--config", "f", "check"])]
    #[case(&["client", "emacs"])]
    #[case(&["call"])]
    #[case(&["--ssl_certfile_path", "f"])]
    fn wrong_usage_is_refused(#[case] words: &[&str]) {
        let error = Cli::try_parse_from([&["trunkline"], words].concat()).expect_err("a mistake");
        assert_eq!(error.exit_code(), 2);
    }
}
