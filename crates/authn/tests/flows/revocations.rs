//! What holds no longer: at the next request, and for what is still open.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::api_key::KeyChange;
use vestibule_authn::authenticate::Audience;
use vestibule_authn::ports::{AccountChange, Store as _};
use vestibule_core::account::Status;
use vestibule_core::identity::Identity;

use crate::house::*;

async fn within_a_second(ended: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::from_secs(1), ended).await.is_ok()
}

/// Whether it is over now; a live one is not waited for.
async fn is_over(watch: &mut vestibule_authn::revocation::Watch) -> bool {
    tokio::select! {
        biased;
        () = watch.ended() => true,
        () = std::future::ready(()) => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_read_before_a_revocation_cannot_undo_it() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let reading = house.read(&cookie(&started.token));
    let gate = house.store.hold_next_lookup();
    let early = {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        tokio::spawn(
            async move { authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await },
        )
    };
    gate.reached.notified().await;
    // The row was read; now the session ends, and only then does the read come back.
    house.authn.end_session(started.session.id, None, true, &somebody(), NOW).await.unwrap();
    let after_it = house.ask(&cookie(&started.token), NOW).await;
    assert!(is_nobody(&after_it), "a request after the sign-out joined the old read");
    gate.go.notify_one();
    assert!(is_nobody(&early.await.unwrap()));
    assert!(is_nobody(&house.ask(&cookie(&started.token), NOW).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_enabled_during_a_look_up_that_found_it_off_is_there_at_the_next_request() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (record, key) = house.key(&ann).await;
    let switch = |enabled| {
        let change = KeyChange { enabled: Some(enabled), ..KeyChange::default() };
        let (authn, id) = (house.authn.clone(), record.id);
        async move { authn.change_key(id, None, change, None, &somebody(), NOW).await.unwrap() }
    };
    switch(false).await;
    let reading = house.read(&bearer(&key));
    let gate = house.store.hold_next_lookup();
    let early = {
        let (authn, reading) = (house.authn.clone(), reading.clone());
        tokio::spawn(
            async move { authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await },
        )
    };
    gate.reached.notified().await;
    switch(true).await;
    gate.go.notify_one();
    early.await.unwrap();
    assert!(is_identified(&house.ask(&bearer(&key), NOW).await));
}

#[tokio::test]
async fn f2_a_signed_out_cookie_replayed_is_nobody_at_portal_and_app() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let host = crate::handoffs::enter(&house, started.session.id, APP).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), NOW).await));
    assert!(is_identified(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, NOW).await));
    house
        .authn
        .end_session(started.session.id, Some(ann.id), true, &somebody(), NOW)
        .await
        .unwrap();
    for _ in 0..3 {
        assert!(is_nobody(&house.ask(&cookie(&started.token), NOW).await));
        assert!(is_nobody(&house.ask_as(&cookie(&host), Audience::App(APP), CLIENT, NOW).await));
    }
    assert!(house.audited().await.contains(&"signout"));
}

#[tokio::test]
async fn an_open_exchange_ends_with_its_session_key_or_account_and_no_other_does() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let (one, two, his) =
        (house.session(&ann).await, house.session(&ann).await, house.session(&bob).await);
    let (key_record, key) = house.key(&ann).await;
    let mut watches = Vec::new();
    for request in [cookie(&one.token), cookie(&two.token), bearer(&key), cookie(&his.token)] {
        let identity = who(&house.ask(&request, NOW).await);
        watches.push(house.authn.watch(&identity));
    }
    let [one_open, two_open, key_open, his_open] = &mut watches[..] else { panic!() };
    house.authn.end_session(one.session.id, None, true, &somebody(), NOW).await.unwrap();
    assert!(within_a_second(one_open.ended()).await);
    assert!(!is_over(two_open).await && !is_over(key_open).await && !is_over(his_open).await);
    house.authn.revoke_key(key_record.id, None, &somebody(), NOW).await.unwrap();
    assert!(within_a_second(key_open.ended()).await);
    assert!(!is_over(two_open).await);
    house.authn.set_status(ann.id, Status::Disabled, &cli(), NOW).await.unwrap();
    assert!(within_a_second(two_open.ended()).await);
    assert!(!is_over(his_open).await);
    house.authn.delete_account(bob.id, &cli(), NOW).await.unwrap();
    assert!(within_a_second(his_open.ended()).await);
}

#[tokio::test]
async fn an_exchange_that_registers_just_after_its_revocation_is_ended_at_once() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let identity = who(&house.ask(&cookie(&started.token), NOW).await);
    house.authn.end_session(started.session.id, None, true, &somebody(), NOW).await.unwrap();
    assert!(within_a_second(house.authn.watch(&identity).ended()).await);
    let again = house.session(&ann).await;
    let identity = who(&house.ask(&cookie(&again.token), NOW).await);
    assert!(!is_over(&mut house.authn.watch(&identity)).await);
}

#[tokio::test(start_paused = true)]
async fn an_open_exchange_ends_when_its_credential_expires() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let life = Some(Duration::from_secs(90));
    let (_, key) = house.key_with(&ann, |new| new.expires_in = life).await;
    let identity = who(&house.ask(&bearer(&key), NOW).await);
    let mut watch = house.authn.watch(&identity);
    let early = tokio::time::timeout(Duration::from_secs(89), watch.ended()).await;
    assert!(early.is_err());
    let due = tokio::time::timeout(Duration::from_secs(2), watch.ended()).await;
    assert!(due.is_ok(), "the timer goes on where the first wait was dropped");
}

#[tokio::test]
async fn a_change_from_outside_drops_the_cache_and_ends_what_is_open() {
    let house = House::new().await;
    let (ann, bob) =
        (house.account("ann@example.com").await, house.account("bob@example.com").await);
    let (hers, his) = (house.session(&ann).await, house.session(&bob).await);
    let (key_record, key) = house.key(&bob).await;
    let open = |identity: Arc<Identity>| house.authn.watch(&identity);
    let mut her_open = open(who(&house.ask(&cookie(&hers.token), NOW).await));
    let mut his_open = open(who(&house.ask(&cookie(&his.token), NOW).await));
    let mut key_open = open(who(&house.ask(&bearer(&key), NOW).await));
    // The command line writes to the store of the running server.
    let change = AccountChange { status: Some(Status::Disabled), ..AccountChange::default() };
    house.store.change_account(ann.id, change).await.unwrap();
    house.store.delete_api_key(key_record.id).await.unwrap();
    house.authn.store_changed_outside().await;
    assert_eq!(who(&house.ask(&cookie(&hers.token), NOW).await).status, Status::Disabled);
    assert!(is_rejected(&house.ask(&bearer(&key), NOW).await));
    assert!(within_a_second(her_open.ended()).await);
    assert!(within_a_second(key_open.ended()).await);
    assert!(is_identified(&house.ask(&cookie(&his.token), NOW).await));
    assert!(!is_over(&mut his_open).await, "nothing of his changed");
    house.store.delete_session(his.session.id).await.unwrap();
    house.authn.store_changed_outside().await;
    assert!(within_a_second(his_open.ended()).await);
}

#[tokio::test]
async fn a_key_made_by_the_command_line_works_at_the_next_request() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let other_process =
        House::over(house.store.clone(), |s| s.api_keys.prefix = "cli".into()).await;
    let (record, key) = other_process.key(&ann).await;
    assert!(!house.read(&bearer(&key)).authorization_is_ours, "a prefix not heard of yet");
    house.authn.store_changed_outside().await;
    assert_eq!(who(&house.ask(&bearer(&key), NOW).await).key, Some(record.id));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x10_no_sign_out_is_lost_under_load() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for _ in 0..50 {
        let started = house.session(&ann).await;
        let reading = house.read(&cookie(&started.token));
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (authn, reading) = (house.authn.clone(), reading.clone());
            asking.spawn(async move {
                for _ in 0..20 {
                    let _ = authn.authenticate(&reading, Audience::Portal, CLIENT, NOW).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        house.authn.end_session(started.session.id, None, true, &somebody(), NOW).await.unwrap();
        assert!(is_nobody(&house.ask(&cookie(&started.token), NOW).await));
        asking.join_all().await;
        assert!(is_nobody(&house.ask(&cookie(&started.token), NOW).await));
    }
}

#[tokio::test]
async fn the_cache_is_counted_by_form() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    for _ in 0..4 {
        house.ask(&cookie(&token), NOW).await;
    }
    let counters = house.authn.counters();
    assert!(counters.cache_hits.contains(&("session", 3)), "{counters:?}");
    assert!(counters.cache_misses.contains(&("session", 1)), "{counters:?}");
    assert_eq!(counters.sessions_active, 1);
}

#[tokio::test]
async fn the_long_task_writes_the_trail_and_flushes_once_more_when_it_ends() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(house.authn.clone().run(async move {
        let _ = stopped.await;
    }));
    house.session(&ann).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while !house.store.audit_events().iter().any(|e| e.event == "signin.success") {
        assert!(tokio::time::Instant::now() < deadline, "the trail did not reach the store");
        tokio::task::yield_now().await;
    }
    let started = house.session(&ann).await;
    assert!(is_identified(&house.ask(&cookie(&started.token), after(1000)).await));
    stop.send(()).unwrap();
    running.await.unwrap();
    assert_eq!(house.store.stored_last_seen(started.session.id), after(1000));
}

#[tokio::test(start_paused = true)]
async fn an_open_exchange_of_an_idle_session_ends_and_that_of_a_used_one_does_not() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (idle, used) = (house.session(&ann).await, house.session(&ann).await);
    let mut idle_open = house.authn.watch(&who(&house.ask(&cookie(&idle.token), NOW).await));
    let mut used_open = house.authn.watch(&who(&house.ask(&cookie(&used.token), NOW).await));
    let (_stop, stopped) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(house.authn.clone().run(async move {
        let _ = stopped.await;
    }));
    let early = tokio::time::timeout(Duration::from_secs(86_000), idle_open.ended()).await;
    assert!(early.is_err());
    assert!(is_identified(&house.ask(&cookie(&used.token), after(86_000)).await));
    let due = tokio::time::timeout(Duration::from_secs(1000), idle_open.ended()).await;
    assert!(due.is_ok());
    assert!(!is_over(&mut used_open).await);
}

#[tokio::test(start_paused = true)]
async fn a_change_from_outside_is_read_again_where_the_store_did_not_answer() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let started = house.session(&ann).await;
    let mut open = house.authn.watch(&who(&house.ask(&cookie(&started.token), NOW).await));
    house.store.delete_session(started.session.id).await.unwrap();
    house.store.down.store(true, std::sync::atomic::Ordering::SeqCst);
    let authn = house.authn.clone();
    let reading = tokio::spawn(async move { authn.store_changed_outside().await });
    assert!(tokio::time::timeout(Duration::from_secs(1), open.ended()).await.is_err());
    house.store.down.store(false, std::sync::atomic::Ordering::SeqCst);
    reading.await.unwrap();
    assert!(within_a_second(open.ended()).await);
}
