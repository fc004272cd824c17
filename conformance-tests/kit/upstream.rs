//! A fake upstream on bare TCP: it keeps what it got byte for byte, and answers as each test wants it.

use crate::kit::{
    clock::within,
    exchange::{Exchange, Kept, Seen, event},
};
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::Future,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender, sync::watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Streamable HTTP, answers as JSON.
    Json,
    /// Streamable HTTP, answers as event streams.
    Events,
    /// HTTP+SSE of 2024-11-05.
    Legacy,
}

/// Which eras of the protocol an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eras {
    Handshake,
    Stateless,
    Both,
}

/// What an upstream has, and how it behaves where no test says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) dialect: Dialect,
    pub(crate) keeps_sessions: bool,
    /// Whether GET opens a stream of the session's own.
    pub(crate) has_stream: bool,
    pub(crate) version: String,
    /// Which eras it speaks.
    pub(crate) eras: Eras,
    pub(crate) capabilities: &'static str,
    /// What it calls itself.
    pub(crate) name: &'static str,
    /// The definitions, as JSON text.
    pub(crate) tools: Vec<String>,
    /// How long its lists are good for, in milliseconds, as it says in the stateless era.
    pub(crate) ttl: u64,
    pub(crate) prompts: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) templates: Vec<String>,
    /// What a session that is not known gets.
    pub(crate) forgotten: (u16, &'static str),
    /// Whether it speaks 2026-07-28, and nothing else.
    pub(crate) is_stateless: bool,
}

/// A running fake; dropped, it ends with all of its connections.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    _stop: DropGuard,
}

type Hook = Arc<dyn Fn(Exchange) -> BoxFuture<'static, Kept> + Send + Sync>;

/// What all connections of a fake share.
pub(crate) struct Shared {
    script: Mutex<Script>,
    seen: watch::Sender<Vec<Seen>>,
    hooks: Mutex<HashMap<String, Hook>>,
    sessions: Mutex<BTreeSet<String>>,
    streams: Mutex<BTreeMap<String, UnboundedSender<String>>>,
    numbers: AtomicU64,
    pub(crate) streams_ended: AtomicU64,
}

// === impl Script ===

impl Script {
    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            keeps_sessions: false,
            has_stream: false,
            version: "2025-06-18".into(),
            eras: Eras::Handshake,
            capabilities: r#"{"tools":{"listChanged":true}}"#,
            name: "fake",
            ttl: 0,
            tools: vec![tool("echo")],
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            forgotten: (
                404,
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#,
            ),
            is_stateless: false,
        }
    }

    pub(crate) fn tools(mut self, names: &[&str]) -> Self {
        self.tools = names.iter().map(|name| tool(name)).collect();
        self
    }

    pub(crate) fn keeps_sessions(mut self) -> Self {
        self.keeps_sessions = true;
        self
    }

    pub(crate) fn speaks(mut self, eras: Eras) -> Self {
        self.eras = eras;
        self
    }

    pub(crate) fn has_stream(mut self) -> Self {
        self.has_stream = true;
        self
    }

    /// Speaks 2026-07-28, and nothing else.
    pub(crate) fn stateless(mut self) -> Self {
        self.is_stateless = true;
        self
    }

    pub(crate) fn start(self) -> Fake {
        Fake::start_at(([127, 0, 0, 1], 0).into(), self)
    }
}

/// An address of this machine where nobody listens: no other program takes loopback addresses of its own.
pub(crate) fn nobodys_address() -> SocketAddr {
    let [high, low] = u16::try_from(std::process::id() % 65_536).expect("small").to_be_bytes();
    let address = ([127, 77, high, low.clamp(1, 254)], 0);
    let listener = StdListener::bind(SocketAddr::from(address)).expect("a free port");
    listener.local_addr().expect("an address")
}

/// The plainest definition of a tool.
pub(crate) fn tool(name: &str) -> String {
    format!(r#"{{"name":"{name}","inputSchema":{{"type":"object"}}}}"#)
}

// === impl Fake ===

impl Fake {
    /// A fake of this dialect with one tool, `echo`.
    pub(crate) fn of(dialect: Dialect) -> Self {
        Script::new(dialect).start()
    }

    pub(crate) fn start_at(address: SocketAddr, script: Script) -> Self {
        let listener = StdListener::bind(address).expect("a free address");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            seen: watch::Sender::default(),
            hooks: Mutex::default(),
            sessions: Mutex::default(),
            streams: Mutex::default(),
            numbers: AtomicU64::new(1),
            streams_ended: AtomicU64::new(0),
        });
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, shared.clone(), stop.clone())));
        Self { address, shared, _stop: stop.drop_guard() }
    }

    /// Where the gateway finds it.
    pub(crate) fn url(&self) -> String {
        let path = if self.shared.script().dialect == Dialect::Legacy { "sse" } else { "mcp" };
        format!("http://{}/{path}", self.address)
    }

    /// Has a test answer requests of this method (a JSON-RPC one, `answer`, or `GET` and `DELETE`).
    pub(crate) fn on<F, R>(&self, method: &str, hook: F)
    where
        F: Fn(Exchange) -> R + Send + Sync + 'static,
        R: Future<Output = Kept> + Send + 'static,
    {
        let hook: Hook = Arc::new(move |exchange| Box::pin(hook(exchange)));
        lock(&self.shared.hooks).insert(method.into(), hook);
    }

    /// Behaves as specified again.
    pub(crate) fn behave(&self) {
        lock(&self.shared.hooks).clear();
    }

    /// Is replaced by another server at the same address, which knows nothing of the one before.
    pub(crate) fn upgrade(&self, eras: Eras) {
        lock(&self.shared.script).eras = eras;
        self.forget_all();
        self.cut_streams();
    }

    /// Has other tools from now on, without a word.
    pub(crate) fn set_tools(&self, tools: Vec<String>) {
        lock(&self.shared.script).tools = tools;
    }

    /// Says something on all of its streams.
    pub(crate) fn tell(&self, message: &str) {
        for stream in lock(&self.shared.streams).values() {
            // A stream that just ended hears nothing.
            let _ = stream.send(event(message));
        }
    }

    /// Says that its tools changed.
    pub(crate) fn tell_change(&self) {
        self.tell(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
    }

    /// Says something on one session's stream.
    pub(crate) fn tell_to(&self, session: &str, message: &str) {
        self.shared.send_to(session, event(message));
    }

    /// Has other resources from now on, without a word.
    pub(crate) fn set_resources(&self, resources: Vec<String>) {
        lock(&self.shared.script).resources = resources;
    }

    /// Ends all of its streams.
    pub(crate) fn cut_streams(&self) {
        lock(&self.shared.streams).clear();
    }

    /// What its open streams were asked for.
    pub(crate) fn listeners(&self) -> Vec<String> {
        lock(&self.shared.streams).keys().cloned().collect()
    }

    /// Forgets one session and ends its stream.
    pub(crate) fn forget(&self, session: &str) {
        self.shared.forget(session);
        self.shared.detach(session);
    }

    /// Forgets every session.
    pub(crate) fn forget_all(&self) {
        lock(&self.shared.sessions).clear();
    }

    /// The sessions that are open, by id.
    pub(crate) fn sessions(&self) -> Vec<String> {
        lock(&self.shared.sessions).iter().cloned().collect()
    }

    pub(crate) fn open_streams(&self) -> usize {
        lock(&self.shared.streams).len()
    }

    /// Everything that it got so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.borrow().clone()
    }

    /// The requests of one method so far.
    pub(crate) fn seen_of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.rpc() == method).collect()
    }

    /// Waits until it got so many requests of this method; the last of them.
    pub(crate) async fn wait_for(&self, method: &str, count: usize) -> Seen {
        let mut news = self.shared.seen.subscribe();
        let enough = |seen: &Vec<Seen>| seen.iter().filter(|seen| seen.rpc() == method).count() >= count;
        let what = format!("{count} requests of {method}");
        let seen = within(&what, news.wait_for(enough)).await.expect("the fake lives").clone();
        seen.into_iter().filter(|seen| seen.rpc() == method).nth(count - 1).expect("as many as waited for")
    }
}

async fn accept(listener: StdListener, shared: Arc<Shared>, stop: CancellationToken) {
    let listener = TcpListener::from_std(listener).expect("a listener");
    while let Ok((mut socket, _)) = listener.accept().await {
        let shared = shared.clone();
        let serve = async move {
            let mut buffer = BytesMut::new();
            while let Some(seen) = Seen::read(&mut socket, &mut buffer).await {
                let hook = lock(&shared.hooks).get(&seen.rpc()).cloned();
                shared.seen.send_modify(|all| all.push(seen.clone()));
                let exchange = Exchange::new(seen, shared.clone(), socket);
                let kept = match hook {
                    Some(hook) => hook(exchange).await,
                    None => exchange.standard().await,
                };
                let Some(kept) = kept else { return };
                socket = kept;
            }
        };
        tokio::spawn(stop.clone().run_until_cancelled_owned(serve));
    }
}

// === impl Shared ===

impl Shared {
    pub(crate) fn script(&self) -> Script {
        lock(&self.script).clone()
    }

    /// Opens a session.
    pub(crate) fn remember(&self) -> String {
        let session = format!("upstream-{}", self.numbers.fetch_add(1, Ordering::Relaxed));
        lock(&self.sessions).insert(session.clone());
        session
    }

    pub(crate) fn forget(&self, session: &str) {
        lock(&self.sessions).remove(session);
    }

    pub(crate) fn knows(&self, session: &str) -> bool {
        lock(&self.sessions).contains(session)
    }

    pub(crate) fn attach(&self, session: &str, stream: UnboundedSender<String>) {
        lock(&self.streams).insert(session.into(), stream);
    }

    pub(crate) fn detach(&self, session: &str) {
        lock(&self.streams).remove(session);
    }

    /// How many requests of one method came so far.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.seen.borrow().iter().filter(|seen| seen.rpc() == method).count()
    }

    /// How many answers came so far in this session to what was asked under this id.
    pub(crate) fn answered(&self, session: Option<&str>, id: &str) -> usize {
        self.seen.borrow().iter().filter(|seen| seen.answers(session, id)).count()
    }

    /// Waits for the answer of that number among those.
    pub(crate) async fn answer(&self, session: Option<&str>, id: &str, number: usize) -> Seen {
        let mut news = self.seen.subscribe();
        let enough =
            |seen: &Vec<Seen>| seen.iter().filter(|seen| seen.answers(session, id)).count() >= number;
        let what = format!("{number} answers to {id} in {session:?}");
        let seen = within(&what, news.wait_for(enough)).await.expect("the fake lives").clone();
        let mut answers = seen.into_iter().filter(|seen| seen.answers(session, id));
        answers.nth(number - 1).expect("as many as waited for")
    }

    /// The names of all streams that last.
    pub(crate) fn stream_names(&self) -> Vec<String> {
        lock(&self.streams).keys().cloned().collect()
    }

    /// Sends a piece of a session's stream.
    pub(crate) fn send_to(&self, session: &str, text: String) {
        if let Some(stream) = lock(&self.streams).get(session) {
            // A stream that just ended hears nothing.
            let _ = stream.send(text);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no test panics with the lock held")
}
