//! `stint dev-token`: a token of the dev broker's fake issuers, or a shell that looks like such a job.

use std::fs;

use reqwest::Url;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use stint_wire::Token;

use crate::args::{DevToken, Platform};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::{self, Settings};
use crate::workspace::{DEV_TOKEN, write_private};
use crate::{session, words};

/// What the dev broker's runner takes for a request token: it guards nothing.
const DEV_REQUEST_TOKEN: &str = "dev";

#[derive(Deserialize)]
struct Answer {
    token: Token,
}

/// Prints the token, or exports for `eval`.
///
/// # Errors
/// Exit 2 for a claim without `=` or a broker that is not on this machine, 7 if it does not answer.
pub(crate) fn dev_token(
    args: &DevToken,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let url = settings.dev_url()?;
    let mut claims = args
        .claims
        .iter()
        .map(|claim| parse_claim(claim))
        .collect::<Result<Map<_, _>, _>>()?;
    if args.env && args.like == Platform::Github {
        // One shell is one job: each of its tokens is of the same run.
        for id in ["run_id", "check_run_id"] {
            claims.entry(id).or_insert(Value::String(number()?));
        }
        // The real source code runs: the job asks for its tokens by itself, one for each ask.
        output.data(exports(&[
            (
                "ACTIONS_ID_TOKEN_REQUEST_URL",
                Some(github_url(&url, args, &claims)?.to_string()),
            ),
            (
                "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
                Some(DEV_REQUEST_TOKEN.to_owned()),
            ),
            ("STINT_ID_TOKEN", None),
            ("STINT_ID_TOKEN_FILE", None),
        ]))?;
        return Ok(Exit::Ok);
    }
    let token = fetch(&url, args, &claims, settings)?;
    match (args.env, args.like) {
        (false, _) => output.data(format!("{}\n", token.expose()))?,
        (true, Platform::Kubernetes) => {
            let path = settings::base()?.path().join(DEV_TOKEN);
            drop(fs::remove_file(&path));
            write_private(&path, token.expose().as_bytes())?;
            let path = path.display().to_string();
            output.data(exports(&[
                ("STINT_ID_TOKEN_FILE", Some(path)),
                ("STINT_ID_TOKEN", None),
            ]))?;
        }
        (true, Platform::Github | Platform::Gitlab) => {
            let token = token.into_inner();
            output.data(exports(&[
                ("STINT_ID_TOKEN", Some(token)),
                ("STINT_ID_TOKEN_FILE", None),
            ]))?;
        }
    }
    Ok(Exit::Ok)
}

/// An id as GitHub has them: a decimal number.
fn number() -> Result<String, Failure> {
    let mut bytes = [0; 4];
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => Ok((1_000_000_000 + u64::from(u32::from_be_bytes(bytes))).to_string()),
        Err(ring::error::Unspecified) => Err(Failure::new(Exit::Bug, "no randomness")),
    }
}

fn parse_claim(claim: &str) -> Result<(String, Value), Failure> {
    let (name, value) = claim
        .split_once('=')
        .ok_or_else(|| Failure::new(Exit::Usage, format!("claim `{claim}` is not NAME=VALUE")))?;
    // Claims are strings nearly everywhere, GitHub's numbers included; only what cannot be one is read as JSON.
    let json = serde_json::from_str(value)
        .ok()
        .filter(|json: &Value| json.is_object() || json.is_array() || json.is_boolean());
    Ok((name.to_owned(), json.unwrap_or_else(|| value.into())))
}

fn github_url(base: &str, args: &DevToken, claims: &Map<String, Value>) -> Result<Url, Failure> {
    let mut url = Url::parse(&format!("{base}/dev/github/request-token"))
        .map_err(|error| Failure::new(Exit::Usage, error))?;
    {
        let mut query = url.query_pairs_mut();
        query.extend_pairs(args.repo.iter().map(|repo| ("repo", repo)));
        query.extend_pairs(args.r#ref.iter().map(|name| ("ref", name)));
        for (name, value) in claims {
            query.append_pair(&format!("claim.{name}"), &words::plain(value));
        }
    }
    Ok(url)
}

fn fetch(
    base: &str,
    args: &DevToken,
    claims: &Map<String, Value>,
    settings: &Settings,
) -> Result<Token, Failure> {
    let like = match args.like {
        Platform::Github => "github",
        Platform::Gitlab => "gitlab",
        Platform::Kubernetes => "kubernetes",
    };
    let http = stint_client::local(settings.timeout())
        .build()
        .map_err(stint_client::Error::Unreachable)?;
    let body = json!({"repo": args.repo, "ref": args.r#ref, "claims": claims, "audience": null});
    session::block_on(async {
        let sent = http
            .post(format!("{base}/dev/{like}/token"))
            .json(&body)
            .send()
            .await;
        let answer = sent.map_err(stint_client::Error::Unreachable)?;
        let (success, status) = (answer.status().is_success(), answer.status().as_u16());
        let body = stint_client::body(answer).await?;
        if !success {
            let why = String::from_utf8_lossy(&body);
            return Err(Failure::new(
                Exit::Usage,
                format!("the dev broker gave no token (HTTP {status}): {why}"),
            )
            .next("is `stintd dev` running here?"));
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_json| stint_client::Error::Unexpected { status })?;
        Ok(answer.token)
    })
}

/// Lines a shell can eval: `export` what has a value, `unset` what would be found first.
fn exports(variables: &[(&str, Option<String>)]) -> String {
    let line = |(name, value): &(&str, Option<String>)| match value {
        Some(value) => format!("export {name}='{}'\n", value.replace('\'', r"'\''")),
        None => format!("unset {name}\n"),
    };
    variables.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{exports, parse_claim};

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let text = exports(&[("A", Some("it's $HOME".into())), ("B", None)]);
        assert_eq!(text, "export A='it'\\''s $HOME'\nunset B\n");
    }

    #[test]
    fn claims_are_strings_unless_they_cannot_be() {
        assert_eq!(
            parse_claim("run_id=42").unwrap(),
            ("run_id".into(), json!("42"))
        );
        assert_eq!(parse_claim("ok=true").unwrap().1, json!(true));
        assert_eq!(parse_claim("a=[1]").unwrap().1, json!([1]));
        assert_eq!(parse_claim("a=b=c").unwrap().1, json!("b=c"));
        assert!(parse_claim("a").is_err());
    }
}
