//! The few members of parameters and results that the gateway reads or rewrites.

use crate::wire::{
    message::excerpt,
    part::{self, Part},
    raw,
    raw::Raw,
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// What is read of a request that names something (`tools/call`, `prompts/get`, `resources/read`): the name or URI, and
/// the progress token.
#[derive(Debug)]
pub struct Named<'a> {
    /// The name or URI, unescaped.
    pub name: Cow<'a, str>,
    /// Where the name's JSON string stands in the parameters.
    pub name_at: Range<usize>,
    /// The progress token and where it stands, if there is one.
    pub token: Option<(Raw, Range<usize>)>,
    /// Whether the client wants a task in place of the result (2025-11-25, experimental).
    pub is_task: bool,
}

/// The `structuredContent` of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Structured {
    /// This.
    Found(Raw),
    /// There is none.
    Missing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallResult<'a> {
    #[serde(borrow, default)]
    structured_content: Option<&'a RawValue>,
    #[serde(default)]
    is_error: Option<bool>,
    #[serde(borrow, default)]
    result_type: Option<Cow<'a, str>>,
    #[serde(default)]
    task: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct NamedParams<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    uri: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    task: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MetaOnly<'a> {
    #[serde(borrow, default, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ProgressParams<'a> {
    #[serde(borrow, default, rename = "progressToken")]
    progress_token: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CancelledParams<'a> {
    #[serde(borrow, default, rename = "requestId")]
    request_id: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ListParams<'a> {
    #[serde(borrow, default)]
    cursor: Option<&'a RawValue>,
}

/// Reads what [`Named`] tells from the parameters of a request that names its object by the member `key`; the text
/// says what was wrong. `arguments` is an object wherever it stands.
pub fn named<'a>(params: &'a Raw, key: &str) -> Result<Named<'a>, String> {
    let read: NamedParams<'a> = serde_json::from_str(params.as_str()).map_err(|error| shape(&error))?;
    let path = format!("params.{key}");
    let name = if key == "uri" { read.uri } else { read.name };
    let Some(name) = name else { return Err(format!("`{path}` must be a string; found nothing")) };
    let text: Cow<'a, str> = string(name).ok_or_else(|| wrong(&path, "a string", name))?;
    if let Some(arguments) = read.arguments.filter(|arguments| !arguments.get().starts_with('{')) {
        return Err(wrong("params.arguments", "an object", arguments));
    }
    let token = read.meta.map(|meta| token(params, meta)).transpose()?.flatten();
    let (name_at, is_task) = (raw::range_within(params.as_bytes(), name), read.task.is_some());
    Ok(Named { name: text, name_at, token, is_task })
}

/// The string member `key` of an object, unescaped, and where its JSON string stands; the text says what was wrong.
pub fn text<'a>(object: &'a Raw, key: &str) -> Result<(Cow<'a, str>, Range<usize>), String> {
    let found = member(object, key)?.ok_or_else(|| format!("`{key}` must be a string; found nothing"))?;
    let wrong = || format!("`{key}` must be a string; found {}", excerpt(found.text()));
    Ok((found.string().ok_or_else(wrong)?, found.at()))
}

/// The object member `key` of an object, and where it stands, if there is one.
pub fn object(object: &Raw, key: &str) -> Option<(Raw, Range<usize>)> {
    let found = member(object, key).ok()??;
    found.is_object().then(|| (found.copy(), found.at()))
}

/// The member of that name; one that stands there twice is refused, since its readers would not agree on which counts.
fn member<'a>(object: &'a Raw, key: &str) -> Result<Option<Part<'a>>, String> {
    let [found] = Part::of(object).members([key])?;
    Ok(found)
}

/// The arguments of a `tools/call`, if there are any.
pub fn arguments(params: &Raw) -> Option<Raw> {
    let read: NamedParams<'_> = serde_json::from_str(params.as_str()).ok()?;
    read.arguments.map(|arguments| part(params, arguments))
}

/// What a result of `tools/call` has to show for its tool's `outputSchema`.
///
/// `None` if it need not: it tells of an error, or is not the end of the matter.
pub fn structured(result: &Raw) -> Option<Structured> {
    let read: CallResult<'_> = serde_json::from_str(result.as_str()).ok()?;
    let is_final = read.result_type.is_none_or(|kind| kind == "complete") && read.task.is_none();
    if read.is_error == Some(true) || !is_final {
        return None;
    }
    Some(
        read.structured_content
            .map_or(Structured::Missing, |content| Structured::Found(part(result, content))),
    )
}

/// A part of a text, without a copy.
fn part(whole: &Raw, part: &RawValue) -> Raw {
    Raw::trusted(&whole.clone().into_bytes(), raw::range_within(whole.as_bytes(), part))
}

/// The progress token of any other request's parameters, and where it stands.
pub fn progress_token(params: &Raw) -> Result<Option<(Raw, Range<usize>)>, String> {
    let read: MetaOnly<'_> = serde_json::from_str(params.as_str()).map_err(|error| shape(&error))?;
    Ok(read.meta.map(|meta| token(params, meta)).transpose()?.flatten())
}

/// The token of a `notifications/progress` and where it stands in the parameters.
pub fn progress(params: &Raw) -> Option<(Raw, Range<usize>)> {
    let read: ProgressParams<'_> = serde_json::from_str(params.as_str()).ok()?;
    read.progress_token.map(|token| located(params, token))
}

/// The id that a `notifications/cancelled` names, and where it stands in the parameters.
pub fn cancelled(params: &Raw) -> Option<(Raw, Range<usize>)> {
    let read: CancelledParams<'_> = serde_json::from_str(params.as_str()).ok()?;
    read.request_id.map(|id| located(params, id))
}

/// The cursor of a list request.
pub fn cursor(params: &Raw) -> Result<Option<Cow<'_, str>>, String> {
    let read: ListParams<'_> = serde_json::from_str(params.as_str()).map_err(|error| shape(&error))?;
    let Some(cursor) = read.cursor else { return Ok(None) };
    string(cursor).map(Some).ok_or_else(|| wrong("params.cursor", "a string", cursor))
}

fn token(params: &Raw, meta: &RawValue) -> Result<Option<(Raw, Range<usize>)>, String> {
    if !meta.get().starts_with('{') {
        return Err(wrong("params._meta", "an object", meta));
    }
    // The value was parsed already, so that only its shape can be wrong: a key twice.
    // The lifetime must be the parameters', hence the slice of them and not `meta.get()`.
    let at = raw::range_within(params.as_bytes(), meta);
    let read: Meta<'_> = serde_json::from_slice(&params.as_bytes()[at]).map_err(|error| shape(&error))?;
    let Some(token) = read.progress_token else { return Ok(None) };
    if !matches!(token.get().as_bytes().first(), Some(b'"' | b'-' | b'0'..=b'9')) {
        return Err(wrong("params._meta.progressToken", "a string or a number", token));
    }
    Ok(Some(located(params, token)))
}

fn located(params: &Raw, part: &RawValue) -> (Raw, Range<usize>) {
    let range = raw::range_within(params.as_bytes(), part);
    (Raw::of(part), range)
}

fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    part::string(value.get())
}

fn wrong(path: &str, expected: &str, found: &RawValue) -> String {
    format!("`{path}` must be {expected}; found {}", excerpt(found.get()))
}

fn shape(error: &serde_json::Error) -> String {
    format!("the parameters are not as specified: {error}")
}
