//! `kill -9` at each change of a file while the ledger is rewritten or made smaller (LEDGER.md §12): erasure, restore, a loss
//! that is accepted, a new epoch, pruning, a move to a server.
//!
//! After each of them a start works, or says what to run; the same command run again brings it to its end; and the ledger
//! that is served then verifies from its beginning, with what was handed out before.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use stint_audit::What;
use stint_audit::kind::KeyAdded;
use stint_audit::note::VerifierKey;
use stint_audit::receipt::Proof;
use stint_broker::store::Engine;
use stint_tests::clock::eventually;
use stint_tests::database::only_on;
use stint_tests::files::{copy, write_secret};
use stint_tests::filled::UNIT;
use stint_tests::postgres::{Cluster, GRANTS, OWNER, PASSWORD, SERVICE};
use stint_tests::process::program;
use stint_tests::proxy::{After, Proxy};
use stint_tests::{TestBroker, together};
use stint_wire::Code;

use crate::common::{failing_disk, grant, rounds, settled, setup};
use crate::steps::tell;

const WHY: &str = "what is killed at each change of a file needs one";
const PRUNE: &[&str] = &["ledger", "prune", "--offline", "--below"];
const ACCEPT: &[&str] = &[
    "--accept-loss",
    "--operator",
    "olu",
    "--operator",
    "ann",
    "--reason",
    "the disk died",
];

/// How a program ended: what it said, and whether it was killed in the middle.
struct Ended {
    said: String,
    killed: bool,
    ok: bool,
}

/// Runs `stintd ARGS` for a stopped broker; with `halt`, on a disk where it dies before its change of that number.
async fn run(broker: &TestBroker, args: &[&str], halt: Option<usize>) -> Ended {
    let mut command = Command::new(program("stintd"));
    command.args(args).arg("-c").arg(broker.write_config());
    if let Some(call) = halt {
        tell(broker, &format!("halt {call}"));
        command
            .env("LD_PRELOAD", failing_disk())
            .env("STINT_DISK", broker.path("disk"));
    }
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let said = [output.stderr, output.stdout].map(|it| String::from_utf8_lossy(&it).into_owned());
    Ended {
        said: said.concat(),
        killed: output.status.signal() == Some(9),
        ok: output.status.success(),
    }
}

/// The broker serves, or what it says names one of these `ways` out.
async fn starts_or_says(broker: &mut TestBroker, ways: &[&str]) -> bool {
    match broker.restart().await {
        Ok(()) => {
            broker.stop().await;
            true
        }
        Err(error) => {
            let said = error.to_string();
            let named = ways.iter().any(|way| said.contains(way));
            assert!(named, "nobody knows what to do: {said}");
            false
        }
    }
}

/// Every so many changes: a short run has no time for them all.
fn every(changes: usize) -> impl Iterator<Item = usize> {
    (0..).step_by((changes / rounds()).max(1))
}

/// Further and further apart: of thousands of changes the first are not like each other, and the later ones are.
fn ever_further(from: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(from), |at| Some(at + (3 * at / rounds()).max(1)))
}

/// One round for each moment, until one run is not killed any more.
async fn at_each<F: Future<Output = bool>>(
    moments: impl Iterator<Item = usize>,
    mut round: impl FnMut(usize) -> F,
) {
    let mut dead = 0;
    for moment in moments {
        if !round(moment).await {
            break;
        }
        dead += 1;
    }
    assert!(dead > 3, "only {dead} died of it");
}

/// It serves, grants, and all of it verifies.
async fn goes_on(mut broker: TestBroker) {
    broker.restart().await.unwrap();
    grant(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish().await;
}

#[tokio::test]
async fn an_erasure_that_is_killed_happened_or_did_not() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    const PERSONAL: &str = "refs/heads/of-somebody-who-asked";
    at_each(every(7), async |call| {
        let mut broker = TestBroker::with().real_time().start().await;
        let asking = broker.ci("acme/web").on(PERSONAL);
        let asking = asking.ask("deploy", "Environment::prod/web");
        drop(asking.x509().await.refused(Code::Denied));
        let denied = broker.export().await.of("denied");
        let seq = denied[0].header["seq"].to_string();
        broker.stop().await;
        let erase = [
            "ledger",
            "erase",
            "--offline",
            "--basis",
            "request",
            "--seq",
            &seq,
        ];
        let first = run(&broker, &erase, Some(call)).await;
        broker.restart().await.unwrap();
        let export = broker.export().await;
        let erased = export.of("erased").len();
        assert!(erased <= 1, "{erased} entries say so");
        if erased == 1 {
            // While it serves: nothing of it waits for an orderly end.
            for file in ["stint.db", "stint.db-wal"] {
                let bytes = std::fs::read(broker.path(file)).unwrap_or_default();
                let found = bytes
                    .windows(PERSONAL.len())
                    .any(|it| it == PERSONAL.as_bytes());
                assert!(!found, "after {call} changes it is still in {file}");
            }
        }
        broker.stop().await;
        let again = run(&broker, &erase, None).await;
        let done = again.said.contains("nothing is left to erase");
        assert_eq!(
            (again.ok, done),
            (erased == 0, erased == 1),
            "{}",
            again.said
        );
        goes_on(broker).await;
        first.killed
    })
    .await;
}

/// A stopped broker, and where its backup is.
async fn backed_up() -> (TestBroker, String) {
    let mut broker = TestBroker::with().real_time().start().await;
    grant(&broker).await;
    broker.stop().await;
    let dir = broker.path("backup").display().to_string();
    let made = run(&broker, &["backup", &dir, "--offline"], None).await;
    assert!(made.ok, "{}", made.said);
    (broker, dir)
}

#[tokio::test]
async fn a_restore_that_is_killed_is_run_again() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    at_each(every(9), async |call| {
        let (broker, dir) = backed_up().await;
        broker.database().empty().await;
        let restore = ["restore", &dir];
        let first = run(&broker, &restore, Some(call)).await;
        let again = run(&broker, &restore, None).await;
        assert!(again.ok, "after {call} changes: {}", again.said);
        goes_on(broker).await;
        first.killed
    })
    .await;
}

/// What was signed and is not there is a loss once, and one new log begins for it.
#[tokio::test]
async fn a_loss_that_is_accepted_and_killed_makes_one_new_log() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    at_each(every(9), async |call| {
        let (mut broker, dir) = backed_up().await;
        // What it recorded since is lost with the database.
        broker.restart().await.unwrap();
        broker.remember().await;
        broker.stop().await;
        broker.database().empty().await;
        let restore = [&["restore", dir.as_str()], ACCEPT].concat();
        let first = run(&broker, &restore, Some(call)).await;
        let ways = ["`stintd restore", "--accept-loss"];
        let served = call % 2 == 1 && starts_or_says(&mut broker, &ways).await;
        if !served {
            let again = run(&broker, &restore, None).await;
            assert!(again.ok, "after {call} changes: {}", again.said);
        }
        broker.restart().await.unwrap();
        one_epoch_later(&broker).await;
        broker.abandon().await;
        first.killed
    })
    .await;
}

#[tokio::test]
async fn an_epoch_whose_end_is_killed_ends_once() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    at_each(every(9), async |call| {
        let mut broker = TestBroker::with().real_time().start().await;
        grant(&broker).await;
        broker.stop().await;
        let end = ["ledger", "epoch", "--reason", "a new year"];
        let first = run(&broker, &end, Some(call)).await;
        let again = run(&broker, &end, None).await;
        assert!(again.ok, "after {call} changes: {}", again.said);
        broker.restart().await.unwrap();
        one_epoch_later(&broker).await;
        broker.abandon().await;
        first.killed
    })
    .await;
}

/// However it was cut off, the same command leaves two keys, and a handover that whoever pinned the old one believes.
#[tokio::test]
async fn a_rotation_that_is_killed_hands_over() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    at_each(every(7), async |call| {
        let mut broker = TestBroker::with().real_time().start().await;
        grant(&broker).await;
        let old = broker.get("/v1/trust").await.json()["ledger"]["vkey"].clone();
        let old: VerifierKey = old.as_str().unwrap().parse().unwrap();
        broker.stop().await;
        let rotate = ["keys", "rotate", "ledger"];
        let first = run(&broker, &rotate, Some(call)).await;
        if call % 2 == 1 {
            broker.restart().await.unwrap();
            grant(&broker).await;
            broker.stop().await;
        }
        let again = run(&broker, &rotate, None).await;
        let done = again.said.contains("two keys sign already");
        assert!(again.ok || done, "after {call} changes: {}", again.said);
        let handovers: Vec<_> = std::fs::read_dir(broker.path("keys"))
            .unwrap()
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|it| it == "tlog-proof"))
            .collect();
        let [handover] = handovers.as_slice() else {
            panic!("after {call} changes: {handovers:?}");
        };
        let proof: Proof = std::fs::read_to_string(handover).unwrap().parse().unwrap();
        let proven = proof.verify(&[old]).unwrap();
        let added = matches!(
            proven.header.what,
            What::KeyAdded(KeyAdded { vkey: Some(_), .. })
        );
        assert!(added, "{:?}", proven.header);
        goes_on(broker).await;
        first.killed
    })
    .await;
}

/// The folder of keys is the old one, or says what to run; then it is the new one, and each key is on record once.
#[tokio::test]
async fn a_ca_that_is_replaced_and_killed_is_replaced_once() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    at_each(every(13), async |call| {
        let mut broker = TestBroker::with().real_time().start().await;
        grant(&broker).await;
        broker.stop().await;
        let replace = ["keys", "replace", "ca", "--reason", "a theft"];
        let first = run(&broker, &replace, Some(call)).await;
        let left = ["next", "next.done"].map(|name| broker.path("keys").join(name).exists());
        let done = broker.path("keys/root-1.pem.retired").exists() && left == [false; 2];
        if call % 2 == 1 {
            starts_or_says(&mut broker, &["`stintd keys replace ca` again"]).await;
        }
        let again = run(&broker, &replace, None).await;
        assert!(again.ok, "after {call} changes: {}", again.said);
        broker.restart().await.unwrap();
        grant(&broker).await;
        // Only one that had come to its end makes another.
        let third = again.said.contains("issuing-2.key.retired");
        assert_eq!(third, done, "after {call} changes: {}", again.said);
        let export = broker.export().await;
        for usage in ["ca", "jwt"] {
            let of = |kind: &str| {
                let entries = export.of(kind);
                let keys = entries.iter().map(|it| it.header["what"].clone());
                let keys = keys.filter(|what| what["use"] == usage);
                keys.map(|what| what["key"].to_string()).collect::<Vec<_>>()
            };
            let (added, retired) = (of("key_added"), of("key_retired"));
            let makes = if third { 3 } else { 2 };
            assert_eq!(added.len(), makes, "after {call} changes");
            assert_eq!(retired, added[..makes - 1], "after {call} changes");
        }
        broker.abandon().await;
        first.killed
    })
    .await;
}

/// The log in use is the only one after the first, which it names.
async fn one_epoch_later(broker: &TestBroker) {
    let logs = "SELECT count(*) FROM ledger_head";
    let found = stint_tests::database::number(&broker.database(), logs).await;
    assert_eq!(found, 2, "logs");
    let (export, report) = broker.verify_ledger().await;
    drop(report);
    let entries = export.entries();
    assert_eq!(entries[0].header["what"]["prior"]["log"], "it.stint/ledger");
}

/// All that a stopped broker has, to be had again as often as it takes.
struct Saved(tempfile::TempDir);

impl Saved {
    fn of(broker: &TestBroker) -> Self {
        let kept = tempfile::tempdir().unwrap();
        copy(&broker.path(""), kept.path());
        Self(kept)
    }

    fn back(&self, broker: &TestBroker) {
        for file in std::fs::read_dir(broker.path("")).unwrap() {
            let path = file.unwrap().path();
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
        }
        copy(self.0.path(), &broker.path(""));
    }
}

/// The archive, the entry, the rows: wherever it is killed the ledger serves, the same command goes on, and what is left and
/// the archive make up the whole.
#[tokio::test]
async fn a_pruning_that_is_killed_goes_on() {
    if !only_on(Engine::Sqlite, WHY) {
        return;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    broker.fill().await;
    broker.remember().await;
    broker.stop().await;
    let saved = Saved::of(&broker);
    let archive = broker.path("archive.stint");
    let below = UNIT.to_string();
    let prune = [PRUNE, &[&below, "--archive", archive.to_str().unwrap()]].concat();
    at_each(ever_further(25), async |call| {
        saved.back(&broker);
        let first = run(&broker, &prune, Some(call)).await;
        let again = run(&broker, &prune, None).await;
        assert!(again.ok, "after {call} changes: {}", again.said);
        assert!(!broker.path("archive.stint.partial").exists());
        assert!(archive.exists());
        first.killed
    })
    .await;
    broker.restart().await.unwrap();
    few_are_left(&broker).await;
    let pruned = broker.operator("GET", "/v1/ledger/bundle?from=65536").await;
    assert_eq!(pruned.status, 200, "{}", pruned.text());
    grant(&broker).await;
    broker.abandon().await;
}

/// What binds, of all that lay below the cut.
async fn few_are_left(broker: &TestBroker) {
    let sql = "SELECT count(*) FROM ledger_body WHERE seq < 65536";
    let left = stint_tests::database::number(&broker.database(), sql).await;
    assert!((1..=20).contains(&left), "{left}");
}

/// On a server the rows go by its owner's hand, in units: before one is there, and when its answer is lost.
#[tokio::test]
async fn on_postgres_a_pruning_that_is_killed_goes_on() {
    let spot = Cluster::shared().await.database().await;
    let proxy = Proxy::to(spot.port).await;
    let mut broker = setup(&spot, proxy.port()).start().await;
    broker.fill().await;
    broker.remember().await;
    broker.stop().await;
    write_secret(&broker.path("owner.password"), PASSWORD.as_bytes());
    let password = broker.path("owner.password").display().to_string();
    let saved = Saved::of(&broker);
    broker.database().save("before").await;
    let (archive, below) = (broker.path("archive.stint"), UNIT.to_string());
    let (file, owner) = (
        archive.display().to_string(),
        spot.url_at(OWNER, proxy.port()),
    );
    let by = ["--store", &owner, "--store-password-file", &password];
    let prune = [PRUNE, &[&below, "--archive", &file], &by].concat();
    at_each(every(5), async |commit| {
        saved.back(&broker);
        broker.database().restore("before").await;
        let fate = [After::Lost, After::Deaf][commit % 2];
        proxy.after_others(commit, b"COMMIT\0", fate);
        let killed = killed_there(&broker, &prune, &proxy).await;
        let again = run(&broker, &prune, None).await;
        assert!(again.ok, "{fate:?} at commit {commit}: {}", again.said);
        assert!(!broker.path("archive.stint.partial").exists());
        assert!(archive.exists());
        killed
    })
    .await;
    broker.restart().await.unwrap();
    few_are_left(&broker).await;
    grant(&broker).await;
    broker.abandon().await;
}

/// Runs `stintd ARGS` until the wire does what it was told, and kills it there. Whether it came to that.
async fn killed_there(broker: &TestBroker, args: &[&str], proxy: &Proxy) -> bool {
    let mut command = Command::new(program("stintd"));
    command.args(args).arg("-c").arg(broker.write_config());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut ended = None;
    eventually("it ends, or COMMIT went by", async || {
        ended = child.try_wait().unwrap();
        ended.is_some() || proxy.triggered()
    })
    .await;
    let met = proxy.triggered();
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    proxy.heal();
    proxy.cut();
    met
}

/// A move whose last COMMIT meets `fate` on its way, and that is killed before it can say so in the file.
async fn move_cut(fate: After) {
    let mut broker = TestBroker::with().real_time().start().await;
    grant(&broker).await;
    broker.remember().await;
    broker.stop().await;
    write_secret(&broker.path("owner.password"), PASSWORD.as_bytes());
    let password = broker.path("owner.password").display().to_string();
    let spot = Cluster::shared().await.empty_database().await;
    let proxy = Proxy::to(spot.port).await;
    let url = spot.url_at(OWNER, proxy.port());
    // Its tables are there: the COMMIT that is met is that of the move.
    let tables = [
        "migrate",
        "--store",
        &url,
        "--store-password-file",
        &password,
    ];
    let made = run(&broker, &tables, None).await;
    assert!(made.ok, "{}", made.said);
    let migrate = ["migrate", "--to", &url, "--password-file", &password];
    proxy.after(b"COMMIT\0", fate);
    assert!(killed_there(&broker, &migrate, &proxy).await);
    let served = starts_or_says(&mut broker, &["was cut off: run `stintd migrate --to`"]).await;
    assert!(!served, "a file that is marked is served");
    let again = run(&broker, &migrate, None).await;
    assert!(again.ok, "{fate:?}: {}", again.said);
    let refused = broker.restart().await.unwrap_err().to_string();
    assert!(refused.contains("moved to `postgres://"), "{refused}");
    spot.tell(GRANTS).await;
    let file = format!("url = \"sqlite:{}\"", broker.path("stint.db").display());
    let server = format!(
        "url = \"{}\"\npassword = {{ file = \"{password}\" }}",
        spot.url(SERVICE)
    );
    broker.reconfigure(&file, &server);
    broker.moved_to(spot);
    goes_on(broker).await;
}

/// Before the server has it, and after.
#[tokio::test]
async fn a_move_that_is_killed_at_its_commit_is_run_again() {
    if !only_on(Engine::Sqlite, "a move begins at a file") {
        return;
    }
    together([After::Lost, After::Deaf].map(|fate| Box::pin(move_cut(fate)))).await;
}

/// On a server too: one transaction, which is there or is not, and a new log that began counts once.
async fn loss_cut(fate: After) {
    let spot = Cluster::shared().await.database().await;
    let proxy = Proxy::to(spot.port).await;
    let mut broker = setup(&spot, proxy.port()).start().await;
    grant(&broker).await;
    broker.stop().await;
    broker.database().save("yesterday").await;
    broker.restart().await.unwrap();
    grant(&broker).await;
    broker.stop().await;
    broker.database().restore("yesterday").await;
    let restore = [&["restore"], ACCEPT].concat();
    proxy.after(b"COMMIT\0", fate);
    assert!(killed_there(&broker, &restore, &proxy).await);
    let again = run(&broker, &restore, None).await;
    assert!(again.ok, "{fate:?}: {}", again.said);
    broker.restart().await.unwrap();
    one_epoch_later(&broker).await;
    broker.abandon().await;
}

#[tokio::test]
async fn on_postgres_a_loss_that_is_accepted_and_killed_makes_one_new_log() {
    together([After::Lost, After::Deaf].map(|fate| Box::pin(loss_cut(fate)))).await;
}
