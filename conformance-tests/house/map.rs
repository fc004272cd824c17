//! The table of rooms in `docs/ARCHITECTURE.md`, made from the rooms themselves.

use crate::house::{
    Violation, layers,
    manners::{introduction_paragraphs, invariant},
    owners::OWNERS,
    source::Source,
};

/// Where the table stands.
pub(super) const FILE: &str = "docs/ARCHITECTURE.md";

const BEGIN: &str = "<!-- rooms: begin; written by `UPDATE_DOCS=1 cargo nextest run house` -->";
const END: &str = "<!-- rooms: end -->";

/// The table of rooms: levels from the constant, what each is and what holds there from its first file.
pub(super) fn table(sources: &[Source]) -> String {
    let mut lines =
        vec!["| level | room | what it is | what always holds |".to_owned(), "|---|---|---|---|".into()];
    let rooms = layers::LEVELS.iter().flat_map(|(level, rooms)| rooms.iter().map(move |room| (level, room)));
    for (level, room) in rooms {
        let root = sources.iter().find(|source| source.is_root() && source.room() == Some(room));
        let Some(root) = root else { continue };
        let what = introduction_paragraphs(root).into_iter().next().unwrap_or_default();
        let holds = invariant(root).unwrap_or_default();
        lines.push(format!("| {level} | `{room}` | {} | {} |", cell(&what), cell(&holds)));
    }
    lines.extend([String::new(), "| crate | only named in |".into(), "|---|---|".into()]);
    for (name, owners) in OWNERS.iter().filter(|(_, owners)| !owners.is_empty() && *owners != ["*"]) {
        let owners: Vec<_> = owners.iter().map(|owner| format!("`{owner}`")).collect();
        lines.push(format!("| `{name}` | {} |", owners.join(", ")));
    }
    lines.join("\n") + "\n"
}

fn cell(text: &str) -> String {
    let mut symbols = text.chars();
    let first = symbols.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", symbols.as_str()).replace('|', "\\|")
}

/// The document with this table between its marks; the text says what is missing.
pub(super) fn with_table(document: &str, table: &str) -> Result<String, String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .ok_or_else(|| format!("put the line `{BEGIN}` where the table belongs"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| format!("put the line `{END}` behind the table"))?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

/// Where the document differs from what it should be.
pub(super) fn check(document: &str, table: &str) -> Vec<Violation> {
    let wanted = match with_table(document, table) {
        Ok(wanted) => wanted,
        Err(missing) => return vec![Violation::new(FILE, 1, missing)],
    };
    let differs = |(found, wanted): (&str, &str)| found != wanted;
    if document == wanted {
        return Vec::new();
    }
    let line = 1 + document.lines().zip(wanted.lines()).take_while(|pair| !differs(*pair)).count();
    let text = "the table of rooms is old: run `UPDATE_DOCS=1 cargo nextest run house`";
    vec![Violation::new(FILE, line, text.into())]
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, check, table, with_table};
    use crate::house::source::Source;

    #[test]
    fn the_table_says_what_the_rooms_say() {
        let text = "//! Bytes | and JSON.\n//!\n//! **Invariant:** bytes\n//! stay.\n";
        let table =
            table(&[Source::new("src/wire/mod.rs", text), Source::new("src/wire/raw.rs", "//! Raw.")]);
        assert!(table.contains("\n| 1 | `wire` | Bytes \\| and JSON. | Bytes stay. |\n"), "{table}");
        assert!(!table.contains("`relay` |"), "{table}");
    }

    #[test]
    fn an_old_table_is_found_and_replaced() {
        let old = format!("# Map\n\n{BEGIN}\n| old |\n{END}\n\nMore.\n");
        assert_eq!(check(&old, "| new |\n")[0].line, 4);
        let new = with_table(&old, "| new |\n").expect("marks");
        assert_eq!(new, format!("# Map\n\n{BEGIN}\n| new |\n{END}\n\nMore.\n"));
        assert!(check(&new, "| new |\n").is_empty());
        assert!(check("# Map\n", "| new |\n")[0].text.contains("put the line"));
    }
}
