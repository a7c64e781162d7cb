//! Node.js, where `tests/run` puts it, and programs for it one talks to line by line.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A command that runs Node.js in the root of the repository.
pub(crate) fn node() -> Command {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let path = target.join("interop/bin/node");
    assert!(
        path.exists(),
        "{} is not there: run `tests/run interop` once",
        path.display()
    );
    let mut command = Command::new(path);
    command.current_dir(root());
    command
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// A program that answers each line with one. It ends when its stdin does: with this value at the latest.
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Talk {
    pub(crate) fn start(script: &str) -> Talk {
        let mut command = node();
        command
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Talk {
            child,
            stdin,
            lines,
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> String {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.lines.next().expect("it ended").unwrap()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.stdin = None;
        drop(self.child.wait());
    }
}
