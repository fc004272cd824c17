//! The heart: one request in, events out. One file per kind of movement.
//!
//! **Invariant:** knows neither HTTP nor SQL; holds one snapshot of the catalog per call.

pub mod settings;

mod call;
mod complete;
mod discover;
mod effort;
mod handles;
mod linked;
mod list;
mod listen;
mod log;
mod note;
mod publish;
mod read;
mod schema;
mod skills;
mod tasks;
mod validate;
mod violation;
mod welcome;

pub use listen::Named;

use crate::{
    catalog::{
        listing::{Kind, Listing},
        merge::{Catalog, Row, ShowRules},
        name::Alias,
        settings::NameRules,
        view::{Allows, Scope, View},
    },
    policy::identity::Identity,
    protocol::{
        call::{Events, Lane},
        seal::Seal,
    },
    relay::{settings::Validation, validate::Schemas},
    session::table::Session,
    upstream::{Said, Upstream},
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        raw::Raw,
    },
};
use arc_swap::ArcSwap;
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// The heart; cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: ArcSwap<Catalog>,
    schemas: ArcSwap<Schemas>,
    /// What the catalog was merged from.
    merged: watch::Sender<BTreeMap<Alias, Arc<Listing>>>,
    upstreams: BTreeMap<Alias, Member>,
    names: NameRules,
    /// Seals what clients keep for us.
    seal: Arc<Seal>,
    /// Whether everybody may come in, so that nothing depends on who asks.
    is_open: bool,
    /// What each upstream said of changes when the catalog was published last.
    heard: Mutex<BTreeMap<Alias, Said>>,
}

/// An upstream and how it is shown.
#[derive(Clone, Debug)]
pub struct Member {
    /// The upstream.
    pub upstream: Upstream,
    /// How it is shown.
    pub show: Arc<ShowRules>,
    /// What of its calls is checked.
    pub validation: Validation,
}

// === impl Relay ===

impl Relay {
    /// Relays to these upstreams.
    pub fn new(upstreams: BTreeMap<Alias, Member>, names: NameRules, seal: Arc<Seal>, is_open: bool) -> Self {
        let catalog = ArcSwap::from_pointee(Catalog::empty());
        let (schemas, merged, heard) = (ArcSwap::default(), watch::Sender::default(), Mutex::default());
        let relay =
            Self(Arc::new(Inner { catalog, schemas, merged, upstreams, names, seal, is_open, heard }));
        // The aliases are known before any upstream answers.
        relay.publish(&[]);
        relay
    }

    /// What seals the texts that clients keep for us.
    pub fn seal(&self) -> &Arc<Seal> {
        &self.0.seal
    }

    /// The upstreams, by alias.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        self.0.upstreams.values().map(|member| &member.upstream)
    }

    /// The catalog at this moment.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.0.catalog.load_full()
    }

    /// What somebody sees on an endpoint at this moment.
    pub fn view(&self, identity: &Identity, scope: &Scope) -> Arc<View> {
        self.view_of(&self.0.catalog.load(), identity, scope)
    }

    fn view_of(&self, catalog: &Catalog, identity: &Identity, scope: &Scope) -> Arc<View> {
        let separator = &self.0.names.separator;
        let tool = |row: &Row| {
            let joined = format!("{}{separator}{}", row.alias, row.native);
            identity.grant.allows_tool(row.alias.as_str(), &row.prefixed, &joined)
        };
        let alias = |alias: &Alias| identity.grant.allows_alias(alias.as_str());
        catalog.view(identity.grant.id, scope, Allows { tool: &tool, alias: &alias })
    }

    /// Takes a request of a session to where it belongs.
    pub fn handle(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        match &request.method {
            Method::ToolsCall => self.call(lane, session, request),
            Method::PromptsGet => self.prompt(lane, session, request),
            Method::ResourcesRead | Method::Subscribe | Method::Unsubscribe => {
                self.read(lane, session, request)
            }
            Method::Complete => self.complete(lane, session, request),
            Method::SetLevel => self.set_level(lane, session, request),
            Method::TasksGet | Method::TasksUpdate | Method::TasksCancel if session.inbox.is_stateless() => {
                self.handle_of(lane, session, request)
            }
            Method::SkillsList => self.skills(lane, session, request),
            Method::SkillsGet | Method::DirectoryRead => self.skill(lane, session, request),
            Method::TasksGet | Method::TasksResult | Method::TasksCancel => self.task(lane, session, request),
            Method::TasksList => self.tasks(lane, session, request),
            Method::ToolsList => self.list(Kind::Tools, session, &request),
            Method::PromptsList => self.list(Kind::Prompts, session, &request),
            Method::ResourcesList => self.list(Kind::Resources, session, &request),
            Method::TemplatesList => self.list(Kind::Templates, session, &request),
            Method::Ping => Events::ready(Answer::result(&request.id(), &Raw::of(&json!({})))),
            // Of the stateless era: in the other nobody could have been told of such a task.
            Method::TasksUpdate => refuse(&request, &Failure::method_not_found(request.method.as_str())),
            _ => self.pass(lane, session, request),
        }
    }

    /// Takes what is not known here to the only upstream that it can be for; whoever may use some tools only may not
    /// use what nobody knows.
    fn pass(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        match &session.endpoint.scope {
            Scope::One(alias) if !session.identity.grant.limits_tools() => match self.member(alias) {
                Some(member) => Self::forward(lane, session, member, request),
                None => refuse(&request, &Failure::method_not_found(request.method.as_str())),
            },
            _ => refuse(&request, &Failure::method_not_found(request.method.as_str())),
        }
    }

    /// Lets go of what upstreams keep for an ended session.
    pub fn release(&self, session: &Session, lane: Lane) {
        for upstream in self.upstreams() {
            upstream.release(session.number, lane);
        }
    }
}

/// The events of a request that goes nowhere.
fn refuse(request: &Request, failure: &Failure) -> Events {
    Events::ready(Answer::error(&request.id(), &failure.object()))
}
