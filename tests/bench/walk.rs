//! What a grant costs, against what its raw parts cost in the same run:
//!
//! ```text
//! cargo bench -p stint-tests --bench walk [-- --quick --json --only 'JWT at 32' | --only doors | --only ledger | --only growth]
//! ```
//!
//! A real broker (its own runtime with two workers, SQLite on the disk of `target`, durable commits) is asked over
//! keep-alive connections on loopback by a generator on one thread of the same process. Tokens (RS256, one per ask, four
//! asks a task, ninety callers) and CSRs are made before the clock starts. The policy set has 100 policies.
//! It needs no network and never judges: figures depend on the machine, ratios less so.
//!
//! # The arithmetic
//! `parts` is the processor time that nobody can save, per grant, each measured alone in this run: RS256 verification of
//! the same token by `ring`, `PolicySet::decide` on the same query, one ES256 signature, for X.509 the CSR's check, an
//! `axum` POST of the same body with an answer of the same size, and the rows in SQLite in transactions of the batch
//! size that the broker reached. Hence
//!
//! - ceiling of one core: `1 / parts`;
//! - `efficiency`: `parts` / the processor time that the broker's threads really took per grant;
//! - `ceiling` of this run, with `cores` shared with the generator (`load` per ask) and a disk that needs `sync` per
//!   commit: at many connections `min(cores / (parts + load), batch / sync)`; at one connection nothing overlaps, so
//!   `1 / (parts + load + sync)`. `of ceiling` is grants/s over that.
//!
//! Processor time is the scheduler's own (`/proc/self/task/*/schedstat`), for parts and broker alike. A busy machine lowers
//! grants/s at once and `efficiency` a little, since a cold cache is nobody's own: run it alone. It is over in 7 minutes.
//!
//! Beside it: a peer that does half of the work (`peer`), the token endpoint over TLS, refusals, floods and many
//! connections (`doors`), decisions alone, and the programs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bench: it stops at the first thing that is not as it should be, and prints"
)]

mod broker;
mod cpu;
mod decisions;
mod doors;
mod growth;
mod ledger;
mod load;
mod outside;
mod parts;
mod peer;
mod report;

use stint_broker::clock::Stopwatch;

use broker::{Bench, Door, Wanted};
use load::Run;
use parts::Parts;
use report::{Form, Report};

fn main() {
    let word = |wanted: &str| std::env::args().any(|word| word == wanted);
    let scale = if word("--quick") { 10 } else { 1 };
    let only = std::env::args().skip_while(|word| word != "--only").nth(1);
    let mut report = Report::new(if word("--json") {
        Form::Json
    } else {
        Form::Table
    });
    let watch = Stopwatch::start();
    if only.as_ref().is_some_and(|only| only == "doors") {
        doors::measure(&mut report, scale);
        return;
    }

    if only.as_ref().is_some_and(|only| only == "ledger") {
        ledger::measure(&mut report, scale);
        return;
    }

    if only.as_ref().is_some_and(|only| only == "growth") {
        let entries = std::env::args()
            .skip_while(|word| word != "--entries")
            .nth(1);
        let entries = entries.map_or(1_000_000, |entries| entries.parse().unwrap());
        growth::measure(&mut report, entries / u64::try_from(scale).unwrap(), scale);
        return;
    }

    report.title("the walk, durable, 100 policies");
    let bench = Bench::start(Door::Grants);
    bench.run(Wanted::Jwt, CONNECTIONS, 1_000 / scale); // caches, files, the allocator
    for (wanted, one, many) in [(Wanted::Jwt, 1_500, 16_000), (Wanted::X509, 1_500, 10_000)] {
        for (connections, asks) in [(1, one), (CONNECTIONS, many)] {
            let name = format!("{} at {connections}", wanted.as_str());
            if only.as_ref().is_some_and(|only| *only != name) {
                continue;
            }
            let run = bench.run(wanted, connections, asks / scale);
            if (wanted, connections) == (Wanted::Jwt, CONNECTIONS) {
                peer::measure(&mut report, CONNECTIONS, 4_000 / scale, run.rate());
            }
            let parts = Parts::measure(&bench, (wanted, connections), &run, scale);
            walk(&mut report, (&name, connections), &run, &parts);
        }
    }
    let caller = bench.caller();
    drop(bench.stop());
    if only.is_some() {
        return;
    }

    doors::measure(&mut report, scale);
    report.title("decisions in process, one thread");
    decisions::measure(&mut report, &caller, scale);
    report.title("the programs");
    outside::measure(&mut report);
    report.line(&format!("took {:.0} s", watch.elapsed().as_secs_f64()));
}

fn walk(report: &mut Report, (name, connections): (&str, usize), run: &Run, parts: &Parts) {
    let rate = run.rate();
    let used = run.broker_us();
    report.figure(name, "grants/s", rate);
    report.figure(name, "p50 ms", run.percentile(50.0) / 1e3);
    report.figure(name, "p99 ms", run.percentile(99.0) / 1e3);
    report.figure(name, "entries a commit", run.batch());
    report.figure(name, "broker µs a grant", used);
    report.figure(name, "generator µs an ask", run.load_us());
    for (part, cost) in parts.costs() {
        report.figure(name, &format!("  {part} µs"), cost);
    }
    let sum = parts.sum();
    report.figure(name, "parts µs", sum);
    report.figure(name, "fdatasync of 4 KiB µs", parts.sync_us);
    report.figure(name, "ceiling, 1 core, grants/s", 1e6 / sum);
    report.percent(name, "efficiency", sum / used);
    let ceiling = ceiling(connections, run, parts);
    report.figure(name, "ceiling here, grants/s", ceiling);
    report.percent(name, "of ceiling", rate / ceiling);
}

/// Grants per second that this machine could reach in this run: see the arithmetic above.
fn ceiling(connections: usize, run: &Run, parts: &Parts) -> f64 {
    let cpu = parts.sum() + run.load_us();
    if connections == 1 {
        return 1e6 / (cpu + parts.sync_us);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    (cores * 1e6 / cpu).min(run.batch() * 1e6 / parts.sync_us)
}

/// As many as DESIGN.md §10 is measured with.
const CONNECTIONS: usize = 32;
