//! Questions whose asker, client or call goes away, and answers that are none: each ends with the error that is meant
//! for it, nothing is kept, and nobody else notices.

use crate::kit::{
    client::send,
    clock::{eventually, skip},
    events::Events,
    exchange::Exchange,
    gateway::{Running, Setup},
    legacy::Legacy,
    peer::{OFFERS, Peer, Transport},
    session::{Opening, Session, hello_of, post},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

const SAMPLING: &str = "sampling/createMessage";
const CALL: &str = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#;

fn script(dialect: Dialect) -> Script {
    Script::new(dialect).keeps_sessions().has_stream().everything("db")
}

/// An upstream that asks once in every call, and a gateway.
async fn asking(dialect: Dialect) -> (Fake, Running) {
    let fake = script(dialect).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        exchange.ask_and_answer("\"q\"", SAMPLING, &json!({})).await
    });
    let gateway = Setup::new().alias("db", &fake).master("master").key("other", None, None).ready().await;
    (fake, gateway)
}

async fn open<'a>(gateway: &'a Running, key: &str) -> Session<'a> {
    Opening::new(gateway, "/mcp").key(key).capabilities(OFFERS).open().await
}

/// Calls, up to the question.
async fn ask(session: &Session<'_>) -> (Events, Value) {
    let mut events = session.post_streaming(CALL).await;
    events.primed().await;
    let question: Value = serde_json::from_str(&events.message().await).expect("JSON");
    assert_eq!(question["method"], SAMPLING);
    (events, question)
}

fn answer(question: &Value, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": question["id"], "result": {"text": text}}).to_string()
}

/// A client of its own, whom nothing of all this concerns.
async fn nobody_else_notices(fake: &Fake, gateway: &Running) {
    let count = fake.seen_of("answer").len();
    let session = open(gateway, "other").await;
    let (mut events, question) = ask(&session).await;
    assert_eq!(session.post(answer(&question, "fine")).await.status, 202);
    assert!(events.message().await.contains("fine"));
    assert_eq!(events.next().await, None);
    assert_eq!(fake.seen_of("answer").len(), count + 1);
    assert_eq!(session.delete().await.status, 200);
}

#[tokio::test]
async fn a_client_that_ends_its_session_answers_no_more() {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    let (mut events, question) = ask(&session).await;
    assert_eq!(session.delete().await.status, 200);
    assert_eq!(events.next().await, None, "its streams end");
    let refused = fake.wait_for("answer", 1).await.json();
    assert_eq!((&refused["id"], &refused["error"]["data"]["reason"]), (&json!("q"), &json!("client_gone")));
    assert_eq!(session.post(answer(&question, "late")).await.status, 404);
    nobody_else_notices(&fake, &gateway).await;
    gateway.until_nothing_is_left().await;
    eventually("its upstream sessions end", || fake.sessions().len() == 1).await;
    assert_eq!(gateway.upstream("db").sessions(), 0);
}

#[tokio::test]
async fn a_client_whose_only_stream_is_cut_answers_no_more() {
    for dialect in [Dialect::Events, Dialect::Legacy] {
        let fake = script(dialect).start();
        fake.on("tools/call", |exchange: Exchange| async move {
            exchange.ask_and_answer("\"q\"", SAMPLING, &json!({})).await
        });
        let gateway = Setup::new().alias("db", &fake).ready().await;
        let mut client = Legacy::open_with(&gateway, "/sse", &hello_of("2024-11-05", OFFERS, "kit")).await;
        let question: Value = serde_json::from_str(&client.ask(CALL).await).expect("JSON");
        assert_eq!(question["method"], SAMPLING);
        drop(client);
        let refused = fake.wait_for("answer", 1).await.json();
        assert_eq!(refused["error"]["data"]["reason"], "client_gone");
        gateway.until_nothing_is_left().await;
    }
}

#[tokio::test]
async fn a_client_that_lost_the_stream_finds_question_and_answer_again() {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    let mut events = session.post_streaming(CALL).await;
    events.primed().await;
    let start = events.last_id.clone().expect("an id");
    let question: Value = serde_json::from_str(&events.message().await).expect("JSON");
    drop(events);
    assert_eq!(gateway.asked(), 1, "a cut stream answers nothing");
    let mut again = session.resume(&start).await;
    let asked_again: Value = serde_json::from_str(&again.message().await).expect("JSON");
    assert_eq!(asked_again, question);
    assert_eq!(session.post(answer(&question, "back")).await.status, 202);
    assert!(again.message().await.contains("back"));
    assert_eq!(again.next().await, None);
    gateway.until_quiet().await;
    nobody_else_notices(&fake, &gateway).await;
}

#[tokio::test]
async fn an_upstream_that_breaks_off_takes_its_question_along() {
    for dialect in [Dialect::Events, Dialect::Legacy] {
        let fake = script(dialect).start();
        let gateway = Setup::new().alias("db", &fake).ready().await;
        let (asks, mut asked) = tokio::sync::mpsc::unbounded_channel();
        fake.on("tools/call", move |exchange: Exchange| {
            let asks = asks.clone();
            async move {
                let mut talk = exchange.talk().await;
                talk.put("1", SAMPLING, &json!({})).await;
                asks.send(talk).expect("the test goes on");
                None
            }
        });
        let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
        peer.answer(|_| None);
        let (ended, ()) = tokio::join!(peer.call("db-echo"), async {
            let talk = asked.recv().await.expect("a call");
            eventually("the question to be open", || gateway.asked() == 1).await;
            talk.cut();
        });
        assert_eq!(ended["error"]["data"]["reason"], "upstream_closed", "{ended}");
        assert!(ended["error"]["message"].as_str().is_some_and(|text| text.contains("not known")), "{ended}");
        gateway.until_quiet().await;
        fake.behave();
        assert!(peer.call("db-echo").await["result"].is_object());
        peer.leave().await;
        gateway.until_nothing_is_left().await;
    }
}

#[rstest]
#[case::neither(r#"{"jsonrpc":"2.0","id":ID}"#, 400)]
#[case::both(r#"{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"m"}}"#, 400)]
#[case::as_text(r#"{"jsonrpc":"2.0","id":"ID","result":{}}"#, 202)]
#[case::with_a_fraction(r#"{"jsonrpc":"2.0","id":ID.0,"result":{}}"#, 202)]
#[case::anothers(r#"{"jsonrpc":"2.0","id":4711,"result":{}}"#, 202)]
#[case::the_upstreams_own(r#"{"jsonrpc":"2.0","id":"q","result":{}}"#, 202)]
#[case::no_json("{", 400)]
#[tokio::test]
async fn what_is_no_answer_leaves_the_question_open(#[case] body: &str, #[case] status: u16) {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    let (mut events, question) = ask(&session).await;
    let body = body.replace("ID", &question["id"].to_string());
    assert_eq!(session.post(body).await.status, status);
    assert_eq!((gateway.asked(), fake.seen_of("answer").len()), (1, 0));
    assert_eq!(session.post(answer(&question, "right")).await.status, 202);
    assert!(events.message().await.contains("right"));
    gateway.until_quiet().await;
    nobody_else_notices(&fake, &gateway).await;
}

#[rstest]
#[case::an_error(r#""error":{"code":-1,"message":"User rejected","data":[1.10]}"#)]
#[case::any_result(r#""result":[1.10,{"a":null}]"#)]
#[case::nothing(r#""result":null"#)]
#[tokio::test]
async fn any_answer_passes_as_it_is(#[case] outcome: &str) {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    let (mut events, question) = ask(&session).await;
    let body = format!(r#"{{"x":1e2,"jsonrpc":"2.0","id":{},{outcome}}}"#, question["id"]);
    assert_eq!(session.post(body).await.status, 202);
    let passed = fake.wait_for("answer", 1).await;
    assert_eq!(passed.text(), format!(r#"{{"x":1e2,"jsonrpc":"2.0","id":"q",{outcome}}}"#));
    events.message().await;
    gateway.until_quiet().await;
}

#[tokio::test]
async fn only_the_first_answer_of_the_asked_session_counts() {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    let (mut events, question) = ask(&session).await;
    // The same id in another session of the same key, and with another key.
    let (beside, stranger) = (open(&gateway, "master").await, open(&gateway, "other").await);
    assert_eq!(beside.post(answer(&question, "beside")).await.status, 202);
    assert_eq!(stranger.post(answer(&question, "stranger")).await.status, 202);
    let stolen = post(&gateway, "/mcp").bearer_auth("other").header("mcp-session-id", &session.id);
    assert_eq!(send(stolen.body(answer(&question, "stolen"))).await.status, 404);
    assert_eq!((gateway.asked(), fake.seen_of("answer").len()), (1, 0));
    for text in ["first", "second"] {
        assert_eq!(session.post(answer(&question, text)).await.status, 202);
    }
    assert!(events.message().await.contains("first"));
    // And once more when all is over.
    assert_eq!(session.post(answer(&question, "third")).await.status, 202);
    session.works().await;
    assert_eq!(fake.seen_of("answer").len(), 1);
    nobody_else_notices(&fake, &gateway).await;
    for session in [session, beside, stranger] {
        assert_eq!(session.delete().await.status, 200);
    }
    gateway.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_question_ends_with_its_call() {
    let (fake, gateway) = asking(Dialect::Events).await;
    let session = open(&gateway, "master").await;
    // The client takes the call back.
    let (mut events, question) = ask(&session).await;
    session.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
    let refused = fake.wait_for("answer", 1).await.json();
    assert_eq!(refused["error"]["data"]["reason"], "call_over");
    while events.next().await.is_some() {}
    gateway.until_quiet().await;
    assert_eq!(session.post(answer(&question, "late")).await.status, 202);
    // Nobody answers at all, within the time of the call.
    let (mut events, _) = ask(&session).await;
    skip(Duration::from_secs(601)).await;
    let ended: Value = loop {
        let message: Value = serde_json::from_str(&events.message().await).expect("JSON");
        if message.get("method").is_none() {
            break message;
        }
    };
    assert_eq!(ended["error"]["data"]["reason"], "upstream_timeout");
    gateway.until_quiet().await;
    nobody_else_notices(&fake, &gateway).await;
}

#[tokio::test]
async fn a_client_has_only_so_many_open_questions() {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        talk.put("1", SAMPLING, &json!({})).await;
        talk.put("2", SAMPLING, &json!({})).await;
        let refused = talk.ask("3", SAMPLING, &json!({})).await;
        talk.result(&format!(r#"{{"refused":{refused}}}"#)).await
    });
    let setup = Setup::new().alias("db", &fake).session(|session| session.max_asks = 2);
    let gateway = setup.ready().await;
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    peer.answer(|_| None);
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["result"]["refused"]["error"]["data"]["retryable"], true, "{answer}");
    assert_eq!(peer.heard_of(SAMPLING).len(), 2);
    gateway.until_quiet().await;
}

#[tokio::test]
async fn who_does_not_read_keeps_no_question_beyond_its_call() {
    let fake = script(Dialect::Legacy).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        let params = json!({"level": "info", "data": "x".repeat(64 * 1024)});
        let notice = json!({"jsonrpc": "2.0", "method": "notifications/x", "params": params}).to_string();
        // More than all buffers on the way take.
        for _ in 0..200 {
            talk.say(&notice).await;
        }
        talk.put("9", SAMPLING, &json!({})).await;
        // Answered by the gateway itself, and so the question before it was read as well.
        talk.put("10", "ping", &json!({})).await;
        None
    });
    let gateway = Setup::new().alias("db", &fake).session(|session| session.queue = 8).ready().await;
    let session = Opening::new(&gateway, "/mcp").capabilities(OFFERS).open().await;
    let unread = session.post_streaming(CALL).await;
    fake.wait_for("answer", 1).await;
    session.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
    let refused = fake.wait_for("answer", 2).await.json();
    assert_eq!((&refused["id"], &refused["error"]["data"]["reason"]), (&json!(9), &json!("call_over")));
    gateway.until_quiet().await;
    drop(unread);
    assert_eq!(session.delete().await.status, 200);
    gateway.until_nothing_is_left().await;
}
