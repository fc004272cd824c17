//! Pages of a list, and cursors: opaque to clients, and stable when the list changes between two pages.

use crate::{catalog::listing::Kind, wire::raw::Raw};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The most items on one page: large, since some clients read only the first.
pub const PAGE: usize = 1000;

/// The cursor of the page that begins behind the item of this name.
pub fn cursor_after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// The name that a cursor stands for, if it is one of ours.
pub fn name_of(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// Renders `count` items, which `definition` and `name` tell one by one; there is at least one page.
pub(in crate::catalog) fn render(
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
