use proptest::prelude::proptest;
use proptest::{prop_assert, sample};
use serde_json::{Map, Value, json};

use super::{Again, Decider, Name, Options, Report, State, verify, verify_with};
use crate::Digest;
use crate::Head;
use crate::bundle::tests::{bundle, log};
use crate::bundle::{
    BODIES, CHECKPOINT, Files, HEADERS, MANIFEST, OPENINGS, PROOF, Promise, RECEIPTS,
};
use crate::chain::tests::{
    commit, entry, genesis, grant, granted, id, log_key, object, policy, pseudonyms,
};
use crate::checkpoint::Checkpoint;
use crate::entry::{Entry, Header};
use crate::kind::{Basis, Erased};
use crate::note::LogKey;
use crate::trust::Trust;

const NOW: u64 = 61_000;

pub(super) fn trust() -> Trust {
    Trust {
        keys: vec![log_key().public().clone()],
        ..Trust::default()
    }
}

pub(super) fn options() -> Options {
    Options {
        now: NOW,
        ..Options::default()
    }
}

pub(super) fn whole(n: u64) -> Files {
    bundle(log(n), (0, n + 1), Some(Promise::default()), |_| true)
}

pub(super) fn judge(files: &Files) -> Report {
    verify_with(files, &trust(), &options(), Some(&Agrees))
}

/// A policy engine that always comes to the same outcome.
pub(super) struct Agrees;

impl Decider for Agrees {
    fn again(&self, _: &Header, _: &Map<String, Value>) -> Again {
        Again::Same
    }
}

pub(super) fn state(report: &Report, name: Name) -> State {
    let found = report.verdicts.iter().find(|it| it.name == name);
    found.unwrap().state
}

/// The report fails on `name`, and says `words`.
#[track_caller]
pub(super) fn fails(files: &Files, name: Name, words: &str) {
    let report = judge(files);
    let verdict = report.verdicts.iter().find(|it| it.name == name).unwrap();
    assert_eq!(verdict.state, State::Failed, "{report}");
    assert!(verdict.text.contains(words), "{report}");
    assert_eq!(report.exit, 8);
}

pub(super) fn edit(files: &mut Files, name: &str, change: impl FnOnce(&mut Vec<String>)) {
    let text = String::from_utf8(files[name].clone()).unwrap();
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    change(&mut lines);
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    files.insert(name.into(), text.into());
}

fn note(files: &Files) -> Checkpoint {
    let text = String::from_utf8(files[CHECKPOINT].clone()).unwrap();
    Checkpoint::parse_note(&text).unwrap().0
}

#[test]
fn verifies_every_range_of_a_log() {
    for (from, to) in [
        (0, 10),
        (0, 1),
        (1, 10),
        (3, 7),
        (4, 8),
        (6, 6),
        (9, 10),
        (0, 0),
    ] {
        let files = bundle(log(9), (from, to), Some(Promise::default()), |_| true);
        let report = judge(&files);
        assert_eq!(report.exit, 0, "{from} to {to}\n{report}");
        assert_eq!(report.summary, "verified");
    }
}

#[test]
fn reads_like_a_page() {
    let report = judge(&whole(3));
    assert_eq!(
        report.to_string(),
        "\
bundle    log stint.example/ledger, entries 0 to 3 (4), 1970-01-01 to 1970-01-01
ok        bytes      4 headers have their form and 4 bodies their salt and openings; they hash to what checkpoint 4 commits to
ok        chain      4 entries, each linked to the one before
ok        root       the entries lead to the root of checkpoint 4
ok        signature  signed by the pinned key of stint.example/ledger
not asked append     no remembered checkpoint to extend
not asked witnesses  no trust file says who the witnesses are: give one with --trust
ok        complete   every promised body is here; 4 bodies are open, 0 withheld, 0 erased
not asked fresh      no greatest age was given
ok        passkeys   no grant in the range rests on votes
ok        replay     2 decisions come out the same under the policy set in force
verified
"
    );
}

#[test]
fn without_a_pinned_key_it_never_says_verified() {
    let other = LogKey::from_seed(&[9; 32], "other.example/ledger").unwrap();
    let same_name = LogKey::from_seed(&[9; 32], crate::chain::tests::LOG).unwrap();
    for keys in [
        vec![],
        vec![other.public().clone()],
        vec![same_name.public().clone()],
    ] {
        let trust = Trust {
            keys,
            ..Trust::default()
        };
        let report = verify(&whole(3), &trust, &options());
        assert_eq!(state(&report, Name::Signature), State::Incomplete);
        assert_eq!(report.exit, 9);
        assert!(!report.to_string().contains("verified"), "{report}");
    }
}

#[test]
fn a_false_signature_fails() {
    let mut files = whole(3);
    edit(&mut files, CHECKPOINT, |lines| {
        lines[2] = lines[2].replace('=', "").to_lowercase() + "="
    });
    assert_eq!(judge(&files).exit, 8);
    let mut files = whole(3);
    let other = note(&whole(4));
    let line = String::from_utf8(files[CHECKPOINT].clone()).unwrap();
    let line = line.lines().last().unwrap().to_owned();
    files.insert(
        CHECKPOINT.into(),
        format!("{}\n{line}\n", other.text()).into(),
    );
    edit(&mut files, MANIFEST, |lines| {
        lines
            .iter_mut()
            .for_each(|line| *line = line.replace("\"size\": 4", "\"size\": 5"));
    });
    fails(&files, Name::Signature, "false");
}

#[test]
fn deletions_swaps_copies_and_insertions_are_named() {
    let with = |change: fn(&mut Vec<String>)| {
        let mut files = whole(9);
        edit(&mut files, HEADERS, change);
        files
    };
    fails(&with(|l| drop(l.remove(4))), Name::Chain, "entry 4 ");
    fails(&with(|l| l.swap(4, 5)), Name::Chain, "entry 4 ");
    fails(
        &with(|l| l.insert(4, l[4].clone())),
        Name::Chain,
        "entry 5 ",
    );
    fails(&with(|l| l.truncate(7)), Name::Chain, "entry 7 is missing");
    fails(
        &with(|l| l.push(l[9].clone())),
        Name::Chain,
        "behind the last",
    );
    fails(&with(|l| l.clear()), Name::Chain, "entry 0 is missing");
    fails(&with(|l| drop(l.remove(0))), Name::Root, "cannot be built");
}

#[test]
fn an_entry_of_another_log_is_named() {
    let mut files = whole(5);
    edit(&mut files, HEADERS, |l| {
        l[3] = l[3].replace("stint.example", "other.example")
    });
    fails(&files, Name::Chain, "entry 3 is not of this log");
}

#[test]
fn a_rewritten_log_fails_at_the_root() {
    let mut files = whole(9);
    let mut entries = vec![genesis(), policy(1)];
    entries.extend((2..=9).map(grant));
    entries[4].what = granted(400).into();
    let rewritten = Head::empty(crate::chain::tests::LOG, 0)
        .extend("a", 1_000, entries)
        .unwrap();
    let lines = rewritten
        .headers()
        .iter()
        .flat_map(|h| [h.as_slice(), b"\n"]);
    files.insert(HEADERS.into(), lines.flatten().copied().collect());
    let report = judge(&files);
    assert_eq!(state(&report, Name::Chain), State::Ok, "{report}");
    fails(&files, Name::Root, "checkpoint 10");
}

#[test]
fn bodies_are_held_to_their_headers() {
    let with = |change: fn(&mut Vec<String>)| {
        let mut files = whole(9);
        edit(&mut files, BODIES, change);
        files
    };
    fails(
        &with(|l| l[4] = l[4].replace("\"at\":4", "\"at\":5")),
        Name::Bytes,
        "body of entry 4",
    );
    fails(
        &with(|l| l[4] = l[4].replacen("AwMD", "BwMD", 1)),
        Name::Bytes,
        "body of entry 4",
    );
    fails(
        &with(|l| {
            let (a, b) = (l[4].replacen('4', "5", 1), l[5].replacen('5', "4", 1));
            (l[4], l[5]) = (b, a);
        }),
        Name::Bytes,
        "body of entry 4",
    );
    fails(
        &with(|l| l.swap(4, 5)),
        Name::Bytes,
        "body 4 stands behind body 5",
    );
    fails(
        &with(|l| l.push("77\t{}".into())),
        Name::Bytes,
        "body 77 belongs to no entry",
    );
    fails(
        &with(|l| l[2] = "nonsense".into()),
        Name::Bytes,
        "no seq and body",
    );
}

pub(super) fn extended(entry: Entry) -> Files {
    let entries = vec![genesis(), policy(1), grant(2), entry];
    let batch = Head::empty(crate::chain::tests::LOG, 0)
        .extend("a", 1_000, entries)
        .unwrap();
    bundle(batch, (0, 4), Some(Promise::default()), |_| true)
}

#[test]
fn openings_open_their_header_and_no_identity_has_two_pseudonyms() {
    let whose = |body: Value, subj: Digest| {
        let mut draft = grant(3);
        draft.subj = Some(subj);
        draft.body.what = object(body);
        extended(draft)
    };
    let id = "spiffe://stint.example/ci/2";
    let honest = pseudonyms().subject(id);
    let good = json!({"caller": {"id": id, "open": honest.open}});
    assert_eq!(judge(&whose(good.clone(), honest.pseudonym)).exit, 0);
    fails(&whose(good, Digest::ZERO), Name::Bytes, "another subj");
    fails(
        &whose(json!({"at": 1}), honest.pseudonym),
        Name::Bytes,
        "does not open its caller",
    );
    let open = Digest::of(b"another opening");
    let second = crate::subject::opened(&open, id);
    let twice = json!({"caller": {"id": id, "open": open}});
    fails(&whose(twice, second), Name::Bytes, "second pseudonym");
    let chain = json!({"caller": {"id": id, "open": honest.open}, "chain": [{"id": id, "open": honest.open}]});
    fails(
        &whose(chain, honest.pseudonym),
        Name::Bytes,
        "another behalf",
    );
}

#[test]
fn a_false_opening_fails() {
    let id = "spiffe://stint.example/ci/1";
    let subject = pseudonyms().subject(id);
    let mut files = whole(5);
    let line = format!("{}\t{id}\t{}\n", subject.pseudonym, subject.open);
    files.insert(OPENINGS.into(), line.clone().into());
    assert_eq!(judge(&files).exit, 0);
    files.insert(OPENINGS.into(), line.replace("ci/1", "ci/2").into());
    fails(&files, Name::Bytes, "does not open");
    files.insert(OPENINGS.into(), b"?\n".to_vec());
    fails(&files, Name::Bytes, "not pseudonym, id and opening");
}

#[test]
fn a_promised_body_is_here_or_erased() {
    let promise = Some(Promise {
        kinds: Some(["granted".into()].into()),
        who: None,
    });
    let files = bundle(log(9), (0, 10), promise.clone(), |seq| seq != 4);
    let report = judge(&files);
    assert_eq!(
        (state(&report, Name::Complete), report.exit),
        (State::Incomplete, 9)
    );
    assert!(
        report
            .to_string()
            .contains("the body of entry 4 was promised"),
        "{report}"
    );
    let report = judge(&bundle(log(9), (0, 10), None, |seq| seq > 4));
    assert_eq!(report.exit, 0);
    assert!(
        report.to_string().contains("5 bodies are open, 5 withheld"),
        "{report}"
    );

    let what = Erased {
        basis: Basis::Request,
        n: 2,
        ranges: vec![[2, 4]],
    };
    let erased = entry(id("ent_", 5), what, json!({}));
    let entries = vec![genesis(), policy(1), grant(2), grant(3), grant(4), erased];
    let batch = Head::empty(crate::chain::tests::LOG, 0)
        .extend("a", 1_000, entries)
        .unwrap();
    let report = judge(&bundle(batch, (0, 6), promise, |seq| {
        !(2..4).contains(&seq)
    }));
    assert_eq!(report.exit, 0, "{report}");
    assert!(
        report.to_string().contains("0 withheld, 2 erased"),
        "{report}"
    );
}

/// The attack of a log's own operator: an early `erased` that excuses whatever he withholds later.
#[test]
fn an_erasure_of_entries_to_come_fails() {
    let what = Erased {
        basis: Basis::Order,
        n: 1,
        ranges: vec![[1, 2]],
    };
    let entries = vec![genesis(), policy(1), entry(id("ent_", 2), what, json!({}))];
    let batch = Head::empty(crate::chain::tests::LOG, 0)
        .extend("a", 1_000, entries)
        .unwrap();
    let text = String::from_utf8(batch.headers()[2].clone()).unwrap();
    let text = text.replace(
        "\"n\":1,\"ranges\":[[1,2]]",
        "\"n\":9007199254740990,\"ranges\":[[1,9007199254740991]]",
    );
    let first = String::from_utf8(batch.headers()[0].clone()).unwrap();
    let second = String::from_utf8(batch.headers()[1].clone()).unwrap();
    let mut files = bundle(batch, (0, 3), Some(Promise::default()), |seq| seq != 1);
    assert_eq!(judge(&files).exit, 0);
    rebuild(&mut files, &[&first, &second, &text]);
    fails(&files, Name::Bytes, "entry 2 is malformed: erased ranges");
}

#[test]
fn an_erasure_outside_the_range_counts_when_it_is_proven() {
    let what = Erased {
        basis: Basis::Retention,
        n: 1,
        ranges: vec![[2, 3]],
    };
    let erased = entry(id("ent_", 5), what, json!({"ticket": "T-1"}));
    let entries = vec![genesis(), policy(1), grant(2), grant(3), grant(4), erased];
    let batch = || {
        let head = Head::empty(crate::chain::tests::LOG, 0);
        head.extend("a", 1_000, entries.clone()).unwrap()
    };
    let mut files = bundle(batch(), (0, 4), Some(Promise::default()), |seq| seq != 2);
    assert_eq!(judge(&files).exit, 9);
    let body = String::from_utf8(batch().bodies()[5].clone()).unwrap();
    let receipt = commit(batch()).receipts[5].proof_text();
    let name = format!("{RECEIPTS}5.tlog-proof");
    files.insert(name.clone(), receipt.clone().into());
    edit(&mut files, BODIES, |lines| lines.push(format!("5\t{body}")));
    let report = judge(&files);
    assert_eq!(report.exit, 0, "{report}");
    files.insert(name, receipt.replacen("index 5", "index 4", 1).into());
    fails(&files, Name::Root, "receipts/5.tlog-proof");
}

#[test]
fn append_knows_old_heads_and_forks() {
    let ask = |files: &Files, since: Checkpoint| {
        let options = Options {
            since: Some(since),
            ..options()
        };
        let report = verify(files, &trust(), &options);
        (state(&report, Name::Append), report.exit)
    };
    let at = |n: u64| Checkpoint {
        origin: crate::chain::tests::LOG.into(),
        size: n,
        root: *log(n - 1).head().root(),
    };
    let files = bundle(log(9), (4, 8), None, |_| false);
    assert_eq!(ask(&files, at(10)), (State::Ok, 0)); // the same
    assert_eq!(ask(&files, at(6)), (State::Ok, 0)); // on the way
    assert_eq!(ask(&files, at(4)), (State::Ok, 0)); // where it begins
    assert_eq!(ask(&files, at(2)), (State::Ok, 0)); // by the proof it carries
    assert_eq!(ask(&files, at(3)), (State::Incomplete, 9)); // no proof
    assert_eq!(ask(&files, at(12)), (State::Incomplete, 9)); // older than mine
    for n in [2, 4, 6, 10] {
        let fork = Checkpoint {
            root: Digest::ZERO,
            ..at(n)
        };
        assert_eq!(ask(&files, fork), (State::Failed, 8), "{n}");
    }
    let other = Checkpoint {
        origin: "other".into(),
        ..at(6)
    };
    assert_eq!(ask(&files, other), (State::Incomplete, 9));
    let remembered = Trust {
        remembered: Some(Checkpoint {
            root: Digest::ZERO,
            ..at(6)
        }),
        ..trust()
    };
    assert_eq!(verify(&files, &remembered, &options()).exit, 8);
}

#[test]
fn fresh_is_measured_against_the_last_entry() {
    let ask = |now, max_age| {
        let options = Options {
            now,
            max_age: Some(max_age),
            ..options()
        };
        verify(&whole(3), &trust(), &options).exit
    };
    assert_eq!(ask(61_000, 60_000), 0);
    assert_eq!(ask(61_001, 60_000), 9);
}

#[test]
fn fresh_allows_for_two_clocks() {
    let at = 1_000_000;
    let batch = Head::empty(crate::chain::tests::LOG, 0)
        .extend("a", at, vec![genesis()])
        .unwrap();
    let files = bundle(batch, (0, 1), None, |_| false);
    for (now, exit) in [(at, 0), (at - 1, 0), (at - 300_000, 0), (at - 300_001, 9)] {
        let options = Options {
            now,
            max_age: Some(0),
            ..options()
        };
        assert_eq!(verify(&files, &trust(), &options).exit, exit, "{now}");
    }
}

#[test]
fn finds_the_grant_of_a_credential() {
    let ask = |tbs| {
        let options = Options {
            credential: Some(tbs),
            ..options()
        };
        verify(&whole(5), &trust(), &options)
    };
    let report = ask(Digest::of(&3_u64.to_be_bytes()));
    assert_eq!(report.exit, 0);
    assert!(
        report.to_string().contains("granted by entry 3, gr_"),
        "{report}"
    );
    let report = ask(Digest::of(b"another credential"));
    assert_eq!(
        (state(&report, Name::Credential), report.exit),
        (State::Failed, 8)
    );
}

#[test]
fn all_asks_for_what_this_version_cannot_tell() {
    let options = Options {
        all: true,
        max_age: Some(NOW),
        ..options()
    };
    let report = verify(&whole(3), &trust(), &options);
    assert_eq!(report.exit, 9);
    assert_eq!(state(&report, Name::Replay), State::Incomplete);
    assert_eq!(state(&report, Name::Witnesses), State::Incomplete);
    assert!(report.verdicts.iter().all(|verdict| verdict.required));
}

#[test]
fn a_kind_it_does_not_know_is_reported_and_the_rest_is_checked() {
    let mut files = whole(2);
    let text = String::from_utf8(files[HEADERS].clone()).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let header = lines[2].replace("\"granted\"", "\"decided\"");
    lines[2] = &header;
    rebuild(&mut files, &lines);
    let report = judge(&files);
    assert!(
        report.to_string().contains("does not know: decided"),
        "{report}"
    );
    assert_eq!(report.exit, 0, "{report}");
}

#[test]
fn a_version_it_does_not_know_is_incomplete() {
    let mut files = whole(2);
    let text = String::from_utf8(files[HEADERS].clone()).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let header = lines[2].replace("\"v\":1", "\"v\":2");
    lines[2] = &header;
    rebuild(&mut files, &lines);
    let report = judge(&files);
    assert_eq!(
        (state(&report, Name::Bytes), report.exit),
        (State::Incomplete, 9),
        "{report}"
    );
    assert_eq!(state(&report, Name::Chain), State::Ok);
    assert_eq!(state(&report, Name::Root), State::Ok);
}

/// Puts `headers` into a bundle of as many and signs their root, as a later broker might.
pub(super) fn rebuild(files: &mut Files, headers: &[&str]) {
    let leaves: Vec<_> = headers
        .iter()
        .map(|h| crate::tree::leaf_hash(h.as_bytes()))
        .collect();
    let checkpoint = Checkpoint {
        origin: crate::chain::tests::LOG.into(),
        size: crate::tree::count(headers),
        root: crate::tree::root(&leaves),
    };
    files.insert(CHECKPOINT.into(), log_key().sign(&checkpoint.text()).into());
    files.insert(HEADERS.into(), format!("{}\n", headers.join("\n")).into());
}

#[test]
fn what_is_no_bundle_or_cut_off_fails() {
    let whole = whole(5);
    for name in [MANIFEST, CHECKPOINT, PROOF] {
        let mut files = whole.clone();
        files.remove(name);
        fails(&files, Name::Bytes, "not a bundle");
    }
    for name in [MANIFEST, CHECKPOINT, PROOF, HEADERS, BODIES] {
        let mut files = whole.clone();
        files.get_mut(name).unwrap().pop();
        assert_eq!(judge(&files).exit, 8, "{name}");
    }
    let mut files = whole.clone();
    files.insert(HEADERS.into(), vec![b'x'; 1 << 20]);
    fails(&files, Name::Bytes, "line of more than");
    let mut files = whole.clone();
    files.insert(PROOF.into(), vec![b' '; (1 << 20) + 1]);
    fails(&files, Name::Bytes, "longer than");
    let mut files = whole;
    edit(&mut files, MANIFEST, |lines| {
        lines
            .iter_mut()
            .for_each(|line| *line = line.replace("\"to\": 6", "\"to\": 7"));
    });
    fails(&files, Name::Bytes, "no range");
}

/// Each single bit of each header and body, and of the proofs: nothing can be changed unseen.
#[test]
fn each_bit_of_a_header_counts_and_the_entry_is_named() {
    let whole = whole(4);
    let lines: Vec<_> = whole[HEADERS].split(|b| *b == b'\n').collect();
    let (seq, start) = (2, lines[0].len() + lines[1].len() + 2);
    for bit in 0..lines[2].len() * 8 {
        let mut files = whole.clone();
        files.get_mut(HEADERS).unwrap()[start + bit / 8] ^= 1 << (bit % 8);
        let report = judge(&files);
        assert_eq!(report.exit, 8, "bit {bit}\n{report}");
        assert!(
            report.summary.contains(&format!("entry {seq}")),
            "bit {bit}\n{report}"
        );
    }
}

proptest! {
    #[test]
    fn one_changed_bit_anywhere_fails(
        name in sample::select(vec![HEADERS, BODIES, CHECKPOINT, PROOF]),
        at in 0_usize.., bit in 0..8_u8, range in sample::select(vec![(0, 12), (3, 7), (5, 12)]),
    ) {
        let mut files = bundle(log(11), range, Some(Promise::default()), |_| true);
        let file = files.get_mut(name).unwrap();
        let at = at % file.len();
        file[at] ^= 1 << bit;
        let report = judge(&files);
        // A changed name or key id is an unknown key, and an unused proof is nobody's: both decide nothing.
        prop_assert!(report.exit != 0 || name == PROOF, "{name} at {at}\n{report}");
        prop_assert!(report.exit == 8 || name == CHECKPOINT || name == PROOF, "{name} at {at}\n{report}");
    }
}
