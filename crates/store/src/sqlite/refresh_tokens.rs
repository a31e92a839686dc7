//! Refresh tokens: each is used once, and a second use ends its session.
//!
//! Nothing here is cached anywhere: deleting rows of the table, by whatever program, ends the
//! tokens at the next use.

use vestibule_authn::ports::{Digest, RefreshOutcome, StoreError, StoreResult};
use vestibule_core::id::SessionId;
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, sessions, unavailable};

pub(super) async fn add_refresh_token(
    store: &SqliteStore,
    session: SessionId,
    token: Digest,
    now: UnixMillis,
    expires_at: UnixMillis,
) -> StoreResult<()> {
    let added = insert(&session, token, now, expires_at)
        .execute(store.writer()?)
        .await
        .map_err(change_error)?;
    if added.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

pub(super) async fn rotate_refresh_token(
    store: &SqliteStore,
    token: &Digest,
    next: Digest,
    now: UnixMillis,
    next_expires_at: UnixMillis,
) -> StoreResult<RefreshOutcome> {
    let mut tx = store.begin().await?;
    let shown: Option<(String, Option<i64>)> = sqlx::query_as(
        "SELECT r.session_id, r.used_at FROM refresh_tokens r
         JOIN sessions s ON s.id = r.session_id
         JOIN accounts a ON a.id = s.account_id AND a.id = r.user_id
         WHERE r.hash = ?1 AND r.expires_at > ?2 AND s.expires_at > ?2",
    )
    .bind(&token[..])
    .bind(now.0)
    .fetch_optional(&mut *tx)
    .await
    .map_err(unavailable)?;
    let Some((session, used_at)) = shown else { return Ok(RefreshOutcome::Unknown) };
    let session: SessionId = session.parse().map_err(|error| {
        StoreError::Unavailable(format!("refresh_tokens.session_id: {error}").into())
    })?;
    if used_at.is_some() {
        sqlx::query("DELETE FROM sessions WHERE id = ?")
            .bind(session.to_string())
            .execute(&mut *tx)
            .await
            .map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        return Ok(RefreshOutcome::Reused(session));
    }
    sqlx::query("UPDATE refresh_tokens SET used_at = ? WHERE hash = ?")
        .bind(now.0)
        .bind(&token[..])
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    insert(&session, next, now, next_expires_at).execute(&mut *tx).await.map_err(change_error)?;
    sqlx::query("UPDATE sessions SET last_seen = max(last_seen, ?) WHERE id = ?")
        .bind(now.0)
        .bind(session.to_string())
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    let found = sessions::load(&mut tx, session).await?;
    tx.commit().await.map_err(unavailable)?;
    Ok(RefreshOutcome::Rotated(Box::new(found)))
}

/// Inserts nothing where the session is over.
fn insert(
    session: &SessionId,
    token: Digest,
    now: UnixMillis,
    expires_at: UnixMillis,
) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    sqlx::query(
        "INSERT INTO refresh_tokens (hash, user_id, session_id, created_at, expires_at)
         SELECT ?1, account_id, id, ?3, ?4 FROM sessions WHERE id = ?2 AND expires_at > ?3",
    )
    .bind(token.to_vec())
    .bind(session.to_string())
    .bind(now.0)
    .bind(expires_at.0)
}
