//! How upstreams are reached: which transport, over which redirects, and with whose credentials.

use crate::kit::{
    clock::skip,
    exchange::{Exchange, Seen},
    gateway::Setup,
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use http::{HeaderValue, header::HeaderName};
use rstest::rstest;
use secrecy::SecretString;
use std::time::Duration;
use trunkline::upstream::settings::{Credential, Transport};

#[rstest]
#[case::legacy_behind_any_path(Dialect::Legacy, "mcp", "POST /mcp, POST /mcp, GET /mcp")]
#[case::legacy_by_its_name(Dialect::Legacy, "sse", "GET /sse")]
#[case::legacy_by_its_name_and_a_slash(Dialect::Legacy, "sse/", "GET /sse/")]
#[case::streamable(Dialect::Json, "mcp", "POST /mcp")]
#[case::streamable_behind_a_misleading_name(Dialect::Json, "sse", "GET /sse, POST /sse")]
#[tokio::test]
async fn the_transport_is_found_out_once(#[case] dialect: Dialect, #[case] path: &str, #[case] tried: &str) {
    let fake = Script::new(dialect).keeps_sessions().start();
    let setup = Setup::new().alias_at("db", &format!("http://{}/{path}", fake.address), |_| ());
    let gateway = setup.ready().await;
    let line = |seen: &Seen| format!("{} {}", seen.method, seen.path);
    let first: Vec<_> = fake.seen().iter().take(tried.split(", ").count()).map(line).collect();
    assert_eq!(first.join(", "), tried);

    // A client's session is opened with what was found out.
    let session = Session::open(&gateway, "/mcp").await;
    assert!(session.call("db-echo").await["result"].is_object());
    let guesses = |seen: &&Seen| seen.method == "POST" && !seen.path.starts_with("/messages");
    if dialect == Dialect::Legacy {
        assert_eq!(fake.seen().iter().filter(guesses).count(), tried.matches("POST").count());
    }
}

#[rstest]
#[case(Dialect::Json, Transport::Sse, "405")]
#[case(Dialect::Legacy, Transport::Http, "405")]
#[tokio::test]
async fn a_transport_that_is_set_is_the_only_one_tried(
    #[case] dialect: Dialect,
    #[case] transport: Transport,
    #[case] said: &str,
) {
    let fake = Fake::of(dialect);
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.transport = transport).start();
    let reason = gateway.until_down("db").await;
    assert!(reason.contains(said), "{reason}");
}

/// Has every request to `/mcp` redirected.
fn redirect(fake: &Fake, status: u16, to: &str) {
    for method in ["initialize", "notifications/initialized", "tools/list", "tools/call", "ping", "GET"] {
        let to = to.to_owned();
        fake.on(method, move |exchange: Exchange| {
            let to = to.clone();
            async move {
                if exchange.seen.path == "/mcp" {
                    exchange.respond(status, &[("location", &to)], b"").await
                } else {
                    exchange.standard().await
                }
            }
        });
    }
}

#[rstest]
#[case(307)]
#[case(308)]
#[tokio::test]
async fn a_redirect_within_the_origin_is_followed(#[case] status: u16) {
    let fake = Fake::of(Dialect::Json);
    redirect(&fake, status, "/mcp/");
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    assert!(session.call("db-echo").await["result"].is_object());
    let call = fake.seen_of("tools/call").pop().expect("a call");
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/mcp/"));
}

#[rstest]
#[case::other_origin(307, true)]
#[case::loses_the_body(302, false)]
#[case::around_in_circles(307, false)]
#[tokio::test]
async fn other_redirects_are_refused_and_said(#[case] status: u16, #[case] is_foreign: bool) {
    let (fake, foreign) = (Fake::of(Dialect::Json), Fake::of(Dialect::Json));
    let to = if is_foreign { foreign.url() } else { "/mcp".into() };
    redirect(&fake, status, &to);
    let setup = Setup::new().alias_with("db", &fake, |settings| {
        settings.credential = Credential::Bearer(SecretString::from("hunter2"));
        settings.transport = Transport::Http;
    });
    let gateway = setup.start();
    let reason = gateway.until_down("db").await;
    assert!(reason.contains("redirects to") && reason.contains(&to), "{reason}");
    assert!(foreign.seen().is_empty(), "credentials go to their own origin only");
    assert_eq!(gateway.health().await["upstreams"]["db"]["code"], "upstream_redirect");
}

#[tokio::test]
async fn credentials_reach_their_own_upstream_only() {
    let fakes: Vec<_> = [Dialect::Json, Dialect::Legacy, Dialect::Events, Dialect::Legacy]
        .map(|dialect| Script::new(dialect).keeps_sessions().start())
        .into();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, " from-file-1 \n").expect("a file");
    let setup = Setup::new()
        .alias_with("bearer", &fakes[0], |settings| {
            settings.credential = Credential::Bearer(SecretString::from("token-1"));
        })
        .alias_with("basic", &fakes[1], |settings| {
            let password = SecretString::from("pä:ss");
            settings.credential = Credential::Basic { username: "user".into(), password };
        })
        .alias_with("file", &fakes[2], |settings| settings.credential = Credential::BearerFile(file.clone()))
        .alias_with("headers", &fakes[3], |settings| {
            let value = HeaderValue::from_static("static-1");
            settings.headers.insert(HeaderName::from_static("x-token"), value);
        });
    let gateway = setup.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for alias in ["bearer", "basic", "file", "headers"] {
        assert!(session.call(&format!("{alias}-echo")).await["result"].is_object());
    }
    session.delete().await;
    let expected = [Some("Bearer token-1"), Some("Basic dXNlcjpww6Q6c3M="), Some("Bearer from-file-1"), None];
    for (fake, expected) in fakes.iter().zip(expected) {
        for seen in fake.seen() {
            assert_eq!(seen.header("authorization"), expected, "on {} {}", seen.method, seen.path);
            assert_eq!(seen.header("x-token").is_some(), expected.is_none());
        }
    }
}

#[tokio::test]
async fn a_bearer_file_is_read_anew_for_every_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "one").expect("a file");
    let fake = Script::new(Dialect::Json).keeps_sessions().start();
    let setup = Setup::new().alias_with("db", &fake, |settings| {
        settings.credential = Credential::BearerFile(file.clone());
    });
    let gateway = setup.ready().await;
    std::fs::write(&file, "two").expect("a file");
    let session = Session::open(&gateway, "/mcp").await;
    session.call("db-echo").await;
    assert_eq!(fake.wait_for("tools/call", 1).await.header("authorization"), Some("Bearer two"));
    std::fs::remove_file(&file).expect("it was there");
    fake.forget_all();
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_credential");
    std::fs::write(&file, "three").expect("a file");
    session.call("db-echo").await;
    assert_eq!(
        fake.seen_of("tools/call").pop().expect("a call").header("authorization"),
        Some("Bearer three")
    );
}

#[tokio::test]
async fn refused_credentials_are_said_and_not_shown() {
    let fake = Fake::of(Dialect::Json);
    fake.on("initialize", |exchange: Exchange| async move {
        let headers = [("www-authenticate", "Bearer")];
        exchange.respond(401, &headers, b"your token hunter2 is bad").await
    });
    let setup = Setup::new().alias_with("db", &fake, |settings| {
        settings.credential = Credential::Bearer(SecretString::from("hunter2"));
    });
    let gateway = setup.start();
    let reason = gateway.until_down("db").await;
    assert!(reason.contains("401") && !reason.contains("hunter2"), "{reason}");
    let health = gateway.health().await;
    assert_eq!(health["upstreams"]["db"]["code"], "upstream_unauthorized");
    assert!(!health.to_string().contains("hunter2"));
    // It is not asked again soon: credentials seldom become right by themselves.
    skip(Duration::from_secs(20)).await;
    gateway.health().await;
    assert_eq!(fake.seen_of("initialize").len(), 1);
    fake.behave();
    skip(Duration::from_secs(20)).await;
    gateway.until_listed("db").await;
}
