//! A look into a JSON text: members and items, each with the place where it stands.

use crate::wire::raw::Raw;
use bytes::Bytes;
use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{array, borrow::Cow, fmt, ops::Range};

/// A value inside a JSON text.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    whole: &'a str,
    text: &'a str,
}

/// Which members of an object are looked for; each may stand there once.
struct Wanted<'k, const N: usize>([&'k str; N]);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

// === impl Part ===

impl<'a> Part<'a> {
    /// The whole text.
    pub fn of(raw: &'a Raw) -> Self {
        Self { whole: raw.as_str(), text: raw.as_str() }
    }

    /// Its JSON text.
    pub fn text(self) -> &'a str {
        self.text
    }

    /// A copy of it that keeps nothing else in memory.
    pub fn copy(self) -> Raw {
        Raw::trusted(&Bytes::copy_from_slice(self.text.as_bytes()), 0..self.text.len())
    }

    /// Where it stands in the whole text.
    pub fn at(self) -> Range<usize> {
        let start = self.text.as_ptr().addr() - self.whole.as_ptr().addr();
        start..start + self.text.len()
    }

    /// The members of these names; the text says why it is no object, or which of them stands there twice.
    pub fn members<const N: usize>(self, keys: [&str; N]) -> Result<[Option<Self>; N], String> {
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let found = Wanted(keys).deserialize(&mut deserializer).map_err(|error| error.to_string())?;
        Ok(found.map(|value| value.map(|value| self.inner(value))))
    }

    /// The member of this name, where there is exactly one.
    pub fn member(self, key: &str) -> Option<Self> {
        let [found] = self.members([key]).ok()?;
        found
    }

    /// Its items, if it is an array.
    pub fn items(self) -> Option<Vec<Self>> {
        let items: Vec<&RawValue> = serde_json::from_str(self.text).ok()?;
        Some(items.into_iter().map(|item| self.inner(item)).collect())
    }

    /// Its text unescaped, if it is a string.
    pub fn string(self) -> Option<Cow<'a, str>> {
        string(self.text)
    }

    fn inner(self, value: &'a RawValue) -> Self {
        Self { whole: self.whole, text: value.get() }
    }
}

/// A JSON string's text, unescaped.
pub(in crate::wire) fn string(text: &str) -> Option<Cow<'_, str>> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(text).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

// === impl Wanted ===

impl<'de, const N: usize> DeserializeSeed<'de> for Wanted<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Wanted<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = array::from_fn(|_| None);
        while let Some(Key(key)) = map.next_key()? {
            match self.0.iter().position(|wanted| *wanted == key) {
                Some(index) if found[index].is_some() => {
                    return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                }
                Some(index) => found[index] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::Part;
    use crate::wire::raw::Raw;
    use bytes::Bytes;

    #[test]
    fn parts_know_where_they_stand() {
        let text = r#" {"a" : {"b\u0063": [1, "x\"y" ]}, "d":1, "d":2}"#;
        let raw = Raw::parse(Bytes::from_static(text.as_bytes())).expect("JSON");
        let whole = Part::of(&raw);
        let items = whole.member("a").and_then(|a| a.member("bc")).and_then(Part::items).expect("an array");
        assert_eq!(items[1].string().as_deref(), Some("x\"y"));
        assert_eq!(&raw.as_str()[items[1].at()], r#""x\"y""#);
        assert!(items[0].string().is_none() && items[0].items().is_none() && items[0].member("a").is_none());
        assert!(whole.member("d").is_none() && whole.member("nothing").is_none());
        assert!(whole.members(["a", "d"]).is_err_and(|reason| reason.contains("duplicate field `d`")));
    }
}
