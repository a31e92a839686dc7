//! Copies of the store: making them while the server runs, keeping the newest, and putting
//! one back.
//!
//! A copy is taken with `VACUUM INTO`, which is one consistent reading of the file and waits
//! for no writer. A restored copy must not bring back what was revoked since: every session
//! ends, and keys and accounts that the present store revoked or shut out stay so.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use vestibule_authn::ports::{Store as _, StoreError};
use vestibule_core::settings::secrets::StoreKey;
use vestibule_core::time::UnixMillis;

use crate::files::{self, Aside};
use crate::lock::{LockError, ServerLock};
use crate::sqlite::inspect::{self, Found};
use crate::sqlite::{SqliteStore, restoring, upkeep};
use crate::{OpenError, seal};

pub use crate::sqlite::restoring::Carried;

/// The name that always is the newest regular backup.
pub const LATEST: &str = "latest.db.gz";

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The directory or file of the backup cannot be written.
    #[error("the backup {} cannot be written: {reason}. Nothing was changed; choose another place or make room.", .path.display())]
    Write {
        /// Where it was to go.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a backup was not put back. The present store is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is no sound backup of ours, or a directory cannot be written.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A server holds the store.
    #[error(
        "a vestibule server{} is running on {}. Stop it first, run the restore again, then start it.",
        .process.map_or_else(String::new, |id| format!(" (process {id})")),
        .data_dir.display()
    )]
    ServerRuns {
        /// Its data directory.
        data_dir: PathBuf,
        /// Its process id, where it is known.
        process: Option<u32>,
    },
}

/// A backup that was put back.
#[derive(Clone, Debug)]
pub struct Restored {
    /// What stayed revoked; `None`: there was no readable store of the same origin to ask,
    /// so keys are as the backup has them and should be looked through.
    pub carried: Option<Carried>,
    /// Accounts in the store now.
    pub accounts: u64,
    /// API keys in the store now.
    pub keys: u64,
    /// The store that was replaced is kept here.
    pub previous: Option<PathBuf>,
}

/// Copies the store at `path` to `dest` while servers may use it; returns the file made.
///
/// `.gz` at the end compresses. Where `dest` is a directory, `vestibule-<time>.db.gz` and
/// [`LATEST`] are made in it. A file that is there is replaced in one step. The copy has mode
/// 0600 and does not hold the `store_key`.
pub async fn backup(path: &Path, dest: &Path, now: UnixMillis) -> Result<PathBuf, BackupError> {
    if let Found::Missing | Found::Empty = inspect::examine(path, None).await? {
        return Err(OpenError::Refused(format!("{} holds no store", path.display())).into());
    }
    let made = copy_out(path, dest, now).await?;
    upkeep::note_backup(path, now).await?;
    Ok(made)
}

/// Puts a backup (`.db` or `.db.gz`) in the place of the store at `path`.
///
/// The file is checked whole before anything is replaced; `keys` must open what it holds
/// sealed. Afterwards nobody is signed in. Fails while a server runs on `data_dir`.
pub async fn restore(
    file: &Path,
    path: &Path,
    data_dir: &Path,
    keys: &[StoreKey],
) -> Result<Restored, RestoreError> {
    let _lock = ServerLock::acquire(data_dir).map_err(|error| match error {
        LockError::Held { process, .. } => {
            RestoreError::ServerRuns { data_dir: data_dir.to_owned(), process }
        }
        LockError::Open(error) => error.into(),
    })?;
    files::prepare_dir(files::parent(path))?;
    let present = present(path).await?;
    let sealer = seal::Sealer::new(keys).map_err(|error| OpenError::Refused(error.to_string()))?;
    let copy = Aside::new(path, "restore");
    let (input, to) = (File::open(file), copy.path().to_owned());
    let input =
        input.map_err(|error| OpenError::Refused(format!("{}: {error}", file.display())))?;
    blocking(move || unpack(input, &to)).await.map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            OpenError::Corrupt { path: file.to_owned(), detail: error.to_string() }
        }
        _ => OpenError::io(path, &error),
    })?;
    let (carried, accounts, keys) = restoring::prepare(copy.path(), present, &sealer)
        .await
        .map_err(|error| error.about(file))?;
    let previous = swap(path, &copy).await.map_err(|error| OpenError::io(path, &error))?;
    Ok(Restored { carried, accounts, keys, previous })
}

impl SqliteStore {
    /// As [`backup`], of an open store.
    pub async fn backup(&self, dest: &Path, now: UnixMillis) -> Result<PathBuf, BackupError> {
        self.ping().await?;
        let made = copy_out(self.path(), dest, now).await?;
        self.set_note(upkeep::LAST_BACKUP, &now.0.to_string()).await?;
        Ok(made)
    }

    /// Makes the next of the regular backups in `dir` and removes those beyond the `keep`
    /// newest; returns the file made.
    pub async fn backup_regularly(
        &self,
        dir: &Path,
        keep: usize,
        now: UnixMillis,
    ) -> Result<PathBuf, BackupError> {
        make_dir(dir)?;
        let made = self.backup(dir, now).await?;
        prune(dir, keep.max(1)).map_err(|error| write_error(dir, &error))?;
        Ok(made)
    }
}

async fn copy_out(path: &Path, dest: &Path, now: UnixMillis) -> Result<PathBuf, BackupError> {
    let dir = dest.is_dir().then_some(dest);
    let target = match dir {
        Some(dir) => dir.join(regular_name(now)),
        None => dest.to_owned(),
    };
    make_dir(files::parent(&target))?;
    if is_same_file(path, &target) {
        return Err(write_error(&target, &io::Error::other("it is the store itself")));
    }
    let failed = |error: io::Error| write_error(&target, &error);
    let copy = Aside::new(&target, "copy");
    let file = files::create_private(copy.path()).map_err(failed)?;
    restoring::vacuum_into(path, copy.path())
        .await
        .map_err(|error| write_error(&target, &io::Error::other(error.to_string())))?;
    if target.extension().is_some_and(|extension| extension == "gz") {
        let packed = Aside::new(&target, "gz");
        let (from, to) = (copy.path().to_owned(), packed.path().to_owned());
        blocking(move || pack(&from, &to)).await.map_err(failed)?;
        std::fs::rename(packed.path(), &target).map_err(failed)?;
    } else {
        file.sync_all().map_err(failed)?;
        std::fs::rename(copy.path(), &target).map_err(failed)?;
    }
    if let Some(dir) = dir {
        let latest = dir.join(LATEST);
        let link = Aside::new(&latest, "link");
        std::fs::hard_link(&target, link.path())
            .or_else(|_| std::fs::copy(&target, link.path()).map(drop))
            .and_then(|()| std::fs::rename(link.path(), &latest))
            .map_err(|error| write_error(&latest, &error))?;
    }
    files::sync_parent(&target).map_err(failed)?;
    Ok(target)
}

/// What the store that is to be replaced knows of revocations. Another program's database is
/// not replaced.
async fn present(path: &Path) -> Result<Option<restoring::Present>, OpenError> {
    match inspect::examine(path, None).await {
        Ok(Found::Missing | Found::Empty) => Ok(None),
        Ok(Found::Ours(_)) | Err(OpenError::Newer { .. } | OpenError::EditedMigration { .. }) => {
            Ok(restoring::Present::read(path).await)
        }
        Err(error @ (OpenError::Foreign { .. } | OpenError::NotWritable { .. })) => Err(error),
        Err(error) => {
            tracing::warn!(%error, "store.restore_over_unreadable");
            Ok(None)
        }
    }
}

/// Puts the copy in the place of the store; the old one stays beside it under another name.
async fn swap(path: &Path, copy: &Aside) -> io::Result<Option<PathBuf>> {
    let mut previous = None;
    if path.exists() {
        restoring::fold_log(path).await;
        let kept = files::with_suffix(path, ".before-restore");
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(files::with_suffix(&kept, suffix));
        }
        std::fs::hard_link(path, &kept).or_else(|_| std::fs::copy(path, &kept).map(drop))?;
        std::fs::set_permissions(&kept, Permissions::from_mode(0o600))?;
        let log = files::with_suffix(path, "-wal");
        if log.exists() {
            // Not foldable: it stays with the file it belongs to.
            std::fs::rename(&log, files::with_suffix(&kept, "-wal"))?;
        }
        previous = Some(kept);
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(files::with_suffix(path, suffix));
    }
    File::open(copy.path())?.sync_all()?;
    std::fs::rename(copy.path(), path)?;
    files::sync_parent(path)?;
    Ok(previous)
}

fn pack(from: &Path, to: &Path) -> io::Result<()> {
    let mut packer = GzEncoder::new(files::create_private(to)?, Compression::default());
    io::copy(&mut File::open(from)?, &mut packer)?;
    packer.finish()?.sync_all()
}

fn unpack(mut input: File, to: &Path) -> io::Result<()> {
    let mut magic = Vec::with_capacity(2);
    input.by_ref().take(2).read_to_end(&mut magic)?;
    input.rewind()?;
    let mut output = files::create_private(to)?;
    if magic == [0x1f, 0x8b] {
        io::copy(&mut GzDecoder::new(input), &mut output)?;
    } else {
        io::copy(&mut input, &mut output)?;
    }
    output.sync_all()
}

fn prune(dir: &Path, keep: usize) -> io::Result<()> {
    let mut names: Vec<String> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| is_regular_name(name))
        .collect();
    names.sort_unstable();
    let surplus = names.len().saturating_sub(keep);
    for name in names.iter().take(surplus) {
        std::fs::remove_file(dir.join(name))?;
    }
    Ok(())
}

/// `vestibule-20261121T084500Z.db.gz`: sorts by time.
fn regular_name(now: UnixMillis) -> String {
    let time = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("vestibule-{}.db.gz", time.strftime("%Y%m%dT%H%M%SZ"))
}

fn is_regular_name(name: &str) -> bool {
    let time = name.strip_prefix("vestibule-").and_then(|rest| rest.strip_suffix(".db.gz"));
    time.is_some_and(|time| {
        time.len() == 16 && time.bytes().all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z')
    })
}

/// Makes a missing directory (0700). One that is there is left as it is: backups may go to a
/// share whose mode is not ours; the files are 0600 in any case.
fn make_dir(dir: &Path) -> Result<(), BackupError> {
    if dir.is_dir() {
        return Ok(());
    }
    files::prepare_dir(dir).map_err(BackupError::Open)
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (std::fs::metadata(a), std::fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

fn write_error(path: &Path, error: &io::Error) -> BackupError {
    BackupError::Write { path: path.to_owned(), reason: error.to_string() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_names_sort_by_time_and_only_they_are_pruned() {
        let dir = tempfile::tempdir().unwrap();
        for day in 1..=4 {
            let at = UnixMillis::from_secs(day * 86_400);
            std::fs::write(dir.path().join(regular_name(at)), "").unwrap();
        }
        for other in ["latest.db.gz", "vestibule-mine.db.gz", "notes.txt"] {
            std::fs::write(dir.path().join(other), "").unwrap();
        }
        prune(dir.path(), 2).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(
            left,
            [
                "latest.db.gz",
                "notes.txt",
                "vestibule-19700104T000000Z.db.gz",
                "vestibule-19700105T000000Z.db.gz",
                "vestibule-mine.db.gz"
            ]
        );
    }
}
