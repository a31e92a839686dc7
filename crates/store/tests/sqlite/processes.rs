//! Other processes at the same file, and the end of this one.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::ports::{OneTimeKind, RefreshOutcome, SessionKind, Store as _};
use vestibule_core::account::Role;
use vestibule_store::sqlite::SqliteStore;

use crate::fixture::{LATER, NOW, Place, account, ask, key, session, sql};

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
        assert!(found.is_some(), "{name} was acknowledged and is lost");
    }
    assert_eq!(store.health().await.unwrap().integrity, "ok");
}

#[tokio::test]
#[ignore = "a part of the test above, run and killed by it"]
async fn child_writes_until_it_is_killed() {
    let store = SqliteStore::open(Path::new("vestibule.db"), &[key(1)]).await.unwrap();
    for n in 0..1_000_000 {
        let account = account(&store, &format!("user-{n}"), Role::User).await;
        println!("\ndone {}", account.username);
    }
}
