//! The apps that a person may open, by asking the very decision the doors ask.

use std::collections::BTreeSet;

use vestibule_core::facts::{Audience, Door, Facts, FetchSite};
use vestibule_core::identity::Identity;
use vestibule_core::path::NormalPath;
use vestibule_core::policy;
use vestibule_core::route::overlap::is_public_throughout;
use vestibule_core::verdict::Verdict;

use crate::visit::Visit;

/// One app on the launcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct App {
    /// The route's name.
    pub(crate) name: String,
    /// Host and path, as shown.
    pub(crate) place: String,
    /// Where the link leads.
    pub(crate) url: String,
    /// Opening it asks for a stronger sign-in first.
    pub(crate) step_up: bool,
}

/// Routes with a host of their own whose first page this person may open, in the order of
/// the file. A wildcard host names no place to go to and is left out.
pub(crate) fn apps(visit: &Visit, identity: &Identity) -> Vec<App> {
    let portal = &visit.settings.server.portal;
    let table = visit.portal.host.routes();
    let mut seen = BTreeSet::new();
    let mut apps = Vec::new();
    for route in table.routes() {
        let Some(pattern) = route.hosts.iter().find(|pattern| !pattern.wildcard) else { continue };
        // A public door of this machine itself (`localhost` led elsewhere) is no app to open.
        let is_doorstep = pattern.host.is_loopback()
            && pattern.host.parent().is_none()
            && pattern.host != portal.host
            && is_public_throughout(route);
        let Ok((path, _)) = NormalPath::parse(&route.path) else { continue };
        if is_doorstep {
            continue;
        }
        let port = pattern.port.unwrap_or(portal.port);
        let facts = Facts {
            door: Door::Proxy,
            method: "GET",
            scheme: portal.scheme,
            host: &pattern.host,
            port,
            path: &path,
            client_ip: visit.ctx.client_ip,
            network_ip: visit.ctx.client_ip,
            has_forwarding_header: false,
            audience: Audience::Navigation,
            fetch_site: FetchSite::SameSite,
            origin: None,
            upgrade: false,
            preflight: false,
            preflight_method: None,
        };
        let step_up = match policy::decide(route, &facts, Some(identity), visit.now, None).verdict {
            Verdict::Allow(_) => false,
            Verdict::StepUp { .. } => true,
            Verdict::Challenge { .. } | Verdict::Deny { .. } => continue,
        };
        let authority = if port == portal.scheme.default_port() {
            pattern.host.to_string()
        } else {
            format!("{}:{port}", pattern.host)
        };
        let place = format!("{authority}{}", if &*route.path == "/" { "" } else { &route.path });
        if seen.insert(place.clone()) {
            let url = format!("{}://{authority}{}", portal.scheme.as_str(), route.path);
            apps.push(App { name: route.name.to_string(), place, url, step_up });
        }
    }
    apps
}
