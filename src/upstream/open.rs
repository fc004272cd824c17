//! Opens a session with an upstream: finds the transport, introduces the gateway.

use crate::{
    protocol::{
        call::Lane,
        discovery::{self, Verdict},
        handshake::{self, Hello, Welcome},
        version::Version,
    },
    upstream::{
        audience::Audience,
        desk::Desk,
        era::{self, Memory, Way},
        fault::Fault,
        hearing::Ear,
        http::{HttpLink, SESSION_ID},
        link::{Link, Wire},
        listen::LISTEN_FIRST,
        net::Net,
        settings::{Command, Credential, Era, Settings, Target, Transport},
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
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::AUTHORIZATION};
use secrecy::ExposeSecret as _;
use serde_json::Map;
use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};
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
    /// What is known of its era.
    pub(crate) memory: &'a Memory,
    /// The ids of our requests.
    pub(crate) ids: &'a Arc<AtomicU64>,
    /// The client that is introduced; without one the gateway introduces itself.
    pub(crate) client: Option<(&'a Hello, Version)>,
    /// Who hears what belongs to no call.
    pub(crate) audience: &'a Audience,
    /// What it is for.
    pub(crate) purpose: Purpose,
}

/// What a session is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One look: nothing is listened for.
    Look,
    /// The supervisor, who listens on a stream of the session's own by himself.
    Keep,
    /// Calls, so that it listens by itself.
    Calls,
}

/// Why an upstream was not found to be of the stateless era.
pub(crate) struct Not {
    /// What went wrong.
    pub(crate) fault: Fault,
    /// Whether `initialize` would fare no better.
    is_final: bool,
}

/// The id of `initialize`, which is never used for anything else.
const INITIALIZE: u64 = 0;
/// How long an upstream may take to say that it is of the stateless era before `initialize` is tried beside that. One that
/// just starts may take longer.
const PROBE: Duration = Duration::from_secs(5);
/// The same as a part of the time for an answered `initialize`.
const PROBE_PART: u32 = 3;
const INITIALIZED_IN_TIME: &str = "answer `initialize`";
const DISCOVERED_IN_TIME: &str = "answer `server/discover`";

/// What an upstream was found to be.
enum Asked {
    Stateless(Welcome),
    /// A session of the handshake era was opened meanwhile.
    Handshake(Link),
}

// === impl Opening ===

impl Opening<'_> {
    /// Connects and introduces the gateway.
    pub(crate) async fn open(&self) -> Result<Link, Fault> {
        let link = match &self.settings.target {
            // Rare and large: who waits for a call need not carry it.
            Target::Http(url) => Box::pin(self.open_at(url)).await,
            Target::Stdio(command) => self.open_stdio(command).await,
        };
        let link = link.map_err(|fault| self.with_era(fault))?;
        self.memory.learn(link.welcome.version);
        Ok(link)
    }

    /// What fails because one era only is allowed says so.
    fn with_era(&self, fault: Fault) -> Fault {
        let era = match self.settings.era {
            Era::Handshake => "handshake",
            Era::Stateless => "stateless",
            Era::Auto | Era::HandshakeFirst => return fault,
        };
        match fault {
            Fault::Handshake(said) => Fault::Handshake(format!("{said} (the alias file has `era: {era}`)")),
            fault => fault,
        }
    }

    async fn open_at(&self, url: &Url) -> Result<Link, Fault> {
        let headers = headers(self.settings).await?;
        let is_sse = url.path().trim_end_matches('/').ends_with("/sse");
        // What has the address of an HTTP+SSE stream is not asked for an era that came after that.
        let way = match self.memory.way(self.settings.era) {
            Way::Ask if is_sse => Way::Initialize,
            way => way,
        };
        let order: &[Transport] = match (self.settings.transport, self.known) {
            _ if way == Way::Discover => &[Transport::Http],
            (Transport::Auto, Some(Transport::Sse)) => &[Transport::Sse, Transport::Http],
            (Transport::Auto, None) if is_sse => &[Transport::Sse, Transport::Http],
            (Transport::Auto | Transport::Stdio, _) => &[Transport::Http, Transport::Sse],
            (Transport::Http, _) => &[Transport::Http],
            (Transport::Sse, _) => &[Transport::Sse],
        };
        let mut first: Option<Fault> = None;
        for transport in order {
            let attempt = match transport {
                Transport::Sse => self.initialized(self.open_sse(url, headers.clone())).await,
                _ => self.open_http(url, headers.clone(), way).await,
            };
            match attempt {
                Ok(link) => return Ok(link),
                // What the first transport met says more than what the second, a guess, did.
                Err(fault) if !speaks_otherwise(&fault) => return Err(first.unwrap_or(fault)),
                Err(fault) => first = Some(first.unwrap_or(fault)),
            }
        }
        Err(first.unwrap_or_else(|| Fault::Handshake("no transport is left to try".into())))
    }

    /// The outcome of an attempt at `initialize`, in time.
    async fn initialized(&self, attempt: impl Future<Output = Result<Link, Fault>>) -> Result<Link, Fault> {
        let after = self.settings.timeouts.connect;
        let overdue = Err(Fault::Timeout { step: INITIALIZED_IN_TIME, after });
        timeout(after, attempt).await.unwrap_or(overdue)
    }

    /// What an upstream of either era answers to `server/discover`. If it takes its time, `initialize` is tried meanwhile, and
    /// whatever succeeds first counts: one of the two is not known to a server that knows one only.
    async fn ask(
        &self,
        way: Way,
        asking: impl Future<Output = Result<Welcome, Not>>,
        initialize: impl Future<Output = Result<Link, Fault>>,
    ) -> Result<Asked, Not> {
        let after = self.settings.timeouts.connect;
        let overdue = || Not { fault: Fault::Timeout { step: DISCOVERED_IN_TIME, after }, is_final: true };
        let mut asking = pin!(asking);
        if way == Way::Discover {
            let answer = timeout(after, &mut asking).await;
            return answer.unwrap_or_else(|_| Err(overdue())).map(Asked::Stateless);
        }
        let patience = PROBE.min(after / PROBE_PART);
        if let Ok(answer) = timeout(patience, &mut asking).await {
            return answer.map(Asked::Stateless);
        }
        match self.initialized(initialize).await {
            Ok(link) => Ok(Asked::Handshake(link)),
            Err(fault) => match timeout(after.saturating_sub(patience), asking).await {
                Ok(Ok(welcome)) => Ok(Asked::Stateless(welcome)),
                // What ended while it was asked may do if it is not.
                Ok(Err(not)) if ended_it(&not.fault) => Err(not),
                _ => Err(Not { fault, is_final: true }),
            },
        }
    }

    async fn open_http(&self, url: &Url, headers: HeaderMap, way: Way) -> Result<Link, Fault> {
        let initialize = || Box::pin(self.initialize_http(url, headers.clone()));
        let way = match way {
            Way::Initialize => return self.initialized(initialize()).await,
            Way::InitializeFirst => match self.initialized(initialize()).await {
                Err(fault) if speaks_otherwise(&fault) || matches!(fault, Fault::Handshake(_)) => {
                    Way::Discover
                }
                initialized => return initialized,
            },
            way => way,
        };
        let (net, limit) = (self.net.clone(), self.settings.max_message);
        let link = Arc::new(HttpLink::stateless(net, url.clone(), headers.clone(), limit, self.desk()));
        match self.ask(way, Box::pin(self.discover_http(&link)), initialize()).await {
            Ok(Asked::Stateless(welcome)) => Ok(self.stateless(welcome, Wire::Http(link)).await),
            Ok(Asked::Handshake(opened)) => Ok(opened),
            Err(not) if way == Way::Discover || not.is_final => Err(not.fault),
            Err(_) => self.initialized(initialize()).await,
        }
    }

    async fn discover_http(&self, link: &Arc<HttpLink>) -> Result<Welcome, Not> {
        let (id, request, headers) = self.discover();
        let asked = async {
            let response = link.post(self.lane, request.bytes().clone(), &headers).await?;
            if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
                return Err(link.refusal(response).await.1);
            }
            link.read_answer(self.lane, id, response, None).await
        };
        let answer = asked.await.map_err(|fault| Not {
            // Neither would `initialize` get through.
            is_final: matches!(fault, Fault::Unreachable(_) | Fault::Unauthorized(_)),
            fault,
        })?;
        read_discovery(&answer, |text| link.show(text))
    }

    async fn initialize_http(&self, url: &Url, headers: HeaderMap) -> Result<Link, Fault> {
        let (url, limit) = (url.clone(), self.settings.max_message);
        let first = Arc::new(HttpLink::new(self.net.clone(), url, headers, limit, self.desk()));
        let response = first.post(self.lane, self.initialize().bytes().clone(), &[]).await?;
        let session = response.headers().get(SESSION_ID).cloned();
        let answer = first.read_answer(self.lane, INITIALIZE, response, None).await?;
        let welcome = welcome(&answer, |text| first.show(text))?;
        let link = Arc::new(first.agreed(welcome.version.as_str(), session));
        link.notify(self.lane, initialized()).await?;
        // Without a session there is nothing that a stream could be of.
        let is_heard = link.has_session() && self.purpose == Purpose::Calls;
        let listener = if is_heard { Some(HttpLink::listening(&link, self.lane).await) } else { None };
        Ok(Link::session(welcome, Wire::Http(link), listener))
    }

    async fn open_sse(&self, url: &Url, headers: HeaderMap) -> Result<Link, Fault> {
        let limit = self.settings.max_message;
        let link = SseLink::open(self.net.clone(), self.lane, url, headers, limit, self.desk()).await?;
        let answer = link.request(self.lane, INITIALIZE, self.initialize().bytes().clone(), None).await?;
        let welcome = welcome(&answer, |text| link.show(text))?;
        link.notify(self.lane, initialized()).await?;
        Ok(Link::session(welcome, Wire::Sse(Arc::new(link)), None))
    }

    async fn open_stdio(&self, command: &Command) -> Result<Link, Fault> {
        let way = self.memory.way(self.settings.era);
        let link = Arc::new(self.start(command)?);
        if matches!(way, Way::Initialize | Way::InitializeFirst) {
            return self.initialized(self.initialize_stdio(&link)).await;
        }
        match self.ask(way, self.discover_stdio(&link), self.initialize_stdio(&link)).await {
            Ok(Asked::Stateless(welcome)) => {
                link.desk().refuse_all();
                Ok(self.stateless(welcome, Wire::Stdio(link)).await)
            }
            Ok(Asked::Handshake(opened)) => Ok(opened),
            Err(not) if way == Way::Ask && ended_it(&not.fault) => {
                // There are servers that end when anything comes before `initialize`. They are not asked again, and
                // never run twice: some of them lock what they use.
                let alias = &self.audience.alias;
                tracing::info!(%alias, "an upstream ended when it was asked for its era; it is started again and not asked");
                self.memory.died();
                link.close().await;
                let link = Arc::new(self.start(command)?);
                self.initialized(self.initialize_stdio(&link)).await
            }
            Err(not) if way == Way::Discover || not.is_final => Err(not.fault),
            Err(_) => self.initialized(self.initialize_stdio(&link)).await,
        }
    }

    fn start(&self, command: &Command) -> Result<StdioLink, Fault> {
        StdioLink::open(command, self.settings.max_message, self.net.processes(), self.desk())
    }

    async fn discover_stdio(&self, link: &StdioLink) -> Result<Welcome, Not> {
        let (id, request, _) = self.discover();
        let answer = link.request(id, request.bytes().clone(), None).await;
        let answer = answer.map_err(|fault| Not { fault, is_final: false })?;
        read_discovery(&answer, |text| link.show(text))
    }

    async fn initialize_stdio(&self, link: &Arc<StdioLink>) -> Result<Link, Fault> {
        let answer = link.request(INITIALIZE, self.initialize().bytes().clone(), None).await?;
        let welcome = welcome(&answer, |text| link.show(text))?;
        link.notify(initialized()).await?;
        Ok(Link::session(welcome, Wire::Stdio(link.clone()), None))
    }

    /// A link of the stateless era, which hears of changes from the start.
    async fn stateless(&self, welcome: Welcome, wire: Wire) -> Link {
        let (lane, audience, ids) = (self.lane, self.audience.clone(), self.ids.clone());
        let (introduced, patience) = (self.settings.introduced.clone(), self.settings.timeouts.connect);
        let ear = Ear { wire, lane, ids, audience, introduced, patience };
        if self.purpose == Purpose::Look {
            return Link::stateless(welcome, ear, None);
        }
        let (stands, standing) = oneshot::channel();
        let listener = ear.clone().lists(&welcome.capabilities, stands);
        // An upstream that takes its time must not hold up calls; the stream may stand later.
        let _ = timeout(LISTEN_FIRST, standing).await;
        Link::stateless(welcome, ear, listener)
    }

    fn discover(&self) -> (u64, Request, Vec<(HeaderName, HeaderValue)>) {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (request, headers) =
            era::own_request(self.settings.introduced.as_deref(), id, &Method::Discover, Map::new());
        (id, request, headers)
    }

    fn desk(&self) -> Arc<Desk> {
        Desk::new(self.audience.clone(), self.settings.timeouts.call)
    }

    fn initialize(&self) -> Request {
        Request::new(&Raw::of(&INITIALIZE), &Method::Initialize, Some(&handshake::hello(self.client)))
    }
}

/// Whether the upstream's process ended.
fn ended_it(fault: &Fault) -> bool {
    matches!(fault, Fault::Closed(_) | Fault::SessionGone)
}

/// What an answer to `server/discover` tells.
pub(crate) fn read_discovery(answer: &Answer, show: impl Fn(&[u8]) -> String) -> Result<Welcome, Not> {
    match discovery::judge(answer) {
        Verdict::Stateless(welcome) => Ok(*welcome),
        Verdict::Refused(said) => Err(Not { fault: Fault::Handshake(show(said.as_bytes())), is_final: true }),
        Verdict::Handshake => {
            let said = show(&if answer.is_error {
                words::error_message(&answer.payload())
            } else {
                answer.payload().as_bytes().to_vec()
            });
            let fault =
                Fault::Handshake(format!("it does not speak MCP {}: {said}", Version::STATELESS.as_str()));
            Err(Not { fault, is_final: false })
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
