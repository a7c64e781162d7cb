//! Which addresses the fetcher may dial: public ones, and those an entry's `allow_private` names (IDENTITY.md §2.5).
//! Judged on the address that is really used, after any name was resolved.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// What one entry may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Loopback and nothing else, in the clear: `stintd dev`.
    Loopback,
    /// Public addresses and these networks, over TLS.
    Public(Vec<Network>),
}

impl Reach {
    pub(super) fn permits(&self, address: IpAddr) -> bool {
        match self {
            Reach::Loopback => address.is_loopback(),
            Reach::Public(allowed) => {
                is_public(address) || allowed.iter().any(|network| network.holds(address))
            }
        }
    }
}

/// Addresses that share their first bits: `10.1.0.0/16`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    bits: u128,
    length: u32,
    width: u32,
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, d: u8, length: u32) -> Network {
        Network {
            bits: u32::from_be_bytes([a, b, c, d]) as u128,
            length,
            width: 32,
        }
    }

    const fn v6(head: u32, length: u32) -> Network {
        Network {
            bits: (head as u128) << 96,
            length,
            width: 128,
        }
    }

    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        let (bits, width) = bits(address);
        width == self.width && shifted(bits ^ self.bits, self.width - self.length) == 0
    }
}

impl FromStr for Network {
    type Err = ();

    /// An address without host bits, `/`, a length.
    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, length) = text.split_once('/').ok_or(())?;
        let (bits, width) = bits(address.parse().or(Err(()))?);
        let length = length.parse::<u32>().or(Err(()))?;
        let host_bits = width.checked_sub(length).ok_or(())?;
        let network = Network {
            bits,
            length,
            width,
        };
        let clean = host_bits == 128 || shifted(bits, host_bits) << host_bits == bits;
        if clean { Ok(network) } else { Err(()) }
    }
}

fn bits(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

/// `bits >> by`, where all 128 may go.
fn shifted(bits: u128, by: u32) -> u128 {
    bits.checked_shr(by).unwrap_or(0)
}

fn is_public(address: IpAddr) -> bool {
    let outside = |networks: &[Network]| networks.iter().all(|network| !network.holds(address));
    match address {
        IpAddr::V4(_) => outside(&NOT_PUBLIC_V4),
        // Everything that is routed lies in 2000::/3; the forms that carry an IPv4 address inside are not dialled.
        IpAddr::V6(v6) => GLOBAL_V6.holds(v6.into()) && outside(&NOT_PUBLIC_V6) && !carries_v4(v6),
    }
}

/// Mapped and NAT64 addresses reach an IPv4 host that was not judged.
fn carries_v4(address: Ipv6Addr) -> bool {
    address.to_ipv4_mapped().is_some() || NAT64.iter().any(|network| network.holds(address.into()))
}

/// The IANA special-purpose registry for IPv4, multicast and class E.
const NOT_PUBLIC_V4: [Network; 15] = [
    Network::v4(0, 0, 0, 0, 8),
    Network::v4(10, 0, 0, 0, 8),
    Network::v4(100, 64, 0, 0, 10),
    Network::v4(127, 0, 0, 0, 8),
    Network::v4(169, 254, 0, 0, 16),
    Network::v4(172, 16, 0, 0, 12),
    Network::v4(192, 0, 0, 0, 24),
    Network::v4(192, 0, 2, 0, 24),
    Network::v4(192, 88, 99, 0, 24),
    Network::v4(192, 168, 0, 0, 16),
    Network::v4(198, 18, 0, 0, 15),
    Network::v4(198, 51, 100, 0, 24),
    Network::v4(203, 0, 113, 0, 24),
    Network::v4(224, 0, 0, 0, 4),
    Network::v4(240, 0, 0, 0, 4),
];

const GLOBAL_V6: Network = Network::v6(0x2000_0000, 3);

/// Teredo and other protocol assignments, documentation, 6to4.
const NOT_PUBLIC_V6: [Network; 4] = [
    Network::v6(0x2001_0000, 23),
    Network::v6(0x2001_0db8, 32),
    Network::v6(0x2002_0000, 16),
    Network::v6(0x3fff_0000, 20),
];

/// RFC 6052 and RFC 8215.
const NAT64: [Network; 2] = [Network::v6(0x0064_ff9b, 32), Network::v6(0x0064_ff9b, 48)];

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(reach: &Reach, address: &str) -> bool {
        reach.permits(address.parse().unwrap())
    }

    #[test]
    fn only_public_addresses_are_dialled_unless_named() {
        let public = Reach::Public(Vec::new());
        for address in
            "8.8.8.8 100.63.255.255 172.32.0.1 2606:4700::1111 2001:4860:4860::8888".split(' ')
        {
            assert!(permits(&public, address), "{address}");
        }
        let refused = "0.0.0.0 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1 \
            172.31.255.255 192.168.1.1 198.19.0.1 203.0.113.9 224.0.0.1 255.255.255.255 :: ::1 ::ffff:8.8.8.8 \
            ::ffff:127.0.0.1 64:ff9b::808:808 64:ff9b:1::1 fc00::1 fd12::1 fe80::1 ff02::1 2001:db8::1 2002:7f00:1::1 \
            2001::1 ::8.8.8.8";
        for address in refused.split_whitespace() {
            assert!(!permits(&public, address), "{address}");
        }
        let named = ["10.1.0.0/16", "fd00::/8"].map(|network| network.parse().unwrap());
        let allowed = Reach::Public(named.into());
        assert!(permits(&allowed, "10.1.2.3") && permits(&allowed, "fd12::1"));
        for address in ["10.2.2.3", "fc00::1", "::ffff:10.1.2.3"] {
            assert!(!permits(&allowed, address), "{address}");
        }
        assert!(permits(&Reach::Loopback, "127.0.0.1") && permits(&Reach::Loopback, "::1"));
        assert!(!permits(&Reach::Loopback, "8.8.8.8"));
    }

    #[test]
    fn networks_have_no_host_bits() {
        for good in ["0.0.0.0/0", "::/0", "10.1.2.3/32", "::1/128", "10.0.0.0/8"] {
            assert!(good.parse::<Network>().is_ok(), "{good}");
        }
        for bad in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "10.0.0.0/-1",
            "x/8",
            "fd00::1/8",
            "::/129",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        let all = Reach::Public(vec!["::/0".parse().unwrap()]);
        assert!(permits(&all, "::1") && !permits(&all, "127.0.0.1"));
    }
}
