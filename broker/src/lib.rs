//! The broker: evidence and an ask go in; a credential, a parked request or a refusal comes out.
//!
//! In reading order: [`issue`] tells the whole story of a grant. It asks [`authenticate`] who is
//! there, [`task`] for what work, [`policies`] what is in force; `stint-policy` decides, `stint-ca`
//! prepares and signs, [`ledger`] records in between. [`store`] holds the rows, [`http`] is the
//! front door. [`start`] builds all of it from a [`config`], [`serve`] runs it; [`init`] makes a
//! new one and [`dev`] one to try.
//!
//! What is absent is meant to be: SQL outside `store` and `ledger`, HTTP outside `http`, a second
//! clock, a second commit, a second road to a credential.

pub mod approve;
pub mod issue;

pub mod authenticate;
pub mod limits;
pub mod noise;
pub mod notify;
pub mod people;
pub mod policies;
pub mod task;
pub mod trust;

mod export;
pub mod ledger;
pub mod sinks;
pub mod store;
pub mod upkeep;

mod console;
pub mod http;

pub mod config;
pub mod dev;
pub mod doctor;
pub mod init;
pub mod keyring;
pub mod serve;
pub mod start;
pub mod telemetry;

pub mod witness;

pub mod clock;
mod durable;
pub mod ids;
mod post;
mod random;
mod skew;
mod strict;
