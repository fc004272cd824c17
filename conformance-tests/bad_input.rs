//! Whatever a client sends: a status, a code and a message that helps, and a session that works afterwards.

use crate::kit::{
    client::{Reply, exchange_raw, send, send_raw},
    gateway::{Running, Setup},
    legacy::Legacy,
    session::{Opening, Session, post},
    upstream::{Dialect, Fake},
};
use reqwest::RequestBuilder;
use std::fmt::Write as _;

async fn gateway() -> (Fake, Running) {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

/// Sends each body; what came back, with proof after each that the session still works.
async fn table<'a>(session: &Session<'_>, bodies: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> String {
    let mut said = String::new();
    for (name, body) in bodies {
        let reply = session.post(body).await;
        assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
        reply.json();
        write!(said, "{name}\n    {}\n", reply.transcript()).expect("memory");
        session.works().await;
    }
    assert_eq!(session.call("db-echo").await["result"]["content"][0]["text"], "done");
    said
}

fn texts<'a>(bodies: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, Vec<u8>)> {
    bodies.iter().map(|(name, body)| (*name, body.as_bytes().to_vec()))
}

#[tokio::test]
async fn what_is_not_json() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let deep = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"db-echo","arguments":{}{}}}}}"#,
        r#"{"a":"#.repeat(300),
        "}".repeat(300)
    );
    let deep = deep.replacen("}}", "1}}", 1);
    let said = table(
        &session,
        [
            ("nothing", Vec::new()),
            ("white space", b" \r\n\t".to_vec()),
            ("words", b"hello".to_vec()),
            ("cut off", br#"{"jsonrpc":"2.0","id":1,"#.to_vec()),
            (
                "two messages",
                br#"{"jsonrpc":"2.0","id":1,"method":"ping"}{"jsonrpc":"2.0","id":2,"method":"ping"}"#
                    .to_vec(),
            ),
            ("a comma too many", br#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#.to_vec()),
            ("single quotes", b"{'jsonrpc':'2.0','id':1,'method':'ping'}".to_vec()),
            ("not a number", br#"{"jsonrpc":"2.0","id":NaN,"method":"ping"}"#.to_vec()),
            ("a NUL", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\0ng\"}".to_vec()),
            ("NULs only", vec![0; 8]),
            ("a byte that is no text", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"pi\xffng\"}".to_vec()),
            ("UTF-16", "{}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("a byte order mark", "\u{feff}{}".as_bytes().to_vec()),
            ("300 levels", deep.into_bytes()),
            ("a million brackets", vec![b'['; 1_000_000]),
        ],
    )
    .await;
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn what_is_json_and_no_message() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "x".repeat(2000));
    let cases = [
        ("a string", r#""hello""#),
        ("a number", "42"),
        ("null", "null"),
        ("an empty object", "{}"),
        ("a batch", r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#),
        ("no version", r#"{"id":1,"method":"ping"}"#),
        ("version 1.0", r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#),
        ("version as a number", r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#),
        ("no method", r#"{"jsonrpc":"2.0","id":1,"params":{}}"#),
        ("method number", r#"{"jsonrpc":"2.0","id":"i","method":7}"#),
        ("method null", r#"{"jsonrpc":"2.0","id":1,"method":null}"#),
        ("params array", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#),
        ("params string", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}"#),
        ("params null", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#),
        ("id null", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#),
        ("id object", r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#),
        ("id array", r#"{"jsonrpc":"2.0","id":[],"method":"ping"}"#),
        ("id true", r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#),
        ("id too long", &long),
        ("id twice", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#),
        ("method twice", r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}"#),
        ("params twice", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#),
        ("method and result", r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#),
        ("result and error", r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#),
        ("an answer without id", r#"{"jsonrpc":"2.0","result":{}}"#),
        ("an error that is a string", r#"{"jsonrpc":"2.0","id":1,"error":"bad"}"#),
        ("an escaped key twice", r#"{"jsonrpc":"2.0","id":1,"\u0069d":2,"method":"ping"}"#),
    ];
    insta::assert_snapshot!(table(&session, texts(&cases)).await);
}

#[tokio::test]
async fn what_no_method_can_do() {
    let (fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let cases = [
        ("unknown method", r#"{"jsonrpc":"2.0","id":"i","method":"no/such"}"#),
        ("empty method", r#"{"jsonrpc":"2.0","id":1,"method":""}"#),
        ("a notification as a request", r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#),
        (
            "a page of prompts that is not there",
            r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list","params":{"cursor":"x"}}"#,
        ),
        ("call without params", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#),
        ("call without name", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#),
        ("name number", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#),
        ("name null", r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":null}}"#),
        (
            "name twice",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","name":"x"}}"#,
        ),
        (
            "arguments string",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","arguments":"{}"}}"#,
        ),
        (
            "arguments array",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","arguments":[]}}"#,
        ),
        (
            "_meta string",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","_meta":"x"}}"#,
        ),
        (
            "progress token object",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":{}}}}"#,
        ),
        (
            "progress token true",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":true}}}"#,
        ),
        (
            "progress token twice",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":1,"progressToken":2}}}"#,
        ),
        (
            "unknown tool",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"no_such_tool"}}"#,
        ),
        (
            "native name on the aggregate",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo"}}"#,
        ),
        (
            "lone surrogate in the name",
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}"#,
        ),
        (
            "a very long name",
            &format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{}"}}}}"#,
                "ä".repeat(1000)
            ),
        ),
        ("initialize without params", r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#),
        ("initialize without version", r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#),
        (
            "initialize with a number",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":7}}"#,
        ),
        (
            "initialize with odd capabilities",
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":[],"clientInfo":{}}}"#,
        ),
    ];
    insta::assert_snapshot!(table(&session, texts(&cases)).await);
    assert_eq!(fake.seen_of("tools/call").len(), 1, "only the good call at the end got through");
}

/// Header lines of a request, and the header that is wrong.
async fn with(session: &Session<'_>, change: impl FnOnce(RequestBuilder) -> RequestBuilder) -> Reply {
    let request = change(session.to_post().body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#));
    send(request).await
}

/// Headers that stand in place of the client's own.
fn instead(request: RequestBuilder, name: &'static str, value: &str) -> RequestBuilder {
    let mut headers = reqwest::header::HeaderMap::new();
    headers.insert(name, value.parse().expect("a header"));
    request.headers(headers)
}

#[tokio::test]
async fn headers_that_are_wrong() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut said = String::new();
    for (name, value) in [
        ("accept", "application/json"),
        ("accept", "text/event-stream"),
        ("accept", "text/html"),
        ("accept", ""),
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-protocol-version", "latest"),
        ("content-type", "text/plain"),
        ("content-type", "application/jsonp"),
        ("content-type", ""),
        ("mcp-session-id", "0123456789abcdef0123456789abcdef"),
        ("mcp-session-id", ""),
        ("mcp-session-id", "../../etc/passwd"),
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:80"),
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "file://"),
        ("x-mcp-servers", "nobody"),
    ] {
        let reply = with(&session, |request| instead(request, name, value)).await;
        writeln!(said, "{name}: {value}\n    {}", reply.transcript()).expect("memory");
        session.works().await;
    }
    insta::assert_snapshot!(said);
}

#[tokio::test]
async fn headers_that_are_right_in_other_ways() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    for (name, value) in [
        ("accept", "*/*"),
        ("accept", "text/event-stream;q=0.5 , application/*"),
        ("accept", "APPLICATION/JSON, Text/Event-Stream"),
        ("content-type", "application/json; charset=utf-8"),
        ("content-type", "Application/JSON"),
        ("host", "localhost"),
        ("origin", "http://localhost:3000"),
        ("x-unknown", "whatever"),
        ("last-event-id", "7"),
    ] {
        let reply = with(&session, |request| instead(request, name, value)).await;
        assert_eq!(reply.transcript(), r#"200 {"jsonrpc":"2.0","id":1,"result":{}}"#, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_listener_on_the_network_with_keys_takes_any_host_and_no_foreign_origin() {
    let fake = Fake::of(Dialect::Json);
    let setup = Setup::new().alias("db", &fake).master("the-master-key").on_the_network();
    let gateway = setup.ready().await;
    let session = Opening::new(&gateway, "/mcp").key("the-master-key").open().await;
    assert_eq!(with(&session, |request| instead(request, "host", "gw.linuxserver.lan")).await.status, 200);
    assert_eq!(with(&session, |request| instead(request, "origin", "http://evil.example")).await.status, 403);
    session.works().await;
}

/// 5 MiB, announced or not: refused with 413, and the session goes on.
#[tokio::test]
async fn bodies_that_are_too_large() {
    const SIZE: usize = 5 * 1024 * 1024;
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: */*\r\ncontent-type: application/json\r\nmcp-session-id: {}\r\n",
        session.id
    );
    let body = vec![b' '; SIZE];
    let announced = format!("{head}content-length: {SIZE}\r\n\r\n");
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{SIZE:x}\r\n");
    let replies = [
        send_raw(&gateway, &[announced.as_bytes(), &body]).await,
        send_raw(&gateway, &[chunked.as_bytes(), &body, b"\r\n0\r\n\r\n"]).await,
    ];
    for reply in replies {
        insta::allow_duplicates! {
            insta::assert_snapshot!(reply.transcript(), @r#"413 {"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Invalid request: the body is larger than 4194304 bytes","data":{"reason":"body_too_large","retryable":false,"hint":"send less, or raise `limits.body`"}}}"#);
        }
        session.works().await;
    }
    // One byte less than the limit is read.
    let (limit, message) = (4 * 1024 * 1024, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let reply = session.post(format!("{message}{}", " ".repeat(limit - message.len()))).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn requests_that_are_no_http() {
    let (_fake, gateway) = gateway().await;
    let session = Session::open(&gateway, "/mcp").await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(100_000));
    let headers = format!("GET /mcp HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(1000));
    for bytes in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "nonsense\r\n\r\n", &long, &headers] {
        let answer = exchange_raw(&gateway, &[bytes.as_bytes()]).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        session.works().await;
    }
}

#[tokio::test]
async fn bodies_that_end_too_early_or_never_come() {
    let fake = Fake::of(Dialect::Json);
    let setup = Setup::new().alias("db", &fake).front(|front| front.body_timeout = std::time::Duration::ZERO);
    let gateway = setup.ready().await;
    let head = "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{";
    let late = send_raw(&gateway, &[head.as_bytes()]).await;
    assert_eq!((late.status, late.json()["error"]["data"]["reason"].as_str()), (408, Some("body_timeout")));
    assert_eq!(gateway.health().await["status"], "healthy");
}

#[tokio::test]
async fn legacy_posts_that_are_wrong() {
    let (_fake, gateway) = gateway().await;
    let mut client = Legacy::open(&gateway, "/sse").await;
    let mut said = String::new();
    for body in ["", "hello", "{}", "[]", r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#] {
        let reply = client.post(body).await;
        writeln!(said, "{body}\n    {}", reply.transcript()).expect("memory");
    }
    for path in
        ["/messages", "/messages?sessionId=", "/messages?sessionId=nobody", "/messages?session_id=nobody"]
    {
        let request = post(&gateway, path).body(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        writeln!(said, "{path}\n    {}", send(request).await.transcript()).expect("memory");
    }
    insta::assert_snapshot!(said);
    // What is a request is answered on the stream.
    let unknown = client.ask(r#"{"jsonrpc":"2.0","id":1.0,"method":"no/such"}"#).await;
    assert!(unknown.starts_with(r#"{"jsonrpc":"2.0","id":1.0,"error":{"code":-32601"#), "{unknown}");
    assert_eq!(
        client.ask(r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#).await,
        r#"{"jsonrpc":"2.0","id":2,"result":{}}"#
    );
}
