//! Waits for a task of an upstream (SEP-2663) inside the call that made it, for a client that cannot.

use crate::{
    protocol::{
        call::Event,
        input::{self, Question},
        shape,
    },
    upstream::{
        call::{Calling, Outbound},
        fault::Fault,
        rounds::{Asked, Rounds, address},
    },
    wire::{
        error::Failure,
        message::{Answer, Notice, Request},
        method::Method,
        part::Part,
        raw::Raw,
    },
};
use std::{borrow::Cow, collections::HashSet, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

/// How often a task is asked for where its upstream does not say.
const POLL: Duration = Duration::from_secs(1);
/// The shortest time between two questions, whatever an upstream says.
const POLL_LEAST: Duration = Duration::from_millis(50);
/// The longest.
const POLL_MOST: Duration = Duration::from_secs(30);
/// How often in a row a question for a task may fail.
const MOST_FAILURES: u32 = 3;

/// The answer that the task of an answer comes to; `None` if the client took the call back.
pub(in crate::upstream) async fn wait(
    calling: &Calling<'_>,
    request: &Request,
    created: &Answer,
) -> Result<Option<Answer>, Fault> {
    let mut task = created.payload();
    let id = Part::of(&task).member("taskId").filter(|id| id.text().starts_with('"')).map(Part::copy);
    let id = id.ok_or_else(|| Fault::NotMcp("a task without a `taskId`".into()))?;
    let (mut said, mut steps, mut asked) = (None::<String>, 0_u64, HashSet::<String>::new());
    let (mut rounds, mut failures) = (Rounds::default(), 0_u32);
    loop {
        let interval = Part::of(&task).member("pollIntervalMs").and_then(|wait| wait.text().parse().ok());
        let interval = interval.map_or(POLL, Duration::from_millis).clamp(POLL_LEAST, POLL_MOST);
        tokio::select! {
            () = sleep(interval) => {}
            () = calling.cancel.cancelled() => {
                cancel(calling, &id).await;
                return Ok(None);
            }
            () = sleep_until(calling.deadline) => {
                cancel(calling, &id).await;
                return Err(calling.overdue());
            }
        }
        let answer = match send(calling, &Method::TasksGet, &named(&id)).await {
            Ok(Some(answer)) => answer,
            Ok(None) => {
                cancel(calling, &id).await;
                return Ok(None);
            }
            // The task does not end with a connection; whether its upstream is still there, the next question tells.
            Err(fault) if failures + 1 < MOST_FAILURES && Instant::now() < calling.deadline => {
                tracing::debug!(alias = %calling.inner.alias, %fault, "an upstream was not asked for a task");
                failures += 1;
                continue;
            }
            Err(fault) => {
                cancel(calling, &id).await;
                return Err(fault);
            }
        };
        failures = 0;
        if answer.is_error {
            return Ok(Some(answer.with_id(&request.id())));
        }
        task = answer.payload();
        let whole = Part::of(&task);
        let status = whole.member("status").and_then(Part::string).unwrap_or_default();
        match (&*status, whole.member("result"), whole.member("error")) {
            ("completed", Some(result), _) => {
                rounds.complete(calling).await;
                return Ok(Some(Answer::result(&request.id(), &plain(&result.copy()))));
            }
            ("failed", _, Some(error)) => return Ok(Some(Answer::error(&request.id(), &error.copy()))),
            ("cancelled", _, _) => {
                return Ok(Some(Answer::error(&request.id(), &cancelled(calling).object())));
            }
            ("completed" | "failed", _, _) => {
                return Err(Fault::NotMcp("a task that is over, and has no outcome".into()));
            }
            ("input_required", _, _) => {
                let mut required = input::input_required(&task).map_err(|reason| {
                    Fault::NotMcp(format!("what a task asks is not as specified: {reason}"))
                })?;
                // Keys are unique over the lifetime of a task: what was answered is only not looked at yet.
                required.requests.retain(|(key, ..)| asked.insert(key.clone()));
                if !required.requests.is_empty()
                    && let Some(end) =
                        answer_questions(calling, request, &id, &mut rounds, required.requests).await
                {
                    cancel(calling, &id).await;
                    return end;
                }
            }
            _ => {}
        }
        let message = whole.member("statusMessage").and_then(Part::string).map(Cow::into_owned);
        if let (Some(message), Some(token)) =
            (message.filter(|new| said.as_ref() != Some(new)), &calling.sink.token)
        {
            steps += 1;
            let message = Raw::of(&message);
            let params = format!(r#"{{"progressToken":{token},"progress":{steps},"message":{message}}}"#);
            let notice = Notice::new(&Method::Progress, Some(&Raw::spliced(params.into())));
            // A client that reads slowly misses a step, not the result.
            let _ = calling.sink.notices.try_send(Event::Notice(notice.bytes().clone()));
            said = Part::of(&message).string().map(Cow::into_owned);
        }
    }
}

/// Puts the questions of a task to the client, and gives the answers to the task; what ends the call in place of that.
async fn answer_questions(
    calling: &Calling<'_>,
    request: &Request,
    id: &Raw,
    rounds: &mut Rounds,
    questions: Vec<Question>,
) -> Option<Result<Option<Answer>, Fault>> {
    // What was answered last led to more questions, so that those addresses were dealt with.
    rounds.complete(calling).await;
    match rounds.ask(calling, questions).await {
        Ok(Asked::Answered(responses)) => {
            let params = Raw::spliced(format!(r#"{{"taskId":{id},"inputResponses":{responses}}}"#).into());
            match send(calling, &Method::TasksUpdate, &params).await {
                Ok(Some(answer)) if answer.is_error => Some(Ok(Some(answer.with_id(&request.id())))),
                Ok(Some(_)) => None,
                other => Some(other),
            }
        }
        Ok(Asked::Refused(failure)) => Some(Ok(Some(Answer::error(&request.id(), &failure.object())))),
        Ok(Asked::Address(text)) => Some(Ok(Some(address(request, &text)))),
        Ok(Asked::Cancelled) => Some(Ok(None)),
        Err(fault) => Some(Err(fault)),
    }
}

/// The result that an upstream of the handshake era has for a task (2025-11-25, experimental) that was asked for in the
/// name of a client which cannot wait for one; `None` if the client took the call back.
pub(in crate::upstream) async fn block(
    calling: &Calling<'_>,
    request: &Request,
    created: Answer,
) -> Result<Option<Answer>, Fault> {
    let payload = created.payload();
    // It may as well have answered at once.
    let Some(task) = Part::of(&payload).member("task").filter(|task| task.is_object()) else {
        return Ok(Some(created));
    };
    let id = task.member("taskId").filter(|id| id.text().starts_with('"')).map(Part::copy);
    let id = id.ok_or_else(|| Fault::NotMcp("a task without a `taskId`".into()))?;
    let waiting = Calling { sink: calling.sink.again(), ..*calling };
    match send(&waiting, &Method::TasksResult, &named(&id)).await {
        Ok(Some(answer)) => {
            let answer = answer.with_id(&request.id());
            let edits = if answer.is_error { Vec::new() } else { shape::without_task(&answer.payload()) };
            Ok(Some(answer.rewrite(&edits)))
        }
        given_up => {
            cancel(calling, &id).await;
            given_up
        }
    }
}

/// The result that stands in a task, as the other era has it; it need not say what it is.
fn plain(result: &Raw) -> Raw {
    let result = result.edited(&shape::complete(&Method::ToolsCall, result, None));
    result.edited(&shape::plain(&result))
}

async fn send(calling: &Calling<'_>, method: &Method, params: &Raw) -> Result<Option<Answer>, Fault> {
    let request = Request::new(&Raw::of(&0), method, Some(params));
    let outbound = Outbound::of(&request);
    let sent = calling.send(&outbound, &Rounds::default()).await?;
    Ok(sent.map(|(answer, _)| answer))
}

/// Tells the upstream that nobody waits for the task any more.
async fn cancel(calling: &Calling<'_>, id: &Raw) {
    let nobody = tokio_util::sync::CancellationToken::new();
    let calling =
        Calling { sink: calling.sink.clone(), cancel: &nobody, deadline: Instant::now() + POLL, ..*calling };
    if let Err(fault) = send(&calling, &Method::TasksCancel, &named(id)).await {
        tracing::debug!(alias = %calling.inner.alias, %fault, "an upstream was not told that nobody waits for its task");
    }
}

fn named(id: &Raw) -> Raw {
    Raw::spliced(format!(r#"{{"taskId":{id}}}"#).into())
}

fn cancelled(calling: &Calling<'_>) -> Failure {
    let alias = calling.inner.alias.as_str();
    Failure::upstream(
        alias,
        "task_cancelled",
        format!("upstream `{alias}` cancelled the task that it made of this call"),
    )
}
