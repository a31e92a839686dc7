//! CONTRACT section 6: each case of the table, to people and to programs.

use std::time::Duration;

use serde_json::json;
use vestibule_testkit::{
    Actor, Answer, Door, Gateway, PASSWORD, PORTAL, Recorder, Request, Response, Route, free_port,
    ws,
};

use crate::gateway;

const WIKI: &str = "wiki.example.test";

fn wiki(app: &Recorder) -> Route {
    Route::new("wiki", WIKI)
        .upstream(app.url())
        .access("signed-in")
        .rule(&["/public/*", "/status/*"], &[], "public")
        .rule(&["/deny"], &[], "deny")
        .rule(&["/keys"], &[], "api-key")
        .rule(&["/mfa"], &[], "mfa")
        .rule(&["/fresh"], &[], "{ max_auth_age = \"1ms\" }")
}

fn url(path: &str) -> Request {
    Request::get(&format!("https://{WIKI}{path}"))
}

/// As a frame navigates.
fn framed(request: Request) -> Request {
    request
        .header("Accept", "text/html")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "iframe")
}

/// A JSON refusal: RFC 9457, not stored, marked.
#[track_caller]
fn problem(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-vestibule"), Some(code));
    let body = answer.json();
    assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
    assert!(body["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{body}");
    assert!(body["title"].is_string() && body["type"].is_string(), "{body}");
}

/// A page.
#[track_caller]
fn page(answer: &Response, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-vestibule"), Some(code));
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
}

#[test]
fn nobody_is_sent_to_sign_in_or_told_so() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).start();
    let client = gateway.client();
    let login = format!("{PORTAL}/login?rd=https%3A%2F%2F{WIKI}%2Fx%3Fa%3D1");
    for (method, status) in
        [("GET", 302), ("HEAD", 302), ("POST", 303), ("DELETE", 303), ("PROPFIND", 303)]
    {
        let answer = client
            .send(&Request::new(method, &format!("https://{WIKI}/x?a=1")).navigation())
            .expect(status);
        assert_eq!(answer.location(), login);
        assert_eq!(answer.header("x-vestibule"), Some("UNAUTHENTICATED"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // Without Fetch Metadata `Accept` decides, with it that alone; the User-Agent never.
    let by_accept =
        client.send(&url("/x?a=1").header("Accept", "application/xml, text/html;q=0.9"));
    assert_eq!((by_accept.status, by_accept.location()), (302, &*login));
    for request in [
        url("/x?a=1"),
        url("/x?a=1").header("Accept", "*/*").header("User-Agent", "Mozilla/5.0 Chrome/156"),
        url("/x?a=1").header("Accept", "text/html").header("Sec-Fetch-Mode", "cors"),
        url("/x?a=1").header("Accept", "text/html").header("Sec-Fetch-Mode", "no-cors"),
    ] {
        let answer = client.send(&request);
        problem(&answer, 401, "UNAUTHENTICATED");
        assert_eq!(answer.json()["login_url"], login);
        assert!(
            answer.header("www-authenticate").is_some_and(|w| w.starts_with("Bearer")),
            "{answer:?}"
        );
    }
    let answer = client.send(&framed(url("/x?a=1")));
    page(&answer, 401, "UNAUTHENTICATED");
    assert!(
        answer.text().contains("target=\"_top\"") || answer.text().contains("target=_top"),
        "{}",
        answer.text()
    );
    // Where no session would do, nobody is sent to sign in.
    let answer = client.send(&url("/keys").navigation());
    page(&answer, 401, "UNAUTHENTICATED");
    let answer = client.send(&url("/keys"));
    problem(&answer, 401, "UNAUTHENTICATED");
    assert!(answer.json().get("login_url").is_none());
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_bad_key_or_token_is_never_a_redirect() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let forged = format!("vst_{}", "a".repeat(43));
    for path in ["/x", "/public/x", "/keys", "/deny"] {
        for (name, value) in
            [("X-Api-Key", forged.clone()), ("Authorization", format!("Bearer {forged}"))]
        {
            let request = url(path).header(name, &value);
            problem(&gateway.client().send(&request), 401, "INVALID_CREDENTIAL");
            page(&gateway.client().send(&request.clone().navigation()), 401, "INVALID_CREDENTIAL");
            // The good cookie beside it is not tried.
            for door in Door::ALL {
                let answer = ann.ask_with(door, request.clone()).expect(401);
                assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"), "{door:?}");
            }
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn who_is_signed_in_and_not_let_in_learns_why() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    for (path, code) in [("/deny", "FORBIDDEN"), ("/keys", "FORBIDDEN")] {
        problem(&ann.send(url(path)), 403, code);
        page(&ann.send(url(path).navigation()), 403, code);
    }
    for (path, step) in [("/mfa", "mfa"), ("/fresh", "reauth")] {
        problem(&ann.send(url(path)), 401, "STEP_UP_REQUIRED");
        let answer = ann.send(url(path).navigation()).expect(302);
        let rd = format!("https%3A%2F%2F{WIKI}%2F{}", &path[1..]);
        assert_eq!(answer.location(), format!("{PORTAL}/login?rd={rd}&step={step}"));
        // For a key no sign-in helps.
        let (_, key) = ann.create_key(&json!({ "name": path }));
        problem(&gateway.with_key(&key).send(url(path)), 403, "FORBIDDEN");
    }
    assert_eq!(app.connections(), 0);
}

fn signed_in_then(gateway: &Gateway, name: &str, status: &[&str]) -> Actor {
    let mut actor = gateway.as_user(name);
    actor.enter(&format!("https://{WIKI}/"));
    let _ = actor.send(url("/x")).expect(200);
    let email = format!("{name}@example.test");
    let arguments: Vec<&str> =
        ["user"].into_iter().chain(status.iter().copied()).chain([&*email]).collect();
    let _ = gateway.cli(&arguments).expect(0);
    actor
}

#[test]
fn f3_a_status_is_in_force_at_the_next_request_and_named() {
    let app = Recorder::start();
    let gateway =
        gateway().route(wiki(&app)).user("dis", &[]).user("rej", &[]).user("gone", &[]).start();
    let mut disabled = signed_in_then(&gateway, "dis", &["disable"]);
    let mut rejected = signed_in_then(&gateway, "rej", &["reject"]);
    let mut deleted = signed_in_then(&gateway, "gone", &["delete"]);
    let count = app.count();
    for door in Door::ALL {
        // Ended sessions are nobody's, living ones of a person who is shut out are named.
        for actor in [&mut disabled, &mut rejected, &mut deleted] {
            let answer = actor.ask(door, "GET", "/x");
            assert!(matches!(answer.status, 401 | 403), "{door:?}: {}", answer.status);
            let code = answer.code().unwrap();
            assert!(
                ["UNAUTHENTICATED", "ACCOUNT_DISABLED", "ACCOUNT_REJECTED"].contains(&&*code),
                "{code}"
            );
        }
    }
    assert_eq!(app.count(), count);
    let pending = gateway.cli_with(
        &["user", "add", "pen@example.test", "--status", "pending", "--password-file", "-"],
        PASSWORD.as_bytes(),
    );
    let _ = pending.expect(0);
    let mut pending = gateway.anonymous();
    let answer = pending.sign_in("pen@example.test", PASSWORD);
    assert!(answer.status < 500, "{}", answer.text());
    pending.enter(&format!("https://{WIKI}/"));
    for door in Door::ALL {
        let answer = pending.ask(door, "GET", "/x");
        assert!(matches!(answer.status, 401 | 403), "{door:?}: {}", answer.status);
    }
    assert_eq!(app.count(), count);
}

#[test]
fn a_websocket_by_cookie_needs_the_apps_own_origin() {
    let app = Recorder::start();
    let route = wiki(&app).set("allowed_origins", "[\"https://friend.example.test\"]");
    let gateway = gateway().route(route).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    for origin in [
        None,
        Some("https://evil.test"),
        Some("null"),
        Some("http://wiki.example.test"),
        Some("https://wiki.example.test.evil.test"),
        Some("https://xwiki.example.test"),
        Some("https://wiki.example.test:444"),
        Some(""),
    ] {
        let mut request = ws::handshake(ann.dressed(url("/ws")));
        if let Some(origin) = origin {
            request = request.header("Origin", origin);
        }
        let answer = gateway.client().send(&request);
        problem(&answer, 403, "ORIGIN_NOT_ALLOWED");
        for door in [Door::ForwardAuth, Door::AuthRequest] {
            let mut asked = url("/ws").header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
            if let Some(origin) = origin {
                asked = asked.header("Origin", origin);
            }
            let _ = ann.ask_with(door, asked).expect(403);
        }
    }
    assert_eq!(app.connections(), 0);
    for origin in ["https://wiki.example.test", "https://friend.example.test"] {
        let request = ann.dressed(url("/ws")).header("Origin", origin);
        assert!(ws::open(&gateway.client(), &request).is_ok(), "{origin}");
    }
    // Who shows a key is no browser.
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    let request = url("/ws").header("X-Api-Key", &key);
    assert!(ws::open(&gateway.client(), &request).is_ok());
    // Nobody: 401, never a redirect.
    let answer = gateway.client().send(&ws::handshake(url("/ws").header("Accept", "text/html")));
    problem(&answer, 401, "UNAUTHENTICATED");
}

#[test]
fn a_key_over_its_limit_is_429_with_the_fields_of_the_draft() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let (_, key) = gateway
        .as_user("ann")
        .create_key(&json!({ "name": "k", "rate_limit": { "requests": 3, "window": "60s" } }));
    let mut program = gateway.with_key(&key);
    for _ in 0..3 {
        let _ = program.get("/x").expect(200);
    }
    let answer = program.get("/x");
    problem(&answer, 429, "RATE_LIMITED");
    let retry: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&retry), "{retry}");
    let policy = answer.header("ratelimit-policy").unwrap();
    let (name, parameters) = policy.split_once(';').unwrap();
    assert!(name.starts_with('"') && name.ends_with('"'), "{policy}");
    assert!(parameters.contains("q=3") && parameters.contains("w=60"), "{policy}");
    let state = answer.header("ratelimit").unwrap();
    assert!(state.starts_with(name) && state.contains("r=0") && state.contains("t="), "{state}");
    assert!(!answer.headers.iter().any(|(_, value)| value.contains(&key)), "the key is told");
    page(&program.send(url("/x").navigation()), 429, "RATE_LIMITED");
    let _ = program.ask(Door::ForwardAuth, "GET", "/x").expect(429);
    let answer = program.ask(Door::AuthRequest, "GET", "/x").expect(403);
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.count(), 3);
}

#[test]
fn no_route_a_bad_target_and_a_body_too_large_are_told_apart() {
    let app = Recorder::start();
    let route = wiki(&app).set("max_body", "\"1KiB\"");
    let gateway = gateway().route(route).start();
    let client = gateway.client();
    let nowhere = Request::get("https://none.example.test/");
    problem(&client.send(&nowhere), 404, "NO_ROUTE");
    page(&client.send(&nowhere.clone().navigation()), 404, "NO_ROUTE");
    problem(&client.send(&url("/a//b")), 400, "BAD_REQUEST_TARGET");
    page(&client.send(&url("/a//b").navigation()), 400, "BAD_REQUEST_TARGET");
    let large = Request::new("POST", &format!("https://{WIKI}/public/x")).body(vec![b'x'; 1025]);
    problem(&client.send(&large), 413, "BODY_TOO_LARGE");
    assert_eq!(app.connections(), 0);
    let fits = Request::new("POST", &format!("https://{WIKI}/public/x")).body(vec![b'x'; 1024]);
    let _ = client.send(&fits).expect(200);
}

#[test]
fn an_app_that_is_away_or_talks_nonsense_is_502_and_one_that_is_late_504() {
    let app = Recorder::with(|seen| match &*seen.target {
        "/public/hang" => Answer::Hang,
        "/public/close" => Answer::Close,
        "/public/reset" => Answer::Reset,
        "/public/nonsense" => Answer::RawThenClose(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()),
        "/public/switch" => Answer::RawThenClose(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_vec(),
        ),
        "/public/two-lengths" => Answer::RawThenClose(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_vec(),
        ),
        "/public/only-1xx" => Answer::RawThenClose(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        _ => Answer::Echo,
    });
    let dead = Route::new("dead", "dead.example.test")
        .upstream(format!("http://{}", free_port()))
        .access("public");
    let route = wiki(&app).set("timeouts", "{ response = \"500ms\" }");
    let gateway = gateway().route(route).route(dead).start();
    let client = gateway.client();
    for path in [
        "/public/close",
        "/public/reset",
        "/public/nonsense",
        "/public/switch",
        "/public/two-lengths",
        "/public/only-1xx",
    ] {
        problem(&client.send(&url(path)), 502, "UPSTREAM_UNREACHABLE");
        page(&client.send(&url(path).navigation()), 502, "UPSTREAM_UNREACHABLE");
    }
    let dead = Request::get("https://dead.example.test/");
    let answer = client.send(&dead);
    problem(&answer, 502, "UPSTREAM_UNREACHABLE");
    // J6: no address, no error of the system.
    for inner in ["127.0.0.1", "refused", "os error", "dead"] {
        assert!(!answer.text().contains(inner), "{}", answer.text());
    }
    problem(&client.send(&url("/public/hang")), 504, "UPSTREAM_TIMEOUT");
    page(&client.send(&url("/public/hang").navigation()), 504, "UPSTREAM_TIMEOUT");
    let _ = client.send(&url("/public/fine")).expect(200);
}

#[test]
fn what_the_app_answers_is_the_apps() {
    let app = Recorder::with(|seen| {
        let status =
            seen.target.rsplit('/').next().and_then(|code| code.parse().ok()).unwrap_or(200);
        Answer::Full(
            status,
            vec![
                ("X-Vestibule".into(), "ALLOWED".into()),
                ("Cache-Control".into(), "public, max-age=60".into()),
                ("X-App".into(), "1".into()),
            ],
            b"the app's own".to_vec(),
        )
    });
    let gateway = gateway().route(wiki(&app)).start();
    for status in [200, 401, 403, 404, 500, 503] {
        let answer = gateway.client().send(&url(&format!("/status/{status}"))).expect(status);
        assert_eq!(answer.text(), "the app's own");
        assert_eq!(answer.header("x-vestibule"), None, "only Vestibule says that");
        assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
        assert_eq!(answer.header("x-app"), Some("1"));
    }
}

#[test]
fn cors_reads_our_refusals_only_where_a_route_says_so() {
    let app = Recorder::start();
    let route = wiki(&app).set("cors_origins", "[\"https://spa.example.test\"]");
    let gateway = gateway().route(route).start();
    for (origin, told) in [
        ("https://spa.example.test", true),
        ("https://evil.test", false),
        ("null", false),
        ("https://spa.example.test.evil.test", false),
        ("http://spa.example.test", false),
    ] {
        let answer = gateway.client().send(&url("/x").header("Origin", origin)).expect(401);
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, told.then_some(origin), "{origin}");
    }
    // A preflight passes only for what is public, unless the route lets them all.
    let preflight = |path: &str, method: &str| {
        Request::new("OPTIONS", &format!("https://{WIKI}{path}"))
            .header("Origin", "https://evil.test")
            .header("Access-Control-Request-Method", method)
    };
    let _ = gateway.client().send(&preflight("/x", "POST")).expect(401);
    let _ = gateway.client().send(&preflight("/deny", "GET")).expect(403);
    let _ = gateway.client().send(&preflight("/public/x", "POST")).expect(200);
    let with_body = preflight("/x", "POST").body("x");
    let _ = gateway.client().send(&with_body).expect(401);
}

#[test]
fn a_certificate_that_does_not_cover_the_host_is_421() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki(&app))
        .route(Route::new("other", "other.test").upstream(app.url()).access("public"))
        .start();
    let mut conn = gateway.tls_client().connect(WIKI);
    let answer = conn.exchange(&Request::get("https://other.test/"));
    assert_eq!((answer.status, answer.code().as_deref()), (421, Some("MISDIRECTED_REQUEST")));
    assert_eq!(app.connections(), 0);
}

#[test]
fn what_is_no_http_gets_a_bare_answer_and_a_closed_connection() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).toml("[server]\nheader_timeout = \"300ms\"").start();
    for bytes in [
        &b"\x16\x03\x01\x00\x05hello"[..],
        b"SSH-2.0-x\r\n\r\n",
        b"GET\r\n\r\n",
        b"\r\n\r\n\0\0\0\r\n\r\n",
    ] {
        let mut conn = gateway.client().connect("x");
        let _ = conn.write_all(bytes);
        assert!(conn.closes_within(Duration::from_secs(20)), "{bytes:?}");
    }
    let answer = gateway.client().raw("x", b"GET / HTTP/1.1\r\nHost: wiki.exa");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(app.connections(), 0);
}
