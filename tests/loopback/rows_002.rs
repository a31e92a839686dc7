//! Rows of 002, Everruns: the three modes, tokens and their secret, keys by the API, health.

use serde_json::{Value, json};
use vestibule_testkit::{Gateway, PASSWORD, Recorder, Request, Route, until, until_within};

use crate::rows::{
    HEX_SECRET, OTHER_SECRET, Portal, account_id, accounts, admin_api, assertion, by_variables,
    by_variables_alone, claims, code, face, files_that_hold, sqlite3, title, wiki,
};

const ADMIN_EMAIL: &str = "admin@example.com";
const ADMIN_PASSWORD: &str = "a-long-Passphrase-4-admins";
/// The base that the document prints.
const BASE_URL: &str = "http://localhost:9300/api";
const LOCAL: &str = "http://localhost:9300";

/// The document's gateway: profile, mode full, and portal and app on one host.
fn everruns(app: &Recorder, variables: &[(&str, &str)]) -> vestibule_testkit::GatewayBuilder {
    let mut all = vec![
        ("VESTIBULE_PROFILE", "everruns"),
        ("AUTH_MODE", "full"),
        ("AUTH_BASE_URL", BASE_URL),
        ("AUTH_JWT_SECRET", HEX_SECRET),
    ];
    all.extend_from_slice(variables);
    by_variables_alone(&all)
        .route(Route::new("everruns", "localhost").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
}

fn version(gateway: &Gateway) -> String {
    let mut command = gateway.prepared().command(&["--version"]);
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().last().unwrap_or_default().to_owned()
}

#[test]
fn seed_002_02_seed_002_03_seed_002_14_seed_002_35_seed_002_36_seed_002_49_seed_002_50_seed_002_67_seed_002_68_mode_none_checks_nothing()
 {
    let app = Recorder::start();
    let route = Route::new("wiki", "wiki.example.test")
        .upstream(app.url())
        .access("signed-in")
        .rule(&["/key"], &[], "api-key")
        .rule(&["/admin"], &[], "admin")
        .rule(&["/mfa"], &[], "mfa")
        .rule(&["/staff"], &[], "{ groups = [\"staff\"] }")
        .rule(&["/closed"], &[], "deny");
    let mut gateway = by_variables(&[("AUTH_MODE", "none")]).route(route).start();
    let portal = Portal::of(&gateway);

    let told = portal.config();
    let printed = json!({ "mode": "none", "password_auth_enabled": false, "oauth_providers": [], "signup_enabled": false });
    assert_eq!(told, printed, "002-36: exactly the printed members; 002-02, 002-14: no secret");

    let mut nobody = gateway.anonymous();
    for path in ["/anything", "/key", "/admin", "/mfa", "/staff"] {
        app.clear();
        let _ = nobody.get(path).expect(200);
        assert_eq!(app.last().header("remote-user"), Some("anonymous"), "002-03: {path}");
        assert_eq!(assertion(&app.last())["role"], "admin", "002-03: {path}");
    }
    let _ = nobody.get("/closed").expect(403);
    let me = portal.get("/api/v1/auth/me").expect(200).json();
    assert_eq!(me["role"], "admin", "002-03");
    let _ = portal.get("/api/v1/admin/users").expect(200);

    let tries = [
        Request::get("https://wiki.example.test/key").header("X-Api-Key", "vst_nonsense"),
        Request::get("https://wiki.example.test/a").header("Authorization", "Bearer vst_nonsense"),
        Request::get("https://wiki.example.test/a").header("Cookie", "__Host-vestibule=nonsense"),
        Request::get(&portal.url("/api/v1/auth/sessions")),
        Request::get(&portal.url("/api/v1/auth/api-keys")),
        Request::get(&portal.url("/health/database")),
        Request::get(&portal.url("/login")).navigation(),
        Request::get(&portal.url("/no-such-page")),
        Request::new("POST", &portal.url("/api/v1/auth/refresh"))
            .json(&json!({ "refresh_token": "nonsense" })),
        Request::new("POST", &portal.url("/api/v1/auth/login"))
            .json(&json!({ "email": "a@example.test", "password": "wrong-password" })),
        Request::new("POST", &portal.url("/api/v1/auth/logout")).json(&json!({})),
    ];
    for request in tries {
        let answer = gateway.client().send(&request);
        assert_ne!(answer.status, 401, "002-49: {} {answer:?}", request.url());
        assert!(!answer.text().contains("Authentication required"), "002-49: {}", request.url());
    }

    let forwarded =
        Request::get("https://wiki.example.test/a").header("X-Forwarded-For", "192.0.2.1");
    let answer = gateway.client().send(&forwarded).expect(403);
    assert_eq!(code(&answer), "BYPASS_REFUSED", "002-03: on loopback only");

    let health = portal.get("/health").expect(200).json();
    assert_eq!(health["status"], "ok", "002-68");
    assert_eq!(health["auth_mode"], "None", "002-67, 002-68: capital N");
    let line = gateway.wait_log(&["ready", "auth_mode"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["auth_mode"], "none", "002-50");
}

#[test]
fn seed_002_05_seed_002_06_seed_002_18_seed_002_37_seed_002_38_seed_002_39_seed_002_40_seed_002_48_seed_002_60_seed_002_68_mode_admin_knows_one_account()
 {
    let app = Recorder::start();
    let mut gateway =
        by_variables(&[("AUTH_JWT_SECRET", HEX_SECRET)]).route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    let (token, _) = ann.tokens("ann@example.test", PASSWORD);
    let _ = gateway.with_key(&key).get("/").expect(200);

    gateway.set_env("AUTH_MODE", Some("admin"));
    gateway.set_env("AUTH_ADMIN_EMAIL", Some(ADMIN_EMAIL));
    gateway.set_env("AUTH_ADMIN_PASSWORD", Some(ADMIN_PASSWORD));
    gateway.restart();
    app.clear();
    let portal = Portal::of(&gateway);

    let told = portal.config();
    let due = json!({ "mode": "admin", "password_auth_enabled": true, "oauth_providers": [], "signup_enabled": false });
    assert_eq!(told, due, "002-37");
    assert_eq!(portal.get("/health").expect(200).json()["auth_mode"], "Admin", "002-68");

    let answer = gateway.anonymous().get("/").expect(401);
    assert_eq!(title(&answer), "Authentication required", "002-48");
    assert_eq!(code(&answer), "UNAUTHENTICATED", "002-48");

    // 002-38, 002-39: two members, no cookie, no Origin.
    let tokens = portal.login(ADMIN_EMAIL, ADMIN_PASSWORD).expect(200).json();
    let access = tokens["access_token"].as_str().expect("002-40: at the top level").to_owned();
    assert_eq!(access.split('.').count(), 3, "002-40: a JWT");
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    assert_eq!(app.last().header("remote-email"), Some(ADMIN_EMAIL), "002-05");

    let wrong_email = portal.login("other@example.com", ADMIN_PASSWORD).expect(401);
    let wrong_password = portal.login(ADMIN_EMAIL, "not-the-password-7").expect(401);
    assert_eq!(face(&wrong_email), face(&wrong_password), "002-60: both variables must match");
    let shut_out = portal.login("ann@example.test", PASSWORD).expect(401);
    assert_eq!(face(&shut_out), face(&wrong_password), "002-06: another account");
    assert_eq!(code(&shut_out), "INVALID_LOGIN", "002-06");

    app.clear();
    let mut ann = ann.at(gateway.client());
    let _ = ann.get("/").expect(401);
    let _ = gateway.with_key(&key).get("/").expect(401);
    let _ = gateway.with_bearer(&token).get("/").expect(401);
    assert_eq!(app.count(), 0, "002-06: old session, key and token of another account");
    let refused = portal.sign_up("new@example.test", "a-fine-Password-1").expect(403);
    assert_eq!(code(&refused), "SIGNUP_DISABLED", "002-06");
    let refused = portal.get("/api/v1/auth/login/google").expect(404);
    assert_eq!(code(&refused), "PROVIDER_NOT_CONFIGURED", "002-06");

    // 002-18: a change ends what the old password opened.
    let mut admin = gateway.anonymous();
    let _ = admin.sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).expect(200);
    let _ = admin.get("/").expect(200);
    gateway.set_env("AUTH_ADMIN_PASSWORD", Some("another-Passphrase-5"));
    gateway.restart();
    let portal = Portal::of(&gateway);
    let _ = portal.login(ADMIN_EMAIL, ADMIN_PASSWORD).expect(401);
    let _ = portal.login(ADMIN_EMAIL, "another-Passphrase-5").expect(200);
    let _ = admin.at(gateway.client()).get("/").expect(401);
    let _ = gateway.with_bearer(&access).get("/").expect(401);
}

#[test]
fn seed_002_07_seed_002_16_seed_002_20_seed_002_24_seed_002_33_seed_002_41_seed_002_48_seed_002_59_seed_002_62_seed_002_63_seed_002_68_seed_002_69_the_printed_block_of_mode_full_works_on_the_apps_own_origin()
 {
    let app = Recorder::start();
    // 002-63: nothing but an empty data directory.
    let gateway = everruns(&app, &[]).start();
    let portal = Portal::at(&gateway, LOCAL);

    let told = portal.config();
    assert_eq!(told["mode"], "full", "002-07");
    assert_eq!(told["password_auth_enabled"], true, "002-24");
    assert_eq!(told["signup_enabled"], true, "002-24");

    let answer = portal.get("/agents?page=2").expect(401);
    assert_eq!(title(&answer), "Authentication required", "002-48");
    let tokens = portal.login("ann@example.test", PASSWORD).expect(200).json();
    assert_eq!(tokens["expires_in"], 900, "002-20");
    assert_eq!(tokens["token_type"], "Bearer");
    let access = tokens["access_token"].as_str().expect("a text");
    let _ = portal.with_bearer(access, "GET", "/agents?page=2", None).expect(200);
    assert_eq!(app.last().target, "/agents?page=2", "002-41: portal and app on one origin");
    assert!(!app.last().holds(access), "no token of ours reaches the app");

    // 002-16: any JWT library with the secret agrees.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::HS256);
    validation.set_audience(&[LOCAL]);
    validation.set_issuer(&[LOCAL]);
    let secret = jsonwebtoken::DecodingKey::from_secret(HEX_SECRET.as_bytes());
    let decoded = jsonwebtoken::decode::<Value>(access, &secret, &validation);
    let decoded = decoded.expect("002-16: HS256 with AUTH_JWT_SECRET, iss and aud the portal");
    assert_eq!(decoded.claims["sub"], account_id(&gateway, "ann@example.test"), "002-16");
    let other = jsonwebtoken::DecodingKey::from_secret(OTHER_SECRET.as_bytes());
    assert!(jsonwebtoken::decode::<Value>(access, &other, &validation).is_err(), "002-16");

    let wrong = portal.login("ann@example.test", "not-the-password-7").expect(401);
    assert_eq!(title(&wrong), "Invalid email or password", "002-59");
    let unknown = portal.login("nobody@example.test", PASSWORD).expect(401);
    assert_eq!(face(&wrong), face(&unknown), "002-62: the same answer");

    let health = portal.get("/health").expect(200).json();
    assert_eq!(health["auth_mode"], "Full", "002-68");
    assert_eq!(health["version"], version(&gateway), "002-69");
    let numbers: Vec<&str> = health["version"].as_str().unwrap().split('.').collect();
    assert_eq!(numbers.len(), 3, "002-69");
    assert!(numbers.iter().all(|number| number.parse::<u32>().is_ok()), "002-69: {numbers:?}");
}

#[test]
fn seed_002_42_seed_002_43_seed_002_44_seed_002_45_a_key_is_made_shown_once_and_revoked_by_the_api()
{
    let app = Recorder::start();
    let gateway = everruns(&app, &[]).user("bob", &[]).start();
    let portal = Portal::at(&gateway, LOCAL);
    let (access, _) = portal.tokens("ann@example.test", PASSWORD);
    let keys = "/api/v1/auth/api-keys";

    let made = portal.with_bearer(&access, "POST", keys, Some(&json!({ "name": "ci" })));
    let made = made.expect(201).json();
    let key = made["key"].as_str().expect("002-42: `key`").to_owned();
    let id = made["id"].as_str().expect("an id").to_owned();
    let _ = portal.with_bearer(&key, "GET", "/x", None).expect(200);
    assert!(!app.last().holds(&key), "002-42: consumed");

    let list = portal.with_bearer(&access, "GET", keys, None).expect(200).text();
    assert!(list.contains(&id) && !list.contains(&key), "002-43: {list}");
    let path = format!("{keys}/{id}");
    let renamed = portal.with_bearer(&access, "PATCH", &path, Some(&json!({ "name": "cd" })));
    let renamed = renamed.expect(200);
    assert_eq!(renamed.json()["name"], "cd");
    assert!(!renamed.text().contains(&key), "002-43");
    let secret_part = key.split_once('_').unwrap().1;
    let held = files_that_hold(&gateway.prepared().data(), secret_part);
    assert_eq!(held, Vec::<std::path::PathBuf>::new(), "002-43: not in the store");
    assert!(!gateway.logs().concat().contains(secret_part), "002-43: not in the log");

    let (bob, _) = portal.tokens("bob@example.test", PASSWORD);
    let _ = portal.with_bearer(&bob, "DELETE", &path, None).expect(404);
    let _ = portal.with_bearer(&key, "GET", "/x", None).expect(200);
    let _ = portal.with_bearer(&access, "DELETE", &path, None).expect(204);
    let refused = portal.with_bearer(&key, "GET", "/x", None).expect(401);
    assert_eq!(code(&refused), "INVALID_CREDENTIAL", "002-44: the next request");
    let _ = portal.with_bearer(&access, "DELETE", &path, None).expect(404);
}

#[test]
fn seed_002_46_seed_002_47_seed_002_65_an_administrator_ends_what_somebody_holds() {
    let app = Recorder::start();
    let gateway = by_variables(&[("AUTH_JWT_SECRET", HEX_SECRET)])
        .route(wiki(&app))
        .user("ann", &[])
        .admin("root")
        .start();
    let portal = Portal::of(&gateway);
    let id = account_id(&gateway, "ann@example.test");

    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let (access, refresh) = portal.tokens("ann@example.test", PASSWORD);
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    let mut root = gateway.as_user("root");
    let done = admin_api(
        &mut root,
        gateway.portal(),
        "POST",
        &format!("/users/{id}/sign-out"),
        Some(&json!({})),
    );
    assert!((200..300).contains(&done.status), "002-46: {done:?}");
    let _ = gateway.with_bearer(&access).get("/").expect(401);
    let _ = portal.refresh(&refresh).expect(401);
    let _ = ann.get("/").expect(401);
    let _ = ann.api("GET", "/me", None).expect(401);

    // 002-47: the printed statement, on the running store.
    let (_, refresh) = portal.tokens("ann@example.test", PASSWORD);
    let (_, roots) = portal.tokens("root@example.test", PASSWORD);
    let store = gateway.prepared().data().join("vestibule.db");
    let sql = format!("DELETE FROM refresh_tokens WHERE user_id = '{id}'; SELECT changes();");
    let Some(changed) = sqlite3(&store, &sql) else { return };
    assert_ne!(changed, "0", "002-47: there were rows of that user");
    let _ = portal.refresh(&refresh).expect(401);
    let _ = portal.refresh(&roots).expect(200);

    let status = gateway.cli(&["db", "status"]).expect(0);
    assert!(status.stdout.to_lowercase().contains("applied"), "002-65: {}", status.stdout);
}

#[test]
fn seed_002_53_seed_002_20_seed_002_21_seed_002_75_lifetimes_are_seconds() {
    let app = Recorder::start();
    let gateway = everruns(
        &app,
        &[("AUTH_JWT_ACCESS_TOKEN_LIFETIME", "2"), ("AUTH_JWT_REFRESH_TOKEN_LIFETIME", "1")],
    )
    .start();
    let portal = Portal::at(&gateway, LOCAL);
    let tokens = portal.login("ann@example.test", PASSWORD).expect(200).json();
    assert_eq!(tokens["expires_in"], 2, "002-20, 002-75");
    let (access, refresh) = (&tokens["access_token"], &tokens["refresh_token"]);
    let (access, refresh) = (access.as_str().unwrap(), refresh.as_str().unwrap());
    let claims = claims(access);
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 2, "002-20");
    let refused = until("002-53: the access token ends", || {
        let answer = portal.with_bearer(access, "GET", "/x", None);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((refused.status, code(&refused).as_str()), (401, "INVALID_CREDENTIAL"), "002-53");
    // Two seconds have passed, the refresh token lived one.
    let _ = portal.refresh(refresh).expect(401);
}

#[test]
fn seed_002_52_seed_002_71_another_jwt_secret_ends_access_and_refresh_tokens() {
    let app = Recorder::start();
    let mut gateway =
        by_variables(&[("AUTH_JWT_SECRET", HEX_SECRET)]).route(wiki(&app)).user("ann", &[]).start();
    let portal = Portal::of(&gateway);
    let (access, refresh) = portal.tokens("ann@example.test", PASSWORD);
    gateway.restart();
    let portal = Portal::of(&gateway);
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    gateway.set_env("AUTH_JWT_SECRET", Some(OTHER_SECRET));
    gateway.restart();
    drop(portal);
    let portal = Portal::of(&gateway);
    let refused = gateway.with_bearer(&access).get("/").expect(401);
    assert_eq!(code(&refused), "INVALID_CREDENTIAL", "002-52");
    let _ = portal.refresh(&refresh).expect(401);
    let _ = portal.tokens("ann@example.test", PASSWORD);
}

#[test]
fn seed_002_54_a_token_of_another_environment_is_refused() {
    let app = Recorder::start();
    let first = everruns(&app, &[]).start();
    let (access, refresh) = Portal::at(&first, LOCAL).tokens("ann@example.test", PASSWORD);
    let second = everruns(&app, &[("AUTH_BASE_URL", "http://localhost:9400/api")]).start();
    let there = Portal::at(&second, "http://localhost:9400");
    let refused = there.with_bearer(&access, "GET", "/x", None);
    assert_eq!(refused.status, 401, "002-54: the same secret, another AUTH_BASE_URL");
    let _ = there.refresh(&refresh).expect(401);
    assert_eq!(app.count(), 0, "002-54");
}

#[test]
fn seed_002_22_seed_002_23_seed_002_61_passwords_and_sign_up_can_be_off() {
    let app = Recorder::start();
    let provider =
        [("AUTH_GOOGLE_CLIENT_ID", "client"), ("AUTH_GOOGLE_CLIENT_SECRET", "a-secret-of-google")];
    let mut gateway = everruns(&app, &provider).start();
    let portal = Portal::at(&gateway, LOCAL);
    let _ = portal.login("ann@example.test", PASSWORD).expect(200);

    gateway.set_env("AUTH_DISABLE_SIGNUP", Some("true"));
    gateway.restart();
    let portal = Portal::at(&gateway, LOCAL);
    assert_eq!(portal.config()["signup_enabled"], false, "002-23");
    let refused = portal.sign_up("new@example.test", "a-fine-Password-1").expect(403);
    assert_eq!(code(&refused), "SIGNUP_DISABLED", "002-23");
    assert_eq!(title(&refused), "Sign-up is off", "002-23");
    let _ = portal.page("/.vestibule/signup").expect(404);
    assert_eq!(accounts(&gateway).len(), 1, "002-23");

    gateway.set_env("AUTH_DISABLE_PASSWORD", Some("true"));
    gateway.restart();
    let portal = Portal::at(&gateway, LOCAL);
    assert_eq!(portal.config()["password_auth_enabled"], false, "002-22");
    let refused = portal.login("ann@example.test", PASSWORD).expect(401);
    assert_eq!(code(&refused), "PASSWORD_SIGNIN_DISABLED", "002-61: the right password");
    assert!(title(&refused).starts_with("Unauthorized"), "002-61");
}

#[test]
fn seed_002_57_the_api_also_stands_under_the_prefix() {
    let app = Recorder::start();
    let gateway = everruns(&app, &[("API_PREFIX", "/gate")]).start();
    let portal = Portal::at(&gateway, LOCAL);
    assert_eq!(portal.get("/gate/v1/auth/config").expect(200).json()["mode"], "full", "002-57");
    assert_eq!(portal.config()["mode"], "full", "002-57: besides, not instead");
    let body = json!({ "email": "ann@example.test", "password": PASSWORD });
    let _ = portal.post("/gate/v1/auth/login", &body).expect(200);
    let _ = portal.get("/gate/v1/auth/callback/google?code=a&state=b").expect(404);
    assert_eq!(app.count(), 0, "002-57: none of it reaches the app");
}

#[test]
fn seed_002_74_the_last_use_of_a_key_can_be_watched() {
    let app = Recorder::start();
    let gateway =
        by_variables(&[("AUTH_JWT_SECRET", HEX_SECRET)]).route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let (id, key) = ann.create_key(&json!({ "name": "watched" }));
    let seen = |ann: &mut vestibule_testkit::Actor| {
        let list = ann.api("GET", "/api-keys", None).expect(200).json();
        let mut keys = list.as_array().unwrap().iter();
        keys.find(|key| key["id"] == id.as_str()).unwrap()["last_used_at"].clone()
    };
    assert_eq!(seen(&mut ann), Value::Null, "002-74: not used yet");
    let _ = gateway.with_key(&key).get("/").expect(200);
    let late = std::time::Duration::from_secs(65);
    let used = until_within(late, "002-74: last_used_at within 60 s", || {
        Some(seen(&mut ann)).filter(|at| !at.is_null())
    });
    let used: jiff::Timestamp = used.as_str().unwrap().parse().expect("RFC 3339");
    assert!(used <= jiff::Timestamp::now(), "002-74: {used}");
}

#[test]
fn seed_002_19_seed_002_66_seed_003_20_variables_that_are_not_for_this_mode_draw_a_notice_and_nothing_else()
 {
    let app = Recorder::start();
    let mut gateway = by_variables(&[
        ("AUTH_JWT_SECRET", HEX_SECRET),
        ("AUTH_ADMIN_EMAIL", ADMIN_EMAIL),
        ("AUTH_ADMIN_PASSWORD", ADMIN_PASSWORD),
        ("DATABASE_URL", "postgres://app:secret@db/app"),
        ("MODE", "fullstack"),
    ])
    .route(wiki(&app))
    .start();
    assert!(accounts(&gateway).is_empty(), "002-19: no account is made");
    let _ = Portal::of(&gateway).login(ADMIN_EMAIL, ADMIN_PASSWORD).expect(401);
    let _ = gateway.wait_log(&["AUTH_ADMIN_EMAIL", "ignored"]);
    let _ = gateway.wait_log(&["DATABASE_URL"]);
    assert!(!gateway.logs().concat().contains("app:secret"), "002-66: the app's password");
    assert!(gateway.prepared().data().join("vestibule.db").exists(), "002-66: our own store");
}
