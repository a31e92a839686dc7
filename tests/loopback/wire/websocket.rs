//! WebSockets and other upgrades.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use vestibule_testkit::{Recorder, Request, Route, Script, until, ws};

use super::{APP, SOON, gateway, in_front_of, public, say};

const WIKI: &str = "https://wiki.example.test/ws";

#[test]
fn frames_pass_both_ways_over_plain_and_tls() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for client in [gateway.client(), gateway.tls_client()] {
        let mut socket = ws::open(&client, &Request::get("https://app.example.test/ws")).unwrap();
        for text in ["one", "two", &"x".repeat(100_000)] {
            socket.send_text(text);
            assert_eq!(socket.text(), text);
        }
    }
    let seen = app.requests();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert_eq!(request.header("upgrade"), Some("websocket"));
        assert!(request.header("connection").is_some_and(|c| c.eq_ignore_ascii_case("upgrade")));
        assert_eq!(request.header("sec-websocket-version"), Some("13"));
    }
}

#[test]
fn another_implementation_agrees() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(gateway.plain()).await.unwrap();
        let request = "ws://app.example.test/ws".into_client_request().unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, tcp).await.unwrap();
        for size in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            let message = Message::text("y".repeat(size));
            socket.send(message.clone()).await.unwrap();
            let back = tokio::time::timeout(SOON, socket.next()).await.expect("held back");
            assert_eq!(back.unwrap().unwrap(), message);
        }
        socket.close(None).await.unwrap();
    });
}

#[test]
fn a_cookie_needs_an_origin_of_the_app() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(
            Route::new("wiki", "wiki.example.test")
                .upstream(app.url())
                .access("signed-in")
                .set("allowed_origins", r#"["https://other.example.test"]"#),
        )
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    ann.enter(WIKI);
    let ask = |origin: Option<&str>| {
        let request = Request::get(WIKI);
        let request =
            origin.iter().fold(request, |request, origin| request.header("Origin", origin));
        ws::open(&gateway.client(), &ann.dressed(request))
    };
    for good in ["https://wiki.example.test", "https://other.example.test"] {
        let mut socket = ask(Some(good)).unwrap_or_else(|answer| panic!("{good}: {answer:?}"));
        socket.send_text("hello");
        assert_eq!(socket.text(), "hello");
    }
    let before = app.count();
    for bad in [
        None,
        Some("null"),
        Some(""),
        Some("https://evil.test"),
        Some("http://wiki.example.test"),
        Some("https://wiki.example.test.evil.test"),
        Some("https://wiki.example.test:444"),
        Some("https://wiki.example.test/"),
        Some("https://wiki.example.test, https://evil.test"),
    ] {
        let answer = ask(bad).err().unwrap_or_else(|| panic!("{bad:?} was let in"));
        assert_eq!(
            (answer.status, answer.code().as_deref()),
            (403, Some("ORIGIN_NOT_ALLOWED")),
            "{bad:?}"
        );
    }
    assert_eq!(app.count(), before);
}

#[test]
fn an_open_socket_ends_with_its_session() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .user("ann", &[])
        .start();
    let mut ann = gateway.as_user("ann");
    ann.enter(WIKI);
    let request = ann.dressed(Request::get(WIKI).header("Origin", "https://wiki.example.test"));
    let mut socket = ws::open(&gateway.client(), &request).unwrap();
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    let _ = ann.sign_out();
    assert!(socket.conn.closes_within(SOON), "the socket outlives its session");
}

#[test]
fn an_anonymous_socket_is_401_and_never_a_redirect() {
    let app = Recorder::start();
    let gateway = gateway()
        .route(Route::new("wiki", "wiki.example.test").upstream(app.url()).access("signed-in"))
        .start();
    let answer = ws::open(&gateway.client(), &Request::get(WIKI)).err().unwrap();
    assert_eq!((answer.status, answer.code().as_deref()), (401, Some("UNAUTHENTICATED")));
    assert_eq!(app.connections(), 0);
}

#[test]
fn an_app_that_declines_is_passed_on_and_the_connection_goes_on() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut conn = gateway.client().connect(APP);
    let declined = ws::handshake(Request::get("https://app.example.test/status/426"));
    let _ = conn.exchange(&declined).expect(426);
    let _ = conn.exchange(&Request::get("https://app.example.test/")).expect(200);
}

#[test]
fn k2_an_upgrade_to_another_http_is_not_passed_on() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for upgrade in ["h2c", "HTTP/2.0", "TLS/1.2", "h2c, websocket"] {
        let request = Request::get("https://app.example.test/")
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("Upgrade", upgrade)
            .header("HTTP2-Settings", "AAMAAABkAAQAAP__");
        let _ = gateway.client().send(&request).expect(200);
        let seen = app.last();
        assert_eq!(seen.header("upgrade"), None, "{upgrade}");
        assert_eq!(seen.header("http2-settings"), None, "{upgrade}");
    }
}

#[test]
fn k6_the_head_of_an_upgrade_is_limited_as_any_other() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let request = ws::handshake(Request::get("https://app.example.test/ws"))
        .header("Sec-WebSocket-Protocol", "p".repeat(64 * 1024));
    let said = say(&gateway.client(), request.bytes());
    assert_eq!((said.statuses.as_slice(), said.closed), (&[431][..], true), "{said:?}");
    assert_eq!(app.connections(), 0);
}

#[test]
fn either_end_of_a_socket_takes_the_other_with_it() {
    const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let (ended, end) = std::sync::mpsc::channel();
    let app = Script::start(move |scene| {
        if scene.head().is_some() && scene.send(SWITCH) && scene.number == 0 {
            scene.until_closed();
            let _ = ended.send(());
        }
    });
    let gateway = in_front_of(app.url());
    let request = Request::get("https://app.example.test/ws");
    drop(ws::open(&gateway.client(), &request).unwrap());
    end.recv_timeout(SOON).expect("the app's connection stays open");
    let mut socket = ws::open(&gateway.client(), &request).unwrap();
    assert!(socket.conn.closes_within(SOON), "the client's connection stays open");
}

#[test]
fn x28_a_socket_where_nothing_moves_ends_after_the_idle_timeout() {
    let app = Recorder::start();
    let gateway = gateway().route(public(app.url()).set("timeouts", r#"{ idle = "1s" }"#)).start();
    let mut socket =
        ws::open(&gateway.client(), &Request::get("https://app.example.test/ws")).unwrap();
    socket.send_text("hello");
    assert_eq!(socket.text(), "hello");
    assert!(socket.conn.closes_within(SOON));
    until("a fresh client is served", || {
        (gateway.client().send(&Request::get("https://app.example.test/")).status == 200)
            .then_some(())
    });
}
