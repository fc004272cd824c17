//! HTTP+SSE of 2024-11-05, as its client: one stream for everything that comes, POSTs for what goes.

use crate::{
    protocol::call::Lane,
    upstream::{
        desk::Desk,
        fault::Fault,
        http::{messages, read_body},
        mux::Mux,
        net::{self, Net},
        sink::Sink,
        words,
    },
    wire::{
        message::{Answer, Message, excerpt},
        sse::Decoder,
    },
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use reqwest::Response;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use url::Url;

/// The answer to a POST is a formality; more than this of it is not read.
const ACCEPTED_BODY: usize = 64 * 1024;

/// One session with an upstream over HTTP+SSE.
#[derive(Debug)]
pub(crate) struct SseLink {
    poster: Arc<Poster>,
    mux: Mux,
    _reader: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Poster {
    net: Net,
    endpoint: Url,
    headers: HeaderMap,
}

struct Reader {
    response: Response,
    decoder: Decoder,
    lane: Lane,
    mux: Mux,
    poster: Arc<Poster>,
}

// === impl SseLink ===

impl SseLink {
    /// Opens the stream and waits for its `endpoint` event; the caller bounds the time.
    pub(crate) async fn open(
        net: Net,
        lane: Lane,
        url: &Url,
        headers: HeaderMap,
        max_message: usize,
        desk: Arc<Desk>,
    ) -> Result<Self, Fault> {
        let request = net.client(lane).get(url.clone()).headers(headers.clone());
        let mut response = request.header(ACCEPT, "text/event-stream").send().await.map_err(net::fault)?;
        let status = response.status();
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(Fault::Unauthorized(status.as_u16()));
            }
            status if !status.is_success() => {
                return Err(Fault::Status { status: status.as_u16(), excerpt: "no event stream".into() });
            }
            _ if !kind.starts_with("text/event-stream") => {
                return Err(Fault::NotMcp(format!(
                    "content type `{}` in place of an event stream",
                    excerpt(kind)
                )));
            }
            _ => {}
        }
        let mut decoder = Decoder::new(max_message);
        let endpoint = loop {
            if let Some(event) = decoder.next_event().map_err(|large| Fault::TooLarge(large.0))? {
                if event.kind == "endpoint" {
                    break resolve(url, &event.data)?;
                }
                continue;
            }
            let piece = response.chunk().await.map_err(net::fault)?;
            decoder
                .push(&piece.ok_or_else(|| Fault::Closed("the stream ended without an `endpoint`".into()))?);
        };
        let mut headers = headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let poster = Arc::new(Poster { net, endpoint, headers });
        let mux = Mux::new(desk);
        let reader = Reader { response, decoder, lane, mux: mux.clone(), poster: poster.clone() };
        Ok(Self { poster, mux, _reader: AbortOnDropHandle::new(tokio::spawn(reader.run())) })
    }

    /// Sends a request and waits for its answer on the stream.
    pub(crate) async fn request(
        &self,
        lane: Lane,
        id: u64,
        body: Bytes,
        sink: Option<Arc<Sink>>,
    ) -> Result<Answer, Fault> {
        // Nothing was sent yet: a stream that is gone by now costs the call nothing.
        let mut waiting = self.mux.pending.wait(id, sink).map_err(|_| Fault::SessionGone)?;
        let mut post = std::pin::pin!(self.poster.post(lane, body));
        // Some servers answer on the stream before they accept the POST.
        tokio::select! {
            accepted = &mut post => accepted?,
            answer = &mut waiting.answer => return answer.unwrap_or_else(|_| Err(lost())),
        }
        (&mut waiting.answer).await.unwrap_or_else(|_| Err(lost()))
    }

    /// Sends a notification or an answer.
    pub(crate) async fn notify(&self, lane: Lane, body: Bytes) -> Result<(), Fault> {
        self.poster.post(lane, body).await
    }

    /// What may be shown of a text of the upstream's.
    pub(crate) fn show(&self, text: &[u8]) -> String {
        self.poster.show(text)
    }

    /// Waits until the stream is gone, and says why.
    pub(crate) async fn wait_end(&self) -> Fault {
        self.mux.pending.wait_end().await
    }

    /// A caller has the session from now on.
    pub(crate) fn begin(&self) {
        self.mux.desk.begin();
    }

    /// Nobody answers this session's questions any more.
    pub(crate) fn end(&self) {
        self.mux.desk.close();
    }

    /// Why the stream is gone, if it is.
    pub(crate) fn ended(&self) -> Option<Fault> {
        self.mux.pending.ended()
    }
}

fn lost() -> Fault {
    Fault::Closed("the event stream ended".into())
}

/// The address of the `endpoint` event, which must have the stream's own origin (it would get our credentials).
fn resolve(url: &Url, data: &[u8]) -> Result<Url, Fault> {
    let text = String::from_utf8_lossy(data);
    let endpoint = url.join(text.trim());
    let endpoint =
        endpoint.map_err(|_| Fault::NotMcp(format!("the endpoint `{}` is no address", excerpt(&text))))?;
    if endpoint.origin() == url.origin() {
        Ok(endpoint)
    } else {
        Err(Fault::NotMcp(format!("the endpoint `{}` has another origin", excerpt(&text))))
    }
}

// === impl Poster ===

impl Poster {
    fn show(&self, text: &[u8]) -> String {
        words::beginning(text, &self.headers, &self.endpoint)
    }

    async fn post(&self, lane: Lane, body: Bytes) -> Result<(), Fault> {
        let request =
            self.net.client(lane).post(self.endpoint.clone()).headers(self.headers.clone()).body(body);
        let response = request.send().await.map_err(net::fault)?;
        let status = response.status();
        // Read to its end, so that the connection can be used again.
        let body = read_body(response, ACCEPTED_BODY).await;
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(Fault::SessionGone),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Fault::Unauthorized(status.as_u16())),
            status => {
                let excerpt = self.show(&body.unwrap_or_default());
                Err(Fault::Status { status: status.as_u16(), excerpt })
            }
        }
    }
}

// === impl Reader ===

impl Reader {
    async fn run(mut self) {
        let fault = self.read().await;
        self.mux.end(&fault);
        // The supervisor's own session tells it by ending; a client's is opened again when it is used.
        tracing::debug!(%fault, "the event stream of an upstream ended");
    }

    async fn read(&mut self) -> Fault {
        loop {
            match self.decoder.next_event() {
                Ok(Some(event)) if event.is_message() => {
                    match messages(&event.data, |data| self.poster.show(data)) {
                        Ok(messages) => messages.into_iter().for_each(|message| self.take(message)),
                        // It may have been the answer to any call, so none of them can be waited for any longer.
                        Err(fault) => return fault,
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => match self.response.chunk().await {
                    Ok(Some(piece)) => self.decoder.push(&piece),
                    Ok(None) => return lost(),
                    Err(error) => return net::fault(error),
                },
                Err(large) => return Fault::TooLarge(large.0),
            }
        }
    }

    fn take(&self, message: Message) {
        let (poster, lane) = (self.poster.clone(), self.lane);
        self.mux.take(message, move |message| {
            let poster = poster.clone();
            async move { poster.post(lane, message).await }
        });
    }
}
