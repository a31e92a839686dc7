//! Backup and restore.

use std::path::Path;

use vestibule_authn::ports::{
    AccountChange, ApiKeyChange, DeniedBy, DeniedJwt, OneTimeKind, SessionKind, Store as _,
};
use vestibule_core::account::{Role, Status};
use vestibule_core::secret::Secret;
use vestibule_core::time::UnixMillis;
use vestibule_store::OpenError;
use vestibule_store::backup::{self, RestoreError};
use vestibule_store::lock::ServerLock;
use vestibule_store::sqlite::SqliteStore;

use crate::fixture::{
    BACK_TO_THE_FIRST_SCHEMA, ISSUER, LATER, NOW, Place, account, api_key, key, link,
    provider_session, session, sql, stored_provider,
};

#[tokio::test]
async fn seed_003_87_x43_a_restore_brings_accounts_back_and_nothing_revoked() {
    let place = Place::new();
    let backups = place.dir.path().join("backup");
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let bob = account(&store, "bob", Role::User).await;
    let cid = account(&store, "cid", Role::Admin).await;
    api_key(&store, &ann, "kept", 1).await;
    let revoked = api_key(&store, &ann, "revoked", 2).await;
    let disabled = api_key(&store, &ann, "disabled", 3).await;
    let shortened = api_key(&store, &ann, "shortened", 4).await;
    let off_in_backup = api_key(&store, &ann, "switched on later", 5).await;
    let off = ApiKeyChange { enabled: Some(false), ..ApiKeyChange::default() };
    store.change_api_key(off_in_backup, off.clone()).await.unwrap();
    session(&store, &ann, SessionKind::Browser, 1).await;
    let token = session(&store, &ann, SessionKind::Token, 2).await;
    store.add_refresh_token(token, [9; 32], NOW, LATER).await.unwrap();
    store.backup_regularly(&backups, 7, NOW).await.unwrap();

    store.delete_account(bob.id).await.unwrap();
    let shut_out = AccountChange {
        role: Some(Role::User),
        status: Some(Status::Disabled),
        ..AccountChange::default()
    };
    store.change_account(cid.id, shut_out).await.unwrap();
    store.delete_api_key(revoked).await.unwrap();
    store.change_api_key(disabled, off).await.unwrap();
    let ends = ApiKeyChange { expires_at: Some(Some(LATER)), ..ApiKeyChange::default() };
    store.change_api_key(shortened, ends).await.unwrap();
    let on = ApiKeyChange { enabled: Some(true), ..ApiKeyChange::default() };
    store.change_api_key(off_in_backup, on).await.unwrap();
    store.close().await;

    let latest = backups.join(backup::LATEST);
    let done = backup::restore(&latest, &place.file(), place.dir.path(), &[key(1)]).await.unwrap();
    let carried = done.carried.unwrap();
    assert_eq!((carried.keys_removed, carried.keys_narrowed), (1, 2));
    assert_eq!((carried.accounts_narrowed, done.accounts, done.keys), (1, 3, 4));

    let store = place.open().await;
    assert_eq!(store.account(bob.id).await.unwrap().unwrap(), bob);
    let cid = store.account(cid.id).await.unwrap().unwrap();
    assert_eq!((cid.role, cid.status), (Role::User, Status::Disabled));
    assert!(store.api_key_by_hash(&[1; 32]).await.unwrap().unwrap().0.enabled);
    assert!(store.api_key_by_hash(&[2; 32]).await.unwrap().is_none());
    assert!(!store.api_key_by_hash(&[3; 32]).await.unwrap().unwrap().0.enabled);
    let (shortened, _) = store.api_key_by_hash(&[4; 32]).await.unwrap().unwrap();
    assert_eq!((shortened.expires_at, shortened.enabled), (Some(LATER), true));
    assert!(!store.api_key_by_hash(&[5; 32]).await.unwrap().unwrap().0.enabled);
    assert!(store.sessions(None).await.unwrap().is_empty(), "somebody is signed in");
    assert!(store.session_by_token(&[1; 32]).await.unwrap().is_none());
    assert_eq!(store.health().await.unwrap().mode, "0600");

    // The replaced store is kept.
    let previous = SqliteStore::open(&done.previous.unwrap(), &[key(1)]).await.unwrap();
    assert!(previous.account(bob.id).await.unwrap().is_none());
    assert_eq!(previous.sessions(None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn x43_a_restore_revives_no_identity_provider_or_denied_token() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let bob = account(&store, "bob", Role::User).await;
    let cid = account(&store, "cid", Role::User).await;
    for (account, subject) in
        [(&ann, "kept"), (&ann, "unlinked"), (&ann, "moved"), (&bob, "bob"), (&cid, "cid")]
    {
        store.add_provider_link(link(account, subject), None, false).await.unwrap();
    }
    for id in ["kept", "removed", "switched-off"] {
        store.create_stored_provider(stored_provider(id, Some("secret"))).await.unwrap();
    }
    let denied =
        |sub: &str| DeniedJwt { issuer: ISSUER.to_owned(), by: DeniedBy::Sub(sub.to_owned()) };
    store.deny_jwt(denied("both"), NOW).await.unwrap();
    let session = provider_session(&store, &ann, 1).await;
    let replay = OneTimeKind::LogoutToken;
    store.remember_once(replay, [1; 32], NOW, LATER).await.unwrap();
    let copy = store.backup(&place.dir.path().join("copy.db.gz"), NOW).await.unwrap();

    for subject in ["unlinked", "moved"] {
        store.delete_provider_link(ann.id, ISSUER, subject).await.unwrap();
    }
    store.add_provider_link(link(&bob, "moved"), None, false).await.unwrap();
    store.delete_account(cid.id).await.unwrap();
    store.delete_stored_provider("removed").await.unwrap();
    let mut off = stored_provider("switched-off", None);
    off.spec.enabled = Some(false);
    store.change_stored_provider(off).await.unwrap();
    store.deny_jwt(denied("since"), NOW).await.unwrap();
    store.allow_jwt(&denied("both")).await.unwrap();
    store.close().await;

    let done = backup::restore(&copy, &place.file(), place.dir.path(), &[key(1)]).await.unwrap();
    let carried = done.carried.unwrap();
    assert_eq!((carried.links_removed, carried.providers_off, carried.jwts_denied), (2, 2, 1));
    let store = place.open().await;
    assert_eq!(store.provider_links(ann.id).await.unwrap(), [link(&ann, "kept")]);
    assert_eq!(store.provider_links(bob.id).await.unwrap(), [link(&bob, "bob")]);
    // An account that was deleted comes back as it was.
    assert_eq!(store.provider_links(cid.id).await.unwrap(), [link(&cid, "cid")]);
    let providers = store.stored_providers().await.unwrap();
    let state: Vec<_> = providers.iter().map(|p| (p.spec.id.as_str(), p.spec.enabled)).collect();
    assert_eq!(state, [("kept", None), ("removed", Some(false)), ("switched-off", Some(false))]);
    assert!(providers.iter().all(|p| p.spec.client_secret == Some(Secret::new("secret"))));
    for sub in ["both", "since"] {
        assert!(store.is_jwt_denied(ISSUER, sub, None).await.unwrap(), "{sub}");
    }
    assert!(store.provider_session(session).await.unwrap().is_none());
    assert!(store.sessions(None).await.unwrap().is_empty(), "somebody is signed in");
}

#[tokio::test]
async fn x43_stores_of_the_first_schema_are_restored_and_restored_over() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let current = store.backup(&dir.join("current.db"), NOW).await.unwrap();
    let old = store.backup(&dir.join("old.db"), NOW).await.unwrap();
    let revoked = api_key(&store, &ann, "k", 1).await;
    let with_key = store.backup(&dir.join("key.db"), NOW).await.unwrap();
    store.delete_api_key(revoked).await.unwrap();
    store.deny_jwt(denied_by_jti(), NOW).await.unwrap();
    store.close().await;
    sql(&old, BACK_TO_THE_FIRST_SCHEMA).await;

    // An old backup into a current store: what was denied since stays so.
    let done = backup::restore(&old, &place.file(), dir, &[key(1)]).await.unwrap();
    assert_eq!(done.carried.unwrap().jwts_denied, 1);
    let store = place.open().await;
    assert_eq!(store.account(ann.id).await.unwrap(), Some(ann.clone()));
    assert!(store.is_jwt_denied(ISSUER, "ann", Some("t")).await.unwrap());
    store.close().await;

    // A current backup over an old store: its keys still count.
    sql(&place.file(), BACK_TO_THE_FIRST_SCHEMA).await;
    let done = backup::restore(&with_key, &place.file(), dir, &[key(1)]).await.unwrap();
    assert_eq!(done.carried.unwrap().keys_removed, 1);
    backup::restore(&current, &place.file(), dir, &[key(1)]).await.unwrap();
    assert!(place.open().await.provider_links(ann.id).await.unwrap().is_empty());
}

fn denied_by_jti() -> DeniedJwt {
    DeniedJwt { issuer: ISSUER.to_owned(), by: DeniedBy::Jti("t".to_owned()) }
}

#[tokio::test]
async fn a_demotion_since_the_backup_never_leaves_it_without_administrator() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let copy = store.backup(&place.dir.path().join("copy.db"), NOW).await.unwrap();
    account(&store, "new", Role::Admin).await;
    let demote = AccountChange { role: Some(Role::User), ..AccountChange::default() };
    store.change_account(ann.id, demote).await.unwrap();
    store.close().await;
    backup::restore(&copy, &place.file(), place.dir.path(), &[key(1)]).await.unwrap();
    let store = place.open().await;
    assert_eq!(store.account(ann.id).await.unwrap().unwrap().role, Role::Admin);
}

#[tokio::test]
async fn a_backup_restored_after_a_loss_keeps_its_keys() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    api_key(&store, &ann, "k", 1).await;
    let copy = store.backup(&place.dir.path().join("copy.db.gz"), NOW).await.unwrap();
    store.close().await;
    // The store is lost and a fresh one was made in its place.
    for fresh in [false, true] {
        for suffix in ["", "-wal", "-shm"] {
            let name = format!("vestibule.db{suffix}");
            let _ = std::fs::remove_file(place.dir.path().join(name));
        }
        if fresh {
            place.open().await.close().await;
        }
        let done =
            backup::restore(&copy, &place.file(), place.dir.path(), &[key(1)]).await.unwrap();
        assert!(done.carried.is_none() && done.previous.is_some() == fresh);
        let store = place.open().await;
        assert!(store.api_key_by_hash(&[1; 32]).await.unwrap().is_some());
        store.close().await;
    }
}

#[tokio::test]
async fn seed_003_88_a_restore_with_the_server_up_says_stop_first() {
    let place = Place::new();
    let store = place.open().await;
    account(&store, "ann", Role::Admin).await;
    let copy = store.backup(&place.dir.path().join("copy.db"), NOW).await.unwrap();
    account(&store, "bob", Role::User).await;
    let lock = ServerLock::acquire(place.dir.path()).unwrap();
    let restore =
        || async { backup::restore(&copy, &place.file(), place.dir.path(), &[key(1)]).await };
    let refused = restore().await.unwrap_err();
    assert!(matches!(refused, RestoreError::ServerRuns { .. }), "{refused:?}");
    assert!(refused.to_string().contains("Stop it first"), "{refused}");
    assert_eq!(store.count_accounts().await.unwrap(), 2);
    store.close().await;
    drop(lock);
    restore().await.unwrap();
    assert_eq!(place.open().await.count_accounts().await.unwrap(), 1);
}

#[tokio::test]
async fn a_restore_that_is_refused_leaves_the_store_as_it_is() {
    let place = Place::new();
    let dir = place.dir.path();
    let store = place.open().await;
    account(&store, "ann", Role::Admin).await;
    let copy = store.backup(&dir.join("copy.db.gz"), NOW).await.unwrap();
    store.close().await;
    let packed = std::fs::read(&copy).unwrap();
    std::fs::write(dir.join("cut.db.gz"), &packed[..packed.len() / 2]).unwrap();
    std::fs::write(dir.join("text.db"), "no database").unwrap();
    std::fs::write(dir.join("empty.db"), "").unwrap();
    sql(&dir.join("foreign.db"), "CREATE TABLE user (id TEXT)").await;
    sql(&dir.join("bare.db"), "CREATE TABLE t (a); DROP TABLE t").await;
    let before = std::fs::read(place.file()).unwrap();
    let mut names = place.names();
    names.push("lock".to_owned());
    names.sort();
    for (name, keys) in [
        ("cut.db.gz", [key(1)]),
        ("text.db", [key(1)]),
        ("empty.db", [key(1)]),
        ("foreign.db", [key(1)]),
        ("bare.db", [key(1)]),
        ("missing.db", [key(1)]),
        ("copy.db.gz", [key(2)]),
    ] {
        let refused = backup::restore(&dir.join(name), &place.file(), dir, &keys).await;
        let text = refused.unwrap_err().to_string();
        assert!(name == "bare.db" || text.contains(name), "{name}: {text}");
        assert!(std::fs::read(place.file()).unwrap() == before, "{name} changed the store");
        assert_eq!(place.names(), names, "{name} left files behind");
    }
    // And another program's database is not replaced.
    let refused = backup::restore(&copy, &dir.join("foreign.db"), dir, &[key(1)]).await;
    assert!(matches!(refused, Err(RestoreError::Open(OpenError::Foreign { .. }))), "{refused:?}");
}

#[tokio::test]
async fn seed_003_93_regular_backups_keep_the_newest_and_latest_is_the_last() {
    let place = Place::new();
    let dir = place.dir.path().join("backups");
    let store = place.open().await;
    let at = |day: i64| UnixMillis(NOW.0 + day * 86_400_000);
    let mut made = Vec::new();
    for day in 0..4 {
        account(&store, &format!("user-{day}"), Role::User).await;
        made.push(store.backup_regularly(&dir, 2, at(day)).await.unwrap());
    }
    assert!(!made[1].exists() && made[2].exists() && made[3].exists());
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert!(read(&dir.join(backup::LATEST)) == read(&made[3]));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3);
    assert_eq!(store.health().await.unwrap().last_backup, Some(at(3)));
}

#[tokio::test]
async fn a_backup_by_the_command_line_while_the_server_writes_is_whole() {
    let place = Place::new();
    let store = place.open().await;
    let copy = place.dir.path().join("copy.db");
    let writes = async {
        for n in 0..100 {
            account(&store, &format!("user-{n}"), Role::User).await;
        }
    };
    let file = place.file();
    let (done, ()) = tokio::join!(backup::backup(&file, &copy, NOW), writes);
    done.unwrap();
    assert_eq!(vestibule_store::sqlite::check(&copy).await.unwrap().complaints, [""; 0]);
    assert_eq!(store.health().await.unwrap().last_backup, Some(NOW));
    let onto_itself = backup::backup(&file, &file, NOW).await.unwrap_err();
    assert!(onto_itself.to_string().contains("the store itself"), "{onto_itself}");
    let nowhere = backup::backup(&place.dir.path().join("none.db"), &copy, NOW).await;
    assert!(nowhere.is_err());
}
