//! Listings and alias rules become one catalog: collisions are decided the same way every time, and reported.

use crate::{
    catalog::{
        listing::{Definition, Listing},
        name::{self, Alias},
        settings::{NameRules, Show},
        view::Views,
    },
    protocol::pattern::compile,
    wire::{message::excerpt, raw::Raw, splice::splice},
};
use globset::GlobSet;
use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

/// One snapshot of everything that upstreams offer.
#[derive(Debug)]
pub struct Catalog {
    /// Every configured alias, also those that never answered yet.
    pub aliases: Vec<Alias>,
    /// The tools: by alias, within one in the upstream's order.
    pub tools: Vec<Arc<Row>>,
    /// What was decided where upstreams contradicted each other or themselves, for the log.
    pub decisions: Vec<String>,
    pub(in crate::catalog) views: Views,
}

/// One tool under its public name.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name on the aggregate endpoint.
    pub public: Box<str>,
    /// Whose it is.
    pub alias: Alias,
    /// The name to call it by.
    pub native: Arc<str>,
    /// The native name as a JSON string.
    pub native_json: Raw,
    /// The name on the alias's own endpoint: the native one, unless the alias file renames it.
    pub shown: Box<str>,
    /// The definition with the public name.
    pub merged: Raw,
    /// The definition for the alias's own endpoint.
    pub own: Raw,
    /// Of both definitions.
    pub digest: u64,
}

/// What goes into a merge for one alias.
#[derive(Clone, Debug)]
pub struct Source {
    /// How it is shown.
    pub show: Arc<ShowRules>,
    /// What it has; `None` as long as it never said.
    pub listing: Option<Arc<Listing>>,
}

/// [`Show`] with its globs compiled.
#[derive(Debug)]
pub struct ShowRules {
    allow: Option<GlobSet>,
    deny: GlobSet,
    rename: BTreeMap<String, String>,
}

// === impl ShowRules ===

impl ShowRules {
    /// Compiles the globs; the text names the one that is none.
    pub fn new(show: &Show) -> Result<Self, String> {
        let allow = show.allow.as_ref().map(|globs| compile(globs)).transpose()?;
        Ok(Self { allow, deny: compile(&show.deny)?, rename: show.rename.clone() })
    }

    fn shows(&self, native: &str) -> bool {
        !self.deny.is_match(native) && self.allow.as_ref().is_none_or(|allow| allow.is_match(native))
    }
}

// === impl Catalog ===

impl Catalog {
    /// The catalog of a gateway that heard of nobody yet.
    pub fn empty() -> Self {
        merge(&BTreeMap::new(), &NameRules::default())
    }
}

/// Merges; the same sources give the same catalog, in whatever order they came to be.
pub fn merge(sources: &BTreeMap<Alias, Source>, rules: &NameRules) -> Catalog {
    let mut catalog = Catalog {
        aliases: sources.keys().cloned().collect(),
        tools: Vec::new(),
        decisions: Vec::new(),
        views: Views::default(),
    };
    let mut taken: HashSet<Box<str>> = HashSet::new();
    // Plain names first: a shortened name gives way to a tool that is really called so.
    let mut rows: Vec<Option<Row>> = Vec::new();
    let mut late = Vec::new();
    for (alias, source) in sources {
        let (mut natives, mut shown_names, mut repeated) = (HashSet::new(), HashSet::new(), None);
        for tool in source.listing.iter().flat_map(|listing| &listing.tools) {
            if !natives.insert(tool.native.clone()) {
                repeated.get_or_insert((&tool.native, 0_usize)).1 += 1;
                continue;
            }
            if !source.show.shows(&tool.native) {
                continue;
            }
            let shown = source.show.rename.get(&*tool.native).map_or(&*tool.native, String::as_str);
            let shown = if shown_names.insert(shown.to_owned()) { shown } else { &tool.native };
            let public = name::public_name(alias, shown, rules);
            let is_plain = public.len() == alias.as_str().len() + rules.separator.len() + shown.len();
            if is_plain && taken.insert(public.as_str().into()) {
                rows.push(Some(row(alias, tool, shown, &public)));
            } else {
                late.push((rows.len(), alias, tool, shown.to_owned(), public));
                rows.push(None);
            }
        }
        if let Some((first, count)) = repeated {
            let first = excerpt(first);
            catalog.decisions.push(format!(
                "{alias} lists names more than once ({count} times, `{first}` first); the first definition counts"
            ));
        }
    }
    for (index, alias, tool, shown, wanted) in late {
        let mut public = wanted.clone();
        // Bounded: each try hashes another text, and there are finitely many names taken.
        for attempt in 1..=taken.len() + 1 {
            if taken.insert(public.as_str().into()) {
                break;
            }
            public = name::short_name(alias, &format!("{shown}#{attempt}"), rules);
            catalog
                .decisions
                .push(format!("`{wanted}` of {alias} is taken already; it is shown as `{public}`"));
        }
        rows[index] = Some(row(alias, tool, &shown, &public));
    }
    catalog.tools = rows.into_iter().flatten().map(Arc::new).collect();
    catalog
}

fn row(alias: &Alias, tool: &Definition, shown: &str, public: &str) -> Row {
    let named = |name: &str| {
        let text = Raw::of(name);
        // A JSON string in a JSON string's place: still valid.
        Raw::spliced(splice(tool.raw.as_bytes(), &mut [(tool.name_at.clone(), text.as_bytes())]))
    };
    let merged = named(public);
    let own = if shown == &*tool.native { tool.raw.clone() } else { named(shown) };
    let mut digest = DefaultHasher::new();
    (&merged, &own).hash(&mut digest);
    Row {
        public: public.into(),
        alias: alias.clone(),
        native: tool.native.clone(),
        native_json: Raw::of(&*tool.native),
        shown: shown.into(),
        merged,
        own,
        digest: digest.finish(),
    }
}

#[cfg(test)]
mod tests {
    use super::{ShowRules, Source, merge, row};
    use crate::{
        catalog::{
            listing::{self, Listing},
            name::{self, Alias},
            settings::{NameRules, Show},
        },
        wire::raw::Raw,
    };
    use bytes::Bytes;
    use proptest::{prop_assert_eq, proptest};
    use std::{
        collections::{BTreeMap, HashSet},
        sync::Arc,
    };

    fn listing(names: &[String]) -> Arc<Listing> {
        let tools: Vec<_> =
            names.iter().map(|name| serde_json::json!({"inputSchema": {}, "name": name})).collect();
        let page = listing::read_page(&Raw::of(&serde_json::json!({"tools": tools}))).expect("a page");
        Arc::new(Listing { tools: page.tools })
    }

    fn source(names: &[String], show: &Show) -> Source {
        Source { show: Arc::new(ShowRules::new(show).expect("globs")), listing: Some(listing(names)) }
    }

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("an alias")
    }

    #[test]
    fn rules_hide_and_rename_and_leave_the_definition_alone() {
        let show = Show {
            deny: vec!["drop_*".into()],
            rename: BTreeMap::from([("execute_sql".into(), "sql".into())]),
            ..Show::default()
        };
        let names = ["execute_sql", "drop_table", "list"].map(String::from);
        let catalog = merge(&BTreeMap::from([(alias("db"), source(&names, &show))]), &NameRules::default());
        let lines: Vec<_> =
            catalog.tools.iter().map(|row| format!("{} {} {}", row.public, row.native, row.own)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        db-sql execute_sql {"inputSchema":{},"name":"sql"}
        db-list list {"inputSchema":{},"name":"list"}
        "#);
    }

    #[test]
    fn a_shortened_name_gives_way_and_says_so() {
        let rules = NameRules::default();
        let short = name::public_name(&alias("db"), "pg.query", &rules);
        let names = ["pg.query".to_owned(), short["db-".len()..].to_owned()];
        let catalog = merge(&BTreeMap::from([(alias("db"), source(&names, &Show::default()))]), &rules);
        assert_eq!(catalog.tools.len(), 2);
        assert_eq!(&*catalog.tools[1].public, short.as_str());
        assert_ne!(catalog.tools[0].public, catalog.tools[1].public);
        assert_eq!(catalog.decisions.len(), 1);
    }

    #[test]
    fn a_definition_keeps_every_byte_but_its_name() {
        let text =
            r#"{"tools":[ {"x-vendor" : [1.10, 1e2], "name":"a\u0062", "inputSchema":{"$ref":"x"}} ]}"#;
        let page = listing::read_page(&Raw::parse(Bytes::from_static(text.as_bytes())).expect("JSON"))
            .expect("a page");
        assert_eq!(&*page.tools[0].native, "ab");
        let row = row(&alias("db"), &page.tools[0], "ab", "db-ab");
        assert_eq!(
            row.merged.as_str(),
            r#"{"x-vendor" : [1.10, 1e2], "name":"db-ab", "inputSchema":{"$ref":"x"}}"#
        );
        assert_eq!(row.own, page.tools[0].raw);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_public_names_are_unique(
            a in proptest::collection::hash_set("\\PC{1,80}", 0..20), b in proptest::collection::hash_set("[a-z._]{1,4}", 0..20),
        ) {
            let (a, b): (Vec<_>, Vec<_>) = (a.into_iter().collect(), b.into_iter().collect());
            let sources = BTreeMap::from([
                (alias("a"), source(&a, &Show::default())), (alias("b"), source(&b, &Show::default())),
            ]);
            let catalog = merge(&sources, &NameRules::default());
            prop_assert_eq!(catalog.tools.len(), a.len() + b.len());
            let names: HashSet<_> = catalog.tools.iter().map(|row| &row.public).collect();
            prop_assert_eq!(names.len(), catalog.tools.len());
            prop_assert_eq!(&catalog.tools, &merge(&sources, &NameRules::default()).tools);
        }
    }
}
