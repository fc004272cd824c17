//! The configuration as the rest of the program sees it: complete, checked, with every path made plain.

use crate::{
    catalog::{
        name::{Alias, NotAnAlias},
        settings::NameRules,
    },
    config::{
        alias::{self, AliasConfig, Origin},
        document::Document,
        draft::{AliasDraft, Draft, FormatDraft, LogDraft, NamesDraft, TimeoutsDraft},
        finding::Report,
        folder::AliasFile,
        keys,
        listen::{self, Circumstances, outside},
        place::Place,
        secret::Environment,
    },
    front, policy, session,
    telemetry::logs,
};
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    mem,
    path::{Path, PathBuf},
};
use tracing_subscriber::EnvFilter;
use url::Url;

/// A configuration without a mistake.
#[derive(Clone, Debug)]
pub struct Config {
    /// Host (without brackets) and port to listen on.
    pub listen: (String, u16),
    /// How public names are made.
    pub names: NameRules,
    /// The aliases, in alphabetical order.
    pub aliases: Vec<AliasConfig>,
    /// Who may come in, and what each may use.
    pub policy: policy::settings::Settings,
    /// What the client side refuses.
    pub front: front::settings::Settings,
    /// The bounds of what clients keep with us.
    pub session: session::settings::Settings,
    /// What seals the texts that clients keep for us; `None` is a random key. It has 32 bytes or more.
    pub state_key: Option<SecretString>,
    /// How logs are written.
    pub log: logs::Settings,
    /// What is worth a line at start.
    pub notices: Vec<String>,
    /// The main file, if there is one.
    pub file: Option<PathBuf>,
    /// The folder of alias files; `None` if it is not read because the file is LiteLLM's.
    pub folder: Option<PathBuf>,
}

/// What the command line says over the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// The host to listen on.
    pub host: Option<String>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// Whether to log more.
    pub debug: bool,
}

/// Everything that is read before anything is checked across files.
pub(crate) struct Material<'load> {
    /// The main file; empty if there is none.
    pub(crate) document: &'load Document,
    /// What it says.
    pub(crate) draft: Draft,
    /// Its folder, from which its relative paths start.
    pub(crate) folder: &'load Path,
    /// Whether it is LiteLLM's.
    pub(crate) is_litellm: bool,
    /// Whether it could be read: else nobody knows whether it has keys.
    pub(crate) is_readable: bool,
    /// The files of the folder of aliases.
    pub(crate) files: Vec<AliasFile>,
}

/// LiteLLM's variable for the separator.
const SEPARATOR: &str = "MCP_TOOL_PREFIX_SEPARATOR";
/// What `--debug` logs: all of ours, and of others what is worth a line anyway.
const DEBUG_FILTER: &str = "info,trunkline=debug";

/// Checks what was read. What could not be checked is left out; then the report has a finding.
pub(crate) fn check(
    material: Material<'_>,
    overrides: &Overrides,
    environment: &Environment,
    report: &mut Report,
) -> Config {
    let Material { document, draft, folder, is_litellm, is_readable, mut files } = material;
    let front = front(&draft, document, report);
    let session = session(&draft);
    let log = log(&draft.log, overrides, document, report);
    let names = names(&draft.names, document, environment, report);
    let timeouts = alias::defaults(&draft.timeouts);
    let state_key = keys::state_key(draft.state_key, document, environment, report);
    let policy = keys::check(draft.master_key, draft.keys, document, environment, report);
    // If a key was refused, there was one: then the mistake in it is all there is to say.
    let is_keyless = is_readable
        && policy.is_keyless()
        && !report.findings.iter().any(|finding| is_callers_key(&finding.path));
    let circumstances = Circumstances { document, overrides, environment, is_litellm, is_keyless };
    let listen = listen::listen(draft.listen.as_deref(), &circumstances, report);

    let mut placed = Vec::new();
    for (name, alias) in draft.upstreams {
        let place = Place::root().key("upstreams").key(&name);
        placed.push((name, alias, Origin { document, place, folder: folder.into(), timeouts }));
    }
    let drafts: Vec<AliasDraft> = files.iter_mut().map(|file| mem::take(&mut file.draft)).collect();
    for (file, alias) in files.iter().zip(drafts) {
        let folder = alias::folder_of(Path::new(file.document.name()));
        placed.push((
            file.stem.clone(),
            alias,
            Origin { document: &file.document, place: Place::root(), folder, timeouts },
        ));
    }
    let known: Vec<String> = placed.iter().map(|(name, ..)| name.clone()).collect();
    let aliases = aliases(placed, &names, report);
    keys::compare(&policy, &known, document, report);
    Config {
        listen,
        names,
        aliases,
        policy,
        front,
        session,
        state_key,
        log,
        notices: Vec::new(),
        file: None,
        folder: None,
    }
}

/// Whether a path leads to a key of callers, and not to one that lets nobody in.
fn is_callers_key(path: &str) -> bool {
    let path = path.to_lowercase();
    path.contains("key") && !["state_key", "per_key"].iter().any(|other| path.ends_with(other))
}

/// Checks a single alias file.
pub(crate) fn one_alias(mut file: AliasFile, names: &NameRules, report: &mut Report) -> Option<AliasConfig> {
    let draft = mem::take(&mut file.draft);
    let folder = alias::folder_of(Path::new(file.document.name()));
    let timeouts = alias::defaults(&TimeoutsDraft::default());
    let origin = Origin { document: &file.document, place: Place::root(), folder, timeouts };
    aliases(vec![(file.stem, draft, origin)], names, report).pop()
}

/// Checks the aliases of all files against each other.
fn aliases(
    placed: Vec<(String, AliasDraft, Origin<'_>)>,
    names: &NameRules,
    report: &mut Report,
) -> Vec<AliasConfig> {
    let mut seen: BTreeMap<Alias, String> = BTreeMap::new();
    let mut aliases = Vec::new();
    for (name, draft, origin) in placed {
        let alias = match Alias::parse(&name, names) {
            Ok(alias) => alias,
            Err(error) => {
                let expected = match error {
                    NotAnAlias::Form(_) => "1 to 32 letters, digits and `_`, without the separator",
                    NotAnAlias::Reserved(_) => "a name that is not the name of a route",
                };
                report.found(origin.document, &origin.place, format!("`{name}` as an alias"), expected);
                continue;
            }
        };
        if let Some(other) = seen.insert(alias.clone(), origin.document.name().into()) {
            let found = format!("the alias `{alias}`, which {other} has already");
            report.found(origin.document, &origin.place, found, "each alias once");
            continue;
        }
        aliases.extend(alias::check(alias, draft, &origin, report));
    }
    aliases.sort_by(|one, other| one.alias.cmp(&other.alias));
    aliases
}

fn names(
    draft: &NamesDraft,
    document: &Document,
    environment: &Environment,
    report: &mut Report,
) -> NameRules {
    let mut names = NameRules::default();
    if let Some(length) = draft.max_length {
        names.max_length = length.0;
        // The schema has checked numbers; a placeholder's value is text.
        if !(48..=128).contains(&length.0) {
            report.wrong(
                document,
                &Place::root().key("names").key("max_length"),
                "a whole number from 48 to 128",
            );
        }
    }
    match &draft.separator {
        Some(separator) => names.separator.clone_from(separator),
        None => match environment.look_up(SEPARATOR).ok().flatten() {
            None => {}
            Some(separator) if is_separator(&separator) => names.separator = separator,
            Some(separator) => {
                let expected = "1 to 4 letters, digits, `_` or `-`";
                report
                    .outside(outside("environment", SEPARATOR, format!("`{separator}`"), expected))
                    .hint("model APIs take no other characters in the name of a tool");
            }
        },
    }
    names
}

fn is_separator(text: &str) -> bool {
    (1..=4).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn front(draft: &Draft, document: &Document, report: &mut Report) -> front::settings::Settings {
    let default = front::settings::Settings::default();
    let (limits, times) = (&draft.limits, &draft.timeouts);
    front::settings::Settings {
        public_url: public_url(draft.public_url.as_deref(), document, report),
        allowed_hosts: allowed_hosts(&draft.allowed_hosts, document, report),
        allowed_origins: allowed_origins(&draft.allowed_origins, document, report),
        body_limit: limits.body.map_or(default.body_limit, |size| size.0),
        max_batch: limits.batch.map_or(default.max_batch, |count| count.0),
        max_connections: limits.connections.map_or(default.max_connections, |count| count.0),
        header_timeout: times.headers.map_or(default.header_timeout, |time| time.0),
        body_timeout: times.body.map_or(default.body_timeout, |time| time.0),
        keep_alive: times.keep_alive.map_or(default.keep_alive, |time| time.0),
        retry: times.retry.map_or(default.retry, |time| time.0),
        stream_after: times.stream_after.map_or(default.stream_after, |time| time.0),
        drain: times.drain.map_or(default.drain, |time| time.0),
    }
}

fn public_url(text: Option<&str>, document: &Document, report: &mut Report) -> Option<Url> {
    let url = Url::parse(text?).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
    });
    if url.is_none() {
        report.wrong(
            document,
            &Place::root().key("public_url"),
            "an address such as `https://mcp.example.com`",
        );
    }
    url
}

fn allowed_hosts(hosts: &[String], document: &Document, report: &mut Report) -> Vec<String> {
    let mut allowed = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        match listen::bare(host) {
            // As the `Host` header has it.
            Some(host) if host.contains(':') => allowed.push(format!("[{host}]")),
            Some(host) => allowed.push(host.to_ascii_lowercase()),
            None => {
                let place = Place::root().key("allowed_hosts").index(index);
                report.wrong(document, &place, "a host such as `mcp.example.com`, without scheme and port");
            }
        }
    }
    allowed
}

fn allowed_origins(origins: &[String], document: &Document, report: &mut Report) -> Vec<String> {
    let mut allowed = Vec::new();
    for (index, origin) in origins.iter().enumerate() {
        if origin == "*" || is_origin(origin) {
            allowed.push(origin.to_ascii_lowercase());
        } else {
            let place = Place::root().key("allowed_origins").index(index);
            report.wrong(document, &place, "an origin such as `https://app.example.com`, without a path");
        }
    }
    allowed
}

/// `scheme://host[:port]`; the scheme may be one that only some program knows, such as `vscode-webview`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let port = host.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
    let (host, is_port) = port.map_or((host, true), |(host, port)| (host, port.parse::<u16>().is_ok()));
    is_port
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
        && listen::bare(host).is_some()
}

fn session(draft: &Draft) -> session::settings::Settings {
    let default = session::settings::Settings::default();
    session::settings::Settings {
        idle: draft.timeouts.session_idle.map_or(default.idle, |time| time.0),
        max_sessions: draft.limits.sessions.map_or(default.max_sessions, |count| count.0),
        queue: draft.limits.queue.map_or(default.queue, |count| count.0),
        max_calls: draft.limits.calls_per_session.map_or(default.max_calls, |count| count.0),
        max_asks: draft.limits.asks_per_session.map_or(default.max_asks, |count| count.0),
        max_subscriptions: draft
            .limits
            .subscriptions_per_session
            .map_or(default.max_subscriptions, |count| count.0),
        replay: draft.limits.replay.map_or(default.replay, |size| size.0),
        replay_all: draft.limits.replay_total.map_or(default.replay_all, |size| size.0),
        replay_for: draft.timeouts.replay.map_or(default.replay_for, |time| time.0),
        max_parked: draft.limits.parked.map_or(default.max_parked, |count| count.0),
        max_parked_per_key: draft.limits.parked_per_key.map_or(default.max_parked_per_key, |count| count.0),
        parked_bytes: draft.limits.parked_bytes.map_or(default.parked_bytes, |size| size.0),
        park_for: draft.timeouts.parked.map_or(default.park_for, |time| time.0),
    }
}

fn log(draft: &LogDraft, overrides: &Overrides, document: &Document, report: &mut Report) -> logs::Settings {
    let mut log = logs::Settings::default();
    if draft.format == Some(FormatDraft::Json) {
        log.format = logs::Format::Json;
    }
    if let Some(filter) = &draft.filter {
        if filter.trim().is_empty() || EnvFilter::try_new(filter).is_err() {
            let place = Place::root().key("log").key("filter");
            report.wrong(document, &place, "a filter such as `info`, `debug` or `info,trunkline=debug`");
        }
        log.filter.clone_from(filter);
    }
    if overrides.debug {
        log.filter = DEBUG_FILTER.into();
    }
    log
}
