//! Host and Origin, against DNS rebinding and other people's web pages (transports, "Security Warning").

use crate::{front::settings::Settings, wire::error::Failure};
use axum::http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{HOST, ORIGIN, WWW_AUTHENTICATE},
    request::Parts,
};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};
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
        let said = text_of(headers, HOST);
        if headers.get_all(HOST).iter().nth(1).is_some() {
            let message = "Invalid request: there is more than one Host";
            return Err(Failure::invalid_request("bad_host", message).hint("send one"));
        }
        // A Host that a target overrules is checked as well: nobody who is honest sends two different ones.
        let named = [said.unwrap_or_else(|| addressed(headers, uri)), addressed(headers, uri)];
        if !self.0.any_host
            && let Some(host) = named.into_iter().find(|host| !self.knows_host(host))
        {
            let shown = crate::wire::message::excerpt(host);
            return Err(forbidden("host", format!("the Host `{shown}` is not this gateway's"))
                .hint("use a loopback name, or set `public_url` or `allowed_hosts`"));
        }
        let host = addressed(headers, uri);
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or("?");
            if !self.knows_origin(origin, host) || text_of(headers, ORIGIN) != Some(origin) {
                let shown = crate::wire::message::excerpt(origin);
                let message = format!("pages of the Origin `{shown}` may not use this gateway");
                return Err(forbidden("origin", message).hint("add it to `allowed_origins` if they should"));
            }
        }
        Ok(())
    }

    /// What browsers need to let pages of the configured origins use the gateway (Fetch Standard, "CORS protocol").
    pub(super) fn cross_origin(&self) -> Option<CorsLayer> {
        if self.0.origins.is_empty() {
            return None;
        }
        let guard = self.clone();
        let is_known = move |origin: &HeaderValue, parts: &Parts| {
            let host = addressed(&parts.headers, &parts.uri);
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
        let Some((name, _)) = name_and_port(host) else { return false };
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
        let Some((own, port)) = name_and_port(host) else { return false };
        // A Host without a port means the scheme's default, whichever scheme the proxy in front ended.
        let same_port = url.port() == port || url.port_or_known_default() == port;
        (own.eq_ignore_ascii_case(name) && same_port) || (is_loopback(own) && is_loopback(name))
    }
}

fn forbidden(what: &'static str, message: String) -> Failure {
    let reason = if what == "host" { "bad_host" } else { "bad_origin" };
    Failure::invalid_request(reason, format!("Forbidden: {message}")).status(StatusCode::FORBIDDEN)
}

/// The first header of that name.
fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// The authority of a request target in absolute form, without a user in front.
fn target(uri: &Uri) -> Option<&str> {
    uri.authority().and_then(|authority| authority.as_str().rsplit('@').next())
}

/// As what the client addressed the gateway: a target in absolute form overrules Host (RFC 9112, section 3.2.2).
fn addressed<'request>(headers: &'request HeaderMap, uri: &'request Uri) -> &'request str {
    target(uri).or_else(|| text_of(headers, HOST)).unwrap_or_default()
}

/// The parts of `name`, `name:port`, `[address]` and `[address]:port`; nothing else is a host.
fn name_and_port(host: &str) -> Option<(&str, Option<u16>)> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, rest) = host.split_at(end);
    match rest.strip_prefix(':') {
        // An empty port is the scheme's own (RFC 3986, section 3.2.3).
        Some("") => Some((name, None)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some((name, Some(port.parse().ok()?)))
        }
        None if rest.is_empty() => Some((name, None)),
        _ => None,
    }
}

fn is_loopback(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse().is_ok_and(|address: Ipv6Addr| address.is_loopback());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Guard;
    use crate::front::settings::Settings;
    use axum::http::{
        HeaderMap, HeaderName, HeaderValue, Uri,
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
    #[case("[::1]", None, true)]
    #[case("localhost:", None, true)]
    #[case("[::1]evil.example", None, false)]
    #[case("[::1].evil.example:80", None, false)]
    #[case("[::1", None, false)]
    #[case("[127.0.0.1", None, false)]
    #[case("127.0.0.1:80@evil.example", None, false)]
    #[case("127.0.0.1:80:evil.example", None, false)]
    #[case("localhost:99999", None, false)]
    #[case("[::1].evil.example", Some("http://[::1]"), false)]
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

    #[rstest]
    #[case("http://127.0.0.1/mcp", "127.0.0.1", true)]
    #[case("http://evil.example/mcp", "127.0.0.1", false)]
    #[case("http://127.0.0.1/mcp", "evil.example", false)]
    #[case("http://127.0.0.1:80@evil.example/mcp", "127.0.0.1", false)]
    fn an_absolute_target_counts(
        #[case] uri: &'static str,
        #[case] host: &'static str,
        #[case] let_in: bool,
    ) {
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
        let guard = Guard::new(&Settings::default(), true);
        assert_eq!(guard.check(&headers, &Uri::from_static(uri)).is_ok(), let_in);
    }

    #[rstest]
    #[case(HOST, "127.0.0.1", "127.0.0.1", Some(400))]
    #[case(HOST, "127.0.0.1", "evil.example", Some(400))]
    #[case(ORIGIN, "http://localhost", "http://localhost", None)]
    #[case(ORIGIN, "http://localhost", "http://evil.example", Some(403))]
    #[case(ORIGIN, "http://localhost", "http://127.0.0.1", Some(403))]
    fn a_header_twice(
        #[case] name: HeaderName,
        #[case] first: &'static str,
        #[case] second: &'static str,
        #[case] status: Option<u16>,
    ) {
        let mut headers = HeaderMap::new();
        if name == ORIGIN {
            headers.insert(HOST, HeaderValue::from_static("127.0.0.1"));
        }
        headers.append(&name, HeaderValue::from_static(first));
        headers.append(&name, HeaderValue::from_static(second));
        let checked = Guard::new(&Settings::default(), true).check(&headers, &Uri::from_static("/mcp"));
        assert_eq!(checked.err().map(|failure| failure.http_status().as_u16()), status);
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
