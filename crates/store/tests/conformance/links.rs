//! Claims about identities at providers and the accounts they belong to.

use std::sync::Arc;
use std::time::Duration;

use vestibule_authn::ports::{
    AccountChange, CreateCondition, NewAccount, ProviderLink, RefreshOutcome, SessionKind,
    StoreError,
};
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;
use vestibule_core::id::{AccountId, SessionId};

use crate::suite::{HOUR, NOW, Port, key_of, made, person, session_of, signed_in};

const ISSUER: &str = "https://id.example.org";

fn link_of(account: AccountId, issuer: &str, subject: &str) -> ProviderLink {
    ProviderLink {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        account,
        provider: "pocket-id".to_owned(),
        display: "Ann at the provider".to_owned(),
        groups: groups(["a", "b"]),
        role: Some(Role::User),
        linked_at: NOW,
        last_used_at: NOW,
    }
}

fn groups<const N: usize>(names: [&str; N]) -> Vec<Group> {
    names.into_iter().map(|name| Group::new(name).unwrap()).collect()
}

/// A link for an account that is only about to be made.
fn link_at_birth(issuer: &str, subject: &str) -> ProviderLink {
    link_of(AccountId(uuid::Uuid::nil()), issuer, subject)
}

async fn linked(store: &Port, name: &str, subject: &str) -> Account {
    let link = link_at_birth(ISSUER, subject);
    store.create_linked_account(person(name), CreateCondition::Always, link).await.unwrap()
}

async fn owner(store: &Port, issuer: &str, subject: &str) -> Option<AccountId> {
    let found = store.provider_link(issuer, subject).await.unwrap();
    found.map(|(link, account)| {
        assert_eq!((link.issuer.as_str(), link.subject.as_str()), (issuer, subject));
        assert_eq!(link.account, account.id);
        account.id
    })
}

async fn administrators(store: &Port) -> Vec<AccountId> {
    let all = store.accounts(None, 1000).await.unwrap();
    all.into_iter().filter(|a| a.role == Role::Admin).map(|a| a.id).collect()
}

pub(crate) async fn g8_an_identity_is_issuer_and_subject_byte_for_byte(store: Port) {
    let pairs = [
        ("https://id.example.org", "ann"),
        ("https://id.example.org/", "ann"),
        ("https://ID.example.org", "ann"),
        ("http://id.example.org", "ann"),
        ("https://id.example.org", "Ann"),
        ("https://id.example.org", "ann "),
        ("https://id.example.org", " ann"),
        ("https://id.example.org", "ann\0"),
        ("https://id.example.org", "ann%"),
        ("https://id.example.org", "an_"),
        ("https://id.example.orga", "nn"),
        ("https://id.example.org", "1"),
        ("https://id.example.org", "01"),
        ("https://id.example.org", "1.0"),
        ("https://id.example.org", "\u{e9}"),
        ("https://id.example.org", "e\u{301}"),
        ("", "ann"),
    ];
    let mut owners = Vec::new();
    for (n, (issuer, subject)) in pairs.into_iter().enumerate() {
        assert_eq!(owner(&store, issuer, subject).await, None, "{issuer} {subject:?}");
        let account = made(&store, &format!("user-{n}")).await;
        let link = link_of(account.id, issuer, subject);
        assert_eq!(store.add_provider_link(link.clone(), None, false).await.unwrap(), []);
        assert_eq!(store.provider_links(account.id).await.unwrap(), [link]);
        owners.push(account.id);
    }
    for ((issuer, subject), account) in pairs.into_iter().zip(owners) {
        assert_eq!(owner(&store, issuer, subject).await, Some(account), "{issuer} {subject:?}");
    }
}

pub(crate) async fn g8_a_linked_identity_never_moves_to_another_account(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    let eve = made(&store, "eve").await;
    for empty_first in [false, true] {
        for thief in [eve.id, ann.id] {
            let link = link_of(thief, ISSUER, "1");
            let refused = store.add_provider_link(link, None, empty_first).await;
            assert!(matches!(refused, Err(StoreError::Conflict("link"))), "{refused:?}");
        }
    }
    let refused = store.update_provider_link(link_of(eve.id, ISSUER, "1"), None).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    let again = person("again");
    let when = CreateCondition::Always;
    let refused = store.create_linked_account(again, when, link_at_birth(ISSUER, "1")).await;
    assert!(matches!(refused, Err(StoreError::Conflict("link"))), "{refused:?}");
    assert_eq!(owner(&store, ISSUER, "1").await, Some(ann.id));
    assert_eq!(store.count_accounts().await.unwrap(), 2);
    assert!(store.provider_links(eve.id).await.unwrap().is_empty());
}

pub(crate) async fn g8_of_100_first_sign_ins_of_one_identity_one_makes_an_account(store: Port) {
    let tries = (0..100).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let (new, link) = (person(&format!("user-{n}")), link_at_birth(ISSUER, "1"));
            store.create_linked_account(new, CreateCondition::Always, link).await
        })
    });
    let mut made = Vec::new();
    for attempt in tries.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(account) => made.push(account.id),
            Err(error) => assert!(matches!(error, StoreError::Conflict("link")), "{error:?}"),
        }
    }
    assert_eq!((made.len(), store.count_accounts().await.unwrap()), (1, 1));
    assert_eq!(owner(&store, ISSUER, "1").await, Some(made[0]));
}

pub(crate) async fn g8_one_subject_joined_by_100_accounts_at_once_is_joined_to_one(store: Port) {
    let mut tries = Vec::new();
    for n in 0..100 {
        let account = made(&store, &format!("user-{n}")).await.id;
        let store = Arc::clone(&store);
        tries.push(tokio::spawn(async move {
            let joined = store.add_provider_link(link_of(account, ISSUER, "1"), None, true).await;
            joined.map(|_| account)
        }));
    }
    let mut joined = Vec::new();
    for attempt in tries {
        match attempt.await.unwrap() {
            Ok(account) => joined.push(account),
            Err(error) => assert!(matches!(error, StoreError::Conflict("link")), "{error:?}"),
        }
    }
    assert_eq!(joined.len(), 1);
    assert_eq!(owner(&store, ISSUER, "1").await, Some(joined[0]));
    // The others kept what they had.
    let mut emptied = 0;
    for account in store.accounts(None, 1000).await.unwrap() {
        emptied += usize::from(store.password_hash(account.id).await.unwrap().is_none());
    }
    assert_eq!(emptied, 1);
}

pub(crate) async fn a_linked_account_is_made_whole_or_not_at_all(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    assert_eq!((ann.role, ann.status), (Role::User, Status::Pending));
    let (link, found) = store.provider_link(ISSUER, "1").await.unwrap().unwrap();
    assert_eq!((link, found), (link_of(ann.id, ISSUER, "1"), ann));

    let twin = NewAccount { username: "other".to_owned(), ..person("ann") };
    let when = CreateCondition::Always;
    let refused = store.create_linked_account(twin, when, link_at_birth(ISSUER, "2")).await;
    assert!(matches!(refused, Err(StoreError::Conflict("email"))), "{refused:?}");
    assert_eq!(owner(&store, ISSUER, "2").await, None);

    let when = CreateCondition::NoAccounts;
    let refused =
        store.create_linked_account(person("bob"), when, link_at_birth(ISSUER, "2")).await;
    assert!(matches!(refused, Err(StoreError::Conflict("setup"))), "{refused:?}");
    assert_eq!(
        (owner(&store, ISSUER, "2").await, store.count_accounts().await.unwrap()),
        (None, 1)
    );

    let namesake = NewAccount { email: None, ..person("ann") };
    let when = CreateCondition::FirstBecomesAdmin;
    let second =
        store.create_linked_account(namesake, when, link_at_birth(ISSUER, "2")).await.unwrap();
    assert_eq!((&*second.username, second.role), ("ann2", Role::User));
}

pub(crate) async fn seed_001_57_of_100_first_identities_one_becomes_administrator(store: Port) {
    let tries = (0..100).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let link = link_at_birth(ISSUER, &n.to_string());
            let when = CreateCondition::FirstBecomesAdmin;
            store.create_linked_account(person(&format!("user-{n}")), when, link).await
        })
    });
    let mut admins = 0;
    for attempt in tries.collect::<Vec<_>>() {
        let account = attempt.await.unwrap().unwrap();
        let is_admin = account.role == Role::Admin;
        assert_eq!(is_admin, account.status == Status::Active);
        admins += usize::from(is_admin);
    }
    assert_eq!((admins, store.count_accounts().await.unwrap()), (1, 100));
}

pub(crate) async fn seed_001_59_an_administrator_is_made_only_while_there_is_none(store: Port) {
    let ann = made(&store, "ann").await;
    let when = CreateCondition::NoAdminBecomesAdmin;
    let link = link_at_birth(ISSUER, "1");
    let todd = store.create_linked_account(person("todd"), when, link).await.unwrap();
    assert_eq!((todd.role, todd.status), (Role::Admin, Status::Active));
    assert!(!store.make_admin_if_none(ann.id).await.unwrap());
    assert!(!store.make_admin_if_none(todd.id).await.unwrap());
    let link = link_at_birth(ISSUER, "2");
    let bob = store.create_linked_account(person("bob"), when, link).await.unwrap();
    assert_eq!((bob.role, bob.status), (Role::User, Status::Pending));
    assert_eq!(store.account(ann.id).await.unwrap().unwrap(), ann);
    assert_eq!(administrators(&store).await, [todd.id]);
}

pub(crate) async fn seed_001_59_of_100_bootstraps_at_once_one_becomes_administrator(store: Port) {
    let nobody = AccountId(uuid::Uuid::new_v4());
    assert!(!store.make_admin_if_none(nobody).await.unwrap());
    let mut tries = Vec::new();
    for n in 0..100 {
        let account = made(&store, &format!("user-{n}")).await.id;
        let store = Arc::clone(&store);
        // Half are there already, half arrive: both ways lead to one seat.
        tries.push(tokio::spawn(async move {
            if n % 2 == 0 {
                return store.make_admin_if_none(account).await.unwrap();
            }
            let (new, link) = (person(&format!("new-{n}")), link_at_birth(ISSUER, &n.to_string()));
            let when = CreateCondition::NoAdminBecomesAdmin;
            store.create_linked_account(new, when, link).await.unwrap().role == Role::Admin
        }));
    }
    let mut made = 0;
    for attempt in tries {
        made += usize::from(attempt.await.unwrap());
    }
    let admins = administrators(&store).await;
    assert_eq!((made, admins.len()), (1, 1));
    assert_eq!(store.account(admins[0]).await.unwrap().unwrap().status, Status::Active);
}

/// An account with everything that opens it: its sessions.
async fn furnished(store: &Port, account: AccountId, seed: u8) -> Vec<SessionId> {
    let browser = signed_in(store, account, seed).await;
    store.add_host_token(browser, "app", [seed + 1; 32], NOW).await.unwrap();
    let token = session_of(account, SessionKind::Token);
    store.create_session(token.clone(), None).await.unwrap();
    store.add_refresh_token(token.id, [seed + 2; 32], NOW, NOW.plus(HOUR)).await.unwrap();
    store.create_api_key(key_of(account, "k"), [seed + 3; 32]).await.unwrap();
    store.add_known_device(account, [seed + 4; 32], NOW).await.unwrap();
    let mut sessions = vec![browser, token.id];
    sessions.sort();
    sessions
}

/// Whether everything of [`furnished`] is there (`true`) or gone (`false`).
async fn still_furnished(store: &Port, account: AccountId, seed: u8) -> bool {
    let refresh =
        store.rotate_refresh_token(&[seed + 2; 32], [seed + 5; 32], NOW, NOW.plus(HOUR)).await;
    let parts = [
        store.session_by_token(&[seed; 32]).await.unwrap().is_some(),
        store.session_by_token(&[seed + 1; 32]).await.unwrap().is_some(),
        matches!(refresh.unwrap(), RefreshOutcome::Rotated(_)),
        store.api_key_by_hash(&[seed + 3; 32]).await.unwrap().is_some(),
        store.is_known_device(account, &[seed + 4; 32]).await.unwrap(),
        store.password_hash(account).await.unwrap().is_some(),
    ];
    assert!(parts.iter().all(|part| *part == parts[0]), "{parts:?}");
    parts[0]
}

pub(crate) async fn joining_empties_an_account_of_every_other_way_in(store: Port) {
    let squatter = NewAccount {
        email: Some("bob@example.org".to_owned()),
        email_verified: false,
        must_change_password: true,
        ..person("squatter")
    };
    let squatter = store.create_account(squatter, CreateCondition::Always).await.unwrap();
    let other = linked(&store, "other", "other").await;
    let mut sessions = furnished(&store, squatter.id, 10).await;
    furnished(&store, other.id, 20).await;
    store.add_provider_link(link_of(squatter.id, ISSUER, "squat"), None, false).await.unwrap();

    let link = link_of(squatter.id, ISSUER, "bob");
    let mut ended =
        store.add_provider_link(link.clone(), Some("bob@example.org"), true).await.unwrap();
    ended.sort();
    sessions.sort();
    assert_eq!(ended, sessions);
    assert!(!still_furnished(&store, squatter.id, 10).await);
    assert_eq!(owner(&store, ISSUER, "squat").await, None);
    assert_eq!(store.provider_links(squatter.id).await.unwrap(), [link]);
    let bob = store.account(squatter.id).await.unwrap().unwrap();
    let expected = Account { email_verified: true, must_change_password: false, ..squatter };
    assert_eq!(bob, expected);
    // Nobody else lost anything.
    assert!(still_furnished(&store, other.id, 20).await);
    assert_eq!(owner(&store, ISSUER, "other").await, Some(other.id));
}

pub(crate) async fn joining_without_emptying_only_adds(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    furnished(&store, ann.id, 10).await;
    let second = link_of(ann.id, "https://other.example.org", "1");
    assert_eq!(store.add_provider_link(second.clone(), None, false).await.unwrap(), []);
    assert!(still_furnished(&store, ann.id, 10).await);
    assert_eq!(store.account(ann.id).await.unwrap().unwrap(), ann);
    let links = store.provider_links(ann.id).await.unwrap();
    assert_eq!(links, [link_of(ann.id, ISSUER, "1"), second]);
    let email = Some("new@example.org");
    store.add_provider_link(link_of(ann.id, ISSUER, "2"), email, false).await.unwrap();
    let found = store.account_by_email("new@example.org").await.unwrap().unwrap();
    assert_eq!((found.id, found.email_verified), (ann.id, true));
    let nobody = AccountId(uuid::Uuid::new_v4());
    let refused = store.add_provider_link(link_of(nobody, ISSUER, "3"), None, false).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert_eq!(owner(&store, ISSUER, "3").await, None);
}

pub(crate) async fn a_refused_link_takes_nothing_from_the_account(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    let bob = linked(&store, "bob", "2").await;
    furnished(&store, ann.id, 10).await;
    let taken = link_of(ann.id, ISSUER, "2");
    let refused = store.add_provider_link(taken, Some("new@example.org"), true).await;
    assert!(matches!(refused, Err(StoreError::Conflict("link"))), "{refused:?}");
    let fresh = link_of(ann.id, ISSUER, "3");
    let refused = store.add_provider_link(fresh, bob.email.as_deref(), true).await;
    assert!(matches!(refused, Err(StoreError::Conflict("email"))), "{refused:?}");
    assert!(still_furnished(&store, ann.id, 10).await);
    assert_eq!(store.account(ann.id).await.unwrap().unwrap(), ann);
    assert_eq!(store.provider_links(ann.id).await.unwrap(), [link_of(ann.id, ISSUER, "1")]);
    assert_eq!(owner(&store, ISSUER, "3").await, None);
}

pub(crate) async fn a_note_of_a_sign_in_changes_link_and_account_together(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    let later = NOW.plus(HOUR);
    let note = ProviderLink {
        provider: "renamed".to_owned(),
        display: "Ann the second".to_owned(),
        groups: groups(["c", "b", "c"]),
        role: Some(Role::Admin),
        linked_at: later,
        last_used_at: later,
        ..link_of(ann.id, ISSUER, "1")
    };
    let change = AccountChange {
        role: Some(Role::Admin),
        status: Some(Status::Active),
        groups: Some(groups(["b", "c"])),
        ..AccountChange::default()
    };
    let changed = store.update_provider_link(note.clone(), Some(change)).await.unwrap();
    let expected = Account {
        role: Role::Admin,
        status: Status::Active,
        groups: groups(["b", "c"]).into(),
        ..ann.clone()
    };
    assert_eq!(changed, expected);
    let (link, found) = store.provider_link(ISSUER, "1").await.unwrap().unwrap();
    assert_eq!(found, expected);
    let written = ProviderLink { groups: groups(["b", "c"]), linked_at: NOW, ..note };
    assert_eq!(link, written);
    // An older note, told late, moves no time back; a provider may say nothing at all.
    let early = ProviderLink {
        groups: Vec::new(),
        role: None,
        last_used_at: NOW.plus(Duration::from_secs(1)),
        ..written.clone()
    };
    assert_eq!(store.update_provider_link(early.clone(), None).await.unwrap(), expected);
    let (link, _) = store.provider_link(ISSUER, "1").await.unwrap().unwrap();
    assert_eq!(link, ProviderLink { last_used_at: later, ..early });
    assert_eq!(store.password_hash(ann.id).await.unwrap().as_deref(), Some("$argon2id$x"));
}

pub(crate) async fn a_note_that_is_refused_leaves_link_and_account_as_they_were(store: Port) {
    let when = CreateCondition::FirstBecomesAdmin;
    let link = link_at_birth(ISSUER, "1");
    let ann = store.create_linked_account(person("ann"), when, link).await.unwrap();
    let bob = made(&store, "bob").await;
    let before = store.provider_link(ISSUER, "1").await.unwrap().unwrap();
    let note = ProviderLink {
        display: "changed".to_owned(),
        groups: Vec::new(),
        role: None,
        last_used_at: NOW.plus(HOUR),
        ..link_of(ann.id, ISSUER, "1")
    };
    let demote = AccountChange {
        role: Some(Role::User),
        groups: Some(Vec::new()),
        ..AccountChange::default()
    };
    let refused = store.update_provider_link(note.clone(), Some(demote)).await;
    assert!(matches!(refused, Err(StoreError::LastAdmin)), "{refused:?}");
    let email = Some((bob.email.as_deref().map(str::to_owned), true));
    let take = AccountChange { email, ..AccountChange::default() };
    let refused = store.update_provider_link(note, Some(take)).await;
    assert!(matches!(refused, Err(StoreError::Conflict("email"))), "{refused:?}");
    assert_eq!(store.provider_link(ISSUER, "1").await.unwrap().unwrap(), before);
}

pub(crate) async fn a_late_note_never_brings_an_unlinked_identity_back(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    assert!(store.delete_provider_link(ann.id, ISSUER, "1").await.unwrap());
    let promote = AccountChange { role: Some(Role::Admin), ..AccountChange::default() };
    let note = link_of(ann.id, ISSUER, "1");
    let refused = store.update_provider_link(note, Some(promote)).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    assert_eq!(owner(&store, ISSUER, "1").await, None);
    assert_eq!(store.account(ann.id).await.unwrap().unwrap(), ann);
}

pub(crate) async fn links_are_listed_oldest_first_and_removed_by_their_owner(store: Port) {
    let ann = made(&store, "ann").await;
    let eve = made(&store, "eve").await;
    for (subject, age) in [("b", 2), ("c", 1), ("a", 2), ("d", 3)] {
        let linked_at = NOW.minus(HOUR * age);
        let link = ProviderLink { linked_at, ..link_of(ann.id, ISSUER, subject) };
        store.add_provider_link(link, None, false).await.unwrap();
    }
    let links = store.provider_links(ann.id).await.unwrap();
    let subjects: Vec<_> = links.iter().map(|link| link.subject.as_str()).collect();
    assert_eq!(subjects, ["d", "a", "b", "c"]);
    assert!(!store.delete_provider_link(eve.id, ISSUER, "a").await.unwrap());
    assert!(!store.delete_provider_link(ann.id, "https://other.example.org", "a").await.unwrap());
    assert!(store.delete_provider_link(ann.id, ISSUER, "a").await.unwrap());
    assert!(!store.delete_provider_link(ann.id, ISSUER, "a").await.unwrap());
    assert_eq!(store.provider_links(ann.id).await.unwrap().len(), 3);
    assert!(store.provider_links(eve.id).await.unwrap().is_empty());
}

pub(crate) async fn f3_a_deleted_account_leaves_no_identity_behind(store: Port) {
    let ann = linked(&store, "ann", "1").await;
    store.delete_account(ann.id).await.unwrap();
    assert_eq!(owner(&store, ISSUER, "1").await, None);
    assert!(store.provider_links(ann.id).await.unwrap().is_empty());
    let refused = store.update_provider_link(link_of(ann.id, ISSUER, "1"), None).await;
    assert!(matches!(refused, Err(StoreError::NotFound)), "{refused:?}");
    // Whoever comes with the identity next is somebody new.
    let next = linked(&store, "ann", "1").await;
    assert_ne!(next.id, ann.id);
    assert_eq!(owner(&store, ISSUER, "1").await, Some(next.id));
}
