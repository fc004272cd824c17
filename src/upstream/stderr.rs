//! What a child process writes to its standard error: lines for the log, shortened, bounded, and without our secrets.

use crate::upstream::{settings::Command, words};
use bytes::BytesMut;
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{io::AsyncReadExt as _, net::unix::pipe, time::Instant};
use tokio_util::sync::CancellationToken;

/// How much of a line is looked at; the rest of it is left out.
const LONGEST: usize = 4096;
/// How many characters of the last line are told.
const MOST_TOLD: usize = 200;
/// How many lines may come at once, which is enough for any stack trace.
const BURST: u32 = 200;
/// How often one more may come after that.
const REFILL: Duration = Duration::from_millis(100);

/// The standard error of a child process.
#[derive(Debug)]
pub(crate) struct Stderr {
    pipe: pipe::Receiver,
    alias: String,
    secrets: Vec<String>,
    last_words: Arc<LastWords>,
    room: Room,
}

/// The last line that a child process wrote to its standard error.
#[derive(Debug, Default)]
pub(crate) struct LastWords {
    line: Mutex<Option<String>>,
    all: CancellationToken,
}

/// How many more lines may be logged.
#[derive(Debug)]
struct Room {
    lines: u32,
    since: Instant,
    left_out: u64,
}

// === impl Stderr ===

impl Stderr {
    /// What the process of a command says.
    pub(crate) fn new(pipe: pipe::Receiver, command: &Command, last_words: Arc<LastWords>) -> Self {
        let room = Room { lines: BURST, since: Instant::now(), left_out: 0 };
        Self { pipe, alias: command.alias.clone(), secrets: words::of_command(command), last_words, room }
    }

    /// Logs it until it ends.
    pub(crate) async fn log(mut self) {
        let mut buffer = BytesMut::with_capacity(LONGEST);
        // Whether the beginning of the line was logged already.
        let mut is_cut = false;
        loop {
            while let Some(end) = memchr::memchr(b'\n', &buffer) {
                let line = buffer.split_to(end + 1);
                if !std::mem::take(&mut is_cut) {
                    self.line(&line);
                }
            }
            if buffer.len() >= LONGEST {
                if !is_cut {
                    self.line(&buffer);
                }
                is_cut = true;
                buffer.clear();
            }
            buffer.reserve(LONGEST);
            if let Ok(0) | Err(_) = self.pipe.read_buf(&mut buffer).await {
                break;
            }
        }
        if !is_cut {
            self.line(&buffer);
        }
        self.confess();
        self.last_words.all.cancel();
    }

    fn line(&mut self, line: &[u8]) {
        let text = words::plain(line, &self.secrets);
        if text.is_empty() {
            return;
        }
        if self.room.take() {
            self.confess();
            tracing::info!(alias = %self.alias, "stderr: {text}");
        }
        *self.last_words.line() = Some(text);
    }

    /// Says how many lines were left out, and the last of them, which may be why the process ended.
    fn confess(&mut self) {
        let left_out = std::mem::take(&mut self.room.left_out);
        if left_out > 0 {
            let last = self.last_words.line().clone().unwrap_or_default();
            tracing::info!(
                alias = %self.alias,
                left_out,
                "stderr: some lines were left out, the last of them: {last}"
            );
        }
    }
}

// === impl Room ===

impl Room {
    /// Whether there is room for one more line.
    fn take(&mut self) -> bool {
        let gained = self.since.elapsed().as_millis() / REFILL.as_millis();
        if gained > 0 {
            self.lines = self.lines.saturating_add(u32::try_from(gained).unwrap_or(BURST)).min(BURST);
            self.since = Instant::now();
        }
        match self.lines.checked_sub(1) {
            Some(lines) => {
                self.lines = lines;
                true
            }
            None => {
                self.left_out += 1;
                false
            }
        }
    }
}

// === impl LastWords ===

impl LastWords {
    /// Waits until there are no more.
    pub(crate) async fn all(&self) -> Option<String> {
        self.all.cancelled().await;
        self.now()
    }

    /// As far as they were read.
    pub(crate) fn now(&self) -> Option<String> {
        Some(self.line().as_ref()?.chars().take(MOST_TOLD).collect())
    }

    fn line(&self) -> MutexGuard<'_, Option<String>> {
        // No code that holds the lock can panic.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
