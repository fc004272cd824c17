//! Calls whose clients of the stateless era were asked something, and come back: with what was asked, and in the end with
//! the answer. Upstreams are of the handshake era, and their calls wait meanwhile.

use crate::kit::{
    clock::eventually,
    exchange::Exchange,
    gateway::{Running, Setup},
    modern::{Asked, Modern},
    upstream::{Dialect, Fake, Script},
};
use futures_util::future::join_all;
use rstest::rstest;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};
use tokio::sync::Semaphore;

const ELICIT: &str = "elicitation/create";
const SAMPLING: &str = "sampling/createMessage";

fn script(dialect: Dialect) -> Script {
    Script::new(dialect).keeps_sessions().has_stream().everything("db")
}

/// An upstream that asks these questions, one after the other, and answers with the answers.
async fn asking(dialect: Dialect, questions: &'static [(&'static str, &'static str)]) -> (Fake, Running) {
    let fake = script(dialect).start();
    for method in ["tools/call", "prompts/get", "resources/read"] {
        fake.on(method, move |exchange: Exchange| async move {
            let mut talk = exchange.talk().await;
            let mut answers = Vec::new();
            for (number, (method, params)) in questions.iter().enumerate() {
                let params = serde_json::from_str(params).expect("JSON");
                let answer = talk.ask(&number.to_string(), method, &params).await;
                answers.push(answer.get("result").or_else(|| answer.get("error")).cloned());
            }
            talk.result(&json!({"content": [], "answers": answers}).to_string()).await
        });
    }
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

/// Nothing is kept of any call.
async fn nothing_waits(gateway: &Running) {
    gateway.until_quiet().await;
    assert_eq!(gateway.parked(), 0);
}

#[rstest]
#[case::form(ELICIT, r#"{"message":"who?","requestedSchema":{"type":"object","properties":{"x":{"type":"string","odd":1.10}}}}"#)]
#[case::form_by_name(
    ELICIT,
    r#"{"mode":"form","message":"who?","requestedSchema":{"type":"object","properties":{}}}"#
)]
#[case::url(ELICIT, r#"{"mode":"url","elicitationId":"e-1","url":"https://example.com/a","message":"go"}"#)]
#[case::sampling(
    SAMPLING,
    r#"{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}],"maxTokens":10,"x":1e2}"#
)]
#[case::roots("roots/list", "{}")]
#[tokio::test]
async fn every_kind_of_question_is_asked_and_answered(
    #[case] method: &str,
    #[case] params: &str,
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values("tools/call", "prompts/get", "resources/read")] request: &str,
) {
    let fake = script(dialect).start();
    let (asked_method, asked_params) =
        (method.to_owned(), serde_json::from_str::<Value>(params).expect("JSON"));
    let question = asked_params.clone();
    fake.on(request, move |exchange: Exchange| {
        let (method, params) = (asked_method.clone(), asked_params.clone());
        async move { exchange.ask_and_answer("\"q\"", &method, &params).await }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp/db");
    let mut params = match request {
        "tools/call" => json!({"name": "echo", "arguments": {"a": [1, 2.50]}}),
        "prompts/get" => json!({"name": "plain"}),
        _ => json!({"uri": "x://one"}),
    };
    let reply = client.send(&json!("first"), request, &params).await;
    assert_eq!(reply.status, 200);
    let answer = reply.answer_json();
    assert_eq!(answer["id"], "first");
    let asked = Asked::of(&answer);
    let [(key, seen)] = <[_; 1]>::try_from(asked.questions()).expect("one question");
    let mut expected = question;
    expected.as_object_mut().expect("an object").shift_remove("elicitationId");
    assert_eq!(seen["method"], method);
    assert_eq!(seen.get("params").cloned().unwrap_or_else(|| json!({})), expected);
    assert_eq!((gateway.parked(), fake.seen_of(request).len()), (1, 1));
    params["inputResponses"] =
        json!({key: {"action": "accept", "content": {"x": 1.5}}, "extra": {}, "more": 7});
    params["requestState"] = json!(asked.state);
    let answer = client.send(&json!(1), request, &params).await.answer_json();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    let said = &answer["result"]["answer"];
    assert_eq!((&said["id"], &said["result"]["content"]["x"]), (&json!("q"), &json!(1.5)), "{answer}");
    assert_eq!(fake.seen_of(request).len(), 1, "it is the same call");
    assert!(!fake.wait_for(request, 1).await.text().contains("io.modelcontextprotocol"));
    nothing_waits(&gateway).await;
    assert!(fake.seen_of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn one_question_after_the_other() {
    let questions = &[
        (ELICIT, r#"{"message":"1"}"#),
        (SAMPLING, "{}"),
        ("roots/list", "{}"),
        (ELICIT, r#"{"message":"4"}"#),
    ];
    let (fake, gateway) = asking(Dialect::Events, questions).await;
    let client = Modern::asking(&gateway, "/mcp");
    let mut asked = client.call_asked("db-echo").await;
    let mut states = vec![asked.state.clone()];
    for (number, (method, _)) in questions.iter().enumerate() {
        assert_eq!(asked.questions()[0].1["method"], *method);
        assert_eq!(gateway.parked(), 1);
        let responses = asked.all(&json!({"n": number}));
        let answer = client.again("db-echo", &asked.state, &responses).await;
        assert_eq!(answer["id"], "again");
        if number + 1 < questions.len() {
            asked = Asked::of(&answer);
            assert!(!states.contains(&asked.state));
            states.push(asked.state.clone());
        } else {
            assert_eq!(answer["result"]["answers"], json!([{"n": 0}, {"n": 1}, {"n": 2}, {"n": 3}]));
        }
    }
    nothing_waits(&gateway).await;
    // Each was good once.
    for state in states {
        let answer = client.again("db-echo", &state, &json!({"question-1": {}})).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["reason"], "request_state_used", "{answer}");
    }
    assert_eq!((fake.seen_of("tools/call").len(), fake.seen_of("answer").len()), (1, 4));
}

/// An upstream that asks three things at once.
async fn asking_three() -> (Fake, Running) {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        for number in 0..3 {
            talk.put(&number.to_string(), ELICIT, &json!({"message": number})).await;
        }
        let session = talk.call.header("mcp-session-id").map(str::to_owned);
        let mut answers = Vec::new();
        for number in 0..3 {
            let answer = talk.shared.answer(session.as_deref(), &number.to_string(), 1).await.json();
            answers.push(answer["result"].clone());
        }
        talk.result(&json!({"content": [], "answers": answers}).to_string()).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

#[tokio::test]
async fn several_questions_at_once_and_some_of_them_answered() {
    let (fake, gateway) = asking_three().await;
    let client = Modern::asking(&gateway, "/mcp");
    let asked = client.call_asked("db-echo").await;
    let questions = asked.questions();
    assert_eq!(questions.len(), 3);
    let message = |key: &str| {
        let found = questions.iter().find(|(known, _)| known == key).expect("the same key");
        found.1["params"]["message"].clone()
    };
    let (second, _) = &questions[1];
    let answer = client.again("db-echo", &asked.state, &json!({second: {"for": message(second)}})).await;
    let rest = Asked::of(&answer);
    let left: Vec<_> = rest.questions().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left.len(), 2);
    assert!(!left.contains(second));
    fake.wait_for("answer", 1).await;
    let responses: Value = left.iter().map(|key| (key.clone(), json!({"for": message(key)}))).collect();
    let answer = client.again("db-echo", &rest.state, &responses).await;
    assert_eq!(answer["result"]["answers"], json!([{"for": 0}, {"for": 1}, {"for": 2}]), "{answer}");
    nothing_waits(&gateway).await;
}

#[rstest]
#[case::none(json!({}))]
#[case::of_another(json!({"question-9": {"action": "accept"}}))]
#[case::null(json!({"question-1": null}))]
#[case::a_text(json!({"question-1": "yes"}))]
#[case::a_list(json!({"question-1": [{}]}))]
#[tokio::test]
async fn what_is_no_answer_is_asked_for_again(#[case] responses: Value) {
    let (fake, gateway) = asking(Dialect::Events, &[(ELICIT, r#"{"message":"1"}"#)]).await;
    let client = Modern::asking(&gateway, "/mcp");
    let mut asked = client.call_asked("db-echo").await;
    assert_eq!(asked.key(), "question-1");
    for _ in 0..3 {
        let again = Asked::of(&client.again("db-echo", &asked.state, &responses).await);
        assert_eq!(again.questions(), asked.questions());
        assert_ne!(again.state, asked.state);
        asked = again;
    }
    assert!(fake.seen_of("answer").is_empty());
    let answer = client.again("db-echo", &asked.state, &asked.all(&json!({"ok": 1}))).await;
    assert_eq!(answer["result"]["answers"], json!([{"ok": 1}]), "{answer}");
    nothing_waits(&gateway).await;
}

#[tokio::test]
async fn a_retry_without_answers_is_asked_again() {
    let (_fake, gateway) = asking(Dialect::Events, &[(ELICIT, r#"{"message":"1"}"#)]).await;
    let client = Modern::asking(&gateway, "/mcp");
    let asked = client.call_asked("db-echo").await;
    let params = json!({"name": "db-echo", "arguments": {}, "requestState": asked.state});
    let again = Asked::of(&client.ask("tools/call", &params).await);
    assert_eq!(again.questions(), asked.questions());
    // What is not even of the right type does not end the call.
    for responses in [json!([]), json!("x"), json!(null)] {
        let answer = client.again("db-echo", &again.state, &responses).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    let answer = client.again("db-echo", &again.state, &again.all(&json!({"ok": 1}))).await;
    assert_eq!(answer["result"]["answers"], json!([{"ok": 1}]), "{answer}");
    nothing_waits(&gateway).await;
}

#[rstest]
#[case("{}", ELICIT, r#"{"message":"?"}"#, -32601)]
#[case("{}", SAMPLING, "{}", -32601)]
#[case("{}", "roots/list", "{}", -32601)]
#[case(r#"{"elicitation":{}}"#, ELICIT, r#"{"mode":"url","url":"u","elicitationId":"e"}"#, -32602)]
#[case(r#"{"elicitation":{"url":{}}}"#, ELICIT, r#"{"message":"?"}"#, -32602)]
#[tokio::test]
async fn what_a_client_cannot_be_asked_the_upstream_is_told_and_the_call_goes_on(
    #[case] offers: &str,
    #[case] method: &'static str,
    #[case] params: &'static str,
    #[case] code: i64,
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
) {
    let fake = script(dialect).start();
    fake.on("tools/call", move |exchange: Exchange| async move {
        exchange.ask_and_answer("7", method, &serde_json::from_str(params).expect("JSON")).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let answer = Modern::new(&gateway, "/mcp").offers(offers).call("db-echo").await;
    assert_eq!(answer["result"]["answer"]["error"]["code"], code, "{answer}");
    nothing_waits(&gateway).await;
}

#[tokio::test]
async fn progress_comes_with_the_token_of_the_request_that_waits() {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        talk.progress(1).await;
        talk.ask("1", ELICIT, &json!({"message": "?"})).await;
        talk.progress(2).await;
        talk.ask("2", ELICIT, &json!({"message": "?"})).await;
        talk.progress(3).await;
        talk.result(r#"{"content":[]}"#).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let mut params = json!({"name": "db-echo", "_meta": {"progressToken": "first"}});
    let tokens = |messages: &[String]| -> Vec<(Value, Value)> {
        let all = messages.iter().map(|text| serde_json::from_str::<Value>(text).expect("JSON"));
        let steps = all.filter(|message| message["method"] == "notifications/progress");
        steps
            .map(|step| (step["params"]["progressToken"].clone(), step["params"]["progress"].clone()))
            .collect()
    };
    let mut seen = Vec::new();
    for (number, token) in [json!("first"), json!(7), json!(null)].into_iter().enumerate() {
        if token.is_null() {
            params["_meta"].as_object_mut().expect("an object").shift_remove("progressToken");
        } else {
            params["_meta"]["progressToken"] = token;
        }
        let id = json!(format!("id-{number}"));
        let reply = client.send(&id, "tools/call", &params).await;
        let messages = reply.messages();
        seen.push(tokens(&messages));
        let answer = reply.answer_json();
        assert_eq!(answer["id"], id);
        if number < 2 {
            let asked = Asked::of(&answer);
            params["requestState"] = json!(asked.state);
            params["inputResponses"] = asked.all(&json!({"action": "accept"}));
        }
    }
    assert_eq!(
        seen,
        [vec![(json!("first"), json!(1))], vec![(json!(7), json!(2))], vec![]],
        "without a token there is no progress"
    );
    nothing_waits(&gateway).await;
}

#[tokio::test]
async fn what_an_upstream_takes_back_is_not_asked_any_more() {
    let (fake, gate) = (script(Dialect::Events).start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let mut talk = exchange.talk().await;
            talk.put("\"q\"", ELICIT, &json!({"message": "?"})).await;
            gate.acquire().await.expect("open").forget();
            let params = json!({"requestId": "q"});
            let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
            talk.say(&cancelled.to_string()).await;
            gate.acquire().await.expect("open").forget();
            talk.result(r#"{"content":[],"late":true}"#).await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let asked = client.call_asked("db-echo").await;
    gate.add_permits(1);
    let finish = async {
        fake.wait_for("tools/call", 1).await;
        gate.add_permits(1);
    };
    let nothing = json!({});
    let (answer, ()) = tokio::join!(client.again("db-echo", &asked.state, &nothing), finish);
    let answer = match answer["result"]["resultType"].as_str() {
        // It may have come back before the upstream's word did.
        Some("input_required") => client.again("db-echo", &Asked::of(&answer).state, &json!({})).await,
        _ => answer,
    };
    assert_eq!(answer["result"]["late"], true, "{answer}");
    assert!(fake.seen_of("answer").is_empty());
    nothing_waits(&gateway).await;
}

#[rstest]
#[tokio::test]
async fn an_upstream_that_breaks_off_meanwhile_ends_the_call(
    #[values(Dialect::Events, Dialect::Legacy)] dialect: Dialect,
) {
    let fake = script(dialect).start();
    let (asks, mut talks) = tokio::sync::mpsc::unbounded_channel();
    fake.on("tools/call", move |exchange: Exchange| {
        let asks = asks.clone();
        async move {
            let mut talk = exchange.talk().await;
            talk.put("1", ELICIT, &json!({"message": "?"})).await;
            asks.send(talk).expect("the test goes on");
            None
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let asked = client.call_asked("db-echo").await;
    talks.recv().await.expect("a call").cut();
    eventually("the call to end", || gateway.calls() == 0).await;
    let answer = client.again("db-echo", &asked.state, &asked.all(&json!({"action": "accept"}))).await;
    assert_eq!(answer["error"]["data"]["reason"], "upstream_closed", "{answer}");
    nothing_waits(&gateway).await;
    fake.behave();
    assert!(client.call("db-echo").await["result"].is_object());
}

#[tokio::test]
async fn an_upstream_that_answers_without_waiting_is_heard_when_the_client_comes_back() {
    let (fake, gate) = (script(Dialect::Events).start(), Arc::new(Semaphore::new(0)));
    let opened = gate.clone();
    fake.on("tools/call", move |exchange: Exchange| {
        let gate = opened.clone();
        async move {
            let mut talk = exchange.talk().await;
            talk.put("1", ELICIT, &json!({"message": "?"})).await;
            gate.acquire().await.expect("open").forget();
            talk.result(r#"{"content":[],"impatient":true}"#).await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let asked = client.call_asked("db-echo").await;
    gate.add_permits(1);
    eventually("the call to end", || gateway.calls() == 0).await;
    let answer = client.again("db-echo", &asked.state, &json!({})).await;
    assert_eq!(answer["result"]["impatient"], true, "{answer}");
    nothing_waits(&gateway).await;
}

#[tokio::test]
async fn an_upstream_that_never_stops_talking_still_gets_its_question_asked() {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let mut talk = exchange.talk().await;
        talk.put("1", ELICIT, &json!({"message": "?"})).await;
        let session = talk.call.header("mcp-session-id").map(str::to_owned);
        for step in 0.. {
            if talk.shared.answered(session.as_deref(), "1") > 0 {
                break;
            }
            talk.progress(step).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        talk.result(r#"{"content":[]}"#).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let mut params = json!({"name": "db-echo", "_meta": {"progressToken": 1}});
    let asked = Asked::of(&client.ask("tools/call", &params).await);
    params["requestState"] = json!(asked.state);
    params["inputResponses"] = asked.all(&json!({"action": "accept"}));
    let answer = client.ask("tools/call", &params).await;
    assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
    nothing_waits(&gateway).await;
}

#[tokio::test]
async fn addresses_of_an_error_are_asked_for_and_then_it_is_called_again() {
    const WANTED: &str = r#"{"code":-32042,"message":"go there","data":{"elicitations":[{"mode":"url","elicitationId":"e1","url":"https://a.example","message":"A"},{"mode":"url","elicitationId":"e2","url":"https://b.example","message":"B"}]}}"#;
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let count = exchange.shared.count("tools/call");
        if count > 2 {
            exchange.result(r#"{"content":[],"done":true}"#).await
        } else {
            exchange.talk().await.error(WANTED).await
        }
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let client = Modern::asking(&gateway, "/mcp");
    let mut asked = client.call_asked("db-echo").await;
    for round in 0..2 {
        let questions = asked.questions();
        assert_eq!(questions.len(), 2);
        assert_eq!(
            questions[0].1,
            json!({"method": ELICIT, "params": {"mode": "url", "url": "https://a.example", "message": "A"}})
        );
        assert_eq!(gateway.parked(), 0, "nothing waits for it");
        let answer = client.again("db-echo", &asked.state, &asked.all(&json!({"action": "accept"}))).await;
        if round == 0 {
            asked = Asked::of(&answer);
        } else {
            assert_eq!(answer["result"]["done"], true, "{answer}");
        }
    }
    let calls = fake.seen_of("tools/call");
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert!(
            !call.text().contains("inputResponses") && !call.text().contains("requestState"),
            "{}",
            call.text()
        );
    }
    // Who cannot open addresses is told them, with no code that this era does not have.
    fake.on("tools/call", |exchange: Exchange| async move { exchange.talk().await.error(WANTED).await });
    let answer = Modern::new(&gateway, "/mcp").call("db-echo").await;
    assert_ne!(answer["error"]["code"], -32042, "{answer}");
    assert!(answer.to_string().contains("https://a.example"), "{answer}");
}

#[tokio::test]
async fn questions_of_many_clients_at_once_do_not_mix() {
    let fake = script(Dialect::Events).start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let who = exchange.seen.json()["params"]["arguments"]["who"].clone();
        let mut talk = exchange.talk().await;
        // The same upstream id in each session.
        let id = who.as_str().and_then(|who| who.split('-').next_back()).expect("a number").to_owned();
        let answer = talk.ask(&id, SAMPLING, &json!({"who": who})).await;
        talk.result(&json!({"content": [], "said": answer["result"]["said"]}).to_string()).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let clients: Vec<_> =
        (0..8).map(|number| Modern::asking(&gateway, "/mcp").name(&format!("c{number}"))).collect();
    let talks = clients.iter().enumerate().flat_map(|(index, client)| {
        (0..4).map(move |number| async move {
            let who = format!("c{index}-{number}");
            let mut params = json!({"name": "db-echo", "arguments": {"who": who}});
            let asked = Asked::of(&client.ask("tools/call", &params).await);
            assert_eq!(asked.questions()[0].1["params"]["who"], who);
            params["requestState"] = json!(asked.state);
            params["inputResponses"] = asked.all(&json!({"said": who}));
            let answer = client.ask("tools/call", &params).await;
            assert_eq!(answer["result"]["said"], who, "{answer}");
        })
    });
    join_all(talks.collect::<Vec<_>>()).await;
    nothing_waits(&gateway).await;
}
