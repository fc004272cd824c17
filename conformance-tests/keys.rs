//! Keys: who may come in, what each may use, and that what is denied does not exist.

use crate::kit::{
    client::{Reply, send},
    gateway::{Running, Setup},
    legacy::Legacy,
    session::{Opening, hello, post},
    upstream::{Dialect, Fake, Script},
};
use reqwest::Method;
use rstest::rstest;

const GOOD: &str = "sk-good-key";

async fn gateway() -> (Fake, Running) {
    let fake = Script::new(Dialect::Json).tools(&["read", "write", "drop_table"]).start();
    let other = Fake::of(Dialect::Json);
    let setup = Setup::new().alias("db", &fake).alias("storage", &other).master("sk-master");
    let setup = setup.key(GOOD, Some(&["db"]), Some(&["db-read", "*-write"]));
    let gateway = setup.key("sk-nothing", Some(&[]), None).ready().await;
    (fake, gateway)
}

fn open(gateway: &Running, headers: &[(&str, &str)]) -> reqwest::RequestBuilder {
    headers.iter().fold(post(gateway, "/mcp"), |request, (name, value)| request.header(*name, *value))
}

#[rstest]
#[case(&[("authorization", "Bearer sk-good-key")])]
#[case(&[("authorization", "bearer   sk-good-key ")])]
#[case(&[("x-litellm-api-key", "sk-good-key")])]
#[case(&[("x-litellm-api-key", "Bearer sk-good-key")])]
#[case(&[("x-api-key", "sk-good-key")])]
#[case(&[("x-litellm-api-key", "sk-good-key"), ("authorization", "Bearer somebody-elses")])]
#[tokio::test]
async fn a_key_comes_in_each_of_these_forms(#[case] headers: &[(&str, &str)]) {
    let (_fake, gateway) = gateway().await;
    let reply = send(open(&gateway, headers).body(hello("2025-11-25"))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
}

#[rstest]
#[case::missing("missing", &[])]
#[case::wrong("wrong", &[("authorization", "Bearer sk-wrong-key")])]
#[case::prefix("wrong", &[("authorization", "Bearer sk-good-ke")])]
#[case::longer("wrong", &[("authorization", "Bearer sk-good-key0")])]
#[case::case("wrong", &[("authorization", "Bearer SK-GOOD-KEY")])]
#[case::basic("form", &[("authorization", "Basic c2stZ29vZC1rZXk6")])]
#[case::bare("form", &[("authorization", "sk-good-key")])]
#[case::empty("form", &[("authorization", "Bearer ")])]
#[case::nothing("form", &[("authorization", "")])]
#[case::litellm_wins("wrong", &[("x-litellm-api-key", "no"), ("authorization", "Bearer sk-good-key")])]
#[case::litellm_empty("wrong", &[("x-litellm-api-key", "")])]
#[case::not_text("form", &[("authorization", "Bearer \u{e4}")])]
#[tokio::test]
async fn without_a_good_key_everything_is_401_and_says_so(
    #[case] why: &str,
    #[case] headers: &[(&str, &str)],
) {
    let (fake, gateway) = gateway().await;
    let mut replies = vec![send(open(&gateway, headers).body(hello("2025-11-25"))).await];
    for (method, path) in [
        (Method::POST, "/mcp/db"),
        (Method::GET, "/mcp"),
        (Method::DELETE, "/mcp"),
        (Method::GET, "/sse"),
        (Method::POST, "/messages?sessionId=x"),
        (Method::POST, "/mcp/no-such-alias"),
    ] {
        let request = gateway.http.request(method, gateway.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        replies.push(send(request).await);
    }
    for reply in &replies {
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer")));
        assert_eq!(reply.transcript(), replies[0].transcript(), "the same everywhere");
    }
    insta::assert_snapshot!(format!("unauthorized_{why}"), replies[0].transcript());
    assert_eq!(fake.seen_of("initialize").len(), 1, "the gateway's own");
    assert!(fake.seen_of("tools/call").is_empty());
}

#[tokio::test]
async fn health_needs_no_key_and_tells_only_the_master_more() {
    let (_fake, gateway) = gateway().await;
    for path in ["/health", "/health/liveliness", "/health/liveness", "/health/readiness"] {
        let health = async |key: Option<&str>| {
            let request = gateway.http.get(gateway.url(path));
            send(if let Some(key) = key { request.bearer_auth(key) } else { request }).await
        };
        let minimal = health(None).await;
        assert_eq!(minimal.status, 200);
        assert!(!minimal.text().contains("db"), "{}", minimal.text());
        assert_eq!(health(Some(GOOD)).await.transcript(), minimal.transcript());
        assert_eq!(health(Some("sk-wrong-key")).await.transcript(), minimal.transcript());
    }
    let full = send(gateway.http.get(gateway.url("/health")).bearer_auth("sk-master")).await.json();
    assert_eq!(full["upstreams"]["db"]["state"], "ready");
    assert_eq!(full["upstreams"]["db"]["tools"], 3);
}

#[tokio::test]
async fn what_is_denied_is_not_listed_and_does_not_exist() {
    let (fake, gateway) = gateway().await;
    for (path, listed, denied, unknown) in [
        ("/mcp", vec!["db-read", "db-write"], "db-drop_table", "db-no_such_tool"),
        ("/mcp", vec!["db-read", "db-write"], "storage-echo", "storage-none"),
        ("/mcp/db", vec!["read", "write"], "drop_table", "no_such"),
    ] {
        let session = Opening::new(&gateway, path).key(GOOD).open().await;
        assert_eq!(session.tools().await, listed);
        let call = async |name: &str| -> Reply {
            let reply = session.ask("tools/call", &format!(r#"{{"name":"{name}"}}"#)).await;
            assert_eq!(reply.status, 200);
            reply
        };
        let (denied_said, unknown_said) = (call(denied).await, call(unknown).await);
        assert_eq!(denied_said.text().replace(denied, "NAME"), unknown_said.text().replace(unknown, "NAME"));
        assert_eq!(denied_said.json()["error"]["code"], -32602);
        let headers = |reply: &Reply| {
            let mut names: Vec<_> = reply.headers.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(headers(&denied_said), headers(&unknown_said));
        session.works().await;
    }
    assert!(fake.seen_of("tools/call").is_empty());
    let master = Opening::new(&gateway, "/mcp").key("sk-master").open().await;
    assert!(master.call("db-drop_table").await["result"].is_object());
    let nothing = Opening::new(&gateway, "/mcp").key("sk-nothing").open().await;
    assert!(nothing.tools().await.is_empty());
}

#[tokio::test]
async fn each_key_is_told_of_its_own_changes_only() {
    let (fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").key(GOOD).open().await;
    let master = Opening::new(&gateway, "/mcp").key("sk-master").open().await;
    let (mut events, mut all) = (session.listen().await, master.listen().await);
    events.primed().await;
    all.primed().await;
    // Only a denied tool goes.
    fake.set_tools(["read", "write"].map(crate::kit::upstream::tool).to_vec());
    crate::kit::clock::skip(std::time::Duration::from_mins(11)).await;
    assert!(all.message().await.contains("list_changed"));
    let _next = session.listen().await;
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn the_key_of_a_client_goes_to_no_upstream() {
    for dialect in [Dialect::Json, Dialect::Events, Dialect::Legacy] {
        let fake = Fake::of(dialect);
        let gateway = Setup::new().alias("db", &fake).master("sk-master").ready().await;
        let request = post(&gateway, "/mcp").bearer_auth("sk-master").header("cookie", "c=sk-master");
        let request = request.header("x-api-key", "sk-master").header("x-litellm-api-key", "sk-master");
        let reply = send(request.body(hello("2025-11-25"))).await;
        let id = reply.header("mcp-session-id").expect("a session");
        let request = post(&gateway, "/mcp").bearer_auth("sk-master").header("mcp-session-id", id);
        let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}}"#;
        assert!(send(request.header("x-secret", "sk-master").body(body)).await.text().contains("done"));
        let mut legacy = Legacy::connect(&gateway, "/sse", Some("sk-master")).await;
        assert!(legacy.ask(body).await.contains("done"));
        fake.wait_for("tools/call", 2).await;
        for seen in fake.seen() {
            assert!(!format!("{seen:?}").contains("sk-master"), "{seen:?}");
            assert_eq!(seen.header("authorization"), None);
        }
    }
}
