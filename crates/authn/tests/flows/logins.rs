//! Sign-in by password: one answer for every failure, limits, constant work.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use vestibule_authn::login::{LoginError, PasswordAttempt, PasswordChangeError, PasswordRefused};
use vestibule_authn::ports::Store as _;
use vestibule_core::account::{Role, Status};
use vestibule_core::api_key::RateLimit;
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{EmailVerification, Mode, Require};
use vestibule_core::settings::provider::{
    MfaFrom, Provider, ProviderClaims, ProviderKind, ProviderOrigin, ProviderPlace,
};
use vestibule_core::settings::smtp::Smtp;

use crate::house::*;

fn client(n: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 + n).into())
}

fn is_limited(result: &Result<vestibule_core::account::Account, LoginError>, scope: &str) -> bool {
    matches!(result, Err(LoginError::Limited(limited)) if limited.scope == scope)
}

#[tokio::test]
async fn seed_000_10_the_right_password_proves_the_account_by_any_spelling_of_the_email() {
    let house = House::new().await;
    let ann = house.account("Ann@Example.com").await;
    for email in ["ann@example.com", " ANN@EXAMPLE.COM "] {
        assert_eq!(house.log_in(email, PASSWORD).await.unwrap().id, ann.id);
    }
    assert!(matches!(house.log_in("ann", PASSWORD).await, Err(LoginError::Invalid)), "seed 001-05");
}

#[tokio::test]
async fn seed_001_12_seed_002_59_wrong_unknown_and_absurd_are_one_answer() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    for (email, password) in [
        ("ann@example.com", "wrong password"),
        ("bob@example.com", PASSWORD),
        ("ann@example.com", ""),
        ("", PASSWORD),
        ("a@b@c", PASSWORD),
        ("ann@example.com", &"x".repeat(201)),
        ("ann@example.com", &"x".repeat(100_000)),
    ] {
        let result = house.log_in(email, password).await;
        assert!(matches!(result, Err(LoginError::Invalid)), "{email}");
        assert_eq!(result.unwrap_err().to_string(), "invalid email or password");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i1_seed_001_07_known_and_unknown_accounts_cost_the_same_work() {
    let house = House::with(|s| s.auth.rate_limit = None).await;
    house.account("known@example.com").await;
    house.account_as("shut@example.com", Role::User, Status::Disabled).await;
    let passkey_only = house.account("passkey@example.com").await;
    let change = vestibule_authn::ports::AccountChange {
        password: Some((None, false)),
        ..Default::default()
    };
    house.store.change_account(passkey_only.id, change).await.unwrap();
    let emails =
        ["known@example.com", "unknown@example.com", "shut@example.com", "passkey@example.com"];
    let mut times = vec![Vec::new(); emails.len()];
    for _ in 0..15 {
        for (email, times) in emails.iter().zip(&mut times) {
            let (hashes, asked) = (house.authn.counters().password_hashes, house.store.questions());
            let started = Instant::now();
            let result = house.log_in(email, "wrong password").await;
            times.push(started.elapsed());
            assert!(matches!(result, Err(LoginError::Invalid)));
            assert_eq!(house.authn.counters().password_hashes - hashes, 1, "{email}");
            assert_eq!(house.store.questions() - asked, 2, "{email}");
        }
    }
    // Work is what is held exactly, above; the clock only shows that nothing else differs
    // grossly, by the fastest runs, which a busy machine disturbs least.
    let least: Vec<Duration> = times.iter().map(|t| *t.iter().min().unwrap()).collect();
    let (low, high) = (least.iter().min().unwrap(), least.iter().max().unwrap());
    assert!(*high < *low * 8, "{least:?}");
}

#[tokio::test]
async fn seed_001_69_one_client_is_counted_over_all_endpoints() {
    let house = House::new().await;
    for _ in 0..100 {
        assert!(house.authn.count_auth_request(CLIENT, NOW).is_ok());
    }
    // seed 000-70: the 101st is refused with the time to wait; another address is not.
    let limited = house.authn.count_auth_request(CLIENT, after(300)).unwrap_err();
    assert_eq!((limited.scope, limited.retry_after), ("auth-client", Duration::from_secs(600)));
    assert!(house.authn.count_auth_request(OTHER_CLIENT, after(300)).is_ok());
    assert!(house.authn.count_auth_request(CLIENT, after(900)).is_ok());
    let mapped: IpAddr = "::ffff:203.0.113.7".parse().unwrap();
    for _ in 0..99 {
        house.authn.count_auth_request(mapped, after(901)).unwrap();
    }
    assert!(house.authn.count_auth_request(CLIENT, after(902)).is_err(), "one bucket");
}

#[tokio::test]
async fn seed_000_72_without_a_limit_nothing_is_counted() {
    let house = House::with(|s| s.auth.rate_limit = None).await;
    for _ in 0..150 {
        assert!(house.authn.count_auth_request(CLIENT, NOW).is_ok());
    }
    for _ in 0..12 {
        let result = house.log_in("ann@example.com", "wrong password").await;
        assert!(matches!(result, Err(LoginError::Invalid)));
    }
}

#[tokio::test]
async fn seed_000_70_the_limit_of_authentication_is_taken_from_the_settings() {
    let house = House::with(|s| {
        s.auth.rate_limit = Some(RateLimit { requests: 3, window: Duration::from_secs(10) });
    })
    .await;
    for _ in 0..3 {
        assert!(house.authn.count_auth_request(CLIENT, NOW).is_ok());
    }
    assert!(house.authn.count_auth_request(CLIENT, NOW).is_err());
    assert!(house.authn.count_auth_request(CLIENT, after(10)).is_ok());
}

#[tokio::test]
async fn ten_wrong_passwords_for_one_email_from_one_client_and_a_right_one_starts_anew() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    for _ in 0..9 {
        let _ = house.log_in("ann@example.com", "wrong password").await;
    }
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_ok());
    for _ in 0..10 {
        let result = house.log_in("ann@example.com", "wrong password").await;
        assert!(matches!(result, Err(LoginError::Invalid)));
    }
    let result = house.log_in("ann@example.com", PASSWORD).await;
    assert!(is_limited(&result, "auth-password"), "also with the right one");
    // Nobody else is locked out by it, and nothing tells that the account exists.
    assert!(house.log_in_from("ann@example.com", PASSWORD, OTHER_CLIENT, NOW).await.is_ok());
    for _ in 0..10 {
        let _ = house.log_in("nobody@example.com", "wrong password").await;
    }
    let unknown = house.log_in("nobody@example.com", "wrong password").await;
    assert!(is_limited(&unknown, "auth-password"));
    assert!(house.log_in_from("ann@example.com", PASSWORD, CLIENT, after(900)).await.is_ok());
}

#[tokio::test]
async fn i2_all_spellings_of_an_email_share_one_counter() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    for n in 0..10 {
        let email = ["ann@example.com", "ANN@example.com", " Ann@Example.COM\t"][n % 3];
        let _ = house.log_in(email, "wrong password").await;
    }
    assert!(is_limited(&house.log_in("aNN@example.com", PASSWORD).await, "auth-password"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn i3_five_hundred_tries_at_once_pass_at_most_the_limit() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    let mut trying = tokio::task::JoinSet::new();
    for _ in 0..500 {
        let authn = house.authn.clone();
        trying.spawn(async move {
            let attempt = attempt("ann@example.com", "wrong password", CLIENT);
            authn.check_password(attempt, &somebody(), NOW).await
        });
    }
    let results = trying.join_all().await;
    let checked = results.iter().filter(|r| matches!(r, Err(LoginError::Invalid))).count();
    let limited = results.iter().filter(|r| is_limited(r, "auth-password")).count();
    assert_eq!((checked, limited), (10, 490));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_001_70_many_clients_and_one_email_are_limited_and_a_known_browser_goes_on() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let device = house.authn.remember_device(ann.id, None, NOW).await.unwrap();
    let bob = house.account("bob@example.com").await;
    let others = house.authn.remember_device(bob.id, None, NOW).await.unwrap();
    for n in 0..100 {
        let result = house.log_in_from("ann@example.com", &"x".repeat(201), client(n), NOW).await;
        assert!(matches!(result, Err(LoginError::Invalid)), "{n}");
    }
    let try_with = |device: Option<String>, password: &str| {
        let attempt =
            PasswordAttempt { device, ..attempt("ann@example.com", password, client(5000)) };
        let authn = house.authn.clone();
        async move { authn.check_password(attempt, &somebody(), NOW).await }
    };
    assert!(is_limited(&try_with(None, PASSWORD).await, "auth-email"));
    assert!(is_limited(&try_with(Some(others), PASSWORD).await, "auth-email"));
    assert!(is_limited(&try_with(Some("A".repeat(86)), PASSWORD).await, "auth-email"));
    let guess = try_with(Some(device.clone()), "wrong password").await;
    assert!(matches!(guess, Err(LoginError::Invalid)));
    assert!(try_with(Some(device), PASSWORD).await.is_ok());
    let later = house.log_in_from("ann@example.com", PASSWORD, client(6000), after(900)).await;
    assert!(later.is_ok(), "not locked out for ever");
}

#[tokio::test]
async fn a_browser_keeps_its_device_value_for_several_accounts() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let device = house.authn.remember_device(ann.id, None, NOW).await.unwrap();
    let again = house.authn.remember_device(bob.id, Some(&device), NOW).await.unwrap();
    assert_eq!(device, again);
    let first = if device.starts_with('A') { 'B' } else { 'A' };
    let bent = format!("{first}{}", &device[1..]);
    let fresh = house.authn.remember_device(bob.id, Some(&bent), NOW).await.unwrap();
    assert!(fresh != device && fresh.len() == 86);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x14_a_stampede_is_told_to_come_back_and_lets_the_queue_through() {
    let house = House::with(|s| s.auth.rate_limit = None).await;
    house.account("ann@example.com").await;
    let mut trying = tokio::task::JoinSet::new();
    for n in 0..400 {
        let authn = house.authn.clone();
        trying.spawn(async move {
            let attempt = attempt("ann@example.com", PASSWORD, client(n));
            authn.check_password(attempt, &somebody(), NOW).await
        });
    }
    let results = trying.join_all().await;
    let good = results.iter().filter(|r| r.is_ok()).count();
    let busy = results
        .iter()
        .filter(
            |r| matches!(r, Err(LoginError::Busy(l)) if l.retry_after >= Duration::from_secs(1)),
        )
        .count();
    assert_eq!(good + busy, 400);
    assert!(good >= 64 && busy > 0, "{good} good, {busy} busy");
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_ok(), "no permit is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x14_clients_that_leave_lose_no_permit() {
    let house = House::with(|s| s.auth.rate_limit = None).await;
    house.account("ann@example.com").await;
    for _ in 0..20 {
        let mut trying = tokio::task::JoinSet::new();
        for n in 0..8 {
            let authn = house.authn.clone();
            trying.spawn(async move {
                let attempt = attempt("ann@example.com", PASSWORD, client(n));
                authn.check_password(attempt, &somebody(), NOW).await
            });
        }
        tokio::task::yield_now().await;
        trying.shutdown().await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match house.log_in("ann@example.com", PASSWORD).await {
            Ok(_) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test]
async fn seed_000_12_seed_002_61_password_sign_in_can_be_off() {
    let house = House::with(|s| {
        s.auth.password.enabled = false;
        s.providers = vec![google()];
    })
    .await;
    house.account("ann@example.com").await;
    let result = house.log_in("ann@example.com", PASSWORD).await;
    assert!(matches!(result, Err(LoginError::PasswordOff)));
}

fn google() -> Provider {
    Provider {
        id: "google".into(),
        kind: ProviderKind::Google,
        place: ProviderPlace::Issuer("https://accounts.google.com".to_owned()),
        client_id: "client".to_owned(),
        client_secret: Some(Secret::new("secret")),
        label: "Google".to_owned(),
        scopes: vec!["openid".to_owned()],
        pkce: true,
        enabled: true,
        allowed_domains: Vec::new(),
        auto_approve: false,
        trust_email: true,
        mfa_from: MfaFrom::None,
        redirect_uri: "https://auth.example.com/api/v1/auth/callback/google".to_owned(),
        claims: ProviderClaims {
            subject: "sub".to_owned(),
            username: "preferred_username".to_owned(),
            email: "email".to_owned(),
            email_verified: "email_verified".to_owned(),
            groups: "groups".to_owned(),
        },
        groups: Vec::new(),
        roles: Vec::new(),
        origin: ProviderOrigin::File,
    }
}

fn smtp() -> Smtp {
    Smtp {
        host: "mail.example.com".to_owned(),
        port: 587,
        user: String::new(),
        password: Secret::new(""),
        from: "auth@example.com".to_owned(),
        implicit_tls: false,
        danger_starttls_optional: false,
    }
}

#[tokio::test]
async fn seed_000_16_seed_000_17_seed_000_18_an_unverified_email_holds_up_only_where_mail_is_on() {
    for (verification, mail, held_up) in [
        (EmailVerification::Auto, false, false),
        (EmailVerification::Auto, true, true),
        (EmailVerification::Off, true, false),
        (EmailVerification::Required, false, true),
    ] {
        let house = House::with(|s| {
            s.auth.email_verification = verification;
            s.smtp = mail.then(smtp);
        })
        .await;
        let ann = house.account("ann@example.com").await;
        house.store.set_unverified(ann.id);
        let right = house.log_in("ann@example.com", PASSWORD).await;
        assert_eq!(matches!(right, Err(LoginError::EmailNotVerified)), held_up);
        assert_eq!(right.is_ok(), !held_up);
        let wrong = house.log_in("ann@example.com", "wrong password").await;
        assert!(matches!(wrong, Err(LoginError::Invalid)), "nothing is told");
    }
}

#[tokio::test]
async fn an_old_hash_is_replaced_at_the_next_sign_in() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    // argon2id, m=1024, t=1, of PASSWORD.
    house.store.set_hash(ann.id, &weak_hash(PASSWORD));
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_ok());
    let hash = house.store.password_hash(ann.id).await.unwrap().unwrap();
    assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_ok());
}

fn weak_hash(password: &str) -> String {
    use argon2::password_hash::PasswordHasher as _;
    let params = argon2::Params::new(1024, 1, 1, None).unwrap();
    let engine = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let hash: argon2::password_hash::phc::PasswordHash =
        engine.hash_password_with_salt(password.as_bytes(), b"0123456789abcdef").unwrap();
    hash.to_string()
}

#[tokio::test]
async fn x16_a_poisoned_hash_lets_nobody_in() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let poisoned = weak_hash(PASSWORD).replace("m=1024", "m=4194304");
    house.store.set_hash(ann.id, &poisoned);
    let started = Instant::now();
    let result = house.log_in("ann@example.com", PASSWORD).await;
    assert!(matches!(result, Err(LoginError::Invalid)));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn seed_000_13_seed_001_09_seed_001_10_seed_003_77_lengths_are_counted_in_characters() {
    let house = House::new().await;
    let refused = |text: &str| house.authn.accept_password(&Secret::new(text), None).err();
    for (text, good) in [
        ("8d!kPq2", false),
        ("8d!kPq2z", true),
        ("Ünïcødé!", true),
        (&"ab!kPq2z".repeat(25), false),
        (&format!("8d!kPq2z{}", " a longer tail of words".repeat(9))[..200], true),
        (&format!("8d!kPq2z{}", " a longer tail of words".repeat(9))[..201], false),
    ] {
        let refusal = refused(text);
        assert_eq!(refusal.is_none(), good || text.len() == 200, "{text}");
        if let Some(PasswordRefused::Length(text)) = refusal {
            assert!(text.contains('8') && text.contains("200"), "{text}");
        }
    }
    assert!(matches!(refused("8d!kPq2"), Some(PasswordRefused::Length(_))));
}

#[tokio::test]
async fn seed_000_14_a_raised_minimum_holds_for_new_passwords_and_not_for_signing_in() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    let add = |house: &House, email: &str, password: &str| {
        let add = vestibule_authn::account::AddAccount {
            email: email.to_owned(),
            name: String::new(),
            username: None,
            role: Role::User,
            status: Status::Active,
            groups: Vec::new(),
            password: Some(Secret::new(password)),
        };
        let authn = house.authn.clone();
        async move { authn.add_account(add, &cli(), NOW).await }
    };
    add(&house, "bob@example.com", "8d!kPq2z").await.unwrap();
    let stricter = House::over(house.store.clone(), |s| s.auth.password.min_length = 12).await;
    assert!(stricter.log_in("bob@example.com", "8d!kPq2z").await.is_ok());
    assert!(add(&stricter, "cyd@example.com", "8d!kPq2z-12").await.is_err());
    let ann = stricter.log_in("ann@example.com", PASSWORD).await.unwrap();
    let changed = stricter
        .authn
        .change_password(
            ann.id,
            Secret::new(PASSWORD),
            Secret::new("8d!kPq2z-12"),
            None,
            &somebody(),
            NOW,
        )
        .await;
    assert!(matches!(changed, Err(PasswordChangeError::Refused(PasswordRefused::Length(_)))));
}

#[tokio::test]
async fn seed_003_78_missing_kinds_of_character_are_named() {
    let house = House::with(|s| {
        s.auth.password.require = vec![Require::MixedCase, Require::Number, Require::Symbol];
    })
    .await;
    let refused = |text: &str| match house.authn.accept_password(&Secret::new(text), None) {
        Err(PasswordRefused::Weak(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = refused("abcdefgh1");
    assert!(why.contains("upper") && why.contains("symbol") && !why.contains("number"), "{why}");
    assert!(refused("Kettle!sky").contains("number"));
    assert!(house.authn.accept_password(&Secret::new("Kettle!sky9"), None).is_ok());
}

#[tokio::test]
async fn seed_001_11_the_blocklist_refuses_with_a_reason_and_can_be_off() {
    let house = House::new().await;
    let refused = house.authn.accept_password(&Secret::new("Password123456!"), None);
    assert!(matches!(refused, Err(PasswordRefused::Weak(why)) if why.contains("guessed")));
    let off = House::with(|s| s.auth.password.blocklist = false).await;
    assert!(off.authn.accept_password(&Secret::new("Password123456!"), None).is_ok());
}

#[tokio::test]
async fn changing_ones_password_needs_the_current_one_and_ends_all_other_sessions() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (mine, other) = (house.session(&ann).await, house.session(&ann).await);
    let tokens = house.tokens(&ann).await;
    let change = |current: &str, new: &str| {
        let (authn, keep) = (house.authn.clone(), mine.session.id);
        let (current, new) = (Secret::new(current), Secret::new(new));
        async move { authn.change_password(ann.id, current, new, Some(keep), &somebody(), NOW).await }
    };
    let wrong = change("wrong password", "8d!kPq2z-kettle").await;
    assert!(matches!(wrong, Err(PasswordChangeError::Current(LoginError::Invalid))));
    assert!(is_identified(&house.ask(&cookie(&other.token), NOW).await));
    change(PASSWORD, "8d!kPq2z-kettle").await.unwrap();
    assert!(is_identified(&house.ask(&cookie(&mine.token), NOW).await));
    assert!(is_nobody(&house.ask(&cookie(&other.token), NOW).await));
    assert!(is_rejected(&house.ask(&bearer(&tokens.access_token), NOW).await));
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_err());
    assert!(house.log_in("ann@example.com", "8d!kPq2z-kettle").await.is_ok());
    let events = house.audited().await;
    assert!(events.contains(&"password.changed"));
}

#[tokio::test]
async fn guessing_the_current_password_counts_with_the_wrong_sign_ins() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for _ in 0..10 {
        let _ = house.log_in("ann@example.com", "wrong password").await;
    }
    let changed = house
        .authn
        .change_password(ann.id, Secret::new("guess"), Secret::new("x"), None, &somebody(), NOW)
        .await;
    assert!(matches!(changed, Err(PasswordChangeError::Current(LoginError::Limited(_)))));
}

#[tokio::test]
async fn a_failed_and_a_good_sign_in_are_audited_and_counted_without_the_password() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let _ = house.log_in("ann@example.com", "wrong password").await;
    house.log_in("ann@example.com", PASSWORD).await.unwrap();
    house.session(&ann).await;
    house.authn.flush().await;
    let events = house.store.audit_events();
    let failure = events.iter().find(|e| e.event == "signin.failure").unwrap();
    assert_eq!((&*failure.subject, &*failure.client_ip), ("ann@example.com", "203.0.113.7"));
    assert_eq!((failure.outcome, &*failure.request_id), ("failure", "req-1"));
    let success = events.iter().find(|e| e.event == "signin.success").unwrap();
    assert_eq!(success.actor, ann.id.to_string());
    assert!(!format!("{events:?}").contains("wrong password"));
    let counters = house.authn.counters();
    assert_eq!(counters.signins, [("password", "failure", 1), ("password", "success", 1)]);
}

#[tokio::test]
async fn x7_a_store_that_is_down_gives_no_sign_in_and_uses_no_try_up() {
    let house = House::new().await;
    house.account("ann@example.com").await;
    house.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    for _ in 0..20 {
        let result = house.log_in("ann@example.com", PASSWORD).await;
        assert!(matches!(result, Err(LoginError::Unavailable)), "{result:?}");
    }
    house.store.down.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn seed_002_06_seed_002_60_in_mode_admin_everybody_else_gets_the_one_answer() {
    let house = House::with(|s| {
        s.auth.mode = Mode::Admin;
        s.auth.admin = admin("root@example.com", PASSWORD);
    })
    .await;
    house.account("ann@example.com").await;
    assert!(house.log_in("root@example.com", PASSWORD).await.is_ok());
    for (email, password) in [("ann@example.com", PASSWORD), ("root@example.com", "wrong password")]
    {
        assert!(matches!(house.log_in(email, password).await, Err(LoginError::Invalid)));
    }
}
