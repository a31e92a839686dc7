//! SECURITY.md 1.C: which rule decides, whatever a request looks like.

use serde_json::json;
use vestibule_testkit::{Door, PASSWORD, Recorder, Request, Route};

use crate::gateway;

const WIKI: &str = "wiki.example.test";

fn with_target(target: &str) -> Request {
    let mut request = Request::get(&format!("https://{WIKI}/"));
    request.target = target.to_owned();
    request
}

#[test]
fn c1_neither_query_nor_fragment_is_matched() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("signed-in")
                .rule(&["/public/*", "/*/public"], &[], "public")
                .rule(&["/admin/*"], &[], "deny"),
        )
        .start();
    for (target, status) in [
        ("/admin?x=/public", 403),
        ("/admin?/public", 403),
        ("/admin?x=/public/y", 403),
        ("/secret?/public", 401),
        ("/secret?x=y/public", 401),
        ("/admin%23/public", 200),
        ("/admin%3f/public", 200),
        ("/admin%23", 401),
        ("/public/x?/admin", 200),
        ("/public?x=%2e%2e//\\", 200),
    ] {
        for door in Door::ALL {
            let answer = gateway.anonymous().ask_with(door, with_target(target));
            // The last target cannot be spelled as a URL by every proxy.
            if target.contains('\\') && answer.status != status {
                assert!(matches!(answer.status, 400 | 403), "{target} at {door:?}");
                continue;
            }
            assert_eq!(answer.status, status, "{target} at {door:?}");
        }
    }
    for target in ["/admin#/public", "/public/x#", "/#/public", "/public/x?a#b", "#"] {
        let answer = gateway.anonymous().ask_with(Door::Proxy, with_target(target));
        assert_eq!(answer.status, 400, "{target}");
    }
    // The escapes went on as they came, in upper case, and never became a query.
    let targets: Vec<String> = app.requests().into_iter().map(|seen| seen.target).collect();
    assert!(targets.contains(&"/admin%3F/public".to_owned()), "{targets:?}");
    assert!(targets.contains(&"/admin%23/public".to_owned()), "{targets:?}");
}

#[test]
fn c3_c4_c7_hidden_segments_and_neighbours_are_not_let_in() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("public")
                .rule(&["/admin/*"], &[], "deny")
                .rule(&["/api/*"], &[], "deny"),
        )
        .route(Route::new("pki", WIKI).set("path", "/pki").upstream(app.url()).access("deny"))
        .start();
    for (target, status) in [
        ("/admin;x=y/a", 400),
        ("/;x/admin", 400),
        ("/admin;", 400),
        ("/admin%3Bx", 400),
        ("//admin", 400),
        ("/admin//x", 400),
        ("/x//admin", 400),
        ("/admin", 403),
        ("/admin/", 403),
        ("/%61dmin/x", 403),
        ("/ad%6Din", 403),
        ("/api/", 403),
        ("/api%2fx", 400),
        ("/api%2F", 400),
        ("/apiX", 200),
        ("/pki", 403),
        ("/pki/x", 403),
        ("/pki-other", 200),
        ("/pkix", 200),
    ] {
        let answer = gateway.client().send(&with_target(target));
        assert_eq!(answer.status, status, "{target}");
        assert_eq!(
            status == 400,
            answer.code().as_deref() == Some("BAD_REQUEST_TARGET"),
            "{target}"
        );
    }
    assert!(
        app.requests().iter().all(|seen| matches!(&*seen.target, "/apiX" | "/pki-other" | "/pkix"))
    );
}

#[test]
fn c6_one_host_in_every_spelling_is_one_route_and_a_stranger_none() {
    let app = Recorder::start();
    let mut builder = gateway();
    let hosts: Vec<String> = (0..5_000).map(|n| format!("\"h{n}.example.test\"")).collect();
    builder = builder.route(
        Route::new("many", "x")
            .set("host", &format!("[{}]", hosts.join(",")))
            .upstream(app.url())
            .access("public"),
    );
    let gateway = builder
        .route(Route::new("admin", "admin.example.test").upstream(app.url()).access("deny"))
        .route(Route::new("wild", "*.wild.example.test").upstream(app.url()).access("public"))
        .start();
    let ask = |host: &str| {
        let mut request = Request::get("https://h1.example.test/x");
        request.authority = host.to_owned();
        gateway.client().send(&request)
    };
    for host in [
        "admin.example.test",
        "ADMIN.Example.Test",
        "admin.example.test.",
        "admin.example.test:443",
        "Admin.example.test.:8443",
    ] {
        assert_eq!(ask(host).status, 403, "{host}");
    }
    for host in
        ["h0.example.test", "h4999.example.test", "H4999.EXAMPLE.TEST.", "a.wild.example.test"]
    {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in [
        "h5000.example.test",
        "xn--admin-9za.example.test",
        "admin.example.test.evil.test",
        "xadmin.example.test",
        "a.b.wild.example.test",
        "wild.example.test",
        "example.test",
        "127.0.0.1",
        "[::1]",
        "localhost",
    ] {
        let answer = ask(host).expect(404);
        assert_eq!(answer.code().as_deref(), Some("NO_ROUTE"), "{host}");
    }
}

#[test]
fn c8_c10_no_header_makes_a_protected_path_public_or_another() {
    let app = Recorder::start();
    let other = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("signed-in").rule(
            &["/public/*", "/health"],
            &[],
            "public",
        ))
        .route(Route::new("open", "open.example.test").upstream(other.url()).access("public"))
        .start();
    for (name, value) in [
        ("User-Agent", "GoogleHC/1.0"),
        ("User-Agent", "kube-probe/1.30"),
        ("User-Agent", "ELB-HealthChecker/2.0"),
        ("Referer", "https://wiki.example.test/public/x"),
        ("X-HTTP-Method-Override", "OPTIONS"),
        ("X-HTTP-Method", "OPTIONS"),
        ("X-Method-Override", "OPTIONS"),
        ("X-Rewrite-URL", "/public/x"),
        ("X-Original-URL", "/health"),
        ("X-Forwarded-Uri", "/health"),
        ("X-Forwarded-Host", "open.example.test"),
        ("X-Host", "open.example.test"),
        ("Forwarded", "host=open.example.test"),
        ("Destination", "https://open.example.test/"),
        ("Upgrade", "h2c"),
        ("X-Vestibule", "ALLOWED"),
        ("Origin", "https://wiki.example.test"),
        ("Access-Control-Request-Method", "GET"),
        ("Sec-Fetch-Site", "same-origin"),
        ("Purpose", "prefetch"),
    ] {
        let request = Request::get(&format!("https://{WIKI}/secret")).header(name, value);
        assert_eq!(gateway.client().send(&request).status, 401, "{name}: {value}");
    }
    let _ = gateway.client().send(&with_target("/secret?health=1&x=/health")).expect(401);
    assert_eq!((app.connections(), other.connections()), (0, 0));
    // A claim cannot choose the upstream after the decision either.
    let request = Request::get(&format!("https://{WIKI}/public/x"))
        .header("X-Forwarded-Host", "open.example.test");
    let _ = gateway.client().send(&request).expect(200);
    assert_eq!((app.count(), other.count()), (1, 0));
}

/// Every criterion of an access table: with the first value ann is let in, with the second not.
#[test]
fn c9_every_criterion_of_an_access_table_takes_effect() {
    let app = Recorder::start();
    let route = |access: &str| Route::new("wiki", WIKI).upstream(app.url()).access(access);
    let mut gateway = gateway().route(route("signed-in")).user("ann", &["staff"]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let (_, key) = ann.create_key(&json!({ "name": "all" }));
    let (_, narrow) = ann.create_key(&json!({ "name": "narrow", "scopes": ["route:*", "x:read"] }));
    for (holds, fails) in [
        ("{ users = [\"ann\"] }", "{ users = [\"bob\"] }"),
        ("{ emails = [\"ann@example.test\"] }", "{ emails = [\"bob@example.test\"] }"),
        ("{ email_domains = [\"example.test\"] }", "{ email_domains = [\"ample.test\"] }"),
        ("{ groups = [\"staff\", \"x\"] }", "{ groups = [\"staf\"] }"),
        ("{ roles = [\"user\"] }", "{ roles = [\"admin\"] }"),
        ("{ credentials = [\"session\"] }", "{ credentials = [\"api-key\"] }"),
        ("{ mfa = false }", "{ mfa = true }"),
        ("{ max_auth_age = \"1h\" }", "{ max_auth_age = \"1ms\" }"),
        ("{ networks = [\"127.0.0.0/8\"] }", "{ networks = [\"10.0.0.0/8\"] }"),
        ("signed-in", "deny"),
        ("signed-in", "admin"),
        ("signed-in", "mfa"),
        ("signed-in", "api-key"),
        (
            "[{ users = [\"bob\"] }, { groups = [\"staff\"] }]",
            "[{ users = [\"bob\"] }, { groups = [\"x\"] }]",
        ),
        ("{ users = [\"ann\"], groups = [\"staff\"] }", "{ users = [\"ann\"], groups = [\"x\"] }"),
    ] {
        assert!(gateway.reload_routes(&[route(holds)]), "{holds}");
        for door in Door::ALL {
            assert_eq!(ann.ask(door, "GET", "/x").status, 200, "{holds} at {door:?}");
        }
        assert!(gateway.reload_routes(&[route(fails)]), "{fails}");
        for door in Door::ALL {
            let answer = ann.ask(door, "GET", "/x");
            assert!(matches!(answer.status, 401 | 403), "{fails} at {door:?}: {}", answer.status);
        }
    }
    // Scopes belong to keys, `token` to access tokens.
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    assert!(gateway.reload_routes(&[route("{ scopes = [\"x:read\"] }")]));
    assert_eq!(gateway.with_key(&narrow).get("/x").status, 200);
    assert!(gateway.reload_routes(&[route("{ scopes = [\"x:write\"] }")]));
    let _ = gateway.with_key(&narrow).get("/x").expect(403);
    assert!(gateway.reload_routes(&[route("{ credentials = [\"token\"] }")]));
    let _ = gateway.with_bearer(&access).get("/x").expect(200);
    let _ = gateway.with_key(&key).get("/x").expect(403);
    assert!(gateway.reload_routes(&[route("{ credentials = [\"api-key\"] }")]));
    let _ = gateway.with_key(&key).get("/x").expect(200);
    let _ = gateway.with_bearer(&access).get("/x").expect(403);
}

#[test]
fn c9_an_unknown_key_stops_the_start() {
    for piece in [
        "[server]\ntrusted_proxy = [\"10.0.0.0/8\"]",
        "[auth]\nmod = \"full\"",
        "[auth.session]\nidle = \"1h\"",
        "[[route]]\nname = \"x\"\nhost = \"x.example.test\"\nacces = \"deny\"",
        "[[route]]\nname = \"x\"\nhost = \"x.example.test\"\naccess = { group = [\"staff\"] }",
        "[[route]]\nname = \"x\"\nhost = \"x.example.test\"\naccess = \"sigend-in\"",
        "[[route]]\nname = \"x\"\nhost = \"x.example.test\"\n[[route.rule]]\npath = \"/x\"\nmethods = [\"GET\"]\naccess = \"public\"",
    ] {
        let refused = gateway().toml(piece).start_refused();
        assert_eq!(refused.code, 1, "{piece}\n{}", refused.stderr);
        assert!(refused.stderr.contains("did you mean"), "{}", refused.stderr);
    }
}

#[test]
fn c9_allow_in_path_and_ignore_case_take_effect() {
    let app = Recorder::start();
    let route = |host: &str| {
        Route::new(host.split('.').next().unwrap(), host).upstream(app.url()).access("deny").rule(
            &["/public/*"],
            &["GET"],
            "public",
        )
    };
    let gateway = gateway()
        .route(route("strict.example.test"))
        .route(route("slash.example.test").set("allow_in_path", "[\"double-slash\"]"))
        .route(route("escaped.example.test").set("allow_in_path", "[\"encoded-slash\"]"))
        .route(route("semicolon.example.test").set("allow_in_path", "[\"semicolon\"]"))
        .route(route("case.example.test").set("ignore_case", "true"))
        .start();
    for (target, opened_by) in [
        ("/public//x", "slash"),
        ("/public/a%2fb", "escaped"),
        ("/public/a;b", "semicolon"),
        ("/public/a%3bb", "semicolon"),
        ("/PUBLIC/x", "case"),
    ] {
        for name in ["strict", "slash", "escaped", "semicolon", "case"] {
            let mut request = Request::get(&format!("https://{name}.example.test/"));
            request.target = target.to_owned();
            let status = gateway.client().send(&request).status;
            let refused = if opened_by == "case" { 403 } else { 400 };
            assert_eq!(status, if name == opened_by { 200 } else { refused }, "{target} at {name}");
        }
    }
    let targets: Vec<String> = app.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(
        targets,
        ["/public//x", "/public/a%2Fb", "/public/a;b", "/public/a%3Bb", "/PUBLIC/x"]
    );
}
