//! The rules of the house, which the compiler does not know: layers, owners of crates, size and manners of files.
//!
//! Each finding names file and line and says what to do. `docs/STYLE.md` and `docs/ARCHITECTURE.md` say why.

mod layers;
mod manners;
mod map;
mod owners;
mod private;
mod source;

use crate::house::source::Source;
use std::{
    collections::BTreeSet,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Something that is not as the house wants it.
#[derive(Clone, Debug)]
struct Violation {
    file: String,
    line: usize,
    /// What it is and what to do about it.
    text: String,
}

// === impl Violation ===

impl Violation {
    fn new(file: &str, line: usize, text: String) -> Self {
        Self { file: file.into(), line, text }
    }

    fn at(source: &Source, offset: usize, text: String) -> Self {
        Self::new(&source.path, source.line(offset), text)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.text)
    }
}

#[track_caller]
fn expect_none(violations: impl IntoIterator<Item = Violation>) {
    // Sorted, and the same finding of one line only once.
    let found: BTreeSet<_> =
        violations.into_iter().map(|found| (found.file.clone(), found.line, found.text)).collect();
    let lines: Vec<_> = found.iter().map(|(file, line, text)| format!("{file}:{line}: {text}")).collect();
    assert!(lines.is_empty(), "{} against the rules of the house:\n{}\n", lines.len(), lines.join("\n"));
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(package().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All Rust files of the package.
fn sources() -> Vec<Source> {
    let mut folders: Vec<PathBuf> = ["src", "conformance-tests"].map(|name| package().join(name)).into();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries {
            let path = entry.expect("an entry of a folder").path();
            // A fuzz target's build is no source.
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let relative =
        |path: &Path| path.strip_prefix(package()).expect("below the package").display().to_string();
    let paths: Vec<_> = files.iter().map(|path| relative(path).replace('\\', "/")).collect();
    assert!(paths.iter().any(|path| path == "src/lib.rs"), "the sources were not found");
    paths.iter().map(|path| Source::new(path, &read(path))).collect()
}

#[test]
fn rooms_import_only_rooms_below() {
    let sources = sources();
    expect_none(sources.iter().flat_map(layers::check));
    let rooms: BTreeSet<_> = sources.iter().filter_map(Source::room).collect();
    let missing = layers::LEVELS.iter().flat_map(|(_, rooms)| *rooms).find(|room| !rooms.contains(*room));
    assert_eq!(
        missing, None,
        "a room of conformance-tests/house/layers.rs is gone: take it out of the table"
    );
}

#[test]
fn crates_are_named_by_their_owners() {
    let sources = sources();
    let foreign = sources.iter().flat_map(owners::check);
    expect_none(
        foreign.chain(owners::check_manifest(&read("Cargo.toml"))).chain(owners::check_table(&sources)),
    );
}

#[test]
fn files_keep_their_manners() {
    expect_none(sources().iter().flat_map(manners::check));
}

#[test]
fn nothing_in_git_is_about_one_machine() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(package()).output();
    let listed = listed.expect("git lists the files");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).expect("paths are text");
    let texts = paths.split_terminator('\0').filter_map(|path| {
        // Files that are being moved, and those that are no text, have nothing to say.
        Some((path, fs::read_to_string(package().join(path)).ok()?))
    });
    expect_none(texts.flat_map(|(path, text)| private::check(path, &text)));
}

#[test]
fn the_map_shows_the_rooms_as_they_are() {
    let (document, table) = (read(map::FILE), map::table(&sources()));
    if env::var_os("UPDATE_DOCS").is_some() {
        let document = map::with_table(&document, &table).unwrap_or_else(|missing| panic!("{missing}"));
        fs::write(package().join(map::FILE), document).expect("the map can be written");
        return;
    }
    expect_none(map::check(&document, &table));
}
