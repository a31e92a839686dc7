//! Modes none and admin, passwords off, sign-up off, a password that must be changed.

use http::{Method, StatusCode};
use serde_json::json;

use vestibule_core::account::Role;
use vestibule_core::secret::Secret;
use vestibule_core::settings::auth::{Admin, FirstUser, Mode};

use crate::stage::{Ask, PASSWORD, Stage};

#[tokio::test]
async fn seed_002_36_config_of_mode_none_has_exactly_the_four_printed_members() {
    let stage = Stage::with(|s| s.auth.mode = Mode::None).await;
    let answer = stage.get("/api/v1/auth/config").await;
    let printed = r#"{"mode":"none","password_auth_enabled":false,"oauth_providers":[],"signup_enabled":false}"#;
    assert_eq!(answer.body, printed);
}

#[tokio::test]
async fn seed_002_49_seed_001_72_mode_none_has_no_401_and_no_sign_in() {
    let stage = Stage::with(|s| s.auth.mode = Mode::None).await;
    let login = stage.browser().open("/login").await;
    assert_eq!((login.status, login.location()), (StatusCode::FOUND, "https://auth.example.com/"));
    let home = stage.browser().open("/").await;
    assert_eq!(home.status, StatusCode::OK);
    assert!(home.body.contains("Sign-in is off"), "seed_001_76");
    let me = stage.get("/api/v1/auth/me").await.json();
    assert_eq!((me["username"].as_str(), me["role"].as_str()), (Some("anonymous"), Some("admin")));
    let document = stage.get("/api/v1/openapi.json").await.json();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let path = path.replace("{id}", "7b0f4a52-9b5e-4a66-9d0c-111111111111");
            let path = path.replace("{provider}", "google");
            let method: Method = method.to_uppercase().parse().unwrap();
            let ask = Ask::new(method, &path).bearer("vst_nonsense").json(json!({}));
            let answer = stage.send(ask).await;
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
            assert!(!answer.body.contains("Authentication required"), "{path}");
        }
    }
    let body = json!({ "email": "a@b.c", "password": PASSWORD });
    assert_eq!(stage.post("/api/v1/auth/login", body).await.code(), "NOT_AVAILABLE");
}

#[tokio::test]
async fn seed_002_68_seed_002_69_health_says_mode_and_version_without_a_credential() {
    for (mode, shown) in [(Mode::None, "None"), (Mode::Full, "Full")] {
        let stage = Stage::with(|s| s.auth.mode = mode).await;
        let answer = stage.get("/health").await;
        let printed = format!(r#"{{"status":"ok","version":"1.2.3","auth_mode":"{shown}"}}"#);
        assert_eq!(answer.json(), serde_json::from_str::<serde_json::Value>(&printed).unwrap());
    }
}

async fn mode_admin() -> Stage {
    Stage::with(|s| {
        s.auth.mode = Mode::Admin;
        s.auth.admin = Some(Admin {
            email: "root@example.com".into(),
            password: Secret::new(PASSWORD),
            is_documented_default: false,
        });
    })
    .await
}

#[tokio::test]
async fn seed_002_37_seed_002_05_mode_admin_signs_in_its_one_account_and_says_so() {
    let stage = mode_admin().await;
    let answer = stage.get("/api/v1/auth/config").await;
    let printed = r#"{"mode":"admin","password_auth_enabled":true,"oauth_providers":[],"signup_enabled":false}"#;
    assert_eq!(answer.body, printed);
    stage.token_of("root@example.com").await;
    let signup = json!({ "email": "x@example.com", "password": PASSWORD });
    let refused = stage.post("/api/v1/auth/signup", signup).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "SIGNUP_DISABLED")
    );
    assert_eq!(stage.get("/health").await.json()["auth_mode"], "Admin");
}

#[tokio::test]
async fn seed_002_06_seed_002_60_other_accounts_are_shut_out_in_mode_admin() {
    let stage = mode_admin().await;
    stage.person("ann@example.com", Role::User).await;
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let refused = stage.post("/api/v1/auth/login", body).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::UNAUTHORIZED, "INVALID_LOGIN")
    );
}

#[tokio::test]
async fn seed_002_23_seed_003_99_sign_up_off_is_403_by_json_and_404_as_a_page() {
    let stage = Stage::with(|s| s.auth.password.signup = false).await;
    let body = json!({ "email": "x@example.com", "password": PASSWORD });
    let refused = stage.post("/api/v1/auth/signup", body).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "SIGNUP_DISABLED")
    );
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["signup_enabled"], false);
    assert_eq!(stage.browser().open("/signup").await.status, StatusCode::NOT_FOUND);
    assert!(!stage.browser().open("/login").await.body.contains("Create account"));
}

#[tokio::test]
async fn seed_000_12_seed_001_14_seed_002_22_seed_002_61_passwords_off_leave_no_form_and_no_sign_in()
 {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut settings = (*stage.authn.settings()).clone();
    settings.auth.password.enabled = false;
    stage.authn.reload(settings.into());
    assert_eq!(stage.get("/api/v1/auth/config").await.json()["password_auth_enabled"], false);
    let page = stage.browser().open("/login").await;
    assert!(!page.body.contains("type=\"password\""));
    let body = json!({ "email": "ann@example.com", "password": PASSWORD });
    let refused = stage.post("/api/v1/auth/login", body.clone()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.code(), "PASSWORD_SIGNIN_DISABLED");
    assert_eq!(refused.json()["title"], "Unauthorized: password sign-in is off");
    assert_eq!(stage.post("/api/v1/auth/signup", body).await.code(), "SIGNUP_DISABLED");
    assert_eq!(stage.browser().open("/signup").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn seed_000_66_seed_000_68_a_documented_password_opens_the_change_page_and_nothing_else() {
    let stage = Stage::with(|s| {
        s.auth.first_user = FirstUser::Account;
        s.auth.admin = Some(Admin {
            email: "admin@example.com".into(),
            password: Secret::new("Admin1234!"),
            is_documented_default: true,
        });
    })
    .await;
    let body = json!({ "email": "admin@example.com", "password": "Admin1234!" });
    let refused = stage.post("/api/v1/auth/login", body).await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (StatusCode::FORBIDDEN, "PASSWORD_CHANGE_REQUIRED")
    );

    let mut browser = stage.browser();
    let answer = browser.sign_in("admin@example.com", "Admin1234!", "").await;
    assert_eq!(answer.location(), "https://auth.example.com/settings?change=password");
    for page in [
        "/",
        "/api-keys",
        "/handoff?host=app.example.com&state=0123456789012345678901234567890123456789012",
    ] {
        assert_eq!(
            browser.open(page).await.location(),
            "https://auth.example.com/settings?change=password",
            "{page}"
        );
    }
    let key = Ask::new(Method::POST, "/api/v1/auth/api-keys")
        .header("sec-fetch-site", "same-origin")
        .json(json!({ "name": "x" }));
    assert_eq!(browser.send(key).await.code(), "PASSWORD_CHANGE_REQUIRED");

    let page = browser.open("/settings").await;
    assert!(page.body.contains("Choose your own"));
    let fields =
        [("current", "Admin1234!"), ("new", "a-new-password-2"), ("again", "a-new-password-2")];
    let changed = browser.submit("/settings/password", &fields).await;
    assert_eq!(
        (changed.status, changed.location()),
        (StatusCode::SEE_OTHER, "https://auth.example.com/")
    );
    assert_eq!(browser.open("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn n_what_was_forwarded_is_never_the_built_in_administrator() {
    let mut stage = Stage::with(|s| s.auth.mode = Mode::None).await;
    stage.peer_is_local = false;
    for path in ["/api/v1/auth/me", "/api/v1/admin/users", "/health/database"] {
        let refused = stage.get(path).await;
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (StatusCode::FORBIDDEN, "BYPASS_REFUSED")
        );
    }
    assert_eq!(stage.browser().open("/").await.status, StatusCode::FORBIDDEN);
    assert_eq!(stage.get("/health").await.status, StatusCode::OK);
}
