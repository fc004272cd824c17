//! A client on standard input and output: everything that it can do over HTTP, and how it ends.

use crate::kit::{
    clock::{eventually, skip, within},
    exchange::Exchange,
    gateway::{Running, Setup},
    pipe::{Client, call},
    session::hello,
    upstream::{Dialect, Fake, Script, tool},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

async fn ready(fake: &Fake) -> Running {
    Setup::new().alias("db", fake).ready().await
}

/// A fake that answers calls when the gate is opened.
fn gated(script: Script) -> (Fake, Arc<Semaphore>) {
    let (fake, gate) = (script.start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move { exchange.result_after(gate, r#"{"content":[]}"#.into()).await }
    });
    (fake, gate)
}

fn names(page: &Value) -> Vec<&str> {
    let tools = page["result"]["tools"].as_array().unwrap_or_else(|| panic!("no page: {page}"));
    tools.iter().map(|tool| tool["name"].as_str().expect("a name")).collect()
}

const LIST: &str = r#"{"jsonrpc":"2.0","id":"l","method":"tools/list"}"#;

#[tokio::test]
async fn a_client_lists_and_calls_and_ends() {
    let fake = Script::new(Dialect::Events).keeps_sessions().start();
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    assert_eq!(names(&client.pipe.ask(LIST).await), ["db-echo"]);
    assert_eq!(client.pipe.call("db-echo").await["result"]["content"][0]["text"], "done");
    let again = client.pipe.ask(&hello("2025-03-26")).await;
    assert_eq!(again["result"]["protocolVersion"], "2025-11-25", "the first introduction holds");
    assert_eq!((fake.sessions().len(), gateway.health().await["sessions"].as_u64()), (2, Some(1)));
    client.pipe.close_input();
    client.ended().await;
    assert_eq!(client.pipe.line().await, None);
    eventually("its session with the upstream to end", || fake.sessions().len() == 1).await;
    gateway.until_sessions(0).await;
    gateway.close().await;
    assert_eq!(fake.sessions(), [""; 0], "the gateway waits until its own session is ended as well");
}

#[tokio::test]
async fn one_alias_alone_is_shown_under_its_own_names_and_as_it_is() {
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let gateway = ready(&fake).await;
    let mut client = Client::connect(&gateway, Some("db"));
    let welcome = client.pipe.introduce("2025-11-25").await;
    assert_eq!(welcome["result"]["serverInfo"]["name"], "fake");
    assert_eq!(welcome["result"]["instructions"], "be kind");
    assert_eq!(names(&client.pipe.ask(LIST).await), ["echo"]);
    fake.on("acme/count", |exchange: Exchange| async move { exchange.result(r#"{"count":1}"#).await });
    let counted = client.pipe.ask(r#"{"jsonrpc":"2.0","id":1,"method":"acme/count"}"#).await;
    assert_eq!(counted["result"]["count"], 1, "what nobody knows is for the only one that it can be for");
    client.pipe.write(r#"{"jsonrpc":"2.0","method":"notifications/acme/hello"}"#).await;
    fake.wait_for("notifications/acme/hello", 1).await;
}

#[tokio::test]
async fn nothing_but_a_ping_comes_before_the_introduction() {
    let fake = Fake::of(Dialect::Json);
    let gateway = ready(&fake).await;
    let mut client = Client::connect(&gateway, None);
    client.pipe.works().await;
    let refused = client.pipe.ask(LIST).await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!("l"), &json!(-32600)), "{refused}");
    let discover = client.pipe.ask(r#"{"jsonrpc":"2.0","id":2,"method":"server/discover"}"#).await;
    // The stateless era needs no introduction, but says of itself what it needs.
    assert_eq!(discover["error"]["code"], -32602);
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let discover =
        format!(r#"{{"jsonrpc":"2.0","id":2,"method":"server/discover","params":{{"_meta":{meta}}}}}"#);
    let discovered = client.pipe.ask(&discover).await;
    assert_eq!(discovered["result"]["supportedVersions"][0], "2026-07-28", "{discovered}");
    let wrong = client.pipe.ask(r#"{"jsonrpc":"2.0","id":3,"method":"initialize","params":{}}"#).await;
    assert_eq!(wrong["error"]["code"], -32602);
    // Scripts write everything at once.
    client.pipe.write(&format!("{}\n{LIST}", hello("2025-06-18"))).await;
    assert_eq!(client.pipe.message().await["result"]["protocolVersion"], "2025-06-18");
    assert_eq!(names(&client.pipe.message().await), ["db-echo"]);
}

#[tokio::test]
async fn calls_run_at_the_same_time_and_tell_how_far_they_are() {
    let fake = Fake::of(Dialect::Events);
    let gate = Arc::new(Semaphore::new(0));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let params = exchange.seen.json()["params"].clone();
            let token = params["_meta"]["progressToken"].clone();
            let id = exchange.seen.id();
            let mut stream = exchange.stream().await;
            if !token.is_null() {
                let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
                // As pretty as an upstream may print it.
                stream.send(&format!("{progress:#}")).await;
                let _open = gate.acquire().await;
            }
            stream.send(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\r\n\"result\":{{\n\"content\":[]}}}}")).await;
            stream.end().await
        }
    });
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    let slow = r#"{"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":"t"}}}"#;
    let progress = client.pipe.ask(slow).await;
    assert_eq!(
        (&progress["params"]["progressToken"], &progress["params"]["progress"]),
        (&json!("t"), &json!(1))
    );
    assert_eq!(client.pipe.call("db-echo").await["id"], 1, "the other call is not waited for");
    gate.add_permits(1);
    assert_eq!(client.pipe.message().await["id"], "slow");
}

#[tokio::test]
async fn an_upstream_asks_the_client_and_its_messages_arrive() {
    let fake = Script::new(Dialect::Legacy).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let session = exchange.session().unwrap_or_default();
        let (shared, id) = (exchange.shared.clone(), exchange.seen.id());
        let ask = r#"{"jsonrpc":"2.0","id":"q","method":"roots/list"}"#;
        shared.send_to(&session, crate::kit::exchange::event(ask));
        let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
        shared.send_to(&session, crate::kit::exchange::event(log));
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
        shared.send_to(&session, crate::kit::exchange::event(&answer));
        exchange.respond(202, &[], b"").await
    });
    let gateway = ready(&fake).await;
    let mut client = Client::connect(&gateway, Some("db"));
    client
        .pipe
        .ask(&hello("2025-11-25").replace(r#""capabilities":{}"#, r#""capabilities":{"roots":{}}"#))
        .await;
    client.pipe.write(&call(1, "echo")).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let message = client.pipe.message().await;
        if message["method"] == "roots/list" {
            let id = &message["id"];
            client.pipe.write(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#)).await;
        }
        seen.push(message["method"].as_str().unwrap_or("answer").to_owned());
    }
    seen.sort();
    assert_eq!(seen, ["answer", "notifications/message", "roots/list"]);
    let answer = fake.wait_for("answer", 1).await;
    assert_eq!(answer.json()["id"], "q");
}

#[tokio::test]
async fn a_call_can_be_taken_back() {
    let (fake, gate) = gated(Script::new(Dialect::Json));
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    client.pipe.write(&call(1, "db-echo")).await;
    fake.wait_for("tools/call", 1).await;
    client
        .pipe
        .write(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#)
        .await;
    fake.wait_for("notifications/cancelled", 1).await;
    gate.add_permits(9);
    client.pipe.works().await;
}

#[tokio::test]
async fn changes_and_updates_reach_the_client() {
    let mut script = Script::new(Dialect::Json).keeps_sessions().has_stream();
    script.capabilities = r#"{"tools":{"listChanged":true},"resources":{"subscribe":true}}"#;
    let fake = script.start();
    fake.on("resources/subscribe", |exchange: Exchange| async move { exchange.result("{}").await });
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, Some("db")).await;
    let subscribe = r#"{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"x://one"}}"#;
    assert!(client.pipe.ask(subscribe).await["result"].is_object());
    eventually("both sessions to be listened to", || fake.open_streams() == 2).await;
    fake.tell(r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x://one"}}"#);
    assert_eq!(client.pipe.message().await["params"]["uri"], "x://one");
    fake.set_tools(vec![tool("a"), tool("b")]);
    fake.tell_change();
    assert_eq!(client.pipe.message().await["method"], "notifications/tools/list_changed");
    // Everybody's lists changed, and those of the client's own session, which may be told once more.
    let mut page = client.pipe.ask(LIST).await;
    while page["method"] == "notifications/tools/list_changed" {
        page = client.pipe.message().await;
    }
    assert_eq!(names(&page), ["a", "b"]);
}

#[tokio::test]
async fn what_is_no_message_is_answered_within_bounds_and_nothing_is_lost() {
    let fake = Fake::of(Dialect::Json);
    let setup = Setup::new().alias("db", &fake).front(|front| front.body_limit = 1000);
    let gateway = setup.ready().await;
    let mut client = Client::open(&gateway, None).await;
    let garbage = client.pipe.ask("Hello, I am a greeting").await;
    assert_eq!((&garbage["id"], &garbage["error"]["code"]), (&Value::Null, &json!(-32700)));
    let long = client.pipe.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"x":"{}"}}"#, "x".repeat(5000))).await;
    assert_eq!((&long["id"], &long["error"]["data"]["reason"]), (&Value::Null, &json!("body_too_large")));
    let shapeless = client.pipe.ask(r#"{"jsonrpc":"2.0","id":7}"#).await;
    assert_eq!((&shapeless["id"], &shapeless["error"]["code"]), (&json!(7), &json!(-32600)));
    client.pipe.works().await;
    for _ in 0..200 {
        client.pipe.write("garbage").await;
    }
    let mut complaints = 0;
    client.pipe.write(r#"{"jsonrpc":"2.0","id":"last","method":"ping"}"#).await;
    while client.pipe.message().await["id"] != "last" {
        complaints += 1;
    }
    assert!(complaints < 100, "{complaints} errors for 200 lines");
}

#[tokio::test]
async fn a_batch_is_answered_with_one_array_where_the_version_has_them() {
    let fake = Fake::of(Dialect::Json);
    let gateway = ready(&fake).await;
    let batch = format!(
        "[{LIST},{},{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}},{}]",
        call(1, "db-echo"),
        hello("2025-03-26")
    );
    let mut client = Client::connect(&gateway, None);
    assert_eq!(client.pipe.ask(&batch).await["error"]["code"], -32600);
    client.pipe.introduce("2025-03-26").await;
    let answers = client.pipe.ask(&batch).await;
    let mut ids: Vec<_> =
        answers.as_array().expect("an array").iter().map(|answer| answer["id"].to_string()).collect();
    ids.sort();
    assert_eq!(ids, ["\"l\"", "0", "1"]);
    let mut client = Client::open(&gateway, None).await;
    assert_eq!(client.pipe.ask(&batch).await["error"]["data"]["reason"], "batch");
}

#[tokio::test]
async fn calls_under_way_may_end_after_the_input_did() {
    let (fake, gate) = gated(Script::new(Dialect::Json).keeps_sessions());
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    client.pipe.write(&call(1, "db-echo")).await;
    client.pipe.close_input();
    fake.wait_for("tools/call", 1).await;
    gate.add_permits(1);
    assert_eq!(client.pipe.message().await["id"], 1);
    client.ended().await;
}

#[tokio::test]
async fn a_call_that_takes_too_long_after_the_end_is_taken_back() {
    let (fake, _gate) = gated(Script::new(Dialect::Json).keeps_sessions());
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    client.pipe.write(&call(1, "db-echo")).await;
    fake.wait_for("tools/call", 1).await;
    client.stop.cancel();
    fake.wait_for("notifications/cancelled", 1).await;
    client.ended().await;
    assert_eq!(client.pipe.line().await, None);
    fake.wait_for("DELETE", 1).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_any_more_is_gone() {
    let (fake, _gate) = gated(Script::new(Dialect::Json).keeps_sessions());
    let gateway = ready(&fake).await;
    let mut client = Client::open(&gateway, None).await;
    client.pipe.write(&call(1, "db-echo")).await;
    fake.wait_for("tools/call", 1).await;
    client.pipe.close_output();
    client.pipe.write(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).await;
    client.ended().await;
    fake.wait_for("DELETE", 1).await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_not_read_from_either() {
    let fake = Fake::of(Dialect::Json);
    let large = format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(100_000));
    fake.on("tools/call", move |exchange: Exchange| {
        let large = large.clone();
        async move { exchange.result(&large).await }
    });
    let setup = Setup::new().alias("db", &fake).session(|session| session.queue = 2);
    let gateway = setup.ready().await;
    let mut client = Client::open(&gateway, None).await;
    for id in 0..9 {
        client.pipe.write(&call(id, "db-echo")).await;
    }
    let mut refused = 0;
    for _ in 0..9 {
        refused += usize::from(client.pipe.message().await["error"]["data"]["reason"] == "unread");
    }
    assert!((1..=7).contains(&refused), "two are made, and more if they end in time: {refused}");
    client.pipe.works().await;
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_said_and_found_later() {
    let address = crate::kit::upstream::nobodys_address();
    let setup = Setup::new().alias_at("remote", &format!("http://{address}/mcp?key=hush"), |settings| {
        settings.timeouts.connect = Duration::from_millis(300);
    });
    let gateway = setup.start();
    let mut client = Client::connect(&gateway, Some("remote"));
    let refused = client.pipe.ask(&hello("2025-11-25")).await;
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.starts_with(&format!("http://{address}/mcp: it cannot be reached: ")), "{message}");
    assert!(!refused.to_string().contains("hush"), "{refused}");
    client.pipe.works().await;
    let _fake = Fake::start_at(address, Script::new(Dialect::Json));
    let welcome = within("the gateway to come", async {
        loop {
            let welcome = client.pipe.ask(&hello("2025-11-25")).await;
            if welcome["result"].is_object() {
                break welcome;
            }
        }
    })
    .await;
    assert_eq!(welcome["result"]["serverInfo"]["name"], "fake");
    assert_eq!(names(&client.pipe.ask(LIST).await), ["echo"]);
}

#[tokio::test]
async fn refused_credentials_are_said_at_once_and_tried_again_for_the_next_introduction() {
    let fake = Fake::of(Dialect::Json);
    fake.on("initialize", |exchange: Exchange| async move { exchange.respond(401, &[], b"").await });
    let gateway = Setup::new().alias("remote", &fake).start();
    let mut client = Client::connect(&gateway, Some("remote"));
    let refused = client.pipe.ask(&hello("2025-11-25")).await;
    assert_eq!(refused["error"]["data"]["reason"], "upstream_unauthorized", "{refused}");
    fake.behave();
    skip(Duration::from_millis(300)).await;
    assert!(client.pipe.ask(&hello("2025-11-25")).await["result"].is_object());
}
