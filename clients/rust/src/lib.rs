//! Stint from Rust: say who you are, ask for one piece of work, get a credential that is good for that and no more.
//!
//! ```no_run
//! # async fn deploy() -> Result<(), stint_client::Error> {
//! use stint_client::{Anchor, Client, Endpoint, Outcome, SessionKey, Source, x509};
//!
//! let client = Client::new(Endpoint::new("https://stint.acme.dev", Anchor::System))?;
//! let source = Source::detect(|name| std::env::var(name).ok())?;
//! let session = client.session(source).prove(SessionKey::generate()?);
//! let (key, ask) = x509("deploy", ["Environment::prod/web"])?;
//! match session.grant(&ask).await? {
//!     Outcome::Granted(granted) => println!("{} until {}", granted.grant, granted.expires_at),
//!     Outcome::Held(pending) => {
//!         println!("ask somebody: {}", pending.held().approve_url);
//!         let decided = pending.wait(&session, |_| ()).await?;
//!         println!("{:?}", decided.state); // if approved: pending.redeem(&session).await?
//!     }
//! }
//! # drop(key);
//! # Ok(())
//! # }
//! ```
//!
//! Read `client.rs` first. Promises: evidence is fetched anew for every ask and never logged; plain HTTP goes to
//! loopback only; redirects are not followed; nothing is retried behind your back; the environment is not read; a
//! platform's own program is run only where that platform was recognised, or named.

mod client;
mod clock;
mod credential;
mod error;
mod evidence;
mod judge;
mod proof;
mod receive;

pub use client::{
    Anchor, Client, Endpoint, Fingerprint, Outcome, Pending, Person, PersonToken, Pkce, Session,
    body, download, local,
};
pub use credential::{CertificateKey, jwt, x509};
pub use error::Error;
pub use evidence::{Row, Source, SourceError};
pub use judge::{Finding, Judgement, judge};
pub use proof::{Keeper, SessionKey};
pub use stint_wire as wire;
