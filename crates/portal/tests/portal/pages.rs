//! Pages for people.

use http::{Method, StatusCode};

use vestibule_core::account::Role;

use crate::stage::{Ask, PASSWORD, PORTAL, Stage};

#[tokio::test]
async fn seed_001_08_the_sign_in_page_says_sign_in_and_create_account() {
    let stage = Stage::new().await;
    let page = stage.browser().open("/login").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("<h1>Sign in</h1>") && page.body.contains("Create account"));
    assert!(page.body.contains("href=\"/signup\""));
    assert!(page.body.contains("autocomplete=\"current-password\""));
    assert!(!page.body.contains("forgot"), "seed_000_30: no link to what is not there");
}

#[tokio::test]
async fn seed_001_12_the_form_comes_back_with_what_was_wrong() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let again = stage
        .browser()
        .sign_in("ann@example.com", "wrong-password", "https://app.example.com/x")
        .await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    assert!(again.body.contains("Invalid email or password"));
    assert!(
        again.body.contains("value=\"ann@example.com\"") && !again.body.contains("wrong-password")
    );
    assert!(again.body.contains("name=\"rd\" value=\"https://app.example.com/x\""));
}

#[tokio::test]
async fn the_launcher_lists_the_apps_this_person_may_open() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    stage.person("ann@example.com", Role::User).await;
    let ann = stage.browser_of("ann@example.com").await.open("/").await;
    assert!(ann.body.contains("https://app.example.com/") && ann.body.contains("wiki"));
    assert!(!ann.body.contains("console.example.com"));
    let root = stage.browser_of("root@example.com").await.open("/").await;
    assert!(root.body.contains("https://console.example.com/"));
}

#[tokio::test]
async fn seed_004_15_nobody_is_sent_to_the_sign_in_page_and_comes_back_to_where_they_were() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser();
    assert_eq!(browser.open("/").await.location(), "https://auth.example.com/login");
    let away = browser.open("/api-keys").await;
    assert_eq!(away.status, StatusCode::FOUND);
    assert_eq!(
        away.location(),
        "https://auth.example.com/login?rd=https%3A%2F%2Fauth.example.com%2Fapi-keys"
    );
    let back =
        browser.sign_in("ann@example.com", PASSWORD, "https://auth.example.com/api-keys").await;
    assert_eq!(back.location(), "https://auth.example.com/api-keys");
    assert_eq!(browser.open("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn seed_003_21_seed_003_23_seed_003_24_set_up_makes_one_administrator_and_closes() {
    let stage = Stage::new().await;
    let mut browser = stage.browser();
    let asked = browser.open("/setup").await;
    assert_eq!(asked.status, StatusCode::OK);
    assert!(asked.body.contains("Setup token") && !asked.body.contains("new-password"));
    assert!(browser.open("/login").await.body.contains("Set up the first administrator"));

    let fields = |token: &'static str| {
        [("token", token), ("email", "root@example.com"), ("name", "Root"), ("password", PASSWORD)]
    };
    let refused = browser.submit("/setup", &fields("wrong")).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(stage.authn.is_setup_open().await);

    let token = stage.authn.new_setup_token(stage.now()).await.unwrap();
    let form = browser.open(&format!("/setup?token={token}")).await;
    assert!(
        form.body.contains("Make the first administrator") && form.body.contains("Administrator")
    );
    let fields = [
        ("token", token.as_str()),
        ("email", "root@example.com"),
        ("name", "Root"),
        ("password", PASSWORD),
    ];
    let weak =
        browser.submit("/setup", &[fields[0], fields[1], fields[2], ("password", "short")]).await;
    assert_eq!(weak.status, StatusCode::BAD_REQUEST);
    assert!(weak.body.contains("8") && weak.body.contains("200"));
    let made = browser.submit("/setup", &fields).await;
    assert_eq!(
        (made.status, made.location()),
        (StatusCode::SEE_OTHER, "https://auth.example.com/setup/oauth"),
        "{}",
        made.body
    );
    let done = browser.open("/setup/done").await;
    assert!(done.body.contains("<h1>Done</h1>"));
    assert_eq!(browser.open("/setup").await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.browser().submit("/setup", &fields).await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.browser().open("/setup/done").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn seed_003_24_at_the_machine_itself_set_up_asks_for_no_token() {
    let stage = Stage::new().await;
    let ask = Ask::new(Method::GET, "/setup").header("accept", "text/html").on_loopback();
    let form = stage.send(ask).await;
    assert!(form.body.contains("Make the first administrator"));
    let submit = |site: &str| {
        Ask::new(Method::POST, "/setup")
            .header("sec-fetch-site", site)
            .form(&[("email", "root@example.com"), ("password", PASSWORD)])
            .on_loopback()
    };
    assert_eq!(stage.send(submit("cross-site")).await.status, StatusCode::FORBIDDEN, "j7");
    assert_eq!(stage.send(submit("same-origin")).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_person_signs_up_and_is_signed_in() {
    let stage = Stage::new().await;
    stage.person("root@example.com", Role::Admin).await;
    let mut browser = stage.browser();
    assert!(browser.open("/signup").await.body.contains("8 to 200 characters."));
    let fields = [("email", "new@example.com"), ("name", "New"), ("password", PASSWORD)];
    let made = browser.submit("/signup", &fields).await;
    assert_eq!(
        (made.status, made.location()),
        (StatusCode::SEE_OTHER, "https://auth.example.com/"),
        "{}",
        made.body
    );
    assert!(browser.open("/settings").await.body.contains("new@example.com"));
    let taken = stage.browser().submit("/signup", &fields).await;
    assert_eq!(taken.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn seed_000_58_seed_003_25_seed_003_81_keys_are_made_renamed_disabled_and_revoked_on_their_page()
 {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    assert!(browser.open("/settings").await.body.contains("href=\"/api-keys\""));
    let fields = [("action", "create"), ("name", "Backup"), ("expires", "90"), ("scopes", "")];
    let made = browser.submit("/api-keys", &fields).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.body);
    let at = made.body.find("value=\"vst_").expect("the key is shown") + 7;
    let key = made.body[at..at + 47].to_owned();
    let list = browser.open("/api-keys").await;
    assert!(list.body.contains("Backup") && !list.body.contains(&key));
    let keys = browser.send(Ask::new(Method::GET, "/api/v1/auth/api-keys")).await.json();
    let id = keys[0]["id"].as_str().unwrap().to_owned();
    let me = || stage.send(Ask::new(Method::GET, "/api/v1/auth/me").header("x-api-key", &key));
    assert_eq!(me().await.status, StatusCode::OK);
    for (fields, after) in [
        (vec![("action", "disable"), ("id", id.as_str())], StatusCode::UNAUTHORIZED),
        (vec![("action", "enable"), ("id", id.as_str())], StatusCode::OK),
        (vec![("action", "rename"), ("id", id.as_str()), ("name", "Night")], StatusCode::OK),
        (vec![("action", "revoke"), ("id", id.as_str())], StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(browser.submit("/api-keys", &fields).await.status, StatusCode::SEE_OTHER);
        assert_eq!(me().await.status, after, "{fields:?}");
    }
    let bad = [("action", "create"), ("name", "x"), ("expires", "90"), ("scopes", "everything")];
    let bad = browser.submit("/api-keys", &bad).await;
    assert!(bad.status == StatusCode::BAD_REQUEST && bad.body.contains("is no scope"));
}

#[tokio::test]
async fn a_profile_name_is_saved() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let saved = browser.submit("/settings/profile", &[("name", "Ann the Second")]).await;
    assert_eq!(saved.location(), "https://auth.example.com/settings?saved=profile");
    let page = browser.open("/settings?saved=profile").await;
    assert!(page.body.contains("Ann the Second") && page.body.contains("Your name is saved."));
}

#[tokio::test]
async fn step_up_asks_for_the_password_again_and_a_missing_factor_is_no_loop() {
    let stage = Stage::new().await;
    stage.person("ann@example.com", Role::User).await;
    let mut browser = stage.browser_of("ann@example.com").await;
    let rd = crate::stage::encode("https://app.example.com/x");
    let mfa = browser.open(&format!("/login?rd={rd}&step=mfa")).await;
    assert_eq!(mfa.status, StatusCode::FORBIDDEN);
    assert!(mfa.body.contains("second factor"));
    let page = browser.open(&format!("/login?rd={rd}&step=reauth")).await;
    assert!(page.body.contains("Confirm it is you") && page.body.contains("ann@example.com"));
    let old = browser.cookie("auth.example.com", "__Host-vestibule");
    let fields = |password: &'static str| {
        [("step", "reauth"), ("password", password), ("rd", "https://app.example.com/x")]
    };
    assert_eq!(
        browser.submit("/login", &fields("wrong-password")).await.status,
        StatusCode::UNAUTHORIZED
    );
    let good = browser.submit("/login", &fields(PASSWORD)).await;
    assert!(good.location().starts_with("https://app.example.com/.vestibule/start?rd="));
    assert_ne!(browser.cookie("auth.example.com", "__Host-vestibule"), old, "f1");
}

#[tokio::test]
async fn an_error_page_has_the_code_and_the_request() {
    let stage = Stage::new().await;
    let page = stage.browser().open("/nowhere").await;
    assert_eq!(page.status, StatusCode::NOT_FOUND);
    assert!(page.body.contains("Not found") && page.body.contains("NOT_FOUND"));
    assert!(page.body.contains(page.header("x-request-id")));
    assert_eq!(page.header("x-vestibule"), "NOT_FOUND");
    let wrong_method =
        stage.send(Ask::new(Method::PUT, "/login").header("sec-fetch-site", "same-origin")).await;
    assert_eq!(wrong_method.status, StatusCode::METHOD_NOT_ALLOWED);
    let json = stage.get("/nowhere").await;
    assert_eq!(json.header("content-type"), "application/problem+json");
    assert_eq!(json.json()["request_id"], json.header("x-request-id"));
}

#[tokio::test]
async fn assets_stand_under_their_hash_and_are_kept() {
    let stage = Stage::new().await;
    let page = stage.browser().open("/login").await;
    let at = page.body.find("/.vestibule/assets/").unwrap();
    let path = page.body[at..].split('"').next().unwrap().to_owned();
    for host in [PORTAL, "https://app.example.com"] {
        let asset = stage.get(&format!("{host}{path}")).await;
        assert_eq!(asset.status, StatusCode::OK);
        assert!(asset.header("content-type").starts_with("text/css"));
        assert!(asset.header("cache-control").contains("immutable"));
    }
}

#[tokio::test]
async fn seed_001_50_seed_004_25_an_administrator_approves_on_the_users_page() {
    let stage = Stage::with(|s| s.auth.approval = true).await;
    stage.person("root@example.com", Role::Admin).await;
    let fields = [("email", "new@example.com"), ("name", "New"), ("password", PASSWORD)];
    let mut new = stage.browser();
    assert_eq!(new.submit("/signup", &fields).await.location(), "https://auth.example.com/pending");
    let mut root = stage.browser_of("root@example.com").await;
    let settings = root.open("/settings").await;
    assert!(settings.body.contains("href=\"/admin/users\">Administration</a>"));
    let users = root.open("/admin/users").await;
    assert!(users.body.contains("new@example.com") && users.body.contains("Approve"));
    let me = new.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    let id = me["id"].as_str().unwrap();
    assert_eq!(
        new.submit("/admin/users", &[("action", "activate"), ("id", id)]).await.location(),
        "https://auth.example.com/pending"
    );
    let done = root.submit("/admin/users", &[("action", "activate"), ("id", id)]).await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.body);
    assert_eq!(new.open("/").await.status, StatusCode::OK, "at the next request");
    assert!(!new.open("/settings").await.body.contains("Administration"));
    assert_eq!(new.open("/admin/users").await.status, StatusCode::FORBIDDEN);
    let own = root.send(Ask::new(Method::GET, "/api/v1/auth/me")).await.json();
    let last = root
        .submit("/admin/users", &[("action", "make-user"), ("id", own["id"].as_str().unwrap())])
        .await;
    assert_eq!(last.status, StatusCode::CONFLICT);
    assert!(last.body.contains("last administrator"));
}
