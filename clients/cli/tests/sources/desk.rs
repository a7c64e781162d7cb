//! A job: a folder, a broker of its own, and the programs of its platform. All of it goes with the value.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) url: String,
    broker: Child,
    temp: TempDir,
    /// In memory, where `stint` wants its keys.
    memory: TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// The text of the first line of talk with this word; '' if there is none.
    pub(crate) fn line(&self, word: &str) -> &str {
        let head = format!("{word:<9} ");
        let line = self.err.lines().find_map(|line| line.strip_prefix(&head));
        line.unwrap_or_default()
    }
}

/// Where `stint` is.
pub(crate) fn stint() -> PathBuf {
    program("stint")
}

/// One of our programs, which cargo puts side by side.
fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_stint")).with_file_name(name);
    assert!(
        path.exists(),
        "{name} is not there: run `cargo build --workspace --bins`"
    );
    path
}

impl Desk {
    /// With the sample policies.
    pub(crate) fn new() -> Desk {
        Desk::at(tempfile::tempdir().unwrap())
    }

    /// With one more policy file beside the samples.
    pub(crate) fn with_policy(name: &str, text: &str) -> Desk {
        let temp = tempfile::tempdir().unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policy/sample");
        let policy = temp.path().join("policy");
        fs::create_dir(&policy).unwrap();
        for entry in fs::read_dir(samples).unwrap() {
            let from = entry.unwrap().path();
            if from.is_file() {
                fs::copy(&from, policy.join(from.file_name().unwrap())).unwrap();
            }
        }
        fs::write(policy.join(name), text).unwrap();
        Desk::at(temp)
    }

    fn at(temp: TempDir) -> Desk {
        fs::create_dir(temp.path().join("bin")).unwrap();
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut broker = Command::new(program("stintd"))
            .args(["dev", "--port", "0", "--policy"])
            .arg(temp.path().join("policy"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(broker.stderr.take().unwrap()).lines();
        let url = lines.find_map(|line| {
            let line = line.unwrap();
            let console = line.strip_prefix("console ")?;
            console.split_whitespace().next().map(str::to_owned)
        });
        // Whatever else it says is read, so that it never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Desk {
            url: url.unwrap_or_else(|| panic!("stintd dev does not start")),
            broker,
            temp,
            memory,
        }
    }

    /// The broker's URL as a query has it.
    pub(crate) fn encoded(&self) -> String {
        self.url.replace(':', "%3A").replace('/', "%2F")
    }

    /// A fresh token of a job of acme/web.
    pub(crate) fn token(&self, like: &str) -> String {
        let said = self.verb(&["dev-token", "--like", like, "--repo", "acme/web"], &[]);
        assert_eq!(said.code, 0, "{}", said.err);
        said.out.trim().to_owned()
    }

    /// `stint -v run deploy Environment::staging/web -- true` in this environment and no other.
    pub(crate) fn run(&self, env: &[(&str, &str)]) -> Said {
        let args = [
            "-v",
            "run",
            "deploy",
            "Environment::staging/web",
            "--",
            "true",
        ];
        self.verb(&args, env)
    }

    pub(crate) fn verb(&self, args: &[&str], env: &[(&str, &str)]) -> Said {
        let output = Command::new(program("stint"))
            .args(args)
            .env_clear()
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .env("STINT_URL", &self.url)
            .env("XDG_RUNTIME_DIR", self.memory.path())
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Where secrets may lie.
    pub(crate) fn memory(&self) -> &Path {
        self.memory.path()
    }

    /// Another place in memory.
    pub(crate) fn elsewhere(&self) -> String {
        let path = self.memory.path().join("elsewhere");
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    }

    /// A program of the platform on `PATH`; where it is.
    pub(crate) fn program(&self, name: &str, script: &str) -> String {
        let path = self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A script that notes its arguments and prints a token.
    pub(crate) fn prints(&self, token: &str) -> String {
        format!(
            "printf '%s' \"$*\" >'{}'\necho '{token}'",
            self.path("args").display()
        )
    }

    /// What the last program was called with.
    pub(crate) fn args(&self) -> String {
        fs::read_to_string(self.path("args")).unwrap()
    }

    /// The session keys that are kept.
    pub(crate) fn keys(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.memory.path().join("stint")) else {
            return Vec::new();
        };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths
            .filter(|path| path.extension().is_some_and(|end| end == "key"))
            .collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Told, not killed: its folder goes with it.
        drop(
            Command::new("kill")
                .arg(self.broker.id().to_string())
                .status(),
        );
        drop(self.broker.wait());
    }
}
