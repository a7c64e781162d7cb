//! Zips that are not quite bundles (T15 of LEDGER.md §15): `stint ledger verify` and the JavaScript verifier refuse the same
//! ones, with the same exit code, and never unpack more than a header promised.

use std::io::{Cursor, Write as _};
use std::path::Path;
use std::process::Command;

use data_encoding::BASE64;
use serde_json::{Value, json};
use stint_audit::bundle::Files;
use stint_tests::process::program;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::bundles::Case;
use crate::dice::Dice;
use crate::differential::{setting, without_words};
use crate::node::Talk;

fn zipped(files: &Files, method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(name.as_str(), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The two programs on one file.
struct Both {
    folder: tempfile::TempDir,
    node: Talk,
}

impl Both {
    fn new() -> Both {
        Both {
            folder: tempfile::tempdir().unwrap(),
            node: Talk::start("tests/verifiers/checker.mjs"),
        }
    }

    /// What both say of a zip; they agree on all but words.
    fn judge(&mut self, zip: &[u8], keys: &[String]) -> Value {
        let path = self.folder.path().join("bundle.stint");
        std::fs::write(&path, zip).unwrap();
        let ours = stint(&path, keys, self.folder.path());
        let asked = json!({"zip": BASE64.encode(zip), "files": {}, "keys": keys, "policy": null, "since": null,
            "now": 1_795_305_700_000_u64, "max_age": null, "credential": null, "all": false});
        let theirs: Value = serde_json::from_str(&self.node.ask(&asked.to_string())).unwrap();
        let text = format!("\nRust {ours}\nJavaScript {theirs}");
        assert_eq!(decided_apart(ours.clone()), decided_apart(theirs), "{text}");
        ours
    }
}

/// `stint` has a policy engine, which the other verifier has not: `replay` is not compared here.
fn decided_apart(report: Value) -> Value {
    let mut report = without_words(report);
    let verdicts = report["verdicts"].as_array_mut().unwrap();
    verdicts.retain(|verdict| verdict["name"] != "replay");
    report
}

fn stint(path: &Path, keys: &[String], home: &Path) -> Value {
    let mut command = Command::new(program("stint"));
    command
        .env_clear()
        .env("HOME", home)
        .env("XDG_CONFIG_HOME", home);
    command.args(["ledger", "verify", "-o", "json"]).arg(path);
    for key in keys {
        command.args(["--key", key]);
    }
    let done = command.output().unwrap();
    let report: Value = serde_json::from_slice(&done.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&done.stderr)));
    assert_eq!(done.status.code().map(i64::from), report["exit"].as_i64());
    report
}

/// A bundle that verifies, and its key. `stint` decides again besides, and questions made by chance have other answers.
fn sound(both: &Both) -> (Files, Vec<String>) {
    let mut dice = Dice::new(1);
    let case = loop {
        let case = Case::random(&mut dice);
        let report = stint_audit::verify(&case.files, &case.trust(), &case.options());
        let long = case.files["headers.jsonl"].len() > 4_000;
        if report.exit == 0 && case.keys.len() == 1 && long {
            let path = both.folder.path().join("sound.stint");
            std::fs::write(&path, zipped(&case.files, CompressionMethod::Stored)).unwrap();
            if stint(&path, &case.keys, both.folder.path())["exit"] == 0 {
                break case;
            }
        }
    };
    (case.files, case.keys)
}

#[test]
fn zips_that_were_changed_get_the_same_verdicts() {
    let mut both = Both::new();
    let (files, keys) = sound(&both);
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        assert_eq!(both.judge(&zipped(&files, method), &keys)["exit"], 0);
    }
    let seed = setting("STINT_SEED", 7);
    let cases = setting("STINT_CASES", 3_000) / 20;
    println!("{cases} zips from seed {seed}");
    for seed in seed..seed + cases {
        let mut dice = Dice::new(seed);
        let method = *dice.pick(&[CompressionMethod::Stored, CompressionMethod::Deflated]);
        let mut zip = zipped(&files, method);
        let at = dice.index(zip.len());
        match dice.below(7) {
            0 => zip.truncate(at),
            1 => zip[at] ^= 1 << dice.below(8),
            2 => drop(zip.remove(at)),
            3 => zip.insert(at, 0),
            4 => zip.push(0),
            5 => {
                let back = zip.len().min(700);
                let at = zip.len() - 1 - dice.index(back);
                zip[at] ^= 1 << dice.below(8);
            }
            _ => {
                let word: [u8; 4] = *dice.pick(&[[0xff; 4], [0; 4], [1, 0, 0, 0]]);
                let at = dice.index(zip.len() - 4);
                zip[at..at + 4].copy_from_slice(&word);
            }
        }
        println!("seed {seed}");
        both.judge(&zip, &keys);
    }
}

#[test]
fn what_is_no_bundle_is_refused_by_both() {
    let mut both = Both::new();
    let (files, keys) = sound(&both);
    let whole = zipped(&files, CompressionMethod::Deflated);
    let mut foreign = files.clone();
    foreign.insert("evil.exe".into(), vec![0; 9]);
    let mut out = files.clone();
    out.insert("policies/../../x".into(), vec![0; 9]);
    let renamed = |from: &[u8], to: &[u8], times| replaced(&whole, from, to, times);
    let local_only = renamed(b"proof.json", b"proof.jsom", 1);
    let twice = renamed(b"proof.json", b"checkpoint", usize::MAX);
    for (why, zip) in [
        ("nothing", vec![]),
        ("no zip", b"not a zip at all, by a long way".to_vec()),
        (
            "a foreign file",
            zipped(&foreign, CompressionMethod::Stored),
        ),
        ("a way out", zipped(&out, CompressionMethod::Stored)),
        ("two headers that differ", local_only),
        ("a name twice", twice),
        ("cut off", whole[..whole.len() - 30].to_vec()),
        (
            "something before it",
            [b"#!/bin/sh\n", whole.as_slice()].concat(),
        ),
        ("something behind it", [whole.as_slice(), b"\n"].concat()),
        ("encrypted", flagged(&whole, 1)),
        ("streamed", flagged(&whole, 8)),
        ("a bomb", bomb(&files, 64 << 20)),
        ("larger than it says", resized(&whole, 1)),
        ("10 GiB, it says", resized(&whole, 0xf000_0000)),
    ] {
        let report = both.judge(&zip, &keys);
        assert_eq!(report["exit"], 8, "{why}");
    }
}

/// `from` as `to`, the first so many times.
fn replaced(zip: &[u8], from: &[u8], to: &[u8], times: usize) -> Vec<u8> {
    let mut zip = zip.to_vec();
    let mut at = 0;
    for _ in 0..times {
        let mut windows = zip[at..].windows(from.len());
        let Some(found) = windows.position(|window| window == from) else {
            break;
        };
        zip[at + found..at + found + from.len()].copy_from_slice(to);
        at += found + from.len();
    }
    zip
}

/// Both headers of each file, by the places of their signatures, changed alike.
fn headers(zip: &[u8], mut change: impl FnMut(&mut [u8])) -> Vec<u8> {
    let mut zip = zip.to_vec();
    for at in 0..zip.len() - 30 {
        match zip[at..at + 4] {
            [0x50, 0x4b, 3, 4] => change(&mut zip[at + 6..at + 26]),
            [0x50, 0x4b, 1, 2] => change(&mut zip[at + 8..at + 28]),
            _ => {}
        }
    }
    zip
}

fn flagged(zip: &[u8], flag: u8) -> Vec<u8> {
    headers(zip, |header| header[0] |= flag)
}

fn resized(zip: &[u8], more: u32) -> Vec<u8> {
    headers(zip, |header| {
        let size = u32::from_le_bytes(header[16..20].try_into().unwrap());
        header[16..20].copy_from_slice(&size.saturating_add(more).to_le_bytes());
    })
}

/// Headers that unpack to a long line of nothing.
fn bomb(files: &Files, length: usize) -> Vec<u8> {
    let mut files = files.clone();
    files.insert("headers.jsonl".into(), vec![b'0'; length]);
    zipped(&files, CompressionMethod::Deflated)
}
