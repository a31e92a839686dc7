//! Providers at run time: administrators add, change, remove and try them.

use std::sync::Arc;

use vestibule_core::settings::provider::spec::{ProviderSpec, SpecProblem};
use vestibule_core::settings::provider::{Provider, ProviderKind, ProviderOrigin, ProviderPlace};
use vestibule_core::time::UnixMillis;

use super::registry::context;
use super::{ProviderChangeError, ProviderCheck, ProviderReport};
use crate::oidc::Fault;
use crate::oidc::metadata::{self, Metadata};
use crate::oidc::remote::RemoteProvider;
use crate::ports::{StoreError, StoreResult, StoredProvider};
use crate::{Actor, Authn};

/// Clocks may differ by this much without a word.
const CLOCK_SECS: i64 = 30;

impl Authn {
    /// Adds a provider at run time; in force at once.
    pub async fn create_provider(
        self: &Arc<Self>,
        spec: ProviderSpec,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Provider, ProviderChangeError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let settings = this.settings();
            let provider = spec.resolve(&context(&settings)).map_err(ProviderChangeError::Bad)?;
            if this.providers.find(&spec.id).is_some() {
                return Err(ProviderChangeError::Taken);
            }
            this.has_own_callback(&provider)?;
            let stored = StoredProvider { spec, created_at: now, updated_at: now };
            match this.store.create_stored_provider(stored).await {
                Err(StoreError::Conflict(_)) => return Err(ProviderChangeError::Taken),
                done => done?,
            }
            this.providers_changed(&provider.id, "created", &actor, now).await?;
            Ok(provider)
        })
        .await
    }

    /// Replaces a provider made at run time; without a secret the old one stays. `spec.id` says
    /// which.
    pub async fn change_provider(
        self: &Arc<Self>,
        spec: ProviderSpec,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Provider, ProviderChangeError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let had = this.stored_provider(&spec.id)?;
            let mut whole = spec.clone();
            if whole.client_secret.is_none() {
                keep_secret(&had.spec, &mut whole)?;
            }
            let settings = this.settings();
            let provider = whole.resolve(&context(&settings)).map_err(ProviderChangeError::Bad)?;
            this.has_own_callback(&provider)?;
            if !provider.enabled {
                this.leaves_a_way_in(&spec.id)?;
            }
            // Without a secret in it the stored one stays as it is then, whoever else changes it.
            let stored = StoredProvider { spec, created_at: had.created_at, updated_at: now };
            match this.store.change_stored_provider(stored).await {
                Err(StoreError::NotFound) => return Err(ProviderChangeError::NotFound),
                done => done?,
            }
            this.providers_changed(&provider.id, "changed", &actor, now).await?;
            Ok(provider)
        })
        .await
    }

    /// Removes a provider made at run time. Its sessions count no longer; links stay, for the
    /// case that it comes back.
    pub async fn delete_provider(
        self: &Arc<Self>,
        id: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), ProviderChangeError> {
        let (this, actor, id) = (self.clone(), actor.clone(), id.to_owned());
        self.on_service(async move {
            this.tick(now);
            this.stored_provider(&id)?;
            this.leaves_a_way_in(&id)?;
            if !this.store.delete_stored_provider(&id).await? {
                return Err(ProviderChangeError::NotFound);
            }
            this.providers_changed(&id, "deleted", &actor, now).await?;
            Ok(())
        })
        .await
    }

    /// Where passwords are off, the last provider that is on stays on.
    fn leaves_a_way_in(&self, without: &str) -> Result<(), ProviderChangeError> {
        let settings = self.settings();
        let all = self.providers.all();
        let is_other = |p: &&Arc<RemoteProvider>| &*p.config.id != without && p.config.enabled;
        let was_on = all.iter().any(|p| &*p.config.id == without && p.config.enabled);
        if was_on && !settings.auth.password.enabled && !all.iter().any(|p| is_other(&p)) {
            return Err(ProviderChangeError::LastWayIn);
        }
        Ok(())
    }

    /// Two providers must not share a callback: one's answer could be taken for the other's
    /// (RFC 9700, 4.4).
    fn has_own_callback(&self, provider: &Provider) -> Result<(), ProviderChangeError> {
        let all = self.providers.all();
        let twin = all.iter().find(|other| {
            other.config.id != provider.id && other.config.redirect_uri == provider.redirect_uri
        });
        let Some(twin) = twin else { return Ok(()) };
        Err(ProviderChangeError::Bad(vec![SpecProblem {
            key: "redirect_uri".to_owned(),
            code: "shared-redirect-uri",
            message: format!("the provider `{}` has this redirect URI already", twin.config.id),
            help: "leave it out, or give each provider its own".to_owned(),
        }]))
    }

    fn stored_provider(&self, id: &str) -> Result<StoredProvider, ProviderChangeError> {
        let read_only =
            self.providers.find(id).is_some_and(|p| p.config.origin != ProviderOrigin::Stored);
        if read_only {
            return Err(ProviderChangeError::ReadOnly);
        }
        let stored = self.providers.stored();
        let found = stored.iter().find(|stored| stored.spec.id == id).cloned();
        found.ok_or(ProviderChangeError::NotFound)
    }

    async fn providers_changed(
        self: &Arc<Self>,
        id: &str,
        how: &'static str,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<()> {
        // First what counts, then what was believed: whoever is looked up from here on is looked
        // up under the new list.
        self.load_providers().await?;
        self.store_changed_outside().await;
        self.end_sessions_of_missing_providers(now).await?;
        self.look_at_providers(now);
        let detail = format!("change={how}");
        self.audit_by(actor, "provider.changed", id, "success", detail, now);
        Ok(())
    }

    /// Tries a configured provider (enabled or not): discovery, issuer, endpoints, keys, clock.
    pub async fn test_provider(
        self: &Arc<Self>,
        id: &str,
        now: UnixMillis,
    ) -> Option<ProviderReport> {
        let remote = self.providers.find(id)?;
        Some(self.examine(remote.config.clone(), now).await)
    }

    /// Tries a provider that is not configured yet.
    pub async fn test_provider_spec(
        self: &Arc<Self>,
        spec: &ProviderSpec,
        now: UnixMillis,
    ) -> Result<ProviderReport, ProviderChangeError> {
        let settings = self.settings();
        let provider = spec.resolve(&context(&settings)).map_err(ProviderChangeError::Bad)?;
        Ok(self.examine(provider, now).await)
    }

    async fn examine(self: &Arc<Self>, provider: Provider, now: UnixMillis) -> ProviderReport {
        let this = self.clone();
        let settings = self.settings();
        let report = ProviderReport {
            redirect_uri: provider.redirect_uri.clone(),
            backchannel_logout_uri: match provider.kind {
                // It sends none.
                ProviderKind::Github => String::new(),
                _ => format!(
                    "{}/api/v1/auth/backchannel-logout/{}",
                    settings.server.portal, provider.id
                ),
            },
            checks: Vec::new(),
        };
        let development = settings.server.development;
        let checks: Result<Vec<ProviderCheck>, StoreError> =
            self.on_service(async move { Ok(this.checks(provider, development, now).await) }).await;
        let failed =
            |error: StoreError| vec![bad("discovery", error.to_string(), "try again in a minute")];
        ProviderReport { checks: checks.unwrap_or_else(failed), ..report }
    }

    async fn checks(
        &self,
        provider: Provider,
        development: bool,
        now: UnixMillis,
    ) -> Vec<ProviderCheck> {
        if let ProviderPlace::Github(base) = &provider.place {
            return vec![self.check_github(base).await];
        }
        // A fresh look, not what is remembered.
        let remote = RemoteProvider::new(provider, development);
        let url = metadata::url(&remote.config.place).unwrap_or_default();
        let known = match remote.metadata(&self.fetch, now).await {
            Ok(known) => known,
            Err(fault) => return vec![check_failed(&url, &fault)],
        };
        let mut checks = vec![
            good("discovery", format!("{url} answers")),
            good("issuer", known.issuer.clone()),
            endpoints(&known),
            self.check_keys(&remote, &known, now).await,
            check_clock(&known),
        ];
        checks.push(check_pkce(&remote.config, &known));
        checks.push(check_client(&remote.config, &known));
        checks.push(check_logout(&known));
        checks
    }

    async fn check_github(&self, base: &str) -> ProviderCheck {
        match self.fetch.get(base, "text/html", None).await {
            Ok(_) => good("discovery", format!("{base} answers")),
            // A redirect is an answer too.
            Err(crate::fetch::FetchError::Redirect) => good("discovery", format!("{base} answers")),
            Err(error) => {
                bad("discovery", format!("{base}: {error}"), "check `base_url` and the network")
            }
        }
    }

    async fn check_keys(
        &self,
        remote: &RemoteProvider,
        known: &Metadata,
        now: UnixMillis,
    ) -> ProviderCheck {
        let url = known.jwks_uri.as_deref().unwrap_or_default();
        match remote.keys.current(&self.fetch, url, now).await {
            Ok((keys, _)) => good("keys", format!("{} usable at {url}", keys.len())),
            Err(why) => bad(
                "keys",
                format!("{url}: {}", why.0),
                "the provider must publish at least one RSA (2048 bits or more), P-256, P-384 or Ed25519 key",
            ),
        }
    }
}

/// The stored secret goes on for the same place only: sent elsewhere, it would be read there.
fn keep_secret(had: &ProviderSpec, new: &mut ProviderSpec) -> Result<(), ProviderChangeError> {
    let place = |spec: &ProviderSpec| {
        let kind = spec.kind.clone().filter(|kind| kind != "oidc");
        (
            kind,
            spec.issuer.clone(),
            spec.discovery_url.clone(),
            spec.base_url.clone(),
            spec.slug.clone(),
        )
    };
    if had.client_secret.is_some() && place(had) != place(new) {
        return Err(ProviderChangeError::Bad(vec![SpecProblem {
            key: "client_secret".to_owned(),
            code: "missing-key",
            message: "the provider is at another place now, and the secret was for the old one"
                .to_owned(),
            help: "give `client_secret` together with the new place".to_owned(),
        }]));
    }
    new.client_secret.clone_from(&had.client_secret);
    Ok(())
}

fn good(name: &'static str, found: impl Into<String>) -> ProviderCheck {
    ProviderCheck { name, is_good: true, found: found.into(), help: None }
}

fn bad(name: &'static str, found: impl Into<String>, help: &str) -> ProviderCheck {
    ProviderCheck { name, is_good: false, found: found.into(), help: Some(help.to_owned()) }
}

fn check_failed(url: &str, fault: &Fault) -> ProviderCheck {
    let found =
        if fault.detail.is_empty() { fault.reason.to_owned() } else { fault.detail.clone() };
    match fault.reason {
        "discovery_issuer_mismatch" => bad(
            "issuer",
            found,
            "copy the issuer from the discovery document, with or without its final slash as it stands there",
        ),
        "discovery_insecure" => bad(
            "endpoints",
            found,
            "let the provider announce https URLs; behind a proxy it must be told its outside scheme",
        ),
        "discovery_status" => bad(
            "discovery",
            found,
            "open that URL in a browser: it must show a JSON document; check issuer, slug or realm",
        ),
        "discovery_malformed" => bad(
            "discovery",
            found,
            "that URL must answer the provider's JSON document (OpenID Connect Discovery)",
        ),
        _ => bad(
            "discovery",
            format!("{url}: {found}"),
            "check the address, the network and the provider's certificate; a private authority goes into the file that SSL_CERT_FILE names",
        ),
    }
}

fn endpoints(known: &Metadata) -> ProviderCheck {
    let origins = |url: &String| metadata::origin(url).is_some();
    let broken = [&known.authorization_endpoint, &known.token_endpoint]
        .into_iter()
        .find(|url| !origins(url));
    match broken {
        None => good(
            "endpoints",
            format!(
                "authorization {}, token {}",
                known.authorization_endpoint, known.token_endpoint
            ),
        ),
        Some(url) => {
            bad("endpoints", format!("{url} is no URL"), "mend the provider's configuration")
        }
    }
}

fn check_clock(known: &Metadata) -> ProviderCheck {
    match known.clock_ahead_secs {
        None => good("clock", "the provider tells no time"),
        Some(ahead) if ahead.abs() <= CLOCK_SECS => good("clock", format!("{ahead} s apart")),
        Some(ahead) => bad(
            "clock",
            format!("the provider's clock is {ahead} s ahead of this server's"),
            "let both machines set their clocks by NTP; tokens are refused beyond 60 s",
        ),
    }
}

fn check_pkce(provider: &Provider, known: &Metadata) -> ProviderCheck {
    let told = &known.pkce_methods;
    match (provider.pkce, told.iter().any(|method| method == "S256")) {
        (true, true) => good("pkce", "S256"),
        (true, false) if told.is_empty() => {
            good("pkce", "S256; the provider does not say whether it checks")
        }
        (true, false) => bad(
            "pkce",
            "the provider does not take S256",
            "set `pkce = false`, which a provider with a client secret can do without",
        ),
        (false, _) => good("pkce", "off"),
    }
}

fn check_client(provider: &Provider, known: &Metadata) -> ProviderCheck {
    let methods = &known.token_auth_methods;
    let takes = |name: &str| methods.iter().any(|method| method == name);
    let is_public = provider.client_secret.is_none();
    if is_public && !methods.is_empty() && !takes("none") {
        return bad(
            "client",
            "there is no client secret, and the provider takes no public clients",
            "set `client_secret`",
        );
    }
    let known_ways = takes("client_secret_basic") || takes("client_secret_post");
    if !is_public && !methods.is_empty() && !known_ways {
        return bad(
            "client",
            format!("the provider takes only {}", methods.join(", ")),
            "let the client sign in by client_secret_basic or client_secret_post",
        );
    }
    good(
        "client",
        if is_public {
            "public, with PKCE"
        } else {
            "with a secret, which is tried at the first sign-in"
        },
    )
}

fn check_logout(known: &Metadata) -> ProviderCheck {
    let there = |is: bool| if is { "yes" } else { "no" };
    good(
        "logout",
        format!(
            "sign-out at the provider: {}, logout tokens: {}",
            there(known.end_session_endpoint.is_some()),
            there(known.backchannel_logout)
        ),
    )
}
