//! `stint ledger export` and `prove`: files that the broker makes, written under the name it gives them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use reqwest::Response;

use super::{socket, tiles};
use crate::args::{Export, ExportFormat, Prove};
use crate::draft::Draft;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::settings::Settings;

/// Fetches a range; never over another file.
///
/// # Errors
/// Exit 2 for a range that is none or a file that cannot be written, 7 if nobody answers.
pub(super) async fn export(
    args: Export,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    if args.format == ExportFormat::Tiles {
        return tiles::export(args, settings, output).await;
    }
    let list = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
    let since: Vec<String> = args.since.iter().map(ToString::to_string).collect();
    let format = (args.format != ExportFormat::Bundle).then(|| args.format.as_str().to_owned());
    let parameters = [
        ("from", args.from),
        ("to", args.to),
        ("kinds", list(&args.kinds)),
        ("since", list(&since)),
        ("open", list(&args.open)),
        ("format", format),
    ];
    let mut answer = socket::get(
        &args.socket.socket,
        "/v1/ledger/bundle",
        &parameters,
        settings,
    )
    .await?;
    let Some((path, bytes)) = save(&mut answer, args.output, output).await? else {
        return Ok(Exit::Ok);
    };
    if args.format == ExportFormat::Bundle {
        output.talk("bundle", format!("{} ({bytes} bytes)", path.display()));
        output.talk("next", format!("stint ledger verify {}", path.display()));
    } else {
        let name = args.format.as_str();
        output.talk(name, format!("{} ({bytes} bytes)", path.display()));
    }
    Ok(Exit::Ok)
}

/// Fetches one entry with its proof.
///
/// # Errors
/// Exit 2 if there is no such entry, or more than one; 7 if nobody answers.
pub(super) async fn prove(
    args: Prove,
    settings: &Settings,
    output: &Output,
) -> Result<Exit, Failure> {
    let parameters = [("id", Some(args.id))];
    let mut answer = socket::get(
        &args.socket.socket,
        "/v1/ledger/bundle",
        &parameters,
        settings,
    )
    .await?;
    if let Some((path, bytes)) = save(&mut answer, args.output, output).await? {
        output.talk("bundle", format!("{} ({bytes} bytes)", path.display()));
        output.talk("next", format!("stint ledger verify {}", path.display()));
    }
    Ok(Exit::Ok)
}

/// Writes an answer to `file`, to stdout if that is `-` (then there is no path), or as the broker names it.
async fn save(
    answer: &mut Response,
    file: Option<PathBuf>,
    output: &Output,
) -> Result<Option<(PathBuf, u64)>, Failure> {
    if file.as_deref() == Some(Path::new("-")) {
        while let Some(chunk) = chunk(answer).await? {
            output.data(chunk)?;
        }
        return Ok(None);
    }
    let path = file.unwrap_or_else(|| named(answer).unwrap_or_else(|| "ledger.stint".into()));
    let bytes = write(answer, &path).await?;
    Ok(Some((path, bytes)))
}

async fn chunk(answer: &mut Response) -> Result<Option<impl AsRef<[u8]> + use<>>, Failure> {
    let chunk = answer.chunk().await;
    Ok(chunk.map_err(stint_client::Error::Unreachable)?)
}

/// Streams to a draft beside `path`, which gets the name only when all of it is there.
async fn write(answer: &mut Response, path: &Path) -> Result<u64, Failure> {
    let failed = |error: io::Error| {
        Failure::new(
            Exit::Usage,
            format!("cannot write {}: {error}", path.display()),
        )
    };
    let mut draft = Draft::of(path).map_err(failed)?;
    let mut bytes = 0_u64;
    while let Some(chunk) = chunk(answer).await? {
        draft.file.write_all(chunk.as_ref()).map_err(failed)?;
        bytes = bytes.saturating_add(chunk.as_ref().len() as u64);
    }
    draft.publish().map_err(failed)?;
    Ok(bytes)
}

/// The name in `Content-Disposition`, if it is a plain one and of a file that we asked for.
fn named(answer: &Response) -> Option<PathBuf> {
    let header = answer.headers().get("content-disposition")?.to_str().ok()?;
    plain_name(header).map(PathBuf::from)
}

fn plain_name(header: &str) -> Option<&str> {
    let (_, name) = header.split_once("filename=")?;
    let name = name.split(';').next()?.trim().trim_matches('"');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let ours = [".stint", ".jsonl", ".csv"];
    let named = ours.iter().any(|end| name.ends_with(end));
    (named && !name.starts_with('.') && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::plain_name;

    #[test]
    fn takes_no_path_from_a_header() {
        for good in ["acme-0-7.stint", "acme.csv", "gr_0.jsonl"] {
            let header = format!("attachment; filename=\"{good}\"");
            assert_eq!(plain_name(&header), Some(good));
        }
        for bad in [
            "attachment",
            "filename=../x.stint",
            "filename=/x.stint",
            "filename=.stint",
            "filename=x.zip",
        ] {
            assert_eq!(plain_name(bad), None, "{bad}");
        }
    }
}
