//! Zips written by foreign software are read whole; spoiled ones are refused before anything is read (LEDGER.md T15).

use std::fs;
use std::io::{Cursor, Read as _, Write as _};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{is_ours, open};

fn zip(files: &[(&str, &str)], options: SimpleFileOptions) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        zip.start_file(*name, options).unwrap();
        zip.write_all(content.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn deflated() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Deflated)
}

fn read(path: &Path, name: &str) -> std::io::Result<Option<String>> {
    let source = open(path)?;
    let Some(mut file) = source.open(name)? else {
        return Ok(None);
    };
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(Some(text))
}

fn refusal(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.stint");
    fs::write(&path, bytes).unwrap();
    match open(&path) {
        Err(error) => error.to_string(),
        Ok(_) => read(&path, "headers.jsonl")
            .expect_err("spoiled, and read all the same")
            .to_string(),
    }
}

/// The one place of `needle` in `bytes`.
fn only(bytes: &[u8], needle: &[u8], nth: usize) -> usize {
    bytes
        .windows(needle.len())
        .enumerate()
        .filter(|(_, window)| *window == needle)
        .nth(nth)
        .unwrap()
        .0
}

#[test]
fn reads_what_foreign_software_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q3.stint");
    let long = "a line of a header\n".repeat(20_000);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for options in [
        stored,
        deflated(),
        stored.large_file(true),
        deflated().large_file(true),
    ] {
        let files = [
            ("manifest.json", "{}"),
            ("headers.jsonl", &long),
            ("receipts/12.tlog-proof", ""),
            ("trust/log.vkeys", "k"),
        ];
        fs::write(&path, zip(&files, options)).unwrap();
        for (name, content) in files {
            assert_eq!(
                read(&path, name).unwrap().as_deref(),
                Some(content),
                "{name}"
            );
        }
        assert_eq!(read(&path, "bodies.tsv").unwrap(), None);
        assert_eq!(open(&path).unwrap().names().len(), 4);
    }
}

#[test]
fn reads_a_folder_and_leaves_the_rest_of_it_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("policies/abc/tests")).unwrap();
    fs::write(dir.path().join("checkpoint"), "note").unwrap();
    fs::write(dir.path().join("policies/abc/tests/a.toml"), "x").unwrap();
    fs::write(dir.path().join("notes.docx"), "mine").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("bodies.tsv")).unwrap();
    let mut names = open(dir.path()).unwrap().names();
    names.sort();
    assert_eq!(names, ["checkpoint", "policies/abc/tests/a.toml"]);
    assert_eq!(
        read(dir.path(), "checkpoint").unwrap().as_deref(),
        Some("note")
    );
    assert_eq!(read(dir.path(), "bodies.tsv").unwrap(), None);
}

#[test]
fn refuses_a_name_twice() {
    let mut bytes = zip(
        &[("headers.jsonl", "one"), ("headerz.jsonl", "two")],
        deflated(),
    );
    for nth in [0, 0] {
        let at = only(&bytes, b"headerz", nth);
        bytes[at..at + 7].copy_from_slice(b"headers");
    }
    assert!(refusal(&bytes).contains("twice"));
}

#[test]
fn refuses_foreign_names() {
    for name in [
        "../checkpoint",
        "/etc/passwd",
        "a.exe",
        "trust/../../x",
        "receipts/é",
        "trust/.hidden",
        "trust//x",
        "trust/",
    ] {
        assert!(!is_ours(name), "{name}");
    }
    assert!(refusal(&zip(&[("setup.exe", "x")], deflated())).contains("no file of a bundle"));
}

#[test]
fn refuses_headers_that_differ() {
    let mut bytes = zip(&[("headers.jsonl", "one")], deflated());
    let central = only(&bytes, b"headers.jsonl", 1);
    bytes[central..central + 7].copy_from_slice(b"openers");
    assert!(refusal(&bytes).contains("no file of a bundle"));
    let mut bytes = zip(&[("bodies.tsv", "one")], deflated());
    // The local CRC.
    bytes[14] ^= 1;
    assert!(refusal(&bytes).contains("differ"));
}

#[test]
fn refuses_encryption_and_other_methods() {
    let spoil = |local: usize, central: usize, value: u8| {
        let mut bytes = zip(&[("headers.jsonl", "one")], deflated());
        let directory = only(&bytes, b"PK\x01\x02", 0);
        bytes[local] = value;
        bytes[directory + central] = value;
        refusal(&bytes)
    };
    assert!(spoil(6, 8, 1).contains("encrypted"));
    assert!(spoil(6, 8, 8).contains("streamed"));
    assert!(spoil(8, 10, 12).contains("packed"));
}

#[test]
fn refuses_what_is_cut_off_or_has_more() {
    let bytes = zip(&[("headers.jsonl", "one")], deflated());
    for length in 0..bytes.len() {
        refusal(&bytes[..length]);
    }
    refusal(&[bytes.as_slice(), b"\0"].concat());
    refusal(&[b"\0", bytes.as_slice()].concat());
}

#[test]
fn a_bomb_ends_where_its_header_said() {
    let mut bytes = zip(&[("headers.jsonl", &"0".repeat(1_000_000))], deflated());
    let directory = only(&bytes, b"PK\x01\x02", 0);
    for at in [22, directory + 24] {
        bytes[at..at + 4].copy_from_slice(&1000_u32.to_le_bytes());
    }
    assert!(refusal(&bytes).contains("not as long"));
    for at in [22, directory + 24] {
        bytes[at..at + 4].copy_from_slice(&2_000_000_u32.to_le_bytes());
    }
    assert!(refusal(&bytes).contains("not as long"));
}

#[test]
fn refuses_entries_over_the_same_bytes() {
    let mut bytes = zip(
        &[("headers.jsonl", "one"), ("headers.jsonl2", "two")],
        deflated(),
    );
    let second = only(&bytes, b"headers.jsonl2", 1);
    // The second entry of the directory points at the first one's bytes.
    bytes[second - 4..second].copy_from_slice(&0_u32.to_le_bytes());
    refusal(&bytes);
}

/// `bytes` with `more` put in at `at`, and every offset after it moved along.
fn stuffed(bytes: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
    let directory = only(bytes, b"PK\x01\x02", 0);
    let mut stuffed = [&bytes[..at], more, &bytes[at..]].concat();
    let mut moved = |field: usize| {
        let field = field + more.len();
        let offset = u32::from_le_bytes(stuffed[field..field + 4].try_into().unwrap());
        if usize::try_from(offset).unwrap() >= at {
            let offset = offset + u32::try_from(more.len()).unwrap();
            stuffed[field..field + 4].copy_from_slice(&offset.to_le_bytes());
        }
    };
    let entries = bytes[directory..]
        .windows(4)
        .enumerate()
        .filter(|(_, window)| *window == b"PK\x01\x02");
    for (entry, _) in entries {
        moved(directory + entry + 42);
    }
    moved(bytes.len() - 6);
    stuffed
}

#[test]
fn refuses_bytes_of_no_entry() {
    let bytes = zip(
        &[("headers.jsonl", "one"), ("bodies.tsv", "two")],
        deflated(),
    );
    let second = only(&bytes, b"PK\x03\x04", 1);
    let directory = only(&bytes, b"PK\x01\x02", 0);
    for at in [0, second, directory] {
        let why = refusal(&stuffed(&bytes, at, b"#!/bin/sh\n"));
        assert!(why.contains("no entry names"), "{at}: {why}");
    }
}

#[test]
fn refuses_extra_fields_but_the_wide_one() {
    let mut extra = vec![0x75, 0x70, 2, 0, 1, 2];
    for id in [0x7075_u16, 1] {
        let mut bytes = zip(&[("headers.jsonl", "one")], deflated());
        extra[..2].copy_from_slice(&id.to_le_bytes());
        let name = only(&bytes, b"headers.jsonl", 0);
        bytes[28..30].copy_from_slice(&6_u16.to_le_bytes());
        let bytes = stuffed(&bytes, name + 13, &extra);
        if id == 1 {
            let path = tempfile::NamedTempFile::new().unwrap();
            fs::write(&path, &bytes).unwrap();
            open(path.path()).unwrap();
        } else {
            assert!(refusal(&bytes).contains("cannot be read"));
        }
    }
}

#[test]
fn refuses_a_folder_with_too_many_files() {
    let dir = tempfile::tempdir().unwrap();
    let receipts = dir.path().join("receipts");
    fs::create_dir(&receipts).unwrap();
    for n in 0..super::MAX_FILES {
        fs::File::create(receipts.join(n.to_string())).unwrap();
    }
    assert!(open(dir.path()).is_ok());
    fs::File::create(receipts.join("more")).unwrap();
    let why = open(dir.path()).err().unwrap().to_string();
    assert!(why.contains("too many files"));
}
