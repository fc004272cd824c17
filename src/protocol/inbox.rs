//! The way to one client outside of its calls: what waits there until it listens, and what it was asked.

use crate::{
    protocol::{
        ask::{Ask, Asked},
        handshake::Hello,
        links::covers,
        listens::Listens,
        stream::Stream,
        version::Version,
    },
    wire::{message::Notice, method::Method, params, raw::Raw},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// The way to one client outside of its calls: the GET stream of streamable HTTP, or the only stream of HTTP+SSE and
/// stdio.
#[derive(Debug)]
pub struct Inbox {
    /// The client's own stream.
    pub stream: Arc<Stream>,
    /// What the client was asked, on whichever stream.
    pub asked: Arc<Asked>,
    /// What the client said of itself, and the revision that was agreed on.
    hello: OnceLock<(Hello, Version)>,
    /// Whether the client sees several upstreams as one.
    is_merged: bool,
    /// Whether some upstream has, or had, lists of this client's own.
    own_lists: AtomicBool,
    /// By alias and the upstream's own URI: the URI that the client knows, where that is another.
    renamed: Mutex<Renamed>,
    /// The least severe log messages that the client wants, if it said so.
    level: Mutex<Option<&'static str>>,
    /// What it listens to, if it is of the stateless era: it has no stream of its own then.
    pub listens: Listens,
}

/// By alias and native URI: the URI that is shown.
type Renamed = HashMap<(Box<str>, Box<str>), Box<str>>;

// === impl Inbox ===

impl Inbox {
    /// An inbox; `is_merged` tells that the client sees several upstreams as one.
    pub fn new(stream: Arc<Stream>, asked: Arc<Asked>, is_merged: bool) -> Self {
        Self {
            stream,
            asked,
            hello: OnceLock::new(),
            is_merged,
            own_lists: AtomicBool::new(false),
            renamed: Mutex::default(),
            level: Mutex::default(),
            listens: Listens::default(),
        }
    }

    /// The client introduces itself; a second introduction changes nothing. Returns what was agreed on.
    pub fn introduce(&self, hello: Hello, version: Version) -> Version {
        self.hello.get_or_init(|| (hello, version)).1
    }

    /// What the client said of itself, if it did.
    pub fn hello(&self) -> Option<(&Hello, Version)> {
        self.hello.get().map(|(hello, version)| (hello, *version))
    }

    /// Whether the client is of the stateless era: nothing can be said to it but what it listens to or waits for.
    pub fn is_stateless(&self) -> bool {
        self.hello.get().is_some_and(|(_, version)| version.is_stateless())
    }

    /// The least severe log messages that the client wants, if it said so.
    pub fn level(&self) -> Option<&'static str> {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client says which log messages it wants.
    pub fn set_level(&self, level: &'static str) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level);
    }

    /// Whether the client sees several upstreams as one.
    pub fn is_merged(&self) -> bool {
        self.is_merged
    }

    /// Some upstream has lists of this client's own, or had.
    pub fn expect_own_lists(&self) {
        self.own_lists.store(true, Ordering::Release);
    }

    /// Whether upstreams must be asked for lists of this client's own.
    pub fn may_have_own_lists(&self) -> bool {
        self.own_lists.load(Ordering::Acquire)
    }

    /// Puts an upstream's question on the client's own stream. One that has none cannot be asked: the question is dropped,
    /// which tells who asked.
    pub fn ask(&self, ask: Ask) {
        if !self.is_stateless() {
            self.ask_on(ask, &self.stream);
        }
    }

    /// Puts an upstream's question on the stream of one of the client's calls.
    pub fn ask_on(&self, ask: Ask, stream: &Arc<Stream>) {
        self.asked.put(ask, stream, &self.stream);
    }

    /// Passes a notice of the upstream `alias` on.
    pub fn pass(&self, alias: &str, notice: &Notice) {
        if self.is_stateless() {
            return match notice.method {
                Method::ResourcesUpdated => {
                    if let Some(notice) = Notice::parse(&self.adapt(alias, notice)) {
                        self.listens.updated(&notice);
                    }
                }
                Method::TaskNotice => self.listens.task(alias, notice),
                _ => {
                    tracing::debug!(alias, method = %notice.method, "a notice is of no call of a client, and nobody listens to such");
                }
            };
        }
        // Its era knows no such tasks; they are waited for inside its calls.
        if notice.method == Method::TaskNotice {
            return;
        }
        if !self.stream.push(self.adapt(alias, notice)) {
            tracing::debug!(alias, method = %notice.method, "a client does not listen; a notice for it is lost");
        }
    }

    /// A notice as the client is to see it: with the URIs that it knows, and attributed where upstreams are merged.
    pub fn adapt(&self, alias: &str, notice: &Notice) -> Bytes {
        if self.is_merged {
            match notice.method {
                Method::ResourcesUpdated => {
                    if let Some(params) = notice.params()
                        && let Ok((uri, at)) = params::text(&params, "uri")
                        && let Some(shown) = self.shown(alias, &uri)
                    {
                        return notice.rewrite(&[(at, shown.as_bytes())]);
                    }
                }
                Method::LogMessage => {
                    if let Some(params) = notice.params() {
                        return attribute(alias, notice, &params);
                    }
                }
                _ => {}
            }
        }
        notice.bytes().clone()
    }

    /// Remembers that the client knows a resource of `alias` under another URI.
    pub fn rename(&self, alias: &str, native: &str, shown: &str) {
        self.renamed().insert((alias.into(), native.into()), shown.into());
    }

    /// Forgets that again.
    pub fn forget(&self, alias: &str, native: &str) {
        self.renamed().remove(&(alias.into(), native.into()));
    }

    /// Forgets the names of what a client of the stateless era listens to no more.
    pub fn forget_unheard(&self) {
        let mut renamed = self.renamed();
        // Looked at with the names locked: what is listened to is named afterwards.
        let heard = self.listens.uris();
        renamed.retain(|_, shown| heard.contains(&**shown));
    }

    /// How many resources the client knows under other names than their upstreams.
    pub fn names(&self) -> usize {
        self.renamed().len()
    }

    /// Tells the client, now or when it listens, that a list changed; one notice tells of any number.
    pub fn changed(&self, method: &Method) {
        if self.is_stateless() {
            return self.listens.changed(method);
        }
        self.stream.insist_once(Notice::new(method, None).bytes().clone());
    }

    /// Ends the stream, and with it every question.
    pub fn close(&self) {
        self.stream.close();
        self.asked.close();
        self.listens.close();
    }

    /// The URI that the client knows a resource of `alias` by, or that of which it is a part, if that is another.
    fn shown(&self, alias: &str, uri: &str) -> Option<Raw> {
        let renamed = self.renamed();
        if let Some(shown) = renamed.get(&(alias.into(), uri.into())) {
            return Some(Raw::of(&**shown));
        }
        let parts = renamed.iter().filter(|((whose, native), _)| **whose == *alias && covers(native, uri));
        let ((_, native), shown) = parts.max_by_key(|((_, native), _)| native.len())?;
        Some(Raw::of(&format!("{shown}{}", &uri[native.len()..])))
    }

    fn renamed(&self) -> MutexGuard<'_, Renamed> {
        // No code that holds the lock can panic.
        self.renamed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A log message that says which upstream it is from: the alias stands before the name of the logger.
fn attribute(alias: &str, notice: &Notice, params: &Raw) -> Bytes {
    match params::text(params, "logger") {
        Ok((logger, at)) => {
            let logger = Raw::of(&format!("{alias}/{logger}"));
            notice.rewrite(&[(at, logger.as_bytes())])
        }
        Err(_) => {
            // A new first member: `{` is followed by it, and by a comma if there are others.
            let rest = params.as_str()[1..].trim_start();
            let comma = if rest.starts_with('}') { "" } else { "," };
            let member = format!("{{\"logger\":{}{comma}", Raw::of(alias));
            notice.rewrite(&[(0..1, member.as_bytes())])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Asked, Bytes, Inbox, Method, Notice, Stream};
    use crate::{protocol::stream::Bounds, wire::raw::Raw};
    use futures_util::FutureExt as _;
    use serde_json::json;

    fn inbox(is_merged: bool) -> Inbox {
        let bounds = Bounds { queue: 4, bytes: 1000, all_bytes: 1000 };
        Inbox::new(Stream::new(bounds, Arc::default()), Asked::new(4), is_merged)
    }

    #[test]
    fn changes_that_nobody_heard_are_told_once_each() {
        let inbox = inbox(false);
        for _ in 0..3 {
            inbox.changed(&Method::ToolsChanged);
            inbox.changed(&Method::PromptsChanged);
        }
        let mut reader = inbox.stream.read(None);
        let mut next = || reader.next().now_or_never().flatten().map(|(_, message)| message);
        let changed = |method: &Method| Some(Notice::new(method, None).bytes().clone());
        assert_eq!(next(), changed(&Method::ToolsChanged));
        assert_eq!(next(), changed(&Method::PromptsChanged));
        assert_eq!(next(), None);
    }

    #[test]
    fn log_messages_of_merged_upstreams_say_whose_they_are() {
        let adapted = |params: serde_json::Value| {
            let notice = Notice::new(&Method::LogMessage, Some(&Raw::of(&params)));
            let bytes: Bytes = inbox(true).adapt("db", &notice);
            assert_eq!(inbox(false).adapt("db", &notice), notice.bytes(), "untouched where there is one");
            let message: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            message["params"].to_string()
        };
        assert_eq!(
            adapted(json!({"level": "info", "logger": "sql"})),
            r#"{"level":"info","logger":"db/sql"}"#
        );
        assert_eq!(adapted(json!({"level": "info"})), r#"{"logger":"db","level":"info"}"#);
        assert_eq!(adapted(json!({})), r#"{"logger":"db"}"#);
    }

    #[test]
    fn updates_carry_the_uri_that_the_client_knows() {
        let inbox = inbox(true);
        inbox.rename("b", "x://one", "x://b/one");
        let updated = |alias: &str| {
            let params = Raw::of(&json!({"uri": "x://one"}));
            let bytes = inbox.adapt(alias, &Notice::new(&Method::ResourcesUpdated, Some(&params)));
            let message: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            message["params"]["uri"].as_str().expect("a URI").to_owned()
        };
        assert_eq!((updated("b").as_str(), updated("a").as_str()), ("x://b/one", "x://one"));
    }
}
