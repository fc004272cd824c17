//! Which room may name which crate: what the world outside looks like is one room's business.

use crate::house::{Violation, source::Source};

/// Each crate of `[dependencies]`, and the rooms or files below `src/` that name it.
pub(super) const OWNERS: &[(&str, &[&str])] = &[
    ("anyhow", &["gateway", "cli"]),
    ("arc_swap", &["catalog/hint.rs", "relay", "upstream"]),
    ("axum", &["front"]),
    ("base64", &["protocol/headers.rs", "catalog/page.rs", "upstream/open.rs", "config/litellm_server.rs"]),
    ("bytes", &["wire", "protocol", "upstream", "front"]),
    ("clap", &["cli", "main.rs"]),
    ("dashmap", &["catalog/views.rs", "session/table.rs", "upstream/affinity.rs"]),
    ("futures_util", &["upstream", "relay", "front", "gateway"]),
    ("globset", &["protocol/pattern.rs", "catalog/merge.rs", "policy/grant.rs", "config/keys.rs"]),
    (
        "http",
        &["wire/error.rs", "protocol/headers.rs", "protocol/stateless.rs", "upstream", "config/alias.rs"],
    ),
    ("http_body", &["front/door.rs"]),
    ("http_body_util", &["front/door.rs"]),
    ("hyper", &["gateway/accept.rs"]),
    ("hyper_util", &["gateway/accept.rs"]),
    ("jsonschema", &["relay/schema.rs", "relay/violation.rs", "config/shape.rs"]),
    ("memchr", &["wire", "protocol/links.rs", "upstream/process.rs", "upstream/stderr.rs"]),
    ("mimalloc", &["main.rs"]),
    ("reqwest", &["upstream", "cli/remote.rs"]),
    ("rmcp", &["protocol", "catalog/listing.rs"]),
    ("rustix", &["upstream/keeper.rs", "upstream/process.rs"]),
    ("rustls", &[]),
    ("schemars", &["config"]),
    ("secrecy", &["protocol/seal.rs", "policy", "upstream", "config", "cli/address.rs", "cli/stdio.rs"]),
    ("serde", EVERYBODY),
    ("serde_json", EVERYBODY),
    ("sha2", &["protocol/digest.rs", "catalog/name.rs", "policy/identity.rs"]),
    ("subtle", &["policy/identity.rs"]),
    ("thiserror", EVERYBODY),
    (
        "tokio",
        &[
            "protocol",
            "catalog/hint.rs",
            "catalog/view.rs",
            "session",
            "upstream",
            "relay",
            "front",
            "gateway",
            "cli/remote.rs",
        ],
    ),
    ("tokio_util", &["protocol", "session", "upstream", "relay", "front", "gateway"]),
    ("tower", &[]),
    ("tower_http", &["front/guard.rs"]),
    ("tracing", EVERYBODY),
    ("tracing_subscriber", &["telemetry/logs.rs", "config/checked.rs"]),
    ("url", &["upstream", "front", "config", "cli"]),
    ("uuid", &["config/bridge.rs", "protocol/seal.rs", "session/parked.rs", "session/table.rs", "upstream"]),
    ("yaml_serde", &["config/document.rs"]),
];

/// Plain vocabulary, which any room may speak.
const EVERYBODY: &[&str] = &["*"];

const TABLE: &str = "conformance-tests/house/owners.rs";

/// The names of `[dependencies]`, as code writes them, and their lines.
pub(super) fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut is_inside = false;
    let mut found = Vec::new();
    for (line, text) in (1..).zip(manifest.lines()) {
        if text.starts_with('[') {
            is_inside = text.trim() == "[dependencies]";
        } else if let Some((name, _)) =
            text.split_once('=').filter(|_| is_inside && !text.starts_with(['#', ' ']))
        {
            found.push((line, name.trim().replace('-', "_")));
        }
    }
    found
}

/// Crates without an entry, and entries without a crate.
pub(super) fn check_manifest(manifest: &str) -> Vec<Violation> {
    let dependencies = dependencies(manifest);
    let unowned = dependencies.iter().filter(|(_, name)| places(name).is_none()).map(|(line, name)| {
        Violation::new("Cargo.toml", *line, format!("nobody owns `{name}`: say in {TABLE} who may name it"))
    });
    let is_gone = |name: &str| !dependencies.iter().any(|(_, known)| known == name);
    let gone = OWNERS.iter().filter(|(name, _)| is_gone(name)).map(|(name, _)| {
        Violation::new(TABLE, 1, format!("`{name}` is no dependency any more: take it out of the table"))
    });
    unowned.chain(gone).collect()
}

/// Every crate that a file names although it is another's.
pub(super) fn check(source: &Source) -> Vec<Violation> {
    let Some(place) = source.place() else { return Vec::new() };
    let foreign = crates(source).into_iter().filter_map(|(name, at)| {
        let owners = places(name)?;
        if owners.iter().any(|owner| owns(owner, place)) {
            return None;
        }
        let owners = if owners.is_empty() { "nobody".into() } else { owners.join(", ") };
        let text = format!(
            "`{name}` belongs to {owners}: ask that room for what you need, or decide otherwise in {TABLE}"
        );
        Some(Violation::at(source, at, text))
    });
    foreign.collect()
}

/// Owners that do not name their crate any more.
pub(super) fn check_table(sources: &[Source]) -> Vec<Violation> {
    let uses = |source: &Source| Some((source.place()?.to_owned(), crates(source)));
    let uses: Vec<_> = sources.iter().filter_map(uses).collect();
    let mut violations = Vec::new();
    for (name, owners) in OWNERS.iter().filter(|(_, owners)| *owners != EVERYBODY) {
        let is_used = |owner: &str| {
            let names = |crates: &[(&str, usize)]| crates.iter().any(|(used, _)| used == name);
            uses.iter().any(|(place, crates)| owns(owner, place) && names(crates))
        };
        for owner in owners.iter().filter(|owner| !is_used(owner)) {
            let text = format!("`{owner}` does not name `{name}` any more: take it out of the table");
            violations.push(Violation::new(TABLE, 1, text));
        }
    }
    violations
}

fn places(name: &str) -> Option<&'static [&'static str]> {
    OWNERS.iter().find(|(known, _)| *known == name).map(|(_, places)| *places)
}

fn owns(owner: &str, place: &str) -> bool {
    let rest = place.strip_prefix(owner);
    owner == "*" || rest.is_some_and(|rest| rest.is_empty() || rest == ".rs" || rest.starts_with('/'))
}

/// The crates of the table that a file names, each where it does so first.
fn crates(source: &Source) -> Vec<(&'static str, usize)> {
    let mut named = source.named();
    // A test may use what it likes; it is no part of the program.
    named.retain(|named| !source.is_test(named.at));
    let mut found = Vec::new();
    for (name, _) in OWNERS {
        // A module of the same name, declared or imported here, is what a path in the code means.
        let is_module = [";", " {"].iter().any(|end| source.code.contains(&format!("mod {name}{end}")));
        let is_local = |segments: &[String]| {
            segments.len() > 1 && segments.last().is_some_and(|last| last == name) && segments[0] != *name
        };
        let is_imported = named.iter().any(|named| named.is_use && is_local(&named.segments));
        let begins = |segments: &[String]| segments[0] == *name;
        let first = named
            .iter()
            .filter(|named| begins(&named.segments) && !is_module && (named.is_use || !is_imported))
            .map(|named| named.at)
            .min();
        found.extend(first.map(|at| (*name, at)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{check, check_manifest, check_table, dependencies};
    use crate::house::source::Source;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn a_crate_is_named_by_its_owner_only() {
        let text = "use serde::Serialize;\nuse reqwest::Client;\n";
        assert_eq!(lines("src/upstream/http.rs", text), [0; 0]);
        assert_eq!(lines("src/relay/call.rs", text), [2]);
        assert_eq!(lines("src/relay/call.rs", "fn f() {\n    hyper::serve()\n}"), [2]);
        assert_eq!(lines("src/gateway/accept.rs", "use hyper::serve;"), [0; 0]);
        assert_eq!(lines("src/gateway/threads.rs", "use hyper::serve;"), [1]);
    }

    #[test]
    fn a_module_of_the_same_name_is_no_crate() {
        let text = "mod http;\nuse crate::relay::{http::Link};\nfn f() { http::open() }";
        assert_eq!(lines("src/relay/mod.rs", text), [0; 0]);
        assert_eq!(lines("src/relay/call.rs", "use crate::relay::http;\nfn f() { http::open() }"), [0; 0]);
    }

    #[test]
    fn tables_and_manifest_agree() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\n# Why.\nnew-one = \"1\"\n[dev-dependencies]\ninsta = \"1\"\n";
        assert_eq!(dependencies(manifest), [(6, "new_one".to_owned())]);
        let violations = check_manifest(manifest);
        assert!(violations[0].text.contains("nobody owns `new_one`"), "{}", violations[0]);
        assert!(violations[1..].iter().all(|violation| violation.text.contains("is no dependency any more")));
        assert!(!check_table(&[]).is_empty());
    }
}
