//! What is not opened, and that it is left as it was.

use std::os::unix::fs::PermissionsExt as _;

use vestibule_authn::ports::{SessionKind, Store as _, StoreError};
use vestibule_core::account::Role;
use vestibule_store::OpenError;
use vestibule_store::sqlite::{self, MigrationState, SqliteStore};

use crate::fixture::{
    BACK_TO_THE_FIRST_SCHEMA, Place, account, api_key, ask, key, link, session, sql,
};

const BETTER_AUTH: &str = "PRAGMA journal_mode = WAL;
    CREATE TABLE user (id TEXT PRIMARY KEY, email TEXT);
    CREATE TABLE session (id TEXT PRIMARY KEY);
    CREATE TABLE account (id TEXT PRIMARY KEY);
    INSERT INTO user VALUES ('1', 'ann@example.org');";

#[tokio::test]
async fn seed_003_08_another_programs_database_is_refused_and_not_touched() {
    let place = Place::new();
    let file = place.file();
    sql(&file, BETTER_AUTH).await;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (before, names) = (std::fs::read(&file).unwrap(), place.names());
    let text = place.refused().await.to_string();
    let command = format!("vestibule import better-auth {}", file.display());
    assert!(text.contains(&command) && text.contains("session, user"), "{text}");
    assert!(sqlite::status(&file).await.is_err() && sqlite::check(&file).await.is_err());
    assert_eq!(std::fs::read(&file).unwrap(), before);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(place.names(), names, "files were left behind");
}

#[tokio::test]
async fn x9_a_damaged_file_is_refused_and_never_made_anew() {
    let sound = {
        let place = Place::new();
        let store = place.open().await;
        account(&store, "ann", Role::Admin).await;
        store.close().await;
        std::fs::read(place.file()).unwrap()
    };
    let mut scrambled = sound.clone();
    scrambled[4096..8192].fill(0xa5);
    let mut schema = sound.clone();
    schema[100..200].fill(0xff);
    let cases: [(&str, Vec<u8>); 7] = [
        ("empty", Vec::new()),
        ("cut inside the header", sound[..50].to_vec()),
        ("cut in half", sound[..sound.len() / 2].to_vec()),
        ("the last page missing", sound[..sound.len() - 4096].to_vec()),
        ("not SQLite", b"a text file\n".repeat(1000)),
        ("a page overwritten", scrambled),
        ("the schema overwritten", schema),
    ];
    for (what, content) in cases {
        let place = Place::new();
        std::fs::write(place.file(), &content).unwrap();
        let error = place.refused().await;
        assert!(matches!(error, OpenError::Corrupt { .. }), "{what}: {error:?}");
        let text = error.to_string();
        let file = place.file().display().to_string();
        assert!(text.contains(&file) && text.contains("vestibule db restore"), "{what}: {text}");
        assert!(std::fs::read(place.file()).unwrap() == content, "{what}: it was changed");
        assert!(sqlite::check(&place.file()).await.is_err(), "{what}");
    }
}

#[tokio::test]
async fn x9_a_log_without_its_database_is_refused() {
    let place = Place::new();
    std::fs::write(place.dir.path().join("vestibule.db-wal"), "left").unwrap();
    let text = place.refused().await.to_string();
    assert!(text.contains("vestibule.db-wal"), "{text}");
    assert_eq!(place.names(), ["vestibule.db-wal"]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_naming_its_version() {
    let place = Place::new();
    place.open().await.close().await;
    sql(
        &place.file(),
        "INSERT INTO vestibule_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'from the future', 1, x'00', 0)",
    )
    .await;
    let before = std::fs::read(place.file()).unwrap();
    let error = place.refused().await;
    assert!(matches!(error, OpenError::Newer { version: 99, known: 2, .. }), "{error:?}");
    assert!(error.to_string().contains("99"), "{error}");
    assert!(std::fs::read(place.file()).unwrap() == before, "it was changed");
}

#[tokio::test]
async fn an_edited_or_unfinished_migration_is_refused() {
    let place = Place::new();
    place.open().await.close().await;
    sql(&place.file(), "UPDATE vestibule_migrations SET success = 0").await;
    let error = place.refused().await;
    assert!(matches!(error, OpenError::UnfinishedMigration { version: 1, .. }), "{error:?}");
    sql(&place.file(), "UPDATE vestibule_migrations SET success = 1, checksum = x'00'").await;
    let error = place.refused().await;
    assert!(matches!(error, OpenError::EditedMigration { version: 1, .. }), "{error:?}");
}

#[tokio::test]
async fn seed_002_63_tables_are_made_at_the_first_start() {
    let place = Place::new();
    place.open().await.close().await;
    let tables = ask(&place.file(), "SELECT name FROM sqlite_schema WHERE type = 'table'").await;
    for table in [
        "accounts",
        "sessions",
        "refresh_tokens",
        "api_keys",
        "audit",
        "provider_links",
        "providers",
    ] {
        assert!(tables.iter().any(|name| name == table), "{table} is not in {tables:?}");
    }
    assert_eq!(place.names(), ["vestibule.db"], "files were left behind");
}

#[tokio::test]
async fn seed_002_64_seed_002_65_an_older_schema_is_brought_up_and_status_tells_it() {
    let place = Place::new();
    let file = place.file();
    let states = sqlite::status(&file).await.unwrap();
    assert!(!states.is_empty() && states.iter().all(|state| !state.applied));
    assert!(place.names().is_empty(), "status wrote something");
    // As a store is before its first migration.
    sql(
        &file,
        "CREATE TABLE vestibule_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,
             installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL,
             checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    )
    .await;
    assert!(sqlite::status(&file).await.unwrap().iter().all(|state| !state.applied));
    let states = sqlite::migrate(&file, &[key(1)]).await.unwrap();
    assert!(states.iter().all(|state| state.applied), "{states:?}");
    assert_eq!(states[0].version, 1);
    assert_eq!(sqlite::status(&file).await.unwrap(), states);
    account(&place.open().await, "ann", Role::Admin).await;
}

#[tokio::test]
async fn seed_002_64_a_store_of_the_first_schema_is_brought_up_with_what_it_holds() {
    let place = Place::new();
    let file = place.file();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let session = session(&store, &ann, SessionKind::Browser, 1).await;
    api_key(&store, &ann, "k", 2).await;
    store.set_note("a", "1").await.unwrap();
    store.close().await;
    sql(&file, BACK_TO_THE_FIRST_SCHEMA).await;
    let applied = |states: &[MigrationState]| states.iter().map(|s| s.applied).collect::<Vec<_>>();
    assert_eq!(applied(&sqlite::status(&file).await.unwrap()), [true, false]);
    assert_eq!(sqlite::check(&file).await.unwrap().schema_version, 1);
    // A key that does not fit is noticed before the schema is touched.
    let before = std::fs::read(&file).unwrap();
    assert!(SqliteStore::open(&file, &[key(9)]).await.is_err());
    assert!(std::fs::read(&file).unwrap() == before, "it was changed");

    let store = place.open().await;
    assert_eq!(applied(&sqlite::status(&file).await.unwrap()), [true, true]);
    assert_eq!(store.account(ann.id).await.unwrap().as_ref(), Some(&ann));
    let found = store.session_by_token(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((found.session.id, &found.account), (session, &ann));
    assert!(store.api_key_by_hash(&[2; 32]).await.unwrap().is_some());
    assert_eq!(store.note("a").await.unwrap().as_deref(), Some("1"));
    assert!(store.provider_session(session).await.unwrap().is_none());
    store.add_provider_link(link(&ann, "ann"), None, false).await.unwrap();
    assert_eq!(store.provider_links(ann.id).await.unwrap(), [link(&ann, "ann")]);
    assert_eq!(sqlite::check(&file).await.unwrap().complaints, [""; 0]);
}

#[tokio::test]
async fn a_store_of_the_first_schema_made_current_has_the_schema_of_a_new_one() {
    let (old, new) = (Place::new(), Place::new());
    for place in [&old, &new] {
        place.open().await.close().await;
    }
    sql(&old.file(), BACK_TO_THE_FIRST_SCHEMA).await;
    old.open().await.close().await;
    let schema = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY type, name";
    assert_eq!(ask(&old.file(), schema).await, ask(&new.file(), schema).await);
}

#[tokio::test]
async fn g8_the_schema_itself_refuses_an_identity_without_subject() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    assert!(store.add_provider_link(link(&ann, ""), None, false).await.is_err());
    assert!(store.provider_links(ann.id).await.unwrap().is_empty());
}

#[tokio::test]
async fn seed_003_85_seed_003_86_integrity_is_checked_from_inside_and_outside() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..50 {
        account(&store, &format!("user-{n}"), Role::User).await;
    }
    let sound = sqlite::check(&place.file()).await.unwrap();
    assert_eq!((sound.complaints, sound.schema_version), (Vec::new(), 2));
    assert_eq!(ask(&place.file(), "PRAGMA integrity_check").await, ["ok"]);
    store.close().await;
    // An orphan is no damage to SQLite, but it is to us.
    sql(&place.file(), "INSERT INTO known_devices VALUES ('nobody', x'00', 1)").await;
    let sound = sqlite::check(&place.file()).await.unwrap();
    assert!(sound.complaints[0].contains("known_devices"), "{:?}", sound.complaints);
    let missing = sqlite::check(&place.dir.path().join("none.db")).await.unwrap_err();
    assert!(missing.to_string().contains("does not exist"), "{missing}");
}

#[tokio::test]
async fn a_file_that_is_removed_or_replaced_while_open_answers_unavailable() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let moved = place.dir.path().join("moved.db");
    std::fs::rename(place.file(), &moved).unwrap();
    let gone = |error: StoreError| matches!(error, StoreError::Unavailable(_));
    assert!(gone(store.ping().await.unwrap_err()));
    assert!(gone(store.account(ann.id).await.unwrap_err()));
    assert!(gone(store.set_note("a", "b").await.unwrap_err()));
    assert!(gone(store.delete_account(ann.id).await.unwrap_err()));
    std::fs::copy(&moved, place.file()).unwrap();
    assert!(gone(store.session_by_token(&[1; 32]).await.unwrap_err()));
    std::fs::rename(&moved, place.file()).unwrap();
    assert!(store.account(ann.id).await.unwrap().is_some());
    store.set_note("a", "b").await.unwrap();
    store.close().await;
    assert!(gone(store.ping().await.unwrap_err()));
}

#[tokio::test]
async fn a_store_that_is_made_by_several_at_once_is_one_store() {
    let place = Place::new();
    let keys = [key(1)];
    let file = place.file();
    let open = || SqliteStore::open(&file, &keys);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    let stores = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    account(&stores[0], "ann", Role::Admin).await;
    for store in &stores {
        assert_eq!(store.count_accounts().await.unwrap(), 1);
    }
}
