//! Any bytes, cut anywhere: the decoder does not panic, and the pieces do not change the events.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline::wire::sse::{Decoder, Event, TooLarge};

const LIMIT: usize = 64;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, stream) = input;
    let whole = decode([stream]);
    assert_eq!(decode(stream.chunks(usize::from(size).max(1))), whole);
    assert_eq!(decode(stream.chunks(1)), whole);
});

/// The events up to the first that is too large, and whether there was one.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Event> {
    let (mut decoder, mut events) = (Decoder::new(LIMIT), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(TooLarge(_)) => return events,
            }
        }
    }
    events
}
