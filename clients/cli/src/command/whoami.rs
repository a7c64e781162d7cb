//! `stint whoami`: which source, what is wrong with its token as seen here, and who the broker says it is.

use serde_json::json;
use stint_client::Judgement;
use stint_wire::WhoAmI;

use crate::args::{Format, Whoami};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::session;
use crate::settings::Settings;
use crate::words::{self, Lines};

/// Prints the broker's view; spends no evidence.
///
/// # Errors
/// As the call: evidence that fails is judged on the way.
pub(crate) fn whoami(args: &Whoami, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    let client = settings.client()?;
    let source = settings.source(&args.evidence)?;
    output.talk("evidence", source.describe());
    let session = session::open_on(&client, source, &args.evidence)?;
    let (judgement, me) = session::block_on(async {
        let token = session.evidence().await?;
        Ok((client.judge(&token).await?, session.whoami().await?))
    })?;
    if args.format.format == Some(Format::Json) {
        let json = json!({"schema": "stint.whoami/v1", "broker": client.url(), "caller": me});
        output.data(format!("{json}\n"))?;
    } else {
        output.answer(&lines(client.url(), &me, &judgement))?;
    }
    Ok(Exit::Ok)
}

fn lines(url: &str, me: &WhoAmI, judgement: &Judgement) -> Lines {
    let mut lines = vec![
        ("broker", url.to_owned()),
        ("you are", me.spiffe_id.clone()),
        (
            "kind",
            format!("{}, by {} ({})", me.kind, me.issuer, me.preset),
        ),
        ("token", words::token_words(judgement)),
    ];
    lines.extend(
        me.task
            .iter()
            .map(|task| ("task", format!("{} {}", task.id, task.name))),
    );
    lines.extend(me.owner.iter().map(|owner| ("owner", owner.clone())));
    for (record, claims) in &me.claims.platform {
        lines.extend(
            claims
                .iter()
                .map(|(name, value)| ("claim", format!("{record}.{name} {}", words::plain(value)))),
        );
    }
    lines.extend(
        me.claims
            .extra
            .iter()
            .map(|(name, value)| ("claim", format!("extra.{name} {}", words::plain(value)))),
    );
    lines.extend(
        judgement
            .findings
            .iter()
            .map(|finding| ("look", format!("{finding}: {}", finding.remedy()))),
    );
    lines
}
