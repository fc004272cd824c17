//! One YAML file as data: read without losing a duplicate key, placeholders filled in, lines known.

use crate::config::{
    finding::Report,
    lines,
    place::{Place, Step},
    secret::{Environment, Trouble},
    text,
};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::{collections::BTreeSet, fmt};

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Document {
    name: String,
    lines: Vec<String>,
    /// As written.
    raw: Value,
    /// As meant: placeholders filled in, keys without a value taken out.
    value: Value,
    /// Placeholders that could not be filled in.
    troubles: Vec<(Place, Trouble)>,
    /// Texts that are short of something because of an optional `${VAR:-}`.
    emptied: BTreeSet<Place>,
    /// For an imported file: how a place in the draft is called in the file.
    renamed: Vec<(Place, Place)>,
}

impl Document {
    /// Reads a text. `None` if it is no YAML at all, which the report then says.
    pub(crate) fn read(
        name: &str,
        text: &str,
        environment: &Environment,
        report: &mut Report,
    ) -> Option<Self> {
        let mut document =
            Self { name: name.into(), lines: text.lines().map(str::to_owned).collect(), ..Self::default() };
        if let Some(line) = text::too_deep(text) {
            let found = "brackets that are nested too deep";
            let finding = report.found(&document, &Place::root(), found, "at most 64 inside each other");
            finding.line = Some(line);
            return None;
        }
        let mut gathered = Gathered::default();
        let reader = Reader { place: Place::root(), gathered: &mut gathered };
        let parsed = reader.deserialize(yaml_serde::Deserializer::from_str(text));
        match parsed {
            // A file with nothing but comments.
            Ok(Value::Null) => document.raw = Value::Object(Map::new()),
            Ok(raw) => document.raw = raw,
            Err(error) => {
                let line = error.location().map(|location| location.line());
                let finding =
                    report.found(&document, &Place::root(), "something that cannot be read", "YAML");
                finding.line = line;
                finding.hint(error.to_string());
                return None;
            }
        }
        for place in gathered.duplicates {
            report.found(&document, &place, "this key a second time", "each key once");
        }
        let raw = document.raw.clone();
        document.value = document.filled(&raw, &Place::root(), environment);
        Some(document)
    }

    /// A file that is not there, or could not be read: it says nothing.
    pub(crate) fn silent(name: &str) -> Self {
        let nothing = Value::Object(Map::new());
        Self { name: name.into(), raw: nothing.clone(), value: nothing, ..Self::default() }
    }

    /// The file's name, as it was given.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As written.
    pub(crate) fn raw(&self) -> &Value {
        &self.raw
    }

    /// As meant.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// Placeholders that could not be filled in.
    pub(crate) fn troubles(&self) -> &[(Place, Trouble)] {
        &self.troubles
    }

    /// Whether an optional placeholder left this short of something.
    pub(crate) fn is_emptied(&self, place: &Place) -> bool {
        self.emptied.contains(&self.original(place))
    }

    /// Says that a place in the draft is called otherwise in the file.
    pub(crate) fn rename(&mut self, draft: Place, file: Place) {
        self.renamed.push((draft, file));
    }

    /// What a place in the draft is called in the file.
    pub(crate) fn original(&self, place: &Place) -> Place {
        self.renamed
            .iter()
            .filter_map(|(draft, file)| Some((draft.steps().len(), place.moved(draft, file)?)))
            .max_by_key(|(length, _)| *length)
            .map_or_else(|| place.clone(), |(_, original)| original)
    }

    /// The line of a place of the file.
    pub(crate) fn line(&self, place: &Place) -> Option<usize> {
        lines::line_of(&self.lines, place)
    }

    /// What stands at a place, in words; never a secret, and never what a placeholder stands for.
    pub(crate) fn found(&self, place: &Place) -> String {
        let place = self.original(place);
        let Some(value) = place.resolve(&self.raw) else { return "nothing".into() };
        match value {
            Value::Null => "nothing".into(),
            Value::Array(_) => "a list".into(),
            Value::Object(_) => "a map".into(),
            Value::String(text) if text.is_empty() => "an empty text".into(),
            Value::String(text) if place.is_secret() => match whole_placeholder(text) {
                Some(placeholder) => format!("the value of `{placeholder}`"),
                None => "a text (not shown)".into(),
            },
            // Somebody's password may stand in an address.
            Value::String(text) if text.contains("://") && text.contains('@') => "a text (not shown)".into(),
            Value::String(text) if text.contains("${") || text.starts_with("os.environ/") => {
                format!("the value of `{}`", shortened(text))
            }
            Value::String(text) => format!("`{}`", shortened(text)),
            Value::Number(_) | Value::Bool(_) if place.is_secret() => {
                "something that is not text (not shown)".into()
            }
            Value::Number(number) => format!("the number {number}"),
            Value::Bool(truth) => format!("`{truth}`"),
        }
    }

    /// Fills in placeholders, and drops keys that were left without a value.
    fn filled(&mut self, value: &Value, place: &Place, environment: &Environment) -> Value {
        match value {
            Value::String(text) => {
                let filled = environment.fill(text);
                self.troubles.extend(filled.troubles.into_iter().map(|trouble| (place.clone(), trouble)));
                if filled.emptied {
                    self.emptied.insert(place.clone());
                }
                Value::String(filled.text)
            }
            Value::Array(items) => {
                let filled = |(index, item)| self.filled(item, &place.index(index), environment);
                Value::Array(items.iter().enumerate().map(filled).collect())
            }
            Value::Object(map) => Value::Object(
                map.iter()
                    .filter(|(_, item)| !item.is_null())
                    .map(|(name, item)| (name.clone(), self.filled(item, &place.key(name), environment)))
                    .collect(),
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// A text that is one placeholder and nothing else, not even a default: then its variable may be named.
fn whole_placeholder(text: &str) -> Option<&str> {
    let name = text
        .strip_prefix("os.environ/")
        .or_else(|| text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')))?;
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_').then_some(text)
}

/// At most 60 characters, and nothing of a query: tokens stand there.
fn shortened(text: &str) -> String {
    let end = text.find('?').filter(|_| text.contains("://")).unwrap_or(text.len());
    let short: String = text[..end].chars().take(60).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

/// Reads any YAML value as JSON and remembers which keys came twice.
struct Reader<'read> {
    place: Place,
    gathered: &'read mut Gathered,
}

/// What is gathered while a file is read.
#[derive(Default)]
struct Gathered {
    duplicates: Vec<Place>,
    /// How many values there are; anchors make many of few.
    values: usize,
}

/// More values than any configuration has.
const MOST_VALUES: usize = 30_000;

/// Reads a key: any scalar, as text.
struct Key(String);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.gathered.values += 1;
        if self.gathered.values > MOST_VALUES {
            return Err(D::Error::custom(format_args!("there are more than {MOST_VALUES} values")));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text, a number, true or false, a list or a map (no YAML tags)")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    // A text with nothing in it.
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let place = self.place.step(Step::Index(list.len()));
            let Some(item) = items.next_element_seed(Reader { place, gathered: &mut *self.gathered })? else {
                return Ok(Value::Array(list));
            };
            list.push(item);
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let mut merged = Vec::new();
        while let Some(Key(name)) = entries.next_key()? {
            let place = self.place.key(&name);
            let value =
                entries.next_value_seed(Reader { place: place.clone(), gathered: &mut *self.gathered })?;
            match value {
                // YAML's merge key: `<<: *anchor`, or a list of them.
                Value::Object(_) if name == "<<" => merged.push(value),
                Value::Array(values) if name == "<<" => merged.extend(values),
                _ if map.contains_key(&name) => self.gathered.duplicates.push(place),
                value => {
                    map.insert(name, value);
                }
            }
        }
        for value in merged {
            let Value::Object(other) = value else { continue };
            for (name, value) in other {
                map.entry(name).or_insert(value);
            }
        }
        Ok(Value::Object(map))
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KeyReader).map(Self)
    }
}

struct KeyReader;

impl Visitor<'_> for KeyReader {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok("null".into())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<String, E> {
        Ok(truth.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.into())
    }
}
