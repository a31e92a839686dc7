//! Claims about what sessions keep of the provider they began at.

use std::sync::Arc;

use vestibule_authn::ports::{ProviderSession, ProviderSessions, SessionKind, StoreError};
use vestibule_core::id::{AccountId, SessionId};
use vestibule_core::secret::Secret;

use crate::suite::{HOUR, NOW, Port, made, session_of, signed_in};

const ISSUER: &str = "https://id.example.org";

fn kept(issuer: &str, sub: &str, sid: Option<&str>) -> ProviderSession {
    ProviderSession {
        provider: "pocket-id".to_owned(),
        issuer: issuer.to_owned(),
        sub: sub.to_owned(),
        link_subject: format!("uid-{sub}"),
        sid: sid.map(str::to_owned),
        id_token: Some(Secret::new(format!("id of {sub}"))),
        access_token: Secret::new(format!("access of {sub}")),
        refresh_token: Some(Secret::new(format!("refresh of {sub}"))),
        refresh_at: Some(NOW.plus(HOUR)),
    }
}

async fn begun(store: &Port, account: AccountId, token: u8, kept: ProviderSession) -> SessionId {
    let session = session_of(account, SessionKind::Browser);
    let id = session.id;
    store.create_provider_session(session, [token; 32], kept).await.unwrap();
    id
}

async fn named(store: &Port, issuer: &str, which: ProviderSessions<'_>) -> Vec<SessionId> {
    let mut ids = store.sessions_at_provider(issuer, which).await.unwrap();
    ids.sort();
    ids
}

fn sorted<const N: usize>(mut ids: [SessionId; N]) -> Vec<SessionId> {
    ids.sort();
    ids.to_vec()
}

pub(crate) async fn what_a_session_keeps_of_its_provider_is_read_back_and_replaced(store: Port) {
    let ann = made(&store, "ann").await;
    let full = kept(ISSUER, "ann", Some("s1"));
    let id = begun(&store, ann.id, 1, full.clone()).await;
    assert_eq!(store.provider_session(id).await.unwrap(), Some(full.clone()));
    let found = store.session_by_token(&[1; 32]).await.unwrap().unwrap();
    assert_eq!((found.session.id, found.host), (id, None));

    let bare = ProviderSession {
        sid: None,
        id_token: None,
        access_token: Secret::new("\"quoted\" \\ \u{1F511}\n"),
        refresh_token: None,
        refresh_at: None,
        ..full
    };
    store.set_provider_session(id, bare.clone()).await.unwrap();
    assert_eq!(store.provider_session(id).await.unwrap(), Some(bare.clone()));
    // A new proof gives the session a new token and leaves the rest.
    store.rotate_session(id, [2; 32], None).await.unwrap();
    assert_eq!(store.provider_session(id).await.unwrap(), Some(bare));

    let local = signed_in(&store, ann.id, 3).await;
    assert_eq!(store.provider_session(local).await.unwrap(), None);
    let joined = kept("https://other.example.org", "ann", None);
    store.set_provider_session(local, joined.clone()).await.unwrap();
    assert_eq!(store.provider_session(local).await.unwrap(), Some(joined));
}

pub(crate) async fn a_session_at_a_provider_is_made_whole_or_not_at_all(store: Port) {
    let nobody = session_of(AccountId(uuid::Uuid::new_v4()), SessionKind::Browser);
    let keep = || kept(ISSUER, "ann", Some("s1"));
    let refused = store.create_provider_session(nobody.clone(), [1; 32], keep()).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let ann = made(&store, "ann").await;
    let first = begun(&store, ann.id, 1, keep()).await;
    let twin = session_of(ann.id, SessionKind::Browser);
    let refused = store.create_provider_session(twin.clone(), [1; 32], keep()).await;
    assert!(matches!(refused, Err(StoreError::Conflict("token"))), "{refused:?}");
    for id in [nobody.id, twin.id] {
        assert!(store.session(id).await.unwrap().is_none());
        assert!(store.provider_session(id).await.unwrap().is_none());
    }
    assert_eq!(named(&store, ISSUER, ProviderSessions::Sub("ann")).await, [first]);
}

pub(crate) async fn an_ended_session_gets_no_tokens_back(store: Port) {
    let ann = made(&store, "ann").await;
    let id = begun(&store, ann.id, 1, kept(ISSUER, "ann", None)).await;
    assert!(store.delete_session(id).await.unwrap());
    // A refresh that was under way while the session ended.
    let refused = store.set_provider_session(id, kept(ISSUER, "ann", None)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert!(store.provider_session(id).await.unwrap().is_none());
    assert!(named(&store, ISSUER, ProviderSessions::Sub("ann")).await.is_empty());
}

pub(crate) async fn f3_tokens_end_with_their_session(store: Port) {
    let (ann, bob) = (made(&store, "ann").await, made(&store, "bob").await);
    let own = [
        begun(&store, ann.id, 1, kept(ISSUER, "ann", None)).await,
        begun(&store, ann.id, 2, kept(ISSUER, "ann", None)).await,
        begun(&store, ann.id, 3, kept(ISSUER, "ann", None)).await,
    ];
    let other = begun(&store, bob.id, 4, kept(ISSUER, "bob", None)).await;
    let left = || named(&store, ISSUER, ProviderSessions::Sub("ann"));
    store.delete_session(own[0]).await.unwrap();
    assert_eq!(left().await, sorted([own[1], own[2]]));
    store.delete_sessions(ann.id, Some(own[2])).await.unwrap();
    assert_eq!(left().await, [own[2]]);
    store.delete_account(ann.id).await.unwrap();
    assert!(left().await.is_empty());
    assert!(store.provider_session(other).await.unwrap().is_some());
    let over = begun(&store, bob.id, 5, kept(ISSUER, "bob", None)).await;
    store.purge(NOW.plus(HOUR), HOUR * 24).await.unwrap();
    for ended in own.into_iter().chain([other, over]) {
        assert!(store.provider_session(ended).await.unwrap().is_none());
    }
    let last = begun(&store, bob.id, 6, kept(ISSUER, "bob", None)).await;
    store.delete_all_sessions().await.unwrap();
    assert!(store.provider_session(last).await.unwrap().is_none());
}

pub(crate) async fn g10_a_logout_token_names_sessions_of_its_issuer_only(store: Port) {
    let ann = made(&store, "ann").await;
    let elsewhere = "https://id.example.org/";
    let phone = begun(&store, ann.id, 1, kept(ISSUER, "ann", Some("phone"))).await;
    let desk = begun(&store, ann.id, 2, kept(ISSUER, "ann", Some("desk"))).await;
    let plain = begun(&store, ann.id, 3, kept(ISSUER, "ann", None)).await;
    let bob = begun(&store, ann.id, 4, kept(ISSUER, "bob", Some("phone"))).await;
    let foreign = begun(&store, ann.id, 5, kept(elsewhere, "ann", Some("phone"))).await;
    signed_in(&store, ann.id, 6).await;
    let by_sub = ProviderSessions::Sub;
    let by_sid = |sid, sub| ProviderSessions::Sid { sid, sub };
    for (issuer, which, expected) in [
        (ISSUER, by_sub("ann"), sorted([phone, desk, plain])),
        (ISSUER, by_sub("bob"), vec![bob]),
        (ISSUER, by_sub("Ann"), vec![]),
        (ISSUER, by_sub("uid-ann"), vec![]),
        (ISSUER, by_sub(""), vec![]),
        (ISSUER, by_sid("desk", None), vec![desk]),
        (ISSUER, by_sid("phone", None), sorted([phone, bob])),
        (ISSUER, by_sid("phone", Some("ann")), sorted([phone, plain])),
        (ISSUER, by_sid("phone", Some("bob")), vec![bob]),
        (ISSUER, by_sid("desk", Some("bob")), vec![]),
        (ISSUER, by_sid("none", Some("ann")), vec![plain]),
        (ISSUER, by_sid("", None), vec![]),
        (elsewhere, by_sub("ann"), vec![foreign]),
        (elsewhere, by_sid("phone", None), vec![foreign]),
        ("https://evil.example.org", by_sub("ann"), vec![]),
        ("https://evil.example.org", by_sid("phone", None), vec![]),
    ] {
        assert_eq!(named(&store, issuer, which.clone()).await, expected, "{issuer} {which:?}");
    }
}

pub(crate) async fn g5_tokens_of_100_sign_ins_at_once_stay_apart(store: Port) {
    let mut tries = Vec::new();
    for n in 0..100u8 {
        let account = made(&store, &format!("user-{n}")).await.id;
        let store = Arc::clone(&store);
        tries.push(tokio::spawn(async move {
            let first = kept(ISSUER, &format!("first-{n}"), None);
            let id = begun(&store, account, n, first).await;
            let refreshed = kept(ISSUER, &format!("sub-{n}"), Some(&n.to_string()));
            store.set_provider_session(id, refreshed).await.unwrap();
            id
        }));
    }
    for (n, attempt) in tries.into_iter().enumerate() {
        let id = attempt.await.unwrap();
        let (sub, sid) = (format!("sub-{n}"), n.to_string());
        let found = store.provider_session(id).await.unwrap();
        assert_eq!(found, Some(kept(ISSUER, &sub, Some(&sid))));
        assert_eq!(named(&store, ISSUER, ProviderSessions::Sub(&sub)).await, [id]);
    }
}

pub(crate) async fn f3_sessions_of_providers_that_are_gone_end_and_no_others(store: Port) {
    let (ann, bob) = (made(&store, "ann").await, made(&store, "bob").await);
    let stays = begun(&store, ann.id, 1, kept(ISSUER, "ann", None)).await;
    let other = ProviderSession { provider: "corp".to_owned(), ..kept(ISSUER, "bob", None) };
    let ends = begun(&store, bob.id, 2, other).await;
    let plain = session_of(bob.id, SessionKind::Browser);
    store.create_session(plain.clone(), Some([3; 32])).await.unwrap();
    let ended = store.delete_sessions_of_other_providers(&["pocket-id", "x"]).await.unwrap();
    assert_eq!(ended, [ends]);
    assert!(store.session(stays).await.unwrap().is_some());
    assert!(store.session(plain.id).await.unwrap().is_some(), "a session by password");
    assert!(store.session_by_token(&[2; 32]).await.unwrap().is_none());
    assert_eq!(store.delete_sessions_of_other_providers(&[]).await.unwrap(), [stays]);
    assert!(store.delete_sessions_of_other_providers(&[]).await.unwrap().is_empty());
}
