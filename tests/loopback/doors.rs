//! Both doors ask one engine: what is shown at one is shown at every one.

use vestibule_testkit::{Door, MANAGED, Recorder, Request, Route};

use crate::gateway;

#[test]
fn d5_a_denied_request_never_reaches_the_upstream() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .start();
    for (accept, status) in [("*/*", 401), ("text/html", 302)] {
        let request = Request::get("https://wiki.example.test/a?b=1").header("Accept", accept);
        let answer = gateway.anonymous().send(request).expect(status);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.code().as_deref(), Some("UNAUTHENTICATED"));
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn b1_b9_a_signed_in_person_is_told_to_the_app_and_no_credential_of_ours_is() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &["staff"])
        .start();
    let mut ann = gateway.as_user("ann");
    let mut request = Request::get("https://wiki.example.test/a").header("Cookie", "theme=dark");
    for name in MANAGED {
        for spelled in [(*name).to_owned(), name.replace('-', "_"), name.to_uppercase()] {
            request = request.header(&spelled, "forged");
        }
    }
    ann.enter("https://wiki.example.test/a");
    let _ = ann.ask_with(Door::Proxy, request).expect(200);
    let seen = app.last();
    assert_eq!(seen.all("remote-user").collect::<Vec<_>>(), ["ann"]);
    assert_eq!(seen.header("remote-groups"), Some("staff"));
    assert!(!seen.holds("forged"), "{:?}", seen.headers);
    for cookie in ann.jar() {
        assert!(!seen.holds(&cookie.value), "{} reached the app", cookie.name);
    }
}

#[test]
fn the_doors_agree_on_who_is_let_in() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", "wiki.example.test")
                .upstream(app.url())
                .access("{ groups = [\"staff\"] }")
                .rule(&["/open"], &["GET"], "public"),
        )
        .user("ann", &["staff"])
        .user("bob", &[])
        .start();
    let (mut ann, mut bob) = (gateway.as_user("ann"), gateway.as_user("bob"));
    let mut nobody = gateway.anonymous();
    ann.enter("https://wiki.example.test/");
    bob.enter("https://wiki.example.test/");
    for door in Door::ALL {
        let _ = ann.ask(door, "GET", "/x").expect(200);
        let _ = bob.ask(door, "GET", "/x").expect(403);
        let _ = nobody.ask(door, "GET", "/x").expect(401);
        let _ = nobody.ask(door, "GET", "/open").expect(200);
    }
}
