//! Skills (SEP-2640): of all upstreams that have some as one list, and each asked for where it is.

use crate::{
    catalog::{name::Alias, skills::Place, view::View},
    protocol::{
        call::{Answering, Events, Lane, NOTICES},
        extensions::SKILLS,
        shape,
        skills::next,
        stateless::{self, Introduction},
    },
    relay::{
        Member, Relay,
        call::{Ready, begin, caller, object, ready},
        refuse,
    },
    session::table::Session,
    upstream::{Fault, Outbound},
    wire::{
        error::Failure,
        message::{Answer, Request, excerpt},
        method::Method,
        params,
        part::Part,
        raw::Raw,
    },
};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A list that is being made of upstreams' pages.
struct Listing {
    relay: Relay,
    lane: Lane,
    session: Arc<Session>,
    view: Arc<View>,
    request: Request,
    /// Those that have skills, sorted.
    aliases: Vec<Alias>,
    /// Ends what is still asked when nobody waits any more.
    cancel: CancellationToken,
    _end: DropGuard,
}

// === impl Relay ===

impl Relay {
    /// `skills/list`.
    pub(super) fn skills(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        if !session.inbox.is_merged() {
            return self.pass_skills(lane, session, request);
        }
        let view = self.view_for(session);
        let aliases: Vec<_> =
            view.aliases().iter().filter(|alias| self.skilled(alias).is_some()).cloned().collect();
        if aliases.is_empty() {
            return refuse(&request, &Failure::method_not_found(request.method.as_str()));
        }
        let params = request.params();
        let place = match params.as_ref().map(params::cursor).transpose() {
            Ok(None | Some(None)) => Some(Place { alias: aliases[0].clone(), cursor: None }),
            Ok(Some(Some(cursor))) => view.skills_place(&cursor),
            Err(reason) => return refuse(&request, &Failure::invalid_params(reason)),
        };
        let Some(place) = place else { return refuse(&request, &no_cursor()) };
        let cancel = CancellationToken::new();
        let (relay, session) = (self.clone(), session.clone());
        let listing = Listing {
            relay,
            lane,
            session,
            view,
            request,
            aliases,
            _end: cancel.clone().drop_guard(),
            cancel,
        };
        Events::waiting(Answering::new(async move { Some(listing.page(place).await) }))
    }

    /// `skills/get`, `resources/directory/read`.
    pub(super) fn skill(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        if !session.inbox.is_merged() {
            return self.pass_skills(lane, session, request);
        }
        begin(self.decide_skill(lane, session, &request), &request)
    }

    /// On an alias's own endpoint everything is as the upstream says it.
    fn pass_skills(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        let own = self.view_for(session).own().and_then(|alias| self.skilled(alias)).cloned();
        let Some(member) = own else { return self.pass(lane, session, request) };
        let decided = || {
            let params = request.params();
            let token = params.as_ref().map(params::progress_token).transpose();
            let token = token.map_err(Failure::invalid_params)?.flatten();
            let about = request.method.as_str().into();
            let mut ready = ready(lane, session, &member, &request, about, Vec::new(), token)?;
            ready.after.skills = true;
            ready.after.is_private = !self.0.is_open;
            ready.after.links = Some(self.view_for(session));
            Ok(ready)
        };
        begin(decided(), &request)
    }

    fn decide_skill(&self, lane: Lane, session: &Arc<Session>, request: &Request) -> Result<Ready, Failure> {
        let view = self.view_for(session);
        if !view.aliases().iter().any(|alias| self.skilled(alias).is_some()) {
            return Err(Failure::method_not_found(request.method.as_str()));
        }
        let params = object(request)?;
        let (uri, at) = params::text(&params, "uri").map_err(Failure::invalid_params)?;
        let token = params::progress_token(&params).map_err(Failure::invalid_params)?;
        let unknown = || {
            Failure::invalid_params(format!("`params.uri` names no skill here: {}", excerpt(&uri)))
                .hint("skills/list names the skills of this endpoint")
        };
        let (alias, native) = view.skill(&uri).ok_or_else(unknown)?;
        let member = self.skilled(alias).ok_or_else(unknown)?;
        let edits = vec![(at, Raw::of(&*native))];
        let mut ready = ready(lane, session, member, request, native.as_ref().into(), edits, token)?;
        ready.after.skills = true;
        ready.after.is_private = !self.0.is_open;
        ready.after.links = Some(view.clone());
        Ok(ready)
    }

    /// An upstream that has skills.
    pub(super) fn skilled(&self, alias: &Alias) -> Option<&Member> {
        let has_skills =
            |member: &&Member| member.upstream.offer().is_some_and(|offer| offer.extends(SKILLS));
        self.member(alias).filter(has_skills)
    }
}

// === impl Listing ===

impl Listing {
    /// The page that begins at a place; upstreams that have none to give are left out.
    async fn page(&self, mut place: Place) -> Answer {
        let id = self.request.id();
        loop {
            let after = self.aliases.iter().find(|alias| **alias > place.alias);
            let page = self.page_of(&place).await;
            match page {
                Ok(page) => {
                    let edits = self.view.skills_page(&place.alias, &page, after);
                    match edits {
                        Ok(edits) if !is_empty(&page) || next(&page).is_some() || after.is_none() => {
                            // Others may see other upstreams, and all pages of a list have one scope.
                            let page = page.edited(&edits);
                            let page = page.edited(&shape::private(&page));
                            return Answer::result(&id, &page);
                        }
                        Ok(_) => {}
                        Err(reason) => tell(&place.alias, &reason),
                    }
                }
                // Only the client can be told that it has to begin again.
                Err(Ok(error)) if place.cursor.is_some() => return Answer::error(&id, &error),
                Err(Ok(error)) => tell(&place.alias, error.as_str()),
                Err(Err(fault)) => tell(&place.alias, &fault.to_string()),
            }
            let Some(after) = after else {
                return Answer::result(&id, &Raw::of(&json!({"skills": [], "cacheScope": "private"})));
            };
            place = Place { alias: after.clone(), cursor: None };
        }
    }

    /// One upstream's page; its error, or why there is none.
    async fn page_of(&self, place: &Place) -> Result<Raw, Result<Raw, Fault>> {
        let member = self.relay.skilled(&place.alias).ok_or(Err(Fault::Stopping))?;
        let request = self.request_for(place);
        let outbound = Outbound::of(&request);
        // What comes with it waits for nobody, and ends with the call.
        let (notices, _unheard) = mpsc::channel(NOTICES);
        let caller = caller(&self.session);
        let answer = member.upstream.call(self.lane, &caller, outbound, notices, &self.cancel).await;
        match answer.map_err(Err)? {
            Some(answer) if answer.is_error => Err(Ok(answer.payload())),
            Some(answer) => Ok(answer.payload()),
            None => Err(Err(Fault::Stopping)),
        }
    }

    /// The client's request with the upstream's own cursor; nobody hears of its progress.
    fn request_for(&self, place: &Place) -> Request {
        let mut members = serde_json::Map::new();
        members.extend(place.cursor.as_ref().map(|cursor| ("cursor".to_owned(), json!(cursor))));
        let params = Raw::of(&members);
        let who = self.session.inbox.hello().filter(|(_, version)| version.is_stateless());
        let params = match who {
            Some((hello, _)) => {
                let (capabilities, client_info) = (&hello.capabilities, &hello.client_info);
                params.edited(&stateless::equip(
                    &params,
                    &Introduction { capabilities, client_info, level: None },
                ))
            }
            None => params,
        };
        Request::new(&Raw::of(&0), &Method::SkillsList, Some(&params))
    }
}

fn tell(alias: &Alias, reason: &str) {
    let reason = excerpt(reason);
    tracing::warn!(%alias, reason, "the skills of an upstream are missing in a list");
}

/// The result of one of the extension's methods with URIs that lead back; what is not as specified stays as it is.
pub(super) fn adapt(answer: Answer, alias: &Alias, method: &Method, view: &View) -> Answer {
    if answer.is_error {
        return answer;
    }
    let payload = answer.payload();
    let edits = view.skills(alias, method, &payload).unwrap_or_else(|reason| {
        tracing::info!(%alias, %method, "a result is not as specified: {reason}");
        Vec::new()
    });
    if edits.is_empty() { answer } else { answer.rewrite(&edits) }
}

fn is_empty(page: &Raw) -> bool {
    Part::of(page).member("skills").and_then(Part::items).is_some_and(|skills| skills.is_empty())
}

fn no_cursor() -> Failure {
    Failure::invalid_params("`params.cursor` is not one of this list, or no longer")
        .hint("list again from the start, without a cursor")
}
