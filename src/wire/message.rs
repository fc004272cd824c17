//! JSON-RPC 2.0 messages, cut at their envelope and otherwise untouched.

use crate::wire::{
    method::Method,
    raw::{self, Malformed, Raw},
    splice::splice,
};
use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// The longest request id that is taken, in bytes: it is kept and echoed, and nobody needs more.
pub const MAX_ID: usize = 1024;

/// One JSON-RPC message.
#[derive(Clone, Debug)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none.
    Notice(Notice),
    /// Is one.
    Answer(Answer),
}

/// A request: its bytes, and where its parts stand in them.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    buffer: Bytes,
    id: Range<usize>,
    params: Option<Range<usize>>,
}

/// A notification.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The method.
    pub method: Method,
    buffer: Bytes,
    params: Option<Range<usize>>,
}

/// A result or an error.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Whether it is an error.
    pub is_error: bool,
    buffer: Bytes,
    id: Range<usize>,
    payload: Range<usize>,
}

/// What a body holds.
#[derive(Debug)]
pub enum Body {
    /// One message.
    One(Message),
    /// A batch (JSON-RPC 2.0, section 6), each part parsed on its own.
    Batch(Vec<Result<Message, Invalid>>),
}

/// Why a body is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not JSON: -32700.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// JSON, but no JSON-RPC message: -32600.
    #[error("{reason}")]
    NotAMessage {
        /// What was found and what is expected.
        reason: String,
        /// The request's id, where one could be read.
        id: Option<Raw>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

/// Tells `null` from absent, which `Option` alone does not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

// === impl Body ===

impl Body {
    /// Parses what one body, event or line holds.
    pub fn parse(buffer: &Bytes, max_batch: usize) -> Result<Self, Invalid> {
        let text = raw::text(buffer)?;
        if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('[') {
            return parse_text(buffer, text).map(Self::One);
        }
        let parts: Vec<&RawValue> = serde_json::from_str(text).map_err(not_json)?;
        if parts.is_empty() || parts.len() > max_batch {
            let found = parts.len();
            return Err(Invalid::new(format!("a batch has 1 to {max_batch} messages; found {found}"), None));
        }
        let parse = |part: &RawValue| {
            let part = buffer.slice(raw::range_within(buffer, part));
            Message::parse(&part)
        };
        Ok(Self::Batch(parts.into_iter().map(parse).collect()))
    }
}

// === impl Message ===

impl Message {
    /// Parses one message; a batch is not one.
    pub fn parse(buffer: &Bytes) -> Result<Self, Invalid> {
        parse_text(buffer, raw::text(buffer)?)
    }
}

fn parse_text(buffer: &Bytes, text: &str) -> Result<Message, Invalid> {
    let envelope: Envelope<'_> = match serde_json::from_str(text) {
        Ok(envelope) => envelope,
        // The wrong shape may be seen before what follows it proves not to be JSON.
        Err(error) => match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => return Err(Invalid::new(data_error(&error, text), None)),
            Err(error) => return Err(not_json(error)),
        },
    };
    let range = |part: &RawValue| raw::range_within(buffer, part);
    let id = envelope.id.map(|id| Raw::trusted(buffer, range(id)));
    let invalid = |reason: String| Err(Invalid::new(reason, id.clone().filter(is_legal_id)));

    if envelope.jsonrpc.is_none_or(|version| version.get() != "\"2.0\"") {
        let found = envelope.jsonrpc.map_or("nothing".into(), |version| excerpt(version.get()));
        return invalid(format!("`jsonrpc` must be \"2.0\"; found {found}"));
    }
    if let Some(found) = id.as_ref().filter(|id| !is_legal_id(id)) {
        // A parse error's answer has a null id (JSON-RPC 2.0, section 5); nothing else may.
        let answers_nothing =
            found.as_bytes() == b"null" && envelope.error.is_some() && envelope.method.is_none();
        if !answers_nothing {
            let found = excerpt(found.as_str());
            return invalid(format!(
                "`id` must be a string or a number of at most {MAX_ID} bytes; found {found}"
            ));
        }
    }
    if let Some(method) = envelope.method {
        let Ok(name) = serde_json::from_str::<Cow<'_, str>>(method.get()) else {
            return invalid(format!("`method` must be a string; found {}", excerpt(method.get())));
        };
        if envelope.result.is_some() || envelope.error.is_some() {
            return invalid(
                "a message has either `method` or one of `result` and `error`; found both".into(),
            );
        }
        if let Some(params) = envelope.params.filter(|params| !params.get().starts_with('{')) {
            return invalid(format!("`params` must be an object; found {}", excerpt(params.get())));
        }
        let (method, params) = (Method::from(&*name), envelope.params.map(range));
        let buffer = buffer.clone();
        return Ok(match envelope.id {
            Some(id) => Message::Request(Request { method, id: range(id), buffer, params }),
            None => Message::Notice(Notice { method, buffer, params }),
        });
    }
    let (payload, is_error) = match (envelope.result, envelope.error) {
        (Some(result), None) => (result, false),
        (None, Some(error)) => (error, true),
        (Some(_), Some(_)) => return invalid("an answer has `result` or `error`; found both".into()),
        (None, None) => {
            return invalid("a message has `method`, `result` or `error`; found none of them".into());
        }
    };
    if is_error && !payload.get().starts_with('{') {
        return invalid(format!("`error` must be an object; found {}", excerpt(payload.get())));
    }
    let Some(id) = envelope.id else { return invalid("an answer needs an `id`; found none".into()) };
    Ok(Message::Answer(Answer { is_error, id: range(id), payload: range(payload), buffer: buffer.clone() }))
}

/// Strings and numbers (the schema's `RequestId`), of a bounded length.
fn is_legal_id(id: &Raw) -> bool {
    let first = id.as_bytes().first();
    id.as_bytes().len() <= MAX_ID && first.is_some_and(|&byte| matches!(byte, b'"' | b'-' | b'0'..=b'9'))
}

fn not_json(error: impl ToString) -> Invalid {
    Invalid::Malformed(Malformed::NotJson(error.to_string()))
}

/// serde's sentence for JSON that has the wrong shape at the top: not an object, or a key twice.
fn data_error(error: &serde_json::Error, text: &str) -> String {
    let message = error.to_string();
    if message.starts_with("duplicate field") {
        format!("a key stands twice in one message: {message}")
    } else {
        format!("a message must be a JSON object; found {}", excerpt(text.trim()))
    }
}

/// The beginning of a text, for messages: no control characters, so that nobody can forge lines of a log.
pub(crate) fn excerpt(text: &str) -> String {
    beginning(text, 40)
}

/// As [`excerpt`], of so many characters.
pub(crate) fn beginning(text: &str, most: usize) -> String {
    let printable = |symbol: char| if symbol.is_control() { char::REPLACEMENT_CHARACTER } else { symbol };
    let mut excerpt: String = text.chars().take(most).map(printable).collect();
    if text.chars().nth(most).is_some() {
        excerpt.push('…');
    }
    excerpt
}

// === impl Request ===

impl Request {
    /// The request that a text is, if it is one.
    pub fn parse(buffer: &Bytes) -> Option<Self> {
        match Message::parse(buffer) {
            Ok(Message::Request(request)) => Some(request),
            _ => None,
        }
    }

    /// Makes a request of our own; `params` is a JSON object.
    pub fn new(id: &Raw, method: &Method, params: Option<&Raw>) -> Self {
        let mut buffer = Vec::with_capacity(128 + params.map_or(0, |params| params.as_bytes().len()));
        buffer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        let start = buffer.len();
        buffer.extend_from_slice(id.as_bytes());
        let id = start..buffer.len();
        let params = push_method(&mut buffer, method, params);
        Self { method: method.clone(), buffer: buffer.into(), id, params }
    }

    /// The id as the sender wrote it.
    pub fn id(&self) -> Raw {
        Raw::trusted(&self.buffer, self.id.clone())
    }

    /// The parameters, if there are any.
    pub fn params(&self) -> Option<Raw> {
        self.params.clone().map(|range| Raw::trusted(&self.buffer, range))
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.buffer
    }

    /// The message with another id, and with `edits` (ranges within the parameters) made.
    pub fn rewrite(&self, id: &[u8], edits: &[(Range<usize>, &[u8])]) -> Bytes {
        let offset = self.params.as_ref().map_or(0, |params| params.start);
        let mut all = Vec::with_capacity(edits.len() + 1);
        all.push((self.id.clone(), id));
        all.extend(edits.iter().map(|(range, text)| (range.start + offset..range.end + offset, *text)));
        splice(&self.buffer, &mut all)
    }
}

// === impl Notice ===

impl Notice {
    /// The notice that a text is, if it is one.
    pub fn parse(buffer: &Bytes) -> Option<Self> {
        match Message::parse(buffer) {
            Ok(Message::Notice(notice)) => Some(notice),
            _ => None,
        }
    }

    /// Makes a notification of our own; `params` is a JSON object.
    pub fn new(method: &Method, params: Option<&Raw>) -> Self {
        let mut buffer = b"{\"jsonrpc\":\"2.0\"".to_vec();
        let params = push_method(&mut buffer, method, params);
        Self { method: method.clone(), buffer: buffer.into(), params }
    }

    /// The parameters, if there are any.
    pub fn params(&self) -> Option<Raw> {
        self.params.clone().map(|range| Raw::trusted(&self.buffer, range))
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.buffer
    }

    /// The message with `edits` (ranges within the parameters) made.
    pub fn rewrite(&self, edits: &[(Range<usize>, &[u8])]) -> Bytes {
        let offset = self.params.as_ref().map_or(0, |params| params.start);
        let shift = |(range, text): &(Range<usize>, _)| (range.start + offset..range.end + offset, *text);
        splice(&self.buffer, &mut edits.iter().map(shift).collect::<Vec<_>>())
    }
}

/// Appends `,"method":…,"params":…}`; returns where the parameters stand.
fn push_method(buffer: &mut Vec<u8>, method: &Method, params: Option<&Raw>) -> Option<Range<usize>> {
    buffer.extend_from_slice(b",\"method\":");
    buffer.extend_from_slice(Raw::of(method.as_str()).as_bytes());
    let range = params.map(|params| {
        buffer.extend_from_slice(b",\"params\":");
        let start = buffer.len();
        buffer.extend_from_slice(params.as_bytes());
        start..buffer.len()
    });
    buffer.push(b'}');
    range
}

// === impl Answer ===

impl Answer {
    /// Makes a result of our own.
    pub fn result(id: &Raw, result: &Raw) -> Self {
        Self::new(id, b",\"result\":", result, false)
    }

    /// Makes an error of our own; `error` is a JSON-RPC error object.
    pub fn error(id: &Raw, error: &Raw) -> Self {
        Self::new(id, b",\"error\":", error, true)
    }

    fn new(id: &Raw, key: &[u8], payload: &Raw, is_error: bool) -> Self {
        let mut buffer = Vec::with_capacity(32 + id.as_bytes().len() + key.len() + payload.as_bytes().len());
        buffer.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        let start = buffer.len();
        buffer.extend_from_slice(id.as_bytes());
        let id = start..buffer.len();
        buffer.extend_from_slice(key);
        let start = buffer.len();
        buffer.extend_from_slice(payload.as_bytes());
        let payload = start..buffer.len();
        buffer.push(b'}');
        Self { is_error, buffer: buffer.into(), id, payload }
    }

    /// The id of the request that it answers.
    pub fn id(&self) -> Raw {
        Raw::trusted(&self.buffer, self.id.clone())
    }

    /// The result or the error object.
    pub fn payload(&self) -> Raw {
        Raw::trusted(&self.buffer, self.payload.clone())
    }

    /// The whole message.
    pub fn bytes(&self) -> &Bytes {
        &self.buffer
    }

    /// The message with another id.
    #[must_use]
    pub fn with_id(&self, id: &Raw) -> Self {
        let buffer = splice(&self.buffer, &mut [(self.id.clone(), id.as_bytes())]);
        let new = self.id.start..self.id.start + id.as_bytes().len();
        // The payload moves only if it stands behind the id.
        let shift = |at: usize| if at >= self.id.end { at + new.len() - self.id.len() } else { at };
        let payload = shift(self.payload.start)..shift(self.payload.end);
        Self { is_error: self.is_error, buffer, id: new, payload }
    }
}

impl Answer {
    /// The message with `edits` (ranges within the payload) made.
    #[must_use]
    pub fn rewrite<T: AsRef<[u8]>>(&self, edits: &[(Range<usize>, T)]) -> Self {
        let from = self.payload.start;
        let mut all: Vec<(Range<usize>, &[u8])> =
            edits.iter().map(|(at, text)| (at.start + from..at.end + from, text.as_ref())).collect();
        let buffer = splice(&self.buffer, &mut all);
        let end = buffer.len() - (self.buffer.len() - self.payload.end);
        // The id moves only if it stands behind the payload.
        let shift = |at: usize| if at >= self.payload.end { at + end - self.payload.end } else { at };
        let id = shift(self.id.start)..shift(self.id.end);
        Self { is_error: self.is_error, buffer, id, payload: from..end }
    }
}

// === impl Invalid ===

impl Invalid {
    fn new(reason: String, id: Option<Raw>) -> Self {
        Self::NotAMessage { reason, id }
    }
}
