//! Foreign JWTs that are taken no longer, one by one or all of a subject's.

use vestibule_authn::ports::{DeniedBy, DeniedJwt, StoreResult};
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, unavailable};

pub(super) async fn deny_jwt(
    store: &SqliteStore,
    denied: DeniedJwt,
    now: UnixMillis,
) -> StoreResult<()> {
    let (kind, value) = columns(&denied.by);
    sqlx::query(
        "INSERT INTO denied_jwts (issuer, kind, value, created_at) VALUES (?, ?, ?, ?)
         ON CONFLICT DO NOTHING",
    )
    .bind(&denied.issuer)
    .bind(kind)
    .bind(value)
    .bind(now.0)
    .execute(store.writer()?)
    .await
    .map_err(change_error)?;
    Ok(())
}

pub(super) async fn allow_jwt(store: &SqliteStore, denied: &DeniedJwt) -> StoreResult<bool> {
    let (kind, value) = columns(&denied.by);
    let done = sqlx::query("DELETE FROM denied_jwts WHERE issuer = ? AND kind = ? AND value = ?")
        .bind(&denied.issuer)
        .bind(kind)
        .bind(value)
        .execute(store.writer()?)
        .await
        .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn is_jwt_denied(
    store: &SqliteStore,
    issuer: &str,
    sub: &str,
    jti: Option<&str>,
) -> StoreResult<bool> {
    // An absent `jti` is NULL, which equals nothing.
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM denied_jwts
                        WHERE issuer = ?1 AND kind = 'sub' AND value = ?2)
             OR EXISTS (SELECT 1 FROM denied_jwts
                        WHERE issuer = ?1 AND kind = 'jti' AND value = ?3)",
    )
    .bind(issuer)
    .bind(sub)
    .bind(jti)
    .fetch_one(store.readers()?)
    .await
    .map_err(unavailable)
}

fn columns(by: &DeniedBy) -> (&'static str, &str) {
    match by {
        DeniedBy::Jti(jti) => ("jti", jti),
        DeniedBy::Sub(sub) => ("sub", sub),
    }
}
