//! Tokens as the platforms send them, signed by real keys; each refusal beside the success it spoils.

use serde_json::{Value as Json, json};
use stint_policy::{Attributes, Kind, Timestamp, Value};

use crate::authenticate::entry::fault::Fault;
use crate::authenticate::entry::{Context, IssuerConfig, IssuerEntry, Transport};
use crate::authenticate::tests::idp::Signer;
use crate::authenticate::{
    Caller, Evidence, Label, Proof, ProofKind, Refused, Reuse, Roster, crypto,
};
use crate::config::Secret;

mod config;
mod idp;
mod presets;
mod rotation;
mod signatures;

/// When the tokens of IDENTITY.md §3 are judged.
const NOW: i64 = 1_787_166_760;

fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

fn context() -> Context<'static> {
    Context {
        trust_domain: "acme.dev",
        server_url: "https://stint.example",
        transport: Transport::Https,
    }
}

fn build(name: &str, config: Json) -> Result<IssuerEntry, Vec<Fault>> {
    build_in(&context(), name, config)
}

fn build_in(context: &Context<'_>, name: &str, config: Json) -> Result<IssuerEntry, Vec<Fault>> {
    crypto::install().unwrap();
    let config: IssuerConfig = serde_json::from_value(config).unwrap();
    IssuerEntry::build(name, &config, context)
}

fn roster(entries: Vec<IssuerEntry>) -> Roster {
    Roster::new(entries).unwrap()
}

async fn present(roster: &Roster, token: String) -> Result<Caller, Refused> {
    roster
        .authenticate(&Evidence::token(Secret::new(token), None), now())
        .await
}

fn with(mut json: Json, change: impl FnOnce(&mut Json)) -> Json {
    change(&mut json);
    json
}

fn without(json: Json, member: &str) -> Json {
    with(json, |json| {
        json.as_object_mut().unwrap().remove(member);
    })
}

fn attributes(json: Json) -> Attributes {
    let value = |json: &Json| match json {
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => Value::Long(number.as_i64().unwrap()),
        Json::String(text) => Value::from(text.as_str()),
        other => panic!("{other}"),
    };
    json.as_object()
        .unwrap()
        .iter()
        .map(|(name, json)| (name.clone(), value(json)))
        .collect()
}

fn github_claims() -> Json {
    json!({
        "iss": "https://token.actions.githubusercontent.com", "aud": "https://stint.example",
        "sub": "repo:octo@65/app@74:environment:prod", "jti": "1e41f0c0", "iat": NOW - 3, "nbf": NOW - 303,
        "exp": NOW + 297, "repository": "octo/app", "repository_id": "74", "repository_owner_id": "65",
        "repository_owner": "octo", "repository_visibility": "private", "event_name": "push",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "true", "sha": "b896d2a1",
        "environment": "prod", "workflow": "deploy", "base_ref": "", "head_ref": "",
        "workflow_ref": "octo/app/.github/workflows/d.yml@refs/heads/main",
        "job_workflow_ref": "octo/ci/.github/workflows/d.yml@refs/tags/v2", "job_workflow_sha": "c1d2e3f4",
        "run_id": "322", "run_number": "9", "run_attempt": "1", "check_run_id": "961", "actor": "cat",
        "actor_id": "28", "runner_environment": "github-hosted", "repo_property_team": "web"
    })
}

fn github_config(key: &Signer) -> Json {
    json!({"preset": "github-actions", "only": {"repository_owner_id": ["65"]}, "jwks": key.jwks()})
}

fn gitlab_claims() -> Json {
    json!({
        "iss": "https://gitlab.example.com", "aud": "https://stint.example",
        "sub": "project_path:g/p:ref_type:branch:ref:main", "jti": "235b0a54", "iat": NOW - 60, "nbf": NOW - 65,
        "exp": NOW + 3540, "namespace_id": "72", "namespace_path": "g", "project_id": "20", "project_path": "g/p",
        "project_visibility": "internal", "job_project_id": "20", "job_namespace_id": "72", "user_id": "1",
        "user_login": "sam", "user_email": "sam@example.com", "user_access_level": "maintainer", "pipeline_id": "574",
        "pipeline_source": "web", "job_id": "302", "ref": "main", "ref_type": "branch",
        "ref_path": "refs/heads/main", "ref_protected": "true", "environment": "prod",
        "environment_protected": "true", "deployment_tier": "production", "runner_id": 1,
        "runner_environment": "self-hosted", "sha": "714a629c", "ci_config_ref_uri": null, "ci_config_sha": null
    })
}

fn gitlab_config(key: &Signer) -> Json {
    json!({"preset": "gitlab-ci", "url": "https://gitlab.example.com", "jwks": key.jwks()})
}

fn kubernetes_claims() -> Json {
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["https://stint.example/k/west"],
        "sub": "system:serviceaccount:shop:web", "jti": "aed34954", "iat": NOW - 60, "nbf": NOW - 60,
        "exp": NOW + 540, "kubernetes.io": {
            "namespace": "shop", "node": {"name": "n1", "uid": "646e7c5e"}, "pod": {"name": "web-1", "uid": "5e0bd49b"},
            "serviceaccount": {"name": "web", "uid": "14ee3fa4"}
        }
    })
}

fn kubernetes_config(key: &Signer) -> Json {
    json!({"preset": "kubernetes", "url": "https://kubernetes.default.svc.cluster.local",
        "audience": "https://stint.example/k/west", "jwks": key.jwks()})
}

#[tokio::test]
async fn a_github_job_becomes_a_caller_with_its_task() {
    let key = Signer::rsa("k");
    let config = with(github_config(&key), |c| {
        c["owner"] = json!("{repo_property_team}");
        c["extra"] = json!({"team": {"claim": "repo_property_team", "type": "string"}});
        c["task_life"] = json!("2h");
    });
    let roster = roster(vec![build("github", config).unwrap()]);
    let token = key.token(&github_claims());
    let proof = Proof {
        thumbprint: [7; 32],
        kind: ProofKind::Dpop,
    };
    let evidence = Evidence::token(Secret::new(token.clone()), Some(proof));
    let caller = roster.authenticate(&evidence, now()).await.unwrap();
    let principal = caller.principal();
    assert_eq!(principal.id.as_str(), "spiffe://acme.dev/github/65/74");
    assert_eq!(
        (principal.kind, principal.issuer.as_str()),
        (Kind::Workload, "github")
    );
    assert_eq!(
        (principal.preset.as_str(), &principal.owner),
        ("github-actions", &None)
    );
    assert_eq!(
        principal.claims.origin,
        attributes(json!({
            "tenant": "65", "project": "74", "project_name": "octo/app", "visibility": "private",
            "ref_kind": "branch", "ref": "refs/heads/main", "ref_protected": true, "commit": "b896d2a1",
            "trigger": "push", "environment": "prod", "definition": "octo/ci/.github/workflows/d.yml@refs/tags/v2",
            "definition_commit": "c1d2e3f4", "run": "322", "attempt": 1, "job": "961", "runner": "hosted", "actor": "28"
        }))
    );
    let (record, github) = principal.claims.platform.as_ref().unwrap();
    assert_eq!((record.as_str(), github.len()), ("github", 18));
    assert_eq!(github["run_attempt"], Value::Long(1));
    assert_eq!(principal.claims.extra, attributes(json!({"team": "web"})));
    assert_eq!(caller.claimed_owner(), Some("web"));
    let task = caller.task().unwrap();
    assert_eq!(
        (task.name.as_str(), task.initiator.as_deref()),
        ("github:74/322/1/961", Some("28"))
    );
    assert_eq!(task.life.unwrap().to_string(), "2h");
    assert_eq!(
        (caller.proof(), caller.proof_kind()),
        (Some([7; 32]), Some(ProofKind::Dpop))
    );
    assert_eq!(caller.replay().unwrap().reuse, Reuse::Never);
    assert_eq!(
        caller.replay().unwrap().until,
        Timestamp::from_millis((NOW + 297 + 90) * 1000)
    );
    let seen = caller.seen();
    assert_eq!(
        seen.digest,
        super::keys::sha256(token.rsplit_once('.').unwrap().0.as_bytes())
    );
    assert_eq!(seen.issued, Timestamp::from_millis((NOW - 3) * 1000));
    assert_eq!(
        caller.ceiling(),
        None,
        "a credential of a GitHub job may outlive its token"
    );
}

#[tokio::test]
async fn a_gitlab_job_lives_as_long_as_its_token() {
    let key = Signer::rsa("k");
    let roster = roster(vec![build("gitlab", gitlab_config(&key)).unwrap()]);
    let caller = present(&roster, key.token(&gitlab_claims())).await.unwrap();
    assert_eq!(
        caller.principal().id.as_str(),
        "spiffe://acme.dev/gitlab/72/20"
    );
    assert_eq!(
        caller.principal().claims.origin,
        attributes(json!({
            "tenant": "72", "project": "20", "project_name": "g/p", "visibility": "internal", "ref_kind": "branch",
            "ref": "refs/heads/main", "ref_protected": true, "commit": "714a629c", "trigger": "manual", "fork": false,
            "environment": "prod", "environment_protected": true, "tier": "production", "run": "574", "job": "302",
            "runner": "self", "actor": "1"
        }))
    );
    let (record, gitlab) = caller.principal().claims.platform.as_ref().unwrap();
    assert_eq!(
        (record.as_str(), &gitlab["runner_id"]),
        ("gitlab", &Value::Long(1))
    );
    assert!(!gitlab.contains_key("project_visibility") && !gitlab.contains_key("user_email"));
    assert_eq!(caller.task().unwrap().name, "gitlab:20/574/302");
    assert_eq!(caller.replay().unwrap().reuse, Reuse::SameKey);
    let ceiling = caller.ceiling().unwrap();
    assert_eq!(
        (ceiling.name.as_str(), ceiling.not_after),
        ("evidence", caller.seen().expires)
    );
}

#[tokio::test]
async fn a_job_of_a_fork_is_refused_unless_config_admits_it() {
    let key = Signer::rsa("k");
    let fork = with(gitlab_claims(), |c| c["job_project_id"] = json!("21"));
    let strict = roster(vec![build("gitlab", gitlab_config(&key)).unwrap()]);
    assert_eq!(
        label(present(&strict, key.token(&fork)).await),
        Label::Event
    );
    let open = with(gitlab_config(&key), |c| c["forks"] = json!(true));
    let open = build("gitlab", open).unwrap();
    assert_eq!(open.warnings().len(), 1);
    let caller = present(&roster(vec![open]), key.token(&fork))
        .await
        .unwrap();
    let origin = &caller.principal().claims.origin;
    assert_eq!(
        (&origin["trigger"], &origin["fork"]),
        (&Value::from("pull_request_fork"), &Value::Bool(true))
    );
    let old_server = without(gitlab_claims(), "job_project_id");
    let caller = present(&strict, key.token(&old_server)).await.unwrap();
    assert!(
        !caller.principal().claims.origin.contains_key("fork"),
        "absent means unknown"
    );
}

#[tokio::test]
async fn a_pod_becomes_a_caller_and_the_pod_is_its_task() {
    let key = Signer::ec("k");
    let roster = roster(vec![build("west", kubernetes_config(&key)).unwrap()]);
    let header = without(key.header(), "typ").to_string();
    let caller = present(&roster, key.sign(&header, &kubernetes_claims().to_string()))
        .await
        .unwrap();
    assert_eq!(
        caller.principal().id.as_str(),
        "spiffe://acme.dev/west/shop/web/14ee3fa4"
    );
    assert_eq!(
        caller.principal().claims.platform,
        Some((
            "kubernetes".into(),
            attributes(json!({
                "namespace": "shop", "serviceaccount": "web", "serviceaccount_uid": "14ee3fa4", "pod": "web-1",
                "pod_uid": "5e0bd49b", "node": "n1", "node_uid": "646e7c5e"
            }))
        ))
    );
    assert_eq!(caller.task().unwrap().name, "west:5e0bd49b");
    assert_eq!(caller.ceiling(), None);
    // `kubectl create token`: no pod, no node, no task.
    let by_hand = with(kubernetes_claims(), |c| {
        c["kubernetes.io"] =
            json!({"namespace": "shop", "serviceaccount": {"name": "web", "uid": "14ee3fa4"}});
        *c = without(c.take(), "jti");
    });
    let token = key.token(&by_hand);
    let caller = present(&roster, token.clone()).await.unwrap();
    assert_eq!(caller.task(), None);
    // ECDSA signatures differ each time; the replay key is of what was signed.
    let again = present(&roster, key.token(&by_hand)).await.unwrap();
    assert_eq!(caller.replay().unwrap().key, again.replay().unwrap().key);
    for change in [
        |c: &mut Json| c["sub"] = json!("system:serviceaccount:shop:admin"),
        |c: &mut Json| c["sub"] = json!("system:serviceaccount:shop"),
        |c: &mut Json| *c = without(c.take(), "sub"),
        |c: &mut Json| c["kubernetes.io"]["serviceaccount"]["name"] = json!("admin"),
        |c: &mut Json| c["kubernetes.io"]["pod"] = json!("web-1"),
        |c: &mut Json| c["kubernetes.io"]["serviceaccount"]["uid"] = Json::Null,
    ] {
        let claims = with(kubernetes_claims(), change);
        assert_eq!(
            label(present(&roster, key.token(&claims)).await),
            Label::Claims,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn a_generic_issuer_says_only_what_config_maps() {
    let key = Signer::ed("k");
    let config = json!({
        "preset": "generic", "url": "https://idp.example/", "audience": "stint", "alg": ["EdDSA"], "kind": "agent",
        "immutable": ["subject"], "id": "{subject:h}", "task": "{session}", "single_tenant": true,
        "extra": {
            "subject": {"claim": "sub", "type": "string"},
            "session": {"pointer": "/act~1ions/session", "type": "string integer"},
            "roles": {"claim": "roles", "type": "set of strings"}
        },
        "jwks": key.jwks()
    });
    let roster = roster(vec![build("idp", config).unwrap()]);
    let claims = json!({"iss": "https://idp.example/", "aud": "stint", "sub": "auth0|5f7c", "iat": NOW, "exp": NOW + 60,
        "act/ions": {"session": "42"}, "roles": ["b", "a"], "email": "sam@example.com"});
    let caller = present(&roster, key.token(&claims)).await.unwrap();
    let id = caller.principal().id.as_str();
    assert_eq!(
        (id.len(), id.starts_with("spiffe://acme.dev/idp/")),
        (22 + 32, true)
    );
    assert_eq!(caller.principal().kind, Kind::Agent);
    assert_eq!(caller.principal().claims.platform, None);
    assert_eq!(caller.principal().claims.extra.len(), 3);
    assert_eq!(caller.task().unwrap().name, "idp:42");
    let other = with(claims, |c| c["sub"] = json!("auth0|5f7d"));
    assert_ne!(
        present(&roster, key.token(&other))
            .await
            .unwrap()
            .principal()
            .id
            .as_str(),
        id
    );
}

fn label(outcome: Result<Caller, Refused>) -> Label {
    match outcome {
        Err(Refused::Evidence { label, .. }) => label,
        other => panic!("{other:?}"),
    }
}

/// One spoilt GitHub token, and the check that must catch it.
async fn check(what: &str, change: impl FnOnce(&mut Json, &mut Json), expected: Label) {
    let key = Signer::rsa("k");
    let roster = roster(vec![build("github", github_config(&key)).unwrap()]);
    let (mut header, mut claims) = (key.header(), github_claims());
    change(&mut header, &mut claims);
    let outcome = present(&roster, key.sign(&header.to_string(), &claims.to_string())).await;
    assert_eq!(label(outcome), expected, "{what}");
}

#[tokio::test]
async fn each_check_refuses_with_its_label() {
    let text = |claim: &'static str, value: &'static str| {
        move |_: &mut Json, c: &mut Json| c[claim] = json!(value)
    };
    let number =
        |claim: &'static str, value: i64| move |_: &mut Json, c: &mut Json| c[claim] = json!(value);
    let gone =
        |claim: &'static str| move |_: &mut Json, c: &mut Json| *c = without(c.take(), claim);
    check(
        "nothing",
        |_, c| c["aud"] = json!("https://stint.example/"),
        Label::Audience,
    )
    .await;
    check(
        "too large",
        |_, c| c["x"] = json!("x".repeat(8192)),
        Label::TooLarge,
    )
    .await;
    check(
        "depth",
        |_, c| c["x"] = json!([[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]),
        Label::Form,
    )
    .await;
    check(
        "integer",
        |_, c| c["x"] = json!(9_007_199_254_740_992_u64),
        Label::Form,
    )
    .await;
    check(
        "no kid",
        |h, _| *h = without(h.take(), "kid"),
        Label::Header,
    )
    .await;
    check("crit", |h, _| h["crit"] = json!(["exp"]), Label::Header).await;
    check(
        "jwk",
        |h, _| h["jwk"] = Signer::rsa("k").jwk(),
        Label::Header,
    )
    .await;
    check(
        "jku",
        |h, _| h["jku"] = json!("https://evil.example/keys"),
        Label::Header,
    )
    .await;
    check(
        "kid of nobody",
        |h, _| h["kid"] = json!("other"),
        Label::Key,
    )
    .await;
    check("none", |h, _| h["alg"] = json!("none"), Label::Alg).await;
    check("HMAC", |h, _| h["alg"] = json!("HS256"), Label::Alg).await;
    check("RS512", |h, _| h["alg"] = json!("RS512"), Label::Alg).await;
    check("PS256", |h, _| h["alg"] = json!("PS256"), Label::Alg).await;
    check(
        "small letters",
        |h, _| h["alg"] = json!("rs256"),
        Label::Alg,
    )
    .await;
    for typ in [
        "at+jwt",
        "wit+jwt",
        "dpop+jwt",
        "logout+jwt",
        "txntoken+jwt",
        "oauth-id-jag+jwt",
        "secevent+jwt",
        "statuslist+jwt",
        "",
    ] {
        check(typ, |h, _| h["typ"] = json!(typ), Label::Typ).await;
    }
    check("no typ", |h, _| *h = without(h.take(), "typ"), Label::Typ).await;
    check("no issuer", gone("iss"), Label::Issuer).await;
    check(
        "list of issuers",
        |_, c| c["iss"] = json!(["https://token.actions.githubusercontent.com"]),
        Label::Issuer,
    )
    .await;
    for iss in [
        "https://token.actions.githubusercontent.com/",
        "https://Token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com:443",
        "http://token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com.",
        "https://stint.example",
    ] {
        check(iss, text("iss", iss), Label::Issuer).await;
    }
    check("no audience", gone("aud"), Label::Audience).await;
    check(
        "two audiences",
        |_, c| c["aud"] = json!(["https://stint.example", "b"]),
        Label::Audience,
    )
    .await;
    check("no audiences", |_, c| c["aud"] = json!([]), Label::Audience).await;
    check(
        "GitHub's own audience",
        text("aud", "https://github.com/octo"),
        Label::Audience,
    )
    .await;
    check("no exp", gone("exp"), Label::Claims).await;
    check("float", |_, c| c["exp"] = json!(1.9e9), Label::Claims).await;
    check("text", |_, c| c["exp"] = json!("1900000000"), Label::Claims).await;
    check("negative", number("nbf", -1), Label::Claims).await;
    check("null", |_, c| c["nbf"] = Json::Null, Label::Claims).await;
    check("no iat", gone("iat"), Label::Claims).await;
    check(
        "over",
        |_, c| (c["iat"], c["exp"]) = (json!(NOW - 300), json!(NOW - 30)),
        Label::Expired,
    )
    .await;
    check("not yet", number("nbf", NOW + 31), Label::Early).await;
    check(
        "from the future",
        |_, c| (c["iat"], c["exp"]) = (json!(NOW + 31), json!(NOW + 60)),
        Label::Early,
    )
    .await;
    check(
        "ends before it begins",
        |_, c| (c["iat"], c["exp"]) = (json!(NOW), json!(NOW)),
        Label::Lifetime,
    )
    .await;
    check(
        "long",
        |_, c| (c["iat"], c["exp"]) = (json!(NOW), json!(NOW + 601)),
        Label::Lifetime,
    )
    .await;
    check("no jti", gone("jti"), Label::Claims).await;
    check("no id", gone("repository_id"), Label::Claims).await;
    check("empty id", text("repository_id", ""), Label::Claims).await;
    check(
        "null id",
        |_, c| c["repository_id"] = Json::Null,
        Label::Claims,
    )
    .await;
    check(
        "number for a string",
        |_, c| c["repository_id"] = json!(74),
        Label::Claims,
    )
    .await;
    check(
        "null where optional",
        |_, c| c["environment"] = Json::Null,
        Label::Claims,
    )
    .await;
    check(
        "bool for a string bool",
        |_, c| c["ref_protected"] = json!(true),
        Label::Claims,
    )
    .await;
    check(
        "path in an id",
        |_, c| (c["repository_id"], c["sub"]) = (json!("74/../75"), json!("x")),
        Label::Claims,
    )
    .await;
    check(
        "right to left",
        text("ref", "refs/heads/\u{202e}niam"),
        Label::Claims,
    )
    .await;
    check(
        "decomposed",
        text("environment", "pro\u{308}d"),
        Label::Claims,
    )
    .await;
    check(
        "owner id in sub",
        text("sub", "repo:octo@66/app@74:environment:prod"),
        Label::Claims,
    )
    .await;
    check(
        "repository id in sub",
        text("sub", "repo:octo@65/app@75:ref:x"),
        Label::Claims,
    )
    .await;
    check("number as sub", |_, c| c["sub"] = json!(1), Label::Claims).await;
    check(
        "pull_request_target",
        text("event_name", "pull_request_target"),
        Label::Event,
    )
    .await;
    check(
        "workflow_run",
        text("event_name", "workflow_run"),
        Label::Event,
    )
    .await;
    check(
        "issue_comment",
        text("event_name", "issue_comment"),
        Label::Event,
    )
    .await;
    check(
        "another owner",
        |_, c| (c["repository_owner_id"], c["sub"]) = (json!("66"), json!("x")),
        Label::NotAdmitted,
    )
    .await;
}

#[tokio::test]
async fn accepts_what_only_looks_odd() {
    let key = Signer::rsa("k");
    let roster = roster(vec![build("github", github_config(&key)).unwrap()]);
    for change in [
        |c: &mut Json| c["aud"] = json!(["https://stint.example"]),
        |c: &mut Json| c["exp"] = json!(NOW - 29),
        |c: &mut Json| c["nbf"] = json!(NOW + 30),
        |c: &mut Json| c["environment"] = json!(""),
        |c: &mut Json| c["sub"] = json!("repo:octo/app:ref:refs/heads/a@b"),
        |c: &mut Json| {
            c["sub"] = json!("job_workflow_ref:octo/ci/.github/workflows/d.yml@refs/tags/v2")
        },
        |c: &mut Json| c["unknown"] = json!({"claims": [1.5, null]}),
        |c: &mut Json| *c = without(c.take(), "sub"),
    ] {
        let claims = with(github_claims(), |c| {
            c["iat"] = json!(NOW - 200);
            change(c);
        });
        let outcome = present(&roster, key.token(&claims)).await;
        assert!(outcome.is_ok(), "{claims}: {outcome:?}");
    }
}

#[tokio::test]
async fn a_signature_by_another_key_or_over_other_bytes_is_refused() {
    let (key, other) = (Signer::ec("k"), Signer::ec("k"));
    let roster = roster(vec![build("west", kubernetes_config(&key)).unwrap()]);
    let claims = kubernetes_claims();
    assert_eq!(
        label(present(&roster, other.token(&claims)).await),
        Label::Signature
    );
    let token = key.token(&claims);
    let (input, signature) = token.rsplit_once('.').unwrap();
    let forged = key.token(&with(claims, |c| c["jti"] = json!("other")));
    let (forged, _) = forged.rsplit_once('.').unwrap();
    assert!(
        present(&roster, format!("{input}.{signature}"))
            .await
            .is_ok()
    );
    assert_eq!(
        label(present(&roster, format!("{forged}.{signature}")).await),
        Label::Signature
    );
    assert_eq!(
        label(present(&roster, format!("{input}.AAAA")).await),
        Label::Signature
    );
    // The key set's own bytes are no HMAC secret here: the algorithm is the key's.
    let confused = with(key.header(), |h| h["alg"] = json!("HS256")).to_string();
    assert_eq!(
        label(
            present(
                &roster,
                key.sign(&confused, &kubernetes_claims().to_string())
            )
            .await
        ),
        Label::Alg
    );
}

#[tokio::test]
async fn a_duplicate_member_is_refused_wherever_it_stands() {
    let key = Signer::rsa("k");
    let roster = roster(vec![build("github", github_config(&key)).unwrap()]);
    let claims = github_claims().to_string();
    let twice = claims.replacen('{', r#"{"repository_id":"75","#, 1);
    assert_eq!(
        label(present(&roster, key.sign(&key.header().to_string(), &twice)).await),
        Label::Form
    );
    let deep = claims.replacen('{', r#"{"x":{"y":[{"z":1,"z":1}]},"#, 1);
    assert_eq!(
        label(present(&roster, key.sign(&key.header().to_string(), &deep)).await),
        Label::Form
    );
    let header = key
        .header()
        .to_string()
        .replacen('{', r#"{"alg":"none","#, 1);
    assert_eq!(
        label(present(&roster, key.sign(&header, &claims)).await),
        Label::Header
    );
}

#[tokio::test]
async fn keys_belong_to_one_issuer_and_audience() {
    let (west, east) = (Signer::ec("k"), Signer::ec("k"));
    let other = with(kubernetes_config(&east), |c| {
        c["audience"] = json!("https://stint.example/k/east")
    });
    let entries = vec![
        build("west", kubernetes_config(&west)).unwrap(),
        build("east", other).unwrap(),
    ];
    let roster = roster(entries);
    let for_east = with(kubernetes_claims(), |c| {
        c["aud"] = json!("https://stint.example/k/east")
    });
    assert!(
        present(&roster, west.token(&kubernetes_claims()))
            .await
            .is_ok()
    );
    let caller = present(&roster, east.token(&for_east)).await.unwrap();
    assert_eq!(caller.principal().issuer, "east");
    assert_eq!(
        label(present(&roster, east.token(&kubernetes_claims())).await),
        Label::Signature
    );
    assert_eq!(
        label(present(&roster, west.token(&for_east)).await),
        Label::Signature
    );
}

#[tokio::test]
async fn a_refusal_says_the_same_to_everybody_and_names_no_claim() {
    let key = Signer::rsa("k");
    let roster = roster(vec![build("github", github_config(&key)).unwrap()]);
    let stranger = present(&roster, "x".to_owned()).await.unwrap_err();
    assert_eq!(
        stranger,
        Refused::Evidence {
            label: Label::Form,
            issuer: None
        }
    );
    let spoilt = with(github_claims(), |c| {
        c["repository_owner_id"] = json!("66-secret")
    });
    let known = present(&roster, key.token(&spoilt)).await.unwrap_err();
    assert_eq!(
        known,
        Refused::Evidence {
            label: Label::Claims,
            issuer: Some("github".into())
        }
    );
    assert!(!format!("{known:?} {known}").contains("secret"));
    let evidence = Evidence::token(Secret::new("token-secret".into()), None);
    assert!(!format!("{evidence:?}").contains("token-secret"));
}

#[tokio::test]
async fn the_same_token_has_the_same_replay_key_at_one_entry_only() {
    let key = Signer::rsa("k");
    let first = roster(vec![build("one", github_config(&key)).unwrap()]);
    let second = roster(vec![build("two", github_config(&key)).unwrap()]);
    let token = key.token(&github_claims());
    let keys = |caller: Caller| caller.replay().unwrap().key;
    let one = keys(present(&first, token.clone()).await.unwrap());
    assert_eq!(one, keys(present(&first, token.clone()).await.unwrap()));
    assert_ne!(one, keys(present(&second, token).await.unwrap()));
    let fresh = with(github_claims(), |c| c["jti"] = json!("1e41f0c1"));
    assert_ne!(one, keys(present(&first, key.token(&fresh)).await.unwrap()));
}
