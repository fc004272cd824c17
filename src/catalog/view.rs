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
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
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
    own_names: bool,
    order: Vec<Arc<Row>>,
    by_name: HashMap<Box<str>, usize>,
    /// Rendered when somebody lists; calls need only names.
    pages: OnceLock<Vec<Raw>>,
    /// The same for equal views of two snapshots.
    pub digest: u64,
}

/// The views of a snapshot that were asked for; they go when the snapshot goes.
#[derive(Debug, Default)]
pub(in crate::catalog) struct Views {
    /// Of endpoints that the configuration names: as many as it has keys and aliases.
    lasting: DashMap<(u64, Scope), Arc<View>>,
    /// Of subsets, which clients name: the last few, oldest first.
    passing: Mutex<VecDeque<Passing>>,
}

type Passing = ((u64, Scope), Arc<View>);

/// How many views of subsets are kept.
const MOST_PASSING: usize = 16;

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
        if let Some(view) = self.views.find(&key) {
            return view;
        }
        let rows = self.tools.iter().filter(|row| scope.includes(&row.alias) && allows(row));
        let view = Arc::new(View::new(rows.cloned().collect(), matches!(scope, Scope::One(_))));
        self.views.keep(key, view.clone());
        view
    }
}

// === impl Views ===

impl Views {
    fn find(&self, key: &(u64, Scope)) -> Option<Arc<View>> {
        if matches!(key.1, Scope::Some(_)) {
            return self.passing().iter().find(|(known, _)| known == key).map(|(_, view)| view.clone());
        }
        self.lasting.get(key).map(|view| view.clone())
    }

    fn keep(&self, key: (u64, Scope), view: Arc<View>) {
        if !matches!(key.1, Scope::Some(_)) {
            self.lasting.insert(key, view);
            return;
        }
        let mut passing = self.passing();
        if passing.len() >= MOST_PASSING {
            passing.pop_front();
        }
        passing.push_back((key, view));
    }

    fn passing(&self) -> MutexGuard<'_, VecDeque<Passing>> {
        // No code that holds the lock can panic.
        self.passing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl View ===

impl View {
    fn new(order: Vec<Arc<Row>>, own_names: bool) -> Self {
        let mut digest = DefaultHasher::new();
        for row in &order {
            row.digest.hash(&mut digest);
        }
        let name = |row: &Row| if own_names { row.shown.clone() } else { row.public.clone() };
        let by_name = order.iter().enumerate().map(|(index, row)| (name(row), index)).collect();
        Self { own_names, by_name, pages: OnceLock::new(), digest: digest.finish(), order }
    }

    fn render(&self) -> Vec<Raw> {
        let mut pages: Vec<Raw> = Vec::new();
        let chunks: Vec<_> = self.order.chunks(page::PAGE).collect();
        for (index, chunk) in chunks.iter().enumerate() {
            let mut text = b"{\"tools\":[".to_vec();
            for (position, row) in chunk.iter().enumerate() {
                if position > 0 {
                    text.push(b',');
                }
                let definition = if self.own_names { &row.own } else { &row.merged };
                text.extend_from_slice(definition.as_bytes());
            }
            text.push(b']');
            if let Some(last) = chunk.last().filter(|_| index + 1 < chunks.len()) {
                let last = if self.own_names { &last.shown } else { &last.public };
                text.extend_from_slice(b",\"nextCursor\":");
                text.extend_from_slice(Raw::of(&page::cursor_after(last)).as_bytes());
            }
            text.push(b'}');
            pages.push(Raw::spliced(text.into()));
        }
        if pages.is_empty() {
            pages.push(Raw::spliced(b"{\"tools\":[]}".as_slice().into()));
        }
        pages
    }

    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Arc<Row>> {
        self.by_name.get(name).map(|&index| &self.order[index])
    }

    /// How many tools there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The page that the cursor names (the first without one); `None` for a cursor that is not ours or whose tool
    /// is gone.
    pub fn page(&self, cursor: Option<&str>) -> Option<Raw> {
        let index = match cursor {
            None => 0,
            Some(cursor) => (self.by_name.get(page::name_of(cursor)?.as_str())? + 1) / page::PAGE,
        };
        self.pages.get_or_init(|| self.render()).get(index).cloned()
    }
}
