//! Texts that clients keep for us and bring back: sealed, so that nobody can make or change one, and bound to whom and
//! what they were given for. Sealed is not hidden: who has a text can read what is in it.

use crate::{
    protocol::digest,
    wire::{method::Method, raw::Raw},
};
use bytes::Bytes;
use rmcp::model::{RequestStateCodec, RequestStateError, SealOptions};
use secrecy::{ExposeSecret as _, SecretString};
use std::{borrow::Cow, fmt::Write as _, time::Duration};
use uuid::Uuid;

/// Seals texts and opens them again.
#[derive(Clone, Debug)]
pub struct Seal {
    codec: RequestStateCodec,
    /// What the codec puts before the seal of nothing.
    head: String,
}

/// A secret that can be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a secret of {least} bytes or more is needed; found {found}", least = RequestStateCodec::MIN_KEY_LENGTH)]
pub struct TooShort {
    /// How many bytes it has.
    pub found: usize,
}

/// Why a text is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// It was not made here, or was changed, or was given to somebody else or for something else.
    #[error(
        "it was not given to this caller for this request: send it back unchanged, with the same request"
    )]
    Forged,
    /// It was given long ago.
    #[error("it has expired: send the request again without it")]
    Expired,
}

/// What a sealed state means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A call that waits for its client's answers.
    Parked {
        /// The call's ticket.
        id: u128,
        /// How often it was put back.
        round: u32,
    },
    /// The upstream's own `requestState`, a JSON string.
    Upstreams(Raw),
    /// Nothing is kept: the request is simply made again.
    Again,
}

/// What a state and what a task id is sealed for: neither can be taken for the other.
const STATE: &[u8] = b"trunkline/state\0";
const TASK: &[u8] = b"trunkline/task\0\0";

/// The length of a task id's seal: 32 bytes in base64.
const TAG: usize = 43;

// === impl Seal ===

impl Seal {
    /// Seals with a secret that other gateways may share, or with a key that only this process has.
    pub fn new(secret: Option<&SecretString>) -> Result<Self, TooShort> {
        let key: Vec<u8> = match secret {
            Some(secret) => secret.expose_secret().as_bytes().into(),
            // Each has 122 random bits.
            None => [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()]
                .iter()
                .flat_map(|id| *id.as_bytes())
                .collect(),
        };
        let found = key.len();
        let codec = RequestStateCodec::try_new(key).map_err(|_| TooShort { found })?;
        let head = codec.seal(&[]).rsplit_once('.').map(|(head, _)| head.to_owned()).unwrap_or_default();
        Ok(Self { codec, head })
    }

    /// Seals a content, which will open only with the same `bound`, and for `ttl` where that is given.
    pub fn seal(&self, content: &[u8], bound: &[u8], ttl: Option<Duration>) -> String {
        let bound = [STATE, bound].concat();
        let options = SealOptions::new().associated_data(&bound);
        self.codec.seal_with(content, &ttl.map_or(options, |ttl| options.ttl(ttl)))
    }

    /// Opens what was sealed with the same `bound`.
    pub fn open(&self, text: &str, bound: &[u8]) -> Result<Vec<u8>, Unsealed> {
        self.codec.open_with(text, &[STATE, bound].concat()).map_err(|error| match error {
            // The codec says so only after it found the seal intact.
            RequestStateError::Expired => Unsealed::Expired,
            _ => Unsealed::Forged,
        })
    }

    /// The public id of an upstream's task: `ALIAS.NATIVE.SEAL`, all of it fit for URLs and headers. It never expires.
    ///
    /// An alias has letters, digits and `_`; the native id may be any text.
    pub fn task(&self, alias: &str, native: &str, bound: &[u8]) -> String {
        let mut text = format!("{alias}.");
        for byte in native.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                text.push(char::from(byte));
            } else {
                // Writing to a string never fails.
                let _ = write!(text, "~{byte:02X}");
            }
        }
        let sealed = self.codec.seal_with(&[], &SealOptions::new().associated_data(&named(&text, bound)));
        let tag = sealed.rsplit_once('.').map(|(_, tag)| tag).unwrap_or_default();
        format!("{text}.{tag}")
    }

    /// Whose task a public id means, and its id there; `None` if it was not given out with this `bound`.
    pub fn open_task<'a>(&self, text: &'a str, bound: &[u8]) -> Option<(&'a str, Cow<'a, str>)> {
        let (alias, native) = task_parts(text)?;
        let (said, tag) = text.rsplit_once('.')?;
        self.codec.open_with(&format!("{}.{tag}", self.head), &named(said, bound)).ok()?;
        Some((alias, unescaped(native)?))
    }
}

/// Whether a text looks like a public task id; cheap, and most ids of others do not.
pub fn may_be_task(text: &str) -> bool {
    task_parts(text).is_some()
}

/// Alias and native id, the latter as it is written in a public one.
fn task_parts(text: &str) -> Option<(&str, &str)> {
    let (said, tag) = text.rsplit_once('.')?;
    let (alias, native) = said.split_once('.')?;
    let is_name = |text: &str, more: u8| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == more)
    };
    let is_ours = tag.len() == TAG && !alias.is_empty() && is_name(alias, b'_') && is_name(tag, b'-');
    is_ours.then_some((alias, native))
}

/// What a task's seal covers.
fn named(said: &str, bound: &[u8]) -> Vec<u8> {
    [TASK, &(said.len() as u64).to_be_bytes(), said.as_bytes(), bound].concat()
}

fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    let mut pieces = text.split('~');
    let mut bytes = pieces.next()?.as_bytes().to_vec();
    if bytes.len() == text.len() {
        return Some(Cow::Borrowed(text));
    }
    for piece in pieces {
        let (code, rest) = piece.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

// === impl State ===

impl State {
    /// As bytes, to be sealed.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Parked { id, round } => [&b"P"[..], &id.to_be_bytes(), &round.to_be_bytes()].concat(),
            Self::Upstreams(state) => [b"U", state.as_bytes()].concat(),
            Self::Again => b"A".into(),
        }
    }

    /// From the bytes that [`State::to_bytes`] made.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        match kind {
            b'P' => {
                let (id, round) = rest.split_first_chunk()?;
                let round = u32::from_be_bytes(round.try_into().ok()?);
                Some(Self::Parked { id: u128::from_be_bytes(*id), round })
            }
            b'U' => {
                let state = Raw::parse(Bytes::copy_from_slice(rest)).ok()?;
                state.as_bytes().starts_with(b"\"").then_some(Self::Upstreams(state))
            }
            b'A' => rest.is_empty().then_some(Self::Again),
            _ => None,
        }
    }
}

/// What a sealed text is bound to: the caller's key, the endpoint, and the request that it answers where there is one,
/// by its method and by what its retries have as well.
pub fn bound(key: u64, endpoint: &str, request: Option<(&Method, &Raw)>) -> Vec<u8> {
    let mut bound = key.to_be_bytes().to_vec();
    let mut put = |text: &[u8]| {
        bound.extend((text.len() as u64).to_be_bytes());
        bound.extend_from_slice(text);
    };
    put(endpoint.as_bytes());
    if let Some((method, params)) = request {
        put(method.as_str().as_bytes());
        put(&digest::of_params(params));
    }
    bound
}

#[cfg(test)]
mod tests {
    use super::{Duration, Method, Raw, Seal, SecretString, State, TooShort, Unsealed, bound, may_be_task};
    use bytes::Bytes;
    use proptest::prelude::{
        Just, ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest,
    };
    use proptest::sample::Index;
    use rstest::rstest;
    use std::{
        borrow::Cow,
        iter,
        time::{Duration as Time, SystemTime},
    };

    /// What base64url and the parts of a sealed text are written with, and two characters that they are not.
    const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~= ";

    fn seal() -> Seal {
        Seal::new(Some(&"0123456789abcdef0123456789abcdef".into())).expect("long enough")
    }

    /// The text with one symbol replaced by another.
    fn changed(text: &str, at: Index, symbol: Index) -> Option<String> {
        let mut bytes = text.as_bytes().to_vec();
        let (at, symbol) = (at.index(bytes.len()), *symbol.get(SYMBOLS));
        let before = std::mem::replace(&mut bytes[at], symbol);
        (before != symbol).then(|| String::from_utf8(bytes).expect("ASCII"))
    }

    #[rstest]
    #[case(0, false)]
    #[case(31, false)]
    #[case(32, true)]
    #[case(200, true)]
    fn a_secret_is_long_enough(#[case] length: usize, #[case] is_taken: bool) {
        let made = Seal::new(Some(&SecretString::from("x".repeat(length))));
        assert_eq!(made.map(|_| ()), if is_taken { Ok(()) } else { Err(TooShort { found: length }) });
        let said = TooShort { found: length }.to_string();
        assert!(said.contains("32 bytes or more"), "{said}");
    }

    #[test]
    fn replicas_share_a_secret_and_nothing_else() {
        let (ours, same) = (seal(), seal());
        let (text, task) = (ours.seal(b"x", b"b", None), ours.task("db", "1", b"b"));
        assert_eq!(same.open(&text, b"b"), Ok(b"x".to_vec()));
        assert_eq!(same.open_task(&task, b"b"), Some(("db", Cow::Borrowed("1"))));
        let strangers = [Seal::new(None), Seal::new(None), Seal::new(Some(&"x".repeat(32).into()))];
        let strangers = strangers.map(|seal| seal.expect("long enough"));
        for stranger in &strangers {
            assert_eq!(stranger.open(&text, b"b"), Err(Unsealed::Forged));
            assert_eq!(stranger.open_task(&task, b"b"), None);
        }
        assert_ne!(
            strangers[0].task("db", "1", b"b"),
            strangers[1].task("db", "1", b"b"),
            "each process has its own"
        );
        assert!(!format!("{ours:?}").contains("0123456789abcdef"));
    }

    #[test]
    fn what_is_too_old_is_refused_as_such() {
        let text = seal().seal(b"x", b"b", Some(Duration::ZERO));
        let by = SystemTime::now() + Time::from_secs(10);
        // The clock ticks in milliseconds.
        let is_expired = iter::repeat_with(|| seal().open(&text, b"b"))
            .take_while(|_| SystemTime::now() < by)
            .any(|opened| opened == Err(Unsealed::Expired));
        assert!(is_expired);
        assert_eq!(seal().open(&text, b"c"), Err(Unsealed::Forged), "nobody else learns that it was one");
        for ttl in [Duration::from_hours(1), Duration::MAX] {
            assert_eq!(seal().open(&seal().seal(b"x", b"b", Some(ttl)), b"b"), Ok(b"x".to_vec()));
        }
    }

    #[rstest]
    #[case::key(2, "/mcp", "tools/call", r#"{"name":"a"}"#)]
    #[case::endpoint(1, "/mcp/db", "tools/call", r#"{"name":"a"}"#)]
    #[case::method(1, "/mcp", "prompts/get", r#"{"name":"a"}"#)]
    #[case::params(1, "/mcp", "tools/call", r#"{"name":"b"}"#)]
    #[case::more(1, "/mcp", "tools/call", r#"{"name":"a","arguments":{}}"#)]
    fn a_state_is_for_one_request_of_one_caller_at_one_endpoint(
        #[case] key: u64,
        #[case] endpoint: &str,
        #[case] method: &str,
        #[case] params: &str,
    ) {
        let raw = |text: &str| Raw::parse(Bytes::from(text.to_owned())).expect("JSON");
        let call = Method::ToolsCall;
        let params = raw(params);
        let given = bound(1, "/mcp", Some((&call, &raw(r#"{"name":"a","_meta":{"progressToken":1}}"#))));
        let retry = raw(r#"{"name":"a","inputResponses":{},"requestState":"s","_meta":{}}"#);
        let text = seal().seal(b"x", &given, None);
        assert_eq!(seal().open(&text, &bound(1, "/mcp", Some((&call, &retry)))), Ok(b"x".to_vec()));
        let other = bound(key, endpoint, Some((&Method::from(method), &params)));
        assert_eq!(seal().open(&text, &other), Err(Unsealed::Forged));
        assert_eq!(seal().open(&text, &bound(1, "/mcp", None)), Err(Unsealed::Forged));
    }

    #[rstest]
    #[case::plain("db", "786512e2-9e0d-44bd-8f29-789f320fe840", "db.786512e2-9e0d-44bd-8f29-789f320fe840.")]
    #[case::dots("a_1", "..", "a_1....")]
    #[case::urn("db", "urn:task 7/ä~", "db.urn~3Atask~207~2F~C3~A4~7E.")]
    #[case::nothing("db", "", "db..")]
    fn a_task_id_can_be_read(#[case] alias: &str, #[case] native: &str, #[case] begins: &str) {
        let id = seal().task(alias, native, b"key");
        assert!(id.starts_with(begins) && id.len() == begins.len() + super::TAG, "{id}");
        assert_eq!(seal().open_task(&id, b"key"), Some((alias, native.into())));
    }

    #[rstest]
    #[case("")]
    #[case("task-1")]
    #[case("786512e2-9e0d-44bd-8f29-789f320fe840")]
    #[case("urn:example:task.with.dots")]
    #[case("db.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case("a b.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case(".1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    #[case("db.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==")]
    #[case("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")]
    fn other_ids_do_not_look_like_ours(#[case] text: &str) {
        assert!(!may_be_task(text));
        assert_eq!(seal().open_task(text, b"key"), None);
    }

    #[test]
    fn what_looks_like_ours_and_is_not_is_refused() {
        let text = format!("db.1.{}", "A".repeat(super::TAG));
        assert!(may_be_task(&text));
        assert_eq!(seal().open_task(&text, b"key"), None);
    }

    #[test]
    fn a_state_is_no_task_and_a_task_is_no_state() {
        // The codec's own prefix is a legal alias, and the content of an empty state a legal id.
        let (state, task) = (seal().seal(&[], b"b", None), seal().task("rs1", "AAAAAAAAAAA", b"b"));
        assert!(
            may_be_task(&state)
                && state.rsplit_once('.').map(|(head, _)| head)
                    == task.rsplit_once('.').map(|(head, _)| head)
        );
        assert_eq!(seal().open_task(&state, b"b"), None);
        assert_eq!(seal().open(&task, b"b"), Err(Unsealed::Forged));
        // Not even where a state is bound to just what the task's seal covers.
        let covered = super::named("rs1.AAAAAAAAAAA", b"b");
        assert_eq!(seal().open_task(&seal().seal(&[], &covered, None), b"b"), None);
    }

    #[rstest]
    #[case(b"")]
    #[case(b"A ")]
    #[case(b"P0123456789")]
    #[case(b"P0123456789abcdef01234")]
    #[case(b"U")]
    #[case(b"U{}")]
    #[case(b"U\"a\"\"b\"")]
    #[case(b"X")]
    fn other_bytes_are_no_state(#[case] bytes: &[u8]) {
        assert_eq!(State::from_bytes(bytes), None);
    }

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![
            Just(State::Again),
            any::<(u128, u32)>().prop_map(|(id, round)| State::Parked { id, round }),
            any::<String>().prop_map(|text| State::Upstreams(Raw::of(&text))),
        ]
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..80)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn every_content_comes_back(
            content in bytes(),
            bound in bytes(),
            other in bytes(),
            is_short in any::<bool>(),
        ) {
            let ttl = is_short.then_some(Duration::from_hours(1));
            let text = seal().seal(&content, &bound, ttl);
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'));
            prop_assert_eq!(seal().open(&text, &bound), Ok(content));
            prop_assert_eq!(seal().open(&text, &other).is_ok(), bound == other);
        }

        #[test]
        fn no_byte_of_a_sealed_text_can_be_changed(
            content in bytes(),
            bound in bytes(),
            at in any::<Index>(),
            symbol in any::<Index>(),
        ) {
            let text = seal().seal(&content, &bound, Some(Duration::from_hours(1)));
            if let Some(changed) = changed(&text, at, symbol) {
                prop_assert_eq!(seal().open(&changed, &bound), Err(Unsealed::Forged));
            }
            prop_assert_eq!(seal().open(&text[..at.index(text.len())], &bound), Err(Unsealed::Forged));
            prop_assert_eq!(seal().open(&format!("{text}A"), &bound), Err(Unsealed::Forged));
        }

        #[test]
        fn every_state_comes_back(state in state()) {
            prop_assert_eq!(State::from_bytes(&state.to_bytes()), Some(state));
        }

        #[test]
        fn every_task_comes_back_to_its_caller_alone(
            alias in "[A-Za-z0-9_]{1,32}",
            native in "\\PC{0,40}|[a-z0-9.~-]{0,40}|(?s:.){0,256}",
            bound in bytes(),
            other in bytes(),
        ) {
            let id = seal().task(&alias, &native, &bound);
            prop_assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
            prop_assert!(may_be_task(&id));
            prop_assert_eq!(seal().open_task(&id, &other).is_some(), bound == other);
            prop_assert_eq!(seal().open_task(&id, &bound), Some((&*alias, native.into())));
        }

        #[test]
        fn no_byte_of_a_task_id_can_be_changed(
            native in "[a.~é]{0,8}",
            at in any::<Index>(),
            symbol in any::<Index>(),
        ) {
            let id = seal().task("db", &native, b"key");
            if let Some(changed) = changed(&id, at, symbol) {
                prop_assert_eq!(seal().open_task(&changed, b"key"), None);
            }
        }

        #[test]
        fn any_text_is_looked_at(text in "\\PC{0,60}|[a~.]{0,8}\\.[A-Za-z0-9_-]{43}") {
            prop_assert_eq!(seal().open(&text, b""), Err(Unsealed::Forged));
            prop_assert_eq!(seal().open_task(&text, b""), None);
        }
    }
}
