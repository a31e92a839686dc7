//! Sessions: their tokens, their life, their end.

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::account::Account;
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::time::UnixMillis;

use crate::ports::{SessionRecord, StoreResult};
use crate::{Actor, Authn};

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
        let _ = (sign_in, replaces, actor, now);
        todo!("authn helper")
    }

    /// Gives a session a new token (step-up, password change, role change); the old one is void.
    pub async fn renew_session(
        self: &Arc<Self>,
        session: SessionId,
        proof: Option<crate::ports::SessionProof>,
        now: UnixMillis,
    ) -> StoreResult<StartedSession> {
        let _ = (session, proof, now);
        todo!("authn helper")
    }

    /// The record behind a session cookie's identity (for `rotate`, lists).
    pub async fn session_record(
        self: &Arc<Self>,
        session: SessionId,
    ) -> StoreResult<Option<SessionRecord>> {
        let _ = session;
        todo!("authn helper")
    }

    /// Sessions of an account (or all), alive at `now`, newest first.
    pub async fn list_sessions(
        self: &Arc<Self>,
        account: Option<AccountId>,
        now: UnixMillis,
    ) -> StoreResult<Vec<SessionRecord>> {
        let _ = (account, now);
        todo!("authn helper")
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
        let _ = (session, owner, signed_out, actor, now);
        todo!("authn helper")
    }

    /// Ends all sessions (and with them all access and refresh tokens) of an account but `except`.
    pub async fn end_sessions_of(
        self: &Arc<Self>,
        account: AccountId,
        except: Option<SessionId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> StoreResult<usize> {
        let _ = (account, except, actor, now);
        todo!("authn helper")
    }
}
