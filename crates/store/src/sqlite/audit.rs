//! The audit trail: only ever added to.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use vestibule_authn::ports::{AuditEvent, AuditRecord, StoreResult};
use vestibule_core::time::UnixMillis;

use super::{SqliteStore, change_error, unavailable};

pub(super) async fn append_audit(store: &SqliteStore, events: &[AuditEvent]) -> StoreResult<()> {
    if events.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    for event in events {
        sqlx::query(
            "INSERT INTO audit (time, event, actor, subject, client_ip, request_id, outcome, detail)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(event.time.0)
        .bind(event.event)
        .bind(&event.actor)
        .bind(&event.subject)
        .bind(&event.client_ip)
        .bind(&event.request_id)
        .bind(event.outcome)
        .bind(&event.detail)
        .execute(&mut *tx)
        .await
        .map_err(change_error)?;
    }
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn list(
    store: &SqliteStore,
    before: Option<i64>,
    limit: u32,
) -> StoreResult<Vec<AuditRecord>> {
    let rows = sqlx::query("SELECT * FROM audit WHERE seq < ? ORDER BY seq DESC LIMIT ?")
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(store.readers()?)
        .await
        .map_err(unavailable)?;
    rows.iter().map(record).collect::<Result<_, _>>().map_err(unavailable)
}

fn record(row: &SqliteRow) -> Result<AuditRecord, sqlx::Error> {
    Ok(AuditRecord {
        seq: row.try_get("seq")?,
        event: row.try_get("event")?,
        time: UnixMillis(row.try_get("time")?),
        actor: row.try_get("actor")?,
        subject: row.try_get("subject")?,
        client_ip: row.try_get("client_ip")?,
        request_id: row.try_get("request_id")?,
        outcome: row.try_get("outcome")?,
        detail: row.try_get("detail")?,
    })
}
