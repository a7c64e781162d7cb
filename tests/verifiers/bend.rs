//! Small changes to JSON: of a value, and of its spelling (T13 of LEDGER.md §15).

use serde_json::{Map, Value, json};
use stint_audit::Digest;

use crate::dice::Dice;

/// Changes one place in `value`.
pub(crate) fn value(dice: &mut Dice, at: &mut Value) {
    let deeper = !dice.once_in(3);
    if let Value::Object(members) = at
        && dice.once_in(16)
    {
        // Some readers take the bare values of a record for the record.
        *at = members.values().cloned().collect();
        return;
    }
    match at {
        Value::Object(members) if deeper && !members.is_empty() => {
            let names: Vec<String> = members.keys().cloned().collect();
            let name = dice.pick(&names);
            value(dice, &mut members[name]);
        }
        Value::Array(items) if deeper && !items.is_empty() => {
            let index = dice.index(items.len());
            value(dice, &mut items[index]);
        }
        Value::Object(members) => object(dice, members),
        Value::Array(items) => array(dice, items),
        leaf => *leaf = other(dice, leaf),
    }
}

fn object(dice: &mut Dice, members: &mut Map<String, Value>) {
    let names: Vec<String> = members.keys().cloned().collect();
    match dice.below(5) {
        0 | 1 if !names.is_empty() => drop(members.remove(dice.pick(&names))),
        2 if !names.is_empty() => {
            let value = members.remove(dice.pick(&names)).unwrap();
            members.insert(
                (*dice.pick(&["kind", "v", "__proto__", "constructor", "zz", "10", "9"])).into(),
                value,
            );
        }
        3 => {
            let name = *dice.pick(&["subj", "by", "behalf", "pol"]);
            members.insert(name.into(), json!(Digest::of(b"somebody")));
        }
        _ => {
            let name = *dice.pick(&[
                "extra",
                "opens",
                "first",
                "request",
                "prior",
                "actor",
                "caller",
                "chain",
                "\u{ff5e}",
                "\u{1f600}",
            ]);
            members.insert(name.into(), any(dice));
        }
    }
}

fn array(dice: &mut Dice, items: &mut Vec<Value>) {
    match dice.below(3) {
        0 => drop(items.pop()),
        1 => items.push(any(dice)),
        _ => items.reverse(),
    }
}

/// Another value, often of the same type.
fn other(dice: &mut Dice, value: &Value) -> Value {
    match value {
        Value::Number(number) if !dice.once_in(3) => {
            let near = number.as_i64().unwrap_or(0);
            let far = [
                near + 1,
                near - 1,
                0,
                -1,
                9_007_199_254_740_991,
                9_007_199_254_740_992,
            ];
            json!(dice.pick(&far))
        }
        Value::String(text) if !dice.once_in(3) => {
            let mut text = text.clone();
            match dice.below(4) {
                0 => drop(text.pop()),
                1 => text.push(*dice.pick(&['a', 'A', '=', '"', '\u{7f}', '\u{e9}'])),
                2 => text = text.to_uppercase(),
                _ => text = text.chars().rev().collect(),
            }
            Value::String(text)
        }
        _ => any(dice),
    }
}

fn any(dice: &mut Dice) -> Value {
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!("text"),
        json!(""),
        json!({}),
        json!([]),
        json!([[0, 1]]),
        json!({"id": "x", "open": "y"}),
        json!({"id": "x", "open": Digest::of(b"o")}),
        json!(Digest::of(b"any")),
        json!(u64::MAX),
        json!({"log": "x", "root": Digest::of(b"r"), "size": 3}),
        json!(["x", Digest::of(b"r"), 3]),
        deep,
    ];
    dice.pick(&values).clone()
}

/// Spells the JSON in `text` otherwise, or spoils it: most of these give another spelling of one value.
pub(crate) fn twin(dice: &mut Dice, text: &[u8]) -> Vec<u8> {
    let Ok(text) = String::from_utf8(text.to_vec()) else {
        return text.to_vec();
    };
    if text.is_empty() {
        return b" ".to_vec();
    }
    let digit = |text: &str, with: &str| {
        let at = text.find(|c: char| c.is_ascii_digit() && c != '0');
        at.map_or_else(
            || text.to_owned(),
            |at| format!("{}{with}{}", &text[..at], &text[at + 1..]),
        )
    };
    let out = match dice.below(19) {
        0 => text.replacen('{', "{\"v\":1,", 1),
        1 => text.replacen("\"v\":1", "\"v\":1,\"v\":1", 1),
        2 => text.replacen("\"v\":1", "\"v\":1.0", 1),
        3 => text.replacen("\"seq\":", "\"seq\":-", 1),
        4 => digit(&text, "9007199254740992"),
        5 => digit(&text, "18446744073709551616"),
        6 => digit(&text, "1e400"),
        7 => digit(&text, "-0"),
        8 => text.replacen("id", "\\u0069d", 1),
        9 => text.replacen("/", "\\/", 1),
        10 => text.replacen(":\"", ":\"\\ud800", 1),
        11 => format!("\u{feff}{text}"),
        12 => text.replacen(',', ", ", 1),
        13 => format!("{text} "),
        14 => text.replacen("\":", "\":01", 1),
        15 => swapped(&text),
        16 => text.replacen(":\"", ":\"\u{1}", 1),
        17 => format!("{}{text}{}", "[".repeat(130), "]".repeat(130)),
        _ => {
            let mut bytes = text.into_bytes();
            let at = dice.index(bytes.len());
            bytes[at] = *dice.pick(&[0xff, 0x00, 0x0a, 0xc0, b'"', b'}']);
            return bytes;
        }
    };
    out.into_bytes()
}

/// The first two members in the other order.
fn swapped(text: &str) -> String {
    let parts: Vec<&str> = text.splitn(3, ',').collect();
    match parts.as_slice() {
        [first, second, rest] if first.starts_with('{') => {
            format!("{{{second},{},{rest}", &first[1..])
        }
        _ => text.to_owned(),
    }
}
