//! Header fields of every answer of the portal: nothing may frame it, script it, sniff it,
//! keep it, or learn from it where the visitor came from.
//!
//! `form-action` names the app that a sign-in leads to and, where somebody is signed in, the
//! providers that linking and signing out lead to, because browsers apply it to the redirects
//! behind a form too. There is no script but one, on the pages that say so.

use std::collections::BTreeSet;

use axum::response::Response;
use http::{HeaderName, HeaderValue, header};

use vestibule_core::facts::Scheme;
use vestibule_core::settings::Settings;

use crate::dispatch::Area;
use crate::visit::Visit;

/// Further origins that a page's forms may lead to, set by the page as a response extension.
#[derive(Clone, Debug)]
pub(crate) struct FormTargets(pub(crate) Vec<String>);

/// The path of the one asset that a page runs as a script, set as a response extension.
#[derive(Clone, Debug)]
pub(crate) struct Script(pub(crate) String);

/// Puts the fields on; what a handler set itself (caching of assets and key sets) stays.
pub(crate) fn apply(response: &mut Response, visit: Option<&Visit>, settings: &Settings) {
    let policy = policy(response, visit, settings);
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

fn policy(response: &Response, visit: Option<&Visit>, settings: &Settings) -> String {
    let mut targets = String::new();
    let own = response.extensions().get::<FormTargets>().map(|targets| targets.0.clone());
    // Endpoints come from documents of others: only what cannot end the directive stands in it.
    let plain = |origin: &String| {
        origin.bytes().all(|b| b.is_ascii_alphanumeric() || b":/.-_[]".contains(&b))
    };
    let all = own.unwrap_or_default().into_iter().chain(provider_origins(visit));
    for origin in all.filter(plain).collect::<BTreeSet<_>>() {
        targets.push(' ');
        targets.push_str(&origin);
    }
    let script = response.extensions().get::<Script>().map(|Script(path)| {
        // The very file, not everything of this origin: an app may share it.
        format!("script-src {}{path}; ", settings.server.portal)
    });
    let script = script.unwrap_or_default();
    format!(
        "default-src 'none'; {script}style-src 'self'; img-src 'self'; form-action 'self'{targets}; \
         base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
    )
}

/// Where the forms of somebody who is signed in may lead by way of a provider.
fn provider_origins(visit: Option<&Visit>) -> Vec<String> {
    let signed_in = |visit: &&Visit| visit.area != Area::Api && visit.browser_identity().is_some();
    let Some(visit) = visit.filter(signed_in) else { return Vec::new() };
    visit.authn().provider_origins()
}
