//! One open session with an upstream, over whichever transport.

use crate::{
    protocol::{call::Lane, handshake::Welcome},
    upstream::{
        NOTICE, era,
        fault::Fault,
        hearing::{Ear, Watch},
        http::HttpLink,
        settings::Transport,
        sink::Sink,
        sse::SseLink,
        stdio::StdioLink,
    },
    wire::{
        message::{Answer, Notice, Request},
        method::Method,
        raw::Raw,
    },
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use std::{future::pending, sync::Arc};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::task::AbortOnDropHandle;

/// One open session with an upstream.
#[derive(Debug)]
pub(crate) struct Link {
    /// What the upstream said of itself.
    pub(crate) welcome: Arc<Welcome>,
    wire: Wire,
    /// The resources that it is subscribed to, in the stateless era.
    watch: Option<Watch>,
    _listener: Option<AbortOnDropHandle<()>>,
}

/// What a session's messages go over.
#[derive(Clone, Debug)]
pub(crate) enum Wire {
    Http(Arc<HttpLink>),
    Sse(Arc<SseLink>),
    Stdio(Arc<StdioLink>),
}

// === impl Link ===

impl Link {
    /// A session of the handshake era; `listener` hears what the upstream says between calls, where that does not come by
    /// itself.
    pub(crate) fn session(welcome: Welcome, wire: Wire, listener: Option<AbortOnDropHandle<()>>) -> Self {
        Self { welcome: Arc::new(welcome), wire, watch: None, _listener: listener }
    }

    /// A link of the stateless era; `ear` opens the streams that it listens on.
    pub(crate) fn stateless(welcome: Welcome, ear: Ear, listener: Option<AbortOnDropHandle<()>>) -> Self {
        Self {
            welcome: Arc::new(welcome),
            wire: ear.wire.clone(),
            watch: Some(Watch::new(ear)),
            _listener: listener,
        }
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

    /// The resources that it is subscribed to, in the stateless era; in the handshake era the upstream keeps them.
    pub(crate) fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        self.wire.show(text)
    }

    /// Why it is of no use any more, as far as is known.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.wire.ended()
    }

    /// Makes a request of the gateway's own, as its era wants it; the caller bounds the time.
    pub(crate) async fn own(
        &self,
        lane: Lane,
        id: u64,
        method: &Method,
        params: Option<Map<String, Value>>,
    ) -> Result<Answer, Fault> {
        if self.is_stateless() {
            let (request, headers) = era::own_request(id, method, params.unwrap_or_default());
            return self.request(lane, id, request.bytes().clone(), None, &headers).await;
        }
        let params = params.map(|params| Raw::of(&params));
        let request = Request::new(&Raw::of(&id), method, params.as_ref());
        self.request(lane, id, request.bytes().clone(), None, &[]).await
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
            // It has streams of its own for that, and no session that could be lost.
            Wire::Http(_) if self.is_stateless() => pending().await,
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

// === impl Wire ===

impl Wire {
    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        match self {
            Self::Http(link) => link.show(text),
            Self::Sse(link) => link.show(text),
            Self::Stdio(link) => link.show(text),
        }
    }

    /// Why it is of no use any more, as far as is known.
    pub(crate) fn ended(&self) -> Option<Fault> {
        match self {
            Self::Http(_) => None,
            Self::Sse(link) => link.ended(),
            Self::Stdio(link) => link.ended(),
        }
    }

    /// Opens a stream of notices and listens until it ends; `acknowledged` is told when the upstream says that it stands.
    /// Dropped before, it ends the stream.
    pub(crate) async fn hear(
        &self,
        lane: Lane,
        id: u64,
        body: Bytes,
        headers: &[(HeaderName, HeaderValue)],
        acknowledged: oneshot::Sender<Notice>,
    ) -> Result<Answer, Fault> {
        match self {
            Self::Http(link) => link.hear_asked(lane, id, body, headers, acknowledged).await,
            Self::Stdio(link) => link.hear(id, body, acknowledged).await,
            Self::Sse(_) => Err(Fault::NotMcp("HTTP+SSE has no such streams".into())),
        }
    }
}
