//! What a start says about identity providers, one line each.

use vestibule_authn::Authn;
use vestibule_core::settings::provider::{Provider, ProviderPlace};

/// `provider.ready` for each that can be used. Which ones lack something the configuration has
/// said (`provider.not_configured`).
pub(crate) fn announce(authn: &Authn) {
    for shown in authn.providers() {
        let provider = &shown.provider;
        let (id, issuer, redirect_uri) = (&provider.id, issuer(provider), &provider.redirect_uri);
        if provider.enabled {
            tracing::info!("provider.ready id={id} issuer={issuer} redirect_uri={redirect_uri}");
        } else {
            tracing::info!("provider.off id={id}");
        }
    }
}

/// The issuer, as far as the configuration says it.
pub(crate) fn issuer(provider: &Provider) -> &str {
    match &provider.place {
        ProviderPlace::Discovery(url) => {
            url.strip_suffix(".well-known/openid-configuration").unwrap_or(url)
        }
        ProviderPlace::Github(base) => base,
        ProviderPlace::Issuer(issuer) => issuer,
    }
}
