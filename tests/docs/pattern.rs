//! What a page shows against what came: `…` stands for anything.

use serde_json::Value;

const ANY: &str = "…";

/// Lines against lines; `…` alone on a line stands for any number of them.
pub(crate) fn lines<T: AsRef<str>>(expected: &[T], got: &[&str]) -> bool {
    match expected.split_first() {
        None => got.is_empty(),
        Some((first, rest)) if first.as_ref().trim() == ANY => {
            (0..=got.len()).any(|skipped| lines(rest, got.get(skipped..).unwrap_or_default()))
        }
        Some((first, rest)) => match got.split_first() {
            None => false,
            Some((line, others)) => {
                text(first.as_ref().trim_end(), line.trim_end()) && lines(rest, others)
            }
        },
    }
}

/// One text against another.
pub(crate) fn text(expected: &str, got: &str) -> bool {
    let Some((head, tail)) = expected.split_once(ANY) else {
        return expected == got;
    };
    let Some(got) = got.strip_prefix(head) else {
        return false;
    };
    let mut pieces: Vec<&str> = tail.split(ANY).collect();
    let last = pieces.pop().unwrap_or_default();
    let found = pieces.iter().try_fold(got, |rest, piece| {
        rest.find(piece).and_then(|at| rest.get(at + piece.len()..))
    });
    found.is_some_and(|rest| rest.ends_with(last))
}

/// JSON against JSON: all members and no others. `"…"` stands for any value.
pub(crate) fn json(expected: &Value, got: &Value) -> Result<(), String> {
    match (expected, got) {
        (Value::String(any), _) if any == ANY => Ok(()),
        (Value::String(one), Value::String(other)) if text(one, other) => Ok(()),
        (Value::Object(one), Value::Object(other)) => {
            if let Some(name) = other.keys().find(|name| !one.contains_key(*name)) {
                return Err(format!(
                    "`{name}` came and is not shown: {}",
                    other.get(name).unwrap_or_default()
                ));
            }
            one.iter().try_for_each(|(name, value)| {
                let got = other
                    .get(name)
                    .ok_or_else(|| format!("`{name}` did not come"))?;
                json(value, got).map_err(|fault| format!("{name}: {fault}"))
            })
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .try_for_each(|(one, other)| json(one, other)),
        _ if expected == got => Ok(()),
        _ => Err(format!("expected {expected}, got {got}")),
    }
}

#[test]
fn dots_stand_for_anything() {
    for (expected, got) in [
        ("a…", "abc"),
        ("…", ""),
        ("a…c…", "abcd"),
        ("…b…b", "abxb"),
        ("gr_…: x", "gr_1: x"),
    ] {
        assert!(text(expected, got), "{expected} {got}");
    }
    for (expected, got) in [("a…", "ba"), ("ab", "a"), ("a…c", "abcd"), ("a…a", "a")] {
        assert!(!text(expected, got), "{expected} {got}");
    }
    assert!(lines(&["a", "…", "c"], &["a", "b", "b", "c"]));
    assert!(lines(&["a", "…"], &["a"]));
    assert!(!lines(&["a", "…", "c"], &["a", "b"]));
    assert!(!lines::<&str>(&[], &["a"]));
}
