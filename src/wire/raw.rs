//! JSON text that is known to be valid, as a reference-counted slice of the buffer it came in.

use crate::wire::splice::{Edit, splice};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// The deepest nesting of arrays and objects in a message.
///
/// Well above what tools produce, well below what overflows a stack in a recursive parser further on.
pub const MAX_DEPTH: usize = 256;

/// Valid JSON text (RFC 8259), cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Raw(Bytes);

/// Why bytes are not a JSON text that is taken here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8 (RFC 8259, section 8.1).
    #[error("the text is not UTF-8: byte {0} begins no character")]
    NotUtf8(usize),
    /// Not JSON.
    #[error("the text is not JSON: {0}")]
    NotJson(String),
    /// Nested too deeply.
    #[error("arrays and objects are nested more than {MAX_DEPTH} deep")]
    TooDeep,
}

// === impl Raw ===

impl Raw {
    /// Checks that the bytes are one JSON text.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        let text = text(&bytes)?;
        let value: &RawValue =
            serde_json::from_str(text).map_err(|error| Malformed::NotJson(error.to_string()))?;
        let range = range_within(&bytes, value);
        Ok(Self(bytes.slice(range)))
    }

    /// The JSON text of a value.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Self {
        // Only maps with keys that are not text fail, and no type here has one; `null` is valid all the same.
        Self(serde_json::to_vec(value).map_or_else(|_| Bytes::from_static(b"null"), Bytes::from))
    }

    /// A slice of a buffer that was parsed before; the range comes from that parse.
    pub(in crate::wire) fn trusted(buffer: &Bytes, range: Range<usize>) -> Self {
        Self(buffer.slice(range))
    }

    /// What a splice made of valid texts that stand where valid texts stood.
    pub(crate) fn spliced(bytes: Bytes) -> Self {
        debug_assert!(serde_json::from_slice::<&RawValue>(&bytes).is_ok(), "a splice keeps JSON valid");
        Self(bytes)
    }

    /// The text with these edits made; they must keep it valid.
    #[must_use]
    pub fn edited(&self, edits: &[Edit]) -> Self {
        if edits.is_empty() {
            return self.clone();
        }
        let mut edits: Vec<_> = edits.iter().map(|(at, text)| (at.clone(), text.as_ref())).collect();
        Self::spliced(splice(&self.0, &mut edits))
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; validated when it was made.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's buffer.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl AsRef<[u8]> for Raw {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The bytes as text, if they are UTF-8 and not nested too deeply.
pub(in crate::wire) fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|error| Malformed::NotUtf8(error.valid_up_to()))?;
    if exceeds_depth(bytes, MAX_DEPTH) { Err(Malformed::TooDeep) } else { Ok(text) }
}

/// Where `part`, which borrows from `buffer`, stands in it.
pub(in crate::wire) fn range_within(buffer: &[u8], part: &RawValue) -> Range<usize> {
    let start = part.get().as_ptr().addr() - buffer.as_ptr().addr();
    start..start + part.get().len()
}

/// Whether brackets outside strings nest deeper than `limit`; exact for valid JSON, a bound for anything else.
fn exceeds_depth(bytes: &[u8], limit: usize) -> bool {
    let mut depth = 0_usize;
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => rest = after_string(rest),
            b'[' | b'{' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What follows a string whose opening quote has been read.
pub(in crate::wire) fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::{MAX_DEPTH, Malformed, Raw};
    use bytes::Bytes;

    #[test]
    fn surrounding_space_is_not_part_of_it() {
        let raw = Raw::parse(Bytes::from_static(b" {\"a\": 1.10 } \n")).expect("valid");
        assert_eq!(raw.as_str(), "{\"a\": 1.10 }");
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |depth: usize| Bytes::from("[".repeat(depth) + &"]".repeat(depth));
        assert!(Raw::parse(nested(MAX_DEPTH)).is_ok());
        assert_eq!(Raw::parse(nested(MAX_DEPTH + 1)), Err(Malformed::TooDeep));
        let text = format!("\"\\\"{}\"", "[".repeat(1000));
        assert!(Raw::parse(Bytes::from(text)).is_ok());
    }

    #[test]
    fn bytes_that_are_not_text_say_where() {
        assert_eq!(Raw::parse(Bytes::from_static(b"\"a\xff\"")), Err(Malformed::NotUtf8(2)));
    }
}
