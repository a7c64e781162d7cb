//! What a proxy says of its client. It counts where the operator named the proxy, and nowhere else: anybody can write
//! these headers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;

use crate::config::{Cidr, ProxyClientCert};
use crate::http::peer::{Forwarded, Peer};

/// The proxies of one listener.
#[derive(Clone, Debug)]
pub struct Proxies {
    trusted: Arc<[Cidr]>,
    client_cert: ProxyClientCert,
}

/// A trusted proxy's header that cannot be read: to go on without it would take one client for another.
#[derive(Debug)]
pub(super) struct Unreadable;

impl Proxies {
    /// Those in `trusted`, and whether their word on certificates counts too.
    #[must_use]
    pub fn new(trusted: Arc<[Cidr]>, client_cert: ProxyClientCert) -> Proxies {
        Proxies {
            trusted,
            client_cert,
        }
    }

    /// Nobody.
    #[must_use]
    pub fn none() -> Proxies {
        Proxies::new(Arc::from([]), ProxyClientCert::Ignored)
    }

    /// Puts the client of a trusted proxy in its place.
    pub(super) fn resolve(&self, request: &mut Request) -> Result<(), Unreadable> {
        let Some(peer) = request.extensions().get::<Peer>() else {
            return Ok(());
        };
        if !self.trusts(peer.address) {
            return Ok(());
        }
        let headers = request.headers();
        let address = self.client(headers, peer.address)?;
        let certificates = match self.client_cert {
            ProxyClientCert::Ignored => Vec::new(),
            ProxyClientCert::Rfc9440 => certificates(headers)?,
        };
        let peer = Peer {
            address,
            certificates: certificates.into(),
        };
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Forwarded);
        Ok(())
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.iter().any(|proxy| proxy.holds(address))
    }

    /// The last hop that is no trusted proxy: what stands before it is that hop's word. Without the header it is the
    /// proxy itself that asks.
    fn client(&self, headers: &HeaderMap, proxy: IpAddr) -> Result<IpAddr, Unreadable> {
        let mut client = proxy;
        for line in headers.get_all("x-forwarded-for").iter().rev() {
            for hop in line.to_str().or(Err(Unreadable))?.rsplit(',') {
                client = address(hop.trim()).ok_or(Unreadable)?;
                if !self.trusts(client) {
                    return Ok(client);
                }
            }
        }
        Ok(client)
    }
}

/// An address, which some proxies write with a port.
fn address(hop: &str) -> Option<IpAddr> {
    let bracketed = || {
        let (address, _) = hop.strip_prefix('[')?.split_once(']')?;
        address.parse().ok()
    };
    let with_port = || hop.parse::<std::net::SocketAddr>().ok().map(|it| it.ip());
    let plain = hop.parse().ok();
    plain
        .or_else(with_port)
        .or_else(bracketed)
        .map(|it: IpAddr| it.to_canonical())
}

/// RFC 9440: the leaf alone in `Client-Cert`, the rest in `Client-Cert-Chain`, each a byte sequence of RFC 9651.
fn certificates(headers: &HeaderMap) -> Result<Vec<CertificateDer<'static>>, Unreadable> {
    let mut leaves = headers.get_all("client-cert").iter();
    let leaf = match (leaves.next(), leaves.next()) {
        (None, _) => return Ok(Vec::new()),
        (Some(leaf), None) => sequence(text(leaf)?)?,
        (Some(_), Some(_)) => return Err(Unreadable),
    };
    let mut chain = vec![leaf];
    for line in &headers.get_all("client-cert-chain") {
        for item in text(line)?.split(',') {
            chain.push(sequence(item)?);
        }
    }
    match chain.len() {
        ..=MAX_CHAIN => Ok(chain),
        _ => Err(Unreadable),
    }
}

fn text(value: &HeaderValue) -> Result<&str, Unreadable> {
    value.to_str().or(Err(Unreadable))
}

/// `:BASE64:`.
fn sequence(item: &str) -> Result<CertificateDer<'static>, Unreadable> {
    let inner = item
        .trim()
        .strip_prefix(':')
        .and_then(|item| item.strip_suffix(':'));
    let der = inner.and_then(|text| BASE64.decode(text.as_bytes()).ok());
    der.filter(|der| !der.is_empty())
        .map(CertificateDer::from)
        .ok_or(Unreadable)
}

/// As many as a handshake may bring.
const MAX_CHAIN: usize = 5;

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::{Arc, Peer, Proxies, ProxyClientCert};
    use crate::config::Config;

    fn proxies(client_cert: ProxyClientCert) -> Proxies {
        let text = r#"
            version = 1
            server = { url = "https://stint.acme.dev", tls = "proxy", trusted_proxies = ["10.0.0.0/8"] }
            ca = { trust_domain = "acme.dev" }
            policy = { dir = "policy" }
        "#;
        let parsed = Config::parse("test", text, std::path::Path::new("/")).unwrap();
        Proxies::new(parsed.config.server.trusted_proxies.into(), client_cert)
    }

    /// The certificates of a request from `from` with these headers; none if it was refused.
    fn seen(proxies: &Proxies, from: &str, headers: &[(&str, &str)]) -> Option<Vec<Vec<u8>>> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(Peer {
            address: from.parse().unwrap(),
            certificates: Arc::from([]),
        });
        proxies.resolve(&mut request).ok()?;
        let peer = request.extensions().get::<Peer>().unwrap();
        Some(peer.certificates.iter().map(|it| it.to_vec()).collect())
    }

    #[test]
    fn a_certificate_counts_by_the_word_of_a_trusted_proxy_that_is_to_give_it() {
        let chain = [
            ("client-cert", ":AQI=:"),
            ("client-cert-chain", ":Aw==:, :BA==:"),
        ];
        let told = proxies(ProxyClientCert::Rfc9440);
        let whole = Some(vec![vec![1, 2], vec![3], vec![4]]);
        assert_eq!(seen(&told, "10.0.0.1", &chain), whole);
        assert_eq!(seen(&told, "10.0.0.1", &[]), Some(Vec::new()));
        assert_eq!(seen(&told, "192.0.2.1", &chain), Some(Vec::new()));
        let untold = proxies(ProxyClientCert::Ignored);
        assert_eq!(seen(&untold, "10.0.0.1", &chain), Some(Vec::new()));
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_refused() {
        let told = proxies(ProxyClientCert::Rfc9440);
        let leaf = ("client-cert", ":AQI=:");
        for headers in [
            [("client-cert", "AQI="), ("x", "y")].as_slice(),
            &[("client-cert", "::")],
            &[("client-cert", ":AQI:")],
            &[("client-cert", "")],
            &[leaf, leaf],
            &[leaf, ("client-cert-chain", ":Aw==:,")],
            &[
                leaf,
                ("client-cert-chain", ":Aw==:,:Aw==:,:Aw==:,:Aw==:,:Aw==:"),
            ],
        ] {
            assert_eq!(seen(&told, "10.0.0.1", headers), None, "{headers:?}");
        }
    }
}
