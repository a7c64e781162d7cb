//! The tables of `stint.toml`: every key, its type, its default, its bounds, and what people are told about it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use stint_policy::Seconds;

use super::attest::{self, Attest};
use super::audience::{self, Audience};
use super::choices::{
    CnFrom, JwtAlg, LogFormat, MatchCode, ProxyClientCert, Reload, Reveal, Usage,
};
use super::declare::settings;
use super::issuer::Issuer;
use super::keeping::KeepBodies;
use super::names::{PkiUrl, ServerUrl, StoreUrl, TrustDomain};
use super::nearest::is_name;
use super::notify::Notify;
use super::people::{self, MaybePeople, Roles};
use super::reader::{Check, Reader, Table};
use super::secret::{KeyFile, SecretRef};
use super::setting::Wrong;
use super::sink::Sink;
use super::tls::Tls;
use super::witnesses::{RootsFile, TrustFile, Unwitnessed};
use super::words::{Cidr, Rate, Size};
use crate::keyring;

settings! {
    /// stint.toml: everything that an operator of the broker decides, but for policy.
    pub struct Config {
        required {
            /// How the broker is reached.
            server: Server,
            /// The certificate authority.
            ca: Ca,
            /// The policies, and what holds where they say nothing.
            policy: Policy,
        }
        default {
            /// The version of this file's format.
            version: u32 = 1, in 1..=1;
            /// The operators' own doors: health, metrics, commands.
            ops: Ops = Ops::default();
            /// The database.
            store: Store = Store::default();
            /// The ledger of every outcome.
            ledger: Ledger = Ledger::default();
            /// The broker's own keys.
            keys: Keys = Keys::default();
            /// The JWTs that are handed out.
            jwt: Jwt = Jwt::default();
            /// For whom JWTs are minted, where an audience wants more than an access token.
            audiences "audience": BTreeMap<String, Audience> = BTreeMap::new();
            /// Whose tokens are evidence: one table for each issuer.
            issuers "issuer": BTreeMap<String, Issuer> = BTreeMap::new();
            /// Who may come in without a token: one table for each attestor.
            attestors "attest": BTreeMap<String, Attest> = BTreeMap::new();
            /// Who is sent the ledger as it grows: one table for each receiver.
            sinks "sink": BTreeMap<String, Sink> = BTreeMap::new();
            /// The identity provider of people.
            people: MaybePeople = MaybePeople::default();
            /// What groups make of people.
            roles: Roles = Roles::default();
            /// Who is told that an ask waits: one table for each receiver.
            notify: BTreeMap<String, Notify> = BTreeMap::new();
            /// Asks that wait for people.
            approval: Approval = Approval::default();
            /// How much is taken on at once.
            limits: Limits = Limits::default();
            /// The log.
            telemetry: Telemetry = Telemetry::default();
        }
    }

    /// How the broker is reached.
    pub struct Server {
        required {
            /// The broker's one public name: `iss` of all it signs, audience of all it accepts, host of its pages.
            /// https, a host name, nothing after it. A new host orphans credentials, CI settings and passkeys.
            url: ServerUrl,
        }
        default {
            /// Where the API listens.
            listen: SocketAddr = local(8640);
            /// Who ends TLS: the broker, with a certificate (PEM, with its chain) and its key, or a proxy. Must be said
            /// where `listen` is not on the loopback interface. New files are taken up by themselves, and on SIGHUP.
            tls: Option<Tls> = None;
            /// Networks of the proxies whose `X-Forwarded-For` is believed. Only with tls = "proxy".
            trusted_proxies: Vec<Cidr> = Vec::new();
            /// What those proxies say of their clients' certificates. The proxy must strip these headers from what
            /// clients send: a certificate is public, and here the proxy's word is the proof of its key.
            proxy_client_cert: ProxyClientCert = ProxyClientCert::Ignored;
            /// How long a caller waits for an answer. Database work goes on.
            request_timeout: Seconds = Seconds::new(15), in Seconds::new(1)..=Seconds::new(300);
            /// How long open requests may take to end when the broker stops.
            shutdown_grace: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(300);
            /// Where relying parties find CRL and OCSP. Empty: certificates point to neither.
            pki_url: Option<PkiUrl> = None;
        }
    }

    /// The operators' own doors: health and metrics on a listener, commands on a socket.
    pub struct Ops {
        default {
            /// Where health and metrics are served, in the clear and without login.
            listen: SocketAddr = local(8641);
            /// Names by which that listener may be called, besides localhost and addresses.
            hosts: Vec<String> = Vec::new();
            /// Where `stintd` and `stint` reach the running broker. Its own user and root are let in.
            socket: PathBuf = PathBuf::from("/run/stint/stintd.sock");
        }
    }

    /// The database.
    pub struct Store {
        default {
            /// A SQLite file on a local disk, or a PostgreSQL server that several brokers may share.
            url: StoreUrl = StoreUrl::sqlite("/var/lib/stint/stint.db");
            /// The server's password.
            password: Option<SecretRef> = None;
            /// Connections to the server for reading.
            pool: u32 = 16, in 1..=1_024;
            /// Room that must be left beside a file: below it nothing is granted, until there is room again.
            disk_reserve: Size = Size::mib(64);
        }
    }

    /// The ledger of every outcome.
    pub struct Ledger {
        default {
            /// The log's name in checkpoints and receipts. Empty: host of `server.url` and "/ledger". A log keeps its
            /// name for ever.
            origin: String = String::new();
            /// The name of this broker among those that write this ledger.
            node: String = "a".to_owned();
            /// Where the last head is remembered, outside of the database, so that a rolled back one is noticed.
            pin: PathBuf = PathBuf::from("/var/lib/stint/ledger.pin");
            /// How often the newest head is published, and witnesses are asked to cosign it.
            checkpoint_every: Seconds = Seconds::new(1), in Seconds::new(1)..=Seconds::new(10);
            /// Who is asked, and whose cosignatures are enough: a C2SP tlog-policy file, as auditors have it too.
            witnesses: Option<TrustFile> = None;
            /// Roots that witnesses' certificates are checked against, in place of the web's: a PEM file.
            witness_ca_file: Option<RootsFile> = None;
            /// What happens while they are not enough: "serve", or "stop after 10m", which stops grants until they are.
            unwitnessed: Unwitnessed = Unwitnessed::Serve;
            /// How long bodies are kept, by kind of entry, "*" for every other kind: then they are erased, once a day.
            /// Headers and proofs stay. What is not named is kept for ever.
            keep_bodies: KeepBodies = KeepBodies::default();
        }
    }

    /// The broker's own keys.
    pub struct Keys {
        default {
            /// The folder of the key files. Nobody but the broker's user may read it.
            dir: PathBuf = PathBuf::from("/var/lib/stint/keys");
            /// What seals the key files. Without it they lie there in the clear.
            passphrase: Option<SecretRef> = None;
        }
    }

    /// The certificate authority.
    pub struct Ca {
        required {
            /// The SPIFFE trust domain of every identity. It cannot change later.
            trust_domain: TrustDomain,
        }
        default {
            /// How long an issuing certificate lives.
            issuing_ttl: Seconds = days(365), in days(1)..=days(365);
            /// How far the start of a certificate lies before its making, for clocks that are late.
            backdate: Seconds = Seconds::new(60), in Seconds::new(0)..=Seconds::new(60);
            /// Kinds of certificates, by name. `default` is there without being named.
            profiles "profile": BTreeMap<String, Profile> =
                BTreeMap::from([(DEFAULT.to_owned(), Profile::default())]);
        }
    }

    /// A kind of certificate: what it is good for and how long at most.
    pub struct Profile {
        default {
            /// What it may be used for. Both make it an X.509-SVID.
            eku: Vec<Usage> = vec![Usage::Client, Usage::Server];
            /// Types of resources whose granted ids become DNS names. Only with "server".
            dns_from: Vec<String> = Vec::new();
            /// What becomes the common name: caller, grant, task or task_name. Empty: the subject is empty.
            cn_from: Option<CnFrom> = None;
            /// The longest life.
            max_ttl: Seconds = Seconds::new(3600), in Seconds::new(30)..=days(1);
        }
    }

    /// The JWTs that are handed out.
    pub struct Jwt {
        default {
            /// The algorithm of their signature.
            alg: JwtAlg = JwtAlg::Es256;
            /// An RSA key that you bring, for audiences that read RS256 alone: PKCS#8, PEM or DER, 2048 to 4096 bits,
            /// e = 65537. A file of mode 600, not a link.
            rs256: Option<KeyFile> = None;
            /// The longest life.
            max_ttl: Seconds = Seconds::new(900), in Seconds::new(30)..=days(1);
        }
    }

    /// The policies, and what holds where they say nothing.
    pub struct Policy {
        required {
            /// The folder of schema, policies, entities and tests.
            dir: PathBuf,
        }
        default {
            /// When a change takes force: as soon as it is written, or on SIGHUP.
            reload: Reload = Reload::Watch;
            /// The life of a credential whose ask names none.
            default_ttl: Seconds = Seconds::new(600), in Seconds::new(30)..=days(1);
            /// The longest life that may be asked for.
            max_ttl: Seconds = Seconds::new(3600), in Seconds::new(30)..=days(1);
            /// What a caller who is denied reads of the policy: names of conditions, or everything.
            reveal: Reveal = Reveal::Names;
        }
    }

    /// Asks that wait for people.
    pub struct Approval {
        default {
            /// How long an ask waits for votes.
            request_ttl: Seconds = Seconds::new(3600), in Seconds::new(60)..=days(7);
            /// How many asks of one caller may wait at once.
            open_per_initiator: u32 = 20, in 1..=1_000;
            /// How long the same ask is answered by a no that a person said.
            deny_cooldown: Seconds = Seconds::new(900), in Seconds::new(0)..=days(1);
            /// Whether approvers type the three digits that only the asker is shown.
            match_code: MatchCode = MatchCode::Type;
            /// Notices to one [notify.NAME] of asks that wait; of outcomes as many. What is beyond comes as a digest.
            notices_per_approver: Rate = Rate { count: 10, per: Seconds::new(3600) };
            /// Asks of one caller that come within this time after a notice are told together, in one more.
            coalesce: Seconds = Seconds::new(60), in Seconds::new(0)..=Seconds::new(3600);
        }
    }

    /// How much is taken on at once; what is beyond is refused early.
    pub struct Limits {
        default {
            /// Open connections; 256 less than the process may have files open is the most.
            connections: u32 = 4096, in 16..=65_536;
            /// Open connections of one peer: an IPv4 address, or 64 bits of an IPv6 address. Trusted proxies have none.
            connections_per_peer: u32 = 1024, in 1..=65_536;
            /// TLS handshakes at once.
            handshakes: u32 = 256, in 1..=65_536;
            /// How long a TLS handshake may take.
            handshake_timeout: Seconds = Seconds::new(5), in Seconds::new(1)..=Seconds::new(60);
            /// From the connection to its first whole request head.
            head_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(300);
            /// How long a connection is kept between two requests. Behind a balancer: longer than it keeps idle ones.
            idle_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(3600);
            /// How long a request's body may take to arrive.
            body_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(300);
            /// How long a client may take nothing of its answer.
            write_timeout: Seconds = Seconds::new(10), in Seconds::new(1)..=Seconds::new(300);
            /// Evidence of one peer that does not hold; five seconds' worth may come at once. Beyond it, that peer's
            /// evidence is not looked at, but on connections that have brought good evidence.
            failed_evidence_per_peer: Rate = Rate::per_second(200);
            /// Asks of authenticated callers that are worked on at once; more wait for 250 ms, then 503.
            asks: u32 = 1024, in 1..=65_536;
            /// Outcomes that wait for the ledger.
            queue: u32 = 1024, in 1..=65_536;
            /// Asks of one caller.
            asks_per_caller: Rate = Rate::per_second(100);
            /// Denials of one caller: each is an entry of the ledger.
            denials_per_caller: Rate = Rate::per_second(10);
            /// Dry runs of one caller.
            dry_runs_per_caller: Rate = Rate::per_second(10);
        }
    }

    /// The log, on stderr.
    pub struct Telemetry {
        default {
            /// How much: error, warn, info, debug, trace or off; also by module, as in "info,stint_broker=debug".
            log: String = "info".to_owned();
            /// How it looks: text on a terminal and JSON elsewhere, or always one of them.
            log_format: LogFormat = LogFormat::Auto;
        }
    }
}

/// The profile of an ask that names none.
pub(super) const DEFAULT: &str = "default";

impl Config {
    /// Fills in what follows from other keys: the ledger's origin and the profile `default`. Done for each config that
    /// is read; one that is made in code asks for it.
    #[must_use]
    pub fn complete(mut self) -> Config {
        if self.ledger.origin.is_empty() {
            self.ledger.origin = format!("{}/ledger", self.server.url.authority());
        }
        let profiles = &mut self.ca.profiles;
        profiles.entry(DEFAULT.to_owned()).or_default();
        self
    }
}

impl Check for Config {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if self.ops.listen == self.server.listen {
            let text = format!("listens where [server] does: {}", self.ops.listen);
            table.refuse(
                "ops",
                Wrong::new(text, "each needs a port of its own"),
                reader,
            );
        }
        let longest = self
            .ca
            .profiles
            .values()
            .map(|profile| profile.max_ttl)
            .max();
        if longest.is_some_and(|longest| longest >= self.ca.issuing_ttl) {
            let text = "has a profile that outlives its issuing certificate";
            table.refuse(
                "ca",
                Wrong::new(text, "raise `issuing_ttl` or lower `max_ttl`"),
                reader,
            );
        }
        if self.keys.passphrase.is_none() {
            let text = "has no `passphrase`: the key files are not sealed";
            table.warn("keys", text, reader);
        }
        audience::check(self, table, reader);
        attest::check(self, table, reader);
        people::check(self, table, reader);
        if self.issuers.is_empty() && self.attestors.is_empty() {
            let text = "has no table: nobody can bring evidence, so nobody is granted anything";
            table.warn("issuer", text, reader);
        }
    }
}

impl Check for Server {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            let text = format!("is open to the network without TLS: {}", self.listen);
            let label = "set `tls`: { cert, key }, or \"proxy\" if a proxy ends TLS";
            table.refuse("listen", Wrong::new(text, label), reader);
        }
        let behind_a_proxy = self.tls == Some(Tls::Proxy);
        if !self.trusted_proxies.is_empty() && !behind_a_proxy {
            let wrong = Wrong::new("has no proxy to trust", "only with tls = \"proxy\"");
            table.refuse("trusted_proxies", wrong, reader);
        }
        if self.proxy_client_cert == ProxyClientCert::Rfc9440 && self.trusted_proxies.is_empty() {
            let wrong = Wrong::new("has nobody to believe", "name `trusted_proxies`");
            table.refuse("proxy_client_cert", wrong, reader);
        }
    }
}

impl Check for Ops {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let host = |name: &String| {
            let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
            !name.is_empty() && name.bytes().all(legal)
        };
        if !self.hosts.iter().all(host) {
            let wrong = Wrong::new("has what is no host name", "lower case, without port");
            table.refuse("hosts", wrong, reader);
        }
        if !self.listen.ip().is_loopback() {
            table.warn(
                "listen",
                "serves health and metrics to the network without login",
                reader,
            );
        }
    }
}

impl Check for Ledger {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let legal = |c: char| c.is_ascii_graphic() && !matches!(c, '+' | '"' | '\\');
        if !self.origin.chars().all(legal) || self.origin.len() > 255 {
            let label = "a name such as stint.acme.dev/ledger, without spaces and +";
            let wrong = Wrong::new(format!("is not a log's name: `{}`", self.origin), label);
            table.refuse("origin", wrong, reader);
        }
        if !is_name(&self.node) || self.node.len() > 16 {
            let label = "a lower-case letter, then at most 15 of a-z 0-9 -";
            let wrong = Wrong::new(format!("is not a name: `{}`", self.node), label);
            table.refuse("node", wrong, reader);
        }
        self.check_witnesses(table, reader);
    }
}

impl Ledger {
    fn check_witnesses(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let stops = matches!(self.unwitnessed, Unwitnessed::StopAfter(_));
        match &self.witnesses {
            None if stops => {
                let wrong = Wrong::new("has no witnesses to wait for", "name `witnesses`");
                table.refuse("unwitnessed", wrong, reader);
            }
            Some(file) if stops && !file.policy().asks_for_witnesses() => {
                let text = "waits for a quorum, and the policy says `quorum none`";
                table.refuse("unwitnessed", Wrong::new(text, "\"serve\""), reader);
            }
            Some(file) if !file.is_within_reach() => {
                let text = "has a quorum that cannot be met: too few of its witnesses have a URL";
                table.warn("witnesses", text, reader);
            }
            Some(_) | None => {}
        }
    }
}

impl Check for Profile {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        let twice = matches!(self.eku.as_slice(), [first, rest @ ..] if rest.contains(first));
        if self.eku.is_empty() || twice {
            let wrong = Wrong::new(
                "is empty or says a word twice",
                "[\"client\", \"server\"], or one of them",
            );
            table.refuse("eku", wrong, reader);
        }
        if !self.dns_from.is_empty() && !self.eku.contains(&Usage::Server) {
            let wrong = Wrong::new(
                "gives DNS names to what cannot serve",
                "add \"server\" to `eku`",
            );
            table.refuse("dns_from", wrong, reader);
        }
    }
}

impl Check for Policy {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if self.default_ttl > self.max_ttl {
            let text = format!("is longer than `max_ttl`, {}", self.max_ttl);
            table.refuse(
                "default_ttl",
                Wrong::new(text, "lower it or raise `max_ttl`"),
                reader,
            );
        }
        if self.reveal == Reveal::Full {
            table.warn(
                "reveal",
                "shows whole policies to whoever is denied",
                reader,
            );
        }
    }
}

impl Check for Telemetry {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let directive = |text: &str| {
            let (target, level) = text.rsplit_once('=').unwrap_or(("stint", text));
            let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
            LEVELS.contains(&level) && !target.is_empty() && target.chars().all(part)
        };
        if !self.log.split(',').all(directive) {
            let label =
                "off, error, warn, info, debug or trace; or TARGET=LEVEL, with commas between";
            let wrong = Wrong::new(format!("is not a filter: `{}`", self.log), label);
            table.refuse("log", wrong, reader);
        }
    }
}

impl Check for Store {}
impl Check for Keys {}
impl Check for Ca {}
impl Check for Jwt {
    fn check(&self, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
        if let Some(file) = &self.rs256
            && let Err(error) = keyring::brought(file)
        {
            let wrong = Wrong::new(format!("cannot be used: {error}"), "");
            table.refuse("rs256", wrong, reader);
        }
    }
}
impl Check for Approval {}
impl Check for Limits {}

const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

const fn days(count: u32) -> Seconds {
    Seconds::new(count * 86_400)
}
