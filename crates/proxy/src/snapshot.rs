//! The configuration in the form that requests use: immutable, compiled, swapped as a whole.
//! Everything that can fail fails here, at load, never at a request.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::{HeaderName, HeaderValue};
use vestibule_authn::authenticate::Takes;
use vestibule_core::assertion::is_managed;
use vestibule_core::credential::CredentialKind;
use vestibule_core::facts::Scheme;
use vestibule_core::host::Host;
use vestibule_core::path::NormalPath;
use vestibule_core::policy::{Access, AccessTable, Decision};
use vestibule_core::return_to::Origin;
use vestibule_core::route::{HeaderEdits, Route, RouteTable};
use vestibule_core::settings::Settings;

use crate::resource::{self, Resources};
use crate::upstream::{ClientConfigs, Target, TargetIds};

/// Compiled header edits.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    pub(crate) set: Vec<(HeaderName, HeaderValue)>,
    pub(crate) remove: Vec<HeaderName>,
}

/// A route with what its requests need prepared.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    pub(crate) route: Arc<Route>,
    /// Unique in this process, also over reloads: what is rendered is kept under it.
    pub(crate) uid: u32,
    /// `None`: only the hooks answer for this route.
    pub(crate) target: Option<Target>,
    pub(crate) takes_basic: bool,
    /// The names behind `jwt:` in its rules.
    pub(crate) issuers: Vec<Arc<str>>,
    pub(crate) request_edits: Edits,
    pub(crate) response_edits: Edits,
    /// Groups that some rule of the configuration names.
    named_groups: Arc<HashSet<Arc<str>>>,
}

/// Where the portal's pages are.
#[derive(Debug)]
pub(crate) struct PortalPages {
    pub(crate) login: String,
    pub(crate) pending: String,
    pub(crate) rejected: String,
    pub(crate) change_password: String,
}

/// The configuration in force.
pub(crate) struct Snapshot {
    pub(crate) settings: Arc<Settings>,
    pub(crate) table: RouteTable,
    compiled: HashMap<usize, Arc<CompiledRoute>>,
    pub(crate) portal: Origin,
    /// The portal's host also has routes.
    pub(crate) shared_host: bool,
    pub(crate) pages: PortalPages,
    /// The API's second place (`API_PREFIX`).
    api_alias: Option<String>,
    /// Paths that are callbacks because a provider's `redirect_uri` says so.
    callbacks: HashSet<String>,
    /// Whose tokens the hosts take.
    pub(crate) resources: Resources,
}

/// What lives as long as the process, over reloads.
#[derive(Default)]
pub(crate) struct Ids {
    pub(crate) targets: TargetIds,
    next_route: AtomicU32,
}

/// What the routes of one load share.
struct Parts<'a> {
    ids: &'a Ids,
    named: Arc<HashSet<Arc<str>>>,
    configs: ClientConfigs,
}

impl Snapshot {
    /// Compiles. The error says which route and what about it.
    pub(crate) fn new(settings: Arc<Settings>, ids: &Ids) -> Result<Self, String> {
        let table = RouteTable::new(settings.routes.clone());
        let mut compiled = HashMap::with_capacity(settings.routes.len());
        let parts = Parts {
            ids,
            named: Arc::new(named_groups(&settings.routes)),
            configs: ClientConfigs::default(),
        };
        for route in table.routes() {
            let one = CompiledRoute::new(route, &parts)
                .map_err(|error| format!("{}: route \"{}\": {error}", route.origin, route.name))?;
            compiled.insert(Arc::as_ptr(route) as usize, Arc::new(one));
        }
        let portal = settings.server.portal.clone();
        let shared_host = table.find_host(&portal.host).is_some();
        let pages = PortalPages::new(&portal, shared_host, &settings.routes);
        let api_alias = match &*settings.server.api_prefix {
            "" => None,
            prefix => Some(format!("{prefix}/v1/auth")),
        };
        let callbacks = settings.providers.iter();
        let callbacks = callbacks.filter_map(|provider| path_of(&provider.redirect_uri)).collect();
        let resources = Resources::new(&settings);
        Ok(Self {
            settings,
            table,
            compiled,
            portal,
            shared_host,
            pages,
            api_alias,
            callbacks,
            resources,
        })
    }

    /// The route for a host and path.
    pub(crate) fn find(&self, host: &Host, path: &NormalPath) -> Option<&Arc<CompiledRoute>> {
        self.compiled(self.table.find(host, path)?)
    }

    /// Any route of a host, for its reserved paths.
    pub(crate) fn find_host(&self, host: &Host) -> Option<&Arc<CompiledRoute>> {
        self.compiled(self.table.find_host(host)?)
    }

    fn compiled(&self, route: &Arc<Route>) -> Option<&Arc<CompiledRoute>> {
        self.compiled.get(&(Arc::as_ptr(route) as usize))
    }

    pub(crate) fn is_portal_host(&self, host: &Host) -> bool {
        self.portal.host == *host
    }

    /// Whether a path of the portal's host is the portal's. `route`: the one it would have.
    pub(crate) fn is_portal_path(&self, path: &NormalPath, route: Option<&Route>) -> bool {
        if !self.shared_host {
            return true;
        }
        let text = path.as_str();
        let below = |prefix: &str| {
            text.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        matches!(text, "/.well-known/jwks.json" | "/api/v1/openapi.json")
            || below("/.vestibule")
            || below("/api/v1/auth")
            || below("/api/v1/admin")
            || below("/v1/auth/callback")
            || below("/api/auth/oidc")
            || self.api_alias.as_deref().is_some_and(below)
            || self.callbacks.contains(text)
            || route.is_some_and(|route| {
                route.portal.iter().any(|pattern| pattern.matches(path, route.ignore_case))
            })
    }
}

impl PortalPages {
    fn new(portal: &Origin, shared_host: bool, routes: &[Arc<Route>]) -> Self {
        let page = |short: &str| {
            let listed = NormalPath::parse(short).is_ok_and(|(path, _)| {
                let of_portal = |route: &&Arc<Route>| {
                    route.hosts.iter().any(|pattern| pattern.matches(&portal.host))
                };
                (routes.iter().filter(of_portal))
                    .any(|route| route.portal.iter().any(|pattern| pattern.matches(&path, false)))
            });
            let prefix = if shared_host && !listed { "/.vestibule" } else { "" };
            format!("{portal}{prefix}{short}")
        };
        Self {
            login: page("/login"),
            pending: page("/pending"),
            rejected: page("/rejected"),
            change_password: format!("{}?change=password", page("/settings")),
        }
    }
}

impl CompiledRoute {
    fn new(route: &Arc<Route>, parts: &Parts<'_>) -> Result<Self, String> {
        let Parts { ids, named, configs } = parts;
        let target = route.upstreams.first();
        let target = target
            .map(|up| Target::new(&ids.targets, up, &route.upstream_tls, configs))
            .transpose()?;
        let takes_basic = access_tables(route).any(|table| {
            (table.credentials.iter().flatten()).any(|kind| *kind == CredentialKind::Basic)
        });
        let mut issuers: Vec<Arc<str>> = Vec::new();
        for name in access_tables(route).flat_map(resource::issuers) {
            if !issuers.contains(name) {
                issuers.push(name.clone());
            }
        }
        Ok(Self {
            uid: ids.next_route.fetch_add(1, Relaxed),
            target,
            takes_basic,
            issuers,
            request_edits: Edits::new(&route.request_headers)?,
            response_edits: Edits::new(&route.response_headers)?,
            route: route.clone(),
            named_groups: named.clone(),
        })
    }

    /// What is a credential on this route only.
    pub(crate) fn takes(&self) -> Takes<'_> {
        Takes { basic: self.takes_basic, issuers: &self.issuers }
    }

    /// Whether the rule that decided names `jwt:`; where none decided, whether any does.
    pub(crate) fn asks_for_jwt(&self, decision: Option<Decision>) -> bool {
        let Some(decision) = decision else { return !self.issuers.is_empty() };
        let rule = self.route.rules.iter().find(|rule| Some(rule.number) == decision.rule);
        let access = rule.map_or(&self.route.access, |rule| &rule.access);
        tables(access).iter().any(|table| resource::issuers(table).next().is_some())
    }

    /// Whether some rule of the configuration asks for the group.
    pub(crate) fn names_group(&self, group: &str) -> bool {
        self.named_groups.contains(group)
    }

    /// `scheme://host[:port]` of the app as the browser sees it: the audience of assertions.
    pub(crate) fn app_origin(scheme: Scheme, host: &Host, port: u16) -> String {
        Origin { scheme, host: host.clone(), port }.to_string()
    }
}

pub(crate) fn access_tables(route: &Route) -> impl Iterator<Item = &AccessTable> {
    let accesses = route.rules.iter().map(|rule| &rule.access).chain([&route.access]);
    accesses.flat_map(tables)
}

const fn tables(access: &Access) -> &[AccessTable] {
    match access {
        Access::AnyOf(tables) => tables.as_slice(),
        Access::Deny => &[],
    }
}

/// The path of an absolute URL, in normal form.
fn path_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let path = rest.get(rest.find('/')?..)?;
    let path = path.split(['?', '#']).next()?;
    NormalPath::parse(path).ok().map(|(path, _)| path.to_string())
}

fn named_groups(routes: &[Arc<Route>]) -> HashSet<Arc<str>> {
    (routes.iter().flat_map(|route| access_tables(route)))
        .flat_map(|table| table.groups.iter().flatten())
        .map(|group| Arc::from(group.as_str()))
        .collect()
}

impl Edits {
    fn new(edits: &HeaderEdits) -> Result<Self, String> {
        let name = |name: &String| {
            let parsed = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| format!("`{name}` is no header name"))?;
            if is_managed(parsed.as_str().as_bytes()) {
                return Err(format!("`{name}` says who somebody is: only Vestibule sets it"));
            }
            Ok(parsed)
        };
        let pair = |(key, value): &(String, String)| {
            let value = HeaderValue::from_str(value)
                .map_err(|_| format!("the value of `{key}` holds a control character"))?;
            Ok((name(key)?, value))
        };
        Ok(Self {
            set: edits.set.iter().map(pair).collect::<Result<_, String>>()?,
            remove: edits.remove.iter().map(name).collect::<Result<_, String>>()?,
        })
    }
}
