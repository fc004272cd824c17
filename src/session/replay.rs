//! The streams of one session's calls, kept for a while after they were read, so that what a client missed can be read
//! again.

use crate::protocol::stream::{Bounds, Stream};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
    time::Duration,
};
use tokio::time::Instant;

/// The streams of one session's calls.
#[derive(Debug)]
pub struct Replay {
    streams: Mutex<Streams>,
    bounds: Bounds,
    kept: Arc<AtomicUsize>,
    /// How long a stream that is over is kept.
    keep: Duration,
}

#[derive(Debug, Default)]
struct Streams {
    last: u64,
    /// Oldest first.
    kept: VecDeque<Kept>,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    stream: Arc<Stream>,
    /// When it was first seen to be over.
    over: Option<Instant>,
}

/// The most streams that are over and still kept.
const MOST: usize = 64;

// === impl Replay ===

impl Replay {
    /// No streams; `kept` counts the bytes of all that there will be.
    pub fn new(bounds: Bounds, kept: Arc<AtomicUsize>, keep: Duration) -> Self {
        Self { streams: Mutex::default(), bounds, kept, keep }
    }

    /// Opens a stream; its number is never given again.
    pub fn open(&self) -> (u64, Arc<Stream>) {
        self.tidy();
        let stream = Stream::new(self.bounds, self.kept.clone());
        let mut streams = self.streams();
        streams.last += 1;
        let number = streams.last;
        streams.kept.push_back(Kept { number, stream: stream.clone(), over: None });
        (number, stream)
    }

    /// A stream that nobody comes back to.
    pub fn loose(&self) -> Arc<Stream> {
        Stream::new(self.bounds, self.kept.clone())
    }

    /// The stream of that number, if it is still kept.
    pub fn find(&self, number: u64) -> Option<Arc<Stream>> {
        self.streams().kept.iter().find(|kept| kept.number == number).map(|kept| kept.stream.clone())
    }

    /// Forgets streams that are over: those that were over for long, and the oldest where there are too many or they
    /// keep too much.
    pub fn tidy(&self) {
        let now = Instant::now();
        let mut streams = self.streams();
        let (mut room, mut bytes) = (MOST, self.bounds.bytes);
        // Newest first, so that the oldest finds no room.
        let mut left = VecDeque::with_capacity(streams.kept.len());
        while let Some(mut kept) = streams.kept.pop_back() {
            if kept.stream.is_over() && !kept.stream.is_read() {
                let since = *kept.over.get_or_insert(now);
                let size = kept.stream.bytes();
                if now.duration_since(since) >= self.keep || room == 0 || size > bytes {
                    kept.stream.close();
                    continue;
                }
                (room, bytes) = (room - 1, bytes - size);
            }
            left.push_front(kept);
        }
        streams.kept = left;
    }

    /// Forgets everything that was read.
    pub fn forget_read(&self) {
        for kept in &self.streams().kept {
            kept.stream.forget_read();
        }
    }

    /// Ends all streams.
    pub fn close(&self) {
        for kept in self.streams().kept.drain(..) {
            kept.stream.close();
        }
    }

    /// How many streams there are, over or not.
    pub fn len(&self) -> usize {
        self.streams().kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        // No code that holds the lock can panic.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, AtomicUsize, Bounds, Duration, MOST, Replay};
    use bytes::Bytes;
    use std::sync::atomic::Ordering;

    #[tokio::test(start_paused = true)]
    async fn streams_that_are_over_are_kept_within_bounds() {
        let kept = Arc::new(AtomicUsize::new(0));
        let bounds = Bounds { queue: 8, bytes: 100, all_bytes: 10_000 };
        let replay = Replay::new(bounds, kept.clone(), Duration::from_mins(1));
        let (first, running) = replay.open();
        let mut last = 0;
        for _ in 0..=MOST {
            let (number, stream) = replay.open();
            assert!(stream.insist(Bytes::from_static(b"x")));
            stream.finish();
            last = number;
        }
        replay.tidy();
        assert_eq!((replay.len(), kept.load(Ordering::Relaxed)), (MOST + 1, MOST), "the oldest gave way");
        assert!(
            replay.find(first).is_some() && replay.find(first + 1).is_none() && replay.find(last).is_some()
        );
        let (_, large) = replay.open();
        assert!(large.insist(Bytes::from(vec![b'x'; 90])));
        large.finish();
        replay.tidy();
        assert!(kept.load(Ordering::Relaxed) <= 100);
        tokio::time::advance(Duration::from_secs(61)).await;
        replay.tidy();
        assert_eq!((replay.len(), kept.load(Ordering::Relaxed)), (1, 0), "what still runs stays");
        replay.close();
        assert!(running.is_over() && replay.is_empty());
    }
}
