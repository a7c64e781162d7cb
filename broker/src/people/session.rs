//! Sessions: 256 random bits that the client alone has, and a row under their hash.

use data_encoding::BASE64URL_NOPAD;
use stint_audit::Digest;
use stint_policy::{Seconds, Timestamp};

use super::{People, Visitor};
use crate::issue::Broker;
use crate::random;
use crate::store::people::Change;
use crate::store::{Error, SessionRow, Write, sessions};

/// A secret that was just made.
pub(crate) struct Fresh {
    pub(crate) secret: String,
    pub(crate) hash: String,
}

impl Fresh {
    /// `prefix`: by which scanners find one that leaked.
    pub(super) fn new(prefix: &str) -> Fresh {
        let secret = format!("{prefix}{}", BASE64URL_NOPAD.encode(&random::bytes::<32>()));
        Fresh {
            hash: hash(&secret),
            secret,
        }
    }
}

/// The name of the session that has this secret.
pub(crate) fn hash(secret: &str) -> String {
    Digest::of(secret.as_bytes()).to_string()
}

impl Broker {
    /// Whoever has this session's secret, if it still stands. `key`: the thumbprint that the request proved, for a
    /// session of a terminal.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn visitor(
        &self,
        secret: &str,
        key: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Visitor>, Error> {
        let Some(people) = &self.people else {
            return Ok(None);
        };
        if secret.len() > LONGEST {
            return Ok(None);
        }
        let found = self.store.session(&hash(secret)).await?;
        let Some((session, person)) = found else {
            return Ok(None);
        };
        let disabled = self.ledger.disables(&person.id);
        if disabled || session.key.as_deref() != key || !people.stands(&session, now) {
            return Ok(None);
        }
        if now > Timestamp::from_millis(session.used).plus(GRAIN) {
            let used = sessions::Change::Used {
                hash: session.hash.clone(),
                at: now.as_millis(),
            };
            self.ledger
                .enqueue(vec![Write::People(Change::Session(used))]);
        }
        Ok(people.visitor(&session, person, now))
    }
}

impl People {
    /// Whether a session is as good as on its first day.
    pub(crate) fn stands(&self, session: &SessionRow, now: Timestamp) -> bool {
        let from = |millis: i64, life: Seconds| Timestamp::from_millis(millis).plus(life);
        let idle = match session.key {
            // A terminal's lasts an hour, used or not.
            Some(_) => Timestamp::from_millis(session.ends),
            None => from(session.used, self.session_idle),
        };
        let ends = Timestamp::from_millis(session.ends).min(from(session.opened, self.session_ttl));
        now < ends && now < idle
    }
}

/// How often a use is written at most.
const GRAIN: Seconds = Seconds::new(60);

/// No secret of ours is as long.
const LONGEST: usize = 128;
