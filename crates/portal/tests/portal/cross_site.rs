//! Requests that another site makes a browser send.

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::Role;

use crate::stage::{Ask, Browser, PASSWORD, PORTAL, Stage};

async fn try_logout(browser: &mut Browser<'_>, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut ask = Ask::new(Method::POST, "/api/v1/auth/logout");
    for (name, value) in headers {
        ask = ask.header(name, value);
    }
    let answer = browser.send(ask).await;
    let code = if answer.body.is_empty() { String::new() } else { answer.code() };
    (answer.status, code)
}

#[tokio::test]
async fn a_state_change_from_elsewhere_is_403_csrf_failed() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    for headers in [
        &[("sec-fetch-site", "cross-site")][..],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("sec-fetch-site", "Same-Origin")],
        &[("sec-fetch-site", "cross-site"), ("origin", PORTAL)],
        &[("origin", "null")],
        &[("origin", "https://app.example.com")],
        &[("origin", "https://auth.example.com.evil.example")],
        &[("origin", "http://auth.example.com")],
        &[("origin", "https://auth.example.com:8443")],
    ] {
        let refused = try_logout(&mut browser, headers).await;
        assert_eq!(refused, (StatusCode::FORBIDDEN, "CSRF_FAILED".to_owned()), "{headers:?}");
    }
    let me = Ask::new(Method::GET, "/api/v1/auth/me").header("sec-fetch-site", "cross-site");
    let me = browser.send(me).await;
    assert_eq!(me.status, StatusCode::OK, "reading is not a state change");
    assert!(me.headers.keys().all(|name| !name.as_str().starts_with("access-control-")));
}

#[tokio::test]
async fn a_state_change_from_the_portal_itself_passes() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    for headers in [&[("sec-fetch-site", "same-origin")][..], &[("origin", PORTAL)], &[][..]] {
        let mut browser = stage.browser_of("ann@example.com").await;
        assert_eq!(
            try_logout(&mut browser, headers).await.0,
            StatusCode::NO_CONTENT,
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn a_form_without_either_header_needs_its_token() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    let login = |csrf: &str| {
        Ask::new(Method::POST, "/login").form(&[
            ("email", "ann@example.com"),
            ("password", PASSWORD),
            ("csrf", csrf),
        ])
    };
    let refused = browser.send(login("")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.code(), "CSRF_FAILED");

    let page = browser.open("/login").await;
    let token = browser.cookie("auth.example.com", "__Host-vestibule-csrf").unwrap();
    assert!(page.body.contains(&format!("name=\"csrf\" value=\"{token}\"")));
    let wrong = browser.send(login(&"x".repeat(token.len()))).await;
    assert_eq!(wrong.code(), "CSRF_FAILED");
    let done = browser.send(login(&token)).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER);
    assert!(
        browser.cookie("auth.example.com", "__Host-vestibule-csrf").is_none(),
        "f1: the form token ends with the sign-in"
    );
}

#[tokio::test]
async fn a_login_from_another_site_is_refused() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD, "cookie": true });
    let ask = Ask::new(Method::POST, "/api/v1/auth/login")
        .header("sec-fetch-site", "cross-site")
        .json(body);
    assert_eq!(stage.send(ask).await.code(), "CSRF_FAILED");
    let form = Ask::new(Method::POST, "/login")
        .header("origin", "https://evil.example")
        .form(&[("email", "ann@example.com"), ("password", PASSWORD)]);
    assert_eq!(stage.send(form).await.code(), "CSRF_FAILED");
}

#[tokio::test]
async fn a_token_or_key_needs_no_proof_of_origin() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let ask = Ask::new(Method::POST, "/api/v1/auth/logout")
        .bearer(&token)
        .header("sec-fetch-site", "cross-site");
    assert_eq!(stage.send(ask).await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn j8_every_answer_has_the_security_headers() {
    let stage = Stage::new().await;
    let paths = [
        "/login",
        "/",
        "/nowhere",
        "/health",
        "/api/v1/nowhere",
        "/api/v1/auth/me",
        "/pending",
        "/login?rd=a&rd=b",
    ];
    for path in paths {
        let answer = stage.browser().open(path).await;
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"));
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert!(answer.header("x-request-id").starts_with("req-"));
        assert!(!answer.body.contains("<script") && !answer.body.contains("style=\""), "{path}");
    }
}

#[tokio::test]
async fn j8_what_people_type_is_escaped() {
    let stage = Stage::new().await;
    let evil = "\"><script>alert(1)</script>";
    let mut browser = stage.browser();
    let again = browser.sign_in(evil, "x", evil).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(!again.body.contains("<script"), "{}", again.body);
    let page = browser.open(&format!("/login?rd={}", crate::stage::encode(evil))).await;
    assert!(!page.body.contains("<script"));
}
