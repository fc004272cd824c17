//! What is turned away at the door: readable by every client, checked in the right order, and the same for all.

use crate::kit::{
    client::{exchange_raw, send, send_raw},
    clock::within,
    gateway::{Running, Setup},
    session::{Opening, hello, post},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::sleep,
};

const LIMIT: usize = 64 * 1024;

async fn gateway() -> (Fake, Running) {
    let fake = Fake::of(Dialect::Json);
    let setup = Setup::new().alias("db", &fake).master("master").front(|front| front.body_limit = LIMIT);
    (fake, setup.ready().await)
}

/// A client that sends all of its body before it reads, and slowly; what it gets.
async fn sent_slowly(gateway: &Running, head: &str, length: usize) -> String {
    within("a response", async {
        let mut socket = TcpStream::connect(gateway.address).await.expect("a connection");
        let head = format!("POST {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("to send the head");
        for _ in 0..4 {
            // Whoever does not wait for the body has answered and closed by now.
            sleep(Duration::from_millis(50)).await;
            socket.write_all(&vec![b' '; length / 4]).await.expect("the body is taken");
        }
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("the response can be read");
        text
    })
    .await
}

const GOOD: &str = "host: localhost\r\nauthorization: Bearer master\r\ncontent-type: application/json";

#[rstest]
#[case::host("403", "/mcp HTTP/1.1\r\nhost: evil.example")]
#[case::key("401", "/mcp HTTP/1.1\r\nhost: localhost")]
#[case::alias("404", &format!("/mcp/nobody HTTP/1.1\r\n{GOOD}"))]
#[case::accept("406", &format!("/mcp HTTP/1.1\r\naccept: text/html\r\n{GOOD}"))]
#[case::kind("415", "/mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer master")]
#[case::legacy("404", &format!("/messages?sessionId=x HTTP/1.1\r\n{GOOD}"))]
#[case::route("404", &format!("/nothing HTTP/1.1\r\n{GOOD}"))]
#[case::method("405", &format!("/health HTTP/1.1\r\n{GOOD}"))]
#[tokio::test]
async fn a_refusal_can_be_read_after_the_body_was_sent(#[case] status: &str, #[case] head: &str) {
    let (_fake, gateway) = gateway().await;
    for length in [LIMIT, LIMIT * 3 / 2] {
        let text = sent_slowly(&gateway, head, length).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_and_can_be_read() {
    let (_fake, gateway) = gateway().await;
    let text = sent_slowly(&gateway, &format!("/mcp HTTP/1.1\r\n{GOOD}"), LIMIT + 4).await;
    assert!(text.starts_with("HTTP/1.1 413 "), "{text}");
}

#[rstest]
#[case::too_large("413", &format!("{GOOD}\r\ncontent-length: {}", LIMIT + 1))]
#[case::huge("413", &format!("{GOOD}\r\ncontent-length: 1000000000000"))]
#[case::no_key("401", "host: localhost\r\ncontent-length: 10")]
#[tokio::test]
async fn who_asks_first_is_refused_at_once(#[case] status: &str, #[case] headers: &str) {
    let (_fake, gateway) = gateway().await;
    let head = format!("POST /mcp HTTP/1.1\r\n{headers}\r\nexpect: 100-continue\r\n\r\n");
    let text = String::from_utf8(exchange_raw(&gateway, &[head.as_bytes()]).await).expect("text");
    assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
}

#[tokio::test]
async fn who_sends_without_end_is_refused_all_the_same() {
    let (_fake, gateway) = gateway().await;
    let head = "POST /mcp HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 65_536], b"\r\n"].concat();
    let mut pieces = vec![head.as_bytes()];
    pieces.extend(std::iter::repeat_n(chunk.as_slice(), 200));
    exchange_raw(&gateway, &pieces).await;
    // Neither does who sends nothing hold it up for long.
    let text = exchange_raw(&gateway, &[head.as_bytes()]).await;
    assert!(text.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&text));
    Opening::new(&gateway, "/mcp").key("master").open().await.works().await;
}

#[rstest]
#[case("GET", "/mcp/%ff", 404, "unknown_alias")]
#[case("POST", "/mcp/%ff", 404, "unknown_alias")]
#[case("DELETE", "/mcp/%ff/", 404, "unknown_alias")]
#[case("POST", "/%ff/mcp", 404, "unknown_alias")]
#[case("GET", "/%ff/sse", 404, "unknown_alias")]
#[case("POST", "/messages?sessionId=a&sessionId=b", 400, "no_session")]
#[case("POST", "/messages?sessionId=a&session_id=b", 400, "no_session")]
#[tokio::test]
async fn odd_addresses_are_refused_in_json_and_only_with_a_key(
    #[case] method: &str,
    #[case] path: &str,
    #[case] status: u16,
    #[case] reason: &str,
) {
    let (_fake, gateway) = gateway().await;
    let request = |more: &str| {
        format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: 0\r\n{more}\r\n\r\n")
    };
    let reply = send_raw(&gateway, &[request("host: localhost").as_bytes()]).await;
    assert_eq!((reply.status, &reply.json()["error"]["data"]["reason"]), (401, &"unauthorized".into()));
    let reply = send_raw(&gateway, &[request("host: evil.example").as_bytes()]).await;
    assert_eq!((reply.status, &reply.json()["error"]["data"]["reason"]), (403, &"bad_host".into()));
    let reply = send_raw(&gateway, &[request(GOOD).as_bytes()]).await;
    assert_eq!((reply.status, &reply.json()["error"]["data"]["reason"]), (status, &reason.into()));
}

#[rstest]
#[case("/mcp", "host: [::1].evil.example:80", 403)]
#[case("/mcp", "host: [::1]evil.example", 403)]
#[case("/mcp", "host: 127.0.0.1\r\nhost: evil.example", 400)]
#[case("http://evil.example/mcp", "host: 127.0.0.1", 403)]
#[case("/mcp", "host: 127.0.0.1\r\norigin: http://localhost\r\norigin: http://evil.example", 403)]
#[case("http://localhost/mcp", "host: 127.0.0.1", 400)]
#[tokio::test]
async fn hosts_of_every_form_are_checked(#[case] target: &str, #[case] headers: &str, #[case] status: u16) {
    let fake = Fake::of(Dialect::Json);
    let gateway = Setup::new().alias("db", &fake).start();
    let request = format!("GET {target} HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n");
    let reply = send_raw(&gateway, &[request.as_bytes()]).await;
    assert_eq!(reply.status, status, "{}", reply.text());
    // What is let in has no session.
    let reason = reply.json()["error"]["data"]["reason"].clone();
    assert_eq!(reason == "no_session", target == "http://localhost/mcp", "{reason}");
}

/// A key for the tools of one alias learns nothing of another, neither by path nor by header.
#[tokio::test]
async fn globs_over_tools_hide_other_aliases() {
    let fake = Script::new(Dialect::Json).tools(&["read"]).start();
    let setup = Setup::new().alias("db", &fake).alias("secret", &fake).key("some", None, Some(&["db-*"]));
    let gateway = setup.ready().await;
    let refusal = async |path: &str, header: Option<&str>, name: &str| {
        let request = post(&gateway, path).bearer_auth("some").body(hello("2025-11-25"));
        let request =
            if let Some(header) = header { request.header("x-mcp-servers", header) } else { request };
        send(request).await.transcript().replace(name, "ALIAS")
    };
    let unknown = refusal("/mcp/nope", None, "nope").await;
    assert!(unknown.starts_with("404 "), "{unknown}");
    assert_eq!(refusal("/mcp/secret", None, "secret").await, unknown);
    let unknown = refusal("/mcp", Some("nope"), "nope").await;
    assert_eq!(refusal("/mcp", Some("secret"), "secret").await, unknown);
    let session = Opening::new(&gateway, "/mcp/db").key("some").open().await;
    assert_eq!(session.tools().await, ["read"]);
}
