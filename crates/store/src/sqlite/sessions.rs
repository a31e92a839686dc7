//! Sessions and the tokens that prove them. Whether one is over is the caller's to judge: a
//! session is returned with its end, and only what must be atomic is decided here.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use vestibule_authn::ports::{
    Digest, SessionFound, SessionKind, SessionProof, SessionRecord, StoreError, StoreResult,
};
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::time::UnixMillis;

use super::rows::{self, account_columns, session_columns};
use super::{SqliteStore, change_error, unavailable};

/// Tokens that one session keeps for one host: hand-offs in several tabs at once each get
/// theirs, and repeating them does not fill the table.
const TOKENS_PER_HOST: u32 = 4;
/// Rows changed by one statement of a batch.
const BATCH: usize = 500;

/// Asked at requests: every table by its key.
pub(super) const BY_TOKEN: &str = concat!(
    "SELECT t.host AS host, ",
    session_columns!(),
    ", ",
    account_columns!(),
    " FROM session_tokens t JOIN sessions s ON s.id = t.session_id
      JOIN accounts a ON a.id = s.account_id WHERE t.hash = ?"
);

pub(super) async fn create_session(
    store: &SqliteStore,
    session: SessionRecord,
    token: Option<Digest>,
) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    insert(&mut tx, &session, token).await?;
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn session_by_token(
    store: &SqliteStore,
    token: &Digest,
) -> StoreResult<Option<SessionFound>> {
    found(sqlx::query(BY_TOKEN).bind(&token[..]).fetch_optional(store.readers()?).await)
}

pub(super) async fn session(
    store: &SqliteStore,
    id: SessionId,
) -> StoreResult<Option<SessionFound>> {
    found(by_id(id).fetch_optional(store.readers()?).await)
}

pub(super) async fn sessions(
    store: &SqliteStore,
    account: Option<AccountId>,
) -> StoreResult<Vec<SessionRecord>> {
    let all = concat!("SELECT ", session_columns!(), " FROM sessions s ORDER BY s.created_at DESC");
    let own = concat!(
        "SELECT ",
        session_columns!(),
        " FROM sessions s WHERE s.account_id = ? ORDER BY s.created_at DESC"
    );
    let query = match account {
        Some(account) => sqlx::query(own).bind(account.to_string()),
        None => sqlx::query(all),
    };
    let rows = query.fetch_all(store.readers()?).await.map_err(unavailable)?;
    rows.iter().map(rows::session).collect::<Result<_, _>>().map_err(unavailable)
}

pub(super) async fn rotate_session(
    store: &SqliteStore,
    id: SessionId,
    token: Digest,
    proof: Option<SessionProof>,
) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    let (time, amr, mfa) = match &proof {
        Some(proof) => (Some(proof.auth_time.0), Some(rows::to_json(&proof.amr)), Some(proof.mfa)),
        None => (None, None, None),
    };
    let created: Option<i64> = sqlx::query_scalar(
        "UPDATE sessions SET rotate = 0, auth_time = coalesce(?2, auth_time),
             amr = coalesce(?3, amr), mfa = coalesce(?4, mfa)
         WHERE id = ?1 AND kind = 'browser' RETURNING created_at",
    )
    .bind(id.to_string())
    .bind(time)
    .bind(amr)
    .bind(mfa)
    .fetch_optional(&mut *tx)
    .await
    .map_err(unavailable)?;
    let created = created.ok_or(StoreError::NotFound)?;
    sqlx::query("DELETE FROM session_tokens WHERE session_id = ?")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    let made = proof.map_or(UnixMillis(created), |proof| proof.auth_time);
    add_token(&mut tx, id, None, token, made).await?;
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn mark_sessions_for_rotation(
    store: &SqliteStore,
    account: AccountId,
) -> StoreResult<()> {
    sqlx::query("UPDATE sessions SET rotate = 1 WHERE account_id = ? AND kind = 'browser'")
        .bind(account.to_string())
        .execute(store.writer()?)
        .await
        .map_err(unavailable)?;
    Ok(())
}

pub(super) async fn add_host_token(
    store: &SqliteStore,
    session: SessionId,
    host: &str,
    token: Digest,
    now: UnixMillis,
) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    let live: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ? AND kind = 'browser' AND expires_at > ?)",
    )
    .bind(session.to_string())
    .bind(now.0)
    .fetch_one(&mut *tx)
    .await
    .map_err(unavailable)?;
    if !live {
        return Err(StoreError::NotFound);
    }
    add_token(&mut tx, session, Some(host), token, now).await?;
    sqlx::query(
        "DELETE FROM session_tokens WHERE session_id = ?1 AND host = ?2 AND hash <> ?3
             AND hash NOT IN (SELECT hash FROM session_tokens WHERE session_id = ?1 AND host = ?2
                              ORDER BY created_at DESC LIMIT ?4)",
    )
    .bind(session.to_string())
    .bind(host)
    .bind(&token[..])
    .bind(TOKENS_PER_HOST)
    .execute(&mut *tx)
    .await
    .map_err(unavailable)?;
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn delete_session(store: &SqliteStore, id: SessionId) -> StoreResult<bool> {
    let done = sqlx::query("DELETE FROM sessions WHERE id = ?")
        .bind(id.to_string())
        .execute(store.writer()?)
        .await
        .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn delete_sessions(
    store: &SqliteStore,
    account: AccountId,
    except: Option<SessionId>,
) -> StoreResult<Vec<SessionId>> {
    let ids: Vec<String> = sqlx::query_scalar(
        "DELETE FROM sessions WHERE account_id = ?1 AND (?2 IS NULL OR id <> ?2) RETURNING id",
    )
    .bind(account.to_string())
    .bind(except.map(|id| id.to_string()))
    .fetch_all(store.writer()?)
    .await
    .map_err(unavailable)?;
    parse_ids(&ids)
}

pub(super) async fn delete_all_sessions(store: &SqliteStore) -> StoreResult<u64> {
    let done =
        sqlx::query("DELETE FROM sessions").execute(store.writer()?).await.map_err(unavailable)?;
    Ok(done.rows_affected())
}

pub(super) async fn touch_sessions(
    store: &SqliteStore,
    seen: &[(SessionId, UnixMillis)],
) -> StoreResult<()> {
    if seen.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for batch in seen.chunks(BATCH) {
        sqlx::query(
            "WITH seen AS MATERIALIZED (
                 SELECT value ->> 0 AS id, max(value ->> 1) AS at FROM json_each(?) GROUP BY 1)
             UPDATE sessions SET last_seen = seen.at FROM seen
             WHERE sessions.id = seen.id AND sessions.last_seen < seen.at",
        )
        .bind(pairs(batch))
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    }
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn count_sessions(store: &SqliteStore, now: UnixMillis) -> StoreResult<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE expires_at > ?")
        .bind(now.0)
        .fetch_one(store.readers()?)
        .await
        .map_err(unavailable)?;
    Ok(count.unsigned_abs())
}

/// Stores a session, on the connection of a running transaction.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    session: &SessionRecord,
    token: Option<Digest>,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO sessions (id, account_id, kind, created_at, auth_time, last_seen, expires_at,
             remember, amr, mfa, rotate, client_ip, user_agent)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(session.id.to_string())
    .bind(session.account.to_string())
    .bind(rows::kind_word(session.kind))
    .bind(session.created_at.0)
    .bind(session.auth_time.0)
    .bind(session.last_seen.0)
    .bind(session.expires_at.0)
    .bind(session.remember)
    .bind(rows::to_json(&session.amr))
    .bind(session.mfa)
    .bind(session.rotate)
    .bind(&session.client_ip)
    .bind(&session.user_agent)
    .execute(&mut *connection)
    .await
    .map_err(change_error)?;
    if let (SessionKind::Browser, Some(token)) = (session.kind, token) {
        add_token(connection, session.id, None, token, session.created_at).await?;
    }
    Ok(())
}

/// A session with its account, on the connection of a running transaction.
pub(super) async fn load(
    connection: &mut SqliteConnection,
    id: SessionId,
) -> StoreResult<SessionFound> {
    found(by_id(id).fetch_optional(connection).await)?.ok_or(StoreError::NotFound)
}

/// Ids as a query returned them.
pub(super) fn parse_ids(ids: &[String]) -> StoreResult<Vec<SessionId>> {
    ids.iter()
        .map(|id| id.parse().map_err(|error| StoreError::Unavailable(format!("{error}").into())))
        .collect()
}

/// Ids with times as the JSON that a batch statement takes.
pub(super) fn pairs<T: std::fmt::Display>(list: &[(T, UnixMillis)]) -> String {
    let pairs = list.iter().map(|(id, at)| serde_json::json!([id.to_string(), at.0]));
    serde_json::Value::from_iter(pairs).to_string()
}

fn by_id(
    id: SessionId,
) -> sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments> {
    let sql = concat!(
        "SELECT NULL AS host, ",
        session_columns!(),
        ", ",
        account_columns!(),
        " FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = ?"
    );
    sqlx::query(sql).bind(id.to_string())
}

fn found(row: Result<Option<SqliteRow>, sqlx::Error>) -> StoreResult<Option<SessionFound>> {
    let row = row.map_err(unavailable)?;
    row.as_ref().map(rows::session_found).transpose().map_err(unavailable)
}

async fn add_token(
    connection: &mut SqliteConnection,
    session: SessionId,
    host: Option<&str>,
    token: Digest,
    now: UnixMillis,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO session_tokens (hash, session_id, host, created_at) VALUES (?, ?, ?, ?)",
    )
    .bind(&token[..])
    .bind(session.to_string())
    .bind(host)
    .bind(now.0)
    .execute(connection)
    .await
    .map_err(change_error)?;
    Ok(())
}
