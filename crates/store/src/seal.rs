//! Sealing of values that must be read back: AES-256-GCM under a key derived from the
//! `store_key` for this purpose only.
//!
//! Not a password vault: it protects a copy of the file, not a running server. A sealed value
//! is bound to its table and row, so a value moved into another row does not open.
//!
//! Form: version byte 1, one byte that names the key (so that a list of keys needs no trial
//! by order), 12 bytes of random nonce, ciphertext, 16 bytes of tag.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;

use vestibule_core::settings::secrets::StoreKey;

const VERSION: u8 = 1;
const HEADER: usize = 2;

/// A sealed value did not open: other key, other row, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealed value cannot be opened with the given store_key")]
pub(crate) struct SealError;

/// Seals with the first key, opens with any.
pub(crate) struct Sealer {
    keys: Vec<SealKey>,
}

struct SealKey {
    id: u8,
    aead: RandomizedNonceKey,
}

impl Sealer {
    /// Derives the keys. Fails only where the cryptography library does.
    pub(crate) fn new(keys: &[StoreKey]) -> Result<Self, SealError> {
        keys.iter().map(SealKey::derive).collect::<Result<_, _>>().map(|keys| Self { keys })
    }

    /// Seals a value for one row of a table. Fails where there is no key.
    pub(crate) fn seal(&self, table: &str, row: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = self.keys.first().ok_or(SealError)?;
        let mut body = plain.to_vec();
        let nonce = key
            .aead
            .seal_in_place_append_tag(Aad::from(aad(table, row)), &mut body)
            .map_err(|_| SealError)?;
        let mut sealed = Vec::with_capacity(HEADER + NONCE_LEN + body.len());
        sealed.extend_from_slice(&[VERSION, key.id]);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens a value of one row of a table.
    pub(crate) fn open(&self, table: &str, row: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let opened = self.keys.iter().find_map(|key| key.open(table, row, sealed).ok());
        opened.ok_or(SealError)
    }

    /// Whether the key that the value's first bytes name is given.
    pub(crate) fn knows(&self, sealed: &[u8]) -> bool {
        let Some((&[version, id], _)) = sealed.split_first_chunk::<HEADER>() else { return false };
        version == VERSION && self.keys.iter().any(|key| key.id == id)
    }

    /// Whether the value opens under the first key.
    pub(crate) fn is_current(&self, table: &str, row: &str, sealed: &[u8]) -> bool {
        self.keys.first().is_some_and(|key| key.open(table, row, sealed).is_ok())
    }
}

impl SealKey {
    fn derive(key: &StoreKey) -> Result<Self, SealError> {
        let mut seal = zeroize::Zeroizing::new([0u8; 32]);
        expand(key, b"vestibule store seal aes-256-gcm v1", &mut seal[..])?;
        let mut id = [0u8; 1];
        expand(key, b"vestibule store seal key id v1", &mut id)?;
        let [id] = id;
        let aead = RandomizedNonceKey::new(&AES_256_GCM, &seal[..]).map_err(|_| SealError)?;
        Ok(Self { id, aead })
    }

    fn open(&self, table: &str, row: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let (id, nonce, body) = parts(sealed)?;
        if id != self.id {
            return Err(SealError);
        }
        let mut buffer = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let aad = Aad::from(aad(table, row));
        let length = self.aead.open_in_place(nonce, aad, &mut buffer).map_err(|_| SealError)?.len();
        buffer.truncate(length);
        Ok(buffer)
    }
}

fn expand(key: &StoreKey, purpose: &[u8], out: &mut [u8]) -> Result<(), SealError> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"").extract(&key.0[..]);
    let info = [purpose];
    let expanded = extracted.expand(&info, Length(out.len())).map_err(|_| SealError)?;
    expanded.fill(out).map_err(|_| SealError)
}

fn aad(table: &str, row: &str) -> Vec<u8> {
    let mut aad = Vec::with_capacity(table.len() + row.len() + 1);
    aad.extend_from_slice(table.as_bytes());
    aad.push(0);
    aad.extend_from_slice(row.as_bytes());
    aad
}

fn parts(sealed: &[u8]) -> Result<(u8, [u8; NONCE_LEN], &[u8]), SealError> {
    let (header, rest) = sealed.split_first_chunk::<HEADER>().ok_or(SealError)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError)?;
    let [version, id] = *header;
    if version == VERSION { Ok((id, *nonce, body)) } else { Err(SealError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> StoreKey {
        StoreKey(zeroize::Zeroizing::new([byte; 32]))
    }

    #[test]
    fn x37_a_sealed_value_opens_in_its_own_row_only() {
        let sealer = Sealer::new(&[key(1)]).unwrap();
        let sealed = sealer.seal("signing_keys", "a", b"secret").unwrap();
        assert_eq!(sealer.open("signing_keys", "a", &sealed).unwrap(), b"secret");
        assert_eq!(sealer.open("signing_keys", "b", &sealed), Err(SealError));
        assert_eq!(sealer.open("one_time", "a", &sealed), Err(SealError));
    }

    #[test]
    fn x37_an_old_key_opens_while_it_is_listed_and_the_first_one_seals() {
        let old = Sealer::new(&[key(1)]).unwrap().seal("t", "r", b"x").unwrap();
        let both = Sealer::new(&[key(2), key(1)]).unwrap();
        assert!(both.knows(&old) && !Sealer::new(&[key(2)]).unwrap().knows(&old));
        assert!(!both.knows(&old[..1]) && !both.knows(&[0, old[1]]));
        assert_eq!(both.open("t", "r", &old).unwrap(), b"x");
        assert!(!both.is_current("t", "r", &old));
        let new = both.seal("t", "r", b"x").unwrap();
        assert!(both.is_current("t", "r", &new));
        assert_eq!(Sealer::new(&[key(2)]).unwrap().open("t", "r", &old), Err(SealError));
        assert_eq!(Sealer::new(&[key(2)]).unwrap().open("t", "r", &new).unwrap(), b"x");
    }

    #[test]
    fn every_flipped_byte_is_noticed_and_the_plain_text_does_not_show() {
        let sealer = Sealer::new(&[key(1)]).unwrap();
        let sealed = sealer.seal("t", "r", b"plain text").unwrap();
        assert!(!sealed.windows(5).any(|w| w == b"plain"));
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(sealer.open("t", "r", &bad), Err(SealError), "byte {at}");
        }
        assert_eq!(sealer.open("t", "r", &sealed[..10]), Err(SealError));
    }
}
