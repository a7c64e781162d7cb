//! Peers: whoever shares an address, as far as limits go.

use std::net::{IpAddr, Ipv6Addr};

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
