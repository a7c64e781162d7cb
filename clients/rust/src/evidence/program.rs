//! A token that a platform's own program prints.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use stint_wire::Token;

use super::SourceError;
use super::file::{MAX_TOKEN, tidy};

/// How long a program may take: an agent asks its service over the network, some with a retry.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a complaint is passed on, characters.
const COMPLAINT: usize = 300;

/// A program and whose it is.
#[derive(Debug, Clone)]
pub(super) struct Program {
    pub(super) platform: &'static str,
    pub(super) path: PathBuf,
}

impl Program {
    /// What it prints on stdout when called with `args`: one token.
    pub(super) async fn token(&self, args: Vec<String>) -> Result<Token, SourceError> {
        let program = self.clone();
        let ran = tokio::task::spawn_blocking(move || program.run(&args)).await;
        ran.unwrap_or_else(|_panicked| Err(self.failed("it could not be run")))
    }

    fn run(&self, args: &[String]) -> Result<Token, SourceError> {
        let mut child = Command::new(&self.path)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.failed(&format!("{}: {error}", self.path.display())))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = (reading(out), reading(err));
        let printed = match out.recv_timeout(TIMEOUT) {
            Ok(printed) => printed,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                end(child);
                return Err(self.failed("no answer within 30 s"));
            }
        };
        let from = format!("the answer of {}", self.path.display());
        if printed.len() as u64 > MAX_TOKEN {
            end(child);
            return Err(SourceError::NotAToken(from));
        }
        let status = child.wait();
        if status.is_ok_and(|status| status.success()) {
            return tidy(&printed, &from);
        }
        // It has ended, and what it had to say is there; a grandchild may still hold the pipe.
        let said = err.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        Err(self.failed(complaint(&said)))
    }

    fn failed(&self, why: &str) -> SourceError {
        SourceError::NoAnswer {
            platform: self.platform,
            why: why.to_owned(),
        }
    }
}

/// All of a pipe, up to what a token may have, read aside so that neither of two can fill up.
fn reading(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What came before a failed read is all there is.
            drop(pipe.take(MAX_TOKEN + 1).read_to_end(&mut bytes));
        }
        // Nobody waits any more: then nobody needs it.
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

/// Its last line, which is the one that says why. Anything that looks like a token is not for a log.
fn complaint(said: &str) -> &str {
    let last = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .filter(|line| !line.contains("eyJ"));
    match last {
        None => "it failed and does not say why",
        Some(line) => line
            .char_indices()
            .nth(COMPLAINT)
            .and_then(|(end, _)| line.get(..end))
            .unwrap_or(line),
    }
}

fn end(mut child: Child) {
    drop(child.kill());
    drop(child.wait());
}
