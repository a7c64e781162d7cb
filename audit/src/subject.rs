//! Who is who: pseudonyms that say nothing without their opening (LEDGER.md §4).
//!
//! A header carries a pseudonym; a body carries the identity and the `open` value that ties the two together.
//! Once the body is erased nobody can get from one to the other without the epoch's key.

use std::fmt;

use ring::hmac::{self, HMAC_SHA256};

use crate::Digest;

/// The pseudonym key of one log epoch. Its Debug shows the log only.
#[derive(Clone)]
pub struct Pseudonyms {
    key: hmac::Key,
    prefix: String,
}

/// The pseudonym of one identity, and what opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// What headers carry: HMAC-SHA256(`open`, id).
    pub pseudonym: Digest,
    /// What bodies carry beside the id; opens this pseudonym and no other.
    pub open: Digest,
}

impl Pseudonyms {
    /// The pseudonyms of log `log` under the 32 random bytes `key`, which live outside the database.
    #[must_use]
    pub fn new(key: [u8; 32], log: &str) -> Self {
        Self {
            key: hmac::Key::new(HMAC_SHA256, &key),
            prefix: format!("stint/subject/v1\n{log}\n"),
        }
    }

    /// The pseudonym of `id`: a SPIFFE ID, `person:…` or `local:UID`. The same id gives the same value within
    /// a log and an unrelated one elsewhere.
    #[must_use]
    pub fn subject(&self, id: &str) -> Subject {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(self.prefix.as_bytes());
        context.update(id.as_bytes());
        let open = Digest::from_tag(context.sign().as_ref());
        let pseudonym = opened(&open, id);
        Subject { pseudonym, open }
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms").finish_non_exhaustive()
    }
}

/// The pseudonym that `open` and `id` open.
#[must_use]
pub fn opened(open: &Digest, id: &str) -> Digest {
    let key = hmac::Key::new(HMAC_SHA256, open.as_bytes());
    Digest::from_tag(hmac::sign(&key, id.as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::{Pseudonyms, opened};

    const ID: &str = "spiffe://stint.example/github/1234/deploy";

    fn key() -> [u8; 32] {
        std::array::from_fn(|i| 0x20 + u8::try_from(i).unwrap())
    }

    #[test]
    fn agrees_with_the_published_vector() {
        let subject = Pseudonyms::new(key(), "stint.example/ledger").subject(ID);
        assert_eq!(
            subject.pseudonym.to_string(),
            "ex4psSYMiFUTxYRIi_QF_l_k4qMKwOmSfAK6ZLOv3IM"
        );
        assert_eq!(
            subject.open.to_string(),
            "UEIPej0nowAATzao4tg8nKgFWGe4P1_zOLJetJayKUw"
        );
        assert_eq!(opened(&subject.open, ID), subject.pseudonym);
    }

    #[test]
    fn another_log_gives_an_unrelated_pseudonym() {
        let here = Pseudonyms::new(key(), "a.example/ledger").subject(ID);
        let there = Pseudonyms::new(key(), "b.example/ledger").subject(ID);
        assert_ne!(here.pseudonym, there.pseudonym);
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", Pseudonyms::new(key(), "log")),
            "Pseudonyms { .. }"
        );
    }
}
