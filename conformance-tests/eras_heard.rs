//! What a stateless upstream says by itself: lists that change, resources that change, on streams that are asked for.

use crate::kit::{
    clock::{eventually, skip, within},
    exchange::Exchange,
    gateway::Setup,
    peer::{Peer, Transport},
    session::Session,
    upstream::{Dialect, Eras, Fake, Script, tool},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::sleep};

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

fn script() -> Script {
    Script::new(Dialect::Json).speaks(Eras::Stateless)
}

fn everything() -> Fake {
    script().everything("db").start()
}

/// An update as it comes on a stream with that number.
fn updated(uri: &str, number: u32) -> String {
    json!({
        "jsonrpc": "2.0",
        "method": "notifications/resources/updated",
        "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": number, "x": 1.5}, "uri": uri},
    })
    .to_string()
}

/// The resources that each open stream tells of.
fn watched(fake: &Fake) -> Vec<Vec<String>> {
    let uris = |name: String| {
        let (_, wanted) = name.split_once(' ').expect("a name");
        let wanted: Value = serde_json::from_str(wanted).expect("JSON");
        let uris = wanted["resourceSubscriptions"].as_array()?.iter();
        Some(uris.map(|uri| uri.as_str().expect("a URI").to_owned()).collect())
    };
    fake.listeners().into_iter().filter_map(uris).collect()
}

async fn ask(peer: &mut Peer<'_>, method: &str, uri: &str) -> Value {
    peer.ask(method, &json!({"uri": uri})).await
}

#[tokio::test]
async fn every_request_says_who_asks() {
    let fake = everything();
    let _gateway = Setup::new().alias("db", &fake).ready().await;
    let methods = [
        "server/discover",
        "subscriptions/listen",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
    ];
    for method in methods {
        let seen = fake.wait_for(method, 1).await;
        assert_eq!(seen.header("mcp-method"), Some(method));
        assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
        let meta = &seen.json()["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "trunkline");
        let offered = json!({"sampling": {"context": {}, "tools": {}}, "elicitation": {"form": {}, "url": {}}, "roots": {}});
        assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], offered);
    }
    let listen = fake.seen_of("subscriptions/listen")[0].json();
    assert_eq!(listen["params"]["notifications"], json!({"toolsListChanged": true}), "what it declares");
}

#[tokio::test]
async fn lists_that_change_are_read_again_and_clients_are_told() {
    let fake = script().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut events = session.listen().await;
    events.primed().await;
    fake.set_tools(vec![tool("echo"), tool("new")]);
    fake.tell_change();
    assert_eq!(events.message().await, CHANGED);
    assert_eq!(session.tools().await, ["db-echo", "db-new"]);
}

#[tokio::test]
async fn a_stream_that_is_lost_is_opened_again_and_the_lists_are_read_again() {
    let fake = script().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.set_tools(vec![tool("echo"), tool("new")]);
    assert_eq!(fake.seen_of("tools/list").len(), 1, "nobody said anything");
    fake.cut_streams();
    eventually("the end of the stream", || fake.open_streams() == 0).await;
    within("another stream", async {
        while fake.open_streams() == 0 {
            skip(Duration::from_secs(1)).await;
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    gateway.until_tools(2).await;
    assert_eq!(fake.seen_of("server/discover").len(), 1, "it was never away");
}

#[tokio::test]
async fn an_upstream_without_such_streams_is_ready_all_the_same() {
    let fake = script().start();
    fake.on("subscriptions/listen", |exchange: Exchange| async move {
        exchange.refuse(404, -32601, "Method not found", &Value::Null).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    skip(Duration::from_secs(29)).await;
    fake.set_tools(vec![tool("echo"), tool("new")]);
    skip(Duration::from_mins(10)).await;
    gateway.until_tools(2).await;
    assert_eq!(fake.seen_of("subscriptions/listen").len(), 1);
}

#[tokio::test]
async fn a_stream_that_is_not_acknowledged_holds_nobody_up() {
    let fake = script().start();
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    fake.on("subscriptions/listen", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let _open = gate.acquire().await;
            exchange.listened().await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.set_tools(vec![tool("echo"), tool("new")]);
    gate.add_permits(1);
    gateway.until_tools(2).await;
}

#[tokio::test]
async fn lists_without_news_are_read_again_when_they_are_no_longer_good() {
    let mut script = script();
    (script.capabilities, script.ttl) = (r#"{"tools":{}}"#, 60_000);
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.set_tools(vec![tool("echo"), tool("new")]);
    skip(Duration::from_secs(55)).await;
    assert_eq!(gateway.health().await["upstreams"]["db"]["tools"], 1);
    skip(Duration::from_secs(10)).await;
    gateway.until_tools(2).await;
    assert!(fake.seen_of("subscriptions/listen").is_empty(), "it tells of nothing");
}

#[tokio::test]
async fn who_answers_no_more_that_it_is_there_is_down() {
    let fake = script().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.on(
        "server/discover",
        |exchange: Exchange| async move { exchange.respond(503, &[], b"later").await },
    );
    fake.on("initialize", |exchange: Exchange| async move { exchange.respond(503, &[], b"later").await });
    skip(Duration::from_secs(31)).await;
    let reason = gateway.until_down("db").await;
    assert!(reason.contains("503"), "{reason}");
    assert!(fake.seen_of("ping").is_empty());
    fake.behave();
    skip(Duration::from_secs(5)).await;
    gateway.until_listed("db").await;
}

#[tokio::test]
async fn what_an_upstream_asks_is_not_answered() {
    let fake = script().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    fake.tell(r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#);
    fake.set_tools(vec![tool("echo"), tool("new")]);
    fake.tell_change();
    gateway.until_tools(2).await;
    assert!(fake.seen_of("answer").is_empty());
}

#[tokio::test]
async fn resources_are_watched_by_one_stream_that_is_replaced_without_a_gap() {
    let fake = everything();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let mut bob = Peer::open(&gateway, Transport::Sse, "/mcp", "bob").await;
    assert_eq!(ask(&mut ann, "resources/subscribe", "x://one").await["result"], json!({}));
    assert_eq!(ask(&mut bob, "resources/subscribe", "x://one").await["result"], json!({}));
    assert_eq!(watched(&fake), [["x://one"]]);
    assert_eq!(fake.seen_of("subscriptions/listen").len(), 2, "lists, and one resource");

    // While the next stream is not acknowledged, the one before it is heard.
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    fake.on("subscriptions/listen", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let _open = gate.acquire().await;
            exchange.listened().await
        }
    });
    let ((), answer) = tokio::join!(
        async {
            fake.wait_for("subscriptions/listen", 3).await;
            fake.tell(&updated("x://one", 4));
            let heard = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"_meta":{"x":1.5},"uri":"x://one"}}"#;
            assert_eq!(ann.hear().await, serde_json::from_str::<Value>(heard).expect("JSON"));
            gate.add_permits(1);
        },
        ask(&mut bob, "resources/subscribe", "x://two"),
    );
    assert_eq!(answer["result"], json!({}));
    eventually("one stream", || watched(&fake) == [["x://one", "x://two"]]).await;
    fake.behave();

    assert_eq!(ask(&mut bob, "resources/unsubscribe", "x://one").await["result"], json!({}));
    assert_eq!(watched(&fake), [["x://one", "x://two"]], "ann still wants it");
    assert_eq!(ask(&mut ann, "resources/unsubscribe", "x://one").await["result"], json!({}));
    eventually("the other one", || watched(&fake) == [["x://two"]]).await;
    assert_eq!(ask(&mut bob, "resources/unsubscribe", "x://two").await["result"], json!({}));
    eventually("no stream", || watched(&fake).is_empty()).await;
    assert!(
        fake.seen_of("resources/subscribe").is_empty() && fake.seen_of("resources/unsubscribe").is_empty()
    );
}

#[tokio::test]
async fn who_refuses_one_resource_still_tells_of_the_others() {
    let fake = everything();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(ask(&mut ann, "resources/subscribe", "x://one").await["result"], json!({}));
    fake.on("subscriptions/listen", |exchange: Exchange| async move {
        exchange.refuse(400, -32602, "not that one", &Value::Null).await
    });
    assert_eq!(ask(&mut ann, "resources/subscribe", "x://two").await["error"]["message"], "not that one");
    fake.on("subscriptions/listen", |exchange: Exchange| async move {
        exchange.listened_to(&json!({"resourceSubscriptions": ["x://one"]})).await
    });
    let refused = ask(&mut ann, "resources/subscribe", "x://two").await;
    assert_eq!(refused["error"]["data"]["reason"], "not_subscribed");
    assert_eq!((gateway.subscribed("db"), watched(&fake)), (1, vec![vec!["x://one".to_owned()]]));
}

#[tokio::test]
async fn a_watch_that_is_lost_is_made_again_and_everything_may_have_changed() {
    let fake = everything();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    for uri in ["x://one", "x://two"] {
        assert_eq!(ask(&mut ann, "resources/subscribe", uri).await["result"], json!({}));
    }
    eventually("one stream", || watched(&fake).len() == 1).await;
    fake.cut_streams();
    within("another stream", async {
        while watched(&fake).is_empty() {
            skip(Duration::from_secs(1)).await;
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    for uri in ["x://one", "x://two"] {
        assert_eq!(ann.hear().await["params"]["uri"], uri);
    }
    assert_eq!(watched(&fake), [["x://one", "x://two"]]);
    drop(ann);
}

#[tokio::test]
async fn subscriptions_go_with_their_clients_into_another_era() {
    let fake = script().everything("db").keeps_sessions().has_stream().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(ask(&mut ann, "resources/subscribe", "x://one").await["result"], json!({}));
    fake.upgrade(Eras::Handshake);
    within("the other era", async {
        while fake.seen_of("resources/subscribe").is_empty() {
            skip(Duration::from_secs(31)).await;
            // Connections need time of their own between two leaps.
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    eventually("the gateway to listen", || fake.open_streams() == 2).await;
    fake.tell(&updated("x://one", 1));
    assert_eq!(ann.hear().await["params"]["uri"], "x://one");
    fake.upgrade(Eras::Stateless);
    within("the era before", async {
        while watched(&fake).is_empty() {
            skip(Duration::from_secs(31)).await;
            // Connections need time of their own between two leaps.
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!((watched(&fake), gateway.subscribed("db")), (vec![vec!["x://one".to_owned()]], 1));
}
