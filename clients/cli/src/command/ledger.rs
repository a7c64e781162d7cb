//! `stint ledger`: verify a bundle offline, fetch one over the operator's socket.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Response, Url};
use stint_audit::bundle::{self as files, BundleSource};
use stint_audit::verify::{Name, Options, Report, State, Verdict};
use stint_audit::{Checkpoint, Digest};
use stint_wire::Problem;
use x509_parser::pem::parse_x509_pem;

use crate::args::{Format, Ledger, Verify};
use crate::draft::Draft;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::pins::Pins;
use crate::settings::{self, Settings};
use crate::{bundle, clock, session, words};

/// The longest note of a checkpoint we look at, bytes: three lines and some signatures.
const MAX_NOTE: u64 = 64 * 1024;

/// Runs the verb.
///
/// # Errors
/// Exit 2 for what cannot be read or written, 7 for a broker that does not answer.
pub(crate) fn ledger(verb: Ledger, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    match verb {
        Ledger::Verify(args) => verify(&args, output),
        Ledger::Export {
            socket,
            output: file,
            from,
            to,
        } => {
            let range = [("from", from), ("to", to)];
            session::block_on(export(&socket, file, &range, settings, output))
        }
    }
}

/// Prints one line a verdict; the exit code is the report's.
fn verify(args: &Verify, output: &Output) -> Result<Exit, Failure> {
    let source = match bundle::open(&args.bundle) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(settings::unreadable(&args.bundle, &error));
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(settings::unreadable(&args.bundle, &error));
        }
        // Not a bundle, or cut off: that is a verdict.
        Err(error) => {
            print(&no_bundle(&error), args.format.format, output)?;
            return Ok(Exit::Failed);
        }
        Ok(source) => source,
    };
    let shown = note(source.as_ref())
        .and_then(|note| Checkpoint::parse_note(&note).ok())
        .map(|(shown, _)| shown);
    let mut pins = Pins::load(settings::trust_file()?)?;
    let origin = shown.as_ref().map_or("", |shown| &shown.origin);
    let trust = pins.trust(origin, args.key.as_deref())?;
    let options = Options {
        now: u64::try_from(clock::now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0),
        since: args.since.as_deref().map(checkpoint).transpose()?,
        max_age: args.max_age.map(|age| u64::from(age.as_u32()) * 1000),
        credential: args.credential.as_deref().map(signed_bytes).transpose()?,
        all: args.all,
    };
    let report = stint_audit::verify(source.as_ref(), &trust, &options);
    print(&report, args.format.format, output)?;
    if let (true, 0, Some(shown)) = (args.remember, report.exit, shown) {
        let path = pins.remember(args.key.as_deref(), &shown)?;
        output.talk(
            "remember",
            format!(
                "checkpoint {} of {} in {}",
                shown.size,
                shown.origin,
                path.display()
            ),
        );
    }
    Ok(match report.exit {
        0 => Exit::Ok,
        8 => Exit::Failed,
        _ => Exit::Incomplete,
    })
}

/// The report on what could not even be opened, as `verify` gives it for a bundle that lacks its manifest.
fn no_bundle(fault: &io::Error) -> Report {
    Report {
        log: String::new(),
        from: 0,
        to: 0,
        size: 0,
        first_ts: None,
        last_ts: None,
        verdicts: vec![Verdict {
            name: Name::Bytes,
            state: State::Failed,
            text: fault.to_string(),
            seq: None,
        }],
        exit: 8,
        summary: format!("failed    {fault}"),
    }
}

fn print(report: &Report, format: Option<Format>, output: &Output) -> Result<(), Failure> {
    if format != Some(Format::Json) {
        return output.data(format!("{}\n", report.to_string().trim_end()));
    }
    let mut json = serde_json::to_value(report).map_err(|error| Failure::new(Exit::Bug, error))?;
    if let Some(members) = json.as_object_mut() {
        members.insert("schema".into(), "stint.verification/v1".into());
    }
    output.data(format!("{json}\n"))
}

/// The bundle's own checkpoint. It only chooses which pins apply; `verify` judges it.
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

/// Fetches a bundle and writes it under the name the broker gives it; never over another file.
async fn export(
    socket: &Path,
    file: Option<PathBuf>,
    range: &[(&str, Option<u64>)],
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let mut url = Url::parse("http://localhost/v1/ledger/bundle")
        .map_err(|error| Failure::new(Exit::Bug, error))?;
    for (name, seq) in range
        .iter()
        .filter_map(|(name, seq)| Some((name, seq.as_ref()?)))
    {
        url.query_pairs_mut().append_pair(name, &seq.to_string());
    }
    // An export may take long as a whole; only silence is a fault.
    let http = stint_client::local(Duration::MAX)
        .read_timeout(settings.timeout())
        .unix_socket(socket);
    let http = http.build().map_err(stint_client::Error::Unreachable)?;
    let mut answer = http.get(url).send().await.map_err(|error| {
        let cause = words::root_cause(&error);
        Failure::new(
            Exit::Unreachable,
            format!("nobody answers at {}{cause}", socket.display()),
        )
        .next("is the broker running, and are you its user or root?")
    })?;
    if !answer.status().is_success() {
        return Err(refusal(answer).await);
    }
    if file.as_deref() == Some(Path::new("-")) {
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(stint_client::Error::Unreachable)?
        {
            output.data(chunk)?;
        }
        return Ok(Exit::Ok);
    }
    let path = file.unwrap_or_else(|| named(&answer).unwrap_or_else(|| "ledger.stint".into()));
    let bytes = save(&mut answer, &path).await?;
    output.talk("bundle", format!("{} ({bytes} bytes)", path.display()));
    output.talk("next", format!("stint ledger verify {}", path.display()));
    Ok(Exit::Ok)
}

async fn refusal(answer: Response) -> Failure {
    let status = answer.status().as_u16();
    let problem = stint_client::body(answer)
        .await
        .ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    problem
        .map_or(stint_client::Error::Unexpected { status }, |problem| {
            stint_client::Error::Problem(Box::new(problem))
        })
        .into()
}

/// The name in `Content-Disposition`, if it is a plain one and a bundle's.
fn named(answer: &Response) -> Option<PathBuf> {
    let header = answer.headers().get("content-disposition")?.to_str().ok()?;
    plain_name(header).map(PathBuf::from)
}

fn plain_name(header: &str) -> Option<&str> {
    let (_, name) = header.split_once("filename=")?;
    let name = name.split(';').next()?.trim().trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (name.ends_with(".stint") && !name.starts_with('.') && name.bytes().all(plain)).then_some(name)
}

/// Streams to a draft beside `path`, which gets the name only when all of it is there.
async fn save(answer: &mut Response, path: &Path) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Exit::Usage,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let mut draft = Draft::of(path).map_err(failed)?;
    let mut bytes = 0_u64;
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(stint_client::Error::Unreachable)?
    {
        draft.file.write_all(&chunk).map_err(failed)?;
        bytes = bytes.saturating_add(chunk.len() as u64);
    }
    draft.publish().map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use stint_audit::Digest;

    use super::{no_bundle, plain_name, signed_bytes};

    #[test]
    fn what_is_no_bundle_is_reported_as_a_bundle_without_a_manifest_is() {
        let dir = tempfile::tempdir().unwrap();
        let source = crate::bundle::open(dir.path()).unwrap();
        let verified = stint_audit::verify(
            source.as_ref(),
            &stint_audit::trust::Trust::from_keys("").unwrap(),
            &stint_audit::verify::Options::default(),
        );
        let fault = std::io::Error::other(verified.verdicts[0].text.clone());
        assert_eq!(no_bundle(&fault), verified);
    }

    #[test]
    fn takes_no_path_from_a_header() {
        assert_eq!(
            plain_name("attachment; filename=\"acme-0-7.stint\""),
            Some("acme-0-7.stint")
        );
        for bad in [
            "attachment",
            "filename=../x.stint",
            "filename=/x.stint",
            "filename=.stint",
            "filename=x.zip",
        ] {
            assert_eq!(plain_name(bad), None, "{bad}");
        }
    }

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
