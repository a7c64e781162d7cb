//! `stint ledger sample`: entries to look at that neither side chose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead as _};

use serde_json::{Value, json};
use stint_audit::Checkpoint;
use stint_audit::bundle::{self, BundleSource};
use stint_audit::kind::KINDS;
use stint_audit::sample::{draw, seed};
use stint_audit::tree::leaf_hash;
use stint_audit::verify::{Options, State};

use super::verify::{Judged, open};
use crate::args::{Format, Sample};
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::Settings;

/// Prints seq and id of each entry, in the order they are drawn. What does not verify is not sampled: who may change
/// the population steers the sample.
///
/// # Errors
/// Exit 2 for what cannot be read and for a kind that nobody knows.
pub(super) fn sample(args: &Sample, settings: &Settings, output: &Output) -> Result<Exit, Failure> {
    if !KINDS.contains(&args.kind.as_str()) {
        let text = format!("`{}` is no kind of entry: {}", args.kind, KINDS.join(" "));
        return Err(Failure::new(Exit::Usage, text));
    }
    let source = open(&args.bundle, settings)?.map_err(refused)?;
    let judged = Judged::prepare(source.as_ref(), &args.trusted)?;
    let report = stint_audit::verify(source.as_ref(), &judged.trust, &Options::default());
    let wrong = report.verdicts.iter().find(|it| it.state == State::Failed);
    if let Some(wrong) = wrong {
        return Err(refused(&wrong.text));
    }
    let Some(Checkpoint { root, .. }) = &judged.shown else {
        return Err(refused("it has no checkpoint"));
    };
    let of = each(source.as_ref(), &args.kind, |_, _| {}).map_err(refused)?;
    let seed = seed(root, &args.nonce);
    let places = draw(&seed, of, args.n);
    let mut found = BTreeMap::new();
    let wanted: BTreeSet<u64> = places.iter().copied().collect();
    let pick = |place, member| {
        if wanted.contains(&place) {
            found.insert(place, member);
        }
    };
    each(source.as_ref(), &args.kind, pick).map_err(refused)?;
    let drawn: Vec<&Member> = places.iter().filter_map(|place| found.get(place)).collect();
    if args.format.format == Some(Format::Json) {
        let entries: Vec<Value> = drawn
            .iter()
            .map(|it| json!({"seq": it.seq, "id": it.id, "leaf": it.leaf}))
            .collect();
        let json = json!({
            "schema": "stint.sample/v1",
            "log": report.log, "from": report.from, "to": report.to, "size": report.size,
            "root": root, "nonce": args.nonce, "seed": seed,
            "kind": args.kind, "population": of, "entries": entries,
        });
        output.data(format!("{json}\n"))?;
    } else {
        let lines = drawn.iter().map(|it| format!("{}\t{}\n", it.seq, it.id));
        output.data(lines.collect::<String>())?;
        let (n, kind) = (drawn.len(), &args.kind);
        output.talk(
            "sample",
            format!("{n} of {of} entries of kind {kind}, seed {seed}"),
        );
    }
    // Without a pinned key it is a sample of whatever the file says.
    Ok(match report.exit {
        0 => Exit::Ok,
        _ => {
            let text = report.summary.trim_start_matches("undecided").trim_start();
            output.talk("undecided", text);
            Exit::Incomplete
        }
    })
}

fn refused(why: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, format!("the bundle does not verify: {why}"))
}

/// One entry of the population.
struct Member {
    seq: u64,
    id: String,
    leaf: String,
}

/// Calls `found` for each entry of `kind`, in order, with its place among them; gives how many there are. The headers
/// were verified, so each line is one.
fn each(
    source: &dyn BundleSource,
    kind: &str,
    mut found: impl FnMut(u64, Member),
) -> io::Result<u64> {
    let mut place = 0;
    let Some(mut file) = source.open(bundle::HEADERS)? else {
        return Ok(place);
    };
    let word = format!("\"kind\":\"{kind}\"");
    let mut line = String::new();
    while file.read_line(&mut line)? > 0 {
        let text = line.trim_end_matches('\n');
        if text.contains(&word)
            && let Ok(header) = stint_audit::Header::parse(text.as_bytes())
            && header.what.kind() == kind
        {
            let leaf = leaf_hash(text.as_bytes()).to_string();
            let (seq, id) = (header.seq, header.id);
            found(place, Member { seq, id, leaf });
            place += 1;
        }
        line.clear();
    }
    Ok(place)
}
