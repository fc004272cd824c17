//! JSON-RPC batches: part of 2025-03-26, removed after it.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    legacy::Legacy,
    session::Opening,
    upstream::{Dialect, Fake},
};
use rstest::rstest;
use serde_json::Value;

async fn gateway() -> (Fake, Running) {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

const MIXED: &str = r#"[ {"jsonrpc":"2.0","id":1,"method":"ping"}, {"jsonrpc":"2.0","method":"notifications/x"},
    {"jsonrpc":"2.0","id":"2","method":"tools/call","params":{"name":"db-echo"}}, 42, {"jsonrpc":"1.0","id":3,"method":"ping"},
    {"jsonrpc":"2.0","id":4.0,"method":"no/such"}, {"jsonrpc":"2.0","id":5,"result":{}}, [],
    {"jsonrpc":"2.0","id":6,"method":"initialize","params":{}} ]"#;

#[rstest]
#[case("2025-03-26")]
#[case("2024-11-05")]
#[tokio::test]
async fn every_request_of_a_batch_has_one_answer(#[case] version: &str) {
    let (fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version(version).open().await;
    let reply = session.post(MIXED).await;
    assert_eq!(reply.status, 200);
    let answers = reply.json();
    let mut lines: Vec<String> = answers
        .as_array()
        .expect("an array")
        .iter()
        .map(|answer| format!("{} {}", answer["id"], answer["error"]["code"]))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        ["\"2\" null", "1 null", "3 -32600", "4.0 -32601", "6 -32600", "null -32600", "null -32600"]
    );
    assert!(reply.text().contains("\"id\":4.0,"), "ids come back as they were written");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    session.works().await;
}

#[tokio::test]
async fn a_batch_without_requests_is_accepted() {
    let (_fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let body = r#"[{"jsonrpc":"2.0","method":"notifications/a"},{"jsonrpc":"2.0","id":1,"result":{}}]"#;
    let reply = session.post(body).await;
    assert_eq!((reply.status, reply.text()), (202, ""));
}

#[rstest]
#[case("2025-06-18")]
#[case("2025-11-25")]
#[tokio::test]
async fn later_versions_have_no_batches(#[case] version: &str) {
    let (fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version(version).open().await;
    let reply = session.post(MIXED).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &Value::from(-32600)));
    assert_eq!(reply.json()["error"]["data"]["reason"], "batch");
    assert!(fake.seen_of("tools/call").is_empty());
    session.works().await;
}

#[rstest]
#[case::empty("[]".into())]
#[case::too_many(format!("[{}]", vec![r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#; 101].join(",")))]
#[tokio::test]
async fn a_batch_has_a_size(#[case] body: String) {
    let (_fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let reply = session.post(body).await;
    assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &Value::from(-32600)));
    session.works().await;
}

#[tokio::test]
async fn progress_of_a_batch_comes_in_its_array() {
    let (fake, gateway) = gateway().await;
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id},"progress":1}}}}"#
        );
        exchange.messages(&[progress, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)]).await
    });
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let body = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":"t"}}}]"#;
    let reply = session.post(body).await;
    assert_eq!(
        reply.text(),
        r#"[{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}},{"jsonrpc":"2.0","id":1,"result":{}}]"#
    );
}

#[tokio::test]
async fn the_same_id_twice_in_a_batch_is_one_call_and_one_refusal() {
    let (fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}}"#;
    let answers = session.post(format!("[{call},{call}]")).await.json();
    let mut codes: Vec<_> =
        answers.as_array().expect("two").iter().map(|answer| answer["error"]["code"].clone()).collect();
    codes.sort_by_key(Value::is_null);
    assert_eq!(codes, [Value::from(-32600), Value::Null]);
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    session.works().await;
}

#[tokio::test]
async fn http_sse_takes_batches_and_answers_one_by_one() {
    let (_fake, gateway) = gateway().await;
    let mut client = Legacy::open(&gateway, "/sse").await;
    assert_eq!(client.post(MIXED).await.status, 202);
    let mut ids = Vec::new();
    for _ in 0..7 {
        let answer: Value = serde_json::from_str(&client.events.message().await).expect("JSON");
        ids.push(answer["id"].to_string());
    }
    ids.sort();
    assert_eq!(ids, ["\"2\"", "1", "3", "4.0", "6", "null", "null"]);
}
