//! Waits for a task of an upstream (SEP-2663) inside the call that made it, for a client that cannot.

use crate::{
    protocol::{call::Event, input, shape},
    upstream::{
        call::{Calling, Outbound},
        fault::Fault,
        rounds::{Asked, Rounds, ask},
    },
    wire::{
        error::Failure,
        message::{Answer, Notice, Request},
        method::Method,
        part::Part,
        raw::Raw,
    },
};
use std::{collections::HashSet, time::Duration};
use tokio::time::{sleep, sleep_until};

/// How often a task is asked for where its upstream does not say.
const POLL: Duration = Duration::from_secs(1);
/// The shortest time between two questions, whatever an upstream says.
const POLL_LEAST: Duration = Duration::from_millis(50);
/// The longest.
const POLL_MOST: Duration = Duration::from_secs(30);

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
        let Some(answer) = send(calling, &Method::TasksGet, &named(&id)).await? else {
            cancel(calling, &id).await;
            return Ok(None);
        };
        if answer.is_error {
            return Ok(Some(answer.with_id(&request.id())));
        }
        task = answer.payload();
        let whole = Part::of(&task);
        let status = whole.member("status").and_then(Part::string).unwrap_or_default();
        match (&*status, whole.member("result"), whole.member("error")) {
            ("completed", Some(result), _) => {
                let answer = Answer::result(&request.id(), &result.copy());
                let edits = shape::plain(&answer.payload());
                return Ok(Some(answer.rewrite(&edits)));
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
                if !required.requests.is_empty() {
                    match ask(calling, required.requests, &mut Vec::new()).await? {
                        Asked::Answered(responses) => {
                            let params = Raw::spliced(
                                format!(r#"{{"taskId":{id},"inputResponses":{responses}}}"#).into(),
                            );
                            send(calling, &Method::TasksUpdate, &params).await?;
                        }
                        Asked::Refused(failure) => {
                            cancel(calling, &id).await;
                            return Ok(Some(Answer::error(&request.id(), &failure.object())));
                        }
                        Asked::Address(text) => {
                            cancel(calling, &id).await;
                            let failure = Failure::invalid_request("address", text);
                            return Ok(Some(Answer::error(&request.id(), &failure.object())));
                        }
                        Asked::Cancelled => {
                            cancel(calling, &id).await;
                            return Ok(None);
                        }
                    }
                }
            }
            _ => {}
        }
        let message = whole.member("statusMessage").and_then(Part::string).map(|text| text.into_owned());
        if let (Some(message), Some(token)) =
            (message.filter(|new| said.as_ref() != Some(new)), &calling.sink.token)
        {
            steps += 1;
            let message = Raw::of(&message);
            let params = format!(r#"{{"progressToken":{token},"progress":{steps},"message":{message}}}"#);
            let notice = Notice::new(&Method::Progress, Some(&Raw::spliced(params.into())));
            // A client that reads slowly misses a step, not the result.
            let _ = calling.sink.notices.try_send(Event::Notice(notice.bytes().clone()));
            said = Part::of(&message).string().map(|text| text.into_owned());
        }
    }
}

async fn send(calling: &Calling<'_>, method: &Method, params: &Raw) -> Result<Option<Answer>, Fault> {
    let request = Request::new(&Raw::of(&0), method, Some(params));
    let outbound = Outbound { request: &request, edits: &[], token: None, level: None, mirrored: &[] };
    let sent = calling.send(&outbound, &Rounds::default()).await?;
    Ok(sent.map(|(answer, _)| answer))
}

/// Tells the upstream that nobody waits for the task any more.
async fn cancel(calling: &Calling<'_>, id: &Raw) {
    let nobody = tokio_util::sync::CancellationToken::new();
    let calling = Calling {
        sink: calling.sink.clone(),
        cancel: &nobody,
        deadline: tokio::time::Instant::now() + POLL,
        ..*calling
    };
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
