//! `GET /me` and `PATCH /me`: who is asking, and their display name.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use vestibule_core::credential::CredentialKind;

use super::json;
use crate::body::Unread;
use crate::guard::Need;
use crate::json::User;
use crate::problem::Problem;
use crate::visit::V;

/// The longest display name, in characters.
pub(crate) const MAX_NAME: usize = 200;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    name: String,
}

pub(crate) async fn get(visit: V) -> Result<Response, Problem> {
    let identity = visit.require(Need::Known)?;
    if identity.credential == CredentialKind::None {
        return Ok(json(StatusCode::OK, User::anonymous(identity)));
    }
    let (_, id) = visit.require_account(Need::Known)?;
    Ok(json(StatusCode::OK, User::from(&visit.account(id).await?)))
}

pub(crate) async fn change(visit: V, body: Unread) -> Result<Response, Problem> {
    let (_, id) = visit.require_account(Need::Own)?;
    let change: Change = body.json().await?;
    let name = display_name(&change.name)?;
    let changed = visit.authn().set_names(id, Some(name), None, &visit.actor(), visit.now).await?;
    Ok(json(StatusCode::OK, User::from(&changed)))
}

/// A display name: trimmed, printable, not endless.
pub(crate) fn display_name(text: &str) -> Result<String, Problem> {
    let name = text.trim();
    if name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Problem::bad_request("A name has at most 200 printable characters."));
    }
    Ok(name.to_owned())
}
