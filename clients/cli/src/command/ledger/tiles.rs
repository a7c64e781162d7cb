//! `stint ledger export --format tiles`: the log as plain files that any C2SP client reads, fetched over the operator's
//! socket. Tiles and entry bundles first, `checkpoint` last; what is there already is compared and never written over.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Response, StatusCode};
use stint_audit::Checkpoint;
use stint_audit::tile::Tile;

use crate::args::Export;
use crate::draft::Draft;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::Settings;
use crate::words;

/// Fetches every tile of the newest checkpoint into a folder.
///
/// # Errors
/// Exit 2 for a folder that cannot be written, 8 for one that is of another log, 7 for a broker that does not answer.
pub(super) async fn export(
    args: Export,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let whole = args.from.is_none() && args.to.is_none();
    if !whole || !args.kinds.is_empty() || !args.since.is_empty() {
        let text = "tiles are of the whole log, without bodies: only --output goes with them";
        return Err(Failure::new(Exit::Usage, text));
    }
    let Some(folder) = args.output.filter(|folder| folder != Path::new("-")) else {
        return Err(Failure::new(
            Exit::Usage,
            "tiles go into a folder: --output DIR",
        ));
    };
    let broker = Broker::at(&args.socket.socket, settings)?;
    let note = broker.get("checkpoint").await?;
    let text = String::from_utf8_lossy(&note);
    let (checkpoint, _) = Checkpoint::parse_note(&text)
        .map_err(|error| Failure::new(Exit::Bug, format!("the broker's checkpoint: {error}")))?;
    let mut files = 0_u64;
    for tile in Tile::all(checkpoint.size) {
        let entries = (tile.level == 0).then(|| tile.entries_path());
        for path in std::iter::once(tile.path()).chain(entries) {
            let bytes = broker.get(&path).await?;
            keep(&folder.join(&path), &bytes)?;
            files += 1;
        }
    }
    let head = folder.join("checkpoint");
    follows(&head, &checkpoint)?;
    replace(&head, &note).map_err(|error| unwritable(&head, &error))?;
    let size = checkpoint.size;
    output.talk(
        "tiles",
        format!("{} ({size} entries, {files} files)", folder.display()),
    );
    Ok(Exit::Ok)
}

/// The broker on the other end of the socket.
struct Broker {
    http: Client,
    socket: PathBuf,
}

impl Broker {
    fn at(socket: &Path, settings: &Settings) -> Result<Self, Failure> {
        let http = stint_client::local(Duration::MAX)
            .read_timeout(settings.timeout())
            .unix_socket(socket);
        Ok(Self {
            http: http.build().map_err(stint_client::Error::Unreachable)?,
            socket: socket.to_owned(),
        })
    }

    async fn get(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let url = format!("http://localhost/v1/ledger/{path}");
        let answer: Response = self.http.get(url).send().await.map_err(|error| {
            let cause = words::root_cause(&error);
            let text = format!("nobody answers at {}{cause}", self.socket.display());
            let next = "is the broker running, and are you its user or root?";
            Failure::new(Exit::Unreachable, text).next(next)
        })?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(stint_client::Error::Unexpected {
                status: status.as_u16(),
            }
            .into());
        }
        let bytes = answer
            .bytes()
            .await
            .map_err(stint_client::Error::Unreachable)?;
        Ok(bytes.to_vec())
    }
}

/// A file that is there from now on, or was, with the same bytes.
fn keep(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: io::Error| unwritable(path, &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let there = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read.map_err(failed)?),
    };
    match there {
        None => create(path, bytes).map_err(failed),
        Some(there) if there == bytes => Ok(()),
        Some(_) => Err(other(path)),
    }
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::of(path)?;
    draft.file.write_all(bytes)?;
    draft.publish()?;
    synced(path)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = Draft::of(path)?;
    draft.file.write_all(bytes)?;
    draft.file.sync_all()?;
    draft.replace()?;
    synced(path)
}

/// The name is as durable as what is under it.
fn synced(path: &Path) -> io::Result<()> {
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// The tiles were compared: a checkpoint that is there is of this log, or knows more of it.
fn follows(head: &Path, checkpoint: &Checkpoint) -> Result<(), Failure> {
    let text = match fs::read_to_string(head) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(|error| unwritable(head, &error))?,
    };
    match Checkpoint::parse_note(&text) {
        Ok((old, _)) if old.origin == checkpoint.origin && old.size <= checkpoint.size => Ok(()),
        Ok(_) | Err(_) => Err(other(head)),
    }
}

fn other(path: &Path) -> Failure {
    let text = format!(
        "{} is there with other bytes: it is of another ledger, or was altered",
        path.display()
    );
    Failure::new(Exit::Failed, text)
        .next("keep both, and ask who wrote it; export into another folder")
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Usage,
        format!("cannot write {}: {error}", path.display()),
    )
}
