//! The check for cross-site requests (CONTRACT section 8).
//!
//! A state change that the browser's own cookie would authenticate must come from the portal
//! itself: `Sec-Fetch-Site: same-origin`, or without that header the portal's own `Origin`.
//! Programs send neither; their JSON is taken (no form can send that type without asking
//! first), and a form without either header must bring its token ([`crate::body::FormBody`]).

use http::{HeaderMap, Method, header};

use vestibule_core::facts::FetchSite;

use crate::dispatch::{Area, is_callback};
use crate::problem::Problem;
use crate::visit::Visit;

/// Refuses a state change from elsewhere. Explicit credentials (keys, tokens) pass: another
/// site cannot make a browser send them.
pub(crate) fn check(visit: &Visit, headers: &HeaderMap) -> Result<(), Problem> {
    let is_safe = matches!(visit.method, Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || !visit.credential_is_ambient() || is_from_a_provider(visit) {
        return Ok(());
    }
    if headers.get_all("sec-fetch-site").iter().count() > 1
        || headers.get_all(header::ORIGIN).iter().count() > 1
    {
        return Err(Problem::csrf());
    }
    match (visit.fetch_site, headers.get(header::ORIGIN)) {
        (FetchSite::SameOrigin, _) => Ok(()),
        (FetchSite::Absent, Some(origin)) => {
            let own = own_origin(visit);
            if origin.as_bytes() == own.as_bytes() { Ok(()) } else { Err(Problem::csrf()) }
        }
        (FetchSite::Absent, None) => Ok(()),
        _ => Err(Problem::csrf()),
    }
}

/// What providers send reads no cookie: a logout token is proof by itself, and a form sent to a
/// callback is refused for being one.
fn is_from_a_provider(visit: &Visit) -> bool {
    let path = visit.path();
    path.starts_with("/api/v1/auth/backchannel-logout/") || is_callback(path)
}

/// Whether a form must bring its token: neither header told where it came from.
pub(crate) fn form_needs_token(visit: &Visit) -> bool {
    visit.credential_is_ambient() && visit.fetch_site == FetchSite::Absent && visit.origin.is_none()
}

/// On an app's host its own origin counts, elsewhere the portal's.
fn own_origin(visit: &Visit) -> String {
    let portal = &visit.settings.server.portal;
    if visit.area == Area::AppHost && visit.ctx.host != portal.host {
        crate::app_host::origin(visit).to_string()
    } else {
        portal.to_string()
    }
}
