//! Who hears what an upstream says between calls: the one client that a session is for, or those of many that asked.

use crate::{
    catalog::name::Alias,
    protocol::{inbox::Inbox, stateless::SUBSCRIPTION_ID},
    upstream::{affinity::Affinity, signals::Signals, subscriptions::Subscriptions},
    wire::{
        message::{Answer, Message, Notice},
        method::Method,
        params,
        part::{self, Part},
    },
};
use serde::Deserialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// Who hears what comes on one session with an upstream and belongs to no call.
#[derive(Clone, Debug)]
pub(crate) struct Audience {
    /// The upstream's alias.
    pub(crate) alias: Alias,
    /// To its supervisor.
    pub(crate) signals: Arc<Signals>,
    /// Which session it is.
    pub(crate) affinity: Affinity,
    /// The only client that the session is for, if there is such a one.
    pub(crate) inbox: Option<Arc<Inbox>>,
    /// Who subscribed to what.
    pub(crate) subscriptions: Arc<Subscriptions>,
    /// Who was sent to which URL.
    pub(crate) elicitations: Arc<Elicitations>,
}

/// Whom each elicitation by URL was put to: its end is told outside of calls.
#[derive(Debug, Default)]
pub(crate) struct Elicitations(Mutex<VecDeque<(Box<str>, Arc<Inbox>)>>);

/// The most elicitations whose end is waited for.
const MOST_ELICITATIONS: usize = 1000;
/// Longer ids are not kept.
const LONGEST_ID: usize = 1024;
/// The most of one error.
const MOST_REQUIRED: usize = 16;
const URL_ELICITATION_REQUIRED: i64 = -32042;

#[derive(Deserialize)]
struct Required {
    code: i64,
    data: RequiredData,
}

#[derive(Deserialize)]
struct RequiredData {
    elicitations: Vec<RequiredElicitation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequiredElicitation {
    elicitation_id: String,
}

// === impl Audience ===

impl Audience {
    /// Of a session that serves no client.
    pub(crate) fn nobody(alias: Alias) -> Self {
        Self {
            alias,
            signals: Arc::default(),
            affinity: Affinity::Shared,
            inbox: None,
            subscriptions: Arc::default(),
            elicitations: Arc::default(),
        }
    }

    /// Takes a notice that belongs to no call.
    pub(crate) fn hear(&self, notice: &Notice) {
        let untagged = untagged(notice);
        let notice = untagged.as_ref().unwrap_or(notice);
        match (&notice.method, &self.inbox) {
            (
                method @ (Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged),
                Some(inbox),
            ) => {
                self.signals.relist_own(self.affinity, Some(method), inbox);
            }
            (Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged, None) => {
                self.signals.relist(&notice.method);
            }
            // Its call is over.
            (Method::Progress, _) => {}
            (_, Some(inbox)) => inbox.pass(self.alias.as_str(), notice),
            (Method::ResourcesUpdated, None) => {
                self.subscriptions.updated(self.affinity, self.alias.as_str(), notice);
            }
            (Method::TaskNotice, None) => {
                self.subscriptions.task(self.affinity, self.alias.as_str(), notice);
            }
            (Method::ElicitComplete, None) => {
                if let Some(inbox) = self.elicitations.take(notice) {
                    inbox.pass(self.alias.as_str(), notice);
                }
            }
            (method, None) => {
                tracing::debug!(alias = %self.alias, %method, "a notice that could be for any client is for none");
            }
        }
    }

    /// Something may have been said that nobody heard: the lists are read again.
    pub(crate) fn look_again(&self) {
        match &self.inbox {
            Some(inbox) => self.signals.relist_own(self.affinity, None, inbox),
            None => self.signals.look_again(),
        }
    }

    /// Whether a notice that came with a call goes back with that call.
    pub(crate) fn is_with_call(&self, notice: &Notice) -> bool {
        match notice.method {
            Method::ToolsChanged | Method::PromptsChanged | Method::ResourcesChanged | Method::TaskNotice => {
                false
            }
            Method::Progress | Method::LogMessage | Method::TaskStatus | Method::Other(_) => true,
            _ => self.is_own(),
        }
    }

    /// Whether the session is for one client only.
    pub(crate) fn is_own(&self) -> bool {
        self.inbox.is_some()
    }
}

/// A notice without the number of the stream that it came on, which is ours.
fn untagged(notice: &Notice) -> Option<Notice> {
    let params = notice.params().filter(|params| part::mentions(params, &[SUBSCRIPTION_ID]))?;
    let (whole, meta) = (Part::of(&params), Part::of(&params).member("_meta")?);
    let is_all = meta.entries().all(|entry| entry.is(SUBSCRIPTION_ID));
    let gone = if is_all { whole.without(&["_meta"]) } else { meta.without(&[SUBSCRIPTION_ID]) };
    let edits: Vec<_> = gone.into_iter().map(|at| (at, &b""[..])).collect();
    match Message::parse(&notice.rewrite(&edits)) {
        Ok(Message::Notice(notice)) => Some(notice),
        _ => None,
    }
}

// === impl Elicitations ===

impl Elicitations {
    /// Remembers that the client of this inbox was sent to a URL.
    pub(crate) fn keep(&self, id: &str, inbox: &Arc<Inbox>) {
        if id.len() > LONGEST_ID {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MOST_ELICITATIONS {
            kept.pop_front();
        }
        kept.push_back((id.into(), inbox.clone()));
    }

    /// Remembers the URLs of an error -32042 (elicitation, "URL Elicitation Required Error").
    pub(crate) fn keep_all(&self, error: &Answer, inbox: &Arc<Inbox>) {
        let payload = error.payload();
        let Ok(read) = serde_json::from_str::<Required>(payload.as_str()) else { return };
        if read.code == URL_ELICITATION_REQUIRED {
            for elicitation in read.data.elicitations.iter().take(MOST_REQUIRED) {
                self.keep(&elicitation.elicitation_id, inbox);
            }
        }
    }

    fn take(&self, notice: &Notice) -> Option<Arc<Inbox>> {
        let params = notice.params()?;
        let (id, _) = params::text(&params, "elicitationId").ok()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let index = kept.iter().position(|(known, _)| **known == *id)?;
        kept.remove(index).map(|(_, inbox)| inbox)
    }
}
