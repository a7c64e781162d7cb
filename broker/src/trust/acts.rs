//! What operators say of whose word counts: an issuer's evidence, or all, is frozen; an identity is disabled; either is
//! lifted again; new keys are accepted (IDENTITY.md §2.5, §7). Each act is an entry with who did it and why, and holds from
//! there on: the committer folds it before it takes the next.

use serde_json::{Map, json};
use stint_audit::kind::{self, Admin, AdminOp};
use stint_audit::{Entry, What};
use thiserror::Error;

use crate::issue::Broker;
use crate::ledger::{self, Target};
use crate::store::{self, Write, people, sessions};

/// Why an operator's command did nothing.
#[derive(Debug, Error)]
pub enum Refused {
    /// There is no such issuer in the config.
    #[error("there is no [issuer.{0}] in the running configuration")]
    Issuer(String),
    /// Nobody of this id was ever here.
    #[error(
        "no caller or person `{0}` was ever here: the id is a SPIFFE ID, as entries and the console show it"
    )]
    Nobody(String),
    /// A passkey of theirs cannot be retired.
    #[error("a passkey could not be retired: {0}")]
    Passkey(String),
    /// What is known of them cannot be read.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It could not be recorded, and so did not happen.
    #[error("it could not be recorded, and so did not happen")]
    Record(#[from] ledger::Error),
}

/// What a command came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was so already.
    Already,
    /// This entry says so.
    Recorded(u64),
}

/// An operator, as the socket knows it, and what it says.
#[derive(Debug, Clone)]
pub struct Act {
    /// The user id of whoever is on the other end of the socket.
    pub uid: u32,
    /// Why, in the operator's own words.
    pub reason: String,
}

impl Broker {
    /// Refuses the evidence of `target` from the next entry on. Grants that were made live to their end.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn freeze(&self, target: Target, act: Act) -> Result<Done, Refused> {
        if let Target::Issuer(name) = &target
            && !self.roster.knows(name)
        {
            return Err(Refused::Issuer(name.clone()));
        }
        if !self.ledger.frozen().of(&target).is_empty() {
            return Ok(Done::Already);
        }
        let what = kind::Frozen {
            revokes: 0,
            scope: target.scope(),
        };
        let entry = self.upon(what.into(), &target, &act);
        let title = "Evidence is frozen: nothing is granted on it";
        let mut writes = self.sounded(title, &target, &act);
        if target == Target::All {
            // Whoever is signed in shows again who they are (IDENTITY.md §6).
            writes.push(ends_sessions(None));
        }
        let seq = self.ledger.record(entry, None, writes).await?.seq();
        tracing::warn!(?target, uid = act.uid, seq, "frozen");
        Ok(Done::Recorded(seq))
    }

    /// Lifts every freeze of exactly `target`; what another freeze covers stays frozen.
    ///
    /// # Errors
    /// [`Refused::Record`].
    pub async fn unfreeze(&self, target: Target, act: Act) -> Result<Done, Refused> {
        let mut done = Done::Already;
        for of in self.ledger.frozen().of(&target) {
            let what = kind::Unfrozen {
                of,
                scope: target.scope(),
            };
            let entry = self.upon(what.into(), &target, &act);
            let alarm = self.sounded("Evidence counts again", &target, &act);
            let seq = self.ledger.record(entry, None, alarm).await?.seq();
            tracing::warn!(?target, uid = act.uid, seq, "unfrozen");
            done = Done::Recorded(seq);
        }
        Ok(done)
    }

    /// Shuts an identity out, of a workload or of a person: nothing is granted to it from the next entry on, its sessions
    /// end, and its yes counts no more. Grants that were made live to their end.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn disable(&self, id: &str, act: Act) -> Result<Done, Refused> {
        if self.ledger.disables(id) {
            return Ok(Done::Already);
        }
        self.known(id).await?;
        let what = kind::CallerDisabled { revokes: 0 };
        let title = "An identity is disabled: nothing is granted to it";
        let mut writes = self.told_of(id, title, &act);
        writes.push(ends_sessions(Some(id)));
        let entry = self.about(what.into(), ("caller", id), &act);
        let seq = self.ledger.record(entry, None, writes).await?.seq();
        tracing::warn!(caller.subject = id, uid = act.uid, seq, "disabled");
        Ok(Done::Recorded(seq))
    }

    /// Lets an identity in again.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn enable(&self, id: &str, act: Act) -> Result<Done, Refused> {
        let mut done = Done::Already;
        for of in self.ledger.frozen().disabled_by(id) {
            let what = Admin {
                n: None,
                of: Some(of),
                op: AdminOp::CallerEnabled,
            };
            // Whom: the entry that it undoes says so, and goes with that person's other entries when it is erased.
            let entry = self.act(what.into(), &act);
            let alarm = self.told_of(id, "An identity is enabled again", &act);
            let seq = self.ledger.record(entry, None, alarm).await?.seq();
            tracing::warn!(caller.subject = id, uid = act.uid, seq, "enabled");
            done = Done::Recorded(seq);
        }
        Ok(done)
    }

    /// Whether somebody of this id ever asked or signed in: a slip of the pen shuts nobody out unseen.
    async fn known(&self, id: &str) -> Result<(), Refused> {
        let callers = self.store.callers_of(&[id.to_owned()]).await?;
        if callers.is_empty() && self.store.person(id).await?.is_none() {
            return Err(Refused::Nobody(id.to_owned()));
        }
        Ok(())
    }

    /// An entry about what an operator did to an identity, which its body calls `member`.
    pub(crate) fn about(&self, what: What, (member, id): (&str, &str), act: &Act) -> Entry {
        let whose = self.ledger.subject(id);
        let mut entry = self.act(what, act);
        let who = json!({ "id": id, "open": whose.open.to_string() });
        entry.body.what.insert(member.to_owned(), who);
        entry.subj = Some(whose.pseudonym);
        entry
    }

    /// The notices of what an operator did to an identity.
    pub(crate) fn told_of(&self, id: &str, title: &str, act: &Act) -> Vec<Write> {
        let by = format!("local:{}", act.uid);
        let mut lines = vec![("Who", id), ("By", &by)];
        lines.extend(Some(("Why", act.reason.as_str())).filter(|(_, why)| !why.is_empty()));
        self.notifier.alarm("caller", title, &lines)
    }

    /// The notices of a freeze, or of its end.
    fn sounded(&self, title: &str, target: &Target, act: &Act) -> Vec<Write> {
        let whose = match target {
            Target::All => "all issuers".to_owned(),
            Target::Issuer(name) => format!("issuer {name}"),
        };
        let by = format!("local:{}", act.uid);
        let mut lines = vec![("Whose", whose.as_str()), ("By", &by)];
        lines.extend(Some(("Why", act.reason.as_str())).filter(|(_, why)| !why.is_empty()));
        self.notifier.alarm("freeze", title, &lines)
    }

    /// Lets new keys of an issuer count again, after too many changes.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn accept_keys(&self, issuer: &str, act: Act) -> Result<Done, Refused> {
        let health = self.roster.health(self.clock.now());
        let Some(found) = health.into_iter().find(|it| it.issuer == issuer) else {
            return Err(Refused::Issuer(issuer.to_owned()));
        };
        if !found.halted {
            return Ok(Done::Already);
        }
        let back = Admin {
            n: None,
            of: None,
            op: AdminOp::IssuerBack,
        };
        let target = Target::Issuer(issuer.to_owned());
        let entry = self.upon(back.into(), &target, &act);
        let seq = self.ledger.record(entry, None, Vec::new()).await?.seq();
        if self.roster.accept(issuer, self.clock.now()) != Some(true) {
            tracing::debug!(issuer, "another operator was faster");
        }
        Ok(Done::Recorded(seq))
    }

    /// An entry about what an operator did to the evidence of `target`.
    fn upon(&self, what: What, target: &Target, act: &Act) -> Entry {
        let mut entry = self.act(what, act);
        if let Target::Issuer(name) = target {
            entry.body.what.insert("target".to_owned(), json!(name));
        }
        entry
    }

    /// An entry about what an operator did.
    fn act(&self, what: What, act: &Act) -> Entry {
        let id = format!("local:{}", act.uid);
        let actor = self.ledger.subject(&id);
        let mut body = Map::new();
        let who = json!({ "id": id, "open": actor.open.to_string() });
        body.insert("actor".to_owned(), who);
        body.insert("reason".to_owned(), json!(act.reason));
        Entry {
            by: Some(actor.pseudonym),
            ..ledger::note(what, None, body)
        }
    }
}

/// The sessions of a person end, or everybody's.
fn ends_sessions(person: Option<&str>) -> Write {
    let all = sessions::Change::EndAll(person.map(str::to_owned));
    Write::People(people::Change::Session(all))
}
