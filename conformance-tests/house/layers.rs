//! Which room may import which: only rooms that stand lower.

use crate::house::{Violation, source::Source};

/// The rooms and the level that each stands on; `main.rs` and `lib.rs` stand above all.
pub(super) const LEVELS: &[(u8, &[&str])] = &[
    (8, &["cli"]),
    (7, &["gateway"]),
    (6, &["front", "config"]),
    (5, &["relay"]),
    (4, &["session", "upstream"]),
    (3, &["catalog", "policy"]),
    (2, &["protocol"]),
    (1, &["wire"]),
    (0, &["telemetry"]),
];

/// What `config` takes from other rooms beside their `settings`.
const CONFIG_TAKES: &[(&str, &str)] =
    &[("catalog", "name"), ("protocol", "pattern"), ("telemetry", "logs"), ("wire", "nearest")];

/// Rooms that stand lower, and yet are for these files only.
const NARROW: &[(&str, &str, &[&str])] = &[
    // Fronts reach upstreams through the relay; only the state of upstreams is shown directly.
    ("front", "upstream", &["health.rs"]),
];

pub(super) fn level(room: &str) -> Option<u8> {
    LEVELS.iter().find(|(_, rooms)| rooms.contains(&room)).map(|(level, _)| *level)
}

/// Every import of one room by another that the levels do not allow.
pub(super) fn check(source: &Source) -> Vec<Violation> {
    let Some(room) = source.room() else { return Vec::new() };
    let mut violations = Vec::new();
    let Some(own) = level(room) else {
        let text =
            format!("the room `{room}` has no level: give it one in conformance-tests/house/layers.rs");
        return vec![Violation::at(source, 0, text)];
    };
    let named = source.named();
    // `use crate::front;` and then `front::settings`: the second says what is taken.
    let is_whole = |segments: &[String]| segments.len() == 2 && is_package(&segments[0]);
    let whole: Vec<&str> = named
        .iter()
        .filter(|named| named.is_use && is_whole(&named.segments))
        .map(|named| named.segments[1].as_str())
        .collect();
    for named in &named {
        let path: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        let (other, inner) = match path[..] {
            [first, other, ..] if is_package(first) => (other, path.get(2).copied()),
            [other, inner, ..] if !named.is_use && whole.contains(&other) => (other, Some(inner)),
            _ => continue,
        };
        if other == room {
            continue;
        }
        let refused = refusal(source, room, own, other, inner, named.is_use);
        violations.extend(refused.map(|text| Violation::at(source, named.at, text)));
    }
    violations.extend(climbs(source));
    violations
}

fn is_package(segment: &str) -> bool {
    segment == "crate" || segment == "trunkline"
}

fn refusal(
    source: &Source,
    room: &str,
    own: u8,
    other: &str,
    inner: Option<&str>,
    is_use: bool,
) -> Option<String> {
    let Some(theirs) = level(other) else {
        return Some(format!("there is no room `{other}`: name the room that has it"));
    };
    if room == "config" {
        let takes = |inner| inner == "settings" || CONFIG_TAKES.contains(&(other, inner));
        // The import of a whole room is judged by what is taken from it.
        return match inner {
            None if is_use => None,
            Some(inner) if takes(inner) => None,
            _ => Some(format!("`config` builds the rooms' settings and takes nothing else from `{other}`")),
        };
    }
    if theirs >= own {
        let text = format!(
            "`{room}` (level {own}) must not import `{other}` (level {theirs}): move what both need into a room \
             below, or hand it in from above"
        );
        return Some(text);
    }
    let narrow = NARROW.iter().find(|(from, to, _)| (*from, *to) == (room, other))?;
    let place = source.place().unwrap_or_default().split_once('/').map_or("", |(_, place)| place);
    let text =
        || format!("only {} of `{room}` may import `{other}`: go through the relay", narrow.2.join(", "));
    (!narrow.2.contains(&place)).then(text)
}

/// `super` that leaves the room, or only looks as if it did.
fn climbs(source: &Source) -> Vec<Violation> {
    let is_climb = |segments: &[String]| {
        segments[0] == "super"
            && (segments.get(1).is_some_and(|second| second == "super") || source.path.ends_with("/mod.rs"))
    };
    let named = source.named();
    let climbs = named.iter().filter(|named| is_climb(&named.segments) && !source.is_test(named.at));
    climbs
        .map(|named| {
            Violation::at(source, named.at, "`super` leaves the room: write the path from `crate`".into())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::house::source::Source;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Source::new(path, text)).iter().map(|violation| violation.line).collect()
    }

    #[test]
    fn lower_rooms_may_be_imported_and_no_others() {
        let text = "use crate::wire::raw::Raw;\nuse crate::relay::Relay;\nuse crate::{policy::grant, front::Front};\n";
        assert_eq!(lines("src/relay/call.rs", text), [3]);
        assert_eq!(lines("src/catalog/view.rs", text), [2, 3, 3]);
        assert_eq!(lines("src/gateway/accept.rs", text), [0; 0]);
        assert_eq!(lines("src/lib.rs", text), [0; 0]);
    }

    #[test]
    fn paths_in_code_count_as_imports() {
        let text = "fn f() {\n    crate::front::open();\n    trunkline::cli::run()\n}";
        assert_eq!(lines("src/relay/call.rs", text), [2, 3]);
    }

    #[test]
    fn config_takes_settings_only() {
        let text = "use crate::{front, upstream::settings::Settings, catalog::name::Alias};\n\
                    fn f(a: front::settings::Settings, b: front::Front) {}\nuse crate::upstream::Upstream;\n";
        assert_eq!(lines("src/config/checked.rs", text), [3, 2]);
        assert_eq!(lines("src/front/mod.rs", "use crate::config::Config;"), [1]);
        assert_eq!(lines("src/gateway.rs", "use crate::config::Config;"), [0; 0]);
    }

    #[test]
    fn fronts_do_not_reach_past_the_relay() {
        let text = "use crate::upstream::Upstream;";
        assert_eq!(lines("src/front/door.rs", text), [1]);
        assert_eq!(lines("src/front/health.rs", text), [0; 0]);
    }

    #[test]
    fn super_does_not_leave_the_room() {
        assert_eq!(lines("src/wire/mod.rs", "use super::front;"), [1]);
        assert_eq!(lines("src/wire/raw.rs", "use super::super::front;\nuse super::sse;"), [1]);
    }

    #[test]
    fn a_new_room_needs_a_level() {
        assert_eq!(lines("src/ledger/mod.rs", ""), [1]);
        assert_eq!(lines("src/relay/mod.rs", "use crate::ledger::Entry;"), [1]);
    }
}
