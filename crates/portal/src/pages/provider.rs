//! What people see where a sign-in at a provider ended without one: a page that says what to
//! do, never a dead end.

use axum::response::{IntoResponse, Response};

use vestibule_authn::provider::ProviderRefused;

use super::error;
use crate::service::provider::refusal;
use crate::visit::Visit;

/// The page; for programs the problem document.
pub(crate) fn refused(
    visit: &Visit,
    provider: &str,
    refused: ProviderRefused,
    rd: &str,
) -> Response {
    let refusal = refusal(visit, provider, refused, rd);
    if !visit.wants_page {
        return refusal.problem.into_response();
    }
    error::render_with_way_out(visit, &refusal.problem, refusal.label, &refusal.href)
}
