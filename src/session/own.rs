//! The catalog of one session, where some upstream has other lists for it than for everybody.

use crate::catalog::{listing::Listing, merge::Catalog, name::Alias};
use std::sync::{Arc, Mutex, PoisonError};

/// The last catalog of a session's own.
#[derive(Debug, Default)]
pub struct Own(Mutex<Option<Made>>);

#[derive(Debug)]
struct Made {
    base: Arc<Catalog>,
    lists: Vec<(Alias, Arc<Listing>)>,
    catalog: Arc<Catalog>,
}

// === impl Own ===

impl Own {
    /// The catalog that `merge` gives for these lists in place of those in `base`; made again when either changes.
    pub fn catalog(
        &self,
        base: &Arc<Catalog>,
        lists: Vec<(Alias, Arc<Listing>)>,
        merge: impl FnOnce(&[(Alias, Arc<Listing>)]) -> Catalog,
    ) -> Arc<Catalog> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |made: &Made| {
            let pairs = || made.lists.iter().zip(&lists);
            Arc::ptr_eq(&made.base, base)
                && made.lists.len() == lists.len()
                && pairs().all(|((alias, old), (other, new))| alias == other && Arc::ptr_eq(old, new))
        };
        if let Some(made) = made.as_ref().filter(|made| is_same(made)) {
            return made.catalog.clone();
        }
        let catalog = Arc::new(merge(&lists));
        *made = Some(Made { base: base.clone(), lists, catalog: catalog.clone() });
        catalog
    }
}
