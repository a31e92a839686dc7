//! Routes, and finding the one that a host and path belong to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::assertion::Preset;
use crate::host::{Host, HostPattern};
use crate::path::{NormalPath, PathAllowances};
use crate::pattern::PathPattern;
use crate::policy::{Access, Rule};

/// Host + optional path prefix → app, with an access rule.
#[derive(Clone, Debug)]
pub struct Route {
    /// Unique; in logs, metrics, scopes.
    pub name: Arc<str>,
    /// `file:line` of the route's table, for messages.
    pub origin: Arc<str>,
    /// Hosts it answers for.
    pub hosts: Vec<HostPattern>,
    /// Prefix at a segment border, in normal form, without a final `/` except for `/` itself.
    pub path: Arc<str>,
    /// Where the app is; empty: only the hooks answer for this route.
    pub upstreams: Vec<Upstream>,
    /// What holds where no rule matches.
    pub access: Access,
    /// First match wins.
    pub rules: Vec<Rule>,
    /// Rules fold ASCII case.
    pub ignore_case: bool,
    /// What may stand in a path.
    pub allow_in_path: PathAllowances,
    /// `cors_preflight = "pass"`.
    pub cors_preflight: bool,
    /// Who may read our own 401 and 403.
    pub cors_origins: Vec<Arc<str>>,
    /// Further origins for cookie-authenticated WebSockets.
    pub allowed_origins: Vec<Arc<str>>,
    /// `cross_site = "block-unsafe"`.
    pub block_unsafe_cross_site: bool,
    /// Further patterns that are the portal's, where the host is the portal's.
    pub portal: Vec<PathPattern>,
    /// Connecting to the app.
    pub connect_timeout: Duration,
    /// End of the request body to the head of the answer.
    pub response_timeout: Duration,
    /// No byte in either direction.
    pub idle_timeout: Duration,
    /// Largest request body in bytes; `None`: no limit.
    pub max_body: Option<u64>,
    /// Whether the app sees the host that the client asked for.
    pub preserve_host: bool,
    /// Prefix removed before forwarding, in normal form; empty: none.
    pub strip_prefix: Arc<str>,
    /// Changes to the request's headers.
    pub request_headers: HeaderEdits,
    /// Changes to the answer's headers.
    pub response_headers: HeaderEdits,
    /// TLS to the app.
    pub upstream_tls: UpstreamTls,
    /// Which identity headers the app gets.
    pub preset: Preset,
    /// Whether the app gets a signed assertion.
    pub assertion: bool,
    /// Globs (`*` is any run of characters) of the groups that are told.
    pub told_groups: Vec<Arc<str>>,
    /// Whether requests are written to the access log.
    pub access_log: bool,
    /// JWTs of `[[jwt_issuer]]` reach the app.
    pub pass_bearer: bool,
}

/// Where an app listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Upstream {
    /// How to speak to it.
    pub scheme: UpstreamScheme,
    /// Host name or address; for unix sockets the path of the socket.
    pub host: Arc<str>,
    /// The port; 0 for unix sockets.
    pub port: u16,
}

/// How to speak to an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamScheme {
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/1.1.
    Http,
    /// TLS; HTTP/2 where ALPN agrees, else HTTP/1.1.
    Https,
    /// HTTP/1.1 over a unix socket.
    Unix,
}

/// `set` and `remove` of header fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Name (lower case) and value; replaces what is there.
    pub set: Vec<(String, String)>,
    /// Names (lower case).
    pub remove: Vec<String>,
}

/// TLS towards an app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust instead of the system's.
    pub ca_file: Option<std::path::PathBuf>,
    /// Accept any certificate.
    pub danger_skip_verify: bool,
    /// Name to send and check instead of the host.
    pub server_name: Option<Arc<str>>,
}

/// All routes, found by host and path. Immutable.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    exact: HashMap<Host, Vec<Arc<Route>>>,
    wildcard: HashMap<Host, Vec<Arc<Route>>>,
}

impl RouteTable {
    /// Builds the table. Routes of one host are ranked by the length of their prefix; an
    /// exact host beats a wildcard.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let _ = &routes;
        todo!("core helper")
    }

    /// The route with the longest prefix for an exact host, else for a wildcard.
    pub fn find(&self, host: &Host, path: &NormalPath) -> Option<&Arc<Route>> {
        let _ = (host, path);
        todo!("core helper")
    }

    /// Any route of the host, for reserved paths: the one for `/`-most prefix.
    pub fn find_host(&self, host: &Host) -> Option<&Arc<Route>> {
        let _ = host;
        todo!("core helper")
    }

    /// All routes in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}
