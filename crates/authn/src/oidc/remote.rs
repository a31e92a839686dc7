//! A provider as it runs: its settings, what it said about itself, its keys.
//!
//! One provider that is down, slow or wrong concerns nobody but those who sign in there: it
//! is asked when it is needed and now and then, never at the start's expense.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_core::settings::provider::Provider;
use vestibule_core::time::UnixMillis;

use super::metadata::{self, Metadata};
use super::{Fault, PROVIDER_DOWN};
use crate::fetch::Fetch;
use crate::jwks::RemoteKeys;
use crate::provider::ProviderStatus;

/// What a provider said about itself is believed this long.
const FRESH: Duration = Duration::from_secs(3600);
/// Between two questions where the answer was no good.
const FAILING_EVERY: Duration = Duration::from_secs(5);
/// How long a sign-in waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Exchanges with one provider at the same time: a slow one holds up no other.
const AT_ONCE: usize = 64;
const RENEWALS_AT_ONCE: usize = 8;

/// A configured provider.
pub(crate) struct RemoteProvider {
    pub(crate) config: Provider,
    pub(crate) keys: RemoteKeys,
    development: bool,
    known: Mutex<Known>,
    gate: tokio::sync::Mutex<()>,
    calls: tokio::sync::Semaphore,
    /// Renewals in the background have few places of their own, so that they hold up nobody
    /// who signs in.
    renewals: tokio::sync::Semaphore,
}

#[derive(Default)]
struct Known {
    metadata: Option<(Arc<Metadata>, UnixMillis)>,
    tried: Option<UnixMillis>,
    failure: Option<Fault>,
    /// Counts questions.
    round: u64,
}

impl RemoteProvider {
    pub(crate) fn new(config: Provider, development: bool) -> Self {
        Self {
            config,
            keys: RemoteKeys::default(),
            development,
            known: Mutex::default(),
            gate: tokio::sync::Mutex::new(()),
            calls: tokio::sync::Semaphore::new(AT_ONCE),
            renewals: tokio::sync::Semaphore::new(RENEWALS_AT_ONCE),
        }
    }

    /// Whether this is the same provider under the same rules, so that what is known of it
    /// may be kept.
    pub(crate) fn is_as(&self, config: &Provider, development: bool) -> bool {
        self.config == *config && self.development == development
    }

    /// What the provider says about itself, asked where that is not known or old.
    pub(crate) async fn metadata(
        &self,
        fetch: &Fetch,
        now: UnixMillis,
    ) -> Result<Arc<Metadata>, Fault> {
        if let Some(known) = self.fresh(now) {
            return known;
        }
        let before = self.lock().round;
        let _one = self.gate.lock().await;
        if let Some(known) = self.fresh(now) {
            return known;
        }
        // Asked by somebody else while this one waited: that answer is as good as another.
        if let Some(fault) = self.failed_since(before) {
            return Err(fault);
        }
        self.ask(fetch, now).await
    }

    fn failed_since(&self, round: u64) -> Option<Fault> {
        let known = self.lock();
        known.failure.clone().filter(|_| known.round != round)
    }

    /// Asks a provider that is not known to be well, though nobody signs in.
    pub(crate) async fn look(&self, fetch: &Fetch, now: UnixMillis) {
        let is_well = {
            let known = self.lock();
            known.failure.is_none()
                && known.metadata.as_ref().is_some_and(|(_, at)| now.since(*at) < FRESH)
        };
        // Where somebody asks at the moment, nobody need wait behind this.
        let gate = self.gate.try_lock();
        if self.config.enabled && !is_well && gate.is_ok() {
            // Whoever needs the answer is told; here it is only noted.
            drop(self.ask(fetch, now).await);
        }
    }

    /// Holds the gate.
    async fn ask(&self, fetch: &Fetch, now: UnixMillis) -> Result<Arc<Metadata>, Fault> {
        let asked = metadata::discover(fetch, &self.config, self.development, now).await;
        let mut known = self.lock();
        known.tried = Some(now);
        known.round += 1;
        match asked {
            Ok(metadata) => {
                let metadata = Arc::new(metadata);
                known.metadata = Some((metadata.clone(), now));
                if known.failure.take().is_some() {
                    tracing::info!(id = &*self.config.id, "provider.up");
                }
                Ok(metadata)
            }
            Err(fault) => {
                if known.failure.as_ref() != Some(&fault) {
                    tracing::warn!(
                        id = &*self.config.id,
                        reason = fault.reason,
                        detail = fault.detail,
                        "provider.down"
                    );
                }
                known.failure = Some(fault.clone());
                // What it said before holds on, also where it now shows a page instead of a
                // document; a document that contradicts the configuration ends that.
                let kept = known.metadata.clone().filter(|_| !contradicts(&fault));
                kept.map(|(metadata, _)| metadata).ok_or(fault)
            }
        }
    }

    fn fresh(&self, now: UnixMillis) -> Option<Result<Arc<Metadata>, Fault>> {
        let known = self.lock();
        let waited = known.tried.is_none_or(|at| now.since(at) >= FAILING_EVERY);
        match (&known.metadata, &known.failure) {
            (Some((metadata, at)), _) if now.since(*at) < FRESH => Some(Ok(metadata.clone())),
            (Some((metadata, _)), Some(fault)) if !waited && !contradicts(fault) => {
                Some(Ok(metadata.clone()))
            }
            (_, Some(fault)) if !waited => Some(Err(fault.clone())),
            _ => None,
        }
    }

    /// What is known without asking.
    pub(crate) fn known(&self) -> Option<Arc<Metadata>> {
        self.lock().metadata.as_ref().map(|(metadata, _)| metadata.clone())
    }

    /// How it answered last.
    pub(crate) fn status(&self) -> ProviderStatus {
        let known = self.lock();
        match (&known.failure, &known.metadata, known.tried) {
            (Some(fault), _, Some(at)) => {
                let reason = match fault.detail.as_str() {
                    "" => fault.reason.to_owned(),
                    detail => format!("{}: {detail}", fault.reason),
                };
                ProviderStatus::Down { reason, at }
            }
            // What is known of GitHub is known without asking.
            (None, Some((known, at)), _) if known.jwks_uri.is_some() => {
                ProviderStatus::Up { at: *at }
            }
            _ => ProviderStatus::Unknown,
        }
    }

    /// A place among those that talk to it. Whoever waits too long for one is told so.
    pub(crate) async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Fault> {
        let busy = || Fault::new("provider_busy", "too many sign-ins at once", PROVIDER_DOWN);
        let place = tokio::time::timeout(PATIENCE, self.calls.acquire()).await;
        place.map_err(|_| busy())?.map_err(|_| busy())
    }

    /// A place among the renewals, however long it takes.
    pub(crate) async fn renewal_turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        self.renewals.acquire().await.ok()
    }

    /// A step failed in a way that says the provider is down.
    pub(crate) fn note_failure(&self, fault: &Fault, now: UnixMillis) {
        // What a person can bring about alone (an error in a callback) says nothing about it.
        let tells = ["discovery_", "jwks_", "token_endpoint_"];
        if fault.advice == PROVIDER_DOWN && tells.iter().any(|step| fault.reason.starts_with(step))
        {
            let mut known = self.lock();
            known.failure = Some(fault.clone());
            known.tried = Some(now);
        }
    }

    /// A sign-in went through: it is up.
    pub(crate) fn note_success(&self) {
        self.lock().failure = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether what a provider says now does not go with how it is configured.
fn contradicts(fault: &Fault) -> bool {
    matches!(fault.reason, "discovery_insecure" | "discovery_issuer_mismatch")
}
