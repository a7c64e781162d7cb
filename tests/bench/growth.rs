//! What a ledger costs as it grows: `--only growth [--entries 1000000]`.
//!
//! For 10,000 entries, 100,000 and a million, each in a new folder: the ledger is filled by the committer's own code,
//! batches of 512, with entries of a refusal's size; then a grant is asked for as in the walk, the file is measured, its
//! bundle verified by `stint` (a release build, or it is left out), and the broker stopped in order and started again,
//! until it could serve: with the newest anchor, and without it, which is what a start would cost that reads everything.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use stint_audit::kind::{Login, Via};
use stint_audit::{Body, Digest, Entry, What};
use stint_broker::clock::{Stopwatch, SystemClock};
use stint_broker::config::Config;
use stint_broker::http::listen::phase::Phase;
use stint_broker::issue::Broker;
use stint_broker::serve::{Doors, Service};
use stint_broker::start::Absent;
use stint_tests::database::{Database, tamper};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::broker::{Bench, Door, Wanted};
use crate::load;
use crate::outside;
use crate::report::Report;

pub(crate) fn measure(report: &mut Report, entries: u64, scale: usize) {
    report.title("by what is in the ledger");
    let sizes = [10_000, 100_000, 1_000_000];
    for size in sizes.into_iter().filter(|size| *size < entries) {
        grown(report, size, scale);
    }
    grown(report, entries, scale);
}

fn grown(report: &mut Report, entries: u64, scale: usize) {
    let subject = format!("{entries} entries");
    let bench = Bench::start(Door::Grants);
    let per_second = bench.block_on(filled(&bench.broker, entries));
    report.figure(&subject, "entries/s while it was filled", per_second);
    bench.run(Wanted::Jwt, crate::CONNECTIONS, 1_000 / scale);
    let run = bench.run(Wanted::Jwt, crate::CONNECTIONS, 8_000 / scale);
    report.figure(&subject, "JWT grants/s", run.rate());
    report.figure(&subject, "broker µs a grant", run.broker_us());
    report.figure(&subject, "p50 ms", run.percentile(50.0) / 1e3);
    report.figure(&subject, "p99 ms", run.percentile(99.0) / 1e3);
    bench.block_on(anchored(&bench.broker));
    let vkey = bench.broker.ledger.vkey().to_owned();
    verified(report, &subject, (bench.folder.path(), &vkey));
    let size = bench.broker.ledger.published().size;
    let folder = bench.stop();
    let file = folder.path().join("stint.db");
    let bytes = std::fs::metadata(&file).unwrap().len() as f64;
    report.figure(&subject, "bytes an entry, all tables", bytes / size as f64);
    let runtime = load::runtime("broker", 2);
    let seconds = runtime.block_on(started(folder.path()));
    report.figure(&subject, "seconds to start, from an anchor", seconds);
    runtime.block_on(tamper(&Database::File(file), "DELETE FROM ledger_standing"));
    let seconds = runtime.block_on(started(folder.path()));
    report.figure(&subject, "seconds to start, reading all", seconds);
}

/// Records so many entries; how many a second.
async fn filled(broker: &Arc<Broker>, entries: u64) -> f64 {
    let watch = Stopwatch::start();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(broker), writer, entries / WRITERS));
    }
    writers.join_all().await;
    f64::from(u32::try_from(entries).unwrap()) / watch.elapsed().as_secs_f64()
}

/// An anchor is behind the present head.
async fn anchored(broker: &Broker) {
    let size = broker.ledger.published().size;
    let newest = async || broker.store.newest_anchor().await.unwrap();
    while newest().await.is_none_or(|seq| seq < size) {
        let more = entry(u64::MAX / 2);
        drop(broker.ledger.record(more, None, Vec::new()).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The whole log as a bundle, headers and all bodies, verified by the program in a process of its own.
fn verified(report: &mut Report, subject: &str, (folder, vkey): (&Path, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let stint = root.join("target/release/stint");
    if !stint.exists() {
        return report.line("  not verified: cargo build --release --bin stint");
    }
    let bundle = folder.join("bench.zip");
    let exported = Command::new(&stint)
        .args(["ledger", "export", "--socket"])
        .arg(folder.join("stintd.sock"))
        .arg("-o")
        .arg(&bundle)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(exported.unwrap().success());
    let bytes = std::fs::metadata(&bundle).unwrap().len() as f64;
    report.figure(subject, "bundle, MB", bytes / 1e6);
    let watch = Stopwatch::start();
    let mut child = Command::new(&stint)
        .args(["ledger", "verify", "--key", vkey])
        .arg(&bundle)
        .stdout(std::fs::File::create(folder.join("said")).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut most = 0.0_f64;
    let ended = loop {
        most = outside::peak_rss(&child).unwrap_or(most);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        #[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
        std::thread::sleep(Duration::from_millis(5));
    };
    let seconds = watch.elapsed().as_secs_f64();
    let said = std::fs::read_to_string(folder.join("said")).unwrap();
    assert!(ended.success(), "{said}");
    report.figure(subject, "seconds to verify it", seconds);
    report.figure(subject, "peak RSS of that, MB", most);
    std::fs::remove_file(&bundle).unwrap();
}

async fn write(broker: Arc<Broker>, writer: u64, count: u64) {
    for number in 0..count {
        let entry = entry(writer << 32 | number);
        broker.ledger.record(entry, None, Vec::new()).await.unwrap();
    }
}

/// As large as a refusal, about 0.5 KB of header and 1.5 KB of body; a sign-in, which no policy set answers for.
pub(crate) fn entry(number: u64) -> Entry {
    let digit =
        |place: u32| char::from(DIGITS[usize::try_from(number >> (5 * place) & 31).unwrap()]);
    let id: String = (0..13).rev().map(digit).collect();
    let mut body = Map::new();
    body.insert("query".to_owned(), json!("x".repeat(1_400)));
    Entry {
        id: format!("ent_0000000000000{id}"),
        subj: Some(Digest::of(&(number % 90).to_be_bytes())),
        by: None,
        behalf: None,
        pol: None,
        what: What::Login(Login {
            roles: Some(vec!["approver".to_owned(), "r".repeat(100)]),
            via: Via::Console,
        }),
        body: Body {
            salt: number.to_be_bytes().repeat(2).try_into().unwrap(),
            what: body,
        },
    }
}

/// Starts the folder's broker once; seconds until it could serve.
async fn started(folder: &Path) -> f64 {
    let text = std::fs::read_to_string(folder.join("stint.toml")).unwrap();
    let config = Config::parse("bench", &text, folder).unwrap().config;
    drop(std::fs::remove_file(&config.ops.socket));
    let doors = Doors {
        api: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap(),
        ops: None,
        socket: UnixListener::bind(&config.ops.socket).unwrap(),
        extra: axum::Router::new(),
    };
    let watch = Stopwatch::start();
    let service = Service::start(config, Arc::new(SystemClock), Absent::Refuse, doors);
    let service = Box::pin(service).await.unwrap();
    let seconds = watch.elapsed().as_secs_f64();
    let (stop, stopped) = watch::channel(Phase::Serving);
    stop.send_replace(Phase::Draining);
    service.run(stopped).await;
    seconds
}

/// Who writes at once: a batch has 512 at most.
const WRITERS: u64 = 1_000;
/// Crockford's base32, lower case.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
