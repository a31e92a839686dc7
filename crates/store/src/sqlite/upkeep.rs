//! Notes, the purge, health, and what the commands `db status|migrate|check|reseal` do.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use sqlx::{ConnectOptions as _, Connection as _};

use vestibule_authn::ports::{StoreHealth, StoreResult};
use vestibule_core::settings::secrets::StoreKey;
use vestibule_core::time::UnixMillis;

use super::inspect::{self, Found, LASTING, SealedColumn};
use super::{OpenError, SqliteStore, change_error, migrations, provider_sessions, unavailable};
use crate::files;
use crate::seal::Sealer;

/// The note that holds the time of the newest backup, in Unix milliseconds.
pub(crate) const LAST_BACKUP: &str = "backup.last";

const SET_NOTE: &str = "INSERT INTO notes (name, value) VALUES (?1, ?2)
     ON CONFLICT (name) DO UPDATE SET value = ?2";
/// Rows removed by one statement of the purge, so that other writers come in between.
const PURGE_ROWS: u32 = 500;
/// A last-seen time reaches the store up to a minute late; idle sessions stay this much longer.
const LAST_SEEN_LAG: Duration = Duration::from_secs(120);
/// A browser that was not seen for this long is not known any more.
const DEVICE_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);

/// One migration and whether a file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Its number.
    pub version: i64,
    /// What it does.
    pub description: String,
    /// Whether it is applied.
    pub applied: bool,
}

/// What [`check`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soundness {
    /// Complaints of SQLite and of the foreign keys; empty: sound.
    pub complaints: Vec<String>,
    /// Number of the newest applied migration.
    pub schema_version: i64,
}

/// Every migration this program knows, oldest first, and whether the file has it. Writes
/// nothing; a missing file has none.
///
/// Fails where [`SqliteStore::open`] would refuse the file.
pub async fn status(path: &Path) -> Result<Vec<MigrationState>, OpenError> {
    let applied = match inspect::examine(path, None).await? {
        Found::Ours(applied) => applied,
        Found::Empty | Found::Missing => Vec::new(),
    };
    let known = migrations::known();
    Ok(known
        .iter()
        .map(|migration| {
            let there = applied.iter().find(|a| a.version == migration.version);
            MigrationState {
                version: migration.version,
                description: there
                    .map_or_else(|| migration.description.to_string(), |a| a.description.clone()),
                applied: there.is_some(),
            }
        })
        .collect())
}

/// Brings the file up to date (makes it where it is missing) and returns its status.
pub async fn migrate(path: &Path, keys: &[StoreKey]) -> Result<Vec<MigrationState>, OpenError> {
    SqliteStore::open(path, keys).await?.close().await;
    status(path).await
}

/// Keeps the time of a backup that another process than the server made.
pub(crate) async fn note_backup(path: &Path, now: UnixMillis) -> Result<(), OpenError> {
    let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
    let mut connection = super::options(path).connect().await.map_err(sqlite)?;
    let noted = sqlx::query(SET_NOTE)
        .bind(LAST_BACKUP)
        .bind(now.0.to_string())
        .execute(&mut connection)
        .await;
    connection.close().await.map_err(sqlite)?;
    noted.map(drop).map_err(sqlite)
}

/// Runs the full integrity check of SQLite and of the foreign keys. Writes nothing.
///
/// Fails where the file is missing or cannot even be read as a store of ours; what can be
/// read but is not sound is told in [`Soundness::complaints`].
pub async fn check(path: &Path) -> Result<Soundness, OpenError> {
    let applied = match inspect::examine(path, None).await? {
        Found::Ours(applied) => applied,
        Found::Empty => Vec::new(),
        Found::Missing => {
            return Err(OpenError::Refused(format!("{} does not exist", path.display())));
        }
    };
    let mut connection = inspect::connect(path).await?;
    let complaints = inspect::complaints(&mut connection)
        .await
        .map_err(|error| OpenError::sqlite(path, &error))?;
    Ok(Soundness {
        complaints,
        schema_version: applied.last().map_or(0, |migration| migration.version),
    })
}

impl SqliteStore {
    /// Seals every sealed row under the first key; how many rows were changed. After it the
    /// other keys are not needed any more.
    pub async fn reseal(&self) -> StoreResult<u64> {
        let mut tx = self.begin().await?;
        let mut changed = 0;
        for column in &LASTING {
            changed += reseal_lasting(&mut tx, &self.sealer, column).await?;
        }
        changed += reseal_provider_sessions(&mut tx, &self.sealer).await?;
        changed += reseal_one_time(&mut tx, &self.sealer).await?;
        tx.commit().await.map_err(unavailable)?;
        Ok(changed)
    }

    /// Number of the newest applied migration.
    pub async fn schema_version(&self) -> StoreResult<i64> {
        let sql = format!("SELECT coalesce(max(version), 0) FROM {}", migrations::TABLE);
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(self.readers()?)
            .await
            .map_err(unavailable)
    }
}

pub(super) async fn note(store: &SqliteStore, name: &str) -> StoreResult<Option<String>> {
    sqlx::query_scalar("SELECT value FROM notes WHERE name = ?")
        .bind(name)
        .fetch_optional(store.readers()?)
        .await
        .map_err(unavailable)
}

pub(super) async fn set_note(store: &SqliteStore, name: &str, value: &str) -> StoreResult<()> {
    sqlx::query(SET_NOTE)
        .bind(name)
        .bind(value)
        .execute(store.writer()?)
        .await
        .map_err(change_error)?;
    Ok(())
}

pub(super) async fn purge(
    store: &SqliteStore,
    now: UnixMillis,
    idle_timeout: Duration,
) -> StoreResult<()> {
    let idle = now.minus(idle_timeout.saturating_add(LAST_SEEN_LAG));
    let statements = [
        (
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions WHERE kind = 'browser' AND last_seen <= ?1 LIMIT ?2)",
            idle,
        ),
        (
            "DELETE FROM refresh_tokens WHERE hash IN
                 (SELECT hash FROM refresh_tokens WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM one_time WHERE (kind, key) IN
                 (SELECT kind, key FROM one_time WHERE expires_at <= ?1 LIMIT ?2)",
            now,
        ),
        (
            "DELETE FROM known_devices WHERE (account_id, device) IN
                 (SELECT account_id, device FROM known_devices WHERE seen_at <= ?1 LIMIT ?2)",
            now.minus(DEVICE_LIFETIME),
        ),
    ];
    for (sql, before) in statements {
        loop {
            let done = sqlx::query(sql)
                .bind(before.0)
                .bind(PURGE_ROWS)
                .execute(store.writer()?)
                .await
                .map_err(unavailable)?;
            if done.rows_affected() < u64::from(PURGE_ROWS) {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

pub(super) async fn ping(store: &SqliteStore) -> StoreResult<()> {
    sqlx::query("SELECT 1 FROM notes LIMIT 1")
        .fetch_optional(store.readers()?)
        .await
        .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn health(store: &SqliteStore) -> StoreResult<StoreHealth> {
    let integrity: String = sqlx::query_scalar("PRAGMA integrity_check(1)")
        .fetch_one(store.readers()?)
        .await
        .map_err(unavailable)?;
    let io = |error: std::io::Error| unavailable(sqlx::Error::Io(error));
    let meta = tokio::fs::metadata(&store.path).await.map_err(io)?;
    let log = tokio::fs::metadata(files::with_suffix(&store.path, "-wal")).await;
    let last_backup = note(store, LAST_BACKUP).await?;
    Ok(StoreHealth {
        engine: "sqlite",
        schema_version: store.schema_version().await?,
        mode: format!("{:04o}", meta.mode() & 0o7777),
        integrity,
        size: meta.len() + log.map_or(0, |log| log.len()),
        last_backup: last_backup.and_then(|at| at.parse().ok()).map(UnixMillis),
    })
}

/// Values that nothing replaces: one that does not open stops the whole.
async fn reseal_lasting(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    column: &SealedColumn,
) -> StoreResult<u64> {
    let rows: Vec<(String, Vec<u8>)> =
        sqlx::query_as(column.select).fetch_all(&mut *connection).await.map_err(unavailable)?;
    let mut changed = 0;
    for (row, sealed) in rows {
        let Some(sealed) = again(sealer, column.table, &row, &sealed)? else { continue };
        sqlx::query(column.update)
            .bind(row)
            .bind(sealed)
            .execute(&mut *connection)
            .await
            .map_err(unavailable)?;
        changed += 1;
    }
    Ok(changed)
}

/// A session whose tokens do not open ends: its provider could no longer end it. One by one,
/// since there may be many and each holds some kilobytes.
async fn reseal_provider_sessions(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
) -> StoreResult<u64> {
    let ids: Vec<String> = sqlx::query_scalar("SELECT session_id FROM provider_sessions")
        .fetch_all(&mut *connection)
        .await
        .map_err(unavailable)?;
    let mut changed = 0;
    for id in ids {
        let sealed: Vec<u8> =
            sqlx::query_scalar("SELECT tokens FROM provider_sessions WHERE session_id = ?")
                .bind(&id)
                .fetch_one(&mut *connection)
                .await
                .map_err(unavailable)?;
        let query = match again(sealer, provider_sessions::TABLE, &id, &sealed) {
            Ok(None) => continue,
            Ok(Some(sealed)) => {
                sqlx::query("UPDATE provider_sessions SET tokens = ?2 WHERE session_id = ?1")
                    .bind(id)
                    .bind(sealed)
            }
            Err(_) => sqlx::query("DELETE FROM sessions WHERE id = ?1").bind(id),
        };
        query.execute(&mut *connection).await.map_err(unavailable)?;
        changed += 1;
    }
    Ok(changed)
}

/// One-time values live for minutes; one that does not open is removed instead of sealed anew.
async fn reseal_one_time(connection: &mut SqliteConnection, sealer: &Sealer) -> StoreResult<u64> {
    let rows: Vec<(String, String, Vec<u8>)> =
        sqlx::query_as("SELECT kind, lower(hex(key)), value FROM one_time")
            .fetch_all(&mut *connection)
            .await
            .map_err(unavailable)?;
    let mut changed = 0;
    for (kind, key, value) in rows {
        let query = match again(sealer, "one_time", &format!("{kind}:{key}"), &value) {
            Ok(None) => continue,
            Ok(Some(sealed)) => {
                sqlx::query("UPDATE one_time SET value = ?3 WHERE kind = ?1 AND key = unhex(?2)")
                    .bind(kind)
                    .bind(key)
                    .bind(sealed)
            }
            Err(_) => sqlx::query("DELETE FROM one_time WHERE kind = ?1 AND key = unhex(?2)")
                .bind(kind)
                .bind(key),
        };
        query.execute(&mut *connection).await.map_err(unavailable)?;
        changed += 1;
    }
    Ok(changed)
}

/// The value sealed by the first key; `None` where it is already.
fn again(sealer: &Sealer, table: &str, row: &str, sealed: &[u8]) -> StoreResult<Option<Vec<u8>>> {
    if sealer.is_current(table, row, sealed) {
        return Ok(None);
    }
    let failed = |_| {
        vestibule_authn::ports::StoreError::Unavailable(
            format!("{table} {row} cannot be opened with the given store_key").into(),
        )
    };
    let plain = zeroize::Zeroizing::new(sealer.open(table, row, sealed).map_err(failed)?);
    sealer.seal(table, row, &plain).map(Some).map_err(failed)
}
