//! What the official suite does through native names, through the merged ones: every feature, both transports of
//! clients, every dialect of upstreams.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    offers::resource,
    peer::{Peer, Transport},
    talk::Talk,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};

/// Two upstreams with everything, of which the second has other resources.
struct Two {
    db: Fake,
    web: Fake,
    gateway: Running,
}

// === impl Two ===

impl Two {
    async fn new(dialect: Dialect) -> Self {
        let db = Script::new(dialect).keeps_sessions().has_stream().everything("db").start();
        let mut web = Script::new(dialect).keeps_sessions().has_stream().everything("web");
        web.resources = vec![resource("y://one")];
        web.templates.clear();
        let web = web.start();
        let gateway = Setup::new().alias("db", &db).alias("web", &web).ready().await;
        Self { db, web, gateway }
    }
}

#[rstest]
#[tokio::test]
async fn prompts_and_completions(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let two = Two::new(dialect).await;
    let mut peer = Peer::open(&two.gateway, transport, "/mcp", "ann").await;
    let listed = peer.ask("prompts/list", &json!({})).await;
    let prompts = listed["result"]["prompts"].as_array().expect("a list");
    let names: Vec<_> = prompts.iter().map(|prompt| prompt["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["db-greet", "db-plain", "web-greet", "web-plain"]);
    assert_eq!(prompts[0]["arguments"], json!([{"name": "who", "required": true}]));
    for alias in ["db", "web"] {
        let params = json!({"name": format!("{alias}-greet"), "arguments": {"who": "bob"}});
        let got = peer.ask("prompts/get", &params).await;
        let expected = format!(r#"{alias} "greet" {{"who":"bob"}}"#);
        assert_eq!(got["result"]["messages"][0]["content"]["text"], expected);
        let reference = json!({"type": "ref/prompt", "name": format!("{alias}-greet")});
        let params = json!({"ref": reference, "argument": {"name": "who", "value": "b"}});
        let completed = peer.ask("completion/complete", &params).await;
        assert_eq!(completed["result"]["completion"]["values"], json!([alias, "greet", "b"]));
    }
    let template = json!({"type": "ref/resource", "uri": "t://{id}/data"});
    let params = json!({"ref": template, "argument": {"name": "id", "value": "7"}});
    let completed = peer.ask("completion/complete", &params).await;
    assert_eq!(completed["result"]["completion"]["values"], json!(["db", "t://{id}/data", "7"]));
    let unknown = peer.ask("prompts/get", &json!({"name": "greet"})).await;
    assert_eq!(
        (&unknown["error"]["code"], &unknown["error"]["data"]["reason"]),
        (&json!(-32602), &json!("unknown_prompt"))
    );
}

#[rstest]
#[tokio::test]
async fn resources_and_their_updates(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let two = Two::new(dialect).await;
    let mut peer = Peer::open(&two.gateway, transport, "/mcp", "ann").await;
    let listed = peer.ask("resources/list", &json!({})).await;
    let resources = listed["result"]["resources"].as_array().expect("a list");
    let uris: Vec<_> = resources.iter().map(|resource| resource["uri"].as_str().expect("a URI")).collect();
    assert_eq!(uris, ["x://one", "x://two", "y://one"]);
    let templates = peer.ask("resources/templates/list", &json!({})).await;
    assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "t://{id}/data");
    for (uri, by) in [("x://one", "db"), ("t://7/data", "db"), ("y://one", "web")] {
        let read = peer.ask("resources/read", &json!({"uri": uri})).await;
        assert_eq!(read["result"]["contents"], json!([{"uri": uri, "text": by}]));
    }
    for uri in ["x://one", "y://one"] {
        assert_eq!(peer.ask("resources/subscribe", &json!({"uri": uri})).await["result"], json!({}));
    }
    assert_eq!((two.gateway.subscribed("db"), two.gateway.subscribed("web")), (1, 1));
    for (fake, uri) in [(&two.db, "x://one"), (&two.web, "y://one")] {
        fake.tell(&updated(uri));
        let heard = peer.hear().await;
        assert_eq!(
            (&heard["method"], &heard["params"]["uri"]),
            (&json!("notifications/resources/updated"), &json!(uri))
        );
    }
    assert_eq!(peer.ask("resources/unsubscribe", &json!({"uri": "x://one"})).await["result"], json!({}));
    assert_eq!(two.db.wait_for("resources/unsubscribe", 1).await.json()["params"]["uri"], "x://one");
    peer.leave().await;
    two.gateway.until_nothing_is_left().await;
}

fn updated(uri: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}"}}}}"#)
}

#[rstest]
#[tokio::test]
async fn sampling_elicitation_and_roots(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let two = Two::new(dialect).await;
    let mut peer = Peer::open(&two.gateway, transport, "/mcp", "ann").await;
    let questions = [
        ("sampling/createMessage", json!({"messages": [], "maxTokens": 5})),
        (
            "elicitation/create",
            json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}),
        ),
        (
            "elicitation/create",
            json!({"mode": "url", "message": "go", "url": "https://a/", "elicitationId": "e1"}),
        ),
        ("roots/list", json!({})),
    ];
    for (number, (method, params)) in questions.iter().enumerate() {
        let (method, asked) = (*method, params.clone());
        for (fake, name) in [(&two.db, "db-echo"), (&two.web, "web-echo")] {
            let (asked, id) = (asked.clone(), format!("\"{number}\""));
            fake.on("tools/call", move |exchange: Exchange| {
                let (asked, id) = (asked.clone(), id.clone());
                async move { exchange.ask_and_answer(&id, method, &asked).await }
            });
            let answer = peer.call(name).await;
            assert_eq!(
                answer["result"]["answer"]["result"],
                json!({"by": "ann", "asked": params}),
                "{method}"
            );
            assert_eq!(answer["result"]["answer"]["id"], number.to_string());
        }
    }
    assert_eq!(peer.heard().len(), 8);
    two.gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn the_end_of_an_elicitation_by_url(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    const REQUIRED: &str = r#"{"code":-32042,"message":"go","data":{"elicitations":[{"mode":"url","message":"go","url":"https://a/","elicitationId":"e1"}]}}"#;
    let two = Two::new(dialect).await;
    two.db.on("tools/call", |exchange: Exchange| async move { exchange.talk().await.error(REQUIRED).await });
    let mut peer = Peer::open(&two.gateway, transport, "/mcp", "ann").await;
    let answer = peer.call("db-echo").await;
    assert_eq!(answer["error"], serde_json::from_str::<Value>(REQUIRED).expect("JSON"));
    let complete =
        r#"{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{"elicitationId":"e1"}}"#;
    two.db.tell(complete);
    assert_eq!(
        peer.hear().await.to_string(),
        serde_json::from_str::<Value>(complete).expect("JSON").to_string()
    );
}

#[rstest]
#[tokio::test]
async fn progress_and_logs(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let two = Two::new(dialect).await;
    for fake in [&two.db, &two.web] {
        fake.on("tools/call", |exchange: Exchange| async move {
            let mut talk = exchange.talk().await;
            progress_and_log(&mut talk).await;
            talk.result(r#"{"content":[]}"#).await
        });
    }
    let mut peer = Peer::open(&two.gateway, transport, "/mcp", "ann").await;
    assert_eq!(peer.ask("logging/setLevel", &json!({"level": "warning"})).await["result"], json!({}));
    let params = json!({"name": "db-echo", "_meta": {"progressToken": "mine"}});
    let answer = peer.ask("tools/call", &params).await;
    assert_eq!(answer["result"], json!({"content": []}));
    until_logs(&mut peer, 2).await;
    // What concerns a call does not belong on the session's own stream, which is all that dialect JSON has.
    let steps = peer.heard_of("notifications/progress");
    let expected = if dialect == Dialect::Json { 0 } else { 2 };
    assert_eq!(steps.len(), expected);
    assert!(steps.iter().all(|step| step["params"]["progressToken"] == "mine"));
    peer.call("web-echo").await;
    until_logs(&mut peer, 4).await;
    let logs = peer.heard_of("notifications/message");
    let loggers: Vec<_> = logs.iter().map(|log| &log["params"]["logger"]).collect();
    assert_eq!(loggers, ["db/sql", "db", "web/sql", "web"]);
    let told = two.db.wait_for("logging/setLevel", 1).await;
    assert_eq!(told.json()["params"]["level"], "warning");
    assert_eq!(
        told.header("mcp-session-id"),
        two.db.wait_for("tools/call", 1).await.header("mcp-session-id")
    );
}

/// What comes on another stream than the answer may come after it.
async fn until_logs(peer: &mut Peer<'_>, count: usize) {
    while peer.heard_of("notifications/message").len() < count {
        peer.hear().await;
    }
}

async fn progress_and_log(talk: &mut Talk) {
    talk.progress(1).await;
    for params in
        [json!({"level": "error", "logger": "sql", "data": 1}), json!({"level": "error", "data": 2})]
    {
        let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
        talk.say(&log.to_string()).await;
    }
    talk.progress(2).await;
}
