//! A store in a directory of its own, and a look at its file as another program has it.

use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use vestibule_authn::ports::{
    ApiKeyRecord, CreateCondition, NewAccount, ProviderLink, ProviderSession, SessionKind,
    SessionRecord, Store as _, StoredProvider,
};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::Scopes;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_core::settings::secrets::StoreKey;
use vestibule_core::time::UnixMillis;
use vestibule_store::OpenError;
use vestibule_store::sqlite::SqliteStore;

pub(crate) const ISSUER: &str = "https://id.example.org";
pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const LATER: UnixMillis = UnixMillis(1_800_003_600_000);

/// Makes a store what it was before the second migration.
pub(crate) const BACK_TO_THE_FIRST_SCHEMA: &str = "DROP TABLE provider_sessions;
    DROP TABLE provider_links; DROP TABLE providers; DROP TABLE denied_jwts;
    DELETE FROM vestibule_migrations WHERE version = 2;";

/// A data directory.
pub(crate) struct Place {
    pub(crate) dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("vestibule.db")
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        SqliteStore::open(&self.file(), &[key(1)]).await.unwrap()
    }

    pub(crate) async fn refused(&self) -> OpenError {
        match SqliteStore::open(&self.file(), &[key(1)]).await {
            Ok(_) => panic!("the store was opened"),
            Err(error) => error,
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn key(byte: u8) -> StoreKey {
    StoreKey::from_hex(&format!("{byte:02x}").repeat(32)).unwrap()
}

/// Runs a statement as another program would: its own connection, no foreign keys.
pub(crate) async fn sql(path: &Path, statement: &str) {
    let mut connection = raw(path).await;
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
}

/// The first column of a query, as another program reads it.
pub(crate) async fn ask(path: &Path, query: &str) -> Vec<String> {
    let mut connection = raw(path).await;
    let query = AssertSqlSafe(query.to_owned());
    let rows = sqlx::query_scalar(query).fetch_all(&mut connection).await.unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    rows
}

async fn raw(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.foreign_keys(false).connect().await.unwrap()
}

pub(crate) async fn account(store: &SqliteStore, name: &str, role: Role) -> Account {
    let new = NewAccount {
        id: AccountId(uuid::Uuid::new_v4()),
        username: name.to_owned(),
        email: Some(format!("{name}@example.org")),
        email_verified: true,
        name: String::new(),
        role,
        status: Status::Active,
        groups: Vec::new(),
        password_hash: None,
        must_change_password: false,
        created_at: NOW,
    };
    store.create_account(new, CreateCondition::Always).await.unwrap()
}

pub(crate) async fn session(
    store: &SqliteStore,
    account: &Account,
    kind: SessionKind,
    token: u8,
) -> SessionId {
    let record = session_record(account, kind);
    let id = record.id;
    store.create_session(record, Some([token; 32])).await.unwrap();
    id
}

pub(crate) fn session_record(account: &Account, kind: SessionKind) -> SessionRecord {
    SessionRecord {
        id: SessionId(uuid::Uuid::new_v4()),
        account: account.id,
        kind,
        created_at: NOW,
        auth_time: NOW,
        last_seen: NOW,
        expires_at: LATER,
        remember: false,
        amr: Vec::new(),
        mfa: false,
        rotate: false,
        client_ip: String::new(),
        user_agent: String::new(),
    }
}

/// A session that began at a provider, with tokens that are easy to look for.
pub(crate) async fn provider_session(store: &SqliteStore, account: &Account, n: u8) -> SessionId {
    let record = session_record(account, SessionKind::Browser);
    let id = record.id;
    store.create_provider_session(record, [n; 32], kept(&format!("sub-{n}"))).await.unwrap();
    id
}

pub(crate) fn kept(sub: &str) -> ProviderSession {
    ProviderSession {
        provider: "pocket-id".to_owned(),
        issuer: ISSUER.to_owned(),
        sub: sub.to_owned(),
        link_subject: sub.to_owned(),
        sid: None,
        id_token: Some(Secret::new(format!("ID token in plain of {sub}"))),
        access_token: Secret::new(format!("access token in plain of {sub}")),
        refresh_token: Some(Secret::new(format!("refresh token in plain of {sub}"))),
        refresh_at: Some(LATER),
    }
}

pub(crate) fn link(account: &Account, subject: &str) -> ProviderLink {
    ProviderLink {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        account: account.id,
        provider: "pocket-id".to_owned(),
        display: subject.to_owned(),
        groups: Vec::new(),
        role: None,
        linked_at: NOW,
        last_used_at: NOW,
    }
}

pub(crate) fn stored_provider(id: &str, secret: Option<&str>) -> StoredProvider {
    let spec = ProviderSpec {
        id: id.to_owned(),
        issuer: Some(ISSUER.to_owned()),
        client_id: "client".to_owned(),
        client_secret: secret.map(Secret::new),
        ..ProviderSpec::default()
    };
    StoredProvider { spec, created_at: NOW, updated_at: NOW }
}

pub(crate) async fn api_key(store: &SqliteStore, owner: &Account, name: &str, hash: u8) -> KeyId {
    let id = KeyId(uuid::Uuid::new_v4());
    let record = ApiKeyRecord {
        id,
        owner: owner.id,
        name: name.to_owned(),
        prefix: "sk".to_owned(),
        start: "sk_abcd".to_owned(),
        created_at: NOW,
        expires_at: None,
        enabled: true,
        scopes: Scopes::all(),
        rate_limit: None,
        last_used_at: None,
    };
    store.create_api_key(record, [hash; 32]).await.unwrap();
    id
}
