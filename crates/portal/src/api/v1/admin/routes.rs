//! The routes in force, as far as an administrator's tool needs them.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use vestibule_core::route::{Route, Upstream, UpstreamScheme};

use crate::api::v1::json;
use crate::guard::Need;
use crate::problem::Problem;
use crate::visit::V;

#[derive(Serialize)]
struct RouteJson {
    name: String,
    origin: String,
    hosts: Vec<String>,
    path: String,
    upstream: Vec<String>,
    rules: usize,
}

impl From<&Route> for RouteJson {
    fn from(route: &Route) -> Self {
        let hosts = route.hosts.iter().map(|pattern| {
            let star = if pattern.wildcard { "*." } else { "" };
            let port = pattern.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{star}{}{port}", pattern.host)
        });
        Self {
            name: route.name.to_string(),
            origin: route.origin.to_string(),
            hosts: hosts.collect(),
            path: route.path.to_string(),
            upstream: route.upstreams.iter().map(upstream).collect(),
            rules: route.rules.len(),
        }
    }
}

fn upstream(upstream: &Upstream) -> String {
    match upstream.scheme {
        UpstreamScheme::H2c => format!("h2c://{}:{}", upstream.host, upstream.port),
        UpstreamScheme::Http => format!("http://{}:{}", upstream.host, upstream.port),
        UpstreamScheme::Https => format!("https://{}:{}", upstream.host, upstream.port),
        UpstreamScheme::Unix => format!("unix:{}", upstream.host),
    }
}

pub(crate) async fn list(visit: V) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let table = visit.portal.host.routes();
    let list: Vec<_> = table.routes().iter().map(|route| RouteJson::from(&**route)).collect();
    Ok(json(StatusCode::OK, list))
}
