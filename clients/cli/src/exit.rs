//! The closed list of exit codes, and how failures map to it (UX.md §1.1). `stint run` adds its command's own.

use std::process::ExitCode;

use signal_hook::consts::{SIGINT, SIGTERM};
use stint_client::Error;
use stint_wire::{Code, Problem};

use crate::supervise::Ended;

macro_rules! exits {
    ($($variant:ident $code:literal $doc:literal)+) => {
        /// How a verb ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Exit {
            $(#[doc = $doc] $variant = $code,)+
        }

        impl Exit {
            /// `stint help exit-codes`.
            pub(crate) const HELP: &'static str = concat!($($code, "\t", $doc, "\n",)+);
        }
    };
}

exits! {
    Ok 0 "done"
    Bug 1 "unexpected: a bug"
    Usage 2 "usage or config"
    Denied 3 "denied by policy, also frozen or disabled: final"
    Unauthenticated 4 "not authenticated"
    Pending 5 "pending: people have to answer first"
    Ended 6 "denied by a human, or the request ended unanswered"
    Unreachable 7 "unreachable or overloaded: retry later"
    Failed 8 "verification failed"
    Incomplete 9 "verification incomplete"
    RunFailed 125 "`run` itself failed"
    NotExecutable 126 "`run`: the command cannot be executed"
    NotFound 127 "`run`: no such command"
    Interrupted 130 "interrupted: ended by the signal itself"
    Terminated 143 "told to end while people were asked: the request is taken back"
}

impl Exit {
    /// The exit code of a problem, by its code first and its status else.
    pub(crate) const fn of_problem(problem: &Problem) -> Self {
        match (problem.code, problem.status) {
            (Code::EvidenceRejected, _) | (_, 401) => Self::Unauthenticated,
            (Code::DeniedByHuman | Code::RequestExpired, _) => Self::Ended,
            (_, 400 | 404 | 409 | 413 | 415 | 421) => Self::Usage,
            (_, 403) => Self::Denied,
            (_, 429 | 503) => Self::Unreachable,
            _ => Self::Bug,
        }
    }

    /// The exit code of a failed call.
    pub(crate) fn of_error(error: &Error) -> Self {
        match error {
            Error::Denied(problem) | Error::Problem(problem) | Error::Rejected { problem, .. } => {
                Self::of_problem(problem)
            }
            Error::Endpoint { .. } | Error::Fingerprint { .. } => Self::Usage,
            Error::Source(_) => Self::Unauthenticated,
            Error::Unreachable(_) => Self::Unreachable,
            Error::Unexpected {
                status: 429 | 502..=504,
            } => Self::Unreachable,
            _ => Self::Bug,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            // As whoever is killed by them: a shell then stops its script as well.
            Exit::Interrupted => Ended::Signal(SIGINT).leave(),
            Exit::Terminated => Ended::Signal(SIGTERM).leave(),
            _ => Self::from(exit as u8),
        }
    }
}

#[cfg(test)]
mod tests {
    use stint_wire::{Code, Problem};

    use super::Exit;

    #[test]
    fn every_code_ends_as_documented() {
        for code in Code::ALL {
            let expected = match code.status() {
                400 if *code == Code::EvidenceRejected => Exit::Unauthenticated,
                403 if *code == Code::DeniedByHuman => Exit::Ended,
                410 if *code == Code::RequestExpired => Exit::Ended,
                400 | 404 | 409 | 413 | 415 | 421 => Exit::Usage,
                401 => Exit::Unauthenticated,
                403 => Exit::Denied,
                429 | 503 => Exit::Unreachable,
                _ => Exit::Bug,
            };
            assert_eq!(
                Exit::of_problem(&Problem::new(*code, "")),
                expected,
                "{code:?}"
            );
        }
    }
}
