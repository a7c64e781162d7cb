//! What is counted and measured, in OpenMetrics text (UX.md §10).
//!
//! A label is a closed word: an outcome, a reason, a route as the router spells it, the name of an issuer in the
//! configuration. No caller, resource, id or text of a stranger is ever one, so that nobody outside decides how many
//! series there are (SECURITY.md §2, rule 18).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry, Unit};
use stint_policy::Timestamp;

/// Everything that is counted in one process. Shared as `Arc`; counting takes no lock for longer than an addition and
/// never fails.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    counts: Counts,
    pub(crate) levels: Levels,
    /// When the newest checkpoint was signed, in milliseconds; 0 if not by this process.
    signed_at: AtomicI64,
    /// When the scrubber last came to the end of the ledger, in milliseconds; 0 if not in this process.
    scrubbed_at: AtomicI64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        let mut registry = Registry::with_prefix("stint");
        Metrics {
            counts: Counts::new(&mut registry),
            levels: Levels::new(&mut registry),
            registry,
            signed_at: AtomicI64::new(0),
            scrubbed_at: AtomicI64::new(0),
        }
    }
}

impl Metrics {
    /// A decision was recorded: `permit`, `hold` or `deny`, on evidence of `issuer`; `took` is policy's part of it.
    pub(crate) fn counted_decision(&self, outcome: &'static str, issuer: Arc<str>, took: Duration) {
        let labels = Decided { outcome, issuer };
        self.counts.decisions.get_or_create(&labels).inc();
        self.counts.decision_seconds.observe(took.as_secs_f64());
    }

    /// A credential of this kind was handed out; `took` is the whole walk.
    pub(crate) fn counted_grant(&self, kind: &'static str, took: Duration) {
        let labels = Kind { kind };
        self.counts.grants.get_or_create(&labels).inc();
        let seconds = self.counts.grant_seconds.get_or_create(&labels);
        seconds.observe(took.as_secs_f64());
    }

    /// Evidence did not hold. The issuer is empty where no entry of the configuration was found for it.
    pub(crate) fn counted_rejection(&self, issuer: Option<Arc<str>>, reason: &'static str) {
        let issuer = issuer.unwrap_or_default();
        let labels = Rejected { issuer, reason };
        self.counts.rejected.get_or_create(&labels).inc();
    }

    /// A notice over this channel was `sent`, `failed` (it is tried again) or `dropped`.
    pub(crate) fn counted_notice(&self, channel: &'static str, outcome: &'static str) {
        let labels = Told { channel, outcome };
        self.counts.notices.get_or_create(&labels).inc();
    }

    /// A request was answered. `route` is the router's own spelling, or `none`.
    pub(crate) fn counted_request(&self, route: Arc<str>, status: u16) {
        let labels = Answered { route, status };
        self.counts.requests.get_or_create(&labels).inc();
    }

    /// Policies were loaded: `taken`, `same` or `refused`.
    pub(crate) fn counted_reload(&self, outcome: &'static str) {
        let labels = Ended { outcome };
        self.counts.reloads.get_or_create(&labels).inc();
    }

    /// A batch of so many entries was committed, and its checkpoint signed at `now`.
    pub(crate) fn counted_commit(&self, entries: usize, took: Duration, now: Timestamp) {
        self.counts.commit_seconds.observe(took.as_secs_f64());
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.counts.batch_entries.observe(f64::from(entries));
        self.signed_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Another broker of the same database said that it had written.
    pub(crate) fn counted_wake(&self) {
        self.counts.woken.inc();
    }

    /// So many lines of the log were dropped since the start.
    pub(crate) fn counted_dropped_lines(&self, lines: u64) {
        self.counts
            .dropped_lines
            .inner()
            .store(lines, Ordering::Relaxed);
    }

    /// Seconds since a checkpoint was signed; none if this process has signed none.
    pub(crate) fn checkpoint_age(&self, now: Timestamp) -> Option<f64> {
        match self.signed_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(seconds(now.as_millis().saturating_sub(at))),
        }
    }

    /// The scrubber came to the end of the ledger, and found it whole.
    pub(crate) fn scrubbed(&self, now: Timestamp) {
        self.scrubbed_at.store(now.as_millis(), Ordering::Relaxed);
    }

    /// Seconds since it did; none if it has not since the start.
    pub(crate) fn scrub_age(&self, now: Timestamp) -> Option<f64> {
        match self.scrubbed_at.load(Ordering::Relaxed) {
            0 => None,
            at => Some(seconds(now.as_millis().saturating_sub(at))),
        }
    }

    /// All of it, as `application/openmetrics-text`.
    ///
    /// # Errors
    /// The formatter's; writing to a String has none.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut body = String::new();
        text::encode(&mut body, &self.registry)?;
        Ok(body)
    }
}

/// Milliseconds as seconds.
fn seconds(millis: i64) -> f64 {
    let whole = i32::try_from(millis / 1_000).unwrap_or(i32::MAX);
    let rest = i32::try_from(millis % 1_000).unwrap_or(0);
    f64::from(whole) + f64::from(rest) / 1_000.0
}

/// What events add to.
#[derive(Debug)]
struct Counts {
    decisions: Family<Decided, Counter>,
    decision_seconds: Histogram,
    grants: Family<Kind, Counter>,
    grant_seconds: Family<Kind, Histogram, fn() -> Histogram>,
    rejected: Family<Rejected, Counter>,
    commit_seconds: Histogram,
    batch_entries: Histogram,
    woken: Counter,
    notices: Family<Told, Counter>,
    reloads: Family<Ended, Counter>,
    requests: Family<Answered, Counter>,
    dropped_lines: Counter,
}

impl Counts {
    fn new(to: &mut Registry) -> Counts {
        let walks: fn() -> Histogram = || Histogram::new(WALK_SECONDS);
        Counts {
            decisions: named(
                to,
                ("decisions", "Decisions that were recorded"),
                Family::default(),
            ),
            decision_seconds: measured(
                to,
                ("decision", "Policy's part of a decision"),
                Histogram::new(DECISION_SECONDS),
            ),
            grants: named(
                to,
                ("grants", "Credentials that were handed out"),
                Family::default(),
            ),
            grant_seconds: measured(
                to,
                ("grant", "From evidence to credential"),
                Family::new_with_constructor(walks),
            ),
            rejected: named(
                to,
                ("evidence_rejected", "Evidence that did not hold"),
                Family::default(),
            ),
            commit_seconds: measured(
                to,
                ("ledger_commit", "One commit of the ledger"),
                Histogram::new(WALK_SECONDS),
            ),
            batch_entries: named(
                to,
                ("ledger_batch_entries", "Entries of one commit"),
                Histogram::new(BATCH_ENTRIES),
            ),
            woken: named(
                to,
                (
                    "ledger_woken",
                    "Times another broker said that it had written",
                ),
                Counter::default(),
            ),
            notices: named(
                to,
                ("notices", "Deliveries of notices that were tried"),
                Family::default(),
            ),
            reloads: named(
                to,
                ("policy_reloads", "Times the policies were read"),
                Family::default(),
            ),
            requests: named(
                to,
                ("http_requests", "Requests that were answered"),
                Family::default(),
            ),
            dropped_lines: named(
                to,
                (
                    "log_lines_dropped",
                    "Lines that stderr did not take in time",
                ),
                Counter::default(),
            ),
        }
    }
}

/// What a scrape finds out and sets.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) requests_pending: Gauge,
    pub(crate) ledger_entries: Gauge,
    pub(crate) ledger_queue: Gauge,
    pub(crate) frozen: Gauge,
    checkpoint_age: Float,
    scrub_age: Float,
    keys_age: Family<Issuer, Float>,
    not_after: Family<Key, Float>,
    ready: Family<Check, Gauge>,
    sink_lag: Family<Sink, Gauge>,
    witness_cosignatures: Family<Witness, Gauge>,
    witness_quorum_age: Float,
}

impl Levels {
    fn new(to: &mut Registry) -> Levels {
        Levels {
            requests_pending: named(
                to,
                ("requests_pending", "Asks that wait for people"),
                Gauge::default(),
            ),
            ledger_entries: named(
                to,
                ("ledger_entries", "Entries of the ledger"),
                Gauge::default(),
            ),
            ledger_queue: named(
                to,
                ("ledger_queue", "Outcomes that wait for a commit"),
                Gauge::default(),
            ),
            frozen: named(
                to,
                ("frozen", "How many freezes are in force"),
                Gauge::default(),
            ),
            checkpoint_age: measured(
                to,
                (
                    "checkpoint_age",
                    "Since the newest checkpoint was signed; one is signed with each commit",
                ),
                Float::default(),
            ),
            scrub_age: measured(
                to,
                (
                    "ledger_scrub_age",
                    "Since the scrubber last found the whole ledger as it was signed",
                ),
                Float::default(),
            ),
            keys_age: measured(
                to,
                ("issuer_keys_age", "Since an issuer's keys were fetched"),
                Family::default(),
            ),
            not_after: measured(
                to,
                ("key_not_after", "When a certificate ends, in Unix time"),
                Family::default(),
            ),
            ready: named(
                to,
                ("ready", "1 if a check of /readyz passes"),
                Family::default(),
            ),
            sink_lag: named(
                to,
                ("sink_lag_entries", "Entries that a sink has not been sent"),
                Family::default(),
            ),
            witness_cosignatures: named(
                to,
                (
                    "witness_cosignatures",
                    "1 if a witness cosigned the head it was asked about last",
                ),
                Family::default(),
            ),
            witness_quorum_age: named(
                to,
                (
                    "witness_quorum_age_seconds",
                    "Time since a quorum of witnesses cosigned",
                ),
                Float::default(),
            ),
        }
    }

    /// Seconds since the newest checkpoint.
    pub(crate) fn checkpoint_age(&self, age: f64) {
        self.checkpoint_age.set(age);
    }

    /// Seconds since the scrubber came to the end of the ledger.
    pub(crate) fn scrub_age(&self, age: f64) {
        self.scrub_age.set(age);
    }

    /// How old an issuer's keys are. Issuers whose keys were not fetched are not listed.
    pub(crate) fn keys_age(&self, issuer: &str, age_s: i64) {
        let issuer = issuer.into();
        let gauge = self.keys_age.get_or_create(&Issuer { issuer });
        gauge.set(seconds(age_s.saturating_mul(1_000)));
    }

    /// When the certificate of a key ends.
    pub(crate) fn not_after(&self, key: &'static str, at_s: i64) {
        let gauge = self.not_after.get_or_create(&Key { key });
        gauge.set(seconds(at_s.saturating_mul(1_000)));
    }

    /// How many entries a sink is behind.
    pub(crate) fn sink_lag(&self, sink: &str, entries: u64) {
        let sink = sink.into();
        let gauge = self.sink_lag.get_or_create(&Sink { sink });
        gauge.set(i64::try_from(entries).unwrap_or(i64::MAX));
    }

    /// How many of the heads it was asked about last a witness cosigned: one or none.
    pub(crate) fn witness(&self, witness: &str, cosigned: u8) {
        let witness = witness.into();
        let gauge = self
            .witness_cosignatures
            .get_or_create(&Witness { witness });
        gauge.set(i64::from(cosigned));
    }

    /// Seconds since a quorum of witnesses cosigned.
    pub(crate) fn witness_quorum_age(&self, age: f64) {
        self.witness_quorum_age.set(age);
    }

    /// Whether a check of `/readyz` passes: 1 or 0.
    pub(crate) fn ready(&self, check: &str, passes: i64) {
        let check = check.into();
        let gauge = self.ready.get_or_create(&Check { check });
        gauge.set(passes);
    }
}

type Float = Gauge<f64, AtomicU64>;

fn named<M: Metric + Clone>(to: &mut Registry, (name, help): (&str, &str), metric: M) -> M {
    to.register(name, help, metric.clone());
    metric
}

fn measured<M: Metric + Clone>(to: &mut Registry, (name, help): (&str, &str), metric: M) -> M {
    to.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    outcome: &'static str,
    issuer: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    issuer: Arc<str>,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: Arc<str>,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Told {
    channel: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Issuer {
    issuer: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Key {
    key: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Check {
    check: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sink {
    sink: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Witness {
    witness: Arc<str>,
}

/// Policy decides in microseconds and may take 50 ms (SECURITY.md §4).
const DECISION_SECONDS: [f64; 10] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.001, 0.005, 0.01, 0.025, 0.05,
];

/// A walk is a few milliseconds, most of it one fsync; the alert on commits looks at 250 ms.
const WALK_SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// Up to the largest batch.
const BATCH_ENTRIES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 256.0, 1024.0];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stint_policy::Timestamp;

    use super::Metrics;

    #[test]
    fn what_was_counted_is_said_in_openmetrics() {
        let metrics = Metrics::default();
        metrics.counted_decision("deny", "github".into(), Duration::from_micros(30));
        metrics.counted_rejection(None, "form");
        metrics.counted_commit(3, Duration::from_millis(2), Timestamp::from_millis(60_000));
        metrics.counted_request("/v1/grants".into(), 403);
        let text = metrics.text().unwrap();
        for line in [
            "stint_decisions_total{outcome=\"deny\",issuer=\"github\"} 1",
            "stint_decision_seconds_bucket{le=\"0.00005\"} 1",
            "stint_evidence_rejected_total{issuer=\"\",reason=\"form\"} 1",
            "stint_ledger_batch_entries_sum 3.0",
            "stint_ledger_commit_seconds_count 1",
            "stint_http_requests_total{route=\"/v1/grants\",status=\"403\"} 1",
            "# EOF",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line} is not in\n{text}"
            );
        }
        assert_eq!(
            metrics.checkpoint_age(Timestamp::from_millis(61_500)),
            Some(1.5)
        );
    }
}
