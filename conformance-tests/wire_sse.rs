//! Properties of event streams: the same bytes are the same events, in whatever pieces they come.

use bytes::Bytes;
use proptest::{
    collection,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    sample::select,
};
use trunkline::wire::sse::{Decoder, Event, TooLarge, encode};

/// The events of pieces that come one after the other.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, limit: usize) -> Result<Vec<Event>, TooLarge> {
    let (mut decoder, mut events) = (Decoder::new(limit), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(event);
        }
    }
    Ok(events)
}

/// The events of a whole stream as the living standard words it (section 9.2.6), without any cleverness.
fn reference(stream: &[u8]) -> Vec<Event> {
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let (mut lines, mut line, mut index) = (Vec::new(), Vec::new(), 0);
    while index < stream.len() {
        match stream[index] {
            b'\n' => lines.push(std::mem::take(&mut line)),
            b'\r' => {
                lines.push(std::mem::take(&mut line));
                if stream.get(index + 1) == Some(&b'\n') {
                    index += 1;
                }
            }
            byte => line.push(byte),
        }
        index += 1;
    }
    let (mut events, mut event, mut data) = (Vec::new(), Event::default(), None::<Vec<u8>>);
    for line in lines {
        if line.is_empty() {
            let event = std::mem::take(&mut event);
            let has_more = event.id.is_some() || event.retry.is_some();
            if let Some(data) = data.take().or_else(|| has_more.then(Vec::new)) {
                events.push(Event { data: data.into(), ..event });
            }
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match &line[..colon] {
            b"data" => match &mut data {
                Some(data) => data.extend([b"\n", value].concat()),
                None => data = Some(value.to_vec()),
            },
            b"event" => event.kind = text(),
            b"id" if !value.contains(&0) => event.id = Some(text()),
            b"retry" => event.retry = text().parse().ok(),
            _ => {}
        }
    }
    events
}

/// Streams with every kind of line and of line end.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => "[^\\r\\n]{0,12}".prop_map(|value| format!("data: {value}")),
        1 => "[^\\r\\n]{0,12}".prop_map(|value| format!("data:{value}")),
        1 => "[a-z]{0,8}".prop_map(|value| format!("event: {value}")),
        1 => "[^\\r\\n]{0,6}".prop_map(|value| format!("id: {value}")),
        1 => select(vec!["data", "event", "id", "id: a\0b", ": comment", ":", "retry: 10", "unknown: x", "no colon", " data: x"])
            .prop_map(str::to_owned),
        4 => Just(String::new()),
    ];
    let line = (line, select(vec!["\n", "\r", "\r\n"]));
    (any::<bool>(), collection::vec(line, 0..20)).prop_map(|(has_bom, lines)| {
        let mut stream = if has_bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        for (line, end) in lines {
            stream.extend_from_slice(line.as_bytes());
            stream.extend_from_slice(end.as_bytes());
        }
        stream
    })
}

fn pieces<'a>(stream: &'a [u8], cuts: &[proptest::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_pieces_give_the_same_events(stream in stream(), cuts in collection::vec(any::<proptest::sample::Index>(), 0..12)) {
        let expected = reference(&stream);
        prop_assert_eq!(decode([&stream[..]], 1 << 20), Ok(expected.clone()));
        prop_assert_eq!(decode(stream.chunks(1), 1 << 20), Ok(expected.clone()));
        prop_assert_eq!(decode(pieces(&stream, &cuts), 1 << 20), Ok(expected));
    }

    #[test]
    fn no_bytes_make_it_panic(stream in collection::vec(select(b"\r\n\0:ad t\xef\xbb\xbf\xff".to_vec()), 0..64), cuts in collection::vec(any::<proptest::sample::Index>(), 0..6)) {
        let expected = reference(&stream);
        prop_assert_eq!(decode(pieces(&stream, &cuts), 1 << 20), Ok(expected));
    }

    #[test]
    fn what_is_written_is_read_back(kind in "[a-z]{0,8}", lines in collection::vec("[^\\r\\n]{0,12}", 1..5), cut in any::<proptest::sample::Index>()) {
        let data = lines.join("\n");
        let bytes = encode(&kind, data.as_bytes());
        let events = decode(pieces(&bytes, &[cut]), 1 << 20);
        prop_assert_eq!(events, Ok(vec![Event { kind, data: Bytes::from(data), id: None, retry: None }]));
    }

    #[test]
    fn what_is_refused_is_refused_in_whatever_pieces(stream in stream(), limit in 0_usize..24, cuts in collection::vec(any::<proptest::sample::Index>(), 0..6)) {
        let whole = decode([&stream[..]], limit);
        prop_assert_eq!(&decode(stream.chunks(1), limit), &whole);
        prop_assert_eq!(&decode(pieces(&stream, &cuts), limit), &whole);
    }

    #[test]
    fn the_limit_is_the_same_in_whatever_pieces(
        size in 0_usize..64, split in 1_usize..4, kind in "[a-z]{0,5}", cuts in collection::vec(any::<proptest::sample::Index>(), 0..6),
    ) {
        const LIMIT: usize = 40;
        let lines: Vec<String> = (0..split).map(|_| "x".repeat(size / split)).collect();
        let data = lines.join("\n");
        let stream = encode(&kind, data.as_bytes());
        let is_allowed = data.len() + kind.len() <= LIMIT;
        for pieces in [vec![&stream[..]], stream.chunks(1).collect(), pieces(&stream, &cuts)] {
            prop_assert_eq!(decode(pieces, LIMIT).is_ok(), is_allowed, "{} bytes", data.len());
        }
    }
}

#[test]
fn what_never_ends_is_refused_and_not_kept() {
    let endless = b"data: ".iter().chain(std::iter::repeat(&b'x'));
    let (mut decoder, mut taken) = (Decoder::new(1000), 0);
    for byte in endless {
        decoder.push(&[*byte]);
        taken += 1;
        if decoder.next_event().is_err() {
            break;
        }
        assert!(taken < 2000, "a line without an end is refused");
    }
}

#[test]
fn any_number_of_small_events_and_comments_passes_a_small_limit() {
    let stream = b": a comment of some length\n\ndata: {}\n\n".repeat(1000);
    assert_eq!(decode(stream.chunks(7), 100).map(|events| events.len()), Ok(1000));
    assert_eq!(decode([&stream[..]], 100).map(|events| events.len()), Ok(1000));
}

#[test]
fn only_messages_with_data_carry_messages() {
    let is_message =
        |stream: &str| decode([stream.as_bytes()], 100).expect("small").iter().all(Event::is_message);
    for stream in ["data: {}\n\n", "event: message\ndata: {}\n\n", "event:\ndata: {}\n\n"] {
        assert!(is_message(stream), "{stream}");
    }
    for stream in ["event: endpoint\ndata: /x\n\n", "event: ping\ndata: {}\n\n", "data:\n\n"] {
        assert!(!is_message(stream), "{stream}");
    }
}
