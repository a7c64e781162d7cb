//! Revocation lists that the operator brings as files: nothing is fetched, and what goes stale refuses.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use stint_policy::Timestamp;
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::authenticate::entry::fault::Fault;

/// Revocation lists from files, read again when a file changes.
#[derive(Debug)]
pub(super) struct Revocation {
    files: Vec<PathBuf>,
    current: RwLock<Lists>,
    /// When somebody looked last, in milliseconds.
    looked: AtomicI64,
}

#[derive(Clone, Debug)]
struct Lists {
    lists: Arc<[CertRevocationList<'static>]>,
    stamps: Vec<Stamp>,
}

/// How a file looks from outside: enough to see that it was written.
type Stamp = Option<(u64, SystemTime)>;

impl Revocation {
    pub(super) fn read(files: &[PathBuf]) -> Result<Revocation, Fault> {
        Ok(Revocation {
            files: files.to_vec(),
            current: RwLock::new(Lists::read(files)?),
            looked: AtomicI64::new(i64::MIN),
        })
    }

    pub(super) fn lists(&self) -> Arc<[CertRevocationList<'static>]> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.lists)
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let (now, looked) = (now.as_millis(), self.looked.load(Ordering::Relaxed));
        let due = now.saturating_sub(looked) >= LOOK_MS;
        // Who wins looks; the others go on with what is there.
        due && self
            .looked
            .compare_exchange(looked, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// What cannot be read leaves the last lists in place, which go stale by themselves and then refuse.
    pub(super) fn refresh(&self) {
        let same = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current.stamps == stamps(&self.files)
        };
        if same {
            return;
        }
        match Lists::read(&self.files) {
            Ok(lists) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = lists;
            }
            Err(fault) => tracing::error!(fault = fault.text, "revocation lists were not taken"),
        }
    }
}

impl Lists {
    fn read(files: &[PathBuf]) -> Result<Lists, Fault> {
        let stamps = stamps(files); // before the bytes: a write in between is seen next time
        let lists = files.iter().map(|file| read_lists(file));
        let lists: Vec<Vec<_>> = lists.collect::<Result<_, _>>()?;
        Ok(Lists {
            lists: lists.into_iter().flatten().collect(),
            stamps,
        })
    }
}

fn read_lists(file: &Path) -> Result<Vec<CertRevocationList<'static>>, Fault> {
    let shown = file.display();
    let wrong = |text: String| Fault::new("crl", format!("`{shown}` {text}"));
    let bytes = std::fs::read(file).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let ders = match bytes.starts_with(b"-----BEGIN") {
        true => CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| wrong(format!("is not PEM: {error}")))?,
        false => vec![CertificateRevocationListDer::from(bytes.as_slice())],
    };
    let read = |der: &CertificateRevocationListDer<'_>| {
        OwnedCertRevocationList::from_der(der)
            .map(CertRevocationList::from)
            .map_err(|error| wrong(format!("is no revocation list: {error}")))
    };
    let lists = ders.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    match lists.is_empty() {
        true => Err(wrong("holds no revocation list".to_owned())),
        false => Ok(lists),
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    };
    files.iter().map(stamp).collect()
}

/// The whole path, and no status is no: a stale list refuses (IDENTITY.md §4). `None` without any list.
pub(super) fn strict<'l>(lists: &'l [&'l CertRevocationList<'l>]) -> Option<RevocationOptions<'l>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    Some(
        options
            .with_depth(RevocationCheckDepth::Chain)
            .with_status_policy(UnknownStatusPolicy::Deny)
            .with_expiration_policy(ExpirationPolicy::Enforce)
            .build(),
    )
}

/// Between two looks at the lists' files: five seconds.
const LOOK_MS: i64 = 5_000;
