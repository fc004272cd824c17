//! Arguments and results against the schemas of tools, for aliases whose files ask for it.

use crate::kit::{
    clock::eventually,
    exchange::Exchange,
    gateway::{Running, Setup},
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;
use trunkline::relay::settings::{Arguments, Results};

/// A tool that takes a limit and promises a count.
const SEARCH: &str = r#"{"name":"search","inputSchema":{"type":"object","required":["limit"],"additionalProperties":false,"properties":{"limit":{"type":"integer","maximum":100}}},"outputSchema":{"type":"object","required":["count"],"properties":{"count":{"type":"integer"}}}}"#;

async fn gateway(dialect: Dialect, arguments: Arguments, results: Results) -> (Fake, Running) {
    let mut script = Script::new(dialect).has_stream();
    script.tools = vec![SEARCH.into()];
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).validation(arguments, results).ready().await;
    (fake, gateway)
}

async fn search(session: &Session<'_>, arguments: &str) -> String {
    let params = format!(r#"{{"name":"db-search","arguments":{arguments}}}"#);
    session.ask("tools/call", &params).await.answer()
}

#[rstest]
#[case(Dialect::Json)]
#[case(Dialect::Legacy)]
#[tokio::test]
async fn enforced_a_call_that_does_not_fit_is_not_made(#[case] dialect: Dialect) {
    let (fake, gateway) = gateway(dialect, Arguments::Enforce, Results::Off).await;
    let session = Session::open(&gateway, "/mcp").await;
    let call = r#"{"jsonrpc":"2.0","id":"a\u0062","method":"tools/call","params":{"_meta":{"progressToken":1},"name":"db-search","arguments":{"limit":"many","limt":1}}}"#;
    let reply = session.post(call).await;
    assert_eq!((reply.status, reply.is_stream()), (200, false));
    insta::assert_snapshot!(reply.text(), @r#"{"jsonrpc":"2.0","id":"a\u0062","result":{"content":[{"type":"text","text":"The arguments do not fit the inputSchema of this tool, and the call was not made:\n- `/limit`: expected an integer of at most 100; found \"many\"\n- `arguments`: there is no property `limt`; did you mean `limit`?\nCorrect them and call again."}],"isError":true}}"#);
    // Nothing is like an empty object.
    for params in [r#"{"name":"db-search"}"#, r#"{"name":"db-search","arguments":{}}"#] {
        let answer = session.ask("tools/call", params).await.answer_json();
        assert_eq!(answer["result"]["isError"], true, "{answer}");
        let text = answer["result"]["content"][0]["text"].as_str().expect("a text");
        assert!(text.contains("`limit` is missing; expected an integer of at most 100"), "{text}");
    }
    assert!(fake.seen_of("tools/call").is_empty());
    // The id is free again, and what fits is made, on every endpoint.
    assert!(search(&session, r#"{"limit":100}"#).await.contains("done"));
    let own = Session::open(&gateway, "/mcp/db").await;
    let call = |limit: u8| format!(r#"{{"name":"search","arguments":{{"limit":{limit}}}}}"#);
    assert!(own.ask("tools/call", &call(101)).await.answer().contains("of at most 100; found 101"));
    assert!(own.ask("tools/call", &call(9)).await.answer().contains("done"));
    assert_eq!(fake.seen_of("tools/call").len(), 2);
}

#[rstest]
#[case(Arguments::Off)]
#[case(Arguments::Warn)]
#[tokio::test]
async fn where_it_is_not_enforced_every_call_is_made(#[case] arguments: Arguments) {
    let (fake, gateway) = gateway(Dialect::Json, arguments, Results::Off).await;
    let session = Session::open(&gateway, "/mcp").await;
    let odd = r#"{ "limit" : 1e3, "\u0061":[1.10] }"#;
    for count in 1..4 {
        assert!(search(&session, odd).await.contains("done"));
        assert!(fake.wait_for("tools/call", count).await.text().contains(odd));
    }
}

#[rstest]
#[case::wrong(r#"{"content":[], "structuredContent":{"count":"1.0"}}"#)]
#[case::right(r#"{"content":[], "structuredContent":{ "count": 1.0 }}"#)]
#[case::missing(r#"{"content" : []}"#)]
#[case::error(r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#)]
#[case::odd(r#"{"structuredContent":[1e999],"isError":"perhaps"}"#)]
#[case::null(r#"{"structuredContent":null}"#)]
#[tokio::test]
async fn a_result_is_passed_on_as_it_is_whatever_it_holds(#[case] result: &'static str) {
    let (fake, gateway) = gateway(Dialect::Json, Arguments::Enforce, Results::Warn).await;
    fake.on("tools/call", move |exchange: Exchange| async move { exchange.result(result).await });
    let session = Session::open(&gateway, "/mcp").await;
    let expected = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
    for _ in 0..2 {
        assert_eq!(search(&session, r#"{"limit":1}"#).await, expected);
    }
}

#[tokio::test]
async fn a_definition_that_changed_brings_its_schema() {
    let (fake, gateway) = gateway(Dialect::Legacy, Arguments::Enforce, Results::Off).await;
    let session = Session::open(&gateway, "/mcp").await;
    let fits = r#"{"limit":100}"#;
    assert!(search(&session, fits).await.contains("done"));
    for (change, is_made) in [
        (SEARCH.replace("100", "10"), false),
        (SEARCH.replace("integer", "kaputt"), true),
        (SEARCH.into(), true),
    ] {
        fake.set_tools(vec![change.clone()]);
        fake.tell_change();
        let schema = &change[change.find("inputSchema").expect("a schema")..];
        eventually("the new definition", || {
            let catalog = gateway.gateway.relay().catalog();
            catalog.tools.iter().any(|row| row.own.as_str().ends_with(schema))
        })
        .await;
        assert_eq!(search(&session, fits).await.contains("done"), is_made, "{change}");
    }
}

#[tokio::test]
async fn a_schema_that_cannot_be_used_blocks_nothing() {
    let mut script = Script::new(Dialect::Json);
    let schemas = [
        r#"{"$ref":"http://127.0.0.1:1/schema.json"}"#,
        r##"{"$ref":"#"}"##,
        r#"{"type":"objekt"}"#,
        r#"{"properties":{"limit":{"pattern":"(?<=x)y"}}}"#,
        "7",
        r#""text""#,
    ];
    let tool = |(number, schema)| format!(r#"{{"name":"t{number}","inputSchema":{schema}}}"#);
    script.tools = schemas.iter().enumerate().map(tool).collect();
    let fake = script.start();
    let setup = Setup::new().alias("db", &fake).validation(Arguments::Enforce, Results::Warn);
    let gateway = setup.ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    for number in 0..schemas.len() {
        let answer = session.call(&format!("db-t{number}")).await.to_string();
        assert!(answer.contains("done"), "{answer}");
    }
}
