//! A passkey in software: what an authenticator and the browser before it would answer, and every lie of theirs.
//!
//! ```text
//! let passkey = Passkey::new("stint.example", "https://stint.example");
//! let (credential, authenticator_data, client_data) = passkey.enrol(&challenge);
//! let assertion = passkey.sign(&challenge);                 // a stint_audit::passkey::Assertion
//! let lie = Passkey::new("stint.example", "https://evil.example").unverified().sign(&challenge);
//! ```
//!
//! The person is verified, the key is not synced, and the counter goes up by one with every signature. Knobs: another
//! `rp` or `origin` ([`Passkey::on`] changes the page alone), [`Passkey::unverified`], [`Passkey::absent`],
//! [`Passkey::wind`] (a clone's counter), [`Passkey::ed25519`] and [`Passkey::rs256`] for the other algorithms. What no
//! knob turns, [`Passkey::client_data`] and [`Passkey::authenticator_data`] give as bytes: spoil them, then
//! [`Passkey::seal`].
//!
//! Of ours it uses the form of an assertion alone: keys, flags, CBOR and JSON are written by hand here, so that the code
//! under test is not its own judge.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};

use data_encoding::BASE64URL_NOPAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SystemRandom, generate};
use ring::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use stint_audit::passkey::Assertion;

/// The person touched it.
pub const PRESENT: u8 = 1;
/// The person was verified.
pub const VERIFIED: u8 = 1 << 2;
/// A key is in it.
pub const ATTESTED: u8 = 1 << 6;

/// The model every software passkey says it is of.
pub const AAGUID: [u8; 16] = *b"stint-in-a-test!";

/// One passkey of one person.
pub struct Passkey {
    pair: Pair,
    credential: Vec<u8>,
    rp: String,
    origin: String,
    flags: u8,
    count: AtomicU32,
}

enum Pair {
    Es256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passkey")
            .field("rp", &self.rp)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl Passkey {
    /// A new key of ES256, for `rp` (a host) on the pages of `origin`.
    #[must_use]
    pub fn new(rp: &str, origin: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_ASN1_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self::of(Pair::Es256(pair), rp, origin)
    }

    /// The same with EdDSA over Ed25519.
    #[must_use]
    pub fn ed25519(rp: &str, origin: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self::of(Pair::Ed25519(pair), rp, origin)
    }

    /// The same from a seed: always the same key and credential, which sign the same bytes the same.
    #[must_use]
    pub fn seeded(seed: u8, rp: &str, origin: &str) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Self {
            credential: vec![seed; 16],
            ..Self::of(Pair::Ed25519(pair), rp, origin)
        }
    }

    /// The same with RS256: always the one published key of 2048 bits, for ring makes none.
    #[must_use]
    pub fn rs256(rp: &str, origin: &str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(RSA).unwrap();
        Self::of(Pair::Rs256(Box::new(pair)), rp, origin)
    }

    fn of(pair: Pair, rp: &str, origin: &str) -> Self {
        let credential = generate::<[u8; 32]>(&SystemRandom::new()).unwrap().expose();
        Self {
            pair,
            credential: credential.to_vec(),
            rp: rp.to_owned(),
            origin: origin.to_owned(),
            flags: PRESENT | VERIFIED,
            count: AtomicU32::new(0),
        }
    }

    /// From here on the browser shows a page of `origin`.
    #[must_use]
    pub fn on(mut self, origin: &str) -> Self {
        origin.clone_into(&mut self.origin);
        self
    }

    /// From here on the person is not verified: touched, no PIN.
    #[must_use]
    pub fn unverified(mut self) -> Self {
        self.flags &= !VERIFIED;
        self
    }

    /// From here on nobody is there.
    #[must_use]
    pub fn absent(mut self) -> Self {
        self.flags &= !PRESENT;
        self
    }

    /// Sets the counter: the next signature carries `count` + 1. Back to where it was, and it is a clone's.
    pub fn wind(&self, count: u32) {
        self.count.store(count, Ordering::Relaxed);
    }

    /// Its id.
    #[must_use]
    pub fn credential(&self) -> &[u8] {
        &self.credential
    }

    /// Its public key as a JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y)})
            }
            Pair::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref())})
            }
            Pair::Rs256(pair) => {
                let n = modulus(pair);
                json!({"kty": "RSA", "e": "AQAB", "n": encode(&n)})
            }
        }
    }

    /// Answers `navigator.credentials.create()`: credential id, authenticator data, client data.
    #[must_use]
    pub fn enrol(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let mut data = self.authenticator_data(ATTESTED);
        data.extend(AAGUID);
        data.extend(u16::try_from(self.credential.len()).unwrap().to_be_bytes());
        data.extend(&self.credential);
        data.extend(self.cose());
        let client_data = self.client_data("webauthn.create", challenge);
        let client_data = client_data.to_string().into_bytes();
        (self.credential.clone(), data, client_data)
    }

    /// Answers `navigator.credentials.get()`.
    #[must_use]
    pub fn sign(&self, challenge: &[u8]) -> Assertion {
        let client_data = self.client_data("webauthn.get", challenge).to_string();
        self.seal(self.authenticator_data(0), client_data.into_bytes())
    }

    /// What the browser says about the page.
    #[must_use]
    pub fn client_data(&self, ceremony: &str, challenge: &[u8]) -> Value {
        let challenge = encode(challenge);
        json!({"type": ceremony, "challenge": challenge, "origin": self.origin, "crossOrigin": false})
    }

    /// The 37 bytes with these flags beside its own, and the next count.
    #[must_use]
    pub fn authenticator_data(&self, flags: u8) -> Vec<u8> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let rp = digest(&SHA256, self.rp.as_bytes());
        [rp.as_ref(), &[self.flags | flags], &count.to_be_bytes()].concat()
    }

    /// Signs whatever it is given.
    #[must_use]
    pub fn seal(&self, authenticator_data: Vec<u8>, client_data: Vec<u8>) -> Assertion {
        let hash = digest(&SHA256, &client_data);
        let message = [&authenticator_data, hash.as_ref()].concat();
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Es256(pair) => pair.sign(&random, &message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(&message).as_ref().to_vec(),
            Pair::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding = &RSA_PKCS1_SHA256;
                pair.sign(padding, &random, &message, &mut signature)
                    .unwrap();
                signature
            }
        };
        Assertion {
            credential: self.credential.clone(),
            authenticator_data,
            client_data,
            signature,
        }
    }

    /// Its public key as CTAP2 writes it.
    #[must_use]
    pub fn cose(&self) -> Vec<u8> {
        match &self.pair {
            Pair::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let head = b"\xa5\x01\x02\x03\x26\x20\x01\x21\x58\x20";
                [head.as_slice(), x, b"\x22\x58\x20", y].concat()
            }
            Pair::Ed25519(pair) => {
                let head = b"\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20";
                [head.as_slice(), pair.public_key().as_ref()].concat()
            }
            Pair::Rs256(pair) => {
                let n = modulus(pair);
                let head = b"\xa4\x01\x03\x03\x39\x01\x00\x20\x59\x01\x00";
                [head.as_slice(), &n, b"\x21\x43\x01\x00\x01"].concat()
            }
        }
    }
}

fn modulus(pair: &RsaKeyPair) -> Vec<u8> {
    RsaPublicKeyComponents::<Vec<u8>>::from(pair.public()).n
}

fn encode(bytes: &[u8]) -> String {
    BASE64URL_NOPAD.encode(bytes)
}

/// 2048 bits, published here: it signs for tests and nothing else.
const RSA: &[u8] = include_bytes!("../../ca/src/signer/software/rs256-test.pk8");
