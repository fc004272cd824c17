//! Tasks of 2025-11-25: each belongs to the session that made it and to the upstream that keeps it.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    offers::resource,
    peer::{Peer, Transport},
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use serde_json::{Value, json};
use trunkline::upstream::settings::SessionMode;

/// An upstream that makes a task of every call that wants one: its id is the argument `id`.
fn keeper(script: Script, name: &'static str) -> Fake {
    let mut script = script.everything(name);
    script.resources = vec![resource(&format!("{name}://r"))];
    let fake = script.start();
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.json()["params"]["arguments"]["id"].clone();
        let task = json!({"taskId": id, "status": "working", "createdAt": "2025-11-25T00:00:00Z", "lastUpdatedAt": "2025-11-25T00:00:00Z", "ttl": 60_000});
        exchange.result(&json!({"task": task}).to_string()).await
    });
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        fake.on(method, move |exchange: Exchange| async move {
            let id = exchange.seen.json()["params"]["taskId"].clone();
            let result = json!({"taskId": id, "by": name, "did": method}).to_string();
            exchange.result(&result).await
        });
    }
    fake.on("tasks/list", move |exchange: Exchange| async move {
        let second = exchange.seen.json()["params"].get("cursor").is_some();
        let result = if second {
            json!({"tasks": [{"taskId": format!("{name}-2")}]})
        } else {
            json!({"tasks": [{"taskId": format!("{name}-1")}], "nextCursor": "more"})
        };
        exchange.result(&result.to_string()).await
    });
    fake
}

async fn start(mode: SessionMode, dialect: Dialect) -> (Fake, Fake, Running) {
    let script = || Script::new(dialect).keeps_sessions().has_stream();
    let (db, web) = (keeper(script(), "db"), keeper(script(), "web"));
    let setup = Setup::new().alias_with("db", &db, |settings| settings.session = mode);
    let gateway = setup.alias_with("web", &web, |settings| settings.session = mode).ready().await;
    (db, web, gateway)
}

async fn make(peer: &mut Peer<'_>, tool: &str, id: &str) {
    let params = json!({"name": tool, "arguments": {"id": id}, "task": {"ttl": 60_000}});
    let made = peer.ask("tools/call", &params).await;
    assert_eq!(made["result"]["task"]["taskId"], id, "{made}");
}

#[rstest]
#[tokio::test]
async fn a_task_is_asked_for_where_it_was_made(
    #[values(SessionMode::Auto, SessionMode::Shared)] mode: SessionMode,
    #[values(Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let (db, web, gateway) = start(mode, dialect).await;
    let mut ann = Peer::open(&gateway, transport, "/mcp", "ann").await;
    make(&mut ann, "db-echo", "t-db").await;
    make(&mut ann, "web-echo", "t-web").await;
    for (id, by) in [("t-db", "db"), ("t-web", "web")] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            let got = ann.ask(method, &json!({"taskId": id})).await;
            assert_eq!(got["result"], json!({"taskId": id, "by": by, "did": method}), "{got}");
        }
    }
    let call = db.wait_for("tools/call", 1).await;
    assert_eq!(call.json()["params"]["task"], json!({"ttl": 60_000}));
    assert_eq!(call.header("mcp-session-id"), db.wait_for("tasks/get", 1).await.header("mcp-session-id"));
    let mut bob = Peer::open(&gateway, transport, "/mcp", "bob").await;
    for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
        for id in ["t-db", "nobodys"] {
            let refused = bob.ask(method, &json!({"taskId": id})).await;
            assert_eq!(refused["error"]["code"], -32602, "{refused}");
        }
        assert_eq!(ann.ask(method, &json!({})).await["error"]["code"], -32602);
    }
    assert_eq!((db.seen_of("tasks/get").len(), web.seen_of("tasks/get").len()), (1, 1));
    gateway.until_quiet().await;
}

#[rstest]
#[tokio::test]
async fn on_an_alias_of_its_own_the_upstream_knows_best(
    #[values(Dialect::Events, Dialect::Legacy)] dialect: Dialect,
) {
    let (db, _web, gateway) = start(SessionMode::Auto, dialect).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp/db", "ann").await;
    make(&mut ann, "echo", "t").await;
    for id in ["t", "made elsewhere"] {
        let got = ann.ask("tasks/get", &json!({"taskId": id})).await;
        assert_eq!(got["result"]["by"], "db");
    }
    let listed = ann.ask("tasks/list", &json!({})).await;
    assert_eq!(listed["result"], json!({"tasks": [{"taskId": "db-1"}], "nextCursor": "more"}));
    let next = ann.ask("tasks/list", &json!({"cursor": "more"})).await;
    assert_eq!(next["result"]["tasks"][0]["taskId"], "db-2");
    assert_eq!(db.seen_of("tasks/list").len(), 2);
}

#[tokio::test]
async fn the_tasks_of_all_upstreams_are_one_list() {
    let (_db, web, gateway) = start(SessionMode::Auto, Dialect::Events).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    let ids = |listed: &Value| -> Vec<Value> {
        let tasks = listed["result"]["tasks"].as_array().unwrap_or_else(|| panic!("{listed}"));
        tasks.iter().map(|task| task["taskId"].clone()).collect()
    };
    let listed = ann.ask("tasks/list", &json!({})).await;
    assert_eq!(ids(&listed), ["db-1", "db-2", "web-1", "web-2"]);
    // One that does not answer hides nobody else's.
    web.on("tasks/list", |exchange: Exchange| async move { exchange.respond(500, &[], b"").await });
    assert_eq!(ids(&ann.ask("tasks/list", &json!({})).await), ["db-1", "db-2"]);
}

#[rstest]
#[case("/mcp")]
#[case("/mcp/db")]
#[tokio::test]
async fn nobody_lists_the_tasks_of_others_on_a_shared_session(#[case] path: &str) {
    let (db, web, gateway) = start(SessionMode::Shared, Dialect::Events).await;
    let mut ann = Peer::open(&gateway, Transport::Streamable, "/mcp", "ann").await;
    make(&mut ann, "db-echo", "t").await;
    let mut bob = Peer::open(&gateway, Transport::Streamable, path, "bob").await;
    let listed = bob.ask("tasks/list", &json!({})).await;
    assert!(!listed.to_string().contains("db-1"), "{listed}");
    assert!(db.seen_of("tasks/list").is_empty() && web.seen_of("tasks/list").is_empty());
    let refused = bob.ask("tasks/get", &json!({"taskId": "t"})).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[rstest]
#[tokio::test]
async fn the_state_of_a_task_is_told_to_whose_it_is(
    #[values(Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
) {
    let (db, _web, gateway) = start(SessionMode::Auto, dialect).await;
    let mut ann = Peer::open(&gateway, transport, "/mcp", "ann").await;
    let mut bob = Peer::open(&gateway, transport, "/mcp", "bob").await;
    make(&mut ann, "db-echo", "t-ann").await;
    let sessions = db.sessions();
    make(&mut bob, "db-echo", "t-bob").await;
    let of_bob =
        db.sessions().into_iter().find(|session| !sessions.contains(session)).expect("a new session");
    let call = db.wait_for("tools/call", 1).await;
    let of_ann = sessions.iter().find(|session| call.is_of(session)).expect("the session of the call");
    let status = |id: &str| {
        let params = json!({"taskId": id, "status": "completed", "x": 1});
        json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": params})
    };
    db.tell_to(of_ann, &status("t-ann").to_string());
    db.tell_to(&of_bob, &status("t-bob").to_string());
    assert_eq!((ann.hear().await, bob.hear().await), (status("t-ann"), status("t-bob")));
    assert_eq!((ann.heard().len(), bob.heard().len()), (1, 1));
    assert!(Session::open(&gateway, "/mcp").await.tools().await.len() == 2);
}
