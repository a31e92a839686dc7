//! Who is let in, and how the others are told.

use vestibule_testkit::Request;

use crate::stage::{AUTH, IMG, Kind, Stage, WIKI};

crate::with_every_proxy!(
    d5_d7_denials_say_why_and_never_touch_the_app,
    a1_a2_claims_about_another_url_change_nothing,
    m1_hook_paths_from_outside_are_404,
    m2_c2_the_path_that_was_authorised_is_the_path_that_the_app_gets,
    m12_health_preflight_favicon_and_well_known_are_not_forgotten,
    f2_signing_out_ends_the_cookie_on_every_host,
    m8_m10_without_the_hook_nobody_is_let_in,
);

fn d5_d7_denials_say_why_and_never_touch_the_app(stage: &mut Stage) {
    let mut nobody = stage.anonymous();
    // A program is told, not redirected.
    let program =
        nobody.send(Request::get(&format!("{WIKI}/a")).header("Accept", "application/json"));
    assert_eq!(program.status, 401, "{program:?}");
    assert_eq!(program.header("location"), None);
    assert_eq!(program.header("x-vestibule"), Some("UNAUTHENTICATED"));
    assert!(program.header("cache-control").is_some_and(|value| value.contains("no-store")));
    assert!(program.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
    // A person is sent to the portal, by 303 after a POST.
    for (method, status) in [("GET", 302), ("HEAD", 302), ("POST", 303)] {
        let answer = nobody.send(Request::new(method, &format!("{WIKI}/a?b=1")).navigation());
        assert_eq!(answer.status, status, "{method}: {answer:?}");
        let rd = "https%3A%2F%2Fwiki.example.test%2Fa%3Fb%3D1";
        assert_eq!(answer.location(), format!("{AUTH}/login?rd={rd}"), "{method}");
    }
    // A good credential that is not enough is no reason to sign in again.
    let mut bob = stage.signed_in("bob");
    bob.enter(WIKI);
    for url in ["/api", "/api/x?y=z"] {
        let answer = bob.send(Request::get(&format!("{WIKI}{url}")).navigation());
        assert_eq!(answer.status, 403, "{url}: {answer:?}");
        assert_eq!(answer.header("location"), None);
        assert_eq!(answer.header("x-vestibule"), Some("FORBIDDEN"));
    }
    // A bad key is never a redirect.
    let bad = Request::get(&format!("{WIKI}/open/a")).navigation().header("X-Api-Key", "vst_bad");
    let answer = stage.client().send(&bad);
    assert_eq!((answer.status, answer.header("location")), (401, None), "{answer:?}");
    assert_eq!(stage.reached(), 0);
    // The same prefix with another letter is another route.
    let _ = bob.send(Request::get(&format!("{WIKI}/apix"))).expect(200);
    assert_eq!((stage.wiki.count(), stage.api.count()), (1, 0));
    let _ = bob.send(Request::get(&format!("{WIKI}/API/x"))).expect(200);
    assert_eq!((stage.wiki.count(), stage.api.count()), (2, 0));
    let mut ann = stage.signed_in("ann");
    let _ = ann.get(&format!("{WIKI}/api/x")).expect(200);
    assert_eq!(stage.api.count(), 1);
}

fn a1_a2_claims_about_another_url_change_nothing(stage: &mut Stage) {
    for (name, value) in [
        ("X-Forwarded-Uri", "/open"),
        ("X-Forwarded-Method", "OPTIONS"),
        ("X-Forwarded-Host", "img.example.test"),
        ("X-Forwarded-Prefix", "/open"),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Original-URL", "https://wiki.example.test/open"),
        ("X-Original-URI", "/open"),
        ("X-Original-Method", "OPTIONS"),
        ("X-Rewrite-URL", "/open"),
        ("Forwarded", "for=127.0.0.1;host=img.example.test;proto=https"),
        ("True-Client-IP", "127.0.0.1"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("X-Client-IP", "127.0.0.1"),
        ("User-Agent", "ELB-HealthChecker/2.0"),
    ] {
        let answer = stage.client().send(&Request::get(&format!("{WIKI}/a")).header(name, value));
        assert!(matches!(answer.status, 400 | 401 | 403), "{name}: {answer:?}");
        assert_eq!(stage.reached(), 0, "{name}");
        let public = stage
            .client()
            .send(&Request::get(&format!("{IMG}/open/a")).header(name, format!("{value}-claimed")));
        assert!(matches!(public.status, 200 | 400 | 403), "{name}: {public:?}");
        if name != "User-Agent" {
            for seen in stage.img.requests() {
                assert!(!seen.holds("-claimed"), "{name}: {:?}", seen.headers);
            }
        }
        stage.img.clear();
    }
}

fn m1_hook_paths_from_outside_are_404(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    ann.enter(WIKI);
    for host in [AUTH, WIKI] {
        for path in [
            "/api/authz/forward-auth",
            "/api/authz/auth-request",
            "/api/authz/ext-authz/x",
            "/api/verify",
            "/oauth2/auth",
            "/api/authz/forward-auth?x=y",
            "/api/%61uthz/forward-auth",
        ] {
            for method in ["GET", "POST"] {
                let ask = Request::new(method, &format!("{host}{path}"))
                    .header("X-Forwarded-Method", "GET")
                    .header("X-Forwarded-Proto", "https")
                    .header("X-Forwarded-Host", "wiki.example.test")
                    .header("X-Forwarded-Uri", "/open")
                    .header("X-Original-Method", "GET")
                    .header("X-Original-URL", "https://wiki.example.test/open");
                let answer = ann.send(ask);
                assert_eq!(answer.status, 404, "{method} {host}{path}: {answer:?}");
                assert_eq!(answer.header("remote-user"), None);
            }
        }
    }
    if stage.kind == Kind::Nginx {
        let _ = ann.send(Request::get(&format!("{WIKI}/.vestibule-hook"))).expect(404);
    }
    assert_eq!(stage.reached(), 0);
}

fn m2_c2_the_path_that_was_authorised_is_the_path_that_the_app_gets(stage: &mut Stage) {
    // `/open/*` is public, all else is not: nothing that an app may read as outside of it gets through.
    for path in [
        "/open/../a",
        "/open/%2e%2e/a",
        "/open/%2E./a",
        "/open/.%2e/a",
        "/open/%252e%252e/a",
        "/open/..%2fa",
        "/open%2f..%2fa",
        "/open/%2e%2e%2fa",
        "/open\\..\\a",
        "/open/..\\a",
        "/open/%5c../a",
        "/open/..;/a",
        "/open;/../a",
        "//open/../a",
        "/./a",
        "/a/../open/../a",
        "/open/%00/../a",
        "/open/.%00./a",
        "/open/\u{e9}",
        "/open/%c0%ae%c0%ae/a",
        "/openx",
        "/open%20",
        "/OPEN/a",
        "/a?x=/open/",
        "/a%3f/open",
        "/a;/open/x",
        "/%6fpen/..%2f..%2fa",
        "/open/....//a",
        "/a//../open/%2e%2e/a",
        "/open%",
        "/open/%zz",
    ] {
        let bytes =
            format!("GET {path} HTTP/1.1\r\nHost: wiki.example.test\r\nConnection: close\r\n\r\n");
        stage.wiki.clear();
        let answer = stage.client().raw("wiki.example.test", bytes.as_bytes());
        let status = String::from_utf8_lossy(answer.get(9..12).unwrap_or_default()).into_owned();
        for seen in stage.wiki.requests() {
            assert_eq!(status, "200", "{path}");
            let read = worst_reading(&seen.target);
            assert!(
                read == "/open" || read.starts_with("/open/"),
                "{path} reached the app as {}, which may be read as {read}",
                seen.target
            );
        }
        assert_eq!(stage.api.count() + stage.img.count(), 0, "{path}");
    }
    // What is allowed arrives as it was sent.
    for path in ["/open/a%20b?q=%2f..%2f&r=//", "/open/~u/-._", "/open/a+b"] {
        stage.wiki.clear();
        let _ = stage.client().send(&Request::get(&format!("{WIKI}{path}"))).expect(200);
        assert_eq!(stage.wiki.last().target, path);
    }
    // Two routes on one host: the app behind the prefix is reached by nothing that was decided for the other.
    let mut bob = stage.signed_in("bob");
    bob.enter(WIKI);
    for path in [
        "/api",
        "/api/",
        "/%61pi/x",
        "/api%2fx",
        "//api/x",
        "/./api/x",
        "/x/../api/x",
        "/api;x/y",
        "/ap%69",
    ] {
        let dressed = bob.dressed(Request::get(&format!("{WIKI}{path}")));
        let mut conn = stage.client().connect("wiki.example.test");
        conn.send(&dressed.bytes());
        let answer = conn.read_response("GET").unwrap();
        assert_eq!(stage.api.count(), 0, "{path}: {answer:?}");
    }
}

/// Decodes twice, reads `\` as `/`, drops parameters, resolves dots: the most willing app.
fn worst_reading(target: &str) -> String {
    let mut path = target.split('?').next().unwrap_or_default().to_owned();
    for _ in 0..2 {
        let bytes = path.as_bytes();
        let (mut out, mut at) = (Vec::new(), 0);
        while let Some(&byte) = bytes.get(at) {
            let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
            match (byte, hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
                (b'%', Some(decoded)) => {
                    out.push(decoded);
                    at += 3;
                }
                _ => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        path = String::from_utf8_lossy(&out).into_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let path = path.replace('\\', "/");
    for segment in path.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

fn m12_health_preflight_favicon_and_well_known_are_not_forgotten(stage: &mut Stage) {
    for path in [
        "/health",
        "/healthz",
        "/favicon.ico",
        "/robots.txt",
        "/.well-known/openid-configuration",
        "/.well-known/acme-challenge/x",
        "/metrics",
        "/ws",
        "/apple-touch-icon.png",
    ] {
        let answer = stage.client().send(&Request::get(&format!("{WIKI}{path}")));
        assert!(matches!(answer.status, 401 | 404), "{path}: {answer:?}");
    }
    let preflight = Request::new("OPTIONS", &format!("{WIKI}/a"))
        .header("Origin", "https://elsewhere.test")
        .header("Access-Control-Request-Method", "POST");
    let answer = stage.client().send(&preflight);
    assert_eq!(answer.status, 401, "{answer:?}");
    for method in ["PROPFIND", "M-SEARCH", "PURGE", "PUT", "DELETE"] {
        let answer = stage.client().send(&Request::new(method, &format!("{WIKI}/a")));
        assert!(matches!(answer.status, 400 | 401 | 403 | 405), "{method}: {answer:?}");
    }
    assert_eq!(stage.reached(), 0);
}

fn f2_signing_out_ends_the_cookie_on_every_host(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    let _ = ann.get(&format!("{WIKI}/a")).expect(200);
    let _ = ann.get(&format!("{IMG}/a")).expect(200);
    let mut replayed = ann.clone();
    let left = ann.sign_out();
    assert!(left.status < 400, "{left:?}");
    let before = stage.reached();
    for host in [WIKI, IMG] {
        let answer = replayed.send(Request::get(&format!("{host}/a")));
        assert_eq!(answer.status, 401, "{host}: {answer:?}");
        let asked = replayed.send(Request::get(&format!("{host}/a")).navigation());
        assert!(asked.location().starts_with(&format!("{AUTH}/login?rd=")), "{host}: {asked:?}");
    }
    assert_eq!(stage.reached(), before);
}

fn m8_m10_without_the_hook_nobody_is_let_in(stage: &mut Stage) {
    let mut ann = stage.signed_in("ann");
    let _ = ann.get(&format!("{WIKI}/a")).expect(200);
    let before = stage.reached();
    stage.gateway.kill();
    for path in ["/a", "/open/a"] {
        let answer = ann.send(Request::get(&format!("{WIKI}{path}")));
        assert!(answer.status >= 400, "{path}: {answer:?}");
    }
    assert_eq!(stage.reached(), before);
}
