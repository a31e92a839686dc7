//! The life of a session, from outside: how it begins, what renews it, and every way it ends. Where
//! hours have to pass, the server goes by a clock that the test moves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;
use vestibule_testkit::{Actor, Door, Gateway, PASSWORD, Recorder, Request, Route, ws};

use crate::gateway;
use crate::rows::{
    Clock, Portal, account_id, admin_api, assertion, claims, code, form_request, wiki,
};

const APP: &str = "https://wiki.example.test/";
const PORTAL_HOST: &str = "auth.example.test";
const WIKI: &str = "wiki.example.test";
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

#[track_caller]
fn token(actor: &Actor, host: &str) -> String {
    actor.session_cookie(host).expect("a cookie").value
}

/// Whether a portal cookie of that value is somebody.
fn is_somebody(gateway: &Gateway, value: &str) -> bool {
    let mut stranger = gateway.anonymous();
    stranger.set_cookie(PORTAL_HOST, "__Host-vestibule", value);
    stranger.api("GET", "/me", None).status == 200
}

#[test]
fn f1_the_token_changes_at_sign_in_password_and_role_change_and_the_old_one_is_dead() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).admin("root").start();
    // A value that the browser brought is never taken over.
    let planted = "A".repeat(86);
    let mut ann = gateway.anonymous();
    ann.set_cookie(PORTAL_HOST, "__Host-vestibule", &planted);
    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    let first = token(&ann, PORTAL_HOST);
    assert_ne!(first, planted);
    assert!(!is_somebody(&gateway, &planted));

    let _ = ann.sign_in("ann@example.test", PASSWORD).expect(200);
    let second = token(&ann, PORTAL_HOST);
    assert_ne!(second, first);
    assert!(!is_somebody(&gateway, &first), "a new sign-in replaces the session of the browser");

    let change = json!({ "current_password": PASSWORD, "new_password": "another-Passphrase-8" });
    let done = ann.api("POST", "/password/change", Some(&change));
    assert!((200..300).contains(&done.status), "{done:?}");
    let third = token(&ann, PORTAL_HOST);
    assert_ne!(third, second);
    assert!(!is_somebody(&gateway, &second));
    assert!(is_somebody(&gateway, &third));

    let mut root = gateway.as_user("root");
    let id = account_id(&gateway, "ann@example.test");
    let role = json!({ "role": "admin" });
    let path = format!("/users/{id}");
    let _ = admin_api(&mut root, gateway.portal(), "PATCH", &path, Some(&role)).expect(200);
    let _ = ann.navigate("https://auth.example.test/settings").response.expect(200);
    let fourth = token(&ann, PORTAL_HOST);
    assert_ne!(fourth, third, "the next page gives a new token after a change of role");
    assert!(!is_somebody(&gateway, &third));
    assert!(is_somebody(&gateway, &fourth));
}

#[test]
fn f3_whatever_is_deleted_or_disabled_is_refused_by_every_door_and_credential() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(wiki(&app).rule(&["/admin"], &[], "admin").rule(
            &["/staff"],
            &[],
            "{ groups = [\"staff\"] }",
        ))
        .admin("root")
        .start();
    let portal = Portal::of(&gateway);
    let mut root = gateway.as_user("root");
    let ends = ["delete", "disable", "reject", "sign-out"];
    for end in ends {
        gateway.add_user(end, "user", &[]);
        let email = format!("{end}@example.test");
        let mut person = gateway.as_user(end);
        person.enter(APP);
        let (_, key) = person.create_key(&json!({ "name": end }));
        let (access, refresh) = portal.tokens(&email, PASSWORD);
        let upgraded = |request: Request, actor: &Actor| {
            let mut socket = ws::open(&gateway.client(), &actor.dressed(request)).expect("101");
            socket.send_text("a");
            assert_eq!(socket.text(), "a");
            socket
        };
        let by_cookie = Request::get("https://wiki.example.test/ws")
            .header("Origin", "https://wiki.example.test");
        let mut sockets = vec![
            upgraded(by_cookie, &person),
            upgraded(Request::get("https://wiki.example.test/ws"), &gateway.with_bearer(&access)),
        ];
        let id = account_id(&gateway, &email);
        let path = format!("/users/{id}");
        let done = match end {
            "delete" => admin_api(&mut root, gateway.portal(), "DELETE", &path, None),
            "sign-out" => admin_api(
                &mut root,
                gateway.portal(),
                "POST",
                &format!("{path}/sign-out"),
                Some(&json!({})),
            ),
            _ => {
                let status = if end == "disable" { "disabled" } else { "rejected" };
                admin_api(
                    &mut root,
                    gateway.portal(),
                    "PATCH",
                    &path,
                    Some(&json!({ "status": status })),
                )
            }
        };
        assert!((200..300).contains(&done.status), "{end}: {done:?}");
        let before = app.count();
        for door in Door::ALL {
            let answer = person.clone().ask(door, "GET", "/");
            assert!(matches!(answer.status, 401 | 403), "{end}, session at {door:?}: {answer:?}");
            let answer = gateway.with_bearer(&access).ask(door, "GET", "/");
            assert!(matches!(answer.status, 401 | 403), "{end}, token at {door:?}: {answer:?}");
            // A key is no sign-in: it outlives a sign-out, nothing else.
            let answer = gateway.with_key(&key).ask(door, "GET", "/");
            let due = if end == "sign-out" {
                answer.status == 200
            } else {
                matches!(answer.status, 401 | 403)
            };
            assert!(due, "{end}, key at {door:?}: {answer:?}");
        }
        if end != "sign-out" {
            assert_eq!(app.count(), before, "{end}: nothing reached the app");
        }
        if end != "reject" {
            let _ = portal.refresh(&refresh).expect(401);
        }
        for socket in &mut sockets {
            assert!(
                socket.conn.closes_within(Duration::from_secs(5)),
                "{end}: a WebSocket stays open"
            );
        }
    }

    // Role and group: lost at the next request, without a new sign-in.
    gateway.add_user("eve", "admin", &["staff".to_owned()]);
    let mut eve = gateway.as_user("eve");
    let _ = eve.get("/admin").expect(200);
    let _ = eve.get("/staff").expect(200);
    let path = format!("/users/{}", account_id(&gateway, "eve@example.test"));
    let less = json!({ "role": "user", "groups": [] });
    let _ = admin_api(&mut root, gateway.portal(), "PATCH", &path, Some(&less)).expect(200);
    for door in Door::ALL {
        let _ = eve.ask(door, "GET", "/admin").expect(403);
        let _ = eve.ask(door, "GET", "/staff").expect(403);
    }
    let _ = admin_api(&mut eve, gateway.portal(), "GET", "/users", None).expect(403);
}

#[test]
fn f6_odd_cookies_cost_nothing_and_open_nothing() {
    let app = Recorder::start();
    let mut gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let before = gateway.process().rss_kib();
    let many = (0..4000).map(|n| format!("c{n}=v")).collect::<Vec<_>>().join("; ");
    let fields = [
        "x=".to_owned() + &"y".repeat(1 << 20),
        many,
        "__Host-vestibule-chunks=1000000000; __Host-vestibule-0=a".to_owned(),
        ";;;;=;=;;".to_owned(),
        "__Host-vestibule".to_owned(),
        "__Host-vestibule=; =__Host-vestibule".to_owned(),
    ];
    for field in &fields {
        let start = Instant::now();
        let request = Request::get(APP).header("Cookie", field.as_bytes());
        // The head may be refused before it is read to its end: then the connection is reset.
        if let Ok(answer) = gateway.client().try_send(&request) {
            assert!(
                matches!(answer.status, 400 | 401 | 431),
                "{}: {answer:?}",
                &field[..20.min(field.len())]
            );
        }
        assert!(
            start.elapsed() < Duration::from_secs(2),
            "slow: {}",
            &field[..20.min(field.len())]
        );
    }
    let _ = ann.get("/").expect(200);
    let after = gateway.process().rss_kib();
    assert!(after < before + 16 * 1024, "{before} KiB before, {after} KiB after");
    assert_eq!(app.count(), 2);
}

#[test]
fn f7_an_unprefixed_twin_beside_the_cookie_changes_nothing() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).user("eve", &[]).start();
    let (mut ann, mut eve) = (gateway.as_user("ann"), gateway.as_user("eve"));
    ann.enter(APP);
    eve.enter(APP);
    let (good, evil) = (token(&ann, WIKI), token(&eve, WIKI));
    let ask = |field: String| {
        let answer = gateway.client().send(&Request::get(APP).header("Cookie", field));
        let who =
            (answer.status == 200).then(|| app.last().header("remote-user").map(str::to_owned));
        (answer.status, who.flatten())
    };
    let as_ann = (200, Some("ann".to_owned()));
    assert_eq!(ask(format!("vestibule={evil}; __Host-vestibule={good}")), as_ann);
    assert_eq!(ask(format!("__Host-vestibule={good}; vestibule={evil}")), as_ann);
    assert_eq!(ask(format!("__Secure-vestibule={evil}; __Host-vestibule={good}")), as_ann);
    assert_eq!(ask(format!("vestibule={evil}")), (401, None));
    assert_eq!(ask(format!("__Host-vestibule={good}; __Host-vestibule={evil}")), (401, None));
    // A token of one host is none of another, and the portal's none of an app.
    assert_eq!(ask(format!("__Host-vestibule={}", token(&ann, PORTAL_HOST))), (401, None));
    assert!(!is_somebody(&gateway, &good));
}

#[test]
fn f8_the_year_2038_changes_nothing() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let now = jiff::Timestamp::now().as_second();
    clock.set(u64::try_from(2_147_483_648 + 86_400 - now).unwrap());
    let gateway = clock.on(gateway().route(wiki(&app))).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let told = assertion(&app.last());
    assert!(told["exp"].as_i64().unwrap() > 2_147_483_648, "{told}");
    let (access, refresh) = ann.tokens("ann@example.test", PASSWORD);
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    let _ = Portal::of(&gateway).refresh(&refresh).expect(200);
    let (_, key) = ann.create_key(&json!({ "name": "later", "expires_in": 3600 }));
    let _ = gateway.with_key(&key).get("/").expect(200);
}

#[test]
fn a_session_ends_idle_after_a_day_and_in_any_case_after_a_week() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let gateway = clock.on(gateway().route(wiki(&app))).user("ann", &[]).user("bob", &[]).start();
    let (mut idle, mut busy) = (gateway.as_user("ann"), gateway.as_user("bob"));
    let _ = idle.get("/").expect(200);
    let _ = busy.get("/").expect(200);
    assert!(!idle.session_cookie(PORTAL_HOST).unwrap().set.contains("Max-Age"));
    let mut long = gateway.anonymous();
    let remember = json!({ "email": "ann@example.test", "password": PASSWORD, "cookie": true, "remember": true });
    let _ = long.api("POST", "/login", Some(&remember)).expect(200);
    let set = long.session_cookie(PORTAL_HOST).unwrap().set;
    assert!(set.contains("Max-Age=2592000"), "30 days: {set}");
    let _ = long.get("/").expect(200);

    let mut at = 0;
    while at + 20 * HOUR < 7 * DAY {
        at += 20 * HOUR;
        clock.set(at);
        assert_eq!(busy.ask(Door::Proxy, "GET", "/").status, 200, "used every 20 hours, at {at} s");
        assert_eq!(long.ask(Door::Proxy, "GET", "/").status, 200, "remembered, at {at} s");
        let due = if at < DAY { 200 } else { 401 };
        if at >= DAY {
            assert_eq!(idle.ask(Door::Proxy, "GET", "/").status, due, "idle, at {at} s");
            let _ = idle.api("GET", "/me", None).expect(401);
        }
    }
    clock.set(7 * DAY + HOUR);
    for door in Door::ALL {
        assert_eq!(busy.ask(door, "GET", "/").status, 401, "after a week, at {door:?}");
        assert_eq!(long.ask(door, "GET", "/").status, 200, "remembered for 30 days, at {door:?}");
    }
}

#[test]
fn tokens_and_keys_end_by_the_clock_and_a_refresh_token_is_used_once() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let gateway = clock.on(gateway().route(wiki(&app))).user("ann", &[]).start();
    let portal = Portal::of(&gateway);
    let (access, refresh) = portal.tokens("ann@example.test", PASSWORD);
    let (_, key) =
        gateway.as_user("ann").create_key(&json!({ "name": "hour", "expires_in": 3600 }));
    clock.set(14 * 60);
    let _ = gateway.with_bearer(&access).get("/").expect(200);
    clock.set(15 * 60 + 2);
    let refused = gateway.with_bearer(&access).get("/").expect(401);
    assert_eq!(code(&refused), "INVALID_CREDENTIAL");
    let _ = gateway.with_key(&key).get("/").expect(200);
    clock.set(3602);
    let _ = gateway.with_key(&key).get("/").expect(401);

    let renewed = portal.refresh(&refresh).expect(200).json();
    let (access, next) =
        (renewed["access_token"].as_str().unwrap(), renewed["refresh_token"].as_str().unwrap());
    assert_ne!(next, refresh, "it rotates");
    let _ = gateway.with_bearer(access).get("/").expect(200);
    // A second use means that it was stolen: the whole family ends.
    let _ = portal.refresh(&refresh).expect(401);
    let _ = portal.refresh(next).expect(401);
    let _ = gateway.with_bearer(access).get("/").expect(401);

    let (_, refresh) = portal.tokens("ann@example.test", PASSWORD);
    clock.set(3602 + 30 * DAY + 60);
    let _ = portal.refresh(&refresh).expect(401);
}

#[test]
fn an_old_sign_in_is_asked_again_where_a_rule_wants_a_fresh_one() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let route = wiki(&app).rule(&["/fresh"], &[], "{ max_auth_age = \"10m\" }");
    let gateway = clock.on(gateway().route(route)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/fresh").expect(200);
    let (_, key) = ann.create_key(&json!({ "name": "script" }));
    let refused = gateway.with_key(&key).get("/fresh").expect(403);
    assert_eq!(code(&refused), "FORBIDDEN", "met by sessions only");

    clock.set(11 * 60);
    let _ = ann.get("/").expect(200);
    let refused = ann.get("/fresh").expect(401);
    assert_eq!(code(&refused), "STEP_UP_REQUIRED");
    let page = Request::get("https://wiki.example.test/fresh?a=b").navigation();
    let to = ann.send(page).expect(302).location().to_owned();
    assert!(to.starts_with("https://auth.example.test/login?rd="), "{to}");
    assert!(to.contains("step=reauth"), "{to}");
    let _ = ann.send(Request::get(&to).navigation()).expect(200);
    let rd = "https://wiki.example.test/fresh?a=b";
    let again = |password: &str| {
        form_request("https://auth.example.test", "/login").form(&[
            ("email", ""),
            ("password", password),
            ("step", "reauth"),
            ("rd", rd),
        ])
    };
    let before = token(&ann, PORTAL_HOST);
    let _ = ann.send(again("not-the-Password-1")).expect(401);
    let _ = ann.get("/fresh").expect(401);
    let done = ann.send(again(PASSWORD)).expect(303);
    assert_ne!(token(&ann, PORTAL_HOST), before, "a new token");
    assert!(!is_somebody(&gateway, &before));
    let landing = ann.navigate(done.location());
    assert_eq!(landing.url, rd);
    let _ = landing.response.expect(200);
    let _ = ann.get("/fresh").expect(200);
}

#[test]
fn an_assertion_has_half_its_life_left_and_names_itself() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let builder = gateway().toml("[server]\nworkers = 2").route(wiki(&app));
    let gateway = clock.on(builder).user("ann", &["staff"]).start();
    let mut ann = gateway.as_user("ann");
    let mut seen = Vec::new();
    for minute in 0..8 {
        clock.set(minute * 60);
        let _ = ann.get("/").expect(200);
        let told = assertion(&app.last());
        let now = jiff::Timestamp::now().as_second() + i64::try_from(minute * 60).unwrap();
        let left = told["exp"].as_i64().unwrap() - now;
        assert!((149..=301).contains(&left), "minute {minute}: {left} s left");
        assert_eq!(told["aud"], "https://wiki.example.test");
        assert_eq!(told["iss"], "https://auth.example.test");
        seen.push((told["jti"].to_string(), told["iat"].as_i64().unwrap()));
    }
    // `jti` names the assertion: one each, and it is handed out more than once. Each of the two
    // workers has its own.
    let names: BTreeSet<_> = seen.iter().map(|(name, _)| name).collect();
    let all: BTreeSet<_> = seen.iter().collect();
    assert_eq!(names.len(), all.len(), "{seen:#?}");
    assert!((3..=6).contains(&names.len()), "made anew every 2.5 minutes: {seen:#?}");
}

#[test]
fn a_hand_off_code_is_for_one_browser_one_host_and_one_use_within_a_minute() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let gateway = clock
        .on(gateway()
            .route(wiki(&app))
            .route(Route::new("mail", "mail.example.test").upstream(app.url()).access("signed-in")))
        .user("ann", &[])
        .start();
    // Follows the hand-off up to the redirect that carries the code.
    let code_url = |person: &mut Actor| {
        let mut url = format!("https://{WIKI}/.vestibule/start?rd=https%3A%2F%2F{WIKI}%2Fa");
        while !url.contains("/.vestibule/callback?") {
            url = person.send(Request::get(&url).navigation()).location().to_owned();
        }
        url
    };
    let opens = |person: &mut Actor, url: &str| {
        let _ = person.send(Request::get(url).navigation());
        person.session_cookie(WIKI).is_some()
    };
    let mut ann = gateway.as_user("ann");
    let url = code_url(&mut ann);
    let mut thief = gateway.anonymous();
    assert!(!opens(&mut thief, &url), "another browser");
    let elsewhere = url.replace(WIKI, "mail.example.test");
    let _ = ann.send(Request::get(&elsewhere).navigation());
    assert!(ann.session_cookie("mail.example.test").is_none(), "another host");

    let mut bob = gateway.as_user("ann");
    let url = code_url(&mut bob);
    let unused = bob.clone();
    assert!(opens(&mut bob, &url), "the browser that began it");
    let mut again = unused;
    assert!(!opens(&mut again, &url), "a second use");

    let mut late = gateway.as_user("ann");
    let url = code_url(&mut late);
    clock.set(62);
    assert!(!opens(&mut late.clone(), &url), "after a minute");
    // A code that is of no use begins anew once, and arrives.
    let landing = late.navigate(&url);
    assert_eq!(landing.url, format!("https://{WIKI}/a"), "{:#?}", landing.visited);
    let _ = landing.response.expect(200);
}

#[test]
fn a_token_of_one_kind_is_none_of_another() {
    let app = Recorder::start();
    let gateway = gateway().route(wiki(&app)).user("ann", &[]).start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let told = app.last().header("x-vestibule-assertion").unwrap().to_owned();
    let (access, refresh) = ann.tokens("ann@example.test", PASSWORD);
    assert_eq!(claims(&access)["aud"], "https://auth.example.test");
    let before = app.count();
    for wrong in [told.as_str(), &refresh] {
        let answer = gateway.with_bearer(wrong).get("/");
        assert_eq!(answer.status, 401, "{wrong}");
    }
    assert_eq!(code(&gateway.with_bearer(&told).get("/")), "INVALID_CREDENTIAL");
    let portal = Portal::of(&gateway);
    for wrong in [told.as_str(), &access] {
        let _ = portal.refresh(wrong).expect(401);
    }
    let mut stranger = gateway.anonymous();
    stranger.set_cookie(WIKI, "__Host-vestibule", &access);
    let _ = stranger.get("/").expect(401);
    assert_eq!(app.count(), before);
    // With our own form and a bad end, no other credential is tried.
    let mut twice = ann.clone().with_header("Authorization", &format!("Bearer {told}"));
    let _ = twice.ask(Door::Proxy, "GET", "/").expect(401);
}
