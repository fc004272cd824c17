//! How files look: small, introduced, named after something, and without what the style sheet refuses.

use crate::house::{
    Violation,
    source::{Source, words},
};

/// A file has fewer lines than this.
const MOST_LINES: usize = 500;

/// Names of files that say nothing about what is in them.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "types", "util", "utils"];

/// What never stands in code, and what does in its place.
const REFUSED: &[(&str, &str)] = &[
    ("#[ignore", "a test that is not run is no test: make it run, or remove it"),
    (
        "#[allow(",
        "write `#[expect(…, reason = \"…\")]`: the compiler then tells when it is not needed any more",
    ),
    ("#![allow(", "write `#[expect(…, reason = \"…\")]` where it is needed"),
    ("todo!", "do it, or do not begin it"),
    ("unimplemented!", "do it, or do not begin it"),
    ("dbg!", "log what is worth knowing with `tracing`"),
];

/// Everything about one file that is not as the style sheet says.
pub(super) fn check(source: &Source) -> Vec<Violation> {
    [size(source), introduction(source), name(source), refused(source), globs(source), unwraps(source)]
        .concat()
}

fn size(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let text =
        || format!("{lines} lines: cut the file where its subject does (fewer than {MOST_LINES} lines)");
    (lines >= MOST_LINES).then(|| Violation::new(&source.path, lines, text())).into_iter().collect()
}

fn introduction(source: &Source) -> Vec<Violation> {
    if !source.text.starts_with("//! ") {
        let text = "begin the file with `//!` and a sentence on what it is for";
        return vec![Violation::at(source, 0, text.into())];
    }
    if source.is_root() && invariant(source).is_none() {
        let text = "a room's first file says in its `//!` what always holds there: `**Invariant:** …`";
        return vec![Violation::at(source, 0, text.into())];
    }
    Vec::new()
}

fn name(source: &Source) -> Vec<Violation> {
    let file = source.path.rsplit('/').next().unwrap_or_default();
    let stem = file.strip_suffix(".rs").unwrap_or(file);
    let text = || format!("`{stem}` says nothing: name the file after what is in it");
    EMPTY_NAMES.contains(&stem).then(|| Violation::at(source, 0, text())).into_iter().collect()
}

fn refused(source: &Source) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (refused, instead) in REFUSED {
        for (at, _) in source.code.match_indices(refused) {
            // `dbg!` does not stand in `my_dbg!`.
            let is_tail =
                source.code[..at].ends_with(|symbol: char| symbol.is_alphanumeric() || symbol == '_');
            if !is_tail {
                violations.push(Violation::at(source, at, format!("`{refused}`: {instead}")));
            }
        }
    }
    violations
}

fn globs(source: &Source) -> Vec<Violation> {
    let named = source.named();
    let globs = named.iter().filter(|named| named.segments.last().is_some_and(|last| last == "*"));
    globs
        .map(|named| {
            let path = named.segments.join("::");
            Violation::at(
                source,
                named.at,
                format!("`{path}`: name what is used, so that readers can find it"),
            )
        })
        .collect()
}

fn unwraps(source: &Source) -> Vec<Violation> {
    if source.place().is_none() {
        return Vec::new();
    }
    let is_call = |at: usize| {
        source.code[..at].trim_end().ends_with('.') && source.code[at + "unwrap".len()..].starts_with("()")
    };
    let unwraps = words(&source.code).filter(|(at, word)| *word == "unwrap" && is_call(*at));
    unwraps
        .filter(|(at, _)| !source.is_test(*at))
        .map(|(at, _)| {
            let text =
                "`.unwrap()`: return an error, or `let … else`, or `expect` the reason why it cannot fail";
            Violation::at(source, at, text.into())
        })
        .collect()
}

/// The paragraph that begins with `**Invariant:**` in a file's introduction, as one line.
pub(super) fn invariant(source: &Source) -> Option<String> {
    let paragraph =
        introduction_paragraphs(source).into_iter().find(|text| text.starts_with("**Invariant:**"))?;
    Some(paragraph.trim_start_matches("**Invariant:**").trim().to_owned())
}

/// The paragraphs of a file's introduction, each as one line.
pub(super) fn introduction_paragraphs(source: &Source) -> Vec<String> {
    let lines = source.text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let lines: Vec<_> = lines.collect();
    lines.split(|line| line.is_empty()).map(|lines| lines.join(" ")).filter(|text| !text.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{check, invariant};
    use crate::house::source::Source;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        check(&Source::new(path, text)).into_iter().map(|found| (found.line, found.text)).collect()
    }

    #[track_caller]
    fn refuses(path: &str, text: &str, line: usize, words: &str) {
        let found = found(path, text);
        assert!(found.len() == 1 && found[0].0 == line && found[0].1.contains(words), "{found:?}");
    }

    #[test]
    fn a_decent_file_is_left_alone() {
        let text = "//! Decent.\n\nuse std::fmt;\n\n// todo! and `.unwrap()` are words here: \"dbg!\"\nfn f() -> u8 {\n    1 * 2\n}\n";
        assert_eq!(found("src/wire/raw.rs", text), []);
    }

    #[test]
    fn size_introduction_and_name() {
        refuses("src/wire/raw.rs", &format!("//! Long.\n{}", "\n".repeat(499)), 500, "500 lines");
        refuses("src/wire/raw.rs", "fn f() {}\n", 1, "begin the file");
        refuses("src/wire/mod.rs", "//! Bytes.\n", 1, "Invariant");
        refuses("src/gateway.rs", "//! Root.\n", 1, "Invariant");
        refuses("conformance-tests/utils.rs", "//! Things.\n", 1, "says nothing");
    }

    #[test]
    fn refused_words() {
        refuses("src/wire/raw.rs", "//! A.\n#[ignore]\nfn f() {}\n", 2, "not run");
        refuses("src/wire/raw.rs", "//! A.\n\n#[allow(dead_code)]\nfn f() {}\n", 3, "expect");
        refuses("src/wire/raw.rs", "//! A.\nfn f() {\n    todo!()\n}\n", 3, "do it");
        refuses("src/wire/raw.rs", "//! A.\nuse super::{a, b::*};\n", 2, "`super::b::*`");
        refuses("src/wire/raw.rs", "//! A.\nfn f() {\n    x\n        .unwrap();\n}\n", 4, "unwrap");
        assert_eq!(found("src/wire/raw.rs", "//! A.\n#[cfg(test)]\nmod t { fn f() { x.unwrap() } }\n"), []);
        assert_eq!(found("conformance-tests/a.rs", "//! A.\nfn f() { x.unwrap() }\n"), []);
    }

    #[test]
    fn an_invariant_is_one_paragraph() {
        let text = "//! Bytes.\n//!\n//! **Invariant:** what\n//! holds.\n//!\n//! More.\n";
        assert_eq!(invariant(&Source::new("src/wire/mod.rs", text)).as_deref(), Some("what holds."));
    }
}
