//! What one upstream said it has: typed once to look at it, kept as it was sent.

use crate::{
    catalog::hint::{Hint, Hints},
    protocol::headers::{self, Mirrored},
    wire::{
        message::excerpt,
        method::Method,
        part::{self, Part},
        raw::Raw,
    },
};
use rmcp::model;
use serde::Deserialize;
use std::{ops::Range, sync::Arc};

/// What an upstream lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Tools.
    Tools,
    /// Prompts.
    Prompts,
    /// Resources.
    Resources,
    /// Resource templates.
    Templates,
}

/// What one upstream has, each kind in its own order.
///
/// Two are equal if they list the same; for how long that may be kept is no part of it.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// The tools.
    pub tools: Vec<Definition>,
    /// The prompts.
    pub prompts: Vec<Definition>,
    /// The resources.
    pub resources: Vec<Definition>,
    /// The resource templates.
    pub templates: Vec<Definition>,
    /// For how long each list may be kept; a clone shares them.
    pub hints: Arc<Hints>,
}

/// One tool, prompt, resource or template as the upstream defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What the upstream calls it by: its name, URI or URI template.
    pub native: Arc<str>,
    /// The definition, byte for byte.
    pub raw: Raw,
    /// Where the JSON string of `native` stands in it.
    pub name_at: Range<usize>,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page {
    /// What is on it.
    pub items: Vec<Definition>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// For how long it may be kept.
    pub hint: Hint,
    /// What was odd, for the log: an odd item never hides the others.
    pub oddities: Vec<String>,
}

/// Whether arguments of calls are sent in headers as well, where tools ask for it (2026-07-28, "Custom Headers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirroring {
    /// They are: a tool that asks for it wrongly must be left out.
    Sent,
    /// They are not, and it does not matter what tools ask for.
    Unsent,
}

// === impl Kind ===

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::Templates];

    /// The method that lists it.
    pub fn method(self) -> Method {
        match self {
            Self::Tools => Method::ToolsList,
            Self::Prompts => Method::PromptsList,
            Self::Resources => Method::ResourcesList,
            Self::Templates => Method::TemplatesList,
        }
    }

    /// The member of the result that has the list.
    pub fn key(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
        }
    }

    /// The capability of a server that has it.
    pub fn capability(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources | Self::Templates => "resources",
        }
    }

    /// The member that an item is called by.
    pub fn named_by(self) -> &'static str {
        match self {
            Self::Tools | Self::Prompts => "name",
            Self::Resources => "uri",
            Self::Templates => "uriTemplate",
        }
    }

    /// One of them, for people.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Tools => "tool",
            Self::Prompts => "prompt",
            Self::Resources => "resource",
            Self::Templates => "resource template",
        }
    }

    /// Why a definition is not as the schema says, if it is not.
    fn flaw(self, definition: &Raw) -> Option<serde_json::Error> {
        fn read<'de, T: Deserialize<'de>>(definition: &'de Raw) -> Option<serde_json::Error> {
            serde_json::from_str::<T>(definition.as_str()).err()
        }
        match self {
            Self::Tools => read::<model::Tool>(definition),
            Self::Prompts => read::<model::Prompt>(definition),
            Self::Resources => read::<model::Resource>(definition),
            Self::Templates => read::<model::ResourceTemplate>(definition),
        }
    }
}

// === impl Listing ===

impl Listing {
    /// What there is of a kind.
    pub fn of(&self, kind: Kind) -> &[Definition] {
        match kind {
            Kind::Tools => &self.tools,
            Kind::Prompts => &self.prompts,
            Kind::Resources => &self.resources,
            Kind::Templates => &self.templates,
        }
    }

    /// The same, to change it.
    pub fn of_mut(&mut self, kind: Kind) -> &mut Vec<Definition> {
        match kind {
            Kind::Tools => &mut self.tools,
            Kind::Prompts => &mut self.prompts,
            Kind::Resources => &mut self.resources,
            Kind::Templates => &mut self.templates,
        }
    }

    /// Takes over what was known of a kind, which could not be read again.
    pub fn keep(&mut self, kind: Kind, before: &Self) {
        before.of(kind).clone_into(self.of_mut(kind));
        self.hints.keep(kind, &before.hints);
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        let Self { tools, prompts, resources, templates, hints: _ } = self;
        *tools == other.tools
            && *prompts == other.prompts
            && *resources == other.resources
            && *templates == other.templates
    }
}

impl Eq for Listing {}

/// Reads the result of a list request; the text says why it is none.
pub fn read_page(kind: Kind, result: &Raw, mirroring: Mirroring) -> Result<Page, String> {
    let key = kind.key();
    let [list, next] = Part::of(result).members([key, "nextCursor"])?;
    let list = list.ok_or_else(|| format!("`{key}` must be an array; found nothing"))?;
    let items =
        list.items().ok_or_else(|| format!("`{key}` must be an array; found {}", excerpt(list.text())))?;
    let next = match next.filter(|next| next.text() != "null") {
        Some(next) => {
            let text = next.string();
            let text =
                text.ok_or_else(|| format!("`nextCursor` must be a string; found {}", excerpt(next.text())))?;
            Some(text.into_owned())
        }
        None => None,
    };
    let (hint, oddities) = Hint::read(result);
    let mut page = Page { items: Vec::with_capacity(items.len()), next, hint, oddities };
    for (index, item) in items.into_iter().enumerate() {
        let raw = item.copy();
        let (native, name_at) = match name(kind, &raw) {
            Ok(named) => named,
            Err(reason) => {
                page.oddities.push(format!("{key}[{index}] cannot be used and is left out: {reason}"));
                continue;
            }
        };
        let noun = kind.noun();
        if mirroring == Mirroring::Sent
            && let Err(reason) = mirrored(&raw)
        {
            let native = excerpt(&native);
            page.oddities.push(format!("{noun} `{native}` must be left out: {reason}"));
            continue;
        }
        if let Some(error) = kind.flaw(&raw) {
            let native = excerpt(&native);
            page.oddities.push(format!(
                "{noun} `{native}` is not as the schema says and is passed on as it is: {error}"
            ));
        }
        page.items.push(Definition { native, raw, name_at });
    }
    Ok(page)
}

/// The arguments that a tool wants in headers as well; the text says why its schema does not tell.
pub(in crate::catalog) fn mirrored(definition: &Raw) -> Result<Vec<Mirrored>, String> {
    // Most definitions ask for nothing, and one pass over the bytes tells.
    if !part::mentions(definition, &["x-mcp-header"]) {
        return Ok(Vec::new());
    }
    let schema = Part::of(definition).member("inputSchema").map(Part::copy);
    schema.as_ref().map_or_else(|| Ok(Vec::new()), headers::mirrored)
}

/// What a definition is called by, and where that stands in it.
fn name(kind: Kind, definition: &Raw) -> Result<(Arc<str>, Range<usize>), String> {
    let key = kind.named_by();
    let [name] = Part::of(definition).members([key])?;
    let name = name.ok_or_else(|| format!("`{key}` must be a string; found nothing"))?;
    let text =
        name.string().ok_or_else(|| format!("`{key}` must be a string; found {}", excerpt(name.text())))?;
    Ok((text.into(), name.at()))
}

#[cfg(test)]
mod tests {
    use super::{Kind, Mirroring, read_page};
    use crate::wire::raw::Raw;
    use bytes::Bytes;
    use rstest::rstest;

    fn page(kind: Kind, text: &str) -> Result<super::Page, String> {
        read_page(kind, &Raw::parse(Bytes::from(text.to_owned())).expect("JSON"), Mirroring::Unsent)
    }

    #[test]
    fn every_kind_is_read_by_its_own_members() {
        for kind in Kind::ALL {
            let item = format!(r#"{{"{}":"a\u0062", "x":1.10}}"#, kind.named_by());
            let text = format!(r#"{{"nextCursor":"c","{}":[ {item} ,7]}}"#, kind.key());
            let page = page(kind, &text).expect("a page");
            assert_eq!(page.next.as_deref(), Some("c"));
            assert_eq!((&*page.items[0].native, page.items[0].raw.as_str()), ("ab", &*item));
            assert_eq!(&item[page.items[0].name_at.clone()], r#""a\u0062""#);
            assert_eq!(page.items.len(), 1);
            assert!(page.oddities[page.oddities.len() - 1].contains("[1] cannot be used"));
        }
    }

    #[rstest]
    #[case(r#"{"tools":{}}"#, "`tools` must be an array; found {}")]
    #[case(r#"{"prompts":[]}"#, "`tools` must be an array; found nothing")]
    #[case(r#"{"tools":[],"nextCursor":7}"#, "`nextCursor` must be a string; found 7")]
    #[case("[]", "invalid type: sequence, expected an object at line 1 column 0")]
    fn what_is_no_page(#[case] text: &str, #[case] reason: &str) {
        assert_eq!(page(Kind::Tools, text).expect_err("no page"), reason);
    }

    #[test]
    fn a_tool_that_asks_for_headers_wrongly_is_left_out_where_they_are_sent() {
        let tool = |name: &str, header: &str| {
            format!(
                r#"{{"name":"{name}","inputSchema":{{"type":"object","properties":{{"r":{{"type":"string","x-mcp-header":"{header}"}}}}}}}}"#
            )
        };
        let text = format!(r#"{{"tools":[{},{}]}}"#, tool("bad", "no token"), tool("good", "Region"));
        let result = Raw::parse(Bytes::from(text)).expect("JSON");
        let read = |mirroring| {
            let page = read_page(Kind::Tools, &result, mirroring).expect("a page");
            let names: Vec<_> = page.items.iter().map(|item| item.native.to_string()).collect();
            (names, page.oddities)
        };
        let (names, oddities) = read(Mirroring::Sent);
        assert_eq!(names, ["good"]);
        assert!(
            oddities.len() == 1 && oddities[0].starts_with("tool `bad` must be left out: "),
            "{oddities:?}"
        );
        assert_eq!(read(Mirroring::Unsent), (vec!["bad".into(), "good".into()], Vec::new()));
    }
}
