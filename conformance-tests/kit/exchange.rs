//! One request that a fake upstream got, and the ways to answer it, well or badly.

use crate::kit::{
    offers,
    upstream::{Dialect, Eras, Shared},
};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::sync::{Arc, atomic::Ordering};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, mpsc},
};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    method: Option<String>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A request that waits for its answer, and the connection that it came on.
pub(crate) struct Exchange {
    pub(crate) seen: Seen,
    pub(crate) shared: Arc<Shared>,
    socket: TcpStream,
}

/// An event stream that was begun as the answer to a request.
pub(crate) struct Stream(TcpStream);

/// The connection, if it stays open.
pub(crate) type Kept = Option<TcpStream>;

// === impl Seen ===

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body of JSON")
    }

    /// The JSON-RPC method; `answer` for an answer, and the HTTP method where there is no body.
    pub(crate) fn rpc(&self) -> String {
        if self.body.is_empty() {
            return self.method.clone();
        }
        self.envelope().method.unwrap_or_else(|| "answer".into())
    }

    /// The id as it was written.
    pub(crate) fn id(&self) -> String {
        self.envelope().id.expect("a request with an id").get().to_owned()
    }

    /// Whether it came in this session.
    pub(crate) fn is_of(&self, session: &str) -> bool {
        self.header("mcp-session-id") == Some(session) || self.path.ends_with(session)
    }

    /// Whether it answers what was asked under this id in this session.
    pub(crate) fn answers(&self, session: Option<&str>, id: &str) -> bool {
        self.rpc() == "answer" && self.id() == id && session.is_none_or(|session| self.is_of(session))
    }

    fn envelope(&self) -> Envelope<'_> {
        serde_json::from_slice(&self.body).expect("a message")
    }

    /// Reads the next request of a connection; `None` at its end.
    pub(crate) async fn read(socket: &mut TcpStream, buffer: &mut BytesMut) -> Option<Self> {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if socket.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = buffer.split_to(end + 4);
        let head = std::str::from_utf8(&head).expect("a head of text");
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
        let pair =
            |line: &str| line.split_once(':').map(|(key, value)| (key.to_owned(), value.trim().into()));
        let headers: Vec<(String, String)> = lines.filter_map(pair).collect();
        let mut seen = Self { method, path, headers, body: Bytes::new() };
        let length: usize = seen.header("content-length").map_or(0, |text| text.parse().expect("a length"));
        while buffer.len() < length {
            if socket.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        }
        seen.body = buffer.split_to(length).freeze();
        Some(seen)
    }
}

// === impl Exchange ===

impl Exchange {
    pub(crate) fn new(seen: Seen, shared: Arc<Shared>, socket: TcpStream) -> Self {
        Self { seen, shared, socket }
    }

    /// Writes these bytes and nothing else.
    pub(crate) async fn raw(mut self, bytes: &[u8]) -> Kept {
        // A client that closed early is what some tests are about.
        let _ = self.socket.write_all(bytes).await;
        Some(self.socket)
    }

    pub(crate) async fn respond(self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Kept {
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let (headers, length) = (headers.concat(), body.len());
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n{headers}\r\n");
        self.raw(&[head.as_bytes(), body].concat()).await
    }

    pub(crate) async fn json(self, body: &str) -> Kept {
        self.respond(200, &[("content-type", "application/json")], body.as_bytes()).await
    }

    /// Begins an event stream.
    pub(crate) async fn stream(self) -> Stream {
        self.stream_of("text/event-stream").await
    }

    /// Begins a body whose length is not announced.
    pub(crate) async fn stream_of(mut self, kind: &str) -> Stream {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n");
        let _ = self.socket.write_all(head.as_bytes()).await;
        Stream(self.socket)
    }

    /// Answers with a result, as the upstream's dialect does it.
    pub(crate) async fn result(self, result: &str) -> Kept {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.seen.id());
        self.messages(&[message]).await
    }

    /// Sends messages, the last of which is the answer, as the upstream's dialect does it.
    pub(crate) async fn messages(self, messages: &[String]) -> Kept {
        match (self.shared.script().dialect, messages) {
            (Dialect::Legacy, _) => {
                let session = self.session().unwrap_or_default();
                for message in messages {
                    self.shared.send_to(&session, event(message));
                }
                self.respond(202, &[], b"").await
            }
            (Dialect::Json, [message]) => self.json(message).await,
            (Dialect::Json | Dialect::Events, _) => {
                let mut stream = self.stream().await;
                for message in messages {
                    stream.send(message).await;
                }
                stream.end().await
            }
        }
    }

    /// Closes the connection.
    pub(crate) fn close(self) -> Kept {
        drop(self.socket);
        None
    }

    /// Answers nothing, and waits until the client hangs up.
    pub(crate) async fn until_hung_up(self) -> Kept {
        Stream(self.socket).until_hung_up().await
    }

    /// Does nothing, for ever.
    pub(crate) async fn never(self) -> Kept {
        std::future::pending::<()>().await;
        Some(self.socket)
    }

    /// Sends the arguments back as the result, once the gate is open.
    pub(crate) async fn echo_after(self, gate: Arc<Semaphore>) -> Kept {
        let arguments = self.seen.json()["params"]["arguments"].to_string();
        self.result_after(gate, arguments).await
    }

    /// Answers once the gate is open; over HTTP+SSE the request is accepted at once.
    pub(crate) async fn result_after(self, gate: Arc<Semaphore>, result: String) -> Kept {
        if self.shared.script().dialect != Dialect::Legacy {
            let _open = gate.acquire().await;
            return self.result(&result).await;
        }
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.seen.id());
        let (shared, session) = (self.shared.clone(), self.session().unwrap_or_default());
        tokio::spawn(async move {
            let _open = gate.acquire().await;
            shared.send_to(&session, event(&message));
        });
        self.respond(202, &[], b"").await
    }

    /// The session that the request belongs to.
    pub(crate) fn session(&self) -> Option<String> {
        match self.shared.script().dialect {
            Dialect::Legacy => self.seen.path.split_once("session=").map(|(_, id)| id.to_owned()),
            Dialect::Json | Dialect::Events => self.seen.header("mcp-session-id").map(str::to_owned),
        }
    }

    /// What a server that keeps to the protocol does.
    pub(crate) async fn standard(self) -> Kept {
        let script = self.shared.script();
        if script.is_stateless {
            return self.newest().await;
        }
        if script.eras != Eras::Handshake && (self.seen.is_stateless() || script.eras == Eras::Stateless) {
            return self.stateless().await;
        }
        let is_legacy = script.dialect == Dialect::Legacy;
        let rpc = self.seen.rpc();
        let knows = self.session().is_some_and(|session| self.shared.knows(&session));
        match rpc.as_str() {
            "GET" if !is_legacy && script.keeps_sessions && !knows => {
                return self.respond(404, &[], b"").await;
            }
            "GET" if is_legacy || script.has_stream => return self.open_stream(is_legacy).await,
            "GET" => return self.respond(405, &[], b"").await,
            "DELETE" => {
                self.shared.forget(&self.session().unwrap_or_default());
                return self.respond(200, &[], b"").await;
            }
            _ if is_legacy && !self.seen.path.starts_with("/messages") => {
                return self.respond(405, &[], b"").await;
            }
            _ => {}
        }
        if (is_legacy || (script.keeps_sessions && rpc != "initialize")) && !knows {
            let (status, body) = script.forgotten;
            return self.respond(status, &[("content-type", "application/json")], body.as_bytes()).await;
        }
        match rpc.as_str() {
            "initialize" => self.welcome().await,
            "tools/list" => {
                let tools = script.tools.join(",");
                self.result(&format!(r#"{{"tools":[{tools}]}}"#)).await
            }
            "tools/call" => self.result(r#"{"content":[{"type":"text","text":"done"}]}"#).await,
            "ping" => self.result("{}").await,
            _ => match offers::served(&script, &self.seen) {
                Some(result) => self.result(&result).await,
                None => self.respond(202, &[], b"").await,
            },
        }
    }

    async fn welcome(self) -> Kept {
        let script = self.shared.script();
        let result = format!(
            r#"{{"protocolVersion":"{}","capabilities":{},"serverInfo":{{"name":"{}","version":"1.0"}},"instructions":"be kind"}}"#,
            script.version, script.capabilities, script.name
        );
        if script.dialect == Dialect::Legacy || !script.keeps_sessions {
            return self.result(&result).await;
        }
        let session = self.shared.remember();
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, self.seen.id());
        let (kind, body) = match script.dialect {
            Dialect::Events => ("text/event-stream", event(&message)),
            Dialect::Json | Dialect::Legacy => ("application/json", message),
        };
        self.respond(200, &[("content-type", kind), ("mcp-session-id", &session)], body.as_bytes()).await
    }

    /// A stream that lasts until the client hangs up, or the fake ends it; it begins with this message.
    pub(crate) async fn lasting(self, name: &str, first: &str) -> Kept {
        let (sender, mut texts) = mpsc::unbounded_channel();
        let shared = self.shared.clone();
        let mut stream = self.stream().await;
        stream.send(first).await;
        shared.attach(name, sender);
        loop {
            let mut nothing = [0_u8; 1];
            tokio::select! {
                text = texts.recv() => match text {
                    Some(text) => stream.raw(&text).await,
                    None => break,
                },
                _ = stream.0.read(&mut nothing) => break,
            }
        }
        shared.detach(name);
        shared.streams_ended.fetch_add(1, Ordering::Relaxed);
        None
    }

    /// A stream that lasts: of HTTP+SSE, or the session's own one of streamable HTTP.
    async fn open_stream(self, is_legacy: bool) -> Kept {
        let session = if is_legacy { self.shared.remember() } else { self.session().unwrap_or_default() };
        let (sender, mut texts) = mpsc::unbounded_channel();
        self.shared.attach(&session, sender);
        let shared = self.shared.clone();
        let mut stream = self.stream().await;
        if is_legacy {
            stream.raw(&format!("event: endpoint\ndata: /messages?session={session}\n\n")).await;
        }
        stream.follow(&mut texts).await;
        shared.detach(&session);
        if is_legacy {
            shared.forget(&session);
        }
        shared.streams_ended.fetch_add(1, Ordering::Relaxed);
        None
    }
}

// === impl Stream ===

impl Stream {
    /// Sends a message as an event.
    pub(crate) async fn send(&mut self, message: &str) {
        self.raw(&event(message)).await;
    }

    /// Sends a piece of the stream as it is.
    pub(crate) async fn raw(&mut self, text: &str) {
        let _ = self.try_raw(text.as_bytes()).await;
    }

    /// Sends a piece of the stream as it is, and tells whether the client still takes it.
    pub(crate) async fn try_raw(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.0.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
        self.0.write_all(piece).await?;
        self.0.write_all(b"\r\n").await
    }

    /// Sends what is said until nobody says anything more or the client hangs up.
    pub(crate) async fn follow(&mut self, texts: &mut mpsc::UnboundedReceiver<String>) {
        loop {
            let mut nothing = [0_u8; 1];
            tokio::select! {
                text = texts.recv() => match text {
                    Some(text) => self.raw(&text).await,
                    None => break,
                },
                // The client says nothing here, so that whatever is read is the end.
                _ = self.0.read(&mut nothing) => break,
            }
        }
    }

    /// Breaks the connection in the middle of the stream.
    pub(crate) fn cut(self) -> Kept {
        drop(self.0);
        None
    }

    /// Waits until the client hangs up.
    pub(crate) async fn until_hung_up(mut self) -> Kept {
        self.hung_up().await;
        None
    }

    /// The same, while it is still of use.
    pub(crate) async fn hung_up(&mut self) {
        let mut nothing = [0_u8; 1];
        // The client says nothing here, so that whatever is read is the end.
        let _ = self.0.read(&mut nothing).await;
    }

    /// Ends the stream as HTTP wants it.
    pub(crate) async fn end(mut self) -> Kept {
        let _ = self.0.write_all(b"0\r\n\r\n").await;
        Some(self.0)
    }
}

/// A message as an event.
pub(crate) fn event(message: &str) -> String {
    let lines: Vec<_> = message.split(['\n', '\r']).map(|line| format!("data: {line}\n")).collect();
    format!("event: message\n{}\n", lines.concat())
}
