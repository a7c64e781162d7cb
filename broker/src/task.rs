//! Which unit of work an ask belongs to.
//!
//! A task from evidence needs no opening: its id is made of its name under a secret of the log, so
//! two replicas that meet it first agree, and the id tells nothing of the name (DESIGN.md §11).

use ring::hmac;
use stint_policy::{History, Task, TaskId, TaskSource, Timestamp};

use crate::authenticate::Caller;
use crate::issue::Fault;
use crate::store::{Error, Store, TaskRow};

/// Finds the task of an ask.
#[derive(Debug)]
pub struct Tasks {
    key: hmac::Key,
    prefix: String,
}

/// A task that is open, with its past.
#[derive(Debug)]
pub struct Open {
    /// What policy reads.
    pub task: Task,
    /// What was granted and refused in it so far.
    pub history: History,
    /// Version of that history.
    pub outcomes: i64,
}

impl Tasks {
    /// `key`: a secret of the log, the same on all replicas.
    #[must_use]
    pub fn new(key: &[u8; 32], log: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self {
            key,
            prefix: format!("stint/task/v1\n{log}\n"),
        }
    }

    /// The id of the task called `name`: the first 128 bits of HMAC(K, "stint/task/v1\n" ‖ log ‖
    /// "\n" ‖ name).
    #[must_use]
    pub fn id(&self, name: &str) -> TaskId {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(self.prefix.as_bytes());
        context.update(name.as_bytes());
        let mut id = [0; 16];
        for (byte, hashed) in id.iter_mut().zip(context.sign().as_ref()) {
            *byte = *hashed;
        }
        TaskId::from_bytes(id)
    }

    /// The task the evidence speaks for, as `named` by the ask or not named at all. `people`: whether anybody can sign
    /// in; then whoever started it may be a known person.
    ///
    /// # Errors
    /// Outer: the store. Inner: [`Fault::TaskRequired`] where the evidence names no task;
    /// [`Fault::Field`] where the ask names another one.
    pub async fn of(
        &self,
        caller: &Caller,
        named: Option<&str>,
        (store, people): (&Store, bool),
        now: Timestamp,
    ) -> Result<Result<Open, Fault>, Error> {
        let Some(evidence) = caller.task() else {
            return Ok(Err(Fault::TaskRequired));
        };
        let id = self.id(&evidence.name);
        if named.is_some_and(|named| named != evidence.name && named != id.to_string()) {
            let text = "is not the task of the evidence; leave it out";
            return Ok(Err(Fault::Field {
                name: "task",
                text: text.to_owned(),
            }));
        }
        let found = store.task(&id.to_string(), now.as_millis()).await?;
        let opened = found
            .as_ref()
            .map_or(now, |found| Timestamp::from_millis(found.opened));
        let deadline = match &found {
            Some(found) => found.deadline.map(Timestamp::from_millis),
            None => evidence.life.map(|life| now.plus(life)),
        };
        // An account becomes a person by the links of people's logins (IDENTITY.md §6).
        let initiator = match &evidence.initiator {
            Some(account) if people => store.person_of(&caller.principal().issuer, account).await?,
            Some(_) | None => None,
        };
        let task = Task {
            id,
            name: evidence.name.clone(),
            source: TaskSource::Evidence,
            depth: 0,
            opened,
            deadline,
            parent: None,
            initiator,
        };
        let (history, outcomes) =
            found.map_or_else(Default::default, |found| (found.history, found.outcomes));
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Ok(Err(Fault::TaskOver));
        }
        Ok(Ok(Open {
            task,
            history,
            outcomes,
        }))
    }
}

impl Open {
    /// `task_…`.
    #[must_use]
    pub fn id(&self) -> String {
        self.task.id.to_string()
    }

    /// The row that takes it in, if nobody has.
    #[must_use]
    pub fn row(&self, caller: &Caller) -> TaskRow {
        let principal = caller.principal();
        TaskRow {
            id: self.id(),
            name: self.task.name.clone(),
            source: self.task.source.as_str(),
            opened: self.task.opened.as_millis(),
            deadline: self.task.deadline.map(Timestamp::as_millis),
            initiator: caller.task().and_then(|task| task.initiator.clone()),
            caller: (
                principal.id.to_string(),
                principal.kind.as_str(),
                principal.issuer.clone(),
            ),
        }
    }
}
