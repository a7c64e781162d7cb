//! The harness: a real broker in this process, over real TCP, on a real database, with a clock the test holds.
//!
//! ```text
//! let broker = TestBroker::start().await;
//! broker.ci("acme/web").on("refs/heads/main").ask("deploy", "Environment::staging/web").x509().await.granted();
//! broker.finish().await;
//! ```
//!
//! `STINT_TEST_STORE=postgres` runs every test on PostgreSQL ([`postgres`]); what is about one engine alone says so
//! ([`database::only_on`]). [`TestBroker::replica`] is another broker over the same database.
//!
//! Nothing of ours is stood in for: config text, keys, ledger, policies and issuers are what `stintd` would take.
//! [`TestBroker::serve`] lets the program itself take over the same folder. Every test ends with
//! [`TestBroker::finish`], which asks what must hold whatever was tested ([`after`]); a test that forgets it fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on fails on the spot"
)]

mod ballot;
pub mod broker;
pub mod caller;
pub mod clock;
pub mod evil;

pub mod answer;
pub mod exchange;
pub mod issuer;
pub mod keys;
pub mod log;
pub mod passkey;
pub mod people;
pub mod votes;

pub mod after;
pub mod database;
pub mod files;
pub mod filled;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod tls;
pub mod together;

pub use answer::Answer;
pub use broker::TestBroker;
pub use issuer::Like;
pub use together::together;
