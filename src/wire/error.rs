//! The errors that the gateway itself answers with: their codes, their data, and the only table of HTTP statuses.

use crate::wire::{message::Invalid, raw::Raw};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// JSON-RPC 2.0, section 5.1: the text is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// JSON-RPC 2.0, section 5.1: JSON, but no request.
pub const INVALID_REQUEST: i32 = -32600;
/// JSON-RPC 2.0, section 5.1: no such method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// JSON-RPC 2.0, section 5.1: wrong parameters; MCP uses it for an unknown tool as well.
pub const INVALID_PARAMS: i32 = -32602;
/// JSON-RPC 2.0, section 5.1: something failed behind the request.
pub const INTERNAL_ERROR: i32 = -32603;

/// The resource does not exist (resources, "Error Handling"; until 2025-11-25).
pub const RESOURCE_NOT_FOUND: i32 = -32002;

/// The headers do not say what the body says (2026-07-28, SEP-2243).
pub const HEADER_MISMATCH: i32 = -32020;
/// The client did not declare what is needed for this request (2026-07-28, SEP-2575).
pub const MISSING_CAPABILITY: i32 = -32021;
/// The revision that the request names is not spoken here (2026-07-28, SEP-2575).
pub const UNSUPPORTED_VERSION: i32 = -32022;

/// Whose fault an error is: decides the log level, and later the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's.
    Client,
    /// The upstream's.
    Upstream,
    /// Ours.
    Gateway,
}

/// An error that the gateway answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose fault it is.
    pub fault: Fault,
    /// The JSON-RPC code.
    pub code: i32,
    /// What happened and where, for people.
    pub message: String,
    /// What happened, as one word for programs.
    pub reason: &'static str,
    /// The alias of the upstream that it concerns.
    pub upstream: Option<String>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the protocol itself wants in `data` with this code; most codes want nothing.
    pub data: Vec<(&'static str, Value)>,
    /// The HTTP status, where it is not the one of the code.
    pub status: Option<StatusCode>,
}

/// How many characters of a URI or a revision are sent back.
const MOST_SHOWN: usize = 2048;

/// What a client sent, as far as it is sent back.
fn shown(text: &str) -> Value {
    text.chars().take(MOST_SHOWN).collect::<String>().into()
}

/// The HTTP status of an error of this code in the stateless era (2026-07-28, transports, "Streamable HTTP").
pub fn stateless_status(code: i32) -> StatusCode {
    match code {
        METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        PARSE_ERROR | INVALID_REQUEST | HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

// === impl Failure ===

impl Failure {
    fn new(fault: Fault, code: i32, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            fault,
            code,
            message,
            reason,
            upstream: None,
            retryable: false,
            hint: None,
            data: Vec::new(),
            status: None,
        }
    }

    /// The client did not keep to the protocol.
    pub fn invalid_request(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(Fault::Client, INVALID_REQUEST, reason, message)
    }

    /// The parameters are wrong.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(Fault::Client, INVALID_PARAMS, "invalid_params", message)
    }

    /// There is no such method here.
    pub fn method_not_found(method: &str) -> Self {
        let message = format!("Method not found: {}", crate::wire::message::excerpt(method));
        Self::new(Fault::Client, METHOD_NOT_FOUND, "method_not_found", message)
    }

    /// There is no such tool for this caller; the same words whether it does not exist or is denied.
    pub fn unknown_tool(name: &str) -> Self {
        let message = format!("Unknown tool: {}", crate::wire::message::excerpt(name));
        Self::new(Fault::Client, INVALID_PARAMS, "unknown_tool", message)
            .hint("tools/list names the tools that this key may use on this endpoint")
    }

    /// There is no such prompt for this caller, in the same sense.
    pub fn unknown_prompt(name: &str) -> Self {
        let message = format!("Unknown prompt: {}", crate::wire::message::excerpt(name));
        Self::new(Fault::Client, INVALID_PARAMS, "unknown_prompt", message)
            .hint("prompts/list names the prompts that this key may use on this endpoint")
    }

    /// There is no such resource for this caller, in the same sense.
    pub fn unknown_resource(uri: &str) -> Self {
        let mut failure =
            Self::new(Fault::Client, RESOURCE_NOT_FOUND, "unknown_resource", "Resource not found");
        failure.data.push(("uri", shown(uri)));
        failure
    }

    /// The headers do not say what the body says; `header` is the one.
    pub fn header_mismatch(header: &str, message: impl Into<String>) -> Self {
        let mut failure = Self::new(Fault::Client, HEADER_MISMATCH, "header_mismatch", message);
        failure.data.push(("header", header.into()));
        failure
    }

    /// The client did not declare what is needed; `required` is an object as in `clientCapabilities`.
    pub fn missing_capability(message: impl Into<String>, required: Value) -> Self {
        let mut failure = Self::new(Fault::Client, MISSING_CAPABILITY, "missing_capability", message);
        failure.data.push(("requiredCapabilities", required));
        failure
    }

    /// The revision that the request names is not spoken here.
    pub fn unsupported_version(requested: &str, supported: &[&str]) -> Self {
        let message = format!("Unsupported protocol version: {}", crate::wire::message::excerpt(requested));
        let mut failure = Self::new(Fault::Client, UNSUPPORTED_VERSION, "unsupported_version", message);
        failure.data.push(("supported", supported.into()));
        failure.data.push(("requested", shown(requested)));
        failure
    }

    /// The upstream failed.
    pub fn upstream(alias: &str, reason: &'static str, message: impl Into<String>) -> Self {
        let mut failure = Self::new(Fault::Upstream, INTERNAL_ERROR, reason, message);
        failure.upstream = Some(alias.into());
        failure
    }

    /// A bound of this gateway is reached.
    pub fn exhausted(reason: &'static str, message: impl Into<String>) -> Self {
        let mut failure = Self::new(Fault::Gateway, INTERNAL_ERROR, reason, message);
        failure.retryable = true;
        failure.status = Some(StatusCode::SERVICE_UNAVAILABLE);
        failure
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that the same request may succeed later.
    #[must_use]
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    /// Answers with this HTTP status where the transport has one to give.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The HTTP status of a body that holds nothing but this error.
    ///
    /// A request that was understood is answered with 200 whatever its outcome; 4xx is for what is not a request.
    pub fn http_status(&self) -> StatusCode {
        let by_code = match self.code {
            METHOD_NOT_FOUND => StatusCode::OK,
            code => stateless_status(code),
        };
        self.status.unwrap_or(by_code)
    }

    /// The same in the stateless era, which says by its status what an error is.
    pub fn stateless_status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| stateless_status(self.code))
    }

    /// The JSON-RPC error object, with `data: {reason, upstream, retryable, hint}`.
    pub fn object(&self) -> Raw {
        let own = self.data.iter().map(|(key, value)| ((*key).to_owned(), value.clone()));
        let mut data: Map<String, Value> = own.collect();
        data.insert("reason".into(), self.reason.into());
        if let Some(upstream) = &self.upstream {
            data.insert("upstream".into(), upstream.as_str().into());
        }
        data.insert("retryable".into(), self.retryable.into());
        if let Some(hint) = &self.hint {
            data.insert("hint".into(), hint.as_str().into());
        }
        Raw::of(&json!({"code": self.code, "message": self.message, "data": Value::Object(data)}))
    }
}

impl From<&Invalid> for Failure {
    fn from(invalid: &Invalid) -> Self {
        match invalid {
            Invalid::Malformed(malformed) => {
                Self::new(Fault::Client, PARSE_ERROR, "parse_error", format!("Parse error: {malformed}"))
                    .hint("send one JSON-RPC 2.0 message as UTF-8 text")
            }
            Invalid::NotAMessage { reason, .. } => {
                Self::invalid_request("invalid_request", format!("Invalid request: {reason}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, StatusCode, Value, json, stateless_status};

    #[test]
    fn the_stateless_era_says_by_its_status_what_an_error_is() {
        for (code, status) in [
            (-32601, 404),
            (-32700, 400),
            (-32600, 400),
            (-32020, 400),
            (-32021, 400),
            (-32022, 400),
            (-32602, 200),
            (-32603, 200),
            (-32002, 200),
            (1, 200),
        ] {
            assert_eq!(stateless_status(code), status, "{code}");
        }
        let unknown = Failure::method_not_found("ping");
        assert_eq!(
            (unknown.http_status(), unknown.stateless_status()),
            (StatusCode::OK, StatusCode::NOT_FOUND)
        );
        let busy = Failure::exhausted("full", "x");
        assert_eq!(busy.stateless_status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn what_the_protocol_wants_to_know_stands_in_data() {
        let data = |failure: Failure| {
            assert_eq!(failure.http_status(), StatusCode::BAD_REQUEST);
            let object: Value = serde_json::from_str(failure.object().as_str()).expect("JSON");
            object["data"].clone()
        };
        let unsupported = data(Failure::unsupported_version("x", &["b", "a"]));
        assert_eq!((&unsupported["supported"], &unsupported["requested"]), (&json!(["b", "a"]), &json!("x")));
        let missing = data(Failure::missing_capability("x", json!({"sampling": {}})));
        assert_eq!(missing["requiredCapabilities"], json!({"sampling": {}}));
        assert_eq!(data(Failure::header_mismatch("mcp-name", "x"))["header"], "mcp-name");
    }
}
