//! Pages of a list, and cursors: opaque to clients, and stable when the list changes between two pages.

use crate::{
    catalog::listing::Kind,
    protocol::{shape, version::Version},
    wire::raw::Raw,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::sync::OnceLock;

/// The most items on one page: large, since some clients read only the first.
pub const PAGE: usize = 1000;

/// Whose clients a page is for: definitions may have members that those of the other era cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// 2025-11-25 and before.
    Handshake,
    /// 2026-07-28 and later.
    Stateless,
}

/// The pages of one list, rendered when somebody asks for them.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Sheet {
    /// With the definitions as they are.
    plain: OnceLock<Vec<Raw>>,
    /// For each dialect; where no definition is another in it, the plain ones.
    dialects: [OnceLock<Vec<Raw>>; 2],
}

/// The cursor of the page that begins behind the item of this name.
pub fn cursor_after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// The name that a cursor stands for, if it is one of ours.
pub fn name_of(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

// === impl Dialect ===

impl Dialect {
    /// The one that clients of a revision read.
    pub fn of(version: Version) -> Self {
        if version.is_stateless() { Self::Stateless } else { Self::Handshake }
    }

    /// The definition as these clients can read it, if that is another.
    fn shape(self, kind: Kind, definition: &Raw) -> Option<Raw> {
        match (kind, self) {
            (Kind::Tools, Self::Handshake) => shape::tool_for_handshake(definition),
            (Kind::Tools, Self::Stateless) => shape::tool_for_stateless(definition),
            (Kind::Prompts | Kind::Resources | Kind::Templates, _) => None,
        }
    }
}

// === impl Sheet ===

impl Sheet {
    /// The pages of `count` items, which `definition` and `name` tell one by one; there is at least one page. Where
    /// pages begin is the same in all dialects.
    pub(in crate::catalog) fn pages(
        &self,
        kind: Kind,
        dialect: Dialect,
        count: usize,
        definition: impl Fn(usize) -> Raw,
        name: impl Fn(usize) -> String,
    ) -> &[Raw] {
        self.dialects[dialect as usize].get_or_init(|| {
            let shaped: Vec<_> = (0..count).map(|index| dialect.shape(kind, &definition(index))).collect();
            if shaped.iter().all(Option::is_none) {
                return self.plain.get_or_init(|| render(kind, count, &definition, &name)).clone();
            }
            let shaped = |index: usize| shaped[index].clone().unwrap_or_else(|| definition(index));
            render(kind, count, shaped, &name)
        })
    }
}

fn render(
    kind: Kind,
    count: usize,
    definition: impl Fn(usize) -> Raw,
    name: impl Fn(usize) -> String,
) -> Vec<Raw> {
    let starts = (0..count.max(1)).step_by(PAGE);
    let page = |start: usize| {
        let end = count.min(start + PAGE);
        let mut text = format!("{{\"{}\":[", kind.key()).into_bytes();
        for index in start..end {
            if index > start {
                text.push(b',');
            }
            text.extend_from_slice(definition(index).as_bytes());
        }
        text.push(b']');
        if end < count {
            text.extend_from_slice(b",\"nextCursor\":");
            text.extend_from_slice(Raw::of(&cursor_after(&name(end - 1))).as_bytes());
        }
        text.push(b'}');
        Raw::spliced(text.into())
    };
    starts.map(page).collect()
}

#[cfg(test)]
mod tests {
    use super::{Dialect, PAGE, Sheet, cursor_after};
    use crate::{catalog::listing::Kind, wire::raw::Raw};
    use bytes::Bytes;
    use rstest::rstest;
    use std::cell::Cell;

    const PLAIN: &str = r#"{"name" : "a","x":1.10, "outputSchema":{"type":"object"}}"#;
    const TASKS: &str =
        r#"{"name":"b", "execution":{"taskSupport":"optional"} ,"inputSchema":{"execution":1e2}}"#;
    const LISTS: &str = r#"{"outputSchema":{"type":"array"},"name":"c", "y":"\u0061"}"#;

    fn raw(text: &str) -> Raw {
        Raw::parse(Bytes::from(text.to_owned())).expect("JSON")
    }

    /// The pages of these definitions for the clients of both eras.
    fn pages<'a>(sheet: &'a Sheet, kind: Kind, items: &[&str]) -> [&'a [Raw]; 2] {
        [Dialect::Handshake, Dialect::Stateless].map(|dialect| {
            sheet.pages(kind, dialect, items.len(), |index| raw(items[index]), |index| format!("n{index}"))
        })
    }

    #[test]
    fn each_era_misses_what_it_cannot_read_and_nothing_else() {
        let sheet = Sheet::default();
        let [handshake, stateless] = pages(&sheet, Kind::Tools, &[PLAIN, TASKS, LISTS]);
        let tasks = r#"{"name":"b" ,"inputSchema":{"execution":1e2}}"#;
        let lists = r#"{"name":"c", "y":"\u0061"}"#;
        assert_eq!(handshake, [raw(&format!(r#"{{"tools":[{PLAIN},{TASKS},{lists}]}}"#))]);
        assert_eq!(stateless, [raw(&format!(r#"{{"tools":[{PLAIN},{tasks},{LISTS}]}}"#))]);
    }

    #[rstest]
    #[case::nothing_differs(Kind::Tools, PLAIN, [true, true])]
    #[case::one_differs(Kind::Tools, TASKS, [true, false])]
    #[case::the_other_differs(Kind::Tools, LISTS, [false, true])]
    #[case::no_tool(Kind::Prompts, TASKS, [true, true])]
    fn what_is_the_same_for_all_is_there_once(
        #[case] kind: Kind,
        #[case] item: &str,
        #[case] is_plain: [bool; 2],
    ) {
        let sheet = Sheet::default();
        let pages = pages(&sheet, kind, &[item]).map(|pages| pages[0].as_bytes().as_ptr());
        let plain = sheet.plain.get().map(|pages| pages[0].as_bytes().as_ptr());
        assert_eq!(pages.map(|page| Some(page) == plain), is_plain);
    }

    #[test]
    fn pages_are_rendered_once_and_begin_at_the_same_items() {
        let (sheet, looks) = (Sheet::default(), Cell::new(0));
        let definition = |index: usize| {
            looks.set(looks.get() + 1);
            raw(if index == PAGE { TASKS } else { "{}" })
        };
        let pages =
            |dialect| sheet.pages(Kind::Tools, dialect, PAGE + 1, definition, |index| index.to_string());
        let (handshake, stateless) = (pages(Dialect::Handshake), pages(Dialect::Stateless));
        let next = format!(r#""nextCursor":"{}"}}"#, cursor_after(&(PAGE - 1).to_string()));
        assert_eq!((handshake.len(), stateless.len()), (2, 2));
        assert!(handshake[0].as_str().ends_with(&next) && handshake[0] == stateless[0]);
        assert!(handshake[1] != stateless[1]);
        let before = looks.get();
        assert_eq!(pages(Dialect::Stateless), stateless);
        assert_eq!(looks.get(), before);
    }
}
