//! Calls: sent to whichever session serves the caller, and answered exactly once.

use crate::{
    protocol::{
        call::{Event, Lane},
        headers::{self, Mirrored},
        level,
    },
    upstream::{
        Caller, Inner, Upstream,
        affinity::{Affinity, Lease},
        fault::Fault,
        polling,
        rounds::{Next, Rounds},
        sink::Sink,
    },
    wire::{
        message::{Answer, Request},
        method::Method,
        params,
        raw::Raw,
        splice::Edit,
    },
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::json;
use std::{
    ops::Range,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// A request on its way to an upstream: the client's bytes, and what is changed in them.
#[derive(Debug)]
pub struct Outbound<'a> {
    /// The client's request.
    pub request: &'a Request,
    /// What stands where in its parameters and is replaced: the native name or URI as a JSON string, before all others.
    pub edits: &'a [(Range<usize>, Raw)],
    /// The client's progress token and where it stands.
    pub token: Option<(Raw, Range<usize>)>,
    /// The least severe log messages that are wanted with this request, where each request says so.
    pub level: Option<&'static str>,
    /// Which arguments headers repeat.
    pub mirrored: &'a [Mirrored],
    /// Whether the tool needs a task of 2025-11-25 of which its client can hear nothing.
    pub needs_task: bool,
}

/// Ends the questions that came with a call when it ends. In a session of one client's own they go on as long as other
/// calls of the client do: it may have been another that caused them, and the client is meant in any case.
struct Tie<'call> {
    lease: &'call Lease,
    sink: &'call Sink,
    is_own: bool,
}

/// A call under way.
pub(in crate::upstream) struct Calling<'call> {
    pub(in crate::upstream) inner: &'call Inner,
    pub(in crate::upstream) lane: Lane,
    pub(in crate::upstream) caller: &'call Caller,
    pub(in crate::upstream) affinity: Affinity,
    pub(in crate::upstream) sink: Arc<Sink>,
    pub(in crate::upstream) cancel: &'call CancellationToken,
    pub(in crate::upstream) deadline: Instant,
}

// === impl Upstream ===

impl Upstream {
    /// Calls it. `Ok(None)` means that the client took the call back.
    ///
    /// A call is sent a second time only when the upstream said that it did not look at it, or that it wants it again.
    pub async fn call(
        &self,
        lane: Lane,
        caller: &Caller,
        outbound: Outbound<'_>,
        notices: mpsc::Sender<Event>,
        cancel: &CancellationToken,
    ) -> Result<Option<Answer>, Fault> {
        let inner = &*self.0;
        let calling = Calling {
            inner,
            lane,
            caller,
            affinity: inner.affinity(caller),
            sink: Arc::new(inner.sink(caller, &outbound, notices)),
            cancel,
            deadline: Instant::now() + inner.settings.timeouts.call,
        };
        let mut rounds = Rounds::default();
        loop {
            let Some((answer, is_stateless)) = calling.send(&outbound, &rounds).await? else {
                return Ok(None);
            };
            if !is_stateless {
                let is_task = outbound.needs_task && !answer.is_error;
                return if is_task {
                    polling::block(&calling, outbound.request, answer).await
                } else {
                    Ok(Some(answer))
                };
            }
            match rounds.next(&calling, outbound.request, answer).await? {
                Next::Done(answer) => return Ok(answer),
                Next::Again => {}
            }
        }
    }
}

// === impl Inner ===

impl Inner {
    fn sink(&self, caller: &Caller, outbound: &Outbound<'_>, notices: mpsc::Sender<Event>) -> Sink {
        let is_own = matches!(self.affinity(caller), Affinity::Session(_));
        // Where upstreams are merged, clients were offered what one of them declares.
        let offered = || {
            !caller.inbox.is_merged() || self.offer.load().as_ref().is_some_and(|offer| offer.has("logging"))
        };
        let (logs, level) = if caller.inbox.is_stateless() {
            (outbound.level.is_some(), outbound.level)
        } else {
            // The upstream knows the level of a client that it has a session with.
            (offered(), caller.inbox.level().filter(|_| !is_own))
        };
        Sink {
            alias: self.alias.clone(),
            token: outbound.token.as_ref().map(|(token, _)| token.clone()),
            logs,
            level,
            inbox: caller.inbox.clone(),
            notices,
            over: CancellationToken::new(),
            has_asked: AtomicBool::new(false),
        }
    }

    /// The level that a session has to be told for one request's log messages, if it is another than it knows: what is
    /// shared is as verbose as the most curious wants it.
    fn level_to_tell(&self, lease: &Lease, affinity: Affinity, wanted: &'static str) -> Option<&'static str> {
        let mut told = lease.told();
        let mut lowest = told.map_or(wanted, |told| level::lower(told, wanted));
        if !matches!(affinity, Affinity::Session(_)) {
            let mut shared = self.level.lock().unwrap_or_else(PoisonError::into_inner);
            lowest = shared.map_or(lowest, |shared| level::lower(shared, lowest));
            *shared = Some(lowest);
        }
        (told.replace(lowest) != Some(lowest)).then_some(lowest)
    }
}

// === impl Calling ===

impl Calling<'_> {
    /// Sends the request once, or once more to a new session if the old one was forgotten. Tells the answer, and
    /// whether it is one of the stateless era.
    pub(in crate::upstream) async fn send(
        &self,
        outbound: &Outbound<'_>,
        rounds: &Rounds,
    ) -> Result<Option<(Answer, bool)>, Fault> {
        let Self { inner, lane, caller, affinity, sink, cancel, deadline } = self;
        let (lane, affinity) = (*lane, *affinity);
        let is_own = matches!(affinity, Affinity::Session(_));
        let mut is_first = true;
        loop {
            let lease = inner.sessions.lease(affinity, caller.key, lane)?;
            let link = tokio::select! {
                link = lease.link(|| inner.open_for(lane, caller, affinity)) => link.map_err(|fault| {
                    inner.sessions.forget(affinity, &lease);
                    inner.signals.want();
                    fault.while_opening()
                })?,
                () = cancel.cancelled() => return Ok(None),
            };
            if let Some(wanted) = outbound.level.filter(|_| link.welcome.capabilities.contains_key("logging"))
                && !link.is_stateless()
                && let Some(level) = inner.level_to_tell(&lease, affinity, wanted)
            {
                inner.say(lane, link, &Method::SetLevel, &Raw::of(&json!({"level": level}))).await;
            }
            let id = inner.ids.fetch_add(1, Ordering::Relaxed);
            let body = rounds.body(outbound, id, link, caller);
            let headers = if link.is_stateless() { outbound.headers() } else { Vec::new() };
            let _tie = Tie { lease: &lease, sink, is_own };
            let answer = tokio::select! {
                answer = link.request(lane, id, body, Some(sink.clone()), &headers) => answer,
                () = cancel.cancelled() => {
                    link.cancel(lane, id, "the client cancelled the call");
                    return Ok(None);
                }
                () = sleep_until(*deadline) => {
                    link.cancel(lane, id, "the call took too long");
                    return Err(self.overdue());
                }
            };
            match answer {
                Ok(answer) => {
                    if answer.is_error && !is_own {
                        inner.elicitations.keep_all(&answer, &caller.inbox);
                    }
                    return Ok(Some((answer, link.is_stateless())));
                }
                Err(fault) => {
                    if fault == Fault::SessionGone || link.ended().is_some() {
                        inner.sessions.forget(affinity, &lease);
                    }
                    if fault != Fault::SessionGone || !is_first {
                        inner.signals.want();
                        return Err(fault);
                    }
                    is_first = false;
                }
            }
        }
    }

    pub(in crate::upstream) fn overdue(&self) -> Fault {
        // Whatever it asked, the client's time to answer is part of the call's.
        let has_asked = self.sink.has_asked.load(Ordering::SeqCst);
        let step =
            if has_asked { "answer the call, which asked its client something," } else { "answer the call" };
        Fault::Timeout { step, after: self.inner.settings.timeouts.call }
    }
}

// === impl Outbound ===

impl<'a> Outbound<'a> {
    /// A request of our own, as it is.
    pub fn of(request: &'a Request) -> Self {
        Self { request, edits: &[], token: None, level: None, mirrored: &[], needs_task: false }
    }
}

impl Outbound<'_> {
    /// The bytes to send: our id, the native name, our progress token; every other byte as the client wrote it.
    pub(in crate::upstream) fn body(&self, id: u64, more: &[Edit]) -> Bytes {
        let id = id.to_string();
        let mut edits: Vec<(Range<usize>, &[u8])> = Vec::with_capacity(self.edits.len() + 1 + more.len());
        edits.extend(self.edits.iter().map(|(at, text)| (at.clone(), text.as_bytes())));
        if let Some((_, at)) = &self.token {
            edits.push((at.clone(), id.as_bytes()));
        }
        edits.extend(more.iter().map(|(at, text)| (at.clone(), &text[..])));
        self.request.rewrite(id.as_bytes(), &edits)
    }

    /// What the headers of a request of the stateless era repeat of its body (2026-07-28, SEP-2243).
    fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let method = &self.request.method;
        let params = self.request.params();
        let name = headers::name_key(method).and_then(|key| match self.edits.first() {
            Some((_, native)) => serde_json::from_str::<String>(native.as_str()).ok(),
            None => params::text(params.as_ref()?, key).ok().map(|(name, _)| name.into_owned()),
        });
        let arguments =
            if self.mirrored.is_empty() { None } else { params.as_ref().and_then(params::arguments) };
        let mut all = headers::of_named(method, name.as_deref());
        all.extend(headers::values(self.mirrored, arguments.as_ref()));
        all
    }
}

// === impl Tie ===

impl Drop for Tie<'_> {
    fn drop(&mut self) {
        if self.sink.has_asked.load(Ordering::SeqCst) {
            let over = self.sink.over.clone();
            if self.is_own { self.lease.end_with_last(over) } else { over.cancel() }
        }
    }
}
