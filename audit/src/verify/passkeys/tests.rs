//! Rows T8 (votes and passkeys without their entries) and T11 of LEDGER.md §15, as an auditor meets them: the log's own
//! operator wrote, hashed and signed all of it.

use serde_json::{Value, json};

use crate::bundle::tests::bundle;
use crate::bundle::{BODIES, Files, HEADERS, Promise, RECEIPTS};
use crate::chain::tests::{LOG, entry, genesis, object, policy};
use crate::entry::Entry;
use crate::harness::passkey::Passkey;
use crate::harness::votes::{Ballot, CALLER, Draft, LASTS, ORIGIN, Person, RP, Votes, id};
use crate::kind::What;
use crate::receipt::Proof;
use crate::tree::{Frontier, Growth, leaf_hash};
use crate::verify::tests::{edit, judge, state};
use crate::verify::{Name, Report, State};
use crate::{Digest, Head};

/// Every entry is of this time; an approval ends [`LASTS`] later.
const TS: u64 = 1_000;
const END: u64 = TS + LASTS * 1_000;

fn votes() -> Votes {
    let key = std::array::from_fn(|i| 0x20 + u8::try_from(i).unwrap());
    Votes::new(LOG, key, Digest::of(b"policy"))
}

/// Each name has its own key, always the same.
fn person(name: &str) -> Person {
    let seed = name.bytes().fold(0, u8::wrapping_add);
    votes().person(name, Passkey::seeded(seed, RP, ORIGIN))
}

/// A draft as entry `seq`.
fn written(seq: u64, draft: &Draft) -> Entry {
    let what = What::parse(draft.kind.to_owned(), object(draft.what.clone())).unwrap();
    let entry = entry(id(draft.prefix, seq), what, draft.body.clone());
    let [subj, by, pol] = draft.people.map(|(_, digest)| digest);
    Entry {
        subj,
        by,
        pol,
        ..entry
    }
}

/// The log of genesis, a policy set and `drafts`, from seq 2 on; the bundle of what is there from `from`.
fn log(drafts: &[Draft], from: u64) -> Files {
    let mut entries = vec![genesis(), policy(1)];
    entries.extend((2..).zip(drafts).map(|(seq, draft)| written(seq, draft)));
    let n = crate::tree::count(&entries);
    let batch = Head::empty(LOG, 0).extend("a", TS, entries).unwrap();
    bundle(batch, (from, n), Some(Promise::default()), |_| true)
}

fn verdict(report: &Report) -> (State, Option<u64>, &str) {
    let found = report
        .verdicts
        .iter()
        .find(|it| it.name == Name::Passkeys)
        .unwrap();
    (found.state, found.seq, &found.text)
}

fn lines(files: &Files, name: &str) -> Vec<String> {
    let text = String::from_utf8(files[name].clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[track_caller]
fn holds(drafts: &[Draft], text: &str) {
    let report = judge(&log(drafts, 0));
    assert_eq!(verdict(&report), (State::Ok, None, text), "{report}");
    assert_eq!(report.exit, 0, "{report}");
}

#[track_caller]
fn fails(drafts: &[Draft], seq: u64, words: &str) {
    let report = judge(&log(drafts, 0));
    let (state, at, text) = verdict(&report);
    assert_eq!((state, at), (State::Failed, Some(seq)), "{report}");
    assert!(text.contains(words), "{report}");
    assert_eq!(report.exit, 8);
    let others = report
        .verdicts
        .iter()
        .filter(|it| it.name != Name::Passkeys);
    assert!(
        others.clone().all(|it| it.state != State::Failed),
        "{report}"
    );
}

#[track_caller]
fn cannot_tell(files: &Files, seq: u64, words: &str) {
    let report = judge(files);
    let (state, at, text) = verdict(&report);
    assert_eq!((state, at), (State::Incomplete, Some(seq)), "{report}");
    assert!(text.contains(words), "{report}");
}

/// Dana and Lee enrol (2, 3); somebody asks for one of `sre` (4); Dana's ballot is what `bend` makes of it (5), and the
/// credential is granted (6).
fn story(bend: impl FnOnce(&Person, Ballot<'_>) -> Draft) -> Vec<Draft> {
    let (votes, dana, lee) = (votes(), person("dana"), person("lee"));
    let ballot = votes.ballot(&dana, 2, 4, "yes");
    vec![
        votes.enrol(&dana),
        votes.enrol(&lee),
        votes.request(4, &[("sre", 1)]),
        bend(&lee, ballot),
        votes.grant(6, 4, &[5], END),
    ]
}

/// The facts are bent, then signed.
fn facts(bend: impl FnOnce(&mut Value)) -> Vec<Draft> {
    story(|_, mut ballot| {
        bend(&mut ballot.facts);
        ballot.sign()
    })
}

/// What is in the body is bent after it was signed.
fn body(bend: impl FnOnce(&mut Value)) -> Vec<Draft> {
    story(|_, ballot| {
        let mut draft = ballot.sign();
        bend(&mut draft.body);
        draft
    })
}

#[test]
fn a_grant_rests_on_votes_that_are_signed_over_their_facts() {
    holds(
        &story(|_, ballot| ballot.sign()),
        "1 of 1 votes are signed over their facts",
    );
    // The other algorithms, a note, a second request by the same people, and a no.
    let votes = votes();
    let dana = votes.person("dana", Passkey::new(RP, ORIGIN));
    let mut lee = votes.person("lee", Passkey::rs256(RP, ORIGIN));
    lee.groups = vec!["security".into(), "sre".into()];
    let mut noted = votes.ballot(&lee, 3, 4, "yes");
    noted.facts["note"] = json!("seen the change");
    noted.facts["lasts_s"] = json!(300);
    let drafts = [
        votes.enrol(&dana),
        votes.enrol(&lee),
        votes.request(4, &[("security", 1), ("sre", 1)]),
        votes.ballot(&dana, 2, 4, "yes").sign(),
        noted.sign(),
        votes.grant(7, 4, &[5, 6], TS + 300_000),
        votes.request(8, &[("sre", 1)]),
        votes.ballot(&dana, 2, 8, "no").sign(),
    ];
    holds(&drafts, "3 of 3 votes are signed over their facts");
}

#[test]
fn t11_swapped_facts() {
    for (name, value) in [
        ("v", json!(2)),
        ("log", json!("other.example/ledger")),
        ("digest", json!(Digest::of(b"another ask"))),
        ("pol", json!(Digest::of(b"another policy"))),
        ("vote", json!("no")),
        ("approver", json!("spiffe://stint.example/user/lee")),
        ("shown", json!([])),
        ("lasts_s", json!(0)),
        ("origin", json!("https://evil.example")),
        ("origin", json!("stint.example")),
    ] {
        // Signed as they are: it is not what the header says.
        let words = if name == "origin" { "" } else { "signed over" };
        fails(&facts(|it| it[name] = value.clone()), 5, words);
        // Swapped afterwards: the signature is over others.
        fails(&body(|it| it["facts"][name] = value.clone()), 5, words);
    }
    let longer = body(|it| it["facts"]["lasts_s"] = json!(LASTS * 2));
    fails(&longer, 5, "signed over another challenge");
    let shown = body(|it| it["facts"]["shown"][0][1] = json!("Lets acme/web look at staging."));
    fails(&shown, 5, "signed over another challenge");
    let nonce = body(|it| it["nonce"] = json!(Digest::of(b"another")));
    fails(&nonce, 5, "signed over another challenge");
    fails(&body(|it| it["note"] = json!("words")), 5, "`note`");
}

#[test]
fn t11_other_request() {
    fails(
        &facts(|it| it["request"] = json!(id("req_", 9))),
        5,
        "another request",
    );
    // The vote on one request, replayed on the next of the same caller.
    let mut drafts = story(|_, ballot| ballot.sign());
    let mut again = drafts[3].clone();
    again.what["request"] = json!(id("req_", 7));
    drafts.extend([
        votes().request(7, &[("sre", 1)]),
        again,
        votes().grant(9, 7, &[8], END),
    ]);
    fails(&drafts, 8, "another request");
}

#[test]
fn t11_foreign_challenge() {
    let signed =
        |challenge: &[u8]| story(|_, ballot| ballot.with(&ballot.person.passkey.sign(challenge)));
    fails(&signed(b""), 5, "another challenge");
    fails(
        &signed(Digest::of(b"a login elsewhere").as_bytes()),
        5,
        "another challenge",
    );
    let enrolment = story(|_, ballot| {
        let key = &ballot.person.passkey;
        let client = key.client_data("webauthn.create", ballot.challenge().as_bytes());
        ballot.with(&key.seal(key.authenticator_data(0), client.to_string().into()))
    });
    fails(&enrolment, 5, "another ceremony");
}

/// A story in which Dana's own key is what `make` makes.
fn keyed(make: impl FnOnce() -> Passkey) -> Vec<Draft> {
    let (votes, lee) = (votes(), person("lee"));
    let dana = votes.person("dana", make());
    vec![
        votes.enrol(&dana),
        votes.enrol(&lee),
        votes.request(4, &[("sre", 1)]),
        votes.ballot(&dana, 2, 4, "yes").sign(),
        votes.grant(6, 4, &[5], END),
    ]
}

#[test]
fn t11_no_user_verification_and_other_pages() {
    fails(
        &keyed(|| Passkey::new(RP, ORIGIN).unverified()),
        5,
        "was not verified",
    );
    fails(
        &keyed(|| Passkey::new(RP, ORIGIN).absent()),
        5,
        "nobody was present",
    );
    fails(
        &keyed(|| Passkey::new("evil.example", ORIGIN)),
        5,
        "another relying party",
    );
    fails(
        &keyed(|| Passkey::new(RP, "https://evil.example")),
        5,
        "another origin",
    );
    let framed = story(|_, ballot| {
        let key = &ballot.person.passkey;
        let mut client = key.client_data("webauthn.get", ballot.challenge().as_bytes());
        client["crossOrigin"] = json!(true);
        ballot.with(&key.seal(key.authenticator_data(0), client.to_string().into()))
    });
    fails(&framed, 5, "in a frame");
}

#[test]
fn t11_retired_and_foreign_keys() {
    let (votes, dana) = (votes(), person("dana"));
    let retired = [
        votes.enrol(&dana),
        votes.retire(&dana, 2),
        votes.request(4, &[("sre", 1)]),
        votes.ballot(&dana, 2, 4, "yes").sign(),
        votes.grant(6, 4, &[5], END),
    ];
    fails(&retired, 5, "a retired passkey, that of entry 2");
    let mut later = story(|_, ballot| ballot.sign());
    later.push(votes.retire(&dana, 2));
    holds(&later, "1 of 1 votes are signed over their facts");
    // Signed by another's key, said to be one's own; and the other's entry named.
    let swapped =
        story(|lee, ballot| ballot.with(&lee.passkey.sign(ballot.challenge().as_bytes())));
    fails(&swapped, 5, "another credential");
    let named = story(|lee, mut ballot| {
        ballot.key_seq = 3;
        ballot.with(&lee.passkey.sign(ballot.challenge().as_bytes()))
    });
    fails(&named, 5, "somebody else's passkey");
    let forged = story(|lee, ballot| {
        let mut assertion = lee.passkey.sign(ballot.challenge().as_bytes());
        assertion.credential = ballot.person.passkey.credential().to_vec();
        ballot.with(&assertion)
    });
    fails(&forged, 5, "the signature is false");
    let mut unshown = story(|_, ballot| ballot.sign());
    unshown[0].what["key"] = json!(Digest::of(b"another key"));
    fails(&unshown, 5, "does not show");
    let mut elsewhere = story(|_, ballot| ballot.sign());
    elsewhere[0].body["rp"] = json!("evil.example");
    fails(&elsewhere, 5, "another host");
}

#[test]
fn t11_askers_own() {
    let votes = votes();
    let mut asker = person("dana");
    asker.id = CALLER.to_owned();
    let initiator = person("initiator");
    for (own, words) in [(asker, "who asked"), (initiator, "who started")] {
        let drafts = [
            votes.enrol(&own),
            votes.request(3, &[("sre", 1)]),
            votes.ballot(&own, 2, 3, "yes").sign(),
            votes.grant(5, 3, &[4], END),
        ];
        fails(&drafts, 4, words);
    }
    // In the chain of whom the caller acts for.
    let mut drafts = story(|_, ballot| ballot.sign());
    drafts[2].body["chain"] =
        json!([{"id": "x", "open": Digest::of(b"x")}, drafts[0].body["person"]]);
    let x = crate::subject::opened(&Digest::of(b"x"), "x");
    let mut entries: Vec<Entry> = vec![genesis(), policy(1)];
    entries.extend((2..).zip(&drafts).map(|(seq, draft)| written(seq, draft)));
    entries[4].behalf = Some(x);
    entries[6].behalf = Some(x);
    let batch = Head::empty(LOG, 0).extend("a", TS, entries).unwrap();
    let report = judge(&bundle(batch, (0, 7), Some(Promise::default()), |_| true));
    assert_eq!(verdict(&report).1, Some(5), "{report}");
    assert!(verdict(&report).2.contains("who asked"), "{report}");
}

/// T8: what a deleted vote or passkey would leave of its entries, had the rest been written anew.
#[test]
fn t08_a_vote_or_passkey_without_its_entry_counts_nothing() {
    let (votes, dana) = (votes(), person("dana"));
    let no_key = [
        votes.request(2, &[("sre", 1)]),
        votes.ballot(&dana, 1, 2, "yes").sign(),
        votes.grant(4, 2, &[3], END),
    ];
    fails(&no_key, 3, "entry 1 adds none");
    let no_vote = [
        votes.enrol(&dana),
        votes.request(3, &[("sre", 1)]),
        votes.grant(4, 3, &[], END),
    ];
    fails(&no_vote, 4, "on 0 votes where 1 are needed");
    let made_up = [
        votes.enrol(&dana),
        votes.request(3, &[("sre", 1)]),
        votes.grant(4, 3, &[2], END),
    ];
    fails(&made_up, 4, "a vote that its request does not have");
    let no_request = [
        votes.enrol(&dana),
        votes.ballot(&dana, 2, 9, "yes").sign(),
        votes.grant(4, 9, &[3], END),
    ];
    fails(&no_request, 3, "never parked");
    let mut unlisted = story(|_, ballot| ballot.sign());
    unlisted[4].body.as_object_mut().unwrap().remove("votes");
    fails(&unlisted, 6, "lists no votes");
    unlisted[4].body["votes"] = json!([5, 5]);
    fails(&unlisted, 6, "another number of votes");
}

#[test]
fn one_person_fills_one_seat_and_any_no_wins() {
    let (votes, dana, lee) = (votes(), person("dana"), person("lee"));
    let story = |votes_cast: &[Draft], listed: &[u64], needs: &[(&str, u64)]| {
        let mut drafts = vec![
            votes.enrol(&dana),
            votes.enrol(&lee),
            votes.request(4, needs),
        ];
        drafts.extend_from_slice(votes_cast);
        drafts.push(votes.grant(9, 4, listed, END));
        drafts
    };
    let yes = |person, key| votes.ballot(person, key, 4, "yes").sign();
    let twice = story(&[yes(&dana, 2), yes(&dana, 2)], &[5, 6], &[("sre", 2)]);
    fails(&twice, 7, "on 1 votes where 2 are needed");
    let across = story(
        &[yes(&dana, 2), yes(&lee, 3)],
        &[5, 6],
        &[("sre", 2), ("security", 1)],
    );
    fails(&across, 7, "on 2 votes where 3 are needed");
    let both = story(
        &[yes(&dana, 2), yes(&lee, 3)],
        &[5, 6],
        &[("sre", 2), ("sre", 1)],
    );
    holds(&both, "2 of 2 votes are signed over their facts");
    let no = votes.ballot(&lee, 3, 4, "no").sign();
    let refused = story(&[yes(&dana, 2), no], &[5], &[("sre", 1)]);
    fails(&refused, 7, "in spite of the no of entry 6");
    let other = story(&[yes(&dana, 2)], &[5], &[("security", 1)]);
    cannot_tell(&log(&other, 0), 6, "by the policy set's entities");
}

#[test]
fn a_grant_ends_inside_its_approval_and_is_of_who_asked() {
    let mut longer = story(|_, ballot| ballot.sign());
    longer[4].what["exp"] = json!(END + 1);
    fails(&longer, 6, "more time than its votes give");
    let mut other = story(|_, ballot| ballot.sign());
    let stranger = votes().person("stranger", Passkey::new(RP, ORIGIN));
    let draft = votes().enrol(&stranger);
    other[4].people[0].1 = draft.people[0].1;
    other[4].body["caller"] = draft.body["person"].clone();
    fails(&other, 6, "to somebody else");
    let mut closed = story(|_, ballot| ballot.sign());
    let mut end = closed[2].clone();
    end.kind = "request_closed";
    end.prefix = "ent_";
    end.people[2].1 = None;
    end.what = json!({"request": id("req_", 4), "until": 9, "why": "cancelled"});
    closed.insert(4, end);
    fails(&closed, 7, "closed before");
}

#[test]
fn what_is_withheld_cannot_be_told() {
    let drafts = story(|_, ballot| ballot.sign());
    for (seq, names, words) in [
        (
            2,
            5,
            "0 of 1 votes are signed over their facts; entry 5: its passkey, in the body of 2",
        ),
        (
            4,
            5,
            "1 of 1 votes are signed over their facts; entry 5: what was asked, in the body of 4",
        ),
        (
            5,
            5,
            "0 of 1 votes are signed over their facts; entry 5: its body is not here",
        ),
    ] {
        let mut files = log(&drafts, 0);
        edit(&mut files, BODIES, |lines| {
            lines.retain(|line| !line.starts_with(&format!("{seq}\t")));
        });
        cannot_tell(&files, names, words);
    }
    let mut files = log(&drafts, 0);
    edit(&mut files, BODIES, |lines| lines.clear());
    cannot_tell(&files, 5, "its body is not here");
    // A grant without a body still has too few votes.
    let few = [
        votes().request(2, &[("sre", 1)]),
        votes().grant(3, 2, &[], END),
    ];
    let mut files = log(&few, 0);
    edit(&mut files, BODIES, |lines| lines.clear());
    assert_eq!(state(&judge(&files), Name::Passkeys), State::Failed);
    // A range that begins later.
    for (from, names, words) in [
        (5, 5, "its request is not here"),
        (4, 5, "its passkey, entry 2, is not here"),
        (6, 6, "its request is not here"),
    ] {
        cannot_tell(&log(&drafts, from), names, words);
    }
}

/// What came in from before the range by receipt is checked like the rest.
#[test]
fn a_range_that_begins_later_has_what_it_rests_on_by_receipt() {
    let drafts = story(|_, ballot| ballot.sign());
    let whole = log(&drafts, 0);
    let leaves: Vec<_> = lines(&whole, HEADERS)
        .iter()
        .map(|line| leaf_hash(line.as_bytes()))
        .collect();
    let growth = Growth::new(&Frontier::default(), &leaves);
    let with = |from: u64, seqs: &[u64]| {
        let mut files = log(&drafts, from);
        let mut bodies: Vec<String> = Vec::new();
        for seq in seqs {
            let at = usize::try_from(*seq).unwrap();
            let proof = Proof {
                extra: Some(lines(&whole, HEADERS)[at].clone().into_bytes()),
                index: *seq,
                path: growth.inclusion(*seq).unwrap(),
                checkpoint: "unread\n\n".into(),
            };
            files.insert(
                format!("{RECEIPTS}{seq}.tlog-proof"),
                proof.to_string().into_bytes(),
            );
            bodies.push(lines(&whole, BODIES)[at].clone());
        }
        edit(&mut files, BODIES, |here| {
            here.splice(0..0, bodies).for_each(drop)
        });
        files
    };
    for (from, seqs, seq, words) in [
        (
            6,
            [2, 4, 5].as_slice(),
            5,
            "1 of 1 votes are signed over their facts; entry 5: whether its passkey was retired before entry 6",
        ),
        (4, &[2], 5, "whether its passkey was retired before entry 4"),
        (
            6,
            &[4, 5],
            5,
            "0 of 1 votes are signed over their facts; entry 5: its passkey, entry 2, is not here",
        ),
        (6, &[2, 4], 6, "a vote it lists is not here"),
    ] {
        cannot_tell(&with(from, seqs), seq, words);
    }
    let mut bent = story(|_, ballot| ballot.with(&ballot.person.passkey.sign(b"")));
    bent.truncate(5);
    let report = judge(&log(&bent, 4));
    assert_eq!(verdict(&report).0, State::Incomplete, "{report}");
}
