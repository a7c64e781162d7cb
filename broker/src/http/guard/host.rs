//! The names a listener answers under (SECURITY.md §4): a page that made its own name point here is told nothing.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::HOST;

use crate::config::ServerUrl;

/// The names, and the addresses that are as good.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// In lower case; with a port, where that counts too.
    names: Vec<String>,
    addresses: Addresses,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    /// Any literal: no page can make an address point elsewhere.
    Any,
    Loopback,
    None,
}

impl Hosts {
    /// Of the API: the host of its URL; and this machine, where that is it.
    #[must_use]
    pub fn of_api(url: &ServerUrl) -> Hosts {
        let authority = url.authority().to_ascii_lowercase();
        let default = match url.as_str().starts_with("https:") {
            true => ":443",
            false => ":80",
        };
        let mut names = vec![format!("{authority}{default}"), authority];
        let addresses = match url.is_loopback() {
            true => Addresses::Loopback,
            false => Addresses::None,
        };
        if url.is_loopback() {
            names.push("localhost".to_owned());
        }
        Hosts { names, addresses }
    }

    /// Of the operators' doors: `names`, this machine, and any address.
    #[must_use]
    pub fn of_operators(names: &[String]) -> Hosts {
        let names = names.iter().cloned();
        Hosts {
            names: names.chain(["localhost".to_owned()]).collect(),
            addresses: Addresses::Any,
        }
    }

    /// Whether every host that `request` names is one of these, and it names one: a second one would be somebody else's
    /// to believe (RFC 9112 §3.2).
    pub(super) fn admit(&self, request: &Request) -> bool {
        let mut headers = request.headers().get_all(HOST).iter();
        let (header, second) = (headers.next(), headers.next());
        let header = header.map(|host| host.to_str().unwrap_or_default());
        let authority = request.uri().authority().map(|it| it.as_str());
        let named = [header, authority];
        second.is_none()
            && named.iter().any(Option::is_some)
            && named.iter().flatten().all(|host| self.knows(host))
    }

    fn knows(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        if self.names.contains(&host) {
            return true;
        }
        // A name that counts whatever its port.
        let portless = |known: &&String| !known.contains(':');
        let local = self.addresses != Addresses::None;
        if local
            && self
                .names
                .iter()
                .filter(portless)
                .any(|known| known == name)
        {
            return true;
        }
        let address: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        match self.addresses {
            Addresses::Any => address.is_some(),
            Addresses::Loopback => address.is_some_and(|address| address.is_loopback()),
            Addresses::None => false,
        }
    }
}

/// `name:8640` without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::extract::Request;

    use super::Hosts;
    use crate::config::ServerUrl;

    fn admits(hosts: &Hosts, uri: &str, headers: &[&str]) -> bool {
        let mut request = Request::builder().uri(uri);
        for host in headers {
            request = request.header("host", *host);
        }
        hosts.admit(&request.body(Body::empty()).unwrap())
    }

    /// Of these `Host`s, the ones that are admitted.
    fn admitted<'h>(hosts: &Hosts, named: &[&'h str]) -> Vec<&'h str> {
        let named = named.iter().copied();
        named.filter(|host| admits(hosts, "/", &[host])).collect()
    }

    #[test]
    fn the_api_answers_under_its_url_alone() {
        let hosts = Hosts::of_api(&ServerUrl::parse("https://stint.acme.dev").unwrap());
        let good = ["stint.acme.dev", "STINT.acme.dev", "stint.acme.dev:443"];
        assert_eq!(admitted(&hosts, &good), good);
        let bad = [
            "",
            "evil.dev",
            "stint.acme.dev.evil.dev",
            "stint.acme.dev.",
            "stint.acme.dev:8443",
            "stint.acme.dev:443:443",
            "stint.acme.dev@evil.dev",
            "localhost",
            "127.0.0.1",
            "10.0.0.1",
        ];
        assert_eq!(admitted(&hosts, &bad), [""; 0]);
        let (good, bad) = ("stint.acme.dev", "evil.dev");
        assert!(!admits(&hosts, "/", &[]));
        assert!(!admits(&hosts, "/", &[good, good]));
        assert!(admits(&hosts, "https://stint.acme.dev/", &[]));
        assert!(admits(&hosts, "https://stint.acme.dev/", &[good]));
        assert!(!admits(&hosts, "https://evil.dev/", &[good]));
        assert!(!admits(&hosts, "https://stint.acme.dev/", &[bad]));
    }

    #[test]
    fn a_port_of_the_url_counts() {
        let hosts = Hosts::of_api(&ServerUrl::parse("https://stint.acme.dev:8443").unwrap());
        assert!(admits(&hosts, "/", &["stint.acme.dev:8443"]));
        assert!(!admits(&hosts, "/", &["stint.acme.dev"]));
    }

    #[test]
    fn on_this_machine_every_name_of_it_will_do() {
        let hosts = Hosts::of_api(&ServerUrl::parse("http://localhost:8640").unwrap());
        let good = ["localhost:8640", "localhost", "127.0.0.1:9", "[::1]:8640"];
        assert_eq!(admitted(&hosts, &good), good);
        let bad = [
            "evil.dev",
            "evil.dev:8640",
            "10.0.0.1",
            "localhost.evil.dev",
        ];
        assert_eq!(admitted(&hosts, &bad), [""; 0]);
    }

    #[test]
    fn operators_may_name_addresses_and_what_they_set() {
        let hosts = Hosts::of_operators(&["stint-ops.acme.dev".to_owned()]);
        let good = [
            "localhost:8641",
            "10.1.2.3:8641",
            "[fd00::1]:8641",
            "[fd00::1]",
            "stint-ops.acme.dev",
            "stint-ops.acme.dev:8641",
        ];
        assert_eq!(admitted(&hosts, &good), good);
        let bad = ["evil.dev", "evil.dev:8641", "10.1.2.3.evil.dev", "x:y"];
        assert_eq!(admitted(&hosts, &bad), [""; 0]);
    }
}
