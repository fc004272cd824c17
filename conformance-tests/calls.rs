//! Calls under way: cancelled, left alone, slow, and many at once.

use crate::kit::{
    clock::{skip, within},
    exchange::Exchange,
    gateway::{Running, Setup},
    legacy::Legacy,
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// A gateway whose upstream holds every call until the gate is opened.
async fn gated(script: Script) -> (Fake, Running, Arc<Semaphore>) {
    let (fake, gate) = (script.start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move { exchange.result_after(gate, DONE.into()).await }
    });
    let gateway = Setup::new().alias("db", &fake).front(|front| front.stream_after = STREAM_AFTER);
    (fake, gateway.ready().await, gate)
}

/// No test on any machine takes so long by itself.
const STREAM_AFTER: Duration = Duration::from_mins(5);
const DONE: &str = r#"{"content":[{"type":"text","text":"done"}]}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#;

#[rstest]
#[case(Script::new(Dialect::Json))]
#[case(Script::new(Dialect::Events).keeps_sessions())]
#[case(Script::new(Dialect::Legacy))]
#[tokio::test]
async fn cancelling_reaches_the_upstream_under_our_id_and_frees_the_place(#[case] script: Script) {
    let (fake, gateway, gate) = gated(script).await;
    let session = Session::open(&gateway, "/mcp").await;
    let (reply, ()) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        session.notify("notifications/cancelled", r#"{"requestId":"c","reason":"enough"}"#).await;
    });
    assert_eq!((reply.status, reply.text()), (200, ""), "a cancelled call gets no answer");
    let call = fake.wait_for("tools/call", 1).await;
    let told = fake.wait_for("notifications/cancelled", 1).await;
    assert_eq!(told.json()["params"]["requestId"].to_string(), call.id());
    assert_eq!(told.header("mcp-session-id"), call.header("mcp-session-id"));
    // The id is free again, and the session goes on.
    gate.add_permits(1000);
    assert!(session.post(CALL).await.text().contains("done"));
    session.works().await;
}

#[tokio::test]
async fn http_sse_clients_cancel_too() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json)).await;
    let mut client = Legacy::open(&gateway, "/sse").await;
    client.post(CALL).await;
    fake.wait_for("tools/call", 1).await;
    client.post(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}"#).await;
    fake.wait_for("notifications/cancelled", 1).await;
    gate.add_permits(1000);
    assert!(client.ask(CALL).await.contains("done"), "the only answer is that of the second call");
}

#[tokio::test]
async fn only_the_own_session_can_cancel() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json)).await;
    let (session, other) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let (reply, ()) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        other.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
        session.notify("notifications/cancelled", r#"{"requestId":"other"}"#).await;
        gate.add_permits(1000);
    });
    assert!(reply.text().contains("done"));
    assert!(fake.seen_of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_cancel() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json).tools(&["echo", "other"])).await;
    let session = Session::open(&gateway, "/mcp").await;
    {
        let mut call = Box::pin(session.post(CALL));
        tokio::select! {
            reply = &mut call => panic!("answered too early: {}", reply.text()),
            _ = fake.wait_for("tools/call", 1) => {}
        }
    }
    // The id is taken as long as the call goes on.
    let again = session.post(CALL).await;
    assert_eq!(again.json()["error"]["data"]["reason"], "id_in_use");
    gate.add_permits(1000);
    within("the place of the call to be free", async {
        while !session.post(CALL).await.text().contains("done") {}
    })
    .await;
    assert!(fake.seen_of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn a_slow_call_becomes_a_stream() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json)).await;
    let session = Session::open(&gateway, "/mcp").await;
    let (mut events, ()) = tokio::join!(session.post_streaming(CALL), async {
        fake.wait_for("tools/call", 1).await;
        // Up to here there is no response at all, not even its head.
        skip(STREAM_AFTER).await;
    });
    gate.add_permits(1000);
    assert!(events.message().await.contains("done"));
    assert_eq!(events.next().await, None);
    // What is fast is plain JSON still.
    let fast = session.post(CALL).await;
    assert!(!fast.is_stream() && fast.text().contains("done"));
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up() {
    let (fake, gateway, _gate) = gated(Script::new(Dialect::Json)).await;
    let session = Session::open(&gateway, "/mcp").await;
    let (reply, ()) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        // The bound of a call is ten minutes.
        skip(Duration::from_secs(601)).await;
    });
    assert!(reply.answer().contains("upstream_timeout"), "{}", reply.text());
    let told = fake.wait_for("notifications/cancelled", 1).await;
    assert_eq!(told.json()["params"]["requestId"].to_string(), fake.wait_for("tools/call", 1).await.id());
    session.works().await;
}

#[tokio::test]
async fn a_quiet_stream_gets_comments() {
    let (fake, gate) = (Fake::of(Dialect::Json), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move { exchange.result_after(gate, DONE.into()).await }
    });
    let setup = Setup::new().alias("db", &fake).front(|front| {
        front.stream_after = Duration::ZERO;
        front.keep_alive = Duration::from_secs(100);
    });
    let gateway = setup.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let (mut events, mut listening) = (session.post_streaming(CALL).await, session.listen().await);
    events.primed().await;
    listening.primed().await;
    for _ in 0..3 {
        skip(Duration::from_secs(101)).await;
        events.comment().await;
        listening.comment().await;
    }
    let mut legacy = Legacy::open(&gateway, "/sse").await;
    skip(Duration::from_secs(101)).await;
    legacy.events.comment().await;
    gate.add_permits(1000);
    assert_eq!(
        events.message().await,
        r#"{"jsonrpc":"2.0","id":"c","result":{"content":[{"type":"text","text":"done"}]}}"#
    );
    assert_eq!(events.next().await, None);
}

#[rstest]
#[case(Dialect::Json)]
#[case(Dialect::Legacy)]
#[tokio::test]
async fn answers_find_their_calls_in_any_order(#[case] dialect: Dialect) {
    const CALLS: usize = 32;
    let (fake, gateway, gate) = gated(Script::new(dialect)).await;
    fake.on("tools/call", {
        let gate = gate.clone();
        move |exchange: Exchange| {
            let gate = gate.clone();
            async move { exchange.echo_after(gate).await }
        }
    });
    let session = Session::open(&gateway, "/mcp").await;
    let calls = (0..CALLS).map(|number| {
        // Different calls, same id but for the spelling: `1`, `1.0`, `"1"` are three ids.
        let id = ["", ".0", ".00", "e0"][number % 4];
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{}{id},"method":"tools/call","params":{{"name":"db-echo","arguments":{{"n":{number}}}}}}}"#,
            number / 4
        );
        let session = &session;
        async move {
            let expected = format!(r#"{{"jsonrpc":"2.0","id":{}{id},"result":{{"n":{number}}}}}"#, number / 4);
            assert_eq!(session.post(body).await.text(), expected);
        }
    });
    tokio::join!(futures_util::future::join_all(calls), async {
        fake.wait_for("tools/call", CALLS).await;
        gate.add_permits(1000);
    });
    session.works().await;
}

#[tokio::test]
async fn an_id_is_in_use_until_its_answer() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json)).await;
    let (session, other) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let (first, (second, ())) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        let second = session.post(CALL).await;
        let elsewhere = async {
            fake.wait_for("tools/call", 2).await;
            gate.add_permits(1000);
        };
        // Another session's ids are its own affair.
        let (other, ()) = tokio::join!(other.post(CALL), elsewhere);
        assert!(other.text().contains("done"));
        (second, ())
    });
    assert!(first.text().contains("done"));
    let error = &second.json()["error"];
    assert_eq!((&error["code"], &error["data"]["reason"]), (&(-32600).into(), &"id_in_use".into()));
    session.works().await;
}

#[tokio::test]
async fn calls_of_a_session_are_bounded() {
    let fake = Fake::of(Dialect::Json);
    fake.on("tools/call", |exchange: Exchange| async move { exchange.never().await });
    let gateway = Setup::new().alias("db", &fake).session(|session| session.max_calls = 1).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let (_, refused) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        let refused = session.call("db-echo").await;
        session.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
        refused
    });
    assert_eq!(refused["error"]["data"]["reason"], "too_many_calls");
    assert_eq!(refused["error"]["data"]["retryable"], true);
    session.works().await;
}

#[tokio::test]
async fn the_gateway_drains() {
    let (fake, gateway, gate) = gated(Script::new(Dialect::Json)).await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut stream = session.listen().await;
    stream.primed().await;
    let (reply, ()) = tokio::join!(session.post(CALL), async {
        fake.wait_for("tools/call", 1).await;
        gateway.stop.cancel();
        assert_eq!(stream.next().await, None, "streams without an end are ended");
        gate.add_permits(1000);
    });
    assert!(reply.text().contains("done"), "calls under way are answered");
    within("the listener's end", gateway.listening).await.expect("no panic").expect("no error");
}
