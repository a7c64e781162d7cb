//! `stint cert`: one certificate, as files or on stdout.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::args::{Cert, Format, Kind};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::{self, Settings};
use crate::workspace::write_private;

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
    let obtained = session::obtain(ask, &args.ask.evidence, settings, output)?;
    match (&args.out, args.format.format) {
        (Some(dir), _) => {
            write_all(dir, &obtained.files()).map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    format!("cannot write to {}: {error}", dir.display()),
                )
            })?;
            output.talk("files", dir.display());
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
    let draft = |name: &str| dir.join(format!(".{name}.{}", std::process::id()));
    for (name, content) in files {
        write_private(&draft(name), content.as_bytes())?;
    }
    files
        .iter()
        .try_for_each(|(name, _)| fs::rename(draft(name), dir.join(name)))
}
