//! Other processes at the same file, and the end of this one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::ports::{OneTimeKind, RefreshOutcome, SessionKind, Store as _};
use vestibule_core::account::Role;
use vestibule_store::sqlite::SqliteStore;

use crate::fixture::{
    ISSUER, LATER, NOW, Place, account, ask, kept, key, link, session, session_record, sql,
};

#[tokio::test]
async fn seed_002_47_a_refresh_token_deleted_by_sql_is_dead_at_once() {
    let place = Place::new();
    let store = place.open().await;
    let ann = account(&store, "ann", Role::User).await;
    let bob = account(&store, "bob", Role::User).await;
    for (account, hash) in [(&ann, 1), (&bob, 2)] {
        let id = session(&store, account, SessionKind::Token, 100 + hash).await;
        store.add_refresh_token(id, [hash; 32], NOW, LATER).await.unwrap();
    }
    let ids = ask(&place.file(), "SELECT user_id FROM refresh_tokens ORDER BY hash").await;
    assert_eq!(ids, [ann.id.to_string(), bob.id.to_string()]);
    let delete = format!("DELETE FROM refresh_tokens WHERE user_id = '{}'", ann.id);
    sql(&place.file(), &delete).await;
    let used = store.rotate_refresh_token(&[1; 32], [3; 32], NOW, LATER).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Unknown), "{used:?}");
    let used = store.rotate_refresh_token(&[2; 32], [4; 32], NOW, LATER).await.unwrap();
    assert!(matches!(used, RefreshOutcome::Rotated(_)), "{used:?}");
}

#[tokio::test]
async fn a_change_by_another_process_is_told_and_an_own_one_is_not() {
    let place = Place::new();
    let (store, other) = (place.open().await, place.open().await);
    let patience = Duration::from_secs(10);
    // Opening the second may itself have been a change.
    while tokio::time::timeout(Duration::from_millis(300), store.changed_outside()).await.is_ok() {}

    store.set_note("own", "1").await.unwrap();
    store.note("own").await.unwrap();
    let own = tokio::time::timeout(Duration::from_millis(400), store.changed_outside()).await;
    assert!(own.is_err(), "an own write was told");

    other.set_note("other", "1").await.unwrap();
    tokio::time::timeout(patience, store.changed_outside()).await.expect("not told");

    // A change while nobody waits is told at the next call.
    sql(&place.file(), "DELETE FROM notes").await;
    store.set_note("own", "2").await.unwrap();
    tokio::time::timeout(patience, store.changed_outside()).await.expect("not told");
    assert_eq!(store.note("other").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g14_a_one_time_value_is_taken_once_by_two_processes() {
    let place = Place::new();
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    let kind = OneTimeKind::Handoff;
    for round in 0..5 {
        stores[0].put_one_time(kind, [round; 32], b"v".to_vec(), LATER).await.unwrap();
        let tries = (0..100).map(|n| {
            let store = Arc::clone(&stores[n % 2]);
            tokio::spawn(async move { store.take_one_time(kind, &[round; 32], NOW).await.unwrap() })
        });
        let mut taken = 0;
        for attempt in tries.collect::<Vec<_>>() {
            taken += usize::from(attempt.await.unwrap().is_some());
        }
        assert_eq!(taken, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g10_a_logout_token_is_new_once_to_two_processes() {
    let place = Place::new();
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    let kind = OneTimeKind::LogoutToken;
    // Each round finds the one before just over, and replaces it.
    for round in 0..5 {
        let now = NOW.plus(Duration::from_secs(round));
        let end = now.plus(Duration::from_secs(1));
        let tries = (0..100).map(|n| {
            let store = Arc::clone(&stores[n % 2]);
            tokio::spawn(async move { store.remember_once(kind, [1; 32], now, end).await.unwrap() })
        });
        let mut new = 0;
        for attempt in tries.collect::<Vec<_>>() {
            new += usize::from(attempt.await.unwrap());
        }
        assert_eq!(new, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_001_57_two_processes_make_one_administrator() {
    let place = Place::new();
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    let mut tries = Vec::new();
    for n in 0..20 {
        let ann = account(&stores[0], &format!("user-{n}"), Role::User).await;
        let store = Arc::clone(&stores[n % 2]);
        tries.push(tokio::spawn(async move { store.make_admin_if_none(ann.id).await.unwrap() }));
    }
    let mut made = 0;
    for attempt in tries {
        made += usize::from(attempt.await.unwrap());
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn an_acknowledged_write_survives_kill_9() {
    let place = Place::new();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::child_writes_until_it_is_killed", "--ignored", "--nocapture"])
        .current_dir(place.dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    while acknowledged.len() < 200 {
        let line = lines.next().expect("the child ended by itself").unwrap();
        acknowledged.extend(line.strip_prefix("done ").map(str::to_owned));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines {
        acknowledged.extend(line.unwrap().strip_prefix("done ").map(str::to_owned));
    }
    let store = place.open().await;
    for name in acknowledged {
        let found = store.account_by_username(&name).await.unwrap();
        let Some(found) = found else { panic!("{name} was acknowledged and is lost") };
        let link = store.provider_link(ISSUER, &name).await.unwrap();
        let (_, owner) = link.unwrap_or_else(|| panic!("the identity of {name} is lost"));
        assert_eq!(owner, found);
        let sessions = store.sessions(Some(found.id)).await.unwrap();
        let kept_of = store.provider_session(sessions[0].id).await.unwrap();
        assert_eq!(kept_of, Some(kept(&name)), "the session of {name}");
    }
    assert_eq!(store.health().await.unwrap().integrity, "ok");
}

#[tokio::test]
#[ignore = "a part of the test above, run and killed by it"]
async fn child_writes_until_it_is_killed() {
    let store = SqliteStore::open(Path::new("vestibule.db"), &[key(1)]).await.unwrap();
    for n in 0..1_000_000 {
        let name = format!("user-{n}");
        let account = account(&store, &name, Role::User).await;
        store.add_provider_link(link(&account, &name), None, true).await.unwrap();
        let session = session_record(&account, SessionKind::Browser);
        let token = *session.id.0.as_bytes();
        let token = [token, token].concat().try_into().unwrap();
        store.create_provider_session(session, token, kept(&name)).await.unwrap();
        println!("\ndone {name}");
    }
}
