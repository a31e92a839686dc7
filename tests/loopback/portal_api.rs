//! The JSON API as the contract prints it: members, codes, what a key may and may not, and which
//! requests of a browser count as the portal's own.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use vestibule_testkit::{Actor, PASSWORD, Recorder, Request, Route};

use crate::gateway;
use crate::rows::{Portal, account_id, admin_api, by_variables, code, wiki};

fn members(value: &Value) -> BTreeSet<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

const USER: [&str; 9] =
    ["id", "username", "email", "email_verified", "name", "role", "status", "groups", "created_at"];

#[test]
fn answers_have_the_printed_members() {
    let app = Recorder::start();
    let gateway = gateway()
        .toml("[auth.password]\nsignup = true")
        .route(wiki(&app))
        .user("ann", &["staff"])
        .start();
    let portal = Portal::of(&gateway);
    let told = portal.config();
    let due = [
        "mode",
        "password_auth_enabled",
        "oauth_providers",
        "signup_enabled",
        "passkeys_enabled",
        "password_reset_enabled",
        "email_verification_required",
    ];
    assert_eq!(members(&told), BTreeSet::from(due));
    let tokens = portal.login("ann@example.test", PASSWORD).expect(200).json();
    let due = ["access_token", "refresh_token", "token_type", "expires_in"];
    assert_eq!(members(&tokens), BTreeSet::from(due));
    let renewed = portal.refresh(tokens["refresh_token"].as_str().unwrap()).expect(200).json();
    assert_eq!(members(&renewed), BTreeSet::from(due));

    let mut ann = gateway.anonymous();
    let signed_in = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    assert_eq!(members(&signed_in.json()), BTreeSet::from(["user"]), "no tokens beside a cookie");
    let me = ann.api("GET", "/me", None).expect(200).json();
    assert_eq!(members(&me), BTreeSet::from(USER));
    assert_eq!(me["id"], account_id(&gateway, "ann@example.test"));
    assert_eq!((&me["username"], &me["groups"]), (&json!("ann"), &json!(["staff"])));
    assert!(me["created_at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    let renamed = ann.api("PATCH", "/me", Some(&json!({ "name": "Ann B." }))).expect(200).json();
    assert_eq!(renamed["name"], "Ann B.");
    for own in ["role", "status", "email", "groups", "username"] {
        let answer = ann.api("PATCH", "/me", Some(&json!({ "name": "a", own: "admin" })));
        assert!(answer.status >= 400, "{own} is not one's own: {answer:?}");
    }

    let made = portal.post(
        "/api/v1/auth/signup",
        &json!({ "email": "New@Example.test", "password": "a-fine-Password-1", "name": "New" }),
    );
    let made = made.expect(201).json();
    assert_eq!(members(&made), BTreeSet::from(["user"]));
    assert_eq!(made["user"]["status"], "pending", "approval is the default");
    assert_eq!(made["user"]["email_verified"], false);
    assert_eq!(made["user"]["role"], "user");

    let key = ann.api("POST", "/api-keys", Some(&json!({ "name": "k" }))).expect(201).json();
    for member in ["id", "name", "key"] {
        assert!(key[member].is_string(), "{member}: {key}");
    }
    let refused = portal.get("/api/v1/auth/me").expect(401);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
    let problem = refused.json();
    for member in ["code", "request_id", "login_url", "title", "status"] {
        assert!(!problem[member].is_null(), "{member}: {problem}");
    }
    let document = portal.get("/api/v1/openapi.json").expect(200).json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let jwks = portal.get("/.well-known/jwks.json").expect(200).json();
    assert!(!jwks["keys"].as_array().unwrap().is_empty());
    assert!(!jwks.to_string().contains("\"d\""), "no private half");
}

#[test]
fn sessions_are_listed_and_ended_one_by_one_or_all_but_this_one() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).user("eve", &[]).start();
    let mut people: Vec<Actor> = (0..3).map(|_| gateway.as_user("ann")).collect();
    let (first, rest) = people.split_at_mut(1);
    let first = &mut first[0];
    let list = first.api("GET", "/sessions", None).expect(200).json();
    let list = list.as_array().unwrap().clone();
    assert_eq!(list.len(), 3);
    let mine = first.api("GET", "/sessions", None).expect(200).json();
    let mine =
        mine.as_array().unwrap().iter().find(|one| one["current"] == true).unwrap()["id"].clone();
    let other = list.iter().find(|one| one["id"] != mine).unwrap()["id"].as_str().unwrap();
    let mut eve = gateway.as_user("eve");
    let _ = eve.api("DELETE", &format!("/sessions/{other}"), None).expect(404);
    let _ = first.api("DELETE", &format!("/sessions/{other}"), None).expect(204);
    let _ = first.api("DELETE", &format!("/sessions/{other}"), None).expect(404);
    let answers = rest.iter_mut().map(|one| one.api("GET", "/me", None).status);
    let left = answers.filter(|status| *status == 200).count();
    assert_eq!(left, 1);
    let done = first.api("DELETE", "/sessions", None);
    assert!((200..300).contains(&done.status), "{done:?}");
    assert!(rest.iter_mut().all(|one| one.api("GET", "/me", None).status == 401));
    let _ = first.api("GET", "/me", None).expect(200);
    let _ = eve.api("GET", "/me", None).expect(200);
}

#[test]
fn a_key_makes_only_narrower_keys_and_touches_no_sign_in() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).admin("root").start();
    let portal = Portal::of(&gateway);
    let mut ann = gateway.as_user("ann");
    let own = json!({
        "name": "own", "scopes": ["keys", "route:wiki:GET"], "expires_in": 3600,
        "rate_limit": { "requests": 50, "window": 60 }
    });
    let (_, key) = ann.create_key(&own);
    let make = |body: Value| portal.with_bearer(&key, "POST", "/api/v1/auth/api-keys", Some(&body));
    let made = make(json!({ "name": "same" })).expect(201).json();
    let scopes: BTreeSet<&str> =
        made["scopes"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    assert_eq!(scopes, BTreeSet::from(["keys", "route:wiki:GET"]), "none given: its own");
    assert_eq!(made["rate_limit"]["requests"], 50);
    assert!(made["expires_at"].is_string());
    let _ =
        make(json!({ "name": "less", "scopes": ["route:wiki:GET"], "expires_in": 60 })).expect(201);
    for wider in [
        json!({ "name": "w", "scopes": ["route:wiki"] }),
        json!({ "name": "w", "scopes": ["route:*"] }),
        json!({ "name": "w", "scopes": ["admin"] }),
        json!({ "name": "w", "scopes": ["route:wiki:GET,POST"] }),
        json!({ "name": "w", "expires_in": 7200 }),
        json!({ "name": "w", "rate_limit": { "requests": 51, "window": "60s" } }),
    ] {
        let refused = make(wider.clone());
        assert_eq!((refused.status, code(&refused).as_str()), (403, "FORBIDDEN"), "{wider}");
    }
    let _ = gateway.with_key(&key).get("/").expect(200);
    let url = "https://wiki.example.test/";
    let refused = gateway.with_key(&key).send(Request::new("POST", url).body("a")).expect(403);
    assert_eq!(code(&refused), "FORBIDDEN");

    let (_, full) = ann.create_key(&json!({ "name": "full" }));
    let change = json!({ "current_password": PASSWORD, "new_password": "another-Passphrase-8" });
    let refused = portal.with_bearer(&full, "POST", "/api/v1/auth/password/change", Some(&change));
    assert_eq!(refused.status, 403, "a key never changes a password");
    let _ = portal.login("ann@example.test", PASSWORD).expect(200);
    let (_, unscoped) = ann.create_key(&json!({ "name": "route only", "scopes": ["route:wiki"] }));
    let refused = portal.with_bearer(&unscoped, "GET", "/api/v1/auth/api-keys", None);
    assert_eq!(refused.status, 403, "without the scope `keys`");
    let refused = portal.with_bearer(&full, "GET", "/api/v1/admin/users", None);
    assert_eq!(refused.status, 403, "of somebody who is no administrator");
    let mut root = gateway.as_user("root");
    let (_, roots) = root.create_key(&json!({ "name": "no admin", "scopes": ["route:*"] }));
    let refused = portal.with_bearer(&roots, "GET", "/api/v1/admin/users", None);
    assert_eq!(refused.status, 403, "without the scope `admin`");
    let (_, roots) = root.create_key(&json!({ "name": "admin", "scopes": ["admin"] }));
    let _ = portal.with_bearer(&roots, "GET", "/api/v1/admin/users", None).expect(200);
    for bad in [
        json!({}),
        json!({ "name": "" }),
        json!({ "name": "x", "scopes": ["nonsense"] }),
        json!({ "name": "x", "expires_in": 0 }),
        json!({ "name": "x", "expires_in": -5 }),
        json!({ "name": "x", "rate_limit": { "requests": 0, "window": 60 } }),
    ] {
        let answer = ann.api("POST", "/api-keys", Some(&bad));
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
}

#[test]
fn an_administrator_manages_accounts_and_the_last_one_stays() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).admin("root").start();
    let mut root = gateway.as_user("root");
    let portal = gateway.portal().to_owned();
    let new = json!({ "email": "new@example.test", "password": "a-fine-Password-1", "name": "New", "groups": ["staff"] });
    let made = admin_api(&mut root, &portal, "POST", "/users", Some(&new)).expect(201).json();
    let made = if made["user"].is_object() { made["user"].clone() } else { made };
    let path = format!("/users/{}", made["id"].as_str().unwrap());
    let shown = admin_api(&mut root, &portal, "GET", &path, None).expect(200).json();
    assert_eq!(shown["groups"], json!(["staff"]), "{shown}");
    let mut person = gateway.anonymous();
    let _ = person.sign_in("new@example.test", "a-fine-Password-1").expect(200);
    let _ = person.get("/").expect(200);

    let own = format!("/users/{}", account_id(&gateway, "root@example.test"));
    let refused =
        admin_api(&mut root, &portal, "PATCH", &own, Some(&json!({ "role": "user" }))).expect(409);
    assert_eq!(code(&refused), "LAST_ADMIN");
    let refused = admin_api(&mut root, &portal, "DELETE", &own, None).expect(409);
    assert_eq!(code(&refused), "LAST_ADMIN");
    let refused =
        admin_api(&mut root, &portal, "PATCH", &own, Some(&json!({ "status": "disabled" })))
            .expect(409);
    assert_eq!(code(&refused), "ADMIN_ALWAYS_ACTIVE");
    let _ = admin_api(&mut root, &portal, "PATCH", &path, Some(&json!({ "role": "admin" })))
        .expect(200);
    let refused =
        admin_api(&mut root, &portal, "PATCH", &path, Some(&json!({ "status": "pending" })))
            .expect(409);
    assert_eq!(code(&refused), "ADMIN_ALWAYS_ACTIVE");
    for bad in ["a,b", "a|b", "a;b", "", "tab\tbed"] {
        let answer =
            admin_api(&mut root, &portal, "PATCH", &path, Some(&json!({ "groups": [bad] })));
        assert_eq!(answer.status, 400, "group {bad:?}: {answer:?}");
    }
    let _ = admin_api(&mut person, &portal, "GET", "/users", None).expect(200);
    let _ =
        admin_api(&mut root, &portal, "PATCH", &path, Some(&json!({ "role": "user" }))).expect(200);
    for path in ["/users", "/sessions", "/api-keys", "/audit", "/routes"] {
        let refused = admin_api(&mut person, &portal, "GET", path, None).expect(403);
        assert_eq!(code(&refused), "FORBIDDEN", "{path} for a user");
        let _ = admin_api(&mut gateway.anonymous(), &portal, "GET", path, None).expect(401);
        let _ = admin_api(&mut root, &portal, "GET", path, None).expect(200);
    }
    let audit = admin_api(&mut root, &portal, "GET", "/audit", None).expect(200).text();
    for event in ["user.role", "signin.success"] {
        assert!(audit.contains(event), "{event}");
    }
    let _ = admin_api(&mut root, &portal, "DELETE", &path, None).expect(204);
    let _ = person.get("/").expect(401);
}

#[test]
fn a_state_change_by_cookie_must_come_from_the_portal_itself() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let portal = gateway.portal().to_owned();
    let (_, key) = ann.create_key(&json!({ "name": "program" }));
    let url = format!("{portal}/api/v1/auth/api-keys");
    let cases: [(&[(&str, &str)], bool); 9] = [
        (&[("Sec-Fetch-Site", "same-origin")], true),
        (&[("Sec-Fetch-Site", "same-site")], false),
        (&[("Sec-Fetch-Site", "cross-site")], false),
        (&[("Sec-Fetch-Site", "none")], false),
        (&[("Origin", "https://auth.example.test")], true),
        (&[("Origin", "null")], false),
        (&[("Origin", "https://evil.example")], false),
        (&[("Origin", "https://wiki.example.test")], false),
        (&[], true),
    ];
    for (fields, good) in cases {
        let mut request = Request::new("POST", &url).json(&json!({ "name": "x" }));
        for (name, value) in fields {
            request = request.header(name, value);
        }
        let answer = ann.send(request.clone());
        if good {
            assert_eq!(answer.status, 201, "{fields:?}: {answer:?}");
        } else if *fields != [("Sec-Fetch-Site", "none")] {
            assert_eq!((answer.status, code(&answer).as_str()), (403, "CSRF_FAILED"), "{fields:?}");
        } else {
            assert_eq!(answer.status, 403, "{fields:?}: {answer:?}");
        }
        assert_eq!(answer.header("access-control-allow-origin"), None, "no CORS on the API");
        // A credential that no browser sends by itself is not asked where it comes from.
        let answer = gateway.with_bearer(&key).send(request);
        assert_eq!(answer.status, 201, "{fields:?} with a key: {answer:?}");
    }
    let text =
        Request::new("POST", &url).header("Content-Type", "text/plain").body("{\"name\":\"x\"}");
    let answer = ann.send(text);
    assert!(answer.status >= 400, "JSON says that it is JSON: {answer:?}");
    let form = Request::new("POST", &format!("{portal}/settings/password"))
        .form(&[("current_password", PASSWORD), ("new_password", "another-Passphrase-8")]);
    let refused = ann.send(form).expect(403);
    assert_eq!(code(&refused), "CSRF_FAILED", "a form without either header brings its token");
}

#[test]
fn cors_origins_and_cross_site_rules_of_a_route_are_held() {
    let app = Recorder::start();
    let route = wiki(&app)
        .set("cors_preflight", "pass")
        .set("cors_origins", "[\"https://spa.example.test\"]")
        .set("cross_site", "block-unsafe");
    let plain = Route::new("plain", "plain.example.test").upstream(app.url()).access("signed-in");
    let gateway = gateway().route(route).route(plain).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    ann.enter("https://wiki.example.test/");
    let preflight = |host: &str| {
        Request::new("OPTIONS", &format!("https://{host}/api"))
            .header("Origin", "https://spa.example.test")
            .header("Access-Control-Request-Method", "PUT")
    };
    let _ = ann.send(preflight("wiki.example.test")).expect(200);
    assert_eq!(app.last().header("remote-user"), None, "without identity");
    let _ = gateway.anonymous().send(preflight("plain.example.test")).expect(401);
    let before = app.count();
    let with_body = preflight("wiki.example.test").body("x");
    let _ = gateway.anonymous().send(with_body).expect(401);
    let no_method = Request::new("OPTIONS", "https://wiki.example.test/api")
        .header("Origin", "https://spa.example.test");
    let _ = gateway.anonymous().send(no_method).expect(401);
    assert_eq!(app.count(), before);

    for (origin, due) in [("https://spa.example.test", true), ("https://evil.example", false)] {
        let request = Request::get("https://wiki.example.test/").header("Origin", origin);
        let refused = gateway.anonymous().send(request).expect(401);
        let allowed = refused.header("access-control-allow-origin") == Some(origin);
        assert_eq!(allowed, due, "{origin}: {refused:?}");
    }
    for (site, due) in
        [("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)]
    {
        let post = Request::new("POST", "https://wiki.example.test/")
            .header("Sec-Fetch-Site", site)
            .body("a");
        assert_eq!(ann.send(post).status, due, "{site}");
        let get = Request::get("https://wiki.example.test/").header("Sec-Fetch-Site", site);
        assert_eq!(ann.send(get).status, 200, "{site}");
    }
}

#[test]
fn seed_000_09_the_environment_alone_is_a_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let port = vestibule_testkit::free_port().port();
    let origin = format!("http://localhost:{port}");
    let gateway = by_variables(&[
        ("AUTH_SECRET", crate::rows::HEX_SECRET),
        ("ORIGIN", &origin),
        ("VESTIBULE_SERVER__ENVIRONMENT", "development"),
        ("VESTIBULE_SERVER__DATA_DIR", data.to_str().unwrap()),
        ("VESTIBULE_TELEMETRY__LISTEN", ""),
        ("VESTIBULE_TELEMETRY__ACCESS_LOG__FORMAT", "off"),
        ("VESTIBULE_AUTH__PASSWORD__SIGNUP", "true"),
        ("VESTIBULE_AUTH__APPROVAL", "no"),
    ])
    .without_file()
    .start();
    assert_eq!(gateway.plain().port(), port, "the port of a loopback portal");
    let portal = Portal::at(&gateway, &origin);
    assert_eq!(portal.config()["password_auth_enabled"], true, "000-09");
    assert_eq!(portal.config()["signup_enabled"], true);
    let made = portal.sign_up("new@example.test", "a-fine-Password-1").expect(201).json();
    assert_eq!(made["user"]["status"], "active");
    let mut person = portal.person("localhost");
    let _ = person.sign_in("new@example.test", "a-fine-Password-1").expect(200);
    let cookie = person.session_cookie("localhost").expect("a cookie");
    assert_eq!(cookie.name, "vestibule", "over plain http on loopback");
    assert!(!cookie.set.contains("Secure") && cookie.set.contains("HttpOnly"), "{}", cookie.set);
}
