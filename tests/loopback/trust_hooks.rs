//! SECURITY.md 1.D and CONTRACT section 7: the forward-auth doors, and what fails shut.

use vestibule_testkit::{
    Client, Door, MANAGED, PORTAL, Recorder, Request, Response, Route, TRUSTED,
};

use crate::gateway;

const WIKI: &str = "wiki.example.test";

fn forward(uri: &str) -> Request {
    Request::get("http://hook.test/api/authz/forward-auth")
        .header("X-Forwarded-Method", "GET")
        .header("X-Forwarded-Proto", "https")
        .header("X-Forwarded-Host", WIKI)
        .header("X-Forwarded-Uri", uri)
}

fn original(uri: &str) -> Request {
    Request::get("http://hook.test/api/authz/auth-request")
        .header("X-Original-Method", "GET")
        .header("X-Original-URL", format!("https://{WIKI}{uri}"))
}

fn wiki() -> Route {
    Route::new("wiki", WIKI)
        .access("signed-in")
        .rule(&["/public/*"], &[], "public")
        .rule(&["/deny"], &[], "deny")
        .rule(&["/keys"], &[], "api-key")
        .rule(&["/mfa"], &[], "mfa")
}

/// What every answer of a hook carries.
fn marked(answer: &Response) {
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    assert!(answer.code().is_some(), "{answer:?}");
}

#[test]
fn d2_auth_request_answers_401_403_and_503_and_redirects_by_location_alone() {
    let gateway = gateway().route(wiki()).user("ann", &[]).start();
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    let login = |path: &str| format!("{PORTAL}/login?rd=https%3A%2F%2F{WIKI}%2F{path}");
    for (uri, status, location) in [
        ("/x", 401, Some(login("x"))),
        ("/mfa", 401, Some(login("mfa"))),
        ("/deny", 403, None),
        ("/keys", 401, None),
        ("/a//b", 403, None),
        ("/.vestibule/whoami", 401, None),
    ] {
        let answer = hook.send(&original(uri).navigation());
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, location.as_deref()),
            "{uri}"
        );
        marked(&answer);
        let answer = hook.send(&original(uri));
        assert_eq!(
            (answer.status, answer.header("location")),
            (status, None),
            "{uri} of a program"
        );
        marked(&answer);
    }
    // Nobody else's host, and the portal's own.
    for url in ["https://none.example.test/", &format!("{PORTAL}/"), &format!("{PORTAL}/login")] {
        let request = Request::get("http://hook.test/oauth2/auth")
            .header("X-Original-Method", "GET")
            .header("X-Original-URL", url);
        let answer = hook.send(&request).expect(403);
        assert_eq!(answer.header("location"), None, "{url}");
    }
    // Beside the URL a told host must be the same.
    let other = original("/public/x").header("X-Forwarded-Host", "auth.example.test");
    let _ = hook.send(&other).expect(403);
    let same = original("/public/x").header("X-Forwarded-Host", WIKI);
    let _ = hook.send(&same).expect(200);
    // Signed in, and a stronger sign-in asked for.
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let request = Request::get(&format!("https://{WIKI}/mfa")).navigation();
    let answer = ann.ask_with(Door::AuthRequest, request).expect(401);
    assert_eq!(answer.location(), format!("{}&step=mfa", login("mfa")));
}

#[test]
fn d2_forward_auth_answers_as_the_proxy_does() {
    let gateway = gateway().route(wiki()).start();
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    let login = format!("{PORTAL}/login?rd=https%3A%2F%2F{WIKI}%2Fx%3Fa%3Db%26c");
    let answer = hook.send(&forward("/x?a=b&c").navigation()).expect(302);
    assert_eq!(answer.location(), login);
    marked(&answer);
    let mut post = forward("/x?a=b&c").navigation();
    for (name, value) in &mut post.headers {
        if name == "X-Forwarded-Method" {
            *value = b"POST".to_vec();
        }
    }
    assert_eq!(hook.send(&post).expect(303).location(), login);
    let answer = hook.send(&forward("/x?a=b&c")).expect(401);
    assert_eq!(answer.json()["login_url"], login);
    marked(&answer);
    for (uri, status, code) in [
        ("/deny", 403, "FORBIDDEN"),
        ("/keys", 401, "UNAUTHENTICATED"),
        ("/a//b", 400, "BAD_REQUEST_TARGET"),
        ("/.vestibule/whoami", 421, "RESERVED_PATH"),
        ("/.vestibule", 421, "RESERVED_PATH"),
        ("/%2evestibule/start", 421, "RESERVED_PATH"),
    ] {
        let answer = hook.send(&forward(uri).navigation());
        assert_eq!((answer.status, answer.code().as_deref()), (status, Some(code)), "{uri}");
        assert_eq!(answer.header("location"), None, "{uri}");
        marked(&answer);
    }
    let mut stranger = forward("/public/x");
    stranger.headers.retain(|(name, _)| name != "X-Forwarded-Host");
    let answer =
        hook.send(&stranger.clone().header("X-Forwarded-Host", "none.example.test")).expect(404);
    assert_eq!(answer.code().as_deref(), Some("NO_ROUTE"));
    let answer = hook.send(&stranger.header("X-Forwarded-Host", "auth.example.test"));
    assert_eq!(answer.status, 403);
}

#[test]
fn an_allowed_question_is_200_without_a_body_and_keeps_the_connection() {
    let gateway = gateway().route(wiki()).start();
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    let mut conn = hook.connect("hook.test");
    for question in [forward("/public/x"), original("/public/x"), forward("/public/x?y=//../")] {
        let answer = conn.exchange(&question).expect(200);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("content-length"), Some("0"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        for name in MANAGED {
            assert_eq!(answer.all(name).collect::<Vec<_>>(), [""], "{name}");
        }
        for name in ["cookie", "authorization", "x-api-key"] {
            assert_eq!(answer.header(name), None, "{name}: an empty one would reach the app");
        }
    }
}

#[test]
fn what_the_app_should_see_of_the_credentials_comes_back_byte_for_byte() {
    let gateway = gateway().route(wiki()).start();
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    let cookie = "a=\"b c\"; =; d; e=f=g;  h=%20; vestibules=1; __host-vestibule=x";
    for question in [forward("/public/x"), original("/public/x")] {
        let question = question
            .header("Cookie", cookie)
            .header("Authorization", "Digest username=\"x\", nonce=\"y\"")
            .header("X-Api-Key", "of the app's own");
        let answer = hook.send(&question).expect(200);
        assert_eq!(answer.header("cookie"), Some(cookie));
        assert_eq!(answer.header("authorization"), Some("Digest username=\"x\", nonce=\"y\""));
        assert_eq!(answer.header("x-api-key"), Some("of the app's own"));
    }
}

#[test]
fn hooks_answer_only_where_and_whom_they_should() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki().upstream(app.url()))
        .route(Route::new("open", "open.example.test").upstream(app.url()).access("public"))
        .start();
    // A forward-auth listener proxies nothing and shows no portal.
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    for url in [
        "http://open.example.test/",
        "http://auth.example.test/login",
        "http://x/",
        "http://x/api/authz",
    ] {
        let _ = hook.send(&Request::get(url)).expect(404);
    }
    // On a proxy listener they answer on the portal's host alone; elsewhere the path is the app's.
    let at_portal = |mut request: Request, host: &str| {
        request.authority = host.to_owned();
        request
    };
    let proxy = gateway.client().from(TRUSTED);
    for question in [forward("/public/x"), original("/public/x")] {
        let _ = proxy.send(&at_portal(question.clone(), "auth.example.test")).expect(200);
        let answer =
            gateway.client().send(&at_portal(question.clone(), "auth.example.test")).expect(403);
        assert_eq!(answer.code().as_deref(), Some("UNTRUSTED_PROXY"));
        assert_eq!(app.count(), 0);
        let _ = proxy.send(&at_portal(question, "open.example.test")).expect(200);
        assert_eq!(app.last().target.split('?').next(), Some(&*app.last().target));
        app.clear();
    }
    // ext-authz lives on forward-auth listeners only.
    let ext = Request::get("https://auth.example.test/api/authz/ext-authz/public/x");
    assert_ne!(proxy.send(&ext).status, 200);
}

#[test]
fn d4_connect_and_trace_are_405_and_end_the_connection() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("open", "open.example.test").upstream(app.url()).access("public"))
        .start();
    for head in [
        "TRACE / HTTP/1.1\r\nHost: open.example.test\r\n\r\n",
        "CONNECT open.example.test:443 HTTP/1.1\r\nHost: open.example.test:443\r\n\r\n",
        "CONNECT open.example.test:443 HTTP/1.1\r\nHost: open.example.test:443\r\nContent-Length: 5\r\n\r\nhello",
        "TRACE http://open.example.test/ HTTP/1.1\r\nHost: open.example.test\r\n\r\n",
    ] {
        let mut conn = gateway.client().connect("open.example.test");
        conn.send(head.as_bytes());
        let answer = conn.read_response("GET").unwrap();
        assert!(matches!(answer.status, 400 | 405), "{head}: {}", answer.status);
        assert!(conn.closes_within(std::time::Duration::from_secs(10)), "{head}");
    }
    let trace = Request::new("TRACE", "https://open.example.test/");
    let [answer] = &vestibule_testkit::h2::tls(gateway.tls(), &[trace])[..] else {
        panic!("one answer")
    };
    assert_eq!(answer.status, 405);
    for method in ["TRACE", "CONNECT"] {
        for door in [Door::ForwardAuth, Door::AuthRequest] {
            let answer = gateway.anonymous().ask(door, method, "https://open.example.test/");
            assert!(
                matches!(answer.status, 400 | 403 | 405),
                "{method} at {door:?}: {}",
                answer.status
            );
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn d5_no_byte_of_the_app_stands_in_a_refusal() {
    let app = Recorder::with(|_| panic!("asked"));
    let gateway = gateway().route(wiki().upstream(app.url())).start();
    for path in ["/x", "/deny", "/keys", "/mfa", "/a//b", "/%"] {
        for navigation in [false, true] {
            for method in ["GET", "HEAD", "POST", "OPTIONS", "DELETE"] {
                let mut request = Request::new(method, &format!("https://{WIKI}/"));
                request.target = path.to_owned();
                let request = if navigation { request.navigation() } else { request };
                let answer = gateway.client().send(&request);
                assert!(matches!(answer.status, 302 | 303 | 400 | 401 | 403), "{method} {path}");
                marked(&answer);
            }
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn d1_what_cannot_be_read_stops_the_start_and_says_which() {
    for (piece, named) in [
        ("[secrets]\nauth_secret = \"file:{folder}/absent\"", "auth_secret"),
        ("[secrets]\nauth_secret = \"env:ABSENT_SECRET\"", "auth_secret"),
        ("[secrets]\nauth_secret = \"short\"", "auth_secret"),
        ("[secrets]\nauth_secret = \"\"", "auth_secret"),
        ("[secrets]\nstore_key = \"xyz\"", "store_key"),
        ("[secrets]\nstore_key = \"file:{folder}/absent\"", "store_key"),
        ("[secrets]\njwt_secret = \"env:ABSENT_SECRET\"", "jwt_secret"),
        (
            "[[tls.certificate]]\ncert = \"{folder}/absent.pem\"\nkey = \"{folder}/leaf.key\"",
            "absent.pem",
        ),
        (
            "[[tls.certificate]]\ncert = \"{folder}/leaf.pem\"\nkey = \"{folder}/leaf.pem\"",
            "leaf.pem",
        ),
        // No folder can be made there, not even by root.
        ("[store]\nurl = \"sqlite:///dev/null/x.db\"", "/dev/null"),
        ("[server]\ntrusted_proxies = [\"10.0.0.0/33\"]", "trusted_proxies"),
    ] {
        eprintln!("{piece}");
        let refused = gateway().route(wiki()).toml(piece).start_refused();
        assert_eq!(refused.code, 1, "{piece}\n{}", refused.stderr);
        assert!(refused.stderr.contains(named), "{piece}\n{}", refused.stderr);
    }
}

#[test]
fn d1_a_broken_database_stops_the_start_and_is_not_made_anew() {
    let gateway = gateway().route(wiki()).user("ann", &[]);
    let mut running = gateway.start();
    running.kill();
    let data = running.prepared().data();
    let database = std::fs::read_dir(&data)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ext| ext == "db"))
        .expect("a database");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{suffix}", database.display()));
    }
    let mut bytes = std::fs::read(&database).unwrap();
    let middle = bytes.len().min(4096);
    bytes[..middle].fill(0xa5);
    std::fs::write(&database, &bytes).unwrap();
    let outcome = running.prepared().cli(&["serve"]);
    assert_eq!(outcome.code, 1, "{}{}", outcome.stdout, outcome.stderr);
    assert_eq!(std::fs::read(&database).unwrap(), bytes, "the file was changed");
}
