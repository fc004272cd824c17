//! The configuration of a bridge: one upstream that the command line names, and everything else at its default.

use crate::{
    catalog::name::Alias,
    config::{
        alias::{self, Origin},
        checked::{self, Config, Material, Overrides},
        document::Document,
        draft::{AliasDraft, AuthDraft, Draft, SessionDraft, TimeoutsDraft},
        finding::{Findings, Report},
        place::Place,
        secret::Environment,
    },
    upstream::settings::CLIENT,
};
use secrecy::SecretString;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;
use uuid::Uuid;

/// An MCP server that the command line names.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its MCP endpoint.
    pub url: Url,
    /// The key to show.
    pub key: Option<SecretString>,
    /// Headers that come with every request.
    pub headers: BTreeMap<String, SecretString>,
}

/// The alias of the other side, which its only client never sees in a name.
const ALIAS: &str = "remote";
/// The session of the only client is kept for as long as the other side keeps it: it may be worth something.
const IDLE: Duration = Duration::from_hours(24);
/// The other side and the client have bounds of their own for a call, which are not to be cut short here.
const CALL: Duration = Duration::from_hours(1);

/// The configuration of a gateway that is nothing but the way to this server.
pub fn bridge(remote: Remote, overrides: &Overrides) -> Result<Config, Findings> {
    let mut report = Report::default();
    let document = Document::silent("command line");
    let folder = Path::new("");
    let material = Material {
        document: &document,
        draft: Draft::default(),
        folder,
        is_litellm: false,
        is_readable: true,
        files: Vec::new(),
    };
    // What variables say is for gateways that listen, and for names that are merged.
    let mut config = checked::check(material, overrides, &Environment::default(), &mut report);
    let mut headers = remote.headers;
    // Another Trunkline knows its clients by this, where they open no session.
    headers.entry(CLIENT.into()).or_insert_with(|| Uuid::new_v4().simple().to_string().into());
    let draft = AliasDraft {
        url: Some(remote.url.into()),
        headers,
        auth: AuthDraft { bearer: remote.key, ..AuthDraft::default() },
        session: Some(SessionDraft::Client),
        ..AliasDraft::default()
    };
    let timeouts = alias::defaults(&TimeoutsDraft::default());
    let origin = Origin { document: &document, place: Place::root(), folder: PathBuf::new(), timeouts };
    let alias = Alias::parse(ALIAS, &config.names).ok();
    config.aliases.extend(alias.and_then(|alias| alias::check(alias, draft, &origin, &mut report)));
    for alias in &mut config.aliases {
        (alias.upstream.timeouts.idle, alias.upstream.timeouts.call) = (IDLE, CALL);
    }
    if report.findings.is_empty() { Ok(config) } else { Err(report.into_findings()) }
}

#[cfg(test)]
mod tests {
    use super::{Remote, bridge};
    use crate::{
        config::Overrides,
        upstream::settings::{Credential, SessionMode, Transport},
    };
    use std::collections::BTreeMap;
    use url::Url;

    fn remote(url: &str, key: &str, headers: &[(&str, &str)]) -> Remote {
        let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Remote { url: Url::parse(url).expect("an address"), key: Some(key.into()), headers }
    }

    #[test]
    fn a_bridge_has_one_upstream_and_its_client_a_session_with_it() {
        let remote = remote("https://h.example/mcp/db", "k", &[("X-Team", "platform")]);
        let config = bridge(remote, &Overrides::default()).expect("no mistakes");
        let [alias] = config.aliases.as_slice() else { panic!("one alias") };
        assert!(matches!(alias.upstream.credential, Credential::Bearer(_)));
        assert_eq!(alias.upstream.headers["x-team"], "platform");
        assert_eq!(
            (alias.upstream.session, alias.upstream.transport),
            (SessionMode::Client, Transport::Auto)
        );
    }

    #[test]
    fn what_cannot_be_sent_is_said_without_showing_it() {
        let remote = remote("https://h.example/mcp", "hush hush", &[("Host", "x"), ("X-Odd", "hush\n")]);
        let findings = bridge(remote, &Overrides::default()).expect_err("mistakes");
        insta::assert_snapshot!(findings);
        assert!(!findings.to_string().contains("hush"));
        let none = Remote { key: None, headers: BTreeMap::new(), ..self::remote("http://h/mcp", "", &[]) };
        assert!(bridge(none, &Overrides::default()).is_ok());
    }
}
