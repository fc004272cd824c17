//! One alias and its upstream: what its file says, checked.

use crate::{
    catalog::{name::Alias, settings::Show},
    config::{
        command,
        document::Document,
        draft::{
            AliasDraft, AliasTimeoutsDraft, ArgumentsDraft, AuthDraft, EraDraft, ResultsDraft, SessionDraft,
            TimeoutsDraft, ToolsDraft, TransportDraft, ValidationDraft, ValidationMapDraft,
        },
        finding::Report,
        keys,
        place::Place,
    },
    relay::settings::{Arguments, Results, Validation},
    upstream::settings::{Credential, Era, SessionMode, Settings, Target, Timeouts, Transport},
};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use secrecy::{ExposeSecret as _, SecretString};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use url::Url;

/// One alias: its upstream and how it is shown.
#[derive(Clone, Debug)]
pub struct AliasConfig {
    /// The short public name.
    pub alias: Alias,
    /// How the upstream is reached.
    pub upstream: Settings,
    /// How it is shown.
    pub show: Show,
    /// What of its calls is checked.
    pub validation: Validation,
}

/// Headers that the gateway writes itself.
const OWN_HEADERS: &[&str] = &[
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where an alias stands, and what it may lean on.
pub(crate) struct Origin<'load> {
    /// The file that it stands in.
    pub(crate) document: &'load Document,
    /// Where in the file.
    pub(crate) place: Place,
    /// The folder that relative paths start from.
    pub(crate) folder: PathBuf,
    /// What holds where the alias says nothing.
    pub(crate) timeouts: Timeouts,
}

/// Checks one alias. `None` if its upstream has no usable address; everything is reported either way.
pub(crate) fn check(
    alias: Alias,
    draft: AliasDraft,
    origin: &Origin<'_>,
    report: &mut Report,
) -> Option<AliasConfig> {
    let target = command::target(&alias, &draft, origin, report);
    let headers = headers(&draft.headers, origin, report);
    let credential = credential(draft.auth, &headers, origin, report);
    let mut show = show(draft.description, draft.tools, origin, report);
    show.prefix = draft.prefix.unwrap_or(show.prefix);
    let validation = validation(draft.validation);
    let mut upstream = match target? {
        Target::Http(url) => Settings::new(url),
        Target::Stdio(command) => Settings::stdio(command),
    };
    let first = upstream.timeouts.connect;
    upstream.headers = headers;
    upstream.credential = credential;
    upstream.timeouts = timeouts(&draft.timeouts, &origin.timeouts);
    if draft.timeouts.connect.is_none() && origin.timeouts.connect == Timeouts::default().connect {
        upstream.timeouts.connect = first;
    }
    upstream.max_message = draft.max_message.map_or(Settings::MAX_MESSAGE, |size| size.0);
    upstream.max_sessions = draft.max_sessions.map_or(upstream.max_sessions, |count| count.0);
    upstream.transport = match draft.transport {
        None | Some(TransportDraft::Auto) => upstream.transport,
        Some(TransportDraft::Sse) => Transport::Sse,
        Some(TransportDraft::Http) => Transport::Http,
        Some(TransportDraft::Stdio) => Transport::Stdio,
    };
    upstream.era = match draft.era {
        None | Some(EraDraft::Auto) => Era::Auto,
        Some(EraDraft::Handshake) => Era::Handshake,
        Some(EraDraft::Stateless) => Era::Stateless,
    };
    if upstream.era == Era::Stateless && upstream.transport == Transport::Sse {
        report
            .found(
                origin.document,
                &origin.place.key("era"),
                "`stateless` over `sse`",
                "`auto` or `handshake`",
            )
            .hint("HTTP+SSE ended before the stateless era began; leave `transport` out to speak that");
    }
    upstream.session = match draft.session {
        None | Some(SessionDraft::Auto) => SessionMode::Auto,
        Some(SessionDraft::Shared) => SessionMode::Shared,
        Some(SessionDraft::Client) => SessionMode::Client,
        Some(SessionDraft::Key) => SessionMode::Key,
    };
    Some(AliasConfig { alias, upstream, show, validation })
}

/// The defaults of every upstream, as the main file has them.
pub(crate) fn defaults(draft: &TimeoutsDraft) -> Timeouts {
    let own = AliasTimeoutsDraft {
        connect: draft.connect,
        list: draft.list,
        call: draft.call,
        idle: draft.idle,
        ping: draft.ping,
        refresh: draft.refresh,
    };
    timeouts(&own, &Timeouts::default())
}

fn timeouts(draft: &AliasTimeoutsDraft, defaults: &Timeouts) -> Timeouts {
    Timeouts {
        connect: draft.connect.map_or(defaults.connect, |time| time.0),
        list: draft.list.map_or(defaults.list, |time| time.0),
        call: draft.call.map_or(defaults.call, |time| time.0),
        idle: draft.idle.map_or(defaults.idle, |time| time.0),
        ping: draft.ping.map_or(defaults.ping, |time| time.0),
        refresh: draft.refresh.map_or(defaults.refresh, |time| time.0),
    }
}

pub(crate) fn address(text: &str, origin: &Origin<'_>, report: &mut Report) -> Option<Url> {
    let place = origin.place.key("url");
    let expected = "an address such as `http://host:8000/mcp`";
    let Some(mut url) = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https")) else {
        let finding = report.wrong(origin.document, &place, expected);
        if !text.contains("://") {
            finding.hint("it begins with `http://` or `https://`");
        }
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        report
            .found(origin.document, &place, "an address with a user in it", expected)
            .hint("write `auth: {basic: {username: …, password: …}}` in place of it");
        return None;
    }
    url.set_fragment(None);
    Some(url)
}

fn headers(draft: &BTreeMap<String, SecretString>, origin: &Origin<'_>, report: &mut Report) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in draft {
        let place = origin.place.key("headers").key(name);
        if origin.document.is_emptied(&place) {
            report.notice(origin.document, &place, "its optional placeholder is empty, so it is not sent");
            continue;
        }
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            report.found(origin.document, &place, format!("`{name}`"), "the name of an HTTP header");
            continue;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            let found = format!("`{name}`, which the gateway writes itself");
            report.found(origin.document, &place, found, "another header");
            continue;
        }
        if value.expose_secret().trim().is_empty() {
            report.wrong(origin.document, &place, "a value that is not empty");
            continue;
        }
        let Ok(mut value) = HeaderValue::from_str(value.expose_secret()) else {
            let found = "a value that HTTP headers cannot have (not shown)";
            report.found(origin.document, &place, found, "visible ASCII characters");
            continue;
        };
        value.set_sensitive(true);
        if headers.insert(header, value).is_some() {
            report.found(origin.document, &place, format!("`{name}` a second time"), "each header once");
        }
    }
    headers
}

fn credential(auth: AuthDraft, headers: &HeaderMap, origin: &Origin<'_>, report: &mut Report) -> Credential {
    let place = origin.place.key("auth");
    let given = [auth.bearer.is_some(), auth.bearer_file.is_some(), auth.basic.is_some()];
    let count = given.iter().filter(|given| **given).count();
    if count > 1 {
        let found = format!("{count} of bearer, bearer_file and basic");
        report.found(origin.document, &place, found, "one of them");
        return Credential::None;
    }
    if count > 0 && headers.contains_key(header::AUTHORIZATION) {
        report.found(origin.document, &place, "auth beside a header `Authorization`", "one of them");
    }
    if let Some(file) = auth.bearer_file {
        let path = origin.folder.join(file);
        if !path.is_file() {
            let text = format!("{} is not there yet; it is read at every connection attempt", path.display());
            report.notice(origin.document, &place.key("bearer_file"), text);
        }
        return Credential::BearerFile(path);
    }
    if let Some(basic) = auth.basic {
        let place = place.key("basic");
        let username = basic.username.unwrap_or_default();
        if username.contains(':') {
            report.found(
                origin.document,
                &place.key("username"),
                "a name with a colon",
                "a name without one",
            );
        } else if username.is_empty() && !origin.document.is_emptied(&place.key("username")) {
            report.wrong(origin.document, &place.key("username"), "a name that is not empty");
        }
        let password = keys::secret(basic.password, origin.document, &place.key("password"), report);
        return match password {
            Some(password) if !username.is_empty() => Credential::Basic { username, password },
            _ => Credential::None,
        };
    }
    keys::token(auth.bearer, origin.document, &place.key("bearer"), report)
        .map_or(Credential::None, Credential::Bearer)
}

fn show(description: Option<String>, tools: ToolsDraft, origin: &Origin<'_>, report: &mut Report) -> Show {
    let place = origin.place.key("tools");
    keys::globs(tools.allow.as_deref().unwrap_or_default(), origin.document, &place.key("allow"), report);
    keys::globs(&tools.deny, origin.document, &place.key("deny"), report);
    let mut shown: BTreeMap<&str, &str> = BTreeMap::new();
    for (native, name) in &tools.rename {
        let place = place.key("rename").key(native);
        if name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        {
            report.wrong(origin.document, &place, "a name of letters, digits, `_` and `-`");
        } else if let Some(other) = shown.insert(name, native) {
            let found = format!("`{name}`, which `{other}` is called already");
            report.found(origin.document, &place, found, "a name of its own");
        }
    }
    Show { description, allow: tools.allow, deny: tools.deny, rename: tools.rename, ..Show::default() }
}

fn validation(draft: Option<ValidationDraft>) -> Validation {
    let draft = match draft {
        None => ValidationMapDraft::default(),
        Some(ValidationDraft::Short(arguments)) => {
            ValidationMapDraft { arguments: Some(arguments), results: None }
        }
        Some(ValidationDraft::Long(draft)) => draft,
    };
    Validation {
        arguments: match draft.arguments {
            None | Some(ArgumentsDraft::Off) => Arguments::Off,
            Some(ArgumentsDraft::Warn) => Arguments::Warn,
            Some(ArgumentsDraft::Enforce) => Arguments::Enforce,
        },
        results: match draft.results {
            None | Some(ResultsDraft::Off) => Results::Off,
            Some(ResultsDraft::Warn) => Results::Warn,
        },
    }
}

/// The folder of a file, from which its relative paths start.
pub(crate) fn folder_of(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}
