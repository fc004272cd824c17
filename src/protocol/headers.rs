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
    of_named(method, named(method, params).as_deref())
}

/// The same of a request that names its object so.
pub fn of_named(method: &Method, name: Option<&str>) -> Vec<(HeaderName, HeaderValue)> {
    let version = crate::protocol::version::Version::STATELESS.as_str();
    let mut headers = vec![(VERSION, HeaderValue::from_static(version))];
    headers.extend(HeaderValue::from_str(&encode(method.as_str())).ok().map(|value| (METHOD, value)));
    let name = name.and_then(|name| HeaderValue::from_str(&encode(name)).ok());
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

/// An argument that can stand in a header.
#[derive(Debug)]
enum Plain<'a> {
    /// A text, `true` or `false`: compared as it is.
    Text(Cow<'a, str>),
    /// A number: compared by its value.
    Number(&'a str),
}

/// The argument at `path`; nothing for what is absent, null or not plain.
fn plain<'a>(arguments: Option<&'a Raw>, path: &[String]) -> Option<Plain<'a>> {
    let step = |part: Part<'a>, key: &String| {
        part.entries().filter(|entry: &Entry<'a>| entry.is(key)).last().map(|entry| entry.value)
    };
    let found = path.iter().try_fold(Part::of(arguments?), step)?;
    match found.text().as_bytes().first()? {
        b'"' => found.string().map(Plain::Text),
        b't' | b'f' => Some(Plain::Text(Cow::Borrowed(found.text()))),
        b'-' | b'0'..=b'9' => Some(Plain::Number(found.text())),
        _ => None,
    }
}

/// A number as it stands in a header: an integer without point and exponent, however it is written.
fn number(text: &str) -> Cow<'_, str> {
    if text.parse::<i128>().is_ok() {
        return Cow::Borrowed(if text == "-0" { "0" } else { text });
    }
    match text.parse::<f64>() {
        Ok(value) if value.fract() == 0.0 && value.abs() <= MOST_EXACT => Cow::Owned(format!("{value:.0}")),
        _ => Cow::Borrowed(text),
    }
}

/// Whether two texts are the same number.
fn is_same_number(one: &str, other: &str) -> bool {
    let (one, other) = (number(one), number(other));
    // Texts that differ may still be one integer: `007`.
    one == other || one.parse::<i128>().is_ok_and(|one| other.parse() == Ok(one))
}

/// The headers of the arguments of a `tools/call`.
pub fn values(mirrored: &[Mirrored], arguments: Option<&Raw>) -> Vec<(HeaderName, HeaderValue)> {
    let header = |mirrored: &Mirrored| {
        let value = match plain(arguments, &mirrored.path)? {
            Plain::Text(text) => encode(&text),
            Plain::Number(text) => number(text).into_owned(),
        };
        let name = HeaderName::from_bytes(mirrored.header.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(&value).ok()?))
    };
    mirrored.iter().filter_map(header).collect()
}

/// Checks that the headers say what the body of a request says: revision, method and name.
pub fn check(headers: &HeaderMap, method: &Method, params: Option<&Raw>) -> Result<(), Failure> {
    let version = single(headers, &VERSION)?.ok_or_else(|| missing(&VERSION))?;
    // What is no string, whoever reads the body refuses.
    let named_version = params.and_then(stateless::version).and_then(Part::string);
    if let Some(named) = named_version.filter(|named| named != version) {
        return Err(differs(&VERSION, version, &named));
    }
    let said = single(headers, &METHOD)?.ok_or_else(|| missing(&METHOD))?;
    if said != method.as_str() {
        return Err(differs(&METHOD, said, method.as_str()));
    }
    let twice = name_key(method)
        .zip(params)
        .filter(|(key, params)| Part::of(params).entries().filter(|entry| entry.is(key)).count() > 1);
    if let Some((key, _)) = twice {
        return Err(mismatch(&NAME, format!("`params.{key}` stands there twice")));
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
        let (said, value) = (single(headers, &name)?, plain(arguments, &mirrored.path));
        match (said, &value) {
            (None, None) => {}
            (None, Some(_)) => return Err(missing(&name)),
            (Some(said), None) => return Err(differs(&name, said, "nothing")),
            (Some(said), Some(Plain::Text(text))) => {
                let said = decoded(&name, said)?;
                if said != *text {
                    return Err(differs(&name, &said, text));
                }
            }
            (Some(said), Some(Plain::Number(text))) => {
                let said = decoded(&name, said)?;
                if !is_same_number(&said, text) {
                    return Err(differs(&name, &said, text));
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
        .hint("requests of this revision repeat their revision, their method and what they name in headers")
}

fn differs(name: &HeaderName, header: &str, body: &str) -> Failure {
    let (header, body) = (excerpt(header), excerpt(body));
    mismatch(name, format!("the header {name} says \"{header}\", the body \"{body}\""))
}

fn mismatch(name: &HeaderName, message: String) -> Failure {
    Failure::header_mismatch(name.as_str(), message)
}

#[cfg(test)]
mod tests {
    use super::{Mirrored, check, check_params, decode, encode, mirrored, standard, values};
    use crate::wire::{error::HEADER_MISMATCH, method::Method, odd::raw, raw::Raw};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    fn map(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn values_are_written_as_the_text_says() {
        for (value, expected) in [
            ("us-west1", "us-west1"),
            ("us west 1", "us west 1"),
            ("", ""),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("\tindented", "=?base64?CWluZGVudGVk?="),
            ("line1\r\nline2", "=?base64?bGluZTENCmxpbmUy?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("=?base64?SGVsbG8=", "=?base64?SGVsbG8="),
        ] {
            assert_eq!(encode(value), expected);
            assert_eq!(decode(expected).as_deref(), Ok(value));
        }
        for wrong in ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?=", "=?base64?/w==?="] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn annotations_are_found_along_properties() {
        let schema = raw(
            r#"{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},
            "x-mcp-header":{"type":"string"},"a":{"type":"object","properties":{"b":{"type":"integer","x-mcp-header":"B"}}},
            "c":{"type":"string","default":{"x-mcp-header":1},"enum":[{"x-mcp-header":1}]}}}"#,
        );
        let path = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(
            mirrored(&schema),
            Ok(vec![
                Mirrored { header: "mcp-param-region".into(), path: path(&["region"]) },
                Mirrored { header: "mcp-param-b".into(), path: path(&["a", "b"]) },
            ])
        );
        assert_eq!(mirrored(&raw(r#"{"type":"object"}"#)), Ok(Vec::new()));
        assert_eq!(mirrored(&raw("true")), Ok(Vec::new()));
    }

    #[test]
    fn annotations_that_are_not_as_specified_are_refused() {
        let property =
            |kind: &str, header: &str| json!({"properties": {"p": {"type": kind, "x-mcp-header": header}}});
        let twice = |one: &str, other: &str| json!({"properties": {"p": {"type": "string", "x-mcp-header": one}, "q": {"type": "string", "x-mcp-header": other}}});
        let annotated = json!({"type": "string", "x-mcp-header": "A"});
        for schema in [
            property("string", ""),
            property("object", "Data"),
            property("array", "Items"),
            property("null", "Nil"),
            property("number", "Score"),
            property("string", "My Region"),
            property("string", "Region:Primary"),
            property("string", "Région"),
            property("string", "Region\t1"),
            twice("Region", "Region"),
            twice("MyField", "myfield"),
            json!({"properties": {"p": {"type": "string", "x-mcp-header": 1}}}),
            json!({"properties": {"p": {"x-mcp-header": "A"}}}),
            json!({"properties": {"p": {"type": ["string", "null"], "x-mcp-header": "A"}}}),
            json!({"type": "string", "x-mcp-header": "A"}),
            json!({"properties": {"p": {"type": "array", "items": annotated}}}),
            json!({"$defs": {"d": annotated}}),
            json!({"anyOf": [{"properties": {"p": annotated}}]}),
            json!({"properties": {"p": {"items": {"properties": {"q": annotated}}}}}),
        ] {
            assert!(mirrored(&Raw::of(&schema)).is_err(), "{schema}");
        }
    }

    fn of(header: &str, path: &[&str]) -> Mirrored {
        Mirrored { header: header.into(), path: path.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn arguments_are_mirrored_as_their_headers_say() {
        let all = [of("mcp-param-a", &["a"]), of("mcp-param-b", &["o", "b"])];
        for (arguments, expected) in [
            (r#"{"a":"x y","o":{"b":1}}"#, vec!["x y", "1"]),
            (r#"{"a":true,"o":{"b":"é"}}"#, vec!["true", "=?base64?w6k=?="]),
            (r#"{"a":4.2e1,"o":{"b":-0}}"#, vec!["42", "0"]),
            (
                r#"{"a":3.14159,"o":{"b":123456789012345678901234567890}}"#,
                vec!["3.14159", "123456789012345678901234567890"],
            ),
            (r#"{"\u0061":"","o":null}"#, vec![""]),
            (r#"{"a":null,"o":{"b":[]}}"#, vec![]),
            ("{}", vec![]),
        ] {
            let arguments = raw(arguments);
            let headers = values(&all, Some(&arguments));
            let texts: Vec<_> = headers.iter().map(|(_, value)| value.to_str().expect("a text")).collect();
            assert_eq!(texts, expected);
            assert_eq!(check_params(&headers.into_iter().collect(), &all, Some(&arguments)), Ok(()));
        }
        assert!(values(&all, None).is_empty());
    }

    #[test]
    fn headers_of_arguments_must_say_what_the_body_says() {
        let all = [of("mcp-param-a", &["a"])];
        for (arguments, header, is_right) in [
            (r#"{"a":"Hello"}"#, Some("=?base64?SGVsbG8=?="), true),
            (r#"{"a":"Hello"}"#, Some("Hello"), true),
            (r#"{"a":"Hello"}"#, Some("hello"), false),
            (r#"{"a":"Hello"}"#, Some("=?base64?SGVsbG8?="), false),
            (r#"{"a":"Hello"}"#, None, false),
            (r#"{"a":null}"#, None, true),
            (r#"{"a":null}"#, Some("null"), false),
            (r#"{"a":7}"#, Some("7.0"), true),
            (r#"{"a":7.0}"#, Some("007"), true),
            (r#"{"a":7}"#, Some("8"), false),
            (r#"{"a":7}"#, Some("seven"), false),
            (r#"{"a":"7"}"#, Some("7.0"), false),
            (r#"{"a":true}"#, Some("True"), false),
            (r#"{"a":"é"}"#, Some("é"), false),
        ] {
            let headers = map(&header.map(|value| ("Mcp-Param-A", value)).into_iter().collect::<Vec<_>>());
            let checked = check_params(&headers, &all, Some(&raw(arguments)));
            assert_eq!(checked.is_ok(), is_right, "{arguments} {header:?}");
        }
    }

    #[test]
    fn headers_must_say_what_the_body_says() {
        let params = raw(r#"{"name":"é","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#);
        let version = ("MCP-Protocol-Version", "2026-07-28");
        let (method, name) = (("MCP-METHOD", "tools/call"), ("mcp-name", "  =?base64?w6k=?= "));
        assert_eq!(check(&map(&[version, method, name]), &Method::ToolsCall, Some(&params)), Ok(()));
        for (headers, word) in [
            (vec![method, name], "mcp-protocol-version is missing"),
            (vec![("mcp-protocol-version", "v999"), method, name], "says \"v999\", the body \"2026-07-28\""),
            (vec![version, name], "mcp-method is missing"),
            (vec![version, ("mcp-method", "TOOLS/CALL"), name], "mcp-method says"),
            (vec![version, method], "mcp-name is missing"),
            (vec![version, method, ("mcp-name", "wrong")], "mcp-name says \"wrong\""),
            (vec![version, method, ("mcp-name", "é")], "no plain text"),
            (vec![version, method, name, name], "twice"),
        ] {
            let failure = check(&map(&headers), &Method::ToolsCall, Some(&params)).expect_err("a mismatch");
            assert_eq!(failure.code, HEADER_MISMATCH);
            assert!(failure.message.contains(word), "{}", failure.message);
        }
        assert_eq!(check(&map(&[version, ("mcp-method", "tools/list")]), &Method::ToolsList, None), Ok(()));
    }

    proptest! {
        #[test]
        fn every_text_survives_its_header(text in proptest::prelude::any::<String>()) {
            let header = encode(&text);
            // Nothing that a hop may trim or refuse.
            prop_assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
            prop_assert_eq!(header.trim(), &header);
            let decoded = decode(&header);
            prop_assert_eq!(decoded.as_deref(), Ok(&*text));
        }

        #[test]
        fn our_own_headers_are_right(name in proptest::prelude::any::<String>()) {
            let params = Raw::of(&json!({"name": name, "uri": name, "taskId": name, "arguments": {"a": name}}));
            for method in [Method::ToolsCall, Method::ResourcesRead, Method::TasksGet, Method::ToolsList] {
                let headers = standard(&method, Some(&params)).into_iter().collect();
                prop_assert_eq!(check(&headers, &method, Some(&params)), Ok(()));
            }
            let all = [of("mcp-param-a", &["arguments", "a"])];
            let headers = values(&all, Some(&params)).into_iter().collect();
            prop_assert_eq!(check_params(&headers, &all, Some(&params)), Ok(()));
        }
    }
}
