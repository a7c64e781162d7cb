//! A page for whoever sits at this machine.

use std::process::{Command, Stdio};

use crate::output::Output;

/// Says where the page is, and opens it where a browser can be found and is wanted.
pub(crate) fn show(url: &str, no_browser: bool, output: &Output) {
    output.talk("open", url);
    if no_browser {
        return;
    }
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
