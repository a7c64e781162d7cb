//! A secret at rest: PKCS#8, or 32 bytes, inside AES-256-GCM under a passphrase.
//!
//! Two lines of ASCII. The first names the scheme and carries what opening needs; the second is the
//! ciphertext with its tag (or, without a passphrase, the secret itself), base64:
//! ```text
//! stint-key/v1 pbkdf2-hmac-sha256=600000 aes-256-gcm salt=… check=… nonce=…
//! stint-key/v1 plain
//! ```
//! The first line is authenticated with the ciphertext. `check` tells a wrong passphrase from an
//! altered file; it is no easier to guess against than the tag is. Bytes in, bytes out: files, their
//! owners and modes are the broker's.

use std::num::NonZeroU32;

use data_encoding::BASE64;
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hmac, pbkdf2,
    rand::{SecureRandom, SystemRandom},
};
use zeroize::Zeroizing;

/// The text of a new key file. A fresh salt and nonce each time.
///
/// `passphrase`: `None` leaves the secret bare, for `stintd dev` and for folders that something
/// else seals.
///
/// # Errors
/// [`KeyFileError::NoRandomness`]; [`KeyFileError::EmptyPassphrase`].
pub fn seal(secret: &[u8], passphrase: Option<&[u8]>) -> Result<Vec<u8>, KeyFileError> {
    let Some(passphrase) = passphrase else {
        return Ok(text(PLAIN, secret));
    };
    if passphrase.is_empty() {
        return Err(KeyFileError::EmptyPassphrase);
    }
    let salt: [u8; SALT_LEN] = random()?;
    let nonce: [u8; NONCE_LEN] = random()?;
    let keys = Keys::derive(passphrase, &salt);
    let header = format!(
        "{SEALED} salt={} check={} nonce={}",
        BASE64.encode(&salt),
        BASE64.encode(keys.check().as_ref()),
        BASE64.encode(&nonce),
    );
    let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + AES_256_GCM.tag_len()));
    bytes.extend_from_slice(secret);
    keys.cipher()?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(header.as_bytes()),
            &mut *bytes,
        )
        .map_err(|ring::error::Unspecified| KeyFileError::Malformed)?;
    Ok(text(&header, &bytes))
}

/// The secret in a key file's text; wiped when it is dropped.
///
/// # Errors
/// - [`KeyFileError::Malformed`]: not two lines of this format;
/// - [`KeyFileError::PassphraseRequired`] and [`KeyFileError::NotSealed`]: a passphrase is missing,
///   or was given for a bare file, which then may have been swapped in;
/// - [`KeyFileError::WrongPassphrase`];
/// - [`KeyFileError::Altered`]: the right passphrase, other bytes.
pub fn open(file: &[u8], passphrase: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let file = str::from_utf8(file).map_err(|_not_text| KeyFileError::Malformed)?;
    let (header, payload) = file
        .strip_suffix('\n')
        .unwrap_or(file)
        .split_once('\n')
        .ok_or(KeyFileError::Malformed)?;
    let mut payload = Zeroizing::new(decode(payload)?);
    match (header == PLAIN, passphrase) {
        (true, None) => Ok(payload),
        (true, Some(_)) => Err(KeyFileError::NotSealed),
        (false, None) => Err(KeyFileError::PassphraseRequired),
        (false, Some(passphrase)) => {
            let sealed = Sealed::parse(header)?;
            let keys = Keys::derive(passphrase, &sealed.salt);
            hmac::verify(&keys.root, CHECK_LABEL, &sealed.check)
                .map_err(|ring::error::Unspecified| KeyFileError::WrongPassphrase)?;
            let secret_len = keys
                .cipher()?
                .open_in_place(
                    Nonce::assume_unique_for_key(sealed.nonce),
                    Aad::from(header.as_bytes()),
                    &mut payload,
                )
                .map_err(|ring::error::Unspecified| KeyFileError::Altered)?
                .len();
            payload.truncate(secret_len);
            Ok(payload)
        }
    }
}

/// Why a key file was not made or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// The passphrase is right, and the file is not what was sealed.
    #[error("the key file was altered after it was sealed")]
    Altered,
    /// An empty passphrase protects nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Not this format, or not this version of it.
    #[error("not a key file of `stint-key/v1`")]
    Malformed,
    /// The system gives no randomness.
    #[error("the system gives no randomness")]
    NoRandomness,
    /// A passphrase is configured, and the file is bare.
    #[error("the key file is not sealed, although a passphrase is configured")]
    NotSealed,
    /// The file is sealed, and no passphrase is configured.
    #[error("the key file is sealed: it needs the passphrase")]
    PassphraseRequired,
    /// Sealed under another passphrase.
    #[error("wrong passphrase for the key file")]
    WrongPassphrase,
}

/// What the first line of a sealed file carries.
struct Sealed {
    salt: [u8; SALT_LEN],
    check: [u8; CHECK_LEN],
    nonce: [u8; NONCE_LEN],
}

impl Sealed {
    fn parse(header: &str) -> Result<Sealed, KeyFileError> {
        let mut fields = header
            .strip_prefix(SEALED)
            .ok_or(KeyFileError::Malformed)?
            .split(' ')
            .skip(1);
        let sealed = Sealed {
            salt: field(fields.next(), "salt=")?,
            check: field(fields.next(), "check=")?,
            nonce: field(fields.next(), "nonce=")?,
        };
        match fields.next() {
            None => Ok(sealed),
            Some(_) => Err(KeyFileError::Malformed),
        }
    }
}

/// What a passphrase and a salt give: the key of two others.
struct Keys {
    root: hmac::Key,
}

impl Keys {
    fn derive(passphrase: &[u8], salt: &[u8]) -> Keys {
        let mut root = Zeroizing::new([0; 32]);
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            ROUNDS,
            salt,
            passphrase,
            root.as_mut(),
        );
        Keys {
            root: hmac::Key::new(hmac::HMAC_SHA256, root.as_ref()),
        }
    }

    fn check(&self) -> hmac::Tag {
        hmac::sign(&self.root, CHECK_LABEL)
    }

    fn cipher(&self) -> Result<LessSafeKey, KeyFileError> {
        let key = hmac::sign(&self.root, SEAL_LABEL);
        UnboundKey::new(&AES_256_GCM, key.as_ref())
            .map(LessSafeKey::new)
            .map_err(|ring::error::Unspecified| KeyFileError::Malformed)
    }
}

fn text(header: &str, payload: &[u8]) -> Vec<u8> {
    let payload = Zeroizing::new(BASE64.encode(payload));
    [header.as_bytes(), b"\n", payload.as_bytes(), b"\n"].concat()
}

fn decode(text: &str) -> Result<Vec<u8>, KeyFileError> {
    BASE64
        .decode(text.as_bytes())
        .map_err(|_not_base64| KeyFileError::Malformed)
}

fn field<const N: usize>(field: Option<&str>, name: &str) -> Result<[u8; N], KeyFileError> {
    let value = field.and_then(|field| field.strip_prefix(name));
    decode(value.ok_or(KeyFileError::Malformed)?)?
        .try_into()
        .map_err(|_of_another_length| KeyFileError::Malformed)
}

fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|ring::error::Unspecified| KeyFileError::NoRandomness)?;
    Ok(bytes)
}

/// The first line of a bare file, whole.
const PLAIN: &str = "stint-key/v1 plain";

/// How the first line of a sealed file begins. The version fixes the rounds: a file cannot ask for
/// fewer.
const SEALED: &str = "stint-key/v1 pbkdf2-hmac-sha256=600000 aes-256-gcm";

/// OWASP's figure for PBKDF2 with HMAC-SHA256 (2023); named in [`SEALED`].
const ROUNDS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();

/// 128 bits: no two files share a salt (NIST SP 800-132 §5.1).
const SALT_LEN: usize = 16;

/// A whole HMAC-SHA256: a wrong passphrase is never taken for an altered file.
const CHECK_LEN: usize = 32;

/// What the two keys under the root are for; neither tells of the other.
const CHECK_LABEL: &[u8] = b"stint/key-file/check/v1\n";
const SEAL_LABEL: &[u8] = b"stint/key-file/seal/v1\n";

#[cfg(test)]
mod tests {
    use super::{KeyFileError, open, seal};

    const SECRET: &[u8] = b"the private key of a CA";

    #[test]
    fn a_sealed_file_opens_with_its_passphrase_and_with_no_other() {
        let file = seal(SECRET, Some(b"correct horse")).unwrap();
        assert_eq!(*open(&file, Some(b"correct horse")).unwrap(), SECRET);
        assert_eq!(
            open(&file, Some(b"battery staple")),
            Err(KeyFileError::WrongPassphrase)
        );
        assert_eq!(open(&file, None), Err(KeyFileError::PassphraseRequired));
        assert!(!file.windows(SECRET.len()).any(|window| window == SECRET));
    }

    #[test]
    fn an_altered_file_does_not_open() {
        let file = String::from_utf8(seal(SECRET, Some(b"pass")).unwrap()).unwrap();
        let (header, payload) = file.split_once('\n').unwrap();
        let swap = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            String::from_utf8(bytes).unwrap()
        };
        let nonce = header.find("nonce=").unwrap() + 6;
        for altered in [
            format!("{header}\n{}", swap(payload, 0)),
            format!("{}\n{payload}", swap(header, nonce)),
        ] {
            assert_eq!(
                open(altered.as_bytes(), Some(b"pass")),
                Err(KeyFileError::Altered)
            );
        }
    }

    #[test]
    fn other_texts_are_no_key_files() {
        for text in [
            "",
            "stint-key/v1 plain",
            "stint-key/v2 plain\nAAAA\n",
            "stint-key/v1 plain\nAA!A\n",
            "stint-key/v1 plain\nAAAA\nAAAA\n",
            "stint-key/v1 pbkdf2-hmac-sha256=1 aes-256-gcm salt=AAAA check=AAAA nonce=AAAA\nAAAA\n",
        ] {
            let passphrase = (!text.contains("plain")).then_some(&b"pass"[..]);
            let opened = open(text.as_bytes(), passphrase);
            assert!(
                matches!(
                    opened,
                    Err(KeyFileError::Malformed | KeyFileError::PassphraseRequired)
                ),
                "{text}: {opened:?}"
            );
        }
    }

    #[test]
    fn a_bare_file_opens_only_where_no_passphrase_is_set() {
        let file = seal(SECRET, None).unwrap();
        assert_eq!(*open(&file, None).unwrap(), SECRET);
        assert_eq!(open(&file, Some(b"pass")), Err(KeyFileError::NotSealed));
        assert_eq!(seal(SECRET, Some(b"")), Err(KeyFileError::EmptyPassphrase));
    }
}
