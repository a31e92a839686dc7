//! Version 1 of the JSON API.

pub(crate) mod absent;
pub(crate) mod admin;
pub(crate) mod api_keys;
pub(crate) mod backchannel_logout;
pub(crate) mod config;
pub(crate) mod health;
pub(crate) mod jwks;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod me;
pub(crate) mod openapi;
pub(crate) mod password;
pub(crate) mod provider;
pub(crate) mod sessions;
pub(crate) mod signup;

use std::str::FromStr;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use crate::problem::Problem;

/// A JSON answer.
pub(crate) fn json(status: StatusCode, body: impl Serialize) -> Response {
    (status, Json(body)).into_response()
}

/// 204.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// An id from a path; what is none names nothing.
pub(crate) fn id<T: FromStr>(text: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}
