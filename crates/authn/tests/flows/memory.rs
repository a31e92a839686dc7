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
    links: Vec<ProviderLink>,
    at_provider: HashMap<SessionId, ProviderSession>,
    providers: Vec<StoredProvider>,
    denied: Vec<DeniedJwt>,
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
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            rows.accounts,
            rows.sessions,
            rows.tokens,
            rows.keys,
            rows.links,
            rows.at_provider,
            rows.providers,
            rows.notes,
            rows.audit
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
        self.at_provider.retain(|id, _| !ended.contains(id));
        ended
    }

    fn create(&mut self, new: NewAccount, when: CreateCondition) -> StoreResult<Account> {
        let leads = match when {
            CreateCondition::Always => false,
            CreateCondition::FirstBecomesAdmin => self.accounts.is_empty(),
            CreateCondition::NoAccounts if self.accounts.is_empty() => false,
            CreateCondition::NoAccounts => return Err(StoreError::Conflict("setup")),
            CreateCondition::NoAdminBecomesAdmin => {
                self.accounts.iter().all(|(a, _)| a.role != Role::Admin)
            }
        };
        self.refuse_taken_email(new.id, new.email.as_deref())?;
        let taken = |name: &str| self.accounts.iter().any(|(a, _)| &*a.username == name);
        let mut username = new.username.clone();
        let mut number = 2;
        while taken(&username) {
            username = format!("{}{number}", new.username);
            number += 1;
        }
        let account = Account {
            id: new.id,
            username: username.into(),
            email: new.email.map(Arc::from),
            email_verified: new.email_verified,
            name: new.name.into(),
            role: if leads { Role::Admin } else { new.role },
            status: if leads { Status::Active } else { new.status },
            groups: sorted(new.groups).into(),
            must_change_password: new.must_change_password,
            created_at: new.created_at,
        };
        self.accounts.push((account.clone(), new.password_hash));
        Ok(account)
    }

    fn change(&mut self, id: AccountId, change: AccountChange) -> StoreResult<Account> {
        let others = self.admins_without(id);
        let old = self.account(id).ok_or(StoreError::NotFound)?;
        if old.role == Role::Admin && change.role == Some(Role::User) && others == 0 {
            return Err(StoreError::LastAdmin);
        }
        if let Some((email, _)) = &change.email {
            self.refuse_taken_email(id, email.as_deref())?;
        }
        let row = self.accounts.iter_mut().find(|(a, _)| a.id == id);
        let (account, hash) = row.ok_or(StoreError::NotFound)?;
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
            account.groups = sorted(groups).into();
        }
        if let Some((new_hash, must)) = change.password {
            *hash = new_hash;
            account.must_change_password = must;
        }
        Ok(account.clone())
    }

    fn refuse_taken_email(&self, id: AccountId, email: Option<&str>) -> StoreResult<()> {
        let taken = |a: &Account| a.id != id && a.email.is_some() && a.email.as_deref() == email;
        if self.accounts.iter().any(|(a, _)| taken(a)) {
            return Err(StoreError::Conflict("email"));
        }
        Ok(())
    }

    fn link(&self, issuer: &str, subject: &str) -> Option<&ProviderLink> {
        self.links.iter().find(|l| l.issuer == issuer && l.subject == subject)
    }

    fn refuse_taken_link(&self, link: &ProviderLink) -> StoreResult<()> {
        match self.link(&link.issuer, &link.subject) {
            Some(_) => Err(StoreError::Conflict("link")),
            None => Ok(()),
        }
    }

    /// Takes from an account every way in that it has.
    fn empty(&mut self, id: AccountId) -> Vec<SessionId> {
        if let Some((account, hash)) = self.accounts.iter_mut().find(|(a, _)| a.id == id) {
            *hash = None;
            account.must_change_password = false;
        }
        self.keys.retain(|(k, _)| k.owner != id);
        self.devices.retain(|(account, _)| *account != id);
        self.links.retain(|l| l.account != id);
        self.end(|s| s.account == id)
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort();
    list.dedup();
    list
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
        self.rows()?.create(new, when)
    }

    async fn change_account(&self, id: AccountId, change: AccountChange) -> StoreResult<Account> {
        self.rows()?.change(id, change)
    }

    async fn delete_account(&self, id: AccountId) -> StoreResult<()> {
        let mut rows = self.rows()?;
        let account = rows.account(id).ok_or(StoreError::NotFound)?;
        if account.role == Role::Admin && rows.admins_without(id) == 0 {
            return Err(StoreError::LastAdmin);
        }
        rows.empty(id);
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

    async fn create_linked_account(
        &self,
        new: NewAccount,
        when: CreateCondition,
        link: ProviderLink,
    ) -> StoreResult<Account> {
        let mut rows = self.rows()?;
        rows.refuse_taken_link(&link)?;
        let account = rows.create(new, when)?;
        let groups = sorted(link.groups);
        rows.links.push(ProviderLink { account: account.id, groups, ..link });
        Ok(account)
    }

    async fn provider_link(
        &self,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<Option<(ProviderLink, Account)>> {
        let rows = self.rows()?;
        let found = rows.link(issuer, subject).cloned();
        Ok(found.and_then(|link| Some((link.clone(), rows.account(link.account)?))))
    }

    async fn provider_links(&self, account: AccountId) -> StoreResult<Vec<ProviderLink>> {
        let rows = self.rows()?;
        let mut links: Vec<_> =
            rows.links.iter().filter(|l| l.account == account).cloned().collect();
        links.sort_by(|a, b| {
            (a.linked_at, &a.issuer, &a.subject).cmp(&(b.linked_at, &b.issuer, &b.subject))
        });
        Ok(links)
    }

    async fn add_provider_link(
        &self,
        link: ProviderLink,
        verified_email: Option<&str>,
        empty_first: bool,
    ) -> StoreResult<Vec<SessionId>> {
        let mut rows = self.rows()?;
        rows.account(link.account).ok_or(StoreError::NotFound)?;
        rows.refuse_taken_link(&link)?;
        // Before anything is changed: nothing here can be taken back.
        rows.refuse_taken_email(link.account, verified_email)?;
        let ended = if empty_first { rows.empty(link.account) } else { Vec::new() };
        if let Some(email) = verified_email {
            let email = Some((Some(email.to_owned()), true));
            rows.change(link.account, AccountChange { email, ..AccountChange::default() })?;
        }
        let groups = sorted(link.groups);
        rows.links.push(ProviderLink { groups, ..link });
        Ok(ended)
    }

    async fn update_provider_link(
        &self,
        link: ProviderLink,
        change: Option<AccountChange>,
    ) -> StoreResult<Account> {
        let mut rows = self.rows()?;
        let same = |l: &ProviderLink| {
            l.account == link.account && l.issuer == link.issuer && l.subject == link.subject
        };
        if !rows.links.iter().any(same) {
            return Err(StoreError::NotFound);
        }
        let account = rows.change(link.account, change.unwrap_or_default())?;
        for old in rows.links.iter_mut().filter(|l| same(l)) {
            *old = ProviderLink {
                groups: sorted(link.groups.clone()),
                linked_at: old.linked_at,
                last_used_at: old.last_used_at.max(link.last_used_at),
                ..link.clone()
            };
        }
        Ok(account)
    }

    async fn make_admin_if_none(&self, account: AccountId) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        if rows.accounts.iter().any(|(a, _)| a.role == Role::Admin) {
            return Ok(false);
        }
        let found = rows.accounts.iter_mut().find(|(a, _)| a.id == account);
        let Some((account, _)) = found else { return Ok(false) };
        account.role = Role::Admin;
        account.status = Status::Active;
        Ok(true)
    }

    async fn delete_provider_link(
        &self,
        account: AccountId,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        let before = rows.links.len();
        rows.links.retain(|l| l.account != account || l.issuer != issuer || l.subject != subject);
        Ok(rows.links.len() < before)
    }

    async fn create_provider_session(
        &self,
        session: SessionRecord,
        token: Digest,
        provider: ProviderSession,
    ) -> StoreResult<()> {
        let mut rows = self.rows()?;
        rows.account(session.account).ok_or(StoreError::NotFound)?;
        if rows.tokens.contains_key(&token) {
            return Err(StoreError::Conflict("token"));
        }
        rows.tokens.insert(token, (session.id, None));
        rows.at_provider.insert(session.id, provider);
        rows.sessions.push(session);
        Ok(())
    }

    async fn provider_session(&self, session: SessionId) -> StoreResult<Option<ProviderSession>> {
        Ok(self.rows()?.at_provider.get(&session).cloned())
    }

    async fn set_provider_session(
        &self,
        session: SessionId,
        provider: ProviderSession,
    ) -> StoreResult<()> {
        let mut rows = self.rows()?;
        if !rows.sessions.iter().any(|s| s.id == session) {
            return Err(StoreError::NotFound);
        }
        rows.at_provider.insert(session, provider);
        Ok(())
    }

    async fn delete_sessions_of_other_providers(
        &self,
        kept: &[&str],
    ) -> StoreResult<Vec<SessionId>> {
        let ended: Vec<SessionId> = {
            let rows = self.rows()?;
            let gone = |p: &ProviderSession| !kept.contains(&p.provider.as_str());
            rows.at_provider.iter().filter(|(_, p)| gone(p)).map(|(id, _)| *id).collect()
        };
        for id in &ended {
            self.delete_session(*id).await?;
        }
        Ok(ended)
    }

    async fn sessions_at_provider(
        &self,
        issuer: &str,
        which: ProviderSessions<'_>,
    ) -> StoreResult<Vec<SessionId>> {
        let rows = self.rows()?;
        let named = |p: &ProviderSession| match which {
            ProviderSessions::Sub(sub) => p.sub == sub,
            ProviderSessions::Sid { sid, sub: None } => p.sid.as_deref() == Some(sid),
            ProviderSessions::Sid { sid, sub: Some(sub) } => {
                p.sub == sub && p.sid.as_deref().is_none_or(|own| own == sid)
            }
        };
        let found = rows.at_provider.iter().filter(|(_, p)| p.issuer == issuer && named(p));
        Ok(found.map(|(id, _)| *id).collect())
    }

    async fn stored_providers(&self) -> StoreResult<Vec<StoredProvider>> {
        Ok(self.rows()?.providers.clone())
    }

    async fn create_stored_provider(&self, provider: StoredProvider) -> StoreResult<()> {
        let mut rows = self.rows()?;
        if rows.providers.iter().any(|p| p.spec.id == provider.spec.id) {
            return Err(StoreError::Conflict("provider"));
        }
        rows.providers.push(provider);
        Ok(())
    }

    async fn change_stored_provider(&self, mut provider: StoredProvider) -> StoreResult<()> {
        let mut rows = self.rows()?;
        let found = rows.providers.iter_mut().find(|p| p.spec.id == provider.spec.id);
        let old = found.ok_or(StoreError::NotFound)?;
        let kept = old.spec.client_secret.take();
        provider.spec.client_secret = provider.spec.client_secret.or(kept);
        provider.created_at = old.created_at;
        *old = provider;
        Ok(())
    }

    async fn delete_stored_provider(&self, id: &str) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        let before = rows.providers.len();
        rows.providers.retain(|p| p.spec.id != id);
        Ok(rows.providers.len() < before)
    }

    async fn deny_jwt(&self, denied: DeniedJwt, _now: UnixMillis) -> StoreResult<()> {
        let mut rows = self.rows()?;
        if !rows.denied.contains(&denied) {
            rows.denied.push(denied);
        }
        Ok(())
    }

    async fn allow_jwt(&self, denied: &DeniedJwt) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        let before = rows.denied.len();
        rows.denied.retain(|d| d != denied);
        Ok(rows.denied.len() < before)
    }

    async fn is_jwt_denied(&self, issuer: &str, sub: &str, jti: Option<&str>) -> StoreResult<bool> {
        let rows = self.rows()?;
        let named = |by: &DeniedBy| match by {
            DeniedBy::Jti(denied) => jti == Some(denied),
            DeniedBy::Sub(denied) => sub == denied,
        };
        Ok(rows.denied.iter().any(|d| d.issuer == issuer && named(&d.by)))
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

    async fn remember_once(
        &self,
        kind: OneTimeKind,
        key: Digest,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<bool> {
        let mut rows = self.rows()?;
        if rows.one_time.get(&(kind, key)).is_some_and(|(_, end)| *end > now) {
            return Ok(false);
        }
        rows.one_time.insert((kind, key), (Vec::new(), expires_at));
        Ok(true)
    }

    async fn peek_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>> {
        let rows = self.rows()?;
        let found = rows.one_time.get(&(kind, *key)).filter(|(_, end)| *end > now);
        Ok(found.map(|(value, _)| value.clone()))
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
