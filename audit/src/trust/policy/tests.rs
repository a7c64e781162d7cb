use std::fmt::Write as _;

use super::{Fault, MAX_BYTES, Policy};
use crate::cosign::WitnessKey;
use crate::note::{KeyError, LogKey, Note, NoteError};

fn log(seed: u8) -> String {
    LogKey::from_seed(&[seed; 32], &format!("log{seed}.example"))
        .unwrap()
        .vkey()
}

fn witness(seed: u8) -> WitnessKey {
    WitnessKey::from_seed(&[seed; 32], &format!("w{seed}.example")).unwrap()
}

/// The example of the spec, with keys: two of X, any of Y, and Z outside of the quorum.
fn example() -> String {
    let mut text = format!("# ours\nlog {} https://log.example/\n\n", log(100));
    for (name, seed) in [
        ("X1", 1),
        ("X2", 2),
        ("X3", 3),
        ("Y1", 4),
        ("Y2", 5),
        ("Z", 6),
    ] {
        writeln!(text, "witness {name} {}", witness(seed).public()).unwrap();
    }
    text.push_str("group X 2 X1 X2 X3\n \tgroup Y\tany Y1  Y2 \ngroup both all X Y\nquorum both\n");
    text
}

fn policy() -> Policy {
    Policy::parse(example().as_bytes()).unwrap()
}

const TEXT: &str = "log100.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

fn note(seeds: &[u8]) -> Note {
    let mut note = format!("{TEXT}\n— unknown AAAAAAA=\n");
    for seed in seeds {
        let line = witness(*seed).cosign(TEXT, 1_000 + u64::from(*seed));
        writeln!(note, "{}", line.unwrap()).unwrap();
    }
    Note::parse(&note).unwrap()
}

/// Whether the quorum is met, and who is in it, missing in it, and outside of it.
fn judge(policy: &Policy, seeds: &[u8]) -> (bool, String, String, String) {
    let found = policy.judge(&note(seeds)).unwrap();
    let names = |list: &[&super::Witness]| {
        let names: Vec<_> = list.iter().map(|one| one.name.as_str()).collect();
        names.join(" ")
    };
    (
        found.met,
        names(&found.by),
        names(&found.missing),
        names(&found.beside),
    )
}

#[expect(
    clippy::fn_params_excessive_bools,
    reason = "what is expected, as it is compared"
)]
fn told(met: bool, [by, missing, beside]: [&str; 3]) -> (bool, String, String, String) {
    (met, by.into(), missing.into(), beside.into())
}

#[test]
fn evaluates_two_levels_of_groups() {
    let policy = policy();
    assert_eq!(policy.logs().len(), 1);
    assert_eq!(policy.witnesses().len(), 6);
    assert!(policy.asks_for_witnesses());
    for (seeds, expected) in [
        (&[][..], told(false, ["", "X1 X2 X3 Y1 Y2", ""])),
        (&[1, 2], told(false, ["X1 X2", "X3 Y1 Y2", ""])),
        (&[1, 4, 5], told(false, ["X1 Y1 Y2", "X2 X3", ""])),
        (&[1, 1, 4], told(false, ["X1 Y1", "X2 X3 Y2", ""])),
        (&[6, 5, 3, 1], told(true, ["X1 X3 Y2", "X2 Y1", "Z"])),
        (&[1, 2, 3, 4, 5], told(true, ["X1 X2 X3 Y1 Y2", "", ""])),
    ] {
        assert_eq!(judge(&policy, seeds), expected, "{seeds:?}");
    }
    let newest = |seeds: &[u8]| policy.judge(&note(seeds)).unwrap().newest;
    assert_eq!(newest(&[5, 1]), Some(1_005));
    assert_eq!(newest(&[]), None);
}

#[test]
fn a_quorum_is_one_witness_or_none() {
    let one = format!(
        "witness A {}\nwitness B {} http://b.example/\nquorum B\n",
        witness(1).public(),
        witness(2).public()
    );
    let policy = Policy::parse(one.as_bytes()).unwrap();
    assert_eq!(judge(&policy, &[1]), told(false, ["", "B", "A"]));
    assert_eq!(judge(&policy, &[2]), told(true, ["B", "", ""]));
    let url = policy.witnesses()[1].url.as_deref();
    assert_eq!(url, Some("http://b.example/"));

    let none = Policy::parse(one.replace("quorum B", "quorum none").as_bytes()).unwrap();
    assert!(!none.asks_for_witnesses());
    assert_eq!(judge(&none, &[1]), told(true, ["", "", "A"]));
    assert!(Policy::parse(b"quorum none\n").is_ok());
}

#[test]
fn a_false_cosignature_is_an_error_and_not_a_missing_one() {
    let line = witness(1).cosign("other\n", 7).unwrap();
    let spoiled = Note::parse(&format!("{}{line}\n", note(&[2, 3, 4]))).unwrap();
    let refused = policy().judge(&spoiled).unwrap_err();
    assert_eq!(refused, NoteError::False("w1.example".into()));
}

/// What `file` is refused for, with the line.
fn refused(file: impl AsRef<[u8]>) -> (usize, Fault) {
    let error = Policy::parse(file.as_ref()).unwrap_err();
    (error.line, error.fault)
}

#[test]
fn what_is_used_is_defined_before_and_once() {
    let (a, b) = (witness(1), witness(2));
    let two = format!("witness A {}\nwitness B {}\n", a.public(), b.public());
    for (rest, line, fault) in [
        ("quorum C\n", 3, Fault::Undefined("C".into())),
        ("group G all A C\n", 3, Fault::Undefined("C".into())),
        ("group G all G A\n", 3, Fault::Undefined("G".into())),
        ("quorum G\ngroup G all A\n", 3, Fault::Undefined("G".into())),
        ("group A any B\n", 3, Fault::DuplicateName("A".into())),
        (
            "group G any A\ngroup G any B\n",
            4,
            Fault::DuplicateName("G".into()),
        ),
        ("group G any A A\n", 3, Fault::Member("A".into())),
        (
            "group G any A\ngroup H any A B\n",
            4,
            Fault::Member("A".into()),
        ),
        (
            "group G any A\ngroup H any G\ngroup I any G\n",
            5,
            Fault::Member("G".into()),
        ),
        ("group none any A\n", 3, Fault::None),
        ("group G any A none\n", 3, Fault::None),
        ("quorum A\nquorum none\n", 4, Fault::SecondQuorum),
        ("group G any A\n", 3, Fault::NoQuorum),
        ("quorum a\n", 3, Fault::Undefined("a".into())),
    ] {
        assert_eq!(refused(format!("{two}{rest}")), (line, fault), "{rest}");
    }
    assert_eq!(refused(""), (1, Fault::NoQuorum));
}

#[test]
fn thresholds_are_within_the_members() {
    let two = format!(
        "witness A {}\nwitness B {}\n",
        witness(1).public(),
        witness(2).public()
    );
    for word in [
        "0",
        "3",
        "-1",
        "+1",
        "01",
        "some",
        "18446744073709551616",
        "ALL",
    ] {
        let (line, fault) = refused(format!("{two}group G {word} A B\n"));
        let word = word.to_owned();
        assert_eq!((line, fault), (3, Fault::Threshold { word, members: 2 }));
    }
    let form = Fault::Form("group NAME all|any|K MEMBER…");
    for line in ["group G", "group G all", "group"] {
        assert_eq!(
            refused(format!("{two}{line}\n")),
            (3, form.clone()),
            "{line}"
        );
    }
}

#[test]
fn keys_are_of_their_type_and_not_given_twice() {
    let (log, cosigner) = (log(1), witness(2).public().to_string());
    let twin = LogKey::from_seed(&[1; 32], "other.example").unwrap().vkey();
    let two = format!("log {log}\nwitness A {cosigner}\n");
    let other = WitnessKey::from_seed(&[2; 32], "other.example").unwrap();
    let kind = |word: &str, kind: u8| Fault::Key {
        word: word.chars().take(64).collect(),
        source: KeyError::Type(kind),
    };
    for (rest, fault) in [
        (
            format!("log {twin}"),
            Fault::DuplicateKey("log1.example".into()),
        ),
        (
            format!("witness B {}", other.public()),
            Fault::DuplicateKey("A".into()),
        ),
        (format!("log {cosigner}"), kind(&cosigner, 4)),
        (format!("witness B {log}"), kind(&log, 1)),
        ("log".into(), Fault::Form("log VKEY [URL]")),
        (format!("log {log} a b"), Fault::Form("log VKEY [URL]")),
        ("witness B".into(), Fault::Form("witness NAME VKEY [URL]")),
        ("quorum".into(), Fault::Form("quorum NAME|none")),
        ("quorum A A".into(), Fault::Form("quorum NAME|none")),
        ("Quorum A".into(), Fault::Keyword("Quorum".into())),
    ] {
        assert_eq!(refused(format!("{two}{rest}\n")), (3, fault), "{rest}");
    }
}

#[test]
fn bytes_are_those_of_the_spec() {
    for byte in [0, 0x0b, b'\r', 0x1f, 0x7f] {
        let file = [b"quorum none".as_slice(), &[byte, b'\n']].concat();
        assert_eq!(refused(file), (1, Fault::Byte(byte)));
    }
    assert_eq!(refused("quorum none"), (1, Fault::Unended));
    assert_eq!(refused("quorum none\n# cut of"), (2, Fault::Unended));
    assert_eq!(refused(b"quorum \xff\n"), (1, Fault::Utf8));
    assert!(Policy::parse(b"# caf\xe9\n \t \nquorum none\n").is_ok());
    assert_eq!(refused(vec![b'\n'; MAX_BYTES + 1]), (1, Fault::Size));
    // A no-break space is part of a word, and a Kelvin sign is no K.
    assert_eq!(
        refused("quorum\u{a0}none\n").1,
        Fault::Keyword("quorum\u{a0}none".into())
    );
    let kelvin = format!("witness K {}\nquorum \u{212a}\n", witness(1).public());
    assert_eq!(refused(kelvin), (2, Fault::Undefined("\u{212a}".into())));
}

#[test]
fn an_error_reads_with_its_line() {
    let error = Policy::parse(b"\nquorum Q\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: `Q` is not defined before this line"
    );
    let error = Policy::parse(b"witness A secret\n").unwrap_err();
    let expected = "line 1: `secret` is no key: a verifier key reads NAME+8 hex digits+base64";
    assert_eq!(error.to_string(), expected);
}

/// Nested as deep as a file can: evaluation does not recurse.
#[test]
fn ten_thousand_nested_groups_are_evaluated() {
    let mut text = format!("witness g0 {}\n", witness(1).public());
    for n in 1..=10_000 {
        writeln!(text, "group g{n} all g{}", n - 1).unwrap();
    }
    text.push_str("quorum g10000\n");
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(judge(&policy, &[1]), told(true, ["g0", "", ""]));
    assert_eq!(judge(&policy, &[]), told(false, ["", "g0", ""]));
}
