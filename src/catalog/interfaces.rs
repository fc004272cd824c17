//! Calls that interfaces of tools make (MCP Apps): a page that an upstream made knows the tools of its server by their own
//! names, and not by those under which they are shown where upstreams are seen as one.

use crate::{
    catalog::{merge::Row, view::View},
    protocol::links::is_for_interfaces,
};
use std::sync::Arc;

// === impl View ===

impl View {
    /// The tool that a call means: the one that is shown under this name, or else the one that an interface calls so.
    pub fn called(&self, name: &str) -> Option<&Arc<Row>> {
        self.tool(name).or_else(|| self.of_interface(name))
    }

    /// The tool of this name of a server that has interfaces. Nothing is guessed: no other server that is seen here may
    /// have a tool of that name, and the tool must be open to interfaces.
    fn of_interface(&self, name: &str) -> Option<&Arc<Row>> {
        if self.own().is_some() {
            return None;
        }
        let mut same = self.tools().filter(|row| *row.native == *name);
        let row = same.next().filter(|_| same.next().is_none())?;
        let has_interface = self.tools().any(|other| other.alias == row.alias && !other.interface.is_empty());
        (has_interface && is_for_interfaces(&row.own)).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        catalog::{
            listing::{self, Kind, Listing, Mirroring},
            merge::{Row, ShowRules, Source, merge},
            name::Alias,
            settings::{NameRules, Show},
            view::{Allows, Scope, View},
        },
        wire::raw::Raw,
    };
    use rstest::rstest;
    use serde_json::{Value, json};
    use std::{collections::BTreeMap, sync::Arc};

    fn alias(text: &str) -> Alias {
        Alias::parse(text, &NameRules::default()).expect("an alias")
    }

    fn tool(name: &str, ui: &Value) -> Value {
        json!({"name": name, "inputSchema": {}, "_meta": {"ui": ui}})
    }

    fn view(scope: &Scope, allows: &dyn Fn(&Row) -> bool) -> Arc<View> {
        let plain = |name| json!({"name": name, "inputSchema": {}});
        let clock = [
            tool("show", &json!({"resourceUri": "ui://clock/face"})),
            tool("wind", &json!({"visibility": ["app"]})),
            tool("melt", &json!({"visibility": ["model"]})),
            plain("search"),
            plain("notes-add"),
            plain("hidden"),
        ];
        let notes = [plain("add"), plain("search")];
        let source = |tools: &[Value], show: &Show| {
            let page = listing::read_page(Kind::Tools, &Raw::of(&json!({"tools": tools})), Mirroring::Unsent);
            let listing = Listing { tools: page.expect("a page").items, ..Listing::default() };
            Source { show: Arc::new(ShowRules::new(show).expect("rules")), listing: Some(Arc::new(listing)) }
        };
        let show = Show {
            deny: vec!["hidden".into()],
            rename: BTreeMap::from([("wind".into(), "turn".into())]),
            ..Show::default()
        };
        let sources = [("clock", source(&clock, &show)), ("notes", source(&notes, &Show::default()))];
        let sources: BTreeMap<_, _> = sources.map(|(name, source)| (alias(name), source)).into();
        merge(&sources, &NameRules::default()).view(0, scope, Allows { tool: allows, alias: &|_| true })
    }

    #[rstest]
    #[case::linked("show", Some("clock-show"))]
    #[case::for_the_interface_only("wind", Some("clock-turn"))]
    #[case::not_for_the_interface("melt", None)]
    #[case::of_two("search", None)]
    #[case::shown_as_anothers("notes-add", Some("notes-add"))]
    #[case::of_a_server_without_interfaces("add", None)]
    #[case::hidden_by_its_alias("hidden", None)]
    #[case::nobodys("nothing", None)]
    #[case::shown("clock-melt", Some("clock-melt"))]
    fn an_interface_calls_its_own_server(#[case] name: &str, #[case] expected: Option<&str>) {
        let view = view(&Scope::All, &|_| true);
        assert_eq!(view.called(name).map(|row| &*row.public), expected);
    }

    #[test]
    fn what_a_key_may_not_use_it_does_not_reach_and_does_not_notice() {
        let view = view(&Scope::All, &|row| !(*row.native == *"wind" || &*row.public == "notes-search"));
        assert!(view.called("wind").is_none());
        assert_eq!(view.called("search").map(|row| &*row.public), Some("clock-search"));
    }

    #[test]
    fn on_an_alias_of_its_own_nothing_is_looked_for() {
        let view = self::view(&Scope::One(alias("clock")), &|_| true);
        assert!(view.called("wind").is_none() && view.called("turn").is_some());
    }
}
