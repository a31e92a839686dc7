//! Claims about providers that administrators made at run time.

use std::collections::BTreeMap;

use vestibule_authn::ports::{StoreError, StoredProvider};
use vestibule_core::secret::Secret;
use vestibule_core::settings::provider::spec::ProviderSpec;

use crate::suite::{HOUR, NOW, Port};

fn stored(id: &str, secret: Option<&str>) -> StoredProvider {
    let map = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    StoredProvider {
        spec: ProviderSpec {
            id: id.to_owned(),
            issuer: Some("https://id.example.org".to_owned()),
            client_id: "client".to_owned(),
            client_secret: secret.map(Secret::new),
            label: Some("Pocket \"ID\"".to_owned()),
            scopes: Some(vec!["openid".to_owned(), "groups".to_owned()]),
            enabled: Some(true),
            claims: map("groups", "realm_access.roles"),
            groups: map("a,b", "staff"),
            roles: map("root", "admin"),
            ..ProviderSpec::default()
        },
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) async fn providers_are_listed_in_order_of_creation(store: Port) {
    assert!(store.stored_providers().await.unwrap().is_empty());
    let all = [stored("z", Some("secret of z")), stored("a", None), stored("m", Some("\u{1F511}"))];
    for provider in &all {
        store.create_stored_provider(provider.clone()).await.unwrap();
    }
    assert_eq!(store.stored_providers().await.unwrap(), all);
    let refused = store.create_stored_provider(stored("a", Some("other"))).await;
    assert!(matches!(refused, Err(StoreError::Conflict("provider"))), "{refused:?}");
    assert_eq!(store.stored_providers().await.unwrap(), all);
    assert!(store.delete_stored_provider("z").await.unwrap());
    assert!(!store.delete_stored_provider("z").await.unwrap());
    assert!(!store.delete_stored_provider("A").await.unwrap());
    assert_eq!(store.stored_providers().await.unwrap(), all[1..]);
}

pub(crate) async fn a_secret_that_is_not_given_stays(store: Port) {
    let refused = store.change_stored_provider(stored("a", Some("x"))).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert!(store.stored_providers().await.unwrap().is_empty());
    for id in ["a", "b"] {
        store.create_stored_provider(stored(id, Some(&format!("secret of {id}")))).await.unwrap();
    }
    let later = NOW.plus(HOUR);
    let mut changed = stored("a", None);
    changed.spec.label = None;
    changed.spec.enabled = Some(false);
    (changed.created_at, changed.updated_at) = (later, later);
    store.change_stored_provider(changed.clone()).await.unwrap();
    changed.created_at = NOW;
    changed.spec.client_secret = Some(Secret::new("secret of a"));
    let expected = [changed, stored("b", Some("secret of b"))];
    assert_eq!(store.stored_providers().await.unwrap(), expected);
    store.change_stored_provider(stored("a", Some("new"))).await.unwrap();
    let all = store.stored_providers().await.unwrap();
    assert_eq!(all, [stored("a", Some("new")), stored("b", Some("secret of b"))]);
}

pub(crate) async fn a_removed_provider_leaves_no_secret_to_its_successor(store: Port) {
    store.create_stored_provider(stored("a", Some("old"))).await.unwrap();
    store.delete_stored_provider("a").await.unwrap();
    store.create_stored_provider(stored("a", None)).await.unwrap();
    store.change_stored_provider(stored("a", None)).await.unwrap();
    assert_eq!(store.stored_providers().await.unwrap(), [stored("a", None)]);
}
