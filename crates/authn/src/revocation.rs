//! What was proved once and holds no longer: cache entries and live exchanges.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::credential::CredentialKind;
use vestibule_core::group::Group;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::Authn;
use crate::foreign::ForeignId;
use crate::identity_cache::Subject;
use crate::ports::{SessionKind, StoreResult};

/// Ends when the credential behind a live exchange ends: revoked, expired, signed out, or
/// its account no longer active. Dropping it takes the exchange off the list.
#[derive(Debug)]
pub struct Watch {
    id: u64,
    watched: Arc<Watched>,
    list: Arc<Watches>,
    left: Option<Duration>,
    expiry: Option<Pin<Box<tokio::time::Sleep>>>,
}

/// How often a changed store is asked where it does not answer.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// Timers further away are not set; nobody keeps a stream open for that long.
const FAR: Duration = Duration::from_secs(86_400 * 365);

impl Watch {
    /// Resolves when the exchange must be closed.
    pub async fn ended(&mut self) {
        let revoked = async {
            loop {
                let notified = self.watched.changed.notified();
                tokio::pin!(notified);
                notified.as_mut().enable();
                if self.watched.ended.load(Ordering::SeqCst) {
                    return;
                }
                notified.await;
            }
        };
        let Some(left) = self.left else {
            return revoked.await;
        };
        let expiry = self.expiry.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
        tokio::select! {
            () = revoked => {}
            () = expiry.as_mut() => {}
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.list.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// What a live exchange was let in with.
#[derive(Debug)]
struct Watched {
    account: Option<AccountId>,
    session: Option<SessionId>,
    key: Option<KeyId>,
    /// Of a foreign token.
    foreign: Option<ForeignId>,
    role: Role,
    status: Status,
    groups: Arc<[Group]>,
    /// The session's last use as far as this exchange knows.
    last_seen: AtomicI64,
    ended: AtomicBool,
    changed: Notify,
}

impl Watched {
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    fn concerns(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Account(id) => self.account == Some(*id),
            Subject::Key(id) => self.key == Some(*id),
            Subject::Session(id) => self.session == Some(*id),
        }
    }

    /// Whether the account is still as it was when the exchange began.
    fn is_still(&self, account: &Account) -> bool {
        account.role == self.role
            && account.effective_status() == self.status
            && account.groups == self.groups
    }
}

/// All live exchanges.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    all: Mutex<HashMap<u64, Arc<Watched>>>,
    next: AtomicU64,
    /// The first identity made after the last change from outside.
    changed: AtomicU64,
}

impl Watches {
    fn end(&self, which: impl Fn(&Watched) -> bool) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        for watched in all.values().filter(|w| which(w)) {
            watched.end();
        }
    }

    fn snapshot(&self) -> Vec<Arc<Watched>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

impl Authn {
    /// Registers a live exchange (an upgrade, a gRPC stream, a response open for over 1 s).
    ///
    /// An identity that was revoked in the moment before is ended at once: ask
    /// [`Watch::ended`] before the first byte matters.
    pub fn watch(self: &Arc<Self>, identity: &Identity) -> Watch {
        let left = identity.expires_at.since(self.latest());
        let watched = Arc::new(Watched {
            account: identity.account,
            session: identity.session,
            key: identity.key,
            foreign: ForeignId::of(identity),
            role: identity.role,
            status: identity.status,
            groups: identity.groups.clone(),
            last_seen: AtomicI64::new(self.latest().0),
            ended: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let id = self.watches.next.fetch_add(1, Ordering::Relaxed);
        self.watches.all.lock().unwrap_or_else(PoisonError::into_inner).insert(id, watched.clone());
        // A revocation between the look-up and the line above found nothing to end.
        if self.revoked_since(identity) {
            watched.end();
        }
        // Neither did a check after a change from outside, which knows no names.
        let changed = self.watches.changed.load(Ordering::SeqCst);
        if identity.generation < changed && identity.credential != CredentialKind::None {
            let (this, watched) = (self.clone(), watched.clone());
            self.service.spawn(async move {
                if this.check(&watched).await.is_err() {
                    watched.end();
                }
            });
        }
        Watch {
            id,
            watched,
            list: self.watches.clone(),
            left: (left < FAR).then_some(left),
            expiry: None,
        }
    }

    /// Something outside this process changed the store: forget every cached identity, drop
    /// negative entries, and ask the store about every watched credential again.
    pub async fn store_changed_outside(self: &Arc<Self>) {
        self.cache.forget_all();
        self.watches.changed.fetch_max(self.next_generation(), Ordering::SeqCst);
        let this = self.clone();
        let checked = self
            .on_service(async move {
                let mut tries = 0;
                loop {
                    let read = this.read_anew().await;
                    tries += 1;
                    if read.is_ok() || tries == TRIES {
                        return read;
                    }
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            })
            .await;
        if let Err(error) = checked {
            tracing::error!(%error, "the store changed and could not be read; it is tried again at the next change");
        }
    }

    /// Ends what these had: their cache entries and their live exchanges.
    pub(crate) fn revoke(&self, subjects: &[Subject]) {
        self.cache.forget(subjects);
        self.remember_revoked(subjects);
        self.watches.end(|watched| subjects.iter().any(|s| watched.concerns(s)));
    }

    async fn read_anew(&self) -> StoreResult<()> {
        self.load_prefixes().await?;
        if self.load_providers().await? {
            // What was looked up since the first call below believed the old list.
            self.cache.forget_all();
            self.watches.changed.fetch_max(self.next_generation(), Ordering::SeqCst);
        }
        self.load_signing_keys().await?;
        self.check_watches().await
    }

    /// Ends open exchanges of browser sessions that nobody used for `idle_timeout`. A session
    /// is looked up only when the exchange has seen no use of it for that long.
    pub(crate) async fn end_idle_watches(&self, now: UnixMillis) {
        let idle = self.settings().auth.session.idle_timeout;
        for watched in self.watches.snapshot() {
            let known = UnixMillis(watched.last_seen.load(Ordering::Relaxed));
            let Some(id) = watched.session.filter(|_| known.plus(idle) <= now) else { continue };
            let Ok(found) = self.store.session(id).await else { continue };
            let Some(session) = found.map(|f| f.session) else {
                watched.end();
                continue;
            };
            let noted = self.pending.sessions.newest(id).unwrap_or_default();
            let last = session.last_seen.max(noted);
            match session.kind {
                SessionKind::Browser if last.plus(idle) <= now => watched.end(),
                SessionKind::Browser => {
                    watched.last_seen.fetch_max(last.0, Ordering::Relaxed);
                }
                // Access tokens do not idle; ask again after as long.
                SessionKind::Token => watched.last_seen.store(now.0, Ordering::Relaxed),
            }
        }
    }

    async fn check_watches(&self) -> StoreResult<()> {
        let mut seen = HashSet::new();
        for watched in &self.watches.snapshot() {
            let named = (watched.account, watched.session, watched.key, &watched.foreign);
            if seen.insert(named) {
                self.check(watched).await?;
            }
        }
        Ok(())
    }

    /// Asks the store about what a live exchange was let in with; ends those it no longer lets
    /// in.
    async fn check(&self, watched: &Watched) -> StoreResult<()> {
        let now = self.latest();
        let mut good = true;
        if let Some(id) = watched.session {
            good &= self.store.session(id).await?.is_some_and(|s| s.session.expires_at > now);
            // A provider that is switched off or gone takes its sessions with it.
            let kept = self.store.provider_session(id).await?;
            good &= kept.is_none_or(|kept| self.usable_provider(&kept.provider).is_some());
        }
        if let Some(id) = watched.key {
            let key = self.store.api_key(id).await?;
            good &= key.is_some_and(|k| k.enabled && k.expires_at.is_none_or(|end| end > now));
        }
        if let Some(foreign) = &watched.foreign {
            good &= !foreign.is_denied(self).await?;
        }
        let account = match watched.account {
            Some(id) => self.store.account(id).await?,
            None => None,
        };
        good &= watched.account.is_none() || account.is_some();
        self.watches.end(|other| {
            other.account == watched.account
                && other.session == watched.session
                && other.key == watched.key
                && other.foreign == watched.foreign
                && (!good || account.as_ref().is_some_and(|a| !other.is_still(a)))
        });
        Ok(())
    }
}
