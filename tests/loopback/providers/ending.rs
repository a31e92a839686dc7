//! How a session of a provider ends: by signing out here and there, and by the provider's own
//! word through the back channel.

use std::time::Duration;

use vestibule_testkit::provider::{Endpoint, LogoutMutant, Op};
use vestibule_testkit::{
    Actor, Door, Gateway, Recorder, Request, Response, parameter, until_within, ws,
};

use super::{AUTH, WIKI, has_session, let_in, me, open_to, visitor, wiki_answer};

fn post_logout(gateway: &Gateway, provider: &str, token: &str) -> Response {
    let url = format!("{}/api/v1/auth/backchannel-logout/{provider}", gateway.portal());
    // From server to server: no Origin, no cookie.
    gateway.client().send(&Request::new("POST", &url).form(&[("logout_token", token)]))
}

fn open_socket(gateway: &Gateway, actor: &Actor) -> ws::Socket {
    let request = Request::get(&format!("{WIKI}/ws")).header("Origin", WIKI);
    let mut socket = ws::open(&gateway.client(), &actor.dressed(request)).expect("an open socket");
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    socket
}

#[track_caller]
fn is_out(actor: &mut Actor, what: &str) {
    for door in Door::ALL {
        let answer = actor.ask(door, "GET", &format!("{WIKI}/"));
        assert_eq!(answer.status, 401, "{what}: {door:?}: {answer:?}");
    }
    assert_eq!(actor.api("GET", "/me", None).status, 401, "{what}: the portal");
}

#[test]
fn g10_f3_a_logout_token_ends_what_it_names_on_every_host_with_its_open_sockets() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let enter = |name: &str| {
        let mut actor = visitor(&gateway, name);
        let _ = let_in(&mut actor, "op", &format!("{WIKI}/"));
        actor
    };
    let (mut laptop, mut phone, mut bob) = (enter("ann"), enter("ann"), enter("bob"));
    let sids = op.sids("ann");
    let (mut on_laptop, on_phone) = (open_socket(&gateway, &laptop), open_socket(&gateway, &phone));
    let mut of_bob = open_socket(&gateway, &bob);

    // By `sid`: that one session.
    let token = op.logout_token(None, Some(&sids[0]));
    let answer = post_logout(&gateway, "op", &token).expect(200);
    assert!(answer.header("cache-control").unwrap_or_default().contains("no-store"), "{answer:?}");
    is_out(&mut laptop, "sid");
    assert!(on_laptop.conn.closes_within(Duration::from_secs(5)), "the open WebSocket ends");
    assert_eq!(wiki_answer(&mut phone).status, 200, "another session of the same person");

    // By `sub`: all that is left of the person.
    let mut tablet = enter("ann");
    let answer = post_logout(&gateway, "op", &op.logout_token(Some("sub-of-ann"), None));
    let _ = answer.expect(200);
    is_out(&mut phone, "sub");
    is_out(&mut tablet, "sub");
    let mut on_phone = on_phone;
    assert!(on_phone.conn.closes_within(Duration::from_secs(5)), "the open WebSocket ends");

    // Nobody else's.
    of_bob.send_text("still");
    assert_eq!(of_bob.text(), "still");
    assert_eq!(wiki_answer(&mut bob).status, 200);
    // Whom it does not know it has nothing to end for.
    let _ = post_logout(&gateway, "op", &op.logout_token(Some("sub-of-nobody"), None)).expect(200);
    let _ = post_logout(&gateway, "op", &op.logout_token(None, Some("no-such-sid"))).expect(200);
    // Both must fit one session.
    let sid = op.sids("bob").pop().unwrap();
    let _ = post_logout(&gateway, "op", &op.logout_token(Some("sub-of-ann"), Some(&sid)));
    assert_eq!(wiki_answer(&mut bob).status, 200, "bob's sid under ann's sub");
    let both = op.logout_token(Some("sub-of-bob"), Some(&sid));
    let _ = post_logout(&gateway, "op", &both).expect(200);
    is_out(&mut bob, "sub and sid");
}

#[test]
fn g10_every_bad_logout_token_is_400_and_ends_nothing() {
    let app = Recorder::start();
    let (op, other) = (Op::start(), Op::start());
    let gateway = open_to(&app, &[op.toml("op"), other.toml("other")]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let sid = op.sids("ann").pop().unwrap();
    let mut failed = Vec::new();
    let mut check = |what: &str, answer: Response, ann: &mut Actor| {
        let no_store = answer.header("cache-control").unwrap_or_default().contains("no-store");
        let stays = wiki_answer(ann).status == 200;
        if answer.status != 400 || !no_store || !stays {
            failed.push(format!("{what}: {} no-store={no_store} stays={stays}", answer.status));
        }
    };
    for &mutant in LogoutMutant::ALL {
        let token = op.forged_logout_token(mutant, Some("sub-of-ann"), Some(&sid));
        check(&format!("{mutant:?}"), post_logout(&gateway, "op", &token), &mut ann);
    }
    let id_token = op.tokens_for("ann")["id_token"].as_str().unwrap().to_owned();
    let good = op.logout_token(Some("sub-of-ann"), None);
    let from_other = other.logout_token(Some("sub-of-ann"), Some(&sid));
    for (what, token) in [
        ("an ID token", id_token.as_str()),
        ("nothing", ""),
        ("no token", "x"),
        ("three points", "..."),
        ("another provider's", &from_other),
        ("five parts", &format!("{good}.AAAA.AAAA")),
        ("a good one cut short", &good[..good.len() - 3]),
        ("a good one with a letter more", &format!("{good}A")),
    ] {
        check(what, post_logout(&gateway, "op", token), &mut ann);
    }
    let answer = post_logout(&gateway, "other", &good);
    check("sent to another provider's place", answer, &mut ann);

    // Forms that are no such form.
    let url = format!("{}/api/v1/auth/backchannel-logout/op", gateway.portal());
    let send = |request: Request| gateway.client().send(&request);
    let twice = format!("logout_token={good}&logout_token={good}");
    let form = "application/x-www-form-urlencoded";
    let repeated = Request::new("POST", &url).header("Content-Type", form).body(twice);
    check("the parameter twice", send(repeated), &mut ann);
    check("none", send(Request::new("POST", &url).form(&[("a", "b")])), &mut ann);
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    let json = Request::new("POST", &url).json(&serde_json::json!({ "logout_token": good }));
    for (what, request) in
        [("JSON", json), ("GET", Request::get(&format!("{url}?logout_token={good}")))]
    {
        let answer = send(request);
        assert!((400..500).contains(&answer.status), "{what}: {answer:?}");
        assert_eq!(wiki_answer(&mut ann).status, 200, "{what}");
    }
    let unknown = post_logout(&gateway, "nobody", &good);
    assert!((400..500).contains(&unknown.status), "{unknown:?}");
    assert_eq!(op.hits(Endpoint::Trap) + other.hits(Endpoint::Trap), 0);
    // All the while a good one would have served.
    let _ = post_logout(&gateway, "op", &good).expect(200);
    is_out(&mut ann, "a good one");
}

#[test]
fn g10_a_logout_token_serves_once() {
    let app = Recorder::start();
    let op = Op::start();
    let mut gateway = open_to(&app, &[op.toml("op")]).start();
    let token = op.logout_token(Some("sub-of-ann"), None);
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let _ = post_logout(&gateway, "op", &token).expect(200);
    is_out(&mut ann, "first");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let _ = post_logout(&gateway, "op", &token).expect(400);
    assert_eq!(wiki_answer(&mut ann).status, 200, "a replay ends nothing");
    gateway.restart();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let _ = post_logout(&gateway, "op", &token).expect(400);
    assert_eq!(wiki_answer(&mut ann).status, 200, "nor after a restart");

    // A hundred at once: one of them counts.
    let token = op.logout_token(Some("sub-of-ann"), None);
    let taken: usize = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..100)
            .map(|_| {
                let (gateway, token) = (&gateway, &token);
                scope.spawn(move || usize::from(post_logout(gateway, "op", token).status == 200))
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).sum()
    });
    assert_eq!(taken, 1, "G14: single use");
}

#[test]
fn f2_f3_signing_out_ends_the_session_here_and_leads_to_the_provider() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    let mut thief = ann.clone();

    // From another site: asked first.
    let url = format!("{}/logout", gateway.portal());
    let cross = Request::get(&url)
        .header("Accept", "text/html")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
        .header("Sec-Fetch-Site", "cross-site");
    let asked = ann.send(cross).expect(200);
    assert!(asked.text().contains("<form"), "a question: {}", asked.text());
    assert_eq!(wiki_answer(&mut ann).status, 200, "nothing has ended yet");

    // Typed: at once.
    let answer = ann.visit(&url).expect(302);
    let location = answer.location().to_owned();
    assert!(location.starts_with(&op.url(Endpoint::EndSession)), "{location}");
    let back = parameter(&location, "post_logout_redirect_uri");
    assert_eq!(back, Some(format!("{}/login", gateway.portal())));
    let hint = parameter(&location, "id_token_hint").expect("id_token_hint");
    let claims = vestibule_testkit::jose::claims_of(&hint);
    assert_eq!(claims["sub"], "sub-of-ann");
    assert!(!has_session(&ann), "the cookie is taken away");
    is_out(&mut thief, "the old cookies, replayed");
    let landing = ann.travel(&location);
    assert_eq!(landing.response.status, 200, "{:?}", landing.visited);
    assert!(landing.url.starts_with(&format!("{}/login", gateway.portal())), "{}", landing.url);
    assert_eq!(op.signed_out().len(), 1);

    // Whoever came by password is led nowhere.
    gateway.add_user("joe", "user", &[]);
    let mut joe = gateway.as_user("joe");
    let answer = joe.visit(&url);
    let location = answer.header("location").unwrap_or_default();
    assert!(!location.contains("end-session"), "{answer:?}");
    assert!(joe.session_cookie(AUTH).is_none());
}

#[test]
fn f2_signing_out_needs_no_provider_that_answers() {
    let app = Recorder::start();
    let (op, plain) = (Op::start(), Op::start());
    plain.describe(serde_json::json!({ "end_session_endpoint": null }));
    let gateway = open_to(&app, &[op.toml("op"), plain.toml("plain")]).start();
    let url = format!("{}/logout", gateway.portal());
    let (mut ann, mut bob) = (visitor(&gateway, "ann"), visitor(&gateway, "bob"));
    let _ = let_in(&mut ann, "plain", &format!("{WIKI}/"));
    let _ = let_in(&mut bob, "op", &format!("{WIKI}/"));
    let mut replayed = ann.clone();
    let landing = ann.travel(&url);
    assert!(landing.visited.iter().all(|url| !url.contains("127.0.0.1")), "{:?}", landing.visited);
    assert_eq!(landing.response.status, 200, "without such a place: {:?}", landing.visited);
    is_out(&mut replayed, "a provider without sign-out");
    let mut replayed = bob.clone();
    drop(op);
    let answer = bob.visit(&url);
    assert!(matches!(answer.status, 302 | 303 | 200), "{answer:?}");
    is_out(&mut replayed, "a provider that is gone");
}

#[test]
fn f3_a_provider_that_is_switched_off_lets_nobody_in_from_then_on() {
    let app = Recorder::start();
    let op = Op::start();
    let mut gateway = open_to(&app, &[op.toml("op")]).start();
    let mut ann = visitor(&gateway, "ann");
    let callback = ann.callback_of("op", "");
    gateway.amend("[auth]\napproval = false");
    let off = std::fs::read_to_string(gateway.prepared().file())
        .unwrap()
        .replace("id = \"op\"", "id = \"op\"\nenabled = false");
    gateway.prepared().rewrite(&off);
    assert!(gateway.hang_up(), "the file is taken");
    let landing = visitor(&gateway, "bob").sign_in_with("op", "");
    let seen = (landing.response.status, landing.response.code());
    assert_eq!(seen, (404, Some("PROVIDER_NOT_CONFIGURED".to_owned())));
    // Nor does a flow that was under way.
    let landing = ann.travel(&callback);
    assert!(matches!(landing.response.status, 401 | 404), "{:?}", landing.response);
    assert!(!has_session(&ann));
    assert_eq!(op.exchanged().len(), 0);
}

#[test]
fn f1_a_sign_in_by_a_provider_takes_the_session_that_was_there_away() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).user("joe", &[]).start();
    // What a browser brings along is never what it leaves with.
    let mut planted = visitor(&gateway, "ann");
    let mut joe = gateway.as_user("joe");
    let cookie = joe.session_cookie(AUTH).unwrap();
    planted.set_cookie(AUTH, &cookie.name, &cookie.value);
    let _ = let_in(&mut planted, "op", "");
    let own = planted.session_cookie(AUTH).unwrap().value;
    assert_ne!(own, cookie.value, "the session that was planted");
    assert_eq!(me(&mut planted)["email"], "ann@example.test");
    let ended = until_within(Duration::from_secs(5), "the session that was there ends", || {
        let answer = joe.api("GET", "/me", None);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(ended.status, 401, "{ended:?}");
    // Neither does a made-up one survive.
    let mut made_up = visitor(&gateway, "bob");
    made_up.set_cookie(AUTH, &cookie.name, &"A".repeat(86));
    let _ = let_in(&mut made_up, "op", "");
    assert_ne!(made_up.session_cookie(AUTH).unwrap().value, "A".repeat(86));
    // A second sign-in changes the token again, and the first one is dead.
    let first = planted.clone();
    let _ = let_in(&mut planted, "op", "");
    assert_ne!(planted.session_cookie(AUTH).unwrap().value, own);
    let mut first = first;
    assert_eq!(first.api("GET", "/me", None).status, 401);
}
