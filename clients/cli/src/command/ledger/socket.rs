//! Asking the operator's socket for what has no end and no cap.

use std::path::Path;
use std::time::Duration;

use reqwest::{Response, Url};
use stint_wire::Problem;

use crate::exit::Exit;
use crate::output::Failure;
use crate::settings::Settings;
use crate::words;

/// The answer to a GET of `path`; parameters without a value are left out.
///
/// # Errors
/// Exit 7 if nobody answers; else what the broker says.
pub(super) async fn get(
    socket: &Path,
    path: &str,
    parameters: &[(&str, Option<String>)],
    settings: &Settings,
) -> Result<Response, Failure> {
    let bug = |error: &dyn std::fmt::Display| Failure::new(Exit::Bug, error);
    let mut url = Url::parse("http://localhost").map_err(|error| bug(&error))?;
    url.set_path(path);
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    // The whole may take long; only silence is a fault.
    let http = stint_client::local(Duration::MAX)
        .read_timeout(settings.timeout())
        .unix_socket(socket);
    let http = http.build().map_err(stint_client::Error::Unreachable)?;
    let answer = http.get(url).send().await.map_err(|error| {
        let cause = words::root_cause(&error);
        Failure::new(
            Exit::Unreachable,
            format!("nobody answers at {}{cause}", socket.display()),
        )
        .next("is the broker running, and are you its user or root?")
    })?;
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(refusal(answer).await),
    }
}

async fn refusal(answer: Response) -> Failure {
    let status = answer.status().as_u16();
    let problem = stint_client::body(answer)
        .await
        .ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body).ok());
    problem
        .map_or(stint_client::Error::Unexpected { status }, |problem| {
            stint_client::Error::Problem(Box::new(problem))
        })
        .into()
}
