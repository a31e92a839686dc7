//! The single reading of a host name.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// A host in canonical form: lower case, without a trailing dot; an IPv6 address with brackets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// A text that is no host, or no `host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address")]
pub struct InvalidHost;

/// What a route's `host` names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPattern {
    /// The host, for `*.example.com` the part behind `*.`.
    pub host: Host,
    /// `*.`: exactly one label before `host`.
    pub wildcard: bool,
    /// A port that the pattern names besides (for `rd` and hand-off).
    pub port: Option<u16>,
}

impl Host {
    /// Reads a host without a port. Case is folded and one final dot dropped. Accepts DNS
    /// names of letters, digits, `-` and `_` (at most 253 bytes, labels at most 63), IPv4
    /// addresses, and IPv6 addresses in brackets. Non-ASCII names must come as punycode.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let _ = text;
        todo!("core helper")
    }

    /// Reads `host[:port]` as the Host header holds it (RFC 9110, 7.2).
    pub fn parse_authority(text: &str) -> Result<(Self, Option<u16>), InvalidHost> {
        let _ = text;
        todo!("core helper")
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address, where the host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }

    /// Whether it is `localhost`, ends in `.localhost`, or is a loopback address.
    pub fn is_loopback(&self) -> bool {
        &*self.0 == "localhost"
            || self.0.ends_with(".localhost")
            || self.ip().is_some_and(|ip| ip.is_loopback())
    }
}

impl HostPattern {
    /// Reads a route's `host`: `app.example.com`, `*.example.com`, either with `:port`.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let _ = text;
        todo!("core helper")
    }

    /// Whether the pattern covers the host.
    pub fn matches(&self, host: &Host) -> bool {
        let _ = host;
        todo!("core helper")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}
