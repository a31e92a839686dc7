//! Everybody's sessions.

use axum::extract::Path;
use axum::response::Response;
use http::StatusCode;

use vestibule_core::id::SessionId;

use crate::api::v1::{id, json, no_content};
use crate::guard::Need;
use crate::json::Session;
use crate::params::Params;
use crate::problem::Problem;
use crate::visit::V;

pub(crate) async fn list(visit: V, params: Params) -> Result<Response, Problem> {
    let current = visit.require(Need::Admin)?.session;
    let of = match params.value("user_id") {
        None => None,
        Some(text) => Some(
            text.parse().map_err(|_| Problem::bad_request("`user_id` is the id of an account."))?,
        ),
    };
    let sessions = visit.authn().list_sessions(of, visit.now).await?;
    let list: Vec<_> = sessions.into_iter().map(|s| Session::new(s, current)).collect();
    Ok(json(StatusCode::OK, list))
}

pub(crate) async fn end(visit: V, Path(text): Path<String>) -> Result<Response, Problem> {
    visit.require(Need::Admin)?;
    let session: SessionId = id(&text)?;
    let ended = visit.authn().end_session(session, None, false, &visit.actor(), visit.now).await?;
    if ended { Ok(no_content()) } else { Err(Problem::not_found()) }
}
