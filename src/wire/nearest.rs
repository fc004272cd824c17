//! "Did you mean": the nearest of some known words.

/// The nearest of the candidates, if any is near enough to be meant.
pub(crate) fn nearest<'word>(
    word: &str,
    candidates: impl IntoIterator<Item = &'word str>,
) -> Option<&'word str> {
    let written = plain(word);
    candidates
        .into_iter()
        .map(|candidate| (distance(&written, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().min(word.chars().count()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and the kind of dash do not count.
fn plain(word: &str) -> Vec<char> {
    word.chars().filter(|symbol| !matches!(symbol, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// How many characters must be put in, taken out or replaced.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, left) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;
    use rstest::rstest;

    #[rstest]
    #[case("lisen", Some("listen"))]
    #[case("masterKey", Some("master_key"))]
    #[case("upstream", Some("upstreams"))]
    #[case("zebra", None)]
    #[case("a", None)]
    fn near_words_are_found(#[case] word: &str, #[case] expected: Option<&str>) {
        assert_eq!(nearest(word, ["listen", "master_key", "upstreams", "keys"]), expected);
    }
}
