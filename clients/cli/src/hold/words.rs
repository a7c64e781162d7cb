//! What is said of a request that people are asked about.

use stint_wire::{Held, RequestState, RequestView, VoteView};

use crate::exit::Exit;
use crate::output::Failure;
use crate::words::{Lines, clock_of, moment_of, need_words, span};

/// Who must approve, which request it is, the digits, and where.
pub(crate) fn opening(held: &Held) -> Lines {
    let mut lines: Lines = held
        .needs
        .iter()
        .map(|need| {
            let text = format!(
                "{} (policy {}, decision {})",
                need_words(need),
                need.policy,
                held.decision
            );
            ("hold", text)
        })
        .collect();
    lines.push((
        "request",
        format!(
            "{}, open until {}",
            held.request,
            moment_of(&held.expires_at)
        ),
    ));
    lines.extend(held.match_code.as_deref().map(code));
    lines.push(("approve", held.approve_url.clone()));
    lines
}

fn code(digits: &str) -> (&'static str, String) {
    let spaced = digits.chars().map(String::from).collect::<Vec<_>>();
    let spaced = spaced.join(" ");
    ("code", format!("{spaced}   the approver will ask for it"))
}

/// A hold, as a failure: the command cannot start before people have answered.
pub(super) fn held(held: &Held) -> Failure {
    let failure = Failure {
        exit: Exit::Pending,
        lines: opening(held),
    };
    failure.next("once it is approved, the same line again with a fresh token of the same run")
}

/// The wait is over, and the request is not.
pub(super) fn undecided(held: &Held) -> Failure {
    let until = moment_of(&held.expires_at);
    let text = format!(
        "nobody has decided yet; {} stays open until {until}",
        held.request
    );
    Failure {
        exit: Exit::Pending,
        lines: vec![("hold", text)],
    }
    .next(format!(
        "stint wait {}, or the same line again",
        held.request
    ))
}

/// Somebody left.
pub(super) fn detached(held: &Held) -> Failure {
    let until = moment_of(&held.expires_at);
    Failure {
        exit: Exit::Interrupted,
        lines: vec![(
            "detached",
            format!("{} stays open until {until}", held.request),
        )],
    }
    .next(format!(
        "stint wait {}, or the same line again",
        held.request
    ))
}

/// The job is being killed, and nobody waits for its answer.
pub(super) fn taken_back(held: &Held) -> Failure {
    let text = format!("{}: this run was told to end", held.request);
    terminated(("cancelled", text))
}

/// The same, but the broker does not hear of it.
pub(super) fn left_behind(held: &Held) -> Failure {
    let id = &held.request;
    let text = format!("{id} could not be taken back; it ends by itself");
    terminated(("warning", text))
}

fn terminated(line: (&'static str, String)) -> Failure {
    Failure {
        exit: Exit::Terminated,
        lines: vec![line],
    }
}

/// `by Dana Ortiz with a passkey at 14:36:10 UTC, shortened to 15 min`.
pub(crate) fn approved(view: &RequestView, asked_s: Option<u32>) -> String {
    let yes: Vec<&VoteView> = view.votes.iter().filter(|vote| vote.yes).collect();
    let names: Vec<&str> = yes.iter().map(|vote| vote.by.as_str()).collect();
    let by = match names.as_slice() {
        [] => "by policy".to_owned(),
        names => format!("by {} with a passkey", names.join(" and ")),
    };
    let at = yes.last().map(|vote| clock_of(&vote.at));
    let at = at.map_or(String::new(), |at| format!(" at {at}"));
    let lasts = yes.iter().filter_map(|vote| vote.lasts_s).min();
    let shortened = match (lasts, asked_s) {
        (Some(lasts), Some(asked)) if lasts < asked => {
            format!(", shortened to {}", span(lasts.into()))
        }
        (_, _) => String::new(),
    };
    format!("{by}{at}{shortened}")
}

/// A request that came to nothing, with whose doing it was.
pub(crate) fn ended(view: &RequestView) -> Failure {
    let request = &view.request;
    let (line, next) = match view.state {
        RequestState::Denied => {
            let by = view.refused.as_ref().map_or_else(
                || "by people".to_owned(),
                |no| match &no.reason {
                    Some(reason) => format!("by {}: {reason}", no.by),
                    None => format!("by {}", no.by),
                },
            );
            (
                ("denied", format!("{by} ({request})")),
                "talk to them; the same line is answered the same way for a while",
            )
        }
        RequestState::Cancelled => (
            ("cancelled", format!("{request} was taken back")),
            "the same line again opens a new request",
        ),
        RequestState::Approved | RequestState::Expired | RequestState::Pending => (
            (
                "expired",
                format!("{request} ended, and nobody had decided it"),
            ),
            "the same line again opens a new request; tell somebody who can decide it",
        ),
    };
    Failure {
        exit: Exit::Ended,
        lines: vec![line],
    }
    .next(next)
}

/// A request that is open still, for whoever only looks.
pub(crate) fn open(view: &RequestView) -> Failure {
    let until = moment_of(&view.expires_at);
    Failure {
        exit: Exit::Pending,
        lines: vec![("hold", format!("{} is open until {until}", view.request))],
    }
    .next(format!("stint wait {}", view.request))
}

/// How a verb ends that looked at a request in this state.
pub(crate) const fn state_exit(state: RequestState) -> Exit {
    match state {
        RequestState::Approved => Exit::Ok,
        RequestState::Cancelled | RequestState::Denied | RequestState::Expired => Exit::Ended,
        RequestState::Pending => Exit::Pending,
    }
}

/// All there is to say of a request.
pub(crate) fn request_lines(view: &RequestView) -> Lines {
    let until = match view.state {
        RequestState::Pending => format!("open until {}", moment_of(&view.expires_at)),
        RequestState::Approved => match &view.until {
            Some(until) => format!("approved until {}", moment_of(until)),
            None => "approved".to_owned(),
        },
        RequestState::Cancelled => "taken back".to_owned(),
        RequestState::Denied => "denied".to_owned(),
        RequestState::Expired => "expired".to_owned(),
    };
    let mut lines: Lines = vec![
        ("request", format!("{}, {until}", view.request)),
        (
            "asks",
            format!(
                "{} {}",
                plain_action(&view.action),
                view.resources.join(", ")
            ),
        ),
        ("caller", view.caller.clone()),
    ];
    lines.extend(view.reason.iter().map(|reason| ("reason", reason.clone())));
    lines.extend(view.needs.iter().map(|need| {
        let text = format!("{} (policy {})", need_words(need), need.policy);
        ("needs", text)
    }));
    lines.extend(view.match_code.as_deref().map(code));
    lines.extend(view.seen_by.iter().map(seen));
    lines.extend(view.votes.iter().map(vote));
    if let Some(reason) = view.refused.as_ref().and_then(|no| no.reason.as_ref()) {
        lines.push(("reason", reason.clone()));
    }
    match (view.can_decide, &view.cannot_because) {
        (Some(true), _) => lines.push(("you", "can decide it".to_owned())),
        (_, Some(why)) => lines.push(("you", format!("cannot decide it: {why}"))),
        (_, None) => {}
    }
    if view.state == RequestState::Pending {
        lines.push(("approve", view.approve_url.clone()));
    }
    lines
}

/// `Action::"deploy"` as people say it.
pub(crate) fn plain_action(action: &str) -> &str {
    let name = action.strip_prefix("Action::\"");
    name.and_then(|name| name.strip_suffix('"'))
        .unwrap_or(action)
}

fn seen(seen: &stint_wire::SeenView) -> (&'static str, String) {
    (
        "seen",
        format!("by {} at {}", seen.name, clock_of(&seen.at)),
    )
}

fn vote(vote: &VoteView) -> (&'static str, String) {
    let said = if vote.yes { "yes" } else { "no" };
    let text = format!(
        "{} said {said} at {} ({})",
        vote.by,
        clock_of(&vote.at),
        vote.vote
    );
    ("vote", text)
}

/// What somebody who waits has been told already.
#[derive(Debug, Default)]
pub(crate) struct Told {
    seen: usize,
    votes: usize,
}

impl Told {
    /// Whoever has read `view` already.
    pub(crate) fn seen(view: &RequestView) -> Self {
        Self {
            seen: view.seen_by.len(),
            votes: view.votes.len(),
        }
    }

    /// What is new in `view`, each once. The vote that decides is told of with the decision.
    pub(crate) fn news(&mut self, view: &RequestView) -> Lines {
        let mut lines: Lines = view.seen_by.iter().skip(self.seen).map(seen).collect();
        self.seen = self.seen.max(view.seen_by.len());
        if view.state == RequestState::Pending {
            lines.extend(view.votes.iter().skip(self.votes).map(vote));
            self.votes = self.votes.max(view.votes.len());
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stint_wire::{Held, RequestView};

    use super::{Told, approved, ended, opening, request_lines};
    use crate::exit::Exit;
    use crate::output::line;

    fn text(lines: &[(&'static str, String)]) -> String {
        lines.iter().map(|(word, text)| line(word, text)).collect()
    }

    fn view(state: &str, change: Value) -> RequestView {
        let mut view = json!({
            "request": "req_7k3mw1", "decision": "dec_7k3mw1", "state": state, "action": "Action::\"deploy\"",
            "resources": ["Environment::\"prod/web\""], "caller": "spiffe://a/b", "task": "task_1",
            "opened_at": "2020-01-01T14:34:02Z", "expires_at": "2020-01-01T15:34:02Z", "needs": [],
            "approve_url": "https://s/a/req_7k3mw1", "next_action": {"kind": "wait"},
        });
        for (name, value) in change.as_object().unwrap() {
            view[name] = value.clone();
        }
        serde_json::from_value(view).unwrap()
    }

    #[test]
    fn a_hold_reads_as_documented() {
        let held: Held = serde_json::from_value(json!({
            "outcome": "hold", "request": "req_7k3mw1", "created": true, "decision": "dec_9m2kq7", "state": "pending",
            "expires_at": "soon", "match_code": "471", "approve_url": "http://localhost:8640/a/req_7k3mw1",
            "needs": [{"policy": "prod-needs-sre", "approvers": ["Group::\"sre\""], "quorum": 1, "have": 0}],
            "retry_after_s": 3, "next_action": {"kind": "wait"},
        }))
        .unwrap();
        assert_eq!(
            text(&opening(&held)),
            "hold      1 approval needed from Group::\"sre\" (policy prod-needs-sre, decision dec_9m2kq7)\n\
             request   req_7k3mw1, open until soon\n\
             code      4 7 1   the approver will ask for it\n\
             approve   http://localhost:8640/a/req_7k3mw1\n"
        );
    }

    #[test]
    fn an_approval_says_who_and_how_long() {
        let vote = json!({"votes": [{"vote": "vote_1", "by": "Dana Ortiz", "yes": true, "at": "2020-01-01T14:36:10Z",
            "lasts_s": 900}]});
        let view = view("approved", vote);
        let said = "by Dana Ortiz with a passkey at 14:36:10 UTC";
        assert_eq!(
            approved(&view, Some(1800)),
            format!("{said}, shortened to 15 min")
        );
        assert_eq!(approved(&view, Some(900)), said);
        assert_eq!(approved(&view, None), said);
    }

    #[test]
    fn a_no_is_somebodys_and_has_a_reason() {
        let no = json!({"refused": {"by": "Lee Park", "reason": "not during the freeze"}});
        let failure = ended(&view("denied", no));
        assert_eq!(failure.exit, Exit::Ended);
        assert_eq!(
            text(&failure.lines),
            "denied    by Lee Park: not during the freeze (req_7k3mw1)\n\
             next      talk to them; the same line is answered the same way for a while\n"
        );
        for state in ["expired", "cancelled"] {
            assert_eq!(ended(&view(state, json!({}))).exit, Exit::Ended);
        }
    }

    #[test]
    fn each_thing_that_happens_is_told_once() {
        let mut told = Told::default();
        let dana = json!({"name": "Dana Ortiz", "at": "2020-01-01T14:35:00Z"});
        let one = view("pending", json!({"seen_by": [dana]}));
        assert_eq!(told.news(&one).len(), 1);
        assert_eq!(told.news(&one).len(), 0);
        let vote = json!([{"vote": "vote_1", "by": "Dana Ortiz", "yes": true, "at": "2020-01-01T14:36:10Z"}]);
        let more = view("pending", json!({"seen_by": [dana], "votes": vote}));
        assert_eq!(
            text(&told.news(&more)),
            "vote      Dana Ortiz said yes at 14:36:10 UTC (vote_1)\n"
        );
        assert_eq!(told.news(&more).len(), 0);
        assert!(
            text(&request_lines(&more)).contains("asks      deploy Environment::\"prod/web\"\n")
        );
    }
}
