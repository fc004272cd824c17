//! Resources by their URI: `resources/read`, `resources/subscribe`, `resources/unsubscribe`.

use crate::{
    catalog::{
        name::Alias,
        uris::Resolved,
        view::{Scope, View},
    },
    protocol::call::{Events, Lane},
    relay::{
        Relay,
        call::{Ready, begin, object, ready},
    },
    session::table::Session,
    wire::{error::Failure, message::Request, method::Method, params, raw::Raw},
};
use std::sync::Arc;

/// What the URIs of skills and of their files begin with.
const SKILL: &str = "skill://";
/// The longest URI that can be subscribed to, in bytes.
const LONGEST_SUBSCRIBED: usize = 8 * 1024;

// === impl Relay ===

impl Relay {
    pub(super) fn read(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        begin(self.decide_read(lane, session, &request), &request)
    }

    fn decide_read(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let params = object(request)?;
        let named = params::named(&params, "uri").map_err(Failure::invalid_params)?;
        // What is subscribed to is kept.
        if request.method != Method::ResourcesRead && named.name.len() > LONGEST_SUBSCRIBED {
            let message =
                format!("`params.uri` has {} bytes; {LONGEST_SUBSCRIBED} are the most", named.name.len());
            return Err(Failure::invalid_params(message));
        }
        let view = self.view_for(session);
        let (alias, native) = self.whose(session, &view, &named.name)?;
        let member = self.member(&alias).ok_or_else(|| Failure::unknown_resource(&named.name))?;
        let is_other = native != *named.name;
        let edits = if is_other { vec![(named.name_at.clone(), Raw::of(&native))] } else { Vec::new() };
        let mut ready = ready(lane, session, member, request, native.as_str().into(), edits, named.token)?;
        if is_other {
            ready.after.read = Some((native.clone(), named.name.clone().into_owned()));
        }
        match request.method {
            Method::ResourcesRead => {
                ready.after.is_private = session.inbox.is_stateless() && !self.0.is_open;
                ready.after.links = session.inbox.is_merged().then_some(view);
            }
            _ => {
                if is_other {
                    session.inbox.rename(alias.as_str(), &native, &named.name);
                }
                ready.after.subscription = Some(native);
            }
        }
        Ok(ready)
    }

    /// Whose resource that is, and what its upstream calls it.
    pub(super) fn whose(
        &self,
        session: &Session,
        view: &View,
        uri: &str,
    ) -> Result<(Alias, String), Failure> {
        if let Scope::One(alias) = &session.endpoint.scope {
            return Ok((alias.clone(), uri.into()));
        }
        // Files of skills need not be listed, and always say whose they are (SEP-2640); but what is listed under exactly
        // this name is that.
        let is_listed = || matches!(view.resolve(uri), Resolved::One { native, .. } if native == uri);
        if uri.starts_with(SKILL)
            && let Some((alias, native)) = view.skill(uri).filter(|(alias, _)| self.skilled(alias).is_some())
            && !is_listed()
        {
            return Ok((alias.clone(), native.into_owned()));
        }
        let linked = || session.known.linked(uri).filter(|alias| view.aliases().contains(alias));
        match view.resolve(uri) {
            Resolved::One { alias, native } => Ok(match linked().filter(|_| native != uri) {
                // Only looks like a qualified URI: an upstream linked to it under exactly this name.
                Some(alias) => (alias, uri.into()),
                None => (alias.clone(), native.into_owned()),
            }),
            Resolved::Ambiguous(forms) => {
                let forms = forms.join("`, `");
                Err(Failure::unknown_resource(uri)
                    .hint(format!("several upstreams have a resource of this URI; use one of `{forms}`")))
            }
            Resolved::Unknown => linked()
                .or_else(|| self.only_with_resources(view))
                .map(|alias| (alias, uri.into()))
                .ok_or_else(|| {
                    Failure::unknown_resource(uri).hint(
                        "resources/list and resources/templates/list name what there is on this endpoint",
                    )
                }),
        }
    }

    /// Resources need not be listed: where only one upstream has any, it knows.
    fn only_with_resources(&self, view: &View) -> Option<Alias> {
        let has_some = |alias: &&Alias| {
            self.member(alias)
                .and_then(|member| member.upstream.offer())
                .is_some_and(|offer| offer.has("resources"))
        };
        let mut some = view.aliases().iter().filter(has_some);
        let first = some.next()?;
        some.next().is_none().then(|| first.clone())
    }
}
