//! SECURITY.md 1.E and 1.F, CONTRACT section 4: cookies, hand-off, where a sign-in leads back to,
//! and when a credential stops to count.

use std::time::{Duration, Instant};

use serde_json::json;
use vestibule_testkit::{
    Actor, Door, Gateway, PASSWORD, PORTAL, Recorder, Request, Response, Route, ws,
};

use crate::gateway;

const WIKI: &str = "wiki.example.test";
const BLOG: &str = "blog.example.test";
const SESSION: &str = "__Host-vestibule";

fn two_apps(app: &Recorder) -> Gateway {
    gateway()
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("signed-in").rule(
            &["/public/*"],
            &[],
            "public",
        ))
        .route(Route::new("blog", BLOG).upstream(app.url()).access("signed-in"))
        .user("ann", &["staff"])
        .user("bob", &[])
        .admin("root")
        .start()
}

fn encode(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn cookies(answer: &Response) -> Vec<&str> {
    answer.all("set-cookie").collect()
}

fn named<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.all("set-cookie").find(|field| field.split('=').next() == Some(name))
}

// ---- cookies ----

#[test]
fn a_session_cookie_is_host_only_secure_and_out_of_reach_of_scripts() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let body = json!({ "email": "ann@example.test", "password": PASSWORD, "cookie": true });
    let answer = gateway.anonymous().api("POST", "/login", Some(&body)).expect(200);
    let field = named(&answer, SESSION).expect("a session cookie");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/"] {
        assert!(field.contains(attribute), "{field}");
    }
    assert!(
        !field.contains("Domain") && !field.contains("Max-Age") && !field.contains("Expires"),
        "{field}"
    );
    let value = field.split(['=', ';']).nth(1).unwrap();
    assert_eq!(value.len(), 86, "256 bits and a tag in base64url: {value}");
    assert!(answer.json().get("access_token").is_none(), "cookie sign-in answers no tokens");
    let body = json!({ "email": "ann@example.test", "password": PASSWORD, "cookie": true, "remember": true });
    let answer = gateway.anonymous().api("POST", "/login", Some(&body)).expect(200);
    assert!(named(&answer, SESSION).unwrap().contains("; Max-Age=2592000"), "{answer:?}");
    // The cookie of the app's host is another, of the same form.
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let (portal, child) =
        (ann.session_cookie("auth.example.test").unwrap(), ann.session_cookie(WIKI).unwrap());
    assert_ne!(portal.value, child.value);
    assert!(child.set.contains("; Secure") && child.set.contains("; HttpOnly"), "{}", child.set);
}

#[test]
fn f2_the_deletion_has_the_name_path_and_flags_of_the_cookie() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let (portal, child) =
        (ann.session_cookie("auth.example.test").unwrap(), ann.session_cookie(WIKI).unwrap());
    let answer =
        ann.send(Request::get(&format!("https://{WIKI}/.vestibule/sign-out")).navigation());
    assert!(matches!(answer.status, 302 | 303), "{}", answer.status);
    let field = named(&answer, SESSION).expect("the app's cookie is deleted");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "Max-Age=0"] {
        assert!(field.contains(attribute), "{field}");
    }
    // Both values, replayed by a program, are nobody's.
    for (host, cookie) in [("auth.example.test", &portal), (WIKI, &child)] {
        let mut replay = gateway.anonymous();
        replay.set_cookie(host, &cookie.name, &cookie.value);
        let url = if host == WIKI {
            format!("https://{WIKI}/x")
        } else {
            format!("{PORTAL}/api/v1/auth/me")
        };
        let _ = replay.send(Request::get(&url)).expect(401);
    }
    let mut ann = gateway.as_user("ann");
    let answer = ann.send(Request::get(&format!("{PORTAL}/logout")).navigation());
    let field = named(&answer, SESSION).expect("the portal's cookie is deleted");
    assert!(field.contains("; Secure") && field.contains("Max-Age=0"), "{field}");
    assert_eq!(ann.session_cookie("auth.example.test"), None);
    assert_eq!(app.count(), 0);
}

#[test]
fn the_scheme_of_the_portal_names_the_cookie_and_a_domain_widens_it() {
    let app = Recorder::start();
    let plain = gateway()
        .portal("http://auth.localhost")
        .route(Route::new("app", "app.localhost").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let mut ann = plain.as_user("ann");
    let cookie = ann.session_cookie("auth.localhost").unwrap();
    assert_eq!(cookie.name, "vestibule");
    assert!(!cookie.set.contains("Secure") && cookie.set.contains("HttpOnly"), "{}", cookie.set);
    ann.enter("http://app.localhost/");
    let _ = ann.send(Request::get("http://app.localhost/x")).expect(200);
    drop(plain);
    let wide = gateway()
        .toml("[auth.session]\ncookie_domain = \"example.test\"")
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let mut ann = wide.as_user("ann");
    let cookie = ann.session_cookie("auth.example.test").unwrap();
    assert_eq!(cookie.name, "__Secure-vestibule");
    assert!(
        cookie.set.contains("; Domain=example.test") && cookie.set.contains("; Secure"),
        "{}",
        cookie.set
    );
    let _ = ann.send(Request::get(&format!("https://{WIKI}/x"))).expect(200);
    drop(wide);
    // E3: no public suffix, no stranger, and a border at the dot.
    for domain in
        ["test", "co.uk", "ample.test", "other.test", "wiki.example.test", "auth.example.test.evil"]
    {
        let refused = gateway()
            .toml(&format!("[auth.session]\ncookie_domain = \"{domain}\""))
            .start_refused();
        assert_eq!(refused.code, 1, "{domain}");
        assert!(refused.stderr.contains("cookie_domain"), "{}", refused.stderr);
    }
}

#[test]
fn f6_f7_odd_cookies_are_refused_quickly_and_twins_do_not_count() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let good = ann.session_cookie(WIKI).unwrap().value;
    let mut bob = gateway.as_user("bob");
    bob.enter(&format!("https://{WIKI}/"));
    let other = bob.session_cookie(WIKI).unwrap().value;
    let ask = |cookie: &str| {
        gateway.client().send(&Request::get(&format!("https://{WIKI}/x")).header("Cookie", cookie))
    };
    for (cookie, who) in [
        (format!("vestibule={other}; {SESSION}={good}"), Some("ann")),
        (format!("{SESSION}={good}; __Secure-vestibule={other}"), Some("ann")),
        (format!("{SESSION}={good}; {SESSION}={good}"), Some("ann")),
        (format!("x=\"{SESSION}={other}\"; {SESSION}={good}"), Some("ann")),
        (format!("vestibule={good}"), None),
        (format!("__Secure-vestibule={good}"), None),
        (format!("__host-vestibule={good}"), None),
        (format!("{SESSION}={good}; {SESSION}={other}"), None),
        (format!("{SESSION}={good}; {SESSION}="), None),
        (format!("{SESSION}=\"{good}\""), None),
        (format!("x=1, {SESSION}={good}"), None),
        (format!("{SESSION} {good}"), None),
    ] {
        let answer = ask(&cookie);
        assert_eq!(answer.status, if who.is_some() { 200 } else { 401 }, "{cookie}");
        if let Some(who) = who {
            assert_eq!(app.last().header("remote-user"), Some(who), "{cookie}");
        }
    }
    // One MiB, thousands of pairs, chunks without end: an answer at once, and nobody is asked.
    let count = app.count();
    let pairs = (0..4_000).map(|n| format!("c{n}=1")).collect::<Vec<_>>().join("; ");
    for cookie in [
        format!("{SESSION}={}", "a".repeat(1 << 20)),
        pairs,
        format!("{SESSION}_chunks=1000000000; {SESSION}_0=x"),
    ] {
        let began = Instant::now();
        let bytes = Request::get(&format!("https://{WIKI}/x")).header("Cookie", &cookie).bytes();
        let answer = gateway
            .client()
            .raw(WIKI, &[&bytes[..bytes.len() - 2], b"Connection: close\r\n\r\n"].concat());
        let status = String::from_utf8_lossy(&answer[..answer.len().min(12)]).into_owned();
        // A reset may overtake the answer of a request that is still being sent.
        assert!(
            answer.is_empty() || ["400", "401", "431"].iter().any(|s| status.ends_with(s)),
            "{status}"
        );
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(app.count(), count);
    let _ = ask(&format!("{SESSION}={good}")).status;
}

// ---- one token for one host ----

#[test]
fn j3_f5_a_token_of_one_kind_or_host_is_nothing_elsewhere() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    ann.enter(&format!("https://{BLOG}/"));
    let portal = ann.session_cookie("auth.example.test").unwrap().value;
    let wiki = ann.session_cookie(WIKI).unwrap().value;
    let blog = ann.session_cookie(BLOG).unwrap().value;
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    let (access, refresh) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
    for (host, value) in [
        (WIKI, &portal),
        (WIKI, &blog),
        (BLOG, &wiki),
        (BLOG, &portal),
        (WIKI, &key),
        (WIKI, &access),
        (WIKI, &refresh),
    ] {
        let mut thief = gateway.anonymous();
        thief.set_cookie(host, SESSION, value);
        for door in Door::ALL {
            let _ = thief.ask(door, "GET", &format!("https://{host}/x")).expect(401);
        }
    }
    for value in [&wiki, &blog, &key, &access, &refresh] {
        let mut thief = gateway.anonymous();
        thief.set_cookie("auth.example.test", SESSION, value);
        let _ = thief.api("GET", "/me", None).expect(401);
    }
    for value in [&portal, &wiki, &refresh] {
        for mut thief in [gateway.with_bearer(value), gateway.with_key(value)] {
            let _ = thief.get(&format!("https://{WIKI}/x")).expect(401);
            let _ = thief.api("GET", "/me", None).expect(401);
        }
    }
    for value in [&portal, &wiki, &key, &access] {
        let body = json!({ "refresh_token": value });
        let _ = gateway.anonymous().api("POST", "/refresh", Some(&body)).expect(401);
    }
    // Another store does not know them either.
    let elsewhere = two_apps(&app);
    let mut thief = elsewhere.anonymous();
    thief.set_cookie(WIKI, SESSION, &wiki);
    thief.set_cookie("auth.example.test", SESSION, &portal);
    let _ = thief.send(Request::get(&format!("https://{WIKI}/x"))).expect(401);
    let _ = thief.api("GET", "/me", None).expect(401);
    assert_eq!(app.count(), 0);
}

#[test]
fn f1_the_token_is_another_after_a_password_or_role_change_and_the_old_one_dead() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    // What a browser brings along before it signs in is not taken up.
    let mut ann = gateway.anonymous();
    let planted = gateway.as_user("bob").session_cookie("auth.example.test").unwrap().value;
    ann.set_cookie("auth.example.test", SESSION, &planted);
    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    let first = ann.session_cookie("auth.example.test").unwrap().value;
    assert_ne!(first, planted);
    assert_eq!(ann.api("GET", "/me", None).expect(200).json()["username"], "ann");
    let other = gateway.as_user("ann");
    let change = json!({ "current_password": PASSWORD, "new_password": "another-Horse-8-staple" });
    let _ = ann.api("POST", "/password/change", Some(&change)).expect(204);
    let second = ann.session_cookie("auth.example.test").unwrap().value;
    assert_ne!(first, second);
    let _ = ann.api("GET", "/me", None).expect(200);
    for mut dead in [with_portal_cookie(&gateway, &first), other] {
        let _ = dead.api("GET", "/me", None).expect(401);
    }
    let id = ann.api("GET", "/me", None).json()["id"].as_str().unwrap().to_owned();
    let mut root = gateway.as_user("root");
    let patch = Request::new("PATCH", &format!("{PORTAL}/api/v1/admin/users/{id}"))
        .header("Origin", PORTAL)
        .json(&json!({ "role": "admin" }));
    let _ = root.send(patch).expect(200);
    // The new token comes with the next page, and the old one ends with that.
    let _ = ann.send(Request::get(&format!("{PORTAL}/settings")).navigation()).expect(200);
    let third = ann.session_cookie("auth.example.test").unwrap().value;
    assert_ne!(second, third, "the same token after a role change");
    assert_eq!(ann.api("GET", "/me", None).expect(200).json()["role"], "admin");
    let _ = with_portal_cookie(&gateway, &second).api("GET", "/me", None).expect(401);
}

fn with_portal_cookie(gateway: &Gateway, value: &str) -> Actor {
    let mut actor = gateway.anonymous();
    actor.set_cookie("auth.example.test", SESSION, value);
    actor
}

// ---- revocation ----

/// Ends something of ann, whose id is given.
type Ending = fn(&Gateway, &mut Actor, &str);

/// Asks as this person at every place that takes the credential; the statuses.
fn everywhere(actor: &mut Actor) -> Vec<u16> {
    let mut statuses: Vec<u16> = Door::ALL
        .iter()
        .map(|door| actor.ask(*door, "GET", &format!("https://{WIKI}/x")).status)
        .collect();
    statuses.push(actor.api("GET", "/me", None).status);
    statuses
}

#[test]
fn f3_every_way_to_end_something_is_in_force_at_the_next_request_everywhere() {
    let app = Recorder::start();
    let endings: &[(&str, Ending)] = &[
        ("sign-out", |_, ann, _| drop(ann.clone().sign_out())),
        ("user disable", |gateway, _, _| {
            drop(gateway.cli(&["user", "disable", "ann@example.test"]).expect(0))
        }),
        ("user reject", |gateway, _, _| {
            drop(gateway.cli(&["user", "reject", "ann@example.test"]).expect(0))
        }),
        ("user delete", |gateway, _, _| {
            drop(gateway.cli(&["user", "delete", "ann@example.test"]).expect(0))
        }),
        ("user sign-out", |gateway, _, _| {
            drop(gateway.cli(&["user", "sign-out", "ann@example.test"]).expect(0))
        }),
        ("admin sign-out", |gateway, _, id| {
            let request =
                Request::new("POST", &format!("{PORTAL}/api/v1/admin/users/{id}/sign-out"))
                    .header("Origin", PORTAL)
                    .json(&json!({}));
            let answer = gateway.as_user("root").send(request);
            assert!(matches!(answer.status, 200 | 204), "{}", answer.text());
        }),
        ("admin disable", |gateway, _, id| {
            let request = Request::new("PATCH", &format!("{PORTAL}/api/v1/admin/users/{id}"))
                .header("Origin", PORTAL)
                .json(&json!({ "status": "disabled" }));
            let _ = gateway.as_user("root").send(request).expect(200);
        }),
    ];
    for (how, end) in endings {
        let gateway = two_apps(&app);
        let mut ann = gateway.as_user("ann");
        ann.enter(&format!("https://{WIKI}/"));
        let id = ann.api("GET", "/me", None).json()["id"].as_str().unwrap().to_owned();
        let (_, key) = ann.create_key(&json!({ "name": "k" }));
        let (access, refresh) = gateway.anonymous().tokens("ann@example.test", PASSWORD);
        let mut program = gateway.with_key(&key);
        let mut bearer = gateway.with_bearer(&access);
        for actor in [&mut ann, &mut program, &mut bearer] {
            assert_eq!(everywhere(actor), [200; 4], "before {how}");
        }
        let socket = ann.dressed(
            Request::get(&format!("https://{WIKI}/ws")).header("Origin", format!("https://{WIKI}")),
        );
        let mut socket = ws::open(&gateway.client(), &socket).expect("an open socket");
        socket.send_text("hello");
        assert_eq!(socket.text(), "hello");
        end(&gateway, &mut ann, &id);
        let count = app.count();
        // Who was rejected may still read that at the portal, and nothing else.
        let kept = if *how == "user reject" { 3 } else { 4 };
        let shut = |statuses: Vec<u16>| statuses[..kept].iter().all(|s| matches!(s, 401 | 403));
        let seen = everywhere(&mut ann);
        assert!(shut(seen.clone()), "the session after {how}: {seen:?}");
        assert!(socket.conn.closes_within(Duration::from_secs(5)), "the socket after {how}");
        // Signing out ends sessions; shutting a person out ends what they made, too.
        let ends_all = how.contains("disable") || how.contains("reject") || how.contains("delete");
        if ends_all {
            for actor in [&mut program, &mut bearer] {
                let seen = everywhere(actor);
                assert!(shut(seen.clone()), "a key or token after {how}: {seen:?}");
            }
            let body = json!({ "refresh_token": refresh });
            let answer = gateway.anonymous().api("POST", "/refresh", Some(&body));
            if *how == "user reject" {
                // As with signing in: what comes back opens nothing.
                if answer.status == 200 {
                    let renewed = answer.json()["access_token"].as_str().unwrap().to_owned();
                    let seen = everywhere(&mut gateway.with_bearer(&renewed));
                    assert!(shut(seen.clone()), "a renewed token after {how}: {seen:?}");
                }
            } else {
                assert_eq!(answer.status, 401, "refresh after {how}");
                let _ = gateway.anonymous().sign_in("ann@example.test", PASSWORD).expect(401);
            }
            assert_eq!(app.count(), count, "{how}");
        }
    }
}

#[test]
fn f3_a_key_that_is_revoked_or_switched_off_is_refused_at_once() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    for how in ["DELETE", "PATCH", "cli"] {
        let (id, key) = ann.create_key(&json!({ "name": how }));
        let mut program = gateway.with_key(&key);
        assert_eq!(everywhere(&mut program), [200; 4]);
        match how {
            "DELETE" => drop(ann.api("DELETE", &format!("/api-keys/{id}"), None).expect(204)),
            "PATCH" => {
                let off = json!({ "enabled": false });
                drop(ann.api("PATCH", &format!("/api-keys/{id}"), Some(&off)).expect(200));
            }
            _ => drop(gateway.cli(&["key", "revoke", &id]).expect(0)),
        }
        assert_eq!(everywhere(&mut program), [401; 4], "{how}");
        if how == "DELETE" {
            let _ = ann.api("DELETE", &format!("/api-keys/{id}"), None).expect(404);
        }
    }
    // One of somebody else's is not there.
    let (id, _) = gateway.as_user("bob").create_key(&json!({ "name": "bob's" }));
    let _ = ann.api("DELETE", &format!("/api-keys/{id}"), None).expect(404);
    let _ = ann
        .api("PATCH", &format!("/api-keys/{id}"), Some(&json!({ "enabled": false })))
        .expect(404);
}

#[test]
fn f4_a_group_taken_away_shuts_the_door_at_the_next_request() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", WIKI).upstream(app.url()).access("{ groups = [\"staff\"] }"))
        .user("ann", &["staff"])
        .start();
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    let mut program = gateway.with_key(&key);
    for actor in [&mut ann, &mut program] {
        for door in Door::ALL {
            let _ = actor.ask(door, "GET", "/x").expect(200);
        }
    }
    let _ = gateway.cli(&["user", "groups", "ann@example.test", "guests"]).expect(0);
    for actor in [&mut ann, &mut program] {
        for door in Door::ALL {
            let _ = actor.ask(door, "GET", "/x").expect(403);
        }
    }
}

#[test]
fn ending_the_portals_session_ends_the_children_and_a_child_may_end_it() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    ann.enter(&format!("https://{WIKI}/"));
    ann.enter(&format!("https://{BLOG}/"));
    let other = gateway.as_user("ann");
    let answer =
        ann.send(Request::get(&format!("https://{WIKI}/.vestibule/sign-out")).navigation());
    assert!(answer.location().starts_with(&format!("{PORTAL}/logout")), "{}", answer.location());
    let _ = ann.send(Request::get(&format!("https://{BLOG}/x"))).expect(401);
    let _ = ann.api("GET", "/me", None).expect(401);
    let mut other = other;
    let _ = other.api("GET", "/me", None).expect(200);
}

// ---- hand-off ----

#[test]
fn g14_a_hand_off_code_is_for_one_browser_one_host_and_one_use() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut ann = gateway.as_user("ann");
    let start = format!(
        "https://{WIKI}/.vestibule/start?rd={}",
        encode(&format!("https://{WIKI}/deep?x=1"))
    );
    let answer = ann.send(Request::get(&start).navigation()).expect(302);
    let flow = answer
        .all("set-cookie")
        .find(|c| c.starts_with("__Host-vestibule-flow-"))
        .expect("a flow cookie");
    for attribute in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=600"] {
        assert!(flow.contains(attribute), "{flow}");
    }
    let handoff = answer.location().to_owned();
    assert!(handoff.starts_with(&format!("{PORTAL}/handoff?host={WIKI}&state=")), "{handoff}");
    let callback = ann.send(Request::get(&handoff).navigation()).expect(302).location().to_owned();
    assert!(
        callback.starts_with(&format!("https://{WIKI}/.vestibule/callback?code=")),
        "{callback}"
    );
    // E4: what leaves the portal's origin is the code alone, and no Referer carries it on.
    assert!(!ann.jar().iter().any(|cookie| callback.contains(&cookie.value)), "{callback}");

    // Another browser, another host, a changed code or state: no session.
    let mut thief = gateway.anonymous();
    let mut elsewhere = ann.clone();
    let code_at = callback.find("code=").unwrap() + 5;
    let mut changed = callback.clone();
    changed.replace_range(
        code_at..=code_at,
        if callback[code_at..].starts_with('A') { "B" } else { "A" },
    );
    let state_at = callback.find("state=").unwrap() + 6;
    let mut other_state = callback.clone();
    other_state.replace_range(
        state_at..=state_at,
        if callback[state_at..].starts_with('A') { "B" } else { "A" },
    );
    for (who, url) in [
        (&mut thief, callback.clone()),
        (&mut elsewhere, callback.replace(WIKI, BLOG)),
        (&mut ann.clone(), changed),
        (&mut ann.clone(), other_state),
        (&mut ann.clone(), callback.replace("&state=", "&estat=")),
        (&mut ann.clone(), callback.replace("code=", "edoc=")),
    ] {
        let answer = who.send(Request::get(&url).navigation());
        assert_eq!(named(&answer, SESSION), None, "{url}");
        assert!(matches!(answer.status, 302 | 400), "{url}: {}", answer.status);
        if answer.status == 302 {
            let to = answer.location();
            assert!(
                to.starts_with(&format!("https://{WIKI}/.vestibule/start?"))
                    || to.starts_with(&format!("https://{BLOG}/.vestibule/start?")),
                "{to}"
            );
        }
    }
    // A hundred redemptions at once: one session.
    let request = ann.dressed(Request::get(&callback).navigation());
    let sessions: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..100)
            .map(|_| {
                scope.spawn(|| {
                    usize::from(named(&gateway.client().send(&request), SESSION).is_some())
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(sessions, 1);
    // Used up: begun anew once, then a page, never a loop.
    let landing = gateway_loop(&ann, &callback);
    assert!(landing.len() < 8, "{landing:?}");
    assert_eq!(app.count(), 0);
}

/// Follows redirects of a browser that keeps no cookies of the app's host.
fn gateway_loop(ann: &Actor, url: &str) -> Vec<String> {
    let mut visited = vec![url.to_owned()];
    let mut url = url.to_owned();
    loop {
        let mut forgetful = ann.clone();
        forgetful.set_cookie(WIKI, "__Host-vestibule-flow-0", "");
        let answer = forgetful.send(Request::get(&url).navigation());
        match answer.header("location") {
            Some(location) if (300..400).contains(&answer.status) => url = location.to_owned(),
            _ => return visited,
        }
        visited.push(url.clone());
        assert!(visited.len() < 12, "a loop: {visited:#?}");
    }
}

#[test]
fn a_browser_has_at_most_five_flows_on_a_host() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let mut nobody = gateway.anonymous();
    for _ in 0..9 {
        let _ = nobody
            .send(Request::get(&format!("https://{WIKI}/.vestibule/start?rd=%2F")).navigation())
            .expect(302);
    }
    let flows = nobody.jar().iter().filter(|cookie| cookie.name.contains("-flow-")).count();
    assert_eq!(flows, 5);
}

#[test]
fn whoami_tells_what_the_app_may_know_and_nobody_else() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let url = format!("https://{WIKI}/.vestibule/whoami");
    let _ = gateway.anonymous().send(Request::get(&url)).expect(401);
    let mut ann = gateway.as_user("ann");
    ann.enter(&url);
    let answer = ann.send(Request::get(&url)).expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let body = answer.json();
    assert_eq!(body["user"], "ann");
    assert_eq!(body["email"], "ann@example.test");
    assert_eq!(body["groups"], json!(["staff"]));
    assert_eq!(body["role"], "user");
    assert!(body["expires_at"].is_string() && body["auth_time"].is_string(), "{body}");
    let (_, key) = ann.create_key(&json!({ "name": "k" }));
    assert_eq!(gateway.with_key(&key).send(Request::get(&url)).expect(200).json()["user"], "ann");
    let _ = gateway.with_key("vst_forged").send(Request::get(&url)).expect(401);
    for door in [Door::ForwardAuth, Door::AuthRequest] {
        for path in
            ["", "/", "/whoami", "/callback", "/start", "/sign-out", "/jwks.json", "/nothing"]
        {
            let answer = ann.ask(door, "GET", &format!("https://{WIKI}/.vestibule{path}"));
            assert!(!(200..300).contains(&answer.status), "{path} at {door:?}");
            assert_eq!(answer.code().as_deref(), Some("RESERVED_PATH"), "{path} at {door:?}");
        }
    }
    assert_eq!(app.connections(), 0);
}

// ---- where a sign-in leads back to ----

/// Ways elsewhere, as a link may spell them.
pub(crate) fn elsewhere() -> Vec<String> {
    let mut all: Vec<String> = [
        "//evil.test",
        "///evil.test",
        "////evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "\\/evil.test",
        "/\\/evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "/\r/evil.test",
        "/%09/evil.test",
        "/%0a/evil.test",
        "/%0d%0a/evil.test",
        "/%5cevil.test",
        "/%2fevil.test",
        "/%2f%2fevil.test",
        "/.//evil.test",
        "/..//evil.test",
        "/./\\evil.test",
        "/x/..//evil.test",
        "https:evil.test",
        "https:/evil.test",
        "https:///evil.test",
        "https:////evil.test",
        "https:\\\\evil.test",
        "https:/\\evil.test",
        "http://evil.test",
        "https://evil.test",
        "HTTPS://EVIL.TEST",
        "https://evil.test/wiki.example.test",
        "https://evil.test?https://wiki.example.test",
        "https://evil.test#https://wiki.example.test",
        "https://wiki.example.test@evil.test",
        "https://wiki.example.test:443@evil.test",
        "https://wiki.example.test%40evil.test",
        "https://evil.test@wiki.example.test",
        "https://u:p@wiki.example.test",
        "https://wiki.example.test.evil.test",
        "https://evilwiki.example.test.evil.test",
        "https://xwiki.example.test",
        "https://wiki.example.tes",
        "https://wiki.example.testevil.test",
        "https://wiki-example.test",
        "https://wikixexample.test",
        "https://wiki.example.test:444",
        "https://wiki.example.test:80",
        "https://wiki.example.test:0443",
        "https://wiki.example.test:",
        "https://wiki.example.test:443:1",
        "https://wiki.example.test\\@evil.test",
        "https://wiki.example.test;evil.test",
        "https://wiki.example.test,evil.test",
        "https://wiki.example.test\tevil.test",
        "https://wiki.example.test%00.evil.test",
        "https://wiki.example.test%2eevil.test",
        "https://wiki%2eexample.test",
        "https://[wiki.example.test]",
        "https://[::1]",
        "https://127.0.0.1",
        "https://2130706433",
        "https://0x7f000001",
        "https://127.1",
        "https://localhost",
        "http://wiki.example.test",
        "ftp://wiki.example.test",
        "ws://wiki.example.test",
        "javascript:alert(1)",
        "JavaScript:alert(1)//wiki.example.test",
        "java\nscript:alert(1)",
        " javascript:alert(1)",
        "javascript://wiki.example.test/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://wiki.example.test/x",
        "about:blank",
        "mailto:a@evil.test",
        "evil.test",
        "evil.test/x",
        ".evil.test",
        "@evil.test",
        ":@evil.test",
        "?x",
        "x",
        "..",
        "../",
        "%2f%2fevil.test",
        "%5c%5cevil.test",
        " //evil.test",
        "\t//evil.test",
        "\u{0}//evil.test",
        "//wiki.example.test",
        "https://wiki\u{3002}example.test",
        "https://wiki\u{ff0e}example\u{ff61}test",
        "https://\u{24e6}iki.example.test",
        "https://w\u{ad}iki.example.test",
        "/\u{2044}evil.test",
        "/\u{ff0f}evil.test",
        "/\u{2215}/evil.test",
        "https://xn--wiki-9za.example.test",
        "https://wiki.example.test\u{200b}.evil.test",
        "/x\r\nSet-Cookie: a=b",
        "/x\nLocation: https://evil.test",
        "https://wiki.example.test/x\r\nX: y",
        "/\u{85}/evil.test",
        "https://wiki.example.test/%0d%0aX:y",
        "https://wiki.example.test//evil.test",
        "https://wiki.example.test/\\evil.test",
        "https://wiki.example.test/..//evil.test",
    ]
    .iter()
    .map(|vector| (*vector).to_owned())
    .collect();
    all.push(format!("https://wiki.example.test/{}", "x".repeat(5_000)));
    all
}

/// Panics unless a `Location` is the portal or the wiki, spelled so that nobody reads it otherwise.
#[track_caller]
pub(crate) fn lands_at_home(location: &str, vector: &str) {
    let rest = [PORTAL, "https://wiki.example.test"]
        .iter()
        .find_map(|origin| location.strip_prefix(origin))
        .unwrap_or_else(|| panic!("{vector:?} leads to {location}"));
    assert!(rest.is_empty() || rest.starts_with('/'), "{vector:?}: {location}");
    let path = rest.split(['?', '#']).next().unwrap();
    assert!(
        !path.starts_with("//") && !path.contains('\\') && !path.contains("/.."),
        "{vector:?}: {location}"
    );
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{vector:?}: {location}");
    let query = location.split_once('?').map_or("", |(_, query)| query);
    assert!(!query.contains("evil") || query.contains("rd="), "{vector:?}: {location}");
}

#[test]
fn e1_e2_no_spelling_of_rd_leads_away() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let vectors = elsewhere();
    assert!(vectors.len() >= 80, "{}", vectors.len());
    let ann = gateway.as_user("ann");
    for vector in &vectors {
        let rd = encode(vector);
        // Signed in: sent on at once.
        let answer = ann
            .clone()
            .send(Request::get(&format!("{PORTAL}/login?rd={rd}")).navigation())
            .expect(302);
        lands_at_home(answer.location(), vector);
        // An escaped slash is a character of a path of ours and leads nowhere else; of what is
        // too long the host may remain.
        let kept = vector.starts_with("/%2f") || vector.len() > 4096;
        assert!(
            kept || answer.location() == format!("{PORTAL}/"),
            "{vector:?}: {}",
            answer.location()
        );
        // Not signed in: the form does not keep it.
        let page = gateway
            .anonymous()
            .send(Request::get(&format!("{PORTAL}/login?rd={rd}")).navigation())
            .expect(200);
        assert!(kept || !page.text().contains("evil"), "{vector:?}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(
            !policy.contains("evil") && (kept || !policy.contains("wiki")),
            "{vector:?}: {policy}"
        );
        for url in [
            format!("{PORTAL}/logout?rd={rd}"),
            format!("https://{WIKI}/.vestibule/sign-out?rd={rd}"),
            format!("https://{WIKI}/.vestibule/start?rd={rd}"),
            format!("https://{WIKI}/.vestibule/callback?code=x&state=y&rd={rd}"),
            format!("{PORTAL}/handoff?host={rd}&state={}", "a".repeat(43)),
            format!("{PORTAL}/signup?rd={rd}"),
            format!("{PORTAL}/login?step=reauth&rd={rd}"),
        ] {
            let answer = gateway.anonymous().send(Request::get(&url).navigation());
            assert!(answer.status < 500, "{url}: {}", answer.status);
            if let Some(location) = answer.header("location") {
                lands_at_home(location, vector);
            }
            assert!(answer.header("refresh").is_none());
            assert!(kept || !answer.text().contains("evil.test"), "{url}: {}", answer.text());
            assert_eq!(
                answer.all("set-cookie").filter(|cookie| cookie.starts_with("a=")).count(),
                0,
                "{vector:?}"
            );
        }
        // Where a hand-off ends: the flow cookie does not carry it either.
        if vector.len() < 100 && vector.starts_with(['/', 'h']) {
            let landing = ann.clone().navigate(&format!("https://{WIKI}/.vestibule/start?rd={rd}"));
            for url in &landing.visited[1..] {
                lands_at_home(url, vector);
            }
        }
    }
    // As it stands, without escapes, where a target can hold it.
    let raw = |vector: &&String| vector.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    for vector in vectors.iter().filter(raw) {
        for (mut actor, page) in [(ann.clone(), "login"), (gateway.anonymous(), "logout")] {
            let mut request = Request::get(PORTAL).navigation();
            request.target = format!("/{page}?rd={vector}");
            if let Some(location) = actor.send(request).header("location") {
                lands_at_home(location, vector);
            }
        }
    }
}

#[test]
fn e1_the_form_of_the_sign_in_page_leads_home_and_good_places_are_kept() {
    let app = Recorder::start();
    let gateway = two_apps(&app);
    let submit = |rd: &str| {
        let form = Request::new("POST", &format!("{PORTAL}/login"))
            .header("Origin", PORTAL)
            .header("Sec-Fetch-Site", "same-origin")
            .form(&[("email", "ann@example.test"), ("password", PASSWORD), ("rd", rd)]);
        gateway.anonymous().send(form.header("Accept", "text/html"))
    };
    for rd in [
        "//evil.test",
        "https://evil.test/",
        "javascript:alert(1)",
        "https://wiki.example.test@evil.test/",
        "/\\evil.test",
        "",
    ] {
        assert_eq!(submit(rd).expect(303).location(), format!("{PORTAL}/"), "{rd}");
    }
    let answer = submit(&format!("https://{WIKI}/a?b=c&d=//e")).expect(303);
    let start = format!("https://{WIKI}/.vestibule/start?rd=");
    assert!(answer.location().starts_with(&start), "{}", answer.location());
    assert_eq!(submit("/settings?x=1").expect(303).location(), format!("{PORTAL}/settings?x=1"));
    assert_eq!(
        submit(&format!("{PORTAL}/settings")).expect(303).location(),
        format!("{PORTAL}/settings")
    );
    // The whole way, as a browser goes it.
    let mut ann = gateway.as_user("ann");
    let landing = ann.navigate(&format!("https://{WIKI}/a?b=c&d=//e"));
    assert_eq!(
        (landing.url.as_str(), landing.response.status),
        (&*format!("https://{WIKI}/a?b=c&d=//e"), 200)
    );
    // E4: no credential ever stood in a URL.
    for url in &landing.visited {
        for cookie in ann.jar().iter().filter(|cookie| cookie.name == SESSION) {
            assert!(!url.contains(&cookie.value), "{url}");
        }
    }
    assert!(cookies(&landing.response).is_empty());
}
