//! Sign-in by password: hashing on a capped pool, limits, constant work for unknown accounts.

use std::net::IpAddr;
use std::sync::Arc;

use vestibule_core::account::Account;
use vestibule_core::id::AccountId;
use vestibule_core::secret::Secret;
use vestibule_core::time::UnixMillis;

use crate::rate_limit::Limited;
use crate::{Actor, Authn};

/// A try to sign in with a password.
#[derive(Clone, Debug)]
pub struct PasswordAttempt {
    /// As typed.
    pub email: String,
    /// As typed; refused before hashing where over `max_length` or 1 KiB.
    pub password: Secret,
    /// From where.
    pub client: IpAddr,
    /// Value of the device cookie, where there is one.
    pub device: Option<String>,
}

/// Why a sign-in was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoginError {
    /// Too many sign-ins are being checked: 503 with `Retry-After`.
    #[error("too many sign-ins at once")]
    Busy(Limited),
    /// The password was right, the e-mail is not verified and must be.
    #[error("e-mail not verified")]
    EmailNotVerified,
    /// Wrong password, unknown account, shut out by mode admin: one answer for all.
    #[error("invalid email or password")]
    Invalid,
    /// Over a limit.
    #[error("too many attempts")]
    Limited(Limited),
    /// Password sign-in is off.
    #[error("password sign-in is off")]
    PasswordOff,
    /// The store cannot be asked.
    #[error("the store is unavailable")]
    Unavailable,
}

/// Why a new password is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordRefused {
    /// Too short or too long; the text names both bounds.
    #[error("{0}")]
    Length(String),
    /// Common, guessable, or missing a required kind of character; the text says why.
    #[error("{0}")]
    Weak(String),
}

/// Why a password was not changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PasswordChangeError {
    /// The current password was wrong (or a limit, or a busy pool).
    #[error(transparent)]
    Current(#[from] LoginError),
    /// The new one is refused.
    #[error(transparent)]
    Refused(#[from] PasswordRefused),
}

impl Authn {
    /// Checks e-mail and password. Writes `signin.failure` on failure; `signin.success` is
    /// written where the session is made.
    pub async fn check_password(
        self: &Arc<Self>,
        attempt: PasswordAttempt,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, LoginError> {
        let _ = (attempt, actor, now);
        todo!("authn helper")
    }

    /// Remembers the browser for [`PasswordAttempt::device`]; the value for the device cookie.
    pub async fn remember_device(
        self: &Arc<Self>,
        account: AccountId,
        device: Option<&str>,
        now: UnixMillis,
    ) -> Option<String> {
        let _ = (account, device, now);
        todo!("authn helper")
    }

    /// Whether the text may become a password of an account with this e-mail.
    pub fn accept_password(
        &self,
        password: &Secret,
        email: Option<&str>,
    ) -> Result<(), PasswordRefused> {
        let _ = (password, email);
        todo!("authn helper")
    }

    /// Hashes on the capped pool.
    pub async fn hash_password(self: &Arc<Self>, password: Secret) -> Result<String, LoginError> {
        let _ = password;
        todo!("authn helper")
    }

    /// Changes one's own password: checks the current one, ends all other sessions. The
    /// caller renews its own session afterwards.
    pub async fn change_password(
        self: &Arc<Self>,
        account: AccountId,
        current: Secret,
        new: Secret,
        keep: Option<vestibule_core::id::SessionId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), PasswordChangeError> {
        let _ = (account, current, new, keep, actor, now);
        todo!("authn helper")
    }
}
