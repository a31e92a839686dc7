//! The nearest known key to one that nobody knows.

use super::{Key, Kind, ROOT};

/// What was probably meant: a key of the same table in another spelling, else the same name
/// in another table, else nothing.
pub(crate) fn nearest(unknown: &str, keys: &'static [Key]) -> Option<String> {
    let folded = unknown.to_ascii_lowercase().replace('-', "_");
    if let Some(key) = keys.iter().find(|k| k.name == folded) {
        return Some(key.name.to_owned());
    }
    if let Some(name) = closest(&folded, keys.iter().map(|k| k.name)) {
        return Some(name.to_owned());
    }
    elsewhere(&folded, ROOT, "")
}

/// The name with the smallest distance, if that is small for its length.
pub(crate) fn closest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (distance(word, name), name))
        .filter(|(d, name)| *d <= (name.len().max(word.len()) / 3).clamp(1, 3))
        .min_by_key(|(d, _)| *d)
        .map(|(_, name)| name)
}

fn elsewhere(word: &str, keys: &'static [Key], path: &str) -> Option<String> {
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(key) = keys.iter().find(|k| k.name == word) {
        return Some(join(key.name));
    }
    keys.iter().find_map(|key| match key.kind {
        Kind::Table(inner) | Kind::Tables(inner) => elsewhere(word, inner, &join(key.name)),
        _ => None,
    })
}

/// Edits (insert, delete, replace, swap of neighbours) between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) =
        (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (cell(&last, j) + usize::from(x != y))
                .min(cell(&last, j + 1) + 1)
                .min(cell(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(&y) && b.get(j - 1) == Some(&x);
            if swapped {
                best = best.min(cell(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_one_typing_error_away() {
        let access = super::super::route::ACCESS;
        assert_eq!(nearest("group", access).as_deref(), Some("groups"));
        assert_eq!(nearest("netowrks", access).as_deref(), Some("networks"));
        assert_eq!(nearest("max-auth-age", access).as_deref(), Some("max_auth_age"));
        assert_eq!(nearest("frobnicate", access), None);
    }

    #[test]
    fn a_key_of_another_table_is_named_with_its_table() {
        assert_eq!(nearest("portal_url", ROOT).as_deref(), Some("server.portal_url"));
    }

    #[test]
    fn distance_counts_swaps_once() {
        assert_eq!(distance("host", "hsot"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
