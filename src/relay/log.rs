//! Log levels: on an alias's own endpoint, `logging/setLevel` goes to the upstream's session of this client.

use crate::{
    catalog::view::Scope,
    protocol::{
        call::{Events, Lane},
        level,
    },
    relay::{Member, Relay, refuse},
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Request},
        raw::Raw,
    },
};
use serde_json::json;
use std::sync::Arc;

// === impl Relay ===

impl Relay {
    pub(super) fn set_level(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        let Some(member) = self.logging(&session.endpoint.scope) else {
            return refuse(&request, &Failure::method_not_found(request.method.as_str()));
        };
        match level::read(request.params().as_ref()) {
            Ok(level) => {
                // Kept for the sessions that are opened later.
                session.set_level(level);
                if member.upstream.is_shared() {
                    // One client must not decide for the others; it hears nothing between calls anyway.
                    return Events::ready(Answer::result(&request.id(), &Raw::of(&json!({}))));
                }
                Self::forward(lane, session, member, request)
            }
            Err(reason) => refuse(&request, &Failure::invalid_params(reason)),
        }
    }

    /// The one upstream whose log messages an endpoint passes on.
    pub(super) fn logging(&self, scope: &Scope) -> Option<&Member> {
        let Scope::One(alias) = scope else { return None };
        let member = self.0.upstreams.get(alias)?;
        member.upstream.offer()?.welcome.capabilities.contains_key("logging").then_some(member)
    }
}
