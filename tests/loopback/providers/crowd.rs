//! Many at once: nobody is taken for somebody else, and what serves once serves once.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::Duration;

use vestibule_testkit::provider::{Endpoint, Op, Person};
use vestibule_testkit::{Actor, Recorder};

use super::{AUTH, WIKI, addresses, has_session, let_in, me, open_to, sets_session, visitor};

/// People of a round, and rounds.
const CROWD: usize = 200;
const ROUNDS: usize = 5;

#[test]
fn g5_two_hundred_people_at_once_are_each_themselves() {
    let app = Recorder::start();
    let op = Op::start();
    // Each has a sub and a group of their own; the provider takes its time with each answer.
    for nth in 0..CROWD {
        let name = format!("person-{nth}");
        op.person(Person::new(&name).groups(&[&format!("group-of-{name}")]));
    }
    op.delays(Duration::from_millis(120));
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let mut tokens = BTreeSet::new();
    for round in 0..ROUNDS {
        let barrier = Barrier::new(CROWD);
        let sessions: Vec<(String, String)> = std::thread::scope(|scope| {
            let people: Vec<_> = (0..CROWD)
                .map(|nth| {
                    let (gateway, barrier) = (&gateway, &barrier);
                    let person = move || {
                        let name = format!("person-{nth}");
                        let mut actor = visitor(gateway, &name);
                        barrier.wait();
                        let path = format!("{WIKI}/of/{name}");
                        let landing = let_in(&mut actor, "op", &path);
                        assert_eq!(landing.url, path, "round {round}: another's way back");
                        let shown = me(&mut actor);
                        assert_eq!(shown["email"], format!("{name}@example.test"), "round {round}");
                        assert_eq!(
                            shown["groups"],
                            serde_json::json!([format!("group-of-{name}")])
                        );
                        // What the app was told, as it echoes it.
                        let echo = landing.response.json().to_string();
                        assert!(echo.contains(&format!("{name}@example.test")), "{echo}");
                        (name, actor.session_cookie(AUTH).unwrap().value)
                    };
                    std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, person)
                })
                .collect();
            people.into_iter().map(|person| person.unwrap().join().unwrap()).collect()
        });
        for (name, token) in sessions {
            assert!(tokens.insert(token), "round {round}: {name} has another's session");
        }
    }
    for seen in app.requests() {
        let name = seen.target.strip_prefix("/of/").unwrap_or_else(|| panic!("{}", seen.target));
        assert_eq!(seen.header("remote-user"), Some(name));
    }
    assert_eq!(app.count(), CROWD * ROUNDS);
    assert_eq!(addresses(&gateway).len(), CROWD, "one account each, whatever the round");
    let verifiers: BTreeSet<String> = op
        .exchanged()
        .iter()
        .map(|one| one.get("code_verifier").expect("PKCE").to_owned())
        .collect();
    assert_eq!(verifiers.len(), CROWD * ROUNDS, "a verifier serves once");
    assert!(op.hits(Endpoint::Discovery) <= 2, "at start and at the first sign-in at most");
    assert_eq!(op.hits(Endpoint::Jwks), 1, "so are the keys");
}

#[test]
fn g14_of_a_hundred_redemptions_of_one_callback_one_succeeds() {
    let app = Recorder::start();
    let op = Op::start();
    op.delays(Duration::from_millis(50));
    let gateway = open_to(&app, &[op.toml("op")]).start();
    for round in 0..3 {
        let mut actor = visitor(&gateway, "ann");
        let callback = actor.callback_of("op", "");
        let before = op.exchanged().len();
        let barrier = Barrier::new(100);
        let sessions: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..100)
                .map(|_| {
                    let (mut actor, barrier, callback) = (actor.clone(), &barrier, &callback);
                    scope.spawn(move || {
                        barrier.wait();
                        let answer = actor.visit(callback);
                        assert!(matches!(answer.status, 302 | 303 | 401), "{answer:?}");
                        let is_set = answer.all("set-cookie").any(sets_session);
                        assert_eq!(is_set, answer.status != 401, "{answer:?}");
                        assert_eq!(is_set, has_session(&actor));
                        usize::from(is_set)
                    })
                })
                .collect();
            tries.into_iter().map(|one| one.join().unwrap()).sum()
        });
        assert_eq!(sessions, 1, "round {round}");
        assert_eq!(op.exchanged().len() - before, 1, "round {round}: the code was shown once");
    }
}

#[test]
fn g8_first_sign_ins_of_one_person_at_once_make_one_account() {
    let app = Recorder::start();
    let op = Op::start();
    let gateway = open_to(&app, &[op.toml("op")]).start();
    let barrier = Barrier::new(20);
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..20)
            .map(|_| {
                let (mut actor, barrier): (Actor, _) = (visitor(&gateway, "ann"), &barrier);
                scope.spawn(move || {
                    let callback = actor.callback_of("op", "");
                    barrier.wait();
                    let landing = actor.travel(&callback);
                    assert_eq!(landing.response.status, 200, "{:?}", landing.response);
                    me(&mut actor)["id"].as_str().unwrap().to_owned()
                })
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(addresses(&gateway), ["ann@example.test"]);
}
