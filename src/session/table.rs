//! All client sessions, by id.

use crate::{
    catalog::view::Scope,
    policy::identity::{Identity, KeyId},
    protocol::{
        ask::Asked,
        handshake::Hello,
        inbox::Inbox,
        stream::{Bounds, Stream},
        version::Version,
    },
    session::{known::Known, own::Own, replay::Replay, running::Running, settings::Settings, visit::Visitor},
};
use dashmap::DashMap;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// Its id: 122 random bits, visible ASCII.
    pub id: Box<str>,
    /// Its number, for what upstreams keep for it.
    pub number: u64,
    /// Who opened it.
    pub identity: Arc<Identity>,
    /// Where it was opened.
    pub endpoint: Endpoint,
    /// Messages outside of calls, questions, and what the client said of itself.
    pub inbox: Arc<Inbox>,
    /// The streams of its calls.
    pub replay: Replay,
    /// Its bounds.
    pub limits: Settings,
    /// What its upstreams told of and only they have: links and tasks.
    pub known: Known,
    /// Its own catalog, where it needs one.
    pub own: Own,
    /// Room for answers that wait for a client that reads slowly (HTTP+SSE: its POSTs are accepted at once).
    pub unread: Arc<Semaphore>,
    /// Calls under way.
    pub running: Arc<Running>,
    /// Whose it is, if it was never opened.
    visitor: Option<Visitor>,
    /// Milliseconds after the table's birth.
    used: AtomicU64,
    /// Streams that are open: a session with one is not idle.
    streams: AtomicUsize,
}

/// Where a session lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which transport.
    pub transport: Transport,
    /// What the path shows.
    pub path: Scope,
    /// What it shows after the header of the opening request narrowed it.
    pub scope: Scope,
}

/// The transport of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Streamable HTTP.
    Streamable,
    /// Each request for itself, over HTTP or stdio (2026-07-28).
    Stateless,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Standard input and output of this process.
    Stdio,
}

// === impl Transport ===

impl Transport {
    /// As logs call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Streamable => "http",
            Self::Stateless => "stateless",
            Self::Sse => "sse",
            Self::Stdio => "stdio",
        }
    }
}

/// All client sessions.
#[derive(Debug)]
pub struct Table {
    sessions: DashMap<Box<str>, Arc<Session>>,
    /// The sessions that were never opened.
    visitors: DashMap<Visitor, Arc<Session>>,
    settings: Settings,
    numbers: AtomicU64,
    born: Instant,
    displaced: Mutex<Vec<Arc<Session>>>,
    /// Bytes that all streams keep.
    kept: Arc<AtomicUsize>,
    /// Sessions that were idle for too long, since the beginning.
    expired: AtomicU64,
}

/// As many sessions as are allowed are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} sessions are open, which is the limit")]
pub struct Full(pub usize);

/// Keeps a session from being idle while a stream is open.
#[derive(Debug)]
pub struct Open(Arc<Session>);

// === impl Table ===

impl Table {
    /// An empty table.
    pub fn new(settings: Settings) -> Self {
        Self {
            sessions: DashMap::new(),
            visitors: DashMap::new(),
            settings,
            numbers: AtomicU64::new(1),
            born: Instant::now(),
            displaced: Mutex::default(),
            kept: Arc::default(),
            expired: AtomicU64::new(0),
        }
    }

    /// Opens a session; its client may introduce itself later.
    pub fn open(&self, identity: Arc<Identity>, endpoint: Endpoint) -> Result<Arc<Session>, Full> {
        self.open_for(identity, endpoint, None)
    }

    pub(in crate::session) fn open_for(
        &self,
        identity: Arc<Identity>,
        endpoint: Endpoint,
        visitor: Option<Visitor>,
    ) -> Result<Arc<Session>, Full> {
        if self.sessions.len() >= self.settings.max_sessions && !self.make_room() {
            return Err(Full(self.settings.max_sessions));
        }
        let id: Box<str> = Uuid::new_v4().simple().to_string().into();
        let Settings { queue, replay: bytes, replay_all: all_bytes, .. } = self.settings;
        let bounds = Bounds { queue, bytes, all_bytes };
        let (stream, asked) = (Stream::new(bounds, self.kept.clone()), Asked::new(self.settings.max_asks));
        let is_merged = !matches!(endpoint.scope, Scope::One(_));
        let session = Arc::new(Session {
            id: id.clone(),
            number: self.number(),
            identity,
            endpoint,
            inbox: Arc::new(Inbox::new(stream, asked, is_merged)),
            replay: Replay::new(bounds, self.kept.clone(), self.settings.replay_for),
            known: Known::default(),
            own: Own::default(),
            limits: self.settings,
            unread: Arc::new(Semaphore::new(self.settings.queue)),
            running: Running::new(self.settings.max_calls),
            visitor: visitor.clone(),
            used: AtomicU64::new(self.now()),
            streams: AtomicUsize::new(0),
        });
        self.sessions.insert(id, session.clone());
        if let Some(visitor) = visitor {
            // Of two that come at once the later one stays; the other goes when it was idle for long enough.
            self.visitors.insert(visitor, session.clone());
        }
        Ok(session)
    }

    pub(in crate::session) fn visited(&self, visitor: &Visitor) -> Option<Arc<Session>> {
        let session = self.visitors.get(visitor)?;
        session.used.store(self.now(), Ordering::Relaxed);
        Some(session.clone())
    }

    /// The session of that id, if it belongs to this key and this endpoint.
    pub fn find(&self, id: &str, key: KeyId, belongs: impl Fn(&Endpoint) -> bool) -> Option<Arc<Session>> {
        let session = self.sessions.get(id)?;
        if session.identity.key != key || !belongs(&session.endpoint) {
            return None;
        }
        session.used.store(self.now(), Ordering::Relaxed);
        Some(session.clone())
    }

    pub(in crate::session) fn visitors(&self, is_meant: impl Fn(&Visitor) -> bool) -> Vec<Arc<Session>> {
        self.visitors
            .iter()
            .filter(|visit| is_meant(visit.key()))
            .map(|visit| visit.value().clone())
            .collect()
    }

    /// Ends a session and its streams.
    pub fn end(&self, session: &Session) {
        if self.sessions.remove(&session.id).is_some() {
            if let Some(visitor) = &session.visitor {
                self.visitors.remove_if(visitor, |_, known| known.id == session.id);
            }
            session.inbox.close();
            session.replay.close();
        }
    }

    /// Ends the idlest sessions of the key that has most of them: who takes all the room makes the room. Several at once,
    /// since looking for them means looking at all.
    fn make_room(&self) -> bool {
        let mut by_key: HashMap<KeyId, (usize, Vec<Arc<Session>>)> = HashMap::new();
        for session in &self.sessions {
            let (count, unused) = by_key.entry(session.identity.key).or_default();
            *count += 1;
            if session.is_unused() {
                unused.push(session.clone());
            }
        }
        let most = by_key.into_values().filter(|(_, unused)| !unused.is_empty());
        let Some((count, mut unused)) = most.max_by_key(|(count, _)| *count) else { return false };
        unused.sort_by_key(|session| session.used.load(Ordering::Relaxed));
        unused.truncate((count / 100).max(1));
        let key = &unused[0].identity.name;
        let (ended, most) = (unused.len(), self.settings.max_sessions);
        tracing::warn!(key, ended, most, "the idlest sessions are ended to make room");
        for session in &unused {
            self.end(session);
        }
        // What upstreams keep for them is let go of at the next sweep.
        self.displaced.lock().unwrap_or_else(PoisonError::into_inner).append(&mut unused);
        true
    }

    /// Ends the sessions that were idle for too long; returns them, and those that made room since the last time.
    pub fn sweep(&self) -> Vec<Arc<Session>> {
        let idle = |session: &Session| {
            let most = self.settings.idle;
            millis(if session.visitor.is_some() { most.min(Visitor::IDLE) } else { most })
        };
        let now = self.now();
        let is_idle = |session: &Session| {
            session.is_unused() && now.saturating_sub(session.used.load(Ordering::Relaxed)) >= idle(session)
        };
        let old: Vec<_> =
            self.sessions.iter().filter(|session| is_idle(session)).map(|session| session.clone()).collect();
        for session in &old {
            self.end(session);
        }
        self.expired.fetch_add(u64::try_from(old.len()).unwrap_or(0), Ordering::Relaxed);
        for session in &self.sessions {
            session.replay.tidy();
        }
        let displaced = std::mem::take(&mut *self.displaced.lock().unwrap_or_else(PoisonError::into_inner));
        old.into_iter().chain(displaced).collect()
    }

    /// Makes room for what was not read yet: what was, by whichever session, can be read again only while there is room.
    pub fn relieve(&self) {
        for session in &self.sessions {
            session.inbox.stream.forget_read();
            session.replay.forget_read();
        }
    }

    /// A number that nothing else has that is told apart by one.
    pub fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// All sessions at this moment.
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.iter().map(|session| session.clone()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    /// How many were idle for too long, since the beginning.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// How many bytes all streams keep.
    pub fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }

    /// The bounds of sessions.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// How often to sweep.
    pub fn sweep_interval(&self) -> Duration {
        (self.settings.idle / 4).clamp(Duration::from_millis(100), Duration::from_mins(1))
    }

    fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

// === impl Session ===

impl Session {
    /// The revision that was agreed on, if `initialize` was answered.
    pub fn version(&self) -> Option<Version> {
        self.inbox.hello().map(|(_, version)| version)
    }

    /// The client's name and version, for logs.
    pub fn client(&self) -> &str {
        self.inbox.hello().map_or("?", |(hello, _)| &hello.client)
    }

    /// The client introduces itself; a second `initialize` changes nothing, and gets the first one's revision.
    pub fn introduce(&self, hello: Hello) -> Version {
        let version = Version::negotiate(&hello.requested);
        self.inbox.introduce(hello, version)
    }

    /// Whether no stream and no call uses it at the moment.
    fn is_unused(&self) -> bool {
        self.streams.load(Ordering::Relaxed) == 0 && self.running.is_empty()
    }

    /// A stream of its own, which is not kept for later.
    pub fn stream(&self) -> Arc<Stream> {
        self.replay.loose()
    }

    /// Marks a stream as open until the mark is dropped.
    pub fn open_stream(self: &Arc<Self>) -> Open {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
