//! Cursors: opaque to clients, and stable when the list changes between two pages.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The most tools on one page: large, since some clients read only the first.
pub const PAGE: usize = 1000;

/// The cursor of the page that begins behind the tool of this name.
pub fn cursor_after(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// The name that a cursor stands for, if it is one of ours.
pub fn name_of(cursor: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}
