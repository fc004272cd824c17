//! What an endpoint shows: all aliases, some, or one under the upstream's own names; and whose session it is.

use crate::kit::{
    client::send,
    gateway::{Running, Setup},
    legacy::Legacy,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::Value;

async fn gateway() -> (Vec<Fake>, Running) {
    let fakes: Vec<_> = ["a", "b", "c"]
        .iter()
        .map(|name| Script::new(Dialect::Json).tools(&[name, "same"]).start())
        .collect();
    let setup = Setup::new().alias("db", &fakes[0]).alias("timescale", &fakes[1]).alias("browser", &fakes[2]);
    let setup = setup.master("master").key("some", Some(&["db", "timescale"]), None);
    (fakes, setup.ready().await)
}

#[rstest]
#[case("/mcp", None, &["browser-c", "browser-same", "db-a", "db-same", "timescale-b", "timescale-same"])]
#[case("/mcp/db", None, &["a", "same"])]
#[case("/db/mcp", None, &["a", "same"])]
#[case("/mcp/db,timescale", None, &["db-a", "db-same", "timescale-b", "timescale-same"])]
#[case("/mcp/timescale,%20db", None, &["db-a", "db-same", "timescale-b", "timescale-same"])]
#[case("/db,timescale/mcp", None, &["db-a", "db-same", "timescale-b", "timescale-same"])]
#[case("/mcp", Some("db"), &["db-a", "db-same"])]
#[case("/mcp", Some("timescale , db"), &["db-a", "db-same", "timescale-b", "timescale-same"])]
#[case("/mcp/db,timescale", Some("db"), &["db-a", "db-same"])]
#[case("/mcp/db", Some("db"), &["a", "same"])]
#[tokio::test]
async fn a_scope_shows_its_aliases(#[case] path: &str, #[case] header: Option<&str>, #[case] names: &[&str]) {
    let (fakes, gateway) = gateway().await;
    let mut opening = Opening::new(&gateway, path).key("master");
    if let Some(header) = header {
        opening = opening.header("x-mcp-servers", header);
    }
    let session = opening.open().await;
    let mut tools = session.tools().await;
    tools.sort();
    assert_eq!(tools, names);
    for name in names {
        assert!(session.call(name).await["result"].is_object(), "{name}");
    }
    // What is not shown cannot be called, whatever it is called elsewhere; on an alias's own endpoint that is for its
    // upstream to say, and nobody else hears of it.
    let is_own = names.contains(&"a");
    let others = || fakes.iter().skip(1).map(|fake| fake.seen_of("tools/call").len()).sum::<usize>();
    let before = others();
    for name in ["db-a", "a", "browser-c", "c", "timescale-b"].iter().filter(|name| !names.contains(name)) {
        let answer = session.call(name).await;
        assert!(is_own || answer["error"]["data"]["reason"] == "unknown_tool", "{name}: {answer}");
    }
    assert_eq!(others(), before);
}

#[rstest]
#[case("/mcp/nobody", None, 404)]
#[case("/mcp/db,nobody", None, 404)]
#[case("/mcp/DB", None, 404)]
#[case("/nobody/mcp", None, 404)]
#[case("/mcp/db,", None, 404)]
#[case("/mcp/browser", None, 404)]
#[case("/mcp", Some("nobody"), 400)]
#[case("/mcp", Some("db,nobody"), 400)]
#[case("/mcp", Some("browser"), 400)]
#[case("/mcp", Some(""), 400)]
#[case("/mcp/db", Some("timescale"), 400)]
#[case("/mcp", Some("*"), 400)]
#[tokio::test]
async fn a_name_that_is_not_here_for_this_key_fails_closed(
    #[case] path: &str,
    #[case] header: Option<&str>,
    #[case] status: u16,
) {
    let (_fakes, gateway) = gateway().await;
    let mut opening = Opening::new(&gateway, path).key("some");
    if let Some(header) = header {
        opening = opening.header("x-mcp-servers", header);
    }
    let reply = opening.try_open().await;
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.json()["error"]["data"]["reason"], "unknown_alias");
    assert_eq!(reply.header("mcp-session-id"), None);
}

#[tokio::test]
async fn a_denied_alias_and_an_unknown_one_are_the_same() {
    let (_fakes, gateway) = gateway().await;
    let refusal = async |path: &str, header: &str| {
        let opening = Opening::new(&gateway, path).key("some");
        let opening = if header.is_empty() { opening } else { opening.header("x-mcp-servers", header) };
        opening.try_open().await.transcript().replace("browser", "ALIAS").replace("nobody1", "ALIAS")
    };
    assert_eq!(refusal("/mcp/browser", "").await, refusal("/mcp/nobody1", "").await);
    assert_eq!(refusal("/mcp", "browser").await, refusal("/mcp", "nobody1").await);
}

#[tokio::test]
async fn http_sse_has_the_same_scopes() {
    let (_fakes, gateway) = gateway().await;
    for (path, name, count) in [("/sse", "db-a", 6), ("/db/sse", "a", 2), ("/db,timescale/sse", "db-a", 4)] {
        let mut client = Legacy::connect(&gateway, path, Some("master")).await;
        let listed = client.ask(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).await;
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(count), "{path}");
        let body =
            format!(r#"{{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
        assert!(client.ask(&body).await.contains("done"), "{path}");
    }
    let refused = gateway.http.get(gateway.url("/browser/sse")).bearer_auth("some");
    assert_eq!(send(refused).await.status, 404);
}

/// A session is found only where it was opened, by whom opened it, over the transport that it was opened with.
#[tokio::test]
async fn sessions_belong_to_key_endpoint_and_transport() {
    let (_fakes, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp/db").key("master").open().await;
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    let attempt = async |path: &str, key: &str, id: &str, header: Option<&str>| {
        let request = crate::kit::session::post(&gateway, path).bearer_auth(key).header("mcp-session-id", id);
        let request =
            if let Some(header) = header { request.header("x-mcp-servers", header) } else { request };
        send(request.body(ping)).await
    };
    let unknown = attempt("/mcp/db", "master", "0123456789abcdef0123456789abcdef", None).await;
    assert_eq!(
        (unknown.status, &unknown.json()["error"]["data"]["reason"]),
        (404, &"unknown_session".into())
    );
    for (path, key) in [
        ("/mcp", "master"),
        ("/mcp/timescale", "master"),
        ("/mcp/db,timescale", "master"),
        ("/mcp/db", "some"),
        ("/mcp", "some"),
    ] {
        let reply = attempt(path, key, &session.id, None).await;
        assert_eq!(reply.transcript(), unknown.transcript(), "{path} with {key}");
    }
    // The same endpoint by its other name.
    assert_eq!(attempt("/db/mcp", "master", &session.id, None).await.status, 200);
    assert_eq!(attempt("/mcp/db/", "master", &session.id, Some("db")).await.status, 200);

    let legacy = Legacy::connect(&gateway, "/db/sse", Some("master")).await;
    let legacy_id = legacy.endpoint.split_once('=').expect("an id").1;
    assert_eq!(attempt("/mcp/db", "master", legacy_id, None).await.transcript(), unknown.transcript());
    let posted = async |id: &str, key: &str| {
        let request = gateway.http.post(gateway.url(&format!("/messages?sessionId={id}"))).bearer_auth(key);
        send(request.header("content-type", "application/json").body(ping)).await.status
    };
    assert_eq!(posted(&session.id, "master").await, 404);
    assert_eq!(posted(legacy_id, "some").await, 404);
    assert_eq!(posted(legacy_id, "master").await, 202);

    // Neither can another key listen to it or end it.
    for method in [reqwest::Method::GET, reqwest::Method::DELETE] {
        let request = gateway.http.request(method, gateway.url("/mcp/db")).bearer_auth("some");
        let request = request.header("accept", "text/event-stream").header("mcp-session-id", &session.id);
        assert_eq!(send(request).await.status, 404);
    }
    session.works().await;
}

#[tokio::test]
async fn a_header_on_a_later_request_must_name_the_sessions_own_scope() {
    let (_fakes, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").key("master").open().await;
    let narrowed = session.to_post().header("x-mcp-servers", "db");
    let reply = send(narrowed.body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#)).await;
    assert_eq!(reply.status, 404, "a narrower list than the session's must not come from the session");
    session.works().await;
}

#[tokio::test]
async fn nobody_is_there_without_a_session() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let reply = send(
        crate::kit::session::post(&gateway, "/mcp").body(r#"{"jsonrpc":"2.0","id":"i","method":"ping"}"#),
    )
    .await;
    assert_eq!((reply.status, &reply.json()["error"]["data"]["reason"]), (400, &"no_session".into()));
    assert_eq!(reply.json()["id"], "i");
    Session::open(&gateway, "/mcp").await.works().await;
}
