//! `/pending` and `/rejected`: the one page that such an account opens.

use askama::Template;
use axum::response::Response;
use http::StatusCode;

use vestibule_core::account::Status;

use crate::view::{self, Chrome};
use crate::visit::{V, Visit};

#[derive(Template)]
#[template(path = "standing.html")]
struct StandingPage {
    chrome: Chrome,
    is_pending: bool,
    signed_in_as: Option<String>,
}

pub(crate) async fn pending(visit: V) -> Response {
    show(&visit, true)
}

pub(crate) async fn rejected(visit: V) -> Response {
    show(&visit, false)
}

/// Whoever has got through meanwhile goes on; whoever stands elsewhere sees that page.
fn show(visit: &Visit, is_pending: bool) -> Response {
    let identity = visit.browser_identity();
    match identity.map(|identity| identity.status) {
        Some(Status::Active) => return visit.redirect(&visit.url("/")),
        Some(Status::Pending) if !is_pending => return visit.redirect(&visit.url("/pending")),
        Some(Status::Rejected) if is_pending => return visit.redirect(&visit.url("/rejected")),
        _ if visit.auth_is_off() => return visit.redirect(&visit.url("/")),
        _ => {}
    }
    let signed_in_as = identity.map(|i| i.email.as_deref().unwrap_or(&i.username).to_owned());
    let page = StandingPage { chrome: Chrome::new(visit), is_pending, signed_in_as };
    view::page(visit, StatusCode::OK, &page)
}
