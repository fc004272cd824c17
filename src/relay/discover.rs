//! What an endpoint says of itself in `server/discover` (2026-07-28, server/discover).

use crate::{
    catalog::{hint::Hint, listing::Kind, view::Scope},
    policy::identity::Identity,
    protocol::{handshake, version::Version},
    relay::Relay,
    wire::raw::Raw,
};
use serde_json::{Value, json};

// === impl Relay ===

impl Relay {
    /// The result of `server/discover`.
    pub fn discover(&self, identity: &Identity, scope: &Scope) -> Raw {
        let (mut capabilities, instructions) = self.offered(identity, scope, Version::STATELESS);
        // Those of 2025-11-25 are another feature; the extension stands among the extensions.
        capabilities.shift_remove("tasks");
        let mut result = json!({
            "resultType": "complete",
            "supportedVersions": Version::all_names(),
            "capabilities": Value::Object(capabilities),
        });
        if let Some(instructions) = instructions {
            result["instructions"] = instructions.into();
        }

        let view = self.view(identity, scope);
        let hints = Kind::ALL.into_iter().map(|kind| view.hint(kind));
        let hint = self.cached(hints.reduce(Hint::and).unwrap_or_default());
        result["ttlMs"] = u64::try_from(hint.ttl.unwrap_or_default().as_millis()).unwrap_or(0).into();
        result["cacheScope"] = if hint.is_public { "public" } else { "private" }.into();
        let text = Raw::of(&result);
        // The server's own words about itself are passed on as they are.
        let info = self.server_info(scope).unwrap_or_else(handshake::info);
        let meta = format!(r#","_meta":{{"io.modelcontextprotocol/serverInfo":{info}}}}}"#);
        let text = text.as_str();
        Raw::spliced(format!("{}{meta}", &text[..text.len() - 1]).into())
    }

    /// Who answers on an endpoint: where there is one upstream, that one.
    pub fn server_info(&self, scope: &Scope) -> Option<Raw> {
        match scope {
            Scope::One(alias) => Some(
                self.member(alias)?
                    .upstream
                    .offer()
                    .map_or_else(handshake::info, |offer| offer.welcome.server_info.clone()),
            ),
            Scope::All | Scope::Some(_) => Some(handshake::info()),
        }
    }

    /// What every caller would get may be kept for all; where keys decide, it may not.
    pub(super) fn cached(&self, hint: Hint) -> Hint {
        Hint { is_public: hint.is_public && self.0.is_open, ..hint }
    }
}
