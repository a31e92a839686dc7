//! SECURITY.md 1.A: who may say where a request came from, and what it asked for.

use serde_json::Value;
use vestibule_testkit::{Client, Door, Gateway, PORTAL, Recorder, Request, Route, TRUSTED};

use crate::gateway;

/// Everything that a proxy in front may say, each with a value that would open the door.
const FAMILY: &[(&str, &str)] = &[
    ("Forwarded", "for=10.9.8.7;host=open.example.test;proto=http"),
    ("X-Forwarded-For", "10.9.8.7"),
    ("X-Forwarded-Host", "open.example.test"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-Port", "8081"),
    ("X-Forwarded-Prefix", "/f0rged"),
    ("X-Forwarded-Uri", "/public/f0rged"),
    ("X-Forwarded-Method", "OPTIONS"),
    ("X-Forwarded-Server", "f0rged"),
    ("X-Forwarded-Ssl", "off"),
    ("X-Forwarded-Scheme", "f0rged"),
    ("X-Original-URL", "/public/f0rged"),
    ("X-Original-URI", "/public/f0rged"),
    ("X-Original-Host", "open.example.test"),
    ("X-Original-Method", "OPTIONS"),
    ("X-Rewrite-URL", "/public/f0rged"),
    ("X-Real-IP", "10.9.8.7"),
    ("True-Client-IP", "10.9.8.7"),
    ("CF-Connecting-IP", "10.9.8.7"),
    ("X-Client-IP", "10.9.8.7"),
    ("X_Forwarded_For", "10.9.8.7"),
    ("X.Forwarded.Host", "open.example.test"),
];

fn two_hosts(app: &Recorder) -> Gateway {
    gateway()
        .route(
            Route::new("wiki", "wiki.example.test")
                .upstream(app.url())
                .access("signed-in")
                .rule(&["/public/*"], &[], "public")
                .rule(
                    &["/lan/*"],
                    &[],
                    "{ public = true, networks = [\"10.9.8.0/24\", \"2001:db8::/64\"] }",
                ),
        )
        .route(Route::new("open", "open.example.test").upstream(app.url()).access("public"))
        .start()
}

/// The access line of a request, found by its path.
pub(crate) fn access_line(gateway: &mut Gateway, path: &str) -> Value {
    let line = gateway.wait_log(&[&format!("\"path\":\"{path}\""), "\"client_ip\""]);
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[test]
fn a1_with_the_shipped_example_a_told_uri_opens_nothing() {
    let app = Recorder::start();
    let text = std::fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/examples/openinary.toml"
    ))
    .unwrap()
    .replace("127.0.0.1:8080", "127.0.0.1:0")
    .replace("\"/data\"", "\"{data}\"")
    .replace("http://127.0.0.1:3000", &app.url());
    let text = format!("{text}\n[telemetry]\nlisten = \"127.0.0.1:0\"\n");
    let gateway = gateway()
        .raw(&text)
        .env("AUTH_SECRET", "w1fJ3x9Vq7uYb2Kd8Rz5Tn0Lc6Ph4Sg_test_only")
        .start();
    let mut client = gateway.client();
    for source in ["127.0.0.1", "127.0.0.2"] {
        client = client.from(source);
        let plain = Request::get("https://img.example.com/upload");
        let bare = client.send(&plain);
        assert_eq!(bare.status, 401, "{}", bare.text());
        for name in [
            "X-Forwarded-Uri",
            "X-Original-URI",
            "X-Original-URL",
            "X-Rewrite-URL",
            "X-Forwarded-Prefix",
        ] {
            for value in ["/t/a.jpg", "/public", "/health", "https://img.example.com/t/a.jpg"] {
                let answer = client.send(&plain.clone().header(name, value));
                assert_eq!(answer.status, 401, "{name}: {value} from {source}");
            }
        }
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn a1_hooks_without_a_list_of_proxies_trust_nobody() {
    let app = Recorder::start();
    let route = Route::new("wiki", "wiki.example.test").upstream(app.url()).access("public");
    let gateway = gateway().toml("[server]\ntrusted_proxies = false").route(route).start();
    for source in ["127.0.0.1", TRUSTED] {
        for (path, field, value) in [
            ("forward-auth", "X-Forwarded-Uri", "/"),
            ("auth-request", "X-Original-URL", "https://wiki.example.test/"),
        ] {
            let question = Request::get(&format!("http://hook.test/api/authz/{path}"))
                .header("X-Forwarded-Method", "GET")
                .header("X-Original-Method", "GET")
                .header("X-Forwarded-Proto", "https")
                .header("X-Forwarded-Host", "wiki.example.test")
                .header(field, value);
            let answer = Client::plain(gateway.hook()).from(source).send(&question).expect(403);
            assert_eq!(answer.code().as_deref(), Some("UNTRUSTED_PROXY"));
        }
    }
}

#[test]
fn a2_a9_from_an_untrusted_peer_the_family_changes_nothing() {
    let app = Recorder::start();
    let mut gateway = two_hosts(&app);
    let client = gateway.client();
    let challenge = Request::get("https://wiki.example.test/secret").navigation();
    let location = client.send(&challenge).expect(302).location().to_owned();
    for (at, (name, value)) in FAMILY.iter().enumerate() {
        let answer = client.send(&challenge.clone().header(name, value));
        assert_eq!((answer.status, answer.location()), (302, &*location), "{name}");
        assert_eq!(answer.header("set-cookie"), None, "{name}");
        let lan = Request::get("https://wiki.example.test/lan/x").header(name, value);
        let _ = client.send(&lan).expect(403);
        let path = format!("/public/a2-{at}");
        let open = Request::get(&format!("https://wiki.example.test{path}")).header(name, value);
        let _ = client.send(&open).expect(200);
        let seen = app.last();
        assert!(!seen.holds("f0rged") && !seen.holds("10.9.8.7"), "{name}: {:?}", seen.headers);
        assert!(!seen.holds("open.example.test") && !seen.holds("8081"), "{name}");
        for (ours, told) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "wiki.example.test"),
            ("x-forwarded-port", "443"),
        ] {
            assert_eq!(seen.all(ours).collect::<Vec<_>>(), [told], "{ours} beside {name}");
        }
        let line = access_line(&mut gateway, &path);
        assert_eq!(line["client_ip"], "127.0.0.1", "{name}");
        assert_eq!(line["host"], "wiki.example.test", "{name}");
    }
}

#[test]
fn a9_names_of_ours_are_taken_off_whoever_sends_them() {
    let app = Recorder::start();
    let gateway = two_hosts(&app);
    for source in ["127.0.0.1", TRUSTED] {
        let request = Request::get("https://wiki.example.test/public/a")
            .header("X-Vestibule", "ALLOWED f0rged")
            .header("X-Vestibule-User", "f0rged")
            .header("x_vestibule_internal", "f0rged")
            .header("X-Vestibule-Assertion", "f0rged")
            .header("Remote-User", "f0rged")
            .header("X-Forwarded-User", "f0rged")
            .header("X-Auth-Request-User", "f0rged");
        let _ = gateway.client().from(source).send(&request).expect(200);
        assert!(!app.last().holds("f0rged"), "{source}: {:?}", app.last().headers);
    }
}

#[test]
fn a3_a_proto_that_is_neither_http_nor_https_is_nobodys() {
    let app = Recorder::start();
    let gateway = two_hosts(&app);
    let ask = |source: &str, proto: &str| {
        let request = Request::get("https://wiki.example.test/secret?q")
            .navigation()
            .header("X-Forwarded-Proto", proto);
        gateway.client().from(source).send(&request)
    };
    let wanted = format!("{PORTAL}/login?rd=https%3A%2F%2Fwiki.example.test%2Fsecret%3Fq");
    for junk in ["javascript", "https,http", "", "HTTPS\t", "wss", "http, https", "HTTP", "httpx"] {
        for source in ["127.0.0.1", TRUSTED] {
            let answer = ask(source, junk).expect(302);
            assert_eq!(answer.location(), wanted, "{junk:?} from {source}");
        }
    }
    // Only who is believed may say that the browser came over plain http, and is sent to https.
    assert_eq!(ask("127.0.0.1", "http").expect(302).location(), wanted);
    let answer = ask(TRUSTED, "http").expect(308);
    assert_eq!(answer.location(), "https://wiki.example.test/secret?q");
    let secret = Request::new("POST", "https://wiki.example.test/public/x")
        .header("X-Forwarded-Proto", "http")
        .body("password");
    let answer = gateway.client().from(TRUSTED).send(&secret).expect(400);
    assert_eq!(answer.code().as_deref(), Some("HTTPS_REQUIRED"));
    assert_eq!(app.count(), 0);
}

#[test]
fn a5_garbage_in_the_chain_leaves_decision_and_client_alone() {
    let app = Recorder::start();
    let mut gateway = two_hosts(&app);
    let long = vec!["10.9.8.7"; 800].join(", ");
    for (at, (chain, client)) in [
        ("a", TRUSTED),
        ("unknown", TRUSTED),
        ("_obf", TRUSTED),
        ("", TRUSTED),
        (",,,", TRUSTED),
        ("\"[::1]:80\"", "::1"),
        ("10.9.8.7, \"x,y\"", TRUSTED),
        ("10.9.8.7, 203.0.113.5", "203.0.113.5"),
        ("10.9.8.7, 203.0.113.5, 127.0.0.9", "203.0.113.5"),
        ("203.0.113.5:4711", "203.0.113.5"),
        ("\u{e9}", TRUSTED),
        (&*format!("{long}, 203.0.113.7"), "203.0.113.7"),
    ]
    .into_iter()
    .enumerate()
    {
        let trusted = gateway.client().from(TRUSTED);
        let denied = Request::get("https://wiki.example.test/x").header("X-Forwarded-For", chain);
        assert_eq!(trusted.send(&denied).status, 401, "{chain:?}");
        let path = format!("/public/a5-{at}");
        let open = Request::get(&format!("https://wiki.example.test{path}"));
        let _ = trusted.send(&open.header("X-Forwarded-For", chain)).expect(200);
        assert_eq!(access_line(&mut gateway, &path)["client_ip"], client, "{chain:?}");
        assert_eq!(app.last().header("x-real-ip"), Some(client), "{chain:?}");
    }
    let endless = Request::get("https://wiki.example.test/public/x")
        .header("X-Forwarded-For", vec!["10.9.8.7"; 10_000].join(","));
    assert_eq!(gateway.client().from(TRUSTED).send(&endless).status, 431);
}

#[test]
fn a7_one_address_in_three_spellings_is_one_network() {
    let app = Recorder::start();
    let mut gateway = two_hosts(&app);
    for (at, (spelled, client, inside)) in [
        ("10.9.8.7", "10.9.8.7", true),
        ("::ffff:10.9.8.7", "10.9.8.7", true),
        ("[::ffff:10.9.8.7]:443", "10.9.8.7", true),
        ("::ffff:0a09:0807", "10.9.8.7", true),
        ("2001:db8::7", "2001:db8::7", true),
        ("[2001:DB8::7%eth0]", "2001:db8::7", true),
        ("10.9.9.7", "10.9.9.7", false),
        ("::ffff:10.9.9.7", "10.9.9.7", false),
        ("2001:db8:0:1::7", "2001:db8:0:1::7", false),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/lan/a7-{at}");
        let request = Request::get(&format!("https://wiki.example.test{path}"))
            .header("X-Forwarded-For", spelled);
        let answer = gateway.client().from(TRUSTED).send(&request);
        assert_eq!(answer.status, if inside { 200 } else { 403 }, "{spelled}");
        assert_eq!(access_line(&mut gateway, &path)["client_ip"], client, "{spelled}");
    }
}

#[test]
fn a8_c6_a_host_that_is_none_is_400() {
    let app = Recorder::start();
    let gateway = two_hosts(&app);
    for host in [
        "open.example.test;x=y",
        "open.example.test,wiki.example.test",
        "open.example.test\"",
        "open.example.test x",
        "u@open.example.test",
        "open.example.test:",
        "open.example.test:0",
        "open.example.test:99999",
        "open.example.test:80:80",
        "open..example.test",
        ".open.example.test",
        "open.example.test/x",
        "open.example.test%2e",
        "open.example.test\\x",
        "\u{ff4f}pen.example.test",
        "[::1",
        "127.1",
        "0x7f.1",
        "",
        "*",
    ] {
        let bytes = format!("GET /x HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = gateway.client().raw("x", bytes.as_bytes());
        assert!(
            answer.starts_with(b"HTTP/1.1 400 "),
            "{host:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    for heads in [
        "GET /x HTTP/1.1\r\n",
        "GET /x HTTP/1.1\r\nHost: open.example.test\r\nHost: open.example.test\r\n",
        "GET /x HTTP/1.1\r\nHost: open.example.test\r\nhost: wiki.example.test\r\n",
        "GET /x HTTP/1.1\r\nHost: open.example.test\rX: y\r\n",
        "GET /x HTTP/1.1\r\nHost: open.example.test\r\n folded\r\n",
        "GET http://wiki.example.test/x HTTP/1.1\r\nHost: open.example.test\r\n",
        "GET ftp://open.example.test/x HTTP/1.1\r\nHost: open.example.test\r\n",
    ] {
        let answer =
            gateway.client().raw("x", format!("{heads}Connection: close\r\n\r\n").as_bytes());
        assert!(
            answer.starts_with(b"HTTP/1.1 400 "),
            "{heads:?}: {}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn a10_c5_a_question_with_a_hole_is_never_2xx() {
    let app = Recorder::start();
    let gateway = two_hosts(&app);
    let hook = Client::plain(gateway.hook()).from(TRUSTED);
    let forward: &[(&str, &str)] = &[
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "open.example.test"),
        ("X-Forwarded-Uri", "/public/x"),
    ];
    let original: &[(&str, &str)] =
        &[("X-Original-Method", "GET"), ("X-Original-URL", "https://open.example.test/public/x")];
    for (paths, fields, refused) in [
        (&["/api/authz/forward-auth", "/api/verify"][..], forward, 400),
        (&["/api/authz/auth-request", "/oauth2/auth"], original, 403),
    ] {
        for path in paths {
            let ask = |fields: &[(&str, &str)]| {
                let mut request = Request::get(&format!("http://hook.test{path}"));
                for (name, value) in fields {
                    request = request.header(name, value);
                }
                hook.send(&request)
            };
            let answer = ask(fields).expect(200);
            assert!(answer.body.is_empty());
            for at in 0..fields.len() {
                let mut missing = fields.to_vec();
                missing.remove(at);
                let mut empty = fields.to_vec();
                empty[at].1 = "";
                let mut twice = fields.to_vec();
                twice.push(fields[at]);
                let mut blank = fields.to_vec();
                blank[at].1 = " \t ";
                let mut binary = fields.to_vec();
                binary[at].1 = "\u{e9}";
                for bad in [missing, empty, twice, blank, binary] {
                    let answer = ask(&bad);
                    assert_eq!(answer.status, refused, "{path} {bad:?}");
                    assert_eq!(answer.header("cache-control"), Some("no-store"));
                }
            }
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn c5_an_unreadable_uri_is_refused_at_every_hook() {
    let app = Recorder::start();
    let gateway = two_hosts(&app);
    let mut nobody = gateway.anonymous();
    for uri in [
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/%252e%252e/secret",
        "/public//x",
        "/public\\x",
        "/public/%5cx",
        "/public/%00",
        "/public/%",
        "/public/%zz",
        "/public/#/secret",
        "/public/;x",
        "/a%2f..",
        "public/x",
        "http://open.example.test/public/x",
        "//open.example.test/public",
        "*",
        "/public/ x",
        "/public/\u{e9}",
        "?x=/public",
    ] {
        let hook = Client::plain(gateway.hook()).from(TRUSTED);
        let forward = Request::get("http://hook.test/api/authz/forward-auth")
            .header("X-Forwarded-Method", "GET")
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-Host", "wiki.example.test")
            .header("X-Forwarded-Uri", uri);
        assert_eq!(hook.send(&forward).status, 400, "{uri}");
        let original = Request::get("http://hook.test/api/authz/auth-request")
            .header("X-Original-Method", "GET")
            .header("X-Original-URL", format!("https://wiki.example.test{uri}"));
        let status = hook.send(&original).status;
        // `https://hostpublic/x` and `https://host?x` are other hosts or the root: refused by
        // their own rule.
        assert!(matches!(status, 401 | 403), "{uri}: {status}");
    }
    let huge = format!("/public/{}", "a".repeat(60_000));
    let answer = nobody.ask(Door::ForwardAuth, "GET", &huge);
    assert!(matches!(answer.status, 400 | 403 | 414 | 431), "{}", answer.status);
    assert_eq!(app.connections(), 0);
}
