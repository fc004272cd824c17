//! Tasks that a client cannot wait for itself: the gateway does, inside the call. Those of the stateless era are polled,
//! those of 2025-11-25 have a request that waits.

use crate::kit::{
    clock::{skip, within},
    exchange::Exchange,
    gateway::{Running, Setup},
    peer::{OFFERS, Peer, Transport},
    session::Session,
    upstream::{Dialect, Fake, Script},
    visitor::Visitor,
};
use rstest::rstest;
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const ID: &str = "native-1";
/// Longer than any call may take.
const TOO_LONG: Duration = Duration::from_secs(601);

fn state(status: &str, more: &Value) -> Value {
    let mut state = json!({"resultType": "complete", "taskId": ID, "status": status, "ttlMs": null, "pollIntervalMs": 50});
    state.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    state
}

/// An upstream of the stateless era whose task goes through these states, one for each time that it is asked, and
/// stays in the last one.
async fn polled(states: Vec<Value>) -> (Fake, Running) {
    let capabilities = json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let fake = Fake::stateless("db", &capabilities, |_| ());
    fake.on("tools/call", |exchange: Exchange| async move {
        let capabilities =
            &exchange.seen.json()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert!(capabilities["extensions"]["io.modelcontextprotocol/tasks"].is_object(), "{capabilities}");
        let created = state("working", &json!({"resultType": "task"})).to_string();
        exchange.result(&created).await
    });
    let at = Arc::new(AtomicUsize::new(0));
    fake.on("tasks/get", move |exchange: Exchange| {
        assert_eq!(exchange.seen.task(), ID);
        let index = at.fetch_add(1, Ordering::SeqCst).min(states.len() - 1);
        let state = states[index].to_string();
        async move {
            if state == "null" {
                exchange.respond(502, &[], b"").await
            } else {
                exchange.result(&state).await
            }
        }
    });
    for method in ["tasks/update", "tasks/cancel"] {
        fake.on(
            method,
            |exchange: Exchange| async move { exchange.result(r#"{"resultType":"complete"}"#).await },
        );
    }
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

fn done() -> Value {
    state(
        "completed",
        &json!({"result": {"content": [{"type": "text", "text": "done"}], "structuredContent": [1]}}),
    )
}

#[rstest]
#[tokio::test]
async fn a_task_is_polled_to_its_end(#[values(Transport::Streamable, Transport::Sse)] transport: Transport) {
    let says = |message: &str| state("working", &json!({"statusMessage": message}));
    let (fake, gateway) = polled(vec![says("one"), says("one"), Value::Null, says("two"), done()]).await;
    let mut ann = Peer::open(&gateway, transport, "/mcp", "ann").await;
    let params = json!({"name": "db-echo", "arguments": {}, "_meta": {"progressToken": "t"}});
    let answer = ann.ask("tools/call", &params).await;
    // What is no object cannot be read by clients of this era.
    assert_eq!(answer["result"], json!({"content": [{"type": "text", "text": "done"}]}), "{answer}");
    let told: Vec<_> =
        ann.heard_of("notifications/progress").into_iter().map(|notice| notice["params"].clone()).collect();
    let step =
        |number: u32, message: &str| json!({"progressToken": "t", "progress": number, "message": message});
    assert_eq!(told, [step(1, "one"), step(2, "two")]);
    assert_eq!((fake.seen_of("tasks/get").len(), fake.seen_of("tasks/cancel").len()), (5, 0));
    gateway.until_quiet().await;
}

#[tokio::test]
async fn what_a_task_asks_is_asked_once_and_told_to_it() {
    let form = json!({"method": "elicitation/create", "params": {"mode": "form", "message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}}});
    let asks = state("input_required", &json!({"inputRequests": {"a": form, "b": form}}));
    let (fake, gateway) = polled(vec![asks.clone(), asks, done()]).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    ann.answer(|_| Some(r#""result":{"action":"accept","content":{}}"#.into()));
    let answer = ann.call("db-echo").await;
    assert_eq!(answer["result"]["content"][0]["text"], "done", "{answer}");
    assert_eq!(ann.heard_of("elicitation/create").len(), 2);
    let updated = fake.wait_for("tasks/update", 1).await;
    assert_eq!(updated.task(), ID);
    let accepted = json!({"action": "accept", "content": {}});
    assert_eq!(updated.json()["params"]["inputResponses"], json!({"a": accepted, "b": accepted}));
    assert_eq!(fake.seen_of("tasks/update").len(), 1, "what was answered is not asked again");
}

#[tokio::test]
async fn a_client_that_cannot_be_asked_ends_the_task() {
    let sampling = json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}});
    let (fake, gateway) =
        polled(vec![state("input_required", &json!({"inputRequests": {"a": sampling}}))]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["data"]["reason"], "not_offered", "{answer}");
    assert_eq!(fake.wait_for("tasks/cancel", 1).await.task(), ID);
}

#[rstest]
#[case::failed(state("failed", &json!({"error": {"code": -32050, "message": "broken", "data": 1.5}})), json!(-32050))]
#[case::cancelled(state("cancelled", &json!({})), json!(-32603))]
#[case::without_an_outcome(state("completed", &json!({})), json!(-32603))]
#[case::never_reached(Value::Null, json!(-32603))]
#[tokio::test]
async fn a_task_that_comes_to_nothing_says_so(#[case] last: Value, #[case] code: Value) {
    let (_fake, gateway) = polled(vec![state("working", &json!({})), last.clone()]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let answer = session.call("db-echo").await;
    assert_eq!(answer["error"]["code"], code, "{answer}");
    if let Some(error) = last.get("error") {
        assert_eq!(answer["error"], *error, "as the upstream says it");
    }
}

#[rstest]
#[tokio::test]
async fn who_gives_up_ends_the_task(#[values(true, false)] by_itself: bool) {
    let (fake, gateway) = polled(vec![state("working", &json!({}))]).await;
    let session = Session::open(&gateway, "/mcp").await;
    let call = session.ask("tools/call", r#"{"name":"db-echo","arguments":{}}"#);
    let give_up = async {
        fake.wait_for("tasks/get", 2).await;
        if by_itself {
            session.notify("notifications/cancelled", r#"{"requestId":1}"#).await;
        } else {
            skip(TOO_LONG).await;
        }
    };
    let (reply, ()) = tokio::join!(call, give_up);
    if !by_itself {
        assert_eq!(reply.answer_json()["error"]["data"]["reason"], "upstream_timeout", "{}", reply.text());
    }
    assert_eq!(fake.wait_for("tasks/cancel", 1).await.task(), ID);
    gateway.until_quiet().await;
}

/// An upstream of 2025-11-25 of whose tools one can be called with a task only.
async fn blocking(dialect: Dialect) -> (Fake, Running) {
    let mut script = Script::new(dialect).keeps_sessions().has_stream().everything("db");
    let support = |name: &str, support: &str| {
        json!({"name": name, "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}})
            .to_string()
    };
    script.tools = vec![support("slow", "required"), support("quick", "optional")];
    let fake = script.start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let params = exchange.seen.json()["params"].clone();
        let result = match params.get("task") {
            Some(_) => json!({"task": {"taskId": ID, "status": "working", "ttl": null, "createdAt": "", "lastUpdatedAt": ""}}),
            None => json!({"content": [{"type": "text", "text": "at once"}]}),
        };
        exchange.result(&result.to_string()).await
    });
    fake.on("tasks/result", |exchange: Exchange| async move {
        assert_eq!(exchange.seen.json()["params"]["taskId"], ID);
        exchange
            .result(r#"{"content":[{"type":"text","text":"later"}],"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"native-1"}}}"#)
            .await
    });
    fake.on("tasks/cancel", |exchange: Exchange| async move { exchange.result("{}").await });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    (fake, gateway)
}

const LATER: &str = r#"[{"type":"text","text":"later"}]"#;

#[rstest]
#[tokio::test]
async fn a_tool_that_needs_a_task_gets_one(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
) {
    let (fake, gateway) = blocking(dialect).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let answer = ann.call("db-slow").await;
    assert_eq!(
        answer["result"],
        json!({"content": serde_json::from_str::<Value>(LATER).expect("JSON")}),
        "{answer}"
    );
    let task = fake.wait_for("tools/call", 1).await.json()["params"]["task"].clone();
    assert_eq!(task, json!({"ttl": 3_600_000}), "some servers make no task without one");
    let visitor = Visitor::new(&gateway, "/mcp");
    // Whoever asks for a task in the words of the other era could not read it, and gets its result all the same.
    for task in [json!(null), json!({"ttl": 1})] {
        let mut params = json!({"name": "db-slow", "arguments": {}});
        if !task.is_null() {
            params["task"] = task;
        }
        let result = visitor.result("tools/call", &params).await;
        assert_eq!(
            (result["content"].to_string().as_str(), &result["resultType"]),
            (LATER, &json!("complete"))
        );
        assert_eq!(result["_meta"].get("io.modelcontextprotocol/related-task"), None);
    }
    assert_eq!(fake.wait_for("tools/call", 3).await.json()["params"]["task"], json!({"ttl": 3_600_000}));
    let listed = visitor.result("tools/list", &json!({})).await;
    assert!(!listed.to_string().contains("taskSupport"), "{listed}");
    gateway.until_quiet().await;
}

#[tokio::test]
async fn a_tool_that_needs_none_gets_none() {
    let (fake, gateway) = blocking(Dialect::Events).await;
    let visitor = Visitor::new(&gateway, "/mcp");
    let params = json!({"name": "db-quick", "arguments": {}, "task": {"ttl": 1}});
    let result = visitor.result("tools/call", &params).await;
    assert_eq!(result["content"][0]["text"], "at once", "{result}");
    assert_eq!(fake.wait_for("tools/call", 1).await.json()["params"].get("task"), None);
    assert!(fake.seen_of("tasks/result").is_empty());
}

#[rstest]
#[case::asks_for_it(OFFERS, json!({"name": "db-slow", "task": {"ttl": 7}}), Some(json!({"ttl": 7})))]
#[case::knows_tasks(r#"{"tasks":{}}"#, json!({"name": "db-slow"}), None)]
#[tokio::test]
async fn a_client_that_knows_tasks_does_it_itself(
    #[case] offers: &str,
    #[case] params: Value,
    #[case] task: Option<Value>,
) {
    let (fake, gateway) = blocking(Dialect::Events).await;
    let mut ann = Peer::open_with(&gateway, Transport::Streamable, "/mcp", "ann", offers).await;
    let answer = ann.ask("tools/call", &params).await;
    assert_eq!(answer["result"]["task"]["taskId"].as_str(), task.as_ref().map(|_| ID), "{answer}");
    assert_eq!(fake.wait_for("tools/call", 1).await.json()["params"].get("task"), task.as_ref());
    assert!(fake.seen_of("tasks/result").is_empty());
}

#[tokio::test]
async fn what_is_asked_while_a_task_is_waited_for_is_put_to_its_client() {
    let (fake, gateway) = blocking(Dialect::Events).await;
    let form = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    fake.on("tasks/result", move |exchange: Exchange| {
        let form = form.clone();
        async move { exchange.ask_and_answer("9", "elicitation/create", &form).await }
    });
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let answer = ann.call("db-slow").await;
    assert_eq!(answer["result"]["answer"]["result"]["by"], "ann", "{answer}");
    let visitor = Visitor::new(&gateway, "/mcp");
    let call = json!({"name": "db-slow", "arguments": {}});
    let asked = visitor.result("tools/call", &call).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let (key, _) = asked["inputRequests"].as_object().and_then(|all| all.iter().next()).expect("a question");
    let mut retry = call.clone();
    retry["inputResponses"] = json!({key: {"action": "accept", "content": {"by": "visitor"}}});
    retry["requestState"] = asked["requestState"].clone();
    let result = visitor.result("tools/call", &retry).await;
    assert_eq!(result["answer"]["result"]["content"]["by"], "visitor", "{result}");
    gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn who_gives_up_ends_the_task_of_the_other_era(#[values(true, false)] is_stateless: bool) {
    let (fake, gateway) = blocking(Dialect::Events).await;
    fake.on("tasks/result", Exchange::never);
    let call = json!({"name": "db-slow", "arguments": {}});
    if is_stateless {
        let visitor = Visitor::new(&gateway, "/mcp");
        let pending = tokio::spawn(visitor.request("tools/call", &call).send());
        fake.wait_for("tasks/result", 1).await;
        // Closing the connection is how a client of this era gives up.
        pending.abort();
    } else {
        let session = Session::open(&gateway, "/mcp").await;
        let give_up = async {
            fake.wait_for("tasks/result", 1).await;
            session.notify("notifications/cancelled", r#"{"requestId":1}"#).await;
        };
        let text = call.to_string();
        tokio::join!(session.ask("tools/call", &text), give_up);
    }
    let told = within("the task's end", fake.wait_for("tasks/cancel", 1)).await;
    assert_eq!(told.json()["params"]["taskId"], ID);
    gateway.until_quiet().await;
}
