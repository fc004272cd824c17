//! The heart: one request in, events out. One file per kind of movement.
//!
//! **Invariant:** knows neither HTTP nor SQL; holds one snapshot of the catalog per call.

pub mod settings;

mod call;
mod effort;
mod list;
mod log;
mod publish;
mod schema;
mod validate;
mod violation;

use crate::{
    catalog::{
        merge::{Catalog, Row, ShowRules},
        name::Alias,
        settings::NameRules,
        view::{Scope, View},
    },
    policy::identity::Identity,
    protocol::{
        call::{Events, Lane},
        handshake,
        version::Version,
    },
    relay::{settings::Validation, validate::Schemas},
    session::table::Session,
    upstream::Upstream,
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        raw::Raw,
    },
};
use arc_swap::ArcSwap;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

/// The heart; cheap to clone.
#[derive(Clone, Debug)]
pub struct Relay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    catalog: ArcSwap<Catalog>,
    schemas: ArcSwap<Schemas>,
    upstreams: BTreeMap<Alias, Member>,
    names: NameRules,
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
    pub fn new(upstreams: BTreeMap<Alias, Member>, names: NameRules) -> Self {
        let catalog = ArcSwap::from_pointee(Catalog::empty());
        let relay = Self(Arc::new(Inner { catalog, schemas: ArcSwap::default(), upstreams, names }));
        // The aliases are known before any upstream answers.
        relay.publish(&[]);
        relay
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
        let allows = |row: &Row| {
            let joined = format!("{}{separator}{}", row.alias, row.native);
            identity.grant.allows_tool(row.alias.as_str(), &row.public, &joined)
        };
        catalog.view(identity.grant.id, scope, allows)
    }

    /// The result of `initialize` on an endpoint; capabilities are advertised only as far as they are served.
    pub fn welcome(&self, version: Version, scope: &Scope) -> Raw {
        let own = match scope {
            Scope::One(alias) => self.0.upstreams.get(alias).and_then(|member| member.upstream.offer()),
            Scope::All | Scope::Some(_) => None,
        };
        let has_tools = own.as_ref().is_none_or(|offer| offer.welcome.capabilities.contains_key("tools"));
        let mut capabilities = json!({});
        if has_tools {
            capabilities["tools"] = json!({"listChanged": true});
        }
        if self.logging(scope).is_some() {
            capabilities["logging"] = json!({});
        }
        handshake::welcome(version, &capabilities, own.as_ref().map(|offer| &*offer.welcome))
    }

    /// Takes a request of a session to where it belongs.
    pub fn handle(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        match &request.method {
            Method::ToolsCall => self.call(lane, session, request),
            Method::SetLevel => self.set_level(lane, session, request),
            Method::ToolsList => self.list(session, &request),
            Method::Ping => Events::ready(Answer::result(&request.id(), &Raw::of(&json!({})))),
            method => refuse(&request, &Failure::method_not_found(method.as_str())),
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
