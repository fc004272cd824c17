//! The line of a place in a YAML text, found by indentation.
//!
//! The parser does not tell positions. This finds them in the block style that people write; inside the flow
//! style (`{a: 1}`) it answers with the line where the braces begin, which is near enough for an editor.

use crate::config::place::{Place, Step};
use std::{collections::BTreeMap, ops::Range};

/// The line, counted from 1, on which a place (or the nearest thing around it) stands.
pub(crate) fn line_of(lines: &[String], place: &Place) -> Option<usize> {
    let mut lines = Lines { lines, dashes: BTreeMap::new() };
    let mut range = 0..lines.lines.len();
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

/// Lines, some of which lost their dashes.
struct Lines<'text> {
    lines: &'text [String],
    /// By line, where what is behind the last dash that was taken away begins.
    dashes: BTreeMap<usize, usize>,
}

impl Lines<'_> {
    /// What stands on a line, and how deep; `None` if nothing does.
    fn content(&self, line: usize) -> Option<(usize, &str)> {
        let text = &*self.lines[line];
        let from = self.dashes.get(&line).copied().unwrap_or(0);
        let content = text[from..].trim_start_matches(' ');
        let is_something = !content.trim().is_empty() && !content.starts_with('#');
        is_something.then(|| (text.len() - content.len(), content))
    }

    fn indent(&self, line: usize) -> Option<usize> {
        self.content(line).map(|(indent, _)| indent)
    }
}

/// The line of `name:` and the lines of its value.
fn inside_key(lines: &Lines<'_>, range: Range<usize>, name: &str) -> Option<(usize, Range<usize>)> {
    let indent = range.clone().find_map(|line| lines.indent(line))?;
    let is_it = |line: &usize| {
        lines.content(*line).is_some_and(|(depth, content)| depth == indent && opens(content, name))
    };
    let at = range.clone().find(is_it)?;
    // A list may stand at the same depth as the key that it belongs to.
    let is_behind = |line: &usize| {
        lines
            .content(*line)
            .is_some_and(|(depth, content)| depth < indent || depth == indent && !is_item(content))
    };
    let end = (at + 1..range.end).find(is_behind).unwrap_or(range.end);
    Some((at, at + 1..end))
}

/// The line of the item and its lines, its dash taken away so that its keys stand in one column.
fn inside_item(lines: &mut Lines<'_>, range: Range<usize>, index: usize) -> Option<(usize, Range<usize>)> {
    let indent = range.clone().find_map(|line| lines.indent(line))?;
    let is_one = |line: &usize| {
        lines.content(*line).is_some_and(|(depth, content)| depth == indent && is_item(content))
    };
    let mut items = range.clone().filter(is_one).skip(index);
    let at = items.next()?;
    let end = items.next().unwrap_or(range.end);
    lines.dashes.insert(at, indent + 1);
    Some((at, at..end))
}

fn is_item(content: &str) -> bool {
    content.trim_end() == "-" || content.starts_with("- ")
}

fn opens(content: &str, name: &str) -> bool {
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
        let lines: Vec<_> = TEXT.lines().map(str::to_owned).collect();
        assert_eq!(line_of(&lines, &place), line, "{place}");
    }
}
