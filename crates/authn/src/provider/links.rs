//! Identities of an account, as its owner manages them: joining, confirming, taking off.

use std::sync::Arc;

use vestibule_core::account::{Role, Status};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;
use vestibule_core::time::UnixMillis;

use super::account::{Waiting, new_link};
use super::sign_in::{Case, Stop, disabled, together};
use super::{LinkShown, PendingLink, ProviderFinished, ProviderRefused, UnlinkError};
use crate::identity_cache::Subject;
use crate::oidc::{Fault, TRY_AGAIN};
use crate::ports::{
    AccountChange, Digest, OneTimeKind, ProviderLink, ProviderSessions, StoreError, StoreResult,
};
use crate::{Actor, Authn, keyring};

impl Authn {
    /// Adds the identity to the account that asked for it in `/settings`.
    pub(super) async fn finish_link(
        &self,
        case: Case<'_>,
        account: AccountId,
    ) -> Result<ProviderFinished, Stop> {
        if case.callback.account != Some(account) {
            // Signed out, or another account's turn, since it began.
            return Err(Fault::new("link_of_another_session", "", TRY_AGAIN).into());
        }
        let found = self.store.account(account).await?.ok_or(StoreError::NotFound)?;
        if found.effective_status() == Status::Disabled {
            return Err(disabled());
        }
        let person = &case.person;
        let in_use = || {
            let refused = ProviderRefused::LinkRefused { reason: "in_use", pending: None };
            Stop::Answer(refused, "link_in_use")
        };
        let link = match self.store.provider_link(&person.issuer, &person.subject).await? {
            Some((link, owner)) if owner.id == account => link,
            Some(_) => return Err(in_use()),
            None => {
                // Signed out everywhere while the provider was asked: nothing is added for whoever
                // held that session.
                let session = case.callback.session;
                let alive = match session {
                    Some(session) => self.store.session(session).await?.is_some(),
                    None => false,
                };
                if !alive {
                    return Err(Fault::new("link_of_another_session", "", TRY_AGAIN).into());
                }
                let link = new_link(&case, account);
                let own_address = found.email.as_deref() == Some(&*person.email);
                let proved = (own_address && person.email_verified).then_some(&*person.email);
                match self.store.add_provider_link(link.clone(), proved, false).await {
                    Err(StoreError::Conflict("link")) => return Err(in_use()),
                    added => drop(added?),
                }
                self.cache.something_new();
                self.linked(&case, account, "settings");
                link
            }
        };
        let found = self.store.account(account).await?.ok_or(StoreError::NotFound)?;
        self.bring_up_to_date(&case, link, found).await?;
        self.cache.forget(&[Subject::Account(account)]);
        Ok(ProviderFinished::Linked { rd: case.rd })
    }

    /// The waiting link of a token that this browser was given.
    pub async fn pending_link(
        self: &Arc<Self>,
        token: &str,
        browser: Option<&str>,
        now: UnixMillis,
    ) -> StoreResult<Option<PendingLink>> {
        let Some(key) = self.waiting_key(token, browser) else { return Ok(None) };
        let this = self.clone();
        self.on_service(async move {
            let value = this.store.peek_one_time(OneTimeKind::ProviderLink, &key, now).await?;
            let waiting = value.and_then(|v| serde_json::from_slice::<Waiting>(&v).ok());
            Ok(waiting.and_then(|waiting| {
                let account = waiting.account.parse().ok()?;
                Some(PendingLink { label: waiting.label, display: waiting.display, account })
            }))
        })
        .await
    }

    /// Joins a waiting link to the account that is signed in; `false` where the token does not
    /// hold, or is for another account.
    pub async fn join_pending_link(
        self: &Arc<Self>,
        token: &str,
        browser: Option<&str>,
        account: AccountId,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<bool> {
        let Some(key) = self.waiting_key(token, browser) else { return Ok(false) };
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let kind = OneTimeKind::ProviderLink;
            let read = |value: Option<Vec<u8>>| {
                value.and_then(|v| serde_json::from_slice::<Waiting>(&v).ok())
            };
            let is_for = |w: &Waiting| w.account.parse().ok() == Some(account);
            // Looked at first: whoever is signed in to another account does not use it up.
            let waiting = read(this.store.peek_one_time(kind, &key, now).await?);
            if !waiting.is_some_and(|waiting| is_for(&waiting)) {
                return Ok(false);
            }
            let taken = read(this.store.take_one_time(kind, &key, now).await?);
            let Some(waiting) = taken else { return Ok(false) };
            let found = this.store.account(account).await?.ok_or(StoreError::NotFound)?;
            let own_address = found.email.as_deref() == Some(waiting.email.as_str());
            let link = ProviderLink {
                issuer: waiting.issuer,
                subject: waiting.subject,
                account,
                provider: waiting.provider.clone(),
                display: waiting.display,
                groups: Vec::new(),
                role: None,
                linked_at: now,
                last_used_at: now,
            };
            let proved = own_address.then_some(waiting.email.as_str());
            match this.store.add_provider_link(link, proved, false).await {
                Err(StoreError::Conflict("link")) => return Ok(false),
                added => drop(added?),
            }
            this.cache.forget(&[Subject::Account(account)]);
            let detail = format!("provider={} by=confirmation", waiting.provider);
            this.audit_by(&actor, "provider.linked", account, "success", detail, now);
            Ok(true)
        })
        .await
    }

    fn waiting_key(&self, token: &str, browser: Option<&str>) -> Option<Digest> {
        let active = self.active.load();
        let ring = &active.keyring;
        let token = keyring::open(&ring.provider_link, token.as_bytes())?;
        let browser = keyring::open(&ring.provider_browser, browser?.as_bytes())?;
        Some(together(&token, &browser))
    }

    /// The identities of an account.
    pub async fn provider_links(
        self: &Arc<Self>,
        account: AccountId,
    ) -> StoreResult<Vec<LinkShown>> {
        let this = self.clone();
        self.on_service(async move {
            let links = this.store.provider_links(account).await?;
            let shown = |link: ProviderLink| LinkShown {
                label: this
                    .providers
                    .find(&link.provider)
                    .map_or_else(|| link.provider.clone(), |p| p.config.label.clone()),
                provider: link.provider,
                issuer: link.issuer,
                subject: link.subject,
                display: link.display,
                linked_at: link.linked_at,
                last_used_at: link.last_used_at,
            };
            Ok(links.into_iter().map(shown).collect())
        })
        .await
    }

    /// Takes an identity off an account; sessions that began with it end.
    pub async fn unlink_provider(
        self: &Arc<Self>,
        account: AccountId,
        issuer: &str,
        subject: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), UnlinkError> {
        let (this, actor) = (self.clone(), actor.clone());
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        self.on_service(async move {
            this.tick(now);
            let links = this.store.provider_links(account).await?;
            let link = links.iter().find(|l| l.issuer == issuer && l.subject == subject);
            let link = link.ok_or(StoreError::NotFound)?;
            let has_password = this.settings().auth.password.enabled
                && this.store.password_hash(account).await?.is_some();
            let others = links.iter().filter(|l| *l != link);
            let other_ways = others.filter(|l| this.usable_provider(&l.provider).is_some()).count();
            if !has_password && other_ways == 0 {
                return Err(UnlinkError::LastWay);
            }
            this.take_back(account, link, &links).await?;
            this.store.delete_provider_link(account, &issuer, &subject).await?;
            this.end_sessions_of_link(account, &issuer, &subject).await?;
            this.cache.forget(&[Subject::Account(account)]);
            let detail = format!("provider={}", link.provider);
            this.audit_by(&actor, "provider.unlinked", account, "success", detail, now);
            Ok(())
        })
        .await
    }

    /// What an identity gave goes with it: its groups, and the role, where no other identity of
    /// the account gives them.
    async fn take_back(
        &self,
        account: AccountId,
        link: &ProviderLink,
        links: &[ProviderLink],
    ) -> StoreResult<()> {
        let found = self.store.account(account).await?.ok_or(StoreError::NotFound)?;
        let others = || links.iter().filter(|other| *other != link);
        let gone = |group: &Group| {
            link.groups.contains(group) && !others().any(|other| other.groups.contains(group))
        };
        let left: Vec<_> = found.groups.iter().filter(|group| !gone(group)).cloned().collect();
        let admin = Some(Role::Admin);
        let demoted = found.role == Role::Admin
            && link.role == admin
            && !others().any(|other| other.role == admin);
        let change = AccountChange {
            groups: (left.len() != found.groups.len()).then_some(left),
            role: demoted.then_some(Role::User),
            ..AccountChange::default()
        };
        if change.groups.is_none() && change.role.is_none() {
            return Ok(());
        }
        match self.store.change_account(account, change.clone()).await {
            Err(StoreError::LastAdmin) => {
                let change = AccountChange { role: None, ..change };
                self.store.change_account(account, change).await?;
            }
            changed => drop(changed?),
        }
        self.revoke(&[Subject::Account(account)]);
        if demoted {
            self.store.mark_sessions_for_rotation(account).await?;
        }
        Ok(())
    }

    /// Ends the sessions that began with an identity.
    async fn end_sessions_of_link(
        &self,
        account: AccountId,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<()> {
        for session in self.store.sessions(Some(account)).await? {
            let kept = self.store.provider_session(session.id).await?;
            if kept.is_some_and(|kept| kept.issuer == issuer && kept.link_subject == subject) {
                self.store.delete_session(session.id).await?;
                self.revoke(&[Subject::Session(session.id)]);
            }
        }
        Ok(())
    }

    /// Ends the sessions that a provider's logout token names; how many.
    pub(super) async fn end_sessions_at_provider(
        &self,
        issuer: &str,
        which: ProviderSessions<'_>,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<usize> {
        let named = self.store.sessions_at_provider(issuer, which).await?;
        for session in &named {
            self.store.delete_session(*session).await?;
            self.revoke(&[Subject::Session(*session)]);
            let detail = "reason=backchannel-logout";
            self.audit_by(actor, "session.revoked", *session, "success", detail, now);
        }
        Ok(named.len())
    }
}
