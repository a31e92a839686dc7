//! Accounts: unique names, the last administrator, the first one.

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use vestibule_authn::ports::{AccountChange, CreateCondition, NewAccount, StoreError, StoreResult};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::id::AccountId;

use super::rows::{self, account_columns};
use super::{SqliteStore, change_error, unavailable};

/// Longest user name.
const USERNAME_BYTES: usize = 64;

pub(super) async fn account(store: &SqliteStore, id: AccountId) -> StoreResult<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.id = ?");
    found(sqlx::query(sql).bind(id.to_string()).fetch_optional(store.readers()?).await)
}

pub(super) async fn account_by_email(
    store: &SqliteStore,
    email: &str,
) -> StoreResult<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.email = ?");
    found(sqlx::query(sql).bind(email).fetch_optional(store.readers()?).await)
}

pub(super) async fn account_by_username(
    store: &SqliteStore,
    username: &str,
) -> StoreResult<Option<Account>> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.username = ?");
    found(sqlx::query(sql).bind(username).fetch_optional(store.readers()?).await)
}

pub(super) async fn accounts(
    store: &SqliteStore,
    after: Option<AccountId>,
    limit: u32,
) -> StoreResult<Vec<Account>> {
    let sql = concat!(
        "SELECT ",
        account_columns!(),
        " FROM accounts a
          WHERE ?1 IS NULL OR a.seq > (SELECT seq FROM accounts WHERE id = ?1)
          ORDER BY a.seq LIMIT ?2"
    );
    let rows = sqlx::query(sql)
        .bind(after.map(|id| id.to_string()))
        .bind(limit)
        .fetch_all(store.readers()?)
        .await
        .map_err(unavailable)?;
    // An account deleted between two pages must not look like the end of the list.
    if let (true, Some(after)) = (rows.is_empty(), after) {
        account(store, after).await?.ok_or(StoreError::NotFound)?;
    }
    rows.iter().map(rows::account).collect::<Result<_, _>>().map_err(unavailable)
}

pub(super) async fn count_accounts(store: &SqliteStore) -> StoreResult<u64> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM accounts")
        .fetch_one(store.readers()?)
        .await
        .map_err(unavailable)?;
    Ok(count.unsigned_abs())
}

pub(super) async fn create_account(
    store: &SqliteStore,
    new: NewAccount,
    when: CreateCondition,
) -> StoreResult<Account> {
    let mut tx = store.begin().await?;
    let account = insert(&mut tx, new, when).await?;
    tx.commit().await.map_err(unavailable)?;
    Ok(account)
}

pub(super) async fn change_account(
    store: &SqliteStore,
    id: AccountId,
    change: AccountChange,
) -> StoreResult<Account> {
    let mut tx = store.begin().await?;
    let account = apply(&mut tx, id, change).await?;
    tx.commit().await.map_err(unavailable)?;
    Ok(account)
}

/// One statement, on the one connection that writes: of several at once one succeeds.
pub(super) async fn make_admin_if_none(store: &SqliteStore, id: AccountId) -> StoreResult<bool> {
    let done = sqlx::query(
        "UPDATE accounts SET role = 'admin', status = 'active'
         WHERE id = ? AND NOT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin')",
    )
    .bind(id.to_string())
    .execute(store.writer()?)
    .await
    .map_err(unavailable)?;
    Ok(done.rows_affected() > 0)
}

pub(super) async fn delete_account(store: &SqliteStore, id: AccountId) -> StoreResult<()> {
    let mut tx = store.begin().await?;
    if load(&mut tx, id).await?.role == Role::Admin {
        refuse_last_admin(&mut tx, id).await?;
    }
    sqlx::query("DELETE FROM accounts WHERE id = ?")
        .bind(id.to_string())
        .execute(&mut *tx)
        .await
        .map_err(unavailable)?;
    tx.commit().await.map_err(unavailable)
}

pub(super) async fn password_hash(
    store: &SqliteStore,
    id: AccountId,
) -> StoreResult<Option<String>> {
    let hash: Option<Option<String>> =
        sqlx::query_scalar("SELECT password_hash FROM accounts WHERE id = ?")
            .bind(id.to_string())
            .fetch_optional(store.readers()?)
            .await
            .map_err(unavailable)?;
    Ok(hash.flatten())
}

/// Makes an account, on the connection of a running transaction.
pub(super) async fn insert(
    connection: &mut SqliteConnection,
    mut new: NewAccount,
    when: CreateCondition,
) -> StoreResult<Account> {
    if leads(connection, when).await? {
        new.role = Role::Admin;
        new.status = Status::Active;
    }
    let username = free_username(connection, &new.username).await?;
    sqlx::query(
        "INSERT INTO accounts (id, username, email, email_verified, name, role, status, groups,
             password_hash, must_change_password, created_at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.id.to_string())
    .bind(username)
    .bind(&new.email)
    .bind(new.email_verified)
    .bind(&new.name)
    .bind(new.role.as_str())
    .bind(new.status.as_str())
    .bind(rows::groups_json(&new.groups))
    .bind(&new.password_hash)
    .bind(new.must_change_password)
    .bind(new.created_at.0)
    .execute(&mut *connection)
    .await
    .map_err(change_error)?;
    load(connection, new.id).await
}

/// Changes an account, on the connection of a running transaction.
pub(super) async fn apply(
    connection: &mut SqliteConnection,
    id: AccountId,
    change: AccountChange,
) -> StoreResult<Account> {
    let old = load(connection, id).await?;
    let role = change.role.unwrap_or(old.role);
    if old.role == Role::Admin && role != Role::Admin {
        refuse_last_admin(connection, id).await?;
    }
    let (email, email_verified) = change
        .email
        .unwrap_or_else(|| (old.email.as_deref().map(str::to_owned), old.email_verified));
    let must_change = change.password.as_ref().map_or(old.must_change_password, |(_, must)| *must);
    sqlx::query(
        "UPDATE accounts SET username = ?2, name = ?3, email = ?4, email_verified = ?5, role = ?6,
             status = ?7, groups = ?8, must_change_password = ?9,
             password_hash = CASE WHEN ?10 THEN ?11 ELSE password_hash END
         WHERE id = ?1",
    )
    .bind(id.to_string())
    .bind(change.username.as_deref().unwrap_or(&old.username))
    .bind(change.name.as_deref().unwrap_or(&old.name))
    .bind(email)
    .bind(email_verified)
    .bind(role.as_str())
    .bind(change.status.unwrap_or(old.status).as_str())
    .bind(rows::groups_json(change.groups.as_deref().unwrap_or(&old.groups)))
    .bind(must_change)
    .bind(change.password.is_some())
    .bind(change.password.and_then(|(hash, _)| hash))
    .execute(&mut *connection)
    .await
    .map_err(change_error)?;
    load(connection, id).await
}

/// An account, on the connection of a running transaction.
pub(super) async fn load(connection: &mut SqliteConnection, id: AccountId) -> StoreResult<Account> {
    let sql = concat!("SELECT ", account_columns!(), " FROM accounts a WHERE a.id = ?");
    let row = sqlx::query(sql).bind(id.to_string()).fetch_optional(connection).await;
    found(row)?.ok_or(StoreError::NotFound)
}

fn found(row: Result<Option<SqliteRow>, sqlx::Error>) -> StoreResult<Option<Account>> {
    let row = row.map_err(unavailable)?;
    row.as_ref().map(rows::account).transpose().map_err(unavailable)
}

/// Whether an account that is made now becomes an administrator by the condition alone.
async fn leads(connection: &mut SqliteConnection, when: CreateCondition) -> StoreResult<bool> {
    let any = match when {
        CreateCondition::Always => return Ok(false),
        CreateCondition::NoAccounts | CreateCondition::FirstBecomesAdmin => {
            "SELECT EXISTS (SELECT 1 FROM accounts)"
        }
        CreateCondition::NoAdminBecomesAdmin => {
            "SELECT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin')"
        }
    };
    let any: bool = sqlx::query_scalar(any).fetch_one(connection).await.map_err(unavailable)?;
    match when {
        CreateCondition::NoAccounts if any => Err(StoreError::Conflict("setup")),
        CreateCondition::NoAccounts => Ok(false),
        _ => Ok(!any),
    }
}

async fn refuse_last_admin(connection: &mut SqliteConnection, id: AccountId) -> StoreResult<()> {
    let others: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin' AND id <> ?)",
    )
    .bind(id.to_string())
    .fetch_one(connection)
    .await
    .map_err(unavailable)?;
    if others { Ok(()) } else { Err(StoreError::LastAdmin) }
}

/// The wished name, or the wished name with a number. Small numbers first; after ten they
/// double, so that a name wished ten thousand times is still found in a few steps.
async fn free_username(connection: &mut SqliteConnection, wish: &str) -> StoreResult<String> {
    let mut name = wish.to_owned();
    let mut number: u64 = 1;
    loop {
        let taken: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM accounts WHERE username = ?)")
                .bind(&name)
                .fetch_one(&mut *connection)
                .await
                .map_err(unavailable)?;
        if !taken {
            return Ok(name);
        }
        number = if number < 10 { number + 1 } else { number.saturating_mul(2) };
        let digits = number.to_string();
        let mut keep = wish.len().min(USERNAME_BYTES.saturating_sub(digits.len()));
        while !wish.is_char_boundary(keep) {
            keep -= 1;
        }
        name = format!("{}{digits}", wish.get(..keep).unwrap_or_default());
    }
}
