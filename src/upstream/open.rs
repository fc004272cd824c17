//! Opens a session with an upstream: finds the transport, introduces the gateway.

use crate::{
    protocol::{
        call::Lane,
        handshake::{self, Hello, Welcome},
        version::Version,
    },
    upstream::{
        audience::Audience,
        desk::Desk,
        fault::Fault,
        http::{HttpLink, SESSION_ID},
        link::Link,
        net::Net,
        settings::{Command, Credential, Settings, Target, Transport},
        sse::SseLink,
        stdio::StdioLink,
        words,
    },
    wire::{
        message::{Answer, Notice, Request},
        method::Method,
        raw::Raw,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::ExposeSecret as _;
use std::sync::Arc;
use tokio::time::timeout;
use url::Url;

/// What is needed to open a session.
pub(crate) struct Opening<'a> {
    /// Connections.
    pub(crate) net: &'a Net,
    /// The lane that opens it.
    pub(crate) lane: Lane,
    /// How the upstream is reached.
    pub(crate) settings: &'a Settings,
    /// The transport that worked before.
    pub(crate) known: Option<Transport>,
    /// The client that is introduced; without one the gateway introduces itself.
    pub(crate) client: Option<(&'a Hello, Version)>,
    /// Who hears what belongs to no call.
    pub(crate) audience: &'a Audience,
    /// Whether the session serves calls from the start, so that it listens by itself; the supervisor listens to its own.
    pub(crate) is_for_calls: bool,
}

/// The id of `initialize`, which is never used for anything else.
const INITIALIZE: u64 = 0;

// === impl Opening ===

impl Opening<'_> {
    /// Connects and introduces the gateway.
    pub(crate) async fn open(&self) -> Result<Link, Fault> {
        let settings = self.settings;
        let after = settings.timeouts.connect;
        let step = "answer `initialize`";
        let url = match &settings.target {
            Target::Http(url) => url,
            Target::Stdio(command) => {
                let attempt = timeout(after, self.open_stdio(command)).await;
                return attempt.unwrap_or(Err(Fault::Timeout { step, after }));
            }
        };
        let headers = headers(settings).await?;
        let order: &[Transport] = match (settings.transport, self.known) {
            (Transport::Auto, Some(Transport::Sse)) => &[Transport::Sse, Transport::Http],
            (Transport::Auto, None) if url.path().trim_end_matches('/').ends_with("/sse") => {
                &[Transport::Sse, Transport::Http]
            }
            (Transport::Auto | Transport::Stdio, _) => &[Transport::Http, Transport::Sse],
            (Transport::Http, _) => &[Transport::Http],
            (Transport::Sse, _) => &[Transport::Sse],
        };
        let mut first: Option<Fault> = None;
        for transport in order {
            let attempt = async {
                match transport {
                    Transport::Sse => self.open_sse(url, headers.clone()).await,
                    _ => self.open_http(url, headers.clone()).await,
                }
            };
            match timeout(after, attempt).await.unwrap_or(Err(Fault::Timeout { step, after })) {
                Ok(link) => return Ok(link),
                // What the first transport met says more than what the second, a guess, did.
                Err(fault) if !speaks_otherwise(&fault) => return Err(first.unwrap_or(fault)),
                Err(fault) => first = Some(first.unwrap_or(fault)),
            }
        }
        Err(first.unwrap_or_else(|| Fault::Handshake("no transport is left to try".into())))
    }

    async fn open_http(&self, url: &Url, headers: HeaderMap) -> Result<Link, Fault> {
        let (url, limit) = (url.clone(), self.settings.max_message);
        let first = Arc::new(HttpLink::new(self.net.clone(), url, headers, limit, self.desk()));
        let response = first.post(self.lane, self.initialize().bytes().clone(), &[]).await?;
        let session = response.headers().get(SESSION_ID).cloned();
        let answer = first.read_answer(self.lane, INITIALIZE, response, None).await?;
        let welcome = welcome(&answer, |text| first.show(text))?;
        let link = Arc::new(first.agreed(welcome.version.as_str(), session));
        link.notify(self.lane, initialized()).await?;
        // Without a session there is nothing that a stream could be of; the supervisor listens to its own.
        let is_heard = link.has_session() && self.is_for_calls;
        let listener = if is_heard { Some(HttpLink::listening(&link, self.lane).await) } else { None };
        Ok(Link::http(welcome, link, listener))
    }

    async fn open_sse(&self, url: &Url, headers: HeaderMap) -> Result<Link, Fault> {
        let limit = self.settings.max_message;
        let link = SseLink::open(self.net.clone(), self.lane, url, headers, limit, self.desk()).await?;
        let answer = link.request(self.lane, INITIALIZE, self.initialize().bytes().clone(), None).await?;
        let welcome = welcome(&answer, |text| link.show(text))?;
        link.notify(self.lane, initialized()).await?;
        Ok(Link::sse(welcome, link))
    }

    async fn open_stdio(&self, command: &Command) -> Result<Link, Fault> {
        let link = StdioLink::open(command, self.settings.max_message, self.net.processes(), self.desk())?;
        let answer = link.request(INITIALIZE, self.initialize().bytes().clone(), None).await?;
        let welcome = welcome(&answer, |text| link.show(text))?;
        link.notify(initialized()).await?;
        Ok(Link::stdio(welcome, link))
    }

    fn desk(&self) -> Arc<Desk> {
        Desk::new(self.audience.clone(), self.settings.timeouts.call)
    }

    fn initialize(&self) -> Request {
        Request::new(&Raw::of(&INITIALIZE), &Method::Initialize, Some(&handshake::hello(self.client)))
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

fn initialized() -> bytes::Bytes {
    Notice::new(&Method::Initialized, None).bytes().clone()
}

fn welcome(answer: &Answer, show: impl Fn(&[u8]) -> String) -> Result<Welcome, Fault> {
    if answer.is_error {
        return Err(Fault::Handshake(show(&words::error_message(&answer.payload()))));
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
