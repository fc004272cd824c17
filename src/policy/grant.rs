//! Who may use which names; globs compiled once.

use crate::protocol::pattern::compile;
use globset::GlobSet;

/// What one key may use.
#[derive(Debug)]
pub struct Grant {
    /// Tells grants apart in caches; keys with equal rights may share one.
    pub id: u64,
    aliases: Option<GlobSet>,
    tools: Option<Tools>,
}

#[derive(Debug)]
struct Tools {
    globs: GlobSet,
    /// What every name that a glob matches begins with, glob by glob.
    beginnings: Vec<String>,
    separator: String,
}

// === impl Grant ===

impl Grant {
    /// A grant of everything.
    pub fn everything(id: u64) -> Self {
        Self { id, aliases: None, tools: None }
    }

    /// Compiles the globs; the text names the one that is none. `separator` stands behind the alias in tool names.
    pub fn new(
        id: u64,
        aliases: Option<&[String]>,
        tools: Option<&[String]>,
        separator: &str,
    ) -> Result<Self, String> {
        let tools = tools.map(|globs| Tools::new(globs, separator)).transpose()?;
        Ok(Self { id, aliases: aliases.map(compile).transpose()?, tools })
    }

    /// Whether the key may know that this alias exists: not if its globs leave it no tool there, whatever tools there
    /// are.
    pub fn allows_alias(&self, alias: &str) -> bool {
        self.names_alias(alias) && self.tools.as_ref().is_none_or(|tools| tools.may_be_of(alias))
    }

    /// Whether the key may use a tool, known as `public` and, where that was shortened, still as `joined`
    /// (`{alias}{separator}{native}`).
    pub fn allows_tool(&self, alias: &str, public: &str, joined: &str) -> bool {
        let is_match = |tools: &Tools| tools.globs.is_match(public) || tools.globs.is_match(joined);
        self.names_alias(alias) && self.tools.as_ref().is_none_or(is_match)
    }

    /// Whether it names the tools that the key may use, so that what is no tool of a list is not for it.
    pub fn limits_tools(&self) -> bool {
        self.tools.is_some()
    }

    fn names_alias(&self, alias: &str) -> bool {
        self.aliases.as_ref().is_none_or(|globs| globs.is_match(alias))
    }
}

// === impl Tools ===

impl Tools {
    fn new(globs: &[String], separator: &str) -> Result<Self, String> {
        let beginning = |glob: &String| match glob.find(['*', '?', '[', '{', '\\']) {
            Some(end) => glob[..end].to_owned(),
            None => glob.clone(),
        };
        let beginnings = globs.iter().map(beginning).collect();
        Ok(Self { globs: compile(globs)?, beginnings, separator: separator.into() })
    }

    /// Whether a name that begins with the alias and the separator could match.
    fn may_be_of(&self, alias: &str) -> bool {
        let prefix = format!("{alias}{}", self.separator);
        self.beginnings
            .iter()
            .any(|beginning| beginning.starts_with(&prefix) || prefix.starts_with(beginning.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::Grant;
    use proptest::{prop_assert, proptest};
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
        let grant = Grant::new(1, own(aliases).as_deref(), own(tools).as_deref(), "-").expect("globs");
        assert_eq!(grant.allows_tool("db", "db-execute_sql", "db-execute_sql"), allowed);
    }

    #[rstest]
    #[case(&["db-*"], true)]
    #[case(&["web-*", "db-read"], true)]
    #[case(&["*-execute_sql"], true)]
    #[case(&["d*"], true)]
    #[case(&["db"], true)]
    #[case(&["{db,web}-read"], true)]
    #[case(&["web-*"], false)]
    #[case(&["db2-*"], false)]
    #[case(&["db_x-*"], false)]
    #[case(&[], false)]
    fn an_alias_is_known_if_a_tool_of_it_could_be(#[case] tools: &[&str], #[case] known: bool) {
        let tools: Vec<_> = tools.iter().map(ToString::to_string).collect();
        let grant = Grant::new(1, None, Some(&tools), "-").expect("globs");
        assert_eq!(grant.allows_alias("db"), known);
    }

    proptest! {
        #[test]
        fn who_may_use_a_tool_may_know_its_alias(
            alias in "[ab_]{1,3}",
            native in "[ab/.-]{0,4}",
            separator in "-|--|__|_",
            globs in proptest::collection::vec(r"([ab_/-]|\*|\*\*|\?|\[ab\]|\[!a\]|\{a,b-\}|\{,a\}|\\a|\\-){0,6}", 0..4),
        ) {
            let Ok(grant) = Grant::new(1, None, Some(&globs), &separator) else { return Ok(()) };
            let name = format!("{alias}{separator}{native}");
            prop_assert!(!grant.allows_tool(&alias, &name, &name) || grant.allows_alias(&alias));
        }
    }
}
