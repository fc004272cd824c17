//! Byte for byte: whatever clients and upstreams write passes unchanged, but for id, name and progress token.

use crate::kit::{
    exchange::Exchange,
    gateway::{Running, Setup},
    legacy::Legacy,
    session::Session,
    upstream::{Dialect, Fake, Script},
};
use rstest::rstest;

/// What parsers like to tidy up.
const ODD: &str = "{ \"big\":123456789012345678901234567890,\"a\":1.10, \"e\":1e2 ,\"E\":1E+2,\"z\":-0.0,\"dup\":1,\"dup\":{\"k\":1,\"k\":\n\t2},\
    \"esc\":\"\\u00e4\\/\\b\\ud83d\\ude00\\u0000\",\"lone\":\"\\ud800\",\"raw\":\"äöü 😀\u{7f}\u{2028}\",\"\":null,\"far\":1e999,\
    \"deep\":[[[[[[[[[[[[[[[[[[[[{\"x\":[ ]}]]]]]]]]]]]]]]]]]]]]  }";

#[derive(Clone, Copy, Debug)]
enum Transport {
    Streamable,
    Sse,
}

#[derive(Clone, Copy, Debug)]
enum Endpoint {
    Aggregate,
    Alias,
}

enum Client<'a> {
    Streamable(Session<'a>),
    Sse(Legacy<'a>),
}

// === impl Client ===

impl<'a> Client<'a> {
    async fn open(gateway: &'a Running, transport: Transport, endpoint: Endpoint) -> Self {
        match (transport, endpoint) {
            (Transport::Streamable, Endpoint::Aggregate) => {
                Self::Streamable(Session::open(gateway, "/mcp").await)
            }
            (Transport::Streamable, Endpoint::Alias) => {
                Self::Streamable(Session::open(gateway, "/mcp/db").await)
            }
            (Transport::Sse, Endpoint::Aggregate) => Self::Sse(Legacy::open(gateway, "/sse").await),
            (Transport::Sse, Endpoint::Alias) => Self::Sse(Legacy::open(gateway, "/db/sse").await),
        }
    }

    /// What comes back for a request: notices, and last the answer.
    async fn ask(&mut self, body: &str) -> Vec<String> {
        match self {
            Self::Streamable(session) => session.post(body.to_owned()).await.messages(),
            Self::Sse(client) => {
                let mut messages = vec![client.ask(body).await];
                while messages.last().is_some_and(|last| last.contains("\"notifications/")) {
                    messages.push(client.events.message().await);
                }
                messages
            }
        }
    }
}

fn definition(name: &str) -> String {
    format!(
        "{{\"x-vendor\" : {ODD},\n \"inputSchema\":{{\"type\":\"object\" ,\"properties\":{{\"n\":{{\"maximum\":1.10e0}}}},\"$comment\":{ODD}}},\
         \"name\":{name}, \"annotations\":{{\"title\":\"\\u0041\"}},\"_meta\":{{\"ui\":{{ }}}} }}"
    )
}

fn request(id: &str, name: &str, token: &str) -> String {
    format!(
        "{{ \"method\" : \"tools\\/call\",\"x-unknown\":[1.10],\n \"params\":{{ \"_meta\":{{\"a/b\":1e2,\"progressToken\":{token}}},\
         \"arguments\":{ODD} ,\"name\" :{name},\"extra\":-0.0 }},\"jsonrpc\":\"2.0\" ,\"id\": {id} }}"
    )
}

fn result(id: &str) -> String {
    format!(
        "{{\"x-top\":1.10, \"result\" :{{\"structuredContent\":{ODD}, \"content\":[ ],\"isError\":false}},\"id\":{id} , \"jsonrpc\":\"2.0\"}}"
    )
}

fn progress(token: &str) -> String {
    format!(
        "{{\"params\":{{\"progress\":1.10,\"x\":{ODD} ,\"progressToken\": {token} ,\"total\":1e2}},\"method\":\"notifications/progress\",\"jsonrpc\":\"2.0\"}}"
    )
}

fn error(id: &str) -> String {
    format!(
        "{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":-32042,\"x\":{ODD},\"message\":\"m\",\"data\":{ODD}}} , \"id\":{id}}}"
    )
}

#[rstest]
#[tokio::test]
async fn everything_passes_unchanged(
    #[values(Dialect::Json, Dialect::Events, Dialect::Legacy)] dialect: Dialect,
    #[values(Transport::Streamable, Transport::Sse)] transport: Transport,
    #[values(Endpoint::Aggregate, Endpoint::Alias)] endpoint: Endpoint,
) {
    let mut script = Script::new(dialect);
    script.tools = vec![definition("\"\\u0065cho\"")];
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let mut client = Client::open(&gateway, transport, endpoint).await;

    // The list: every definition as it was sent, but for the name on the aggregate.
    let listed =
        client.ask(r#"{"jsonrpc":"2.0","id":7.50,"method":"tools/list"}"#).await.pop().expect("a page");
    let (shown, called, native) = match endpoint {
        Endpoint::Aggregate => (definition("\"db-echo\""), "\"db-\\u0065cho\"", "\"echo\""),
        Endpoint::Alias => (definition("\"\\u0065cho\""), "\"ec\\u0068o\"", "\"ec\\u0068o\""),
    };
    assert_eq!(listed, format!(r#"{{"jsonrpc":"2.0","id":7.50,"result":{{"tools":[{shown}]}}}}"#));

    // A result, an error, and both with progress before them; ids and tokens of every legal form.
    let ids = ["0", "-1", "1.50", "1e400", "123456789012345678901234567890", "\"\"", "\"\\u0041/ä\""];
    let tokens = ["\"1\"", "1", "0.10", "\"\\u0000\"", "\"1\"", "18446744073709551616", "\"t\""];
    for (round, (id, token)) in ids.iter().zip(tokens).enumerate() {
        let (is_error, has_progress) = (round % 2 == 1, round % 3 != 0);
        fake.on("tools/call", move |exchange: Exchange| async move {
            let id = exchange.seen.id();
            let answer = if is_error { error(&id) } else { result(&id) };
            let messages = if has_progress { vec![progress(&id), answer] } else { vec![answer] };
            exchange.messages(&messages).await
        });
        let messages = client.ask(&request(id, called, token)).await;
        let seen = fake.wait_for("tools/call", round + 1).await;
        let ours = seen.id();
        assert_eq!(seen.text(), request(&ours, native, &ours));
        let answer = if is_error { error(id) } else { result(id) };
        let expected = if has_progress { vec![progress(token), answer] } else { vec![answer] };
        assert_eq!(messages, expected, "round {round}");
    }
}

#[tokio::test]
async fn progress_that_nobody_asked_for_goes_nowhere() {
    let fake = Fake::of(Dialect::Events);
    fake.on("tools/call", |exchange: Exchange| async move {
        let id = exchange.seen.id();
        exchange.messages(&[progress(&id), progress("\"foreign\""), result(&id)]).await
    });
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let reply = session.ask("tools/call", r#"{"name":"db-echo"}"#).await;
    assert_eq!(reply.messages(), [result("1")]);
}

#[tokio::test]
async fn other_notices_of_a_call_pass_as_they_are() {
    let notice = format!(
        "{{\"method\":\"notifications/x-vendor\",\"params\":{{\"level\":\"info\",\"data\":{ODD}}} ,\"jsonrpc\":\"2.0\"}}"
    );
    for dialect in [Dialect::Events, Dialect::Legacy] {
        let (fake, sent) = (Fake::of(dialect), notice.clone());
        fake.on("tools/call", move |exchange: Exchange| {
            let notice = sent.clone();
            async move {
                let id = exchange.seen.id();
                exchange.messages(&[notice, result(&id)]).await
            }
        });
        let gateway = Setup::new().alias("db", &fake).ready().await;
        let session = Session::open(&gateway, "/mcp").await;
        let reply = session.ask("tools/call", r#"{"name":"db-echo"}"#).await;
        assert!(reply.is_stream());
        assert_eq!(reply.messages(), [notice.clone(), result("1")]);
    }
}

#[tokio::test]
async fn a_name_that_needs_escapes_is_written_as_json() {
    let mut script = Script::new(Dialect::Json);
    script.tools = vec![r#"{"name":"a \"b\"\\ \u0007ä","inputSchema":{}}"#.into()];
    let fake = script.start();
    let gateway = Setup::new().alias("db", &fake).ready().await;
    let session = Session::open(&gateway, "/mcp").await;
    let names = session.tools().await;
    assert!(names[0].starts_with("db-a__b_"), "{names:?}");
    session.call(&names[0]).await;
    let seen = fake.wait_for("tools/call", 1).await;
    assert_eq!(seen.json()["params"]["name"], "a \"b\"\\ \u{7}ä");
}
