//! HTTP to the outside: the one client type of the process.
//!
//! Promises that every request has time limits, that no redirect is followed, and that an address
//! which came from outside is checked before anything is sent to it. Does not know what is sent.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// Time to reach the other side, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client could be made: the platform's TLS roots could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTPS: {0}")]
pub struct ClientError(#[from] reqwest::Error);

/// A client for addresses the operator configured.
///
/// `read_timeout` is the longest silence of the other side. A request that needs a limit on its
/// whole length sets it itself.
pub fn client(read_timeout: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(read_timeout).build()?)
}

/// A client for addresses that came from outside: host names that lead to a loopback, private,
/// link-local or metadata address are refused when they are resolved, so that a name cannot be
/// pointed elsewhere between the check and the connection.
pub fn guarded_client(read_timeout: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(read_timeout).dns_resolver(Arc::new(PublicOnly)).build()?)
}

/// A client for this host's own daemon: no proxy of the environment stands between them.
pub fn local_client(limit: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(limit).no_proxy().timeout(limit).build()?)
}

/// A client for a service of this host that listens at a socket of the file system.
pub fn socket_client(socket: PathBuf, limit: Duration) -> Result<reqwest::Client, ClientError> {
    Ok(builder(limit).no_proxy().unix_socket(socket).timeout(limit).build()?)
}

fn builder(read_timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("dingbot/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(read_timeout)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
}

/// Resolves names as the system does and leaves out what is not a public address.
#[derive(Debug)]
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|a| is_public(a.ip())).collect();
            if public.is_empty() {
                let why = format!("{} leads to no public address", name.as_str());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Why an address from outside is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no address.
    #[error("it is not a valid address")]
    Malformed,
    /// It is neither on the configured origin nor on `https://*.DOMAIN`.
    #[error("its origin is not allowed")]
    Origin,
}

/// Where an address from outside may lead.
#[derive(Debug, Clone)]
pub struct AllowedDestinations {
    /// An origin the operator configured; trusted whatever its address is.
    configured: Url,
    /// A domain whose hosts may be reached by HTTPS on the standard port.
    domain: &'static str,
}

/// A destination that passed the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub url: Url,
    /// Whether it is on the configured origin; if not, [`guarded_client`] must be used.
    pub configured: bool,
}

impl AllowedDestinations {
    /// The origin of `configured`, and `https://*.domain`.
    pub fn new(configured: Url, domain: &'static str) -> Self {
        Self { configured, domain }
    }

    /// Checks `address`, which came from outside.
    pub fn check(&self, address: &str) -> Result<Destination, Refused> {
        let url = Url::parse(address).map_err(|_| Refused::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refused::Origin);
        }
        if url.origin().is_tuple() && url.origin() == self.configured.origin() {
            return Ok(Destination { url, configured: true });
        }
        let on_domain = match url.host() {
            Some(Host::Domain(host)) => host
                .strip_suffix(self.domain)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            _ => false,
        };
        if url.scheme() == "https" && url.port().is_none() && on_domain {
            return Ok(Destination { url, configured: false });
        }
        Err(Refused::Origin)
    }
}

/// Whether an address is on the public Internet: not loopback, private, shared (which holds the
/// metadata service 100.100.100.200), link-local, multicast, documentation or reserved.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_unspecified()
        || v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_broadcast()
        || v4.is_documentation()
        || v4.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    // 2000::/3 is all that is assigned to the public Internet; 2001:db8::/32 of it is for
    // documents, 2002::/16 and 64:ff9b::/96 can carry a private IPv4 address.
    let segments = v6.segments();
    segments[0] & 0xe000 == 0x2000
        && !(segments[0] == 0x2001 && segments[1] == 0x0db8)
        && segments[0] != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(configured: &str) -> AllowedDestinations {
        AllowedDestinations::new(Url::parse(configured).unwrap(), "dingtalk.com")
    }

    #[test]
    fn the_configured_origin_and_the_domain_are_allowed() {
        let rule = allowed("http://127.0.0.1:4000");
        assert!(
            rule.check("http://127.0.0.1:4000/robot/sendBySession?session=1").unwrap().configured
        );
        assert!(!rule.check("https://oapi.dingtalk.com/robot").unwrap().configured);
        assert!(!rule.check("https://OAPI.DINGTALK.COM:443/robot").unwrap().configured);
    }

    #[test]
    fn anything_else_is_refused() {
        let rule = allowed("https://oapi.dingtalk.com");
        for address in [
            "http://oapi.dingtalk.com/robot",
            "https://oapi.dingtalk.com:8443/robot",
            "https://dingtalk.com.example.net/",
            "https://evildingtalk.com/",
            "https://dingtalk.com/",
            "https://.dingtalk.com/",
            "https://oapi.dingtalk.com@192.0.2.1/",
            "https://user:pw@oapi.dingtalk.com/",
            "https://127.0.0.1/robot",
            "https://[::1]/robot",
            "http://100.100.100.200/latest/meta-data/",
            "file:///etc/passwd",
            "data:text/plain,x",
            "//oapi.dingtalk.com/robot",
            "",
        ] {
            assert!(rule.check(address).is_err(), "{address} was allowed");
        }
    }

    #[test]
    fn only_public_addresses_are_public() {
        for address in ["8.8.8.8", "47.91.0.1", "2400:3200::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.168.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "2001:db8::1",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
