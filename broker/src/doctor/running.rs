//! A running broker, over its operator socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;
use thiserror::Error;

use super::Finding;
use crate::authenticate::crypto;

/// No answer.
#[derive(Debug, Error)]
#[error("no broker answers at `{socket}`: {why}")]
pub struct Unreached {
    /// The socket.
    pub socket: PathBuf,
    /// What went wrong.
    pub why: String,
}

/// One request on the socket: the status, and the JSON that came back.
///
/// # Errors
/// [`Unreached`].
pub async fn ask(
    socket: &Path,
    path: &str,
    body: Option<&Value>,
) -> Result<(u16, Value), Unreached> {
    crypto::ensure_tls();
    let sent = async {
        let client = Client::builder()
            .unix_socket(socket)
            .timeout(PATIENCE)
            .build()?;
        let url = format!("http://localhost{path}");
        let request = match body {
            None => client.request(Method::GET, url),
            Some(body) => client.post(url).json(body),
        };
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.json().await?))
    };
    sent.await.map_err(|error| Unreached {
        socket: socket.to_owned(),
        why: cause(&error),
    })
}

/// The same for a command that takes as long as the ledger is large.
///
/// # Errors
/// [`Unreached`].
pub async fn ask_patiently(
    socket: &Path,
    path: &str,
    body: &Value,
) -> Result<(u16, Value), Unreached> {
    crypto::ensure_tls();
    let sent = async {
        let client = Client::builder().unix_socket(socket).build()?;
        let answer = client
            .post(format!("http://localhost{path}"))
            .json(body)
            .send()
            .await?;
        let status = answer.status().as_u16();
        Ok::<_, reqwest::Error>((status, answer.json().await?))
    };
    sent.await.map_err(|error| Unreached {
        socket: socket.to_owned(),
        why: cause(&error),
    })
}

/// The innermost cause: what the system said.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// What the broker says of itself.
pub(super) async fn checks(socket: &Path) -> Vec<Finding> {
    let checks = match ask(socket, "/readyz?verbose", None).await {
        Ok((_, checks)) => checks,
        Err(error) => {
            let fix = "run this as the broker's user; [ops] socket says where it is";
            return vec![Finding::warning("broker", error.to_string(), fix)];
        }
    };
    let text = |check: &Value, name: &str| {
        let text = check.get(name).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let finding = |check: &Value| {
        let (name, detail) = (text(check, "check"), text(check, "detail"));
        let code = text(check, "code");
        let is = |member: &str| check.get(member) == Some(&Value::Bool(true));
        let fix = fix(&code);
        match (is("ok"), is("fatal")) {
            (true, _) => Finding::ok(&name, format!("running: {detail}")),
            (false, true) => Finding::failed(&name, format!("running: {code}: {detail}"), fix),
            (false, false) => Finding::warning(&name, format!("running: {code}: {detail}"), fix),
        }
    };
    checks
        .as_array()
        .into_iter()
        .flatten()
        .map(finding)
        .collect()
}

fn fix(code: &str) -> &'static str {
    match code {
        "frozen" | "issuer_frozen" => "stintd unfreeze --issuer NAME, or --all, when it is over",
        "issuer_changing" => "look at the issuer, then: stintd issuer accept NAME",
        "issuer_stale" | "issuer_unavailable" => "stintd issuer test NAME",
        "ledger_diverged" => "an operator must act: keep the store and the pin as they are",
        "ledger_unwritable" => "make room on the store's disk",
        "notices_fail" => "mend what it says, then: stintd notify test NAME",
        "policy_refused" => "stint policy check DIR",
        _ => "see the broker's log",
    }
}

/// A broker answers its operator at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(10);
