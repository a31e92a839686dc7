//! Routes, and finding the one that a host and path belong to.
//!
//! The table is a hash on the host and, within a host, one on the prefix, so that the price
//! of a look-up is the same for one route and for ten thousand. The order of the file plays
//! no part: two routes that could claim one URL are a load error ([`overlap`]).

pub mod overlap;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::assertion::Preset;
use crate::group::Group;
use crate::host::{Host, HostPattern};
use crate::path::{NormalPath, PathAllowances};
use crate::pattern::{PathPattern, matches_glob};
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
    /// Which token of the sign-in's provider the app gets.
    pub provider_token: ProviderToken,
}

/// `provider_token`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ProviderToken {
    /// The access token, in `X-Forwarded-Access-Token`.
    Access,
    /// The ID token, in `X-Forwarded-Id-Token`.
    Id,
    /// None.
    #[default]
    None,
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
///
/// An exact host beats a wildcard, and beats it wholly: a host that has routes of its own
/// never falls back to a wildcard's, because a route written for "all the others" would
/// then answer for paths that the host's own routes leave out.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    exact: HashMap<Host, HostRoutes>,
    /// By the part behind `*.`.
    wildcard: HashMap<Host, HostRoutes>,
}

/// The routes of one host.
#[derive(Debug, Default)]
struct HostRoutes {
    /// The route of `/`.
    root: Option<Arc<Route>>,
    /// The routes of longer prefixes.
    by_prefix: HashMap<Arc<str>, Arc<Route>>,
    /// The lengths that these prefixes have, longest first.
    lengths: Vec<usize>,
    /// Ports that `host` names.
    ports: Vec<u16>,
}

impl Route {
    /// Whether the path lies within the route's prefix: the prefix itself, or below it at a
    /// segment border.
    pub fn covers(&self, path: &NormalPath) -> bool {
        match path.as_str().strip_prefix(prefix_of(self)) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// Whether the app is told of this group (`identity_headers.groups`).
    pub fn tells_group(&self, group: &Group) -> bool {
        self.told_groups.iter().any(|glob| matches_glob(glob, group.as_str()))
    }
}

impl RouteTable {
    /// Builds the table. Routes of one host are ranked by the length of their prefix; an
    /// exact host beats a wildcard. Of two routes with the same host and prefix the first
    /// counts; configuration refuses such a pair before it comes here.
    pub fn new(routes: Vec<Arc<Route>>) -> Self {
        let mut exact: HashMap<Host, HostRoutes> = HashMap::new();
        let mut wildcard: HashMap<Host, HostRoutes> = HashMap::new();
        for route in &routes {
            for pattern in &route.hosts {
                let map = if pattern.wildcard { &mut wildcard } else { &mut exact };
                map.entry(pattern.host.clone()).or_default().add(route, pattern.port);
            }
        }
        Self { routes, exact, wildcard }
    }

    /// The route with the longest prefix for an exact host, else for a wildcard. `None`
    /// where the host has no route, or none of its prefixes holds the path.
    ///
    /// ```
    /// # use vestibule_core::{host::Host, path::NormalPath, route::RouteTable};
    /// let table = RouteTable::new(Vec::new());
    /// let path = NormalPath::parse("/").unwrap().0;
    /// assert!(table.find(&Host::parse("unknown.example").unwrap(), &path).is_none());
    /// ```
    pub fn find(&self, host: &Host, path: &NormalPath) -> Option<&Arc<Route>> {
        self.host_routes(host)?.find(path.as_str())
    }

    /// Any route of the host, for reserved paths: the one with the shortest prefix.
    pub fn find_host(&self, host: &Host) -> Option<&Arc<Route>> {
        self.host_routes(host)?.shortest()
    }

    /// Whether the routes of the host name this port in their `host`, so that a sign-in may
    /// lead back to it.
    pub fn names_port(&self, host: &Host, port: u16) -> bool {
        self.host_routes(host).is_some_and(|routes| routes.ports.contains(&port))
    }

    /// All routes in the order of the file.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    fn host_routes(&self, host: &Host) -> Option<&HostRoutes> {
        self.exact.get(host).or_else(|| self.wildcard.get(host.parent()?))
    }
}

impl HostRoutes {
    fn add(&mut self, route: &Arc<Route>, port: Option<u16>) {
        self.ports.extend(port);
        let prefix = prefix_of(route);
        if prefix.is_empty() {
            self.root.get_or_insert_with(|| route.clone());
            return;
        }
        self.by_prefix.entry(Arc::from(prefix)).or_insert_with(|| route.clone());
        if let Err(at) = self.lengths.binary_search_by(|length| prefix.len().cmp(length)) {
            self.lengths.insert(at, prefix.len());
        }
    }

    fn find(&self, path: &str) -> Option<&Arc<Route>> {
        for &length in &self.lengths {
            let Some((prefix, rest)) = path.split_at_checked(length) else { continue };
            if !rest.is_empty() && !rest.starts_with('/') {
                continue;
            }
            if let Some(route) = self.by_prefix.get(prefix) {
                return Some(route);
            }
        }
        self.root.as_ref()
    }

    fn shortest(&self) -> Option<&Arc<Route>> {
        self.root.as_ref().or_else(|| {
            self.by_prefix
                .iter()
                .min_by_key(|(prefix, _)| (prefix.len(), *prefix))
                .map(|(_, route)| route)
        })
    }
}

/// The prefix without a final `/`: empty for the root.
fn prefix_of(route: &Route) -> &str {
    route.path.strip_suffix('/').unwrap_or(&route.path)
}

#[cfg(test)]
pub(crate) mod tests;
