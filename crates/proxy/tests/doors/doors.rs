//! What passes and what does not, at the proxy door, the hooks and the redirect listener.

use std::time::Duration;

use vestibule_core::settings::provider::spec::ProviderSpec;
use vestibule_testkit::{Answer, Client, Recorder, Request, Response, h2, until, ws};

use crate::house::{House, actor, load, now, route, status_of};

#[test]
fn a_public_route_is_forwarded_with_the_facts_of_the_request() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let answer = house.plain().send(
        &Request::get("https://app.test/a%7eb?x=%2F..")
            .header("X-Forwarded-For", "6.6.6.6")
            .header("Remote_User", "root"),
    );
    assert_eq!(answer.status, 200);
    let seen = app.last();
    assert_eq!(seen.target, "/a~b?x=%2F..");
    for (name, value) in [
        ("host", "app.test"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-real-ip", "127.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.test"),
        ("x-forwarded-port", "443"),
    ] {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    assert_eq!(seen.header("x-request-id").unwrap().len(), 36);
    assert_eq!(seen.header("traceparent").unwrap().len(), 55);
    assert!(!seen.headers.iter().any(|(name, _)| name.to_lowercase().contains("remote")));
}

#[test]
fn nobody_is_challenged_and_the_app_is_not_asked() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let page = house.plain().send(&Request::get("https://app.test/x?y").navigation());
    assert_eq!(page.status, 302);
    assert_eq!(page.location(), "https://auth.test/login?rd=https%3A%2F%2Fapp.test%2Fx%3Fy");
    let api = house.plain().send(&Request::get("https://app.test/x"));
    assert_eq!((api.status, api.code().as_deref()), (401, Some("UNAUTHENTICATED")));
    assert_eq!(api.header("x-vestibule"), Some("UNAUTHENTICATED"));
    assert_eq!(house.plain().send(&Request::get("https://other.test/")).status, 404);
    assert_eq!(app.count(), 0);
}

#[test]
fn a_key_and_a_session_are_told_to_the_app_and_never_shown_to_it() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let (key, cookie) = (house.key(&ann), house.session(&ann, "app.test"));
    for (name, value) in [
        ("X-Api-Key", key.clone()),
        ("Authorization", format!("Bearer {key}")),
        ("Cookie", format!("a=1; {cookie}; b=\"2\"")),
    ] {
        let answer = house.plain().send(&Request::get("https://app.test/").header(name, &value));
        assert_eq!(answer.status, 200, "{name}");
        let seen = app.last();
        assert_eq!(seen.header("remote-user"), Some("ann"));
        assert_eq!(seen.header("remote-email"), Some("ann@example.test"));
        assert_eq!(seen.header("remote-groups"), Some("staff"));
        assert_eq!(seen.header("x-vestibule-assertion").unwrap().split('.').count(), 3);
        assert_eq!(seen.header("x-api-key").or(seen.header("authorization")), None);
        let want = if name == "Cookie" { Some("a=1; b=\"2\"") } else { None };
        assert_eq!(seen.header("cookie"), want);
        let private = if name == "Cookie" { Some("private") } else { None };
        assert_eq!(answer.header("cache-control"), private);
    }
    let bad = Request::get("https://app.test/").header("X-Api-Key", "vst_nonsense");
    let bad = house.plain().send(&bad.navigation());
    assert_eq!((bad.status, bad.header("x-vestibule")), (401, Some("INVALID_CREDENTIAL")));
}

#[test]
fn k1_k4_doubtful_heads_are_400_and_reach_nobody() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    for head in [
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: +1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 1, 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test/x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a@app.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : app.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\n folded: x\r\n\r\n",
        "GET http://other.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET ftp://app.test/ HTTP/1.1\r\nHost: app.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nAuthorization: a\r\nAuthorization: a\r\n\r\n",
        "GET /a#b HTTP/1.1\r\nHost: app.test\r\n\r\n",
    ] {
        let raw = house.plain().raw("app.test", head.as_bytes());
        assert_eq!(status_of(&raw), "HTTP/1.1 400", "{head:?}");
        let text = String::from_utf8_lossy(&raw);
        assert_eq!(text.matches("HTTP/1.1").count(), 1, "{head:?}: {text}");
    }
    for (target, code) in [
        ("/../x", 400),
        ("/a//b", 400),
        ("/%2e%2e/", 400),
        ("/a%2Fb", 400),
        ("/a;b", 400),
        ("/%zz", 400),
    ] {
        let raw = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n");
        let raw = house.plain().raw("app.test", raw.as_bytes());
        assert_eq!(status_of(&raw), format!("HTTP/1.1 {code}"), "{target}");
    }
    for method in ["CONNECT app.test:443", "TRACE /"] {
        let raw = format!("{method} HTTP/1.1\r\nHost: app.test\r\n\r\n");
        assert_eq!(
            status_of(&house.plain().raw("app.test", raw.as_bytes())),
            "HTTP/1.1 405",
            "{method}"
        );
    }
    let absolute = house.plain().raw(
        "app.test",
        b"GET http://app.test/ HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(status_of(&absolute), "HTTP/1.1 200");
    assert_eq!(app.count(), 1);
}

#[test]
fn a_head_that_is_not_finished_is_408_and_one_too_large_is_431() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    for start in ["", "GET / HTTP/1.1\r\nHost: app"] {
        let raw = house.plain().raw("app.test", start.as_bytes());
        assert_eq!(status_of(&raw), "HTTP/1.1 408", "{start:?}");
    }
    let many: String = (0..101).map(|n| format!("x{n}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(33 * 1024));
    let huge = format!("x: {}\r\n", "y".repeat(200 * 1024));
    for fields in [many, long, huge] {
        let raw = format!("GET / HTTP/1.1\r\nHost: app.test\r\n{fields}\r\n");
        let raw = house.plain().raw("app.test", raw.as_bytes());
        assert_eq!(status_of(&raw), "HTTP/1.1 431", "{}", fields.len());
    }
    let metrics = house.proxy.metrics().render();
    assert!(
        metrics.contains("vestibule_connection_errors_total{reason=\"header-timeout\"} 2"),
        "{metrics}"
    );
}

#[test]
fn bodies_stream_both_ways_and_one_too_large_is_413() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\"\nmax_body = \"1KiB\""));
    let sent =
        house.plain().send(&Request::new("POST", "https://app.test/").body(vec![b'x'; 1024]));
    assert_eq!(sent.status, 200);
    assert_eq!(app.last().body.len(), 1024);
    let told =
        house.plain().send(&Request::new("POST", "https://app.test/").body(vec![b'x'; 1025]));
    assert_eq!((told.status, told.header("x-vestibule")), (413, Some("BODY_TOO_LARGE")));
    let mut chunked =
        b"POST / HTTP/1.1\r\nHost: app.test\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunked.extend_from_slice(format!("401;ext=1\r\n{}\r\n0\r\n\r\n", "x".repeat(1025)).as_bytes());
    assert_eq!(status_of(&house.plain().raw("app.test", &chunked)), "HTTP/1.1 413");
    let trailers = b"POST / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nHost: evil\r\n\r\n";
    assert_eq!(status_of(&house.plain().raw("app.test", trailers)), "HTTP/1.1 200");
    let last = app.last();
    assert_eq!((last.body, last.trailers), (b"abc".to_vec(), Vec::new()));
    assert_eq!(
        house.plain().send(&Request::get("https://app.test/bytes/300000")).body.len(),
        300_000
    );
    assert_eq!(house.plain().send(&Request::get("https://app.test/chunked")).body, b"onetwo");
}

#[test]
fn connections_to_the_app_are_kept_and_a_dead_one_costs_a_get_nothing() {
    let app = Recorder::with(|request| match (request.connection, request.target.as_str()) {
        (0, "/second") => Answer::Close,
        (_, "/nonsense") => Answer::RawThenClose(b"SSH-2.0-x\r\n".to_vec()),
        (_, "/unasked") => Answer::Raw(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                .to_vec(),
        ),
        (_, "/interim") => Answer::RawThenClose(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()),
        (_, "/two-lengths") => Answer::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx".to_vec(),
        ),
        (_, "/both") => Answer::Raw(
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_vec(),
        ),
        (_, "/post") => Answer::Close,
        _ => Answer::Full(
            200,
            vec![
                ("X-Vestibule".into(), "forged".into()),
                ("Set-Cookie".into(), "__Host-vestibule=x".into()),
                ("Set-Cookie".into(), "a=b".into()),
            ],
            b"ok".to_vec(),
        ),
    });
    let house = House::new(&route("app", &app, "access = \"public\""));
    let mut conn = house.plain().connect("app.test");
    for path in ["/first", "/again", "/second", "/third"] {
        let answer = conn.exchange(&Request::get(&format!("https://app.test{path}")));
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("x-vestibule"), None);
        assert_eq!(answer.all("set-cookie").collect::<Vec<_>>(), ["a=b"]);
    }
    assert_eq!(app.connections(), 2);
    for path in ["/nonsense", "/unasked", "/interim", "/two-lengths", "/both"] {
        let answer = house.plain().send(&Request::get(&format!("https://app.test{path}")));
        assert_eq!(
            (answer.status, answer.header("x-vestibule")),
            (502, Some("UPSTREAM_UNREACHABLE")),
            "{path}"
        );
    }
    let before = app.count();
    let post = house.plain().send(&Request::new("POST", "https://app.test/post").body("x"));
    assert_eq!((post.status, app.count()), (502, before + 1));
}

#[test]
fn an_app_that_is_away_or_silent_is_502_or_504() {
    let app = Recorder::start();
    let away = "[[route]]\nname = \"away\"\nhost = \"away.test\"\naccess = \"public\"\nupstream = \"http://127.0.0.1:1\"\n\
                [[route]]\nname = \"lost\"\nhost = \"lost.test\"\naccess = \"public\"\nupstream = \"http://no-such-name.invalid:80\"\n";
    let slow = "access = \"public\"\ntimeouts = { response = \"300ms\" }";
    let house = House::new(&format!("{away}{}", route("slow", &app, slow)));
    for (host, status, code) in [
        ("away", 502, "UPSTREAM_UNREACHABLE"),
        ("lost", 502, "UPSTREAM_UNREACHABLE"),
        ("slow", 504, "UPSTREAM_TIMEOUT"),
    ] {
        let answer = house.plain().send(&Request::get(&format!("https://{host}.test/hang")));
        assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{host}");
    }
}

#[test]
fn http2_and_tls_speak_for_the_hosts_of_the_certificate_only() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let answers = h2::tls(
        house.address(1),
        &[
            Request::get("https://app.test/a").header("Cookie", "a=1").header("Cookie", "b=2"),
            Request::new("POST", "https://app.test/b").body("hello"),
        ],
    );
    assert!(answers.iter().all(|answer| answer.status == 200));
    let seen = app.requests();
    assert_eq!(seen[0].header("cookie"), Some("a=1; b=2"));
    assert_eq!(
        (seen[0].header("host"), seen[0].header("x-forwarded-proto")),
        (Some("app.test"), Some("https"))
    );
    assert_eq!(seen[1].body, b"hello");
    let h2c = h2::plain(house.address(0), &[Request::get("https://app.test/c")]);
    assert_eq!(h2c[0].status, 200);
    let other = house.tls().connect("app.test").exchange(&Request::get("https://app.example/"));
    assert_eq!((other.status, other.header("x-vestibule")), (421, Some("MISDIRECTED_REQUEST")));
    assert!(house.tls().try_connect("unknown.example").is_err());
    assert_eq!(house.tls().send(&Request::get("https://app.test/")).status, 200);
}

#[test]
fn a_websocket_is_joined_and_ends_with_its_session() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let cookie = house.session(&ann, "app.test");
    let ask = |origin: &str| {
        ws::handshake(
            Request::get("https://app.test/ws").header("Cookie", &cookie).header("Origin", origin),
        )
    };
    let foreign = ws::open(&house.plain(), &ask("https://evil.test")).map(|_| ()).unwrap_err();
    assert_eq!((foreign.status, foreign.header("x-vestibule")), (403, Some("ORIGIN_NOT_ALLOWED")));
    let mut socket =
        ws::open(&house.plain(), &ask("https://app.test")).map_err(|a| a.status).unwrap();
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    let actor = actor();
    let ended = house.authn.end_sessions_of(ann.id, None, &actor, now());
    assert_eq!(house.service.block_on(ended).unwrap(), 1);
    assert!(socket.read().is_err(), "the socket ends");
}

#[test]
fn the_hook_answers_with_every_name_and_only_to_those_who_may_ask() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let (key, cookie) = (house.key(&ann), house.session(&ann, "app.test"));
    let ask = |path: &str| {
        Request::get(&format!("https://any.test{path}"))
            .header("X-Forwarded-Method", "GET")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "app.test")
            .header("X-Forwarded-Uri", "/a?b")
            .header("X-Original-Method", "GET")
            .header("X-Original-URL", "https://app.test/a?b")
    };
    for path in
        ["/api/authz/forward-auth", "/api/verify", "/api/authz/auth-request", "/oauth2/auth"]
    {
        let allowed = house.hook().send(
            &ask(path)
                .header("Cookie", format!("a=1; {cookie}"))
                .header("Authorization", "Basic abc"),
        );
        assert_eq!((allowed.status, allowed.body.len()), (200, 0), "{path}");
        for (name, value) in [
            ("remote-user", Some("ann")),
            ("x-forwarded-user", Some("")),
            ("x-auth-request-email", Some("")),
            ("cookie", Some("a=1")),
            ("authorization", Some("Basic abc")),
            ("x-api-key", None),
            ("cache-control", Some("no-store")),
        ] {
            assert_eq!(allowed.header(name), value, "{path} {name}");
        }
        let by_key = house.hook().send(&ask(path).header("X-Api-Key", &key));
        assert_eq!(
            (by_key.status, by_key.header("x-api-key"), by_key.header("cookie")),
            (200, None, None)
        );
        let stranger = house.hook().from("127.0.0.1").send(&ask(path).header("Cookie", &cookie));
        assert_eq!(
            (stranger.status, stranger.header("x-vestibule")),
            (403, Some("UNTRUSTED_PROXY"))
        );
        let nobody = house.hook().send(&ask(path).navigation());
        let redirect =
            if path.contains("verify") || path.contains("forward-auth") { 302 } else { 401 };
        assert_eq!(
            (nobody.status, nobody.location()),
            (redirect, "https://auth.test/login?rd=https%3A%2F%2Fapp.test%2Fa%3Fb")
        );
    }
    assert_eq!(house.hook().send(&Request::get("https://app.test/")).status, 404);
    assert_eq!(app.count(), 0);
}

#[test]
fn the_portal_and_reserved_paths_are_answered_locally() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let text = |answer: Response| answer.text();
    let portal = house.plain().send(&Request::new("POST", "https://auth.test/login").body("x=1"));
    assert_eq!(text(portal), "portal /login nobody 127.0.0.1 3 bytes");
    let ann = house.account("ann");
    let cookie = house.session(&ann, "app.test");
    let whoami = Request::get("https://app.test/.vestibule/whoami").header("Cookie", cookie);
    assert_eq!(
        text(house.plain().send(&whoami)),
        "portal /.vestibule/whoami ann 127.0.0.1 0 bytes"
    );
    assert_eq!(app.count(), 0);
}

#[test]
fn plain_http_is_sent_to_https() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let redirect = Client::plain(house.address(3));
    let get = redirect.send(&Request::get("http://app.test/a?b"));
    assert_eq!((get.status, get.location()), (308, "https://app.test/a?b"));
    for request in
        [Request::new("POST", "http://app.test/").body("x"), Request::get("http://unknown.test/")]
    {
        let answer = redirect.send(&request);
        assert_eq!((answer.status, answer.header("x-vestibule")), (400, Some("HTTPS_REQUIRED")));
    }
    let trusted = house.plain().from("127.0.0.9");
    let told = |scheme: &str| {
        trusted.send(&Request::get("https://app.test/a").header("X-Forwarded-Proto", scheme))
    };
    assert_eq!((told("http").status, told("http").location()), (308, "https://app.test/a"));
    assert_eq!(told("https").status, 200);
}

#[test]
fn a_reload_is_in_force_at_the_next_request_and_drops_no_connection() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let mut conn = house.plain().connect("app.test");
    assert_eq!(conn.exchange(&Request::get("https://app.test/")).status, 200);
    let settings =
        load(house.folder.path(), &house.file.replace("access = \"public\"", "access = \"deny\""));
    house.authn.reload(settings.clone());
    house.proxy.reload(settings).unwrap();
    assert_eq!(conn.exchange(&Request::get("https://app.test/")).status, 403);
    let more = format!("{}\n[[listener]]\naddress = \"127.0.0.1:0\"\n", house.file);
    assert!(house.proxy.reload(load(house.folder.path(), &more)).unwrap_err().contains("restart"));
}

#[test]
fn a_shutdown_lets_a_request_under_way_finish() {
    let app = Recorder::with(|_| {
        Answer::Drip(vec![
            (Duration::from_millis(0), b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab".to_vec()),
            (Duration::from_millis(400), b"cd".to_vec()),
        ])
    });
    let house = House::new(&route("app", &app, "access = \"public\""));
    let client = house.plain();
    let asking = std::thread::spawn(move || client.send(&Request::get("https://app.test/")));
    until("the app is asked", || (app.count() == 1).then_some(()));
    house.service.block_on(house.proxy.shutdown(Duration::from_secs(5)));
    assert_eq!(asking.join().unwrap().body, b"abcd");
    assert!(house.plain().try_connect("app.test").is_err());
}

#[test]
fn on_a_shared_host_the_path_of_a_providers_own_redirect_uri_is_the_portals() {
    let app = Recorder::start();
    let provider = "[[provider]]\nid = \"id\"\nissuer = \"https://id.example.com\"\n\
                    client_id = \"x\"\nclient_secret = \"y\"\n\
                    redirect_uri = \"https://auth.test/my/own/callback\"";
    let house =
        House::with("https://auth.test", provider, &route("auth", &app, "access = \"public\""));
    let get = |path: &str| house.plain().send(&Request::get(&format!("https://auth.test{path}")));
    let added = |id: &str, path: &str| ProviderSpec {
        id: id.to_owned(),
        issuer: Some("https://other.example.com".to_owned()),
        client_id: "x".to_owned(),
        redirect_uri: Some(format!("https://auth.test{path}")),
        ..ProviderSpec::default()
    };
    assert!(get("/my/own/callback?code=1").text().starts_with("portal /my/own/callback"));
    assert!(!get("/added/callback").text().starts_with("portal"));
    let actor = actor();
    let create = house.authn.create_provider(added("added", "/added/callback"), &actor, now());
    house.service.block_on(create).unwrap();
    assert!(get("/added/callback").text().starts_with("portal /added/callback"));
    // Neither a neighbour nor what ends alike.
    let before = app.count();
    for path in ["/callback", "/my/own/callback/x", "/x/added/callback", "/added"] {
        assert!(!get(path).text().starts_with("portal"), "{path}");
    }
    assert_eq!(app.count(), before + 4);
    let question = |path: &str| {
        Request::get("https://hook.test/api/authz/forward-auth")
            .header("X-Forwarded-Method", "GET")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "auth.test")
            .header("X-Forwarded-Uri", path)
    };
    for path in ["/my/own/callback", "/added/callback"] {
        assert_eq!(house.hook().send(&question(path)).status, 403, "{path}");
    }
}
