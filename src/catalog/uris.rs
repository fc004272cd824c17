//! Which upstream a URI leads to, where several are seen at once.
//!
//! A URI goes through as it is wherever it can mean one upstream only.
//! Where two claim the same, all of them are shown with their alias in it, the *qualified* form, and both ways are
//! decided by what one caller sees: an upstream that is hidden has no influence.

use crate::catalog::{
    name::Alias,
    template::{Pattern, Reading},
};
use std::{borrow::Cow, collections::HashMap, sync::Arc};

/// What a URI leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved<'a> {
    /// One upstream.
    One {
        /// Whose it is.
        alias: &'a Alias,
        /// What the upstream calls it.
        native: Cow<'a, str>,
    },
    /// Several upstreams: the forms of it that lead to one each.
    Ambiguous(Vec<String>),
    /// Nothing that is known.
    Unknown,
}

/// The URIs and templates that the upstreams of one view claim.
#[derive(Debug)]
pub(in crate::catalog) struct Uris {
    /// Sorted.
    aliases: Vec<Alias>,
    resources: Claims,
    templates: Claims,
    /// The templates of each alias that has some.
    patterns: Vec<(Alias, Vec<Pattern>)>,
}

/// Who claims which text.
#[derive(Debug)]
struct Claims(HashMap<Arc<str>, Claim>);

#[derive(Debug, Default)]
struct Claim {
    /// The aliases that claim it.
    by: Vec<Alias>,
    /// Whether it is shown qualified: it has several claimants, or looks like the qualified form of such a text.
    is_qualified: bool,
}

/// The most templates of one alias that URIs are compared with.
const MOST_PATTERNS: usize = 256;

/// The text with the alias in it, as the first segment behind the scheme: one text for each alias and native text.
pub fn qualified(alias: &Alias, native: &str) -> String {
    match split_scheme(native) {
        Some((scheme, rest)) => match rest.strip_prefix("//") {
            Some(rest) => format!("{scheme}://{alias}/{rest}"),
            None => format!("{scheme}:{alias}/{rest}"),
        },
        None => format!("{alias}/{native}"),
    }
}

/// The first segment and the text without it; the inverse of [`qualified`].
fn unqualified(text: &str) -> Option<(&str, String)> {
    let (scheme, rest) = split_scheme(text).map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    let (slashes, rest) = match rest.strip_prefix("//") {
        Some(rest) if scheme.is_some() => ("//", rest),
        _ => ("", rest),
    };
    let (first, rest) = rest.split_once('/')?;
    let native = match scheme {
        Some(scheme) => format!("{scheme}:{slashes}{rest}"),
        None => rest.to_owned(),
    };
    Some((first, native))
}

/// Scheme (RFC 3986, section 3.1) and what follows its colon.
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some((scheme, rest))
}

// === impl Uris ===

impl Uris {
    /// What these aliases, sorted, claim: by URI, and by template.
    pub(in crate::catalog) fn new<'a>(
        aliases: Vec<Alias>,
        resources: impl Iterator<Item = (&'a Alias, Arc<str>)>,
        templates: impl Iterator<Item = (&'a Alias, Arc<str>)> + Clone,
    ) -> Self {
        let mut patterns: Vec<(Alias, Vec<Pattern>)> = Vec::new();
        for (alias, template) in templates.clone() {
            if patterns.last().is_none_or(|(last, _)| last != alias) {
                patterns.push((alias.clone(), Vec::new()));
            }
            let Some((_, own)) = patterns.last_mut().filter(|(_, own)| own.len() < MOST_PATTERNS) else {
                continue;
            };
            own.extend(Pattern::new(&template));
        }
        Self { aliases, resources: Claims::new(resources), templates: Claims::new(templates), patterns }
    }

    /// The form in which a claimed URI is shown, if it is not its own.
    pub(in crate::catalog) fn shown_claim(&self, alias: &Alias, uri: &str) -> Option<String> {
        self.resources.shown(alias, uri)
    }

    /// The form in which a template is shown, if it is not its own.
    pub(in crate::catalog) fn shown_template(&self, alias: &Alias, template: &str) -> Option<String> {
        self.templates.shown(alias, template)
    }

    /// The form in which an upstream's use of any URI is shown, if it is not its own.
    pub(in crate::catalog) fn shown(&self, alias: &Alias, uri: &str) -> Option<String> {
        let leads_there = match self.resolve(uri) {
            Resolved::One { alias: found, native } => found == alias && native == uri,
            Resolved::Ambiguous(_) => false,
            Resolved::Unknown => true,
        };
        (!leads_there).then(|| qualified(alias, uri))
    }

    /// What a URI leads to: what is claimed comes first, then what an alias in it can mean, then templates, and last
    /// an alias in it that lists nothing of the kind.
    pub(in crate::catalog) fn resolve<'a>(&'a self, uri: &'a str) -> Resolved<'a> {
        let mut named = match (self.resources.find(uri), self.named(uri)) {
            (_, Some((alias, native))) if self.resources.is_qualified_by(alias, &native) => {
                return Resolved::One { alias, native: native.into() };
            }
            (Some(Claim { is_qualified: false, by }), _) if !by.is_empty() => {
                return Resolved::One { alias: &by[0], native: uri.into() };
            }
            (Some(Claim { by, .. }), _) if by.len() > 1 => return ambiguous(by.iter(), uri),
            (_, named) => named,
        };
        if let Some((alias, native)) = named.take_if(|(alias, native)| self.knows(alias, native)) {
            return Resolved::One { alias, native: native.into() };
        }
        for reading in [Reading::Strict, Reading::Loose] {
            let is_match =
                |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(uri, reading));
            let of: Vec<&Alias> =
                self.patterns.iter().filter(|(_, own)| is_match(own)).map(|(alias, _)| alias).collect();
            match of[..] {
                [] => {}
                [alias] => return Resolved::One { alias, native: uri.into() },
                _ => return ambiguous(of.into_iter(), uri),
            }
        }
        named.map_or(Resolved::Unknown, |(alias, native)| Resolved::One { alias, native: native.into() })
    }

    /// What a template, or a URI, leads to.
    pub(in crate::catalog) fn resolve_template<'a>(&'a self, shown: &'a str) -> Resolved<'a> {
        match (self.templates.find(shown), self.named(shown)) {
            (_, Some((alias, native))) if self.templates.is_qualified_by(alias, &native) => {
                Resolved::One { alias, native: native.into() }
            }
            (Some(Claim { is_qualified: false, by }), _) if !by.is_empty() => {
                Resolved::One { alias: &by[0], native: shown.into() }
            }
            (Some(Claim { by, .. }), _) if by.len() > 1 => ambiguous(by.iter(), shown),
            _ => self.resolve(shown),
        }
    }

    /// The alias that the text has in it, and the text without it.
    fn named(&self, text: &str) -> Option<(&Alias, String)> {
        let (first, native) = unqualified(text)?;
        let at = self.aliases.binary_search_by(|alias| alias.as_str().cmp(first)).ok()?;
        Some((&self.aliases[at], native))
    }

    /// Whether the upstream lists the URI, or has a template for it.
    fn knows(&self, alias: &Alias, uri: &str) -> bool {
        let own = self.patterns.iter().find(|(of, _)| of == alias);
        self.resources.find(uri).is_some_and(|claim| claim.by.contains(alias))
            || own.is_some_and(|(_, own)| own.iter().any(|pattern| pattern.matches(uri, Reading::Loose)))
    }
}

fn ambiguous<'a>(of: impl Iterator<Item = &'a Alias>, uri: &str) -> Resolved<'static> {
    Resolved::Ambiguous(of.map(|alias| qualified(alias, uri)).collect())
}

// === impl Claims ===

impl Claims {
    fn new<'a>(all: impl Iterator<Item = (&'a Alias, Arc<str>)>) -> Self {
        let mut claims: HashMap<Arc<str>, Claim> = HashMap::new();
        for (alias, text) in all {
            let claim = claims.entry(text).or_default();
            if !claim.by.contains(alias) {
                claim.by.push(alias.clone());
            }
        }
        let mut shown: Vec<String> = Vec::new();
        for (text, claim) in claims.iter_mut().filter(|(_, claim)| claim.by.len() > 1) {
            claim.is_qualified = true;
            shown.extend(claim.by.iter().map(|alias| qualified(alias, text)));
        }
        // A text that looks like the qualified form of another gives way to it, and so on; each does so once.
        while let Some(text) = shown.pop() {
            if let Some(claim) = claims.get_mut(&*text).filter(|claim| !claim.is_qualified) {
                claim.is_qualified = true;
                shown.extend(claim.by.iter().map(|alias| qualified(alias, &text)));
            }
        }
        Self(claims)
    }

    fn find(&self, text: &str) -> Option<&Claim> {
        self.0.get(text)
    }

    fn is_qualified_by(&self, alias: &Alias, text: &str) -> bool {
        self.find(text).is_some_and(|claim| claim.is_qualified && claim.by.contains(alias))
    }

    fn shown(&self, alias: &Alias, text: &str) -> Option<String> {
        self.is_qualified_by(alias, text).then(|| qualified(alias, text))
    }
}
