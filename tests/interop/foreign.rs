//! How the foreign programs are called: `tests/run interop` puts interpreters and packages where this file looks.

use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A script of this folder, to be run by Node.js.
pub(crate) fn node(script: &str) -> Command {
    interpreter("node", script)
}

/// A script of this folder, to be run by Python.
pub(crate) fn python(script: &str) -> Command {
    interpreter("python", script)
}

/// A program of this folder, by Debian's Go and the packages that Debian has for it; what is compiled lies in `target`.
pub(crate) fn go(program: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut command = Command::new("/usr/bin/go");
    command.env("GO111MODULE", "off");
    command.env("GOPATH", "/usr/share/gocode");
    command.env("GOCACHE", target.join("interop/go"));
    command.arg("run").arg(here(program));
    command
}

/// A Python module that is a program.
pub(crate) fn module(name: &str) -> Command {
    let mut command = bare("python");
    command.args(["-m", name]);
    command
}

/// A file of this folder.
pub(crate) fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("interop")
        .join(name)
}

fn interpreter(name: &str, script: &str) -> Command {
    let mut command = bare(name);
    command.arg(here(script));
    command
}

fn bare(name: &str) -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("interop/bin").join(name);
    assert!(
        path.exists(),
        "{} is not there: run `tests/run interop` once",
        path.display()
    );
    Command::new(path)
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) ok: bool,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// What it printed, where that is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Runs it to its end, with `input` on its stdin.
pub(crate) fn run(command: &mut Command, input: &str) -> Said {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let done = child.wait_with_output().unwrap();
    Said {
        ok: done.status.success(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// A program one talks to line by line. It ends when its stdin does: with this value at the latest.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    pub(crate) fn start(command: &mut Command) -> Talk {
        // Its talk is shown when it fails; it is far from filling a pipe.
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = piped
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Talk {
            child,
            stdin,
            lines,
        }
    }

    /// Its next line.
    pub(crate) fn hear(&mut self) -> String {
        self.lines
            .next()
            .unwrap_or_else(|| panic!("it ended: {}", self.complaint()))
            .unwrap()
    }

    fn complaint(&mut self) -> String {
        self.stdin = None;
        let mut text = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }

    /// Says a line, and hears one.
    pub(crate) fn ask(&mut self, line: &str) -> Value {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        serde_json::from_str(&self.hear()).unwrap()
    }

    /// Closes its stdin and waits for its end.
    pub(crate) fn end(&mut self) {
        self.stdin = None;
        let status = self.child.wait().unwrap();
        assert!(status.success(), "ended with {status}");
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin = None;
        drop(self.child.wait());
    }
}
