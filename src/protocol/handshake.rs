//! `initialize`, as a server answers it and as a client asks it.

use crate::{
    protocol::{ask::Refusal, version::Version},
    wire::{
        message::{Request, excerpt},
        method::Method,
        part::Part,
        raw::Raw,
        splice::splice,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use std::{borrow::Cow, collections::HashMap, ops::Range};

/// What a client says of itself in `initialize`.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The revision that it asked for.
    pub requested: String,
    /// Its name and version, for logs; bounded.
    pub client: String,
    /// Its capabilities, as it sent them.
    pub capabilities: Raw,
    /// What it says of itself, as it sent it.
    pub client_info: Raw,
    /// What upstreams may ask of it.
    pub offers: Offers,
}

/// What upstreams may ask of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a capability of its own")]
pub struct Offers {
    /// `sampling/createMessage`.
    pub sampling: bool,
    /// `elicitation/create` with a form.
    pub forms: bool,
    /// `elicitation/create` with a URL.
    pub urls: bool,
    /// `roots/list`.
    pub roots: bool,
    /// `tasks/…` (2025-11-25, experimental).
    pub tasks: bool,
}

/// What an upstream says of itself in its answer to `initialize`.
#[derive(Clone, Debug)]
pub struct Welcome {
    /// The revision that is spoken from here on.
    pub version: Version,
    /// Its capabilities, as they were sent.
    pub capabilities: Map<String, Value>,
    /// Its `serverInfo`, as it was sent.
    pub server_info: Raw,
    /// Its instructions for the model.
    pub instructions: Option<String>,
    /// Its whole answer, as it was sent.
    pub raw: Raw,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelloParams<'a> {
    #[serde(default)]
    protocol_version: Value,
    #[serde(borrow, default)]
    client_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    capabilities: Option<&'a RawValue>,
}

/// The most bytes of a client's capabilities, and of what it says of itself: both are kept for its session.
const MAX_HELLO: usize = 16 * 1024;

/// Reads the parameters of a client's `initialize`; the text says what was wrong.
pub fn read_hello(params: Option<&Raw>) -> Result<Hello, String> {
    let Some(params) = params else { return Err("`params` must be an object; found nothing".into()) };
    let read: HelloParams<'_> = serde_json::from_str(params.as_str()).map_err(|error| error.to_string())?;
    let Value::String(requested) = read.protocol_version else {
        return Err(format!(
            "`params.protocolVersion` must be a string such as \"{}\"; found {}",
            Version::LATEST.as_str(),
            found(&read.protocol_version)
        ));
    };
    // The schema requires both; what is absent harms nobody, what has another type would.
    let object = |path: &str, value: Option<&RawValue>| match value.map(RawValue::get) {
        None | Some("null") => Ok(Raw::of(&json!({}))),
        Some(text) => part(path, text),
    };
    let capabilities = object("params.capabilities", read.capabilities)?;
    let client_info = object("params.clientInfo", read.client_info)?;
    Ok(Hello::new(requested, capabilities, client_info))
}

/// An object that a client says of itself, copied and bounded; the text says what was wrong.
pub(super) fn part(path: &str, text: &str) -> Result<Raw, String> {
    if !text.starts_with('{') {
        return Err(format!("`{path}` must be an object; found {}", excerpt(text)));
    }
    if text.len() > MAX_HELLO {
        return Err(format!("`{path}` has {} bytes; {MAX_HELLO} are allowed", text.len()));
    }
    Ok(Raw::spliced(text.to_owned().into()))
}

fn found(value: &Value) -> String {
    if value.is_null() { "nothing".into() } else { excerpt(&value.to_string()) }
}

/// Our answer to `initialize`, where it is not an upstream's own; `info` says who answers.
pub fn welcome(version: Version, capabilities: &Value, instructions: Option<&str>, info: &Raw) -> Raw {
    let (version, capabilities) = (Raw::of(version.as_str()), Raw::of(capabilities));
    let instructions =
        instructions.map_or_else(String::new, |text| format!(r#","instructions":{}"#, Raw::of(text)));
    let text = format!(
        r#"{{"protocolVersion":{version},"capabilities":{capabilities},"serverInfo":{info}{instructions}}}"#
    );
    Raw::spliced(text.into())
}

/// The parameters of `initialize` to an upstream: for one client with what that client is and offers, or for all with
/// everything that can be passed on to whoever calls.
pub fn hello(client: Option<(&Hello, Version)>) -> Raw {
    let (version, capabilities, client_info) = match client {
        // Whatever era the client is of, this upstream is of the handshake era.
        Some((hello, version)) => {
            (version.min(Version::LATEST), hello.capabilities.clone(), hello.client_info.clone())
        }
        None => {
            let mut capabilities = offered();
            capabilities["roots"] = json!({"listChanged": true});
            (Version::LATEST, Raw::of(&capabilities), info())
        }
    };
    let version = Raw::of(version.as_str());
    let text = format!(
        r#"{{"protocolVersion":{version},"capabilities":{capabilities},"clientInfo":{client_info}}}"#
    );
    Raw::spliced(text.into())
}

/// Everything that can be passed on to whoever calls, as the capabilities of a client that tells of no changes.
pub fn offered() -> Value {
    json!({
        "sampling": {"context": {}, "tools": {}},
        "elicitation": {"form": {}, "url": {}},
        "roots": {},
    })
}

/// What the gateway says of itself, to clients and to upstreams.
pub fn info() -> Raw {
    Raw::of(&json!({"name": "trunkline", "title": "Trunkline", "version": env!("CARGO_PKG_VERSION")}))
}

/// Reads an upstream's answer to `initialize`; the text says what was wrong.
pub fn read_welcome(result: &Raw) -> Result<Welcome, String> {
    let [version, capabilities, server_info, instructions] =
        Part::of(result).members(["protocolVersion", "capabilities", "serverInfo", "instructions"])?;
    let version = version.and_then(Part::string).ok_or("it names no `protocolVersion`")?;
    let Some(version) = Version::parse(&version) else {
        let found = excerpt(&version);
        return Err(format!("it speaks MCP {found}; this gateway speaks {} with it", Version::names()));
    };
    let server_info = server_info.map_or_else(|| Raw::of(&json!({"name": "?", "version": "?"})), Part::copy);
    let capabilities = read_capabilities(capabilities)?;
    let instructions = instructions.and_then(Part::string).map(Cow::into_owned);
    Ok(Welcome { version, capabilities, server_info, instructions, raw: result.clone() })
}

/// Reads the capabilities of a server.
pub(in crate::protocol) fn read_capabilities(part: Option<Part<'_>>) -> Result<Map<String, Value>, String> {
    let mut read = Map::new();
    if let Some(capabilities) = part {
        let members: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(capabilities.text())
            .map_err(|error| format!("its `capabilities` are not as specified: {error}"))?;
        for (name, value) in members {
            // What cannot be read of one, such as a number beyond all bounds, must not cost the others.
            let value = serde_json::from_str(value.get()).unwrap_or_else(|_| json!({}));
            read.insert(name.into_owned(), value);
        }
    }
    Ok(read)
}

/// An upstream's own answer to `initialize` for a client of an alias's own endpoint: every byte as it was sent, but for the
/// revision that was agreed on with that client, and `capabilities`, the members of which are replaced or added.
pub fn own_welcome(version: Version, upstream: &Welcome, replaced: &[(&str, Value)]) -> Raw {
    let raw = &upstream.raw;
    let whole = Part::of(raw);
    let (mut edits, mut inserted) = (Vec::<(Range<usize>, Raw)>::new(), Vec::new());
    if let Some(part) = whole.member("protocolVersion").filter(|_| upstream.version != version) {
        edits.push((part.at(), Raw::of(version.as_str())));
    }
    if let Some(capabilities) = whole.member("capabilities") {
        for (name, value) in replaced {
            if let Some(part) = capabilities.member(name) {
                edits.push((part.at(), Raw::of(value)));
            }
        }
        for name in LISTED {
            let Some(own) = capabilities.member(name).filter(|part| part.text().starts_with('{')) else {
                continue;
            };
            match own.member("listChanged") {
                Some(says) if says.text() == "true" => {}
                Some(says) => edits.push((says.at(), Raw::of(&true))),
                None => {
                    let is_empty = own.text()[1..].trim_start().starts_with('}');
                    let at = own.at().start + 1;
                    let text = if is_empty { r#""listChanged":true"# } else { r#""listChanged":true,"# };
                    inserted.push((at..at, text));
                }
            }
        }
    }
    let mut edits: Vec<_> = edits.iter().map(|(at, text)| (at.clone(), text.as_bytes())).collect();
    edits.extend(inserted.iter().map(|(at, text): &(Range<usize>, &str)| (at.clone(), text.as_bytes())));
    Raw::spliced(splice(raw.as_bytes(), &mut edits))
}

/// The capabilities that have lists: the gateway reads them again and again, and tells of changes whether or not the
/// upstream does.
pub const LISTED: [&str; 3] = ["tools", "prompts", "resources"];

// === impl Hello ===

impl Hello {
    /// What a client says of itself, read; both are objects.
    pub(super) fn new(requested: String, capabilities: Raw, client_info: Raw) -> Self {
        // Part by part: what cannot be read of one, such as a number beyond all bounds, must not cost the others.
        let info = |key: &str| Part::of(&client_info).member(key).and_then(Part::string);
        let text = |key: &str| excerpt(&info(key).unwrap_or("?".into()));
        let client = format!("{} {}", text("name"), text("version"));
        // Upstreams may insist on what the schema requires.
        let is_whole = ["name", "version"].into_iter().all(|key| info(key).is_some());
        let client_info = if is_whole {
            client_info
        } else {
            Raw::of(&json!({"name": text("name"), "version": text("version")}))
        };
        let offers = Offers::of(&capabilities);
        Self { requested, client, capabilities, client_info, offers }
    }
}

// === impl Offers ===

impl Offers {
    /// Reads a client's capabilities.
    pub fn of(capabilities: &Raw) -> Self {
        let object = |part: Option<Part<'_>>| part.is_some_and(|part| part.text().starts_with('{'));
        let has = |name: &str| object(Part::of(capabilities).member(name));
        let elicitation = || Part::of(capabilities).member("elicitation");
        let mode = |mode: &str| object(elicitation().and_then(|part| part.member(mode)));
        Self {
            sampling: has("sampling"),
            // An empty object means forms (elicitation, "Capabilities").
            forms: has("elicitation") && (mode("form") || !mode("url")),
            urls: mode("url"),
            roots: has("roots"),
            tasks: has("tasks"),
        }
    }

    /// Whether the client may be asked at all.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether a question may be put to the client. What is not known here may, if the session with the upstream
    /// `is_own`: nobody but this client could be meant.
    pub fn allow(self, request: &Request, is_own: bool) -> Result<(), Refusal> {
        let offered = match request.method {
            Method::Sampling => self.sampling,
            Method::RootsList => self.roots,
            Method::TasksGet | Method::TasksResult | Method::TasksList | Method::TasksCancel => {
                self.tasks && is_own
            }
            Method::Elicit => {
                let is_offered = if is_url(request) { self.urls } else { self.forms };
                if !is_offered && (self.urls || self.forms) {
                    return Err(Refusal::Mode);
                }
                is_offered
            }
            _ => is_own,
        };
        if offered { Ok(()) } else { Err(Refusal::NotOffered) }
    }
}

fn is_url(elicit: &Request) -> bool {
    #[derive(Deserialize)]
    struct Mode {
        #[serde(default)]
        mode: Value,
    }
    let params = elicit.params();
    let read = params.as_ref().and_then(|params| serde_json::from_str::<Mode>(params.as_str()).ok());
    read.is_some_and(|read| read.mode == "url")
}
