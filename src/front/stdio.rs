//! Standard input and output (transports, "stdio"): one client, one session, one message on each line.

use crate::{
    catalog::view::Scope,
    front::{
        Front,
        each::{Answering, UnderWay, is_stateless},
        one_stream::{Wait, accompany, forward, room},
        streamable::{array, invalid_answer, take_answer},
    },
    policy::identity::Identity,
    protocol::stream::Reader,
    session::table::{Endpoint, Full, Session, Transport},
    wire::{
        error::Failure,
        line::{Line, Lines, line},
        message::{Answer, Body, Invalid, Message, Request},
        method::Method,
        raw::Raw,
    },
};
use bytes::Bytes;
use futures_util::future::join_all;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// What a client on standard input sees.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Which aliases.
    pub scope: Scope,
    /// What its `initialize` waits for.
    pub wait: Wait,
}

/// How long calls may go on after a signal, and be taken back in the end: who sent it kills soon.
const LAST: Duration = Duration::from_secs(1);
/// How many errors a second are sent back for what has no id: a peer that answers each of them would never end.
const MOST_COMPLAINTS: u32 = 10;

/// One client, for as long as it talks.
struct Talk {
    front: Front,
    session: Arc<Session>,
    wait: Wait,
    /// What is under way.
    tasks: TaskTracker,
    /// The `initialize` that is not answered yet.
    introduction: Option<JoinHandle<()>>,
    complaints: Complaints,
    /// Requests of the stateless era that are under way.
    stateless: UnderWay,
}

/// Bounds the errors that answer nothing in particular.
struct Complaints {
    since: Instant,
    said: u32,
}

/// Standard input, or what stands for it.
struct Input<R> {
    stream: R,
    lines: Lines,
    is_over: bool,
}

// === impl Front ===

impl Front {
    /// Serves the operator on a pair of streams: until the input ends, nobody takes the output, or the front stops.
    pub async fn converse<R, W>(&self, input: R, output: W, shown: Shown) -> Result<(), Full>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let Shown { scope, wait } = shown;
        let endpoint = Endpoint { transport: Transport::Stdio, path: scope.clone(), scope };
        let session = self.0.sessions.open(Arc::new(Identity::operator()), endpoint)?;
        let _open = session.open_stream();
        let gone = CancellationToken::new();
        let writer = write(session.inbox.stream.read(None), output, gone.clone());
        let writer = AbortOnDropHandle::new(tokio::spawn(writer));
        let mut talk = Talk {
            front: self.clone(),
            session,
            wait,
            tasks: TaskTracker::new(),
            introduction: None,
            complaints: Complaints { since: Instant::now(), said: 0 },
            stateless: UnderWay::default(),
        };
        let mut input =
            Input { stream: input, lines: Lines::new(self.0.settings.body_limit), is_over: false };
        let listen = async {
            while let Some(line) = input.next().await {
                talk.take(line).await;
            }
        };
        let reason = tokio::select! {
            biased;
            () = self.0.stop.cancelled() => "this gateway was told to stop",
            () = gone.cancelled() => "nobody takes what goes to the client",
            () = listen => "nothing more comes from the client",
        };
        tracing::debug!(client = talk.session.client(), reason, "the conversation ends");
        talk.end(writer, &gone).await;
        Ok(())
    }
}

// === impl Talk ===

impl Talk {
    async fn take(&mut self, line: Line) {
        let Line::Whole(bytes) = line else {
            let most = self.front.0.settings.body_limit;
            let message = format!("Invalid request: the line is longer than {most} bytes");
            let failure = Failure::invalid_request("body_too_large", message);
            return self.complain(&failure.hint("send less, or raise `limits.body`")).await;
        };
        match Body::parse(&bytes, self.front.0.settings.max_batch) {
            Ok(Body::One(message)) => self.one(message).await,
            Ok(Body::Batch(parts)) => self.batch(parts).await,
            Err(invalid @ Invalid::NotAMessage { id: Some(_), .. }) => {
                self.say(invalid_answer(&invalid)).await;
            }
            Err(invalid) => self.complain(&Failure::from(&invalid)).await,
        }
    }

    async fn one(&mut self, message: Message) {
        // It may take its time, and only a ping may come meanwhile (lifecycle, "Initialization"). Who sends more at
        // once, as scripts do, means it to be done in this order.
        let is_ping = matches!(&message, Message::Request(request) if request.method == Method::Ping);
        if !is_ping {
            self.introduced().await;
        }
        match message {
            Message::Request(request) if is_stateless(&request) => self.stateless(request),
            Message::Request(request) if request.method == Method::Initialize => self.initialize(request),
            Message::Request(request) => match self.refusal(&request) {
                Some(failure) => self.refuse(&request, &failure).await,
                None => match room(&self.session) {
                    Ok(room) => {
                        let events = self.front.0.relay.handle(self.front.0.lane, &self.session, request);
                        self.tasks.spawn(forward(self.session.clone(), room, events));
                    }
                    Err(failure) => self.refuse(&request, &failure).await,
                },
            },
            Message::Notice(notice) => {
                self.stateless.cancel(&notice);
                self.front.note(&self.session, &notice);
            }
            Message::Answer(answer) => take_answer(&self.session, answer),
        }
    }

    /// A request of the stateless era, which needs no introduction; other requests go on meanwhile.
    fn stateless(&self, request: Request) {
        let talk = Answering {
            front: self.front.clone(),
            session: self.session.clone(),
            going: self.stateless.clone(),
            wait: self.wait,
        };
        self.tasks.spawn(talk.run(request));
    }

    fn initialize(&mut self, request: Request) {
        let (front, session, wait) = (self.front.clone(), self.session.clone(), self.wait);
        self.introduction = Some(self.tasks.spawn(async move {
            let answer = front.introduce(&session, &request, wait).await;
            session.inbox.stream.send(answer.bytes().clone()).await;
        }));
    }

    /// Waits until `initialize` is answered, if it came.
    async fn introduced(&mut self) {
        if let Some(introduction) = &mut self.introduction {
            // It ends by itself, and answers whatever happens.
            let _ = introduction.await;
            self.introduction = None;
        }
    }

    /// Why a request is not for the relay, if it is not.
    fn refusal(&self, request: &Request) -> Option<Failure> {
        match request.method {
            Method::Ping => None,
            _ if self.session.version().is_none() => Some(uninitialized()),
            _ => None,
        }
    }

    /// Batches are part of 2025-03-26 and before, and `initialize` is never part of one. Notices go ahead of the array.
    async fn batch(&mut self, parts: Vec<Result<Message, Invalid>>) {
        self.introduced().await;
        match self.session.version() {
            None => return self.complain(&uninitialized()).await,
            Some(version) if !version.has_batches() => {
                let message = "Invalid request: this session's protocol version has no batches; they were removed in 2025-06-18";
                let failure = Failure::invalid_request("batch", message);
                return self.complain(&failure.hint("send one message on one line")).await;
            }
            Some(_) => {}
        }
        let (mut answers, mut calls) = (Vec::new(), Vec::new());
        for part in parts {
            match part {
                Ok(Message::Request(request)) if request.method == Method::Initialize => {
                    let failure =
                        Failure::invalid_request("batch", "Invalid request: `initialize` stands alone");
                    answers.push(error(&request, &failure));
                }
                Ok(Message::Request(request)) => {
                    match self.refusal(&request).map_or_else(|| room(&self.session), Err) {
                        Ok(room) => {
                            let events = self.front.0.relay.handle(self.front.0.lane, &self.session, request);
                            calls.push((room, events));
                        }
                        Err(failure) => answers.push(error(&request, &failure)),
                    }
                }
                Ok(Message::Notice(notice)) => self.front.note(&self.session, &notice),
                Ok(Message::Answer(answer)) => take_answer(&self.session, answer),
                Err(invalid) => answers.push(invalid_answer(&invalid)),
            }
        }
        let session = self.session.clone();
        self.tasks.spawn(async move {
            let (_rooms, calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
            let called = join_all(calls.into_iter().map(|events| accompany(&session, events))).await;
            answers.extend(called.into_iter().flatten().map(|answer| answer.bytes().clone()));
            if !answers.is_empty() {
                session.inbox.stream.send(array(&answers)).await;
            }
        });
    }

    /// Answers with an error.
    async fn refuse(&self, request: &Request, failure: &Failure) {
        self.say(error(request, failure)).await;
    }

    /// Says that something was wrong with what nobody can tell the id of.
    async fn complain(&mut self, failure: &Failure) {
        if self.complaints.may_be_said() {
            self.say(Answer::error(&Raw::of(&()), &failure.object()).bytes().clone()).await;
        } else {
            tracing::debug!(reason = failure.reason, "one more line of the client is passed over");
        }
    }

    /// Puts a message on the way; a client that does not read is not read from either.
    async fn say(&self, message: Bytes) {
        self.session.inbox.stream.send(message).await;
    }

    /// Lets what is under way end, within bounds, and then ends the session.
    async fn end(mut self, writer: AbortOnDropHandle<()>, gone: &CancellationToken) {
        let (session, front) = (&self.session, &self.front.0);
        // Nobody answers any more.
        session.inbox.asked.close();
        self.stateless.hush();
        self.introduction = None;
        self.tasks.close();
        let mut writer = writer;
        let all = async {
            self.tasks.wait().await;
            session.inbox.stream.finish();
            // However the writing ended, there is nothing more to do about it.
            let _ = (&mut writer).await;
        };
        let is_whole = tokio::select! {
            biased;
            ended = timeout(front.settings.drain, all) => ended.is_ok(),
            () = gone.cancelled() => true,
            () = async { front.stop.cancelled().await; sleep(LAST).await } => false,
        };
        if !is_whole {
            tracing::warn!(calls = session.running.len(), "calls were cut off when the conversation ended");
        }
        // Who waits to be read waits no longer.
        drop(writer);
        session.running.cancel_all();
        self.stateless.cancel_all();
        // A call that cannot even be taken back ends with the process.
        let _ = timeout(LAST, self.tasks.wait()).await;
        self.front.end(session);
    }
}

fn error(request: &Request, failure: &Failure) -> Bytes {
    Answer::error(&request.id(), &failure.object()).bytes().clone()
}

fn uninitialized() -> Failure {
    let message = "Invalid request: nothing but `ping` comes before `initialize`";
    Failure::invalid_request("no_session", message).hint("send `initialize` first, and then this again")
}

/// Writes what goes to the client, each message as one line; `gone` tells that nobody takes it any more.
async fn write<W: AsyncWrite + Unpin>(mut reader: Reader, mut output: W, gone: CancellationToken) {
    while let Some((_, message)) = reader.next().await {
        let line = line(&message);
        let written = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "the client does not take what is said to it");
            gone.cancel();
            return;
        }
    }
}

// === impl Complaints ===

impl Complaints {
    fn may_be_said(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            (self.since, self.said) = (Instant::now(), 0);
        }
        self.said += 1;
        self.said <= MOST_COMPLAINTS
    }
}

// === impl Input ===

impl<R: AsyncRead + Unpin> Input<R> {
    /// The next line that is not empty; `None` when there are no more.
    async fn next(&mut self) -> Option<Line> {
        while !self.is_over {
            if let Some(line) = self.lines.next_line() {
                return Some(line);
            }
            // An error of what is read is its end.
            if let Ok(0) | Err(_) = self.stream.read_buf(self.lines.buffer()).await {
                self.is_over = true;
                return self.lines.rest();
            }
        }
        None
    }
}
