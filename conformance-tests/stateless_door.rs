//! The stateless era over HTTP: what is no request of it is refused with the status and the code that are meant for it.

use crate::kit::{
    client::send,
    clock::eventually,
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::{Modern, REVISION},
    upstream::{Dialect, Fake, Script},
};
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

const PREFIX: &str = "io.modelcontextprotocol";

fn script(dialect: Dialect) -> Script {
    Script::new(dialect).keeps_sessions().has_stream().everything("db")
}

async fn gateway() -> (Fake, Running) {
    let fake = script(Dialect::Events).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

#[rstest]
#[case::no_version("protocolVersion", None, 400, -32602)]
#[case::version_of_another_type("protocolVersion", Some(json!(20_260_728)), 400, -32602)]
#[case::version_null("protocolVersion", Some(json!(null)), 400, -32602)]
#[case::no_capabilities("clientCapabilities", None, 400, -32602)]
#[case::capabilities_no_object("clientCapabilities", Some(json!([])), 400, -32602)]
#[case::capabilities_null("clientCapabilities", Some(json!(null)), 400, -32602)]
#[case::info_no_object("clientInfo", Some(json!("kit")), 400, -32602)]
#[case::level_unknown("logLevel", Some(json!("loud")), 400, -32602)]
#[case::level_no_text("logLevel", Some(json!(3)), 400, -32602)]
#[case::info_missing("clientInfo", None, 200, 0)]
#[case::level_known("logLevel", Some(json!("debug")), 200, 0)]
#[tokio::test]
async fn metadata_is_checked(
    #[case] member: &str,
    #[case] value: Option<Value>,
    #[case] status: u16,
    #[case] code: i64,
    #[values("tools/list", "tools/call", "server/discover")] method: &str,
) {
    let (fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let calls = fake.seen_of("tools/call").len();
    let mut body = client.body(&json!("x"), method, &json!({"name": "db-echo"}));
    let meta = body["params"]["_meta"].as_object_mut().expect("an object");
    meta.shift_remove(&format!("{PREFIX}/{member}"));
    meta.extend(value.map(|value| (format!("{PREFIX}/{member}"), value)));
    let reply = send(client.to_post(&body)).await;
    assert_eq!(reply.status, status, "{}", reply.text());
    let answer = reply.answer_json();
    assert_eq!(answer["id"], "x");
    assert_eq!(answer["error"]["code"].as_i64().unwrap_or(0), code, "{answer}");
    if code != 0 {
        let message = answer["error"]["message"].as_str().expect("a text");
        assert!(message.contains(member), "{message}");
        assert_eq!(fake.seen_of("tools/call").len(), calls, "nothing is called");
    }
}

#[rstest]
#[case::no_meta(json!({}))]
#[case::meta_no_object(json!({"_meta": []}))]
#[case::meta_null(json!({"_meta": null}))]
#[case::another_meta(json!({"_meta": {"progressToken": 1}}))]
#[tokio::test]
async fn metadata_must_be_there(#[case] params: Value) {
    let (_fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": params});
    let reply = send(client.to_post(&body)).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32602)), "{}", reply.text());
    let body = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    let reply = send(client.to_post(&body)).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32602)), "{}", reply.text());
}

#[rstest]
#[case::method("mcp-method", Some("tools/list"))]
#[case::method_missing("mcp-method", None)]
#[case::method_of_other_case("mcp-method", Some("Tools/Call"))]
#[case::name("mcp-name", Some("db-other"))]
#[case::name_missing("mcp-name", None)]
#[case::name_of_other_case("mcp-name", Some("DB-echo"))]
#[case::name_no_base64("mcp-name", Some("=?base64?%%?="))]
#[case::version("mcp-protocol-version", Some("2026-07-29"))]
#[case::version_of_before("mcp-protocol-version", Some("2025-11-25"))]
#[case::version_missing("mcp-protocol-version", None)]
#[tokio::test]
async fn headers_that_do_not_say_what_the_body_says_are_refused(
    #[case] header: &str,
    #[case] value: Option<&str>,
) {
    let (fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let body = client.body(&json!(7), "tools/call", &json!({"name": "db-echo", "arguments": {}}));
    let mut request = client.bare();
    for (name, right) in
        [("mcp-method", "tools/call"), ("mcp-name", "db-echo"), ("mcp-protocol-version", REVISION)]
    {
        match value {
            _ if name != header => request = request.header(name, right),
            Some(value) => request = request.header(name, value),
            None => {}
        }
    }
    let reply = send(request.body(body.to_string())).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32020)), "{}", reply.text());
    assert_eq!(reply.json()["id"], 7);
    assert!(fake.seen_of("tools/call").is_empty());
}

#[tokio::test]
async fn headers_are_compared_as_they_are_meant() {
    let (fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let body = client.body(&json!(7), "tools/call", &json!({"name": "db-echo", "arguments": {}}));
    // base64 of `db-echo`, and blanks around.
    for name in ["=?base64?ZGItZWNobw==?=", "  db-echo\t"] {
        let request = client.bare().header("MCP-METHOD", "tools/call").header("mcp-name", name);
        let reply = send(request.header("mcp-protocol-version", REVISION).body(body.to_string())).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text());
    }
    assert_eq!(fake.seen_of("tools/call").len(), 2);
}

#[rstest]
#[case("2027-01-01")]
#[case("1.0")]
#[case("")]
#[tokio::test]
async fn another_revision_is_told_which_there_are(#[case] version: &str) {
    let (_fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let mut body = client.body(&json!(7), "tools/list", &json!({}));
    body["params"]["_meta"][format!("{PREFIX}/protocolVersion")] = json!(version);
    let request = client.bare().header("mcp-protocol-version", version).header("mcp-method", "tools/list");
    let reply = send(request.body(body.to_string())).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let error = &reply.json()["error"];
    assert_eq!(error["code"], -32022, "{error}");
    assert_eq!(error["data"]["requested"], version);
    let supported = error["data"]["supported"].as_array().expect("a list");
    assert!(supported.contains(&json!(REVISION)), "{error}");
}

#[rstest]
#[tokio::test]
async fn what_the_era_does_not_have_is_not_found(
    #[values(
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
        "x/unknown"
    )]
    method: &str,
    #[values("/mcp", "/mcp/db")] path: &str,
) {
    let (fake, gateway) = gateway().await;
    let before = fake.seen_of(method).len();
    let reply = Modern::new(&gateway, path).send(&json!("x"), method, &json!({"uri": "x://one"})).await;
    if (method, path) == ("x/unknown", "/mcp/db") {
        // Only the upstream knows whether it is unknown.
        return;
    }
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (404, &json!(-32601)), "{}", reply.text());
    assert_eq!(reply.json()["id"], "x");
    assert_eq!(fake.seen_of(method).len(), before, "nothing of it reaches the upstream");
}

#[tokio::test]
async fn everything_is_a_post() {
    let (_fake, gateway) = gateway().await;
    for path in ["/mcp", "/mcp/db"] {
        for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
            let request = gateway.http.request(method, gateway.url(path));
            let request = request.header("mcp-protocol-version", REVISION).header("mcp-session-id", "x");
            let reply = send(request.header("accept", "text/event-stream")).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{}", reply.text());
        }
    }
}

#[tokio::test]
async fn what_is_no_request_is_accepted_or_refused() {
    let (fake, gateway) = gateway().await;
    let client = Modern::new(&gateway, "/mcp");
    let lists = fake.seen_of("tools/list").len();
    let post = |body: &str| client.bare().header("mcp-protocol-version", REVISION).body(body.to_owned());
    let notice = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#;
    for body in [notice, r#"{"jsonrpc":"2.0","method":"notifications/x"}"#] {
        let reply = send(post(body).header("mcp-method", "notifications/x")).await;
        assert_eq!((reply.status, reply.text()), (202, ""));
        let reply = send(post(body)).await;
        assert_eq!((reply.status, reply.text()), (202, ""));
    }
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
    ] {
        let reply = send(post(body)).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)), "{}", reply.text());
    }
    let request = client.body(&json!(1), "tools/list", &json!({}));
    for batch in [json!([request]), json!([request, request]), json!([])] {
        let reply = send(post(&batch.to_string()).header("mcp-method", "tools/list")).await;
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)), "{}", reply.text());
        let message = reply.json()["error"]["message"].as_str().expect("a text").to_owned();
        assert!(!message.contains("is not spoken here"), "{message}");
    }
    assert_eq!((fake.seen_of("tools/list").len(), fake.seen_of("answer").len()), (lists, 0));
}

#[tokio::test]
async fn the_same_ids_at_once_from_clients_of_one_key() {
    let (fake, gate) = (script(Dialect::Events).start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move { exchange.echo_after(gate).await }
    });
    let gateway = Setup::new().alias("db", &fake).master("master").ready().await;
    let ann = Modern::new(&gateway, "/mcp").key("master").name("ann");
    let bob = Modern::new(&gateway, "/mcp").key("master").name("bob");
    let clients = [(&ann, "a"), (&ann, "b"), (&bob, "c"), (&bob, "d")];
    let calls = clients.map(|(client, text)| async move {
        let params = json!({"name": "db-echo", "arguments": {"text": text}});
        let answer = client.send(&json!(1), "tools/call", &params).await.answer_json();
        assert_eq!((&answer["id"], &answer["result"]["text"]), (&json!(1), &json!(text)), "{answer}");
    });
    let open = async {
        fake.wait_for("tools/call", 4).await;
        gate.add_permits(4);
    };
    tokio::join!(join_all(calls), open);
    gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn who_closes_the_stream_takes_the_call_back(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Duration::ZERO, Duration::from_mins(1))] stream_after: Duration,
) {
    let fake = script(dialect).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        exchange.result_after(Arc::new(Semaphore::new(0)), "{}".into()).await
    });
    let gateway =
        Setup::new().alias("db", &fake).front(|front| front.stream_after = stream_after).ready().await;
    let client = Modern::new(&gateway, "/mcp");
    let body = client.body(&json!("mine"), "tools/call", &json!({"name": "db-echo"}));
    let going = tokio::spawn(client.to_post(&body).send());
    let call = fake.wait_for("tools/call", 1).await;
    if stream_after == Duration::ZERO {
        drop(going.await.expect("no panic").expect("a response"));
    } else {
        going.abort();
    }
    let cancelled = fake.wait_for("notifications/cancelled", 1).await.json();
    assert_eq!(cancelled["params"]["requestId"].to_string(), call.id());
    gateway.until_quiet().await;
    assert_eq!(gateway.calls(), 0);
}

/// An upstream that logs on every level in each call, and then waits until all calls are there.
async fn logging(count: usize) -> (Fake, Running) {
    let fake = script(Dialect::Events).start();
    let there = Arc::new(tokio::sync::Barrier::new(count));
    fake.on("tools/call", move |exchange: Exchange| {
        let there = there.clone();
        async move {
            let mut talk = exchange.talk().await;
            there.wait().await;
            for level in ["debug", "info", "warning", "emergency"] {
                let params = json!({"level": level, "data": 1});
                talk.say(
                    &json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
                        .to_string(),
                )
                .await;
            }
            talk.result(r#"{"content":[]}"#).await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

#[tokio::test]
async fn each_request_has_its_own_level() {
    let (fake, gateway) = logging(4).await;
    let client = Modern::new(&gateway, "/mcp");
    let all = [
        (None, vec![]),
        (Some("debug"), vec!["debug", "info", "warning", "emergency"]),
        (Some("warning"), vec!["warning", "emergency"]),
        (Some("alert"), vec!["emergency"]),
    ];
    let calls = all.into_iter().map(|(level, expected)| {
        let client = &client;
        async move {
            let mut params = json!({"name": "db-echo", "_meta": {}});
            if let Some(level) = level {
                params["_meta"][format!("{PREFIX}/logLevel")] = json!(level);
            }
            let reply = client.send(&json!(1), "tools/call", &params).await;
            let mut messages: Vec<Value> =
                reply.messages().iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
            assert!(messages.pop().expect("an answer")["result"].is_object());
            let levels: Vec<_> = messages
                .iter()
                .map(|message| message["params"]["level"].as_str().expect("a level"))
                .collect();
            assert_eq!(levels, expected, "{level:?}");
        }
    });
    let client_calls: Vec<_> = calls.collect();
    join_all(client_calls).await;
    eventually("the most curious level is told", || {
        fake.seen_of("logging/setLevel").last().is_some_and(|seen| seen.json()["params"]["level"] == "debug")
    })
    .await;
}

#[tokio::test]
async fn lists_are_the_same_for_all_clients_of_a_key() {
    let fakes = ["b", "a", "c"]
        .map(|name| Script::new(Dialect::Events).keeps_sessions().has_stream().everything(name).start());
    let [b, a, c] = &fakes;
    a.set_tools(["z", "y", "x"].map(crate::kit::upstream::tool).into());
    let gateway = Setup::new().alias("b", b).alias("a", a).alias("c", c).ready().await;
    gateway.until_tools(5).await;
    for method in
        ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "server/discover"]
    {
        let mut answers = Vec::new();
        for (name, offers) in [("ann", "{}"), ("bob", r#"{"sampling":{},"roots":{}}"#), ("ann", "{}")] {
            let client = Modern::new(&gateway, "/mcp").name(name).offers(offers);
            // Whoever called has a session of its own at the upstream.
            client.call("a-x").await;
            let mut answer = client.ask(method, &json!({})).await;
            assert_eq!(answer["result"]["resultType"], "complete", "{method}: {answer}");
            assert!(answer["result"]["ttlMs"].is_u64(), "{method}: {answer}");
            assert!(
                matches!(answer["result"]["cacheScope"].as_str(), Some("public" | "private")),
                "{method}: {answer}"
            );
            answer["result"]["ttlMs"] = json!(0);
            answers.push(answer.to_string());
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{method}: {answers:?}");
    }
}

#[rstest]
#[case::handshake(false)]
#[case::stateless(true)]
#[tokio::test]
async fn what_else_is_in_the_metadata_passes_untouched(#[case] is_stateless: bool) {
    let script = if is_stateless { Script::new(Dialect::Json).newest("db") } else { script(Dialect::Json) };
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    let meta = format!(
        r#"{{"traceparent" : "{trace}", "tracestate":"a=\u0062","baggage":"k=v","x/y":[1.10, 1e2],"progressToken":"p","{PREFIX}/protocolVersion":"{REVISION}","{PREFIX}/clientCapabilities":{{}}}}"#
    );
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"\u0041","method":"tools/call","params":{{"_meta":{meta},"name":"db-echo","arguments":{{"n":1.0}}}}}}"#
    );
    let request = client.bare().header("mcp-protocol-version", REVISION).header("mcp-method", "tools/call");
    let reply = send(request.header("mcp-name", "db-echo").body(body)).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.answer().contains(r#""id":"\u0041""#), "{}", reply.text());
    let seen = fake.wait_for("tools/call", 1).await;
    let text = seen.text();
    let passed =
        format!(r#""traceparent" : "{trace}", "tracestate":"a=\u0062","baggage":"k=v","x/y":[1.10, 1e2]"#);
    assert!(text.contains(&passed), "{text}");
    assert_eq!(text.contains(PREFIX), is_stateless, "{text}");
    assert_eq!(seen.json()["params"]["name"], "echo");
    if is_stateless {
        assert_eq!(seen.header("mcp-name"), Some("echo"));
    }
}
