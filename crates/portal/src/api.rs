//! The JSON API. One file an endpoint group; `ENDPOINTS` is the list that the OpenAPI
//! document is held against.

mod v1;

pub(crate) use v1::admin::providers::backchannel_logout_uri;
pub(crate) use v1::jwks::get as jwks;
pub(crate) use v1::me::display_name;
pub(crate) use v1::password::change_own as change_own_password;

use axum::Router;
use axum::routing::{MethodRouter, delete, get, patch, post};
use http::StatusCode;

use crate::problem::Problem;

pub(crate) fn router() -> Router {
    Router::new()
        .route("/health", get(v1::health::get))
        .route("/health/database", get(v1::health::database))
        .route("/.well-known/jwks.json", get(v1::jwks::get))
        .route("/api-keys/create", post(v1::api_keys::create))
        .route("/api-keys/list", get(v1::api_keys::list))
        .route("/api-keys/{id}", patch(v1::api_keys::change).delete(v1::api_keys::revoke))
        .route("/api/v1/openapi.json", get(v1::openapi::get))
        .nest("/api/v1/auth", auth())
        .nest("/api/v1/admin", admin())
        .route("/api/auth/oidc/{provider}/callback", callback())
        .fallback(|| async { Problem::not_found() })
}

fn auth() -> Router {
    Router::new()
        .route("/config", get(v1::config::get))
        .route("/login", post(v1::login::login))
        .route("/login/{provider}", get(v1::provider::start).post(v1::absent::flow))
        .route("/callback/{provider}", callback())
        .route("/oauth/{provider}/callback", callback())
        .route("/backchannel-logout/{provider}", post(v1::backchannel_logout::take))
        .route("/signup", post(v1::signup::signup))
        .route("/refresh", post(v1::login::refresh))
        .route("/logout", post(v1::logout::logout))
        .route("/me", get(v1::me::get).patch(v1::me::change))
        .route("/password/change", post(v1::password::change))
        .route("/password/forgot", post(v1::absent::flow))
        .route("/password/reset", post(v1::absent::flow))
        .route("/email/verify", post(v1::absent::flow))
        .route("/email/resend", post(v1::absent::flow))
        .route("/passkeys", get(v1::absent::flow))
        .route("/passkeys/{*rest}", post(v1::absent::flow).delete(v1::absent::flow))
        .route("/totp", delete(v1::absent::flow))
        .route("/totp/{step}", post(v1::absent::flow))
        .route("/sessions", get(v1::sessions::list).delete(v1::sessions::end_others))
        .route("/sessions/{id}", delete(v1::sessions::end))
        .route("/api-keys", get(v1::api_keys::list).post(v1::api_keys::create))
        .route("/api-keys/{id}", patch(v1::api_keys::change).delete(v1::api_keys::revoke))
}

/// A callback is answered once: a HEAD ahead of the browser must not use it up.
fn callback() -> MethodRouter {
    let method = || async { StatusCode::METHOD_NOT_ALLOWED };
    get(v1::provider::callback).post(v1::provider::callback_by_form).head(method)
}

fn admin() -> Router {
    use v1::admin::{api_keys, audit, providers, routes, sessions, users};
    Router::new()
        .route("/users", get(users::list).post(users::create))
        .route("/users/{id}", get(users::get).patch(users::change).delete(users::delete))
        .route("/users/{id}/sign-out", post(users::sign_out))
        .route("/sessions", get(sessions::list))
        .route("/sessions/{id}", delete(sessions::end))
        .route("/api-keys", get(api_keys::list))
        .route("/api-keys/{id}", delete(api_keys::revoke))
        .route("/providers", get(providers::list).post(providers::create))
        .route(
            "/providers/{id}",
            get(providers::get)
                .patch(providers::change)
                .delete(providers::delete)
                .post(providers::test_unsaved),
        )
        .route("/providers/{id}/test", post(providers::test))
        .route("/audit", get(audit::list))
        .route("/routes", get(routes::list))
}

/// Every operation the API offers, as it stands in the OpenAPI document: method, path, and
/// whether it asks for a credential.
#[cfg(test)]
pub(crate) const ENDPOINTS: &[(&str, &str, bool)] = &[
    ("delete", "/api/v1/admin/api-keys/{id}", true),
    ("delete", "/api/v1/admin/providers/{id}", true),
    ("delete", "/api/v1/admin/sessions/{id}", true),
    ("delete", "/api/v1/admin/users/{id}", true),
    ("delete", "/api/v1/auth/api-keys/{id}", true),
    ("delete", "/api/v1/auth/sessions", true),
    ("delete", "/api/v1/auth/sessions/{id}", true),
    ("get", "/.well-known/jwks.json", false),
    ("get", "/api/v1/admin/api-keys", true),
    ("get", "/api/v1/admin/audit", true),
    ("get", "/api/v1/admin/providers", true),
    ("get", "/api/v1/admin/providers/{id}", true),
    ("get", "/api/v1/admin/routes", true),
    ("get", "/api/v1/admin/sessions", true),
    ("get", "/api/v1/admin/users", true),
    ("get", "/api/v1/admin/users/{id}", true),
    ("get", "/api/v1/auth/api-keys", true),
    ("get", "/api/v1/auth/callback/{provider}", false),
    ("get", "/api/v1/auth/config", false),
    ("get", "/api/v1/auth/login/{provider}", false),
    ("get", "/api/v1/auth/me", true),
    ("get", "/api/v1/auth/sessions", true),
    ("get", "/api/v1/openapi.json", false),
    ("get", "/health", false),
    ("get", "/health/database", true),
    ("patch", "/api/v1/admin/providers/{id}", true),
    ("patch", "/api/v1/admin/users/{id}", true),
    ("patch", "/api/v1/auth/api-keys/{id}", true),
    ("patch", "/api/v1/auth/me", true),
    ("post", "/api/v1/admin/providers", true),
    ("post", "/api/v1/admin/providers/test", true),
    ("post", "/api/v1/admin/providers/{id}/test", true),
    ("post", "/api/v1/admin/users", true),
    ("post", "/api/v1/admin/users/{id}/sign-out", true),
    ("post", "/api/v1/auth/api-keys", true),
    ("post", "/api/v1/auth/backchannel-logout/{provider}", false),
    ("post", "/api/v1/auth/login", false),
    ("post", "/api/v1/auth/logout", true),
    ("post", "/api/v1/auth/password/change", true),
    ("post", "/api/v1/auth/refresh", false),
    ("post", "/api/v1/auth/signup", false),
];
