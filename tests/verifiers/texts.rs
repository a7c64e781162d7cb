//! The auditor's own texts (a trust policy, a key, a checkpoint he kept) and notes: both verifiers take the same ones.

use data_encoding::BASE64;
use serde_json::json;
use stint_audit::Checkpoint;
use stint_audit::note::{Note, VerifierKey};
use stint_audit::trust::Policy;

use crate::bundles::{log_key, witness};
use crate::dice::Dice;
use crate::differential::setting;
use crate::node::Talk;

#[test]
fn both_verifiers_take_the_same_texts_of_the_auditors() {
    let mut node = Talk::start("tests/verifiers/texts.mjs");
    let mut dice = Dice::new(setting("STINT_SEED", 5));
    let mut taken = 0;
    let cases = setting("STINT_CASES", 3_000);
    for _ in 0..cases {
        let kind = *dice.pick(&["policy", "policy", "key", "note", "checkpoint"]);
        let mut text = sound(&mut dice, kind).into_bytes();
        for _ in 0..dice.below(3) {
            spoil(&mut dice, &mut text);
        }
        let ours = takes(kind, &text);
        let asked = json!({"kind": kind, "bytes": BASE64.encode(&text)});
        let theirs: bool = serde_json::from_str(&node.ask(&asked.to_string())).unwrap();
        assert_eq!(ours, theirs, "{kind} {}", String::from_utf8_lossy(&text));
        taken += u64::from(ours);
    }
    assert!(taken > cases / 10 && taken < cases, "{taken} of {cases}");
}

fn takes(kind: &str, bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes);
    match (kind, text) {
        ("policy", _) => Policy::parse(bytes).is_ok(),
        ("key", Ok(text)) => text.parse::<VerifierKey>().is_ok(),
        ("note", Ok(text)) => Note::parse(text).is_ok(),
        (_, Ok(text)) => Checkpoint::parse_note(text).is_ok() || Checkpoint::parse(text).is_ok(),
        (_, Err(_)) => false,
    }
}

fn sound(dice: &mut Dice, kind: &str) -> String {
    let checkpoint = format!(
        "stint.example/ledger\n{}\n{}=\n",
        dice.below(99),
        "A".repeat(43)
    );
    match kind {
        "policy" => {
            let witnesses: String = (1..=3)
                .map(|n| format!("witness w{n} {}\n", witness(n).public()))
                .collect();
            let (rule, quorum) = (
                *dice.pick(&["any", "all", "1", "3"]),
                *dice.pick(&["g", "w2", "none"]),
            );
            let log = log_key(1).vkey();
            format!(
                "# ours\nlog {log} https://x\n{witnesses}group g {rule} w1 w2 w3\n\tquorum  {quorum}\n"
            )
        }
        "key" => log_key(dice.below(200).to_le_bytes()[0]).vkey(),
        "note" => log_key(1).sign("any text\n\nat all\n"),
        _ if dice.once_in(2) => log_key(1).sign(&checkpoint),
        _ => checkpoint,
    }
}

/// A word, a line or a byte in, out, or twice.
fn spoil(dice: &mut Dice, text: &mut Vec<u8>) {
    let words: [&[u8]; 18] = [
        b"\n",
        b" ",
        b"\t",
        b"+",
        b"=",
        b"#",
        b"none",
        b"g",
        b"w1 ",
        b"\r\n",
        b"\x7f",
        b"\x0b",
        b"\xff",
        b"01",
        b"-1",
        "\u{a0}".as_bytes(),
        "\u{feff}".as_bytes(),
        "\u{2028}".as_bytes(),
    ];
    if text.is_empty() {
        return;
    }
    let at = dice.index(text.len());
    match dice.below(5) {
        0 => drop(text.remove(at)),
        1 => drop(text.splice(at..at, dice.pick(&words).iter().copied())),
        2 => text[at] ^= 1 << dice.below(8),
        3 => text.truncate(at),
        _ => {
            let mut lines: Vec<Vec<u8>> = text
                .split_inclusive(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec)
                .collect();
            let (a, b) = (dice.index(lines.len()), dice.index(lines.len()));
            if dice.once_in(2) {
                lines.swap(a, b);
            } else {
                lines.insert(a, lines[b].clone());
            }
            *text = lines.concat();
        }
    }
}
