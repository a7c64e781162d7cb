//! What a walk came to: values for a door to translate, none of them half done.

use serde_json::Value;
use stint_audit::Receipt;
use stint_ca::Credential;

use super::Fault;
use crate::store::RequestRow;

/// The three outcomes.
#[derive(Debug)]
pub enum Outcome {
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
}

/// An ask that is parked.
#[derive(Debug, Clone)]
pub struct Held {
    /// The request, as it lies there.
    pub request: RequestRow,
    /// Whether this ask opened it.
    pub created: bool,
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
    /// The ask cannot be read.
    Form(Fault),
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
