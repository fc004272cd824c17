//! The folder of aliases: one file is one alias and its upstream.

use crate::config::{
    document::Document, draft::AliasDraft, finding::Report, listen::outside, place::Place,
    secret::Environment, shape, text,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// One alias file.
pub(crate) struct AliasFile {
    /// The file's name without its ending: the alias.
    pub(crate) stem: String,
    /// What it says.
    pub(crate) draft: AliasDraft,
    /// The file.
    pub(crate) document: Document,
}

/// Reads the alias files of a folder, in the order of their names. `is_asked_for`: somebody named the folder.
pub(crate) fn read(
    folder: &Path,
    is_asked_for: IsAskedFor<'_>,
    environment: &Environment,
    report: &mut Report,
) -> Vec<AliasFile> {
    let mut paths = match entries(folder) {
        Ok(paths) => paths,
        Err(error) => {
            if let IsAskedFor::In(document) = is_asked_for {
                let found = format!("{}, which cannot be read ({error})", folder.display());
                report.found(document, &Place::root().key("aliases"), found, "a folder");
            } else if error.kind() != io::ErrorKind::NotFound {
                let found = format!("a folder that cannot be read ({error})");
                report.outside(outside(&folder.display().to_string(), "aliases", found, "a folder"));
            }
            return Vec::new();
        }
    };
    paths.sort();
    paths.iter().filter_map(|path| alias_file(path, environment, report)).collect()
}

/// Whether a folder that is missing is a mistake.
#[derive(Clone, Copy)]
pub(crate) enum IsAskedFor<'load> {
    /// It is the default: it may be missing.
    No,
    /// This file names it.
    In(&'load Document),
}

fn entries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn alias_file(path: &Path, environment: &Environment, report: &mut Report) -> Option<AliasFile> {
    let shown = path.display().to_string();
    let name = path.file_name()?.to_string_lossy();
    // Hidden files and what editors leave behind.
    if name.starts_with(['.', '#']) || name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".bak")
    {
        return None;
    }
    let is_alias = name.ends_with(".yaml") || name.ends_with(".yml");
    if !is_alias || !path.is_file() {
        report.remark(format!("{shown}: not read; an alias is a file such as `db.yaml`"));
        return None;
    }
    match text::read(path) {
        Ok(text) => parse(path, &text, environment, report),
        Err(error) => {
            let found = format!("a file that cannot be read ({error})");
            report.outside(outside(&shown, "(the whole file)", found, "YAML in UTF-8"));
            None
        }
    }
}

/// Reads the text of an alias file.
pub(crate) fn parse(
    path: &Path,
    text: &str,
    environment: &Environment,
    report: &mut Report,
) -> Option<AliasFile> {
    let document = Document::read(&path.display().to_string(), text, environment, report)?;
    let draft = shape::read(&document, report);
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    Some(AliasFile { stem, draft, document })
}
