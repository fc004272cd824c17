//! `initialize`, as a server answers it and as a client asks it.

use crate::{
    protocol::version::Version,
    wire::{message::excerpt, raw::Raw},
};
use rmcp::model::{ClientCapabilities, Implementation, InitializeRequestParams};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

/// What a client says of itself in `initialize`.
#[derive(Clone, Debug)]
pub struct Hello {
    /// The revision that it asked for.
    pub requested: String,
    /// Its name and version, for logs; bounded.
    pub client: String,
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
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HelloParams {
    #[serde(default)]
    protocol_version: Value,
    #[serde(default)]
    client_info: Value,
    #[serde(default)]
    capabilities: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WelcomeResult {
    protocol_version: String,
    #[serde(default)]
    capabilities: Map<String, Value>,
    #[serde(default)]
    server_info: Option<Box<RawValue>>,
    #[serde(default)]
    instructions: Option<String>,
}

/// Reads the parameters of a client's `initialize`; the text says what was wrong.
pub fn read_hello(params: Option<&Raw>) -> Result<Hello, String> {
    let Some(params) = params else { return Err("`params` must be an object; found nothing".into()) };
    let read: HelloParams = serde_json::from_str(params.as_str()).map_err(|error| error.to_string())?;
    let Value::String(requested) = read.protocol_version else {
        return Err(format!(
            "`params.protocolVersion` must be a string such as \"{}\"; found {}",
            Version::LATEST.as_str(),
            found(&read.protocol_version)
        ));
    };
    for (path, value) in [("capabilities", &read.capabilities), ("clientInfo", &read.client_info)] {
        // The schema requires both; what is absent harms nobody, what has another type would.
        if !value.is_object() && !value.is_null() {
            return Err(format!("`params.{path}` must be an object; found {}", found(value)));
        }
    }
    let text = |key: &str| read.client_info.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
    Ok(Hello { requested, client: format!("{} {}", excerpt(&text("name")), excerpt(&text("version"))) })
}

fn found(value: &Value) -> String {
    if value.is_null() { "nothing".into() } else { excerpt(&value.to_string()) }
}

/// Our answer to `initialize`. An alias endpoint shows the upstream's own identity and instructions.
pub fn welcome(version: Version, capabilities: &Value, upstream: Option<&Welcome>) -> Raw {
    let server_info = match upstream {
        Some(upstream) => serde_json::from_str(upstream.server_info.as_str()).unwrap_or(Value::Null),
        None => json!({"name": "trunkline", "title": "Trunkline", "version": env!("CARGO_PKG_VERSION")}),
    };
    let mut result = Map::new();
    result.insert("protocolVersion".into(), version.as_str().into());
    result.insert("capabilities".into(), capabilities.clone());
    result.insert("serverInfo".into(), server_info);
    if let Some(instructions) = upstream.and_then(|upstream| upstream.instructions.as_ref()) {
        result.insert("instructions".into(), instructions.as_str().into());
    }
    Raw::of(&result)
}

/// The parameters of our own `initialize` to an upstream.
pub fn hello() -> Raw {
    let this = Implementation::new("trunkline", env!("CARGO_PKG_VERSION"));
    let params = InitializeRequestParams::new(ClientCapabilities::default(), this)
        .with_protocol_version(Version::LATEST.into());
    Raw::of(&params)
}

/// Reads an upstream's answer to `initialize`; the text says what was wrong.
pub fn read_welcome(result: &Raw) -> Result<Welcome, String> {
    let read: WelcomeResult = serde_json::from_str(result.as_str()).map_err(|error| error.to_string())?;
    let Some(version) = Version::parse(&read.protocol_version) else {
        let found = excerpt(&read.protocol_version);
        return Err(format!("it speaks MCP {found}; this gateway speaks {} with it", Version::names()));
    };
    let server_info = read
        .server_info
        .map_or_else(|| Raw::of(&json!({"name": "?", "version": "?"})), |info| Raw::of(&info));
    Ok(Welcome { version, capabilities: read.capabilities, server_info, instructions: read.instructions })
}
