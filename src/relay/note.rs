//! What a client says without wanting an answer.

use crate::{
    catalog::view::Scope,
    protocol::call::Lane,
    relay::{Relay, call::caller},
    session::table::Session,
    wire::{message::Notice, method::Method, params},
};
use std::sync::Arc;

// === impl Relay ===

impl Relay {
    /// Takes a client's notification to where it belongs.
    pub fn note(&self, lane: Lane, session: &Arc<Session>, notice: &Notice) {
        match &notice.method {
            Method::Cancelled => {
                if let Some((id, _)) = notice.params().as_ref().and_then(params::cancelled) {
                    session.running.cancel(&id);
                }
            }
            Method::Progress => {
                if !session.inbox.asked.progress(notice) {
                    tracing::debug!(
                        client = session.client(),
                        "a client's progress is on nothing that it was asked"
                    );
                }
            }
            // Ours to say to upstreams, and said when their sessions opened.
            Method::Initialized => {}
            Method::RootsChanged => {
                for member in self.0.upstreams.values() {
                    member.upstream.tell(lane, &caller(session), notice.bytes().clone());
                }
            }
            method => match &session.endpoint.scope {
                // What asks for an answer is no notification, and would pass by all that decides on requests.
                Scope::One(alias)
                    if !session.identity.grant.limits_tools()
                        && method.as_str().starts_with("notifications/") =>
                {
                    if let Some(member) = self.member(alias) {
                        member.upstream.tell(lane, &caller(session), notice.bytes().clone());
                    }
                }
                _ => {
                    let client = session.client();
                    tracing::debug!(client, %method, "a client's notice could be for any upstream and is for none");
                }
            },
        }
    }
}
