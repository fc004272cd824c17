//! Pages from the view: a list never waits for an upstream.

use crate::{
    catalog::{listing::Kind, page::Dialect},
    protocol::call::Events,
    relay::{Relay, refuse},
    session::table::Session,
    wire::{
        error::Failure,
        message::{Answer, Request},
        params,
    },
};

// === impl Relay ===

impl Relay {
    pub(super) fn list(&self, kind: Kind, session: &Session, request: &Request) -> Events {
        let params = request.params();
        let cursor = match params.as_ref().map(params::cursor).transpose() {
            Ok(cursor) => cursor.flatten(),
            Err(reason) => return refuse(request, &Failure::invalid_params(reason)),
        };
        let is_stateless = session.inbox.is_stateless();
        let dialect = if is_stateless { Dialect::Stateless } else { Dialect::Handshake };
        let view = self.view_for(session);
        match view.page(kind, cursor.as_deref(), dialect) {
            Some(page) if is_stateless => {
                let hint = self.cached(view.hint(kind));
                Events::ready(Answer::result(&request.id(), &hint.stamp(&page)))
            }
            Some(page) => Events::ready(Answer::result(&request.id(), &page)),
            None => {
                let failure =
                    Failure::invalid_params("`params.cursor` is not one of this list, or no longer")
                        .hint("list again from the start, without a cursor");
                refuse(request, &failure)
            }
        }
    }
}
