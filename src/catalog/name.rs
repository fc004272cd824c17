//! Aliases and public names: legal for every model API, bounded, and never ambiguous.

use crate::catalog::settings::NameRules;
use sha2::{Digest as _, Sha256};
use std::{fmt, sync::Arc};

/// The short public name of an upstream: letters, digits and `_`, at most 32 bytes, never a reserved word.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(Arc<str>);

/// Why a text is not an alias.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAlias {
    /// It has a character that model APIs or URLs do not take, or the separator, or a wrong length.
    #[error("an alias has 1 to {MAX_ALIAS} letters, digits or `_`, and not the separator; found `{0}`")]
    Form(String),
    /// It is the name of a route.
    #[error("`{0}` is the name of a route and cannot be an alias")]
    Reserved(String),
}

/// The longest alias, in bytes.
pub const MAX_ALIAS: usize = 32;

/// First path segments that the gateway uses itself.
pub const RESERVED: &[&str] = &[
    "mcp",
    "sse",
    "messages",
    "health",
    "metrics",
    "ui",
    "v1",
    "models",
    "chat",
    "responses",
    "completions",
    "embeddings",
    "register",
    "authorize",
    "token",
    "key",
    "user",
    "team",
    "spend",
    "toolset",
    "admin",
    "list_tools",
];

/// Hexadecimal digits of the hash in a shortened name: 40 bits, so that chance collisions stay away.
const HASH_DIGITS: usize = 10;

// === impl Alias ===

impl Alias {
    /// Checks and makes an alias.
    pub fn parse(text: &str, rules: &NameRules) -> Result<Self, NotAnAlias> {
        let legal = (1..=MAX_ALIAS).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.contains(&*rules.separator);
        if !legal {
            return Err(NotAnAlias::Form(text.into()));
        }
        if RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
            return Err(NotAnAlias::Reserved(text.into()));
        }
        Ok(Self(text.into()))
    }

    /// The alias as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

/// The name under which clients of the aggregate see something: `^[a-zA-Z0-9_-]+$` within the bound.
///
/// Injective: a plain join cannot be misread since an alias has no separator in it, and whatever had to be
/// changed or shortened carries a hash of the whole native name.
pub fn public_name(alias: &Alias, native: &str, rules: &NameRules) -> String {
    let prefix = alias.as_str().len() + rules.separator.len();
    if is_public(native, rules.max_length.saturating_sub(prefix)) {
        format!("{alias}{}{native}", rules.separator)
    } else {
        short_name(alias, native, rules)
    }
}

/// Whether a name has at most `most` bytes, and only such as model APIs take.
pub fn is_public(name: &str, most: usize) -> bool {
    (1..=most).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// The public name with a hash of the native one at its end; also what resolves a collision.
pub fn short_name(alias: &Alias, native: &str, rules: &NameRules) -> String {
    let digest = Sha256::digest(native.as_bytes());
    let hash: String =
        digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).take(HASH_DIGITS).map(hex_digit).collect();
    let room =
        rules.max_length.saturating_sub(alias.as_str().len() + rules.separator.len() + 1 + HASH_DIGITS);
    let readable: String = native
        .chars()
        .map(
            |symbol| {
                if symbol.is_ascii_alphanumeric() || symbol == '_' || symbol == '-' { symbol } else { '_' }
            },
        )
        .take(room)
        .collect();
    format!("{alias}{}{readable}_{hash}", rules.separator)
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

#[cfg(test)]
mod tests {
    use super::{Alias, public_name};
    use crate::catalog::settings::NameRules;
    use proptest::{prop_assert, prop_assert_eq, proptest};

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("a legal alias")
    }

    #[test]
    fn plain_names_are_joined() {
        assert_eq!(public_name(&alias("db"), "execute_sql", &NameRules::default()), "db-execute_sql");
    }

    #[test]
    fn other_characters_and_long_names_get_a_hash() {
        let rules = NameRules::default();
        insta::assert_snapshot!(public_name(&alias("db"), "pg.query", &rules), @"db-pg_query_5cc9d0261f");
        insta::assert_snapshot!(public_name(&alias("db"), "pg/query", &rules), @"db-pg_query_2bd95bf25b");
        assert_eq!(public_name(&alias("db"), &"x".repeat(100), &rules).len(), 64);
    }

    #[test]
    fn routes_and_odd_texts_are_no_aliases() {
        for text in ["", "a-b", "ä", "mcp", "SSE", "a b", "a/b", &"x".repeat(33)] {
            assert!(Alias::parse(text, &NameRules::default()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn names_are_legal_bounded_and_injective(
            a in "[a-z0-9_]{1,32}", b in "[a-z0-9_]{1,32}", x in "\\PC{0,80}", y in "\\PC{0,80}",
        ) {
            let rules = NameRules::default();
            let (Ok(a), Ok(b)) = (Alias::parse(&a, &rules), Alias::parse(&b, &rules)) else { return Ok(()) };
            let (one, two) = (public_name(&a, &x, &rules), public_name(&b, &y, &rules));
            for name in [&one, &two] {
                prop_assert!((1..=64).contains(&name.len()));
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'));
            }
            prop_assert_eq!(one == two, a == b && x == y);
        }
    }
}
