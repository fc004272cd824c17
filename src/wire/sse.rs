//! Server-sent events (HTML Living Standard, section 9.2), both ways, bounded.

use bytes::{Buf as _, Bytes, BytesMut};
use std::time::Duration;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The event's type; empty means `message`.
    pub kind: String,
    /// The data, lines joined by line feeds.
    pub data: Bytes,
    /// The event's id, if it has one.
    pub id: Option<String>,
    /// How long the server wants its client to wait before it connects again, in milliseconds.
    pub retry: Option<u64>,
}

/// Decodes a stream of events piece by piece.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
    limit: usize,
    started: bool,
    after_return: bool,
    kind: String,
    id: Option<String>,
    retry: Option<u64>,
    data: Option<Data>,
}

/// The longest name of a field, with what separates it from the value.
const LONGEST_NAME: usize = "event: ".len();

/// One line is kept as a slice of what was received; only several are copied together.
#[derive(Debug)]
enum Data {
    Line(Bytes),
    Lines(BytesMut),
}

/// An event is larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub struct TooLarge(pub usize);

// === impl Event ===

impl Event {
    /// Whether it carries a JSON-RPC message (as opposed to `endpoint` or a kind that nobody knows).
    pub fn is_message(&self) -> bool {
        (self.kind.is_empty() || self.kind == "message") && !self.data.is_empty()
    }
}

// === impl Decoder ===

impl Decoder {
    /// A decoder that refuses events of more than `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            limit,
            started: false,
            after_return: false,
            kind: String::new(),
            id: None,
            retry: None,
            data: None,
        }
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole event, if there is one; comments and unknown fields are passed over.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLarge> {
        loop {
            let line = self.next_line();
            // A line begins with the name of its field; one that is not finished is not allowed more than one that is.
            let most = self.limit.saturating_add(LONGEST_NAME);
            if self.size() + line.as_ref().map_or(0, Bytes::len) > most {
                return Err(TooLarge(self.limit));
            }
            let Some(line) = line else { return Ok(None) };
            if line.is_empty() {
                if let Some(event) = self.dispatch() {
                    return Ok(Some(event));
                }
                continue;
            }
            self.field(line);
            if self.size() > self.limit {
                return Err(TooLarge(self.limit));
            }
        }
    }

    fn size(&self) -> usize {
        let data = match &self.data {
            None => 0,
            Some(Data::Line(line)) => line.len(),
            Some(Data::Lines(lines)) => lines.len(),
        };
        // What is buffered counts only as far as it belongs to an unfinished line.
        data + self.scanned + self.kind.len()
    }

    fn next_line(&mut self) -> Option<Bytes> {
        if !self.started && self.buffer.len() >= 3 {
            self.started = true;
            if self.buffer.starts_with(b"\xef\xbb\xbf") {
                self.buffer.advance(3);
            }
        } else if !self.started && !b"\xef\xbb\xbf".starts_with(&self.buffer) {
            self.started = true;
        }
        if !self.started {
            return None;
        }
        if self.after_return && !self.buffer.is_empty() {
            self.after_return = false;
            if self.buffer[0] == b'\n' {
                self.buffer.advance(1);
            }
        }
        let Some(found) = memchr::memchr2(b'\n', b'\r', &self.buffer[self.scanned..]) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = self.scanned + found;
        self.scanned = 0;
        // A return at the end of a piece ends the line at once; a line feed that follows belongs to it.
        self.after_return = self.buffer[end] == b'\r';
        let line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        Some(line)
    }

    fn field(&mut self, line: Bytes) {
        let colon = memchr::memchr(b':', &line).unwrap_or(line.len());
        let mut value = line.slice((colon + 1).min(line.len())..);
        if value.first() == Some(&b' ') {
            value.advance(1);
        }
        match &line[..colon] {
            b"data" => {
                self.data = Some(match self.data.take() {
                    None => Data::Line(value),
                    Some(Data::Line(first)) => {
                        let mut lines = BytesMut::with_capacity(first.len() + value.len() + 1);
                        lines.extend_from_slice(&first);
                        Data::Lines(append(lines, &value))
                    }
                    Some(Data::Lines(lines)) => Data::Lines(append(lines, &value)),
                });
            }
            b"event" => self.kind = String::from_utf8_lossy(&value).into_owned(),
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(&value).into_owned()),
            b"retry" => self.retry = std::str::from_utf8(&value).ok().and_then(|value| value.parse().ok()),
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        let kind = std::mem::take(&mut self.kind);
        let (id, retry) = (self.id.take(), self.retry.take());
        let data = match self.data.take() {
            Some(Data::Line(line)) => line,
            Some(Data::Lines(lines)) => lines.freeze(),
            // An id or a time to wait counts without data as well.
            None if id.is_some() || retry.is_some() => Bytes::new(),
            None => return None,
        };
        Some(Event { kind, data, id, retry })
    }
}

fn append(mut lines: BytesMut, line: &[u8]) -> BytesMut {
    lines.extend_from_slice(b"\n");
    lines.extend_from_slice(line);
    lines
}

/// The bytes of one event; `kind` has no line end in it.
pub fn encode(kind: &str, data: &[u8]) -> Bytes {
    lines(kind, data, Vec::with_capacity(data.len() + kind.len() + 24))
}

/// The bytes of one message that a client can resume after: `stream` and `number` are its id.
pub fn message(stream: u64, number: u64, data: &[u8]) -> Bytes {
    let id = format!("id: {stream}-{number}\n");
    let mut bytes = Vec::with_capacity(data.len() + id.len() + 32);
    bytes.extend_from_slice(id.as_bytes());
    lines("message", data, bytes)
}

/// An event without a message: an id to resume after from the very beginning, and how long to wait before that
/// (transports, 2025-11-25, "Sending Messages to the Server", item 6).
pub fn priming(stream: u64, number: u64, retry: Duration) -> Bytes {
    format!("id: {stream}-{number}\nretry: {}\ndata: \n\n", retry.as_millis()).into()
}

/// The stream and the number of an id that [`message`] or [`priming`] made.
pub fn place(id: &str) -> Option<(u64, u64)> {
    let (stream, number) = id.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

fn lines(kind: &str, data: &[u8], mut bytes: Vec<u8>) -> Bytes {
    if !kind.is_empty() {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(kind.as_bytes());
        bytes.push(b'\n');
    }
    // JSON may be spread over lines; each is a line of data.
    let mut rest = data;
    loop {
        let end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(&rest[..end]);
        bytes.push(b'\n');
        if end == rest.len() {
            break;
        }
        rest = &rest[end + 1..];
    }
    bytes.push(b'\n');
    bytes.into()
}

/// A comment, which keeps a quiet stream alive.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";
