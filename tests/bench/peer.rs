//! A real peer in the same run: `oidc-provider` on Node.js, which gives an ES256 JWT for an RS256 assertion.
//!
//! It does the half of a grant that any authorization server does: it verifies one signature and makes another. It asks
//! no policy and records nothing, so the ratio is what deciding and durable recording cost, and what the language gives
//! back. One process, as it is usually run, on as many cores as it can use.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::load::{self, Target};
use crate::report::Report;

/// `ours`: JWTs per second through our door at as many connections.
pub(crate) fn measure(report: &mut Report, connections: usize, asks: usize, ours: f64) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let node = root.join("../target/interop/bin/node");
    if !node.exists() || !root.join("interop/node_modules/oidc-provider").exists() {
        return report.line("  not installed: tests/run interop");
    }
    let mut child = Command::new(node)
        .arg(root.join("bench/peer.mjs"))
        .arg(asks.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
    let requests: Vec<Arc<[u8]>> = ready["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap().as_bytes().into())
        .collect();
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let target = Target {
        address: SocketAddr::new(local, port),
        from: local,
        tls: None,
    };
    let run = load::run(&target, requests, connections, 200);
    let name = format!("oidc-provider at {connections}");
    report.figure(&name, "tokens/s", run.rate());
    report.figure(&name, "p50 ms", run.percentile(50.0) / 1e3);
    report.figure(&name, "p99 ms", run.percentile(99.0) / 1e3);
    report.figure(&name, "Stint's grants/s over it", ours / run.rate());
    drop(child.stdin.take());
    drop(child.wait());
}
