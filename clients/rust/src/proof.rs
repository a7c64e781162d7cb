//! The session key and its DPoP proofs (RFC 9449 §4.2): ES256, one fresh proof per call, bound to method, URL and token.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;
use stint_wire::Token;
use zeroize::Zeroizing;

use crate::Error;

/// A P-256 key that proves that all calls of a session come from one place.
pub struct SessionKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
    /// The protected header, base64url: it is the same in every proof.
    header: String,
    random: SystemRandom,
}

impl SessionKey {
    /// Draws a key from the OS.
    ///
    /// # Errors
    /// [`Error::Key`] if the OS gives no randomness.
    pub fn generate() -> Result<Self, Error> {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_unspecified| Error::Key)?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Takes up a key that was kept, PKCS#8 DER as [`SessionKey::pkcs8`] gave it.
    ///
    /// # Errors
    /// [`Error::Key`] if it is no P-256 key.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|_rejected| Error::Key)?;
        // SEC 1 §2.3.3: 0x04, then x and y of 32 bytes each.
        let point = pair.public_key().as_ref();
        let (Some(x), Some(y)) = (point.get(1..33), point.get(33..65)) else {
            return Err(Error::Key);
        };
        let jwk = json!({"crv": "P-256", "kty": "EC", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)});
        let header = encode(&json!({"alg": "ES256", "jwk": jwk, "typ": "dpop+jwt"}));
        Ok(Self {
            pair,
            pkcs8: Zeroizing::new(der.to_vec()),
            header,
            random,
        })
    }

    /// The key as PKCS#8 DER, to be kept where only its owner reads it.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// Its RFC 7638 thumbprint, base64url.
    #[must_use]
    pub fn thumbprint(&self) -> String {
        let point = self.pair.public_key().as_ref();
        let part = |range| BASE64URL.encode(point.get(range).unwrap_or_default());
        let (x, y) = (part(1..33), part(33..65));
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL.encode(digest(&SHA256, text.as_bytes()))
    }

    /// One proof: `method` in capitals and `url` without query and fragment, `iat` in seconds since 1970, the token it
    /// goes with, if one does.
    ///
    /// # Errors
    /// [`Error::Key`] if the OS gives no randomness.
    pub(crate) fn proof(
        &self,
        (method, url): (&str, &str),
        iat: i64,
        token: Option<&str>,
    ) -> Result<String, Error> {
        let jti = unique(&self.random)?;
        let mut claims = json!({"htm": method, "htu": url, "iat": iat, "jti": jti});
        if let (Some(token), Some(members)) = (token, claims.as_object_mut()) {
            let hash = BASE64URL.encode(digest(&SHA256, token.as_bytes()));
            members.insert("ath".to_owned(), hash.into());
        }
        let claims = encode(&claims);
        let input = format!("{}.{claims}", self.header);
        let signature = self
            .pair
            .sign(&self.random, input.as_bytes())
            .map_err(|_unspecified| Error::Key)?;
        Ok(format!("{input}.{}", BASE64URL.encode(signature)))
    }
}

/// A text that nobody else uses: 128 random bits, base64url.
///
/// # Errors
/// [`Error::Key`] if the OS gives no randomness.
pub(crate) fn unique(random: &SystemRandom) -> Result<String, Error> {
    let mut bits = [0; 16];
    random.fill(&mut bits).map_err(|_unspecified| Error::Key)?;
    Ok(BASE64URL.encode(bits))
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(P-256)")
    }
}

/// Keeps session keys for tokens that come again. A name is made of the token's hash, so that it tells nothing of it.
pub struct Keeper(Box<Keep>);

type Keep = dyn Fn(&str) -> Result<SessionKey, Error> + Send + Sync;

impl Keeper {
    /// `keep` gives the key that is kept under a name (base64url), and makes and keeps one where there is none.
    #[must_use]
    pub fn new(keep: impl Fn(&str) -> Result<SessionKey, Error> + Send + Sync + 'static) -> Self {
        Self(Box::new(keep))
    }

    /// The key that goes with `token`.
    pub(crate) fn key(&self, token: &Token) -> Result<SessionKey, Error> {
        (self.0)(&BASE64URL.encode(digest(&SHA256, token.expose().as_bytes())))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keeper")
    }
}

fn encode(json: &serde_json::Value) -> String {
    BASE64URL.encode(json.to_string())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
    use serde_json::Value;

    use super::{BASE64URL, SessionKey};

    fn part(proof: &str, index: usize) -> Vec<u8> {
        BASE64URL
            .decode(proof.split('.').nth(index).unwrap())
            .unwrap()
    }

    #[test]
    fn signs_method_url_and_token() {
        let key = SessionKey::generate().unwrap();
        // RFC 9449's own token and its `ath`.
        let token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
        let proof = key
            .proof(("POST", "https://s/v1/grants"), 1_700_000_000, Some(token))
            .unwrap();
        let header: Value = serde_json::from_slice(&part(&proof, 0)).unwrap();
        let claims: Value = serde_json::from_slice(&part(&proof, 1)).unwrap();
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&"dpop+jwt".into(), &"ES256".into())
        );
        assert!(header["jwk"].get("d").is_none());
        assert_eq!(claims["ath"], "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
        assert_eq!(
            (&claims["htm"], &claims["htu"]),
            (&"POST".into(), &"https://s/v1/grants".into())
        );
        assert_eq!(claims["iat"], 1_700_000_000);

        let coordinate = |name: &str| {
            BASE64URL
                .decode(header["jwk"][name].as_str().unwrap())
                .unwrap()
        };
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let signed = proof.rsplit_once('.').unwrap().0;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(signed.as_bytes(), &part(&proof, 2))
            .unwrap();
    }

    #[test]
    fn no_two_proofs_are_the_same_and_a_kept_key_proves_the_same_key() {
        let key = SessionKey::generate().unwrap();
        let again = SessionKey::from_pkcs8(key.pkcs8()).unwrap();
        let (one, two) = (
            key.proof(("GET", "u"), 1, None).unwrap(),
            again.proof(("GET", "u"), 1, None).unwrap(),
        );
        assert_ne!(one, two);
        assert_eq!(part(&one, 0), part(&two, 0));
        assert_eq!(format!("{key:?}"), "SessionKey(P-256)");
        assert!(SessionKey::from_pkcs8(b"no key").is_err());
    }
}
