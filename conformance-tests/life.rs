//! The life of a client's session over streamable HTTP: versions, order, streams, end.

use crate::kit::{
    client::send,
    clock::skip,
    gateway::{Running, Setup},
    legacy::Legacy,
    session::{Opening, Session, hello, post},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use std::time::Duration;

async fn gateway() -> (Fake, Running) {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

#[rstest]
#[case("2024-11-05", "2024-11-05")]
#[case("2025-03-26", "2025-03-26")]
#[case("2025-06-18", "2025-06-18")]
#[case("2025-11-25", "2025-11-25")]
#[case("2026-07-28", "2025-11-25")]
#[case("1999-01-01", "2025-11-25")]
#[tokio::test]
async fn a_version_is_agreed_on(#[case] asked: &str, #[case] agreed: &str) {
    let (_fake, gateway) = gateway().await;
    let session = Opening::new(&gateway, "/mcp").version(asked).open().await;
    let result = &session.welcome["result"];
    assert_eq!(result["protocolVersion"], agreed);
    assert_eq!(result["capabilities"], serde_json::json!({"tools": {"listChanged": true}}));
    assert_eq!(result["serverInfo"]["name"], "trunkline");
    assert_eq!(session.tools().await, ["db-echo"]);
    assert_eq!(session.call("db-echo").await["result"]["content"][0]["text"], "done");
    assert_eq!(session.delete().await.status, 200);

    let mut client = Legacy::connect(&gateway, "/sse", None).await;
    let welcome = client.ask(&hello(asked)).await;
    assert!(welcome.contains(&format!(r#""protocolVersion":"{agreed}""#)), "{welcome}");
}

#[tokio::test]
async fn an_alias_endpoint_shows_the_upstream_itself() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp/db").await;
    let result = &session.welcome["result"];
    assert_eq!(result["serverInfo"], serde_json::json!({"name": "fake", "version": "1.0"}));
    assert_eq!(result["instructions"], "be kind");
    assert_eq!(session.tools().await, ["echo"]);
}

#[tokio::test]
async fn session_ids_are_visible_ascii_and_never_the_same() {
    let (_fake, gateway) = gateway().await;
    let (one, two) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    assert_ne!(one.id, two.id);
    for id in [&one.id, &two.id] {
        assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    }
}

#[tokio::test]
async fn clients_may_list_and_listen_before_they_say_initialized() {
    let (fake, gateway) = gateway().await;
    let reply = send(post(&gateway, "/mcp").body(hello("2025-06-18"))).await;
    let id = reply.header("mcp-session-id").expect("a session id").to_owned();
    let listed = post(&gateway, "/mcp").header("mcp-session-id", &id);
    let listed = send(listed.body(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#)).await;
    assert_eq!(listed.json()["result"]["tools"][0]["name"], "db-echo");
    let stream = gateway.http.get(gateway.url("/mcp")).header("accept", "text/event-stream");
    let stream = stream.header("mcp-session-id", &id).send().await.expect("a stream");
    let mut events = crate::kit::events::Events::new(stream);
    events.comment().await;
    fake.set_tools(Vec::new());
    skip(Duration::from_mins(11)).await;
    assert_eq!(events.message().await, r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
}

#[rstest]
#[case(None, 200)]
#[case(Some("2025-11-25"), 200)]
#[case(Some("2024-11-05"), 200)]
#[case(Some("2026-07-28"), 400)]
#[case(Some("1"), 400)]
#[case(Some(""), 400)]
#[tokio::test]
async fn the_version_header_may_be_missing_and_must_be_known(
    #[case] version: Option<&str>,
    #[case] status: u16,
) {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut request = session.to_post().body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    if let Some(version) = version {
        request = request.header("mcp-protocol-version", version);
    }
    assert_eq!(send(request).await.status, status);
    session.works().await;
}

#[tokio::test]
async fn a_probe_of_the_next_era_is_answered_at_once_and_without_a_session() {
    let (fake, gateway) = gateway().await;
    for path in ["/mcp", "/mcp/db"] {
        let body = r#"{"jsonrpc":"2.0","id":"probe","method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let request = post(&gateway, path).header("mcp-protocol-version", "2026-07-28");
        let reply = send(request.header("mcp-method", "server/discover").body(body)).await;
        let answer = reply.json();
        assert_eq!((&answer["id"], &answer["result"]["resultType"]), (&"probe".into(), &"complete".into()));
        assert_eq!(reply.header("mcp-session-id"), None);
        assert_eq!(reply.status, 200);
    }
    assert_eq!(fake.seen_of("initialize").len(), 1, "the gateway's own");
    assert_eq!(fake.seen_of("server/discover").len(), 1, "the gateway's own");
    Session::open(&gateway, "/mcp").await.works().await;
}

#[tokio::test]
async fn a_second_stream_takes_over() {
    let fake = Script::new(Dialect::Legacy).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut first = session.listen().await;
    first.primed().await;
    let mut second = session.listen().await;
    second.primed().await;
    assert_eq!(first.next().await, None);
    fake.set_tools(Vec::new());
    fake.tell_change();
    assert!(second.message().await.contains("list_changed"));
    session.works().await;
}

#[tokio::test]
async fn after_delete_the_session_is_not_found() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let other = Session::open(&gateway, "/mcp").await;
    let mut stream = session.listen().await;
    stream.primed().await;
    assert_eq!(session.delete().await.status, 200);
    assert_eq!(stream.next().await, None);
    for status in [session.ask("ping", "{}").await.status, session.delete().await.status] {
        assert_eq!(status, 404);
    }
    other.works().await;
}

#[tokio::test]
async fn idle_sessions_end_and_those_with_a_stream_do_not() {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).session(|session| session.idle = Duration::from_hours(1));
    let gateway = gateway.ready().await;
    let (idle, listening) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let mut stream = listening.listen().await;
    stream.primed().await;
    skip(Duration::from_mins(59)).await;
    idle.works().await;
    skip(Duration::from_mins(62)).await;
    listening.works().await;
    gateway.until_sessions(1).await;
    assert_eq!(idle.ask("ping", "{}").await.status, 404);
}

#[tokio::test]
async fn sessions_are_bounded() {
    let (fake, setup) = (Fake::of(Dialect::Json), Setup::new());
    let gateway = setup.alias("db", &fake).session(|session| session.max_sessions = 2).ready().await;
    let (one, two) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    // Sessions that somebody listens to are in use; idle ones would make room.
    let _listening = (one.listen().await, two.listen().await);
    let refused = Opening::new(&gateway, "/mcp").try_open().await;
    assert_eq!(
        (refused.status, refused.json()["error"]["data"]["reason"].as_str()),
        (503, Some("too_many_sessions"))
    );
    assert_eq!(
        gateway.http.get(gateway.url("/sse")).send().await.expect("a response").status().as_u16(),
        503
    );
    one.works().await;
    one.delete().await;
    Session::open(&gateway, "/mcp").await.works().await;
}

#[tokio::test]
async fn a_legacy_session_ends_with_its_stream() {
    let (_fake, gateway) = gateway().await;
    let client = Legacy::open(&gateway, "/sse").await;
    let endpoint = client.endpoint.clone();
    drop(client);
    gateway.until_sessions(0).await;
    let late = gateway.http.post(gateway.url(&endpoint)).header("content-type", "application/json");
    assert_eq!(send(late.body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#)).await.status, 404);
}

#[tokio::test]
async fn what_clients_need_not_say_is_taken() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.notify("notifications/initialized", "{}").await;
    session.notify("notifications/roots/list_changed", "{}").await;
    session.notify("notifications/cancelled", r#"{"requestId":"never was"}"#).await;
    session.notify("notifications/cancelled", "{}").await;
    session.notify("notifications/whatever", r#"{"x":[1.10]}"#).await;
    let answer = session.post(r#"{"jsonrpc":"2.0","id":99,"result":{}}"#).await;
    assert_eq!((answer.status, answer.text()), (202, ""));
    session.works().await;
}

#[rstest]
#[case("/mcp")]
#[case("/mcp/")]
#[case("/mcp/db")]
#[case("/mcp/db/")]
#[case("/db/mcp")]
#[case("/db/mcp/")]
#[tokio::test]
async fn endpoints_answer_without_a_redirect(#[case] path: &str) {
    let (_fake, gateway) = gateway().await;
    Session::open(&gateway, path).await.works().await;
}

#[rstest]
#[case("/sse")]
#[case("/sse/")]
#[case("/mcp/sse")]
#[case("/db/sse")]
#[case("/mcp/db/sse")]
#[tokio::test]
async fn legacy_endpoints_are_found_and_take_no_post(#[case] path: &str) {
    let (_fake, gateway) = gateway().await;
    let mut client = Legacy::open(&gateway, path).await;
    let pong = client.ask(r#"{"jsonrpc":"2.0","id":"x","method":"ping"}"#).await;
    assert_eq!(pong, r#"{"jsonrpc":"2.0","id":"x","result":{}}"#);
    let posted = send(post(&gateway, path).body(hello("2025-11-25"))).await;
    assert_eq!(posted.status, 405, "clients that try streamable HTTP first fall back on this");
    posted.json();
}

#[rstest]
#[case("GET", "/.well-known/oauth-protected-resource")]
#[case("GET", "/.well-known/oauth-protected-resource/mcp")]
#[case("GET", "/.well-known/oauth-authorization-server")]
#[case("GET", "/.well-known/openid-configuration")]
#[case("POST", "/register")]
#[case("GET", "/")]
#[case("GET", "/mcp/db/deeper/still")]
#[tokio::test]
async fn what_is_not_served_is_404_as_json(#[case] method: &str, #[case] path: &str) {
    let (_fake, gateway) = gateway().await;
    let method = method.parse().expect("a method");
    let reply = send(gateway.http.request(method, gateway.url(path))).await;
    assert_eq!((reply.status, reply.header("content-type")), (404, Some("application/json")));
    // Where clients look for OAuth, they expect its form of an error.
    let error = reply.json();
    let said = error["error_description"].as_str().or(error["error"]["message"].as_str());
    assert!(said.is_some_and(|said| said.contains("gateway") || said.contains("/mcp")), "{error}");
}
