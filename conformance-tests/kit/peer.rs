//! A client that answers: it offers something, listens all the time, and is asked on whichever stream.

use crate::kit::{
    client::{Reply, send},
    clock::within,
    events::Events,
    gateway::Running,
    legacy::Legacy,
    session::{Opening, Session, hello_of},
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// Which transport a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Streamable,
    Sse,
}

/// Everything that a client can offer.
pub(crate) const OFFERS: &str =
    r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#;

/// A client that answers.
pub(crate) struct Peer<'a> {
    wire: Wire<'a>,
    says: Says,
}

type Answering = Arc<dyn Fn(&Value) -> Option<String> + Send + Sync>;

enum Wire<'a> {
    Streamable { session: Session<'a>, own: Events },
    Sse(Legacy<'a>),
}

/// How a client answers, and what it heard.
#[derive(Clone)]
struct Says {
    /// Makes an answer's `"result":…` or `"error":…` from a question; `None` leaves it unanswered.
    answer: Answering,
    /// All that was neither an answer nor a list that changed.
    heard: Arc<Mutex<Vec<Value>>>,
}

// === impl Peer ===

impl<'a> Peer<'a> {
    /// Opens a session that offers everything; its answers carry its name and the question.
    pub(crate) async fn open(gateway: &'a Running, transport: Transport, path: &str, name: &str) -> Self {
        Self::open_with(gateway, transport, path, name, OFFERS).await
    }

    /// The same with other offers.
    pub(crate) async fn open_with(
        gateway: &'a Running,
        transport: Transport,
        path: &str,
        name: &str,
        offers: &str,
    ) -> Self {
        let wire = match transport {
            Transport::Streamable => {
                let session = Opening::new(gateway, path).capabilities(offers).name(name).open().await;
                let mut own = session.listen().await;
                own.primed().await;
                Wire::Streamable { session, own }
            }
            Transport::Sse => {
                let path = path.strip_prefix("/mcp").expect("a path of streamable HTTP");
                let hello = hello_of("2024-11-05", offers, name);
                Wire::Sse(Legacy::open_with(gateway, &format!("{path}/sse"), &hello).await)
            }
        };
        let name = name.to_owned();
        let answer = move |question: &Value| {
            Some(format!(r#""result":{}"#, json!({"by": name, "asked": question["params"]})))
        };
        Self { wire, says: Says { answer: Arc::new(answer), heard: Arc::default() } }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&mut self, answer: impl Fn(&Value) -> Option<String> + Send + Sync + 'static) {
        self.says.answer = Arc::new(answer);
    }

    pub(crate) async fn post(&self, body: &str) -> Reply {
        self.wire.post(body).await
    }

    /// What it heard so far: notices and questions.
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.says.heard.lock().expect("no panic with the lock held").clone()
    }

    /// What it heard so far of one method.
    pub(crate) fn heard_of(&self, method: &str) -> Vec<Value> {
        self.heard().into_iter().filter(|message| message["method"] == method).collect()
    }

    /// The answer to a request, with a progress token, whatever else comes meanwhile.
    pub(crate) async fn ask(&mut self, method: &str, params: &Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.ask_many(&[body.to_string()]).await.pop().expect("an answer")
    }

    /// Calls a tool without arguments.
    pub(crate) async fn call(&mut self, name: &str) -> Value {
        self.ask("tools/call", &json!({"name": name, "arguments": {}})).await
    }

    /// The answers to requests that are made at once, each with an id of its own.
    pub(crate) async fn ask_many(&mut self, bodies: &[String]) -> Vec<Value> {
        match &mut self.wire {
            Wire::Streamable { session, own } => {
                let says = &self.says;
                let session = &*session;
                let posts = join_all(bodies.iter().map(|body| says.converse(session, body)));
                let listening = async {
                    while let Some(event) = own.next().await {
                        if let Some(reply) = says.take(&event.data) {
                            session.post(reply).await;
                        }
                    }
                    std::future::pending::<()>().await;
                };
                tokio::select! {
                    answers = posts => answers,
                    () = listening => unreachable!("it listens for ever"),
                }
            }
            Wire::Sse(client) => {
                let mut answers = vec![Value::Null; bodies.len()];
                let id = |body: &str| serde_json::from_str::<Value>(body).expect("JSON")["id"].clone();
                let ids: Vec<Value> = bodies.iter().map(|body| id(body)).collect();
                for body in bodies {
                    assert_eq!(client.post(body.clone()).await.status, 202);
                }
                while answers.contains(&Value::Null) {
                    let text = client.events.message().await;
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    if message.get("method").is_some() {
                        if let Some(reply) = self.says.take(&text) {
                            client.post(reply).await;
                        }
                        continue;
                    }
                    let index = ids.iter().position(|id| *id == message["id"]).expect("an answer to one");
                    assert_eq!(answers[index], Value::Null, "a second answer: {text}");
                    answers[index] = message;
                }
                answers
            }
        }
    }

    /// The next message outside of calls; a question is answered.
    pub(crate) async fn hear(&mut self) -> Value {
        let text = match &mut self.wire {
            Wire::Streamable { own, .. } => own.message().await,
            Wire::Sse(client) => client.events.message().await,
        };
        if let Some(reply) = self.says.take(&text) {
            self.wire.post(&reply).await;
        }
        serde_json::from_str(&text).expect("JSON")
    }

    /// Ends the session, as its transport does it.
    pub(crate) async fn leave(self) {
        match self.wire {
            Wire::Streamable { session, .. } => assert_eq!(session.delete().await.status, 200),
            Wire::Sse(client) => drop(client),
        }
    }
}

// === impl Wire ===

impl Wire<'_> {
    async fn post(&self, body: &str) -> Reply {
        match self {
            Self::Streamable { session, .. } => session.post(body.to_owned()).await,
            Self::Sse(client) => client.post(body.to_owned()).await,
        }
    }
}

// === impl Says ===

impl Says {
    /// Remembers a message; the answer to it, if it is a question that is answered.
    fn take(&self, text: &str) -> Option<String> {
        let message: Value = serde_json::from_str(text).expect("JSON");
        assert!(message.get("method").is_some(), "an answer to nothing: {text}");
        self.heard.lock().expect("no panic with the lock held").push(message.clone());
        let outcome = (self.answer)(&message).filter(|_| message.get("id").is_some())?;
        Some(format!(r#"{{"jsonrpc":"2.0","id":{},{outcome}}}"#, message["id"]))
    }

    /// Posts a request and follows its response to the answer.
    async fn converse(&self, session: &Session<'_>, body: &str) -> Value {
        let response = within("a response's head", session.to_post().body(body.to_owned()).send());
        let response = response.await.expect("a response");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        if !kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let body = within("a body", response.bytes()).await.expect("a whole body");
            return serde_json::from_slice(&body).expect("JSON");
        }
        let mut events = Events::new(response);
        loop {
            let text = events.message().await;
            let message: Value = serde_json::from_str(&text).expect("JSON");
            if message.get("method").is_none() {
                assert_eq!(events.next().await, None, "the answer comes last");
                return message;
            }
            if let Some(reply) = self.take(&text) {
                let reply = send(session.to_post().body(reply)).await;
                assert_eq!((reply.status, reply.text()), (202, ""));
            }
        }
    }
}
