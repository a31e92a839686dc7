//! Signing out at the provider (OpenID Connect RP-Initiated Logout 1.0), and being told by it
//! that somebody signed out there (Back-Channel Logout 1.0).

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::id::SessionId;
use vestibule_core::time::UnixMillis;

use super::LogoutRefused;
use crate::keyring::sha256;
use crate::oidc::{Fault, id_token};
use crate::ports::{OneTimeKind, ProviderSessions, StoreError};
use crate::{Actor, Authn};

impl Authn {
    /// Where to sign out at the provider of a session; `None` where it began elsewhere, or its
    /// provider has no such place. To be asked before the session is ended.
    pub async fn provider_logout_url(self: &Arc<Self>, session: SessionId) -> Option<String> {
        let this = self.clone();
        let found: Result<Option<String>, StoreError> = self
            .on_service(async move {
                let Some(kept) = this.store.provider_session(session).await? else {
                    return Ok(None);
                };
                let remote = this.usable_provider(&kept.provider);
                // Only what is known: a provider that is down must not hold up a sign-out.
                let known = remote.and_then(|r| r.known().map(|k| (r, k)));
                let Some((remote, known)) = known.filter(|(_, k)| k.issuer == kept.issuer) else {
                    return Ok(None);
                };
                let end = known.end_session_endpoint.as_deref();
                let Some(mut url) = end.and_then(|end| url::Url::parse(end).ok()) else {
                    return Ok(None);
                };
                let back = format!("{}{}", this.settings().server.portal, this.login_path());
                let mut query = url.query_pairs_mut();
                if let Some(token) = &kept.id_token {
                    query.append_pair("id_token_hint", token.expose_secret());
                }
                query.append_pair("client_id", &remote.config.client_id);
                query.append_pair("post_logout_redirect_uri", &back);
                drop(query);
                Ok(Some(url.into()))
            })
            .await;
        found
            .inspect_err(|error| tracing::warn!(%error, "the provider of a session is not known"))
            .unwrap_or_default()
    }

    /// `/login`, under the prefix that it has where the portal shares its host with an app.
    fn login_path(&self) -> &'static str {
        let settings = self.settings();
        let portal = &settings.server.portal.host;
        let mut hosts = settings.routes.iter().flat_map(|route| &route.hosts);
        let shared = hosts.any(|host| host.matches(portal));
        if shared { "/.vestibule/login" } else { "/login" }
    }

    /// Takes a logout token: ends the sessions it names; how many.
    pub async fn backchannel_logout(
        self: &Arc<Self>,
        provider: &str,
        logout_token: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<usize, LogoutRefused> {
        let (this, actor) = (self.clone(), actor.clone());
        let (provider, token) = (provider.to_owned(), logout_token.to_owned());
        self.on_service(async move {
            this.tick(now);
            let remote = this.usable_provider(&provider).ok_or(LogoutRefused::NotConfigured)?;
            let read = async {
                let metadata = remote.metadata(&this.fetch, now).await?;
                id_token::verify_logout(&this.fetch, &remote, &metadata, &token, now).await
            };
            let logout = read.await.map_err(|fault: Fault| {
                let client = actor.client_ip.unwrap_or(IpAddr::from([0, 0, 0, 0]));
                if this.failure_lines.may_write(client) {
                    tracing::warn!(
                        provider,
                        reason = fault.reason,
                        detail = fault.detail,
                        request_id = %actor.request_id,
                        "a logout token is refused"
                    );
                }
                LogoutRefused::Bad(fault.reason)
            })?;
            let mut seen = logout.issuer.clone().into_bytes();
            seen.push(0);
            seen.extend_from_slice(logout.jti.as_bytes());
            let key = sha256(&seen);
            let kind = OneTimeKind::LogoutToken;
            if this.store.peek_one_time(kind, &key, now).await?.is_some() {
                return Err(LogoutRefused::Bad("jti_replayed"));
            }
            let which = match (&logout.sid, &logout.sub) {
                (Some(sid), sub) => ProviderSessions::Sid { sid, sub: sub.as_deref() },
                (None, Some(sub)) => ProviderSessions::Sub(sub),
                (None, None) => return Err(LogoutRefused::Bad("claim_missing_sub_and_sid")),
            };
            let actor = Actor { id: format!("provider:{provider}"), ..actor };
            // First what the token is for, which may be done twice; remembered last, so that a
            // provider whose logout met a store that was down can send it again.
            let ended = this.end_sessions_at_provider(&logout.issuer, which, &actor, now).await?;
            if !this.store.remember_once(kind, key, now, logout.expires_at).await? {
                return Err(LogoutRefused::Bad("jti_replayed"));
            }
            Ok(ended)
        })
        .await
    }
}
