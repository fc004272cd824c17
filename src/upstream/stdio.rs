//! The standard streams of a child process: one JSON text on each line, in both directions.

use crate::{
    protocol::inbox::Inbox,
    upstream::{
        ask,
        fault::Fault,
        http::messages,
        pending::Pending,
        process::{Lines, Process},
        settings::Command,
        signals::Signals,
        sink::Sink,
        words,
    },
    wire::{
        message::{Answer, Message, Notice, Request},
        method::Method,
        params,
    },
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

/// How many questions of an upstream may wait for their answers.
const MOST_ASKED: usize = 16;
/// How long an upstream may take to read the answer to its question.
const ANSWER: Duration = Duration::from_secs(5);

/// One session with an upstream, which is a process of its own.
#[derive(Debug)]
pub(crate) struct StdioLink {
    process: Arc<Process>,
    pending: Arc<Pending>,
    secrets: Arc<[String]>,
    _reader: AbortOnDropHandle<()>,
}

struct Reader {
    lines: Lines,
    process: Arc<Process>,
    pending: Arc<Pending>,
    secrets: Arc<[String]>,
    alias: String,
    signals: Arc<Signals>,
    inbox: Option<Arc<Inbox>>,
    asked: mpsc::Sender<Request>,
    /// Whether it was said that there are lines that are no messages.
    has_complained: bool,
}

// === impl StdioLink ===

impl StdioLink {
    /// Starts the process; `processes` has a member for as long as something of it is left.
    pub(crate) fn open(
        command: &Command,
        max_message: usize,
        processes: &TaskTracker,
        signals: Arc<Signals>,
        inbox: Option<Arc<Inbox>>,
    ) -> Result<Self, Fault> {
        let (process, lines) = Process::spawn(command, max_message, processes)?;
        let (process, pending) = (Arc::new(process), Arc::new(Pending::default()));
        let secrets: Arc<[String]> = words::of_command(command).into();
        let (asked, questions) = mpsc::channel(MOST_ASKED);
        // Ends when the reader does, which holds the other end.
        tokio::spawn(answer(process.clone(), questions));
        let reader = Reader {
            lines,
            process: process.clone(),
            pending: pending.clone(),
            secrets: secrets.clone(),
            alias: command.alias.clone(),
            signals,
            inbox,
            asked,
            has_complained: false,
        };
        let reader = AbortOnDropHandle::new(tokio::spawn(reader.run()));
        Ok(Self { process, pending, secrets, _reader: reader })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(
        &self,
        id: u64,
        body: Bytes,
        sink: Option<Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        // Nothing was sent yet: a process that is gone by now costs the call nothing.
        let mut waiting = self.pending.wait(id, sink).map_err(|_| Fault::SessionGone)?;
        self.process.send(&body).await?;
        (&mut waiting.answer).await.unwrap_or_else(|_| Err(Fault::Closed("its output ended".into())))
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
        self.pending.wait_end().await
    }

    /// Why the process is gone, if it is.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.pending.ended()
    }

    /// Ends the process, and waits until nothing of it is left.
    pub(crate) async fn close(&self) {
        self.process.close().await;
    }
}

/// Answers what the upstream asks, one after the other.
async fn answer(process: Arc<Process>, mut asked: mpsc::Receiver<Request>) {
    while let Some(request) = asked.recv().await {
        match timeout(ANSWER, process.send(ask::refuse(&request).bytes())).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::debug!(%fault, "an upstream did not take the answer to its question"),
            Err(_) => tracing::debug!("an upstream did not take the answer to its question in time"),
        }
    }
}

// === impl Reader ===

impl Reader {
    async fn run(mut self) {
        let fault = match self.read().await {
            Some(fault) => fault,
            None => self.process.bury().await,
        };
        self.pending.end(&fault);
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
        match message {
            Message::Answer(answer) => {
                let id = answer.id();
                if !self.pending.answer(answer) {
                    tracing::debug!(%id, "an upstream answered a call that nobody waits for");
                }
            }
            Message::Notice(notice) if notice.method == Method::ToolsChanged => self.signals.relist(),
            Message::Notice(notice) => self.pass(&notice),
            Message::Request(request) => {
                if self.asked.try_send(request).is_err() {
                    tracing::debug!("an upstream asks more than it takes answers; a question stays open");
                }
            }
        }
    }

    fn pass(&self, notice: &Notice) {
        let token = match notice.method {
            Method::Progress => match notice.params().as_ref().and_then(params::progress) {
                Some((token, _)) => Some(token),
                None => return,
            },
            _ => None,
        };
        match self.pending.sink(token.as_ref()) {
            Some(sink) => sink.pass_now(notice),
            // The session is one client's, and so is what its upstream says between calls.
            None if token.is_none() => self.inbox.iter().for_each(|inbox| inbox.pass(notice)),
            None => {}
        }
    }
}
