//! Whether a file has the shape that its schema asks for, with every deviation in words.

use crate::{
    config::{
        document::Document,
        finding::Report,
        place::{Place, Step},
    },
    wire::nearest::nearest,
};
use jsonschema::{
    ValidationError,
    error::ValidationErrorKind as Kind,
    paths::{Location, LocationSegment},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The JSON Schema of what may be written.
pub(crate) fn schema<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Reads a file of the given type, reporting everything that does not fit.
///
/// What does not fit is left out of the result, so that the later checks can look at the rest.
pub(crate) fn read<T: JsonSchema + DeserializeOwned + Default>(
    document: &Document,
    report: &mut Report,
) -> T {
    for (place, trouble) in document.troubles() {
        let (found, expected, hint) = trouble.words();
        report.found(document, place, found, expected).hint(hint);
    }
    let schema = schema::<T>();
    let mut value = document.value().clone();
    for (place, _) in document.troubles() {
        place.prune(&mut value);
    }
    // Our own schemas compile; a test compares them with the files that are checked in.
    let Ok(validator) = jsonschema::validator_for(&schema) else { return T::default() };
    let whole = value.clone();
    for error in validator.iter_errors(&whole) {
        let place = place_of(error.instance_path());
        // What a placeholder could not fill in was told already, and is missing only because of that.
        let is_told = match error.kind() {
            Kind::Required { property } => {
                let missing = place.key(property.as_str().unwrap_or_default());
                document.troubles().iter().any(|(place, _)| *place == missing)
            }
            _ => false,
        };
        // Which keys go together is judged where the words for it are.
        let is_choice = matches!(error.kind(), Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. });
        if is_told || is_choice {
            continue;
        }
        describe(document, &schema, &error, &place, report);
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => {
                place.prune_keys(unexpected, &mut value);
            }
            // Everything is optional for serde.
            Kind::Required { .. } => {}
            _ => place.prune(&mut value),
        }
    }
    // What fits the schema can be read. If ever it cannot, serde's words may quote a secret, so they are not shown.
    T::deserialize(value).unwrap_or_else(|_| {
        report.found(document, &Place::root(), "something that does not fit", "what the schema says");
        T::default()
    })
}

fn describe(
    document: &Document,
    schema: &Value,
    error: &ValidationError<'_>,
    place: &Place,
    report: &mut Report,
) {
    let node = node(schema, place);
    match error.kind() {
        Kind::AdditionalProperties { unexpected } => {
            let known: Vec<&str> = node
                .and_then(|node| node.get("properties"))
                .and_then(Value::as_object)
                .map(|properties| properties.keys().map(String::as_str).collect())
                .unwrap_or_default();
            let expected = format!("one of {}", known.join(", "));
            for name in unexpected {
                // A name that long is nobody's slip.
                let is_worth = !report.is_full() && name.len() < 100;
                let meant = if is_worth { nearest(name, known.iter().copied()) } else { None };
                let finding =
                    report.found(document, &place.key(name), "a key that means nothing here", &*expected);
                if let Some(meant) = meant {
                    finding.hint(format!("did you mean `{meant}`?"));
                }
            }
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let place = place.key(name);
            let expected = self::node(schema, &place).map_or_else(|| "a value".into(), expected);
            report.wrong(document, &place, expected);
        }
        _ => {
            // A placeholder's value is text; a number or a list cannot be had that way.
            let expected = node.map_or_else(|| error.to_string(), expected);
            let quote =
                expected == "text" && matches!(&**error.instance(), Value::Number(_) | Value::Bool(_));
            let finding = report.wrong(document, place, expected);
            if quote {
                finding.hint("put it in quotes");
            }
        }
    }
}

/// What a part of the schema asks for, in words.
fn expected(node: &Value) -> String {
    if let Some(words) = node.get("x-expected").and_then(Value::as_str) {
        return words.into();
    }
    if let Some(options) = node.get("enum").and_then(Value::as_array) {
        let options: Vec<&str> = options.iter().filter_map(Value::as_str).collect();
        return format!("one of {}", options.join(", "));
    }
    let names: Vec<&str> = match node.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    match names.iter().find(|name| **name != "null") {
        Some(&"string") => "text".into(),
        Some(&"array") => "a list".into(),
        Some(&"object") => "a map".into(),
        Some(other) => other.to_string(),
        None => "another value".into(),
    }
}

/// The part of the schema for a place.
fn node<'schema>(root: &'schema Value, place: &Place) -> Option<&'schema Value> {
    place.steps().iter().try_fold(root, |node, step| {
        let next = match step {
            Step::Key(name) => node
                .get("properties")
                .and_then(|properties| properties.get(&**name))
                .or_else(|| node.get("additionalProperties")),
            Step::Index(_) => node.get("items"),
        }?;
        match next.get("$ref").and_then(Value::as_str) {
            Some(reference) => root.pointer(reference.trim_start_matches('#')),
            None => Some(next),
        }
    })
}

fn place_of(location: &Location) -> Place {
    location.iter().fold(Place::root(), |place, segment| match segment {
        LocationSegment::Property(name) => place.key(&name),
        LocationSegment::Index(index) => place.index(index),
    })
}
