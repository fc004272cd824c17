//! What one grant sees on one endpoint: names to look up, pages rendered once per snapshot.

use crate::{
    catalog::{
        hint::{Hint, Hints},
        listing::Kind,
        merge::{Catalog, Item, Row},
        name::Alias,
        page::{self, Dialect, Sheet},
        uris::{Resolved, Uris},
    },
    protocol::links::Link,
    wire::{raw::Raw, splice::splice},
};
use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ops::Range,
    sync::{Arc, OnceLock},
};
use tokio::time::Instant;

/// Which aliases an endpoint shows, and under which names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All, under public names.
    All,
    /// Some, under public names; sorted.
    Some(Arc<[Alias]>),
    /// One, under the names that the upstream gave.
    One(Alias),
}

/// What one grant sees on one endpoint.
#[derive(Debug)]
pub struct View {
    /// The alias whose own endpoint it is: there everything is as the upstream says it.
    own: Option<Alias>,
    /// Sorted.
    aliases: Vec<Alias>,
    tools: Names,
    prompts: Names,
    resources: Vec<Arc<Item>>,
    templates: Vec<Arc<Item>>,
    /// Found out when somebody lists, or names a URI; calls of tools need only names.
    uris: OnceLock<Uris>,
    /// Of `aliases`.
    hints: Vec<Option<Arc<Hints>>>,
    lists: [List; Kind::ALL.len()],
}

/// What a grant allows.
pub struct Allows<'a> {
    /// Whether it sees this tool.
    pub tool: &'a dyn Fn(&Row) -> bool,
    /// Whether it sees the prompts, resources and resource templates of this alias.
    pub alias: &'a dyn Fn(&Alias) -> bool,
}

/// Which lists are not what they were; resources and their templates share one notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The tools.
    pub tools: bool,
    /// The prompts.
    pub prompts: bool,
    /// The resources or the resource templates.
    pub resources: bool,
}

/// Rows and their names.
#[derive(Debug)]
struct Names {
    order: Vec<Arc<Row>>,
    by_name: HashMap<Box<str>, usize>,
}

/// What is made of one list once, when it is needed.
#[derive(Debug, Default)]
struct List {
    sheet: Sheet,
    digest: OnceLock<u64>,
}

// === impl Scope ===

impl Scope {
    /// Whether the endpoint shows this alias.
    pub fn includes(&self, alias: &Alias) -> bool {
        match self {
            Self::All => true,
            Self::Some(aliases) => aliases.contains(alias),
            Self::One(one) => one == alias,
        }
    }
}

// === impl Catalog ===

impl Catalog {
    /// The view of a grant, which `grant` names.
    pub fn view(&self, grant: u64, scope: &Scope, allows: Allows<'_>) -> Arc<View> {
        let key = (grant, scope.clone());
        if let Some(view) = self.views.find(&key) {
            return view;
        }
        let view = Arc::new(View::new(self, scope, &allows));
        self.views.keep(key, view.clone());
        view
    }
}

// === impl Names ===

impl Names {
    fn new(rows: impl Iterator<Item = Arc<Row>>, is_own: bool) -> Self {
        let order: Vec<_> = rows.collect();
        let name = |row: &Row| if is_own { row.shown.clone() } else { row.public.clone() };
        let by_name = order.iter().enumerate().map(|(index, row)| (name(row), index)).collect();
        Self { order, by_name }
    }

    fn find(&self, name: &str) -> Option<&Arc<Row>> {
        self.by_name.get(name).map(|&index| &self.order[index])
    }
}

// === impl View ===

impl View {
    fn new(catalog: &Catalog, scope: &Scope, allows: &Allows<'_>) -> Self {
        let own = match scope {
            Scope::One(alias) => Some(alias.clone()),
            Scope::All | Scope::Some(_) => None,
        };
        let sees = |alias: &Alias| scope.includes(alias) && (allows.alias)(alias);
        let all = catalog.aliases.iter().cloned().zip(catalog.hints.iter().cloned());
        let (aliases, hints): (Vec<Alias>, Vec<_>) = all.filter(|(alias, _)| sees(alias)).unzip();
        let has = |alias: &Alias| aliases.binary_search(alias).is_ok();
        let tools = catalog.tools.iter().filter(|row| scope.includes(&row.alias) && (allows.tool)(row));
        let prompts = catalog.prompts.iter().filter(|row| has(&row.alias));
        let items =
            |all: &[Arc<Item>]| all.iter().filter(|item| has(&item.alias)).cloned().collect::<Vec<_>>();
        Self {
            tools: Names::new(tools.cloned(), own.is_some()),
            prompts: Names::new(prompts.cloned(), own.is_some()),
            resources: items(&catalog.resources),
            templates: items(&catalog.templates),
            uris: OnceLock::new(),
            lists: Default::default(),
            hints,
            aliases,
            own,
        }
    }

    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Row>> {
        self.tools.find(name)
    }

    /// All tools.
    pub(in crate::catalog) fn tools(&self) -> impl Iterator<Item = &Arc<Row>> {
        self.tools.order.iter()
    }

    /// The prompt of that name.
    pub fn prompt(&self, name: &str) -> Option<&Arc<Row>> {
        self.prompts.find(name)
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.tools.order.len()
    }

    /// Whether there are no tools.
    pub fn is_empty(&self) -> bool {
        self.tools.order.is_empty()
    }

    /// The aliases whose prompts, resources and resource templates are in it, sorted.
    pub fn aliases(&self) -> &[Alias] {
        &self.aliases
    }

    /// The alias whose own endpoint it is.
    pub fn own(&self) -> Option<&Alias> {
        self.own.as_ref()
    }

    /// What a URI leads to. On an alias's own endpoint that is always the alias.
    pub fn resolve<'a>(&'a self, uri: &'a str) -> Resolved<'a> {
        self.lead(uri, Uris::resolve)
    }

    /// What a URI template leads to, or a URI, as completions name one or the other.
    pub fn resolve_template<'a>(&'a self, shown: &'a str) -> Resolved<'a> {
        self.lead(shown, Uris::resolve_template)
    }

    /// The form in which a URI that an upstream uses is shown, if it cannot be shown as it is: to this caller it would
    /// lead to another upstream, or to several.
    pub fn shown_uri(&self, alias: &Alias, native: &str) -> Option<String> {
        self.uris().and_then(|uris| uris.shown(alias, native))
    }

    /// The page that the cursor names (the first without one), as it is in every answer but for [`View::hint`]; `None`
    /// for a cursor that is not ours or whose item is gone.
    pub fn page(&self, kind: Kind, cursor: Option<&str>, dialect: Dialect) -> Option<Raw> {
        let index = match cursor {
            None => 0,
            Some(cursor) => (self.position(kind, &page::name_of(cursor)?)? + 1) / page::PAGE,
        };
        let name = |index| self.name(kind, index).into_owned();
        let definition = |index| self.definition(kind, index);
        let sheet = &self.lists[kind as usize].sheet;
        sheet.pages(kind, dialect, self.count(kind), definition, name).get(index).cloned()
    }

    /// For how long a list may be kept from now on, and for whom: no longer than the upstreams that it is of said, and
    /// nothing is promised while one of them never answered. Who may see the list at all is not asked here: where
    /// that differs between callers, it is private.
    pub fn hint(&self, kind: Kind) -> Hint {
        let now = Instant::now();
        let left = |hints: &Option<Arc<Hints>>| match hints {
            Some(hints) => hints.left(kind, now),
            None => Some(Hint::default()),
        };
        self.hints.iter().filter_map(left).reduce(Hint::and).unwrap_or_default()
    }

    /// The same for equal lists of two snapshots.
    pub fn digest(&self, kind: Kind) -> u64 {
        *self.lists[kind as usize].digest.get_or_init(|| {
            let mut digest = DefaultHasher::new();
            for index in 0..self.count(kind) {
                match kind {
                    Kind::Tools | Kind::Prompts => self.names(kind).order[index].digest.hash(&mut digest),
                    Kind::Resources | Kind::Templates => self.items(kind)[index].digest.hash(&mut digest),
                }
                for (_, text) in self.edits(kind, index) {
                    text.as_bytes().hash(&mut digest);
                }
            }
            digest.finish()
        })
    }

    /// Which lists are others in a later view.
    pub fn changes(&self, later: &Self) -> Changes {
        let differs = |kind| self.digest(kind) != later.digest(kind);
        Changes {
            tools: differs(Kind::Tools),
            prompts: differs(Kind::Prompts),
            resources: differs(Kind::Resources) || differs(Kind::Templates),
        }
    }

    fn lead<'a>(&'a self, uri: &'a str, resolve: impl Fn(&'a Uris, &'a str) -> Resolved<'a>) -> Resolved<'a> {
        match (&self.own, self.uris()) {
            (Some(alias), _) if self.aliases.contains(alias) => Resolved::One { alias, native: uri.into() },
            (_, Some(uris)) => resolve(uris, uri),
            _ => Resolved::Unknown,
        }
    }

    /// Who claims what; on an alias's own endpoint nobody needs to.
    fn uris(&self) -> Option<&Uris> {
        let make = || {
            let listed = self.resources.iter().map(|item| (&item.alias, item.native.clone()));
            let interface =
                |row: &'_ Row| row.interface.iter().map(|link| link.uri.as_str().into()).collect();
            let used = self.tools.order.iter().flat_map(|row| {
                let uris: Vec<Arc<str>> = interface(row);
                uris.into_iter().map(|uri| (&row.alias, uri))
            });
            let templates = self.templates.iter().map(|item| (&item.alias, item.native.clone()));
            Uris::new(self.aliases.clone(), listed.chain(used), templates)
        };
        self.own.is_none().then(|| self.uris.get_or_init(make))
    }

    fn names(&self, kind: Kind) -> &Names {
        if kind == Kind::Tools { &self.tools } else { &self.prompts }
    }

    fn items(&self, kind: Kind) -> &[Arc<Item>] {
        if kind == Kind::Resources { &self.resources } else { &self.templates }
    }

    fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Tools | Kind::Prompts => self.names(kind).order.len(),
            Kind::Resources | Kind::Templates => self.items(kind).len(),
        }
    }

    /// What the item is called here.
    fn name(&self, kind: Kind, index: usize) -> Cow<'_, str> {
        match kind {
            Kind::Tools | Kind::Prompts => {
                let row = &self.names(kind).order[index];
                if self.own.is_some() { (&*row.shown).into() } else { (&*row.public).into() }
            }
            Kind::Resources | Kind::Templates => {
                let item = &self.items(kind)[index];
                self.shown_item(kind, item).map_or(Cow::Borrowed(&*item.native), Cow::Owned)
            }
        }
    }

    fn position(&self, kind: Kind, name: &str) -> Option<usize> {
        match kind {
            Kind::Tools | Kind::Prompts => self.names(kind).by_name.get(name).copied(),
            Kind::Resources | Kind::Templates => {
                (0..self.count(kind)).find(|&index| self.name(kind, index) == name)
            }
        }
    }

    fn shown_item(&self, kind: Kind, item: &Item) -> Option<String> {
        let uris = self.uris()?;
        if kind == Kind::Resources {
            uris.shown_claim(&item.alias, &item.native)
        } else {
            uris.shown_template(&item.alias, &item.native)
        }
    }

    /// What is changed in a definition: URIs that must be qualified, and nothing else.
    fn edits(&self, kind: Kind, index: usize) -> Vec<(Range<usize>, Raw)> {
        match kind {
            Kind::Prompts => Vec::new(),
            Kind::Tools => {
                let row = &self.tools.order[index];
                let shown = |link: &Link| {
                    Some((link.at.clone(), Raw::of(&self.uris()?.shown_claim(&row.alias, &link.uri)?)))
                };
                row.interface.iter().filter_map(shown).collect()
            }
            Kind::Resources | Kind::Templates => {
                let item = &self.items(kind)[index];
                let shown = self.shown_item(kind, item);
                shown.map(|shown| (item.name_at.clone(), Raw::of(&shown))).into_iter().collect()
            }
        }
    }

    fn definition(&self, kind: Kind, index: usize) -> Raw {
        let definition = match kind {
            Kind::Tools | Kind::Prompts => {
                let row = &self.names(kind).order[index];
                if self.own.is_some() { &row.own } else { &row.merged }
            }
            Kind::Resources | Kind::Templates => &self.items(kind)[index].raw,
        };
        let edits = self.edits(kind, index);
        if edits.is_empty() {
            return definition.clone();
        }
        let mut edits: Vec<_> = edits.iter().map(|(at, text)| (at.clone(), text.as_bytes())).collect();
        // JSON strings in the place of JSON strings: still valid.
        Raw::spliced(splice(definition.as_bytes(), &mut edits))
    }
}

// === impl Allows ===

impl fmt::Debug for Allows<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Allows")
    }
}

#[cfg(test)]
mod tests {
    use super::{Allows, Scope, View};
    use crate::{
        catalog::{
            listing::{Kind, Listing, Mirroring, read_page},
            merge::{Catalog, ShowRules, Source, merge},
            name::Alias,
            page::{self, Dialect},
            settings::{NameRules, Show},
        },
        wire::raw::Raw,
    };
    use bytes::Bytes;
    use std::{collections::BTreeMap, sync::Arc};

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("an alias")
    }

    fn catalog(sources: &[(&str, &[(Kind, String)])]) -> Catalog {
        let source = |lists: &[(Kind, String)]| {
            let mut listing = Listing::default();
            for (kind, list) in lists {
                let text = format!("{{\"{}\":[{list}]}}", kind.key());
                let raw = Raw::parse(Bytes::from(text)).expect("JSON");
                *listing.of_mut(*kind) = read_page(*kind, &raw, Mirroring::Unsent).expect("a page").items;
            }
            let show = Arc::new(ShowRules::new(&Show::default()).expect("rules"));
            Source { show, listing: Some(Arc::new(listing)) }
        };
        let sources: BTreeMap<_, _> =
            sources.iter().map(|(name, lists)| (alias(name), source(lists))).collect();
        merge(&sources, &NameRules::default())
    }

    fn view(catalog: &Catalog, scope: &Scope) -> Arc<View> {
        catalog.view(0, scope, Allows { tool: &|_| true, alias: &|_| true })
    }

    #[test]
    fn definitions_keep_every_byte_but_what_must_be_another() {
        let lists = [
            (Kind::Tools, r#"{"name" : "t","x":1.10,"_meta":{"ui":{ "resourceUri" :"ui:\u0061"},"ui/resourceUri":"ui:b"}}"#.into()),
            (Kind::Prompts, r#"{ "name":"p", "_meta":{"ui":{"resourceUri":"ui:a"}}}"#.into()),
            (Kind::Resources, r#"{"y":[ 1e2 ],"uri":"ui:\u0061" },{"uri":"ui:d"}"#.into()),
            (Kind::Templates, r#"{"uriTemplate" :"ui:{x}","name":"uriTemplate"}"#.into()),
        ];
        let other = [(Kind::Resources, r#"{"uri":"ui:a"}"#.to_owned())];
        let alone = catalog(&[("db", &lists), ("other", &[])]);
        let both = catalog(&[("db", &lists), ("other", &other)]);
        let text = |view: &View| {
            Kind::ALL
                .map(|kind| view.page(kind, None, Dialect::Handshake).expect("a page").to_string())
                .join("\n")
        };
        insta::assert_snapshot!(text(&view(&both, &Scope::All)), @r#"
        {"tools":[{"name" : "db-t","x":1.10,"_meta":{"ui":{ "resourceUri" :"ui:db/a"},"ui/resourceUri":"ui:b"}}]}
        {"prompts":[{ "name":"db-p", "_meta":{"ui":{"resourceUri":"ui:a"}}}]}
        {"resources":[{"y":[ 1e2 ],"uri":"ui:db/a" },{"uri":"ui:d"},{"uri":"ui:other/a"}]}
        {"resourceTemplates":[{"uriTemplate" :"ui:{x}","name":"uriTemplate"}]}
        "#);
        let unique = text(&view(&alone, &Scope::All));
        assert_eq!(
            unique.replace("db-t", "t").replace("db-p", "p"),
            text(&view(&both, &Scope::One(alias("db"))))
        );
        // What another upstream claims changes what is seen of this one.
        let changes = view(&alone, &Scope::All).changes(&view(&both, &Scope::All));
        assert!(changes.tools && !changes.prompts && changes.resources);
    }

    #[test]
    fn pages_are_a_partition_of_the_view() {
        let count = 2 * page::PAGE + 1;
        let lists = |name: &str| {
            Kind::ALL.map(|kind| {
                let item = |number: usize| format!(r#"{{"{}":"s:{name}{number}"}}"#, kind.named_by());
                (kind, (0..count / 2).map(item).collect::<Vec<_>>().join(","))
            })
        };
        let last = Kind::ALL.map(|kind| (kind, format!(r#"{{"{}":"s:x0"}}"#, kind.named_by())));
        let all = catalog(&[("a", &lists("x")), ("b", &lists("y")), ("c", &last)]);
        let view = view(&all, &Scope::All);
        for kind in Kind::ALL {
            let (mut items, mut cursor) = (Vec::new(), None);
            loop {
                let page = view.page(kind, cursor.as_deref(), Dialect::Handshake).expect("a page");
                let page: serde_json::Value = serde_json::from_str(page.as_str()).expect("JSON");
                let page_items = page[kind.key()].as_array().expect("items");
                assert!((1..=page::PAGE).contains(&page_items.len()));
                items.extend(page_items.iter().map(|item| item[kind.named_by()].to_string()));
                match page["nextCursor"].as_str() {
                    Some(next) => cursor = Some(next.to_owned()),
                    None => break,
                }
            }
            assert_eq!(items.len(), count);
            items.sort();
            items.dedup();
            assert_eq!(items.len(), count);
            assert_eq!(view.page(kind, Some("no cursor"), Dialect::Handshake), None);
            assert_eq!(view.page(kind, Some(&page::cursor_after("gone")), Dialect::Handshake), None);
        }
    }

    #[test]
    fn what_is_hidden_is_in_no_list() {
        let lists = Kind::ALL.map(|kind| (kind, format!(r#"{{"{}":"s:{{x}}"}}"#, kind.named_by())));
        let all = catalog(&[("a", &lists), ("b", &lists)]);
        let allows = Allows { tool: &|row| row.alias.as_str() == "a", alias: &|alias| alias.as_str() == "b" };
        let view = all.view(0, &Scope::All, allows);
        assert_eq!((view.len(), view.is_empty()), (1, false));
        assert!(view.tool("a-s__x__a8a6ab5bcd").is_none() && view.aliases() == [alias("b")]);
        assert_eq!(
            view.page(Kind::Resources, None, Dialect::Handshake).expect("a page").as_str(),
            r#"{"resources":[{"uri":"s:{x}"}]}"#
        );
        let own = all.view(0, &Scope::One(alias("b")), Allows { tool: &|_| true, alias: &|_| true });
        assert!(own.tool("s:{x}").is_some() && own.prompt("s:{x}").is_some() && own.prompt("b-x").is_none());
    }
}
