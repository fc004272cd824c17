//! The standard streams of a child process: one JSON text on each line, in both directions.

use crate::{
    upstream::{
        desk::Desk,
        fault::Fault,
        http::messages,
        mux::Mux,
        process::{Lines, Process},
        settings::Command,
        sink::Sink,
        words,
    },
    wire::{
        message::{Answer, Message, Notice},
        method::Method,
        raw::Raw,
    },
};
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;
use tokio::{runtime::Handle, sync::oneshot};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// One session with an upstream, which is a process of its own.
#[derive(Debug)]
pub(crate) struct StdioLink {
    process: Arc<Process>,
    mux: Mux,
    secrets: Arc<[String]>,
    _reader: AbortOnDropHandle<()>,
}

struct Reader {
    lines: Lines,
    process: Arc<Process>,
    mux: Mux,
    secrets: Arc<[String]>,
    alias: String,
    /// Whether it was said that there are lines that are no messages.
    has_complained: bool,
}

/// Takes a stream of notices back when it is dropped while it stands.
struct Hearing<'link> {
    process: &'link Arc<Process>,
    id: u64,
    is_over: bool,
}

// === impl StdioLink ===

impl StdioLink {
    /// Starts the process; `processes` has a member for as long as something of it is left.
    pub(crate) fn open(
        command: &Command,
        max_message: usize,
        processes: &TaskTracker,
        desk: Arc<Desk>,
    ) -> Result<Self, Fault> {
        let (process, lines) = Process::spawn(command, max_message, processes)?;
        let (process, mux) = (Arc::new(process), Mux::new(desk));
        let secrets: Arc<[String]> = words::of_command(command).into();
        let reader = Reader {
            lines,
            process: process.clone(),
            mux: mux.clone(),
            secrets: secrets.clone(),
            alias: command.alias.clone(),
            has_complained: false,
        };
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        Ok(Self { process, mux, secrets, _reader: reader })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(
        &self,
        id: u64,
        body: Bytes,
        sink: Option<Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        // Nothing was sent yet: a process that is gone by now costs the call nothing.
        let mut waiting = self.mux.pending.wait(id, sink).map_err(|_| Fault::SessionGone)?;
        self.process.send(&body).await?;
        (&mut waiting.answer).await.unwrap_or_else(|_| Err(Fault::Closed("its output ended".into())))
    }

    /// Opens a stream of notices and waits for its end; `acknowledged` is told when the upstream says that it stands.
    /// Dropped before, it ends the stream.
    pub(crate) async fn hear(
        &self,
        id: u64,
        body: Bytes,
        acknowledged: oneshot::Sender<Notice>,
    ) -> Result<Answer, Fault> {
        let _place = self.mux.stream(id, acknowledged);
        let mut hearing = Hearing { process: &self.process, id, is_over: false };
        let answer = self.request(id, body, None).await;
        hearing.is_over = true;
        answer
    }

    /// The session's questions.
    pub(crate) fn desk(&self) -> &Desk {
        &self.mux.desk
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, body: Bytes) -> Result<(), Fault> {
        self.process.send(&body).await
    }

    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        words::quoted(text, &self.secrets)
    }

    /// Waits until the process is gone, and says why.
    pub(crate) async fn wait_end(&self) -> Fault {
        self.mux.pending.wait_end().await
    }

    /// A caller has the session from now on.
    pub(crate) fn begin(&self) {
        self.mux.desk.begin();
    }

    /// Nobody answers this session's questions any more.
    pub(crate) fn end(&self) {
        self.mux.desk.close();
    }

    /// Why the process is gone, if it is.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.mux.pending.ended()
    }

    /// Ends the process, and waits until nothing of it is left.
    pub(crate) async fn close(&self) {
        self.process.close().await;
    }
}

// === impl Hearing ===

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        let Some(runtime) = Handle::try_current().ok().filter(|_| !self.is_over) else { return };
        let params = Raw::of(&json!({"requestId": self.id}));
        let notice = Notice::new(&Method::Cancelled, Some(&params));
        let process = self.process.clone();
        runtime.spawn(async move {
            // A process that is gone needs no word.
            let _ = process.send(notice.bytes()).await;
        });
    }
}

// === impl Reader ===

impl Reader {
    async fn run(mut self) {
        let fault = match self.read().await {
            Some(fault) => fault,
            None => self.process.bury().await,
        };
        self.mux.end(&fault);
        // The supervisor's own session tells it by ending; a client's is opened again when it is used.
        tracing::debug!(alias = %self.alias, %fault, "the process of an upstream ended");
        self.process.close().await;
    }

    /// Reads to the end of the output; a fault if it has to be given up before.
    async fn read(&mut self) -> Option<Fault> {
        loop {
            match self.lines.next().await {
                Ok(Some(line)) => match messages(&line, |text| words::quoted(text, &self.secrets)) {
                    Ok(messages) => messages.into_iter().for_each(|message| self.take(message)),
                    Err(fault) => self.complain(&fault),
                },
                Ok(None) => return None,
                Err(fault) => return Some(fault),
            }
        }
    }

    /// Many servers greet on the wrong stream, which does no harm.
    fn complain(&mut self, fault: &Fault) {
        if std::mem::replace(&mut self.has_complained, true) {
            tracing::debug!(alias = %self.alias, "a line of an upstream's output is left out: {fault}");
        } else {
            tracing::warn!(
                alias = %self.alias,
                "an upstream writes to its standard output what belongs to standard error; such lines are left out: {fault}"
            );
        }
    }

    fn take(&self, message: Message) {
        let process = self.process.clone();
        self.mux.take(message, move |message| {
            let process = process.clone();
            async move { process.send(&message).await }
        });
    }
}
