//! Who is on the other end of a connection, as the listener knows it.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

/// Who is on the other end of the operator socket; a request extension of everything that came by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The user id, as the kernel says.
    pub uid: u32,
}

/// A trusted proxy named this client: the connection is the proxy's, and many share it. A request extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded;

/// The other end of a connection; a request extension of everything that came by TCP.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; the client's own, where a trusted proxy names it.
    pub address: IpAddr,
    /// The certificates of its TLS handshake, leaf first: the key of the first is proved, nothing else is judged yet.
    /// Empty without TLS, or where the client presented none.
    pub certificates: Arc<[CertificateDer<'static>]>,
}
