//! Making and changing accounts: the use cases that portal, API and command line share.
//! Every one of them writes its audit event and puts the change in force at once.

use std::sync::Arc;

use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;
use vestibule_core::secret::Secret;
use vestibule_core::time::UnixMillis;

use crate::login::{LoginError, PasswordRefused};
use crate::ports::StoreError;
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
        let _ = (add, actor, now);
        todo!("authn helper")
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
        let _ = (email, password, name, actor, now);
        todo!("authn helper")
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
        let _ = (email, password, name, actor, now);
        todo!("authn helper")
    }

    /// Finds by id, e-mail or user name.
    pub async fn find_account(self: &Arc<Self>, text: &str) -> Result<Option<Account>, StoreError> {
        let _ = text;
        todo!("authn helper")
    }

    /// Changes the status; anything but active ends nothing but takes effect at the next request.
    pub async fn set_status(
        self: &Arc<Self>,
        id: AccountId,
        status: Status,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let _ = (id, status, actor, now);
        todo!("authn helper")
    }

    /// Changes the role; the account's browser sessions get new tokens at their next visit.
    pub async fn set_role(
        self: &Arc<Self>,
        id: AccountId,
        role: Role,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let _ = (id, role, actor, now);
        todo!("authn helper")
    }

    /// Replaces the groups.
    pub async fn set_groups(
        self: &Arc<Self>,
        id: AccountId,
        groups: Vec<Group>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<Account, AccountError> {
        let _ = (id, groups, actor, now);
        todo!("authn helper")
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
        let _ = (id, name, username, actor, now);
        todo!("authn helper")
    }

    /// Sets somebody's password and ends their sessions (administrator, command line).
    pub async fn set_password(
        self: &Arc<Self>,
        id: AccountId,
        password: Secret,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), AccountError> {
        let _ = (id, password, actor, now);
        todo!("authn helper")
    }

    /// Deletes an account with its sessions and keys.
    pub async fn delete_account(
        self: &Arc<Self>,
        id: AccountId,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), AccountError> {
        let _ = (id, actor, now);
        todo!("authn helper")
    }
}
