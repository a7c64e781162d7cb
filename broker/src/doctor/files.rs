//! Files: who may read them, and until when they hold.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, geteuid, getrlimit};
use stint_policy::Timestamp;
use x509_cert::Certificate;
use x509_cert::der::DecodePem as _;

use super::Finding;
use crate::config::Config;

/// Whether others can read keys and database, or change what is trusted.
pub(super) fn modes(config: &Config) -> Vec<Finding> {
    let mut secret = vec![config.keys.dir.clone()];
    secret.extend(config.store.url.path().map(Path::to_owned));
    secret.extend(
        files_of(&config.keys.dir)
            .into_iter()
            .filter(|path| has(path, "key")),
    );
    let mut findings = Vec::new();
    for path in secret {
        findings.extend(mode(&path, 0o077, "go-rwx"));
    }
    for path in [&config.policy.dir, &config.ledger.pin] {
        findings.extend(mode(path, 0o002, "o-w"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(
            "files",
            "keys, database, policies and pin are ours alone",
        ));
    }
    findings
}

/// A finding if any of `bits` is set, or somebody else owns it.
fn mode(path: &Path, bits: u32, fix: &str) -> Option<Finding> {
    let shown = path.display();
    let file = match fs::metadata(path) {
        Ok(file) => file,
        // Made at the first start; `store` says whether it should be there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            let text = format!("{shown}: {error}");
            return Some(Finding::failed(
                "files",
                text,
                "run this as the broker's user",
            ));
        }
    };
    let mode = file.permissions().mode() & 0o7777;
    let owner = file.uid();
    if mode & bits != 0 {
        let text = format!("{shown} has mode {mode:o}");
        return Some(Finding::failed(
            "files",
            text,
            format!("chmod {fix} {shown}"),
        ));
    }
    (owner != geteuid().as_raw() && owner != 0).then(|| {
        let text = format!("{shown} belongs to user {owner}");
        Finding::warning("files", text, "run this as the broker's user")
    })
}

fn files_of(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = files.map(|file| file.path()).collect();
    paths.sort();
    paths
}

fn has(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// When the root and the issuing CA end.
pub(super) fn ends(config: &Config, now: Timestamp) -> Vec<Finding> {
    let dir = &config.keys.dir;
    let certificates = files_of(dir).into_iter().filter(|path| has(path, "pem"));
    let issuing = certificates.filter(|path| name(path).starts_with("issuing-"));
    let newest = issuing.max_by_key(|path| number(path));
    let root = dir.join("root.pem");
    let fix =
        "an issuing CA in the last third of its life is followed by a new one at the next start";
    let Some(newest) = newest else {
        let text = format!("there is no issuing-N.pem in {}", dir.display());
        return vec![Finding::failed("ca", text, "stintd init DIR makes keys")];
    };
    vec![
        end(
            &root,
            now,
            "a root that ends needs a new trust domain's worth of planning: start early",
        ),
        end(&newest, now, fix),
    ]
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn number(path: &Path) -> u32 {
    let name = name(path);
    let digits: String = name.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn end(path: &Path, now: Timestamp, fix: &str) -> Finding {
    let shown = name(path);
    let read = fs::read(path).map_err(|error| error.to_string());
    let parsed = read.and_then(|pem| Certificate::from_pem(pem).map_err(|error| error.to_string()));
    let certificate = match parsed {
        Ok(certificate) => certificate,
        Err(error) => return Finding::failed("ca", format!("{shown}: {error}"), fix),
    };
    let end = certificate
        .tbs_certificate()
        .validity()
        .not_after
        .to_unix_duration();
    let left = i64::try_from(end.as_secs()).unwrap_or(i64::MAX) - now.as_secs();
    match left / DAY {
        _ if left <= 0 => Finding::failed("ca", format!("{shown} has ended"), fix),
        days if days < SOON => Finding::warning("ca", format!("{shown} ends in {days} days"), fix),
        days => Finding::ok("ca", format!("{shown} ends in {days} days")),
    }
}

/// Whether as many connections as the config allows can be open.
pub(super) fn descriptors(config: &Config) -> Finding {
    let limit = getrlimit(Resource::Nofile).maximum;
    let wanted = u64::from(config.limits.connections) + RESERVED;
    match limit {
        Some(limit) if limit < wanted => Finding::warning(
            "limits",
            format!("{limit} files may be open, {wanted} are wanted for [limits] connections"),
            "LimitNOFILE= of the unit, or ulimit -n",
        ),
        Some(limit) => Finding::ok("limits", format!("{limit} files may be open")),
        None => Finding::ok("limits", "any number of files may be open"),
    }
}

const DAY: i64 = 24 * 3600;

/// Days. An issuing CA may live for 30 only, and is followed by the next in the last 10 of them.
const SOON: i64 = 7;

/// Descriptors that are not for callers (SECURITY.md §4).
const RESERVED: u64 = 256;
