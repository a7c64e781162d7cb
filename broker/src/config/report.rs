//! What is wrong with a file, and how people read it: UX.md §5's form, one finding after the other.
//!
//! A [`Report`] prints any [`Diagnostic`], not only ours. It never shows more of a file than the line of a finding and
//! the line before it, and `mask` has blanked secrets before a text gets here.

use std::fmt::{self, Display, Write};
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode, SourceSpan};

/// One thing to say about a file: what, where, and what to do.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// Bytes of the file it is about; none if what is wrong is that something is not there.
    pub(super) at: Option<Range<usize>>,
    /// What is wrong, to be read without the rest.
    pub(super) text: String,
    /// Stands beside the carets: what would be right. May be empty.
    pub(super) label: String,
    /// The next command, without the word `help`.
    pub(super) help: String,
}

impl Fault {
    /// A fault of the file as a whole.
    pub(super) fn of_file(text: String, help: &str) -> Fault {
        Fault {
            at: None,
            text,
            label: String::new(),
            help: help.to_owned(),
        }
    }
}

/// Something to say about a file. `Display` is what, on one line; print [`Finding::report`] for people.
#[derive(Debug)]
pub struct Finding {
    source: Arc<NamedSource<String>>,
    severity: Severity,
    fault: Fault,
}

impl Finding {
    /// The finding in full, for stderr.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.text)
    }
}

impl std::error::Error for Finding {}

impl Diagnostic for Finding {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        let help = &self.fault.help;
        (!help.is_empty()).then(|| Box::new(help) as Box<dyn Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let at = self.fault.at.clone()?;
        let label = LabeledSpan::new(Some(self.fault.label.clone()), at.start, at.len());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The findings of one file, in the order of its lines.
pub(super) fn findings(
    name: &str,
    text: String,
    severity: Severity,
    mut faults: Vec<Fault>,
) -> Vec<Finding> {
    let source = Arc::new(NamedSource::new(name, text));
    faults.sort_by_key(|fault| fault.at.as_ref().map_or(usize::MAX, |at| at.start));
    let finding = |fault| Finding {
        source: Arc::clone(&source),
        severity,
        fault,
    };
    faults.into_iter().map(finding).collect()
}

/// Why a configuration is refused: every fault that one reading found, at least one.
///
/// `Display` is one line; print [`ConfigError::report`] for people.
#[derive(Debug)]
pub struct ConfigError {
    name: String,
    faults: Vec<Finding>,
}

impl ConfigError {
    pub(super) fn new(name: &str, faults: Vec<Finding>) -> ConfigError {
        ConfigError {
            name: name.to_owned(),
            faults,
        }
    }

    /// The findings in full, for stderr: each with `file:line:column`, its lines, carets and the next step.
    #[must_use]
    pub fn report(&self) -> Report<'_> {
        Report(self)
    }

    /// How many faults were found.
    #[must_use]
    pub fn count(&self) -> usize {
        self.faults.len()
    }
}

impl Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.as_slice() {
            [only] => write!(f, "{}: {only}", self.name),
            all => write!(f, "{}: {} faults", self.name, all.len()),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let all = self.faults.iter().map(|fault| fault as &dyn Diagnostic);
        Some(Box::new(all))
    }
}

/// A diagnostic as people read it: a state word in column 1, the matter in column 11, then the lines of the file.
/// One that has others related to it stands for those. No line break at the end.
#[derive(Debug)]
pub struct Report<'a>(pub &'a dyn Diagnostic);

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        match self.0.related() {
            Some(mut all) => all.try_for_each(|one| finding(&mut text, one))?,
            None => finding(&mut text, self.0)?,
        }
        f.write_str(text.trim_end())
    }
}

fn finding(f: &mut String, diagnostic: &dyn Diagnostic) -> fmt::Result {
    let word = match diagnostic.severity() {
        Some(Severity::Advice) => "look",
        Some(Severity::Warning) => "warning",
        Some(Severity::Error) | None => "error",
    };
    let name = file_name(diagnostic);
    let help = diagnostic.help().map(|help| format!("help: {help}"));
    let label = diagnostic.labels().and_then(|mut labels| labels.next());
    let lines = label.as_ref().and_then(|label| lines(diagnostic, label));
    let Some(lines) = lines else {
        writeln!(f, "{word:<10}{name} {diagnostic}")?;
        return help.map_or(Ok(()), |help| writeln!(f, "{:10}{help}", ""));
    };
    let (line, column) = (lines.line, lines.column);
    writeln!(f, "{word:<10}{name}:{line}:{column} {diagnostic}")?;
    if let Some(before) = lines.before {
        writeln!(f, "{:>5} | {before}", line - 1)?;
    }
    writeln!(f, "{line:>5} | {}", lines.text)?;
    let label = label.as_ref().and_then(LabeledSpan::label);
    let notes = [label, help.as_deref()].into_iter().flatten();
    let notes: Vec<&str> = notes.filter(|note| !note.is_empty()).collect();
    let carets = "^".repeat(lines.width);
    let notes = notes.join("          ");
    writeln!(
        f,
        "{:>5} | {:indent$}{carets} {notes}",
        "",
        "",
        indent = column - 1
    )
}

fn file_name(diagnostic: &dyn Diagnostic) -> String {
    let start = SourceSpan::from((0, 0));
    let contents = diagnostic
        .source_code()
        .and_then(|source| source.read_span(&start, 0, 0).ok());
    contents
        .and_then(|contents| contents.name().map(str::to_owned))
        .unwrap_or_default()
}

/// The line a label begins in, and the one before it unless that is empty.
struct Lines {
    before: Option<String>,
    /// From 1.
    line: usize,
    text: String,
    /// In characters, from 1.
    column: usize,
    /// In characters, at least 1; a label of several lines is underlined in its first.
    width: usize,
}

fn lines(diagnostic: &dyn Diagnostic, label: &LabeledSpan) -> Option<Lines> {
    let start = SourceSpan::from((label.offset(), 0));
    let contents = diagnostic.source_code()?.read_span(&start, 1, 1).ok()?;
    let shown = std::str::from_utf8(contents.data()).ok()?;
    let (above, below) = shown.split_at_checked(label.offset() - contents.span().offset())?;
    let (above, left) = above
        .rsplit_once('\n')
        .map_or((None, above), |(above, left)| (Some(above), left));
    let right = below.split('\n').next()?;
    let marked = right.get(..label.len()).unwrap_or(right);
    Some(Lines {
        before: above
            .and_then(|above| above.rsplit('\n').next())
            .filter(|line| !line.trim().is_empty())
            .map(printable),
        line: contents.line() + above.map_or(0, |above| above.split('\n').count()) + 1,
        text: printable(&format!("{left}{right}")),
        column: left.chars().count() + 1,
        width: marked.trim_end().chars().count().max(1),
    })
}

/// Nothing that moves a terminal's cursor; each character keeps its column.
fn printable(line: &str) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    line.trim_end().chars().map(shown).collect()
}
