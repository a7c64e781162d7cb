//! The token endpoint over TLS: what it takes to grant, to refuse, to be flooded and to be many.
//!
//! - **Refusing**: one request at a time on one connection after another, the ways to fail taking turns, so that a change
//!   of the machine's mood meets all alike. `spread` is how far the medians lie apart: what a stranger could tell by a
//!   clock.
//! - **Flooded**: one good client asks, alone and then beside a flood from another address, which sends
//!   [`HOSTILE`] bad requests a second on 32 connections. `times alone` is its p99 over the p99 alone.
//! - **Many**: the release `stintd` with connections that were used once and stay open.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use stint_broker::clock::Stopwatch;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::broker::{Bench, Door, Wanted};
use crate::load::{self, Run, Target};
use crate::outside::rss;
use crate::report::Report;

pub(crate) fn measure(report: &mut Report, scale: usize) {
    let bench = Bench::start(Door::Token);
    bench.run(Wanted::Jwt, 8, 1_000 / scale);
    report.title("POST /oauth2/token over TLS, connections kept, durable, 100 policies");
    for wanted in [Wanted::Jwt, Wanted::X509] {
        for (connections, asks) in [(1, 1_500), (8, 8_000), (32, 12_000), (128, 12_000)] {
            let run = bench.run(wanted, connections, asks / scale);
            let name = format!("{} at {connections}", wanted.as_str());
            granted(report, &name, &run);
        }
    }
    report.title("refusing, one at a time");
    refusing(report, &bench, 2_000 / scale);
    report.title("one good client beside a flood");
    flooded(report, &bench, 600 / scale);
    let target = bench.target.clone();
    let folder = bench.stop();
    report.title("the release stintd, TLS");
    many(report, &folder, &target);
}

fn granted(report: &mut Report, name: &str, run: &Run) {
    report.figure(name, "grants/s", run.rate());
    report.figure(name, "p50 ms", run.percentile(50.0) / 1e3);
    report.figure(name, "p99 ms", run.percentile(99.0) / 1e3);
    report.figure(name, "broker µs a grant", run.broker_us());
}

/// A way for evidence to fail.
struct Bad {
    name: &'static str,
    request: Arc<[u8]>,
}

fn ways(bench: &Bench) -> Vec<Bad> {
    let good = good(bench);
    let bad = |name, token: &str| Bad {
        name,
        request: bench.with_token(token, 0),
    };
    vec![
        bad("form", "no.token.here"),
        bad("header", &with(&good, 0, ("RS256", "HS256"))),
        bad(
            "unknown issuer",
            &with(&good, 1, ("\"iss\":\"http", "\"iss\":\"xttp")),
        ),
        bad(
            "unknown key",
            &with(&good, 0, ("\"kid\":\"", "\"kid\":\"x")),
        ),
        bad("signature", &broken(&good)),
        bad("replay", &good),
    ]
}

/// One and the same token, in this run of the bench.
fn good(bench: &Bench) -> String {
    static TOKEN: OnceLock<String> = OnceLock::new();
    TOKEN.get_or_init(|| bench.one_token(10_000_000)).clone()
}

/// `token` with a change in its header (0) or claims (1).
fn with(token: &str, part: usize, (from, to): (&str, &str)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let text = BASE64URL_NOPAD.decode(parts[part].as_bytes()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains(from), "no {from} in {text}");
    parts[part] = BASE64URL_NOPAD.encode(text.replacen(from, to, 1).as_bytes());
    parts.join(".")
}

/// `token` under a signature of the right size that is not its own.
fn broken(token: &str) -> String {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let mut signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    signature.reverse();
    format!("{input}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn refusing(report: &mut Report, bench: &Bench, rounds: usize) {
    let ways = ways(bench);
    // Spent on another ask: the same one again would be a retry, and get its outcome.
    let spend = bench.with_token(&good(bench), 1);
    let generator = load::runtime("load", 1);
    let mut took = vec![Vec::with_capacity(rounds); ways.len()];
    generator.block_on(async {
        exchange(&mut bench.target.connect().await, &spend).await;
        for round in 0..rounds.div_ceil(ways.len()) {
            // A connection of its own each: after some failures the broker closes it.
            let mut stream = bench.target.connect().await;
            for place in 0..ways.len() {
                let place = (place + round) % ways.len();
                let watch = Stopwatch::start();
                exchange(&mut stream, &ways[place].request).await;
                took[place].push(watch.elapsed().as_secs_f64() * 1e6);
            }
        }
    });
    let mut medians = Vec::new();
    for (way, took) in ways.iter().zip(&mut took) {
        took.sort_by(f64::total_cmp);
        let at = |percent: usize| took[(took.len() * percent / 100).min(took.len() - 1)];
        report.figure(way.name, "p50 ms", at(50) / 1e3);
        report.figure(way.name, "p99 ms", at(99) / 1e3);
        medians.push(at(50));
    }
    medians.sort_by(f64::total_cmp);
    let spread = medians[medians.len() - 1] - medians[0];
    report.figure("all", "spread of the medians µs", spread);
}

fn flooded(report: &mut Report, bench: &Bench, asks: usize) {
    let alone = quiet(bench, asks);
    report.figure("alone", "p99 ms", alone / 1e3);
    let ways = ways(bench);
    for way in &ways[..ways.len() - 1] {
        let beside = beside(bench, asks, &Flood::Requests(Arc::clone(&way.request)));
        report.figure(way.name, "p99 ms", beside / 1e3);
        report.figure(way.name, "times alone", beside / alone);
    }
    for (name, flood) in [
        ("slow heads", Flood::Slow),
        ("new connections", Flood::Handshakes),
    ] {
        let beside = beside(bench, asks, &flood);
        report.figure(name, "p99 ms", beside / 1e3);
        report.figure(name, "times alone", beside / alone);
    }
}

/// p99 of a good client, microseconds.
fn quiet(bench: &Bench, asks: usize) -> f64 {
    load::run(&bench.target, bench.asks(asks), 1, 200).percentile(99.0)
}

/// What a hostile peer does.
enum Flood {
    /// One request again and again.
    Requests(Arc<[u8]>),
    /// A byte of a head now and then.
    Slow,
    /// Handshakes without a request.
    Handshakes,
}

fn beside(bench: &Bench, asks: usize, flood: &Flood) -> f64 {
    let requests = bench.asks(asks);
    let over = Arc::new(AtomicBool::new(false));
    let mut hostile = bench.target.clone();
    hostile.from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let runtime = load::runtime("flood", 1);
    // A flood comes from another machine: here it runs when nobody else wants the core, and so is no neighbour of the
    // broker's but by what it sends.
    let behind = runtime.spawn(async { rustix::process::setpriority_process(None, LAST) });
    runtime.block_on(behind).unwrap().unwrap();
    for _ in 0..LANES {
        let (hostile, over) = (hostile.clone(), Arc::clone(&over));
        match flood {
            Flood::Requests(request) => {
                runtime.spawn(repeat(hostile, Arc::clone(request), over));
            }
            Flood::Slow => drop(runtime.spawn(dribble(hostile, over))),
            Flood::Handshakes => drop(runtime.spawn(knock(hostile, over))),
        }
    }
    let p99 = load::run(&bench.target, requests, 1, 200).percentile(99.0);
    over.store(true, Ordering::Relaxed);
    runtime.shutdown_timeout(Duration::from_secs(2));
    p99
}

async fn repeat(to: Target, request: Arc<[u8]>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let mut stream = to.connect().await;
        for _ in 0..8 {
            tokio::time::sleep(PAUSE).await;
            if !try_exchange(&mut stream, &request).await {
                break;
            }
        }
    }
}

async fn dribble(to: Target, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let mut stream = to.connect().await;
        drop(
            stream
                .write_all(b"POST /oauth2/token HTTP/1.1\r\nX: ")
                .await,
        );
        while !over.load(Ordering::Relaxed) && stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn knock(to: Target, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        drop(to.connect().await);
        tokio::time::sleep(PAUSE).await;
    }
}

async fn exchange(stream: &mut Box<dyn load::Stream>, request: &[u8]) {
    assert!(try_exchange(stream, request).await, "the broker hung up");
}

/// Sends a request and reads an answer to its end; `false` if the connection ended before.
async fn try_exchange(stream: &mut Box<dyn load::Stream>, request: &[u8]) -> bool {
    let mut answer = Vec::with_capacity(8 * 1024);
    if stream.write_all(request).await.is_err() {
        return false;
    }
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return false,
        }
        if load::length(&answer).is_some_and(|length| answer.len() >= length) {
            return true;
        }
    }
}

fn many(report: &mut Report, folder: &TempDir, target: &Target) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("target/release/stintd");
    if !program.exists() {
        return report.line("  not built: cargo build --release --bin stintd");
    }
    let config = folder.path().join("stint.toml");
    let mut child = Command::new(program)
        .args(["serve", "-c"])
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let generator = load::runtime("load", 1);
    generator.block_on(until_ready(&mut child, target));
    report.figure("stintd serve", "idle RSS, MB", rss(&child));
    let open = generator.block_on(open(target, MANY));
    report.figure("stintd serve", "RSS at 1,000 connections, MB", rss(&child));
    drop(open);
    drop(Command::new("kill").arg(child.id().to_string()).status());
    drop(child.wait());
    drop(fs::remove_file(&config));
}

async fn until_ready(child: &mut Child, target: &Target) {
    for _ in 0..200 {
        assert!(child.try_wait().unwrap().is_none(), "stintd ended");
        if tokio::net::TcpStream::connect(target.address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Connections that had one answer each.
async fn open(target: &Target, count: usize) -> Vec<Box<dyn load::Stream>> {
    let mut opening = JoinSet::new();
    let mut open = Vec::with_capacity(count);
    for number in 0..count {
        let target = target.clone();
        opening.spawn(async move {
            let mut stream = target.connect().await;
            exchange(
                &mut stream,
                b"GET /v1/trust HTTP/1.1\r\nHost: localhost\r\n\r\n",
            )
            .await;
            stream
        });
        if number % 50 == 49 {
            while let Some(stream) = opening.join_next().await {
                open.push(stream.unwrap());
            }
        }
    }
    open
}

/// Connections of a flood, and how long each waits between two requests: 1,000 a second in all.
const LANES: u32 = 32;
const HOSTILE: u32 = 1_000;
const PAUSE: Duration = Duration::from_millis((LANES * 1_000 / HOSTILE) as u64);
/// The lowest priority of a thread.
const LAST: i32 = 19;
/// Idle connections.
const MANY: usize = 1_000;
