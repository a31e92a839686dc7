//! From what was shown to an entry of the cache: one fill of each credential however many
//! ask, and never one from before a change.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;

use vestibule_core::credential::CredentialKind;
use vestibule_core::identity::{Identity, ProviderTokens};
use vestibule_core::time::UnixMillis;

use crate::foreign::ForeignToken;
use crate::identity_cache::{CacheKey, Entry, Flight, Form, Subject};
use crate::ports::{Digest, SessionFound, SessionKind, StoreError, StoreResult};
use crate::{Authn, jwt};

/// What a look-up needs besides the digest.
#[derive(Clone)]
pub(super) enum Shown {
    /// Nothing.
    Digest,
    /// The token, and who shows it first, for the log.
    Foreign(ForeignToken, IpAddr),
    /// The token.
    Token(String),
}

impl Authn {
    /// Loads a credential: one fill however many ask, never one from before a change.
    pub(super) async fn load(
        self: &Arc<Self>,
        key: CacheKey,
        shown: &Shown,
        now: UnixMillis,
    ) -> StoreResult<Option<Arc<Entry>>> {
        for _ in 0..8 {
            let flight = self.cache.flight(key, || self.take_off(key, shown.clone(), now));
            match flight.await {
                Ok(Some(entry)) if !self.cache.is_fresh(&entry) => {}
                landed => return landed,
            }
        }
        Err(StoreError::Unavailable("a credential changed while it was read".into()))
    }

    /// Starts a fill on the service runtime; it goes on where the one who asked leaves.
    fn take_off(self: &Arc<Self>, key: CacheKey, shown: Shown, now: UnixMillis) -> Flight {
        struct Landing(Arc<Authn>, CacheKey);
        impl Drop for Landing {
            fn drop(&mut self) {
                self.0.cache.landed(&self.1);
            }
        }
        let this = self.clone();
        let task = self.service.spawn(async move {
            let landing = Landing(this, key);
            landing.0.fill(key, &shown, now).await
        });
        let result = async move {
            task.await.unwrap_or_else(|_| {
                Err(StoreError::Unavailable("a look-up of the sign-in service broke".into()))
            })
        };
        result.boxed().shared()
    }

    async fn fill(
        &self,
        key: CacheKey,
        shown: &Shown,
        now: UnixMillis,
    ) -> StoreResult<Option<Arc<Entry>>> {
        if let Shown::Foreign(token, client) = shown {
            return self.fill_foreign(key, token, *client, now).await;
        }
        let token = match shown {
            Shown::Token(token) => Some(&**token),
            _ => None,
        };
        let mut last = None;
        for _ in 0..8 {
            let (epoch, world) = (self.cache.epoch(), self.cache.world());
            let generation = self.next_generation();
            let found = match key.0 {
                Form::Session => self.fill_session(&key.1, generation, world, now).await?,
                Form::Token => self.fill_token(token, generation, world, now).await?,
                Form::Key | Form::Basic => self.fill_key(key, generation, world, now).await?,
                // Never without what was shown.
                Form::Jwt | Form::Opaque => None,
            };
            if self.cache.epoch() != epoch {
                last = found;
                continue;
            }
            return Ok(match found {
                Some(entry) => {
                    let entry = Arc::new(entry);
                    self.cache.insert(key, entry.clone());
                    Some(entry)
                }
                None => {
                    self.cache.insert_missing(key, epoch);
                    None
                }
            });
        }
        Ok(last.map(Arc::new))
    }

    async fn fill_session(
        &self,
        digest: &Digest,
        generation: u64,
        world: u64,
        now: UnixMillis,
    ) -> StoreResult<Option<Entry>> {
        let Some(found) = self.store.session_by_token(digest).await? else {
            return Ok(None);
        };
        if found.session.kind != SessionKind::Browser {
            return Ok(None);
        }
        let host = found.host.as_deref().map(|host| Box::from(without_port(host)));
        let entry =
            self.session_entry(&found, CredentialKind::Session, host, generation, world, now);
        let began_at_provider = found.session.amr.iter().any(|word| word == "fed");
        let Some(mut entry) = entry else { return Ok(None) };
        if !began_at_provider {
            return Ok(Some(entry));
        }
        if let Some(kept) = self.store.provider_session(found.session.id).await? {
            if self.usable_provider(&kept.provider).is_none() {
                return Ok(None);
            }
            entry.own.renew_at.store(kept.refresh_at.map_or(0, |at| at.0), Ordering::Relaxed);
            let mut identity = Identity::clone(&entry.identity);
            identity.provider_tokens = Some(Arc::new(ProviderTokens {
                access_token: kept.access_token,
                id_token: kept.id_token,
            }));
            entry.identity = Arc::new(identity);
        }
        Ok(Some(entry))
    }

    async fn fill_token(
        &self,
        token: Option<&str>,
        generation: u64,
        world: u64,
        now: UnixMillis,
    ) -> StoreResult<Option<Entry>> {
        let active = self.active.load_full();
        let life = active.settings.auth.access_lifetime;
        let good = token.and_then(|token| {
            let signing = self.signing.load();
            jwt::verify_access_token(token, &active.portal, &active.keyring, &signing, life, now)
        });
        let Some(good) = good else { return Ok(None) };
        let Some(found) = self.store.session(good.session).await? else {
            return Ok(None);
        };
        if found.session.kind != SessionKind::Token || found.account.id != good.account {
            return Ok(None);
        }
        let entry = self.session_entry(&found, CredentialKind::Token, None, generation, world, now);
        Ok(entry.map(|mut entry| {
            let mut identity = Identity::clone(&entry.identity);
            identity.expires_at = identity.expires_at.min(good.expires_at);
            entry.identity = Arc::new(identity);
            entry
        }))
    }

    fn session_entry(
        &self,
        found: &SessionFound,
        credential: CredentialKind,
        host: Option<Box<str>>,
        generation: u64,
        world: u64,
        now: UnixMillis,
    ) -> Option<Entry> {
        let session = &found.session;
        if session.expires_at <= now || self.is_shut_out(&found.account) {
            return None;
        }
        let idle_millis = match session.kind {
            SessionKind::Browser => {
                let idle = self.active.load().settings.auth.session.idle_timeout;
                i64::try_from(idle.as_millis()).unwrap_or(i64::MAX)
            }
            SessionKind::Token => i64::MAX,
        };
        let own = self.cache.life(Subject::Session(session.id));
        let noted = self.pending.sessions.newest(session.id).unwrap_or_default();
        own.last_seen.fetch_max(session.last_seen.max(noted).0, Ordering::Relaxed);
        own.noted.fetch_max(session.last_seen.max(noted).0, Ordering::Relaxed);
        let mut identity =
            Identity::of_account(&found.account, credential, generation, session.expires_at);
        identity.session = Some(session.id);
        identity.auth_time = Some(session.auth_time);
        identity.amr = session.amr.iter().map(|word| Arc::from(word.as_str())).collect();
        identity.mfa = session.mfa;
        Some(Entry {
            identity: Arc::new(identity),
            host,
            idle_millis,
            account: self.cache.life(Subject::Account(found.account.id)),
            own,
            world,
            believed_until: UnixMillis(i64::MAX),
        })
    }

    async fn fill_key(
        &self,
        key: CacheKey,
        generation: u64,
        world: u64,
        now: UnixMillis,
    ) -> StoreResult<Option<Entry>> {
        let Some((record, owner)) = self.store.api_key_by_hash(&key.1).await? else {
            return Ok(None);
        };
        let expires_at = record.expires_at.unwrap_or(UnixMillis(i64::MAX));
        if !record.enabled || expires_at <= now || self.is_shut_out(&owner) {
            return Ok(None);
        }
        let credential =
            if key.0 == Form::Basic { CredentialKind::Basic } else { CredentialKind::ApiKey };
        let own = self.cache.life(Subject::Key(record.id));
        let used = record.last_used_at.unwrap_or_default();
        own.noted.fetch_max(used.0, Ordering::Relaxed);
        let mut identity = Identity::of_account(&owner, credential, generation, expires_at);
        identity.key = Some(record.id);
        identity.scopes = record.scopes;
        identity.rate_limit = record.rate_limit;
        Ok(Some(Entry {
            identity: Arc::new(identity),
            host: None,
            idle_millis: i64::MAX,
            account: self.cache.life(Subject::Account(owner.id)),
            own,
            world,
            believed_until: UnixMillis(i64::MAX),
        }))
    }
}

/// `host` of `host[:port]`; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.is_empty() => {
            if name.starts_with('[') && !name.ends_with(']') {
                host
            } else {
                name
            }
        }
        _ => host,
    }
}
