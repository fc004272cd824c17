//! The era of an upstream: what is remembered of it, and how a request of our own is made in it.

use crate::{
    protocol::{
        extensions::TASKS,
        handshake, headers,
        stateless::{self, Introduction},
        version::Version,
    },
    upstream::{
        fault::Fault,
        settings::{Era, Introduced},
    },
    wire::{message::Request, method::Method, raw::Raw},
};
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value, json};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is known of an upstream's era, until something is wrong with the upstream.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Known>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Known {
    /// Nothing: it is asked.
    #[default]
    Nothing,
    /// It is of the handshake era.
    Handshake,
    /// Its process ended when it was asked, so that it is not asked again.
    Mortal,
}

/// How a session is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By `server/discover`, and by `initialize` if that is no use.
    Ask,
    /// By `server/discover`.
    Discover,
    /// By `initialize`.
    Initialize,
    /// By `initialize`, and by `server/discover` if that is no use.
    InitializeFirst,
}

// === impl Memory ===

impl Memory {
    /// How a session is opened with an upstream of this setting.
    pub(crate) fn way(&self, era: Era) -> Way {
        match (era, *self.known()) {
            (Era::Stateless, _) => Way::Discover,
            (Era::HandshakeFirst, _) => Way::InitializeFirst,
            (Era::Auto, Known::Nothing) => Way::Ask,
            (Era::Handshake, _) | (Era::Auto, Known::Handshake | Known::Mortal) => Way::Initialize,
        }
    }

    /// A session was opened.
    pub(crate) fn learn(&self, version: Version) {
        let mut known = self.known();
        if version.is_stateless() {
            *known = Known::Nothing;
        } else if *known == Known::Nothing {
            *known = Known::Handshake;
        }
    }

    /// The upstream's process ended when it was asked for its era.
    pub(crate) fn died(&self) {
        *self.known() = Known::Mortal;
    }

    /// Something is wrong with the upstream: it may be another by now. One that ended when it was asked is asked again only
    /// if it answers the handshake wrongly.
    pub(crate) fn doubt(&self, fault: &Fault) {
        let mut known = self.known();
        let answers = matches!(fault, Fault::Handshake(_) | Fault::NotMcp(_) | Fault::Status { .. });
        if *known != Known::Mortal || answers {
            *known = Known::Nothing;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // No code that holds the lock can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request of our own to an upstream of the stateless era, in which the gateway introduces itself or who it stands
/// for, and its headers.
pub(crate) fn own_request(
    introduced: Option<&Introduced>,
    id: u64,
    method: &Method,
    mut params: Map<String, Value>,
) -> (Request, Vec<(HeaderName, HeaderValue)>) {
    let (capabilities, client_info) = match introduced {
        Some(introduced) => (introduced.capabilities.clone(), introduced.client_info.clone()),
        None => {
            let mut capabilities = handshake::offered();
            if params.get("notifications").is_some_and(|wanted| wanted.get("taskIds").is_some()) {
                // Who declares no tasks may be told of none.
                capabilities["extensions"] = json!({TASKS: {}});
            }
            (Raw::of(&capabilities), handshake::info())
        }
    };
    let who = Introduction { capabilities: &capabilities, client_info: &client_info, level: None };
    let meta = serde_json::from_str(stateless::meta(&who).as_str()).unwrap_or_default();
    params.insert("_meta".into(), meta);
    let params = Raw::of(&params);
    let request = Request::new(&Raw::of(&id), method, Some(&params));
    (request, headers::standard(method, Some(&params)))
}

#[cfg(test)]
mod tests {
    use super::{Memory, Way};
    use crate::{
        protocol::version::Version,
        upstream::{fault::Fault, settings::Era},
    };

    #[test]
    fn an_era_is_asked_for_until_it_is_known_and_again_after_a_failure() {
        let memory = Memory::default();
        let auto = |memory: &Memory| memory.way(Era::Auto);
        let closed = Fault::Closed("gone".into());
        assert_eq!(auto(&memory), Way::Ask);
        memory.learn(Version::LATEST);
        assert_eq!(auto(&memory), Way::Initialize);
        memory.doubt(&closed);
        assert_eq!(auto(&memory), Way::Ask);
        memory.learn(Version::STATELESS);
        assert_eq!(auto(&memory), Way::Ask, "there, asking is how a session is opened");
        assert_eq!(memory.way(Era::Handshake), Way::Initialize);
        assert_eq!(memory.way(Era::Stateless), Way::Discover);
    }

    #[test]
    fn who_ended_when_asked_is_asked_again_only_if_it_answers_wrongly() {
        let memory = Memory::default();
        memory.died();
        memory.learn(Version::LATEST);
        memory.doubt(&Fault::Closed("gone".into()));
        assert_eq!(memory.way(Era::Auto), Way::Initialize);
        memory.doubt(&Fault::Handshake("what is `initialize`?".into()));
        assert_eq!(memory.way(Era::Auto), Way::Ask);
    }
}
