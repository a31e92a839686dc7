//! Turns a presented credential into an identity, and runs the flows that issue credentials.
//!
//! Knows cryptography; knows neither SQL nor server-side HTTP. The store is a port
//! ([`ports::Store`]), the clock an argument.

pub mod account;
pub mod api_key;
pub mod assertion;
pub mod audit;
pub mod authenticate;
pub mod cookie;
pub mod counters;
pub mod handoff;
pub mod login;
pub mod oidc;
pub mod ports;
pub mod provider;
pub mod rate_limit;
pub mod revocation;
pub mod session;
pub mod setup;
pub mod token;

mod fetch;
mod foreign;
mod identity_cache;
mod jose;
mod jwks;
mod jwt;
mod keyring;
mod password;
mod signing;
mod start;
mod upkeep;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use vestibule_core::account::Account;
use vestibule_core::identity::Identity;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::Mode;
use vestibule_core::time::UnixMillis;

use crate::identity_cache::{IdentityCache, Subject};
use crate::ports::{StoreError, StoreResult};

/// Everything the doors and the portal ask about people and credentials.
///
/// One per process, shared by `Arc`. Its async methods may be awaited on any runtime: what
/// touches the store or hashes a password runs on the service runtime given at the start,
/// and goes on to its end where the caller leaves.
pub struct Authn {
    store: Arc<dyn ports::Store>,
    service: tokio::runtime::Handle,
    active: ArcSwap<start::Active>,
    signing: ArcSwap<signing::SigningKeys>,
    /// Prefixes of stored keys; the configured ones stand in the settings.
    prefixes: ArcSwap<Vec<String>>,
    cache: IdentityCache,
    watches: Arc<revocation::Watches>,
    /// What was revoked lately and the newest identity made before it.
    revoked: Mutex<HashMap<Subject, u64>>,
    limits: rate_limit::Limits,
    failure_lines: rate_limit::FailureLines,
    passwords: password::Pool,
    /// The way out to providers and issuers.
    fetch: fetch::Fetch,
    providers: provider::Registry,
    renewals: provider::Renewals,
    issuers: foreign::Issuers,
    pending: upkeep::Pending,
    trail: audit::Trail,
    setup: setup::Setup,
    counters: counters::Live,
    generation: AtomicU64,
    latest: AtomicI64,
}

/// What an operator reads who has shut every door.
pub const NO_WAY_IN: &str = "nobody could sign in: passwords are off (LOCAL_AUTH, \
    `auth.password.enabled`) and no provider is enabled, neither in the configuration \
    (OIDC_PROVIDERS, `[[provider]]`) nor made at run time; set LOCAL_AUTH=true, or enable a provider";

/// Why the start is refused; the text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store cannot be asked.
    #[error(transparent)]
    Store(#[from] ports::StoreError),
    /// A setting does not fit what is stored.
    #[error("{0}")]
    Refused(String),
}

impl Authn {
    /// Prepares keys, the administrator that the settings ask for, and caches. Makes the
    /// first signing keys; in mode admin brings the account of `[auth.admin]` to the
    /// configured password (a change ends its sessions); refuses where there is no way to
    /// sign in at all.
    ///
    /// `settings.secrets.store_key` must hold the key in use, also where it was read from
    /// `data_dir/store.key`: it keys the check digits of API keys.
    pub async fn start(
        settings: Arc<Settings>,
        store: Arc<dyn ports::Store>,
        service: tokio::runtime::Handle,
        now: UnixMillis,
    ) -> Result<Arc<Self>, StartError> {
        let active = start::Active::new(settings)
            .map_err(|failed| StartError::Refused(failed.to_string()))?;
        let this = Arc::new(Self {
            passwords: password::Pool::new(service.clone()),
            fetch: fetch::Fetch::default(),
            providers: provider::Registry::default(),
            renewals: provider::Renewals::default(),
            issuers: foreign::Issuers::default(),
            store,
            service,
            active: ArcSwap::from_pointee(active),
            signing: ArcSwap::default(),
            prefixes: ArcSwap::default(),
            cache: IdentityCache::new(),
            watches: Arc::default(),
            revoked: Mutex::default(),
            limits: rate_limit::Limits::new(),
            failure_lines: rate_limit::FailureLines::new(),
            pending: upkeep::Pending::default(),
            trail: audit::Trail::default(),
            setup: setup::Setup::default(),
            counters: counters::Live::default(),
            generation: AtomicU64::new(1),
            latest: AtomicI64::new(now.0),
        });
        let work = this.clone();
        let prepared = this.service.spawn(async move { work.prepare(now).await }).await;
        prepared
            .map_err(|_| StartError::Refused("the start of the sign-in service failed".into()))??;
        Ok(this)
    }

    /// Takes new settings; what depends on them is in force at the next request. Keeps the
    /// old keys for check digits where the new settings hold no `store_key`.
    pub fn reload(self: &Arc<Self>, settings: Arc<Settings>) {
        match start::Active::new(settings) {
            Ok(mut active) => {
                if active.keyring.check.is_empty() {
                    active.keyring.check = self.active.load().keyring.check.clone();
                }
                let settings = active.settings.clone();
                self.active.store(Arc::new(active));
                let providers_changed = self.providers.rebuild(&settings);
                self.cache.forget_all();
                if providers_changed {
                    self.look_at_providers(self.latest());
                    let this = self.clone();
                    drop(self.service.spawn(async move {
                        this.store_changed_outside().await;
                        let now = this.latest();
                        if let Err(error) = this.end_sessions_of_missing_providers(now).await {
                            tracing::error!(%error, "the sessions of providers that are gone could not be ended; they are not let in");
                        }
                    }));
                }
            }
            Err(error) => tracing::error!(%error, "the settings were not taken; the old ones stay"),
        }
    }

    /// Whether people could sign in under these settings: by password, or by a provider of the
    /// configuration or the store.
    pub fn has_way_in(&self, settings: &Settings) -> bool {
        let auth = &settings.auth;
        auth.is_off()
            || auth.mode != Mode::Full
            || auth.password.enabled
            || self.providers.any_enabled(settings)
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ports::Store> {
        &self.store
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.active.load().settings.clone()
    }

    /// The names of our cookies under the settings in force.
    pub fn cookies(&self) -> cookie::Cookies {
        self.active.load().cookies.clone()
    }

    /// Runs work on the service runtime, to its end.
    pub(crate) async fn on_service<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match self.service.spawn(work).await {
            Ok(result) => result,
            Err(_) => {
                Err(StoreError::Unavailable("a task of the sign-in service broke".into()).into())
            }
        }
    }

    /// A number that no identity had before.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::SeqCst)
    }

    /// The newest point in time that any caller told.
    pub(crate) fn latest(&self) -> UnixMillis {
        UnixMillis(self.latest.load(Ordering::Relaxed))
    }

    pub(crate) fn tick(&self, now: UnixMillis) {
        if now.0 > self.latest.load(Ordering::Relaxed) {
            self.latest.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// Whether mode admin shuts the account out.
    pub(crate) fn is_shut_out(&self, account: &Account) -> bool {
        let active = self.active.load();
        let auth = &active.settings.auth;
        auth.mode == Mode::Admin
            && auth
                .admin
                .as_ref()
                .is_none_or(|admin| account.email.as_deref() != Some(&*admin.email))
    }

    /// Notes which identities a revocation caught, for those that are about to be watched.
    pub(crate) fn remember_revoked(&self, subjects: &[Subject]) {
        const KEPT: usize = 8192;
        let newest = self.generation.load(Ordering::SeqCst);
        let mut revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        if revoked.len() > KEPT {
            revoked.clear();
        }
        revoked.extend(subjects.iter().map(|subject| (*subject, newest)));
    }

    pub(crate) fn revoked_since(&self, identity: &Identity) -> bool {
        let revoked = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let caught = |subject: Subject| {
            revoked.get(&subject).is_some_and(|newest| identity.generation < *newest)
        };
        identity.account.is_some_and(|id| caught(Subject::Account(id)))
            || identity.session.is_some_and(|id| caught(Subject::Session(id)))
            || identity.key.is_some_and(|id| caught(Subject::Key(id)))
    }

    /// Reads the prefixes of stored keys.
    pub(crate) async fn load_prefixes(&self) -> StoreResult<()> {
        let prefixes = self.store.api_key_prefixes().await?;
        self.prefixes.store(Arc::new(prefixes));
        Ok(())
    }
}

/// Who does something and from where, for audit events and limits.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Account id, `cli`, `system`, or empty for nobody known.
    pub id: String,
    /// The client's address, where there is one.
    pub client_ip: Option<std::net::IpAddr>,
    /// The request, where there is one.
    pub request_id: Arc<str>,
}
