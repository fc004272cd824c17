//! A session's own stream over streamable HTTP, and streams that are taken up where they stopped.

use crate::{
    protocol::call::Lane,
    upstream::{
        desk::Cause,
        fault::Fault,
        http::{AGAIN, EVENT_STREAM, HttpLink, content_type, ended, messages},
        net,
        pending::number,
    },
    wire::{
        message::{Answer, Message, Notice, Request},
        method::Method,
        params,
        sse::{Decoder, Event},
    },
};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};
use reqwest::Response;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tokio_util::task::AbortOnDropHandle;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How long the first call of a session waits for the session's own stream to stand.
pub(crate) const LISTEN_FIRST: Duration = Duration::from_millis(500);
/// The longest wait that an upstream may ask for.
const AGAIN_MOST: Duration = Duration::from_secs(30);
/// The shortest.
const AGAIN_LEAST: Duration = Duration::from_millis(100);

/// Where a stream stopped, so that it can be taken up there.
#[derive(Debug, Default)]
pub(crate) struct Place {
    /// The id of the last event.
    pub(crate) last: Option<String>,
    /// Whether the stream was taken up there, and brought no message since.
    pub(crate) is_resumed: bool,
    /// The id of the last event with a message in it.
    message: Option<String>,
    /// How long the upstream wants us to wait.
    pub(crate) retry: Option<Duration>,
}

// === impl HttpLink ===

impl HttpLink {
    /// Opens the session's own stream, or takes up the stream of an event; `Err` with a 4xx if the upstream has none.
    pub(crate) async fn subscribe(&self, lane: Lane, after: Option<&str>) -> Result<Response, Fault> {
        let mut headers = self.headers.clone();
        headers.remove(CONTENT_TYPE);
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        if let Some(after) = after.and_then(|after| HeaderValue::from_str(after).ok()) {
            headers.insert(LAST_EVENT_ID, after);
        }
        let request = self.net.client(lane).get(self.url.clone()).headers(headers);
        let response = request.send().await.map_err(net::fault)?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await.1);
        }
        if !content_type(&response).starts_with(EVENT_STREAM) {
            return Err(Fault::Status { status: 405, excerpt: "no event stream".into() });
        }
        Ok(response)
    }

    /// Listens on the session's own stream until that is lost, taking it up again wherever it stopped; `stands` is told
    /// when it stands for the first time.
    pub(crate) async fn listen(self: &Arc<Self>, lane: Lane, stands: oneshot::Sender<()>) -> Fault {
        let (mut place, mut stands, mut failures) = (Place::default(), Some(stands), 0_u32);
        loop {
            let subscribed = match self.subscribe(lane, place.last.as_deref()).await {
                // What it has forgotten cannot be taken up, but what comes from now on can be heard.
                Err(Fault::Status { .. } | Fault::NotMcp(_)) if place.last.take().is_some() => continue,
                subscribed => subscribed,
            };
            let response = match subscribed {
                Ok(response) => response,
                Err(fault) => {
                    let is_lost = matches!(fault, Fault::Unreachable(_) | Fault::Closed(_));
                    if stands.is_none() && failures == 0 {
                        self.desk.audience().signals.want();
                    }
                    if stands.is_some() || !is_lost {
                        self.desk.lose();
                        return fault;
                    }
                    // It stood before: somebody in between may be restarting, and the session may live on.
                    sleep(AGAIN.saturating_mul(1 << failures.min(5)).min(AGAIN_MOST)).await;
                    failures += 1;
                    continue;
                }
            };
            failures = 0;
            if let Some(stands) = stands.take() {
                // Whoever opened the session may have stopped waiting.
                let _ = stands.send(());
            }
            place.is_resumed = place.last.is_some();
            let ended = self.hear_stream(lane, response, &mut place).await;
            tracing::debug!(?ended, "the stream of an upstream session ended");
            if let Err(fault @ (Fault::SessionGone | Fault::TooLarge(_))) = ended {
                return fault;
            }
            sleep(place.retry.unwrap_or(AGAIN)).await;
        }
    }

    async fn hear_stream(
        self: &Arc<Self>,
        lane: Lane,
        mut response: Response,
        place: &mut Place,
    ) -> Result<(), Fault> {
        let mut decoder = Decoder::new(self.max_message);
        while let Some(piece) = response.chunk().await.map_err(net::fault)? {
            decoder.push(&piece);
            while let Some(event) = decoder.next_event().map_err(|large| Fault::TooLarge(large.0))? {
                if !place.take(&event) {
                    continue;
                }
                // One odd event does not end the stream.
                for message in messages(&event.data, |data| self.show(data)).unwrap_or_default() {
                    match message {
                        Message::Notice(notice) => self.hear(&notice),
                        Message::Request(request) => self.ask(lane, request, self.cause()),
                        Message::Answer(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Opens a stream of notices by a request, and listens until it ends with the request's answer. In this era nothing is
    /// taken up where it stopped.
    pub(crate) async fn hear_asked(
        self: &Arc<Self>,
        lane: Lane,
        id: u64,
        body: Bytes,
        headers: &[(HeaderName, HeaderValue)],
        acknowledged: oneshot::Sender<Notice>,
    ) -> Result<Answer, Fault> {
        let mut response = self.post(lane, body, headers).await?;
        if !response.status().is_success() || !content_type(&response).starts_with(EVENT_STREAM) {
            return self.read_answer(lane, id, response, None).await;
        }
        let (mut decoder, mut acknowledged) = (Decoder::new(self.max_message), Some(acknowledged));
        while let Some(piece) = response.chunk().await.map_err(net::fault)? {
            decoder.push(&piece);
            while let Some(event) = decoder.next_event().map_err(|large| Fault::TooLarge(large.0))? {
                if !event.is_message() {
                    continue;
                }
                // One odd event does not end the stream.
                for message in messages(&event.data, |data| self.show(data)).unwrap_or_default() {
                    match message {
                        Message::Answer(answer) if number(&answer.id()) == Some(id) => return Ok(answer),
                        Message::Notice(notice) if notice.method == Method::Acknowledged => {
                            if let Some(acknowledged) = acknowledged.take() {
                                // Whoever wanted the stream may have stopped waiting.
                                let _ = acknowledged.send(notice);
                            }
                        }
                        Message::Notice(notice) => self.hear(&notice),
                        Message::Request(request) => self.ask(lane, request, Cause::Nothing),
                        Message::Answer(_) => {}
                    }
                }
            }
        }
        Err(ended())
    }

    /// Listens for as long as the upstream lets us, in the background.
    ///
    /// Returns when the stream stands or should, so that nothing that the first call brings about is missed.
    pub(crate) async fn listening(link: &Arc<Self>, lane: Lane) -> AbortOnDropHandle<()> {
        let link = link.clone();
        let (stands, standing) = oneshot::channel();
        let listening = AbortOnDropHandle::new(tokio::spawn(async move {
            let fault = link.listen(lane, stands).await;
            tracing::debug!(%fault, "an upstream session has no stream of its own, or not any more");
        }));
        // An upstream that leaves the stream's head open must not hold up calls; the stream may stand later.
        let _ = timeout(LISTEN_FIRST, standing).await;
        listening
    }

    pub(in crate::upstream) fn hear(&self, notice: &Notice) {
        if notice.method == Method::Cancelled {
            if let Some((id, _)) = notice.params().as_ref().and_then(params::cancelled) {
                self.desk.withdraw(&id);
            }
            return;
        }
        if notice.method == Method::Progress {
            // On the session's own stream it is not where it belongs, and yet it is whose it is.
            let token = notice.params().as_ref().and_then(params::progress);
            let sink = token.and_then(|(token, _)| self.desk.calls().sink(number(&token)?));
            return sink.iter().for_each(|sink| sink.pass_now(notice));
        }
        self.desk.audience().hear(notice);
    }

    /// Which call a question on the session's own stream is put with: with none if the client listens, and with any if it
    /// does not, since it would never hear of it.
    fn cause(&self) -> Cause {
        match &self.desk.audience().inbox {
            Some(inbox) if !inbox.stream.is_read() => {
                self.desk.calls().youngest().map_or(Cause::Nothing, Cause::Loose)
            }
            _ => Cause::Nothing,
        }
    }

    pub(in crate::upstream) fn ask(self: &Arc<Self>, lane: Lane, request: Request, cause: Cause) {
        let link = self.clone();
        self.desk.take(request, cause, move |message| {
            let link = link.clone();
            async move { link.notify(lane, message).await }
        });
    }
}

// === impl Place ===

impl Place {
    /// Remembers how far a stream came; `false` if the event has no message, or one that was read before: there are
    /// servers that begin again with the event after which they were to go on.
    pub(crate) fn take(&mut self, event: &Event) -> bool {
        if let Some(retry) = event.retry {
            self.retry = Some(Duration::from_millis(retry).clamp(AGAIN_LEAST, AGAIN_MOST));
        }
        if event.id.is_some() {
            self.last.clone_from(&event.id);
        }
        if !event.is_message() {
            return false;
        }
        // Only the first message behind the place can be that of the place itself.
        let is_again = std::mem::take(&mut self.is_resumed)
            && event.id.as_ref().is_some_and(|id| !id.is_empty())
            && event.id == self.message;
        self.message.clone_from(&event.id);
        !is_again
    }
}
