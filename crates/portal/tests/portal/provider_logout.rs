//! Signing out at the provider, and being told by it that somebody signed out there.

use std::time::Duration;

use http::{Method, StatusCode};

use vestibule_core::account::Role;
use vestibule_testkit::provider::{Endpoint, LogoutMutant, Op};

use crate::op::{query, stage};
use crate::stage::{APP, Answer, Ask, PORTAL, Stage};

const LOGOUT: &str = "/api/v1/auth/backchannel-logout/corp";

async fn tell(stage: &Stage, token: &str) -> Answer {
    stage.send(Ask::new(Method::POST, LOGOUT).form(&[("logout_token", token)])).await
}

#[tokio::test]
async fn a_session_that_began_at_a_provider_is_signed_out_there_too() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    for by_form in [false, true] {
        let mut browser = stage.browser();
        browser.sign_in_with("corp", "ann", "").await;
        let page = browser.open("/settings").await;
        assert!(page.header("content-security-policy").contains(op.base_url()), "for the form");
        let jar = browser.jar.clone();
        let out = if by_form {
            browser.submit("/logout", &[]).await
        } else {
            browser.open("/logout").await
        };
        let status = if by_form { StatusCode::SEE_OTHER } else { StatusCode::FOUND };
        assert_eq!(out.status, status, "{}", out.body);
        assert!(out.location().starts_with(&op.url(Endpoint::EndSession)), "{}", out.location());
        let told = query(out.location());
        assert_eq!(told["post_logout_redirect_uri"], format!("{PORTAL}/login"));
        assert!(told["id_token_hint"].split('.').count() == 3);
        assert!(browser.cookie("auth.example.com", "__Host-vestibule").is_none());
        browser.jar = jar;
        assert!(!browser.is_signed_in().await, "f2: the old cookie is dead");
    }
}

#[tokio::test]
async fn another_site_is_asked_about_first_and_a_local_session_stays_here() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    let ask = browser.open_from_outside("/logout").await;
    assert!(ask.status == StatusCode::OK && ask.body.contains("Sign out?"));
    assert!(ask.header("content-security-policy").contains(op.base_url()));
    assert!(browser.is_signed_in().await);
    stage.person("bob@example.com", Role::User).await;
    let out = stage.browser_of("bob@example.com").await.open("/logout").await;
    assert_eq!(out.location(), format!("{PORTAL}/login?signed_out"));
}

#[tokio::test]
async fn f2_signing_out_at_an_app_ends_it_at_the_provider_and_the_sign_in_page_clears_the_cookie() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    browser.follow(&format!("{APP}/.vestibule/start?rd={APP}/x")).await;
    let out = browser.open(&format!("{APP}/.vestibule/sign-out")).await;
    assert!(out.location().starts_with(&op.url(Endpoint::EndSession)), "{}", out.location());
    assert!(!browser.is_signed_in().await);
    assert!(browser.cookie("auth.example.com", "__Host-vestibule").is_some(), "not yet");
    browser.open_from_outside("/login").await;
    assert!(browser.cookie("auth.example.com", "__Host-vestibule").is_none());
    assert!(browser.cookie("app.example.com", "__Host-vestibule").is_none());
}

#[tokio::test]
async fn a_logout_token_ends_the_sessions_it_names() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let (mut here, mut there, mut bob) = (stage.browser(), stage.browser(), stage.browser());
    here.sign_in_with("corp", "ann", "").await;
    there.sign_in_with("corp", "ann", "").await;
    bob.sign_in_with("corp", "bob", "").await;
    let sids = op.sids("ann");
    let done = tell(&stage, &op.logout_token(None, Some(&sids[0]))).await;
    assert_eq!((done.status, done.body.as_str()), (StatusCode::OK, ""));
    assert_eq!(done.header("cache-control"), "no-store");
    assert!(!here.is_signed_in().await && there.is_signed_in().await);
    let token = op.logout_token(Some("sub-of-ann"), None);
    assert_eq!(tell(&stage, &token).await.status, StatusCode::OK);
    assert!(!there.is_signed_in().await && bob.is_signed_in().await);
    assert_eq!(tell(&stage, &token).await.status, StatusCode::BAD_REQUEST, "g10: once");
}

#[tokio::test]
async fn g10_a_forged_logout_token_is_400_in_json_and_ends_nothing() {
    let op = Op::start();
    let stage = stage(&op, |s, _| s.auth.rate_limit = None).await;
    let mut browser = stage.browser();
    browser.sign_in_with("corp", "ann", "").await;
    for mutant in LogoutMutant::ALL {
        let token = op.forged_logout_token(*mutant, Some("sub-of-ann"), None);
        let refused = tell(&stage, &token).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{mutant:?}");
        assert_eq!(refused.header("cache-control"), "no-store");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(refused.json()["error"], "invalid_request");
    }
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn g10_a_logout_token_stands_in_a_form_exactly_once() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    let token = op.logout_token(Some("sub-of-ann"), None);
    let post = || Ask::new(Method::POST, LOGOUT);
    for ask in [
        post(),
        post().form(&[]),
        post().form(&[("logout_token", "")]),
        post().form(&[("logout_token", &*token), ("logout_token", &*token)]),
        post().json(serde_json::json!({ "logout_token": token })),
    ] {
        let refused = stage.send(ask).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.body);
    }
    assert_eq!(stage.get(LOGOUT).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let unknown = Ask::new(Method::POST, "/api/v1/auth/backchannel-logout/nope")
        .form(&[("logout_token", &*token)]);
    assert_eq!(stage.send(unknown).await.code(), "PROVIDER_NOT_CONFIGURED");
    assert_eq!(tell(&stage, &token).await.status, StatusCode::OK, "none of these used it up");
}

#[tokio::test]
async fn a_logout_token_needs_no_origin_and_reads_no_cookie() {
    let op = Op::start();
    let stage = stage(&op, |_, _| {}).await;
    stage.person("bob@example.com", Role::User).await;
    let mut browser = stage.browser_of("bob@example.com").await;
    let token = op.logout_token(Some("sub-of-ann"), None);
    let ask = Ask::new(Method::POST, LOGOUT)
        .header("origin", op.base_url())
        .header("sec-fetch-site", "cross-site")
        .form(&[("logout_token", &*token)]);
    assert_eq!(browser.send(ask).await.status, StatusCode::OK);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn good_logout_tokens_are_free_of_limits_and_bad_ones_are_not() {
    let op = Op::start();
    let stage = stage(&op, |s, _| {
        let window = Duration::from_secs(900);
        s.auth.rate_limit = Some(vestibule_core::api_key::RateLimit { requests: 3, window });
    })
    .await;
    for _ in 0..10 {
        let token = op.logout_token(Some("sub-of-ann"), None);
        assert_eq!(tell(&stage, &token).await.status, StatusCode::OK);
    }
    for _ in 0..3 {
        assert_eq!(tell(&stage, "nonsense").await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!(tell(&stage, "nonsense").await.status, StatusCode::TOO_MANY_REQUESTS);
    let token = op.logout_token(Some("sub-of-ann"), None);
    assert_eq!(tell(&stage, &token).await.status, StatusCode::OK, "a provider is never shut out");
}
