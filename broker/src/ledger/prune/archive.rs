//! The bundle of what goes: written to its place, read again from there, and verified as an auditor would.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stint_audit::Digest;
use stint_audit::bundle::BundleSource;
use stint_audit::trust::Trust;
use stint_audit::verify::{Options, State, Verdict, verify};
use zip::ZipArchive;

use crate::backup;

/// Writes `bundle` to the new file `path` and verifies what lies there then; its hash. What does not verify is not left.
pub(super) fn write(
    mut bundle: File,
    path: &Path,
    vkeys: &[String],
    now: u64,
) -> io::Result<Digest> {
    if !path.is_absolute() {
        return Err(io::Error::other("is no absolute path"));
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = io::copy(&mut bundle, &mut file).and_then(|_| {
        file.flush()?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        check(path, vkeys, now)?;
        // It is evidence from here on.
        fs::set_permissions(path, fs::Permissions::from_mode(0o400))?;
        backup::hash(path)
    });
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    written
}

fn check(path: &Path, vkeys: &[String], now: u64) -> io::Result<()> {
    let archive = Archive {
        path: path.to_owned(),
        names: ZipArchive::new(File::open(path)?)?
            .file_names()
            .map(|name| Ok(name?.into_owned()))
            .collect::<io::Result<_>>()?,
        fault: Arc::default(),
    };
    let trust = Trust::from_keys(&vkeys.join("\n")).map_err(io::Error::other)?;
    let options = Options {
        now,
        ..Options::default()
    };
    let report = verify(&archive, &trust, &options);
    let bad = |it: &&Verdict| it.state == State::Failed || it.required && it.state != State::Ok;
    let wrong = report.verdicts.iter().find(bad);
    match wrong.map(|verdict| &verdict.text) {
        None => Ok(()),
        Some(text) => Err(io::Error::other(format!("does not verify: {text}"))),
    }
}

/// The zip that we wrote. Each file is inflated by a thread of its own, for several are read side by side.
struct Archive {
    path: PathBuf,
    names: Vec<String>,
    fault: Arc<Mutex<Option<String>>>,
}

impl BundleSource for Archive {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn BufRead + '_>>> {
        if !self.names.iter().any(|known| known == name) {
            return Ok(None);
        }
        let (reader, mut writer) = io::pipe()?;
        let mut zip = ZipArchive::new(File::open(&self.path)?)?;
        let (name, fault) = (name.to_owned(), Arc::clone(&self.fault));
        std::thread::spawn(move || {
            let copied = zip.by_name(&name).map_err(io::Error::from);
            let copied = copied.and_then(|mut file| io::copy(&mut file, &mut writer));
            match copied {
                // Whoever read it had seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                Err(error) => {
                    let mut fault = fault.lock().unwrap_or_else(PoisonError::into_inner);
                    *fault = Some(format!("{name}: {error}"));
                }
                Ok(_) => {}
            }
        });
        Ok(Some(Box::new(BufReader::new(reader))))
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn fault(&self) -> Option<String> {
        let fault = self.fault.lock();
        fault.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
