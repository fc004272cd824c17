//! Clients of the stateless era: nothing is opened by them, and yet upstreams of the handshake era need to know whom a
//! call is for. Requests with one key, one endpoint and one way to introduce themselves are one client's.

use crate::{
    catalog::view::Scope,
    policy::identity::{Identity, KeyId},
    protocol::{handshake::Hello, version::Version},
    session::table::{Endpoint, Full, Session, Table, Transport},
    wire::raw::Raw,
};
use std::{sync::Arc, time::Duration};

/// Which requests are one client's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::session) struct Visitor {
    key: KeyId,
    path: Scope,
    scope: Scope,
    capabilities: Raw,
    client_info: Raw,
    tag: Option<Box<str>>,
}

// === impl Table ===

impl Table {
    /// What is kept for the client of a stateless request; `tag` tells clients apart that are alike otherwise.
    pub fn visit(
        &self,
        identity: &Arc<Identity>,
        (path, scope): (&Scope, &Scope),
        hello: Hello,
        tag: Option<&str>,
    ) -> Result<Arc<Session>, Full> {
        let visitor = Visitor {
            key: identity.key,
            path: path.clone(),
            scope: scope.clone(),
            capabilities: hello.capabilities.clone(),
            client_info: hello.client_info.clone(),
            tag: tag.map(Into::into),
        };
        if let Some(session) = self.visited(&visitor) {
            return Ok(session);
        }
        let endpoint = Endpoint { transport: Transport::Stateless, path: path.clone(), scope: scope.clone() };
        let session = self.open_for(identity.clone(), endpoint, Some(visitor))?;
        session.inbox.introduce(hello, Version::STATELESS);
        tracing::info!(client = session.client(), key = identity.name, "a client of the stateless era came");
        Ok(session)
    }

    /// What is kept for the clients of a key that have this name, which go.
    pub fn departing(&self, key: KeyId, tag: &str) -> Vec<Arc<Session>> {
        self.visitors(|visitor| visitor.key == key && visitor.tag.as_deref() == Some(tag))
    }
}

// === impl Visitor ===

impl Visitor {
    /// How long what nobody uses is kept: nobody says good-bye.
    pub(in crate::session) const IDLE: Duration = Duration::from_mins(30);
}
