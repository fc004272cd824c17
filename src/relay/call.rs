//! One name, one upstream: what is called, got or read by its name, decided and made.

use crate::{
    catalog::{
        listing::Kind,
        merge::Row,
        name::Alias,
        view::{Scope, View},
    },
    protocol::{
        call::{Answering, Event, Events, Lane, NOTICES},
        level, shape,
    },
    relay::{Member, Relay, handles::Handles, linked, refuse, skills, validate::ToolSchemas},
    session::{
        running::{NoPlace, Place},
        table::Session,
    },
    upstream::{Caller, Outbound, Upstream},
    wire::{
        error::Failure,
        message::{Answer, Request, excerpt},
        method::Method,
        params,
        raw::Raw,
    },
};
use std::{ops::Range, sync::Arc};
use tokio::{sync::mpsc, time::Instant};

/// A request that is decided and only needs to be made.
pub(super) struct Ready {
    pub(super) upstream: Upstream,
    pub(super) session: Arc<Session>,
    pub(super) lane: Lane,
    pub(super) request: Request,
    /// What it is about, for the log.
    pub(super) about: Arc<str>,
    /// What is replaced in its parameters.
    pub(super) edits: Vec<(Range<usize>, Raw)>,
    pub(super) token: Option<(Raw, Range<usize>)>,
    /// The tool's definition, where one was found.
    pub(super) row: Option<Arc<Row>>,
    /// Whether the tool needs a task of 2025-11-25 that the client cannot wait for.
    pub(super) needs_task: bool,
    pub(super) place: Place,
    pub(super) after: After,
}

/// What is done with a result before it goes to the client.
#[derive(Default)]
pub(super) struct After {
    /// Where upstreams are seen as one: the view in which the result's links must lead to this upstream.
    pub(super) links: Option<Arc<View>>,
    /// What the upstream calls the resource that was read, and what the client does, where that differs.
    pub(super) read: Option<(String, String)>,
    /// The result is a task that belongs to the session from now on.
    pub(super) is_task: bool,
    /// The native URI of a subscription that begins or ends.
    pub(super) subscription: Option<String>,
    /// What makes the ids of tasks in the result those that the client knows (SEP-2663).
    pub(super) handles: Option<Handles>,
    /// What of skills is shown otherwise in the result (SEP-2640).
    pub(super) skills: bool,
    /// Whatever the upstream says, the result is for nobody else: it may depend on the caller's key.
    pub(super) is_private: bool,
    /// What the call and its result are checked against, where that is asked for.
    pub(super) schemas: Option<Arc<ToolSchemas>>,
}

// === impl Relay ===

impl Relay {
    pub(super) fn call(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        let decided = self.decide_call(lane, session, &request);
        if let Ok(Ready { after: After { schemas: Some(schemas), .. }, .. }) = &decided
            && let Err(answer) = schemas.check_arguments(&request, &session.identity.name)
        {
            return Events::ready(answer);
        }
        begin(decided, &request)
    }

    pub(super) fn prompt(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        begin(self.decide_prompt(lane, session, &request), &request)
    }

    /// Takes a request to one upstream as it is.
    pub(super) fn forward(lane: Lane, session: &Arc<Session>, member: &Member, request: Request) -> Events {
        let token = match request.params().as_ref().map(params::progress_token).transpose() {
            Ok(token) => token.flatten(),
            Err(reason) => return refuse(&request, &Failure::invalid_params(reason)),
        };
        let about = request.method.as_str().into();
        begin(ready(lane, session, member, &request, about, Vec::new(), token), &request)
    }

    fn decide_call(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let params = object(request)?;
        let named = params::named(&params, "name").map_err(Failure::invalid_params)?;
        let view = self.view_for(session);
        // What is denied is not in the view: unknown and denied are the same from here on.
        let Some(row) = view.called(&named.name) else {
            let member = self.unlisted(Kind::Tools, session, &named.name);
            let member = member.ok_or_else(|| Failure::unknown_tool(&named.name))?;
            let mut ready =
                ready(lane, session, member, request, (&*named.name).into(), Vec::new(), named.token)?;
            ready.after.is_task = named.is_task && !session.inbox.is_stateless();
            ready.after.handles = self.handles(session);
            return Ok(ready);
        };
        let member = self.member(&row.alias).ok_or_else(|| Failure::unknown_tool(&named.name))?;
        // On an alias's own endpoint the name is the native one already, and keeps its spelling.
        let is_other = *named.name != *row.native;
        let edits =
            if is_other { vec![(named.name_at.clone(), row.native_json.clone())] } else { Vec::new() };
        let mut ready = ready(lane, session, member, request, row.native.clone(), edits, named.token)?;
        ready.after.schemas = self.schemas(member, row);
        ready.needs_task = row.needs_task && !can_wait(session, named.is_task);
        ready.row = Some(row.clone());
        ready.after.is_task = named.is_task && !session.inbox.is_stateless();
        ready.after.handles = self.handles(session);
        ready.after.links = session.inbox.is_merged().then_some(view);
        Ok(ready)
    }

    fn decide_prompt(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let params = object(request)?;
        let named = params::named(&params, "name").map_err(Failure::invalid_params)?;
        let view = self.view_for(session);
        let Some(row) = view.prompt(&named.name) else {
            let member = self.unlisted(Kind::Prompts, session, &named.name);
            let member = member.ok_or_else(|| Failure::unknown_prompt(&named.name))?;
            return ready(lane, session, member, request, (&*named.name).into(), Vec::new(), named.token);
        };
        let member = self.member(&row.alias).ok_or_else(|| Failure::unknown_prompt(&named.name))?;
        let is_other = *named.name != *row.native;
        let edits =
            if is_other { vec![(named.name_at.clone(), row.native_json.clone())] } else { Vec::new() };
        let mut ready = ready(lane, session, member, request, row.native.clone(), edits, named.token)?;
        ready.after.links = session.inbox.is_merged().then_some(view);
        Ok(ready)
    }

    /// The only upstream that something in no list can be of: it may have come a moment ago, or be there for some of its
    /// clients only, and the upstream itself says best that it is not there.
    pub(super) fn unlisted(&self, kind: Kind, session: &Session, name: &str) -> Option<&Member> {
        let Scope::One(alias) = &session.endpoint.scope else { return None };
        let member = self.member(alias)?;
        let is_known = member.upstream.offer().is_some();
        (is_known && !session.identity.grant.limits_tools() && member.show.passes(kind, name))
            .then_some(member)
    }

    pub(super) fn member(&self, alias: &Alias) -> Option<&Member> {
        self.0.upstreams.get(alias)
    }
}

/// The request's parameters, which must be there.
pub(super) fn object(request: &Request) -> Result<Raw, Failure> {
    request.params().ok_or_else(|| Failure::invalid_params("`params` must be an object; found nothing"))
}

/// Takes a place for a request among those of its session that are under way.
pub(super) fn ready(
    lane: Lane,
    session: &Arc<Session>,
    member: &Member,
    request: &Request,
    about: Arc<str>,
    edits: Vec<(Range<usize>, Raw)>,
    token: Option<(Raw, Range<usize>)>,
) -> Result<Ready, Failure> {
    let is_stateless = session.inbox.is_stateless();
    let place = if is_stateless { session.running.begin_any() } else { session.running.begin(&request.id()) };
    let place = place.map_err(no_place)?;
    let (upstream, session, request) = (member.upstream.clone(), session.clone(), request.clone());
    Ok(Ready {
        upstream,
        session,
        lane,
        request,
        about,
        edits,
        token,
        row: None,
        needs_task: false,
        place,
        after: After::default(),
    })
}

/// Makes a request that was decided, or says why it is not made.
pub(super) fn begin(decided: Result<Ready, Failure>, request: &Request) -> Events {
    match decided {
        Ok(ready) => {
            let (sender, notices) = mpsc::channel(NOTICES);
            let cancel = Some(ready.place.cancel.clone());
            Events { answer: Answering::new(ready.make(sender)), notices, cancel }
        }
        Err(failure) => refuse(request, &failure),
    }
}

// === impl Ready ===

impl Ready {
    async fn make(self, notices: mpsc::Sender<Event>) -> Option<Answer> {
        let began = Instant::now();
        let caller = caller(&self.session);
        let is_stateless = self.session.inbox.is_stateless();
        let params = if is_stateless { self.request.params() } else { None };
        let level = params.as_ref().and_then(level::of_request);
        let outbound = Outbound {
            request: &self.request,
            edits: &self.edits,
            token: self.token.clone(),
            level,
            mirrored: self.row.as_ref().map_or(&[], |row| &row.mirrored),
            needs_task: self.needs_task,
        };
        let (lane, cancel) = (self.lane, &self.place.cancel);
        let outcome = match &self.after.subscription {
            None => self.upstream.call(lane, &caller, outbound, notices, cancel).await,
            Some(uri) => {
                let most = self.session.limits.max_subscriptions;
                self.upstream.subscribe(lane, &caller, outbound, (uri, most), notices, cancel).await
            }
        };
        if let Some(uri) = &self.after.subscription {
            let is_on = matches!(&outcome, Ok(Some(answer)) if !answer.is_error);
            if !(is_on && self.request.method == Method::Subscribe) {
                self.session.inbox.forget(self.upstream.alias().as_str(), uri);
            }
        }
        let id = self.request.id();
        match outcome {
            Ok(answer) => answer.map(|answer| self.finish(answer).with_id(&id)),
            Err(fault) => {
                let alias = self.upstream.alias();
                let duration_ms = began.elapsed().as_millis();
                let (key, method) = (&self.session.identity.name, &self.request.method);
                let (about, reason) = (excerpt(&self.about), fault.reason());
                tracing::warn!(%alias, %method, %about, %key, reason, duration_ms, "call failed: {fault}");
                Some(Answer::error(&id, &fault.failure(alias.as_str()).object()))
            }
        }
    }

    fn finish(&self, answer: Answer) -> Answer {
        let alias = self.upstream.alias();
        if let Some(schemas) = &self.after.schemas {
            schemas.check_result(&answer);
        }
        let answer = if self.after.is_private && !answer.is_error {
            answer.rewrite(&shape::private(&answer.payload()))
        } else {
            answer
        };
        if self.after.is_task {
            linked::remember_task(&answer, alias, &self.session);
        }
        let answer = match &self.after.handles {
            Some(handles) => handles.show(&self.request.method, answer, alias),
            None => answer,
        };
        match &self.after.links {
            Some(view) if self.after.skills => skills::adapt(answer, alias, &self.request.method, view),
            Some(view) if self.request.method == Method::TasksGet => {
                linked::adapt_task(answer, alias, view, &self.session.known)
            }
            Some(view) => linked::adapt(answer, alias, view, &self.session.known, self.after.read.as_ref()),
            None => answer,
        }
    }
}

/// Whether a client may do without a result until it asks for the task's (2025-11-25, experimental).
fn can_wait(session: &Session, asks_for_task: bool) -> bool {
    let declares = || session.inbox.hello().is_some_and(|(hello, _)| hello.offers.tasks);
    !session.inbox.is_stateless() && (asks_for_task || declares())
}

/// Who calls.
pub(super) fn caller(session: &Session) -> Caller {
    let (number, key) = (session.number, session.identity.key);
    Caller { session: number, subscriber: number, key, inbox: session.inbox.clone() }
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
