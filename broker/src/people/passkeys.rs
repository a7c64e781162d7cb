//! Passkeys: how a person gets one, and how it goes. Both are entries, and a login from a while ago brings none.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Map, Value, json};
use stint_audit::kind::{self, KeyUse};
use stint_audit::passkey::{self, Expected};
use stint_audit::{Digest, Entry};
use stint_policy::{Seconds, Timestamp};
use subtle::ConstantTimeEq as _;

use super::{People, Visitor};
use crate::issue::Broker;
use crate::ledger::{self, Whose};
use crate::random;
use crate::store::Write;
use crate::store::passkeys::{Change as Key, PasskeyRow};
use crate::store::people::Change;

/// What a browser sends of a new passkey.
pub(crate) struct Offered<'a> {
    pub(crate) label: &'a str,
    pub(crate) nonce: &'a [u8],
    pub(crate) authenticator_data: &'a [u8],
    pub(crate) client_data: &'a [u8],
}

/// Why there is no new passkey, or an old one stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The nonce is not ours, not this person's, or too old.
    #[error("the nonce is not one of these minutes: begin again")]
    Nonce,
    /// What the authenticator made does not hold.
    #[error("the passkey is not accepted: {0}")]
    Passkey(#[from] passkey::PasskeyError),
    /// The label cannot be shown.
    #[error("a label is 1 to 64 characters that can be shown")]
    Label,
    /// There is one of this name already.
    #[error("that passkey is known already")]
    Known,
    /// This person has no such passkey.
    #[error("no such passkey")]
    Nothing,
    /// More than anybody has devices.
    #[error("at most {MOST} passkeys: retire one first")]
    Many,
    /// Not our visitor's fault.
    #[error("{0}")]
    Away(String),
}

impl People {
    /// 6 bytes of time, 10 at random, 16 that only we can make, for one person.
    pub(crate) fn enrolment(&self, visitor: &Visitor, now: Timestamp) -> [u8; 32] {
        let mut nonce = [0; 32];
        let [_, _, time @ ..] = now.as_millis().to_be_bytes();
        let drawn: [u8; 10] = random::bytes();
        let open = time.iter().chain(&drawn).copied();
        for (to, from) in nonce.iter_mut().zip(open) {
            *to = from;
        }
        let (open, tag) = nonce.split_at_mut(OPEN);
        for (to, from) in tag.iter_mut().zip(self.enrolment_tag(open, visitor)) {
            *to = from;
        }
        nonce
    }

    fn is_enrolment(&self, nonce: &[u8], visitor: &Visitor, now: Timestamp) -> bool {
        let Some((open, tag)) = nonce.split_at_checked(OPEN) else {
            return false;
        };
        let made = self.enrolment_tag(open, visitor);
        let (made, _) = made.split_at(OPEN);
        let mut time = [0; 8];
        for (to, from) in time.iter_mut().skip(2).zip(open) {
            *to = *from;
        }
        let age = now.seconds_since(Timestamp::from_millis(i64::from_be_bytes(time)));
        bool::from(made.ct_eq(tag)) && (0..=i64::from(PATIENCE.as_u32())).contains(&age)
    }

    fn enrolment_tag(&self, open: &[u8], visitor: &Visitor) -> [u8; 32] {
        let session = visitor.session.as_bytes();
        self.seal
            .tag("enrol", &[open, visitor.id.as_str().as_bytes(), session])
    }
}

/// What an authenticator signs over.
pub(crate) fn challenge(nonce: &[u8]) -> Digest {
    Digest::of(&[b"stint/enrol/v1\n", nonce].concat())
}

impl Broker {
    /// Enrols a passkey; its seq.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(crate) async fn enrol(
        &self,
        visitor: &Visitor,
        offered: Offered<'_>,
    ) -> Result<(PasskeyRow, u64), KeyError> {
        let now = self.clock.now();
        let people = self.people.as_ref().ok_or(KeyError::Nothing)?;
        if !people.is_enrolment(offered.nonce, visitor, now) {
            return Err(KeyError::Nonce);
        }
        let label = offered.label.trim();
        if !crate::authenticate::login::can_be_shown(label, 64) {
            return Err(KeyError::Label);
        }
        let origin = &self.terms.url;
        let challenge = challenge(offered.nonce);
        let expected = Expected {
            rp: passkey::host(origin).unwrap_or_default(),
            origin,
            challenge: challenge.as_bytes(),
        };
        let enrolled = passkey::enrol(offered.authenticator_data, offered.client_data, &expected)?;
        let had = self
            .store
            .passkeys(visitor.id.as_str())
            .await
            .map_err(away)?;
        if had.iter().filter(|row| row.retired.is_none()).count() >= MOST {
            return Err(KeyError::Many);
        }
        let row = PasskeyRow {
            credential: BASE64URL_NOPAD.encode(&enrolled.credential),
            person: visitor.id.to_string(),
            key: enrolled.key.thumbprint().to_string(),
            jwk: enrolled.key.jwk().to_string(),
            label: label.to_owned(),
            count: i64::from(enrolled.count),
            added: now.as_millis(),
            used: None,
            entry: String::new(),
            retired: None,
        };
        let mut body = self.about(visitor);
        body.insert("public".to_owned(), enrolled.key.jwk());
        body.insert("credential".to_owned(), json!(row.credential));
        body.insert("rp".to_owned(), json!(expected.rp));
        body.insert("origin".to_owned(), json!(origin));
        body.insert("label".to_owned(), json!(row.label));
        body.insert(
            "aaguid".to_owned(),
            json!(HEXLOWER.encode(&enrolled.aaguid)),
        );
        let what = kind::KeyAdded {
            key: enrolled.key.thumbprint(),
            not_after: None,
            usage: KeyUse::Passkey,
            vkey: None,
        };
        let entry = self.of_person(ledger::note(what, None, body), visitor);
        let row = PasskeyRow {
            entry: entry.id.clone(),
            ..row
        };
        let writes = vec![Write::People(Change::Passkey(Key::Enrol(row.clone())))];
        match self.ledger.record(entry, None, writes).await {
            Ok(receipt) => Ok((row, receipt.seq())),
            Err(ledger::Error::Lost(_)) => Err(KeyError::Known),
            Err(error) => Err(away(error)),
        }
    }

    /// Lets a passkey of this person count no more.
    ///
    /// # Errors
    /// [`KeyError`].
    pub(crate) async fn retire(&self, visitor: &Visitor, credential: &str) -> Result<(), KeyError> {
        let rows = self
            .store
            .passkeys(visitor.id.as_str())
            .await
            .map_err(away)?;
        let mut rows = rows.into_iter();
        let row = rows.find(|row| row.credential == credential && row.retired.is_none());
        let row = row.ok_or(KeyError::Nothing)?;
        let body = self.about(visitor);
        self.retire_for(&row, (visitor.id.as_str(), body), "retired by its owner")
            .await
    }

    /// The same whoever wants it: `body` says who.
    pub(super) async fn retire_for(
        &self,
        row: &PasskeyRow,
        (person, mut body): (&str, Map<String, Value>),
        why: &str,
    ) -> Result<(), KeyError> {
        let added = self.ledger.find(&row.entry, Whose::Any).await;
        let added = added.map_err(away)?;
        let added = added.ok_or_else(|| KeyError::Away("its entry is not found".to_owned()))?;
        let key: Digest = row.key.parse().map_err(away)?;
        body.insert("credential".to_owned(), json!(row.credential));
        body.insert("label".to_owned(), json!(row.label));
        let what = kind::KeyRetired {
            key,
            not_after: None,
            of: added.header.seq,
            usage: KeyUse::Passkey,
            vkey: None,
            why: why.to_owned(),
        };
        let mut entry = ledger::note(what, None, body);
        entry.subj = Some(self.ledger.subject(person).pseudonym);
        let change = Key::Retire {
            credential: row.credential.clone(),
            at: self.clock.now().as_millis(),
        };
        let writes = vec![Write::People(Change::Passkey(change))];
        match self.ledger.record(entry, None, writes).await {
            Ok(_) => Ok(()),
            Err(ledger::Error::Lost(_)) => Err(KeyError::Nothing),
            Err(error) => Err(away(error)),
        }
    }

    /// The body of an entry about a person.
    fn about(&self, visitor: &Visitor) -> Map<String, Value> {
        let open = self.ledger.subject(visitor.id.as_str()).open.to_string();
        let person = json!({ "id": visitor.id.as_str(), "name": visitor.name, "open": open });
        Map::from_iter([("person".to_owned(), person)])
    }

    fn of_person(&self, mut entry: Entry, visitor: &Visitor) -> Entry {
        entry.subj = Some(self.ledger.subject(visitor.id.as_str()).pseudonym);
        entry
    }
}

fn away(error: impl std::fmt::Display) -> KeyError {
    KeyError::Away(error.to_string())
}

/// Time and chance.
const OPEN: usize = 16;

/// As long as a person needs to find their key.
pub(crate) const PATIENCE: Seconds = Seconds::new(300);

/// Passkeys of one person that count.
const MOST: usize = 16;
