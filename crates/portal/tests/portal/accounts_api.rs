//! `config`, `login`, `refresh`, `logout`, `me`, `signup`, `password/change`.

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::{Role, Status};

use crate::stage::{Ask, PASSWORD, Stage};

#[tokio::test]
async fn seed_000_09_seed_000_11_seed_002_35_config_needs_no_credential_and_offers_passwords() {
    let stage = Stage::new().await;
    let answer = stage.get("/api/v1/auth/config").await;
    assert_eq!(answer.status, StatusCode::OK);
    let config = answer.json();
    assert_eq!(config["mode"], "full");
    assert_eq!(config["password_auth_enabled"], true);
    assert_eq!(config["oauth_providers"], json!([]));
    assert_eq!(config["signup_enabled"], true);
    let names: Vec<_> = config.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 7, "{names:?}");
}

#[tokio::test]
async fn seed_000_10_seed_002_38_seed_002_39_seed_002_40_login_by_curl_answers_tokens() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let answer = stage.post("/api/v1/auth/login", body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let tokens = answer.json();
    assert_eq!(tokens["access_token"].as_str().unwrap().split('.').count(), 3);
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 900);
    assert!(tokens["refresh_token"].is_string());
    assert!(answer.set_cookies().is_empty());
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn seed_001_12_seed_001_13_seed_002_59_seed_002_62_wrong_and_unknown_are_answered_alike() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut answers = Vec::new();
    for (email, password) in
        [("ann@example.com", "wrong-password-1"), ("nobody@example.com", "wrong-password-1")]
    {
        let body = json!({ "email": email, "password": password });
        let answer = stage.post("/api/v1/auth/login", body).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let mut problem = answer.json();
        assert_eq!(problem["title"], "Invalid email or password");
        assert_eq!(problem["code"], "INVALID_LOGIN");
        assert_eq!(problem["status"], 401);
        assert!(problem["type"].is_string());
        problem.as_object_mut().unwrap().remove("request_id").unwrap();
        let names: Vec<_> = answer.headers.keys().map(ToString::to_string).collect();
        answers.push((problem, names));
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn seed_001_05_a_name_instead_of_an_email_does_not_sign_in() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann", "password": PASSWORD });
    assert_eq!(stage.post("/api/v1/auth/login", body).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn me_answers_the_account_and_takes_a_new_name_only() {
    let stage = Stage::new().await;
    let account = stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let me = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(&token)).await;
    assert_eq!(me.status, StatusCode::OK, "{}", me.body);
    let user = me.json();
    assert_eq!(user["id"], account.id.to_string());
    assert_eq!(user["email"], "ann@example.com");
    assert_eq!(user["role"], "user");
    assert_eq!(user["status"], "active");
    assert_eq!(user["created_at"], "2027-01-15T08:00:00Z");
    let names: Vec<_> = user.as_object().unwrap().keys().cloned().collect();
    for name in ["username", "email_verified", "name", "groups"] {
        assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
    }
    let patch = |body| Ask::new(Method::PATCH, "/api/v1/auth/me").bearer(&token).json(body);
    let changed = stage.send(patch(json!({ "name": "  Ann B. " }))).await;
    assert_eq!(changed.json()["name"], "Ann B.");
    for (field, value) in [
        ("role", json!("admin")),
        ("status", json!("active")),
        ("email", json!("x@y.z")),
        ("email_verified", json!(true)),
    ] {
        let refused = stage.send(patch(json!({ "name": "x", field: value }))).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "j2 {field}");
        assert_eq!(refused.code(), "INVALID_BODY");
    }
}

#[tokio::test]
async fn j2_seed_001_09_seed_001_10_seed_000_13_sign_up_takes_8_to_200_characters_and_no_role() {
    let stage = Stage::new().await;
    stage.person("admin@example.com", Role::Admin).await;
    let sign_up = |n: usize, password: String| {
        let email = format!("p{n}@example.com");
        stage.post("/api/v1/auth/signup", json!({ "email": email, "password": password }))
    };
    let long = |n: usize| "xq7-Zebra!".chars().cycle().take(n).collect::<String>();
    for (n, length) in [(1, 8), (2, 200)] {
        let made = sign_up(n, long(length)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{length}: {}", made.body);
        assert_eq!(made.json()["user"]["role"], "user");
        assert_eq!(made.json()["user"]["status"], "active");
    }
    for (n, length) in [(3, 7), (4, 201)] {
        let refused = sign_up(n, long(length)).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{length}");
        assert_eq!(refused.code(), "PASSWORD_LENGTH");
        let title = refused.json()["title"].as_str().unwrap().to_owned();
        assert!(title.contains('8') && title.contains("200"), "{title}");
    }
    let body = json!({ "email": "eve@example.com", "password": PASSWORD, "role": "admin" });
    assert_eq!(stage.post("/api/v1/auth/signup", body).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn seed_001_41_seed_001_43_seed_001_49_a_new_account_waits_and_may_only_ask_who_it_is() {
    let stage = Stage::with(|s| s.auth.approval = true).await;
    stage.person("admin@example.com", Role::Admin).await;
    let body = json!({ "email": "new@example.com", "password": PASSWORD });
    let made = stage.post("/api/v1/auth/signup", body).await;
    assert_eq!(made.json()["user"]["status"], "pending", "{}", made.body);
    let token = stage.token_of("new@example.com").await;
    let ask = |method, path| stage.send(Ask::new(method, path).bearer(&token));
    let me = ask(Method::GET, "/api/v1/auth/me").await;
    assert_eq!((me.status, me.json()["status"].as_str()), (StatusCode::OK, Some("pending")));
    for (method, path) in [
        (Method::GET, "/api/v1/auth/sessions"),
        (Method::GET, "/api/v1/auth/api-keys"),
        (Method::DELETE, "/api/v1/auth/sessions"),
    ] {
        let refused = ask(method, path).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (StatusCode::FORBIDDEN, "ACCOUNT_PENDING")
        );
    }
    assert_eq!(ask(Method::POST, "/api/v1/auth/logout").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn seed_001_48_a_rejected_account_signs_in_and_stays_rejected() {
    let stage = Stage::new().await;
    stage.account("no@example.com", Role::User, Status::Rejected).await;
    let token = stage.token_of("no@example.com").await;
    let me = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(&token)).await;
    assert_eq!(me.json()["status"], "rejected");
    let keys = stage.send(Ask::new(Method::GET, "/api/v1/auth/api-keys").bearer(&token)).await;
    assert_eq!(keys.code(), "ACCOUNT_REJECTED");
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_second_use_ends_the_family() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let first = stage.post("/api/v1/auth/login", body).await.json();
    let refresh = |token: &serde_json::Value| {
        stage.post("/api/v1/auth/refresh", json!({ "refresh_token": token }))
    };
    let second = refresh(&first["refresh_token"]).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.body);
    let again = refresh(&first["refresh_token"]).await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    let successor = refresh(&second.json()["refresh_token"]).await;
    assert_eq!(successor.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn f2_logout_ends_the_token_at_once() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let out = stage.send(Ask::new(Method::POST, "/api/v1/auth/logout").bearer(&token)).await;
    assert_eq!(out.status, StatusCode::NO_CONTENT);
    let me = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(&token)).await;
    assert_eq!((me.status, me.code().as_str()), (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIAL"));
}

#[tokio::test]
async fn seed_000_14_password_change_wants_the_current_one_and_the_rules() {
    let stage = Stage::with(|s| s.auth.password.min_length = 12).await;
    stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        stage.send(Ask::new(Method::POST, "/api/v1/auth/password/change").bearer(&token).json(body))
    };
    assert_eq!(change("wrong-password-1", "a-new-password-2").await.code(), "INVALID_LOGIN");
    assert_eq!(change(PASSWORD, "elevenchars").await.code(), "PASSWORD_LENGTH");
    let changed = change(PASSWORD, "a-new-password-2").await;
    assert_eq!(changed.status, StatusCode::NO_CONTENT, "{}", changed.body);
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    assert_eq!(stage.post("/api/v1/auth/login", body).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn seed_000_30_seed_004_45_absent_flows_are_404_with_their_code() {
    let stage = Stage::new().await;
    for path in [
        "password/forgot",
        "password/reset",
        "email/verify",
        "email/resend",
        "totp/enroll",
        "passkeys/login/start",
    ] {
        let answer = stage.post(&format!("/api/v1/auth/{path}"), json!({})).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "NOT_AVAILABLE"),
            "{path}"
        );
    }
    assert_eq!(stage.get("/forgot-password").await.status, StatusCode::NOT_FOUND);
    for path in [
        "/api/v1/auth/login/authentik",
        "/api/v1/auth/callback/x",
        "/v1/auth/callback/x",
        "/api/auth/oidc/x/callback",
        "/api/v1/auth/oauth/x/callback",
    ] {
        let answer = stage.get(path).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (StatusCode::NOT_FOUND, "PROVIDER_NOT_CONFIGURED"),
            "{path}"
        );
        assert_eq!(answer.json()["title"], "OAuth provider not configured");
        let page = stage.browser().open(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND);
        assert!(page.body.contains("<h1>OAuth provider not configured</h1>"));
    }
}

#[tokio::test]
async fn j1_every_protected_operation_asks_for_a_credential() {
    let stage = Stage::new().await;
    let document = stage.get("/api/v1/openapi.json").await.json();
    let mut tried = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation["security"].as_array().is_some_and(Vec::is_empty) {
                continue;
            }
            let path = path.replace("{id}", "7b0f4a52-9b5e-4a66-9d0c-111111111111");
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = stage.send(Ask::new(method.clone(), &path)).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {}", answer.body);
            assert_eq!(answer.code(), "UNAUTHENTICATED");
            assert_eq!(answer.json()["title"], "Authentication required", "seed_002_48");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(answer.json()["login_url"].as_str().unwrap().ends_with("/login"));
            tried += 1;
        }
    }
    assert!(tried > 20);
}

#[tokio::test]
async fn bodies_are_small_json_and_nothing_else() {
    let stage = Stage::new().await;
    let login = || Ask::new(Method::POST, "/api/v1/auth/login");
    let form = stage.send(login().form(&[("email", "a"), ("password", "b")])).await;
    assert_eq!(form.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let big = json!({ "email": "x".repeat(70_000), "password": "b" });
    assert_eq!(stage.send(login().json(big)).await.status, StatusCode::PAYLOAD_TOO_LARGE);
    let mut broken = login().json(json!(null));
    broken.body = "{".to_owned();
    let broken = stage.send(broken).await;
    assert_eq!((broken.status, broken.code().as_str()), (StatusCode::BAD_REQUEST, "INVALID_BODY"));
}

#[tokio::test]
async fn f3_a_disabled_account_does_not_sign_in_and_its_token_is_refused() {
    let stage = Stage::new().await;
    let account = stage.person("ann@example.com", Role::User).await;
    let token = stage.token_of("ann@example.com").await;
    let (actor, now) = (stage.actor(), stage.now());
    stage.authn.set_status(account.id, Status::Disabled, &actor, now).await.unwrap();
    let me = stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(&token)).await;
    assert!(matches!(me.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), "{}", me.body);
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let login = stage.post("/api/v1/auth/login", body).await;
    assert_eq!((login.status, login.code().as_str()), (StatusCode::UNAUTHORIZED, "INVALID_LOGIN"));
}

#[tokio::test]
async fn seed_001_55_seed_000_18_the_first_to_sign_up_becomes_administrator_and_signs_in_at_once() {
    let stage = Stage::with(|s| {
        s.auth.first_user = vestibule_core::settings::auth::FirstUser::Admin;
        s.auth.approval = true;
    })
    .await;
    for (email, role, status) in
        [("first@example.com", "admin", "active"), ("second@example.com", "user", "pending")]
    {
        let body = json!({ "email": email, "password": PASSWORD });
        let made = stage.post("/api/v1/auth/signup", body).await.json();
        assert_eq!(
            (&made["user"]["role"], &made["user"]["status"]),
            (&json!(role), &json!(status))
        );
        stage.token_of(email).await;
    }
}

#[tokio::test]
async fn seed_002_20_seed_002_53_seed_002_75_an_access_token_ends_when_it_says() {
    let stage = Stage::with(|s| s.auth.access_lifetime = std::time::Duration::from_secs(60)).await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let tokens = stage.post("/api/v1/auth/login", body).await.json();
    assert_eq!(tokens["expires_in"], 60);
    let access = tokens["access_token"].as_str().unwrap();
    let me = || stage.send(Ask::new(Method::GET, "/api/v1/auth/me").bearer(access));
    assert_eq!(me().await.status, StatusCode::OK);
    stage.pass_time(std::time::Duration::from_secs(61));
    let over = me().await;
    assert_eq!(
        (over.status, over.code().as_str()),
        (StatusCode::UNAUTHORIZED, "INVALID_CREDENTIAL")
    );
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    let ask = Ask::new(Method::POST, "/api/v1/auth/refresh").bearer(access).json(body);
    assert_eq!(stage.send(ask).await.status, StatusCode::OK, "also beside the spent token");
}

#[tokio::test]
async fn seed_002_21_a_refresh_token_ends_when_it_says() {
    let stage = Stage::with(|s| s.auth.refresh_lifetime = std::time::Duration::from_secs(5)).await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let tokens = stage.post("/api/v1/auth/login", body).await.json();
    stage.pass_time(std::time::Duration::from_secs(6));
    let body = json!({ "refresh_token": tokens["refresh_token"] });
    assert_eq!(stage.post("/api/v1/auth/refresh", body).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn seed_002_57_the_api_is_also_under_api_prefix() {
    let stage = Stage::with(|s| s.server.api_prefix = "/gate".to_owned()).await;
    assert_eq!(stage.get("/gate/v1/auth/config").await.json()["mode"], "full");
    assert_eq!(stage.get("/gate/v1/auth/callback/x").await.code(), "PROVIDER_NOT_CONFIGURED");
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["mode"], "full");
}
