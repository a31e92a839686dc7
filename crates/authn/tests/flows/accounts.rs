//! Making and changing accounts.

use vestibule_authn::account::{AccountError, AddAccount};
use vestibule_authn::login::PasswordRefused;
use vestibule_authn::ports::StoreError;
use vestibule_core::account::{Account, Role, Status};
use vestibule_core::group::Group;
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{FirstUser, Mode};

use crate::house::*;

async fn sign_up(house: &House, email: &str) -> Result<Account, AccountError> {
    house.authn.sign_up(email, Secret::new(PASSWORD), "Ann", &somebody(), NOW).await
}

#[tokio::test]
async fn seed_001_49_who_makes_an_account_waits_for_approval_where_that_is_asked() {
    for (approval, status) in [(true, Status::Pending), (false, Status::Active)] {
        let house = House::with(|s| {
            s.auth.password.signup = true;
            s.auth.approval = approval;
        })
        .await;
        let ann = sign_up(&house, "Ann@Example.com").await.unwrap();
        assert_eq!((ann.status, ann.role, ann.email_verified), (status, Role::User, false));
        assert_eq!(ann.email.as_deref(), Some("ann@example.com"));
        assert!(house.audited().await.contains(&"signup"));
    }
}

#[tokio::test]
async fn seed_002_23_seed_003_99_sign_up_can_be_off_and_is_off_in_mode_admin() {
    let off = House::new().await;
    assert!(matches!(sign_up(&off, "a@example.com").await, Err(AccountError::SignupDisabled)));
    let admin_mode = House::with(|s| {
        s.auth.mode = Mode::Admin;
        s.auth.admin = admin("root@example.com", PASSWORD);
        s.auth.password.signup = true;
    })
    .await;
    let refused = sign_up(&admin_mode, "a@example.com").await;
    assert!(matches!(refused, Err(AccountError::SignupDisabled)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seed_001_55_seed_001_57_the_first_to_sign_up_is_administrator_and_only_one_of_many() {
    let house = House::with(|s| {
        s.auth.password.signup = true;
        s.auth.first_user = FirstUser::Admin;
    })
    .await;
    let mut signing_up = tokio::task::JoinSet::new();
    for n in 0..20 {
        let authn = house.authn.clone();
        signing_up.spawn(async move {
            let email = format!("user{n}@example.com");
            authn.sign_up(&email, Secret::new(PASSWORD), "", &somebody(), NOW).await.unwrap()
        });
    }
    let accounts = signing_up.join_all().await;
    let admins: Vec<_> = accounts.iter().filter(|a| a.role == Role::Admin).collect();
    assert_eq!(admins.len(), 1);
    assert_eq!(admins[0].status, Status::Active);
    assert_eq!(accounts.iter().filter(|a| a.status == Status::Pending).count(), 19);
}

#[tokio::test]
async fn seed_001_62_a_named_administrator_switches_first_come_off() {
    let house = House::with(|s| {
        s.auth.password.signup = true;
        s.auth.first_user = FirstUser::Admin;
        s.auth.bootstrap_admin = Some(("authelia".into(), "todd".into()));
    })
    .await;
    assert_eq!(sign_up(&house, "a@example.com").await.unwrap().role, Role::User);
}

#[tokio::test]
async fn a_taken_or_malformed_email_and_a_weak_password_make_no_account() {
    let house = House::with(|s| s.auth.password.signup = true).await;
    sign_up(&house, "ann@example.com").await.unwrap();
    let taken = sign_up(&house, "ANN@example.com").await;
    assert!(matches!(taken, Err(AccountError::Store(StoreError::Conflict(_)))));
    assert!(matches!(sign_up(&house, "a@b@c").await, Err(AccountError::BadEmail(_))));
    let weak = house
        .authn
        .sign_up("bob@example.com", Secret::new("password1"), "", &somebody(), NOW)
        .await;
    assert!(matches!(weak, Err(AccountError::Password(PasswordRefused::Weak(_)))));
}

#[tokio::test]
async fn seed_001_54_an_administrator_is_always_active() {
    let house = House::new().await;
    let ann = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    for status in [Status::Pending, Status::Rejected, Status::Disabled] {
        let refused = house.authn.set_status(ann.id, status, &cli(), NOW).await;
        assert!(matches!(refused, Err(AccountError::AdminAlwaysActive)), "{status}");
    }
    let add = AddAccount {
        email: "bob@example.com".to_owned(),
        name: String::new(),
        username: None,
        role: Role::Admin,
        status: Status::Pending,
        groups: Vec::new(),
        password: None,
    };
    let refused = house.authn.add_account(add, &cli(), NOW).await;
    assert!(matches!(refused, Err(AccountError::AdminAlwaysActive)));
    let pending = house.account_as("cyd@example.com", Role::User, Status::Pending).await;
    let raised = house.authn.set_role(pending.id, Role::Admin, &cli(), NOW).await.unwrap();
    assert_eq!(raised.status, Status::Active);
}

#[tokio::test]
async fn the_last_administrator_can_be_neither_demoted_nor_deleted() {
    let house = House::new().await;
    let ann = house.account_as("ann@example.com", Role::Admin, Status::Active).await;
    let last = |result: Result<(), AccountError>| {
        matches!(result, Err(AccountError::Store(StoreError::LastAdmin)))
    };
    let demote = house.authn.set_role(ann.id, Role::User, &cli(), NOW).await;
    assert!(last(demote.map(|_| ())));
    assert!(last(house.authn.delete_account(ann.id, &cli(), NOW).await));
    house.account_as("bob@example.com", Role::Admin, Status::Active).await;
    house.authn.set_role(ann.id, Role::User, &cli(), NOW).await.unwrap();
    house.authn.delete_account(ann.id, &cli(), NOW).await.unwrap();
}

#[tokio::test]
async fn every_change_of_an_account_holds_at_the_next_request_and_is_audited() {
    let house = House::new().await;
    house.account_as("root@example.com", Role::Admin, Status::Active).await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    let (_, key) = house.key(&ann).await;
    let both = || async {
        let by_cookie = who(&house.ask(&cookie(&token), NOW).await);
        let by_key = who(&house.ask(&bearer(&key), NOW).await);
        assert_eq!(by_cookie.status, by_key.status);
        assert_eq!(by_cookie.groups, by_key.groups);
        by_cookie
    };
    let before = both().await;
    house.authn.set_status(ann.id, Status::Rejected, &cli(), NOW).await.unwrap();
    assert_eq!(both().await.status, Status::Rejected);
    house.authn.set_status(ann.id, Status::Active, &cli(), NOW).await.unwrap();
    assert_eq!(both().await.status, Status::Active);
    let groups = vec![Group::new("staff").unwrap(), Group::new("cooks").unwrap()];
    house.authn.set_groups(ann.id, groups, &cli(), NOW).await.unwrap();
    let names: Vec<_> = both().await.groups.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["cooks", "staff"]);
    house.authn.set_role(ann.id, Role::Admin, &cli(), NOW).await.unwrap();
    assert_eq!(both().await.role, Role::Admin);
    house
        .authn
        .set_names(ann.id, Some("New\nName".to_owned()), Some("Annie".to_owned()), &cli(), NOW)
        .await
        .unwrap();
    let last = both().await;
    assert_eq!((&*last.name, &*last.username), ("NewName", "annie"));
    assert!(last.generation > before.generation);
    let events = house.audited().await;
    for event in ["user.status", "user.groups", "user.role"] {
        assert!(events.contains(&event), "{event}");
    }
}

#[tokio::test]
async fn f1_a_role_change_marks_browser_sessions_for_a_new_token() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let id = house.session(&ann).await.session.id;
    house.authn.set_role(ann.id, Role::Admin, &cli(), NOW).await.unwrap();
    assert!(house.authn.session_record(id).await.unwrap().unwrap().rotate);
    let renewed = house.authn.renew_session(id, None, NOW).await.unwrap();
    assert!(!renewed.session.rotate);
}

#[tokio::test]
async fn f3_a_deleted_account_has_neither_session_nor_token_nor_key() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let (token, access) = (house.session(&ann).await.token, house.tokens(&ann).await);
    let (_, key) = house.key(&ann).await;
    for request in [cookie(&token), bearer(&access.access_token), bearer(&key)] {
        assert!(is_identified(&house.ask(&request, NOW).await));
    }
    house.authn.delete_account(ann.id, &cli(), NOW).await.unwrap();
    for request in [cookie(&token), bearer(&access.access_token), bearer(&key)] {
        assert!(!is_identified(&house.ask(&request, NOW).await), "{request:?}");
    }
    assert!(house.authn.refresh(&access.refresh_token, &somebody(), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_password_set_by_an_administrator_ends_the_persons_sessions() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    let token = house.session(&ann).await.token;
    assert!(is_identified(&house.ask(&cookie(&token), NOW).await));
    house.authn.set_password(ann.id, Secret::new("another kettle 7"), &cli(), NOW).await.unwrap();
    assert!(is_nobody(&house.ask(&cookie(&token), NOW).await));
    assert!(house.log_in("ann@example.com", PASSWORD).await.is_err());
    assert!(house.log_in("ann@example.com", "another kettle 7").await.is_ok());
}

#[tokio::test]
async fn accounts_are_found_by_id_email_and_user_name() {
    let house = House::new().await;
    let ann = house.account("ann@example.com").await;
    for text in [ann.id.to_string(), "ANN@example.com".to_owned(), "Ann".to_owned()] {
        let found = house.authn.find_account(&text).await.unwrap();
        assert_eq!(found.map(|a| a.id), Some(ann.id), "{text}");
    }
    assert!(house.authn.find_account("nobody").await.unwrap().is_none());
    let second = house.account("ann@example.org").await;
    assert_eq!(&*second.username, "ann2");
}
