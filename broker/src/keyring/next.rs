//! Keys that are to replace those in use: made whole in the folder `next`, recorded by whoever asked, then put in place.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use stint_audit::Digest;
use stint_audit::kind::KeyUse;
use stint_ca::signer::software::SoftwareSigner;
use stint_ca::signer::{Algorithm, Signer as _};
use stint_policy::Timestamp;
use zeroize::Zeroizing;

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

impl Signing {
    /// Both keys, by their use.
    pub(crate) fn keys(&self) -> [(KeyUse, Digest); 2] {
        [(KeyUse::Ca, self.certificates), (KeyUse::Jwt, self.tokens)]
    }
}

impl Folder<'_> {
    /// What signs by this folder.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn signing(&self) -> Result<Signing, KeyringError> {
        let root = CertificateDer::from_pem_slice(self.text("root.pem")?.as_bytes());
        let root = root.map_err(|_source| KeyringError::Sort {
            path: self.dir.join("root.pem"),
        })?;
        let issuing = self.newest("issuing-", &[".key", ".pem"])?;
        let jwt = self.newest("jwt-", &[".key"])?;
        Ok(Signing {
            certificates: self.public(&format!("issuing-{issuing}.key"))?,
            tokens: self.public(&format!("jwt-{jwt}.key"))?,
            fingerprint: HEXLOWER.encode(Digest::of(&root).as_bytes()),
        })
    }

    /// SHA-256 of a key's SPKI, whatever it signs by: the config may have changed since it was made.
    fn public(&self, name: &str) -> Result<Digest, KeyringError> {
        let key = self.read(name)?;
        let mut signers = [Algorithm::Es256, Algorithm::Ed25519]
            .into_iter()
            .filter_map(|algorithm| SoftwareSigner::from_pkcs8(algorithm, &key).ok());
        let signer = signers.next().ok_or_else(|| KeyringError::Sort {
            path: self.dir.join(name),
        })?;
        Ok(Digest::of(signer.public_key_spki()))
    }

    /// Root, issuing CA and token key that wait to be put in place, or are made now, whole or not at all. What is in use is
    /// left alone. Nothing, if those that were made last are in place, and only what they were made in was left.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn next(
        &self,
        what: Authority<'_>,
        now: Timestamp,
    ) -> Result<Option<Signing>, KeyringError> {
        let [dir, begun, done] = [NEXT, BEGUN, DONE].map(|name| self.dir.join(name));
        if dir.exists() {
            return self.at(&dir).signing().map(Some);
        }
        if done.exists() {
            self.clear(&done)?;
            return Ok(None);
        }
        self.clear(&begun)?;
        let made = DirBuilder::new().mode(0o700).create(&begun);
        made.map_err(failed(&begun))?;
        let numbers = (self.last("issuing-")? + 1, self.last("jwt-")? + 1);
        let next = self.at(&begun);
        next.create_authority(what, numbers, now)?;
        let signing = next.signing()?;
        durable::rename(&begun, &dir).map_err(failed(&dir))?;
        Ok(Some(signing))
    }

    /// Puts away the files that `next` replaces, and it in their place. Cut off in the middle, it is called again.
    ///
    /// # Errors
    /// [`KeyringError`] names the file.
    pub(crate) fn take_next(&self) -> Result<(), KeyringError> {
        let [dir, done] = [NEXT, DONE].map(|name| self.dir.join(name));
        let next = self.at(&dir);
        let (issuing, jwt) = (next.last("issuing-")?, next.last("jwt-")?);
        for (prefix, new) in [("issuing-", issuing), ("jwt-", jwt)] {
            for number in 1..new {
                for suffix in [".key", ".pem"] {
                    let name = format!("{prefix}{number}{suffix}");
                    if self.dir.join(&name).exists() {
                        self.retire(&name, &name)?;
                    }
                }
            }
        }
        for file in fs::read_dir(&dir).map_err(failed(&dir))? {
            let name = file.map_err(failed(&dir))?.file_name();
            let (from, to) = (dir.join(&name), self.dir.join(&name));
            let bytes = Zeroizing::new(fs::read(&from).map_err(failed(&from))?);
            let name = name.to_string_lossy();
            match fs::read(&to).map(Zeroizing::new) {
                Ok(there) if there == bytes => continue,
                Ok(_) if name.starts_with("root.") => {
                    let away = name.replacen("root", &format!("root-{}", issuing - 1), 1);
                    self.retire(&name, &away)?;
                }
                Ok(_) => return Err(failed(&to)(io::ErrorKind::AlreadyExists.into())),
                Err(_) => {}
            }
            let mode = if name.ends_with(".pem") { 0o644 } else { 0o600 };
            durable::create(&to, mode, &bytes).map_err(failed(&to))?;
        }
        // Gone under its name at once: half of it would be nothing.
        durable::rename(&dir, &done).map_err(failed(&dir))?;
        self.clear(&done)
    }

    /// The files of CAs and token keys that are used no more, by name.
    ///
    /// # Errors
    /// [`KeyringError::List`].
    pub(crate) fn retired(&self) -> Result<Vec<String>, KeyringError> {
        let mut names = Vec::new();
        for file in fs::read_dir(self.dir).map_err(failed(self.dir))? {
            let name = file.map_err(failed(self.dir))?.file_name();
            let name = name.to_string_lossy();
            let ours = ["root-", "issuing-", "jwt-"].map(|prefix| name.starts_with(prefix));
            if name.ends_with(RETIRED) && ours.contains(&true) {
                names.push(name.into_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Renames a file, so that it signs no more; `away` is what it is called from then on.
    ///
    /// # Errors
    /// [`KeyringError::Write`].
    pub(crate) fn retire(&self, name: &str, away: &str) -> Result<PathBuf, KeyringError> {
        let away = self.dir.join(format!("{away}{RETIRED}"));
        durable::rename(&self.dir.join(name), &away).map_err(failed(&away))?;
        Ok(away)
    }

    fn clear(&self, dir: &Path) -> Result<(), KeyringError> {
        match fs::remove_dir_all(dir) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed(dir)(source)),
            Ok(()) | Err(_) => durable::sync(self.dir).map_err(failed(self.dir)),
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

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KeyringError {
    let path = path.to_owned();
    |source| KeyringError::Write { path, source }
}

/// Where keys are made before they are [`NEXT`].
const BEGUN: &str = "next.begun";
/// What [`NEXT`] is called when all of it is in place.
const DONE: &str = "next.done";
