//! How names are made and how one alias is shown, checked.

use std::collections::BTreeMap;

/// How public names are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRules {
    /// What stands between alias and native name; never part of an alias.
    pub separator: String,
    /// The longest public name, in bytes.
    pub max_length: usize,
}

impl Default for NameRules {
    fn default() -> Self {
        Self { separator: "-".into(), max_length: 64 }
    }
}

/// How one alias is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Show {
    /// What it is, for people.
    pub description: Option<String>,
    /// Whether the names of its tools and prompts begin with the alias on the aggregate endpoints.
    pub prefix: bool,
    /// Globs over native tool names: if given, only these are shown.
    pub allow: Option<Vec<String>>,
    /// Globs over native tool names that are not shown; wins over `allow`.
    pub deny: Vec<String>,
    /// Native tool name to the name that is shown in its place.
    pub rename: BTreeMap<String, String>,
}

impl Default for Show {
    fn default() -> Self {
        Self { description: None, prefix: true, allow: None, deny: Vec::new(), rename: BTreeMap::new() }
    }
}
