//! `GET /config`: how people sign in here. Free of limits and credentials.

use axum::response::Response;
use http::StatusCode;
use serde::Serialize;

use vestibule_core::settings::auth::Mode;

use super::json;
use crate::visit::V;

#[derive(Serialize)]
struct Config {
    mode: &'static str,
    password_auth_enabled: bool,
    oauth_providers: [(); 0],
    signup_enabled: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    full: Option<Full>,
}

/// Only said in mode full; the other two have exactly four members.
#[derive(Serialize)]
struct Full {
    passkeys_enabled: bool,
    password_reset_enabled: bool,
    email_verification_required: bool,
}

pub(crate) async fn get(visit: V) -> Response {
    let mode = visit.mode();
    let body = Config {
        mode: mode.as_str(),
        password_auth_enabled: visit.has_password_sign_in(),
        oauth_providers: [],
        signup_enabled: visit.has_signup(),
        full: (mode == Mode::Full).then_some(Full {
            passkeys_enabled: false,
            password_reset_enabled: false,
            email_verification_required: false,
        }),
    };
    json(StatusCode::OK, body)
}
