//! From a browser without a session to one with: out to the identity provider, and back.

use std::collections::BTreeSet;
use std::net::IpAddr;

use data_encoding::BASE64URL_NOPAD;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use stint_audit::Entry;
use stint_audit::kind::{self, Via};
use stint_policy::{Seconds, Timestamp};

use super::provider::{LoginError, Secrets};
use super::session::Fresh;
use super::{Freshness, People, Visitor};
use crate::authenticate::login::Identity;
use crate::issue::Broker;
use crate::ledger::{self, Lost};
use crate::random;
use crate::store::people::{Change, Login, PersonRow};
use crate::store::{SessionRow, SpentRow, Write};

/// A browser on its way to the provider.
pub(crate) struct Sent {
    /// Where to.
    pub(crate) url: String,
    /// What it carries, for the sign-in's cookie.
    pub(crate) sealed: String,
}

/// What a browser came back with.
#[derive(Debug, Default)]
pub(crate) struct Came {
    pub(crate) sealed: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) iss: Option<String>,
    pub(crate) error: Option<String>,
}

/// Where somebody signs in from.
#[derive(Debug, Default)]
pub(crate) struct Whence {
    pub(crate) peer: Option<IpAddr>,
    pub(crate) agent: String,
    /// The session that the browser had before.
    pub(crate) had: Option<String>,
}

/// What the sign-in's cookie holds.
#[derive(Serialize, Deserialize)]
struct Flow {
    secrets: Secrets,
    return_to: String,
    at: i64,
    fresh: Freshness,
}

/// Somebody who just signed in.
pub(crate) struct Welcome {
    /// For the session's cookie.
    pub(crate) secret: String,
    pub(crate) return_to: String,
}

impl People {
    /// Sends a browser to the provider; it comes back to `return_to` in the end.
    ///
    /// # Errors
    /// [`LoginError::Away`]; [`LoginError::Refused`] for a `return_to` that is no path of ours.
    pub(crate) async fn begin(
        &self,
        return_to: &str,
        fresh: Freshness,
        now: Timestamp,
    ) -> Result<Sent, LoginError> {
        if !is_ours(return_to) {
            return Err(LoginError::Refused(
                "return_to is no path of ours".to_owned(),
            ));
        }
        let word = || BASE64URL_NOPAD.encode(&random::bytes::<32>());
        let flow = Flow {
            secrets: Secrets {
                state: word(),
                nonce: word(),
                verifier: word(),
            },
            return_to: return_to.to_owned(),
            at: now.as_millis(),
            fresh,
        };
        let age = (fresh == Freshness::Fresh).then_some(self.step_up_age);
        let url = self.provider.send_to(&flow.secrets, age, now).await?;
        let text = serde_json::to_vec(&flow).unwrap_or_default();
        let sealed = self.seal.seal(PURPOSE, &text);
        let sealed = sealed.ok_or_else(|| LoginError::Away("nothing can be sealed".to_owned()))?;
        Ok(Sent { url, sealed })
    }

    /// What the cookie says of this sign-in, if it and the answer belong together.
    async fn flow(&self, came: &Came, now: Timestamp) -> Result<(Flow, String), LoginError> {
        let refused = |why: &str| LoginError::Refused(why.to_owned());
        let sealed = came
            .sealed
            .as_deref()
            .ok_or(refused("no sign-in is under way"))?;
        let opened = self.seal.open(PURPOSE, sealed);
        let opened = opened.ok_or(refused("the sign-in's cookie is not ours"))?;
        let flow: Flow =
            serde_json::from_slice(&opened).map_err(|_source| refused("the cookie is old"))?;
        if now >= Timestamp::from_millis(flow.at).plus(PATIENCE) {
            return Err(refused("the sign-in took too long"));
        }
        if came.state.as_deref() != Some(&flow.secrets.state) {
            return Err(refused("another state came back"));
        }
        // Before anything else of it is believed, an error too: whose answer is it?
        if !self.provider.is_from(came.iss.as_deref(), now).await? {
            return Err(refused("the answer is of another issuer"));
        }
        if let Some(error) = &came.error {
            let word: String = error
                .chars()
                .filter(char::is_ascii_graphic)
                .take(64)
                .collect();
            return Err(LoginError::Refused(format!("the provider says `{word}`")));
        }
        let code = came.code.clone().filter(|code| !code.is_empty());
        let code = code.ok_or(refused("no code came back"))?;
        Ok((flow, code))
    }

    /// The groups of a login, by the names that policies use.
    fn groups(&self, identity: &Identity) -> Result<BTreeSet<String>, LoginError> {
        let claim = &self.groups_claim;
        let elsewhere = identity
            .claim("_claim_names")
            .is_some_and(|names| names.get(claim).is_some())
            || identity.claim("hasgroups").is_some();
        if elsewhere {
            return Err(LoginError::Told(format!(
                "you are in so many groups that the identity provider does not list them in `{claim}`. Ask whoever runs \
                 Stint to have it send only the groups that are assigned to it"
            )));
        }
        let list = match identity.claim(claim) {
            None | Some(Value::Null) => return Ok(BTreeSet::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(LoginError::Refused(format!("`{claim}` is no list"))),
        };
        if list.len() > MAX_GROUPS {
            return Err(LoginError::Told(format!(
                "you are in {} groups, and at most {MAX_GROUPS} are read. Ask whoever runs Stint to have the identity \
                 provider send only the groups that are assigned to it",
                list.len()
            )));
        }
        let mut groups = BTreeSet::new();
        for group in list {
            let name = group.as_str();
            let name =
                name.ok_or_else(|| LoginError::Refused(format!("`{claim}` lists no texts")))?;
            match self.groups.is_empty() {
                true => drop(groups.insert(name.to_owned())),
                false => groups.extend(self.groups.get(name).cloned()),
            }
        }
        Ok(groups)
    }

    /// The accounts that a login says are the person's.
    fn accounts(&self, identity: &Identity) -> Result<Vec<(String, String)>, LoginError> {
        let mut links = Vec::new();
        for (issuer, claim) in &self.links {
            let account = identity
                .account(claim)
                .map_err(|_source| LoginError::Refused(format!("`{claim}` is no account id")))?;
            links.extend(account.map(|account| (issuer.clone(), account)));
        }
        Ok(links)
    }
}

impl Broker {
    /// Signs in whoever came back, if all of it holds: entry, person, links and session in one transaction.
    ///
    /// # Errors
    /// [`LoginError`].
    pub(crate) async fn sign_in(&self, came: Came, from: Whence) -> Result<Welcome, LoginError> {
        let away = || LoginError::Away("there is no [people]".to_owned());
        let people = self.people.as_ref().ok_or_else(away)?;
        let now = self.clock.now();
        let (flow, code) = people.flow(&came, now).await?;
        let identity = people.provider.redeem(&code, &flow.secrets, now).await?;
        let auth_at = identity.auth_time();
        if flow.fresh == Freshness::Fresh
            && auth_at.is_none_or(|at| now > at.plus(people.step_up_age))
        {
            let why = "a fresh login was asked for, and `auth_time` does not say that it is one";
            return Err(LoginError::Refused(why.to_owned()));
        }
        let id = format!(
            "spiffe://{}/user/{}",
            people.trust_domain,
            identity.segment()
        );
        let groups = people.groups(&identity)?;
        let links = people.accounts(&identity)?;
        let words = json!(groups).to_string();
        let fresh = Fresh::new("");
        let person = PersonRow {
            id: id.clone(),
            name: identity.name().to_owned(),
            email: identity.email().map(str::to_owned),
            groups: words.clone(),
            seen: now.as_millis(),
            barred: None,
        };
        let session = SessionRow {
            hash: fresh.hash,
            person: id,
            via: Via::Console.as_str().to_owned(),
            key: None,
            groups: words,
            auth_at: auth_at.map_or(0, Timestamp::as_millis),
            opened: now.as_millis(),
            used: now.as_millis(),
            ends: now.plus(people.session_ttl).as_millis(),
            agent: from.agent.clone(),
        };
        let visitor = people.visitor(&session, person.clone(), now);
        let visitor = visitor.ok_or_else(|| LoginError::Refused("no SPIFFE ID".to_owned()))?;
        let login = Login {
            person,
            session,
            links,
            ends: from.had.clone(),
        };
        self.record_login(&visitor, Via::Console, (&from, Vec::new()), login)
            .await?;
        Ok(Welcome {
            secret: fresh.secret,
            return_to: flow.return_to,
        })
    }

    /// Records a login with all that it changes.
    pub(super) async fn record_login(
        &self,
        visitor: &Visitor,
        via: Via,
        (from, spent): (&Whence, Vec<SpentRow>),
        login: Login,
    ) -> Result<(), LoginError> {
        let entry = self.login_entry(visitor, via, from);
        let mut writes = vec![Write::NotDisabled(login.person.id.clone())];
        writes.extend(spent.into_iter().map(Write::Spend));
        writes.push(Write::People(Change::Login(Box::new(login))));
        match self.ledger.record(entry, None, writes).await {
            Ok(_) => Ok(()),
            Err(ledger::Error::Lost(Lost::Proof | Lost::Spent)) => {
                Err(LoginError::Refused("the code was used before".to_owned()))
            }
            Err(ledger::Error::Lost(Lost::Disabled)) => {
                Err(LoginError::Refused("the person is disabled".to_owned()))
            }
            Err(ledger::Error::Lost(_)) => Err(LoginError::Told(
                "an account that your login brings is tied to another person here already. Ask whoever runs Stint: one \
                 account belongs to one person"
                    .to_owned(),
            )),
            Err(error) => Err(LoginError::Away(error.to_string())),
        }
    }

    fn login_entry(&self, visitor: &Visitor, via: Via, from: &Whence) -> Entry {
        let subject = self.ledger.subject(visitor.id.as_str());
        let roles: Vec<String> = visitor
            .roles
            .words()
            .into_iter()
            .map(str::to_owned)
            .collect();
        let what = kind::Login {
            roles: (!roles.is_empty()).then_some(roles),
            via,
        };
        let mut body = Map::new();
        body.insert(
            "person".to_owned(),
            json!({ "id": visitor.id.as_str(), "name": visitor.name, "open": subject.open.to_string() }),
        );
        body.insert("session".to_owned(), json!(visitor.session));
        if let Some(peer) = from.peer {
            body.insert("peer".to_owned(), json!(peer.to_string()));
        }
        if !from.agent.is_empty() {
            body.insert("agent".to_owned(), json!(from.agent));
        }
        let mut entry = ledger::note(what, None, body);
        entry.subj = Some(subject.pseudonym);
        entry
    }
}

/// A path on this very host: nothing that a browser would take elsewhere.
fn is_ours(path: &str) -> bool {
    const HERE: &str = "https://stint.invalid";
    let plain = path.starts_with('/')
        && !path.starts_with("//")
        && path.len() <= 2_000
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    // Only a path that the parser leaves on the host, and that does not begin another sign-in.
    let url = Url::parse(HERE).and_then(|base| base.join(path)).ok();
    plain
        && url.is_some_and(|url| {
            url.origin().ascii_serialization() == HERE && !url.path().starts_with("/login")
        })
}

const PURPOSE: &str = "login";

/// How long a sign-in may take.
const PATIENCE: Seconds = Seconds::new(600);

/// IDENTITY.md §6.
const MAX_GROUPS: usize = 256;

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_paths_of_this_host_are_returned_to() {
        for good in [
            "/",
            "/a/req_1",
            "/grants?state=active&q=%2F%2F",
            "/ledger/17#body",
        ] {
            assert!(is_ours(good), "{good}");
        }
        for bad in [
            "",
            "a",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "https://evil.example/",
            "javascript:alert(1)",
            "/a\nb",
            "/a b",
            "/ü",
            "/login",
            "/login/start",
            "/./login",
            "/x/../login",
        ] {
            assert!(!is_ours(bad), "{bad}");
        }
        assert!(!is_ours(&format!("/{}", "a".repeat(2_000))));
    }
}
