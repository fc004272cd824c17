//! Tasks of the stateless era (SEP-2663): under ids that lead back to their upstream, for who made them.

use crate::kit::{
    events::Events,
    exchange::Exchange,
    gateway::{Running, Setup},
    offers::resource,
    upstream::Fake,
    visitor::Visitor,
};
use rstest::rstest;
use serde_json::{Value, json};

/// The id that every upstream gives to its task.
const SAME: &str = "urn:task/1";

fn task(status: &str) -> Value {
    json!({
        "resultType": "task", "taskId": SAME, "status": status, "ttlMs": 60_000, "pollIntervalMs": 500,
        "createdAt": "2026-08-01T00:00:00Z", "lastUpdatedAt": "2026-08-01T00:00:00Z",
    })
}

/// An upstream that makes a task of every call.
fn keeper(name: &'static str) -> Fake {
    let capabilities =
        json!({"tools": {}, "resources": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let fake = Fake::stateless(name, &capabilities, |script| script.resources = vec![resource("x://same")]);
    fake.on(
        "tools/call",
        |exchange: Exchange| async move { exchange.result(&task("working").to_string()).await },
    );
    fake.on("tasks/get", move |exchange: Exchange| async move {
        let mut got = task("completed");
        got["resultType"] = "complete".into();
        got["x"] = name.into();
        let link = json!({"type": "resource_link", "uri": "x://same", "name": "r"});
        got["result"] = json!({"resultType": "complete", "content": [link]});
        exchange.result(&got.to_string()).await
    });
    for method in ["tasks/update", "tasks/cancel"] {
        fake.on(
            method,
            |exchange: Exchange| async move { exchange.result(r#"{"resultType":"complete"}"#).await },
        );
    }
    fake
}

async fn start() -> (Fake, Fake, Running) {
    let (db, web) = (keeper("db"), keeper("web"));
    let gateway = Setup::new().alias("db", &db).alias("web", &web).master("m");
    let gateway = gateway.key("ann", None, None).key("bob", None, None).key("dora", Some(&["db"]), None);
    (db, web, gateway.ready().await)
}

#[tokio::test]
async fn a_task_is_asked_for_where_it_was_made() {
    let (db, web, gateway) = start().await;
    let ann = Visitor::new(&gateway, "/mcp").key("ann");
    let (of_db, of_web) = (ann.task("db-echo").await, ann.task("web-echo").await);
    assert_ne!(of_db, of_web);
    for (id, by, fake) in [(&of_db, "db", &db), (&of_web, "web", &web)] {
        let got = ann.result("tasks/get", &json!({"taskId": id})).await;
        assert_eq!(
            (&got["taskId"], &got["x"], &got["status"]),
            (&json!(id), &json!(by), &json!("completed"))
        );
        assert_eq!(got["result"]["content"][0]["uri"], format!("x://{by}/same"), "links lead back: {got}");
        assert_eq!(fake.wait_for("tasks/get", 1).await.task(), SAME);
        let responses = json!({"q": {"action": "accept", "content": {"n": 1}}});
        ann.result("tasks/update", &json!({"taskId": id, "inputResponses": responses})).await;
        let updated = fake.wait_for("tasks/update", 1).await;
        assert_eq!(
            (updated.task().as_str(), &updated.json()["params"]["inputResponses"]),
            (SAME, &responses)
        );
        let ended = ann.result("tasks/cancel", &json!({"taskId": id})).await;
        assert_eq!(ended["resultType"], "complete");
        assert_eq!(fake.wait_for("tasks/cancel", 1).await.task(), SAME);
    }
    // One endpoint or the other: the same task. There nothing else is another's.
    let own = ann.at("/mcp/db");
    let got = own.result("tasks/get", &json!({"taskId": of_db})).await;
    assert_eq!((&got["taskId"], &got["result"]["content"][0]["uri"]), (&json!(of_db), &json!("x://same")));
    assert_eq!(own.task("echo").await, of_db);
    assert_eq!(own.refused("tasks/get", &json!({"taskId": of_web})).await, -32602);
}

#[rstest]
#[case("tasks/get")]
#[case("tasks/update")]
#[case("tasks/cancel")]
#[tokio::test]
async fn nobody_else_reaches_a_task(#[case] method: &str) {
    let (db, web, gateway) = start().await;
    let ann = Visitor::new(&gateway, "/mcp").key("ann");
    let (of_db, of_web) = (ann.task("db-echo").await, ann.task("web-echo").await);
    for (key, id) in [
        ("bob", of_db.as_str()),
        ("dora", &of_db),
        ("dora", &of_web),
        ("m", &of_db),
        ("ann", SAME),
        ("ann", "nobodys"),
    ] {
        let other = Visitor::new(&gateway, "/mcp").key(key);
        assert_eq!(other.refused(method, &json!({"taskId": id})).await, -32602, "{key} {id}");
    }
    let mut forged = of_db.replacen("db.", "web.", 1);
    assert_eq!(ann.refused(method, &json!({"taskId": forged})).await, -32602);
    forged.pop();
    assert_eq!(ann.refused(method, &json!({"taskId": forged})).await, -32602);
    assert_eq!(ann.refused(method, &json!({})).await, -32602);
    let naive = Visitor::new(&gateway, "/mcp").key("ann").capabilities(json!({}));
    let refused = naive.reply(method, &json!({"taskId": of_db})).await;
    let needed = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (400, &json!(-32021)));
    assert_eq!(refused.json()["error"]["data"]["requiredCapabilities"], needed);
    assert!(db.seen_of(method).is_empty() && web.seen_of(method).is_empty());
}

#[tokio::test]
async fn the_header_names_the_task_as_the_client_does() {
    let (db, _web, gateway) = start().await;
    let ann = Visitor::new(&gateway, "/mcp").key("ann");
    let id = ann.task("db-echo").await;
    let mut request = ann.request("tasks/get", &json!({"taskId": id})).build().expect("a request");
    request.headers_mut().insert("mcp-name", SAME.parse().expect("a header"));
    let refused = gateway.http.execute(request).await.expect("a response");
    assert_eq!(refused.status().as_u16(), 400);
    let refused: Value = serde_json::from_slice(&refused.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(refused["error"]["code"], -32020);
    assert!(db.seen_of("tasks/get").is_empty());
}

#[tokio::test]
async fn where_nobody_has_tasks_there_is_no_such_method() {
    let fake = Fake::stateless("db", &json!({"tools": {}}), |_| ());
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let visitor = Visitor::new(&gateway, "/mcp");
    let found = visitor.result("server/discover", &json!({})).await;
    assert_eq!(found["capabilities"].get("extensions"), None, "{found}");
    let refused = visitor.reply("tasks/get", &json!({"taskId": "1"})).await;
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!(-32601)));
}

fn changed(status: &str) -> String {
    let mut params = task(status);
    params.as_object_mut().expect("an object").remove("resultType");
    json!({"jsonrpc": "2.0", "method": "notifications/tasks", "params": params}).to_string()
}

async fn listen(visitor: &Visitor<'_>, ids: &[&str]) -> (Events, Value) {
    let mut stream =
        visitor.stream("subscriptions/listen", &json!({"notifications": {"taskIds": ids}})).await;
    let first: Value = serde_json::from_str(&stream.message().await).expect("JSON");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    (stream, first["params"]["notifications"].clone())
}

#[tokio::test]
async fn a_change_of_a_task_is_told_to_who_listens_to_it() {
    let (db, web, gateway) = start().await;
    let (ann, bob) = (Visitor::new(&gateway, "/mcp").key("ann"), Visitor::new(&gateway, "/mcp").key("bob"));
    let (of_ann, of_bob) = (ann.task("db-echo").await, bob.task("web-echo").await);
    let (mut anns, agreed) = listen(&ann, &[&of_ann, &of_bob, SAME]).await;
    assert_eq!(agreed, json!({"taskIds": [of_ann]}), "what is not ann's is left out");
    let (mut bobs, agreed) = listen(&bob, &[&of_bob]).await;
    assert_eq!(agreed, json!({"taskIds": [of_bob]}));
    let asked = db.wait_for("subscriptions/listen", 1).await.json();
    assert_eq!(asked["params"]["notifications"], json!({"taskIds": [SAME]}));
    let declared = &asked["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
    assert_eq!(declared, &json!({"io.modelcontextprotocol/tasks": {}}), "who declares none is told of none");
    db.tell(&changed("working"));
    web.tell(&changed("failed"));
    for (stream, id, status) in [(&mut anns, &of_ann, "working"), (&mut bobs, &of_bob, "failed")] {
        let heard: Value = serde_json::from_str(&stream.message().await).expect("JSON");
        assert_eq!(heard["method"], "notifications/tasks");
        assert_eq!((&heard["params"]["taskId"], &heard["params"]["status"]), (&json!(id), &json!(status)));
        assert_eq!(heard["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], 1);
    }
    drop(anns);
    crate::kit::clock::eventually("nobody listens any more", || gateway.subscribed("db") == 0).await;
    assert_eq!(gateway.subscribed("web"), 1);
}

#[tokio::test]
async fn what_an_upstream_does_not_tell_is_not_promised() {
    let (db, _web, gateway) = start().await;
    db.on("subscriptions/listen", |exchange: Exchange| async move {
        let id = exchange.seen.json()["id"].clone();
        let meta = json!({"io.modelcontextprotocol/subscriptionId": id});
        let params = json!({"notifications": {}, "_meta": meta});
        let said = json!({
            "jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params,
        });
        exchange.hold_stream(&said.to_string()).await
    });
    let ann = Visitor::new(&gateway, "/mcp").key("ann");
    let id = ann.task("db-echo").await;
    assert_eq!(listen(&ann, &[&id]).await.1, json!({}));
    assert_eq!(gateway.subscribed("db"), 0);
}
