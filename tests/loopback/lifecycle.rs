//! Start, reload, end.

use vestibule_testkit::{Recorder, Route};

use crate::gateway;

#[test]
fn a_reload_decides_the_next_request_and_a_broken_file_changes_nothing() {
    let app = Recorder::start();
    let route = Route::new("wiki", "wiki.example.test").upstream(app.url());
    let mut gateway = gateway().route(route.clone().access("deny")).start();
    let _ = gateway.anonymous().get("/").expect(403);
    assert!(gateway.reload_routes(&[route.clone().access("public")]));
    let _ = gateway.anonymous().get("/").expect(200);
    assert!(!gateway.reload_routes(&[route.access("no-such-policy")]));
    let _ = gateway.anonymous().get("/").expect(200);
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(0.0));
}

#[test]
fn an_acknowledged_account_survives_sigkill() {
    let app = Recorder::start();
    let mut gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    gateway.kill();
    gateway.restart();
    let _ = gateway.as_user("ann").get("/").expect(200);
}

#[test]
fn sigterm_ends_the_server_with_code_0() {
    let mut gateway =
        gateway().route(Route::new("wiki", "wiki.example.test").access("deny")).start();
    assert_eq!(gateway.terminate(), 0);
}
