//! Levels of log messages where clients share an upstream session: as verbose as the most curious wants it.

use crate::kit::{
    exchange::Exchange,
    gateway::Setup,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use trunkline::upstream::settings::SessionMode;

const LOGS: [&str; 2] = ["debug", "error"];

/// Logs at two levels in each call.
fn logging(script: Script) -> Fake {
    let fake = script.start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        for level in LOGS {
            talk.say(&format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
            ))
            .await;
        }
        talk.result("{}").await
    });
    fake
}

async fn heard(session: &Session<'_>) -> usize {
    session.ask("tools/call", r#"{"name":"db-echo"}"#).await.messages().len() - 1
}

async fn set_level(session: &Session<'_>, level: &str) {
    let answer = session.ask("logging/setLevel", &format!(r#"{{"level":"{level}"}}"#)).await.answer_json();
    assert_eq!(answer["result"], serde_json::json!({}), "{answer}");
}

#[rstest]
#[case(Script::new(Dialect::Events))]
#[case(Script::new(Dialect::Events).keeps_sessions())]
#[case(Script::new(Dialect::Legacy))]
#[tokio::test]
async fn each_client_hears_what_it_wants(#[case] script: Script) {
    let fake = logging(script.everything("db"));
    let gateway =
        Setup::new().alias_with("db", &fake, |settings| settings.session = SessionMode::Shared).ready().await;
    let (ann, bob) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    assert_eq!((heard(&ann).await, heard(&bob).await), (2, 2), "nobody said anything");
    set_level(&ann, "error").await;
    assert_eq!((heard(&ann).await, heard(&bob).await), (1, 2));
    set_level(&bob, "debug").await;
    assert_eq!((heard(&ann).await, heard(&bob).await), (1, 2));
    let told: Vec<_> =
        fake.seen_of("logging/setLevel").iter().map(|seen| seen.json()["params"]["level"].clone()).collect();
    assert_eq!(told, ["error", "debug"]);
    for (body, code) in [("{}", -32602), (r#"{"level":"loud"}"#, -32602)] {
        assert_eq!(ann.ask("logging/setLevel", body).await.answer_json()["error"]["code"], code);
    }
}

#[tokio::test]
async fn a_session_of_a_key_begins_as_verbose_as_anybody_wants_it() {
    let fake = logging(Script::new(Dialect::Events).keeps_sessions().everything("db"));
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.session = SessionMode::Key);
    let gateway = setup.key("k", None, None).key("l", None, None).ready().await;
    let open = |key: &'static str| Opening::new(&gateway, "/mcp").key(key).open();
    let (ann, bob, eve) = (open("k").await, open("k").await, open("l").await);
    set_level(&ann, "error").await;
    set_level(&bob, "debug").await;
    // Opened by who wants less than the other.
    assert_eq!((heard(&ann).await, heard(&bob).await), (1, 2));
    assert_eq!(fake.wait_for("logging/setLevel", 1).await.json()["params"]["level"], "debug");
    // The session of another key is told as well.
    heard(&eve).await;
    set_level(&eve, "debug").await;
    fake.wait_for("logging/setLevel", 3).await;
}
