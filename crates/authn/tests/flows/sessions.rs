//! A session's life, from its cookie.

use std::sync::atomic::Ordering;
use std::time::Duration;

use vestibule_authn::authenticate::{Audience, Outcome};
use vestibule_authn::ports::{SessionProof, Store as _};
use vestibule_core::account::{Role, Status};
use vestibule_core::credential::CredentialKind;
use vestibule_core::secret::Secret;

use crate::house::*;
use crate::memory::Memory;

#[tokio::test]
async fn a_session_says_who_and_how_and_is_looked_up_once() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let before = house.store.lookups();
    let first = who(&house.ask(&cookie(&started.token), NOW).await);
    assert_eq!(first.account, Some(ann.id));
    assert_eq!(first.session, Some(started.session.id));
    assert_eq!(first.credential, CredentialKind::Session);
    assert_eq!(first.auth_time, Some(NOW));
    assert_eq!(first.expires_at, NOW.plus(Duration::from_secs(7 * 86_400)));
    assert!(first.amr.iter().any(|word| &**word == "pwd"));
    for n in 0..100 {
        let again = who(&house.ask(&cookie(&started.token), after(n)).await);
        assert_eq!(again.generation, first.generation);
    }
    assert_eq!(house.store.lookups(), before + 1);
    assert!(!house.store.dump().contains(&started.token));
}

#[tokio::test]
async fn x27_a_thousand_first_requests_at_once_are_one_look_up() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let before = house.store.lookups();
    let gate = house.store.hold_next_lookup();
    let reading = house.read(&cookie(&token));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        asking.spawn(
            async move { authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await },
        );
    }
    gate.reached.notified().await;
    tokio::task::yield_now().await;
    gate.go.notify_one();
    let outcomes = asking.join_all().await;
    assert!(outcomes.iter().all(is_identified));
    assert_eq!(house.store.lookups(), before + 1);
}

#[tokio::test]
async fn x27_a_leader_that_leaves_strands_nobody() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let gate = house.store.hold_next_lookup();
    let reading = house.read(&cookie(&token));
    let leader = {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        tokio::spawn(
            async move { authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await },
        )
    };
    gate.reached.notified().await;
    let follower = {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        tokio::spawn(
            async move { authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await },
        )
    };
    tokio::task::yield_now().await;
    leader.abort();
    gate.go.notify_one();
    assert!(is_identified(&follower.await.unwrap()));
}

#[tokio::test]
async fn the_portals_token_is_good_at_the_portal_only_and_a_hosts_token_at_its_host_only() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let host = crate::handoffs::enter(&house, started.session.id, APP).await;
    for (token, audience, counts) in [
        (&started.token, Audience::Portal, true),
        (&started.token, Audience::App(APP), false),
        (&host, Audience::App(APP), true),
        (&host, Audience::App("blog.example.com"), false),
        (&host, Audience::App("wiki.example.com.evil"), false),
        (&host, Audience::Portal, false),
    ] {
        // Cold and warm, the answer is the same (SECURITY G4).
        for _ in 0..2 {
            let outcome = house.ask_as(&cookie(token), audience, CLIENT, NOW).await;
            assert_eq!(is_identified(&outcome), counts, "{audience:?}");
            assert!(counts || is_nobody(&outcome));
        }
    }
}

#[tokio::test]
async fn with_a_cookie_domain_one_cookie_serves_every_host() {
    let house = House::with(|s| s.auth.session.cookie_domain = "example.com".to_owned()).await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let shared = cookies(&format!("__Secure-vestibule={token}"));
    for audience in [Audience::Portal, Audience::App(APP), Audience::App("blog.example.com")] {
        assert!(is_identified(&house.ask_as(&shared, audience, CLIENT, NOW).await));
    }
    assert!(is_nobody(&house.ask(&cookie(&token), NOW).await), "the other name does not count");
}

#[tokio::test]
async fn a_session_ends_at_its_absolute_end_and_after_idling() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let day = 86_400;
    let used = house.session(&ann).await;
    for n in 0..14 {
        assert!(is_identified(&house.ask(&cookie(&used.token), after(n * day / 2)).await), "{n}");
    }
    assert!(is_nobody(&house.ask(&cookie(&used.token), after(7 * day)).await));
    let idle = house.session(&ann).await;
    assert!(is_identified(&house.ask(&cookie(&idle.token), after(10)).await));
    assert!(is_identified(&house.ask(&cookie(&idle.token), after(day + 9)).await));
    assert!(is_nobody(&house.ask(&cookie(&idle.token), after(2 * day + 9)).await));
}

#[tokio::test]
async fn remember_me_lives_longer() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let remembered = vestibule_authn::session::SignIn { remember: true, ..sign_in(&ann) };
    let started = house.authn.start_session(remembered, None, &somebody(), NOW).await.unwrap();
    assert_eq!(started.session.expires_at, NOW.plus(Duration::from_secs(30 * 86_400)));
    assert!(started.session.remember);
}

#[tokio::test]
async fn x22_a_jump_back_of_the_clock_lengthens_no_session() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session_at(&ann, after(7200)).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), NOW).await));
    house.authn.flush().await;
    let day = 86_400;
    assert_eq!(house.store.stored_last_seen(started.session.id), after(7200));
    assert!(is_nobody(&house.ask(&cookie(&started.token), after(7200 + day)).await));
}

#[tokio::test]
async fn use_at_one_host_keeps_the_session_alive_at_the_other() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let host = crate::handoffs::enter(&house, started.session.id, APP).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), NOW).await));
    let late = after(80_000);
    assert!(is_identified(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, late).await));
    assert!(is_identified(&house.ask(&cookie(&started.token), after(90_000)).await));
}

#[tokio::test]
async fn last_use_reaches_the_store_with_the_flush_and_a_second_process_sees_it() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), after(50_000)).await));
    house.authn.flush().await;
    assert_eq!(house.store.stored_last_seen(started.session.id), after(50_000));
    let second = House::over(house.store.clone(), |_| {}).await;
    assert!(is_identified(&second.ask(&cookie(&started.token), after(100_000)).await));
}

#[tokio::test]
async fn f1_step_up_gives_a_new_token_and_voids_the_old_one_and_its_children() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let host = crate::handoffs::enter(&house, started.session.id, APP).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), NOW).await));
    assert!(is_identified(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, NOW).await));
    let proof = SessionProof {
        auth_time: after(60),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        mfa: true,
    };
    let renewed =
        house.authn.renew_session(started.session.id, Some(proof), after(60)).await.unwrap();
    assert_ne!(renewed.token, started.token);
    assert!(is_nobody(&house.ask(&cookie(&started.token), after(60)).await));
    assert!(is_nobody(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, after(60)).await));
    let identity = who(&house.ask(&cookie(&renewed.token), after(60)).await);
    assert!(identity.mfa && identity.auth_time == Some(after(60)));
    assert_eq!(identity.session, Some(started.session.id));
}

#[tokio::test]
async fn f1_signing_in_ends_the_session_that_the_browser_had() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let old = house.session(&ann).await;
    let new = house
        .authn
        .start_session(sign_in(&ann), Some(old.session.id), &somebody(), NOW)
        .await
        .unwrap();
    assert!(is_nobody(&house.ask(&cookie(&old.token), NOW).await));
    assert!(is_identified(&house.ask(&cookie(&new.token), NOW).await));
}

#[tokio::test]
async fn seed_000_06_f3_a_cookie_of_one_store_is_nothing_at_another_with_the_same_secret() {
    let (one, two) = (House::new().await, House::new().await);
    let ann = one.account("ann@example.com").await;
    two.account("ann@example.com").await;
    let token = one.session(&ann).await.token;
    let access = one.tokens(&ann).await.access_token;
    assert!(is_nobody(&two.ask(&cookie(&token), NOW).await));
    assert!(is_rejected(&two.ask(&bearer(&access), NOW).await));
}

#[tokio::test]
async fn seed_000_07_another_auth_secret_ends_all_sessions_for_good() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let rotated = House::over(house.store.clone(), |s| {
        s.secrets.auth_secret = vec![Secret::new("ffffffffffffffffffffffffffffffff")];
    })
    .await;
    assert!(is_nobody(&rotated.ask(&cookie(&token), NOW).await));
    let back = House::over(house.store.clone(), |_| {}).await;
    assert!(is_nobody(&back.ask(&cookie(&token), NOW).await), "the old secret revives nothing");
}

#[tokio::test]
async fn seed_000_08_another_auth_secret_leaves_keys_and_passwords() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let rotated = House::over(house.store.clone(), |s| {
        s.secrets.auth_secret = vec![Secret::new("ffffffffffffffffffffffffffffffff")];
    })
    .await;
    assert_eq!(who(&rotated.ask(&bearer(&key), NOW).await).key, Some(record.id));
    assert!(rotated.log_in("ann@example.com", PASSWORD).await.is_ok());
}

#[tokio::test]
async fn x37_a_secret_that_moves_to_second_place_keeps_its_sessions() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let (new, old) = ("ffffffffffffffffffffffffffffffff", "0123456789abcdef0123456789abcdef");
    let both = House::over(house.store.clone(), |s| {
        s.secrets.auth_secret = vec![Secret::new(new), Secret::new(old)];
    })
    .await;
    assert!(is_identified(&both.ask(&cookie(&token), NOW).await));
    let fresh = both.session(&ann).await.token;
    let only_new =
        House::over(house.store.clone(), |s| s.secrets.auth_secret = vec![Secret::new(new)]).await;
    assert!(is_identified(&only_new.ask(&cookie(&fresh), NOW).await));
    assert!(is_nobody(&only_new.ask(&cookie(&token), NOW).await));
}

#[tokio::test]
async fn without_a_store_a_cached_session_goes_on_and_an_unknown_one_is_neither_in_nor_out() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (warm, cold) = (house.session(&ann).await.token, house.session(&ann).await.token);
    assert!(is_identified(&house.ask(&cookie(&warm), NOW).await));
    house.store.down.store(true, Ordering::SeqCst);
    assert!(is_identified(&house.ask(&cookie(&warm), NOW).await));
    assert!(matches!(house.ask(&cookie(&cold), NOW).await, Outcome::Unavailable));
    house.store.down.store(false, Ordering::SeqCst);
    assert!(is_identified(&house.ask(&cookie(&cold), NOW).await));
}

#[tokio::test]
async fn a_list_names_living_sessions_newest_first_and_only_ones_own_can_be_ended() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let (one, two) = (house.session(&ann).await, house.session(&ann).await);
    let his = house.session(&bob).await;
    let list = house.authn.list_sessions(Some(ann.id), NOW).await.unwrap();
    assert_eq!(list.iter().map(|s| s.id).collect::<Vec<_>>(), [two.session.id, one.session.id]);
    assert!(house.authn.list_sessions(Some(ann.id), after(86_401)).await.unwrap().is_empty());
    let end = |id, owner| {
        let authn = house.authn.clone();
        async move { authn.end_session(id, owner, false, &somebody(), NOW).await.unwrap() }
    };
    assert!(!end(his.session.id, Some(ann.id)).await);
    assert!(is_identified(&house.ask(&cookie(&his.token), NOW).await));
    assert!(end(his.session.id, Some(bob.id)).await);
    assert!(!end(his.session.id, Some(bob.id)).await);
    assert!(is_nobody(&house.ask(&cookie(&his.token), NOW).await));
}

#[tokio::test]
async fn seed_001_43_seed_001_51_a_pending_account_is_signed_in_with_its_status() {
    let house = House::new().await;
    for status in [Status::Pending, Status::Rejected, Status::Disabled] {
        let account = house.account_as(&format!("{status}@example.com"), Role::User, status).await;
        let token = house.session(&account).await.token;
        assert_eq!(who(&house.ask(&cookie(&token), NOW).await).status, status);
    }
}

#[tokio::test]
async fn a_user_agent_is_cut_to_256_bytes_at_a_character() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let agent =
        vestibule_authn::session::SignIn { user_agent: "é\r\n".repeat(300), ..sign_in(&ann) };
    let started = house.authn.start_session(agent, None, &somebody(), NOW).await.unwrap();
    assert_eq!(started.session.user_agent, "é".repeat(128));
}

#[tokio::test]
async fn mode_none_makes_everybody_the_built_in_administrator() {
    let house = House::with(|s| s.auth.mode = vestibule_core::settings::auth::Mode::None).await;
    for request in [Request::default(), bearer("vst_bad"), cookie("x")] {
        let identity = who(&house.ask(&request, NOW).await);
        assert_eq!(&*identity.username, "anonymous");
        assert_eq!((identity.role, identity.account), (Role::Admin, None));
    }
    assert_eq!(house.store.count_accounts().await.unwrap(), 0);
    let _: &Memory = &house.store;
}
