//! `[attest.NAME]`: evidence that is no token (IDENTITY.md §4, UX.md §5).

use std::path::PathBuf;

use stint_policy::Seconds;

use super::choices::{AttestKind, Callers};
use super::declare::settings;
use super::names::TrustDomain;
use super::reader::{Check, Reader, Table};
use super::setting::Wrong;
use super::tables::Config;
use crate::authenticate::attest::AttestEntry;
use crate::authenticate::entry::fault::Fault;

settings! {
    /// Who may come in without a token. NAME goes into identities: another name makes other callers.
    pub struct Attest {
        required {
            /// The attestor. client-cert: certificates of an existing PKI, by the TLS handshake of the request.
            kind: AttestKind,
            /// The roots that count, PEM: these alone, never the system's.
            bundle: Vec<PathBuf>,
        }
        default {
            /// Revocation lists, PEM or DER, read again when they change. With one, a certificate counts only if each
            /// CA of its chain has a list here that is not stale. Nothing is fetched.
            crl: Vec<PathBuf> = Vec::new();
            /// The trust domain of the certificates' SPIFFE IDs: for {spiffe_path}.
            trust_domain: Option<TrustDomain> = None;
            /// The identity below spiffe://TRUST_DOMAIN/NAME/, of {spiffe_path}, {uri:h}, {dns}, {serial},
            /// {issuer_sha256} and {spki_sha256}.
            id: String = "{spiffe_path}".to_owned();
            /// What is one unit of work, of the same words. Empty: certificates name no task.
            task: String = String::new();
            /// When a task is over, counted from its first evidence. Without it: it has no deadline.
            task_life: Option<Seconds> = None;
            /// Selectors that a certificate must all have: "x509:dns:build.acme.dev". They are context.attested.
            selectors: Vec<String> = Vec::new();
            /// What its callers are.
            callers: Callers = Callers::Workload;
        }
    }
}

impl Check for Attest {}

impl Attest {
    /// The table, checked and made ready: reads its files. `name`: of the table; `trust_domain`: the broker's own.
    ///
    /// # Errors
    /// Every fault, with the key it is of.
    pub fn entry(&self, name: &str, trust_domain: &TrustDomain) -> Result<AttestEntry, Vec<Fault>> {
        AttestEntry::build(name, self, trust_domain.as_str())
    }
}

/// What only the rest of the file or the files it names can tell.
pub(super) fn check(config: &Config, table: &Table<'_, '_>, reader: &mut Reader<'_>) {
    for (name, attest) in &config.attestors {
        let mut refuse = |fault: &Fault| {
            let key = match fault.key.as_str() {
                "" => String::new(),
                key => format!("`{key}` of "),
            };
            let text = format!("is wrong: {key}[attest.{name}] {}", fault.text);
            let help = fault.help.clone().unwrap_or_default();
            table.refuse("attest", Wrong::new(text, help), reader);
        };
        if config.issuers.contains_key(name) {
            refuse(&Fault::new(
                "",
                "has the name of an issuer: callers would meet",
            ));
        }
        if let Err(faults) = attest.entry(name, &config.ca.trust_domain) {
            faults.iter().for_each(refuse);
        }
    }
}
