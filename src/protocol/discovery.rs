//! `server/discover`, as a client asks it: which era an answer speaks of, and what the server says of itself.

use crate::{
    protocol::{
        handshake::{Welcome, read_capabilities},
        stateless::SERVER_INFO,
        version::Version,
    },
    wire::{
        error::{HEADER_MISMATCH, MISSING_CAPABILITY, UNSUPPORTED_VERSION},
        message::{Answer, excerpt},
        part::Part,
        raw::Raw,
    },
};
use serde_json::json;
use std::borrow::Cow;

/// What an answer to `server/discover` means.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The server speaks our revision of the stateless era.
    Stateless(Box<Welcome>),
    /// It does not, as far as can be known, and `initialize` may do.
    Handshake,
    /// It is of the stateless era and will not have us: what it says.
    Refused(String),
}

/// The most revisions that are named of those that a server speaks.
const SHOWN: usize = 8;

/// What an answer to `server/discover` means (2026-07-28, "Versioning"). Only three errors are known to be of the stateless
/// era; with any other a server of the handshake era may say that it does not know the method.
pub fn judge(answer: &Answer) -> Verdict {
    let payload = answer.payload();
    if answer.is_error { judge_error(&payload) } else { judge_result(&payload) }
}

/// Whether an answer is an error that only a server of the stateless era makes.
pub fn is_of_stateless_era(answer: &Answer) -> bool {
    let code = || Part::of(&answer.payload()).member("code").and_then(|code| code.text().parse().ok());
    answer.is_error && matches!(code(), Some(HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION))
}

fn judge_result(result: &Raw) -> Verdict {
    let Ok([kind, versions, capabilities, instructions, meta, info]) = Part::of(result).members([
        "resultType",
        "supportedVersions",
        "capabilities",
        "instructions",
        "_meta",
        "serverInfo",
    ]) else {
        return Verdict::Handshake;
    };
    // There are servers that answer anything with an empty result.
    let Some(versions) = versions.and_then(strings) else { return Verdict::Handshake };
    if kind.is_some_and(|kind| kind.string().as_deref() != Some("complete")) {
        return Verdict::Handshake;
    }
    if !speaks(&versions, Version::STATELESS) {
        return others(&versions);
    }
    let capabilities = match read_capabilities(capabilities) {
        Ok(capabilities) => capabilities,
        Err(reason) => return Verdict::Refused(reason),
    };
    let server_info = meta.and_then(|meta| meta.member(SERVER_INFO)).or(info);
    Verdict::Stateless(Box::new(Welcome {
        version: Version::STATELESS,
        capabilities,
        server_info: server_info.map_or_else(|| Raw::of(&json!({"name": "?", "version": "?"})), Part::copy),
        instructions: instructions.and_then(Part::string).map(Cow::into_owned),
        raw: result.clone(),
    }))
}

fn judge_error(error: &Raw) -> Verdict {
    let [code, message, data] = Part::of(error).members(["code", "message", "data"]).unwrap_or_default();
    let code = code.and_then(|code| code.text().parse::<i32>().ok());
    let said = || message.and_then(Part::string).map_or_else(|| "no message".into(), |text| excerpt(&text));
    match code {
        Some(UNSUPPORTED_VERSION) => match data.and_then(|data| data.member("supported")).and_then(strings) {
            Some(versions) if !speaks(&versions, Version::STATELESS) => others(&versions),
            _ => Verdict::Refused(said()),
        },
        Some(HEADER_MISMATCH | MISSING_CAPABILITY) => Verdict::Refused(said()),
        _ => Verdict::Handshake,
    }
}

/// What remains to be done with a server that does not speak our revision of the stateless era, but these.
fn others(versions: &[Cow<'_, str>]) -> Verdict {
    if Version::HANDSHAKE.into_iter().any(|version| speaks(versions, version)) {
        return Verdict::Handshake;
    }
    let theirs: Vec<_> = versions.iter().take(SHOWN).map(|version| excerpt(version)).collect();
    let theirs = if theirs.is_empty() { "in no revision".into() } else { theirs.join(", ") };
    let ours = Version::all_names().join(", ");
    Verdict::Refused(format!("it speaks MCP {theirs}; this gateway speaks {ours}"))
}

fn speaks(versions: &[Cow<'_, str>], version: Version) -> bool {
    versions.iter().any(|name| name == version.as_str())
}

fn strings(part: Part<'_>) -> Option<Vec<Cow<'_, str>>> {
    part.items()?.into_iter().map(Part::string).collect()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, judge};
    use crate::wire::message::{Answer, Message};
    use bytes::Bytes;
    use rstest::rstest;

    fn answer(member: &str) -> Answer {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,{member}}}"#);
        match Message::parse(&Bytes::from(text)).expect("a message") {
            Message::Answer(answer) => answer,
            other => panic!("no answer: {other:?}"),
        }
    }

    #[rstest]
    #[case::ours(r#""result":{"supportedVersions":["2026-07-28"],"capabilities":{}}"#, "stateless")]
    #[case::both(
        r#""result":{"resultType":"complete","supportedVersions":["2025-11-25","2026-07-28"]}"#,
        "stateless"
    )]
    #[case::older(r#""result":{"supportedVersions":["2025-11-25"],"capabilities":{}}"#, "handshake")]
    #[case::newer(
        r#""result":{"supportedVersions":["2027-01-01"]}"#,
        "it speaks MCP 2027-01-01; this gateway speaks 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05"
    )]
    #[case::none(
        r#""result":{"supportedVersions":[]}"#,
        "it speaks MCP in no revision; this gateway speaks 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05"
    )]
    #[case::empty(r#""result":{}"#, "handshake")]
    #[case::no_object(r#""result":[1]"#, "handshake")]
    #[case::no_list(r#""result":{"supportedVersions":"2026-07-28"}"#, "handshake")]
    #[case::a_question(
        r#""result":{"resultType":"input_required","supportedVersions":["2026-07-28"]}"#,
        "handshake"
    )]
    #[case::odd_capabilities(
        r#""result":{"supportedVersions":["2026-07-28"],"capabilities":7}"#,
        "its `capabilities` are not as specified: invalid type: integer `7`, expected a map at line 1 column 1"
    )]
    #[case::unknown_method(r#""error":{"code":-32601,"message":"Method not found"}"#, "handshake")]
    #[case::unready(
        r#""error":{"code":-32602,"message":"Received request before initialization was complete"}"#,
        "handshake"
    )]
    #[case::no_session(r#""error":{"code":-32000,"message":"Server not initialized"}"#, "handshake")]
    #[case::old_drafts_code(r#""error":{"code":-32001,"message":"Session not found"}"#, "handshake")]
    #[case::no_code(r#""error":{"message":"?"}"#, "handshake")]
    #[case::mismatch(r#""error":{"code":-32020,"message":"Mcp-Method is missing"}"#, "Mcp-Method is missing")]
    #[case::capability(
        r#""error":{"code":-32021,"message":"needs sampling","data":{"requiredCapabilities":{}}}"#,
        "needs sampling"
    )]
    #[case::version_to_an_older(r#""error":{"code":-32022,"message":"no","data":{"supported":["2025-06-18"],"requested":"2026-07-28"}}"#, "handshake")]
    #[case::version_to_a_newer(
        r#""error":{"code":-32022,"message":"no","data":{"supported":["2027-01-01"]}}"#,
        "it speaks MCP 2027-01-01; this gateway speaks 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05"
    )]
    #[case::version_without_a_word(r#""error":{"code":-32022,"message":"no"}"#, "no")]
    #[case::version_against_itself(
        r#""error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}"#,
        "no"
    )]
    fn what_an_answer_says(#[case] member: &str, #[case] wanted: &str) {
        let found = match judge(&answer(member)) {
            Verdict::Stateless(welcome) => {
                assert!(welcome.version.is_stateless());
                "stateless".into()
            }
            Verdict::Handshake => "handshake".into(),
            Verdict::Refused(said) => said,
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_server_says_who_it_is() {
        let member = r#""result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}, "x":1},
            "instructions":"be k\u0069nd","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s", "x":1.0}}}"#;
        let Verdict::Stateless(welcome) = judge(&answer(member)) else { panic!("stateless") };
        assert_eq!(welcome.server_info.as_str(), r#"{"name":"s", "x":1.0}"#);
        assert_eq!(welcome.instructions.as_deref(), Some("be kind"));
        assert_eq!(welcome.capabilities["tools"]["listChanged"], true);
        assert_eq!(welcome.capabilities.len(), 2);
    }
}
