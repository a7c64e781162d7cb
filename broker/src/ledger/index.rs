//! What an entry is found by. The row repeats the header; nothing rests on it.

use stint_audit::entry::Header;
use stint_audit::{Digest, What};

use crate::store::derived::IndexRow;

/// The row of the entry with this header.
pub(super) fn row(header: &Header) -> IndexRow {
    let text = |digest: &Option<Digest>| digest.as_ref().map(ToString::to_string);
    let Named {
        task,
        request,
        grant,
        tbs,
    } = Named::of(&header.what);
    IndexRow {
        seq: header.seq,
        ts: header.ts,
        kind: header.what.kind().to_owned(),
        id: header.id.clone(),
        subj: text(&header.subj),
        actor: text(&header.by),
        behalf: text(&header.behalf),
        task_id: task.cloned(),
        request_id: request.cloned(),
        grant_id: grant.cloned(),
        tbs: text(&tbs),
    }
}

/// What the facts of a kind name.
#[derive(Default)]
struct Named<'a> {
    task: Option<&'a String>,
    request: Option<&'a String>,
    grant: Option<&'a String>,
    tbs: Option<Digest>,
}

impl<'a> Named<'a> {
    fn of(what: &'a What) -> Self {
        let none = Self::default();
        match what {
            What::Granted(it) => Self {
                task: Some(&it.task),
                request: it.request.as_ref(),
                tbs: Some(it.tbs),
                ..none
            },
            What::Denied(it) => Self {
                task: it.task.as_ref(),
                request: it.request.as_ref(),
                ..none
            },
            What::Requested(it) => Self {
                task: Some(&it.task),
                ..none
            },
            What::Voted(it) => Self {
                request: Some(&it.request),
                ..none
            },
            What::RequestClosed(it) => Self {
                request: Some(&it.request),
                ..none
            },
            What::TaskOpened(it) => Self {
                task: Some(&it.task),
                ..none
            },
            What::TaskClosed(it) => Self {
                task: Some(&it.task),
                ..none
            },
            What::Revoked(it) => Self {
                grant: Some(&it.grant),
                ..none
            },
            What::SignFailed(it) => Self {
                grant: Some(&it.grant),
                ..none
            },
            _ => none,
        }
    }
}
