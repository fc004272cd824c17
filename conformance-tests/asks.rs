//! What upstreams ask: put to the client whose call caused it and to nobody else, under ids and tokens of our own.

use crate::kit::{
    clock::eventually,
    events::Events,
    exchange::{Exchange, Seen},
    gateway::{Running, Setup},
    peer::{OFFERS, Peer, Transport},
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{sync::Semaphore, task::yield_now};
use trunkline::upstream::settings::SessionMode;

const SAMPLING: &str = "sampling/createMessage";

/// A small generator of numbers (xorshift): what it gives is the same on every machine.
struct Dice(u64);

// === impl Dice ===

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn script(dialect: Dialect) -> Script {
    Script::new(dialect).keeps_sessions().has_stream().everything("db")
}

/// Asks who is meant by the call, in a random moment.
fn ask_who(fake: &Fake, seed: u64) {
    let dice = Arc::new(Mutex::new(Dice(seed)));
    fake.on("tools/call", move |exchange: Exchange| {
        let rolled = { dice.lock().expect("no panic with the lock held").roll(12) };
        async move {
            for _ in 0..rolled {
                yield_now().await;
            }
            let who = exchange.seen.json()["params"]["arguments"]["who"].clone();
            // Ids of an upstream mean something within one session only; here they are the same in all.
            let id = who.as_str().and_then(|who| who.split('-').next_back()).expect("a number").to_owned();
            let mut talk = exchange.talk().await;
            let answer = talk.ask(&id, SAMPLING, &json!({"who": who})).await;
            talk.result(&json!({"content": [], "answer": answer}).to_string()).await
        }
    });
}

#[rstest]
#[tokio::test]
async fn whoever_calls_is_asked_and_nobody_else(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(1, 2, 3, 4)] seed: u64,
) {
    const ROUNDS: u64 = 4;
    const AT_ONCE: u64 = 5;
    let (db, web) = (script(dialect).start(), script(dialect).start());
    ask_who(&db, seed);
    ask_who(&web, seed + 7);
    let gateway = Setup::new().alias("db", &db).alias("web", &web).ready().await;
    let mut peers = Vec::new();
    for name in ["ann", "bob"] {
        for (transport, kind) in [(Transport::Streamable, "http"), (Transport::Sse, "sse")] {
            let name = format!("{name}{kind}");
            peers.push((Peer::open(&gateway, transport, "/mcp", &name).await, name));
        }
    }
    let talks = peers.iter_mut().enumerate().map(|(index, (peer, name))| async move {
        let mut dice = Dice(seed * 1000 + u64::try_from(index).expect("few"));
        for round in 0..ROUNDS {
            let bodies: Vec<_> = (0..AT_ONCE)
                .map(|number| {
                    let tool = if dice.roll(2) == 0 { "db-echo" } else { "web-echo" };
                    let who = format!("{name}-{}", round * AT_ONCE + number);
                    let params = json!({"name": tool, "arguments": {"who": who}});
                    json!({"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params})
                        .to_string()
                })
                .collect();
            for (number, answer) in peer.ask_many(&bodies).await.into_iter().enumerate() {
                let who = format!("{name}-{}", round * AT_ONCE + u64::try_from(number).expect("few"));
                let expected = json!({"by": name, "asked": {"who": who}});
                assert_eq!(answer["result"]["answer"]["result"], expected, "{answer}");
            }
        }
    });
    join_all(talks).await;
    for (peer, name) in &peers {
        assert_eq!(peer.heard().len(), usize::try_from(ROUNDS * AT_ONCE).expect("few"));
        for heard in peer.heard() {
            let who = heard["params"]["who"].as_str().expect("a name");
            assert!(who.starts_with(&format!("{name}-")), "{name} was asked {who}");
        }
    }
    gateway.until_quiet().await;
}

/// Opens a call, and takes its first message, which is a question.
async fn asked(session: &Session<'_>, body: &str) -> (Events, Value) {
    let mut events = session.post_streaming(body.to_owned()).await;
    events.primed().await;
    let question = serde_json::from_str(&events.message().await).expect("JSON");
    (events, question)
}

fn call(id: u32, name: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{name}"}}}}"#)
}

async fn offering<'a>(gateway: &'a Running, offers: &str) -> Session<'a> {
    Opening::new(gateway, "/mcp").capabilities(offers).open().await
}

fn answer(question: &Value, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": question["id"], "result": {"text": text}}).to_string()
}

#[tokio::test]
async fn ids_of_upstreams_never_meet() {
    let ids = ["0", "\"a\"", "0", "-1.50", "\"\\u0061\""];
    let fakes: Vec<_> = ids.iter().map(|_| script(Dialect::Events).start()).collect();
    let mut setup = Setup::new();
    for (number, (fake, id)) in fakes.iter().zip(ids).enumerate() {
        fake.on("tools/call", move |exchange: Exchange| async move {
            exchange.ask_and_answer(id, SAMPLING, &json!({})).await
        });
        setup = setup.alias(&format!("u{number}"), fake);
    }
    let gateway = setup.ready().await;
    let session = offering(&gateway, OFFERS).await;
    let mut open = Vec::new();
    for number in 0..u32::try_from(ids.len()).expect("few") {
        open.push(asked(&session, &call(number, &format!("u{number}-echo"))).await);
    }
    let mut seen: Vec<_> = open.iter().map(|(_, question)| question["id"].to_string()).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), ids.len(), "{seen:?}");
    // Answered in another order, and each reaches who asked, under the id as it was written.
    for (number, (events, question)) in open.iter_mut().enumerate().rev() {
        assert_eq!(session.post(answer(question, &format!("for {number}"))).await.status, 202);
        let ended = events.message().await;
        assert!(ended.contains(&format!("for {number}")), "{ended}");
        assert_eq!(fakes[number].wait_for("answer", 1).await.id(), ids[number]);
    }
    gateway.until_quiet().await;
}

#[tokio::test]
async fn progress_of_a_client_reaches_who_asked_with_its_own_token() {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let params = json!({"_meta": {"x": 1, "progressToken": "theirs"}});
        exchange.ask_and_answer("7", SAMPLING, &params).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = offering(&gateway, OFFERS).await;
    let (mut events, question) = asked(&session, &call(1, "db-echo")).await;
    let token = &question["params"]["_meta"]["progressToken"];
    assert_ne!(token, "theirs");
    assert_eq!(question["params"]["_meta"]["x"], 1);
    session
        .notify("notifications/progress", &json!({"progressToken": token, "progress": 1, "y": 2}).to_string())
        .await;
    let step = fake.wait_for("notifications/progress", 1).await.json();
    assert_eq!(step["params"], json!({"progressToken": "theirs", "progress": 1, "y": 2}));
    // A token that nobody gave, and the right one of the wrong kind.
    for token in [json!(4711), json!(token.to_string()), json!("theirs")] {
        session
            .notify("notifications/progress", &json!({"progressToken": token, "progress": 2}).to_string())
            .await;
    }
    session.post(answer(&question, "done")).await;
    assert!(events.message().await.contains("done"));
    // After the end it is on nothing.
    session
        .notify("notifications/progress", &json!({"progressToken": token, "progress": 3}).to_string())
        .await;
    session.works().await;
    assert_eq!(fake.seen_of("notifications/progress").len(), 1);
}

#[rstest]
#[case("{}", SAMPLING, "{}", -32601)]
#[case("{}", "roots/list", "{}", -32601)]
#[case("{}", "elicitation/create", r#"{"message":"?"}"#, -32601)]
#[case("{}", "elicitation/create", r#"{"mode":"url"}"#, -32601)]
#[case(r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"url"}"#, -32602)]
#[case(r#"{"elicitation":{"url":{}}}"#, "elicitation/create", r#"{"mode":"form"}"#, -32602)]
#[case(r#"{"elicitation":{"url":{}}}"#, "elicitation/create", r#"{"message":"?"}"#, -32602)]
#[case(r#"{"elicitation":{"form":{}},"roots":{}}"#, SAMPLING, "{}", -32601)]
#[tokio::test]
async fn what_a_client_does_not_offer_it_is_not_asked(
    #[case] offers: &str,
    #[case] method: &'static str,
    #[case] params: &'static str,
    #[case] code: i64,
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let fake = script(dialect).start();
    fake.on("tools/call", move |exchange: Exchange| async move {
        exchange.ask_and_answer("7", method, &serde_json::from_str(params).expect("JSON")).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut peer = Peer::open_with(&gateway, transport, "/mcp", "ann", offers).await;
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["result"]["answer"]["error"]["code"], code, "{answer}");
    assert!(peer.heard().is_empty());
    gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn upstreams_are_told_of_each_client_and_keep_a_session_for_each(
    #[values(Dialect::Json, Dialect::Legacy)] dialect: Dialect,
) {
    const ODD: &str = r#"{"sampling":{},"experimental":{"a/b":[1.10]}}"#;
    let fake = script(dialect).start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let mut bob = Peer::open_with(&gateway, Transport::Sse, "/mcp/db", "bob", ODD).await;
    ann.call("db-echo").await;
    bob.call("echo").await;
    ann.call("db-echo").await;
    let hellos = fake.seen_of("initialize");
    assert_eq!(hellos.len(), 3, "the gateway's own, and one for each client");
    for (hello, name, offers, version) in
        [(&hellos[1], "ann", OFFERS, "2025-11-25"), (&hellos[2], "bob", ODD, "2024-11-05")]
    {
        assert_eq!(hello.json()["params"]["clientInfo"]["name"], name);
        assert_eq!(hello.json()["params"]["protocolVersion"], version);
        assert!(hello.text().contains(&format!(r#""capabilities":{offers}"#)), "{}", hello.text());
    }
    let calls = fake.seen_of("tools/call");
    let session = |index: usize| {
        let header = calls[index].header("mcp-session-id").map(str::to_owned);
        header.unwrap_or_else(|| calls[index].path.clone())
    };
    assert_eq!(session(0), session(2));
    assert_ne!(session(0), session(1));
}

#[rstest]
#[tokio::test]
async fn the_gateways_own_session_has_no_roots_and_no_model(
    #[values(Dialect::Json, Dialect::Legacy)] dialect: Dialect,
    #[values(SessionMode::Auto, SessionMode::Shared)] mode: SessionMode,
) {
    let fake = script(dialect).start();
    let gateway = Setup::new().alias_with("db", &fake, |settings| settings.session = mode).ready().await;
    eventually("the gateway to listen", || fake.open_streams() == 1).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    for (number, method) in ["roots/list", SAMPLING, "ping"].into_iter().enumerate() {
        fake.tell(&json!({"jsonrpc": "2.0", "id": number, "method": method}).to_string());
        fake.wait_for("answer", number + 1).await;
    }
    let answers: Vec<_> = fake.seen_of("answer").iter().map(Seen::json).collect();
    assert_eq!(answers[0]["result"], json!({"roots": []}));
    assert_eq!(answers[1]["error"]["code"], -32601);
    assert_eq!(answers[2]["result"], json!({}));
    ann.call("db-echo").await;
    assert!(ann.heard().is_empty());
}

#[rstest]
#[tokio::test]
async fn a_question_that_is_taken_back_is_taken_back_from_the_client(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let (fake, gate) = (script(dialect).start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let mut talk = exchange.talk().await;
            talk.put("\"q\"", SAMPLING, &json!({})).await;
            gate.acquire().await.expect("open").forget();
            let cancelled =
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}"#;
            talk.say(cancelled).await;
            gate.acquire().await.expect("open").forget();
            talk.result("{}").await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut peer = Peer::open(&gateway, transport, "/mcp", "ann").await;
    let (told, heard) = (gate.clone(), Arc::new(Mutex::new(Vec::new())));
    let kept = heard.clone();
    peer.answer(move |message| {
        kept.lock().expect("no panic with the lock held").push(message.clone());
        told.add_permits(1);
        None
    });
    peer.call("db-echo").await;
    let heard = heard.lock().expect("no panic with the lock held").clone();
    assert_eq!(
        (&heard[0]["method"], &heard[1]["method"]),
        (&json!(SAMPLING), &json!("notifications/cancelled"))
    );
    assert_eq!(heard[1]["params"]["requestId"], heard[0]["id"]);
    // What comes now answers nothing, and harms nobody.
    peer.post(&answer(&heard[0], "late")).await;
    gateway.until_quiet().await;
    assert!(fake.seen_of("answer").is_empty());
    fake.behave();
    assert!(peer.call("db-echo").await["result"].is_object());
}
