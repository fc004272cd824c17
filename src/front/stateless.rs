//! Requests of the stateless era (2026-07-28): each says in its own metadata who asks and what it can do.

use crate::{
    catalog::view::Scope,
    front::{
        Front, events, listen, reply,
        turn::{Begun, Bound, Step, Turn},
    },
    policy::identity::Identity,
    protocol::{
        call::Events,
        headers,
        input::{self, Retry},
        seal::{State, Unsealed},
        stateless::{self, Envelope},
    },
    session::{parked::Gone, table::Session},
    wire::{
        error::Failure,
        message::{Answer, Request},
        method::Method,
        params,
        raw::Raw,
        sse,
    },
};
use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, StatusCode},
    response::Response,
};
use bytes::Bytes;
use futures_util::stream;
use std::{convert::Infallible, sync::Arc};
use tokio::time::{sleep, timeout};

/// Tells clients apart that are alike otherwise: their upstream sessions differ.
pub(super) const CLIENT: HeaderName = HeaderName::from_static(stateless::CLIENT);
/// The longest such name, in bytes.
const LONGEST_CLIENT: usize = 256;

/// Who sends a request of this era, and where to.
pub(super) struct Place<'a> {
    pub(super) identity: &'a Arc<Identity>,
    pub(super) path: &'a Scope,
    pub(super) scope: &'a Scope,
    /// Without them, as on standard input, there is nothing that they could contradict.
    pub(super) headers: Option<&'a HeaderMap>,
}

/// What a request leads to.
pub(super) enum Led {
    /// A call.
    Turn(Box<Turn>),
    /// A stream of what changes.
    Listen(listen::Listening),
}

// === impl Front ===

impl Front {
    /// A request of this era over HTTP.
    pub(super) async fn stateless(&self, place: Place<'_>, request: Request) -> Response {
        let id = request.id();
        match self.lead(&place, request).await {
            Ok(Led::Turn(turn)) => respond(self, *turn).await,
            Ok(Led::Listen(listening)) => listening.response(self),
            Err(failure) => refuse(&failure, &id),
        }
    }

    /// Takes a request of this era to where it belongs.
    pub(super) async fn lead(&self, place: &Place<'_>, request: Request) -> Result<Led, Failure> {
        let params = request.params();
        if let Some(headers) = place.headers {
            headers::check(headers, &request.method, params.as_ref())?;
        }
        let Envelope { hello, .. } = stateless::read(params.as_ref())?;
        if is_removed(&request.method) {
            return Err(Failure::method_not_found(request.method.as_str()));
        }
        let tag = place.headers.map(tag).transpose()?.flatten();
        let visited = self.0.sessions.visit(place.identity, (place.path, place.scope), hello, tag);
        let (session, is_new) = visited.map_err(|full| {
            Failure::exhausted("too_many_sessions", full.to_string()).hint("try again later")
        })?;
        if is_new || request.method == Method::Discover {
            // It asks for what there is only once, as it were.
            self.0.relay.settle(place.identity, place.scope).await;
        }
        match request.method {
            Method::Discover => {
                let result = self.0.relay.discover(place.identity, place.scope);
                Ok(Led::Turn(Box::new(self.turn(&session, &request, |request| {
                    Events::ready(Answer::result(&request.id(), &result))
                }))))
            }
            Method::Listen => listen::listen(self, &session, &request).await.map(Led::Listen),
            _ => self.call(place, session, request).map(|turn| Led::Turn(Box::new(turn))),
        }
    }

    fn call(&self, place: &Place<'_>, session: Arc<Session>, request: Request) -> Result<Turn, Failure> {
        let params = request.params().unwrap_or_else(|| Raw::of(&serde_json::json!({})));
        if let (Some(headers), Method::ToolsCall) = (place.headers, &request.method)
            && let Ok(named) = params::named(&params, "name")
        {
            let view = self.0.relay.view(place.identity, place.scope);
            if let Some(row) = view.called(&named.name) {
                headers::check_params(headers, &row.mirrored, params::arguments(&params).as_ref())?;
            }
        }
        let retry = if may_ask(&request.method) { input::retry(&params) } else { Ok(None) };
        let retry = retry.map_err(Failure::invalid_params)?;
        let request = match retry {
            None | Some(Retry { state: None, .. }) => request,
            Some(Retry { state: Some((text, at)), responses }) => {
                let (key, scope) = (session.identity.key, place.scope.clone());
                let bound = Bound { key, scope, request: request.clone() };
                let content = self.0.seal.open(&text, &bound.to_bytes()).map_err(unsealed)?;
                match State::from_bytes(&content).ok_or_else(|| unsealed(Unsealed::Forged))? {
                    State::Parked { id, round } => {
                        let mut going = self.0.parked.take(id, key, round).map_err(gone)?;
                        going.take(responses.unwrap_or_default());
                        let progress = params::progress_token(&params).ok().flatten().map(|(token, _)| token);
                        return Ok(Turn::resume(self, going, bound, progress));
                    }
                    State::Upstreams(state) => rewritten(&request, &[(at, state.as_bytes())]),
                    State::Again => {
                        let edits = input::answered(&params, None, None);
                        let edits: Vec<_> = edits.iter().map(|(at, text)| (at.clone(), &text[..])).collect();
                        rewritten(&request, &edits)
                    }
                }
            }
        };
        Ok(self
            .turn(&session, &request, |request| self.0.relay.handle(self.0.lane, &session, request.clone())))
    }

    fn turn(
        &self,
        session: &Arc<Session>,
        request: &Request,
        events: impl FnOnce(&Request) -> Events,
    ) -> Turn {
        let begun = Begun { session: session.clone(), request: request.clone() };
        Turn::begin(self, begun, events(request))
    }
}

/// The name that a client gives itself, if it does.
fn tag(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all(CLIENT).iter();
    let (Some(value), another) = (values.next(), values.next()) else { return Ok(None) };
    let tag =
        value.to_str().ok().filter(|tag| another.is_none() && (1..=LONGEST_CLIENT).contains(&tag.len()));
    tag.map(Some).ok_or_else(|| {
        let message = format!(
            "Invalid request: {CLIENT} must stand there once, with 1 to {LONGEST_CLIENT} visible characters"
        );
        Failure::invalid_request("client", message)
    })
}

/// Whether the answer to a request may be a question (2026-07-28, basic/patterns/mrtr).
pub(super) fn may_ask(method: &Method) -> bool {
    matches!(method, Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
}

/// Methods of the handshake era that this one does not have (2026-07-28, changelog).
fn is_removed(method: &Method) -> bool {
    matches!(
        method,
        Method::Initialize
            | Method::Ping
            | Method::SetLevel
            | Method::Subscribe
            | Method::Unsubscribe
            | Method::TasksList
            | Method::TasksResult
    )
}

fn rewritten(request: &Request, edits: &[(std::ops::Range<usize>, &[u8])]) -> Request {
    let bytes = request.rewrite(request.id().as_bytes(), edits);
    // JSON texts in the place of JSON texts: still a request.
    Request::parse(&bytes).unwrap_or_else(|| request.clone())
}

fn unsealed(why: Unsealed) -> Failure {
    let (reason, message) = match why {
        Unsealed::Forged => {
            ("request_state", "`params.requestState` was not given to this client for this request")
        }
        Unsealed::Expired => (
            "request_state_expired",
            "`params.requestState` is too old: nobody waits for the answer any more",
        ),
    };
    let mut failure = Failure::invalid_params(message);
    failure.reason = reason;
    failure.hint("send the request again without `requestState` and `inputResponses`")
}

fn gone(_: Gone) -> Failure {
    let mut failure = Failure::invalid_params("`params.requestState` was used already, or its call is over");
    failure.reason = "request_state_used";
    failure.hint("send the request again without `requestState` and `inputResponses`")
}

/// The response to a request that is refused.
pub(super) fn refuse(failure: &Failure, id: &Raw) -> Response {
    reply::bytes(failure.stateless_status(), Answer::error(id, &failure.object()).bytes().clone())
}

/// Plain JSON if the end comes soon and alone, else an event stream. Dropped, it takes the request back.
async fn respond(front: &Front, mut turn: Turn) -> Response {
    match timeout(front.0.settings.stream_after, turn.next()).await {
        Ok(Some(Step::Last(status, body))) => reply::bytes(status, body),
        Ok(Some(Step::Notice(first))) => stream(front, Some(first), turn),
        // Only after the end.
        Ok(None) => events::nothing(),
        Err(_) => stream(front, None, turn),
    }
}

fn stream(front: &Front, first: Option<Bytes>, turn: Turn) -> Response {
    let keep_alive = front.0.settings.keep_alive;
    let first = first.map_or(Bytes::from_static(sse::KEEP_ALIVE), |first| sse::encode("message", &first));
    let events = stream::unfold((Some(first), Some(turn)), move |(first, turn)| async move {
        if let Some(first) = first {
            return Some((Ok::<_, Infallible>(first), (None, turn)));
        }
        let mut turn = turn?;
        let (bytes, turn) = tokio::select! {
            step = turn.next() => match step? {
                Step::Notice(notice) => (sse::encode("message", &notice), Some(turn)),
                Step::Last(_, answer) => (sse::encode("message", &answer), None),
            },
            () = sleep(keep_alive) => (Bytes::from_static(sse::KEEP_ALIVE), Some(turn)),
        };
        Some((Ok(bytes), (None, turn)))
    });
    let mut response = Response::new(Body::from_stream(events));
    *response.status_mut() = StatusCode::OK;
    events::mark(&mut response);
    response
}
