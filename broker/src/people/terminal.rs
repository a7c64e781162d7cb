//! Sessions of terminals (`stint login`): a person at a page of ours lets one in, and a code that counts once goes to
//! where it listens on its own machine (RFC 8252). The session is bound to the key that redeems the code.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use stint_audit::Digest;
use stint_audit::kind::Via;
use stint_policy::{Seconds, Timestamp};

use super::provider::LoginError;
use super::session::{Fresh, hash};
use super::{People, TERMINAL, Visitor, Whence};
use crate::authenticate::dpop;
use crate::issue::Broker;
use crate::store::people::Login;
use crate::store::{SessionRow, Sort, SpentRow};

/// What a code stands for; the terminal carries it, sealed.
#[derive(Serialize, Deserialize)]
struct Code {
    /// Chance, so that no two are alike.
    id: String,
    /// The hash of the session of whoever let it in.
    session: String,
    challenge: String,
    key: String,
    at: i64,
}

/// A session of a terminal.
pub(crate) struct LetIn {
    pub(crate) secret: String,
    pub(crate) visitor: Visitor,
    pub(crate) ends: Timestamp,
}

impl People {
    /// A code for the terminal that has `key` and knows what `challenge` is the hash of.
    pub(crate) fn code(
        &self,
        visitor: &Visitor,
        (challenge, key): (&str, &str),
        now: Timestamp,
    ) -> Option<String> {
        let code = Code {
            id: BASE64URL_NOPAD.encode(&crate::random::bytes::<16>()),
            session: visitor.session.clone(),
            challenge: challenge.to_owned(),
            key: key.to_owned(),
            at: now.as_millis(),
        };
        self.seal.seal(PURPOSE, &serde_json::to_vec(&code).ok()?)
    }

    fn read_code(&self, code: &str, now: Timestamp) -> Option<Code> {
        let code: Code = serde_json::from_slice(&self.seal.open(PURPOSE, code)?).ok()?;
        let age = now.seconds_since(Timestamp::from_millis(code.at));
        (0..=i64::from(PATIENCE.as_u32()))
            .contains(&age)
            .then_some(code)
    }
}

impl Broker {
    /// Opens a terminal's session, if the code is its and whoever let it in is still there.
    ///
    /// # Errors
    /// [`LoginError::Refused`] for every way the code may not count.
    pub(crate) async fn let_in(
        &self,
        (code, verifier): (&str, &str),
        proof: &dpop::Checked,
        whence: Whence,
    ) -> Result<LetIn, LoginError> {
        let refused = |why: &str| LoginError::Refused(why.to_owned());
        let people = self
            .people
            .as_ref()
            .ok_or_else(|| refused("there is no [people]"))?;
        let now = self.clock.now();
        let read = people
            .read_code(code, now)
            .ok_or_else(|| refused("no code of ours"))?;
        if Digest::of(verifier.as_bytes()).to_string() != read.challenge {
            return Err(refused("another verifier"));
        }
        let key = Digest::from_bytes(proof.proof.thumbprint).to_string();
        if key != read.key {
            return Err(refused("another key"));
        }
        let found = self.store.session(&read.session).await;
        let found = found.map_err(|error| LoginError::Away(error.to_string()))?;
        let standing = found.filter(|(session, _)| people.stands(session, now));
        let (theirs, person) = standing.ok_or_else(|| refused("nobody is signed in any more"))?;
        let fresh = Fresh::new(TERMINAL);
        // No longer than the login that let it in.
        let ends = now.plus(LIFE).min(Timestamp::from_millis(theirs.ends));
        let session = SessionRow {
            hash: fresh.hash,
            via: Via::Cli.as_str().to_owned(),
            key: Some(key),
            opened: now.as_millis(),
            used: now.as_millis(),
            ends: ends.as_millis(),
            agent: whence.agent.clone(),
            ..theirs
        };
        let visitor = people.visitor(&session, person.clone(), now);
        let visitor = visitor.ok_or_else(|| refused("no SPIFFE ID"))?;
        let login = Login {
            person,
            session,
            links: Vec::new(),
            ends: None,
        };
        let spent = spent(code, &read, proof);
        self.record_login(&visitor, Via::Cli, (&whence, spent), login)
            .await?;
        Ok(LetIn {
            secret: fresh.secret,
            visitor,
            ends,
        })
    }
}

/// The code and the proof that came with it count once.
fn spent(code: &str, read: &Code, proof: &dpop::Checked) -> Vec<SpentRow> {
    let row = |sort, key, until: Timestamp| SpentRow {
        sort,
        key,
        proof: None,
        task: String::new(),
        until: until.as_millis(),
        same: String::new(),
        outcome: String::new(),
    };
    let until = Timestamp::from_millis(read.at).plus(PATIENCE).plus(MINUTE);
    vec![
        row(Sort::Token, hash(code), until),
        row(
            Sort::Proof,
            Digest::from_bytes(proof.key).to_string(),
            proof.until,
        ),
    ]
}

const PURPOSE: &str = "terminal";

/// From the page to the terminal is no way at all.
const PATIENCE: Seconds = Seconds::new(120);
const MINUTE: Seconds = Seconds::new(60);

/// IDENTITY.md §6.
const LIFE: Seconds = Seconds::new(3_600);
