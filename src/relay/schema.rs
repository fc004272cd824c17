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
    has_patterns: bool,
}

/// The longest schema, in bytes.
const LONGEST: usize = 256 * 1024;
/// The deepest nesting of a schema's text.
const DEEPEST: usize = 64;
/// The largest pattern once it is compiled, in bytes; the engine needs no more than a few times this for any text.
const LARGEST_PATTERN: usize = 64 * 1024;
/// The longest value, in bytes, that is checked against a schema with patterns: they take time for each byte.
const LONGEST_MATCHED: usize = 128 * 1024;
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
        // Also the name of a property, which costs no more than a check that is not made.
        let has_patterns = text.as_str().contains("\"pattern");
        Ok(Self { document, validator, effort, has_patterns })
    }

    /// Whether a value fits. What would take too long to find out, or cannot be, counts as fitting.
    pub(super) fn check(&self, value: &Raw) -> Result<(), Violations> {
        if self.has_patterns && value.as_bytes().len() > LONGEST_MATCHED {
            tracing::debug!("a value is too long to be checked against patterns");
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use super::{PatternOptions, Schema, engine};
    use crate::wire::raw::Raw;
    use proptest::{
        collection::vec,
        prelude::{Just, Strategy, any},
        prop_oneof, proptest,
    };
    use rstest::rstest;
    use serde_json::{Value, json};

    fn compile(schema: &Value) -> Result<Schema, String> {
        Schema::compile(&Raw::of(schema))
    }

    /// What is said of each value.
    #[track_caller]
    fn said(schema: &Value, values: &[Value]) -> String {
        let schema = compile(schema).expect("a schema");
        let say = |value| match schema.check(&Raw::of(value)) {
            Ok(()) => "fits".to_owned(),
            Err(violations) => format!("{violations}\n  at {}", violations.places()),
        };
        values.iter().map(say).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_member_that_does_not_fit_says_what_was_expected() {
        let schema = json!({"type": "object", "required": ["query"], "additionalProperties": false, "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 9},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100},
            "order": {"enum": ["asc", "desc", null]},
            "day": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"},
            "deep": {"type": "array", "maxItems": 2, "items": {"type": "array", "items": {"type": "number"}}},
            "on": {"type": ["boolean", "null"]},
            "kind": {"const": "x"},
        }});
        insta::assert_snapshot!(said(&schema, &[
            json!({"query": "a", "limit": 100, "order": null, "day": "2026-01", "deep": [[1.5]], "on": null, "kind": "x"}),
            json!({"query": "a", "limit": "many"}),
            json!({"query": "a", "limit": 101}),
            json!({"query": "a", "limit": 1.5}),
            json!({"query": "a", "order": "up"}),
            json!({"limt": 5}),
            json!({"query": "a", "something": {"else": 1}}),
            json!({"query": ""}),
            json!({"query": "a", "day": "yesterday\u{7}\u{85}"}),
            json!({"query": "a", "deep": [[1], [2, "two", []], 3]}),
            json!({"query": "a", "on": 1, "kind": "y"}),
            json!({"query": "a", "q1": 1, "q2": 1, "q3": 1, "q4": 1, "q5": 1, "q6": 1, "q7": 1}),
        ]), @r#"
            fits
            - `/limit`: expected an integer from 1 to 100; found "many"
              at /properties/limit/type
            - `/limit`: expected an integer from 1 to 100; found 101
              at /properties/limit/maximum
            - `/limit`: expected an integer from 1 to 100; found 1.5
              at /properties/limit/type
            - `/order`: expected one of "asc", "desc", null; found "up"
              at /properties/order/enum
            - `arguments`: there is no property `limt`; did you mean `limit`?
            - `arguments`: the required property `query` is missing; expected a string of 1 to 9 characters
              at /additionalProperties, /required
            - `arguments`: there is no property `something`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
              at /additionalProperties
            - `/query`: expected a string of 1 to 9 characters; found ""
              at /properties/query/minLength
            - `/day`: expected a string that matches `^[0-9]{4}-[0-9]{2}$`; found "yesterday\u0007�"
              at /properties/day/pattern
            - `/deep`: expected an array of at most 2 items; found an array of 3 items
            - `/deep/1/1`: expected a number; found "two"
            - `/deep/1/2`: expected a number; found an array without items
            - `/deep/2`: expected an array; found 3
              at /properties/deep/maxItems, /properties/deep/items/items/type, /properties/deep/items/type
            - `/on`: expected true or false, or null; found 1
            - `/kind`: expected "x"; found "y"
              at /properties/on/type, /properties/kind/const
            - `arguments`: there is no property `q1`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
            - `arguments`: there is no property `q2`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
            - `arguments`: there is no property `q3`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
            - `arguments`: there is no property `q4`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
            - `arguments`: there is no property `q5`; expected `query`, `limit`, `order`, `day`, `deep`, `on`, `kind`
            - and 1 more
              at /additionalProperties
            "#);
    }

    #[test]
    fn alternatives_say_the_one_that_was_meant() {
        let schema = json!({"properties": {
            "id": {"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]},
            "shape": {"oneOf": [
                {"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}}, "required": ["kind", "r"]},
                {"type": "object", "properties": {"kind": {"const": "square"}, "a": {"type": "number"}}, "required": ["kind", "a"]},
            ]},
            "both": {"oneOf": [{"minimum": 1}, {"minimum": 2}]},
            "no": {"not": {"type": "string"}},
        }});
        insta::assert_snapshot!(said(&schema, &[
            json!({"id": 5}),
            json!({"id": "four"}),
            json!({"shape": {"kind": "square", "r": 1}}),
            json!({"shape": {"kind": "line"}}),
            json!({"shape": 7}),
            json!({"both": 3, "no": "text"}),
        ]), @r#"
            - `/id`: expected a string of at most 3 characters, or null; found 5
              at /properties/id/anyOf
            - `/id`: expected a string of at most 3 characters; found "four"
              at /properties/id/anyOf/0/maxLength
            - `/shape`: the required property `a` is missing; expected a number
              at /properties/shape/oneOf/1/required
            - `/shape/kind`: expected one of "circle", "square"; found "line"
              at /properties/shape/oneOf
            - `/shape`: expected an object; found 7
              at /properties/shape/oneOf
            - `/both`: expected exactly one of several alternatives; found 3, which is more than one
            - `/no`: expected anything but a string; found "text"
              at /properties/both/oneOf, /properties/no/not
            "#);
    }

    #[test]
    fn other_keywords_have_words_too() {
        let schema = json!({"properties": {
            "set": {"uniqueItems": true, "contains": {"type": "integer"}, "minItems": 2},
            "map": {"propertyNames": {"pattern": "^[a-z]+$"}, "maxProperties": 1},
            "none": false,
            "pair": {"prefixItems": [{"type": "string"}], "items": false},
            "strict": {"allOf": [{"properties": {"a": true}}], "unevaluatedProperties": false},
            "when": {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "dependentRequired": {"c": ["d"]}},
            "step": {"multipleOf": 5, "exclusiveMinimum": 0},
        }});
        insta::assert_snapshot!(said(&schema, &[
            json!({"set": ["a", "a"]}),
            json!({"set": []}),
            json!({"map": {"B": 1, "c": 1}}),
            json!({"none": {"a": 1, "b": [1]}}),
            json!({"pair": ["a", "b"]}),
            json!({"strict": {"a": 1, "b": 2}}),
            json!({"when": {"a": 1, "c": 1}}),
            json!({"step": -3}),
        ]), @r#"
            - `/set`: expected items that are all different; found one of them twice
            - `/set`: expected an item that is an integer; found none
              at /properties/set/uniqueItems, /properties/set/contains
            - `/set`: expected an array of at least 2 items; found an array without items
            - `/set`: expected an item that is an integer; found none
              at /properties/set/minItems, /properties/set/contains
            - `/map`: expected an object of at most 1 property; found an object with `B`, `c`
            - `/map`: `B` is no name for a property: expected a string that matches `^[a-z]+$`; found "B"
              at /properties/map/maxProperties, /properties/map/propertyNames/pattern
            - `/none`: expected nothing here; found an object with `a`, `b`
              at /properties/none
            - `/pair/1`: expected nothing here; found "b"
              at /properties/pair/items
            - `/strict`: there is no property `b`
              at /properties/strict/unevaluatedProperties
            - `/when`: the required property `d` is missing
            - `/when`: the required property `b` is missing
              at /properties/when/dependentRequired, /properties/when/then/required
            - `/step`: expected a number greater than 0, that is a multiple of 5; found -3
              at /properties/step/exclusiveMinimum
            "#);
    }

    #[test]
    fn references_within_the_document_work() {
        let schema = json!({"type": "object", "properties": {"at": {"$ref": "#/$defs/point"}, "named": {"$ref": "#name"}},
            "$defs": {"point": {"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}, "next": {"$ref": "#/$defs/point"}}},
                "name": {"$anchor": "name", "type": "string"}}});
        insta::assert_snapshot!(said(&schema, &[
            json!({"at": {"x": 1, "next": {"x": 2}}, "named": "a"}),
            json!({"at": {"x": 1, "next": {"x": "2"}}, "named": 1}),
            json!({"at": 1}),
            json!({"at": {"next": {}}}),
        ]), @r#"
            fits
            - `/at/next/x`: expected a number; found "2"
            - `/named`: expected a string; found 1
              at /$defs/point/properties/x/type, /$defs/name/type
            - `/at`: expected an object; found 1
              at /$defs/point/type
            - `/at`: the required property `x` is missing; expected a number
            - `/at/next`: the required property `x` is missing; expected a number
              at /$defs/point/required
            "#);
    }

    #[rstest]
    #[case(json!({"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"items": [{"type": "string"}]}}}), json!({"a": [1]}), false)]
    #[case(json!({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"x": {"$id": "#x", "type": "string"}}, "$ref": "#x"}), json!(1), false)]
    #[case(json!({"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": true}), json!(1), false)]
    #[case(json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "type": "string"}), json!(1), false)]
    #[case(json!({"$schema": "https://example.com/ours", "prefixItems": [{"type": "string"}]}), json!([1]), false)]
    #[case(json!({"$id": "https://example.com/tool", "$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}), json!(1), false)]
    #[case(json!({"format": "email"}), json!("no"), true)]
    #[case(json!({"$schema": "http://json-schema.org/draft-07/schema#", "format": "date"}), json!("no"), true)]
    #[case(json!(true), json!({}), true)]
    #[case(json!({}), json!({}), true)]
    #[case(json!(false), json!({}), false)]
    fn drafts_and_trivial_schemas(#[case] schema: Value, #[case] value: Value, #[case] fits: bool) {
        assert_eq!(compile(&schema).expect("a schema").check(&Raw::of(&value)).is_ok(), fits);
    }

    #[rstest]
    #[case::remote(json!({"$ref": "https://127.0.0.1:1/schema.json"}))]
    #[case::file(json!({"properties": {"a": {"$ref": "file:///schema.json"}}}))]
    #[case::relative(json!({"$id": "http://127.0.0.1:1/a.json", "$ref": "b.json"}))]
    #[case::of_schemas(json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}))]
    #[case::beside(json!({"$defs": {"unused": {"$ref": "https://127.0.0.1:1/schema.json"}}}))]
    #[case::unknown(json!({"$ref": "#/$defs/nobody"}))]
    #[case::itself(json!({"$ref": "#"}))]
    #[case::no_schema(json!({"type": "objekt"}))]
    #[case::no_pattern(json!({"pattern": "("}))]
    #[case::look_behind(json!({"pattern": "(?<=a)b"}))]
    #[case::large_pattern(json!({"pattern": "((a{100}){100}){100}"}))]
    #[case::long(json!({"description": "x".repeat(300 * 1024)}))]
    fn what_cannot_be_used_says_why(#[case] schema: Value) {
        let reason = compile(&schema).expect_err("no schema");
        assert!((10..200).contains(&reason.chars().count()) && !reason.contains('\n'), "{reason}");
    }

    #[test]
    fn deep_schemas_are_refused() {
        let nested = |depth| (0..depth).fold(json!({}), |schema, _| json!({"not": schema}));
        assert!(compile(&nested(40)).is_ok());
        assert!(compile(&nested(100)).is_err());
        let text = format!("{}1{}", r#"{"not":"#.repeat(200), "}".repeat(200));
        assert!(Schema::compile(&Raw::parse(text.into()).expect("JSON")).is_err());
    }

    #[test]
    fn patterns_run_on_the_engine_without_backtracking() {
        // The type is the proof, and that what only the other engine can do is refused.
        let _: PatternOptions<jsonschema::Regex> = engine();
        assert!(compile(&json!({"pattern": "(?=a)b"})).is_err());
        let schema = json!({"properties": {"a": {"pattern": "^(a+)+$"}}});
        let text = format!("{}!", "a".repeat(100_000));
        assert!(said(&schema, &[json!({"a": text})]).contains("that matches `^(a+)+$`"));
    }

    #[test]
    fn a_schema_that_forks_without_end_is_not_followed() {
        let mut schema = json!({"$ref": "#/$defs/a0", "$defs": {"a30": {"type": "string"}}});
        for number in 0..30 {
            let next = json!({"$ref": format!("#/$defs/a{}", number + 1)});
            schema["$defs"][format!("a{number}")] = json!({"anyOf": [next, next]});
        }
        assert_eq!(said(&schema, &[json!(1)]), "fits");
        let tree = json!({"anyOf": [{"additionalProperties": {"$ref": "#"}}, {"additionalProperties": {"$ref": "#"}}], "type": "object"});
        let value = (0..60).fold(json!(1), |value, _| json!({"a": value}));
        assert_eq!(said(&tree, &[value]), "fits");
        // A long chain and a deep value are frames on the stack.
        let list = json!({"properties": {"next": {"$ref": "#"}}, "required": ["value"]});
        let value = (0..120).fold(json!({"value": 1}), |value, _| json!({"value": 1, "next": value}));
        assert_eq!(said(&list, &[value]), "fits");
    }

    #[test]
    fn what_is_checked_fits_on_the_stack() {
        let mut schema = json!({"$ref": "#/$defs/a0", "$defs": {"a30": {"properties": {"a": {"$ref": "#"}}, "type": "object"}}});
        for number in 0..30 {
            let next = json!({"$ref": format!("#/$defs/a{}", number + 1)});
            schema["$defs"][format!("a{number}")] = json!({"anyOf": [next]});
        }
        let value = |depth| (0..depth).fold(json!(1), |value, _| json!({"a": value}));
        let said_of = [4, 15, 16].map(|depth| said(&schema, &[value(depth)]));
        assert!(said_of[0].contains("expected"), "{}", said_of[0]);
        assert!(said_of[1].contains("too many"), "{}", said_of[1]);
        assert_eq!(said_of[2], "fits");
        let list = json!({"items": {"$ref": "#"}, "type": "array"});
        let value = (0..63).fold(json!(1), |value, _| json!([value]));
        assert!(said(&list, &[value]).contains("expected an array; found 1"));
    }

    #[test]
    fn many_findings_are_counted_and_too_many_are_not_looked_for() {
        let schema = json!({"items": {"type": "string"}});
        let numbers = |count: usize| json!((0..count).collect::<Vec<_>>());
        assert!(said(&schema, &[numbers(1000)]).contains("and 995 more"));
        assert!(said(&schema, &[numbers(300_000)]).contains("too many"));
    }

    #[test]
    fn what_is_no_value_for_the_library_fits() {
        let schema = compile(&json!({"type": "string"})).expect("a schema");
        for text in ["1e999".to_owned(), format!("{}{}", "[".repeat(200), "]".repeat(200))] {
            assert_eq!(schema.check(&Raw::parse(text.into()).expect("JSON")), Ok(()));
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i8>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-c\u{1}\u{85}é\"\\\\]{0,60}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 0..4).prop_map(Value::from),
                vec(("[a-c~/]{1,2}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn schema() -> impl Strategy<Value = Value> {
        const ALONE: &[&str] = &[
            "not",
            "if",
            "then",
            "else",
            "items",
            "additionalProperties",
            "contains",
            "propertyNames",
            "unevaluatedProperties",
            "unevaluatedItems",
            "additionalItems",
        ];
        const KINDS: &[&str] =
            &["string", "integer", "number", "object", "array", "boolean", "null", "other"];
        let leaf = prop_oneof![
            proptest::sample::select(KINDS).prop_map(|kind| json!({"type": kind})),
            vec(value(), 0..3).prop_map(|options| json!({"enum": options})),
            value().prop_map(|constant| json!({"const": constant})),
            any::<i8>().prop_map(
                |least| json!({"minimum": least, "multipleOf": least, "maxLength": least, "maxItems": least})
            ),
            "[a-c()+*^$\\[\\]|?]{0,8}".prop_map(|pattern| json!({"pattern": pattern, "uniqueItems": true})),
            "#(/\\$defs/[a-c]|/[a-c]|[a-c]|)".prop_map(|reference| json!({"$ref": reference})),
            "#[a-c]?".prop_map(|reference| json!({"$dynamicRef": reference, "$dynamicAnchor": "a"})),
            vec("[a-c]", 0..3)
                .prop_map(|names| json!({"required": names, "dependentRequired": {"a": names}})),
            any::<bool>().prop_map(Value::from),
            value(),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                (proptest::sample::select(&["allOf", "anyOf", "oneOf", "prefixItems", "items"][..]), vec(inner.clone(), 1..3))
                    .prop_map(|(keyword, schemas)| json!({keyword: schemas})),
                (proptest::sample::select(ALONE), inner.clone()).prop_map(|(keyword, schema)| json!({keyword: schema})),
                (inner.clone(), inner.clone(), inner.clone(), inner.clone())
                    .prop_map(|(a, b, c, d)| json!({"$defs": {"a": a, "b": b}, "properties": {"a": c}, "allOf": [d], "type": "object"})),
                (inner.clone(), inner).prop_map(|(a, b)| json!({"patternProperties": {"^a": a}, "dependentSchemas": {"b": b}, "$id": "x"})),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_schema_and_any_value_come_to_an_end(schema in schema(), values in vec(value(), 1..4)) {
            let Ok(schema) = compile(&schema) else { return Ok(()) };
            for value in values {
                let Err(violations) = schema.check(&Raw::of(&value)) else { continue };
                let said = violations.to_string();
                assert!(said.lines().count() <= 6 && said.len() < 6 * 1500, "{said}");
                assert!(!said.chars().any(|symbol| symbol.is_control() && symbol != '\n'), "{said:?}");
                assert!(violations.places().len() < 6 * 500);
            }
        }
    }
}
