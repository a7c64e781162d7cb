//! `verify.html` in a real browser, from the disk and without a network, over a bundle that a real broker made.

use std::io::{Cursor, Write as _};
use std::path::Path;

use serde_json::json;
use stint_audit::bundle::Files;
use stint_tests::TestBroker;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::node::{node, root};

/// Text that would do something, were it ever more than text.
const POISON: &str =
    "<img src=x onerror=alert(1)><script>document.title='poisoned'</script>\u{202e}gnp.exe";

#[tokio::test]
async fn the_page_checks_a_bundle_in_a_browser_without_a_network() {
    let broker = TestBroker::start().await;
    for number in 0..60 {
        let asked = broker
            .ci("acme/web")
            .ask("deploy", "Environment::staging/web");
        let asked = if number == 7 {
            asked.member("reason", json!(POISON))
        } else {
            asked
        };
        let _granted = asked.x509().await.granted();
    }
    let bundle = broker.operator("GET", "/v1/ledger/bundle").await;
    let export = broker.export().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("sound.stint", &bundle.body);
    write("vkey", &export.files["trust/log.vkeys"]);
    write("tampered.stint", &zipped(&tampered(&export.files)));
    write("none.stint", b"not a bundle");
    for (name, bytes) in &export.files {
        write(&format!("unpacked/{name}"), bytes);
    }
    broker.finish().await;
    look(folder.path());
}

/// One digit of the end of the first grant.
fn tampered(files: &Files) -> Files {
    let mut files = files.clone();
    let text = String::from_utf8(files["headers.jsonl"].clone()).unwrap();
    let changed = text.replacen("\"exp\":1", "\"exp\":2", 1);
    assert_ne!(text, changed);
    files.insert("headers.jsonl".into(), changed.into_bytes());
    files
}

fn zipped(files: &Files) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name.as_str(), SimpleFileOptions::default())
            .unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The browser's part: what it finds wrong, it says and ends with a failure.
fn look(folder: &Path) {
    let mut command = node();
    command.args(["tests/verifiers/page.mjs", "clients/javascript/verify.html"]);
    command.arg(folder).arg(root().join("target/screenshots"));
    let done = command.output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&said));
}
