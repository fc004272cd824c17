//! One event stream to a client: what was put on it, in order, who reads it, and what can be read again.
//!
//! A stream outlives the connection that reads it: a client that lost the connection takes the rest, and what it may
//! have missed, from where it stopped (transports, "Resumability and Redelivery").

use bytes::Bytes;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// One event stream to a client.
#[derive(Debug)]
pub struct Stream {
    state: Mutex<State>,
    bounds: Bounds,
    /// Bytes that all streams keep together.
    kept: Arc<AtomicUsize>,
    /// Something can be read, or never will be.
    news: Notify,
    /// There is room, or nobody who reads.
    room: Notify,
}

/// How much a stream keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages that wait to be read.
    pub queue: usize,
    /// The most bytes that are kept, read or not; a single message may be larger while it waits.
    pub bytes: usize,
    /// The most bytes that all streams keep together.
    pub all_bytes: usize,
}

#[derive(Debug, Default)]
struct State {
    /// What is kept: the end of it waits to be read, the rest was and may be asked for again.
    messages: VecDeque<Bytes>,
    /// The number of the first message that is kept, less one.
    before: u64,
    /// The number of the message that was read last.
    read: u64,
    bytes: usize,
    /// Which reader is the present one.
    reader: Option<u64>,
    readers: u64,
    is_over: bool,
}

/// Reads a stream; a later reader takes its place.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    number: u64,
}

// === impl Stream ===

impl Stream {
    /// An empty stream; `kept` counts the bytes of all streams that share it.
    pub fn new(bounds: Bounds, kept: Arc<AtomicUsize>) -> Arc<Self> {
        let (state, news, room) = (Mutex::default(), Notify::new(), Notify::new());
        Arc::new(Self { state, bounds, kept, news, room })
    }

    /// Puts a message on the stream if there is room for it.
    pub fn push(&self, message: Bytes) -> bool {
        let mut state = self.state();
        let is_kept = !state.is_over && self.has_room(&state);
        if is_kept {
            self.keep(&mut state, message);
        }
        is_kept
    }

    /// Puts a message on the stream whatever waits there already: answers and questions, whose number others bound.
    /// `false` if the stream is over, or if all streams together keep too much and nobody reads this one.
    pub fn insist(&self, message: Bytes) -> bool {
        let mut state = self.state();
        let is_too_much = state.reader.is_none()
            && self.kept.load(Ordering::Relaxed).saturating_add(message.len()) > self.bounds.all_bytes;
        if state.is_over || is_too_much {
            return false;
        }
        self.keep(&mut state, message);
        true
    }

    /// Puts a message on the stream unless the same one waits there already.
    pub fn insist_once(&self, message: Bytes) {
        let mut state = self.state();
        let unread = state.unread();
        if !state.is_over && !state.messages.iter().rev().take(unread).any(|waiting| *waiting == message) {
            self.keep(&mut state, message);
        }
    }

    /// Puts a message on the stream, and waits for room as long as somebody reads. `false` if it found none.
    pub async fn send(&self, message: Bytes) -> bool {
        loop {
            let mut room = std::pin::pin!(self.room.notified());
            room.as_mut().enable();
            {
                let mut state = self.state();
                if state.is_over {
                    return false;
                }
                if self.has_room(&state) {
                    self.keep(&mut state, message);
                    return true;
                }
                if state.reader.is_none() {
                    return false;
                }
            }
            room.await;
        }
    }

    /// Ends the present reader's reading; what comes is kept for the next one.
    pub fn hang_up(&self) {
        self.state().reader = None;
        self.wake();
    }

    /// Nothing more will be put on the stream.
    pub fn finish(&self) {
        self.state().is_over = true;
        self.wake();
    }

    /// Ends the stream and forgets what it keeps.
    pub fn close(&self) {
        let mut state = self.state();
        state.is_over = true;
        let bytes = std::mem::take(&mut state.bytes);
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
        state.before += u64::try_from(state.messages.len()).unwrap_or(0);
        state.read = state.before;
        state.messages.clear();
        drop(state);
        self.wake();
    }

    /// Begins to read: behind the message of that number, or where reading stopped. Who read before reads no more.
    pub fn read(self: &Arc<Self>, after: Option<u64>) -> Reader {
        let mut state = self.state();
        if let Some(after) = after {
            let last = state.last();
            state.read = after.clamp(state.before, last);
        }
        state.readers += 1;
        let number = state.readers;
        state.reader = Some(number);
        drop(state);
        self.wake();
        Reader { stream: self.clone(), number }
    }

    /// The number of the message that was read last.
    pub fn position(&self) -> u64 {
        self.state().read
    }

    /// The number of the message that was put on it last.
    pub fn last(&self) -> u64 {
        self.state().last()
    }

    /// Whether somebody reads it.
    pub fn is_read(&self) -> bool {
        self.state().reader.is_some()
    }

    /// Forgets everything that was read: others have more need of the room.
    pub fn forget_read(&self) {
        let mut state = self.state();
        while state.before < state.read {
            let Some(message) = state.messages.pop_front() else { return };
            state.before += 1;
            state.bytes -= message.len();
            self.kept.fetch_sub(message.len(), Ordering::Relaxed);
        }
    }

    /// Whether nothing more will be put on it.
    pub fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// How many bytes it keeps.
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn has_room(&self, state: &State) -> bool {
        let unread = state.unread();
        // What was read gives way to what was not.
        unread == 0 || (unread < self.bounds.queue && state.unread_bytes() < self.bounds.bytes)
    }

    fn keep(&self, state: &mut State, message: Bytes) {
        state.bytes += message.len();
        self.kept.fetch_add(message.len(), Ordering::Relaxed);
        state.messages.push_back(message);
        self.trim(state);
        self.news.notify_one();
    }

    /// Forgets what was read longest ago.
    fn trim(&self, state: &mut State) {
        let is_too_much = |state: &State| {
            state.bytes > self.bounds.bytes
                || state.messages.len() > self.bounds.queue.saturating_mul(2)
                || self.kept.load(Ordering::Relaxed) > self.bounds.all_bytes
        };
        while state.before < state.read && is_too_much(state) {
            let Some(message) = state.messages.pop_front() else { return };
            state.before += 1;
            state.bytes -= message.len();
            self.kept.fetch_sub(message.len(), Ordering::Relaxed);
        }
    }

    fn wake(&self) {
        self.news.notify_one();
        self.room.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.kept.fetch_sub(bytes, Ordering::Relaxed);
    }
}

// === impl State ===

impl State {
    fn last(&self) -> u64 {
        self.before + u64::try_from(self.messages.len()).unwrap_or(0)
    }

    fn unread(&self) -> usize {
        usize::try_from(self.last() - self.read).unwrap_or(usize::MAX)
    }

    fn unread_bytes(&self) -> usize {
        self.messages.iter().rev().take(self.unread()).map(Bytes::len).sum()
    }
}

// === impl Reader ===

impl Reader {
    /// The next message and its number; `None` when there will be none for this reader.
    pub async fn next(&mut self) -> Option<(u64, Bytes)> {
        loop {
            let news = self.stream.news.notified();
            {
                let mut state = self.stream.state();
                if state.reader != Some(self.number) {
                    // The wake-up may have been meant for whoever took over.
                    self.stream.news.notify_one();
                    return None;
                }
                let index = usize::try_from(state.read - state.before).unwrap_or(usize::MAX);
                if let Some(message) = state.messages.get(index).cloned() {
                    state.read += 1;
                    let number = state.read;
                    self.stream.trim(&mut state);
                    drop(state);
                    self.stream.room.notify_waiters();
                    return Some((number, message));
                }
                if state.is_over {
                    return None;
                }
            }
            news.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.state();
        if state.reader == Some(self.number) {
            state.reader = None;
            drop(state);
            self.stream.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, AtomicUsize, Bounds, Bytes, Ordering, Stream};
    use futures_util::FutureExt as _;

    fn stream(queue: usize, bytes: usize) -> (Arc<Stream>, Arc<AtomicUsize>) {
        let kept = Arc::new(AtomicUsize::new(0));
        (Stream::new(Bounds { queue, bytes, all_bytes: 1000 }, kept.clone()), kept)
    }

    fn text(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[tokio::test]
    async fn what_was_read_can_be_read_again_from_any_point_that_is_kept() {
        let (stream, _) = stream(4, 100);
        let mut first = stream.read(None);
        for message in ["a", "b", "c"] {
            assert!(stream.push(text(message)));
            first.next().await.expect("a message");
        }
        drop(first);
        stream.finish();
        let mut again = stream.read(Some(1));
        assert_eq!(again.next().await, Some((2, text("b"))));
        assert_eq!(again.next().await, Some((3, text("c"))));
        assert_eq!(again.next().await, None);
        // A number from the future is nobody's.
        assert_eq!(stream.read(Some(77)).next().await, None);
    }

    #[tokio::test]
    async fn a_later_reader_takes_over() {
        let (stream, _) = stream(4, 100);
        let (mut one, mut other) = (stream.read(None), stream.read(None));
        assert_eq!(one.next().await, None);
        assert!(stream.push(text("a")));
        assert_eq!(other.next().await, Some((1, text("a"))));
        drop(one);
        assert!(stream.is_read(), "who was replaced ends nothing");
        drop(other);
        assert!(!stream.is_read());
    }

    #[tokio::test]
    async fn room_is_waited_for_only_as_long_as_somebody_reads() {
        let (stream, _) = stream(1, 100);
        let mut reader = stream.read(None);
        assert!(stream.send(text("a")).await);
        assert_eq!(stream.send(text("b")).now_or_never(), None, "it waits");
        let (sent, read) = tokio::join!(stream.send(text("b")), reader.next());
        assert_eq!((sent, read), (true, Some((1, text("a")))));
        let (sent, ()) = tokio::join!(stream.send(text("c")), async { drop(reader) });
        assert!(!sent && !stream.push(text("d")));
        assert!(stream.insist(text("answer")));
        stream.insist_once(text("changed"));
        stream.insist_once(text("changed"));
        let mut late = stream.read(None);
        for expected in ["b", "answer", "changed"] {
            assert_eq!(late.next().await.map(|(_, message)| message), Some(text(expected)));
        }
        assert!(late.next().now_or_never().is_none(), "one is enough");
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_counted() {
        let (stream, kept) = stream(100, 10);
        let mut reader = stream.read(None);
        for _ in 0..20 {
            assert!(stream.send(text("four")).await);
            reader.next().await.expect("a message");
        }
        assert_eq!((stream.bytes(), kept.load(Ordering::Relaxed)), (8, 8));
        assert_eq!(stream.read(Some(0)).next().await.map(|(number, _)| number), Some(19), "the rest is gone");
        assert!(!stream.insist(Bytes::from(vec![b'x'; 993])), "nobody reads, and all streams keep 8 of 1000");
        stream.close();
        assert_eq!(kept.load(Ordering::Relaxed), 0);
        drop(reader);
        drop(stream);
        assert_eq!(kept.load(Ordering::Relaxed), 0);
    }
}
