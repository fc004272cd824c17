//! Reads all pages of an upstream's lists.

use crate::{
    catalog::listing::{self, Listing},
    protocol::call::Lane,
    upstream::{fault::Fault, link::Link, settings::Settings, words},
    wire::{
        message::{Request, excerpt},
        method::Method,
        raw::Raw,
    },
};
use serde_json::json;
use std::{
    collections::HashSet,
    sync::atomic::{AtomicU64, Ordering},
};
use tokio::time::timeout;

/// The most pages of one list: an upstream whose cursors never end is stopped here.
const MAX_PAGES: usize = 1000;
/// How many times the time for one page all pages together may take.
const MOST_WAITS: u32 = 10;
/// The most oddities that are told.
const MOST_ODDITIES: usize = 20;
/// The most tools of one upstream.
const MAX_TOOLS: usize = 50_000;

/// Reads all tools of an upstream, and what was odd about them.
pub(crate) async fn read(
    link: &Link,
    lane: Lane,
    settings: &Settings,
    ids: &AtomicU64,
) -> Result<(Listing, Vec<String>), Fault> {
    let after = settings.timeouts.list.saturating_mul(MOST_WAITS);
    let all = timeout(after, read_pages(link, lane, settings, ids)).await;
    all.unwrap_or(Err(Fault::Timeout { step: "end its tools/list", after }))
}

async fn read_pages(
    link: &Link,
    lane: Lane,
    settings: &Settings,
    ids: &AtomicU64,
) -> Result<(Listing, Vec<String>), Fault> {
    let most = settings.max_message.saturating_mul(2);
    let mut size = 0_usize;
    let (mut listing, mut oddities) = (Listing::default(), Vec::new());
    if !link.welcome.capabilities.contains_key("tools") {
        return Ok((listing, oddities));
    }
    let (mut cursor, mut seen): (Option<String>, HashSet<String>) = (None, HashSet::new());
    for _ in 0..MAX_PAGES {
        let params = Raw::of(&match &cursor {
            Some(cursor) => json!({"cursor": cursor}),
            None => json!({}),
        });
        let id = ids.fetch_add(1, Ordering::Relaxed);
        let request = Request::new(&Raw::of(&id), &Method::ToolsList, Some(&params));
        let after = settings.timeouts.list;
        let answer = timeout(after, link.request(lane, id, request.bytes().clone(), None)).await;
        let answer = answer.unwrap_or(Err(Fault::Timeout { step: "answer `tools/list`", after }))?;
        if answer.is_error {
            return Err(Fault::NotMcp(format!(
                "tools/list failed: {}",
                link.show(&words::error_message(&answer.payload()))
            )));
        }
        size = size.saturating_add(answer.payload().as_bytes().len());
        if size > most {
            return Err(Fault::TooLarge(most));
        }
        let page = listing::read_page(&answer.payload());
        let page =
            page.map_err(|error| Fault::NotMcp(format!("its tools/list is not as specified: {error}")))?;
        listing.tools.extend(page.tools);
        let room = MOST_ODDITIES.saturating_sub(oddities.len());
        oddities.extend(page.oddities.into_iter().take(room));
        if listing.tools.len() > MAX_TOOLS {
            return Err(Fault::NotMcp(format!("more than {MAX_TOOLS} tools")));
        }
        // An empty cursor or one that came before would go on for ever.
        match page.next.filter(|next| !next.is_empty()) {
            Some(next) if seen.insert(next.clone()) => cursor = Some(next),
            Some(next) => {
                oddities.push(format!("the cursor `{}` came twice; the list ends there", excerpt(&next)));
                return Ok((listing, oddities));
            }
            None => return Ok((listing, oddities)),
        }
    }
    Err(Fault::NotMcp(format!("a list of more than {MAX_PAGES} pages")))
}
