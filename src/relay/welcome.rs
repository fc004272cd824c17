//! What an endpoint says of itself in `initialize`: no more than what some upstream that is seen there has.

use crate::{
    catalog::{listing::Listing, name::Alias, view::Scope},
    policy::identity::Identity,
    protocol::{
        extensions::{ROUTED, TASKS},
        handshake,
        version::Version,
    },
    relay::{Member, Relay},
    upstream::{Fault, State, Status},
    wire::{error::Failure, raw::Raw},
};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::timeout};

/// How long a client is kept waiting for upstreams that were never heard of: it asks for capabilities only once.
const SETTLE: Duration = Duration::from_millis(1500);
/// The most of one upstream's instructions, in characters.
const MOST_INSTRUCTIONS: usize = 8 * 1024;

// === impl Relay ===

impl Relay {
    /// Waits a little for upstreams that are still being reached for the first time.
    pub async fn settle(&self, identity: &Identity, scope: &Scope) {
        let mut starting = JoinSet::new();
        for member in self.seen(identity, scope) {
            let mut status = member.upstream.watch();
            if status.borrow().state == State::Starting {
                starting.spawn(async move {
                    // An upstream that is given up is as settled as can be.
                    let _ = status.wait_for(|status| status.state != State::Starting).await;
                });
            }
        }
        if !starting.is_empty() {
            // Whoever takes longer is found in the lists when it is there.
            let _ = timeout(SETTLE, async { while starting.join_next().await.is_some() {} }).await;
        }
        self.merged(|alias| scope.includes(alias)).await;
    }

    /// Waits a little until the catalog shows what the upstreams said last: who lists at once shall see it.
    async fn merged(&self, is_meant: impl Fn(&Alias) -> bool) {
        let mut merged = self.0.merged.subscribe();
        let is_current = |merged: &BTreeMap<Alias, Arc<Listing>>| {
            self.0.upstreams.iter().filter(|(alias, _)| is_meant(alias)).all(|(alias, member)| {
                let said = member.upstream.status().listing;
                said.is_none_or(|said| merged.get(alias).is_some_and(|merged| Arc::ptr_eq(merged, &said)))
            })
        };
        // The merging is on its way, and takes milliseconds.
        let _ = timeout(SETTLE, merged.wait_for(is_current)).await;
    }

    /// Waits until the upstream of an endpoint that is for one only was reached, for as long as one attempt may take;
    /// what will not pass by itself is said at once.
    pub async fn reach(&self, scope: &Scope) -> Result<(), Failure> {
        let Scope::One(alias) = scope else { return Ok(()) };
        let Some(Member { upstream, .. }) = self.member(alias) else { return Ok(()) };
        let (mut status, after) = (upstream.watch(), upstream.patience());
        let before = status.borrow().failures;
        if matches!(status.borrow().state, State::Down(_)) {
            upstream.want();
        }
        let is_settled = |status: &Status| match &status.state {
            State::Ready => true,
            State::Down(fault) => status.failures > before && !fault.may_pass(),
            State::Starting => false,
        };
        // Whatever ends the waiting, the state says how it went.
        let _ = timeout(after, status.wait_for(is_settled)).await;
        let fault = match upstream.status().state {
            State::Ready => {
                self.merged(|known| known == alias).await;
                return Ok(());
            }
            State::Down(fault) => fault,
            State::Starting => Fault::Timeout { step: "answer", after },
        };
        let message = format!("{}: {fault}", upstream.address());
        Err(Failure::upstream(alias.as_str(), fault.reason(), message).retryable())
    }

    /// The result of `initialize` on an endpoint.
    pub fn welcome(&self, version: Version, identity: &Identity, scope: &Scope) -> Raw {
        if let Scope::One(alias) = scope
            && let Some(offer) = self.member(alias).and_then(|member| member.upstream.offer())
            && !offer.welcome.version.is_stateless()
        {
            let mut capabilities = offer.welcome.capabilities.clone();
            self.hide_others_tasks(alias, &mut capabilities);
            let tasks = capabilities.remove("tasks").filter(|_| self.shares_tasks(alias));
            let replaced: Vec<_> = tasks.map(|tasks| ("tasks", tasks)).into_iter().collect();
            return handshake::own_welcome(version, &offer.welcome, &replaced);
        }
        let (capabilities, instructions) = self.offered(identity, scope, version);
        let info = self.server_info(scope).unwrap_or_else(handshake::info);
        handshake::welcome(version, &Value::Object(capabilities), instructions.as_deref(), &info)
    }

    /// What an endpoint can do for a client of that revision, and its instructions for the model.
    pub(super) fn offered(
        &self,
        identity: &Identity,
        scope: &Scope,
        version: Version,
    ) -> (Map<String, Value>, Option<String>) {
        let (mut capabilities, mut sections) = (Map::new(), Vec::new());
        capabilities.insert("tools".into(), json!({}));
        let is_one = matches!(scope, Scope::One(_));
        for member in self.seen(identity, scope) {
            let Some(offer) = member.upstream.offer() else { continue };
            let alias = member.upstream.alias();
            let mut own = offer.welcome.capabilities.clone();
            self.hide_others_tasks(alias, &mut own);
            if version.is_stateless() != offer.welcome.version.is_stateless() {
                // The tasks of one era are not those of the other: they are waited for inside the calls that make them.
                own.shift_remove("tasks");
                if let Some(Value::Object(extensions)) = own.get_mut("extensions") {
                    extensions.shift_remove(TASKS);
                }
            }
            if is_one {
                own.entry("tools").or_insert_with(|| json!({}));
                capabilities = own;
            } else {
                let extensions = if version.is_stateless() { EXTENDED } else { &[] };
                for name in SERVED.iter().chain(extensions) {
                    if let Some(Value::Object(own)) = own.get(*name) {
                        let all = capabilities.entry(*name).or_insert_with(|| json!({}));
                        unite(all, own);
                    }
                }
            }
            if let Some(instructions) = &offer.welcome.instructions {
                let section = || section(alias, instructions);
                sections.push(if is_one { instructions.clone() } else { section() });
            }
        }
        if !is_one && let Some(Value::Object(extensions)) = capabilities.get_mut("extensions") {
            // What is not known here could not be routed.
            extensions.retain(|name, _| ROUTED.contains(&name.as_str()));
        }
        list_changes(&mut capabilities);
        (capabilities, (!sections.is_empty()).then(|| sections.join("\n\n")))
    }

    /// Where clients share a session its list of tasks would show those of the others.
    fn hide_others_tasks(&self, alias: &Alias, capabilities: &mut Map<String, Value>) {
        if let Some(Value::Object(tasks)) = capabilities.get_mut("tasks").filter(|_| self.shares_tasks(alias))
        {
            tasks.shift_remove("list");
        }
    }

    fn shares_tasks(&self, alias: &Alias) -> bool {
        self.member(alias).is_some_and(|member| !member.upstream.has_own_sessions())
    }

    fn seen(&self, identity: &Identity, scope: &Scope) -> impl Iterator<Item = &Member> {
        let is_seen =
            move |alias: &Alias| scope.includes(alias) && identity.grant.allows_alias(alias.as_str());
        self.0.upstreams.iter().filter(move |(alias, _)| is_seen(alias)).map(|(_, member)| member)
    }
}

/// The capabilities that several upstreams can have as one.
const SERVED: &[&str] = &["tools", "prompts", "resources", "completions", "logging", "tasks"];

/// What of the stateless era several upstreams can have as one beside those.
const EXTENDED: &[&str] = &["extensions"];

fn list_changes(capabilities: &mut Map<String, Value>) {
    for name in handshake::LISTED {
        if let Some(Value::Object(own)) = capabilities.get_mut(name) {
            own.insert("listChanged".into(), true.into());
        }
    }
}

/// Adds what another upstream has: what one of them can do can be done.
fn unite(all: &mut Value, own: &Map<String, Value>) {
    let Value::Object(all) = all else { return };
    for (key, value) in own {
        match (all.get_mut(key), value) {
            (Some(known @ Value::Object(_)), Value::Object(own)) => unite(known, own),
            (Some(known), value) if *known != Value::Bool(true) => *known = value.clone(),
            (Some(_), _) => {}
            (None, value) => {
                all.insert(key.clone(), value.clone());
            }
        }
    }
}

fn section(alias: &Alias, instructions: &str) -> String {
    let instructions: String = instructions.chars().take(MOST_INSTRUCTIONS).collect();
    format!("# {alias}\n\n{}", instructions.trim())
}
