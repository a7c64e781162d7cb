use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};
use stint_policy::{Seconds, SpiffeId};

use super::{Audience, AudienceError, AudienceParts, Flavour, SubTemplate, TemplateError};
use crate::signer::Algorithm;

fn parts(flavour: Flavour, template: &str) -> AudienceParts {
    AudienceParts {
        name: "cloud".to_owned(),
        aud: "https://cloud.example".to_owned(),
        flavour,
        algorithm: Algorithm::Rs256,
        sub: SubTemplate::parse(template).unwrap(),
        sub_max: 127,
        issuers: BTreeSet::from(["github".to_owned()]),
        claims: Map::new(),
        max_ttl: Seconds::new(900),
    }
}

fn subject(template: &str, caller: &str, claims: &[(&str, &str)]) -> Result<String, String> {
    let claims: BTreeMap<_, _> = claims
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let audience = Audience::new(parts(Flavour::Federation, template)).unwrap();
    audience.subject(&SpiffeId::parse(caller).unwrap(), &claims)
}

const CALLER: &str = "spiffe://td.example/github/65/74";

#[test]
fn a_template_takes_the_caller_and_its_claims() {
    let check = |template: &str, expected: &str| {
        let claims = [("repository_id", "74"), ("repository_owner_id", "65")];
        assert_eq!(
            subject(template, CALLER, &claims),
            Ok(expected.to_owned()),
            "{template}"
        );
    };
    check("{spiffe_id}", CALLER);
    check("{path}", "github/65/74");
    check("ci:{path}", "ci:github/65/74");
    check("{claim.repository_owner_id}:{claim.repository_id}", "65:74");
    check("repo={claim.repository_id}@{path}", "repo=74@github/65/74");
    // printf %s abc | openssl dgst -sha256 -binary | head -c 20 | base32, in lower case, of the path here.
    let hash = subject("{path:h}", CALLER, &[]).unwrap();
    assert_eq!(hash.len(), 32);
    assert_ne!(hash, subject("{spiffe_id:h}", CALLER, &[]).unwrap());
}

#[test]
fn two_callers_never_read_alike() {
    let refused = |template: &str, why: TemplateError| {
        assert_eq!(SubTemplate::parse(template), Err(why), "{template}");
    };
    refused("", TemplateError::Constant);
    refused("everybody", TemplateError::Constant);
    refused("{claim.a}{claim.b}", TemplateError::Ambiguous);
    refused("{claim.a}-{claim.b}", TemplateError::Ambiguous);
    refused("{path}/{claim.b}", TemplateError::Ambiguous);
    refused("{spiffe_id}:{claim.b}", TemplateError::Ambiguous);
    refused("{claim.a:h}{path}", TemplateError::Ambiguous);
    for unknown in [
        "{name}",
        "{claim.}",
        "{claim.a b}",
        "{}",
        "{path:x}",
        "{spiffe_id:h:x}",
    ] {
        let inner = unknown.trim_matches(['{', '}']);
        refused(unknown, TemplateError::Placeholder(inner.to_owned()));
    }
    for mangled in [
        "a b{path}",
        "é{path}",
        "{path",
        "}{path}",
        "\"{path}",
        "a\\{path}",
    ] {
        refused(mangled, TemplateError::Literal);
    }
    // The same characters on both sides of the mark: each pair of values has one reading.
    let one = subject("{claim.a}:{claim.b}", CALLER, &[("a", "x-y"), ("b", "z")]);
    let other = subject("{claim.a}:{claim.b}", CALLER, &[("a", "x"), ("b", "y-z")]);
    assert_ne!(one.unwrap(), other.unwrap());
}

#[test]
fn a_value_that_does_not_fit_is_refused_and_never_mended() {
    for injected in ["a:b", "a/b", "", "a b", "ü", "{path}", "a\"b"] {
        assert!(
            subject("x:{claim.a}", CALLER, &[("a", injected)]).is_err(),
            "{injected}"
        );
    }
    assert!(subject("x:{claim.a:h}", CALLER, &[("a", "a:b")]).is_ok());
    assert!(
        subject("x:{claim.a}", CALLER, &[])
            .unwrap_err()
            .contains("no claim `a`")
    );
    let long = format!("spiffe://td.example/github/{}", "7".repeat(121));
    assert!(
        subject("{path}", &long, &[])
            .unwrap_err()
            .contains("127 bytes")
    );
    assert!(subject("{path}", &long.replacen("77", "7", 1), &[]).is_ok());
}

#[test]
fn the_claims_of_another_issuer_are_not_taken() {
    let other = "spiffe://td.example/gitlab/9";
    assert!(
        subject("x:{claim.a}", other, &[("a", "74")])
            .unwrap_err()
            .contains("`gitlab`")
    );
    assert_eq!(subject("{path}", other, &[]), Ok("gitlab/9".to_owned()));
}

#[test]
fn the_longest_name_is_known_beforehand() {
    let longest = |template: &str| SubTemplate::parse(template).unwrap().longest(|_| 255);
    assert_eq!(longest("{path}"), 255);
    assert_eq!(longest("repo:{claim.a}@{path:h}"), 5 + 255 + 1 + 32);
}

#[test]
fn the_standards_are_not_the_operators_to_change() {
    let built = |change: &dyn Fn(&mut AudienceParts)| {
        let mut parts = parts(Flavour::JwtSvid, "{spiffe_id}");
        change(&mut parts);
        Audience::new(parts).map(drop)
    };
    assert_eq!(built(&|_| ()), Ok(()));
    let eddsa = built(&|parts| parts.algorithm = Algorithm::Ed25519);
    assert_eq!(eddsa, Err(AudienceError::Algorithm));
    let path = built(&|parts| parts.sub = SubTemplate::parse("{path}").unwrap());
    assert_eq!(path, Err(AudienceError::Fixed));
    let extra = built(&|parts| drop(parts.claims.insert("a".to_owned(), json!(1))));
    assert_eq!(extra, Err(AudienceError::Fixed));
    for ours in ["sub", "aud", "cnf", "task", "exp"] {
        let named = built(&|parts| {
            parts.flavour = Flavour::Federation;
            parts.claims.insert(ours.to_owned(), json!("x"));
        });
        assert_eq!(named, Err(AudienceError::Claim(ours.to_owned())));
    }
}
