//! API keys: what they open, how often, and until when.

use std::time::Duration;

use vestibule_authn::api_key::{KeyChange, KeyError};
use vestibule_authn::authenticate::{Audience, Outcome};
use vestibule_authn::ports::{ApiKeyRecord, StoreError};
use vestibule_core::account::{Role, Status};
use vestibule_core::api_key::{RateLimit, Scopes};
use vestibule_core::credential::CredentialKind;
use vestibule_core::id::KeyId;

use crate::house::*;

fn per_minute(requests: u32) -> RateLimit {
    RateLimit { requests, window: Duration::from_secs(60) }
}

#[tokio::test]
async fn seed_003_26_seed_003_63_a_key_opens_by_either_header_and_is_stored_as_a_hash_only() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    for request in [bearer(&key), api_key(&key)] {
        let identity = who(&house.ask(&request, NOW).await);
        assert_eq!((identity.account, identity.key), (Some(ann.id), Some(record.id)));
        assert_eq!(identity.credential, CredentialKind::ApiKey);
        assert!(identity.session.is_none() && identity.auth_time.is_none());
    }
    house.authn.flush().await;
    let dump = house.store.dump();
    assert!(!dump.contains(&key[8..]), "seed 002-43, 003-18: the store holds no key");
    assert_eq!(record.start, key[..8]);
}

#[tokio::test]
async fn seed_000_61_seed_003_79_a_hundred_a_minute_pass_and_the_101st_is_limited() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    for n in 0..100 {
        assert!(is_identified(&house.ask(&bearer(&key), after(n / 4)).await), "{n}");
    }
    let Outcome::RateLimited(limited) = house.ask(&bearer(&key), after(30)).await else {
        panic!("the 101st passed");
    };
    assert_eq!((limited.scope, limited.requests), ("api-key", 100));
    assert_eq!(limited.retry_after, Duration::from_secs(30));
    // seed 000-63: it refills by itself after the told time.
    let later = after(30).plus(limited.retry_after);
    assert!(is_identified(&house.ask(&bearer(&key), later).await));
}

#[tokio::test]
async fn seed_000_63_a_used_up_key_refills_by_itself() {
    let house = House::with(|s| s.api_keys.rate_limit = Some(per_minute(1))).await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await));
    assert!(matches!(house.ask(&bearer(&key), after(59)).await, Outcome::RateLimited(_)));
    assert!(is_identified(&house.ask(&bearer(&key), after(60)).await));
}

#[tokio::test]
async fn seed_000_62_each_key_has_its_own_count_by_both_headers_together() {
    let house = House::with(|s| s.api_keys.rate_limit = Some(per_minute(4))).await;
    let ann = house.account("ann@example.com").await;
    let ((_, one), (_, two)) = (house.key(&ann).await, house.key(&ann).await);
    for _ in 0..2 {
        assert!(is_identified(&house.ask(&bearer(&one), NOW).await));
        assert!(is_identified(&house.ask(&api_key(&one), NOW).await));
    }
    assert!(matches!(house.ask(&api_key(&one), NOW).await, Outcome::RateLimited(_)));
    assert!(is_identified(&house.ask(&api_key(&two), NOW).await));
}

#[tokio::test]
async fn seed_003_80_the_limit_is_configurable_and_a_key_may_have_its_own() {
    let house = House::with(|s| s.api_keys.rate_limit = Some(per_minute(5))).await;
    let ann = house.account("ann@example.com").await;
    let (_, plain) = house.key(&ann).await;
    let (_, own) = house.key_with(&ann, |new| new.rate_limit = Some(per_minute(2))).await;
    for (key, limit) in [(&plain, 5), (&own, 2)] {
        for _ in 0..limit {
            assert!(is_identified(&house.ask(&bearer(key), NOW).await));
        }
        assert!(matches!(house.ask(&bearer(key), NOW).await, Outcome::RateLimited(_)));
    }
}

#[tokio::test]
async fn i3_a_key_used_a_thousand_times_at_once_passes_exactly_its_limit() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    let reading = house.read(&bearer(&key));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        asking.spawn(async move {
            let cached = authn.authenticate_cached(&reading, Audience::Portal, CLIENT, NOW);
            match cached {
                Some(outcome) => outcome,
                None => authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await,
            }
        });
    }
    let passed = asking.join_all().await.iter().filter(|o| is_identified(o)).count();
    assert_eq!(passed, 100);
}

#[tokio::test]
async fn seed_003_73_seed_003_76_a_key_ends_when_it_expires_also_from_a_warm_cache() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let life = Some(Duration::from_secs(2));
    let (record, key) = house.key_with(&ann, |new| new.expires_in = life).await;
    assert_eq!(record.expires_at, Some(after(2)));
    assert!(is_identified(&house.ask(&bearer(&key), after(1)).await));
    assert!(is_rejected(&house.ask(&bearer(&key), after(2)).await));
    assert!(is_rejected(&house.ask(&bearer(&key), after(3)).await));
}

#[tokio::test]
async fn seed_003_75_seed_003_45_a_disabled_key_is_refused_and_comes_back_at_once() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let switch = |enabled| {
        let change = KeyChange { enabled: Some(enabled), ..KeyChange::default() };
        let authn = house.authn.clone();
        async move {
            authn.change_key(record.id, Some(ann.id), change, None, &somebody(), NOW).await.unwrap()
        }
    };
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await));
    assert!(!switch(false).await.enabled);
    assert!(is_rejected(&house.ask(&bearer(&key), NOW).await));
    assert!(is_rejected(&house.ask(&bearer(&key), NOW).await));
    assert!(switch(true).await.enabled);
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await), "a negative entry is cleared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j5_a_key_disabled_during_a_thousand_verifies_stays_disabled() {
    let house = House::with(|s| s.api_keys.rate_limit = None).await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let reading = house.read(&bearer(&key));
    let mut asking = tokio::task::JoinSet::new();
    for n in 0..1000 {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        asking.spawn(async move {
            authn.authenticate(&reading, Audience::Portal, CLIENT, after(n)).await
        });
        if n % 100 == 0 {
            house.authn.flush().await;
        }
    }
    let change = KeyChange { enabled: Some(false), ..KeyChange::default() };
    house.authn.change_key(record.id, None, change, None, &somebody(), NOW).await.unwrap();
    // From here on the change is in force, whatever was under way.
    assert!(is_rejected(&house.ask(&bearer(&key), after(1)).await));
    asking.join_all().await;
    house.authn.flush().await;
    assert!(!house.authn.list_keys(Some(ann.id)).await.unwrap()[0].enabled);
    assert!(is_rejected(&house.ask(&bearer(&key), after(2)).await));
}

#[tokio::test]
async fn seed_002_44_seed_003_74_a_deleted_key_is_dead_at_the_next_request_and_gone() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let ((old, old_key), (_, new_key)) = (house.key(&ann).await, house.key(&ann).await);
    assert!(is_identified(&house.ask(&bearer(&old_key), NOW).await));
    house.authn.revoke_key(old.id, Some(ann.id), &somebody(), NOW).await.unwrap();
    assert!(is_rejected(&house.ask(&bearer(&old_key), NOW).await));
    assert!(is_identified(&house.ask(&bearer(&new_key), NOW).await));
    let again = house.authn.revoke_key(old.id, Some(ann.id), &somebody(), NOW).await;
    assert!(matches!(again, Err(KeyError::Store(StoreError::NotFound))));
}

#[tokio::test]
async fn seed_002_45_another_persons_key_is_not_found() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let (hers, key) = house.key(&ann).await;
    let revoked = house.authn.revoke_key(hers.id, Some(bob.id), &somebody(), NOW).await;
    assert!(matches!(revoked, Err(KeyError::Store(StoreError::NotFound))));
    let renamed = KeyChange { name: Some("mine".to_owned()), ..KeyChange::default() };
    let changed =
        house.authn.change_key(hers.id, Some(bob.id), renamed, None, &somebody(), NOW).await;
    assert!(matches!(changed, Err(KeyError::Store(StoreError::NotFound))));
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await));
}

#[tokio::test]
async fn seed_002_74_last_use_is_seen_at_once_in_the_list_and_flushed_to_the_store() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    assert_eq!(record.last_used_at, None);
    assert!(is_identified(&house.ask(&bearer(&key), after(10)).await));
    house.authn.flush().await;
    let stored = vestibule_authn::ports::Store::api_key(&*house.store, record.id).await.unwrap();
    assert_eq!(stored.unwrap().last_used_at, Some(after(10)));
}

#[tokio::test]
async fn a_key_of_a_disabled_owner_says_so_and_is_no_bad_credential() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await));
    house.authn.set_status(ann.id, Status::Disabled, &cli(), NOW).await.unwrap();
    assert_eq!(who(&house.ask(&bearer(&key), NOW).await).status, Status::Disabled);
}

#[tokio::test]
async fn imported_keys_have_no_check_digits_and_are_found_by_their_hash() {
    let house = House::with(|s| s.api_keys.accept = vec!["sk".into()]).await;
    let ann = house.account("ann@example.com").await;
    let record = ApiKeyRecord {
        id: KeyId(uuid::Uuid::new_v4()),
        owner: ann.id,
        name: "imported".to_owned(),
        prefix: "sk".to_owned(),
        start: "sk_live".to_owned(),
        created_at: NOW,
        expires_at: None,
        enabled: true,
        scopes: Scopes::all(),
        rate_limit: None,
        last_used_at: None,
    };
    let hash = sha256(b"sk_live-of-another-program");
    house.store.import_key(record.clone(), hash);
    let identity = who(&house.ask(&bearer("sk_live-of-another-program"), NOW).await);
    assert_eq!(identity.key, Some(record.id));
    assert!(is_rejected(&house.ask(&bearer("sk_live-of-another-prograM"), NOW).await));
}

#[tokio::test]
async fn x17_guessing_reaches_the_store_a_hundred_times_and_a_good_key_goes_on() {
    let house = House::with(|s| s.api_keys.accept = vec!["sk".into()]).await;
    let ann = house.account("ann@example.com").await;
    let (_, key) = house.key(&ann).await;
    let before = house.store.lookups();
    let mut limited = 0;
    for n in 0..1000 {
        match house.ask(&bearer(&format!("sk_guess{n}")), NOW).await {
            Outcome::RateLimited(limit) => {
                assert_eq!(limit.scope, "bad-credentials");
                limited += 1;
            }
            outcome => assert!(is_rejected(&outcome)),
        }
    }
    assert_eq!((limited, house.store.lookups() - before), (900, 100));
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await), "also when it is not cached");
    let other = bearer("sk_other");
    assert!(is_rejected(&house.ask_as(&other, Audience::Portal, OTHER_CLIENT, NOW).await));
    assert!(is_rejected(&house.ask(&bearer("sk_later"), after(6)).await));
}

#[tokio::test]
async fn a_key_makes_only_keys_within_its_own_scopes_limit_and_expiry() {
    let house = House::new().await;
    let ann = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    let (_, text) = house
        .key_with(&ann, |new| {
            new.scopes = Some(scopes(&["route:files:GET", "keys"]));
            new.expires_in = Some(Duration::from_secs(1000));
            new.rate_limit = Some(per_minute(10));
        })
        .await;
    let maker = who(&house.ask(&bearer(&text), NOW).await);
    let make = |edit: fn(&mut vestibule_authn::api_key::NewKey)| {
        let mut new = new_key();
        edit(&mut new);
        let (authn, maker) = (house.authn.clone(), maker.clone());
        async move { authn.create_key(ann.id, new, Some(&maker), &somebody(), NOW).await }
    };
    let (inherited, _) = make(|_| {}).await.unwrap();
    assert_eq!(inherited.scopes, maker.scopes);
    assert_eq!(inherited.expires_at, Some(after(1000)));
    assert_eq!(inherited.rate_limit, Some(per_minute(10)));
    let (narrower, _) = make(|new| new.scopes = Some(scopes(&["keys"]))).await.unwrap();
    assert_eq!(narrower.scopes, scopes(&["keys"]));
    let wider: [fn(&mut vestibule_authn::api_key::NewKey); 5] = [
        |new| new.scopes = Some(scopes(&["route:files"])),
        |new| new.scopes = Some(scopes(&["admin"])),
        |new| new.expires_in = Some(Duration::from_secs(1001)),
        |new| new.rate_limit = Some(per_minute(11)),
        |new| new.rate_limit = Some(RateLimit { requests: 10, window: Duration::from_secs(59) }),
    ];
    for edit in wider {
        assert!(matches!(make(edit).await, Err(KeyError::Wider)));
    }
    let widen = |change: KeyChange| {
        let (authn, maker, id) = (house.authn.clone(), maker.clone(), inherited.id);
        async move { authn.change_key(id, None, change, Some(&maker), &somebody(), NOW).await }
    };
    for change in [
        KeyChange { scopes: Some(Scopes::all()), ..KeyChange::default() },
        KeyChange { expires_in: Some(None), ..KeyChange::default() },
        KeyChange { rate_limit: Some(None), ..KeyChange::default() },
    ] {
        assert!(matches!(widen(change).await, Err(KeyError::Wider)));
    }
    let named = KeyChange { name: Some("new name".to_owned()), ..KeyChange::default() };
    assert_eq!(widen(named).await.unwrap().name, "new name");
}

#[tokio::test]
async fn a_key_needs_a_name_of_1_to_100_characters() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for (name, good) in [
        ("", false),
        ("  ", false),
        ("a\nb", false),
        (&"é".repeat(101), false),
        (&"é".repeat(100), true),
    ] {
        let mut new = new_key();
        new.name = name.to_owned();
        let made = house.authn.create_key(ann.id, new, None, &somebody(), NOW).await;
        assert_eq!(made.is_ok(), good, "{name:?}");
    }
}

#[tokio::test]
async fn seed_003_82_a_used_key_leaves_one_line_a_minute_with_id_and_address_and_never_the_key() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    for secs in [0, 1, 30, 59, 60, 61] {
        assert!(is_identified(&house.ask(&bearer(&key), after(secs)).await));
    }
    house.authn.flush().await;
    let events = house.store.audit_events();
    let lines: Vec<_> = events.iter().filter(|e| e.event == "api_key.success").collect();
    assert_eq!(lines.iter().map(|e| e.time).collect::<Vec<_>>(), [after(0), after(60)]);
    assert_eq!(lines[0].subject, record.id.to_string());
    assert_eq!(lines[0].client_ip, CLIENT.to_string());
    assert!(events.iter().all(|e| !format!("{e:?}").contains(&key[4..])));
}

#[tokio::test]
async fn a_flood_of_bad_keys_leaves_ten_lines_a_minute() {
    let house = House::new().await;
    for _ in 0..500 {
        assert!(is_rejected(&house.ask(&bearer("vst_bad"), NOW).await));
    }
    let failures = house.audited().await.iter().filter(|e| **e == "api_key.failure").count();
    assert_eq!(failures, 10);
}

pub(crate) fn sha256(text: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    digest.as_ref().try_into().unwrap()
}
