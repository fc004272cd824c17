//! A server that has other lists for one client than for everybody: that client sees them, and nobody else.

use crate::kit::{
    clock::eventually,
    exchange::Exchange,
    gateway::Setup,
    session::Session,
    upstream::{Dialect, Fake, Script, tool},
};
use rstest::rstest;
use std::sync::{Arc, Mutex};

/// An upstream with a stream for each session, and one session with a tool that the others have not.
fn upstream() -> (Fake, Arc<Mutex<Option<String>>>) {
    let fake = Script::new(Dialect::Json).keeps_sessions().has_stream().start();
    let special = Arc::new(Mutex::new(None::<String>));
    let known = special.clone();
    fake.on("tools/list", move |exchange: Exchange| {
        let is_special =
            exchange.session().is_some() && exchange.session() == *known.lock().expect("no panic");
        let more = if is_special { format!(",{}", tool("secret")) } else { String::new() };
        async move { exchange.result(&format!(r#"{{"tools":[{}{more}]}}"#, tool("echo"))).await }
    });
    (fake, special)
}

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[rstest]
#[case("/mcp", "db-")]
#[case("/mcp/db", "")]
#[tokio::test]
async fn what_a_clients_own_session_has_is_that_clients(#[case] path: &str, #[case] prefix: &str) {
    let (fake, special) = upstream();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let (ann, bob) = (Session::open(&gateway, path).await, Session::open(&gateway, path).await);
    let echo = format!("{prefix}echo");
    let everybodys = fake.sessions();
    assert!(ann.call(&echo).await["result"].is_object());
    let anns = fake.sessions().into_iter().find(|session| !everybodys.contains(session)).expect("a session");
    assert!(bob.call(&echo).await["result"].is_object());
    eventually("all sessions to be listened to", || fake.open_streams() == 3).await;

    let mut events = ann.listen().await;
    events.primed().await;
    *special.lock().expect("no panic") = Some(anns.clone());
    fake.tell_to(&anns, CHANGED);
    assert_eq!(events.message().await, CHANGED);
    assert_eq!(ann.tools().await, [echo.clone(), format!("{prefix}secret")]);
    assert_eq!(bob.tools().await, std::slice::from_ref(&echo), "nobody else has it");
    assert!(ann.call(&format!("{prefix}secret")).await["result"].is_object());

    // With the session goes what only it had.
    fake.forget(&anns);
    *special.lock().expect("no panic") = None;
    assert!(ann.call(&echo).await["result"].is_object(), "a new session is opened");
    assert_eq!(ann.tools().await, [echo]);
}

#[tokio::test]
async fn what_is_the_same_for_all_is_kept_once() {
    let (fake, _) = upstream();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let ann = Session::open(&gateway, "/mcp").await;
    assert!(ann.call("db-echo").await["result"].is_object());
    eventually("both sessions to be listened to", || fake.open_streams() == 2).await;
    let mut events = ann.listen().await;
    events.primed().await;
    let before = fake.seen_of("tools/list").len();
    fake.tell(CHANGED);
    // Whoever says so wants its client to know, even if it looks the same.
    assert_eq!(events.message().await, CHANGED);
    eventually("both to be read", || fake.seen_of("tools/list").len() >= before + 2).await;
    let number = gateway.clients()[0].number;
    assert!(gateway.upstream("db").own_listing(number).is_none());
}
