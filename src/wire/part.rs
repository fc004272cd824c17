//! A look into a JSON text: members and items, each with the place where it stands.

use crate::wire::{raw, raw::Raw, splice::Edit};
use bytes::Bytes;
use memchr::memmem;
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

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its name, a JSON string.
    pub key: Part<'a>,
    /// Its value.
    pub value: Part<'a>,
}

/// The members of an object, in the order in which they stand there.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    whole: &'a str,
    rest: &'a str,
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

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// Its members, if it is an object: all of them, also those of one name. Nothing but brackets and quotes is looked
    /// at: the text was parsed before.
    pub fn entries(self) -> Entries<'a> {
        Entries { whole: self.whole, rest: self.text.strip_prefix('{').unwrap_or_default() }
    }

    /// What to take out of the whole text so that the members of these names are not there any more: each with its
    /// comma, in the order in which they stand there.
    pub fn without(self, keys: &[&str]) -> Vec<Range<usize>> {
        removal(self.entries(), |entry| entry.is_any(keys))
    }

    /// The edits of the whole text after which the members of the names `keys` are exactly `members`.
    ///
    /// Those that are there are overwritten where they stand, and the others come first. What is no object stays as it is.
    pub fn with(self, keys: &[&str], members: &[(&str, &[u8])]) -> Vec<Edit> {
        if !self.is_object() {
            return Vec::new();
        }
        let mut left = members;
        let mut edits = Vec::new();
        let mut kept = Vec::new();
        for entry in self.entries().filter(|entry| entry.is_any(keys)) {
            if let Some((member, others)) = left.split_first() {
                edits.push((entry.at(), joined(&[*member])));
                kept.push(entry.at());
                left = others;
            }
        }
        edits.extend(self.insertion(&joined(left)));
        if left.is_empty() {
            let is_gone = |entry: &Entry<'_>| entry.is_any(keys) && !kept.contains(&entry.at());
            edits.extend(removal(self.entries(), is_gone).into_iter().map(|at| (at, Bytes::new())));
        }
        edits
    }

    /// The edit of the whole text that puts these members (a text such as `"a":1,"b":2`) before all others.
    pub fn insertion(self, members: &[u8]) -> Option<Edit> {
        if !self.is_object() || members.is_empty() {
            return None;
        }
        let mut text = members.to_vec();
        // Right before the first key: taken out again, it leaves the text as it was.
        let at = match self.entries().next() {
            Some(first) => {
                text.push(b',');
                first.key.at().start
            }
            None => self.at().start + 1,
        };
        Some((at..at, text.into()))
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

/// Whether a key or a text with one of these words may stand somewhere in a JSON text; `false` is certain, and costs
/// one look for each word.
///
/// No word may have a character that has a short escape (`"`, `\`, `/` and control characters): all others are
/// written as they are or as `\u…`.
pub fn mentions(raw: &Raw, words: &[&str]) -> bool {
    let has = |word: &[u8]| memmem::find(raw.as_bytes(), word).is_some();
    words.iter().any(|word| has(word.as_bytes())) || has(b"\\u")
}

/// Members as the text of an object's inside.
pub fn joined(members: &[(&str, &[u8])]) -> Bytes {
    let mut text = Vec::new();
    for (key, value) in members {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(Raw::of(*key).as_bytes());
        text.push(b':');
        text.extend_from_slice(value);
    }
    text.into()
}

/// What to take out so that those of an object's members that `is_gone` says are not there any more.
fn removal<'a>(entries: Entries<'a>, is_gone: impl Fn(&Entry<'a>) -> bool) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    // Where the one before ends, once one is kept; until then, what goes at the beginning.
    let (mut kept, mut leading): (Option<usize>, Option<Range<usize>>) = (None, None);
    for entry in entries {
        let at = entry.at();
        match (is_gone(&entry), kept) {
            (true, Some(end)) => match ranges.last_mut().filter(|last| last.end == end) {
                Some(last) => last.end = at.end,
                None => ranges.push(end..at.end),
            },
            (true, None) => leading = Some(leading.map_or(at.start, |leading| leading.start)..at.end),
            (false, _) => ranges.extend(leading.take().map(|leading| leading.start..at.start)),
        }
        if kept.is_some() || leading.is_none() {
            kept = Some(at.end);
        }
    }
    ranges.extend(leading);
    ranges
}

/// The length of the value that a valid JSON text begins with.
fn extent(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut rest = bytes;
    let mut depth = 0_usize;
    while let Some((&byte, tail)) = rest.split_first() {
        match byte {
            b'"' => rest = raw::after_string(tail),
            b'{' | b'[' => (rest, depth) = (tail, depth + 1),
            b'}' | b']' => (rest, depth) = (tail, depth.saturating_sub(1)),
            _ if depth == 0 => {
                let end = rest.iter().position(|byte| b",}] \t\r\n".contains(byte));
                return bytes.len() - rest.len() + end.unwrap_or(rest.len());
            }
            _ => rest = tail,
        }
        if depth == 0 {
            break;
        }
    }
    bytes.len() - rest.len()
}

fn trimmed(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

// === impl Entry ===

impl Entry<'_> {
    /// Whether this is its name.
    pub fn is(&self, name: &str) -> bool {
        let inner = self.key.text.get(1..self.key.text.len() - 1).unwrap_or_default();
        inner == name || (inner.contains('\\') && self.key.string().is_some_and(|key| key == name))
    }

    /// Where it stands in the whole text, from its name to its value's end.
    pub fn at(&self) -> Range<usize> {
        self.key.at().start..self.value.at().end
    }

    fn is_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }
}

// === impl Entries ===

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let text = trimmed(std::mem::take(&mut self.rest));
        let text = trimmed(text.strip_prefix(',').unwrap_or(text));
        if !text.starts_with('"') {
            return None;
        }
        let (key, rest) = text.split_at_checked(extent(text))?;
        let rest = trimmed(trimmed(rest).strip_prefix(':')?);
        let (value, rest) = rest.split_at_checked(extent(rest))?;
        self.rest = rest;
        let part = |text| Part { whole: self.whole, text };
        Some(Entry { key: part(key), value: part(value) })
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
    use super::{Part, joined, mentions};
    use crate::wire::{
        odd::{Member, members, object, raw},
        raw::Raw,
        splice::Edit,
    };
    use bytes::Bytes;
    use proptest::{prop_assert, prop_assert_eq, proptest, sample::subsequence};

    const KEYS: &[&str] = &[r#""a""#, r#""b""#, r#""c \/\"d""#, r#""\u0061""#, r#""""#];
    const NAMES: &[&str] = &["a", "b", "c /\"d", ""];

    /// The members of an object as they are written.
    fn written(raw: &Raw) -> Vec<(String, String)> {
        let entries = Part::of(raw).entries();
        entries.map(|entry| (entry.key.text().into(), entry.value.text().into())).collect()
    }

    fn name(member: &Member) -> String {
        serde_json::from_str(&member.key).expect("a string")
    }

    fn cut(raw: &Raw, names: &[&str]) -> Raw {
        let cuts = Part::of(raw).without(names).into_iter().map(|at| (at, Bytes::new()));
        valid(raw, &cuts.collect::<Vec<Edit>>())
    }

    /// The text with the edits made, which must be JSON.
    fn valid(raw: &Raw, edits: &[Edit]) -> Raw {
        Raw::parse(raw.edited(edits).into_bytes()).expect("edits keep JSON valid")
    }

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

    #[test]
    fn commas_go_with_the_members_they_belong_to() {
        for (text, names, left) in [
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["a"], r#"{ "b": 2,"c":3 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["b"], r#"{ "a" : 1,"c":3 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["c"], r#"{ "a" : 1 , "b": 2 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["b", "a"], r#"{ "c":3 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["b", "c"], r#"{ "a" : 1 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["a", "c"], r#"{ "b": 2 }"#),
            (r#"{ "a" : 1 , "b": 2,"c":3 }"#, vec!["a", "b", "c"], "{  }"),
            (r#"{"\u0061":1,"a":[{"a":2}],"b":3,"a":4}"#, vec!["a"], r#"{"b":3}"#),
            (r#"[{"a":1}]"#, vec!["a"], r#"[{"a":1}]"#),
            (r#""a""#, vec!["a"], r#""a""#),
        ] {
            assert_eq!(cut(&raw(text), &names).as_str(), left, "{names:?} out of {text}");
        }
    }

    #[test]
    fn a_word_is_found_however_it_is_written() {
        assert!(mentions(&raw(r#"{"abc":1}"#), &["x", "abc"]));
        assert!(mentions(&raw(r#"{"\u0061bc":1}"#), &["abc"]));
        assert!(!mentions(&raw(r#"{"ab":"c\n"}"#), &["abc"]));
    }

    proptest! {
        #[test]
        fn members_are_found_as_they_were_written(all in members(KEYS)) {
            let raw = raw(&object(&all));
            let expected: Vec<_> = all.iter().map(|member| (member.key.clone(), member.value.clone())).collect();
            prop_assert_eq!(written(&raw), expected);
            for entry in Part::of(&raw).entries() {
                prop_assert_eq!(&raw.as_str()[entry.value.at()], entry.value.text());
                prop_assert!(raw.as_str()[entry.at()].starts_with(entry.key.text()));
                prop_assert!(raw.as_str()[entry.at()].ends_with(entry.value.text()));
            }
        }

        #[test]
        fn what_is_cut_is_gone_and_nothing_else(all in members(KEYS), names in subsequence(NAMES, 0..=NAMES.len())) {
            let left = cut(&raw(&object(&all)), &names);
            let kept = all.iter().filter(|member| !names.contains(&&*name(member)));
            let kept: Vec<_> = kept.map(|member| (member.key.clone(), member.value.clone())).collect();
            prop_assert_eq!(written(&left), kept);
        }

        #[test]
        fn what_is_put_first_can_be_taken_out_again(all in members(KEYS)) {
            let before = raw(&object(&all));
            let edit = Part::of(&before).insertion(&joined(&[("new", b"1.10"), ("newer", b"{}")]));
            let with = valid(&before, &edit.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(written(&with).len(), all.len() + 2);
            prop_assert_eq!(cut(&with, &["newer", "new"]), before);
        }

        #[test]
        fn members_are_exactly_what_they_are_to_be(
            all in members(KEYS), names in subsequence(NAMES, 0..=NAMES.len()), used in 0..4_usize,
        ) {
            let before = raw(&object(&all));
            let new: Vec<(&str, &[u8])> = names.iter().take(used).map(|name| (*name, &b"\"new\""[..])).collect();
            let edits = Part::of(&before).with(&names, &new);
            let is_own = |text: &String| names.contains(&&*serde_json::from_str::<String>(text).expect("a string"));
            for other in Part::of(&before).entries().filter(|entry| !is_own(&entry.key.text().into())) {
                let at = other.at();
                prop_assert!(edits.iter().all(|(edit, _)| edit.end <= at.start || at.end <= edit.start));
            }
            let (own, others): (Vec<_>, Vec<_>) =
                written(&valid(&before, &edits)).into_iter().partition(|(key, _)| is_own(key));
            let kept = all.iter().filter(|member| !names.contains(&&*name(member)));
            let kept: Vec<_> = kept.map(|member| (member.key.clone(), member.value.clone())).collect();
            prop_assert_eq!(others, kept);
            let mut own: Vec<_> = own.iter().map(|(key, value)| (raw(key), value.as_bytes())).collect();
            let mut expected: Vec<_> = new.iter().map(|(key, value)| (Raw::of(*key), *value)).collect();
            own.sort_by_key(|(key, _)| key.as_str().to_owned());
            expected.sort_by_key(|(key, _)| key.as_str().to_owned());
            prop_assert_eq!(own, expected);
        }
    }
}
