//! API keys: `<prefix>_` + 37 random base62 digits + 6 check digits keyed by `store_key`.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;

use vestibule_core::api_key::{KEY_DIGITS, KEY_RANDOM_DIGITS, RateLimit, Scopes};
use vestibule_core::id::{AccountId, KeyId};
use vestibule_core::identity::Identity;
use vestibule_core::time::UnixMillis;

use crate::identity_cache::Subject;
use crate::keyring::{self, sha256};
use crate::ports::{ApiKeyChange, ApiKeyRecord, StoreError, StoreResult};
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

/// Longer texts are no key.
pub(crate) const LONGEST: usize = 512;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

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
        let (this, actor) = (self.clone(), actor.clone());
        let bounds = self.bounds(maker);
        self.on_service(async move {
            this.tick(now);
            let name = key_name(&new.name)?;
            let mut expires_at = new.expires_in.map(|life| now.plus(life));
            let mut scopes = new.scopes.unwrap_or_else(Scopes::all);
            let mut rate_limit = new.rate_limit;
            if let Some(bounds) = &bounds {
                if scopes.is_all() {
                    scopes = bounds.scopes.clone();
                }
                expires_at = expires_at.or(bounds.expires_at);
                rate_limit = rate_limit.or(bounds.own_limit);
                bounds.hold(&scopes, expires_at, rate_limit)?;
            }
            let active = this.active.load_full();
            let text = new_text(&active.settings.api_keys.prefix, &active.keyring.check)?;
            let prefix = active.settings.api_keys.prefix.to_string();
            let record = ApiKeyRecord {
                id: KeyId(uuid::Uuid::new_v4()),
                owner,
                name,
                start: text.chars().take(prefix.len() + 5).collect(),
                prefix,
                created_at: now,
                expires_at,
                enabled: true,
                scopes,
                rate_limit,
                last_used_at: None,
            };
            this.store.create_api_key(record.clone(), sha256(text.as_bytes())).await?;
            this.load_prefixes().await?;
            this.cache.something_new();
            let named = format!("name={}", record.name);
            this.audit_by(&actor, "api_key.created", record.id, "success", &named, now);
            Ok((record, text))
        })
        .await
    }

    /// Keys of an account, or all; newest first.
    pub async fn list_keys(
        self: &Arc<Self>,
        owner: Option<AccountId>,
    ) -> StoreResult<Vec<ApiKeyRecord>> {
        let this = self.clone();
        self.on_service(async move {
            let keys = this.store.api_keys(owner).await?;
            Ok(keys.into_iter().map(|key| this.with_last_key_use(key)).collect())
        })
        .await
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
        let (this, actor) = (self.clone(), actor.clone());
        let bounds = self.bounds(maker);
        self.on_service(async move {
            this.tick(now);
            let name = change.name.as_deref().map(key_name).transpose()?;
            let key = this.key_of(id, owner).await?;
            let change = ApiKeyChange {
                name,
                enabled: change.enabled,
                expires_at: change.expires_in.map(|end| end.map(|life| now.plus(life))),
                scopes: change.scopes,
                rate_limit: change.rate_limit,
            };
            if let Some(bounds) = &bounds {
                // Judged as it will be; a key that stays as wide as it is may be renamed.
                let widens = change.scopes.is_some()
                    || change.expires_at.is_some()
                    || change.rate_limit.is_some()
                    || change.enabled == Some(true);
                if widens {
                    bounds.hold(
                        change.scopes.as_ref().unwrap_or(&key.scopes),
                        change.expires_at.unwrap_or(key.expires_at),
                        change.rate_limit.unwrap_or(key.rate_limit),
                    )?;
                }
            }
            let switched_off = change.enabled == Some(false) && key.enabled;
            let only_named = change.enabled.is_none()
                && change.expires_at.is_none()
                && change.scopes.is_none()
                && change.rate_limit.is_none();
            let changed = this.store.change_api_key(id, change).await?;
            if !only_named {
                this.revoke(&[Subject::Key(id)]);
            }
            if switched_off {
                this.audit_by(&actor, "api_key.revoked", id, "success", "reason=disabled", now);
            }
            Ok(this.with_last_key_use(changed))
        })
        .await
    }

    /// Deletes a key; `owner`: only if it is theirs.
    pub async fn revoke_key(
        self: &Arc<Self>,
        id: KeyId,
        owner: Option<AccountId>,
        actor: &Actor,
        now: UnixMillis,
    ) -> Result<(), KeyError> {
        let (this, actor) = (self.clone(), actor.clone());
        self.on_service(async move {
            this.tick(now);
            this.key_of(id, owner).await?;
            let deleted = this.store.delete_api_key(id).await?;
            this.revoke(&[Subject::Key(id)]);
            if !deleted {
                return Err(StoreError::NotFound.into());
            }
            this.audit_by(&actor, "api_key.revoked", id, "success", "reason=deleted", now);
            Ok(())
        })
        .await
    }

    async fn key_of(&self, id: KeyId, owner: Option<AccountId>) -> Result<ApiKeyRecord, KeyError> {
        let key = self.store.api_key(id).await?.ok_or(StoreError::NotFound)?;
        if owner.is_some_and(|owner| owner != key.owner) {
            return Err(StoreError::NotFound.into());
        }
        Ok(key)
    }

    fn with_last_key_use(&self, mut key: ApiKeyRecord) -> ApiKeyRecord {
        key.last_used_at = key.last_used_at.max(self.pending.keys.newest(key.id));
        key
    }

    /// What a maker that is a key itself can give.
    fn bounds(&self, maker: Option<&Identity>) -> Option<Bounds> {
        let maker = maker.filter(|identity| identity.key.is_some())?;
        let default = self.active.load().settings.api_keys.rate_limit;
        Some(Bounds {
            scopes: maker.scopes.clone(),
            expires_at: Some(maker.expires_at).filter(|end| end.0 != i64::MAX),
            own_limit: maker.rate_limit,
            default_limit: default,
        })
    }
}

/// What a key can give to another one.
struct Bounds {
    scopes: Scopes,
    expires_at: Option<UnixMillis>,
    own_limit: Option<RateLimit>,
    default_limit: Option<RateLimit>,
}

impl Bounds {
    fn hold(
        &self,
        scopes: &Scopes,
        expires_at: Option<UnixMillis>,
        rate_limit: Option<RateLimit>,
    ) -> Result<(), KeyError> {
        let ends = match (self.expires_at, expires_at) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(wished)) => wished <= own,
        };
        let own = self.own_limit.or(self.default_limit);
        let slow = match (own, rate_limit.or(self.default_limit)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(wished)) => {
                wished.requests <= own.requests && wished.window >= own.window
            }
        };
        if self.scopes.cover(scopes) && ends && slow { Ok(()) } else { Err(KeyError::Wider) }
    }
}

fn key_name(name: &str) -> Result<String, KeyError> {
    let name = name.trim();
    let length = name.chars().count();
    if !(1..=100).contains(&length) || name.chars().any(char::is_control) {
        return Err(KeyError::BadName);
    }
    Ok(name.to_owned())
}

/// A new key's text.
fn new_text(prefix: &str, check: &[hmac::Key]) -> StoreResult<String> {
    let no_key = || StoreError::Unavailable("there is no store key for check digits".into());
    let mut text = format!("{prefix}_");
    let start = text.len();
    while text.len() < start + KEY_RANDOM_DIGITS {
        for byte in keyring::random::<48>()? {
            // 248 is the largest multiple of 62 in a byte: every digit is equally likely.
            if byte < 248
                && text.len() < start + KEY_RANDOM_DIGITS
                && let Some(digit) = DIGITS.get(usize::from(byte % 62))
            {
                text.push(char::from(*digit));
            }
        }
    }
    let digits = check_digits(check.first().ok_or_else(no_key)?, &text);
    text.extend(digits.iter().map(|d| char::from(*d)));
    Ok(text)
}

/// Whether the text has the form of a key of ours and its check digits hold. One HMAC a
/// store key, no look-up.
pub(crate) fn has_check_digits(check: &[hmac::Key], text: &str) -> bool {
    let Some((_, digits)) = text.rsplit_once('_') else { return false };
    if digits.len() != KEY_DIGITS || !digits.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return false;
    }
    let border = text.len() - (KEY_DIGITS - KEY_RANDOM_DIGITS);
    let Some((body, given)) = text.split_at_checked(border) else { return false };
    check.iter().any(|key| check_digits(key, body).ct_eq(given.as_bytes()).into())
}

fn check_digits(key: &hmac::Key, body: &str) -> [u8; KEY_DIGITS - KEY_RANDOM_DIGITS] {
    let tag = hmac::sign(key, body.as_bytes());
    let mut number =
        tag.as_ref().iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
    let mut digits = [b'0'; KEY_DIGITS - KEY_RANDOM_DIGITS];
    for digit in &mut digits {
        let at = usize::try_from(number % 62).unwrap_or_default();
        *digit = DIGITS.get(at).copied().unwrap_or(b'0');
        number /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(seed: u8) -> Vec<hmac::Key> {
        vec![hmac::Key::new(hmac::HMAC_SHA256, &[seed; 32])]
    }

    #[test]
    fn seed_000_59_a_key_is_the_prefix_and_43_base62_digits() {
        let text = new_text("pen", &check(1)).unwrap();
        let digits = text.strip_prefix("pen_").unwrap();
        assert_eq!(digits.len(), 43);
        assert!(digits.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert!(has_check_digits(&check(1), &text));
        assert!(!has_check_digits(&check(2), &text));
        assert_ne!(text, new_text("pen", &check(1)).unwrap());
    }

    #[test]
    fn j4_every_truncation_extension_and_bit_flip_of_a_key_is_refused_by_its_check_digits() {
        let text = new_text("vst", &check(1)).unwrap();
        for at in 0..text.len() {
            assert!(!has_check_digits(&check(1), &text[..at]));
            for bit in 0..7 {
                let mut bent = text.clone().into_bytes();
                bent[at] ^= 1 << bit;
                assert!(!has_check_digits(&check(1), &String::from_utf8(bent).unwrap()));
            }
        }
        for more in ["0", "=", " ", "_"] {
            assert!(!has_check_digits(&check(1), &format!("{text}{more}")));
        }
        let other_prefix = text.replace("vst_", "sk_");
        assert!(!has_check_digits(&check(1), &other_prefix));
    }

    #[test]
    fn a_rotated_store_key_still_verifies_keys_made_under_the_old_one() {
        let text = new_text("vst", &check(1)).unwrap();
        let both: Vec<_> = check(2).into_iter().chain(check(1)).collect();
        assert!(has_check_digits(&both, &text));
    }
}
