//! Listings and alias rules become one catalog: collisions are decided the same way every time, and reported.

use crate::{
    catalog::{
        hint::Hints,
        listing::{self, Definition, Kind, Listing},
        name::{self, Alias},
        settings::{NameRules, Show},
        views::Views,
    },
    protocol::{
        headers::Mirrored,
        links::{self, Link},
        pattern::compile,
        shape,
    },
    wire::{message::excerpt, raw::Raw, splice::splice},
};
use globset::GlobSet;
use std::{
    collections::{BTreeMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher as _},
    ops::Range,
    sync::Arc,
};

/// One snapshot of everything that upstreams offer; of each kind by alias, within one in the upstream's order.
#[derive(Debug)]
pub struct Catalog {
    /// Every configured alias, also those that never answered yet; sorted.
    pub aliases: Vec<Alias>,
    /// The tools.
    pub tools: Vec<Arc<Row>>,
    /// The prompts.
    pub prompts: Vec<Arc<Row>>,
    /// The resources.
    pub resources: Vec<Arc<Item>>,
    /// The resource templates.
    pub templates: Vec<Arc<Item>>,
    /// For how long what each upstream lists may be kept, in the order of `aliases`; nothing of those that never
    /// answered yet.
    pub(in crate::catalog) hints: Vec<Option<Arc<Hints>>>,
    /// What was decided where upstreams contradicted each other or themselves, for the log.
    pub decisions: Vec<String>,
    pub(in crate::catalog) views: Views,
}

/// One tool or prompt under its public name.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name on the aggregate endpoint.
    pub public: Box<str>,
    /// The same with the alias in front, also where `public` goes without: what grants are about, so that no
    /// upstream can take a name that is meant to be another's.
    pub prefixed: Box<str>,
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
    /// The URIs of its interface, and where they stand in `merged`.
    pub interface: Box<[Link]>,
    /// The arguments that it wants in headers as well, if its schema says so as it should.
    pub mirrored: Box<[Mirrored]>,
    /// Whether it can only be called with a task (2025-11-25).
    pub needs_task: bool,
    /// Of both definitions.
    pub digest: u64,
}

/// One resource or resource template.
#[derive(Debug, PartialEq, Eq)]
pub struct Item {
    /// Whose it is.
    pub alias: Alias,
    /// Its URI or URI template.
    pub native: Arc<str>,
    /// The definition.
    pub raw: Raw,
    /// Where the JSON string of `native` stands in it.
    pub name_at: Range<usize>,
    /// Of the definition.
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
    prefix: bool,
    allow: Option<GlobSet>,
    deny: GlobSet,
    rename: BTreeMap<String, String>,
}

/// A row that has no public name yet.
struct Draft<'a> {
    alias: &'a Alias,
    definition: &'a Definition,
    shown: &'a str,
    /// The name that it has if nobody else has it.
    wanted: String,
    /// The name with the alias that it has.
    prefixed: Option<String>,
}

/// A merge under way.
struct Merge<'a> {
    sources: &'a BTreeMap<Alias, Source>,
    rules: &'a NameRules,
    decisions: Vec<String>,
}

// === impl ShowRules ===

impl ShowRules {
    /// Compiles the globs; the text names the one that is none.
    pub fn new(show: &Show) -> Result<Self, String> {
        let allow = show.allow.as_ref().map(|globs| compile(globs)).transpose()?;
        Ok(Self { prefix: show.prefix, allow, deny: compile(&show.deny)?, rename: show.rename.clone() })
    }

    /// Whether something that is in no list may be called by its own name: these rules do not speak of it.
    pub fn passes(&self, kind: Kind, native: &str) -> bool {
        self.shows(kind, native) && (kind != Kind::Tools || !self.rename.contains_key(native))
    }

    /// These rules are about tools; of every other kind everything is shown.
    fn shows(&self, kind: Kind, native: &str) -> bool {
        kind != Kind::Tools
            || !self.deny.is_match(native) && self.allow.as_ref().is_none_or(|allow| allow.is_match(native))
    }

    fn shown<'a>(&'a self, kind: Kind, native: &'a str) -> &'a str {
        self.rename.get(native).filter(|_| kind == Kind::Tools).map_or(native, String::as_str)
    }
}

// === impl Catalog ===

impl Catalog {
    /// The catalog of a gateway that heard of nobody yet.
    pub fn empty() -> Self {
        merge(&BTreeMap::new(), &NameRules::default())
    }

    /// Whether two snapshots show the same to everybody, and hear of the same upstreams for how long.
    pub fn is_same(&self, other: &Self) -> bool {
        let pairs = || self.hints.iter().zip(&other.hints);
        self.aliases == other.aliases
            && self.tools == other.tools
            && self.prompts == other.prompts
            && self.resources == other.resources
            && self.templates == other.templates
            && pairs().all(|(one, other)| one.as_ref().map(Arc::as_ptr) == other.as_ref().map(Arc::as_ptr))
    }
}

/// Merges; the same sources give the same catalog, in whatever order they came to be.
pub fn merge(sources: &BTreeMap<Alias, Source>, rules: &NameRules) -> Catalog {
    let mut merge = Merge { sources, rules, decisions: Vec::new() };
    Catalog {
        aliases: sources.keys().cloned().collect(),
        tools: merge.rows(Kind::Tools),
        prompts: merge.rows(Kind::Prompts),
        resources: merge.items(Kind::Resources),
        templates: merge.items(Kind::Templates),
        hints: sources.values().map(hints).collect(),
        decisions: merge.decisions,
        views: Views::default(),
    }
}

// === impl Merge ===

impl<'a> Merge<'a> {
    /// Tools or prompts. A public name is one of three: alias and name plainly joined; the same with a hash, where
    /// that is needed; or the name alone, where the alias file asks for it and nobody's name begins so.
    fn rows(&mut self, kind: Kind) -> Vec<Arc<Row>> {
        let mut taken: HashSet<Box<str>> = HashSet::new();
        let mut drafts = self.drafts(kind);
        // Plain names first: a shortened name gives way to a tool that is really called so.
        for draft in &mut drafts {
            let plain = draft.alias.as_str().len() + self.rules.separator.len() + draft.shown.len();
            if draft.wanted.len() == plain && taken.insert(draft.wanted.as_str().into()) {
                draft.prefixed = Some(draft.wanted.clone());
            }
        }
        for draft in drafts.iter_mut().filter(|draft| draft.prefixed.is_none()) {
            draft.prefixed = Some(self.late(draft, &mut taken));
        }
        let mut rows = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let prefixed = draft.prefixed.as_ref().unwrap_or(&draft.wanted);
            let public = if self.is_alone(draft, prefixed, &mut taken) { draft.shown } else { prefixed };
            rows.push(Arc::new(row(draft.alias, draft.definition, draft.shown, public, prefixed)));
        }
        rows
    }

    fn drafts(&mut self, kind: Kind) -> Vec<Draft<'a>> {
        let mut drafts = Vec::new();
        for (alias, source) in self.sources {
            let mut shown_names = HashSet::new();
            for definition in self.firsts(kind, alias, source) {
                let native = &*definition.native;
                if !source.show.shows(kind, native) {
                    continue;
                }
                let shown = source.show.shown(kind, native);
                let shown = if shown_names.insert(shown) { shown } else { native };
                let wanted = name::public_name(alias, shown, self.rules);
                drafts.push(Draft { alias, definition, shown, wanted, prefixed: None });
            }
        }
        drafts
    }

    fn items(&mut self, kind: Kind) -> Vec<Arc<Item>> {
        let mut items = Vec::new();
        for (alias, source) in self.sources {
            items.extend(self.firsts(kind, alias, source).into_iter().map(|definition| {
                let Definition { native, raw, name_at } = definition.clone();
                let digest = digest(&raw);
                Arc::new(Item { alias: alias.clone(), native, raw, name_at, digest })
            }));
        }
        items
    }

    /// What an upstream lists, each name once.
    fn firsts(&mut self, kind: Kind, alias: &Alias, source: &'a Source) -> Vec<&'a Definition> {
        let (mut natives, mut repeated) = (HashSet::new(), None);
        let mut firsts = Vec::new();
        for definition in source.listing.iter().flat_map(|listing| listing.of(kind)) {
            if natives.insert(&*definition.native) {
                firsts.push(definition);
            } else {
                repeated.get_or_insert((&definition.native, 0_usize)).1 += 1;
            }
        }
        if let Some((first, count)) = repeated {
            let (noun, first) = (kind.noun(), excerpt(first));
            self.decisions.push(format!(
                "{alias} lists a {noun} more than once ({count} times, `{first}` first); the first definition counts"
            ));
        }
        firsts
    }

    /// The name of a row whose plain name is none, or is taken.
    fn late(&mut self, draft: &Draft<'_>, taken: &mut HashSet<Box<str>>) -> String {
        let Draft { alias, shown, wanted, .. } = draft;
        let mut public = wanted.clone();
        // Bounded: each try hashes another text, and there are finitely many names taken.
        for attempt in 1..=taken.len() + 1 {
            if taken.insert(public.as_str().into()) {
                break;
            }
            public = name::short_name(alias, &format!("{shown}#{attempt}"), self.rules);
            self.decisions.push(format!("`{wanted}` of {alias} is taken already; it is shown as `{public}`"));
        }
        public
    }

    /// Whether a row goes by its name alone.
    fn is_alone(&mut self, draft: &Draft<'_>, prefixed: &str, taken: &mut HashSet<Box<str>>) -> bool {
        let Draft { alias, shown, .. } = draft;
        if self.sources[*alias].show.prefix || !name::is_public(shown, self.rules.max_length) {
            return false;
        }
        // Also while the other upstream has no such name: it may come at any time, and must find its name free.
        let begins = |other: &&Alias| {
            shown.strip_prefix(other.as_str()).is_some_and(|rest| rest.starts_with(&self.rules.separator))
        };
        let why = if let Some(other) = self.sources.keys().filter(|other| other != alias).find(begins) {
            format!("begins like the names of {other}")
        } else if taken.insert((*shown).into()) {
            return true;
        } else {
            "is taken already".into()
        };
        self.decisions.push(format!("`{shown}` of {alias} {why}; it is shown as `{prefixed}`"));
        false
    }
}

fn row(alias: &Alias, definition: &Definition, shown: &str, public: &str, prefixed: &str) -> Row {
    let named = |name: &str| {
        let text = Raw::of(name);
        // A JSON string in a JSON string's place: still valid.
        let edits = &mut [(definition.name_at.clone(), text.as_bytes())];
        Raw::spliced(splice(definition.raw.as_bytes(), edits))
    };
    let merged = named(public);
    let own = if shown == &*definition.native { definition.raw.clone() } else { named(shown) };
    Row {
        public: public.into(),
        prefixed: prefixed.into(),
        alias: alias.clone(),
        native: definition.native.clone(),
        native_json: Raw::of(&*definition.native),
        shown: shown.into(),
        interface: links::of_interface(&merged).into(),
        mirrored: listing::mirrored(&merged).unwrap_or_default().into(),
        needs_task: shape::needs_task(&own),
        digest: digest(&(&merged, &own)),
        merged,
        own,
    }
}

fn hints(source: &Source) -> Option<Arc<Hints>> {
    source.listing.as_ref().map(|listing| listing.hints.clone())
}

fn digest(value: &impl Hash) -> u64 {
    let mut digest = DefaultHasher::new();
    value.hash(&mut digest);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::{ShowRules, Source, merge, row};
    use crate::{
        catalog::{
            listing::{self, Kind, Listing, Mirroring},
            name::{self, Alias},
            settings::{NameRules, Show},
        },
        wire::raw::Raw,
    };
    use bytes::Bytes;
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use std::{
        collections::{BTreeMap, HashSet},
        sync::Arc,
    };

    fn listing(names: &[String]) -> Arc<Listing> {
        let mut listing = Listing::default();
        for kind in Kind::ALL {
            let items: Vec<_> = names
                .iter()
                .map(|name| serde_json::json!({"inputSchema": {}, kind.named_by(): name}))
                .collect();
            let page = listing::read_page(
                kind,
                &Raw::of(&serde_json::json!({kind.key(): items})),
                Mirroring::Unsent,
            );
            *listing.of_mut(kind) = page.expect("a page").items;
        }
        Arc::new(listing)
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
        for rows in [&catalog.tools, &catalog.prompts] {
            assert_eq!(rows.len(), 2);
            assert_eq!(&*rows[1].public, short.as_str());
            assert_ne!(rows[0].public, rows[1].public);
        }
        assert_eq!(catalog.decisions.len(), 2, "for tools and for prompts: {:?}", catalog.decisions);
    }

    #[test]
    fn rows_know_which_arguments_stand_in_headers() {
        let row = |header: serde_json::Value| {
            let schema = serde_json::json!({"properties": {"r": {"type": "string", "x-mcp-header": header}}});
            let list = serde_json::json!({"tools": [{"name": "t", "inputSchema": schema}]});
            let page = listing::read_page(Kind::Tools, &Raw::of(&list), Mirroring::Unsent);
            row(&alias("db"), &page.expect("a page").items[0], "t", "db-t", "db-t")
        };
        assert_eq!(row("Region".into()).mirrored[0].path, ["r"]);
        assert!(row(7.into()).mirrored.is_empty());
    }

    #[test]
    fn a_definition_keeps_every_byte_but_its_name() {
        let text =
            r#"{"tools":[ {"x-vendor" : [1.10, 1e2], "name":"a\u0062", "inputSchema":{"$ref":"x"}} ]}"#;
        let raw = Raw::parse(Bytes::from_static(text.as_bytes())).expect("JSON");
        let page = listing::read_page(Kind::Tools, &raw, Mirroring::Unsent).expect("a page");
        assert_eq!(&*page.items[0].native, "ab");
        let row = row(&alias("db"), &page.items[0], "ab", "db-ab", "db-ab");
        assert_eq!(
            row.merged.as_str(),
            r#"{"x-vendor" : [1.10, 1e2], "name":"db-ab", "inputSchema":{"$ref":"x"}}"#
        );
        assert_eq!(row.own, page.items[0].raw);
    }

    #[test]
    fn names_without_the_alias_where_nobody_else_is_meant() {
        let bare = Show { prefix: false, ..Show::default() };
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let sources = BTreeMap::from([
            (alias("db"), source(&names(&["query"]), &Show::default())),
            (alias("down"), Source { listing: None, ..source(&[], &Show::default()) }),
            (alias("one"), source(&names(&["query", "a.b", "db-query", "down-x", "one-query"]), &bare)),
            (alias("two"), source(&names(&["query", "free"]), &bare)),
        ]);
        let catalog = merge(&sources, &NameRules::default());
        let lines: Vec<_> =
            catalog.tools.iter().map(|row| format!("{} {}", row.public, row.prefixed)).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        db-query db-query
        query one-query
        one-a_b_2e7336dc8e one-a_b_2e7336dc8e
        one-db-query one-db-query
        one-down-x one-down-x
        one-one-query one-one-query
        two-query two-query
        free two-free
        ");
        insta::assert_snapshot!(catalog.decisions[..catalog.decisions.len() / 2].join("\n"), @r"
        `db-query` of one begins like the names of db; it is shown as `one-db-query`
        `down-x` of one begins like the names of down; it is shown as `one-down-x`
        `one-query` of one is taken already; it is shown as `one-one-query`
        `query` of two is taken already; it is shown as `two-query`
        ");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_public_names_are_unique(
            a in proptest::collection::hash_set("\\PC{1,80}", 0..20), b in proptest::collection::hash_set("[a-z._]{1,4}", 0..20),
            c in proptest::collection::hash_set("([abc]-)?[a-z.]{1,2}", 0..20), prefix in proptest::array::uniform3(proptest::bool::ANY),
        ) {
            let all: [Vec<String>; 3] = [a, b, c].map(|names| names.into_iter().collect());
            let count = all.iter().map(Vec::len).sum::<usize>();
            let sources: BTreeMap<_, _> = ["a", "b", "c"].iter().zip(&all).zip(prefix).map(|((name, names), prefix)| {
                (alias(name), source(names, &Show { prefix, ..Show::default() }))
            }).collect();
            let catalog = merge(&sources, &NameRules::default());
            for rows in [&catalog.tools, &catalog.prompts] {
                prop_assert_eq!(rows.len(), count);
                let names: HashSet<_> = rows.iter().map(|row| &row.public).collect();
                prop_assert_eq!(names.len(), count);
                let prefixed: HashSet<_> = rows.iter().map(|row| &row.prefixed).collect();
                prop_assert_eq!(prefixed.len(), count);
                for row in rows {
                    let begins = format!("{}-", row.alias);
                    prop_assert!(row.prefixed.starts_with(&begins));
                    prop_assert!(row.public == row.prefixed || *row.public == *row.native);
                }
            }
            prop_assert_eq!(catalog.resources.len(), count);
            prop_assert_eq!(catalog.templates.len(), count);
            prop_assert!(catalog.is_same(&merge(&sources, &NameRules::default())));
        }
    }
}
