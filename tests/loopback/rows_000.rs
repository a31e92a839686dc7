//! Rows of 000, Penombre: secrets, passwords, keys and their limits, the first administrator.

use serde_json::json;
use vestibule_testkit::{Door, PASSWORD, Recorder, Request, Route, until};

use crate::gateway;
use crate::rows::{
    HEX_SECRET, OTHER_SECRET, Portal, account, accounts, by_variables, code, face, form_request,
    title, wiki,
};

/// What profile penombre starts with.
const DEFAULT_ADMIN: (&str, &str) = ("admin@example.com", "Admin1234!");

#[test]
fn seed_000_04_seed_000_05_seed_000_09_seed_000_10_seed_000_11_seed_000_30_the_secret_alone_is_enough_for_passwords()
 {
    let app = Recorder::start();
    let gateway = by_variables(&[("AUTH_SECRET", HEX_SECRET), ("ENABLE_EMAIL_SIGNIN", "true")])
        .route(wiki(&app))
        .user("ann", &[])
        .start();
    let portal = Portal::of(&gateway);
    let told = portal.config();
    assert_eq!(told["password_auth_enabled"], true, "000-09, 000-11");
    assert_eq!(told["password_reset_enabled"], false, "000-30");
    let tokens = portal.login("ann@example.test", PASSWORD).expect(200).json();
    assert!(tokens["access_token"].is_string(), "000-10: {tokens}");

    // 000-04: one bit of the cookie, at the portal and at the app, is no session and no error.
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    for host in ["wiki.example.test", "auth.example.test"] {
        let cookie = ann.session_cookie(host).expect("a cookie");
        let mut letters = cookie.value.into_bytes();
        letters[10] = if letters[10] == b'A' { b'B' } else { b'A' };
        ann.set_cookie(host, &cookie.name, std::str::from_utf8(&letters).unwrap());
    }
    let misses = |gateway: &vestibule_testkit::Gateway| {
        gateway.metric("vestibule_cache_misses_total{cache=\"session\"}").unwrap_or(0.0)
    };
    let before = misses(&gateway);
    let answer = ann.ask(Door::Proxy, "GET", "/").expect(401);
    assert_eq!(code(&answer), "UNAUTHENTICATED", "000-04: no session, not a bad credential");
    let _ = ann.api("GET", "/me", None).expect(401);
    assert!((misses(&gateway) - before).abs() < f64::EPSILON, "000-04: no look-up");

    let page = portal.page("/login").expect(200).text();
    assert!(!page.contains("forgot-password"), "000-30: no link");
    let _ = portal.page("/forgot-password").expect(404);
    let refused =
        portal.post("/api/v1/auth/password/forgot", &json!({ "email": "ann@example.test" }));
    assert_eq!((refused.status, code(&refused).as_str()), (404, "NOT_AVAILABLE"), "000-30");
}

#[test]
fn seed_000_06_one_secret_in_two_environments_opens_neither_from_the_other() {
    let app = Recorder::start();
    let make =
        || by_variables(&[("AUTH_SECRET", HEX_SECRET)]).route(wiki(&app)).user("ann", &[]).start();
    let (one, other) = (make(), make());
    let mut ann = one.as_user("ann");
    let _ = ann.get("/").expect(200);
    let (access, refresh) = ann.tokens("ann@example.test", PASSWORD);
    let _ = one.with_bearer(&access).get("/").expect(200);
    app.clear();
    let _ = ann.clone().at(other.client()).get("/").expect(401);
    let _ = other.with_bearer(&access).get("/").expect(401);
    let _ = Portal::of(&other).refresh(&refresh).expect(401);
    assert_eq!(app.count(), 0, "000-06");
}

#[test]
fn seed_000_07_seed_000_08_seed_003_27_another_auth_secret_ends_sessions_and_nothing_else() {
    let app = Recorder::start();
    let mut gateway =
        by_variables(&[("AUTH_SECRET", HEX_SECRET)]).route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    gateway.restart();
    let mut ann = ann.at(gateway.client());
    let _ = ann.get("/").expect(200);

    gateway.set_env("AUTH_SECRET", Some(OTHER_SECRET));
    gateway.restart();
    let mut ann = ann.at(gateway.client());
    let answer = ann.ask(Door::Proxy, "GET", "/").expect(401);
    assert_eq!(code(&answer), "UNAUTHENTICATED", "000-07");
    let page = Request::get("https://wiki.example.test/").navigation();
    let answer = ann.send(page).expect(302);
    assert!(answer.location().starts_with("https://auth.example.test/login?rd="), "000-07");
    let _ = gateway.with_key(&key).get("/").expect(200);
    let _ = Portal::of(&gateway).login("ann@example.test", PASSWORD).expect(200);
}

#[test]
fn seed_000_12_seed_001_14_seed_001_05_without_passwords_there_is_no_form_and_no_sign_in() {
    let app = Recorder::start();
    let provider = [
        ("AUTH_SECRET", HEX_SECRET),
        ("VESTIBULE_PROFILE", "narratorr-requests"),
        ("OIDC_PROVIDERS", "plex"),
        ("OIDC_PLEX_ISSUER", "https://id.example.test"),
        ("OIDC_PLEX_CLIENT_ID", "vestibule"),
        ("OIDC_PLEX_REDIRECT_URI", "https://auth.example.test/api/auth/oidc/plex/callback"),
    ];
    for (name, value) in [("ENABLE_EMAIL_SIGNIN", "false"), ("LOCAL_AUTH", "false")] {
        let mut gateway = by_variables(&provider).route(wiki(&app)).user("ann", &[]).start();
        let portal = Portal::of(&gateway);
        let _ = portal.login("ann@example.test", PASSWORD).expect(200);
        // 001-05: the e-mail is the login, the name is not.
        let _ = portal.login("ann", PASSWORD).expect(401);
        assert!(portal.page("/login").expect(200).text().contains("type=\"password\""), "{name}");

        gateway.set_env(name, Some(value));
        gateway.restart();
        let portal = Portal::of(&gateway);
        assert_eq!(portal.config()["password_auth_enabled"], false, "000-12, 001-14: {name}");
        assert_eq!(portal.config()["signup_enabled"], false, "001-14: {name}");
        let page = portal.page("/login").expect(200).text();
        assert!(!page.contains("type=\"password\""), "000-12, 001-14: {name}: {page}");
        let refused = portal.login("ann@example.test", PASSWORD).expect(401);
        assert_eq!(code(&refused), "PASSWORD_SIGNIN_DISABLED", "000-12: {name}");
        let refused = portal.sign_up("new@example.test", "a-fine-Password-1").expect(403);
        assert_eq!(code(&refused), "SIGNUP_DISABLED", "001-14: {name}");
        let _ = portal.page("/signup").expect(404);
    }
}

#[test]
fn seed_000_13_seed_000_14_seed_000_18_seed_001_09_seed_001_10_seed_001_11_seed_003_77_a_password_has_its_bounds()
 {
    let app = Recorder::start();
    let mut gateway =
        by_variables(&[("AUTH_SECRET", HEX_SECRET), ("VESTIBULE_PROFILE", "penombre")])
            .route(wiki(&app))
            .start();
    let portal = Portal::of(&gateway);
    let refused = portal.sign_up("short@example.test", "gT4#kq9").expect(400);
    assert_eq!(code(&refused), "PASSWORD_LENGTH", "000-13, 001-10: 7 characters");
    assert!(
        title(&refused).contains('8') && title(&refused).contains("200"),
        "000-13: both bounds"
    );
    let long: String = "x9#Lm".repeat(41).chars().take(201).collect();
    let refused = portal.sign_up("long@example.test", &long).expect(400);
    assert_eq!(code(&refused), "PASSWORD_LENGTH", "001-10: 201 characters");
    let refused = portal.sign_up("common@example.test", "password").expect(400);
    assert_eq!(code(&refused), "WEAK_PASSWORD", "001-11: a common one of 8");
    assert!(!title(&refused).is_empty(), "001-11: says why");

    let _ = portal.sign_up("eight@example.test", "gT4#kq9z").expect(201);
    // 000-18: without mail nothing has to be verified.
    let _ = portal.login("eight@example.test", "gT4#kq9z").expect(200);
    let _ = portal.sign_up("most@example.test", &long[..200]).expect(201);
    let _ = portal.login("most@example.test", &long[..200]).expect(200);
    let _ = portal.login("most@example.test", &long[..199]).expect(401);

    gateway.set_env("MIN_PASSWORD_LENGTH", Some("12"));
    gateway.restart();
    let portal = Portal::of(&gateway);
    let refused = portal.sign_up("eleven@example.test", "gT4#kq9zAb1").expect(400);
    assert_eq!(code(&refused), "PASSWORD_LENGTH", "000-14: sign-up");
    assert!(title(&refused).contains("12"), "000-14: {}", title(&refused));
    let _ = portal.sign_up("twelve@example.test", "gT4#kq9zAb1c").expect(201);
    let (access, _) = portal.tokens("eight@example.test", "gT4#kq9z");
    let change = |new: &str| {
        let body = json!({ "current_password": "gT4#kq9z", "new_password": new });
        portal.with_bearer(&access, "POST", "/api/v1/auth/password/change", Some(&body))
    };
    let refused = change("gT4#kq9zAb1").expect(400);
    assert_eq!(code(&refused), "PASSWORD_LENGTH", "000-14: change; shorter ones still sign in");
    assert!((200..300).contains(&change("gT4#kq9zAb1c").status), "000-14");
    let _ = portal.login("eight@example.test", "gT4#kq9zAb1c").expect(200);
}

#[test]
fn seed_000_33_seed_000_36_seed_000_37_seed_000_38_seed_000_39_seed_001_18_seed_002_27_an_incomplete_provider_is_off_and_its_lack_is_named()
 {
    let app = Recorder::start();
    let mut gateway = by_variables(&[
        ("AUTH_SECRET", HEX_SECRET),
        ("ENABLE_OAUTH_SIGNIN", "true"),
        ("OAUTH_POCKET_ID_ENABLED", "true"),
        ("AUTH_GOOGLE_CLIENT_ID", "google-client"),
        ("OIDC_STRANGER_ISSUER", "https://stranger.example.test"),
        ("OIDC_STRANGER_CLIENT_ID", "stranger"),
    ])
    .route(wiki(&app))
    .start();
    let portal = Portal::of(&gateway);
    assert_eq!(portal.config()["oauth_providers"], json!([]), "000-36, 002-27");
    for name in ["CLIENT_ID", "CLIENT_SECRET", "DISCOVERY_URL"] {
        let name = format!("OAUTH_POCKET_ID_{name}");
        let _ = gateway.wait_log(&["provider.not_configured", "id=pocket-id", &name]);
    }
    let _ = gateway.wait_log(&["provider.not_configured", "AUTH_GOOGLE_CLIENT_SECRET"]);
    let notices = gateway.logs();
    let notices = notices.iter().filter(|line| line.contains("OIDC_STRANGER")).count();
    assert_eq!(notices, 1, "001-18: one notice");
    for id in ["pocket-id", "google", "stranger"] {
        let refused = portal.get(&format!("/api/v1/auth/login/{id}")).expect(404);
        assert_eq!(code(&refused), "PROVIDER_NOT_CONFIGURED", "000-39: {id}");
        assert_eq!(title(&refused), "OAuth provider not configured", "000-39: {id}");
    }
    let checked = gateway.cli(&["check"]).expect(1);
    let said = checked.stdout + &checked.stderr;
    assert!(said.contains("OAUTH_POCKET_ID_CLIENT_ID"), "000-36: check exits 1: {said}");

    let off = by_variables(&[
        ("AUTH_SECRET", HEX_SECRET),
        ("OAUTH_POCKET_ID_CLIENT_ID", "a"),
        ("OAUTH_POCKET_ID_CLIENT_SECRET", "b"),
        (
            "OAUTH_POCKET_ID_DISCOVERY_URL",
            "https://id.example.test/.well-known/openid-configuration",
        ),
    ]);
    let mut gateway = off.route(wiki(&app)).start();
    assert_eq!(Portal::of(&gateway).config()["oauth_providers"], json!([]), "000-33");
    let _ = gateway.wait_log(&["ENABLE_OAUTH_SIGNIN"]);
}

#[test]
fn seed_000_57_seed_000_59_seed_000_60_seed_003_63_a_key_opens_the_apps_api_by_either_header() {
    let app = Recorder::start();
    let gateway = by_variables(&[("AUTH_SECRET", HEX_SECRET), ("VESTIBULE_PROFILE", "penombre")])
        .route(Route::new("files", "cloud.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "script" }));
    let digits = key.strip_prefix("pen_").expect("000-59: ^pen_");
    assert_eq!(digits.len(), 43, "000-59");
    assert!(digits.bytes().all(|byte| byte.is_ascii_alphanumeric()), "000-59");
    for mut program in [gateway.with_key(&key), gateway.with_bearer(&key)] {
        let _ = program.get("/api/v1/storage/files").expect(200);
        let seen = app.last();
        assert_eq!(seen.target, "/api/v1/storage/files", "000-57");
        assert_eq!(seen.header("remote-user"), Some("ann"), "000-57");
        assert_eq!(seen.header("x-api-key"), None, "000-59: consumed");
        assert_eq!(seen.header("authorization"), None, "000-60: consumed");
        assert!(!seen.holds(digits), "000-59, 000-60");
    }
    // What is not ours by form is the app's own business.
    let mut ann = gateway.as_user("ann");
    ann.enter("https://cloud.example.test/");
    let request =
        Request::get("https://cloud.example.test/").header("Authorization", "Bearer sk-of-the-app");
    let _ = ann.request(request).expect(200);
    assert_eq!(app.last().header("authorization"), Some("Bearer sk-of-the-app"));
}

#[test]
fn seed_000_61_seed_000_62_seed_003_79_in_production_a_key_has_100_requests_a_minute() {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[server]\nenvironment = \"production\"")
        .route(wiki(&app))
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    let (_, one) = ann.create_key(&json!({ "name": "one" }));
    let (_, other) = ann.create_key(&json!({ "name": "other" }));
    let mut program = gateway.with_key(&one);
    for nth in 1..=100 {
        let answer = program.get("/");
        assert_eq!(answer.status, 200, "000-61: request {nth} of 100");
    }
    let refused = program.get("/").expect(429);
    assert_eq!(code(&refused), "RATE_LIMITED", "000-61");
    let wait: u64 = refused.header("retry-after").expect("000-61: Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait), "000-61: {wait}");
    assert!(refused.header("ratelimit").is_some(), "000-61: RateLimit");
    assert!(refused.header("ratelimit-policy").is_some(), "000-61: RateLimit-Policy");
    assert_eq!(app.count(), 100, "000-61: the 101st never reaches the app");
    let _ = gateway.with_bearer(&one).get("/").expect(429);
    let _ = gateway.with_key(&other).get("/").expect(200);
}

#[test]
fn seed_000_63_seed_003_80_a_key_with_its_own_limit_comes_back_by_itself() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let limit = json!({ "name": "few", "rate_limit": { "requests": 5, "window": "3s" } });
    let (_, key) = gateway.as_user("ann").create_key(&limit);
    let mut program = gateway.with_key(&key);
    for nth in 1..=5 {
        assert_eq!(program.get("/").status, 200, "003-80: request {nth} of 5");
    }
    let refused = program.get("/").expect(429);
    let wait: u64 = refused.header("retry-after").expect("Retry-After").parse().unwrap();
    let start = std::time::Instant::now();
    until("000-63: 200 again", || (program.get("/").status == 200).then_some(()));
    assert!(start.elapsed().as_secs() <= wait + 1, "000-63: after Retry-After");
}

#[test]
fn seed_000_64_seed_000_67_seed_000_69_the_first_administrator_is_made_once() {
    let app = Recorder::start();
    let mut gateway = by_variables(&[
        ("AUTH_SECRET", HEX_SECRET),
        ("ADMIN_EMAIL", "root@example.test"),
        ("ADMIN_PASSWORD", "the-first-Passphrase-1"),
    ])
    .route(wiki(&app))
    .start();
    let portal = Portal::of(&gateway);
    let (access, _) = portal.tokens("root@example.test", "the-first-Passphrase-1");
    let me = portal.with_bearer(&access, "GET", "/api/v1/auth/me", None).expect(200).json();
    assert_eq!((&me["role"], &me["status"]), (&json!("admin"), &json!("active")), "000-64");
    assert_eq!(me["email_verified"], true, "000-64");
    let _ = portal.page("/setup").expect(404);

    gateway.set_env("ADMIN_EMAIL", Some("else@example.test"));
    gateway.set_env("ADMIN_PASSWORD", Some("another-Passphrase-2"));
    gateway.restart();
    let portal = Portal::of(&gateway);
    assert_eq!(accounts(&gateway).len(), 1, "000-67: no second account");
    let _ = portal.login("else@example.test", "another-Passphrase-2").expect(401);
    let _ = portal.login("root@example.test", "another-Passphrase-2").expect(401);
    let _ = portal.login("root@example.test", "the-first-Passphrase-1").expect(200);

    gateway.set_env("ADMIN_EMAIL", None);
    gateway.set_env("ADMIN_PASSWORD", None);
    gateway.restart();
    let _ = Portal::of(&gateway).login("root@example.test", "the-first-Passphrase-1").expect(200);
}

#[test]
fn seed_000_65_seed_000_66_seed_000_68_the_printed_administrator_must_change_the_password_first() {
    let app = Recorder::start();
    // The document's app has the portal on its own host.
    let gateway = by_variables(&[("AUTH_SECRET", HEX_SECRET), ("VESTIBULE_PROFILE", "penombre")])
        .portal("https://wiki.example.test")
        .route(wiki(&app))
        .route(Route::new("other", "other.example.test").upstream(app.url()).access("signed-in"))
        .start();
    let portal = Portal::of(&gateway);
    let (email, password) = DEFAULT_ADMIN;
    assert_eq!(account(&gateway, email)["role"], "admin", "000-65");

    let refused = portal.login(email, password).expect(403);
    assert_eq!(code(&refused), "PASSWORD_CHANGE_REQUIRED", "000-66: no token");
    let mut admin = gateway.anonymous();
    let _ = admin.sign_in(email, password).expect(200);
    let page = "https://wiki.example.test/.vestibule/settings?change=password";
    let answer = admin.send(Request::get("https://wiki.example.test/a").navigation()).expect(302);
    assert_eq!(answer.location(), page, "000-68");
    for url in ["https://wiki.example.test/a", "https://other.example.test/b"] {
        let landing = admin.navigate(url);
        assert_eq!(landing.url, page, "000-66, 000-68: {url}");
        let _ = landing.response.expect(200);
    }
    let refused = admin.get("/a").expect(403);
    assert_eq!(code(&refused), "PASSWORD_CHANGE_REQUIRED", "000-68");
    let refused = admin.api("POST", "/api-keys", Some(&json!({ "name": "early" }))).expect(403);
    assert_eq!(code(&refused), "PASSWORD_CHANGE_REQUIRED", "000-66: no key");
    assert_eq!(app.count(), 0, "000-68");

    let change = json!({ "current_password": password, "new_password": "my-own-Passphrase-9" });
    let done = admin.api("POST", "/password/change", Some(&change));
    assert!((200..300).contains(&done.status), "000-68: {done:?}");
    let _ = admin.get("/a").expect(200);
    let _ = portal.login(email, password).expect(401);
    let _ = portal.tokens(email, "my-own-Passphrase-9");
}

#[test]
fn seed_000_70_seed_000_71_seed_001_69_in_production_an_address_has_100_tries_over_all_endpoints() {
    let app = Recorder::start();
    let gateway =
        gateway().toml("[server]\nenvironment = \"production\"").route(wiki(&app)).start();
    let first = Portal::of(&gateway);
    for nth in 1..=100 {
        let answer = first.login(&format!("nobody{nth}@example.test"), "not-the-Password-1");
        assert_eq!(answer.status, 401, "000-70: try {nth} of 100: {answer:?}");
    }
    let refused = first.login("nobody@example.test", "not-the-Password-1").expect(429);
    assert_eq!(code(&refused), "RATE_LIMITED", "000-70");
    let wait: u64 = refused.header("retry-after").expect("000-70: Retry-After").parse().unwrap();
    assert!((1..=900).contains(&wait), "000-70: {wait}");
    let _ = first.get("/api/v1/auth/config").expect(200);

    let other = Portal::of(&gateway).from("127.0.0.2");
    let _ = other.login("nobody@example.test", "not-the-Password-1").expect(401);
    let nothing = json!({ "email": "nobody@example.test", "refresh_token": "x", "token": "x" });
    let endpoints =
        ["signup", "password/forgot", "password/reset", "refresh", "passkeys/login/start"];
    for nth in 0..99 {
        let answer = if nth % 6 == 5 {
            other.get("/api/v1/auth/callback/google?code=a&state=b")
        } else {
            other.post(&format!("/api/v1/auth/{}", endpoints[nth % 6]), &nothing)
        };
        assert_ne!(answer.status, 429, "000-71: try {nth}");
    }
    for endpoint in ["refresh", "login", "signup", "password/reset", "passkeys/login/start"] {
        let answer = other.post(&format!("/api/v1/auth/{endpoint}"), &nothing);
        assert_eq!(answer.status, 429, "000-71: {endpoint} belongs to the same count");
    }
    let third = Portal::of(&gateway).from("127.0.0.3");
    let _ = third.login("nobody@example.test", "not-the-Password-1").expect(401);
}

#[test]
fn seed_000_72_in_development_on_loopback_nobody_is_limited() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).start();
    let portal = Portal::of(&gateway);
    for nth in 1..=150 {
        let answer = portal.login("nobody@example.test", "not-the-Password-1");
        assert_eq!(answer.status, 401, "000-72: try {nth} of 150: {answer:?}");
    }
}

#[test]
fn seed_000_47_a_callback_on_the_apps_host_is_the_portals() {
    let app = Recorder::start();
    let gateway = gateway()
        .portal("https://cloud.example.test")
        .route(Route::new("cloud", "cloud.example.test").upstream(app.url()).access("public"))
        .start();
    let portal = Portal::of(&gateway);
    for path in [
        "/api/v1/auth/callback/pocket-id?code=a&state=b",
        "/api/auth/oidc/pocket-id/callback?code=a&state=b",
        "/api/v1/auth/oauth/pocket-id/callback?code=a&state=b",
        "/v1/auth/callback/pocket-id?code=a&state=b",
    ] {
        let refused = portal.get(path).expect(404);
        assert_eq!(code(&refused), "PROVIDER_NOT_CONFIGURED", "000-47: {path}");
    }
    assert_eq!(app.count(), 0, "000-47: never the app");
    let _ = portal.get("/anything").expect(200);
    assert_eq!(app.count(), 1);
}

#[test]
fn seed_000_02_seed_000_58_seed_001_08_seed_001_12_seed_001_13_pages_offer_what_there_is() {
    let app = Recorder::start();
    let gateway =
        by_variables(&[("AUTH_SECRET", HEX_SECRET), ("VESTIBULE_PROFILE", "narratorr-requests")])
            .route(wiki(&app))
            .user("ann", &[])
            .start();
    let portal = Portal::of(&gateway);
    let page = portal.page("/login").expect(200).text();
    assert!(page.contains("Sign in") && page.contains("Create account"), "001-08: {page}");
    assert!(page.contains("/signup"), "001-08: a link");
    assert!(page.contains("type=\"password\""), "000-02: a form");
    let _ = portal.page("/signup").expect(200);

    let wrong = portal.login("ann@example.test", "not-the-Password-1").expect(401);
    assert_eq!(title(&wrong), "Invalid email or password", "001-12");
    let unknown = portal.login("nobody@example.test", "not-the-Password-1").expect(401);
    assert_eq!(face(&wrong), face(&unknown), "001-13");
    // The same on the page, for a form without JavaScript.
    let send = |email: &str| {
        let form = form_request(gateway.portal(), "/login")
            .form(&[("email", email), ("password", "not-the-Password-1")]);
        let page = gateway.client().send(&form).expect(401).text();
        // Every form has a token of its own.
        page.lines().filter(|line| !line.contains("name=\"csrf\"")).collect::<Vec<_>>().join("\n")
    };
    let (known, unknown) = (send("ann@example.test"), send("bob@example.test"));
    assert!(known.contains("Invalid email or password"), "001-12: {known}");
    assert_eq!(known.replace("ann@", "bob@"), unknown, "001-13: page");

    let mut ann = gateway.as_user("ann");
    let settings = ann.navigate("https://auth.example.test/settings").response.expect(200).text();
    assert!(settings.contains("/api-keys"), "000-58: settings lead to keys");
    let _ = ann.navigate("https://auth.example.test/api-keys").response.expect(200);
}
