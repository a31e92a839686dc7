//! What sessions keep of the provider they began at; the tokens are sealed as one value.

use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use zeroize::Zeroizing;

use vestibule_authn::ports::{
    Digest, ProviderSession, ProviderSessions, SessionRecord, StoreError, StoreResult,
};
use vestibule_core::id::SessionId;
use vestibule_core::secret::Secret;
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, sessions, unavailable};
use crate::seal::Sealer;

/// The table, as sealed values name it.
pub(super) const TABLE: &str = "provider_sessions";

/// What is sealed.
#[derive(Serialize)]
struct Tokens<'a> {
    access_token: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// The same, opened. Owned, since an escape in JSON cannot be borrowed.
#[derive(Deserialize)]
struct OpenTokens {
    access_token: String,
    id_token: Option<String>,
    refresh_token: Option<String>,
}

pub(super) async fn create_provider_session(
    store: &SqliteStore,
    session: SessionRecord,
    token: Digest,
    provider: ProviderSession,
) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    sessions::insert(&mut tx, &session, Some(token)).await?;
    put(&mut tx, &store.sealer, session.id, &provider).await?;
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn provider_session(
    store: &SqliteStore,
    session: SessionId,
) -> StoreResult<Option<ProviderSession>> {
    let row = sqlx::query(
        "SELECT provider, issuer, sub, link_subject, sid, tokens, refresh_at
         FROM provider_sessions WHERE session_id = ?",
    )
    .bind(session.to_string())
    .fetch_optional(store.readers()?)
    .await
    .map_err(unavailable)?;
    row.map(|row| read(&row, &store.sealer, session)).transpose()
}

pub(super) async fn set_provider_session(
    store: &SqliteStore,
    session: SessionId,
    provider: ProviderSession,
) -> StoreResult<()> {
    let mut connection = store.writer()?.acquire().await.map_err(unavailable)?;
    put(&mut connection, &store.sealer, session, &provider).await
}

pub(super) async fn delete_sessions_of_other_providers(
    store: &SqliteStore,
    kept: &[&str],
) -> StoreResult<Vec<SessionId>> {
    let kept = serde_json::to_string(kept)
        .map_err(|_| StoreError::Unavailable("the ids of providers cannot be written".into()))?;
    let ids: Vec<String> = sqlx::query_scalar(
        "DELETE FROM sessions WHERE id IN (
             SELECT session_id FROM provider_sessions
             WHERE provider NOT IN (SELECT value FROM json_each(?)))
         RETURNING id",
    )
    .bind(kept)
    .fetch_all(store.writer()?)
    .await
    .map_err(unavailable)?;
    sessions::parse_ids(&ids)
}

pub(super) async fn sessions_at_provider(
    store: &SqliteStore,
    issuer: &str,
    which: ProviderSessions<'_>,
) -> StoreResult<Vec<SessionId>> {
    let query = match which {
        ProviderSessions::Sub(sub) => sqlx::query_scalar(
            "SELECT session_id FROM provider_sessions WHERE issuer = ? AND sub = ?",
        )
        .bind(issuer)
        .bind(sub),
        ProviderSessions::Sid { sid, sub: None } => sqlx::query_scalar(
            "SELECT session_id FROM provider_sessions WHERE issuer = ? AND sid = ?",
        )
        .bind(issuer)
        .bind(sid),
        ProviderSessions::Sid { sid, sub: Some(sub) } => sqlx::query_scalar(
            "SELECT session_id FROM provider_sessions
             WHERE issuer = ? AND sub = ? AND (sid IS NULL OR sid = ?)",
        )
        .bind(issuer)
        .bind(sub)
        .bind(sid),
    };
    let ids: Vec<String> = query.fetch_all(store.readers()?).await.map_err(unavailable)?;
    sessions::parse_ids(&ids)
}

/// A session that is gone is told by its foreign key.
async fn put(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    session: SessionId,
    provider: &ProviderSession,
) -> StoreResult<()> {
    let id = session.to_string();
    sqlx::query(
        "INSERT INTO provider_sessions (session_id, provider, issuer, sub, link_subject, sid,
             tokens, refresh_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (session_id) DO UPDATE SET provider = ?2, issuer = ?3, sub = ?4,
             link_subject = ?5, sid = ?6, tokens = ?7, refresh_at = ?8",
    )
    .bind(&id)
    .bind(&provider.provider)
    .bind(&provider.issuer)
    .bind(&provider.sub)
    .bind(&provider.link_subject)
    .bind(&provider.sid)
    .bind(seal(sealer, &id, provider)?)
    .bind(provider.refresh_at.map(|at| at.0))
    .execute(connection)
    .await
    .map_err(change_error)?;
    Ok(())
}

fn seal(sealer: &Sealer, id: &str, provider: &ProviderSession) -> StoreResult<Vec<u8>> {
    let tokens = Tokens {
        access_token: provider.access_token.expose_secret(),
        id_token: provider.id_token.as_ref().map(Secret::expose_secret),
        refresh_token: provider.refresh_token.as_ref().map(Secret::expose_secret),
    };
    let failed = |text: String| StoreError::Unavailable(text.into());
    let plain = serde_json::to_vec(&tokens).map_err(|error| failed(error.to_string()))?;
    let plain = Zeroizing::new(plain);
    sealer.seal(TABLE, id, &plain).map_err(|error| failed(error.to_string()))
}

fn read(row: &SqliteRow, sealer: &Sealer, session: SessionId) -> StoreResult<ProviderSession> {
    let sealed: Vec<u8> = row.try_get("tokens").map_err(unavailable)?;
    let tokens = open(sealer, &session.to_string(), &sealed)?;
    let text = |column: &str| row.try_get(column).map_err(unavailable);
    let refresh_at: Option<i64> = row.try_get("refresh_at").map_err(unavailable)?;
    Ok(ProviderSession {
        provider: text("provider")?,
        issuer: text("issuer")?,
        sub: text("sub")?,
        link_subject: text("link_subject")?,
        sid: row.try_get("sid").map_err(unavailable)?,
        id_token: tokens.id_token.map(Secret::new),
        access_token: Secret::new(tokens.access_token),
        refresh_token: tokens.refresh_token.map(Secret::new),
        refresh_at: refresh_at.map(UnixMillis),
    })
}

/// The texts of serde's errors may hold what stood there, so they are not passed on.
fn open(sealer: &Sealer, id: &str, sealed: &[u8]) -> StoreResult<OpenTokens> {
    let failed = |what: &str| {
        StoreError::Unavailable(format!("the provider's tokens of session {id}: {what}").into())
    };
    let plain = sealer.open(TABLE, id, sealed).map_err(|error| failed(&error.to_string()))?;
    let plain = Zeroizing::new(plain);
    serde_json::from_slice(&plain).map_err(|_| failed("they cannot be read"))
}
