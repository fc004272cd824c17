//! From files and environment to the rooms' settings.
//!
//! A file becomes a `Draft` (what may be written), and drafts become one [`Config`] (what the program means).
//! A LiteLLM file becomes the same `Draft`.
//!
//! **Invariant:** a gateway never sees a file that did not check completely.

mod alias;
mod bridge;
mod checked;
mod command;
mod document;
mod draft;
mod finding;
mod folder;
mod keys;
mod lines;
mod listen;
mod litellm;
mod litellm_keys;
mod litellm_server;
mod place;
mod quantity;
mod secret;
mod shape;
mod text;

pub use alias::AliasConfig;
pub use bridge::{Remote, bridge};
pub use checked::{Config, Overrides};
pub use finding::{Finding, Findings};
pub use listen::is_loopback;
pub use secret::Environment;

use crate::{
    catalog::settings::NameRules,
    config::{
        checked::Material,
        document::Document,
        draft::{AliasDraft, Draft},
        finding::Report,
        folder::IsAskedFor,
        place::Place,
    },
};
use std::path::{Path, PathBuf};

/// The main file that is read if none is named.
pub const MAIN_FILE: &str = "trunkline.yaml";
/// The folder of aliases, beside the main file.
const ALIASES: &str = "aliases";

/// Reads the configuration: the file that is named, else `./trunkline.yaml` if there is one, else defaults.
pub fn load(
    path: Option<&Path>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, Findings> {
    load_from(Path::new(""), path, overrides, environment)
}

/// As [`load`], but what it looks for unasked is looked for in another folder than the working directory.
pub fn load_from(
    home: &Path,
    path: Option<&Path>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<Config, Findings> {
    let mut report = Report::default();
    let file =
        path.map(Path::to_path_buf).or_else(|| Some(home.join(MAIN_FILE)).filter(|path| path.is_file()));
    let (mut document, is_readable) = match &file {
        Some(file) => main_document(file, environment, &mut report),
        None => (Document::silent(MAIN_FILE), true),
    };
    let is_litellm = litellm::recognises(document.raw());
    let draft = match (is_readable, is_litellm) {
        (false, _) => Draft::default(),
        (true, true) => litellm::import(&mut document, &mut report),
        (true, false) => shape::read(&document, &mut report),
    };
    let base = file.as_deref().map_or_else(|| home.to_path_buf(), alias::folder_of);
    let folder = alias_folder(&draft, is_litellm, &base, &document, &mut report);
    let asked = if draft.aliases.is_some() { IsAskedFor::In(&document) } else { IsAskedFor::No };
    let files = folder.as_deref().map(|folder| folder::read(folder, asked, environment, &mut report));
    let material = Material {
        document: &document,
        draft,
        folder: &base,
        is_litellm,
        is_readable,
        files: files.unwrap_or_default(),
    };
    let mut config = checked::check(material, overrides, environment, &mut report);
    if !report.findings.is_empty() {
        in_reading_order(&mut report.findings);
        return Err(report.into_findings());
    }
    if config.aliases.is_empty() {
        let place =
            folder.as_deref().map_or_else(|| "mcp_servers".into(), |folder| folder.display().to_string());
        let text = format!("no upstream is configured: write {place}/<alias>.yaml, or run `trunkline add`");
        report.remark(text);
    }
    config.notices = report.into_findings().notices;
    config.file = file;
    config.folder = folder;
    Ok(config)
}

/// Checks the text of one alias file before it is written; its name is the alias.
pub fn check_alias(
    path: &Path,
    text: &str,
    names: &NameRules,
    environment: &Environment,
) -> Result<AliasConfig, Findings> {
    let mut report = Report::default();
    let alias = folder::parse(path, text, environment, &mut report)
        .and_then(|file| checked::one_alias(file, names, &mut report));
    match alias {
        Some(alias) if report.findings.is_empty() => Ok(alias),
        _ => Err(report.into_findings()),
    }
}

/// The JSON Schemas of the two files, by the name that they have in `schemas/`.
pub fn schemas() -> [(&'static str, serde_json::Value); 2] {
    [("config.json", shape::schema::<Draft>()), ("alias.json", shape::schema::<AliasDraft>())]
}

/// File by file in the order of the first mistakes, and line by line.
fn in_reading_order(findings: &mut [Finding]) {
    let mut files: Vec<String> = Vec::new();
    for finding in findings.iter() {
        if !files.contains(&finding.file) {
            files.push(finding.file.clone());
        }
    }
    findings.sort_by_key(|finding| (files.iter().position(|file| *file == finding.file), finding.line));
}

/// The main file, and whether it could be read at all.
fn main_document(path: &Path, environment: &Environment, report: &mut Report) -> (Document, bool) {
    let name = path.display().to_string();
    let text = match text::read(path) {
        Ok(text) => text,
        Err(error) => {
            let found = format!("a file that cannot be read ({error})");
            report.outside(listen::outside(&name, "(the whole file)", found, "YAML in UTF-8"));
            return (Document::silent(&name), false);
        }
    };
    match Document::read(&name, &text, environment, report) {
        Some(document) => (document, true),
        None => (Document::silent(&name), false),
    }
}

/// The folder of aliases to read. A LiteLLM file is complete in itself, unless it names no server at all.
fn alias_folder(
    draft: &Draft,
    is_litellm: bool,
    base: &Path,
    document: &Document,
    report: &mut Report,
) -> Option<PathBuf> {
    let folder = base.join(draft.aliases.as_deref().unwrap_or(ALIASES));
    if !is_litellm {
        return Some(folder);
    }
    let servers = Place::root().key("mcp_servers");
    match (folder.is_dir(), draft.upstreams.is_empty()) {
        (false, _) => None,
        (true, true) => {
            let text = format!("there are none, so the aliases are those in {}", folder.display());
            report.notice(document, &servers, text);
            Some(folder)
        }
        (true, false) => {
            let text =
                format!("the aliases are these; {} is not read beside LiteLLM's file", folder.display());
            report.notice(document, &servers, text);
            None
        }
    }
}
