//! `trust.toml`: the logs this user trusts, and how far he has seen them. Written by `ledger verify --remember` alone.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stint_audit::Checkpoint;
use stint_audit::trust::Trust;

use crate::draft::Draft;
use crate::exit::Exit;
use crate::output::Failure;

/// The pins of one user.
#[derive(Debug)]
pub(crate) struct Pins {
    path: PathBuf,
    file: PinFile,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PinFile {
    /// By origin.
    #[serde(default)]
    log: BTreeMap<String, Pin>,
}

/// One log.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    /// Verifier keys, signed-note form.
    #[serde(default)]
    keys: Vec<String>,
    /// The newest checkpoint that was verified here: its three lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
}

impl Pins {
    /// Reads the pins; no file is no pins.
    ///
    /// # Errors
    /// Exit 2 if the file cannot be read or is not what we wrote: a trust file is never guessed at.
    pub(crate) fn load(path: PathBuf) -> Result<Self, Failure> {
        let bad = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display()));
        let file = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| bad(error.to_string()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => PinFile::default(),
            Err(error) => return Err(bad(error.to_string())),
        };
        Ok(Self { path, file })
    }

    /// What is pinned for the log of `origin`, and `key` as well.
    ///
    /// # Errors
    /// Exit 2 if a key or checkpoint is none.
    pub(crate) fn trust(&self, origin: &str, key: Option<&str>) -> Result<Trust, Failure> {
        let usage = |error: &dyn std::fmt::Display| Failure::new(Exit::Usage, error);
        let pin = self.file.log.get(origin);
        let pinned = pin
            .into_iter()
            .flat_map(|pin| &pin.keys)
            .map(String::as_str);
        let lines: Vec<&str> = pinned.chain(key).collect();
        let mut trust = Trust::from_keys(&lines.join("\n")).map_err(|error| {
            usage(&format!(
                "a ledger key is not NAME+HASH+KEY: {}",
                error.source
            ))
        })?;
        let seen = pin.and_then(|pin| pin.checkpoint.as_deref());
        trust.remembered = seen
            .map(Checkpoint::parse)
            .transpose()
            .map_err(|error| usage(&error))?;
        Ok(trust)
    }

    /// Pins `key` and takes `checkpoint` for the newest seen, unless a newer one was.
    ///
    /// # Errors
    /// Exit 2 if the file cannot be written.
    pub(crate) fn remember(
        &mut self,
        key: Option<&str>,
        checkpoint: &Checkpoint,
    ) -> Result<&Path, Failure> {
        let pin = self.file.log.entry(checkpoint.origin.clone()).or_default();
        for key in key
            .filter(|key| !pin.keys.iter().any(|known| known == key))
            .into_iter()
        {
            pin.keys.push(key.to_owned());
        }
        let seen = pin
            .checkpoint
            .as_deref()
            .and_then(|seen| Checkpoint::parse(seen).ok());
        if seen.is_none_or(|seen| seen.size <= checkpoint.size) {
            pin.checkpoint = Some(checkpoint.text());
        }
        self.save().map_err(|error| {
            Failure::new(
                Exit::Usage,
                format!("cannot write {}: {error}", self.path.display()),
            )
        })?;
        Ok(&self.path)
    }

    fn save(&self) -> io::Result<()> {
        let text = toml::to_string(&self.file).map_err(io::Error::other)?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let mut draft = Draft::of(&self.path)?;
        draft.file.write_all(text.as_bytes())?;
        draft.replace()
    }
}

#[cfg(test)]
mod tests {
    use stint_audit::{Checkpoint, Digest};

    use super::Pins;

    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn checkpoint(size: u64) -> Checkpoint {
        Checkpoint {
            origin: "example.com/foo".into(),
            size,
            root: Digest::of(b"root"),
        }
    }

    #[test]
    fn remembers_key_and_checkpoint_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stint/trust.toml");
        let mut pins = Pins::load(path.clone()).unwrap();
        assert!(pins.trust("example.com/foo", None).unwrap().keys.is_empty());
        pins.remember(Some(KEY), &checkpoint(7)).unwrap();
        pins.remember(Some(KEY), &checkpoint(5)).unwrap();
        let trust = Pins::load(path.clone())
            .unwrap()
            .trust("example.com/foo", None)
            .unwrap();
        assert_eq!(trust.keys.len(), 1);
        assert_eq!(trust.remembered, Some(checkpoint(7)));
        assert!(
            Pins::load(path)
                .unwrap()
                .trust("other.log", None)
                .unwrap()
                .keys
                .is_empty()
        );
    }

    #[test]
    fn guesses_at_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trust.toml");
        std::fs::write(&path, "[log.x]\nkey = \"a\"\n").unwrap();
        assert!(Pins::load(path).is_err());
        let pins = Pins::load(dir.path().join("none")).unwrap();
        assert!(pins.trust("x", Some("no key")).is_err());
    }
}
