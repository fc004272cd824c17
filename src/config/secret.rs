//! The environment, and the placeholders that it fills: `${VAR}`, `${VAR:-default}`, `os.environ/VAR`,
//! and `VAR_FILE` in place of `VAR`.

use crate::config::text;
use std::{collections::BTreeMap, ffi::OsString, path::Path};

/// The variables that a configuration may use: taken once, so that a test can bring its own.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// A text whose placeholders are filled in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// The text; what could not be filled in is left as it was.
    pub(crate) text: String,
    /// What could not be filled in.
    pub(crate) troubles: Vec<Trouble>,
    /// Whether an optional placeholder (`${VAR:-}`) came out empty.
    pub(crate) emptied: bool,
}

/// Why a placeholder could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The variable is not set, and neither is its `_FILE`.
    Unset(String),
    /// The file that `VAR_FILE` names cannot be read.
    File {
        /// The variable that names the file.
        variable: String,
        /// What the system said.
        reason: String,
    },
    /// There is no closing brace.
    Unclosed,
    /// What stands in the braces is not a variable's name.
    Name(String),
}

/// The most placeholders inside defaults of placeholders.
const MAX_DEPTH: usize = 8;

// === impl Environment ===

impl Environment {
    /// The variables of this process; those that are not UTF-8 do not exist.
    pub fn of_process() -> Self {
        let text = |text: OsString| text.into_string().ok();
        Self(std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect())
    }

    /// The variable, or the content of the file that its `_FILE` names; `None` if there is neither.
    pub(crate) fn look_up(&self, variable: &str) -> Result<Option<String>, Trouble> {
        let set = self.0.get(variable);
        if let Some(value) = set.filter(|value| !value.is_empty()) {
            return Ok(Some(value.clone()));
        }
        let from = format!("{variable}_FILE");
        let Some(path) = self.0.get(&from).filter(|path| !path.is_empty()) else { return Ok(set.cloned()) };
        match text::read(Path::new(path)) {
            Ok(content) => Ok(Some(content.trim_end_matches(['\r', '\n']).into())),
            Err(error) => Err(Trouble::File { variable: from, reason: format!("{path}: {error}") }),
        }
    }

    /// Fills in the placeholders of a text.
    pub(crate) fn fill(&self, text: &str) -> Filled {
        let mut filled = Filled::default();
        match text.strip_prefix("os.environ/") {
            Some(variable) if is_name(variable) => self.put(variable, None, text, &mut filled),
            Some(other) => {
                filled.troubles.push(Trouble::Name(other.into()));
                filled.text = text.into();
            }
            None => self.fill_into(text, 0, &mut filled),
        }
        filled
    }

    fn fill_into(&self, text: &str, depth: usize, filled: &mut Filled) {
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let (before, from) = rest.split_at(start);
            // `$${` is a literal `${`.
            if let Some(before) = before.strip_suffix('$') {
                filled.text.push_str(before);
                filled.text.push_str("${");
                rest = &from[2..];
                continue;
            }
            filled.text.push_str(before);
            let Some(length) = closing(&from[2..]) else {
                filled.troubles.push(Trouble::Unclosed);
                rest = from;
                break;
            };
            let (whole, after) = from.split_at(2 + length + 1);
            let inside = &whole[2..whole.len() - 1];
            let (variable, default) = match inside.split_once(":-") {
                Some((variable, default)) => (variable, Some((default, depth))),
                None => (inside, None),
            };
            if is_name(variable) && depth < MAX_DEPTH {
                self.put(variable, default, whole, filled);
            } else {
                filled.troubles.push(Trouble::Name(variable.into()));
                filled.text.push_str(whole);
            }
            rest = after;
        }
        filled.text.push_str(rest);
    }

    fn put(&self, variable: &str, default: Option<(&str, usize)>, whole: &str, filled: &mut Filled) {
        match (self.look_up(variable), default) {
            (Err(trouble), _) => {
                filled.troubles.push(trouble);
                filled.text.push_str(whole);
            }
            // As in a shell, `:-` also replaces a variable that is set but empty.
            (Ok(Some(value)), _) if !value.is_empty() => filled.text.push_str(&value),
            (Ok(_), Some((default, depth))) => {
                let before = filled.text.len();
                self.fill_into(default, depth + 1, filled);
                filled.emptied |= filled.text.len() == before;
            }
            (Ok(Some(_)), None) => {}
            (Ok(None), None) => {
                filled.troubles.push(Trouble::Unset(variable.into()));
                filled.text.push_str(whole);
            }
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

// Values may be secrets, so only their number is shown.
impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Environment({} variables)", self.0.len())
    }
}

impl Trouble {
    /// What was found, what is expected and what to do.
    pub(crate) fn words(&self) -> (String, &'static str, String) {
        match self {
            Self::Unset(variable) => (
                format!("`{variable}`, which is not set"),
                "a variable of the environment",
                format!(
                    "set {variable}, or {variable}_FILE to a file with the value in it, or write ${{{variable}:-…}}"
                ),
            ),
            Self::File { variable, reason } => (
                format!("`{variable}`, whose file cannot be read"),
                "a file that can be read",
                reason.clone(),
            ),
            Self::Unclosed => (
                "a `${` that is never closed".into(),
                "`${VAR}` or `${VAR:-default}`",
                "write `$${` where a literal `${` is meant".into(),
            ),
            Self::Name(_) => (
                "a placeholder that does not name a variable".into(),
                "`${VAR}`, `${VAR:-default}` or `os.environ/VAR`",
                "a variable's name has letters, digits and `_`; write `$${` where a literal `${` is meant"
                    .into(),
            ),
        }
    }
}

/// Where the brace that is open at the start is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    let mut previous = '\0';
    for (position, symbol) in text.char_indices() {
        match symbol {
            '{' if previous == '$' => open += 1,
            '}' if open == 1 => return Some(position),
            '}' => open -= 1,
            _ => {}
        }
        previous = symbol;
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::{Environment, Trouble};
    use proptest::{prop_assert_eq, prop_assume, proptest};
    use rstest::rstest;
    use std::io::Write as _;

    fn environment() -> Environment {
        [("A", "one"), ("B", "two"), ("EMPTY", "")].into_iter().collect()
    }

    #[rstest]
    #[case("plain $A {A}", "plain $A {A}")]
    #[case("${A}", "one")]
    #[case("x${A}y${B}z", "xoneytwoz")]
    #[case("${NO:-default}", "default")]
    #[case("${EMPTY:-default}", "default")]
    #[case("${NO:-${B}}", "two")]
    #[case("${NO:-a${ALSO_NO:-b}c}", "abc")]
    #[case("${A:-default}", "one")]
    #[case("${EMPTY}", "")]
    #[case("$${A}", "${A}")]
    #[case("${NO:-a:-b}", "a:-b")]
    #[case("os.environ/A", "one")]
    fn placeholders_are_filled(#[case] text: &str, #[case] expected: &str) {
        let filled = environment().fill(text);
        assert_eq!(filled.text, expected);
        assert_eq!(filled.troubles, []);
    }

    #[rstest]
    #[case("${NO}", Trouble::Unset("NO".into()))]
    #[case("os.environ/NO", Trouble::Unset("NO".into()))]
    #[case("os.environ/A B", Trouble::Name("A B".into()))]
    #[case("${A", Trouble::Unclosed)]
    #[case("${}", Trouble::Name(String::new()))]
    #[case("${A-b}", Trouble::Name("A-b".into()))]
    fn what_cannot_be_filled_stays(#[case] text: &str, #[case] trouble: Trouble) {
        let filled = environment().fill(text);
        assert_eq!(filled.text, text);
        assert_eq!(filled.troubles, [trouble]);
    }

    #[test]
    fn a_file_stands_in_for_a_variable() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        write!(file, "secret\r\n").expect("to write");
        let path = file.path().to_str().expect("a path").to_owned();
        let environment: Environment =
            [("A_FILE", path), ("B_FILE", "/does/not/exist".into())].into_iter().collect();
        assert_eq!(environment.fill("x${A}").text, "xsecret");
        assert!(matches!(environment.fill("${B}").troubles[..], [Trouble::File { .. }]));
    }

    #[test]
    fn optional_placeholders_say_that_they_are_empty() {
        assert!(environment().fill("Bearer ${NO:-}").emptied);
        assert!(!environment().fill("Bearer ${A:-}").emptied);
    }

    proptest! {
        #[test]
        fn filling_never_panics(text in "\\PC{0,60}") {
            let _ = environment().fill(&text);
        }

        #[test]
        fn filling_placeholders_never_panics(text in "[$={}:\\-ABé_]{0,60}") {
            let _ = environment().fill(&text);
        }

        #[test]
        fn texts_without_placeholders_stay(text in "[^$]{0,60}") {
            prop_assume!(!text.starts_with("os.environ/"));
            prop_assert_eq!(environment().fill(&text).text, text);
        }
    }
}
