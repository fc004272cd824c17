//! Tasks of the stateless era (SEP-2663): under ids that tell whose they are, and that open for the key that made them and
//! for nobody else. Nothing is kept for them here.

use crate::{
    catalog::{name::Alias, view::View},
    protocol::{
        call::{Events, Lane},
        extensions::{TASKS, declares},
        listens::Followed,
        seal::{self, Seal},
        shape::{self, Kind},
    },
    relay::{
        Member, Relay,
        call::{Ready, begin, object, ready},
    },
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        params,
        part::Part,
        raw::Raw,
    },
};
use serde_json::json;
use std::sync::Arc;

/// What stands for the endpoint in the seal of a task: whoever made it on one may ask for it on another.
const ANYWHERE: &str = "tasks";

/// Makes ids of upstreams' tasks those that one client knows.
pub(super) struct Handles {
    seal: Arc<Seal>,
    key: u64,
}

// === impl Handles ===

impl Handles {
    fn new(seal: &Arc<Seal>, session: &Session) -> Self {
        Self { seal: seal.clone(), key: session.identity.key.number() }
    }

    fn bound(&self) -> Vec<u8> {
        seal::bound(self.key, ANYWHERE, None)
    }

    /// The result of a call that became a task, or of a question for one, with the id that the client knows.
    pub(super) fn show(&self, method: &Method, answer: Answer, alias: &Alias) -> Answer {
        if answer.is_error {
            return answer;
        }
        let payload = answer.payload();
        if *method == Method::ToolsCall && shape::kind(&payload) != Kind::Task {
            return answer;
        }
        let named = Part::of(&payload).member("taskId").and_then(|id| Some((id.at(), id.string()?)));
        let Some((at, native)) = named else { return answer };
        let public = self.seal.task(alias.as_str(), &native, &self.bound());
        answer.rewrite(&[(at, Raw::of(&public))])
    }
}

// === impl Relay ===

impl Relay {
    /// What makes ids of tasks those that a client knows; one of the handshake era hears of no such task.
    pub(super) fn handles(&self, session: &Session) -> Option<Handles> {
        session.inbox.is_stateless().then(|| Handles::new(&self.0.seal, session))
    }

    /// `tasks/get`, `tasks/update`, `tasks/cancel` of a client of the stateless era.
    pub(super) fn handle_of(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        begin(self.decide_handle(lane, session, &request), &request)
    }

    fn decide_handle(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let view = self.view_for(session);
        if !view.aliases().iter().any(|alias| self.keeper(alias).is_some()) {
            return Err(Failure::method_not_found(request.method.as_str()));
        }
        let is_declared =
            session.inbox.hello().is_some_and(|(hello, _)| declares(&hello.capabilities, TASKS));
        if !is_declared {
            let message = format!("{} needs the extension \"{TASKS}\"", request.method);
            return Err(Failure::missing_capability(message, json!({"extensions": {TASKS: {}}})));
        }
        let params = object(request)?;
        let (id, at) = params::text(&params, "taskId").map_err(Failure::invalid_params)?;
        let (member, native) = self.opened(session, &view, &id).ok_or_else(unknown)?;
        let token = params::progress_token(&params).map_err(Failure::invalid_params)?;
        let edits = vec![(at, Raw::of(&native))];
        let mut ready = ready(lane, session, member, request, request.method.as_str().into(), edits, token)?;
        ready.after.handles = self.handles(session);
        ready.after.links = session.inbox.is_merged().then_some(view);
        Ok(ready)
    }

    /// Whose task a public id means in this view, and its id there.
    fn opened(&self, session: &Session, view: &View, id: &str) -> Option<(&Member, String)> {
        let handles = self.handles(session)?;
        let (alias, native) = handles.seal.open_task(id, &handles.bound())?;
        let alias = view.aliases().iter().find(|known| known.as_str() == alias)?;
        Some((self.keeper(alias)?, native.into_owned()))
    }

    /// An upstream that has tasks of this era.
    fn keeper(&self, alias: &Alias) -> Option<&Member> {
        let has_tasks = |member: &&Member| {
            member.upstream.offer().is_some_and(|offer| offer.is_stateless() && offer.extends(TASKS))
        };
        self.member(alias).filter(has_tasks)
    }

    /// Whose tasks those are that a client wants to hear of; what it does not know is left out.
    pub(super) fn followed(&self, session: &Session, view: &View, ids: Vec<Followed>) -> Vec<Followed> {
        let found = |Followed { id, .. }: Followed| {
            let (member, native) = self.opened(session, view, &id)?;
            Some(Followed { alias: member.upstream.alias().to_string(), native, id })
        };
        ids.into_iter().filter_map(found).collect()
    }
}

fn unknown() -> Failure {
    Failure::invalid_params("`params.taskId` names no task that this key made here")
        .hint("it may have expired")
}
