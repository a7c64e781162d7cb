use data_encoding::BASE64;
use serde_json::Value;

use super::{KeyError, LogKey, MAX_SIGNATURES, Note, NoteError, VerifierKey};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/notes.json")).unwrap()
}

fn spec() -> (VerifierKey, String) {
    let vectors = vectors();
    let text = |name: &str| vectors["spec"][name].as_str().unwrap().to_owned();
    (text("vkey").parse().unwrap(), text("note"))
}

const SEED: [u8; 32] = [7; 32];

fn key(name: &str) -> LogKey {
    LogKey::from_seed(&SEED, name).unwrap()
}

#[test]
fn accepts_the_note_of_the_spec() {
    let (key, note) = spec();
    let parsed = Note::parse(&note).unwrap();
    assert_eq!(parsed.text(), "This is an example message.\n");
    assert_eq!(parsed.to_string(), note);
    assert_eq!(parsed.verify(std::slice::from_ref(&key)), Ok(vec![&key]));
}

#[test]
fn signs_as_a_foreign_log_does() {
    let vectors = vectors();
    let tessera = &vectors["tessera"];
    let seed = BASE64.decode(tessera["seed"].as_str().unwrap().as_bytes());
    let seed: [u8; 32] = seed.unwrap()[1..].try_into().unwrap();
    let key = LogKey::from_seed(&seed, "example.com/log/testdata").unwrap();
    assert_eq!(key.vkey(), tessera["vkey"].as_str().unwrap());
    let checkpoint = tessera["checkpoint"].as_str().unwrap();
    let text = Note::parse(checkpoint).unwrap().text().to_owned();
    assert_eq!(key.sign(&text), checkpoint);
}

#[test]
fn ignores_unknown_keys_and_refuses_false_signatures_of_known_ones() {
    let (known, other) = (key("log"), key("other"));
    let note = other.sign("text\n");
    let keys = [known.public().clone()];
    assert_eq!(Note::parse(&note).unwrap().verify(&keys), Ok(vec![]));

    let line = known.sign("another text\n");
    let line = line.lines().last().unwrap();
    let spoiled = format!("{note}{line}\n");
    let refused = Note::parse(&spoiled).unwrap().verify(&keys).unwrap_err();
    assert_eq!(refused, NoteError::False("log".into()));

    let good = known.sign("text\n");
    let twice = format!("{good}{line}\n");
    assert!(Note::parse(&twice).unwrap().verify(&keys).is_err());
}

#[test]
fn refuses_two_known_keys_with_one_id() {
    let one = key("log").public().clone();
    let mut two = one.clone();
    two.key = [1; 32];
    let note = Note::parse(&key("log").sign("text\n")).unwrap();
    assert_eq!(
        note.verify(&[one.clone(), two]),
        Err(NoteError::Ambiguous("log".into()))
    );
    assert_eq!(note.verify(&[one.clone(), one.clone()]), Ok(vec![&one]));
}

#[test]
fn accepts_many_signatures_but_not_too_many() {
    let note = key("log").sign("text\n");
    let line = note.lines().last().unwrap();
    let with = |n: usize| format!("text\n\n{}", format!("{line}\n").repeat(n));
    assert!(Note::parse(&with(17)).is_ok());
    assert!(Note::parse(&with(MAX_SIGNATURES)).is_ok());
    assert_eq!(
        Note::parse(&with(MAX_SIGNATURES + 1)),
        Err(NoteError::TooMany)
    );
}

#[test]
fn splits_at_the_last_empty_line() {
    let note = key("log").sign("one\n\ntwo\n");
    assert_eq!(Note::parse(&note).unwrap().text(), "one\n\ntwo\n");
}

#[test]
fn refuses_malformed_notes() {
    let good = key("log").sign("text\n");
    for bad in [
        String::new(),
        "text\n".into(),
        "text\n\n".into(),
        good.trim_end().into(),
        good.replace("text\n", "text\r\n"),
        good.replace('\u{2014}', "-"),
        good.replace("— log ", "— l+g "),
        good.replace("— log ", "— lo\u{a0}g "),
        good.replace("— log ", "— "),
        good.replace("— log ", "— log  "),
        format!("{good}\n"),
        good.replace('=', ""),
        "text\n\n— log AAAAAA==\n".into(),
    ] {
        assert!(
            matches!(Note::parse(&bad), Err(NoteError::Malformed(_))),
            "{bad:?}"
        );
    }
}

#[test]
fn verifier_keys_print_and_parse_one_form() {
    let key = key("log.example/x").public().clone();
    assert_eq!(key.to_string().parse(), Ok(key.clone()));
    let vectors = vectors();
    let witness = vectors["tessera"]["cosignature"]["vkey"].as_str().unwrap();
    assert_eq!(witness.parse::<VerifierKey>(), Err(KeyError::Type(4)));
    let text = key.to_string();
    for (bad, why) in [
        ("log".to_owned(), KeyError::Form),
        (text.replace("x+", "y+"), KeyError::Id),
        (text.to_uppercase().replace('+', " "), KeyError::Form),
        (
            text.replace("log.", "log "),
            KeyError::Name("log example/x".into()),
        ),
    ] {
        assert_eq!(bad.parse::<VerifierKey>(), Err(why), "{bad}");
    }
    assert!(LogKey::from_seed(&SEED, "a+b").is_err());
    assert_eq!(
        LogKey::from_pkcs8(&[0; 48], "log").unwrap_err(),
        KeyError::Private
    );
}

#[test]
fn debug_shows_only_the_public_key() {
    let shown = format!("{:?}", key("log"));
    assert_eq!(shown, format!("LogKey({:?})", key("log").vkey()));
}
