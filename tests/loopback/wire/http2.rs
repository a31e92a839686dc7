//! HTTP/2 (RFC 9113): what may be asked, and floods that must cost the attacker more than us.
//! A client that has nothing to do with a flood is answered within a second, always.

use std::time::{Duration, Instant};

use vestibule_testkit::frames::{self, Link, Outcome, frame};
use vestibule_testkit::{Recorder, Request, h2};

use super::{APP, SOON, URL, assert_serves, in_front_of, public, rss_mib};

const ENHANCE_YOUR_CALM: u32 = 11;

fn get(stream: u32, path: &str) -> Vec<u8> {
    frames::headers(stream, &frames::request("GET", APP, path), true)
}

fn with_fields(extra: &[(&str, &str)]) -> Vec<u8> {
    [frames::request("GET", APP, "/"), frames::fields(extra)].concat()
}

/// What becomes of one block on a connection of its own.
#[track_caller]
fn outcome_of(gateway: &vestibule_testkit::Gateway, block: &[u8]) -> Outcome {
    let mut link = Link::open(gateway.plain());
    link.send(&frames::headers(1, block, true));
    link.outcome(1)
}

#[test]
fn rfc9113_settings_bound_streams_and_header_lists() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let settings = Link::open(gateway.plain()).settings();
    let of = |name| settings.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
    assert_eq!(of(frames::MAX_CONCURRENT_STREAMS), Some(100));
    assert_eq!(of(frames::MAX_HEADER_LIST_SIZE), Some(32 * 1024));
    assert!(of(frames::INITIAL_WINDOW_SIZE).unwrap_or(65_535) <= 1 << 20);
}

#[test]
fn rfc9113_the_101st_stream_is_refused_and_the_hundred_are_served() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut link = Link::open(gateway.plain());
    for stream in (1..200).step_by(2) {
        link.send(&get(stream, "/hang"));
    }
    app.wait_for(100);
    link.send(&get(201, "/"));
    assert_eq!(link.outcome(201), Outcome::Reset(7), "REFUSED_STREAM");
    link.send(&frames::reset(1, 8));
    vestibule_testkit::until("a stream is free again", || {
        let next = link.frames().len() as u32 * 2 + 301;
        link.send(&get(next, "/"));
        (link.outcome(next) == Outcome::Status(200)).then_some(())
    });
    assert_serves(&gateway);
}

#[test]
fn rfc9113_8_3_malformed_requests_are_refused_and_never_forwarded() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let fields = frames::fields;
    let base = [(":method", "GET"), (":scheme", "https"), (":authority", APP), (":path", "/")];
    let without = |name: &str| -> Vec<u8> {
        base.iter().filter(|(n, _)| *n != name).flat_map(|field| fields(&[*field])).collect()
    };
    let blocks: Vec<(&str, Vec<u8>)> = vec![
        ("no :method", without(":method")),
        ("no :path", without(":path")),
        ("no :authority and no host", without(":authority")),
        ("two :path", [without(""), fields(&[(":path", "/x")])].concat()),
        ("two :authority", [without(""), fields(&[(":authority", APP)])].concat()),
        ("two :method", [fields(&[(":method", "POST")]), without("")].concat()),
        ("pseudo after regular", [fields(&[("x", "y")]), without("")].concat()),
        ("unknown pseudo", [without(""), fields(&[(":odd", "y")])].concat()),
        ("response pseudo", [without(""), fields(&[(":status", "200")])].concat()),
        ("upper case", with_fields(&[("X-Upper", "y")])),
        ("empty name", with_fields(&[("", "y")])),
        ("space in name", with_fields(&[("x y", "z")])),
        ("colon in name", with_fields(&[("x:y", "z")])),
        ("CR LF in value", with_fields(&[("x", "a\r\nsmuggled: b")])),
        ("LF in value", with_fields(&[("x", "a\nb")])),
        ("NUL in value", with_fields(&[("x", "a\0b")])),
        ("connection", with_fields(&[("connection", "keep-alive")])),
        ("keep-alive", with_fields(&[("keep-alive", "1")])),
        ("proxy-connection", with_fields(&[("proxy-connection", "1")])),
        ("transfer-encoding", with_fields(&[("transfer-encoding", "chunked")])),
        ("upgrade", with_fields(&[("upgrade", "websocket")])),
        ("te", with_fields(&[("te", "gzip")])),
        ("another host", with_fields(&[("host", "other.example.test")])),
        ("two hosts", with_fields(&[("host", APP), ("host", APP)])),
        ("content-length twice", with_fields(&[("content-length", "0"), ("content-length", "0")])),
        ("content-length +0", with_fields(&[("content-length", "+0")])),
        ("content-length 5, no body", with_fields(&[("content-length", "5")])),
        ("user in authority", frames::request("GET", "user@app.example.test", "/")),
        ("space in authority", frames::request("GET", "app.example.test x", "/")),
        ("CR LF in authority", frames::request("GET", "app.example.test\r\nx: y", "/")),
        ("empty authority", frames::request("GET", "", "/")),
        ("empty path", frames::request("GET", APP, "")),
        ("path without slash", frames::request("GET", APP, "x")),
        ("space in path", frames::request("GET", APP, "/a HTTP/1.1\r\nx: y")),
        ("LF in path", frames::request("GET", APP, "/a\nb")),
        ("NUL in path", frames::request("GET", APP, "/a\0b")),
        ("absolute path", frames::request("GET", APP, "http://other.example.test/")),
        ("space in method", frames::request("GE T", APP, "/")),
        ("CR LF in method", frames::request("GET / HTTP/1.1\r\nx: y\r\n\r\nGET", APP, "/")),
        ("asterisk", frames::request("GET", APP, "*")),
    ];
    for (what, block) in blocks {
        match outcome_of(&gateway, &block) {
            Outcome::Status(400) | Outcome::Reset(_) | Outcome::GoAway(_) | Outcome::Closed => {}
            other => panic!("{what}: {other:?}"),
        }
    }
    assert_eq!(app.count(), 0, "{:?}", app.requests());
    for block in [with_fields(&[("host", APP)]), with_fields(&[("te", "trailers")])] {
        assert_eq!(outcome_of(&gateway, &block), Outcome::Status(200));
    }
}

#[test]
fn rfc9113_8_1_a_body_must_be_as_long_as_it_says() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for (told, sent) in [("5", "hell"), ("5", "hello!"), ("0", "x")] {
        let mut link = Link::open(gateway.plain());
        let block =
            [frames::request("POST", APP, "/"), frames::fields(&[("content-length", told)])]
                .concat();
        link.send(&frames::headers(1, &block, false));
        link.send(&frame(frames::DATA, frames::END_STREAM, 1, sent.as_bytes()));
        let outcome = link.outcome(1);
        assert!(!matches!(outcome, Outcome::Status(200..=299)), "{told} {sent}: {outcome:?}");
    }
    assert!(app.requests().iter().all(|request| !request.complete), "{:?}", app.requests());
}

#[test]
fn rfc9113_connect_trace_and_extended_connect_are_refused() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let connect = frames::fields(&[(":method", "CONNECT"), (":authority", APP)]);
    let extended = frames::fields(&[
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", APP),
        (":path", "/ws"),
    ]);
    let trace = frames::request("TRACE", APP, "/");
    assert_eq!(outcome_of(&gateway, &trace), Outcome::Status(405));
    assert_eq!(outcome_of(&gateway, &connect), Outcome::Status(405));
    let outcome = outcome_of(&gateway, &extended);
    assert!(matches!(outcome, Outcome::Status(400 | 405) | Outcome::Reset(_)), "{outcome:?}");
    assert_eq!(app.connections(), 0);
}

#[test]
fn rfc9113_8_2_3_cookie_crumbs_reach_the_app_as_one_line() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let block = with_fields(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
    assert_eq!(outcome_of(&gateway, &block), Outcome::Status(200));
    assert_eq!(app.last().all("cookie").collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
}

#[test]
fn request_trailers_are_dropped_over_http_2_too() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut link = Link::open(gateway.plain());
    link.send(&frames::headers(1, &frames::request("POST", APP, "/"), false));
    link.send(&frame(frames::DATA, 0, 1, b"hello"));
    let trailers = frames::fields(&[("x-sum", "evil"), ("host", "evil"), ("remote-user", "evil")]);
    link.send(&frames::headers(1, &trailers, true));
    assert_eq!(link.outcome(1), Outcome::Status(200));
    assert!(app.last().complete && !app.last().holds("evil"));
    assert_eq!(app.last().body, b"hello");
}

#[test]
fn no_upgrade_to_h2c_is_granted() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let request = Request::get(URL)
        .header("Connection", "Upgrade, HTTP2-Settings")
        .header("Upgrade", "h2c")
        .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
    let _ = gateway.client().send(&request).expect(200);
}

#[test]
fn l1_rapid_reset_ends_the_connection_and_costs_nobody_else() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let mut link = Link::open(gateway.plain());
    let block = frames::request("GET", APP, "/hang");
    let pieces = (0..1_000_000 / 100).map(|batch: u32| {
        (0..100)
            .flat_map(|n| {
                let stream = (batch * 100 + n) * 2 + 1;
                [frames::headers(stream, &block, true), frames::reset(stream, 8)].concat()
            })
            .collect()
    });
    let sent = link.flood(pieces);
    let goaway = link.goaway();
    assert!(
        goaway == Some(ENHANCE_YOUR_CALM) || (goaway.is_none() && link.is_closed()),
        "{goaway:?}"
    );
    assert!(sent < 16 << 20, "{sent} bytes were taken");
    assert_serves(&gateway);
    assert!(rss_mib(&mut gateway) < before + 64);
}

#[test]
fn l1_resets_that_the_server_is_made_to_send_end_the_connection() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    type Provoke = fn(u32) -> Vec<u8>;
    let provocations: [(&str, Provoke); 3] = [
        ("WINDOW_UPDATE of 0", |stream| frames::window(stream, 0)),
        ("a window that overflows", |stream| frames::window(stream, 0x7fff_ffff)),
        ("DATA after the end", |stream| frame(frames::DATA, 0, stream, b"x")),
    ];
    for (what, provoke) in provocations {
        let mut link = Link::open(gateway.plain());
        let pieces = (0..200_000 / 50).map(|batch: u32| {
            (0..50)
                .flat_map(|n| {
                    let stream = (batch * 50 + n) * 2 + 1;
                    [get(stream, "/hang"), provoke(stream)].concat()
                })
                .collect()
        });
        link.flood(pieces);
        assert!(link.closes_within(SOON), "{what}: the connection goes on");
        assert_serves(&gateway);
    }
    let after = rss_mib(&mut gateway);
    assert!(after < before + 64, "{before} MiB became {after} MiB");
}

#[test]
fn l2_continuation_flood_is_cut_before_256_kib() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let filler = frames::field(b"x-filler", &[b'y'; 1000]);
    for payload in [filler.clone(), filler.repeat(15), Vec::new(), vec![0x20]] {
        let mut link = Link::open(gateway.plain());
        link.send(&frame(
            frames::HEADERS,
            frames::END_STREAM,
            1,
            &frames::request("GET", APP, "/"),
        ));
        let more = frame(frames::CONTINUATION, 0, 1, &payload);
        let pieces = std::iter::repeat_n(more.repeat((4096 / more.len()).max(1)), 1 << 16);
        let started = Instant::now();
        let sent = link.flood(pieces);
        assert!(link.closes_within(SOON), "frames of {} bytes go on", payload.len());
        // What lies in the sockets' buffers was sent and not read.
        let most = if payload.len() > 100 { 8 << 20 } else { 16 << 20 };
        assert!(sent < most, "{sent} bytes of frames of {}", payload.len());
        assert!(started.elapsed() < SOON);
        assert_serves(&gateway);
    }
    assert!(rss_mib(&mut gateway) < before + 16);
    assert!(app.requests().iter().all(|request| request.target == "/" && request.raw.len() < 1000));
}

#[test]
fn l3_a_header_bomb_is_refused_by_its_decoded_size() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    for _ in 0..100 {
        let mut link = Link::open(gateway.plain());
        // 4000 bytes once, then a byte each: 16 KiB that mean 64 MiB.
        let bomb = [
            frames::request("GET", APP, "/"),
            frames::indexed_field(b"x-bomb", &[b'b'; 4000]),
            frames::newest().repeat(16_000),
        ]
        .concat();
        link.send(&frames::headers(1, &bomb, true));
        let outcome = link.outcome(1);
        assert!(!matches!(outcome, Outcome::Status(200)), "{outcome:?}");
    }
    let after = rss_mib(&mut gateway);
    assert!(after < before + 64, "{before} MiB became {after} MiB");
    assert_eq!(app.count(), 0);
    assert_serves(&gateway);
}

#[test]
fn l3_x29_more_than_100_fields_or_32_kib_are_431_with_cookie_crumbs_counted() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let crumbs = |count: usize| {
        [frames::request("GET", APP, "/"), frames::fields(&vec![("cookie", "a=1"); count])].concat()
    };
    let repeated = [
        frames::request("GET", APP, "/"),
        frames::indexed_field(b"cookie", b"a=1"),
        frames::newest().repeat(100),
    ]
    .concat();
    let distinct: Vec<u8> =
        (0..101).flat_map(|n| frames::field(format!("x-{n}").as_bytes(), b"y")).collect();
    let distinct = [frames::request("GET", APP, "/"), distinct].concat();
    let large = with_fields(&[("x-large", &"y".repeat(40 * 1024))]);
    for (what, block) in [
        ("101 crumbs", crumbs(101)),
        ("1000 crumbs", crumbs(600)),
        ("101 crumbs by reference", repeated),
        ("101 fields", distinct),
    ] {
        assert_eq!(outcome_of(&gateway, &block), Outcome::Status(431), "{what}");
    }
    // More than one frame holds.
    let mut link = Link::open(gateway.plain());
    let (first, rest) = large.split_at(16_000);
    link.send(&frame(frames::HEADERS, frames::END_STREAM, 1, first));
    for (number, piece) in rest.chunks(16_000).enumerate() {
        let last = number == rest.len().div_ceil(16_000) - 1;
        let flags = if last { frames::END_HEADERS } else { 0 };
        link.send(&frame(frames::CONTINUATION, flags, 1, piece));
    }
    assert_eq!(link.outcome(1), Outcome::Status(431));
    assert_eq!(app.count(), 0);
    assert_eq!(outcome_of(&gateway, &crumbs(90)), Outcome::Status(200));
}

/// A client that lets so many bytes of each of its answers come and no more.
fn stalled(gateway: &vestibule_testkit::Gateway, window: u32, streams: u32) -> Link {
    let mut link = Link::open_with(gateway.plain(), &[(frames::INITIAL_WINDOW_SIZE, window)]);
    for number in 0..streams {
        link.send(&get(number * 2 + 1, "/bytes/1000000"));
    }
    link
}

#[test]
fn l3_x28_a_hundred_clients_with_a_stalled_window_hold_little_memory() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    // Nothing is let through, or a single byte: then a piece waits behind the window.
    let links: Vec<Link> = (0..100).map(|n| stalled(&gateway, n % 2, 20)).collect();
    for link in &links {
        assert_eq!(link.outcome(39), Outcome::Status(200));
    }
    assert_serves(&gateway);
    let after = rss_mib(&mut gateway);
    assert!(after < before + 256, "{before} MiB became {after} MiB");
}

#[test]
fn l3_x28_a_window_that_never_opens_is_dropped_after_the_idle_timeout() {
    let app = Recorder::start();
    let gateway =
        super::gateway().route(public(app.url()).set("timeouts", r#"{ idle = "1s" }"#)).start();
    for window in [0, 1] {
        let link = stalled(&gateway, window, 5);
        assert!(link.closes_within(SOON * 2), "a window of {window} holds its streams");
    }
    assert_serves(&gateway);
}

#[test]
fn l4_a_flood_of_empty_data_settings_or_pings_ends_or_costs_nothing() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = rss_mib(&mut gateway);
    let ping = frame(frames::PING, 0, 0, &[0; 8]);
    let priority = frame(frames::PRIORITY, 0, 1, &[0, 0, 0, 3, 1]);
    for (what, piece) in [
        ("empty DATA", frame(frames::DATA, 0, 1, &[])),
        ("empty SETTINGS", frames::settings(&[])),
        ("SETTINGS", frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 1)])),
        ("PING", ping),
        ("PRIORITY", priority),
        ("WINDOW_UPDATE", frames::window(1, 1)),
        ("an unknown type", frame(0xbe, 0, 1, b"x")),
    ] {
        let mut link = Link::open(gateway.plain());
        link.send(&frames::headers(1, &frames::request("POST", APP, "/hang"), false));
        let batch = piece.repeat(1000);
        let end = Instant::now() + Duration::from_millis(1500);
        let mut worst = Duration::ZERO;
        let pieces =
            std::iter::repeat_n(batch, 300).take_while(|_| Instant::now() < end).inspect(|_| {
                let started = Instant::now();
                assert_serves(&gateway);
                worst = worst.max(started.elapsed());
            });
        link.flood(pieces);
        assert_serves(&gateway);
        let after = rss_mib(&mut gateway);
        assert!(after < before + 64, "{what}: {before} MiB became {after} MiB");
    }
}

#[test]
fn l4_nonsense_frames_end_the_connection_and_not_the_process() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let nonsense: Vec<(&str, Vec<u8>)> = vec![
        ("DATA on stream 0", frame(frames::DATA, 0, 0, b"x")),
        ("DATA on an idle stream", frame(frames::DATA, 0, 5, b"x")),
        ("HEADERS on stream 0", frame(frames::HEADERS, frames::END_HEADERS, 0, &[0x82])),
        ("HEADERS on an even stream", frame(frames::HEADERS, frames::END_HEADERS, 2, &[0x82])),
        ("short SETTINGS", frame(frames::SETTINGS, 0, 0, &[0; 5])),
        ("SETTINGS on a stream", frame(frames::SETTINGS, 0, 1, &[])),
        ("ACK with payload", frame(frames::SETTINGS, frames::ACK, 0, &[0; 6])),
        ("huge window", frames::settings(&[(frames::INITIAL_WINDOW_SIZE, 0x8000_0000)])),
        ("ENABLE_PUSH 2", frames::settings(&[(frames::ENABLE_PUSH, 2)])),
        ("short PING", frame(frames::PING, 0, 0, &[0; 7])),
        ("PING on a stream", frame(frames::PING, 0, 1, &[0; 8])),
        ("short RST_STREAM", frame(frames::RST_STREAM, 0, 1, &[0; 3])),
        ("RST_STREAM of an idle stream", frames::reset(9, 8)),
        ("WINDOW_UPDATE of 0", frames::window(0, 0)),
        ("window overflow", frames::window(0, 0x7fff_ffff).repeat(2)),
        ("PUSH_PROMISE", frame(frames::PUSH_PROMISE, frames::END_HEADERS, 1, &[0, 0, 0, 2, 0x82])),
        ("CONTINUATION of nothing", frame(frames::CONTINUATION, frames::END_HEADERS, 1, &[0x82])),
        ("bad padding", frame(frames::HEADERS, frames::END_HEADERS | 8, 1, &[200, 0x82])),
        (
            "bad index",
            frame(frames::HEADERS, frames::END_HEADERS, 1, &[0xff, 0xff, 0xff, 0xff, 0x7f]),
        ),
        ("index 0", frame(frames::HEADERS, frames::END_HEADERS, 1, &[0x80])),
        (
            "bad Huffman",
            frame(frames::HEADERS, frames::END_HEADERS, 1, &[0x40, 0x81, 0xff, 0x81, 0xff]),
        ),
        ("cut literal", frame(frames::HEADERS, frames::END_HEADERS, 1, &[0x00, 0x20, b'x'])),
        (
            "another frame in a block",
            [frame(frames::HEADERS, 0, 1, &[0x82]), frame(frames::PING, 0, 0, &[0; 8])].concat(),
        ),
        ("a frame over the size", frame(frames::DATA, 0, 1, &[0; 20_000])),
    ];
    for (what, bytes) in nonsense {
        let mut link = Link::open(gateway.plain());
        link.send(&bytes);
        let ended = link.closes_within(SOON) || link.goaway().is_some();
        assert!(ended, "{what}: {:?}", link.frames());
    }
    let mut plain = gateway.client().connect(APP);
    plain.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n\r\n");
    assert!(plain.closes_within(SOON));
    assert!(gateway.process().exited().is_none());
    assert_serves(&gateway);
    assert_eq!(app.count(), 1, "only the fresh client's request came");
}

#[test]
fn x28_a_head_over_http_2_that_is_never_finished_is_dropped() {
    let app = Recorder::start();
    let gateway =
        super::gateway().toml("[server]\nheader_timeout = \"1s\"").route(public(app.url())).start();
    let mut unfinished = Link::open(gateway.plain());
    unfinished.send(&frame(frames::HEADERS, 0, 1, &frames::request("GET", APP, "/")));
    let mut no_preface = gateway.client().connect(APP);
    no_preface.send(b"PRI * HT");
    let no_request = Link::open(gateway.plain());
    assert!(no_preface.closes_within(SOON), "half a preface");
    assert!(no_request.closes_within(SOON), "no request");
    assert!(unfinished.closes_within(SOON), "half a head");
}

#[test]
fn streams_of_one_connection_do_not_wait_for_each_other() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut link = Link::open(gateway.plain());
    link.send(&get(1, "/hang"));
    app.wait_for(1);
    link.send(&get(3, "/"));
    assert_eq!(link.outcome(3), Outcome::Status(200));
}

#[test]
fn a_stream_that_is_reset_ends_its_request_at_the_app() {
    let (ended, end) = std::sync::mpsc::channel();
    let app = vestibule_testkit::Script::start(move |scene| {
        if scene.head().is_some() {
            scene.until_closed();
            let _ = ended.send(());
        }
    });
    let gateway = in_front_of(app.url());
    let mut link = Link::open(gateway.plain());
    link.send(&get(1, "/"));
    vestibule_testkit::until("the app is asked", || (app.heard("GET /") == 1).then_some(()));
    link.send(&frames::reset(1, 8));
    end.recv_timeout(SOON).expect("the app works on for nobody");
}

#[test]
fn many_requests_share_a_connection() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let requests: Vec<Request> = (0..50)
        .map(|n| Request::new("POST", &format!("{URL}{n}")).body(vec![b'x'; n * 1000]))
        .collect();
    for (n, answer) in h2::tls(gateway.tls(), &requests).into_iter().enumerate() {
        let answer = answer.expect(200).json();
        assert_eq!(answer["target"], format!("/{n}"));
        assert_eq!(answer["body_length"], n * 1000);
    }
}
