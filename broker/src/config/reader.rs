//! Reads a TOML document into typed settings, and goes on after a fault so that one reading finds them all.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::declare::{TableDoc, span_of};
use super::nearest::nearest;
use super::report::Fault;
use super::setting::{Place, Setting, Wrong, kind};

/// Collects what one reading finds.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) place: Place<'a>,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(place: Place<'a>) -> Reader<'a> {
        Reader {
            place,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Opens a table and reports each key that `doc` does not know.
    pub(super) fn table<'t, 'd>(
        &mut self,
        value: &'t Spanned<DeValue<'d>>,
        at: At<'_>,
        doc: &TableDoc,
    ) -> Option<Table<'t, 'd>> {
        let Some(entries) = value.get_ref().as_table() else {
            let text = format!("{at} is {}, not a table", kind(value.get_ref()));
            let label = format!("write [{}] and its keys below", at.path());
            self.faults.push(at.fault(value.span(), text, label));
            return None;
        };
        let table = Table {
            path: at.path(),
            span: value.span(),
            entries,
        };
        let known: Vec<&str> = doc.keys.iter().map(|key| key.name).collect();
        for (key, value) in entries {
            if !known.contains(&key.get_ref().as_ref()) {
                let at = table.at(key.get_ref());
                self.faults
                    .push(unknown(at, key.span(), value.get_ref(), &known));
            }
        }
        Some(table)
    }
}

/// An unknown key or table, with the nearest that is known.
pub(super) fn unknown(
    at: At<'_>,
    span: Range<usize>,
    value: &DeValue<'_>,
    known: &[&str],
) -> Fault {
    let label = match nearest(at.key, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if LATER.contains(&at.path().as_str()) => {
            "planned, but this version of stintd does not have it".to_owned()
        }
        None => String::new(),
    };
    match (at.table, value) {
        ("", DeValue::Table(_)) => at.fault(span, format!("unknown table [{}]", at.key), label),
        _ => at.fault(span, format!("unknown key {at}"), label),
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Table<'t, 'd> {
    /// `ca.profile.web`; empty for the document.
    path: String,
    span: Range<usize>,
    entries: &'t DeTable<'d>,
}

impl<'t, 'd> Table<'t, 'd> {
    pub(super) fn at<'k>(&'k self, key: &'k str) -> At<'k> {
        At {
            table: &self.path,
            key,
        }
    }

    /// Reads a key that has to be there.
    pub(super) fn required<T: Setting>(&self, key: &str, reader: &mut Reader<'_>) -> Option<T> {
        let at = self.at(key);
        if let Some(value) = self.entries.get(key) {
            return T::read(value, at, reader);
        }
        let fault = match T::TABLE {
            Some(doc) => {
                let keys: Vec<String> = doc.required().map(|key| format!("`{key}`")).collect();
                let text = format!("missing table [{}] with {}", at.path(), keys.join(", "));
                Fault::of_file(text, &format!("{HELP} {}", at.path()))
            }
            None => at.fault(self.span.clone(), format!("missing key {at}"), T::WANTS),
        };
        reader.faults.push(fault);
        None
    }

    /// Reads a key that may be left out.
    pub(super) fn optional<T: Setting>(
        &self,
        key: &str,
        default: T,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        match self.entries.get(key) {
            Some(value) => T::read(value, self.at(key), reader),
            None => Some(default),
        }
    }

    /// Keeps a setting only if it lies within its bounds.
    pub(super) fn within<T: Setting + PartialOrd>(
        &self,
        key: &str,
        (setting, bounds): (Option<T>, RangeInclusive<T>),
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        let setting = setting?;
        if bounds.contains(&setting) {
            return Some(setting);
        }
        let text = format!("is out of bounds: {}", setting.json());
        self.refuse(key, Wrong::new(text, span_of(&bounds)), reader);
        None
    }

    /// Reports a key whose value, though well-formed, cannot be.
    pub(super) fn refuse(&self, key: &str, wrong: Wrong, reader: &mut Reader<'_>) {
        let text = format!("{} {}", self.at(key), wrong.text);
        reader.faults.push(self.fault(key, text, wrong.label));
    }

    /// Reports a value that is accepted and risky.
    pub(super) fn warn(&self, key: &str, caution: &str, reader: &mut Reader<'_>) {
        let text = format!("{} {caution}", self.at(key));
        reader.warnings.push(self.fault(key, text, String::new()));
    }

    fn fault(&self, key: &str, text: String, label: String) -> Fault {
        let fault = |span| self.at(key).fault(span, text, label);
        match self.entries.get(key) {
            Some(value) => fault(value.span()),
            // The document has no head to point to.
            None if self.path.is_empty() => Fault {
                at: None,
                ..fault(0..0)
            },
            None => fault(self.span.clone()),
        }
    }
}

/// Checks between the keys of one table, made when all of them could be read.
pub(super) trait Check {
    /// Reports what contradicts itself, through [`Table::refuse`] and [`Table::warn`].
    fn check(&self, _table: &Table<'_, '_>, _reader: &mut Reader<'_>) {}
}

/// A key and the table it stands in; prints as "`key` in [table]".
#[derive(Clone, Copy, Debug)]
pub(super) struct At<'a> {
    /// Empty for the document itself.
    pub(super) table: &'a str,
    pub(super) key: &'a str,
}

impl At<'_> {
    /// The document.
    pub(super) const ROOT: At<'static> = At { table: "", key: "" };

    /// `table.key`.
    pub(super) fn path(self) -> String {
        match self.table {
            "" => self.key.to_owned(),
            table => format!("{table}.{}", self.key),
        }
    }

    /// A fault here; its help is the help of the outermost table.
    pub(super) fn fault(
        self,
        span: Range<usize>,
        text: impl Into<String>,
        label: impl Into<String>,
    ) -> Fault {
        let table = self.table.split('.').next().unwrap_or_default();
        let help = if table.is_empty() {
            HELP.to_owned()
        } else {
            format!("{HELP} {table}")
        };
        Fault {
            at: Some(span),
            text: text.into(),
            label: label.into(),
            help,
        }
    }
}

impl std::fmt::Display for At<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.table {
            "" => write!(f, "`{}`", self.key),
            table => write!(f, "`{}` in [{table}]", self.key),
        }
    }
}

/// The command that prints what a table may hold.
pub(super) const HELP: &str = "stintd help config";

/// What the documentation plans for later versions: unknown as anything else, but said kindly.
const LATER: [&str; 12] = [
    "console",
    "server.pki_listen",
    "ledger.key",
    "ca.root",
    "ca.passphrase",
    "ca.issuing_overlap",
    "ca.crl_every",
    "jwt.rotate",
    "jwt.publish_ahead",
    "telemetry.otlp",
    "telemetry.otlp_headers",
    "telemetry.sample",
];
