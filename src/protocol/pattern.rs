//! Globs over names, as configuration files write them.

use globset::{Glob, GlobSet, GlobSetBuilder};

/// Compiles globs (`*`, `?`, `[…]`); the text names the one that is none.
pub fn compile(globs: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(Glob::new(glob).map_err(|error| format!("`{glob}` is not a glob: {}", error.kind()))?);
    }
    set.build().map_err(|error| error.to_string())
}
