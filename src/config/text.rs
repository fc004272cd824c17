//! Texts from files, within bounds, and texts for people, in one line.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// The largest file of a configuration.
const MOST_BYTES: u64 = 1024 * 1024;
/// The deepest brackets: the parser takes ever longer for deeper ones.
const MOST_BRACKETS: usize = 64;

/// Reads a file; one that is large, and one that never ends, is none.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    // Opening a pipe waits for somebody who writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(|error| {
        // A character that the bound cuts in two is not the mistake.
        if is_too_large(path) { too_large() } else { error }
    })?;
    if text.len() as u64 > MOST_BYTES { Err(too_large()) } else { Ok(text) }
}

fn is_too_large(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.len() > MOST_BYTES)
}

fn too_large() -> io::Error {
    io::Error::other("it is larger than 1 MiB")
}

/// The line where `[` and `{` are nested too deep, counted from 1. Those in quotes and comments do not count.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut line) = (0_usize, 1);
    // What comes last before a character tells whether a quote begins a text there, and `#` a comment.
    let (mut last, mut previous) = (':', '\n');
    let mut symbols = text.chars().peekable();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '\n' => {
                line += 1;
                last = ':';
            }
            '[' | '{' => {
                depth += 1;
                if depth > MOST_BRACKETS {
                    return Some(line);
                }
            }
            ']' | '}' => depth = depth.saturating_sub(1),
            '#' if previous.is_whitespace() => while symbols.next_if(|symbol| *symbol != '\n').is_some() {},
            '\'' | '"' if matches!(last, ':' | '-' | '?' | ',' | '[' | '{') => {
                while let Some(inner) = symbols.next_if(|inner| *inner != symbol) {
                    line += usize::from(inner == '\n');
                    if inner == '\\' && symbol == '"' {
                        line += usize::from(symbols.next() == Some('\n'));
                    }
                }
                // `''` goes on as the same text, since `last` is kept.
                symbols.next();
                previous = symbol;
                continue;
            }
            _ => {}
        }
        if !symbol.is_whitespace() {
            last = symbol;
        }
        previous = symbol;
    }
    None
}

/// A text without line feeds and whatever else would act on a terminal.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for symbol in text.chars() {
        if symbol.is_control() { plain.extend(symbol.escape_default()) } else { plain.push(symbol) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::{plain, read, too_deep};
    use rstest::rstest;
    use std::{fs, path::Path};

    #[rstest]
    #[case(&"[".repeat(64), None)]
    #[case(&"[".repeat(65), Some(1))]
    #[case(&"{a: [".repeat(33), Some(1))]
    #[case(&"a: [1, {}]\n".repeat(100), None)]
    #[case(&"a: '['\n".repeat(100), None)]
    #[case(&"a: \"[\\\"[\"\n".repeat(100), None)]
    #[case(&"a: 'it''s ['\n".repeat(100), None)]
    #[case(&"a: b # [\n".repeat(100), None)]
    #[case(&"a: b#[\n".repeat(100), Some(65))]
    #[case(&"a: it's [\n".repeat(100), Some(65))]
    #[case(&"[\"]\", ".repeat(100), Some(1))]
    #[case(&format!("'\n\n'\n\"\\\n\"\n{}", "[".repeat(65)), Some(6))]
    #[case(&format!("a: [b 'c,\n{}", "[".repeat(64)), Some(2))]
    fn brackets_have_a_bound(#[case] text: &str, #[case] line: Option<usize>) {
        assert_eq!(too_deep(text), line);
    }

    #[test]
    fn only_files_of_a_sane_size_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        fs::write(&path, vec![b'a'; 1024 * 1024]).expect("to write");
        assert_eq!(read(&path).expect("a text").len(), 1024 * 1024);
        for text in ["a".repeat(1024 * 1024 + 1), format!("{}ä", "a".repeat(1024 * 1024))] {
            fs::write(&path, text).expect("to write");
            assert_eq!(read(&path).expect_err("too large").to_string(), "it is larger than 1 MiB");
        }
        for path in [folder.path(), Path::new("/dev/zero")] {
            assert_eq!(read(path).expect_err("no file").to_string(), "it is not a regular file");
        }
    }

    #[test]
    fn what_people_read_is_one_line() {
        assert_eq!(plain("a\n\u{1b}[31mb\tä"), "a\\n\\u{1b}[31mb\\tä");
    }
}
