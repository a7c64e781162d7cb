//! What browsers carry for us and cannot read, change or make: so that strangers write no row.

use data_encoding::BASE64URL_NOPAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hmac;

use crate::random;

/// Seals and opens. Each sealed text has a key of its own, made of 32 random bytes: strangers may ask for as many as
/// they like.
pub(super) struct Seal(hmac::Key);

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    /// `key`: of the log, the same on all replicas.
    pub(super) fn new(key: &[u8; 32]) -> Seal {
        Seal(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// base64url. What is sealed for one purpose opens for no other.
    pub(super) fn seal(&self, purpose: &str, text: &[u8]) -> Option<String> {
        let salt = random::bytes::<SALT>();
        let key = self.key(purpose, &salt)?;
        let mut sealed = text.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
            .ok()?;
        Some(BASE64URL_NOPAD.encode(&[&salt, sealed.as_slice()].concat()))
    }

    /// What was sealed for this purpose.
    pub(super) fn open(&self, purpose: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (salt, sealed) = bytes.split_at_checked(SALT)?;
        let key = self.key(purpose, salt)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let opened = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
        Some(opened.to_vec())
    }

    /// A tag over what need not be hidden.
    pub(super) fn tag(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"tag\n");
        context.update(purpose.as_bytes());
        context.update(b"\n");
        for part in parts {
            // Lengths keep two lists of parts from looking alike.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn key(&self, purpose: &str, salt: &[u8]) -> Option<LessSafeKey> {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"seal\n");
        context.update(purpose.as_bytes());
        context.update(b"\n");
        context.update(salt);
        let key = UnboundKey::new(&AES_256_GCM, context.sign().as_ref()).ok()?;
        Some(LessSafeKey::new(key))
    }
}

const SALT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_it_sealed_for_that_purpose_and_nothing_else() {
        let seal = Seal::new(&[7; 32]);
        let sealed = seal.seal("login", b"state").unwrap();
        assert_eq!(seal.open("login", &sealed).unwrap(), b"state");
        assert_ne!(sealed, seal.seal("login", b"state").unwrap());
        assert_eq!(seal.open("cli", &sealed), None);
        assert_eq!(Seal::new(&[8; 32]).open("login", &sealed), None);
        for place in 0..sealed.len() {
            let mut bytes = sealed.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(seal.open("login", &changed), None, "{place}");
        }
        for short in ["", "AA", "not base64!"] {
            assert_eq!(seal.open("login", short), None);
        }
    }
}
