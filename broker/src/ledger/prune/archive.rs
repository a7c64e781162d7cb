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

use crate::durable;
use crate::upkeep::backup;

/// Writes `bundle` beside the new file `path` and verifies what lies there then; its hash. What does not verify is not
/// left. It gets its name by [`settle`], once an entry says so: whoever is killed before leaves nothing in the way.
pub(super) fn write(
    mut bundle: File,
    path: &Path,
    vkeys: &[String],
    now: u64,
) -> io::Result<Digest> {
    if !path.is_absolute() {
        return Err(io::Error::other("is no absolute path"));
    }
    if path.exists() {
        return Err(io::Error::other("exists"));
    }
    let partial = partial(path);
    drop(fs::remove_file(&partial)); // of a run that was cut off
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial)?;
    let written = io::copy(&mut bundle, &mut file).and_then(|_| {
        file.flush()?;
        durable::sync(&partial)?;
        drop(check(&partial, vkeys, now)?);
        // It is evidence from here on.
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o400))?;
        backup::hash(&partial)
    });
    if written.is_err() {
        drop(fs::remove_file(&partial));
    }
    written
}

/// Gives the archive with this hash its name, unless it has it: nothing goes before that.
pub(super) fn settle(path: &Path, archive: &Digest) -> io::Result<()> {
    let partial = partial(path);
    let is_it = |path: &Path| path.exists() && backup::hash(path).is_ok_and(|it| it == *archive);
    if is_it(path) {
        return Ok(());
    }
    if path.exists() || !is_it(&partial) {
        let text = format!("is not the file with the hash {archive}: bring that one back");
        return Err(io::Error::other(text));
    }
    fs::rename(&partial, path)?;
    durable::sync(path)
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// The bundle at `path`, once it verifies as an auditor would verify it under these keys.
pub(crate) fn check(path: &Path, vkeys: &[String], now: u64) -> io::Result<Archive> {
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
        None => Ok(archive),
        Some(text) => Err(io::Error::other(format!("does not verify: {text}"))),
    }
}

/// A zip on disk. Each file is inflated by a thread of its own, for several are read side by side.
pub(crate) struct Archive {
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
