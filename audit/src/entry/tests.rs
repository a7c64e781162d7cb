use serde_json::{Value, json};

use super::{Body, FormError, Header};
use crate::Digest;
use crate::canonical::{MAX_BODY, canonical};
use crate::chain::tests::{entry, grant, id, object};
use crate::kind::{Denied, DenyReason, What};

/// A header of `kind` with every optional member of its `what`, as a value to bend.
fn header(kind: &str, prefix: &str, members: &[&str], what: Value) -> Value {
    let mut header = json!({
        "body": Digest::of(b"body"), "id": id(prefix, 7), "kind": kind, "log": "log", "node": "a",
        "prev": Digest::of(b"prev"), "seq": 7, "ts": 1_000, "v": 1, "what": what,
    });
    for member in members {
        header[member] = json!(Digest::of(member.as_bytes()));
    }
    header
}

fn parse(value: &Value) -> Result<Header, FormError> {
    Header::parse(&canonical(value).unwrap())
}

/// One full header of each kind of LEDGER.md §5.
fn all() -> Vec<Value> {
    let h = Digest::of(b"h");
    let (gr, req, task) = (id("gr_", 1), id("req_", 1), id("task_", 1));
    let prior = json!({"log": "old", "root": h, "size": 3});
    let mut genesis = header(
        "genesis",
        "ent_",
        &[],
        json!({
            "epoch": 1, "hash": "rfc6962-sha256", "nonce": h, "prior": prior, "vkey": "log+0+A",
        }),
    );
    genesis["seq"] = json!(0);
    vec![
        genesis,
        header(
            "granted",
            "gr_",
            &["subj", "behalf", "pol"],
            json!({
                "cred": "x509", "exp": 9, "first": true, "opens": true, "parent": task, "renews": gr,
                "request": req, "task": task, "tbs": h, "votes": 2,
            }),
        ),
        header(
            "denied",
            "dec_",
            &["subj", "behalf", "pol"],
            json!({
                "first": true, "request": req, "task": task, "why": "policy_error",
            }),
        ),
        header(
            "requested",
            "req_",
            &["subj", "behalf", "pol"],
            json!({
                "expires": 9, "first": true, "opens": true, "parent": task, "quorum": [1, 2], "task": task,
            }),
        ),
        header(
            "voted",
            "vote_",
            &["subj", "by", "pol"],
            json!({
                "closes": true, "request": req, "until": 9, "vote": "yes",
            }),
        ),
        header(
            "request_closed",
            "ent_",
            &["subj", "by"],
            json!({"request": req, "until": 9, "why": "void"}),
        ),
        header(
            "task_opened",
            "task_",
            &["subj", "behalf"],
            json!({"deadline": 9, "parent": task, "task": task}),
        ),
        header(
            "task_closed",
            "ent_",
            &["subj", "by"],
            json!({
                "revokes": 1, "task": task, "until": 9, "why": "ended",
            }),
        ),
        header(
            "revoked",
            "ent_",
            &["subj", "by"],
            json!({
                "cred": "jwt", "grant": gr, "of": 3, "until": 9, "why": "keyCompromise",
            }),
        ),
        header(
            "sign_failed",
            "ent_",
            &["subj"],
            json!({"grant": gr, "of": 3, "why": "timeout"}),
        ),
        header(
            "caller_disabled",
            "ent_",
            &["subj", "by"],
            json!({"revokes": 1}),
        ),
        header(
            "frozen",
            "ent_",
            &["by"],
            json!({"revokes": 1, "scope": "issuer"}),
        ),
        header(
            "unfrozen",
            "ent_",
            &["by"],
            json!({"of": 3, "scope": "issuer"}),
        ),
        header(
            "policy_loaded",
            "ent_",
            &["by", "pol"],
            json!({"ok": true, "tried": h, "was": h}),
        ),
        header(
            "config_loaded",
            "ent_",
            &["by"],
            json!({
                "cause": "start", "config": h, "software": "0.1.0", "was": h,
            }),
        ),
        header(
            "key_added",
            "ent_",
            &["subj", "by"],
            json!({
                "key": h, "not_after": 9, "use": "issuer", "vkey": "log+0+A",
            }),
        ),
        header(
            "key_retired",
            "ent_",
            &["subj", "by"],
            json!({
                "key": h, "not_after": 9, "of": 3, "use": "log", "vkey": "log+0+A", "why": "rotated",
            }),
        ),
        header(
            "login",
            "ent_",
            &["subj"],
            json!({"roles": ["approver"], "via": "console"}),
        ),
        header(
            "admin",
            "ent_",
            &["by"],
            json!({"n": 1, "of": 3, "op": "exported"}),
        ),
        header(
            "rollup",
            "ent_",
            &[],
            json!({"n": 1, "since": 8, "until": 9}),
        ),
        header(
            "erased",
            "ent_",
            &["by"],
            json!({"basis": "order", "n": 3, "ranges": [[1, 3], [5, 6]]}),
        ),
        header(
            "anchor",
            "ent_",
            &[],
            json!({
                "cosigs": 1, "latest": 9, "note": h, "root": h, "size": 3, "standing": h,
            }),
        ),
        header(
            "recovery",
            "ent_",
            &[],
            json!({"form": "begin", "prior": prior, "seen": 9, "why": "fire"}),
        ),
        header("recovery", "ent_", &[], json!({"form": "entry", "old": 3})),
        header(
            "epoch",
            "ent_",
            &["by"],
            json!({"next": {"log": "log/1", "vkey": "log+0+A"}, "why": "planned"}),
        ),
    ]
}

#[test]
fn every_kind_is_read_and_written_in_the_same_bytes() {
    for value in all() {
        let bytes = canonical(&value).unwrap();
        let header = Header::parse(&bytes).unwrap_or_else(|e| panic!("{value}: {e:?}"));
        assert!(!matches!(header.what, What::Foreign(_)), "{value}");
        assert_eq!(header.bytes().unwrap(), bytes, "{value}");
    }
}

#[test]
fn both_levels_are_closed_and_every_member_has_one_type() {
    for value in all() {
        let mut open = value.clone();
        open["extra"] = json!(1);
        assert!(parse(&open).is_err(), "{open}");
        let mut open = value.clone();
        open["what"]["extra"] = json!(1);
        assert!(parse(&open).is_err(), "{open}");
        for member in value["what"].as_object().unwrap().keys() {
            for wrong in [json!(false), json!({}), json!("?")] {
                let mut bent = value.clone();
                bent["what"][member] = wrong.clone();
                let free_text = wrong == json!("?") && value["what"][member].is_string();
                assert!(parse(&bent).is_err() || free_text, "{bent}");
            }
        }
        for member in value.as_object().unwrap().keys() {
            let mut bent = value.clone();
            bent[member] = json!(true);
            assert!(parse(&bent).is_err(), "{bent}");
        }
    }
}

#[test]
fn each_kind_carries_its_members_and_no_others() {
    let needs = |kind: &str| match kind {
        "granted" | "denied" | "requested" => ["subj", "pol"].as_slice(),
        "voted" => &["subj", "by", "pol"],
        "caller_disabled" => &["subj", "by"],
        "frozen" | "unfrozen" | "epoch" => &["by"],
        "policy_loaded" => &["pol"],
        "request_closed" | "task_opened" | "task_closed" | "revoked" | "sign_failed" | "login" => {
            &["subj"]
        }
        _ => &[],
    };
    for value in all() {
        let kind = value["kind"].as_str().unwrap().to_owned();
        for member in ["subj", "by", "behalf", "pol"] {
            let mut bent = value.clone();
            if bent.as_object_mut().unwrap().remove(member).is_some() {
                let must = needs(&kind).contains(&member);
                assert_eq!(parse(&bent).is_err(), must, "{kind} without {member}");
            } else {
                bent[member] = json!(Digest::ZERO);
                assert!(parse(&bent).is_err(), "{kind} with {member}");
            }
        }
    }
}

#[test]
fn ids_have_the_prefix_of_their_kind() {
    for value in all() {
        for bad in [
            "ent_x",
            "x_00000000000000000000000007",
            "GR_00000000000000000000000007",
            "",
        ] {
            let mut bent = value.clone();
            bent["id"] = json!(bad);
            assert!(matches!(parse(&bent), Err(FormError::Id { .. })), "{bent}");
        }
    }
    let check = |id: &str, good: bool| {
        let mut value = header("login", "ent_", &["subj"], json!({"via": "cli"}));
        value["id"] = json!(id);
        assert_eq!(parse(&value).is_ok(), good, "{value}");
    };
    check("ent_7zzzzzzzzzzzzzzzzzzzzzzzzz", true);
    check("ent_80000000000000000000000000", false);
    for foreign in ["i", "l", "o", "u", "-", "Z"] {
        check(&format!("ent_{foreign:0>26}"), false);
    }
}

#[test]
fn keeps_kinds_it_does_not_know_and_writes_none() {
    let value = header("decided", "ent_", &["subj"], json!({"n": 1}));
    let parsed = parse(&value).unwrap();
    assert_eq!(parsed.what.kind(), "decided");
    assert!(matches!(parsed.bytes(), Err(FormError::Kind(_))));
}

#[test]
fn names_a_version_it_does_not_know() {
    let mut value = all().remove(1);
    value["v"] = json!(2);
    value["new"] = json!(true);
    assert!(matches!(parse(&value), Err(FormError::Version(2))));
}

#[test]
fn erased_ranges_ascend() {
    let check = |n: u64, ranges: Value, good: bool| {
        let what = json!({"basis": "order", "n": n, "ranges": ranges});
        let value = header("erased", "ent_", &[], what);
        let parsed = parse(&value);
        assert_eq!(parsed.is_ok(), good, "{value}");
        assert!(good || matches!(parsed, Err(FormError::Ranges)), "{value}");
    };
    check(3, json!([]), false);
    check(0, json!([[3, 3]]), false);
    check(3, json!([[5, 6], [1, 3]]), false);
    check(4, json!([[1, 3], [2, 4]]), false);
    check(3, json!([[1, 3], [5, 6]]), true);
    check(2, json!([[1, 3], [5, 6]]), false);
    check(4, json!([[1, 3], [5, 6]]), false);
}

#[test]
fn only_what_is_there_can_be_erased() {
    for (end, good) in [
        (7, true),
        (8, false),
        (crate::canonical::MAX_INTEGER, false),
    ] {
        let what = json!({"basis": "order", "n": end - 2, "ranges": [[2, end]]});
        let value = header("erased", "ent_", &[], what);
        assert_eq!(parse(&value).is_ok(), good, "{value}");
    }
}

#[test]
fn a_log_begins_with_genesis_whatever_the_kind() {
    for mut value in all() {
        let kind = value["kind"].as_str().unwrap().to_owned();
        value["seq"] = json!(if kind == "genesis" { 1 } else { 0 });
        assert!(matches!(parse(&value), Err(FormError::Genesis)), "{value}");
        value["kind"] = json!("of_a_later_version");
        value["seq"] = json!(0);
        assert!(matches!(parse(&value), Err(FormError::Genesis)), "{value}");
    }
}

#[test]
fn what_is_not_plain_text_never_gets_into_a_header() {
    let mut draft = grant(1);
    let head = crate::Head::empty("log\u{e9}", 0);
    assert!(
        head.extend("a", 0, vec![crate::chain::tests::genesis()])
            .is_err()
    );
    draft.what = Denied {
        first: false,
        request: None,
        task: Some("task_\"".into()),
        why: DenyReason::Human,
    }
    .into();
    assert!(
        crate::Head::empty("log", 0)
            .extend("a", 0, vec![draft])
            .is_err()
    );
}

#[test]
fn a_body_is_its_salt_and_its_facts() {
    let body = entry(
        id("ent_", 1),
        crate::chain::tests::granted(1),
        json!({"b": 1, "a": "é\n"}),
    )
    .body;
    let bytes = body.bytes().unwrap();
    let text = r#"{"salt":"AwMDAwMDAwMDAwMDAwMDAw","what":{"a":"é\n","b":1}}"#;
    assert_eq!(bytes, text.as_bytes());
    assert_eq!(Body::parse(&bytes).unwrap(), body);
    for bad in [
        r#"{"salt":"AwMD","what":{}}"#,
        r#"{"salt":"AwMDAwMDAwMDAwMDAwMDAw","what":[]}"#,
        r#"{"extra":1,"salt":"AwMDAwMDAwMDAwMDAwMDAw","what":{}}"#,
        r#"{"what":{}}"#,
    ] {
        assert!(Body::parse(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn a_body_has_its_limits() {
    let body = |what: Value| Body {
        salt: [0; 16],
        what: object(what),
    };
    let long = body(json!({"a": "x".repeat(MAX_BODY)}));
    assert!(matches!(long.bytes(), Err(FormError::Body(MAX_BODY))));
    let mut deep = json!(1);
    for _ in 0..14 {
        deep = json!([deep]);
    }
    assert!(body(json!({"a": deep})).bytes().is_ok());
    assert!(body(json!({"a": [deep]})).bytes().is_err());
    assert!(body(json!({"a": 0.5})).bytes().is_err());
}
