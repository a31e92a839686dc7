//! What a door read off a request: plain data, the only input of the decision besides the
//! identity. Both doors make it, so that both decide alike.

use std::net::IpAddr;

use crate::host::Host;
use crate::path::NormalPath;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// nginx's `auth_request`.
    AuthRequest,
    /// Envoy's HTTP `ext_authz`.
    ExtAuthz,
    /// Traefik, Caddy, HAProxy.
    ForwardAuth,
    /// The reverse proxy.
    Proxy,
}

impl Door {
    /// The word in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthRequest => "auth-request",
            Self::ExtAuthz => "ext-authz",
            Self::ForwardAuth => "forward-auth",
            Self::Proxy => "proxy",
        }
    }
}

/// The outside scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// 80 or 443.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// How the answer will be read, from Fetch Metadata (never from the User-Agent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// A person's browser navigates: pages and redirects.
    Navigation,
    /// The same inside a frame: a page, never a redirect.
    Frame,
    /// A program: problem documents.
    Program,
}

/// The value of `Sec-Fetch-Site`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FetchSite {
    /// The header is absent (or holds something unknown).
    Absent,
    /// `cross-site`
    CrossSite,
    /// `none`: typed, bookmarked
    None,
    /// `same-origin`
    SameOrigin,
    /// `same-site`
    SameSite,
}

impl FetchSite {
    /// Reads the header's value; anything unknown is cross-site, an absent header is absent.
    pub fn from_header(value: Option<&str>) -> Self {
        match value {
            None => Self::Absent,
            Some("none") => Self::None,
            Some("same-origin") => Self::SameOrigin,
            Some("same-site") => Self::SameSite,
            Some(_) => Self::CrossSite,
        }
    }
}

/// A request, as far as deciding needs it.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Where it came in.
    pub door: Door,
    /// As sent, case kept: methods are case-sensitive (RFC 9110, 9.1).
    pub method: &'a str,
    /// As the browser sees it.
    pub scheme: Scheme,
    /// The host asked for, in canonical form.
    pub host: &'a Host,
    /// The port asked for (the scheme's default where none was given).
    pub port: u16,
    /// The path in its one normal form: matched and forwarded.
    pub path: &'a NormalPath,
    /// The address the client's limits and logs use.
    pub client_ip: IpAddr,
    /// The address that `networks` believes: the client's where a *list* of trusted proxies
    /// vouches for it, the socket's peer otherwise.
    pub network_ip: IpAddr,
    /// Whether the request carried any forwarding header (used by the refusals of mode none).
    pub has_forwarding_header: bool,
    /// Who reads the answer.
    pub audience: Audience,
    /// `Sec-Fetch-Site`.
    pub fetch_site: FetchSite,
    /// `Origin`, as sent.
    pub origin: Option<&'a str>,
    /// A WebSocket (or other) upgrade.
    pub upgrade: bool,
    /// OPTIONS with `Origin` and `Access-Control-Request-Method` and no body.
    pub preflight: bool,
    /// The method a preflight asks about.
    pub preflight_method: Option<&'a str>,
}
