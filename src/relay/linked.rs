//! What results refer to: where upstreams are seen as one, each link must lead back to the upstream that made it.

use crate::{
    catalog::{
        name::Alias,
        uris::{Resolved, qualified},
        view::View,
    },
    protocol::links::links,
    session::{known::Known, table::Session},
    wire::{message::Answer, part::Part, raw::Raw},
};
use std::{ops::Range, time::Duration};
use tokio::time::Instant;

/// The links of one result are looked at for so long; those behind pass as they are.
const LONGEST: Duration = Duration::from_millis(50);

/// The answer with links that lead to `alias` in this view; `read` is what the upstream and the client call the resource
/// that was read.
pub(super) fn adapt(
    answer: Answer,
    alias: &Alias,
    view: &View,
    known: &Known,
    read: Option<&(String, String)>,
) -> Answer {
    if answer.is_error {
        return answer;
    }
    let edits = edits(&answer.payload(), alias, view, known, read);
    if edits.is_empty() { answer } else { answer.rewrite(&edits) }
}

/// The same for the result that stands in a task (SEP-2663).
pub(super) fn adapt_task(answer: Answer, alias: &Alias, view: &View, known: &Known) -> Answer {
    let payload = answer.payload();
    let Some(result) = Part::of(&payload).member("result").filter(|_| !answer.is_error) else {
        return answer;
    };
    let start = result.at().start;
    let edits = edits(&result.copy(), alias, view, known, None);
    let edits: Vec<_> =
        edits.into_iter().map(|(at, text)| (at.start + start..at.end + start, text)).collect();
    if edits.is_empty() { answer } else { answer.rewrite(&edits) }
}

fn edits(
    result: &Raw,
    alias: &Alias,
    view: &View,
    known: &Known,
    read: Option<&(String, String)>,
) -> Vec<(Range<usize>, Raw)> {
    let until = Instant::now() + LONGEST;
    links(result)
        .into_iter()
        // A result of any number of links must not hold up everybody else's calls.
        .take_while(|_| Instant::now() < until)
        .filter_map(|link| {
            let asked = read.filter(|(native, _)| *native == link.uri).map(|(_, asked)| asked.clone());
            let shown = asked.or_else(|| shown(&link.uri, alias, view, known))?;
            (shown != link.uri).then(|| (link.at, Raw::of(&shown)))
        })
        .collect()
}

/// How a URI of `alias` is shown, if not as it is.
fn shown(uri: &str, alias: &Alias, view: &View, known: &Known) -> Option<String> {
    if let Some(shown) = view.shown_uri(alias, uri) {
        return Some(shown);
    }
    match view.resolve(uri) {
        Resolved::One { alias: whose, native } if whose == alias && native == uri => None,
        // In no list, or read as another's: who linked to it first keeps it as it is.
        _ => (known.link(uri, alias) != *alias).then(|| qualified(alias, uri)),
    }
}

/// Remembers a task that a call made in place of a result (2025-11-25, experimental).
pub(super) fn remember_task(answer: &Answer, alias: &Alias, session: &Session) {
    let payload = answer.payload();
    let id = Part::of(&payload).member("task").and_then(|task| task.member("taskId"));
    let Some(id) = id.and_then(|id| serde_json::from_str::<String>(id.text()).ok()) else { return };
    if !session.known.task(&id, alias) {
        let client = session.client();
        tracing::warn!(%alias, client, "two upstreams made tasks with one id; the later one cannot be reached");
    }
}
