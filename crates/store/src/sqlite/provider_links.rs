//! Identities at providers: which account signs in as whom. The key is (issuer, subject),
//! byte for byte; nothing is ever found by an e-mail here.

use sqlx::sqlite::{Sqlite, SqliteArguments, SqliteConnection};

use vestibule_authn::ports::{
    AccountChange, CreateCondition, NewAccount, ProviderLink, StoreError, StoreResult,
};
use vestibule_core::account::{Account, Role};
use vestibule_core::id::{AccountId, SessionId};

use super::rows::{self, account_columns, link_columns};
use super::{SqliteStore, accounts, change_error, sessions, unavailable};

pub(super) async fn create_linked_account(
    store: &SqliteStore,
    new: NewAccount,
    when: CreateCondition,
    link: ProviderLink,
) -> StoreResult<Account> {
    let mut tx = store.begin().await?;
    refuse_taken(&mut tx, &link).await?;
    let account = accounts::insert(&mut tx, new, when).await?;
    let link = ProviderLink { account: account.id, ..link };
    insert(&link).execute(&mut *tx).await.map_err(change_error)?;
    tx.commit().await.map_err(unavailable)?;
    Ok(account)
}

pub(super) async fn provider_link(
    store: &SqliteStore,
    issuer: &str,
    subject: &str,
) -> StoreResult<Option<(ProviderLink, Account)>> {
    let sql = concat!(
        "SELECT ",
        link_columns!(),
        ", ",
        account_columns!(),
        " FROM provider_links l JOIN accounts a ON a.id = l.account_id
          WHERE l.issuer = ? AND l.subject = ?"
    );
    let row = sqlx::query(sql)
        .bind(issuer)
        .bind(subject)
        .fetch_optional(store.readers()?)
        .await
        .map_err(unavailable)?;
    row.as_ref()
        .map(|row| Ok((rows::provider_link(row)?, rows::account(row)?)))
        .transpose()
        .map_err(unavailable)
}

pub(super) async fn provider_links(
    store: &SqliteStore,
    account: AccountId,
) -> StoreResult<Vec<ProviderLink>> {
    let sql = concat!(
        "SELECT ",
        link_columns!(),
        " FROM provider_links l WHERE l.account_id = ?
          ORDER BY l.linked_at, l.issuer, l.subject"
    );
    let rows = sqlx::query(sql)
        .bind(account.to_string())
        .fetch_all(store.readers()?)
        .await
        .map_err(unavailable)?;
    rows.iter().map(rows::provider_link).collect::<Result<_, _>>().map_err(unavailable)
}

pub(super) async fn add_provider_link(
    store: &SqliteStore,
    link: ProviderLink,
    verified_email: Option<&str>,
    empty_first: bool,
) -> StoreResult<Vec<SessionId>> {
    let mut tx = store.begin().await?;
    accounts::load(&mut tx, link.account).await?;
    refuse_taken(&mut tx, &link).await?;
    let ended = if empty_first { empty(&mut tx, link.account).await? } else { Vec::new() };
    if let Some(email) = verified_email {
        let change =
            AccountChange { email: Some((Some(email.to_owned()), true)), ..Default::default() };
        accounts::apply(&mut tx, link.account, change).await?;
    }
    insert(&link).execute(&mut *tx).await.map_err(change_error)?;
    tx.commit().await.map_err(unavailable)?;
    Ok(ended)
}

pub(super) async fn update_provider_link(
    store: &SqliteStore,
    link: ProviderLink,
    change: Option<AccountChange>,
) -> StoreResult<Account> {
    let mut tx = store.begin().await?;
    let done = sqlx::query(
        "UPDATE provider_links SET provider = ?4, display = ?5, groups = ?6, role = ?7,
             last_used_at = max(last_used_at, ?8)
         WHERE issuer = ?1 AND subject = ?2 AND account_id = ?3",
    )
    .bind(&link.issuer)
    .bind(&link.subject)
    .bind(link.account.to_string())
    .bind(&link.provider)
    .bind(&link.display)
    .bind(rows::groups_json(&link.groups))
    .bind(link.role.map(Role::as_str))
    .bind(link.last_used_at.0)
    .execute(&mut *tx)
    .await
    .map_err(change_error)?;
    // Unlinked in between, perhaps linked to somebody else: it must not come back.
    if done.rows_affected() == 0 {
        return Err(StoreError::NotFound);
    }
    let account = match change {
        Some(change) => accounts::apply(&mut tx, link.account, change).await?,
        None => accounts::load(&mut tx, link.account).await?,
    };
    tx.commit().await.map_err(unavailable)?;
    Ok(account)
}

pub(super) async fn delete_provider_link(
    store: &SqliteStore,
    account: AccountId,
    issuer: &str,
    subject: &str,
) -> StoreResult<bool> {
    let done = sqlx::query(
        "DELETE FROM provider_links WHERE issuer = ? AND subject = ? AND account_id = ?",
    )
    .bind(issuer)
    .bind(subject)
    .bind(account.to_string())
    .execute(store.writer()?)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

/// Asked before anything is changed: emptying the account would remove the very row that
/// tells the conflict.
async fn refuse_taken(connection: &mut SqliteConnection, link: &ProviderLink) -> StoreResult<()> {
    let taken: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM provider_links WHERE issuer = ? AND subject = ?)",
    )
    .bind(&link.issuer)
    .bind(&link.subject)
    .fetch_one(connection)
    .await
    .map_err(unavailable)?;
    if taken { Err(StoreError::Conflict("link")) } else { Ok(()) }
}

/// Takes from an account every way in that it has; the sessions that ended.
async fn empty(connection: &mut SqliteConnection, id: AccountId) -> StoreResult<Vec<SessionId>> {
    let id = id.to_string();
    let ended: Vec<String> =
        sqlx::query_scalar("DELETE FROM sessions WHERE account_id = ? RETURNING id")
            .bind(&id)
            .fetch_all(&mut *connection)
            .await
            .map_err(unavailable)?;
    for sql in [
        "UPDATE accounts SET password_hash = NULL, must_change_password = 0 WHERE id = ?",
        "DELETE FROM api_keys WHERE owner = ?",
        "DELETE FROM known_devices WHERE account_id = ?",
        "DELETE FROM provider_links WHERE account_id = ?",
    ] {
        sqlx::query(sql).bind(&id).execute(&mut *connection).await.map_err(unavailable)?;
    }
    sessions::parse_ids(&ended)
}

fn insert(link: &ProviderLink) -> sqlx::query::Query<'_, Sqlite, SqliteArguments> {
    sqlx::query(
        "INSERT INTO provider_links (issuer, subject, account_id, provider, display, groups, role,
             linked_at, last_used_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(&link.issuer)
    .bind(&link.subject)
    .bind(link.account.to_string())
    .bind(&link.provider)
    .bind(&link.display)
    .bind(rows::groups_json(&link.groups))
    .bind(link.role.map(Role::as_str))
    .bind(link.linked_at.0)
    .bind(link.last_used_at.0)
}
