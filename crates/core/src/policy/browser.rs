//! What only a cookie needs: checks that a request with a session was meant by its person.
//!
//! A browser sends the cookie along whoever caused the request; a key or token is only
//! ever sent on purpose, so none of this concerns them.

use crate::credential::CredentialKind;
use crate::facts::{Facts, FetchSite};
use crate::identity::Identity;
use crate::route::Route;
use crate::verdict::{Code, Reason};

/// Why a request with a session must not pass although its person may. Public rules are no
/// exception: there, too, the app is told who the cookie says it is.
pub(super) fn refusal(
    route: &Route,
    facts: &Facts<'_>,
    identity: &Identity,
) -> Option<(Reason, Code)> {
    if identity.credential != CredentialKind::Session {
        return None;
    }
    if facts.upgrade && !origin_may_connect(route, facts) {
        return Some((Reason::Origin, Code::OriginNotAllowed));
    }
    if route.block_unsafe_cross_site && !is_safe(facts.method) && crosses_sites(facts.fetch_site) {
        return Some((Reason::CrossSite, Code::CrossSiteRefused));
    }
    None
}

/// Methods that ask for no change (RFC 9110, 9.2.1).
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

fn crosses_sites(site: FetchSite) -> bool {
    match site {
        FetchSite::Absent | FetchSite::None | FetchSite::SameOrigin => false,
        FetchSite::CrossSite | FetchSite::SameSite => true,
    }
}

/// Browsers send `Origin` with every WebSocket (RFC 6455, 4.1), so a missing one is foreign.
fn origin_may_connect(route: &Route, facts: &Facts<'_>) -> bool {
    let Some(origin) = facts.origin else { return false };
    is_own_origin(origin, facts)
        || route.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// Compares with the request's own origin without building it.
fn is_own_origin(origin: &str, facts: &Facts<'_>) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Some((host, port)) = authority.split_at_checked(facts.host.as_str().len()) else {
        return false;
    };
    let port_is_own = match port.strip_prefix(':') {
        Some(digits) => digits.parse() == Ok(facts.port),
        None => port.is_empty() && facts.port == facts.scheme.default_port(),
    };
    scheme.eq_ignore_ascii_case(facts.scheme.as_str())
        && host.eq_ignore_ascii_case(facts.host.as_str())
        && port_is_own
}
