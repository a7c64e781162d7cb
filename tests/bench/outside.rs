//! The programs as an operator meets them: how soon `stintd dev` serves, what it needs idle, how large they are.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use stint_broker::clock::Stopwatch;

use crate::report::Report;

pub(crate) fn measure(report: &mut Report) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    report.figure(
        "Cargo.lock",
        "crates",
        lock.matches("[[package]]").count() as f64,
    );
    let release = root.join("target/release");
    for name in ["stintd", "stint"] {
        match fs::metadata(release.join(name)) {
            Ok(file) => report.figure(name, "MB", file.len() as f64 / 1e6),
            Err(_) => report.line(&format!(
                "  {name:<24} not built: cargo build --release --bin {name}"
            )),
        }
    }
    let stintd = release.join("stintd");
    if stintd.exists() {
        dev(report, &stintd);
    }
}

fn dev(report: &mut Report, stintd: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let mut ready = Vec::new();
    for _ in 0..5 {
        let watch = Stopwatch::start();
        let (child, _) = Running::start(stintd, folder.path());
        ready.push(watch.elapsed().as_secs_f64() * 1e3);
        drop(child);
    }
    ready.sort_by(f64::total_cmp);
    report.figure("stintd dev", "ready after ms, median of 5", ready[2]);
    let (child, _) = Running::start(stintd, folder.path());
    report.figure("stintd dev", "idle RSS, MB", rss(&child.0));
}

/// A `stintd dev` that ends with this value.
struct Running(Child);

impl Running {
    /// Waits until it says where it listens.
    fn start(stintd: &Path, folder: &Path) -> (Running, String) {
        let mut child = Command::new(stintd)
            .args(["dev", "--port", "0", "--policy"])
            .arg(folder.join("policy"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let broker = lines.find_map(|line| {
            let line = line.unwrap();
            let console = line.strip_prefix("console ")?;
            console.split_whitespace().next().map(str::to_owned)
        });
        (Running(child), broker.expect("stintd dev starts"))
    }
}

/// Memory of a program that runs, MB.
pub(crate) fn rss(child: &Child) -> f64 {
    memory(child, "VmRSS:").unwrap()
}

/// The most it ever had, MB; nothing, once it has ended.
pub(crate) fn peak_rss(child: &Child) -> Option<f64> {
    memory(child, "VmHWM:")
}

fn memory(child: &Child, line: &str) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix(line))?;
    Some(line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1e3)
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked, not killed: it removes its folder.
        drop(Command::new("kill").arg(self.0.id().to_string()).status());
        drop(self.0.wait());
    }
}
