//! Reload and the end of the server, while requests are under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use vestibule_testkit::frames::{self, Link, Outcome};
use vestibule_testkit::{Client, Recorder, Request, Route, Script, Signal, until, ws};

use super::{APP, SOON, URL, gateway, in_front_of, public};

/// An app that answers when told; the head of its answer and half the body go at once.
fn when_told() -> (Script, mpsc::Sender<()>) {
    let (tell, told) = mpsc::channel();
    let told = Mutex::new(told);
    let app = Script::start(move |scene| {
        while scene.head().is_some() {
            scene.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
            let _ = told.lock().unwrap().recv_timeout(SOON);
            scene.send(b"half");
        }
    });
    (app, tell)
}

#[test]
fn x35_sigterm_lets_requests_finish_and_takes_no_new_ones() {
    let (app, tell) = when_told();
    let mut gateway = in_front_of(app.url());
    let mut idle = gateway.client().connect(APP);
    let client = gateway.client();
    let mut under_way = client.connect(APP);
    under_way.send(&Request::get(URL).bytes());
    let head = under_way.read_head().unwrap();
    assert_eq!(head.status, 200);
    let mut h2 = Link::open(gateway.plain());
    h2.send(&frames::headers(1, &frames::request("GET", APP, "/"), true));
    assert_eq!(h2.outcome(1), Outcome::Status(200));
    gateway.process().signal(Signal::TERM);
    assert!(idle.closes_within(SOON), "an idle connection stays");
    assert_eq!(h2.goaway(), Some(0), "no GOAWAY");
    until("no new connection is taken", || client.try_connect(APP).is_err().then_some(()));
    assert!(gateway.process().exited().is_none(), "it left requests behind");
    let fit = Request::get(&format!("http://{}/readyz", gateway.telemetry()));
    let _ = Client::plain(gateway.telemetry()).send(&fit).expect(503);
    tell.send(()).unwrap();
    tell.send(()).unwrap();
    assert_eq!(under_way.read_exact(8).unwrap(), b"halfhalf");
    assert_eq!(h2.body(1).as_deref(), Some(&b"halfhalf"[..]));
    assert_eq!(gateway.process().wait().code(), Some(0));
}

#[test]
fn x35_sigterm_under_load_fails_no_request_that_was_taken() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let (client, stop) = (gateway.client(), Arc::new(AtomicBool::new(false)));
    let (whole, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            let (whole, broken) = (Arc::clone(&whole), Arc::clone(&broken));
            std::thread::spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let Ok(mut conn) = client.try_connect(APP) else { return };
                    loop {
                        if conn.write_all(&Request::get(URL).bytes()).is_err() {
                            break;
                        }
                        match conn.read_response("GET") {
                            Ok(answer) if answer.status == 200 => {
                                whole.fetch_add(1, Ordering::SeqCst);
                                if answer.header("connection") == Some("close") {
                                    break;
                                }
                            }
                            // Closed between two requests: no byte of an answer.
                            Err(_) if conn.buffered.is_empty() => break,
                            other => {
                                broken.lock().unwrap().push(format!("{other:?}"));
                                return;
                            }
                        }
                    }
                }
            })
        })
        .collect();
    until("some load", || (whole.load(Ordering::SeqCst) > 100).then_some(()));
    gateway.process().signal(Signal::TERM);
    assert_eq!(gateway.process().wait().code(), Some(0));
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(broken.lock().unwrap().is_empty(), "{:?}", broken.lock().unwrap());
}

#[test]
fn x35_open_sockets_end_and_do_not_hold_up_the_end() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let mut socket =
        ws::open(&gateway.client(), &Request::get("https://app.example.test/ws")).unwrap();
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    gateway.process().signal(Signal::TERM);
    assert!(socket.conn.closes_within(SOON));
    let ended = vestibule_testkit::until_within(SOON, "the end", || gateway.process().exited());
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn x35_a_second_sigterm_does_not_wait() {
    let (app, _tell) = when_told();
    let mut gateway = in_front_of(app.url());
    let mut under_way = gateway.client().connect(APP);
    under_way.send(&Request::get(URL).bytes());
    let _ = under_way.read_head().unwrap();
    gateway.process().signal(Signal::TERM);
    let client = gateway.client();
    until("it drains", || client.try_connect(APP).is_err().then_some(()));
    assert!(gateway.process().exited().is_none());
    gateway.process().signal(Signal::TERM);
    let _ = vestibule_testkit::until_within(Duration::from_secs(3), "the end", || {
        gateway.process().exited()
    });
}

#[test]
fn x24_reloads_under_load_drop_nothing_and_every_request_is_under_one_file() {
    let app = Recorder::start();
    let route = |n: usize| {
        public(app.url())
            .set("response_headers", &format!("{{ set = {{ X-A = \"{n}\", X-B = \"{n}\" }} }}"))
    };
    let mut gateway = gateway().route(route(0)).start();
    let (client, stop) = (gateway.client(), Arc::new(AtomicBool::new(false)));
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut conn = client.connect(APP);
                let mut latest = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = conn.exchange(&Request::get(URL)).expect(200);
                    let n = |name: &str| -> usize { answer.header(name).unwrap().parse().unwrap() };
                    assert_eq!(n("x-a"), n("x-b"), "half of one file, half of another");
                    assert!(n("x-a") >= latest, "an older file came back");
                    latest = n("x-a");
                }
                latest
            })
        })
        .collect();
    for n in 1..=20 {
        assert!(gateway.reload_routes(&[route(n)]));
    }
    until("the last file holds", || {
        let answer = gateway.client().send(&Request::get(URL));
        (answer.header("x-a") == Some("20")).then_some(())
    });
    stop.store(true, Ordering::SeqCst);
    for worker in workers {
        assert!(worker.join().unwrap() <= 20);
    }
}

#[test]
fn x24_a_reload_lets_a_request_under_way_finish() {
    let (app, tell) = when_told();
    let mut gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get(URL).bytes());
    let _ = conn.read_head().unwrap();
    assert!(gateway.reload_routes(&[Route::new("app", APP).access("deny")]));
    tell.send(()).unwrap();
    assert_eq!(conn.read_exact(8).unwrap(), b"halfhalf");
    // The next request on the same connection is under the new file.
    assert!(matches!(conn.exchange(&Request::get(URL)).status, 403 | 404));
}

#[test]
fn x24_a_broken_file_keeps_the_old_one_and_a_good_one_is_taken_again() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let file = gateway.prepared().file();
    let good = std::fs::read_to_string(&file).unwrap();
    let half = good.get(..good.len() / 2).unwrap();
    for broken in [half, "", "[[route]]\nname = 1", "[server]\nportal_ulr = \"x\""] {
        gateway.prepared().rewrite(broken);
        assert!(!gateway.hang_up(), "{broken:?} was taken");
        super::assert_serves(&gateway);
    }
    std::fs::remove_file(&file).unwrap();
    assert!(!gateway.hang_up(), "a missing file was taken");
    super::assert_serves(&gateway);
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(0.0));
    gateway.prepared().rewrite(&good);
    assert!(gateway.hang_up());
    assert_eq!(gateway.metric("vestibule_config_last_reload_success"), Some(1.0));
}
