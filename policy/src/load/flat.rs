//! A flat look at a file before Cedar reads it. Cedar goes down a stack frame or more per bracket and per link of a
//! chain, and what overflows a stack ends the process: no file may decide how deep that goes.

/// In whose language a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Policy,
    Schema,
}

/// The byte at which a file goes too deep, and in what way.
pub(super) fn excess(text: &str, language: Language) -> Option<(usize, &'static str)> {
    let mut bytes = text.bytes().enumerate().peekable();
    // The brackets that would close those that are open.
    let mut open = Vec::new();
    let mut links = 0;
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => {
                while bytes.next().is_some_and(|(_, byte)| match byte {
                    b'\\' => bytes.next().is_some(),
                    byte => byte != b'"',
                }) {}
            }
            b'/' if bytes.next_if(|(_, next)| *next == b'/').is_some() => {
                while bytes
                    .next_if(|(_, next)| !matches!(next, b'\n' | b'\r'))
                    .is_some()
                {}
            }
            b'(' => open.push(b')'),
            b'[' => open.push(b']'),
            b'{' => open.push(b'}'),
            b'<' if language == Language::Schema => open.push(b'>'),
            byte if open.last() == Some(&byte) => {
                open.pop();
            }
            byte if is_word(byte) => {
                let mut end = at + 1;
                while bytes.next_if(|(_, next)| is_word(*next)).is_some() {
                    end += 1;
                }
                let word = text.get(at..end).unwrap_or_default();
                links += usize::from(matches!(word, "if" | "unless" | "when"));
            }
            b'|' | b'&' if bytes.next_if(|(_, next)| *next == byte).is_some() => links += 1,
            b'!' | b'*' | b'+' | b'-' | b'.' => links += 1,
            b';' => links = 0,
            _ => {}
        }
        // `a["b"]["c"]` is a chain too.
        links += usize::from(byte == b'[');
        if open.len() > DEEPEST {
            return Some((at, "brackets nested deeper than 64"));
        }
        if links > LONGEST && language == Language::Policy {
            return Some((
                at,
                "a policy of more than 256 operators, reads and clauses: list literals in a set",
            ));
        }
    }
    None
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Twice P16's depth of an expression, for the brackets that are none.
const DEEPEST: usize = 64;

/// Each may be a level of Cedar's tree: unoptimized, twice as many just fit a thread's 2 MiB.
const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, language: Language, expected: Option<usize>) {
        let found = excess(text, language).map(|(at, _)| at);
        assert_eq!(found, expected, "{text:.80}");
    }

    #[test]
    fn brackets_count_where_they_nest() {
        for bracket in ["(", "[", "{", "!("] {
            let last = 65 * bracket.len() - 1;
            check(&bracket.repeat(64), Language::Policy, None);
            check(&bracket.repeat(20_000), Language::Policy, Some(last));
        }
        check(&"Set<".repeat(20_000), Language::Schema, Some(259));
        check(&"<".repeat(20_000), Language::Policy, None);
        check(&"(]".repeat(20_000), Language::Policy, Some(128));
        check(&"{}()".repeat(20_000), Language::Policy, None);
    }

    #[test]
    fn chains_count_within_one_policy() {
        for link in [
            "a || ",
            "a&&",
            "1 + ",
            "-",
            ".a",
            "[0]",
            "when {}",
            "if a then b else ",
        ] {
            check(&link.repeat(256), Language::Policy, None);
            assert!(
                excess(&link.repeat(257), Language::Policy).is_some(),
                "{link}"
            );
            check(
                &format!("{};", link.repeat(250)).repeat(2),
                Language::Policy,
                None,
            );
        }
    }

    #[test]
    fn strings_and_comments_hold_neither() {
        let many = "(".repeat(100);
        check(
            &format!(r#""{many}\"{many}" // {many}"#),
            Language::Policy,
            None,
        );
        check(&format!("// x\r{many}"), Language::Policy, Some(69));
        check(&format!(r#""\\"{many}"#), Language::Policy, Some(68));
    }
}
