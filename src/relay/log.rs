//! Log levels: `logging/setLevel` goes to the upstream's session of this client, or to all that there are.

use crate::{
    catalog::view::Scope,
    protocol::{
        call::{Answering, Events, Lane},
        level,
    },
    relay::{Relay, call::caller, refuse},
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Request},
        raw::Raw,
    },
};
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

// === impl Relay ===

impl Relay {
    pub(super) fn set_level(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        let view = self.view_for(session);
        let members: Vec<_> = view
            .aliases()
            .iter()
            .filter_map(|alias| self.member(alias))
            .filter(|member| member.upstream.offer().is_some_and(|offer| offer.has("logging")))
            .collect();
        let Some(first) = members.first() else {
            return refuse(&request, &Failure::method_not_found(request.method.as_str()));
        };
        let level = match level::read(request.params().as_ref()) {
            Ok(level) => level,
            Err(reason) => return refuse(&request, &Failure::invalid_params(reason)),
        };
        // Kept for the sessions that are opened later.
        session.inbox.set_level(level);
        let caller = caller(session);
        if matches!(session.endpoint.scope, Scope::One(_)) && first.upstream.is_own(&caller) {
            return Self::forward(lane, session, first, request);
        }
        let mut told = JoinSet::new();
        for member in members {
            let (upstream, caller) = (member.upstream.clone(), caller.clone());
            told.spawn(async move { upstream.set_level(lane, &caller, level).await });
        }
        let answer = async move {
            told.join_all().await;
            Some(Answer::result(&request.id(), &Raw::of(&json!({}))))
        };
        Events::waiting(Answering::new(answer))
    }
}
