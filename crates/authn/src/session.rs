//! Sessions: their tokens, their life, their end.

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::account::Account;
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::time::UnixMillis;

use crate::identity_cache::Subject;
use crate::ports::{ProviderSession, SessionKind, SessionRecord, StoreError, StoreResult};
use crate::{Actor, Authn, keyring};

/// A finished proof of identity, about to become a session.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// Who.
    pub account: Account,
    /// "Remember me".
    pub remember: bool,
    /// How (RFC 8176 words: `pwd`, `otp`, `hwk`, `fed`, …).
    pub amr: Vec<String>,
    /// Counts as multi-factor.
    pub mfa: bool,
    /// When the person proved it; `None`: now.
    pub auth_time: Option<UnixMillis>,
    /// From where.
    pub client_ip: IpAddr,
    /// The browser, for the list of sessions.
    pub user_agent: String,
}

/// A new session and the cookie value that proves it.
#[derive(Clone, Debug)]
pub struct StartedSession {
    /// The session.
    pub session: SessionRecord,
    /// `base64url(id ‖ tag)`, for [`crate::cookie::Cookies::set_session`].
    pub token: String,
}

impl Authn {
    /// Makes a browser session. `replaces`: the session the browser had, which ends.
    pub async fn start_session(
        self: &Arc<Self>,
        sign_in: SignIn,
        replaces: Option<SessionId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<StartedSession> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move { this.begin(sign_in, None, replaces, &actor, now).await }).await
    }

    /// Makes a browser session, with what is kept of a provider where it began there.
    pub(crate) async fn begin(
        &self,
        sign_in: SignIn,
        provider: Option<ProviderSession>,
        replaces: Option<SessionId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<StartedSession> {
        let (token, digest) = keyring::mint(&self.active.load().keyring.session)?;
        let rules = self.settings().auth.session.clone();
        let life = if sign_in.remember { rules.remember_me } else { rules.lifetime };
        let session = sign_in.into_record(SessionKind::Browser, now.plus(life), now);
        match provider {
            Some(provider) => {
                self.store.create_provider_session(session.clone(), digest, provider).await?;
            }
            None => self.store.create_session(session.clone(), Some(digest)).await?,
        }
        self.cache.something_new();
        if let Some(old) = replaces
            && self.store.delete_session(old).await?
        {
            self.revoke(&[Subject::Session(old)]);
        }
        self.signed_in(&session, actor, now);
        Ok(StartedSession { session, token })
    }

    /// Gives a session a new token (step-up, password change, role change); the old one is void.
    pub async fn renew_session(
        self: &Arc<Self>,
        session: SessionId,
        proof: Option<crate::ports::SessionProof>,
        now: UnixMillis,
    ) -> StoreResult<StartedSession> {
        let this = self.clone();
        self.on_service(async move {
            this.tick(now);
            let (token, digest) = keyring::mint(&this.active.load().keyring.session)?;
            this.store.rotate_session(session, digest, proof).await?;
            // The session itself goes on: what it has open may stay open.
            this.cache.forget(&[Subject::Session(session)]);
            let found = this.store.session(session).await?.ok_or(StoreError::NotFound)?;
            Ok(StartedSession { session: found.session, token })
        })
        .await
    }

    /// The record behind a session cookie's identity (for `rotate`, lists).
    pub async fn session_record(
        self: &Arc<Self>,
        session: SessionId,
    ) -> StoreResult<Option<SessionRecord>> {
        let this = self.clone();
        self.on_service(async move {
            Ok(this.store.session(session).await?.map(|found| this.with_last_use(found.session)))
        })
        .await
    }

    /// Sessions of an account (or all), alive at `now`, newest first.
    pub async fn list_sessions(
        self: &Arc<Self>,
        account: Option<AccountId>,
        now: UnixMillis,
    ) -> StoreResult<Vec<SessionRecord>> {
        let this = self.clone();
        self.on_service(async move {
            let auth = this.settings().auth.clone();
            let alive = |session: &SessionRecord| {
                let unused = match session.kind {
                    SessionKind::Browser => auth.session.idle_timeout,
                    SessionKind::Token => auth.refresh_lifetime,
                };
                session.expires_at > now && session.last_seen.plus(unused) > now
            };
            let sessions = this.store.sessions(account).await?;
            Ok(sessions.into_iter().map(|s| this.with_last_use(s)).filter(alive).collect())
        })
        .await
    }

    /// Ends one session; whether it was there. `owner`: only if it is theirs.
    /// `signed_out`: the person did it (audit `signout`), else `session.revoked`.
    pub async fn end_session(
        self: &Arc<Self>,
        session: SessionId,
        owner: Option<AccountId>,
        signed_out: bool,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<bool> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            if let Some(owner) = owner {
                let found = this.store.session(session).await?;
                if found.is_none_or(|found| found.session.account != owner) {
                    return Ok(false);
                }
            }
            let ended = this.store.delete_session(session).await?;
            this.revoke(&[Subject::Session(session)]);
            if ended {
                let event = if signed_out { "signout" } else { "session.revoked" };
                this.audit_by(&actor, event, session, "success", "", now);
            }
            Ok(ended)
        })
        .await
    }

    /// Ends all sessions (and with them all access and refresh tokens) of an account but `except`.
    pub async fn end_sessions_of(
        self: &Arc<Self>,
        account: AccountId,
        except: Option<SessionId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<usize> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let ended = this.end_all_of(account, except).await?;
            let detail = format!("sessions={ended}");
            this.audit_by(&actor, "session.revoked", account, "success", detail, now);
            Ok(ended)
        })
        .await
    }

    /// Ends sessions of an account in store, cache and live exchanges, without an event.
    pub(crate) async fn end_all_of(
        &self,
        account: AccountId,
        except: Option<SessionId>,
    ) -> StoreResult<usize> {
        let ended = self.store.delete_sessions(account, except).await?;
        let subjects: Vec<_> = ended.iter().copied().map(Subject::Session).collect();
        self.revoke(&subjects);
        Ok(ended.len())
    }

    pub(crate) fn signed_in(&self, session: &SessionRecord, actor: &Actor, now: UnixMillis) {
        self.tick(now);
        let actor = Actor { id: session.account.to_string(), ..actor.clone() };
        let detail = format!("method={} session={}", session.amr.join("+"), session.id);
        self.counters.sign_in(method(&session.amr), "success");
        self.audit_by(&actor, "signin.success", session.account, "success", detail, now);
    }

    fn with_last_use(&self, mut session: SessionRecord) -> SessionRecord {
        let noted = self.pending.sessions.newest(session.id).unwrap_or_default();
        session.last_seen = session.last_seen.max(noted);
        session
    }
}

impl SignIn {
    pub(crate) fn into_record(
        self,
        kind: SessionKind,
        expires_at: UnixMillis,
        now: UnixMillis,
    ) -> SessionRecord {
        let mut user_agent = self.user_agent;
        user_agent.retain(|c| !c.is_control());
        let end = (0..=256.min(user_agent.len())).rev().find(|at| user_agent.is_char_boundary(*at));
        user_agent.truncate(end.unwrap_or(0));
        SessionRecord {
            id: SessionId(uuid::Uuid::new_v4()),
            account: self.account.id,
            kind,
            created_at: now,
            auth_time: self.auth_time.unwrap_or(now).min(now),
            last_seen: now,
            expires_at,
            remember: self.remember,
            amr: self.amr,
            mfa: self.mfa,
            rotate: false,
            client_ip: self.client_ip.to_canonical().to_string(),
            user_agent,
        }
    }
}

/// The metric's label for a list of methods: a closed set.
fn method(amr: &[String]) -> &'static str {
    let has = |word: &str| amr.iter().any(|a| a == word);
    if has("fed") {
        "provider"
    } else if has("hwk") || has("swk") || has("pop") {
        "passkey"
    } else if has("pwd") {
        "password"
    } else {
        "other"
    }
}
