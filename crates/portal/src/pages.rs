//! Pages for people: one file a page. They work without JavaScript; there is none.

mod admin;
mod api_keys;
pub(crate) mod error;
mod handoff;
mod launcher;
mod login;
pub(crate) mod logout;
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
        .route("/setup/done", get(setup::done))
        .route("/pending", get(standing::pending))
        .route("/rejected", get(standing::rejected))
        .route("/handoff", get(handoff::hand_off))
        .route("/settings", get(settings::show))
        .route("/settings/profile", post(settings::profile))
        .route("/settings/password", post(settings::password))
        .route("/settings/sessions", post(settings::sessions))
        .route("/api-keys", get(api_keys::show).post(api_keys::submit))
        .route("/admin", get(admin::show))
        .route("/admin/users", get(admin::users::show).post(admin::users::submit))
        .fallback(|| async { Problem::not_found() })
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
