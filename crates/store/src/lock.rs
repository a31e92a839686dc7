//! The lock that keeps a second server, and a restore, away from one `data_dir`.
//!
//! An advisory `flock` on `data_dir/lock`: the kernel drops it when the process ends, however
//! it ends, so a crash never leaves it behind. Commands that only read or change rows do not
//! take it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::{OpenError, files};

/// Held while a server serves a `data_dir`; dropping it lets the next one in.
#[derive(Debug)]
pub struct ServerLock {
    _file: File,
    path: PathBuf,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "another vestibule server{} holds {}: two servers cannot share one data_dir. Stop it first, or give this one its own `server.data_dir`.",
        .process.map_or_else(String::new, |id| format!(" (process {id})")),
        .path.display()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder's process id, where it wrote one.
        process: Option<u32>,
    },
    /// The directory or the file cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ServerLock {
    /// Takes the lock or fails at once. Makes the directory (0700) where it is missing.
    pub fn acquire(data_dir: &Path) -> Result<Self, LockError> {
        files::prepare_dir(data_dir)?;
        let path = data_dir.join("lock");
        let io = |error: std::io::Error| LockError::Open(OpenError::io(&path, &error));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut text = String::new();
            let _ = file.read_to_string(&mut text);
            return Err(LockError::Held { path, process: text.trim().parse().ok() });
        }
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file, path })
    }

    /// As [`ServerLock::acquire`], but waits up to `patience` for the holder to end (a
    /// restart that overlaps with the old server's drain).
    pub async fn acquire_within(data_dir: &Path, patience: Duration) -> Result<Self, LockError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            match Self::acquire(data_dir) {
                Err(LockError::Held { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_on_one_data_dir_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServerLock::acquire(dir.path()).unwrap();
        let text = ServerLock::acquire(dir.path()).unwrap_err().to_string();
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        drop(first);
        ServerLock::acquire(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn a_patient_server_gets_the_lock_when_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let first = ServerLock::acquire(dir.path()).unwrap();
        let waiting = ServerLock::acquire_within(dir.path(), Duration::from_secs(30));
        let (second, ()) = tokio::join!(waiting, async { drop(first) });
        second.unwrap();
    }
}
