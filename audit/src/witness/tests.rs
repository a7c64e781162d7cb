use super::{
    AddCheckpoint, FormError, Held, MAX_PROOF, Refusal, origin_hash, parse_cosignatures,
    parse_size, size_text,
};
use crate::checkpoint::CheckpointError;
use crate::note::{LogKey, NoteError};
use crate::tree::{Frontier, Growth, leaf_hash, root};
use crate::{Checkpoint, Digest};

fn leaves(n: u64) -> Vec<Digest> {
    (0..n).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn signed(size: u64, root: Digest) -> String {
    let origin = "log.example".to_owned();
    let text = Checkpoint { origin, size, root }.text();
    LogKey::from_seed(&[1; 32], "log.example")
        .unwrap()
        .sign(&text)
}

fn note(size: u64) -> String {
    signed(size, root(&leaves(size)))
}

fn proof(old: u64, size: u64) -> Vec<Digest> {
    let growth = Growth::new(&Frontier::of(&[]), &leaves(size));
    growth.consistency(old).unwrap_or_default()
}

fn held(size: u64) -> Held {
    let root = root(&leaves(size));
    Held { size, root }
}

fn request(old: u64, size: u64) -> AddCheckpoint {
    AddCheckpoint::new(old, proof(old, size), &note(size)).unwrap()
}

#[test]
fn prints_and_parses_one_form() {
    for (old, size) in [(0, 0), (0, 5), (3, 5), (5, 5), (255, 1_000)] {
        let request = request(old, size);
        assert_eq!(request.to_string().parse(), Ok(request));
    }
    let text = request(3, 5).to_string();
    assert!(text.starts_with("old 3\n"), "{text}");
    assert_eq!(text.split("\n\n").count(), 3);
}

#[test]
fn reads_extension_lines_of_other_logs() {
    let text = format!(
        "{}an extension\nanother\n",
        Checkpoint::parse_note(&note(5)).unwrap().0
    );
    let foreign = LogKey::from_seed(&[1; 32], "log.example")
        .unwrap()
        .sign(&text);
    let request: AddCheckpoint = format!("old 0\n\n{foreign}").parse().unwrap();
    assert_eq!(request.checkpoint.size, 5);
    assert_eq!(request.note.text(), text);
    let empty = LogKey::from_seed(&[1; 32], "log.example")
        .unwrap()
        .sign(&format!("{text}\nmore\n"));
    let refused = format!("old 0\n\n{empty}").parse::<AddCheckpoint>();
    assert_eq!(refused, Err(CheckpointError::Form.into()));
}

#[test]
fn refuses_every_other_form() {
    let note = note(5);
    let long = proof(3, 5).first().copied().unwrap();
    let line = data_encoding::BASE64.encode(long.as_bytes());
    let lines = |n: usize| format!("{line}\n").repeat(n);
    assert!(
        format!("old 3\n{}\n{note}", lines(MAX_PROOF))
            .parse::<AddCheckpoint>()
            .is_ok()
    );
    for (text, why) in [
        (String::new(), FormError::Gap),
        ("old 0\n".into(), FormError::Gap),
        (format!("old 0\n{note}"), FormError::Proof),
        (format!("old 00\n\n{note}"), FormError::Old),
        (format!("old +1\n\n{note}"), FormError::Old),
        (format!("old \n\n{note}"), FormError::Old),
        (
            format!("old 18446744073709551616\n\n{note}"),
            FormError::Old,
        ),
        (format!("OLD 0\n\n{note}"), FormError::Old),
        (format!("old  0\n\n{note}"), FormError::Old),
        (format!("\n\n{note}"), FormError::Old),
        (format!("old 0 \n\n{note}"), FormError::Old),
        (format!("old 0\r\n\r\n{note}"), FormError::Old),
        (
            format!("old 3\n{}\n{note}", lines(MAX_PROOF + 1)),
            FormError::TooLong,
        ),
        (
            format!("old 3\n{}\n{note}", line.replace('=', "")),
            FormError::Proof,
        ),
        (format!("old 3\n{line} \n\n{note}"), FormError::Proof),
        (format!("old 0\n\n\n{note}"), CheckpointError::Form.into()),
        (
            format!("old 0\n\n{}", note.trim_end()),
            CheckpointError::Note(NoteError::Malformed("no line feed at the end")).into(),
        ),
    ] {
        assert_eq!(text.parse::<AddCheckpoint>(), Err(why), "{text:?}");
    }
}

/// All pairs of sizes, held and asked, as tlog-witness has them.
#[test]
fn judges_every_pair_of_sizes() {
    for known in 0..9_u64 {
        let held = held(known);
        let held = (known > 0).then_some(&held);
        for old in 0..9 {
            for size in 0..9 {
                let expected = match () {
                    () if old > size => Err(Refusal::Old),
                    () if old != known => Err(Refusal::Stale(known)),
                    () => Ok(()),
                };
                assert_eq!(
                    request(old, size).judge(held),
                    expected,
                    "{known} {old} {size}"
                );
            }
        }
    }
}

#[test]
fn a_log_that_contradicts_itself_is_inconsistent() {
    let other = signed(5, Digest::of(b"fork"));
    let fork = AddCheckpoint::new(5, Vec::new(), &other).unwrap();
    let same = Refusal::Inconsistent("same size, other root");
    assert_eq!(fork.judge(Some(&held(5))), Err(same));

    let false_proof = Refusal::Inconsistent("the consistency proof is false");
    let grown = AddCheckpoint::new(3, proof(3, 5), &other).unwrap();
    assert_eq!(grown.judge(Some(&held(3))), Err(false_proof));
    let none = AddCheckpoint::new(3, Vec::new(), &note(5)).unwrap();
    assert_eq!(none.judge(Some(&held(3))), Err(false_proof));
    let same_size = AddCheckpoint::new(5, proof(3, 5), &note(5)).unwrap();
    assert_eq!(same_size.judge(Some(&held(5))), Err(false_proof));

    let first = AddCheckpoint::new(0, proof(3, 5), &note(5)).unwrap();
    let empty = Refusal::Inconsistent("from size 0 the proof is empty");
    assert_eq!(first.judge(None), Err(empty));
    assert_eq!(first.judge(Some(&held(0))), Err(empty));

    let zero = AddCheckpoint::new(0, Vec::new(), &signed(0, Digest::of(b"x"))).unwrap();
    let root = Refusal::Inconsistent("an empty log has another root");
    assert_eq!(zero.judge(None), Err(root));
}

/// One bit of any proof hash or of the root held: never cosigned.
#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let good = request(5, 13);
    for at in 0..good.proof.len() {
        for bit in 0..256 {
            let mut bad = good.clone();
            let mut bytes = *bad.proof[at].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bad.proof[at] = Digest::from_bytes(bytes);
            assert!(bad.judge(Some(&held(5))).is_err(), "hash {at}, bit {bit}");
        }
    }
    for bit in 0..256 {
        let mut held = held(5);
        let mut bytes = *held.root.as_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        held.root = Digest::from_bytes(bytes);
        assert!(good.judge(Some(&held)).is_err(), "root, bit {bit}");
    }
}

#[test]
fn answers_parse_strictly() {
    assert_eq!(parse_size(&size_text(20_852_014)), Some(20_852_014));
    for bad in ["", "\n", "5", "05\n", "5\n\n", " 5\n", "-5\n", "5\r\n"] {
        assert_eq!(parse_size(bad), None, "{bad:?}");
    }
    let lines = "— w.example/1 AAAAAAA=\n— w.example/2 AAAAAAA=\n";
    assert_eq!(parse_cosignatures(lines).unwrap().len(), 2);
    for bad in [
        "",
        "\n",
        "— w AAAAAAA=",
        "w AAAAAAA=\n",
        "\n\n— w AAAAAAA=\n",
        "y\n\n— w AAAAAAA=\n",
    ] {
        assert!(parse_cosignatures(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_log_is_found_by_the_hash_of_its_origin() {
    // printf 'go.sum database tree' | sha256sum
    let expected = "46613be2987d5d316f5ad065e4aa2eee26ccdd3de17a3735cd0da18156a22bdd";
    assert_eq!(origin_hash("go.sum database tree"), expected);
}
