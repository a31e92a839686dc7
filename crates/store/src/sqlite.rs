//! The embedded default: one SQLite file (WAL, synchronous FULL), one writer, several readers.

use std::path::Path;

use vestibule_core::settings::secrets::StoreKey;

/// An open SQLite store.
pub struct SqliteStore {}

/// Why a store cannot be opened; the text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// With the reason and the fix.
    #[error("{0}")]
    Refused(String),
}

impl SqliteStore {
    /// Opens (or makes) the file, checks its mode, applies migrations. `keys`: the first
    /// seals, the others still open.
    pub async fn open(path: &Path, keys: &[StoreKey]) -> Result<Self, OpenError> {
        let _ = (path, keys);
        todo!("store helper")
    }

    /// Resolves each time another process has changed the file (polled every 100 ms on the
    /// writer's connection, `PRAGMA data_version`).
    pub async fn changed_outside(&self) {
        todo!("store helper")
    }
}
