//! A broker that runs: what was built, the tasks around it, and how it stops.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use stint_wire::{Code, Problem};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::{Clock, Stopwatch};
use crate::config::{self, Config};
use crate::http::listen::{self, Bounds};
use crate::http::{self, problem::Failure};
use crate::issue::Broker;
use crate::policies::{self, Refused, Reload};
use crate::start::{self, Absent, Built, StartError};

/// The broker and what its doors need besides.
#[derive(Debug)]
pub struct App {
    /// The walk.
    pub broker: Arc<Broker>,
    /// Where policies come from.
    pub policy_dir: PathBuf,
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
        let task = tokio::spawn(work);
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
            Ok(Reload::Same(_)) => {}
            Ok(Reload::Taken(pol)) => tracing::info!(%pol, "policies took force"),
            Err(refused) => {
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
    watch_policies: bool,
    connections: usize,
    grace: Duration,
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
        let connections = usize::try_from(config.limits.connections).unwrap_or(usize::MAX);
        let grace = start::duration(config.server.shutdown_grace);
        let Built {
            app,
            committer,
            pin,
            announcement,
        } = start::build(config, clock, absent).await?;
        let mut writers = JoinSet::new();
        writers.spawn(committer.run());
        if let Some(pin) = pin {
            writers.spawn(pin.run());
        }
        announcement.record(&app).await?;
        let app = Arc::new(app);
        Ok(Self {
            app,
            doors,
            writers,
            watch_policies,
            connections,
            grace,
        })
    }

    /// Serves until `stop` turns true, then drains: open requests end, the ledger closes last.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let Self {
            app,
            doors,
            mut writers,
            ..
        } = self;
        let bounds = Bounds {
            connections: self.connections,
            grace: self.grace,
            stop,
        };
        let mut chores = JoinSet::new();
        chores.spawn(Arc::clone(&app).sweep_requests());
        if self.watch_policies {
            chores.spawn(Arc::clone(&app).watch_policies());
        }
        app.broker.roster.warm_up(app.broker.clock.now());
        let mut open = JoinSet::new();
        let router = http::public(Arc::clone(&app)).merge(doors.extra);
        open.spawn(listen::tcp(
            doors.api,
            observed(router, &app),
            bounds.clone(),
        ));
        if let Some(ops) = doors.ops {
            open.spawn(listen::tcp(
                ops,
                http::ops(Arc::clone(&app)),
                bounds.clone(),
            ));
        }
        open.spawn(listen::unix(
            doors.socket,
            http::socket(Arc::clone(&app)),
            bounds,
        ));
        drop(app);
        tokio::select! {
            () = async { while open.join_next().await.is_some() {} } => {}
            Some(_) = writers.join_next() => {
                // The committer ends when nobody can ask it any more. If it ends before, it died.
                tracing::error!("the ledger's writer is gone; the process ends");
                open.shutdown().await;
            }
        }
        chores.shutdown().await; // the last holders of the ledger's door
        while writers.join_next().await.is_some() {}
    }
}

/// Bounds the answer's time and writes the one event of each request.
fn observed(router: Router, app: &Arc<App>) -> Router {
    router.layer(middleware::from_fn_with_state(app.request_timeout, observe))
}

async fn observe(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = tokio::time::timeout(limit, next.run(request)).await;
    let response = answered.unwrap_or_else(|_| {
        let detail = "no answer in time; what was begun goes on, and is recorded";
        axum::response::IntoResponse::into_response(Failure::from(Problem::new(
            Code::Unavailable,
            detail,
        )))
    });
    let (status, took) = (response.status().as_u16(), watch.elapsed());
    tracing::info!(%method, path, status, micros = took.as_micros(), "request");
    response
}

/// Turns true at SIGTERM or SIGINT; SIGHUP reloads the policies.
///
/// # Errors
/// The system's, if a handler cannot be set.
pub fn signals(app: Arc<App>) -> std::io::Result<watch::Receiver<bool>> {
    let mut signals = [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
    ]
    .into_iter()
    .map(signal)
    .collect::<Result<Vec<Signal>, _>>()?
    .into_iter();
    let (Some(mut term), Some(mut int), Some(mut hup)) =
        (signals.next(), signals.next(), signals.next())
    else {
        return Err(std::io::Error::other("no signal handlers"));
    };
    let (stop, stopped) = watch::channel(false);
    #[expect(
        clippy::disallowed_methods,
        reason = "started by main, ends with the process"
    )]
    drop(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => break,
                _ = int.recv() => break,
                _ = hup.recv() => drop(app.reload().await),
            }
        }
        drop(app);
        stop.send_replace(true);
    }));
    Ok(stopped)
}

/// Between two looks at the policy folder.
const GLANCE: Duration = Duration::from_millis(500);
/// Between two looks for requests that nobody decided.
const SWEEP: Duration = Duration::from_secs(30);
