//! The programs themselves, as `cargo build --bins` left them beside the tests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::clock::eventually;

/// A running `stintd serve`.
#[derive(Debug)]
pub struct Stintd {
    /// Where the API is.
    pub api: SocketAddr,
    /// Where its health is.
    pub ops: SocketAddr,
    child: Child,
}

impl Stintd {
    /// Serves `config` of `folder`; `limit` is the largest file it may write, in KiB.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn serve(folder: &Path, config: &str, limit: Option<u64>) -> Self {
        Self::serve_with(folder, config, limit, &[]).await
    }

    /// The same with these variables in its environment: `LD_PRELOAD`, for a machine that fails it.
    ///
    /// # Panics
    /// When it is not ready in time.
    pub async fn serve_with(
        folder: &Path,
        config: &str,
        limit: Option<u64>,
        env: &[(&str, &str)],
    ) -> Self {
        let (api, ops) = (free(), free());
        let text = config
            .replacen("[server]\n", &format!("[server]\nlisten = \"{api}\"\n"), 1)
            .replacen("[ops]\n", &format!("[ops]\nlisten = \"{ops}\"\n"), 1);
        let path = folder.join("stint.toml");
        std::fs::write(&path, text).unwrap();
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("stintd.log"))
            .unwrap();
        let mut command = match limit {
            // SIGXFSZ ignored, the write fails with EFBIG, as it would with ENOSPC on a full disk.
            Some(kib) => {
                let mut shell = Command::new("bash");
                let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
                shell.args(["-c", &script, "bash"]).arg(program("stintd"));
                shell
            }
            None => Command::new(program("stintd")),
        };
        command.arg("serve").arg("-c").arg(&path);
        let child = command
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut stintd = Self {
            api,
            ops,
            child: child.spawn().unwrap(),
        };
        eventually("stintd is ready", async || {
            assert!(
                stintd.child.try_wait().unwrap().is_none(),
                "{}",
                said(folder)
            );
            tokio::net::TcpStream::connect(api).await.is_ok()
                && get(ops, "/readyz").await == Some(200)
        })
        .await;
        stintd
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    ///
    /// # Panics
    /// When it cannot be killed.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Panics
    /// When it does not end well.
    pub async fn terminate(&mut self) {
        if self.ended().is_none() {
            signal(self.id(), "TERM");
            eventually("stintd ends", async || self.ended().is_some()).await;
        }
        let status = self.ended().unwrap();
        assert!(status.success(), "stintd ended with {status}");
    }

    /// How it ended, if it did.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Stintd {
    fn drop(&mut self) {
        // Where the test ended it already, there is nothing left to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends `signal` to a process of ours.
///
/// # Panics
/// When there is no such process.
pub fn signal(id: u32, signal: &str) {
    let told = Command::new("kill")
        .args(["-s", signal, &id.to_string()])
        .status()
        .unwrap();
    assert!(told.success(), "kill -s {signal} {id}");
}

/// What `stintd` said in `folder` so far.
#[must_use]
pub fn said(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("stintd.log")).unwrap_or_default()
}

/// One of our programs.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join(name);
    assert!(
        path.exists(),
        "{} is not there: run `cargo build --bins`",
        path.display()
    );
    path
}

/// The `stint` command.
#[must_use]
pub fn stint() -> Command {
    Command::new(program("stint"))
}

async fn get(at: SocketAddr, path: &str) -> Option<u16> {
    let client = reqwest::Client::builder().no_proxy().build().ok()?;
    Some(
        client
            .get(format!("http://{at}{path}"))
            .send()
            .await
            .ok()?
            .status()
            .as_u16(),
    )
}

/// A port nobody has now.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap()
}
