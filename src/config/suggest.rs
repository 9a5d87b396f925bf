//! "Did you mean": the known word nearest to an unknown one.
//!
//! Pure; imports std only.

/// The candidate with the fewest edits to `word`, if it is near enough to be worth a guess: at most one
/// edit for each three characters. The first one wins a tie.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.to_lowercase().chars().collect();
    // Nobody misspells a key at this length, and the time is bounded.
    if word.len() > 80 {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let known: Vec<char> = candidate.to_lowercase().chars().collect();
        let edits = distance(&word, &known);
        let near = edits <= (known.len().max(word.len()) / 3).max(1) && edits < known.len();
        if near && best.is_none_or(|(least, _)| edits < least) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits from `a` to `b`: insert, delete, replace, or swap of two neighbours (optimal string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX - 1);
            let mut least =
                (at(&above, j) + usize::from(x != y)).min(at(&above, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                least = least.min(at(&before, j - 1) + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(a: &str, b: &str) -> usize {
        distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>())
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edits("", ""), 0);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("listen", "listen"), 0);
        assert_eq!(edits("listne", "listen"), 1);
        assert_eq!(edits("lisen", "listen"), 1);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["listen", "bootstrap", "broker_ports", "name"];
        assert_eq!(nearest("listne", known), Some("listen"));
        assert_eq!(nearest("Listen", known), Some("listen"));
        assert_eq!(nearest("broker-ports", known), Some("broker_ports"));
        assert_eq!(nearest("bootstrap_servers", known), None);
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest(&"x".repeat(10_000), known), None);
    }
}
