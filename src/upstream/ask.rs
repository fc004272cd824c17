//! What an upstream asks of its client.

use crate::wire::{
    error::Failure,
    message::{Answer, Request},
    method::Method,
    raw::Raw,
};
use serde_json::json;

/// The answer to an upstream's request: a ping is answered, and nothing else was offered to it.
pub(crate) fn refuse(request: &Request) -> Answer {
    match &request.method {
        Method::Ping => Answer::result(&request.id(), &Raw::of(&json!({}))),
        method => Answer::error(&request.id(), &Failure::method_not_found(method.as_str()).object()),
    }
}
