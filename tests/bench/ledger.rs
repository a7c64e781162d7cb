//! The ledger alone, and the broker on a server: `--only ledger`.
//!
//! Appends go straight to the committer, without the walk, from as many writers at once as it says; entries are of a
//! refusal's size (0.5 KB and 1.5 KB). `entries a commit` is what natural batching made of them. The file is on the disk
//! of `target`; the server is a PostgreSQL 15 of this run's own on the same disk, reached over loopback, everything that
//! makes its commits durable on. Replicas share two cores with it and with the generator: what is shown is what
//! several of them cost each other, not what they would gain from machines of their own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use stint_broker::clock::Stopwatch;
use stint_broker::http::listen::phase::Phase;
use stint_broker::issue::Broker;
use stint_tests::postgres::{Cluster, PASSWORD, SERVICE, Spot};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::broker::{Bench, Door, Ground, Wanted, service};
use crate::growth::entry;
use crate::load;
use crate::report::Report;

pub(crate) fn measure(report: &mut Report, scale: usize) {
    let runtime = load::runtime("cluster", 1);
    let cluster = runtime.block_on(async { Cluster::start(&[]) });
    report.title("appends to the ledger alone, durable");
    for engine in ["SQLite", "PostgreSQL"] {
        let spot = (engine == "PostgreSQL").then(|| runtime.block_on(cluster.database()));
        appends(report, engine, spot.as_ref(), scale);
    }
    report.title("grants on PostgreSQL, by replicas");
    for replicas in 1..=3 {
        let spot = runtime.block_on(cluster.database());
        grants(report, replicas, &spot, scale);
    }
}

fn appends(report: &mut Report, engine: &str, spot: Option<&Spot>, scale: usize) {
    let folder = tempfile::Builder::new()
        .prefix("stint-bench-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .unwrap();
    let runtime = load::runtime("broker", 2);
    runtime.block_on(async {
        let ground = spot.map_or(Ground::File, |spot| on(spot, folder.path()));
        let (_, _, service) = service(folder.path(), Door::Grants, &ground).await;
        let (stop, stopped) = watch::channel(Phase::Serving);
        let broker = Arc::clone(&service.app.broker);
        let mut serving = JoinSet::new();
        serving.spawn(service.run(stopped));
        let mut begun = 0;
        for (writers, count) in [(1, 1_000), (8, 4_000), (64, 20_000), (512, 60_000)] {
            let count = u64::try_from(count / scale).unwrap().max(writers);
            let subject = format!("{engine}, {writers} writers");
            let before = commits(&broker);
            let watch = Stopwatch::start();
            let each = (0..writers).map(|_| {
                begun += 1;
                write(Arc::clone(&broker), begun, count / writers)
            });
            stint_tests::together(each).await;
            let seconds = watch.elapsed().as_secs_f64();
            let commits = commits(&broker) - before;
            let entries = (count / writers * writers) as f64;
            report.figure(&subject, "entries/s", entries / seconds);
            report.figure(&subject, "commits/s", commits / seconds);
            report.figure(&subject, "entries a commit", entries / commits.max(1.0));
        }
        drop(broker);
        stop.send_replace(Phase::Draining);
        serving.join_all().await;
    });
}

async fn write(broker: Arc<Broker>, writer: u64, count: u64) {
    for number in 0..count {
        let entry = entry(writer << 32 | number);
        broker.ledger.record(entry, None, Vec::new()).await.unwrap();
    }
}

/// By the broker's own metrics.
fn commits(broker: &Broker) -> f64 {
    let text = broker.metrics.text().unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("stint_ledger_commit_seconds_count "));
    line.map_or(0.0, |count| count.parse().unwrap())
}

/// Each replica gets its part of the asks, over eight connections.
fn grants(report: &mut Report, replicas: usize, spot: &Spot, scale: usize) {
    let first = Bench::start_on(Door::Grants, |folder| on(spot, folder));
    let more: Vec<_> = (1..replicas)
        .map(|number| first.replica(&format!("r{number}"), |folder| on(spot, folder)))
        .collect();
    let asks = first.wanted(Wanted::Jwt, (6_000 / scale).max(16 * replicas));
    let parts: Vec<Vec<_>> = (0..replicas)
        .map(|at| asks.iter().skip(at).step_by(replicas).cloned().collect())
        .collect();
    let watch = Stopwatch::start();
    std::thread::scope(|scope| {
        let targets = std::iter::once(&first.target).chain(more.iter().map(|it| &it.target));
        for (target, part) in targets.zip(parts) {
            scope.spawn(move || load::run(target, part, 8, 201));
        }
    });
    let rate = asks.len() as f64 / watch.elapsed().as_secs_f64();
    report.figure(
        &format!("{replicas} replicas"),
        "grants/s, 8 connections each",
        rate,
    );
    if let [second] = more.as_slice() {
        let mut waits = first.block_on(followed(&first.broker, &second.broker));
        waits.sort_by(f64::total_cmp);
        let name = "2 replicas, ms until the other follows";
        report.figure(name, "p50", waits[waits.len() / 2]);
        report.figure(name, "most", waits[waits.len() - 1]);
    }
    for replica in more {
        replica.stop();
    }
    drop(first.stop());
}

/// Milliseconds from an entry's receipt at one broker until the other has it, now and then an entry.
async fn followed(one: &Broker, other: &Broker) -> Vec<f64> {
    let mut seen = other.ledger.watch_published();
    let mut waits = Vec::new();
    for number in 0..100 {
        tokio::time::sleep(Duration::from_millis(37)).await;
        let receipt = one.ledger.record(entry(number), None, Vec::new()).await;
        let seq = receipt.unwrap().seq();
        let watch = Stopwatch::start();
        let there = seen.wait_for(|published| published.size > seq).await;
        drop(there.unwrap());
        waits.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    waits
}

/// The lines of `[store]`.
fn on(spot: &Spot, folder: &Path) -> Ground {
    let password = folder.join("pg-password");
    crate::broker::write(&password, PASSWORD);
    Ground::Server(format!(
        "url = \"{}\"\npassword = {{ file = \"{}\" }}",
        spot.url(SERVICE),
        password.display()
    ))
}
