//! Which providers there are: those of file and environment in their order, then those made
//! at run time. Of one id the former win.

use std::sync::Arc;

use arc_swap::ArcSwap;

use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::Mode;
use vestibule_core::settings::provider::spec::{ProviderContext, ProviderSpec};
use vestibule_core::settings::provider::{Provider, ProviderOrigin, ProviderPlace};
use vestibule_core::time::UnixMillis;

use super::{ProviderButton, ProviderShown, ProviderStatus};
use crate::identity_cache::Subject;
use crate::oidc::metadata;
use crate::oidc::remote::RemoteProvider;
use crate::ports::{StoreResult, StoredProvider};
use crate::{Actor, Authn};

/// All configured providers.
#[derive(Default)]
pub(crate) struct Registry {
    all: ArcSwap<Vec<Arc<RemoteProvider>>>,
    stored: ArcSwap<Vec<StoredProvider>>,
    /// Held while the stored ones are read: the list read last is the one that counts.
    reading: tokio::sync::Mutex<()>,
}

impl Registry {
    /// One of them, also a disabled one.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<RemoteProvider>> {
        self.all.load().iter().find(|provider| &*provider.config.id == id).cloned()
    }

    pub(crate) fn all(&self) -> Arc<Vec<Arc<RemoteProvider>>> {
        self.all.load_full()
    }

    pub(super) fn stored(&self) -> Arc<Vec<StoredProvider>> {
        self.stored.load_full()
    }

    /// Whether some provider could be signed in at under these settings.
    pub(crate) fn any_enabled(&self, settings: &Settings) -> bool {
        let stored = self.stored.load();
        let mut resolved = stored.iter().filter_map(|s| s.spec.resolve(&context(settings)).ok());
        settings.providers.iter().any(|provider| provider.enabled)
            || resolved.any(|provider| provider.enabled)
    }

    /// Takes new settings. What is known of a provider that did not change is kept. Whether
    /// anything changed.
    pub(crate) fn rebuild(&self, settings: &Settings) -> bool {
        let development = settings.server.development;
        let mut wanted: Vec<Provider> = settings.providers.clone();
        for stored in self.stored.load().iter() {
            if wanted.iter().any(|provider| *provider.id == *stored.spec.id) {
                continue;
            }
            match stored.spec.resolve(&context(settings)) {
                // Two providers with one callback: an answer could be taken for the other's.
                Ok(provider) if wanted.iter().any(|p| p.redirect_uri == provider.redirect_uri) => {
                    tracing::error!(
                        "provider.not_configured id={} its redirect URI {} is another provider's; it is off",
                        stored.spec.id,
                        provider.redirect_uri
                    );
                }
                Ok(provider) => wanted.push(provider),
                Err(problems) => {
                    let first = problems.first().map(|problem| problem.message.clone());
                    tracing::error!(
                        id = stored.spec.id,
                        problem = first.unwrap_or_default(),
                        "provider.not_configured id={} a provider made at run time no longer holds and is off",
                        stored.spec.id
                    );
                }
            }
        }
        let known = self.all.load();
        let all: Vec<_> = wanted
            .into_iter()
            .map(|config| {
                let same = known.iter().find(|old| old.is_as(&config, development));
                same.cloned().unwrap_or_else(|| Arc::new(RemoteProvider::new(config, development)))
            })
            .collect();
        let same = all.len() == known.len()
            && all.iter().zip(known.iter()).all(|(new, old)| Arc::ptr_eq(new, old));
        self.all.store(Arc::new(all));
        !same
    }
}

/// Under which rules a provider made at run time is resolved.
pub(super) fn context(settings: &Settings) -> ProviderContext<'_> {
    ProviderContext {
        portal: &settings.server.portal,
        development: settings.server.development,
        default_redirect_uri: &settings.server.provider_redirect_uri,
        origin: ProviderOrigin::Stored,
    }
}

impl Authn {
    /// Reads the providers made at run time and takes them in; whether anything changed.
    pub(crate) async fn load_providers(&self) -> StoreResult<bool> {
        let _one = self.providers.reading.lock().await;
        let stored = self.store.stored_providers().await?;
        self.providers.stored.store(Arc::new(stored));
        Ok(self.providers.rebuild(&self.settings()))
    }

    /// Ends the sessions that began at providers which are off or gone: they would live again
    /// with the provider, whatever ended them there meanwhile. For the server alone; a command
    /// may run in an environment that names fewer providers.
    pub async fn end_sessions_of_missing_providers(
        self: &Arc<Self>,
        now: UnixMillis,
    ) -> StoreResult<usize> {
        let this = self.clone();
        self.on_service(async move {
            let all = this.providers.all();
            let on: Vec<&str> =
                all.iter().filter(|p| p.config.enabled).map(|p| &*p.config.id).collect();
            let ended = this.store.delete_sessions_of_other_providers(&on).await?;
            let subjects: Vec<_> = ended.iter().copied().map(Subject::Session).collect();
            this.revoke(&subjects);
            let system =
                Actor { id: "system".to_owned(), client_ip: None, request_id: Arc::from("") };
            for session in &ended {
                let detail = "reason=provider-off";
                this.audit_by(&system, "session.revoked", *session, "success", detail, now);
            }
            Ok(ended.len())
        })
        .await
    }

    /// A provider that people may sign in with now.
    pub(crate) fn usable_provider(&self, id: &str) -> Option<Arc<RemoteProvider>> {
        let settings = self.settings();
        let open = settings.auth.mode == Mode::Full && !settings.auth.is_off();
        self.providers.find(id).filter(|provider| open && provider.config.enabled)
    }

    /// The providers that people can sign in with, in the order of configuration; empty in
    /// modes admin and none.
    pub fn provider_buttons(&self) -> Vec<ProviderButton> {
        let all = self.providers.all();
        all.iter()
            .filter_map(|provider| self.usable_provider(&provider.config.id))
            .map(|provider| ProviderButton {
                id: provider.config.id.clone(),
                label: provider.config.label.clone(),
                is_down: matches!(provider.status(), ProviderStatus::Down { .. }),
            })
            .collect()
    }

    /// Every provider that is configured, for administrators.
    pub fn providers(&self) -> Vec<ProviderShown> {
        let stored = self.providers.stored();
        let all = self.providers.all();
        let shown = |remote: &Arc<RemoteProvider>| {
            let provider = remote.config.clone();
            let written = stored.iter().find(|stored| *stored.spec.id == *provider.id);
            let mut spec = match (provider.origin, written) {
                (ProviderOrigin::Stored, Some(stored)) => stored.spec.clone(),
                _ => spec_of(&provider),
            };
            spec.client_secret = None;
            ProviderShown { provider, spec, status: remote.status() }
        };
        all.iter().map(shown).collect()
    }

    /// Origins (`scheme://host[:port]`) that a form may lead to by way of a provider: its
    /// authorization and logout endpoints, where they are known.
    pub fn provider_origins(&self) -> Vec<String> {
        let all = self.providers.all();
        let mut origins: Vec<String> = all
            .iter()
            .filter_map(|provider| provider.known())
            .flat_map(|known| {
                let ends = known.end_session_endpoint.clone();
                [Some(known.authorization_endpoint.clone()), ends]
            })
            .flatten()
            .filter_map(|url| metadata::origin(&url))
            .collect();
        origins.sort();
        origins.dedup();
        origins
    }

    /// Paths of the portal that are callbacks because a provider's `redirect_uri` says so.
    pub fn provider_callback_paths(&self) -> Vec<(String, Arc<str>)> {
        let all = self.providers.all();
        all.iter()
            .filter_map(|provider| {
                let url = url::Url::parse(&provider.config.redirect_uri).ok()?;
                Some((url.path().to_owned(), provider.config.id.clone()))
            })
            .collect()
    }

    /// Whether a path of the portal is such a callback. Asked at requests: allocates nothing.
    pub fn is_provider_callback(&self, path: &str) -> bool {
        self.providers.all().iter().any(|provider| {
            let origin = provider.config.redirect_uri.strip_suffix(path);
            let authority = origin.and_then(|origin| origin.split_once("://"));
            authority.is_some_and(|(_, authority)| !authority.contains('/'))
        })
    }

    /// Asks providers that are not known to be well, so that the sign-in page can tell.
    pub(crate) fn look_at_providers(self: &Arc<Self>, now: UnixMillis) {
        for provider in self.providers.all().iter() {
            if self.usable_provider(&provider.config.id).is_none() {
                continue;
            }
            let (this, provider) = (self.clone(), provider.clone());
            drop(self.service.spawn(async move { provider.look(&this.fetch, now).await }));
        }
    }
}

/// The keys that would give this provider, for showing.
fn spec_of(provider: &Provider) -> ProviderSpec {
    let mut spec = ProviderSpec {
        id: provider.id.to_string(),
        kind: Some(provider.kind.as_str().to_owned()),
        client_id: provider.client_id.clone(),
        label: Some(provider.label.clone()),
        scopes: Some(provider.scopes.clone()),
        pkce: Some(provider.pkce),
        enabled: Some(provider.enabled),
        redirect_uri: Some(provider.redirect_uri.clone()),
        ..ProviderSpec::default()
    };
    match &provider.place {
        ProviderPlace::Discovery(url) => spec.discovery_url = Some(url.clone()),
        ProviderPlace::Github(base) => spec.base_url = Some(base.clone()),
        ProviderPlace::Issuer(issuer) => spec.issuer = Some(issuer.clone()),
    }
    spec
}
