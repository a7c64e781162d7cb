//! Peers: whoever shares an address, as far as limits go.

use std::net::{IpAddr, Ipv6Addr};

use super::TooMany;
use super::meter::Meter;
use crate::clock::Stopwatch;
use crate::config::Rate;

/// An IPv4 address, or the first 64 bits of an IPv6 address: what one subscriber has (SECURITY.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey(u128);

impl PeerKey {
    /// The peer at `address`. An IPv4 address is the same whether it came mapped into IPv6 or not.
    #[must_use]
    pub fn of(address: IpAddr) -> PeerKey {
        PeerKey(match address.to_canonical() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits() & (u128::MAX << 64),
        })
    }

    /// Whoever has no address: the operator's socket.
    pub const LOCAL: PeerKey = PeerKey(Ipv6Addr::LOCALHOST.to_bits());
}

/// One rate for each peer, on the monotonic clock: a step of the system's frees and locks out nobody.
#[derive(Debug)]
pub(crate) struct PeerRate {
    meter: Meter<PeerKey>,
    since: Stopwatch,
}

impl PeerRate {
    /// At `rate`, with five periods' worth at once.
    pub(crate) fn new(rate: Rate) -> PeerRate {
        PeerRate {
            meter: Meter::bursting(rate, 5),
            since: Stopwatch::start(),
        }
    }

    /// Admits one request of `peer`.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn take(&self, peer: PeerKey) -> Result<(), TooMany> {
        let now = self.since.elapsed().as_micros();
        self.meter
            .take(&peer, i64::try_from(now).unwrap_or(i64::MAX))
    }
}
