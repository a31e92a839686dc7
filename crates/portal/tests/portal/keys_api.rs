//! API keys by JSON: one's own, by token and by key, under both spellings of the paths.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use vestibule_core::account::Role;

use crate::stage::{Answer, Ask, PASSWORD, Stage};

async fn call(
    stage: &Stage,
    method: Method,
    path: &str,
    credential: &str,
    body: Option<Value>,
) -> Answer {
    let ask = Ask::new(method, path).bearer(credential);
    stage
        .send(match body {
            Some(body) => ask.json(body),
            None => ask,
        })
        .await
}

async fn key_of(stage: &Stage, token: &str, body: Value) -> Value {
    let made = call(stage, Method::POST, "/api/v1/auth/api-keys", token, Some(body)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.json()
}

#[tokio::test]
async fn seed_002_42_seed_002_43_seed_000_59_a_key_is_made_with_a_name_and_shown_once() {
    let stage = Stage::with(|s| s.api_keys.prefix = "pen".into()).await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let key = key_of(&stage, &token, json!({ "name": "My key" })).await;
    let text = key["key"].as_str().unwrap().to_owned();
    assert!(text.starts_with("pen_") && text.len() == 4 + 43, "{text}");
    assert_eq!(key["name"], "My key");
    assert_eq!(key["enabled"], true);
    let list = call(&stage, Method::GET, "/api/v1/auth/api-keys", &token, None).await;
    assert_eq!(list.json()[0]["id"], key["id"]);
    assert!(!list.body.contains(&text) && list.json()[0].get("key").is_none());
    let path = format!("/api/v1/auth/api-keys/{}", key["id"].as_str().unwrap());
    let patched =
        call(&stage, Method::PATCH, &path, &token, Some(json!({ "name": "Other" }))).await;
    assert_eq!((patched.status, patched.json()["name"].as_str()), (StatusCode::OK, Some("Other")));
    assert!(!patched.body.contains(&text));
}

#[tokio::test]
async fn seed_002_44_seed_002_45_a_key_is_revoked_by_its_owner_only() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    stage.person("bob@example.com", Role::User).await;
    let (ann, bob) =
        (stage.token_of("ann@example.com").await, stage.token_of("bob@example.com").await);
    let key = key_of(&stage, &ann, json!({ "name": "k" })).await;
    let path = format!("/api/v1/auth/api-keys/{}", key["id"].as_str().unwrap());
    let text = key["key"].as_str().unwrap();
    for method in [Method::DELETE, Method::PATCH] {
        let foreign = call(&stage, method, &path, &bob, Some(json!({}))).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(
        call(&stage, Method::DELETE, &path, &ann, None).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(call(&stage, Method::DELETE, &path, &ann, None).await.status, StatusCode::NOT_FOUND);
    let dead = call(&stage, Method::GET, "/api/v1/auth/me", text, None).await;
    assert_eq!(
        (dead.status, dead.code().as_str()),
        (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIAL")
    );
    let nonsense = call(&stage, Method::DELETE, "/api/v1/auth/api-keys/nonsense", &ann, None).await;
    assert_eq!(nonsense.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn seed_003_42_seed_003_43_seed_003_44_seed_003_45_seed_003_64_the_short_paths_take_a_key() {
    let stage = Stage::with(|s| s.api_keys.prefix = "sk".into()).await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let own = key_of(&stage, &token, json!({ "name": "first" })).await;
    let own = own["key"].as_str().unwrap();
    let printed = json!({ "name": "My Key", "expiresIn": 31_536_000 });
    let made = call(&stage, Method::POST, "/api-keys/create", own, Some(printed)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let key = made.json();
    assert!(key["key"].as_str().unwrap().starts_with("sk_"), "seed_003_26");
    assert_eq!(key["expires_at"], "2028-01-15T08:00:00Z");
    let list = call(&stage, Method::GET, "/api-keys/list", own, None).await;
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    let path = format!("/api-keys/{}", key["id"].as_str().unwrap());
    let made = key["key"].as_str().unwrap();
    let off = call(&stage, Method::PATCH, &path, own, Some(json!({ "enabled": false }))).await;
    assert_eq!(off.json()["enabled"], false);
    let me = |key| call(&stage, Method::GET, "/api/v1/auth/me", key, None);
    assert_eq!(me(made).await.status, StatusCode::UNAUTHORIZED, "seed_003_75");
    call(&stage, Method::PATCH, &path, own, Some(json!({ "enabled": true }))).await;
    assert_eq!(me(made).await.status, StatusCode::OK);
    assert_eq!(call(&stage, Method::DELETE, &path, own, None).await.status, StatusCode::NO_CONTENT);
    assert_eq!(me(made).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn seed_003_46_the_short_paths_without_a_key_are_401() {
    let stage = Stage::new().await;
    let id = "/api-keys/7b0f4a52-9b5e-4a66-9d0c-111111111111";
    for (method, path) in [
        (Method::POST, "/api-keys/create"),
        (Method::GET, "/api-keys/list"),
        (Method::DELETE, id),
        (Method::PATCH, id),
    ] {
        let ask = Ask::new(method.clone(), path).json(json!({ "name": "x" }));
        assert_eq!(stage.send(ask).await.status, StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}

#[tokio::test]
async fn a_narrowed_key_makes_no_wider_one_and_does_nothing_else_at_the_portal() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let token = stage.token_of("root@example.com").await;
    let wish =
        json!({ "name": "narrow", "scopes": ["keys", "route:files:GET"], "expires_in": 3600 });
    let key = key_of(&stage, &token, wish).await;
    assert_eq!(key["scopes"], json!(["keys", "route:files:GET"]));
    let key = key["key"].as_str().unwrap();
    for wider in [
        json!({ "name": "w", "scopes": ["admin"] }),
        json!({ "name": "w", "scopes": ["keys"], "expires_in": 7200 }),
    ] {
        let refused = call(&stage, Method::POST, "/api/v1/auth/api-keys", key, Some(wider)).await;
        assert_eq!((refused.status, refused.code().as_str()), (StatusCode::FORBIDDEN, "FORBIDDEN"));
    }
    for path in ["/api/v1/auth/sessions", "/api/v1/admin/users", "/health/database"] {
        let refused = call(&stage, Method::GET, path, key, None).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
    }
    let body = json!({ "current_password": PASSWORD, "new_password": "a-new-password-2" });
    let whole = key_of(&stage, &token, json!({ "name": "whole" })).await;
    for key in [key, whole["key"].as_str().unwrap()] {
        let refused =
            call(&stage, Method::POST, "/api/v1/auth/password/change", key, Some(body.clone()))
                .await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "a key never changes a password");
    }
}

#[tokio::test]
async fn seed_003_30_the_state_of_the_store_is_for_administrators() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    stage.person("ann@example.com", Role::User).await;
    assert_eq!(stage.get("/health/database").await.status, StatusCode::UNAUTHORIZED);
    let ann = stage.token_of("ann@example.com").await;
    assert_eq!(
        call(&stage, Method::GET, "/health/database", &ann, None).await.status,
        StatusCode::FORBIDDEN
    );
    let root = stage.token_of("root@example.com").await;
    for wish in [json!({ "name": "all" }), json!({ "name": "admin", "scopes": ["admin"] })] {
        let key = key_of(&stage, &root, wish).await;
        let answer =
            call(&stage, Method::GET, "/health/database", key["key"].as_str().unwrap(), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        for name in ["engine", "schema_version", "mode", "integrity", "size", "last_backup"] {
            assert!(answer.json().get(name).is_some(), "seed_003_98 {name}");
        }
    }
}

#[tokio::test]
async fn j2_unknown_members_and_values_are_refused() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    for body in [
        json!({ "name": "x", "userId": "7b0f4a52-9b5e-4a66-9d0c-111111111111" }),
        json!({ "name": "x", "expires_in": 0 }),
        json!({ "name": "x", "expires_in": -5 }),
        json!({ "name": "x", "scopes": ["everything"] }),
        json!({ "name": "" }),
        json!({ "name": "y".repeat(101) }),
        json!({ "name": "x", "rate_limit": { "requests": 0, "window": 60 } }),
        json!({ "name": "x", "rate_limit": { "requests": 1, "window": "soon" } }),
    ] {
        let refused =
            call(&stage, Method::POST, "/api/v1/auth/api-keys", &token, Some(body.clone())).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{body}: {}", refused.body);
    }
}

#[tokio::test]
async fn seed_003_73_seed_003_76_a_key_that_is_over_is_refused_and_shown_as_such() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let key = key_of(&stage, &token, json!({ "name": "short", "expires_in": 1 })).await;
    let key = key["key"].as_str().unwrap();
    assert_eq!(
        call(&stage, Method::GET, "/api/v1/auth/me", key, None).await.status,
        StatusCode::OK
    );
    stage.pass_time(std::time::Duration::from_secs(2));
    let over = call(&stage, Method::GET, "/api/v1/auth/me", key, None).await;
    assert_eq!(over.status, StatusCode::UNAUTHORIZED);
    let page = stage.browser_of("ann@example.com").await.open("/api-keys").await;
    assert!(page.body.contains("Expired"));
}
