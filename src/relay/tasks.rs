//! Tasks of 2025-11-25 (experimental): each is asked for where it was made.

use crate::{
    catalog::view::Scope,
    protocol::call::{Answering, Events, Lane, NOTICES},
    relay::{
        Relay,
        call::{begin, caller, object, ready},
        refuse,
    },
    session::table::Session,
    upstream::{Outbound, Upstream},
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        params,
        part::Part,
        raw::Raw,
    },
};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The most pages of one upstream's tasks.
const MOST_PAGES: usize = 100;

// === impl Relay ===

impl Relay {
    /// `tasks/get`, `tasks/result`, `tasks/cancel`.
    pub(super) fn task(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        let decided = || {
            let params = object(&request)?;
            let (id, _) = params::text(&params, "taskId").map_err(Failure::invalid_params)?;
            let unknown = || {
                Failure::invalid_params("`params.taskId` names no task of this session")
                    .hint("it may have expired")
            };
            let token = params::progress_token(&params).map_err(Failure::invalid_params)?;
            let alias = match &session.endpoint.scope {
                // Nobody else is in a session of the client's own: its upstream knows best.
                Scope::One(alias) if self.is_own(session, alias) => alias.clone(),
                // Where sessions are shared, only who made a task may see it.
                _ => session.known.whose(&id).ok_or_else(unknown)?,
            };
            let view = self.view_for(session);
            let member =
                self.member(&alias).filter(|_| view.aliases().contains(&alias)).ok_or_else(unknown)?;
            let about = request.method.as_str().into();
            let mut ready = ready(lane, session, member, &request, about, Vec::new(), token)?;
            // The result is that of the call, and refers to as much.
            let is_result = request.method == Method::TasksResult && session.inbox.is_merged();
            ready.after.links = is_result.then_some(view);
            Ok(ready)
        };
        begin(decided(), &request)
    }

    /// `tasks/list`: of all upstreams with which the client has a session of its own.
    pub(super) fn tasks(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        if let Scope::One(alias) = &session.endpoint.scope {
            return match self.member(alias).filter(|_| self.is_own(session, alias)) {
                Some(member) => Self::forward(lane, session, member, request),
                None => refuse(&request, &Failure::method_not_found(request.method.as_str())),
            };
        }
        let view = self.view_for(session);
        let upstreams: Vec<_> = view
            .aliases()
            .iter()
            .filter(|alias| self.is_own(session, alias))
            .filter_map(|alias| self.member(alias))
            .filter(|member| member.upstream.offer().is_some_and(|offer| offer.has("tasks")))
            .map(|member| member.upstream.clone())
            .collect();
        let session = session.clone();
        let answer = async move {
            let mut tasks = Vec::new();
            for upstream in upstreams {
                tasks.extend(tasks_of(&upstream, lane, &session).await);
            }
            Some(Answer::result(&request.id(), &Raw::of(&json!({"tasks": tasks}))))
        };
        Events::waiting(Answering::new(answer))
    }

    fn is_own(&self, session: &Session, alias: &crate::catalog::name::Alias) -> bool {
        self.member(alias).is_some_and(|member| member.upstream.is_own(&caller(session)))
    }
}

async fn tasks_of(
    upstream: &Upstream,
    lane: Lane,
    session: &Session,
) -> Vec<Box<serde_json::value::RawValue>> {
    let (mut tasks, mut cursor) = (Vec::new(), None::<Value>);
    for _ in 0..MOST_PAGES {
        let params = cursor.take().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let request = Request::new(&Raw::of(&0), &Method::TasksList, Some(&Raw::of(&params)));
        let outbound = Outbound::of(&request);
        // What comes with it waits for nobody, and ends with the call.
        let (notices, _unheard) = mpsc::channel(NOTICES);
        let outcome =
            upstream.call(lane, &caller(session), outbound, notices, &CancellationToken::new()).await;
        let Ok(Some(answer)) = outcome else {
            tracing::info!(alias = %upstream.alias(), "an upstream did not list its tasks");
            return tasks;
        };
        let payload = answer.payload();
        let page = Part::of(&payload);
        if let Some(list) = page.member("tasks") {
            tasks.extend(
                serde_json::from_str::<Vec<Box<serde_json::value::RawValue>>>(list.text())
                    .unwrap_or_default(),
            );
        }
        cursor = page.member("nextCursor").and_then(|next| serde_json::from_str(next.text()).ok());
        if cursor.is_none() {
            break;
        }
    }
    tasks
}
