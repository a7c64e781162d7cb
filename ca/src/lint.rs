//! Reads back, by other people's parsers, the bytes that are about to be recorded and signed, and
//! holds every field against what was meant. Bad bytes are refused before any signer sees them.
//!
//! It knows the profile of PROTOCOLS.md §3.13 by itself, and shares no encoder with `x509.rs`.

use stint_policy::Timestamp;
use x509_parser::{
    certificate::TbsCertificate,
    der_parser::{self, ber::BerObject},
    extensions::{DistributionPointName, GeneralName, ParsedExtension, X509Extension},
    oid_registry::OID_PKIX_ACCESS_DESCRIPTOR_OCSP,
    prelude::FromDer,
    x509::X509Version,
};

use crate::{
    jwt,
    scope::{LONGEST_NAME, LONGEST_RESOURCE, Scope},
    signer::Algorithm,
    x509::{self, Leaf},
};

/// The field that is not what was meant. A fault of ours, never of the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lint found the wrong {0}")]
pub struct LintError(pub(crate) &'static str);

/// A TBSCertificate against the leaf it was made from.
pub(crate) fn certificate(
    tbs: &[u8],
    template: &x509::Template,
    leaf: &Leaf<'_>,
) -> Result<(), LintError> {
    let Ok(([], read)) = TbsCertificate::from_der(tbs) else {
        return Err(LintError("form"));
    };
    is("version", read.version() == X509Version::V3)?;
    is("serial", serial(&read, leaf))?;
    is("signature algorithm", algorithm(&read, template))?;
    is("issuer", read.issuer().as_raw() == template.issuer)?;
    let validity = read.validity();
    is(
        "notBefore",
        validity.not_before.timestamp() == leaf.not_before,
    )?;
    is("notAfter", validity.not_after.timestamp() == leaf.not_after)?;
    is("validity", leaf.not_before < leaf.not_after)?;
    is("subject", subject(&read, leaf))?;
    is("public key", read.public_key().raw == leaf.key.spki_der())?;
    let no_ids = read.issuer_uid.is_none() && read.subject_uid.is_none();
    is("unique identifiers", no_ids)?;
    extensions(read.extensions(), template, leaf)
}

/// A JWS signing input against the claims it was made from; `bound` is the grant's end.
pub(crate) fn token(
    input: &[u8],
    template: &jwt::Template,
    claims: &jwt::Payload<'_>,
    bound: Timestamp,
) -> Result<(), LintError> {
    let payload = template.payload(input).ok_or(LintError("JOSE header"))?;
    let read = claims.read_back(&payload).ok_or(LintError("payload"))?;
    is("claims", read == *claims)?;
    let (issuer, issued, expires) = read.bounds();
    is("exp", issued < expires && expires <= bound.as_secs())?;
    is("iss", issuer == template.issuer())
}

#[expect(
    clippy::fn_params_excessive_bools,
    reason = "the bool is what was found, not a switch"
)]
fn is(field: &'static str, right: bool) -> Result<(), LintError> {
    right.then_some(()).ok_or(LintError(field))
}

fn serial(read: &TbsCertificate<'_>, leaf: &Leaf<'_>) -> bool {
    let raw = read.raw_serial();
    let leading = |bytes: &[u8]| bytes.iter().position(|byte| *byte != 0);
    let meant = leaf.serial.as_bytes();
    raw.len() <= 20
        && raw.first().is_some_and(|first| *first < 0x80)
        && leading(raw).and_then(|at| raw.get(at..))
            == leading(meant).and_then(|at| meant.get(at..))
}

fn algorithm(read: &TbsCertificate<'_>, template: &x509::Template) -> bool {
    let dotted = match template.algorithm {
        Algorithm::Es256 => "1.2.840.10045.4.3.2",
        Algorithm::Ed25519 => "1.3.101.112",
        Algorithm::Rs256 => return false,
    };
    read.signature.parameters.is_none() && read.signature.algorithm.to_id_string() == dotted
}

fn subject(read: &TbsCertificate<'_>, leaf: &Leaf<'_>) -> bool {
    let subject = read.subject();
    match &leaf.common_name {
        None => subject.as_raw() == [0x30, 0x00],
        Some(meant) => {
            let mut names = subject.iter_common_name();
            let name = names.next().and_then(|name| name.as_str().ok());
            name == Some(meant) && subject.iter_attributes().count() == 1
        }
    }
}

/// Exactly those of the table, in its order, with its criticality.
fn extensions(
    read: &[X509Extension<'_>],
    template: &x509::Template,
    leaf: &Leaf<'_>,
) -> Result<(), LintError> {
    let mut read = read.iter();
    let mut next = |field, critical| match read.next() {
        Some(extension) if extension.critical == critical => Ok(extension),
        Some(_) | None => Err(LintError(field)),
    };

    let names = next("names", leaf.common_name.is_none())?;
    is("names", self::names(names.parsed_extension(), leaf))?;

    let constraints = next("basic constraints", true)?.parsed_extension();
    let no_ca = matches!(constraints, ParsedExtension::BasicConstraints(c) if !c.ca && c.path_len_constraint.is_none());
    is("basic constraints", no_ca)?;

    let usage = next("key usage", true)?.parsed_extension();
    let signs =
        matches!(usage, ParsedExtension::KeyUsage(usage) if usage.flags == DIGITAL_SIGNATURE);
    is("key usage", signs)?;

    let usages = next("extended key usage", false)?;
    is(
        "extended key usage",
        self::usages(usages.parsed_extension(), leaf),
    )?;

    let own = next("subject key identifier", false)?.parsed_extension();
    let right =
        matches!(own, ParsedExtension::SubjectKeyIdentifier(id) if id.0 == leaf.key.identifier());
    is("subject key identifier", right)?;

    let theirs = next("authority key identifier", false)?;
    is(
        "authority key identifier",
        authority(theirs.parsed_extension(), template),
    )?;

    if let Some(url) = &template.crl_url {
        let points = next("CRL distribution point", false)?;
        is(
            "CRL distribution point",
            crl(points.parsed_extension(), url),
        )?;
    }
    if let Some(url) = &template.ocsp_url {
        let access = next("authority information access", false)?;
        is(
            "authority information access",
            ocsp(access.parsed_extension(), url),
        )?;
    }

    let grant = next("stint extension", false)?;
    let ours = grant.oid.as_bytes() == template.grant_oid.as_bytes();
    is(
        "stint extension",
        ours && stint(grant.value, &leaf.scope, &template.log) == Some(true),
    )?;
    match read.next() {
        None => Ok(()),
        Some(_) => Err(LintError("number of extensions")),
    }
}

fn names(read: &ParsedExtension<'_>, leaf: &Leaf<'_>) -> bool {
    let ParsedExtension::SubjectAlternativeName(names) = read else {
        return false;
    };
    let mut names = names.general_names.iter();
    let id = matches!(names.next(), Some(GeneralName::URI(uri)) if *uri == leaf.spiffe_id);
    let has_path = leaf
        .spiffe_id
        .strip_prefix("spiffe://")
        .is_some_and(|rest| rest.contains('/'));
    let mut dns = leaf.dns_names.iter();
    let same = names.all(|name| match (name, dns.next()) {
        (GeneralName::DNSName(name), Some(meant)) => name == meant,
        (_, _) => false,
    });
    id && has_path && same && dns.next().is_none()
}

fn usages(read: &ParsedExtension<'_>, leaf: &Leaf<'_>) -> bool {
    let ParsedExtension::ExtendedKeyUsage(read) = read else {
        return false;
    };
    let others = read.any
        || read.code_signing
        || read.email_protection
        || read.time_stamping
        || read.ocsp_signing
        || !read.other.is_empty();
    !others && read.client_auth == leaf.usage.client && read.server_auth == leaf.usage.server
}

fn authority(read: &ParsedExtension<'_>, template: &x509::Template) -> bool {
    let ParsedExtension::AuthorityKeyIdentifier(read) = read else {
        return false;
    };
    let identifier = read.key_identifier.as_ref().map(|identifier| identifier.0);
    identifier == Some(&template.authority_key_identifier[..])
        && read.authority_cert_issuer.is_none()
        && read.authority_cert_serial.is_none()
}

fn crl(read: &ParsedExtension<'_>, url: &str) -> bool {
    let ParsedExtension::CRLDistributionPoints(points) = read else {
        return false;
    };
    let [point] = points.points.as_slice() else {
        return false;
    };
    let name = point.distribution_point.as_ref();
    let named = matches!(name, Some(DistributionPointName::FullName(names))
        if matches!(names.as_slice(), [GeneralName::URI(uri)] if *uri == url));
    named && point.reasons.is_none() && point.crl_issuer.is_none()
}

fn ocsp(read: &ParsedExtension<'_>, url: &str) -> bool {
    let ParsedExtension::AuthorityInfoAccess(access) = read else {
        return false;
    };
    let [access] = access.accessdescs.as_slice() else {
        return false;
    };
    let here = matches!(access.access_location, GeneralName::URI(uri) if uri == url);
    here && access.access_method == OID_PKIX_ACCESS_DESCRIPTOR_OCSP
}

/// `None` where the value is not even of the right form.
fn stint(value: &[u8], scope: &Scope<'_>, log: &str) -> Option<bool> {
    let ([], read) = der_parser::parse_der(value).ok()? else {
        return None;
    };
    let [version, grant, task, action, resources, tagged @ ..] =
        read.as_sequence().ok()?.as_slice()
    else {
        return None;
    };
    let text = |object: &BerObject<'_>, most: usize, meant: &str| {
        object.as_str().is_ok_and(|text| text == meant) && (1..=most).contains(&meant.len())
    };
    let resources = resources.as_sequence().ok()?;
    let listed = resources.len() == scope.resources.len()
        && resources.len() <= 32
        && resources.is_empty() == scope.resources_hash.is_some()
        && resources
            .iter()
            .zip(&scope.resources)
            .all(|(read, meant)| text(read, LONGEST_RESOURCE, meant));
    let hash = scope.resources_hash.as_ref().map(|hash| (0, &hash[..]));
    let initiator = scope.initiator.map(|initiator| (2, initiator.as_bytes()));
    let optional = hash
        .into_iter()
        .chain([(1, log.as_bytes())])
        .chain(initiator);
    let read: Option<Vec<(u32, &[u8])>> = tagged
        .iter()
        .map(|object| Some((object.header.tag().0, object.as_slice().ok()?)))
        .collect();
    Some(
        version.as_u32() == Ok(1)
            && text(grant, 64, &scope.grant)
            && text(task, LONGEST_NAME, scope.task)
            && text(action, LONGEST_NAME, &scope.action)
            && listed
            && log.len() <= 255
            && scope
                .initiator
                .is_none_or(|initiator| initiator.len() <= 2048)
            && optional.eq(read?),
    )
}

/// Bit 0 alone (RFC 5280 §4.2.1.3), as x509-parser numbers bits.
const DIGITAL_SIGNATURE: u16 = 1;

#[cfg(test)]
mod tests {
    use super::{LintError, certificate, token};
    use crate::{
        audience::Flavour,
        jwt,
        profile::Usage,
        scope::Scope,
        signer::{Algorithm, Signer, software, software::SoftwareSigner},
        subject::SubjectKey,
        x509::{DEFAULT_ARC, Leaf, Serial, Template, grant_oid},
    };
    use stint_policy::Timestamp;

    /// The name CN=CA.
    const CA: [u8; 15] = *b"\x30\x0d\x31\x0b\x30\x09\x06\x03\x55\x04\x03\x0c\x02CA";

    fn signer() -> SoftwareSigner {
        let key = software::generate(Algorithm::Es256).unwrap();
        SoftwareSigner::from_pkcs8(Algorithm::Es256, &key).unwrap()
    }

    fn key() -> SubjectKey {
        SubjectKey::from_spki_der(signer().public_key_spki()).unwrap()
    }

    fn template(log: &str, url: Option<&str>) -> Template {
        let oid = grant_oid(DEFAULT_ARC).unwrap();
        Template::new(&CA, Algorithm::Es256, [7; 20], log, (oid, url)).unwrap()
    }

    fn scope(resources: &[&str]) -> Scope<'static> {
        let resources = resources.iter().map(|&uid| uid.to_owned()).collect();
        Scope::new("gr_1".into(), "github:1", resources)
            .action("deploy".into())
            .initiator(Some("spiffe://td.example/user/1"))
    }

    fn leaf(key: &SubjectKey) -> Leaf<'_> {
        Leaf {
            serial: Serial::from_random([0; 20]),
            not_before: 1_000,
            not_after: 2_000,
            spiffe_id: "spiffe://td.example/a",
            common_name: None,
            dns_names: vec!["a.example".into()],
            usage: Usage {
                client: true,
                server: true,
            },
            key,
            scope: scope(&["A::\"b\"", "A::\"c\""]),
        }
    }

    #[test]
    fn every_field_that_differs_is_found() {
        let (key, other) = (key(), key());
        let template = template("log", Some("http://pki"));
        let check = |change: &dyn Fn(&mut Leaf<'_>), expected: Result<(), LintError>| {
            let tbs = template.tbs(&leaf(&key)).unwrap();
            let mut meant = leaf(&key);
            change(&mut meant);
            assert_eq!(certificate(&tbs, &template, &meant), expected);
        };
        let wrong = |field| Err(LintError(field));
        check(&|_| {}, Ok(()));
        check(
            &|l| l.serial = Serial::from_random([2; 20]),
            wrong("serial"),
        );
        check(&|l| l.not_before += 1, wrong("notBefore"));
        check(&|l| l.not_after -= 1, wrong("notAfter"));
        check(&|l| l.spiffe_id = "spiffe://td.example/b", wrong("names"));
        check(&|l| l.dns_names.clear(), wrong("names"));
        check(&|l| l.dns_names.push("b.example".into()), wrong("names"));
        check(&|l| l.common_name = Some("a".into()), wrong("subject"));
        check(&|l| l.usage.server = false, wrong("extended key usage"));
        check(&|l| l.scope.grant = "gr_2".into(), wrong("stint extension"));
        check(&|l| l.scope.task = "github:2", wrong("stint extension"));
        check(
            &|l| l.scope.action = "read".into(),
            wrong("stint extension"),
        );
        check(&|l| l.scope.initiator = None, wrong("stint extension"));
        check(
            &|l| l.scope.resources_hash = Some([0; 32]),
            wrong("stint extension"),
        );
        check(
            &|l| l.scope = scope(&["A::\"b\""]),
            wrong("stint extension"),
        );

        let tbs = template.tbs(&leaf(&key)).unwrap();
        assert_eq!(
            certificate(&tbs, &template, &leaf(&other)),
            wrong("public key")
        );
        let trailing = [&tbs[..], &[0]].concat();
        assert_eq!(
            certificate(&trailing, &template, &leaf(&key)),
            wrong("form")
        );
    }

    #[test]
    fn what_is_shared_is_held_against_the_template() {
        let key = key();
        let meant = template("log", Some("http://pki"));
        let check = |other: &Template, field| {
            let tbs = other.tbs(&leaf(&key)).unwrap();
            assert_eq!(
                certificate(&tbs, &meant, &leaf(&key)),
                Err(LintError(field))
            );
        };
        check(&template("gol", Some("http://pki")), "stint extension");
        check(
            &template("log", Some("http://ikp")),
            "CRL distribution point",
        );
        check(&template("log", None), "CRL distribution point");
        let mut other = template("log", Some("http://pki"));
        other.issuer = vec![0x30, 0x00];
        check(&other, "issuer");
        other = template("log", Some("http://pki"));
        other.algorithm = Algorithm::Ed25519;
        check(&other, "signature algorithm");
    }

    #[test]
    fn sizes_beyond_the_extensions_module_are_found() {
        let key = key();
        let template = template("log", None);
        let check = |change: &dyn Fn(&mut Leaf<'_>)| {
            let mut meant = leaf(&key);
            change(&mut meant);
            let tbs = template.tbs(&meant).unwrap();
            let found = certificate(&tbs, &template, &meant);
            assert_eq!(found, Err(LintError("stint extension")));
        };
        check(&|l| l.scope.grant = "g".repeat(65));
        check(&|l| l.scope.action = "a".repeat(256));
        check(&|l| l.scope.action = String::new());
        check(&|l| l.scope.resources = vec!["r".repeat(1025)]);
        check(&|l| l.scope.resources = Vec::new());
    }

    #[test]
    fn a_token_of_other_claims_or_beyond_its_bound_is_found() {
        let template = || {
            jwt::Template::new("https://stint.example", &signer(), Flavour::AccessToken).unwrap()
        };
        let tokens = template();
        let scope = scope(&["A::\"b\""]);
        let claims = |audience, expires| {
            let own = jwt::Particulars {
                audience,
                issued: 1_000,
                expires,
                jti: "j",
                confirmation: None,
            };
            jwt::Payload::Access(jwt::Claims::of_caller(
                "https://stint.example",
                "spiffe://td.example/a",
                &scope,
                own,
            ))
        };
        let input = tokens.signing_input(&claims("a", 2_000)).unwrap();
        let bound = Timestamp::from_millis(2_000_999);
        let early = Timestamp::from_millis(1_999_999);
        let check = |input: &[u8], claims: &jwt::Payload<'_>, bound, expected| {
            assert_eq!(token(input, &tokens, claims, bound), expected);
        };
        let meant = claims("a", 2_000);
        check(&input, &meant, bound, Ok(()));
        check(&input, &meant, early, Err(LintError("exp")));
        check(&input, &claims("b", 2_000), bound, Err(LintError("claims")));
        let foreign = template().signing_input(&meant).unwrap();
        check(&foreign, &meant, bound, Err(LintError("JOSE header")));
    }
}
