//! SECURITY.md 1.I and A6, CONTRACT section 8 "Limits": what guessing costs, and what it tells.

use std::time::{Duration, Instant};

use serde_json::json;
use vestibule_testkit::{
    Client, Gateway, GatewayBuilder, PASSWORD, PORTAL, Recorder, Request, Response, Route, TRUSTED,
};

use crate::gateway;

fn limited(requests: u32) -> GatewayBuilder {
    gateway()
        .toml(&format!("[auth.rate_limit]\nrequests = {requests}\nwindow = \"15m\""))
        .route(Route::new("wiki", "wiki.example.test").access("deny"))
        .user("ann", &[])
}

/// Over any length a password may have: refused before it is hashed, so that a thousand are cheap.
fn endless() -> String {
    "x".repeat(600)
}

fn login(email: &str, password: &str) -> Request {
    Request::new("POST", &format!("{PORTAL}/api/v1/auth/login"))
        .json(&json!({ "email": email, "password": password }))
}

/// How many of so many requests were counted, and the first that was not.
fn passed(answers: &[Response]) -> (usize, Option<&Response>) {
    let over = answers.iter().find(|answer| answer.status == 429);
    (answers.iter().filter(|answer| answer.status != 429).count(), over)
}

#[test]
fn a6_a_written_chain_does_not_make_a_new_client() {
    let gateway = limited(20).start();
    let tries = |client: &Client, count: usize, chain: &dyn Fn(usize) -> String| -> Vec<Response> {
        let mut conn = client.connect("auth.example.test");
        (0..count)
            .map(|at| {
                let request = login(&format!("u{at}@example.test"), &endless())
                    .header("X-Forwarded-For", chain(at))
                    .header("X-Real-IP", chain(at))
                    .header("Forwarded", format!("for={}", chain(at)));
                conn.exchange(&request)
            })
            .collect()
    };
    let forged = |at: usize| format!("198.51.{}.{}", at / 250, at % 250);
    // From whom nobody believes: one client, whatever it writes.
    let answers = tries(&gateway.client(), 500, &forged);
    let (counted, over) = passed(&answers);
    assert_eq!(counted, 20);
    let over = over.unwrap();
    assert_eq!(over.code().as_deref(), Some("RATE_LIMITED"));
    let retry: u64 = over.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&retry), "{retry}");
    // Behind a trusted proxy the chain is read from the right: what the client wrote before is not.
    let trusted = gateway.client().from(TRUSTED);
    let answers = tries(&trusted, 60, &|at| format!("{}, 203.0.113.7", forged(at)));
    assert_eq!(passed(&answers).0, 20);
    // The next one behind it is another client, once.
    let answers = tries(&trusted, 30, &|_| "203.0.113.8".to_owned());
    assert_eq!(passed(&answers).0, 20);
}

#[test]
fn a7_spellings_of_one_client_share_a_bucket() {
    let gateway = limited(12).start();
    let trusted = gateway.client().from(TRUSTED);
    let count = |spellings: &[&str]| {
        let mut conn = trusted.connect("auth.example.test");
        let answers: Vec<Response> = (0..40)
            .map(|at| {
                let chain = spellings[at % spellings.len()];
                conn.exchange(&login("x@example.test", &endless()).header("X-Forwarded-For", chain))
            })
            .collect();
        // Ten wrong ones for one address from one client are their own limit: it shows at once
        // whether the spellings are one client.
        passed(&answers).0
    };
    assert_eq!(
        count(&[
            "203.0.113.9",
            "::ffff:203.0.113.9",
            "[::ffff:203.0.113.9]:80",
            "203.0.113.9:4711"
        ]),
        10
    );
    assert_eq!(
        count(&[
            "2001:db8:1:1::1",
            "2001:db8:1:1::2",
            "[2001:db8:1:1:ffff::1%eth0]:80",
            "2001:db8:1:1:a:b:c:d"
        ]),
        10
    );
    assert_eq!(count(&["2001:db8:2:1::1", "2001:db8:2:2::1"]), 20);
}

#[test]
fn i2_one_address_in_every_spelling_and_at_every_form_is_one_counter() {
    let gateway = limited(1000).start();
    let spelled = [
        "ann@example.test",
        "ANN@example.test",
        "Ann@Example.Test",
        " ann@example.test ",
        "ann@EXAMPLE.TEST",
    ];
    let mut statuses = Vec::new();
    for at in 0..14 {
        let email = spelled[at % spelled.len()];
        let request = if at % 2 == 0 {
            login(email, &endless())
        } else {
            Request::new("POST", &format!("{PORTAL}/login"))
                .header("Origin", PORTAL)
                .header("Sec-Fetch-Site", "same-origin")
                .form(&[("email", email), ("password", &endless())])
        };
        statuses.push(gateway.client().send(&request).status);
    }
    assert!(statuses[..10].iter().all(|status| *status != 429), "{statuses:?}");
    assert!(statuses[10..].iter().all(|status| *status == 429), "{statuses:?}");
    // The right password is not tried any more from here, and goes on elsewhere.
    assert_eq!(gateway.client().send(&login("ann@example.test", PASSWORD)).status, 429);
    let elsewhere = gateway.client().from("127.0.0.3");
    let _ = elsewhere.send(&login("ann@example.test", PASSWORD)).expect(200);
}

#[test]
fn i3_tries_at_the_same_time_pass_the_limit_and_no_more() {
    let gateway = limited(50).start();
    let counted: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..20)
            .map(|worker| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let mut conn = gateway.client().connect("auth.example.test");
                    (0..25)
                        .filter(|at| {
                            let email = format!("u{worker}-{at}@example.test");
                            conn.exchange(&login(&email, &endless())).status != 429
                        })
                        .count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(counted, 50);
    // What is free stays free.
    for path in ["/api/v1/auth/config", "/login", "/health"] {
        let _ = gateway.client().send(&Request::get(&format!("{PORTAL}{path}"))).expect(200);
    }
}

#[test]
fn a10_loopback_is_limited_too_where_somebody_asks_for_a_limit() {
    let gateway = limited(5).start();
    let answers: Vec<Response> = (0..9)
        .map(|at| gateway.client().send(&login(&format!("u{at}@x.test"), &endless())))
        .collect();
    assert_eq!(passed(&answers).0, 5);
    let over = answers.last().unwrap();
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(over.header(name).is_some(), "{name}: {over:?}");
    }
    assert_eq!(over.header("content-type"), Some("application/problem+json"));
}

/// What an observer sees of an answer, less what differs by its nature.
fn visible(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "x-request-id"].contains(&&*name.to_ascii_lowercase()));
    let mut body = answer.text();
    if let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&answer.body) {
        if let Some(members) = json.as_object_mut() {
            members.remove("request_id");
        }
        body = json.to_string();
    }
    (answer.status, headers, body)
}

fn statuses_of_people(gateway: &Gateway) -> [&'static str; 3] {
    for arguments in [
        &["user", "add", "off@example.test", "--password-file", "-"][..],
        &["user", "add", "wait@example.test", "--status", "pending", "--password-file", "-"],
    ] {
        let _ = gateway.cli_with(arguments, PASSWORD.as_bytes()).expect(0);
    }
    let _ = gateway.cli(&["user", "disable", "off@example.test"]).expect(0);
    ["ann@example.test", "off@example.test", "wait@example.test"]
}

#[test]
fn i1_a_wrong_password_looks_the_same_for_whom_there_is_and_for_whom_there_is_not() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let known = statuses_of_people(&gateway);
    let nobody = visible(&gateway.client().send(&login("nobody@example.test", "wrong-Password-1")));
    assert_eq!(nobody.0, 401);
    for email in known {
        let seen = visible(&gateway.client().send(&login(email, "wrong-Password-1")));
        assert_eq!(seen, nobody, "{email}");
    }
    // At the page: the same but for the address that is shown again.
    let form = |email: &str| {
        let request = Request::new("POST", &format!("{PORTAL}/login"))
            .header("Origin", PORTAL)
            .header("Sec-Fetch-Site", "same-origin")
            .header("Accept", "text/html")
            .form(&[("email", email), ("password", "wrong-Password-1")]);
        let answer = gateway.client().send(&request);
        let strip = |text: &str| {
            let mut words = text.split("name=\"csrf\" value=\"");
            let first = words.next().unwrap_or_default().to_owned();
            words.fold(first, |text, rest| text + rest.split_once('"').map_or("", |(_, rest)| rest))
        };
        (answer.status, strip(&answer.text()).replace(email, "E"))
    };
    let nobody = form("nobody@example.test");
    for email in known {
        assert_eq!(form(email), nobody, "{email}");
    }
    // The work is the same, too: the quickest of several tries is not quicker for a stranger.
    let quickest = |email: &str| -> Duration {
        (0..6)
            .map(|_| {
                let began = Instant::now();
                let _ = gateway.client().send(&login(email, "wrong-Password-1")).expect(401);
                began.elapsed()
            })
            .min()
            .unwrap()
    };
    let (someone, stranger) = (quickest("ann@example.test"), quickest("nobody@example.test"));
    assert!(stranger * 3 > someone, "a stranger {stranger:?}, ann {someone:?}");
    assert!(someone * 3 > stranger, "a stranger {stranger:?}, ann {someone:?}");
}

#[test]
fn x15_an_endless_password_is_refused_before_it_is_hashed() {
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").access("deny"))
        .user("ann", &[])
        .start();
    for (length, statuses) in [(300, &[401_u16][..]), (40_000, &[401, 413]), (1 << 20, &[401, 413])]
    {
        let request = login("ann@example.test", &"x".repeat(length));
        let status = gateway.client().send(&request).status;
        assert!(statuses.contains(&status), "{length}: {status}");
    }
}

#[test]
fn x17_a_key_that_cannot_be_one_costs_no_look_up_and_locks_nobody_out() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "k" }));
    let before = gateway.metric("vestibule_cache_misses_total");
    let mut conn = gateway.client().connect("wiki.example.test");
    for at in 0..500 {
        let request = Request::get("https://wiki.example.test/x")
            .header("X-Api-Key", format!("vst_{at:043}"));
        assert_eq!(conn.exchange(&request).status, 401);
    }
    let after = gateway.metric("vestibule_cache_misses_total");
    assert_eq!(before, after, "a forged key was looked up");
    let _ = gateway.with_key(&key).get("/x").expect(200);
}
