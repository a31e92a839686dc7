//! API keys, kept under the SHA-256 of their text.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use vestibule_authn::ports::{ApiKeyChange, ApiKeyRecord, Digest, StoreError, StoreResult};
use vestibule_core::account::Account;
use vestibule_core::api_key::RateLimit;
use vestibule_core::id::{AccountId, KeyId};
use vestibule_core::time::UnixMillis;

use super::rows::{self, account_columns, key_columns};
use super::{SqliteStore, change_error, sessions, unavailable};

/// Rows changed by one statement of a batch.
const BATCH: usize = 500;

pub(super) async fn create_api_key(
    store: &SqliteStore,
    key: ApiKeyRecord,
    hash: Digest,
) -> StoreResult<()> {
    let (requests, window_ms) = limit_columns(key.rate_limit);
    sqlx::query(
        "INSERT INTO api_keys (id, hash, owner, name, prefix, start, created_at, expires_at, enabled,
             scopes, rate_requests, rate_window_ms, last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.id.to_string())
    .bind(&hash[..])
    .bind(key.owner.to_string())
    .bind(&key.name)
    .bind(&key.prefix)
    .bind(&key.start)
    .bind(key.created_at.0)
    .bind(key.expires_at.map(|at| at.0))
    .bind(key.enabled)
    .bind(rows::to_json(&key.scopes.to_texts()))
    .bind(requests)
    .bind(window_ms)
    .bind(key.last_used_at.map(|at| at.0))
    .execute(store.writer()?)
    .await
    .map_err(change_error)?;
    Ok(())
}

pub(super) async fn api_key_by_hash(
    store: &SqliteStore,
    hash: &Digest,
) -> StoreResult<Option<(ApiKeyRecord, Account)>> {
    let sql = concat!(
        "SELECT ",
        key_columns!(),
        ", ",
        account_columns!(),
        " FROM api_keys k JOIN accounts a ON a.id = k.owner WHERE k.hash = ?"
    );
    let row = sqlx::query(sql)
        .bind(&hash[..])
        .fetch_optional(store.readers()?)
        .await
        .map_err(unavailable)?;
    row.as_ref()
        .map(|row| Ok((rows::api_key(row)?, rows::account(row)?)))
        .transpose()
        .map_err(unavailable)
}

pub(super) async fn api_key(store: &SqliteStore, id: KeyId) -> StoreResult<Option<ApiKeyRecord>> {
    found(sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(store.readers()?).await)
}

pub(super) async fn api_keys(
    store: &SqliteStore,
    owner: Option<AccountId>,
) -> StoreResult<Vec<ApiKeyRecord>> {
    let all = concat!(
        "SELECT ",
        key_columns!(),
        " FROM api_keys k ORDER BY k.created_at DESC, k.seq DESC"
    );
    let own = concat!(
        "SELECT ",
        key_columns!(),
        " FROM api_keys k WHERE k.owner = ? ORDER BY k.created_at DESC, k.seq DESC"
    );
    let query = match owner {
        Some(owner) => sqlx::query(own).bind(owner.to_string()),
        None => sqlx::query(all),
    };
    let rows = query.fetch_all(store.readers()?).await.map_err(unavailable)?;
    rows.iter().map(rows::api_key).collect::<Result<_, _>>().map_err(unavailable)
}

pub(super) async fn change_api_key(
    store: &SqliteStore,
    id: KeyId,
    change: ApiKeyChange,
) -> StoreResult<ApiKeyRecord> {
    let mut tx = store.begin().await?;
    let mut key = load(&mut tx, id).await?;
    key.name = change.name.unwrap_or(key.name);
    key.enabled = change.enabled.unwrap_or(key.enabled);
    key.expires_at = change.expires_at.unwrap_or(key.expires_at);
    key.scopes = change.scopes.unwrap_or(key.scopes);
    key.rate_limit = change.rate_limit.unwrap_or(key.rate_limit);
    let (requests, window_ms) = limit_columns(key.rate_limit);
    sqlx::query(
        "UPDATE api_keys SET name = ?2, enabled = ?3, expires_at = ?4, scopes = ?5,
             rate_requests = ?6, rate_window_ms = ?7
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(&key.name)
    .bind(key.enabled)
    .bind(key.expires_at.map(|at| at.0))
    .bind(rows::to_json(&key.scopes.to_texts()))
    .bind(requests)
    .bind(window_ms)
    .execute(&mut *tx)
    .await
    .map_err(change_error)?;
    let key = load(&mut tx, id).await?;
    tx.commit().await.map_err(unavailable)?;
    Ok(key)
}

pub(super) async fn delete_api_key(store: &SqliteStore, id: KeyId) -> StoreResult<bool> {
    let done = sqlx::query("DELETE FROM api_keys WHERE id = ?")
        .bind(id.to_string())
        .execute(store.writer()?)
        .await
        .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn api_key_prefixes(store: &SqliteStore) -> StoreResult<Vec<String>> {
    sqlx::query_scalar("SELECT DISTINCT prefix FROM api_keys ORDER BY prefix")
        .fetch_all(store.readers()?)
        .await
        .map_err(unavailable)
}

pub(super) async fn touch_api_keys(
    store: &SqliteStore,
    used: &[(KeyId, UnixMillis)],
) -> StoreResult<()> {
    if used.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for batch in used.chunks(BATCH) {
        sqlx::query(
            "WITH used AS MATERIALIZED (
                 SELECT value ->> 0 AS id, max(value ->> 1) AS at FROM json_each(?) GROUP BY 1)
             UPDATE api_keys SET last_used_at = used.at FROM used
             WHERE api_keys.id = used.id AND coalesce(api_keys.last_used_at, used.at - 1) < used.at",
        )
        .bind(sessions::pairs(batch))
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    }
    tx.commit().await.map_err(unavailable)
}

const BY_ID: &str = concat!("SELECT ", key_columns!(), " FROM api_keys k WHERE k.id = ?");

fn limit_columns(limit: Option<RateLimit>) -> (Option<u32>, Option<i64>) {
    let window = |limit: RateLimit| i64::try_from(limit.window.as_millis()).unwrap_or(i64::MAX);
    (limit.map(|limit| limit.requests), limit.map(window))
}

fn found(row: Result<Option<SqliteRow>, sqlx::Error>) -> StoreResult<Option<ApiKeyRecord>> {
    let row = row.map_err(unavailable)?;
    row.as_ref().map(rows::api_key).transpose().map_err(unavailable)
}

async fn load(connection: &mut SqliteConnection, id: KeyId) -> StoreResult<ApiKeyRecord> {
    found(sqlx::query(BY_ID).bind(id.to_string()).fetch_optional(connection).await)?
        .ok_or(StoreError::NotFound)
}
