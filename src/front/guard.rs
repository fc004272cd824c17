//! Host and Origin, against DNS rebinding and other people's web pages (transports, "Security Warning").

use crate::{front::settings::Settings, wire::error::Failure};
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{HOST, ORIGIN, WWW_AUTHENTICATE},
    request::Parts,
};
use std::{sync::Arc, time::Duration};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use url::Url;

/// Which values of Host and Origin are let in.
#[derive(Clone, Debug)]
pub(super) struct Guard(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// Any Host is let in: there are keys, and a proxy may call us anything.
    any_host: bool,
    /// Loopback names are let in whatever is configured.
    hosts: Vec<String>,
    origins: Vec<String>,
}

// === impl Guard ===

impl Guard {
    /// `is_local`: the listener is on loopback, or lets in whoever reaches it; then a foreign Host is a web page's
    /// trick.
    pub(super) fn new(settings: &Settings, is_local: bool) -> Self {
        let mut hosts: Vec<String> =
            settings.allowed_hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let mut origins: Vec<String> = settings
            .allowed_origins
            .iter()
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        let any_host = !is_local && hosts.is_empty();
        if let Some(url) = &settings.public_url {
            hosts.extend(url.host_str().map(str::to_ascii_lowercase));
            origins.push(url.origin().ascii_serialization());
        }
        Self(Arc::new(Rules { any_host, hosts, origins }))
    }

    /// Lets a request in, or says why not.
    pub(super) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Failure> {
        let host = match headers.get(HOST) {
            Some(host) => host.to_str().unwrap_or("?"),
            None => uri.authority().map_or("", |authority| authority.as_str()),
        };
        if !self.0.any_host && !self.knows_host(host) {
            let shown = crate::wire::message::excerpt(host);
            return Err(forbidden("host", format!("the Host `{shown}` is not this gateway's"))
                .hint("use a loopback name, or set `public_url` or `allowed_hosts`"));
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("?");
        if self.knows_origin(origin, host) {
            return Ok(());
        }
        let shown = crate::wire::message::excerpt(origin);
        Err(forbidden("origin", format!("pages of the Origin `{shown}` may not use this gateway"))
            .hint("add it to `allowed_origins` if they should"))
    }

    /// What browsers need to let pages of the configured origins use the gateway (Fetch Standard, "CORS protocol").
    pub(super) fn cross_origin(&self) -> Option<CorsLayer> {
        if self.0.origins.is_empty() {
            return None;
        }
        let guard = self.clone();
        let is_known = move |origin: &HeaderValue, parts: &Parts| {
            let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
            origin.to_str().is_ok_and(|origin| guard.knows_origin(origin, host))
        };
        Some(
            CorsLayer::new()
                .allow_origin(AllowOrigin::predicate(is_known))
                .allow_methods([Method::GET, Method::POST, Method::DELETE])
                .allow_headers(AllowHeaders::mirror_request())
                .expose_headers([HeaderName::from_static("mcp-session-id"), WWW_AUTHENTICATE])
                .max_age(Duration::from_mins(10)),
        )
    }

    fn knows_host(&self, host: &str) -> bool {
        let name = without_port(host);
        is_loopback(name)
            || self
                .0
                .hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
    }

    fn knows_origin(&self, origin: &str, host: &str) -> bool {
        if self.0.origins.iter().any(|known| known == "*" || known.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Ok(url) = Url::parse(origin) else { return false };
        let Some(name) = url.host_str() else { return false };
        // The gateway's own pages, as the client addressed it; and programs of this very machine.
        let own = without_port(host);
        // A Host without a port means the scheme's default, whichever scheme the proxy in front ended.
        let same_port = url.port() == port(host) || url.port_or_known_default() == port(host);
        (own.eq_ignore_ascii_case(name) && same_port) || (is_loopback(own) && is_loopback(name))
    }
}

fn forbidden(what: &'static str, message: String) -> Failure {
    let reason = if what == "host" { "bad_host" } else { "bad_origin" };
    Failure::invalid_request(reason, format!("Forbidden: {message}")).status(StatusCode::FORBIDDEN)
}

fn without_port(host: &str) -> &str {
    if let Some(end) = host.strip_prefix('[').and_then(|rest| rest.find(']')) {
        return &host[..end + 2];
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn port(host: &str) -> Option<u16> {
    host[without_port(host).len()..].strip_prefix(':')?.parse().ok()
}

fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Guard;
    use crate::front::settings::Settings;
    use axum::http::{
        HeaderMap, HeaderValue, Uri,
        header::{HOST, ORIGIN},
    };
    use rstest::rstest;
    use url::Url;

    fn check(settings: &Settings, is_local: bool, host: &str, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).expect("a header"));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Guard::new(settings, is_local).check(&headers, &Uri::from_static("/mcp")).is_ok()
    }

    #[rstest]
    #[case("127.0.0.1:4000", None, true)]
    #[case("localhost", None, true)]
    #[case("LOCALHOST:1", None, true)]
    #[case("[::1]:4000", None, true)]
    #[case("evil.example:4000", None, false)]
    #[case("localhost.evil.example", None, false)]
    #[case("127.0.0.1.evil.example", None, false)]
    #[case("", None, false)]
    #[case("127.0.0.1:4000", Some("http://127.0.0.1:4000"), true)]
    #[case("127.0.0.1:4000", Some("http://localhost:8080"), true)]
    #[case("127.0.0.1:4000", Some("http://evil.example"), false)]
    #[case("127.0.0.1:4000", Some("null"), false)]
    fn a_local_listener_takes_loopback_names(
        #[case] host: &str,
        #[case] origin: Option<&'static str>,
        #[case] let_in: bool,
    ) {
        assert_eq!(check(&Settings::default(), true, host, origin), let_in);
    }

    #[rstest]
    #[case("litellm.linuxserver.lan", None, true)]
    #[case("litellm.linuxserver.lan", Some("https://litellm.linuxserver.lan"), true)]
    #[case("litellm.linuxserver.lan", Some("https://litellm.linuxserver.lan:8443"), false)]
    #[case("litellm.linuxserver.lan:80", Some("http://litellm.linuxserver.lan"), true)]
    #[case("litellm.linuxserver.lan", Some("http://evil.example"), false)]
    #[case("10.0.0.1:4000", Some("http://localhost:8080"), false)]
    fn a_listener_with_keys_takes_any_host(
        #[case] host: &str,
        #[case] origin: Option<&'static str>,
        #[case] let_in: bool,
    ) {
        assert_eq!(check(&Settings::default(), false, host, origin), let_in);
    }

    #[test]
    fn configured_names_are_taken_and_others_then_are_not() {
        let settings = Settings {
            public_url: Url::parse("https://gw.example").ok(),
            allowed_hosts: vec!["other.example".into()],
            allowed_origins: vec!["https://chat.example".into()],
            ..Settings::default()
        };
        for is_local in [true, false] {
            assert!(check(&settings, is_local, "gw.example", Some("https://gw.example")));
            assert!(check(&settings, is_local, "other.example:4000", Some("https://chat.example")));
            assert!(!check(&settings, is_local, "third.example", None));
        }
    }
}
