//! Where an upstream is: behind an address, or in a process of ours.
//!
//! **Invariant:** only files on the gateway's own disk name a program; nothing that comes over the network does.

use crate::{
    catalog::name::Alias,
    config::{
        alias::{self, Origin},
        draft::{AliasDraft, TransportDraft},
        finding::Report,
        place::Place,
    },
    upstream::settings::{Command, Target},
};
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;

/// Where an upstream is; `None` if that cannot be told, which the report then says.
pub(crate) fn target(
    alias: &Alias,
    draft: &AliasDraft,
    origin: &Origin<'_>,
    report: &mut Report,
) -> Option<Target> {
    let at = |key: &str| origin.place.key(key);
    match (&draft.url, &draft.command) {
        (Some(_), Some(_)) => {
            report
                .found(origin.document, &at("command"), "a command beside an address", "one of the two")
                .hint("`url` is for a server that runs, `command` for one that the gateway is to start");
            None
        }
        (None, Some(program)) => {
            alone(draft, origin, report);
            command(alias, program, draft, origin, report).map(Target::Stdio)
        }
        (Some(_), None) if draft.transport == Some(TransportDraft::Stdio) => {
            report
                .found(origin.document, &at("transport"), "`stdio` beside an address", "auto, sse or http")
                .hint("or write `command`, the program to start, in place of `url`");
            None
        }
        (Some(url), None) => {
            let of_commands = [
                ("args", !draft.args.is_empty()),
                ("env", !draft.env.is_empty()),
                ("cwd", draft.cwd.is_some()),
            ];
            for (key, _) in of_commands.iter().filter(|(_, is_written)| *is_written) {
                let found = format!("`{key}` beside an address");
                let finding = report.found(origin.document, &at(key), found, "no such key here");
                finding.hint("`args`, `env` and `cwd` go with `command`");
            }
            alias::address(url, origin, report).map(Target::Http)
        }
        (None, None) => {
            // What is there and could not be read was told already.
            let is_told = ["url", "command"]
                .iter()
                .any(|key| origin.document.original(&at(key)).resolve(origin.document.value()).is_some());
            if draft.transport == Some(TransportDraft::Stdio) {
                report.wrong(origin.document, &at("command"), "the program to start");
            } else if !is_told {
                let expected = "an address such as `http://host:8000/mcp`";
                let finding = report.wrong(origin.document, &at("url"), expected);
                finding.hint("or write `command`, the program to start");
            }
            None
        }
    }
}

/// What only an address goes with.
fn alone(draft: &AliasDraft, origin: &Origin<'_>, report: &mut Report) {
    if let Some(TransportDraft::Http | TransportDraft::Sse) = draft.transport {
        let place = origin.place.key("transport");
        report.wrong(origin.document, &place, "`stdio`, or nothing: that is what a command speaks");
    }
    let auth = &draft.auth;
    let has_auth = auth.bearer.is_some() || auth.bearer_file.is_some() || auth.basic.is_some();
    for (key, _) in [("headers", !draft.headers.is_empty()), ("auth", has_auth)].iter().filter(|key| key.1) {
        let found = format!("`{key}` beside a command");
        report
            .found(origin.document, &origin.place.key(key), found, "no such key here")
            .hint("what a process must know stands in its `env`");
    }
}

fn command(
    alias: &Alias,
    program: &str,
    draft: &AliasDraft,
    origin: &Origin<'_>,
    report: &mut Report,
) -> Option<Command> {
    let place = origin.place.key("command");
    if program.trim().is_empty() || program.contains('\0') {
        report.wrong(origin.document, &place, "a program such as `npx` or `/opt/server`");
        return None;
    }
    if program.contains(' ') && !program.contains('/') {
        report
            .wrong(origin.document, &place, "a program such as `npx`, without its arguments")
            .hint("no shell is between: write `command: npx` and `args: [-y, some-server]`");
    }
    let mut command = Command::new(alias.as_str(), program);
    let (args, secrets) = arguments(&draft.args, origin, report);
    (command.args, command.secrets) = (args, secrets);
    command.env = environment(&draft.env, origin, report);
    if let Some(folder) = draft.cwd.as_deref().filter(|folder| !folder.is_empty()) {
        let folder = origin.folder.join(folder);
        if !folder.is_dir() {
            let text = format!("{} is no folder yet; the program starts only if it is", folder.display());
            report.notice(origin.document, &origin.place.key("cwd"), text);
        }
        command.cwd = Some(folder);
    }
    Some(command)
}

/// The arguments, and those of them that have a placeholder in them, which may stand for a secret.
fn arguments(
    draft: &[String],
    origin: &Origin<'_>,
    report: &mut Report,
) -> (Vec<SecretString>, Vec<SecretString>) {
    let place = origin.place.key("args");
    let (mut args, mut secrets) = (Vec::new(), Vec::new());
    for (index, arg) in draft.iter().enumerate() {
        let place = place.index(index);
        if arg.contains('\0') {
            report.found(origin.document, &place, "a NUL character", "an argument without one");
        }
        if has_placeholder(&place, origin) {
            secrets.push(arg.clone().into());
            // `--key=${KEY}`: the key alone is the secret.
            secrets.extend(arg.split_once('=').map(|(_, value)| value.to_owned().into()));
        }
        args.push(arg.clone().into());
    }
    (args, secrets)
}

fn has_placeholder(place: &Place, origin: &Origin<'_>) -> bool {
    let raw = origin.document.original(place).resolve(origin.document.raw());
    raw.and_then(|raw| raw.as_str()).is_some_and(|raw| raw.contains("${") || raw.starts_with("os.environ/"))
}

fn environment(
    draft: &BTreeMap<String, SecretString>,
    origin: &Origin<'_>,
    report: &mut Report,
) -> BTreeMap<String, SecretString> {
    let place = origin.place.key("env");
    let mut environment = BTreeMap::new();
    for (name, value) in draft {
        let place = place.key(name);
        if name.is_empty() || name.contains(['=', '\0']) {
            report.found(origin.document, &place, "a name that no variable has", "the name of a variable");
        } else if value.expose_secret().contains('\0') {
            report.found(origin.document, &place, "a value with a NUL character", "one without");
        } else if origin.document.is_emptied(&place) && value.expose_secret().is_empty() {
            report.notice(origin.document, &place, "its optional placeholder is empty, so it is not set");
        } else {
            environment.insert(name.clone(), value.clone());
        }
    }
    environment
}
