//! Properties of the wire: what is parsed is what is written, and no bytes at all make the parsers panic.

use bytes::Bytes;
use proptest::{
    collection,
    prelude::{
        BoxedStrategy, Just, Strategy, TestCaseError, any, prop_assert, prop_assert_eq, prop_oneof, proptest,
    },
    sample::select,
};
use serde_json::Value;
use trunkline::wire::{
    message::{Answer, Body, Invalid, Message, Request},
    method::Method,
    params,
    raw::{MAX_DEPTH, Malformed, Raw},
    splice::splice,
};

fn space() -> impl Strategy<Value = String> {
    collection::vec(select(vec![" ", "\t", "\n", "\r", "\r\n"]), 0..3).prop_map(|pieces| pieces.concat())
}

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[^\"\\\\\\x00-\\x1f]{0,6}",
        1 => select(vec!["\\n", "\\u0041", "\\ud83d\\ude00", "\\ud800", "\\\\", "\\\"", "\\/", "\\u0000"])
            .prop_map(str::to_owned),
        1 => select(vec!["{", "}", "[", "]", ",", ":", "\u{2028}"]).prop_map(str::to_owned),
    ];
    collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?"
}

/// JSON text in every spelling.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![select(vec!["null", "true", "false"]).prop_map(str::to_owned), number(), text()];
    leaf.prop_recursive(4, 32, 4, |inner| {
        let member = (space(), text(), space(), inner.clone(), space());
        let members = collection::vec(member, 0..4).prop_map(|members| {
            let each: Vec<_> =
                members.iter().map(|(a, key, b, value, c)| format!("{a}{key}{b}:{c}{value}{a}")).collect();
            format!("{{{}}}", each.join(","))
        });
        let items = collection::vec((space(), inner, space()), 0..4).prop_map(|items| {
            let each: Vec<_> = items.iter().map(|(a, value, b)| format!("{a}{value}{b}")).collect();
            format!("[{}]", each.join(","))
        });
        prop_oneof![members, items]
    })
}

fn object() -> impl Strategy<Value = String> {
    collection::vec((space(), "x-[a-z]{1,4}", json(), space()), 0..4).prop_map(|members| {
        let each: Vec<_> =
            members.iter().map(|(a, key, value, b)| format!("{a}\"{key}\"{b}:{value}")).collect();
        format!("{{{}}}", each.join(","))
    })
}

/// A request's members in any order, with others among them, and odd white space.
fn members() -> impl Strategy<Value = Vec<(String, String, String)>> {
    let named = |key: &'static str, value: BoxedStrategy<String>| {
        (Just(key.to_owned()), value, space()).prop_map(|(key, value, space)| (key, value, space))
    };
    let id = prop_oneof![number(), text()].boxed();
    (
        named("jsonrpc", Just("\"2.0\"".to_owned()).boxed()),
        named("id", id),
        named("method", Just("\"tools/call\"".to_owned()).boxed()),
        named("params", object().boxed()),
        collection::vec(("x-[a-z]{1,6}", json(), space()), 0..3),
    )
        .prop_map(|(a, b, c, d, more)| [vec![a, b, c, d], more].concat())
        .prop_shuffle()
}

fn assemble(members: &[(String, String, String)]) -> String {
    let each: Vec<_> = members
        .iter()
        .map(|(key, value, space)| format!("{space}\"{key}\"{space}:{space}{value}{space}"))
        .collect();
    format!("{{{}}}", each.join(","))
}

fn value_of<'a>(members: &'a [(String, String, String)], key: &str) -> &'a str {
    members.iter().find(|(other, ..)| other == key).map(|(_, value, _)| value.as_str()).expect("a member")
}

fn request(text: &str) -> Request {
    match Message::parse(&Bytes::copy_from_slice(text.as_bytes())) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}: {text}"),
    }
}

proptest! {
    #[test]
    fn a_message_is_written_as_it_was_read(members in members()) {
        let text = assemble(&members);
        let request = request(&text);
        prop_assert_eq!(&request.bytes()[..], text.as_bytes());
        prop_assert_eq!(request.id().as_str().to_owned(), value_of(&members, "id"));
        prop_assert_eq!(request.params().expect("params").as_str().to_owned(), value_of(&members, "params"));
        prop_assert_eq!(&request.rewrite(request.id().as_bytes(), &[])[..], text.as_bytes());
    }

    #[test]
    fn a_new_id_changes_the_id_and_nothing_else(members in members(), id in any::<u64>()) {
        let rewritten = request(&assemble(&members)).rewrite(id.to_string().as_bytes(), &[]);
        let changed: Vec<_> = members
            .iter()
            .map(|(key, value, space)| {
                (key.clone(), if key == "id" { id.to_string() } else { value.clone() }, space.clone())
            })
            .collect();
        let expected = assemble(&changed);
        prop_assert_eq!(&rewritten[..], expected.as_bytes());
    }

    #[test]
    fn name_and_token_are_found_and_replaced_wherever_they_stand(
        before in json(), name in "[a-z]{1,8}", token in prop_oneof![number(), text()], space in space(), after in json(),
    ) {
        let params = |name: &str, token: &str| format!(
            "{{\"a\":{before}{space},{space}\"_meta\":{{\"x\":{after},\"progressToken\"{space}:{token}{space}}},\"name\":{space}{name},\"b\":{after}}}"
        );
        let message = |id: &str, params: &str| {
            format!("{{{space}\"params\":{params},\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"id\":{id}{space}}}")
        };
        let request = request(&message("\"theirs\"", &params(&format!("\"{name}\""), &token)));
        let read = request.params().expect("params");
        let named = params::named(&read, "name").expect("a name");
        prop_assert_eq!(&*named.name, name.as_str());
        let (found, token_at) = named.token.clone().expect("a token");
        prop_assert_eq!(found.as_str(), token.as_str());
        let rewritten = request.rewrite(b"42", &[(token_at, b"42"), (named.name_at, b"\"native\"")]);
        let expected = message("42", &params("\"native\"", "42"));
        prop_assert_eq!(&rewritten[..], expected.as_bytes());
    }

    #[test]
    fn an_answer_takes_another_id(id in any::<u64>(), new in prop_oneof![number(), text()], result in json(), space in space(), id_first in any::<bool>()) {
        let new = Raw::parse(Bytes::from(new)).expect("JSON");
        let write = |id: &str| if id_first {
            format!("{{\"id\":{id}{space},\"x\":{result},\"result\":{space}{result},\"jsonrpc\":\"2.0\"}}")
        } else {
            format!("{{\"result\":{result}{space},\"jsonrpc\":\"2.0\",{space}\"id\":{id},\"x\":{result}}}")
        };
        let Ok(Message::Answer(answer)) = Message::parse(&Bytes::from(write(&id.to_string()))) else {
            return Err(TestCaseError::fail("no answer"));
        };
        let answer = answer.with_id(&new);
        let expected = write(new.as_str());
        prop_assert_eq!(&answer.bytes()[..], expected.as_bytes());
        prop_assert_eq!(answer.id(), new);
        let payload = answer.payload();
        prop_assert_eq!(payload.as_str(), result.as_str());
    }

    #[test]
    fn what_is_made_here_is_read_back(id in prop_oneof![number(), text()], method in "\\PC{0,20}", params in object(), result in json()) {
        let raw = |text: &str| Raw::parse(Bytes::copy_from_slice(text.as_bytes())).expect("JSON");
        let made = Request::new(&raw(&id), &Method::from(&*method), Some(&raw(&params)));
        let read = request(std::str::from_utf8(made.bytes()).expect("text"));
        prop_assert_eq!((read.id(), read.params(), &read.method), (raw(&id), Some(raw(&params)), &made.method));
        prop_assert_eq!((made.id(), made.params()), (raw(&id), Some(raw(&params))));
        let made = Answer::result(&raw(&id), &raw(&result));
        let Ok(Message::Answer(read)) = Message::parse(made.bytes()) else {
            return Err(TestCaseError::fail("no answer"));
        };
        prop_assert_eq!((read.id(), read.payload(), read.is_error), (raw(&id), raw(&result), false));
    }

    #[test]
    fn a_splice_replaces_its_ranges_only(pieces in collection::vec((".{0,8}", proptest::option::of(".{0,8}")), 0..8)) {
        let (mut buffer, mut expected, mut edits) = (String::new(), String::new(), Vec::new());
        for (old, new) in &pieces {
            let start = buffer.len();
            buffer.push_str(old);
            expected.push_str(new.as_ref().unwrap_or(old));
            // Two empty ranges at one place have no order.
            if let Some(new) = new && !old.is_empty() {
                edits.push((start..buffer.len(), new.as_bytes()));
            } else if let Some(new) = new {
                expected.truncate(expected.len() - new.len());
            }
        }
        edits.reverse();
        prop_assert_eq!(&splice(buffer.as_bytes(), &mut edits)[..], expected.as_bytes());
    }

    #[test]
    fn batches_are_cut_at_their_commas(parts in collection::vec((members(), space()), 1..6)) {
        let each: Vec<_> = parts.iter().map(|(members, space)| format!("{space}{}{space}", assemble(members))).collect();
        let body = Bytes::from(format!(" [{}]\n", each.join(",")));
        let Ok(Body::Batch(read)) = Body::parse(&body, 5) else { return Err(TestCaseError::fail("no batch")) };
        for (read, (members, _)) in read.iter().zip(&parts) {
            let Ok(Message::Request(read)) = read else { return Err(TestCaseError::fail("no request")) };
            let expected = assemble(members);
            prop_assert_eq!(&read.bytes()[..], expected.as_bytes());
        }
        prop_assert_eq!(read.len(), parts.len());
        prop_assert!(Body::parse(&body, parts.len() - 1).is_err());
    }

    #[test]
    fn valid_text_is_valid_here_and_damaged_text_is_judged_as_serde_judges_it(
        text in json(), at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<proptest::sample::Index>(),
    ) {
        prop_assert!(Raw::parse(Bytes::from(text.clone())).is_ok(), "{}", text);
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        judged_alike(&bytes)?;
        bytes.truncate(cut.index(bytes.len() + 1));
        judged_alike(&bytes)?;
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in collection::vec(any::<u8>(), 0..200)) {
        judged_alike(&bytes)?;
    }

    #[test]
    fn no_soup_of_tokens_makes_it_panic(
        tokens in collection::vec(select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\\", "\"jsonrpc\":\"2.0\"", "\"id\":", "\"id\":1", "\"method\":\"m\"",
            "\"params\":{}", "\"params\":", "\"result\":", "\"error\":{}", "\"error\":", "1", "1.5e3", "null", " ", "\"x\":", "é",
        ]), 0..24),
    ) {
        judged_alike(tokens.concat().as_bytes())?;
    }
}

/// Valid JSON for serde is valid here, and the other way round, but for what each refuses beyond the grammar.
fn judged_alike(bytes: &[u8]) -> Result<(), TestCaseError> {
    let buffer = Bytes::copy_from_slice(bytes);
    let (ours, theirs) = (Raw::parse(buffer.clone()), serde_json::from_slice::<Value>(bytes));
    match (&ours, &theirs) {
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        (Err(error), Ok(_)) => prop_assert_eq!(error, &Malformed::TooDeep),
        (Ok(_), Err(error)) => {
            // The grammar has no bound on numbers and takes any four hexadecimal digits.
            let text = error.to_string();
            let beyond =
                ["number out of range", "surrogate", "unexpected end of hex escape", "recursion limit"];
            prop_assert!(beyond.iter().any(|beyond| text.contains(beyond)), "taken: {}", text);
        }
    }
    let is_json = ours.is_ok();
    match Body::parse(&buffer, 100) {
        Ok(Body::One(message)) => {
            prop_assert!(is_json);
            touch(&message);
        }
        Ok(Body::Batch(parts)) => {
            prop_assert!(is_json);
            parts.iter().flatten().for_each(touch);
        }
        Err(Invalid::Malformed(_)) => prop_assert!(!is_json),
        Err(Invalid::NotAMessage { reason, .. }) => prop_assert!(is_json, "{}", reason),
    }
    Ok(())
}

/// Reads everything that a message offers.
fn touch(message: &Message) {
    let bytes = match message {
        Message::Request(request) => {
            if let Some(params) = request.params() {
                let _ = (
                    params::named(&params, "name"),
                    params::cursor(&params),
                    params::progress_token(&params),
                );
            }
            request.rewrite(b"1", &[])
        }
        Message::Notice(notice) => {
            if let Some(params) = notice.params() {
                let _ = (params::progress(&params), params::cancelled(&params));
            }
            notice.rewrite(&[])
        }
        Message::Answer(answer) => answer.with_id(&answer.id()).bytes().clone(),
    };
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&bytes).is_ok());
}

#[test]
fn depth_is_bounded_in_messages_too() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}{close}}}}}"#))
    };
    assert!(Message::parse(&nested(MAX_DEPTH - 2)).is_ok());
    let refused = Message::parse(&nested(MAX_DEPTH - 1)).expect_err("too deep");
    assert_eq!(refused, Invalid::Malformed(Malformed::TooDeep));
    // Deep enough to overflow any stack, were it read recursively.
    assert!(Message::parse(&nested(1_000_000)).is_err());
}
