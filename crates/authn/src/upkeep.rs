//! The long-lived task, and what it writes to the store in batches: last use of sessions and
//! keys, and the audit trail.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vestibule_core::id::{KeyId, SessionId};
use vestibule_core::time::UnixMillis;

use crate::Authn;

/// Uses reach the store within a minute: this often, plus the time of a try.
const FLUSH_EVERY: Duration = Duration::from_secs(20);
const PURGE_EVERY: Duration = Duration::from_secs(600);
const KEYS_EVERY: Duration = Duration::from_secs(60);
/// How often providers that are not known to be well are asked.
const LOOK_EVERY: Duration = Duration::from_secs(30);

impl Authn {
    /// The long-lived task: flushes last-seen times and audit events, purges what is over,
    /// rotates signing keys. Ends, after a last flush, when `shutdown` resolves.
    ///
    /// It asks no clock: what has to be dated takes the newest time that a caller told, moved
    /// on by the time this task has waited since.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let this = self.clone();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let work = self.service.spawn(async move { this.keep_up(stopped).await });
        shutdown.await;
        // Asked, not aborted: a batch on its way to the store is neither lost nor doubled.
        drop(stop);
        let _ = work.await;
        let this = self.clone();
        let _ = self
            .on_service::<(), crate::ports::StoreError>(async move {
                this.flush().await;
                Ok(())
            })
            .await;
    }

    async fn keep_up(self: Arc<Self>, mut stopped: tokio::sync::oneshot::Receiver<()>) {
        let mut flush = tokio::time::interval(FLUSH_EVERY);
        let mut purge = tokio::time::interval(PURGE_EVERY);
        let mut keys = tokio::time::interval(KEYS_EVERY);
        let mut look = tokio::time::interval(LOOK_EVERY);
        let started = (tokio::time::Instant::now(), self.latest());
        loop {
            tokio::select! {
                biased;
                _ = &mut stopped => return,
                _ = flush.tick() => {
                    self.flush().await;
                    self.cache.sweep();
                    let now = self.latest().max(started.1.plus(started.0.elapsed()));
                    self.end_idle_watches(now).await;
                }
                _ = purge.tick() => {
                    self.failure_lines.forget_quiet();
                    let now = self.latest().max(started.1.plus(started.0.elapsed()));
                    let idle = self.settings().auth.session.idle_timeout;
                    if let Err(error) = self.store.purge(now, idle).await {
                        tracing::warn!(%error, "what is over could not be removed; it is tried again in 10 minutes");
                    }
                }
                _ = keys.tick() => {
                    let now = self.latest().max(started.1.plus(started.0.elapsed()));
                    if let Err(error) = self.rotate_signing_keys(now).await {
                        tracing::warn!(%error, "the signing keys could not be looked after; it is tried again in a minute");
                    }
                }
                _ = look.tick() => {
                    self.look_at_providers(self.latest().max(started.1.plus(started.0.elapsed())));
                }
                () = self.renewals.waiting() => {
                    self.renew_at_providers(self.latest().max(started.1.plus(started.0.elapsed())));
                }
                // Last, for it may always be ready: a flood of events delays no flush.
                () = self.trail.waiting() => self.flush_audit().await,
            }
        }
    }

    /// Writes what is waiting: last uses and audit events. What the store does not take
    /// waits for the next time.
    pub async fn flush(&self) {
        let sessions = self.pending.sessions.snapshot();
        if !sessions.is_empty() && self.store.touch_sessions(&sessions).await.is_ok() {
            self.pending.sessions.written(&sessions);
        }
        let keys = self.pending.keys.snapshot();
        if !keys.is_empty() && self.store.touch_api_keys(&keys).await.is_ok() {
            self.pending.keys.written(&keys);
        }
        self.flush_audit().await;
    }
}

/// Last uses that the store does not know yet.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) sessions: Uses<SessionId>,
    pub(crate) keys: Uses<KeyId>,
}

/// Newest use by id.
pub(crate) struct Uses<Id>(Mutex<HashMap<Id, UnixMillis>>);

impl<Id> Default for Uses<Id> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<Id: Copy + Eq + Hash> Uses<Id> {
    /// Notes a use; an earlier one than is known changes nothing.
    pub(crate) fn note(&self, id: Id, now: UnixMillis) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = uses.entry(id).or_insert(now);
        *newest = now.max(*newest);
    }

    /// The newest use that is not in the store.
    pub(crate) fn newest(&self, id: Id) -> Option<UnixMillis> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&id).copied()
    }

    fn snapshot(&self) -> Vec<(Id, UnixMillis)> {
        let uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.iter().map(|(id, at)| (*id, *at)).collect()
    }

    /// Takes off what was written, unless it was used again meanwhile.
    fn written(&self, written: &[(Id, UnixMillis)]) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, at) in written {
            if uses.get(id) == Some(at) {
                uses.remove(id);
            }
        }
    }
}
