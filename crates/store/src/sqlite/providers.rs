//! Providers that administrators made at run time. The client secret is never in the spec's
//! JSON; it lies sealed beside it.

use zeroize::Zeroizing;

use vestibule_authn::ports::{StoreError, StoreResult, StoredProvider};
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, unavailable};
use crate::seal::Sealer;

/// The table, as sealed values name it.
pub(super) const TABLE: &str = "providers";

/// Id, spec, sealed secret, times.
type Columns = (String, String, Option<Vec<u8>>, i64, i64);

pub(super) async fn stored_providers(store: &SqliteStore) -> StoreResult<Vec<StoredProvider>> {
    let rows: Vec<Columns> = sqlx::query_as(
        "SELECT id, spec, secret, created_at, updated_at FROM providers ORDER BY seq",
    )
    .fetch_all(store.readers()?)
    .await
    .map_err(unavailable)?;
    rows.into_iter().map(|row| read(&store.sealer, row)).collect()
}

pub(super) async fn create_stored_provider(
    store: &SqliteStore,
    provider: StoredProvider,
) -> StoreResult<()> {
    sqlx::query(
        "INSERT INTO providers (id, spec, secret, created_at, updated_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&provider.spec.id)
    .bind(spec_json(&provider.spec)?)
    .bind(seal(&store.sealer, &provider.spec)?)
    .bind(provider.created_at.0)
    .bind(provider.updated_at.0)
    .execute(store.writer()?)
    .await
    .map_err(change_error)?;
    Ok(())
}

pub(super) async fn change_stored_provider(
    store: &SqliteStore,
    provider: StoredProvider,
) -> StoreResult<()> {
    let done = sqlx::query(
        "UPDATE providers SET spec = ?2, secret = coalesce(?3, secret), updated_at = ?4
         WHERE id = ?1",
    )
    .bind(&provider.spec.id)
    .bind(spec_json(&provider.spec)?)
    .bind(seal(&store.sealer, &provider.spec)?)
    .bind(provider.updated_at.0)
    .execute(store.writer()?)
    .await
    .map_err(change_error)?;
    if done.rows_affected() == 0 { Err(StoreError::NotFound) } else { Ok(()) }
}

pub(super) async fn delete_stored_provider(store: &SqliteStore, id: &str) -> StoreResult<bool> {
    let done = sqlx::query("DELETE FROM providers WHERE id = ?")
        .bind(id)
        .execute(store.writer()?)
        .await
        .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

fn read(sealer: &Sealer, row: Columns) -> StoreResult<StoredProvider> {
    let (id, spec, secret, created_at, updated_at) = row;
    let failed = |what: &dyn std::fmt::Display| {
        StoreError::Unavailable(format!("provider {id}: {what}").into())
    };
    let mut spec: ProviderSpec = serde_json::from_str(&spec).map_err(|error| failed(&error))?;
    if let Some(sealed) = secret {
        let plain = Zeroizing::new(sealer.open(TABLE, &id, &sealed).map_err(|e| failed(&e))?);
        let text = str::from_utf8(&plain).map_err(|_| failed(&"its secret is no text"))?;
        spec.client_secret = Some(Secret::new(text));
    }
    Ok(StoredProvider {
        spec,
        created_at: UnixMillis(created_at),
        updated_at: UnixMillis(updated_at),
    })
}

fn spec_json(spec: &ProviderSpec) -> StoreResult<String> {
    serde_json::to_string(spec).map_err(|error| StoreError::Unavailable(error.to_string().into()))
}

fn seal(sealer: &Sealer, spec: &ProviderSpec) -> StoreResult<Option<Vec<u8>>> {
    let Some(secret) = &spec.client_secret else { return Ok(None) };
    let sealed = sealer.seal(TABLE, &spec.id, secret.expose_secret().as_bytes());
    sealed.map(Some).map_err(|error| StoreError::Unavailable(error.to_string().into()))
}
