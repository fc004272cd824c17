//! Parked calls of clients that cheat, hurry, or never come back: refused cleanly, bounded, and told to the upstream.

use crate::kit::{
    clock::{eventually, skip, within},
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::{Asked, Modern},
    upstream::{Dialect, Fake, Script, tool},
};
use futures_util::{StreamExt as _, future::join_all, stream};
use rstest::rstest;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;
use trunkline::session::settings::Settings;

const ELICIT: &str = "elicitation/create";

/// An upstream that asks once in every call, and answers with what was said.
fn asking(script: Script) -> Fake {
    let fake = script.start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        exchange.ask_and_answer(&id, ELICIT, &json!({"message": "?"})).await
    });
    fake
}

fn script(name: &'static str) -> Script {
    let mut script = Script::new(Dialect::Events).keeps_sessions().has_stream().everything(name);
    script.tools = vec![tool("echo"), tool("other")];
    script
}

/// Two upstreams that ask, and two keys.
async fn asked_by_two(change: impl FnOnce(&mut Settings)) -> ([Fake; 2], Running) {
    let fakes = ["db", "web"].map(|name| asking(script(name)));
    let [db, web] = &fakes;
    let setup = Setup::new().alias("db", db).alias("web", web);
    let gateway = setup.master("master").key("other", None, None).session(change).ready().await;
    (fakes, gateway)
}

/// The client whose call is to be safe from all others.
fn ann(gateway: &Running) -> Modern<'_> {
    Modern::asking(gateway, "/mcp").key("master").name("ann")
}

fn refused(answer: &Value, reason: &str) {
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    assert_eq!(answer["error"]["data"]["reason"], reason, "{answer}");
    assert!(answer["error"]["data"]["hint"].is_string(), "{answer}");
}

/// The call still waits, and ends as it should.
async fn still_waits(gateway: &Running, client: &Modern<'_>, asked: &Asked) {
    assert_eq!(gateway.parked(), 1);
    let answer = client.again("db-echo", &asked.state, &asked.all(&json!({"right": 1}))).await;
    assert_eq!(answer["result"]["answer"]["result"], json!({"right": 1}), "{answer}");
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
}

#[tokio::test]
async fn a_state_that_was_changed_is_nobodys() {
    let ([db, _], gateway) = asked_by_two(|_| ()).await;
    let client = ann(&gateway);
    let asked = client.call_asked("db-echo").await;
    let state = asked.state.clone();
    let mut forged = vec![
        String::new(),
        "x".into(),
        "a.b.c".into(),
        format!("{state}A"),
        format!(" {state}"),
        state.repeat(2),
    ];
    for at in 0..state.len() {
        forged.push(state[..at].to_owned());
        let mut bytes = state.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ASCII");
        forged.push(changed);
    }
    forged.push("\u{0}\u{fffd}\u{1f980}".repeat(1000));
    let client = &client;
    let responses = asked.all(&json!({"stolen": 1}));
    let responses = &responses;
    stream::iter(forged)
        .for_each_concurrent(16, |forged| async move {
            let answer = client.again("db-echo", &forged, responses).await;
            refused(&answer, "request_state");
        })
        .await;
    assert!(db.seen_of("answer").is_empty());
    still_waits(&gateway, client, &asked).await;
}

#[tokio::test]
async fn a_state_is_for_one_request_of_one_key_at_one_endpoint() {
    let ([db, web], gateway) = asked_by_two(|_| ()).await;
    let client = ann(&gateway);
    let asked = client.call_asked("db-echo").await;
    let responses = asked.all(&json!({"stolen": 1}));
    let (state, elsewhere) = (&asked.state, "request_state");
    for name in ["db-other", "web-echo", "web-other"] {
        refused(&client.again(name, state, &responses).await, elsewhere);
    }
    for path in ["/mcp/db", "/mcp/web", "/mcp/db,web"] {
        let name = if path == "/mcp/db,web" { "db-echo" } else { "echo" };
        refused(&client.clone().at(path).again(name, state, &responses).await, elsewhere);
    }
    let narrowed = client.clone().header("x-mcp-servers", "db");
    refused(&narrowed.again("db-echo", state, &responses).await, elsewhere);
    let stranger = Modern::asking(&gateway, "/mcp").key("other").name("ann");
    refused(&stranger.again("db-echo", state, &responses).await, elsewhere);
    for arguments in [json!({"a": 1}), json!(null), json!([])] {
        let params = json!({"name": "db-echo", "arguments": arguments, "requestState": state, "inputResponses": responses});
        refused(&client.ask("tools/call", &params).await, elsewhere);
    }
    let params = json!({"name": "db-echo", "requestState": state, "inputResponses": responses});
    refused(&client.ask("prompts/get", &params).await, elsewhere);
    // What is never answered with a question has no such members, and they say nothing.
    assert!(client.ask("tools/list", &params).await["result"]["tools"].is_array());
    assert!(db.seen_of("answer").is_empty() && web.seen_of("tools/call").is_empty());
    still_waits(&gateway, &client, &asked).await;
}

#[tokio::test]
async fn a_state_that_was_swapped_harms_neither_call() {
    let ([db, _], gateway) = asked_by_two(|_| ()).await;
    let client = ann(&gateway);
    let first = client.call_asked("db-echo").await;
    let second = client.call_asked("db-other").await;
    for (name, asked) in [("db-echo", &second), ("db-other", &first)] {
        refused(&client.again(name, &asked.state, &asked.all(&json!({"x": 1}))).await, "request_state");
    }
    assert_eq!((gateway.parked(), db.seen_of("answer").len()), (2, 0));
    for (name, asked) in [("db-echo", &first), ("db-other", &second)] {
        let answer = client.again(name, &asked.state, &asked.all(&json!({"for": name}))).await;
        assert_eq!(answer["result"]["answer"]["result"]["for"], name, "{answer}");
    }
    gateway.until_quiet().await;
}

#[tokio::test]
async fn many_replays_at_once_answer_once() {
    let ([db, _], gateway) = asked_by_two(|_| ()).await;
    let client = ann(&gateway);
    let asked = client.call_asked("db-echo").await;
    let answers = join_all((0..20).map(|number| {
        let (client, asked) = (&client, &asked);
        async move { client.again("db-echo", &asked.state, &asked.all(&json!({"n": number}))).await }
    }))
    .await;
    let (good, bad): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer["result"].is_object());
    assert_eq!((good.len(), bad.len()), (1, 19));
    for answer in bad {
        refused(answer, "request_state_used");
    }
    assert_eq!(db.seen_of("answer").len(), 1);
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
}

#[tokio::test]
async fn a_state_of_another_gateway_means_nothing_here() {
    let (_fakes, gateway) = asked_by_two(|_| ()).await;
    let (_others, other) = asked_by_two(|_| ()).await;
    let asked = ann(&other).call_asked("db-echo").await;
    refused(&ann(&gateway).again("db-echo", &asked.state, &asked.all(&json!({}))).await, "request_state");
    still_waits(&other, &ann(&other), &asked).await;
}

#[tokio::test]
async fn who_never_comes_back_is_told_to_the_upstream_and_nothing_is_kept() {
    let ([db, _], gateway) = asked_by_two(|session| {
        session.park_for = Duration::from_mins(1);
        session.idle = Duration::from_mins(10);
    })
    .await;
    let client = ann(&gateway);
    let asked = client.call_asked("db-echo").await;
    let call = db.wait_for("tools/call", 1).await;
    skip(Duration::from_secs(59)).await;
    assert_eq!(gateway.parked(), 1);
    skip(Duration::from_secs(30)).await;
    let cancelled = db.wait_for("notifications/cancelled", 1).await.json();
    assert_eq!(cancelled["params"]["requestId"].to_string(), call.id());
    let answer = db.wait_for("answer", 1).await.json();
    assert_eq!((answer["id"].to_string(), answer["error"].is_object()), (call.id(), true), "{answer}");
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
    let answer = client.again("db-echo", &asked.state, &asked.all(&json!({}))).await;
    assert_eq!(answer["error"]["code"], -32602, "{answer}");
    // And of the client itself, when it was gone for long enough.
    assert_eq!(gateway.clients().len(), 1);
    skip(Duration::from_mins(11)).await;
    gateway.until_nothing_is_left().await;
    assert_eq!(gateway.upstream("db").sessions(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_call_goes_on_again_takes_it_back() {
    let ([db, _], gateway) = asked_by_two(|_| ()).await;
    db.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        talk.ask("1", ELICIT, &json!({"message": "?"})).await;
        std::future::pending().await
    });
    let client = ann(&gateway);
    let asked = client.call_asked("db-echo").await;
    let params = json!({"name": "db-echo", "arguments": {}, "requestState": asked.state, "inputResponses": asked.all(&json!({}))});
    let again = tokio::spawn(client.to_post(&client.body(&json!(2), "tools/call", &params)).send());
    db.wait_for("answer", 1).await;
    again.abort();
    db.wait_for("notifications/cancelled", 1).await;
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
}

#[tokio::test]
async fn calls_that_wait_are_bounded_for_all_and_for_each_key() {
    let ([db, _], gateway) = asked_by_two(|session| {
        session.max_parked = 5;
        session.max_parked_per_key = 3;
    })
    .await;
    let other = Modern::asking(&gateway, "/mcp").key("other");
    let mut waiting = Vec::new();
    for (client, room) in [(ann(&gateway), 3), (other, 2)] {
        for number in 0..5 {
            let reply =
                client.send(&json!(number), "tools/call", &json!({"name": "db-echo", "arguments": {}})).await;
            let answer = reply.answer_json();
            if number < room {
                waiting.push((client.clone(), Asked::of(&answer)));
                continue;
            }
            assert_eq!(answer["error"]["data"]["reason"], "too_many_questions", "{answer}");
            assert_eq!(answer["error"]["data"]["retryable"], true);
        }
    }
    assert_eq!(gateway.parked(), 5);
    // The upstream knows that nobody waits for the others.
    db.wait_for("notifications/cancelled", 5).await;
    eventually("the refused calls to end", || gateway.calls() == 5).await;
    for (client, asked) in waiting {
        let answer = client.again("db-echo", &asked.state, &asked.all(&json!({"ok": 1}))).await;
        assert_eq!(answer["result"]["answer"]["result"]["ok"], 1, "{answer}");
    }
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
}

#[tokio::test]
async fn questions_that_are_too_large_together_are_refused() {
    let (_fakes, gateway) = asked_by_two(|session| session.parked_bytes = 1500).await;
    let client = ann(&gateway);
    let first = client.call_asked("db-echo").await;
    let mut refusals = 0;
    for _ in 0..6 {
        refusals += usize::from(client.call("web-echo").await["error"].is_object());
    }
    assert!(refusals >= 3, "{refusals}");
    let answer = client.again("db-echo", &first.state, &first.all(&json!({"ok": 1}))).await;
    assert_eq!(answer["result"]["answer"]["result"]["ok"], 1, "{answer}");
}

/// Up to ten thousand calls that all ask, from clients that never come back.
#[rstest]
#[case::of_one_client(1, 500)]
#[case::of_many_clients(50, 10_000)]
#[tokio::test]
async fn thousands_of_calls_that_would_wait(#[case] clients: usize, #[case] calls: usize) {
    let settings = Settings { park_for: Duration::from_mins(1), ..Settings::default() };
    let (most, in_all) = (settings.max_parked_per_key, settings.max_parked);
    let fake = asking_any();
    let gateway = Setup::new().alias("db", &fake).session(|session| *session = settings).ready().await;
    let clients: Vec<_> =
        (0..clients).map(|number| Modern::asking(&gateway, "/mcp").name(&format!("c{number}"))).collect();
    let outcomes: Vec<_> = stream::iter(0..calls)
        .map(|number| {
            let client = &clients[number % clients.len()];
            let what = format!("an answer to call {number}");
            async move { within(&what, client.call("db-echo")).await }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    let (asked, refused): (Vec<_>, Vec<_>) =
        outcomes.iter().partition(|answer| answer["result"]["resultType"] == "input_required");
    assert!(asked.len() <= most && most <= in_all && !asked.is_empty(), "{}", asked.len());
    for answer in &refused {
        // Here, or by the upstream, whose session has room for some.
        let error = answer.get("error").unwrap_or(&answer["result"]["refused"]["error"]);
        assert_eq!(error["data"]["reason"], "too_many_questions", "{answer}");
    }
    assert_eq!(gateway.parked(), asked.len());
    assert_eq!(gateway.clients().len(), clients.len());
    eventually("the refused calls to end", || gateway.calls() == asked.len()).await;
    skip(Duration::from_mins(2)).await;
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
    fake.behave();
    assert!(clients[0].call("db-echo").await["result"].is_object());
}

/// An upstream that asks in every call, and ends it with what it is told, if anybody tells it anything.
fn asking_any() -> Fake {
    let fake = Script::new(Dialect::Events).keeps_sessions().everything("db").start();
    let open: Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>> = Arc::default();
    let asked = open.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let (asked, (sender, answer)) = (asked.clone(), oneshot::channel());
        async move {
            let id = exchange.seen.id();
            asked.lock().expect("no panic with the lock held").insert(id.clone(), sender);
            let mut talk = exchange.talk().await;
            talk.put(&id, ELICIT, &json!({"message": "?"})).await;
            let answer = tokio::select! {
                answer = answer => answer.expect("somebody answers"),
                () = talk.until_over() => return None,
            };
            talk.result(&json!({"content": [], "refused": answer}).to_string()).await
        }
    });
    fake.on("answer", move |exchange: Exchange| {
        let asked = open.lock().expect("no panic with the lock held").remove(&exchange.seen.id());
        async move {
            // The call may be over.
            let _ = asked.map(|asked| asked.send(exchange.seen.json()));
            exchange.respond(202, &[], b"").await
        }
    });
    fake
}

#[tokio::test]
async fn a_gateway_that_stops_lets_go_of_what_waits() {
    let ([db, web], gateway) = asked_by_two(|_| ()).await;
    let client = ann(&gateway);
    client.call_asked("db-echo").await;
    client.call_asked("web-echo").await;
    assert_eq!(gateway.parked(), 2);
    gateway.close().await;
    for fake in [db, web] {
        // The session's end is the end of its calls.
        eventually("the upstream to be told", || {
            fake.sessions().is_empty() || !fake.seen_of("notifications/cancelled").is_empty()
        })
        .await;
    }
}
