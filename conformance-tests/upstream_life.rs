//! Upstreams that come late, go, come back, ask questions, or do not answer.

use crate::kit::{
    clock::{eventually, skip, within},
    exchange::Exchange,
    gateway::Setup,
    session::Session,
    upstream::{Dialect, Fake, Script, nobodys_address, tool},
};
use rstest::rstest;
use std::time::Duration;
use tokio::time::sleep;
use trunkline::upstream::{State, settings::Era};

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[rstest]
#[case(Dialect::Json, "mcp")]
#[case(Dialect::Legacy, "sse")]
#[tokio::test]
async fn who_comes_late_appears_and_clients_are_told(#[case] dialect: Dialect, #[case] path: &str) {
    let address = nobodys_address();
    let setup = Setup::new().alias_at("late", &format!("http://{address}/{path}"), |_| ());
    let gateway = setup.start();
    let session = Session::open(&gateway, "/mcp").await;
    let mut events = session.listen().await;
    events.primed().await;
    assert!(session.tools().await.is_empty());
    assert_eq!(session.call("late-echo").await["error"]["data"]["reason"], "unknown_tool");
    gateway.until_down("late").await;

    let _fake = Fake::start_at(address, Script::new(dialect));
    skip(Duration::from_secs(5)).await;
    assert_eq!(events.message().await, CHANGED);
    assert_eq!(session.tools().await, ["late-echo"]);
    assert!(session.call("late-echo").await["result"].is_object());
}

#[rstest]
#[case(Script::new(Dialect::Json))]
#[case(Script::new(Dialect::Json).keeps_sessions())]
#[case(Script::new(Dialect::Legacy))]
#[tokio::test]
async fn who_is_down_stays_listed_and_calls_fail_fast(#[case] script: Script) {
    let address = nobodys_address();
    let fake = Fake::start_at(address, script.clone());
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    drop(fake);
    // Over HTTP+SSE the end of the stream tells; else the first call does, or a ping.
    skip(Duration::from_secs(31)).await;
    let reason = gateway.until_down("db").await;
    assert_eq!(session.tools().await, ["db-echo"]);
    let answer = session.call("db-echo").await;
    let data = &answer["error"]["data"];
    assert_eq!(
        (&data["reason"], &data["upstream"]),
        (&"upstream_unreachable".into(), &"db".into()),
        "{reason}"
    );
    assert_eq!(data["retryable"], true);
    assert!(data["hint"].as_str().is_some_and(|hint| hint.contains("url")));
    assert_eq!(answer["error"]["code"], -32603);
    let health = gateway.health().await;
    assert_eq!(
        (&health["upstreams"]["db"]["state"], &health["upstreams"]["db"]["tools"]),
        (&"down".into(), &1.into())
    );

    let _fake = Fake::start_at(address, script);
    skip(Duration::from_secs(5)).await;
    gateway.until_listed("db").await;
    assert!(session.call("db-echo").await["result"].is_object());
}

#[tokio::test]
async fn who_comes_back_with_the_same_tools_is_no_news() {
    let address = nobodys_address();
    let fake = Fake::start_at(address, Script::new(Dialect::Legacy));
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut events = session.listen().await;
    events.primed().await;
    drop(fake);
    gateway.until_down("db").await;
    let fake = Fake::start_at(address, Script::new(Dialect::Legacy));
    skip(Duration::from_secs(5)).await;
    gateway.until_listed("db").await;
    let mut next = session.listen().await;
    assert_eq!(events.next().await, None, "nothing was said");
    next.primed().await;
    fake.set_tools(vec![tool("new")]);
    fake.tell_change();
    assert_eq!(next.message().await, CHANGED);
}

#[tokio::test]
async fn a_broken_stream_fails_the_calls_on_it_and_the_next_call_works() {
    let fake = Fake::of(Dialect::Legacy);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    fake.on("tools/call", |exchange: Exchange| async move { exchange.respond(202, &[], b"").await });
    let (failed, ()) = tokio::join!(session.call("db-echo"), async {
        fake.wait_for("tools/call", 2).await;
        fake.cut_streams();
    });
    assert_eq!(failed["error"]["data"]["reason"], "upstream_closed");
    assert_eq!(failed["error"]["data"]["retryable"], false, "it may have been executed");
    fake.behave();
    assert!(session.call("db-echo").await["result"].is_object());
    assert_eq!(fake.seen_of("tools/call").len(), 3, "what may have been executed is not sent again");
}

#[tokio::test]
async fn who_does_not_answer_pings_is_down() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.on("ping", |exchange: Exchange| async move { exchange.never().await });
    skip(Duration::from_secs(31)).await;
    fake.wait_for("ping", 1).await;
    skip(Duration::from_secs(11)).await;
    let reason = gateway.until_down("db").await;
    assert!(reason.contains("ping"), "{reason}");
}

#[tokio::test]
async fn any_answer_to_a_ping_is_a_sign_of_life() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.on("ping", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32601,"message":"what?"}}}}"#);
        exchange.json(&body).await
    });
    for round in 1..4 {
        skip(Duration::from_secs(31)).await;
        fake.wait_for("ping", round).await;
    }
    assert_eq!(gateway.upstream("db").status().state, State::Ready);
}

/// The gateway asks less and less often, and at once when somebody wants to call.
#[tokio::test]
async fn attempts_become_rare_and_callers_hurry_them() {
    let fake = Fake::of(Dialect::Json);
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.era = Era::Handshake);
    let gateway = setup.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for method in ["initialize", "ping", "tools/call"] {
        fake.on(method, |exchange: Exchange| async move { exchange.respond(500, &[], b"no").await });
    }
    skip(Duration::from_secs(31)).await;
    gateway.until_down("db").await;
    let attempts = || fake.seen_of("initialize").len();
    within("a number of attempts", async {
        while attempts() < 17 {
            // Longer than any wait between two of them.
            skip(Duration::from_mins(40)).await;
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    skip(Duration::from_secs(1)).await;
    gateway.health().await;
    let before = attempts();
    // Half an hour, more or less a fifth, lies between attempts by now.
    skip(Duration::from_mins(20)).await;
    gateway.health().await;
    assert_eq!(attempts(), before);
    assert_eq!(session.call("db-echo").await["error"]["data"]["upstream"], "db");
    eventually("an attempt that the call hurried", || attempts() > before).await;
}

#[rstest]
#[case(Dialect::Events)]
#[case(Dialect::Legacy)]
#[tokio::test]
async fn questions_of_an_upstream_are_answered_or_refused(#[case] dialect: Dialect) {
    let fake = Fake::of(dialect);
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        let questions = [
            r#"{"jsonrpc":"2.0","id":"q 1","method":"ping"}"#.to_owned(),
            r#"{"jsonrpc":"2.0","id":7.50,"method":"sampling/createMessage","params":{}}"#.to_owned(),
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#),
        ];
        exchange.messages(&questions).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    assert_eq!(session.call("db-echo").await["result"], serde_json::json!({}));
    fake.wait_for("answer", 2).await;
    let mut answers: Vec<_> = fake.seen_of("answer").iter().map(|seen| seen.text().to_owned()).collect();
    answers.sort();
    assert_eq!(answers[0], r#"{"jsonrpc":"2.0","id":"q 1","result":{}}"#);
    assert!(answers[1].starts_with(r#"{"jsonrpc":"2.0","id":7.50,"error":{"code":-32601"#), "{}", answers[1]);
}

#[tokio::test]
async fn a_stream_of_its_own_that_breaks_is_opened_again() {
    let fake = Script::new(Dialect::Json).has_stream().keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    eventually("the gateway to listen", || fake.open_streams() == 1).await;
    fake.cut_streams();
    fake.wait_for("GET", 1).await;
    eventually("the gateway to notice", || fake.open_streams() == 0).await;
    skip(Duration::from_secs(2)).await;
    eventually("the gateway to listen again", || fake.open_streams() == 1).await;
    fake.set_tools(vec![tool("a"), tool("b")]);
    fake.tell_change();
    gateway.until_tools(2).await;
}
