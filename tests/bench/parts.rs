//! What the walk cannot do without, each part alone: the ceiling's arithmetic stands in the root of this bench.

use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use data_encoding::BASE64URL_NOPAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use stint_broker::clock::Stopwatch;
use stint_broker::dev::Issuer;
use stint_ca::SubjectKey;

use crate::broker::{Bench, Wanted};
use crate::cpu;
use crate::decisions::{self, Question};
use crate::load::{self, Run, Target};

/// Processor time per grant, microseconds; and the disk's.
#[derive(Debug)]
pub(crate) struct Parts {
    costs: Vec<(&'static str, f64)>,
    pub(crate) sync_us: f64,
}

impl Parts {
    /// Measures the parts of one grant of `run`.
    pub(crate) fn measure(
        bench: &Bench,
        (wanted, connections): (Wanted, usize),
        run: &Run,
        scale: usize,
    ) -> Parts {
        let request = std::str::from_utf8(&run.sample.0).unwrap();
        let folder = bench.folder.path();
        let mut costs = vec![
            ("RS256 verification", rs256(request, 20_000 / scale)),
            ("decision", decision(bench, 10_000 / scale)),
            ("ES256 signature", es256(20_000 / scale)),
        ];
        if wanted == Wanted::X509 {
            costs.push(("CSR check", csr(request, 8_000 / scale)));
        }
        costs.push(("HTTP", http(run, connections, 10_000 / scale)));
        costs.push(("rows", rows(folder, run.batch(), 8_000 / scale)));
        Parts {
            costs,
            sync_us: sync(folder, 400 / scale),
        }
    }

    pub(crate) fn costs(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.costs.iter().copied()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.costs().map(|(_, cost)| cost).sum()
    }
}

/// Microseconds of processor time a call, by the clock the broker is measured with.
fn each(times: usize, mut call: impl FnMut()) -> f64 {
    let before = cpu::of_this_thread();
    (0..times).for_each(|_| call());
    (cpu::of_this_thread() - before) / times as f64
}

fn rs256(request: &str, times: usize) -> f64 {
    let token = between(request, "Bearer ", "\r\n");
    let (input, signature) = token.rsplit_once('.').unwrap();
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap();
    let config = Issuer::all("http://localhost").unwrap().remove(0).config();
    let number = |name: &str| {
        let text = between(&config, &format!(" {name} = \""), "\"");
        BASE64URL_NOPAD.decode(text.as_bytes()).unwrap()
    };
    let key = RsaPublicKeyComponents {
        n: number("n"),
        e: number("e"),
    };
    each(times, || {
        key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &signature)
            .unwrap()
    })
}

fn decision(bench: &Bench, times: usize) -> f64 {
    let set = decisions::set(100);
    let question = Question::of(bench.caller());
    each(times, || question.must_be_granted(&set))
}

fn es256(times: usize) -> f64 {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random)
        .unwrap();
    let message = [7; 900];
    each(times, || {
        assert_eq!(key.sign(&random, &message).unwrap().as_ref().len(), 64)
    })
}

fn csr(request: &str, times: usize) -> f64 {
    let (_, body) = request.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let csr = body["credential"]["csr"].as_str().unwrap();
    each(times, || drop(SubjectKey::from_csr(csr).unwrap()))
}

/// The same requests and answers through `axum` alone, its body read as JSON.
fn http(run: &Run, connections: usize, times: usize) -> f64 {
    let runtime = load::runtime("broker", 2);
    let (_, body) = std::str::from_utf8(&run.sample.1)
        .unwrap()
        .split_once("\r\n\r\n")
        .unwrap();
    let reply = Bytes::copy_from_slice(body.as_bytes());
    let answer = move |body: Bytes| async move {
        let read = serde_json::from_slice::<stint_wire::Ask>(&body);
        (
            if read.is_ok() {
                StatusCode::CREATED
            } else {
                StatusCode::BAD_REQUEST
            },
            reply,
        )
    };
    let listening = runtime
        .block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .unwrap();
    let address = listening.local_addr().unwrap();
    let router = Router::new().route("/v1/grants", post(answer));
    let serving = runtime.spawn(async move { axum::serve(listening, router).await });
    let requests = vec![Arc::clone(&run.sample.0); times];
    let to = Target {
        address,
        from: address.ip(),
        tls: None,
    };
    let cost = load::run(&to, requests, connections, 201).broker_us();
    serving.abort();
    cost
}

/// Rows of the size of a grant's, with two indexes, by one statement a transaction of `batch` rows, durable.
/// The wait for the disk is not in it: processor time only.
fn rows(folder: &Path, batch: f64, times: usize) -> f64 {
    let batch = (batch.round() as usize).max(1);
    let runtime = load::runtime("broker", 1);
    let rows: Vec<Value> = (0..batch)
        .map(|number| json!({ "number": number, "body": "x".repeat(ROW) }))
        .collect();
    let rows = json!(rows).to_string();
    let commits = (times / batch).clamp(20, 2_000);
    let cost = runtime.block_on(async {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("rows.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full);
        let mut db = SqliteConnection::connect_with(&options).await.unwrap();
        run(&mut db, "CREATE TABLE IF NOT EXISTS grants (id BLOB PRIMARY KEY, serial BLOB UNIQUE, body TEXT)").await;
        let before = cpu::of_threads(&["broker", "sqlx", "walk"]);
        for _ in 0..commits {
            run(&mut db, "BEGIN IMMEDIATE").await;
            sqlx::query(INSERT).bind(&rows).execute(&mut db).await.unwrap();
            run(&mut db, "COMMIT").await;
        }
        let after = cpu::of_threads(&["broker", "sqlx", "walk"]);
        db.close().await.unwrap();
        after - before
    });
    cost / (commits * batch) as f64
}

async fn run(db: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(db).await.unwrap();
}

/// One page appended and on the disk: what a commit waits for.
fn sync(folder: &Path, times: usize) -> f64 {
    let mut file = File::create(folder.join("append")).unwrap();
    let mut took: Vec<f64> = (0..times.max(20))
        .map(|_| {
            let watch = Stopwatch::start();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            watch.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap();
    rest.split_once(after).unwrap().0
}

const INSERT: &str = "INSERT INTO grants (id, serial, body)
     SELECT randomblob(16), randomblob(20), value ->> 'body' FROM json_each($1)";
/// Header and body of a `granted` entry.
const ROW: usize = 1_400;
