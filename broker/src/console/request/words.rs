//! The requester's own words, so that nothing in them passes for something else. They are prose, in any language: a word of
//! one script stays as it is. In a word that mixes scripts, the letters that are not Latin are spelled out.

/// What is shown of `words`.
pub(super) fn plain(words: &str) -> String {
    let mut said = String::with_capacity(words.len());
    for part in words.split_inclusive(|c: char| !c.is_alphanumeric()) {
        let latin = part.chars().any(|c| c.is_ascii_alphabetic());
        let mixed = latin && part.chars().any(is_other);
        for letter in part.chars() {
            match mixed && is_other(letter) {
                true => said.extend(letter.escape_unicode()),
                false => said.push(letter),
            }
        }
    }
    said
}

/// A letter of another script than Latin, or Latin in disguise: full width, mathematical.
fn is_other(letter: char) -> bool {
    letter.is_alphanumeric()
        && !letter.is_ascii()
        && !matches!(letter, '\u{aa}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_letter_that_passes_for_another_is_spelled_out_and_prose_is_left_alone() {
        for (written, shown) in [
            ("release v2.3.1", "release v2.3.1"),
            ("\u{430}dmin access", "\\u{430}dmin access"),
            ("pay\u{440}al.com", "pay\\u{440}al.com"),
            ("Überprüft, naïve", "Überprüft, naïve"),
            ("срочно, пожалуйста", "срочно, пожалуйста"),
            ("急ぎ deploy", "急ぎ deploy"),
            ("\u{ff50}rod", "\\u{ff50}rod"),
        ] {
            assert_eq!(plain(written), shown);
        }
    }
}
