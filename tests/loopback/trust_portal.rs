//! SECURITY.md 1.J and the portal's part of CONTRACT section 8: who may call what, from where, and
//! what never leaks.

use serde_json::{Value, json};
use vestibule_testkit::{
    Actor, Client, Door, Gateway, PASSWORD, PORTAL, Recorder, Request, Response, Route, TRUSTED,
};

use crate::gateway;

const WIKI: &str = "wiki.example.test";

fn start(app: &Recorder) -> Gateway {
    gateway()
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("signed-in").rule(
            &["/public/*"],
            &[],
            "public",
        ))
        .user("ann", &[])
        .admin("root")
        .start()
}

/// Method, path with ids filled in, and whether it asks for a credential: every operation of the
/// document that the server itself hands out.
fn operations(gateway: &Gateway) -> Vec<(String, String, bool)> {
    let document = gateway
        .client()
        .send(&Request::get(&format!("{PORTAL}/api/v1/openapi.json")))
        .expect(200)
        .json();
    let mut found = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            let path = path
                .replace("{id}", "6f3c1f0e-7f3b-4c39-9d1f-0a4b5c6d7e8f")
                .replace("{provider}", "nobody");
            assert!(!path.contains('{'), "{path}");
            found.push((method.to_uppercase(), path, !open));
        }
    }
    assert!(found.len() > 25, "{found:?}");
    found
}

fn call(actor: &mut Actor, method: &str, path: &str, body: &Value) -> Response {
    let request = Request::new(method, &format!("{PORTAL}{path}"))
        .header("Origin", PORTAL)
        .header("Sec-Fetch-Site", "same-origin");
    actor.send(if method == "GET" { request } else { request.json(body) })
}

#[test]
fn j1_without_a_credential_every_operation_is_refused() {
    let app = Recorder::start();
    let gateway = start(&app);
    let ann = gateway.as_user("ann").api("GET", "/me", None).json()["id"].clone();
    // Whom the body names is nobody's business.
    let body = json!({
        "userId": ann, "user_id": ann, "owner": ann, "account": ann, "id": ann, "name": "x", "email": "ann@example.test",
        "role": "admin",
    });
    for (method, path, guarded) in operations(&gateway) {
        let answer = call(&mut gateway.anonymous(), &method, &path, &body);
        if guarded {
            assert_eq!(answer.status, 401, "{method} {path}: {}", answer.text());
            assert_eq!(answer.code().as_deref(), Some("UNAUTHENTICATED"), "{method} {path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
            let stranger = |actor: Actor| call(&mut { actor }, &method, &path, &body);
            for (actor, code) in [
                (gateway.with_key("vst_forged"), "INVALID_CREDENTIAL"),
                (gateway.with_bearer("vst_forged"), "INVALID_CREDENTIAL"),
                (gateway.anonymous().with_header("Remote-User", "root"), "UNAUTHENTICATED"),
                (gateway.anonymous().with_header("X-Forwarded-User", "root"), "UNAUTHENTICATED"),
                (
                    gateway.anonymous().with_header("Cookie", "__Host-vestibule=x"),
                    "UNAUTHENTICATED",
                ),
                (
                    gateway.anonymous().with_header("Authorization", "Basic cm9vdDpyb290"),
                    "UNAUTHENTICATED",
                ),
            ] {
                let answer = stranger(actor);
                assert_eq!(
                    (answer.status, answer.code().as_deref()),
                    (401, Some(code)),
                    "{method} {path}"
                );
            }
        } else {
            let fine = method == "GET" && answer.status == 200;
            assert!(
                fine || matches!(answer.status, 400 | 401 | 403 | 415 | 422)
                    || (answer.status == 404 && path.ends_with("/nobody")),
                "{method} {path}: {}",
                answer.status
            );
            assert_eq!(
                answer.header("set-cookie").filter(|c| c.starts_with("__Host-vestibule=")),
                None
            );
        }
        // A method that is not offered is none.
        let answer = call(&mut gateway.anonymous(), "PROPFIND", &path, &body);
        assert!(matches!(answer.status, 401 | 404 | 405), "PROPFIND {path}: {}", answer.status);
    }
    let mut root = gateway.as_user("root");
    let users = call(&mut root, "GET", "/api/v1/admin/users", &json!({})).expect(200).json();
    assert_eq!(users.as_array().unwrap().len(), 2, "an account was made or lost");
}

#[test]
fn j2_a_user_is_no_administrator_at_any_operation_and_gives_itself_nothing() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let (_, narrow) =
        gateway.as_user("root").create_key(&json!({ "name": "k", "scopes": ["route:*", "keys"] }));
    for (method, path, _) in operations(&gateway) {
        if !path.starts_with("/api/v1/admin/") && path != "/health/database" {
            continue;
        }
        for mut actor in [
            ann.clone(),
            gateway.with_key(&key),
            gateway.with_bearer(&access),
            gateway.with_key(&narrow),
        ] {
            let answer = call(&mut actor, &method, &path, &json!({ "role": "admin" }));
            assert_eq!(answer.status, 403, "{method} {path}: {}", answer.text());
        }
    }
    // Fields that are not its own are refused, not ignored.
    for body in [
        json!({ "name": "x", "role": "admin" }),
        json!({ "role": "admin" }),
        json!({ "email": "root@example.test" }),
        json!({ "name": "x", "email_verified": true }),
        json!({ "name": "x", "status": "active" }),
        json!({ "name": "x", "groups": ["staff"] }),
        json!({ "name": "x", "username": "root" }),
        json!({ "name": "x", "id": "6f3c1f0e-7f3b-4c39-9d1f-0a4b5c6d7e8f" }),
    ] {
        let answer = ann.api("PATCH", "/me", Some(&body));
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
    }
    let me = ann.api("GET", "/me", None).json();
    assert_eq!(
        (&me["role"], &me["name"], &me["groups"]),
        (&json!("user"), &json!("ann"), &json!([]))
    );
    for body in [
        json!({ "name": "k", "owner": "root@example.test" }),
        json!({ "name": "k", "user_id": "x" }),
    ] {
        let answer = ann.api("POST", "/api-keys", Some(&body));
        assert!(matches!(answer.status, 201 | 400), "{body}: {}", answer.text());
        if answer.status == 201 {
            let made = answer.json()["key"].as_str().unwrap().to_owned();
            assert_eq!(gateway.with_key(&made).api("GET", "/me", None).json()["username"], "ann");
        }
    }
}

#[test]
fn the_last_administrator_stays_one() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut root = gateway.as_user("root");
    let id = root.api("GET", "/me", None).json()["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/admin/users/{id}");
    let answer = call(&mut root, "PATCH", &path, &json!({ "role": "user" })).expect(409);
    assert_eq!(answer.code().as_deref(), Some("LAST_ADMIN"));
    let answer = call(&mut root, "DELETE", &path, &json!({})).expect(409);
    assert_eq!(answer.code().as_deref(), Some("LAST_ADMIN"));
    for status in ["disabled", "pending", "rejected"] {
        let answer = call(&mut root, "PATCH", &path, &json!({ "status": status })).expect(409);
        assert_eq!(answer.code().as_deref(), Some("ADMIN_ALWAYS_ACTIVE"), "{status}");
    }
    let _ = root.api("GET", "/me", None).expect(200);
}

/// Where a request says that it comes from, and whether a state change by cookie is taken.
const PLACES: &[(&[(&str, &str)], bool)] = &[
    (&[("Sec-Fetch-Site", "same-origin")], true),
    (&[("Sec-Fetch-Site", "same-origin"), ("Origin", PORTAL)], true),
    (&[("Origin", PORTAL)], true),
    (&[], true),
    (&[("Sec-Fetch-Site", "cross-site")], false),
    (&[("Sec-Fetch-Site", "same-site")], false),
    (&[("Sec-Fetch-Site", "none")], false),
    (&[("Sec-Fetch-Site", "cross-site"), ("Origin", PORTAL)], false),
    (&[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")], false),
    (&[("Sec-Fetch-Site", "Same-Origin")], false),
    (&[("Sec-Fetch-Site", "")], false),
    (&[("Origin", "null")], false),
    (&[("Origin", "https://wiki.example.test")], false),
    (&[("Origin", "https://evil.test")], false),
    (&[("Origin", "http://auth.example.test")], false),
    (&[("Origin", "https://auth.example.test:444")], false),
    (&[("Origin", "https://auth.example.test.evil.test")], false),
    (&[("Origin", PORTAL), ("Origin", "https://evil.test")], false),
    (&[("Origin", "")], false),
];

fn from_place(mut request: Request, place: &[(&str, &str)]) -> Request {
    for (name, value) in place {
        request = request.header(name, value);
    }
    request
}

#[test]
fn j7_a_state_change_by_cookie_comes_from_the_portal_itself() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    for (place, taken) in PLACES {
        let request = Request::new("PATCH", &format!("{PORTAL}/api/v1/auth/me"))
            .json(&json!({ "name": "ann" }));
        let answer = ann.send(from_place(request, place));
        if *taken {
            assert_eq!(answer.status, 200, "{place:?}: {}", answer.text());
        } else {
            assert_eq!(
                (answer.status, answer.code().as_deref()),
                (403, Some("CSRF_FAILED")),
                "{place:?}"
            );
        }
        // Login CSRF: nobody is signed in as somebody else by a foreign page.
        let body = json!({ "email": "ann@example.test", "password": PASSWORD, "cookie": true });
        if !*taken {
            let request = Request::new("POST", &format!("{PORTAL}/api/v1/auth/login")).json(&body);
            let answer = gateway.anonymous().send(from_place(request, place)).expect(403);
            assert_eq!(answer.header("set-cookie"), None, "{place:?}");
            let form = Request::new("POST", &format!("{PORTAL}/login"))
                .form(&[("email", "ann@example.test"), ("password", PASSWORD)]);
            let answer = gateway.anonymous().send(from_place(form, place)).expect(403);
            assert!(
                !answer.all("set-cookie").any(|c| c.starts_with("__Host-vestibule=")),
                "{place:?}"
            );
            let form = Request::new("POST", &format!("{PORTAL}/logout")).form(&[("rd", "")]);
            let _ = ann.send(from_place(form, place)).expect(403);
        }
    }
    // A form without either header needs its token; JSON in a form's clothes is none.
    let form = Request::new("POST", &format!("{PORTAL}/logout")).form(&[("rd", "")]);
    let _ = ann.send(form).expect(403);
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
        let request = Request::new("PATCH", &format!("{PORTAL}/api/v1/auth/me"))
            .header("Content-Type", kind)
            .body("{\"name\":\"x\"}");
        let answer = ann.send(request);
        assert!(matches!(answer.status, 403 | 415), "{kind}: {}", answer.status);
    }
    let _ = ann.api("GET", "/me", None).expect(200);
    // No origin is ever told that it may read with credentials.
    for origin in ["https://evil.test", "null", "https://wiki.example.test"] {
        for method in ["GET", "OPTIONS"] {
            let request = Request::new(method, &format!("{PORTAL}/api/v1/auth/me"))
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "PATCH");
            let answer = ann.send(request);
            assert!(
                !answer.headers.iter().any(|(name, _)| name.starts_with("access-control-")),
                "{answer:?}"
            );
        }
    }
    // A GET changes nothing.
    for path in ["/api/v1/auth/logout", "/api/v1/auth/refresh", "/api/v1/auth/login"] {
        let answer = ann.send(Request::get(&format!("{PORTAL}{path}")));
        assert!(matches!(answer.status, 404 | 405), "{path}: {}", answer.status);
    }
    let answer = ann.send(from_place(Request::get(&format!("{PORTAL}/logout")).navigation(), &[]));
    assert!(matches!(answer.status, 200 | 302), "{}", answer.status);
}

#[test]
fn every_answer_of_the_portal_carries_its_armour() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    let mut seen = 0;
    for path in [
        "/",
        "/login",
        "/signup",
        "/setup",
        "/pending",
        "/rejected",
        "/logout?x",
        "/settings",
        "/api-keys",
        "/admin",
        "/nothing",
        "/health",
        "/health/database",
        "/api/v1/auth/me",
        "/api/v1/auth/config",
        "/api/v1/nothing",
        "/.well-known/jwks.json",
        "/api/v1/openapi.json",
        "/login?rd=a&rd=b",
        "/handoff",
        "/api/v1/auth/login",
        "/api/v1/auth/callback/none?code=x",
        "/.vestibule/start",
        "/verify-email",
        "/reset-password",
        "/forgot-password",
    ] {
        for (navigates, signed_in) in [(true, false), (false, false), (true, true), (false, true)] {
            let mut actor = if signed_in { ann.clone() } else { gateway.anonymous() };
            let request = Request::get(&format!("{PORTAL}{path}"));
            let answer = actor.send(if navigates { request.navigation() } else { request });
            let field = |name: &str| {
                answer.header(name).unwrap_or_else(|| panic!("{path}: no {name}: {answer:?}"))
            };
            assert!(answer.status < 500, "{path}");
            let policy = field("content-security-policy");
            for part in [
                "default-src 'none'",
                "base-uri 'none'",
                "object-src 'none'",
                "frame-ancestors 'none'",
                "form-action 'self'",
            ] {
                assert!(policy.contains(part), "{path}: {policy}");
            }
            assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
            assert_eq!(field("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(field("referrer-policy"), "no-referrer", "{path}");
            assert_eq!(field("x-frame-options"), "DENY", "{path}");
            assert!(field("strict-transport-security").contains("max-age=31536000"), "{path}");
            let cache = field("cache-control");
            let public = path.ends_with("jwks.json") || path.ends_with("openapi.json");
            assert!(cache.contains("no-store") || public, "{path}: {cache}");
            assert_eq!(answer.header("server"), None, "{path}");
            seen += 1;
        }
    }
    assert_eq!(seen, 26 * 4);
    let _ = ann.sign_out();
}

#[test]
fn j8_what_a_link_or_a_person_writes_is_never_markup() {
    let app = Recorder::start();
    let gateway = start(&app);
    let marked = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{1234*5678}}${1234*5678}</title>";
    let encoded: String = marked.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut ann = gateway.as_user("ann");
    let _ = ann.api("PATCH", "/me", Some(&json!({ "name": marked }))).expect(200);
    let (_, key) = ann.create_key(&json!({ "name": marked }));
    drop(key);
    for url in [
        format!("{PORTAL}/login?rd={encoded}"),
        format!("{PORTAL}/login?rd=%2F{encoded}"),
        format!("{PORTAL}/login?step={encoded}"),
        format!("{PORTAL}/login?error={encoded}&signed_out"),
        format!("{PORTAL}/logout?rd={encoded}"),
        format!("{PORTAL}/signup?rd={encoded}"),
        format!("{PORTAL}/setup?token={encoded}"),
        format!("{PORTAL}/nothing/{encoded}"),
        format!("{PORTAL}/handoff?host={encoded}&state={encoded}"),
        format!("{PORTAL}/settings?change={encoded}"),
        format!("{PORTAL}/api-keys?x={encoded}"),
        format!("{PORTAL}/"),
        format!("https://{WIKI}/.vestibule/callback?code={encoded}&state={encoded}&again=1"),
        format!("https://{WIKI}/x?{encoded}"),
        format!("https://{encoded}.example.test/"),
    ] {
        for mut actor in [ann.clone(), gateway.anonymous()] {
            for site in ["none", "cross-site"] {
                let request = Request::get(&url)
                    .header("Accept", "text/html")
                    .header("Sec-Fetch-Mode", "navigate")
                    .header("Sec-Fetch-Site", site)
                    .header("Referer", marked)
                    .header("User-Agent", marked);
                let answer = actor.send(request);
                let text = answer.text();
                assert!(
                    !text.contains("<script>alert") && !text.contains("<img src=x"),
                    "{url}\n{text}"
                );
                assert!(
                    !text.contains("7006652"),
                    "{url}: a template was filled in by what came\n{text}"
                );
            }
        }
    }
}

#[test]
fn j9_a_cursor_or_id_that_is_none_is_400_or_404() {
    let app = Recorder::start();
    let gateway = start(&app);
    let root = gateway.as_user("root");
    for junk in [
        "x",
        "'",
        "1 OR 1=1",
        "%27%3B--",
        "../users",
        "00000000-0000-0000-0000-000000000000",
        "-1",
        "9999999999999999999999",
        "%00",
        "\u{fffd}",
    ] {
        let junk: String = junk.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for path in [
            format!("/api/v1/admin/users?after={junk}"),
            format!("/api/v1/admin/users?limit={junk}"),
            format!("/api/v1/admin/audit?after={junk}"),
            format!("/api/v1/admin/audit?limit={junk}"),
            format!("/api/v1/admin/audit?event={junk}"),
            format!("/api/v1/admin/users/{junk}"),
            format!("/api/v1/admin/sessions?after={junk}"),
        ] {
            let answer = root.clone().send(Request::get(&format!("{PORTAL}{path}")));
            assert!(matches!(answer.status, 200 | 400 | 404), "{path}: {}", answer.status);
            for inner in ["sqlite", "SQL", "sqlx", "panicked"] {
                assert!(!answer.text().contains(inner), "{path}: {}", answer.text());
            }
        }
    }
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"email\":1}",
        "{\"email\":\"a\",\"email\":\"b\"}",
        "{\"a\":{\"a\":{\"a\":{}}}}",
    ] {
        for path in ["/api/v1/auth/login", "/api/v1/auth/refresh", "/api/v1/auth/signup"] {
            let request = Request::new("POST", &format!("{PORTAL}{path}"))
                .header("Content-Type", "application/json")
                .body(body);
            let answer = gateway.client().send(&request);
            assert!(matches!(answer.status, 400 | 401 | 403), "{path} {body}: {}", answer.status);
        }
    }
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let request = Request::new("POST", &format!("{PORTAL}/api/v1/auth/login"))
        .header("Content-Type", "application/json")
        .body(deep);
    let _ = gateway.client().send(&request).expect(400);
}

#[test]
fn j6_nothing_of_the_inside_stands_on_the_outside() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    for host in ["auth.example.test", WIKI] {
        for path in [
            "/metrics",
            "/healthz",
            "/readyz",
            "/debug",
            "/debug/pprof",
            "/debug/pprof/heap",
            "/docs",
            "/swagger",
            "/console",
            "/.git/config",
            "/.env",
            "/vestibule.toml",
            "/data/vestibule.db",
            "/actuator",
        ] {
            for mut actor in [gateway.anonymous(), ann.clone()] {
                let answer = actor.send(Request::get(&format!("https://{host}{path}")));
                assert!(matches!(answer.status, 401 | 404), "{host}{path}: {}", answer.status);
                assert!(!answer.text().contains("vestibule_"), "{host}{path}");
            }
        }
    }
    // Telemetry stands on a listener of its own, on loopback.
    assert!(gateway.telemetry().ip().is_loopback());
    let metrics = Client::plain(gateway.telemetry())
        .send(&Request::get("http://x/metrics"))
        .expect(200)
        .text();
    let (id, key) = ann.create_key(&json!({ "name": "k" }));
    let mut root = gateway.as_user("root");
    let mut shown = metrics;
    for path in [
        "/api/v1/auth/api-keys",
        "/api/v1/admin/api-keys",
        "/api/v1/admin/users",
        "/api/v1/admin/sessions",
        "/api/v1/auth/sessions",
        "/api/v1/admin/audit",
        "/api/v1/admin/routes",
        "/health",
        "/health/database",
        "/api/v1/auth/config",
        "/.well-known/jwks.json",
    ] {
        for actor in [&mut root, &mut ann] {
            shown.push_str(&actor.send(Request::get(&format!("{PORTAL}{path}"))).text());
        }
    }
    assert!(shown.contains(&id), "read the right lists");
    let cookie = ann.session_cookie("auth.example.test").unwrap().value;
    for secret in
        [&*key, &cookie, PASSWORD, "$argon2", "w1fJ3x9Vq7uYb2Kd8Rz5Tn0Lc6Ph4Sg", "password_hash"]
    {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    let data = gateway.prepared().data().display().to_string();
    assert!(!shown.contains(&data), "the data directory is told");
}

#[test]
fn j5_a_key_that_is_switched_off_in_the_middle_of_use_stays_off() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    let body = json!({ "name": "k", "rate_limit": { "requests": 1_000_000, "window": "60s" } });
    let (id, key) = ann.create_key(&body);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut conn = gateway.client().connect(WIKI);
                let request = Request::get(&format!("https://{WIKI}/x")).header("X-Api-Key", &key);
                let mut ended = false;
                for _ in 0..150 {
                    let status = conn.exchange(&request).status;
                    assert!(matches!(status, 200 | 401), "{status}");
                    // What was refused once is never let in again.
                    assert!(!ended || status == 401, "revived");
                    ended = status == 401;
                }
            });
        }
        let off = json!({ "enabled": false });
        let _ = ann.api("PATCH", &format!("/api-keys/{id}"), Some(&off)).expect(200);
    });
    let _ = gateway.with_key(&key).get("/x").expect(401);
    let keys = ann.api("GET", "/api-keys", None).expect(200).json();
    let listed = keys
        .as_array()
        .or_else(|| keys["keys"].as_array())
        .unwrap()
        .iter()
        .find(|k| k["id"] == id)
        .unwrap()
        .clone();
    assert_eq!(listed["enabled"], false, "{listed}");
}

#[test]
fn j10_no_secret_stands_in_a_log_metric_or_refusal_at_the_highest_level() {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[telemetry]\nlog = { format = \"json\", level = \"trace\" }\naccess_log = { format = \"json\" }")
        .toml("[secrets]\njwt_secret = \"jwt-canary-8Zk2Wn5Xv7Rb1Tm4Yc6Pd9Lf3Hs0Ja\"")
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("signed-in")
                .rule(&["/basic"], &[], "{ credentials = [\"basic\"] }"),
        )
        .user("ann", &[])
        .admin("root")
        .start();
    let mut ann = gateway.as_user("ann");
    let landing =
        ann.navigate(&format!("https://{WIKI}/x?token=query-canary&api_key=query-canary"));
    assert_eq!(landing.response.status, 200);
    let callback =
        landing.visited.iter().find(|url| url.contains("/callback?")).expect("a hand-off").clone();
    let code = callback.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let state = callback.split("state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    let (access, refresh) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("x:{key}"))
    };
    let flow: Vec<String> = ann.jar().iter().map(|cookie| cookie.value.clone()).collect();
    let mut program = gateway.with_key(&key);
    for door in Door::ALL {
        let _ = program.ask(door, "GET", "/x?q=query-canary").expect(200);
        let _ = gateway.with_bearer(&access).ask(door, "GET", "/x").expect(200);
        let _ = gateway
            .anonymous()
            .with_header("Authorization", &format!("Basic {basic}"))
            .ask(door, "GET", "/basic")
            .expect(200);
        let _ = ann.ask(door, "GET", "/x").expect(200);
        let _ = gateway
            .with_key("vst_canaryCanaryCanaryCanaryCanaryCanaryCanary")
            .ask(door, "GET", "/x")
            .expect(401);
        let _ = gateway.with_bearer(&format!("{access}canary")).ask(door, "GET", "/x").expect(401);
        let _ = gateway
            .anonymous()
            .with_header("Authorization", "Bearer theirs-canary")
            .with_header("X-Api-Key", "theirs-canary")
            .with_header("Cookie", "theirs=theirs-canary; __Host-vestibule=theirs-canary")
            .ask(door, "GET", "/x")
            .expect(401);
    }
    let renewed = gateway
        .anonymous()
        .api("POST", "/refresh", Some(&json!({ "refresh_token": refresh })))
        .expect(200)
        .json();
    let _ = gateway
        .anonymous()
        .api("POST", "/refresh", Some(&json!({ "refresh_token": refresh })))
        .expect(401);
    let _ = gateway.anonymous().sign_in("ann@example.test", "password-canary-1").expect(401);
    let broken = Request::new("POST", &format!("{PORTAL}/api/v1/auth/login"))
        .header("Content-Type", "application/json")
        .body("{\"email\":\"ann@example.test\",\"password\":\"password-canary-2\",}");
    let _ = gateway.client().send(&broken).expect(400);
    let change = json!({ "current_password": PASSWORD, "new_password": "password-canary-3-Long" });
    let _ = ann.api("POST", "/password/change", Some(&change)).expect(204);
    let _ = ann.send(Request::get(&callback).navigation());
    let _ = gateway
        .client()
        .send(&Request::get(&format!("{PORTAL}/setup?token=setup-canary")).navigation());
    let _ = gateway
        .client()
        .from(TRUSTED)
        .send(&Request::get(&format!("https://{WIKI}/%zz?query-canary")));
    let _ = gateway.client().raw(WIKI, b"GET /x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer raw-canary\r\nContent-Length: 1, 2\r\n\r\n");
    let metrics = Client::plain(gateway.telemetry()).send(&Request::get("http://x/metrics")).text();
    let mut gateway = gateway;
    // The last of it has been written once the process has ended.
    assert_eq!(gateway.terminate(), 0);
    let logs = format!("{}\n{metrics}", gateway.logs().join("\n"));
    assert!(
        logs.contains("\"path\":\"/x\"") && logs.contains("\"level\":\"DEBUG\""),
        "read the right log:\n{logs}"
    );
    let mut secrets: Vec<&str> = vec![
        &key,
        &access,
        &refresh,
        &code,
        &state,
        &basic,
        PASSWORD,
        "canary",
        "canaryCanary",
        "w1fJ3x9Vq7uYb2Kd8Rz5Tn0Lc6Ph4Sg_test_only",
        "$argon2",
    ];
    secrets.extend(flow.iter().map(String::as_str).filter(|value| value.len() > 20));
    secrets.extend(
        ["access_token", "refresh_token"].iter().filter_map(|name| renewed[*name].as_str()),
    );
    for secret in secrets {
        let line = logs.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} stands in {line:?}");
    }
    let store_key = std::fs::read_to_string(gateway.prepared().data().join("store.key")).unwrap();
    assert!(!logs.contains(store_key.trim()), "the store key is logged");
}

#[test]
fn asvs_16_a_hostile_request_writes_one_well_formed_line() {
    let app = Recorder::start();
    let mut gateway = start(&app);
    let odd = "/public/%0a%1b%5b31m%22%7d%0d%0a";
    for (name, value) in [
        ("User-Agent", "a\"}\u{1b}[31m\\"),
        ("Referer", "\"\\\u{e9}"),
        ("X-Request-Id", "forged\"}"),
    ] {
        let mut request = Request::get(&format!("https://{WIKI}/")).header(name, value);
        request.target = odd.to_owned();
        let _ = gateway.client().send(&request);
    }
    let _ = gateway
        .anonymous()
        .sign_in("a\"}\n{\"event\":\"signin.success\"@example.test\u{1b}[31m", "x");
    assert_eq!(gateway.terminate(), 0);
    for line in gateway.logs() {
        let parsed: Result<Value, _> = serde_json::from_str(&line);
        assert!(parsed.is_ok_and(|value| value.is_object()), "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
        assert!(
            !line.contains("\"event\":\"signin.success\"") || !line.contains("a\\\""),
            "{line}"
        );
    }
}
