//! Whatever an upstream does to a call: one answer that says what happened, and a gateway that goes on.

use crate::kit::{
    clock::skip,
    exchange::{Exchange, Kept},
    gateway::{Running, Setup},
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use std::{fmt::Write as _, future::Future, time::Duration};

/// A gateway with one upstream, and a client.
struct Scene {
    fake: Fake,
    gateway: Running,
}

type Way = fn(Exchange) -> std::pin::Pin<Box<dyn Future<Output = Kept> + Send>>;

// === impl Scene ===

impl Scene {
    async fn of(script: Script) -> Self {
        let fake = script.start();
        let setup = Setup::new().alias_with("db", &fake, |settings| settings.max_message = 64 * 1024);
        Self { gateway: setup.ready().await, fake }
    }

    /// Lets calls go wrong in each of these ways; what the client gets, and proof that all goes on.
    async fn table(&self, ways: &[(&str, Way)]) -> String {
        let session = Session::open(&self.gateway, "/mcp").await;
        let mut said = String::new();
        for (name, way) in ways {
            let before = self.fake.seen_of("tools/call").len();
            self.fake.on("tools/call", *way);
            let reply = session.ask("tools/call", r#"{"name":"db-echo"}"#).await;
            let ours = self.fake.seen_of("tools/call").pop().expect("the call").id();
            let text =
                reply.answer().replace(&self.fake.address.to_string(), "ADDRESS").replace(&ours, "OURS");
            writeln!(said, "{name}\n    {} {text}", reply.status).expect("memory");
            self.fake.behave();
            session.works().await;
            assert_eq!(
                session.call("db-echo").await["result"]["content"][0]["text"],
                "done",
                "after: {name}"
            );
            let calls = self.fake.seen_of("tools/call").len() - before;
            assert_eq!(calls, 2, "what may have been executed is not sent again: {name}");
        }
        said
    }
}

/// A way to answer, as a function pointer.
macro_rules! way {
    (|$exchange:ident| $body:expr) => {
        (|$exchange: Exchange| Box::pin(async move { $body })) as Way
    };
}

const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test]
async fn answers_that_are_none() {
    let scene = Scene::of(Script::new(Dialect::Json)).await;
    let ways = [
        (
            "HTML, 200",
            way!(|e| e
                .respond(
                    200,
                    &[("content-type", "text/html; charset=utf-8")],
                    b"<html>\n <h1>It works!</h1>\0"
                )
                .await),
        ),
        (
            "HTML, 502",
            way!(|e| e
                .respond(502, &[("content-type", "text/html")], b"<html><h1>Bad Gateway</h1></html>")
                .await),
        ),
        ("no content type", way!(|e| e.respond(200, &[], b"{}").await)),
        ("nothing, 200", way!(|e| e.respond(200, &[JSON], b"").await)),
        ("nothing, 202", way!(|e| e.respond(202, &[], b"").await)),
        ("nothing, 204", way!(|e| e.raw(b"HTTP/1.1 204 No Content\r\n\r\n").await)),
        ("nothing, 500", way!(|e| e.respond(500, &[], b"").await)),
        ("no JSON", way!(|e| e.json("{\"jsonrpc\":\"2.0\",\"id\":").await)),
        ("no text", way!(|e| e.respond(200, &[JSON], b"\"\xff\xfe\"").await)),
        ("no message", way!(|e| e.json("{\"result\":{}}").await)),
        ("no answer", way!(|e| e.json("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}").await)),
        ("nested too deeply", way!(|e| e.json(&"[".repeat(60_000)).await)),
        (
            "somebody else's id",
            way!(|e| e.json(r#"{"jsonrpc":"2.0","id":999999,"result":{"secret":1}}"#).await),
        ),
        (
            "the id as a string",
            way!(|e| {
                let body = format!(r#"{{"jsonrpc":"2.0","id":"{}","result":{{}}}}"#, e.seen.id());
                e.json(&body).await
            }),
        ),
        ("too large, announced", way!(|e| e.json(&" ".repeat(70_000)).await)),
        ("closed before the answer", way!(|e| e.close())),
        (
            "closed in the head",
            way!(|e| {
                e.raw(b"HTTP/1.1 200 OK\r\ncontent-ty").await;
                None
            }),
        ),
        (
            "closed in the body",
            way!(|e| {
                e.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"jsonrpc\"").await;
                None
            }),
        ),
        (
            "no HTTP",
            way!(|e| {
                e.raw(b"SSH-2.0-OpenSSH_9.9\r\n").await;
                None
            }),
        ),
    ];
    insta::assert_snapshot!(scene.table(&ways).await);
}

#[tokio::test]
async fn streams_that_bring_no_answer() {
    let scene = Scene::of(Script::new(Dialect::Events)).await;
    let ways = [
        ("nothing", way!(|e| e.stream().await.end().await)),
        (
            "cut in an event",
            way!(|e| {
                let mut stream = e.stream().await;
                stream.raw("event: message\ndata: {\"jsonrpc\":\"2.0\",").await;
                stream.cut()
            }),
        ),
        (
            "cut between events",
            way!(|e| {
                let mut stream = e.stream().await;
                stream.send(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#).await;
                stream.cut()
            }),
        ),
        (
            "no JSON",
            way!(|e| {
                let mut stream = e.stream().await;
                stream.send("hello").await;
                stream.end().await
            }),
        ),
        (
            "somebody else's id",
            way!(|e| {
                let mut stream = e.stream().await;
                stream.send(r#"{"jsonrpc":"2.0","id":999999,"result":{"secret":1}}"#).await;
                stream.end().await
            }),
        ),
        (
            "one line without an end",
            way!(|e| {
                let mut stream = e.stream().await;
                while stream.try_raw(&[b'x'; 8192]).await.is_ok() {}
                stream.cut()
            }),
        ),
        (
            "one event without an end",
            way!(|e| {
                let mut stream = e.stream().await;
                while stream
                    .try_raw(b"data: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n")
                    .await
                    .is_ok()
                {}
                stream.cut()
            }),
        ),
    ];
    insta::assert_snapshot!(scene.table(&ways).await);
}

/// Odd, but not wrong: the answer is there.
#[tokio::test]
async fn answers_in_odd_company() {
    let scene = Scene::of(Script::new(Dialect::Events)).await;
    let ways = [
        (
            "answers twice",
            way!(|e| {
                let answer = |text: &str| {
                    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"answer":"{text}"}}}}"#, e.seen.id())
                };
                let answers = [answer("first"), answer("second")];
                e.messages(&answers).await
            }),
        ),
        (
            "after somebody else's",
            way!(|e| {
                let ours =
                    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"answer":"ours"}}}}"#, e.seen.id());
                e.messages(&[r#"{"jsonrpc":"2.0","id":999999,"result":{}}"#.into(), ours]).await
            }),
        ),
        (
            "unknown events and comments",
            way!(|e| {
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, e.seen.id());
                let mut stream = e.stream().await;
                stream.raw("\u{feff}: hello\n\nretry: 10\n\nevent: ping\ndata: 2026-01-01\n\nid: 7\ndata:\n\nunknown\n\n").await;
                stream.raw(&format!("id: 8\r\nevent: message\r\ndata: {answer}\r\n\r\n")).await;
                stream.end().await
            }),
        ),
        (
            "a batch",
            way!(|e| {
                let body = format!(
                    r#"[{{"jsonrpc":"2.0","method":"notifications/x"}},{{"jsonrpc":"2.0","id":{},"result":{{}}}}]"#,
                    e.seen.id()
                );
                e.json(&body).await
            }),
        ),
        (
            "an error under 400",
            way!(|e| {
                let body = format!(
                    r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32602,"message":"no"}}}}"#,
                    e.seen.id()
                );
                e.respond(400, &[JSON], body.as_bytes()).await
            }),
        ),
        (
            "an error without an id",
            way!(|e| {
                e.json(r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#).await
            }),
        ),
        (
            "a stream that never ends",
            way!(|e| {
                let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{}}}}"#, e.seen.id());
                let mut stream = e.stream().await;
                stream.send(&answer).await;
                stream.until_hung_up().await
            }),
        ),
    ];
    insta::assert_snapshot!(scene.table(&ways).await);
}

/// On a stream that calls share, what is not theirs must not touch them.
#[tokio::test]
async fn foreign_answers_on_a_shared_stream() {
    let scene = Scene::of(Script::new(Dialect::Legacy)).await;
    let ways = [
        (
            "answers twice",
            way!(|e| {
                let answer = |text: &str| {
                    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"answer":"{text}"}}}}"#, e.seen.id())
                };
                let answers = [answer("first"), answer("second")];
                e.messages(&answers).await
            }),
        ),
        (
            "after somebody else's",
            way!(|e| {
                let foreign = [
                    r#"{"jsonrpc":"2.0","id":999999,"result":{}}"#,
                    r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
                ];
                let ours =
                    format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"answer":"ours"}}}}"#, e.seen.id());
                e.messages(&[foreign[0].into(), foreign[1].into(), ours]).await
            }),
        ),
        ("refused where it was posted", way!(|e| e.respond(500, &[], b"oops").await)),
        ("no JSON on the stream", way!(|e| e.messages(&["hello".into()]).await)),
        ("too large", way!(|e| e.messages(&["x".repeat(100_000)]).await)),
    ];
    insta::assert_snapshot!(scene.table(&ways).await);
}

#[rstest]
#[case(Dialect::Json)]
#[case(Dialect::Events)]
#[case(Dialect::Legacy)]
#[tokio::test]
async fn an_upstream_that_never_answers_is_told_so(#[case] dialect: Dialect) {
    let scene = Scene::of(Script::new(dialect)).await;
    scene.fake.on("tools/call", |exchange: Exchange| async move {
        match exchange.shared.script().dialect {
            Dialect::Json => exchange.never().await,
            // Comments without an end are no answer either.
            Dialect::Events => {
                let mut stream = exchange.stream().await;
                while stream.try_raw(b": still working\n\n").await.is_ok() {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                stream.cut()
            }
            Dialect::Legacy => exchange.respond(202, &[], b"").await,
        }
    });
    let session = Session::open(&scene.gateway, "/mcp").await;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}}"#;
    let (reply, ()) = tokio::join!(session.post(call), async {
        scene.fake.wait_for("tools/call", 1).await;
        skip(Duration::from_secs(601)).await;
    });
    let answer: serde_json::Value = serde_json::from_str(&reply.answer()).expect("JSON");
    let data = &answer["error"]["data"];
    assert_eq!((&data["reason"], &data["retryable"]), (&"upstream_timeout".into(), &false.into()));
    let told = scene.fake.wait_for("notifications/cancelled", 1).await;
    let ours = scene.fake.wait_for("tools/call", 1).await.id();
    assert_eq!(told.json()["params"]["requestId"].to_string(), ours);
    scene.fake.behave();
    session.works().await;
    assert!(session.call("db-echo").await["result"].is_object());
}

/// The most memory that this process ever had.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}

/// A line of 100 MiB: the gateway hangs up at its bound, and never has it all.
#[rstest]
#[case(Dialect::Json)]
#[case(Dialect::Events)]
#[tokio::test]
async fn a_line_of_100_mib_is_not_kept(#[case] dialect: Dialect) {
    const ALL: usize = 100 * 1024 * 1024;
    const BOUND: usize = 8 * 1024 * 1024;
    let (fake, sent) = (Fake::of(dialect), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let counted = sent.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let sent = counted.clone();
        async move {
            let mut stream = match exchange.shared.script().dialect {
                Dialect::Json => exchange.stream_of("application/json").await,
                Dialect::Events | Dialect::Legacy => exchange.stream().await,
            };
            let piece = vec![b'x'; 64 * 1024];
            while sent.load(std::sync::atomic::Ordering::Relaxed) < ALL
                && stream.try_raw(&piece).await.is_ok()
            {
                sent.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
            }
            stream.cut()
        }
    });
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.max_message = BOUND).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    session.works().await;
    let before = peak();
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_message_too_large");
    let (grown, sent) = ((peak() - before) * 1024, sent.load(std::sync::atomic::Ordering::Relaxed));
    // What the sockets of both ends buffer comes on top of the bound.
    assert!(sent < ALL / 2, "{sent} bytes were taken");
    assert!(grown < 4 * BOUND, "{grown} bytes more");
    fake.behave();
    assert!(session.call("db-echo").await["result"].is_object());
}

#[rstest]
#[case::html("HTML in place of a handshake", Dialect::Json, "initialize", way!(|e| e.respond(200, &[("content-type", "text/html")], b"<html>hi</html>").await))]
#[case::bad_gateway("HTML under 502", Dialect::Json, "initialize", way!(|e| e.respond(502, &[("content-type", "text/html")], b"<html>bad</html>").await))]
#[case::version("a version that is not spoken", Dialect::Json, "initialize", way!(|e| {
    e.result(r#"{"protocolVersion":"1999-01-01","capabilities":{},"serverInfo":{}}"#).await
}))]
#[case::no_version("no version", Dialect::Json, "initialize", way!(|e| e.result("{}").await))]
#[case::error("an error in place of a handshake", Dialect::Json, "initialize", way!(|e| {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32603,"message":"database is down"}}}}"#, e.seen.id());
    e.json(&body).await
}))]
#[case::list_error("an error in place of a list", Dialect::Json, "tools/list", way!(|e| {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-32603,"message":"no tools today"}}}}"#, e.seen.id());
    e.json(&body).await
}))]
#[case::list_shape("a list of another shape", Dialect::Json, "tools/list", way!(|e| e.result(r#"{"tools":{}}"#).await))]
#[case::closes("nothing but the end", Dialect::Json, "initialize", way!(|e| e.close()))]
#[case::foreign_endpoint("an endpoint of another origin", Dialect::Legacy, "GET", way!(|e| {
    let mut stream = e.stream().await;
    stream.raw("event: endpoint\ndata: http://evil.example/messages\n\n").await;
    stream.until_hung_up().await
}))]
#[case::odd_endpoint("an endpoint that is none", Dialect::Legacy, "GET", way!(|e| {
    let mut stream = e.stream().await;
    stream.raw("event: endpoint\ndata: http://[\n\n").await;
    stream.until_hung_up().await
}))]
#[case::no_endpoint("a stream without an endpoint", Dialect::Legacy, "GET", way!(|e| e.stream().await.end().await))]
#[case::endless_endpoint("an endpoint without an end", Dialect::Legacy, "GET", way!(|e| {
    let mut stream = e.stream().await;
    while stream.try_raw(&[b'x'; 8192]).await.is_ok() {}
    stream.cut()
}))]
#[tokio::test]
async fn upstreams_that_never_become_ready(
    #[case] name: &str,
    #[case] dialect: Dialect,
    #[case] method: &str,
    #[case] way: Way,
) {
    let (good, bad) = (Fake::of(Dialect::Json), Fake::of(dialect));
    bad.on(method, way);
    let setup = Setup::new().alias("good", &good).alias_with("bad", &bad, |settings| {
        settings.max_message = 64 * 1024;
    });
    let gateway = setup.start();
    gateway.until_listed("good").await;
    let reason = gateway.until_down("bad").await.replace(&bad.address.to_string(), "ADDRESS");
    insta::assert_snapshot!(format!("never_ready_{}", name.replace(' ', "_")), reason);
    // It harms nobody else, and may become better.
    let session = Session::open(&gateway, "/mcp").await;
    assert_eq!(session.tools().await, ["good-echo"]);
    bad.behave();
    skip(Duration::from_secs(5)).await;
    gateway.until_listed("bad").await;
    assert!(session.call("bad-echo").await["result"].is_object());
}
