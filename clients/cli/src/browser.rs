//! A page for whoever sits at this machine.

use std::process::{Command, Stdio};

use crate::output::Output;

/// Says where the page is.
pub(crate) fn show(url: &str, output: &Output) {
    output.talk("open", url);
}

/// Opens it, where a browser can be found.
pub(crate) fn open(url: &str) {
    for program in ["xdg-open", "open"] {
        let started = Command::new(program)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        if started.is_ok() {
            return;
        }
    }
}
