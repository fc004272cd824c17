//! Flags of LiteLLM's command line that mean nothing here: taken, so that its containers start, and mentioned.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

/// The flags that were given.
#[derive(Clone, Debug, Default)]
pub(super) struct LitellmFlags(Vec<&'static str>);

/// Flags with a value.
const VALUES: &[&str] = &[
    "num_workers",
    "max_requests_before_restart",
    "keepalive_timeout",
    "timeout_worker_healthcheck",
    "model",
    "alias",
    "api_base",
    "api_version",
    "temperature",
    "max_tokens",
    "request_timeout",
    "max_budget",
    "telemetry",
    "log_config",
    "headers",
];

/// Flags without one.
const SWITCHES: &[&str] = &[
    "run_gunicorn",
    "run_hypercorn",
    "run_granian",
    "use_prisma_db_push",
    "use_prisma_migrate",
    "enforce_prisma_migration_check",
    "skip_db_migration_check",
    "iam_token_db_auth",
    "drop_params",
    "add_function_to_prompt",
    "save",
    "local",
    "use_queue",
];

impl LitellmFlags {
    /// A line for each.
    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.0
            .iter()
            .map(|flag| format!("command line: --{flag}: a flag of LiteLLM that has no meaning here"))
    }
}

impl Args for LitellmFlags {
    fn augment_args(command: Command) -> Command {
        let flag = |name: &&'static str| Arg::new(*name).long(*name).hide(true);
        command
            .args(VALUES.iter().map(|name| flag(name).action(ArgAction::Append).value_name("VALUE")))
            .args(SWITCHES.iter().map(|name| flag(name).action(ArgAction::Count)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LitellmFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let values = VALUES.iter().filter(|name| matches.contains_id(name));
        let switches = SWITCHES.iter().filter(|name| matches.get_count(name) > 0);
        Ok(Self(values.chain(switches).copied().collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
