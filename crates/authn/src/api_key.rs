//! API keys: `<prefix>_` + 37 random base62 digits + 6 check digits keyed by `store_key`.

use std::sync::Arc;
use std::time::Duration;

use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::id::{AccountId, KeyId};
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::ports::{ApiKeyRecord, StoreError, StoreResult};
use crate::{Actor, Authn};

/// A wished key.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// 1–100 characters.
    pub name: String,
    /// From now; `None`: no end.
    pub expires_in: Option<Duration>,
    /// `None`: the maker's own.
    pub scopes: Option<Scopes>,
    /// `None`: the maker's own.
    pub rate_limit: Option<RateLimit>,
}

/// A changed key; `None` leaves as is.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// 1–100 characters.
    pub name: Option<String>,
    /// On or off.
    pub enabled: Option<bool>,
    /// From now; `Some(None)`: no end.
    pub expires_in: Option<Option<Duration>>,
    /// Scopes.
    pub scopes: Option<Scopes>,
    /// Limit; `Some(None)`: the default one.
    pub rate_limit: Option<Option<RateLimit>>,
}

/// Why a key was not made or changed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KeyError {
    /// A name of 1–100 characters is needed.
    #[error("a key needs a name of 1 to 100 characters")]
    BadName,
    /// A key cannot give more than it has: 403 `FORBIDDEN`.
    #[error("a key can only make keys with scopes, limit and expiry within its own")]
    Wider,
    /// From the store; not found also where it is another's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Authn {
    /// Makes a key; its text is returned this once. `maker`: the identity that asks, whose
    /// own scopes, limit and expiry bound the new key where it is a key itself.
    pub async fn create_key(
        self: &Arc<Self>,
        owner: AccountId,
        new: NewKey,
        maker: Option<&Identity>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(ApiKeyRecord, String), KeyError> {
        let _ = (owner, new, maker, actor, now);
        todo!("authn helper")
    }

    /// Keys of an account, or all; newest first.
    pub async fn list_keys(
        self: &Arc<Self>,
        owner: Option<AccountId>,
    ) -> StoreResult<Vec<ApiKeyRecord>> {
        let _ = owner;
        todo!("authn helper")
    }

    /// Changes a key; `owner`: only if it is theirs.
    pub async fn change_key(
        self: &Arc<Self>,
        id: KeyId,
        owner: Option<AccountId>,
        change: KeyChange,
        maker: Option<&Identity>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<ApiKeyRecord, KeyError> {
        let _ = (id, owner, change, maker, actor, now);
        todo!("authn helper")
    }

    /// Deletes a key; `owner`: only if it is theirs.
    pub async fn revoke_key(
        self: &Arc<Self>,
        id: KeyId,
        owner: Option<AccountId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        let _ = (id, owner, actor, now);
        todo!("authn helper")
    }
}
