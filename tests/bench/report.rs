//! What is printed: a table for people, or a JSON line a figure.

use serde_json::json;

/// Where figures go.
#[derive(Debug)]
pub(crate) struct Report {
    form: Form,
    subject: String,
}

/// How they look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Table,
}

impl Report {
    pub(crate) fn new(form: Form) -> Report {
        Report {
            form,
            subject: String::new(),
        }
    }

    pub(crate) fn title(&mut self, title: &str) {
        self.line(&format!("\n{title}"));
    }

    /// Talk; not in JSON.
    pub(crate) fn line(&self, text: &str) {
        if self.form == Form::Table {
            println!("{text}");
        }
    }

    pub(crate) fn figure(&mut self, subject: &str, name: &str, value: f64) {
        self.print((subject, name), value, "");
    }

    pub(crate) fn percent(&mut self, subject: &str, name: &str, share: f64) {
        self.print((subject, name), share * 100.0, " %");
    }

    fn print(&mut self, (subject, name): (&str, &str), value: f64, unit: &str) {
        if self.form == Form::Json {
            let name = format!("{}{unit}", name.trim());
            println!(
                "{}",
                json!({ "subject": subject, "figure": name, "value": value })
            );
            return;
        }
        let head = if self.subject == subject { "" } else { subject };
        self.subject = subject.to_owned();
        let digits = if value < 100.0 { 2 } else { 0 };
        println!("  {head:<24} {name:<36} {value:>12.digits$}{unit}");
    }
}
