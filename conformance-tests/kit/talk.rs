//! A call that an upstream has not answered yet, and on which it asks and tells: on the call's own stream, on the
//! session's, or on the only one that there is.

use crate::kit::{
    exchange::{Exchange, Kept, Seen, Stream, event},
    upstream::{Dialect, Shared},
};
use serde_json::Value;
use std::sync::Arc;

/// A call that is not answered yet.
pub(crate) struct Talk {
    pub(crate) call: Seen,
    pub(crate) shared: Arc<Shared>,
    /// The session of the call, if the upstream keeps any.
    session: Option<String>,
    line: Line,
}

enum Line {
    /// The stream of the POST.
    Post(Stream),
    /// The session's own stream, while the POST waits for its JSON.
    Session(Box<Exchange>, String),
    /// HTTP+SSE: the POST was accepted already.
    Legacy(String),
}

// === impl Exchange ===

impl Exchange {
    /// Begins to talk about the call; dialect JSON needs a session with a stream for it.
    pub(crate) async fn talk(self) -> Talk {
        let (call, shared) = (self.seen.clone(), self.shared.clone());
        let own = self.session();
        let session = own.clone().unwrap_or_default();
        let line = match shared.script().dialect {
            Dialect::Events => Line::Post(self.stream().await),
            Dialect::Json => Line::Session(Box::new(self), session),
            Dialect::Legacy => {
                // The connection is not used again, so that answers do not wait behind the call.
                self.respond(202, &[("connection", "close")], b"").await;
                Line::Legacy(session)
            }
        };
        Talk { call, shared, session: own, line }
    }

    /// Asks one question, waits for its answer, and makes the answer the result of the call.
    pub(crate) async fn ask_and_answer(self, id: &str, method: &str, params: &Value) -> Kept {
        let mut talk = self.talk().await;
        let answer = talk.ask(id, method, params).await;
        talk.result(&format!(r#"{{"content":[],"answer":{answer}}}"#)).await
    }
}

// === impl Talk ===

impl Talk {
    /// Sends a message on the call's stream, or what stands for it.
    pub(crate) async fn say(&mut self, message: &str) {
        match &mut self.line {
            Line::Post(stream) => stream.send(message).await,
            Line::Session(_, session) | Line::Legacy(session) => self.shared.send_to(session, event(message)),
        }
    }

    /// Asks, and does not wait for the answer.
    pub(crate) async fn put(&mut self, id: &str, method: &str, params: &Value) {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.say(&message).await;
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&mut self, id: &str, method: &str, params: &Value) -> Value {
        let before = self.shared.answered(self.session.as_deref(), id);
        self.put(id, method, params).await;
        self.shared.answer(self.session.as_deref(), id, before + 1).await.json()
    }

    /// Sends progress on the call, with the token that came with it.
    pub(crate) async fn progress(&mut self, progress: u32) {
        let token = &self.call.json()["params"]["_meta"]["progressToken"];
        let notice = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{progress}}}}}"#
        );
        self.say(&notice).await;
    }

    /// Answers the call.
    pub(crate) async fn result(self, result: &str) -> Kept {
        self.end(&format!(r#""result":{result}"#)).await
    }

    pub(crate) async fn error(self, error: &str) -> Kept {
        self.end(&format!(r#""error":{error}"#)).await
    }

    async fn end(self, outcome: &str) -> Kept {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{},{outcome}}}"#, self.call.id());
        match self.line {
            Line::Post(mut stream) => {
                stream.send(&message).await;
                stream.end().await
            }
            Line::Session(exchange, _) => exchange.json(&message).await,
            Line::Legacy(session) => {
                self.shared.send_to(&session, event(&message));
                None
            }
        }
    }

    /// Waits until nobody listens any more.
    pub(crate) async fn until_over(&mut self) {
        match &mut self.line {
            Line::Post(stream) => stream.hung_up().await,
            Line::Session(..) | Line::Legacy(_) => std::future::pending().await,
        }
    }

    /// Breaks off: the call's stream, or the session's only one.
    pub(crate) fn cut(self) -> Kept {
        match self.line {
            Line::Post(stream) => stream.cut(),
            Line::Session(exchange, _) => exchange.close(),
            Line::Legacy(session) => {
                self.shared.detach(&session);
                None
            }
        }
    }
}
