//! What a server of the stateless era needs to be told before it answers, and the retry that tells it (2026-07-28,
//! patterns, "Multi round-trip requests").

use crate::{
    protocol::stateless::{INPUT_RESPONSES, REQUEST_STATE, without_members},
    wire::{
        message::excerpt,
        method::Method,
        part::{self, Entry, Part},
        raw::Raw,
        splice::Edit,
    },
};
use std::{collections::HashSet, ops::Range};

/// A question: its name within the result, what is asked, and its parameters.
pub type Question = (String, Method, Option<Raw>);

/// A result that asks something first.
#[derive(Clone, Debug)]
pub struct InputRequired {
    /// The questions.
    pub requests: Vec<Question>,
    /// What comes back with the retry, as the JSON string that it is, and where it stands.
    pub state: Option<(Raw, Range<usize>)>,
}

/// What a retry brings.
#[derive(Clone, Debug)]
pub struct Retry {
    /// The results of what was asked, by the names of the questions.
    pub responses: Option<Vec<(String, Raw)>>,
    /// What the server had the client keep, unescaped, and where its JSON string stands in the parameters.
    pub state: Option<(String, Range<usize>)>,
}

/// The most questions of one result, and the most answers of one retry.
pub const MOST_REQUESTS: usize = 64;

/// The code of an error that wants the user to visit a URL first (2025-11-25, elicitation).
const URL_ELICITATION_REQUIRED: &str = "-32042";

/// Reads a result of the kind `input_required`; the text says what was wrong.
pub fn input_required(payload: &Raw) -> Result<InputRequired, String> {
    let [requests, state] = Part::of(payload).members(["inputRequests", REQUEST_STATE])?;
    if requests.is_none() && state.is_none() {
        return Err("it has neither `inputRequests` nor `requestState`".into());
    }
    let state = match state {
        Some(state) if state.string().is_none() => {
            return Err(format!("its `requestState` must be a string; found {}", excerpt(state.text())));
        }
        state => state.map(|state| (state.copy(), state.at())),
    };
    let requests = match requests {
        Some(requests) => named(requests, "inputRequests")?,
        None => Vec::new(),
    };
    let requests = requests.into_iter().map(|(key, request)| {
        let path = format!("inputRequests[\"{}\"]", excerpt(&key));
        let [method, params] =
            request.members(["method", "params"]).map_err(|error| format!("its `{path}`: {error}"))?;
        let method =
            method.and_then(Part::string).ok_or_else(|| format!("its `{path}` names no `method`"))?;
        match params {
            Some(params) if !params.is_object() => {
                Err(format!("its `{path}.params` must be an object; found {}", excerpt(params.text())))
            }
            params => Ok((key, Method::from(&*method), params.map(Part::copy))),
        }
    });
    Ok(InputRequired { requests: requests.collect::<Result<_, String>>()?, state })
}

/// The members of an object, each once and no more than are allowed.
fn named<'a>(object: Part<'a>, path: &str) -> Result<Vec<(String, Part<'a>)>, String> {
    if !object.is_object() {
        return Err(format!("`{path}` must be an object; found {}", excerpt(object.text())));
    }
    let name = |entry: Entry<'a>| Some((entry.key.string()?.into_owned(), entry.value));
    let found: Option<Vec<_>> = object.entries().take(MOST_REQUESTS + 1).map(name).collect();
    let found = found.ok_or_else(|| format!("`{path}` has a key that is no text"))?;
    if found.len() > MOST_REQUESTS {
        return Err(format!("`{path}` has more than {MOST_REQUESTS} members"));
    }
    let mut seen = HashSet::new();
    match found.iter().find(|(key, _)| !seen.insert(key.as_str())) {
        Some((key, _)) => Err(format!("`{path}` has \"{}\" twice", excerpt(key))),
        None => Ok(found),
    }
}

/// A result of our own that asks something first; `state` is what the client has to bring back.
pub fn input_required_result(requests: &[Question], state: Option<&str>) -> Raw {
    let object = |members: &[u8]| [b"{", members, b"}"].concat();
    let requests: Vec<(&str, Vec<u8>)> = requests
        .iter()
        .map(|(key, method, params)| {
            let method = Raw::of(method.as_str());
            let mut members = vec![("method", method.as_bytes())];
            members.extend(params.as_ref().map(|params| ("params", params.as_bytes())));
            (key.as_str(), object(&part::joined(&members)))
        })
        .collect();
    let requests: Vec<(&str, &[u8])> = requests.iter().map(|(key, text)| (*key, text.as_slice())).collect();
    let (requests, state) = (object(&part::joined(&requests)), state.map(Raw::of));
    let mut members: Vec<(&str, &[u8])> = vec![("resultType", b"\"input_required\"")];
    if requests != b"{}" {
        members.push(("inputRequests", &requests));
    }
    members.extend(state.as_ref().map(|state| (REQUEST_STATE, state.as_bytes())));
    Raw::spliced(object(&part::joined(&members)).into())
}

/// Reads what a retry brings, if the request is one; the text says what was wrong.
pub fn retry(params: &Raw) -> Result<Option<Retry>, String> {
    if !part::mentions(params, &[INPUT_RESPONSES, REQUEST_STATE]) {
        return Ok(None);
    }
    let [responses, state] = Part::of(params).members([INPUT_RESPONSES, REQUEST_STATE])?;
    if responses.is_none() && state.is_none() {
        return Ok(None);
    }
    let responses = responses.map(|responses| named(responses, "params.inputResponses")).transpose()?;
    let copied = |responses: Vec<(String, Part<'_>)>| {
        responses.into_iter().map(|(key, response)| (key, response.copy())).collect()
    };
    let state = match state {
        None => None,
        Some(state) => match state.string() {
            Some(text) => Some((text.into_owned(), state.at())),
            None => {
                let found = excerpt(state.text());
                return Err(format!("`params.requestState` must be a string; found {found}"));
            }
        },
    };
    Ok(Some(Retry { responses: responses.map(copied), state }))
}

/// The edits after which parameters bring these answers and this state (a JSON string), and no others.
pub fn answered(params: &Raw, responses: Option<&Raw>, state: Option<&Raw>) -> Vec<Edit> {
    let responses = responses.map(|responses| (INPUT_RESPONSES, responses.as_bytes()));
    let state = state.map(|state| (REQUEST_STATE, state.as_bytes()));
    let members: Vec<_> = responses.into_iter().chain(state).collect();
    Part::of(params).with(&[INPUT_RESPONSES, REQUEST_STATE], &members)
}

/// The answers to questions as the value of `inputResponses`.
pub fn responses(answers: &[(String, Raw)]) -> Raw {
    let members: Vec<_> = answers.iter().map(|(key, answer)| (key.as_str(), answer.as_bytes())).collect();
    Raw::spliced([b"{", part::joined(&members).as_ref(), b"}"].concat().into())
}

/// The visits that an error of the handshake era wants (-32042), as questions.
pub fn url_elicitations(error: &Raw) -> Option<Vec<Question>> {
    let [code, data] = Part::of(error).members(["code", "data"]).ok()?;
    if code?.text() != URL_ELICITATION_REQUIRED {
        return None;
    }
    let wanted = data?.member("elicitations")?.items()?;
    let question = |(index, wanted): (usize, Part<'_>)| {
        let params = Some(wanted.copy()).filter(|_| wanted.is_object())?;
        let params = question_for_stateless(&params).unwrap_or(params);
        Some((format!("url-{}", index + 1), Method::Elicit, Some(params)))
    };
    let questions: Option<Vec<Question>> =
        wanted.into_iter().take(MOST_REQUESTS).enumerate().map(question).collect();
    questions.filter(|questions| !questions.is_empty())
}

/// The parameters of a question for clients of the stateless era, if they are not the same: nothing names it but its
/// key, and nothing tells of its progress.
pub fn question_for_stateless(params: &Raw) -> Option<Raw> {
    let edits = without_members(Part::of(params), &["elicitationId", "task"], &["progressToken"]);
    (!edits.is_empty()).then(|| params.edited(&edits))
}

/// The parameters of `elicitation/create` for clients of the handshake era, if they are not the same: with `id` as
/// `elicitationId`, where the user has to visit a URL.
pub fn elicitation_for_handshake(params: &Raw, id: &str) -> Option<Raw> {
    let [mode, own] = Part::of(params).members(["mode", "elicitationId"]).ok()?;
    let is_url = mode.and_then(Part::string).is_some_and(|mode| mode == "url");
    if !is_url || own.is_some() {
        return None;
    }
    let edit = Part::of(params).insertion(&part::joined(&[("elicitationId", Raw::of(id).as_bytes())]))?;
    Some(params.edited(&[edit]))
}

#[cfg(test)]
mod tests {
    use super::{
        MOST_REQUESTS, answered, elicitation_for_handshake, input_required, input_required_result, responses,
        retry, url_elicitations,
    };
    use crate::{
        protocol::shape::{Kind, kind},
        wire::{
            method::Method,
            odd::{member, members, object, raw},
            raw::Raw,
        },
    };
    use proptest::{bool::ANY, collection::btree_map, option, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_result_that_asks_nothing_that_can_be_read_says_why() {
        let many: Vec<_> = (0..=MOST_REQUESTS).map(|n| format!(r#""{n}":{{"method":"a"}}"#)).collect();
        for (text, word) in [
            ("{}".to_owned(), "neither"),
            (r#"{"requestState":1}"#.into(), "must be a string; found 1"),
            (r#"{"inputRequests":[]}"#.into(), "must be an object; found []"),
            (r#"{"inputRequests":{"a":{}}}"#.into(), "names no `method`"),
            (r#"{"inputRequests":{"a":1}}"#.into(), "inputRequests[\"a\"]"),
            (r#"{"inputRequests":{"a":{"method":"x","params":1}}}"#.into(), "params` must be an object"),
            (r#"{"inputRequests":{"a":{"method":"x"},"\u0061":{"method":"x"}}}"#.into(), "\"a\" twice"),
            (format!(r#"{{"inputRequests":{{{}}}}}"#, many.join(",")), "more than 64"),
        ] {
            let error = input_required(&raw(&text)).expect_err("nothing that can be read");
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_retry_that_cannot_be_read_says_why() {
        for (text, word) in [
            (r#"{"requestState":{}}"#, "`params.requestState` must be a string; found {}"),
            (r#"{"inputResponses":[1]}"#, "`params.inputResponses` must be an object; found [1]"),
            (r#"{"requestState":"a","requestState":"b"}"#, "duplicate field"),
        ] {
            let error = retry(&raw(text)).expect_err("nothing that can be read");
            assert!(error.contains(word), "{error}");
        }
        for text in ["{}", r#"{"arguments":{"requestState":1,"inputResponses":2}}"#] {
            assert!(retry(&raw(text)).expect("no retry").is_none());
        }
        let found = retry(&raw(r#"{"\u0072equestState":"a\n"}"#)).expect("a retry").expect("a retry");
        assert_eq!((found.state.map(|(text, _)| text).as_deref(), found.responses), (Some("a\n"), None));
    }

    #[test]
    fn urls_to_visit_become_questions() {
        let error = raw(r#"{"code":-32042,"message":"m","data":{"elicitations":[
            {"mode":"url","elicitationId":"e","url":"https://a","message":"x"},{"mode":"url","url":"https://b"}]}}"#);
        let found = url_elicitations(&error).expect("questions");
        let found: Vec<_> = found
            .iter()
            .map(|(key, method, params)| (&**key, method, params.as_ref().map(Raw::as_str)))
            .collect();
        let first = r#"{"mode":"url","url":"https://a","message":"x"}"#;
        let second = r#"{"mode":"url","url":"https://b"}"#;
        assert_eq!(
            found,
            [("url-1", &Method::Elicit, Some(first)), ("url-2", &Method::Elicit, Some(second))]
        );
        for other in [
            r#"{"code":-32041,"data":{"elicitations":[{}]}}"#,
            r#"{"code":-32042,"data":{"elicitations":[]}}"#,
            r#"{"code":-32042,"data":{"elicitations":[1]}}"#,
            r#"{"code":-32042,"message":"x"}"#,
        ] {
            assert!(url_elicitations(&raw(other)).is_none(), "{other}");
        }
    }

    #[test]
    fn only_visits_get_an_id() {
        let with = |text: &str| elicitation_for_handshake(&raw(text), "i\"d").map(|raw| raw.to_string());
        let expected = r#"{"elicitationId":"i\"d","mode":"url"}"#;
        assert_eq!(with(r#"{"mode":"url"}"#).as_deref(), Some(expected));
        assert_eq!(with(r#"{"mode":"form"}"#), None);
        assert_eq!(with(r#"{"message":"m"}"#), None);
        assert_eq!(with(r#"{"mode":"url","elicitationId":"own"}"#), None);
    }

    const KEYS: &[&str] = &[r#""name""#, r#""arguments""#, r#""_meta""#];

    proptest! {
        #[test]
        fn what_is_asked_can_be_read(
            asked in btree_map(".{0,8}", (".{1,12}", option::of(members(KEYS))), 0..4), state in option::of(".{0,20}"),
        ) {
            let asked: Vec<_> = asked
                .into_iter()
                .map(|(key, (method, params))| (key, Method::from(&*method), params.map(|params| raw(&object(&params)))))
                .collect();
            let result = input_required_result(&asked, state.as_deref());
            let result = Raw::parse(result.into_bytes()).expect("JSON");
            prop_assert_eq!(kind(&result), Kind::InputRequired);
            if asked.is_empty() && state.is_none() {
                prop_assert!(input_required(&result).is_err());
            } else {
                let read = input_required(&result).expect("what was written");
                prop_assert_eq!(read.requests, asked);
                let text = read.state.as_ref().map(|(text, _)| text.clone());
                prop_assert_eq!(text, state.as_ref().map(Raw::of));
                prop_assert!(read.state.is_none_or(|(text, at)| &result.as_str()[at] == text.as_str()));
            }
        }

        #[test]
        fn what_is_answered_can_be_read(
            params in members(KEYS), answers in option::of(btree_map(".{0,8}", ".{0,8}", 0..4)), state in option::of(".{0,20}"),
            has_responses in ANY, has_state in ANY, at in 0..6_usize,
        ) {
            let mut all = params.clone();
            if has_responses {
                all.insert(at.min(all.len()), member(r#""inputResponses""#, r#"{"old":1}"#));
            }
            if has_state {
                all.insert(all.len() - at.min(all.len()), member(r#""requestState""#, r#""old""#));
            }
            let before = raw(&object(&all));
            let answers: Option<Vec<_>> =
                answers.map(|answers| answers.iter().map(|(key, text)| (key.clone(), Raw::of(text))).collect());
            let (responses, state_text) = (answers.as_deref().map(responses), state.as_ref().map(Raw::of));
            let after = before.edited(&answered(&before, responses.as_ref(), state_text.as_ref()));
            let after = Raw::parse(after.into_bytes()).expect("JSON");
            match retry(&after).expect("what was written") {
                None => prop_assert!(answers.is_none() && state.is_none()),
                Some(read) => {
                    prop_assert_eq!(read.responses, answers);
                    prop_assert!(read.state.as_ref().is_none_or(|(text, at)| after.as_str()[at.clone()] == *Raw::of(text).as_str()));
                    prop_assert_eq!(read.state.map(|(text, _)| text), state);
                }
            }
            // Nothing else was touched.
            let own = |member: &&str| !member.contains("inputResponses") && !member.contains("requestState");
            let others = |raw: &Raw| {
                let entries = crate::wire::part::Part::of(raw).entries();
                let texts: Vec<String> = entries.filter(|entry| own(&entry.key.text())).map(|entry| raw.as_str()[entry.at()].into()).collect();
                texts
            };
            prop_assert_eq!(others(&after), others(&before));
        }
    }
}
