//! Evidence that is no token: something the caller can do that only it can (IDENTITY.md §4).
//!
//! An [`Attestor`] judges what it is handed and says what is certain about whoever handed it over: fields and selectors.
//! An [`AttestEntry`] makes a [`Caller`] of that, by the operator's templates. Neither dials, writes, or tells strangers
//! which check failed: every failure is one label.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use stint_policy::{Attributes, Ceiling, Claims, Kind, Principal, Seconds, SpiffeId, Timestamp};

use crate::authenticate::entry::draft::check_name;
use crate::authenticate::entry::fault::{Fault, Faults};
use crate::authenticate::judge::{MAX_ID, MAX_TASK};
use crate::authenticate::template::Template;
use crate::authenticate::{Caller, Label, Proof, Refused, Roster, Seen, TaskEvidence};
use crate::config::{Attest, AttestKind, Callers};

mod certificate;
mod client_cert;
mod revocation;

pub(super) use certificate::proof_of;
use client_cert::ClientCert;

/// An outside world that vouches for a caller. All attestors have one shape, hello → challenge → proof → [`Attested`];
/// of a client certificate the first three are the TLS handshake.
///
/// Contract: it reads memory only, but for [`Attestor::refresh`]; it dials nothing that the evidence names; it judges
/// time by `now` alone; and what it does not know for certain it leaves out of [`Attested`].
trait Attestor: fmt::Debug + Send + Sync {
    /// The word of the config, which is its callers' preset.
    fn kind(&self) -> &'static str;

    /// Whether this could be evidence for it at all: bytes are compared, nothing is believed.
    fn knows(&self, chain: &[CertificateDer<'_>]) -> bool;

    /// Judges it whole.
    fn attest(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Result<Attested, Cause>;

    /// Whether it is time to look for newer files; `true` once a period.
    fn is_due(&self, now: Timestamp) -> bool;

    /// Reads files that changed. Blocks.
    fn refresh(&self);
}

/// What an attestor knows for certain.
#[derive(Debug)]
struct Attested {
    /// For templates, under the names of IDENTITY.md §4.
    fields: Attributes,
    /// `kind:name:value`: `context.attested`.
    selectors: BTreeSet<String>,
    /// The key that was proved, and how.
    proof: Proof,
    /// What the ledger keeps.
    seen: Seen,
}

/// Why an attestor does not vouch: for the log, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("more certificates than a chain may have")]
    Depth,
    #[error("a certificate is not readable")]
    Form,
    #[error("an id or task cannot be made of it")]
    Id,
    #[error("a key is not P-256, P-384, Ed25519 or RSA of 2048, 3072 or 4096 bits")]
    Key,
    #[error("it has two URI names, or a SPIFFE ID of this broker's own trust domain")]
    Name,
    #[error("no path to a root of the bundle holds now")]
    Path,
    #[error("it is revoked, or no list says that it is not")]
    Revoked,
    #[error("a selector is missing")]
    Selector,
    #[error("it is not for client authentication by signature")]
    Usage,
}

/// One `[attest.NAME]`. Made by [`AttestEntry::build`] alone.
#[derive(Debug)]
pub struct AttestEntry {
    name: Arc<str>,
    /// `spiffe://TRUST_DOMAIN/NAME/`.
    prefix: String,
    kind: Kind,
    id: Template,
    task: Option<Template>,
    task_life: Option<Seconds>,
    selectors: BTreeSet<String>,
    attestor: Arc<dyn Attestor>,
}

impl AttestEntry {
    /// Checks an entry and makes it ready. Reads its files, and touches no network.
    ///
    /// # Errors
    /// Every fault that was found.
    pub(crate) fn build(
        name: &str,
        config: &Attest,
        trust_domain: &str,
    ) -> Result<AttestEntry, Vec<Fault>> {
        let mut faults = Faults::default();
        faults.keep(check_name(name));
        let id = faults.keep(id_template(config));
        let task = faults.keep(match config.task.as_str() {
            "" => Ok(None),
            text => template("task", text).map(Some),
        });
        let attestor = match config.kind {
            AttestKind::ClientCert => faults.keep_all(ClientCert::build(config, trust_domain)),
        };
        let (Some(id), Some(task), Some(attestor)) = (id, task, attestor) else {
            return Err(faults.into_list());
        };
        faults.or(AttestEntry {
            name: name.into(),
            prefix: format!("spiffe://{trust_domain}/{name}/"),
            kind: match config.callers {
                Callers::Agent => Kind::Agent,
                Callers::Workload => Kind::Workload,
            },
            id,
            task,
            task_life: config.task_life,
            selectors: config.selectors.iter().cloned().collect(),
            attestor: Arc::new(attestor),
        })
    }

    /// `NAME` of `[attest.NAME]`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        proof: Option<Proof>,
        now: Timestamp,
    ) -> Result<Caller, Cause> {
        let attested = self.attestor.attest(chain, now)?;
        if !self.selectors.is_subset(&attested.selectors) {
            return Err(Cause::Selector);
        }
        self.caller(attested, proof).or(Err(Cause::Id))
    }

    /// The caller, who proved the certificate's key, or with `proof` another one beside it.
    fn caller(&self, attested: Attested, proof: Option<Proof>) -> Result<Caller, Label> {
        let found = |name: &str| attested.fields.get(name);
        let path = self.id.render(found)?.ok_or(Label::Claims)?;
        let id = SpiffeId::parse(&format!("{}{path}", self.prefix)).or(Err(Label::Claims))?;
        if id.as_str().len() > MAX_ID {
            return Err(Label::Claims);
        }
        let task = match &self.task {
            Some(template) => template.render(found)?,
            None => None,
        };
        let task = task.map(|path| TaskEvidence {
            name: format!("{}:{path}", self.name),
            initiator: None,
            life: self.task_life,
        });
        if task.as_ref().is_some_and(|task| task.name.len() > MAX_TASK) {
            return Err(Label::Claims);
        }
        Ok(Caller {
            owner: None,
            task,
            // A handshake is new each time: there is nothing to spend.
            replay: None,
            proof: proof.or(Some(attested.proof)),
            ceiling: Some(Ceiling {
                name: "evidence".to_owned(),
                not_after: attested.seen.expires,
            }),
            seen: attested.seen,
            principal: Principal {
                id,
                kind: self.kind,
                issuer: self.name.to_string(),
                preset: self.attestor.kind().to_owned(),
                claims: Claims {
                    origin: Attributes::new(),
                    platform: None,
                    extra: Attributes::new(),
                },
                groups: BTreeSet::new(),
                owner: None,
                person: None,
                attested: attested.selectors,
            },
        })
    }
}

impl Roster {
    /// Puts attestors beside the issuers.
    ///
    /// # Errors
    /// Those (by name) whose name an issuer has, and those beyond what one broker takes.
    pub fn with_attestors(
        mut self,
        attestors: Vec<AttestEntry>,
    ) -> Result<Roster, Vec<(String, Fault)>> {
        let mut faults = Vec::new();
        for entry in attestors {
            let name = entry.name().to_owned();
            if self.all().any(|issuer| issuer.name() == name) {
                let fault = Fault::new("", "has the name of an issuer: callers would meet");
                faults.push((name, fault));
                continue;
            }
            if self.attestors.len() >= MAX_ATTESTORS {
                let text = format!("is one more than {MAX_ATTESTORS}");
                faults.push((name, Fault::new("", text)));
                continue;
            }
            self.attestors.push(Arc::new(entry));
        }
        match faults.is_empty() {
            true => Ok(self),
            false => Err(faults),
        }
    }

    /// Judges client certificates. Exactly one entry must vouch: where two would, it is not known who asks.
    pub(super) async fn attested(
        &self,
        chain: &[CertificateDer<'static>],
        proof: Option<Proof>,
        now: Timestamp,
    ) -> Result<Caller, Refused> {
        let mut refused = Refused::Evidence {
            label: Label::Attestation,
            issuer: None,
        };
        let mut found = None;
        for entry in self.attestors.iter().filter(|it| it.attestor.knows(chain)) {
            let because = |label| Refused::Evidence {
                label,
                issuer: Some(Arc::clone(&entry.name)),
            };
            if self.is_frozen(&entry.name) {
                return Err(because(Label::Frozen));
            }
            entry.look(now).await;
            match (entry.judge(chain, proof, now), &found) {
                (Ok(caller), None) => found = Some(caller),
                (Ok(_), Some(_)) => return Err(because(Label::Attestation)),
                (Err(cause), _) => {
                    tracing::debug!(issuer = %entry.name, %cause, "a certificate was not accepted");
                    refused = because(Label::Attestation);
                }
            }
        }
        found.ok_or(refused)
    }
}

impl AttestEntry {
    /// Lets the attestor look for newer files, if it is time to, off the reactor.
    async fn look(&self, now: Timestamp) {
        if !self.attestor.is_due(now) {
            return;
        }
        let attestor = Arc::clone(&self.attestor);
        let looked = tokio::task::spawn_blocking(move || attestor.refresh()).await;
        if let Err(error) = looked {
            tracing::error!(%error, "an attestor's files could not be read again");
        }
    }
}

/// The template of ids: it must hold something that no other caller's certificate of this PKI has.
fn id_template(config: &Attest) -> Result<Template, Fault> {
    let template = template("id", &config.id)?;
    let names: BTreeSet<&str> = template.placeholders().collect();
    let has = |name: &str| names.contains(name);
    let alone = ["dns", "spiffe_path", "spki_sha256", "uri"];
    if has("spiffe_path") && config.trust_domain.is_none() {
        let text = "is missing: whose SPIFFE IDs are `{spiffe_path}` of?";
        return Err(Fault::new("trust_domain", text));
    }
    if alone.into_iter().any(has) || (has("issuer_sha256") && has("serial")) {
        return Ok(template);
    }
    let text = "holds nothing that names one caller";
    Err(Fault::new("id", text)
        .help("{spiffe_path}, {uri:h}, {dns}, {spki_sha256}, or {issuer_sha256}/{serial}"))
}

fn template(key: &str, text: &str) -> Result<Template, Fault> {
    let wrong = |text: String| Fault::new(key, text);
    let template = Template::parse(text)
        .and_then(|template| template.with_paths(|name| name == "spiffe_path"))
        .map_err(wrong)?;
    let mut names = template.placeholders();
    if let Some(name) = names.find(|name| !FIELDS.contains(name)) {
        let known = FIELDS.map(|name| format!("{{{name}}}")).join(", ");
        let text = format!("`{{{name}}}` is no field of a certificate");
        return Err(Fault::new(key, text).help(known));
    }
    drop(names);
    Ok(template)
}

/// What templates may name (IDENTITY.md §4); never the common name.
const FIELDS: [&str; 6] = [
    "dns",
    "issuer_sha256",
    "serial",
    "spiffe_path",
    "spki_sha256",
    "uri",
];

/// Each is tried on a certificate that names its roots, so there are fewer than issuers, which are looked up.
const MAX_ATTESTORS: usize = 32;
