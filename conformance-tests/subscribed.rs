//! Subscriptions: bounded, shared where sessions are, made again when an upstream comes back, and gone with who made
//! them.

use crate::kit::{
    clock::eventually,
    exchange::Exchange,
    gateway::{Running, Setup},
    offers::resource,
    peer::{Peer, Transport},
    session::Session,
    upstream::{Dialect, Fake, Script, nobodys_address},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use trunkline::upstream::settings::SessionMode;

fn script(dialect: Dialect) -> Script {
    Script::new(dialect).keeps_sessions().has_stream().everything("db")
}

fn updated(uri: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#)
}

async fn subscribe(peer: &mut Peer<'_>, uri: &str) -> Value {
    peer.ask("resources/subscribe", &json!({"uri": uri})).await
}

async fn unsubscribe(peer: &mut Peer<'_>, uri: &str) {
    assert_eq!(peer.ask("resources/unsubscribe", &json!({"uri": uri})).await["result"], json!({}));
}

async fn peers(gateway: &Running) -> [Peer<'_>; 2] {
    [
        Peer::open(gateway, Transport::Streamable, "/mcp", "ann").await,
        Peer::open(gateway, Transport::Sse, "/mcp", "bob").await,
    ]
}

#[rstest]
#[tokio::test]
async fn of_a_shared_session_the_first_begins_and_the_last_ends(
    #[values(Dialect::Json, Dialect::Legacy)] dialect: Dialect,
) {
    let fake = script(dialect).start();
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.session = SessionMode::Shared);
    let gateway = setup.ready().await;
    eventually("the gateway to listen", || fake.open_streams() == 1).await;
    let [mut ann, mut bob] = peers(&gateway).await;
    for peer in [&mut ann, &mut bob] {
        assert_eq!(subscribe(peer, "x://one").await["result"], json!({}));
        assert_eq!(subscribe(peer, "x://one").await["result"], json!({}), "twice is once");
    }
    assert_eq!(subscribe(&mut bob, "x://two").await["result"], json!({}));
    assert_eq!((fake.seen_of("resources/subscribe").len(), gateway.subscribed("db")), (2, 2));
    fake.tell(&updated("x://two"));
    fake.tell(&updated("x://one"));
    fake.tell(&updated("x://nobodys"));
    assert_eq!(ann.hear().await["params"]["uri"], "x://one", "only who subscribed hears of it");
    assert_eq!(bob.hear().await["params"]["uri"], "x://two");
    assert_eq!(bob.hear().await["params"]["uri"], "x://one");
    unsubscribe(&mut ann, "x://one").await;
    assert!(fake.seen_of("resources/unsubscribe").is_empty(), "bob still wants it");
    fake.tell(&updated("x://one"));
    assert_eq!(bob.hear().await["params"]["uri"], "x://one");
    unsubscribe(&mut bob, "x://one").await;
    assert_eq!(fake.wait_for("resources/unsubscribe", 1).await.json()["params"]["uri"], "x://one");
    bob.leave().await;
    assert_eq!(fake.wait_for("resources/unsubscribe", 2).await.json()["params"]["uri"], "x://two");
    fake.tell(&updated("x://two"));
    assert_eq!(subscribe(&mut ann, "x://one").await["result"], json!({}));
    assert_eq!(ann.heard().len(), 1);
    ann.leave().await;
    gateway.until_nothing_is_left().await;
    fake.wait_for("resources/unsubscribe", 3).await;
}

#[rstest]
#[case(script(Dialect::Json), SessionMode::Auto)]
#[case(script(Dialect::Json), SessionMode::Shared)]
#[case(script(Dialect::Json), SessionMode::Key)]
#[case(script(Dialect::Events), SessionMode::Auto)]
#[case(script(Dialect::Legacy), SessionMode::Auto)]
#[case(script(Dialect::Legacy), SessionMode::Shared)]
#[tokio::test]
async fn they_survive_the_upstream(#[case] script: Script, #[case] mode: SessionMode) {
    let address = nobodys_address();
    let fake = Fake::start_at(address, script.clone());
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.session = mode).ready().await;
    let [mut ann, mut bob] = peers(&gateway).await;
    for peer in [&mut ann, &mut bob] {
        assert_eq!(subscribe(peer, "x://one").await["result"], json!({}));
    }
    assert_eq!(subscribe(&mut bob, "x://two").await["result"], json!({}));
    drop(fake);
    gateway.until_down("db").await;
    // Nobody calls: whatever is done is done by the gateway itself.
    let fake = Fake::start_at(address, script);
    let expected = if mode == SessionMode::Auto { 3 } else { 2 };
    fake.wait_for("resources/subscribe", expected).await;
    let streams = if mode == SessionMode::Auto { 2 } else { 1 };
    eventually("the gateway to listen", || fake.open_streams() >= streams).await;
    fake.tell(&updated("x://one"));
    for peer in [&mut ann, &mut bob] {
        assert_eq!(peer.hear().await["params"]["uri"], "x://one");
    }
    assert_eq!(fake.seen_of("resources/subscribe").len(), expected);
    for peer in [ann, bob] {
        peer.leave().await;
    }
    gateway.until_nothing_is_left().await;
}

#[tokio::test]
async fn a_stream_that_is_lost_for_a_moment_is_taken_up_again() {
    let fake = script(Dialect::Json).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(subscribe(&mut ann, "x://one").await["result"], json!({}));
    eventually("the gateway to listen", || fake.open_streams() == 2).await;
    // A proxy in between restarts; the session lives.
    fake.on("GET", |exchange: Exchange| async move { exchange.close() });
    fake.cut_streams();
    let before = fake.seen_of("GET").len();
    fake.wait_for("GET", before + 2).await;
    fake.behave();
    eventually("the gateway to listen again", || fake.open_streams() == 2).await;
    fake.tell(&updated("x://one"));
    assert_eq!(ann.hear().await["params"]["uri"], "x://one");
}

#[rstest]
#[tokio::test]
async fn a_subscription_that_the_upstream_refuses_is_none(
    #[values(SessionMode::Auto, SessionMode::Shared)] mode: SessionMode,
) {
    const GONE: &str = r#"{"code":-32002,"message":"Resource not found","data":{"uri":"x://two","x":1.10}}"#;
    let fake = script(Dialect::Events).start();
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.session = mode).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    fake.on(
        "resources/subscribe",
        |exchange: Exchange| async move { exchange.talk().await.error(GONE).await },
    );
    // It vanished since it was listed.
    let refused = subscribe(&mut ann, "x://two").await;
    assert_eq!(refused["error"], serde_json::from_str::<Value>(GONE).expect("JSON"));
    assert_eq!(gateway.subscribed("db"), 0);
    fake.set_resources(vec![resource("x://one")]);
    fake.tell(r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#);
    assert_eq!(ann.hear().await["method"], "notifications/resources/list_changed");
    let listed = ann.ask("resources/list", &json!({})).await;
    assert_eq!(listed["result"]["resources"].as_array().map(Vec::len), Some(1));
    fake.behave();
    assert_eq!(subscribe(&mut ann, "x://one").await["result"], json!({}));
    fake.on("resources/unsubscribe", |exchange: Exchange| async move { exchange.close() });
    let lost = ann.ask("resources/unsubscribe", &json!({"uri": "x://one"})).await;
    assert_eq!(lost["error"]["data"]["reason"], "upstream_closed");
    assert_eq!(gateway.subscribed("db"), 0);
}

#[rstest]
#[tokio::test]
async fn a_client_has_only_so_many(#[values(SessionMode::Auto, SessionMode::Shared)] mode: SessionMode) {
    const MOST: usize = 1000;
    let fake = script(Dialect::Json).start();
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.session = mode);
    let gateway = setup.session(|session| session.max_subscriptions = MOST).ready().await;
    let session = Session::open(&gateway, "/mcp/db").await;
    let subscribe = async |number: usize| {
        let uri = json!({"uri": format!("x://{number}")}).to_string();
        session.ask("resources/subscribe", &uri).await.answer_json()
    };
    for number in 0..MOST {
        assert_eq!(subscribe(number).await["result"], json!({}));
    }
    let refused = subscribe(MOST).await;
    assert_eq!(refused["error"]["data"]["reason"], "too_many_subscriptions", "{refused}");
    assert_eq!(subscribe(0).await["result"], json!({}), "what it has it has");
    assert_eq!(gateway.subscribed("db"), MOST);
    // Another client has room of its own.
    let mut bob = Peer::open(&gateway, Transport::Streamable, "/mcp/db", "bob").await;
    assert_eq!(bob.ask("resources/subscribe", &json!({"uri": "x://new"})).await["result"], json!({}));
    let uri = json!({"uri": "x://7"}).to_string();
    assert_eq!(session.ask("resources/unsubscribe", &uri).await.answer_json()["result"], json!({}));
    assert_eq!(subscribe(MOST).await["result"], json!({}));
    assert_eq!(session.delete().await.status, 200);
    bob.leave().await;
    gateway.until_nothing_is_left().await;
}

#[tokio::test]
async fn nobody_is_told_of_a_subscription_before_the_upstream_agreed() {
    let (fake, gate) = (script(Dialect::Json).start(), Arc::new(Semaphore::new(0)));
    let held = gate.clone();
    fake.on("resources/subscribe", move |exchange: Exchange| {
        let gate = held.clone();
        async move {
            gate.acquire().await.expect("open").forget();
            let id = exchange.seen.id();
            let error =
                format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32002,"message":"gone"}}}}"#);
            exchange.json(&error).await
        }
    });
    let setup = Setup::new().alias_with("db", &fake, |settings| settings.session = SessionMode::Shared);
    let gateway = setup.ready().await;
    let [mut ann, mut bob] = peers(&gateway).await;
    let (one, other, ()) =
        tokio::join!(subscribe(&mut ann, "x://one"), subscribe(&mut bob, "x://one"), async {
            fake.wait_for("resources/subscribe", 2).await;
            gate.add_permits(2);
        });
    assert_eq!((&one["error"]["code"], &other["error"]["code"]), (&json!(-32002), &json!(-32002)));
    assert_eq!(gateway.subscribed("db"), 0);
}

#[tokio::test]
async fn what_is_made_again_has_the_level_that_was_asked_for_last() {
    let address = nobodys_address();
    let fake = Fake::start_at(address, script(Dialect::Legacy));
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(subscribe(&mut ann, "x://one").await["result"], json!({}));
    assert_eq!(ann.ask("logging/setLevel", &json!({"level": "alert"})).await["result"], json!({}));
    drop(fake);
    gateway.until_down("db").await;
    let fake = Fake::start_at(address, script(Dialect::Legacy));
    fake.wait_for("resources/subscribe", 1).await;
    assert_eq!(fake.wait_for("logging/setLevel", 1).await.json()["params"]["level"], "alert");
}

#[rstest]
#[case(script(Dialect::Json))]
#[case(script(Dialect::Events))]
#[case(script(Dialect::Legacy))]
#[tokio::test]
async fn they_survive_a_session_that_ends_alone(#[case] script: Script) {
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    eventually("the gateway to listen", || fake.open_streams() == 1).await;
    let own = fake.sessions();
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(subscribe(&mut ann, "x://one").await["result"], json!({}));
    assert_eq!(fake.seen_of("resources/subscribe").len(), 1);
    let lost = fake.sessions().into_iter().find(|session| !own.contains(session)).expect("a new session");
    eventually("the client's stream to stand", || fake.open_streams() == 2).await;
    fake.forget(&lost);
    let again = fake.wait_for("resources/subscribe", 2).await;
    assert!(!again.is_of(&lost));
    eventually("the new session to listen", || fake.open_streams() == 2).await;
    fake.tell(&updated("x://one"));
    assert_eq!(ann.hear().await["params"]["uri"], "x://one");
    ann.leave().await;
    gateway.until_nothing_is_left().await;
}
