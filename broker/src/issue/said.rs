//! What people said to this very ask, as far as it still counts.

use stint_policy::{Limits, SpiffeId, Timestamp, Vote};

use super::ask::Asked;
use super::entry::Facts;
use super::stop::{Error, Stop, unreadable};
use super::{Broker, Case};
use crate::approve::{Before, as_cast};
use crate::ledger::Whose;
use crate::store::requests::State;
use crate::store::votes::Judged;
use crate::store::{RequestRow, VoteRow, Write};

/// The request of an ask, and its votes: nothing, if it was never parked or that is over.
#[derive(Debug, Default)]
pub(super) struct Said {
    request: Option<RequestRow>,
    rows: Vec<VoteRow>,
    pub(super) votes: Vec<Vote>,
}

impl Said {
    /// The request that stands, whatever was said to it; not one that was refused.
    pub(super) fn request(&self) -> Option<&RequestRow> {
        let stands = |row: &&RequestRow| row.standing.state != State::Denied;
        self.request.as_ref().filter(stands)
    }

    /// The one that was refused, and the no.
    pub(super) fn refusal(&self) -> Option<(&RequestRow, &VoteRow)> {
        let refused = self.request.as_ref()?;
        let no = self.rows.iter().find(|vote| !vote.yes)?;
        Some((refused, no))
    }

    /// How many said yes.
    pub(super) fn yes(&self) -> u64 {
        self.rows.iter().map(|vote| u64::from(vote.yes)).sum()
    }

    /// The guard of a grant that rests on these votes: no other came meanwhile, and a single use is used up.
    pub(super) fn guard(&self, limits: &Limits) -> Option<Write> {
        let row = self.request().filter(|_| !self.rows.is_empty())?;
        Some(Write::VotesAre(Judged {
            request: row.id.clone(),
            votes: row.standing.votes,
            spends: limits.single_use(),
        }))
    }
}

impl Broker {
    /// What people said to this ask.
    pub(super) async fn said(&self, asked: &Asked, now: Timestamp) -> Result<Said, Stop> {
        let cooled = now.as_millis() - i64::from(self.terms.deny_cooldown.as_u32()) * 1_000;
        let digest = asked.digest_text();
        let found = self
            .store
            .standing_request(&digest, now.as_millis(), cooled);
        let Some(request) = found.await.map_err(unreadable)? else {
            return Ok(Said::default());
        };
        let rows = self.votes_that_count(&request.id).await;
        let rows = rows.map_err(unreadable)?;
        Ok(Said {
            votes: rows.iter().filter_map(as_cast).collect(),
            request: Some(request),
            rows,
        })
    }

    /// Where in the ledger the votes of a grant are.
    pub(super) async fn vote_seqs(&self, facts: &Facts<'_>) -> Result<Vec<u64>, Stop> {
        let mut seqs = Vec::new();
        for vote in &facts.said.rows {
            let found = self.ledger.find(&vote.id, Whose::Any).await;
            let unproven = |error| {
                tracing::error!(%error, "a vote cannot be proven");
                Stop::Error(Error::Unavailable(crate::ledger::Error::Unwritable))
            };
            seqs.extend(found.map_err(unproven)?.map(|found| found.header.seq));
        }
        // A row without its entry counts nothing (LEDGER.md §8).
        if seqs.len() != facts.said.rows.len() {
            tracing::error!("a vote has no entry");
            return Err(Stop::Error(Error::Unavailable(
                crate::ledger::Error::Unwritable,
            )));
        }
        Ok(seqs)
    }

    /// What this caller asked people for lately; an error if too much of it still waits.
    pub(super) async fn asked_before(&self, case: &Case<'_>) -> Result<Before, Stop> {
        let caller: &SpiffeId = &case.caller.principal().id;
        let now = case.now.as_millis();
        let asked = self
            .store
            .asked_before(caller.as_str(), (now - MONTH_MS, now));
        let (asks, open) = asked.await.map_err(unreadable)?;
        if open >= self.terms.open_per_caller {
            return Err(Stop::Error(Error::TooManyOpen(open)));
        }
        Ok(Before::of(&asks))
    }
}

/// UX.md §7: what is unusual is so in 30 days.
const MONTH_MS: i64 = 30 * 86_400_000;
