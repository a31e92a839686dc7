//! Claims about what happens once, and about looking without taking.

use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::ports::OneTimeKind;
use vestibule_core::time::UnixMillis;

use crate::suite::{HOUR, NOW, Port};

async fn new_of_100(store: &Port, key: u8, now: UnixMillis) -> usize {
    let tries = (0..100).map(|_| {
        let store = Arc::clone(store);
        let (kind, end) = (OneTimeKind::LogoutToken, now.plus(HOUR));
        tokio::spawn(async move { store.remember_once(kind, [key; 32], now, end).await.unwrap() })
    });
    let mut new = 0;
    for attempt in tries.collect::<Vec<_>>() {
        new += usize::from(attempt.await.unwrap());
    }
    new
}

pub(crate) async fn g10_of_100_replays_of_a_logout_token_one_is_new(store: Port) {
    assert_eq!(new_of_100(&store, 1, NOW).await, 1);
    assert_eq!(new_of_100(&store, 1, NOW).await, 0);
    assert_eq!(new_of_100(&store, 2, NOW).await, 1);
    let end = NOW.plus(HOUR);
    assert!(store.remember_once(OneTimeKind::ProviderState, [1; 32], NOW, end).await.unwrap());
    let last = NOW.plus(HOUR - Duration::from_millis(1));
    assert!(!store.remember_once(OneTimeKind::LogoutToken, [1; 32], last, end).await.unwrap());
    // What is remembered outlives the purge until it ends.
    store.purge(last, HOUR).await.unwrap();
    assert!(!store.remember_once(OneTimeKind::LogoutToken, [1; 32], last, end).await.unwrap());
}

pub(crate) async fn what_is_over_may_happen_again(store: Port) {
    assert_eq!(new_of_100(&store, 1, NOW).await, 1);
    let over = NOW.plus(HOUR);
    assert_eq!(new_of_100(&store, 1, over).await, 1);
    assert_eq!(new_of_100(&store, 1, over).await, 0);
    let kind = OneTimeKind::LogoutToken;
    let far = NOW.plus(HOUR * 9);
    let late = NOW.plus(HOUR * 2);
    assert!(store.remember_once(kind, [1; 32], late, far).await.unwrap());
    assert!(!store.remember_once(kind, [1; 32], late.plus(HOUR), far).await.unwrap());
}

pub(crate) async fn a_look_takes_nothing(store: Port) {
    let kind = OneTimeKind::ProviderLink;
    let end = NOW.plus(HOUR);
    assert_eq!(store.peek_one_time(kind, &[1; 32], NOW).await.unwrap(), None);
    store.put_one_time(kind, [1; 32], b"value".to_vec(), end).await.unwrap();
    for _ in 0..3 {
        let seen = store.peek_one_time(kind, &[1; 32], NOW).await.unwrap();
        assert_eq!(seen.as_deref(), Some(&b"value"[..]));
    }
    assert_eq!(store.peek_one_time(kind, &[2; 32], NOW).await.unwrap(), None);
    let other = OneTimeKind::ProviderState;
    assert_eq!(store.peek_one_time(other, &[1; 32], NOW).await.unwrap(), None);
    assert_eq!(store.peek_one_time(kind, &[1; 32], end).await.unwrap(), None);
    let taken = store.take_one_time(kind, &[1; 32], NOW).await.unwrap();
    assert_eq!(taken.as_deref(), Some(&b"value"[..]));
    assert_eq!(store.peek_one_time(kind, &[1; 32], NOW).await.unwrap(), None);
}
