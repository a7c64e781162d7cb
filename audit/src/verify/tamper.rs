//! The tamper matrix of LEDGER.md §15 on a bundle, one test a row; `tests.rs` has the variants, `passkeys/tests.rs` votes
//! and passkeys (T8, T11). T6, T7, T16 and T17 are attacks on a store or a broker, T15 is on the container (`clients/cli`).

use serde_json::{Map, Value, json};

use super::tests::{Agrees, edit, extended, fails, judge, options, rebuild, state, trust, whole};
use super::{Again, Decider, Name, Options, Report, State, verify, verify_with};
use crate::Digest;
use crate::Head;
use crate::bundle::tests::{bundle, log};
use crate::bundle::{BODIES, CHECKPOINT, Files, HEADERS, OPENINGS, Promise};
use crate::canonical::lint;
use crate::chain::tests::{
    LOG, entry, genesis, grant, granted, id, log_key, object, policy, pseudonyms,
};
use crate::checkpoint::Checkpoint;
use crate::cosign::WitnessKey;
use crate::entry::{Entry, Header};
use crate::kind::{
    Admin, AdminOp, CallerDisabled, Frozen, PolicyLoaded, Recovery, Scope, TaskClosed, TaskEnd,
    TaskOpened, Unfrozen, What,
};
use crate::note::LogKey;
use crate::trust::{Policy, Trust};

fn lines(files: &Files, name: &str) -> Vec<String> {
    let text = String::from_utf8(files[name].clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn with(name: &str, change: impl FnOnce(&mut Vec<String>)) -> Files {
    let mut files = whole(9);
    edit(&mut files, name, change);
    files
}

fn of(entries: Vec<Entry>) -> Files {
    let n = crate::tree::count(&entries);
    let batch = Head::empty(LOG, 0).extend("a", 1_000, entries).unwrap();
    bundle(batch, (0, n), Some(Promise::default()), |_| true)
}

/// The bundle of a log that goes on with `entries` after two grants: at 4, 5 …
fn goes_on(entries: Vec<Entry>) -> Files {
    let mut all = vec![genesis(), policy(1), grant(2), grant(3)];
    all.extend(entries);
    of(all)
}

#[test]
fn t01_a_flipped_bit_of_a_header_is_named() {
    let files = with(HEADERS, |l| l[4] = l[4].replace("\"exp\":9", "\"exp\":8"));
    fails(&files, Name::Chain, "entry 4 ");
    fails(&files, Name::Root, "entry 4 ");
}

#[test]
fn t02_another_body_or_opening_is_named() {
    for (from, to) in [("\"at\":4", "\"at\":5"), ("AwMD", "BwMD")] {
        let files = with(BODIES, |l| l[4] = l[4].replacen(from, to, 1));
        fails(&files, Name::Bytes, "the body of entry 4 is not the one");
    }
    let swapped = with(BODIES, |l| {
        let (four, five) = (l[4].clone(), l[5].clone());
        l[4] = five.replacen('5', "4", 1);
        l[5] = four.replacen('4', "5", 1);
    });
    fails(&swapped, Name::Bytes, "the body of entry 4 is not the one");
    let who = "spiffe://stint.example/ci/2"; // of entry 2
    let open = Digest::of(b"another opening");
    let twice = Entry {
        subj: Some(crate::subject::opened(&open, who)),
        body: crate::Body {
            salt: [3; 16],
            what: object(json!({"caller": {"id": who, "open": open}})),
        },
        ..grant(3)
    };
    fails(&extended(twice), Name::Bytes, "entry 3 gives");
    let mut files = whole(9);
    let subject = pseudonyms().subject("somebody else");
    let line = format!("{}\t{who}\t{}\n", subject.pseudonym, subject.open);
    files.insert(OPENINGS.into(), line.into());
    fails(&files, Name::Bytes, "does not open");
}

/// Without the log's key the tree is another one.
#[test]
fn t03_a_header_whose_hashes_were_all_made_anew_fails_at_the_root() {
    let mut entries = vec![genesis(), policy(1)];
    entries.extend((2..=9).map(grant));
    entries[4].what = granted(400).into();
    let forged = of(entries);
    let mut files = whole(9);
    files.insert(HEADERS.into(), forged[HEADERS].clone());
    files.insert(BODIES.into(), forged[BODIES].clone());
    let report = judge(&files);
    assert_eq!(state(&report, Name::Chain), State::Ok, "{report}");
    fails(&files, Name::Root, "does not hash to what checkpoint 10");
}

/// With the log's key everything of the file agrees, and what somebody keeps does not.
#[test]
fn t04_a_log_rewritten_with_its_own_key_is_a_fork_of_what_was_seen() {
    let mut entries = vec![genesis(), policy(1)];
    entries.extend((2..=9).map(grant));
    entries[4].what = granted(400).into();
    let forged = of(entries);
    assert_eq!(
        judge(&forged).exit,
        0,
        "nothing in the file itself shows it"
    );
    let seen = |n: u64| Checkpoint {
        origin: LOG.into(),
        size: n,
        root: *log(n - 1).head().root(),
    };
    for n in [5, 8, 10] {
        let options = Options {
            since: Some(seen(n)),
            ..options()
        };
        let report = verify(&forged, &trust(), &options);
        assert_eq!(state(&report, Name::Append), State::Failed, "{n}\n{report}");
        assert!(report.summary.contains("fork"), "{report}");
    }
    let options = Options {
        since: Some(seen(4)),
        ..options()
    };
    assert_eq!(
        verify(&forged, &trust(), &options).exit,
        0,
        "as far as 4 it is the same"
    );
    let mut other_key = whole(9);
    let stranger = LogKey::from_seed(&[9; 32], LOG).unwrap();
    let text = lines(&other_key, CHECKPOINT)[..3].join("\n") + "\n";
    other_key.insert(CHECKPOINT.into(), stranger.sign(&text).into());
    let report = judge(&other_key);
    assert_eq!(
        (state(&report, Name::Signature), report.exit),
        (State::Incomplete, 9)
    );
}

#[test]
fn t05_what_is_deleted_swapped_doubled_or_put_in_is_named() {
    fails(
        &with(HEADERS, |l| drop(l.remove(4))),
        Name::Chain,
        "entry 4 is not in its place",
    );
    fails(
        &with(HEADERS, |l| l.swap(4, 5)),
        Name::Chain,
        "entry 4 is not in its place",
    );
    let doubled = with(HEADERS, |l| l.insert(5, l[4].clone()));
    fails(&doubled, Name::Chain, "entry 5 is not in its place");
    let moved = with(HEADERS, |l| {
        l[4] = l[4].replace("stint.example", "other.example")
    });
    fails(&moved, Name::Chain, "entry 4 is not of this log");
}

#[test]
fn t09_a_credential_without_its_grant_fails() {
    let ask = |files: &Files, tbs: Digest| {
        let options = Options {
            credential: Some(tbs),
            ..options()
        };
        let report = verify(files, &trust(), &options);
        (state(&report, Name::Credential), report.exit)
    };
    let tbs = |n: u64| Digest::of(&n.to_be_bytes());
    assert_eq!(ask(&whole(5), tbs(4)), (State::Ok, 0));
    assert_eq!(ask(&whole(5), tbs(6)), (State::Failed, 8));
    // Two grants for one credential: the second is somebody's lie.
    let twin = Entry {
        id: id("gr_", 9),
        ..grant(3)
    };
    assert_eq!(ask(&goes_on(vec![twin]), tbs(3)), (State::Failed, 8));
}

fn act(n: u64, what: impl Into<What>, subj: Option<Digest>) -> Entry {
    Entry {
        subj,
        by: Some(Digest::of(b"operator")),
        ..entry(id("ent_", n), what, json!({}))
    }
}

fn frozen(n: u64, scope: Scope, target: Option<&str>) -> Entry {
    let mut entry = act(n, Frozen { revokes: 0, scope }, None);
    entry
        .body
        .what
        .extend(target.map(|it| ("target".to_owned(), it.into())));
    entry
}

/// A grant to a caller of the issuer `ci`, for `deploy`.
fn grant_of_ci(n: u64) -> Entry {
    let mut grant = grant(n);
    grant.body.what["caller"]["issuer"] = "ci".into();
    grant.body.what["query"]["action"] = "Action::\"deploy\"".into();
    grant
}

/// What came back of a lost log is the entry it says, unchanged.
#[test]
fn t02_another_entry_than_the_one_that_came_back_is_named() {
    let lost = whole(9);
    let (header, body) = (
        lines(&lost, HEADERS).remove(5),
        lines(&lost, BODIES).remove(5),
    );
    let body = body.split_once('\t').unwrap().1.to_owned();
    let back = |old, header: &str, body: Option<&str>| {
        let mut what = json!({"header": header, "source": "bundle kept.stint"});
        if let Some(body) = body {
            what["body"] = body.into();
        }
        goes_on(vec![entry(id("ent_", 4), Recovery::Entry { old }, what)])
    };
    assert_eq!(judge(&back(5, &header, Some(&body))).exit, 0);
    assert_eq!(judge(&back(5, &header, None)).exit, 0);
    let named = "the body of entry 4 does not hold the header of entry";
    fails(&back(6, &header, None), Name::Bytes, named);
    fails(
        &back(5, &header.replace(',', ", "), None),
        Name::Bytes,
        named,
    );
    let another = "the body of entry 4 holds another body than that of entry 5";
    fails(
        &back(5, &header, Some(&body.replace("AwMD", "BwMD"))),
        Name::Bytes,
        another,
    );
}

#[test]
fn t10_a_grant_under_a_freeze_is_named() {
    for (scope, target) in [
        (Scope::All, None),
        (Scope::Issuer, Some("ci")),
        (Scope::Action, Some("Action::\"deploy\"")),
    ] {
        let freeze = || frozen(4, scope, target);
        let files = goes_on(vec![freeze(), grant_of_ci(5)]);
        fails(
            &files,
            Name::Replay,
            "entry 5 is a grant under the freeze of entry 4",
        );
        let lift = Unfrozen { of: 4, scope };
        let lifted = goes_on(vec![freeze(), act(5, lift, None), grant_of_ci(6)]);
        assert_eq!(judge(&lifted).exit, 0);
    }
    let other = goes_on(vec![
        frozen(4, Scope::Issuer, Some("other")),
        grant_of_ci(5),
    ]);
    assert_eq!(judge(&other).exit, 0);
}

#[test]
fn t10_a_grant_to_a_disabled_caller_or_in_a_closed_task_is_named() {
    let subj = grant(5).subj;
    let disabled = || act(4, CallerDisabled { revokes: 0 }, subj);
    let files = goes_on(vec![disabled(), grant(5)]);
    fails(
        &files,
        Name::Replay,
        "entry 5 is a grant to a caller that entry 4 disabled",
    );
    let enabled = Admin {
        n: None,
        of: Some(4),
        op: AdminOp::CallerEnabled,
    };
    let files = goes_on(vec![disabled(), act(5, enabled, None), grant(9)]);
    assert_eq!(judge(&files).exit, 0);

    let closed = |task: u64| TaskClosed {
        revokes: 0,
        task: id("task_", task),
        until: 0,
        why: TaskEnd::Completed,
    };
    let close = |n, task| act(n, closed(task), grant(task).subj);
    let files = goes_on(vec![close(4, 5), grant(5)]);
    fails(
        &files,
        Name::Replay,
        "entry 5 is a grant in a task that was closed before",
    );
    // So do its descendants end: 6 is a child of 7, which is one of 8.
    let child = |n: u64, task: u64, parent: u64| Entry {
        subj: grant(task).subj,
        ..entry(
            id("task_", n),
            TaskOpened {
                deadline: 9,
                parent: Some(id("task_", parent)),
                task: id("task_", task),
            },
            json!({}),
        )
    };
    let files = goes_on(vec![child(4, 7, 8), child(5, 6, 7), close(6, 8), grant(6)]);
    fails(
        &files,
        Name::Replay,
        "entry 7 is a grant in a task that was closed before",
    );
    let files = goes_on(vec![child(4, 7, 8), child(5, 6, 7), close(6, 7), grant(8)]);
    assert_eq!(judge(&files).exit, 0);
}

#[test]
fn t10_a_decision_under_a_policy_set_that_is_not_in_force_is_named() {
    let other = Digest::of(b"another policy");
    let under = |n| Entry {
        pol: Some(other),
        ..grant(n)
    };
    fails(
        &goes_on(vec![under(4)]),
        Name::Replay,
        "entry 4 names policy set",
    );
    let load = |ok, was| PolicyLoaded {
        ok,
        tried: None,
        was,
    };
    let loaded = |n, pol: Digest, ok, was| Entry {
        pol: Some(pol),
        ..entry(id("ent_", n), load(ok, was), json!({}))
    };
    let first = Digest::of(b"policy");
    let files = goes_on(vec![loaded(4, other, true, Some(first)), under(5)]);
    assert_eq!(judge(&files).exit, 0);
    let files = goes_on(vec![loaded(4, other, true, Some(first)), grant(5)]);
    fails(&files, Name::Replay, "entry 5 names policy set");
    let files = goes_on(vec![loaded(4, other, true, Some(other))]);
    fails(
        &files,
        Name::Replay,
        "entry 4 replaces a policy set that was not in force",
    );
    // One that was refused leaves the other in force.
    let files = goes_on(vec![loaded(4, first, false, None), grant(5)]);
    assert_eq!(judge(&files).exit, 0);
    fails(
        &of(vec![genesis(), grant(1)]),
        Name::Replay,
        "entry 1 names policy set",
    );
}

/// Says of one entry what it is told to.
struct Says(u64, Again);

impl Decider for Says {
    fn again(&self, header: &Header, _: &Map<String, Value>) -> Again {
        if header.seq == self.0 {
            self.1.clone()
        } else {
            Again::Same
        }
    }
}

#[test]
fn t10_another_outcome_is_named_with_its_difference() {
    let ask = |again: Again, all| -> Report {
        let options = Options { all, ..options() };
        verify_with(&whole(9), &trust(), &options, Some(&Says(4, again)))
    };
    let differs = ask(Again::Differs("it is a deny".into()), false);
    assert_eq!(
        (state(&differs, Name::Replay), differs.exit),
        (State::Failed, 8)
    );
    assert!(
        differs
            .summary
            .contains("entry 4 is not what policy decides: it is a deny")
    );
    let unknown = ask(Again::Unknown("no files".into()), false);
    assert_eq!(
        (state(&unknown, Name::Replay), unknown.exit),
        (State::Incomplete, 0)
    );
    assert_eq!(unknown.summary, "verified  1 item to look at");
    assert_eq!(ask(Again::Unknown("no files".into()), true).exit, 9);
    assert_eq!(ask(Again::NotAsked, false).summary, "verified");
    let withheld = bundle(log(9), (0, 10), None, |seq| seq != 4);
    let report = verify_with(&withheld, &trust(), &options(), Some(&Agrees));
    let replay = report.verdicts.iter().find(|it| it.name == Name::Replay);
    assert_eq!(
        replay.map(|it| (it.state, it.seq)),
        Some((State::Incomplete, Some(4)))
    );
}

#[test]
fn t12_what_is_left_out_old_or_unwitnessed_cannot_be_told() {
    let left_out = bundle(log(9), (0, 10), Some(Promise::default()), |seq| seq != 4);
    let report = judge(&left_out);
    assert_eq!(
        (state(&report, Name::Complete), report.exit),
        (State::Incomplete, 9)
    );
    let stale = Options {
        max_age: Some(1),
        ..options()
    };
    let report = verify(&whole(3), &trust(), &stale);
    assert_eq!(
        (state(&report, Name::Fresh), report.exit),
        (State::Incomplete, 9)
    );
    let report = verify(&whole(3), &watched(&witness()), &options());
    assert_eq!(
        (state(&report, Name::Witnesses), report.exit),
        (State::Incomplete, 9)
    );
    let old = Options {
        since: Some(log(20).head().checkpoint()),
        ..options()
    };
    let report = verify(&whole(3), &trust(), &old);
    assert_eq!(
        (state(&report, Name::Append), report.exit),
        (State::Incomplete, 9)
    );
}

fn witness() -> WitnessKey {
    WitnessKey::from_seed(&[7; 32], "witness.example/w").unwrap()
}

fn watched(by: &WitnessKey) -> Trust {
    let policy = format!("witness w {}\nquorum w\n", by.public());
    Trust {
        policy: Some(Policy::parse(policy.as_bytes()).unwrap()),
        ..trust()
    }
}

/// `whole(3)`, its checkpoint cosigned at a second.
fn cosigned(at: u64) -> Files {
    let mut files = whole(3);
    let note = String::from_utf8(files[CHECKPOINT].clone()).unwrap();
    let text = lines(&files, CHECKPOINT)[..3].join("\n") + "\n";
    let line = witness().cosign(&text, at).unwrap();
    files.insert(CHECKPOINT.into(), format!("{note}{line}\n").into());
    files
}

#[test]
fn a_cosignature_tells_what_was_seen_and_when() {
    let ask = |at, max_age| {
        let options = Options {
            max_age: Some(max_age),
            ..options()
        };
        verify(&cosigned(at), &watched(&witness()), &options)
    };
    assert_eq!(ask(61, 0).exit, 0);
    assert!(
        ask(61, 0)
            .to_string()
            .contains("1 of 1 witnesses cosigned: w")
    );
    assert_eq!(ask(60, 999).exit, 9, "a second old");
    let report = ask(61 + 301, 0);
    assert_eq!(
        (state(&report, Name::Fresh), report.exit),
        (State::Failed, 8)
    );
    let mut files = cosigned(61);
    edit(&mut files, CHECKPOINT, |l| {
        let last = l.last_mut().unwrap();
        *last = last.replacen("AAAAAA", "AAAAAB", 1);
    });
    let report = verify(&files, &watched(&witness()), &options());
    assert_eq!(
        (state(&report, Name::Witnesses), report.exit),
        (State::Failed, 8),
        "{report}"
    );
}

#[test]
fn t13_twins_of_a_header_and_of_a_body_are_refused() {
    let twins: [fn(&str) -> String; 8] = [
        |l| l.replacen("\"seq\":2", "\"seq\":2,\"seq\":2", 1),
        |l| l.replacen("\"ts\":1000", "\"ts\":1000.0", 1),
        |l| l.replacen("\"ts\":1000", "\"ts\":-0", 1),
        |l| l.replacen("\"ts\":1000", "\"ts\":9007199254740992", 1),
        |l| l.replacen("granted", "\\u0067ranted", 1),
        |l| l.replacen("\"v\":1,", "", 1).replacen('{', "{\"v\":1,", 1),
        |l| format!("\u{feff}{l}"),
        |l| l.replacen("\"v\":1", "\"u\":1,\"v\":1", 1),
    ];
    let text = lines(&whole(2), HEADERS);
    for (n, twin) in twins.iter().enumerate() {
        let mut files = whole(2);
        let spoiled = twin(&text[2]);
        assert_ne!(spoiled, text[2], "twin {n} is none");
        rebuild(&mut files, &[&text[0], &text[1], &spoiled]);
        fails(&files, Name::Bytes, "entry 2 is malformed");
    }
    let body: Vec<u8> = lines(&whole(2), BODIES)[2].as_bytes()[2..].to_vec();
    assert!(lint(&body, 65_536, 16).is_ok());
    for twin in ["{ ", "{\"salt\":\"\",", "{\"x\":\"\\ud800\","] {
        let spoiled = String::from_utf8(body.clone())
            .unwrap()
            .replacen('{', twin, 1);
        assert!(lint(spoiled.as_bytes(), 65_536, 16).is_err(), "{spoiled}");
    }
}

#[test]
fn t14_notes_that_are_none_fail_and_strangers_signatures_are_ignored() {
    let note = String::from_utf8(whole(3)[CHECKPOINT].clone()).unwrap();
    let text = lines(&whole(3), CHECKPOINT)[..3].join("\n") + "\n";
    let stranger = LogKey::from_seed(&[9; 32], "stranger.example/log").unwrap();
    let signed = stranger.sign(&text);
    let line = signed.lines().last().unwrap();
    let ask = |note: String| {
        let mut files = whole(3);
        files.insert(CHECKPOINT.into(), note.into());
        judge(&files).exit
    };
    assert_eq!(ask(format!("{note}{line}\n")), 0);
    assert_eq!(ask(format!("{note}{}", format!("{line}\n").repeat(16))), 0);
    assert_eq!(ask(format!("{note}{}", format!("{line}\n").repeat(64))), 8);
    assert_eq!(ask(signed.clone()), 9, "nobody known signed it");
    let ours = log_key().sign(&text.replace("\n4\n", "\n5\n"));
    let false_line = ours.lines().last().unwrap();
    assert_eq!(ask(format!("{text}\n{false_line}\n")), 8);
    assert_eq!(ask(note.replace('\n', "\r\n")), 8);
    assert_eq!(ask(note.trim_end().to_owned()), 8);
    let extended = log_key().sign(&format!("{text}extension\n"));
    assert_eq!(ask(extended), 8);
}
