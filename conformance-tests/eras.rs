//! The era of an upstream: found out by asking once, remembered, and asked for again when something went wrong.

use crate::kit::{
    clock::{eventually, skip, within},
    exchange::{Exchange, Kept},
    gateway::{Running, Setup},
    session::Session,
    upstream::{Dialect, Eras, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;
use trunkline::upstream::settings::Era;

const JSON: (&str, &str) = ("content-type", "application/json");

fn version(gateway: &Running) -> &'static str {
    gateway.upstream("db").offer().expect("an offer").welcome.version.as_str()
}

fn script(eras: Eras) -> Script {
    let mut script = Script::new(Dialect::Json).speaks(eras);
    script.version = "2025-11-25".into();
    script
}

fn discovered(versions: &str) -> String {
    format!(r#"{{"resultType":"complete","supportedVersions":{versions},"capabilities":{{"tools":{{}}}}}}"#)
}

/// How a server takes the question for its era.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Specified,
    Result(&'static str),
    Error(u16, i32),
    /// An error with the revisions that it names.
    Names(u16, &'static str),
    Unnamed(u16, i32),
    Plain(u16, &'static str),
    Closes,
    Cuts,
    Never,
}

async fn take(exchange: Exchange, manner: Manner) -> Kept {
    match manner {
        Manner::Specified => exchange.stateless().await,
        Manner::Result(versions) => exchange.result(&discovered(versions)).await,
        Manner::Error(status, code) => exchange.refuse(status, code, "no such thing", &json!(null)).await,
        Manner::Names(status, versions) => {
            let data: Value = serde_json::from_str(versions).expect("JSON");
            exchange.refuse(status, -32022, "no", &json!({"supported": data})).await
        }
        Manner::Unnamed(status, code) => {
            let body =
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": code, "message": "no such thing"}});
            exchange.respond(status, &[JSON], body.to_string().as_bytes()).await
        }
        Manner::Plain(status, body) => exchange.respond(status, &[], body.as_bytes()).await,
        Manner::Closes => exchange.close(),
        Manner::Cuts => exchange.stream().await.cut(),
        Manner::Never => exchange.never().await,
    }
}

#[rstest]
#[case::as_specified(Manner::Specified, "2026-07-28")]
#[case::ours_among_others(Manner::Result(r#"["2027-01-01","2026-07-28"]"#), "2026-07-28")]
#[case::an_older_one_only(Manner::Result(r#"["2025-11-25"]"#), "2025-11-25")]
#[case::a_newer_one_only(
    Manner::Result(r#"["2027-01-01"]"#),
    "it speaks MCP 2027-01-01; this gateway speaks"
)]
#[case::older_by_an_error(Manner::Names(400, r#"["2025-06-18"]"#), "2025-11-25")]
#[case::newer_by_an_error(Manner::Names(400, r#"["2027-01-01"]"#), "it speaks MCP 2027-01-01")]
#[case::mismatch(Manner::Error(400, -32020), "the handshake failed: `no such thing`")]
#[case::mismatch_of_a_proxy(Manner::Unnamed(400, -32020), "the handshake failed: `no such thing`")]
#[case::capability(Manner::Error(400, -32021), "the handshake failed: `no such thing`")]
#[case::no_method(Manner::Error(404, -32601), "2025-11-25")]
#[case::no_method_in_a_200(Manner::Error(200, -32601), "2025-11-25")]
#[case::wrong_parameters(Manner::Error(400, -32602), "2025-11-25")]
#[case::not_initialized(Manner::Unnamed(400, -32000), "2025-11-25")]
#[case::no_session(Manner::Unnamed(404, -32001), "2025-11-25")]
#[case::bad_request(Manner::Plain(400, ""), "2025-11-25")]
#[case::not_found(Manner::Plain(404, "<html>"), "2025-11-25")]
#[case::not_allowed(Manner::Plain(405, ""), "2025-11-25")]
#[case::not_acceptable(Manner::Plain(406, ""), "2025-11-25")]
#[case::gone_wrong(Manner::Plain(500, "Traceback"), "2025-11-25")]
#[case::accepted(Manner::Plain(202, ""), "2025-11-25")]
#[case::no_mcp(Manner::Plain(200, "<html>"), "2025-11-25")]
#[case::closed(Manner::Closes, "2025-11-25")]
#[case::cut(Manner::Cuts, "2025-11-25")]
#[case::silent(Manner::Never, "2025-11-25")]
#[case::unauthorized(Manner::Plain(401, ""), "it refused this gateway's credentials with HTTP 401")]
#[case::unauthorized_by_an_error(Manner::Error(401, -32001), "it refused this gateway's credentials with HTTP 401")]
#[case::forbidden(Manner::Plain(403, ""), "it refused this gateway's credentials with HTTP 403")]
#[tokio::test]
async fn what_a_server_answers_says_its_era(#[case] manner: Manner, #[case] wanted: &str) {
    let fake = script(Eras::Both).start();
    fake.on("server/discover", move |exchange| take(exchange, manner));
    let gateway = Setup::new().alias("db", &fake).start();
    if let Manner::Never = manner {
        fake.wait_for("server/discover", 1).await;
        assert!(fake.seen_of("initialize").is_empty(), "it has some seconds");
        skip(Duration::from_secs(4)).await;
    }
    if wanted.starts_with("20") {
        gateway.until_listed("db").await;
        assert_eq!(version(&gateway), wanted);
    } else {
        let reason = gateway.until_down("db").await;
        assert!(reason.contains(wanted), "{reason}");
    }
    let initialized = fake.seen_of("initialize").len();
    assert_eq!(initialized, usize::from(wanted == "2025-11-25"), "what is no answer of this era is none");
}

#[rstest]
#[case(Eras::Handshake, "2025-11-25")]
#[case(Eras::Stateless, "2026-07-28")]
#[case(Eras::Both, "2026-07-28")]
#[tokio::test]
async fn servers_of_every_era_are_spoken_to(
    #[case] eras: Eras,
    #[case] wanted: &str,
    #[values(Dialect::Json, Dialect::Events)] dialect: Dialect,
    #[values(true, false)] keeps: bool,
) {
    let mut script = script(eras);
    (script.dialect, script.keeps_sessions) = (dialect, keeps);
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    assert_eq!(version(&gateway), wanted);
    let upstream = gateway.upstream("db");
    assert_eq!(upstream.has_own_sessions(), keeps && eras == Eras::Handshake);
    let offer = upstream.offer().expect("an offer");
    assert_eq!(offer.is_stateless(), eras != Eras::Handshake);
    assert!(offer.welcome.server_info.as_str().contains("fake"));
    assert_eq!(offer.welcome.instructions.as_deref(), Some("be kind"));
}

#[rstest]
#[case(Era::Handshake, Eras::Both, "2025-11-25")]
#[case(Era::Stateless, Eras::Both, "2026-07-28")]
#[case(Era::Handshake, Eras::Handshake, "2025-11-25")]
#[case(Era::Stateless, Eras::Stateless, "2026-07-28")]
#[tokio::test]
async fn an_era_that_is_set_is_the_only_one_tried(
    #[case] era: Era,
    #[case] eras: Eras,
    #[case] wanted: &str,
) {
    let fake = script(eras).start();
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.era = era).ready().await;
    assert_eq!(version(&gateway), wanted);
    let counts = (fake.seen_of("server/discover").len(), fake.seen_of("initialize").len());
    assert_eq!(counts, if era == Era::Stateless { (1, 0) } else { (0, 1) });
}

#[rstest]
#[case(Era::Handshake, Eras::Stateless, "the handshake failed")]
#[case(Era::Stateless, Eras::Handshake, "HTTP 202 without an answer")]
#[tokio::test]
async fn an_era_that_is_set_wrongly_is_said(#[case] era: Era, #[case] eras: Eras, #[case] wanted: &str) {
    let fake = script(eras).start();
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.era = era).start();
    let reason = gateway.until_down("db").await;
    assert!(reason.contains(wanted), "{reason}");
    let other = if era == Era::Stateless { "initialize" } else { "server/discover" };
    assert!(fake.seen_of(other).is_empty());
}

#[tokio::test]
async fn a_set_era_that_is_silent_has_all_its_time() {
    let fake = script(Eras::Both).start();
    fake.on("server/discover", |exchange: Exchange| async move { exchange.never().await });
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.era = Era::Stateless).start();
    fake.wait_for("server/discover", 1).await;
    skip(Duration::from_secs(11)).await;
    let reason = gateway.until_down("db").await;
    assert_eq!(reason, "it did not answer `server/discover` within 10000 ms");
}

#[tokio::test]
async fn who_takes_its_time_to_say_its_era_may() {
    let fake = script(Eras::Stateless).start();
    let (sender, gate) = tokio::sync::watch::channel(());
    fake.on("server/discover", move |exchange: Exchange| {
        let mut gate = gate.clone();
        async move {
            // An error is the end of the test.
            let _ = gate.changed().await;
            exchange.stateless().await
        }
    });
    let gateway = Setup::new().alias("db", &fake).start();
    fake.wait_for("server/discover", 1).await;
    skip(Duration::from_secs(4)).await;
    fake.wait_for("initialize", 1).await;
    sender.send_replace(());
    gateway.until_listed("db").await;
    assert_eq!(version(&gateway), "2026-07-28");
    assert_eq!(fake.seen_of("server/discover").len(), 1);
}

#[tokio::test]
async fn an_era_is_remembered_until_something_goes_wrong() {
    let mut script = script(Eras::Handshake).keeps_sessions();
    script.has_stream = true;
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    for _ in 0..3 {
        let session = Session::open(&gateway, "/mcp").await;
        assert!(session.call("db-echo").await["result"].is_object());
    }
    assert_eq!((fake.seen_of("initialize").len(), fake.seen_of("server/discover").len()), (4, 1));

    fake.forget_all();
    skip(Duration::from_secs(31)).await;
    fake.wait_for("server/discover", 2).await;
    fake.wait_for("initialize", 5).await;
}

#[tokio::test]
async fn an_address_of_an_event_stream_is_not_asked() {
    let fake = Fake::of(Dialect::Legacy);
    let gateway = Setup::new().alias("db", &fake).ready().await;
    assert_eq!(version(&gateway), "2025-06-18");
    let fake = script(Eras::Both).start();
    let gateway = Setup::new().alias_at("db", &format!("http://{}/sse", fake.address), |_| ()).ready().await;
    assert_eq!(version(&gateway), "2025-11-25");
    assert!(fake.seen_of("server/discover").is_empty());
}

#[rstest]
#[case::and_back(Eras::Stateless, Eras::Handshake)]
#[case::with_sessions(Eras::Stateless, Eras::Both)]
#[tokio::test]
async fn an_upstream_may_be_another_after_an_upgrade(#[case] before: Eras, #[case] after: Eras) {
    let fake = script(before).keeps_sessions().start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    assert_eq!(version(&gateway), "2026-07-28");
    for eras in [after, before, Eras::Handshake, before] {
        fake.upgrade(eras);
        let wanted = if eras == Eras::Handshake { "2025-11-25" } else { "2026-07-28" };
        within("the other era", async {
            while version(&gateway) != wanted {
                skip(Duration::from_secs(31)).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        gateway.until_listed("db").await;
        assert_eq!(gateway.upstream("db").has_own_sessions(), eras == Eras::Handshake);
    }
}

#[rstest]
#[case(Eras::Stateless, Eras::Handshake)]
#[case(Eras::Handshake, Eras::Stateless)]
#[tokio::test]
async fn a_call_that_may_have_been_executed_is_not_made_again(#[case] before: Eras, #[case] after: Eras) {
    let fake = script(before).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    fake.on("tools/call", |exchange: Exchange| async move { exchange.close() });
    fake.upgrade(after);
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_closed");
    assert_eq!(answer["error"]["data"]["retryable"], false);
    let is_found = || version(&gateway) == if after == Eras::Stateless { "2026-07-28" } else { "2025-11-25" };
    within("the other era", async {
        while !is_found() {
            skip(Duration::from_secs(31)).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    gateway.until_listed("db").await;
    assert_eq!(fake.seen_of("tools/call").len(), 1);
}

#[tokio::test]
async fn a_call_that_is_taken_back_ends_with_its_connection() {
    let fake = script(Eras::Stateless).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for is_begun in [false, true] {
        let hung_up = std::sync::Arc::new(tokio::sync::Notify::new());
        let told = hung_up.clone();
        fake.on("tools/call", move |exchange: Exchange| {
            let told = told.clone();
            async move {
                if is_begun {
                    let mut stream = exchange.stream().await;
                    stream.raw(": here\n\n").await;
                    stream.until_hung_up().await;
                } else {
                    exchange.until_hung_up().await;
                }
                told.notify_one();
                None
            }
        });
        let calls = fake.seen_of("tools/call").len();
        let cancel = async {
            fake.wait_for("tools/call", calls + 1).await;
            session.notify("notifications/cancelled", r#"{"requestId":1}"#).await;
            within("the end of the connection", hung_up.notified()).await;
        };
        let (reply, ()) = tokio::join!(session.ask("tools/call", r#"{"name":"db-echo"}"#), cancel);
        assert!(!reply.text().contains("result"), "{}", reply.text());
    }
    eventually("nothing under way", || gateway.calls() == 0).await;
    assert!(fake.seen_of("notifications/cancelled").is_empty());
}
