//! Lists: merged, complete, never waiting for an upstream, and told anew when it changes.

use crate::kit::{
    clock::skip,
    exchange::{Exchange, Kept},
    gateway::Setup,
    legacy::Legacy,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script, tool},
};
use rstest::rstest;
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};

const CHANGED: &str = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;

#[tokio::test]
async fn a_long_list_names_every_tool_once() {
    let mut script = Script::new(Dialect::Json);
    script.tools = (0..2500).map(|number| tool(&format!("t{number}"))).collect();
    let fake = script.start();
    let gateway = Setup::new().alias("a", &fake).alias("b", &fake).ready().await;
    for (path, count) in [("/mcp", 5000), ("/mcp/a", 2500), ("/mcp/a,b", 5000)] {
        let session = Session::open(&gateway, path).await;
        let names = session.tools().await;
        assert_eq!(names.len(), count, "{path}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), count, "{path}");
        let again = session.tools().await;
        assert_eq!(names, again, "the order is always the same");
    }
}

#[rstest]
#[case(r#"{"cursor":"bm8tc3VjaA"}"#)]
#[case(r#"{"cursor":"*"}"#)]
#[case(r#"{"cursor":""}"#)]
#[case(r#"{"cursor":7}"#)]
#[case(r#"{"cursor":[]}"#)]
#[tokio::test]
async fn a_cursor_that_is_not_ours_is_refused(#[case] params: &str) {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let reply = session.ask("tools/list", params).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (200, &(-32602).into()), "{}", reply.text());
    session.works().await;
}

#[tokio::test]
async fn pages_of_an_upstream_are_put_together() {
    let fake = Fake::of(Dialect::Json);
    fake.on("tools/list", |exchange: Exchange| async move {
        let page = match exchange.seen.json()["params"]["cursor"].as_str() {
            None => format!(r#"{{"tools":[{}],"nextCursor":"ä\n2"}}"#, tool("one")),
            Some("ä\n2") => r#"{"tools":[],"nextCursor":"3"}"#.to_owned(),
            Some(_) => format!(r#"{{"tools":[{}]}}"#, tool("two")),
        };
        exchange.result(&page).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    assert_eq!(Session::open(&gateway, "/mcp").await.tools().await, ["db-one", "db-two"]);
}

#[tokio::test]
async fn a_list_waits_for_no_upstream() {
    let fast = Fake::of(Dialect::Json);
    let silent = Fake::of(Dialect::Json);
    silent.on("initialize", |exchange: Exchange| async move { exchange.never().await });
    let gateway = Setup::new().alias("db", &fast).alias("silent", &silent).start();
    gateway.until_listed("db").await;
    let session = Session::open(&gateway, "/mcp").await;
    assert_eq!(session.tools().await, ["db-echo"]);
    assert_eq!(Session::open(&gateway, "/mcp/silent").await.tools().await, Vec::<String>::new());
    assert_eq!(fast.seen_of("tools/list").len(), 1, "the gateway's own");
}

#[rstest]
#[case(Script::new(Dialect::Json).has_stream().keeps_sessions())]
#[case(Script::new(Dialect::Events).has_stream())]
#[case(Script::new(Dialect::Legacy))]
#[tokio::test]
async fn clients_are_told_when_tools_change(#[case] script: Script) {
    let (fake, other) = (script.start(), Fake::of(Dialect::Json));
    let gateway = Setup::new().alias("db", &fake).alias("other", &other).ready().await;
    crate::kit::clock::eventually("the gateway to listen", || fake.open_streams() > 0).await;
    let (session, elsewhere) =
        (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp/other").await);
    let mut legacy = Legacy::open(&gateway, "/sse").await;
    let (mut events, mut quiet) = (session.listen().await, elsewhere.listen().await);
    events.primed().await;
    quiet.primed().await;

    fake.set_tools(vec![tool("echo"), tool("more")]);
    fake.tell_change();
    assert_eq!(events.message().await, CHANGED);
    assert_eq!(legacy.events.message().await, CHANGED);
    assert_eq!(session.tools().await, ["db-echo", "db-more", "other-echo"]);

    // Said, but not so: nobody is bothered. A changed definition is a change, though.
    fake.tell_change();
    fake.wait_for("tools/list", 3).await;
    fake.set_tools(vec![tool("echo"), tool("more").replace("object", "objekt")]);
    fake.tell_change();
    assert_eq!(events.message().await, CHANGED);

    // Who sees nothing of it was told nothing.
    let mut own = elsewhere.listen().await;
    assert_eq!(quiet.next().await, None);
    other.set_tools(vec![tool("new")]);
    skip(Duration::from_mins(11)).await;
    assert_eq!(own.message().await, CHANGED);
    assert_eq!(elsewhere.tools().await, ["new"]);
}

#[tokio::test]
async fn a_change_within_a_call_counts() {
    let fake = Fake::of(Dialect::Events);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut events = session.listen().await;
    events.primed().await;
    fake.set_tools(vec![tool("other")]);
    fake.on("tools/call", |exchange: Exchange| async move {
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, exchange.seen.id());
        exchange.messages(&[CHANGED.into(), answer]).await
    });
    assert_eq!(session.call("db-echo").await["result"], json!({}));
    assert_eq!(events.message().await, CHANGED);
    assert_eq!(session.tools().await, ["db-other"]);
}

#[tokio::test]
async fn a_change_that_nobody_heard_is_told_later_and_once() {
    let fake = Fake::of(Dialect::Legacy);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for count in 2..5 {
        fake.set_tools((0..count).map(|number| tool(&format!("t{number}"))).collect());
        fake.tell_change();
        gateway.until_tools(count).await;
    }
    let mut events = session.listen().await;
    events.primed().await;
    assert_eq!(events.message().await, CHANGED);
    fake.set_tools(Vec::new());
    fake.tell_change();
    assert_eq!(events.message().await, CHANGED);
    assert!(session.tools().await.is_empty());
}

#[tokio::test]
async fn odd_tools_do_not_hide_the_others() {
    let mut script = Script::new(Dialect::Json);
    script.tools = vec![
        r#"{"inputSchema":{}}"#.into(),
        r#"{"name":7}"#.into(),
        r#"{"name":"no_schema"}"#.into(),
        r#"{"name":"odd","inputSchema":[1.10],"description":{}}"#.into(),
        tool("twice"),
        tool("twice").replace("object", "other"),
        r#"{"name":"","inputSchema":{}}"#.into(),
        "42".into(),
        r#"{"name":"two_names","name":"x"}"#.into(),
        tool("good"),
    ];
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let own = Session::open(&gateway, "/mcp/db").await;
    assert_eq!(own.tools().await, ["no_schema", "odd", "twice", "", "good"]);
    let listed = own.ask("tools/list", "{}").await;
    assert!(listed.text().contains(r#"{"name":"odd","inputSchema":[1.10],"description":{}}"#));
    assert!(!listed.text().contains("other"), "the first of two definitions counts");
    let session = Session::open(&gateway, "/mcp").await;
    assert_eq!(session.tools().await.len(), 5);
    session.call("db-good").await["result"]["content"].as_array().expect("content");
}

#[tokio::test]
async fn cursors_without_an_end_are_left() {
    let fake = Fake::of(Dialect::Json);
    fake.on("tools/list", |exchange: Exchange| async move {
        let page = format!(r#"{{"tools":[{}],"nextCursor":"again"}}"#, tool("one"));
        exchange.result(&page).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    // The second page repeats the first; its tool is there once.
    assert_eq!(Session::open(&gateway, "/mcp").await.tools().await, ["db-one"]);
    assert_eq!(fake.seen_of("tools/list").len(), 2);
}

#[tokio::test]
async fn cursors_that_are_always_new_are_left_too() {
    let fake = Fake::of(Dialect::Json);
    fake.on("tools/list", |exchange: Exchange| async move {
        let page = format!(r#"{{"tools":[],"nextCursor":"{}"}}"#, exchange.seen.id());
        exchange.result(&page).await
    });
    let gateway = Setup::new().alias("db", &fake).start();
    let reason = gateway.until_down("db").await;
    assert!(reason.contains("pages"), "{reason}");
    Session::open(&gateway, "/mcp").await.works().await;
}

#[tokio::test]
async fn an_upstream_without_tools_is_not_asked_for_them() {
    let mut script = Script::new(Dialect::Json);
    script.capabilities = r#"{"prompts":{}}"#;
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp/db").await;
    assert_eq!(session.welcome["result"]["capabilities"], json!({"prompts": {"listChanged": true}}));
    assert!(session.tools().await.is_empty());
    assert!(fake.seen_of("tools/list").is_empty());
}

/// Answers with a JSON-RPC error of this code.
async fn fails(exchange: Exchange, code: i64) -> Kept {
    let id = exchange.seen.id();
    exchange
        .json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"not today"}}}}"#))
        .await
}

#[tokio::test]
async fn a_list_that_fails_hides_no_other_and_forgets_nothing() {
    let mut script = Script::new(Dialect::Json);
    script.capabilities = r#"{"tools":{},"prompts":{},"resources":{}}"#;
    let fake = script.start();
    fake.on("resources/templates/list", |exchange: Exchange| fails(exchange, -32601));
    fake.on("resources/list", |exchange: Exchange| fails(exchange, -32603));
    fake.on("prompts/list", |exchange: Exchange| async move {
        exchange.result(r#"{"prompts":[{"name":"ask"}]}"#).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let prompts = async || session.ask("prompts/list", "{}").await.json()["result"].clone();
    assert_eq!(prompts().await, json!({"prompts": [{"name": "db-ask"}]}));
    fake.on("prompts/list", |exchange: Exchange| async move { exchange.respond(500, &[], b"oops").await });
    fake.on("resources/list", |exchange: Exchange| async move {
        exchange.result(r#"{"resources":[{"uri":"a:1","name":"one"}]}"#).await
    });
    fake.set_tools(vec![tool("new"), tool("other")]);
    skip(Duration::from_mins(11)).await;
    gateway.until_tools(2).await;
    let resources = session.ask("resources/list", "{}").await.json()["result"].clone();
    assert_eq!(resources, json!({"resources": [{"uri": "a:1", "name": "one"}]}));
    assert_eq!(session.tools().await, ["db-new", "db-other"]);
    assert_eq!(prompts().await, json!({"prompts": [{"name": "db-ask"}]}));
    let templates = session.ask("resources/templates/list", "{}").await.json()["result"].clone();
    assert_eq!(templates, json!({"resourceTemplates": []}));
}

#[tokio::test]
async fn uris_that_two_upstreams_claim_name_their_alias_where_both_are_seen() {
    let fakes = ["1.10", "1e2"].map(|number| {
        let mut script = Script::new(Dialect::Json);
        script.capabilities = r#"{"tools":{},"resources":{}}"#;
        let fake = script.start();
        fake.on("resources/list", move |exchange: Exchange| async move {
            let page =
                format!(r#"{{"resources":[{{"x":{number}, "uri" : "s://same"}},{{"uri":"s://{number}"}}]}}"#);
            exchange.result(&page).await
        });
        fake
    });
    let gateway = Setup::new()
        .alias("a", &fakes[0])
        .alias("b", &fakes[1])
        .key("all", None, None)
        .key("one", Some(&["b"]), None)
        .ready()
        .await;
    let list = async |key: &str, path: &str| {
        let session = Opening::new(&gateway, path).key(key).open().await;
        session.ask("resources/list", "{}").await.text().to_owned()
    };
    let qualified = r#"{"resources":[{"x":1.10, "uri" : "s://a/same"},{"uri":"s://1.10"},{"x":1e2, "uri" : "s://b/same"},{"uri":"s://1e2"}]}"#;
    let native = r#"{"resources":[{"x":1e2, "uri" : "s://same"},{"uri":"s://1e2"}]}"#;
    for (key, path, expected) in
        [("all", "/mcp", qualified), ("all", "/mcp/b", native), ("one", "/mcp", native)]
    {
        let listed = list(key, path).await;
        assert!(listed.contains(expected), "{key} {path}: {listed}");
    }
}
