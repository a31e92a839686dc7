//! The document that tells programs whose tokens an app takes (RFC 9728), and where it is:
//! so that a client that only knows the app's URL finds the way to a token.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, header};
use vestibule_core::credential::CredentialKind;
use vestibule_core::host::Host;
use vestibule_core::policy::AccessTable;
use vestibule_core::route::Route;
use vestibule_core::settings::Settings;

use crate::body::OutBody;
use crate::challenge;
use crate::snapshot::access_tables;

/// Where the document is, on every host that has one.
pub(crate) const METADATA_PATH: &str = "/.well-known/oauth-protected-resource";

/// What the host's rules say about tokens of `[[jwt_issuer]]`.
#[derive(Debug, Default)]
pub(crate) struct Resource {
    /// The issuers that some rule names, in the order of the rules.
    servers: Vec<String>,
    /// The scopes that such a rule asks for.
    scopes: Vec<String>,
}

/// Every host that takes such tokens.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    exact: HashMap<Host, Resource>,
    /// By the part behind `*.`.
    wildcard: HashMap<Host, Resource>,
    /// Hosts with routes of their own, which no wildcard speaks for.
    named: HashSet<Host>,
}

impl Resources {
    pub(crate) fn new(settings: &Settings) -> Self {
        let mut all = Self::default();
        for route in &settings.routes {
            for pattern in &route.hosts {
                let map = if pattern.wildcard {
                    &mut all.wildcard
                } else {
                    all.named.insert(pattern.host.clone());
                    &mut all.exact
                };
                if access_tables(route).any(|table| issuers(table).next().is_some()) {
                    map.entry(pattern.host.clone()).or_default().add(route, settings);
                }
            }
        }
        all
    }

    pub(crate) fn find(&self, host: &Host) -> Option<&Resource> {
        if self.named.contains(host) {
            return self.exact.get(host);
        }
        self.wildcard.get(host.parent()?)
    }
}

impl Resource {
    fn add(&mut self, route: &Route, settings: &Settings) {
        for table in access_tables(route) {
            let mut takes = false;
            for name in issuers(table) {
                takes = true;
                let known = settings.jwt_issuers.iter().find(|issuer| issuer.name == *name);
                if let Some(issuer) = known
                    && !self.servers.contains(&issuer.issuer)
                {
                    self.servers.push(issuer.issuer.clone());
                }
            }
            for scope in table.scopes.iter().flatten().filter(|_| takes) {
                if !self.scopes.iter().any(|known| **known == **scope) {
                    self.scopes.push(scope.to_string());
                }
            }
        }
    }

    /// The answer at [`METADATA_PATH`]. Anybody may read it, from any page: it is what every
    /// 401 tells. `origin`: the app's, as the browser sees it.
    pub(crate) fn answer(&self, method: &Method, origin: &str) -> Response<OutBody> {
        let mut response = match *method {
            Method::GET | Method::HEAD => self.document(origin),
            Method::OPTIONS => preflight(),
            _ => return challenge::method_not_allowed("GET, HEAD, OPTIONS"),
        };
        set(response.headers_mut(), header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
        response
    }

    fn document(&self, origin: &str) -> Response<OutBody> {
        #[derive(serde::Serialize)]
        struct Document<'a> {
            resource: &'a str,
            authorization_servers: &'a [String],
            bearer_methods_supported: [&'static str; 1],
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            scopes_supported: &'a [String],
        }
        let document = Document {
            resource: origin,
            authorization_servers: &self.servers,
            bearer_methods_supported: ["header"],
            scopes_supported: &self.scopes,
        };
        let text = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(OutBody::bytes(Bytes::from(text)));
        let headers = response.headers_mut();
        set(headers, header::CONTENT_TYPE, "application/json");
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(headers, header::CACHE_CONTROL, "public, max-age=3600");
        response
    }
}

/// The names behind `jwt:` in a table.
pub(crate) fn issuers(table: &AccessTable) -> impl Iterator<Item = &Arc<str>> {
    table.credentials.iter().flatten().filter_map(|kind| match kind {
        CredentialKind::Jwt(name) => Some(name),
        _ => None,
    })
}

/// Any page may ask with any header field (Fetch, CORS-preflight fetch).
fn preflight() -> Response<OutBody> {
    let mut response = challenge::no_content();
    let headers = response.headers_mut();
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD");
    set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, "*");
    set(headers, header::ACCESS_CONTROL_MAX_AGE, "3600");
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
