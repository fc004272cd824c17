//! LiteLLM's `mcp_servers` and `mcp_aliases` as drafts of aliases.

use crate::config::{
    draft::{AliasDraft, BasicDraft, TransportDraft},
    keys,
    litellm::Import,
    litellm_keys::{SERVER, UNKNOWN, said},
    place::Place,
    quantity::Time,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, time::Duration};

/// The keys of a server that are used.
pub(crate) const SERVED: &[&str] = &[
    "url",
    "transport",
    "description",
    "alias",
    "auth_type",
    "auth_value",
    "authentication_token",
    "static_headers",
    "allowed_tools",
    "disallowed_tools",
    "timeout",
    "command",
    "args",
    "env",
    "spec_path",
];

/// Imports every server under its alias.
pub(crate) fn import(import: &mut Import<'_>) {
    let section = Place::root().key("mcp_servers");
    let servers = import.map(&section);
    let aliases = aliases(import, &servers);
    for (name, server) in &servers {
        let place = section.key(name);
        if !server.is_object() {
            import.report.wrong(import.document, &place, "a map");
            continue;
        }
        let own = import.text(&place.key("alias"));
        let called =
            own.or_else(|| aliases.get(name).cloned()).unwrap_or_else(|| legal(import, &place, name));
        let at = Place::root().key("upstreams").key(&called);
        if import.draft.upstreams.contains_key(&called) {
            let found = format!("the alias `{called}`, which another server has already");
            import.report.found(import.document, &place, found, "an alias of its own");
            continue;
        }
        if let Some(draft) = self::server(import, &place, name, &called) {
            import.document.rename(at.clone(), place.clone());
            import.document.rename(at.key("headers"), place.key("static_headers"));
            import.document.rename(at.key("auth"), place.key("auth_value"));
            import.document.rename(at.key("auth").key("bearer"), place.key("auth_value"));
            import.document.rename(at.key("tools").key("allow"), place.key("allowed_tools"));
            import.document.rename(at.key("tools").key("deny"), place.key("disallowed_tools"));
            import.draft.upstreams.insert(called, draft);
        }
    }
}

/// Server to alias; the first alias of a server counts.
fn aliases(import: &mut Import<'_>, servers: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut aliases: BTreeMap<String, String> = BTreeMap::new();
    for section in
        [Place::root().key("litellm_settings").key("mcp_aliases"), Place::root().key("mcp_aliases")]
    {
        for alias in import.map(&section).keys() {
            let place = section.key(alias);
            let Some(server) = import.text(&place) else { continue };
            if !servers.contains_key(&server) {
                import.note(&place, format!("there is no server `{server}` in mcp_servers"));
            } else if let Some(first) = aliases.get(&server).cloned() {
                import.note(
                    &place,
                    format!("not used: `{server}` is called `{first}` already, and the first counts"),
                );
            } else {
                aliases.insert(server, alias.clone());
            }
        }
    }
    aliases
}

/// The name of a server as an alias.
fn legal(import: &mut Import<'_>, place: &Place, name: &str) -> String {
    let called: String =
        name.chars().map(|symbol| if symbol.is_ascii_alphanumeric() { symbol } else { '_' }).collect();
    if called != name {
        import.note(
            place,
            format!("called `{called}` here: model APIs and URLs take no other characters in an alias"),
        );
    }
    called
}

/// One server; `None` if it is one that this version does not serve.
fn server(import: &mut Import<'_>, place: &Place, name: &str, alias: &str) -> Option<AliasDraft> {
    let map = import.map(place);
    let transport = import.text(&place.key("transport")).map(|text| text.to_ascii_lowercase());
    if map.contains_key("spec_path") {
        import.note(
            place,
            format!("`{name}` is NOT served: this version makes no tools of OpenAPI descriptions"),
        );
        return None;
    }
    let mut draft = AliasDraft::default();
    let is_process = match transport.as_deref() {
        Some(transport) => transport == "stdio",
        None => map.contains_key("command") && !map.contains_key("url"),
    };
    if is_process {
        process(import, place, &mut draft);
    } else {
        draft.url = import.text(&place.key("url"));
        for name in ["command", "args", "env"].into_iter().filter(|name| map.contains_key(*name)) {
            import.note(&place.key(name), "not used, since the server is reached by its url");
        }
    }
    draft.transport = match transport.as_deref() {
        None => None,
        Some("stdio") => Some(TransportDraft::Stdio),
        Some("sse") => Some(TransportDraft::Sse),
        Some("http" | "streamable_http" | "streamable-http" | "streamablehttp") => Some(TransportDraft::Http),
        Some(_) => {
            import.report.wrong(import.document, &place.key("transport"), "one of sse, http, stdio");
            None
        }
    };
    draft.description = import.text(&place.key("description"));
    if !is_process {
        headers(import, place, &mut draft);
        credential(import, place, &mut draft);
    }
    draft.timeouts.call =
        import.number(&place.key("timeout")).map(|seconds| Time(Duration::from_secs_f64(seconds)));
    tools(import, place, &[alias, name], &mut draft);
    for name in map.keys().filter(|name| !SERVED.contains(&name.as_str())) {
        import.note(&place.key(name), said(SERVER, name).unwrap_or(UNKNOWN));
    }
    Some(draft)
}

/// A server that is a process.
fn process(import: &mut Import<'_>, place: &Place, draft: &mut AliasDraft) {
    draft.command = import.text(&place.key("command"));
    draft.args = import.texts(&place.key("args")).unwrap_or_default();
    let at = place.key("env");
    for variable in import.map(&at).keys() {
        if let Some(value) = import.text(&at.key(variable)) {
            draft.env.insert(variable.clone(), value.into());
        }
    }
    for name in ["url", "static_headers", "auth_type", "auth_value", "authentication_token"] {
        if place.key(name).resolve(import.document.value()).is_some() {
            import.note(&place.key(name), "not used, since the server is a process");
        }
    }
}

fn headers(import: &mut Import<'_>, place: &Place, draft: &mut AliasDraft) {
    let at = place.key("static_headers");
    for header in import.map(&at).keys() {
        if let Some(value) = import.text(&at.key(header)) {
            draft.headers.insert(header.clone(), value.into());
        }
    }
}

/// LiteLLM's ways to be let in at an upstream.
fn credential(import: &mut Import<'_>, place: &Place, draft: &mut AliasDraft) {
    let kind = import.text(&place.key("auth_type")).unwrap_or_else(|| "none".into());
    let mut at = place.key("auth_value");
    let mut value = import.text(&at);
    if value.is_none() {
        at = place.key("authentication_token");
        value = import.text(&at);
    }
    let Some(value) = value.map(SecretString::from) else {
        if matches!(kind.as_str(), "api_key" | "bearer_token" | "basic" | "authorization" | "token") {
            let found = format!("`{kind}` without auth_value");
            import.report.found(import.document, &place.key("auth_type"), found, "auth_value beside it");
        } else if kind != "none" {
            import.note(&place.key("auth_type"), unserved(&kind));
        }
        return;
    };
    let text = value.expose_secret();
    if text.is_empty() {
        if import.document.is_emptied(&at) {
            import.note(&at, "its optional placeholder is empty, so there is none");
        } else {
            import.report.wrong(import.document, &at, "a secret that is not empty");
        }
        return;
    }
    match kind.as_str() {
        "bearer_token" => draft.auth.bearer = Some(value),
        "api_key" => put(draft, "X-API-Key", value),
        "authorization" => put(draft, "Authorization", value),
        "token" => put(draft, "Authorization", format!("token {text}").into()),
        // LiteLLM encodes what it is given, colon or not.
        "basic" => match text.split_once(':') {
            Some((username, password)) if !username.is_empty() && !password.is_empty() => {
                draft.auth.basic =
                    Some(BasicDraft { username: Some(username.into()), password: Some(password.into()) });
            }
            _ => put(draft, "Authorization", format!("Basic {}", STANDARD.encode(text)).into()),
        },
        "none" => import.note(&at, "not sent, since there is no auth_type"),
        _ => import.note(&place.key("auth_type"), unserved(&kind)),
    }
}

fn put(draft: &mut AliasDraft, header: &str, value: SecretString) {
    draft.headers.insert(header.into(), value);
}

fn unserved(kind: &str) -> String {
    format!("`{kind}` is not served by this version: the upstream is asked without it")
}

/// LiteLLM's lists are of names, with or without the server's prefix; ours are of globs over bare names.
fn tools(import: &mut Import<'_>, place: &Place, prefixes: &[&str], draft: &mut AliasDraft) {
    let allowed = import.texts(&place.key("allowed_tools")).unwrap_or_default();
    let denied = import.texts(&place.key("disallowed_tools")).unwrap_or_default();
    let globs = |names: Vec<String>| {
        names
            .into_iter()
            .flat_map(|name| {
                let bare = prefixes
                    .iter()
                    .find_map(|prefix| name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')))
                    .map(keys::literal);
                std::iter::once(keys::literal(&name)).chain(bare)
            })
            .collect()
    };
    match (allowed.is_empty(), denied.is_empty()) {
        // As in LiteLLM, an empty list of allowed tools allows all of them.
        (true, _) => draft.tools.deny = globs(denied),
        (false, true) => draft.tools.allow = Some(globs(allowed)),
        (false, false) => {
            import.note(
                &place.key("disallowed_tools"),
                "not used, since allowed_tools says which tools are shown",
            );
            draft.tools.allow = Some(globs(allowed));
        }
    }
}
