//! What is open where nothing is checked, plain http, writes from other sites, and a route's own
//! edits: CONTRACT sections 3, 4 and 5.

use vestibule_testkit::{Client, Door, MANAGED, Recorder, Request, Route, TRUSTED};

use crate::gateway;

const WIKI: &str = "wiki.example.test";

#[test]
fn where_nothing_is_checked_deny_holds_and_what_was_forwarded_is_refused() {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[auth]\nmode = \"none\"")
        .toml("[server]\ntrusted_proxies = false")
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("{ groups = [\"staff\"], mfa = true }")
                .rule(&["/deny/*"], &[], "deny"),
        )
        .start();
    let url = format!("https://{WIKI}/x");
    let _ = gateway.client().send(&Request::get(&url)).expect(200);
    assert_eq!(app.last().header("remote-user"), Some("anonymous"));
    // A bad credential is nobody's business there, a rule that denies is.
    let _ = gateway.with_key("vst_forged").send(Request::get(&url)).expect(200);
    let _ = gateway.client().send(&Request::get(&format!("https://{WIKI}/deny/x"))).expect(403);
    let count = app.count();
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-Host", WIKI),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("True-Client-IP", "127.0.0.1"),
        ("CF-Connecting-IP", "127.0.0.1"),
        ("X_Forwarded_For", "127.0.0.1"),
        ("X-Original-URL", "/x"),
        ("X-Forwarded-Anything", ""),
    ] {
        for source in ["127.0.0.1", TRUSTED] {
            let request = Request::get(&url).header(name, value);
            let answer = gateway.client().from(source).send(&request);
            assert_eq!(
                (answer.status, answer.code().as_deref()),
                (403, Some("BYPASS_REFUSED")),
                "{name} from {source}"
            );
        }
        let portal =
            Request::get("https://auth.example.test/api/v1/admin/users").header(name, value);
        let answer = gateway.client().send(&portal).expect(403);
        assert_eq!(answer.code().as_deref(), Some("BYPASS_REFUSED"), "{name} at the portal");
    }
    assert_eq!(app.count(), count);
}

#[test]
fn where_nothing_is_checked_a_start_off_loopback_or_in_production_is_refused() {
    let route = || Route::new("wiki", WIKI).access("signed-in");
    for pieces in [
        &["[auth]\nmode = \"none\"\n[server]\nenvironment = \"production\""][..],
        &["[auth]\nbypass = true\n[server]\nenvironment = \"production\""],
        &["[auth]\nmode = \"none\"", "[[listener]]\naddress = \"0.0.0.0:0\""],
        &["[auth]\nbypass = true", "[[listener]]\naddress = \"0.0.0.0:0\""],
    ] {
        let mut builder = gateway().route(route());
        for piece in pieces {
            builder = builder.toml(piece);
        }
        let refused = builder.start_refused();
        assert_eq!(refused.code, 1, "{pieces:?}\n{}", refused.stderr);
    }
}

#[test]
fn rfc6797_plain_http_redirects_reads_and_takes_no_credential() {
    let app = Recorder::start();
    let gateway = gateway()
        .listeners(&[
            ("proxy", false),
            ("proxy", true),
            ("forward-auth", false),
            ("redirect", false),
        ])
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("public"))
        .start();
    let redirect =
        gateway.listening().iter().find(|l| l.door == "redirect").expect("a redirect door").address;
    let client = Client::plain(redirect);
    for (host, known) in [(WIKI, true), ("auth.example.test", true), ("none.example.test", false)] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get"] {
            let request = Request::new(method, &format!("http://{host}/a?b=c"))
                .header("X-Api-Key", "vst_forged")
                .header("Authorization", "Bearer vst_forged");
            let mut conn = client.connect(host);
            let answer = conn.exchange(&request);
            if known && matches!(method, "GET" | "HEAD") {
                assert_eq!(answer.status, 308, "{method} {host}");
                assert_eq!(answer.location(), format!("https://{host}/a?b=c"));
                assert_eq!(answer.header("set-cookie"), None);
            } else {
                assert_eq!(
                    (answer.status, answer.header("x-vestibule")),
                    (400, Some("HTTPS_REQUIRED")),
                    "{method} {host}"
                );
                assert!(conn.closes_within(std::time::Duration::from_secs(10)), "{method} {host}");
            }
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_write_by_cookie_from_another_site_is_refused_where_a_route_says_so() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("signed-in")
                .set("cross_site", "block-unsafe"),
        )
        .route(Route::new("open", "open.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    for host in [WIKI, "open.example.test"] {
        ann.enter(&format!("https://{host}/"));
    }
    let (_, key) = ann.create_key(&serde_json::json!({ "name": "k" }));
    for (method, site, allowed) in [
        ("GET", "cross-site", true),
        ("HEAD", "cross-site", true),
        ("POST", "same-origin", true),
        ("POST", "none", true),
        ("POST", "cross-site", false),
        ("POST", "same-site", false),
        ("DELETE", "cross-site", false),
        ("PROPPATCH", "cross-site", false),
        ("POST", "junk", false),
    ] {
        for door in Door::ALL {
            let ask = |host: &str| {
                Request::new(method, &format!("https://{host}/x")).header("Sec-Fetch-Site", site)
            };
            let answer = ann.ask_with(door, ask(WIKI));
            assert_eq!(
                answer.status,
                if allowed { 200 } else { 403 },
                "{method} {site} at {door:?}"
            );
            let _ = ann.ask_with(door, ask("open.example.test")).expect(200);
            // A key is no cookie.
            let _ = gateway.with_key(&key).ask_with(door, ask(WIKI)).expect(200);
        }
    }
}

#[test]
fn b1_a_routes_own_edits_cannot_touch_what_is_said_of_a_person() {
    let app = Recorder::start();
    let route = Route::new("wiki", WIKI).upstream(app.url()).access("public");
    for name in MANAGED {
        for edit in [
            format!("{{ set = {{ \"{name}\" = \"f0rged\" }} }}"),
            format!("{{ remove = [\"{name}\"] }}"),
        ] {
            let prepared = gateway().route(route.clone().set("request_headers", &edit)).prepare();
            let outcome = prepared.cli(&["check"]).expect(1);
            assert!(
                format!("{}{}", outcome.stdout, outcome.stderr).contains(name),
                "{edit}: {outcome:?}"
            );
        }
    }
}

#[test]
fn only_the_groups_that_a_route_names_are_told() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", WIKI)
                .upstream(app.url())
                .access("signed-in")
                .set("identity_headers", "{ groups = [\"wiki-*\"] }"),
        )
        .user("ann", &["wiki-editors", "payroll", "wiki-readers"])
        .start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    for door in Door::ALL {
        let answer = ann.ask(door, "GET", "/x").expect(200);
        let fields = if door == Door::Proxy { app.last().headers } else { answer.headers };
        let groups =
            fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("remote-groups")).unwrap();
        assert_eq!(groups.1, "wiki-editors,wiki-readers", "{door:?}");
        let assertion = fields
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("x-vestibule-assertion"))
            .unwrap();
        let (_, body) = crate::trust_identity::claims(&assertion.1);
        assert_eq!(body["groups"], serde_json::json!(["wiki-editors", "wiki-readers"]), "{door:?}");
    }
    let answer =
        ann.send(Request::get(&format!("https://{WIKI}/.vestibule/whoami"))).expect(200).json();
    assert_eq!(answer["groups"], serde_json::json!(["wiki-editors", "wiki-readers"]));
}
