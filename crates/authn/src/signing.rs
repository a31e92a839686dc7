//! Our Ed25519 keys: made, published before their use, and kept for a while after it.
//!
//! When a key begins and ends to sign follows from the ages of the keys alone, so that every
//! process with the same store agrees without talking.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};

use vestibule_core::time::UnixMillis;

use crate::Authn;
use crate::keyring::sha256;
use crate::ports::{SigningKeyRecord, StoreError, StoreResult};

/// A new key is published this long before it signs.
const PUBLISHED_BEFORE: Duration = Duration::from_secs(600);
/// An old key verifies this long after the last thing it signed has ended.
const KEPT_AFTER: Duration = Duration::from_secs(600);
/// The age at which a key gets a successor.
const ROTATE_AFTER: Duration = Duration::from_secs(30 * 86_400);

/// What a key signs. One key never serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    AccessToken,
    Assertion,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::Assertion => "assertion",
        }
    }
}

/// A loaded key.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    pub(crate) encoding: EncodingKey,
    pub(crate) decoding: DecodingKey,
    x: String,
    created_at: UnixMillis,
    retired_at: Option<UnixMillis>,
}

/// All loaded keys, oldest first.
#[derive(Default)]
pub(crate) struct SigningKeys {
    access_token: Vec<SigningKey>,
    assertion: Vec<SigningKey>,
}

impl SigningKeys {
    fn of(&self, purpose: Purpose) -> &[SigningKey] {
        match purpose {
            Purpose::AccessToken => &self.access_token,
            Purpose::Assertion => &self.assertion,
        }
    }

    /// The key that signs now: the newest that was published long enough, else the oldest.
    pub(crate) fn signer(&self, purpose: Purpose, now: UnixMillis) -> Option<&SigningKey> {
        let keys = self.of(purpose);
        let alive = |k: &&SigningKey| k.retired_at.is_none_or(|end| now < end);
        let ripe = |k: &&SigningKey| k.created_at.plus(PUBLISHED_BEFORE) <= now;
        let newest = keys.iter().rev().filter(alive).find(ripe);
        newest.or_else(|| keys.iter().find(alive))
    }

    /// Keys whose signatures hold now; `life`: of what they sign.
    pub(crate) fn verifiers(
        &self,
        purpose: Purpose,
        life: Duration,
        now: UnixMillis,
    ) -> impl Iterator<Item = &SigningKey> {
        let keys = self.of(purpose);
        keys.iter().enumerate().filter_map(move |(at, key)| {
            let over = keys.get(at + 1).is_some_and(|next| {
                next.created_at.plus(PUBLISHED_BEFORE).plus(life).plus(KEPT_AFTER) <= now
            });
            (!over && key.retired_at.is_none_or(|end| now < end)).then_some(key)
        })
    }
}

impl Authn {
    /// Makes the first keys where there are none, and loads all.
    pub(crate) async fn first_signing_keys(&self, now: UnixMillis) -> StoreResult<()> {
        for purpose in self.purposes() {
            if self.store.signing_keys(purpose.as_str()).await?.is_empty() {
                // Another process may be first: then its key is taken.
                let none = Some(UnixMillis(i64::MIN));
                self.store.add_signing_key(new_key(purpose, now)?, none).await?;
            }
        }
        self.load_signing_keys().await
    }

    /// Gives keys that have come of age a successor, and loads all.
    pub(crate) async fn rotate_signing_keys(&self, now: UnixMillis) -> StoreResult<()> {
        self.first_signing_keys(now).await?;
        let keys = self.signing.load_full();
        for purpose in self.purposes() {
            let newest = keys.of(purpose).last();
            if let Some(key) = newest.filter(|k| now.since(k.created_at) >= ROTATE_AFTER) {
                self.store.add_signing_key(new_key(purpose, now)?, Some(key.created_at)).await?;
            }
        }
        self.load_signing_keys().await
    }

    pub(crate) async fn load_signing_keys(&self) -> StoreResult<()> {
        let mut keys = SigningKeys::default();
        for purpose in self.purposes() {
            let records = self.store.signing_keys(purpose.as_str()).await?;
            let loaded = records.into_iter().map(load).collect::<StoreResult<Vec<_>>>()?;
            match purpose {
                Purpose::AccessToken => keys.access_token = loaded,
                Purpose::Assertion => keys.assertion = loaded,
            }
        }
        self.signing.store(Arc::new(keys));
        Ok(())
    }

    /// With a `jwt_secret` access tokens need no key of the store.
    fn purposes(&self) -> Vec<Purpose> {
        if self.active.load().keyring.jwt.is_empty() {
            vec![Purpose::Assertion, Purpose::AccessToken]
        } else {
            vec![Purpose::Assertion]
        }
    }

    /// The public keys, as a JWK set (RFC 7517): assertions and, where they are EdDSA, access tokens.
    pub fn jwks(&self, now: UnixMillis) -> String {
        let keys = self.signing.load();
        let access_life = self.active.load().settings.auth.access_lifetime;
        let with_life =
            [(Purpose::Assertion, crate::assertion::LIFETIME), (Purpose::AccessToken, access_life)];
        let listed: Vec<_> = with_life
            .into_iter()
            .flat_map(|(purpose, life)| keys.verifiers(purpose, life, now))
            .map(|key| {
                serde_json::json!({
                    "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA",
                    "kid": key.kid, "x": key.x,
                })
            })
            .collect();
        serde_json::json!({ "keys": listed }).to_string()
    }
}

fn broken(what: &str) -> StoreError {
    StoreError::Unavailable(Arc::from(what))
}

fn new_key(purpose: Purpose, now: UnixMillis) -> StoreResult<SigningKeyRecord> {
    let failed = |_| broken("a signing key cannot be made");
    let pair = Ed25519KeyPair::generate().map_err(failed)?;
    let pkcs8 = pair.to_pkcs8().map_err(failed)?.as_ref().to_vec();
    Ok(SigningKeyRecord {
        kid: thumbprint(&URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())),
        purpose: purpose.as_str().to_owned(),
        pkcs8,
        created_at: now,
        retired_at: None,
    })
}

fn load(record: SigningKeyRecord) -> StoreResult<SigningKey> {
    let unreadable = |_| broken("a stored signing key cannot be read");
    let pair = Ed25519KeyPair::from_pkcs8(&record.pkcs8).map_err(unreadable)?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let decoding = DecodingKey::from_ed_components(&x)
        .map_err(|_| broken("a stored signing key cannot be read"))?;
    Ok(SigningKey {
        kid: record.kid,
        encoding: EncodingKey::from_ed_der(&record.pkcs8),
        decoding,
        x,
        created_at: record.created_at,
        retired_at: record.retired_at,
    })
}

/// The key's name: its JWK thumbprint (RFC 7638).
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    URL_SAFE_NO_PAD.encode(sha256(members.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(ages: &[i64]) -> SigningKeys {
        let assertion = ages
            .iter()
            .map(|at| {
                load(new_key(Purpose::Assertion, UnixMillis::from_secs(*at)).unwrap()).unwrap()
            })
            .collect();
        SigningKeys { access_token: Vec::new(), assertion }
    }

    fn signer(keys: &SigningKeys, at: i64) -> i64 {
        keys.signer(Purpose::Assertion, UnixMillis::from_secs(at)).unwrap().created_at.secs()
    }

    fn published(keys: &SigningKeys, at: i64) -> usize {
        let life = Duration::from_secs(300);
        keys.verifiers(Purpose::Assertion, life, UnixMillis::from_secs(at)).count()
    }

    #[test]
    fn b8_the_first_key_signs_at_once_and_a_successor_ten_minutes_after_it_is_published() {
        let one = keys(&[1000]);
        assert_eq!(signer(&one, 1000), 1000);
        let two = keys(&[1000, 50_000]);
        assert_eq!((published(&two, 50_000), signer(&two, 50_599)), (2, 1000));
        assert_eq!(signer(&two, 50_600), 50_000);
    }

    #[test]
    fn b8_an_old_key_is_published_until_ten_minutes_after_its_last_assertion_ended() {
        let two = keys(&[1000, 50_000]);
        assert_eq!(published(&two, 50_600 + 300 + 599), 2);
        assert_eq!(published(&two, 50_600 + 300 + 600), 1);
    }
}
