//! The claims, and what their arrangement needs. Each gets an empty store.

use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::ports::{
    AccountChange, ApiKeyChange, ApiKeyRecord, AuditEvent, CreateCondition, NewAccount,
    OneTimeKind, RefreshOutcome, SessionKind, SessionProof, SessionRecord, SigningKeyRecord, Store,
    StoreError,
};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::group::Group;
use vestibule_core::id::{AccountId, KeyId, SessionId};
use vestibule_core::time::UnixMillis;

pub(crate) type Port = Arc<dyn Store>;

pub(crate) const NOW: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn person(name: &str) -> NewAccount {
    NewAccount {
        id: AccountId(uuid::Uuid::new_v4()),
        username: name.to_owned(),
        email: Some(format!("{name}@example.org")),
        email_verified: true,
        name: name.to_uppercase(),
        role: Role::User,
        status: Status::Pending,
        groups: vec![Group::new("staff").unwrap(), Group::new("a").unwrap()],
        password_hash: Some("$argon2id$x".to_owned()),
        must_change_password: false,
        created_at: NOW,
    }
}

pub(crate) async fn made(store: &Port, name: &str) -> Account {
    store.create_account(person(name), CreateCondition::Always).await.unwrap()
}

pub(crate) fn session_of(account: AccountId, kind: SessionKind) -> SessionRecord {
    SessionRecord {
        id: SessionId(uuid::Uuid::new_v4()),
        account,
        kind,
        created_at: NOW,
        auth_time: NOW,
        last_seen: NOW,
        expires_at: NOW.plus(HOUR),
        remember: true,
        amr: vec!["pwd".to_owned()],
        mfa: false,
        rotate: false,
        client_ip: "192.0.2.1".to_owned(),
        user_agent: "a browser".to_owned(),
    }
}

pub(crate) async fn signed_in(store: &Port, account: AccountId, token: u8) -> SessionId {
    let session = session_of(account, SessionKind::Browser);
    let id = session.id;
    store.create_session(session, Some([token; 32])).await.unwrap();
    id
}

pub(crate) fn key_of(owner: AccountId, name: &str) -> ApiKeyRecord {
    ApiKeyRecord {
        id: KeyId(uuid::Uuid::new_v4()),
        owner,
        name: name.to_owned(),
        prefix: "sk".to_owned(),
        start: "sk_abcd".to_owned(),
        created_at: NOW,
        expires_at: Some(NOW.plus(HOUR)),
        enabled: true,
        scopes: Scopes::parse(["route:files:GET", "keys"]).unwrap(),
        rate_limit: Some(RateLimit { requests: 5, window: Duration::from_secs(60) }),
        last_used_at: None,
    }
}

pub(crate) async fn the_first_account_becomes_administrator_and_no_other(store: Port) {
    let when = CreateCondition::FirstBecomesAdmin;
    let first = store.create_account(person("ann"), when).await.unwrap();
    assert_eq!((first.role, first.status), (Role::Admin, Status::Active));
    let second = store.create_account(person("bob"), when).await.unwrap();
    assert_eq!((second.role, second.status), (Role::User, Status::Pending));
    let refused = store.create_account(person("eve"), CreateCondition::NoAccounts).await;
    assert!(matches!(refused, Err(StoreError::Conflict("setup"))));
    assert_eq!(store.count_accounts().await.unwrap(), 2);
}

pub(crate) async fn seed_003_23_of_100_first_administrators_one_is_made(store: Port) {
    let tries = (0..100).map(|n| {
        let store = Arc::clone(&store);
        let new = NewAccount { role: Role::Admin, ..person(&format!("user-{n}")) };
        tokio::spawn(async move { store.create_account(new, CreateCondition::NoAccounts).await })
    });
    let mut made = 0;
    for attempt in tries.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, StoreError::Conflict("setup")), "{error:?}"),
        }
    }
    assert_eq!((made, store.count_accounts().await.unwrap()), (1, 1));
}

pub(crate) async fn seed_001_57_of_100_first_sign_ups_one_becomes_administrator(store: Port) {
    let tries = (0..100).map(|n| {
        let store = Arc::clone(&store);
        let when = CreateCondition::FirstBecomesAdmin;
        tokio::spawn(async move { store.create_account(person(&format!("user-{n}")), when).await })
    });
    let mut admins = 0;
    for attempt in tries.collect::<Vec<_>>() {
        admins += usize::from(attempt.await.unwrap().unwrap().role == Role::Admin);
    }
    assert_eq!((admins, store.count_accounts().await.unwrap()), (1, 100));
}

pub(crate) async fn one_email_in_two_spellings_is_one_account(store: Port) {
    let ann = made(&store, "ann").await;
    let twin = NewAccount { email: Some("ANN@Example.org".to_owned()), ..person("other") };
    let refused = store.create_account(twin, CreateCondition::Always).await;
    assert!(matches!(refused, Err(StoreError::Conflict("email"))), "{refused:?}");
    let found = store.account_by_email("Ann@example.ORG").await.unwrap().unwrap();
    assert_eq!(found.id, ann.id);
    let bob = made(&store, "bob").await;
    let change = AccountChange {
        email: Some((Some("aNN@example.org".to_owned()), true)),
        ..AccountChange::default()
    };
    let refused = store.change_account(bob.id, change).await;
    assert!(matches!(refused, Err(StoreError::Conflict("email"))), "{refused:?}");
    let without = NewAccount { email: None, ..person("x") };
    store.create_account(without, CreateCondition::Always).await.unwrap();
    let without = NewAccount { email: None, ..person("y") };
    store.create_account(without, CreateCondition::Always).await.unwrap();
}

pub(crate) async fn a_taken_username_gets_a_number(store: Port) {
    let long = "n".repeat(64);
    for (n, wanted) in ["ann", "ann2", "ann3"].into_iter().enumerate() {
        let new = NewAccount { email: Some(format!("{n}@b.c")), ..person("ann") };
        let account = store.create_account(new, CreateCondition::Always).await.unwrap();
        assert_eq!(&*account.username, wanted);
    }
    for n in 0..12 {
        let new = NewAccount { email: None, username: long.clone(), ..person("x") };
        let account = store.create_account(new, CreateCondition::Always).await.unwrap();
        assert!(account.username.len() <= 64, "{n}: {}", account.username);
    }
    let bob = made(&store, "bob").await;
    let change = AccountChange { username: Some("ann".to_owned()), ..AccountChange::default() };
    let refused = store.change_account(bob.id, change).await;
    assert!(matches!(refused, Err(StoreError::Conflict("username"))), "{refused:?}");
    let found = store.account_by_username("ann2").await.unwrap().unwrap();
    assert_eq!(&*found.username, "ann2");
}

pub(crate) async fn accounts_are_listed_in_order_of_creation(store: Port) {
    let mut ids = Vec::new();
    for n in 0..5 {
        // The clock jumped back in between: the order of creation counts.
        let created_at = UnixMillis(NOW.0 - n);
        let new = NewAccount { created_at, ..person(&format!("u{n}")) };
        ids.push(store.create_account(new, CreateCondition::Always).await.unwrap().id);
    }
    let mut seen = Vec::new();
    loop {
        let page = store.accounts(seen.last().copied(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.iter().map(|account| account.id));
    }
    assert_eq!(seen, ids);
    store.delete_account(ids[1]).await.unwrap();
    let lost = store.accounts(Some(ids[1]), 2).await;
    assert!(matches!(lost, Err(StoreError::NotFound)), "{lost:?}");
}

pub(crate) async fn a_change_of_an_account_leaves_the_rest_as_it_was(store: Port) {
    let ann = made(&store, "ann").await;
    assert_eq!(ann.groups.iter().map(Group::as_str).collect::<Vec<_>>(), ["a", "staff"]);
    assert_eq!(store.account(ann.id).await.unwrap().unwrap(), ann);
    let change = AccountChange { status: Some(Status::Active), ..AccountChange::default() };
    let active = store.change_account(ann.id, change).await.unwrap();
    assert_eq!(active, Account { status: Status::Active, ..ann.clone() });
    assert_eq!(store.password_hash(ann.id).await.unwrap().as_deref(), Some("$argon2id$x"));
    let change = AccountChange {
        groups: Some(Vec::new()),
        password: Some((Some("$argon2id$y".to_owned()), true)),
        name: Some("Ann".to_owned()),
        email: Some((None, false)),
        ..AccountChange::default()
    };
    let changed = store.change_account(ann.id, change).await.unwrap();
    assert!(changed.must_change_password && changed.groups.is_empty());
    assert_eq!((&*changed.name, changed.email.as_deref()), ("Ann", None));
    assert_eq!(store.password_hash(ann.id).await.unwrap().as_deref(), Some("$argon2id$y"));
    let change = AccountChange { password: Some((None, false)), ..AccountChange::default() };
    assert!(!store.change_account(ann.id, change).await.unwrap().must_change_password);
    assert_eq!(store.password_hash(ann.id).await.unwrap(), None);
}

pub(crate) async fn the_last_administrator_stays(store: Port) {
    let when = CreateCondition::FirstBecomesAdmin;
    let ann = store.create_account(person("ann"), when).await.unwrap();
    let bob = made(&store, "bob").await;
    let demote = || AccountChange { role: Some(Role::User), ..AccountChange::default() };
    let promote = AccountChange { role: Some(Role::Admin), ..AccountChange::default() };
    assert!(matches!(store.change_account(ann.id, demote()).await, Err(StoreError::LastAdmin)));
    assert!(matches!(store.delete_account(ann.id).await, Err(StoreError::LastAdmin)));
    store.change_account(bob.id, promote).await.unwrap();
    // Both at once: one of the two goes through.
    let (one, two) =
        tokio::join!(store.change_account(ann.id, demote()), store.delete_account(bob.id));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let accounts = store.accounts(None, 10).await.unwrap();
    assert_eq!(accounts.iter().filter(|a| a.role == Role::Admin).count(), 1);
}

pub(crate) async fn deleting_an_account_takes_everything_it_owns(store: Port) {
    let ann = made(&store, "ann").await;
    let session = signed_in(&store, ann.id, 1).await;
    store.add_host_token(session, "app.example.org", [2; 32], NOW).await.unwrap();
    store.add_refresh_token(session, [3; 32], NOW, NOW.plus(HOUR)).await.unwrap();
    store.create_api_key(key_of(ann.id, "k"), [4; 32]).await.unwrap();
    store.add_known_device(ann.id, [5; 32], NOW).await.unwrap();
    store.delete_account(ann.id).await.unwrap();
    assert!(store.account(ann.id).await.unwrap().is_none());
    assert!(store.session_by_token(&[1; 32]).await.unwrap().is_none());
    assert!(store.session_by_token(&[2; 32]).await.unwrap().is_none());
    assert!(store.session(session).await.unwrap().is_none());
    assert!(store.api_key_by_hash(&[4; 32]).await.unwrap().is_none());
    assert!(!store.is_known_device(ann.id, &[5; 32]).await.unwrap());
    let used = store.rotate_refresh_token(&[3; 32], [6; 32], NOW, NOW.plus(HOUR)).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown));
    assert!(matches!(store.delete_account(ann.id).await, Err(StoreError::NotFound)));
}

pub(crate) async fn a_session_needs_an_account(store: Port) {
    let nobody = AccountId(uuid::Uuid::new_v4());
    let session = session_of(nobody, SessionKind::Browser);
    let refused = store.create_session(session.clone(), Some([1; 32])).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert!(store.session_by_token(&[1; 32]).await.unwrap().is_none());
    let refused = store.create_api_key(key_of(nobody, "k"), [1; 32]).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let ann = made(&store, "ann").await;
    let session = session_of(ann.id, SessionKind::Browser);
    store.create_session(session.clone(), Some([1; 32])).await.unwrap();
    let twin = session_of(ann.id, SessionKind::Browser);
    let refused = store.create_session(twin.clone(), Some([1; 32])).await;
    assert!(matches!(refused, Err(StoreError::Conflict("token"))), "{refused:?}");
    assert!(store.session(twin.id).await.unwrap().is_none(), "half a session was left");
    let found = store.session_by_token(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(format!("{:?}", found.session), format!("{session:?}"));
    assert_eq!((found.account, found.host), (ann, None));
}

pub(crate) async fn a_host_token_needs_a_live_session(store: Port) {
    let ann = made(&store, "ann").await;
    let session = signed_in(&store, ann.id, 1).await;
    let host = "app.example.org:8443";
    let late = NOW.plus(HOUR);
    let refused = store.add_host_token(session, host, [2; 32], late).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    let nobody = SessionId(uuid::Uuid::new_v4());
    let refused = store.add_host_token(nobody, host, [2; 32], NOW).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    for token in 10..40 {
        let at = UnixMillis(NOW.0 + i64::from(token));
        store.add_host_token(session, host, [token; 32], at).await.unwrap();
    }
    let found = store.session_by_token(&[39; 32]).await.unwrap().unwrap();
    assert_eq!((found.session.id, found.host.as_deref()), (session, Some(host)));
    // Repeated hand-offs do not pile up, and the portal's own token is not among the removed.
    assert!(store.session_by_token(&[10; 32]).await.unwrap().is_none());
    assert!(store.session_by_token(&[1; 32]).await.unwrap().is_some());
    assert!(store.delete_session(session).await.unwrap());
    assert!(!store.delete_session(session).await.unwrap());
    assert!(store.session_by_token(&[39; 32]).await.unwrap().is_none());
}

pub(crate) async fn a_new_token_voids_every_older_one(store: Port) {
    let ann = made(&store, "ann").await;
    let session = signed_in(&store, ann.id, 1).await;
    let token = session_of(ann.id, SessionKind::Token);
    store.create_session(token.clone(), None).await.unwrap();
    store.add_host_token(session, "app", [2; 32], NOW).await.unwrap();
    store.mark_sessions_for_rotation(ann.id).await.unwrap();
    assert!(store.session(session).await.unwrap().unwrap().session.rotate);
    assert!(!store.session(token.id).await.unwrap().unwrap().session.rotate);
    store.rotate_session(session, [3; 32], None).await.unwrap();
    let found = store.session_by_token(&[3; 32]).await.unwrap().unwrap();
    assert!(!found.session.rotate && found.session.amr == ["pwd"]);
    assert!(store.session_by_token(&[1; 32]).await.unwrap().is_none());
    assert!(store.session_by_token(&[2; 32]).await.unwrap().is_none());
    let later = NOW.plus(Duration::from_secs(5));
    let proof =
        SessionProof { auth_time: later, amr: vec!["pwd".to_owned(), "otp".to_owned()], mfa: true };
    store.rotate_session(session, [4; 32], Some(proof)).await.unwrap();
    let found = store.session_by_token(&[4; 32]).await.unwrap().unwrap().session;
    assert_eq!((found.auth_time, found.mfa, found.amr.len()), (later, true, 2));
    let nobody = SessionId(uuid::Uuid::new_v4());
    let refused = store.rotate_session(nobody, [5; 32], None).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
}

pub(crate) async fn ending_sessions_spares_the_excepted_one(store: Port) {
    let (ann, bob) = (made(&store, "ann").await, made(&store, "bob").await);
    let mut own = Vec::new();
    for token in 1..=3 {
        own.push(signed_in(&store, ann.id, token).await);
    }
    let other = signed_in(&store, bob.id, 9).await;
    let mut ended = store.delete_sessions(ann.id, Some(own[1])).await.unwrap();
    ended.sort();
    let mut expected = vec![own[0], own[2]];
    expected.sort();
    assert_eq!(ended, expected);
    assert_eq!(store.sessions(Some(ann.id)).await.unwrap().len(), 1);
    assert_eq!(store.sessions(None).await.unwrap().len(), 2);
    assert_eq!(store.count_sessions(NOW).await.unwrap(), 2);
    assert_eq!(store.count_sessions(NOW.plus(HOUR)).await.unwrap(), 0);
    assert_eq!(store.delete_sessions(bob.id, None).await.unwrap(), [other]);
    assert_eq!(store.delete_all_sessions().await.unwrap(), 1);
    assert!(store.session_by_token(&[2; 32]).await.unwrap().is_none());
}

pub(crate) async fn a_batch_of_touches_moves_times_forward_only(store: Port) {
    let ann = made(&store, "ann").await;
    let session = signed_in(&store, ann.id, 1).await;
    let key = key_of(ann.id, "k");
    store.create_api_key(key.clone(), [7; 32]).await.unwrap();
    let at = |secs: u64| NOW.plus(Duration::from_secs(secs));
    let mut seen: Vec<_> = (0..1200).map(|_| (SessionId(uuid::Uuid::new_v4()), at(1))).collect();
    seen.extend([(session, at(7)), (session, at(9)), (session, at(8))]);
    store.touch_sessions(&seen).await.unwrap();
    store.touch_sessions(&[(session, at(3))]).await.unwrap();
    store.touch_sessions(&[]).await.unwrap();
    let found = store.session(session).await.unwrap().unwrap();
    assert_eq!(found.session.last_seen, at(9));
    store.touch_api_keys(&[(key.id, at(4)), (key.id, at(2))]).await.unwrap();
    store.touch_api_keys(&[(key.id, at(1))]).await.unwrap();
    let found = store.api_key(key.id).await.unwrap().unwrap();
    assert_eq!(found.last_used_at, Some(at(4)));
}

pub(crate) async fn a_refresh_token_is_used_once_and_a_second_use_ends_its_session(store: Port) {
    let ann = made(&store, "ann").await;
    let session = session_of(ann.id, SessionKind::Token);
    store.create_session(session.clone(), None).await.unwrap();
    store.add_refresh_token(session.id, [1; 32], NOW, NOW.plus(HOUR)).await.unwrap();
    let later = NOW.plus(Duration::from_secs(60));
    let used = store.rotate_refresh_token(&[1; 32], [2; 32], later, NOW.plus(HOUR)).await.unwrap();
    let RefreshOutcome::Rotated(found) = used else { panic!("{used:?}") };
    assert_eq!((found.session.id, found.account.id), (session.id, ann.id));
    assert_eq!(found.session.last_seen, later);
    let used = store.rotate_refresh_token(&[2; 32], [3; 32], later, NOW.plus(HOUR)).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Rotated(_)));
    let used = store.rotate_refresh_token(&[1; 32], [4; 32], later, NOW.plus(HOUR)).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Reused(id) if id == session.id), "{used:?}");
    assert!(store.session(session.id).await.unwrap().is_none());
    let used = store.rotate_refresh_token(&[3; 32], [5; 32], later, NOW.plus(HOUR)).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown), "the family outlived the reuse: {used:?}");
}

pub(crate) async fn parallel_uses_of_one_refresh_token_rotate_it_once(store: Port) {
    let ann = made(&store, "ann").await;
    let session = session_of(ann.id, SessionKind::Token);
    store.create_session(session.clone(), None).await.unwrap();
    store.add_refresh_token(session.id, [200; 32], NOW, NOW.plus(HOUR)).await.unwrap();
    let tries = (0..20).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.rotate_refresh_token(&[200; 32], [n; 32], NOW, NOW.plus(HOUR)).await
        })
    });
    let mut rotated = 0;
    for attempt in tries.collect::<Vec<_>>() {
        rotated += usize::from(matches!(attempt.await.unwrap(), Ok(RefreshOutcome::Rotated(_))));
    }
    assert_eq!(rotated, 1);
}

pub(crate) async fn a_refresh_token_of_an_ended_session_is_unknown(store: Port) {
    let ann = made(&store, "ann").await;
    let session = session_of(ann.id, SessionKind::Token);
    store.create_session(session.clone(), None).await.unwrap();
    let far = NOW.plus(HOUR * 10);
    store.add_refresh_token(session.id, [1; 32], NOW, far).await.unwrap();
    store
        .add_refresh_token(session.id, [2; 32], NOW, NOW.plus(Duration::from_secs(1)))
        .await
        .unwrap();
    let over = NOW.plus(HOUR);
    let used = store.rotate_refresh_token(&[1; 32], [3; 32], over, far).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown), "the session is over: {used:?}");
    let soon = NOW.plus(Duration::from_secs(1));
    let used = store.rotate_refresh_token(&[2; 32], [3; 32], soon, far).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown), "the token is over: {used:?}");
    let refused = store.add_refresh_token(session.id, [4; 32], over, far).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    store.delete_session(session.id).await.unwrap();
    let used = store.rotate_refresh_token(&[1; 32], [3; 32], NOW, far).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown));
}

pub(crate) async fn a_key_is_found_by_its_hash_with_its_owner(store: Port) {
    let ann = made(&store, "ann").await;
    let key = key_of(ann.id, "first");
    store.create_api_key(key.clone(), [1; 32]).await.unwrap();
    let (found, owner) = store.api_key_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{key:?}"));
    assert_eq!(owner, ann);
    assert!(store.api_key_by_hash(&[2; 32]).await.unwrap().is_none());
    let refused = store.create_api_key(key_of(ann.id, "twin"), [1; 32]).await;
    assert!(matches!(refused, Err(StoreError::Conflict("key"))), "{refused:?}");
    let other = ApiKeyRecord {
        prefix: "vst".to_owned(),
        created_at: NOW.plus(HOUR),
        ..key_of(ann.id, "second")
    };
    store.create_api_key(other, [2; 32]).await.unwrap();
    let names: Vec<_> =
        store.api_keys(Some(ann.id)).await.unwrap().into_iter().map(|key| key.name).collect();
    assert_eq!(names, ["second", "first"]);
    assert_eq!(store.api_keys(None).await.unwrap().len(), 2);
    assert_eq!(store.api_key_prefixes().await.unwrap(), ["sk", "vst"]);
    let change = ApiKeyChange {
        name: Some("renamed".to_owned()),
        enabled: Some(false),
        expires_at: Some(None),
        scopes: Some(Scopes::all()),
        rate_limit: Some(None),
    };
    let changed = store.change_api_key(key.id, change).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.enabled), ("renamed", false));
    assert_eq!((changed.expires_at, changed.rate_limit), (None, None));
    assert!(changed.scopes.is_all());
    let same = store.change_api_key(key.id, ApiKeyChange::default()).await.unwrap();
    assert_eq!(format!("{same:?}"), format!("{changed:?}"));
    assert!(store.delete_api_key(key.id).await.unwrap());
    assert!(!store.delete_api_key(key.id).await.unwrap());
    assert!(store.api_key_by_hash(&[1; 32]).await.unwrap().is_none());
}

pub(crate) async fn missing_things_are_not_found(store: Port) {
    let nobody = AccountId(uuid::Uuid::new_v4());
    assert!(store.account(nobody).await.unwrap().is_none());
    assert!(store.account_by_email("x@y.z").await.unwrap().is_none());
    assert!(store.account_by_username("x").await.unwrap().is_none());
    assert!(store.password_hash(nobody).await.unwrap().is_none());
    let refused = store.change_account(nobody, AccountChange::default()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    let key = KeyId(uuid::Uuid::new_v4());
    assert!(store.api_key(key).await.unwrap().is_none());
    let refused = store.change_api_key(key, ApiKeyChange::default()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    let refused = store.add_known_device(nobody, [1; 32], NOW).await;
    assert!(matches!(refused, Err(StoreError::NotFound)));
    assert!(store.sessions(Some(nobody)).await.unwrap().is_empty());
}

pub(crate) async fn g14_a_one_time_value_is_taken_by_one_of_100(store: Port) {
    let kind = OneTimeKind::Handoff;
    store.put_one_time(kind, [1; 32], b"value".to_vec(), NOW.plus(HOUR)).await.unwrap();
    let other = store.take_one_time(OneTimeKind::MfaPending, &[1; 32], NOW).await.unwrap();
    assert_eq!(other, None, "another kind took it");
    let tries = (0..100).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.take_one_time(kind, &[1; 32], NOW).await.unwrap() })
    });
    let mut taken = Vec::new();
    for attempt in tries.collect::<Vec<_>>() {
        taken.extend(attempt.await.unwrap());
    }
    assert_eq!(taken, [b"value".to_vec()]);
    store.put_one_time(kind, [2; 32], b"late".to_vec(), NOW).await.unwrap();
    assert_eq!(store.take_one_time(kind, &[2; 32], NOW).await.unwrap(), None);
    assert_eq!(store.take_one_time(kind, &[2; 32], UnixMillis(0)).await.unwrap(), None);
}

pub(crate) async fn a_known_browser_is_known_for_its_account_only(store: Port) {
    let (ann, bob) = (made(&store, "ann").await, made(&store, "bob").await);
    store.add_known_device(ann.id, [1; 32], NOW).await.unwrap();
    store.add_known_device(ann.id, [1; 32], NOW.plus(HOUR)).await.unwrap();
    assert!(store.is_known_device(ann.id, &[1; 32]).await.unwrap());
    assert!(!store.is_known_device(bob.id, &[1; 32]).await.unwrap());
    assert!(!store.is_known_device(ann.id, &[2; 32]).await.unwrap());
}

pub(crate) async fn signing_keys_are_added_once(store: Port) {
    let record = |kid: &str, at: UnixMillis| SigningKeyRecord {
        kid: kid.to_owned(),
        purpose: "access-token".to_owned(),
        pkcs8: kid.as_bytes().to_vec(),
        created_at: at,
        retired_at: None,
    };
    let tries = (0..10).map(|n| {
        let store = Arc::clone(&store);
        let record = record(&format!("k{n}"), NOW);
        tokio::spawn(async move { store.add_signing_key(record, Some(UnixMillis(0))).await })
    });
    for attempt in tries.collect::<Vec<_>>() {
        assert_eq!(attempt.await.unwrap().unwrap().len(), 1);
    }
    let later = NOW.plus(HOUR);
    let all = store.add_signing_key(record("next", later), Some(NOW)).await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!((all[1].kid.as_str(), all[1].pkcs8.as_slice()), ("next", &b"next"[..]));
    let all = store.add_signing_key(record("third", later), Some(NOW)).await.unwrap();
    assert_eq!(all.len(), 2, "a key newer than the limit was there");
    assert_eq!(store.signing_keys("access-token").await.unwrap().len(), 2);
    assert!(store.signing_keys("assertion").await.unwrap().is_empty());
}

pub(crate) async fn notes_are_replaced(store: Port) {
    assert_eq!(store.note("a").await.unwrap(), None);
    store.set_note("a", "1").await.unwrap();
    store.set_note("a", "2").await.unwrap();
    assert_eq!(store.note("a").await.unwrap().as_deref(), Some("2"));
    store.ping().await.unwrap();
}

pub(crate) async fn audit_is_read_newest_first(store: Port) {
    let event = |n: i64| AuditEvent {
        time: UnixMillis(n),
        event: "signin.success",
        actor: format!("a{n}"),
        subject: "s".to_owned(),
        client_ip: "192.0.2.1".to_owned(),
        request_id: "r".to_owned(),
        outcome: "success",
        detail: String::new(),
    };
    store.append_audit(&(0..5).map(event).collect::<Vec<_>>()).await.unwrap();
    store.append_audit(&[]).await.unwrap();
    let page = store.audit(None, 2).await.unwrap();
    assert_eq!(page.iter().map(|e| e.time.0).collect::<Vec<_>>(), [4, 3]);
    let rest = store.audit(Some(page[1].seq), 10).await.unwrap();
    assert_eq!(rest.iter().map(|e| e.actor.as_str()).collect::<Vec<_>>(), ["a2", "a1", "a0"]);
    assert_eq!((rest[0].event.as_str(), rest[0].outcome.as_str()), ("signin.success", "success"));
}

pub(crate) async fn the_purge_takes_what_is_over_and_nothing_else(store: Port) {
    let ann = made(&store, "ann").await;
    let idle_timeout = HOUR * 24;
    let at = NOW.plus(HOUR * 48);
    let with = |kind: SessionKind, last_seen: UnixMillis, expires_at: UnixMillis| SessionRecord {
        last_seen,
        expires_at,
        ..session_of(ann.id, kind)
    };
    let far = at.plus(HOUR);
    let live = with(SessionKind::Browser, at, far);
    let over = with(SessionKind::Browser, at, at);
    let idle = with(SessionKind::Browser, NOW, far);
    let token = with(SessionKind::Token, NOW, far);
    for (n, session) in [&live, &over, &idle, &token].into_iter().enumerate() {
        let hash = [u8::try_from(n).unwrap(); 32];
        store.create_session(session.clone(), Some(hash)).await.unwrap();
    }
    store.add_refresh_token(token.id, [1; 32], NOW, at).await.unwrap();
    store.add_refresh_token(token.id, [2; 32], NOW, far).await.unwrap();
    for n in 0..1100u16 {
        let mut key = [9; 32];
        key[..2].copy_from_slice(&n.to_be_bytes());
        let end = if n == 0 { far } else { at };
        store.put_one_time(OneTimeKind::Handoff, key, vec![1], end).await.unwrap();
    }
    store.purge(at, idle_timeout).await.unwrap();
    let left: Vec<_> = store.sessions(None).await.unwrap().into_iter().map(|s| s.id).collect();
    assert!(left.len() == 2 && left.contains(&live.id) && left.contains(&token.id), "{left:?}");
    let early = UnixMillis(0);
    let mut key = [9; 32];
    key[..2].copy_from_slice(&0u16.to_be_bytes());
    assert!(store.take_one_time(OneTimeKind::Handoff, &key, early).await.unwrap().is_some());
    key[..2].copy_from_slice(&77u16.to_be_bytes());
    assert!(store.take_one_time(OneTimeKind::Handoff, &key, early).await.unwrap().is_none());
    let used = store.rotate_refresh_token(&[1; 32], [3; 32], NOW, far).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown));
    let used = store.rotate_refresh_token(&[2; 32], [3; 32], NOW, far).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Rotated(_)));
}
