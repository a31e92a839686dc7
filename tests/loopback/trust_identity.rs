//! SECURITY.md 1.B and CONTRACT section 5: who an app is told it speaks with.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use vestibule_testkit::{
    Actor, Door, Gateway, MANAGED, PASSWORD, PORTAL, Recorder, Request, Route, ws,
};

use crate::gateway;
use crate::oracle::{Pipeline, Rng, in_parallel, seed};

const WIKI: &str = "wiki.example.test";

fn wiki(app: &Recorder) -> Route {
    Route::new("wiki", WIKI).upstream(app.url()).access("signed-in").rule(
        &["/public/*", "/ws"],
        &[],
        "public",
    )
}

/// Header and claims of a JWT.
pub(crate) fn claims(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| {
        let bytes = URL_SAFE_NO_PAD.decode(part).unwrap_or_else(|error| panic!("{error}: {token}"));
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    });
    (parts.next().unwrap(), parts.next().unwrap())
}

fn with_forged_names(mut request: Request) -> Request {
    for name in MANAGED {
        for spelled in [
            (*name).to_owned(),
            name.replace('-', "_"),
            name.replace('-', "."),
            name.to_uppercase(),
        ] {
            request = request.header(&spelled, "f0rged");
        }
    }
    request
}

/// What the door tells the app: the recorder's last request, or the hook's answer.
fn told(actor: &mut Actor, app: &Recorder, door: Door, url: &str) -> Vec<(String, String)> {
    let answer = actor.ask_with(door, with_forged_names(Request::get(url))).expect(200);
    let headers = if door == Door::Proxy { app.last().headers } else { answer.headers };
    let managed = |(name, _): &(String, String)| {
        let name = name.to_ascii_lowercase().replace(['_', '.'], "-");
        MANAGED.contains(&&*name)
    };
    headers.into_iter().filter(managed).collect()
}

#[test]
fn b1_what_is_not_known_is_absent_or_empty_and_never_the_clients() {
    let app = Recorder::start();
    let presets = [
        ("remote", &["remote-user", "remote-email", "remote-name", "remote-groups"][..]),
        (
            "x-forwarded",
            &[
                "x-forwarded-user",
                "x-forwarded-email",
                "x-forwarded-groups",
                "x-forwarded-preferred-username",
            ],
        ),
        (
            "x-auth-request",
            &[
                "x-auth-request-user",
                "x-auth-request-email",
                "x-auth-request-groups",
                "x-auth-request-preferred-username",
            ],
        ),
        ("none", &[]),
    ];
    let mut builder = gateway().user("ann", &[]);
    for (preset, _) in presets {
        let host = format!("{preset}.example.test");
        builder = builder.route(
            Route::new(preset, &host)
                .upstream(app.url())
                .access("signed-in")
                .rule(&["/public"], &[], "public")
                .set(
                    "identity_headers",
                    &format!("{{ preset = \"{preset}\", assertion = false }}"),
                ),
        );
    }
    let gateway = builder.start();
    let mut ann = gateway.as_user("ann");
    let mut nobody = gateway.anonymous();
    for (preset, names) in presets {
        let url = format!("https://{preset}.example.test/public");
        ann.enter(&url);
        for door in Door::ALL {
            for (name, value) in told(&mut ann, &app, door, &url) {
                let wanted = match (names.contains(&&*name), name.rsplit('-').next().unwrap()) {
                    (false, _) | (_, "groups") => "",
                    (true, "email") => "ann@example.test",
                    (true, _) => "ann",
                };
                assert_eq!(value, wanted, "{name} of preset {preset} at {door:?}");
            }
            let fields = told(&mut ann, &app, door, &url);
            let present = |name: &&str| fields.iter().any(|(field, _)| field == name);
            assert!(names.iter().all(present), "{preset} {door:?}: {fields:?}");
            // A hook's answer names every header of every preset, so that none of the client's stays.
            assert!(door == Door::Proxy || MANAGED.iter().all(present), "{door:?}: {fields:?}");
            for (name, value) in told(&mut nobody, &app, door, &url) {
                assert_eq!(value, "", "{name} of nobody at {door:?}");
            }
        }
    }
}

#[test]
fn b3_forged_names_are_stripped_whatever_the_request_is_for() {
    let app = Recorder::start();
    let gateway =
        gateway().route(wiki(&app).set("cors_preflight", "pass")).user("ann", &[]).start();
    let client = gateway.client();
    let preflight = Request::new("OPTIONS", &format!("https://{WIKI}/secret"))
        .header("Origin", "https://elsewhere.example.test")
        .header("Access-Control-Request-Method", "POST");
    let _ = client.send(&with_forged_names(preflight)).expect(200);
    for method in ["GET", "HEAD", "OPTIONS", "POST", "PROPFIND"] {
        let request = Request::new(method, &format!("https://{WIKI}/public/x"));
        let _ = client.send(&with_forged_names(request)).expect(200);
    }
    let upgrade =
        Request::get(&format!("https://{WIKI}/ws")).header("Origin", format!("https://{WIKI}"));
    let socket = ws::open(&client, &with_forged_names(upgrade));
    assert!(socket.is_ok(), "{:?}", socket.err());
    // A preflight is let through without the identity that the cookie would prove.
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let before = app.count();
    let preflight = Request::new("OPTIONS", &format!("https://{WIKI}/secret"))
        .header("Origin", "https://elsewhere.example.test")
        .header("Access-Control-Request-Method", "POST");
    let _ = ann.ask_with(Door::Proxy, with_forged_names(preflight)).expect(200);
    assert_eq!(app.count(), before + 1);
    assert_eq!(app.last().header("remote-user"), None);
    for seen in app.requests() {
        assert!(!seen.holds("f0rged"), "{} {}: {:?}", seen.method, seen.target, seen.headers);
    }
    // What Vestibule answers itself, or refuses, reaches nobody.
    let count = app.count();
    for url in [
        format!("https://{WIKI}/.vestibule/whoami"),
        format!("{PORTAL}/health"),
        "https://none.example.test/".to_owned(),
    ] {
        let answer = client.send(&with_forged_names(Request::get(&url)));
        assert!(!answer.text().contains("f0rged"), "{url}");
    }
    assert_eq!(app.count(), count);
}

#[test]
fn b4_connection_cannot_switch_our_headers_off() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &["staff"]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    for lines in [
        &["Remote-User"][..],
        &["remote-user, remote-email,remote-groups , X-Vestibule-Assertion"],
        &["keep-alive", "Remote-User", "remote-name"],
        &[
            "x-forwarded-for, x-forwarded-proto, x-forwarded-host, x-real-ip, x-request-id, traceparent",
        ],
        &["host, content-length, cookie"],
        &[",,,remote-user;q=1, remote-user"],
    ] {
        for name in ["Connection", "connection", "CONNECTION"] {
            let mut request = Request::get(&format!("https://{WIKI}/x"));
            for line in lines {
                request = request.header(name, line);
            }
            let _ = ann.ask_with(Door::Proxy, request).expect(200);
            let seen = app.last();
            assert_eq!(seen.header("remote-user"), Some("ann"), "{lines:?}");
            assert_eq!(seen.header("remote-groups"), Some("staff"), "{lines:?}");
            assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"), "{lines:?}");
            assert_eq!(seen.header("host"), Some(WIKI), "{lines:?}");
            assert!(seen.header("x-vestibule-assertion").is_some(), "{lines:?}");
            assert_eq!(seen.header("connection"), None, "{lines:?}");
        }
    }
}

/// Something close to a good cookie that is none.
fn mutant(rng: &mut Rng, good: &str, others: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = good.as_bytes().to_vec();
    let at = 1 + rng.below(bytes.len() - 1);
    match rng.below(12) {
        0 => bytes.truncate(at),
        1 => bytes.push(alphabet[rng.below(64)]),
        2 => bytes.insert(at, alphabet[rng.below(64)]),
        3 => drop(bytes.remove(at)),
        4 => bytes[at] = b"%\",\\ +/=\xc3\x00"[rng.below(9)],
        5 => bytes.reverse(),
        // The id of one with the tag of another.
        6 => bytes.splice(at.., others.bytes().skip(at)).for_each(drop),
        7 => bytes = STANDARD.encode(good).into_bytes(),
        8 => bytes.extend_from_within(..),
        // The last character holds bits that carry nothing: those must be zero.
        9 if rng.once_in(2) => {
            let last = bytes.len() - 1;
            let old = bytes[last];
            bytes[last] = *alphabet.iter().filter(|b| **b != old).nth(rng.below(63)).unwrap();
        }
        9 => {
            bytes = (0..rng.below(200))
                .map(|_| 0x21 + (rng.next() % 0x5e) as u8)
                .filter(|b| *b != b';')
                .collect()
        }
        10 => bytes.make_ascii_uppercase(),
        _ => {
            let old = bytes[at];
            bytes[at] = *alphabet.iter().filter(|b| **b != old).nth(rng.below(63)).unwrap();
        }
    }
    String::from_utf8_lossy(&bytes).replace(['\0', '\u{fffd}'], "\u{e9}")
}

#[test]
fn b5_j4_no_mutant_of_a_session_cookie_is_let_in() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).user("bob", &[]).start();
    let cookie = |name: &str| {
        let mut actor = gateway.as_user(name);
        actor.enter(&format!("https://{WIKI}/"));
        actor.session_cookie(WIKI).expect("a cookie")
    };
    let (ann, bob) = (cookie("ann"), cookie("bob"));
    let name = &ann.name;
    in_parallel(10_000, |mut rng, share| {
        let mut pipeline = Pipeline::new(gateway.client());
        for _ in 0..share.div_ceil(25) {
            let fields: Vec<String> = (0..25)
                .map(|_| {
                    let bad = loop {
                        let bad = mutant(&mut rng, &ann.value, &bob.value);
                        // Blanks around a value are no part of it.
                        if bad.trim_matches([' ', '\t']) != ann.value {
                            break bad;
                        }
                    };
                    match rng.below(8) {
                        0 => format!("{name}={bad}; {name}={}", ann.value),
                        1 => format!("{name}={}; {name}={}", ann.value, bob.value),
                        2 => format!("{name}={}\r\nCookie: {name}={bad}", ann.value),
                        3 => format!("{}={}", name.to_lowercase(), ann.value),
                        4 => format!("vestibule={}; __Secure-vestibule={}", ann.value, ann.value),
                        5 => format!("{name}=\"{}\"", ann.value),
                        _ => format!("a=b; {name}={bad}"),
                    }
                })
                // A value that the surroundings make whole again is no mutant.
                .filter(|field| {
                    !field.ends_with(&format!("; {name}={}", ann.value))
                        || field.matches(name).count() > 1
                })
                .collect();
            let batch: Vec<_> = fields
                .iter()
                .map(|field| {
                    let head =
                        format!("GET /x HTTP/1.1\r\nHost: {WIKI}\r\nCookie: {field}\r\n\r\n");
                    ("GET".to_owned(), head.into_bytes())
                })
                .collect();
            for (field, answer) in fields.iter().zip(pipeline.send(&batch)) {
                let status = answer.as_ref().map_or(0, |answer| answer.status);
                assert!(matches!(status, 400 | 401), "seed {}: {field}: {answer:?}", seed());
            }
        }
    });
    assert_eq!(app.count(), 0);
}

#[test]
fn b6_repeated_credentials_are_400_and_odd_bytes_decide_nothing() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    let bearer = format!("Bearer {key}");
    for (name, values) in [
        ("Authorization", [bearer.as_str(), "Basic eDp5"]),
        ("Authorization", ["Basic eDp5", bearer.as_str()]),
        ("Authorization", [bearer.as_str(), bearer.as_str()]),
        ("X-Api-Key", [key.as_str(), "other"]),
        ("X-Api-Key", ["other", key.as_str()]),
    ] {
        for (door, refused) in
            [(Door::Proxy, 400), (Door::ForwardAuth, 400), (Door::AuthRequest, 403)]
        {
            for path in ["/x", "/public/x"] {
                let request = Request::get(&format!("https://{WIKI}{path}"))
                    .header(name, values[0])
                    .header(&name.to_lowercase(), values[1]);
                let _ = gateway.anonymous().ask_with(door, request).expect(refused);
            }
        }
    }
    // Cookies on several lines are all read.
    ann.enter(&format!("https://{WIKI}/"));
    let cookie = ann.session_cookie(WIKI).unwrap();
    for order in [
        ["a=b".to_owned(), format!("{}={}", cookie.name, cookie.value)],
        [format!("{}={}", cookie.name, cookie.value), "a=b".to_owned()],
    ] {
        let mut request = Request::get(&format!("https://{WIKI}/x"));
        for line in &order {
            request = request.header("Cookie", line);
        }
        let _ = gateway.client().send(&request).expect(200);
        assert_eq!(app.last().all("cookie").collect::<Vec<_>>(), ["a=b"]);
    }
    let count = app.count();
    let odd: Vec<u8> = (0x80..=0xff).collect();
    for name in [
        "Cookie",
        "Authorization",
        "X-Api-Key",
        "User-Agent",
        "Accept",
        "Origin",
        "X-Other",
        "Referer",
    ] {
        for door in Door::ALL {
            let denied = Request::get(&format!("https://{WIKI}/x")).header(name, &odd);
            let _ = gateway.anonymous().ask_with(door, denied).expect(401);
            let open = Request::get(&format!("https://{WIKI}/public/x")).header(name, &odd);
            let _ = gateway.anonymous().ask_with(door, open).expect(200);
        }
    }
    assert!(app.requests()[count..].iter().all(|seen| seen.target == "/public/x"));
}

#[test]
fn b8_the_assertion_is_signed_by_a_published_key_for_one_app() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki(&app))
        .route(Route::new("blog", "blog.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &["staff"])
        .start();
    let mut ann = gateway.as_user("ann");
    let keys = gateway
        .client()
        .send(&Request::get(&format!("{PORTAL}/.well-known/jwks.json")))
        .expect(200)
        .json();
    let keys = keys["keys"].as_array().unwrap().clone();
    for key in &keys {
        assert_eq!((&key["kty"], &key["crv"]), (&json!("OKP"), &json!("Ed25519")), "{key}");
        assert!(key.get("d").is_none(), "a private key is published");
    }
    let mut tokens = Vec::new();
    for host in [WIKI, "blog.example.test"] {
        let _ = ann.get(&format!("https://{host}/x")).expect(200);
        let token = app.last().header("x-vestibule-assertion").unwrap().to_owned();
        let (header, body) = claims(&token);
        assert_eq!(header["alg"], "EdDSA");
        assert_eq!(header["typ"], "vestibule-assertion+jwt");
        let key =
            keys.iter().find(|key| key["kid"] == header["kid"]).expect("its key is published");
        verify(&token, key);
        assert_eq!(body["iss"], PORTAL);
        assert_eq!(body["aud"], format!("https://{host}"));
        for (claim, value) in [
            ("username", json!("ann")),
            ("email", json!("ann@example.test")),
            ("email_verified", json!(true)),
            ("name", json!("ann")),
            ("groups", json!(["staff"])),
            ("role", json!("user")),
        ] {
            assert_eq!(body[claim], value, "{claim}");
        }
        for claim in ["sub", "jti", "sid"] {
            assert!(body[claim].as_str().is_some_and(|text| !text.is_empty()), "{claim}: {body}");
        }
        assert!(body["amr"].is_array() && body["auth_time"].is_i64(), "{body}");
        let (iat, exp) = (body["iat"].as_i64().unwrap(), body["exp"].as_i64().unwrap());
        assert_eq!(exp - iat, 300, "{body}");
        tokens.push(token);
    }
    // One kind of token shown as another opens nothing, at any door.
    for token in &tokens {
        for door in Door::ALL {
            let mut program = gateway.with_bearer(token);
            let answer = program.ask(door, "GET", "/public/x").expect(401);
            assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"), "{door:?}");
        }
        let answer = gateway.with_bearer(token).api("GET", "/me", None).expect(401);
        assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"));
    }
    // Access tokens are signed by another key.
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    assert_ne!(claims(&access).0["kid"], claims(&tokens[0]).0["kid"]);
}

fn verify(token: &str, key: &Value) {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
    let key = DecodingKey::from_ed_components(key["x"].as_str().unwrap()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_aud = false;
    decode::<Value>(token, &key, &rules).unwrap_or_else(|error| panic!("{error}: {token}"));
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn b9_no_credential_of_ours_reaches_an_app_and_what_is_the_apps_does() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki(&app))
        .route(
            Route::new("git", "git.example.test")
                .upstream(app.url())
                .access("{ credentials = [\"basic\", \"session\"] }")
                .rule(&["/public/*"], &[], "public"),
        )
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    let (access, refresh) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    ann.enter(&format!("https://{WIKI}/"));
    let cookie = ann.session_cookie(WIKI).unwrap();
    let portal_cookie = ann.session_cookie("auth.example.test").unwrap();
    let secrets =
        [&*key, &*access, &*refresh, &*cookie.value, &*portal_cookie.value, "fl0w", "csr4f"];
    let ours = format!(
        "theme=dark; {}={}; __Host-vestibule-flow-1=fl0w; __Host-vestibule-csrf=csr4f; lang=de",
        cookie.name, cookie.value
    );
    let doors = |request: Request, host: &str| {
        let mut nobody = gateway.anonymous();
        let mut seen = Vec::new();
        for door in Door::ALL {
            let answer = nobody.ask_with(door, request.clone()).expect(200);
            let fields = if door == Door::Proxy { app.last().headers } else { answer.headers };
            let field = |name: &str| {
                let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            for secret in secrets {
                assert!(
                    !fields.iter().any(|(_, v)| v.contains(secret)),
                    "{secret} at {door:?} of {host}"
                );
            }
            seen.push((field("cookie"), field("authorization"), field("x-api-key")));
        }
        seen.dedup();
        assert_eq!(seen.len(), 1, "the doors differ: {seen:?}");
        seen.remove(0)
    };
    let url = |path: &str| Request::get(&format!("https://{WIKI}{path}"));
    let text = |text: &str| Some(text.to_owned());
    for path in ["/x", "/public/x"] {
        let seen = doors(url(path).header("Cookie", &ours), WIKI);
        assert_eq!(seen, (text("theme=dark; lang=de"), None, None), "{path}");
        let seen = doors(url(path).header("X-Api-Key", &key).header("Cookie", &ours), WIKI);
        assert_eq!(seen, (text("theme=dark; lang=de"), None, None), "{path}");
        let seen = doors(url(path).header("Authorization", format!("Bearer {access}")), WIKI);
        assert_eq!(seen, (None, None, None), "{path}");
        let seen = doors(url(path).header("authorization", format!("bEARER {key}")), WIKI);
        assert_eq!(seen, (None, None, None), "{path}");
        // Shown beside the credential that decides, and so not consumed.
        let both =
            url(path).header("X-Api-Key", &key).header("Authorization", format!("Bearer {access}"));
        assert_eq!(doors(both, WIKI), (None, None, None), "{path}");
        // What is not ours by form belongs to the app.
        let theirs = url(path)
            .header("Cookie", &ours)
            .header("Authorization", basic("ann", "theirs"))
            .header("X-Api-Key", "their-own-key");
        let seen = doors(theirs, WIKI);
        assert_eq!(
            seen,
            (text("theme=dark; lang=de"), text(&basic("ann", "theirs")), text("their-own-key"))
        );
    }
    // Basic is ours only where a rule names it.
    let git =
        |value: &str| Request::get("https://git.example.test/x").header("Authorization", value);
    assert_eq!(doors(git(&basic("whoever", &key)), "git"), (None, None, None));
    let answer = gateway.anonymous().send(git(&basic("ann", "theirs"))).expect(401);
    assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"));
}

#[test]
fn b9_x4_an_app_can_neither_set_nor_clear_our_cookies() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).start();
    for name in [
        "vestibule",
        "__Host-vestibule",
        "__Secure-vestibule",
        "vestibule-flow-0",
        "__Host-vestibule-flow-3",
        " __Host-vestibule",
        "__Host-vestibule-csrf",
    ] {
        let url = format!("https://{WIKI}/public/../set-cookie?{name}=x;+Path=/");
        let mut request = Request::get(&url);
        request.target = format!("/set-cookie?{}=x;+Path=/", name.replace(' ', "+"));
        let gateway = &gateway;
        let _ = gateway.client().send(&request).expect(401);
    }
    let open = Recorder::start();
    let mut gateway = gateway;
    assert!(
        gateway.reload_routes(&[Route::new("wiki", WIKI).upstream(open.url()).access("public")])
    );
    for name in [
        "vestibule",
        "__Host-vestibule",
        "__Secure-vestibule",
        "vestibule-flow-0",
        "__Host-vestibule-flow-3",
        "+__Host-vestibule",
        "__Host-vestibule-csrf",
    ] {
        let mut request = Request::get(&format!("https://{WIKI}/"));
        request.target = format!("/set-cookie?{name}=x;+Path=/");
        let answer = gateway.client().send(&request).expect(200);
        assert_eq!(answer.header("set-cookie"), None, "{name}");
    }
    let mut request = Request::get(&format!("https://{WIKI}/"));
    request.target = "/set-cookie?vestibules=x;+Path=/".to_owned();
    let answer = gateway.client().send(&request).expect(200);
    assert_eq!(answer.header("set-cookie"), Some("vestibules=x; Path=/"));
}

/// A gateway whose store says this name of ann.
fn named(app: &Recorder, name: &str) -> Option<Gateway> {
    let gateway = gateway().route(wiki(app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let answer = ann.api("PATCH", "/me", Some(&json!({ "name": name })));
    assert!(matches!(answer.status, 200 | 400 | 413), "{} {}", answer.status, answer.text());
    (answer.status == 200).then_some(gateway)
}

#[test]
fn b10_a_hostile_name_breaks_no_framing() {
    let app = Recorder::start();
    let huge = "x".repeat(64 * 1024);
    for name in [
        "a\r\nRemote-User: admin",
        "a\nb",
        "a\u{0}b",
        "a\u{7f}\u{1b}[31mb",
        "J\u{fc}rgen \u{1f980}",
        &huge,
    ] {
        app.clear();
        let Some(gateway) = named(&app, name) else { continue };
        let mut ann = gateway.as_user("ann");
        ann.enter(&format!("https://{WIKI}/"));
        for door in Door::ALL {
            let answer = ann.ask(door, "GET", "/x").expect(200);
            let fields = if door == Door::Proxy { app.last().headers } else { answer.headers };
            let all = |wanted: &str| -> Vec<&str> {
                fields
                    .iter()
                    .filter(|(n, _)| n.eq_ignore_ascii_case(wanted))
                    .map(|(_, v)| &**v)
                    .collect()
            };
            assert_eq!(all("remote-user"), ["ann"], "{name:?} at {door:?}");
            let told = all("remote-name");
            assert!(
                told.len() <= 1 && told.iter().all(|t| !t.contains(char::is_control)),
                "{told:?}"
            );
            if name.starts_with('J') {
                assert_eq!(told, [name], "{door:?}");
            }
        }
    }
}

#[test]
fn a_long_list_of_groups_is_cut_to_those_that_a_rule_names() {
    let app = Recorder::start();
    let many: Vec<String> = (0..300).map(|n| format!("department-{n:04}-of-the-company")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).chain(["staff"]).collect();
    let route = wiki(&app).rule(&["/staff"], &[], "{ groups = [\"staff\"] }");
    let gateway = gateway().route(route).user("ann", &many).start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    for door in Door::ALL {
        let answer = ann.ask(door, "GET", "/staff").expect(200);
        let fields = if door == Door::Proxy { app.last().headers } else { answer.headers };
        let field = |name: &str| {
            fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone())
        };
        assert_eq!(field("remote-groups").as_deref(), Some("staff"), "{door:?}");
        assert_eq!(field("remote-groups-truncated").as_deref(), Some("true"), "{door:?}");
    }
}
