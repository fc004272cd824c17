//! One message on each line, as standard streams carry them (transports, "stdio").

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr2};

/// What comes, cut into lines of a bounded length.
#[derive(Debug)]
pub struct Lines {
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    most: usize,
    /// What comes belongs to a line that was too long, up to its end.
    is_skipping: bool,
}

/// One line that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// All of it, without its end.
    Whole(Bytes),
    /// It is longer than allowed; what there is of it is passed over.
    TooLong,
}

/// How much is read at once.
const READ: usize = 16 * 1024;

/// A message as one line: what stands raw between its tokens may be a line end, and inside of strings there is none.
pub fn line(message: &Bytes) -> Bytes {
    let mut line = BytesMut::with_capacity(message.len() + 1);
    line.extend_from_slice(message);
    let mut from = 0;
    while let Some(at) = memchr2(b'\r', b'\n', &line[from..]) {
        from += at;
        line[from] = b' ';
    }
    line.extend_from_slice(b"\n");
    line.freeze()
}

// === impl Lines ===

impl Lines {
    /// Lines of at most so many bytes.
    pub fn new(most: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, most, is_skipping: false }
    }

    /// Where what is read is to be put: behind what is there.
    pub fn buffer(&mut self) -> &mut BytesMut {
        if self.buffer.capacity() - self.buffer.len() < READ / 8 {
            self.buffer.reserve(READ);
        }
        &mut self.buffer
    }

    /// The next line; `None` if more has to be read for it.
    pub fn next_line(&mut self) -> Option<Line> {
        while let Some(end) = memchr(b'\n', &self.buffer[self.searched..]) {
            let line = self.buffer.split_to(self.searched + end + 1);
            self.searched = 0;
            if !std::mem::take(&mut self.is_skipping)
                && let Some(line) = self.check(line)
            {
                return Some(line);
            }
        }
        self.searched = self.buffer.len();
        // A line end of two bytes may be on its way.
        let is_too_long = self.searched > self.most.saturating_add(1);
        if self.is_skipping || is_too_long {
            self.buffer.clear();
            self.searched = 0;
        }
        (is_too_long && !std::mem::replace(&mut self.is_skipping, true)).then_some(Line::TooLong)
    }

    /// What stands behind the last line end, when nothing more comes.
    pub fn rest(&mut self) -> Option<Line> {
        let rest = self.buffer.split();
        self.searched = 0;
        if self.is_skipping { None } else { self.check(rest) }
    }

    fn check(&self, mut line: BytesMut) -> Option<Line> {
        line.truncate(line.trim_ascii_end().len());
        match line.len() {
            0 => None,
            length if length > self.most => Some(Line::TooLong),
            _ => Some(Line::Whole(line.freeze())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Lines, line};
    use bytes::Bytes;
    use proptest::{prop_assert_eq, proptest};
    use rstest::rstest;

    #[rstest]
    #[case("{}", "{}\n")]
    #[case("{\r\n\t\"a\":\n\n1}\n", "{  \t\"a\":  1} \n")]
    #[case(r#"{"a":"\n"}"#, "{\"a\":\"\\n\"}\n")]
    #[case("\n", " \n")]
    fn a_message_is_one_line(#[case] message: &'static str, #[case] expected: &str) {
        assert_eq!(line(&Bytes::from_static(message.as_bytes())), expected);
    }

    fn cut(pieces: &[&[u8]], most: usize) -> Vec<Line> {
        let (mut lines, mut found) = (Lines::new(most), Vec::new());
        for piece in pieces {
            lines.buffer().extend_from_slice(piece);
            found.extend(std::iter::from_fn(|| lines.next_line()));
            assert!(lines.buffer.len() <= most + 1, "what waits is bounded");
        }
        found.extend(lines.rest());
        found
    }

    #[test]
    fn what_is_too_long_is_told_once_and_passed_over() {
        let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
        assert_eq!(cut(&[b"ab\r\n\n", b"c", b"d\n", b"e"], 2), [whole("ab"), whole("cd"), whole("e")]);
        let long: &[&[u8]] = &[b"12345", b"6789", b"\n1\n123\n"];
        assert_eq!(cut(long, 2), [Line::TooLong, whole("1"), Line::TooLong]);
        assert_eq!(cut(&[b"12345", b"67"], 2), [Line::TooLong]);
    }

    proptest! {
        #[test]
        fn how_it_is_read_changes_nothing(text in "[ab\n]{0,40}", size in 1_usize..9, most in 1_usize..6) {
            let pieces: Vec<_> = text.as_bytes().chunks(size).collect();
            prop_assert_eq!(cut(&pieces, most), cut(&[text.as_bytes()], most));
        }
    }
}
