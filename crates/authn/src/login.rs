//! Sign-in by password: hashing on a capped pool, limits, constant work for unknown accounts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use vestibule_core::account::{Account, canonical_email};
use vestibule_core::api_key::RateLimit;
use vestibule_core::id::AccountId;
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::{EmailVerification, Mode};
use vestibule_core::time::UnixMillis;

use crate::identity_cache as cache;
use crate::keyring::{self, sha256};
use crate::password::{self, Checked};
use crate::ports::{AccountChange, StoreError, StoreResult};
use crate::rate_limit::{Limited, Subject, network};
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

/// Tries for one e-mail over all clients; beyond them only known browsers go on.
const PER_EMAIL: RateLimit = RateLimit { requests: 100, window: Duration::from_secs(900) };
/// Wrong passwords for one e-mail from one client.
const PER_EMAIL_AND_CLIENT: RateLimit =
    RateLimit { requests: 10, window: Duration::from_secs(900) };

impl Authn {
    /// Checks e-mail and password. Writes `signin.failure` on failure; `signin.success` is
    /// written where the session is made.
    pub async fn check_password(
        self: &Arc<Self>,
        attempt: PasswordAttempt,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, LoginError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let client = attempt.client;
            let email = attempt.email.clone();
            let result = this.try_password(attempt, now).await;
            let reason = match &result {
                Ok(_) => return result,
                Err(LoginError::Busy(_)) => "busy",
                Err(LoginError::EmailNotVerified) => "email-not-verified",
                Err(LoginError::Invalid) => "invalid",
                Err(LoginError::Limited(limited)) => limited.scope,
                Err(LoginError::PasswordOff) => "password-off",
                Err(LoginError::Unavailable) => "unavailable",
            };
            this.failed(&email, client, reason, &actor, now);
            result
        })
        .await
    }

    async fn try_password(
        self: &Arc<Self>,
        attempt: PasswordAttempt,
        now: UnixMillis,
    ) -> Result<Account, LoginError> {
        let settings = self.settings();
        let auth = &settings.auth;
        if auth.is_off() || (!auth.password.enabled && auth.mode != Mode::Admin) {
            return Err(LoginError::PasswordOff);
        }
        let email = canonical_email(&attempt.email);
        // Every spelling of an address counts on one counter, and so does what is none.
        let counted = email.clone().unwrap_or_else(|| attempt.email.trim().to_lowercase());
        let hashed = sha256(counted.as_bytes());
        let by_client = Subject::EmailAndClient(hashed, network(attempt.client));
        if auth.rate_limit.is_some() {
            self.count_try(hashed, &by_client, email.as_deref(), &attempt, now).await?;
        }
        let typed = attempt.password.expose_secret();
        if typed.len() > password::LONGEST_BYTES || typed.chars().count() > auth.password.max_length
        {
            return Err(LoginError::Invalid);
        }
        let (account, stored) = match self.account_to_check(email.as_deref()).await {
            Ok(found) => found,
            Err(error) => {
                self.limits.give_back(&by_client);
                return Err(error.into());
            }
        };
        let checked = match self.passwords.verify(attempt.password.clone(), stored).await {
            Ok(checked) => checked,
            Err(error) => {
                self.limits.give_back(&by_client);
                return Err(error);
            }
        };
        let (Some(account), Checked::Right { outdated }) = (account, checked) else {
            return Err(LoginError::Invalid);
        };
        self.limits.forget(&by_client);
        if outdated {
            self.upgrade_hash(&account, attempt.password).await;
        }
        if !account.email_verified && is_verification_required(&settings) {
            return Err(LoginError::EmailNotVerified);
        }
        Ok(account)
    }

    /// Counts before anything is hashed; a right password gives the second count back.
    async fn count_try(
        &self,
        email_hash: [u8; 32],
        by_client: &Subject,
        email: Option<&str>,
        attempt: &PasswordAttempt,
        now: UnixMillis,
    ) -> Result<(), LoginError> {
        let limited = |limited: Limited| {
            self.counters.rate_limited(limited.scope);
            LoginError::Limited(limited)
        };
        self.limits.hit("auth-password", *by_client, PER_EMAIL_AND_CLIENT, now).map_err(limited)?;
        let over = self.limits.hit("auth-email", Subject::Email(email_hash), PER_EMAIL, now);
        let Err(over) = over else { return Ok(()) };
        let device = attempt
            .device
            .as_deref()
            .and_then(|value| keyring::open(&self.active.load().keyring.device, value.as_bytes()));
        if let (Some(device), Some(email)) = (device, email)
            && let Some(account) =
                self.store.account_by_email(email).await.map_err(LoginError::from)?
            && self.store.is_known_device(account.id, &device).await.map_err(LoginError::from)?
        {
            return Ok(());
        }
        Err(limited(over))
    }

    /// The account that may sign in with the e-mail, and its hash. Asks the store the same
    /// questions for an unknown address as for a known one.
    async fn account_to_check(
        &self,
        email: Option<&str>,
    ) -> StoreResult<(Option<Account>, Option<String>)> {
        let found = self.store.account_by_email(email.unwrap_or("nobody@invalid")).await?;
        let account = found.filter(|account| email.is_some() && !self.is_shut_out(account));
        let id = account.as_ref().map_or_else(|| AccountId(uuid::Uuid::new_v4()), |a| a.id);
        let stored = self.store.password_hash(id).await?;
        let stored = stored.filter(|_| account.is_some());
        Ok((account, stored))
    }

    async fn upgrade_hash(&self, account: &Account, password: Secret) {
        let Ok(hash) = self.passwords.hash(password).await else { return };
        let change = AccountChange {
            password: Some((Some(hash), account.must_change_password)),
            ..AccountChange::default()
        };
        if let Err(error) = self.store.change_account(account.id, change).await {
            tracing::warn!(%error, "an old password hash could not be replaced");
        }
    }

    fn failed(
        &self,
        email: &str,
        client: IpAddr,
        reason: &'static str,
        actor: &Actor,
        now: UnixMillis,
    ) {
        self.counters.sign_in("password", "failure");
        // One stable line for fail2ban and CrowdSec; it holds nothing that a client wrote.
        tracing::warn!(
            target: "auth",
            client_ip = %client,
            method = "password",
            reason,
            request_id = %actor.request_id,
            "sign-in failed client_ip={client} method=password reason={reason}"
        );
        let subject: String = email.chars().filter(|c| !c.is_control()).take(254).collect();
        let actor = Actor { client_ip: actor.client_ip.or(Some(client)), ..actor.clone() };
        let detail = format!("method=password reason={reason}");
        self.audit_by(&actor, "signin.failure", subject, "failure", detail, now);
    }

    /// Remembers the browser for [`PasswordAttempt::device`]; the value for the device cookie.
    pub async fn remember_device(
        self: &Arc<Self>,
        account: AccountId,
        device: Option<&str>,
        now: UnixMillis,
    ) -> Option<String> {
        let this = self.clone();
        let device = device.map(str::to_owned);
        let remembered: StoreResult<String> = self
            .on_service(async move {
                let active = this.active.load_full();
                let keys = &active.keyring.device;
                let had = device.and_then(|value| {
                    let digest = keyring::open(keys, value.as_bytes())?;
                    Some((value, digest))
                });
                let (value, digest) = match had {
                    Some(had) => had,
                    None => keyring::mint(keys)?,
                };
                this.store.add_known_device(account, digest, now).await?;
                Ok(value)
            })
            .await;
        remembered
            .inspect_err(|error| tracing::warn!(%error, "a browser could not be remembered"))
            .ok()
    }

    /// Whether the text may become a password of an account with this e-mail.
    pub fn accept_password(
        &self,
        password: &Secret,
        email: Option<&str>,
    ) -> Result<(), PasswordRefused> {
        password::accept(&self.active.load().settings, password.expose_secret(), email)
    }

    /// Hashes on the capped pool.
    pub async fn hash_password(self: &Arc<Self>, password: Secret) -> Result<String, LoginError> {
        self.passwords.hash(password).await
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
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let settings = this.settings();
            let found = this.store.account(account).await?.ok_or(StoreError::NotFound)?;
            let client = network(actor.client_ip.unwrap_or(IpAddr::from([0, 0, 0, 0])));
            let name = found.email.as_deref().unwrap_or(&found.username);
            let wrong = Subject::EmailAndClient(sha256(name.as_bytes()), client);
            if settings.auth.rate_limit.is_some() {
                this.limits
                    .hit("auth-password", wrong, PER_EMAIL_AND_CLIENT, now)
                    .inspect_err(|l| this.counters.rate_limited(l.scope))
                    .map_err(LoginError::Limited)?;
            }
            let stored = this.store.password_hash(account).await?;
            if current.expose_secret().len() > password::LONGEST_BYTES {
                return Err(LoginError::Invalid.into());
            }
            if !this.passwords.verify(current, stored).await?.is_right() {
                this.audit_by(
                    &actor,
                    "password.changed",
                    account,
                    "failure",
                    "reason=invalid",
                    now,
                );
                return Err(LoginError::Invalid.into());
            }
            this.limits.forget(&wrong);
            this.accept_password(&new, found.email.as_deref())?;
            let hash = this.passwords.hash(new).await?;
            let change =
                AccountChange { password: Some((Some(hash), false)), ..AccountChange::default() };
            this.store.change_account(account, change).await?;
            // The session that stays must lose `must_change_password` at once.
            this.cache.forget(&[cache::Subject::Account(account)]);
            this.end_all_of(account, keep).await?;
            this.audit_by(&actor, "password.changed", account, "success", "", now);
            Ok(())
        })
        .await
    }
}

/// Whether a sign-in by password needs a verified e-mail.
pub(crate) fn is_verification_required(settings: &Settings) -> bool {
    match settings.auth.email_verification {
        EmailVerification::Auto => settings.smtp.is_some(),
        EmailVerification::Off => false,
        EmailVerification::Required => true,
    }
}

impl From<StoreError> for LoginError {
    fn from(error: StoreError) -> Self {
        tracing::warn!(%error, "a sign-in could not ask the store");
        Self::Unavailable
    }
}

impl From<StoreError> for PasswordChangeError {
    fn from(error: StoreError) -> Self {
        Self::Current(error.into())
    }
}
