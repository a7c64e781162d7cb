//! One witness over HTTP: C2SP tlog-witness, as a client (LEDGER.md §10). The operator named it, so any address will do;
//! what it says is believed only where it is signed.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response, StatusCode, Url, redirect};
use stint_audit::cosign::{self, CosignerKey};
use stint_audit::note::{Note, NoteError, Signature, VerifierKey};
use stint_audit::trust::Witness;
use stint_audit::witness::{AddCheckpoint, origin_hash, parse_cosignatures, parse_size};
use stint_audit::{Checkpoint, checkpoint::CheckpointError};
use thiserror::Error;

use crate::authenticate::crypto;
use crate::config::RootsFile;

/// A witness that is asked.
#[derive(Debug)]
pub(super) struct WitnessClient {
    pub(super) name: Arc<str>,
    keys: [CosignerKey; 1],
    base: String,
    http: Client,
}

/// What a witness answered to `add-checkpoint`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// 200, with a true cosignature of its key, at this time in seconds since 1970.
    Cosigned(Signature, u64),
    /// 409: it holds another size.
    Size(u64),
    /// Another status of the protocol.
    Refused(u16),
}

/// What a witness holds of our log, under our own signature.
#[derive(Debug, Clone)]
pub struct Held {
    /// What the policy calls the witness.
    pub witness: Arc<str>,
    /// The head it holds.
    pub checkpoint: Checkpoint,
    /// The note, as it was served.
    pub note: String,
}

/// Why a witness said nothing that counts.
#[derive(Debug, Error)]
pub(super) enum Silent {
    #[error("its answer is no cosignature: {0}")]
    Answer(#[from] NoteError),
    #[error("what it holds is no checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("its answer holds no cosignature of its key")]
    NoKey,
    #[error("its answer is longer than 64 KiB, or not UTF-8")]
    Size,
    #[error("it did not answer in time")]
    Slow,
    #[error("it cannot be reached: {0}")]
    Unreachable(#[source] reqwest::Error),
}

impl From<reqwest::Error> for Silent {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::Slow
        } else {
            Self::Unreachable(error.without_url())
        }
    }
}

impl WitnessClient {
    /// # Errors
    /// The HTTP client's, if the system has no roots.
    pub(super) fn new(
        witness: &Witness,
        url: &Url,
        roots: Option<&RootsFile>,
    ) -> Result<Self, reqwest::Error> {
        crypto::ensure_tls();
        let http = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(WAIT)
            .pool_max_idle_per_host(1)
            .referer(false);
        let http = match (url.scheme(), roots) {
            (_, Some(file)) => http.tls_certs_only(file.roots().to_vec()),
            ("http", None) => http.tls_certs_only([]),
            (_, None) => http,
        };
        Ok(Self {
            name: witness.name.as_str().into(),
            keys: [witness.key.clone()],
            base: url.as_str().trim_end_matches('/').to_owned(),
            http: http.build()?,
        })
    }

    /// `add-checkpoint`.
    pub(super) async fn add(&self, request: &AddCheckpoint) -> Result<Said, Silent> {
        let url = format!("{}/add-checkpoint", self.base);
        let sent = self.http.post(url).body(request.to_string()).send();
        let answer = sent.await?;
        let status = answer.status();
        let body = body(answer).await?;
        match (status, parse_size(&body)) {
            (StatusCode::OK, _) => self.cosigned(request.note.text(), &body),
            (StatusCode::CONFLICT, Some(size)) => Ok(Said::Size(size)),
            (status, _) => Ok(Said::Refused(status.as_u16())),
        }
    }

    /// Its newest cosignature among the lines of an answer.
    fn cosigned(&self, text: &str, body: &str) -> Result<Said, Silent> {
        let lines = parse_cosignatures(body)?;
        let mut newest: Option<(Signature, u64)> = None;
        for line in lines {
            let good = cosign::verify_lines(text, std::slice::from_ref(&line), &self.keys)?;
            let time = good.first().map(|good| good.time);
            if let Some(time) = time
                && newest.as_ref().is_none_or(|(_, known)| *known <= time)
            {
                newest = Some((line, time));
            }
        }
        let (line, time) = newest.ok_or(Silent::NoKey)?;
        Ok(Said::Cosigned(line, time))
    }

    /// The monitoring `checkpoint`: what it holds of the log under the signature of one of `keys`. Nothing, if it holds
    /// nothing or the log did not sign it: then it is only the witness's word.
    pub(super) async fn held(
        &self,
        origin: &str,
        keys: &[VerifierKey],
    ) -> Result<Option<Held>, Silent> {
        let url = format!("{}/{}/checkpoint", self.base, origin_hash(origin));
        let answer = self.http.get(url).send().await?;
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        let text = body(answer).await?;
        let note = Note::parse(&text)?;
        if note.verify(keys)?.is_empty() {
            return Ok(None);
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok((checkpoint.origin == origin).then(|| Held {
            witness: Arc::clone(&self.name),
            checkpoint,
            note: text,
        }))
    }
}

async fn body(mut answer: Response) -> Result<String, Silent> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_BODY {
            return Err(Silent::Size);
        }
    }
    String::from_utf8(bytes).or(Err(Silent::Size))
}

/// LEDGER.md §10.
const WAIT: Duration = Duration::from_secs(1);
/// As our own witness takes.
const MAX_BODY: usize = 64 * 1024;
