//! A provider's word against an administrator's, and what one bad answer of a provider must
//! not take away. Each of these was once wrong.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vestibule_testkit::provider::{Endpoint, Op, OpFault, Person};
use vestibule_testkit::{Actor, Gateway, Recorder, Request, Response, until, until_within};

use super::{AUTH, WIKI, has_session, let_in, me, open_to, visitor, wiki_answer};
use crate::gateway;
use crate::rows::wiki;

/// An administrator's request of the JSON API.
fn admin(root: &mut Actor, method: &str, path: &str, body: Option<&Value>) -> Response {
    let request = Request::new(method, &format!("https://{AUTH}/api/v1/admin{path}"))
        .header("Sec-Fetch-Site", "same-origin");
    root.send(match body {
        Some(body) => request.json(body),
        None => request,
    })
}

fn wait(time: Duration) {
    let end = Instant::now() + time;
    until_within(time * 3, "time has passed", || (Instant::now() >= end).then_some(()));
}

fn account(root: &mut Actor, email: &str) -> Value {
    let all = admin(root, "GET", "/users", None).expect(200).json();
    let mut found = all.as_array().unwrap().iter().filter(|user| user["email"] == email);
    found.next().unwrap_or_else(|| panic!("no {email}: {all}")).clone()
}

#[test]
fn f3_f4_a_provider_does_not_raise_again_whom_an_administrator_shut_out() {
    let app = Recorder::start();
    let op = Op::start();
    op.person(Person::new("ann").groups(&["chiefs"]));
    op.access_lifetime(1);
    let piece = format!("{}roles = {{ chiefs = \"admin\" }}\n", op.toml("op"));
    let gateway = open_to(&app, &[piece]).admin("root").start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    assert_eq!(me(&mut ann)["role"], "admin");
    let mut root = gateway.as_user("root");
    let path = format!("/users/{}", account(&mut root, "ann@example.test")["id"].as_str().unwrap());
    let _ = admin(&mut root, "PATCH", &path, Some(&json!({ "role": "user" }))).expect(200);
    let _ = admin(&mut root, "PATCH", &path, Some(&json!({ "status": "disabled" }))).expect(200);
    let before = op.refreshes();
    for _ in 0..4 {
        wait(Duration::from_millis(1_100));
        assert_eq!(wiki_answer(&mut ann).status, 403, "disabled is disabled");
    }
    let now = account(&mut root, "ann@example.test");
    assert_eq!((&now["role"], &now["status"]), (&json!("user"), &json!("disabled")), "{now}");
    assert_eq!(op.refreshes(), before, "nobody asks for somebody who is shut out");
    // Nor does a new sign-in.
    let again = visitor(&gateway, "ann").sign_in_with("op", &format!("{WIKI}/"));
    assert_eq!(again.response.code().as_deref(), Some("ACCOUNT_DISABLED"));
    let _ = admin(&mut root, "PATCH", &path, Some(&json!({ "status": "rejected" }))).expect(200);
    let mut rejected = visitor(&gateway, "ann");
    let _ = rejected.sign_in_with("op", &format!("{WIKI}/"));
    let now = account(&mut root, "ann@example.test");
    assert_eq!((&now["role"], &now["status"]), (&json!("user"), &json!("rejected")), "{now}");
}

#[test]
fn x19_x20_a_bad_moment_at_a_refresh_costs_nobody_the_session_and_no_token_is_shown_twice() {
    let app = Recorder::start();
    let faults = [
        (Endpoint::UserInfo, OpFault::Status(503)),
        (Endpoint::UserInfo, OpFault::Html),
        (Endpoint::Token, OpFault::Status(429)),
        (Endpoint::Token, OpFault::Status(500)),
        (Endpoint::Token, OpFault::Html),
        (Endpoint::Token, OpFault::Down),
    ];
    for (endpoint, fault) in faults {
        let op = Op::start();
        op.access_lifetime(1);
        let gateway = open_to(&app, &[op.toml("op")]).start();
        let mut ann = visitor(&gateway, "ann");
        let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
        op.fault(endpoint, Some(fault.clone()));
        let hits = op.hits(endpoint);
        wait(Duration::from_millis(1_100));
        assert_eq!(wiki_answer(&mut ann).status, 200, "{endpoint:?} {fault:?}");
        until(&format!("{endpoint:?} {fault:?}: it was asked"), || {
            (op.hits(endpoint) > hits).then_some(())
        });
        wait(Duration::from_millis(1_500));
        for _ in 0..3 {
            assert_eq!(wiki_answer(&mut ann).status, 200, "{endpoint:?} {fault:?}");
        }
        let shown: Vec<_> = op
            .exchanged()
            .iter()
            .filter_map(|e| {
                Some(e.parameters.iter().find(|(n, _)| n == "refresh_token")?.1.clone())
            })
            .collect();
        let mut once = shown.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), shown.len(), "{endpoint:?} {fault:?}: shown twice: {shown:?}");
    }
}

/// Adds a provider at run time.
fn add(root: &mut Actor, id: &str, op: &Op) -> Response {
    let spec = json!({
        "id": id, "issuer": op.issuer(), "client_id": op.client_id(),
        "client_secret": op.client_secret(),
    });
    admin(root, "POST", "/providers", Some(&spec))
}

fn with_root(app: &Recorder) -> Gateway {
    gateway().toml("[auth]\napproval = false").route(wiki(app)).admin("root").start()
}

#[test]
fn f2_f3_a_provider_that_is_switched_off_takes_its_sessions_for_good() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = with_root(&app);
    let mut root = gateway.as_user("root");
    let _ = add(&mut root, "op", &op).expect(201);
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let switch = |root: &mut Actor, on: bool| {
        let _ = admin(root, "PATCH", "/providers/op", Some(&json!({ "enabled": on }))).expect(200);
    };
    switch(&mut root, false);
    assert_ne!(wiki_answer(&mut ann).status, 200, "off: at once");
    assert_eq!(ann.api("GET", "/me", None).status, 401);
    switch(&mut root, true);
    assert_ne!(wiki_answer(&mut ann).status, 200, "on again: the old cookie is worth nothing");
    assert_eq!(ann.api("GET", "/me", None).status, 401);
    let mut anew = visitor(&gateway, "ann");
    let _ = let_in(&mut anew, "op", &format!("{WIKI}/"));
    let _ = admin(&mut root, "DELETE", "/providers/op", None).expect(204);
    assert_ne!(wiki_answer(&mut anew).status, 200, "gone");
    // Another provider under the old name is not the old one.
    let other = Op::start();
    let _ = add(&mut root, "op", &other).expect(201);
    assert_ne!(wiki_answer(&mut anew).status, 200);
    assert_eq!(other.hits(Endpoint::Token), 0, "nobody's refresh token is shown to it");
}

#[test]
fn j6_a_client_secret_goes_to_no_other_place() {
    let app = Recorder::start();
    let (op, thief) = (Op::start(), Op::start());
    let gateway = with_root(&app);
    let mut root = gateway.as_user("root");
    let _ = add(&mut root, "op", &op).expect(201);
    let elsewhere = json!({ "issuer": thief.issuer() });
    let refused = admin(&mut root, "PATCH", "/providers/op", Some(&elsewhere)).expect(400);
    assert!(refused.text().contains("client_secret"), "{}", refused.text());
    let label = json!({ "label": "Elsewhere" });
    let _ = admin(&mut root, "PATCH", "/providers/op", Some(&label)).expect(200);
    let both = json!({ "issuer": thief.issuer(), "client_secret": "another-secret-entirely" });
    let _ = admin(&mut root, "PATCH", "/providers/op", Some(&both)).expect(200);
    let _ = visitor(&gateway, "ann").sign_in_with("op", "");
    assert_eq!(thief.heard(op.client_secret()), 0, "the old secret was sent to the new place");
}

#[test]
fn the_last_provider_stays_on_where_passwords_are_off_and_a_start_knows_it() {
    let app = Recorder::start();
    let op = Op::start();
    let mut gateway = with_root(&app);
    let mut root = gateway.as_user("root");
    let spec = json!({
        "id": "op", "issuer": op.issuer(), "client_id": op.client_id(),
        "client_secret": op.client_secret(), "roles": { "chiefs": "admin" },
    });
    let _ = admin(&mut root, "POST", "/providers", Some(&spec)).expect(201);
    assert!(gateway.reload("[auth.password]\nenabled = false"), "a stored provider is a way in");
    op.person(Person::new("ann").groups(&["chiefs"]));
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", "");
    for (method, body) in [("PATCH", Some(json!({ "enabled": false }))), ("DELETE", None)] {
        let refused = admin(&mut ann, method, "/providers/op", body.as_ref()).expect(409);
        assert_eq!(refused.code().as_deref(), Some("LAST_WAY_IN"), "{method}");
    }
    assert!(has_session(&ann));
    gateway.restart();
    let mut bob = visitor(&gateway, "bob");
    let _ = let_in(&mut bob, "op", &format!("{WIKI}/"));
}
