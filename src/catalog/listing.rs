//! What one upstream said it has: typed once to look at it, kept as it was sent.

use crate::wire::{message::excerpt, params, raw::Raw};
use rmcp::model;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{ops::Range, sync::Arc};

/// The tools of one upstream, in its own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The tools.
    pub tools: Vec<Definition>,
}

/// One tool as the upstream defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The name that the upstream gave it.
    pub native: Arc<str>,
    /// The definition, byte for byte.
    pub raw: Raw,
    /// Where the name's JSON string stands in it.
    pub name_at: Range<usize>,
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Page {
    /// Its tools.
    pub tools: Vec<Definition>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
    /// What was odd, for the log: an odd tool never hides the others.
    pub oddities: Vec<String>,
}

#[derive(Deserialize)]
struct ToolsResult<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(default, rename = "nextCursor")]
    next_cursor: Option<String>,
}

/// Reads the result of a `tools/list`; the text says why it is none.
pub fn read_page(result: &Raw) -> Result<Page, String> {
    let read: ToolsResult<'_> = serde_json::from_str(result.as_str()).map_err(|error| error.to_string())?;
    let mut page = Page { next: read.next_cursor, ..Page::default() };
    for (index, tool) in read.tools.into_iter().enumerate() {
        let raw = Raw::of(tool);
        let (native, name_at): (Arc<str>, _) = match params::name(&raw) {
            Ok((name, at)) => (name.into(), at),
            Err(reason) => {
                page.oddities.push(format!("tools[{index}] cannot be called and is left out: {reason}"));
                continue;
            }
        };
        if let Err(error) = serde_json::from_str::<model::Tool>(raw.as_str()) {
            let native = excerpt(&native);
            page.oddities.push(format!(
                "tool `{native}` is not as the schema says and is passed on as it is: {error}"
            ));
        }
        page.tools.push(Definition { native, raw, name_at });
    }
    Ok(page)
}
