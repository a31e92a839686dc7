//! One-time values (sealed, since a half-finished sign-in is a secret) and known browsers.

use vestibule_authn::ports::{Digest, OneTimeKind, StoreError, StoreResult};
use vestibule_core::id::AccountId;
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, unavailable};

const TABLE: &str = "one_time";

pub(super) async fn put_one_time(
    store: &SqliteStore,
    kind: OneTimeKind,
    key: Digest,
    value: Vec<u8>,
    expires_at: UnixMillis,
) -> StoreResult<()> {
    let sealed = seal(store, kind, &key, &value)?;
    sqlx::query("INSERT INTO one_time (kind, key, value, expires_at) VALUES (?, ?, ?, ?)")
        .bind(kind.as_str())
        .bind(&key[..])
        .bind(sealed)
        .bind(expires_at.0)
        .execute(store.writer()?)
        .await
        .map_err(change_error)?;
    Ok(())
}

/// One statement, on the one connection that writes: exactly one caller gets `true`, also
/// where two processes ask.
pub(super) async fn remember_once(
    store: &SqliteStore,
    kind: OneTimeKind,
    key: Digest,
    now: UnixMillis,
    expires_at: UnixMillis,
) -> StoreResult<bool> {
    let done = sqlx::query(
        "INSERT INTO one_time (kind, key, value, expires_at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, key) DO UPDATE SET value = ?3, expires_at = ?4
             WHERE one_time.expires_at <= ?5",
    )
    .bind(kind.as_str())
    .bind(&key[..])
    .bind(seal(store, kind, &key, &[])?)
    .bind(expires_at.0)
    .bind(now.0)
    .execute(store.writer()?)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn peek_one_time(
    store: &SqliteStore,
    kind: OneTimeKind,
    key: &Digest,
    now: UnixMillis,
) -> StoreResult<Option<Vec<u8>>> {
    let sealed: Option<Vec<u8>> = sqlx::query_scalar(
        "SELECT value FROM one_time WHERE kind = ? AND key = ? AND expires_at > ?",
    )
    .bind(kind.as_str())
    .bind(&key[..])
    .bind(now.0)
    .fetch_optional(store.readers()?)
    .await
    .map_err(unavailable)?;
    Ok(sealed.and_then(|sealed| open(store, kind, key, &sealed)))
}

/// One statement deletes and returns, on the one connection that writes: exactly one caller
/// gets the value, also where two processes ask.
pub(super) async fn take_one_time(
    store: &SqliteStore,
    kind: OneTimeKind,
    key: &Digest,
    now: UnixMillis,
) -> StoreResult<Option<Vec<u8>>> {
    // A value that is not there costs a read, not a write.
    let there: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM one_time WHERE kind = ? AND key = ?)")
            .bind(kind.as_str())
            .bind(&key[..])
            .fetch_one(store.readers()?)
            .await
            .map_err(unavailable)?;
    if !there {
        return Ok(None);
    }
    let taken: Option<(Vec<u8>, i64)> = sqlx::query_as(
        "DELETE FROM one_time WHERE kind = ? AND key = ? RETURNING value, expires_at",
    )
    .bind(kind.as_str())
    .bind(&key[..])
    .fetch_optional(store.writer()?)
    .await
    .map_err(unavailable)?;
    let live = taken.filter(|(_, expires_at)| *expires_at > now.0);
    Ok(live.and_then(|(sealed, _)| open(store, kind, key, &sealed)))
}

pub(super) async fn add_known_device(
    store: &SqliteStore,
    account: AccountId,
    device: Digest,
    now: UnixMillis,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO known_devices (account_id, device, seen_at) VALUES (?1, ?2, ?3)
         ON CONFLICT (account_id, device) DO UPDATE SET seen_at = max(seen_at, ?3)",
    )
    .bind(account.to_string())
    .bind(&device[..])
    .bind(now.0)
    .execute(store.writer()?)
    .await
    .map_err(change_error)?;
    Ok(())
}

pub(super) async fn is_known_device(
    store: &SqliteStore,
    account: AccountId,
    device: &Digest,
) -> StoreResult<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM known_devices WHERE account_id = ? AND device = ?)",
    )
    .bind(account.to_string())
    .bind(&device[..])
    .fetch_one(store.readers()?)
    .await
    .map_err(unavailable)
}

fn seal(
    store: &SqliteStore,
    kind: OneTimeKind,
    key: &Digest,
    value: &[u8],
) -> StoreResult<Vec<u8>> {
    let sealed = store.sealer.seal(TABLE, &row_name(kind, key), value);
    sealed.map_err(|error| StoreError::Unavailable(error.to_string().into()))
}

/// A value that does not open is worth as much as none.
fn open(store: &SqliteStore, kind: OneTimeKind, key: &Digest, sealed: &[u8]) -> Option<Vec<u8>> {
    let opened = store.sealer.open(TABLE, &row_name(kind, key), sealed);
    opened
        .inspect_err(
            |error| tracing::warn!(kind = kind.as_str(), %error, "store.one_time_unreadable"),
        )
        .ok()
}

/// The row's name that its sealed value is bound to.
pub(super) fn row_name(kind: OneTimeKind, key: &Digest) -> String {
    use std::fmt::Write as _;
    let mut name = format!("{}:", kind.as_str());
    for byte in key {
        let _ = write!(name, "{byte:02x}");
    }
    name
}
