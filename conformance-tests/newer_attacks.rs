//! What an attack on the bridge between the eras found, and must not find again.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::Modern,
    peer::{Peer, Transport},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::json;

async fn newest() -> (Fake, Running) {
    let fake = Script::new(Dialect::Events).newest("db").start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

#[rstest]
#[case("tools/call", json!({"name": "echo", "arguments": {"requestState": "kept"}}))]
#[case("prompts/get", json!({"name": "plain"}))]
#[case("resources/read", json!({"uri": "x://one"}))]
#[tokio::test]
async fn a_state_that_a_handshake_client_makes_up_reaches_nobody(
    #[case] method: &str,
    #[case] mut params: serde_json::Value,
) {
    let (fake, gateway) = newest().await;
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp/db", "ann").await;
    params["requestState"] = "another's".into();
    params["inputResponses"] = json!({"q": {"action": "accept"}});
    let answer = peer.ask(method, &params).await;
    assert!(answer["result"].is_object(), "{answer}");
    let seen = fake.seen_of(method)[0].json();
    assert!(seen["params"].get("requestState").is_none() && seen["params"].get("inputResponses").is_none());
    assert_eq!(seen["params"]["arguments"], params.get("arguments").cloned().unwrap_or_default());
}

#[tokio::test]
async fn a_handshake_client_answers_no_task_of_the_stateless_era() {
    let (fake, gateway) = newest().await;
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp/db", "ann").await;
    let answer = peer.ask("tasks/update", &json!({"taskId": "t", "inputResponses": {"q": {}}})).await;
    assert_eq!(answer["error"]["code"], -32601, "{answer}");
    assert!(fake.seen_of("tasks/update").is_empty());
}

#[rstest]
#[case(r#"{"code":-32022,"message":"no","data":{"supported":["2099-01-01"],"requested":"2026-07-28"}}"#)]
#[case(r#"{"code":-32020,"message":"no"}"#)]
#[tokio::test]
async fn what_an_upstream_thinks_of_the_revision_is_not_the_clients(#[case] error: &'static str) {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", move |exchange: Exchange| exchange.refused(400, error));
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    for answer in [peer.call("db-echo").await, Modern::new(&gateway, "/mcp").call("db-echo").await] {
        assert_eq!(answer["error"]["code"], -32603, "{answer}");
        assert_eq!(answer["error"]["data"]["upstream"], "db");
    }
}

#[rstest]
#[case("tools/call", json!({"name": "db-echo"}), r#"{"resultType":5,"content":[]}"#)]
#[case("tools/call", json!({"name": "db-echo"}), r#"{"resultType":"weird","content":[]}"#)]
#[case("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "db-plain"}, "argument": {"name": "a", "value": "b"}}), r#"{"resultType":"input_required","requestState":"s"}"#)]
#[tokio::test]
async fn results_that_no_client_knows_are_the_upstreams_fault(
    #[case] method: &str,
    #[case] params: serde_json::Value,
    #[case] result: &'static str,
) {
    let (fake, gateway) = newest().await;
    fake.on(method, move |exchange: Exchange| exchange.result(result));
    let answer = Modern::new(&gateway, "/mcp").ask(method, &params).await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_not_mcp", "{answer}");
}
