//! Identities at providers, taken off an account.

use vestibule_authn::ports::{AccountChange, ProviderLink, Store};
use vestibule_authn::provider::UnlinkError;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;
use vestibule_core::id::AccountId;

use crate::house::{House, NOW, somebody};

const ISSUER: &str = "https://id.example.com";

fn group(name: &str) -> Group {
    Group::new(name).unwrap()
}

fn link(account: AccountId, subject: &str, groups: &[&str], role: Option<Role>) -> ProviderLink {
    ProviderLink {
        issuer: ISSUER.to_owned(),
        subject: subject.to_owned(),
        account,
        provider: "corp".to_owned(),
        display: subject.to_owned(),
        groups: groups.iter().map(|name| group(name)).collect(),
        role,
        linked_at: NOW,
        last_used_at: NOW,
    }
}

/// An administrator in two groups, beside another administrator.
async fn chief(house: &House) -> Account {
    house.account_as("root@example.com", Role::Admin, Status::Active).await;
    let chief = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    let groups = Some(vec![group("chiefs"), group("own")]);
    let change = AccountChange { groups, ..AccountChange::default() };
    house.store.change_account(chief.id, change).await.unwrap()
}

#[tokio::test]
async fn f3_unlinking_takes_back_what_the_identity_gave_and_nothing_else() {
    let house = House::new().await;
    let ann = chief(&house).await;
    for (subject, role) in [("one", Some(Role::Admin)), ("two", Some(Role::Admin))] {
        let link = link(ann.id, subject, &["chiefs"], role);
        house.store.add_provider_link(link, None, false).await.unwrap();
    }
    let unlink = |subject: &'static str| {
        let authn = house.authn.clone();
        async move { authn.unlink_provider(ann.id, ISSUER, subject, &somebody(), NOW).await }
    };
    unlink("one").await.unwrap();
    let now = house.store.account(ann.id).await.unwrap().unwrap();
    assert_eq!(now.role, Role::Admin, "the other identity still gives it");
    assert_eq!(*now.groups, [group("chiefs"), group("own")]);
    unlink("two").await.unwrap();
    let now = house.store.account(ann.id).await.unwrap().unwrap();
    assert_eq!(now.role, Role::User);
    assert_eq!(*now.groups, [group("own")]);
    assert!(matches!(unlink("two").await, Err(UnlinkError::Store(_))));
}

#[tokio::test]
async fn the_only_way_in_is_not_taken_off() {
    let house = House::new().await;
    let mut made = house.account("bob@example.com").await;
    // Without a password, and at a provider that is not configured: no way in is left.
    let change = AccountChange { password: Some((None, false)), ..AccountChange::default() };
    made = house.store.change_account(made.id, change).await.unwrap();
    let link = link(made.id, "bob", &[], None);
    house.store.add_provider_link(link, None, false).await.unwrap();
    let refused = house.authn.unlink_provider(made.id, ISSUER, "bob", &somebody(), NOW).await;
    assert!(matches!(refused, Err(UnlinkError::LastWay)), "{refused:?}");
    assert_eq!(house.store.provider_links(made.id).await.unwrap().len(), 1);
}
