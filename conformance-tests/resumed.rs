//! Streams of upstreams that end before the answer: taken up where they stopped, or else the outcome is unknown. And
//! batches whose upstreams ask.

use crate::kit::{
    exchange::{Exchange, Kept},
    gateway::{Running, Setup},
    peer::OFFERS,
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A piece of a stream: an event with an id, and a message unless it is primed.
fn event(id: &str, message: &str) -> String {
    format!("id: {id}\nretry: 1\ndata: {message}\n\n")
}

fn progress(token: &str, step: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{step}}}}}"#
    )
}

fn result(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[],"done":true}}}}"#)
}

async fn stream(exchange: Exchange, pieces: &[String]) -> Kept {
    let mut stream = exchange.stream().await;
    for piece in pieces {
        stream.raw(piece).await;
    }
    stream.end().await
}

/// A call with a progress token; the steps that came, and the answer.
async fn call(session: &Session<'_>) -> (Vec<u64>, Value) {
    let reply = session.ask("tools/call", r#"{"name":"db-echo","_meta":{"progressToken":"p"}}"#).await;
    let mut messages = reply.messages();
    let answer = messages.pop().expect("an answer");
    let read = |text: &String| serde_json::from_str::<Value>(text).expect("JSON");
    let steps =
        messages.iter().map(|step| read(step)["params"]["progress"].as_u64().expect("a step")).collect();
    (steps, read(&answer))
}

/// An upstream that ends the stream of a call after a priming event, and a gateway; `resume` answers what takes it up,
/// given the id of the call and the number of the attempt.
async fn ending<R>(
    script: Script,
    resume: impl Fn(Exchange, String, usize) -> R + Send + Sync + 'static,
) -> (Fake, Running)
where
    R: Future<Output = Kept> + Send + 'static,
{
    let fake = script.start();
    let (calls, attempts) = (Arc::new(std::sync::Mutex::new(String::new())), AtomicUsize::new(0));
    let kept = calls.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let id = exchange.seen.id();
        kept.lock().expect("no panic with the lock held").clone_from(&id);
        async move { stream(exchange, &[event("e0", ""), event("e1", &progress(&id, 1))]).await }
    });
    let resume = Arc::new(resume);
    fake.on("GET", move |exchange: Exchange| {
        let id = calls.lock().expect("no panic with the lock held").clone();
        let attempt = exchange.seen.header("last-event-id").map(|_| attempts.fetch_add(1, Ordering::SeqCst));
        let resume = resume.clone();
        async move {
            match attempt {
                Some(attempt) => resume(exchange, id, attempt).await,
                None => exchange.respond(405, &[], b"").await,
            }
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

/// A revision whose clients cannot come back to a stream, so that theirs stays open.
const UNPRIMED: &str = "2025-06-18";

#[tokio::test]
async fn a_client_that_can_come_back_is_hung_up_as_the_gateway_was() {
    let script = Script::new(Dialect::Events).keeps_sessions();
    let (_fake, gateway) = ending(script, |exchange, id, _| async move {
        stream(exchange, &[event("e2", &progress(&id, 2)), event("e3", &result(&id))]).await
    })
    .await;
    let session = Session::open(&gateway, "/mcp").await;
    let body = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":"p"}}}"#;
    let mut first = session.post_streaming(body).await;
    first.primed().await;
    let (mut steps, mut last) = (Vec::new(), first.last_id.clone().expect("an id"));
    while let Some(event) = first.next().await {
        last = event.id.clone().expect("an id");
        steps.push(serde_json::from_str::<Value>(&event.data).expect("JSON"));
    }
    assert!(steps.iter().all(|step| step["id"].is_null()), "no answer yet: {steps:?}");
    let mut second = session.resume(&last).await;
    while let Some(event) = second.next().await {
        steps.push(serde_json::from_str::<Value>(&event.data).expect("JSON"));
    }
    let answer = steps.pop().expect("an answer");
    assert_eq!((&answer["id"], &answer["result"]["done"]), (&json!("c"), &json!(true)));
    let progress: Vec<_> = steps.iter().map(|step| step["params"]["progress"].to_string()).collect();
    assert_eq!(progress, ["1", "2"]);
    gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn a_stream_that_ends_early_is_taken_up(#[values(false, true)] is_inclusive: bool) {
    let script = Script::new(Dialect::Events).keeps_sessions();
    let (fake, gateway) = ending(script, move |exchange, id, attempt| async move {
        // Three times there is a little more, and in the end the answer.
        let number = u32::try_from(attempt).expect("few") + 2;
        let mut pieces = vec![event(&format!("e{}", number - 1), &progress(&id, number - 1))];
        if !is_inclusive {
            pieces.clear();
        }
        pieces.push(event(&format!("e{number}"), &progress(&id, number)));
        if number == 4 {
            pieces.push(event("e5", &result(&id)));
        }
        stream(exchange, &pieces).await
    })
    .await;
    let session = Opening::new(&gateway, "/mcp").version(UNPRIMED).open().await;
    let (steps, answer) = call(&session).await;
    assert_eq!((steps, &answer["result"]["done"]), (vec![1, 2, 3, 4], &json!(true)));
    let resumed: Vec<_> = fake
        .seen_of("GET")
        .iter()
        .filter_map(|seen| seen.header("last-event-id").map(str::to_owned))
        .collect();
    assert_eq!(resumed, ["e1", "e2", "e3"]);
    let (call, last) = (fake.seen_of("tools/call"), fake.seen_of("GET").pop().expect("a GET"));
    assert_eq!((call.len(), call[0].header("mcp-session-id")), (1, last.header("mcp-session-id")));
    session.works().await;
    gateway.until_quiet().await;
}

#[rstest]
#[case::refused(404, "upstream_closed")]
#[case::not_there(405, "upstream_status")]
#[case::broken(500, "upstream_status")]
#[case::unauthorized(401, "upstream_closed")]
#[case::redirected(307, "upstream_closed")]
#[tokio::test]
async fn a_stream_that_cannot_be_taken_up_leaves_the_outcome_open(#[case] status: u16, #[case] reason: &str) {
    let script = Script::new(Dialect::Events).keeps_sessions();
    let (fake, gateway) = ending(script, move |exchange, _, _| async move {
        exchange.respond(status, &[("location", "/x")], b"no").await
    })
    .await;
    let session = Opening::new(&gateway, "/mcp").version(UNPRIMED).open().await;
    let (_, answer) = call(&session).await;
    assert_eq!(answer["error"]["data"]["reason"], reason, "{answer}");
    assert_eq!(answer["error"]["data"]["retryable"], false, "{answer}");
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("not known")), "{answer}");
    assert_eq!(fake.seen_of("tools/call").len(), 1, "what may have been executed is not sent again");
    session.works().await;
}

#[tokio::test]
async fn a_stream_that_says_nothing_new_is_given_up() {
    let (fake, gateway) =
        ending(Script::new(Dialect::Events).keeps_sessions(), |exchange, _, _| async move {
            stream(exchange, &[event("e1", "")]).await
        })
        .await;
    let session = Opening::new(&gateway, "/mcp").version(UNPRIMED).open().await;
    let (_, answer) = call(&session).await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_closed", "{answer}");
    let resumes = fake.seen_of("GET").iter().filter(|seen| seen.header("last-event-id").is_some()).count();
    assert!((1..=10).contains(&resumes), "{resumes}");
}

#[tokio::test]
async fn a_question_on_a_stream_that_was_taken_up_is_asked_once() {
    let script = Script::new(Dialect::Events).keeps_sessions();
    let question = r#"{"jsonrpc":"2.0","id":"q","method":"sampling/createMessage","params":{}}"#;
    let fake = script.start();
    let calls = Arc::new(std::sync::Mutex::new(String::new()));
    let kept = calls.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        kept.lock().expect("no panic with the lock held").clone_from(&exchange.seen.id());
        async move { stream(exchange, &[event("e0", ""), event("e1", question)]).await }
    });
    fake.on("GET", move |exchange: Exchange| {
        let id = calls.lock().expect("no panic with the lock held").clone();
        async move {
            if exchange.seen.header("last-event-id").is_none() {
                return exchange.respond(405, &[], b"").await;
            }
            let shared = exchange.shared.clone();
            let mut stream = exchange.stream().await;
            stream.raw(&event("e1", question)).await;
            shared.answer(None, "\"q\"", 1).await;
            stream.raw(&event("e2", &result(&id))).await;
            stream.end().await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Opening::new(&gateway, "/mcp").version(UNPRIMED).capabilities(OFFERS).open().await;
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}}"#;
    let mut events = session.post_streaming(body).await;
    let asked: Value = serde_json::from_str(&events.message().await).expect("JSON");
    let reply = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {}}).to_string();
    assert_eq!(session.post(reply).await.status, 202);
    assert!(events.message().await.contains("done"));
    assert_eq!((events.next().await, fake.seen_of("answer").len()), (None, 1));
    gateway.until_quiet().await;
}

/// Two calls and a ping at once.
const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"db-echo"}},
    {"jsonrpc":"2.0","id":2,"method":"ping"},{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"db-echo"}}]"#;

#[rstest]
#[tokio::test]
async fn a_batch_whose_upstream_asks(#[values(Dialect::Events, Dialect::Legacy)] dialect: Dialect) {
    let fake = Script::new(dialect).keeps_sessions().everything("db").start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = format!("\"{}\"", exchange.seen.id());
        exchange.ask_and_answer(&id, "sampling/createMessage", &json!({})).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Opening::new(&gateway, "/mcp").version("2025-03-26").capabilities(OFFERS).open().await;
    let mut events = session.post_streaming(BATCH).await;
    let (mut answered, mut asked) = (Vec::new(), 0);
    while let Some(event) = events.next().await {
        let message: Value = serde_json::from_str(&event.data).expect("JSON");
        if message.get("method").is_none() {
            assert!(message["result"].is_object(), "{message}");
            answered.push(message["id"].as_u64().expect("an id"));
            continue;
        }
        asked += 1;
        let reply = json!([{"jsonrpc": "2.0", "id": message["id"], "result": {"n": asked}}]).to_string();
        assert_eq!(session.post(reply).await.status, 202);
    }
    answered.sort_unstable();
    assert_eq!((answered, asked), (vec![1, 2, 3], 2));
    gateway.until_quiet().await;
    // Who offers nothing gets one array, and its upstream a refusal.
    let plain = Opening::new(&gateway, "/mcp").version("2025-03-26").open().await;
    let reply = plain.post(BATCH).await;
    let answers = reply.json();
    assert_eq!(answers.as_array().map(Vec::len), Some(3), "{answers}");
    assert!(answers.to_string().contains("-32601"), "{answers}");
}
