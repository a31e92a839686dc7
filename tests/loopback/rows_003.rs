//! Rows of 003, Openinary: its route table behind keys, the store's file, keys from birth to end.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};
use vestibule_testkit::{
    Actor, Answer, Door, Gateway, GatewayBuilder, PASSWORD, Recorder, Request, Route, until,
};

use crate::gateway;
use crate::rows::{
    Clock, HEX_SECRET, Portal, account, accounts, audit_lines, by_variables, code, files_that_hold,
    form_request, mode_of, set_mode, sqlite3, title, wiki,
};

const HOST: &str = "img.example.test";
const ORIGIN: &str = "https://img.example.test";

/// The document's route table; everything that it does not call public asks for a key.
fn openinary(app: &Recorder) -> GatewayBuilder {
    let public = ["/", "/health", "/t/*", "/video-status/*", "/queue/events"];
    by_variables(&[
        ("AUTH_SECRET", HEX_SECRET),
        ("VESTIBULE_PROFILE", "openinary"),
        ("MODE", "fullstack"),
    ])
    .portal(ORIGIN)
    .route(Route::new("openinary", HOST).upstream(app.url()).access("api-key").rule(
        &public,
        &["GET"],
        "public",
    ))
}

fn url(path: &str) -> String {
    format!("{ORIGIN}{path}")
}

/// A key of an account, made by the command line.
#[track_caller]
fn key_of(gateway: &Gateway, owner: &str, more: &[&str]) -> (String, String) {
    let owner = format!("{owner}@example.test");
    let mut arguments = vec!["key", "create", "--owner", &owner, "--name", "from the command line"];
    arguments.extend(["--format", "json"]);
    arguments.extend(more);
    let made = gateway.cli(&arguments).expect(0).json();
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

#[test]
fn seed_003_06_seed_003_26_seed_003_27_seed_003_28_seed_003_29_seed_003_31_seed_003_32_seed_003_33_seed_003_34_seed_003_36_seed_003_37_seed_003_54_seed_003_58_seed_003_59_public_rows_ask_for_nothing()
 {
    let app = Recorder::with(|request| {
        let fields = vec![
            ("Cache-Control".to_owned(), "public, max-age=31536000".to_owned()),
            ("Access-Control-Allow-Origin".to_owned(), "*".to_owned()),
            ("X-Target".to_owned(), request.target.clone()),
        ];
        Answer::Full(200, fields, b"picture".to_vec())
    });
    let gateway = openinary(&app).user("ann", &[]).start();
    let (_, key) = key_of(&gateway, "ann", &[]);
    assert!(key.starts_with("sk_"), "003-26: {key}");
    let mut nobody = gateway.anonymous();
    let rows = [
        ("003-28", "/"),
        ("003-29, 003-59", "/health"),
        ("003-31", "/t/w_200/a/b.jpg"),
        ("003-32", "/video-status/a/b.mp4"),
        ("003-33", "/video-status/a/b.mp4/size"),
        ("003-34", "/video-status/stats"),
    ];
    for (row, path) in rows {
        for method in ["GET", "HEAD"] {
            let answer = nobody.send(Request::new(method, &url(path)));
            assert_eq!(answer.status, 200, "{row}, 003-36: {method}");
            assert_eq!(app.last().target, path, "{row}");
            assert_eq!(answer.header("set-cookie"), None, "003-54, 003-58: {row}");
            assert_eq!(
                answer.header("cache-control"),
                Some("public, max-age=31536000"),
                "003-58: {row}"
            );
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "003-58: {row}");
        }
        let image = Request::get(&url(path))
            .header("Sec-Fetch-Mode", "no-cors")
            .header("Sec-Fetch-Site", "cross-site");
        let _ = nobody.send(image).expect(200);
    }
    for path in ["/other", "/tx", "/healthy", "/video-statuses"] {
        let _ = nobody.get(path).expect(401);
    }

    let preflight = Request::new("OPTIONS", &url("/t/x"))
        .header("Origin", "https://elsewhere.example")
        .header("Access-Control-Request-Method", "GET");
    let _ = nobody.send(preflight).expect(200);
    assert_eq!(app.last().header("remote-user"), None, "003-36: without identity");

    let before = app.count();
    let _ = nobody.send(Request::new("POST", &url("/t/x")).body("a")).expect(401);
    assert_eq!(app.count(), before, "003-37");

    let _ = gateway.with_bearer(&key).get("/t/image.jpg").expect(200);
    assert!(!app.last().holds(&key), "003-27: consumed");
    let before = app.count();
    let mut forged = key.clone();
    forged.pop();
    forged.push(if key.ends_with('0') { '1' } else { '0' });
    let refused = gateway.with_bearer(&forged).get("/t/image.jpg").expect(401);
    assert_eq!(code(&refused), "INVALID_CREDENTIAL", "003-27: a bad key of ours");
    assert_eq!(app.count(), before, "003-27");
}

#[test]
fn seed_003_38_seed_003_39_seed_003_40_seed_003_41_seed_003_48_seed_003_49_seed_003_50_seed_003_51_seed_003_52_seed_003_53_seed_003_55_seed_003_56_seed_003_60_seed_003_61_seed_003_83_protected_rows_ask_for_a_key()
 {
    let app = Recorder::start();
    let gateway = openinary(&app).user("ann", &[]).start();
    let (_, key) = key_of(&gateway, "ann", &[]);
    let (_, reader) = key_of(&gateway, "ann", &["--scope", "route:openinary:GET"]);
    let mut person = Portal::of(&gateway).person(HOST);
    let _ = person.sign_in("ann@example.test", PASSWORD).expect(200);
    assert!(person.session_cookie(HOST).is_some());
    let rows = [
        ("003-38", "POST", "/upload"),
        ("003-39", "GET", "/storage"),
        ("003-40", "GET", "/storage/a/b.jpg/metadata"),
        ("003-41", "DELETE", "/storage/a/b.jpg"),
        ("003-48", "GET", "/queue/stats"),
        ("003-49", "GET", "/queue/jobs?page=2"),
        ("003-50", "POST", "/queue/jobs/7/retry"),
        ("003-51", "POST", "/queue/jobs/7/cancel"),
        ("003-52", "DELETE", "/queue/jobs/7"),
        ("003-53", "GET", "/queue/worker/stats"),
    ];
    for (row, method, path) in rows {
        app.clear();
        let request = || Request::new(method, &url(path));
        let refused = gateway.anonymous().send(request());
        assert_eq!((refused.status, code(&refused).as_str()), (401, "UNAUTHENTICATED"), "{row}");
        let page = gateway.anonymous().send(request().header("Accept", "text/html"));
        assert_eq!((page.status, page.header("location")), (401, None), "003-56: {row}");
        let refused = person.send(request());
        assert_eq!((refused.status, code(&refused).as_str()), (403, "FORBIDDEN"), "003-55: {row}");
        assert_eq!(app.count(), 0, "{row}");
        let answer = gateway.with_bearer(&key).send(request());
        assert_eq!(answer.status, 200, "{row}: {answer:?}");
        let seen = app.last();
        assert_eq!((seen.method.as_str(), seen.target.as_str()), (method, path), "{row}");
        let answer = gateway.with_key(&key).send(request());
        assert_eq!(answer.status, 200, "003-63: {row}");
        let narrowed = gateway.with_bearer(&reader).send(request());
        let due = if method == "GET" { 200 } else { 403 };
        assert_eq!(narrowed.status, due, "003-83: {row} with a key for GET only");
    }

    app.clear();
    for path in [
        "/queue/anything",
        "/queue/events/x",
        "/queue",
        "/queue/",
        "/queue/Events",
        "/QUEUE/events",
    ] {
        let answer = gateway.anonymous().get(path);
        assert_eq!(answer.status, 401, "003-60, 003-61: {path}");
    }
    for path in [
        "/queue//stats",
        "/queue/%2e%2e/queue/stats",
        "/queue/events/../stats",
        "/queue/events/..%2fstats",
        "/queue/events/%252e%252e/stats",
        "/queue/events;x/stats",
        "/queue/events%2F..%2Fstats",
        "/queue\\stats",
        "//queue/stats",
    ] {
        for door in [Door::Proxy, Door::ForwardAuth] {
            let answer = gateway.anonymous().ask(door, "GET", path);
            assert!(matches!(answer.status, 400 | 401 | 403), "003-61: {path}: {answer:?}");
        }
    }
    assert_eq!(app.count(), 0, "003-60, 003-61");
}

#[test]
fn seed_003_38_a_refused_upload_is_answered_before_its_body_and_a_good_one_streams() {
    let app = Recorder::start();
    let gateway = openinary(&app).user("ann", &[]).start();
    let (_, key) = key_of(&gateway, "ann", &[]);
    let head =
        format!("POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1073741824\r\n\r\n");
    let mut conn = gateway.client().connect(HOST);
    conn.send(head.as_bytes());
    let answer = conn.read_response("POST").expect("003-38: an answer without a byte of the body");
    assert_eq!(answer.status, 401, "003-38");
    assert_eq!(app.connections(), 0, "003-38: the app sees nothing");

    let body = vec![b'x'; 8 << 20];
    let upload = Request::new("POST", &url("/upload")).body(body.clone());
    let _ = gateway.with_bearer(&key).send(upload).expect(200);
    assert_eq!(app.last().body.len(), body.len(), "003-38");
}

#[test]
fn seed_003_35_seed_003_57_events_arrive_one_by_one() {
    let app = Recorder::with(|_| {
        let head =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n".to_vec();
        Answer::Drip(vec![
            (Duration::ZERO, head),
            // The second event does not come before the test is long over.
            (Duration::from_secs(20), b"data: two\n\n".to_vec()),
        ])
    });
    let gateway = openinary(&app).start();
    let mut conn = gateway.client().connect(HOST);
    conn.send(format!("GET /queue/events HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    let start = std::time::Instant::now();
    let head = conn.read_head().expect("a head");
    assert_eq!(head.status, 200, "003-35");
    let _ = conn.read_until(b"data: one\n\n").expect("003-35: the first event");
    assert!(start.elapsed() < Duration::from_secs(5), "003-35, 003-57: at once, not buffered");
}

#[test]
fn seed_003_30_seed_003_42_seed_003_43_seed_003_44_seed_003_45_seed_003_46_seed_003_47_seed_003_62_seed_003_64_seed_003_74_seed_003_75_the_printed_key_calls_work_on_the_apps_host()
 {
    let app = Recorder::start();
    let gateway = openinary(&app).user("ann", &[]).user("bob", &[]).admin("root").start();
    let portal = Portal::of(&gateway);
    let (_, key) = key_of(&gateway, "ann", &[]);
    let (_, bobs) = key_of(&gateway, "bob", &[]);

    let printed = json!({ "name": "My Key", "expiresIn": 31_536_000 });
    let made = portal.with_bearer(&key, "POST", "/api-keys/create", Some(&printed));
    let made = made.expect(201).json();
    let second = made["key"].as_str().expect("003-42: `key`").to_owned();
    let id = made["id"].as_str().unwrap().to_owned();
    let ends: jiff::Timestamp = made["expires_at"].as_str().unwrap().parse().unwrap();
    let due = jiff::Timestamp::now().as_second() + 31_536_000;
    assert!((due - ends.as_second()).abs() <= 5, "003-64: {ends}");
    let _ = gateway.with_bearer(&second).get("/storage").expect(200);

    let list = portal.with_bearer(&key, "GET", "/api-keys/list", None).expect(200);
    let keys = list.json().as_array().expect("003-43: a list").clone();
    assert_eq!(keys.len(), 2, "003-43: own keys only: {keys:#?}");
    for secret in [&key, &second, &bobs] {
        assert!(!list.text().contains(secret.as_str()), "003-43: no secrets");
    }

    let path = format!("/api-keys/{id}");
    let change = |body: Value| portal.with_bearer(&key, "PATCH", &path, Some(&body));
    let _ = change(json!({ "enabled": false })).expect(200);
    let refused = gateway.with_bearer(&second).get("/storage").expect(401);
    assert_eq!(code(&refused), "INVALID_CREDENTIAL", "003-45, 003-75");
    let _ = change(json!({ "enabled": true })).expect(200);
    let _ = gateway.with_bearer(&second).get("/storage").expect(200);
    assert_eq!(
        change(json!({ "name": "renamed" })).expect(200).json()["name"],
        "renamed",
        "003-45"
    );

    let _ =
        portal.with_bearer(&bobs, "PATCH", &path, Some(&json!({ "enabled": false }))).expect(404);
    let _ = portal.with_bearer(&bobs, "DELETE", &path, None).expect(404);
    let _ = portal.with_bearer(&key, "DELETE", &path, None).expect(204);
    let _ = gateway.with_bearer(&second).get("/storage").expect(401);
    let _ = gateway.with_bearer(&key).get("/storage").expect(200);

    app.clear();
    for (method, path) in [
        ("POST", "/api-keys/create"),
        ("GET", "/api-keys/list"),
        ("DELETE", "/api-keys/7"),
        ("PATCH", "/api-keys/7"),
    ] {
        let request = Request::new(method, &url(path)).json(&json!({ "name": "a" }));
        let answer = gateway.client().send(&request);
        assert_eq!(answer.status, 401, "003-46: {method} {path}: {answer:?}");
    }
    assert_eq!(app.count(), 0, "003-47: none of it reaches the app");

    let _ = portal.get("/health/database").expect(401);
    let refused = portal.with_bearer(&key, "GET", "/health/database", None);
    assert_eq!(refused.status, 403, "003-30: a key of somebody who is no administrator");
    let (_, roots) = key_of(&gateway, "root", &[]);
    let health = portal.with_bearer(&roots, "GET", "/health/database", None).expect(200).json();
    assert_eq!(health["mode"], "0600", "003-30");
    assert_eq!(app.count(), 0, "003-30: the portal's");
    let public = gateway.anonymous().get("/health").expect(200).text();
    assert!(!public.contains("auth.db") && !public.contains(HEX_SECRET), "003-62");
}

#[test]
fn seed_003_03_seed_003_05_seed_003_08_seed_003_09_seed_003_10_seed_003_11_seed_003_68_seed_003_69_seed_003_71_seed_003_92_seed_003_98_the_store_is_one_file_of_mode_600()
 {
    let app = Recorder::start();
    let mut gateway = openinary(&app).admin("root").start();
    let data = gateway.prepared().data();
    let file = data.join("auth.db");
    assert!(file.exists(), "003-03, 003-05: made at the first start");
    assert_eq!(mode_of(&data), 0o700, "003-68");
    let files = |data: &std::path::Path| {
        let all = std::fs::read_dir(data).unwrap().flatten().map(|entry| entry.path());
        all.filter(|path| path.to_string_lossy().contains("auth.db")).collect::<Vec<_>>()
    };
    for path in files(&data) {
        assert_eq!(mode_of(&path), 0o600, "003-09, 003-69: {path:?}");
    }
    let line: Value = serde_json::from_str(&gateway.wait_log(&["ready", "auth_mode"])).unwrap();
    for name in ["store", "schema", "mode", "auth_mode"] {
        assert!(!line[name].is_null(), "003-71: {name} in {line}");
    }

    let (_, key) = key_of(&gateway, "root", &[]);
    let health = Portal::of(&gateway).with_bearer(&key, "GET", "/health/database", None);
    let health = health.expect(200).json();
    assert_eq!(health["mode"], "0600", "003-11");
    assert_eq!(health["integrity"], "ok", "003-98");
    for name in ["engine", "schema_version", "size", "last_backup"] {
        assert!(health.get(name).is_some(), "003-98: {name} in {health}");
    }

    assert_eq!(gateway.terminate(), 0);
    set_mode(&file, 0o644);
    gateway.restart();
    assert_eq!(mode_of(&file), 0o600, "003-10");
    let warned = gateway.wait_log(&["WARN", "auth.db"]);
    assert!(warned.contains("600") || warned.contains("644"), "003-10: {warned}");

    // 003-08: DB_PATH moves it, under this profile only.
    let elsewhere = tempfile::tempdir().unwrap();
    let moved = elsewhere.path().join("deep/a.db");
    let gateway = openinary(&app).env("DB_PATH", moved.to_str().unwrap()).start();
    assert!(moved.exists(), "003-08");
    assert_eq!(mode_of(&moved), 0o600, "003-08, 003-09");
    assert!(!gateway.prepared().data().join("auth.db").exists(), "003-08");
}

#[test]
fn seed_003_01_seed_003_07_seed_003_13_seed_003_19_seed_003_95_one_sign_in_serves_both_hosts_in_secure_cookies()
 {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[server]\nenvironment = \"production\"")
        .route(wiki(&app))
        .route(Route::new("api", "api.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    // Behind a front proxy that speaks TLS: what the socket speaks does not matter.
    let behind = gateway.client().from(vestibule_testkit::TRUSTED);
    let mut ann = gateway.anonymous().at(behind).with_header("X-Forwarded-Proto", "https");
    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    let _ = ann.get("https://wiki.example.test/").expect(200);
    let _ = ann.get("https://api.example.test/").expect(200);
    assert_eq!(app.count(), 2, "003-07: two hosts, one sign-in");
    for host in ["auth.example.test", "wiki.example.test", "api.example.test"] {
        let cookie = ann.session_cookie(host).expect("a cookie");
        assert_eq!(cookie.name, "__Host-vestibule", "003-95: {host}");
        for attribute in ["Secure", "HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(cookie.set.contains(attribute), "003-19, 003-95: {attribute}: {}", cookie.set);
        }
        assert!(!cookie.set.contains("Max-Age"), "003-19: {}", cookie.set);
    }
    let (_, key) = ann.create_key(&json!({ "name": "program" }));
    let _ = gateway.with_key(&key).get("/").expect(200);
    let sessions = ann.api("GET", "/sessions", None).expect(200).json();
    let sessions = sessions.as_array().unwrap();
    assert!(sessions.iter().any(|session| session["current"] == true), "003-13: {sessions:#?}");
}

#[test]
fn seed_003_21_seed_003_22_seed_003_23_seed_003_24_seed_003_99_setup_makes_one_administrator() {
    let app = Recorder::start();
    let gateway = openinary(&app).start();
    let portal = Portal::of(&gateway);
    // 003-22: on the app's host, by its short path; 003-24: no token at the machine itself.
    let page = portal.page("/setup").expect(200).text();
    assert!(page.contains("type=\"password\""), "003-24: no token asked for on loopback");
    let form = |token: &str, email: &str, password: &str| {
        form_request(ORIGIN, "/setup").form(&[
            ("token", token),
            ("email", email),
            ("name", "Root"),
            ("password", password),
        ])
    };

    // Through a proxy nobody is at the machine: the token is asked for.
    let far = |request: Request| {
        let client = gateway.client().from(vestibule_testkit::TRUSTED);
        client.send(&request.header("X-Forwarded-For", "192.0.2.1"))
    };
    let page = far(Request::get(&url("/setup")).navigation());
    assert!(!page.text().contains("type=\"password\""), "003-24: token first");
    let _ = far(form("not-the-token", "evil@example.test", "a-fine-Password-1"));
    assert!(accounts(&gateway).is_empty(), "003-24: a wrong token makes nobody");
    let file = gateway.prepared().data().join("setup-url");
    assert_eq!(mode_of(&file), 0o600, "003-24");
    let address = std::fs::read_to_string(&file).unwrap();
    assert!(address.starts_with(&url("/setup?token=")), "003-22: {address}");
    let token = address.trim().rsplit('=').next().unwrap().to_owned();
    assert!(token.len() >= 43, "003-24: 32 bytes");
    assert!(!gateway.logs().concat().contains(&token), "003-24: never in the log");

    let weak = gateway.client().send(&form("", "root@example.test", "abcdefgh1"));
    assert!(accounts(&gateway).is_empty(), "003-78: {weak:?}");
    std::thread::scope(|scope| {
        for nth in 0..20 {
            let (client, token) = (gateway.client(), &token);
            scope.spawn(move || {
                let email = format!("root{nth}@example.test");
                client.send(&form(token, &email, "a-fine-Password-1"))
            });
        }
    });
    let made = accounts(&gateway);
    assert_eq!(made.len(), 1, "003-23: 20 at once, one administrator: {made:#?}");
    assert_eq!(
        (&made[0]["role"], &made[0]["status"]),
        (&json!("admin"), &json!("active")),
        "003-21"
    );
    let _ = portal.login(made[0]["email"].as_str().unwrap(), "a-fine-Password-1").expect(200);
    let gone = portal.page("/setup");
    assert!(matches!(gone.status, 302 | 404), "003-23: {}", gone.status);
    let again = gateway.client().send(&form(&token, "late@example.test", "a-fine-Password-1"));
    assert!(matches!(again.status, 302 | 303 | 404), "003-23: {}", again.status);
    assert_eq!(accounts(&gateway).len(), 1, "003-23");

    let refused = portal.sign_up("new@example.test", "a-fine-Password-1").expect(403);
    assert_eq!(code(&refused), "SIGNUP_DISABLED", "003-99");
    assert_eq!(app.count(), 0, "003-22: nothing reached the app");
}

#[test]
fn seed_003_78_a_password_needs_what_the_document_names() {
    let app = Recorder::start();
    let gateway = openinary(&app).user("ann", &[]).start();
    let portal = Portal::of(&gateway);
    let (access, _) = portal.tokens("ann@example.test", PASSWORD);
    let change = |new: &str| {
        let body = json!({ "current_password": PASSWORD, "new_password": new });
        portal.with_bearer(&access, "POST", "/api/v1/auth/password/change", Some(&body))
    };
    let refused = change("abcdefgh1").expect(400);
    let said = refused.text().to_lowercase();
    assert!(
        said.contains("symbol") && said.contains("case"),
        "003-78: names what is missing: {said}"
    );
    assert!(!title(&refused).is_empty(), "003-78");
    for lacking in
        ["ABCDEFGH1!x1".replace('x', "X"), "abcdefgh!jkl".to_owned(), "Abcdefgh1jkl".to_owned()]
    {
        let _ = change(&lacking).expect(400);
    }
    assert!((200..300).contains(&change("Zebra-crossing-71").status), "003-78");
    let _ = portal.login("ann@example.test", "Zebra-crossing-71").expect(200);
}

#[test]
fn seed_003_18_seed_003_25_seed_003_72_seed_003_73_seed_003_76_seed_003_82_seed_003_91_seed_003_94_a_key_has_a_name_an_end_and_a_trail()
 {
    let app = Recorder::start();
    let gateway = openinary(&app).user("ann", &[]).start();
    let mut ann = Portal::of(&gateway).person(HOST);
    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    let (short_id, short) = ann.create_key(&json!({ "name": "backup job", "expires_in": 1 }));
    let (id, key) = ann.create_key(&json!({ "name": "web shop" }));
    let _ = gateway.with_bearer(&key).get("/storage").expect(200);

    until("003-73: 401 after its end", || {
        let answer = gateway.with_bearer(&short).get("/storage");
        (answer.status == 401).then(|| assert_eq!(code(&answer), "INVALID_CREDENTIAL", "003-76"))
    });
    let list = ann.api("GET", "/api-keys", None).expect(200).json();
    let ended = list.as_array().unwrap().iter().find(|one| one["id"] == short_id.as_str()).unwrap();
    let end: jiff::Timestamp = ended["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(end <= jiff::Timestamp::now(), "003-76: shown as expired: {ended}");

    let used = until("003-82: api_key.success", || {
        audit_lines(&gateway, "api_key.success")
            .into_iter()
            .find(|line| line.to_string().contains(&id))
    });
    assert_eq!(used["client_ip"], "127.0.0.1", "003-82");
    let created = audit_lines(&gateway, "api_key.created");
    for name in ["backup job", "web shop"] {
        let line = created.iter().find(|line| line.to_string().contains(name));
        let line = line.unwrap_or_else(|| panic!("003-72: {name} in {created:#?}"));
        for field in ["event", "actor", "subject", "client_ip", "request_id", "outcome"] {
            assert!(line.get(field).is_some(), "003-94: {field} in {line}");
        }
    }
    for line in gateway.logs().iter().filter(|line| line.contains("\"audit\"")) {
        let parsed: Value = serde_json::from_str(line).expect("003-94: each line is JSON");
        assert_eq!(parsed["target"], "audit", "003-94: {line}");
    }
    for secret in [&key, &short] {
        let secret = secret.strip_prefix("sk_").unwrap();
        assert!(!gateway.logs().concat().contains(secret), "003-82: no key in the log");
        let held = files_that_hold(&gateway.prepared().data(), secret);
        assert!(held.is_empty(), "003-18, 003-91: {held:?}");
    }
}

#[test]
fn seed_003_85_seed_003_86_seed_003_87_seed_003_88_a_backup_brings_accounts_back() {
    let app = Recorder::start();
    let mut gateway = openinary(&app).user("ann", &[]).user("bob", &[]).start();
    let (_, kept) = key_of(&gateway, "ann", &[]);
    let (before_id, revoked_before) = key_of(&gateway, "ann", &[]);
    let _ = gateway.cli(&["key", "revoke", &before_id]).expect(0);

    let checked = gateway.cli(&["db", "check"]).expect(0);
    assert!(checked.stdout.contains("ok"), "003-85: {}", checked.stdout);
    let file = gateway.prepared().data().join("auth.db");
    if let Some(said) = sqlite3(&file, "PRAGMA integrity_check") {
        assert_eq!(said, "ok", "003-86: while serving");
    }

    let folder = gateway.prepared().folder().to_owned();
    for name in ["copy.db", "latest.db.gz"] {
        let (after_id, revoked_after) = key_of(&gateway, "ann", &[]);
        let copy = folder.join(name);
        let _ = gateway.cli(&["db", "backup", copy.to_str().unwrap()]).expect(0);
        assert_eq!(mode_of(&copy), 0o600, "003-87: {name}");
        let _ = gateway.cli(&["user", "delete", "bob@example.test"]).expect(0);
        let _ = gateway.cli(&["key", "revoke", &after_id]).expect(0);

        let refused = gateway.cli(&["db", "restore", copy.to_str().unwrap()]).expect(1);
        let said = refused.stderr.to_lowercase();
        assert!(said.contains("stop"), "003-88: says stop first: {said}");
        assert_eq!(gateway.terminate(), 0);
        let _ = gateway.cli(&["db", "restore", copy.to_str().unwrap()]).expect(0);
        gateway.restart();
        assert_eq!(account(&gateway, "bob@example.test")["status"], "active", "003-87: {name}");
        let _ = gateway.with_bearer(&kept).get("/storage").expect(200);
        let _ = gateway.with_bearer(&revoked_before).get("/storage").expect(401);
        let _ = gateway.with_bearer(&revoked_after).get("/storage").expect(401);
    }

    assert_eq!(gateway.terminate(), 0);
    let mut bytes = Vec::new();
    std::fs::File::open(&file).unwrap().read_to_end(&mut bytes).unwrap();
    for byte in bytes.iter_mut().skip(4096).take(6000) {
        *byte = 0xA5;
    }
    std::fs::write(&file, bytes).unwrap();
    let damaged = gateway.cli(&["db", "check"]);
    assert_eq!(damaged.code, 1, "003-85: a corrupted copy: {damaged:?}");
}

#[test]
fn seed_003_93_seed_003_09_a_backup_is_made_every_day() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let gateway = clock.on(openinary(&app)).start();
    let folder = gateway.prepared().data().join("backups");
    clock.set(25 * 3600);
    let latest = folder.join("latest.db.gz");
    until("003-93: latest.db.gz after 25 hours", || latest.exists().then_some(()));
    let made: Vec<_> = std::fs::read_dir(&folder).unwrap().flatten().collect();
    let dated =
        made.iter().any(|entry| entry.file_name().to_string_lossy().starts_with("vestibule-"));
    assert!(dated, "003-93: vestibule-<time>.db.gz in {made:?}");
    assert_eq!(mode_of(&latest), 0o600, "003-09");
}

#[test]
fn seed_003_61_every_door_refuses_the_same_tricks() {
    let app = Recorder::start();
    let gateway = openinary(&app).start();
    let mut nobody: Actor = gateway.anonymous();
    for path in ["/queue/events%00", "/queue/%zz", "/t/a%5Cb", "/t/..", "/t/%2e%2e%2fstorage"] {
        for door in Door::ALL {
            let answer = nobody.ask(door, "GET", path);
            assert!((400..404).contains(&answer.status), "003-61: {path} at {door:?}: {answer:?}");
        }
    }
    assert_eq!(app.count(), 0, "003-61");
}
