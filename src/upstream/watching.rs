//! Subscriptions to resources and tasks of an upstream of the stateless era, which keeps none: all of a session's are those
//! of one stream.

use crate::{
    protocol::call::Lane,
    upstream::{
        Caller, Inner,
        affinity::Affinity,
        fault::Fault,
        hearing::Refusal,
        link::Link,
        subscriptions::{New, Topic},
        words,
    },
    wire::{error::Failure, message::Answer, raw::Raw},
};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

// === impl Inner ===

impl Inner {
    /// Subscribes the session of a caller to one resource or task more; the answer is the one to the caller's request. `Ok(None)`
    /// means that the client took the request back.
    pub(in crate::upstream) async fn watch(
        &self,
        lane: Lane,
        caller: &Caller,
        affinity: Affinity,
        topic: &Topic,
        id: &Raw,
        cancel: &CancellationToken,
    ) -> Result<Option<Answer>, Fault> {
        let lease = self.sessions.lease(affinity, caller.key, lane)?;
        let after = self.settings.timeouts.call;
        let change = async {
            let link = lease.link(|| self.open_for(lane, caller, affinity)).await.map_err(|fault| {
                self.sessions.forget(affinity, &lease);
                fault.while_opening()
            })?;
            let Some(watch) = link.watch() else {
                // It was of the stateless era when it was looked at last.
                return Err(Fault::SessionGone);
            };
            // Whoever comes first asks for all that are just coming; what fails together may go one by one.
            let all = watch.change(|now| self.subscriptions.to_watch(affinity, now, New::All)).await;
            let agreed = match all {
                Err(_) => {
                    watch.change(|now| self.subscriptions.to_watch(affinity, now, New::One(topic))).await
                }
                agreed => agreed,
            };
            match agreed {
                Ok(agreed) if agreed.contains(topic) => Ok(Answer::result(id, &Raw::of(&json!({})))),
                Ok(_) => {
                    let alias = self.alias.as_str();
                    let message = format!("upstream `{alias}` does not tell when this changes");
                    let failure = Failure::upstream(alias, "not_subscribed", message);
                    Ok(Answer::error(id, &failure.object()))
                }
                Err(Refusal::Error(error)) => Ok(Answer::error(id, &error)),
                Err(Refusal::Fault(fault)) => Err(fault),
            }
        };
        tokio::select! {
            answer = timeout(after, change) => {
                let answer = answer.unwrap_or(Err(Fault::Timeout { step: "acknowledge a subscription", after }));
                answer.map(Some).inspect_err(|_| self.signals.want())
            }
            () = cancel.cancelled() => Ok(None),
        }
    }

    /// Ends what nobody is subscribed to any more; nobody waits for the outcome.
    pub(in crate::upstream) async fn watch_less(&self, lane: Lane, affinity: Affinity) {
        let Some(lease) = self.sessions.lease_open(affinity, lane) else { return };
        if let Some(link) = lease.opened() {
            self.watch_again(link, affinity).await;
        }
    }

    /// Subscribes a session to what it is to be subscribed to.
    pub(in crate::upstream) async fn watch_again(&self, link: &Link, affinity: Affinity) {
        let Some(watch) = link.watch() else { return };
        let alias = &self.alias;
        match watch.change(|now| self.subscriptions.to_watch(affinity, now, New::Nothing)).await {
            Ok(_) => {}
            Err(Refusal::Error(error)) => {
                let said = link.show(&words::error_message(&error));
                tracing::info!(%alias, "an upstream refused what its clients want to hear of: {said}");
            }
            Err(Refusal::Fault(fault)) => {
                tracing::info!(%alias, "an upstream was not told what its clients want to hear of: {fault}");
            }
        }
    }
}
