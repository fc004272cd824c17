//! Clients of the handshake era with upstreams of the stateless one: what these need to know is asked on the call's own
//! stream, and what older clients cannot read does not reach them.

use crate::kit::{
    clock::{eventually, skip},
    events::Events,
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::Modern,
    peer::{OFFERS, Peer, Transport},
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script, tool},
};
use rstest::rstest;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::sleep};

const PREFIX: &str = "io.modelcontextprotocol";
const ELICIT: &str = "elicitation/create";
const SAMPLING: &str = "sampling/createMessage";
/// A state with everything that can be written in two ways.
const STATE: &str = r#""s\u0041\/\"\\\u00e9é\ud83e\udd80 \u0000""#;

async fn newest() -> (Fake, Running) {
    let fake = Script::new(Dialect::Events).newest("db").start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

/// Asks this in the first round, and answers in the second with what it was told.
fn ask_once(fake: &Fake, requests: Value, state: Option<&'static str>) {
    for method in ["tools/call", "prompts/get", "resources/read"] {
        let requests = requests.clone();
        fake.on(method, move |exchange: Exchange| {
            let requests = requests.clone();
            async move {
                let params = exchange.seen.json()["params"].clone();
                if params.get("inputResponses").is_none() && params.get("requestState").is_none() {
                    return exchange.require(&requests, state).await;
                }
                let told = params.get("inputResponses").cloned().unwrap_or_default();
                let result = json!({"resultType": "complete", "content": [], "told": told});
                exchange.result(&result.to_string()).await
            }
        });
    }
}

#[rstest]
#[tokio::test]
async fn what_it_needs_is_asked_on_the_calls_stream_and_brought_back(
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
    #[values("tools/call", "prompts/get", "resources/read")] method: &str,
    #[values(Some(STATE), None)] state: Option<&'static str>,
) {
    let (fake, gateway) = newest().await;
    let requests = json!({
        "a b": {"method": ELICIT, "params": {"message": "?", "requestedSchema": {"type": "object", "properties": {}}}},
        "\u{e9}": {"method": SAMPLING, "params": {"messages": [], "maxTokens": 1}},
        "r": {"method": "roots/list"},
    });
    ask_once(&fake, requests, state);
    let mut peer = Peer::open(&gateway, transport, "/mcp/db", "ann").await;
    let params = match method {
        "tools/call" => {
            json!({"name": "echo", "arguments": {"n": 1.0}, "_meta": {"progressToken": "p", "x": 1}})
        }
        "prompts/get" => json!({"name": "plain"}),
        _ => json!({"uri": "x://one"}),
    };
    let answer = peer.ask(method, &params).await;
    let told = &answer["result"]["told"];
    assert_eq!(told.as_object().expect("answers").len(), 3, "{answer}");
    for key in ["a b", "\u{e9}", "r"] {
        assert_eq!(told[key]["by"], "ann", "{answer}");
    }
    assert!(answer["result"].get("resultType").is_none(), "{answer}");
    assert_eq!(peer.heard().len(), 3);
    let [first, second] = <[_; 2]>::try_from(fake.seen_of(method)).expect("two rounds");
    assert_ne!(first.id(), second.id());
    match state {
        Some(state) => {
            assert!(second.text().contains(&format!(r#""requestState":{state}"#)), "{}", second.text());
        }
        None => assert!(!second.text().contains("requestState"), "{}", second.text()),
    }
    let (mut before, mut after) = (first.json()["params"].clone(), second.json()["params"].clone());
    for params in [&mut before, &mut after] {
        let params = params.as_object_mut().expect("an object");
        for key in ["inputResponses", "requestState"] {
            params.shift_remove(key);
        }
        let meta = params["_meta"].as_object_mut().expect("metadata");
        assert_eq!(meta[&format!("{PREFIX}/clientInfo")]["name"], "ann");
        assert!(meta[&format!("{PREFIX}/clientCapabilities")]["sampling"].is_object());
        meta.shift_remove("progressToken");
    }
    assert_eq!(before, after);
    gateway.until_quiet().await;
}

#[tokio::test]
async fn round_after_round_with_ids_of_their_own() {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", |exchange: Exchange| async move {
        let one = json!({"q": {"method": SAMPLING, "params": {}}});
        match exchange.shared.count("tools/call") {
            1 => exchange.require(&one, Some(r#""one""#)).await,
            2 => exchange.require(&one, None).await,
            3 => exchange.result(r#"{"resultType":"input_required","requestState":"th\u0072ee"}"#).await,
            4 => exchange.require(&one, Some(r#""four""#)).await,
            _ => exchange.result(r#"{"resultType":"complete","content":[],"done":1}"#).await,
        }
    });
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert_eq!(peer.call("db-echo").await["result"]["done"], 1);
    let calls = fake.seen_of("tools/call");
    let ids: BTreeSet<_> = calls.iter().map(crate::kit::exchange::Seen::id).collect();
    assert_eq!((calls.len(), ids.len(), peer.heard().len()), (5, 5, 3));
    let said = |number: usize| {
        let params = calls[number].json()["params"].clone();
        (params.get("requestState").cloned(), params.get("inputResponses").is_some())
    };
    assert_eq!(said(1), (Some(json!("one")), true));
    assert_eq!(said(2), (None, true), "no state was given");
    assert_eq!(said(3), (Some(json!("three")), false), "nothing was asked");
    assert!(calls[3].text().contains(r#""requestState":"th\u0072ee""#));
    assert_eq!(said(4), (Some(json!("four")), true));
}

#[rstest]
#[case::with_questions(
    r#"{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list"}},"requestState":"s"}"#
)]
#[case::without(r#"{"resultType":"input_required","requestState":"s"}"#)]
#[tokio::test]
async fn an_upstream_that_never_has_enough_is_left(#[case] result: &'static str) {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", move |exchange: Exchange| async move { exchange.result(result).await });
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let hurry = async {
        loop {
            skip(Duration::from_millis(700)).await;
            sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::select! {
        answer = peer.call("db-echo") => answer,
        () = hurry => unreachable!("it never ends"),
    };
    assert_eq!(answer["error"]["data"]["upstream"], "db", "{answer}");
    let count = fake.seen_of("tools/call").len();
    assert!((2..=33).contains(&count), "{count}");
    gateway.until_quiet().await;
}

#[rstest]
#[case::nothing(r#"{"resultType":"input_required"}"#)]
#[case::null(r#"{"resultType":"input_required","inputRequests":null,"requestState":null}"#)]
#[case::a_list(r#"{"resultType":"input_required","inputRequests":[]}"#)]
#[case::no_method(r#"{"resultType":"input_required","inputRequests":{"q":{}}}"#)]
#[case::state_no_text(r#"{"resultType":"input_required","requestState":{}}"#)]
#[case::another_type(r#"{"resultType":"surprise","content":[]}"#)]
#[tokio::test]
async fn what_is_no_result_is_an_error_of_the_upstream(#[case] result: &'static str) {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", move |exchange: Exchange| async move { exchange.result(result).await });
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["upstream"], "db", "{answer}");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
    fake.behave();
    assert!(peer.call("db-echo").await["result"].is_object());
}

#[rstest]
#[case("{}", SAMPLING)]
#[case("{}", "roots/list")]
#[case(r#"{"elicitation":{"url":{}}}"#, ELICIT)]
#[case(OFFERS, "x/unknown")]
#[tokio::test]
async fn what_a_client_cannot_be_asked_ends_the_call(#[case] offers: &str, #[case] method: &str) {
    let (fake, gateway) = newest().await;
    ask_once(
        &fake,
        json!({"ok": {"method": "roots/list"}, "q": {"method": method, "params": {"message": "?"}}}),
        None,
    );
    let mut peer = Peer::open_with(&gateway, Transport::Streamable, "/mcp", "ann", offers).await;
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "not_offered", "{answer}");
    assert!(peer.heard().is_empty(), "nothing is asked in vain");
    assert_eq!(fake.seen_of("tools/call").len(), 1);
}

#[tokio::test]
async fn an_address_is_opened_with_an_id_and_its_end_is_told() {
    let (fake, gateway) = newest().await;
    let address = json!({"mode": "url", "url": "https://a.example/x", "message": "go"});
    ask_once(&fake, json!({"q": {"method": ELICIT, "params": address}}), Some(STATE));
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    peer.answer(|_| Some(r#""result":{"action":"accept"}"#.into()));
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["result"]["told"], json!({"q": {"action": "accept"}}), "{answer}");
    let heard = peer.heard();
    let id = heard[0]["params"]["elicitationId"].as_str().expect("an id").to_owned();
    assert!(!id.is_empty());
    assert_eq!(heard[0]["params"]["url"], "https://a.example/x");
    assert_eq!(
        heard[1],
        json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"elicitationId": id}})
    );
    // Who cannot show addresses is told in words.
    let mut old = Peer::open_with(&gateway, Transport::Sse, "/mcp", "bob", "{}").await;
    let answer = old.call("db-echo").await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(answer.to_string().contains("https://a.example/x"));
}

#[tokio::test]
async fn an_id_that_an_upstream_gave_all_the_same_is_the_one_that_ends() {
    let (fake, gateway) = newest().await;
    let address = json!({"mode": "url", "url": "https://a.example", "message": "go", "elicitationId": "own"});
    ask_once(&fake, json!({"q": {"method": ELICIT, "params": address}}), None);
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    peer.call("db-echo").await;
    let heard = peer.heard();
    assert_eq!(heard.len(), 2, "{heard:?}");
    assert_eq!(heard[0]["params"]["elicitationId"], heard[1]["params"]["elicitationId"]);
}

#[tokio::test]
async fn a_client_that_answers_with_errors() {
    let (fake, gateway) = newest().await;
    ask_once(&fake, json!({"q": {"method": ELICIT, "params": {"message": "?"}}}), None);
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    peer.answer(|_| Some(r#""error":{"code":-32603,"message":"no"}"#.into()));
    assert_eq!(peer.call("db-echo").await["result"]["told"], json!({"q": {"action": "cancel"}}));
    ask_once(&fake, json!({"q": {"method": SAMPLING, "params": {}}}), None);
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "client_refused", "{answer}");
    assert_eq!(fake.seen_of("tools/call").len(), 3);
    gateway.until_quiet().await;
}

async fn message(events: &mut Events) -> Value {
    serde_json::from_str(&events.message().await).expect("JSON")
}

#[tokio::test]
async fn a_client_that_takes_its_call_back_is_asked_no_more() {
    let (fake, gateway) = newest().await;
    ask_once(&fake, json!({"q": {"method": SAMPLING, "params": {}}}), Some(STATE));
    let session = Opening::new(&gateway, "/mcp").capabilities(OFFERS).open().await;
    let call = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#;
    let mut events = session.post_streaming(call).await;
    events.primed().await;
    let question = message(&mut events).await;
    assert_eq!(question["method"], SAMPLING);
    session.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
    while let Some(event) = events.next().await {
        let message: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!(message["params"]["requestId"], question["id"], "{message}");
    }
    gateway.until_quiet().await;
    let late = json!({"jsonrpc": "2.0", "id": question["id"], "result": {}});
    assert_eq!(session.post(late.to_string()).await.status, 202);
    session.works().await;
    assert_eq!(fake.seen_of("tools/call").len(), 1);
}

#[rstest]
#[case(
    r#"{"resultType":"complete","content":[ ],"structuredContent":[1],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"x"}},"x":1.0}"#,
    r#"{"content":[ ],"x":1.0}"#
)]
#[case(
    r#"{"content":[],"ttlMs":5,"cacheScope":"public","structuredContent":{"a":1e2},"_meta":{"a":"\u0062","io.modelcontextprotocol/serverInfo":{}},"resultType":"complete"}"#,
    r#"{"content":[],"structuredContent":{"a":1e2},"_meta":{"a":"\u0062"}}"#
)]
#[case(r#"{"resultType":"complete","content":[],"structuredContent":null}"#, r#"{"content":[]}"#)]
#[case(r#"{"content":[],"structuredContent":{}}"#, r#"{"content":[],"structuredContent":{}}"#)]
#[tokio::test]
async fn results_are_as_older_clients_know_them(#[case] result: &'static str, #[case] expected: &str) {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", move |exchange: Exchange| async move { exchange.result(result).await });
    let session = Session::open(&gateway, "/mcp/db").await;
    let answer = session.ask("tools/call", r#"{"name":"echo"}"#).await.answer();
    assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#));
    for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
        let page = session.ask(method, "{}").await.answer_json();
        for key in ["resultType", "ttlMs", "cacheScope"] {
            assert!(page["result"].get(key).is_none(), "{page}");
        }
    }
}

#[tokio::test]
async fn what_is_not_found_has_the_code_of_its_readers_era() {
    const GONE: &str = r#"{"code":-32602,"message":"Resource not found","data":{"uri":"x://one"}}"#;
    const GONE_BEFORE: &str = r#"{"code":-32002,"message":"Resource not found","data":{"uri":"x://one"}}"#;
    let (new, old) = (
        Script::new(Dialect::Json).newest("new").start(),
        Script::new(Dialect::Json).everything("old").start(),
    );
    new.on("resources/read", |exchange: Exchange| async move { exchange.refused(200, GONE).await });
    old.on("resources/read", |exchange: Exchange| async move { exchange.refused(200, GONE_BEFORE).await });
    let gateway = Setup::new().alias("new", &new).alias("old", &old).ready().await;
    for alias in ["new", "old"] {
        let path = format!("/mcp/{alias}");
        let session = Session::open(&gateway, &path).await;
        let answer = session.ask("resources/read", r#"{"uri":"x://one"}"#).await.answer_json();
        assert_eq!(answer["error"]["code"], -32002, "{answer}");
        let reply =
            Modern::new(&gateway, &path).send(&json!(1), "resources/read", &json!({"uri": "x://one"})).await;
        assert_eq!(
            (reply.status, &reply.answer_json()["error"]["code"]),
            (200, &json!(-32602)),
            "{}",
            reply.text()
        );
        assert_eq!(reply.answer_json()["error"]["data"]["uri"], "x://one");
    }
    // Nobody's at all.
    let reply =
        Modern::new(&gateway, "/mcp").send(&json!(1), "resources/read", &json!({"uri": "q://none"})).await;
    assert_eq!(reply.answer_json()["error"]["code"], -32602, "{}", reply.text());
}

#[tokio::test]
async fn subscriptions_are_one_stream_that_is_replaced() {
    let (fake, gateway) = newest().await;
    let (ann, bob) = (Session::open(&gateway, "/mcp/db").await, Session::open(&gateway, "/mcp/db").await);
    let watched = |fake: &Fake| {
        let all = fake.listened();
        all.iter().find_map(|filter| filter.get("resourceSubscriptions").cloned()).unwrap_or_default()
    };
    let subscribe = |method: &'static str, uri: &'static str| (method, json!({"uri": uri}).to_string());
    for (session, (method, params), expected) in [
        (&ann, subscribe("resources/subscribe", "x://one"), json!(["x://one"])),
        (&bob, subscribe("resources/subscribe", "x://one"), json!(["x://one"])),
        (&bob, subscribe("resources/subscribe", "x://two"), json!(["x://one", "x://two"])),
        (&ann, subscribe("resources/unsubscribe", "x://one"), json!(["x://one", "x://two"])),
        (&bob, subscribe("resources/unsubscribe", "x://one"), json!(["x://two"])),
    ] {
        let answer = session.ask(method, &params).await.answer_json();
        assert_eq!(answer["result"], json!({}), "{method} {params}");
        eventually(&format!("{method} {params}"), || watched(&fake) == expected).await;
        eventually("one stream for it", || fake.listened().len() <= 2).await;
    }
    let mut own = bob.listen().await;
    own.primed().await;
    fake.tell_listeners("notifications/resources/updated", &json!({"uri": "x://two"}));
    let heard = message(&mut own).await;
    assert_eq!(
        (&heard["method"], &heard["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("x://two"))
    );
    assert_eq!(bob.delete().await.status, 200);
    eventually("the last stream to end", || watched(&fake).is_null()).await;
    assert_eq!(gateway.subscribed("db"), 0);
    assert!(fake.seen_of("resources/subscribe").is_empty());
}

#[tokio::test]
async fn levels_and_progress_go_with_each_call() {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", |exchange: Exchange| async move {
        let level = exchange.seen.json()["params"]["_meta"][format!("{PREFIX}/logLevel")].clone();
        let has_token = exchange.seen.json()["params"]["_meta"].get("progressToken").is_some();
        let mut talk = exchange.talk().await;
        if has_token {
            talk.progress(1).await;
        }
        let params = json!({"level": "error", "logger": "l", "data": level});
        talk.say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}).to_string())
            .await;
        talk.result(r#"{"resultType":"complete","content":[]}"#).await
    });
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    peer.ask("tools/call", &json!({"name": "db-echo", "_meta": {"progressToken": "mine"}})).await;
    assert_eq!(peer.ask("logging/setLevel", &json!({"level": "debug"})).await["result"], json!({}));
    peer.call("db-echo").await;
    assert_eq!(peer.heard_of("notifications/progress").len(), 1);
    assert_eq!(peer.heard_of("notifications/progress")[0]["params"]["progressToken"], "mine");
    let levels: Vec<_> =
        peer.heard_of("notifications/message").iter().map(|log| log["params"]["data"].clone()).collect();
    assert_eq!(levels, [json!("info"), json!("debug")]);
    assert!(fake.seen_of("logging/setLevel").is_empty());
}

#[tokio::test]
async fn a_call_that_is_taken_back_closes_its_stream() {
    let (fake, gateway) = newest().await;
    let ended = Arc::new(Semaphore::new(0));
    let over = ended.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let over = over.clone();
        async move {
            let mut talk = exchange.talk().await;
            talk.until_over().await;
            over.add_permits(1);
            None
        }
    });
    let session = Session::open(&gateway, "/mcp").await;
    let call = r#"{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"db-echo"}}"#;
    let going = tokio::spawn(session.to_post().body(call).send());
    fake.wait_for("tools/call", 1).await;
    session.notify("notifications/cancelled", r#"{"requestId":"c"}"#).await;
    crate::kit::clock::within("the end of the stream", ended.acquire()).await.expect("open").forget();
    gateway.until_quiet().await;
    drop(going);
    assert!(fake.seen_of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn a_list_that_changed_is_read_and_told() {
    let (fake, gateway) = newest().await;
    let session = Session::open(&gateway, "/mcp").await;
    let mut own = session.listen().await;
    own.primed().await;
    eventually("the gateway to listen", || fake.listened().len() == 1).await;
    fake.set_tools(vec![tool("echo"), tool("more")]);
    fake.tell_listeners("notifications/tools/list_changed", &json!({}));
    assert_eq!(message(&mut own).await["method"], "notifications/tools/list_changed");
    assert_eq!(session.tools().await, ["db-echo", "db-more"]);
}

#[tokio::test]
async fn a_request_of_an_upstream_that_may_not_ask_is_not_passed_on() {
    let (fake, gateway) = newest().await;
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        talk.put("1", SAMPLING, &json!({})).await;
        talk.result(r#"{"resultType":"complete","content":[]}"#).await
    });
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    assert!(peer.call("db-echo").await["result"].is_object());
    assert!(peer.heard().is_empty());
    assert!(fake.seen_of("answer").is_empty());
}

#[tokio::test]
async fn clients_of_its_own_era_keep_its_state_sealed_for_them() {
    let fake = Script::new(Dialect::Events).newest("db").start();
    let gateway = Setup::new().alias("db", &fake).master("master").key("other", None, None).ready().await;
    ask_once(&fake, json!({"q": {"method": ELICIT, "params": {"message": "?", "x": 1.0}}}), Some(STATE));
    let client = Modern::asking(&gateway, "/mcp").key("master");
    let asked = client.call_asked("db-echo").await;
    assert_eq!(
        asked.questions(),
        [("q".into(), json!({"method": ELICIT, "params": {"message": "?", "x": 1.0}}))]
    );
    assert_eq!(gateway.parked(), 0);
    let responses = json!({"q": {"action": "accept", "n": 1.50}});
    // It is for this request of this client.
    let stranger = Modern::asking(&gateway, "/mcp").key("other");
    for answer in [
        stranger.again("db-echo", &asked.state, &responses).await,
        client.clone().at("/mcp/db").again("echo", &asked.state, &responses).await,
        client.again("db-echo", &asked.state[1..], &responses).await,
        client.again("db-echo", "s", &responses).await,
    ] {
        assert_eq!(answer["error"]["data"]["reason"], "request_state", "{answer}");
    }
    assert_eq!(fake.seen_of("tools/call").len(), 1, "nothing of it reaches the upstream");
    // The upstream says itself how often it takes it.
    for _ in 0..2 {
        let answer = client.again("db-echo", &asked.state, &responses).await;
        assert_eq!(answer["result"]["told"], responses, "{answer}");
        assert_eq!(answer["result"]["resultType"], "complete");
    }
    for call in &fake.seen_of("tools/call")[1..] {
        assert!(call.text().contains(&format!(r#""requestState":{STATE}"#)), "{}", call.text());
    }
    gateway.until_quiet().await;
}
