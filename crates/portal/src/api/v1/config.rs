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
    oauth_providers: Vec<Provider>,
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

#[derive(Serialize)]
struct Provider {
    id: String,
    label: String,
}

pub(crate) async fn get(visit: V) -> Response {
    let mode = visit.mode();
    let body = Config {
        mode: mode.as_str(),
        password_auth_enabled: visit.has_password_sign_in(),
        oauth_providers: providers(&visit),
        signup_enabled: visit.has_signup(),
        full: (mode == Mode::Full).then_some(Full {
            passkeys_enabled: false,
            password_reset_enabled: false,
            email_verification_required: false,
        }),
    };
    json(StatusCode::OK, body)
}

/// One that does not answer at the moment stays in the list: it may when it is used.
fn providers(visit: &V) -> Vec<Provider> {
    if visit.mode() != Mode::Full {
        return Vec::new();
    }
    let buttons = visit.authn().provider_buttons().into_iter();
    buttons.map(|button| Provider { id: button.id.to_string(), label: button.label }).collect()
}
