//! Times, sizes and counts as people write them: `10s`, `4MiB`, `100`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::Value;
use std::{borrow::Cow, time::Duration};

/// A length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

/// A number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

/// The units of a time, in milliseconds.
const TIMES: &[(&str, u64)] = &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The units of a size, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// What a time looks like.
const TIME: &str = "a time such as `500ms`, `10s`, `5m`, `1h30m` or `24h`";
/// What a size looks like.
const SIZE: &str = "a size such as `64KiB` or `4MiB`, or a number of bytes";
/// What a count looks like.
const COUNT: &str = "a whole number of 1 or more";

/// Number and unit at the start of a text, and what comes after.
fn part<'text>(text: &'text str, units: &[(&str, u64)]) -> Option<(u64, &'text str)> {
    let digits = text.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let letters = rest.find(|symbol: char| !symbol.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse::<u64>().ok()?.checked_mul(*factor)?, rest))
}

impl Time {
    /// Reads `1h30m`; nothing, zero and other units are no times.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut rest = text;
        let mut total = 0_u64;
        while !rest.is_empty() {
            let (value, after) = part(rest, TIMES)?;
            total = total.checked_add(value)?;
            rest = after;
        }
        (total > 0).then_some(Self(Duration::from_millis(total)))
    }
}

impl Size {
    fn parse(text: &str) -> Option<Self> {
        let (bytes, rest) = part(text, SIZES)?;
        (bytes > 0 && rest.is_empty()).then_some(Self(usize::try_from(bytes).ok()?))
    }
}

impl Count {
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|count| *count > 0).map(Self)
    }
}

/// A number or a text, as text: a placeholder always comes out as text.
fn written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&written(deserializer)?).ok_or_else(|| D::Error::custom(TIME))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&written(deserializer)?).ok_or_else(|| D::Error::custom(SIZE))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&written(deserializer)?).ok_or_else(|| D::Error::custom(COUNT))
    }
}

// The patterns refuse zero as well, and keep the digits so few that no product overflows.

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(?:[0-9]{1,8}(?:ms|s|m|h|d))*0{0,7}[1-9][0-9]{0,7}(?:ms|s|m|h|d)(?:[0-9]{1,8}(?:ms|s|m|h|d))*$",
            "x-expected": TIME,
        })
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 99_999_999_999_u64,
            "pattern": "^0{0,7}[1-9][0-9]{0,7}(?:B|kB|KB|KiB|MB|MiB|GB|GiB)?$",
            "x-expected": SIZE,
        })
    }
}

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 999_999_999,
            "pattern": "^0{0,7}[1-9][0-9]{0,7}$",
            "x-expected": COUNT,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Count, Size, Time};
    use proptest::{prop_assert, proptest};
    use rstest::rstest;
    use schemars::JsonSchema;
    use serde_json::Value;
    use std::time::Duration;

    #[rstest]
    #[case("500ms", Some(Duration::from_millis(500)))]
    #[case("10s", Some(Duration::from_secs(10)))]
    #[case("1h30m", Some(Duration::from_mins(90)))]
    #[case("0h5m", Some(Duration::from_mins(5)))]
    #[case("2d", Some(Duration::from_hours(48)))]
    #[case("10", None)]
    #[case("", None)]
    #[case("0s", None)]
    #[case("1 s", None)]
    #[case("1w", None)]
    #[case("-1s", None)]
    fn times(#[case] text: &str, #[case] time: Option<Duration>) {
        assert_eq!(Time::parse(text).map(|time| time.0), time);
    }

    #[rstest]
    #[case("4MiB", Some(4 << 20))]
    #[case("4MB", Some(4_000_000))]
    #[case("17", Some(17))]
    #[case("0", None)]
    #[case("4 MiB", None)]
    #[case("4MiBs", None)]
    fn sizes(#[case] text: &str, #[case] size: Option<usize>) {
        assert_eq!(Size::parse(text).map(|size| size.0), size);
    }

    fn fits<T: JsonSchema>(text: &str) -> bool {
        let schema = serde_json::to_value(schemars::schema_for!(T)).expect("a schema is JSON");
        jsonschema::is_valid(&schema, &Value::String(text.into()))
    }

    proptest! {
        #[test]
        fn what_fits_the_schema_can_be_read(text in "[0-9msKMGiBhd]{0,12}") {
            prop_assert!(!fits::<Time>(&text) || Time::parse(&text).is_some());
            prop_assert!(!fits::<Size>(&text) || Size::parse(&text).is_some());
            prop_assert!(!fits::<Count>(&text) || Count::parse(&text).is_some());
        }
    }
}
