//! One URI, two upstreams: each is shown where it can be told apart, and whatever refers to it leads back.

use crate::kit::{
    clock::eventually,
    exchange::Exchange,
    gateway::{Running, Setup},
    offers::resource,
    peer::{Peer, Transport},
    session::{Opening, Session},
    upstream::{Dialect, Fake, Script},
};
use serde_json::{Value, json};

/// Two upstreams with the same resources, and one with its own.
struct Three {
    a: Fake,
    b: Fake,
    gateway: Running,
    _c: Fake,
}

fn script(name: &'static str, uris: &[&str]) -> Script {
    let script = Script::new(Dialect::Json).keeps_sessions().has_stream();
    script.everything(name).resources(uris)
}

// === impl Three ===

impl Three {
    async fn new() -> Self {
        let (a, b) = (script("a", &["x://both", "x://a-only"]), script("b", &["x://both", "ui://b"]));
        let (a, b, c) = (a.start(), b.start(), script("c", &["x://c"]).start());
        let setup = Setup::new().alias("a", &a).alias("b", &b).alias("c", &c);
        let setup =
            setup.master("master").key("half", Some(&["b", "c"]), None).key("tools", None, Some(&["a-*"]));
        Self { a, b, gateway: setup.ready().await, _c: c }
    }

    async fn open(&self, key: &str, path: &str) -> Session<'_> {
        Opening::new(&self.gateway, path).key(key).open().await
    }
}

async fn uris(session: &Session<'_>) -> Vec<String> {
    let listed = session.ask("resources/list", "{}").await.answer_json();
    let resources = listed["result"]["resources"].as_array().expect("a list");
    resources.iter().map(|resource| resource["uri"].as_str().expect("a URI").to_owned()).collect()
}

/// Who answers, and under which URI.
async fn read(session: &Session<'_>, uri: &str) -> (String, String) {
    let answer = session.ask("resources/read", &json!({"uri": uri}).to_string()).await.answer_json();
    let content = &answer["result"]["contents"][0];
    let text = |key: &str| content[key].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
    (text("text"), text("uri"))
}

#[tokio::test]
async fn both_are_listed_qualified_and_read_where_they_are() {
    let three = Three::new().await;
    let session = three.open("master", "/mcp").await;
    assert_eq!(uris(&session).await, ["x://a/both", "x://a-only", "x://b/both", "ui://b", "x://c"]);
    for (uri, by) in
        [("x://a/both", "a"), ("x://b/both", "b"), ("x://a-only", "a"), ("ui://b", "b"), ("x://c", "c")]
    {
        // What was read has the URI that it was asked for.
        assert_eq!(read(&session, uri).await, (by.to_owned(), uri.to_owned()));
    }
    assert_eq!(three.b.wait_for("resources/read", 1).await.json()["params"]["uri"], "x://both");
    let ambiguous = session.ask("resources/read", r#"{"uri":"x://both"}"#).await.answer_json();
    assert_eq!(ambiguous["error"]["code"], -32002);
    let hint = ambiguous["error"]["data"]["hint"].as_str().expect("a hint");
    assert!(hint.contains("x://a/both") && hint.contains("x://b/both"), "{hint}");
}

#[tokio::test]
async fn who_is_hidden_has_no_influence() {
    let three = Three::new().await;
    let session = three.open("half", "/mcp").await;
    assert_eq!(uris(&session).await, ["x://both", "ui://b", "x://c"]);
    assert_eq!(read(&session, "x://both").await, ("b".to_owned(), "x://both".to_owned()));
    for uri in ["x://a-only", "x://a/both"] {
        let denied = session.ask("resources/read", &json!({"uri": uri}).to_string()).await.answer_json();
        assert_eq!(denied["error"]["code"], -32002, "{denied}");
        assert!(!denied.to_string().contains("x://b"), "{denied}");
    }
    // Nor does who is not on the endpoint.
    let alone = three.open("master", "/mcp/a").await;
    assert_eq!(uris(&alone).await, ["x://both", "x://a-only"]);
    assert!(three.a.seen_of("resources/read").is_empty());
}

/// A result with a link of every kind.
const LINKS: &str = r#"{"content":[{"type":"resource_link","uri":"x://both","name":"l"},{"type":"resource","resource":{"uri":"x://both","text":"x://both"}},{"type":"text","text":"x://both"}],"structuredContent":{"uri":"x://both"},"_meta":{"ui":{"resourceUri":"x://both"}}}"#;

#[tokio::test]
async fn links_in_results_lead_back() {
    let three = Three::new().await;
    three.b.on("tools/call", |exchange: Exchange| exchange.result(LINKS));
    three.b.on("prompts/get", |exchange: Exchange| {
        exchange
            .result(r#"{"messages":[{"role":"user","content":{"type":"resource_link","uri":"x://both"}}]}"#)
    });
    three.b.on("resources/read", |exchange: Exchange| {
        exchange.result(r#"{"contents":[{"uri":"x://both","text":"b"},{"uri":"x://both/part","text":"b"}]}"#)
    });
    let session = three.open("master", "/mcp").await;
    let called = session.ask("tools/call", r#"{"name":"b-echo"}"#).await;
    let expected = LINKS.replace(r#""uri":"x://both","name""#, r#""uri":"x://b/both","name""#);
    let expected = expected.replace(r#""uri":"x://both","text":"x:"#, r#""uri":"x://b/both","text":"x:"#);
    let expected = expected.replace(r#""resourceUri":"x://both""#, r#""resourceUri":"x://b/both""#);
    assert_eq!(called.text(), format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#));
    let got = session.ask("prompts/get", r#"{"name":"b-plain"}"#).await.answer_json();
    assert_eq!(got["result"]["messages"][0]["content"]["uri"], "x://b/both");
    let answer = session.ask("resources/read", r#"{"uri":"x://b/both"}"#).await.answer_json();
    let shown = |index: usize| answer["result"]["contents"][index]["uri"].as_str().expect("a URI").to_owned();
    assert_eq!(shown(0), "x://b/both");
    // In no list, and so it belongs to whoever told of it.
    assert_eq!(shown(1), "x://both/part");
    assert_eq!(read(&session, &shown(1)).await.0, "b");
    // On the upstream's own endpoint nothing is touched.
    let alone = three.open("master", "/mcp/b").await;
    let called = alone.ask("tools/call", r#"{"name":"echo"}"#).await;
    assert_eq!(called.text(), format!(r#"{{"jsonrpc":"2.0","id":1,"result":{LINKS}}}"#));
}

#[tokio::test]
async fn interfaces_of_tools_lead_back() {
    let mut scripts = [script("a", &["ui://app"]), script("b", &["ui://app"])];
    for script in &mut scripts {
        script.tools = vec![
            r#"{"name":"show","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://app"},"ui/resourceUri":"ui://app"}}"#.into(),
        ];
    }
    let [a, b] = scripts.map(Script::start);
    let gateway = Setup::new().alias("a", &a).alias("b", &b).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let listed = session.ask("tools/list", "{}").await.answer_json();
    for (index, alias) in ["a", "b"].into_iter().enumerate() {
        let meta = &listed["result"]["tools"][index]["_meta"];
        let shown = format!("ui://{alias}/app");
        assert_eq!(meta, &json!({"ui": {"resourceUri": shown}, "ui/resourceUri": shown}));
        assert_eq!(read(&session, &shown).await, (alias.to_owned(), shown));
    }
}

#[tokio::test]
async fn links_that_no_list_has_are_told_apart() {
    let three = Three::new().await;
    for fake in [&three.a, &three.b] {
        fake.on("tools/call", |exchange: Exchange| {
            exchange.result(r#"{"content":[{"type":"resource_link","uri":"z://new","name":"l"}]}"#)
        });
    }
    let link = async |session: &Session<'_>, name: &str| {
        let answer = session.call(name).await;
        answer["result"]["content"][0]["uri"].as_str().expect("a URI").to_owned()
    };
    let session = three.open("master", "/mcp").await;
    assert_eq!(link(&session, "b-echo").await, "z://new");
    assert_eq!(link(&session, "a-echo").await, "z://a/new");
    assert_eq!(link(&session, "b-echo").await, "z://new");
    assert_eq!(read(&session, "z://new").await, ("b".to_owned(), "z://new".to_owned()));
    assert_eq!(read(&session, "z://a/new").await, ("a".to_owned(), "z://a/new".to_owned()));
    // Another session was told nothing: it may be anybody's.
    let other = three.open("master", "/mcp").await;
    let unknown = other.ask("resources/read", r#"{"uri":"z://new"}"#).await.answer_json();
    assert_eq!(unknown["error"]["data"]["reason"], "unknown_resource", "{unknown}");
}

#[tokio::test]
async fn links_in_the_result_of_a_task_lead_back() {
    let three = Three::new().await;
    three.b.on("tools/call", |exchange: Exchange| {
        exchange.result(r#"{"task":{"taskId":"t1","status":"working","createdAt":"2025-01-01T00:00:00Z","lastUpdatedAt":"2025-01-01T00:00:00Z","ttl":1}}"#)
    });
    three.b.on("tasks/result", |exchange: Exchange| exchange.result(LINKS));
    let session = three.open("master", "/mcp").await;
    session.ask("tools/call", r#"{"name":"b-echo","task":{}}"#).await;
    let result = session.ask("tasks/result", r#"{"taskId":"t1"}"#).await.answer_json();
    assert_eq!(result["result"]["content"][0]["uri"], "x://b/both", "{result}");
}

#[tokio::test]
async fn updates_carry_the_uri_that_the_client_knows() {
    let three = Three::new().await;
    let session = three.open("master", "/mcp").await;
    let mut events = session.listen().await;
    events.primed().await;
    for uri in ["x://b/both", "x://a-only"] {
        let answer = session.ask("resources/subscribe", &json!({"uri": uri}).to_string()).await.answer_json();
        assert_eq!(answer["result"], json!({}), "{answer}");
    }
    assert_eq!(three.b.wait_for("resources/subscribe", 1).await.json()["params"]["uri"], "x://both");
    let mut updated = async |fake: &Fake, uri: &str| {
        let params = json!({"uri": uri});
        let notice = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
        fake.tell(&notice.to_string());
        let heard: Value = serde_json::from_str(&events.message().await).expect("JSON");
        heard["params"]["uri"].as_str().expect("a URI").to_owned()
    };
    assert_eq!(updated(&three.b, "x://both").await, "x://b/both");
    assert_eq!(updated(&three.a, "x://a-only").await, "x://a-only");
    // A part of what was subscribed to (resources, "Subscriptions").
    assert_eq!(updated(&three.b, "x://both/part").await, "x://b/both/part");
    let answer = session.ask("resources/unsubscribe", r#"{"uri":"x://b/both"}"#).await.answer_json();
    assert_eq!(answer["result"], json!({}));
    assert_eq!(three.b.wait_for("resources/unsubscribe", 1).await.json()["params"]["uri"], "x://both");
}

#[tokio::test]
async fn a_list_that_changes_makes_uris_plain_again() {
    let (a, b) = (script("a", &["x://both", "x://a-only"]).start(), script("b", &["x://both"]).start());
    let gateway = Setup::new().alias("a", &a).alias("b", &b).ready().await;
    let mut peer = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    eventually("the gateway to listen", || a.open_streams() == 1).await;
    a.set_resources(vec![resource("x://a-only")]);
    a.tell(r#"{"jsonrpc":"2.0","method":"notifications/resources/list_changed"}"#);
    assert_eq!(peer.hear().await["method"], "notifications/resources/list_changed");
    let read = peer.ask("resources/read", &json!({"uri": "x://both"})).await;
    assert_eq!(read["result"]["contents"][0], json!({"uri": "x://both", "text": "b"}));
}
