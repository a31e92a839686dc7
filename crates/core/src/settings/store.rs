//! `[store]`

use std::path::PathBuf;
use std::time::Duration;

/// Where records are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The SQLite file.
    pub sqlite: PathBuf,
    /// Regular backups; off by default.
    pub backup: Option<Backup>,
}

/// Regular backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Where they go.
    pub dir: PathBuf,
    /// How often.
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}
