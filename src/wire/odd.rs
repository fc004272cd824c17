//! JSON objects for tests: valid, and written as nobody would write them.

use crate::wire::raw::Raw;
use proptest::{collection::vec, sample::select, strategy::Strategy};

/// A member as it is written: key, value, and the blanks that stand around them.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) value: String,
    blank: &'static str,
}

/// Values that readers which understand them do not write again as they were.
const VALUES: &[&str] = &[
    "1.10",
    "123456789012345678901234567890",
    "-0.0E+1",
    "1e999",
    "null",
    "true",
    r#""""#,
    r#""\u00e9\/é""#,
    r#""},\"a\":[{\\""#,
    "{ }",
    "[ ]",
    r#"[1 ,{"a":[] , "a":{}}]"#,
    r#"{"requestState":1,"b":{"resultType" :2 }}"#,
];

const BLANKS: &[&str] = &["", "", "", " ", "\n\t"];

/// A member with this key (a JSON string) and this value.
pub(crate) fn member(key: &str, value: &str) -> Member {
    Member { key: key.into(), value: value.into(), blank: " " }
}

/// Members with keys (JSON strings) out of these; some keys more than once.
pub(crate) fn members(keys: &'static [&'static str]) -> impl Strategy<Value = Vec<Member>> {
    let member = (select(keys), select(VALUES), select(BLANKS));
    vec(member.prop_map(|(key, value, blank)| Member { key: key.into(), value: value.into(), blank }), 0..6)
}

/// The object of these members.
pub(crate) fn object(members: &[Member]) -> String {
    let mut text = String::from("{");
    for (index, Member { key, value, blank }) in members.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        text.extend([comma, blank, key, blank, ":", blank, value, blank]);
    }
    text.push_str(if members.is_empty() { " }" } else { "}" });
    text
}

/// The text, which is JSON.
pub(crate) fn raw(text: &str) -> Raw {
    Raw::parse(text.to_owned().into()).expect("JSON")
}
