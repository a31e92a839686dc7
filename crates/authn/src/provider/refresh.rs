//! Renewing a provider's tokens behind a running session: its groups are read anew, and where
//! the provider refuses, access ends.
//!
//! The request that finds the access token ended starts one renewal and goes on with what is
//! known; whoever comes after it, within seconds, sees what the provider says now.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use vestibule_core::account::Status;
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::settings::provider::ProviderPlace;
use vestibule_core::time::UnixMillis;

use super::account::is_of_allowed_domain;
use crate::identity_cache::Subject;
use crate::jose::{self, Object};
use crate::oidc::client::{self, Tokens};
use crate::oidc::id_token::{self, Expected};
use crate::oidc::metadata::Metadata;
use crate::oidc::person::{self, Person};
use crate::oidc::remote::RemoteProvider;
use crate::oidc::{Fault, TELL_ADMIN, github, userinfo};
use crate::ports::{ProviderSession, StoreError, StoreResult};
use crate::{Actor, Authn};

/// A provider that does not answer is asked again after this long, and up to half as long
/// again, so that not all sessions come at once.
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
        let Some(found) = self.store.session(session).await? else { return Ok(()) };
        let Some(kept) = self.store.provider_session(session).await? else { return Ok(()) };
        // Renewed by another process in between.
        let due = kept.refresh_at.is_some_and(|at| at <= now);
        let remote = self.usable_provider(&kept.provider);
        // Whom an administrator shut out, no provider lets in again.
        let shut = matches!(found.account.effective_status(), Status::Disabled | Status::Rejected);
        let (Some(remote), true, false) = (remote, due, shut) else { return Ok(()) };
        let Some(token) = kept.refresh_token.clone() else { return Ok(()) };
        let _turn = remote.renewal_turn().await;
        let again = Again { remote: &remote, session, account: found.account.id, now };
        let renewed = async {
            let metadata = remote.metadata(&self.fetch, now).await?;
            if metadata.issuer != kept.issuer {
                // The id has gone to another provider: what the one issued is not for the other.
                return Err(Fault::new("issuer_mismatch", metadata.issuer.clone(), TELL_ADMIN));
            }
            let tokens = client::refresh(&self.fetch, &remote.config, &metadata, &token).await?;
            Ok((metadata, tokens))
        };
        let (metadata, tokens) = match renewed.await {
            Ok(renewed) => renewed,
            Err(fault) => return self.not_renewed(&again, kept, &fault).await,
        };
        // Kept before anything else is asked: the old refresh token may be worth nothing now, and
        // showing it again would be taken for theft.
        let life = tokens.life();
        let fresh = ProviderSession {
            access_token: tokens.access_token.clone(),
            refresh_token: tokens.refresh_token.clone().or_else(|| kept.refresh_token.clone()),
            refresh_at: Some(again.later()),
            ..kept.clone()
        };
        if !self.replace(session, &kept, fresh.clone()).await? {
            return Ok(());
        }
        match self.person_anew(&remote, &metadata, &kept, &tokens, now).await {
            Ok(person) => {
                let whole = ProviderSession {
                    id_token: tokens.id_token.or_else(|| fresh.id_token.clone()),
                    refresh_at: Some(now.plus(life)),
                    ..fresh.clone()
                };
                if !self.replace(session, &fresh, whole).await? {
                    return Ok(());
                }
                remote.note_success();
                self.take_person(&again, &kept, person).await
            }
            Err(fault) => self.not_renewed(&again, fresh, &fault).await,
        }
    }

    /// Replaces what a session keeps, unless it ended or somebody else replaced it meanwhile;
    /// whether it did. What is known of the session holds the old tokens, and is forgotten.
    async fn replace(
        &self,
        session: SessionId,
        had: &ProviderSession,
        new: ProviderSession,
    ) -> StoreResult<bool> {
        if self.store.provider_session(session).await?.as_ref() != Some(had) {
            return Ok(false);
        }
        let done = match self.store.set_provider_session(session, new).await {
            Ok(()) => true,
            // Signed out while its tokens were renewed.
            Err(StoreError::NotFound) => false,
            Err(error) => return Err(error),
        };
        self.cache.forget(&[Subject::Session(session)]);
        Ok(done)
    }

    /// Ends the session where the provider says no, and else asks again later.
    async fn not_renewed(
        &self,
        again: &Again<'_>,
        had: ProviderSession,
        fault: &Fault,
    ) -> StoreResult<()> {
        let id = &*again.remote.config.id;
        let (session, reason, detail) = (again.session, fault.reason, &fault.detail);
        if is_refusal(reason) {
            tracing::warn!(provider = id, %session, reason, detail, "the provider does not renew a session's tokens; the session ends");
            return self.end_refused(again, reason).await;
        }
        tracing::warn!(provider = id, %session, reason, detail, "a provider's tokens are not renewed; it is tried again in half a minute");
        again.remote.note_failure(fault, again.now);
        let later = ProviderSession { refresh_at: Some(again.later()), ..had.clone() };
        self.replace(session, &had, later).await?;
        Ok(())
    }

    /// Access ends, and says why.
    async fn end_refused(&self, again: &Again<'_>, reason: &str) -> StoreResult<()> {
        let (session, now) = (again.session, again.now);
        if self.store.delete_session(session).await? {
            self.revoke(&[Subject::Session(session)]);
            let detail = format!("reason=provider-refused word={reason}");
            let actor = by_provider(again.remote);
            self.audit_by(&actor, "session.revoked", session, "success", detail, now);
        }
        Ok(())
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
                if jose::subject(&claims)? != kept.sub {
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
        let has_id_token = claims.is_some();
        // The ID token need not come again (12.2); then UserInfo alone speaks.
        let (first, second): (Object, Option<Object>) = match (claims, said) {
            (Some(claims), said) => (claims, said),
            (None, Some(said)) => (said, None),
            (None, None) => return Ok(None),
        };
        let mut person =
            match person::read(&remote.config, &metadata.issuer, &first, second.as_ref()) {
                Ok(person) => same_person(kept, person)?,
                // A refreshed answer may say less; what is not said stays.
                Err(fault) if fault.reason.starts_with("claim_missing") => return Ok(None),
                Err(fault) => return Err(fault),
            };
        // Groups that the ID token alone told at the sign-in are not gone because none came now.
        let path = &remote.config.claims.groups;
        let is_told = [Some(&first), second.as_ref()]
            .into_iter()
            .flatten()
            .any(|said| jose::at(said, path).is_some());
        if !is_told && !has_id_token && id_token_told(kept, path) {
            person.groups = None;
        }
        Ok(Some(person))
    }

    /// The same checks as at a sign-in, with what the provider says now.
    async fn take_person(
        &self,
        again: &Again<'_>,
        kept: &ProviderSession,
        person: Option<Person>,
    ) -> StoreResult<()> {
        let link = self.store.provider_link(&kept.issuer, &kept.link_subject).await?;
        let Some((link, account)) = link.filter(|(_, account)| account.id == again.account) else {
            // Taken off the account since.
            return self.end_refused(again, "link_gone").await;
        };
        let Some(person) = person else { return Ok(()) };
        if !is_of_allowed_domain(&again.remote.config, &person) {
            return self.end_refused(again, "email_domain").await;
        }
        self.sync(link, account, &person, &by_provider(again.remote), again.now).await?;
        Ok(())
    }
}

/// One renewal.
struct Again<'a> {
    remote: &'a RemoteProvider,
    session: SessionId,
    account: AccountId,
    now: UnixMillis,
}

impl Again<'_> {
    /// When to ask again.
    fn later(&self) -> UnixMillis {
        let spread = self.session.0.as_u128() % (AGAIN.as_millis() / 2);
        self.now.plus(AGAIN + Duration::from_millis(u64::try_from(spread).unwrap_or_default()))
    }
}

/// What says no: to this grant, or about this person. Everything else (a provider that is down
/// or talks nonsense, clocks, keys that are not known yet, a client secret that is wrong) takes
/// nobody's access away.
fn is_refusal(reason: &str) -> bool {
    matches!(
        reason,
        "at_hash_mismatch"
            | "audience_mismatch"
            | "azp_mismatch"
            | "claim_missing_azp"
            | "claim_missing_sub"
            | "claim_sub"
            | "issuer_mismatch"
            | "refresh_sub_mismatch"
            | "token_alg"
            | "token_endpoint_invalid_grant"
            | "token_endpoint_invalid_scope"
            | "token_endpoint_refused"
            | "token_endpoint_unauthorized_client"
            | "token_endpoint_unsupported_grant_type"
            | "token_signature"
            | "token_typ"
            | "userinfo_sub_mismatch"
    )
}

/// Whether the ID token of the sign-in told the groups.
fn id_token_told(kept: &ProviderSession, path: &str) -> bool {
    let token = kept.id_token.as_ref().map(|token| token.expose_secret()).unwrap_or_default();
    jose::Unverified::read(token, id_token::LONGEST)
        .is_ok_and(|read| jose::at(read.unverified_claims(), path).is_some())
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
