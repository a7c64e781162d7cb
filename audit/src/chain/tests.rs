use serde_json::{Map, Value, json};

use super::{Batch, Durable, ExtendError, Head, HeadError, HeadParts, MAX_BATCH};
use crate::canonical::{canonical, lint_header};
use crate::checkpoint::Checkpoint;
use crate::entry::{Body, Entry, FormError, Header};
use crate::kind::{Credential, Epoch, Genesis, Granted, NextLog, PolicyLoaded};
use crate::note::LogKey;
use crate::subject::Pseudonyms;
use crate::tree::{leaf_hash, root, verify_consistency, verify_inclusion};
use crate::{Digest, What};

pub(crate) const LOG: &str = "stint.example/ledger";

pub(crate) fn log_key() -> LogKey {
    LogKey::from_seed(&numbers(0), LOG).unwrap()
}

pub(crate) fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(numbers(0x20), LOG)
}

fn numbers(first: u8) -> [u8; 32] {
    std::array::from_fn(|i| first + u8::try_from(i).unwrap())
}

pub(crate) fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn entry(id: String, what: impl Into<What>, body: Value) -> Entry {
    Entry {
        id,
        subj: None,
        by: None,
        behalf: None,
        pol: None,
        what: what.into(),
        body: Body {
            salt: [3; 16],
            what: object(body),
        },
    }
}

pub(crate) fn id(prefix: &str, n: u64) -> String {
    format!("{prefix}{n:026}")
}

pub(crate) fn genesis() -> Entry {
    let what = Genesis {
        epoch: 0,
        hash: "rfc6962-sha256".into(),
        nonce: Digest::from_bytes([2; 32]),
        prior: None,
        vkey: log_key().vkey(),
    };
    entry(id("ent_", 0), what, json!({"software": "0.1.0"}))
}

/// The set that [`grant`] is decided under takes force.
pub(crate) fn policy(n: u64) -> Entry {
    let what = PolicyLoaded {
        ok: true,
        tried: None,
        was: None,
    };
    Entry {
        pol: Some(Digest::of(b"policy")),
        ..entry(id("ent_", n), what, json!({"files": {}}))
    }
}

pub(crate) fn granted(n: u64) -> Granted {
    Granted {
        cred: Credential::Jwt,
        exp: 900_000 + n,
        first: false,
        opens: true,
        parent: None,
        renews: None,
        request: None,
        task: id("task_", n),
        tbs: Digest::of(&n.to_be_bytes()),
        votes: None,
    }
}

/// The grant to caller number `n` of four.
pub(crate) fn grant(n: u64) -> Entry {
    let who = format!("spiffe://stint.example/ci/{}", n % 4);
    let subject = pseudonyms().subject(&who);
    let caller = json!({"id": who, "kind": "Workload", "open": subject.open});
    let body = json!({"at": n, "caller": caller, "query": {"id": "x", "open": "foreign"}});
    Entry {
        subj: Some(subject.pseudonym),
        pol: Some(Digest::of(b"policy")),
        ..entry(id("gr_", n), granted(n), body)
    }
}

/// What the committer says after COMMIT.
#[expect(
    clippy::disallowed_methods,
    reason = "tests of the chain have no store to commit to"
)]
pub(crate) fn commit(batch: Batch) -> Durable {
    batch.durable(&log_key())
}

fn begun(grants: u64) -> Batch {
    let entries = std::iter::once(genesis()).chain((1..=grants).map(grant));
    Head::empty(LOG, 0)
        .extend("a", 1_000, entries.collect())
        .unwrap()
}

fn parts(head: &Head) -> HeadParts {
    HeadParts {
        log: head.log().into(),
        epoch: head.epoch(),
        size: head.size(),
        last_leaf: *head.last_leaf(),
        root: *head.root(),
        frontier: head.frontier().nodes().to_vec(),
        last_ts: head.last_ts(),
        closed: head.closed(),
    }
}

#[test]
fn agrees_with_the_published_vector() {
    let text = include_str!("../../../tests/vectors/stint.json");
    let vector: Value = serde_json::from_str(text).unwrap();
    let bytes = |list: &str, i: usize| vector[list][i].as_str().unwrap().as_bytes().to_vec();
    // Its ids are of another alphabet: its headers are bytes to lint, hash, link and sign, not to parse.
    let mut leaves = vec![Digest::ZERO];
    for i in 0..2 {
        let (header, body) = (bytes("headers", i), bytes("bodies", i));
        let value = lint_header(&header).unwrap();
        assert_eq!(canonical(&value).unwrap(), header);
        assert_eq!(Body::parse(&body).unwrap().bytes().unwrap(), body);
        assert_eq!(value["body"], json!(Digest::of(&body)));
        assert_eq!(value["prev"], json!(leaves[i]));
        assert!(matches!(Header::parse(&header), Err(FormError::Id { .. })));
        let leaf = leaf_hash(&header);
        let hex = data_encoding::HEXLOWER.encode(leaf.as_bytes());
        assert_eq!(hex, vector["leaves_hex"][i].as_str().unwrap());
        leaves.push(leaf);
    }
    let checkpoint = Checkpoint {
        origin: LOG.into(),
        size: 2,
        root: root(&leaves[1..]),
    };
    let signed = log_key().sign(&checkpoint.text());
    assert_eq!(signed, vector["checkpoint"].as_str().unwrap());
}

#[test]
fn links_each_entry_to_the_one_before() {
    let batch = begun(40);
    let mut prev = Digest::ZERO;
    for (seq, (bytes, leaf)) in (0..).zip(batch.headers().iter().zip(batch.hashes())) {
        let header = Header::parse(bytes).unwrap();
        assert_eq!((header.seq, header.prev), (seq, prev));
        assert_eq!(header, batch.entries()[usize::try_from(seq).unwrap()]);
        prev = *leaf;
    }
    assert_eq!(*batch.head().last_leaf(), prev);
    assert_eq!(*batch.head().root(), root(batch.hashes()));
}

#[test]
fn every_receipt_proves_its_entry_and_the_head_extends_the_last() {
    let mut head = commit(begun(0)).head;
    for n in [1, 2, 3, 7, 64, 100, 512] {
        let before = head.clone();
        let drafts = (0..n).map(|i| grant(head.size() + i)).collect();
        let batch = head.extend("b", 0, drafts).unwrap();
        assert_eq!(batch.first_seq(), before.size());
        assert_eq!(batch.prev(), before.last_leaf());
        let proof = batch.growth.consistency(before.size()).unwrap();
        let (old, new) = (before.root(), *batch.head().root());
        let sizes = (before.size(), batch.head().size());
        assert!(verify_consistency((sizes.0, old), (sizes.1, &new), &proof));
        let durable = commit(batch);
        for receipt in &durable.receipts {
            let path = receipt.proven.growth.inclusion(receipt.seq()).unwrap();
            let (leaf, seq) = (receipt.leaf(), receipt.seq());
            assert!(verify_inclusion(leaf, seq, sizes.1, &path, &new));
        }
        head = durable.head;
    }
}

#[test]
fn time_never_falls() {
    let head = commit(begun(0)).head;
    let batch = head.extend("a", 1, vec![grant(1)]).unwrap();
    assert_eq!(batch.entries()[0].ts, 1_000);
}

#[test]
fn a_stored_head_comes_back_or_is_refused() {
    let batch = begun(6);
    let head = batch.head();
    assert_eq!(Head::restore(parts(head)).as_ref(), Ok(head));
    let mut bad = parts(head);
    bad.root = Digest::ZERO;
    assert_eq!(Head::restore(bad), Err(HeadError::Root(7)));
    let mut bad = parts(head);
    bad.last_leaf = Digest::ZERO;
    assert_eq!(Head::restore(bad), Err(HeadError::LastLeaf(7)));
    let mut bad = parts(head);
    bad.frontier.pop();
    assert!(matches!(Head::restore(bad), Err(HeadError::Frontier(_))));
}

#[test]
fn the_mac_covers_every_part_of_a_head() {
    let key = [9; 32];
    let batch = begun(6);
    let mac = batch.head().mac(&key);
    assert_ne!(batch.head().mac(&[8; 32]), mac);
    let changes: [fn(&mut Head); 5] = [
        |head| head.log = "other".into(),
        |head| head.last_leaf = Digest::ZERO,
        |head| head.root = Digest::ZERO,
        |head| head.last_ts += 1,
        |head| head.closed = true,
    ];
    for change in changes {
        let mut head = batch.head().clone();
        change(&mut head);
        assert_ne!(head.mac(&key), mac);
    }
    assert_ne!(begun(5).head().mac(&key), mac);
}

#[test]
fn refuses_what_does_not_extend() {
    let empty = Head::empty(LOG, 0);
    let refused = |entries: Vec<Entry>| empty.extend("a", 0, entries).unwrap_err();
    assert!(matches!(refused(vec![]), ExtendError::Size(0)));
    let many = vec![genesis(); MAX_BATCH + 1];
    assert!(matches!(refused(many), ExtendError::Size(513)));
    for entries in [vec![grant(1)], vec![genesis(), genesis()]] {
        let ExtendError::Entry { source, .. } = refused(entries) else {
            panic!("another error");
        };
        assert!(matches!(source, FormError::Genesis));
    }
    assert!(empty.extend("Node A", 0, vec![genesis()]).is_err());
    assert!(matches!(
        empty.extend("a", 1 << 53, vec![genesis()]),
        Err(ExtendError::Range)
    ));
}

#[test]
fn nothing_follows_the_end_of_an_epoch() {
    let what = Epoch {
        next: NextLog {
            log: "stint.example/ledger/1".into(),
            vkey: log_key().vkey(),
        },
        why: "planned".into(),
    };
    let end = Entry {
        by: Some(Digest::of(b"operator")),
        ..entry(id("ent_", 1), what, json!({}))
    };
    let head = commit(begun(0)).head;
    let both = head.extend("a", 0, vec![end.clone(), grant(1)]);
    assert!(matches!(both, Err(ExtendError::Closed(_))));
    let closed = commit(head.extend("a", 0, vec![end]).unwrap());
    assert!(closed.head.closed());
    let after = closed.head.extend("a", 0, vec![grant(1)]);
    assert!(matches!(after, Err(ExtendError::Closed(_))));
}
