//! Who may use which names; globs compiled once.

use crate::protocol::pattern::compile;
use globset::GlobSet;

/// What one key may use.
#[derive(Debug)]
pub struct Grant {
    /// Tells grants apart in caches; keys with equal rights may share one.
    pub id: u64,
    aliases: Option<GlobSet>,
    tools: Option<GlobSet>,
}

// === impl Grant ===

impl Grant {
    /// A grant of everything.
    pub fn everything(id: u64) -> Self {
        Self { id, aliases: None, tools: None }
    }

    /// Compiles the globs; the text names the one that is none.
    pub fn new(id: u64, aliases: Option<&[String]>, tools: Option<&[String]>) -> Result<Self, String> {
        Ok(Self { id, aliases: aliases.map(compile).transpose()?, tools: tools.map(compile).transpose()? })
    }

    /// Whether the key may know that this alias exists.
    pub fn allows_alias(&self, alias: &str) -> bool {
        self.aliases.as_ref().is_none_or(|globs| globs.is_match(alias))
    }

    /// Whether the key may use a tool, known as `public` and, where that was shortened, still as `joined`
    /// (`{alias}{separator}{native}`).
    pub fn allows_tool(&self, alias: &str, public: &str, joined: &str) -> bool {
        self.allows_alias(alias)
            && self.tools.as_ref().is_none_or(|globs| globs.is_match(public) || globs.is_match(joined))
    }
}

#[cfg(test)]
mod tests {
    use super::Grant;
    use rstest::rstest;

    #[rstest]
    #[case(None, None, true)]
    #[case(Some(&["db"][..]), None, true)]
    #[case(Some(&["timescale"][..]), None, false)]
    #[case(Some(&[][..]), None, false)]
    #[case(None, Some(&["db-*"][..]), true)]
    #[case(None, Some(&["db-list*", "*-execute_sql"][..]), true)]
    #[case(Some(&["timescale"][..]), Some(&["db-*"][..]), false)]
    #[case(None, Some(&[][..]), false)]
    fn both_lists_must_agree(
        #[case] aliases: Option<&[&str]>,
        #[case] tools: Option<&[&str]>,
        #[case] allowed: bool,
    ) {
        let own = |globs: Option<&[&str]>| {
            globs.map(|globs| globs.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let grant = Grant::new(1, own(aliases).as_deref(), own(tools).as_deref()).expect("globs");
        assert_eq!(grant.allows_tool("db", "db-execute_sql", "db-execute_sql"), allowed);
    }
}
