//! `completion/complete`: for the arguments of a prompt or of a resource template.

use crate::{
    catalog::{listing::Kind, uris::Resolved, view::Scope},
    protocol::call::{Events, Lane},
    relay::{
        Relay,
        call::{Ready, begin, object, ready},
    },
    session::table::Session,
    wire::{error::Failure, message::Request, params, part::Part, raw::Raw},
};
use std::{ops::Range, sync::Arc};

/// What a completion is for: which text in the parameters names it, and how.
struct Reference {
    is_prompt: bool,
    text: String,
    at: Range<usize>,
}

// === impl Relay ===

impl Relay {
    pub(super) fn complete(&self, lane: Lane, session: &Arc<Session>, request: Request) -> Events {
        begin(self.decide_complete(lane, session, &request), &request)
    }

    fn decide_complete(
        &self,
        lane: Lane,
        session: &Arc<Session>,
        request: &Request,
    ) -> Result<Ready, Failure> {
        let params = object(request)?;
        let Reference { is_prompt, text, at } = reference(&params)?;
        let token = params::progress_token(&params).map_err(Failure::invalid_params)?;
        let view = self.view_for(session);
        let (alias, native) = if is_prompt {
            match (view.prompt(&text), self.unlisted(Kind::Prompts, session, &text)) {
                (Some(row), _) => (row.alias.clone(), row.native.to_string()),
                (None, Some(member)) => (member.upstream.alias().clone(), text.clone()),
                (None, None) => return Err(Failure::unknown_prompt(&text)),
            }
        } else if let Scope::One(alias) = &session.endpoint.scope {
            (alias.clone(), text.clone())
        } else {
            match view.resolve_template(&text) {
                Resolved::One { alias, native } => (alias.clone(), native.into_owned()),
                Resolved::Ambiguous(_) | Resolved::Unknown => self.whose(session, &view, &text)?,
            }
        };
        let member = self.member(&alias).ok_or_else(|| Failure::unknown_resource(&text))?;
        let edits = if native == text { Vec::new() } else { vec![(at, Raw::of(&native))] };
        ready(lane, session, member, request, native.as_str().into(), edits, token)
    }
}

fn reference(params: &Raw) -> Result<Reference, Failure> {
    let wrong = |what: &str| Failure::invalid_params(format!("`params.{what}"));
    let reference = Part::of(params)
        .member("ref")
        .ok_or_else(|| wrong("ref` must be an object of type ref/prompt or ref/resource; found nothing"))?;
    let text = |key: &str| {
        let part = reference.member(key)?;
        Some((serde_json::from_str::<String>(part.text()).ok()?, part.at()))
    };
    let kind = text("type").map(|(kind, _)| kind).unwrap_or_default();
    let (is_prompt, key) = match kind.as_str() {
        "ref/prompt" => (true, "name"),
        "ref/resource" => (false, "uri"),
        _ => return Err(wrong("ref.type` must be ref/prompt or ref/resource")),
    };
    let (text, at) = text(key).ok_or_else(|| wrong(&format!("ref.{key}` must be a string")))?;
    Ok(Reference { is_prompt, text, at })
}
