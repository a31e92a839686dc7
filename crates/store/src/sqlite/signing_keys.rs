//! Signing keys, sealed at rest.

use sqlx::sqlite::SqliteConnection;

use vestibule_authn::ports::{SigningKeyRecord, StoreError, StoreResult};
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, unavailable};
use crate::seal::Sealer;

const TABLE: &str = "signing_keys";

pub(super) async fn signing_keys(
    store: &SqliteStore,
    purpose: &str,
) -> StoreResult<Vec<SigningKeyRecord>> {
    let mut connection = store.readers()?.acquire().await.map_err(unavailable)?;
    load(&mut connection, &store.sealer, purpose).await
}

pub(super) async fn add_signing_key(
    store: &SqliteStore,
    key: SigningKeyRecord,
    not_after: Option<UnixMillis>,
) -> StoreResult<Vec<SigningKeyRecord>> {
    let sealed = store
        .sealer
        .seal(TABLE, &key.kid, &key.pkcs8)
        .map_err(|error| StoreError::Unavailable(error.to_string().into()))?;
    let mut tx = store.begin().await?;
    sqlx::query(
        "INSERT INTO signing_keys (kid, purpose, pkcs8, created_at, retired_at)
         SELECT ?1, ?2, ?3, ?4, ?5
         WHERE ?6 IS NULL
            OR NOT EXISTS (SELECT 1 FROM signing_keys WHERE purpose = ?2 AND created_at > ?6)",
    )
    .bind(&key.kid)
    .bind(&key.purpose)
    .bind(sealed)
    .bind(key.created_at.0)
    .bind(key.retired_at.map(|at| at.0))
    .bind(not_after.map(|at| at.0))
    .execute(&mut *tx)
    .await
    .map_err(change_error)?;
    let keys = load(&mut tx, &store.sealer, &key.purpose).await?;
    tx.commit().await.map_err(unavailable)?;
    Ok(keys)
}

async fn load(
    connection: &mut SqliteConnection,
    sealer: &Sealer,
    purpose: &str,
) -> StoreResult<Vec<SigningKeyRecord>> {
    let rows: Vec<(String, Vec<u8>, i64, Option<i64>)> = sqlx::query_as(
        "SELECT kid, pkcs8, created_at, retired_at FROM signing_keys WHERE purpose = ?
         ORDER BY created_at, kid",
    )
    .bind(purpose)
    .fetch_all(connection)
    .await
    .map_err(unavailable)?;
    let open = |(kid, sealed, created_at, retired_at): (String, Vec<u8>, i64, Option<i64>)| {
        let pkcs8 = sealer.open(TABLE, &kid, &sealed).map_err(|error| {
            StoreError::Unavailable(format!("signing key {kid}: {error}").into())
        })?;
        Ok(SigningKeyRecord {
            kid,
            purpose: purpose.to_owned(),
            pkcs8,
            created_at: UnixMillis(created_at),
            retired_at: retired_at.map(UnixMillis),
        })
    };
    rows.into_iter().map(open).collect()
}
