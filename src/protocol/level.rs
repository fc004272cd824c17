//! The levels of log messages (RFC 5424, section 6.2.1, as MCP's `logging/setLevel` names them).

use crate::wire::{
    message::Notice,
    part::{self, Part},
    raw::Raw,
};
use serde::Deserialize;

/// All levels, least severe first.
const LEVELS: [&str; 8] = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

#[derive(Deserialize)]
struct SetLevel {
    #[serde(default)]
    level: serde_json::Value,
}

/// The level of a `logging/setLevel`; the text says what was wrong.
pub fn read(params: Option<&Raw>) -> Result<&'static str, String> {
    let Some(params) = params else { return Err(refused("params.level", "nothing")) };
    let read: SetLevel = serde_json::from_str(params.as_str()).map_err(|error| error.to_string())?;
    let known = read.level.as_str().and_then(known);
    known.ok_or_else(|| refused("params.level", &read.level.to_string()))
}

/// The level of this name.
pub fn known(name: &str) -> Option<&'static str> {
    LEVELS.into_iter().find(|known| *known == name)
}

/// What to say when a level stands at `path` that is none.
pub fn refused(path: &str, found: &str) -> String {
    let found = crate::wire::message::excerpt(found);
    format!("`{path}` must be one of {}; found {found}", LEVELS.join(", "))
}

/// The level that a request of the stateless era asks for in its metadata, if it does (2026-07-28, basic, "_meta").
pub fn of_request(params: &Raw) -> Option<&'static str> {
    const KEY: &str = "io.modelcontextprotocol/logLevel";
    if !part::mentions(params, &["logLevel"]) {
        return None;
    }
    let level = Part::of(params).member("_meta")?.member(KEY)?.string()?;
    LEVELS.into_iter().find(|known| *known == level)
}

/// Whether a `notifications/message` is at least as severe as `level`; one whose level is not known is.
pub fn reaches(message: &Notice, level: &str) -> bool {
    let rank = |level: &str| LEVELS.iter().position(|known| *known == level);
    let params = message.params();
    let read = params.as_ref().and_then(|params| serde_json::from_str::<SetLevel>(params.as_str()).ok());
    let said = read.and_then(|read| rank(read.level.as_str()?));
    said.is_none_or(|said| rank(level).is_none_or(|wanted| said >= wanted))
}

/// The more verbose of two levels.
pub fn lower(one: &'static str, other: &'static str) -> &'static str {
    let rank = |level: &str| LEVELS.iter().position(|known| *known == level);
    if rank(other) < rank(one) { other } else { one }
}
