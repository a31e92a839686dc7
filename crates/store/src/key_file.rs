//! `data_dir/store.key`: the `store_key` of an installation whose settings name none.
//!
//! Not part of a backup, on purpose: a stolen backup alone opens nothing. It is made once;
//! while the database holds sealed values a missing file is refused and never made anew.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use vestibule_core::settings::secrets::StoreKey;

use crate::sqlite::inspect;
use crate::{OpenError, files};

/// The file's name in `data_dir`.
pub const STORE_KEY_FILE: &str = "store.key";

/// Reads `data_dir/store.key` (64 hex digits), or makes it with mode 0600 at the first start.
///
/// `database` is the store's file. Fails where the key is missing while the database holds
/// sealed values, where others may read it, and where it is not a key.
pub async fn load_or_create_store_key(
    data_dir: &Path,
    database: &Path,
) -> Result<StoreKey, OpenError> {
    let path = data_dir.join(STORE_KEY_FILE);
    if !path.exists() {
        if inspect::has_sealed_rows(database).await? {
            return Err(OpenError::KeyMissing { key: path, database: database.to_owned() });
        }
        files::prepare_dir(data_dir)?;
        let mut key = zeroize::Zeroizing::new([0u8; 32]);
        aws_lc_rs::rand::fill(&mut key[..])
            .map_err(|_| OpenError::Refused("the system gives no random bytes".to_owned()))?;
        let mut text = zeroize::Zeroizing::new(String::with_capacity(65));
        for byte in key.iter() {
            for digit in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
            }
        }
        text.push('\n');
        match files::write_new_private(&path, text.as_bytes()) {
            Ok(()) => return Ok(StoreKey(key)),
            // Another process was faster: its key counts.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(OpenError::io(&path, &error)),
        }
    }
    read(&path)
}

fn read(path: &Path) -> Result<StoreKey, OpenError> {
    let io = |error: std::io::Error| OpenError::io(path, &error);
    let mode = std::fs::metadata(path).map_err(io)?.mode() & 0o7777;
    if mode & files::OTHERS != 0 {
        return Err(OpenError::KeyReadable { key: path.to_owned(), mode });
    }
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(path).map_err(io)?);
    StoreKey::from_hex(&text).ok_or_else(|| {
        OpenError::Refused(format!(
            "{} is not a store key: it must hold 64 hex digits. Put the right key back from where you keep it; without it what it sealed is lost.",
            path.display()
        ))
    })
}
