//! People: who is signed in, what they may see, and by which passkeys they sign (IDENTITY.md §6).
//!
//! A login comes from the identity provider of `[people]` and from nowhere else. Until it is done nothing is written:
//! what a browser has to bring back it carries itself, sealed. Then one transaction holds the entry, the person, the
//! accounts that are theirs and the session, or none of it.

pub(crate) mod passkeys;
mod provider;
mod seal;
pub(crate) mod session;
mod sign_in;
mod terminal;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stint_policy::{Seconds, SpiffeId, Timestamp};

use crate::config;
use crate::store::SessionRow;
use crate::store::people::PersonRow;

pub(crate) use provider::{CALLBACK, LoginError};
pub(crate) use sign_in::{Came, Whence};

use provider::Provider;
use seal::Seal;

/// Everything about people that config says, ready to use.
#[derive(Debug)]
pub struct People {
    provider: Provider,
    seal: Seal,
    trust_domain: String,
    groups_claim: String,
    groups: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    roles: config::Roles,
    session_ttl: Seconds,
    session_idle: Seconds,
    /// How fresh a login must be that enrols a passkey or acts for an operator.
    pub step_up_age: Seconds,
    /// The names of our cookies.
    pub(crate) cookies: Cookies,
}

/// Names by what the scheme allows: a `__Host-` cookie is of this host, over TLS, and of no other place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cookies {
    pub(crate) session: &'static str,
    pub(crate) login: &'static str,
    pub(crate) secure: bool,
}

impl Cookies {
    const OVER_TLS: Cookies = Cookies {
        session: "__Host-stint",
        login: "__Host-stint-login",
        secure: true,
    };
    /// `stintd dev`, and nobody else: a URL in the clear is this machine's.
    const IN_THE_CLEAR: Cookies = Cookies {
        session: "stint-session",
        login: "stint-login",
        secure: false,
    };
}

impl People {
    /// What `config` says; `None` where nobody can log in. `key`: of the log, the same on all replicas.
    ///
    /// # Errors
    /// What cannot be used, in words that go on after "[people] ".
    pub fn of(config: &config::Config, key: &[u8; 32]) -> Result<Option<People>, String> {
        let Some(people) = &config.people.0 else {
            return Ok(None);
        };
        let url = config.server.url.as_str();
        let dev = is_dev(people);
        Ok(Some(People {
            provider: Provider::new(people, url, dev)?,
            seal: Seal::new(key),
            trust_domain: config.ca.trust_domain.as_str().to_owned(),
            groups_claim: people.groups_claim.clone(),
            groups: people.groups.0.clone(),
            links: people.links.0.clone(),
            roles: config::Roles {
                operator: config.roles.operator.clone(),
                auditor: config.roles.auditor.clone(),
            },
            session_ttl: people.session_ttl,
            session_idle: people.session_idle,
            step_up_age: people.step_up_age,
            cookies: match url.starts_with("https:") {
                true => Cookies::OVER_TLS,
                false => Cookies::IN_THE_CLEAR,
            },
        }))
    }

    /// What a session says of whoever has it.
    fn visitor(&self, session: &SessionRow, person: PersonRow, now: Timestamp) -> Option<Visitor> {
        let barred = person.barred.map(Timestamp::from_millis);
        let groups: BTreeSet<String> = serde_json::from_str(&session.groups).ok()?;
        Some(Visitor {
            id: SpiffeId::parse(&person.id).ok()?,
            name: person.name,
            email: person.email,
            roles: self.roles_of(&groups),
            groups,
            auth_at: Timestamp::from_millis(session.auth_at),
            barred: barred.filter(|until| *until > now),
            session: session.hash.clone(),
        })
    }

    fn roles_of(&self, groups: &BTreeSet<String>) -> Roles {
        let any = |role: &[String]| role.iter().any(|group| groups.contains(group));
        Roles {
            auditor: any(&self.roles.auditor),
            operator: any(&self.roles.operator),
        }
    }
}

/// Whether a provider is the fake one of `stintd dev`, whose key anybody has.
#[must_use]
pub fn is_dev(people: &config::People) -> bool {
    people.issuer.is_plain() && people.issuer.as_str().ends_with(DEV)
}

/// What the secrets of terminals' sessions begin with.
pub(crate) const TERMINAL: &str = "stint_cli_";

/// The path of `stintd dev`'s fake provider.
pub(crate) const DEV: &str = "/dev/people";

/// Somebody who is signed in. Groups are those of the login, and roles follow from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// `spiffe://TRUST-DOMAIN/user/…`: the only name that decides.
    pub id: SpiffeId,
    /// For display.
    pub name: String,
    /// Verified by the IdP; for display and notices.
    pub email: Option<String>,
    /// Groups of the login, by the names policies use.
    pub groups: BTreeSet<String>,
    /// What the config makes of them.
    pub roles: Roles,
    /// When the IdP saw the person; 1970 if it does not say.
    pub auth_at: Timestamp,
    /// Until when their word is not taken, if that is ahead: their passkeys were reset.
    pub barred: Option<Timestamp>,
    /// The session's own name: SHA-256 of its secret, base64url.
    pub session: String,
}

impl Visitor {
    /// Whether the identity provider saw the person no longer than `age` ago.
    #[must_use]
    pub fn is_fresh(&self, age: Seconds, now: Timestamp) -> bool {
        now <= self.auth_at.plus(age)
    }

    /// Whether they read everything, whosever it is.
    #[must_use]
    pub fn reads_all(&self) -> bool {
        self.roles.auditor || self.roles.operator
    }
}

/// Which login somebody is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// The provider may let in whom it knows.
    Any,
    /// The provider asks again: a step-up.
    Fresh,
}

/// What somebody may do beyond their own: none implies another (IDENTITY.md §6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Roles {
    /// Reads everything.
    pub auditor: bool,
    /// Acts: freezes, revokes, disables.
    pub operator: bool,
}

impl Roles {
    /// Their words, as config and ledger have them.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let all = [("auditor", self.auditor), ("operator", self.operator)];
        all.into_iter()
            .filter(|(_, is)| *is)
            .map(|(word, _)| word)
            .collect()
    }
}
