//! What of a request stands in HTTP headers as well, so that others can route it unread (2026-07-28, SEP-2243).

use crate::{
    protocol::stateless,
    wire::{
        error::Failure,
        message::excerpt,
        method::Method,
        part::{self, Entry, Part},
        raw::Raw,
    },
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use std::{borrow::Cow, collections::HashSet};

/// The revision.
pub const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The method.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// What the request names: a tool, a prompt, a resource, a task.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// What the headers of arguments begin with.
const PARAM: &str = "mcp-param-";

/// What a value that cannot stand in a header as it is begins and ends with there.
const SENTINEL: (&str, &str) = ("=?base64?", "?=");
/// What a property of a schema says its header with.
const ANNOTATION: &str = "x-mcp-header";
/// Values that could be meant exactly: beyond, JSON's readers round.
const MOST_EXACT: f64 = 9_007_199_254_740_991.0;

/// An argument of a tool that stands in a header as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The header's name, in lower case.
    pub header: String,
    /// The names of the properties that lead to the argument.
    pub path: Vec<String>,
}

/// A value as it stands in a header: as it is if it can, else as Base64 that says so.
pub fn encode(value: &str) -> String {
    let (begin, end) = SENTINEL;
    let is_padded = value.starts_with(' ') || value.ends_with(' ');
    let is_printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_printable && !is_padded && !(value.starts_with(begin) && value.ends_with(end)) {
        return value.into();
    }
    format!("{begin}{}{end}", STANDARD.encode(value))
}

/// The value that stands in a header; the text says what was wrong.
pub fn decode(value: &str) -> Result<Cow<'_, str>, String> {
    let (begin, end) = SENTINEL;
    let Some(inner) = value.strip_prefix(begin).and_then(|rest| rest.strip_suffix(end)) else {
        return Ok(Cow::Borrowed(value));
    };
    let bytes = STANDARD.decode(inner).map_err(|error| format!("it is not Base64: {error}"))?;
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| "its Base64 is not of UTF-8 text".into())
}

/// The member of the parameters that stands in `Mcp-Name` as well.
pub fn name_key(method: &Method) -> Option<&'static str> {
    match method {
        Method::ToolsCall | Method::PromptsGet => Some("name"),
        Method::ResourcesRead => Some("uri"),
        Method::TasksGet | Method::TasksUpdate | Method::TasksCancel => Some("taskId"),
        _ => None,
    }
}

/// The headers of a request to an upstream, but for those of its arguments.
pub fn standard(method: &Method, params: Option<&Raw>) -> Vec<(HeaderName, HeaderValue)> {
    let version = crate::protocol::version::Version::STATELESS.as_str();
    let mut headers = vec![(VERSION, HeaderValue::from_static(version))];
    headers.extend(HeaderValue::from_str(&encode(method.as_str())).ok().map(|value| (METHOD, value)));
    let name = named(method, params).and_then(|name| HeaderValue::from_str(&encode(&name)).ok());
    headers.extend(name.map(|value| (NAME, value)));
    headers
}

fn named<'a>(method: &Method, params: Option<&'a Raw>) -> Option<Cow<'a, str>> {
    Part::of(params?).member(name_key(method)?)?.string()
}

/// The arguments that stand in headers as well, by the annotations of a tool's input schema; the text says which of
/// those is not as specified (a client over HTTP then leaves the tool out).
pub fn mirrored(input_schema: &Raw) -> Result<Vec<Mirrored>, String> {
    let mut found = Vec::new();
    if part::mentions(input_schema, &[ANNOTATION]) {
        collect(Part::of(input_schema), Some(&mut Vec::new()), &mut found)?;
    }
    let mut seen = HashSet::new();
    match found.iter().find(|mirrored: &&Mirrored| !seen.insert(mirrored.header.as_str())) {
        Some(twice) => Err(format!("two properties have the header {}", excerpt(&twice.header))),
        None => Ok(found),
    }
}

/// Collects the annotations below a schema; `path` leads to it through `properties` alone, if anything does.
fn collect(
    schema: Part<'_>,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<Mirrored>,
) -> Result<(), String> {
    for item in schema.items().unwrap_or_default() {
        collect(item, None, found)?;
    }
    for entry in schema.entries() {
        let Some(key) = entry.key.string() else { continue };
        match &*key {
            ANNOTATION => match path.as_deref().filter(|path| !path.is_empty()) {
                Some(path) => found.push(annotation(schema, entry.value, path)?),
                None => return Err(format!("`{ANNOTATION}` stands where no chain of `properties` leads to")),
            },
            "properties" => {
                for property in entry.value.entries() {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(property.key.string().unwrap_or_default().into_owned());
                            collect(property.value, Some(&mut *path), found)?;
                            path.pop();
                        }
                        None => collect(property.value, None, found)?,
                    }
                }
            }
            // Names of properties, or the schemas' names: these are not the members of a schema.
            "$defs" | "definitions" | "dependencies" | "dependentSchemas" | "patternProperties" => {
                for named in entry.value.entries() {
                    collect(named.value, None, found)?;
                }
            }
            // Values, not schemas.
            "default" | "const" | "enum" | "examples" | "dependentRequired" | "required" => {}
            _ => collect(entry.value, None, found)?,
        }
    }
    Ok(())
}

fn annotation(schema: Part<'_>, header: Part<'_>, path: &[String]) -> Result<Mirrored, String> {
    let at = excerpt(&path.join("."));
    let Some(name) = header.string() else {
        return Err(format!("`{ANNOTATION}` of `{at}` must be a string; found {}", excerpt(header.text())));
    };
    // The syntax of a header's name is that of a token (RFC 9110, section 5.6.2).
    let is_token = |name: &str| {
        let is_mark = |byte| b"!#$%&'*+-.^_`|~".contains(&byte);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
    };
    let header = format!("{PARAM}{}", name.to_ascii_lowercase());
    if !is_token(&name) || HeaderName::from_bytes(header.as_bytes()).is_err() {
        return Err(format!("`{ANNOTATION}` of `{at}` is no name of a header: \"{}\"", excerpt(&name)));
    }
    let kind = schema.member("type").and_then(Part::string);
    if !kind.as_deref().is_some_and(|kind| matches!(kind, "string" | "integer" | "boolean")) {
        let found = kind.map_or("none of them".into(), |kind| excerpt(&kind));
        return Err(format!(
            "`{ANNOTATION}` of `{at}` needs the type string, integer or boolean; found {found}"
        ));
    }
    Ok(Mirrored { header, path: path.to_vec() })
}

/// An argument as the text that stands in its header; nothing for what is absent, null or not plain.
fn value<'a>(arguments: Option<&'a Raw>, path: &[String]) -> Option<Cow<'a, str>> {
    let step = |part: Part<'a>, key: &String| {
        part.entries().filter(|entry: &Entry<'a>| entry.is(key)).last().map(|entry| entry.value)
    };
    let found = path.iter().try_fold(Part::of(arguments?), step)?;
    match found.text().as_bytes().first()? {
        b'"' => found.string(),
        b't' | b'f' => Some(Cow::Borrowed(found.text())),
        b'-' | b'0'..=b'9' => Some(number(found.text())),
        _ => None,
    }
}

/// A number as it stands in a header: an integer without what it needs not, however it is written.
fn number(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return Cow::Borrowed(if text == "-0" { "0" } else { text });
    }
    match text.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() <= MOST_EXACT => Cow::Owned(format!("{value:.0}")),
        _ => Cow::Borrowed(text),
    }
}

/// The headers of the arguments of a `tools/call`.
pub fn values(mirrored: &[Mirrored], arguments: Option<&Raw>) -> Vec<(HeaderName, HeaderValue)> {
    let header = |mirrored: &Mirrored| {
        let value = encode(&value(arguments, &mirrored.path)?);
        let name = HeaderName::from_bytes(mirrored.header.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    };
    mirrored.iter().filter_map(header).collect()
}

/// Checks that the headers say what the body of a request says: revision, method and name.
pub fn check(headers: &HeaderMap, method: &Method, params: Option<&Raw>) -> Result<(), Failure> {
    let version = single(headers, &VERSION)?.ok_or_else(|| missing(&VERSION))?;
    if let Some(named) = stateless::names_version(params).filter(|named| named != version) {
        return Err(differs(&VERSION, version, &named));
    }
    let said = single(headers, &METHOD)?.ok_or_else(|| missing(&METHOD))?;
    if said != method.as_str() {
        return Err(differs(&METHOD, said, method.as_str()));
    }
    // Without a name in the body, there is nothing to compare; what it needs is said by whoever reads it.
    let Some(name) = named(method, params) else { return Ok(()) };
    let said = decoded(&NAME, single(headers, &NAME)?.ok_or_else(|| missing(&NAME))?)?;
    if said == name { Ok(()) } else { Err(differs(&NAME, &said, &name)) }
}

/// Checks that the headers of arguments say what the body of a `tools/call` says.
pub fn check_params(
    headers: &HeaderMap,
    mirrored: &[Mirrored],
    arguments: Option<&Raw>,
) -> Result<(), Failure> {
    for mirrored in mirrored {
        let Ok(name) = HeaderName::from_bytes(mirrored.header.as_bytes()) else { continue };
        match (single(headers, &name)?, value(arguments, &mirrored.path)) {
            (None, None) => {}
            (None, Some(_)) => return Err(missing(&name)),
            (Some(said), None) => return Err(differs(&name, said, "nothing")),
            (Some(said), Some(value)) => {
                let said = decoded(&name, said)?;
                if said != value && number(&said) != value {
                    return Err(differs(&name, &said, &value));
                }
            }
        }
    }
    Ok(())
}

/// The value of a header that must not stand there twice: others may have read the other one.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Failure> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch(name, format!("the header {name} stands there twice")));
    }
    let text = value.to_str().map_err(|_| mismatch(name, format!("the header {name} is no plain text")))?;
    Ok(Some(text.trim_matches([' ', '\t'])))
}

fn decoded<'h>(name: &HeaderName, value: &'h str) -> Result<Cow<'h, str>, Failure> {
    decode(value).map_err(|error| mismatch(name, format!("the header {name} cannot be read: {error}")))
}

fn missing(name: &HeaderName) -> Failure {
    mismatch(name, format!("the header {name} is missing"))
}

fn differs(name: &HeaderName, header: &str, body: &str) -> Failure {
    let (header, body) = (excerpt(header), excerpt(body));
    mismatch(name, format!("the header {name} says \"{header}\", the body \"{body}\""))
}

fn mismatch(name: &HeaderName, message: String) -> Failure {
    Failure::header_mismatch(name.as_str(), message)
}
