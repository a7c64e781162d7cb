//! `aws` (IDENTITY.md §3.6): IAM outbound identity federation, `sts:GetWebIdentityToken`.
//!
//! One issuer is one account's. `sub` is parsed as an ARN, and only a role comes in: its name is what the token has, for
//! the immutable id of a role is not in it, so a role that was made anew under its name is the same caller.
//! `request_tags` are the caller's own words and are not read.

use crate::authenticate::claims::Shape;
use crate::authenticate::crypto::Algorithm;
use crate::authenticate::entry::fault::Fault;
use crate::authenticate::preset::{Facts, Presence, Preset, Stated};
use crate::authenticate::row::{Row, fact, id, name, text};
use crate::authenticate::{Label, Reuse};

pub(super) static PRESET: Preset = Preset {
    name: "aws",
    record: Some("aws"),
    algorithms: &[Algorithm::Es384, Algorithm::Rs256],
    typed: Presence::Optional,
    id: Some("{aws_account}/{role_name}"),
    initiator: Some("source_identity"),
    reuse: Reuse::Never,
    claims: CLAIMS,
    stated,
    check,
    ..Preset::USUAL
};

const STS: &str = "https://sts.amazonaws.com/";

const CLAIMS: &[Row] = &[
    id("aws_account")
        .required()
        .at(&[STS, "aws_account"])
        .is("tenant"),
    name("role_name", "aws_account")
        .required()
        .made_by_check()
        .is("project"),
    text("sub").required(),
    fact("source_identity", Shape::Id)
        .at(&[STS, "source_identity"])
        .is("actor"),
    id("org_id").at(&[STS, "org_id"]),
    text("source_region")
        .at(&[STS, "source_region"])
        .is("region"),
    fact("principal_tags", Shape::Tags).at(&[STS, "principal_tags"]),
    text("ec2_source_instance_arn")
        .at(&[STS, "ec2_source_instance_arn"])
        .is("instance"),
    text("lambda_source_function_arn").at(&[STS, "lambda_source_function_arn"]),
];

/// The issuer's name does not show its account, so the entry does.
fn stated(stated: &Stated<'_>) -> Result<(), Fault> {
    let account = stated.only.get("aws_account").map(Vec::as_slice);
    match account {
        Some([account]) if is_account(account) => Ok(()),
        _ => Err(
            Fault::new("only.aws_account", "is not one account of 12 digits")
                .help("an issuer is one account's: only = { aws_account = [\"123456789012\"] }"),
        ),
    }
}

fn check(facts: &mut Facts<'_>) -> Result<(), Label> {
    let sub = facts.text("sub").unwrap_or_default();
    let role = role(sub, facts.text("aws_account").unwrap_or_default());
    let role = role.ok_or(Label::Claims)?.to_owned();
    facts.make("role_name", &role)
}

/// The name of a role of this account: the last part of `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
fn role<'s>(arn: &'s str, account: &str) -> Option<&'s str> {
    let mut parts = arn.splitn(6, ':');
    let mut next = || parts.next();
    let head = [next()?, next()?, next()?, next()?, next()?];
    let ["arn", partition, "iam", "", owner] = head else {
        return None;
    };
    let known = PARTITIONS.contains(&partition) && is_account(account) && owner == account;
    let path = next()?.strip_prefix("role/").filter(|_| known)?;
    let name = path.rsplit('/').next()?;
    let in_alphabet = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_".contains(&b);
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(in_alphabet);
    fits.then_some(name)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

const PARTITIONS: [&str; 4] = ["aws", "aws-cn", "aws-eusc", "aws-us-gov"];
