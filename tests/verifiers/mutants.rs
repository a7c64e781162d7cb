//! What an attacker, a bad disk or a careless tool may do to the files of a bundle (LEDGER.md §15).

use serde_json::Value;
use stint_audit::bundle::Files;

use crate::bend;
use crate::bundles::{Case, log_key, witness};
use crate::dice::Dice;

/// Changes the files of `case` in one way.
pub(crate) fn mutate(dice: &mut Dice, case: &mut Case) {
    let files = &mut case.files;
    match dice.below(16) {
        0..=2 => flip(dice, files),
        3 => splice(dice, files),
        4..=6 => {
            let name = *dice.pick(&[
                "headers.jsonl",
                "bodies.tsv",
                "headers.jsonl",
                "openings.tsv",
            ]);
            lines(dice, files, name);
        }
        7 | 8 => {
            let name = *dice.pick(&["headers.jsonl", "bodies.tsv"]);
            spelling(dice, files, name);
        }
        9 | 10 => {
            let name = *dice.pick(&["manifest.json", "proof.json"]);
            json(dice, files, name);
        }
        11 => {
            let name = *dice.pick(&["manifest.json", "proof.json"]);
            if let Some(file) = files.get_mut(name) {
                *file = bend::twin(dice, file);
            }
        }
        12 | 13 => note(dice, files),
        14 => numbers(dice, files),
        _ => whole(dice, files),
    }
}

fn some_file<'f>(dice: &mut Dice, files: &'f mut Files) -> Option<&'f mut Vec<u8>> {
    let names: Vec<String> = files
        .iter()
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(name, _)| name.clone())
        .collect();
    (!names.is_empty()).then(|| files.get_mut(dice.pick(&names)).unwrap())
}

/// One bit (T1).
fn flip(dice: &mut Dice, files: &mut Files) {
    if let Some(file) = some_file(dice, files) {
        let at = dice.index(file.len());
        file[at] ^= 1 << dice.below(8);
    }
}

/// Bytes out, bytes in, or the end cut off.
fn splice(dice: &mut Dice, files: &mut Files) {
    let Some(file) = some_file(dice, files) else {
        return;
    };
    let at = dice.index(file.len());
    match dice.below(5) {
        0 => file.truncate(at),
        1 => drop(file.remove(at)),
        2 => file.insert(at, *dice.pick(b"\n\r\t \"0}\xff")),
        3 => drop(file.pop()),
        _ => {
            let end = (at + dice.index(40)).min(file.len());
            drop(file.drain(at..end));
        }
    }
}

/// Lines deleted, swapped, copied, moved, renumbered, too long (T2, T5).
fn lines(dice: &mut Dice, files: &mut Files, name: &str) {
    let Some(file) = files.get_mut(name) else {
        return;
    };
    let mut lines: Vec<Vec<u8>> = file
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    if lines.is_empty() {
        lines.push(b"\n".to_vec());
    }
    let (a, b) = (dice.index(lines.len()), dice.index(lines.len()));
    match dice.below(8) {
        0 => drop(lines.remove(a)),
        1 => lines.swap(a, b),
        2 => lines.insert(a, lines[b].clone()),
        3 => lines.truncate(a),
        4 => lines.push(lines[a].clone()),
        5 => lines.insert(a, b"\n".to_vec()),
        6 => lines.insert(a, [vec![b'7'; dice.index(80_000)], b"\n".to_vec()].concat()),
        _ => {
            let mut tail = lines[a].clone();
            if let Some(tab) = tail.iter().position(|byte| *byte == b'\t') {
                drop(tail.drain(..tab));
            }
            let seq = *dice.pick(&[
                "3",
                "03",
                "-1",
                "9007199254740993",
                "18446744073709551615",
                "18446744073709551616",
                "",
            ]);
            lines[a] = [seq.as_bytes(), &tail].concat();
        }
    }
    *file = lines.concat();
}

/// A line in another spelling, and nothing linked or hashed anew (T13).
fn spelling(dice: &mut Dice, files: &mut Files, name: &str) {
    let Some(file) = files.get_mut(name).filter(|file| !file.is_empty()) else {
        return;
    };
    let mut lines: Vec<Vec<u8>> = file
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let at = dice.index(lines.len());
    let tab = lines[at]
        .iter()
        .position(|byte| *byte == b'\t')
        .map_or(0, |tab| tab + 1);
    let (front, text) = lines[at].split_at(tab);
    lines[at] = [front, &bend::twin(dice, text)].concat();
    *file = lines.join(&b'\n');
}

fn json(dice: &mut Dice, files: &mut Files, name: &str) {
    let Some(file) = files.get_mut(name) else {
        return;
    };
    if let Ok(mut value) = serde_json::from_slice::<Value>(file) {
        bend::value(dice, &mut value);
        *file = value.to_string().into_bytes();
    }
}

/// Notes (T14): unknown and known keys, true and false, few and many; control characters; extension lines.
fn note(dice: &mut Dice, files: &mut Files) {
    let Some(Ok(text)) = files.get("checkpoint").cloned().map(String::from_utf8) else {
        return;
    };
    let last = text.lines().last().unwrap_or_default().to_owned();
    let unknown = "— somebody.example AAAAAAAAAAAA\n";
    let out = match dice.below(14) {
        0 => format!("{text}{unknown}"),
        1 => format!("{text}{}", unknown.repeat(16)),
        2 => format!("{text}{}", unknown.repeat(62)),
        3 => format!("{text}{}", unknown.repeat(64)),
        4 => format!("{text}{last}\n"),
        5 => text.replacen('\n', "\r\n", 1),
        6 => text.trim_end().to_owned(),
        7 => text.replacen("\n\n", "\nextension\n\n", 1),
        8 => text.replacen("\n\n", "\n", 1),
        9 => text.replacen("— stint", "— st+int", 1),
        10 => {
            let line = log_key(1).sign("another text\n");
            format!("{text}{}\n", line.lines().last().unwrap_or_default())
        }
        11 => {
            let line = witness(1).cosign("another text\n", 1_795_305_600).unwrap();
            format!("{text}{line}\n")
        }
        12 => text.replacen("— ", "- ", 1),
        _ => {
            let line = witness(2)
                .cosign(text.split("\n\n").next().unwrap_or_default(), u64::MAX >> 1)
                .unwrap();
            format!("{text}{line}\n")
        }
    };
    files.insert("checkpoint".into(), out.into_bytes());
}

/// Sizes that do not belong together (T12), and numbers that are none.
fn numbers(dice: &mut Dice, files: &mut Files) {
    let name = *dice.pick(&["from", "to", "size", "v", "epoch", "made_at"]);
    let number = *dice.pick(&[
        "0",
        "1",
        "2",
        "7",
        "9007199254740991",
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "1.0",
        "1e0",
        "null",
        "\"1\"",
        "true",
        "-0",
        "01",
    ]);
    let Some(Ok(text)) = files.get("manifest.json").cloned().map(String::from_utf8) else {
        return;
    };
    let key = format!("\"{name}\":");
    let Some((front, back)) = text.split_once(&key) else {
        return;
    };
    let end = back.find([',', '}']).unwrap_or(0);
    let twice = if dice.once_in(8) {
        format!("{key}1,")
    } else {
        String::new()
    };
    let text = format!("{front}{twice}{key}{number}{}", &back[end..]);
    files.insert("manifest.json".into(), text.clone().into_bytes());
    if let Some(note) = files.get("checkpoint").filter(|_| dice.once_in(4)) {
        let note = String::from_utf8_lossy(note).into_owned();
        let mut lines: Vec<&str> = note.split('\n').collect();
        if lines.len() > 1 {
            lines[1] = number;
        }
        files.insert("checkpoint".into(), lines.join("\n").into_bytes());
    }
}

/// Files that go, come, or change places.
fn whole(dice: &mut Dice, files: &mut Files) {
    let names: Vec<String> = files.keys().cloned().collect();
    match dice.below(5) {
        0 | 1 => drop(files.remove(dice.pick(&names))),
        2 => {
            let bytes = files[dice.pick(&names)].clone();
            files.insert(dice.pick(&names).clone(), bytes);
        }
        3 => {
            let name = *dice.pick(&[
                "receipts/1.tlog-proof",
                "receipts/x",
                "handover/9",
                "openings.tsv",
                "trust/log.vkeys",
            ]);
            let bytes = files[dice.pick(&names)].clone();
            files.insert(name.into(), bytes);
        }
        _ => drop(files.insert("openings.tsv".into(), b"?\n".to_vec())),
    }
}
