//! Interfaces of tools (MCP Apps): they are read through the aggregate, and call their own server by its own names.

use crate::kit::{
    gateway::{Running, Setup},
    offers::resource,
    upstream::{Dialect, Fake, Script, tool},
    visitor::Visitor,
};
use rstest::rstest;
use serde_json::json;

const FACE: &str = "ui://clock/face.html";

/// An upstream with an interface, and one without.
async fn start(is_stateless: bool) -> (Fake, Fake, Running) {
    let shown =
        json!({"name": "show", "inputSchema": {"type": "object"}, "_meta": {"ui": {"resourceUri": FACE}}});
    let has = |script: &mut Script| {
        script.tools = vec![shown.to_string(), tool("wind"), tool("search")];
        script.resources = vec![resource(FACE)];
        script.name = "clock";
    };
    let clock = if is_stateless {
        let interfaces = json!({"io.modelcontextprotocol/ui": {}});
        Fake::stateless("clock", &json!({"tools": {}, "resources": {}, "extensions": interfaces}), has)
    } else {
        let mut script = Script::new(Dialect::Events).everything("clock");
        has(&mut script);
        script.start()
    };
    let notes = Script::new(Dialect::Json).tools(&["search", "add"]).start();
    let gateway = Setup::new().alias("clock", &clock).alias("notes", &notes).master("m");
    let gateway = gateway.key("kim", None, Some(&["clock-show", "notes-*"]));
    (clock, notes, gateway.ready().await)
}

#[rstest]
#[tokio::test]
async fn an_interface_is_read_and_calls_its_server(#[values(true, false)] is_stateless: bool) {
    let (clock, notes, gateway) = start(is_stateless).await;
    let visitor = Visitor::new(&gateway, "/mcp").key("m");
    let tools = visitor.result("tools/list", &json!({})).await;
    let shows = tools["tools"].as_array().expect("tools").iter().find(|tool| tool["name"] == "clock-show");
    assert_eq!(shows.expect("the tool")["_meta"]["ui"]["resourceUri"], FACE);
    let read = visitor.result("resources/read", &json!({"uri": FACE})).await;
    assert_eq!(read["contents"][0]["uri"], FACE);
    let called = visitor.result("tools/call", &json!({"name": "wind", "arguments": {}})).await;
    assert_eq!(called["content"][0]["text"], "done");
    let seen = clock.wait_for("tools/call", 1).await;
    assert_eq!(seen.json()["params"]["name"], "wind");
    assert_eq!(seen.header("mcp-name"), is_stateless.then_some("wind"));
    // Of two, and of one that has no interface: nothing is guessed.
    for name in ["search", "add"] {
        assert_eq!(visitor.refused("tools/call", &json!({"name": name, "arguments": {}})).await, -32602);
    }
    assert!(notes.seen_of("tools/call").is_empty());
}

#[tokio::test]
async fn what_a_key_may_not_use_is_unknown_by_every_name() {
    let (clock, _notes, gateway) = start(true).await;
    let kim = Visitor::new(&gateway, "/mcp").key("kim");
    let unknown = |name: &str| json!({"name": name, "arguments": {}});
    for name in ["wind", "clock-wind", "search", "nothing"] {
        let refused = kim.ask("tools/call", &unknown(name)).await;
        let error = refused["error"].to_string().replace(name, "?");
        let nobodys = kim.ask("tools/call", &unknown("nobodys")).await["error"].to_string();
        assert_eq!(error, nobodys.replace("nobodys", "?"));
    }
    assert!(clock.seen_of("tools/call").is_empty());
    kim.result("tools/call", &unknown("show")).await;
    assert_eq!(clock.wait_for("tools/call", 1).await.json()["params"]["name"], "show");
}
