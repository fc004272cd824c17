//! Results, errors and definitions between the eras: what one of them needs, and what the other does not know.

use crate::{
    protocol::stateless::{SERVER_INFO, without_members},
    wire::{
        error::{INVALID_PARAMS, RESOURCE_NOT_FOUND},
        method::Method,
        part::{self, Part},
        raw::Raw,
        splice::Edit,
    },
};
use bytes::Bytes;

/// What a result is, by its `resultType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The end of the matter; so is a result that does not say what it is.
    Complete,
    /// The server asks something first.
    InputRequired,
    /// A task that goes on elsewhere (extension "tasks").
    Task,
    /// Something that is not known here, or that says two things.
    Other,
}

/// The member that says what a result is.
const RESULT_TYPE: &str = "resultType";
/// The members that say how long a result holds, and for whom.
const HINTS: [(&str, &[u8]); 2] = [("ttlMs", b"0"), ("cacheScope", b"\"private\"")];

/// What the `resultType` of a result says.
pub fn kind(payload: &Raw) -> Kind {
    said(payload).unwrap_or(Kind::Complete)
}

/// The same, `None` where it says nothing.
fn said(payload: &Raw) -> Option<Kind> {
    if !part::mentions(payload, &[RESULT_TYPE]) {
        return None;
    }
    let mut said = Part::of(payload).entries().filter(|entry| entry.is(RESULT_TYPE));
    let text = said.next()?.value.string();
    Some(match text.as_deref() {
        _ if said.next().is_some() => Kind::Other,
        Some("complete") => Kind::Complete,
        Some("input_required") => Kind::InputRequired,
        Some("task") => Kind::Task,
        _ => Kind::Other,
    })
}

/// Whether results of a method say how long they hold (2026-07-28, SEP-2549).
fn is_cached(method: &Method) -> bool {
    matches!(
        method,
        Method::Discover
            | Method::ToolsList
            | Method::PromptsList
            | Method::ResourcesList
            | Method::TemplatesList
            | Method::ResourcesRead
    )
}

/// The edits that add to a result what a client of the stateless era needs and what is missing: `resultType`, for some
/// methods how long it holds (not at all, for nobody else), and `server_info` in `_meta`, if it is given.
pub fn complete(method: &Method, payload: &Raw, server_info: Option<&Raw>) -> Vec<Edit> {
    let whole = Part::of(payload);
    let has = |key: &str| whole.entries().any(|entry| entry.is(key));
    let mut missing: Vec<(&str, &[u8])> = Vec::new();
    if !has(RESULT_TYPE) {
        missing.push((RESULT_TYPE, b"\"complete\""));
    }
    if is_cached(method) && kind(payload) == Kind::Complete {
        missing.extend(HINTS.into_iter().filter(|(key, _)| !has(key)));
    }
    let mut edits = Vec::new();
    let info = server_info.map(|info| part::joined(&[(SERVER_INFO, info.as_bytes())]));
    let meta = whole.entries().find(|entry| entry.is("_meta")).map(|entry| entry.value);
    let own_meta;
    match (&info, meta) {
        (Some(info), None) => {
            own_meta = [b"{", info.as_ref(), b"}"].concat();
            missing.push(("_meta", &own_meta));
        }
        (Some(info), Some(meta)) if !meta.entries().any(|entry| entry.is(SERVER_INFO)) => {
            edits.extend(meta.insertion(info));
        }
        _ => {}
    }
    edits.extend(whole.insertion(&part::joined(&missing)));
    edits
}

/// The edits that take out of a result of the stateless era what a client of the other one does not know: `resultType`,
/// how long it holds, who answered, and `structuredContent` that is no object.
///
/// A result that does not say that it is complete stays as it is.
pub fn plain(payload: &Raw) -> Vec<Edit> {
    if said(payload) != Some(Kind::Complete) {
        return Vec::new();
    }
    let whole = Part::of(payload);
    let [(ttl, _), (scope, _)] = HINTS;
    let mut keys = vec![RESULT_TYPE, ttl, scope];
    let structured = || whole.entries().filter(|entry| entry.is("structuredContent"));
    if structured().any(|entry| !entry.value.is_object()) {
        keys.push("structuredContent");
    }
    without_members(whole, &keys, &[SERVER_INFO])
}

/// A tool's definition for clients of the stateless era, if it is not the same: without `execution`, which speaks of
/// the tasks of 2025-11-25.
pub fn tool_for_stateless(definition: &Raw) -> Option<Raw> {
    let is_foreign = part::mentions(definition, &["execution"]);
    is_foreign.then(|| without(definition, "execution")).flatten()
}

/// A tool's definition for clients of the handshake era, if it is not the same: without an `outputSchema` that is not
/// one of objects.
pub fn tool_for_handshake(definition: &Raw) -> Option<Raw> {
    if !part::mentions(definition, &["outputSchema"]) {
        return None;
    }
    let is_of_objects =
        |schema: Part<'_>| schema.member("type").and_then(Part::string).is_some_and(|kind| kind == "object");
    let mut schemas = Part::of(definition).entries().filter(|entry| entry.is("outputSchema"));
    schemas.any(|entry| !is_of_objects(entry.value)).then(|| without(definition, "outputSchema")).flatten()
}

fn without(definition: &Raw, key: &str) -> Option<Raw> {
    let ranges = Part::of(definition).without(&[key]);
    let edits: Vec<Edit> = ranges.into_iter().map(|at| (at, Bytes::new())).collect();
    (!edits.is_empty()).then(|| definition.edited(&edits))
}

/// The edit that gives an error of the stateless era for a resource that does not exist the code of the other one.
pub fn not_found_plain(method: &Method, error: &Raw) -> Option<Edit> {
    if *method != Method::ResourcesRead {
        return None;
    }
    let is_meant = |whole: Part<'_>| {
        let uri = whole.member("data").and_then(|data| data.member("uri")).and_then(Part::string);
        let message = || whole.member("message").and_then(Part::string);
        uri.is_some() || message().is_some_and(|text| text.to_ascii_lowercase().contains("not found"))
    };
    recoded(error, INVALID_PARAMS, RESOURCE_NOT_FOUND).filter(|_| is_meant(Part::of(error)))
}

/// The edit that gives an error of the handshake era for a resource that does not exist the code of the other one.
pub fn not_found_stateless(error: &Raw) -> Option<Edit> {
    recoded(error, RESOURCE_NOT_FOUND, INVALID_PARAMS)
}

fn recoded(error: &Raw, from: i32, to: i32) -> Option<Edit> {
    let code = Part::of(error).member("code")?;
    (code.text() == from.to_string()).then(|| (code.at(), to.to_string().into()))
}
