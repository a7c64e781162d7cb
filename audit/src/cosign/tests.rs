use data_encoding::BASE64;
use serde_json::Value;

use super::{Cosigned, CosignerKey, WitnessKey, verify, verify_lines};
use crate::note::{KeyError, LogKey, Note, NoteError, Signature};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/vectors/notes.json")).unwrap()
}

/// The key, time and cosigned checkpoint of Tessera's test log.
fn tessera() -> (CosignerKey, u64, String) {
    let vectors = vectors();
    let (log, witness) = (&vectors["tessera"], &vectors["tessera"]["cosignature"]);
    let key = witness["vkey"].as_str().unwrap().parse().unwrap();
    let checkpoint = log["checkpoint"].as_str().unwrap();
    let line = witness["line"].as_str().unwrap();
    let time = witness["time"].as_u64().unwrap();
    (key, time, format!("{checkpoint}{line}\n"))
}

fn key(name: &str) -> WitnessKey {
    WitnessKey::from_seed(&[9; 32], name).unwrap()
}

const TEXT: &str = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

fn cosigned(text: &str, time: u64) -> String {
    let line = key("w.example").cosign(text, time).unwrap();
    format!("{text}\n{line}\n")
}

#[test]
fn accepts_a_foreign_cosignature() {
    let (key, time, note) = tessera();
    let note = Note::parse(&note).unwrap();
    let expected = vec![Cosigned { by: &key, time }];
    assert_eq!(verify(&note, std::slice::from_ref(&key)), Ok(expected));
}

#[test]
fn signs_what_it_accepts() {
    let witness = key("w.example");
    let note = Note::parse(&cosigned(TEXT, 1_679_315_147)).unwrap();
    let known = [witness.public().clone()];
    let good = verify(&note, &known).unwrap();
    assert_eq!(good.len(), 1);
    assert_eq!(good[0].time, 1_679_315_147);
    let apart = verify_lines(TEXT, note.signatures(), &known).unwrap();
    assert_eq!(good, apart);
}

/// The text of tlog-cosignature, put together by hand: a foreign verifier would not care for ours.
#[test]
fn what_is_signed_is_header_time_and_text() {
    let witness = key("w.example");
    let line = witness.cosign("a\n1\nx\nextension\n", 7).unwrap();
    let (time, signature) = line.bytes.split_first_chunk::<8>().unwrap();
    assert_eq!(u64::from_be_bytes(*time), 7);
    let vkey = witness.public().to_string();
    let typed = BASE64
        .decode(vkey.rsplit('+').next().unwrap().as_bytes())
        .unwrap();
    ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &typed[1..])
        .verify(b"cosignature/v1\ntime 7\na\n1\nx\nextension\n", signature)
        .unwrap();
}

/// One bit anywhere in the text or in the witness's line, and it is no cosignature any more.
#[test]
fn every_flipped_bit_is_refused() {
    let (key, _, note) = tessera();
    let known = [key];
    let text = Note::parse(&note).unwrap().text().len();
    let line = note.find("\u{2014} witness ").unwrap();
    for at in (0..text).chain(line..note.len()) {
        for bit in 0..8 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            let spoiled = String::from_utf8(bytes).ok();
            let Some(Ok(note)) = spoiled.map(|note| Note::parse(&note)) else {
                continue;
            };
            let counted = verify(&note, &known).map_or(0, |good| good.len());
            assert_eq!(counted, 0, "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_false_line_of_a_known_key_rejects_and_one_of_an_unknown_key_is_nothing() {
    let good = cosigned(TEXT, 5);
    let line = key("w.example").cosign("another\n", 5).unwrap();
    let spoiled = Note::parse(&format!("{good}{line}\n")).unwrap();
    let known = [key("w.example").public().clone()];
    assert_eq!(
        verify(&spoiled, &known),
        Err(NoteError::False("w.example".into()))
    );
    assert_eq!(verify(&spoiled, &[]), Ok(vec![]));
    let elsewhere = [key("w2.example").public().clone()];
    assert_eq!(verify(&spoiled, &elsewhere), Ok(vec![]));
}

/// The same 32 bytes as a log's key (0x01) are another key: a log cannot vouch for itself by accident.
#[test]
fn a_logs_signature_is_no_cosignature() {
    let log = LogKey::from_seed(&[9; 32], "w.example").unwrap();
    let note = Note::parse(&log.sign(TEXT)).unwrap();
    assert_eq!(
        verify(&note, &[key("w.example").public().clone()]),
        Ok(vec![])
    );
}

#[test]
fn a_time_from_2_to_the_63_on_is_false() {
    let witness = key("w.example");
    assert!(witness.cosign(TEXT, 1 << 63).is_none());
    let mut line = witness.cosign(TEXT, (1 << 63) - 1).unwrap();
    let known = [witness.public().clone()];
    let lines = [line.clone()];
    assert_eq!(
        verify_lines(TEXT, &lines, &known).unwrap()[0].time,
        (1 << 63) - 1
    );
    line.bytes[..8].copy_from_slice(&(1u64 << 63).to_be_bytes());
    assert!(verify_lines(TEXT, &[line], &known).is_err());
    let short = Signature {
        bytes: vec![0; 7],
        ..lines[0].clone()
    };
    assert!(verify_lines(TEXT, &[short], &known).is_err());
}

#[test]
fn two_known_keys_with_one_id_are_ambiguous() {
    let one = key("w.example").public().clone();
    let mut two = one.clone();
    two.key = super::PublicKey::Ed25519([1; 32]);
    let note = Note::parse(&cosigned(TEXT, 5)).unwrap();
    assert_eq!(
        verify(&note, &[one, two]),
        Err(NoteError::Ambiguous("w.example".into()))
    );
}

/// An ML-DSA-44 key with made-up material: only its form can be checked here.
fn ml_dsa(length: usize) -> String {
    let typed = [vec![6], vec![1; length]].concat();
    let preimage = [b"pq.example\n", typed.as_slice()].concat();
    let id = data_encoding::HEXLOWER.encode(&crate::Digest::of(&preimage).as_bytes()[..4]);
    format!("pq.example+{id}+{}", BASE64.encode(&typed))
}

#[test]
fn lines_of_ml_dsa_keys_are_ignored() {
    let pq: CosignerKey = ml_dsa(1_312).parse().unwrap();
    assert!(!pq.is_supported());
    assert_eq!(pq.to_string(), ml_dsa(1_312));
    let line = Signature {
        name: "pq.example".into(),
        key_id: pq.key_id,
        bytes: vec![0; 8 + 2_420],
    };
    let note = Note::parse(&format!("{}{line}\n", cosigned(TEXT, 5))).unwrap();
    let known = [pq, key("w.example").public().clone()];
    let good = verify(&note, &known).unwrap();
    assert_eq!(good.len(), 1);
    assert_eq!(good[0].by.name(), "w.example");
}

#[test]
fn keys_print_and_parse_one_form() {
    let (foreign, ..) = tessera();
    let vectors = vectors();
    assert_eq!(
        foreign.to_string(),
        vectors["tessera"]["cosignature"]["vkey"].as_str().unwrap()
    );
    let text = key("w.example").public().to_string();
    let log = vectors["tessera"]["vkey"].as_str().unwrap().to_owned();
    for (bad, why) in [
        ("witness".to_owned(), KeyError::Form),
        ("w+00000000+".to_owned(), KeyError::Form),
        (log, KeyError::Type(1)),
        (ml_dsa(1_311), KeyError::Form),
        (text.replace("w.", "v."), KeyError::Id),
        (text.replace("w.", "w "), KeyError::Name("w example".into())),
    ] {
        assert_eq!(bad.parse::<CosignerKey>(), Err(why), "{bad}");
    }
    assert!(WitnessKey::from_seed(&[9; 32], "a b").is_err());
    assert_eq!(
        WitnessKey::from_pkcs8(&[0; 48], "w").unwrap_err(),
        KeyError::Private
    );
}

#[test]
fn debug_shows_only_the_public_key() {
    let shown = format!("{:?}", key("w.example"));
    let vkey = key("w.example").public().to_string();
    assert_eq!(shown, format!("WitnessKey({vkey:?})"));
}
