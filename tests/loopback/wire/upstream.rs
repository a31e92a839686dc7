//! Upstreams that refuse, stall, lie or break off, and the forms in which one is reached.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vestibule_testkit::{
    Answer, BlackHole, Ca, Leaf, Recorder, Request, Response, Route, Script, free_port, h2,
};

use super::{APP, SOON, URL, assert_serves, gateway, in_front_of, public, rss_mib};

const UNREACHABLE: &str = "UPSTREAM_UNREACHABLE";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[track_caller]
fn assert_denial(answer: Response, status: u16, code: &str) {
    let answer = answer.expect(status);
    assert_eq!(answer.code().as_deref(), Some(code));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.json()["code"], code);
}

#[test]
fn x1_an_app_that_refuses_resets_or_closes_is_502() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(public(format!("http://{}", free_port())))
        .route(Route::new("b", "b.example.test").upstream(app.url()).access("public"))
        .start();
    assert_denial(gateway.client().send(&Request::get(URL)), 502, UNREACHABLE);
    for path in ["reset", "close"] {
        let url = format!("https://b.example.test/{path}");
        assert_denial(gateway.client().send(&Request::get(&url)), 502, UNREACHABLE);
        assert_denial(
            gateway.client().send(&Request::new("POST", &url).body("x")),
            502,
            UNREACHABLE,
        );
    }
    let page = gateway.client().send(&Request::get(URL).navigation()).expect(502);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
}

#[test]
fn x1_a_black_hole_is_504_at_the_connect_timeout() {
    let hole = BlackHole::open();
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("hole", "hole.example.test")
                .upstream(hole.url())
                .access("public")
                .set("timeouts", r#"{ connect = "500ms" }"#),
        )
        .route(public(app.url()))
        .start();
    let started = Instant::now();
    let answer = gateway.client().send(&Request::get("https://hole.example.test/"));
    assert_denial(answer, 504, "UPSTREAM_TIMEOUT");
    assert!(started.elapsed() < SOON);
    assert_serves(&gateway);
}

#[test]
fn x2_a_slow_head_is_504_and_other_routes_do_not_notice() {
    let app = Recorder::start();
    let slow = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("slow", "slow.example.test")
                .upstream(slow.url())
                .access("public")
                .set("timeouts", r#"{ response = "1s" }"#),
        )
        .route(public(app.url()))
        .start();
    let mut waiting: Vec<_> = (0..50).map(|_| gateway.client().connect(APP)).collect();
    for conn in &mut waiting {
        conn.send(&Request::get("https://slow.example.test/hang").bytes());
    }
    slow.wait_for(50);
    assert_serves(&gateway);
    for conn in &mut waiting {
        assert_denial(conn.read_response("GET").unwrap(), 504, "UPSTREAM_TIMEOUT");
    }
}

#[test]
fn x2_a_response_timeout_runs_from_the_end_of_the_request_body() {
    let app = Recorder::start();
    let gateway =
        gateway().route(public(app.url()).set("timeouts", r#"{ response = "1s" }"#)).start();
    let mut conn = gateway.client().connect(APP);
    conn.send(format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 30\r\n\r\n").as_bytes());
    // Three seconds for a body: a byte every 100 ms.
    for _ in 0..30 {
        std::thread::park_timeout(Duration::from_millis(100));
        conn.send(b"x");
    }
    let _ = conn.read_response("POST").unwrap().expect(200);
}

#[test]
fn x2_a_body_that_stands_still_is_cut_after_the_idle_timeout() {
    let app = Script::start(|scene| {
        if scene.head().is_some() {
            scene.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
            scene.until_closed();
        }
    });
    let gateway = gateway().route(public(app.url()).set("timeouts", r#"{ idle = "1s" }"#)).start();
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get(URL).bytes());
    let _ = conn.read_head().unwrap();
    assert!(conn.closes_within(SOON));
    assert_eq!(conn.buffered, b"some");
}

#[test]
fn x2_x28_a_client_that_does_not_read_is_cut_after_the_idle_timeout() {
    let (cut, end) = mpsc::channel();
    let app = Script::start(move |scene| {
        if scene.head().is_some() {
            scene.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            let piece = vec![b'x'; 1 << 20];
            while scene.send(&piece) {}
            let _ = cut.send(());
        }
    });
    let gateway = gateway().route(public(app.url()).set("timeouts", r#"{ idle = "1s" }"#)).start();
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get(URL).bytes());
    end.recv_timeout(SOON).expect("the app sends on to nobody");
}

#[test]
fn x2_a_client_that_does_not_read_costs_no_memory() {
    let app = Script::start(|scene| {
        if scene.head().is_some() {
            scene.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            let piece = vec![b'x'; 1 << 20];
            while scene.send(&piece) {}
        }
    });
    let quick = Recorder::start();
    let mut gateway = gateway()
        .route(public(quick.url()))
        .route(Route::new("big", "big.example.test").upstream(app.url()).access("public"))
        .start();
    assert_serves(&gateway);
    let before = rss_mib(&mut gateway);
    let mut readers: Vec<_> = (0..20).map(|_| gateway.client().connect(APP)).collect();
    for reader in &mut readers {
        reader.send(&Request::get("https://big.example.test/").bytes());
        let _ = reader.read_head().unwrap();
    }
    assert_serves(&gateway);
    let after = rss_mib(&mut gateway);
    assert!(after < before + 32, "{before} MiB became {after} MiB");
}

#[test]
fn x2_an_app_that_does_not_read_costs_no_memory() {
    let app = Script::start(|scene| {
        let _ = scene.head();
        let gone = Instant::now() + SOON;
        // Reads nothing more until the client is through with trying.
        while Instant::now() < gone && scene.number == 0 {
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 1073741824\r\n\r\n").as_bytes(),
    );
    let (done, over) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let piece = vec![0; 1 << 20];
        let mut sent = 0;
        while sent < 256 && conn.write_all(&piece).is_ok() {
            sent += 1;
            let _ = done.send(sent);
        }
    });
    // Sockets hold a few MiB; then the client is held up.
    let mut sent = 0;
    while let Ok(count) = over.recv_timeout(Duration::from_millis(700)) {
        sent = count;
    }
    assert!(sent < 64, "{sent} MiB were taken for an app that reads nothing");
    let after = rss_mib(&mut gateway);
    assert!(after < before + 32, "{before} MiB became {after} MiB");
    gateway.kill();
    let _ = writer.join();
}

#[test]
fn x3_a_truncated_answer_has_no_clean_end_and_its_connection_is_not_used_again() {
    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let app = Script::start(move |scene| {
            let Some(_) = scene.head() else { return };
            scene.send(if scene.number == 0 { half } else { OK }.as_bytes());
        });
        let gateway = in_front_of(app.url());
        let mut conn = gateway.client().connect(APP);
        conn.send(&Request::get(URL).bytes());
        assert!(conn.read_response("GET").is_err(), "{half:?} looks whole");
        let h2 = std::panic::catch_unwind(|| h2::plain(gateway.plain(), &[Request::get(URL)]));
        assert_eq!(h2.unwrap()[0].body, b"ok");
        assert_eq!(app.connections(), 2);
    }
}

#[test]
fn x3_a_truncated_answer_is_a_reset_stream_over_http_2() {
    use vestibule_testkit::frames::{self, Link, Outcome};
    let app = Script::saying("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", true);
    let gateway = in_front_of(app.url());
    let mut link = Link::open(gateway.plain());
    link.send(&frames::headers(1, &frames::request("GET", APP, "/"), true));
    assert_eq!(link.outcome(1), Outcome::Status(200));
    assert_eq!(link.body(1), None, "half an answer looks whole");
}

#[test]
fn x3_bytes_after_an_answer_never_reach_the_next_request() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let after_all_kinds = [
        format!("{OK}{poison}"),
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n{poison}"
        ),
        format!("HTTP/1.1 304 No\r\n\r\n{poison}"),
        format!("HTTP/1.1 204 No\r\n\r\n{poison}"),
    ];
    for answer in after_all_kinds {
        let app = Script::saying(answer.clone(), false);
        let gateway = in_front_of(app.url());
        let mut conn = gateway.client().connect(APP);
        for _ in 0..20 {
            let got = conn.exchange(&Request::get(URL));
            assert_ne!(got.body, b"poison", "after {answer:?}");
        }
        assert_eq!(app.connections(), 20, "a connection with bytes left over was used again");
    }
}

#[test]
fn x3_an_answer_nobody_asked_for_never_reaches_the_next_request() {
    let (tell, told) = mpsc::channel::<()>();
    let (lie, lied) = mpsc::channel::<()>();
    let both = Mutex::new((told, lie));
    let app = Script::start(move |scene| {
        let (told, lie) = &*both.lock().unwrap();
        if scene.head().is_some() {
            scene.send(OK.as_bytes());
            let _ = told.recv_timeout(SOON);
            scene.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison");
            let _ = lie.send(());
            let _ = scene.head();
        }
    });
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for _ in 0..20 {
        assert_eq!(conn.exchange(&Request::get(URL)).body, b"ok");
        tell.send(()).unwrap();
        // From here on it lies in the gateway's socket: what comes later than the next
        // request nobody could tell from its answer.
        lied.recv_timeout(SOON).unwrap();
    }
    assert_eq!(app.connections(), 20);
}

#[test]
fn x3_a_head_request_answered_with_a_body_poisons_nobody() {
    let app = Script::saying(OK, false);
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for _ in 0..10 {
        let _ = conn.exchange(&Request::new("HEAD", URL)).expect(200);
        assert_eq!(conn.exchange(&Request::get(URL)).expect(200).body, b"ok");
    }
}

#[test]
fn x4_answers_that_are_no_http_are_502() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let many: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    let heads = [
        "garbage\r\n\r\n".to_owned(),
        "\0\0\0\0\0\0\0\0\r\n\r\n".to_owned(),
        "HTTP/1.1 abc OK\r\n\r\n".to_owned(),
        "HTTP/1.1 99 OK\r\n\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "SSH-2.0-OpenSSH_9.6\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok".to_owned(),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{chunked}\r\n2\r\nok\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}Content-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{chunked}{chunked}\r\n2\r\nok\r\n0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        format!("HTTP/1.0 200 OK\r\n{chunked}\r\n2\r\nok\r\n0\r\n\r\n"),
        "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nX Y: y\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\nok", "y".repeat(1 << 20)),
        format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n\r\nok"),
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n".to_owned(),
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(1000),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n".to_owned(),
    ];
    for head in heads {
        let app = Script::saying(head.clone(), true);
        let gateway = in_front_of(app.url());
        let answer = gateway.client().send(&Request::get(URL));
        let shown = head.get(..head.len().min(120)).unwrap_or_default();
        assert_eq!(answer.status, 502, "{shown:?}: {answer:?}");
        assert_eq!(answer.code().as_deref(), Some(UNREACHABLE), "{shown:?}");
        assert_eq!(app.connections(), 1, "sent again after {shown:?}");
    }
}

#[test]
fn x4_endless_1xx_answers_are_502_and_hold_up_nobody() {
    let app = Script::start(|scene| {
        if scene.head().is_some() {
            let many = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(100);
            while scene.send(many.as_bytes()) {}
        }
    });
    let quick = Recorder::start();
    let mut gateway = gateway()
        .route(public(quick.url()))
        .route(Route::new("storm", "storm.example.test").upstream(app.url()).access("public"))
        .start();
    let before = rss_mib(&mut gateway);
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get("https://storm.example.test/").bytes());
    assert_serves(&gateway);
    assert_denial(conn.read_response("GET").unwrap(), 502, UNREACHABLE);
    assert!(rss_mib(&mut gateway) < before + 16);
}

#[test]
fn x4_an_app_cannot_set_or_clear_our_cookies_or_speak_for_us() {
    let app = Recorder::with(|_| {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Answer::Full(
            200,
            vec![
                field("Set-Cookie", "__Host-vestibule=evil; Path=/; Secure"),
                field("Set-Cookie", "__Secure-vestibule=evil; Domain=example.test"),
                field("Set-Cookie", "vestibule=; Max-Age=0"),
                field("set-cookie", "  __Host-vestibule =evil"),
                field("Set-Cookie", "app=fine; Path=/"),
                field("X-Vestibule", "UNAUTHENTICATED"),
                field("X-Powered-By", "app"),
            ],
            b"ok".to_vec(),
        )
    });
    let gateway = in_front_of(app.url());
    let answer = gateway.client().send(&Request::get(URL)).expect(200);
    let cookies: Vec<&str> = answer.all("set-cookie").collect();
    assert_eq!(cookies, ["app=fine; Path=/"]);
    assert_eq!(answer.header("x-vestibule"), None);
    assert_eq!(answer.header("x-powered-by"), Some("app"));
}

#[test]
fn x4_chunks_of_no_use_are_framed_anew() {
    let app = Script::saying(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=evil\r\nok\r\n00\r\nX-T: evil\r\n\r\n",
        false,
    );
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get(URL).bytes());
    let raw = conn.read_until(b"0\r\n").unwrap();
    assert!(!String::from_utf8_lossy(&raw).contains("evil"));
}

#[test]
fn l4_a_hostile_http_2_app_is_502_and_never_a_panic() {
    use vestibule_testkit::frames::{self, frame, settings};
    let good = settings(&[]);
    let block = |list: &[(&str, &str)]| frames::headers(1, &frames::fields(list), false);
    let answers: Vec<Vec<u8>> = vec![
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        frame(frames::SETTINGS, 0, 0, &[0; 5]),
        [&good[..], &frame(frames::HEADERS, frames::END_HEADERS, 1, &[0xff; 40])].concat(),
        [&good[..], &frame(frames::DATA, 0, 1, b"before any head")].concat(),
        [&good[..], &frames::reset(1, 2)].concat(),
        [&good[..], &frame(frames::GOAWAY, 0, 0, &[0; 8])].concat(),
        [&good[..], &block(&[("x", "no status")])].concat(),
        [&good[..], &block(&[(":status", "abc")])].concat(),
        [&good[..], &block(&[(":status", "200"), ("X-UPPER", "y")])].concat(),
        [&good[..], &block(&[(":status", "200"), ("x", "a\r\nb")])].concat(),
        [&good[..], &frame(frames::PUSH_PROMISE, frames::END_HEADERS, 1, &[0, 0, 0, 2, 0x88])]
            .concat(),
        [&good[..], &frame(frames::HEADERS, 0, 1, &[0x88]), &frame(frames::DATA, 0, 1, b"x")]
            .concat(),
        [&good[..], &frames::window(0, 0)].concat(),
        [&good[..], &frame(frames::CONTINUATION, frames::END_HEADERS, 1, &[0x88])].concat(),
        vec![0xff; 64],
    ];
    let number = Arc::new(Mutex::new(0));
    let (next, count) = (Arc::clone(&number), answers.len());
    let app = Script::start(move |scene| {
        let at = *next.lock().unwrap();
        if scene.exactly(frames::PREFACE.len()).is_none() {
            return;
        }
        // The request's HEADERS come right behind; anything said before them is as hostile.
        let _ = scene.more_within(Duration::from_millis(50));
        scene.send(&answers[at]);
        scene.half_close();
        let _ = scene.more_within(Duration::from_millis(200));
    });
    let quick = Recorder::start();
    let mut gateway = gateway()
        .route(public(quick.url()))
        .route(
            Route::new("h2", "h2.example.test")
                .upstream(format!("h2c://{}", app.address()))
                .access("public")
                .set("timeouts", r#"{ response = "5s" }"#),
        )
        .start();
    for at in 0..count {
        *number.lock().unwrap() = at;
        let answer = gateway.client().try_send(&Request::get("https://h2.example.test/"));
        let status = answer.map_err(|error| error.to_string()).map(|answer| answer.status);
        assert_eq!(status, Ok(502), "answer {at}");
    }
    assert_serves(&gateway);
    assert!(gateway.process().exited().is_none());
}

#[test]
fn l4_an_http_2_app_that_breaks_off_is_no_clean_end() {
    use vestibule_testkit::frames;
    let ends = [
        frames::reset(1, 2),
        frames::frame(frames::DATA, frames::END_STREAM, 1, b"short"),
        frames::frame(frames::DATA, frames::END_STREAM, 1, &[b'x'; 200]),
        frames::frame(frames::GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 2]),
    ];
    for end in ends {
        let said = end.clone();
        let app = Script::start(move |scene| {
            if scene.exactly(frames::PREFACE.len()).is_none() {
                return;
            }
            let _ = scene.more_within(SOON);
            scene.send(&frames::settings(&[]));
            let head = frames::fields(&[(":status", "200"), ("content-length", "100")]);
            scene.send(&frames::headers(1, &head, false));
            scene.send(&frames::frame(frames::DATA, 0, 1, b"half"));
            scene.send(&said);
        });
        let gateway = in_front_of(format!("h2c://{}", app.address()));
        let mut conn = gateway.client().connect(APP);
        conn.send(&Request::get(URL).bytes());
        let answer = conn.read_response("GET");
        // hyper may see the whole mess before it hands the head over.
        let whole = answer.is_ok_and(|answer| answer.status != 502);
        assert!(!whole, "half an answer looks whole after {end:02x?}");
    }
}

#[test]
fn x34_a_name_that_does_not_resolve_is_502_and_no_obstacle_to_the_start() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(public(app.url()))
        .route(
            Route::new("gone", "gone.example.test")
                .upstream("http://no-such-host.invalid:8080")
                .access("public"),
        )
        .start();
    let answer = gateway.client().send(&Request::get("https://gone.example.test/"));
    assert_denial(answer, 502, UNREACHABLE);
    assert_serves(&gateway);
}

#[test]
fn a_unix_socket_is_an_upstream() {
    let folder = tempfile::tempdir().unwrap();
    let app = Recorder::unix(&folder.path().join("app.sock"));
    let gateway = in_front_of(app.url());
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
    assert_eq!(app.last().header("host"), Some(APP));
}

#[test]
fn an_https_upstream_is_verified_by_its_ca_file() {
    let app =
        Recorder::tls(Ca::shared().leaf(&["127.0.0.1"]).server(&["http/1.1"]), |_| Answer::Echo);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, Ca::shared().pem()).unwrap();
    let tls = format!("{{ ca_file = {:?} }}", ca.display().to_string());
    let url = format!("https://{}", app.address());
    let gateway = gateway().route(public(url).set("upstream_tls", &tls)).start();
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
}

#[test]
fn l9_an_upstream_certificate_that_does_not_hold_is_502() {
    let ca = Ca::shared();
    let other = Ca::new("Somebody else");
    let self_signed = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let self_signed =
        Leaf { cert: self_signed.cert.pem(), key: self_signed.signing_key.serialize_pem() };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    let tls = format!("{{ ca_file = {:?} }}", file.display().to_string());
    for (what, leaf) in [
        ("wrong name", ca.leaf(&["app.other.test"])),
        ("expired", ca.expired_leaf(&["127.0.0.1"])),
        ("another authority", other.leaf(&["127.0.0.1"])),
        ("self-signed", self_signed),
    ] {
        let app = Recorder::tls(leaf.server(&["http/1.1"]), |_| Answer::Echo);
        let url = format!("https://{}", app.address());
        let gateway = gateway().route(public(url).set("upstream_tls", &tls)).start();
        let answer = gateway.client().send(&Request::get(URL));
        assert_eq!(answer.status, 502, "{what}: {answer:?}");
        assert_eq!(app.count(), 0, "{what}");
    }
}

#[test]
fn an_h2c_upstream_shares_one_connection_and_sees_no_hop_by_hop_fields() {
    let app = h2::Upstream::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    let request = Request::new("POST", URL)
        .header("Connection", "keep-alive, X-Hop")
        .header("X-Hop", "1")
        .header("Keep-Alive", "1")
        .header("TE", "gzip")
        .body("hello");
    for _ in 0..3 {
        assert_eq!(conn.exchange(&request).expect(200).body, b"hello");
    }
    conn.send(
        format!(
            "POST / HTTP/1.1\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\n\
             5\r\nhello\r\n0\r\nX-T: 1\r\n\r\n"
        )
        .as_bytes(),
    );
    assert_eq!(conn.read_response("POST").unwrap().expect(200).body, b"hello");
    let requests = app.requests();
    assert_eq!(requests.len(), 4);
    for seen in requests {
        assert_eq!((seen.connection, seen.header(":authority")), (0, Some(APP)));
        assert!(seen.trailers.is_empty());
        for name in ["connection", "x-hop", "keep-alive", "te", "host", "transfer-encoding"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
    }
}

#[test]
fn grpc_passes_with_http_2_in_front_and_h2c_behind() {
    let app = h2::Upstream::start();
    let gateway = in_front_of(app.url());
    let call = Request::new("POST", "https://app.example.test/pkg.Service/Call")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body([0, 0, 0, 0, 2, b'h', b'i']);
    let answer = h2::tls(gateway.tls(), &[call]).remove(0).expect(200);
    assert_eq!(answer.body, [0, 0, 0, 0, 2, b'h', b'i']);
    assert_eq!(answer.trailers, [("grpc-status".to_owned(), "0".to_owned())]);
    assert_eq!(app.requests()[0].header("te"), Some("trailers"));
}

#[test]
fn a_grpc_stream_passes_message_by_message_both_ways() {
    let app = h2::Upstream::start();
    let gateway = in_front_of(app.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(gateway.plain()).await.unwrap();
        let (mut client, connection) = ::h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::post("https://app.example.test/pkg.Service/Chat")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (answer, mut sending) = client.send_request(request, false).unwrap();
        let mut body = None;
        let mut answer = Some(answer);
        for message in ["one", "two", "three"] {
            sending.send_data(message.into(), false).unwrap();
            if let Some(answer) = answer.take() {
                body = Some(answer.await.unwrap().into_body());
            }
            let body = body.as_mut().unwrap();
            let echoed = tokio::time::timeout(SOON, body.data()).await.expect("held back");
            assert_eq!(echoed.unwrap().unwrap(), message.as_bytes());
        }
        let mut last = http::HeaderMap::new();
        last.insert("x-client", "done".parse().unwrap());
        sending.send_trailers(last).unwrap();
        let mut body = body.unwrap();
        assert!(body.data().await.is_none());
        let trailers = body.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");
    });
    assert_eq!(app.requests()[0].trailers, [("x-client".to_owned(), "done".to_owned())]);
}

#[test]
fn events_pass_as_they_come() {
    let (seen, go) = mpsc::channel::<()>();
    let go = Mutex::new(go);
    let app = Script::start(move |scene| {
        if scene.head().is_none() {
            return;
        }
        scene.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        for number in 0..5 {
            scene.send(format!("9\r\ndata: {number}\n\n\r\n").as_bytes());
            // The next event only when the client has this one.
            if go.lock().unwrap().recv_timeout(SOON).is_err() {
                return;
            }
        }
        scene.send(b"0\r\n\r\n");
    });
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(&Request::get(URL).bytes());
    assert_eq!(conn.read_head().unwrap().header("content-type"), Some("text/event-stream"));
    for number in 0..5 {
        let event = String::from_utf8(conn.read_until(b"\n\n").unwrap()).unwrap();
        assert!(event.contains(&format!("data: {number}")), "{event:?}");
        seen.send(()).unwrap();
    }
    let _ = conn.read_until(b"0\r\n\r\n").unwrap();
}

#[test]
fn an_upload_of_1_gib_passes_at_flat_memory() {
    const SIZE: u64 = 1 << 30;
    let app = Script::start(|scene| {
        let Some(_) = scene.head() else { return };
        let came = scene.swallow(SIZE).to_string();
        scene.send(
            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{came}", came.len()).as_bytes(),
        );
    });
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("PUT /big HTTP/1.1\r\nHost: {APP}\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes(),
    );
    let piece = vec![0; 4 << 20];
    let mut most = before;
    for number in 0..SIZE / piece.len() as u64 {
        conn.send(&piece);
        if number % 16 == 0 {
            most = most.max(rss_mib(&mut gateway));
        }
    }
    let answer = conn.read_response("PUT").unwrap().expect(200);
    assert_eq!(answer.text(), SIZE.to_string());
    assert!(most < before + 32, "{before} MiB became {most} MiB");
}

#[test]
fn a_download_passes_byte_for_byte() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let url = format!("{URL}bytes/{}", 8 << 20);
    assert_eq!(gateway.client().send(&Request::get(&url)).expect(200).body, vec![b'x'; 8 << 20]);
    let over_h2 = h2::tls(gateway.tls(), &[Request::get(&url)]).remove(0).expect(200);
    assert_eq!(over_h2.body.len(), 8 << 20);
}

#[test]
fn an_app_that_answers_before_the_body_has_come_is_heard() {
    let app = Recorder::with(|_| Answer::EarlyClose);
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(
        format!("POST /x HTTP/1.1\r\nHost: {APP}\r\nContent-Length: 1000000\r\n\r\n").as_bytes(),
    );
    let answer = conn.read_response("POST").unwrap().expect(200);
    assert_eq!(answer.body, b"early");
    assert!(conn.closes_within(SOON) || conn.write_all(b"x").is_err());
}

#[test]
fn an_early_hint_is_passed_or_dropped_and_the_answer_follows() {
    let app =
        Script::saying(format!("HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n{OK}"), false);
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for _ in 0..3 {
        let answer = conn.exchange(&Request::get(URL)).expect(200);
        assert!(answer.interim.iter().all(|interim| interim.status == 103));
        assert_eq!(answer.body, b"ok");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let app = Script::saying("HTTP/1.1 200 OK\r\n\r\nuntil the end", true);
    let gateway = in_front_of(app.url());
    for _ in 0..3 {
        let answer = gateway.client().send(&Request::get(URL)).expect(200);
        assert_eq!(answer.body, b"until the end");
    }
    assert_eq!(app.connections(), 3);
}
