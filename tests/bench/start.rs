//! How long a start takes when the ledger is large: `--only start [--entries 1000000]`.
//!
//! The ledger is filled by the committer's own code, batches of 512, with entries of a refusal's size; then the broker is
//! stopped in order, started again, and measured until it could serve: with the newest anchor, and without it, which is
//! what a start would cost that reads everything.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use stint_audit::kind::{Denied, DenyReason};
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

use crate::broker::{Door, Ground, service};
use crate::load;
use crate::report::Report;

pub(crate) fn measure(report: &mut Report, entries: u64) {
    report.title("a start, by what is in the ledger");
    let folder = tempfile::Builder::new()
        .prefix("stint-bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let runtime = load::runtime("broker", 2);
    runtime.block_on(async {
        let (_, _, service) = service(folder.path(), Door::Grants, &Ground::File).await;
        let subject = format!("{entries} entries");
        let per_second = filled(service, entries).await;
        report.figure(&subject, "entries/s while it was filled", per_second);
        report.figure(
            &subject,
            "seconds to start, from an anchor",
            started(folder.path()).await,
        );
        let file = Database::File(folder.path().join("stint.db"));
        tamper(&file, "DELETE FROM ledger_standing").await;
        report.figure(
            &subject,
            "seconds to start, reading all",
            started(folder.path()).await,
        );
    });
}

/// Serves until there are so many entries and an anchor is behind them; entries a second.
async fn filled(service: Service, entries: u64) -> f64 {
    let (stop, stopped) = watch::channel(Phase::Serving);
    let broker = Arc::clone(&service.app.broker);
    let mut serving = JoinSet::new();
    serving.spawn(service.run(stopped));
    let watch = Stopwatch::start();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&broker), writer, entries / WRITERS));
    }
    writers.join_all().await;
    let seconds = watch.elapsed().as_secs_f64();
    let size = broker.ledger.published().size;
    while broker
        .store
        .newest_anchor()
        .await
        .unwrap()
        .is_none_or(|seq| seq < size)
    {
        drop(
            broker
                .ledger
                .record(entry(u64::MAX / 2), None, Vec::new())
                .await,
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    drop(broker);
    stop.send_replace(Phase::Draining);
    serving.join_all().await;
    f64::from(u32::try_from(entries).unwrap()) / seconds
}

async fn write(broker: Arc<Broker>, writer: u64, count: u64) {
    for number in 0..count {
        let entry = entry(writer << 32 | number);
        broker.ledger.record(entry, None, Vec::new()).await.unwrap();
    }
}

/// As large as a refusal: about 0.5 KB of header, 1.5 KB of body.
pub(crate) fn entry(number: u64) -> Entry {
    let digit =
        |place: u32| char::from(DIGITS[usize::try_from(number >> (5 * place) & 31).unwrap()]);
    let id: String = (0..13).rev().map(digit).collect();
    let mut body = Map::new();
    body.insert("query".to_owned(), json!("x".repeat(1_400)));
    Entry {
        id: format!("dec_0000000000000{id}"),
        subj: Some(Digest::of(&(number % 90).to_be_bytes())),
        by: None,
        behalf: None,
        pol: Some(Digest::ZERO),
        what: What::Denied(Denied {
            first: false,
            request: None,
            task: Some("task_00000000000000000000000000".to_owned()),
            why: DenyReason::Policy,
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
