//! HTTP into plain facts, and the only reader of forwarding headers. Whose word counts is
//! decided here once: a peer in a *list* of trusted proxies is believed, a hop count or
//! `true` moves the client's address for limits and logs and nothing else.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName};
use http::{Method, Request, Version, header};
use ipnet::IpNet;
use vestibule_core::facts::{Audience, FetchSite, Scheme};
use vestibule_core::host::Host;
use vestibule_core::settings::server::TrustedProxies;

pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(crate) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(crate) const X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
pub(crate) const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
pub(crate) const X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
pub(crate) const X_ORIGINAL_METHOD: HeaderName = HeaderName::from_static("x-original-method");
pub(crate) const X_ORIGINAL_URL: HeaderName = HeaderName::from_static("x-original-url");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_WEBSOCKET_KEY: HeaderName = HeaderName::from_static("sec-websocket-key");
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// A request that cannot be read one way only: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// For limits and logs.
    pub(crate) ip: IpAddr,
    /// What `networks` believes.
    pub(crate) network_ip: IpAddr,
    /// The peer is in a list of trusted proxies: what it says is believed.
    pub(crate) vouched: bool,
}

/// Reads where a request comes from.
pub(crate) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &TrustedProxies) -> Client {
    let unvouched = |ip| Client { ip, network_ip: peer, vouched: false };
    match trusted {
        TrustedProxies::Nobody => unvouched(peer),
        TrustedProxies::All => unvouched(hops(headers).next().flatten().unwrap_or(peer)),
        TrustedProxies::Hops(count) => {
            let chain: Vec<Option<IpAddr>> = hops(headers).collect();
            let at = chain.len().saturating_sub(*count);
            unvouched(
                if *count == 0 { None } else { chain.get(at).copied().flatten() }.unwrap_or(peer),
            )
        }
        TrustedProxies::List(list) => {
            if !is_listed(list, peer) {
                return unvouched(peer);
            }
            let ip = right_most_unlisted(headers, peer, list);
            Client { ip, network_ip: ip, vouched: true }
        }
    }
}

fn is_listed(list: &[IpNet], ip: IpAddr) -> bool {
    list.iter().any(|net| net.contains(&ip))
}

/// Walks from the right while the hops are trusted. What cannot be read ends the walk: the
/// last hop that could be is the client.
fn right_most_unlisted(headers: &HeaderMap, peer: IpAddr, list: &[IpNet]) -> IpAddr {
    let mut client = peer;
    let chain: Vec<Option<IpAddr>> = hops(headers).collect();
    for hop in chain.into_iter().rev() {
        let Some(hop) = hop else { break };
        client = hop;
        if !is_listed(list, hop) {
            break;
        }
    }
    client
}

/// The hops of every `X-Forwarded-For` line, left to right; `None`: not an address.
fn hops(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    (headers.get_all(X_FORWARDED_FOR).iter())
        .flat_map(|line| line.as_bytes().split(|&b| b == b','))
        .map(|hop| address(std::str::from_utf8(hop).ok()?))
}

/// An address with or without port, brackets, quotes or zone; IPv4-mapped as IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None if text.matches(':').count() == 1 => text.split_once(':')?.0,
        None => text,
    };
    let bare = bare.split_once('%').map_or(bare, |(address, _)| address);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// Whether any header says that somebody forwarded this request.
pub(crate) fn has_forwarding_header(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| is_forwarding(name.as_str().as_bytes()))
}

/// A name of the family that only a trusted proxy may send, in any spelling.
pub(crate) fn is_forwarding(name: &[u8]) -> bool {
    let fold = |b: &u8| if matches!(b, b'_' | b'.') { b'-' } else { b.to_ascii_lowercase() };
    let starts = |prefix: &[u8]| {
        name.len() >= prefix.len() && name.iter().map(fold).zip(prefix).all(|(a, b)| a == *b)
    };
    let is = |whole: &[u8]| name.len() == whole.len() && starts(whole);
    match name.first().map(u8::to_ascii_lowercase) {
        Some(b'x') => {
            starts(b"x-forwarded-")
                || starts(b"x-original-")
                || is(b"x-rewrite-url")
                || is(b"x-client-ip")
                || is(b"x-real-ip")
        }
        Some(b'f') => is(b"forwarded"),
        Some(b't') => is(b"true-client-ip"),
        Some(b'c') => is(b"cf-connecting-ip"),
        _ => false,
    }
}

/// The scheme as the browser sees it. A plain socket says nothing about it, since somebody
/// in front may have ended TLS: then the portal's scheme holds, unless a believed peer says so.
pub(crate) fn scheme(headers: &HeaderMap, tls: bool, client: Client, portal: Scheme) -> Scheme {
    if tls {
        return Scheme::Https;
    }
    let told = client.vouched.then(|| single(headers, &X_FORWARDED_PROTO)).flatten();
    told.and_then(proto).unwrap_or(portal)
}

/// `http` or `https` and nothing else.
pub(crate) fn proto(text: &str) -> Option<Scheme> {
    match text {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

/// The value of a header that stands exactly once and is visible ASCII.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

/// The readings of the last hosts that were asked for: most requests repeat one.
#[derive(Default)]
pub(crate) struct Hosts {
    known: RefCell<Vec<KnownHost>>,
    next: Cell<usize>,
}

/// As written, and as read.
type KnownHost = (Box<str>, Host, Option<u16>);

/// How many are kept; a longer list costs more to search than a host to read.
const HOSTS_KEPT: usize = 16;

impl Hosts {
    fn read(&self, text: &str) -> Result<(Host, Option<u16>), Malformed> {
        let mut known = self.known.borrow_mut();
        if let Some((_, host, port)) = known.iter().find(|(own, ..)| **own == *text) {
            return Ok((host.clone(), *port));
        }
        let (host, port) = Host::parse_authority(text).map_err(|_| Malformed)?;
        let entry = (Box::from(text), host.clone(), port);
        let at = self.next.replace((self.next.get() + 1) % HOSTS_KEPT);
        match known.get_mut(at) {
            Some(place) => *place = entry,
            None => known.push(entry),
        }
        Ok((host, port))
    }
}

/// The host asked for. Missing, repeated, contradictory or no `host[:port]`: malformed.
pub(crate) fn host_of<B>(
    request: &Request<B>,
    hosts: &Hosts,
) -> Result<(Host, Option<u16>), Malformed> {
    let uri = request.uri();
    let mut fields = request.headers().get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Malformed);
    }
    let field = field.map(|value| value.to_str().map_err(|_| Malformed)).transpose()?;
    let field = field.map(|text| hosts.read(text)).transpose()?;
    if uri.scheme_str().is_some_and(|scheme| {
        !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https")
    }) {
        return Err(Malformed);
    }
    let Some(authority) = uri.authority() else { return field.ok_or(Malformed) };
    let authority = hosts.read(authority.as_str())?;
    let port = |port: Option<u16>| {
        port.or(match uri.scheme_str() {
            Some("https") => Some(443),
            Some(_) => Some(80),
            None => None,
        })
    };
    match field {
        None if request.version() == Version::HTTP_2 => Ok(authority),
        None => Err(Malformed),
        Some(field) if field.0 == authority.0 && port(field.1) == port(authority.1) => Ok(field),
        Some(_) => Err(Malformed),
    }
}

/// `Content-Length` at most once, a plain number. Over HTTP/1 the connection has seen to it
/// already; over HTTP/2 nobody else looks.
pub(crate) fn length_is_plain(headers: &HeaderMap) -> bool {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return true };
    let plain = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    plain && lengths.next().is_none()
}

/// `Authorization` and `X-Api-Key` at most once each.
pub(crate) fn credentials_stand_once(headers: &HeaderMap) -> bool {
    [header::AUTHORIZATION, X_API_KEY]
        .iter()
        .all(|name| headers.get_all(name).iter().nth(1).is_none())
}

/// How the answer will be read.
pub(crate) fn audience(headers: &HeaderMap, upgrade: bool) -> Audience {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let navigates = match text(&SEC_FETCH_MODE) {
        Some(mode) => mode == "navigate",
        None => text(&header::ACCEPT).is_some_and(|accept| accept.contains("text/html")),
    };
    if upgrade || !navigates {
        return Audience::Program;
    }
    match text(&SEC_FETCH_DEST) {
        Some("iframe" | "frame" | "embed" | "object" | "fencedframe") => Audience::Frame,
        _ => Audience::Navigation,
    }
}

/// `Sec-Fetch-Site`.
pub(crate) fn fetch_site(headers: &HeaderMap) -> FetchSite {
    FetchSite::from_header(headers.get(SEC_FETCH_SITE).map(|value| value.to_str().unwrap_or("")))
}

/// An upgrade asked for over HTTP/1.1, other than to another version of HTTP or to TLS.
pub(crate) fn upgrade(version: Version, headers: &HeaderMap) -> bool {
    if version != Version::HTTP_11 {
        return false;
    }
    let asked = headers.get(header::UPGRADE).is_some_and(|value| {
        let value = value.as_bytes().to_ascii_lowercase();
        !value.starts_with(b"h2c") && !value.starts_with(b"tls/") && !value.starts_with(b"http/")
    });
    asked && lists(headers, &header::CONNECTION, "upgrade")
}

/// At a hook the asking proxy has taken `Upgrade` off; the WebSocket's own headers remain.
pub(crate) fn hook_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(SEC_WEBSOCKET_KEY) || headers.contains_key(header::UPGRADE)
}

/// Whether a comma list in any of a header's lines holds the token.
pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    (headers.get_all(name).iter())
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// The method a CORS preflight asks about; `None`: no preflight.
pub(crate) fn preflight<'a>(
    method: &Method,
    headers: &'a HeaderMap,
    has_body: bool,
) -> Option<&'a str> {
    if *method != Method::OPTIONS || has_body || !headers.contains_key(header::ORIGIN) {
        return None;
    }
    single(headers, &header::ACCESS_CONTROL_REQUEST_METHOD)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().unwrap());
        }
        map
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a5_a6_the_chain_is_walked_from_the_right_and_garbage_ends_it() {
        let list = TrustedProxies::List(vec!["10.0.0.0/8".parse().unwrap()]);
        let seen = |chain: &[&str], peer: &str| {
            let lines: Vec<_> = chain.iter().map(|line| ("x-forwarded-for", *line)).collect();
            client(&map(&lines), ip(peer), &list)
        };
        for (chain, peer, want) in [
            (&["6.6.6.6, 1.2.3.4, 10.0.0.2"][..], "10.0.0.1", "1.2.3.4"),
            (&["6.6.6.6, 1.2.3.4", "10.0.0.2"], "10.0.0.1", "1.2.3.4"),
            (&["1.2.3.4"], "9.9.9.9", "9.9.9.9"),
            (&["a"], "10.0.0.1", "10.0.0.1"),
            (&["1.2.3.4, a, 10.0.0.2"], "10.0.0.1", "10.0.0.2"),
            (&["unknown, _obf"], "10.0.0.1", "10.0.0.1"),
            (&["\"[2001:db8::1]:80\""], "10.0.0.1", "2001:db8::1"),
            (&["::ffff:1.2.3.4"], "10.0.0.1", "1.2.3.4"),
            (&["1.2.3.4:5678"], "10.0.0.1", "1.2.3.4"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.1", "10.0.0.3"),
            (&[], "10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(seen(chain, peer).ip, ip(want), "{chain:?} from {peer}");
        }
        assert!(!seen(&["1.2.3.4"], "9.9.9.9").vouched);
    }

    #[test]
    fn a_count_and_true_move_the_client_and_never_the_network() {
        let headers = map(&[("x-forwarded-for", "1.1.1.1, 2.2.2.2, 3.3.3.3")]);
        let peer = ip("9.9.9.9");
        for (trusted, want) in [
            (TrustedProxies::All, "1.1.1.1"),
            (TrustedProxies::Hops(1), "3.3.3.3"),
            (TrustedProxies::Hops(2), "2.2.2.2"),
            (TrustedProxies::Hops(9), "1.1.1.1"),
            (TrustedProxies::Nobody, "9.9.9.9"),
        ] {
            let seen = client(&headers, peer, &trusted);
            assert_eq!(
                (seen.ip, seen.network_ip, seen.vouched),
                (ip(want), peer, false),
                "{trusted:?}"
            );
        }
    }

    #[test]
    fn a3_only_a_believed_peer_tells_the_scheme_and_only_two_words_count() {
        let vouched = Client { ip: ip("1.1.1.1"), network_ip: ip("1.1.1.1"), vouched: true };
        let stranger = Client { vouched: false, ..vouched };
        let told = |value: &str, client| {
            scheme(&map(&[("x-forwarded-proto", value)]), false, client, Scheme::Https)
        };
        assert_eq!(told("http", vouched), Scheme::Http);
        assert_eq!(told("http", stranger), Scheme::Https);
        for junk in ["javascript", "https,http", "", "HTTP", "http "] {
            assert_eq!(told(junk.trim_end(), stranger), Scheme::Https, "{junk:?}");
        }
        assert_eq!(told("javascript", vouched), Scheme::Https);
        assert_eq!(
            scheme(&map(&[("x-forwarded-proto", "http")]), true, vouched, Scheme::Http),
            Scheme::Https
        );
    }

    #[test]
    fn a2_the_whole_family_is_known_in_every_spelling() {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "x_forwarded_for",
            "X.Forwarded.Prefix",
            "x-forwarded-server",
            "X-Original-URL",
            "x-original-uri",
            "X-Rewrite-URL",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Client-IP",
            "X-Real-IP",
        ] {
            assert!(is_forwarding(name.as_bytes()), "{name}");
        }
        for name in ["x-forwarded", "forwarded-for", "x-api-key", "cf-ray", "te"] {
            assert!(!is_forwarding(name.as_bytes()), "{name}");
        }
    }
}
