//! What an upstream of the stateless era wants before it goes on, for clients of the handshake era: answers to its
//! questions (SEP-2322), and somebody who waits for its tasks (SEP-2663). A client of its own era does that itself.

use crate::{
    protocol::{
        ask::{Ask, Refusal},
        call::Event,
        extensions::{self, TASKS},
        handshake::Offers,
        input::{self, InputRequired, Question},
        shape::{self, Kind},
        stateless::{self, INPUT_RESPONSES, Introduction, REQUEST_STATE},
    },
    upstream::{
        Caller,
        call::{Calling, Outbound},
        fault::Fault,
        link::Link,
        polling,
    },
    wire::{
        error::{Failure, HEADER_MISMATCH, INVALID_PARAMS, MISSING_CAPABILITY, UNSUPPORTED_VERSION},
        message::{Answer, Notice, Request, excerpt},
        method::Method,
        params,
        part::{self, Part},
        raw::Raw,
    },
};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::{borrow::Cow, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::{sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What was answered so far, and goes with the request when it is sent again.
#[derive(Debug, Default)]
pub(in crate::upstream) struct Rounds {
    count: u32,
    /// `inputResponses`.
    responses: Option<Raw>,
    /// `requestState`, byte for byte.
    state: Option<Raw>,
    /// Elicitations by URL whose end the client is told of.
    urls: Vec<String>,
}

/// How a call goes on.
#[derive(Debug)]
pub(in crate::upstream) enum Next {
    /// This is the answer; `None` if the client took the call back.
    Done(Option<Answer>),
    /// The request is sent again, with what was answered.
    Again,
}

/// What became of questions.
pub(in crate::upstream) enum Asked {
    /// The answers, as `inputResponses`.
    Answered(Raw),
    /// The client cannot be asked that, or did not answer: what it gets in place of a result.
    Refused(Failure),
    /// Only a person can open this address, and the client cannot show it.
    Address(String),
    /// The client took the call back.
    Cancelled,
}

/// How long the result of a task is to be kept by an upstream: its caller waits for it.
const TASK_TTL: Duration = Duration::from_hours(1);
/// How often one call is sent again with answers.
const MOST_ROUNDS: u32 = 32;
/// The most questions at once.
const MOST_QUESTIONS: usize = 64;
/// The first wait before a request is sent again for which nothing was asked; it doubles.
const WAIT: Duration = Duration::from_millis(100);
/// The longest.
const WAIT_MOST: Duration = Duration::from_secs(5);
/// What a client that never said so gets of log messages: most servers of its era decide likewise.
const LEVEL: &str = "info";

// === impl Rounds ===

impl Rounds {
    /// The bytes to send on a link: translated if the client is of the other era.
    pub(in crate::upstream) fn body(
        &self,
        outbound: &Outbound<'_>,
        id: u64,
        link: &Link,
        caller: &Caller,
    ) -> Bytes {
        match (caller.inbox.is_stateless(), link.is_stateless()) {
            (is_stateless, false) => {
                let Some(params) = outbound.request.params() else { return outbound.body(id, &[]) };
                let is_call = outbound.request.method == Method::ToolsCall;
                // Whoever asks for a task so is of another era, or cannot read the answer.
                let foreign: &[&str] = if is_call { &["task"] } else { &[] };
                let mut edits = if is_stateless { stateless::strip(&params, foreign) } else { Vec::new() };
                if outbound.needs_task && extensions::makes_tasks(&link.welcome.capabilities) {
                    // There are servers that make no task for who does not say how long it is to be kept.
                    let ttl = format!(r#""task":{{"ttl":{}}}"#, TASK_TTL.as_millis());
                    edits.extend(Part::of(&params).insertion(ttl.as_bytes()));
                }
                outbound.body(id, &edits)
            }
            (false, true) => self.equipped(outbound, id, link, caller),
            (true, true) => outbound.body(id, &[]),
        }
    }

    fn equipped(&self, outbound: &Outbound<'_>, id: u64, link: &Link, caller: &Caller) -> Bytes {
        let nothing = Raw::of(&json!({}));
        let (capabilities, client_info) =
            caller.inbox.hello().map_or((nothing.clone(), nothing), |(hello, _)| {
                (hello.capabilities.clone(), hello.client_info.clone())
            });
        let has_tasks = extensions::of(&link.welcome.capabilities, TASKS).is_some();
        let capabilities = if has_tasks { with_tasks(&capabilities) } else { capabilities };
        let has_logging = link.welcome.capabilities.contains_key("logging");
        let level = has_logging.then(|| caller.inbox.level().unwrap_or(LEVEL));
        let who = Introduction { capabilities: &capabilities, client_info: &client_info, level };
        let Some(params) = outbound.request.params() else {
            let params = Raw::spliced(format!(r#"{{"_meta":{}}}"#, stateless::meta(&who)).into());
            return Request::new(&Raw::of(&id), &outbound.request.method, Some(&params)).bytes().clone();
        };
        let mut edits = stateless::equip(&params, &who);
        // What a client of the handshake era says there means nothing: neither did anybody ask it so, nor is it sealed.
        let is_ours = outbound.request.method == Method::TasksUpdate;
        let has_own = !is_ours && part::mentions(&params, &[INPUT_RESPONSES, REQUEST_STATE]);
        if has_own || self.responses.is_some() || self.state.is_some() {
            edits.extend(input::answered(&params, self.responses.as_ref(), self.state.as_ref()));
        }
        outbound.body(id, &edits)
    }

    /// Takes an answer of an upstream of the stateless era.
    pub(in crate::upstream) async fn next(
        &mut self,
        calling: &Calling<'_>,
        request: &Request,
        answer: Answer,
    ) -> Result<Next, Fault> {
        let payload = answer.payload();
        if answer.is_error {
            return Self::error(calling, request, answer).map(|answer| Next::Done(Some(answer)));
        }
        if calling.caller.inbox.is_stateless() {
            return Ok(Next::Done(Some(answer)));
        }
        match shape::kind(&payload) {
            Kind::Complete => {
                self.complete(calling).await;
                Ok(Next::Done(Some(answer.rewrite(&shape::plain(&payload)))))
            }
            Kind::Task => polling::wait(calling, request, &answer).await.map(Next::Done),
            Kind::InputRequired => {
                let required = input::input_required(&payload)
                    .map_err(|reason| Fault::NotMcp(format!("what it asks is not as specified: {reason}")))?;
                self.answer(calling, request, required).await
            }
            Kind::Other => Err(Fault::NotMcp("a result of a type that is not known here".into())),
        }
    }

    /// Puts questions to the client of a call; addresses that it opens are remembered.
    pub(in crate::upstream) async fn ask(
        &mut self,
        calling: &Calling<'_>,
        requests: Vec<Question>,
    ) -> Result<Asked, Fault> {
        ask(calling, requests, &mut self.urls).await
    }

    async fn answer(
        &mut self,
        calling: &Calling<'_>,
        request: &Request,
        required: InputRequired,
    ) -> Result<Next, Fault> {
        // What was answered last led to more questions, so that those addresses were dealt with.
        self.complete(calling).await;
        self.count += 1;
        if self.count > MOST_ROUNDS {
            return Err(Fault::NotMcp(format!("it asks more than {MOST_ROUNDS} times in one call")));
        }
        self.state = required.state.map(|(state, _)| state);
        if required.requests.is_empty() {
            // It only wants to see the request again, a little later.
            self.responses = None;
            let wait = WAIT.saturating_mul(1 << self.count.min(10)).min(WAIT_MOST);
            return tokio::select! {
                () = sleep(wait) => Ok(Next::Again),
                () = calling.cancel.cancelled() => Ok(Next::Done(None)),
                () = sleep_until(calling.deadline) => Err(calling.overdue()),
            };
        }
        let id = request.id();
        Ok(match ask(calling, required.requests, &mut self.urls).await? {
            Asked::Answered(responses) => {
                self.responses = Some(responses);
                Next::Again
            }
            Asked::Refused(failure) => Next::Done(Some(Answer::error(&id, &failure.object()))),
            Asked::Address(text) => Next::Done(Some(address(request, &text))),
            Asked::Cancelled => Next::Done(None),
        })
    }

    /// Tells the client that what it opened in a browser is done, as its era wants to hear it.
    pub(in crate::upstream) async fn complete(&mut self, calling: &Calling<'_>) {
        for id in std::mem::take(&mut self.urls) {
            let params = Raw::of(&json!({"elicitationId": id}));
            let notice = Notice::new(&Method::ElicitComplete, Some(&params));
            // The client is gone, which does not concern the call.
            let _ = calling.sink.notices.send(Event::Notice(notice.bytes().clone())).await;
        }
    }

    /// An error in the words of the handshake era, which all fronts understand.
    fn error(calling: &Calling<'_>, request: &Request, answer: Answer) -> Result<Answer, Fault> {
        let payload = answer.payload();
        if let Some(edit) = shape::not_found_plain(&request.method, &payload) {
            return Ok(answer.rewrite(&[edit]));
        }
        let code = Part::of(&payload).member("code");
        let is = |wanted: i32| code.is_some_and(|code| code.text() == wanted.to_string());
        if is(UNSUPPORTED_VERSION) || is(HEADER_MISMATCH) {
            // That is between the two of us, and the client's own revision is none of it; nothing was executed.
            let alias = &calling.inner.alias;
            tracing::warn!(%alias, "an upstream refuses the revision or the headers that were agreed on");
            calling.inner.signals.want();
            return Err(Fault::Handshake("it refuses the revision or the headers of the request".into()));
        }
        Ok(match code {
            // The code means nothing to a client of the handshake era.
            Some(code)
                if code.text() == MISSING_CAPABILITY.to_string() && !calling.caller.inbox.is_stateless() =>
            {
                answer.rewrite(&[(code.at(), Bytes::from(INVALID_PARAMS.to_string()))])
            }
            _ => answer,
        })
    }
}

/// Puts questions to the client of a call, all at once, and waits for all answers.
async fn ask(calling: &Calling<'_>, requests: Vec<Question>, urls: &mut Vec<String>) -> Result<Asked, Fault> {
    if requests.len() > MOST_QUESTIONS {
        return Err(Fault::NotMcp(format!("it asks more than {MOST_QUESTIONS} questions at once")));
    }
    let alias = calling.inner.alias.as_str();
    let hello = calling.caller.inbox.hello();
    let offers = hello.map_or_else(Offers::default, |(hello, _)| hello.offers);
    let mut questions = Vec::with_capacity(requests.len());
    for (number, (key, method, params)) in (1_u64..).zip(requests) {
        let address = params.as_ref().and_then(|params| url(&method, params));
        // This era has no such ids; one that is there all the same is the one that the client knows.
        let own = || params::text(params.as_ref()?, "elicitationId").ok().map(|(id, _)| id.into_owned());
        let id = address.as_ref().map(|_| own().unwrap_or_else(|| Uuid::new_v4().simple().to_string()));
        let named = id
            .as_ref()
            .zip(params.as_ref())
            .and_then(|(id, params)| input::elicitation_for_handshake(params, id));
        let params = named.or(params);
        let question = Request::new(&Raw::of(&number), &method, params.as_ref());
        match (offers.allow(&question, false), address) {
            (Ok(()), _) => {}
            (Err(_), Some(address)) => return Ok(Asked::Address(address)),
            (Err(refusal), None) => return Ok(Asked::Refused(not_offered(alias, refusal, &method))),
        }
        questions.push((key, question, id));
    }
    let withdrawn = CancellationToken::new();
    let _withdraw = withdrawn.clone().drop_guard();
    let all = join_all(questions.iter().map(|(_, question, _)| put(calling, question, &withdrawn)));
    let answers = tokio::select! {
        answers = all => answers,
        () = calling.cancel.cancelled() => return Ok(Asked::Cancelled),
        () = sleep_until(calling.deadline) => return Err(calling.overdue()),
    };
    let mut responses = Vec::with_capacity(questions.len());
    for ((key, question, id), answer) in questions.into_iter().zip(answers) {
        let response = match answer {
            Some(answer) if !answer.is_error => {
                // What a person did not want to open never ends.
                let action = Part::of(&answer.payload())
                    .member("action")
                    .and_then(|action| action.string().map(Cow::into_owned));
                urls.extend(id.filter(|_| !matches!(action.as_deref(), Some("decline" | "cancel"))));
                answer.payload()
            }
            // A person who does not answer is foreseen (elicitation, "Response Actions"); a model or a folder is not.
            _ if question.method == Method::Elicit => Raw::of(&json!({"action": "cancel"})),
            answer => {
                let mut message =
                    format!("the client did not answer {} of upstream `{alias}`", question.method);
                let said = answer.map(|answer| answer.payload());
                if let Some(code) = said.as_ref().and_then(|said| Part::of(said).member("code")) {
                    message = format!("{message}: it said error {}", excerpt(code.text()));
                }
                return Ok(Asked::Refused(Failure::invalid_request("client_refused", message)));
            }
        };
        responses.push((key, response));
    }
    Ok(Asked::Answered(input::responses(&responses)))
}

/// Puts one question to the client; `None` if it does not answer.
async fn put(calling: &Calling<'_>, question: &Request, withdrawn: &CancellationToken) -> Option<Answer> {
    let (sender, answer) = oneshot::channel();
    // Nobody upstream could hear of progress.
    let (progress, _) = mpsc::channel(1);
    let ask = Ask {
        request: question.clone(),
        token: None,
        answer: sender,
        progress,
        withdrawn: withdrawn.child_token(),
    };
    calling.sink.notices.send(Event::Ask(ask)).await.ok()?;
    answer.await.ok()
}

/// The result of a call for which an address would have to be opened.
pub(in crate::upstream) fn address(request: &Request, text: &str) -> Answer {
    let id = request.id();
    if request.method != Method::ToolsCall {
        let failure =
            Failure::invalid_request("address", text).hint("open the address in a browser, and try again");
        return Answer::error(&id, &failure.object());
    }
    let result = json!({"content": [{"type": "text", "text": text}], "isError": true});
    Answer::result(&id, &Raw::of(&result))
}

/// What a person is to be told about an elicitation by URL, if it is one.
fn url(method: &Method, params: &Raw) -> Option<String> {
    let text = |key: &str| params::text(params, key).ok().map(|(text, _)| text.into_owned());
    if *method != Method::Elicit || text("mode").as_deref() != Some("url") {
        return None;
    }
    let (message, url) = (text("message").unwrap_or_default(), text("url")?);
    Some(format!("{message}\n\nThis has to be done in a browser: open {url} and then try again."))
}

fn with_tasks(capabilities: &Raw) -> Raw {
    let mut members: serde_json::Map<String, Value> =
        serde_json::from_str(capabilities.as_str()).unwrap_or_default();
    // Those of 2025-11-25 are another feature.
    members.shift_remove("tasks");
    if let Value::Object(extensions) = members.entry("extensions").or_insert_with(|| json!({})) {
        extensions.entry(TASKS).or_insert_with(|| json!({}));
    }
    Raw::of(&members)
}

fn not_offered(alias: &str, refusal: Refusal, method: &Method) -> Failure {
    let what = match refusal {
        Refusal::NotOffered => "which this client did not declare",
        Refusal::Mode => "in a mode that this client did not declare",
    };
    Failure::upstream(alias, "not_offered", format!("upstream `{alias}` wants {method}, {what}"))
        .hint("use a client that can be asked that")
}
