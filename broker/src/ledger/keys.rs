//! Which key files a log is signed with (LEDGER.md §12).
//!
//! The key folder says it, not the database: `ledger.key` signs the first epoch, `ledger-EPOCH-N.key` are those that came
//! by rotation or with a later epoch. All files of an epoch sign every checkpoint of it, the newest first; a retired one is
//! renamed and signs no more. Pseudonyms of epoch n > 0 have a key file of their own, so that it can be destroyed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stint_audit::LogKey;
use stint_audit::note::{KeyError, VerifierKey};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::keyring::{Folder, KeyringError, RETIRED};
use crate::random;

/// Keys of one epoch, open.
#[derive(Debug)]
pub(crate) struct EpochKeys {
    /// Signs: the newest, with the others beside it.
    pub(crate) log: LogKey,
    /// Makes pseudonyms.
    pub(crate) pseudonyms: Zeroizing<[u8; 32]>,
    /// Seals heads.
    pub(crate) mac: Zeroizing<[u8; 32]>,
    /// What hands older keys over to newer ones: the entry's seq, and its proof.
    pub(crate) handovers: Vec<(u64, String)>,
}

/// A file that signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SigningFile {
    /// Its name in the folder.
    pub(crate) name: String,
    /// Which of its epoch, from 1.
    pub(crate) number: u32,
    /// What it is known by.
    pub(crate) public: VerifierKey,
}

/// Why the keys of a log cannot be used.
#[derive(Debug, Error)]
pub enum LogKeysError {
    /// The key does not fit the log's name.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] KeyringError),
    /// The folder cannot be read or changed.
    #[error("`{path}` cannot be read or changed")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The origin of epoch `epoch` of the log `base`.
pub(crate) fn origin(base: &str, epoch: u64) -> String {
    match epoch {
        0 => base.to_owned(),
        _ => format!("{base}/{epoch}"),
    }
}

/// Opens the keys of epoch `epoch` of `base`.
pub(crate) fn open(folder: &Folder<'_>, base: &str, epoch: u64) -> Result<EpochKeys, LogKeysError> {
    let origin = origin(base, epoch);
    let mut keys = Vec::new();
    for (name, _) in numbered(folder.dir, epoch)? {
        keys.push(LogKey::from_seed(&*folder.seed(&name)?, &origin)?);
    }
    let newest = keys.pop();
    let missing = || KeyringError::Missing(folder.dir.join(file_name(epoch, 1)));
    let log = keys
        .into_iter()
        .rev()
        .fold(newest.ok_or_else(missing)?, LogKey::beside);
    let secrets = folder.ledger_secrets()?;
    let pseudonyms = match epoch {
        0 => secrets.pseudonyms,
        _ => folder.seed(&subject_name(epoch))?,
    };
    let mac = secrets.mac;
    let handovers = handovers(folder.dir, &origin)?;
    Ok(EpochKeys {
        log,
        pseudonyms,
        mac,
        handovers,
    })
}

/// The files that sign epoch `epoch`, oldest first.
pub(crate) fn files(
    folder: &Folder<'_>,
    base: &str,
    epoch: u64,
) -> Result<Vec<SigningFile>, LogKeysError> {
    let origin = origin(base, epoch);
    let mut files = Vec::new();
    for (name, number) in numbered(folder.dir, epoch)? {
        let public = LogKey::from_seed(&*folder.seed(&name)?, &origin)?
            .public()
            .clone();
        files.push(SigningFile {
            name,
            number,
            public,
        });
    }
    Ok(files)
}

/// Makes the keys of a new epoch: the log's and the pseudonyms'.
pub(crate) fn create(folder: &Folder<'_>, epoch: u64) -> Result<(), LogKeysError> {
    folder.write(&file_name(epoch, 1), &random::bytes::<32>())?;
    Ok(folder.write(&subject_name(epoch), &random::bytes::<32>())?)
}

/// Makes one more key for epoch `epoch`; from the next start on it signs beside the others. Gives its file's name.
pub(crate) fn add(folder: &Folder<'_>, epoch: u64) -> Result<String, LogKeysError> {
    let known = all(folder.dir)?.into_iter();
    let last = known
        .filter(|(_, of, _)| *of == epoch)
        .map(|(_, _, number)| number)
        .max();
    let name = file_name(epoch, last.unwrap_or(0) + 1);
    folder.write(&name, &random::bytes::<32>())?;
    Ok(name)
}

/// The highest epoch any key file was made for.
pub(crate) fn last_epoch(dir: &Path) -> Result<u64, LogKeysError> {
    Ok(all(dir)?
        .into_iter()
        .map(|(_, epoch, _)| epoch)
        .max()
        .unwrap_or(0))
}

/// The file of a handover: it has no secret, and goes with every bundle.
pub(crate) fn handover_name(origin: &str, seq: u64) -> String {
    format!("handover-{}-{seq}.tlog-proof", origin.replace('/', "_"))
}

/// The handovers of a log, oldest first.
fn handovers(dir: &Path, origin: &str) -> Result<Vec<(u64, String)>, LogKeysError> {
    let failed = |source| LogKeysError::Folder {
        path: dir.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name();
        let seq = name.to_str().and_then(|name| {
            let seq = name
                .strip_suffix(".tlog-proof")?
                .rsplit_once('-')?
                .1
                .parse()
                .ok()?;
            (name == handover_name(origin, seq)).then_some(seq)
        });
        if let Some(seq) = seq {
            found.push((seq, fs::read_to_string(file.path()).map_err(failed)?));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Names and numbers of the files of one epoch that sign, by number.
fn numbered(dir: &Path, epoch: u64) -> Result<Vec<(String, u32)>, LogKeysError> {
    let mut files: Vec<_> = all(dir)?
        .into_iter()
        .filter(|(name, of, _)| *of == epoch && !name.ends_with(RETIRED))
        .map(|(name, _, number)| (name, number))
        .collect();
    files.sort_by_key(|(_, number)| *number);
    Ok(files)
}

/// Every key file of the ledger, retired ones too: name, epoch, number.
fn all(dir: &Path) -> Result<Vec<(String, u64, u32)>, LogKeysError> {
    let failed = |source| LogKeysError::Folder {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for file in fs::read_dir(dir).map_err(failed)? {
        let name = file.map_err(failed)?.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Some((epoch, number)) = parts(name) {
            files.push((name.to_owned(), epoch, number));
        }
    }
    Ok(files)
}

/// Epoch and number of a key file.
fn parts(name: &str) -> Option<(u64, u32)> {
    let stem = name
        .strip_suffix(RETIRED)
        .unwrap_or(name)
        .strip_suffix(".key")?;
    if stem == "ledger" {
        return Some((0, 1));
    }
    let (epoch, number) = stem.strip_prefix("ledger-")?.split_once('-')?;
    Some((epoch.parse().ok()?, number.parse().ok()?))
}

fn file_name(epoch: u64, number: u32) -> String {
    match (epoch, number) {
        (0, 1) => "ledger.key".to_owned(),
        _ => format!("ledger-{epoch}-{number}.key"),
    }
}

fn subject_name(epoch: u64) -> String {
    format!("subject-{epoch}.key")
}

#[cfg(test)]
mod tests {
    use super::{add, create, file_name, files, last_epoch, open, origin, parts};
    use crate::keyring::Folder;

    #[test]
    fn names_say_epoch_and_number() {
        for (name, expected) in [
            ("ledger.key", Some((0, 1))),
            ("ledger.key.retired", Some((0, 1))),
            ("ledger-0-2.key", Some((0, 2))),
            ("ledger-3-1.key", Some((3, 1))),
            ("ledger-x-1.key", None),
            ("jwt-1.key", None),
            ("ledger-1.key", None),
        ] {
            assert_eq!(parts(name), expected, "{name}");
        }
        assert_eq!(parts(&file_name(0, 1)), Some((0, 1)));
        assert_eq!(parts(&file_name(2, 7)), Some((2, 7)));
    }

    #[test]
    fn all_keys_of_an_epoch_sign_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder {
            dir: dir.path(),
            passphrase: None,
        };
        folder.write("secret.key", &[7; 32]).unwrap();
        folder.write("ledger.key", &[1; 32]).unwrap();
        assert_eq!(
            open(&folder, "a.example/ledger", 0)
                .unwrap()
                .log
                .all_public()
                .len(),
            1
        );
        assert_eq!(add(&folder, 0).unwrap(), "ledger-0-2.key");
        create(&folder, 1).unwrap();
        let keys = open(&folder, "a.example/ledger", 0).unwrap();
        assert_eq!(keys.log.all_public().len(), 2);
        assert_eq!(last_epoch(dir.path()).unwrap(), 1);
        let first = files(&folder, "a.example/ledger", 0).unwrap().remove(0);
        assert_eq!(keys.log.all_public()[1], first.public);
        folder.retire(&first.name, &first.name).unwrap();
        let left = open(&folder, "a.example/ledger", 0)
            .unwrap()
            .log
            .all_public();
        assert_eq!(left, [keys.log.public().clone()]);
        assert_eq!(
            add(&folder, 0).unwrap(),
            "ledger-0-3.key",
            "a number is never used again"
        );
        let next = open(&folder, "a.example/ledger", 1).unwrap();
        assert_eq!(next.log.public().name(), origin("a.example/ledger", 1));
        assert_ne!(*next.pseudonyms, *keys.pseudonyms);
        assert!(open(&folder, "a.example/ledger", 2).is_err());
    }
}
