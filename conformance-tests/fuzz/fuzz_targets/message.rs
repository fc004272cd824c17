//! Any bytes: the parser does not panic, and whatever it takes is written as it was read.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use trunkline::wire::{
    message::{Body, Invalid, Message},
    params,
    raw::{Malformed, Raw},
};

fuzz_target!(|bytes: &[u8]| {
    let buffer = Bytes::copy_from_slice(bytes);
    let is_json = serde_json::from_slice::<&RawValue>(bytes).is_ok();
    match Raw::parse(buffer.clone()) {
        Ok(_) | Err(Malformed::TooDeep) => {}
        Err(error) => assert!(!is_json, "{error}"),
    }
    match Body::parse(&buffer, 100) {
        Ok(Body::One(message)) => {
            assert!(is_json);
            check(&message, bytes);
        }
        Ok(Body::Batch(parts)) => {
            assert!(is_json);
            parts.iter().flatten().for_each(|message| check(message, bytes));
        }
        Err(Invalid::Malformed(Malformed::TooDeep)) => {}
        Err(Invalid::Malformed(error)) => assert!(!is_json, "{error}"),
        Err(Invalid::NotAMessage { .. }) => assert!(is_json),
    }
});

/// A message is a piece of what was read, and stays valid when it is rewritten.
fn check(message: &Message, read: &[u8]) {
    let id = Raw::of("another");
    let (bytes, rewritten) = match message {
        Message::Request(request) => {
            let params = request.params();
            let named = params.as_ref().and_then(|params| params::named(&params, "name").ok());
            let edits = named.map(|named| vec![(named.name_at, &b"\"x\""[..])]).unwrap_or_default();
            (request.bytes(), request.rewrite(id.as_bytes(), &edits))
        }
        Message::Notice(notice) => {
            let params = notice.params();
            let token = params.as_ref().and_then(params::progress);
            let edits = token.map(|(_, at)| vec![(at, &b"7"[..])]).unwrap_or_default();
            (notice.bytes(), notice.rewrite(&edits))
        }
        Message::Answer(answer) => (answer.bytes(), answer.with_id(&id).bytes().clone()),
    };
    assert!(read.windows(bytes.len().max(1)).any(|window| window == &bytes[..]));
    assert!(serde_json::from_slice::<&RawValue>(&rewritten).is_ok());
}
