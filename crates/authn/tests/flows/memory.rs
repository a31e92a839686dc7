//! A store in memory, as exact as the port asks, that counts look-ups, can be down, and can
//! hold a read back after it has happened.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};

use vestibule_authn::ports::*;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::time::UnixMillis;

#[derive(Default)]
struct Rows {
    accounts: Vec<(Account, Option<String>)>,
    sessions: Vec<SessionRecord>,
    tokens: HashMap<Digest, (SessionId, Option<String>)>,
    refresh: HashMap<Digest, Refresh>,
    keys: Vec<(ApiKeyRecord, Digest)>,
    one_time: HashMap<(OneTimeKind, Digest), (Vec<u8>, UnixMillis)>,
    devices: Vec<(AccountId, Digest)>,
    signing: Vec<SigningKeyRecord>,
    notes: HashMap<String, String>,
    audit: Vec<AuditEvent>,
}

struct Refresh {
    session: SessionId,
    expires_at: UnixMillis,
    used: bool,
}

/// A read that is held back once it has seen the rows.
#[derive(Default)]
pub(crate) struct Gate {
    pub(crate) reached: Notify,
    pub(crate) go: Notify,
}

pub(crate) struct Memory {
    rows: Mutex<Rows>,
    pub(crate) lookups: AtomicUsize,
    questions: AtomicUsize,
    pub(crate) down: AtomicBool,
    gate: Mutex<Option<Arc<Gate>>>,
    /// Look-ups that run at once; tests that count flights slow the store down with it.
    slots: Semaphore,
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: Mutex::default(),
            lookups: AtomicUsize::new(0),
            questions: AtomicUsize::new(0),
            down: AtomicBool::new(false),
            gate: Mutex::default(),
            slots: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Holds the next look-up of a credential back, after it has read.
    pub(crate) fn hold_next_lookup(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.gate.lock().unwrap() = Some(gate.clone());
        gate
    }

    pub(crate) fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }

    pub(crate) fn audit_events(&self) -> Vec<AuditEvent> {
        self.rows.lock().unwrap().audit.clone()
    }

    /// Everything that is stored, as text, to look for what must not be there.
    pub(crate) fn dump(&self) -> String {
        let rows = self.rows.lock().unwrap();
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            rows.accounts, rows.sessions, rows.tokens, rows.keys, rows.notes, rows.audit
        )
    }

    pub(crate) fn delete_refresh_tokens(&self) {
        self.rows.lock().unwrap().refresh.clear();
    }

    pub(crate) fn set_hash(&self, id: AccountId, hash: &str) {
        let mut rows = self.rows.lock().unwrap();
        rows.accounts.iter_mut().find(|(a, _)| a.id == id).unwrap().1 = Some(hash.to_owned());
    }

    pub(crate) fn set_unverified(&self, id: AccountId) {
        let mut rows = self.rows.lock().unwrap();
        rows.accounts.iter_mut().find(|(a, _)| a.id == id).unwrap().0.email_verified = false;
    }

    pub(crate) fn stored_last_seen(&self, id: SessionId) -> UnixMillis {
        let rows = self.rows.lock().unwrap();
        rows.sessions.iter().find(|s| s.id == id).unwrap().last_seen
    }

    /// Adds a key as an import does: any text, only its hash.
    pub(crate) fn import_key(&self, record: ApiKeyRecord, hash: Digest) {
        self.rows.lock().unwrap().keys.push((record, hash));
    }

    /// Every call so far.
    pub(crate) fn questions(&self) -> usize {
        self.questions.load(Ordering::SeqCst)
    }

    fn rows(&self) -> StoreResult<MutexGuard<'_, Rows>> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("switched off by the test".into()));
        }
        Ok(self.rows.lock().unwrap())
    }

    async fn looked_up<T>(&self, found: StoreResult<T>) -> StoreResult<T> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let _slot = self.slots.acquire().await.unwrap();
        let gate = self.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.go.notified().await;
        }
        found
    }
}

impl Rows {
    fn account(&self, id: AccountId) -> Option<Account> {
        self.accounts.iter().find(|(a, _)| a.id == id).map(|(a, _)| a.clone())
    }

    fn found(&self, id: SessionId, host: Option<String>) -> Option<SessionFound> {
        let session = self.sessions.iter().find(|s| s.id == id)?.clone();
        let account = self.account(session.account)?;
        Some(SessionFound { session, account, host })
    }

    fn admins_without(&self, id: AccountId) -> usize {
        self.accounts.iter().filter(|(a, _)| a.id != id && a.role == Role::Admin).count()
    }

    fn end(&mut self, which: impl Fn(&SessionRecord) -> bool) -> Vec<SessionId> {
        let ended: Vec<_> = self.sessions.iter().filter(|s| which(s)).map(|s| s.id).collect();
        self.sessions.retain(|s| !ended.contains(&s.id));
        self.tokens.retain(|_, (id, _)| !ended.contains(id));
        self.refresh.retain(|_, r| !ended.contains(&r.session));
        ended
    }
}

#[async_trait]
impl Store for Memory {
    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>> {
        Ok(self.rows()?.account(id))
    }

    async fn account_by_email(&self, email: &str) -> StoreResult<Option<Account>> {
        let rows = self.rows()?;
        Ok(rows
            .accounts
            .iter()
            .find(|(a, _)| a.email.as_deref() == Some(email))
            .map(|(a, _)| a.clone()))
    }

    async fn account_by_username(&self, username: &str) -> StoreResult<Option<Account>> {
        let rows = self.rows()?;
        Ok(rows.accounts.iter().find(|(a, _)| &*a.username == username).map(|(a, _)| a.clone()))
    }

    async fn accounts(&self, after: Option<AccountId>, limit: u32) -> StoreResult<Vec<Account>> {
        let rows = self.rows()?;
        let start = after
            .and_then(|id| rows.accounts.iter().position(|(a, _)| a.id == id))
            .map_or(0, |at| at + 1);
        Ok(rows.accounts.iter().skip(start).take(limit as usize).map(|(a, _)| a.clone()).collect())
    }

    async fn count_accounts(&self) -> StoreResult<u64> {
        Ok(self.rows()?.accounts.len() as u64)
    }

    async fn create_account(&self, new: NewAccount, when: CreateCondition) -> StoreResult<Account> {
        let mut rows = self.rows()?;
        let first = rows.accounts.is_empty();
        if when == CreateCondition::NoAccounts && !first {
            return Err(StoreError::Conflict("setup"));
        }
        if new.email.is_some()
            && rows.accounts.iter().any(|(a, _)| a.email.as_deref() == new.email.as_deref())
        {
            return Err(StoreError::Conflict("e-mail"));
        }
        let taken = |name: &str| rows.accounts.iter().any(|(a, _)| &*a.username == name);
        let mut username = new.username.clone();
        let mut number = 2;
        while taken(&username) {
            username = format!("{}{number}", new.username);
            number += 1;
        }
        let leads = first && when == CreateCondition::FirstBecomesAdmin;
        let account = Account {
            id: new.id,
            username: username.into(),
            email: new.email.map(Arc::from),
            email_verified: new.email_verified,
            name: new.name.into(),
            role: if leads { Role::Admin } else { new.role },
            status: if leads { Status::Active } else { new.status },
            groups: new.groups.into(),
            must_change_password: new.must_change_password,
            created_at: new.created_at,
        };
        rows.accounts.push((account.clone(), new.password_hash));
        Ok(account)
    }

    async fn change_account(&self, id: AccountId, change: AccountChange) -> StoreResult<Account> {
        let mut rows = self.rows()?;
        let others = rows.admins_without(id);
        let row = rows.accounts.iter_mut().find(|(a, _)| a.id == id).ok_or(StoreError::NotFound)?;
        if row.0.role == Role::Admin && change.role == Some(Role::User) && others == 0 {
            return Err(StoreError::LastAdmin);
        }
        let (account, hash) = row;
        if let Some(username) = change.username {
            account.username = username.into();
        }
        if let Some(name) = change.name {
            account.name = name.into();
        }
        if let Some((email, verified)) = change.email {
            account.email = email.map(Arc::from);
            account.email_verified = verified;
        }
        account.role = change.role.unwrap_or(account.role);
        account.status = change.status.unwrap_or(account.status);
        if let Some(groups) = change.groups {
            account.groups = groups.into();
        }
        if let Some((new_hash, must)) = change.password {
            *hash = new_hash;
            account.must_change_password = must;
        }
        Ok(account.clone())
    }

    async fn delete_account(&self, id: AccountId) -> StoreResult<()> {
        let mut rows = self.rows()?;
        let account = rows.account(id).ok_or(StoreError::NotFound)?;
        if account.role == Role::Admin && rows.admins_without(id) == 0 {
            return Err(StoreError::LastAdmin);
        }
        rows.end(|s| s.account == id);
        rows.keys.retain(|(k, _)| k.owner != id);
        rows.accounts.retain(|(a, _)| a.id != id);
        Ok(())
    }

    async fn password_hash(&self, id: AccountId) -> StoreResult<Option<String>> {
        Ok(self.rows()?.accounts.iter().find(|(a, _)| a.id == id).and_then(|(_, h)| h.clone()))
    }

    async fn create_session(
        &self,
        session: SessionRecord,
        token: Option<Digest>,
    ) -> StoreResult<()> {
        let mut rows = self.rows()?;
        if let Some(token) = token {
            rows.tokens.insert(token, (session.id, None));
        }
        rows.sessions.push(session);
        Ok(())
    }

    async fn session_by_token(&self, token: &Digest) -> StoreResult<Option<SessionFound>> {
        let found = self.rows().map(|rows| {
            let (id, host) = rows.tokens.get(token)?.clone();
            rows.found(id, host)
        });
        self.looked_up(found).await
    }

    async fn session(&self, id: SessionId) -> StoreResult<Option<SessionFound>> {
        let found = self.rows().map(|rows| rows.found(id, None));
        self.looked_up(found).await
    }

    async fn sessions(&self, account: Option<AccountId>) -> StoreResult<Vec<SessionRecord>> {
        let rows = self.rows()?;
        let wanted = |s: &&SessionRecord| account.is_none_or(|id| s.account == id);
        Ok(rows.sessions.iter().rev().filter(wanted).cloned().collect())
    }

    async fn rotate_session(
        &self,
        id: SessionId,
        token: Digest,
        proof: Option<SessionProof>,
    ) -> StoreResult<()> {
        let mut rows = self.rows()?;
        rows.tokens.retain(|_, (session, _)| *session != id);
        rows.tokens.insert(token, (id, None));
        let session = rows.sessions.iter_mut().find(|s| s.id == id).ok_or(StoreError::NotFound)?;
        session.rotate = false;
        if let Some(proof) = proof {
            session.auth_time = proof.auth_time;
            session.amr = proof.amr;
            session.mfa = proof.mfa;
        }
        Ok(())
    }

    async fn mark_sessions_for_rotation(&self, account: AccountId) -> StoreResult<()> {
        for session in self.rows()?.sessions.iter_mut().filter(|s| s.account == account) {
            session.rotate = true;
        }
        Ok(())
    }

    async fn add_host_token(
        &self,
        session: SessionId,
        host: &str,
        token: Digest,
        now: UnixMillis,
    ) -> StoreResult<()> {
        let mut rows = self.rows()?;
        if !rows.sessions.iter().any(|s| s.id == session && s.expires_at > now) {
            return Err(StoreError::NotFound);
        }
        rows.tokens.insert(token, (session, Some(host.to_owned())));
        Ok(())
    }

    async fn delete_session(&self, id: SessionId) -> StoreResult<bool> {
        Ok(!self.rows()?.end(|s| s.id == id).is_empty())
    }

    async fn delete_sessions(
        &self,
        account: AccountId,
        except: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        Ok(self.rows()?.end(|s| s.account == account && Some(s.id) != except))
    }

    async fn delete_all_sessions(&self) -> StoreResult<u64> {
        Ok(self.rows()?.end(|_| true).len() as u64)
    }

    async fn touch_sessions(&self, seen: &[(SessionId, UnixMillis)]) -> StoreResult<()> {
        let mut rows = self.rows()?;
        for (id, at) in seen {
            if let Some(session) = rows.sessions.iter_mut().find(|s| s.id == *id) {
                session.last_seen = session.last_seen.max(*at);
            }
        }
        Ok(())
    }

    async fn count_sessions(&self, now: UnixMillis) -> StoreResult<u64> {
        Ok(self.rows()?.sessions.iter().filter(|s| s.expires_at > now).count() as u64)
    }

    async fn add_refresh_token(
        &self,
        session: SessionId,
        token: Digest,
        _now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<()> {
        self.rows()?.refresh.insert(token, Refresh { session, expires_at, used: false });
        Ok(())
    }

    async fn rotate_refresh_token(
        &self,
        token: &Digest,
        next: Digest,
        now: UnixMillis,
        next_expires_at: UnixMillis,
    ) -> StoreResult<RefreshOutcome> {
        let mut rows = self.rows()?;
        let Some(shown) = rows.refresh.get_mut(token).filter(|r| r.expires_at > now) else {
            return Ok(RefreshOutcome::Unknown);
        };
        let session = shown.session;
        if std::mem::replace(&mut shown.used, true) {
            rows.end(|s| s.id == session);
            return Ok(RefreshOutcome::Reused(session));
        }
        let fresh = Refresh { session, expires_at: next_expires_at, used: false };
        rows.refresh.insert(next, fresh);
        match rows.found(session, None) {
            Some(found) => Ok(RefreshOutcome::Rotated(Box::new(found))),
            None => Ok(RefreshOutcome::Unknown),
        }
    }

    async fn create_api_key(&self, key: ApiKeyRecord, hash: Digest) -> StoreResult<()> {
        self.rows()?.keys.push((key, hash));
        Ok(())
    }

    async fn api_key_by_hash(&self, hash: &Digest) -> StoreResult<Option<(ApiKeyRecord, Account)>> {
        let found = self.rows().map(|rows| {
            let (key, _) = rows.keys.iter().find(|(_, h)| h == hash)?;
            Some((key.clone(), rows.account(key.owner)?))
        });
        self.looked_up(found).await
    }

    async fn api_key(&self, id: KeyId) -> StoreResult<Option<ApiKeyRecord>> {
        Ok(self.rows()?.keys.iter().find(|(k, _)| k.id == id).map(|(k, _)| k.clone()))
    }

    async fn api_keys(&self, owner: Option<AccountId>) -> StoreResult<Vec<ApiKeyRecord>> {
        let rows = self.rows()?;
        let wanted = |k: &&ApiKeyRecord| owner.is_none_or(|id| k.owner == id);
        Ok(rows.keys.iter().rev().map(|(k, _)| k).filter(wanted).cloned().collect())
    }

    async fn change_api_key(&self, id: KeyId, change: ApiKeyChange) -> StoreResult<ApiKeyRecord> {
        let mut rows = self.rows()?;
        let (key, _) =
            rows.keys.iter_mut().find(|(k, _)| k.id == id).ok_or(StoreError::NotFound)?;
        key.name = change.name.unwrap_or_else(|| key.name.clone());
        key.enabled = change.enabled.unwrap_or(key.enabled);
        key.expires_at = change.expires_at.unwrap_or(key.expires_at);
        key.scopes = change.scopes.unwrap_or_else(|| key.scopes.clone());
        key.rate_limit = change.rate_limit.unwrap_or(key.rate_limit);
        Ok(key.clone())
    }

    async fn delete_api_key(&self, id: KeyId) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        let before = rows.keys.len();
        rows.keys.retain(|(k, _)| k.id != id);
        Ok(rows.keys.len() < before)
    }

    async fn api_key_prefixes(&self) -> StoreResult<Vec<String>> {
        Ok(self.rows()?.keys.iter().map(|(k, _)| k.prefix.clone()).collect())
    }

    async fn touch_api_keys(&self, used: &[(KeyId, UnixMillis)]) -> StoreResult<()> {
        let mut rows = self.rows()?;
        for (id, at) in used {
            if let Some((key, _)) = rows.keys.iter_mut().find(|(k, _)| k.id == *id) {
                key.last_used_at = key.last_used_at.max(Some(*at));
            }
        }
        Ok(())
    }

    async fn put_one_time(
        &self,
        kind: OneTimeKind,
        key: Digest,
        value: Vec<u8>,
        expires_at: UnixMillis,
    ) -> StoreResult<()> {
        self.rows()?.one_time.insert((kind, key), (value, expires_at));
        Ok(())
    }

    async fn take_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>> {
        let taken = self.rows()?.one_time.remove(&(kind, *key));
        Ok(taken.filter(|(_, end)| *end > now).map(|(value, _)| value))
    }

    async fn add_known_device(
        &self,
        account: AccountId,
        device: Digest,
        _now: UnixMillis,
    ) -> StoreResult<()> {
        self.rows()?.devices.push((account, device));
        Ok(())
    }

    async fn is_known_device(&self, account: AccountId, device: &Digest) -> StoreResult<bool> {
        Ok(self.rows()?.devices.contains(&(account, *device)))
    }

    async fn signing_keys(&self, purpose: &str) -> StoreResult<Vec<SigningKeyRecord>> {
        let rows = self.rows()?;
        Ok(rows.signing.iter().filter(|k| k.purpose == purpose).cloned().collect())
    }

    async fn add_signing_key(
        &self,
        key: SigningKeyRecord,
        not_after: Option<UnixMillis>,
    ) -> StoreResult<Vec<SigningKeyRecord>> {
        let mut rows = self.rows()?;
        let later = |k: &SigningKeyRecord| {
            k.purpose == key.purpose && not_after.is_some_and(|at| k.created_at > at)
        };
        if !rows.signing.iter().any(later) {
            rows.signing.push(key.clone());
        }
        Ok(rows.signing.iter().filter(|k| k.purpose == key.purpose).cloned().collect())
    }

    async fn note(&self, name: &str) -> StoreResult<Option<String>> {
        Ok(self.rows()?.notes.get(name).cloned())
    }

    async fn set_note(&self, name: &str, value: &str) -> StoreResult<()> {
        self.rows()?.notes.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    async fn append_audit(&self, events: &[AuditEvent]) -> StoreResult<()> {
        self.rows()?.audit.extend_from_slice(events);
        Ok(())
    }

    async fn audit(&self, _before: Option<i64>, _limit: u32) -> StoreResult<Vec<AuditRecord>> {
        Ok(Vec::new())
    }

    async fn purge(&self, now: UnixMillis, _idle_timeout: Duration) -> StoreResult<()> {
        self.rows()?.end(|s| s.expires_at <= now);
        Ok(())
    }

    async fn ping(&self) -> StoreResult<()> {
        self.rows().map(|_| ())
    }

    async fn health(&self) -> StoreResult<StoreHealth> {
        Ok(StoreHealth {
            engine: "memory",
            schema_version: 0,
            mode: "0600".to_owned(),
            integrity: "ok".to_owned(),
            size: 0,
            last_backup: None,
        })
    }
}
