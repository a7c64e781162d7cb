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
use crate::trust::{Act, Done, Refused};

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
        let mut body = self.person(visitor);
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
        let mut writes = vec![Write::People(Change::Passkey(Key::Enrol(row.clone())))];
        if had.iter().all(|row| row.retired.is_some()) {
            // From now on a vote of theirs counts: those who would know better hear of it.
            let title = "A first passkey: this person can decide requests from now on";
            let lines = [("Who", visitor.name.as_str()), ("Id", visitor.id.as_str())];
            writes.extend(self.notifier.alarm("passkey", title, &lines));
        }
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
        let rows = self.store.passkeys(visitor.id.as_str()).await;
        let mut rows = rows.map_err(away)?.into_iter();
        let row = rows.find(|row| row.credential == credential && row.retired.is_none());
        let row = row.ok_or(KeyError::Nothing)?;
        let (what, retired) = self.retirement(&row, "retired by its owner").await?;
        let mut body = self.person(visitor);
        body.extend(called(&row));
        let entry = self.of_person(ledger::note(what, None, body), visitor);
        match self.ledger.record(entry, None, vec![retired]).await {
            Ok(_) => Ok(()),
            Err(ledger::Error::Lost(_)) => Err(KeyError::Nothing),
            Err(error) => Err(away(error)),
        }
    }

    /// Retires all passkeys of a person, for an operator: they are lost, or in other hands. For a day nobody takes that
    /// person's word: whoever has their login only cannot make a passkey and vote before anybody hears of it.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn reset_passkeys(&self, person: &str, act: Act) -> Result<Done, Refused> {
        if self.store.person(person).await?.is_none() {
            return Err(Refused::Nobody(person.to_owned()));
        }
        let until = self.clock.now().plus(DAY).as_millis();
        let title = "Passkeys were reset: for a day this person cannot vote";
        // With the first that goes.
        let mut once = vec![Write::People(Change::Bar(person.to_owned(), until))];
        once.extend(self.told_of(person, title, &act));
        let mut done = Done::Already;
        for row in self.store.passkeys(person).await? {
            if row.retired.is_some() {
                continue;
            }
            let retirement = self.retirement(&row, "reset by an operator").await;
            let (what, retired) =
                retirement.map_err(|error| Refused::Passkey(error.to_string()))?;
            let mut entry = self.about(what.into(), ("person", person), &act);
            entry.body.what.extend(called(&row));
            let writes = once.iter().cloned().chain([retired]).collect();
            match self.ledger.record(entry, None, writes).await {
                Ok(receipt) => done = Done::Recorded(receipt.seq()),
                Err(ledger::Error::Lost(_)) => continue, // its owner was faster
                Err(error) => return Err(error.into()),
            }
            once.clear();
        }
        Ok(done)
    }

    /// What says that a passkey counts no more, and makes it so.
    async fn retirement(
        &self,
        row: &PasskeyRow,
        why: &str,
    ) -> Result<(kind::KeyRetired, Write), KeyError> {
        let added = self.ledger.find(&row.entry, Whose::Any).await;
        let added = added.map_err(away)?;
        let added = added.ok_or_else(|| KeyError::Away("its entry is not found".to_owned()))?;
        let what = kind::KeyRetired {
            key: row.key.parse().map_err(away)?,
            not_after: None,
            of: added.header.seq,
            usage: KeyUse::Passkey,
            vkey: None,
            why: why.to_owned(),
        };
        let change = Key::Retire {
            credential: row.credential.clone(),
            at: self.clock.now().as_millis(),
        };
        Ok((what, Write::People(Change::Passkey(change))))
    }

    /// The body of an entry about a person.
    fn person(&self, visitor: &Visitor) -> Map<String, Value> {
        let open = self.ledger.subject(visitor.id.as_str()).open.to_string();
        let person = json!({ "id": visitor.id.as_str(), "name": visitor.name, "open": open });
        Map::from_iter([("person".to_owned(), person)])
    }

    fn of_person(&self, mut entry: Entry, visitor: &Visitor) -> Entry {
        entry.subj = Some(self.ledger.subject(visitor.id.as_str()).pseudonym);
        entry
    }
}

/// How an entry names a passkey.
fn called(row: &PasskeyRow) -> [(String, Value); 2] {
    let named = [("credential", &row.credential), ("label", &row.label)];
    named.map(|(name, text)| (name.to_owned(), json!(text)))
}

fn away(error: impl std::fmt::Display) -> KeyError {
    KeyError::Away(error.to_string())
}

/// Time and chance.
const OPEN: usize = 16;

/// As long as a person needs to find their key.
pub(crate) const PATIENCE: Seconds = Seconds::new(300);

/// UX.md §1: how long nobody takes the word of somebody whose passkeys were reset.
const DAY: Seconds = Seconds::new(86_400);

/// Passkeys of one person that count.
const MOST: usize = 16;
