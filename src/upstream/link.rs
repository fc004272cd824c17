//! One open session with an upstream, over whichever transport.

use crate::{
    protocol::{call::Lane, handshake::Welcome},
    upstream::{
        NOTICE, fault::Fault, http::HttpLink, settings::Transport, sink::Sink, sse::SseLink, stdio::StdioLink,
    },
    wire::{
        message::{Answer, Notice},
        method::Method,
        raw::Raw,
    },
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::json;
use std::sync::Arc;
use tokio::{sync::oneshot, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// One open session with an upstream.
#[derive(Debug)]
pub(crate) struct Link {
    /// What the upstream said of itself.
    pub(crate) welcome: Arc<Welcome>,
    wire: Wire,
    _listener: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
enum Wire {
    Http(Arc<HttpLink>),
    Sse(SseLink),
    Stdio(StdioLink),
}

// === impl Link ===

impl Link {
    /// A session over streamable HTTP; `listener` hears what the upstream says between calls.
    pub(crate) fn http(
        welcome: Welcome,
        link: Arc<HttpLink>,
        listener: Option<AbortOnDropHandle<()>>,
    ) -> Self {
        Self { welcome: Arc::new(welcome), wire: Wire::Http(link), _listener: listener }
    }

    /// A session over HTTP+SSE.
    pub(crate) fn sse(welcome: Welcome, link: SseLink) -> Self {
        Self { welcome: Arc::new(welcome), wire: Wire::Sse(link), _listener: None }
    }

    /// A session with a child process.
    pub(crate) fn stdio(welcome: Welcome, link: StdioLink) -> Self {
        Self { welcome: Arc::new(welcome), wire: Wire::Stdio(link), _listener: None }
    }

    /// The transport that it is.
    pub(crate) fn transport(&self) -> Transport {
        match self.wire {
            Wire::Http(_) => Transport::Http,
            Wire::Sse(_) => Transport::Sse,
            Wire::Stdio(_) => Transport::Stdio,
        }
    }

    /// Whether it is of the stateless era: no session, everything in each request.
    pub(crate) fn is_stateless(&self) -> bool {
        self.welcome.version.is_stateless()
    }

    /// Whether the upstream keeps something for this session.
    pub(crate) fn has_session(&self) -> bool {
        match &self.wire {
            _ if self.is_stateless() => false,
            Wire::Http(link) => link.has_session(),
            Wire::Sse(_) | Wire::Stdio(_) => true,
        }
    }

    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        match &self.wire {
            Wire::Http(link) => link.show(text),
            Wire::Sse(link) => link.show(text),
            Wire::Stdio(link) => link.show(text),
        }
    }

    /// Why it is of no use any more, as far as is known.
    pub(crate) fn ended(&self) -> Option<Fault> {
        match &self.wire {
            Wire::Http(_) => None,
            Wire::Sse(link) => link.ended(),
            Wire::Stdio(link) => link.ended(),
        }
    }

    /// Sends a request and waits for its answer; the caller bounds the time. `headers` say over streamable HTTP what the
    /// request is (2026-07-28, "Standard Request Headers"), and nothing anywhere else.
    ///
    /// Dropped before the answer has come, it closes the stream of the answer where there is one for this request
    /// only, which is how a request of the stateless era is cancelled over HTTP.
    pub(crate) async fn request(
        &self,
        lane: Lane,
        id: u64,
        body: Bytes,
        sink: Option<Arc<Sink>>,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Fault> {
        match &self.wire {
            Wire::Http(link) => link.request(lane, id, body, sink.as_ref(), headers).await,
            Wire::Sse(link) => link.request(lane, id, body, sink).await,
            Wire::Stdio(link) => link.request(id, body, sink).await,
        }
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, lane: Lane, body: Bytes) -> Result<(), Fault> {
        match &self.wire {
            Wire::Http(link) => link.notify(lane, body).await,
            Wire::Sse(link) => link.notify(lane, body).await,
            Wire::Stdio(link) => link.notify(body).await,
        }
    }

    /// Tells the upstream that nobody waits for a request any more; nobody waits for that either. Over HTTP an upstream
    /// of the stateless era sees it by the end of the connection.
    pub(crate) fn cancel(self: &Arc<Self>, lane: Lane, id: u64, reason: &str) {
        if self.is_stateless() && matches!(self.wire, Wire::Http(_)) {
            return;
        }
        let params = Raw::of(&json!({"requestId": id, "reason": reason}));
        let body = Notice::new(&Method::Cancelled, Some(&params)).bytes().clone();
        let link = self.clone();
        tokio::spawn(async move {
            if let Ok(Err(fault)) = timeout(NOTICE, link.notify(lane, body)).await {
                tracing::debug!(%fault, "an upstream did not take a cancellation");
            }
        });
    }

    /// Listens for what the upstream says by itself, until that is lost. HTTP+SSE and processes are listened to all the
    /// time, so that there it only waits for the end.
    pub(crate) async fn listen(&self, lane: Lane) -> Fault {
        match &self.wire {
            Wire::Http(link) => link.listen(lane, oneshot::channel().0).await,
            Wire::Sse(link) => link.wait_end().await,
            Wire::Stdio(link) => link.wait_end().await,
        }
    }

    /// A caller has the session from now on: if it ends by itself, that matters.
    pub(crate) fn begin(&self) {
        match &self.wire {
            Wire::Http(link) => link.desk().begin(),
            Wire::Sse(link) => link.begin(),
            Wire::Stdio(link) => link.begin(),
        }
    }

    /// Nobody uses the session any more: its questions get no answers.
    pub(crate) fn end(&self) {
        match &self.wire {
            Wire::Http(link) => link.desk().close(),
            Wire::Sse(link) => link.end(),
            Wire::Stdio(link) => link.end(),
        }
    }

    /// Ends the session.
    pub(crate) async fn close(&self, lane: Lane) {
        self.end();
        match &self.wire {
            Wire::Http(link) => link.close(lane).await,
            Wire::Sse(_) => {}
            Wire::Stdio(link) => link.close().await,
        }
    }
}
