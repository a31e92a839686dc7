//! The embedded default: one SQLite file (WAL, synchronous FULL), one writer, several readers.
//!
//! Every write goes through one connection, so two writers of this process never meet a busy
//! file and `PRAGMA data_version` on it tells exactly what others changed. A new file is
//! built aside and linked into place: an empty or half-made file at the path is therefore
//! always damage and never a first start.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};

use vestibule_authn::ports::{
    AccountChange, ApiKeyChange, ApiKeyRecord, AuditEvent, AuditRecord, CreateCondition, DeniedJwt,
    Digest, NewAccount, OneTimeKind, ProviderLink, ProviderSession, ProviderSessions,
    RefreshOutcome, SessionFound, SessionProof, SessionRecord, SigningKeyRecord, Store, StoreError,
    StoreHealth, StoreResult, StoredProvider,
};
use vestibule_core::account::Account;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::settings::secrets::StoreKey;
use vestibule_core::time::UnixMillis;

use crate::files::{self, Aside};
use crate::seal::Sealer;

mod accounts;
mod api_keys;
mod audit;
mod denied_jwts;
pub(crate) mod inspect;
mod migrations;
mod one_time;
pub(crate) mod open_error;
mod provider_links;
mod provider_sessions;
mod providers;
mod refresh_tokens;
pub(crate) mod restoring;
mod rows;
mod sessions;
mod signing_keys;
pub(crate) mod upkeep;

pub use open_error::OpenError;
pub use upkeep::{MigrationState, Soundness, check, migrate, status};

/// How many connections read at the same time.
const READERS: u32 = 4;
/// How long a statement waits for another process's write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a change by another process is looked for.
const POLL: Duration = Duration::from_millis(100);

/// An open SQLite store.
pub struct SqliteStore {
    path: PathBuf,
    writer: SqlitePool,
    readers: SqlitePool,
    sealer: Sealer,
    watch: tokio::sync::Mutex<Watch>,
    /// Device and inode of the file that was opened.
    file: (u64, u64),
}

/// What `PRAGMA data_version` said last, and when to ask again.
struct Watch {
    version: i64,
    next: tokio::time::Instant,
}

impl SqliteStore {
    /// Opens (or makes) the file, checks its mode, applies migrations. `keys`: the first
    /// seals, the others still open.
    ///
    /// Fails, without having written anything, where the file is damaged, another program's,
    /// of a newer schema or sealed with other keys; see [`OpenError`].
    pub async fn open(path: &Path, keys: &[StoreKey]) -> Result<Self, OpenError> {
        let sealer = Sealer::new(keys).map_err(|error| OpenError::Refused(error.to_string()))?;
        if keys.is_empty() {
            return Err(OpenError::Refused(
                "no store key is given: set `secrets.store_key`".to_owned(),
            ));
        }
        // Looked at first: another program's file keeps its mode too.
        let found = inspect::examine(path, Some(&sealer)).await?;
        files::prepare_dir(files::parent(path))?;
        for suffix in ["", "-wal", "-shm"] {
            files::tighten_file(&files::with_suffix(path, suffix))?;
        }
        if let inspect::Found::Missing = found {
            build(path, &sealer).await?;
        }
        let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .min_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false)
            // When the disk is full SQLite ends a transaction by itself; sqlx then counts it as
            // open for ever and refuses the next. Such a connection is replaced.
            .before_acquire(|connection, _| {
                let idle = !connection.is_in_transaction();
                Box::pin(async move { Ok(idle) })
            })
            .acquire_timeout(Duration::from_secs(10))
            .connect_with(options(path).journal_mode(SqliteJournalMode::Wal))
            .await
            .map_err(sqlite)?;
        let mut connection = writer.acquire().await.map_err(sqlite)?;
        bring_up(&mut connection, path, &sealer).await?;
        let version = data_version(&mut connection).await.map_err(sqlite)?;
        drop(connection);
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .max_lifetime(None)
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(10))
            .connect_lazy_with(options(path).read_only(true));
        for suffix in ["", "-wal", "-shm"] {
            files::tighten_file(&files::with_suffix(path, suffix))?;
        }
        let meta = std::fs::metadata(path).map_err(|error| OpenError::io(path, &error))?;
        let watch = Watch { version, next: tokio::time::Instant::now() + POLL };
        Ok(Self {
            path: path.to_owned(),
            writer,
            readers,
            sealer,
            watch: tokio::sync::Mutex::new(watch),
            file: (meta.dev(), meta.ino()),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Resolves each time another process has changed the file (polled every 100 ms on the
    /// writer's connection, `PRAGMA data_version`).
    ///
    /// Cancel-safe: a change that nobody was told of is told at the next call. A file that
    /// cannot be asked is asked again; who reads it meets the error itself.
    pub async fn changed_outside(&self) {
        let mut watch = self.watch.lock().await;
        loop {
            tokio::time::sleep_until(watch.next).await;
            watch.next = tokio::time::Instant::now() + POLL;
            let version = async { data_version(&mut *self.writer.acquire().await?).await };
            match version.await {
                Ok(version) if version != watch.version => {
                    watch.version = version;
                    return;
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "store.watch_failed"),
            }
        }
    }

    /// Closes every connection; the write-ahead log is folded into the file. Calls that come
    /// after it fail with [`StoreError::Unavailable`].
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// A write transaction: takes the file's write lock at once.
    async fn begin(&self) -> StoreResult<Transaction<'static, Sqlite>> {
        self.writer()?.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)
    }

    fn writer(&self) -> StoreResult<&SqlitePool> {
        self.still_there().map(|()| &self.writer)
    }

    fn readers(&self) -> StoreResult<&SqlitePool> {
        self.still_there().map(|()| &self.readers)
    }

    /// Open files outlive their names: after the file was removed or replaced SQLite would go
    /// on in one that nobody finds again, and acknowledged writes would be lost.
    fn still_there(&self) -> StoreResult<()> {
        let same =
            std::fs::metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.file);
        if same {
            return Ok(());
        }
        let path = self.path.display();
        let text =
            format!("{path} was removed or replaced while it was open; put it back or restart");
        Err(StoreError::Unavailable(text.into()))
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn account(&self, id: AccountId) -> StoreResult<Option<Account>> {
        accounts::account(self, id).await
    }

    async fn account_by_email(&self, email: &str) -> StoreResult<Option<Account>> {
        accounts::account_by_email(self, email).await
    }

    async fn account_by_username(&self, username: &str) -> StoreResult<Option<Account>> {
        accounts::account_by_username(self, username).await
    }

    async fn accounts(&self, after: Option<AccountId>, limit: u32) -> StoreResult<Vec<Account>> {
        accounts::accounts(self, after, limit).await
    }

    async fn count_accounts(&self) -> StoreResult<u64> {
        accounts::count_accounts(self).await
    }

    async fn create_account(&self, new: NewAccount, when: CreateCondition) -> StoreResult<Account> {
        accounts::create_account(self, new, when).await
    }

    async fn change_account(&self, id: AccountId, change: AccountChange) -> StoreResult<Account> {
        accounts::change_account(self, id, change).await
    }

    async fn delete_account(&self, id: AccountId) -> StoreResult<()> {
        accounts::delete_account(self, id).await
    }

    async fn password_hash(&self, id: AccountId) -> StoreResult<Option<String>> {
        accounts::password_hash(self, id).await
    }

    async fn create_session(
        &self,
        session: SessionRecord,
        token: Option<Digest>,
    ) -> StoreResult<()> {
        sessions::create_session(self, session, token).await
    }

    async fn session_by_token(&self, token: &Digest) -> StoreResult<Option<SessionFound>> {
        sessions::session_by_token(self, token).await
    }

    async fn session(&self, id: SessionId) -> StoreResult<Option<SessionFound>> {
        sessions::session(self, id).await
    }

    async fn sessions(&self, account: Option<AccountId>) -> StoreResult<Vec<SessionRecord>> {
        sessions::sessions(self, account).await
    }

    async fn rotate_session(
        &self,
        id: SessionId,
        token: Digest,
        proof: Option<SessionProof>,
    ) -> StoreResult<()> {
        sessions::rotate_session(self, id, token, proof).await
    }

    async fn mark_sessions_for_rotation(&self, account: AccountId) -> StoreResult<()> {
        sessions::mark_sessions_for_rotation(self, account).await
    }

    async fn add_host_token(
        &self,
        session: SessionId,
        host: &str,
        token: Digest,
        now: UnixMillis,
    ) -> StoreResult<()> {
        sessions::add_host_token(self, session, host, token, now).await
    }

    async fn delete_session(&self, id: SessionId) -> StoreResult<bool> {
        sessions::delete_session(self, id).await
    }

    async fn delete_sessions(
        &self,
        account: AccountId,
        except: Option<SessionId>,
    ) -> StoreResult<Vec<SessionId>> {
        sessions::delete_sessions(self, account, except).await
    }

    async fn delete_all_sessions(&self) -> StoreResult<u64> {
        sessions::delete_all_sessions(self).await
    }

    async fn touch_sessions(&self, seen: &[(SessionId, UnixMillis)]) -> StoreResult<()> {
        sessions::touch_sessions(self, seen).await
    }

    async fn count_sessions(&self, now: UnixMillis) -> StoreResult<u64> {
        sessions::count_sessions(self, now).await
    }

    async fn add_refresh_token(
        &self,
        session: SessionId,
        token: Digest,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<()> {
        refresh_tokens::add_refresh_token(self, session, token, now, expires_at).await
    }

    async fn rotate_refresh_token(
        &self,
        token: &Digest,
        next: Digest,
        now: UnixMillis,
        next_expires_at: UnixMillis,
    ) -> StoreResult<RefreshOutcome> {
        refresh_tokens::rotate_refresh_token(self, token, next, now, next_expires_at).await
    }

    async fn create_linked_account(
        &self,
        new: NewAccount,
        when: CreateCondition,
        link: ProviderLink,
    ) -> StoreResult<Account> {
        provider_links::create_linked_account(self, new, when, link).await
    }

    async fn provider_link(
        &self,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<Option<(ProviderLink, Account)>> {
        provider_links::provider_link(self, issuer, subject).await
    }

    async fn provider_links(&self, account: AccountId) -> StoreResult<Vec<ProviderLink>> {
        provider_links::provider_links(self, account).await
    }

    async fn add_provider_link(
        &self,
        link: ProviderLink,
        verified_email: Option<&str>,
        empty_first: bool,
    ) -> StoreResult<Vec<SessionId>> {
        provider_links::add_provider_link(self, link, verified_email, empty_first).await
    }

    async fn update_provider_link(
        &self,
        link: ProviderLink,
        change: Option<AccountChange>,
    ) -> StoreResult<Account> {
        provider_links::update_provider_link(self, link, change).await
    }

    async fn make_admin_if_none(&self, account: AccountId) -> StoreResult<bool> {
        accounts::make_admin_if_none(self, account).await
    }

    async fn delete_provider_link(
        &self,
        account: AccountId,
        issuer: &str,
        subject: &str,
    ) -> StoreResult<bool> {
        provider_links::delete_provider_link(self, account, issuer, subject).await
    }

    async fn create_provider_session(
        &self,
        session: SessionRecord,
        token: Digest,
        provider: ProviderSession,
    ) -> StoreResult<()> {
        provider_sessions::create_provider_session(self, session, token, provider).await
    }

    async fn provider_session(&self, session: SessionId) -> StoreResult<Option<ProviderSession>> {
        provider_sessions::provider_session(self, session).await
    }

    async fn set_provider_session(
        &self,
        session: SessionId,
        provider: ProviderSession,
    ) -> StoreResult<()> {
        provider_sessions::set_provider_session(self, session, provider).await
    }

    async fn delete_sessions_of_other_providers(
        &self,
        kept: &[&str],
    ) -> StoreResult<Vec<SessionId>> {
        provider_sessions::delete_sessions_of_other_providers(self, kept).await
    }

    async fn sessions_at_provider(
        &self,
        issuer: &str,
        which: ProviderSessions<'_>,
    ) -> StoreResult<Vec<SessionId>> {
        provider_sessions::sessions_at_provider(self, issuer, which).await
    }

    async fn stored_providers(&self) -> StoreResult<Vec<StoredProvider>> {
        providers::stored_providers(self).await
    }

    async fn create_stored_provider(&self, provider: StoredProvider) -> StoreResult<()> {
        providers::create_stored_provider(self, provider).await
    }

    async fn change_stored_provider(&self, provider: StoredProvider) -> StoreResult<()> {
        providers::change_stored_provider(self, provider).await
    }

    async fn delete_stored_provider(&self, id: &str) -> StoreResult<bool> {
        providers::delete_stored_provider(self, id).await
    }

    async fn deny_jwt(&self, denied: DeniedJwt, now: UnixMillis) -> StoreResult<()> {
        denied_jwts::deny_jwt(self, denied, now).await
    }

    async fn allow_jwt(&self, denied: &DeniedJwt) -> StoreResult<bool> {
        denied_jwts::allow_jwt(self, denied).await
    }

    async fn is_jwt_denied(&self, issuer: &str, sub: &str, jti: Option<&str>) -> StoreResult<bool> {
        denied_jwts::is_jwt_denied(self, issuer, sub, jti).await
    }

    async fn create_api_key(&self, key: ApiKeyRecord, hash: Digest) -> StoreResult<()> {
        api_keys::create_api_key(self, key, hash).await
    }

    async fn api_key_by_hash(&self, hash: &Digest) -> StoreResult<Option<(ApiKeyRecord, Account)>> {
        api_keys::api_key_by_hash(self, hash).await
    }

    async fn api_key(&self, id: KeyId) -> StoreResult<Option<ApiKeyRecord>> {
        api_keys::api_key(self, id).await
    }

    async fn api_keys(&self, owner: Option<AccountId>) -> StoreResult<Vec<ApiKeyRecord>> {
        api_keys::api_keys(self, owner).await
    }

    async fn change_api_key(&self, id: KeyId, change: ApiKeyChange) -> StoreResult<ApiKeyRecord> {
        api_keys::change_api_key(self, id, change).await
    }

    async fn delete_api_key(&self, id: KeyId) -> StoreResult<bool> {
        api_keys::delete_api_key(self, id).await
    }

    async fn api_key_prefixes(&self) -> StoreResult<Vec<String>> {
        api_keys::api_key_prefixes(self).await
    }

    async fn touch_api_keys(&self, used: &[(KeyId, UnixMillis)]) -> StoreResult<()> {
        api_keys::touch_api_keys(self, used).await
    }

    async fn put_one_time(
        &self,
        kind: OneTimeKind,
        key: Digest,
        value: Vec<u8>,
        expires_at: UnixMillis,
    ) -> StoreResult<()> {
        one_time::put_one_time(self, kind, key, value, expires_at).await
    }

    async fn remember_once(
        &self,
        kind: OneTimeKind,
        key: Digest,
        now: UnixMillis,
        expires_at: UnixMillis,
    ) -> StoreResult<bool> {
        one_time::remember_once(self, kind, key, now, expires_at).await
    }

    async fn peek_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>> {
        one_time::peek_one_time(self, kind, key, now).await
    }

    async fn take_one_time(
        &self,
        kind: OneTimeKind,
        key: &Digest,
        now: UnixMillis,
    ) -> StoreResult<Option<Vec<u8>>> {
        one_time::take_one_time(self, kind, key, now).await
    }

    async fn add_known_device(
        &self,
        account: AccountId,
        device: Digest,
        now: UnixMillis,
    ) -> StoreResult<()> {
        one_time::add_known_device(self, account, device, now).await
    }

    async fn is_known_device(&self, account: AccountId, device: &Digest) -> StoreResult<bool> {
        one_time::is_known_device(self, account, device).await
    }

    async fn signing_keys(&self, purpose: &str) -> StoreResult<Vec<SigningKeyRecord>> {
        signing_keys::signing_keys(self, purpose).await
    }

    async fn add_signing_key(
        &self,
        key: SigningKeyRecord,
        not_after: Option<UnixMillis>,
    ) -> StoreResult<Vec<SigningKeyRecord>> {
        signing_keys::add_signing_key(self, key, not_after).await
    }

    async fn note(&self, name: &str) -> StoreResult<Option<String>> {
        upkeep::note(self, name).await
    }

    async fn set_note(&self, name: &str, value: &str) -> StoreResult<()> {
        upkeep::set_note(self, name, value).await
    }

    async fn append_audit(&self, events: &[AuditEvent]) -> StoreResult<()> {
        audit::append_audit(self, events).await
    }

    async fn audit(&self, before: Option<i64>, limit: u32) -> StoreResult<Vec<AuditRecord>> {
        audit::list(self, before, limit).await
    }

    async fn purge(&self, now: UnixMillis, idle_timeout: Duration) -> StoreResult<()> {
        upkeep::purge(self, now, idle_timeout).await
    }

    async fn ping(&self) -> StoreResult<()> {
        upkeep::ping(self).await
    }

    async fn health(&self) -> StoreResult<StoreHealth> {
        upkeep::health(self).await
    }
}

/// Maps an error whose cause is not the caller's doing.
#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` takes")]
fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(Arc::from(error.to_string()))
}

/// Maps an error of a change: a taken unique value, a missing owner, or the store itself.
fn change_error(error: sqlx::Error) -> StoreError {
    let Some(database) = error.as_database_error() else { return unavailable(error) };
    if database.is_foreign_key_violation() {
        return StoreError::NotFound;
    }
    if !database.is_unique_violation() {
        return unavailable(error);
    }
    let message = database.message();
    let taken = [
        ("accounts.email", "email"),
        ("accounts.username", "username"),
        ("accounts.id", "account id"),
        ("sessions.id", "session id"),
        ("session_tokens.hash", "token"),
        ("refresh_tokens.hash", "token"),
        ("api_keys.id", "key id"),
        ("api_keys.hash", "key"),
        ("one_time.", "one-time value"),
        ("provider_links.", "link"),
        ("providers.id", "provider"),
        ("signing_keys.kid", "kid"),
    ];
    let named = taken.iter().find(|(column, _)| message.contains(column));
    StoreError::Conflict(named.map_or("value", |(_, name)| name))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        // A read-only root file system has no place for temporary files.
        .pragma("temp_store", "memory")
        .pragma("cache_size", "-1024")
        .pragma("journal_size_limit", "16777216")
        .disable_statement_logging()
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await
}

/// Makes a new store aside and links it to its place. Another process that was faster wins.
async fn build(path: &Path, sealer: &Sealer) -> Result<(), OpenError> {
    let aside = Aside::new(path, "new");
    let io = |error: std::io::Error| OpenError::io(path, &error);
    let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
    let file = files::create_private(aside.path()).map_err(io)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(aside.path())
        .synchronous(SqliteSynchronous::Off)
        .journal_mode(SqliteJournalMode::Memory)
        .connect()
        .await
        .map_err(sqlite)?;
    bring_up(&mut connection, path, sealer).await?;
    connection.close().await.map_err(sqlite)?;
    file.sync_all().map_err(io)?;
    match std::fs::hard_link(aside.path(), path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(io(error)),
        _ => files::sync_parent(path).map_err(io),
    }
}

/// Applies what is missing of the schema; plants the value that tells a wrong key, and the
/// store's own id.
async fn bring_up(
    connection: &mut SqliteConnection,
    path: &Path,
    sealer: &Sealer,
) -> Result<(), OpenError> {
    let migrate = |error: sqlx::migrate::MigrateError| {
        OpenError::Refused(format!(
            "{}: the schema could not be brought up to date: {error}. Nothing is lost; put a backup back with `vestibule db restore <FILE>` if it does not pass.",
            path.display()
        ))
    };
    let migrator = migrations::migrator().await.map_err(migrate)?;
    let sqlite = |error: sqlx::Error| OpenError::sqlite(path, &error);
    // One transaction for all, so that two processes never apply the same one.
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(sqlite)?;
    migrator.run_direct(None, &mut *tx, false).await.map_err(migrate)?;
    let check = sealer
        .seal("vestibule_meta", inspect::KEY_CHECK, b"store_key")
        .map_err(|error| OpenError::Refused(error.to_string()))?;
    let mut id = [0u8; 16];
    aws_lc_rs::rand::fill(&mut id)
        .map_err(|_| OpenError::Refused("the system gives no random bytes".to_owned()))?;
    for (name, value) in [(inspect::KEY_CHECK, check), (inspect::STORE_ID, id.to_vec())] {
        sqlx::query(
            "INSERT INTO vestibule_meta (name, value)
             SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM vestibule_meta WHERE name = ?1)",
        )
        .bind(name)
        .bind(value)
        .execute(&mut *tx)
        .await
        .map_err(sqlite)?;
    }
    tx.commit().await.map_err(sqlite)
}

#[cfg(test)]
mod tests {
    use sqlx::Row as _;
    use vestibule_core::account::{Role, Status};

    use super::*;

    #[tokio::test]
    async fn a_session_is_found_by_keys_alone_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let key = StoreKey::from_hex(&"ab".repeat(32)).unwrap();
        let store = SqliteStore::open(&dir.path().join("vestibule.db"), &[key]).await.unwrap();
        let sql = format!("EXPLAIN QUERY PLAN {}", sessions::BY_TOKEN);
        let plan: Vec<String> = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(&[0u8; 32][..])
            .fetch_all(&store.readers)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get("detail"))
            .collect();
        assert_eq!(plan.len(), 3, "{plan:?}");
        assert!(plan.iter().all(|step| step.starts_with("SEARCH ")), "{plan:?}");
    }

    #[tokio::test]
    async fn x37_a_sealed_value_moved_to_another_row_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let key = StoreKey::from_hex(&"ab".repeat(32)).unwrap();
        let path = dir.path().join("vestibule.db");
        let store = SqliteStore::open(&path, std::slice::from_ref(&key)).await.unwrap();
        for kid in ["one", "two"] {
            let record = SigningKeyRecord {
                kid: kid.to_owned(),
                purpose: "assertion".to_owned(),
                pkcs8: kid.as_bytes().to_vec(),
                created_at: UnixMillis(1),
                retired_at: None,
            };
            store.add_signing_key(record, None).await.unwrap();
        }
        sqlx::query(
            "UPDATE signing_keys SET pkcs8 = (SELECT pkcs8 FROM signing_keys WHERE kid = 'one')
             WHERE kid = 'two'",
        )
        .execute(&store.writer)
        .await
        .unwrap();
        let refused = store.signing_keys("assertion").await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{:?}", refused.err());
        store.close().await;
        let refused = SqliteStore::open(&path, &[key]).await.err().unwrap();
        assert!(refused.to_string().contains("signing key two"), "{refused}");
    }
    fn person(n: usize) -> NewAccount {
        NewAccount {
            id: AccountId(uuid::Uuid::new_v4()),
            username: format!("user-{n}"),
            email: None,
            email_verified: false,
            name: "x".repeat(2000),
            role: Role::User,
            status: Status::Active,
            groups: Vec::new(),
            password_hash: None,
            must_change_password: false,
            created_at: UnixMillis(1),
        }
    }

    #[tokio::test]
    async fn x8_a_full_disk_is_unavailable_and_the_store_recovers_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let key = StoreKey::from_hex(&"ab".repeat(32)).unwrap();
        let path = dir.path().join("vestibule.db");
        let store = SqliteStore::open(&path, &[key]).await.unwrap();
        // SQLite's own limit answers as a full disk does, and like it ends the transaction.
        sqlx::query("PRAGMA max_page_count = 60").execute(&store.writer).await.unwrap();
        let mut made = 0;
        let error = loop {
            match store.create_account(person(made), CreateCondition::Always).await {
                Ok(_) => made += 1,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&error, StoreError::Unavailable(text) if text.contains("full")),
            "{error:?}"
        );
        // The connection that was left in an unknown state was replaced, and with it the limit.
        for _ in 0..10 {
            store.create_account(person(made), CreateCondition::Always).await.unwrap();
            made += 1;
        }
        assert_eq!(store.count_accounts().await.unwrap(), u64::try_from(made).unwrap());
        assert_eq!(store.health().await.unwrap().integrity, "ok");
    }
}
