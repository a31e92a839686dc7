//! Rows of 001, narratorr-requests: approval, the first administrator, client addresses, bypass.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule_testkit::{Actor, Gateway, GatewayBuilder, PASSWORD, Recorder, Request, Route};

use crate::gateway;
use crate::rows::{
    Clock, HEX_SECRET, Portal, account, account_id, accounts, admin_api, assertion, audit_lines,
    by_variables, code, wiki,
};

fn narratorr(app: &Recorder) -> GatewayBuilder {
    by_variables(&[("AUTH_SECRET", HEX_SECRET), ("VESTIBULE_PROFILE", "narratorr-requests")])
        .route(wiki(app).rule(&["/open"], &["GET"], "public"))
}

fn set_status(root: &mut Actor, gateway: &Gateway, id: &str, status: &str) -> u16 {
    let body = json!({ "status": status });
    admin_api(root, gateway.portal(), "PATCH", &format!("/users/{id}"), Some(&body)).status
}

#[test]
fn seed_001_01_seed_001_41_seed_001_42_seed_001_43_seed_001_44_seed_001_45_seed_001_46_seed_001_47_seed_001_48_seed_001_49_seed_001_50_seed_001_51_seed_001_52_seed_001_53_seed_001_54_seed_001_55_a_sign_in_does_not_open_the_app()
 {
    let app = Recorder::start();
    let gateway = narratorr(&app).start();
    let portal = Portal::of(&gateway);

    let first = portal.sign_up("first@example.test", "a-fine-Password-1").expect(201).json();
    let first = first["user"].clone();
    assert_eq!((&first["role"], &first["status"]), (&json!("admin"), &json!("active")), "001-55");
    let mut root = gateway.anonymous();
    let _ = root.sign_in("first@example.test", "a-fine-Password-1").expect(200);
    let _ = root.get("/").expect(200);

    let second = portal.sign_up("second@example.test", "a-fine-Password-2").expect(201).json();
    let second = second["user"].clone();
    assert_eq!((&second["role"], &second["status"]), (&json!("user"), &json!("pending")), "001-49");
    let id = second["id"].as_str().unwrap().to_owned();
    app.clear();

    let mut ann = gateway.anonymous();
    let _ = ann.sign_in("second@example.test", "a-fine-Password-2").expect(200);
    let me = ann.api("GET", "/me", None).expect(200).json();
    assert_eq!(me["status"], "pending", "001-41, 001-43");
    let (access, _) = portal.tokens("second@example.test", "a-fine-Password-2");
    for path in ["/", "/search?q=a", "/api/requests"] {
        let refused = gateway.with_bearer(&access).get(path).expect(403);
        assert_eq!(code(&refused), "ACCOUNT_PENDING", "001-51: {path}");
        // A pending person gets no session at the app at all.
        let _ = ann.get(path).expect(401);
        let landing = ann.navigate(path);
        assert_eq!(landing.url, "https://auth.example.test/pending", "001-01, 001-44, 001-53");
        assert!(landing.response.text().contains("Awaiting approval"), "001-44");
    }
    assert_eq!(app.count(), 0, "001-45: the app is not reached");
    let _ = ann.get("/open").expect(200);
    assert_eq!(app.last().header("remote-user"), None, "001-45: only active accounts are told");

    // 001-42, 001-50: what an administrator decides holds at the next request.
    assert_eq!(set_status(&mut root, &gateway, &id, "active"), 200, "001-42");
    let _ = ann.get("/").expect(200);
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    assert_eq!(set_status(&mut root, &gateway, &id, "rejected"), 200, "001-42");
    app.clear();
    let refused = ann.get("/").expect(403);
    assert_eq!(code(&refused), "ACCOUNT_REJECTED", "001-52");
    let refused = gateway.with_bearer(&access).get("/").expect(403);
    assert_eq!(code(&refused), "ACCOUNT_REJECTED", "001-52");
    let landing = ann.navigate("/");
    assert_eq!(landing.url, "https://auth.example.test/rejected", "001-47, 001-53");
    assert!(landing.response.text().contains("Access not approved"), "001-47");

    // 001-48: a new sign-in changes nothing.
    let _ = ann.sign_out();
    let mut again = gateway.anonymous();
    let _ = again.sign_in("second@example.test", "a-fine-Password-2").expect(200);
    let landing = again.navigate("/");
    assert_eq!(landing.url, "https://auth.example.test/rejected", "001-48");
    assert_eq!(app.count(), 0, "001-48");
    assert_eq!(set_status(&mut root, &gateway, &id, "pending"), 200, "001-42");
    assert_eq!(again.navigate("/").url, "https://auth.example.test/pending", "001-42");

    // 001-54: an administrator is always active.
    let other = account_id(&gateway, "first@example.test");
    for status in ["pending", "rejected", "disabled"] {
        assert_eq!(set_status(&mut root, &gateway, &other, status), 409, "001-54: {status}");
    }
    let _ = root.get("/").expect(200);
    assert_eq!(set_status(&mut root, &gateway, &id, "no-such-status"), 400, "001-42");
}

#[test]
fn seed_001_57_of_twenty_first_sign_ups_at_once_one_is_administrator() {
    let app = Recorder::start();
    let gateway = narratorr(&app).start();
    std::thread::scope(|scope| {
        for nth in 0..20 {
            let portal = Portal::of(&gateway);
            scope.spawn(move || {
                let made = portal.sign_up(&format!("user{nth}@example.test"), "a-fine-Password-1");
                assert!(matches!(made.status, 201 | 503), "001-57: {made:?}");
            });
        }
    });
    let accounts = accounts(&gateway);
    let admins: Vec<&Value> = accounts.iter().filter(|one| one["role"] == "admin").collect();
    assert!(accounts.len() > 1, "001-57: more than one was made");
    assert_eq!(admins.len(), 1, "001-57: {accounts:#?}");
    let pending = accounts.iter().filter(|one| one["status"] == "pending").count();
    assert_eq!(pending, accounts.len() - 1, "001-57");
}

#[test]
fn seed_001_58_seed_001_71_seed_001_72_seed_001_76_bypass_is_one_administrator_and_leaves_no_account()
 {
    let app = Recorder::start();
    let mut gateway = narratorr(&app).env("AUTH_BYPASS", "1").start();
    let portal = Portal::of(&gateway);
    let _ = gateway.anonymous().get("/").expect(200);
    assert!(app.last().header("remote-user").is_some(), "001-71");
    assert_eq!(assertion(&app.last())["role"], "admin", "001-71");
    let answer = portal.page("/login");
    assert!((300..400).contains(&answer.status), "001-72: {}", answer.status);
    assert!(["/", "https://auth.example.test/"].contains(&answer.location()), "001-72");
    let forwarded = Request::get("https://wiki.example.test/").header("X-Real-IP", "192.0.2.7");
    let refused = gateway.client().send(&forwarded).expect(403);
    assert_eq!(code(&refused), "BYPASS_REFUSED", "001-74: nothing that came through a proxy");
    let warned = gateway.wait_log(&["WARN", "anonymous"]);
    assert!(warned.contains("never"), "001-76: {warned}");

    gateway.set_env("AUTH_BYPASS", None);
    gateway.restart();
    assert!(accounts(&gateway).is_empty(), "001-58: no account was left");
    let _ = gateway.anonymous().get("/").expect(401);
    let made = Portal::of(&gateway).sign_up("real@example.test", "a-fine-Password-1");
    assert_eq!(made.expect(201).json()["user"]["role"], "admin", "001-58");
}

#[test]
fn seed_001_75_bypass_off_loopback_takes_a_second_word_and_warns() {
    let app = Recorder::start();
    let mut gateway = narratorr(&app)
        .without("listener")
        .toml("[[listener]]\naddress = \"0.0.0.0:0\"")
        .env("AUTH_BYPASS", "1")
        .env("ALLOW_INSECURE_AUTH_BYPASS", "1")
        .start();
    let warned = gateway.wait_log(&["WARN", "not on loopback"]);
    assert!(warned.contains("EVERYBODY"), "001-75: a loud warning: {warned}");
    let port = gateway.plain().port();
    let client =
        vestibule_testkit::Client::plain(std::net::SocketAddr::from(([127, 0, 0, 1], port)));
    let _ = client.send(&Request::get("https://wiki.example.test/")).expect(200);
}

#[test]
fn seed_001_64_seed_001_65_seed_001_66_seed_001_67_seed_001_68_who_is_believed_about_the_clients_address()
 {
    let app = Recorder::start();
    let cases = [
        ("001-64, 001-67", Some("127.0.0.9, 192.0.2.0/24"), "127.0.0.9", "1.2.3.4", "1.2.3.4"),
        ("001-67", Some("127.0.0.9;192.0.2.0/24"), "127.0.0.9", "1.2.3.4, 192.0.2.8", "1.2.3.4"),
        ("001-67", Some("127.0.0.9 192.0.2.0/24"), "127.0.0.8", "1.2.3.4", "127.0.0.8"),
        ("001-65", Some("true"), "127.0.0.8", "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        ("001-66", Some("1"), "127.0.0.8", "1.2.3.4, 5.6.7.8", "5.6.7.8"),
        ("001-66", Some("2"), "127.0.0.8", "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        ("001-68", None, "127.0.0.8", "1.2.3.4", "127.0.0.8"),
        ("001-68", Some(""), "127.0.0.8", "1.2.3.4", "127.0.0.8"),
    ];
    for (row, trusted, source, forwarded, due) in cases {
        let mut builder = by_variables(&[("AUTH_SECRET", HEX_SECRET)])
            .without("server.trusted_proxies")
            .listeners(&[("proxy", false)])
            .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public"));
        if let Some(trusted) = trusted {
            builder = builder.env("TRUSTED_PROXIES", trusted);
        }
        let gateway = builder.start();
        let client = gateway.client().from(source);
        let request =
            Request::get("https://wiki.example.test/").header("X-Forwarded-For", forwarded);
        let _ = client.send(&request).expect(200);
        assert_eq!(app.last().header("x-real-ip"), Some(due), "{row}: {trusted:?} {forwarded}");
        let login = Request::new("POST", "https://auth.example.test/api/v1/auth/login")
            .header("X-Forwarded-For", forwarded)
            .json(&json!({ "email": "nobody@example.test", "password": "not-the-Password-1" }));
        let _ = client.send(&login).expect(401);
        let failed = vestibule_testkit::until("signin.failure", || {
            audit_lines(&gateway, "signin.failure").into_iter().next()
        });
        assert_eq!(failed["client_ip"], due, "{row}: in the audit trail");
    }
}

#[test]
fn seed_001_70_an_address_that_is_tried_from_everywhere_stays_open_to_its_owner() {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[server]\nenvironment = \"production\"")
        .route(wiki(&app))
        .user("ann", &[])
        .user("bob", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    // Ten wrong passwords an address, from as many addresses as it takes.
    let mut refused = 0;
    let mut addresses = BTreeSet::new();
    for nth in 0..130 {
        let source = format!("127.0.1.{}", 1 + nth / 9);
        addresses.insert(source.clone());
        let answer =
            Portal::of(&gateway).from(&source).login("ann@example.test", "not-the-Password-1");
        assert!(matches!(answer.status, 401 | 429), "001-70: {answer:?}");
        refused += usize::from(answer.status == 429);
    }
    assert!(refused >= 25, "001-70: at most 100 tries an e-mail, {refused} of 130 refused");
    let fresh = Portal::of(&gateway).from("127.0.2.1");
    let answer = fresh.login("ann@example.test", PASSWORD).expect(429);
    assert!(answer.header("retry-after").is_some(), "001-70");
    let _ = fresh.login("bob@example.test", PASSWORD).expect(200);
    // The browser that signed in there before goes on.
    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
}

#[test]
fn seed_001_70_ten_wrong_passwords_of_one_address_are_enough_for_a_while() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let gateway = clock
        .on(gateway().toml("[server]\nenvironment = \"production\"").route(wiki(&app)))
        .user("ann", &[])
        .start();
    let portal = Portal::of(&gateway);
    for nth in 1..=10 {
        let answer = portal.login("ann@example.test", "not-the-Password-1");
        assert_eq!(answer.status, 401, "001-70: try {nth}");
    }
    let _ = portal.login("ann@example.test", PASSWORD).expect(429);
    clock.set(15 * 60 + 5);
    let _ = portal.login("ann@example.test", PASSWORD).expect(200);
}

#[test]
fn seed_001_06_seed_001_41_seed_003_17_seed_003_90_a_password_is_kept_as_argon2id_only() {
    let app = Recorder::start();
    let gateway = narratorr(&app).user("ann", &[]).start();
    let _ = Portal::of(&gateway).login("ann@example.test", PASSWORD).expect(200);
    let data = gateway.prepared().data();
    assert!(!crate::rows::files_that_hold(&data, "$argon2id$").is_empty(), "001-06");
    for other in [PASSWORD, "$scrypt$", "$2b$", "$pbkdf2"] {
        let held = crate::rows::files_that_hold(&data, other);
        assert!(held.is_empty(), "001-06, 003-17: {other} in {held:?}");
    }
    assert_eq!(account(&gateway, "ann@example.test")["status"], "active", "001-41");
}
