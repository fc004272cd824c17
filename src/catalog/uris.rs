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
const MOST_PATTERNS: usize = 64;

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
pub(in crate::catalog) fn unqualified(text: &str) -> Option<(&str, String)> {
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

    /// What a URI leads to: what is claimed comes first, then what an alias in it knows, then what a template says,
    /// then an alias in it that knows no such thing, and last a template as clients misread it.
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
        if let Some(resolved) = self.by_template(uri, Reading::Strict) {
            return resolved;
        }
        let named = named.map(|(alias, native)| Resolved::One { alias, native: native.into() });
        named.or_else(|| self.by_template(uri, Reading::Loose)).unwrap_or(Resolved::Unknown)
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

    /// Whose templates could have made the URI.
    fn by_template<'a>(&'a self, uri: &'a str, reading: Reading) -> Option<Resolved<'a>> {
        let is_match = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(uri, reading));
        let of: Vec<&Alias> =
            self.patterns.iter().filter(|(_, own)| is_match(own)).map(|(alias, _)| alias).collect();
        match of[..] {
            [] => None,
            [alias] => Some(Resolved::One { alias, native: uri.into() }),
            _ => Some(ambiguous(of.into_iter(), uri)),
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
            claim.by.sort();
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

#[cfg(test)]
mod tests {
    use super::{Resolved, qualified, unqualified};
    use crate::{
        catalog::{
            listing::{Kind, Listing, Mirroring, read_page},
            merge::{Catalog, ShowRules, Source, merge},
            name::Alias,
            page::Dialect,
            settings::{NameRules, Show},
            view::{Allows, Scope, View},
        },
        wire::raw::Raw,
    };
    use proptest::{collection::vec, prop_assert, prop_assert_eq, proptest};
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::{
        collections::{BTreeMap, HashSet},
        sync::Arc,
    };

    /// What an alias lists: resources, templates, and URIs of its tools' interfaces.
    type Offer<'a> = (&'a str, [&'a [&'a str]; 3]);

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("an alias")
    }

    fn source([resources, templates, interfaces]: [&[&str]; 3]) -> Source {
        let items = |kind: Kind, items: Vec<Value>| {
            read_page(kind, &Raw::of(&json!({kind.key(): items})), Mirroring::Unsent).expect("a page").items
        };
        let tools = interfaces.iter().enumerate().map(|(index, uri)| {
            json!({"name": format!("t{index}"), "inputSchema": {}, "_meta": {"ui": {"resourceUri": uri}}})
        });
        let listing = Listing {
            tools: items(Kind::Tools, tools.collect()),
            resources: items(Kind::Resources, resources.iter().map(|uri| json!({"uri": uri})).collect()),
            templates: items(
                Kind::Templates,
                templates.iter().map(|uri| json!({"uriTemplate": uri})).collect(),
            ),
            ..Listing::default()
        };
        let show = Arc::new(ShowRules::new(&Show::default()).expect("rules"));
        Source { show, listing: Some(Arc::new(listing)) }
    }

    fn catalog(offers: &[Offer<'_>]) -> Catalog {
        let sources: BTreeMap<_, _> =
            offers.iter().map(|(name, offer)| (alias(name), source(*offer))).collect();
        merge(&sources, &NameRules::default())
    }

    fn view(catalog: &Catalog, sees: impl Fn(&Alias) -> bool) -> Arc<View> {
        catalog.view(0, &Scope::All, Allows { tool: &|row| sees(&row.alias), alias: &sees })
    }

    fn listed(view: &View, kind: Kind) -> Vec<Value> {
        let page = view.page(kind, None, Dialect::Handshake).expect("a page");
        let page: Value = serde_json::from_str(page.as_str()).expect("JSON");
        page[kind.key()].as_array().expect("an array").clone()
    }

    /// `alias native`, the forms to use instead, or nothing.
    fn lead(resolved: &Resolved<'_>) -> String {
        match resolved {
            Resolved::One { alias, native } => format!("{alias} {native}"),
            Resolved::Ambiguous(instead) => instead.join(" or "),
            Resolved::Unknown => "-".into(),
        }
    }

    #[rstest]
    #[case("file:///a/b", "file://db//a/b")]
    #[case("ui://app", "ui://db/app")]
    #[case("urn:a:b", "urn:db/a:b")]
    #[case("notes", "db/notes")]
    #[case("//a", "db///a")]
    #[case("{scheme}://a", "db/{scheme}://a")]
    #[case("", "db/")]
    fn the_alias_goes_into_the_first_segment(#[case] native: &str, #[case] shown: &str) {
        assert_eq!(qualified(&alias("db"), native), shown);
        assert_eq!(unqualified(shown), Some(("db", native.to_owned())));
    }

    const OFFERS: &[Offer<'_>] = &[
        ("a", [&["s://both", "s://one", "s:a/own"], &["f:///{path}", "t://{x}/{y}"], &["ui://app"]]),
        ("b", [&["s://both", "s://a/both", "u://x"], &["f:///{path}", "t://{x}/z"], &["ui://other"]]),
        ("c", [&["ui://app"], &["f://{+path}", "v://{x}"], &[]]),
    ];

    #[rstest]
    #[case::unique("s://one", "a s://one")]
    #[case::several("s://both", "s://a/both or s://b/both")]
    #[case::their_forms("s://a/both", "a s://both")]
    #[case::what_looks_like_one("s://b/a/both", "b s://a/both")]
    #[case::with_its_own_alias("s:a/own", "a s:a/own")]
    #[case::an_interface_and_a_resource("ui://app", "ui://a/app or ui://c/app")]
    #[case::an_interface("ui://other", "b ui://other")]
    #[case::a_template("t://1/2", "a t://1/2")]
    #[case::two_templates("t://1/z", "t://a/1/z or t://b/1/z")]
    #[case::two_strict_ones_and_a_loose_one("f:///x", "f://a//x or f://b//x or f://c//x")]
    #[case::an_expansion_of_a_qualified_template("f://b//x", "b f:///x")]
    #[case::not_encoded("v://1/2", "c v://1/2")]
    #[case::an_alias_that_lists_no_such_thing("w://c/x", "c w://x")]
    #[case::nobody("w://d/x", "-")]
    fn where_uris_lead(#[case] uri: &str, #[case] expected: &str) {
        let catalog = catalog(OFFERS);
        let view = view(&catalog, |_| true);
        assert_eq!(lead(&view.resolve(uri)), expected);
        let own = catalog.view(0, &Scope::One(alias("b")), Allows { tool: &|_| true, alias: &|_| true });
        assert_eq!(lead(&own.resolve(uri)), format!("b {uri}"));
        assert_eq!(own.shown_uri(&alias("b"), uri), None);
    }

    #[test]
    fn templates_lead_where_they_are_listed() {
        let catalog = catalog(OFFERS);
        let view = view(&catalog, |_| true);
        for (shown, expected) in [
            ("f:///{path}", "f://a//{path} or f://b//{path}"),
            ("f://b//{path}", "b f:///{path}"),
            ("t://{x}/z", "b t://{x}/z"),
            ("s://one", "a s://one"),
        ] {
            assert_eq!(lead(&view.resolve_template(shown)), expected);
        }
    }

    #[rstest]
    #[case("b", "s://one", Some("s://b/one"))]
    #[case("a", "s://one", None)]
    #[case("b", "t://1/2", Some("t://b/1/2"))]
    #[case("b", "s:a/own", Some("s:b/a/own"))]
    #[case("b", "w://c/x", Some("w://b/c/x"))]
    #[case("c", "w://c/x", Some("w://c/c/x"))]
    #[case("c", "nobody:1", None)]
    fn what_an_upstream_refers_to_leads_back_to_it(
        #[case] by: &str,
        #[case] uri: &str,
        #[case] shown: Option<&str>,
    ) {
        let catalog = catalog(OFFERS);
        let view = view(&catalog, |_| true);
        assert_eq!(view.shown_uri(&alias(by), uri).as_deref(), shown);
        if let Some(shown) = shown {
            assert_eq!(lead(&view.resolve(shown)), format!("{by} {uri}"));
        }
    }

    #[test]
    fn nothing_is_qualified_for_who_sees_one_claimant() {
        let catalog = catalog(OFFERS);
        let view = view(&catalog, |alias| alias.as_str() == "b");
        assert_eq!(lead(&view.resolve("s://both")), "b s://both");
        assert_eq!(lead(&view.resolve("s://a/both")), "b s://a/both");
        assert_eq!(lead(&view.resolve("s://one")), "-");
        assert_eq!(listed(&view, Kind::Resources)[0], json!({"uri": "s://both"}));
    }

    /// URIs and templates in which much looks like something else.
    const URI: &str = "(s:|s://|t://|)([abx]/){0,2}([abx]|\\{[+]?x\\}){0,1}";

    proptest! {
        #[test]
        fn the_qualified_form_tells_alias_and_native_text(
            a in "[a-f0-9_]{1,3}", b in "[a-f0-9_]{1,3}", x in "([a-b:/{}]|s:|//){0,6}", y in "([a-b:/{}]|s:|//){0,6}",
        ) {
            let (one, two) = (qualified(&alias(&a), &x), qualified(&alias(&b), &y));
            prop_assert_eq!(unqualified(&one), Some((&*a, x.clone())));
            prop_assert_eq!(one == two, a == b && x == y);
        }

        #[test]
        fn what_is_listed_leads_back_and_who_is_hidden_has_no_influence(
            offers in vec(proptest::array::uniform3(vec(URI, 0..5)), 4),
            sees in proptest::array::uniform4(proptest::bool::ANY),
        ) {
            let names = ["a", "b", "c", "d"];
            let offers: Vec<[Vec<&str>; 3]> = offers.iter().map(|offer| {
                std::array::from_fn(|index| offer[index].iter().map(String::as_str).collect())
            }).collect();
            let offers: Vec<Offer<'_>> = names.iter().zip(&offers)
                .map(|(name, [one, two, three])| (*name, [&one[..], &two[..], &three[..]])).collect();
            let sees = |alias: &Alias| names.iter().zip(sees).any(|(name, sees)| sees && alias.as_str() == *name);
            let all = catalog(&offers);
            let visible: Vec<_> = offers.iter().filter(|(name, _)| sees(&alias(name))).copied().collect();
            let (view, alone) = (view(&all, sees), view(&catalog(&visible), |_| true));
            for kind in Kind::ALL {
                let page = |view: &View| view.page(kind, None, Dialect::Handshake);
                prop_assert_eq!(page(&view), page(&alone));
                prop_assert_eq!(view.digest(kind), alone.digest(kind));
            }
            let mut shown_uris = HashSet::new();
            let items = all.resources.iter().filter(|item| sees(&item.alias));
            for (shown, item) in listed(&view, Kind::Resources).iter().zip(items) {
                let shown = shown["uri"].as_str().expect("a URI");
                prop_assert!(shown_uris.insert(shown.to_owned()));
                prop_assert_eq!(lead(&view.resolve(shown)), format!("{} {}", item.alias, item.native));
                let used = view.shown_uri(&item.alias, &item.native);
                prop_assert_eq!(used.as_deref().unwrap_or(&item.native), shown);
            }
            let mut shown_templates = HashSet::new();
            let items = all.templates.iter().filter(|item| sees(&item.alias));
            for (shown, item) in listed(&view, Kind::Templates).iter().zip(items) {
                let shown = shown["uriTemplate"].as_str().expect("a template");
                prop_assert!(shown_templates.insert(shown.to_owned()));
                prop_assert_eq!(lead(&view.resolve_template(shown)), format!("{} {}", item.alias, item.native));
            }
            let rows = all.tools.iter().filter(|row| sees(&row.alias));
            for (shown, row) in listed(&view, Kind::Tools).iter().zip(rows) {
                let shown = shown["_meta"]["ui"]["resourceUri"].as_str().expect("a URI");
                prop_assert_eq!(lead(&view.resolve(shown)), format!("{} {}", row.alias, row.interface[0].uri));
            }
        }
    }
}
