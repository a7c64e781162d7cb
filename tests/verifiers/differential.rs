//! Two verifiers, written apart from each other, on the same random and tampered bundles: the same verdicts, the same exit
//! code, member for member (LEDGER.md §11). Only their words are their own.
//!
//! `STINT_CASES` says how many (3,000 by default; 100,000 for a whole run), `STINT_SEED` where to begin.

use serde_json::{Value, json};
use stint_audit::bundle::Files;
use stint_audit::{canonical, verify};

use crate::bundles::Case;
use crate::dice::Dice;
use crate::mutants::mutate;
use crate::node::Talk;

const CASES: u64 = 3_000;
const SEED: u64 = 20_261_122;

/// What both must agree on.
pub(crate) fn without_words(mut report: Value) -> Value {
    let members = report.as_object_mut().unwrap();
    members.remove("schema");
    members.remove("summary").unwrap();
    for verdict in members.get_mut("verdicts").unwrap().as_array_mut().unwrap() {
        verdict.as_object_mut().unwrap().remove("text").unwrap();
    }
    report
}

fn tampered(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let mut case = Case::random(&mut dice);
    for _ in 0..*dice.pick(&[0, 0, 1, 1, 1, 2, 3]) {
        mutate(&mut dice, &mut case);
    }
    case
}

/// What the two say of `case`: the Rust verifier first.
fn judged(node: &mut Talk, case: &Case) -> (Value, Value) {
    let ours = verify::verify(&case.files, &case.trust(), &case.options());
    let theirs: Value = serde_json::from_str(&node.ask(&case.line())).unwrap();
    (serde_json::to_value(&ours).unwrap(), theirs)
}

#[test]
fn both_verifiers_say_the_same_of_random_and_tampered_bundles() {
    let (seed, cases) = (setting("STINT_SEED", SEED), setting("STINT_CASES", CASES));
    println!("{cases} cases from seed {seed}: STINT_SEED and STINT_CASES change it");
    let mut node = Talk::start("tests/verifiers/checker.mjs");
    let mut exits = [0_u64; 10];
    let mut wrong = 0_u64;
    for seed in seed..seed + cases {
        let case = tampered(seed);
        let (ours, theirs) = judged(&mut node, &case);
        exits[usize::try_from(ours["exit"].as_u64().unwrap()).unwrap()] += 1;
        if without_words(ours.clone()) != without_words(theirs.clone()) {
            wrong += 1;
            println!("seed {seed}\n{}", difference(&ours, &theirs));
        }
    }
    println!(
        "{} verified, {} failed, {} undecided",
        exits[0], exits[8], exits[9]
    );
    assert_eq!(wrong, 0, "cases of disagreement");
    // Enough of each, or the cases say little.
    let enough = cases / 20;
    assert!(
        exits[0] >= enough && exits[8] >= enough && exits[9] >= enough,
        "{exits:?}"
    );
}

/// Where two reports differ, with the words of both.
fn difference(ours: &Value, theirs: &Value) -> String {
    let none = vec![];
    let verdicts = |report: &Value| report["verdicts"].as_array().unwrap_or(&none).clone();
    let (a, b) = (verdicts(ours), verdicts(theirs));
    let mut text = String::new();
    for at in 0..a.len().max(b.len()) {
        let (a, b) = (a.get(at), b.get(at));
        let bare = |verdict: Option<&Value>| {
            let mut bare = verdict.cloned().unwrap_or_default();
            bare.as_object_mut().map(|it| it.remove("text"));
            bare
        };
        if bare(a) != bare(b) {
            text.push_str(&format!("  Rust {}\n  JavaScript {}\n", json!(a), json!(b)));
        }
    }
    text.push_str(&format!("  {} / {}", ours["summary"], theirs["summary"]));
    text
}

/// The lint alone: bytes that are nearly canonical. Much cheaper than a bundle each, so there are many.
#[test]
fn both_lints_take_the_same_bytes() {
    let mut dice = Dice::new(setting("STINT_SEED", SEED));
    let mut node = Talk::start("tests/verifiers/lint.mjs");
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..setting("STINT_CASES", CASES) {
        let case = Case::random(&mut dice);
        let mut lines: Vec<Vec<u8>> = some_lines(&case.files);
        let at = dice.index(lines.len());
        let line = if dice.once_in(4) {
            lines.swap_remove(at)
        } else {
            crate::bend::twin(&mut dice, &lines[at])
        };
        let header = dice.once_in(2);
        let ours = if header {
            canonical::lint_header(&line).is_ok()
        } else {
            canonical::lint(&line, canonical::MAX_BODY, canonical::MAX_DEPTH).is_ok()
        };
        let kind = if header { "header" } else { "body" };
        let asked = json!({"kind": kind, "bytes": data_encoding::BASE64.encode(&line)});
        let theirs: bool = serde_json::from_str(&node.ask(&asked.to_string())).unwrap();
        assert_eq!(ours, theirs, "{kind} {}", String::from_utf8_lossy(&line));
        *(if ours { &mut taken } else { &mut refused }) += 1;
    }
    assert!(taken > 0 && refused > 0);
}

/// Headers and bodies, one a line.
fn some_lines(files: &Files) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = vec![b"{}".to_vec()];
    for name in ["headers.jsonl", "bodies.tsv"] {
        for line in files[name]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let body = line
                .iter()
                .position(|byte| *byte == b'\t')
                .map_or(0, |tab| tab + 1);
            lines.push(line[body..].to_vec());
        }
    }
    lines
}

#[expect(
    clippy::disallowed_methods,
    reason = "how much a run does, and where it begins, is said from outside"
)]
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}
