//! What a request carries, and when it stops to count.

use serde_json::json;
use vestibule_testkit::{Door, Recorder, Route};

use crate::gateway;

#[test]
fn f2_a_session_that_was_ended_is_refused_at_every_door() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    let _ = ann.get("/").expect(200);
    let mut replayed = ann.clone();
    let _ = ann.sign_out();
    for door in Door::ALL {
        let _ = replayed.ask(door, "GET", "/").expect(401);
    }
    let _ = replayed.api("GET", "/me", None).expect(401);
    assert_eq!(app.count(), 1);
}

#[test]
fn b9_an_api_key_opens_the_app_and_does_not_reach_it() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let (_, key) = gateway.as_user("ann").create_key(&json!({ "name": "script" }));
    let _ = gateway.with_key(&key).get("/").expect(200);
    let _ = gateway.with_bearer(&key).get("/").expect(200);
    for seen in app.requests() {
        assert_eq!(seen.header("remote-user"), Some("ann"));
        assert!(!seen.holds(&key));
    }
    let mut forged = key;
    forged.pop();
    forged.push('0');
    let answer = gateway.with_key(&forged).get("/").expect(401);
    assert_eq!(answer.code().as_deref(), Some("INVALID_CREDENTIAL"));
}
