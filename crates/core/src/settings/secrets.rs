//! `[secrets]`: in each list the first signs or seals, the others still verify or open.

use crate::secret::Secret;

/// Keys by purpose.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Keys session and one-time tokens. Empty only in mode none. Where it was derived from
    /// `jwt_secret` because it is not set, `auth_secret_derived` says so.
    pub auth_secret: Vec<Secret>,
    /// `auth_secret` is not set: `authn` derives it from `jwt_secret` by HKDF.
    pub auth_secret_derived: bool,
    /// HS256 access tokens; empty: EdDSA with keys from the store.
    pub jwt_secret: Vec<Secret>,
    /// 32-byte keys; empty: `data_dir/store.key`, made at first start.
    pub store_key: Vec<StoreKey>,
}

/// A decoded `store_key`.
#[derive(Clone)]
pub struct StoreKey(pub zeroize::Zeroizing<[u8; 32]>);

impl std::fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

impl StoreKey {
    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut key = [0u8; 32];
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(zeroize::Zeroizing::new(key)))
    }
}
