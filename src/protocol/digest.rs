//! What a request asks for, in 32 bytes: the same for a request and its retry, however members are ordered and spaced.

use crate::wire::raw::Raw;
use sha2::{Digest as _, Sha256};

/// What a retry may change (2026-07-28, multi round-trip requests).
const CHANGING: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// Tells the parameters of requests apart, by everything that their retries have as well.
///
/// Numbers and strings count as they are written: who sends a value twice writes it the same way twice.
pub fn of_params(params: &Raw) -> [u8; 32] {
    let mut scan = Scan { text: params.as_bytes(), at: 0 };
    if scan.peek() == Some(b'{') {
        return scan.object(|key| !CHANGING.iter().any(|changing| is_key(key, changing)));
    }
    let mut plain = Vec::new();
    scan.value(&mut plain);
    Sha256::digest(plain).into()
}

/// Whether a JSON string says this.
fn is_key(string: &[u8], key: &str) -> bool {
    serde_json::from_slice::<String>(string).is_ok_and(|text| text == key)
}

/// One pass over a valid text. Its depth is bounded, since [`Raw`]'s is.
struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

// === impl Scan ===

impl<'a> Scan<'a> {
    /// Appends the next value, in a form that shows neither spaces nor the order of members.
    ///
    /// An object becomes a digest, so that however deep something stands, it is copied and hashed once.
    fn value(&mut self, plain: &mut Vec<u8>) {
        match self.peek() {
            Some(b'{') => {
                plain.push(b'{');
                plain.extend(self.object(|_| true));
            }
            Some(b'[') => {
                self.at += 1;
                plain.push(b'[');
                while let Some(next) = self.peek().filter(|next| *next != b']') {
                    if next == b',' {
                        self.at += 1;
                    } else {
                        self.value(plain);
                        plain.push(b',');
                    }
                }
                self.at += 1;
                plain.push(b']');
            }
            Some(b'"') => plain.extend(self.string()),
            Some(_) => plain.extend(self.scalar()),
            None => {}
        }
    }

    /// The digest of an object's members, of those whose key (a JSON string) is wanted.
    fn object(&mut self, is_wanted: impl Fn(&[u8]) -> bool) -> [u8; 32] {
        self.at += 1;
        let mut members = Vec::new();
        while let Some(next) = self.peek().filter(|next| *next != b'}') {
            if next == b',' {
                self.at += 1;
                continue;
            }
            let key = self.string();
            let mut member = key.to_vec();
            if self.peek() == Some(b':') {
                self.at += 1;
            }
            self.value(&mut member);
            if is_wanted(key) {
                members.push(member);
            }
        }
        self.at += 1;
        members.sort_unstable();
        let mut digest = Sha256::new();
        for member in members {
            digest.update((member.len() as u64).to_be_bytes());
            digest.update(member);
        }
        digest.finalize().into()
    }

    /// The next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.iter().position(|byte| !byte.is_ascii_whitespace())?;
        self.text.get(self.at).copied()
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let from = self.at;
        self.at += 1;
        while let Some(byte) = self.text.get(self.at).filter(|byte| **byte != b'"') {
            self.at += if *byte == b'\\' { 2 } else { 1 };
        }
        self.at += 1;
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// The number or word that begins here.
    fn scalar(&mut self) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_over = |byte: &u8| matches!(byte, b',' | b']' | b'}') || byte.is_ascii_whitespace();
        // At least one byte, so that whatever stands here the scan goes on.
        let end = rest.iter().position(is_over).unwrap_or(rest.len()).max(1).min(rest.len());
        self.at += end;
        &rest[..end]
    }
}

#[cfg(test)]
mod tests {
    use super::of_params;
    use crate::wire::raw::Raw;
    use bytes::Bytes;
    use proptest::prelude::{
        Just, Strategy, any, prop, prop_assert_eq, prop_assert_ne, prop_oneof, proptest,
    };
    use rstest::rstest;
    use serde_json::{Map, Value, json};

    fn raw(text: &str) -> Raw {
        Raw::parse(Bytes::from(text.to_owned())).expect("JSON")
    }

    #[rstest]
    #[case::order(
        r#"{"name":"a","arguments":{"x":1,"y":2}}"#,
        r#"{"arguments":{"y":2,"x":1},"name":"a"}"#,
        true
    )]
    #[case::space(
        r#"{"name":"a","list":[1,{"b":[]}]}"#,
        "{ \"name\" :\"a\",\n\"list\" : [ 1 , { \"b\" : [ ] } ] }",
        true
    )]
    #[case::what_changes(
        r#"{"name":"a"}"#,
        r#"{"_meta":{"x":[1]},"name":"a","inputResponses":{},"requestState":"s"}"#,
        true
    )]
    #[case::escaped_key(r#"{"name":"a"}"#, r#"{"name":"a","\u005fmeta":{},"request\u0053tate":"s"}"#, true)]
    #[case::nothing("{}", r#"{"_meta":{}}"#, true)]
    #[case::deeper(r#"{"arguments":{}}"#, r#"{"arguments":{"_meta":{}}}"#, false)]
    #[case::value(r#"{"name":"a"}"#, r#"{"name":"b"}"#, false)]
    #[case::large_number(r#"{"n":12345678901234567890123}"#, r#"{"n":12345678901234567890124}"#, false)]
    #[case::kind(r#"{"n":1}"#, r#"{"n":"1"}"#, false)]
    #[case::member_more(r#"{"name":"a"}"#, r#"{"name":"a","b":null}"#, false)]
    #[case::order_of_a_list(r#"{"l":[1,2]}"#, r#"{"l":[2,1]}"#, false)]
    #[case::nesting(r#"{"l":[[1],2]}"#, r#"{"l":[[1,2]]}"#, false)]
    #[case::digits(r#"{"l":[1,2]}"#, r#"{"l":[12]}"#, false)]
    #[case::inner_order(r#"{"a":{"x":1},"b":{"y":1}}"#, r#"{"a":{"y":1},"b":{"x":1}}"#, false)]
    #[case::quotes(r#"{"a":"\\","b":1}"#, r#"{"a":"\\\",\"b","c":1}"#, false)]
    #[case::no_object("[1]", "[ 1 ]", true)]
    #[case::no_object_at_all("[{}]", "{}", false)]
    fn what_is_the_same(#[case] one: &str, #[case] other: &str, #[case] is_same: bool) {
        assert_eq!(of_params(&raw(one)) == of_params(&raw(other)), is_same);
    }

    /// Few different values, so that many of them differ in one place only.
    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (0_i64..3).prop_map(Value::from),
            "[a\"\\\\,{}: ]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                object(inner).prop_map(Value::from),
            ]
        })
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        prop::collection::vec(("[ab\"\\\\]{0,2}", inner), 0..3)
            .prop_map(|members| members.into_iter().collect())
    }

    /// The same value, every object the other way round.
    fn reversed(value: &Value) -> Value {
        match value {
            Value::Object(members) => {
                members.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect()
            }
            Value::Array(items) => items.iter().map(reversed).collect(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn order_and_space_do_not_count_and_all_else_does(one in value(), other in value()) {
            let digest = |value: &Value| of_params(&Raw::of(value));
            let pretty = serde_json::to_string_pretty(&reversed(&one)).expect("JSON");
            prop_assert_eq!(digest(&one), of_params(&raw(&pretty)));
            prop_assert_eq!(one == other, digest(&one) == digest(&other), "{} and {}", one, other);
        }

        #[test]
        fn a_retry_is_the_same_request(
            mut params in object(value()),
            meta in value(),
            state in ".*",
            other in value(),
        ) {
            let before = of_params(&Raw::of(&params));
            let retry = &mut params;
            retry.insert("_meta".into(), meta);
            retry.insert("inputResponses".into(), json!({"u1": {"action": "accept"}}));
            retry.insert("requestState".into(), state.into());
            prop_assert_eq!(before, of_params(&Raw::of(retry)));
            retry.insert("name".into(), other);
            prop_assert_ne!(before, of_params(&Raw::of(retry)));
        }
    }
}
