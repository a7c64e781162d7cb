//! `stint cert`: one certificate, as files or on stdout.

use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::args::{Cert, Format, Kind};
use crate::draft::Draft;
use crate::exit::Exit;
use crate::hold::Patience;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::{self, Settings};

/// Certificate, key (unless a CSR was brought) and roots.
///
/// # Errors
/// As the ask; exit 2 if a file cannot be read or written.
pub(crate) fn cert(args: &Cert, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let mut ask = session::ask(&args.ask, settings, Kind::X509, None)?;
    if let Some(path) = &args.csr {
        ask.credential.csr =
            Some(fs::read_to_string(path).map_err(|error| settings::unreadable(path, &error))?);
    }
    let obtained = session::obtain(ask, &args.ask.evidence, (settings, output), Patience::None)?;
    match (&args.out, args.format.format) {
        (Some(dir), _) => {
            let kept = obtained.key.is_none() && dir.join("key.pem").exists();
            write_all(dir, &obtained.files()).map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    format!("cannot write to {}: {error}", dir.display()),
                )
            })?;
            output.talk("files", dir.display());
            if kept {
                // It may well be the request's own: it is nothing of ours to remove.
                output.talk(
                    "warning",
                    "key.pem is an older file: it fits this certificate only if the request was made with it",
                );
            }
        }
        (None, Some(Format::Json)) => output.data(obtained.json()?)?,
        (None, _) => {
            let pem = obtained
                .files()
                .into_iter()
                .filter(|(name, _)| matches!(*name, "cert.pem" | "key.pem"));
            output.data(pem.map(|(_, pem)| pem).collect::<String>())?;
        }
    }
    Ok(Exit::Ok)
}

/// Writes all files beside their old selves first and renames them then, so that old and new meet for an instant only.
fn write_all(dir: &Path, files: &[(&str, String)]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let draft = |(name, content): &(&str, String)| {
        let mut draft = Draft::of(&dir.join(name))?;
        draft.file.write_all(content.as_bytes())?;
        Ok(draft)
    };
    let drafts: Vec<Draft> = files.iter().map(draft).collect::<io::Result<_>>()?;
    drafts.into_iter().try_for_each(Draft::replace)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::write_all;

    #[test]
    fn a_failed_write_leaves_no_key_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files = |second: &'static str| [("key.pem", "k".to_owned()), (second, "c".to_owned())];
        assert!(write_all(dir.path(), &files("no/cert.pem")).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        write_all(dir.path(), &files("cert.pem")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
