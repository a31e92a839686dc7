//! HTTP/1.1 framing (RFC 9112): one reading of every message, ours and the app's.

use std::time::Duration;

use vestibule_testkit::{Answer, Recorder, Request, Route, Script};

use super::{APP, SOON, URL, assert_refused, gateway, heard, in_front_of, public, say};

/// A request that must never be seen on its own.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.example.test\r\n\r\n";

fn post(fields: &str, body: &str) -> String {
    format!("POST /p HTTP/1.1\r\nHost: {APP}\r\n{fields}\r\n{body}")
}

/// Asserts that every message is refused and that no byte of it reaches the app.
#[track_caller]
fn assert_all_refused(messages: &[String], status: &[u16]) {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for message in messages {
        assert_refused(&gateway.client(), message, status);
    }
    assert_eq!(app.count(), 0, "{:?}", app.requests());
    let _ = gateway.client().send(&Request::get(URL)).expect(200);
}

#[test]
fn k1_cl_and_te_is_400_and_closed() {
    let chunked = "0\r\n\r\n";
    assert_all_refused(
        &[
            post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nG"),
            post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\nG"),
            post("content-length: 0\r\ntransfer-encoding: chunked\r\n", chunked),
            post(
                &format!(
                    "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                    5 + SMUGGLED.len()
                ),
                &format!("{chunked}{SMUGGLED}"),
            ),
            post("Transfer-Encoding: chunked\r\nX: y\r\nContent-Length: 5\r\n", chunked),
        ],
        &[400],
    );
}

#[test]
fn k1_any_transfer_encoding_but_one_chunked_is_400_and_closed() {
    let encodings = [
        "gzip, chunked",
        "chunked, gzip",
        "chunked, identity",
        "chunked,chunked",
        "identity",
        "gzip",
        "xchunked",
        "chunked\x0b",
        "\x0bchunked",
        "\"chunked\"",
        "chunked;q=1",
        "",
        "chunke",
    ];
    let mut messages: Vec<String> = encodings
        .iter()
        .map(|te| post(&format!("Transfer-Encoding: {te}\r\n"), "0\r\n\r\n"))
        .collect();
    let chunked = "Transfer-Encoding: chunked\r\n";
    messages.push(post(&format!("{chunked}{chunked}"), "0\r\n\r\n"));
    messages.push(post(&format!("Transfer-Encoding: identity\r\n{chunked}"), "0\r\n\r\n"));
    messages.push(post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"));
    messages.push(post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"));
    messages.push(post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"));
    messages.push(post("Transfer_Encoding: x\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"));
    assert_all_refused(&messages, &[400]);
}

#[test]
fn k1_a_content_length_that_is_no_plain_number_once_is_400_and_closed() {
    let lengths = [
        "+5",
        "-5",
        "5, 6",
        "5, 5",
        "5,5",
        "0x5",
        "5 5",
        "5.0",
        "",
        "five",
        "5;x",
        "\u{00b2}",
        "99999999999999999999",
        "18446744073709551616",
        "00000000000000000000005x",
    ];
    let mut messages: Vec<String> =
        lengths.iter().map(|cl| post(&format!("Content-Length: {cl}\r\n"), "hello")).collect();
    messages.push(post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"));
    messages.push(post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"));
    messages.push(post("Content-Length: 5\r\ncontent-LENGTH: 0\r\n", "hello"));
    messages.push(post("Content-Length : 5\r\n", "hello"));
    messages.push(post("Content-Length:\r\n 5\r\n", "hello"));
    assert_all_refused(&messages, &[400]);
}

#[test]
fn k1_the_app_receives_exactly_one_framing_field() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(post("Content-Length: 5\r\n", "hello").as_bytes());
    let _ = conn.read_response("POST").unwrap().expect(200);
    conn.send(post("Transfer-Encoding: Chunked\r\n", "5\r\nhello\r\n0\r\n\r\n").as_bytes());
    let _ = conn.read_response("POST").unwrap().expect(200);
    conn.send(post("Content-Length: 0\r\n", "").as_bytes());
    let _ = conn.read_response("POST").unwrap().expect(200);
    let requests = app.requests();
    for (request, body) in requests.iter().zip(["hello", "hello", ""]) {
        let framing =
            request.all("content-length").count() + request.all("transfer-encoding").count();
        assert_eq!(framing, 1, "{:?}", request.headers);
        assert_eq!(request.body, body.as_bytes());
        assert!(request.complete);
    }
    assert_eq!(requests.len(), 3);
}

#[test]
fn k1_k2_http_1_0_with_a_transfer_encoding_is_400() {
    assert_all_refused(
        &[format!(
            "POST /p HTTP/1.0\r\nHost: {APP}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        )],
        &[400],
    );
}

#[test]
fn k2_a_denied_body_is_drained_or_ends_the_connection_and_is_never_a_request() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(public(app.url()))
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .start();
    let filler = SMUGGLED.repeat(400);
    for fields in [
        format!("Content-Length: {}\r\n", filler.len()),
        "Transfer-Encoding: chunked\r\n".to_owned(),
    ] {
        let body = if fields.starts_with('C') {
            filler.clone()
        } else {
            format!("{:x}\r\n{filler}\r\n0\r\n\r\n", filler.len())
        };
        let denied = format!("POST /x HTTP/1.1\r\nHost: wiki.example.test\r\n{fields}\r\n{body}");
        let next = format!("GET /next HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n");
        let said = say(&gateway.client(), denied + &next);
        assert!(said.closed, "{said:?}");
        assert!(said.statuses == [401] || said.statuses == [401, 200], "{said:?}");
        assert!(app.requests().iter().all(|request| request.target == "/next"));
    }
}

#[test]
fn k2_a_denial_does_not_wait_for_the_body_it_was_promised() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .start();
    let mut conn = gateway.client().connect(APP);
    conn.send(
        b"POST /x HTTP/1.1\r\nHost: wiki.example.test\r\nContent-Length: 10737418240\r\n\r\n",
    );
    let _ = conn.read_response("POST").unwrap().expect(401);
    assert!(conn.closes_within(SOON), "10 GiB would be read and thrown away");
    assert_eq!(app.connections(), 0);
}

#[test]
fn k2_nothing_follows_an_upgrade_until_101() {
    let app = Script::start(|scene| {
        if scene.head().is_none() {
            return;
        }
        // Whatever the client sent early would be here by now.
        assert!(!scene.more_within(Duration::from_millis(300)), "bytes before 101");
        scene.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
        let _ = scene.more_within(Duration::from_millis(300));
    });
    let gateway = in_front_of(app.url());
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {APP}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let said = say(&gateway.client(), format!("{upgrade}\u{1}EARLY-BYTES\r\n\r\n"));
    assert_eq!(said.statuses.first(), Some(&403), "{said:?}");
    assert_eq!((app.heard("EARLY-BYTES"), app.connections()), (0, 1));
}

#[test]
fn k2_bytes_sent_right_after_an_upgrade_reach_the_app_once_it_said_101() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let request = vestibule_testkit::ws::handshake(Request::get("https://app.example.test/ws"));
    let mut bytes = request.bytes();
    let mask = Some([9, 9, 9, 9]);
    bytes.extend(vestibule_testkit::ws::frame(vestibule_testkit::ws::TEXT, b"early", mask));
    let mut conn = gateway.client().connect(APP);
    conn.send(&bytes);
    let _ = conn.read_response("GET").unwrap().expect(101);
    let echoed = vestibule_testkit::ws::frame(vestibule_testkit::ws::TEXT, b"early", None);
    assert_eq!(conn.read_exact(echoed.len()).unwrap(), echoed);
}

#[test]
fn k3_an_upstream_connection_with_half_a_body_is_never_used_again() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for fields in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"] {
        app.clear();
        let body = if fields.starts_with('C') { "hello" } else { "64\r\nhello" };
        let mut conn = gateway.client().connect(APP);
        conn.send(post(fields, body).as_bytes());
        vestibule_testkit::until("half a body at the app", || {
            app.bytes().iter().any(|bytes| bytes.windows(5).any(|w| w == b"hello")).then_some(())
        });
        conn.reset();
        let broken = app.wait_for(1).remove(0);
        assert!(!broken.complete);
        for _ in 0..3 {
            let _ = gateway.client().send(&Request::get(URL)).expect(200);
        }
        let later = app.requests().split_off(1);
        assert!(later.iter().all(|request| request.connection != broken.connection));
    }
}

#[test]
fn k3_k4_malformed_fields_are_400_and_closed() {
    let get = |fields: &str| format!("GET /g HTTP/1.1\r\nHost: {APP}\r\n{fields}\r\n");
    assert_all_refused(
        &[
            get(": empty\r\n"),
            get("X Y: space\r\n"),
            get("X-A : before the colon\r\n"),
            get("X(A): paren\r\n"),
            get("X\u{e9}: latin\r\n"),
            get("no-colon\r\n"),
            get("X: nul\0\r\n"),
            get("X\0: nul\r\n"),
            get("X: bare\rcr\r\n"),
            get("X: a\r\n folded\r\n"),
            get("X: a\r\n\tfolded\r\n"),
            get("X: a\r\r\n"),
            get("X: \x7fdel\x01\r\n"),
            format!("GET /g HTTP/1.1\r\n Host: {APP}\r\n\r\n"),
            format!("GET /g HTTP/1.1\r\n\r\nHost: {APP}\r\n\r\n"),
        ],
        &[400],
    );
}

#[test]
fn k4_malformed_request_lines_are_400_and_closed() {
    let host = format!("\r\nHost: {APP}\r\n\r\n");
    assert_all_refused(
        &[
            format!("GET  /g HTTP/1.1{host}"),
            format!("GET /g  HTTP/1.1{host}"),
            format!("GET /g{host}"),
            format!("GET /a b HTTP/1.1{host}"),
            format!("GET /g HTTP/1.2{host}"),
            format!("GET /g HTTP/9.9{host}"),
            format!("GET /g http/1.1{host}"),
            format!("GET /g HTTP/1.1 {host}"),
            format!("G\u{1}T /g HTTP/1.1{host}"),
            format!("GET /g\0 HTTP/1.1{host}"),
            format!("GET /g\rx HTTP/1.1{host}"),
            format!("GET /g#f HTTP/1.1{host}"),
            format!(" GET /g HTTP/1.1{host}"),
            "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03".to_owned() + "\r\n\r\n",
            "PROXY TCP4 127.0.0.7 127.0.0.1 1 2\r\n".to_owned() + &post("", ""),
            "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c".to_owned() + &post("", ""),
        ],
        &[400],
    );
}

#[test]
fn k4_a_bare_lf_never_reaches_the_app() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for bytes in [
        format!("GET /lf HTTP/1.1\nHost: {APP}\nConnection: close\n\n"),
        format!("GET /lf HTTP/1.1\r\nHost: {APP}\nX: y\r\nConnection: close\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\nConnection: close\r\n", "5\nhello\n0\n\n"),
    ] {
        let said = say(&gateway.client(), &bytes);
        assert!(said.statuses == [200] || said.statuses == [400], "{bytes:?}: {said:?}");
    }
    for request in app.requests() {
        let bare = request.raw.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r');
        assert!(!bare, "{:?}", String::from_utf8_lossy(&request.raw));
    }
}

#[test]
fn k4_chunk_junk_never_ends_a_request_at_the_app() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for body in [
        "5 x\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
    ] {
        let said = say(&gateway.client(), post("Transfer-Encoding: chunked\r\n", body));
        assert!(said.closed, "{body:?}: {said:?}");
        assert!(said.statuses.is_empty() || said.statuses == [400], "{body:?}: {said:?}");
    }
    assert!(app.requests().iter().all(|request| !request.complete), "{:?}", app.requests());
}

#[test]
fn k4_chunk_extensions_and_request_trailers_are_dropped() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let body = "5;ext=evil;q=\"x\"\r\nhello\r\n0;last=evil\r\nHost: evil.test\r\nAuthorization: evil\r\n\
                Content-Length: 3\r\nRemote-User: evil\r\nX-Sum: evil\r\n\r\n";
    let mut conn = gateway.client().connect(APP);
    conn.send(post("Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n", body).as_bytes());
    let _ = conn.read_response("POST").unwrap().expect(200);
    let seen = app.last();
    assert!(!seen.holds("evil"), "{:?}", String::from_utf8_lossy(&seen.raw));
    assert_eq!((seen.body.as_slice(), seen.trailers.len()), (&b"hello"[..], 0));
    let _ = conn.exchange(&Request::get(URL)).expect(200);
}

#[test]
fn k4_many_or_long_trailers_are_bounded() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = super::rss_mib(&mut gateway);
    let mut conn = gateway.client().connect(APP);
    conn.send(post("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n").as_bytes());
    let line = format!("X-T: {}\r\n", "t".repeat(1000));
    let mut sent = 0;
    while sent < 64 << 20 && conn.write_all(line.repeat(64).as_bytes()).is_ok() {
        sent += 64 * line.len();
    }
    assert!(sent < 64 << 20, "trailers without end are read");
    assert!(super::rss_mib(&mut gateway) < before + 16);
}

#[test]
fn k5_expect_100_continue_is_answered_when_the_app_wants_the_body() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    conn.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "").as_bytes());
    assert_eq!(conn.read_head().unwrap().status, 100);
    conn.send(b"hello");
    let answer = conn.read_response("POST").unwrap().expect(200);
    assert!(answer.interim.is_empty(), "a second 100");
    assert_eq!(app.last().body, b"hello");
    let _ = conn.exchange(&Request::get(URL)).expect(200);
    // With the body sent at once, the exchange stays in step all the same.
    conn.send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", "again").as_bytes());
    let _ = conn.read_response("POST").unwrap().expect(200);
    assert_eq!(app.last().body, b"again");
    let _ = conn.exchange(&Request::get(URL)).expect(200);
}

#[test]
fn k5_a_denied_expectation_gets_no_100_and_leaves_the_connection_in_step() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .route(public(app.url()))
        .start();
    let expecting = format!(
        "POST /x HTTP/1.1\r\nHost: wiki.example.test\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        SMUGGLED.len()
    );
    let next = format!("GET /next HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n");
    // A client that waits for the 100 gets its 401 first; it may then send either the body or
    // nothing of it, so only closing is safe unless the body was read.
    let mut conn = gateway.client().connect(APP);
    conn.send(expecting.as_bytes());
    let answer = conn.read_response("POST").unwrap().expect(401);
    assert!(answer.interim.is_empty(), "the body was asked for");
    let _ = conn.write_all(next.as_bytes());
    let said = heard(&mut conn, SOON);
    assert!(said.closed && said.statuses.iter().all(|&status| status == 400), "{said:?}");
    // A client that sends the body at once.
    let said = say(&gateway.client(), format!("{expecting}{SMUGGLED}{next}"));
    assert!(said.statuses == [401] || said.statuses == [401, 200], "{said:?}");
    assert!(app.requests().iter().all(|request| request.target == "/next"), "{:?}", app.requests());
}

#[test]
fn k5_another_expectation_is_417() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for expect in ["200-ok", "100-continue, x", "y 100-continue"] {
        let message = post(&format!("Content-Length: 5\r\nExpect: {expect}\r\n"), "hello");
        let said = say(&gateway.client(), message);
        assert_eq!(said.statuses, [417], "{expect}: {said:?}");
    }
    assert_eq!(app.count(), 0);
}

#[test]
fn k5_a_body_belongs_to_its_request_whatever_the_method() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PATCH"] {
        let length = SMUGGLED.len();
        let head =
            format!("{method} /b HTTP/1.1\r\nHost: {APP}\r\nContent-Length: {length}\r\n\r\n");
        conn.send(format!("{head}{SMUGGLED}").as_bytes());
        let _ = conn.read_response(method).unwrap().expect(200);
        assert_eq!((app.last().method.as_str(), app.last().body.len()), (method, length));
    }
    assert!(app.requests().iter().all(|request| request.target == "/b"));
    // Without framing the bytes are the next message, and no good one.
    let said = say(
        &gateway.client(),
        format!("GET /u HTTP/1.1\r\nHost: {APP}\r\n\r\nhello world\r\n\r\n"),
    );
    assert_eq!(said.statuses, [200, 400], "{said:?}");
}

#[test]
fn rfc9112_3_2_exactly_one_good_host_is_needed() {
    let get = |lines: &str| format!("GET /h HTTP/1.1\r\n{lines}\r\n");
    assert_all_refused(
        &[
            get(""),
            get("Host:\r\n"),
            get(&format!("Host: {APP}\r\nHost: {APP}\r\n")),
            get(&format!("Host: {APP}\r\nHost: other.example.test\r\n")),
            get(&format!("Host: {APP}, other.example.test\r\n")),
            get(&format!("Host: user@{APP}\r\n")),
            get(&format!("Host: {APP}/x\r\n")),
            get(&format!("Host: http://{APP}\r\n")),
            get(&format!("Host: {APP}:99999\r\n")),
            get(&format!("Host: {APP}:8x\r\n")),
            get(&format!("Host: {APP} x\r\n")),
            get(&format!("Host: {APP}#\r\n")),
            get(&format!("Host: {APP}%00\r\n")),
            get("Host: [::1\r\n"),
            "GET /h HTTP/1.0\r\n\r\n".to_owned(),
        ],
        &[400],
    );
}

#[test]
fn rfc9112_3_2_2_an_absolute_target_must_agree_with_host() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for (target, host, status) in [
        (format!("http://{APP}/a?x=1"), APP.to_owned(), 200),
        (format!("https://{APP}/a?x=1"), APP.to_owned(), 200),
        (format!("HTTP://{APP}/a?x=1"), APP.to_owned(), 200),
        (format!("http://{APP}/a?x=1"), "other.example.test".to_owned(), 400),
        ("http://other.example.test/a".to_owned(), APP.to_owned(), 400),
        (format!("ftp://{APP}/a"), APP.to_owned(), 400),
        (format!("http://user@{APP}/a"), APP.to_owned(), 400),
        (format!("http://{APP}:81/a"), APP.to_owned(), 400),
    ] {
        let message = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let said = say(&gateway.client(), message);
        assert_eq!(said.statuses, [status], "{target} {host}: {said:?}");
    }
    assert_eq!(app.count(), 3);
    for seen in app.requests() {
        assert_eq!((seen.target.as_str(), seen.header("host")), ("/a?x=1", Some(APP)));
    }
}

#[test]
fn connect_and_trace_are_405_and_other_forms_of_a_target_are_400() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let host = format!("HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n");
    for (line, status) in [
        (format!("CONNECT {APP}:443 "), 405),
        ("CONNECT / ".to_owned(), 405),
        ("TRACE / ".to_owned(), 405),
        ("OPTIONS * ".to_owned(), 400),
        ("GET * ".to_owned(), 400),
        ("GET app.example.test ".to_owned(), 400),
        (format!("GET {APP}:443 "), 400),
    ] {
        let said = say(&gateway.client(), format!("{line}{host}"));
        // hyper has no URI for `CONNECT /`.
        let good =
            said.statuses == [status] || (line.starts_with("CONNECT /") && said.statuses == [400]);
        assert!(good && said.closed, "{line}: {said:?}");
    }
    assert_eq!(app.connections(), 0);
}

#[test]
fn rfc9110_7_6_1_hop_by_hop_fields_end_at_the_gateway() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let request = Request::get(URL)
        .header("Connection", "keep-alive, X-Hop, close, TE")
        .header("X-Hop", "hop")
        .header("Keep-Alive", "timeout=hop")
        .header("Proxy-Connection", "hop")
        .header("Proxy-Authorization", "hop")
        .header("TE", "gzip, trailers")
        .header("Trailer", "hop")
        .header("Upgrade", "hop/1")
        .header("X-End", "end");
    let _ = gateway.client().send(&request).expect(200);
    let seen = app.last();
    assert!(!seen.holds("hop"), "{:?}", seen.headers);
    assert_eq!(seen.header("x-end"), Some("end"));
    assert_eq!(seen.header("te"), None);
}

#[test]
fn rfc9110_7_6_1_connection_cannot_take_away_what_the_gateway_adds_or_frames() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    let listed = "Connection: Host, Content-Length, X-Forwarded-For, X-Request-Id, Cookie\r\n";
    conn.send(post(&format!("{listed}Content-Length: 5\r\n"), "hello").as_bytes());
    let answer = conn.read_response("POST").unwrap();
    if answer.status != 400 {
        let seen = app.last();
        assert_eq!((seen.body.as_slice(), seen.header("host")), (&b"hello"[..], Some(APP)));
        assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
        assert!(seen.header("x-request-id").is_some());
    }
}

#[test]
fn rfc9110_7_6_3_a_gateway_that_is_its_own_upstream_stops_at_once() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let own = format!("http://{}", gateway.plain());
    assert!(gateway.reload_routes(&[public(own)]));
    let answer = gateway.client().send(&Request::get(URL));
    assert!(matches!(answer.status, 400 | 502 | 508), "{answer:?}");
    assert!(gateway.process().exited().is_none());
    assert!(gateway.reload_routes(&[public(app.url())]));
    super::assert_serves(&gateway);
}

#[test]
fn rfc9110_head_204_and_304_have_no_body_and_keep_the_connection() {
    let app = Recorder::with(|request| match request.target.as_str() {
        "/204" => Answer::Raw(b"HTTP/1.1 204 No\r\n\r\n".to_vec()),
        "/304" => {
            Answer::Raw(b"HTTP/1.1 304 No\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n".to_vec())
        }
        _ => Answer::Full(200, Vec::new(), b"body".to_vec()),
    });
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    for (method, path, status) in
        [("HEAD", "/", 200), ("GET", "/204", 204), ("GET", "/304", 304), ("GET", "/", 200)]
    {
        let request = Request::new(method, &format!("https://{APP}{path}"));
        let answer = conn.exchange(&request).expect(status);
        assert_eq!(answer.body.is_empty(), status != 200 || method == "HEAD");
        if method == "HEAD" {
            assert_eq!(answer.header("content-length"), Some("4"));
        }
        assert!(conn.buffered.is_empty(), "{method} {path}");
    }
    assert_eq!(app.connections(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut bytes = String::new();
    for n in 0..20 {
        bytes += &format!("GET /{n} HTTP/1.1\r\nHost: {APP}\r\n\r\n");
        bytes += &post("Content-Length: 2\r\n", "hi");
    }
    let mut conn = gateway.client().connect(APP);
    conn.send(bytes.as_bytes());
    for n in 0..20 {
        assert_eq!(conn.read_response("GET").unwrap().json()["target"], format!("/{n}"));
        assert_eq!(conn.read_response("POST").unwrap().json()["body_length"], 2);
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let said = say(&gateway.client(), format!("GET /old HTTP/1.0\r\nHost: {APP}\r\n\r\n"));
    assert!(said.closed && said.text.contains(" 200 "), "{said:?}");
    assert!(!said.text.to_ascii_lowercase().contains("transfer-encoding"), "{said:?}");
    assert_eq!(app.last().version, "HTTP/1.1");
}

#[test]
fn a_client_that_pipelines_and_never_reads_is_held_up_and_costs_no_memory() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let before = super::rss_mib(&mut gateway);
    let many = format!("GET /bytes/20000 HTTP/1.1\r\nHost: {APP}\r\n\r\n").repeat(1000);
    let mut conn = gateway.client().connect(APP);
    conn.set_write_timeout(Duration::from_secs(1));
    let mut taken = 0;
    while taken < 400 && conn.write_all(many.as_bytes()).is_ok() {
        taken += 1;
    }
    assert!(taken < 400, "{taken} thousand requests were taken");
    super::assert_serves(&gateway);
    let after = super::rss_mib(&mut gateway);
    assert!(after < before + 16, "{before} MiB became {after} MiB");
}

/// Lines that some server somewhere reads as framing.
const DOUBTFUL: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: Chunked",
    "transfer-encoding:chunked",
    "Transfer-Encoding: chunked ",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: x, chunked",
    "Transfer-Encoding: chunked, x",
    "Transfer-Encoding: identity",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding",
    "Transfer-Encoding\0: chunked",
    " Transfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X:\r\n Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: \"chunked\"",
    "Content-Length: 0",
    "content-length:0",
    "Content-Length: 00",
    "Content-Length: +0",
    "Content-Length: -1",
    "Content-Length: 0, 0",
    "Content-Length : 0",
    "Content-Length:",
    "Content_Length: 0",
    "X: y\nContent-Length: 0",
    "X: y\rContent-Length: 0",
    "Connection: close, Content-Length",
    "Connection: Transfer-Encoding",
    "Expect: 100-continue",
    "Upgrade: h2c",
    "X-Harmless: y",
];

#[test]
fn k1_k4_whatever_is_let_through_means_one_thing_to_both_sides() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let body = format!("0\r\n\r\n{SMUGGLED}{SMUGGLED}");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let honest = [
        (format!("Content-Length: {}", body.len()), body.as_str()),
        ("Transfer-Encoding: chunked".to_owned(), chunked.as_str()),
    ];
    let (mut let_through, mut refused) = (0, 0);
    for (framing, sent) in &honest {
        // Each line and each pair of lines, before and after the honest one.
        for (number, first) in DOUBTFUL.iter().enumerate() {
            for second in DOUBTFUL.iter().skip(number).step_by(3).chain([&"X-None: y"]) {
                let lines = match number % 3 {
                    0 => [framing, *first, *second].join("\r\n"),
                    1 => [*first, framing, *second].join("\r\n"),
                    _ => [*first, *second, framing].join("\r\n"),
                };
                let message = post(&format!("{lines}\r\n"), sent);
                let mut conn = gateway.client().connect(APP);
                let before = app.count();
                let _ = conn.write_all(message.as_bytes());
                match conn.read_response("POST") {
                    Ok(answer) if answer.status == 200 => {
                        let_through += 1;
                        assert_eq!(app.last().body, body.as_bytes(), "{lines:?}");
                        assert_eq!(app.count(), before + 1, "{lines:?}");
                    }
                    Ok(answer) => {
                        refused += 1;
                        assert_eq!(answer.status, 400, "{lines:?}");
                        assert!(conn.closes_within(SOON), "{lines:?}");
                        assert!(conn.buffered.is_empty(), "{lines:?}");
                    }
                    Err(error) => panic!("{lines:?}: {error}"),
                }
            }
        }
    }
    assert!(app.requests().iter().all(|seen| seen.target == "/p"), "smuggled");
    assert!(let_through > 20 && refused > 200, "{let_through} of {refused}");
}
