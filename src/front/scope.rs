//! Which aliases a request is about: the path says it, and the header `x-mcp-servers` narrows it.

use crate::{
    catalog::{name::Alias, view::Scope},
    front::Front,
    policy::identity::Identity,
    wire::{error::Failure, message::excerpt},
};
use axum::{
    extract::{Path, rejection::PathRejection},
    http::{HeaderMap, HeaderName, StatusCode},
};

const SERVERS: HeaderName = HeaderName::from_static("x-mcp-servers");

/// The aliases in a path, if there are any. What is no text is refused after the key was checked, not before.
pub(super) type Names = Result<Option<Path<String>>, PathRejection>;

// === impl Front ===

impl Front {
    /// What a path such as `/mcp/db,timescale` shows; an alias that is unknown or denied is not found.
    pub(super) fn path_scope(&self, identity: &Identity, names: &Names) -> Result<Scope, Failure> {
        let unknown = |unknown: &str| {
            let message = format!("Not found: there is no alias `{}` here", excerpt(unknown));
            Failure::invalid_request("unknown_alias", message)
                .hint("use /mcp for all aliases of this key")
                .status(StatusCode::NOT_FOUND)
        };
        let names = match names {
            Ok(Some(Path(names))) => names,
            Ok(None) => return Ok(Scope::All),
            Err(_) => return Err(unknown("?")),
        };
        let mut aliases = self.aliases(identity, names).map_err(|name| unknown(&name))?;
        Ok(match aliases.len() {
            1 => Scope::One(aliases.swap_remove(0)),
            _ => Scope::Some(aliases.into()),
        })
    }

    /// What the header leaves of a path's scope; `None` without a header. Fails closed on an unknown name.
    pub(super) fn header_scope(
        &self,
        identity: &Identity,
        path: &Scope,
        headers: &HeaderMap,
    ) -> Result<Option<Scope>, Failure> {
        let values: Vec<&str> =
            headers.get_all(SERVERS).iter().map(|value| value.to_str().unwrap_or("?")).collect();
        if values.is_empty() {
            return Ok(None);
        }
        let refused = |unknown: String| {
            let message =
                format!("Invalid request: x-mcp-servers names `{}`, which is not here", excerpt(&unknown));
            Failure::invalid_request("unknown_alias", message)
                .hint("name aliases of this gateway that the key may use, separated by commas")
        };
        let aliases = self.aliases(identity, &values.join(",")).map_err(refused)?;
        if let Some(outside) = aliases.iter().find(|alias| !path.includes(alias)) {
            return Err(refused(outside.to_string()));
        }
        Ok(Some(match path {
            Scope::One(_) => path.clone(),
            Scope::All | Scope::Some(_) => Scope::Some(aliases.into()),
        }))
    }

    /// The aliases of a list, sorted; `Err` with the first name that this key does not know.
    fn aliases(&self, identity: &Identity, names: &str) -> Result<Vec<Alias>, String> {
        let catalog = self.0.relay.catalog();
        let find = |name: &str| {
            let alias = catalog.aliases.iter().find(|alias| alias.as_str() == name);
            alias
                .filter(|alias| identity.grant.allows_alias(alias.as_str()))
                .cloned()
                .ok_or_else(|| name.to_owned())
        };
        let mut aliases = names.split(',').map(|name| find(name.trim())).collect::<Result<Vec<_>, _>>()?;
        aliases.sort();
        aliases.dedup();
        Ok(aliases)
    }
}
