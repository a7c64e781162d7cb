//! A wire that breaks: a TCP proxy on loopback that forwards, delays, swallows or cuts, for each direction by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What happens to bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// They go on, so much later.
    Open(Duration),
    /// They are taken and go nowhere; both sides believe that the connection stands.
    BlackHole,
}

/// What becomes of a connection whose client said a certain thing. That thing reaches the server, unless it is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It is closed, both ways.
    Cut,
    /// No answer comes back on it any more.
    Deaf,
    /// It is closed before that thing was passed on.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// From the client to the server.
    to: Way,
    /// From the server to the client.
    back: Way,
    /// Connections of an older life are cut.
    life: u64,
}

/// What is done after which bytes, once; and how often they go by before.
type Trigger = Arc<Mutex<Option<(&'static [u8], usize, After)>>>;

/// What its connections know.
#[derive(Debug, Clone)]
struct Told {
    following: watch::Receiver<State>,
    trigger: Trigger,
}

/// A proxy to one server. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub at: SocketAddr,
    state: watch::Sender<State>,
    trigger: Trigger,
    accepted: Arc<AtomicU64>,
    port: Arc<AtomicU16>,
    _task: JoinSet<()>,
}

impl Proxy {
    /// A proxy to `port` on loopback, open both ways.
    ///
    /// # Panics
    /// When there is no port for it.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (state, watching) = watch::channel(State {
            to: Way::Open(Duration::ZERO),
            back: Way::Open(Duration::ZERO),
            life: 0,
        });
        let told = Told {
            following: watching,
            trigger: Arc::default(),
        };
        let (trigger, accepted) = (Arc::clone(&told.trigger), Arc::<AtomicU64>::default());
        let mut task = JoinSet::new();
        let port = Arc::new(AtomicU16::new(port));
        task.spawn(accept(
            listener,
            Arc::clone(&port),
            told,
            Arc::clone(&accepted),
        ));
        Self {
            at,
            state,
            trigger,
            accepted,
            port,
            _task: task,
        }
    }

    /// New connections lead to `port` from now on: another server has the name.
    pub fn lead_to(&self, port: u16) {
        self.port.store(port, Ordering::SeqCst);
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// How many connections it took.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// What happens from now on to what clients send and to what comes back, on connections that stand too.
    pub fn set(&self, to: Way, back: Way) {
        self.state
            .send_modify(|state| (state.to, state.back) = (to, back));
    }

    /// All bytes go nowhere, both ways; new connections come about and are silent.
    pub fn black_hole(&self) {
        self.set(Way::BlackHole, Way::BlackHole);
    }

    /// So much later, each way.
    pub fn delay(&self, each: Duration) {
        self.set(Way::Open(each), Way::Open(each));
    }

    /// Everything goes through again. What was swallowed stays lost, so connections of before may hang: [`Self::cut`].
    pub fn heal(&self) {
        *self.trigger.lock().unwrap() = None;
        self.set(Way::Open(Duration::ZERO), Way::Open(Duration::ZERO));
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.life += 1);
    }

    /// The first connection whose client sends `text` gets it through to the server, and then its fate: `b"COMMIT\0"`
    /// with [`After::Deaf`] is a commit whose reply is lost. Once.
    ///
    /// # Panics
    /// If a test panicked while it set one.
    pub fn after(&self, text: &'static [u8], fate: After) {
        self.after_others(0, text, fate);
    }

    /// The same when `before` others said it and got their answer.
    ///
    /// # Panics
    /// If a test panicked while it set one.
    pub fn after_others(&self, before: usize, text: &'static [u8], fate: After) {
        *self.trigger.lock().unwrap() = Some((text, before, fate));
    }

    /// Whether what was waited for by [`Self::after`] was said.
    ///
    /// # Panics
    /// If a test panicked while it set one.
    #[must_use]
    pub fn triggered(&self) -> bool {
        self.trigger.lock().unwrap().is_none()
    }
}

async fn accept(
    listener: TcpListener,
    port: Arc<AtomicU16>,
    state: Told,
    accepted: Arc<AtomicU64>,
) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        links.spawn(link(client, port.load(Ordering::SeqCst), state.clone()));
        while links.try_join_next().is_some() {}
    }
}

/// One connection: both directions, until one ends or it is cut.
async fn link(client: TcpStream, port: u16, state: Told) {
    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        return;
    };
    drop((client.set_nodelay(true), server.set_nodelay(true)));
    let mut following = state.following.clone();
    let life = following.borrow_and_update().life;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let deaf = Arc::new(AtomicBool::new(false));
    tokio::select! {
        () = forth(client_reads, server_writes, state.clone(), &deaf) => {}
        () = back(server_reads, client_writes, state.clone(), &deaf) => {}
        _ = following.wait_for(|state| state.life != life) => {}
    }
}

/// From the client to the server.
async fn forth(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Told, deaf: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1_024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let said = &bytes[..length];
        let fate = state.meet(said);
        if fate == Some(After::Lost) {
            return;
        }
        deaf.fetch_or(fate.is_some(), Ordering::SeqCst);
        let way = state.following.borrow().to;
        if pass(said, &mut to, way).await.is_err() || fate == Some(After::Cut) {
            return;
        }
    }
}

/// From the server to the client.
async fn back(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: Told, deaf: &AtomicBool) {
    let mut bytes = vec![0; 64 * 1_024];
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        let way = if deaf.load(Ordering::SeqCst) {
            Way::BlackHole
        } else {
            state.following.borrow().back
        };
        if pass(&bytes[..length], &mut to, way).await.is_err() {
            return;
        }
    }
}

async fn pass(bytes: &[u8], to: &mut OwnedWriteHalf, way: Way) -> std::io::Result<()> {
    match way {
        Way::Open(Duration::ZERO) => to.write_all(bytes).await,
        Way::Open(delay) => {
            tokio::time::sleep(delay).await;
            to.write_all(bytes).await
        }
        Way::BlackHole => Ok(()),
    }
}

impl Told {
    /// What becomes of the connection whose client said `bytes`; the first that meets the trigger takes it.
    fn meet(&self, bytes: &[u8]) -> Option<After> {
        let mut trigger = self.trigger.lock().unwrap();
        let (text, before, after) = trigger.as_mut()?;
        if !bytes.windows(text.len()).any(|part| part == *text) {
            return None;
        }
        if *before > 0 {
            *before -= 1;
            return None;
        }
        let after = *after;
        *trigger = None;
        Some(after)
    }
}
