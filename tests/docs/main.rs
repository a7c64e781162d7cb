//! The `docs` tests: every fenced block of README.md and docs/ is run as it stands there, or says that it is `text`.
//!
//! A block's info string is its language and what is done with it:
//!
//! | info string | what happens |
//! |---|---|
//! | `console` | each `$ ` line (continued by `> ` lines) is typed into one shell a page, beside a broker of the page's own; the lines below it are all it prints. `…` stands for any text, alone on a line for any lines. A status other than 0 must be shown by `$ echo $?` |
//! | `console reload` | the same, after the broker has taken up the policy folder as it is now |
//! | `console dev` | the start of that broker: its output is compared |
//! | `json ask=PATH [ref=REF]` | sent with a fresh token of acme/web; a `csr` with `…` is filled in |
//! | `json answer=STATUS` | what came back, member by member; `…` stands for any text or any value |
//! | `toml config [extra=A,B]` | `stintd check` accepts it beside the sample policies, whose `type Extra` has these texts |
//! | `toml issuer` | the same, with the rest of a stint.toml before it |
//! | `toml tests` | cases that the sample policies pass |
//! | `cedar policy`, `cedar refused=RULE` | loads beside the sample policies; is refused by that rule |
//! | `text help=TABLE` | is what the program says about that table of stint.toml |
//! | `text` | is read by people only |
//!
//! On the pages the broker is at `localhost:8640` and temporary files are in `/tmp`; here both are elsewhere, and the
//! runner puts the one for the other.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on says so"
)]

mod approver;
mod block;
mod desk;
mod pattern;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use block::Block;
use desk::Desk;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// README.md and docs/*.md.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

fn name(page: &Path) -> String {
    page.strip_prefix(root()).unwrap().display().to_string()
}

/// Where `stintd` and `stint` are, built as they are now.
fn programs() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .current_dir(root())
        .args(["build", "--quiet", "--locked", "--workspace", "--bins"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the programs do not build:\n{said}");
    folder
}

#[test]
fn every_block_does_what_its_page_says() {
    let (pages, programs) = (pages(), &programs());
    let failures: Vec<String> = thread::scope(|scope| {
        let pages = pages
            .iter()
            .map(|page| scope.spawn(move || run(page, programs)));
        let running: Vec<_> = pages.collect();
        running
            .into_iter()
            .filter_map(|page| page.join().unwrap().err())
            .collect()
    });
    assert!(failures.is_empty(), "\n\n{}\n", failures.join("\n\n"));
}

/// Runs a page's blocks in order; what follows a failed block is not worth reading.
fn run(page: &Path, programs: &Path) -> Result<(), String> {
    let (name, text) = (name(page), fs::read_to_string(page).unwrap());
    let blocks = Block::all(&name, &text)?;
    if blocks.iter().all(Block::is_text) {
        return Ok(());
    }
    let mut desk = Desk::new(programs)?;
    blocks.iter().try_for_each(|block| desk.run(block))
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let targets = text.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            assert!(
                leads(&page, target),
                "{}: there is no {target}",
                name(&page)
            );
        }
    }
}

fn leads(page: &Path, target: &str) -> bool {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    if file.contains("://") {
        return true;
    }
    let file = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    heading.is_empty() || headings.any(|line| slug(line) == heading)
}

/// A heading's name in links, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    text.chars()
        .filter(kept)
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

/// The invariants of README.md name the tests that hold them.
#[test]
fn every_test_the_readme_names_is_there() {
    let crates = ["audit", "broker", "ca", "clients", "policy", "tests/it"];
    let code: String = crates
        .iter()
        .map(|name| sources(&root().join(name)))
        .collect();
    let page = fs::read_to_string(root().join("README.md")).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    let rows = rows.filter(|(number, _)| number.parse::<u8>().is_ok());
    let mut named = 0;
    for test in rows.flat_map(|(_, row)| row.rsplit('|').nth(1).unwrap().split(", ")) {
        let name = test.trim().trim_matches('`');
        assert!(
            code.contains(&format!("fn {name}(")),
            "README.md: there is no test {name}"
        );
        named += 1;
    }
    assert!(named >= 10, "README.md names {named} tests");
}

/// All Rust below `folder`.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let text = |path: PathBuf| match path.extension().and_then(|name| name.to_str()) {
        _ if path.is_dir() => sources(&path),
        Some("rs") => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    entries.map(|entry| text(entry.path())).collect()
}

/// A row a code: `| 403 | `denied` | Denied by policy | …`.
#[test]
fn every_problem_code_has_its_row() {
    let page = fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let rows: Vec<&str> = page
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"))
        .collect();
    for code in stint_wire::Code::ALL {
        let row = format!(
            "| {} | `{}` | {} |",
            code.status(),
            code.as_str(),
            code.title()
        );
        let found = rows.iter().filter(|line| line.starts_with(&row)).count();
        assert_eq!(found, 1, "docs/errors.md: one row begins with {row}");
    }
    assert_eq!(
        rows.len(),
        stint_wire::Code::ALL.len(),
        "docs/errors.md has rows of other codes"
    );
}

/// `text help=…` blocks show each table of stint.toml, and none is left out.
#[test]
fn every_table_of_the_config_has_its_block() {
    let page = fs::read_to_string(root().join("docs/config.md")).unwrap();
    let blocks = Block::all("docs/config.md", &page).unwrap_or_else(|error| panic!("{error}"));
    let overview = stint_broker::config::help(None).unwrap();
    let tables = overview
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.split(']').next());
    for table in tables {
        let shown = blocks.iter().filter_map(|block| block.value("help"));
        let table = table.trim_end_matches(".NAME");
        assert!(
            shown.into_iter().any(|shown| shown == table),
            "docs/config.md: no block shows [{table}]"
        );
    }
}
