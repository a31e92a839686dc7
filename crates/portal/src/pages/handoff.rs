//! `/handoff`: the portal's side of giving an app's host its own token.

use axum::response::Response;

use vestibule_core::return_to::ReturnTo;

use crate::guard::Need;
use crate::navigation::encode;
use crate::params::Params;
use crate::problem::Problem;
use crate::visit::V;

/// Mints a code for a host with a route and sends the browser back there. Only a browser
/// session hands off; a key or token is no sign-in of a browser.
pub(crate) async fn hand_off(visit: V, params: Params) -> Result<Response, Problem> {
    let host = params.value("host").unwrap_or_default();
    let state = params.value("state").unwrap_or_default();
    let scheme = visit.settings.server.portal.scheme.as_str();
    let is_state = (32..=64).contains(&state.len())
        && state.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let plain_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', '\\']);
    let to = Some(format!("{scheme}://{host}/")).filter(|_| plain_host);
    let origin = match to.and_then(|to| visit.return_to(&to)) {
        Some(ReturnTo::App { origin, .. }) if is_state => origin,
        _ => return Err(Problem::bad_request("This link does not lead to an app of this portal.")),
    };
    if !visit.needs_handoff(&origin) {
        return Ok(visit.redirect(&format!("{origin}/")));
    }
    visit.require(Need::Own)?;
    let session = visit.ctx.cookie_session.ok_or_else(Problem::unauthenticated)?;
    let code = visit.authn().mint_handoff(session, origin.host.as_str(), state, visit.now).await?;
    let again = if params.has("again") { "&again=1" } else { "" };
    let to = format!(
        "{origin}/.vestibule/callback?code={}&state={}{again}",
        encode(&code),
        encode(state)
    );
    Ok(visit.redirect(&to))
}
