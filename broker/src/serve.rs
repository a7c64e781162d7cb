//! A broker that runs: what was built, the tasks around it, and how it stops.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use stint_wire::{Code, Problem};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::authenticate::crypto;
use crate::authenticate::register::Filing;
use crate::clock::Clock;
use crate::config::{self, Config};
use crate::console;
use crate::http::guard::{Hosts, Proxies, guarded, introduced};
use crate::http::listen::phase::Phase;
use crate::http::listen::tls::{ClientCerts, Tls};
use crate::http::listen::{Bounds, Listener};
use crate::http::{self, evidence, observe, problem::Failure};
use crate::issue::Broker;
use crate::ledger;
use crate::ledger::erase::Keeper;
use crate::ledger::witnesses::Witnesses;
use crate::limits::evidence::FailedEvidence;
use crate::notify::Notifier;
use crate::policies::{self, Refused, Reload};
use crate::sinks::{self, Sinks};
use crate::skew;
use crate::start::{self, Absent, Built, StartError};
use crate::telemetry::trail;
use crate::trust;

/// The broker and what its doors need besides.
#[derive(Debug)]
pub struct App {
    /// The walk.
    pub broker: Arc<Broker>,
    /// Where policies come from.
    pub policy_dir: PathBuf,
    /// The config as it is recorded: no secrets.
    pub settings: serde_json::Value,
    /// Since when `/readyz` reads what it reads.
    pub(crate) memory: http::health::Memory,
    /// Pages that are told what changes.
    pub(crate) streams: console::events::Streams,
    /// Who is sent the ledger.
    pub sinks: Sinks,
    /// How long a caller waits for an answer.
    pub request_timeout: Duration,
}

impl App {
    /// Runs a unit of work in its own task, so that whoever waits for it may go away.
    ///
    /// # Errors
    /// A 500 problem if the task panicked: a bug, with nothing half done, since the ledger commits whole units.
    pub async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one `detached`; its panic comes back here"
        )]
        let task = tokio::spawn(trail::carried(work));
        task.await.map_err(|error| {
            tracing::error!(%error, "a walk ended in a panic");
            Problem::new(Code::Internal, "a fault on our side; it was logged").into()
        })
    }

    /// Loads the policies anew.
    ///
    /// # Errors
    /// [`Refused`]; the set in force stays.
    pub async fn reload(&self) -> Result<Reload, Refused> {
        let result = self
            .broker
            .policies
            .reload(&self.policy_dir, &self.broker.ledger)
            .await;
        match &result {
            Ok(Reload::Same(_)) => self.broker.metrics.counted_reload("same"),
            Ok(Reload::Taken(pol)) => {
                self.broker.metrics.counted_reload("taken");
                tracing::info!(%pol, "policies took force");
            }
            Err(refused) => {
                self.broker.metrics.counted_reload("refused");
                tracing::error!(%refused, "policies were refused; the last good set decides")
            }
        }
        result
    }

    /// Watches the policy folder and lets every change take force: once it stands still, so that no
    /// half of an edit decides, and again until it was recorded.
    async fn watch_policies(self: Arc<Self>) {
        let mut settled = policies::glance(&self.policy_dir);
        let mut before = settled.clone();
        loop {
            tokio::time::sleep(GLANCE).await;
            let now = policies::glance(&self.policy_dir);
            let stands_still = now == before;
            before = now.clone();
            if now == settled || !stands_still {
                continue;
            }
            match self.reload().await {
                Err(Refused::Record(_) | Refused::Thread(_)) => {}
                Ok(_) | Err(Refused::Load(_) | Refused::Serial { .. }) => settled = now,
            }
        }
    }

    /// What nobody asks for and somebody must do: roll refusals up, and read key files that changed.
    async fn look_around(self: Arc<Self>) {
        let broker = &self.broker;
        loop {
            tokio::time::sleep(GLANCE).await;
            let now = broker.clock.now();
            broker.roster.glance(now);
            if let Err(error) = broker.noise.roll_up(&broker.ledger).await {
                tracing::warn!(%error, "refusals could not be rolled up; they stay counted");
            }
        }
    }

    /// Lets the policies decide that took force on another replica.
    async fn follow_policies(self: Arc<Self>) {
        let broker = &self.broker;
        broker.policies.follow(&broker.store, &broker.ledger).await;
    }

    /// Records that the database failed over: after the committer has found the head to be the one it knew.
    async fn watch_storage(self: Arc<Self>) {
        let broker = &self.broker;
        let mut states = broker.ledger.watch_state();
        let mut known = broker.store.storage().await.ok();
        while states.changed().await.is_ok() {
            if *states.borrow_and_update() != ledger::State::Open {
                continue;
            }
            let now = broker.store.storage().await.ok();
            let timeline = |storage: &Option<serde_json::Value>| {
                storage.as_ref().and_then(|it| it.get("timeline").cloned())
            };
            if now.is_none() || timeline(&now) == timeline(&known) {
                continue;
            }
            tracing::warn!("the database failed over: another timeline writes it");
            match start::record_config(&self, "failover").await {
                Ok(()) => known = now,
                Err(error) => tracing::warn!(%error, "a fail-over is not on record yet"),
            }
        }
    }

    /// Halts the log while the clock cannot be believed.
    async fn watch_clock(self: Arc<Self>) {
        skew::watch(&self.broker).await;
    }

    /// Ends requests whose time is over.
    async fn sweep_requests(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            while self.sweep().await {}
        }
    }

    /// Ends one page of them; `true` if there may be more.
    async fn sweep(&self) -> bool {
        let now = self.broker.clock.now().as_millis();
        let overdue = match self.broker.store.overdue_requests(now).await {
            Ok(overdue) => overdue,
            Err(error) => {
                tracing::warn!(%error, "overdue requests cannot be read");
                return false;
            }
        };
        for row in &overdue {
            if let Err(error) = self.broker.expire(row).await {
                tracing::warn!(%error, request = row.id, "a request could not be ended");
                return false;
            }
        }
        !overdue.is_empty()
    }
}

/// Everything one process serves.
#[derive(Debug)]
pub struct Service {
    /// What was built.
    pub app: Arc<App>,
    /// Where it is reached.
    pub doors: Doors,
    /// The ledger's loops; they end when nobody holds its door any more.
    writers: JoinSet<()>,
    /// What follows the ledger and writes what is derived from it.
    followers: JoinSet<()>,
    /// What issuers' keys do, on its way to the ledger.
    filings: mpsc::Receiver<Filing>,
    senders: Vec<sinks::Sender>,
    witnesses: Witnesses,
    watch_policies: bool,
    /// What becomes of bodies that were kept long enough, and this replica's name.
    keeping: (config::KeepBodies, String),
    front: Front,
}

/// How the doors are to be served.
#[derive(Debug)]
struct Front {
    bounds: Bounds,
    tls: Option<Arc<Tls>>,
    hosts: Hosts,
    ops_hosts: Hosts,
    trusted: Arc<[config::Cidr]>,
    client_cert: config::ProxyClientCert,
    failed: Arc<FailedEvidence>,
}

impl Front {
    fn new(config: &Config, clock: &dyn Clock) -> Result<Front, StartError> {
        let server = &config.server;
        let tls = match &server.tls {
            Some(config::Tls::Own(files)) => {
                let asked = match config.attestors.is_empty() {
                    true => ClientCerts::NotAsked,
                    false => ClientCerts::Asked,
                };
                let tls = Tls::load(files.clone(), server.url.host(), asked, clock.now())?;
                Some(Arc::new(tls))
            }
            Some(config::Tls::Proxy) | None => None,
        };
        Ok(Front {
            bounds: Bounds::new(&config.limits, server),
            tls,
            hosts: Hosts::of_api(&server.url),
            ops_hosts: Hosts::of_operators(&config.ops.hosts),
            trusted: server.trusted_proxies.clone().into(),
            client_cert: server.proxy_client_cert,
            failed: Arc::new(FailedEvidence::new(config.limits.failed_evidence_per_peer)),
        })
    }

    /// What callers reach, over TLS where it is ours. The order is from the inside out.
    fn api(&self, router: Router, app: &App, phase: &watch::Receiver<Phase>) -> Listener {
        let router = evidence::limited(router, Arc::clone(&self.failed));
        let router = guarded(router, self.hosts.clone());
        let router = observe::observed(router, &app.broker, Some(app.request_timeout));
        let router = router.layer(axum::Extension(phase.clone()));
        let proxies = Proxies::new(Arc::clone(&self.trusted), self.client_cert);
        Listener {
            router: introduced(router, proxies),
            tls: self.tls.clone(),
            trusted: Arc::clone(&self.trusted),
            bounds: self.bounds.clone(),
            phase: phase.clone(),
        }
    }

    /// What operators reach.
    fn operators(&self, router: Router, app: &App, phase: &watch::Receiver<Phase>) -> Listener {
        let router = guarded(router, self.ops_hosts.clone());
        Listener {
            router: observe::observed(router, &app.broker, None),
            tls: None,
            trusted: Arc::from([]),
            bounds: self.bounds.for_operators(),
            phase: phase.clone(),
        }
    }
}

/// The listeners of one process.
#[derive(Debug)]
pub struct Doors {
    /// The API.
    pub api: TcpListener,
    /// Health, for operators.
    pub ops: Option<TcpListener>,
    /// Commands of operators.
    pub socket: UnixListener,
    /// More routes of the API: the fake issuers of `stintd dev`.
    pub extra: Router,
}

impl Service {
    /// Builds what `config` describes, and records the start. Nothing is served before
    /// [`Self::run`].
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        config: Config,
        clock: Arc<dyn Clock>,
        absent: Absent,
        doors: Doors,
    ) -> Result<Self, StartError> {
        let watch_policies = config.policy.reload == config::Reload::Watch;
        let keeping = (
            config.ledger.keep_bodies.clone(),
            config.ledger.node.clone(),
        );
        crypto::install()?;
        let front = Front::new(&config, clock.as_ref())?;
        let Built {
            app,
            committer,
            pin,
            filings,
            senders,
            witnesses,
            announcement,
            deriver,
            scrubber,
        } = Box::pin(start::build(config, clock, absent)).await?;
        let mut writers = JoinSet::new();
        writers.spawn(committer.run());
        if let Some(pin) = pin {
            writers.spawn(pin.run());
        }
        let mut followers = JoinSet::new();
        followers.spawn(deriver.run());
        followers.spawn(scrubber.run());
        announcement.record(&app).await?;
        let app = Arc::new(app);
        Ok(Self {
            app,
            doors,
            writers,
            followers,
            filings,
            senders,
            witnesses,
            watch_policies,
            keeping,
            front,
        })
    }

    /// Serves until `phase` says otherwise, then drains: open requests end, the ledger closes last.
    pub async fn run(self, phase: watch::Receiver<Phase>) {
        let Self {
            app,
            doors,
            mut writers,
            mut followers,
            filings,
            senders,
            witnesses,
            front,
            keeping: (keep, node),
            watch_policies,
        } = self;
        let mut chores = JoinSet::new();
        chores.spawn(Arc::clone(&app).sweep_requests());
        chores.spawn(Arc::clone(&app).look_around());
        chores.spawn(Arc::clone(&app).follow_policies());
        chores.spawn(Arc::clone(&app).watch_storage());
        chores.spawn(Arc::clone(&app).watch_clock());
        chores.spawn(Arc::clone(&app).tell_of_changes());
        chores.spawn(trust::keep(Arc::clone(&app.broker), filings));
        chores.spawn(witnesses.run());
        let broker = Arc::clone(&app.broker);
        chores.spawn(Keeper { broker, keep, node }.run());
        for sender in senders {
            chores.spawn(sender.run());
        }
        for sender in Notifier::senders(&app.broker) {
            chores.spawn(sender.run());
        }
        if watch_policies {
            chores.spawn(Arc::clone(&app).watch_policies());
        }
        if let Some(tls) = &front.tls {
            chores.spawn(Arc::clone(tls).watch(Arc::clone(&app.broker.clock)));
        }
        app.broker.roster.warm_up(app.broker.clock.now());
        let mut open = JoinSet::new();
        let router = http::public(Arc::clone(&app)).layer(axum::Extension(phase.clone()));
        let router = router.merge(doors.extra);
        open.spawn(front.api(router, &app, &phase).tcp(doors.api));
        if let Some(ops) = doors.ops {
            let router = http::ops(Arc::clone(&app));
            open.spawn(front.operators(router, &app, &phase).tcp(ops));
        }
        let router = http::socket(Arc::clone(&app)).layer(axum::Extension(phase.clone()));
        open.spawn(front.operators(router, &app, &phase).unix(doors.socket));
        let broker = Arc::clone(&app.broker);
        drop(app);
        tokio::select! {
            () = async { while open.join_next().await.is_some() {} } => {}
            Some(_) = writers.join_next() => {
                // The committer ends when nobody can ask it any more. If it ends before, it died.
                tracing::error!("the ledger's writer is gone; the process ends");
                open.shutdown().await;
            }
        }
        if let Err(error) = broker.noise.flush(&broker.ledger).await {
            tracing::warn!(%error, "the last minute of refusals is not on record");
        }
        drop(broker);
        followers.shutdown().await;
        chores.shutdown().await; // the last holders of the ledger's door
        while writers.join_next().await.is_some() {}
    }
}

/// Drains at SIGTERM or SIGINT, and ends at a second one; SIGHUP reloads the policies and the certificate.
///
/// # Errors
/// The system's, if a handler cannot be set.
pub fn signals(service: &Service) -> std::io::Result<watch::Receiver<Phase>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let mut hup = signal(SignalKind::hangup())?;
    let (app, tls) = (Arc::clone(&service.app), service.front.tls.clone());
    let (phase, reached) = watch::channel(Phase::Serving);
    #[expect(
        clippy::disallowed_methods,
        reason = "started by main, ends with the process"
    )]
    drop(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => {
                    app.sinks.reopen();
                    drop(app.reload().await);
                    if let Some(tls) = &tls {
                        tls.reload(app.broker.clock.now());
                    }
                }
            }
        }
        drop((app, tls)); // the ledger waits for all who hold its door
        phase.send_replace(Phase::Draining);
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        phase.send_replace(Phase::Ending);
    }));
    Ok(reached)
}

/// Between two looks at the policy folder, at key files and at what was refused.
const GLANCE: Duration = Duration::from_millis(500);
/// Between two looks for requests that nobody decided.
const SWEEP: Duration = Duration::from_secs(30);
