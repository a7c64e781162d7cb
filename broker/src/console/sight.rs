//! Who sees what: auditors and operators everything, others what is theirs: what they may decide, what they started, what
//! software of their groups did. What is not theirs reads as if it were not there.

use std::collections::BTreeSet;

use crate::approve::Eligible;
use crate::people::Visitor;
use crate::serve::App;
use crate::store::lists::TaskLine;
use crate::store::{self, RequestRow};

/// What one reader sees.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    app: &'a App,
    visitor: &'a Visitor,
    /// SPIFFE IDs of callers that groups of the reader own.
    owned: BTreeSet<String>,
    /// Accounts at issuers of evidence that are the reader's.
    accounts: BTreeSet<(String, String)>,
}

impl<'a> Sight<'a> {
    /// Of `visitor`.
    ///
    /// # Errors
    /// [`store::Error`].
    pub(crate) async fn of(app: &'a App, visitor: &'a Visitor) -> Result<Self, store::Error> {
        let policy = app.broker.policies.in_force();
        let owned = policy.owned_by(&visitor.groups);
        let accounts = app.broker.store.accounts_of(visitor.id.as_str()).await?;
        Ok(Sight {
            app,
            visitor,
            owned: owned.into_iter().collect(),
            accounts: accounts.into_iter().collect(),
        })
    }

    /// Whether the reader sees everything.
    pub(crate) fn is_whole(&self) -> bool {
        self.visitor.reads_all()
    }

    /// How much the reader sees.
    pub(crate) fn reads(&self) -> Reads {
        Reads::of(self.visitor)
    }

    /// Callers of the reader's groups.
    pub(crate) fn owned(&self) -> Vec<String> {
        self.owned.iter().cloned().collect()
    }

    /// The same as the ledger names them.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let ledger = &self.app.broker.ledger;
        let named = self.owned.iter().map(|id| ledger.subject(id).pseudonym);
        named.map(|pseudonym| pseudonym.to_string()).collect()
    }

    /// Whether the reader sees what this caller does.
    pub(crate) fn caller(&self, id: &str) -> bool {
        self.is_whole() || self.owned.contains(id)
    }

    /// Whether the reader sees this task, as one who started it or whatever is in it.
    pub(crate) fn started(&self, task: &TaskLine) -> bool {
        let issuer = task.name.split_once(':').map(|(issuer, _)| issuer);
        let account = issuer.zip(task.initiator.as_deref());
        let is_mine = |(issuer, account): (&str, &str)| {
            let key = (issuer.to_owned(), account.to_owned());
            self.accounts.contains(&key)
        };
        self.is_whole() || account.is_some_and(is_mine)
    }

    /// Whether the reader may see a request: also who may decide it, and who may not because it is theirs.
    pub(crate) fn request(&self, row: &RequestRow) -> bool {
        self.app.broker.concerns(row, self.visitor)
    }

    /// Whether it waits for the reader.
    pub(crate) fn waits_for_me(&self, row: &RequestRow) -> bool {
        matches!(
            self.app.broker.eligible(row, self.visitor),
            Eligible::Yes(_)
        )
    }

    /// Whether the reader may see what happened in task `id` under `caller`.
    ///
    /// # Errors
    /// [`store::Error`].
    pub(crate) async fn within(&self, caller: &str, task: &str) -> Result<bool, store::Error> {
        if self.caller(caller) {
            return Ok(true);
        }
        let task = self.app.broker.store.task_line(task).await?;
        Ok(task.is_some_and(|task| self.started(&task)))
    }
}

/// How much of the whole a reader has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// What is theirs.
    Own,
    /// Everything.
    Whole,
}

impl Reads {
    /// Of `visitor`.
    pub(crate) fn of(visitor: &Visitor) -> Reads {
        match visitor.reads_all() {
            true => Reads::Whole,
            false => Reads::Own,
        }
    }
}
