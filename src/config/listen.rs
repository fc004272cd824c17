//! Where the gateway listens, who said so, and the rule that a gateway without keys stays on loopback.

use crate::config::{
    checked::Overrides,
    document::Document,
    finding::{Finding, Report},
    place::Place,
    secret::Environment,
};
use std::net::IpAddr;

/// The default port; LiteLLM's as well.
const PORT: u16 = 4000;
/// Without keys, and for files of our own.
const LOOPBACK: &str = "127.0.0.1";
/// What LiteLLM listens on.
const EVERYWHERE: &str = "0.0.0.0";

/// What else decides where to listen.
pub(crate) struct Circumstances<'load> {
    /// The main file.
    pub(crate) document: &'load Document,
    /// What the command line says.
    pub(crate) overrides: &'load Overrides,
    /// What the environment says.
    pub(crate) environment: &'load Environment,
    /// Whether the file is LiteLLM's.
    pub(crate) is_litellm: bool,
    /// Whether anybody may come in without a key.
    pub(crate) is_keyless: bool,
}

/// Where the host was said: the source and the path in it.
#[derive(Clone, Copy)]
enum Said {
    Flag,
    File,
    Variable,
    Default,
}

/// Splits `host:port`; the host of `[::1]:4000` comes without its brackets.
pub(crate) fn parse(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = bare(host)?;
    Some((host, port.parse().ok()?))
}

/// A host name or address without brackets.
pub(crate) fn bare(host: &str) -> Option<String> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let legal = match inner {
        Some(inner) => inner.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()),
        None => {
            host.parse::<IpAddr>().is_ok()
                || !host.is_empty()
                    && host
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        }
    };
    legal.then(|| inner.unwrap_or(host).to_owned())
}

/// Whether only this machine can reach a listener on this host.
pub fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Decides where to listen: the command line before the file, the file before the environment.
pub(crate) fn listen(listen: Option<&str>, with: &Circumstances<'_>, report: &mut Report) -> (String, u16) {
    let place = Place::root().key("listen");
    let file = listen.and_then(|text| {
        let parsed = parse(text);
        if parsed.is_none() {
            let finding = report.wrong(with.document, &place, "an address such as `127.0.0.1:4000`");
            if text.starts_with([':', '*']) {
                finding.hint("all addresses of this machine are `0.0.0.0:4000`");
            }
        }
        parsed
    });
    // A file that says where to listen says it all: variables fill in for it only if it is silent.
    let said_nothing = listen.is_none();
    let host_variable = said_nothing.then(|| variable("LITELLM_HOST", with, report)).flatten();
    let port_variable = said_nothing.then(|| variable("LITELLM_PORT", with, report)).flatten();
    let port_variable = port_variable.and_then(|text| {
        let port = text.parse().ok();
        if port.is_none() {
            report.outside(outside(
                "environment",
                "LITELLM_PORT",
                format!("`{text}`"),
                "a port such as `4000`",
            ));
        }
        port
    });
    let (host, said) = match (&with.overrides.host, &file, host_variable) {
        (Some(host), _, _) => (host.clone(), Said::Flag),
        (None, Some((host, _)), _) => (host.clone(), Said::File),
        (None, None, Some(host)) => (host, Said::Variable),
        (None, None, None) if with.is_litellm && !with.is_keyless => (EVERYWHERE.into(), Said::Default),
        (None, None, None) => (LOOPBACK.into(), Said::Default),
    };
    let port = with.overrides.port.or(file.map(|(_, port)| port)).or(port_variable).unwrap_or(PORT);
    let Some(host) = bare(&host) else {
        let expected = "a host such as `127.0.0.1` or `0.0.0.0`";
        report.outside(match said {
            Said::Flag => outside("command line", "--host", format!("`{host}`"), expected),
            _ => outside("environment", "LITELLM_HOST", format!("`{host}`"), expected),
        });
        return (LOOPBACK.into(), port);
    };
    if with.is_keyless && !is_loopback(&host) {
        refuse_keyless(&host, said, with.document, report);
    } else if with.is_keyless && with.is_litellm && matches!(said, Said::Default) {
        report.remark(format!(
            "{}: no key is configured, so only {LOOPBACK} is listened on, not LiteLLM's {EVERYWHERE}",
            with.document.name()
        ));
    }
    (host, port)
}

fn refuse_keyless(host: &str, said: Said, document: &Document, report: &mut Report) {
    let found = format!("`{host}`, which the network can reach, and no key");
    let expected = "a key, or a loopback address such as 127.0.0.1";
    let finding = match said {
        Said::Flag => report.outside(outside("command line", "--host", found, expected)),
        Said::Variable => report.outside(outside("environment", "LITELLM_HOST", found, expected)),
        Said::File | Said::Default => report.found(document, &Place::root().key("listen"), found, expected),
    };
    finding.hint("set master_key in the file, or TRUNKLINE_MASTER_KEY in the environment");
}

fn variable(name: &str, with: &Circumstances<'_>, report: &mut Report) -> Option<String> {
    match with.environment.look_up(name) {
        Ok(value) => value.filter(|value| !value.is_empty()),
        Err(trouble) => {
            let (found, expected, hint) = trouble.words();
            report.outside(outside("environment", name, found, expected)).hint(hint);
            None
        }
    }
}

/// A finding that stands in no file.
pub(crate) fn outside(source: &str, path: &str, found: String, expected: &str) -> Finding {
    Finding {
        file: source.into(),
        line: None,
        path: path.into(),
        found,
        expected: expected.into(),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, parse};
    use rstest::rstest;

    #[rstest]
    #[case("127.0.0.1:4000", Some(("127.0.0.1", 4000)))]
    #[case("[::1]:80", Some(("::1", 80)))]
    #[case("localhost:0", Some(("localhost", 0)))]
    #[case("4000", None)]
    #[case(":4000", None)]
    #[case("*:4000", None)]
    #[case("host:99999", None)]
    #[case("http://host:1", None)]
    fn addresses(#[case] text: &str, #[case] expected: Option<(&str, u16)>) {
        assert_eq!(parse(text), expected.map(|(host, port)| (host.to_owned(), port)));
    }

    #[rstest]
    #[case("127.0.0.2", true)]
    #[case("::1", true)]
    #[case("LOCALHOST", true)]
    #[case("0.0.0.0", false)]
    #[case("::", false)]
    #[case("localhost.example.com", false)]
    fn loopback(#[case] host: &str, #[case] expected: bool) {
        assert_eq!(is_loopback(host), expected);
    }
}
