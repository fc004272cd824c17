//! What a client that does not read, or an upstream that does not behave, may cost others: nothing.

use crate::kit::{
    clock::{eventually, skip},
    exchange::Exchange,
    gateway::Setup,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use trunkline::upstream::settings::SessionMode;

/// Progress without end, in pieces that fill every buffer on the way.
fn flood(fake: &Fake) {
    fake.on("tools/call", |exchange: Exchange| async move {
        let token = exchange.seen.id();
        let padding = "x".repeat(64 * 1024);
        let mut stream = exchange.stream().await;
        loop {
            let progress = format!(
                r#"data: {{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":1,"message":"{padding}"}}}}"#
            );
            if stream.try_raw(format!("{progress}\n\n").as_bytes()).await.is_err() {
                return None;
            }
        }
    });
}

#[tokio::test]
async fn a_call_whose_client_does_not_read_ends_at_its_deadline() {
    let fake = Fake::of(Dialect::Events);
    flood(&fake);
    let call = Duration::from_mins(7);
    let gateway =
        Setup::new().alias_with("db", &fake, |settings| settings.timeouts.call = call).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let body = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":1}}}"#;
    // The stream is begun, and never read.
    let unread = session.post_streaming(body).await;
    fake.wait_for("tools/call", 1).await;
    skip(call).await;
    let told = fake.wait_for("notifications/cancelled", 1).await;
    assert_eq!(told.json()["params"]["requestId"].to_string(), fake.seen_of("tools/call")[0].id());
    fake.behave();
    // Its place is free again.
    let again =
        session.post(r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#).await;
    assert!(again.json()["result"].is_object(), "{}", again.text());
    drop(unread);
}

#[tokio::test]
async fn a_flood_of_questions_costs_no_more_than_is_allowed() {
    let fake = Fake::of(Dialect::Legacy);
    fake.on("answer", |exchange: Exchange| exchange.never());
    let gateway =
        Setup::new().alias_with("db", &fake, |settings| settings.session = SessionMode::Shared).ready().await;
    for id in 0..200 {
        fake.tell(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
    }
    fake.wait_for("answer", 1).await;
    let session = Session::open(&gateway, "/mcp").await;
    assert!(session.call("db-echo").await["result"].is_object());
    // Nobody takes an answer: so many may wait, and as many refusals; the other questions are given up.
    assert!(fake.seen_of("answer").len() <= 128, "{}", fake.seen_of("answer").len());
}

#[tokio::test]
async fn a_batch_keeps_notices_only_as_far_as_there_is_room() {
    let fake = Fake::of(Dialect::Events);
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        let padding = "x".repeat(40_000);
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1,"message":"{padding}"}}}}"#
        );
        let mut messages = vec![progress; 10];
        messages.push(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        exchange.messages(&messages).await
    });
    let gateway = Setup::new().alias("db", &fake).front(|front| front.body_limit = 100_000).ready().await;
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let body = r#"[{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":"p"}}}]"#;
    let reply = session.post(body).await;
    let messages = reply.json();
    let messages = messages.as_array().expect("an array");
    assert_eq!(messages.len(), 3, "two notices have room, and the answer always has");
    assert_eq!(messages[2]["id"], 7);
}

#[tokio::test]
async fn a_session_that_cannot_be_opened_means_that_the_call_was_not_executed() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.on("initialize", |exchange: Exchange| exchange.respond(500, &[], b"no room"));
    let session = Session::open(&gateway, "/mcp").await;
    let answer = session.call("db-echo").await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.contains("no session could be opened") && message.contains("was not executed"),
        "{answer}"
    );
    assert_eq!(answer["error"]["data"]["retryable"], true);
    assert!(fake.seen_of("tools/call").is_empty());
}

#[tokio::test]
async fn a_session_that_ends_while_its_upstream_session_opens_leaves_nothing_behind() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    fake.on("initialize", move |exchange: Exchange| {
        let gate = held.clone();
        async move {
            let _permit = gate.acquire().await;
            exchange.standard().await
        }
    });
    let session = Session::open(&gateway, "/mcp").await;
    let call = session
        .to_post()
        .body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}}"#);
    let call = tokio::spawn(call.send());
    fake.wait_for("initialize", 2).await;
    assert_eq!(session.delete().await.status, 200);
    gate.add_permits(1);
    assert_eq!(call.await.expect("no panic").expect("a response").status().as_u16(), 200);
    // The gateway's own session stays.
    eventually("the caller's session with the upstream is deleted", || fake.sessions().len() == 1).await;
}

#[tokio::test]
async fn credentials_that_an_upstream_repeats_stay_here() {
    let fake = Fake::of(Dialect::Json);
    fake.on("tools/call", |exchange: Exchange| async move {
        let echo = format!("you sent {}", exchange.seen.header("authorization").unwrap_or("nothing"));
        exchange.respond(500, &[("content-type", "text/plain")], echo.as_bytes()).await
    });
    let gateway = Setup::new()
        .alias_with("db", &fake, |settings| {
            settings.credential = trunkline::upstream::settings::Credential::Bearer("hush-hush".into());
        })
        .ready()
        .await;
    let answer = Session::open(&gateway, "/mcp").await.call("db-echo").await.to_string();
    assert!(answer.contains("you sent …") && !answer.contains("hush"), "{answer}");
}

#[tokio::test]
async fn log_messages_pass_only_where_they_are_offered() {
    let fake = Fake::of(Dialect::Events);
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        let notice =
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
        exchange.messages(&[notice.into(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)]).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    for (path, name, count) in [("/mcp", "db-echo", 1), ("/mcp/db", "echo", 2)] {
        let session = Session::open(&gateway, path).await;
        let reply = session.ask("tools/call", &format!(r#"{{"name":"{name}"}}"#)).await;
        assert_eq!(reply.messages().len(), count, "{path}");
    }
}

#[tokio::test]
async fn who_takes_all_the_sessions_makes_the_room() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new()
        .alias("db", &fake)
        .master("master")
        .key("greedy", None, None)
        .session(|session| session.max_sessions = 4)
        .ready()
        .await;
    let modest = Opening::new(&gateway, "/mcp").key("master").open().await;
    let mut greedy = Vec::new();
    for _ in 0..6 {
        skip(Duration::from_millis(10)).await;
        greedy.push(Opening::new(&gateway, "/mcp").key("greedy").open().await);
    }
    modest.works().await;
    greedy[5].works().await;
    let status =
        |session: &Session<'_>| session.to_post().body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#).send();
    assert_eq!(status(&greedy[0]).await.expect("a response").status().as_u16(), 404);
    assert_eq!(status(&greedy[3]).await.expect("a response").status().as_u16(), 200);
}
