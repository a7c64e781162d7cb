//! From a [`Config`] to a broker that is ready to serve: keys, store, ledger, policies, issuers, CA.
//!
//! Whatever does not hold stops the start and names what an operator can do. Nothing listens yet.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, json};
use stint_audit::Digest;
use stint_audit::canonical::canonical;
use stint_audit::kind::{self, KeyUse};
use stint_audit::note::VerifierKey;
use stint_ca::signer::Algorithm;
use stint_ca::{AudienceError, Authority, AuthorityParts, Profile, ProfileError, SetupError};
use stint_policy::{LoadError, PolicySet, Timestamp};
use thiserror::Error;
use tokio::sync::mpsc;

use crate::approve::Nonces;
use crate::authenticate::attest::AttestEntry;
use crate::authenticate::crypto::{self, CryptoError};
use crate::authenticate::entry::against;
use crate::authenticate::register::{Filing, Register};
use crate::authenticate::{Roster, entry::fault::Fault};
use crate::clock::Clock;
use crate::config::{self, Config, JwtAlg, MatchCode, Reveal, SecretError};
use crate::http::listen::tls::TlsError;
use crate::issue::{Broker, Deliveries, Terms};
use crate::keyring::{self, Folder, Keyring, KeyringError};
use crate::ledger::keys::{self as log_keys, EpochKeys, LogKeysError};
use crate::ledger::known::known_keys;
use crate::ledger::witnesses::{Watchers, WatchersError, Witnesses};
use crate::ledger::{self, Committer, Deriver, Ledger, OpenError, Pin, Scrubber, Site};
use crate::limits::CallerLimits;
use crate::limits::turns::Turns;
use crate::noise::Noise;
use crate::notify::{Notifier, NotifyError};
use crate::people::{self, People};
use crate::policies::{self, Policies, Refused};
use crate::serve::App;
use crate::sinks::{self, Sinks};
use crate::store::{self, Store};
use crate::task::Tasks;
use crate::trust;
use crate::upkeep::hand::{self, Found, HandError};

/// A broker that was built, and the two loops that its ledger needs.
#[derive(Debug)]
pub struct Built {
    /// The broker.
    pub app: App,
    /// Its ledger's writer. It must run before anything is announced.
    pub committer: Committer,
    /// Its ledger's memory outside the store.
    pub pin: Option<Pin>,
    /// What is derived from the ledger: somebody must run both.
    pub deriver: Deriver,
    /// Reads the ledger again and again.
    pub scrubber: Scrubber,
    /// What issuers' keys will do: somebody must run [`crate::trust::keep`].
    pub filings: mpsc::Receiver<Filing>,
    /// Asks witnesses; somebody must run it.
    pub witnesses: Witnesses,
    /// Who is sent the ledger: each must run.
    pub senders: Vec<sinks::Sender>,
    /// What the ledger is to hear before anything is served.
    pub announcement: Announcement,
}

/// What the ledger is to hear of a start.
#[derive(Debug)]
pub struct Announcement {
    /// Keys that sign, and are on no record yet.
    unsaid: Vec<(KeyUse, Digest)>,
    was: Option<Digest>,
    set_is_new: bool,
}

/// Why the broker does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An audience contradicts itself.
    #[error(transparent)]
    Audience(#[from] AudienceError),
    /// Attestors contradict each other or cannot be used.
    #[error("{}", faults("attest", .0))]
    Attestors(Vec<(String, Fault)>),
    /// The CA's parts do not fit.
    #[error(transparent)]
    Authority(#[from] SetupError),
    /// The crypto does not compute what it should.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// An issuer's key is the published one of `stintd dev`.
    #[error("[issuer.{0}] trusts the key of `stintd dev`'s fake issuers, which anybody has")]
    DevIssuer(String),
    /// Issuers contradict each other or cannot be used.
    #[error("{}", faults("issuer", .0))]
    Issuers(Vec<(String, Fault)>),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyringError),
    /// The ledger is not served.
    #[error(transparent)]
    Ledger(#[from] OpenError),
    /// The ledger's keys or its pin cannot be used.
    #[error(transparent)]
    Hand(#[from] HandError),
    /// The ledger's keys cannot be used.
    #[error(transparent)]
    LogKeys(#[from] LogKeysError),
    /// The identity provider of `stintd dev` signs with a published key.
    #[error("[people] trusts the fake identity provider of `stintd dev`, which signs anybody in")]
    DevPeople,
    /// People cannot log in as it is set up.
    #[error("[people] {0}")]
    People(String),
    /// The policies do not load.
    #[error(transparent)]
    Policy(#[from] LoadError),
    /// The policies may not follow those in force.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// A profile contradicts itself.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The start could not be recorded.
    #[error("the start could not be recorded")]
    Record(#[from] ledger::Error),
    /// The folder of keys is older than the ledger.
    #[error(
        "the {} key in [keys] dir was retired by entry {entry} of the ledger: bring the folder from where `stintd keys \
         replace` ran, or run it here if that is lost", match usage { KeyUse::Ca => "CA's", _ => "token" }
    )]
    Retired {
        /// What the key is for.
        usage: KeyUse,
        /// The entry that says so.
        entry: u64,
    },
    /// A secret cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The listener's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A sink cannot be set up.
    #[error(transparent)]
    Sink(#[from] sinks::SinkError),
    /// A receiver of notices cannot be set up.
    #[error(transparent)]
    Notify(#[from] NotifyError),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Witnesses cannot be asked.
    #[error(transparent)]
    Watchers(#[from] WatchersError),
}

/// What a start does with a store that holds no ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// Begins it: `stintd init` and `stintd dev`.
    Begin,
    /// Stops: a store that vanished is not begun anew.
    Refuse,
}

/// Builds everything `config` describes.
///
/// # Errors
/// [`StartError`].
pub async fn build(
    mut config: Config,
    clock: Arc<dyn Clock>,
    absent: Absent,
) -> Result<Built, StartError> {
    crypto::install()?;
    let now = clock.now();
    let settings = config.settings();
    let set = load_policies(config.policy.dir.clone()).await?;
    let base = config.ledger.origin.clone();
    let passphrase = hand::passphrase(&config)?;
    let folder = Folder {
        dir: &config.keys.dir,
        passphrase: passphrase.as_ref(),
    };
    let keys = folder.open(authority_of(&config), now)?;
    let tasks = Tasks::new(&keys.tasks, &base);
    let nonces = Nonces::new(&keys.ballots);
    let people = People::of(&config, &keys.web).map_err(StartError::People)?;
    let location = config.store.location()?;
    // A file is brought up to date as it is opened.
    if absent == Absent::Begin && location.file().is_none() {
        store::migrate(&location).await?;
    }
    let (store, writer) = Store::open(&location, &base).await?;
    let found = hand::found(store, writer, &base).await?;
    hand::settle_pin(&config, &found)?;
    let log_keys = log_keys::open(&folder, &base, found.current.epoch)?;
    let (mut site, minting) = site(&config, keys, log_keys)?;
    let watchers = Watchers::new(&config.ledger, &site.log_key)?;
    let ca = authority(&config, minting)?;

    site.witnessed = watchers.held().await;
    let signing = signing(&ca);
    site.signing.clone_from(&signing);
    let Found {
        store,
        writer,
        begun,
        ..
    } = found;
    let metrics = Arc::clone(&site.metrics);
    let opened = match absent {
        Absent::Begin => {
            Ledger::open_or_begin(store.clone(), writer, site, Arc::clone(&clock)).await
        }
        Absent::Refuse => Ledger::open(store.clone(), writer, site, Arc::clone(&clock)).await,
    }?;
    let unsaid = unsaid(signing, &opened.signing, &store).await?;
    let (was, serial) = opened
        .policy
        .map_or((None, 0), |(pol, serial)| (Some(pol), serial));
    let set_is_new = was != Some(Digest::from_bytes(*set.hash().as_bytes()));
    if set_is_new && was.is_some() {
        policies::follows(serial, set.serial().unwrap_or(0))?;
    }
    if let Some((_, at)) = begun.recovered {
        // What was spent in the lost range is not known: evidence from before the recovery counts no more (LEDGER.md §12).
        let at = Timestamp::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        let entries = config.issuers.values_mut();
        entries.for_each(|issuer| issuer.entry.refuse_before(at));
    }
    let terms = terms(&config);
    let (register, filings) = Register::new();
    let attestors = attestors(&config)?;
    let entries = config.issuers.values().map(|issuer| &issuer.entry);
    let held = against::policies(entries, &set);
    for finding in &held.unparted {
        tracing::warn!(%finding, "a policy decides by an id that several issuers give");
    }
    for (issuer, fault) in held.faults {
        tracing::warn!(
            issuer,
            "every ask of its callers will be denied: `{}` {}",
            fault.key,
            fault.text
        );
    }
    let mut roster = roster(config.issuers, attestors)?;
    roster.heed(opened.ledger.watch_frozen());
    roster.restore(&trust::recorded(&opened.sets, &store.fetches().await?));
    roster.enrol(&register);
    let noise = Arc::new(Noise::new(Arc::clone(&clock)));
    let ground = sinks::Ground {
        store: &store,
        ledger: &opened.ledger,
        clock: &clock,
        node: &config.ledger.node,
    };
    let (door, ticks) = (opened.ledger.clone(), Arc::clone(&clock));
    let witnesses = watchers.watch(door, ticks, Arc::clone(&metrics), &config.ledger.node);
    let (sinks, senders) = Sinks::build(&config.sinks, &ground)?;
    let notifier = Notifier::new(
        std::mem::take(&mut config.notify),
        &config.approval,
        (config.server.url.as_str(), &config.ledger.node),
        Arc::clone(&clock),
    )?;
    let broker = Broker {
        clock,
        roster,
        policies: Policies::new(set),
        tasks,
        store,
        ledger: opened.ledger,
        ca,
        limits: CallerLimits::new(&config.limits),
        walks: Turns::new(usize::try_from(config.limits.asks).unwrap_or(usize::MAX)),
        terms,
        metrics,
        noise,
        people,
        notifier,
        deliveries: Deliveries::default(),
        nonces,
    };
    let app = App {
        broker: Arc::new(broker),
        policy_dir: config.policy.dir,
        settings,
        memory: crate::http::health::Memory::default(),
        streams: crate::console::events::Streams::default(),
        sinks,
        request_timeout: duration(config.server.request_timeout),
    };
    let announcement = Announcement {
        unsaid,
        was,
        set_is_new,
    };
    Ok(Built {
        app,
        committer: opened.committer,
        pin: opened.pin,
        deriver: opened.deriver,
        scrubber: opened.scrubber,
        filings,
        senders,
        witnesses,
        announcement,
    })
}

impl Announcement {
    /// Records the start: which config, which keys if they are new, which policies if they changed.
    /// The committer must be running.
    ///
    /// # Errors
    /// The ledger's: then nothing may be served.
    pub async fn record(self, app: &App) -> Result<(), ledger::Error> {
        let log = &app.broker.ledger;
        for (usage, key) in self.unsaid {
            let added = kind::KeyAdded {
                key,
                not_after: None,
                usage,
                vkey: None,
            };
            log.record(ledger::note(added, None, Map::new()), None, Vec::new())
                .await?;
        }
        record_config(app, "start").await?;
        if self.set_is_new {
            policies::take(&app.broker.policies.in_force(), self.was, log).await?;
        }
        Ok(())
    }
}

/// Records the settings and the store they meet, and why now: a start, or a database that failed over.
///
/// # Errors
/// The ledger's.
pub async fn record_config(app: &App, cause: &str) -> Result<(), ledger::Error> {
    let broker = &app.broker;
    let loaded = kind::ConfigLoaded {
        cause: cause.to_owned(),
        config: Digest::of(&canonical(&app.settings).map_err(form)?),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        was: None,
    };
    let mut body = Map::new();
    body.insert("settings".to_owned(), app.settings.clone());
    // A key that the operator brings can change with any start: the record has them all.
    let keys: Vec<_> = broker.ca.jwt_keys().map(|key| key.to_string()).collect();
    body.insert("jwt_keys".to_owned(), json!(keys));
    body.insert("storage".to_owned(), broker.store.storage().await?);
    let entry = ledger::note(loaded, None, body);
    broker
        .ledger
        .record(entry, None, Vec::new())
        .await
        .map(drop)
}

fn form(error: impl std::fmt::Display) -> ledger::Error {
    ledger::Error::Form(error.to_string())
}

/// The key folder's purpose, as the config says it.
#[must_use]
pub fn authority_of(config: &Config) -> keyring::Authority<'_> {
    keyring::Authority {
        trust_domain: config.ca.trust_domain.as_str(),
        issuing_ttl: config.ca.issuing_ttl,
        jwt: match config.jwt.alg {
            JwtAlg::EdDsa => Algorithm::Ed25519,
            JwtAlg::Es256 => Algorithm::Es256,
        },
    }
}

/// The keys that sign credentials.
fn signing(ca: &Authority) -> Vec<(KeyUse, Digest)> {
    let tokens = ca.jwt_keys().map(|key| (KeyUse::Jwt, key));
    let certificates = [(KeyUse::Ca, ca.issuing_key())];
    certificates.into_iter().chain(tokens).collect()
}

/// The keys that sign and that the log does not count on. A new one is still to be recorded; one that was retired stops the
/// start.
async fn unsaid(
    mut keys: Vec<(KeyUse, Digest)>,
    said: &[(KeyUse, Digest)],
    store: &Store,
) -> Result<Vec<(KeyUse, Digest)>, StartError> {
    keys.retain(|key| !said.contains(key));
    if keys.is_empty() {
        return Ok(keys);
    }
    let known = known_keys(store).await?;
    let retired = |key: &(KeyUse, Digest)| known.get(key).and_then(|it| it.retired);
    match keys.iter().find_map(|key| Some((key.0, retired(key)?))) {
        Some((usage, entry)) => Err(StartError::Retired { usage, entry }),
        None => Ok(keys),
    }
}

async fn load_policies(dir: PathBuf) -> Result<PolicySet, StartError> {
    let loaded = tokio::task::spawn_blocking(move || PolicySet::load(&dir)).await;
    Ok(loaded.map_err(Refused::Thread)??)
}

/// The issuers side by side; also what `stintd check` looks at.
///
/// # Errors
/// [`StartError::Issuers`] with every fault.
pub fn roster(
    issuers: BTreeMap<String, config::Issuer>,
    attestors: Vec<AttestEntry>,
) -> Result<Roster, StartError> {
    let entries = issuers.into_values().map(|issuer| issuer.entry).collect();
    let roster = Roster::new(entries).map_err(StartError::Issuers)?;
    roster
        .with_attestors(attestors)
        .map_err(StartError::Attestors)
}

/// The attestors that `config` describes.
///
/// # Errors
/// [`StartError::Attestors`]: a file changed since the config was read.
pub fn attestors(config: &Config) -> Result<Vec<AttestEntry>, StartError> {
    let entry = |(name, attest): (&String, &config::Attest)| {
        let name_it =
            |faults: Vec<Fault>| faults.into_iter().map(|it| (name.clone(), it)).collect();
        let entry = attest.entry(name, &config.ca.trust_domain);
        entry.map_err(|faults| StartError::Attestors(name_it(faults)))
    };
    config.attestors.iter().map(entry).collect()
}

fn faults(table: &str, faults: &[(String, Fault)]) -> String {
    let line = |(name, fault): &(String, Fault)| {
        let help = fault.help.iter().map(|help| format!("; {help}"));
        let help: String = help.collect();
        format!("[{table}.{name}] {} {}{help}", fault.key, fault.text)
    };
    faults.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn site(
    config: &Config,
    keys: Keyring,
    log_keys: EpochKeys,
) -> Result<(Site, Minting), StartError> {
    let spki = |key: VerifierKey| [ED25519_SPKI, key.public_key().as_slice()].concat();
    let log_spki = log_keys.log.all_public().into_iter().map(spki).collect();
    let log = log_keys.log.public().name().to_owned();
    Ok((
        hand::site(config, log_keys),
        Minting {
            log,
            issuing: keys.issuing,
            jwt: std::iter::once(Ok(keys.jwt))
                .chain(config.jwt.rs256.as_ref().map(keyring::brought))
                .collect::<Result<_, _>>()?,
            log_spki,
        },
    ))
}

/// The keys that mint, and one more of ours that is nobody's to certify.
struct Minting {
    /// The log that credentials name.
    log: String,
    issuing: stint_ca::issuer::Issuing,
    jwt: Vec<Arc<dyn stint_ca::signer::Signer>>,
    log_spki: Vec<Vec<u8>>,
}

fn authority(config: &Config, keys: Minting) -> Result<Authority, StartError> {
    let profiles = config
        .ca
        .profiles
        .iter()
        .map(|(name, it)| profile(name, it));
    let audiences = config.audiences.iter();
    let audiences = audiences.map(|(name, it)| it.build(name, &config.jwt, &config.issuers));
    let parts = AuthorityParts {
        trust_domain: config.ca.trust_domain.as_str().to_owned(),
        url: config.server.url.as_str().to_owned(),
        log: keys.log,
        issuing: keys.issuing,
        jwt: keys.jwt,
        jwt_max_ttl: config.jwt.max_ttl,
        audiences: audiences.collect::<Result<_, _>>()?,
        profiles: profiles.collect::<Result<_, _>>()?,
        backdate: config.ca.backdate,
        pki_url: config
            .server
            .pki_url
            .as_ref()
            .map(|url| url.as_str().to_owned()),
        arc: None,
        own_keys: keys.log_spki,
    };
    Ok(Authority::new(parts)?)
}

fn profile(name: &str, it: &config::Profile) -> Result<Profile, ProfileError> {
    let eku: Vec<_> = it
        .eku
        .iter()
        .map(|usage| usage.as_str().to_owned())
        .collect();
    let common_name = it.cn_from.map_or("", |source| source.as_str());
    Profile::new(name, &eku, &it.dns_from, common_name, it.max_ttl)
}

fn terms(config: &Config) -> Terms {
    Terms {
        url: config.server.url.as_str().to_owned(),
        default_ttl: config.policy.default_ttl,
        max_ttl: config.policy.max_ttl,
        jwt_max_ttl: config.jwt.max_ttl,
        request_ttl: config.approval.request_ttl,
        open_per_caller: usize::try_from(config.approval.open_per_initiator).unwrap_or(usize::MAX),
        deny_cooldown: config.approval.deny_cooldown,
        match_code: config.approval.match_code == MatchCode::Type,
        reveal: config.policy.reveal == Reveal::Full,
    }
}

/// Seconds as the runtime counts them.
#[must_use]
pub fn duration(seconds: stint_policy::Seconds) -> Duration {
    Duration::from_secs(seconds.as_u32().into())
}

/// Refuses a config that trusts the published key of the dev issuers.
///
/// # Errors
/// [`StartError::DevIssuer`] names the entry.
pub fn refuse_dev_issuers(config: &Config) -> Result<(), StartError> {
    if config.people.0.as_deref().is_some_and(people::is_dev) {
        return Err(StartError::DevPeople);
    }
    let trusts = |keys: &serde_json::Value| {
        let keys = keys.get("keys").and_then(serde_json::Value::as_array);
        keys.into_iter().flatten().any(|key| {
            key.get("n")
                .and_then(serde_json::Value::as_str)
                .is_some_and(crate::dev::is_dev_key)
        })
    };
    match config
        .issuers
        .iter()
        .find(|(_, issuer)| issuer.config.jwks.as_ref().is_some_and(trusts))
    {
        Some((name, _)) => Err(StartError::DevIssuer(name.clone())),
        None => Ok(()),
    }
}

/// An Ed25519 SubjectPublicKeyInfo, but for its key (RFC 8410 §4).
const ED25519_SPKI: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
