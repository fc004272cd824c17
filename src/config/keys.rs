//! The keys of a draft, checked: none empty, none twice, every glob a glob.

use crate::{
    config::{
        document::Document, draft::KeyDraft, finding::Report, listen::outside, place::Place,
        secret::Environment,
    },
    policy::settings::{KeySettings, Settings},
    protocol::pattern,
    wire::nearest::nearest,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::slice;

/// Where a master key comes from if the file has none.
const MASTER_VARIABLES: [&str; 2] = ["TRUNKLINE_MASTER_KEY", "LITELLM_MASTER_KEY"];

/// Where the key of sealed texts comes from if the file has none.
const STATE_VARIABLE: &str = "TRUNKLINE_STATE_KEY";

/// The fewest bytes of that key, and what it must be (RFC 2104: no shorter than the hash).
const LEAST_STATE_KEY: usize = 32;
const STATE_KEY: &str = "a secret of 32 bytes or more, such as `openssl rand -hex 32` makes";

/// What a key or a token must be to be of any use.
const TOKEN: &str = "visible ASCII characters without spaces";

/// A secret of a file that is fit to be used; an empty one is a finding unless `${VAR:-}` made it empty.
pub(crate) fn secret(
    given: Option<SecretString>,
    document: &Document,
    place: &Place,
    report: &mut Report,
) -> Option<SecretString> {
    let given = given?;
    let text = given.expose_secret();
    if text.is_empty() && document.is_emptied(place) {
        report.notice(document, place, "its optional placeholder is empty, so there is none");
        return None;
    }
    if text.is_empty() {
        report.wrong(document, place, "a secret that is not empty");
        return None;
    }
    Some(given)
}

/// As [`secret`], for one that is sent as a word of an HTTP header.
pub(crate) fn token(
    given: Option<SecretString>,
    document: &Document,
    place: &Place,
    report: &mut Report,
) -> Option<SecretString> {
    let given = unguessable(given, document, place, report)?;
    if is_token(given.expose_secret()) {
        return Some(given);
    }
    report
        .found(document, place, "a secret with a space or a character that HTTP headers cannot have", TOKEN)
        .hint("look for a line break or for quotes that were not meant");
    None
}

/// As [`secret`], for one that nobody may guess.
fn unguessable(
    given: Option<SecretString>,
    document: &Document,
    place: &Place,
    report: &mut Report,
) -> Option<SecretString> {
    let given = secret(given, document, place, report)?;
    if is_bare_variable(given.expose_secret()) {
        report
            .found(document, place, "the name of a variable without braces", "`${VARIABLE}`")
            .hint("without braces the name itself would be the secret, and anybody could guess it");
        return None;
    }
    Some(given)
}

/// Checks the key of the texts that clients keep; `None` means a random one.
pub(crate) fn state_key(
    given: Option<SecretString>,
    document: &Document,
    environment: &Environment,
    report: &mut Report,
) -> Option<SecretString> {
    let short = |length: usize| format!("a secret of {length} bytes");
    if given.is_some() {
        let place = Place::root().key("state_key");
        let given = unguessable(given, document, &place, report)?;
        let length = given.expose_secret().len();
        if length < LEAST_STATE_KEY {
            report.found(document, &place, short(length), STATE_KEY);
            return None;
        }
        return Some(given);
    }
    match environment.look_up(STATE_VARIABLE) {
        Ok(None) => None,
        Ok(Some(value)) if value.len() < LEAST_STATE_KEY => {
            report.outside(outside("environment", STATE_VARIABLE, short(value.len()), STATE_KEY));
            None
        }
        Ok(Some(value)) => Some(value.into()),
        Err(trouble) => {
            let (found, expected, hint) = trouble.words();
            report.outside(outside("environment", STATE_VARIABLE, found, expected)).hint(hint);
            None
        }
    }
}

/// Whether a text looks like `$VARIABLE`, which shells fill in and files do not.
fn is_bare_variable(text: &str) -> bool {
    let Some(name) = text.strip_prefix('$') else { return false };
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_token(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A glob for a name and nothing else.
pub(crate) fn literal(name: &str) -> String {
    globset::escape(name)
}

/// Checks the master key and the virtual keys.
pub(crate) fn check(
    master: Option<SecretString>,
    keys: Vec<KeyDraft>,
    document: &Document,
    environment: &Environment,
    report: &mut Report,
) -> Settings {
    let master = match master {
        Some(_) => token(master, document, &Place::root().key("master_key"), report),
        None => master_of(environment, report),
    };
    let mut checked: Vec<KeySettings> = Vec::new();
    let mut seen: Vec<(SecretString, Place)> = Vec::new();
    seen.extend(master.clone().map(|master| (master, Place::root().key("master_key"))));
    for (index, key) in keys.into_iter().enumerate() {
        let place = Place::root().key("keys").index(index);
        let name = key.name.or(key.user).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| format!("key-{}", index + 1));
        if checked.iter().any(|other| other.name == name) {
            let found = format!("`{name}` a second time");
            report.found(document, &place.key("name"), found, "a name of its own, for the logs");
        }
        let globs = |list: &Option<Vec<String>>, what: &str, report: &mut Report| {
            globs(list.as_deref().unwrap_or_default(), document, &place.key(what), report);
        };
        globs(&key.aliases, "aliases", report);
        globs(&key.tools, "tools", report);
        let at = place.key("key");
        let Some(secret) = token(key.key, document, &at, report) else { continue };
        if let Some((_, other)) =
            seen.iter().find(|(other, _)| other.expose_secret() == secret.expose_secret())
        {
            let found = format!("the same key as {}", document.original(other));
            report.found(document, &at, found, "a key of its own");
            continue;
        }
        seen.push((secret.clone(), at));
        checked.push(KeySettings { secret, name, aliases: key.aliases, tools: key.tools });
    }
    Settings { master, keys: checked }
}

/// The master key of the environment.
fn master_of(environment: &Environment, report: &mut Report) -> Option<SecretString> {
    for variable in MASTER_VARIABLES {
        match environment.look_up(variable) {
            Ok(None) => {}
            Ok(Some(value)) if value.is_empty() => {
                let found = "an empty text".into();
                report
                    .outside(outside("environment", variable, found, "a master key"))
                    .hint("give it a value, or leave the variable out to run without keys on loopback");
                return None;
            }
            Ok(Some(value)) if !is_token(&value) => {
                let found = "a secret with a space or a character that HTTP headers cannot have".into();
                report.outside(outside("environment", variable, found, TOKEN));
                return None;
            }
            Ok(Some(value)) => return Some(value.into()),
            Err(trouble) => {
                let (found, expected, hint) = trouble.words();
                report.outside(outside("environment", variable, found, expected)).hint(hint);
                return None;
            }
        }
    }
    None
}

/// Whether each of a list is a glob.
pub(crate) fn globs(list: &[String], document: &Document, place: &Place, report: &mut Report) {
    for (index, glob) in list.iter().enumerate() {
        if glob.is_empty() || pattern::compile(slice::from_ref(glob)).is_err() {
            report.wrong(document, &place.index(index), "a glob such as `db` or `list_*`");
        }
    }
}

/// Says which aliases of keys are no aliases: most likely somebody mistyped them.
pub(crate) fn compare(keys: &Settings, aliases: &[String], document: &Document, report: &mut Report) {
    for (index, key) in keys.keys.iter().enumerate() {
        for glob in key.aliases.iter().flatten() {
            let is_used = pattern::compile(slice::from_ref(glob))
                .is_ok_and(|glob| aliases.iter().any(|alias| glob.is_match(alias)));
            if is_used {
                continue;
            }
            let meant = nearest(glob, aliases.iter().map(String::as_str));
            let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
            let place = Place::root().key("keys").index(index).key("aliases");
            report.notice(document, &place, format!("no alias is called `{glob}`{meant}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_bare_variable;

    #[test]
    fn a_variable_without_braces_is_no_secret() {
        assert!(is_bare_variable("$TRUNKLINE_MASTER_KEY") && is_bare_variable("$KEY2"));
        for text in ["", "$", "$ecret", "KEY", "${KEY}", "$KEY!", "pa$SWORD"] {
            assert!(!is_bare_variable(text), "{text}");
        }
    }
}
