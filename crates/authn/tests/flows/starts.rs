//! What a start makes of an empty or a used store.

use std::time::Duration;

use vestibule_authn::account::AccountError;
use vestibule_authn::ports::{Store as _, StoreError};
use vestibule_core::account::{Role, Status};
use vestibule_core::secret::Secret;
use vestibule_core::settings::Settings;
use vestibule_core::settings::auth::{FirstUser, Mode};

use crate::house::*;
use crate::memory::Memory;

fn mode_admin(email: &'static str, password: &'static str) -> impl FnOnce(&mut Settings) {
    move |s| {
        s.auth.mode = Mode::Admin;
        s.auth.admin = admin(email, password);
    }
}

#[tokio::test]
async fn seed_002_05_mode_admin_makes_its_account_and_it_signs_in() {
    let house = House::with(mode_admin("root@example.com", PASSWORD)).await;
    let root = house.log_in("root@example.com", PASSWORD).await.unwrap();
    assert_eq!((root.role, root.status), (Role::Admin, Status::Active));
    assert!(!root.must_change_password);
    assert_eq!(house.store.count_accounts().await.unwrap(), 1);
    House::over(house.store.clone(), mode_admin("root@example.com", PASSWORD)).await;
    assert_eq!(house.store.count_accounts().await.unwrap(), 1, "a second start makes nothing");
}

#[tokio::test]
async fn seed_002_18_another_password_at_the_next_start_works_and_ends_old_sessions() {
    let house = House::with(mode_admin("root@example.com", PASSWORD)).await;
    let root = house.log_in("root@example.com", PASSWORD).await.unwrap();
    let (token, tokens) = (house.session(&root).await.token, house.tokens(&root).await);
    let same = House::over(house.store.clone(), mode_admin("root@example.com", PASSWORD)).await;
    assert!(is_identified(&same.ask(&cookie(&token), NOW).await), "the same one ends nothing");
    let new = "another kettle 7";
    let changed = House::over(house.store.clone(), mode_admin("root@example.com", new)).await;
    assert!(is_nobody(&changed.ask(&cookie(&token), NOW).await));
    assert!(is_rejected(&changed.ask(&bearer(&tokens.access_token), NOW).await));
    assert!(changed.log_in("root@example.com", PASSWORD).await.is_err());
    assert!(changed.log_in("root@example.com", new).await.is_ok());
}

#[tokio::test]
async fn seed_002_06_in_mode_admin_other_accounts_old_sessions_tokens_and_keys_are_shut_out() {
    let house = House::new().await;
    let ann = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    let (token, tokens) = (house.session(&ann).await.token, house.tokens(&ann).await);
    let (_, key) = house.key(&ann).await;
    let admin_mode =
        House::over(house.store.clone(), mode_admin("root@example.com", PASSWORD)).await;
    assert!(is_nobody(&admin_mode.ask(&cookie(&token), NOW).await));
    assert!(is_rejected(&admin_mode.ask(&bearer(&key), NOW).await));
    assert!(is_rejected(&admin_mode.ask(&bearer(&tokens.access_token), NOW).await));
    let refreshed = admin_mode.authn.refresh(&tokens.refresh_token, &somebody(), NOW).await;
    assert!(refreshed.unwrap().is_none());
}

#[tokio::test]
async fn a_reload_into_mode_admin_shuts_out_whoever_is_cached() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    assert!(is_identified(&house.ask(&cookie(&token), NOW).await));
    let mut settings = settings();
    mode_admin("root@example.com", PASSWORD)(&mut settings);
    house.authn.reload(settings.into());
    assert!(is_nobody(&house.ask(&cookie(&token), NOW).await));
}

#[tokio::test]
async fn seed_000_64_an_empty_store_gets_the_configured_administrator() {
    let house = House::with(|s| {
        s.auth.first_user = FirstUser::Account;
        s.auth.admin = admin("root@example.com", PASSWORD);
    })
    .await;
    let root = house.log_in("root@example.com", PASSWORD).await.unwrap();
    assert_eq!(root.role, Role::Admin);
    assert!(root.email_verified && !root.must_change_password);
}

#[tokio::test]
async fn seed_000_66_seed_000_68_the_documented_default_must_be_changed() {
    let house = House::with(|s| {
        s.auth.first_user = FirstUser::Account;
        s.auth.admin = admin("admin@example.com", "Admin1234!");
        s.auth.admin.as_mut().unwrap().is_documented_default = true;
    })
    .await;
    let root = house.log_in("admin@example.com", "Admin1234!").await.unwrap();
    assert!(root.must_change_password);
    let started = house.session(&root).await;
    assert!(who(&house.ask(&cookie(&started.token), NOW).await).must_change_password);
    house
        .authn
        .change_password(
            root.id,
            Secret::new("Admin1234!"),
            Secret::new(PASSWORD),
            Some(started.session.id),
            &somebody(),
            NOW,
        )
        .await
        .unwrap();
    assert!(!who(&house.ask(&cookie(&started.token), NOW).await).must_change_password);
}

#[tokio::test]
async fn seed_000_67_with_any_account_stored_the_configured_administrator_is_ignored() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    let second = House::over(house.store.clone(), |s| {
        s.auth.first_user = FirstUser::Account;
        s.auth.admin = admin("root@example.com", PASSWORD);
    })
    .await;
    assert!(second.log_in("root@example.com", PASSWORD).await.is_err());
    assert!(second.log_in("ann@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn seed_002_17_mode_admin_without_its_account_is_refused() {
    let mut settings = settings();
    settings.auth.mode = Mode::Admin;
    let text = start(settings, Memory::new()).await.err().unwrap().to_string();
    assert!(text.contains("AUTH_ADMIN_EMAIL") && text.contains("AUTH_ADMIN_PASSWORD"), "{text}");
}

#[tokio::test]
async fn seed_002_14_mode_none_starts_without_any_secret() {
    let mut settings = settings();
    settings.auth.mode = Mode::None;
    settings.secrets = Default::default();
    assert!(start(settings, Memory::new()).await.is_ok());
}

#[tokio::test]
async fn a_session_secret_derived_from_the_jwt_secret_is_not_that_secret() {
    let jwt = "a-secret-for-tokens-0123456789abcdef";
    let derived = House::with(|s| {
        s.secrets.auth_secret = Vec::new();
        s.secrets.auth_secret_derived = true;
        s.secrets.jwt_secret = vec![Secret::new(jwt)];
    })
    .await;
    let ann = derived.account("ann@example.com").await;
    let token = derived.session(&ann).await.token;
    assert!(is_identified(&derived.ask(&cookie(&token), NOW).await));
    let direct = House::with(|s| s.secrets.auth_secret = vec![Secret::new(jwt)]).await;
    assert!(is_nothing(&direct.read(&cookie(&token))));
}

#[tokio::test]
async fn seed_003_21_seed_003_23_setup_opens_by_its_token_until_the_first_administrator() {
    let house = House::new().await;
    assert!(house.authn.is_setup_open().await);
    let first = house.authn.new_setup_token(NOW).await.unwrap();
    assert!(house.authn.is_setup_token(&first, NOW));
    let second = house.authn.new_setup_token(NOW).await.unwrap();
    assert!(!house.authn.is_setup_token(&first, NOW), "a newer one replaces it");
    let hour = Duration::from_secs(3600);
    assert!(house.authn.is_setup_token(&second, NOW.plus(hour - Duration::from_millis(1))));
    assert!(!house.authn.is_setup_token(&second, NOW.plus(hour)));
    for at in 0..second.len() {
        assert!(!house.authn.is_setup_token(&second[..at], NOW));
    }
    let mut setting_up = tokio::task::JoinSet::new();
    for n in 0..20 {
        let authn = house.authn.clone();
        setting_up.spawn(async move {
            let email = format!("root{n}@example.com");
            authn.set_up_first_admin(&email, Secret::new(PASSWORD), "", &somebody(), NOW).await
        });
    }
    let results = setting_up.join_all().await;
    let made: Vec<_> = results.iter().flatten().collect();
    assert_eq!(made.len(), 1, "exactly one of twenty at once");
    assert_eq!((made[0].role, made[0].email_verified), (Role::Admin, true));
    let refused = |r: &Result<_, AccountError>| {
        matches!(
            r,
            Err(AccountError::Store(StoreError::Conflict("setup")) | AccountError::Hashing(_))
        )
    };
    assert_eq!(results.iter().filter(|r| refused(r)).count(), 19);
    assert!(!house.authn.is_setup_open().await);
    assert!(house.authn.new_setup_token(NOW).await.is_none());
    assert!(!house.authn.is_setup_token(&second, NOW));
}

#[tokio::test]
async fn setup_exists_only_where_the_settings_ask_for_it() {
    for first_user in [FirstUser::Admin, FirstUser::None] {
        let house = House::with(|s| s.auth.first_user = first_user).await;
        assert!(!house.authn.is_setup_open().await);
        assert!(house.authn.new_setup_token(NOW).await.is_none());
    }
    let down = House::new().await;
    down.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(!down.authn.is_setup_open().await);
}
