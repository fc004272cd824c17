//! A tool's JSON Schema, compiled: whether a value fits, and in words why it does not.
//!
//! The schema is the upstream's word. It is never a reason to reach for the network, to run for long, or to end.

use crate::{
    relay::{
        effort::Effort,
        violation::{Violations, reason},
    },
    wire::raw::Raw,
};
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A schema that values can be checked against.
#[derive(Debug)]
pub(super) struct Schema {
    document: Value,
    validator: Validator,
    effort: Effort,
}

/// The longest schema, in bytes.
const LONGEST: usize = 256 * 1024;
/// The deepest nesting of a schema's text.
const DEEPEST: usize = 64;
/// The largest pattern once it is compiled, in bytes; the engine needs no more than a few times this for any text.
const LARGEST_PATTERN: usize = 256 * 1024;
/// Steps of a check that is still made: a fraction of a second.
const MOST_STEPS: u64 = 16 * 1024 * 1024;
/// Steps of a check whose every finding is kept in memory until it is told.
const MOST_TO_EXPLAIN: u64 = 512 * 1024;

// === impl Schema ===

impl Schema {
    /// Compiles; the text says why the schema cannot be used.
    pub(super) fn compile(text: &Raw) -> Result<Self, String> {
        if text.as_bytes().len() > LONGEST {
            return Err(format!("it has {} bytes; {LONGEST} are the most", text.as_bytes().len()));
        }
        let document: Value = serde_json::from_str(text.as_str())
            .map_err(|_| "it has a number without bounds, or is nested without them".to_owned())?;
        if depth(&document) > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        let effort = Effort::of(&document)?;
        let draft = match Draft::Draft202012.detect(&document) {
            Draft::Unknown => Draft::Draft202012,
            known => known,
        };
        let options = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(engine());
        // What a library makes of somebody else's schema must not end a thread of ours.
        let built = catch_unwind(AssertUnwindSafe(|| options.build(&document)));
        let validator = built
            .map_err(|_| "it is more than the library for schemas can take".to_owned())?
            .map_err(|error| reason(&error))?;
        Ok(Self { document, validator, effort })
    }

    /// Whether a value fits. What would take too long to find out, or cannot be, counts as fitting.
    pub(super) fn check(&self, value: &Raw) -> Result<(), Violations> {
        let Ok(value) = serde_json::from_str::<Value>(value.as_str()) else {
            tracing::debug!("a value has numbers or a nesting that are not checked");
            return Ok(());
        };
        let cost = self.effort.cost(&value).filter(|cost| cost.to_decide <= MOST_STEPS);
        let Some(cost) = cost else {
            tracing::debug!("a value is too large to be checked against its schema");
            return Ok(());
        };
        let checked = catch_unwind(AssertUnwindSafe(|| {
            if self.validator.is_valid(&value) {
                return Ok(());
            }
            if cost.to_explain > MOST_TO_EXPLAIN {
                return Err(Violations::untold());
            }
            Err(Violations::of(self.validator.iter_errors(&value), &self.document))
        }));
        checked.unwrap_or_else(|_| {
            tracing::debug!("a value is more than the library for schemas can take");
            Ok(())
        })
    }
}

/// Patterns run in time that grows with their text and no faster.
fn engine() -> PatternOptions<jsonschema::Regex> {
    PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(4 * LARGEST_PATTERN)
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}
