//! Names, and which one was meant.

/// Names of tables go into SPIFFE paths, task names and metrics: one lower-case segment of at most 32 bytes.
pub(super) fn is_name(text: &str) -> bool {
    let lower = |b: &u8| b.is_ascii_lowercase();
    let more = |b: &u8| lower(b) || b.is_ascii_digit() || *b == b'-';
    match text.as_bytes() {
        [first, rest @ ..] => lower(first) && rest.iter().all(more) && rest.len() < 32,
        [] => false,
    }
}

/// The known word that a slip of the finger makes of `typed`, if any: at most a third of it differs.
pub(super) fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    let near = known
        .iter()
        .map(|word| (distance(typed, word), *word))
        .min()?;
    (near.0 <= (typed.len() / 3).max(1)).then_some(near.1)
}

/// Levenshtein's distance in bytes, a row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let (mut diagonal, mut left) = (i, i + 1);
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let swap = diagonal + usize::from(x != y);
            diagonal = *cell;
            left = swap.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let known = ["audience", "url", "listen"];
        assert_eq!(nearest("audiance", &known), Some("audience"));
        assert_eq!(nearest("lisetn", &known), Some("listen"));
        assert_eq!(nearest("ur", &known), Some("url"));
        assert_eq!(nearest("postgres", &known), None);
        assert_eq!(nearest("", &known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn names_are_one_lower_case_segment() {
        for good in ["a", "github", "k8s-west"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "GitHub", "a.b", "-a", "1a", "a_b", &"a".repeat(33)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
