//! One's own sessions: list, end one, end all but this one.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use vestibule_core::id::SessionId;

use super::{id, json, no_content};
use crate::guard::Need;
use crate::json::Session;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn list(visit: V) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Own)?;
    let current = identity.session;
    let sessions = visit.authn().list_sessions(Some(account), visit.now).await?;
    let list: Vec<_> = sessions.into_iter().map(|s| Session::new(s, current)).collect();
    Ok(json(StatusCode::OK, list))
}

pub(crate) async fn end(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    let (_, account) = visit.require_account(Need::Own)?;
    let session: SessionId = id(&text)?;
    let ended =
        visit.authn().end_session(session, Some(account), false, &visit.actor(), visit.now).await?;
    if ended { Ok(no_content()) } else { Err(Problem::not_found()) }
}

pub(crate) async fn end_others(visit: V) -> Result<Response, Problem> {
    let (identity, account) = visit.require_account(Need::Own)?;
    let keep = identity.session;
    visit.authn().end_sessions_of(account, keep, &visit.actor(), visit.now).await?;
    Ok(no_content())
}
