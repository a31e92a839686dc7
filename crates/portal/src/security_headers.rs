//! Header fields of every answer of the portal: nothing may frame it, script it, sniff it,
//! keep it, or learn from it where the visitor came from.
//!
//! `form-action` names the app that a sign-in leads to, because browsers apply it to the
//! redirects behind a form too.

use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use vestibule_core::facts::Scheme;
use vestibule_core::settings::Settings;

use crate::visit::Visit;

/// Further origins that a page's forms may lead to, set by the page as a response extension.
#[derive(Clone, Debug)]
pub(crate) struct FormTargets(pub(crate) Vec<String>);

/// Puts the fields on; what a handler set itself (caching of assets and key sets) stays.
pub(crate) fn apply(response: &mut Response, visit: Option<&Visit>, settings: &Settings) {
    let targets = response
        .extensions()
        .get::<FormTargets>()
        .map(|targets| targets.0.join(" "))
        .unwrap_or_default();
    let policy = format!(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self' {targets}; \
         base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )
    .replace(" ;", ";");
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in [
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    // Strict transport is for a host, whatever the port: only said where the portal has the
    // standard one, so that a neighbour on another port is not shut out.
    let portal = &settings.server.portal;
    if portal.scheme == Scheme::Https && portal.port == 443 {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static("max-age=31536000"),
        );
    }
    if let Some(visit) = visit
        && let Ok(id) = HeaderValue::from_str(&visit.ctx.request_id)
    {
        headers.insert("x-request-id", id);
    }
}
