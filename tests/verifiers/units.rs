//! What the verifier tests of itself, and that the page is what its modules make.

use std::process::Command;

use crate::node::node;

#[track_caller]
fn passes(command: &mut Command) {
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn its_own_tests_pass() {
    passes(node().args(["--test", "clients/javascript/test/*.test.mjs"]));
}

#[test]
fn the_page_is_what_its_modules_make() {
    passes(node().args(["clients/javascript/build.mjs", "--check"]));
}
