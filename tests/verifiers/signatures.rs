//! Ed25519 as the two verifiers check it, where implementations are known to differ: malleable signatures, points of small
//! order, points and scalars with a second spelling. One note must not get two verdicts.

use data_encoding::HEXLOWER;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde_json::json;

use crate::dice::Dice;
use crate::node::Talk;

/// The order of the base point, little-endian (RFC 8032 §5.1).
const L: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";

/// All encodings of the eight points of small order, those with y ≥ p and those with a sign on x = 0 among them.
const SMALL: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

/// Both checks of one signature, which agree.
struct Both(Talk);

impl Both {
    #[track_caller]
    fn verify(&mut self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let ours = UnparsedPublicKey::new(&ED25519, key)
            .verify(message, signature)
            .is_ok();
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        let asked = json!({"key": hex(key), "message": hex(message), "signature": hex(signature)});
        let theirs: bool = serde_json::from_str(&self.0.ask(&asked.to_string())).unwrap();
        assert_eq!(ours, theirs, "{asked}");
        ours
    }
}

#[test]
fn both_verifiers_take_the_same_signatures() {
    let mut both = Both(Talk::start("tests/verifiers/signatures.mjs"));
    let mut dice = Dice::new(8032);
    for n in 0..60_u8 {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap();
        let message = vec![n; dice.index(300)];
        let mut signature = pair.sign(&message).as_ref().to_vec();
        let mut key = pair.public_key().as_ref().to_vec();
        assert!(both.verify(&key, &message, &signature));
        assert!(!both.verify(&key, b"another", &signature));
        assert!(!both.verify(&key, &message, &plus_l(&signature)));
        assert!(!both.verify(&key, &message, &signature[..63]));
        let at = dice.index(64);
        signature[at] ^= 1 << dice.below(8);
        assert!(!both.verify(&key, &message, &signature));
        key[dice.index(32)] ^= 1 << dice.below(8);
        both.verify(&key, &message, &signature);
    }
}

#[test]
fn both_verifiers_take_the_same_points_of_small_order() {
    let mut both = Both(Talk::start("tests/verifiers/signatures.mjs"));
    let points = SMALL.map(|hex| HEXLOWER.decode(hex.as_bytes()).unwrap());
    let mut taken = 0;
    for a in &points {
        for r in &points {
            for message in [b"one".as_slice(), b"two", b"three"] {
                let signature = [r.as_slice(), &[0; 32]].concat();
                taken += u32::from(both.verify(a, message, &signature));
            }
        }
    }
    assert!(taken > 0, "some of them satisfy the equation");
}

/// The same signature with S + L for S, which a lax check takes as well.
fn plus_l(signature: &[u8]) -> Vec<u8> {
    let l = HEXLOWER.decode(L.as_bytes()).unwrap();
    let mut out = signature.to_vec();
    let mut carry = 0;
    for (byte, add) in out[32..].iter_mut().zip(l) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    out
}
