//! The client: one broker, its facts, and sessions that ask it for things.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Certificate, Method, Response, Url};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::Serialize;
use serde::de::DeserializeOwned;
use stint_wire::{Ask, Code, DryRun, Granted, Held, Problem, Token, Trust, WhoAmI};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::sync::OnceCell;

use crate::proof::unique;
use crate::{Error, Finding, Judgement, Keeper, SessionKey, Source, clock, judge, receive};

/// The largest answer we read: a grant with 64 resources, its chain and its receipt stays far below.
const MAX_ANSWER: usize = 1024 * 1024;
/// Where credentials are asked for.
const GRANTS: &str = "/v1/grants";
/// A clock that is off by more than this makes proofs fail (SECURITY.md §4: `iat` ± 30 s), seconds.
const CLOCK_TOLERANCE_S: i64 = 30;

/// Where the broker is and how it is recognised.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Its URL as users know it; proofs are bound to it.
    pub url: String,
    /// Who vouches for its TLS certificate.
    pub anchor: Anchor,
    /// The root of its trust domain, if pinned: no other is taken, neither as the broker's own before evidence is sent
    /// nor with a grant, and a certificate must lead to it.
    ///
    /// A root is public, so showing it proves nothing of who answers: that, and with it all else that is said (facts,
    /// refusals, holds, a JWT, whose signature is checked by its audience), rests on TLS and [`Endpoint::anchor`].
    pub fingerprint: Option<Fingerprint>,
    /// How long one call may take.
    pub timeout: Duration,
}

impl Endpoint {
    /// A broker with no pinned root and 30 s a call.
    #[must_use]
    pub fn new(url: impl Into<String>, anchor: Anchor) -> Self {
        Self {
            url: url.into(),
            anchor,
            fingerprint: None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// Who vouches for the broker's TLS certificate.
#[derive(Debug, Clone)]
pub enum Anchor {
    /// These CA certificates and no others, PEM.
    Pem(Vec<u8>),
    /// The machine's own.
    System,
}

/// SHA-256 of a root certificate's DER, written `sha256:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of the one certificate in a PEM text; `None` if there is none, or a second.
    pub(crate) fn of_pem(pem: &str) -> Option<Self> {
        let mut all = CertificateDer::pem_slice_iter(pem.as_bytes());
        let (Some(Ok(only)), None) = (all.next(), all.next()) else {
            return None;
        };
        digest(&SHA256, &only).as_ref().try_into().ok().map(Self)
    }

    /// Compares it with the one certificate in `bundle`.
    ///
    /// # Errors
    /// [`Error::Fingerprint`] for another one, [`Error::Unfit`] for none or several.
    pub(crate) fn check(self, bundle: &str) -> Result<(), Error> {
        match Self::of_pem(bundle) {
            None => Err(Error::Unfit("its trust bundle is not one certificate")),
            Some(found) if found != self => Err(Error::Fingerprint {
                pinned: self,
                found,
            }),
            Some(_) => Ok(()),
        }
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex: Vec<u8> = text
            .strip_prefix("sha256:")
            .unwrap_or(text)
            .bytes()
            .filter(|byte| *byte != b':')
            .collect();
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let bytes: Option<Vec<u8>> = hex
            .chunks(2)
            .map(|pair| {
                pair.iter()
                    .try_fold(0u8, |sum, byte| Some(sum << 4 | digit(*byte)?))
            })
            .collect();
        bytes
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or("not `sha256:` and 64 hex digits")
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What an ask became. A denial is an [`Error::Denied`].
#[derive(Debug)]
pub enum Outcome {
    /// A credential.
    Granted(Box<Granted>),
    /// A request that waits for people.
    Held(Box<Held>),
}

/// One broker.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    pinned: Option<Fingerprint>,
    trust: OnceCell<Trust>,
    /// The broker's clock less ours, seconds, by its last `Date`.
    skew: AtomicI64,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Endpoint`] if the URL is not https (or http to this machine), or the anchor cannot be read.
    pub fn new(endpoint: Endpoint) -> Result<Self, Error> {
        let failed = |why| Error::Endpoint {
            url: endpoint.url.clone(),
            why,
        };
        let url = Url::parse(&endpoint.url).map_err(|_parse| failed("it is no URL"))?;
        if !is_secure(&url) {
            return Err(failed("only https is spoken, or http to this machine"));
        }
        if url.query().is_some()
            || url.fragment().is_some()
            || !url.username().is_empty()
            || url.password().is_some()
        {
            return Err(failed("it has a user, a query or a fragment"));
        }
        let mut builder = http(endpoint.timeout, &url);
        if let Anchor::Pem(pem) = &endpoint.anchor {
            let roots = Certificate::from_pem_bundle(pem)
                .map_err(|_pem| failed("its CA file is no PEM"))?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder
            .build()
            .map_err(|_tls| failed("no TLS roots can be loaded"))?;
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self {
            http,
            base,
            pinned: endpoint.fingerprint,
            trust: OnceCell::new(),
            skew: AtomicI64::new(0),
        })
    }

    /// The broker's URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The broker's facts, fetched once; its root is compared with the pin.
    ///
    /// # Errors
    /// [`Error::Fingerprint`], or why no facts came.
    pub async fn trust(&self) -> Result<&Trust, Error> {
        self.trust.get_or_try_init(|| self.fetch_trust()).await
    }

    async fn fetch_trust(&self) -> Result<Trust, Error> {
        let request = self.http.get(format!("{}/v1/trust", self.base));
        let answer = self
            .read(request.send().await.map_err(Error::Unreachable)?)
            .await?;
        let trust: Trust = answer.expect(200)?;
        if let Some(pinned) = self.pinned {
            pinned.check(&trust.root_pem)?;
        }
        Ok(trust)
    }

    /// A session on this broker with evidence from `source`.
    #[must_use]
    pub const fn session(&self, source: Source) -> Session<'_> {
        Session {
            client: self,
            source,
            proves: Proves::Nothing,
        }
    }

    /// How many seconds this machine's clock is ahead of the broker's, by the last answer.
    #[must_use]
    pub fn clock_ahead_s(&self) -> i64 {
        self.skew.load(Ordering::Relaxed).saturating_neg()
    }

    /// The broker's time, seconds since 1970, by our clock and its last `Date`.
    #[must_use]
    pub fn broker_now(&self) -> i64 {
        clock::now().saturating_add(self.skew.load(Ordering::Relaxed))
    }

    /// Judges a token as the broker's facts allow: audience and time, and this machine's clock.
    ///
    /// # Errors
    /// Why the broker's facts could not be had.
    pub async fn judge(&self, token: &Token) -> Result<Judgement, Error> {
        let mut judgement = judge(token, &self.trust().await?.audience, self.broker_now());
        let ahead = self.clock_ahead_s();
        if ahead.abs() > CLOCK_TOLERANCE_S {
            judgement.findings.push(Finding::Clock(ahead));
        }
        Ok(judgement)
    }

    /// Status and body of an answer; its `Date` sets our view of the broker's clock.
    async fn read(&self, response: Response) -> Result<Answer, Error> {
        let status = response.status().as_u16();
        let date = response
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok());
        if let Some(date) = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) {
            self.skew.store(
                date.unix_timestamp().saturating_sub(clock::now()),
                Ordering::Relaxed,
            );
        }
        let id = response.headers().get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let body = body(response).await?;
        Ok(Answer { status, id, body })
    }
}

/// A caller at one broker: evidence is fetched anew for every call, and every call proves the session's key.
#[derive(Debug)]
pub struct Session<'a> {
    client: &'a Client,
    source: Source,
    proves: Proves,
}

/// Which session key goes with a token.
#[derive(Debug)]
enum Proves {
    Nothing,
    One(Box<SessionKey>),
    Kept(Keeper),
}

impl Session<'_> {
    /// Proves `key` on every call from now on (DPoP); access tokens are then bound to it.
    #[must_use]
    pub fn prove(self, key: SessionKey) -> Self {
        Self {
            proves: Proves::One(Box::new(key)),
            ..self
        }
    }

    /// Proves on every call the key that `keeper` keeps for the call's token: what a source that repeats its tokens
    /// ([`Source::repeats`]) needs.
    #[must_use]
    pub fn prove_kept(self, keeper: Keeper) -> Self {
        Self {
            proves: Proves::Kept(keeper),
            ..self
        }
    }

    /// Asks for a credential.
    ///
    /// # Errors
    /// [`Error::Denied`] with the receipt, [`Error::Rejected`] with our own judgement of the token,
    /// [`Error::Fingerprint`] or [`Error::Unfit`] for a grant that is not to be used, or why no answer came.
    pub async fn grant(&self, ask: &Ask) -> Result<Outcome, Error> {
        let answer = self.ask(ask).await?;
        match answer.status {
            202 => answer.expect(202).map(|held| Outcome::Held(Box::new(held))),
            _ => {
                let granted: Box<Granted> = answer.expect(201)?;
                let client = self.client;
                receive::check(ask, &granted, client.pinned, client.broker_now())?;
                Ok(Outcome::Granted(granted))
            }
        }
    }

    /// Sends an ask, and once more where its answer was lost on the way: the key that comes with both says that they are
    /// one, so nothing is minted twice. A token is not kept by the broker: one that was lost is asked for anew.
    async fn ask(&self, ask: &Ask) -> Result<Answer, Error> {
        let random = SystemRandom::new();
        let once = unique(&random)?;
        match self.post(GRANTS, ask, Some(&once)).await {
            // Where nobody could be reached, nothing was sent.
            Err(Error::Unreachable(error)) if !error.is_connect() => {}
            answered => return answered,
        }
        match self.post(GRANTS, ask, Some(&once)).await {
            Err(Error::Problem(problem)) if problem.code == Code::AlreadyDelivered => {
                self.post(GRANTS, ask, Some(&unique(&random)?)).await
            }
            answered => answered,
        }
    }

    /// What `ask` would become now. Nothing happens and nothing is recorded; a denial is an answer here.
    ///
    /// # Errors
    /// As [`Session::grant`], without [`Error::Denied`].
    pub async fn can(&self, ask: &Ask) -> Result<DryRun, Error> {
        self.post("/v1/decisions", ask, None).await?.expect(200)
    }

    /// The caller as the broker sees it. Spends no evidence.
    ///
    /// # Errors
    /// As [`Session::grant`], without [`Error::Denied`].
    pub async fn whoami(&self) -> Result<WhoAmI, Error> {
        self.post("/v1/whoami", &serde_json::Map::new(), None)
            .await?
            .expect(200)
    }

    /// A token from the session's source, for the broker's audience.
    ///
    /// # Errors
    /// [`Error::Source`], or why the broker did not name its audience; [`Error::Endpoint`] if the audience it names is
    /// of another place: a platform would make a token for it that opens something else.
    pub async fn evidence(&self) -> Result<Token, Error> {
        let audience = &self.client.trust().await?.audience;
        // Proofs are bound to the broker's URL, so with them it is known by no other. Without, it may have several names.
        let named = matches!(self.proves, Proves::Nothing);
        if !named && !is_at(audience, &self.client.base) {
            return Err(Error::Endpoint {
                url: self.client.base.clone(),
                why: "the audience it names is of another place",
            });
        }
        Ok(self.source.token(audience).await?)
    }

    /// `once`: what makes this and another call one ask.
    async fn post<B: Serialize + Sync>(
        &self,
        path: &str,
        body: &B,
        once: Option<&String>,
    ) -> Result<Answer, Error> {
        let token = self.evidence().await?;
        let url = format!("{}{path}", self.client.base);
        let mut request = self
            .client
            .http
            .post(&url)
            .bearer_auth(token.expose())
            .json(body);
        if let Some(proof) = self.proof(&url, &token)? {
            request = request.header("DPoP", proof);
        }
        if let Some(once) = once {
            request = request.header("Idempotency-Key", once);
        }
        let answer = self
            .client
            .read(request.send().await.map_err(Error::Unreachable)?)
            .await?;
        match answer.problem() {
            Some(problem) if problem.code == Code::EvidenceRejected => {
                let judgement = Box::new(self.client.judge(&token).await?);
                Err(Error::Rejected { problem, judgement })
            }
            Some(problem) if problem.code == Code::Denied => Err(Error::Denied(problem)),
            Some(problem) => Err(Error::Problem(problem)),
            None => Ok(answer),
        }
    }

    /// A proof for one POST to `url` with `token`.
    fn proof(&self, url: &str, token: &Token) -> Result<Option<String>, Error> {
        let (method, now) = (Method::POST, self.client.broker_now());
        let proof = |key: &SessionKey| key.proof(method.as_str(), url, now, token.expose());
        match &self.proves {
            Proves::Nothing => Ok(None),
            Proves::One(key) => proof(key).map(Some),
            Proves::Kept(keeper) => proof(&keeper.key(token)?).map(Some),
        }
    }
}

struct Answer {
    status: u16,
    /// What to quote of an answer that has no id in its body.
    id: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    fn problem(&self) -> Option<Box<Problem>> {
        if self.status < 400 {
            return None;
        }
        let mut problem: Box<Problem> = serde_json::from_slice(&self.body).ok()?;
        problem.decision = problem.decision.or_else(|| self.id.clone());
        Some(problem)
    }

    fn expect<T: DeserializeOwned>(&self, status: u16) -> Result<T, Error> {
        let unexpected = Error::Unexpected {
            status: self.status,
        };
        match self.problem() {
            Some(problem) => Err(Error::Problem(problem)),
            None if self.status != status => Err(unexpected),
            None => serde_json::from_slice(&self.body).map_err(|_json| unexpected),
        }
    }
}

/// A builder for `url`. On loopback no TLS is spoken: loading the machine's roots would only cost its 10 ms.
pub(crate) fn http(timeout: Duration, url: &Url) -> reqwest::ClientBuilder {
    if url.scheme() == "http" {
        local(timeout)
    } else {
        on_ring(timeout)
    }
}

/// The one way an HTTP client is built here: ring under rustls, no redirects.
fn on_ring(timeout: Duration) -> reqwest::ClientBuilder {
    if let Err(_installed) = rustls::crypto::ring::default_provider().install_default() {
        // Somebody chose the process's provider before us: theirs stands.
    }
    reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("stint/", env!("CARGO_PKG_VERSION")))
}

/// A client for a file at `url`, however long it takes to come; `silence` is a fault. It may be at anybody's place, and
/// what comes is worth no more than what it proves itself.
///
/// # Errors
/// [`Error::Endpoint`] as [`Client::new`], but a query is allowed.
pub fn download(url: &str, anchor: &Anchor, silence: Duration) -> Result<reqwest::Client, Error> {
    let failed = |why| Error::Endpoint {
        url: url.to_owned(),
        why,
    };
    let parsed = Url::parse(url).map_err(|_parse| failed("it is no URL"))?;
    if !is_secure(&parsed) {
        return Err(failed("only https is spoken, or http to this machine"));
    }
    let mut builder = http(Duration::MAX, &parsed).read_timeout(silence);
    if let Anchor::Pem(pem) = anchor {
        let roots =
            Certificate::from_pem_bundle(pem).map_err(|_pem| failed("its CA file is no PEM"))?;
        builder = builder.tls_certs_only(roots);
    }
    let client = builder.connect_timeout(silence).build();
    client.map_err(|_tls| failed("no TLS roots can be loaded"))
}

/// A builder for HTTP that stays on this machine: plain loopback and Unix sockets, same crypto provider.
pub fn local(timeout: Duration) -> reqwest::ClientBuilder {
    on_ring(timeout).no_proxy().tls_certs_only([])
}

/// The body of an answer, at most [`MAX_ANSWER`] of it.
///
/// # Errors
/// [`Error::Unexpected`] for a longer one, [`Error::Unreachable`] if it breaks off.
pub async fn body(mut response: Response) -> Result<Vec<u8>, Error> {
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(Error::Unreachable)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(Error::Unexpected { status });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether an audience is at the broker's own place: the same scheme, host and port. On this machine any is, for there is
/// nobody else to be.
fn is_at(audience: &str, base: &str) -> bool {
    let origin = |text: &str| Url::parse(text).map(|url| url.origin());
    base.starts_with("http:")
        || matches!((origin(audience), origin(base)), (Ok(a), Ok(b)) if a == b)
}

/// https, or http to this very machine.
pub(crate) fn is_secure(url: &Url) -> bool {
    match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            host == "localhost"
                || address
                    .parse()
                    .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    use std::net::{Shutdown, TcpListener};
    use std::time::Duration;

    use stint_wire::Ask;

    use super::{Anchor, Answer, Client, Endpoint, Error, Fingerprint, body, is_at, local};
    use crate::Source;

    fn refused(url: &str) -> bool {
        matches!(
            Client::new(Endpoint::new(url, Anchor::System)),
            Err(Error::Endpoint { .. })
        )
    }

    #[test]
    fn speaks_plainly_to_this_machine_only() {
        for url in [
            "http://localhost:8640",
            "http://127.0.0.1:1",
            "http://[::1]:1/",
        ] {
            assert!(!refused(url), "{url}");
        }
        for url in [
            "http://stint.acme.dev",
            "http://localhost.evil.dev",
            "ftp://localhost",
            "stint.acme.dev",
            "",
        ] {
            assert!(refused(url), "{url}");
        }
        for url in [
            "http://u@localhost",
            "http://u:p@localhost",
            "http://localhost?q",
            "http://localhost#f",
        ] {
            assert!(refused(url), "{url}");
        }
    }

    #[test]
    fn a_base_has_no_slash_at_its_end() {
        let client = Client::new(Endpoint::new("http://localhost:8640/", Anchor::System)).unwrap();
        assert_eq!(client.url(), "http://localhost:8640");
    }

    #[test]
    fn an_audience_is_the_brokers_own_place() {
        for own in ["https://stint.acme.dev", "https://stint.acme.dev:443/"] {
            assert!(is_at(own, "https://stint.acme.dev"), "{own}");
        }
        for other in [
            "sts.amazonaws.com",
            "api://AzureADTokenExchange",
            "https://stint.acme.dev.evil.example",
            "https://stint.acme.dev:8443",
            "http://stint.acme.dev",
            "",
        ] {
            assert!(!is_at(other, "https://stint.acme.dev"), "{other}");
        }
        assert!(is_at("https://stint.acme.dev", "http://localhost:8640"));
    }

    /// Answers each connection with one of `answers`, or hangs up on an empty one; gives the heads it was sent.
    fn desk(answers: Vec<String>) -> (String, std::thread::JoinHandle<Vec<Vec<String>>>) {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let hear = |answer: String| {
                let (mut stream, _) = server.accept().unwrap();
                let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
                let head: Vec<_> = lines
                    .by_ref()
                    .take_while(|line| !line.is_empty())
                    .map(|line| line.to_lowercase())
                    .collect();
                stream.write_all(answer.as_bytes()).unwrap();
                // What was not read would have the answer thrown away.
                stream.shutdown(Shutdown::Write).unwrap();
                drop(stream.read_to_end(&mut Vec::new()));
                head
            };
            answers.into_iter().map(hear).collect()
        });
        (url, heard)
    }

    fn answered(status: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
    }

    /// What the broker says of two asks that are one is its own to test: here, that the client says they are.
    #[test]
    fn an_answer_that_was_lost_is_asked_for_once_more() {
        let trust = r#"{"url":"https://stint.acme.dev","trust_domain":"acme.dev","audience":"https://stint.acme.dev","root_fingerprint":"","root_pem":"","ledger":{"origin":"","vkey":""},"jwks_uri":"","lifetimes":{"default_ttl_s":1,"max_ttl_s":1,"jwt_max_ttl_s":1},"arc":"","version":""}"#;
        let gone = r#"{"type":"/problems/already_delivered","status":410,"code":"already_delivered","title":"t","detail":"d","retryable":false}"#;
        let frozen = r#"{"type":"/problems/frozen","status":403,"code":"frozen","title":"t","detail":"d","retryable":false}"#;
        let (url, heard) = desk(vec![
            answered("200 OK", trust),
            String::new(),
            answered("410 Gone", gone),
            answered("403 Forbidden", frozen),
        ]);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let client = Client::new(Endpoint::new(url, Anchor::System)).unwrap();
        let session = client.session(Source::once("a.b.c", "a test").unwrap());
        let ask: Ask = serde_json::from_str(
            r#"{"action":"deploy","resources":["Environment::a"],"credential":{"kind":"jwt","audience":"https://a"}}"#,
        )
        .unwrap();
        let outcome = runtime.block_on(session.grant(&ask));
        assert!(
            matches!(outcome, Err(Error::Problem(problem)) if problem.code.as_str() == "frozen")
        );
        let heard = heard.join().unwrap();
        let keys: Vec<_> = heard
            .iter()
            .map(|head| {
                head.iter()
                    .find(|line| line.starts_with("idempotency-key: "))
            })
            .collect();
        let [None, Some(first), Some(again), Some(anew)] = keys[..] else {
            panic!("{heard:?}");
        };
        assert!(first == again && again != anew, "{heard:?}");
    }

    #[test]
    fn a_fingerprint_is_read_as_people_write_it() {
        let plain = "ab".repeat(32);
        let expected = format!("sha256:{plain}");
        for text in [
            plain.clone(),
            expected.clone(),
            plain.to_uppercase(),
            ["AB"; 32].join(":"),
        ] {
            assert_eq!(
                text.parse::<Fingerprint>().unwrap().to_string(),
                expected,
                "{text}"
            );
        }
        for bad in [
            "",
            "sha256:",
            "sha1:00",
            &"ab".repeat(31),
            &format!("{plain}00"),
            &plain.replace('a', "g"),
        ] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fingerprint_is_of_the_der() {
        let pem = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";
        // SHA-256 of `abc`, FIPS 180-2 appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Fingerprint::of_pem(pem).unwrap().to_string(), abc);
        assert!(Fingerprint::of_pem("no pem").is_none());
        assert!(Fingerprint::of_pem(&pem.repeat(2)).is_none());
    }

    #[test]
    fn an_answer_without_end_is_cut_short() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let endless = std::thread::spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let _asked = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            while stream.write_all(&[b' '; 64 * 1024]).is_ok() {}
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let read = runtime.block_on(async {
            let http = local(Duration::from_secs(30)).build().unwrap();
            body(http.get(url).send().await.unwrap()).await
        });
        assert!(matches!(read, Err(Error::Unexpected { status: 200 })));
        drop(runtime);
        endless.join().unwrap();
    }

    #[test]
    fn an_answer_is_what_it_should_be_or_an_error() {
        let answer = |status, body: &str| Answer {
            status,
            id: None,
            body: body.into(),
        };
        let problem = r#"{"type":"/problems/frozen","status":403,"code":"frozen","title":"t","detail":"d","retryable":false}"#;
        assert_eq!(answer(200, "1").expect::<u8>(200).unwrap(), 1);
        assert!(matches!(
            answer(403, problem).expect::<u8>(200),
            Err(Error::Problem(_))
        ));
        assert!(matches!(
            answer(502, "<html>").expect::<u8>(200),
            Err(Error::Unexpected { status: 502 })
        ));
        assert!(matches!(
            answer(204, "").expect::<u8>(200),
            Err(Error::Unexpected { status: 204 })
        ));
    }
}
