//! Keys that are to replace those in use: made whole in the folder `next`, recorded by whoever asked, then put in place.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use stint_audit::Digest;
use stint_ca::signer::software::SoftwareSigner;
use stint_ca::signer::{Algorithm, Signer as _};
use stint_policy::Timestamp;

use super::{Authority, Folder, KeyringError, NEXT, RETIRED};
use crate::durable;

/// What certificates and tokens are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signing {
    /// SHA-256 of the issuing CA's SPKI.
    pub(crate) certificates: Digest,
    /// SHA-256 of the token key's SPKI.
    pub(crate) tokens: Digest,
    /// SHA-256 of the root's DER, in lower-case hex.
    pub(crate) fingerprint: String,
}

impl Folder<'_> {
    /// What signs by this folder; tokens by `jwt`.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn signing(&self, jwt: Algorithm) -> Result<Signing, KeyringError> {
        let root = CertificateDer::from_pem_slice(self.text("root.pem")?.as_bytes());
        let root = root.map_err(|_source| KeyringError::Sort {
            path: self.dir.join("root.pem"),
        })?;
        let issuing = self.newest("issuing-", &[".key", ".pem"])?;
        let public = |name: String, algorithm| {
            let signer = SoftwareSigner::from_pkcs8(algorithm, &self.read(&name)?)?;
            Ok::<_, KeyringError>(Digest::of(signer.public_key_spki()))
        };
        let token = format!("jwt-{}.key", self.newest("jwt-", &[".key"])?);
        Ok(Signing {
            certificates: public(format!("issuing-{issuing}.key"), Algorithm::Es256)?,
            tokens: public(token, jwt)?,
            fingerprint: HEXLOWER.encode(Digest::of(&root).as_bytes()),
        })
    }

    /// What waits to be put in place, if anything does.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn next(&self, jwt: Algorithm) -> Result<Option<Signing>, KeyringError> {
        let dir = self.dir.join(NEXT);
        dir.is_dir().then(|| self.at(&dir).signing(jwt)).transpose()
    }

    /// Makes what is to replace root, issuing CA and token key, whole or not at all, and leaves what is in use alone.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn make_next(
        &self,
        what: Authority<'_>,
        now: Timestamp,
    ) -> Result<Signing, KeyringError> {
        let begun = self.dir.join(BEGUN);
        self.clear(&begun)?;
        let failed = |source| KeyringError::Write {
            path: begun.clone(),
            source,
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&begun)
            .map_err(failed)?;
        let numbers = (self.last("issuing-")? + 1, self.last("jwt-")? + 1);
        let next = self.at(&begun);
        next.create_authority(what, numbers, now)?;
        let signing = next.signing(what.jwt)?;
        fs::rename(&begun, self.dir.join(NEXT)).map_err(failed)?;
        durable::sync(self.dir).map_err(failed)?;
        Ok(signing)
    }

    /// Puts away the files that it replaces, and it in their place; gives the names of those put away. Cut off in the
    /// middle, it is called again.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn take_next(&self) -> Result<Vec<PathBuf>, KeyringError> {
        let dir = self.dir.join(NEXT);
        let next = self.at(&dir);
        let (issuing, jwt) = (next.last("issuing-")?, next.last("jwt-")?);
        let mut retired = Vec::new();
        for name in ["root.key", "root.pem"] {
            let (old, new) = (self.dir.join(name), dir.join(name));
            if old.exists() && !same(&old, &new) {
                let away = name.replacen("root", &format!("root-{}", issuing - 1), 1);
                retired.push(self.put_away(&old, &away)?);
            }
        }
        for (prefix, new) in [("issuing-", issuing), ("jwt-", jwt)] {
            for number in 1..new {
                for suffix in [".key", ".pem"] {
                    let name = format!("{prefix}{number}{suffix}");
                    let old = self.dir.join(&name);
                    if old.exists() {
                        retired.push(self.put_away(&old, &name)?);
                    }
                }
            }
        }
        let failed = |source| KeyringError::Write {
            path: dir.clone(),
            source,
        };
        for file in fs::read_dir(&dir).map_err(failed)? {
            let file = file.map_err(failed)?;
            match fs::hard_link(file.path(), self.dir.join(file.file_name())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        durable::sync(self.dir).map_err(failed)?;
        // Gone under its name at once: half of it would be nothing.
        let done = self.dir.join(BEGUN);
        self.clear(&done)?;
        fs::rename(&dir, &done).map_err(failed)?;
        self.clear(&done)?;
        Ok(retired)
    }

    fn put_away(&self, old: &Path, name: &str) -> Result<PathBuf, KeyringError> {
        let away = self.dir.join(format!("{name}{RETIRED}"));
        let moved = fs::rename(old, &away);
        moved.map_err(|source| KeyringError::Write {
            path: away.clone(),
            source,
        })?;
        Ok(away)
    }

    fn clear(&self, dir: &Path) -> Result<(), KeyringError> {
        match fs::remove_dir_all(dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(KeyringError::Write {
                path: dir.to_owned(),
                source,
            }),
            Ok(()) | Err(_) => durable::sync(self.dir).map_err(|source| KeyringError::Write {
                path: self.dir.to_owned(),
                source,
            }),
        }
    }

    /// Another folder that the same passphrase opens.
    fn at<'a>(&'a self, dir: &'a Path) -> Folder<'a> {
        Folder {
            dir,
            passphrase: self.passphrase,
        }
    }
}

/// One file under two names.
fn same(a: &Path, b: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|it| (it.dev(), it.ino()));
    matches!((inode(a), inode(b)), (Ok(a), Ok(b)) if a == b)
}

/// Where keys are made, before they are [`NEXT`], and where they go after.
const BEGUN: &str = "next.begun";
