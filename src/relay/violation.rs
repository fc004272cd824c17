//! What does not fit a schema, in words that a model can act upon.

use crate::wire::{message::beginning, nearest::nearest};
use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind as Kind},
};
use serde_json::{Map, Value};
use std::fmt;

/// What of a value does not fit its schema.
///
/// [`fmt::Display`] is for whoever sent the value, since it shows parts of it; the log gets [`Violations::places`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Violations {
    told: Vec<Violation>,
    more: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Violation {
    text: String,
    /// Where in the schema.
    place: String,
}

/// The most violations that are told one by one.
const MOST: usize = 5;
/// The most options or names that one violation lists.
const MOST_LISTED: usize = 8;
/// The most characters of a path, a pattern or a list.
const LONG: usize = 120;
/// How deep alternatives within alternatives are described.
const MOST_NESTED: usize = 3;

// === impl Violations ===

impl Violations {
    /// Words for what a validator found in a value; `document` is the schema.
    pub(super) fn of<'value>(
        errors: impl Iterator<Item = ValidationError<'value>>,
        document: &Value,
    ) -> Self {
        let mut violations = Self::default();
        for error in errors {
            violations.add(&error, document, 0);
        }
        if violations.told.is_empty() { Self::untold() } else { violations }
    }

    /// Something does not fit, and saying what would take too long.
    pub(super) fn untold() -> Self {
        let text = "`arguments`: they are too many or too deep to say what exactly does not fit";
        Self { told: vec![Violation { text: text.into(), place: "/".into() }], more: 0 }
    }

    /// Something that is missing as a whole.
    pub(super) fn missing() -> Self {
        let (text, place) = ("there is none".into(), "/".into());
        Self { told: vec![Violation { text, place }], more: 0 }
    }

    /// Where in the schema, without anything of the value: for the log.
    pub(super) fn places(&self) -> String {
        let mut places: Vec<&str> = self.told.iter().map(|violation| violation.place.as_str()).collect();
        places.dedup();
        places.join(", ")
    }

    fn add(&mut self, error: &ValidationError<'_>, document: &Value, nested: usize) {
        if self.told.len() >= MOST {
            // Enough to say that there are more; nobody counts them.
            self.more += 1;
            return;
        }
        match error.kind() {
            Kind::AnyOf { context } | Kind::OneOfNotValid { context } if nested < MOST_NESTED => {
                if let Some(branch) = meant(context, error) {
                    for error in branch {
                        self.add(error, document, nested + 1);
                    }
                    return;
                }
                if let Some(sentence) = marked(context, error) {
                    self.push(sentence, error);
                    return;
                }
            }
            _ => {}
        }
        for sentence in sentences(error, document) {
            self.push(format!("{}: {sentence}", path(error)), error);
        }
    }

    fn push(&mut self, text: String, error: &ValidationError<'_>) {
        if self.told.iter().any(|told| told.text == text) {
            return;
        }
        if self.told.len() < MOST {
            let place = beginning(error.schema_path().as_str(), LONG);
            self.told.push(Violation { text, place });
        } else {
            self.more += 1;
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.told.iter().enumerate() {
            let end = if index > 0 { "\n" } else { "" };
            write!(formatter, "{end}- {}", violation.text)?;
        }
        if self.more > 0 { write!(formatter, "\n- and {} more", self.more) } else { Ok(()) }
    }
}

/// Why a schema does not compile, in one bounded line.
pub(super) fn reason(error: &ValidationError<'_>) -> String {
    let words = beginning(&error.masked_with("the value").to_string(), LONG);
    match error.instance_path().as_str() {
        "" => words,
        at => format!("at `{}`, {words}", beginning(at, LONG)),
    }
}

/// The alternative that the value was meant to be: the only one that does not already refuse its kind.
fn meant<'error>(
    branches: &'error [Vec<ValidationError<'static>>],
    whole: &ValidationError<'_>,
) -> Option<&'error Vec<ValidationError<'static>>> {
    let refuses = |error: &ValidationError<'_>| {
        matches!(
            error.kind(),
            Kind::Type { .. } | Kind::Constant { .. } | Kind::Enum { .. } | Kind::FalseSchema
        ) && error.instance_path() == whole.instance_path()
    };
    let is_other = |branch: &Vec<ValidationError<'_>>| {
        branch.iter().any(|error| refuses(error) || is_mark(error, whole))
    };
    let mut left = branches.iter().filter(|branch| !branch.is_empty() && !is_other(branch));
    left.next().filter(|_| left.next().is_none())
}

/// Whether a member tells the alternatives of an object apart: it is a constant, or one of few.
fn is_mark(error: &ValidationError<'_>, whole: &ValidationError<'_>) -> bool {
    let parent = error.instance_path().as_str().rsplit_once('/').map(|(parent, _)| parent);
    matches!(error.kind(), Kind::Constant { .. } | Kind::Enum { .. })
        && parent == Some(whole.instance_path().as_str())
}

/// Which marks there are, if every alternative is refused for the same one.
fn marked(branches: &[Vec<ValidationError<'static>>], whole: &ValidationError<'_>) -> Option<String> {
    let mark =
        |branch: &'_ Vec<ValidationError<'static>>| branch.iter().position(|error| is_mark(error, whole));
    let marks: Option<Vec<_>> =
        branches.iter().map(|branch| mark(branch).and_then(|at| branch.get(at))).collect();
    let marks = marks?;
    let first = marks.first()?;
    if marks.iter().any(|mark| mark.instance_path() != first.instance_path()) {
        return None;
    }
    let options = marks.iter().flat_map(|mark| match mark.kind() {
        Kind::Constant { expected_value } => vec![expected_value.as_ref()],
        Kind::Enum { options } => {
            options.as_array().map(|options| options.iter().collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    });
    let options = one_of(options);
    Some(format!("{}: expected {options}; found {}", path(first), found(first.instance())))
}

/// One of several values.
fn one_of<'value>(options: impl Iterator<Item = &'value Value>) -> String {
    let mut words: Vec<String> = options.take(MOST_LISTED + 1).map(found).collect();
    if words.len() > MOST_LISTED {
        words[MOST_LISTED] = "…".into();
    }
    if words.len() == 1 { words.remove(0) } else { format!("one of {}", words.join(", ")) }
}

fn path(error: &ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => "`arguments`".into(),
        path => format!("`{}`", beginning(path, LONG)),
    }
}

/// What was found and what is expected, without the place.
fn sentences(error: &ValidationError<'_>, document: &Value) -> Vec<String> {
    let node = node(error, document);
    let found = || found(error.instance());
    let expected = || {
        let words = node.map(|node| expected(node, document, 0)).unwrap_or_default();
        if words.is_empty() { fallback(error) } else { words }
    };
    match error.kind() {
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let words = member(node, name).map(|member| self::expected(member, document, 0));
            let words = words.filter(|words| !words.is_empty()).map(|words| format!("; expected {words}"));
            vec![format!("the required property {} is missing{}", quoted(name), words.unwrap_or_default())]
        }
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            let known: Vec<&str> = node
                .and_then(|node| node.get("properties")?.as_object())
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default();
            // One more than is told, so that it is known that there are more.
            unexpected.iter().take(MOST + 1).map(|name| unknown(name, &known)).collect()
        }
        Kind::FalseSchema => vec![format!("expected nothing here; found {}", found())],
        Kind::UniqueItems => vec!["expected items that are all different; found one of them twice".into()],
        Kind::Contains => {
            let item = node.and_then(|node| node.get("contains"));
            let item = item.map(|item| self::expected(item, document, 0)).filter(|words| !words.is_empty());
            let item = item.unwrap_or_else(|| "what `contains` says".into());
            vec![format!("expected an item that is {item}; found none")]
        }
        Kind::PropertyNames { error } => {
            let name = error.instance().as_str().map(quoted).unwrap_or_default();
            let words = sentences(error, document).into_iter().next().unwrap_or_default();
            vec![format!("{name} is no name for a property: {words}")]
        }
        Kind::OneOfMultipleValid { .. } => {
            vec![format!(
                "expected exactly one of several alternatives; found {}, which is more than one",
                found()
            )]
        }
        Kind::Not { schema } => {
            let words = self::expected(schema, document, 0);
            let words = if words.is_empty() { "what `not` says".into() } else { words };
            vec![format!("expected anything but {words}; found {}", found())]
        }
        _ => vec![format!("expected {}; found {}", expected(), found())],
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    let quoted_name = quoted(name);
    // A name that long is nobody's slip.
    let near = if name.len() < 100 { nearest(name, known.iter().copied()) } else { None };
    match (near, known) {
        (Some(near), _) => format!("there is no property {quoted_name}; did you mean {}?", quoted(near)),
        // There may be others still, whose names follow a pattern or stand elsewhere.
        (None, []) => format!("there is no property {quoted_name}"),
        (None, known) => format!("there is no property {quoted_name}; expected {}", names(known)),
    }
}

fn names(known: &[&str]) -> String {
    let mut names: Vec<String> = known.iter().take(MOST_LISTED).map(|name| quoted(name)).collect();
    if known.len() > MOST_LISTED {
        names.push("…".into());
    }
    names.join(", ")
}

fn quoted(text: &str) -> String {
    format!("`{}`", beginning(text, 40))
}

/// The schema that has the keyword which was not met.
fn node<'document>(error: &ValidationError<'_>, document: &'document Value) -> Option<&'document Value> {
    let (schema, _) = error.schema_path().as_str().rsplit_once('/')?;
    document.pointer(schema).filter(|node| node.is_object())
}

fn member<'document>(node: Option<&'document Value>, name: &str) -> Option<&'document Value> {
    node?.get("properties")?.get(name)
}

/// The beginning of a value.
fn found(value: &Value) -> String {
    match value {
        Value::Array(items) if items.is_empty() => "an array without items".into(),
        Value::Array(items) if items.len() == 1 => "an array of 1 item".into(),
        Value::Array(items) => format!("an array of {} items", items.len()),
        Value::Object(members) if members.is_empty() => "an object without members".into(),
        Value::Object(members) => {
            let names: Vec<&str> = members.keys().take(MOST_LISTED + 1).map(String::as_str).collect();
            format!("an object with {}", names_of(&names))
        }
        Value::String(text) => literal(text),
        other => beginning(&other.to_string(), 40),
    }
}

fn names_of(known: &[&str]) -> String {
    beginning(&names(known), LONG)
}

/// A text in quotes, cut where it is long.
fn literal(text: &str) -> String {
    // Cut first: a text may have megabytes.
    let cut: String = text.chars().take(41).collect();
    beginning(&Value::from(cut).to_string(), 42)
}

/// What a schema asks for, in words; empty if it asks for nothing that has any.
fn expected(node: &Value, document: &Value, nested: usize) -> String {
    let Value::Object(schema) = node else {
        return if node == &Value::Bool(false) { "nothing".into() } else { String::new() };
    };
    if let Some(constant) = schema.get("const") {
        return found(constant);
    }
    if let Some(Value::Array(options)) = schema.get("enum") {
        return one_of(options.iter());
    }
    if let Some(types) = schema.get("type") {
        return typed(types, schema);
    }
    if nested < MOST_NESTED {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
            return target.map(|target| expected(target, document, nested + 1)).unwrap_or_default();
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(Value::Array(branches)) = schema.get(keyword) {
                let words = branches.iter().take(MOST_LISTED);
                let mut words: Vec<_> = words.map(|branch| expected(branch, document, nested + 1)).collect();
                words.retain(|words| !words.is_empty());
                words.dedup();
                return beginning(&words.join(", or "), 2 * LONG);
            }
        }
    }
    // Bounds without a type: the bounds alone are said.
    typed(&Value::Null, schema)
}

fn typed(types: &Value, schema: &Map<String, Value>) -> String {
    let names: Vec<&str> = match types {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let words: Vec<String> = names.iter().take(MOST_LISTED).map(|name| article(name)).collect();
    let bounds = bounds(schema);
    match (words.join(", or "), bounds.join(", ")) {
        (words, bounds) if bounds.is_empty() => words,
        (words, bounds) if words.is_empty() => format!("{} {bounds}", bounded(schema)),
        (words, bounds) => format!("{words} {bounds}"),
    }
}

/// What can have the bounds, where no type says so.
fn bounded(schema: &Map<String, Value>) -> &'static str {
    let has = |keywords: &[&str]| keywords.iter().any(|keyword| schema.contains_key(*keyword));
    let kinds = [
        (has(&["minLength", "maxLength", "pattern"]), "a string"),
        (has(&["minItems", "maxItems"]), "an array"),
        (has(&["minProperties", "maxProperties"]), "an object"),
        (has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]), "a number"),
    ];
    let mut kinds = kinds.iter().filter(|(is_bounded, _)| *is_bounded);
    match (kinds.next(), kinds.next()) {
        (Some((_, kind)), None) => kind,
        _ => "a value",
    }
}

fn article(name: &str) -> String {
    match name {
        "boolean" => "true or false".into(),
        "null" => "null".into(),
        "integer" | "array" | "object" => format!("an {name}"),
        other => format!("a {}", beginning(other, 40)),
    }
}

fn bounds(schema: &Map<String, Value>) -> Vec<String> {
    let number = |keyword: &str| schema.get(keyword).filter(|value| value.is_number()).map(found);
    let mut words = Vec::new();
    words.extend(match (number("minimum"), number("maximum")) {
        (None, None) => None,
        (Some(least), None) => Some(format!("of at least {least}")),
        (None, Some(most)) => Some(format!("of at most {most}")),
        (Some(least), Some(most)) => Some(format!("from {least} to {most}")),
    });
    words.extend(number("exclusiveMinimum").map(|least| format!("greater than {least}")));
    words.extend(number("exclusiveMaximum").map(|most| format!("less than {most}")));
    words.extend(number("multipleOf").map(|step| format!("that is a multiple of {step}")));
    for (least, most, one, many) in [
        ("minLength", "maxLength", "character", "characters"),
        ("minItems", "maxItems", "item", "items"),
        ("minProperties", "maxProperties", "property", "properties"),
    ] {
        let what = |count: &str| if count == "1" { one } else { many };
        words.extend(match (number(least), number(most)) {
            (None, None) => None,
            (Some(least), None) => Some(format!("of at least {least} {}", what(&least))),
            (None, Some(most)) => Some(format!("of at most {most} {}", what(&most))),
            (Some(least), Some(most)) => Some(format!("of {least} to {most} {}", what(&most))),
        });
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    words.extend(pattern.map(|pattern| format!("that matches `{}`", beginning(pattern, LONG))));
    words
}

/// For keywords that stand alone, or schemas that are not found again.
fn fallback(error: &ValidationError<'_>) -> String {
    match error.kind() {
        Kind::Type { kind } => {
            let words = |name: JsonType| article(&name.to_string());
            match kind {
                TypeKind::Single(name) => words(*name),
                TypeKind::Multiple(names) => names.iter().map(words).collect::<Vec<_>>().join(", or "),
            }
        }
        Kind::AdditionalItems { limit } => format!("at most {limit} items"),
        Kind::UnevaluatedItems { .. } => "no further items".into(),
        kind => format!("what `{}` in the schema says", beginning(kind.keyword(), 40)),
    }
}
