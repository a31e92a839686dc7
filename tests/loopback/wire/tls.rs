//! TLS towards clients: names, certificates that change, handshakes that do not finish.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use vestibule_testkit::{
    Ca, Client, Gateway, Leaf, Recorder, Request, Route, h2, until, until_within,
};

use super::{APP, SOON, URL, assert_serves, gateway, in_front_of, public};

/// A second certificate for another name.
const OTHER: &str =
    "[[tls.certificate]]\ncert = \"{folder}/other.pem\"\nkey = \"{folder}/other.key\"";

/// The leaf that a server name gets; the error of the handshake where it gets none.
fn certificate(gateway: &Gateway, name: &str) -> Result<Vec<u8>, rustls::Error> {
    let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = rustls::ClientConnection::new(h2::config(&[]), name).unwrap();
    while session.is_handshaking() {
        if let Err(error) = session.complete_io(&mut tcp) {
            let inner = error.downcast::<rustls::Error>();
            return Err(inner.unwrap_or_else(|error| rustls::Error::General(error.to_string())));
        }
    }
    Ok(session.peer_certificates().unwrap()[0].to_vec())
}

fn der(leaf: &Leaf) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap().to_vec()
}

/// Two certificates: `*.example.test` and `other.test`.
fn two_names(app: &Recorder) -> (Gateway, Leaf) {
    let leaf = Ca::shared().leaf(&["other.test", "*.other.test"]);
    let gateway = gateway()
        .toml(OTHER)
        .route(public(app.url()))
        .route(Route::new("other", "*.other.test").upstream(app.url()).access("public"));
    // The files must be there before the start.
    let folder = tempfile::tempdir().unwrap();
    leaf.write(folder.path(), "other");
    let kept = folder.keep();
    let gateway = gateway
        .without("tls.certificate")
        .toml("[[tls.certificate]]\ncert = \"{folder}/leaf.pem\"\nkey = \"{folder}/leaf.key\"")
        .toml(&OTHER.replace("{folder}", &kept.display().to_string()))
        .start();
    (gateway, leaf)
}

#[test]
fn a_certificate_is_chosen_by_sni() {
    let app = Recorder::start();
    let (gateway, other) = two_names(&app);
    for name in ["other.test", "a.other.test", "OTHER.test"] {
        assert_eq!(certificate(&gateway, name).unwrap(), der(&other), "{name}");
    }
    assert_ne!(certificate(&gateway, APP).unwrap(), der(&other));
    let _ = gateway.tls_client().send(&Request::get("https://a.other.test/")).expect(200);
    let _ = gateway.tls_client().send(&Request::get(URL)).expect(200);
}

#[test]
fn x25_an_unknown_or_missing_sni_gets_no_certificate() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    for name in ["unknown.test", "example.test.evil.test", "a.b.example.test", "127.0.0.1"] {
        let refused = certificate(&gateway, name);
        assert!(
            matches!(refused, Err(rustls::Error::AlertReceived(_) | rustls::Error::General(_))),
            "{name}: {refused:?}"
        );
    }
    assert_eq!(app.connections(), 0);
    let _ = gateway.tls_client().send(&Request::get(URL)).expect(200);
}

#[test]
fn l6_a_host_that_the_certificate_shown_does_not_cover_is_421() {
    let app = Recorder::start();
    let (gateway, _) = two_names(&app);
    let mut conn = gateway.tls_client().connect(APP);
    let answer = conn.exchange(&Request::get("https://a.other.test/")).expect(421);
    assert_eq!(answer.code().as_deref(), Some("MISDIRECTED_REQUEST"));
    assert_eq!(app.connections(), 0);
    // Another name of the same certificate is no misdirection: browsers share connections so.
    let mut conn = gateway.tls_client().connect("another.example.test");
    let _ = conn.exchange(&Request::get(URL)).expect(200);
    let both = [Request::get(URL), Request::get("https://a.other.test/")];
    let statuses: Vec<u16> =
        h2::tls(gateway.tls(), &both).iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 421]);
}

#[test]
fn alpn_agrees_on_http_2_or_1_1_and_on_nothing_else() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let agreed = |offered: &[&str]| h2::alpn(gateway.tls(), APP, offered);
    assert_eq!(agreed(&["h2", "http/1.1"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1", "h2"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    assert_eq!(agreed(&[]), None);
    let name = ServerName::try_from(APP).unwrap();
    let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
    let mut session = rustls::ClientConnection::new(h2::config(&["spdy/3", "xmpp"]), name).unwrap();
    assert!(session.complete_io(&mut tcp).is_err(), "a protocol nobody speaks was agreed on");
    let mut plain = Client { tls: Some(h2::config(&[])), ..gateway.tls_client() }.connect(APP);
    let _ = plain.exchange(&Request::get(URL)).expect(200);
}

/// Writes a byte at a time, each in a segment of its own.
struct ByteByByte(TcpStream);

impl Write for ByteByByte {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes.get(..1).unwrap_or_default())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl Read for ByteByByte {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(into)
    }
}

#[test]
fn l5_l6_a_client_hello_byte_by_byte_is_read_as_any_other() {
    let app = Recorder::start();
    let (gateway, other) = two_names(&app);
    for (name, is_other) in [(APP, false), ("a.other.test", true)] {
        let tcp = TcpStream::connect(gateway.tls()).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let server = ServerName::try_from(name).unwrap();
        let session = rustls::ClientConnection::new(h2::config(&["http/1.1"]), server).unwrap();
        let mut stream = rustls::StreamOwned::new(session, ByteByByte(tcp));
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
        let shown = stream.conn.peer_certificates().unwrap()[0].to_vec();
        assert_eq!(shown == der(&other), is_other);
    }
}

#[test]
fn l5_a_hello_in_records_of_one_byte_is_read_or_refused() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let server = ServerName::try_from(APP).unwrap();
    let mut session = rustls::ClientConnection::new(h2::config(&["http/1.1"]), server).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    let mut records = Vec::new();
    for byte in hello.get(5..).unwrap() {
        records.extend_from_slice(&[0x16, 3, 1, 0, 1, *byte]);
    }
    let _ = tcp.write_all(&records);
    let mut back = [0; 5];
    if tcp.read_exact(&mut back).is_ok() {
        assert!(matches!(back[0], 0x15 | 0x16), "{back:?}");
    }
    assert!(gateway.process().exited().is_none());
    assert_serves(&gateway);
}

#[test]
fn l5_handshakes_that_break_off_or_are_nonsense_leave_the_server_up() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let server = ServerName::try_from(APP).unwrap();
    let mut session = rustls::ClientConnection::new(h2::config(&[]), server).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    let close_notify = [0x15, 3, 3, 0, 2, 1, 0];
    let fatal = [0x15, 3, 3, 0, 2, 2, 40];
    let mut broken = hello.clone();
    broken[50] ^= 0xff;
    let mut short = hello.clone();
    short[3..5].copy_from_slice(&[0, 1]);
    for bytes in [
        close_notify.to_vec(),
        fatal.to_vec(),
        [&hello[..], &close_notify].concat(),
        [&hello[..], &fatal].concat(),
        [&hello[..20], &close_notify].concat(),
        broken,
        short,
        vec![0x16, 3, 1, 0, 0],
        [0x16, 3, 1, 0xff, 0xff].repeat(1000),
        vec![0x80, 0x2e, 1, 0, 2],
        b"GET / HTTP/1.1\r\nHost: app.example.test\r\n\r\n".to_vec(),
        vec![0; 20_000],
    ] {
        let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let _ = tcp.write_all(&bytes);
        let _ = tcp.shutdown(std::net::Shutdown::Write);
        let mut back = Vec::new();
        let _ = tcp.read_to_end(&mut back);
        assert!(!back.windows(5).any(|window| window == b"HTTP/"), "{bytes:02x?}");
    }
    assert!(gateway.process().exited().is_none());
    let _ = gateway.tls_client().send(&Request::get(URL)).expect(200);
    assert_eq!(app.count(), 1);
}

#[test]
fn l7_half_open_handshakes_are_dropped_within_ten_seconds_and_hold_up_nobody() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let started = Instant::now();
    let mut halves: Vec<TcpStream> = (0..500)
        .map(|n| {
            let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
            // Some say nothing, some begin a record.
            if n % 2 == 0 {
                tcp.write_all(&[0x16, 3, 1, 2, 0, 1]).unwrap();
            }
            tcp.set_read_timeout(Some(Duration::from_secs(14))).unwrap();
            tcp
        })
        .collect();
    for _ in 0..5 {
        let _ = gateway.tls_client().send(&Request::get(URL)).expect(200);
        assert_serves(&gateway);
    }
    for half in &mut halves {
        let mut byte = [0];
        let read = half.read(&mut byte);
        let dropped = match &read {
            Ok(count) => *count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(dropped, "{read:?}");
    }
    assert!(started.elapsed() < Duration::from_secs(13), "{:?}", started.elapsed());
}

#[test]
fn l8_early_data_is_not_offered() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let mut config = (*h2::config(&["http/1.1"])).clone();
    config.enable_early_data = true;
    let config = Arc::new(config);
    for round in 0..3 {
        let name = ServerName::try_from(APP).unwrap();
        let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
        tcp.set_read_timeout(Some(SOON)).unwrap();
        let mut session = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
        assert!(session.early_data().is_none(), "round {round}");
        let mut stream = rustls::Stream::new(&mut session, &mut tcp);
        stream
            .write_all(
                format!("GET / HTTP/1.1\r\nHost: {APP}\r\nConnection: close\r\n\r\n").as_bytes(),
            )
            .unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    }
}

#[test]
fn rfc9325_only_tls_1_2_and_1_3_are_spoken() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let modern = gateway_with_min(&app, "1.3");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    roots.add(CertificateDer::from_pem_slice(Ca::shared().pem().as_bytes()).unwrap()).unwrap();
    let tls12 = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tls12 = Some(Arc::new(tls12));
    let client = Client { tls: tls12.clone(), ..gateway.tls_client() };
    let _ = client.send(&Request::get(URL)).expect(200);
    let client = Client { tls: tls12, ..modern.tls_client() };
    assert!(client.try_connect(APP).is_err(), "1.2 where 1.3 is asked for");
    let _ = modern.tls_client().send(&Request::get(URL)).expect(200);
    // A hello of TLS 1.0 (RFC 2246), without extensions.
    let mut hello = vec![0x16, 3, 1, 0, 47, 1, 0, 0, 43, 3, 1];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 4, 0, 0x2f, 0, 0x35, 1, 0]);
    let mut tcp = TcpStream::connect(gateway.tls()).unwrap();
    tcp.set_read_timeout(Some(SOON)).unwrap();
    tcp.write_all(&hello).unwrap();
    let mut back = [0; 7];
    tcp.read_exact(&mut back).unwrap();
    assert_eq!((back[0], back[5]), (0x15, 2), "no fatal alert: {back:02x?}");
}

fn gateway_with_min(app: &Recorder, version: &str) -> Gateway {
    gateway().toml(&format!("[tls]\nmin_version = \"{version}\"")).route(public(app.url())).start()
}

#[test]
fn x25_a_new_certificate_holds_within_five_seconds_and_open_connections_stay() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let before = certificate(&gateway, APP).unwrap();
    let mut open = gateway.tls_client().connect(APP);
    let _ = open.exchange(&Request::get(URL)).expect(200);
    let fresh = Ca::shared().leaf(&["*.example.test"]);
    fresh.write(gateway.prepared().folder(), "leaf");
    until_within(Duration::from_secs(5), "the new certificate", || {
        (certificate(&gateway, APP).ok()? == der(&fresh)).then_some(())
    });
    assert_ne!(before, der(&fresh));
    let _ = open.exchange(&Request::get(URL)).expect(200);
}

#[test]
fn x25_a_broken_or_mismatched_pair_keeps_the_old_certificate() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let folder = gateway.prepared().folder().to_owned();
    let before = certificate(&gateway, APP).unwrap();
    let stranger = Ca::shared().leaf(&["*.example.test"]);
    std::fs::write(folder.join("leaf.pem"), &stranger.cert).unwrap();
    let _ = gateway.wait_log(&["certificate", "leaf.key"]);
    assert_eq!(certificate(&gateway, APP).unwrap(), before);
    std::fs::write(folder.join("leaf.pem"), "no certificate").unwrap();
    let _ = gateway.wait_log(&["certificate", "leaf.pem"]);
    assert_eq!(certificate(&gateway, APP).unwrap(), before);
    std::fs::remove_file(folder.join("leaf.pem")).unwrap();
    let _ = gateway.wait_log(&["certificate", "leaf.pem", "No such file"]);
    assert_eq!(certificate(&gateway, APP).unwrap(), before);
    // Put right, it is taken.
    let good = Ca::shared().leaf(&["*.example.test"]);
    good.write(&folder, "leaf");
    until("the good pair", || (certificate(&gateway, APP).ok()? == der(&good)).then_some(()));
    let _ = gateway.tls_client().send(&Request::get(URL)).expect(200);
}

#[test]
fn x25_an_expired_certificate_is_used_and_told() {
    let app = Recorder::start();
    let gateway = in_front_of(app.url());
    let expired = Ca::shared().expired_leaf(&["*.example.test"]);
    expired.write(gateway.prepared().folder(), "leaf");
    until("the expired certificate is in use", || {
        matches!(
            certificate(&gateway, APP),
            Err(rustls::Error::InvalidCertificate(
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. }
            ))
        )
        .then_some(())
    });
    let expiry = gateway.metric("vestibule_certificate_expiry_seconds");
    assert_eq!(expiry, Some(1_577_836_800.0), "2020-01-01");
    assert_serves(&gateway);
}

#[test]
fn a_reload_and_a_new_certificate_send_no_goaway() {
    let app = Recorder::start();
    let mut gateway = in_front_of(app.url());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut client, connection) = runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(gateway.tls()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(h2::config(&["h2"]));
        let name = ServerName::try_from(APP).unwrap();
        let stream = connector.connect(name, tcp).await.unwrap();
        ::h2::client::handshake(stream).await.unwrap()
    });
    let connection = runtime.spawn(connection);
    let mut ask = || {
        runtime.block_on(async {
            let request = http::Request::get(URL).body(()).unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            answer.await.unwrap().status()
        })
    };
    assert_eq!(ask(), 200);
    let before = certificate(&gateway, APP).unwrap();
    Ca::shared().leaf(&["*.example.test"]).write(gateway.prepared().folder(), "leaf");
    until("the new certificate", || (certificate(&gateway, APP).ok()? != before).then_some(()));
    assert_eq!(ask(), 200);
    assert!(gateway.reload_routes(&[public(app.url()).set("max_body", "1MiB")]));
    assert_eq!(ask(), 200);
    assert!(!connection.is_finished());
}
