//! What clients of the stateless era listen to: acknowledged first, tagged, only what was asked for, and ended with the
//! stream.

use crate::kit::{
    clock::{eventually, within},
    events::Events,
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::Modern,
    upstream::{Dialect, Fake, Script, tool},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;
use trunkline::upstream::settings::SessionMode;

const TAG: &str = "io.modelcontextprotocol/subscriptionId";
const ALL: &str = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

fn script(name: &'static str) -> Script {
    let mut script = Script::new(Dialect::Events).keeps_sessions().has_stream().everything(name);
    script.capabilities = r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"subscribe":true,"listChanged":true}}"#;
    script
}

async fn message(events: &mut Events) -> Value {
    serde_json::from_str(&events.message().await).expect("JSON")
}

/// The acknowledgement, which comes first.
async fn acknowledged(events: &mut Events) -> Value {
    let first = message(events).await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged", "{first}");
    first["params"].clone()
}

fn all() -> Value {
    serde_json::from_str(ALL).expect("JSON")
}

#[rstest]
#[case(json!(7))]
#[case(json!("7"))]
#[case(json!("a \"b\" \u{e9}"))]
#[case(json!(-1))]
#[tokio::test]
async fn every_message_says_which_stream_it_is_for(#[case] id: Value) {
    let fake = script("db").start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    eventually("the gateway to listen", || fake.open_streams() == 1).await;
    let client = Modern::new(&gateway, "/mcp");
    let mut events = client.listen(&id, &all()).await;
    let first = acknowledged(&mut events).await;
    assert_eq!((&first["_meta"][TAG], &first["notifications"]), (&id, &all()));
    fake.set_tools(vec![tool("echo"), tool("more")]);
    fake.tell_change();
    let changed = message(&mut events).await;
    assert_eq!(
        (&changed["method"], &changed["params"]["_meta"][TAG]),
        (&json!("notifications/tools/list_changed"), &id)
    );
    assert!(changed.get("id").is_none());
    assert!(client.ask("tools/list", &json!({})).await.to_string().contains("db-more"));
    let (address, stop) = (gateway.address, gateway.stop.clone());
    stop.cancel();
    let last = message(&mut events).await;
    assert_eq!((&last["id"], &last["result"]["_meta"][TAG]), (&id, &id), "{last} {address}");
    assert_eq!(last["result"]["resultType"], "complete");
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn only_what_was_asked_for_and_from_all_upstreams() {
    let (db, web) = (script("db").start(), script("web").stateless().start());
    let gateway = Setup::new().alias("db", &db).alias("web", &web).ready().await;
    eventually("the gateway to listen", || db.open_streams() == 1 && web.listened().len() == 1).await;
    let client = Modern::new(&gateway, "/mcp");
    let mut tools =
        client.listen(&json!(1), &json!({"toolsListChanged": true, "promptsListChanged": false})).await;
    let mut prompts = client.listen(&json!(1), &json!({"promptsListChanged": true, "x/unknown": true})).await;
    let mut nothing = client.listen(&json!("n"), &json!({})).await;
    assert_eq!(acknowledged(&mut tools).await["notifications"], json!({"toolsListChanged": true}));
    assert_eq!(acknowledged(&mut prompts).await["notifications"], json!({"promptsListChanged": true}));
    assert_eq!(acknowledged(&mut nothing).await["notifications"], json!({}));
    db.set_tools(vec![tool("one")]);
    db.tell_change();
    assert_eq!(message(&mut tools).await["method"], "notifications/tools/list_changed");
    web.set_tools(vec![tool("two")]);
    web.tell_listeners("notifications/tools/list_changed", &json!({}));
    assert_eq!(message(&mut tools).await["method"], "notifications/tools/list_changed");
    db.tell(r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#);
    let heard = message(&mut prompts).await;
    assert_eq!(heard["method"], "notifications/prompts/list_changed", "nothing of the tools came here");
    // What neither of them hears is still told: the end.
    gateway.stop.cancel();
    for events in [&mut tools, &mut prompts, &mut nothing] {
        let last = message(events).await;
        assert!(last["result"].is_object(), "{last}");
    }
}

#[tokio::test]
async fn what_no_upstream_has_is_not_acknowledged() {
    let fake = Script::new(Dialect::Events).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut wanted = all();
    wanted["resourceSubscriptions"] = json!(["x://one"]);
    let mut events = Modern::new(&gateway, "/mcp").listen(&json!(1), &wanted).await;
    assert_eq!(acknowledged(&mut events).await["notifications"], json!({"toolsListChanged": true}));
}

#[rstest]
#[case(json!({}))]
#[case(json!({"notifications": null}))]
#[case(json!({"notifications": []}))]
#[case(json!({"notifications": {"toolsListChanged": "yes"}}))]
#[case(json!({"notifications": {"resourceSubscriptions": "x://one"}}))]
#[case(json!({"notifications": {"resourceSubscriptions": [1]}}))]
#[tokio::test]
async fn a_filter_that_is_none_is_refused(#[case] params: Value) {
    let fake = script("db").start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let answer = Modern::new(&gateway, "/mcp").ask("subscriptions/listen", &params).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    gateway.until_quiet().await;
}

fn updated(uri: &str) -> String {
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}}).to_string()
}

#[rstest]
#[tokio::test]
async fn resources_are_listened_to_together_and_let_go_of_with_the_last(
    #[values(SessionMode::Auto, SessionMode::Shared)] mode: SessionMode,
    #[values("db", "web")] newer: &str,
) {
    let scripts = ["db", "web"]
        .map(script)
        .map(|script| if script.name == newer { script.stateless() } else { script });
    let [db, web] = scripts.map(Script::start);
    let old = if newer == "db" { &web } else { &db };
    let new = if newer == "db" { &db } else { &web };
    let gateway = Setup::new()
        .alias_with("db", &db, |settings| settings.session = mode)
        .alias_with("web", &web, |settings| settings.session = mode)
        .ready()
        .await;
    let name = if newer == "db" { "web" } else { "db" };
    let uri = |alias: &str| format!("x://{alias}/one");
    let client = Modern::new(&gateway, "/mcp");
    let wanted = json!({"resourceSubscriptions": [uri("db"), uri("web"), "x://nobody/one"]});
    let mut first = client.listen(&json!("first"), &wanted).await;
    let agreed = json!([uri("db"), uri("web")]);
    let told = acknowledged(&mut first).await["notifications"]["resourceSubscriptions"].clone();
    assert!(
        agreed.as_array().expect("a list").iter().all(|uri| told.as_array().expect("a list").contains(uri)),
        "{told}"
    );
    let mut second = client.listen(&json!(2), &json!({"resourceSubscriptions": [uri(name)]})).await;
    acknowledged(&mut second).await;
    eventually("the old one's stream", || old.open_streams() >= 1).await;
    old.tell(&updated("x://one"));
    for (events, tag) in [(&mut first, json!("first")), (&mut second, json!(2))] {
        let heard = message(events).await;
        assert_eq!((&heard["params"]["uri"], &heard["params"]["_meta"][TAG]), (&json!(uri(name)), &tag));
    }
    new.tell_listeners("notifications/resources/updated", &json!({"uri": "x://one"}));
    assert_eq!(message(&mut first).await["params"]["uri"], uri(newer));
    drop(first);
    eventually("the newer one to be let go of", || gateway.subscribed(newer) == 0).await;
    eventually("its stream to end", || {
        new.listened().iter().all(|filter| filter.get("resourceSubscriptions").is_none())
    })
    .await;
    assert!(gateway.subscribed(name) >= 1);
    assert!(
        old.seen_of("resources/unsubscribe").iter().all(|seen| seen.json()["params"]["uri"] != "x://one")
    );
    old.tell(&updated("x://one"));
    assert_eq!(message(&mut second).await["params"]["uri"], uri(name));
    drop(second);
    eventually("the old one to be let go of", || gateway.subscribed(name) == 0).await;
    eventually("the upstream to be told", || {
        old.seen_of("resources/unsubscribe").iter().any(|seen| seen.json()["params"]["uri"] == "x://one")
    })
    .await;
    gateway.until_quiet().await;
}

#[tokio::test]
async fn who_leaves_before_the_upstream_agreed_leaves_nothing_behind() {
    let (fake, gate) = (script("db").start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("resources/subscribe", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let is_slow = exchange.seen.json()["params"]["uri"] == "x://two";
            if is_slow { exchange.result_after(gate, "{}".into()).await } else { exchange.result("{}").await }
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::new(&gateway, "/mcp");
    let wanted = json!({"notifications": {"resourceSubscriptions": ["x://one", "x://two"]}});
    let body = client.body(&json!(1), "subscriptions/listen", &wanted);
    let listening = tokio::spawn(client.to_post(&body).send());
    fake.wait_for("resources/subscribe", 2).await;
    eventually("one to be agreed to", || gateway.subscribed("db") == 2).await;
    listening.abort();
    eventually("nothing to be kept", || gateway.subscribed("db") == 0).await;
    let told = fake.wait_for("resources/unsubscribe", 1).await.json();
    assert!(told["params"]["uri"].is_string());
    gate.add_permits(10);
    assert_eq!(gateway.clients().len(), 1);
}

#[tokio::test]
async fn other_names_are_kept_for_as_long_as_they_are_of_use() {
    let [db, web] = ["db", "web"].map(|name| script(name).start());
    let refuse = |exchange: Exchange| async move {
        let is_known = exchange.seen.json()["params"]["uri"] == "x://one";
        if is_known {
            exchange.result("{}").await
        } else {
            exchange.talk().await.error(r#"{"code":-32002,"message":"no"}"#).await
        }
    };
    db.on("resources/subscribe", refuse);
    let gateway = Setup::new().alias("db", &db).alias("web", &web).ready().await;
    let client = Modern::new(&gateway, "/mcp");
    let mut kept = client.listen(&json!("kept"), &json!({"resourceSubscriptions": ["x://db/one"]})).await;
    acknowledged(&mut kept).await;
    let names = || gateway.clients().iter().map(|session| session.inbox.names()).sum::<usize>();
    assert_eq!(names(), 1);
    for round in 0..5 {
        let mut uris: Vec<_> = (0..20).map(|number| format!("x://db/{round}/{number}")).collect();
        uris.extend(["x://web/one".into(), "x://db/one".into()]);
        let mut events = client.listen(&json!(round), &json!({"resourceSubscriptions": uris})).await;
        let agreed = acknowledged(&mut events).await["notifications"]["resourceSubscriptions"].clone();
        assert_eq!(agreed, json!(["x://web/one", "x://db/one"]));
        assert_eq!(names(), 2);
        drop(events);
        eventually("the name to be forgotten", || names() == 1).await;
    }
    db.tell(&updated("x://one"));
    assert_eq!(message(&mut kept).await["params"]["uri"], "x://db/one");
    drop(kept);
    eventually("all names to be forgotten", || names() == 0).await;
}

/// Waits until so many streams are listened to.
async fn until_listens(gateway: &Running, count: usize) {
    eventually(&format!("{count} streams"), || {
        gateway.clients().iter().map(|session| session.inbox.listens.len()).sum::<usize>() == count
    })
    .await;
}

#[tokio::test]
async fn a_client_has_only_so_many_streams() {
    const MOST: usize = 1000;
    let fake: Fake = script("db").start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::new(&gateway, "/mcp");
    let mut open = Vec::new();
    for number in 0..MOST {
        open.push(client.listen(&json!(number), &json!({"toolsListChanged": true})).await);
    }
    until_listens(&gateway, MOST).await;
    let refused = client.ask("subscriptions/listen", &json!({"notifications": {}})).await;
    assert_eq!(refused["error"]["data"]["reason"], "too_many_streams", "{refused}");
    // Others have room.
    let mut other = Modern::new(&gateway, "/mcp").name("other").listen(&json!(1), &json!({})).await;
    acknowledged(&mut other).await;
    drop(other);
    open.truncate(MOST - 1);
    until_listens(&gateway, MOST - 1).await;
    let mut again = within("room", client.listen(&json!("again"), &json!({}))).await;
    acknowledged(&mut again).await;
    drop((again, open));
    until_listens(&gateway, 0).await;
}
