//! What may be shown of an upstream's own words: their beginning, on one line, and none of our credentials.

use crate::{upstream::settings::Command, wire::raw::Raw};
use http::HeaderMap;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use url::Url;

/// How much of a text is looked at.
const LOOKED_AT: usize = 4096;
/// How many characters are shown.
const SHOWN: usize = 120;
/// Texts shorter than this are no secrets, and replacing them would make any text unreadable.
const SHORTEST_SECRET: usize = 4;

#[derive(Deserialize)]
struct ErrorObject {
    #[serde(default)]
    message: String,
}

#[derive(Deserialize)]
struct ErrorCode {
    code: i64,
}

/// The beginning of a body that an upstream sent to the address `url` with `headers` in the request.
pub(crate) fn beginning(body: &[u8], headers: &HeaderMap, url: &Url) -> String {
    quoted(body, &secrets(headers, url))
}

/// The beginning of a text, without the secrets.
pub(crate) fn quoted(text: &[u8], secrets: &[String]) -> String {
    let line: String = plain(text, secrets).chars().take(SHOWN).collect();
    if line.is_empty() { "with nothing".into() } else { format!("`{line}`") }
}

/// A text on one line, without the secrets.
pub(crate) fn plain(text: &[u8], secrets: &[String]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(LOOKED_AT)]);
    let words: Vec<_> = text.split_whitespace().collect();
    let line: String = words.join(" ").chars().filter(|symbol| !symbol.is_control()).collect();
    secrets.iter().fold(line, |line, secret| line.replace(secret, "…"))
}

/// What a JSON-RPC error object says, or all of it if it says nothing.
pub(crate) fn error_message(error: &Raw) -> Vec<u8> {
    match serde_json::from_str::<ErrorObject>(error.as_str()) {
        Ok(ErrorObject { message }) if !message.is_empty() => message.into_bytes(),
        _ => error.as_bytes().to_vec(),
    }
}

/// The code of a JSON-RPC error object.
pub(crate) fn error_code(error: &Raw) -> Option<i64> {
    serde_json::from_str::<ErrorCode>(error.as_str()).ok().map(|error| error.code)
}

/// Where a redirect leads: never its query, which may be ours with a credential in it.
pub(crate) fn location(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let shown = &text[..end];
    // Neither is a user in it shown.
    let shown = match Url::parse(shown) {
        Ok(url) => format!("{}{}", url.origin().ascii_serialization(), url.path()),
        Err(_) => shown.to_owned(),
    };
    crate::wire::message::excerpt(&shown)
}

/// Everything secret that a request carries, longest first, so that no part of one is left over.
fn secrets(headers: &HeaderMap, url: &Url) -> Vec<String> {
    let mut secrets = Vec::new();
    for value in headers.values().filter(|value| value.is_sensitive()) {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        // `Bearer TOKEN`: the token alone is the secret.
        secrets.extend(value.split_whitespace().last().map(str::to_owned));
        secrets.push(value);
    }
    secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    secrets.extend(url.query().map(str::to_owned));
    secrets.extend(url.password().map(str::to_owned));
    longest_first(secrets)
}

/// Everything secret that a child process is started with, longest first: what the operator put into its environment,
/// what a placeholder put into its arguments, and passwords in addresses.
pub(crate) fn of_command(command: &Command) -> Vec<String> {
    let given = command.env.values().chain(&command.secrets);
    let mut secrets: Vec<String> = given.map(|value| value.expose_secret().trim().to_owned()).collect();
    let addresses = command.env.values().chain(&command.args);
    let addresses = addresses.filter_map(|value| Url::parse(value.expose_secret()).ok());
    secrets.extend(addresses.filter_map(|url| url.password().map(str::to_owned)));
    longest_first(secrets)
}

fn longest_first(mut secrets: Vec<String>) -> Vec<String> {
    secrets.retain(|secret| secret.len() >= SHORTEST_SECRET);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

#[cfg(test)]
mod tests {
    use super::{beginning, error_message, location};
    use crate::wire::raw::Raw;
    use http::{HeaderMap, HeaderValue};
    use url::Url;

    #[test]
    fn an_upstream_that_repeats_our_credentials_does_not_spread_them() {
        let mut headers = HeaderMap::new();
        let mut bearer = HeaderValue::from_static("Bearer hush-hush-1");
        bearer.set_sensitive(true);
        headers.insert("authorization", bearer);
        headers.insert("x-team", HeaderValue::from_static("platform"));
        let url = Url::parse("http://upstream.example/mcp?key=hush-hush-2").expect("an address");
        let body = b"you\x1b sent Bearer hush-hush-1\nand hush-hush-1 and key=hush-hush-2 for platform";
        insta::assert_snapshot!(beginning(body, &headers, &url), @"`you sent … and … and … for platform`");
        assert_eq!(beginning(b"", &headers, &url), "with nothing");
    }

    #[test]
    fn a_redirect_shows_where_and_nothing_else() {
        assert_eq!(location("/mcp?key=hush"), "/mcp");
        assert_eq!(location("http://user:hush@other.example/mcp?key=hush#x"), "http://other.example/mcp");
    }

    #[test]
    fn an_error_object_is_shown_by_its_message() {
        let error = |text: &str| Raw::parse(bytes::Bytes::from(text.to_owned())).expect("JSON");
        assert_eq!(
            error_message(&error(r#"{"code":-1,"message":"the database is down"}"#)),
            b"the database is down"
        );
        assert_eq!(error_message(&error(r#"{"code":-1}"#)), br#"{"code":-1}"#);
    }
}
