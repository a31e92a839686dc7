//! An issuer's keys where they are: fetched once, again when a token names a key that is not
//! among them, and now and then so that a key taken back stops working.
//!
//! Tokens nobody can vouch for must not drive requests (SECURITY.md, G9): beyond the first,
//! unknown keys cost one request in thirty seconds, however many tokens come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::Algorithm;

use vestibule_core::time::UnixMillis;

use crate::fetch::{Fetch, is_json};
use crate::jose::{Bad, KeyOutcome, KeySet, Object, Unverified};

/// Between two requests that unknown keys or bad signatures ask for.
const UNKNOWN_EVERY: Duration = Duration::from_secs(30);
/// Between two tries where there is no good set.
const FAILING_EVERY: Duration = Duration::from_secs(5);
/// A set is looked at again after this long, when it is used.
const FRESH: Duration = Duration::from_secs(600);

/// The keys of one issuer.
#[derive(Default)]
pub(crate) struct RemoteKeys {
    state: Mutex<State>,
    /// Held while the keys are fetched: one request, however many wait.
    gate: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    set: Option<Arc<KeySet>>,
    /// When the set was fetched.
    fetched: Option<UnixMillis>,
    /// When a fetch was tried last.
    tried: Option<UnixMillis>,
    /// When an unknown key last asked for a fetch.
    asked: Option<UnixMillis>,
    /// Why the last try failed.
    failure: Option<Bad>,
    /// Counts good fetches.
    round: u64,
}

impl RemoteKeys {
    /// The claims of a token that one of the keys at `url` signed.
    pub(crate) async fn verify(
        &self,
        fetch: &Fetch,
        url: &str,
        token: Unverified<'_>,
        allowed: &[Algorithm],
        now: UnixMillis,
    ) -> Result<Object, Bad> {
        let (set, round) = self.current(fetch, url, now).await?;
        let first = match token.check(&set, allowed) {
            KeyOutcome::Good => return Ok(token.into_claims()),
            KeyOutcome::Never(bad) => return Err(bad),
            KeyOutcome::Perhaps(bad) => bad,
        };
        let Some(newer) = self.newer(fetch, url, round, now).await else { return Err(first) };
        match token.check(&newer, allowed) {
            KeyOutcome::Good => Ok(token.into_claims()),
            KeyOutcome::Never(bad) | KeyOutcome::Perhaps(bad) => Err(bad),
        }
    }

    /// The set in force, fetched where there is none or it is old.
    pub(crate) async fn current(
        &self,
        fetch: &Fetch,
        url: &str,
        now: UnixMillis,
    ) -> Result<(Arc<KeySet>, u64), Bad> {
        if let Some(found) = self.fresh(now) {
            return found;
        }
        // While one fetches a newer set, the others go on with the old one.
        let old = self.old();
        let _one = match (self.gate.try_lock(), old) {
            (Ok(gate), _) => gate,
            (Err(_), Some(old)) => return Ok(old),
            (Err(_), None) => self.gate.lock().await,
        };
        if let Some(found) = self.fresh(now) {
            return found;
        }
        self.load(fetch, url, now).await;
        let state = self.lock();
        match &state.set {
            Some(set) => Ok((set.clone(), state.round)),
            None => Err(state.failure.unwrap_or(Bad("jwks_unavailable"))),
        }
    }

    fn old(&self) -> Option<(Arc<KeySet>, u64)> {
        let state = self.lock();
        state.set.clone().map(|set| (set, state.round))
    }

    /// Newer keys than those of `round`, where asking is allowed and there are any.
    async fn newer(
        &self,
        fetch: &Fetch,
        url: &str,
        round: u64,
        now: UnixMillis,
    ) -> Option<Arc<KeySet>> {
        let _one = self.gate.lock().await;
        {
            let mut state = self.lock();
            if state.round == round {
                if state.asked.is_some_and(|at| now.since(at) < UNKNOWN_EVERY) {
                    return None;
                }
                state.asked = Some(now);
            }
        }
        if self.lock().round == round {
            self.load(fetch, url, now).await;
        }
        let state = self.lock();
        state.set.clone().filter(|_| state.round != round)
    }

    /// What needs no request: a fresh set, or a failure too recent to try again.
    fn fresh(&self, now: UnixMillis) -> Option<Result<(Arc<KeySet>, u64), Bad>> {
        let state = self.lock();
        let waited = |every: Duration| state.tried.is_none_or(|at| now.since(at) >= every);
        match &state.set {
            Some(set) => {
                let is_old = state.fetched.is_none_or(|at| now.since(at) >= FRESH);
                (!is_old || !waited(UNKNOWN_EVERY)).then(|| Ok((set.clone(), state.round)))
            }
            None if waited(FAILING_EVERY) => None,
            None => Some(Err(state.failure.unwrap_or(Bad("jwks_unavailable")))),
        }
    }

    /// One request. An empty or unreadable set never replaces a good one.
    async fn load(&self, fetch: &Fetch, url: &str, now: UnixMillis) {
        let read = match fetch.get(url, "application/json, application/jwk-set+json", None).await {
            Ok(answer) if !answer.status().is_success() => Err(Bad("jwks_status")),
            Ok(answer) if !is_json(answer.headers()) => Err(Bad("jwks_malformed")),
            Ok(answer) => KeySet::read(answer.body()),
            Err(error) => {
                tracing::warn!(url, reason = error.word(), %error, "keys of an issuer cannot be fetched");
                Err(Bad("jwks_unavailable"))
            }
        };
        let mut state = self.lock();
        state.tried = Some(now);
        match read {
            Ok(set) => {
                tracing::debug!(url, keys = set.len(), "keys of an issuer fetched");
                state.set = Some(Arc::new(set));
                state.fetched = Some(now);
                state.failure = None;
                state.round += 1;
            }
            Err(bad) => {
                if bad != Bad("jwks_unavailable") {
                    tracing::warn!(url, reason = bad.0, "keys of an issuer cannot be used");
                }
                state.failure = Some(bad);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
