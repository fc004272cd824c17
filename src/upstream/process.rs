//! A child process as a pipe of lines: how it begins, how it is spoken to, and how it ends.
//!
//! Between the gateway and the child stands a keeper (see `keeper.rs`), which is told everything by the closing of one
//! pipe. Whatever drops a [`Process`], the end of the gateway included, ends the child.

use crate::{
    upstream::{
        fault::Fault,
        settings::Command,
        stderr::{LastWords, Stderr},
    },
    wire::line::line,
};
use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, ExitStatus, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::pipe,
    sync::{Mutex, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The word by which the gateway's program becomes a keeper.
pub const KEEPER: &str = "__keep";

/// Variables of the gateway that a child may see: its other ones are none of the child's business, and some are secret.
const INHERITED: &[&str] =
    &["HOME", "LANG", "LANGUAGE", "LOGNAME", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER"];
/// The same, by their beginnings.
const INHERITED_KINDS: &[&str] = &["LC_", "XDG_"];
/// A child that reads nothing for this long although something waits for it is of no use any more.
const STALL: Duration = Duration::from_secs(10);
/// How much is read at once.
const READ: usize = 16 * 1024;
/// How much longer than the child the keeper may take.
const KEEPER_GRACE: Duration = Duration::from_secs(2);
/// How long the last words of a process that ended are waited for.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A child process, to be written to.
#[derive(Debug)]
pub(crate) struct Process {
    stdin: Mutex<Stdin>,
    /// It is to end.
    over: CancellationToken,
    /// How it ended.
    ended: watch::Receiver<Option<String>>,
    last_words: Arc<LastWords>,
    keeper: u32,
    grace: Duration,
}

/// What a child process writes, line by line.
#[derive(Debug)]
pub(crate) struct Lines {
    stdout: pipe::Receiver,
    buffer: BytesMut,
    /// How much of the buffer has no line end.
    searched: usize,
    most: usize,
}

#[derive(Debug)]
struct Stdin {
    /// `None` when it is closed.
    pipe: Option<pipe::Sender>,
    /// What is still to be written of the last line: a sender that gives up leaves it to the next one, so that no line
    /// is cut off.
    rest: Bytes,
}

// === impl Process ===

impl Process {
    /// Starts it on the current runtime. `processes` has a member for as long as something of it is left.
    pub(crate) fn spawn(
        command: &Command,
        max_message: usize,
        processes: &TaskTracker,
    ) -> Result<(Self, Lines), Fault> {
        let failed = |error: io::Error| Fault::Unreachable(format!("its process cannot be started: {error}"));
        let mut child = keeper(command).spawn().map_err(failed)?;
        let pid = child.id();
        let (Some(stdin), Some(stdout), Some(stderr)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(failed(io::Error::other("it has no pipes")));
        };
        let (stdout, stderr) = (OwnedFd::from(stdout), OwnedFd::from(stderr));
        // A child that has last words should not die of them: its pipes stay open for as long as it lives.
        let open = [&stdout, &stderr].map(|pipe| pipe.as_fd().try_clone_to_owned());
        let (how, ended) = watch::channel(None);
        let member = processes.token();
        let attend = move || {
            let status = attend(&mut child);
            how.send_replace(Some(status));
            drop((open, member));
        };
        // A thread of its own, since the runtime that starts it may end before it does.
        thread::Builder::new().name("child".into()).spawn(attend).map_err(failed)?;
        let stdin = pipe::Sender::from_owned_fd(OwnedFd::from(stdin)).map_err(failed)?;
        let stdout = pipe::Receiver::from_owned_fd(stdout).map_err(failed)?;
        let stderr = pipe::Receiver::from_owned_fd(stderr).map_err(failed)?;
        let last_words = Arc::new(LastWords::default());
        tokio::spawn(Stderr::new(stderr, command, last_words.clone()).log());
        let process = Self {
            stdin: Mutex::new(Stdin { pipe: Some(stdin), rest: Bytes::new() }),
            over: CancellationToken::new(),
            ended,
            last_words,
            keeper: pid,
            grace: command.grace,
        };
        Ok((process, Lines { stdout, buffer: BytesMut::new(), searched: 0, most: max_message }))
    }

    /// Writes one message as a line. A sender that gives up has sent its message or it has not; never half of it.
    pub(crate) async fn send(&self, message: &Bytes) -> Result<(), Fault> {
        let line = line(message);
        tokio::select! {
            biased;
            () = self.over.cancelled() => Err(Fault::SessionGone),
            sent = self.write(line) => sent,
        }
    }

    async fn write(&self, line: Bytes) -> Result<(), Fault> {
        let mut stdin = self.stdin.lock().await;
        let written = async {
            stdin.flush().await?;
            stdin.rest = line;
            stdin.flush().await
        };
        let written = written.await;
        if written.is_err() {
            stdin.close();
            self.over.cancel();
        }
        written
    }

    /// Ends it: closes its standard input, waits, and what does not end by itself is ended.
    pub(crate) async fn close(&self) {
        self.over.cancel();
        self.stdin.lock().await.close();
        if timeout(self.grace * 2 + KEEPER_GRACE, self.wait()).await.is_err() {
            tracing::warn!(keeper = self.keeper, "a child process does not end; it is killed");
            kill_all(self.keeper);
            // What the kernel cannot end, nobody can.
            let _ = timeout(KEEPER_GRACE, self.wait()).await;
        }
    }

    /// Ends it after its output has ended, and says how it ended.
    pub(crate) async fn bury(&self) -> Fault {
        let was_over = self.over.is_cancelled();
        self.close().await;
        let how = self.ended.borrow().clone().unwrap_or_else(|| "what nobody knows".into());
        if was_over {
            return Fault::Closed("this gateway ended the process".into());
        }
        let last_words = timeout(LAST_WORDS, self.last_words.all()).await;
        Fault::Closed(match last_words.unwrap_or_else(|_| self.last_words.now()) {
            Some(words) => format!("the process ended with {how}: {words}"),
            None => format!("the process ended with {how}"),
        })
    }

    /// Waits until nothing of it is left.
    async fn wait(&self) {
        // A sender that is gone has told, or never will.
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

// === impl Stdin ===

impl Stdin {
    async fn flush(&mut self) -> Result<(), Fault> {
        let Some(pipe) = &mut self.pipe else { return Err(Fault::SessionGone) };
        while !self.rest.is_empty() {
            let stalled = Fault::Timeout { step: "read its standard input", after: STALL };
            match timeout(STALL, pipe.write(&self.rest)).await {
                Ok(Ok(count)) => self.rest.advance(count),
                // It ended before it had the whole line, so that it cannot have understood it.
                Ok(Err(_)) => return Err(Fault::SessionGone),
                Err(_) => return Err(stalled),
            }
        }
        Ok(())
    }

    fn close(&mut self) {
        self.pipe = None;
        self.rest = Bytes::new();
    }
}

// === impl Lines ===

impl Lines {
    /// The next line that is not empty, without its end; `None` when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        loop {
            while let Some(end) = memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                if let Some(line) = self.check(line)? {
                    return Ok(Some(line));
                }
            }
            self.searched = self.buffer.len();
            if self.searched > self.most {
                return Err(Fault::TooLarge(self.most));
            }
            if self.buffer.capacity() - self.buffer.len() < READ / 8 {
                self.buffer.reserve(READ);
            }
            // An error of a pipe is its end.
            if let Ok(0) | Err(_) = self.stdout.read_buf(&mut self.buffer).await {
                self.searched = 0;
                let rest = self.buffer.split();
                return self.check(rest);
            }
        }
    }

    fn check(&self, mut line: BytesMut) -> Result<Option<Bytes>, Fault> {
        line.truncate(line.trim_ascii_end().len());
        if line.len() > self.most {
            return Err(Fault::TooLarge(self.most));
        }
        Ok((!line.is_empty()).then(|| line.freeze()))
    }
}

/// The keeper, with the child's environment and folder.
fn keeper(command: &Command) -> std::process::Command {
    let mut keeper = std::process::Command::new(&command.keeper);
    keeper.args([KEEPER, "--grace-ms", &command.grace.as_millis().to_string(), "--", &command.program]);
    keeper.args(command.args.iter().map(ExposeSecret::expose_secret));
    keeper.env_clear().envs(inherited());
    keeper.envs(command.env.iter().map(|(name, value)| (name, value.expose_secret())));
    if let Some(folder) = &command.cwd {
        keeper.current_dir(folder);
    }
    // Its own group: what a terminal sends to the gateway is not for the child, and all can be killed at once.
    keeper.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    keeper
}

fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, value)| {
        let Some(name) = name.to_str() else { return false };
        let is_known = INHERITED.contains(&name) || INHERITED_KINDS.iter().any(|kind| name.starts_with(kind));
        // An exported function of a shell would be run by the next one.
        is_known && !value.as_encoded_bytes().starts_with(b"()")
    })
}

/// Waits for the keeper, and says how the child ended.
fn attend(keeper: &mut Child) -> String {
    match keeper.wait() {
        Ok(status) => {
            if status.signal().is_some() {
                // Somebody killed the keeper, so that the child is left to us.
                kill_all(keeper.id());
            }
            describe(status)
        }
        Err(error) => error.to_string(),
    }
}

/// Kills a keeper's process group.
fn kill_all(keeper: u32) {
    if let Some(group) = i32::try_from(keeper).ok().and_then(Pid::from_raw) {
        // It may just have ended.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        // As shells do, the keeper tells a signal by a number above 128.
        (Some(code @ 129..=192), _) => format!("exit status {code} (signal {})", code - 128),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit status".into(),
    }
}
