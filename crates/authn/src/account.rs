//! Making and changing accounts: the use cases that portal, API and command line share.
//! Every one of them writes its audit event and puts the change in force at once.

use std::sync::Arc;

use vestibule_core::account::{Account, Role, Status, canonical_email, is_username, username_from};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{FirstUser, Mode};
use vestibule_core::time::UnixMillis;

use crate::identity_cache::Subject;
use crate::login::{LoginError, PasswordRefused};
use crate::ports::{AccountChange, CreateCondition, NewAccount, StoreError};
use crate::{Actor, Authn};

/// Why an account was not made or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccountError {
    /// An administrator is always active: 409 `ADMIN_ALWAYS_ACTIVE`.
    #[error("an administrator is always active; change the role first")]
    AdminAlwaysActive,
    /// Not an e-mail address.
    #[error("`{0}` is no e-mail address")]
    BadEmail(String),
    /// Not a user name.
    #[error("`{0}` is no user name: use 1 to 64 of a-z 0-9 . _ @ + -")]
    BadUsername(String),
    /// The password cannot be hashed at the moment.
    #[error(transparent)]
    Hashing(#[from] LoginError),
    /// The password is refused.
    #[error(transparent)]
    Password(#[from] PasswordRefused),
    /// Sign-up is off.
    #[error("sign-up is off")]
    SignupDisabled,
    /// From the store: taken e-mail, not found, last administrator, unavailable.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An account that an administrator or the command line makes.
#[derive(Clone, Debug)]
pub struct AddAccount {
    /// As typed.
    pub email: String,
    /// Display name.
    pub name: String,
    /// Else from the e-mail's local part.
    pub username: Option<String>,
    /// Role.
    pub role: Role,
    /// Status.
    pub status: Status,
    /// Groups.
    pub groups: Vec<Group>,
    /// `None`: signs in by other means.
    pub password: Option<Secret>,
}

impl Authn {
    /// Makes an account for somebody; the e-mail counts as verified.
    pub async fn add_account(
        self: &Arc<Self>,
        add: AddAccount,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            if add.role == Role::Admin && add.status != Status::Active {
                return Err(AccountError::AdminAlwaysActive);
            }
            let email = read_email(&add.email)?;
            let username = match add.username {
                Some(name) => read_username(&name)?,
                None => username_from(local_part(&email)),
            };
            let password_hash = match add.password {
                Some(password) => Some(this.new_password(password, Some(&email)).await?),
                None => None,
            };
            let new = NewAccount {
                id: AccountId(uuid::Uuid::new_v4()),
                username,
                email: Some(email),
                email_verified: true,
                name: display_name(&add.name),
                role: add.role,
                status: add.status,
                groups: add.groups,
                password_hash,
                must_change_password: false,
                created_at: now,
            };
            let account = this.store.create_account(new, CreateCondition::Always).await?;
            this.cache.something_new();
            this.audit_by(&actor, "signup", account.id, "success", "method=added", now);
            Ok(account)
        })
        .await
    }

    /// Makes an account for oneself (`POST /signup`): approval, `first_user = "admin"`.
    pub async fn sign_up(
        self: &Arc<Self>,
        email: &str,
        password: Secret,
        name: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        let (email, name) = (email.to_owned(), display_name(name));
        self.on_service(async move {
            this.tick(now);
            let settings = this.settings();
            let auth = &settings.auth;
            let open = auth.mode == Mode::Full
                && !auth.is_off()
                && auth.password.enabled
                && auth.password.signup;
            if !open {
                return Err(AccountError::SignupDisabled);
            }
            let email = read_email(&email)?;
            let password_hash = Some(this.new_password(password, Some(&email)).await?);
            let new = NewAccount {
                id: AccountId(uuid::Uuid::new_v4()),
                username: username_from(local_part(&email)),
                email: Some(email),
                email_verified: false,
                name,
                role: Role::User,
                status: if auth.approval { Status::Pending } else { Status::Active },
                groups: Vec::new(),
                password_hash,
                must_change_password: false,
                created_at: now,
            };
            // A named administrator (`bootstrap_admin`) is not outrun by whoever comes first.
            let condition = match auth.first_user {
                FirstUser::Admin if auth.bootstrap_admin.is_none() => {
                    CreateCondition::FirstBecomesAdmin
                }
                _ => CreateCondition::Always,
            };
            let account = this.store.create_account(new, condition).await?;
            this.cache.something_new();
            this.audit_by(&actor, "signup", account.id, "success", "method=password", now);
            Ok(account)
        })
        .await
    }

    /// Makes the first administrator on `/setup`; [`StoreError::Conflict`] once a user exists.
    pub async fn set_up_first_admin(
        self: &Arc<Self>,
        email: &str,
        password: Secret,
        name: &str,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        let (email, name) = (email.to_owned(), display_name(name));
        self.on_service(async move {
            this.tick(now);
            if this.store.count_accounts().await? > 0 {
                return Err(StoreError::Conflict("setup").into());
            }
            let email = read_email(&email)?;
            let password_hash = Some(this.new_password(password, Some(&email)).await?);
            let new = NewAccount {
                id: AccountId(uuid::Uuid::new_v4()),
                username: username_from(local_part(&email)),
                email: Some(email),
                email_verified: true,
                name,
                role: Role::Admin,
                status: Status::Active,
                groups: Vec::new(),
                password_hash,
                must_change_password: false,
                created_at: now,
            };
            let account = this.store.create_account(new, CreateCondition::NoAccounts).await?;
            this.setup.close();
            this.cache.something_new();
            this.audit_by(&actor, "signup", account.id, "success", "method=setup", now);
            Ok(account)
        })
        .await
    }

    /// Finds by id, e-mail or user name.
    pub async fn find_account(self: &Arc<Self>, text: &str) -> Result<Option<Account>, StoreError> {
        let this = self.clone();
        let text = text.trim().to_owned();
        self.on_service(async move {
            if let Ok(id) = text.parse::<AccountId>()
                && let Some(account) = this.store.account(id).await?
            {
                return Ok(Some(account));
            }
            if let Some(email) = canonical_email(&text)
                && let Some(account) = this.store.account_by_email(&email).await?
            {
                return Ok(Some(account));
            }
            this.store.account_by_username(&text.to_lowercase()).await
        })
        .await
    }

    /// Changes the status; anything but active ends nothing but takes effect at the next request.
    pub async fn set_status(
        self: &Arc<Self>,
        id: AccountId,
        status: Status,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let account = this.store.account(id).await?.ok_or(StoreError::NotFound)?;
            if account.role == Role::Admin && status != Status::Active {
                return Err(AccountError::AdminAlwaysActive);
            }
            let change = AccountChange { status: Some(status), ..AccountChange::default() };
            let detail = format!("status={status}");
            this.change(id, change, "user.status", detail, &actor, now).await
        })
        .await
    }

    /// Changes the role; the account's browser sessions get new tokens at their next visit.
    pub async fn set_role(
        self: &Arc<Self>,
        id: AccountId,
        role: Role,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let status = (role == Role::Admin).then_some(Status::Active);
            let change = AccountChange { role: Some(role), status, ..AccountChange::default() };
            let before = this.store.account(id).await?.ok_or(StoreError::NotFound)?;
            let account =
                this.change(id, change, "user.role", format!("role={role}"), &actor, now).await?;
            if before.role != role {
                this.store.mark_sessions_for_rotation(id).await?;
                this.revoke(&[Subject::Account(id)]);
            }
            Ok(account)
        })
        .await
    }

    /// Replaces the groups.
    pub async fn set_groups(
        self: &Arc<Self>,
        id: AccountId,
        groups: Vec<Group>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            let mut groups = groups;
            groups.sort();
            groups.dedup();
            let names: Vec<_> = groups.iter().map(Group::as_str).collect();
            let detail = format!("groups={}", names.join(","));
            let change = AccountChange { groups: Some(groups), ..AccountChange::default() };
            this.change(id, change, "user.groups", detail, &actor, now).await
        })
        .await
    }

    /// Changes display name (anybody's own) or user name (administrators).
    pub async fn set_names(
        self: &Arc<Self>,
        id: AccountId,
        name: Option<String>,
        username: Option<String>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let _ = actor;
        let this = self.clone();
        self.on_service(async move {
            this.tick(now);
            let change = AccountChange {
                name: name.as_deref().map(display_name),
                username: username.as_deref().map(read_username).transpose()?,
                ..AccountChange::default()
            };
            let account = this.store.change_account(id, change).await?;
            // Nothing is taken away: what is open stays open, the next request shows the name.
            this.cache.forget(&[Subject::Account(id)]);
            Ok(account)
        })
        .await
    }

    /// Sets somebody's password and ends their sessions (administrator, command line).
    pub async fn set_password(
        self: &Arc<Self>,
        id: AccountId,
        password: Secret,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            let account = this.store.account(id).await?.ok_or(StoreError::NotFound)?;
            let hash = this.new_password(password, account.email.as_deref()).await?;
            let change =
                AccountChange { password: Some((Some(hash), false)), ..AccountChange::default() };
            this.store.change_account(id, change).await?;
            this.store.delete_sessions(id, None).await?;
            this.revoke(&[Subject::Account(id)]);
            this.audit_by(&actor, "password.reset", id, "success", "", now);
            Ok(())
        })
        .await
    }

    /// Deletes an account with its sessions and keys.
    pub async fn delete_account(
        self: &Arc<Self>,
        id: AccountId,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), AccountError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            this.store.delete_account(id).await?;
            this.revoke(&[Subject::Account(id)]);
            this.audit_by(&actor, "user.deleted", id, "success", "", now);
            Ok(())
        })
        .await
    }

    /// Changes an account, puts it in force, and writes the event: in this order, so that
    /// who made the change is answered when it holds.
    async fn change(
        &self,
        id: AccountId,
        change: AccountChange,
        event: &'static str,
        detail: String,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        self.tick(now);
        let account = self.store.change_account(id, change).await?;
        self.revoke(&[Subject::Account(id)]);
        self.audit_by(actor, event, id, "success", detail, now);
        Ok(account)
    }

    async fn new_password(
        &self,
        password: Secret,
        email: Option<&str>,
    ) -> Result<String, AccountError> {
        self.accept_password(&password, email)?;
        Ok(self.passwords.hash(password).await?)
    }
}

fn read_email(text: &str) -> Result<String, AccountError> {
    canonical_email(text).ok_or_else(|| AccountError::BadEmail(text.chars().take(100).collect()))
}

fn read_username(text: &str) -> Result<String, AccountError> {
    let name = text.trim().to_lowercase();
    if is_username(&name) {
        Ok(name)
    } else {
        Err(AccountError::BadUsername(text.chars().take(100).collect()))
    }
}

fn local_part(email: &str) -> &str {
    email.split('@').next().unwrap_or_default()
}

pub(crate) fn display_name(text: &str) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(200).collect()
}
