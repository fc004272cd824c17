//! An MCP client on a pair of pipes: one message on each line.

use crate::kit::{clock::within, gateway::Running, session::hello};
use serde_json::Value;
use tokio::{
    io::{
        AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader, DuplexStream, Lines,
        duplex,
    },
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use trunkline::{
    catalog::{name::Alias, settings::NameRules, view::Scope},
    front::{Wait, stdio::Shown},
    protocol::call::Lane,
};

/// A client; what it reads must be JSON.
pub(crate) struct Pipe<W, R> {
    input: Option<W>,
    output: Option<Lines<BufReader<R>>>,
}

/// A client of a gateway in this process.
pub(crate) struct Client {
    pub(crate) pipe: Pipe<DuplexStream, DuplexStream>,
    /// Ends when the conversation does.
    pub(crate) talk: JoinHandle<()>,
    /// As a signal would.
    pub(crate) stop: CancellationToken,
}

/// How much fits into a pipe.
const CAPACITY: usize = 64 * 1024;

// === impl Client ===

impl Client {
    /// Connects; `alias` is shown alone, and must be reached.
    pub(crate) fn connect(gateway: &Running, alias: Option<&str>) -> Self {
        let shown = match alias {
            None => Shown { scope: Scope::All, wait: Wait::AMoment },
            Some(name) => {
                let alias = Alias::parse(name, &NameRules::default()).expect("an alias");
                Shown { scope: Scope::One(alias), wait: Wait::TheUpstream }
            }
        };
        let stop = CancellationToken::new();
        let front = gateway.gateway.front(Lane(0), stop.clone());
        let (ours, input) = duplex(CAPACITY);
        let (output, theirs) = duplex(CAPACITY);
        let talk = tokio::spawn(async move {
            front.converse(input, output, shown).await.expect("room for a session");
        });
        Self { pipe: Pipe::new(ours, theirs), talk, stop }
    }

    /// Connects and introduces itself.
    pub(crate) async fn open(gateway: &Running, alias: Option<&str>) -> Self {
        let mut client = Self::connect(gateway, alias);
        client.pipe.introduce("2025-11-25").await;
        client
    }

    /// Waits until the conversation ended.
    pub(crate) async fn ended(&mut self) {
        within("the end of the conversation", &mut self.talk).await.expect("no panic");
    }
}

// === impl Pipe ===

impl<W: AsyncWrite + Unpin, R: AsyncRead + Unpin> Pipe<W, R> {
    pub(crate) fn new(input: W, output: R) -> Self {
        Self { input: Some(input), output: Some(BufReader::new(output).lines()) }
    }

    pub(crate) async fn introduce(&mut self, version: &str) -> Value {
        let welcome = self.ask(&hello(version)).await;
        assert_eq!(welcome["result"]["protocolVersion"], version, "{welcome}");
        self.write(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        welcome
    }

    /// Writes a line.
    pub(crate) async fn write(&mut self, line: &str) {
        let input = self.input.as_mut().expect("an open pipe");
        let written = async {
            input.write_all(format!("{line}\n").as_bytes()).await?;
            input.flush().await
        };
        within("a line to be taken", written).await.expect("somebody reads");
    }

    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let output = self.output.as_mut().expect("an open pipe");
        within("a line", output.next_line()).await.expect("text")
    }

    /// The next message.
    pub(crate) async fn message(&mut self) -> Value {
        let line = self.line().await.expect("a message before the end");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// Writes a request, and reads the next message, which is its answer where nothing else is under way.
    pub(crate) async fn ask(&mut self, line: &str) -> Value {
        self.write(line).await;
        self.message().await
    }

    /// Calls a tool without arguments.
    pub(crate) async fn call(&mut self, name: &str) -> Value {
        self.ask(&call(1, name)).await
    }

    /// Proves that everything works, whatever came before.
    pub(crate) async fn works(&mut self) {
        let answer = self.ask(r#"{"jsonrpc":"2.0","id":"still here","method":"ping"}"#).await;
        assert_eq!(answer.to_string(), r#"{"jsonrpc":"2.0","id":"still here","result":{}}"#);
    }

    /// Says that nothing more comes.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Reads no more.
    pub(crate) fn close_output(&mut self) {
        self.output = None;
    }
}

/// A call without arguments.
pub(crate) fn call(id: u32, name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}"}}}}"#)
}
