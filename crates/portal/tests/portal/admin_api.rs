//! Administration by JSON.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use vestibule_core::account::Role;

use crate::stage::{Answer, Ask, PASSWORD, PORTAL, Stage};

async fn call(stage: &Stage, method: Method, path: &str, token: &str, body: Value) -> Answer {
    let ask = Ask::new(method, &format!("/api/v1/admin{path}")).bearer(token);
    stage.send(if body.is_null() { ask } else { ask.json(body) }).await
}

#[tokio::test]
async fn j2_only_administrators_administer() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let id = "7b0f4a52-9b5e-4a66-9d0c-111111111111";
    for (method, path) in [
        (Method::GET, "/users".to_owned()),
        (Method::POST, "/users".to_owned()),
        (Method::GET, format!("/users/{id}")),
        (Method::PATCH, format!("/users/{id}")),
        (Method::DELETE, format!("/users/{id}")),
        (Method::POST, format!("/users/{id}/sign-out")),
        (Method::GET, "/sessions".to_owned()),
        (Method::DELETE, format!("/sessions/{id}")),
        (Method::GET, "/api-keys".to_owned()),
        (Method::DELETE, format!("/api-keys/{id}")),
        (Method::GET, "/audit".to_owned()),
        (Method::GET, "/routes".to_owned()),
    ] {
        let refused =
            call(&stage, method.clone(), &path, &token, json!({ "email": "x@y.z" })).await;
        let body = refused.body.clone();
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{method} {path}: {body}");
    }
}

#[tokio::test]
async fn seed_001_42_seed_001_46_an_administrator_makes_changes_and_deletes_accounts() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let root = stage.token_of("root@example.com").await;
    let wish = json!({ "email": "New@Example.com", "name": "New", "password": PASSWORD, "groups": ["staff"], "status": "pending" });
    let made = call(&stage, Method::POST, "/users", &root, wish).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let user = made.json();
    assert_eq!(
        (user["email"].as_str(), user["status"].as_str()),
        (Some("new@example.com"), Some("pending"))
    );
    assert_eq!(user["email_verified"], true);
    assert!(!made.body.contains("argon2"));
    let path = format!("/users/{}", user["id"].as_str().unwrap());
    for status in ["active", "rejected", "disabled", "pending", "active"] {
        let changed = call(&stage, Method::PATCH, &path, &root, json!({ "status": status })).await;
        assert_eq!(changed.json()["status"], status, "{}", changed.body);
    }
    let changed =
        call(&stage, Method::PATCH, &path, &root, json!({ "groups": ["b", "a"], "role": "admin" }))
            .await;
    assert_eq!(
        (&changed.json()["groups"], &changed.json()["role"]),
        (&json!(["a", "b"]), &json!("admin"))
    );
    let unknown =
        call(&stage, Method::PATCH, &path, &root, json!({ "email_verified": true })).await;
    assert_eq!(unknown.status, StatusCode::BAD_REQUEST, "h6");
    let twice = json!({ "email": "new@example.com", "password": PASSWORD });
    assert_eq!(
        call(&stage, Method::POST, "/users", &root, twice).await.status,
        StatusCode::CONFLICT
    );
    let list = call(&stage, Method::GET, "/users", &root, Value::Null).await;
    assert_eq!(list.json().as_array().unwrap().len(), 2);
    assert_eq!(
        call(&stage, Method::DELETE, &path, &root, Value::Null).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        call(&stage, Method::GET, &path, &root, Value::Null).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn seed_001_54_administrators_are_active_and_the_last_one_stays() {
    let stage = Stage::new().await;
    let account = stage.person("root@example.com", Role::Admin).await;
    let root = stage.token_of("root@example.com").await;
    let path = format!("/users/{}", account.id);
    let code = |method: Method, body: Value| {
        let (stage, path, root) = (&stage, path.clone(), root.clone());
        async move {
            let answer = call(stage, method, &path, &root, body).await;
            (answer.status, answer.code())
        }
    };
    let always = (StatusCode::CONFLICT, "ADMIN_ALWAYS_ACTIVE".to_owned());
    assert_eq!(code(Method::PATCH, json!({ "status": "pending" })).await, always);
    let last = (StatusCode::CONFLICT, "LAST_ADMIN".to_owned());
    assert_eq!(code(Method::PATCH, json!({ "role": "user" })).await, last);
    assert_eq!(code(Method::DELETE, Value::Null).await, last);
}

#[tokio::test]
async fn seed_002_46_signing_somebody_out_ends_cookie_access_and_refresh_token_at_once() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let ann = stage.person("ann@example.com", Role::User).await;
    let root = stage.token_of("root@example.com").await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let tokens = stage.post("/api/v1/auth/login", body).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let mut browser = stage.browser_of("ann@example.com").await;
    assert_eq!(browser.open("/").await.status, StatusCode::OK);
    let path = format!("/users/{}/sign-out", ann.id);
    assert_eq!(
        call(&stage, Method::POST, &path, &root, Value::Null).await.status,
        StatusCode::NO_CONTENT
    );
    let me = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(access)).await;
    assert_eq!(me.status, StatusCode::UNAUTHORIZED);
    let refresh = stage
        .post("/api/v1/auth/refresh", json!({ "refresh_token": tokens["refresh_token"] }))
        .await;
    assert_eq!(refresh.status, StatusCode::UNAUTHORIZED);
    assert_eq!(browser.open("/").await.location(), format!("{PORTAL}/login"));
}

#[tokio::test]
async fn sessions_keys_audit_and_routes_are_listed() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let root = stage.token_of("root@example.com").await;
    let sessions = call(&stage, Method::GET, "/sessions", &root, Value::Null).await.json();
    assert_eq!(
        (sessions[0]["kind"].as_str(), sessions[0]["current"].as_bool()),
        (Some("token"), Some(true))
    );
    let routes = call(&stage, Method::GET, "/routes", &root, Value::Null).await.json();
    assert_eq!(
        (&routes[0]["name"], &routes[0]["hosts"]),
        (&json!("files"), &json!(["app.example.com"]))
    );
    assert_eq!(call(&stage, Method::GET, "/api-keys", &root, Value::Null).await.json(), json!([]));
    let audit = call(&stage, Method::GET, "/audit", &root, Value::Null).await;
    assert_eq!(audit.status, StatusCode::OK);
    assert!(audit.json().is_array());
    for bad in [
        "/audit?before=x",
        "/audit?limit=-1",
        "/users?after=x",
        "/users?limit=0",
        "/users?limit=5&limit=6",
    ] {
        assert_eq!(
            call(&stage, Method::GET, bad, &root, Value::Null).await.status,
            StatusCode::BAD_REQUEST,
            "j9 {bad}"
        );
    }
}

#[tokio::test]
async fn on_a_shared_host_administration_by_cookie_asks_for_a_recent_sign_in() {
    let stage = Stage::with(|s| {
        let access = crate::configuration::signed_in();
        s.routes.push(crate::configuration::route("home", "auth.example.com", access));
    })
    .await;
    stage.person("root@example.com", Role::Admin).await;
    let mut browser = stage.browser_of("root@example.com").await;
    let users = || Ask::new(Method::GET, "/api/v1/admin/users");
    assert_eq!(browser.send(users()).await.status, StatusCode::OK);
    stage.pass_time(std::time::Duration::from_secs(301));
    let refused = browser.send(users()).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::UNAUTHORIZED, "STEP_UP_REQUIRED")
    );
    assert!(
        refused.json()["login_url"].as_str().unwrap().ends_with("/.vestibule/login?step=reauth")
    );
    let page = browser.open("/.vestibule/login?step=reauth").await;
    assert!(page.body.contains("Confirm it is you"));
    let again =
        browser.submit("/.vestibule/login", &[("step", "reauth"), ("password", PASSWORD)]).await;
    assert_eq!(again.status, StatusCode::SEE_OTHER, "{}", again.body);
    assert_eq!(browser.send(users()).await.status, StatusCode::OK);
}
