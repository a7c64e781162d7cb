use std::io;

use super::{BODIES, Contents, Files, HEADERS, MANIFEST, Manifest, Promise, Proofs, README, write};
use crate::Digest;
use crate::chain::tests::{LOG, commit, genesis, grant, log_key, policy};
use crate::{Batch, Head};

/// A log of genesis, a policy set and grants, up to entry `n`, as one batch.
pub(crate) fn log(n: u64) -> Batch {
    let mut entries = vec![genesis(), policy(1)];
    entries.extend((2..=n).map(grant));
    entries.truncate(usize::try_from(n).unwrap() + 1);
    Head::empty(LOG, 0).extend("a", 1_000, entries).unwrap()
}

/// The bundle of entries `from` to `to` of `batch`, a whole log, with the bodies that `chosen` picks.
pub(crate) fn bundle(
    batch: Batch,
    (from, to): (u64, u64),
    promise: Option<Promise>,
    chosen: impl Fn(u64) -> bool,
) -> Files {
    let growth = crate::tree::Growth::new(&crate::tree::Frontier::default(), batch.hashes());
    let since: Vec<u64> = [2, 5].into_iter().filter(|m| *m <= growth.size()).collect();
    let proofs = Proofs::of(&growth, from, to, &since).unwrap();
    let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
    let headers = batch.headers()[range.clone()].to_vec();
    let bodies = (from..to).zip(batch.bodies()[range].to_vec());
    let chosen: Vec<_> = bodies.filter(|(seq, _)| chosen(*seq)).collect();
    let size = batch.head().size();
    let checkpoint = commit(batch).checkpoint;
    let contents = Contents {
        manifest: Manifest {
            v: 1,
            log: LOG.into(),
            epoch: 0,
            from,
            to,
            size,
            made_at: 2_000,
            filter: None,
            promise,
            files: vec![],
        },
        checkpoint: &checkpoint,
        proofs,
        receipts: &[],
        openings: &[],
        keys: &[log_key().public().clone()],
        files: &[("policies/x/y.cedar".to_owned(), b"// none".to_vec())],
    };
    let mut files = Files::new();
    let mut headers = headers.into_iter().map(io::Result::Ok);
    let mut bodies = chosen.into_iter().map(io::Result::Ok);
    write(&mut files, contents, &mut headers, &mut bodies).unwrap();
    files
}

#[test]
fn a_bundle_is_plain_files_with_their_hashes() {
    let files = bundle(log(3), (0, 4), None, |seq| seq == 2);
    let manifest: Manifest = serde_json::from_slice(&files[MANIFEST]).unwrap();
    for claim in &manifest.files {
        let bytes = &files[&claim.name];
        assert_eq!(claim.length, crate::tree::count(bytes), "{}", claim.name);
        assert_eq!(claim.hash, Digest::of(bytes), "{}", claim.name);
    }
    assert_eq!(files.len(), manifest.files.len() + 1);
    assert_eq!(files[HEADERS].iter().filter(|b| **b == b'\n').count(), 4);
    assert!(files[BODIES].starts_with(b"2\t{\"salt\":"));
    let readme = String::from_utf8(files[README].clone()).unwrap();
    assert!(readme.contains("stint ledger verify") && readme.contains("printf '\\0'"));
}

#[test]
fn refuses_to_write_another_number_of_headers() {
    let contents = Contents {
        manifest: Manifest {
            v: 1,
            log: LOG.into(),
            epoch: 0,
            from: 0,
            to: 2,
            size: 2,
            made_at: 0,
            filter: None,
            promise: None,
            files: vec![],
        },
        checkpoint: "",
        proofs: Proofs::default(),
        receipts: &[],
        openings: &[],
        keys: &[],
        files: &[],
    };
    let mut headers = std::iter::once(Ok(b"{}".to_vec()));
    let refused = write(
        &mut Files::new(),
        contents,
        &mut headers,
        &mut std::iter::empty(),
    );
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_promise_covers_what_fits_all_its_members() {
    let batch = log(3);
    let [genesis, _, first, second] = batch.entries() else {
        panic!("three entries");
    };
    let all = Promise::default();
    assert!(all.covers(genesis) && all.covers(first));
    let grants = Promise {
        kinds: Some(["granted".into()].into()),
        who: None,
    };
    assert!(!grants.covers(genesis) && grants.covers(first));
    let theirs = Promise {
        who: Some([first.subj.unwrap()].into()),
        ..grants
    };
    assert!(theirs.covers(first) && !theirs.covers(second));
}
