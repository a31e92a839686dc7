//! Pages for people: one file a page. They work without JavaScript; all there is copies a text.

mod admin;
mod api_keys;
pub(crate) mod error;
mod handoff;
mod launcher;
mod link;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod provider;
mod settings;
mod setup;
mod signup;
mod standing;

use axum::Router;
use axum::routing::{get, post};
use http::Method;

use crate::dispatch::Area;
use crate::problem::Problem;
use crate::visit::Visit;

pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(launcher::show))
        .route("/login", get(login::show).post(login::submit))
        .route("/logout", get(logout::show).post(logout::submit))
        .route("/signup", get(signup::show).post(signup::submit))
        .route("/setup", get(setup::show).post(setup::submit))
        .route("/setup/oauth", get(setup::oauth).post(setup::save_oauth))
        .route("/setup/done", get(setup::done))
        .route("/pending", get(standing::pending))
        .route("/rejected", get(standing::rejected))
        .route("/handoff", get(handoff::hand_off))
        .route("/settings", get(settings::show))
        .route("/settings/profile", post(settings::profile))
        .route("/settings/password", post(settings::password))
        .route("/settings/sessions", post(settings::sessions))
        .route("/settings/providers", post(settings::providers))
        .route("/settings/link", get(link::show).post(link::submit))
        .route("/api-keys", get(api_keys::show).post(api_keys::submit))
        .route("/admin", get(admin::show))
        .route("/admin/users", get(admin::users::show).post(admin::users::submit))
        .route("/admin/providers", get(admin::providers::list).post(admin::providers::create))
        .route("/admin/providers/{id}", get(admin::provider::show).post(admin::provider::submit))
        .fallback(|| async { Problem::not_found() })
}

/// Whether a path is (or lies below) a page of ours.
pub(crate) fn is_page(path: &str) -> bool {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    matches!(
        first,
        "" | "admin"
            | "api-keys"
            | "handoff"
            | "login"
            | "logout"
            | "pending"
            | "rejected"
            | "settings"
            | "setup"
            | "signup"
    )
}

/// Gives the browser a new token where its session asks for one (a changed role), at the next
/// page it opens.
pub(crate) async fn renew_where_asked(visit: &Visit) -> Option<String> {
    if visit.area != Area::Page || visit.method != Method::GET {
        return None;
    }
    let session = visit.ctx.cookie_session?;
    let record = visit.authn().session_record(session).await.ok()??;
    if !record.rotate {
        return None;
    }
    let started = visit.authn().renew_session(session, None, visit.now).await.ok()?;
    let max_age = record.remember.then(|| record.expires_at.since(visit.now));
    Some(visit.names.set_session(&started.token, max_age))
}
