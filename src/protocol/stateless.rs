//! What every request of the stateless era says of itself in `params._meta` (2026-07-28, basic, "_meta"), read, put in
//! and taken out.

use crate::{
    protocol::{
        handshake::{self, Hello},
        level,
        version::Version,
    },
    wire::{
        error::Failure,
        part::{self, Part},
        raw::Raw,
        splice::Edit,
    },
};
use bytes::Bytes;
use http::StatusCode;

/// The revision that a request is written in.
pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can be asked.
pub const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// The client's name and version.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// How severe a log message has to be in order to be sent with the answer.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// The server's name and version, in a result.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The listener that a notification is for.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// The header by which a Trunkline tells clients apart that are alike otherwise.
pub const CLIENT: &str = "x-trunkline-session";
/// What a retry brings: the answers to what was asked.
pub const INPUT_RESPONSES: &str = "inputResponses";
/// What a server has the client keep.
pub const REQUEST_STATE: &str = "requestState";

/// The members of `_meta` that a request of the era has, and none of another era.
const MEMBERS: [&str; 4] = [VERSION, CAPABILITIES, CLIENT_INFO, LOG_LEVEL];

/// What a request says of itself.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Who sends it, and what upstreams may ask of it.
    pub hello: Hello,
    /// The log messages that it wants: none, or those of at least this level.
    pub level: Option<&'static str>,
}

/// What is put into a request for an upstream of the era.
#[derive(Clone, Copy, Debug)]
pub struct Introduction<'a> {
    /// What may be asked, as in `clientCapabilities`.
    pub capabilities: &'a Raw,
    /// Who asks, as in `clientInfo`.
    pub client_info: &'a Raw,
    /// The log messages that are wanted.
    pub level: Option<&'a str>,
}

/// The revision that a request names in its `_meta`; of what is no string, the JSON text.
///
/// `None`: it is not of this era. For most requests of the other one, a look for a few bytes tells.
pub fn names_version(params: Option<&Raw>) -> Option<String> {
    let version = version(params?)?;
    Some(version.string().map_or_else(|| version.text().into(), String::from))
}

/// What stands where a request names its revision.
pub(super) fn version(params: &Raw) -> Option<Part<'_>> {
    if !part::mentions(params, &["protocolVersion"]) {
        return None;
    }
    let meta = Part::of(params).entries().filter(|entry| entry.is("_meta"));
    meta.flat_map(|meta| meta.value.entries()).find(|entry| entry.is(VERSION)).map(|entry| entry.value)
}

/// Reads what a request says of itself: -32602 says which member is missing or has another type, -32022 that its
/// revision is not spoken here.
pub fn read(params: Option<&Raw>) -> Result<Envelope, Failure> {
    let refused = |text: String| Failure::invalid_params(text).status(StatusCode::BAD_REQUEST);
    let Some(params) = params else {
        return Err(refused(format!("`params._meta` must have \"{VERSION}\"; found no `params`")));
    };
    let [meta] = Part::of(params).members(["_meta"]).map_err(refused)?;
    let Some(meta) = meta.filter(|meta| meta.is_object()) else {
        let found = meta.map_or("nothing".into(), excerpt);
        return Err(refused(format!("`params._meta` must be an object; found {found}")));
    };
    let [version, capabilities, client_info, level] = meta.members(MEMBERS).map_err(refused)?;
    let path = |key: &str| format!("params._meta[\"{key}\"]");
    let Some(requested) = version.and_then(Part::string) else {
        let (path, expected) = (path(VERSION), Version::STATELESS.as_str());
        let found = version.map_or("nothing".into(), excerpt);
        return Err(refused(format!("`{path}` must be a string such as \"{expected}\"; found {found}")));
    };
    // First of all: another revision may have other members.
    if requested != Version::STATELESS.as_str() {
        return Err(unsupported(&requested));
    }
    let Some(capabilities) = capabilities else {
        return Err(refused(format!("`{}` must be an object; found nothing", path(CAPABILITIES))));
    };
    let capabilities = handshake::part(&path(CAPABILITIES), capabilities.text()).map_err(refused)?;
    // What need not be there may as well be nothing.
    let said = |part: &Part<'_>| part.text() != "null";
    let client_info = client_info.filter(said).map_or("{}", Part::text);
    let client_info = handshake::part(&path(CLIENT_INFO), client_info).map_err(refused)?;
    let level = match level.filter(said) {
        None => None,
        Some(found) => match found.string().and_then(|name| level::known(&name)) {
            None => return Err(refused(level::refused(&path(LOG_LEVEL), found.text()))),
            known => known,
        },
    };
    Ok(Envelope { hello: Hello::new(requested.into_owned(), capabilities, client_info), level })
}

fn excerpt(part: Part<'_>) -> String {
    crate::wire::message::excerpt(part.text())
}

/// The revision that a request names is not spoken here.
pub fn unsupported(requested: &str) -> Failure {
    Failure::unsupported_version(requested, &Version::all_names())
}

/// The edits that take out of parameters what only this era knows: its members of `_meta` (and `_meta` itself if it
/// holds nothing else), `inputResponses` and `requestState`; and what is `foreign` to it, so that nobody reads it in the
/// sense of the other era. The progress token stays where it is.
pub fn strip(params: &Raw, foreign: &[&str]) -> Vec<Edit> {
    let keys = [&[INPUT_RESPONSES, REQUEST_STATE], foreign].concat();
    if !part::mentions(params, &["io.modelcontextprotocol"]) && !part::mentions(params, &keys) {
        return Vec::new();
    }
    without_members(Part::of(params), &keys, &MEMBERS)
}

/// The edits that take the members `keys` out of an object, and `meta_keys` out of its `_meta`; a `_meta` that holds
/// nothing else goes as a whole.
pub(super) fn without_members(whole: Part<'_>, keys: &[&str], meta_keys: &[&str]) -> Vec<Edit> {
    let mut ranges = Vec::new();
    let mut is_gone = keys.to_vec();
    let metas = || whole.entries().filter(|entry| entry.is("_meta")).map(|entry| entry.value);
    let is_emptied = |meta: Part<'_>| {
        let mut entries = meta.entries().peekable();
        entries.peek().is_some() && entries.all(|entry| meta_keys.iter().any(|key| entry.is(key)))
    };
    if metas().next().is_some() && metas().all(is_emptied) {
        is_gone.push("_meta");
    } else {
        ranges.extend(metas().flat_map(|meta| meta.without(meta_keys)));
    }
    ranges.extend(whole.without(&is_gone));
    ranges.into_iter().map(|at| (at, Bytes::new())).collect()
}

/// The edits that put into parameters what this era needs; what stands there of it already is overwritten.
/// `_meta` is added where there is none, and replaced where it is no object. The progress token stays where it is.
pub fn equip(params: &Raw, who: &Introduction<'_>) -> Vec<Edit> {
    let whole = Part::of(params);
    let Some(own) = whole.entries().find(|entry| entry.is("_meta")) else {
        let meta = meta(who);
        return whole.insertion(&part::joined(&[("_meta", meta.as_bytes())])).into_iter().collect();
    };
    if !own.value.is_object() {
        return vec![(own.value.at(), meta(who).into_bytes())];
    }
    let (version, level) = (Raw::of(Version::STATELESS.as_str()), who.level.map(Raw::of));
    let members = members(&version, who, level.as_ref());
    let keys: Vec<&str> = members.iter().map(|(key, _)| *key).collect();
    own.value.with(&keys, &members)
}

/// The `_meta` of a request of our own.
pub fn meta(who: &Introduction<'_>) -> Raw {
    let (version, level) = (Raw::of(Version::STATELESS.as_str()), who.level.map(Raw::of));
    let members = part::joined(&members(&version, who, level.as_ref()));
    Raw::spliced([b"{", members.as_ref(), b"}"].concat().into())
}

fn members<'a>(
    version: &'a Raw,
    who: &Introduction<'a>,
    level: Option<&'a Raw>,
) -> Vec<(&'static str, &'a [u8])> {
    let mut members = vec![
        (VERSION, version.as_bytes()),
        (CAPABILITIES, who.capabilities.as_bytes()),
        (CLIENT_INFO, who.client_info.as_bytes()),
    ];
    members.extend(level.map(|level| (LOG_LEVEL, level.as_bytes())));
    members
}

#[cfg(test)]
mod tests {
    use super::{Introduction, equip, meta, names_version, read, strip};
    use crate::wire::{
        error::{INVALID_PARAMS, UNSUPPORTED_VERSION},
        odd::{member, members, object, raw},
        params,
        raw::Raw,
    };
    use http::StatusCode;
    use proptest::{bool::ANY, prop_assert, prop_assert_eq, proptest};
    use serde_json::json;

    fn with_meta(meta: &str) -> Raw {
        raw(&format!(r#"{{"name":"a","_meta":{meta}}}"#))
    }

    #[test]
    fn an_envelope_is_read() {
        let capabilities = r#"{"elicitation":{"url":{}},"x":1.10}"#;
        let envelope = read(Some(&with_meta(&format!(
            r#"{{"io.modelcontextprotocol\/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{capabilities},
            "io.modelcontextprotocol/clientInfo":{{"name":"c","version":"1"}},"io.modelcontextprotocol/logLevel":"error"}}"#
        ))));
        let envelope = envelope.expect("an envelope");
        assert_eq!((&*envelope.hello.requested, &*envelope.hello.client), ("2026-07-28", "c 1"));
        assert_eq!(envelope.hello.capabilities.as_str(), capabilities);
        assert!(envelope.hello.offers.urls && !envelope.hello.offers.forms);
        assert_eq!(envelope.level, Some("error"));
    }

    #[test]
    fn what_is_missing_is_named() {
        const VERSION: &str = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        const CAPABILITIES: &str = r#""io.modelcontextprotocol/clientCapabilities":{}"#;
        let both = |more: &str| with_meta(&format!("{{{VERSION},{CAPABILITIES}{more}}}"));
        for (params, word) in [
            (raw("{}"), "`params._meta` must be an object; found nothing"),
            (raw(r#"{"_meta":[]}"#), "`params._meta` must be an object; found []"),
            (with_meta("{}"), "protocolVersion\"]` must be a string"),
            (with_meta(&format!("{{{CAPABILITIES}}}")), "protocolVersion"),
            (with_meta(r#"{"io.modelcontextprotocol/protocolVersion":5}"#), "found 5"),
            (with_meta(&format!("{{{VERSION}}}")), "clientCapabilities\"]` must be an object; found nothing"),
            (with_meta(&format!("{{{VERSION},{VERSION}}}")), "duplicate field"),
            (both(r#","io.modelcontextprotocol/clientInfo":1"#), "clientInfo"),
            (both(r#","io.modelcontextprotocol/logLevel":"loud""#), "must be one of debug,"),
            (
                both(&format!(r#","io.modelcontextprotocol/clientInfo":{{"a":"{}"}}"#, "x".repeat(16_384))),
                "16384",
            ),
        ] {
            let failure = read(Some(&params)).expect_err("nothing that can be read");
            assert_eq!((failure.code, failure.stateless_status()), (INVALID_PARAMS, StatusCode::BAD_REQUEST));
            assert!(failure.message.contains(word), "{}", failure.message);
        }
        assert!(read(None).is_err());
        for more in ["", r#","io.modelcontextprotocol/clientInfo":null"#] {
            assert_eq!(read(Some(&both(more))).expect("an envelope").hello.client, "? ?");
        }
    }

    #[test]
    fn another_revision_is_refused_before_its_members_are_looked_at() {
        let params = with_meta(r#"{"io.modelcontextprotocol/protocolVersion":"v999"}"#);
        let failure = read(Some(&params)).expect_err("a revision that nobody speaks");
        assert_eq!(
            (failure.code, failure.stateless_status()),
            (UNSUPPORTED_VERSION, StatusCode::BAD_REQUEST)
        );
        let object: serde_json::Value = serde_json::from_str(failure.object().as_str()).expect("an object");
        assert_eq!(object["data"]["requested"], "v999");
        assert_eq!(object["data"]["supported"][0], "2026-07-28");
    }

    #[test]
    fn only_meta_names_a_revision() {
        let none = [r#"{"protocolVersion":"2026-07-28"}"#, r#"{"_meta":{"a":"protocolVersion"}}"#, "{}"];
        for text in none {
            assert_eq!(names_version(Some(&raw(text))), None);
        }
        assert_eq!(names_version(None), None);
        for key in
            ["io.modelcontextprotocol/protocolVersion", r"io.modelcontextprotocol\/\u0070rotocolVersion"]
        {
            let params = with_meta(&format!(r#"{{"{key}":"x"}}"#));
            assert_eq!(names_version(Some(&params)).as_deref(), Some("x"));
        }
    }

    #[test]
    fn what_the_era_brought_is_taken_out() {
        for (params, left) in [
            (r#"{"a":1,"requestState":"s","inputResponses":{}}"#, r#"{"a":1}"#),
            (r#"{"_meta":{"io.modelcontextprotocol\/clientInfo":{}},"a":1.10}"#, r#"{"a":1.10}"#),
            (
                r#"{"_meta":{"io.modelcontextprotocol/clientInfo":{}, "traceparent":"x"}}"#,
                r#"{"_meta":{"traceparent":"x"}}"#,
            ),
            (
                r#"{"_meta":{}, "arguments":{"requestState":1}}"#,
                r#"{"_meta":{}, "arguments":{"requestState":1}}"#,
            ),
            (
                r#"{"_meta":{"io.modelcontextprotocol/related-task":1}}"#,
                r#"{"_meta":{"io.modelcontextprotocol/related-task":1}}"#,
            ),
        ] {
            let params = raw(params);
            assert_eq!(params.edited(&strip(&params, &[])).as_str(), left);
        }
    }

    #[test]
    fn what_stands_there_is_overwritten() {
        let (capabilities, info) = (raw(r#"{"roots":{}}"#), raw("{}"));
        let who = Introduction { capabilities: &capabilities, client_info: &info, level: None };
        for meta_text in ["null", r#"{"io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}"#] {
            let params = with_meta(meta_text);
            let equipped = params.edited(&equip(&params, &who));
            let read: serde_json::Value = serde_json::from_str(equipped.as_str()).expect("JSON");
            let expected: serde_json::Value = serde_json::from_str(meta(&who).as_str()).expect("JSON");
            assert_eq!(read, json!({"name": "a", "_meta": expected}));
        }
    }

    const PARAMS: &[&str] = &[r#""name""#, r#""arguments""#, r#""x\/\u0061""#, r#""_Meta""#];
    const META: &[&str] = &[r#""traceparent""#, r#""a""#, r#""io.modelcontextprotocol/related-task""#];

    proptest! {
        #[test]
        fn what_is_put_in_can_be_taken_out_again(
            params in members(PARAMS), own in members(META), has_token in ANY, has_meta in ANY, at in 0..6_usize, token_at in 0..6_usize,
            has_level in ANY,
        ) {
            let (mut params, mut own) = (params, own);
            if has_token {
                own.insert(token_at.min(own.len()), member(r#""progressToken""#, r#""t\u0031""#));
            }
            // An empty `_meta` goes with what was put into it.
            let has_meta = has_meta && !own.is_empty();
            if has_meta {
                params.insert(at.min(params.len()), member(r#""_meta""#, &object(&own)));
            }
            let params = raw(&object(&params));
            let (capabilities, info) = (raw(r#"{"a":1.10}"#), raw(r#"{"name":"n","version":"1"}"#));
            let level = has_level.then_some("info");
            let who = Introduction { capabilities: &capabilities, client_info: &info, level };
            let edits = equip(&params, &who);
            if has_token && has_meta && own.iter().filter(|member| member.key.contains("progress")).count() == 1
                && let Ok(Some((_, token))) = params::progress_token(&params)
            {
                prop_assert!(edits.iter().all(|(at, _)| at.end <= token.start || token.end <= at.start));
            }
            let equipped = Raw::parse(params.edited(&edits).into_bytes()).expect("JSON");
            prop_assert_eq!(names_version(Some(&equipped)), Some("2026-07-28".to_owned()));
            let envelope = read(Some(&equipped)).expect("an envelope");
            prop_assert_eq!((&envelope.hello.capabilities, envelope.level), (&capabilities, level));
            let cuts = strip(&equipped, &[]);
            if let Ok(Some((_, token))) = params::progress_token(&equipped) {
                prop_assert!(cuts.iter().all(|(at, _)| at.end <= token.start || token.end <= at.start));
            }
            prop_assert_eq!(equipped.edited(&cuts), params);
        }
    }
}
