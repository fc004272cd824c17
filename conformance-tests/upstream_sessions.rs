//! Sessions with upstreams: whose they are, what happens when one is forgotten, and how they end.

use crate::kit::{
    clock::{eventually, skip},
    exchange::Exchange,
    gateway::Setup,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use std::{collections::BTreeSet, time::Duration};
use trunkline::upstream::settings::SessionMode;

/// Which session a request belongs to, as the upstream sees it.
fn session_of(seen: &crate::kit::exchange::Seen) -> String {
    seen.header("mcp-session-id").map_or_else(|| seen.path.clone(), str::to_owned)
}

fn sessions_of(fake: &Fake, method: &str) -> Vec<String> {
    fake.seen_of(method).iter().map(session_of).collect()
}

#[rstest]
#[case(Script::new(Dialect::Json).keeps_sessions())]
#[case(Script::new(Dialect::Events).keeps_sessions())]
#[case(Script::new(Dialect::Legacy))]
#[tokio::test]
async fn every_client_has_a_session_of_its_own(#[case] script: Script) {
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let (one, two) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    for session in [&one, &two, &one, &two, &one] {
        assert!(session.call("db-echo").await["result"].is_object());
    }
    let calls = sessions_of(&fake, "tools/call");
    assert_eq!([&calls[0], &calls[0], &calls[1]], [&calls[2], &calls[4], &calls[3]]);
    let all: BTreeSet<_> = calls.iter().chain(&sessions_of(&fake, "tools/list")).cloned().collect();
    assert_eq!(all.len(), 3, "two clients and the gateway itself");
}

#[tokio::test]
async fn an_upstream_without_sessions_is_shared() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    for _ in 0..3 {
        let session = Session::open(&gateway, "/mcp").await;
        assert!(session.call("db-echo").await["result"].is_object());
    }
    assert_eq!(fake.seen_of("initialize").len(), 1);
    assert!(fake.seen_of("tools/call").iter().all(|seen| seen.header("mcp-session-id").is_none()));
}

#[rstest]
#[case(SessionMode::Shared, 1)]
#[case(SessionMode::Key, 2)]
#[case(SessionMode::Client, 3)]
#[tokio::test]
async fn the_alias_file_decides_who_shares(#[case] mode: SessionMode, #[case] count: usize) {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.session = mode);
    let gateway = setup.key("one-key-to-use", None, None).key("another-to-use", None, None).ready().await;
    for key in ["one-key-to-use", "one-key-to-use", "another-to-use"] {
        let session = Opening::new(&gateway, "/mcp").key(key).open().await;
        assert!(session.call("db-echo").await["result"].is_object());
    }
    assert_eq!(sessions_of(&fake, "tools/call").into_iter().collect::<BTreeSet<_>>().len(), count);
}

#[tokio::test]
async fn calls_at_once_open_one_session() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let calls = (0..8).map(|id| {
        let call =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"db-echo"}}}}"#);
        session.post(call)
    });
    for reply in futures_util::future::join_all(calls).await {
        assert!(reply.text().contains("done"));
    }
    assert_eq!(fake.seen_of("initialize").len(), 2, "the gateway's own and the client's");
}

const NO_VALID_SESSION: &str = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#;

#[rstest]
#[case(Dialect::Json, (404, ""))]
#[case(Dialect::Events, (404, "Not Found"))]
#[case(Dialect::Json, (400, NO_VALID_SESSION))]
#[case(Dialect::Legacy, (404, "Could not find session"))]
#[tokio::test]
async fn a_forgotten_session_is_opened_again_and_the_call_sent_once_more(
    #[case] dialect: Dialect,
    #[case] forgotten: (u16, &'static str),
) {
    let mut script = Script::new(dialect).keeps_sessions();
    script.forgotten = forgotten;
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    fake.forget_all();
    assert!(session.call("db-echo").await["result"].is_object());
    let calls = sessions_of(&fake, "tools/call");
    assert_eq!(calls.len(), 3, "one, the refused one, and the refused one again");
    assert_eq!(calls[0], calls[1]);
    assert_ne!(calls[1], calls[2]);
    let last = fake.seen_of("initialize").pop().expect("a handshake");
    assert_eq!(last.header("mcp-session-id"), None);
    session.works().await;
}

#[tokio::test]
async fn a_session_that_is_always_forgotten_is_given_up() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    fake.on("tools/call", |exchange: Exchange| async move { exchange.respond(404, &[], b"").await });
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_session_gone");
    assert_eq!(answer["error"]["data"]["retryable"], true);
    assert_eq!(fake.seen_of("tools/call").len(), 2);
    fake.behave();
    assert!(session.call("db-echo").await["result"].is_object());
}

/// Whatever may have been executed is never sent twice.
#[rstest]
#[case(500, "oops")]
#[case(400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"bad"}}"#)]
#[case(400, "No valid session")]
#[case(429, "")]
#[case(503, "session")]
#[tokio::test]
async fn no_other_refusal_is_tried_again(#[case] status: u16, #[case] body: &'static str) {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    fake.on("tools/call", move |exchange: Exchange| async move {
        exchange.respond(status, &[("content-type", "application/json")], body.as_bytes()).await
    });
    let answer = session.call("db-echo").await;
    assert!(answer["error"].is_object(), "{answer}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_clients_session_ends_upstream_with_it() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let (session, other) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    session.call("db-echo").await;
    other.call("db-echo").await;
    session.delete().await;
    let ended = fake.wait_for("DELETE", 1).await;
    assert_eq!(session_of(&ended), sessions_of(&fake, "tools/call")[0]);
    assert!(other.call("db-echo").await["result"].is_object());
    assert_eq!(fake.seen_of("DELETE").len(), 1);
}

#[tokio::test]
async fn a_stream_to_an_upstream_ends_with_its_client() {
    let fake = Fake::of(Dialect::Legacy);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    assert_eq!(fake.sessions().len(), 2);
    session.delete().await;
    eventually("the client's stream to end", || fake.sessions().len() == 1).await;
}

#[tokio::test]
async fn idle_upstream_sessions_are_closed_and_opened_again() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    skip(Duration::from_mins(31)).await;
    let ended = fake.wait_for("DELETE", 1).await;
    assert_eq!(session_of(&ended), sessions_of(&fake, "tools/call")[0]);
    assert!(session.call("db-echo").await["result"].is_object());
}

#[tokio::test]
async fn the_idlest_session_makes_room_and_one_in_use_does_not() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.max_sessions = 2);
    let gateway = setup.ready().await;
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(Session::open(&gateway, "/mcp").await);
    }
    for session in &sessions {
        assert!(session.call("db-echo").await["result"].is_object());
        skip(Duration::from_secs(1)).await;
    }
    let ended = fake.wait_for("DELETE", 1).await;
    assert_eq!(session_of(&ended), sessions_of(&fake, "tools/call")[0]);

    fake.on("tools/call", |exchange: Exchange| async move { exchange.never().await });
    let call = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#;
    let refused = tokio::select! {
        _ = async { tokio::join!(sessions[1].post(call), sessions[2].post(call)) } => panic!("nothing answers them"),
        refused = async {
            fake.wait_for("tools/call", 5).await;
            sessions[0].call("db-echo").await
        } => refused,
    };
    assert_eq!(refused["error"]["data"]["reason"], "upstream_busy");
    assert_eq!(refused["error"]["data"]["retryable"], true);
    sessions[0].works().await;
}

#[tokio::test]
async fn all_sessions_end_with_the_gateway() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    Session::open(&gateway, "/mcp").await.call("db-echo").await;
    Session::open(&gateway, "/mcp").await.call("db-echo").await;
    assert_eq!(fake.sessions().len(), 3);
    gateway.close().await;
    eventually("all sessions to end", || fake.sessions().is_empty()).await;
}
