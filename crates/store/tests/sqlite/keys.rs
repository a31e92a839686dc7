//! The store key: what it seals, where it lies, how it is replaced.

use std::os::unix::fs::PermissionsExt as _;

use vestibule_authn::ports::{OneTimeKind, SigningKeyRecord, Store as _, StoreError};
use vestibule_core::account::Role;
use vestibule_store::OpenError;
use vestibule_store::key_file::load_or_create_store_key;
use vestibule_store::sqlite::SqliteStore;

use crate::fixture::{
    LATER, NOW, Place, account, ask, kept, key, provider_session, session, sql, stored_provider,
};

fn signing_key(kid: &str) -> SigningKeyRecord {
    SigningKeyRecord {
        kid: kid.to_owned(),
        purpose: "assertion".to_owned(),
        pkcs8: b"a private key in plain".to_vec(),
        created_at: NOW,
        retired_at: None,
    }
}

#[tokio::test]
async fn no_file_of_the_store_holds_what_was_sealed() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    store.add_signing_key(signing_key("k"), None).await.unwrap();
    let value = b"half a sign-in in plain".to_vec();
    store.put_one_time(OneTimeKind::MfaPending, [1; 32], value, LATER).await.unwrap();
    provider_session(&store, &ann, 1).await;
    let provider = stored_provider("pocket-id", Some("a client secret in plain"));
    store.create_stored_provider(provider.clone()).await.unwrap();
    store.change_stored_provider(provider).await.unwrap();
    let copy = store.backup(&place.dir.path().join("copy.db"), NOW).await.unwrap();
    assert!(copy.exists());
    let mut looked = 0;
    for name in place.names() {
        let content = std::fs::read(place.dir.path().join(&name)).unwrap();
        let shows = content.windows(8).any(|window| window == b"in plain");
        assert!(!shows, "{name} holds a plain value");
        // The search itself works: the address of the account is there in plain.
        looked += usize::from(content.windows(15).any(|window| window == b"ann@example.org"));
    }
    assert!(looked >= 2, "the account was in {looked} files");
}

#[tokio::test]
async fn x37_a_replaced_key_opens_while_listed_and_reseal_ends_the_old_one() {
    let place = Place::new();
    let file = place.file();
    let store = SqliteStore::open(&file, &[key(1)]).await.unwrap();
    store.add_signing_key(signing_key("k"), None).await.unwrap();
    store.put_one_time(OneTimeKind::Handoff, [1; 32], b"v".to_vec(), LATER).await.unwrap();
    let ann = account(&store, "ann", Role::Admin).await;
    let session = provider_session(&store, &ann, 1).await;
    store.create_stored_provider(stored_provider("a", Some("secret of a"))).await.unwrap();
    store.create_stored_provider(stored_provider("public", None)).await.unwrap();
    store.close().await;

    let refused = SqliteStore::open(&file, &[key(2)]).await.err().unwrap();
    assert!(matches!(refused, OpenError::Sealed { .. }), "{refused:?}");
    assert!(refused.to_string().contains("store_key"), "{refused}");
    assert!(SqliteStore::open(&file, &[]).await.is_err());

    let store = SqliteStore::open(&file, &[key(2), key(1)]).await.unwrap();
    assert_eq!(store.signing_keys("assertion").await.unwrap().len(), 1);
    assert_eq!(store.reseal().await.unwrap(), 5);
    assert_eq!(store.reseal().await.unwrap(), 0);
    store.close().await;

    let store = SqliteStore::open(&file, &[key(2)]).await.unwrap();
    let keys = store.signing_keys("assertion").await.unwrap();
    assert_eq!(keys[0].pkcs8, b"a private key in plain");
    let value = store.take_one_time(OneTimeKind::Handoff, &[1; 32], NOW).await.unwrap();
    assert_eq!(value.as_deref(), Some(&b"v"[..]));
    assert_eq!(store.provider_session(session).await.unwrap(), Some(kept("sub-1")));
    let providers = store.stored_providers().await.unwrap();
    let expected = [stored_provider("a", Some("secret of a")), stored_provider("public", None)];
    assert_eq!(providers, expected);
    store.close().await;
    assert!(SqliteStore::open(&file, &[key(1)]).await.is_err(), "the old key still opens");
}

#[tokio::test]
async fn x37_a_key_that_only_sessions_need_is_missed_at_the_start() {
    let place = Place::new();
    let file = place.file();
    let store = SqliteStore::open(&file, &[key(1)]).await.unwrap();
    let ann = account(&store, "ann", Role::Admin).await;
    let session = provider_session(&store, &ann, 1).await;
    store.close().await;
    let store = SqliteStore::open(&file, &[key(2), key(1)]).await.unwrap();
    store.reseal().await.unwrap();
    store.close().await;
    // As it is where a second process went on sealing with the old key.
    let store = SqliteStore::open(&file, &[key(1), key(2)]).await.unwrap();
    store.set_provider_session(session, kept("sub-2")).await.unwrap();
    store.close().await;
    let refused = SqliteStore::open(&file, &[key(2)]).await.err().unwrap();
    assert!(matches!(refused, OpenError::Sealed { .. }), "{refused:?}");
    assert!(refused.to_string().contains("sessions"), "{refused}");
    let store = SqliteStore::open(&file, &[key(2), key(1)]).await.unwrap();
    assert_eq!(store.provider_session(session).await.unwrap(), Some(kept("sub-2")));
}

#[tokio::test]
async fn x37_tokens_moved_to_another_session_do_not_open_and_reseal_ends_it() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    let eve = account(&store, "eve", Role::User).await;
    let (own, moved) =
        (provider_session(&store, &ann, 1).await, provider_session(&store, &eve, 2).await);
    let steal = format!(
        "UPDATE provider_sessions SET tokens = (SELECT tokens FROM provider_sessions
             WHERE session_id = '{own}') WHERE session_id = '{moved}'"
    );
    sql(&place.file(), &steal).await;
    let refused = store.provider_session(moved).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(store.provider_session(own).await.unwrap(), Some(kept("sub-1")));
    store.close().await;
    // One bad session does not keep the others out, and resealing ends it.
    let store = place.open().await;
    assert_eq!(store.reseal().await.unwrap(), 1);
    assert!(store.session(moved).await.unwrap().is_none());
    assert!(store.session_by_token(&[2; 32]).await.unwrap().is_none());
    assert_eq!(store.provider_session(own).await.unwrap(), Some(kept("sub-1")));
}

#[tokio::test]
async fn x37_a_client_secret_moved_to_another_provider_does_not_open() {
    let place = Place::new();
    let store = place.open().await;
    for id in ["a", "b"] {
        let provider = stored_provider(id, Some(&format!("secret of {id}")));
        store.create_stored_provider(provider).await.unwrap();
    }
    let spec = ask(&place.file(), "SELECT spec FROM providers").await;
    assert!(spec.iter().all(|spec| !spec.contains("secret")), "{spec:?}");
    let steal = "UPDATE providers SET secret = (SELECT secret FROM providers WHERE id = 'a')
                 WHERE id = 'b'";
    sql(&place.file(), steal).await;
    let refused = store.stored_providers().await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains("provider b")),
        "{refused:?}"
    );
    assert!(store.reseal().await.is_err());
    store.close().await;
    let refused = place.refused().await;
    assert!(matches!(refused, OpenError::Sealed { .. }), "{refused:?}");
    assert!(refused.to_string().contains("provider b"), "{refused}");
}

#[tokio::test]
async fn a_wrong_key_is_noticed_before_anything_was_sealed_by_anybody() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::Admin).await;
    session(&store, &ann, vestibule_authn::ports::SessionKind::Browser, 1).await;
    store.close().await;
    let refused = SqliteStore::open(&place.file(), &[key(9)]).await.err().unwrap();
    assert!(matches!(refused, OpenError::Sealed { .. }), "{refused:?}");
}

#[tokio::test]
async fn the_key_file_is_made_once_0600_and_read_again() {
    let place = Place::new();
    let data = place.dir.path().join("data");
    let file = data.join("vestibule.db");
    let made = load_or_create_store_key(&data, &file).await.unwrap();
    let text = std::fs::read_to_string(data.join("store.key")).unwrap();
    assert_eq!(text.trim().len(), 64);
    let mode = std::fs::metadata(data.join("store.key")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let store = SqliteStore::open(&file, std::slice::from_ref(&made)).await.unwrap();
    store.close().await;
    let again = load_or_create_store_key(&data, &file).await.unwrap();
    assert_eq!(made.0[..], again.0[..]);
}

#[tokio::test]
async fn section_1n_a_missing_or_readable_key_file_stops_the_start() {
    let place = Place::new();
    let data = place.dir.path();
    let made = load_or_create_store_key(data, &place.file()).await.unwrap();
    let path = data.join("store.key");
    SqliteStore::open(&place.file(), &[made]).await.unwrap().close().await;

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = load_or_create_store_key(data, &place.file()).await.err().unwrap();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();

    std::fs::write(&path, "not hex").unwrap();
    let refused = load_or_create_store_key(data, &place.file()).await.err().unwrap();
    assert!(refused.to_string().contains("64 hex digits"), "{refused}");

    std::fs::remove_file(&path).unwrap();
    let refused = load_or_create_store_key(data, &place.file()).await.err().unwrap();
    assert!(matches!(refused, OpenError::KeyMissing { .. }), "{refused:?}");
    assert!(refused.to_string().contains("store.key"), "{refused}");
    assert!(!path.exists(), "a new key was made");
}
