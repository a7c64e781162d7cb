//! What operators do to the ledger as a whole (LEDGER.md §12), and to the database it lives in.
//!
//! In reading order. `read` hands out one entry. [`backup`] copies all of it while it is served. The rest wants the
//! broker stopped, and takes the ledger in [`hand`], which makes every check of a start: [`restore`] brings a copy back,
//! or goes on from a loss, or ends an epoch; [`recover`] puts on record again what was lost and lies elsewhere;
//! [`rotate`] lets one key of the log take over from another, [`replace`] makes CA and token key anew; [`migrate`] brings
//! the schema up to date, and [`relocate`] takes a file to a server.
//!
//! Two promises hold for each. It is on record: an act is an entry, or the first entries of the log that it begins. And
//! whoever is killed in the middle runs it again: there is no half of any of these that stays.

pub(crate) mod read;

pub mod backup;
pub mod hand;
pub mod recover;
pub mod replace;
pub mod restore;
pub mod rotate;

pub mod migrate;
pub mod relocate;
