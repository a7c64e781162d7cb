//! What `stintd check` says of receivers that cannot be.

use std::process::Command;

use stint_tests::{TestBroker, process};

use crate::scene::{KEY, Secrets};

/// `stintd check` on a config with this table: whether it holds, and what was said.
fn check(broker: &TestBroker, table: &str) -> (bool, String) {
    let path = broker.config_file();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text + table).unwrap();
    let done = Command::new(process::program("stintd"))
        .args(["check", "-c"])
        .arg(&path)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
    // miette wraps what is long.
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    (done.status.success(), said)
}

#[tokio::test]
async fn receivers_that_cannot_be_are_refused_with_their_line_and_no_secret() {
    let (broker, secrets) = (TestBroker::start().await, Secrets::new());
    let url = |text: &str| secrets.keep("url", text);
    let key = secrets.keep("key", KEY);
    let table = |kind: &str, url: String, more: &str| {
        format!("[notify.out]\nkind = \"{kind}\"\nurl = {url}\n{more}\n")
    };
    let (http, mail) = ("https://hooks.acme.dev/hunter2", "smtps://mail.acme.dev");
    let from = "from = \"stint@acme.dev\"";
    let refused = |text: String, why: &str| {
        let (holds, said) = check(&broker, &text);
        assert!(!holds && said.contains(why), "{text}\n{said}");
        assert!(!said.contains("hunter2"), "{said}");
    };
    refused(
        "[notify.out]\nkind = \"slack\"\n".to_owned(),
        "missing key `url` in [notify.out]",
    );
    refused(table("slak", url(http), ""), "did you mean `slack`?");
    refused(
        table("slack", "\"https://x/\"".to_owned(), ""),
        "`url` in [notify.out]",
    );
    refused(
        table("slack", url("http://acme.dev/hunter2"), ""),
        "in the clear",
    );
    refused(
        table("slack", url(http), &format!("secret = {key}")),
        "nobody who reads it",
    );
    refused(table("webhook", url(http), ""), "messages are signed");
    let weak = secrets.keep("weak", "whsec_hunter2");
    refused(
        table("webhook", url(http), &format!("secret = {weak}")),
        "cannot sign",
    );
    let webhook = |more: &str| table("webhook", url(http), &format!("secret = {key}\n{more}"));
    refused(webhook(from), "no mail to stand on");
    refused(webhook("to = [\"a@acme.dev\"]"), "no mail to go to");
    refused(webhook("for = []"), "nobody would be told");
    refused(webhook("for = [\"sre\"]"), "is no group: `sre`");
    refused(webhook("events = []"), "nothing would be told");
    refused(
        webhook("events = [\"request\", \"decide\"]"),
        "did you mean `decided`?",
    );
    refused(webhook("timeout = \"1m\""), "timeout");
    refused(webhook("channel = \"x\""), "unknown key `channel`");
    refused(
        table("smtp", url(mail), ""),
        "`from` in [notify.out] is missing",
    );
    refused(
        table("smtp", url(mail), "from = \"hunter at acme\""),
        "is no mail address",
    );
    refused(
        table("smtp", url("smtp://mail.acme.dev"), from),
        "in the clear",
    );
    refused(
        table("smtp", url("smtps://hunter2@mail.acme.dev"), from),
        "without a password",
    );
    let to = format!("{from}\nto = [\"a@acme.dev\\r\\nBcc: b@evil.example\"]");
    refused(table("smtp", url(mail), &to), "is no mail address");
    broker.finish().await;
}

#[tokio::test]
async fn receivers_that_can_be_are_taken() {
    let (broker, secrets) = (TestBroker::start().await, Secrets::new());
    let hook = secrets.keep("hook", "https://hooks.slack.com/services/T0/B0/x");
    let mail = secrets.keep("mail", "smtp+starttls://stint%40acme.dev@mail.acme.dev");
    let password = secrets.keep("password", "x");
    let tables = format!(
        "[notify.releases]\nkind = \"slack\"\nurl = {hook}\nfor = ['Group::\"sre\"']\n\
         [notify.people]\nkind = \"smtp\"\nurl = {mail}\nsecret = {password}\n\
         from = \"Stint <stint@acme.dev>\"\nto = [\"sre@acme.dev\"]\n\
         [notify.later]\nkind = \"slack\"\nurl = {{ credential = \"slack-hook\" }}\n"
    );
    let (holds, said) = check(&broker, &tables);
    assert!(holds, "{said}");
    broker.finish().await;
}

#[tokio::test]
async fn roots_that_are_none_keep_the_broker_from_starting() {
    let secrets = Secrets::new();
    let hook = secrets.keep("hook", "https://hooks.slack.com/services/T0/B0/x");
    std::fs::write(secrets.path().join("none.pem"), "none").unwrap();
    let root = secrets.path().join("none.pem");
    let table = format!(
        "[notify.out]\nkind = \"slack\"\nurl = {hook}\nca_file = \"{}\"\n",
        root.display()
    );
    let refused = TestBroker::with().tables(&table).try_start().await;
    let why = refused.err().unwrap().to_string();
    assert!(why.contains("[notify.out] `ca_file`"), "{why}");
    assert!(why.contains("no PEM certificate"), "{why}");
}
