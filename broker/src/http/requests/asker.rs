//! Whoever asked, coming back: with evidence of the same task, or with the key that asked, whose token may be over by
//! now.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use stint_audit::Digest;
use stint_policy::SpiffeId;

use super::find;
use crate::authenticate::dpop;
use crate::clock::Stopwatch;
use crate::http::extract::{Bearer, certified, proof_for};
use crate::http::grants::evenly;
use crate::http::problem::{Failure, not_found};
use crate::issue::{Error, Presented};
use crate::serve::App;
use crate::store::RequestRow;
use crate::telemetry::trail;

/// How they show it.
#[derive(Debug)]
pub(super) enum Asker {
    /// Any evidence, spent or not.
    Evidence(Box<Presented>),
    /// A proof of a key, and nothing else.
    Key([u8; 32]),
}

impl FromRequestParts<Arc<App>> for Asker {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let shows_evidence =
            parts.headers.contains_key(AUTHORIZATION) || certified(&parts.extensions);
        if shows_evidence || !parts.headers.contains_key("dpop") {
            let Bearer(presented) = Bearer::from_request_parts(parts, app).await?;
            return Ok(Self::Evidence(Box::new(presented)));
        }
        let url = format!("{}{}", app.broker.terms.url, parts.uri.path());
        let request = dpop::Request {
            method: parts.method.as_str(),
            url: &url,
            token: None,
        };
        let proof = proof_for(&parts.headers, &request, app.broker.clock.now());
        match proof {
            Ok(Some(checked)) => Ok(Self::Key(checked.proof.thumbprint)),
            Ok(None) | Err(dpop::InvalidProof) => Err(Failure::dpop()),
        }
    }
}

impl Asker {
    /// The request `id`, if it is theirs.
    ///
    /// # Errors
    /// The 404 of any unknown id, too many looks, or why the evidence does not hold.
    pub(super) async fn own(
        self,
        app: &Arc<App>,
        id: &str,
        watch: Stopwatch,
    ) -> Result<RequestRow, Failure> {
        let broker = &app.broker;
        let now = broker.clock.now();
        match self {
            Self::Evidence(presented) => {
                let judging = broker.roster.authenticate(&presented.evidence, now);
                let caller = trail::authenticating(judging).await;
                let caller = evenly(watch, caller.map_err(Error::from)).await?;
                let principal = caller.principal();
                let admitted = broker.limits.dry_run(&principal.id, now);
                admitted.map_err(Error::from)?;
                let row = find(app, id).await?;
                let task = caller
                    .task()
                    .map(|task| broker.tasks.id(&task.name).to_string());
                let own = row.caller == principal.id.as_str() && task.as_ref() == Some(&row.task);
                match own {
                    true => Ok(row),
                    false => Err(not_found().await),
                }
            }
            Self::Key(thumbprint) => {
                let key = Digest::from_bytes(thumbprint).to_string();
                let row = find(app, id).await?;
                let asked = broker.store.asked_by_key(&row.id, &key).await;
                if !asked.map_err(super::unreadable)? {
                    return Err(not_found().await);
                }
                let Ok(caller) = SpiffeId::parse(&row.caller) else {
                    return Err(not_found().await);
                };
                let admitted = broker.limits.dry_run(&caller, now);
                admitted.map_err(Error::from)?;
                Ok(row)
            }
        }
    }
}
