//! One name, one upstream: `tools/call`.

use crate::{
    catalog::view::Scope,
    protocol::call::{Answering, Events, Lane, NOTICES},
    relay::{Member, Relay, refuse, validate::ToolSchemas},
    session::{
        running::{NoPlace, Place},
        table::Session,
    },
    upstream::{Caller, Outbound, Upstream},
    wire::{
        error::Failure,
        message::{Answer, Request},
        params,
        raw::Raw,
    },
};
use bytes::Bytes;
use std::{ops::Range, sync::Arc};
use tokio::{sync::mpsc, time::Instant};

/// A call that is decided and only needs to be made.
struct Ready {
    upstream: Upstream,
    caller: Caller,
    lane: Lane,
    request: Request,
    native: Arc<str>,
    name: Option<(Range<usize>, Raw)>,
    token: Option<(Raw, Range<usize>)>,
    place: Place,
    logs: bool,
    key: String,
    schemas: Option<Arc<ToolSchemas>>,
}

// === impl Relay ===

impl Relay {
    pub(super) fn call(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        match self.decide(lane, session, &request) {
            Ok(ready) => {
                if let Some(answer) = ready.refusal() {
                    return Events::ready(answer);
                }
                let (sender, notices) = mpsc::channel(NOTICES);
                Events { answer: Answering::new(ready.make(sender)), notices }
            }
            Err(failure) => refuse(&request, &failure),
        }
    }

    /// Takes a request to one upstream as it is.
    pub(super) fn forward(lane: Lane, session: &Arc<Session>, member: &Member, request: Request) -> Events {
        let token = match request.params().as_ref().map(params::progress_token).transpose() {
            Ok(token) => token.flatten(),
            Err(reason) => return refuse(&request, &Failure::invalid_params(reason)),
        };
        let place = match session.running.begin(&request.id()).map_err(no_place) {
            Ok(place) => place,
            Err(failure) => return refuse(&request, &failure),
        };
        let (sender, notices) = mpsc::channel(NOTICES);
        let ready = Ready {
            upstream: member.upstream.clone(),
            caller: caller(session),
            lane,
            native: request.method.as_str().into(),
            request,
            name: None,
            token,
            place,
            logs: matches!(session.endpoint.scope, Scope::One(_)),
            key: session.identity.name.clone(),
            schemas: None,
        };
        Events { answer: Answering::new(ready.make(sender)), notices }
    }

    fn decide(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let params = request.params();
        let params = params
            .as_ref()
            .ok_or_else(|| Failure::invalid_params("`params` must be an object; found nothing"))?;
        let named = params::named(params).map_err(Failure::invalid_params)?;
        let view = self.view(&session.identity, &session.endpoint.scope);
        // What is denied is not in the view: unknown and denied are the same from here on.
        let row = view.tool(&named.name).ok_or_else(|| Failure::unknown_tool(&named.name))?;
        let member = self.0.upstreams.get(&row.alias).ok_or_else(|| Failure::unknown_tool(&named.name))?;
        let place = session.running.begin(&request.id()).map_err(no_place)?;
        // On an alias's own endpoint the name is the native one already, and keeps its spelling.
        let name = (*named.name != *row.native).then(|| (named.name_at.clone(), row.native_json.clone()));
        Ok(Ready {
            upstream: member.upstream.clone(),
            caller: caller(session),
            lane,
            request: request.clone(),
            native: row.native.clone(),
            name,
            token: named.token,
            place,
            logs: matches!(session.endpoint.scope, Scope::One(_)),
            key: session.identity.name.clone(),
            schemas: self.schemas(member, row),
        })
    }
}

// === impl Ready ===

impl Ready {
    /// The answer in place of a call whose arguments must fit and do not.
    fn refusal(&self) -> Option<Answer> {
        self.schemas.as_ref()?.check_arguments(&self.request, &self.key).err()
    }

    async fn make(self, notices: mpsc::Sender<Bytes>) -> Option<Answer> {
        let began = Instant::now();
        let outbound = Outbound {
            request: &self.request,
            name: self.name.as_ref().map(|(at, name)| (at.clone(), name)),
            token: self.token.clone(),
            logs: self.logs,
        };
        let outcome =
            self.upstream.call(self.lane, &self.caller, outbound, notices, &self.place.cancel).await;
        let id = self.request.id();
        match outcome {
            Ok(answer) => {
                if let (Some(answer), Some(schemas)) = (&answer, &self.schemas) {
                    schemas.check_result(answer);
                }
                answer.map(|answer| answer.with_id(&id))
            }
            Err(fault) => {
                let alias = self.upstream.alias();
                let duration_ms = began.elapsed().as_millis();
                let (key, tool, reason) = (&self.key, &self.native, fault.reason());
                tracing::warn!(%alias, %tool, %key, reason, duration_ms, "call failed: {fault}");
                Some(Answer::error(&id, &fault.failure(alias.as_str()).object()))
            }
        }
    }
}

fn caller(session: &Session) -> Caller {
    let (session_number, key) = (session.number, session.identity.key);
    Caller { session: session_number, key, inbox: session.inbox.clone(), level: session.level() }
}

fn no_place(why: NoPlace) -> Failure {
    match why {
        NoPlace::SameId => {
            Failure::invalid_request("id_in_use", "Invalid request: a call with this id is still under way")
                .hint("give every request of a session an id of its own")
        }
        NoPlace::TooMany(most) => Failure::exhausted(
            "too_many_calls",
            format!("{most} calls of this session are under way, which is the limit"),
        )
        .hint("wait for some of them to end"),
    }
}
