//! One open session with an upstream, over whichever transport.

use crate::{
    protocol::{
        call::Lane,
        handshake::{self, Welcome},
    },
    upstream::{
        fault::Fault,
        http::{HttpLink, SESSION_ID},
        net::Net,
        settings::{Credential, Settings, Transport},
        signals::Signals,
        sink::Sink,
        sse::SseLink,
    },
    wire::{
        message::{Answer, Notice, Request, excerpt},
        method::Method,
        raw::Raw,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use tokio::time::timeout;

/// One open session with an upstream.
#[derive(Debug)]
pub(crate) struct Link {
    /// What the upstream said of itself.
    pub(crate) welcome: Arc<Welcome>,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    Http(HttpLink),
    Sse(SseLink),
}

/// The id of `initialize`, which is never used for anything else.
const INITIALIZE: u64 = 0;

// === impl Link ===

impl Link {
    /// Connects and introduces the gateway; `known` is the transport that worked before.
    pub(crate) async fn open(
        net: &Net,
        lane: Lane,
        settings: &Settings,
        known: Option<Transport>,
        signals: &Arc<Signals>,
    ) -> Result<Self, Fault> {
        let headers = headers(settings).await?;
        let order: &[Transport] = match (settings.transport, known) {
            (Transport::Auto, Some(Transport::Sse)) => &[Transport::Sse, Transport::Http],
            (Transport::Auto, None) if settings.url.path().trim_end_matches('/').ends_with("/sse") => {
                &[Transport::Sse, Transport::Http]
            }
            (Transport::Auto, _) => &[Transport::Http, Transport::Sse],
            (Transport::Http, _) => &[Transport::Http],
            (Transport::Sse, _) => &[Transport::Sse],
        };
        let mut first: Option<Fault> = None;
        for transport in order {
            let attempt = async {
                match transport {
                    Transport::Sse => Self::open_sse(net, lane, settings, headers.clone(), signals).await,
                    Transport::Http | Transport::Auto => {
                        Self::open_http(net, lane, settings, headers.clone(), signals).await
                    }
                }
            };
            let after = settings.timeouts.connect;
            let step = "answer `initialize`";
            match timeout(after, attempt).await.unwrap_or(Err(Fault::Timeout { step, after })) {
                Ok(link) => return Ok(link),
                // What the first transport met says more than what the second, a guess, did.
                Err(fault) if !speaks_otherwise(&fault) => return Err(first.unwrap_or(fault)),
                Err(fault) => first = Some(first.unwrap_or(fault)),
            }
        }
        Err(first.unwrap_or_else(|| Fault::Handshake("no transport is left to try".into())))
    }

    async fn open_http(
        net: &Net,
        lane: Lane,
        settings: &Settings,
        headers: HeaderMap,
        signals: &Arc<Signals>,
    ) -> Result<Self, Fault> {
        let (url, limit) = (settings.url.clone(), settings.max_message);
        let mut link = HttpLink::new(net.clone(), url, headers, limit, signals.clone());
        let response = link.post(lane, initialize().bytes().clone()).await?;
        let session = response.headers().get(SESSION_ID).cloned();
        let welcome = welcome(&link.read_answer(lane, INITIALIZE, response, None).await?)?;
        link.agree(welcome.version.as_str(), session);
        link.notify(lane, Notice::new(&Method::Initialized, None).bytes().clone()).await?;
        Ok(Self { welcome: Arc::new(welcome), wire: Wire::Http(link) })
    }

    async fn open_sse(
        net: &Net,
        lane: Lane,
        settings: &Settings,
        headers: HeaderMap,
        signals: &Arc<Signals>,
    ) -> Result<Self, Fault> {
        let (url, limit) = (&settings.url, settings.max_message);
        let link = SseLink::open(net.clone(), lane, url, headers, limit, signals.clone()).await?;
        let answer = link.request(lane, INITIALIZE, initialize().bytes().clone(), None).await?;
        let welcome = welcome(&answer)?;
        link.notify(lane, Notice::new(&Method::Initialized, None).bytes().clone()).await?;
        Ok(Self { welcome: Arc::new(welcome), wire: Wire::Sse(link) })
    }

    /// The transport that it is.
    pub(crate) fn transport(&self) -> Transport {
        match self.wire {
            Wire::Http(_) => Transport::Http,
            Wire::Sse(_) => Transport::Sse,
        }
    }

    /// Whether the upstream keeps something for this session.
    pub(crate) fn has_session(&self) -> bool {
        match &self.wire {
            Wire::Http(link) => link.has_session(),
            Wire::Sse(_) => true,
        }
    }

    /// Why it is of no use any more, as far as is known.
    pub(crate) fn ended(&self) -> Option<Fault> {
        match &self.wire {
            Wire::Http(_) => None,
            Wire::Sse(link) => link.ended(),
        }
    }

    /// Sends a request and waits for its answer; the caller bounds the time.
    pub(crate) async fn request(
        &self,
        lane: Lane,
        id: u64,
        body: Bytes,
        sink: Option<Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        match &self.wire {
            Wire::Http(link) => link.request(lane, id, body, sink.as_deref()).await,
            Wire::Sse(link) => link.request(lane, id, body, sink).await,
        }
    }

    /// Sends a notification.
    pub(crate) async fn notify(&self, lane: Lane, body: Bytes) -> Result<(), Fault> {
        match &self.wire {
            Wire::Http(link) => link.notify(lane, body).await,
            Wire::Sse(link) => link.notify(lane, body).await,
        }
    }

    /// Listens for what the upstream says by itself, until that ends. HTTP+SSE listens all the time, so that
    /// there it only waits for the end.
    pub(crate) async fn listen(&self, lane: Lane) -> Result<(), Fault> {
        match &self.wire {
            Wire::Http(link) => link.listen(lane).await,
            Wire::Sse(link) => Err(link.wait_end().await),
        }
    }

    /// Ends the session.
    pub(crate) async fn close(&self, lane: Lane) {
        if let Wire::Http(link) = &self.wire {
            link.close(lane).await;
        }
    }
}

/// Whether a fault may mean that the upstream speaks the other transport.
fn speaks_otherwise(fault: &Fault) -> bool {
    match fault {
        Fault::Status { status, .. } => (400..500).contains(status),
        Fault::NotMcp(_) | Fault::Redirect(_) | Fault::SessionGone => true,
        _ => false,
    }
}

fn initialize() -> Request {
    Request::new(&Raw::of(&INITIALIZE), &Method::Initialize, Some(&handshake::hello()))
}

fn welcome(answer: &Answer) -> Result<Welcome, Fault> {
    if answer.is_error {
        return Err(Fault::Handshake(excerpt(answer.payload().as_str())));
    }
    handshake::read_welcome(&answer.payload()).map_err(Fault::Handshake)
}

/// The alias's own headers and its credential, read anew.
async fn headers(settings: &Settings) -> Result<HeaderMap, Fault> {
    let mut headers = settings.headers.clone();
    let text = match &settings.credential {
        Credential::None => return Ok(headers),
        Credential::Bearer(token) => format!("Bearer {}", token.expose_secret()),
        Credential::BearerFile(path) => {
            let token = tokio::fs::read_to_string(path).await;
            let token = token.map_err(|error| Fault::Credential(format!("{}: {error}", path.display())))?;
            format!("Bearer {}", token.trim())
        }
        Credential::Basic { username, password } => {
            format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose_secret())))
        }
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| Fault::Credential("it has characters that no header may have".into()))?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Ok(headers)
}
