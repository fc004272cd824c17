//! Replaces ranges of a buffer and keeps every other byte.

use bytes::Bytes;
use std::ops::Range;

/// A range of a text and what stands there afterwards; an empty range is an insertion, an empty text a deletion.
pub type Edit = (Range<usize>, Bytes);

/// The buffer with each range replaced by its text; the ranges must not overlap, their order matters only among insertions at
/// one place, which come before what replaces the text there.
pub fn splice(buffer: &[u8], edits: &mut [(Range<usize>, &[u8])]) -> Bytes {
    edits.sort_by_key(|(range, _)| (range.start, range.end));
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut spliced = Vec::with_capacity(buffer.len() + added);
    let mut at = 0;
    for (range, text) in edits.iter() {
        spliced.extend_from_slice(&buffer[at..range.start]);
        spliced.extend_from_slice(text);
        at = range.end;
    }
    spliced.extend_from_slice(&buffer[at..]);
    spliced.into()
}
