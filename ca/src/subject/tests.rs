use data_encoding::BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    PublicKeyData as _, SanType, SignatureAlgorithm,
};
use serde_json::json;

use super::{KeyError, SubjectKey};

fn params() -> CertificateParams {
    CertificateParams::new(Vec::new()).unwrap()
}

fn request(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
    params.serialize_request(key).unwrap().der().to_vec()
}

fn p256() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE REQUEST", der::pem::LineEnding::LF, der).unwrap()
}

/// What becomes of a request with these parameters.
fn check(change: impl FnOnce(&mut CertificateParams), expected: Result<(), KeyError>) {
    let mut params = params();
    change(&mut params);
    let taken = SubjectKey::from_csr(&pem(&request(&params, &p256())));
    assert_eq!(taken.map(|_key| ()), expected);
}

#[test]
fn takes_the_three_kinds_of_key_in_both_forms() {
    let kinds: [&'static SignatureAlgorithm; 3] = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_ED25519,
    ];
    for kind in kinds {
        let key = KeyPair::generate_for(kind).unwrap();
        let der = request(&params(), &key);
        let from_pem = SubjectKey::from_csr(&pem(&der)).unwrap();
        assert_eq!(
            SubjectKey::from_csr(&BASE64.encode(&der)),
            Ok(from_pem.clone())
        );
        assert_eq!(from_pem.spki_der(), key.subject_public_key_info());
        assert_eq!(SubjectKey::from_spki_der(from_pem.spki_der()), Ok(from_pem));
    }
}

#[test]
fn takes_a_request_that_openssl_made_with_windows_line_ends() {
    let openssl = include_str!("openssl-p384-sha256.pem");
    assert!(SubjectKey::from_csr(openssl).is_ok());
    assert!(SubjectKey::from_csr(&openssl.replace('\n', "\r\n")).is_ok());
}

#[test]
fn refuses_an_rsa_key() {
    let openssl = include_str!("openssl-rsa.pem");
    assert_eq!(SubjectKey::from_csr(openssl), Err(KeyError::Kind));
}

#[test]
fn refuses_all_that_no_profile_gives() {
    use KeyError::Extension;
    check(
        |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        Err(Extension("CA:TRUE")),
    );
    check(
        |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)),
        Err(Extension("CA:TRUE")),
    );
    check(
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any],
        Err(Extension("an extended key usage of another kind")),
    );
    check(
        |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning],
        Err(Extension("an extended key usage of another kind")),
    );
    check(
        |p| {
            p.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
            ]
        },
        Err(Extension("a key usage beyond digitalSignature")),
    );
    check(
        |p| p.subject_alt_names = vec![SanType::IpAddress([10, 0, 0, 1].into())],
        Err(Extension("a name that is no URI and no DNS name")),
    );
    check(
        |p| p.subject_alt_names = vec![SanType::Rfc822Name("a@b.c".try_into().unwrap())],
        Err(Extension("a name that is no URI and no DNS name")),
    );
    let name_constraints = CustomExtension::from_oid_content(&[2, 5, 29, 30], vec![0x30, 0x00]);
    check(
        |p| p.custom_extensions = vec![name_constraints],
        Err(Extension("an extension of another kind")),
    );
    let no_ca_again = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    check(
        |p| {
            p.is_ca = IsCa::ExplicitNoCa;
            p.custom_extensions = vec![no_ca_again];
        },
        Err(Extension("an extension twice")),
    );
}

#[test]
fn keeps_the_wishes_a_profile_may_grant() {
    let mut params = params();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![
        SanType::URI("spiffe://td.example/a".try_into().unwrap()),
        SanType::DnsName("a.example".try_into().unwrap()),
    ];
    let key = SubjectKey::from_csr(&pem(&request(&params, &p256()))).unwrap();
    let wishes = key.wishes();
    assert_eq!(wishes.uris, ["spiffe://td.example/a"]);
    assert_eq!(wishes.dns, ["a.example"]);
    assert!(wishes.client && !wishes.server);
}

#[test]
fn refuses_another_attribute() {
    let challenge_password = rcgen::Attribute {
        oid: &[1, 2, 840, 113549, 1, 9, 7],
        values: vec![0x31, 0x03, 0x0c, 0x01, b'x'],
    };
    let der = params()
        .serialize_request_with_attributes(&p256(), vec![challenge_password])
        .unwrap();
    assert_eq!(
        SubjectKey::from_csr(&pem(der.der())),
        Err(KeyError::Attribute)
    );
}

#[test]
fn refuses_a_broken_self_signature_and_a_changed_key() {
    let der = request(&params(), &p256());
    let mut signature = der.clone();
    *signature.last_mut().unwrap() ^= 1;
    assert_eq!(
        SubjectKey::from_csr(&BASE64.encode(&signature)),
        Err(KeyError::Signature)
    );
    let other = p256().subject_public_key_info();
    let at = der
        .windows(26)
        .position(|window| window == &other[..26])
        .unwrap();
    let mut key = der;
    key[at..at + other.len()].copy_from_slice(&other);
    assert_eq!(
        SubjectKey::from_csr(&BASE64.encode(&key)),
        Err(KeyError::Signature)
    );
}

#[test]
fn refuses_all_but_one_strict_request() {
    let der = request(&params(), &p256());
    let text = pem(&der);
    let malformed = |text: &str| assert_eq!(SubjectKey::from_csr(text), Err(KeyError::Malformed));

    malformed(&format!("{text}{text}"));
    malformed(&format!("Subject: me\n{text}"));
    malformed(&format!("{text}trailing"));
    malformed(&text.replace("CERTIFICATE REQUEST", "CERTIFICATE"));
    malformed(&text.replace("-----END CERTIFICATE REQUEST-----", ""));
    malformed(&BASE64.encode(&[&der[..], &[0]].concat()));
    malformed(&BASE64.encode(&der[..der.len() - 1]));
    malformed("");

    let mut version = der.clone();
    let at = version
        .windows(3)
        .position(|w| w == [0x02, 0x01, 0x00])
        .unwrap();
    version[at + 2] = 1;
    malformed(&BASE64.encode(&version));

    // The same length in three bytes instead of two: BER, not DER.
    assert_eq!(der[1], 0x81);
    let ber = [&[0x30, 0x82, 0x00, der[2]], &der[3..]].concat();
    malformed(&BASE64.encode(&ber));
}

#[test]
fn refuses_more_than_8_kib() {
    let large = BASE64.encode(&vec![0x30; 8 * 1024 + 1]);
    assert_eq!(SubjectKey::from_csr(&large), Err(KeyError::TooLarge));
    let huge = "A".repeat(1 << 20);
    assert_eq!(SubjectKey::from_csr(&huge), Err(KeyError::TooLarge));
}

#[test]
fn refuses_a_bare_key_off_its_curve_and_a_private_one() {
    let mut spki = p256().subject_public_key_info();
    *spki.last_mut().unwrap() ^= 1;
    assert_eq!(SubjectKey::from_spki_der(&spki), Err(KeyError::Point));

    let x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
    let y = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y});
    assert!(SubjectKey::from_jwk(&jwk).is_ok());
    let private = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": x});
    assert_eq!(SubjectKey::from_jwk(&private), Err(KeyError::Kind));
    let swapped = json!({"kty": "EC", "crv": "P-256", "x": y, "y": x});
    assert_eq!(SubjectKey::from_jwk(&swapped), Err(KeyError::Point));
}
