//! Streams to clients: primed, taken up again, bounded, one of each kind, and ended with their session.

use crate::kit::{
    client::send,
    clock::{eventually, skip, within},
    events::{Event, Events},
    exchange::Exchange,
    gateway::{Running, Setup},
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// An upstream whose calls make five steps of progress; each waits for a permit, and so does the answer.
async fn stepping() -> (Fake, Running, Arc<Semaphore>) {
    let (fake, gate) = (Script::new(Dialect::Events).start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let mut talk = exchange.talk().await;
            for step in 1..=STEPS {
                gate.acquire().await.expect("open").forget();
                talk.progress(step).await;
            }
            gate.acquire().await.expect("open").forget();
            talk.result(r#"{"content":[],"done":true}"#).await
        }
    });
    let gateway = Setup::new().alias("db", &fake).front(|front| front.stream_after = Duration::ZERO);
    (fake, gateway.ready().await, gate)
}

const STEPS: u32 = 5;
const CALL: &str = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo","_meta":{"progressToken":"p"}}}"#;

/// What a message is: the number of its step, or 0 for the answer.
fn step(event: &Event) -> u64 {
    let message: Value = serde_json::from_str(&event.data).expect("JSON");
    if message["result"]["done"] == true {
        assert_eq!(message["id"], "c");
        return 0;
    }
    message["params"]["progress"].as_u64().expect("a step")
}

async fn steps(events: &mut Events) -> Vec<u64> {
    let mut steps = Vec::new();
    while let Some(event) = events.next().await {
        steps.push(step(&event));
    }
    steps
}

#[rstest]
#[case("2025-11-25", true)]
#[case("2025-06-18", false)]
#[case("2025-03-26", false)]
#[tokio::test]
async fn streams_are_primed_where_the_revision_knows_it(#[case] version: &str, #[case] is_primed: bool) {
    let (_fake, gateway, gate) = stepping().await;
    gate.add_permits(100);
    let session = Opening::new(&gateway, "/mcp").version(version).open().await;
    let reply = session.post(CALL).await;
    assert_eq!(reply.header("x-accel-buffering"), Some("no"));
    assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
    let first = reply.text().split("\n\n").next().expect("an event");
    assert_eq!(first.starts_with("id: ") && first.ends_with("retry: 1000\ndata: "), is_primed, "{first}");
    assert_eq!(reply.messages().len(), 6);
    let response = session.to_get().send().await.expect("a stream");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    let mut own = Events::new(response);
    if is_primed {
        own.primed().await;
        assert_eq!(own.retry.as_deref(), Some("1000"));
    } else {
        own.comment().await;
    }
}

#[tokio::test]
async fn ids_of_events_are_unique_within_a_session() {
    let (_fake, gateway, gate) = stepping().await;
    gate.add_permits(1000);
    let session = Session::open(&gateway, "/mcp").await;
    let mut ids = BTreeSet::new();
    for _ in 0..3 {
        let text = session.post(CALL).await.text().to_owned();
        for line in text.lines().filter_map(|line| line.strip_prefix("id: ")) {
            assert!(ids.insert(line.to_owned()), "{line} twice");
        }
    }
    let mut own = session.listen().await;
    own.primed().await;
    assert!(ids.insert(own.last_id.expect("an id")));
    assert_eq!(ids.len(), 3 * 7 + 1);
}

#[tokio::test]
async fn a_call_whose_stream_is_cut_is_taken_up_where_it_stopped() {
    for cut_after in 0..=STEPS {
        let (fake, gateway, gate) = stepping().await;
        let session = Session::open(&gateway, "/mcp").await;
        let mut events = session.post_streaming(CALL).await;
        events.primed().await;
        gate.add_permits(usize::try_from(cut_after).expect("few"));
        for number in 1..=cut_after {
            assert_eq!(step(&events.next().await.expect("a step")), u64::from(number));
        }
        let last = events.last_id.clone().expect("an id");
        drop(events);
        // Disconnection is not cancellation: the call goes on.
        gate.add_permits(100);
        let mut rest = session.resume(&last).await;
        rest.primed().await;
        let mut expected: Vec<_> = (u64::from(cut_after) + 1..=u64::from(STEPS)).collect();
        expected.push(0);
        assert_eq!(steps(&mut rest).await, expected, "cut after {cut_after}");
        assert!(fake.seen_of("notifications/cancelled").is_empty());
        assert_eq!(fake.seen_of("tools/call").len(), 1);
        // A stream that is over can be read again, from any place.
        assert_eq!(steps(&mut session.resume(&last).await).await.len(), expected.len());
        // Whoever misses nothing is told so, or some would come back for ever.
        let end = rest.last_id.as_ref().expect("an id");
        assert_eq!(send(session.to_get().header("last-event-id", end)).await.status, 405);
        gateway.until_quiet().await;
        assert_eq!(session.delete().await.status, 200);
        gateway.until_nothing_is_left().await;
    }
}

#[tokio::test]
async fn what_is_over_is_forgotten_in_the_end() {
    let (_fake, gateway, gate) = stepping().await;
    gate.add_permits(100);
    let session = Session::open(&gateway, "/mcp").await;
    let mut events = session.post_streaming(CALL).await;
    events.primed().await;
    let first = events.last_id.clone().expect("an id");
    steps(&mut events).await;
    assert_eq!(gateway.clients()[0].replay.len(), 1);
    within("the stream to be forgotten", async {
        while !gateway.clients()[0].replay.is_empty() {
            skip(Duration::from_mins(3)).await;
        }
    })
    .await;
    assert_eq!(gateway.gateway.sessions().kept(), 0);
    let gone = send(session.to_get().header("last-event-id", &first)).await;
    assert_eq!((gone.status, &gone.json()["error"]["data"]["reason"]), (400, &json!("stream_gone")));
    session.works().await;
}

#[rstest]
#[case("99-1", "stream_gone")]
#[case("", "last_event_id")]
#[case("7", "last_event_id")]
#[case("1-1-1", "last_event_id")]
#[case("-1-0", "last_event_id")]
#[case("18446744073709551616-0", "last_event_id")]
#[case("ä", "last_event_id")]
#[case("upstream-1", "last_event_id")]
#[tokio::test]
async fn an_id_that_nobody_gave_is_refused(#[case] id: &str, #[case] reason: &str) {
    let (_fake, gateway, _gate) = stepping().await;
    let session = Session::open(&gateway, "/mcp").await;
    let value = reqwest::header::HeaderValue::from_bytes(id.as_bytes()).expect("a header");
    let refused = send(session.to_get().header("last-event-id", value)).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(refused.json()["error"]["data"]["reason"], reason);
    session.works().await;
}

#[tokio::test]
async fn the_streams_of_a_session_are_nobody_elses() {
    let (_fake, gateway, gate) = stepping().await;
    gate.add_permits(100);
    let (ann, bob) = (Session::open(&gateway, "/mcp").await, Session::open(&gateway, "/mcp").await);
    let mut events = ann.post_streaming(CALL).await;
    events.primed().await;
    let first = events.last_id.clone().expect("an id");
    steps(&mut events).await;
    let refused = send(bob.to_get().header("last-event-id", &first)).await;
    assert_eq!((refused.status, &refused.json()["error"]["data"]["reason"]), (400, &json!("stream_gone")));
}

#[tokio::test]
async fn what_can_be_read_again_is_bounded() {
    const BYTES: usize = 100_000;
    let fake = Fake::of(Dialect::Events);
    fake.on("tools/call", |exchange: Exchange| async move {
        let padding = "x".repeat(20_000);
        let mut talk = exchange.talk().await;
        for _ in 0..20 {
            let notice = json!({"jsonrpc": "2.0", "method": "notifications/x", "params": {"data": padding}});
            talk.say(&notice.to_string()).await;
        }
        talk.result(r#"{"content":[],"done":true}"#).await
    });
    let setup = Setup::new().alias("db", &fake).session(|session| session.replay = BYTES);
    let gateway = setup.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for _ in 0..20 {
        let mut events = session.post_streaming(CALL).await;
        events.primed().await;
        while events.next().await.is_some() {}
    }
    let kept = gateway.gateway.sessions().kept();
    assert!(kept <= 2 * BYTES, "{kept}");
    assert_eq!(session.delete().await.status, 200);
    gateway.until_nothing_is_left().await;
}

#[tokio::test]
async fn the_second_listener_takes_over_and_what_waited_is_told_once() {
    let (fake, gateway, _gate) = stepping().await;
    let session = Session::open(&gateway, "/mcp").await;
    // Nobody listens yet.
    fake.set_tools(Vec::new());
    skip(Duration::from_mins(11)).await;
    gateway.until_tools(0).await;
    let mut one = session.listen().await;
    one.primed().await;
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    assert_eq!(one.message().await, changed);
    let mut other = session.listen().await;
    other.primed().await;
    assert_eq!(one.next().await, None, "there is one stream");
    // Who was cut may have missed the last message, and says so.
    drop(other);
    let place = one.last_id.as_deref().expect("an id").rsplit_once('-').expect("two numbers").0.to_owned();
    let mut again = session.resume(&format!("{place}-0")).await;
    assert_eq!(again.message().await, changed);
    drop(again);
    assert_eq!(session.delete().await.status, 200);
    gateway.until_nothing_is_left().await;
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_streams() {
    let (_fake, gateway, gate) = stepping().await;
    let session = Session::open(&gateway, "/mcp").await;
    let (mut own, mut call) = (session.listen().await, session.post_streaming(CALL).await);
    own.primed().await;
    call.primed().await;
    assert_eq!(session.delete().await.status, 200);
    assert_eq!((own.next().await, call.next().await), (None, None));
    gate.add_permits(100);
    gateway.until_nothing_is_left().await;
    assert_eq!(send(session.to_get()).await.status, 404);
}

#[tokio::test]
async fn idle_sessions_are_cheap() {
    const SESSIONS: usize = 10_000;
    let (_fake, gateway, _gate) = stepping().await;
    for _ in 0..SESSIONS / 100 {
        let opening = Opening::new(&gateway, "/mcp");
        let opened = futures_util::future::join_all((0..100).map(|_| opening.try_open())).await;
        assert!(opened.iter().all(|reply| reply.status == 200));
    }
    assert_eq!((gateway.gateway.sessions().len(), gateway.gateway.sessions().kept()), (SESSIONS, 0));
    let session = Session::open(&gateway, "/mcp").await;
    within("a client among many", session.works()).await;
    skip(Duration::from_hours(25)).await;
    eventually("idle sessions to end", || gateway.gateway.sessions().is_empty()).await;
    gateway.until_nothing_is_left().await;
}
