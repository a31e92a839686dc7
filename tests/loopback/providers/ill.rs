//! Providers that are down, slow, or answer with something else: at start, at sign-in, at the
//! keys. Nobody waits for ever, nothing is followed or read without end, and the others go on.

use std::time::{Duration, Instant};

use vestibule_testkit::provider::{ClaimsIn, Endpoint, Mutant, Op, OpFault, Rotation};
use vestibule_testkit::{Ca, Gateway, Recorder, Request, free_port, until, until_within};

use super::{WIKI, addresses, has_session, let_in, me, open_to, refused, visitor, wiki_answer};
use crate::rows::{Clock, Portal};

/// The longest that one answer of a provider is waited for, with room for a slow machine.
const ONE_ANSWER: Duration = Duration::from_secs(16);

/// The endpoints that a sign-in asks from server to server.
const ASKED: [Endpoint; 4] =
    [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token, Endpoint::UserInfo];

fn id_of(endpoint: Endpoint, fault: &str) -> String {
    let endpoint = format!("{endpoint:?}").to_lowercase();
    format!("{endpoint}-{fault}")
}

#[test]
fn x20_d3_whatever_an_endpoint_answers_instead_is_a_refusal_and_never_followed() {
    let app = Recorder::start();
    let mut stands = Vec::new();
    for endpoint in ASKED {
        for word in [
            "down",
            "status-404",
            "status-429",
            "status-500",
            "html",
            "redirect",
            "too-large",
            "truncated",
        ] {
            let op = Op::start();
            op.claims_in(ClaimsIn::UserInfo);
            let fault = match word {
                "down" => OpFault::Down,
                "html" => OpFault::Html,
                "redirect" => OpFault::Redirect(op.url(Endpoint::Trap)),
                "too-large" => OpFault::TooLarge,
                "truncated" => OpFault::Truncated,
                status => OpFault::Status(status["status-".len()..].parse().unwrap()),
            };
            op.fault(endpoint, Some(fault));
            stands.push((id_of(endpoint, word), endpoint, op));
        }
    }
    let well = Op::start();
    let mut pieces: Vec<String> = stands.iter().map(|(id, _, op)| op.toml(id)).collect();
    pieces.push(well.toml("well"));
    let gateway = open_to(&app, &pieces).start();
    let mut failed = Vec::new();
    for (id, endpoint, op) in &stands {
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut actor = visitor(&gateway, "ann");
            let began = Instant::now();
            let landing = actor.sign_in_with(id, "");
            assert!(began.elapsed() < ONE_ANSWER, "{id}: took {:?}", began.elapsed());
            refused(&gateway, &actor, &landing, id);
            assert_eq!(op.hits(Endpoint::Trap), 0, "{id}: a redirect was followed");
            // A retry is no storm.
            assert!(op.hits(*endpoint) <= 2, "{id}: asked {} times", op.hits(*endpoint));
        }));
        if let Err(panic) = tried {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failed.push(format!("{id}: {}", text.lines().take(3).collect::<Vec<_>>().join(" | ")));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), stands.len(), failed.join("\n"));
    assert_eq!(addresses(&gateway), [] as [&str; 0], "nothing is half-created");
    let _ = let_in(&mut visitor(&gateway, "bob"), "well", "");
}

#[test]
fn d3_x20_an_endless_answer_costs_neither_memory_nor_time() {
    let app = Recorder::start();
    let ops: Vec<(Endpoint, Op)> = ASKED
        .into_iter()
        .map(|endpoint| {
            let op = Op::start();
            op.claims_in(ClaimsIn::UserInfo);
            op.fault(endpoint, Some(OpFault::Endless));
            (endpoint, op)
        })
        .collect();
    let pieces: Vec<String> =
        ops.iter().map(|(endpoint, op)| op.toml(&id_of(*endpoint, "endless"))).collect();
    let mut gateway = open_to(&app, &pieces).start();
    let before = gateway.process().rss_kib();
    for (endpoint, _) in &ops {
        let id = id_of(*endpoint, "endless");
        let mut actor = visitor(&gateway, "ann");
        let landing = actor.sign_in_with(&id, "");
        refused(&gateway, &actor, &landing, &id);
    }
    let grown = gateway.process().rss_kib().saturating_sub(before);
    assert!(grown < 48 << 10, "{grown} KiB more");
}

#[test]
fn x19_x20_a_slow_provider_is_given_up_and_holds_nobody_else_up() {
    let app = Recorder::start();
    let minute = OpFault::Held(Duration::from_secs(60));
    let ops: Vec<(Endpoint, Op)> = ASKED
        .into_iter()
        .map(|endpoint| {
            let op = Op::start();
            op.claims_in(ClaimsIn::UserInfo);
            op.fault(endpoint, Some(minute.clone()));
            (endpoint, op)
        })
        .collect();
    let well = Op::start();
    let mut pieces: Vec<String> =
        ops.iter().map(|(endpoint, op)| op.toml(&id_of(*endpoint, "slow"))).collect();
    pieces.push(well.toml("well"));
    let gateway = open_to(&app, &pieces).start();
    std::thread::scope(|scope| {
        let slow: Vec<_> = ops
            .iter()
            .flat_map(|(endpoint, op)| (0..5).map(move |_| (*endpoint, op)))
            .map(|(endpoint, op)| {
                let gateway = &gateway;
                scope.spawn(move || {
                    let id = id_of(endpoint, "slow");
                    let mut actor = visitor(gateway, "ann");
                    let began = Instant::now();
                    let landing = actor.sign_in_with(&id, "");
                    let took = began.elapsed();
                    refused(gateway, &actor, &landing, &id);
                    assert!(took < ONE_ANSWER, "{id}: {took:?}");
                    assert!(op.hits(endpoint) >= 1, "{id}");
                })
            })
            .collect();
        until("the slow ones are asked", || {
            ops.iter().all(|(endpoint, op)| op.hits(*endpoint) >= 1).then_some(())
        });
        for nth in 0..5 {
            let began = Instant::now();
            let mut actor = visitor(&gateway, &format!("bob-{nth}"));
            let _ = let_in(&mut actor, "well", &format!("{WIKI}/"));
            let took = began.elapsed();
            assert!(took < Duration::from_secs(5), "a healthy provider waited: {took:?}");
        }
        let _ = Portal::of(&gateway).page("/login").expect(200);
        for one in slow {
            one.join().unwrap();
        }
    });
}

#[test]
fn x19_seed_004_02_a_provider_that_is_down_at_start_is_used_once_it_is_up() {
    let app = Recorder::start();
    let address = free_port();
    let well = Op::start();
    let issuer = format!("http://{address}");
    let down = format!(
        "[[provider]]\nid = \"late\"\nlabel = \"Late\"\nissuer = \"{issuer}\"\n\
         client_id = \"vestibule\"\nclient_secret = \"late-secret\"\n"
    );
    let gateway = open_to(&app, &[down, well.toml("well")]).user("ann", &[]).start();
    let portal = Portal::of(&gateway);
    assert_eq!(portal.config()["oauth_providers"].as_array().unwrap().len(), 2);
    let mut actor = visitor(&gateway, "bob");
    let landing = actor.sign_in_with("late", "");
    let reason = refused(&gateway, &actor, &landing, "down");
    assert!(!reason.is_empty());
    let page = portal.page("/login").expect(200).text();
    assert!(page.contains("Sign in with Late"), "004-02: the button is still there: {page}");
    assert!(page.contains("does not answer"), "X19: the page says so: {page}");
    // The others and passwords go on.
    let _ = let_in(&mut visitor(&gateway, "eve"), "well", "");
    let _ = gateway.as_user("ann");

    let op = Op::builder().at(address).client("vestibule", Some("late-secret")).start();
    let mut actor = visitor(&gateway, "bob");
    until_within(Duration::from_secs(45), "the provider is tried again", || {
        let landing = actor.sign_in_with("late", "");
        (landing.response.status == 200 && has_session(&actor)).then_some(())
    });
    assert_eq!(me(&mut actor)["email"], "bob@example.test");
    let page = portal.page("/login").expect(200).text();
    assert!(!page.contains("does not answer"), "X19: it is up: {page}");
    drop(op);
}

#[test]
fn x19_a_provider_that_went_down_is_not_asked_in_a_storm() {
    let app = Recorder::start();
    let op = Op::start();
    op.fault(Endpoint::Discovery, Some(OpFault::Down));
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let before = op.hits(Endpoint::Discovery);
    std::thread::scope(|scope| {
        for nth in 0..50 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut actor = visitor(gateway, &format!("p{nth}"));
                let landing = actor.sign_in_with("op", "");
                refused(gateway, &actor, &landing, "down");
            });
        }
    });
    let asked = op.hits(Endpoint::Discovery) - before;
    assert!(asked <= 5, "50 people made {asked} requests");
}

#[test]
fn x21_keys_that_change_between_authorise_and_token_are_fetched_once_more() {
    for rotation in [Rotation::NewKid, Rotation::SameKid] {
        let app = Recorder::start();
        let op = Op::start();
        let gateway = open_to(&app, &[op.toml("op")]).start();
        let _ = let_in(&mut visitor(&gateway, "ann"), "op", "");
        assert_eq!(op.hits(Endpoint::Jwks), 1);
        op.rotate_between(rotation);
        let _ = let_in(&mut visitor(&gateway, "bob"), "op", &format!("{WIKI}/"));
        assert_eq!(op.hits(Endpoint::Jwks), 2, "{rotation:?}");
        let _ = let_in(&mut visitor(&gateway, "eve"), "op", "");
        assert_eq!(op.hits(Endpoint::Jwks), 2, "{rotation:?}: the new ones are remembered");
    }
}

#[test]
fn x21_an_empty_or_invalid_set_does_not_replace_a_good_one() {
    for (what, fault) in [
        ("empty", None),
        ("a page", Some(OpFault::Html)),
        ("500", Some(OpFault::Status(500))),
        ("down", Some(OpFault::Down)),
    ] {
        let app = Recorder::start();
        let op = Op::start();
        let gateway = open_to(&app, &[op.toml("op")]).start();
        let _ = let_in(&mut visitor(&gateway, "ann"), "op", "");
        if fault.is_none() {
            op.rotate(Rotation::Empty);
        }
        op.fault(Endpoint::Jwks, fault);
        // A token of an unknown key makes the gateway look again.
        let stranger = vestibule_testkit::jose::Key::rsa(4, "stranger");
        let header = serde_json::json!({ "alg": "RS256", "kid": "stranger", "typ": "logout+jwt" });
        let claims = vestibule_testkit::jose::claims_of(&op.logout_token(Some("sub-of-ann"), None));
        let token = stranger.jwt_with(&header, &claims);
        let url = format!("{}/api/v1/auth/backchannel-logout/op", gateway.portal());
        let request = Request::new("POST", &url).form(&[("logout_token", &token)]);
        let _ = gateway.client().send(&request).expect(400);
        assert_eq!(op.hits(Endpoint::Jwks), 2, "{what}");
        let _ = let_in(&mut visitor(&gateway, "bob"), "op", "");
    }
}

#[test]
fn x21_a_key_that_was_taken_back_stops_working() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let op = Op::start();
    let gateway = clock.on(open_to(&app, &[op.toml("op")])).start();
    let _ = let_in(&mut visitor(&gateway, "ann"), "op", "");
    op.rotate(Rotation::Removed);
    // Whoever stole the old key signs on; an hour later nobody believes it.
    clock.set(3600);
    op.clock(3600);
    let mut actor = visitor(&gateway, "bob");
    let landing = actor.sign_in_with("op", "");
    refused(&gateway, &actor, &landing, "a key that is gone");
}

#[test]
fn x22_a_clock_ten_minutes_off_is_told_to_the_person_and_precisely_to_the_log() {
    let app = Recorder::start();
    let (ahead, behind) = (Op::mutated(Mutant::ClockAhead), Op::mutated(Mutant::ClockBehind));
    let gateway = open_to(&app, &[ahead.toml("ahead"), behind.toml("behind")]).start();
    let mut reasons = Vec::new();
    for provider in ["ahead", "behind"] {
        let mut actor = visitor(&gateway, "ann");
        let landing = actor.sign_in_with(provider, "");
        reasons.push(refused(&gateway, &actor, &landing, provider));
        let page = landing.response.text().to_lowercase();
        assert!(page.contains("clock"), "{provider}: what the person is told: {page}");
    }
    assert_ne!(reasons[0], reasons[1], "which way it is off");
    let off = gateway.logs().iter().filter(|line| line.contains("sign-in failed")).count();
    assert_eq!(off, 2);
}

#[test]
fn x22_a_jump_of_the_clock_makes_no_session_immortal() {
    let Some(clock) = Clock::start() else { return };
    let app = Recorder::start();
    let op = Op::start();
    clock.set(3600);
    op.clock(3600);
    let builder = open_to(&app, &[op.toml("op")]).toml("[auth.session]\nlifetime = \"1h\"");
    let gateway = clock.on(builder).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    // An hour back, and then on past what the session may live.
    clock.set(0);
    let _ = wiki_answer(&mut ann).expect(200);
    clock.set(3 * 3600);
    until("the session has ended", || (wiki_answer(&mut ann).status == 401).then_some(()));
}

#[test]
fn x20_l9_a_certificate_that_does_not_hold_is_a_refusal_and_nothing_is_said_to_it() {
    let app = Recorder::start();
    let trusted = Ca::shared();
    let other = Ca::new("an authority that nobody trusts");
    let cases = [
        ("good", trusted.leaf(&["127.0.0.1"]), true),
        ("wrong-name", trusted.leaf(&["id.example.test"]), false),
        ("expired", trusted.expired_leaf(&["127.0.0.1"]), false),
        ("wrong-authority", other.leaf(&["127.0.0.1"]), false),
    ];
    let stands: Vec<_> = cases
        .into_iter()
        .map(|(id, leaf, is_good)| {
            // Only to be reached; what it would say comes later.
            let server = Recorder::tls(leaf.server(&["http/1.1"]), |_| {
                vestibule_testkit::Answer::Full(404, Vec::new(), Vec::new())
            });
            (id, server, is_good)
        })
        .collect();
    let pieces: Vec<String> = stands
        .iter()
        .map(|(id, server, _)| {
            format!(
                "[[provider]]\nid = \"{id}\"\nissuer = \"https://{}\"\nclient_id = \"v\"\nclient_secret = \"s\"\n",
                server.address()
            )
        })
        .collect();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), trusted.pem()).unwrap();
    let builder = open_to(&app, &pieces).env("SSL_CERT_FILE", roots.path().to_str().unwrap());
    let gateway: Gateway = builder.start();
    for (id, server, is_good) in &stands {
        let mut actor = visitor(&gateway, "ann");
        let landing = actor.sign_in_with(id, "");
        refused(&gateway, &actor, &landing, id);
        assert_eq!(server.count() > 0, *is_good, "{id}: {} requests", server.count());
    }
}
