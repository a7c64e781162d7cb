//! `stintd witness` as an operator calls it.

use crate::scene::{Log, NAME, Witness, stintd};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn init_makes_what_check_and_serve_take() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("w");
    let init = || {
        let mut command = std::process::Command::new(stint_tests::process::program("stintd"));
        command.args(["witness", "init", "--name", NAME]).arg(&dir);
        command.output().unwrap()
    };
    let made = init();
    assert!(made.status.success(), "{made:?}");
    let said = text(&made.stderr);
    let vkey = said
        .lines()
        .find_map(|line| line.strip_prefix("witness   "))
        .unwrap();
    assert!(vkey.starts_with(&format!("{NAME}+")), "{said}");

    let checked = stintd(&["--check"], &dir.join("witness.toml"));
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(text(&checked.stdout), format!("{vkey}\n"));
    assert!(
        text(&checked.stderr).contains("no log is served"),
        "{checked:?}"
    );

    let before = std::fs::read(dir.join("witness.key")).unwrap();
    let again = init();
    assert_eq!(again.status.code(), Some(2));
    assert!(text(&again.stderr).contains("is not empty"), "{again:?}");
    assert_eq!(std::fs::read(dir.join("witness.key")).unwrap(), before);
}

#[tokio::test]
async fn a_sealed_key_opens_with_its_passphrase_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, passphrase) = (folder.path().join("w"), folder.path().join("passphrase"));
    stint_tests::files::write_secret(&passphrase, b"correct horse\n");
    let made = stint_broker::witness::init::init(&dir, NAME, Some(&passphrase))
        .await
        .unwrap();
    let key = std::fs::read_to_string(dir.join("witness.key")).unwrap();
    assert!(key.starts_with("stint-key/v1 pbkdf2"), "{key}");
    let checked = stintd(&["--check"], &dir.join("witness.toml"));
    assert_eq!(text(&checked.stdout), format!("{}\n", made.vkey));
    stint_tests::files::write_secret(&passphrase, b"wrong\n");
    let refused = stintd(&["--check"], &dir.join("witness.toml"));
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("passphrase"), "{refused:?}");
}

/// A witness that forgot would cosign a second history: it does not begin anew by itself.
#[tokio::test]
async fn a_lost_database_is_not_begun_anew() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::start(&[&log]).await;
    witness.cosigns(&log, 0, 5).await;
    witness.stop().await;
    for file in ["witness.db", "witness.db-wal", "witness.db-shm"] {
        drop(std::fs::remove_file(witness.path(file)));
    }
    for args in [&["--check"][..], &[], &["evidence"]] {
        let refused = stintd(args, &witness.config());
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(said.contains("a lost one is not begun anew"), "{said}");
    }
    assert!(!witness.path("witness.db").exists());
}

#[tokio::test]
async fn one_database_has_one_witness() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::start(&[&log]).await;
    let copy = witness.path("other.toml");
    let config = std::fs::read_to_string(witness.config()).unwrap();
    std::fs::write(&copy, format!("listen = \"127.0.0.1:0\"\n{config}")).unwrap();
    let refused = stintd(&[], &copy);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(text(&refused.stderr).contains("in use"), "{refused:?}");
    witness.cosigns(&log, 0, 5).await;
    witness.stop().await;
}

#[tokio::test]
async fn faults_of_the_config_are_told_with_their_place() {
    let witness = Witness::new(&[]).await;
    witness.configure("[log.a]\nvkeys = [\"stint.example/ledger+00000000+AQ==\"]\nurl = \"x\"\n");
    let refused = stintd(&["--check"], &witness.config());
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("unknown key `url` in [log.a]"), "{said}");
    assert!(said.contains("is no verifier key"), "{said}");
    assert!(said.contains("stintd help witness log"), "{said}");
    let nowhere = stintd(&["--check"], std::path::Path::new("/nowhere/witness.toml"));
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(
        text(&nowhere.stderr).contains("stintd witness init"),
        "{nowhere:?}"
    );
}

#[tokio::test]
async fn evidence_is_printed_while_the_witness_runs() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::start(&[&log]).await;
    witness.cosigns(&log, 0, 5).await;
    let fork = log.forked(2);
    assert_eq!(witness.add(&fork.request(5, 5)).await.status, 422);
    let printed = stintd(&["evidence"], &witness.config());
    assert!(printed.status.success(), "{printed:?}");
    let out = text(&printed.stdout);
    assert!(
        out.contains(&log.note(5)) && out.contains(&fork.note(5)),
        "{out}"
    );
    assert!(
        out.starts_with("## fork log.example/a at size 5, 2027-03-01"),
        "{out}"
    );
    witness.stop().await;
}

#[tokio::test]
async fn sigterm_ends_it_in_order_and_sighup_does_not() {
    let log = Log::new("log.example/a", 1);
    let mut witness = Witness::new(&[&log]).await;
    witness.serve().await;
    witness.cosigns(&log, 0, 5).await;
    witness.signal("HUP");
    witness.cosigns(&log, 5, 6).await;
    witness.stop().await;
    assert!(
        !witness.path("witness.db-wal").exists(),
        "the journal was folded"
    );
    witness.serve().await;
    assert_eq!(witness.shows(&log).await, 6);
    witness.stop().await;
}
