//! SECURITY.md 1.G and J4 for tokens of our own: access tokens, refresh tokens, API keys.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use vestibule_testkit::{Door, Gateway, PASSWORD, PORTAL, Recorder, Request, Route};

use crate::gateway;
use crate::oracle::{Pipeline, Rng, in_parallel, seed};
use crate::trust_identity::claims;

const WIKI: &str = "wiki.example.test";
const JWT_SECRET: &str = "q8Zk2Wn5Xv7Rb1Tm4Yc6Pd9Lf3Hs0Ja_test_only_jwt";

fn start(app: &Recorder) -> Gateway {
    let _ = jsonwebtoken::crypto::CryptoProvider::install_default(
        &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER,
    );
    gateway()
        .toml(&format!("[secrets]\njwt_secret = \"{JWT_SECRET}\""))
        .toml("[api_keys]\nrate_limit = { requests = 1000000000, window = \"1m\" }")
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("signed-in").rule(
            &["/public/*"],
            &[],
            "public",
        ))
        .user("ann", &[])
        .start()
}

/// Signs claims as whoever holds the key would.
fn sign(header: &Header, body: &Value, secret: &str) -> String {
    encode(header, body, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn header() -> Header {
    let mut header = Header::new(Algorithm::HS256);
    header.typ = Some("at+jwt".to_owned());
    header
}

/// Statuses at a signed-in and at a public path, at every door and at the API.
fn statuses(gateway: &Gateway, authorization: &str) -> Vec<u16> {
    let mut program = gateway.anonymous().with_header("Authorization", authorization);
    let mut seen = Vec::new();
    for path in ["/x", "/public/x"] {
        for door in Door::ALL {
            seen.push(program.ask(door, "GET", &format!("https://{WIKI}{path}")).status);
        }
    }
    seen.push(program.api("GET", "/me", None).status);
    seen
}

#[test]
fn g1_g2_f8_a_claim_of_another_type_time_or_audience_is_refused() {
    let app = Recorder::start();
    let gateway = start(&app);
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let (head, good) = claims(&access);
    assert_eq!((&head["alg"], &head["typ"]), (&json!("HS256"), &json!("at+jwt")));
    assert_eq!((&good["iss"], &good["aud"]), (&json!(PORTAL), &json!(PORTAL)));
    for claim in ["sub", "sid", "jti"] {
        assert!(good[claim].is_string(), "{good}");
    }
    assert_eq!(good["exp"].as_i64().unwrap() - good["iat"].as_i64().unwrap(), 900);
    // The generator itself: the same claims, signed here, are taken.
    let now = good["iat"].as_i64().unwrap();
    assert_eq!(
        statuses(&gateway, &format!("Bearer {}", sign(&header(), &good, JWT_SECRET))),
        [200; 7]
    );
    let change = |claim: &str, value: Option<Value>| {
        let mut body = good.clone();
        match value {
            Some(value) => body[claim] = value,
            None => drop(body.as_object_mut().unwrap().remove(claim)),
        }
        body
    };
    let mut bad = Vec::new();
    for value in [
        json!("9999999999"),
        json!(null),
        json!([]),
        json!([9_999_999_999_i64]),
        json!(true),
        json!({}),
        json!(-1),
        json!(0),
        json!(now - 3600),
        json!("2038-01-20T00:00:00Z"),
        json!(-1e300),
    ] {
        bad.push(change("exp", Some(value)));
    }
    bad.push(change("exp", None));
    for value in [json!("0"), json!([]), json!(true), json!(now + 3600), json!({})] {
        bad.push(change("nbf", Some(value)));
    }
    for value in [json!("x"), json!([]), json!(true), json!(now + 86_400)] {
        bad.push(change("iat", Some(value)));
    }
    for value in [
        json!("https://other.example.test"),
        json!(null),
        json!([]),
        json!(["https://other.example.test"]),
        json!(1),
        json!(""),
        json!(format!("{PORTAL}/")),
        json!({}),
    ] {
        bad.push(change("aud", Some(value)));
    }
    bad.push(change("aud", None));
    for value in [
        json!(null),
        json!(1),
        json!([]),
        json!(""),
        json!("ann"),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("../x"),
    ] {
        bad.push(change("sub", Some(value.clone())));
        bad.push(change("sid", Some(value)));
    }
    bad.push(change("sub", None));
    bad.push(change("sid", None));
    let mut both_expired = change("exp", Some(json!(now - 3600)));
    both_expired["iat"] = json!(now - 7200);
    bad.push(both_expired);
    for body in &bad {
        let token = sign(&header(), body, JWT_SECRET);
        assert_eq!(statuses(&gateway, &format!("Bearer {token}")), [401; 7], "{body}");
    }
    // An issuer that is nobody's here makes it the app's own token: no credential, and not ours to strip.
    for value in [json!("https://other.example.test"), json!(1), json!(null), json!([PORTAL])] {
        let token = sign(&header(), &change("iss", Some(value.clone())), JWT_SECRET);
        let seen = statuses(&gateway, &format!("Bearer {token}"));
        assert!(
            seen[..3].iter().all(|status| *status == 401) && seen[6] == 401,
            "{value}: {seen:?}"
        );
    }
    assert!(
        app.requests()
            .iter()
            .all(|seen| seen.header("remote-user").is_none() || seen.target.contains('x'))
    );
}

#[test]
fn g2_g13_another_key_algorithm_or_form_is_refused() {
    let app = Recorder::start();
    let gateway = start(&app);
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let (_, good) = claims(&access);
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let unsigned = |head: Value| format!("{}.{}.", part(&head), part(&good));
    let mut parts = access.split('.');
    let (head, body, tag) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let mut typed = header();
    typed.typ = Some("vestibule-assertion+jwt".to_owned());
    let mut logout = header();
    logout.typ = Some("logout+jwt".to_owned());
    let hs512 = Header { alg: Algorithm::HS512, ..header() };
    let zipped = json!({ "alg": "HS256", "typ": "at+jwt", "zip": "DEF" });
    let critical = json!({ "alg": "HS256", "typ": "at+jwt", "crit": ["exp"] });
    for token in [
        sign(&header(), &good, "another-secret-another-secret-another"),
        sign(&header(), &good, ""),
        sign(&hs512, &good, JWT_SECRET),
        sign(&typed, &good, JWT_SECRET),
        sign(&logout, &good, JWT_SECRET),
        unsigned(json!({ "alg": "none", "typ": "at+jwt" })),
        unsigned(json!({ "alg": "None", "typ": "at+jwt" })),
        unsigned(json!({ "alg": "HS256", "typ": "at+jwt" })),
        format!("{}.{body}.{tag}", part(&json!({ "alg": "EdDSA", "typ": "at+jwt" }))),
        format!("{}.{body}.{tag}", part(&zipped)),
        format!("{}.{body}.{tag}", part(&critical)),
        format!("{head}.{body}.{tag}A"),
        format!("{head}.{body}.{}", &tag[..tag.len() - 1]),
        format!("{head}.{body}."),
        format!("{head}.{body}.{}", "A".repeat(tag.len())),
        format!("{head}.{}.{tag}", part(&json!({ "iss": PORTAL }))),
    ] {
        assert_eq!(statuses(&gateway, &format!("Bearer {token}")), [401; 7], "{token}");
    }
    // Over 16 KiB it is not even read; five parts are no token of ours.
    let mut long = good.clone();
    long["x"] = json!("y".repeat(20_000));
    let long = sign(&header(), &long, JWT_SECRET);
    let five = format!("{head}.{body}.{tag}.{tag}.{tag}");
    let two = format!("{head}.{body}");
    for token in [long, five, two] {
        let mut program = gateway.with_bearer(&token);
        for door in Door::ALL {
            let _ = program.ask(door, "GET", &format!("https://{WIKI}/x")).expect(401);
        }
    }
}

#[test]
fn g12_bearer_is_one_space_and_one_token() {
    let app = Recorder::start();
    let gateway = start(&app);
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    for token in [&access, &key] {
        for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
            assert_eq!(statuses(&gateway, &format!("{scheme} {token}")), [200; 7], "{scheme}");
        }
        for value in [
            format!("Bearer  {token}"),
            format!("Bearer\t{token}"),
            format!("Bearer {token},"),
            format!("Bearer {token}, Bearer {token}"),
            format!("Bearer {token} {token}"),
            format!("Bearer,{token}"),
            format!("Bearer {token};x"),
            format!("Bearer \"{token}\""),
        ] {
            let seen = statuses(&gateway, &value);
            assert!(
                seen[..3].iter().all(|status| matches!(status, 400 | 401)),
                "{value}: {seen:?}"
            );
            assert!(matches!(seen[6], 400 | 401), "{value}: {seen:?}");
        }
    }
    let signed_in = app.requests().into_iter().filter(|seen| seen.target == "/x");
    assert!(signed_in.into_iter().all(|seen| seen.header("remote-user") == Some("ann")));
}

#[test]
fn g3_a_bad_token_beside_a_good_cookie_is_401() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let bad = format!("{}x", &access[..access.len() - 1]);
    for path in ["/x", "/public/x"] {
        for door in Door::ALL {
            let request = Request::get(&format!("https://{WIKI}{path}"))
                .header("Authorization", format!("Bearer {bad}"));
            let answer = ann.ask_with(door, request).expect(401);
            assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"), "{path} at {door:?}");
        }
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn g11_no_authorization_or_key_breaks_the_process() {
    let app = Recorder::start();
    let mut gateway = start(&app);
    let (access, _) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    in_parallel(20_000, |mut rng, share| {
        let mut pipeline = Pipeline::new(gateway.client());
        for _ in 0..share.div_ceil(25) {
            let batch: Vec<_> = (0..25)
                .map(|_| {
                    let field = hostile_field(&mut rng, &access, &key);
                    let head = format!("GET /x HTTP/1.1\r\nHost: {WIKI}\r\n{field}\r\n\r\n");
                    ("GET".to_owned(), head.into_bytes())
                })
                .collect();
            for ((_, bytes), answer) in batch.iter().zip(pipeline.send(&batch)) {
                let status = answer.as_ref().map_or(0, |answer| answer.status);
                assert!(
                    matches!(status, 400 | 401),
                    "seed {}: {}: {answer:?}",
                    seed(),
                    String::from_utf8_lossy(bytes)
                );
            }
        }
    });
    assert!(gateway.process().exited().is_none());
    assert_eq!(app.count(), 0);
}

/// A field that shows a credential that is none.
fn hostile_field(rng: &mut Rng, access: &str, key: &str) -> String {
    let mut bytes =
        if rng.once_in(2) { access.as_bytes().to_vec() } else { key.as_bytes().to_vec() };
    for _ in 0..=rng.below(3) {
        let at = 1 + rng.below(bytes.len() - 1);
        match rng.below(6) {
            0 => bytes.truncate(at.max(2)),
            1 => bytes.insert(at, b"ABz09-_.=~ ,;\"%\xc3\xff"[rng.below(17)]),
            2 => drop(bytes.remove(at)),
            3 => bytes[at] = bytes[at].wrapping_add(1).clamp(0x21, 0x7e),
            4 => bytes.extend_from_within(at..),
            _ => bytes.swap(at, 1),
        }
        if bytes.len() < 3 {
            bytes.extend_from_slice(b"xyz");
        }
    }
    let text = String::from_utf8_lossy(&bytes).replace('\u{fffd}', "\u{e9}");
    if text == access || text == key || text.trim() == access || text.trim() == key {
        return "X-Api-Key: vst_".to_owned();
    }
    match rng.below(6) {
        0 => format!("X-Api-Key: {text}"),
        1 => format!("Authorization: Basic {text}"),
        2 => format!("Authorization: {text}"),
        3 => format!("Authorization: Bearer{text}"),
        _ => format!("Authorization: Bearer {text}"),
    }
}

#[test]
fn g14_refresh_tokens_rotate_and_a_second_use_ends_the_family() {
    let app = Recorder::start();
    let gateway = start(&app);
    let refresh = |token: &str| {
        gateway.anonymous().api("POST", "/refresh", Some(&json!({ "refresh_token": token })))
    };
    let text = |value: &Value, name: &str| value[name].as_str().unwrap().to_owned();
    let (_, first) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let answer = refresh(&first).expect(200).json();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));
    let (second, access) = (text(&answer, "refresh_token"), text(&answer, "access_token"));
    assert_ne!(first, second);
    let _ = gateway.with_bearer(&access).get(&format!("https://{WIKI}/x")).expect(200);
    let _ = refresh(&first).expect(401);
    let _ = refresh(&second).expect(401);
    let _ = gateway.with_bearer(&access).get(&format!("https://{WIKI}/x")).expect(401);
    // A hundred at once: at most one of them gets a pair.
    let (_, token) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let pairs: usize = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..100).map(|_| scope.spawn(|| usize::from(refresh(&token).status == 200))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(pairs, 1);
}

#[test]
fn j4_a_key_with_one_character_changed_added_or_missing_is_refused() {
    let app = Recorder::start();
    let gateway = start(&app);
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    assert_eq!(key.len(), "vst_".len() + 43, "{key}");
    assert!(key.strip_prefix("vst_").unwrap().bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
    let (_, refresh) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    let near = |text: &str, alphabet: &[u8], from: usize| {
        let mut near = Vec::new();
        for at in from..text.len() {
            let mut less = text.to_owned();
            less.remove(at);
            near.push(less);
            let mut more = text.to_owned();
            more.insert(at, 'A');
            near.push(more);
            let old = text.as_bytes()[at];
            let place = alphabet.iter().position(|b| *b == old).unwrap();
            for step in [1, alphabet.len() / 2, alphabet.len() - 1] {
                let mut other = text.to_owned();
                let new = char::from(alphabet[(place + step) % alphabet.len()]);
                other.replace_range(at..=at, &new.to_string());
                near.push(other);
            }
            near.push(text[..at].to_owned());
        }
        near.push(format!("{text}A"));
        near.push(format!("{text}{text}"));
        near.retain(|other| other != text);
        near
    };
    let base62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut pipeline = Pipeline::new(gateway.client());
    for chunk in near(&key, base62, 4).chunks(20) {
        let batch: Vec<_> = chunk
            .iter()
            .map(|key| {
                let head =
                    format!("GET /public/x HTTP/1.1\r\nHost: {WIKI}\r\nX-Api-Key: {key}\r\n\r\n");
                ("GET".to_owned(), head.into_bytes())
            })
            .collect();
        for (key, answer) in chunk.iter().zip(pipeline.send(&batch)) {
            assert_eq!(answer.map(|answer| answer.status), Some(401), "{key}");
        }
    }
    for chunk in near(&refresh, base64, 0).chunks(20) {
        let batch: Vec<_> = chunk
            .iter()
            .map(|token| {
                let request = Request::new("POST", &format!("{PORTAL}/api/v1/auth/refresh"))
                    .json(&json!({ "refresh_token": token }));
                ("POST".to_owned(), request.bytes())
            })
            .collect();
        for (token, answer) in chunk.iter().zip(pipeline.send(&batch)) {
            assert_eq!(answer.map(|answer| answer.status), Some(401), "{token}");
        }
    }
    assert_eq!(app.count(), 0);
    // None of it has spent the good ones.
    let _ = gateway.with_key(&key).get(&format!("https://{WIKI}/x")).expect(200);
    let body = json!({ "refresh_token": refresh });
    let _ = gateway.anonymous().api("POST", "/refresh", Some(&body)).expect(200);
}

#[test]
fn scopes_narrow_a_key_and_a_key_makes_none_that_is_wider() {
    let app = Recorder::start();
    let gateway = start(&app);
    let mut ann = gateway.as_user("ann");
    let mut key = |scopes: &[&str]| ann.create_key(&json!({ "name": "k", "scopes": scopes })).1;
    let (all, read, other, keys) = (
        key(&["route:*"]),
        key(&["route:wiki:GET"]),
        key(&["route:blog"]),
        key(&["keys", "route:wiki"]),
    );
    let ask = |key: &str, method: &str| {
        let mut program = gateway.with_key(key);
        let statuses: Vec<u16> = Door::ALL
            .iter()
            .map(|door| program.ask(*door, method, &format!("https://{WIKI}/x")).status)
            .collect();
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{statuses:?}");
        statuses[0]
    };
    for (key, method, status) in [
        (&all, "GET", 200),
        (&all, "DELETE", 200),
        (&read, "GET", 200),
        (&read, "HEAD", 200),
        (&read, "POST", 403),
        (&read, "get", 403),
        (&other, "GET", 403),
        (&keys, "POST", 200),
    ] {
        assert_eq!(ask(key, method), status, "{method}");
    }
    let make = |key: &str, body: Value| gateway.with_key(key).api("POST", "/api-keys", Some(&body));
    let _ = make(&all, json!({ "name": "n" })).expect(403);
    let made = make(&keys, json!({ "name": "n" })).expect(201).json();
    let inherited = made["key"].as_str().unwrap().to_owned();
    assert_eq!(ask(&inherited, "GET"), 200);
    let _ = make(&keys, json!({ "name": "n", "scopes": ["route:*"] })).expect(403);
    let _ = make(&keys, json!({ "name": "n", "scopes": ["admin"] })).expect(403);
    let _ = make(&keys, json!({ "name": "n", "scopes": ["keys"] })).expect(201);
    for (method, path, body) in [
        (
            "POST",
            "/password/change",
            json!({ "current_password": PASSWORD, "new_password": "another-Horse-8-staple" }),
        ),
        ("PATCH", "/me", json!({ "name": "x" })),
    ] {
        let answer = gateway.with_key(&keys).api(method, path, Some(&body));
        assert_eq!(answer.status, 403, "{method} {path}");
    }
}
