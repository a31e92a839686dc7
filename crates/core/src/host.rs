//! The single reading of a host name.
//!
//! Not a resolver and not an IDN library: names are compared as canonical ASCII, and a
//! punycode label is never decoded, so `xn--…` can equal nothing but itself. Whatever a
//! browser, a resolver and we might read differently (`127.1`, `0x7f.1`, an empty port)
//! is no host.

use std::borrow::Borrow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A host in canonical form: lower case, without a trailing dot; an IPv6 address with brackets.
///
/// ```
/// use vestibule_core::host::Host;
///
/// assert_eq!(Host::parse("IMG.Example.com.").unwrap().as_str(), "img.example.com");
/// assert_eq!(Host::parse("[0:0::1]").unwrap().as_str(), "[::1]");
/// assert!(Host::parse("good.example,evil.example").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Host(Arc<str>);

/// A text that is no host, or no `host[:port]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address")]
pub struct InvalidHost;

/// What a route's `host` names.
///
/// ```
/// use vestibule_core::host::{Host, HostPattern};
///
/// let pattern = HostPattern::parse("*.example.com").unwrap();
/// assert!(pattern.matches(&Host::parse("img.example.com").unwrap()));
/// assert!(!pattern.matches(&Host::parse("a.img.example.com").unwrap()));
/// assert!(!pattern.matches(&Host::parse("example.com").unwrap()));
/// ```
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
        if let Some(inside) = text.strip_prefix('[') {
            let address = inside.strip_suffix(']').ok_or(InvalidHost)?;
            let address: Ipv6Addr = address.parse().map_err(|_| InvalidHost)?;
            return Ok(Self(format!("[{address}]").into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(InvalidHost);
        }
        if ends_in_number(name) && name.parse::<Ipv4Addr>().is_err() {
            return Err(InvalidHost);
        }
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            Ok(Self(name.to_ascii_lowercase().into()))
        } else {
            Ok(Self(name.into()))
        }
    }

    /// Reads `host[:port]` as the Host header holds it (RFC 9110, 7.2). Stricter than the
    /// grammar: an empty port, port 0 and leading zeros are refused.
    pub fn parse_authority(text: &str) -> Result<(Self, Option<u16>), InvalidHost> {
        let (host, port) = split_port(text)?;
        Ok((Self::parse(host)?, port))
    }

    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its first label, for wildcards; `None` where there is but one
    /// label, or the host is an address.
    pub fn parent(&self) -> Option<&str> {
        if self.0.starts_with('[') || ends_in_number(&self.0) {
            return None;
        }
        self.0.split_once('.').map(|(_, rest)| rest)
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
    /// Fails on `*` anywhere else, and on a wildcard before an address.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let (rest, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let (host, port) = Host::parse_authority(rest)?;
        if wildcard && host.ip().is_some() {
            return Err(InvalidHost);
        }
        Ok(Self { host, wildcard, port })
    }

    /// Whether the pattern covers the host. The port plays no part: routes are found by
    /// name, and `port` only widens where a sign-in may lead back to.
    pub fn matches(&self, host: &Host) -> bool {
        if self.wildcard { host.parent() == Some(self.host.as_str()) } else { *host == self.host }
    }
}

/// The longest name in bytes (RFC 1035, 2.3.4, without the root's dot).
const MAX_NAME: usize = 253;
/// The longest label in bytes.
const MAX_LABEL: usize = 63;

fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Whether a browser would read the name as an IPv4 address (WHATWG URL, "ends in a number").
fn ends_in_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), InvalidHost> {
    let border = text.rfind(']').unwrap_or(0);
    let after = text.get(border..).unwrap_or_default();
    let Some(colon) = after.find(':').map(|at| at + border) else {
        return Ok((text, None));
    };
    let (host, port) = text.split_at(colon);
    let digits = port.strip_prefix(':').unwrap_or_default();
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(InvalidHost);
    }
    Ok((host, Some(digits.parse().map_err(|_| InvalidHost)?)))
}

impl Borrow<str> for Host {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wildcard {
            f.write_str("*.")?;
        }
        fmt::Display::fmt(&self.host, f)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn c6_spellings_of_one_host_are_one_host() {
        for text in ["img.example.com", "IMG.Example.COM", "img.example.com."] {
            assert_eq!(host(text).as_str(), "img.example.com");
        }
        for text in ["[::1]", "[0:0:0:0:0:0:0:1]", "[0000::0001]"] {
            assert_eq!(host(text).as_str(), "[::1]");
        }
        assert_eq!(host("[2001:DB8::A]").as_str(), "[2001:db8::a]");
        assert_eq!(host("xn--Bcher-kva.example").as_str(), "xn--bcher-kva.example");
        assert_ne!(host("xn--example-.com"), host("example.com"));
        assert_eq!(host("my_app.example").as_str(), "my_app.example");
    }

    #[test]
    fn c6_what_has_two_readings_is_no_host() {
        let long_label = format!("{}.example", "a".repeat(64));
        let long_name = format!("{}example", "a.".repeat(124));
        for bad in [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a..",
            "a b",
            "a,b",
            "a;b",
            "a\"b",
            "a@b",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "a:b",
            "a%2eb",
            "a\r\nb",
            "a\0",
            "bücher.example",
            "a\u{3002}b",
            "*.example.com",
            "127.1",
            "0x7f.1",
            "1",
            "0x7f000001",
            "1.2.3.256",
            "01.2.3.4",
            "a.1",
            "[::1",
            "::1",
            "[::1]]",
            "[[::1]]",
            "[fe80::1%eth0]",
            "[1.2.3.4]",
            "[::1]x",
            "[]",
            &long_label,
            &long_name,
        ] {
            assert_eq!(Host::parse(bad), Err(InvalidHost), "{bad:?}");
        }
    }

    #[test]
    fn c6_authorities_hold_a_host_and_perhaps_a_port() {
        let read = |text| Host::parse_authority(text).map(|(host, port)| (host.to_string(), port));
        assert_eq!(read("A.example"), Ok(("a.example".to_owned(), None)));
        assert_eq!(read("a.example.:8443"), Ok(("a.example".to_owned(), Some(8443))));
        assert_eq!(read("[::1]:80"), Ok(("[::1]".to_owned(), Some(80))));
        assert_eq!(read("[::1]"), Ok(("[::1]".to_owned(), None)));
        assert_eq!(read("127.0.0.1:65535"), Ok(("127.0.0.1".to_owned(), Some(65535))));
        for bad in [
            ":80", "a:", "a:0", "a:080", "a:65536", "a:+80", "a:8 0", "a:80:80", "a:http",
            "u@a:80", "[::1]80", "[::1]:", "::1:80", "a:80/", "a, b",
        ] {
            assert_eq!(read(bad), Err(InvalidHost), "{bad:?}");
        }
    }

    #[test]
    fn a_wildcard_is_exactly_one_label() {
        let pattern = HostPattern::parse("*.Example.com:8443").unwrap();
        assert_eq!((pattern.wildcard, pattern.port), (true, Some(8443)));
        assert_eq!(pattern.to_string(), "*.example.com:8443");
        assert!(pattern.matches(&host("a.example.com")));
        for other in ["example.com", "a.b.example.com", "aexample.com", "a.example.org"] {
            assert!(!pattern.matches(&host(other)), "{other}");
        }
        for bad in ["*", "*.", "a.*.com", "**.a", "*a.com", "*.1.2.3.4", "*.[::1]", "*.*.com"] {
            assert!(HostPattern::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_have_no_parent() {
        assert_eq!(host("1.2.3.4").parent(), None);
        assert_eq!(host("[::1.2.3.4]").parent(), None);
        assert_eq!(host("localhost").parent(), None);
        assert_eq!(host("a.b.c").parent(), Some("b.c"));
    }
}
