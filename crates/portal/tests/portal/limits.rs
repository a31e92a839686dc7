//! Limits of the authentication endpoints.

use std::net::{IpAddr, Ipv4Addr};

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::Role;

use crate::stage::{Ask, Stage};

#[tokio::test]
async fn seed_000_70_seed_000_71_the_101st_request_of_a_client_is_429_over_all_endpoints() {
    let stage = Stage::new().await;
    for n in 0..100 {
        let answer = match n % 3 {
            0 => stage.post("/api/v1/auth/refresh", json!({ "refresh_token": "x" })).await,
            1 => stage.post("/api/v1/auth/password/reset", json!({})).await,
            _ => stage.get("/api/v1/auth/callback/x").await,
        };
        assert_ne!(answer.status, StatusCode::TOO_MANY_REQUESTS, "{n}");
    }
    let body = json!({ "email": "a@example.com", "password": "b" });
    let over = stage.post("/api/v1/auth/login", body.clone()).await;
    assert_eq!(
        (over.status, over.code().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED")
    );
    let wait: u64 = over.header("retry-after").parse().unwrap();
    assert!((1..=900).contains(&wait), "{wait}");
    assert_eq!(over.header("ratelimit-policy"), "\"auth-client\";q=100;w=900");
    assert_eq!(over.header("ratelimit"), format!("\"auth-client\";r=0;t={wait}"));
    let page = stage.browser().sign_in("a@example.com", "b", "").await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(page.body.contains("Too many attempts"));

    let mut other = Ask::new(Method::POST, "/api/v1/auth/login").json(body);
    other.client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
    assert_eq!(stage.send(other).await.status, StatusCode::UNAUTHORIZED);
    for free in ["/api/v1/auth/config", "/login", "/health"] {
        assert_eq!(stage.get(free).await.status, StatusCode::OK, "{free}");
    }
}

#[tokio::test]
async fn seed_000_72_without_a_limit_nothing_is_429() {
    let stage = Stage::with(|s| s.auth.rate_limit = None).await;
    for _ in 0..150 {
        let body = json!({ "refresh_token": "x" });
        let answer = stage.post("/api/v1/auth/refresh", body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn seed_000_61_seed_000_62_a_new_key_carries_its_own_limit() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let body = json!({ "name": "small", "rate_limit": { "requests": 5, "window": "60s" } });
    let made =
        stage.send(Ask::new(Method::POST, "/api/v1/auth/api-keys").bearer(&token).json(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    assert_eq!(made.json()["rate_limit"], json!({ "requests": 5, "window": "60s" }));
}
