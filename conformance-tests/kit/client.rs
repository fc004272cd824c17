//! HTTP as a client sees it: status, headers, and the body to the byte.

use crate::kit::{clock::within, events, gateway::Running};
use bytes::Bytes;
use reqwest::{RequestBuilder, header::HeaderMap};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// What came back for one request.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a header of text"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
    }

    /// The messages that it holds, as text.
    pub(crate) fn messages(&self) -> Vec<String> {
        if self.is_stream() { events::all(&self.body) } else { vec![self.text().to_owned()] }
    }

    /// The last message, which is the answer.
    pub(crate) fn answer(&self) -> String {
        self.messages().pop().expect("an answer")
    }

    pub(crate) fn answer_json(&self) -> Value {
        serde_json::from_str(&self.answer()).expect("an answer of JSON")
    }

    /// Status and body, for snapshots.
    pub(crate) fn transcript(&self) -> String {
        format!("{} {}", self.status, self.text())
    }
}

/// Sends a request and reads all of the response.
pub(crate) async fn send(request: RequestBuilder) -> Reply {
    within("a response", async {
        let response = request.send().await.expect("a response");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Reply { status, headers, body: response.bytes().await.expect("a whole body") }
    })
    .await
}

/// Sends bytes as they are on a connection of their own, and reads until the gateway closes it.
pub(crate) async fn send_raw(gateway: &Running, pieces: &[&[u8]]) -> Reply {
    read_reply(&exchange_raw(gateway, pieces).await)
}

/// The same, for what may not even be answered.
pub(crate) async fn exchange_raw(gateway: &Running, pieces: &[&[u8]]) -> Vec<u8> {
    within("a raw response", async {
        let mut socket = TcpStream::connect(gateway.address).await.expect("a connection");
        for piece in pieces {
            // The gateway may answer and close before it has read everything.
            if socket.write_all(piece).await.is_err() {
                break;
            }
        }
        let mut bytes = Vec::new();
        let _ = socket.read_to_end(&mut bytes).await;
        bytes
    })
    .await
}

fn read_reply(bytes: &[u8]) -> Reply {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = std::str::from_utf8(&bytes[..end]).expect("a head of text");
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name: reqwest::header::HeaderName = name.parse().expect("a name");
        headers.append(name, value.trim().parse().expect("a value"));
    }
    Reply {
        status: status.parse().expect("a number"),
        headers,
        body: Bytes::copy_from_slice(&bytes[end + 4..]),
    }
}
