//! A power cut at any moment: images of the disk as it may be found afterwards.
//!
//! The program runs on a disk that keeps a record of each write and each sync (`disk.c`). What was written before a file's
//! last sync is on the disk; of what came after it, any part may be, whole or in pieces of a sector. Each image is opened
//! as SQLite opens it after a crash, and read entry by entry: every answer that was given before the cut must be in it.

use std::collections::BTreeMap;
use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Row as _};
use stint_audit::{Head, What};
use stint_broker::store::Engine;
use stint_tests::TestBroker;
use stint_tests::database::only_on;

use crate::common::{STAGING, grant, rounds, settled};
use crate::steps::on_disk;

const SECTOR: usize = 512;

/// One call.
struct Call {
    what: u8,
    file: u8,
    at: usize,
    bytes: Vec<u8>,
    /// Where it ends in the record.
    end: usize,
}

fn calls(record: &[u8]) -> Vec<Call> {
    let (mut calls, mut at) = (Vec::new(), 0);
    let number = |from: usize| -> Option<usize> {
        let bytes = record.get(from..from + 8)?;
        Some(usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap())
    };
    while let (Some(place), Some(length)) = (number(at + 2), number(at + 10)) {
        let (what, file) = (record[at], record[at + 1]);
        let end = at + 18 + length;
        let Some(bytes) = record.get(at + 18..end) else {
            break;
        };
        calls.push(Call {
            what,
            file,
            at: place,
            bytes: bytes.to_vec(),
            end,
        });
        at = end;
    }
    calls
}

/// What is on the disk: a file by its letter.
#[derive(Default, Clone)]
struct Disk(BTreeMap<u8, Vec<u8>>);

impl Disk {
    fn take(&mut self, call: &Call, sectors: impl Fn(usize) -> bool) {
        let file = self.0.entry(call.file).or_default();
        match call.what {
            b't' => file.resize(call.at, 0),
            b'w' => {
                let end = call.at + call.bytes.len();
                for (place, byte) in (call.at..end).zip(&call.bytes) {
                    if sectors(place / SECTOR) {
                        file.resize(file.len().max(place + 1), 0);
                        file[place] = *byte;
                    }
                }
            }
            _ => {}
        }
    }
}

/// A number as good as random, the same in every run.
fn dice(seed: usize) -> usize {
    let mixed = (seed as u64 ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap()
}

/// The disk after a cut behind the first `cut` calls; `luck` decides what of the unsynced arrived.
fn image(calls: &[Call], cut: usize, luck: usize) -> Disk {
    let synced = |file: u8| {
        let last = calls[..cut]
            .iter()
            .rposition(|it| it.what == b's' && it.file == file);
        last.map_or(0, |at| at + 1)
    };
    let synced = BTreeMap::from([(b'd', synced(b'd')), (b'w', synced(b'w'))]);
    let mut disk = Disk::default();
    for (at, call) in calls[..cut].iter().enumerate() {
        if at < synced[&call.file] {
            disk.take(call, |_| true);
        } else {
            match dice(luck * 7919 + at) % 3 {
                0 => {}
                1 => disk.take(call, |_| true),
                _ => disk.take(call, |sector| {
                    dice(luck * 31 + at * 131 + sector).is_multiple_of(2)
                }),
            }
        }
    }
    disk
}

/// Opens what is found and reads all of it. Gives the ids of the grants in it.
async fn read(disk: &Disk, folder: &Path) -> Vec<String> {
    let path = folder.join("found.db");
    for (file, name) in [(b'd', "found.db"), (b'w', "found.db-wal")] {
        std::fs::write(
            folder.join(name),
            disk.0.get(&file).map_or(&[][..], Vec::as_slice),
        )
        .unwrap();
    }
    drop(std::fs::remove_file(folder.join("found.db-shm")));
    let mut db = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(&path))
        .await
        .unwrap();
    let whole = sqlx::query("PRAGMA integrity_check")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(whole.get::<String, _>(0), "ok");
    let head = sqlx::query("SELECT log, size, root FROM ledger_head")
        .fetch_one(&mut db)
        .await
        .unwrap();
    let (mut known, mut grants) = (Head::empty(&head.get::<String, _>(0), 0), Vec::new());
    let rows = sqlx::query("SELECT headers, root FROM ledger_batch ORDER BY first_seq");
    for row in rows.fetch_all(&mut db).await.unwrap() {
        let headers = cut_up(row.get(0));
        let (next, entries) = known.follow(headers.iter().map(Vec::as_slice)).unwrap();
        assert_eq!(next.root().as_bytes().as_slice(), row.get::<&[u8], _>(1));
        grants.extend(
            entries
                .iter()
                .filter(|it| matches!(it.what, What::Granted(_)))
                .map(|it| it.id.clone()),
        );
        known = next;
    }
    assert_eq!(i64::try_from(known.size()).unwrap(), head.get::<i64, _>(1));
    assert_eq!(known.root().as_bytes().as_slice(), head.get::<&[u8], _>(2));
    let bodies = sqlx::query("SELECT count(*) FROM ledger_body")
        .fetch_one(&mut db)
        .await
        .unwrap();
    assert_eq!(bodies.get::<i64, _>(0), head.get::<i64, _>(1));
    db.close().await.unwrap();
    grants
}

fn cut_up(mut rest: &[u8]) -> Vec<Vec<u8>> {
    let mut headers = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let (header, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
        headers.push(header.to_vec());
        rest = after;
    }
    headers
}

#[tokio::test]
async fn whatever_a_power_cut_leaves_holds_every_grant_that_was_answered() {
    if !only_on(Engine::Sqlite, "a disk that fails is under a file") {
        return;
    }
    let mut broker = TestBroker::with().real_time().start().await;
    // In order, so that the record begins with files that are whole.
    broker.stop().await;
    let mut begun = Disk::default();
    begun
        .0
        .insert(b'd', std::fs::read(broker.database()).unwrap());
    on_disk(&mut broker, "trace").await;
    let trace = broker.path("trace");
    let mut answered = Vec::new();
    for _ in 0..12 * rounds() {
        let grant = broker
            .ci("acme/web")
            .ask("deploy", STAGING)
            .x509()
            .await
            .granted()
            .grant;
        let length = std::fs::metadata(&trace).unwrap().len();
        answered.push((usize::try_from(length).unwrap(), grant));
    }
    // In order again: the log is moved into the database while it is recorded.
    broker.stop().await;
    let mut calls = calls(&std::fs::read(&trace).unwrap());
    let first = Call {
        what: b'w',
        file: b'd',
        at: 0,
        bytes: begun.0[&b'd'].clone(),
        end: 0,
    };
    let sync = Call {
        what: b's',
        file: b'd',
        at: 0,
        bytes: Vec::new(),
        end: 0,
    };
    calls.splice(0..0, [first, sync]);
    let folder = tempfile::tempdir().unwrap();
    let mut images = 0;
    for cut in (2..=calls.len()).step_by(if rounds() > 1 { 1 } else { 3 }) {
        let found = read(&image(&calls, cut, cut), folder.path()).await;
        let end = calls[cut - 1].end;
        for (_, grant) in answered.iter().filter(|(at, _)| *at <= end) {
            assert!(found.contains(grant), "a cut after call {cut} lost {grant}");
        }
        images += 1;
    }
    assert!(images > 30, "{images} images of {} calls", calls.len());
    broker.restart().await.unwrap();
    grant(&broker).await;
    drop(settled(&broker, &broker.grants()).await);
    broker.finish().await;
}
