//! URI templates (RFC 6570) as patterns: which URIs could be an expansion of one.
//!
//! Templates come from upstreams and URIs from clients, so that both are bounded and matching costs no more than
//! their product.

/// The longest template that matches anything, in bytes.
const MOST_TEMPLATE: usize = 256;
/// The most expressions of one that does.
const MOST_EXPRESSIONS: usize = 8;
/// The longest URI that is matched, in bytes.
const MOST_URI: usize = 1024;

/// A template that URIs can be compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::catalog) struct Pattern {
    /// What stands before the first expression.
    start: Box<str>,
    /// The expressions, each with the text behind it.
    rest: Vec<(Reach, Box<str>)>,
}

/// How an expression is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalog) enum Reading {
    /// As its operator says.
    Strict,
    /// Each may stand for anything: not every client encodes what RFC 6570 says it should.
    Loose,
}

/// What an expression can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Text without `/`, as simple expansion makes it (RFC 6570, section 3.2.2).
    Segment,
    /// Any text.
    Anything,
}

// === impl Pattern ===

impl Pattern {
    /// Reads a template; `None` for what is none, or is out of bounds.
    pub(in crate::catalog) fn new(template: &str) -> Option<Self> {
        if template.len() > MOST_TEMPLATE {
            return None;
        }
        let mut parts = template.split('{');
        let start = parts.next().unwrap_or_default().into();
        let rest = parts.map(|part| {
            let (expression, text) = part.split_once('}')?;
            Some((Reach::of(expression), text.into()))
        });
        let rest: Vec<_> = rest.collect::<Option<_>>()?;
        (1..=MOST_EXPRESSIONS).contains(&rest.len()).then_some(Self { start, rest })
    }

    /// Whether the URI could be an expansion.
    pub(in crate::catalog) fn matches(&self, uri: &str, reading: Reading) -> bool {
        let text = uri.as_bytes();
        let end = self.rest.last().map_or("", |(_, end)| end);
        // Most templates are told apart by how they begin.
        if text.len() > MOST_URI || !uri.starts_with(&*self.start) || !uri.ends_with(end) {
            return false;
        }
        // Where the pattern up to here can end: `reached[at]` for the end before byte `at`.
        let mut reached = vec![false; text.len() + 1];
        reached[self.start.len()] = true;
        for (reach, literal) in &self.rest {
            let crosses = *reach == Reach::Anything || reading == Reading::Loose;
            let mut next = vec![false; text.len() + 1];
            let mut is_open = false;
            for at in 0..=text.len() {
                is_open |= reached[at];
                if is_open && text[at..].starts_with(literal.as_bytes()) {
                    next[at + literal.len()] = true;
                }
                is_open &= crosses || text.get(at) != Some(&b'/');
            }
            reached = next;
        }
        reached[text.len()]
    }
}

// === impl Reach ===

impl Reach {
    fn of(expression: &str) -> Self {
        let is_simple = expression.starts_with(|first: char| first.is_alphanumeric() || "_%".contains(first));
        if is_simple && !expression.contains('*') { Self::Segment } else { Self::Anything }
    }
}

#[cfg(test)]
mod tests {
    use super::{Pattern, Reading};
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use rstest::rstest;

    fn pattern(template: &str) -> Pattern {
        Pattern::new(template).expect("a template")
    }

    #[rstest]
    #[case("repo://{owner}/{name}", "repo://a/b", true)]
    #[case("repo://{owner}/{name}", "repo://a/b/c", false)]
    #[case("repo://{owner}/{name}", "repo://a", false)]
    #[case("repo://{owner,name}/x", "repo://a,b/x", true)]
    #[case("file:///{+path}", "file:///a/b/c", true)]
    #[case("file:///{+path}", "file://host/a", false)]
    #[case("file://{/path*}", "file:///a/b", true)]
    #[case("s://{a*}/x", "s://b/c/x", true)]
    #[case("s://find{?q,page}", "s://find?q=a/b", true)]
    #[case("s://{a}b{c}b", "s://bbbb", true)]
    #[case("s://{a}b{c}b", "s://b", false)]
    #[case("{+a}/x/{b}", "s://a/x/b/x/c", true)]
    #[case("{+a}/x/{b}", "s://a/x/b/c", false)]
    #[case("s://ä{a}ö", "s://äüö", true)]
    fn strict_readings(#[case] template: &str, #[case] uri: &str, #[case] matches: bool) {
        assert_eq!(pattern(template).matches(uri, Reading::Strict), matches);
    }

    #[test]
    fn a_loose_reading_takes_what_clients_do_not_encode() {
        assert!(pattern("repo://{owner}/{name}").matches("repo://a/b/c", Reading::Loose));
        assert!(!pattern("repo://{owner}/{name}").matches("repo:/a/b/c", Reading::Loose));
    }

    #[test]
    fn what_is_no_template_or_too_large_matches_nothing() {
        for text in
            ["s://plain", "s://{a", "{a}".repeat(17).as_str(), format!("{{a}}{}", "x".repeat(1024)).as_str()]
        {
            assert_eq!(Pattern::new(text), None);
        }
        assert!(!pattern("{+a}").matches(&"x".repeat(2049), Reading::Loose));
    }

    proptest! {
        #[test]
        fn expansions_match_and_strict_ones_loosely_too(
            parts in proptest::collection::vec(("[ab/]{0,3}", "[+]?", "[ab]{0,3}"), 1..6), other in "[ab/]{0,12}",
        ) {
            let template: Vec<_> = parts.iter().map(|(text, plus, _)| format!("{text}{{{plus}x}}")).collect();
            let expansion: Vec<_> = parts.iter().map(|(text, _, value)| format!("{text}{value}")).collect();
            let pattern = pattern(&template.concat());
            prop_assert!(pattern.matches(&expansion.concat(), Reading::Strict));
            let [strict, loose] = [Reading::Strict, Reading::Loose].map(|reading| pattern.matches(&other, reading));
            prop_assert!(loose || !strict);
            if parts.iter().all(|(_, plus, _)| plus == "+") {
                prop_assert_eq!(strict, loose);
            }
        }
    }
}
