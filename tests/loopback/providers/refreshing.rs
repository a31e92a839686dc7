//! What the provider says after the sign-in: groups that change, a refusal, another `sub`, and
//! a provider that cannot be asked.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use vestibule_testkit::provider::{Endpoint, Mutant, Op, Outcome, Person};
use vestibule_testkit::{Actor, Door, GatewayBuilder, Recorder, Route, until, until_within};

use super::{WIKI, has_session, let_in, me, open_to, visitor, wiki_answer};
use crate::gateway;

/// Within this much a change at the provider is in force, once a request came: ten seconds, and
/// room for a slow machine.
const IN_FORCE: Duration = Duration::from_secs(15);

fn editors(app: &Recorder, op: &Op) -> GatewayBuilder {
    gateway().toml("[auth]\napproval = false").toml(&op.toml("op")).route(
        Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in").rule(
            &["/edit", "/edit/*"],
            &[],
            "{ groups = [\"editors\"] }",
        ),
    )
}

/// Access tokens live a second from now on, so that the next request after it asks anew.
fn short_lived(op: &Op) {
    op.access_lifetime(1);
}

fn past_its_second() {
    let end = Instant::now() + Duration::from_millis(1_200);
    until("a second has passed", || (Instant::now() >= end).then_some(()));
}

#[test]
fn f4_seed_004_66_seed_004_67_groups_of_the_provider_open_and_close_within_the_refresh() {
    let app = Recorder::start();
    let op = Op::start();
    op.person(Person::new("ann").groups(&["editors", "staff"]));
    op.person(Person::new("bob"));
    short_lived(&op);
    let gateway = editors(&app, &op).start();
    let (mut ann, mut bob) = (visitor(&gateway, "ann"), visitor(&gateway, "bob"));
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/edit"));
    let _ = let_in(&mut bob, "op", &format!("{WIKI}/"));
    let edit = format!("{WIKI}/edit");
    assert_eq!(ann.get(&edit).status, 200, "004-66: in the group");
    assert_eq!(bob.get(&edit).status, 403, "004-66: not in it");
    assert_eq!(me(&mut ann)["groups"], serde_json::json!(["editors", "staff"]));

    op.person(Person::new("ann").groups(&["staff"]));
    op.person(Person::new("bob").groups(&["editors"]));
    past_its_second();
    let ended = until_within(IN_FORCE, "004-67: the group is gone", || {
        let answer = ann.get(&edit);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(ended.status, 403, "{ended:?}");
    for door in Door::ALL {
        assert_eq!(ann.ask(door, "GET", &edit).status, 403, "004-67: {door:?}");
    }
    until_within(IN_FORCE, "004-67: the other way round", || {
        (bob.get(&edit).status == 200).then_some(())
    });
    assert_eq!(wiki_answer(&mut ann).status, 200, "the session goes on");
    // Under nobody's groups at all.
    op.person(Person::new("ann"));
    past_its_second();
    until_within(IN_FORCE, "no group is left", || {
        let _ = wiki_answer(&mut ann);
        (me(&mut ann)["groups"] == serde_json::json!([])).then_some(())
    });
}

#[test]
fn f3_f4_each_refresh_goes_on_or_ends_the_session_as_the_provider_says() {
    let app = Recorder::start();
    let stands: Vec<(Mutant, Op)> = Mutant::at_refresh()
        .map(|mutant| {
            let op = Op::mutated(mutant);
            short_lived(&op);
            (mutant, op)
        })
        .collect();
    assert!(stands.len() >= 10);
    let pieces: Vec<String> = stands.iter().map(|(mutant, op)| op.toml(mutant.name())).collect();
    let gateway = open_to(&app, &pieces).start();
    let mut people: Vec<Actor> = stands
        .iter()
        .map(|(mutant, _)| {
            let mut actor = visitor(&gateway, &format!("{}-ann", mutant.name()));
            let _ = let_in(&mut actor, mutant.name(), &format!("{WIKI}/"));
            actor
        })
        .collect();
    past_its_second();
    let mut failed = Vec::new();
    for ((mutant, op), actor) in stands.iter().zip(&mut people) {
        let name = mutant.name();
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            if mutant.outcome() == Outcome::Refused {
                until_within(IN_FORCE, &format!("{name}: the session ends"), || {
                    (wiki_answer(actor).status == 401).then_some(())
                });
                let refused = actor.api("GET", "/me", None);
                assert_eq!(refused.status, 401, "{name}: the portal too");
                for door in Door::ALL {
                    let answer = actor.ask(door, "GET", &format!("{WIKI}/"));
                    assert_eq!(answer.status, 401, "{name}: {door:?}");
                }
                assert!(op.refreshes() >= 1, "{name}");
                return;
            }
            until_within(IN_FORCE, &format!("{name}: a refresh"), || {
                assert_eq!(wiki_answer(actor).status, 200, "{name}");
                (op.refreshes() >= 1 || op.hits(Endpoint::Token) >= 2).then_some(())
            });
            past_its_second();
            for _ in 0..20 {
                assert_eq!(wiki_answer(actor).status, 200, "{name}: the session goes on");
            }
        }));
        if let Err(panic) = tried {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            failed
                .push(format!("{name}: {}", text.lines().take(3).collect::<Vec<_>>().join(" | ")));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), stands.len(), failed.join("\n"));
}

#[test]
fn f4_a_session_refreshes_once_however_many_requests_come() {
    let app = Recorder::start();
    let op = Op::start();
    short_lived(&op);
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut ann = visitor(&gateway, "ann");
    let _ = let_in(&mut ann, "op", &format!("{WIKI}/"));
    op.access_lifetime(3600);
    op.delays(Duration::from_millis(200));
    past_its_second();
    let barrier = Barrier::new(60);
    std::thread::scope(|scope| {
        for _ in 0..60 {
            let (mut ann, barrier) = (ann.clone(), &barrier);
            scope.spawn(move || {
                barrier.wait();
                let answer = ann.get(&format!("{WIKI}/"));
                assert_eq!(answer.status, 200, "a request waits for no refresh: {answer:?}");
            });
        }
    });
    until("the refresh", || (op.refreshes() >= 1).then_some(()));
    for _ in 0..30 {
        let _ = wiki_answer(&mut ann).expect(200);
    }
    assert_eq!(op.refreshes(), 1, "one flight");
    assert!(op.exchanged().iter().all(|one| one.error.is_none()), "no token was shown twice");
}

#[test]
fn x19_a_provider_that_is_down_at_a_refresh_ends_nobody_and_is_not_stormed() {
    let app = Recorder::start();
    let op = Op::start();
    short_lived(&op);
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut people: Vec<Actor> = (0..10)
        .map(|nth| {
            let mut actor = visitor(&gateway, &format!("p{nth}"));
            let _ = let_in(&mut actor, "op", &format!("{WIKI}/"));
            actor
        })
        .collect();
    past_its_second();
    op.fault(Endpoint::Token, Some(vestibule_testkit::provider::OpFault::Down));
    let before = op.hits(Endpoint::Token);
    let end = Instant::now() + Duration::from_secs(3);
    let mut requests = 0;
    while Instant::now() < end {
        for actor in &mut people {
            assert_eq!(wiki_answer(actor).status, 200, "X19: sessions live on");
            requests += 1;
        }
    }
    let asked = op.hits(Endpoint::Token) - before;
    assert!(asked <= 40, "{requests} requests of ten sessions made {asked} refreshes");
    // Once it is up again, a refusal is heard.
    op.fault(Endpoint::Token, None);
    op.refuse_refresh("p0");
    until_within(Duration::from_secs(75), "the provider is asked again", || {
        (wiki_answer(&mut people[0]).status == 401).then_some(())
    });
    assert_eq!(wiki_answer(&mut people[1]).status, 200);
}

#[test]
fn f3_a_session_of_a_provider_ends_with_the_account_and_with_the_link() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    for (name, end) in [
        ("ann", ["user", "disable"]),
        ("bob", ["user", "reject"]),
        ("eve", ["user", "sign-out"]),
        ("joe", ["user", "delete"]),
    ] {
        let mut actor = visitor(&gateway, name);
        let _ = let_in(&mut actor, "op", &format!("{WIKI}/"));
        let email = format!("{name}@example.test");
        let _ = gateway.cli(&[end[0], end[1], &email]).expect(0);
        until_within(Duration::from_secs(5), &format!("{} {name}", end[1]), || {
            matches!(wiki_answer(&mut actor).status, 401 | 403).then_some(())
        });
        for door in Door::ALL {
            let status = actor.ask(door, "GET", &format!("{WIKI}/")).status;
            assert!(matches!(status, 401 | 403), "{}: {door:?}: {status}", end[1]);
        }
    }
    // Who is disabled or rejected does not come in again; who was signed out does.
    let again = visitor(&gateway, "ann").sign_in_with("op", "");
    assert_eq!(
        (again.response.status, again.response.code().as_deref()),
        (403, Some("ACCOUNT_DISABLED"))
    );
    let mut bob = visitor(&gateway, "bob");
    let again = bob.sign_in_with("op", &format!("{WIKI}/"));
    assert!(again.url.contains("/rejected"), "seed_001_48: {:?}", again.visited);
    assert_ne!(wiki_answer(&mut bob).status, 200);
    let mut eve = visitor(&gateway, "eve");
    let _ = let_in(&mut eve, "op", &format!("{WIKI}/"));
    // A deleted account's identity makes a new one: ids are not reused.
    let mut joe = visitor(&gateway, "joe");
    let _ = let_in(&mut joe, "op", "");
    assert!(has_session(&joe));
}
