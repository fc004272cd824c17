//! The line of a place in a YAML text, found by indentation.
//!
//! The parser does not tell positions. This finds them in the block style that people write; inside the flow
//! style (`{a: 1}`) it answers with the line where the braces begin, which is near enough for an editor.

use crate::config::place::{Place, Step};
use std::ops::Range;

/// The line, counted from 1, on which a place (or the nearest thing around it) stands.
pub(crate) fn line_of(text: &str, place: &Place) -> Option<usize> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut range = 0..lines.len();
    let mut found = None;
    for step in place.steps() {
        let inner = match step {
            Step::Key(name) => inside_key(&lines, range, name),
            Step::Index(index) => inside_item(&mut lines, range, *index),
        };
        let Some((line, inner)) = inner else { break };
        found = Some(line + 1);
        range = inner;
    }
    found
}

/// The line of `name:` and the lines of its value.
fn inside_key(lines: &[String], range: Range<usize>, name: &str) -> Option<(usize, Range<usize>)> {
    let indent = range.clone().find_map(|line| indent(&lines[line]))?;
    let at = range
        .clone()
        .find(|line| self::indent(&lines[*line]) == Some(indent) && opens(&lines[*line], name))?;
    // A list may stand at the same depth as the key that it belongs to.
    let end = (at + 1..range.end)
        .find(|line| {
            self::indent(&lines[*line])
                .is_some_and(|depth| depth < indent || depth == indent && !is_item(&lines[*line]))
        })
        .unwrap_or(range.end);
    Some((at, at + 1..end))
}

/// The line of the item and its lines, its dash taken away so that its keys stand in one column.
fn inside_item(lines: &mut [String], range: Range<usize>, index: usize) -> Option<(usize, Range<usize>)> {
    let indent = range.clone().find_map(|line| indent(&lines[line]))?;
    let items: Vec<usize> = range
        .clone()
        .filter(|line| self::indent(&lines[*line]) == Some(indent) && is_item(&lines[*line]))
        .collect();
    let at = *items.get(index)?;
    let end = items.get(index + 1).copied().unwrap_or(range.end);
    lines[at].replace_range(indent..=indent, " ");
    Some((at, at..end))
}

/// The depth of a line; `None` if nothing is on it.
fn indent(line: &str) -> Option<usize> {
    let content = line.trim_start_matches(' ');
    (!content.trim().is_empty() && !content.starts_with('#')).then(|| line.len() - content.len())
}

fn is_item(line: &str) -> bool {
    let content = line.trim_start();
    content == "-" || content.starts_with("- ")
}

fn opens(line: &str, name: &str) -> bool {
    let content = line.trim_start();
    ["", "\"", "'"].iter().any(|quote| {
        content
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix(quote))
            .is_some_and(|rest| rest.trim_start().starts_with(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::line_of;
    use crate::config::place::Place;
    use rstest::rstest;

    const TEXT: &str = "\
# a comment
listen: x
keys:
- key: a
  tools: [one, two]

-   key: b
    \"tools\":
      - c
      # between
      - d
upstreams:
  db:
    url: u
  'web':
    url: {not: here}
";

    #[rstest]
    #[case(Place::root().key("listen"), Some(2))]
    #[case(Place::root().key("keys").index(0).key("key"), Some(4))]
    #[case(Place::root().key("keys").index(0).key("tools").index(1), Some(5))]
    #[case(Place::root().key("keys").index(1).key("key"), Some(7))]
    #[case(Place::root().key("keys").index(1).key("tools").index(1), Some(11))]
    #[case(Place::root().key("upstreams").key("db").key("url"), Some(14))]
    #[case(Place::root().key("upstreams").key("web").key("url").key("not"), Some(16))]
    #[case(Place::root().key("upstreams").key("db").key("missing"), Some(13))]
    #[case(Place::root().key("missing"), None)]
    fn places_have_lines(#[case] place: Place, #[case] line: Option<usize>) {
        assert_eq!(line_of(TEXT, &place), line, "{place}");
    }
}
