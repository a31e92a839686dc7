//! The SQL behind backup and restore: the copy itself, and what a restored copy must not
//! bring back.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sqlx::sqlite::{SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions as _, Connection as _};

use super::inspect::{self, Found, STORE_ID};
use super::{OpenError, bring_up, options};
use crate::seal::Sealer;

/// What a restore kept revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Keys of the backup that were deleted since, and were removed again.
    pub keys_removed: u64,
    /// Keys that were switched off or given an earlier end since, and are so again.
    pub keys_narrowed: u64,
    /// Accounts that were disabled, rejected or demoted since, and are so again.
    pub accounts_narrowed: u64,
    /// Identities at providers that were taken off an account since, and are so again.
    pub links_removed: u64,
    /// Providers that were removed or switched off since, and are off now.
    pub providers_off: u64,
    /// Foreign JWTs that were denied since, and are so again.
    pub jwts_denied: u64,
}

/// What the store that is replaced knows of keys and accounts.
pub(crate) struct Present {
    store_id: Vec<u8>,
    keys: HashMap<String, (bool, Option<i64>)>,
    accounts: Vec<(String, String, String)>,
    providers: Option<PresentProviders>,
}

/// What it knows of providers; a store of the first schema knows nothing of them.
struct PresentProviders {
    /// (issuer, subject) and the account.
    links: HashSet<(String, String, String)>,
    /// Ids of those that are not switched off.
    on: HashSet<String>,
    /// issuer, kind, value and time.
    denied: Vec<(String, String, String, i64)>,
}

impl Present {
    /// `None` where it cannot be read.
    pub(crate) async fn read(path: &Path) -> Option<Self> {
        let mut connection = inspect::connect(path).await.ok()?;
        let read = Self::query(&mut connection).await;
        let _ = connection.close().await;
        read.inspect_err(|error| tracing::warn!(%error, "store.restore_over_unreadable")).ok()
    }

    async fn query(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let store_id = store_id(connection).await?;
        let keys: Vec<(String, bool, Option<i64>)> =
            sqlx::query_as("SELECT id, enabled, expires_at FROM api_keys")
                .fetch_all(&mut *connection)
                .await?;
        let accounts = sqlx::query_as("SELECT id, role, status FROM accounts")
            .fetch_all(&mut *connection)
            .await?;
        let keys = keys.into_iter().map(|(id, enabled, end)| (id, (enabled, end))).collect();
        let providers = PresentProviders::query(connection).await?;
        Ok(Self { store_id, keys, accounts, providers })
    }
}

impl PresentProviders {
    async fn query(connection: &mut SqliteConnection) -> Result<Option<Self>, sqlx::Error> {
        let there: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'provider_links')",
        )
        .fetch_one(&mut *connection)
        .await?;
        if !there {
            return Ok(None);
        }
        let links: Vec<(String, String, String)> =
            sqlx::query_as("SELECT issuer, subject, account_id FROM provider_links")
                .fetch_all(&mut *connection)
                .await?;
        let on: Vec<String> = sqlx::query_scalar(
            "SELECT id FROM providers WHERE coalesce(spec ->> 'enabled', 1) <> 0",
        )
        .fetch_all(&mut *connection)
        .await?;
        let denied = sqlx::query_as("SELECT issuer, kind, value, created_at FROM denied_jwts")
            .fetch_all(connection)
            .await?;
        let (links, on) = (links.into_iter().collect(), on.into_iter().collect());
        Ok(Some(Self { links, on, denied }))
    }
}

/// Writes one consistent reading of the store at `path` into the empty file `to`.
pub(crate) async fn vacuum_into(path: &Path, to: &Path) -> Result<(), sqlx::Error> {
    let mut connection = options(path).read_only(true).connect().await?;
    let to =
        to.to_str().ok_or_else(|| sqlx::Error::Protocol("the path is not UTF-8".to_owned()))?;
    let copied = sqlx::query("VACUUM INTO ?").bind(to).execute(&mut connection).await;
    connection.close().await?;
    copied.map(drop)
}

/// Folds the write-ahead log into the file where that can be done.
pub(crate) async fn fold_log(path: &Path) {
    if let Ok(connection) = options(path).connect().await {
        let mut connection = connection;
        let _ = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await;
        let _ = connection.close().await;
    }
}

/// Makes an unpacked backup fit to be the store: checks it whole, brings its schema up to
/// date, ends every session, and revokes what `present` revoked. Returns what was carried
/// over, and how many accounts and keys there are.
pub(crate) async fn prepare(
    copy: &Path,
    present: Option<Present>,
    sealer: &Sealer,
) -> Result<(Option<Carried>, u64, u64), OpenError> {
    match inspect::examine(copy, Some(sealer)).await? {
        Found::Ours(applied) if !applied.is_empty() => {}
        _ => return Err(OpenError::Refused(format!("{} holds no store", copy.display()))),
    }
    let sqlite = |error: sqlx::Error| OpenError::sqlite(copy, &error);
    let options = options(copy).journal_mode(SqliteJournalMode::Memory);
    let mut connection = options.connect().await.map_err(sqlite)?;
    let complaints = inspect::complaints(&mut connection).await.map_err(sqlite)?;
    if let Some(first) = complaints.into_iter().next() {
        return Err(OpenError::Corrupt { path: copy.to_owned(), detail: first });
    }
    bring_up(&mut connection, copy, sealer).await?;
    let carried = narrow(&mut connection, present).await.map_err(sqlite)?;
    let counts: (i64, i64) =
        sqlx::query_as("SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM api_keys)")
            .fetch_one(&mut connection)
            .await
            .map_err(sqlite)?;
    connection.close().await.map_err(sqlite)?;
    Ok((carried, counts.0.unsigned_abs(), counts.1.unsigned_abs()))
}

async fn narrow(
    connection: &mut SqliteConnection,
    present: Option<Present>,
) -> Result<Option<Carried>, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    for sql in [
        "DELETE FROM provider_sessions",
        "DELETE FROM refresh_tokens",
        "DELETE FROM session_tokens",
        "DELETE FROM sessions",
        "DELETE FROM one_time",
    ] {
        sqlx::query(sql).execute(&mut *tx).await?;
    }
    // A store of another origin (say, a fresh one made after a loss) knows nothing of the
    // backup's keys; that they are absent from it means nothing.
    let own = store_id(&mut tx).await?;
    let carried = match present.filter(|present| present.store_id == own) {
        Some(present) => {
            let mut carried = narrow_keys(&mut tx, &present.keys).await?;
            carried.accounts_narrowed = narrow_accounts(&mut tx, &present.accounts).await?;
            if let Some(providers) = &present.providers {
                carried.links_removed =
                    narrow_links(&mut tx, &providers.links, &present.accounts).await?;
                carried.providers_off = narrow_providers(&mut tx, &providers.on).await?;
                carried.jwts_denied = deny_again(&mut tx, &providers.denied).await?;
            }
            Some(carried)
        }
        None => None,
    };
    tx.commit().await?;
    Ok(carried)
}

async fn narrow_keys(
    connection: &mut SqliteConnection,
    present: &HashMap<String, (bool, Option<i64>)>,
) -> Result<Carried, sqlx::Error> {
    let mut carried = Carried::default();
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM api_keys").fetch_all(&mut *connection).await?;
    for id in ids {
        let Some((enabled, end)) = present.get(&id) else {
            sqlx::query("DELETE FROM api_keys WHERE id = ?")
                .bind(id)
                .execute(&mut *connection)
                .await?;
            carried.keys_removed += 1;
            continue;
        };
        let done = sqlx::query(
            "UPDATE api_keys SET enabled = min(enabled, ?2),
                 expires_at = CASE WHEN ?3 IS NULL THEN expires_at
                                   ELSE min(coalesce(expires_at, ?3), ?3) END
             WHERE id = ?1 AND (enabled > ?2 OR coalesce(expires_at > ?3, ?3 IS NOT NULL))",
        )
        .bind(id)
        .bind(enabled)
        .bind(end)
        .execute(&mut *connection)
        .await?;
        carried.keys_narrowed += done.rows_affected();
    }
    Ok(carried)
}

/// Statuses first, then roles, so long as an administrator is left.
async fn narrow_accounts(
    connection: &mut SqliteConnection,
    present: &[(String, String, String)],
) -> Result<u64, sqlx::Error> {
    let mut changed = 0;
    for (id, role, status) in present {
        let done = sqlx::query(
            "UPDATE accounts SET
                 status = CASE WHEN ?2 IN ('disabled', 'rejected') THEN ?2 ELSE status END,
                 role = CASE WHEN ?3 = 'user' AND EXISTS (SELECT 1 FROM accounts
                                 WHERE role = 'admin' AND id <> ?1) THEN ?3 ELSE role END
             WHERE id = ?1 AND ((?2 IN ('disabled', 'rejected') AND status <> ?2)
                             OR (?3 = 'user' AND role = 'admin'))",
        )
        .bind(id)
        .bind(status)
        .bind(role)
        .execute(&mut *connection)
        .await?;
        changed += done.rows_affected();
    }
    Ok(changed)
}

/// An account that was deleted since comes back with its identities, as with its password.
async fn narrow_links(
    connection: &mut SqliteConnection,
    present: &HashSet<(String, String, String)>,
    accounts: &[(String, String, String)],
) -> Result<u64, sqlx::Error> {
    let accounts: HashSet<&str> = accounts.iter().map(|(id, ..)| id.as_str()).collect();
    let links: Vec<(String, String, String)> =
        sqlx::query_as("SELECT issuer, subject, account_id FROM provider_links")
            .fetch_all(&mut *connection)
            .await?;
    let mut removed = 0;
    for link in links {
        // Also where it belongs to another account by now.
        if present.contains(&link) || !accounts.contains(link.2.as_str()) {
            continue;
        }
        sqlx::query("DELETE FROM provider_links WHERE issuer = ? AND subject = ?")
            .bind(link.0)
            .bind(link.1)
            .execute(&mut *connection)
            .await?;
        removed += 1;
    }
    Ok(removed)
}

/// One that was removed since comes back, but switched off: nobody signs in with it before
/// an administrator has looked.
async fn narrow_providers(
    connection: &mut SqliteConnection,
    on: &HashSet<String>,
) -> Result<u64, sqlx::Error> {
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id FROM providers WHERE coalesce(spec ->> 'enabled', 1) <> 0")
            .fetch_all(&mut *connection)
            .await?;
    let mut off = 0;
    for id in ids.iter().filter(|id| !on.contains(*id)) {
        sqlx::query(
            "UPDATE providers SET spec = json_set(spec, '$.enabled', json('false')) WHERE id = ?",
        )
        .bind(id)
        .execute(&mut *connection)
        .await?;
        off += 1;
    }
    Ok(off)
}

async fn deny_again(
    connection: &mut SqliteConnection,
    denied: &[(String, String, String, i64)],
) -> Result<u64, sqlx::Error> {
    let mut added = 0;
    for (issuer, kind, value, created_at) in denied {
        let done = sqlx::query(
            "INSERT INTO denied_jwts (issuer, kind, value, created_at) VALUES (?, ?, ?, ?)
             ON CONFLICT DO NOTHING",
        )
        .bind(issuer)
        .bind(kind)
        .bind(value)
        .bind(created_at)
        .execute(&mut *connection)
        .await?;
        added += done.rows_affected();
    }
    Ok(added)
}

async fn store_id(connection: &mut SqliteConnection) -> Result<Vec<u8>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM vestibule_meta WHERE name = ?")
        .bind(STORE_ID)
        .fetch_one(connection)
        .await
}
