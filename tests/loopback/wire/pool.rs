//! Connections to an app: kept, shared, given up, and never a request twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use vestibule_testkit::{Recorder, Request, Route, Script, until};

use super::{APP, URL, assert_serves, gateway, in_front_of, public};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An app that answers one request per connection and closes when it sees a second one,
/// without having said so.
fn one_each() -> Script {
    Script::start(|scene| {
        if scene.head().is_some() {
            scene.send(OK);
            let _ = scene.head();
        }
    })
}

#[test]
fn x5_a_get_on_a_connection_that_dies_is_sent_again_unseen() {
    let app = one_each();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for number in 0..50 {
        let method = if number % 5 == 4 { "HEAD" } else { "GET" };
        let _ = conn.exchange(&Request::new(method, URL)).expect(200);
    }
    assert_eq!(app.connections(), 50);
}

#[test]
fn x5_a_request_with_an_effect_is_never_sent_twice() {
    let app = one_each();
    let gateway = in_front_of(app.url());
    for (number, method) in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"].into_iter().enumerate() {
        let _ = gateway.client().send(&Request::get(URL)).expect(200);
        let url = format!("{URL}effect-{number}");
        let request = Request::new(method, &url);
        let request = if number % 2 == 0 { request.body("x") } else { request };
        let answer = gateway.client().send(&request);
        // 502 where it went out on a dying connection, 200 where a new one was taken.
        assert!(matches!(answer.status, 200 | 502), "{answer:?}");
        assert_eq!(app.heard(&format!("/effect-{number} ")), 1, "{method} was sent twice");
    }
}

#[test]
fn x5_a_get_with_a_body_is_never_sent_twice() {
    let app = one_each();
    let gateway = in_front_of(app.url());
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
    let _ = gateway.client().send(&Request::get(&format!("{URL}with-body")).body("x"));
    assert_eq!(app.heard("/with-body "), 1);
}

#[test]
fn x5_a_get_is_not_sent_again_once_an_answer_has_begun() {
    let app = Script::start(|scene| {
        if scene.head().is_some() {
            scene.send(OK);
            if scene.head().is_some() {
                scene.send(b"HTTP/1.1 200 OK\r\nContent-");
            }
        }
    });
    let gateway = in_front_of(app.url());
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
    let answer = gateway.client().send(&Request::get(&format!("{URL}begun"))).expect(502);
    assert_eq!(answer.code().as_deref(), Some("UPSTREAM_UNREACHABLE"));
    assert_eq!(app.heard("/begun "), 1);
}

#[test]
fn x5_a_get_on_a_fresh_connection_is_not_sent_again() {
    let app = Script::start(|scene| {
        let _ = scene.head();
    });
    let gateway = in_front_of(app.url());
    let _ = gateway.client().send(&Request::get(URL)).expect(502);
    assert_eq!(app.connections(), 1);
}

#[test]
fn a_connection_is_kept_and_shared_between_clients() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for _ in 0..20 {
        let _ = gateway.client().send(&Request::get(URL)).expect(200);
    }
    assert_eq!((app.count(), app.connections()), (20, 1));
}

#[test]
fn an_app_that_says_close_is_believed() {
    let app = Script::start(|scene| {
        while scene.head().is_some() {
            scene.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for _ in 0..5 {
        let answer = conn.exchange(&Request::get(URL)).expect(200);
        assert_ne!(answer.header("connection"), Some("close"), "it meant its own connection");
    }
    assert_eq!(app.connections(), 5);
}

#[test]
fn x6_requests_that_hang_on_one_app_do_not_touch_another_and_end_with_their_clients() {
    let open = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&open);
    let stuck = Script::start(move |scene| {
        if scene.head().is_some() {
            count.fetch_add(1, Ordering::SeqCst);
            scene.until_closed();
            count.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let app = Recorder::start();
    let gateway = gateway()
        .route(public(app.url()))
        .route(Route::new("stuck", "stuck.example.test").upstream(stuck.url()).access("public"))
        .start();
    let mut clients: Vec<_> = (0..300).map(|_| gateway.client().connect(APP)).collect();
    for conn in &mut clients {
        conn.send(&Request::get("https://stuck.example.test/").bytes());
    }
    until("all hang", || (open.load(Ordering::SeqCst) == 300).then_some(()));
    assert_serves(&gateway);
    drop(clients);
    until("their connections to the app end", || (open.load(Ordering::SeqCst) == 0).then_some(()));
}

#[test]
fn x5_an_http_2_app_that_goes_away_between_requests_is_met_again() {
    use vestibule_testkit::frames;
    for goaway in [Some([0, 0, 0, 1, 0, 0, 0, 0]), None] {
        let app = Script::start(move |scene| {
            let frame = |scene: &mut vestibule_testkit::Scene| {
                let head = scene.exactly(9)?;
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                scene.exactly(length as usize)?;
                Some(head[3])
            };
            if scene.exactly(frames::PREFACE.len()).is_none() {
                return;
            }
            scene.send(&frames::settings(&[]));
            while let Some(kind) = frame(scene) {
                if kind == frames::HEADERS {
                    let ok = frames::fields(&[(":status", "200")]);
                    scene.send(&frames::headers(1, &ok, true));
                    if let Some(goaway) = goaway {
                        scene.send(&frames::frame(frames::GOAWAY, 0, 0, &goaway));
                    }
                    return;
                }
            }
        });
        let gateway = in_front_of(format!("h2c://{}", app.address()));
        let mut conn = gateway.client().connect(APP);
        for _ in 0..20 {
            let _ = conn.exchange(&Request::get(URL)).expect(200);
        }
        assert_eq!(app.connections(), 20);
    }
}
