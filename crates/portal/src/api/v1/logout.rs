//! `POST /logout`: ends the session behind the cookie or the access token, with everything
//! that hangs on it.

use axum::response::Response;

use super::no_content;
use crate::dispatch::append_cookies;
use crate::guard::Need;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn logout(visit: V) -> Result<Response, Problem> {
    let identity = visit.require(Need::Known)?;
    let Some(session) = identity.session else {
        if visit.auth_is_off() {
            return Ok(no_content());
        }
        return Err(Problem::forbidden("Only a session can be signed out; a key is revoked."));
    };
    visit.authn().end_session(session, identity.account, true, &visit.actor(), visit.now).await?;
    let mut response = no_content();
    if visit.ctx.cookie_session.is_some() {
        let names = &visit.names;
        append_cookies(&mut response, &[names.clear_session(), names.clear(names.csrf)]);
    }
    Ok(response)
}
