//! `stint ledger verify`: one line a verdict; the exit code is the report's.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;

use stint_audit::bundle::{self as files, BundleSource};
use stint_audit::trust::{Policy, Trust};
use stint_audit::verify::{Options, Report};
use stint_audit::{Checkpoint, Digest};
use x509_parser::pem::parse_x509_pem;

use crate::args::{Format, Trusted, Verify};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::pins::Pins;
use crate::replay::Replayer;
use crate::settings::{self, Settings};
use crate::{bundle, clock, session};

/// The longest note of a checkpoint we look at, bytes: three lines and some signatures.
const MAX_NOTE: u64 = 64 * 1024;
/// The longest trust file, bytes.
const MAX_TRUST: u64 = 1 << 20;

/// Prints one line a verdict.
///
/// # Errors
/// Exit 2 for what cannot be read or written, 7 for a URL that does not answer.
pub(super) fn verify(args: &Verify, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let source = match open(&args.bundle, settings)? {
        Ok(source) => source,
        // Not a bundle, or cut off: that is a verdict.
        Err(fault) => {
            print(
                &Report::unreadable(&fault.to_string()),
                args.format.format,
                output,
            )?;
            return Ok(Exit::Failed);
        }
    };
    let mut judged = Judged::prepare(source.as_ref(), &args.trusted)?;
    let options = Options {
        now: u64::try_from(clock::now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        since: args.since.as_deref().map(checkpoint).transpose()?,
        max_age: args.max_age.map(|age| u64::from(age.as_u32()) * 1000),
        credential: args.credential.as_deref().map(signed_bytes).transpose()?,
        all: args.all,
    };
    let replayer = Replayer::new(source.as_ref());
    let report =
        stint_audit::verify::verify_with(source.as_ref(), &judged.trust, &options, Some(&replayer));
    print(&report, args.format.format, output)?;
    if let (true, 0, Some(shown)) = (args.remember, report.exit, &judged.shown) {
        let path = judged.pins.remember(args.trusted.key.as_deref(), shown)?;
        let Checkpoint { size, origin, .. } = shown;
        let text = format!("checkpoint {size} of {origin} in {}", path.display());
        output.talk("remember", text);
    }
    Ok(exit(&report))
}

/// The exit code of a report.
pub(super) const fn exit(report: &Report) -> Exit {
    match report.exit {
        0 => Exit::Ok,
        8 => Exit::Failed,
        _ => Exit::Incomplete,
    }
}

/// Whom the auditor trusts, for the log that a bundle says it is of.
pub(super) struct Judged {
    pub(super) pins: Pins,
    pub(super) trust: Trust,
    /// The bundle's own checkpoint. It only chooses which pins apply; `verify` judges it.
    pub(super) shown: Option<Checkpoint>,
}

impl Judged {
    /// # Errors
    /// Exit 2 for a key or a trust file that is none.
    pub(super) fn prepare(source: &dyn BundleSource, args: &Trusted) -> Result<Self, Failure> {
        let shown = note(source).and_then(|note| Checkpoint::parse_note(&note).ok());
        let shown = shown.map(|(shown, _)| shown);
        let pins = Pins::load(settings::trust_file()?)?;
        let origin = shown.as_ref().map_or("", |shown| &shown.origin);
        let mut trust = pins.trust(origin, args.key.as_deref())?;
        if let Some(path) = &args.trust {
            let theirs = Trust::from_policy(policy(path)?);
            trust.keys.extend(theirs.keys);
            trust.policy = theirs.policy;
        }
        Ok(Self { pins, trust, shown })
    }
}

/// A C2SP tlog-policy.
fn policy(path: &Path) -> Result<Policy, Failure> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TRUST + 1).read_to_end(&mut text));
    read.map_err(|error| settings::unreadable(path, &error))?;
    Policy::parse(&text).map_err(|error| {
        let text = format!("{} is no trust file: {error}", path.display());
        Failure::new(Exit::Usage, text)
    })
}

/// A file, a folder or a URL. The inner error is what is wrong with the bundle itself.
///
/// # Errors
/// Exit 2 if there is no such file, 7 if nobody answers at the URL.
pub(super) fn open(
    bundle: &str,
    settings: &Settings,
) -> Result<io::Result<Box<dyn BundleSource>>, Failure> {
    if bundle.starts_with("https://") || bundle.starts_with("http://") {
        return Ok(bundle::open_file(session::block_on(download(
            bundle, settings,
        ))?));
    }
    let path = Path::new(bundle);
    match bundle::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(settings::unreadable(path, &error))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(settings::unreadable(path, &error))
        }
        opened => Ok(opened),
    }
}

/// Fetches into a file without a name. Nothing of it is trusted for having come by TLS.
async fn download(url: &str, settings: &Settings) -> Result<File, Failure> {
    let http = settings.fetcher(url)?;
    let unreachable = |error| Failure::from(stint_client::Error::Unreachable(error));
    let mut answer = http.get(url).send().await.map_err(unreachable)?;
    if !answer.status().is_success() {
        let status = answer.status();
        return Err(Failure::new(
            Exit::Unreachable,
            format!("{url} answers {status}"),
        ));
    }
    let mut file = tempfile::tempfile()?;
    while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
        file.write_all(&chunk)?;
    }
    file.rewind()?;
    Ok(file)
}

fn print(report: &Report, format: Option<Format>, output: &Output) -> Result<(), Failure> {
    if format != Some(Format::Json) {
        return output.data(format!("{}\n", report.to_string().trim_end()));
    }
    output.json("stint.verification/v1", report)
}

fn note(source: &dyn BundleSource) -> Option<String> {
    let mut text = String::new();
    source
        .open(files::CHECKPOINT)
        .ok()??
        .take(MAX_NOTE)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}

/// A checkpoint the auditor kept: the signed note, or its three lines.
fn checkpoint(path: &Path) -> Result<Checkpoint, Failure> {
    let text = fs::read_to_string(path).map_err(|error| settings::unreadable(path, &error))?;
    let note = Checkpoint::parse_note(&text).map(|(checkpoint, _)| checkpoint);
    note.or_else(|_| Checkpoint::parse(&text)).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("{} is no checkpoint: {error}", path.display()),
        )
    })
}

/// SHA-256 of what was signed: the TBSCertificate of the first certificate in a PEM, the signing input of a JWT.
fn signed_bytes(path: &Path) -> Result<Digest, Failure> {
    let text = fs::read_to_string(path).map_err(|error| settings::unreadable(path, &error))?;
    let neither = || {
        Failure::new(
            Exit::Usage,
            format!("{} is neither a certificate nor a JWT", path.display()),
        )
    };
    if text.contains("-----BEGIN ") {
        let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_pem| neither())?;
        let certificate = pem.parse_x509().map_err(|_der| neither())?;
        return Ok(Digest::of(certificate.tbs_certificate.as_ref()));
    }
    match text.trim().rsplit_once('.') {
        Some((input, _signature)) if input.contains('.') => Ok(Digest::of(input.as_bytes())),
        _ => Err(neither()),
    }
}

#[cfg(test)]
mod tests {
    use stint_audit::Digest;

    use super::signed_bytes;

    #[test]
    fn hashes_what_was_signed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.jwt");
        std::fs::write(&path, "e30.e30.c2ln\n").unwrap();
        assert_eq!(signed_bytes(&path).unwrap(), Digest::of(b"e30.e30"));
        std::fs::write(&path, "no.token").unwrap();
        assert!(signed_bytes(&path).is_err());
    }
}
