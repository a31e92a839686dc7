//! Browser sessions: when the token changes, what ends them, how a person sees them.

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::Role;

use crate::stage::{Ask, PASSWORD, Stage};

const HOST: &str = "auth.example.com";
const NAME: &str = "__Host-vestibule";

#[tokio::test]
async fn f1_signing_in_replaces_the_session_the_browser_had() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    stage.person("bob@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let before = browser.jar.clone();
    let old = browser.cookie(HOST, NAME);
    browser.sign_in("bob@example.com", PASSWORD, "").await;
    assert_ne!(browser.cookie(HOST, NAME), old);
    browser.jar = before;
    assert_eq!(browser.open("/").await.status, StatusCode::FOUND, "the old token is dead");
}

#[tokio::test]
async fn f1_a_token_the_browser_brought_is_never_taken_over() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let planted = "A".repeat(86);
    browser.jar.entry(HOST.to_owned()).or_default().insert(NAME.to_owned(), planted.clone());
    browser.sign_in("ann@example.com", PASSWORD, "").await;
    assert_ne!(browser.cookie(HOST, NAME), Some(planted));
}

#[tokio::test]
async fn seed_003_19_seed_003_95_the_cookie_is_secure_http_only_lax_and_ends_with_the_browser() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let session = |fields: Vec<String>| {
        fields.into_iter().find(|f| f.starts_with("__Host-vestibule=")).unwrap()
    };
    let plain = stage.browser().sign_in("ann@example.com", PASSWORD, "").await;
    let plain = session(plain.set_cookies());
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(plain.contains(part), "{plain}");
    }
    assert!(!plain.contains("Max-Age") && !plain.contains("Domain"));
    let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("remember", "on")];
    let kept = stage.browser().submit("/login", &fields).await;
    assert!(session(kept.set_cookies()).contains("Max-Age=2592000"));
}

#[tokio::test]
async fn f1_a_changed_password_ends_the_other_sessions_and_gives_this_one_a_new_token() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut here = stage.browser_of("ann@example.com").await;
    let mut there = stage.browser_of("ann@example.com").await;
    let (old, jar) = (here.cookie(HOST, NAME), here.jar.clone());
    let wrong = [("current", "wrong"), ("new", "a-new-password-2"), ("again", "a-new-password-2")];
    assert_eq!(here.submit("/settings/password", &wrong).await.status, StatusCode::UNAUTHORIZED);
    let twice =
        [("current", PASSWORD), ("new", "a-new-password-2"), ("again", "another-password-3")];
    assert_eq!(here.submit("/settings/password", &twice).await.status, StatusCode::BAD_REQUEST);
    let good = [("current", PASSWORD), ("new", "a-new-password-2"), ("again", "a-new-password-2")];
    let changed = here.submit("/settings/password", &good).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.body);
    assert_ne!(here.cookie(HOST, NAME), old);
    assert_eq!(here.open("/settings").await.status, StatusCode::OK);
    assert_eq!(there.open("/settings").await.status, StatusCode::FOUND);
    here.jar = jar;
    assert_eq!(here.open("/settings").await.status, StatusCode::FOUND, "the old token is dead");
}

#[tokio::test]
async fn f1_a_changed_role_renews_the_token_at_the_next_page() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let ann = stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let old = browser.cookie(HOST, NAME);
    let (actor, now) = (stage.actor(), stage.now());
    stage.authn.set_role(ann.id, Role::Admin, &actor, now).await.unwrap();
    assert_eq!(browser.open("/settings").await.status, StatusCode::OK);
    assert_ne!(browser.cookie(HOST, NAME), old);
    assert_eq!(browser.open("/settings").await.status, StatusCode::OK);
}

#[tokio::test]
async fn seed_003_13_a_person_lists_and_ends_their_own_sessions() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    stage.person("bob@example.com", Role::User).await;
    let mut here = stage.browser_of("ann@example.com").await;
    let mut there = stage.browser_of("ann@example.com").await;
    let mut bob = stage.browser_of("bob@example.com").await;
    let list = here.send(Ask::new(Method::GET, "/api/v1/auth/sessions")).await.json();
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), 2);
    let other =
        list.iter().find(|s| s["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    let end = |id: &str| {
        Ask::new(Method::DELETE, &format!("/api/v1/auth/sessions/{id}"))
            .header("sec-fetch-site", "same-origin")
    };
    assert_eq!(bob.send(end(&other)).await.status, StatusCode::NOT_FOUND, "another's");
    assert_eq!(here.send(end(&other)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(there.open("/").await.status, StatusCode::FOUND);
    let third = stage.token_of("ann@example.com").await;
    let page = here.open("/settings").await;
    assert!(page.body.contains("this browser") && page.body.contains("End all other sessions"));
    let done = here.submit("/settings/sessions", &[("others", "on")]).await;
    assert_eq!(done.location(), "https://auth.example.com/settings?saved=others");
    let dead = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(&third)).await;
    assert_eq!(dead.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_login_with_cookie_answers_the_user_and_no_token() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD, "cookie": true });
    let mut browser = stage.browser();
    let ask = Ask::new(Method::POST, "/api/v1/auth/login")
        .header("sec-fetch-site", "same-origin")
        .json(body);
    let answer = browser.send(ask).await;
    assert_eq!(answer.json()["user"]["email"], "ann@example.com");
    assert!(answer.json().get("access_token").is_none());
    assert_eq!(browser.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.status, StatusCode::OK);
    let out = Ask::new(Method::POST, "/api/v1/auth/logout").header("sec-fetch-site", "same-origin");
    assert_eq!(browser.send(out).await.status, StatusCode::NO_CONTENT);
    assert!(browser.cookie(HOST, NAME).is_none());
}
