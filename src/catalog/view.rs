//! What one grant sees on one endpoint: names to look up, pages rendered once per snapshot.

use crate::{
    catalog::{
        merge::{Catalog, Row},
        name::Alias,
        page,
    },
    wire::raw::Raw,
};
use dashmap::DashMap;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

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
    rows: HashMap<Box<str>, Arc<Row>>,
    order: HashMap<Box<str>, usize>,
    pages: Vec<Raw>,
    /// The same for equal views of two snapshots.
    pub digest: u64,
}

/// The views of a snapshot that were asked for so far; they go when the snapshot goes.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Views(DashMap<(u64, Scope), Arc<View>>);

/// Views beyond this many are made anew each time: subsets of aliases are many, and clients name them.
const MOST_VIEWS: usize = 1024;

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
    /// The view of a grant, which `allows` decides by row and `grant` names.
    pub fn view(&self, grant: u64, scope: &Scope, allows: impl Fn(&Row) -> bool) -> Arc<View> {
        let key = (grant, scope.clone());
        if let Some(view) = self.views.0.get(&key) {
            return view.clone();
        }
        let rows = self.tools.iter().filter(|row| scope.includes(&row.alias) && allows(row));
        let view = Arc::new(View::new(rows, matches!(scope, Scope::One(_))));
        if self.views.0.len() < MOST_VIEWS {
            self.views.0.insert(key, view.clone());
        }
        view
    }
}

// === impl View ===

impl View {
    fn new<'a>(rows: impl Iterator<Item = &'a Arc<Row>>, own_names: bool) -> Self {
        let rows: Vec<_> = rows.collect();
        let name = |row: &Row| if own_names { row.shown.clone() } else { row.public.clone() };
        let definition = |row: &Row| if own_names { row.own.clone() } else { row.merged.clone() };
        let mut digest = DefaultHasher::new();
        let mut pages: Vec<Raw> = Vec::new();
        let chunks: Vec<_> = rows.chunks(page::PAGE).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut text = b"{\"tools\":[".to_vec();
            for (position, row) in chunk.iter().enumerate() {
                if position > 0 {
                    text.push(b',');
                }
                text.extend_from_slice(definition(row).as_bytes());
            }
            text.push(b']');
            if let Some(last) = chunk.last().filter(|_| index + 1 < chunks.len()) {
                text.extend_from_slice(b",\"nextCursor\":");
                text.extend_from_slice(Raw::of(&page::cursor_after(&name(last))).as_bytes());
            }
            text.push(b'}');
            text.hash(&mut digest);
            pages.push(Raw::spliced(text.into()));
        }
        if pages.is_empty() {
            pages.push(Raw::spliced(b"{\"tools\":[]}".as_slice().into()));
        }
        Self {
            order: rows.iter().enumerate().map(|(index, row)| (name(row), index)).collect(),
            rows: rows.into_iter().map(|row| (name(row), row.clone())).collect(),
            pages,
            digest: digest.finish(),
        }
    }

    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Row>> {
        self.rows.get(name)
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The page that the cursor names (the first without one); `None` for a cursor that is not ours or whose tool
    /// is gone.
    pub fn page(&self, cursor: Option<&str>) -> Option<Raw> {
        let index = match cursor {
            None => 0,
            Some(cursor) => (self.order.get(page::name_of(cursor)?.as_str())? + 1) / page::PAGE,
        };
        self.pages.get(index).cloned()
    }
}
