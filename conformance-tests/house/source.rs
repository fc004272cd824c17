//! One Rust file, and the little of its grammar that the house rules need: what is code, which paths it names.

use std::ops::Range;

/// One Rust file of the package.
pub(super) struct Source {
    /// Its path from the package's root, with `/`.
    pub(super) path: String,
    /// As it stands on disk.
    pub(super) text: String,
    /// The same length and lines, but comments, texts and symbols are blank.
    pub(super) code: String,
    tests: Vec<Range<usize>>,
}

/// A path that the code names, either in a `use` or where it is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Its segments; a glob ends in `*`.
    pub(super) segments: Vec<String>,
    /// Where it begins.
    pub(super) at: usize,
    /// Whether a `use` names it.
    pub(super) is_use: bool,
}

// === impl Source ===

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let code = mask(text);
        let tests = test_items(&code);
        Self { path: path.into(), text: text.into(), code, tests }
    }

    /// The line of an offset, from one.
    pub(super) fn line(&self, at: usize) -> usize {
        1 + self.code[..at].bytes().filter(|&byte| byte == b'\n').count()
    }

    /// Whether the offset belongs to an item behind `#[cfg(test)]`.
    pub(super) fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    /// The path below `src/`, if that is where the file is.
    pub(super) fn place(&self) -> Option<&str> {
        self.path.strip_prefix("src/")
    }

    /// The room that the file belongs to; `main.rs` and `lib.rs` belong to none.
    pub(super) fn room(&self) -> Option<&str> {
        match self.place()? {
            "main.rs" | "lib.rs" => None,
            place => place.split('/').next().map(|first| first.strip_suffix(".rs").unwrap_or(first)),
        }
    }

    /// Whether the file is its room's first one: `room/mod.rs` or `room.rs`.
    pub(super) fn is_root(&self) -> bool {
        let Some(room) = self.room() else { return false };
        [format!("src/{room}/mod.rs"), format!("src/{room}.rs")].contains(&self.path)
    }

    /// All paths of two segments or more, and all uses.
    pub(super) fn named(&self) -> Vec<Named> {
        let mut found = Vec::new();
        let mut rest = self.code.clone();
        for (at, word) in words(&self.code) {
            let Some(length) = self.code[at..].find(';').filter(|_| word == "use") else { continue };
            // `use<'a>` is a bound and no import.
            if self.code[at + 3..].trim_start().starts_with('<') {
                continue;
            }
            expand(&self.code, at + 3..at + length, &[], &mut found);
            rest.replace_range(at..at + length, &" ".repeat(length));
        }
        found.extend(inline(&rest));
        found
    }
}

/// The words of code, and where they begin.
pub(super) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() && !is_word(bytes[at]) {
            at += 1;
        }
        let begin = at;
        while at < bytes.len() && is_word(bytes[at]) {
            at += 1;
        }
        (begin < at).then(|| (begin, &code[begin..at]))
    })
}

/// The paths of a use tree: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(code: &str, tree: Range<usize>, prefix: &[String], found: &mut Vec<Named>) {
    for part in parts(code, tree) {
        let (mut segments, mut at) = (prefix.to_vec(), part.start);
        let begin = at + code[part.clone()].len() - code[part.clone()].trim_start().len();
        loop {
            let text = &code[at..part.end];
            let end = text.find("::").unwrap_or(text.len());
            let segment = text[..end].trim();
            if segment.starts_with('{') {
                let open = at + text.find('{').unwrap_or(0);
                let close = code[..part.end].rfind('}').unwrap_or(part.end);
                expand(code, open + 1..close, &segments, found);
                break;
            }
            // `name as other` is about `name`, and a leading `::` or a `self` adds nothing.
            let segment = segment.split_whitespace().next().unwrap_or_default();
            if !(segment.is_empty() || (segment == "self" && !segments.is_empty())) {
                segments.push(segment.into());
            }
            if end == text.len() {
                if !segments.is_empty() && begin < part.end {
                    found.push(Named { segments, at: begin, is_use: true });
                }
                break;
            }
            at += end + 2;
        }
    }
}

/// The parts of a list, cut at its own commas.
fn parts(code: &str, list: Range<usize>) -> Vec<Range<usize>> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, list.start);
    for at in list.clone() {
        match code.as_bytes()[at] {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(begin..at);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(begin..list.end);
    parts.retain(|part| !code[part.clone()].trim().is_empty());
    parts
}

/// Paths that stand in the code itself, such as `crate::wire::raw::Raw`.
fn inline(code: &str) -> Vec<Named> {
    let mut found: Vec<Named> = Vec::new();
    let mut end_of_last = 0;
    for (at, word) in words(code) {
        let (before, end) = (&code[..at], at + word.len());
        match found.last_mut() {
            Some(last) if before.ends_with("::") && end_of_last + 2 == at => last.segments.push(word.into()),
            // A field, a macro's own `$crate`, the rest of a path with generics: none of them begins a path.
            _ if before.ends_with("::") || before.ends_with('.') || before.ends_with('$') => continue,
            _ => found.push(Named { segments: vec![word.into()], at, is_use: false }),
        }
        end_of_last = end;
    }
    found.retain(|named| named.segments.len() > 1);
    found
}

/// The items behind `#[cfg(test)]`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let mut depth = 0;
        let after = at + attribute.len();
        let end = code[after..].bytes().position(|byte| match byte {
            b'{' => {
                depth += 1;
                false
            }
            b'}' => {
                depth -= 1;
                depth == 0
            }
            byte => byte == b';' && depth == 0,
        });
        items.push(at..end.map_or(code.len(), |end| after + end + 1));
    }
    items
}

/// Blanks comments, texts and symbols, so that what is left is code.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let length = blank_at(text, at).unwrap_or(0);
        if length == 0 {
            // Identifiers are ASCII here.
            code.push(if bytes[at].is_ascii() { char::from(bytes[at]) } else { '?' });
            at += 1;
        }
        for _ in 0..length {
            code.push(if bytes[at] == b'\n' { '\n' } else { ' ' });
            at += 1;
        }
    }
    code
}

/// How long the comment, text or symbol is that begins here, if one does.
fn blank_at(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        return symbol(rest);
    }
    let is_in_word = text[..at].ends_with(|symbol: char| symbol.is_ascii_alphanumeric() || symbol == '_');
    let body = ["br", "cr", "r"].iter().find_map(|prefix| rest.strip_prefix(prefix));
    let body = body.filter(|_| !is_in_word)?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    let inner = body[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = inner.find(&close).map_or(inner.len(), |end| end + close.len());
    Some(rest.len() - inner.len() + end)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..rest.len().min(at + 2)] {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, symbol) in rest.char_indices().skip(1) {
        match symbol {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if symbol == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A symbol such as `'a'`; a lifetime such as `'a` is none.
fn symbol(rest: &str) -> Option<usize> {
    let first = rest.chars().nth(1)?;
    if first == '\\' {
        return Some(quoted(rest, '\''));
    }
    let end = 1 + first.len_utf8();
    rest[end..].starts_with('\'').then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::Source;

    fn names(text: &str) -> Vec<String> {
        Source::new("src/relay/x.rs", text).named().iter().map(|named| named.segments.join("::")).collect()
    }

    #[test]
    fn use_trees_become_paths() {
        let text = "use crate::{\n    wire::{raw::Raw, sse::{self, Event as Other}},\n    front,\n};\nuse std::fmt::*;";
        let expected = ["crate::wire::raw::Raw", "crate::wire::sse", "crate::wire::sse::Event"];
        assert_eq!(names(text), [&expected[..], &["crate::front", "std::fmt::*"]].concat());
    }

    #[test]
    fn paths_in_code_count_and_those_in_texts_and_comments_do_not() {
        let text = "// crate::a::b\nfn f<'a>(x: &'a str) -> [char; 2] {\n    /* crate::c /* */ crate::d */\n    \
                    let y = (\"crate::e\", r#\"\"crate::f\"#, 'x', '\\'');\n    crate::wire::g(x.crate_, $crate::h)\n}";
        assert_eq!(names(text), ["crate::wire::g"]);
    }

    #[test]
    fn what_is_behind_cfg_test_is_known() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let source = Source::new("src/wire/x.rs", text);
        let is_test = |word| source.is_test(text.find(word).expect("it is there"));
        assert_eq!(["fn a", "fn b", "fn c"].map(is_test), [false, true, false]);
        assert_eq!(source.line(text.find("fn b").expect("it is there")), 4);
    }

    #[test]
    fn files_know_their_room() {
        let of = |path| Source::new(path, "").room().map(str::to_owned);
        assert_eq!(of("src/gateway.rs").as_deref(), Some("gateway"));
        assert_eq!(of("src/gateway/accept.rs").as_deref(), Some("gateway"));
        assert_eq!(of("src/wire/raw.rs").as_deref(), Some("wire"));
        assert_eq!([of("src/main.rs"), of("conformance-tests/house.rs")], [None, None]);
    }
}
