//! Bodies, upgrades and connections on their way to apps of every kind.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use vestibule_testkit::{Answer, Ca, Client, Recorder, Request, h2, until, ws};

use crate::house::{House, route, status_of};

/// An app that speaks HTTP/2 only: says what it got in headers and trailers of its own.
fn h2c_app(house: &tokio::runtime::Handle) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    house.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(socket), service_fn(tell_trailers)),
            );
        }
    });
    address
}

async fn tell_trailers(
    request: http::Request<Incoming>,
) -> Result<http::Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let te = request.headers().get("te").map_or("", |te| te.to_str().unwrap()).to_owned();
    let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
    let got = request.into_body().collect().await.unwrap();
    let sent = got.trailers().and_then(|t| t.get("x-sent")).is_some();
    let body = got.to_bytes();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-got", format!("{te}|{authority}|{}|{sent}", body.len()).parse().unwrap());
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let mut response = http::Response::new(StreamBody::new(futures_util::stream::iter(frames)));
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    Ok(response)
}

#[test]
fn grpc_passes_with_its_trailers_to_an_app_that_speaks_h2c() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = h2c_app(runtime.handle());
    let house = House::new(&format!(
        "[[route]]\nname = \"app\"\nhost = \"app.test\"\naccess = \"public\"\nupstream = \"h2c://{address}\""
    ));
    let call = Request::new("POST", "https://app.test/pkg.Service/Call")
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .body("hello");
    for answers in [
        h2::tls(house.address(1), std::slice::from_ref(&call)),
        h2::plain(house.address(0), std::slice::from_ref(&call)),
    ] {
        let answer = &answers[0];
        assert_eq!((answer.status, &*answer.body), (200, &b"hello"[..]));
        let trailer = |name: &str| {
            answer.trailers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(trailer("grpc-status"), Some("0"));
        assert_eq!(trailer("x-got"), Some("trailers|app.test|5|false"));
    }
}

#[test]
fn apps_behind_tls_and_unix_sockets_are_reached_and_checked() {
    let secure =
        Recorder::tls(Ca::shared().leaf(&["localhost"]).server(&["http/1.1"]), |_| Answer::Echo);
    let stranger =
        Recorder::tls(Ca::new("stranger").leaf(&["localhost"]).server(&[]), |_| Answer::Echo);
    let folder = tempfile::tempdir().unwrap();
    let (ca, socket) = (folder.path().join("ca.pem"), folder.path().join("app.sock"));
    std::fs::write(&ca, Ca::shared().pem()).unwrap();
    let unix = Recorder::unix(&socket);
    let tls = |name: &str, app: &Recorder, more: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nhost = \"{name}.test\"\naccess = \"public\"\nupstream = \"https://localhost:{}\"\nupstream_tls = {{ {more} }}\n",
            app.address().port()
        )
    };
    let ca_file = format!("ca_file = \"{}\"", ca.display());
    let wrong_name = format!("{ca_file}, server_name = \"other.test\"");
    let house = House::new(
        &[
            tls("good", &secure, &ca_file),
            tls("name", &secure, &wrong_name),
            tls("ca", &stranger, &ca_file),
            tls("any", &stranger, "insecure_skip_verify = true"),
            route("unix", &unix, "access = \"public\""),
        ]
        .concat(),
    );
    for (name, status) in [("good", 200), ("name", 502), ("ca", 502), ("any", 200), ("unix", 200)] {
        let answer = house.plain().send(&Request::get(&format!("https://{name}.test/")));
        assert_eq!(answer.status, status, "{name}");
    }
    assert_eq!(unix.last().header("host"), Some("unix.test"));
    let mut socket = ws::open(&house.plain(), &ws::handshake(Request::get("https://unix.test/ws")))
        .map_err(|a| a.status)
        .unwrap();
    socket.send_text("over a unix socket");
    assert_eq!(socket.text(), "over a unix socket");
}

#[test]
fn k5_an_expectation_is_met_by_the_first_read_and_never_desynchronises() {
    let app = Recorder::start();
    let house = House::new(
        &[route("app", &app, "access = \"public\""), route("shut", &app, "access = \"signed-in\"")]
            .concat(),
    );
    let mut conn = house.plain().connect("app.test");
    conn.send(
        b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    let interim = conn.read_head().unwrap();
    assert_eq!(interim.status, 100);
    conn.send(b"hello");
    assert_eq!(conn.read_response("POST").unwrap().status, 200);
    assert_eq!(app.last().header("expect"), None);
    let odd =
        b"POST /a HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nExpect: 200-ok\r\n\r\nhello";
    assert_eq!(status_of(&house.plain().raw("app.test", odd)), "HTTP/1.1 417");
    // A refused body that looks like a request is never answered as one.
    let smuggled = b"POST / HTTP/1.1\r\nHost: shut.test\r\nContent-Length: 44\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: app.test\r\n\r\n\r\n\r\nGET /next HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    let raw = house.plain().raw("shut.test", smuggled);
    assert_eq!(status_of(&raw), "HTTP/1.1 401");
    assert!(app.requests().iter().all(|request| request.target != "/smuggled"));
}

#[test]
fn k3_a_client_that_breaks_off_takes_its_connection_to_the_app_with_it() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let mut conn = house.plain().connect("app.test");
    conn.send(b"POST /half HTTP/1.1\r\nHost: app.test\r\nContent-Length: 100\r\n\r\nhalf");
    until("half of it arrives", || app.bytes().iter().any(|b| b.ends_with(b"half")).then_some(()));
    drop(conn);
    let answer = house.plain().send(&Request::get("https://app.test/whole"));
    assert_eq!(answer.status, 200);
    assert_eq!(app.connections(), 2);
    assert_eq!(app.last().target, "/whole");
}

#[test]
fn events_arrive_as_they_are_sent_and_a_long_body_is_not_held() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let mut conn = house.plain().connect("app.test");
    conn.send(&Request::get("https://app.test/sse").bytes());
    conn.read_until(b"data: 1\n\n").unwrap();
    conn.read_until(b"data: 2\n\n").unwrap();
    let body = vec![b'x'; 8 * 1024 * 1024];
    let answer = house.plain().send(&Request::new("POST", "https://app.test/").body(body));
    assert_eq!(answer.status, 200);
    assert_eq!(app.last().body.len(), 8 * 1024 * 1024);
}

#[test]
fn a_stream_ends_when_its_key_is_revoked() {
    let first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n".to_vec();
    let app = Recorder::with(move |_| {
        Answer::Drip(vec![
            (Duration::ZERO, first.clone()),
            (Duration::from_secs(30), b"1\r\nb\r\n0\r\n\r\n".to_vec()),
        ])
    });
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let ann = house.account("ann");
    let key = house.key(&ann);
    let mut conn = house.plain().connect("app.test");
    conn.send(&Request::get("https://app.test/").header("X-Api-Key", key).bytes());
    conn.read_until(b"a\r\n").unwrap();
    let authn = house.authn.clone();
    house.service.block_on(async {
        let keys = authn.list_keys(Some(ann.id)).await.unwrap();
        authn
            .revoke_key(keys[0].id, None, &crate::house::actor(), crate::house::now())
            .await
            .unwrap();
    });
    assert!(conn.closes_within(Duration::from_secs(10)));
}

#[test]
fn an_idle_websocket_and_a_stalled_client_are_ended() {
    let app = Recorder::start();
    let house =
        House::new(&route("app", &app, "access = \"public\"\ntimeouts = { idle = \"1s\" }"));
    let mut socket = ws::open(&house.plain(), &ws::handshake(Request::get("https://app.test/ws")))
        .map_err(|a| a.status)
        .unwrap();
    socket.send_text("x");
    assert_eq!(socket.text(), "x");
    assert!(socket.read().is_err());
    let mut stalled = house.plain().connect("app.test");
    stalled.send(b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 10\r\n\r\nhalf");
    assert!(stalled.closes_within(Duration::from_secs(10)));
}

#[test]
fn nothing_is_checked_in_mode_none_and_nothing_forwarded_is_let_in() {
    let app = Recorder::start();
    let house = House::with(
        "http://auth.localhost:8080",
        "[auth]\nmode = \"none\"",
        &[route("app", &app, "access = \"admin\""), route("shut", &app, "access = \"deny\"")]
            .concat(),
    );
    let get = |host: &str| Request::get(&format!("http://{host}.test/"));
    let plain = Client::plain(house.address(0));
    assert_eq!(plain.send(&get("app")).status, 200);
    assert_eq!(app.last().header("remote-user"), Some("anonymous"));
    assert_eq!(plain.send(&get("shut")).status, 403);
    let forwarded = plain.send(&get("app").header("X-Forwarded-For", "1.2.3.4"));
    assert_eq!((forwarded.status, forwarded.code().as_deref()), (403, Some("BYPASS_REFUSED")));
}

#[test]
fn portal_and_app_share_a_host() {
    let app = Recorder::start();
    let house = House::new(&format!(
        "[[route]]\nname = \"app\"\nhost = \"auth.test\"\nupstream = \"{}\"\naccess = \"signed-in\"\nportal = [\"/setup\"]\n",
        app.url()
    ));
    for path in [
        "/.vestibule/login",
        "/api/v1/auth/login",
        "/.well-known/jwks.json",
        "/setup",
        "/v1/auth/callback/x",
        "/api/auth/oidc/x/callback",
    ] {
        let answer = house.plain().send(&Request::get(&format!("https://auth.test{path}")));
        assert!(answer.text().starts_with(&format!("portal {path} ")), "{path}");
    }
    let page = house.plain().send(&Request::get("https://auth.test/login").navigation());
    assert_eq!(
        page.location(),
        "https://auth.test/.vestibule/login?rd=https%3A%2F%2Fauth.test%2Flogin"
    );
    assert_eq!(app.count(), 0);
}

#[test]
fn k2_a_refused_upload_is_answered_and_not_reset() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"signed-in\""));
    let upload = Request::new("POST", "https://app.test/").body(vec![b'x'; 2 * 1024 * 1024]);
    let mut conn = house.plain().connect("app.test");
    conn.write_all(&upload.bytes()).unwrap();
    assert_eq!(conn.read_response("POST").unwrap().status, 401);
    assert_eq!(app.connections(), 0);
}

#[test]
fn a_new_certificate_is_shown_and_a_broken_one_is_not() {
    let app = Recorder::start();
    let house = House::new(&route("app", &app, "access = \"public\""));
    let path = house.folder.path().join("leaf.pem");
    let get = |host: &str| house.tls().try_connect(host).is_ok();
    assert!(get("app.test") && !get("new.test"));
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "nonsense").unwrap();
    house.proxy.reload_certificates();
    assert!(get("app.test"));
    std::fs::write(&path, good).unwrap();
    Ca::shared().leaf(&["new.test"]).write(house.folder.path(), "leaf");
    house.proxy.reload_certificates();
    assert!(get("new.test") && !get("app.test"));
}

#[test]
fn few_long_connections_are_served_by_every_worker() {
    let app = Recorder::start();
    let public = route("app", &app, "access = \"public\"");
    let house = House::build("https://auth.test", 2, "", &public);
    let client = house.plain();
    let mut conns: Vec<_> = (0..24).map(|_| client.connect("app.test")).collect();
    for _ in 0..2 {
        for conn in &mut conns {
            assert_eq!(conn.exchange(&Request::get("https://app.test/")).status, 200);
        }
    }
    // Each worker keeps connections of its own; one after the other needs one of each.
    assert_eq!(app.connections(), 2);
}
