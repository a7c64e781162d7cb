//! What a walk came to: values for a door to translate, none of them half done.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stint_audit::Receipt;
use stint_ca::Credential;
use stint_policy::Timestamp;

use super::Fault;
use crate::store::RequestRow;

/// The three outcomes, and the first of them a second time.
#[derive(Debug)]
pub enum Outcome {
    /// A certificate that was granted before: its ask came again.
    Again(Box<Again>),
    /// No, and why.
    Denied(Denied),
    /// A credential.
    Granted(Box<Granted>),
    /// People are asked first.
    Held(Held),
}

/// A credential that was recorded before it was signed.
#[derive(Debug)]
pub struct Granted {
    /// What to hand out.
    pub credential: Credential,
    /// That it is in the ledger.
    pub receipt: Receipt,
    /// The request that people approved, if they were asked.
    pub request: Option<String>,
}

/// A certificate as it was handed out before, with what its answer said: all of it public. Times are milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Again {
    /// `gr_…`.
    pub grant: String,
    /// `task_…`.
    pub task: String,
    /// The task's name, as it stands in credentials.
    pub task_name: String,
    /// What was granted.
    pub action: String,
    /// On what, as canonical uids, sorted.
    pub resources: Vec<String>,
    /// One PEM block.
    pub certificate: String,
    /// The issuing CA, PEM.
    pub chain: Vec<String>,
    /// 40 lower-case hex digits.
    pub serial: String,
    /// The one URI name.
    pub spiffe_id: String,
    /// `notBefore`.
    pub not_before: i64,
    /// `notAfter`.
    pub not_after: i64,
    /// What made its life shorter than asked.
    pub shortened_by: Vec<String>,
    /// The policies that decided.
    pub policy_version: String,
    /// Its place in the ledger.
    pub seq: u64,
    /// Its leaf hash, base64url.
    pub leaf: String,
    /// The `tlog-proof` text it came with.
    pub receipt: String,
}

impl Again {
    /// What is kept of a certificate; nothing of a token.
    pub(super) fn of(credential: &Credential, receipt: &Receipt) -> Option<Again> {
        let Credential::X509 {
            certificate_pem,
            chain_pem,
            serial,
            spiffe_id,
            grant,
            not_before,
            not_after,
            ..
        } = credential
        else {
            return None;
        };
        Some(Again {
            grant: grant.id().to_string(),
            task: grant.task_id().to_string(),
            task_name: grant.task().to_owned(),
            action: grant.action().name().to_owned(),
            resources: grant.resources().iter().map(ToString::to_string).collect(),
            certificate: certificate_pem.clone(),
            chain: chain_pem.to_vec(),
            serial: serial.clone(),
            spiffe_id: spiffe_id.to_string(),
            not_before: not_before.as_millis(),
            not_after: not_after.as_millis(),
            shortened_by: grant.shortened_by().to_vec(),
            policy_version: grant.pol().to_string(),
            seq: receipt.seq(),
            leaf: receipt.leaf().to_string(),
            receipt: receipt.proof_text(),
        })
    }

    /// `notBefore` and `notAfter`.
    #[must_use]
    pub fn life(&self) -> (Timestamp, Timestamp) {
        let at = Timestamp::from_millis;
        (at(self.not_before), at(self.not_after))
    }
}

/// An ask that is parked.
#[derive(Debug, Clone)]
pub struct Held {
    /// The request, as it lies there.
    pub request: RequestRow,
    /// Whether this ask opened it.
    pub created: bool,
    /// How many seats are filled.
    pub have: u8,
}

/// A refusal that was recorded.
#[derive(Debug, Clone)]
pub struct Denied {
    /// The decision, for both sides to quote.
    pub decision: String,
    /// Why.
    pub why: Refusal,
}

/// Whose no it is.
#[derive(Debug, Clone)]
pub enum Refusal {
    /// People have to approve it first, and nothing was parked: the door, or its client, takes no pending answer.
    Approval {
        /// What was asked, in words.
        asked: String,
        /// The decision receipt in the caller's view.
        receipt: Value,
    },
    /// The ask cannot be read.
    Form(Fault),
    /// A person said no.
    Human {
        /// What was asked, in words.
        asked: String,
        /// `req_…`.
        request: String,
        /// Who, as people call them.
        by: String,
        /// Why, in their words.
        reason: String,
        /// The decision receipt in the caller's view.
        receipt: Value,
    },
    /// Policy does not permit it.
    Policy {
        /// What was asked, in words.
        asked: String,
        /// The decision receipt in the caller's view.
        receipt: Value,
        /// Whether a proof of possession is all that is missing.
        proof_required: bool,
    },
}

/// The answer to a dry run: nothing was recorded, minted or spent.
#[derive(Debug, Clone)]
pub struct Judged {
    /// `permit`, `hold` or `deny`.
    pub outcome: &'static str,
    /// The decision receipt in the caller's view.
    pub receipt: Value,
}
