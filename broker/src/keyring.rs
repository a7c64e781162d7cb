//! The key folder: `root.key issuing-N.key jwt-N.key ledger.key secret.key`, and the certificates
//! beside them (DESIGN.md §12).
//!
//! Files are sealed by the passphrase if there is one, readable by their owner alone, and never
//! overwritten. The highest N is in use.

mod next;

use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::hkdf;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use stint_ca::issuer::{self, IssuerError, Issuing};
use stint_ca::keyfile::{self, KeyFileError};
use stint_ca::signer::software::{self, KeyRejected, SoftwareSigner};
use stint_ca::signer::{Algorithm, Signer};
use stint_policy::{Seconds, Timestamp};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::config::{KeyFile, Secret, SecretError};
use crate::{durable, random};

pub(crate) use next::Signing;

/// A folder of keys, and what opens them.
pub struct Folder<'a> {
    /// Where.
    pub dir: &'a Path,
    /// What seals the files. `None`: they lie in the clear.
    pub passphrase: Option<&'a Secret<Vec<u8>>>,
}

/// What the folder is made for.
#[derive(Debug, Clone, Copy)]
pub struct Authority<'a> {
    /// Named in the certificates.
    pub trust_domain: &'a str,
    /// Life of an issuing CA.
    pub issuing_ttl: Seconds,
    /// Sort of the JWT key.
    pub jwt: Algorithm,
}

/// Open keys: each can do its one thing, none can be read.
#[derive(Debug)]
pub struct Keyring {
    /// The issuing CA in use.
    pub issuing: Issuing,
    /// Signs JWTs.
    pub jwt: Arc<dyn Signer>,
    /// Key of the task ids.
    pub tasks: Zeroizing<[u8; 32]>,
    /// What makes a ballot ours.
    pub ballots: Zeroizing<[u8; 32]>,
    /// Key of what browsers carry for us: sign-ins on their way, challenges of enrolments.
    pub web: Zeroizing<[u8; 32]>,
}

/// What seals the head, and what makes pseudonyms in the first epoch.
#[derive(Debug)]
pub(crate) struct LedgerSecrets {
    pub(crate) pseudonyms: Zeroizing<[u8; 32]>,
    pub(crate) mac: Zeroizing<[u8; 32]>,
}

/// Why the keys cannot be used.
#[derive(Debug, Error)]
pub enum KeyringError {
    /// The operator's own key cannot be used.
    #[error("`{path}` {reason}")]
    Brought {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A key file does not open.
    #[error("`{path}` does not open")]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyFileError,
    },
    /// A file may not be used, or cannot be read.
    #[error(transparent)]
    Read(#[from] SecretError),
    /// A file cannot be written, or is there already.
    #[error("`{path}` cannot be written")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder cannot be listed.
    #[error("`{path}` cannot be read")]
    List {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The folder lacks a file.
    #[error("`{0}` is missing: `stintd init` makes it")]
    Missing(PathBuf),
    /// Keys that were made to replace others, and are not in place.
    #[error(
        "`{0}` is there: a new CA was not finished; `stintd keys replace ca` again brings it to its end"
    )]
    Unfinished(PathBuf),
    /// A key is not of its sort.
    #[error("`{path}` does not hold such a key")]
    Sort {
        /// The file.
        path: PathBuf,
    },
    /// A key was rejected.
    #[error(transparent)]
    Rejected(#[from] KeyRejected),
    /// A certificate does not fit.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
}

impl Folder<'_> {
    /// Makes every key of a new broker.
    ///
    /// # Errors
    /// [`KeyringError::Write`] if the folder or a file of it is there already; what was made before
    /// stays, and a second run does not touch it.
    pub fn create(&self, what: Authority<'_>, now: Timestamp) -> Result<(), KeyringError> {
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(self.dir);
        made.map_err(|source| KeyringError::Write {
            path: self.dir.to_owned(),
            source,
        })?;
        self.create_authority(what, (1, 1), now)?;
        self.write("ledger.key", &*software::generate_seed()?)?;
        self.write("secret.key", &random::bytes::<32>())
    }

    /// Opens the keys. An issuing CA in the last third of its life gives way to a new one, if the
    /// root's key is here.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub fn open(&self, what: Authority<'_>, now: Timestamp) -> Result<Keyring, KeyringError> {
        if self.dir.join(NEXT).exists() {
            return Err(KeyringError::Unfinished(self.dir.join(NEXT)));
        }
        let root = self.text("root.pem")?;
        let mut number = self.newest("issuing-", &[".key", ".pem"])?;
        let mut issuing = self.issuing(number, &root, what)?;
        if issuing.is_late(now) && self.dir.join("root.key").exists() {
            number = self.last("issuing-")? + 1;
            let key = self.read("root.key")?;
            self.create_issuing(number, what, (&root, &key), now)?;
            issuing = self.issuing(number, &root, what)?;
            tracing::info!(number, "a new issuing CA is in use");
        }
        let jwt = format!("jwt-{}.key", self.newest("jwt-", &[".key"])?);
        let jwt = SoftwareSigner::from_pkcs8(what.jwt, &self.read(&jwt)?)?;
        let secret = self.seed("secret.key")?;
        Ok(Keyring {
            issuing,
            jwt: Arc::new(jwt),
            tasks: derive(&secret, b"stint/task/v1"),
            ballots: derive(&secret, b"stint/ballot/v1"),
            web: derive(&secret, b"stint/web/v1"),
        })
    }

    /// The keys of the ledger that no file of its own holds, and nothing else: no certificate is looked at or renewed.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn ledger_secrets(&self) -> Result<LedgerSecrets, KeyringError> {
        let secret = self.seed("secret.key")?;
        Ok(LedgerSecrets {
            pseudonyms: derive(&secret, b"stint/pseudonym/v1"),
            mac: derive(&secret, b"stint/mac/v1"),
        })
    }

    /// Root, issuing CA and token key, the last of these two with the numbers; the token key last of all.
    fn create_authority(
        &self,
        what: Authority<'_>,
        (issuing, jwt): (u32, u32),
        now: Timestamp,
    ) -> Result<(), KeyringError> {
        let root = issuer::new_root(what.trust_domain, now, ROOT_DAYS)?;
        self.write("root.key", &root.key)?;
        self.write_open("root.pem", root.certificate_pem.as_bytes())?;
        self.create_issuing(issuing, what, (&root.certificate_pem, &root.key), now)?;
        self.write(&format!("jwt-{jwt}.key"), &software::generate(what.jwt)?)
    }

    fn create_issuing(
        &self,
        number: u32,
        what: Authority<'_>,
        root: (&str, &[u8]),
        now: Timestamp,
    ) -> Result<(), KeyringError> {
        let days = what.issuing_ttl.as_u32().div_ceil(DAY_S);
        let made = issuer::new_issuing(root, what.trust_domain, now, days)?;
        self.write_open(
            &format!("issuing-{number}.pem"),
            made.certificate_pem.as_bytes(),
        )?;
        self.write(&format!("issuing-{number}.key"), &made.key)
    }

    fn issuing(
        &self,
        number: u32,
        root: &str,
        what: Authority<'_>,
    ) -> Result<Issuing, KeyringError> {
        let certificate = self.text(&format!("issuing-{number}.pem"))?;
        let key = self.read(&format!("issuing-{number}.key"))?;
        let signer = Arc::new(SoftwareSigner::from_pkcs8(Algorithm::Es256, &key)?);
        Ok(Issuing::new(root, &certificate, signer, what.trust_domain)?)
    }

    /// The highest N in use: a key that lacks its certificate was never finished.
    fn newest(&self, prefix: &str, suffixes: &[&str]) -> Result<u32, KeyringError> {
        let whole = |number: &u32| {
            let mut suffixes = suffixes.iter();
            suffixes.all(|suffix| self.dir.join(format!("{prefix}{number}{suffix}")).exists())
        };
        let newest = self.numbers(prefix)?.into_iter().filter(whole).max();
        newest.ok_or_else(|| KeyringError::Missing(self.dir.join(format!("{prefix}1.key"))))
    }

    /// The highest N of any file.
    fn last(&self, prefix: &str) -> Result<u32, KeyringError> {
        Ok(self.numbers(prefix)?.into_iter().max().unwrap_or(0))
    }

    /// Each N of the files `prefix`N`.*`.
    fn numbers(&self, prefix: &str) -> Result<Vec<u32>, KeyringError> {
        let list = |source| KeyringError::List {
            path: self.dir.to_owned(),
            source,
        };
        let mut numbers = Vec::new();
        for file in fs::read_dir(self.dir).map_err(list)? {
            let name = file.map_err(list)?.file_name();
            let number = name.to_str().and_then(|name| {
                let (number, _) = name.strip_prefix(prefix)?.split_once('.')?;
                number.parse::<u32>().ok()
            });
            numbers.extend(number);
        }
        Ok(numbers)
    }

    fn read(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyringError> {
        let path = self.existing(name)?;
        let file = KeyFile::new(path.clone()).read()?;
        #[expect(
            clippy::disallowed_methods,
            reason = "a sealed file is opened, and wiped after"
        )]
        let opened = keyfile::open(file.expose(), self.passphrase());
        opened.map_err(|source| KeyringError::Open { path, source })
    }

    /// A file of 32 bytes.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn seed(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyringError> {
        match self.read(name)?.as_slice().try_into() {
            Ok(seed) => Ok(Zeroizing::new(seed)),
            Err(_) => Err(KeyringError::Sort {
                path: self.dir.join(name),
            }),
        }
    }

    fn text(&self, name: &str) -> Result<String, KeyringError> {
        let path = self.existing(name)?;
        fs::read_to_string(&path).map_err(|source| KeyringError::List { path, source })
    }

    fn existing(&self, name: &str) -> Result<PathBuf, KeyringError> {
        let path = self.dir.join(name);
        if path.exists() {
            Ok(path)
        } else {
            Err(KeyringError::Missing(path))
        }
    }

    /// A new file, sealed if there is a passphrase.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn write(&self, name: &str, secret: &[u8]) -> Result<(), KeyringError> {
        let path = self.dir.join(name);
        let sealed =
            keyfile::seal(secret, self.passphrase()).map_err(|source| KeyringError::Open {
                path: path.clone(),
                source,
            })?;
        durable::create(&path, 0o600, &sealed)
            .map_err(|source| KeyringError::Write { path, source })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what seals and opens the key files"
    )]
    fn passphrase(&self) -> Option<&[u8]> {
        self.passphrase.map(|it| it.expose().as_slice())
    }

    fn write_open(&self, name: &str, text: &[u8]) -> Result<(), KeyringError> {
        let path = self.dir.join(name);
        durable::create(&path, 0o644, text).map_err(|source| KeyringError::Write { path, source })
    }
}

/// The RSA key that an operator brings for RS256: PKCS#8, PEM or DER. It signs once before this returns.
///
/// # Errors
/// [`KeyringError::Read`] for a file that others could read or change; [`KeyringError::Brought`] for what it holds.
pub fn brought(file: &KeyFile) -> Result<Arc<dyn Signer>, KeyringError> {
    let unusable = |reason: String| KeyringError::Brought {
        path: file.path().to_owned(),
        reason,
    };
    let bytes = file.read()?;
    #[expect(
        clippy::disallowed_methods,
        reason = "a key file is parsed, and wiped after"
    )]
    let bytes = bytes.expose();
    let signer = if bytes.starts_with(b"-----BEGIN") {
        let pem = PrivatePkcs8KeyDer::from_pem_slice(bytes);
        let der = pem.map_err(|error| unusable(format!("is no PKCS#8 PEM ({error}): {PKCS8}")))?;
        SoftwareSigner::from_pkcs8(Algorithm::Rs256, der.secret_pkcs8_der())
    } else {
        SoftwareSigner::from_pkcs8(Algorithm::Rs256, bytes)
    };
    let rejected = |error: KeyRejected| unusable(format!("is no RSA key to sign with: {error}"));
    Ok(Arc::new(signer.map_err(rejected)?))
}

/// What makes PKCS#8 of anything.
const PKCS8: &str = "openssl pkcs8 -topk8 -nocrypt makes one";

/// One purpose, one key: HKDF-SHA-256 of `secret.key`, the purpose as info (RFC 5869).
fn derive(secret: &[u8; 32], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"stint").extract(secret);
    let mut key = Zeroizing::new([0; 32]);
    let info = [purpose];
    let filled = extracted
        .expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key));
    // INVARIANT: HKDF gives up to 255 blocks; one is asked for. A key that was not filled is never used.
    if filled.is_err() {
        std::process::abort();
    }
    key
}

impl fmt::Debug for Folder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Folder")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

/// The folder in which keys wait that are to replace those in use.
const NEXT: &str = "next";
/// Behind the name of a file that is used no more.
pub(crate) const RETIRED: &str = ".retired";
/// Ten years: as long as relying parties keep an anchor.
const ROOT_DAYS: u32 = 3_650;
const DAY_S: u32 = 86_400;
