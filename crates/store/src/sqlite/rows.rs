//! Reading rows into the records of `core` and `authn`. A column list and its reader stand
//! side by side, so that a query and its mapping cannot drift apart.

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteRow;
use sqlx::{Error, Row as _};

use vestibule_authn::ports::{
    ApiKeyRecord, ProviderLink, SessionFound, SessionKind, SessionRecord,
};
use vestibule_core::account::Account;
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::group::Group;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::time::UnixMillis;

/// Columns of an account, of a table called `a`.
macro_rules! account_columns {
    () => {
        "a.id AS a_id, a.username AS a_username, a.email AS a_email, \
         a.email_verified AS a_email_verified, a.name AS a_name, a.role AS a_role, \
         a.status AS a_status, a.groups AS a_groups, \
         a.must_change_password AS a_must_change_password, a.created_at AS a_created_at"
    };
}

/// Columns of a session, of a table called `s`.
macro_rules! session_columns {
    () => {
        "s.id AS s_id, s.account_id AS s_account_id, s.kind AS s_kind, \
         s.created_at AS s_created_at, s.auth_time AS s_auth_time, s.last_seen AS s_last_seen, \
         s.expires_at AS s_expires_at, s.remember AS s_remember, s.amr AS s_amr, s.mfa AS s_mfa, \
         s.rotate AS s_rotate, s.client_ip AS s_client_ip, s.user_agent AS s_user_agent"
    };
}

/// Columns of an API key, of a table called `k`.
macro_rules! key_columns {
    () => {
        "k.id AS k_id, k.owner AS k_owner, k.name AS k_name, k.prefix AS k_prefix, \
         k.start AS k_start, k.created_at AS k_created_at, k.expires_at AS k_expires_at, \
         k.enabled AS k_enabled, k.scopes AS k_scopes, k.rate_requests AS k_rate_requests, \
         k.rate_window_ms AS k_rate_window_ms, k.last_used_at AS k_last_used_at"
    };
}

/// Columns of an identity at a provider, of a table called `l`.
macro_rules! link_columns {
    () => {
        "l.issuer AS l_issuer, l.subject AS l_subject, l.account_id AS l_account_id, \
         l.provider AS l_provider, l.display AS l_display, l.groups AS l_groups, \
         l.role AS l_role, l.linked_at AS l_linked_at, l.last_used_at AS l_last_used_at"
    };
}

pub(super) use {account_columns, key_columns, link_columns, session_columns};

/// Reads the columns of `account_columns!`.
pub(super) fn account(row: &SqliteRow) -> Result<Account, Error> {
    Ok(Account {
        id: account_id(row, "a_id")?,
        username: Arc::from(row.try_get::<&str, _>("a_username")?),
        email: row.try_get::<Option<&str>, _>("a_email")?.map(Arc::from),
        email_verified: row.try_get("a_email_verified")?,
        name: Arc::from(row.try_get::<&str, _>("a_name")?),
        role: word(row, "a_role")?,
        status: word(row, "a_status")?,
        groups: groups(row.try_get("a_groups")?)?,
        must_change_password: row.try_get("a_must_change_password")?,
        created_at: UnixMillis(row.try_get("a_created_at")?),
    })
}

/// Reads the columns of `session_columns!`.
pub(super) fn session(row: &SqliteRow) -> Result<SessionRecord, Error> {
    Ok(SessionRecord {
        id: word::<SessionId>(row, "s_id")?,
        account: account_id(row, "s_account_id")?,
        kind: session_kind(row.try_get("s_kind")?)?,
        created_at: UnixMillis(row.try_get("s_created_at")?),
        auth_time: UnixMillis(row.try_get("s_auth_time")?),
        last_seen: UnixMillis(row.try_get("s_last_seen")?),
        expires_at: UnixMillis(row.try_get("s_expires_at")?),
        remember: row.try_get("s_remember")?,
        amr: from_json(row.try_get("s_amr")?)?,
        mfa: row.try_get("s_mfa")?,
        rotate: row.try_get("s_rotate")?,
        client_ip: row.try_get("s_client_ip")?,
        user_agent: row.try_get("s_user_agent")?,
    })
}

/// Reads both, and the `host` of the token that was asked for.
pub(super) fn session_found(row: &SqliteRow) -> Result<SessionFound, Error> {
    Ok(SessionFound { session: session(row)?, account: account(row)?, host: row.try_get("host")? })
}

/// Reads the columns of `key_columns!`.
pub(super) fn api_key(row: &SqliteRow) -> Result<ApiKeyRecord, Error> {
    let scopes: Vec<String> = from_json(row.try_get("k_scopes")?)?;
    let requests: Option<i64> = row.try_get("k_rate_requests")?;
    let window: Option<i64> = row.try_get("k_rate_window_ms")?;
    let rate_limit = match (requests, window) {
        (Some(requests), Some(window)) => Some(RateLimit {
            requests: u32::try_from(requests).map_err(decode)?,
            window: Duration::from_millis(u64::try_from(window).map_err(decode)?),
        }),
        _ => None,
    };
    Ok(ApiKeyRecord {
        id: word::<KeyId>(row, "k_id")?,
        owner: account_id(row, "k_owner")?,
        name: row.try_get("k_name")?,
        prefix: row.try_get("k_prefix")?,
        start: row.try_get("k_start")?,
        created_at: UnixMillis(row.try_get("k_created_at")?),
        expires_at: row.try_get::<Option<i64>, _>("k_expires_at")?.map(UnixMillis),
        enabled: row.try_get("k_enabled")?,
        scopes: Scopes::parse(scopes.iter().map(String::as_str)).map_err(decode)?,
        rate_limit,
        last_used_at: row.try_get::<Option<i64>, _>("k_last_used_at")?.map(UnixMillis),
    })
}

/// Reads the columns of `link_columns!`.
pub(super) fn provider_link(row: &SqliteRow) -> Result<ProviderLink, Error> {
    let role: Option<&str> = row.try_get("l_role")?;
    Ok(ProviderLink {
        issuer: row.try_get("l_issuer")?,
        subject: row.try_get("l_subject")?,
        account: account_id(row, "l_account_id")?,
        provider: row.try_get("l_provider")?,
        display: row.try_get("l_display")?,
        groups: groups(row.try_get("l_groups")?)?.to_vec(),
        role: role.map(str::parse).transpose().map_err(decode)?,
        linked_at: UnixMillis(row.try_get("l_linked_at")?),
        last_used_at: UnixMillis(row.try_get("l_last_used_at")?),
    })
}

/// The word of a session's kind in the store.
pub(super) const fn kind_word(kind: SessionKind) -> &'static str {
    match kind {
        SessionKind::Browser => "browser",
        SessionKind::Token => "token",
    }
}

/// A list of texts as it is kept in one column.
pub(super) fn to_json<T: AsRef<str>>(texts: &[T]) -> String {
    serde_json::Value::from(texts.iter().map(AsRef::as_ref).collect::<Vec<&str>>()).to_string()
}

/// The groups as they are kept: sorted, without duplicates.
pub(super) fn groups_json(groups: &[Group]) -> String {
    let mut groups: Vec<&str> = groups.iter().map(Group::as_str).collect();
    groups.sort_unstable();
    groups.dedup();
    to_json(&groups)
}

fn groups(json: &str) -> Result<Arc<[Group]>, Error> {
    if json == "[]" {
        return Ok(Arc::new([]));
    }
    let names: Vec<String> = from_json(json)?;
    names.iter().map(|name| Group::new(name).map_err(decode)).collect()
}

fn account_id(row: &SqliteRow, column: &str) -> Result<AccountId, Error> {
    word(row, column)
}

fn session_kind(text: &str) -> Result<SessionKind, Error> {
    match text {
        "browser" => Ok(SessionKind::Browser),
        "token" => Ok(SessionKind::Token),
        other => Err(decode(format!("`{other}` is no kind of session"))),
    }
}

fn word<T>(row: &SqliteRow, column: &str) -> Result<T, Error>
where
    T: std::str::FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.try_get::<&str, _>(column)?.parse().map_err(decode)
}

fn from_json(json: &str) -> Result<Vec<String>, Error> {
    serde_json::from_str(json).map_err(decode)
}

fn decode(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Decode(error.into())
}
