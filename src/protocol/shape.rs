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
            | Method::SkillsList
            | Method::SkillsGet
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

/// The edits after which a result may be shown to nobody but who asked for it.
pub fn private(payload: &Raw) -> Vec<Edit> {
    let scope = Part::of(payload).entries().filter(|entry| entry.is(HINTS[1].0));
    scope.map(|entry| (entry.value.at(), Bytes::from_static(HINTS[1].1))).collect()
}

/// Whether a tool can only be called with a task (2025-11-25, experimental).
pub fn needs_task(definition: &Raw) -> bool {
    let support = || Part::of(definition).member("execution")?.member("taskSupport")?.string();
    part::mentions(definition, &["taskSupport"]) && support().is_some_and(|support| support == "required")
}

/// The result of a call without the task that it was made in (2025-11-25, experimental).
pub fn without_task(payload: &Raw) -> Vec<Edit> {
    const RELATED: &str = "io.modelcontextprotocol/related-task";
    if !part::mentions(payload, &["related-task"]) {
        return Vec::new();
    }
    without_members(Part::of(payload), &[], &[RELATED])
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

#[cfg(test)]
mod tests {
    use super::{
        Kind, complete, kind, needs_task, not_found_plain, not_found_stateless, plain, tool_for_handshake,
        tool_for_stateless, without_task,
    };
    use crate::wire::{
        method::Method,
        odd::{member, members, object, raw},
        raw::Raw,
    };
    use proptest::{bool::ANY, option, prop_assert, prop_assert_eq, proptest};

    const INFO: &str = r#"{"name":"s","version":"1.10"}"#;

    fn completed(method: &Method, text: &str) -> String {
        let payload = raw(text);
        payload.edited(&complete(method, &payload, Some(&raw(INFO)))).to_string()
    }

    #[test]
    fn what_is_missing_is_added() {
        let meta = format!(r#""_meta":{{"io.modelcontextprotocol/serverInfo":{INFO}}}"#);
        let all = r#""resultType":"complete","ttlMs":0,"cacheScope":"private""#;
        for (method, text, expected) in [
            (Method::ToolsCall, "{}".into(), format!(r#"{{"resultType":"complete",{meta}}}"#)),
            (Method::ResourcesRead, r#"{ "a":1}"#.into(), format!(r#"{{ {all},{meta},"a":1}}"#)),
            (
                Method::ToolsList,
                format!(r#"{{"ttlMs":5,"tools":[],{meta}}}"#),
                format!(r#"{{"resultType":"complete","cacheScope":"private","ttlMs":5,"tools":[],{meta}}}"#),
            ),
            (
                Method::ToolsCall,
                r#"{"_meta":{"a":1},"resultType":"complete"}"#.into(),
                format!(
                    r#"{{"_meta":{{"io.modelcontextprotocol/serverInfo":{INFO},"a":1}},"resultType":"complete"}}"#
                ),
            ),
            (
                Method::ResourcesRead,
                format!(r#"{{"resultType":"input_required",{meta}}}"#),
                format!(r#"{{"resultType":"input_required",{meta}}}"#),
            ),
            (Method::ToolsCall, "[]".into(), "[]".into()),
        ] {
            assert_eq!(completed(&method, &text), expected);
        }
        let payload = raw("{}");
        let edited = payload.edited(&complete(&Method::ToolsCall, &payload, None));
        assert_eq!(edited.as_str(), r#"{"resultType":"complete"}"#);
    }

    #[test]
    fn what_the_other_era_does_not_know_is_taken_out() {
        for (text, expected) in [
            (r#"{"resultType":"complete","structuredContent":[1],"content":[]}"#, r#"{"content":[]}"#),
            (
                r#"{"resultType":"complete","structuredContent":{"a":1.10}}"#,
                r#"{"structuredContent":{"a":1.10}}"#,
            ),
            (r#"{"\u0072esultType":"complete","ttlMs":1,"cacheScope":"public"}"#, "{}"),
            (r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol\/serverInfo":1}}"#, "{}"),
            (r#"{"resultType":"complete","_meta":{}}"#, r#"{"_meta":{}}"#),
            // Not of that era, or not the end of the matter.
            (r#"{"structuredContent":[1],"ttlMs":1}"#, r#"{"structuredContent":[1],"ttlMs":1}"#),
            (r#"{"resultType":"task","ttlMs":1}"#, r#"{"resultType":"task","ttlMs":1}"#),
            (r#"{"a":{"resultType":"complete"},"ttlMs":1}"#, r#"{"a":{"resultType":"complete"},"ttlMs":1}"#),
        ] {
            let payload = raw(text);
            assert_eq!(payload.edited(&plain(&payload)).as_str(), expected);
        }
    }

    #[test]
    fn results_say_what_they_are() {
        for (text, expected) in [
            ("{}", Kind::Complete),
            (r#"{"a":"resultType"}"#, Kind::Complete),
            (r#"{"a":{"resultType":"task"},"resultType":"complete"}"#, Kind::Complete),
            (r#"{"resultType":"input_required"}"#, Kind::InputRequired),
            (r#"{"\u0072esultType":"input\u005frequired"}"#, Kind::InputRequired),
            (r#"{"resultType":"task"}"#, Kind::Task),
            (r#"{"resultType":"incomplete"}"#, Kind::Other),
            (r#"{"resultType":null}"#, Kind::Other),
            (r#"{"resultType":"complete","resultType":"task"}"#, Kind::Other),
            (r#"["resultType"]"#, Kind::Complete),
        ] {
            assert_eq!(kind(&raw(text)), expected, "{text}");
        }
    }

    #[test]
    fn definitions_lose_what_cannot_be_read() {
        let as_text = |found: Option<Raw>| found.map(|raw| raw.to_string());
        let with = raw(r#"{"name":"a","execution":{"taskSupport":"optional"},"x":1.10}"#);
        assert_eq!(as_text(tool_for_stateless(&with)).as_deref(), Some(r#"{"name":"a","x":1.10}"#));
        assert_eq!(tool_for_stateless(&raw(r#"{"name":"execution"}"#)), None);
        for (schema, is_kept) in [
            (r#"{"type":"object"}"#, true),
            (r#"{"type":"array"}"#, false),
            (r#"{"type":["object","null"]}"#, false),
            ("{}", false),
            ("true", false),
        ] {
            let definition = raw(&format!(r#"{{"name":"a", "outputSchema":{schema}}}"#));
            let expected = (!is_kept).then_some(r#"{"name":"a"}"#);
            assert_eq!(as_text(tool_for_handshake(&definition)).as_deref(), expected);
        }
        assert_eq!(tool_for_handshake(&raw(r#"{"description":"outputSchema"}"#)), None);
    }

    #[test]
    fn a_tool_may_need_a_task_of_which_its_caller_hears_nothing() {
        for (definition, is_needed) in [
            (r#"{"name":"a","execution":{"taskSupport":"required"}}"#, true),
            (r#"{"name":"a","execution":{"task\u0053upport":"re\u0071uired"}}"#, true),
            (r#"{"name":"a","execution":{"taskSupport":"optional"}}"#, false),
            (r#"{"name":"a","inputSchema":{"execution":{"taskSupport":"required"}}}"#, false),
            (r#"{"name":"a","execution":"required"}"#, false),
        ] {
            assert_eq!(needs_task(&raw(definition)), is_needed, "{definition}");
        }
        for (result, left) in [
            (
                r#"{"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"}},"content":[]}"#,
                r#"{"content":[]}"#,
            ),
            (
                r#"{"content":[1.10], "_meta":{"io.modelcontextprotocol/related-task":{"taskId":"1"},"a":1}}"#,
                r#"{"content":[1.10], "_meta":{"a":1}}"#,
            ),
            (r#"{"content":["related-task"]}"#, r#"{"content":["related-task"]}"#),
        ] {
            let payload = raw(result);
            assert_eq!(payload.edited(&without_task(&payload)).as_str(), left);
        }
    }

    #[test]
    fn a_missing_resource_has_the_code_of_the_era() {
        let recoded = |text: &str| {
            let error = raw(text);
            let edit =
                not_found_plain(&Method::ResourcesRead, &error).or_else(|| not_found_stateless(&error));
            edit.map(|edit| error.edited(&[edit]).to_string())
        };
        for (text, expected) in [
            (
                r#"{"message":"x","code": -32602,"data":{"uri":"a:b"}}"#,
                Some(r#"{"message":"x","code": -32002,"data":{"uri":"a:b"}}"#),
            ),
            (r#"{"code":-32602,"message":"Not Found"}"#, Some(r#"{"code":-32002,"message":"Not Found"}"#)),
            (r#"{"code":-32002,"message":"x"}"#, Some(r#"{"code":-32602,"message":"x"}"#)),
            (r#"{"code":-32602,"message":"cursor"}"#, None),
            (r#"{"code":-32603,"message":"not found"}"#, None),
        ] {
            assert_eq!(recoded(text).as_deref(), expected);
        }
        assert!(
            not_found_plain(&Method::ToolsCall, &raw(r#"{"code":-32602,"message":"not found"}"#)).is_none()
        );
    }

    const KEYS: &[&str] = &[r#""content""#, r#""contents""#, r#""x\/\u0061""#, r#""isError""#];

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_out_again(
            all in members(KEYS), meta in option::of(members(&[r#""a""#, r#""b""#])), at in 0..6_usize, is_read in ANY, is_told in ANY,
        ) {
            let mut all = all;
            // An empty `_meta` goes with what was put into it.
            if let Some(meta) = meta.filter(|meta| !meta.is_empty()) {
                all.insert(at.min(all.len()), member(r#""_meta""#, &object(&meta)));
            }
            let payload = raw(&object(&all));
            let method = if is_read { Method::ResourcesRead } else { Method::ToolsCall };
            let info = is_told.then(|| raw(INFO));
            let full = payload.edited(&complete(&method, &payload, info.as_ref()));
            let full = Raw::parse(full.into_bytes()).expect("JSON");
            prop_assert_eq!(kind(&full), Kind::Complete);
            prop_assert!(complete(&method, &full, info.as_ref()).is_empty());
            prop_assert_eq!(full.edited(&plain(&full)), payload.clone());
            prop_assert!(plain(&payload).is_empty());
        }
    }
}
