//! What Stint mints: a grant and a profile become the exact bytes of one credential, and those
//! bytes are signed once they are in the ledger.
//!
//! [`Authority::prepare`] is pure: it turns a [`Grant`](stint_policy::Grant) into an [`Unsigned`],
//! linted by a foreign parser. [`Authority::sign`] is the only door to a key, and opens for an
//! `Unsigned` together with the [`Receipt`](stint_audit::Receipt) of its own bytes and for nothing
//! else. From a certificate request only the verified public key survives ([`SubjectKey`]).
//!
//! No clock, no files, no database and no async: times and randomness are arguments, keys arrive
//! and leave as bytes.

mod audience;
mod authority;
mod credential;
mod profile;
mod subject;

mod jwt;
mod lint;
mod scope;
mod x509;

mod jwk;

pub mod issuer;
pub mod keyfile;
pub mod signer;

pub use audience::{
    Audience, AudienceError, AudienceParts, Flavour, Part, SubTemplate, TemplateError,
};
pub use authority::{
    Authority, AuthorityParts, BoundTo, Order, PrepareError, SetupError, SignError, Whose,
};
pub use credential::{Credential, Unsigned};
pub use profile::{NameSource, Profile, ProfileError};
pub use subject::{KeyError, SubjectKey};
pub use x509::Serial;
