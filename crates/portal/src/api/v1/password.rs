//! `POST /password/change`: with the current password, by a session or token, never by a key.

use axum::response::Response;
use serde::Deserialize;

use vestibule_core::secret::Secret;

use super::no_content;
use crate::body::Unread;
use crate::dispatch::append_cookies;
use crate::guard::Need;
use crate::problem::Problem;
use crate::visit::{V, Visit};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    #[serde(alias = "currentPassword", alias = "old_password")]
    current_password: String,
    #[serde(alias = "newPassword")]
    new_password: String,
}

pub(crate) async fn change(visit: V, body: Unread) -> Result<Response, Problem> {
    visit.require_account(Need::Person)?;
    let change: Change = body.json().await?;
    let cookies =
        change_own(&visit, Secret::new(change.current_password), Secret::new(change.new_password))
            .await?;
    let mut response = no_content();
    append_cookies(&mut response, &cookies);
    Ok(response)
}

/// Changes the password of whoever asks; ends their other sessions and gives this one a new
/// token. Answers the cookies to set.
pub(crate) async fn change_own(
    visit: &Visit,
    current: Secret,
    new: Secret,
) -> Result<Vec<String>, Problem> {
    let (identity, id) = visit.require_account(Need::Person)?;
    let keep = identity.session;
    visit.authn().change_password(id, current, new, keep, &visit.actor(), visit.now).await?;
    match visit.ctx.cookie_session {
        None => Ok(Vec::new()),
        Some(session) => {
            let started = visit.authn().renew_session(session, None, visit.now).await?;
            Ok(visit.session_cookies(&started))
        }
    }
}
