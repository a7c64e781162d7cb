use data_encoding::BASE64;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::{collection, prop_assert, prop_assert_eq};
use serde_json::{Value, json};

use super::{LintError, MAX_BODY, MAX_DEPTH, canonical, lint, lint_header};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/lint.json")).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

#[test]
fn accepts_the_one_spelling() {
    for vector in vectors()["accept"].as_array().unwrap() {
        let bytes = bytes(vector);
        let value = lint(&bytes, MAX_BODY, MAX_DEPTH).unwrap();
        assert_eq!(canonical(&value).unwrap(), bytes);
    }
}

#[test]
fn refuses_every_twin() {
    for vector in vectors()["refuse"].as_array().unwrap() {
        let linted = lint(&bytes(&vector["bytes"]), MAX_BODY, MAX_DEPTH);
        assert!(linted.is_err(), "{}", vector["why"]);
    }
}

#[test]
fn refuses_what_is_too_long_before_reading_it() {
    let long = vec![b'['; MAX_BODY + 1];
    let refused = lint(&long, MAX_BODY, MAX_DEPTH);
    assert!(matches!(refused, Err(LintError::Long(MAX_BODY))));
}

#[test]
fn a_header_needs_no_escape_and_no_sign() {
    for text in [
        r#"{"a":"\n"}"#,
        r#"{"a":"é"}"#,
        r#"{"a":-1}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":[[[[1]]]]}"#,
        "{\"a\":\"\x7f\"}",
    ] {
        assert!(lint_header(text.as_bytes()).is_err(), "{text}");
    }
    let good = br#"{"a":"/+-.9007199254740992 {}","b":[[[9007199254740991,0]]]}"#;
    assert!(lint_header(good).is_ok());
}

#[test]
fn refuses_values_without_a_spelling() {
    for value in [
        json!(null),
        json!({"a": 1.5}),
        json!(1_u64 << 53),
        json!(u64::MAX),
    ] {
        assert!(canonical(&value).is_err(), "{value}");
    }
}

fn value() -> impl Strategy<Value = Value> {
    let limit = (1_i64 << 53) - 1;
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (-limit..=limit).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!("\u{1}\"\\/\u{10ffff}")),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_linted_and_read_back(value in value()) {
        let bytes = canonical(&value).unwrap();
        prop_assert_eq!(lint(&bytes, MAX_BODY, MAX_DEPTH).unwrap(), value);
    }

    #[test]
    fn what_is_linted_is_written_alike(bytes in collection::vec(any::<u8>(), 0..64)) {
        if let Ok(value) = lint(&bytes, MAX_BODY, MAX_DEPTH) {
            prop_assert!(canonical(&value).unwrap() == bytes);
        }
    }
}
