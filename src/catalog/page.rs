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
