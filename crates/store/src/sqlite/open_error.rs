//! Why a store is not opened. Every text names the file and what to type next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store cannot be opened; the text tells the operator what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not SQLite, cut off, or damaged inside.
    #[error(
        "{} is not a sound SQLite database: {detail}. It was left as it is. Put a backup back with `vestibule db restore <FILE>`, or name another file in `store.url`.",
        .path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// An applied migration is not the one that this program knows.
    #[error(
        "{}: schema version {version} was applied with other content than this program has. Install the vestibule that made it, or put a backup back with `vestibule db restore <FILE>`.",
        .path.display()
    )]
    EditedMigration {
        /// The file.
        path: PathBuf,
        /// Its number.
        version: i64,
    },
    /// The tables of another program.
    #[error(
        "{} holds another program's tables ({}) and is never written. Take its users over with `vestibule import better-auth {}`, and give Vestibule a file of its own in `store.url`.",
        .path.display(), .tables.join(", "), .path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Some of its tables.
        tables: Vec<String>,
    },
    /// The key file is gone while something sealed is left.
    #[error(
        "{} is missing, but {} holds values sealed with it. Put the key back (it is not part of a backup), or set `secrets.store_key`.",
        .key.display(), .database.display()
    )]
    KeyMissing {
        /// The key file.
        key: PathBuf,
        /// The database.
        database: PathBuf,
    },
    /// The key file is open to others.
    #[error(
        "{} has mode {mode:04o}: others can read the key. Run: chmod 600 {}",
        .key.display(), .key.display()
    )]
    KeyReadable {
        /// The key file.
        key: PathBuf,
        /// Its mode bits.
        mode: u32,
    },
    /// A migration that this program does not know.
    #[error(
        "{} has schema version {version}, this program knows up to {known}. Install a vestibule that knows version {version}, or put an older backup back with `vestibule db restore <FILE>`.",
        .path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The newest version in it.
        version: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The directory cannot be used by this user.
    #[error(
        "the data directory {} cannot be written by uid {uid}: {reason}. Run: chown -R {uid}:{gid} {}",
        .dir.display(), .dir.display()
    )]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        reason: String,
        /// Of this process.
        uid: u32,
        /// Of this process.
        gid: u32,
    },
    /// Anything else, with the reason and the fix.
    #[error("{0}")]
    Refused(String),
    /// The given keys do not open what is sealed.
    #[error(
        "{}: {what} cannot be opened with the given store_key. Put the old key back as a further entry of `secrets.store_key` (or in data_dir/store.key); after that `vestibule db reseal` lets the new one stand alone.",
        .path.display()
    )]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Which value.
        what: String,
    },
    /// A migration that was begun and not finished.
    #[error(
        "{}: schema version {version} was begun and not finished. Put a backup back with `vestibule db restore <FILE>`.",
        .path.display()
    )]
    UnfinishedMigration {
        /// The file.
        path: PathBuf,
        /// Its number.
        version: i64,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        if matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
        ) {
            return crate::files::not_writable(crate::files::parent(path), &error.to_string());
        }
        Self::Refused(format!("{}: {error}", path.display()))
    }

    /// The same, told of another file: a copy is examined, but its origin is what is named.
    pub(crate) fn about(mut self, file: &Path) -> Self {
        match &mut self {
            Self::Corrupt { path, .. }
            | Self::EditedMigration { path, .. }
            | Self::Foreign { path, .. }
            | Self::Newer { path, .. }
            | Self::Sealed { path, .. }
            | Self::UnfinishedMigration { path, .. } => *path = file.to_owned(),
            Self::KeyMissing { .. }
            | Self::KeyReadable { .. }
            | Self::NotWritable { .. }
            | Self::Refused(_) => {}
        }
        self
    }

    /// From an error of SQLite while a file is opened or examined.
    pub(crate) fn sqlite(path: &Path, error: &sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code().map(|c| c.into_owned()));
        let primary = code.as_deref().and_then(|c| c.parse::<i64>().ok()).map(|c| c & 0xff);
        match primary {
            Some(11 | 26) => Self::Corrupt { path: path.to_owned(), detail: error.to_string() },
            Some(8 | 14) => {
                crate::files::not_writable(crate::files::parent(path), &error.to_string())
            }
            Some(5 | 6) => Self::Refused(format!(
                "{} is locked by another process ({error}). Stop it, or try again when it has finished.",
                path.display()
            )),
            _ => Self::Refused(format!("{}: {error}", path.display())),
        }
    }
}
