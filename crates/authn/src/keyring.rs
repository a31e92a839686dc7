//! Keys by purpose, derived from the configured secrets, and the tagged tokens made with them.
//!
//! One secret never serves two ends: each purpose has its own HKDF label, so a token of one
//! kind does not verify as another. In each list the first key signs, all of them verify.

use aws_lc_rs::{digest, hkdf, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, EncodingKey};

use vestibule_core::settings::secrets::Secrets;

use crate::ports::{Digest, StoreError};

/// Characters of a tagged token: base64url of 64 bytes, without padding.
pub(crate) const TOKEN_LENGTH: usize = 86;
const ID_LENGTH: usize = 32;

/// All keys that come from `[secrets]`.
pub(crate) struct Keyring {
    /// Session cookies of the portal and of app hosts.
    pub(crate) session: Vec<hmac::Key>,
    /// Hand-off codes.
    pub(crate) one_time: Vec<hmac::Key>,
    /// Device cookies.
    pub(crate) device: Vec<hmac::Key>,
    /// `state` of sign-ins at providers.
    pub(crate) provider_state: Vec<hmac::Key>,
    /// Cookies that bind such sign-ins to a browser.
    pub(crate) provider_browser: Vec<hmac::Key>,
    /// Links to providers that wait for a sign-in.
    pub(crate) provider_link: Vec<hmac::Key>,
    /// Refresh tokens.
    pub(crate) refresh: Vec<hmac::Key>,
    /// Check digits of API keys.
    pub(crate) check: Vec<hmac::Key>,
    /// HS256 keys of access tokens; empty: EdDSA.
    pub(crate) jwt: Vec<(EncodingKey, DecodingKey)>,
    /// One-way names of the session secrets, to notice at start that all of them are new.
    pub(crate) fingerprints: Vec<String>,
}

/// The system's cryptography failed; nothing an operator can type helps.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a key could not be derived")]
pub(crate) struct Failed;

impl Keyring {
    /// Derives all keys. Without any secret (mode none) they are random and last as long as the process.
    pub(crate) fn new(secrets: &Secrets) -> Result<Self, Failed> {
        let bytes = |list: &[vestibule_core::secret::Secret]| -> Vec<Vec<u8>> {
            list.iter().map(|s| s.expose_secret().as_bytes().to_vec()).collect()
        };
        let jwt = bytes(&secrets.jwt_secret);
        let mut base = bytes(&secrets.auth_secret);
        if secrets.auth_secret_derived || base.is_empty() {
            let from = if jwt.is_empty() { &base } else { &jwt };
            base = from.iter().map(|s| expand(s, "auth-secret")).collect::<Result<_, _>>()?;
        }
        if base.is_empty() {
            base.push(random::<32>().map_err(|_| Failed)?.to_vec());
        }
        let refresh = if jwt.is_empty() { &base } else { &jwt };
        let check: Vec<Vec<u8>> = secrets.store_key.iter().map(|k| k.0.to_vec()).collect();
        Ok(Self {
            session: keys(&base, "session")?,
            one_time: keys(&base, "one-time")?,
            device: keys(&base, "device")?,
            provider_state: keys(&base, "provider-state")?,
            provider_browser: keys(&base, "provider-browser")?,
            provider_link: keys(&base, "provider-link")?,
            refresh: keys(refresh, "refresh")?,
            check: keys(&check, "api-key-check")?,
            jwt: jwt
                .iter()
                .map(|s| (EncodingKey::from_secret(s), DecodingKey::from_secret(s)))
                .collect(),
            fingerprints: base
                .iter()
                .map(|s| expand(s, "fingerprint").map(|b| URL_SAFE_NO_PAD.encode(b)))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn keys(secrets: &[Vec<u8>], label: &str) -> Result<Vec<hmac::Key>, Failed> {
    secrets
        .iter()
        .map(|s| expand(s, label).map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
        .collect()
}

/// HKDF-SHA256 (RFC 5869) with the product's name as salt and the purpose as info.
fn expand(secret: &[u8], label: &str) -> Result<Vec<u8>, Failed> {
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"vestibule").extract(secret);
    let info = [label.as_bytes()];
    let okm = prk.expand(&info, hmac::HMAC_SHA256).map_err(|_| Failed)?;
    let mut out = vec![0; digest::SHA256_OUTPUT_LEN];
    okm.fill(&mut out).map_err(|_| Failed)?;
    Ok(out)
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

/// Bytes from the system's generator.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes)
        .map_err(|_| StoreError::Unavailable("the system gives no random bytes".into()))?;
    Ok(bytes)
}

/// A new token `base64url(id ‖ HMAC(key, id))` and SHA-256 of its id, which is what is stored.
pub(crate) fn mint(keys: &[hmac::Key]) -> Result<(String, Digest), StoreError> {
    let id = random::<ID_LENGTH>()?;
    let key = keys
        .first()
        .ok_or_else(|| StoreError::Unavailable("there is no key to sign tokens with".into()))?;
    let tag = hmac::sign(key, &id);
    let mut whole = id.to_vec();
    whole.extend_from_slice(tag.as_ref());
    Ok((URL_SAFE_NO_PAD.encode(whole), sha256(&id)))
}

/// The digest of a token whose tag holds under one of the keys. Other spellings of the same
/// bytes (padding, stray bits, another alphabet) do not count.
pub(crate) fn open(keys: &[hmac::Key], token: &[u8]) -> Option<Digest> {
    if token.len() != TOKEN_LENGTH {
        return None;
    }
    let mut buffer = [0u8; 72];
    let length = URL_SAFE_NO_PAD.decode_slice(token, &mut buffer).ok()?;
    let (id, tag) = buffer.get(..length)?.split_at_checked(ID_LENGTH)?;
    keys.iter().any(|key| hmac::verify(key, id, tag).is_ok()).then(|| sha256(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vestibule_core::secret::Secret;

    fn ring(secret: &str) -> Keyring {
        let secrets = Secrets {
            auth_secret: vec![Secret::new(secret)],
            auth_secret_derived: false,
            jwt_secret: Vec::new(),
            store_key: Vec::new(),
        };
        Keyring::new(&secrets).unwrap()
    }

    #[test]
    fn f5_a_token_of_one_purpose_is_none_of_another() {
        let ring = ring("0123456789abcdef0123456789abcdef");
        let (token, digest) = mint(&ring.session).unwrap();
        assert_eq!(open(&ring.session, token.as_bytes()), Some(digest));
        for other in [
            &ring.one_time,
            &ring.device,
            &ring.refresh,
            &ring.provider_state,
            &ring.provider_browser,
            &ring.provider_link,
        ] {
            assert_eq!(open(other, token.as_bytes()), None);
        }
    }

    #[test]
    fn j4_every_truncation_extension_and_bit_flip_of_a_token_is_refused() {
        let ring = ring("0123456789abcdef0123456789abcdef");
        let (token, _) = mint(&ring.session).unwrap();
        for at in 0..token.len() {
            assert_eq!(open(&ring.session, &token.as_bytes()[..at]), None);
            for bit in 0..8 {
                let mut bent = token.clone().into_bytes();
                bent[at] ^= 1 << bit;
                assert_eq!(open(&ring.session, &bent), None, "bit {bit} of byte {at}");
            }
        }
        for more in ["=", "A", "==", " ", "\n"] {
            assert_eq!(open(&ring.session, format!("{token}{more}").as_bytes()), None);
        }
    }

    #[test]
    fn a_list_of_secrets_verifies_with_each_and_signs_with_the_first() {
        let (old, new) = ("0123456789abcdef0123456789abcdef", "ffffffffffffffffffffffffffffffff");
        let (token, _) = mint(&ring(old).session).unwrap();
        let both = Keyring::new(&Secrets {
            auth_secret: vec![Secret::new(new), Secret::new(old)],
            auth_secret_derived: false,
            jwt_secret: Vec::new(),
            store_key: Vec::new(),
        })
        .unwrap();
        assert!(open(&both.session, token.as_bytes()).is_some());
        let (fresh, _) = mint(&both.session).unwrap();
        assert!(open(&ring(new).session, fresh.as_bytes()).is_some());
        assert!(open(&ring(old).session, fresh.as_bytes()).is_none());
    }
}
