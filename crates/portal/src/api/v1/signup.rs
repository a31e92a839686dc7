//! `POST /signup`: an account for oneself. Whether it must wait for approval is `authn`'s
//! business; role and status are never taken from the request.

use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::Mode;

use super::json;
use super::me::display_name;
use crate::body::Unread;
use crate::json::User;
use crate::problem::Problem;
use crate::visit::V;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Signup {
    email: String,
    password: String,
    #[serde(default)]
    name: String,
}

pub(crate) async fn signup(visit: V, body: Unread) -> Result<Response, Problem> {
    if visit.mode() == Mode::None {
        return Err(Problem::not_available());
    }
    if !visit.has_signup() {
        return Err(Problem::signup_disabled());
    }
    let signup: Signup = body.json().await?;
    let name = display_name(&signup.name)?;
    let password = Secret::new(signup.password);
    let account =
        visit.authn().sign_up(&signup.email, password, &name, &visit.actor(), visit.now).await?;
    Ok(json(StatusCode::CREATED, serde_json::json!({ "user": User::from(&account) })))
}
