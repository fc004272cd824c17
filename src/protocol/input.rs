//! What a server of the stateless era needs to be told before it answers, and the retry that tells it (2026-07-28,
//! patterns, "Multi round-trip requests").

use crate::{
    protocol::stateless::{INPUT_RESPONSES, REQUEST_STATE},
    wire::{
        message::excerpt,
        method::Method,
        part::{self, Entry, Part},
        raw::Raw,
        splice::Edit,
    },
};
use bytes::Bytes;
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
        let params = elicitation_for_stateless(&params).unwrap_or(params);
        Some((format!("url-{}", index + 1), Method::Elicit, Some(params)))
    };
    let questions: Option<Vec<Question>> =
        wanted.into_iter().take(MOST_REQUESTS).enumerate().map(question).collect();
    questions.filter(|questions| !questions.is_empty())
}

/// The parameters of `elicitation/create` for clients of the stateless era, if they are not the same: without
/// `elicitationId`.
pub fn elicitation_for_stateless(params: &Raw) -> Option<Raw> {
    let ranges = Part::of(params).without(&["elicitationId"]);
    let edits: Vec<Edit> = ranges.into_iter().map(|at| (at, Bytes::new())).collect();
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
