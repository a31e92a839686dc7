//! What is worked out once from settings, and what a start prepares in the store.

use std::sync::Arc;

use vestibule_core::account::{Role, Status};
use vestibule_core::api_key::Scopes;
use vestibule_core::credential::CredentialKind;
use vestibule_core::id::AccountId;
use vestibule_core::identity::Identity;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::{Admin, FirstUser, Mode};
use vestibule_core::time::UnixMillis;

use crate::cookie::Cookies;
use crate::identity_cache::Subject;
use crate::keyring::{Failed, Keyring};
use crate::login::LoginError;
use crate::ports::{AccountChange, CreateCondition, NewAccount, StoreError};
use crate::{Authn, StartError};

/// Settings with everything derived from them; replaced as a whole.
pub(crate) struct Active {
    pub(crate) settings: Arc<Settings>,
    pub(crate) cookies: Cookies,
    pub(crate) keyring: Keyring,
    /// `iss` and `aud` of what we sign.
    pub(crate) portal: String,
    pub(crate) anonymous: Arc<Identity>,
}

impl Active {
    pub(crate) fn new(settings: Arc<Settings>) -> Result<Self, Failed> {
        Ok(Self {
            cookies: Cookies::new(&settings),
            keyring: Keyring::new(&settings.secrets)?,
            portal: settings.server.portal.to_string(),
            anonymous: Arc::new(anonymous()),
            settings,
        })
    }
}

fn anonymous() -> Identity {
    Identity {
        generation: 0,
        account: None,
        username: Arc::from("anonymous"),
        email: None,
        name: Arc::from("Anonymous"),
        role: Role::Admin,
        status: Status::Active,
        groups: Arc::new([]),
        credential: CredentialKind::None,
        session: None,
        key: None,
        scopes: Scopes::all(),
        rate_limit: None,
        auth_time: None,
        amr: Arc::new([]),
        mfa: false,
        claims: Arc::new([]),
        provider_tokens: None,
        must_change_password: false,
        expires_at: UnixMillis(i64::MAX),
    }
}

/// The note that names the session secret last used.
const SECRET_NOTE: &str = "auth-secret";

impl Authn {
    /// Brings the store to what the settings ask for.
    pub(crate) async fn prepare(self: &Arc<Self>, now: UnixMillis) -> Result<(), StartError> {
        let settings = self.settings();
        let auth = &settings.auth;
        if !auth.is_off() && self.active.load().keyring.check.is_empty() {
            return Err(StartError::Refused(
                "there is no store key for the check digits of API keys; set `secrets.store_key`, or let `data_dir/store.key` be made".into(),
            ));
        }
        self.load_prefixes().await?;
        self.load_providers().await?;
        if !self.has_way_in(&settings) {
            return Err(StartError::Refused(crate::NO_WAY_IN.to_owned()));
        }
        self.notice_new_secret().await?;
        self.first_signing_keys(now).await?;
        match (&auth.admin, auth.mode, auth.first_user) {
            (Some(admin), Mode::Admin, _) => self.bring_admin_up_to_date(admin, now).await,
            (None, Mode::Admin, _) => Err(StartError::Refused(
                "mode admin needs its account; set `auth.admin` (AUTH_ADMIN_EMAIL and AUTH_ADMIN_PASSWORD)".into(),
            )),
            (Some(admin), Mode::Full, FirstUser::Account) => self.make_first_admin(admin, now).await,
            _ => Ok(()),
        }
    }

    /// Ends all sessions where none of the secrets in force is the one they were made under.
    async fn notice_new_secret(&self) -> Result<(), StartError> {
        let active = self.active.load_full();
        let auth = &active.settings.secrets;
        if auth.auth_secret.is_empty() && auth.jwt_secret.is_empty() {
            return Ok(());
        }
        let Some(first) = active.keyring.fingerprints.first() else {
            return Ok(());
        };
        let known = self.store.note(SECRET_NOTE).await?;
        if known.as_ref().is_some_and(|k| !active.keyring.fingerprints.contains(k)) {
            let ended = self.store.delete_all_sessions().await?;
            tracing::warn!(
                sessions = ended,
                "auth_secret is another one than before; all sessions are ended"
            );
        }
        if known.as_ref() != Some(first) {
            self.store.set_note(SECRET_NOTE, first).await?;
        }
        Ok(())
    }

    async fn bring_admin_up_to_date(
        self: &Arc<Self>,
        admin: &Admin,
        now: UnixMillis,
    ) -> Result<(), StartError> {
        let Some(account) = self.store.account_by_email(&admin.email).await? else {
            let made = self.new_admin(admin, now, false).await?;
            self.store.create_account(made, CreateCondition::Always).await?;
            return Ok(());
        };
        let stored = self.store.password_hash(account.id).await?;
        let same = match stored {
            Some(hash) => self
                .passwords
                .verify(admin.password.clone(), Some(hash))
                .await
                .map_err(refused)?
                .is_right(),
            None => false,
        };
        let mut change = AccountChange::default();
        if !same {
            let hash = self.passwords.hash(admin.password.clone()).await.map_err(refused)?;
            change.password = Some((Some(hash), false));
        }
        if account.role != Role::Admin || account.status != Status::Active {
            change.role = Some(Role::Admin);
            change.status = Some(Status::Active);
        }
        if !account.email_verified {
            change.email = Some((Some(admin.email.to_string()), true));
        }
        self.store.change_account(account.id, change).await?;
        if !same {
            self.store.delete_sessions(account.id, None).await?;
            self.revoke(&[Subject::Account(account.id)]);
        }
        Ok(())
    }

    async fn make_first_admin(
        self: &Arc<Self>,
        admin: &Admin,
        now: UnixMillis,
    ) -> Result<(), StartError> {
        if self.store.count_accounts().await? > 0 {
            return Ok(());
        }
        let made = self.new_admin(admin, now, admin.is_documented_default).await?;
        match self.store.create_account(made, CreateCondition::NoAccounts).await {
            // Another process was first.
            Ok(_) | Err(StoreError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn new_admin(
        &self,
        admin: &Admin,
        now: UnixMillis,
        must_change_password: bool,
    ) -> Result<NewAccount, StartError> {
        let hash = self.passwords.hash(admin.password.clone()).await.map_err(refused)?;
        let local = admin.email.split('@').next().unwrap_or_default();
        Ok(NewAccount {
            id: AccountId(uuid::Uuid::new_v4()),
            username: vestibule_core::account::username_from(local),
            email: Some(admin.email.to_string()),
            email_verified: true,
            name: String::new(),
            role: Role::Admin,
            status: Status::Active,
            groups: Vec::new(),
            password_hash: Some(hash),
            must_change_password,
            created_at: now,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn refused(error: LoginError) -> StartError {
    StartError::Refused(format!("the administrator's password cannot be hashed: {error}"))
}
