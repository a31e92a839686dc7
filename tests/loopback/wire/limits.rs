//! Heads, targets and bodies that are too large, and clients that are too slow.

use std::time::{Duration, Instant};

use vestibule_testkit::{Gateway, Recorder, Request, Route, Script, h2, until};

use super::{
    APP, SOON, URL, assert_refused, assert_serves, gateway, heard, in_front_of, public, rss_mib,
    say,
};

/// A gateway whose heads must come within a second.
fn impatient(app: &Recorder) -> Gateway {
    gateway().toml("[server]\nheader_timeout = \"1s\"").route(public(app.url())).start()
}

#[test]
fn x29_a_head_that_is_too_large_is_431_and_closed_and_the_app_hears_nothing() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let get = |fields: &str| format!("GET /g HTTP/1.1\r\nHost: {APP}\r\n{fields}\r\n");
    let cookies: String = (0..100).map(|n| format!("Cookie: c{n}=1\r\n")).collect();
    let fields: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    for (what, message) in [
        ("a field of 64 KiB", get(&format!("X: {}\r\n", "y".repeat(64 * 1024)))),
        ("a field of 33 KiB", get(&format!("X: {}\r\n", "y".repeat(33 * 1024)))),
        ("a name of 64 KiB", get(&format!("{}: y\r\n", "x".repeat(64 * 1024)))),
        ("a cookie of 64 KiB", get(&format!("Cookie: a={}\r\n", "y".repeat(64 * 1024)))),
        ("1000 fields", get(&fields)),
        ("100 cookie fields and Host", get(&cookies)),
        ("40 fields of 1 KiB", get(&format!("X: {}\r\n", "y".repeat(1000)).repeat(40))),
        ("1 MiB", get(&format!("X: {}\r\n", "y".repeat(1 << 20)))),
    ] {
        let said = say(&gateway.client(), &message);
        assert!(said.closed && said.statuses == [431], "{what}: {said:?}");
    }
    assert_eq!(app.connections(), 0);
    assert_serves(&gateway);
    let fields: String = (0..90).map(|n| format!("X-{n}: y\r\n")).collect();
    let said = say(&gateway.client(), get(&format!("Connection: close\r\n{fields}")));
    assert_eq!(said.statuses, [200], "{said:?}");
}

#[test]
fn x29_a_target_that_is_too_long_is_414_or_431_and_closed() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for size in [64 * 1024, 70_000, 1 << 20] {
        let message = format!("GET /{} HTTP/1.1\r\nHost: {APP}\r\n\r\n", "a".repeat(size));
        assert_refused(&gateway.client(), message, &[414, 431]);
    }
    assert_eq!(app.connections(), 0);
    let long = format!("{URL}?{}", "q=1&".repeat(5000));
    let _ = gateway.client().send(&Request::get(&long)).expect(200);
    assert_eq!(app.last().target.len(), 2 + 20_000);
}

#[test]
fn x29_a_body_over_the_limit_is_413_before_the_app_hears_of_it() {
    let app = Recorder::start();
    let gateway = gateway().route(public(app.url()).set("max_body", "64KiB")).start();
    let told = Request::new("POST", URL).body(vec![b'x'; 64 * 1024 + 1]);
    let answer = gateway.client().send(&told).expect(413);
    assert_eq!(answer.code().as_deref(), Some("BODY_TOO_LARGE"));
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 10737418240\r\n\r\n")
            .as_bytes(),
    );
    let _ = conn.read_response("POST").unwrap().expect(413);
    assert!(conn.closes_within(SOON));
    assert_eq!(h2::plain(gateway.plain(), std::slice::from_ref(&told))[0].status, 413);
    assert_eq!(app.connections(), 0);
    let exact = Request::new("POST", URL).body(vec![b'x'; 64 * 1024]);
    assert_eq!(gateway.client().send(&exact).expect(200).json()["body_length"], 64 * 1024);
}

#[test]
fn x29_a_chunked_body_over_the_limit_is_413_and_never_whole_at_the_app() {
    let app = Recorder::start();
    let gateway = gateway().route(public(app.url()).set("max_body", "64KiB")).start();
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\n").as_bytes(),
    );
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        let _ = conn.write_all(chunk.as_bytes());
    }
    let answer = conn.read_response("POST").unwrap().expect(413);
    assert_eq!(answer.code().as_deref(), Some("BODY_TOO_LARGE"));
    assert!(conn.closes_within(SOON));
    assert!(app.requests().iter().all(|request| !request.complete));
    // The connection to the app, on which half a request lies, is given up.
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
    let last = app.last();
    assert!(
        app.requests().iter().rev().skip(1).all(|request| request.connection != last.connection)
    );
}

#[test]
fn x30_a_client_that_sends_all_before_it_listens_still_hears_its_denial() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(public(app.url()).set("max_body", "64KiB"))
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .start();
    for (host, status) in [(APP, 413), ("wiki.example.test", 401)] {
        for size in [100 * 1024, 4 << 20] {
            let request = Request::new("POST", &format!("https://{host}/")).body(vec![0; size]);
            let answer = gateway.client().try_send(&request);
            let answer = answer.unwrap_or_else(|error| panic!("{host} {size}: {error}"));
            assert_eq!(answer.status, status, "{host} {size}");
        }
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn x30_a_compressed_body_passes_as_it_is() {
    let app = Recorder::start();
    let gateway = gateway().route(public(app.url()).set("max_body", "64KiB")).start();
    let request =
        Request::new("POST", URL).header("Content-Encoding", "gzip").body([0x1f, 0x8b, 8, 0]);
    let _ = gateway.client().send(&request).expect(200);
    assert_eq!(app.last().body, [0x1f, 0x8b, 8, 0]);
    assert_eq!(app.last().header("content-encoding"), Some("gzip"));
}

#[test]
fn x28_an_unfinished_head_is_408_and_closed_however_it_drips() {
    let app = Recorder::start();
    let gateway = impatient(&app);
    let mut still = gateway.client().connect(APP);
    still.send(b"GET / HTTP/1.1\r\nHost: app.exa");
    let mut empty = gateway.client().connect(APP);
    let mut drip = gateway.client().connect(APP);
    drip.send(b"GET / HTTP/1.1\r\n");
    let started = Instant::now();
    while started.elapsed() < SOON && drip.write_all(b"X-Slow: y\r\n").is_ok() {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(started.elapsed() < SOON, "a drip keeps the connection");
    for conn in [&mut still, &mut drip] {
        let said = heard(conn, SOON);
        assert!(said.closed && said.statuses == [408], "{said:?}");
    }
    let said = heard(&mut empty, SOON);
    assert!(said.closed && (said.statuses.is_empty() || said.statuses == [408]), "{said:?}");
    assert_eq!(app.connections(), 0);
    // The second head on a connection as the first.
    let mut second = gateway.client().connect(APP);
    let _ = second.exchange(&Request::get(URL)).expect(200);
    second.send(b"GET / HTTP/1.1\r\n");
    let said = heard(&mut second, SOON);
    assert!(said.closed && said.statuses == [408], "{said:?}");
    let mut tls = gateway.tls_client().connect(APP);
    tls.send(b"GET / HTTP/1.1\r\n");
    let said = heard(&mut tls, SOON);
    assert!(said.closed && said.statuses == [408], "{said:?}");
}

#[test]
fn x28_a_thousand_slow_heads_do_not_hold_up_a_fresh_client() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let mut slow: Vec<_> = (0..1000).map(|_| gateway.client().connect(APP)).collect();
    for conn in &mut slow {
        conn.send(b"GET / HTTP/1.1\r\nHost: app.example.test\r\nX-Slow: ");
    }
    for _ in 0..10 {
        assert_serves(&gateway);
    }
    let after = rss_mib(&mut gateway);
    assert!(after < before + 100, "{before} MiB became {after} MiB");
}

#[test]
fn x28_a_body_that_stands_still_is_cut_after_the_idle_timeout() {
    let ended = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flag = std::sync::Arc::clone(&ended);
    let app = Script::start(move |scene| {
        scene.until_closed();
        flag.store(true, std::sync::atomic::Ordering::SeqCst);
    });
    let gateway = gateway().route(public(app.url()).set("timeouts", r#"{ idle = "1s" }"#)).start();
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 100\r\n\r\nsome").as_bytes(),
    );
    assert!(conn.closes_within(SOON));
    until("the app's connection ends", || {
        ended.load(std::sync::atomic::Ordering::SeqCst).then_some(())
    });
}

#[test]
fn x31_a_server_without_file_descriptors_recovers() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    assert_serves(&gateway);
    gateway.process().limit_files(20);
    let mut crowd: Vec<_> = (0..100).map(|_| gateway.client().connect(APP)).collect();
    for conn in &mut crowd {
        let _ = conn.write_all(b"GET / HTTP/1.1\r\n");
    }
    assert!(gateway.process().exited().is_none());
    drop(crowd);
    until("a fresh client is served", || {
        let answer = gateway.client().try_send(&Request::get(URL)).ok()?;
        (answer.status == 200).then_some(())
    });
    gateway.process().limit_files(4096);
    assert_serves(&gateway);
}

#[test]
fn what_is_no_http_is_counted_by_its_reason() {
    let app = Recorder::start();
    let gateway = impatient(&app);
    let counted = |reason: &str| {
        let line = format!("vestibule_connection_errors_total{{reason=\"{reason}\"}}");
        gateway.metric(&line).unwrap_or(0.0)
    };
    let _ = say(&gateway.client(), "\x01\x02\r\n\r\n");
    let _ = say(&gateway.client(), format!("GET / HTTP/1.1\r\nX: {}", "y".repeat(70_000)));
    let _ = say(&gateway.client(), "GET / HTTP/1.1\r\n");
    let mut tls = gateway.client();
    tls.address = gateway.tls();
    let _ = tls.raw(APP, b"GET / HTTP/1.1\r\n\r\n");
    for reason in ["bad-request", "head-too-large", "header-timeout", "tls"] {
        until(&format!("{reason} is counted"), || (counted(reason) >= 1.0).then_some(()));
    }
}
