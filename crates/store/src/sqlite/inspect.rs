//! Looks at a file before anything is written to it: whose it is, which schema, whether sound.
//!
//! A read-only look, so that another program's database stays byte for byte as it was. Where
//! no write-ahead log lies beside the file nobody has it open for writing, and it is read
//! without locks (`immutable`), which leaves no files of its own behind either.

use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use super::migrations;
use crate::seal::Sealer;
use crate::{OpenError, files};

/// Files up to this size are checked whole at every open; larger ones by `db check`.
const QUICK_CHECK_BYTES: u64 = 32 << 20;

/// The row of `vestibule_meta` that a wrong `store_key` does not open.
pub(super) const KEY_CHECK: &str = "store_key_check";

/// The row of `vestibule_meta` that tells stores apart; a backup has its store's.
pub(super) const STORE_ID: &str = "store_id";

/// A column of sealed values that nothing else could replace: what of them does not open
/// refuses the start.
pub(super) struct SealedColumn {
    /// As the values name it.
    pub(super) table: &'static str,
    /// Names of rows and what they hold.
    pub(super) select: &'static str,
    /// `?1` the row's name, `?2` the value.
    pub(super) update: &'static str,
    /// The migration that made it.
    since: i64,
    /// What one row is, for people.
    what: &'static str,
}

/// All of them. Beside these `provider_sessions` and `one_time` hold sealed values, which
/// end by themselves.
pub(super) const LASTING: [SealedColumn; 3] = [
    SealedColumn {
        table: "vestibule_meta",
        select: "SELECT name, value FROM vestibule_meta WHERE name = 'store_key_check'",
        update: "UPDATE vestibule_meta SET value = ?2 WHERE name = ?1",
        since: 1,
        what: "the check value",
    },
    SealedColumn {
        table: "signing_keys",
        select: "SELECT kid, pkcs8 FROM signing_keys",
        update: "UPDATE signing_keys SET pkcs8 = ?2 WHERE kid = ?1",
        since: 1,
        what: "the signing key",
    },
    SealedColumn {
        table: "providers",
        select: "SELECT id, secret FROM providers WHERE secret IS NOT NULL",
        update: "UPDATE providers SET secret = ?2 WHERE id = ?1",
        since: 2,
        what: "the client secret of the provider",
    },
];

/// What stands at the path.
#[derive(Debug)]
pub(crate) enum Found {
    /// A sound SQLite file without any table.
    Empty,
    /// Nothing.
    Missing,
    /// A store of ours with its applied migrations.
    Ours(Vec<Applied>),
}

/// An applied migration.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) version: i64,
    pub(crate) description: String,
}

/// Examines the file. `sealer`: also whether what is sealed can be opened.
///
/// Fails where it is not SQLite, damaged, another program's, newer than this program, or
/// sealed with another key.
pub(crate) async fn examine(path: &Path, sealer: Option<&Sealer>) -> Result<Found, OpenError> {
    if !is_there(path)? {
        return Ok(Found::Missing);
    }
    check_header(path)?;
    if let Some(mut connection) = connect_unlocked(path).await {
        let found = read(&mut connection, path, sealer).await;
        let _ = connection.close().await;
        // Without locks a store that is just being written may look damaged: ask again with.
        if !matches!(found, Err(OpenError::Corrupt { .. })) {
            return found;
        }
    }
    let mut connection = connect_locked(path).await?;
    let found = read(&mut connection, path, sealer).await;
    let _ = connection.close().await;
    found
}

/// Whether a store of ours at the path holds anything sealed.
pub(crate) async fn has_sealed_rows(path: &Path) -> Result<bool, OpenError> {
    if !is_there(path)? {
        return Ok(false);
    }
    check_header(path)?;
    let mut connection = connect(path).await?;
    let sealed = async {
        let Found::Ours(_) = read(&mut connection, path, None).await? else { return Ok(false) };
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM signing_keys)
                 OR EXISTS (SELECT 1 FROM vestibule_meta WHERE name = 'store_key_check')",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(|error| OpenError::sqlite(path, &error))
    }
    .await;
    let _ = connection.close().await;
    sealed
}

/// Every complaint of SQLite's full integrity check and of the foreign keys; empty: sound.
pub(crate) async fn complaints(
    connection: &mut SqliteConnection,
) -> Result<Vec<String>, sqlx::Error> {
    let lines: Vec<String> =
        sqlx::query_scalar("PRAGMA integrity_check(100)").fetch_all(&mut *connection).await?;
    let mut complaints: Vec<String> = lines.into_iter().filter(|line| line != "ok").collect();
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(connection).await? {
        let (table, parent): (String, String) = (row.try_get(0)?, row.try_get(2)?);
        complaints.push(format!("a row of {table} points to nothing in {parent}"));
    }
    Ok(complaints)
}

/// A read-only connection to whatever stands at the path.
pub(crate) async fn connect(path: &Path) -> Result<SqliteConnection, OpenError> {
    match connect_unlocked(path).await {
        Some(connection) => Ok(connection),
        None => connect_locked(path).await,
    }
}

async fn connect_unlocked(path: &Path) -> Option<SqliteConnection> {
    let log = files::with_suffix(path, "-wal");
    if std::fs::metadata(log).is_ok_and(|meta| meta.len() > 0) {
        return None;
    }
    let mut connection = options(path).read_only(true).immutable(true).connect().await.ok()?;
    let schema = sqlx::query("SELECT count(*) FROM sqlite_schema");
    schema.execute(&mut connection).await.ok()?;
    Some(connection)
}

async fn connect_locked(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = options(path).read_only(true);
    options.connect().await.map_err(|error| OpenError::sqlite(path, &error))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5))
}

fn is_there(path: &Path) -> Result<bool, OpenError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let log = files::with_suffix(path, "-wal");
            if std::fs::metadata(&log).is_ok_and(|meta| meta.len() > 0) {
                return Err(OpenError::Refused(format!(
                    "{} is missing, but its write-ahead log {} is there. Put the database file back beside it, or restore a backup with `vestibule db restore <FILE>`.",
                    path.display(),
                    log.display(),
                )));
            }
            Ok(false)
        }
        Err(error) => Err(OpenError::io(path, &error)),
    }
}

/// Form and length, without SQLite: a file that is cut off must not look like a new one.
fn check_header(path: &Path) -> Result<(), OpenError> {
    let corrupt =
        |detail: &str| OpenError::Corrupt { path: path.to_owned(), detail: detail.to_owned() };
    let io = |error: std::io::Error| OpenError::io(path, &error);
    let file = std::fs::File::open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(corrupt("it is not a regular file"));
    }
    if meta.len() == 0 {
        return Err(corrupt("it is empty (0 bytes)"));
    }
    let mut header = Vec::with_capacity(100);
    file.take(100).read_to_end(&mut header).map_err(io)?;
    if !header.starts_with(b"SQLite format 3\0") {
        return Err(corrupt("it does not begin as an SQLite file does"));
    }
    let (Some(size), Some(pages)) = (be16(&header, 16), be32(&header, 28)) else {
        return Err(corrupt("it is cut off inside its header"));
    };
    let page = if size == 1 { 65536 } else { u64::from(size) };
    let has_log = std::fs::metadata(files::with_suffix(path, "-wal")).is_ok_and(|m| m.len() > 0);
    if !has_log && be32(&header, 24) == be32(&header, 92) && meta.len() < page * u64::from(pages) {
        return Err(corrupt(&format!(
            "it is cut off: {} bytes where its header says {}",
            meta.len(),
            page * u64::from(pages)
        )));
    }
    Ok(())
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

async fn read(
    connection: &mut SqliteConnection,
    path: &Path,
    sealer: Option<&Sealer>,
) -> Result<Found, OpenError> {
    let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')
             AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(sqlite)?;
    let ours = tables.iter().any(|name| name == migrations::TABLE);
    if !ours && !tables.is_empty() {
        let tables = tables.into_iter().take(6).collect();
        return Err(OpenError::Foreign { path: path.to_owned(), tables });
    }
    if std::fs::metadata(path).is_ok_and(|meta| meta.len() <= QUICK_CHECK_BYTES) {
        let said: String = sqlx::query_scalar("PRAGMA quick_check(1)")
            .fetch_one(&mut *connection)
            .await
            .map_err(sqlite)?;
        if said != "ok" {
            return Err(OpenError::Corrupt { path: path.to_owned(), detail: said });
        }
    }
    if !ours {
        return Ok(Found::Empty);
    }
    let applied = applied(connection, path).await?;
    if let (Some(sealer), Some(newest)) = (sealer, applied.last()) {
        check_seals(connection, path, sealer, newest.version).await?;
    }
    Ok(Found::Ours(applied))
}

async fn applied(
    connection: &mut SqliteConnection,
    path: &Path,
) -> Result<Vec<Applied>, OpenError> {
    let rows: Vec<(i64, String, bool, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT version, description, success, checksum FROM {} ORDER BY version",
        migrations::TABLE
    )))
    .fetch_all(connection)
    .await
    .map_err(|error| OpenError::sqlite(path, &error))?;
    let known = migrations::known();
    let path = path.to_owned();
    let newest = rows.iter().map(|(version, ..)| *version).max().unwrap_or(0);
    if newest > migrations::NEWEST {
        return Err(OpenError::Newer { path, version: newest, known: migrations::NEWEST });
    }
    for (version, _, success, checksum) in &rows {
        if !success {
            return Err(OpenError::UnfinishedMigration { path, version: *version });
        }
        let same = known.iter().any(|m| m.version == *version && *m.checksum == **checksum);
        if !same {
            return Err(OpenError::EditedMigration { path, version: *version });
        }
    }
    Ok(rows
        .into_iter()
        .map(|(version, description, ..)| Applied { version, description })
        .collect())
}

async fn check_seals(
    connection: &mut SqliteConnection,
    path: &Path,
    sealer: &Sealer,
    schema: i64,
) -> Result<(), OpenError> {
    let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
    let sealed = |what: String| OpenError::Sealed { path: path.to_owned(), what };
    for column in LASTING.iter().filter(|column| column.since <= schema) {
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as(column.select).fetch_all(&mut *connection).await.map_err(sqlite)?;
        for (row, value) in rows {
            sealer
                .open(column.table, &row, &value)
                .map_err(|_| sealed(format!("{} {row}", column.what)))?;
        }
    }
    if schema < 2 {
        return Ok(());
    }
    // There may be many: only whether the keys that sealed them are given. A single value that
    // is damaged costs its session, not the start.
    let headers: Vec<Vec<u8>> =
        sqlx::query_scalar("SELECT DISTINCT substr(tokens, 1, 2) FROM provider_sessions")
            .fetch_all(connection)
            .await
            .map_err(sqlite)?;
    if headers.iter().all(|header| sealer.knows(header)) {
        return Ok(());
    }
    Err(sealed("what sessions keep of their providers".to_owned()))
}
