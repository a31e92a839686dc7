//! Renewing a provider's tokens behind a running session: its groups are read anew, and where
//! the provider refuses, access ends.
//!
//! The request that finds the access token ended starts one renewal and goes on with what is
//! known; whoever comes after it, within seconds, sees what the provider says now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use vestibule_core::id::SessionId;
use vestibule_core::settings::provider::ProviderPlace;
use vestibule_core::time::UnixMillis;

use super::sign_in::provider_session;
use crate::identity_cache::Subject;
use crate::jose::Object;
use crate::oidc::client::{self, Tokens};
use crate::oidc::id_token::{self, Expected};
use crate::oidc::metadata::Metadata;
use crate::oidc::person::{self, Person};
use crate::oidc::remote::RemoteProvider;
use crate::oidc::{Fault, PROVIDER_DOWN, TELL_ADMIN, github, userinfo};
use crate::ports::{ProviderSession, StoreError, StoreResult};
use crate::{Actor, Authn};

/// A provider that does not answer is asked again after this long.
const AGAIN: Duration = Duration::from_secs(30);

/// Sessions whose tokens a request found ended. Each is renewed by one task at a time: a
/// refresh token shown twice is taken for stolen.
#[derive(Default)]
pub(crate) struct Renewals {
    due: Mutex<Vec<SessionId>>,
    running: Mutex<HashSet<SessionId>>,
    filled: Notify,
}

impl Renewals {
    pub(crate) fn push(&self, session: SessionId) {
        lock(&self.due).push(session);
        self.filled.notify_one();
    }

    /// Resolves when something is due.
    pub(crate) async fn waiting(&self) {
        self.filled.notified().await;
    }

    /// What is due and not under way.
    fn take(&self) -> Vec<SessionId> {
        let mut due = std::mem::take(&mut *lock(&self.due));
        let mut running = lock(&self.running);
        due.retain(|session| running.insert(*session));
        due
    }

    fn done(&self, session: SessionId) {
        lock(&self.running).remove(&session);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Authn {
    /// Starts what is due, each on its own.
    pub(crate) fn renew_at_providers(self: &Arc<Self>, now: UnixMillis) {
        for session in self.renewals.take() {
            let this = self.clone();
            drop(self.service.spawn(async move {
                if let Err(error) = this.refresh_one(session, now).await {
                    tracing::warn!(%error, %session, "a provider's tokens could not be renewed");
                    // Asked anew, so that the next request tries again.
                    this.cache.forget(&[Subject::Session(session)]);
                }
                this.renewals.done(session);
            }));
        }
    }

    async fn refresh_one(&self, session: SessionId, now: UnixMillis) -> StoreResult<()> {
        let Some(kept) = self.store.provider_session(session).await? else { return Ok(()) };
        // Renewed by another process in between.
        let due = kept.refresh_at.is_some_and(|at| at <= now);
        let Some(remote) = self.usable_provider(&kept.provider).filter(|_| due) else {
            return Ok(());
        };
        let Some(token) = kept.refresh_token.clone() else { return Ok(()) };
        let renewed = async {
            let _turn = remote.turn().await?;
            let metadata = remote.metadata(&self.fetch, now).await?;
            let tokens = client::refresh(&self.fetch, &remote.config, &metadata, &token).await?;
            let person = self.person_anew(&remote, &metadata, &kept, &tokens, now).await?;
            Ok::<_, Fault>((tokens, person))
        };
        match renewed.await {
            Ok((tokens, person)) => {
                self.take_renewed(session, &remote, kept, tokens, person, now).await
            }
            Err(fault) if fault.advice == PROVIDER_DOWN || is_ours(&fault) => {
                tracing::warn!(
                    provider = &*remote.config.id,
                    %session,
                    reason = fault.reason,
                    detail = fault.detail,
                    "a provider's tokens are not renewed; it is tried again in 30 s"
                );
                remote.note_failure(&fault, now);
                let later = ProviderSession { refresh_at: Some(now.plus(AGAIN)), ..kept };
                gone_is_fine(self.store.set_provider_session(session, later).await)?;
                self.cache.forget(&[Subject::Session(session)]);
                Ok(())
            }
            Err(fault) => self.end_refused(session, &remote, &fault, now).await,
        }
    }

    /// Who the renewed tokens are for, where they say so. Another person than before is a
    /// refusal (OpenID Connect Core, 12.2).
    async fn person_anew(
        &self,
        remote: &RemoteProvider,
        metadata: &Metadata,
        kept: &ProviderSession,
        tokens: &Tokens,
        now: UnixMillis,
    ) -> Result<Option<Person>, Fault> {
        if let ProviderPlace::Github(base) = &remote.config.place {
            let token = &tokens.access_token;
            let person = github::person(&self.fetch, &remote.config, base, token).await?;
            return same_person(kept, person).map(Some);
        }
        let claims = match &tokens.id_token {
            Some(token) => {
                let expected = Expected {
                    nonce: None,
                    access_token: tokens.access_token.expose_secret(),
                    code: None,
                    signed_in_since: None,
                };
                let token = token.expose_secret();
                let claims =
                    id_token::verify(&self.fetch, remote, metadata, token, &expected, now).await?;
                if id_token::subject(&claims)? != kept.sub {
                    return Err(Fault::new("refresh_sub_mismatch", "", TELL_ADMIN));
                }
                Some(claims)
            }
            None => None,
        };
        let said = match &metadata.userinfo_endpoint {
            Some(url) => {
                Some(userinfo::ask(&self.fetch, url, &tokens.access_token, &kept.sub).await?)
            }
            None => None,
        };
        // The ID token need not come again (12.2); then UserInfo alone speaks.
        let (first, second): (Object, Option<Object>) = match (claims, said) {
            (Some(claims), said) => (claims, said),
            (None, Some(said)) => (said, None),
            (None, None) => return Ok(None),
        };
        match person::read(&remote.config, &metadata.issuer, &first, second.as_ref()) {
            Ok(person) => same_person(kept, person).map(Some),
            // A refreshed answer may say less; what is not said stays.
            Err(fault) if fault.reason.starts_with("claim_missing") => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    async fn take_renewed(
        &self,
        session: SessionId,
        remote: &RemoteProvider,
        kept: ProviderSession,
        tokens: Tokens,
        person: Option<Person>,
        now: UnixMillis,
    ) -> StoreResult<()> {
        let tokens = Tokens {
            id_token: tokens.id_token.or(kept.id_token.clone()),
            refresh_token: tokens.refresh_token.or(kept.refresh_token.clone()),
            ..tokens
        };
        let renewed = match &person {
            Some(person) => {
                let renewed = provider_session(remote, person, &tokens, now);
                ProviderSession { sid: renewed.sid.or(kept.sid), ..renewed }
            }
            None => ProviderSession {
                refresh_at: tokens.expires_in.map(|life| now.plus(life)),
                access_token: tokens.access_token,
                refresh_token: tokens.refresh_token,
                id_token: tokens.id_token,
                ..kept
            },
        };
        gone_is_fine(self.store.set_provider_session(session, renewed).await)?;
        // What is known of the session holds the old tokens.
        self.cache.forget(&[Subject::Session(session)]);
        remote.note_success();
        let Some(person) = person else { return Ok(()) };
        let link = self.store.provider_link(&person.issuer, &person.subject).await?;
        let Some((link, account)) = link else { return Ok(()) };
        self.sync(link, account, &person, &by_provider(remote), now).await?;
        Ok(())
    }

    /// The provider says no: access ends with it.
    async fn end_refused(
        &self,
        session: SessionId,
        remote: &RemoteProvider,
        fault: &Fault,
        now: UnixMillis,
    ) -> StoreResult<()> {
        tracing::warn!(
            provider = &*remote.config.id,
            %session,
            reason = fault.reason,
            detail = fault.detail,
            "the provider does not renew a session's tokens; the session ends"
        );
        if self.store.delete_session(session).await? {
            self.revoke(&[Subject::Session(session)]);
            let detail = format!("reason=provider-refused word={}", fault.reason);
            let actor = by_provider(remote);
            self.audit_by(&actor, "session.revoked", session, "success", detail, now);
        }
        Ok(())
    }
}

/// A refusal of the client, not of the person: nobody loses access by a wrong secret.
fn is_ours(fault: &Fault) -> bool {
    matches!(fault.reason, "token_endpoint_invalid_client" | "token_endpoint_invalid_request")
}

fn same_person(kept: &ProviderSession, person: Person) -> Result<Person, Fault> {
    if person.sub == kept.sub && person.issuer == kept.issuer {
        Ok(person)
    } else {
        Err(Fault::new("refresh_sub_mismatch", "", TELL_ADMIN))
    }
}

fn by_provider(remote: &RemoteProvider) -> Actor {
    Actor {
        id: format!("provider:{}", remote.config.id),
        client_ip: None,
        request_id: Arc::from(""),
    }
}

/// Signed out while its tokens were renewed.
fn gone_is_fine(result: StoreResult<()>) -> StoreResult<()> {
    match result {
        Err(StoreError::NotFound) => Ok(()),
        other => other,
    }
}
